package fleet

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"hefring/models"
	"hefring/plugins"
)

// How a queue starts out.
const (
	defaultEvery  = 5 * time.Minute
	defaultAtOnce = 16
)

// EnsureQueues makes the queue of every update type that has none.
func (f *Fleet) EnsureQueues(ctx context.Context) error {
	existing, err := f.store.Queues(ctx)
	if err != nil {
		return fmt.Errorf("read queues: %w", err)
	}
	known := map[string]bool{}
	for _, q := range existing {
		known[q.UpdateType] = true
	}
	for _, plugin := range f.UpdateTypes() {
		id := plugin.Info().ID
		if known[id] || !hasQueue(plugin) {
			continue
		}
		if err := f.store.SaveQueue(ctx, models.Queue{UpdateType: id, Every: cmp.Or(plugin.Info().Every, defaultEvery), AtOnce: defaultAtOnce}); err != nil {
			return fmt.Errorf("make queue %s: %w", id, err)
		}
	}
	return nil
}

// hasQueue tells whether sources of this type are looked at by themselves.
func hasQueue(p plugins.Plugin) bool {
	return !p.Info().ByHand
}

func queueOf(ctx context.Context, tx Tx, updateType string) (models.Queue, error) {
	list, err := tx.Queues(ctx)
	if err != nil {
		return models.Queue{}, err
	}
	for _, q := range list {
		if q.UpdateType == updateType {
			return q, nil
		}
	}
	return models.Queue{}, models.Errorf(models.NotFound, "There is no queue for the update type %q.", updateType)
}

// SaveQueue changes a queue's interval and how many checks run at once. What is
// due later than the new interval allows comes forward.
func (f *Fleet) SaveQueue(ctx context.Context, by string, in models.Queue) error {
	if wrong := in.Validate(); len(wrong) > 0 {
		return models.InvalidFields(wrong)
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		q, err := tx.LockQueue(ctx, in.UpdateType)
		if err != nil {
			return err
		}
		old := q
		q.Every, q.AtOnce = in.Every, in.AtOnce
		if err := tx.SaveQueue(ctx, q); err != nil {
			return err
		}
		if err := f.bringForward(ctx, tx, q); err != nil {
			return err
		}
		return tx.RecordEdit(ctx, f.event(by, "edit", models.Subject{Kind: models.SubjectQueue},
			fmt.Sprintf("Queue %s: every %s, %d at once.", q.UpdateType, q.Every, q.AtOnce)).With(old, q))
	})
}

// bringForward has upstreams that are due later than their queue's interval
// allows looked at inside of it, each at its own point.
func (f *Fleet) bringForward(ctx context.Context, tx Tx, q models.Queue) error {
	list, err := tx.UpstreamsOfType(ctx, q.UpdateType)
	if err != nil {
		return err
	}
	now := f.cfg.Now()
	for _, u := range list {
		subscribers, err := tx.Subscribers(ctx, u.ID)
		if err != nil {
			return err
		}
		every := u.Interval(baseInterval(subscribers, q), now)
		if every <= 0 || u.Stalled || u.Failures > 0 || u.NextCheckAt == nil || u.NextCheckAt.Before(now.Add(every)) {
			continue
		}
		if err := tx.ScheduleUpstream(ctx, u.ID, now.Add(phase(u, every))); err != nil {
			return err
		}
	}
	return nil
}

// PauseQueue stops or resumes the checks that a queue makes by itself.
func (f *Fleet) PauseQueue(ctx context.Context, by, updateType string, paused bool) error {
	verb := map[bool]string{true: "pause", false: "resume"}[paused]
	return f.store.InTx(ctx, func(tx Tx) error {
		q, err := tx.LockQueue(ctx, updateType)
		if err != nil {
			return err
		}
		old := q
		q.Paused = paused
		if err := tx.SaveQueue(ctx, q); err != nil {
			return err
		}
		return tx.RecordEdit(ctx, f.event(by, verb, models.Subject{Kind: models.SubjectQueue}, "Queue "+updateType+": "+verb+"d.").With(old, q))
	})
}

// RunQueueNow has every upstream of a type looked at, also when its queue is
// paused; what a host's limits refuse now comes in its turn. It tells how many
// checks that started.
func (f *Fleet) RunQueueNow(ctx context.Context, by, updateType string) (int, error) {
	if _, err := queueOf(ctx, f.store, updateType); err != nil {
		return 0, err
	}
	list, err := f.store.UpstreamsOfType(ctx, updateType)
	if err != nil {
		return 0, err
	}
	started := 0
	for _, u := range list {
		fresh, err := f.runNow(ctx, by, u)
		if err != nil {
			return started, err
		}
		if fresh {
			started++
		}
	}
	if err := f.store.MarkQueueRun(ctx, updateType, f.cfg.Now()); err != nil {
		return started, err
	}
	return started, f.store.RecordEvent(ctx, f.event(by, "run", models.Subject{Kind: models.SubjectQueue}, fmt.Sprintf("Queue %s: %d checks began.", updateType, started)))
}

func (f *Fleet) runNow(ctx context.Context, by string, u models.Upstream) (fresh bool, err error) {
	subscribers, err := f.store.Subscribers(ctx, u.ID)
	if err != nil || len(subscribers) == 0 {
		return false, err
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		taken, err := tx.TakeHost(ctx, u.Host, f.cfg.Now())
		if err != nil {
			return err
		}
		if !taken {
			return tx.ScheduleUpstream(ctx, u.ID, f.cfg.Now())
		}
		_, fresh, err = f.requestCheck(ctx, tx, by, subscribers[0], models.TriggerButton)
		return err
	})
	return fresh, err
}
