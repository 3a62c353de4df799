// Package tasks does durable work: it takes tasks from the queue, runs their
// handlers, keeps their logs, and notices when a worker dies. It is the only
// package that knows River (the queue) and gocron (the clock).
//
// A task lives in its own row, which the store guards; a job of River's only
// says that some worker should take it up. One job belongs to one worker for
// ever: when a worker dies, its jobs are discarded and new ones take their
// place, so that nothing a lost worker still does can touch the task.
package tasks

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"hefring/internal/fleet"
	"hefring/models"
)

// Store is what the queue needs of the store.
type Store interface {
	TakeTaskOf(ctx context.Context, id, server int64) (models.Task, error)
	FinishTask(ctx context.Context, t models.Task, to models.TaskState, message string) error
	TasksAmong(ctx context.Context, ids []int64) ([]models.Task, error)
	AppendLines(ctx context.Context, lines []models.TaskLine) error
}

// Access is the queue's own way to the database; store.Access converts to it.
type Access struct {
	SQL       *sql.DB
	Pool      *pgxpool.Pool // nil on SQLite
	Exclusive func(ctx context.Context, fn func(ctx context.Context) error) error
	InTx      func(ctx context.Context, fn func(tx any) error) error
}

// Names of the queues.
const (
	QueueChecks = "checks" // looks at sources: many and short
	QueueBuilds = "builds" // builds and verifications: heavy on disk and processor
	QueueSites  = "sites"  // what happens to sites
	QueueAsks   = "asks"   // what somebody waits for; see models.TaskKind.Question
)

// ServerQueue is the queue of what happens on a server.
func ServerQueue(id int64) string { return "server-" + strconv.FormatInt(id, 10) }

// AskQueue is the queue of what a server is asked, which long work there does not
// hold up.
func AskQueue(id int64) string { return "asks-" + ServerQueue(id) }

// How many tasks a server's worker does at once.
const (
	serverWorkers = 4
	askWorkers    = 2
)

// ServerWorkers is Workers for the worker of a server.
func ServerWorkers(id int64) map[string]int {
	return map[string]int{ServerQueue(id): serverWorkers, AskQueue(id): askWorkers}
}

// Workers says how many tasks of each queue run at once, unless somebody says
// otherwise.
func Workers() map[string]int {
	return map[string]int{QueueChecks: 16, QueueBuilds: 2, QueueSites: 4, QueueAsks: askWorkers}
}

// place is where and how urgently tasks of a kind are done.
func place(kind models.TaskKind) (queue string, priority int) {
	if kind.Question() {
		return QueueAsks, 1
	}
	switch kind {
	case models.TaskCheck:
		return QueueChecks, 1
	case models.TaskBuild, models.TaskVerify:
		return QueueBuilds, 1
	case models.TaskCompare:
		return QueueSites, 2 // nobody waits for it as for the others
	case models.TaskCron:
		return QueueSites, 3
	default:
	}
	return QueueSites, 1
}

// Config is how a Runner works.
type Config struct {
	// ID names this worker in the database; a random part is added, because a
	// restarted process is another worker.
	ID string
	// Workers is how many tasks of each queue run at once. Without any the
	// Runner only hands tasks to other processes.
	Workers map[string]int
	Beat    time.Duration // how often it says that it lives, and looks at what others say; 1 s
	Lease   time.Duration // how long after its last beat its tasks are taken over; 5 s
	Logger  *slog.Logger
	// Server is the server whose tasks are done here; 0: the control plane's own.
	Server int64
	// Joined says that the schema is another process's to change.
	Joined bool
	// Ended is told of every task that ended here, once that is recorded; nil:
	// nobody is. It must not block.
	Ended func(kind models.TaskKind, end models.TaskState)
	// Trace follows each attempt at a task here; what is logged meanwhile has the
	// context that it gives. origin is what Origin said of the context in which the
	// task was made, here or elsewhere. nil: nobody does.
	Trace func(ctx context.Context, t models.Task, origin string) (context.Context, Span)
	// Origin names the trace of what asks for a task; nil: there is none.
	Origin func(ctx context.Context) string
}

// Span is what follows one attempt at a task. It must not block.
type Span interface {
	// Step says that a step begins, and the one before has ended; "" ends it only.
	Step(name string)
	// End says how the attempt ended: a models.TaskState, "waiting" or
	// "interrupted"; and why, when it failed.
	End(how, failure string)
}

// untraced is the Span of what nobody follows.
type untraced struct{}

// Step does nothing.
func (untraced) Step(string) {}

// End does nothing.
func (untraced) End(string, string) {}

// Limits on what a task may do.
const (
	maxTakeovers = 10             // deaths of workers that a task survives
	maxRun       = 24 * time.Hour // of one handler's call
	// Longer waits would depend on River's leader, who may be dead for a quarter
	// of a minute.
	maxWait = 4 * time.Second
)

// Runner runs tasks.
type Runner struct {
	cfg      Config
	store    Store
	access   Access
	queue    queue
	handlers map[models.TaskKind]fleet.Handler

	mu       sync.Mutex
	stopping bool
	held     map[int64]*held // by task

	lastBeat  atomic.Int64 // Unix time in ns
	stopLoops context.CancelFunc
	loops     sync.WaitGroup
}

// held is a task that a handler of ours works on.
type held struct {
	attempt int
	cancel  context.CancelCauseFunc
}

// New makes a Runner and brings River's tables up to date. It begins to work
// with Start; tasks can be enqueued before.
func New(ctx context.Context, store Store, access Access, cfg Config) (*Runner, error) {
	cfg.Beat = or(cfg.Beat, time.Second)
	cfg.Lease = or(cfg.Lease, 5*time.Second)
	cfg.ID += "-" + rand.Text()[:8]
	if cfg.Ended == nil {
		cfg.Ended = func(models.TaskKind, models.TaskState) {}
	}
	if cfg.Trace == nil {
		cfg.Trace = func(ctx context.Context, _ models.Task, _ string) (context.Context, Span) { return ctx, untraced{} }
	}
	if cfg.Origin == nil {
		cfg.Origin = func(context.Context) string { return "" }
	}
	cfg.Logger = cfg.Logger.With(slog.String("worker", cfg.ID))
	r := &Runner{
		cfg: cfg, store: store, access: access,
		handlers: map[models.TaskKind]fleet.Handler{}, held: map[int64]*held{},
	}
	q, err := newQueue(access, r.riverConfig(), cfg.Lease)
	if err != nil {
		return nil, fmt.Errorf("make queue: %w", err)
	}
	r.queue = q
	if cfg.Joined {
		return r, nil
	}
	if err := access.Exclusive(ctx, q.migrate); err != nil {
		return nil, fmt.Errorf("migrate queue: %w", err)
	}
	return r, nil
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func (r *Runner) riverConfig() *river.Config {
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{work: r.work})
	c := &river.Config{
		ID: r.cfg.ID, Workers: workers, JobTimeout: maxRun, Logger: quietLogger(r.cfg.Logger),
		FetchCooldown: 50 * time.Millisecond, FetchPollInterval: 500 * time.Millisecond,
	}
	if len(r.cfg.Workers) > 0 {
		c.Queues = map[string]river.QueueConfig{}
	}
	if r.cfg.Joined { // the indexes are not ours
		c.ReindexerSchedule = river.NeverSchedule()
	}
	for name, n := range r.cfg.Workers {
		c.Queues[name] = river.QueueConfig{MaxWorkers: n}
	}
	return c
}

// Handle says what to do with tasks of a kind. It is called before Start.
func (r *Runner) Handle(kind models.TaskKind, handler fleet.Handler) { r.handlers[kind] = handler }

// HandleAll says what to do with tasks of several kinds.
func (r *Runner) HandleAll(handlers map[models.TaskKind]fleet.Handler) {
	maps.Copy(r.handlers, handlers)
}

// Enqueue stores the job for t inside the transaction: a *sql.Tx on SQLite, a
// pgx.Tx on PostgreSQL.
func (r *Runner) Enqueue(ctx context.Context, tx any, t models.Task) error {
	queue, priority := place(t.Kind)
	switch {
	case t.ServerID == nil:
	case queue == QueueAsks:
		queue = AskQueue(*t.ServerID)
	default:
		queue = ServerQueue(*t.ServerID)
	}
	return r.queue.insert(ctx, tx, job{TaskID: t.ID, Origin: r.cfg.Origin(ctx)}, queue, priority)
}

// Start begins to work. It goes on until Stop, also when ctx ends.
func (r *Runner) Start(ctx context.Context) error {
	if len(r.cfg.Workers) == 0 {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	// The first beat comes before the first task, or another worker would
	// believe that we are dead.
	if err := r.queue.beat(ctx); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	r.lastBeat.Store(time.Now().UnixNano())
	if err := r.queue.start(ctx); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	looping, stop := context.WithCancel(ctx)
	r.stopLoops = stop
	r.loops.Go(func() { r.beatUntil(looping) })
	r.loops.Go(func() { r.watchUntil(looping) })
	return nil
}

// Stop takes no more tasks, tells the running handlers to stop, waits for them
// until ctx ends, and leaves what they did not finish to other workers or to
// the next start.
func (r *Runner) Stop(ctx context.Context) error {
	if r.stopLoops == nil {
		return nil
	}
	r.mu.Lock()
	r.stopping = true
	for _, h := range r.held {
		h.cancel(fleet.ErrStopping)
	}
	r.mu.Unlock()
	err := r.queue.stop(ctx)
	r.stopLoops()
	r.loops.Wait()
	if err != nil {
		return fmt.Errorf("stop worker: its tasks did not stop in time: %w", err)
	}
	// Nothing of ours runs any more: others need not wait for the lease's end. If
	// this fails, they do.
	lasting, done := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Lease)
	defer done()
	if err := r.queue.forget(lasting); err != nil {
		r.cfg.Logger.WarnContext(ctx, "tell others that this worker stopped", slog.Any("error", err))
	}
	return nil
}

// Working fails unless this worker takes tasks up: it was started, is not being
// stopped, and could say within its lease that it lives. One that has no queues
// has nothing to do and never fails.
func (r *Runner) Working() error {
	beat := r.lastBeat.Load()
	switch {
	case len(r.cfg.Workers) == 0:
		return nil
	case r.isStopping():
		return errors.New("the worker is stopping")
	case beat == 0:
		return errors.New("the worker has not started")
	case time.Since(time.Unix(0, beat)) > r.cfg.Lease:
		return fmt.Errorf("the worker could not say for %s that it lives", r.cfg.Lease)
	}
	return nil
}

// hold notes that a handler works on t; the context ends when it has to stop.
// It refuses when we are stopping.
func (r *Runner) hold(ctx context.Context, t models.Task) (context.Context, func(), bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	h := &held{attempt: t.Attempt, cancel: cancel}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		cancel(fleet.ErrStopping)
		return ctx, nil, false
	}
	if before := r.held[t.ID]; before != nil {
		before.cancel(fleet.ErrLost) // we took it from ourselves, after our beats failed
	}
	r.held[t.ID] = h
	if t.Cancel {
		cancel(fleet.ErrCancelled)
	}
	return ctx, func() {
		cancel(nil)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.held[t.ID] == h {
			delete(r.held, t.ID)
		}
	}, true
}

func (r *Runner) heldIDs() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make([]int64, 0, len(r.held))
	for id := range r.held {
		ids = append(ids, id)
	}
	return ids
}

// quiet passes on what is worth a look; River tells much more.
type quiet struct{ slog.Handler }

func quietLogger(log *slog.Logger) *slog.Logger { return slog.New(quiet{log.Handler()}) }

// Enabled lets warnings and errors through.
func (q quiet) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// WithAttrs keeps it quiet.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup keeps it quiet.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

// Wait is the error of a handler that waits for something: it is called again
// after d, at most 4 s, and holds no worker meanwhile.
func Wait(d time.Duration) error { return fleet.Waiting{For: d} }

// isNews tells whether an error is worth a line in the log of the process: what
// people can act on is told to them, the rest is ours.
func isNews(err error) bool {
	return models.CodeOf(err) == "" && !errors.Is(err, context.Canceled) && !errors.Is(err, fleet.ErrCancelled)
}
