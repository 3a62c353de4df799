package run_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
)

// bare is for machines without bubblewrap: its path holds none.
func bare(t *testing.T, uncontained bool) *run.Runner {
	t.Helper()
	dir := publicDir(t)
	for _, name := range []string{"sh", "sleep", "setsid", "cat", "id", "prlimit", "setpriv", "true"} {
		for _, from := range []string{"/usr/bin", "/bin"} {
			if _, err := os.Stat(filepath.Join(from, name)); err == nil {
				if err := os.Symlink(filepath.Join(from, name), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	return run.New(run.Config{Identity: mustIdentity(), Path: dir, Uncontained: uncontained})
}

func TestRunner_Contained(t *testing.T) {
	if err := switched().Contained(t.Context()); err != nil {
		t.Errorf("here it can be: %v", err)
	}
	for _, uncontained := range []bool{false, true} {
		err := bare(t, uncontained).Contained(t.Context())
		if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "bubblewrap") {
			t.Errorf("got %v", err)
		}
	}
}

func TestRunner_Run_RefusesWithoutBubblewrap(t *testing.T) {
	marker := filepath.Join(publicDir(t), "marker")
	for _, c := range []run.Cmd{sh("echo x >" + marker), sandboxed("echo x >"+marker, run.Sandbox{})} {
		c.Root = false
		if _, err := bare(t, false).Run(t.Context(), c); !errors.Is(err, run.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("it ran")
	}
}

func TestRunner_Run_Uncontained(t *testing.T) {
	dir := publicDir(t)
	c := sandboxed(`echo "out $PWD $(id -u)"; echo err >&2; cat; exit 3`, run.Sandbox{})
	c.Dir, c.Stdin = dir, strings.NewReader("in")
	res, err := bare(t, true).Run(t.Context(), c)
	exit, ok := errors.AsType[*run.ExitError](err)
	uid := "33"
	if os.Geteuid() != 0 {
		uid = strings.TrimSpace(output(t, switched(), sh("id -u")))
	}
	if !ok || exit.Code != 3 || string(res.Stdout) != "out "+dir+" "+uid+"\nin" || string(res.Stderr) != "err\n" {
		t.Errorf("got %q, %q, %v", res.Stdout, res.Stderr, err)
	}
	c.Dir = filepath.Join(dir, "missing")
	if _, err := bare(t, true).Run(t.Context(), c); err == nil {
		t.Error("a missing folder is accepted")
	}
}

func TestRunner_Run_UncontainedLimits(t *testing.T) {
	c := sandboxed("echo 123456789 >file", run.Sandbox{})
	c.Dir = publicDir(t)
	if err := os.Chmod(c.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	c.Limits.FileBytes = 4
	_, err := bare(t, true).Run(t.Context(), c)
	exit, ok := errors.AsType[*run.ExitError](err)
	if !ok || exit.Signal != syscall.SIGXFSZ && !strings.Contains(exit.Tail, "large") {
		t.Errorf("got %v", err)
	}
}

func TestRunner_Run_UncontainedProxy(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "through") }))
	t.Cleanup(server.Close)
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	proxy, err := guard.ServeProxy(t.Context(), filepath.Join(publicDir(t), "proxy.sock"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proxy.Close()
		guard.Close()
	})
	c := sandboxed(`echo "$http_proxy"; echo "$SSH"`, run.Sandbox{Network: run.NetworkProxy, Proxy: proxy.Socket()})
	c.Env = []string{"SSH=ssh -o ProxyCommand=" + run.SSHProxyCommand}
	lines := strings.Split(output(t, bare(t, true), c), "\n")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "http://127.0.0.1:") || !strings.Contains(lines[1], "ProxyCommand="+self+" ") {
		t.Errorf("got %q", lines)
	}
}

func TestRunner_Run_UncontainedCancelKillsGroup(t *testing.T) {
	for name, network := range map[string]run.Network{"none": run.NetworkNone, "proxy": run.NetworkProxy} {
		t.Run(name, func(t *testing.T) {
			marker := newMarker()
			c := sandboxed("trap '' TERM; sleep "+marker+" & sleep "+marker+"; :", run.Sandbox{Network: network, Proxy: proxySocket(t, nil)})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := bare(t, true).Run(ctx, c)
				ended <- err
			}()
			eventually(t, "it starts", func() bool { return len(sleepers(marker)) == 2 })
			start := time.Now()
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
			eventually(t, "all of it ends", func() bool { return len(bearers(marker)) == 0 })
		})
	}
}

func TestRunner_Run_UncontainedEndKillsGroup(t *testing.T) {
	marker := newMarker()
	if got := output(t, bare(t, true), sandboxed("sleep "+marker+" & echo done", run.Sandbox{})); got != "done" {
		t.Errorf("got %q", got)
	}
	eventually(t, "the leftover ends", func() bool { return len(bearers(marker)) == 0 })
}
