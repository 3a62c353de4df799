package run_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/internal/run"
)

// runTree runs treeScript and tells when all of it is up.
func runTree(t *testing.T, ctx context.Context, r *run.Runner, c run.Cmd) (marker string, ended chan error) {
	t.Helper()
	marker = newMarker()
	c.Name, c.Args = "sh", []string{"-c", treeScript(marker)}
	ended = make(chan error, 1)
	go func() {
		_, err := r.Run(ctx, c)
		ended <- err
	}()
	eventually(t, "the tree starts", func() bool { return len(sleepers(marker)) == treeSize })
	return marker, ended
}

// wantGone checks that nothing of a tree is left the moment Run has returned.
func wantGone(t *testing.T, marker string) {
	t.Helper()
	if left := bearers(marker); len(left) > 0 {
		t.Errorf("processes %v still live", left)
	}
}

func TestRunner_Run_CancelKillsTree(t *testing.T) {
	t.Parallel()
	for name, test := range treeModes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			marker, ended := runTree(t, ctx, test.runner, test.cmd)
			why := errors.New("a person pressed cancel")
			start := time.Now()
			cancel(why)
			if err := <-ended; !errors.Is(err, why) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("took %s", took)
			}
			if took := time.Since(start); took < 1900*time.Millisecond {
				t.Errorf("took %s, less than the grace", took)
			}
			wantGone(t, marker)
		})
	}
}

type treeMode struct {
	runner *run.Runner
	cmd    run.Cmd
}

func treeModes(t *testing.T) map[string]treeMode {
	t.Helper()
	return map[string]treeMode{
		"own":      {run.New(run.Config{}), run.Cmd{}},
		"switched": {switched(), run.Cmd{}},
		"sandbox":  {switched(), run.Cmd{Sandbox: &run.Sandbox{}}},
		"proxied":  {switched(), run.Cmd{Sandbox: &run.Sandbox{Network: run.NetworkProxy, Proxy: proxySocket(t, nil)}}},
	}
}

func TestRunner_Run_TimeoutKillsTree(t *testing.T) {
	marker := newMarker()
	c := sh(treeScript(marker))
	c.Timeout = 500 * time.Millisecond
	start := time.Now()
	res, err := switched().Run(t.Context(), c)
	if !errors.Is(err, run.ErrTimeout) || res.ExitCode != -1 {
		t.Errorf("got %d, %v", res.ExitCode, err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %s", took)
	}
	wantGone(t, marker)
}

func TestRunner_Run_EndKillsLeftovers(t *testing.T) {
	marker := newMarker()
	start := time.Now()
	// The leftover holds stdout, which must not hold up Run.
	if got := output(t, switched(), sh("setsid sleep "+marker+" & echo done")); got != "done" {
		t.Errorf("got %q", got)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	wantGone(t, marker)
}

func TestRunner_Run_GraceIsGiven(t *testing.T) {
	for name, test := range treeModes(t) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			c := test.cmd
			c.Name, c.Args = "sh", []string{"-c", `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done`}
			up := &watch{word: "up", seen: cancel}
			c.Stdout = up
			res, err := test.runner.Run(ctx, c)
			if !errors.Is(err, context.Canceled) || string(res.Stdout) != "up\nbye\n" {
				t.Errorf("got %q, %v", res.Stdout, err)
			}
			if res.Took > 1900*time.Millisecond {
				t.Errorf("took %s although the program ended by itself", res.Took)
			}
		})
	}
}

// watch calls seen when the first chunk comes.
type watch struct {
	word string
	seen func()
}

func (w *watch) Write(p []byte) (int, error) {
	w.seen()
	return len(p), nil
}

func TestRunner_Run_StuckWriterDoesNotHoldCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	marker := newMarker()
	c := sh("echo x; sleep " + marker)
	c.Stdout = &watch{seen: func() {
		cancel()
		<-release
	}}
	start := time.Now()
	if _, err := switched().Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %s", took)
	}
	wantGone(t, marker)
}

func TestRunner_Run_StuckReaderDoesNotHoldEnd(t *testing.T) {
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	c := sh("echo done")
	c.Stdin = r
	if got := output(t, switched(), c); got != "done" {
		t.Errorf("got %q", got)
	}
}

func TestRunner_Run_CancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := switched().Run(ctx, sh("echo x")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// startStarter runs the test binary as a starter, which dies by kill -9.
func startStarter(t *testing.T, spec string, as *syscall.Credential) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if as != nil {
		self = publicCopy(t, self)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), starterEnv+"="+spec)
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func publicCopy(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(publicDir(t), "starter")
	writeFile(t, copied, string(data), 0o755)
	return copied
}

func TestRunner_Run_TreeDiesWithStarter(t *testing.T) {
	socket := proxySocket(t, nil)
	modes := map[string]*syscall.Credential{"own": nil, "switched": nil, "sandbox": nil, "proxied": nil}
	if os.Geteuid() == 0 {
		modes["ordinary user"] = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	for mode, as := range modes {
		t.Run(mode, func(t *testing.T) {
			marker := newMarker()
			spec := fmt.Sprintf("%s %s %s", mode, marker, socket)
			if as != nil {
				spec = "own " + marker
			}
			cmd := startStarter(t, spec, as)
			eventually(t, "the tree starts", func() bool { return len(sleepers(marker)) == treeSize })
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the tree dies", func() bool { return len(bearers(marker)) == 0 })
		})
	}
}

// A kill in the first milliseconds finds every stage of the start.
func TestRunner_Run_TreeDiesWithStarterEarly(t *testing.T) {
	for i := range 24 {
		marker := newMarker()
		cmd := startStarter(t, "sandbox "+marker, nil)
		if i%2 == 0 { // the moment that something of the tree shows
			eventually(t, "the start begins", func() bool { return len(bearers(marker)) > 0 })
		} else {
			eventually(t, "a sleeper shows", func() bool { return len(sleepers(marker)) > i%treeSize })
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		quiet := time.Now()
		eventually(t, "the tree stays dead", func() bool {
			if len(bearers(marker)) > 0 {
				quiet = time.Now()
			}
			return time.Since(quiet) > 150*time.Millisecond
		})
	}
}

func TestRunner_Run_ServiceLives(t *testing.T) {
	for name, script := range map[string]string{
		"polite":       "setsid sleep @ >/dev/null 2>&1 </dev/null & echo up",
		"holds stdout": "setsid sleep @ & echo up",
	} {
		t.Run(name, func(t *testing.T) {
			marker := newMarker()
			t.Cleanup(func() {
				for _, pid := range sleepers(marker) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				eventually(t, "the service ends", func() bool { return len(sleepers(marker)) == 0 })
			})
			c := sh(strings.ReplaceAll(script, "@", marker))
			c.Service = true
			start := time.Now()
			if got := output(t, switched(), c); got != "up" {
				t.Errorf("got %q", got)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
			eventually(t, "the service is up", func() bool { return len(sleepers(marker)) == 1 })
			pids := sleepers(marker)
			info, err := os.Stat(fmt.Sprintf("/proc/%d", pids[0]))
			if err != nil {
				t.Fatal(err)
			}
			if uid := info.Sys().(*syscall.Stat_t).Uid; os.Geteuid() == 0 && uid != mustIdentity().UID {
				t.Errorf("the service runs as %d", uid)
			}
		})
	}
}

func TestRunner_Run_ServiceCancelled(t *testing.T) {
	marker := newMarker()
	c := sh("trap '' TERM; sleep " + marker + "; sleep " + marker)
	c.Service, c.Timeout = true, 300*time.Millisecond
	_, err := switched().Run(t.Context(), c)
	if !errors.Is(err, run.ErrTimeout) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the service ends", func() bool { return len(bearers(marker)) == 0 })
}

func proxySocket(t *testing.T, guard *egress.Guard) string {
	t.Helper()
	if guard == nil {
		guard = egress.New(egress.Config{})
	}
	proxy, err := guard.ServeProxy(t.Context(), filepath.Join(t.TempDir(), "proxy.sock"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proxy.Close()
		guard.Close()
	})
	return proxy.Socket()
}

func TestRunner_Run_InContainer(t *testing.T) {
	t.Parallel()
	marker := newMarker()
	// The shell is 1 there, and 2 is gone when the test's own program comes.
	args := []string{"--pid", "--fork", "--mount-proc", "sh", "-c", `/bin/true; "$0"; exit $?`, os.Args[0]}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", args...)
	cmd.Env = append(os.Environ(), starterEnv+"=container "+marker)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "took longer than its limit of 1s") || !strings.HasSuffix(string(out), " []\n") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestRunner_Contained_ProcIsCovered(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root covers parts of /proc")
		return
	}
	t.Parallel()
	script := `mount -t tmpfs tmpfs /proc/fs && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$0"`
	program := filepath.Join(publicDir(t), "program")
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, program, string(binary), 0o755)
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-c", script, program)
	cmd.Env, cmd.Dir = append(os.Environ(), starterEnv+"=container "+newMarker()), "/"
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "unmask=ALL") || strings.Contains(string(out), "namespaces") {
		t.Errorf("got %v\n%s", err, out)
	}
}
