package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"hefring/internal/run"
	"hefring/internal/sites/database"
	"hefring/models"
)

// prefer is for foreign servers, of which nothing is known.
const prefer models.TLSMode = "prefer"

func sslMode(mode models.TLSMode) string {
	switch mode {
	case models.TLSRequire:
		return "require"
	case models.TLSVerify:
		return "verify-full"
	case prefer:
		return "prefer"
	case models.TLSOff:
	}
	return "disable"
}

// within connects to a server, runs fn for at most limit and closes.
func within(ctx context.Context, server models.DatabaseServer, name string, limit time.Duration, fn func(context.Context, *pgx.Conn) error) (err error) {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	config, err := pgx.ParseConfig(fmt.Sprintf("host='%s' port=%d user='%s' password='%s' dbname='%s' sslmode=%s connect_timeout=%d passfile=/dev/null application_name=hefring",
		quote.Replace(server.Host), port(server), quote.Replace(server.User), quote.Replace(server.Password), quote.Replace(name), sslMode(server.TLS), int(connectTime.Seconds())))
	if err != nil {
		return models.Errorf(models.Invalid, "The address of %s cannot be used. Correct host, port and user of the database server.", server.Name)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		closing, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer stop()
		_ = conn.Close(closing) // what mattered has been answered
	}()
	return fn(ctx, conn)
}

// Codes of PostgreSQL, see https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	codeNoDatabase        = "3D000"
	codeDuplicateDatabase = "42P04"
	codeDuplicate         = "42710"
	codeNoRight           = "42501"
	codeNoFile            = "58P01"
	codeNotSupported      = "0A000"
	codeInUse             = "55006"
	codeObjectState       = "55000"
	codeCancelled         = "57014"
	codeLockTimeout       = "55P03"
)

func codeOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// said finds in the words of a client program what a code would tell.
func said(err error, words ...string) bool {
	e, ok := errors.AsType[*run.ExitError](err)
	return ok && slices.ContainsFunc(words, func(word string) bool { return strings.Contains(e.Tail, word) })
}

// explain says what a failure means where a person can act on it.
func explain(verb string, server models.DatabaseServer, name string, err error) error {
	if models.CodeOf(err) != "" {
		return err
	}
	unavailable := func(format string, args ...any) error {
		return models.Wrapf(models.Unavailable, err, format, args...)
	}
	code := codeOf(err)
	switch {
	case code == "53100", errors.Is(err, syscall.ENOSPC), said(err, "No space left on device"):
		return unavailable("The disk of the database server %s is full: could not %s the database %s. Free some space there, then try again.", server.Name, verb, name)
	case strings.HasPrefix(code, "28"), said(err, "authentication failed", "no pg_hba.conf entry"):
		return unavailable("%s refuses the user %s: wrong password, or not from this machine. Correct the user and the password of the database server, or its pg_hba.conf.", server.Name, server.User)
	case code == codeNoRight, said(err, "permission denied", "must be owner"):
		return unavailable("%s does not let %s %s the database %s: %s. Give that user the attributes CREATEDB and CREATEROLE.", server.Name, server.User, verb, name, text(err))
	case code == "53300", said(err, "too many clients", "remaining connection slots"):
		return unavailable("%s has too many connections. Try again in a moment, or raise its max_connections.", server.Name)
	case code == codeNoDatabase, said(err, "does not exist") && said(err, "connection to server"):
		return models.Wrapf(models.NotFound, err, "The database %s is not on %s. Restore it from a backup.", name, server.Name)
	case code == codeInUse:
		return unavailable("The database %s on %s stayed in use by a session that Hefring may not end. End that session, then try again.", name, server.Name)
	case code == codeObjectState && (strings.Contains(err.Error(), "not currently accepting connections") || strings.Contains(err.Error(), "invalid database")):
		return unavailable("The database %s on %s is incomplete: making or removing it was cut short. Do that again, or restore the site from a backup.", name, server.Name)
	case said(err, "server version mismatch"), said(err, "unsupported version") && said(err, "in file header"):
		return unavailable("The programs pg_dump and pg_restore on this machine are older than %s. Install the client of its version.", server.Name)
	case said(err, "input file", "end of file", "did not find magic string", "archive", "corrupt"):
		return models.Wrapf(models.Invalid, err, "What was to be loaded into %s is not a whole dump. The backup is damaged or was cut short; choose another.", name)
	case code == codeCancelled, errors.Is(err, context.DeadlineExceeded):
		return unavailable("%s took too long to %s the database %s. Look what keeps it busy, then try again.", server.Name, verb, name)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s database %s on %s: %w", verb, name, server.Name, err)
	case dialFailed(err), errors.Is(err, syscall.ENOENT), code == "57P03":
		return unavailable("%s does not answer at %s. Start the database server, or correct its address.", server.Name, server.Host)
	case strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "08"), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		strings.Contains(err.Error(), "conn closed"), said(err, "server closed the connection", "terminating connection", "connection to server", "lost connection"):
		return unavailable("%s ended the connection in the middle: could not %s the database %s. Look at the server's log, then try again.", server.Name, verb, name)
	case errors.Is(err, run.ErrNotFound):
		return unavailable("The client programs of PostgreSQL are not on this machine. Install postgresql-client, then try again.")
	}
	return fmt.Errorf("%s database %s on %s: %w", verb, name, server.Name, err)
}

func dialFailed(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial" || errors.Is(err, syscall.ECONNREFUSED)
}

// text is the server's own sentence.
func text(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Message
	}
	return err.Error()
}

// environment is how a client program reaches the server. The password goes
// through the environment, which only we and root can read: the programs run as
// ourselves.
func environment(server models.DatabaseServer, name string) []string {
	return []string{
		"PGHOST=" + server.Host, "PGPORT=" + strconv.Itoa(port(server)), "PGUSER=" + server.User, "PGPASSWORD=" + server.Password, "PGDATABASE=" + name,
		"PGSSLMODE=" + sslMode(server.TLS), "PGSSLROOTCERT=" + authorities, "PGCONNECT_TIMEOUT=10", "PGPASSFILE=/dev/null", "PGAPPNAME=hefring", "LC_ALL=C.UTF-8",
	}
}

// dump writes what pg_dump gives. It reads one snapshot.
func (e *Engine) dump(ctx context.Context, server models.DatabaseServer, name string, w io.Writer) (int64, error) {
	program, err := e.program("pg_dump")
	if err != nil {
		return 0, err
	}
	counter := &database.Counter{W: w}
	_, err = e.runner.Run(ctx, run.Cmd{
		Name: program, Args: []string{"--format=custom", "--compress=0", "--no-owner", "--no-privileges", "--no-tablespaces", "--no-publications", "--no-subscriptions", "--no-security-labels", "--no-password"},
		Env: environment(server, name), Stdout: counter, Timeout: longTime, Root: true, Limits: run.Limits{OutputBytes: 1 << 10},
	})
	return counter.N, err
}

// restore feeds a dump to pg_restore, which sends statements and obeys nothing
// else that is in it. It fails when the dump ends too early.
func (e *Engine) restore(ctx context.Context, server models.DatabaseServer, name string, r io.Reader) error {
	program, err := e.program("pg_restore")
	if err != nil {
		return err
	}
	source := &database.Source{R: r}
	_, err = e.runner.Run(ctx, run.Cmd{
		Name: program, Args: []string{"--format=custom", "--no-owner", "--no-privileges", "--no-tablespaces", "--exit-on-error", "--no-password", "--dbname="},
		Env: environment(server, name), Stdin: source, Timeout: longTime, Root: true,
	})
	if source.Err != nil {
		return fmt.Errorf("read the dump: %w", source.Err)
	}
	return err
}

var versionFolder = regexp.MustCompile(`/(\d+)/bin/`)

// program finds the newest of a client program. Debian's programs in the path are
// scripts that look for it, too, and take longer.
func (e *Engine) program(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return e.runner.LookPath(name)
	}
	version := func(path string) int {
		number := 0
		if parts := versionFolder.FindStringSubmatch(path); parts != nil {
			number, _ = strconv.Atoi(parts[1])
		}
		return number
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
}
