package mysql

import (
	"context"
	"io"
	"strings"

	"hefring/internal/run"
	"hefring/internal/sites/database"
	"hefring/models"
)

// connection is how a client program reaches the server. The password goes through
// the environment, which only we and root can read: the programs run as ourselves.
// An option that one family of clients does not know begins with --loose.
func connection(server models.DatabaseServer) (args, env []string) {
	args = []string{"--no-defaults", "--user=" + server.User, "--default-character-set=utf8mb4", "--max-allowed-packet=1G"}
	if strings.HasPrefix(server.Host, "/") {
		args = append(args, "--protocol=socket", "--socket="+server.Host)
	} else {
		args = append(args, "--protocol=tcp", "--host="+server.Host, "--port="+itoa(port(server)))
	}
	switch server.TLS {
	case models.TLSVerify:
		args = append(args, "--loose-ssl-mode=VERIFY_IDENTITY", "--loose-ssl", "--loose-ssl-verify-server-cert", "--ssl-ca="+authorities)
	case models.TLSRequire:
		args = append(args, "--loose-ssl-mode=REQUIRED", "--loose-ssl", "--loose-disable-ssl-verify-server-cert")
	default:
		args = append(args, "--loose-ssl-mode=PREFERRED", "--loose-disable-ssl-verify-server-cert", "--loose-get-server-public-key")
	}
	return args, []string{"MYSQL_PWD=" + server.Password, "LC_ALL=C.UTF-8"}
}

// program finds a client by its names.
func (e *Engine) program(names ...string) (path string, err error) {
	for _, name := range names {
		if path, err = e.runner.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// dump writes what mysqldump gives, cleaned, and checks that it is complete.
func (e *Engine) dump(ctx context.Context, server models.DatabaseServer, name string, w io.Writer) (int64, error) {
	program, err := e.program("mariadb-dump", "mysqldump")
	if err != nil {
		return 0, err
	}
	args, env := connection(server)
	args = append(args, "--single-transaction", "--quick", "--no-tablespaces", "--triggers", "--routines", "--skip-lock-tables",
		"--hex-blob", "--skip-dump-date", "--loose-set-gtid-purged=OFF", "--loose-column-statistics=0", "--net-buffer-length=1M", "--", name)
	counter := &database.Counter{W: w}
	tail := &database.Tail{W: counter}
	err = database.Pipe(ctx, func(ctx context.Context, w io.Writer) error {
		_, err := e.runner.Run(ctx, run.Cmd{Name: program, Args: args, Env: env, Stdout: w, Timeout: longTime, Root: true, Limits: run.Limits{OutputBytes: 1 << 10}})
		return err
	}, func(_ context.Context, r io.Reader) error { return clean(tail, r) })
	if err == nil && !tail.EndsWith(endMark) {
		err = models.Errorf(models.Unavailable, "The dump of %s ended too early. Look at the log of %s, then try again.", name, server.Name)
	}
	return counter.N, err
}

// load feeds a dump to mysql. In binary mode the client obeys no commands of its
// own in the dump, such as those that start a shell or read a file. Durability is
// not waited for statement by statement: a database that is cut short is marked.
func (e *Engine) load(ctx context.Context, server models.DatabaseServer, name string, r io.Reader) error {
	program, err := e.program("mariadb", "mysql")
	if err != nil {
		return err
	}
	args, env := connection(server)
	args = append(args, "--batch", "--binary-mode", "--local-infile=0",
		// The lock keeps the next attempt away until the server has finished with
		// this one, also when we are killed.
		"--init-command=SET SESSION unique_checks=0, foreign_key_checks=0, @hefring=GET_LOCK("+literal(name)+", 60)", "--", name)
	whole := false
	err = database.Pipe(ctx, func(_ context.Context, w io.Writer) error {
		tail := &database.Tail{W: w}
		err := clean(tail, r)
		whole = tail.EndsWith(endMark)
		return err
	}, func(ctx context.Context, r io.Reader) error {
		_, err := e.runner.Run(ctx, run.Cmd{Name: program, Args: args, Env: env, Stdin: r, Timeout: longTime, Root: true})
		return err
	})
	if err == nil && !whole || isCode(err, codeSyntax) {
		return models.Wrapf(models.Invalid, err, "What was to be loaded into %s is not a whole dump. The backup is damaged or was cut short; choose another.", name)
	}
	return err
}
