// Package testmysql gives tests a real MariaDB server. The first test that asks
// starts a private one with its data in a temporary folder, reachable through a
// unix socket in there and through a port of 127.0.0.1; server and folder are
// gone when the test process ends, however it ends. A missing MariaDB fails the
// test.
package testmysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"hefring/models"
)

// Admin is the user that tests give to Hefring: it may do what an operator's
// would, and needs its password.
const (
	Admin    = "hefring_admin"
	Password = "only for tests' \"\\$ä"
)

const startTimeout = 60 * time.Second

// watchdog starts the server and reads commands from its standard input, which
// the kernel closes when the test process ends, also after kill -9. $1 is the
// folder, $2 the port, the rest more options of the server.
const watchdog = `
trap '' INT TERM HUP
dir=$1 port=$2
shift 2
mariadb-install-db --no-defaults --datadir="$dir/data" --auth-root-authentication-method=normal --skip-test-db \
  --innodb-log-file-size=48M >"$dir/log" 2>&1 || exit 1
cat >"$dir/init" <<'SQL'
CREATE USER IF NOT EXISTS '` + Admin + `'@'%' IDENTIFIED BY 'PASSWORD';
GRANT ALL PRIVILEGES ON *.* TO '` + Admin + `'@'%' WITH GRANT OPTION;
DELETE FROM mysql.global_priv WHERE User = '';
FLUSH PRIVILEGES;
SQL
start() {
  mariadbd --no-defaults --datadir="$dir/data" --socket="$dir/s" --port="$port" --bind-address=127.0.0.1 --pid-file="$dir/pid" \
    --init-file="$dir/init" --skip-name-resolve --character-set-server=utf8mb4 --innodb-log-file-size=48M --innodb-buffer-pool-size=128M --innodb-flush-log-at-trx-commit=2 \
    --max-allowed-packet=128M --performance-schema=off "$@" </dev/null >>"$dir/log" 2>&1 3>&- &
  server=$!
}
start "$@"
while read -r command; do
  case $command in
    kill) kill -KILL "$server"; wait "$server" ;;
    start) start "$@" ;;
  esac
done
kill -KILL "$server" 2>/dev/null
wait "$server"
rm -rf "$dir"
`

// Server is a running MariaDB.
type Server struct {
	dir   string
	port  int
	stdin io.WriteCloser // held open for as long as the server shall live
}

//nolint:gochecknoglobals // the test process has one server, and tests share nothing else
var shared = sync.OnceValues(func() (*Server, error) { return start() })

// Running is the server that all tests of the process share.
func Running(tb testing.TB) *Server {
	tb.Helper()
	s, err := shared()
	if err != nil {
		tb.Fatalf("start MariaDB: %v", err)
	}
	return s
}

// Start starts a server of the test's own, with more options for mariadbd. It
// ends with the test.
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	s, err := start(options...)
	if err != nil {
		tb.Fatalf("start MariaDB: %v", err)
	}
	tb.Cleanup(func() {
		_ = s.stdin.Close()
		s.until(tb, "the server is gone", func() error {
			if _, err := os.Stat(s.dir); err == nil {
				return errors.New("its folder is still there")
			}
			return nil
		})
	})
	return s
}

// Socket is how Hefring would be told of the server by its socket.
func (s *Server) Socket() models.DatabaseServer {
	return models.DatabaseServer{
		ID: 1, Name: "MariaDB", Engine: models.EngineMySQL, Host: filepath.Join(s.dir, "s"), User: Admin, Password: Password,
		TLS: models.TLSOff, Clients: "%", Prefix: "hefring",
	}
}

// TCP is how Hefring would be told of the server by its address.
func (s *Server) TCP() models.DatabaseServer {
	server := s.Socket()
	server.Host, server.Port = "127.0.0.1", s.port
	return server
}

// Kill ends the server with kill -9.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.command(tb, "kill")
	s.until(tb, "the server is dead", func() error {
		if s.answers() == nil {
			return errors.New("it still answers")
		}
		return nil
	})
}

// Restart starts the server again after Kill, and waits until it answers.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.command(tb, "start")
	s.until(tb, "the server answers", s.answers)
}

func (s *Server) command(tb testing.TB, command string) {
	tb.Helper()
	if _, err := io.WriteString(s.stdin, command+"\n"); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) until(tb testing.TB, what string, done func() error) {
	tb.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("wait until %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// DB opens a connection as the admin; "" names no database.
func (s *Server) DB(tb testing.TB, database string) *sql.DB {
	tb.Helper()
	db, err := s.open(database)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func (s *Server) open(database string) (*sql.DB, error) {
	config := mysql.NewConfig()
	config.Net, config.Addr, config.User, config.Passwd, config.DBName = "unix", filepath.Join(s.dir, "s"), Admin, Password, database
	config.MultiStatements = true
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (s *Server) answers() error {
	db, err := s.open("")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return errors.Join(db.PingContext(ctx), db.Close())
}

func start(options ...string) (*Server, error) {
	if _, err := exec.LookPath("mariadbd"); err != nil {
		return nil, errors.New("there is no MariaDB server on this machine; install the package mariadb-server")
	}
	who, err := identity()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "testmysql-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PHP of another user connects to the socket
		return nil, err
	}
	if who != nil {
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, port: port}
	script := strings.Replace(watchdog, "'PASSWORD'", quote(Password), 1)
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "testmysql", dir, strconv.Itoa(port)}, options...)...) //nolint:noctx,gosec // it outlives every test's context; the script is a constant
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: who}
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return s, s.await(ended)
}

func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func (s *Server) await(ended <-chan error) error {
	deadline := time.After(startTimeout)
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := s.answers()
		if err == nil {
			return nil
		}
		select {
		case err := <-ended:
			return s.fail(fmt.Errorf("the server ended at once: %w", err))
		case <-deadline:
			return s.fail(err)
		case <-retry.C:
		}
	}
}

func (s *Server) fail(cause error) error {
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		log = []byte(err.Error())
	}
	return errors.Join(cause, fmt.Errorf("its log says:\n%s", log), s.stdin.Close(), os.RemoveAll(s.dir))
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // what Listen gives
	return port, listener.Close()
}

// identity is who runs the server: MariaDB's own account where there is one,
// since it runs as root only when told so. nil means ourselves.
func identity() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nil is what SysProcAttr takes for ourselves
	}
	account, err := user.Lookup("mysql")
	if err != nil {
		return nil, fmt.Errorf("root needs the account mysql to run the server; install the package mariadb-server: %w", err)
	}
	uid, errUID := strconv.ParseUint(account.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
