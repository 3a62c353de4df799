package tasks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/internal/testpg"
	"hefring/internal/testsqlite"
	"hefring/models"
)

// patience is how long a test waits for what must happen.
const patience = 90 * time.Second

// The names of the environment variables that make this test binary a worker.
const (
	workerDSN  = "HEFRING_TEST_WORKER_DSN"
	workerGate = "HEFRING_TEST_WORKER_GATE"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(workerDSN); dsn != "" {
		if err := workerProcess(dsn, os.Getenv(workerGate)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// workerProcess works on tasks until its standard input ends. Its handler says
// when it begins, waits for the gate, a file, without heeding its context, and
// says when and why it was told to stop.
func workerProcess(dsn, gate string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, dsn, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	r, err := New(ctx, s, Access(s.Access()), fast("worker"))
	if err != nil {
		return err
	}
	s.SetEnqueuer(r)
	r.Handle(models.TaskVerify, func(ctx context.Context, t models.Task, log fleet.Log) (string, models.TaskState, error) {
		log.Printf(models.LevelInfo, "begun by the worker process")
		fmt.Fprintln(os.Stdout, "begun", t.ID)
		for {
			if _, err := os.Stat(gate); err == nil {
				fmt.Fprintln(os.Stdout, "through", t.ID)
				return "by the worker process", "", nil
			}
			if errors.Is(context.Cause(ctx), fleet.ErrCancelled) {
				return "", "", context.Cause(ctx)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	if err := r.Start(ctx); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, r.Stop(ctx), s.Close())
}

// process is a worker process under test.
type process struct {
	cmd   *exec.Cmd
	lines chan string
	stdin io.Closer
}

func startWorker(t *testing.T, dsn, gate string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), workerDSN+"="+dsn, workerGate+"="+gate)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	ok(t, err)
	stdout, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	p := &process{cmd: cmd, lines: make(chan string, 100), stdin: stdin}
	go func() {
		defer close(p.lines)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	p.await(t, "ready")
	return p
}

func (p *process) await(t *testing.T, wanted string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line, open := <-p.lines:
			if !open {
				t.Fatalf("the worker ended before it said %q", wanted)
			}
			if line == wanted {
				return
			}
		case <-deadline:
			t.Fatalf("the worker never said %q", wanted)
		}
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	ok(t, p.cmd.Process.Signal(s))
}

// postgres and sqlite are databases with the tables of our own and of the queue.
var (
	postgres = testpg.NewTemplate(migrated)
	sqlite   = testsqlite.NewTemplate(migrated)
)

func migrated(ctx context.Context, dsn string) error {
	s, err := store.Open(ctx, dsn, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, err = New(ctx, s, Access(s.Access()), Config{Logger: slog.New(slog.DiscardHandler)})
	return errors.Join(err, s.Close())
}

// databases gives one new database of each kind.
func databases() map[string]func(t *testing.T) string {
	return map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { t.Helper(); return sqlite.Open(t, filepath.Join(t.TempDir(), "tasks.db")) },
		"postgres": func(t *testing.T) string { t.Helper(); return postgres.Open(t) },
	}
}

// fast is a Config for tests: deaths are noticed quickly.
func fast(id string) Config {
	return Config{
		ID: id, Workers: map[string]int{QueueChecks: 4, QueueBuilds: 4, QueueSites: 4},
		Beat: 100 * time.Millisecond, Lease: 5 * time.Second, Logger: slog.New(slog.DiscardHandler),
	}
}

type fixture struct {
	*store.Store
	r   *Runner
	ctx context.Context //nolint:containedctx // the test's own
}

// setup opens a store and a Runner that is not started.
func setup(t *testing.T, dsn string) *fixture {
	t.Helper()
	s, err := store.Open(t.Context(), dsn, slog.New(slog.DiscardHandler))
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	r, err := New(t.Context(), s, Access(s.Access()), fast("test"))
	ok(t, err)
	s.SetEnqueuer(r)
	return &fixture{Store: s, r: r, ctx: t.Context()}
}

func (f *fixture) start(t *testing.T) {
	t.Helper()
	ok(t, f.r.Start(f.ctx))
	t.Cleanup(func() {
		ctx, done := context.WithTimeout(context.Background(), patience)
		defer done()
		ok(t, f.r.Stop(ctx))
	})
}

func (f *fixture) create(t *testing.T, kind models.TaskKind, subject int64) models.Task {
	t.Helper()
	task := models.Task{Kind: kind, Subject: models.Subject{Kind: models.SubjectSite, ID: subject}, Title: string(kind), Actor: "ada"}
	ok(t, f.CreateTask(f.ctx, &task))
	return task
}

func (f *fixture) load(t *testing.T, id int64) models.Task {
	t.Helper()
	task, err := f.Task(f.ctx, id)
	ok(t, err)
	return task
}

// ended waits for the task's end.
func (f *fixture) ended(t *testing.T, id int64) models.Task {
	t.Helper()
	var task models.Task
	eventually(t, "the task ends", func() bool {
		task = f.load(t, id)
		return task.State.Over()
	})
	return task
}

func (f *fixture) log(t *testing.T, id int64) string {
	t.Helper()
	lines, err := f.Lines(f.ctx, id, 0, store.MaxLines+1)
	ok(t, err)
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "%s|%s|%s\n", line.Step, line.Level, line.Text)
	}
	return b.String()
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want[T comparable](t *testing.T, what string, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Fatalf("%s is %v, want %v", what, got, wanted)
	}
}

// eventually polls until it is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("it never happened that %s", what)
		}
	}
}

func TestRunner_Enqueue_InvisibleBeforeCommit(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, database(t))
			var committing atomic.Bool
			var early atomic.Int64
			f.r.Handle(models.TaskVerify, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
				if !committing.Load() {
					early.Add(1)
				}
				return "seen", "", nil
			})
			f.start(t)
			boom := errors.New("boom")
			var gone, kept models.Task
			for _, fate := range []struct {
				task *models.Task
				err  error
			}{{&gone, boom}, {&kept, nil}} {
				err := f.InTx(f.ctx, func(tx fleet.Tx) error {
					*fate.task = models.Task{Kind: models.TaskVerify, Subject: models.Subject{Kind: models.SubjectSite, ID: 1}}
					ok(t, tx.CreateTask(f.ctx, fate.task))
					if fate.err == nil {
						committing.Store(true)
					}
					return fate.err
				})
				want(t, "error", errors.Is(err, fate.err), true)
			}
			want(t, "message", f.ended(t, kept.ID).Message, "seen")
			want(t, "calls before the commit", early.Load(), 0)
		})
	}
}

func TestRunner_Work_ExactlyOnceOverTwoRunners(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := database(t)
			a, b := setup(t, dsn), setup(t, dsn)
			var mu sync.Mutex
			calls := map[int64]int{}
			for _, f := range []*fixture{a, b} {
				f.r.Handle(models.TaskUpgrade, func(_ context.Context, task models.Task, _ fleet.Log) (string, models.TaskState, error) {
					mu.Lock()
					defer mu.Unlock()
					calls[task.ID]++
					return "done", models.TaskWarning, nil
				})
				f.start(t)
			}
			var made []models.Task
			for n := range 30 {
				made = append(made, a.create(t, models.TaskUpgrade, int64(n)))
			}
			for _, task := range made {
				want(t, "state", a.ended(t, task.ID).State, models.TaskWarning)
			}
			for id, n := range calls {
				want(t, "calls of task "+strconv.FormatInt(id, 10), n, 1)
			}
		})
	}
}

func TestRunner_CreateTask_SecondForSubjectConflicts(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, database(t))
			f.create(t, models.TaskUpgrade, 7)
			err := f.CreateTask(f.ctx, &models.Task{Kind: models.TaskVerify, Subject: models.Subject{Kind: models.SubjectSite, ID: 7}})
			want(t, "code", models.CodeOf(err), models.Conflict)
			var jobs int
			ok(t, f.Access().SQL.QueryRowContext(f.ctx, "SELECT COUNT(*) FROM river_job").Scan(&jobs))
			want(t, "jobs", jobs, 1)
		})
	}
}

func TestRunner_Kill9_AnotherTakesOver(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := database(t)
			f := setup(t, dsn)
			f.r.cfg.Origin = func(context.Context) string { return "a request" }
			var origin atomic.Value
			f.r.cfg.Trace = func(ctx context.Context, _ models.Task, from string) (context.Context, Span) {
				origin.Store(from)
				return ctx, untraced{}
			}
			worker := startWorker(t, dsn, filepath.Join(t.TempDir(), "never"))
			task := f.create(t, models.TaskVerify, 1)
			worker.await(t, fmt.Sprint("begun ", task.ID))
			f.r.Handle(models.TaskVerify, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
				return "by the other", "", nil
			})
			f.start(t)
			eventually(t, "its first line is stored", func() bool { return f.log(t, task.ID) != "" })
			killed := time.Now()
			worker.signal(t, syscall.SIGKILL)
			ended := f.ended(t, task.ID)
			want(t, "message", ended.Message, "by the other")
			want(t, "attempt", ended.Attempt, 2)
			want(t, "what asked for it", origin.Load(), any("a request"))
			if took := time.Since(killed); took > 15*time.Second {
				t.Errorf("the take-over took %s", took)
			}
			if log := f.log(t, task.ID); !strings.Contains(log, "begun by the worker process") || !strings.Contains(log, "taken up again") {
				t.Errorf("the log is\n%s", log)
			}
		})
	}
}

func TestRunner_LostLease_CannotFinish(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := database(t)
			f := setup(t, dsn)
			gate := filepath.Join(t.TempDir(), "gate")
			worker := startWorker(t, dsn, gate)
			task := f.create(t, models.TaskVerify, 1)
			worker.await(t, fmt.Sprint("begun ", task.ID))
			release := make(chan struct{})
			f.r.Handle(models.TaskVerify, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
				<-release
				return "by the other", "", nil
			})
			worker.signal(t, syscall.SIGSTOP) // as a host that hangs
			f.start(t)
			eventually(t, "another takes the task over", func() bool { return f.load(t, task.ID).Attempt == 2 })
			ok(t, os.WriteFile(gate, nil, 0o600))
			worker.signal(t, syscall.SIGCONT)
			worker.await(t, fmt.Sprint("through ", task.ID))
			// The worker process ends after it has tried to finish the task.
			ok(t, worker.stdin.Close())
			for range worker.lines { // until it has ended
			}
			want(t, "state", f.load(t, task.ID).State, models.TaskRunning)
			close(release)
			want(t, "message", f.ended(t, task.ID).Message, "by the other")
		})
	}
}

func TestRunner_Handler_LearnsThatItLostTheTask(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, database(t))
			begun, cause := make(chan int64, 10), make(chan error, 10)
			f.r.Handle(models.TaskVerify, func(ctx context.Context, task models.Task, _ fleet.Log) (string, models.TaskState, error) {
				begun <- task.ID
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return "too late", "", nil
			})
			f.start(t)
			task := f.create(t, models.TaskVerify, 1)
			<-begun
			thief, err := f.TakeTask(f.ctx, task.ID)
			ok(t, err)
			want(t, "cause", errors.Is(<-cause, fleet.ErrLost), true)
			ok(t, f.HoldsTask(f.ctx, thief))
			ok(t, f.FinishTask(f.ctx, thief, models.TaskSucceeded, "by the thief"))
			want(t, "message", f.ended(t, task.ID).Message, "by the thief")
		})
	}
}

func TestRunner_Cancel_QueuedNeverRuns(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := database(t)
			f, other := setup(t, dsn), setup(t, dsn)
			var calls atomic.Int64
			f.r.Handle(models.TaskVerify, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
				calls.Add(1)
				return "", "", nil
			})
			cancelled := f.create(t, models.TaskVerify, 1)
			ok(t, other.CancelTask(f.ctx, "bob", cancelled.ID))
			f.start(t)
			f.ended(t, f.create(t, models.TaskVerify, 1).ID)
			want(t, "calls", calls.Load(), 1)
			want(t, "state", f.load(t, cancelled.ID).State, models.TaskCancelled)
		})
	}
}

func TestRunner_Cancel_RunningInAnotherProcess(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := database(t)
			f := setup(t, dsn)
			worker := startWorker(t, dsn, filepath.Join(t.TempDir(), "never"))
			task := f.create(t, models.TaskVerify, 1)
			worker.await(t, fmt.Sprint("begun ", task.ID))
			asked := time.Now()
			ok(t, f.CancelTask(f.ctx, "bob", task.ID))
			ended := f.ended(t, task.ID)
			want(t, "state", ended.State, models.TaskCancelled)
			want(t, "message", ended.Message, "It was cancelled.")
			if took := time.Since(asked); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestRunner_Stop_LeavesTheTaskToTheNext(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := database(t)
			f := setup(t, dsn)
			begun := make(chan struct{}, 10)
			f.r.Handle(models.TaskBuild, func(ctx context.Context, _ models.Task, _ fleet.Log) (string, models.TaskState, error) {
				begun <- struct{}{}
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), fleet.ErrStopping) {
					t.Errorf("the cause is %v", context.Cause(ctx))
				}
				return "", "", fmt.Errorf("a program was killed: %w", ctx.Err())
			})
			f.r.Handle(models.TaskVerify, func(ctx context.Context, _ models.Task, _ fleet.Log) (string, models.TaskState, error) {
				begun <- struct{}{}
				<-ctx.Done()
				return "finished all the same", "", nil
			})
			ok(t, f.r.Start(f.ctx))
			left, finished := f.create(t, models.TaskBuild, 1), f.create(t, models.TaskVerify, 2)
			<-begun
			<-begun
			ok(t, f.r.Stop(f.ctx))
			want(t, "state of the interrupted one", f.load(t, left.ID).State, models.TaskRunning)
			want(t, "message of the finished one", f.load(t, finished.ID).Message, "finished all the same")
			next := setup(t, dsn)
			next.r.Handle(models.TaskBuild, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
				return "by the next", "", nil
			})
			next.start(t)
			want(t, "message", next.ended(t, left.ID).Message, "by the next")
			if log := next.log(t, left.ID); strings.Contains(log, "died") {
				t.Errorf("a stop was taken for a death:\n%s", log)
			}
		})
	}
}

func TestRunner_Wait_CallsAgain(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, database(t))
			var calls atomic.Int64
			f.r.Handle(models.TaskVerify, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
				if calls.Add(1) <= maxTakeovers+2 {
					return "", "", Wait(time.Millisecond)
				}
				return "at last", "", nil
			})
			f.start(t)
			task := f.create(t, models.TaskVerify, 1)
			want(t, "message", f.ended(t, task.ID).Message, "at last")
			if log := f.log(t, task.ID); strings.Contains(log, "died") {
				t.Errorf("waiting was taken for a death:\n%s", log)
			}
		})
	}
}

func TestRunner_Parent_WaitsForItsChildren(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, database(t))
			f.r.Handle(models.TaskUpgradePlatform, func(ctx context.Context, parent models.Task, _ fleet.Log) (string, models.TaskState, error) {
				children, err := f.Children(ctx, parent.ID)
				if err != nil {
					return "", "", err
				}
				if len(children) == 0 {
					return "", "", errors.Join(f.InTx(ctx, func(tx fleet.Tx) error {
						for n := range 6 { // more than there are workers
							child := models.Task{Kind: models.TaskUpgrade, Subject: models.Subject{Kind: models.SubjectSite, ID: int64(100 + n)}, ParentID: &parent.ID}
							if err := tx.CreateTask(ctx, &child); err != nil {
								return err
							}
						}
						return nil
					}), Wait(10*time.Millisecond))
				}
				for _, child := range children {
					if !child.State.Over() {
						return "", "", Wait(10 * time.Millisecond)
					}
				}
				return fmt.Sprint(len(children), " done"), "", nil
			})
			f.r.Handle(models.TaskUpgrade, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
				return "", "", nil
			})
			f.start(t)
			want(t, "message", f.ended(t, f.create(t, models.TaskUpgradePlatform, 1).ID).Message, "6 done")
		})
	}
}

func TestRunner_Failure_EndsAsItShould(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, database(t))
			handlers := map[models.TaskKind]fleet.Handler{
				models.TaskCheck: func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
					panic("a bug")
				},
				models.TaskBuild: func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
					return "", "", fmt.Errorf("build: %w", models.Wrapf(models.Unavailable, errors.New("exit 1"), "Composer failed. Look at the log."))
				},
				models.TaskInstall: func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
					return "", models.TaskRecovered, models.Errorf(models.Unavailable, "All is as before.")
				},
			}
			f.r.HandleAll(handlers)
			f.start(t)
			for n, one := range []struct {
				kind    models.TaskKind
				state   models.TaskState
				message string
				log     string
			}{
				{models.TaskCheck, models.TaskFailed, "Something went wrong inside Hefring.", "a bug"},
				{models.TaskBuild, models.TaskFailed, "Composer failed. Look at the log.", "exit 1"},
				{models.TaskInstall, models.TaskRecovered, "All is as before.", "All is as before."},
				{models.TaskVerify, models.TaskFailed, "This Hefring does not know", "does not know"},
			} {
				task := f.ended(t, f.create(t, one.kind, int64(n)).ID)
				want(t, "state", task.State, one.state)
				if !strings.HasPrefix(task.Message, one.message) || !strings.Contains(f.log(t, task.ID), one.log) {
					t.Errorf("%s: message %q, log\n%s", one.kind, task.Message, f.log(t, task.ID))
				}
			}
		})
	}
}

func TestRunner_TooManyDeaths_FailsWithAReason(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, takeovers := range []int{maxTakeovers + 1, maxTakeovers + 2} {
				f := setup(t, database(t))
				var tidied atomic.Bool
				f.r.Handle(models.TaskVerify, func(ctx context.Context, _ models.Task, _ fleet.Log) (string, models.TaskState, error) {
					tidied.Store(errors.Is(context.Cause(ctx), fleet.ErrCancelled))
					return "", models.TaskCancelled, context.Cause(ctx)
				})
				// Its own job has a worker that is dead already.
				task := f.create(t, models.TaskVerify, 1)
				ok(t, f.Access().InTx(f.ctx, func(tx any) error {
					return f.r.queue.insert(f.ctx, tx, job{TaskID: task.ID, Takeovers: takeovers}, QueueSites, 1)
				}))
				_, err := f.Access().SQL.ExecContext(f.ctx, "DELETE FROM river_job WHERE queue = 'builds'")
				ok(t, err)
				ok(t, f.r.Start(f.ctx))
				ended := f.ended(t, task.ID)
				ok(t, f.r.Stop(f.ctx))
				want(t, "state", ended.State, models.TaskFailed)
				want(t, "reason", strings.Contains(ended.Message, "workers died over this task"), true)
				want(t, "the handler could tidy up", tidied.Load(), takeovers == maxTakeovers+1)
			}
		})
	}
}

// A database that keeps its connections and says nothing for longer than a lease: what
// ran is done again or ends, what waits is begun, and nobody has to help.
func TestRunner_PostgresFrozen_GoesOn(t *testing.T) {
	t.Parallel()
	server := testpg.Start(t)
	s, err := store.Open(t.Context(), server.DSN("postgres"), slog.New(slog.DiscardHandler))
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	cfg := fast("test")
	cfg.Lease = time.Second
	r, err := New(t.Context(), s, Access(s.Access()), cfg)
	ok(t, err)
	s.SetEnqueuer(r)
	f := &fixture{Store: s, r: r, ctx: t.Context()}
	begun, frozen := make(chan struct{}, 2), make(chan struct{})
	lost := make(chan error, 1)
	var calls atomic.Int64
	r.Handle(models.TaskVerify, func(ctx context.Context, _ models.Task, _ fleet.Log) (string, models.TaskState, error) {
		if calls.Add(1) > 1 {
			return "done again", "", nil
		}
		begun <- struct{}{}
		<-ctx.Done()
		lost <- context.Cause(ctx)
		return "", "", ctx.Err()
	})
	r.Handle(models.TaskUpgrade, func(_ context.Context, _ models.Task, log fleet.Log) (string, models.TaskState, error) {
		begun <- struct{}{}
		<-frozen
		log.Printf(models.LevelInfo, "said in the dark")
		return "done", "", nil
	})
	r.Handle(models.TaskBuild, func(context.Context, models.Task, fleet.Log) (string, models.TaskState, error) {
		return "built", "", nil
	})
	f.start(t)
	stopped, through := f.create(t, models.TaskVerify, 1), f.create(t, models.TaskUpgrade, 2)
	<-begun
	<-begun
	server.Freeze(t)
	close(frozen)
	select {
	case err := <-lost:
		want(t, "cause is ErrLost", errors.Is(err, fleet.ErrLost), true)
	case <-time.After(patience):
		t.Error("a handler goes on although others may have its task")
	}
	server.Thaw(t)
	want(t, "message", f.ended(t, stopped.ID).Message, "done again")
	want(t, "state", f.ended(t, through.ID).State, models.TaskSucceeded)
	if log := f.log(t, through.ID); !strings.Contains(log, "said in the dark") {
		t.Errorf("the log is %q", log)
	}
	want(t, "message", f.ended(t, f.create(t, models.TaskBuild, 3).ID).Message, "built")
	eventually(t, "the worker works", func() bool { return r.Working() == nil })
}
