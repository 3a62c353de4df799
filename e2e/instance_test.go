package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hefring is one Hefring with a data folder of its own.
type hefring struct {
	t         *testing.T
	dir       string // holds all of it; everybody may pass through
	url       string // of the dashboard
	sitesPort int
	flags     []string
	command   string // that runs; "" is serve
	cmd       *exec.Cmd
	ended     chan struct{} // closed when the process is gone
}

// password is what every user of the tests has.
const password = "a long and private sentence"

// newHefring starts a Hefring whose control plane is in database, "" for SQLite,
// with the users admin and second. It is gone with all its processes when the
// test ends, however that ends.
func newHefring(t *testing.T, database string) *hefring {
	t.Helper()
	// Not t.TempDir(): as root that is below a folder which the web user may not enter.
	dir, err := os.MkdirTemp("/tmp", "hefring-e2e-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
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
	ports := freePorts(t, 4)
	h := &hefring{t: t, dir: dir, url: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), sitesPort: ports[1]}
	h.flags = []string{
		"--data=" + h.data(), fmt.Sprintf("--listen=127.0.0.1:%d", ports[0]), fmt.Sprintf("--sites-port=%d", ports[1]),
		fmt.Sprintf("--probe-port=%d", ports[2]), fmt.Sprintf("--sites-tls-port=%d", ports[3]), "--egress-allow=127.0.0.1/32",
	}
	if database != "" {
		h.flags = append(h.flags, "--database="+database)
	}
	t.Cleanup(h.tell)
	h.start()
	for _, name := range []string{"admin", "second"} {
		h.run(password+"\n", "user", "add", name)
	}
	return h
}

func (h *hefring) data() string { return filepath.Join(h.dir, "data") }

func (h *hefring) path(parts ...string) string {
	return filepath.Join(append([]string{h.data()}, parts...)...)
}

// guard starts the watchdog that ends what runs in the folder and removes it when
// release is called, and also when this process is killed.
func guard(dir string) (release func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dog := exec.Command(self)
	dog.Env = append(os.Environ(), watchdogVar+"="+dir)
	dog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	dog.Stdout, dog.Stderr = &out, &out
	leash, err := dog.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := dog.Start(); err != nil {
		return nil, err
	}
	return func() error {
		_ = leash.Close()
		if err := dog.Wait(); err != nil {
			return fmt.Errorf("clean up %s: %w\n%s", dir, err, out.String())
		}
		return nil
	}, nil
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, 0, n)
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }() // all are held until all are known
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// start starts the process and waits until it answers.
func (h *hefring) start() {
	h.t.Helper()
	log, err := os.OpenFile(h.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	h.cmd = exec.Command(shared.binary, append([]string{cmp.Or(h.command, "serve")}, h.flags...)...)
	h.cmd.Dir = "/"
	h.cmd.Stdout, h.cmd.Stderr = log, log
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan struct{})
	h.ended = ended
	cmd := h.cmd
	go func() { _ = cmd.Wait(); close(ended) }()
	client := http.Client{Timeout: 2 * time.Second}
	eventually(h.t, time.Minute, "Hefring answers", func() bool {
		select {
		case <-ended:
			h.t.Fatal("hefring ended at once")
		default:
		}
		response, err := client.Get(h.url + "/healthz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

func (h *hefring) logFile() string { return filepath.Join(h.dir, "hefring.log") }

// kill ends the process as a power cut would.
func (h *hefring) kill() { h.signal(syscall.SIGKILL) }

// stop ends the process as an operator would.
func (h *hefring) stop() { h.signal(syscall.SIGTERM) }

func (h *hefring) signal(signal syscall.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(signal); err != nil {
		h.t.Fatalf("signal hefring: %v", err)
	}
	select {
	case <-h.ended:
	case <-time.After(time.Minute):
		h.t.Fatalf("hefring does not end on %s", signal)
	}
}

// orphans lists programs that still work in the data folder; the web server is
// meant to.
func (h *hefring) orphans() []process {
	var left []process
	for _, p := range inFolder(h.dir) {
		if p.name != "nginx" && !strings.HasPrefix(p.name, "php-fpm") {
			left = append(left, p)
		}
	}
	return left
}

// run runs another command of the program and gives what it prints.
func (h *hefring) run(input string, args ...string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, shared.binary, append(args, h.flags...)...)
	cmd.Stdin = strings.NewReader(input)
	var errout bytes.Buffer
	cmd.Stderr = &errout
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("hefring %v: %v\n%s", args, err, errout.String())
	}
	return strings.TrimSpace(string(out))
}

// tell shows the end of the program's own log when the test failed.
func (h *hefring) tell() {
	if !h.t.Failed() {
		return
	}
	text, err := os.ReadFile(h.logFile())
	if err != nil {
		h.t.Log(err)
		return
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	h.t.Logf("hefring's log ends with:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, limit time.Duration, what string, yes func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !yes() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain until: %s", limit, what)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// never asks for a while and fails when the answer is yes.
func never(t *testing.T, during time.Duration, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		if yes() {
			t.Fatalf("it happened: %s", what)
		}
	}
}
