//go:build bench

package lsrefs_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/plugins/git/lsrefs"
)

const taskEnv = "HEFRING_BENCH_TASK"

// task is what a client process does: each line on its standard input makes it
// check every address once.
type task struct {
	URLs     []string // of repositories, beside those of Hosts, Each and Pattern
	Hosts    int
	Each     int    // repositories on each host
	Pattern  string // of an address: the host's and the repository's number
	Branch   string
	Workers  int
	CA       []byte // authority of the servers, in PEM
	Resolver string // address of a name server
}

// urls are the addresses, those of one host far from each other.
func (t task) urls() []string {
	list := t.URLs
	for repository := range t.Each {
		for host := range t.Hosts {
			list = append(list, fmt.Sprintf(t.Pattern, host, repository))
		}
	}
	return list
}

// done is what checking every address once took.
type done struct {
	Checks   int
	Requests int
	Errors   int
	First    string // error
	Wall     time.Duration
	CPU      time.Duration
	Memory   int64 // at its highest, of the process
}

// clientMain is the client's process.
func clientMain(text string) int {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return 2
	}
	guard := egress.New(t.config())
	client := lsrefs.New(guard.HTTPClient(), lsrefs.Limits{})
	urls := t.urls()
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		if err := json.NewEncoder(os.Stdout).Encode(checkAll(client, urls, t)); err != nil {
			return 2
		}
	}
	return 0
}

func (t task) config() egress.Config {
	config := egress.Config{Allow: loopback()}
	if len(t.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(t.CA)
	}
	if t.Resolver != "" {
		config.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp", t.Resolver)
		}}
	}
	return config
}

// checkAll checks every address once, with so many workers.
func checkAll(client *lsrefs.Client, urls []string, t task) done {
	var next, requests, failed atomic.Int64
	var first atomic.Value
	var group sync.WaitGroup
	begin, cpu := time.Now(), ownCPU()
	for range t.Workers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(urls)); i = next.Add(1) - 1 {
				answer, err := client.List(context.Background(), lsrefs.Remote{URL: urls[i]}, lsrefs.Query{Names: []string{t.Branch}})
				requests.Add(int64(answer.Requests))
				if err == nil && len(answer.Refs) != 1 {
					err = fmt.Errorf("%s has %d refs", urls[i], len(answer.Refs))
				}
				if err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
				}
			}
		})
	}
	group.Wait()
	why, _ := first.Load().(string)
	return done{
		Checks: len(urls), Requests: int(requests.Load()), Errors: int(failed.Load()), First: why,
		Wall: time.Since(begin), CPU: ownCPU() - cpu, Memory: ownMemory(),
	}
}

func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// ownMemory is the most that was resident, in bytes.
func ownMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// process is a client's, seen from the bench.
type process struct {
	cmd   *exec.Cmd
	input io.WriteCloser
	told  *json.Decoder
}

func startClient(t *testing.T, todo task) *process {
	t.Helper()
	text, err := json.Marshal(todo)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.CommandContext(t.Context(), program)}
	p.cmd.Env = append(os.Environ(), taskEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.told = json.NewDecoder(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// step makes the client check every address once.
func (p *process) step(t *testing.T) done {
	t.Helper()
	if _, err := io.WriteString(p.input, "go\n"); err != nil {
		t.Fatal(err)
	}
	var d done
	if err := p.told.Decode(&d); err != nil {
		t.Fatal(err)
	}
	if d.Errors > 0 {
		t.Fatalf("%d of %d checks failed, one with: %s", d.Errors, d.Checks, d.First)
	}
	return d
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.input.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}
