package run_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hefring/internal/run"
)

// starterEnv makes the test binary a process that runs a tree of sleepers, so
// that a test can kill it.
const starterEnv = "RUN_TEST_STARTER"

func TestMain(m *testing.M) {
	if code, ok := run.Bridge(os.Args); ok {
		os.Exit(code)
	}
	if spec := os.Getenv(starterEnv); spec != "" {
		os.Exit(starter(spec))
	}
	goleak.VerifyTestMain(m)
}

// starter runs a tree as "mode marker socket" says, until it is killed.
func starter(spec string) int {
	fields := strings.Fields(spec)
	if fields[0] == "container" {
		return inContainer(fields[1])
	}
	c := run.Cmd{Name: "sh", Args: []string{"-c", treeScript(fields[1])}}
	r := run.New(run.Config{})
	switch fields[0] {
	case "switched":
		r = run.New(run.Config{Identity: mustIdentity()})
	case "sandbox":
		r = run.New(run.Config{Identity: mustIdentity()})
		c.Sandbox = &run.Sandbox{}
	case "proxied":
		r = run.New(run.Config{Identity: mustIdentity()})
		c.Sandbox = &run.Sandbox{Network: run.NetworkProxy, Proxy: fields[2]}
	}
	if _, err := r.Run(context.Background(), c); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// inContainer looks, where /proc shows a few processes only, whether programs can be
// contained, and die with all their descendants.
func inContainer(marker string) int {
	r := run.New(run.Config{})
	err := r.Contained(context.Background())
	if err == nil {
		_, err = r.Run(context.Background(), run.Cmd{Name: "sh", Args: []string{"-c", treeScript(marker)}, Timeout: time.Second})
	}
	_, _ = fmt.Fprintln(os.Stdout, err, sleepers(marker))
	return 0
}

func mustIdentity() *run.Identity {
	id, err := run.LookupIdentity("www-data")
	if err != nil {
		panic(err)
	}
	return id
}

// treeSize is how many processes of treeScript bear its marker in the end.
const treeSize = 5

// treeScript starts sleepers that leave their parents, sessions and groups and
// ignore polite signals.
func treeScript(marker string) string {
	return strings.ReplaceAll(`trap '' TERM HUP INT
setsid sleep @ &
(setsid sh -c 'sleep @ & sleep @; :' &)
(nohup setsid sleep @ >/dev/null 2>&1 &)
sleep @
:`, "@", marker)
}

var markers atomic.Int64

// newMarker is a number of seconds that no other sleeper has.
func newMarker() string {
	return fmt.Sprintf("86400.%d%d", os.Getpid(), markers.Add(1))
}

// sleepers lists the processes that sleep for marker seconds.
func sleepers(marker string) []int {
	return processes(func(args []string) bool { return len(args) == 2 && args[0] == "sleep" && args[1] == marker })
}

// bearers lists all processes with marker in their arguments: sleepers, shells,
// and what stands around them.
func bearers(marker string) []int {
	return processes(func(args []string) bool { return strings.Contains(strings.Join(args, " "), marker) })
}

func processes(match func(args []string) bool) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var pids []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || len(text) == 0 {
			continue
		}
		if match(strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")) {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// publicDir is a temporary folder that every user can reach, unlike t.TempDir.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "run-test-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func switched() *run.Runner { return run.New(run.Config{Identity: mustIdentity()}) }

func sh(script string) run.Cmd { return run.Cmd{Name: "sh", Args: []string{"-c", script}} }

func sandboxed(script string, s run.Sandbox) run.Cmd {
	c := sh(script)
	c.Sandbox = &s
	return c
}

func bash(script string, s run.Sandbox) run.Cmd {
	c := sandboxed(script, s)
	c.Name = "bash"
	return c
}

func output(t *testing.T, r *run.Runner, c run.Cmd) string {
	t.Helper()
	res, err := r.Run(t.Context(), c)
	if err != nil {
		t.Fatalf("%v\n%s", err, res.Stderr)
	}
	return string(bytes.TrimSpace(res.Stdout))
}
