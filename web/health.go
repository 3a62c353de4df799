package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Where load balancers and supervisors ask how this process is.
const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

const (
	// readyTime is how long a check may take; one that takes longer has failed.
	readyTime = time.Second
	// readyFor is how long an answer is given again, so that asking often costs
	// nothing.
	readyFor = time.Second
)

// Check is one thing that /readyz looks at.
type Check struct {
	Name string
	// Test fails while it is not so. Why is told to the log alone.
	Test func(ctx context.Context) error
	// Aside is told, but requests may come all the same.
	Aside bool
}

// NewHealth makes the handler of /healthz, which tells that the process answers,
// and /readyz, which tells whether requests should come to it. It needs no session.
func NewHealth(checks []Check, logger *slog.Logger) http.Handler {
	h := &health{logger: logger, now: time.Now}
	for _, c := range checks {
		h.checks = append(h.checks, &watched{Check: c})
	}
	return h
}

type health struct {
	checks []*watched
	logger *slog.Logger
	now    func() time.Time

	mu     sync.Mutex // held while the checks are made: those who come together share an answer
	last   readiness
	lastAt time.Time // zero: none yet
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready  bool         `json:"ready"`
	Checks []checkState `json:"checks"`
}

type checkState struct {
	Name     string `json:"name"`
	State    string `json:"state"`    // ok or failing
	Required bool   `json:"required"` // while it fails, requests should not come
}

// watched is a check and how it went last.
type watched struct {
	Check

	busy    atomic.Bool
	failing bool
}

// isHealth tells whether a request is for a health handler.
func isHealth(r *http.Request) bool {
	return r.URL.Path == healthPath || r.URL.Path == readyPath
}

// ServeHTTP answers.
func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		reply(w, http.StatusMethodNotAllowed, "Ask with GET.")
	case r.URL.Path == readyPath:
		h.ready(w, r)
	case r.URL.Path == healthPath:
		reply(w, http.StatusOK, "ok")
	default:
		reply(w, http.StatusNotFound, "There is nothing here.")
	}
}

func (h *health) ready(w http.ResponseWriter, r *http.Request) {
	state := h.look(r.Context())
	status := http.StatusOK
	if !state.Ready {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(state) //nolint:errchkjson // who asked has gone
}

// look makes the checks, unless that was done a moment ago. It does not end with
// the request: the next one wants the answer too.
func (h *health) look(ctx context.Context) readiness {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.lastAt.IsZero() && h.now().Sub(h.lastAt) < readyFor {
		return h.last
	}
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), readyTime)
	defer done()
	found := make([]error, len(h.checks))
	var all sync.WaitGroup
	for i, c := range h.checks {
		all.Go(func() { found[i] = c.ask(ctx) })
	}
	all.Wait()
	state := readiness{Ready: true, Checks: make([]checkState, 0, len(h.checks))}
	for i, c := range h.checks {
		h.tell(ctx, c, found[i])
		one := checkState{Name: c.Name, State: "ok", Required: !c.Aside}
		if found[i] != nil {
			one.State = "failing"
			state.Ready = state.Ready && c.Aside
		}
		state.Checks = append(state.Checks, one)
	}
	h.last, h.lastAt = state, h.now()
	return state
}

// tell writes a line when a check begins or stops to fail.
func (h *health) tell(ctx context.Context, c *watched, err error) {
	failed := err != nil
	if failed == c.failing {
		return
	}
	c.failing = failed
	if failed {
		h.logger.WarnContext(ctx, "readiness check fails", slog.String("check", c.Name), slog.Any("error", err))
		return
	}
	h.logger.InfoContext(ctx, "readiness check passes again", slog.String("check", c.Name))
}

var errStillAsking = errors.New("the last time it was asked it has not answered yet")

// ask makes the check. One that does not heed its context is left behind, and not
// asked again before it has come back.
func (c *watched) ask(ctx context.Context) error {
	if !c.busy.CompareAndSwap(false, true) {
		return errStillAsking
	}
	result := make(chan error, 1)
	go func() {
		defer c.busy.Store(false)
		result <- c.Test(ctx)
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
