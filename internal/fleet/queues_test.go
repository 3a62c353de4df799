package fleet_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// sourcesOf makes n distributions of a type and does all their work.
func (w *world) sourcesOf(updateType string, n int) []models.Distribution {
	w.Helper()
	var list []models.Distribution
	for i := range n {
		name := fmt.Sprintf("%s %d", updateType, i)
		d, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{
			Name: name, UpdateType: updateType, Settings: models.Settings{"url": "https://example.org/" + models.Slugify(name)},
		})
		ok(w.T, err)
		list = append(list, d)
	}
	for _, t := range w.queued() { // builds are not needed here
		ok(w.T, w.fleet.CancelTask(w.ctx, "ada", t.ID))
	}
	return list
}

// scripted gives the queue of scripted sources.
func (w *world) scripted() models.Queue {
	w.Helper()
	list, err := w.Queues(w.ctx)
	ok(w.T, err)
	for _, q := range list {
		if q.UpdateType == "scripted" {
			return q
		}
	}
	w.Fatal("there is no queue of scripted sources")
	return models.Queue{}
}

func (w *world) dispatch() int {
	w.Helper()
	before := len(w.queued())
	ok(w.T, w.fleet.DispatchChecks(w.ctx))
	return len(w.queued()) - before
}

func TestFleet_EnsureQueues_OneForEachTypeThatIsChecked(t *testing.T) {
	each(t, func(w *world) {
		q := w.scripted()
		q.Every, q.Paused = time.Hour, true
		ok(w.T, w.SaveQueue(w.ctx, q))
		ok(w.T, w.fleet.EnsureQueues(w.ctx))
		list, err := w.Queues(w.ctx)
		ok(w.T, err)
		want(w.T, "queues", len(list), 2)
		want(w.T, "paused", w.scripted().Paused, true)
		want(w.T, "interval", w.scripted().Every, time.Hour)
	})
}

func TestFleet_DispatchChecks_OnlyWhatIsDue(t *testing.T) {
	each(t, func(w *world) {
		list := w.sourcesOf("scripted", 3)
		want(w.T, "at once", w.dispatch(), 0)
		w.clock.pass(4 * time.Minute)
		want(w.T, "before the interval", w.dispatch(), 0)
		w.clock.pass(2 * time.Minute)
		want(w.T, "after the interval", w.dispatch(), 3)
		want(w.T, "again", w.dispatch(), 0)
		for _, d := range list {
			next := w.upstream(d).NextCheckAt
			if next == nil || !next.After(w.clock.time()) {
				w.Errorf("next check at %v", next)
			}
		}
		want(w.T, "last run", w.scripted().LastRunAt.Equal(w.clock.time()), true)
		task := w.queued()[0]
		want(w.T, "actor", task.Actor, fleet.ActorQueue)
		want(w.T, "trigger", task.Args["trigger"], string(models.TriggerQueue))
	})
}

func TestFleet_DispatchChecks_HeedsLimitAndPause(t *testing.T) {
	each(t, func(w *world) {
		w.sourcesOf("scripted", 4)
		w.sourcesOf("quiet", 1)
		ok(w.T, w.fleet.PauseQueue(w.ctx, "ada", "quiet", true))
		q := w.scripted()
		q.AtOnce = 3
		ok(w.T, w.fleet.SaveQueue(w.ctx, "ada", q))
		w.clock.pass(time.Hour)
		want(w.T, "at once", w.dispatch(), 3)
		want(w.T, "while they run", w.dispatch(), 0)
		w.run(w.queued()[0].ID)
		list, _, err := w.Tasks(w.ctx, fleet.Filter{State: "queued", Limit: 100})
		ok(w.T, err)
		for _, t := range list {
			if t.Kind == models.TaskBuild {
				ok(w.T, w.fleet.CancelTask(w.ctx, "ada", t.ID))
			}
		}
		want(w.T, "when one has ended", w.dispatch(), 1)
		ok(w.T, w.fleet.PauseQueue(w.ctx, "ada", "quiet", false))
		want(w.T, "when the other goes on", w.dispatch(), 1)
		wantCode(w.T, w.fleet.PauseQueue(w.ctx, "ada", "cvs", true), models.NotFound)
	})
}

func TestFleet_DispatchChecks_ManyAtOnce_ClaimOnce(t *testing.T) {
	each(t, func(w *world) {
		w.sourcesOf("scripted", 6)
		w.clock.pass(time.Hour)
		var replicas sync.WaitGroup
		for range 5 {
			other := w.replica(w.Store)
			replicas.Go(func() {
				if err := other.DispatchChecks(context.WithoutCancel(w.ctx)); err != nil {
					w.Error(err)
				}
			})
		}
		replicas.Wait()
		seen := map[int64]int{}
		for _, t := range w.queued() {
			seen[t.Subject.ID]++
		}
		want(w.T, "upstreams that are checked", len(seen), 6)
		for id, n := range seen {
			if n > 1 {
				w.Errorf("upstream %d is checked %d times", id, n)
			}
		}
	})
}

// One that is being looked at waits for its next turn.
func TestFleet_DispatchChecks_BusyOne_IsSkipped(t *testing.T) {
	each(t, func(w *world) {
		d := w.sourcesOf("scripted", 1)[0]
		pressed, err := w.fleet.CheckNow(w.ctx, "ada", d.ID)
		ok(w.T, err)
		w.clock.pass(time.Hour)
		want(w.T, "checks", w.dispatch(), 0)
		want(w.T, "task", w.pending(models.TaskCheck).ID, pressed.ID)
		w.run(pressed.ID)
		if next := w.upstream(d).NextCheckAt; !next.After(w.clock.time()) {
			w.Errorf("next check at %v", next)
		}
	})
}

func TestFleet_DispatchChecks_OwnInterval(t *testing.T) {
	each(t, func(w *world) {
		list := w.sourcesOf("scripted", 2)
		zero, minute := time.Duration(0), time.Minute
		often := list[1]
		for d, every := range map[*models.Distribution]*time.Duration{&list[0]: &zero, &often: &minute} {
			_, err := w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, fleet.NewDistribution{Name: d.Name, Settings: d.Settings, CheckEvery: every})
			ok(w.T, err)
			w.run(w.pending(models.TaskCheck).ID)
			for _, t := range w.queued() {
				ok(w.T, w.fleet.CancelTask(w.ctx, "ada", t.ID))
			}
		}
		if next := w.upstream(list[0]).NextCheckAt; next != nil {
			w.Errorf("the one that is checked by hand is due at %v", next)
		}
		w.clock.pass(2 * time.Minute)
		want(w.T, "checks", w.dispatch(), 1)
		if next := w.upstream(often).NextCheckAt; next.After(w.clock.time().Add(2 * time.Minute)) {
			w.Errorf("next check at %v", next)
		}
		w.clock.pass(24 * time.Hour)
		ok(w.T, w.fleet.CancelTask(w.ctx, "ada", w.pending(models.TaskCheck).ID))
		want(w.T, "checks", w.dispatch(), 1)
	})
}

func TestFleet_SaveQueue_WrongValues(t *testing.T) {
	each(t, func(w *world) {
		for _, c := range []struct {
			queue  models.Queue
			fields []string
		}{
			{models.Queue{UpdateType: "scripted", Every: time.Second, AtOnce: 1}, []string{"every"}},
			{models.Queue{UpdateType: "scripted", Every: 8 * 24 * time.Hour, AtOnce: 65}, []string{"at_once", "every"}},
			{models.Queue{UpdateType: "scripted", Every: time.Minute, AtOnce: 0}, []string{"at_once"}},
		} {
			wantFields(w.T, w.fleet.SaveQueue(w.ctx, "ada", c.queue), c.fields...)
		}
		wantCode(w.T, w.fleet.SaveQueue(w.ctx, "ada", models.Queue{UpdateType: "cvs", Every: time.Minute, AtOnce: 1}), models.NotFound)
		want(w.T, "interval", w.scripted().Every, 5*time.Minute)
	})
}

func TestFleet_SaveQueue_BringsChecksForward(t *testing.T) {
	each(t, func(w *world) {
		d := w.sourcesOf("scripted", 1)[0]
		far := *w.upstream(d).NextCheckAt
		ok(w.T, w.fleet.SaveQueue(w.ctx, "ada", models.Queue{UpdateType: "scripted", Every: 10 * time.Second, AtOnce: 2}))
		near := *w.upstream(d).NextCheckAt
		if limit := w.clock.time().Add(11 * time.Second); !near.Before(far) || near.After(limit) {
			w.Errorf("next check at %v, want before %v", near, limit)
		}
		// A longer interval counts from the next check on; what is due soon stays.
		ok(w.T, w.fleet.SaveQueue(w.ctx, "ada", models.Queue{UpdateType: "scripted", Every: time.Hour, AtOnce: 2}))
		want(w.T, "next check is still the same", w.upstream(d).NextCheckAt.Equal(near), true)
		want(w.T, "at once", w.scripted().AtOnce, 2)
		w.clock.pass(11 * time.Second)
		want(w.T, "checks", w.dispatch(), 1)
		if next := w.upstream(d).NextCheckAt; next.Before(w.clock.time().Add(50 * time.Minute)) {
			w.Errorf("next check at %v", next)
		}
	})
}

func TestFleet_RunQueueNow_AlsoWhenPaused(t *testing.T) {
	each(t, func(w *world) {
		w.sourcesOf("scripted", 3)
		w.sourcesOf("quiet", 1)
		ok(w.T, w.fleet.PauseQueue(w.ctx, "ada", "scripted", true))
		started, err := w.fleet.RunQueueNow(w.ctx, "ada", "scripted")
		ok(w.T, err)
		want(w.T, "started", started, 3)
		w.run(w.queued()[0].ID)
		started, err = w.fleet.RunQueueNow(w.ctx, "ada", "scripted")
		ok(w.T, err)
		want(w.T, "started again", started, 1)
		want(w.T, "last run", w.scripted().LastRunAt.Equal(w.clock.time()), true)
		_, err = w.fleet.RunQueueNow(w.ctx, "ada", "cvs")
		wantCode(w.T, err, models.NotFound)
	})
}
