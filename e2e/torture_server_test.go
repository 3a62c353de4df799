package e2e_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// The kinds of databases that sites are tortured on.
const (
	sqliteSites   = "sqlite"
	mariadbSites  = "mariadb"
	postgresSites = "postgres"
)

// siteServer is a private database server for sites, over the loopback network
// and with passwords, which can be killed and started again. What it said is done
// stays done, as it is not the machine that dies.
type siteServer struct {
	t        *testing.T
	kind     string
	dir      string
	port     int
	password string
	who      *syscall.Credential
	cmd      *exec.Cmd
	ended    chan struct{}
}

// administrator is whom Hefring knows on the server.
const administrator = "keeper"

// newSiteServer starts a server that is gone with its data when the test ends;
// nil for SQLite.
func newSiteServer(t *testing.T, kind string) *siteServer {
	t.Helper()
	if kind == sqliteSites {
		return nil
	}
	dir, err := os.MkdirTemp("/tmp", "hefring-e2e-server-") //nolint:usetesting // another user has to get there
	if err != nil {
		t.Fatal(err)
	}
	release, err := guard(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	s := &siteServer{t: t, kind: kind, dir: dir, port: freePorts(t, 1)[0], password: "a 'long' \"private\" password"}
	s.prepare()
	t.Cleanup(s.kill)
	s.start()
	if err := s.introduce(); err != nil {
		t.Fatalf("introduce %s to the %s server: %v", administrator, kind, err)
	}
	return s
}

// prepare makes the folder of the server's data.
func (s *siteServer) prepare() {
	s.t.Helper()
	name := map[string]string{mariadbSites: "mysql", postgresSites: "postgres"}[s.kind]
	if os.Geteuid() == 0 {
		account, err := user.Lookup(name)
		if err != nil {
			s.t.Fatalf("root needs the account %s to run the server: %v", name, err)
		}
		uid, errUID := strconv.ParseUint(account.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(account.Gid, 10, 32)
		if err := errors.Join(errUID, errGID, os.Chown(s.dir, int(uid), int(gid))); err != nil {
			s.t.Fatal(err)
		}
		s.who = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(s.dir, "data")
	args := []string{s.program("initdb"), "-D", data, "-U", "root", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"}
	if s.kind == mariadbSites {
		args = []string{"mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--datadir=" + data}
	}
	cmd := s.command(args)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("prepare the %s server: %v\n%s", s.kind, err, out)
	}
	if s.kind == postgresSites {
		rules := "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
		if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(rules), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *siteServer) command(args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + s.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.who}
	return cmd
}

// program finds one of PostgreSQL's.
func (s *siteServer) program(name string) string {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return name
	}
	slices.Sort(found)
	return found[len(found)-1]
}

// start starts the server, as the machine would after a crash, and waits until it
// answers.
func (s *siteServer) start() {
	s.t.Helper()
	data := filepath.Join(s.dir, "data")
	args := []string{
		s.program("postgres"), "-D", data, "-k", s.dir, "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB", "-c", "max_connections=100",
	}
	if s.kind == mariadbSites {
		args = []string{
			"mariadbd", "--no-defaults", "--datadir=" + data, "--socket=" + s.socket(), "--pid-file=" + filepath.Join(s.dir, "pid"),
			"--port=" + strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--skip-log-bin", "--skip-name-resolve",
			"--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M",
		}
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	begin := time.Now()
	for {
		s.cmd = s.command(args)
		s.cmd.Stdout, s.cmd.Stderr = log, log
		if err := s.cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		ended := make(chan struct{})
		s.ended = ended
		cmd := s.cmd
		go func() { _ = cmd.Wait(); close(ended) }()
		if s.answers(ended) {
			return
		}
		// What the killed one left may need a moment to go, such as its memory.
		if time.Since(begin) > time.Minute {
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("the %s server does not start:\n%s", s.kind, text[max(0, len(text)-4000):])
		}
		s.kill()
	}
}

func (s *siteServer) answers(ended <-chan struct{}) bool {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if _, err := s.ask("SELECT 'x'"); err == nil {
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// kill ends the server with all its processes at once.
func (s *siteServer) kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.ended
}

func (s *siteServer) socket() string { return filepath.Join(s.dir, "s") }

// introduce makes the user that Hefring is to use: not the all-mighty one, but one
// that may create databases and users.
func (s *siteServer) introduce() error {
	statements := []string{"CREATE ROLE " + administrator + " LOGIN CREATEDB CREATEROLE PASSWORD '" + quoted(s.password) + "'"}
	if s.kind == mariadbSites {
		statements = []string{
			"CREATE USER " + administrator + "@'127.0.0.1' IDENTIFIED BY '" + quoted(s.password) + "'",
			"GRANT ALL PRIVILEGES ON *.* TO " + administrator + "@'127.0.0.1' WITH GRANT OPTION",
		}
	}
	for _, statement := range statements {
		if _, err := s.ask(statement); err != nil {
			return err
		}
	}
	return nil
}

func quoted(text string) string {
	return string(bytes.ReplaceAll([]byte(text), []byte("'"), []byte("''")))
}

// ask runs a statement as the server's owner and gives the first column.
func (s *siteServer) ask(statement string, args ...any) ([]string, error) {
	return s.askIn("", statement, args...)
}

// askIn is ask in one of its databases.
func (s *siteServer) askIn(database, statement string, args ...any) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if s.kind == mariadbSites {
		return s.askMariaDB(ctx, database, statement, args...)
	}
	if database == "" {
		database = "postgres"
	}
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=root dbname=%s sslmode=disable", s.dir, s.port, database))
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	if len(rows.FieldDescriptions()) == 0 {
		rows.Close()
		return nil, rows.Err()
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (s *siteServer) askMariaDB(ctx context.Context, database, statement string, args ...any) ([]string, error) {
	config := mysql.NewConfig()
	config.Net, config.Addr, config.User, config.DBName = "unix", s.socket(), "root", database
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var text sql.NullString
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text.String)
	}
	return list, rows.Err()
}

// databases lists those that do not come with the server.
func (s *siteServer) databases() ([]string, error) {
	if s.kind == mariadbSites {
		return s.ask(`SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY 1`)
	}
	return s.ask(`SELECT datname::text FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1`)
}

// users lists those that Hefring made.
func (s *siteServer) users() ([]string, error) {
	if s.kind == mariadbSites {
		return s.ask(`SELECT DISTINCT user FROM mysql.user WHERE user NOT IN ('', 'root', 'mysql', 'mariadb.sys', 'PUBLIC', ?) ORDER BY 1`, administrator)
	}
	return s.ask(`SELECT rolname::text FROM pg_roles WHERE rolname NOT LIKE 'pg\_%' AND rolname NOT IN ('root', $1) ORDER BY 1`, administrator)
}

// tables lists those of one database.
func (s *siteServer) tables(database string) ([]string, error) {
	if s.kind == mariadbSites {
		return s.ask(`SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY 1`, database)
	}
	return s.askIn(database, `SELECT tablename::text FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`)
}

// address is where it listens.
func (s *siteServer) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// engine is what Hefring calls this kind.
func (s *siteServer) engine() string {
	if s.kind == mariadbSites {
		return "mysql"
	}
	return "postgres"
}

// The servers of the torture do what the torture relies on: what they said is
// done is there after kill -9.
func TestSiteServer_KillAndStart_KeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{mariadbSites, postgresSites} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSiteServer(t, kind)
			statements := []string{"CREATE DATABASE things"}
			if kind == mariadbSites {
				statements = append(statements, "CREATE TABLE things.thing (id int primary key)", "INSERT INTO things.thing VALUES (7)")
			}
			for _, statement := range statements {
				if _, err := s.ask(statement); err != nil {
					t.Fatal(err)
				}
			}
			if kind == postgresSites {
				for _, statement := range []string{"CREATE TABLE thing (id int primary key)", "INSERT INTO thing VALUES (7)"} {
					if _, err := s.askIn("things", statement); err != nil {
						t.Fatal(err)
					}
				}
			}
			s.kill()
			if _, err := net.DialTimeout("tcp", s.address(), time.Second); err == nil {
				t.Error("the killed server still listens")
			}
			s.start()
			tables, err := s.tables("things")
			if err != nil || !slices.Equal(tables, []string{"thing"}) {
				t.Errorf("tables %v, %v", tables, err)
			}
			rows, err := s.askIn("things", "SELECT COUNT(*) FROM thing WHERE id = 7")
			if kind == postgresSites {
				rows, err = s.askIn("things", "SELECT id::text FROM thing")
			}
			if err != nil || len(rows) != 1 {
				t.Errorf("rows %v, %v", rows, err)
			}
			databases, err := s.databases()
			if err != nil || !slices.Equal(databases, []string{"things"}) {
				t.Errorf("databases %v, %v", databases, err)
			}
			if users, err := s.users(); err != nil || len(users) != 0 {
				t.Errorf("users %v, %v", users, err)
			}
		})
	}
}
