//go:build bench

package lsrefs_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"hefring/internal/gitserver"
)

// The goals.
const (
	fewerBytes = 1000 // times, with 100,000 refs
	lessTime   = 10   // times, with 100,000 refs
	manyWall   = time.Minute
	manyMemory = 60 << 20
)

const benchRounds = 15

// TestMain is also the program of the clients that are measured: each runs in a
// process of its own, so that its memory is its own.
func TestMain(m *testing.M) {
	if task := os.Getenv(taskEnv); task != "" {
		os.Exit(clientMain(task))
	}
	os.Exit(m.Run())
}

// cost is what one check took of the client and the network.
type cost struct {
	requests int
	received int64 // bytes on the wire, with headers
	wall     time.Duration
	cpu      time.Duration
	memory   int64 // at its highest, of the process
}

// median is that of each figure by itself.
func median(costs []cost) cost {
	at := func(figure func(cost) int64) int64 {
		var list []int64
		for _, c := range costs {
			list = append(list, figure(c))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return cost{
		requests: costs[0].requests,
		received: at(func(c cost) int64 { return c.received }),
		wall:     time.Duration(at(func(c cost) int64 { return int64(c.wall) })),
		cpu:      time.Duration(at(func(c cost) int64 { return int64(c.cpu) })),
		memory:   at(func(c cost) int64 { return c.memory }),
	}
}

// wire counts what a server sends.
type wire struct {
	net.Listener

	sent atomic.Int64
}

func (w *wire) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wireConn{Conn: conn, sent: &w.sent}, nil
}

type wireConn struct {
	net.Conn

	sent *atomic.Int64
}

func (c *wireConn) Write(p []byte) (int, error) {
	c.sent.Add(int64(len(p))) // before the client has it, who may ask for the count at once
	return c.Conn.Write(p)
}

// bench prints its findings while it makes them.
type bench struct {
	t   *testing.T
	out io.Writer
}

func (b *bench) line(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }

// goal says whether one is met; the test fails otherwise.
func (b *bench) goal(met bool, format string, args ...any) {
	b.t.Helper()
	verdict := "met"
	if !met {
		verdict = "MISSED"
		b.t.Fail()
	}
	b.line("%s: %s", fmt.Sprintf(format, args...), verdict)
}

func TestBenchChecks(t *testing.T) {
	b := &bench{t: t, out: os.Stdout}
	b.line("One check of refs/heads/main: git's own command and the native client, at git's http-backend on this machine.")
	b.line("The median of %d checks each, taken in turn; received bytes are those on the wire, headers included.", benchRounds)
	table := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "refs\tclient\trequests\treceived\twall\tclient CPU\tclient memory")
	var last comparisonOf
	var gitCPU time.Duration // with few refs
	for _, refs := range []int{100, 100_000} {
		last = compareClients(t, refs)
		gitCPU = cmp.Or(gitCPU, last.git.cpu)
		row := func(name string, c cost) {
			fmt.Fprintf(table, "%d\t%s\t%d\t%s\t%.1f ms\t%.1f ms\t%s\n", refs, name, c.requests, size(c.received), ms(c.wall), ms(c.cpu), size(c.memory))
		}
		row("git ls-remote", last.git)
		row("native, first time", last.first)
		row("native, server known", last.again)
	}
	_ = table.Flush()
	bytesLess := float64(last.git.received) / float64(last.first.received)
	timeLess := float64(last.git.wall) / float64(last.first.wall)
	b.line("With 100,000 refs, a server that is known is asked with 1/%.0f of the bytes in 1/%.1f of the time of git ls-remote.",
		float64(last.git.received)/float64(last.again.received), float64(last.git.wall)/float64(last.again.wall))
	b.goal(bytesLess >= fewerBytes, "With 100,000 refs, the first time takes 1/%.0f of the bytes (goal 1/%d)", bytesLess, fewerBytes)
	b.goal(timeLess >= lessTime, "With 100,000 refs, the first time takes 1/%.1f of the time (goal 1/%d)", timeLess, lessTime)
	b.many(gitCPU)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// comparisonOf is what the clients took with one repository.
type comparisonOf struct{ git, first, again cost }

// compareClients asks for one branch of a repository with so many refs.
func compareClients(t *testing.T, refs int) comparisonOf {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "site.git")
	commit := newRepository(t, dir, "sha1")
	manyRefs(t, dir, commit, refs)
	handler, err := gitserver.New(root)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	counter := &wire{Listener: server.Listener}
	server.Listener = counter
	server.Start()
	defer server.Close()
	url := server.URL + "/site.git"
	gitOnce(t, url, counter) // the files are in memory from here on
	var gits, firsts, repeated []cost
	for range benchRounds {
		gits = append(gits, gitOnce(t, url, counter))
		firsts = append(firsts, nativeOnce(t, url, 0, counter))
		repeated = append(repeated, nativeOnce(t, url, 1, counter))
	}
	return comparisonOf{median(gits), median(firsts), median(repeated)}
}

// manyRefs gives a repository n refs in all: branches, and a tenth tags.
func manyRefs(t *testing.T, dir, commit string, n int) {
	t.Helper()
	lines := []string{commit + " refs/heads/main"}
	for i := range n - 1 {
		name := fmt.Sprintf("refs/heads/feature/%06d", i)
		if i%10 == 0 {
			name = fmt.Sprintf("refs/tags/%06d", i)
		}
		lines = append(lines, commit+" "+name)
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[41:], b[41:]) })
	if err := os.RemoveAll(filepath.Join(dir, "refs")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "refs/.keep", "")
	write(t, dir, "packed-refs", "# pack-refs with: peeled fully-peeled sorted \n"+strings.Join(lines, "\n")+"\n")
}

func gitOnce(t *testing.T, url string, counter *wire) cost {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-remote", "--", url, "refs/heads/main")
	cmd.Env = gitEnv()
	before, begin := counter.sent.Load(), time.Now()
	out, err := cmd.Output()
	wall := time.Since(begin)
	if err != nil || bytes.Count(out, []byte("\n")) != 1 {
		t.Fatalf("git ls-remote: %q, %v", out, err)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("the system does not tell what processes use")
	}
	return cost{
		requests: 2, received: counter.sent.Load() - before, wall: wall,
		cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), memory: usage.Maxrss << 10,
	}
}

// nativeOnce measures a check after some others of the same repository.
func nativeOnce(t *testing.T, url string, after int, counter *wire) cost {
	t.Helper()
	client := startClient(t, task{URLs: []string{url}, Branch: "refs/heads/main", Workers: 1})
	for range after {
		client.step(t)
	}
	before := counter.sent.Load()
	done := client.step(t)
	sent := counter.sent.Load() - before
	client.stop(t)
	return cost{requests: done.Requests, received: sent, wall: done.Wall, cpu: done.CPU, memory: done.Memory}
}
