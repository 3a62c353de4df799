package run

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"hefring/models"
)

// Errors that Run wraps; callers find them with errors.Is.
var (
	ErrTimeout     = errors.New("time limit reached")
	ErrNotFound    = errors.New("program not found")
	ErrOutputLimit = errors.New("too much output")
	// ErrProcCovered says that no sandbox can have a /proc of its own.
	ErrProcCovered = errors.New("parts of /proc are covered")
)

// ExitError says that a program ran and did not succeed.
type ExitError struct {
	Name   string         // of the program, without its folder
	Arg    string         // its first argument, "" without any
	Code   int            // exit code; 128 + signal when a signal ended it
	Signal syscall.Signal // that ended it, 0 for none
	Tail   string         // the last lines it wrote (stderr, else stdout), made harmless
}

// Error names program, first argument and what ended it. The environment and
// further arguments stay out: they may hold secrets.
func (e *ExitError) Error() string {
	text := "run " + title(e.Name, e.Arg) + ": " + e.ending()
	if line := lastLine(e.Tail); line != "" {
		text += ": " + line
	}
	return text
}

func (e *ExitError) ending() string {
	if e.Signal == 0 {
		return fmt.Sprintf("exit status %d", e.Code)
	}
	if e.Signal == syscall.SIGXFSZ {
		return "stopped because it wrote a file larger than its limit"
	}
	if e.Signal == syscall.SIGKILL {
		return "killed (signal 9; the machine may be out of memory)"
	}
	return fmt.Sprintf("stopped by signal %d (%s)", int(e.Signal), e.Signal)
}

const tailBytes = 4 << 10

func newExitError(c Cmd, code int, stdout, stderr []byte) *ExitError {
	output := stderr
	if len(bytes.TrimSpace(output)) == 0 {
		output = stdout
	}
	if len(output) > tailBytes {
		output = output[len(output)-tailBytes:]
	}
	e := &ExitError{Name: filepath.Base(c.Name), Arg: firstArg(c), Code: code, Tail: cleanText(output)}
	if code > 128 && code < 160 {
		e.Signal = syscall.Signal(code - 128)
	}
	return e
}

// cleanText makes several lines of program output harmless.
func cleanText(output []byte) string {
	var lines []string
	w := Lines(func(line string) { lines = append(lines, line) })
	_, _ = w.Write(output)
	_ = w.Close()
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func lastLine(text string) string {
	return text[strings.LastIndexByte(text, '\n')+1:]
}

func title(name, arg string) string {
	return strings.TrimSpace(filepath.Base(name) + " " + arg)
}

func firstArg(c Cmd) string {
	if len(c.Args) == 0 {
		return ""
	}
	return c.Args[0]
}

// notFound says which package brings a missing program.
func notFound(name string) error {
	base := filepath.Base(name)
	if filepath.IsAbs(name) {
		return models.Wrapf(models.Unavailable, ErrNotFound, "%s is missing or not executable.", name)
	}
	if pkg := packageOf(base); pkg != "" {
		return models.Wrapf(models.Unavailable, ErrNotFound,
			"The program %s is not installed on this server. Install the package %s, for example with: apt-get install %s", base, pkg, pkg)
	}
	return models.Wrapf(models.Unavailable, ErrNotFound, "The program %s is not installed on this server.", base)
}

func packageOf(program string) string {
	switch program {
	case "bwrap":
		return "bubblewrap"
	case "prlimit", "setpriv":
		return "util-linux"
	case "php":
		return "php-cli"
	case "ssh", "ssh-keygen":
		return "openssh-client"
	case "mysql", "mysqldump", "mariadb", "mariadb-dump":
		return "mariadb-client"
	case "psql", "pg_dump", "pg_restore":
		return "postgresql-client"
	case "cp", "nice":
		return "coreutils"
	case "git", "composer", "nginx", "unzip", "patch", "rsync", "tar", "sqlite3", "curl":
		return program
	}
	if strings.HasPrefix(program, "php-fpm") {
		return "php-fpm"
	}
	return ""
}
