package fleet_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
)

// twins are two distributions that come from the same place.
func (w *world) twins() (models.Distribution, models.Distribution, *source) {
	w.Helper()
	one := w.distribution("One")
	two := w.distribution("Two")
	w.work()
	return w.reload(one), w.reload(two), w.sources.at(address)
}

func TestFleet_RunCheck_SharedUpstream_OneTaskForAll(t *testing.T) {
	each(t, func(w *world) {
		one, two, source := w.twins()
		want(w.T, "same upstream", *one.UpstreamID, *two.UpstreamID)
		before := source.checks
		source.says("b2")
		done := w.check(one)
		want(w.T, "looks", source.checks-before, 2)
		want(w.T, "peers", source.peers, 1)
		want(w.T, "message", done.Message, "One: Changed: b2 is being built; Two: Changed: b2 is being built")
		w.work()
		want(w.T, "platform of one", w.named("one-b2").State, models.PlatformReady)
		want(w.T, "platform of two", w.named("two-b2").State, models.PlatformReady)

		// The shortest interval counts, and one turn serves both.
		minute := time.Minute
		_, err := w.fleet.UpdateDistribution(w.ctx, "ada", two.ID, fleet.NewDistribution{Name: "Two", Settings: two.Settings, CheckEvery: &minute})
		ok(w.T, err)
		w.work()
		w.clock.pass(70 * time.Second)
		want(w.T, "due", w.dispatch(), 1)
		want(w.T, "title", w.pending(models.TaskCheck).Title, "Check One and 1 more")
	})
}

func TestFleet_RunCheck_UpstreamFails_IsAskedOnceAndPutOff(t *testing.T) {
	each(t, func(w *world) {
		one, two, source := w.twins()
		source.breaks(models.Errorf(models.Unavailable, "example.org did not answer in time.").Because(models.ReasonTimeout))
		before := source.checks
		failed := w.check(one)
		want(w.T, "state", failed.State, models.TaskFailed)
		want(w.T, "looks", source.checks-before, 1)
		for _, d := range []models.Distribution{one, two} {
			d = w.reload(d)
			want(w.T, "condition", d.Condition, models.ConditionFailing)
			want(w.T, "code", d.ReasonCode, models.ReasonTimeout)
		}
		u := w.upstream(one)
		want(w.T, "failures", u.Failures, 1)
		want(w.T, "stalled", u.Stalled, false)
		for range 8 {
			w.check(one)
		}
		u = w.upstream(one)
		if wait := u.NextCheckAt.Sub(w.clock.time()); wait <= 0 || wait > models.MaxInterval {
			w.Errorf("the next check is in %s", wait)
		}
		source.breaks(nil)
		w.check(two)
		want(w.T, "failures", w.upstream(one).Failures, 0)
		want(w.T, "condition", w.reload(one).Condition, models.ConditionCurrent)
	})
}

func TestFleet_RunCheck_AuthenticationFails_StallsAfterThree(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.breaks(models.Errorf(models.Forbidden, "example.org does not let Hefring in.").Because(models.ReasonAuthentication))
		for n := range models.MaxAuthFailed {
			want(w.T, "stalled before", w.upstream(d).Stalled, false)
			w.check(d)
			want(w.T, "failures", w.upstream(d).Failures, n+1)
		}
		u := w.upstream(d)
		if !u.Stalled || u.NextCheckAt != nil {
			w.Errorf("stalled is %t, the next check is at %v", u.Stalled, u.NextCheckAt)
		}
		w.clock.pass(48 * time.Hour)
		want(w.T, "checks by themselves", w.dispatch(), 0)

		source.breaks(nil)
		w.onceInRecord("try again", func() error { _, err := w.fleet.TryAgain(w.ctx, "ada", d.ID); return err })
		w.work()
		want(w.T, "outcome", w.checks(d)[0].Outcome, models.CheckUnchanged)
		u = w.upstream(d)
		if u.Stalled || u.NextCheckAt == nil {
			w.Errorf("after the mend stalled is %t, the next check is at %v", u.Stalled, u.NextCheckAt)
		}
		lines := w.lines(fleet.EventFilter{Verb: "try again"})
		want(w.T, "what changed", fmt.Sprint(lines[0].Changes), fmt.Sprint(models.Changes{
			{Field: "failures", Before: strconv.Itoa(models.MaxAuthFailed)}, {Field: "stalled", Before: "yes", After: "no"},
		}))
	})
}

func TestFleet_RunCheck_RateLimited_BlocksTheHost(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.breaks(models.Errorf(models.Unavailable, "example.org asks for fewer requests.").Because(models.ReasonRateLimited).After(10 * time.Minute))
		w.check(d)
		want(w.T, "outcome", w.checks(d)[0].Outcome, models.CheckThrottled)
		want(w.T, "condition", w.reload(d).Condition, models.ConditionCurrent)
		if next := w.upstream(d).NextCheckAt; next.Before(w.clock.time().Add(10 * time.Minute)) {
			w.Errorf("it is asked again at %v", next)
		}
		ok(w.T, w.ScheduleUpstream(w.ctx, w.upstream(d).ID, w.clock.time()))
		want(w.T, "checks during the pause", w.dispatch(), 0)
		w.clock.pass(11 * time.Minute)
		want(w.T, "checks after the pause", w.dispatch(), 1)
	})
}

// What changed while a look was under way may have been missed by it.
func TestFleet_RequestCheck_WhileOneRuns_AnotherFollows(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.during = func() {
			_, err := w.fleet.RequestCheck(w.ctx, "hook", d.ID, models.TriggerWebhook)
			wantCode(w.T, err, models.Conflict)
			want(w.T, "checks while it runs", w.dispatch(), 0)
		}
		w.check(d)
		source.during = nil
		source.says("b2")
		want(w.T, "checks after it", w.dispatch(), 1)
		w.work()
		want(w.T, "state", w.named("thunder-b2").State, models.PlatformReady)
	})
}

// A version that is approved in several windows at the same moment is built once.
func TestFleet_Approve_AtOnce_BuildsOne(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		moved := version("b2")
		moved.Hold = &plugins.Hold{Reason: models.ReasonTagMoved, Message: "The tag v1 names another commit now."}
		source.mu.Lock()
		source.version = moved
		source.mu.Unlock()
		w.check(d)
		before, err := w.PlatformsOf(w.ctx, d.ID)
		ok(w.T, err)
		var all sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			all.Go(func() { _, errs[i] = w.fleet.Approve(w.ctx, "ada", d.ID, "scripted:b2") })
		}
		all.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			wantCode(w.T, err, models.Conflict)
		}
		after, err := w.PlatformsOf(w.ctx, d.ID)
		ok(w.T, err)
		if won != 1 || len(after) != len(before)+1 {
			w.Errorf("%d were told that it is built, in %d platforms", won, len(after)-len(before))
		}
	})
}

func TestFleet_Held_IsBuiltWhenApproved(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		moved := version("b2")
		moved.Plan = "10.6.2"
		moved.Hold = &plugins.Hold{Reason: models.ReasonTagMoved, Message: "The tag v1 names another commit now."}
		source.mu.Lock()
		source.version = moved
		source.mu.Unlock()
		w.check(d)
		w.nothingQueued()
		d = w.reload(d)
		want(w.T, "condition", d.Condition, models.ConditionHeld)
		want(w.T, "code", d.ReasonCode, models.ReasonTagMoved)
		want(w.T, "reason", d.Reason, moved.Hold.Message)
		want(w.T, "outcome", w.checks(d)[0].Outcome, models.CheckHeld)
		w.check(d)
		want(w.T, "what the next check compares with", source.last.Revision, "scripted:a1")

		_, err := w.fleet.Approve(w.ctx, "ada", d.ID, "scripted:c3")
		wantCode(w.T, err, models.Conflict)
		p, err := w.fleet.Approve(w.ctx, "ada", d.ID, "scripted:b2")
		ok(w.T, err)
		w.recorded("ada", "approve")
		_, err = w.fleet.Approve(w.ctx, "ada", d.ID, "scripted:b2")
		wantCode(w.T, err, models.Conflict)
		w.work()
		p, err = w.fleet.Platform(w.ctx, p.ID)
		ok(w.T, err)
		want(w.T, "state", p.State, models.PlatformReady)
		want(w.T, "plan that the build had", p.Sources[0].Version, "10.6.2")
		want(w.T, "target", *w.reload(d).TargetID, p.ID)
		moved.Hold = nil
		source.mu.Lock()
		source.version = moved
		source.mu.Unlock()
		want(w.T, "next check", w.check(d).Message, "Unchanged: b2")
		want(w.T, "condition", w.reload(d).Condition, models.ConditionCurrent)
	})
}

func TestFleet_RunCheck_RebuildsAfterDays(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		_, err := w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, fleet.NewDistribution{Name: d.Name, Settings: d.Settings, RebuildDays: 30})
		ok(w.T, err)
		w.work()
		w.clock.pass(29 * 24 * time.Hour)
		w.check(d)
		w.work()
		want(w.T, "builds before", source.builds, 1)
		w.clock.pass(2 * 24 * time.Hour)
		w.check(d)
		w.work()
		want(w.T, "builds after", source.builds, 2)
		want(w.T, "target", *w.reload(d).TargetID, w.named("thunder-a1-2").ID)
	})
}

func TestFleet_DispatchRebuilds_AlsoByHand(t *testing.T) {
	each(t, func(w *world) {
		d, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{Name: "Intranet", UpdateType: "byhand", RebuildDays: 7})
		ok(w.T, err)
		_, err = w.fleet.RegisterPlatform(w.ctx, "ada", d.ID, "/srv/one", "")
		ok(w.T, err)
		zero := time.Duration(0)
		checked, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{
			Name: "Thunder", UpdateType: "scripted", Settings: models.Settings{"url": address}, CheckEvery: &zero, RebuildDays: 7,
		})
		ok(w.T, err)
		w.work()
		ok(w.T, w.fleet.DispatchRebuilds(w.ctx))
		want(w.T, "checks before", w.dispatch(), 0)
		w.nothingQueued()
		w.clock.pass(8 * 24 * time.Hour)
		ok(w.T, w.fleet.DispatchRebuilds(w.ctx))
		want(w.T, "checks after", w.dispatch(), 1)
		w.work()
		ok(w.T, w.fleet.DispatchRebuilds(w.ctx))
		w.nothingQueued()
		for _, d := range []models.Distribution{d, checked} {
			list, err := w.PlatformsOf(w.ctx, d.ID)
			ok(w.T, err)
			want(w.T, "platforms of "+d.Name, len(list), 2)
		}
	})
}

func TestFleet_RunCheck_StoresWhatIsWrongWithRunningVersions(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.mu.Lock()
		source.found = []models.Finding{{Kind: models.FindingInsecure, Package: "drupal", Version: "10.5.8", Title: "SA-CORE"}}
		source.mu.Unlock()
		w.check(d)
		p := w.named("thunder-a1")
		want(w.T, "unsafe", p.Unsafe(), true)
		want(w.T, "finding", p.Findings()[0].Title, "SA-CORE")
	})
}

// What says where to look, and not what is built, makes no new platform.
func TestFleet_UpdateDistribution_AsideSettings_BuildNothing(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		edit := func(more models.Settings) {
			settings := models.Settings{"url": address}
			maps.Copy(settings, more)
			_, err := w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, fleet.NewDistribution{Name: d.Name, Settings: settings})
			ok(w.T, err)
			w.work()
		}
		edit(models.Settings{"auth": "1", "password": "correct horse"})
		want(w.T, "builds after a credential", source.builds, 1)
		want(w.T, "condition", w.reload(d).Condition, models.ConditionCurrent)
		edit(models.Settings{"docroot": "web"})
		want(w.T, "builds after another docroot", source.builds, 2)
	})
}

func TestFleet_Secrets_AreSealedAndStay(t *testing.T) {
	each(t, func(w *world) {
		const canary = "correct horse"
		settings := func(url, password string) models.Settings {
			return models.Settings{"url": url, "auth": "1", "password": password}
		}
		d, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{Name: "Private", UpdateType: "scripted", Settings: settings(address, canary)})
		ok(w.T, err)
		if d.Settings["password"] != "" || len(d.Secrets) == 0 || strings.Contains(string(d.Secrets), canary) {
			w.Errorf("stored are %v and %q", d.Settings, d.Secrets)
		}
		want(w.T, "set", w.fleet.SecretsSet(d)["password"], true)
		update := func(in models.Settings) (models.Distribution, error) {
			return w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, fleet.NewDistribution{Name: "Private", Settings: in})
		}
		kept, err := update(settings(address, ""))
		ok(w.T, err)
		want(w.T, "kept", w.fleet.SecretsSet(kept)["password"], true)
		// Whoever may change the address must not get the secret sent there.
		_, err = update(settings("https://elsewhere.example.net/x.git", ""))
		wantFields(w.T, err, "password")
		_, err = update(settings("https://elsewhere.example.net/x.git", "another"))
		ok(w.T, err)
		_, err = update(settings(address, "short"))
		wantFields(w.T, err, "password")
		dropped, err := update(models.Settings{"url": address})
		ok(w.T, err)
		want(w.T, "dropped", len(dropped.Secrets), 0)
	})
}
