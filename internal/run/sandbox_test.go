package run_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/internal/run"
)

func TestRunner_Run_HiddenFolders(t *testing.T) {
	base := publicDir(t)
	hidden, shown := filepath.Join(base, "data", "secret"), filepath.Join(base, "data", "sites")
	for _, dir := range []string{hidden, shown} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "file"), "canary", 0o644)
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(filepath.Join(base, "data"), link); err != nil {
		t.Fatal(err)
	}
	r := run.New(run.Config{Identity: mustIdentity(), Hide: []string{hidden, filepath.Join(base, "missing")}})
	script := fmt.Sprintf("cat %[1]s/data/sites/file; cat %[1]s/data/secret/file %[1]s/link/secret/file 2>/dev/null; ls -A %[1]s/data/secret /proc/1/root%[1]s/data/secret 2>/dev/null | grep file; :", base)
	for name, c := range map[string]run.Cmd{
		"plain":        sh(script),
		"sandbox":      sandboxed(script, run.Sandbox{ReadOnly: []string{filepath.Join(base, "data"), link}}),
		"writable":     sandboxed(script, run.Sandbox{Writable: []string{base}}),
		"read + write": sandboxed(script, run.Sandbox{ReadOnly: []string{base}, Writable: []string{filepath.Join(base, "data")}}),
	} {
		if got := output(t, r, c); got != "canary" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	for _, s := range []run.Sandbox{
		{ReadOnly: []string{hidden}},
		{Writable: []string{hidden + "/"}},
		{ReadOnly: []string{filepath.Join(link, "secret")}},
		{ReadOnly: []string{"/"}},
		{ReadOnly: []string{"relative"}},
		{Writable: []string{filepath.Join(base, "missing")}},
		{ReadOnly: []string{""}},
	} {
		if _, err := r.Run(t.Context(), sandboxed("true", s)); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}

func TestRunner_Run_SandboxSeesLittle(t *testing.T) {
	base := publicDir(t)
	writeFile(t, filepath.Join(base, "file"), "canary", 0o644)
	// What lies outside of the sandbox: /tmp, home, the root folder, other processes.
	got := output(t, switched(), sandboxed(fmt.Sprintf(
		`ls -A /tmp; cat %s/file 2>&1 | grep canary; ls -A / | tr '\n' ' '; ls -A "$HOME"; ls -d /proc/[0-9]* | wc -l`, base), run.Sandbox{}))
	lines := strings.Split(got, "\n")
	if len(lines) != 1 {
		t.Fatalf("got %q", got)
	}
	for _, dir := range []string{"root", "mnt", "srv", "boot", "sys", "run", "opt", "media"} {
		if strings.Contains(" "+got, " "+dir+" ") {
			t.Errorf("the sandbox sees /%s: %s", dir, got)
		}
	}
	fields := strings.Fields(got)
	if n, err := strconv.Atoi(fields[len(fields)-1]); err != nil || n > 10 {
		t.Errorf("the sandbox sees %d processes", n)
	}
	_, err := switched().Run(t.Context(), sandboxed("cat /etc/shadow", run.Sandbox{}))
	if os.Geteuid() == 0 && err == nil {
		t.Error("the sandbox reads /etc/shadow")
	}
	for _, program := range []string{"php -r 'echo 1;'", "git --version", "composer --version"} {
		if _, err := switched().Run(t.Context(), sandboxed(program, run.Sandbox{})); err != nil {
			t.Errorf("%s does not work: %v", program, err)
		}
	}
}

func TestRunner_Run_SandboxWrites(t *testing.T) {
	base := publicDir(t)
	for _, dir := range []string{"ro", "ro/rw", "rw"} {
		path := filepath.Join(base, dir)
		if err := os.Mkdir(path, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	s := run.Sandbox{
		ReadOnly: []string{filepath.Join(base, "ro")},
		Writable: []string{filepath.Join(base, "rw"), filepath.Join(base, "ro", "rw")},
	}
	script := fmt.Sprintf(`(echo x >%[1]s/new) 2>/dev/null
for d in %[1]s/ro %[1]s/rw %[1]s/ro/rw / /usr /etc /dev /var /run /home "$HOME" /tmp /var/tmp /dev/shm /proc/sys/kernel; do
if (echo x >"$d/new") 2>/dev/null; then echo "$d"; fi; done`, base)
	want := strings.Join([]string{base + "/rw", base + "/ro/rw", "/home/hefring", "/tmp", "/var/tmp", "/dev/shm"}, "\n")
	if got := output(t, switched(), sandboxed(script, s)); got != want {
		t.Errorf("writable are:\n%s\nwant:\n%s", got, want)
	}
	for _, path := range []string{"rw/new", "ro/rw/new"} {
		if _, err := os.Stat(filepath.Join(base, path)); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{"/tmp/new", filepath.Join(base, "new")} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("the sandbox wrote %s into the machine", path)
		}
	}
}

// Folders below ones that the identity may not enter are reachable in a
// sandbox, so the control plane's data can stay closed.
func TestRunner_Run_SandboxBelowClosedFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "work")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := switched().Chown(dir); err != nil {
		t.Fatal(err)
	}
	c := sandboxed("echo x >file; pwd", run.Sandbox{Writable: []string{dir}})
	c.Dir = dir
	if got := output(t, switched(), c); got != dir {
		t.Errorf("got %q", got)
	}
}

func listener(t *testing.T) (port int, hits *atomic.Int32) {
	t.Helper()
	hits = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		_, _ = io.WriteString(w, "reached")
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().(*net.TCPAddr).Port, hits
}

func TestRunner_Run_Network(t *testing.T) {
	port, hits := listener(t)
	direct := fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3", port)
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	socket := proxySocket(t, guard)
	for name, s := range map[string]run.Sandbox{"none": {}, "proxy": {Network: run.NetworkProxy, Proxy: socket}} {
		if res, err := switched().Run(t.Context(), bash(direct, s)); err == nil {
			t.Errorf("%s: reached the machine's listener: %q", name, res.Stdout)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("the listener got %d requests", hits.Load())
	}
	if got := output(t, switched(), bash(direct, run.Sandbox{Network: run.NetworkHost})); !strings.HasSuffix(got, "reached") {
		t.Errorf("host: got %q", got)
	}
	through := fmt.Sprintf(`php -r '$c = stream_context_create(["http" => ["proxy" => str_replace("http:", "tcp:", getenv("http_proxy")), "request_fulluri" => true]]);
echo file_get_contents("http://127.0.0.1:%d/", false, $c);'`, port)
	if got := output(t, switched(), bash(through, run.Sandbox{Network: run.NetworkProxy, Proxy: socket})); got != "reached" {
		t.Errorf("proxy: got %q", got)
	}
	if got := output(t, switched(), sandboxed(`cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' \n'`, run.Sandbox{})); got != "lo" {
		t.Errorf("interfaces: %q", got)
	}
}

func TestRunner_Run_ProxyForGit(t *testing.T) {
	var hits atomic.Int32
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		pkt := func(s string) { _, _ = fmt.Fprintf(w, "%04x%s", len(s)+4, s) }
		pkt("# service=git-upload-pack\n")
		_, _ = io.WriteString(w, "0000")
		pkt(strings.Repeat("a", 40) + " refs/heads/main\x00 agent=x\n")
		_, _ = io.WriteString(w, "0000")
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	allowed := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	s := &run.Sandbox{Network: run.NetworkProxy, Proxy: proxySocket(t, allowed)}
	for _, address := range []string{plain.URL, secure.URL} {
		c := run.Cmd{
			Name: "git", Args: []string{"ls-remote", "--", address + "/x.git"}, Sandbox: s,
			Env: []string{"GIT_TERMINAL_PROMPT=0", "GIT_SSL_NO_VERIFY=1"},
		}
		if got := output(t, switched(), c); got != strings.Repeat("a", 40)+"\trefs/heads/main" {
			t.Errorf("%s: got %q", address, got)
		}
	}
	before := hits.Load()
	c := run.Cmd{
		Name: "git", Args: []string{"ls-remote", "--", secure.URL + "/x.git"}, Env: []string{"GIT_SSL_NO_VERIFY=1"},
		Sandbox: &run.Sandbox{Network: run.NetworkProxy, Proxy: proxySocket(t, nil)},
	}
	if _, err := switched().Run(t.Context(), c); err == nil || hits.Load() != before {
		t.Errorf("a guarded address was reached: %v", err)
	}
}

func TestRunner_Run_SSHProxyCommand(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "SSH-2.0-x\n")
		_, _ = io.Copy(conn, conn)
	}()
	allowed := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	command := strings.NewReplacer("%h", "127.0.0.1", "%p", port).Replace(run.SSHProxyCommand)
	c := sandboxed(command, run.Sandbox{Network: run.NetworkProxy, Proxy: proxySocket(t, allowed)})
	c.Stdin = strings.NewReader("hello")
	if got := output(t, switched(), c); got != "SSH-2.0-x\nhello" {
		t.Errorf("got %q", got)
	}
	_ = ln.Close()
	<-done
	c.Sandbox.Proxy = proxySocket(t, nil)
	if _, err := switched().Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "--egress-allow") {
		t.Errorf("blocked: got %v", err)
	}
}

func TestRunner_Run_BridgeKeepsExit(t *testing.T) {
	s := run.Sandbox{Network: run.NetworkProxy, Proxy: proxySocket(t, nil)}
	_, err := switched().Run(t.Context(), sandboxed("exit 42", s))
	if exit, ok := errors.AsType[*run.ExitError](err); !ok || exit.Code != 42 {
		t.Errorf("got %v", err)
	}
	_, err = switched().Run(t.Context(), sandboxed("kill -SEGV $$", s))
	if exit, ok := errors.AsType[*run.ExitError](err); !ok || exit.Signal != syscall.SIGSEGV {
		t.Errorf("got %v", err)
	}
	c := sandboxed("cat", s)
	c.Stdin = strings.NewReader("through")
	if got := output(t, switched(), c); got != "through" {
		t.Errorf("got %q", got)
	}
	if _, err := switched().Run(t.Context(), sandboxed("true", run.Sandbox{Network: run.NetworkProxy})); err == nil {
		t.Error("a proxy sandbox without a proxy was accepted")
	}
}

func TestBridge_OtherArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"x"}, {"x", "serve"}, {"x", "run-bridge"}} {
		if _, ok := run.Bridge(args); ok {
			t.Errorf("%q is taken for a bridge", args)
		}
	}
	for _, args := range [][]string{{"x", "--run-bridge"}, {"x", "--run-bridge", "s", "--"}, {"x", "--run-connect", "h"}, {"x", "--run-connect", "h", "1"}} {
		if code, ok := run.Bridge(args); !ok || code == 0 {
			t.Errorf("%q: got %d, %v", args, code, ok)
		}
	}
}

func TestRunner_Run_FileLimit(t *testing.T) {
	dir := publicDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	c := sh("head -c 2000000 /dev/zero >big")
	c.Dir, c.Limits.FileBytes = dir, 1_000_000
	_, err := switched().Run(t.Context(), c)
	if err == nil {
		t.Fatal("no error")
	}
	info, err := os.Stat(filepath.Join(dir, "big"))
	if err != nil || info.Size() > 1_000_000 {
		t.Errorf("got %v, %v", info, err)
	}
	c.Name, c.Args = "dd", []string{"if=/dev/zero", "of=big", "bs=1000", "count=2000"}
	_, err = switched().Run(t.Context(), c)
	if exit, ok := errors.AsType[*run.ExitError](err); !ok || exit.Signal != syscall.SIGXFSZ || !strings.Contains(err.Error(), "larger than its limit") {
		t.Errorf("got %v", err)
	}
}

func TestRunner_Run_MemoryLimit(t *testing.T) {
	c := run.Cmd{Name: "php", Args: []string{"-d", "memory_limit=-1", "-r", `echo strlen(str_repeat("x", 1 << 30));`}}
	if got := output(t, switched(), c); got != strconv.Itoa(1<<30) {
		t.Errorf("the default does not suffice: %q", got)
	}
	c.Limits.MemoryBytes = 512 << 20
	_, err := switched().Run(t.Context(), c)
	if exit, ok := errors.AsType[*run.ExitError](err); !ok || !strings.Contains(strings.ToLower(exit.Tail), "memory") {
		t.Errorf("got %v", err)
	}
}

func TestRunner_Run_ForkBombIsContained(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("as an ordinary user, whose processes count in the sandbox only")
	}
	const limit = 150
	marker := newMarker()
	most := make(chan int, 1)
	ended := make(chan error, 1)
	c := sandboxed("bomb() { bomb "+marker+" | bomb "+marker+" & }; bomb; sleep "+marker, run.Sandbox{})
	c.Name, c.Timeout = "bash", time.Second
	c.Limits.Processes = limit
	go func() {
		_, err := switched().Run(t.Context(), c)
		ended <- err
	}()
	go func() {
		n := 0
		for {
			select {
			case err := <-ended:
				ended <- err
				most <- n
				return
			default:
				n = max(n, len(bearers(marker)))
			}
		}
	}()
	if n := <-most; n < 5 || n > limit+10 {
		t.Errorf("there were up to %d processes", n)
	}
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	wantGone(t, marker)
}

func TestRunner_Run_InheritedFilesStayOut(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	leak, err := syscall.Dup(int(dir.Fd())) // without close-on-exec, as from a careless parent
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leak)
	for _, c := range []run.Cmd{sh("ls /proc/self/fd"), sandboxed("ls /proc/self/fd", run.Sandbox{})} {
		if got := output(t, switched(), c); got != "0\n1\n2\n3" { // 3 is ls's own
			t.Errorf("open are %q", got)
		}
	}
}

// A private authority is known to programs that reach the network, and to no
// others.
func TestRunner_Run_SandboxTrustsOwnAuthorities(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	base := publicDir(t)
	caFile := filepath.Join(base, "ca.pem")
	writeFile(t, caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})), 0o644)
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	network := run.Sandbox{Network: run.NetworkProxy, Proxy: proxySocket(t, guard)}
	ask := run.Cmd{Name: "git", Args: []string{"ls-remote", "--", server.URL + "/x.git"}, Env: []string{"GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1"}}
	ask.Sandbox = &network
	for name, test := range map[string]struct{ caFile, says string }{
		"known":   {caFile, "not found"},
		"unknown": {"", "certificate"},
	} {
		r := run.New(run.Config{Identity: mustIdentity(), CAFile: test.caFile})
		_, err := r.Run(t.Context(), ask)
		if exit, ok := errors.AsType[*run.ExitError](err); !ok || !strings.Contains(exit.Tail, test.says) {
			t.Errorf("%s: got %v", name, err)
		}
		script := `echo "$SSL_CERT_FILE $COMPOSER_CAFILE"; test -n "$SSL_CERT_FILE" && ls "$SSL_CERT_FILE"`
		want := "\n"
		if test.caFile != "" {
			want = caFile + " " + caFile + "\n" + caFile
		}
		if got := output(t, r, sandboxed(script+"; :", network)); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: got %q", name, got)
		}
		if got := output(t, r, sandboxed(script+"; :", run.Sandbox{})); strings.TrimSpace(got) != "" {
			t.Errorf("%s, without network: got %q", name, got)
		}
	}
}
