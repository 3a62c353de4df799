package tasks

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// endings notes what ended.
type endings struct {
	mu   sync.Mutex
	list []string
}

func (e *endings) ended(kind models.TaskKind, end models.TaskState) {
	e.note(string(kind) + " " + string(end))
}

func (e *endings) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.list, ", ")
}

func TestRunner_Ended_IsToldOnceOfEachEnd(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, database(t))
			seen := &endings{}
			f.r.cfg.Ended = seen.ended
			calls := 0
			f.r.Handle(models.TaskVerify, func(ctx context.Context, task models.Task, _ fleet.Log) (string, models.TaskState, error) {
				if of, ok := Of(ctx); !ok || of.ID != task.ID || of.Subject != task.Subject {
					t.Errorf("the context is of %v", of)
				}
				if calls++; calls == 1 {
					return "", "", Wait(time.Millisecond) // no end
				}
				return "", models.TaskWarning, nil
			})
			f.r.Handle(models.TaskUpgrade, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
				return "", "", errors.New("no")
			})
			f.start(t)
			f.ended(t, f.create(t, models.TaskVerify, 1).ID)
			eventually(t, "its end is told", func() bool { return seen.String() == "verify warning" })
			f.ended(t, f.create(t, models.TaskUpgrade, 1).ID)
			eventually(t, "the other's, too", func() bool { return seen.String() == "verify warning, upgrade failed" })
		})
	}
}

func TestOf_NoTask(t *testing.T) {
	if _, ok := Of(t.Context()); ok {
		t.Error("there is one")
	}
}

func TestRunner_Working(t *testing.T) {
	t.Parallel()
	f := setup(t, databases()["sqlite"](t))
	wantNot := func(what string) {
		t.Helper()
		if err := f.r.Working(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("it says %v, want that it %s", err, what)
		}
	}
	wantNot("has not started")
	f.start(t)
	ok(t, f.r.Working())
	ctx, done := context.WithTimeout(f.ctx, patience)
	defer done()
	ok(t, f.r.Stop(ctx))
	wantNot("is stopping")

	idle := &Runner{}
	ok(t, idle.Working())
	lost := &Runner{cfg: Config{Workers: Workers(), Lease: time.Second}}
	lost.lastBeat.Store(time.Now().Add(-time.Minute).UnixNano())
	if err := lost.Working(); err == nil {
		t.Error("a worker that the database does not hear works")
	}
}

// What the program's own log says about a task has the context that names it.
func TestRunner_Logs_HaveTheTasksContext(t *testing.T) {
	t.Parallel()
	f := setup(t, databases()["sqlite"](t))
	lines := &taskNames{}
	f.r.cfg.Logger = slog.New(lines)
	f.r.Handle(models.TaskVerify, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
		panic("boom")
	})
	f.start(t)
	task := f.create(t, models.TaskVerify, 4)
	f.ended(t, task.ID)
	eventually(t, "the failure is logged", func() bool { return lines.has("task failed", task.ID) })
}

// taskNames is a log that keeps which task each line was written for.
type taskNames struct {
	mu sync.Mutex
	of map[string]int64
}

func (n *taskNames) Enabled(context.Context, slog.Level) bool { return true }
func (n *taskNames) WithAttrs([]slog.Attr) slog.Handler       { return n }
func (n *taskNames) WithGroup(string) slog.Handler            { return n }

func (n *taskNames) Handle(ctx context.Context, r slog.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = map[string]int64{}
	}
	t, _ := Of(ctx)
	n.of[r.Message] = t.ID
	return nil
}

func (n *taskNames) has(message string, id int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.of[message] == id
}

// follower is a Span, and notes what it is told.
type follower struct{ *endings }

func (f follower) Step(name string) { f.note("step " + name) }

func (f follower) End(how, failure string) { f.note(strings.TrimSpace("end " + how + " " + failure)) }

func (e *endings) note(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, text)
}

type followedKey struct{}

func TestRunner_Trace_FollowsEachAttempt(t *testing.T) {
	t.Parallel()
	f := setup(t, databases()["sqlite"](t))
	seen := &endings{}
	f.r.cfg.Origin = func(context.Context) string { return "a request" }
	f.r.cfg.Trace = func(ctx context.Context, task models.Task, origin string) (context.Context, Span) {
		if origin != "a request" { // also when it is called again
			t.Errorf("what asked for the task is said to be %q", origin)
		}
		seen.note(string(task.Kind))
		return context.WithValue(ctx, followedKey{}, true), follower{seen}
	}
	calls := 0
	f.r.Handle(models.TaskVerify, func(ctx context.Context, _ models.Task, log fleet.Log) (string, models.TaskState, error) {
		if ctx.Value(followedKey{}) == nil {
			t.Error("it works without the context that it was given")
		}
		if calls++; calls == 1 {
			return "", "", Wait(time.Millisecond)
		}
		log.Step("look")
		log.Step("")
		return "", models.TaskWarning, nil
	})
	f.r.Handle(models.TaskUpgrade, func(_ context.Context, _ models.Task, log fleet.Log) (string, models.TaskState, error) {
		log.Step("switch")
		return "", "", models.Errorf(models.Unavailable, "It broke.")
	})
	f.r.Handle(models.TaskBackup, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
		panic("here")
	})
	f.start(t)
	for _, one := range []struct {
		kind models.TaskKind
		want string
	}{
		{models.TaskVerify, "verify, end waiting, verify, step look, step , end warning"},
		{models.TaskUpgrade, "upgrade, step switch, end failed It broke."},
	} {
		f.ended(t, f.create(t, one.kind, 1).ID)
		if got := seen.String(); got != one.want {
			t.Errorf("got %q, want %q", got, one.want)
		}
		seen.list = nil
	}
	f.ended(t, f.create(t, models.TaskBackup, 1).ID)
	if got := seen.String(); !strings.HasPrefix(got, "backup, end failed ") {
		t.Errorf("after a panic: %q", got)
	}
}
