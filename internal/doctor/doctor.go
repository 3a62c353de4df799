// Package doctor looks at the machine that Hefring is to run on, and says what
// is missing and which command mends it.
package doctor

import (
	"context"
	"net/netip"
	"time"

	"hefring/internal/run"
)

// State is how grave a finding is.
type State string

// States of findings.
const (
	OK   State = "ok"
	Warn State = "warn" // it works, and could be better
	Fail State = "fail" // something that is needed does not work
)

// Finding is what one look gave.
type Finding struct {
	Name    string `json:"name"`
	State   State  `json:"state"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"` // command that mends it, or where to read on
}

// Config is what is looked at.
type Config struct {
	Programs *run.Runner // finds programs, and runs them without a sandbox
	Sandbox  *run.Runner // would run builds
	Users    []string    // that programs run as when we are root
	Data     string      // data folder
	Control  string      // the part of it that nobody else may enter
	KeyFile  string
	Allow    []netip.Prefix
	// Unsandboxed says that the operator does without a sandbox where none works.
	Unsandboxed bool
	// Database asks the database for its name and time; nil leaves it out.
	Database func(context.Context) (Database, error)
	// Web is what serves the sites; nil leaves it out.
	Web *Web
	// Probes are asked one after the other: every registered database server.
	Probes []Probe
	// Copy is how many bytes the largest database of a site takes, for which
	// there must be room twice: an upgrade copies it, and keeps the old one.
	Copy int64
	Proc string // "/proc", for tests another folder
	Now  func() time.Time
}

// Database is what a database says of itself.
type Database struct {
	Name string // PostgreSQL 17.2
	Time time.Time
}

// patience bounds the whole examination, so that it ends also on a machine that
// is very ill.
const patience = time.Minute

// Examine looks at everything, in the order in which people should mend it.
func Examine(ctx context.Context, c Config) []Finding {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	e := &examination{ctx: ctx, c: c}
	e.sandbox()
	e.git()
	e.php()
	e.composer()
	e.helpers()
	e.users()
	e.folders()
	e.disk()
	e.key()
	e.egress()
	e.database()
	e.web()
	e.servers()
	return e.found
}

// Healthy tells whether nothing that is needed is missing.
func Healthy(list []Finding) bool {
	for _, f := range list {
		if f.State == Fail {
			return false
		}
	}
	return true
}

type examination struct {
	ctx   context.Context //nolint:containedctx // lives for one Examine
	c     Config
	found []Finding
}

func (e *examination) say(state State, name, message, fix string) {
	e.found = append(e.found, Finding{Name: name, State: state, Message: message, Fix: fix})
}
