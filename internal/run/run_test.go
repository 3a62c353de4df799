package run_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hefring/internal/run"
	"hefring/models"
)

func TestRunner_Run_ExitCodes(t *testing.T) {
	for _, code := range []int{1, 2, 125, 126, 127, 255} {
		res, err := switched().Run(t.Context(), sh(fmt.Sprintf("echo one >&2; echo why >&2; exit %d", code)))
		exit, ok := errors.AsType[*run.ExitError](err)
		if !ok || exit.Code != code || exit.Signal != 0 || res.ExitCode != code {
			t.Fatalf("exit %d: got %d, %v", code, res.ExitCode, err)
		}
		if want := fmt.Sprintf("run sh -c: exit status %d: why", code); exit.Error() != want || exit.Tail != "one\nwhy" {
			t.Errorf("got %q, tail %q", exit.Error(), exit.Tail)
		}
	}
	res, err := switched().Run(t.Context(), sh("exit 0"))
	if err != nil || res.ExitCode != 0 || res.Took <= 0 {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestRunner_Run_Signal(t *testing.T) {
	for _, c := range []run.Cmd{sh("kill -SEGV $$"), {Name: "sh", Args: []string{"-c", "kill -SEGV $$"}, Service: true}} {
		res, err := switched().Run(t.Context(), c)
		exit, ok := errors.AsType[*run.ExitError](err)
		if !ok || exit.Signal != syscall.SIGSEGV || exit.Code != 139 || res.ExitCode != -1 {
			t.Errorf("got %d, %v", res.ExitCode, err)
		}
	}
}

func TestRunner_Run_ErrorIsHarmless(t *testing.T) {
	c := run.Cmd{Name: "/bin/sh", Args: []string{"-c", `printf '\033[31mred\007\n\377 \0 bad' >&2; exit 1`, "sh", "secret-argument"}, Env: []string{"TOKEN=canary"}}
	_, err := switched().Run(t.Context(), c)
	exit, ok := errors.AsType[*run.ExitError](err)
	if !ok || exit.Tail != "red\n\uFFFD  bad" {
		t.Fatalf("got %v, %q", err, exit.Tail)
	}
	if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "secret-argument") {
		t.Errorf("the message tells too much: %v", err)
	}
}

func TestRunner_Run_Environment(t *testing.T) {
	c := sh("env | sort")
	c.Env = []string{"TOKEN=a=b c", "LANG=C"}
	t.Setenv("HEFRING_SECRET", "canary")
	got := strings.Split(output(t, switched(), c), "\n")
	home := mustIdentity().Home
	if os.Geteuid() != 0 {
		home, _ = os.UserHomeDir()
	}
	want := []string{"HOME=" + home, "LANG=C", "PATH=" + run.DefaultPath, "PWD=/", "TOKEN=a=b c"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, bad := range []string{"", "=x", "NOVALUE", "A=\x00", "LD_PRELOAD=/tmp/x.so", "LD_LIBRARY_PATH=/tmp", "GLIBC_TUNABLES=x", "GCONV_PATH=/tmp", "LOCPATH=/tmp"} {
		c.Env = []string{bad}
		if _, err := switched().Run(t.Context(), c); err == nil || strings.Contains(err.Error(), "/tmp") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestRunner_Run_SecretsStayOutOfArguments(t *testing.T) {
	marker := newMarker()
	canary := "canary" + strconv.Itoa(os.Getpid()) + "-" + marker[6:]
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	c := sandboxed("sleep "+marker, run.Sandbox{Network: run.NetworkProxy, Proxy: proxySocket(t, nil)})
	c.Env = []string{"TOKEN=" + canary}
	go func() {
		_, err := switched().Run(ctx, c)
		ended <- err
	}()
	eventually(t, "the program starts", func() bool { return len(sleepers(marker)) == 1 })
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", sleepers(marker)[0]))
	if err != nil || !strings.Contains(string(environ), canary) {
		t.Errorf("the program does not have its secret: %v", err)
	}
	if pids := bearers(canary); len(pids) > 0 {
		t.Errorf("the secret is in the arguments of %v", pids)
	}
	cancel()
	<-ended
}

func TestRunner_Run_StreamsInOrder(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	var mu sync.Mutex
	var got []string
	stream := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		got = append(got, string(p))
		mu.Unlock()
		go func() { _, _ = w.Write([]byte("go on\n")) }()
		return len(p), nil
	})
	c := sh("echo 1; read x; echo 2 >&2; read x; echo 3; read x; echo 4 >&2")
	c.Stdin, c.Stdout, c.Stderr = r, stream, stream
	res, err := switched().Run(t.Context(), c)
	if err != nil || string(res.Stdout) != "1\n3\n" || string(res.Stderr) != "2\n4\n" {
		t.Errorf("got %q, %q, %v", res.Stdout, res.Stderr, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Join(got, "") != "1\n2\n3\n4\n" {
		t.Errorf("streamed %q", got)
	}
	_ = r.Close()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRunner_Run_OutputLimit(t *testing.T) {
	c := sh("yes")
	c.Limits.OutputBytes = 1000
	res, err := switched().Run(t.Context(), c)
	if !errors.Is(err, run.ErrOutputLimit) || len(res.Stdout) != 1000 || !strings.Contains(models.Explain(err), "1000 bytes") {
		t.Errorf("got %d bytes, %v", len(res.Stdout), err)
	}
	c = sh("printf 12345; exit 0")
	c.Limits.OutputBytes = 4
	if res, err := switched().Run(t.Context(), c); !errors.Is(err, run.ErrOutputLimit) || string(res.Stdout) != "1234" {
		t.Errorf("got %q, %v", res.Stdout, err)
	}
	c.Limits.OutputBytes = 5
	if got := output(t, switched(), c); got != "12345" {
		t.Errorf("got %q", got)
	}
	c = sh("head -c 3000000 /dev/zero; head -c 100000 /dev/zero >&2; echo end >&2")
	var n int
	c.Stdout = writerFunc(func(p []byte) (int, error) {
		n += len(p)
		return len(p), nil
	})
	res, err = switched().Run(t.Context(), c)
	if err != nil || n != 3000000 || len(res.Stdout) != run.DefaultOutputBytes {
		t.Errorf("streamed %d, kept %d, %v", n, len(res.Stdout), err)
	}
	if len(res.Stderr) != 64<<10 || !strings.HasSuffix(string(res.Stderr), "end\n") {
		t.Errorf("kept %d bytes of stderr", len(res.Stderr))
	}
}

func TestRunner_Run_WriterFails(t *testing.T) {
	broken := errors.New("disk full")
	calls := 0
	c := sh("echo 1; echo 2; yes | head -c 300000; exit 0")
	c.Stdout = writerFunc(func([]byte) (int, error) {
		calls++
		return 0, broken
	})
	if _, err := switched().Run(t.Context(), c); !errors.Is(err, broken) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestRunner_Run_Stdin(t *testing.T) {
	c := run.Cmd{Name: "wc", Args: []string{"-c"}, Stdin: strings.NewReader(strings.Repeat("x", 1<<20))}
	if got := output(t, switched(), c); got != "1048576" {
		t.Errorf("got %q", got)
	}
	if got := output(t, switched(), run.Cmd{Name: "wc", Args: []string{"-c"}}); got != "0" {
		t.Errorf("without stdin: got %q", got)
	}
	// A program that does not read all of it is no error.
	if got := output(t, switched(), run.Cmd{Name: "echo", Args: []string{"x"}, Stdin: strings.NewReader(strings.Repeat("x", 1<<20))}); got != "x" {
		t.Errorf("got %q", got)
	}
}

func TestRunner_Run_StrangeNames(t *testing.T) {
	dir := publicDir(t)
	for _, name := range []string{"-x", "--", "a b", "x;id", "ü"} {
		writeFile(t, filepath.Join(dir, name), "#!/bin/sh\necho \"$0\" \"$@\"\n", 0o755)
		r := run.New(run.Config{Identity: mustIdentity(), Path: dir + ":" + run.DefaultPath})
		for _, s := range []*run.Sandbox{nil, {ReadOnly: []string{dir}}} {
			args := []string{"--version", "--", "-c", "$(id)", "a b", ""}
			want := strings.TrimSpace(filepath.Join(dir, name) + " " + strings.Join(args, " "))
			if got := output(t, r, run.Cmd{Name: name, Args: args, Sandbox: s}); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
}

func TestRunner_Run_Dir(t *testing.T) {
	dir := publicDir(t)
	c := sh("pwd")
	c.Dir = dir
	if got := output(t, switched(), c); got != dir {
		t.Errorf("got %q", got)
	}
	file := filepath.Join(dir, "file")
	writeFile(t, file, "", 0o644)
	for _, bad := range []string{filepath.Join(dir, "missing"), file, "relative", dir + "\x00"} {
		c.Dir = bad
		if _, err := switched().Run(t.Context(), c); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	c = sandboxed("pwd", run.Sandbox{})
	c.Dir = dir
	if _, err := switched().Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a folder that the sandbox lacks: %v", err)
	}
}

func TestRunner_LookPath(t *testing.T) {
	r := run.New(run.Config{Path: t.TempDir()})
	for name, says := range map[string]string{
		"bwrap": "bubblewrap", "git": "apt-get install git", "php": "php-cli", "php-fpm8.2": "php-fpm", "nonsense": "not installed",
		"/nonsense/x": "/nonsense/x is missing", "/etc/passwd": "not executable", "/etc": "missing or not",
	} {
		_, err := r.LookPath(name)
		if !errors.Is(err, run.ErrNotFound) || models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), says) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, name := range []string{"", "a/b", "../x", "./x", "a\x00"} {
		if _, err := r.LookPath(name); err == nil {
			t.Errorf("%q was found", name)
		}
	}
	if got, err := switched().LookPath("sh"); err != nil || filepath.Base(got) != "sh" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := r.Run(t.Context(), run.Cmd{Name: "/bin/true"}); !errors.Is(err, run.ErrNotFound) || !strings.Contains(models.Explain(err), "bubblewrap") {
		t.Errorf("without bwrap: %v", err)
	}
}

func TestRunner_Run_Identity(t *testing.T) {
	var want string
	if id := mustIdentity(); os.Geteuid() == 0 {
		want = fmt.Sprintf("%d %d %d", id.UID, id.GID, id.GID)
	} else {
		want = fmt.Sprintf("%d %d %d", os.Geteuid(), os.Getegid(), os.Getegid())
	}
	script := "echo $(id -u) $(id -g) $(id -G)"
	for name, c := range map[string]run.Cmd{
		"plain": sh(script), "sandbox": sandboxed(script, run.Sandbox{}),
		"service": {Name: "sh", Args: []string{"-c", script}, Service: true},
	} {
		if got := output(t, switched(), c); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := output(t, switched(), sh("grep -E '^Cap(Inh|Prm|Eff|Amb)|^NoNew' /proc/self/status | tr -s '\t\n' ' '")); os.Geteuid() == 0 &&
		got != "CapInh: 0000000000000000 CapPrm: 0000000000000000 CapEff: 0000000000000000 CapAmb: 0000000000000000 NoNewPrivs: 1" {
		t.Errorf("capabilities are left: %s", got)
	}
	c := sh("id -u")
	c.Root = true
	if got := output(t, switched(), c); got != strconv.Itoa(os.Geteuid()) {
		t.Errorf("root: got %q", got)
	}
	if got := output(t, run.New(run.Config{}), sh("id -u")); got != strconv.Itoa(os.Geteuid()) {
		t.Errorf("without identity: got %q", got)
	}
}

func TestRunner_Run_RootSandboxRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		if switched().Identity() != nil {
			t.Error("an ordinary user cannot switch")
		}
		return
	}
	c := sandboxed("id", run.Sandbox{})
	c.Root = true
	if _, err := switched().Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "root") {
		t.Errorf("got %v", err)
	}
}

func TestRunner_Chown(t *testing.T) {
	dir := publicDir(t)
	outside := filepath.Join(dir, "outside")
	writeFile(t, outside, "", 0o600)
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(tree, "a", "b", "file"), "", 0o400)
	for link, target := range map[string]string{"link": outside, "up": "..", "dangling": "/nonsense", "dir": dir} {
		if err := os.Symlink(target, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := switched().Chown(tree); err != nil {
		t.Fatal(err)
	}
	want := uint32(os.Geteuid())
	if os.Geteuid() == 0 {
		want = mustIdentity().UID
	}
	for name, uid := range map[string]uint32{
		"tree": want, "tree/a": want, "tree/a/b": want, "tree/a/b/file": want, "tree/link": want, "tree/up": want,
		"outside": uint32(os.Geteuid()), ".": uint32(os.Geteuid()),
	} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("%s: %v, %v, want %d", name, info.Sys(), err, uid)
		}
	}
	if err := switched().Chown(filepath.Join(tree, "link")); err != nil {
		t.Error(err)
	}
	if err := switched().Chown(filepath.Join(dir, "missing")); err == nil && os.Geteuid() == 0 {
		t.Error("a missing folder is no error")
	}
	if err := run.New(run.Config{}).Chown(filepath.Join(dir, "missing")); err != nil {
		t.Errorf("without identity: %v", err)
	}
}

func TestRunner_Run_Parallel(t *testing.T) {
	r := switched()
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			res, err := r.Run(t.Context(), sh(fmt.Sprintf("echo %d", i)))
			if err != nil || string(res.Stdout) != fmt.Sprintf("%d\n", i) {
				t.Errorf("got %q, %v", res.Stdout, err)
			}
		})
	}
	group.Wait()
}

func TestRunner_Run_DefaultTimeoutIsUsed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := switched().Run(ctx, sh("sleep 60")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, run.ErrTimeout) {
		t.Errorf("the caller's own deadline: got %v", err)
	}
}
