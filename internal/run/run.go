// Package run starts programs; no other package does. A program gets an
// argument vector, never a shell, an environment of its own, limits on time,
// memory, files and processes, and a process tree that dies with its starter,
// also when that one is killed with -9.
package run

import (
	"cmp"
	"io"
	"time"
)

// Cmd is one program to run.
type Cmd struct {
	Name string   // program, found on the fixed PATH of the Runner, or an absolute path
	Args []string // without the program itself; values that came from outside follow a "--"
	Dir  string   // working folder; must exist
	Env  []string // the whole environment, KEY=value; PATH, HOME and LANG are added when absent

	Stdin io.Reader // nil: empty
	// Stdout and Stderr receive whole chunks as they come, never two at once,
	// so both may be the same writer; nil: kept only in Result. A writer that
	// fails gets nothing more, and Run answers with its error.
	Stdout io.Writer
	Stderr io.Writer

	Timeout time.Duration // wall clock, 0 means DefaultTimeout
	Limits  Limits
	Sandbox *Sandbox // nil: no mount sandbox; the tree still dies with us
	// Service marks a program that turns itself into a daemon (nginx, php-fpm):
	// it is neither sandboxed nor killed with us.
	Service bool
	// Root keeps our own identity. Without it a program that root starts runs as
	// the Runner's unprivileged identity.
	Root bool
	// As is another identity than the Runner's to run as; it counts only when
	// root starts the program. Root goes before it.
	As *Identity
}

// Limits bound what a program may use. Zero values mean the package's defaults.
type Limits struct {
	MemoryBytes uint64 // address space of each process
	FileBytes   uint64 // size of any one file that it writes
	Processes   uint64 // of the identity it runs as
	// OutputBytes is how much stdout Result keeps. More than that ends the
	// program with ErrOutputLimit, unless Cmd.Stdout takes it: what streams is
	// not cut, and Result keeps its beginning.
	OutputBytes int64
}

// Sandbox says what a program sees of the machine: a read-only system, an empty
// /tmp and home, and the folders named here. Everything else, the control
// plane's data above all, is absent.
type Sandbox struct {
	ReadOnly []string // folders it may read
	Writable []string // folders it may change
	Network  Network
	// Proxy is the unix socket of a guarded egress proxy; with NetworkProxy the
	// program reaches nothing else and finds it under http_proxy and
	// https_proxy.
	Proxy string
}

// Network says how far a sandboxed program gets.
type Network int

// Kinds of network access.
const (
	NetworkNone  Network = iota // no network at all, not even the machine's loopback
	NetworkProxy                // only through Sandbox.Proxy
	NetworkHost                 // the machine's own; for Drush, which must reach database servers
)

// Result is how a program ended.
type Result struct {
	ExitCode int    // -1 when it did not exit by itself
	Stdout   []byte // the first Limits.OutputBytes
	Stderr   []byte // the last 64 KiB
	Took     time.Duration
}

// DefaultTimeout bounds programs whose Cmd names no time limit.
const DefaultTimeout = 2 * time.Minute

// What Limits mean where they are zero. Composer may use 1.5 GiB of memory and
// git maps whole packs, hence the room in address space.
const (
	DefaultMemoryBytes = 4 << 30
	DefaultFileBytes   = 8 << 30
	DefaultProcesses   = 2048
	DefaultOutputBytes = 1 << 20
)

const (
	openFiles   = 8192     // files a program may hold open
	stderrBytes = 64 << 10 // of stderr kept in Result
)

func (l Limits) withDefaults() Limits {
	l.MemoryBytes = cmp.Or(l.MemoryBytes, DefaultMemoryBytes)
	l.FileBytes = cmp.Or(l.FileBytes, DefaultFileBytes)
	l.Processes = cmp.Or(l.Processes, DefaultProcesses)
	l.OutputBytes = cmp.Or(l.OutputBytes, DefaultOutputBytes)
	return l
}
