// Package testpg gives tests real PostgreSQL databases. The first test that
// asks starts a private cluster, reachable through a unix socket in a temporary
// folder, where everybody is trusted, and through a port of 127.0.0.1, where
// everybody needs a password; the cluster and the folder are gone when the test
// process ends, however it ends. A missing PostgreSQL fails the test.
package testpg

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// owner is the cluster's superuser.
const owner = "hefring"

// startTimeout bounds initdb and the server's start together.
const startTimeout = 60 * time.Second

// watchdog starts the server and reads commands from its standard input, which
// the kernel closes when the test process ends, also after kill -9. $1 is the
// folder of the programs, $2 the cluster's, $3 the port, the rest more options of
// the server.
const watchdog = `
trap '' INT TERM HUP
bin=$1 dir=$2 port=$3
shift 3
"$bin/initdb" -D "$dir/data" -U ` + owner + ` --auth-local=trust --auth-host=scram-sha-256 -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 || exit 1
start() {
  "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off \
    -c full_page_writes=off -c max_connections=300 -c shared_buffers=32MB -c autovacuum=off "$@" </dev/null >>"$dir/log" 2>&1 &
  server=$!
}
signal() { # the first one first: it makes and buries the others
  kill "$1" "$server"
  kill "$1" $(cat "/proc/$server/task/$server/children")
}
start "$@"
while read -r command; do
  case $command in
    kill)
      kill -STOP "$server"
      children=$(cat "/proc/$server/task/$server/children")
      kill -KILL $children "$server"
      wait "$server"
      for child in $children; do # its memory is in the way of the next start
        while [ -n "$(cat "/proc/$child/maps" 2>/dev/null)" ]; do sleep 0.01; done
      done ;;
    start) start "$@" ;;
    freeze)
      signal -STOP
      touch "$dir/frozen" ;;
    thaw)
      rm "$dir/frozen"
      signal -CONT ;;
  esac
done
kill -CONT "$server" 2>/dev/null
kill -QUIT "$server" 2>/dev/null
wait "$server"
rm -rf "$dir"
`

// Template is a database that is prepared once and then copied for each test.
type Template struct {
	prepare func(ctx context.Context, dsn string) error

	once sync.Once
	name string
	err  error
}

// NewTemplate makes a Template. prepare gets an empty database, for example to
// migrate it, and must leave no connection to it open.
func NewTemplate(prepare func(ctx context.Context, dsn string) error) *Template {
	return &Template{prepare: prepare}
}

// Open copies the template for one test and gives the copy's DSN. The copy is
// dropped when the test ends.
func (p *Template) Open(tb testing.TB) string {
	tb.Helper()
	c := running(tb)
	p.once.Do(func() {
		p.name = "template_" + strings.ToLower(rand.Text())
		if p.err = c.exec("CREATE DATABASE " + p.name); p.err == nil {
			p.err = p.prepare(context.Background(), c.dsn(p.name))
		}
	})
	if p.err != nil {
		tb.Fatalf("prepare the template database: %v", p.err)
	}
	return c.create(tb, " TEMPLATE "+p.name)
}

// Empty gives the DSN of a new database without any table. It is dropped when
// the test ends.
func Empty(tb testing.TB) string {
	tb.Helper()
	return running(tb).create(tb, "")
}

type cluster struct {
	dir   string
	port  int
	stdin io.WriteCloser // held open for as long as the server shall live
}

// start runs once in a process: a cluster for every test would take a second
// each.
//
//nolint:gochecknoglobals // the test process has one cluster, and tests share nothing else
var start = sync.OnceValues(func() (*cluster, error) { return startCluster() })

func running(tb testing.TB) *cluster {
	tb.Helper()
	c, err := start()
	if err != nil {
		tb.Fatalf("start PostgreSQL: %v", err)
	}
	return c
}

func startCluster(options ...string) (*cluster, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	who, err := identity()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "testpg-")
	if err != nil {
		return nil, err
	}
	if who != nil {
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PHP of another user connects to the socket
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir, port: port}
	cmd := exec.Command("/bin/sh", append([]string{"-c", watchdog, "testpg", bin, dir, strconv.Itoa(c.port)}, options...)...) //nolint:noctx,gosec // it outlives every test's context; the script is a constant
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: who}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c.stdin = stdin
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return c, c.await(ended)
}

// await returns when the server answers, or with its log when it does not.
func (c *cluster) await(ended <-chan error) error {
	deadline := time.After(startTimeout)
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := c.exec("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case err := <-ended:
			return c.fail(fmt.Errorf("the server ended at once: %w", err))
		case <-deadline:
			return c.fail(err)
		case <-retry.C:
		}
	}
}

func (c *cluster) fail(cause error) error {
	log, err := os.ReadFile(filepath.Join(c.dir, "log"))
	if err != nil {
		log = []byte(err.Error())
	}
	return errors.Join(cause, fmt.Errorf("its log says:\n%s", log), c.stdin.Close(), os.RemoveAll(c.dir))
}

func (c *cluster) create(tb testing.TB, how string) string {
	tb.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	if err := c.exec("CREATE DATABASE " + name + how); err != nil {
		tb.Fatalf("create a database: %v", err)
	}
	tb.Cleanup(func() {
		if err := c.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			tb.Errorf("drop a database: %v", err)
		}
	})
	return c.dsn(name)
}

func (c *cluster) dsn(database string) string {
	values := url.Values{"host": {c.dir}, "port": {strconv.Itoa(c.port)}, "user": {owner}, "sslmode": {"disable"}}
	return (&url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: values.Encode()}).String()
}

func (c *cluster) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.dsn("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // what Listen gives
	return port, listener.Close()
}

// programs finds the folder of the newest PostgreSQL on this machine.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", errors.New("there is no PostgreSQL server on this machine; install the package postgresql")
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1]), nil
}

// version reads 15 out of /usr/lib/postgresql/15/bin/postgres.
func version(path string) int {
	number, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return number
}

// identity is who runs the server: PostgreSQL refuses to run as root. nil means
// ourselves.
func identity() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nil is what SysProcAttr takes for ourselves
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("root needs the account postgres to run the server; install the package postgresql: %w", err)
	}
	uid, errUID := strconv.ParseUint(account.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
