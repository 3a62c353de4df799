package tasks

import (
	"context"
	"log/slog"
	"time"

	"hefring/internal/fleet"
)

// beatUntil says again and again that we live. When we could not say it for a
// whole lease, others have taken our tasks, so our handlers must stop.
func (r *Runner) beatUntil(ctx context.Context) {
	last := time.Now()
	r.each(ctx, func(ctx context.Context) {
		began := time.Now()
		err := r.queue.beat(ctx)
		if err == nil {
			last = began
			r.lastBeat.Store(began.UnixNano())
			return
		}
		if ctx.Err() == nil {
			r.cfg.Logger.WarnContext(ctx, "could not say that this worker lives", slog.Any("error", err))
		}
		if time.Since(last) > r.cfg.Lease {
			r.loseAll()
		}
	})
}

func (r *Runner) loseAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.held {
		h.cancel(fleet.ErrLost)
	}
}

// watchUntil stops handlers whose tasks were cancelled or taken over, and takes
// tasks from dead workers.
func (r *Runner) watchUntil(ctx context.Context) {
	r.each(ctx, func(ctx context.Context) {
		if err := r.heed(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Logger.WarnContext(ctx, "look after running tasks", slog.Any("error", err))
		}
		if !r.fresh() {
			return
		}
		n, err := r.queue.reap(ctx)
		if err != nil && ctx.Err() == nil {
			r.cfg.Logger.WarnContext(ctx, "take tasks from dead workers", slog.Any("error", err))
		}
		if n > 0 {
			r.cfg.Logger.WarnContext(ctx, "took tasks from dead workers", slog.Int("tasks", n))
		}
	})
}

// fresh tells whether our own beat is a new one. After this machine was asleep
// it is not, and we would take our own tasks for those of a dead worker.
func (r *Runner) fresh() bool {
	return time.Since(time.Unix(0, r.lastBeat.Load())) < r.cfg.Lease/2
}

// heed stops the handlers that should not go on.
func (r *Runner) heed(ctx context.Context) error {
	ids := r.heldIDs()
	if len(ids) == 0 {
		return nil
	}
	tasks, err := r.store.TasksAmong(ctx, ids)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range tasks {
		h := r.held[t.ID]
		switch {
		case h == nil:
		case t.Attempt > h.attempt || t.State.Over():
			h.cancel(fleet.ErrLost)
		case t.Cancel:
			h.cancel(fleet.ErrCancelled)
		}
	}
	return nil
}

// each calls do at every beat, with a lease's time for each call. When ctx ends
// it lets the last call end by itself: a query that is cut off costs its
// connection.
func (r *Runner) each(ctx context.Context, do func(ctx context.Context)) {
	ticker := time.NewTicker(r.cfg.Beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			once, done := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Lease)
			do(once)
			done()
		}
	}
}
