package tasks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"

	"hefring/internal/fleet"
	"hefring/models"
)

// job is what River keeps of a task.
type job struct {
	TaskID    int64  `json:"task_id"`
	Takeovers int    `json:"takeovers,omitempty"` // workers that died over it
	Origin    string `json:"origin,omitempty"`    // the trace of what asked for it
}

// Kind is River's name for it. There is one kind for all tasks, because River
// discards kinds that a process does not know.
func (job) Kind() string { return "task" }

type worker struct {
	river.WorkerDefaults[job]

	work func(ctx context.Context, j job) error
}

// Work is called by River.
func (w *worker) Work(ctx context.Context, j *river.Job[job]) error { return w.work(ctx, j.Args) }

// again makes River offer the same job again after a while. River never sees
// another error of ours, so its own retries do not matter.
func again(after time.Duration) error { return river.JobSnooze(min(max(after, 0), maxWait)) }

// work takes the task up, has it done and settles it.
func (r *Runner) work(ctx context.Context, j job) error {
	// River's context ends with its worker's; what is written here must not.
	lasting := context.WithoutCancel(ctx)
	if r.isStopping() {
		return again(0)
	}
	t, err := r.store.TakeTaskOf(lasting, j.TaskID, r.cfg.Server)
	if code := models.CodeOf(err); code == models.Conflict || code == models.NotFound {
		return nil // it has ended, or was pruned
	}
	if err != nil {
		r.cfg.Logger.ErrorContext(ctx, "take task", slog.Int64("task", j.TaskID), slog.Any("error", err))
		return again(time.Second)
	}
	ctx, release, ok := r.hold(withTask(ctx, t), t)
	if !ok {
		return again(0)
	}
	defer release()
	ctx, span := r.cfg.Trace(ctx, t, j.Origin)
	log := newLog(ctx, r.store, t.ID, r.cfg.Logger)
	log.span = span
	if j.Takeovers > 0 {
		log.Printf(models.LevelWarn, "The worker that had this task died. It is taken up again (attempt %d).", j.Takeovers+1)
	}
	message, state, err := r.call(ctx, t, j, log)
	return r.settle(ctx, t, log, message, state, err)
}

func (r *Runner) isStopping() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopping
}

// call runs the handler.
func (r *Runner) call(ctx context.Context, t models.Task, j job, log fleet.Log) (string, models.TaskState, error) {
	handler, known := r.handlers[t.Kind]
	switch {
	case !known:
		return "", "", models.Errorf(models.Unavailable, "This Hefring does not know how to do a task of the kind %q. Update it on every server.", t.Kind)
	case j.Takeovers <= maxTakeovers:
		return protected(ctx, handler, t, log)
	}
	tooOften := models.Wrapf(models.Unavailable, fleet.ErrCancelled,
		"%d workers died over this task, so it is not tried again. Look at the memory and the logs of the server, then start it anew.", j.Takeovers)
	if j.Takeovers > maxTakeovers+1 {
		return "", "", tooOften
	}
	// Once more, only to put back what it left.
	ctx, cancel := context.WithCancelCause(ctx)
	cancel(tooOften)
	message, state, err := protected(ctx, handler, t, log)
	if err == nil {
		return message, state, nil
	}
	return "", models.TaskFailed, tooOften
}

// protected makes a panic a failure like others.
func protected(ctx context.Context, handler fleet.Handler, t models.Task, log fleet.Log) (message string, state models.TaskState, err error) {
	defer func() {
		if p := recover(); p != nil {
			message, state, err = "", "", fmt.Errorf("task %d panicked: %v\n%s", t.ID, p, debug.Stack())
		}
	}()
	return handler(ctx, t, log)
}

// settle ends the task, or leaves it to be taken up again.
func (r *Runner) settle(ctx context.Context, t models.Task, log *taskLog, message string, state models.TaskState, err error) error {
	cause := context.Cause(ctx)
	lasting := context.WithoutCancel(ctx)
	if waiting, is := errors.AsType[fleet.Waiting](err); is {
		log.close()
		log.span.End("waiting", "")
		return again(waiting.For)
	}
	interrupted := errors.Is(cause, fleet.ErrStopping) || errors.Is(cause, fleet.ErrLost) || errors.Is(err, fleet.ErrLost)
	if err != nil && state == "" && interrupted {
		log.Printf(models.LevelInfo, "Interrupted: %v. It is taken up again.", cause)
		log.close()
		log.span.End("interrupted", "")
		return again(0) // if the job is still ours
	}
	if err != nil {
		log.Printf(models.LevelError, "%v", err)
		if isNews(err) {
			r.cfg.Logger.ErrorContext(ctx, "task failed", slog.Int64("task", t.ID), slog.String("kind", string(t.Kind)), slog.Any("error", err))
		}
	}
	log.close()
	state, message = outcome(cause, state, message, err)
	log.span.End(string(state), failureOf(state, message))
	return r.finish(lasting, t, state, message)
}

// failureOf is what failed, when something did.
func failureOf(state models.TaskState, message string) string {
	if state == models.TaskFailed {
		return message
	}
	return ""
}

// outcome says how a task ended and why, in one sentence.
func outcome(cause error, state models.TaskState, message string, err error) (models.TaskState, string) {
	cancelled := errors.Is(cause, fleet.ErrCancelled)
	switch {
	case err == nil && state == "":
		state = models.TaskSucceeded
	case state == "" && cancelled:
		state = models.TaskCancelled
	case state == "":
		state = models.TaskFailed
	}
	switch {
	case err == nil || message != "":
	case cancelled && models.CodeOf(err) == "":
		message = "It was cancelled."
	default:
		message = models.Explain(err)
	}
	return state, message
}

// finish writes the end. While the database does not answer it tries again; the
// work itself is done and should not be done twice.
func (r *Runner) finish(ctx context.Context, t models.Task, state models.TaskState, message string) error {
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		err := r.store.FinishTask(ctx, t, state, message)
		switch {
		case err == nil:
			r.cfg.Ended(t.Kind, state)
			return nil
		case models.CodeOf(err) != "": // taken over, ended or gone
			r.cfg.Logger.InfoContext(ctx, "drop result of task", slog.Int64("task", t.ID), slog.Int("attempt", t.Attempt), slog.String("state", string(state)), slog.Any("reason", err))
			return nil
		case wait > r.cfg.Lease || r.isStopping():
			r.cfg.Logger.ErrorContext(ctx, "finish task", slog.Int64("task", t.ID), slog.Any("error", err))
			return again(time.Second)
		}
		time.Sleep(wait) // at most the lease
	}
}
