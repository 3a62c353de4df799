package fleet

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"hefring/models"
	"hefring/plugins"
)

// attach finds or makes the upstream of a distribution's source.
func (f *Fleet) attach(ctx context.Context, tx Tx, d *models.Distribution, source plugins.Source) (models.Upstream, error) {
	named := source.Upstream()
	if named.Key == "" {
		d.UpstreamID = nil
		return models.Upstream{}, nil
	}
	u, err := tx.EnsureUpstream(ctx, models.Upstream{UpdateType: d.UpdateType, Key: named.Key, Host: named.Host})
	if err != nil {
		return models.Upstream{}, err
	}
	d.UpstreamID = &u.ID
	return u, nil
}

// EnsureUpstreams attaches distributions that have no upstream: those of a
// version of Hefring that knew none.
func (f *Fleet) EnsureUpstreams(ctx context.Context) error {
	orphans, err := f.store.Orphans(ctx)
	if err != nil {
		return err
	}
	for _, d := range orphans {
		source, err := f.open(d)
		if err != nil || source.Upstream().Key == "" {
			continue // it is kept by hand, or its settings are no longer right: its form says so
		}
		err = f.store.InTx(ctx, func(tx Tx) error {
			u, err := f.attach(ctx, tx, &d, source)
			if err != nil {
				return err
			}
			if err := tx.SaveDistribution(ctx, &d); err != nil {
				return err
			}
			return tx.ScheduleUpstream(ctx, u.ID, f.cfg.Now())
		})
		if err != nil {
			return fmt.Errorf("find upstream of %s: %w", d.Name, err)
		}
	}
	return nil
}

func upstreamSubject(id int64) models.Subject {
	return models.Subject{Kind: models.SubjectUpstream, ID: id}
}

// checkTask is a look at an upstream, asked for because of d.
func checkTask(by string, d models.Distribution, trigger models.Trigger) *models.Task {
	return &models.Task{
		Kind: models.TaskCheck, Subject: upstreamSubject(*d.UpstreamID), Title: "Check " + d.Name,
		Actor: by, Args: models.Settings{"trigger": string(trigger), "type": d.UpdateType, "distribution": strconv.FormatInt(d.ID, 10)},
	}
}

// requestCheck has a distribution's upstream looked at. When that happens at this
// moment, another look follows it: what changed meanwhile may have been missed.
// The task is the one that was made, or the one that runs.
func (f *Fleet) requestCheck(ctx context.Context, tx Tx, by string, d models.Distribution, trigger models.Trigger) (models.Task, bool, error) {
	task := checkTask(by, d, trigger)
	running, err := tx.RunningTask(ctx, task.Subject)
	switch {
	case models.CodeOf(err) == models.NotFound:
		err := tx.CreateTask(ctx, task)
		return *task, err == nil, err
	case err != nil:
		return models.Task{}, false, err
	case running.State == models.TaskQueued:
		return running, false, nil
	default:
		return running, false, f.lookAgain(ctx, tx, *d.UpstreamID)
	}
}

// lookAgain has an upstream looked at once the look that runs is over. It always
// moves the due time, also one that has passed, because that is how the look
// that runs learns of it.
func (f *Fleet) lookAgain(ctx context.Context, tx Tx, upstreamID int64) error {
	for moved := false; !moved; {
		u, err := tx.Upstream(ctx, upstreamID)
		if err != nil {
			return err
		}
		next := f.cfg.Now()
		if u.NextCheckAt != nil && !u.NextCheckAt.After(next) {
			next = u.NextCheckAt.Add(-time.Microsecond)
		}
		// Not when somebody was quicker: the look that runs may have been it.
		if moved, err = tx.ClaimUpstream(ctx, u, &next); err != nil {
			return err
		}
	}
	return nil
}

// baseInterval is how often the subscribers of an upstream want it asked; 0 is
// never by itself.
func baseInterval(subscribers []models.Distribution, q models.Queue) time.Duration {
	var base time.Duration
	for _, d := range subscribers {
		every := q.Every
		if d.CheckEvery != nil {
			every = *d.CheckEvery
		}
		if every > 0 && (base == 0 || every < base) {
			base = every
		}
	}
	return base
}

// nextCheck is when an upstream that was asked now is due; nil is never.
func (f *Fleet) nextCheck(u models.Upstream, base time.Duration) *time.Time {
	now := f.cfg.Now()
	every := u.Interval(base, now)
	if every <= 0 || u.Stalled {
		return nil
	}
	next := now.Add(jitter(every))
	return &next
}

// phase is a point inside an interval that is always the same for an upstream,
// so that those that become due together do not stay together.
func phase(u models.Upstream, every time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(u.Key))
	return time.Duration(h.Sum64() % uint64(max(every, 1))) //nolint:gosec // an interval is positive
}

// DispatchChecks queues a check for every upstream that is due. Any number of
// replicas may call it at once: a due time is claimed by one of them.
func (f *Fleet) DispatchChecks(ctx context.Context) error {
	queues, err := f.store.Queues(ctx)
	if err != nil {
		return fmt.Errorf("read queues: %w", err)
	}
	for _, q := range queues {
		if q.Paused {
			continue
		}
		if err := f.dispatch(ctx, q); err != nil {
			return fmt.Errorf("dispatch %s checks: %w", q.UpdateType, err)
		}
	}
	return nil
}

func (f *Fleet) dispatch(ctx context.Context, q models.Queue) error {
	running, err := f.store.RunningChecks(ctx, q.UpdateType)
	if err != nil || running >= q.AtOnce {
		return err
	}
	now := f.cfg.Now()
	due, err := f.store.DueUpstreams(ctx, q.UpdateType, now, q.AtOnce-running)
	if err != nil || len(due) == 0 {
		return err
	}
	for _, u := range due {
		if err := f.claim(ctx, u, q); err != nil && models.CodeOf(err) != models.Conflict {
			return err // a Conflict is a button that somebody pressed in this very moment
		}
	}
	return f.store.MarkQueueRun(ctx, q.UpdateType, now)
}

func (f *Fleet) claim(ctx context.Context, u models.Upstream, q models.Queue) error {
	subscribers, err := f.store.Subscribers(ctx, u.ID)
	if err != nil || len(subscribers) == 0 {
		return err
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		// What a host's limits refuse stays due and has its turn later.
		taken, err := tx.TakeHost(ctx, u.Host, f.cfg.Now())
		if err != nil || !taken {
			return err
		}
		claimed, err := tx.ClaimUpstream(ctx, u, f.nextCheck(u, baseInterval(subscribers, q)))
		if err != nil || !claimed {
			return err
		}
		task := checkTask(ActorQueue, subscribers[0], models.TriggerQueue)
		if more := len(subscribers) - 1; more > 0 {
			task.Title += fmt.Sprintf(" and %d more", more)
		}
		return tx.CreateTask(ctx, task)
	})
}

// settle stores how an upstream answered, and when it is asked again after a
// failure. u is as it was when the check began.
func (f *Fleet) settle(ctx context.Context, r *round, u models.Upstream) error {
	t, cause := r.task, r.upstream
	now := f.cfg.Now()
	u.LastCheckAt = &now
	if r.changed() {
		u.LastChangeAt = now
	}
	reason := models.ReasonOf(cause)
	if reason.OfUpstream() {
		u.Failures, u.Reason, u.Message = u.Failures+1, reason, models.Explain(cause)
		u.Stalled = reason == models.ReasonAuthentication && u.Failures >= models.MaxAuthFailed
	} else {
		u.Failures, u.Reason, u.Message, u.Stalled = 0, "", "", false
	}
	queue, err := queueOf(ctx, f.store, u.UpdateType)
	if err != nil {
		return err
	}
	subscribers, err := f.store.Subscribers(ctx, u.ID)
	if err != nil {
		return err
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		if err := tx.RecordUpstream(ctx, u); err != nil {
			return err
		}
		if err := tx.CountRequests(ctx, u.Host, now, r.requests()); err != nil {
			return err
		}
		if reason == models.ReasonRateLimited {
			if err := tx.BlockHost(ctx, u.Host, now.Add(max(models.RetryAfterOf(cause), time.Minute))); err != nil {
				return err
			}
		}
		if err := f.reschedule(ctx, tx, u, baseInterval(subscribers, queue), cause); err != nil {
			return err
		}
		if told := t.Args["trigger"] == string(models.TriggerWebhook); told && cause == nil && !r.changed() {
			// A mirror behind the host's name may lag behind what the webhook told of.
			return tx.ScheduleUpstream(ctx, u.ID, now.Add(replicaLag))
		}
		return nil
	})
}

// replicaLag is after how long a source is looked at once more, when a webhook
// told of a change that was not there.
const replicaLag = 30 * time.Second

// reschedule puts off what failed, and brings forward what changed. A due time
// that somebody moved meanwhile stays: it asks for another look.
func (f *Fleet) reschedule(ctx context.Context, tx Tx, u models.Upstream, base time.Duration, cause error) error {
	next := f.nextCheck(u, base)
	if u.Failures > 0 && !u.Stalled && next != nil {
		at := f.cfg.Now().Add(u.Backoff(base, models.RetryAfterOf(cause), rand.Float64())) //nolint:gosec // nothing secret
		next = &at
	}
	_, err := tx.ClaimUpstream(ctx, u, next)
	return err
}

// TryAgain lets checks of a distribution's stalled upstream go on, and makes one.
func (f *Fleet) TryAgain(ctx context.Context, by string, id int64) (models.Task, error) {
	d, err := f.store.Distribution(ctx, id)
	if err != nil {
		return models.Task{}, err
	}
	if d.UpstreamID != nil {
		if err := f.store.InTx(ctx, func(tx Tx) error { return f.unstall(ctx, tx, by, d) }); err != nil {
			return models.Task{}, err
		}
	}
	return f.CheckNow(ctx, by, id)
}

// unstall forgets how often a distribution's upstream failed, so that it is asked again.
func (f *Fleet) unstall(ctx context.Context, tx Tx, by string, d models.Distribution) error {
	u, err := tx.LockUpstream(ctx, *d.UpstreamID)
	if err != nil {
		return err
	}
	before := stall(u)
	u.Stalled, u.Failures = false, 0
	if err := tx.RecordUpstream(ctx, u); err != nil {
		return err
	}
	return tx.RecordEdit(ctx, f.event(by, "try again", distributionSubject(d.ID), "Checks of "+d.Name+" go on.").With(before, stall(u)))
}

// stall is what of an upstream a person who acts changes.
func stall(u models.Upstream) models.Upstream {
	return models.Upstream{Stalled: u.Stalled, Failures: u.Failures}
}

// SaveHost changes the politeness towards a host.
func (f *Fleet) SaveHost(ctx context.Context, by string, in models.Host) error {
	if wrong := in.Validate(); len(wrong) > 0 {
		return models.InvalidFields(wrong)
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		h, err := tx.LockHost(ctx, in.Name)
		if err != nil {
			return err
		}
		old := h
		h.AtOnce, h.PerMinute = in.AtOnce, in.PerMinute
		if err := tx.SaveHost(ctx, h); err != nil {
			return err
		}
		return tx.RecordEdit(ctx, f.event(by, "edit", models.Subject{Kind: models.SubjectQueue},
			fmt.Sprintf("Host %s: %d at once, %d a minute.", h.Name, h.AtOnce, h.PerMinute)).With(old, h))
	})
}
