package store_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// upstream attaches the world's distribution to an upstream.
func (w *world) upstream(t *testing.T) models.Upstream {
	t.Helper()
	u, err := w.EnsureUpstream(w.ctx, models.Upstream{UpdateType: "git", Key: "https://example.org/x.git", Host: "example.org"})
	ok(t, err)
	w.d.UpstreamID = &u.ID
	ok(t, w.SaveDistribution(w.ctx, &w.d))
	return u
}

func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, database(t)))
		})
	}
}

func TestStore_EnsureUpstream_OneForEachKey(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		t.Helper()
		first := w.upstream(t)
		again := w.upstream(t)
		want(t, "same row", again.ID, first.ID)
		other, err := w.EnsureUpstream(w.ctx, models.Upstream{UpdateType: "composer", Key: first.Key, Host: first.Host})
		ok(t, err)
		want(t, "another type is another upstream", other.ID != first.ID, true)
		list, err := w.Subscribers(w.ctx, first.ID)
		ok(t, err)
		want(t, "subscribers", len(list), 1)
		ok(t, w.PruneUpstreams(w.ctx))
		_, err = w.Upstream(w.ctx, other.ID)
		wantCode(t, err, models.NotFound)
		_, err = w.Upstream(w.ctx, first.ID)
		ok(t, err)
	})
}

func TestStore_ClaimUpstream_OneWinner(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		t.Helper()
		u := w.upstream(t)
		at := time.Now()
		ok(t, w.ScheduleUpstream(w.ctx, u.ID, at))
		ok(t, w.ScheduleUpstream(w.ctx, u.ID, at.Add(time.Hour))) // it is due before
		due, err := w.DueUpstreams(w.ctx, "git", at.Add(time.Second), 10)
		ok(t, err)
		want(t, "due", len(due), 1)
		none, err := w.DueUpstreams(w.ctx, "git", at.Add(-time.Second), 10)
		ok(t, err)
		want(t, "not due yet", len(none), 0)
		next := at.Add(time.Minute)
		var winners atomic.Int32
		var claims sync.WaitGroup
		for range 10 {
			claims.Go(func() {
				won, err := w.ClaimUpstream(w.ctx, due[0], &next)
				if err != nil {
					t.Error(err)
				}
				if won {
					winners.Add(1)
				}
			})
		}
		claims.Wait()
		want(t, "winners", winners.Load(), 1)
	})
}

func TestStore_DueUpstreams_LeavesOutWhatCannotBeAsked(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		t.Helper()
		u := w.upstream(t)
		at := time.Now().UTC()
		ok(t, w.ScheduleUpstream(w.ctx, u.ID, at.Add(-time.Minute)))
		due := func() int {
			t.Helper()
			list, err := w.DueUpstreams(w.ctx, "git", at, 10)
			ok(t, err)
			return len(list)
		}
		want(t, "due", due(), 1)
		ok(t, w.BlockHost(w.ctx, "example.org", at.Add(time.Minute)))
		want(t, "while the host wants a pause", due(), 0)
		at = at.Add(2 * time.Minute)
		want(t, "after the pause", due(), 1)
		u.Stalled = true
		ok(t, w.RecordUpstream(w.ctx, u))
		want(t, "stalled", due(), 0)
		u.Stalled = false
		ok(t, w.RecordUpstream(w.ctx, u))
		task := w.task(t, models.TaskCheck, models.Subject{Kind: models.SubjectUpstream, ID: u.ID})
		want(t, "while it is looked at", due(), 0)
		w.finish(t, task.ID, models.TaskSucceeded)
		want(t, "after the look", due(), 1)
		w.d.UpstreamID = nil
		ok(t, w.SaveDistribution(w.ctx, &w.d))
		want(t, "without subscribers", due(), 0)
	})
}

func TestStore_TakeHost_KeepsTheLimits(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		t.Helper()
		u := w.upstream(t)
		at := time.Now().UTC()
		h, err := w.Host(w.ctx, u.Host)
		ok(t, err)
		h.AtOnce, h.PerMinute, h.Tokens = 2, 6, 1000
		ok(t, w.SaveHost(w.ctx, h))
		var taken atomic.Int32
		var takers sync.WaitGroup
		for range 8 {
			takers.Go(func() {
				got, err := w.TakeHost(w.ctx, u.Host, at)
				if err != nil {
					t.Error(err)
				}
				if got {
					taken.Add(1)
				}
			})
		}
		takers.Wait()
		want(t, "checks that one token allows", taken.Load(), 1)
		h, err = w.Host(w.ctx, u.Host)
		ok(t, err)
		want(t, "throttled", h.Throttled, 7)
		got, err := w.TakeHost(w.ctx, u.Host, at.Add(11*time.Second))
		ok(t, err)
		want(t, "after the bucket filled", got, true)
		rows, err := w.HostRows(w.ctx, at)
		ok(t, err)
		want(t, "hosts", len(rows), 1)
		want(t, "upstreams", rows[0].Upstreams, 1)
		ok(t, w.CountRequests(w.ctx, u.Host, at, 3))
		ok(t, w.CountRequests(w.ctx, u.Host, at, 4))
		rows, err = w.HostRows(w.ctx, at)
		ok(t, err)
		want(t, "requests", rows[0].Requests, 7)
	})
}

func TestStore_SourceState_AndPlan(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		t.Helper()
		state, err := w.SourceState(w.ctx, w.d.ID)
		ok(t, err)
		want(t, "before", state, models.SourceState{DistributionID: w.d.ID})
		for _, text := range []string{"one", "two"} {
			ok(t, w.SaveSourceState(w.ctx, models.SourceState{DistributionID: w.d.ID, Accepted: text, Pending: "p"}))
		}
		state, err = w.SourceState(w.ctx, w.d.ID)
		ok(t, err)
		want(t, "after", state.Accepted+state.Pending, "twop")
		p := models.Platform{DistributionID: w.d.ID, Name: "planned", Revision: "r", BuildKey: "k", Server: "local", Plan: "the plan"}
		ok(t, w.CreatePlatform(w.ctx, &p))
		plan, err := w.PlatformPlan(w.ctx, p.ID)
		ok(t, err)
		want(t, "plan", plan, "the plan")
		none, err := w.PlatformPlan(w.ctx, w.old.ID)
		ok(t, err)
		want(t, "no plan", none, "")
		ok(t, w.SetStanding(w.ctx, w.old.ID, []models.Finding{{Kind: models.FindingInsecure, Package: "drupal"}}))
		got, err := w.Platform(w.ctx, w.old.ID)
		ok(t, err)
		want(t, "unsafe", got.Unsafe(), true)
		w.site(t, "museum.example.org")
		rows, _, err := w.Distributions(w.ctx, fleet.Filter{})
		ok(t, err)
		want(t, "sites on unsafe platforms", rows[0].Unsafe, 1)
		decisions, err := w.Decisions(w.ctx, fleet.Filter{Limit: 10})
		ok(t, err)
		want(t, "decision", decisions[0].Kind, fleet.DecideRisk)
		ok(t, w.SetStanding(w.ctx, w.old.ID, nil))
		decisions, err = w.Decisions(w.ctx, fleet.Filter{Limit: 10})
		ok(t, err)
		want(t, "decisions", len(decisions), 0)
	})
}
