package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one line of the table of processes.
type process struct {
	pid, parent   int
	name, command string
	folder        string
}

// processes lists the processes of this machine.
func processes() []process {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var list []process
	for _, folder := range folders {
		stat, err := os.ReadFile(folder + "/stat")
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state ppid …; the name may hold spaces and brackets.
		open, end := strings.IndexByte(string(stat), '('), strings.LastIndexByte(string(stat), ')')
		fields := strings.Fields(string(stat)[end+1:])
		if fields[0] == "Z" {
			continue
		}
		p := process{name: string(stat)[open+1 : end]}
		p.pid, _ = strconv.Atoi(filepath.Base(folder))
		p.parent, _ = strconv.Atoi(fields[1])
		command, _ := os.ReadFile(folder + "/cmdline")
		p.command = strings.ReplaceAll(string(command), "\x00", " ")
		p.folder, _ = os.Readlink(folder + "/cwd")
		list = append(list, p)
	}
	return list
}

// inFolder lists the processes that work in a folder or name it, and what they
// started.
func inFolder(dir string) []process {
	all := processes()
	ours := map[int]bool{}
	var found []process
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if ours[p.pid] || p.pid == os.Getpid() {
				continue
			}
			if ours[p.parent] || strings.Contains(p.command, dir+"/") || strings.HasPrefix(p.folder+"/", dir+"/") {
				ours[p.pid], grown = true, true
				found = append(found, p)
			}
		}
	}
	return found
}

// reap ends every process of a folder, politely at first.
func reap(dir string) error {
	begin := time.Now()
	for {
		found := inFolder(dir)
		if len(found) == 0 {
			return nil
		}
		signal := syscall.SIGTERM
		switch since := time.Since(begin); {
		case since > 20*time.Second:
			return fmt.Errorf("processes do not end: %+v", found)
		case since > 8*time.Second:
			signal = syscall.SIGKILL
		}
		for _, p := range found {
			if strings.HasPrefix(p.command, "nginx: worker") || strings.HasPrefix(p.command, "php-fpm: pool") {
				if signal == syscall.SIGTERM {
					continue // their master ends them
				}
			}
			_ = syscall.Kill(p.pid, signal)
		}
		<-time.After(100 * time.Millisecond)
	}
}
