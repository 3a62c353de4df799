package fleet_test

import (
	"context"
	"errors"
	"testing"

	"hefring/internal/fleet"
	"hefring/models"
)

func (w *world) checks(d models.Distribution) []models.Check {
	w.Helper()
	list, err := w.fleet.DistributionChecks(w.ctx, d.ID, 100)
	ok(w.T, err)
	return list
}

func TestFleet_RunCheck_First_QueuesPlatformAndBuild(t *testing.T) {
	each(t, func(w *world) {
		d := w.distribution("Thunder")
		first := w.run(w.pending(models.TaskCheck).ID)
		want(w.T, "state", first.State, models.TaskSucceeded)
		p := w.named("thunder-a1")
		want(w.T, "platform", p.State, models.PlatformQueued)
		want(w.T, "revision", p.Revision, "scripted:a1")
		want(w.T, "note", p.Note, "Note on a1")
		want(w.T, "subject of the build", w.pending(models.TaskBuild).Subject, models.Subject{Kind: models.SubjectPlatform, ID: p.ID})
		d = w.reload(d)
		want(w.T, "observed", d.Observed, "scripted:a1")
		want(w.T, "signature before the promotion", d.Signature, "")
		want(w.T, "condition", d.Condition, models.ConditionChanged)
		check := w.checks(d)[0]
		want(w.T, "outcome", check.Outcome, models.CheckChanged)
		want(w.T, "task", *check.TaskID, first.ID)
		want(w.T, "old revision", check.OldRevision, "")
		want(w.T, "new revision", check.NewRevision, "scripted:a1")
		if w.checks(d)[0].Message != "Note on a1" {
			w.Errorf("message %q", check.Message)
		}
	})
}

// A platform without a build task would wait for ever, a build task without a
// platform would fail.
func TestFleet_RunCheck_QueueFails_StoresNothing(t *testing.T) {
	each(t, func(w *world) {
		d := w.distribution("Thunder")
		check := w.pending(models.TaskCheck)
		w.SetEnqueuer(broken{})
		failed := w.run(check.ID)
		want(w.T, "state", failed.State, models.TaskFailed)
		if list, err := w.PlatformsOf(w.ctx, d.ID); err != nil || len(list) > 0 {
			w.Errorf("platforms %v (%v)", list, err)
		}
		want(w.T, "observed", w.reload(d).Observed, "")
		w.SetEnqueuer(w.queue)
		w.check(d)
		w.work()
		want(w.T, "platform", w.named("thunder-a1").State, models.PlatformReady)
	})
}

type broken struct{}

func (broken) Enqueue(context.Context, any, models.Task) error {
	return errors.New("the queue is full")
}

func TestFleet_RunCheck_Unchanged_IsOneLine(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		for range 3 {
			want(w.T, "check", w.check(d).Message, "Unchanged: a1")
		}
		list := w.checks(d)
		want(w.T, "lines", len(list), 2)
		want(w.T, "outcome", list[0].Outcome, models.CheckUnchanged)
		want(w.T, "times", list[0].Times, 3)
		want(w.T, "builds", source.builds, 1)
		want(w.T, "condition", w.reload(d).Condition, models.ConditionCurrent)
		w.nothingQueued()
	})
}

func TestFleet_RunCheck_Failing_SaysWhyAndRecovers(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.breaks(models.Errorf(models.Unavailable, "example.org does not answer. Check the address."))
		failed := w.check(d)
		want(w.T, "state", failed.State, models.TaskFailed)
		want(w.T, "message", failed.Message, "example.org does not answer. Check the address.")
		d = w.reload(d)
		want(w.T, "condition", d.Condition, models.ConditionFailing)
		want(w.T, "reason", d.Reason, failed.Message)
		want(w.T, "observed", d.Observed, "scripted:a1")
		want(w.T, "target", *d.TargetID, w.named("thunder-a1").ID)
		check := w.checks(d)[0]
		want(w.T, "outcome", check.Outcome, models.CheckFailed)
		want(w.T, "check's message", check.Message, failed.Message)

		source.breaks(errors.New("secret internals"))
		failed = w.check(d)
		if failed.Message == "secret internals" || w.reload(d).Reason == "secret internals" {
			w.Error("internals are shown")
		}
		source.breaks(nil)
		w.check(d)
		d = w.reload(d)
		want(w.T, "condition", d.Condition, models.ConditionCurrent)
		want(w.T, "reason", d.Reason, "")
	})
}

func TestFleet_RunCheck_Stopped_SaysNothingAboutTheSource(t *testing.T) {
	each(t, func(w *world) {
		d := w.distribution("Thunder")
		ctx, stop := context.WithCancelCause(w.ctx)
		stop(fleet.ErrStopping)
		id := w.pending(models.TaskCheck).ID
		w.runIn(ctx, id)
		want(w.T, "condition", w.reload(d).Condition, models.ConditionNew)
		want(w.T, "task", w.run(id).State, models.TaskSucceeded)
		want(w.T, "attempt", w.taskOf(id).Attempt, 2)
	})
}

func (w *world) taskOf(id int64) models.Task {
	w.Helper()
	t, err := w.Task(w.ctx, id)
	ok(w.T, err)
	return t
}

// A worker that lost its check to another must not queue a second platform.
func TestFleet_RunCheck_TakenOver_WritesNothing(t *testing.T) {
	each(t, func(w *world) {
		d := w.distribution("Thunder")
		lost, err := w.TakeTask(w.ctx, w.pending(models.TaskCheck).ID)
		ok(w.T, err)
		w.run(lost.ID)
		source := w.sources.at(address)
		source.says("b2")
		late := w.handle(w.ctx, lost)
		wantCode(w.T, late.err, models.Conflict)
		source.breaks(errors.New("gone"))
		w.handle(w.ctx, lost)
		list, err := w.PlatformsOf(w.ctx, d.ID)
		ok(w.T, err)
		want(w.T, "platforms", len(list), 1)
		want(w.T, "observed", w.reload(d).Observed, "scripted:a1")
		want(w.T, "condition", w.reload(d).Condition, models.ConditionChanged)
	})
}

func TestFleet_RunCheck_SourceWentBack_PromotesTheOldPlatform(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		first := w.named("thunder-a1")
		second := w.moves(d, "b2")
		want(w.T, "target", *w.reload(d).TargetID, second.ID)
		source.says("a1")
		back := w.check(d)
		if back.State != models.TaskSucceeded || source.builds != 2 {
			w.Errorf("%s after %d builds: %v", back.State, source.builds, back.err)
		}
		d = w.reload(d)
		want(w.T, "target", *d.TargetID, first.ID)
		want(w.T, "signature", d.Signature, "scripted:a1")
		want(w.T, "condition", d.Condition, models.ConditionCurrent)
		want(w.T, "first is locked", w.named("thunder-a1").Locked, false)
		want(w.T, "second is locked", w.named("thunder-b2").Locked, true)
		w.moves(d, "b2")
		want(w.T, "target", *w.reload(d).TargetID, second.ID)
		want(w.T, "builds", source.builds, 2)
	})
}

// What a person chose is not undone by the next unchanged check.
func TestFleet_RunCheck_TargetByHand_Stays(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		first := w.named("thunder-a1")
		w.moves(d, "b2")
		ok(w.T, w.fleet.SetTarget(w.ctx, "ada", first.ID))
		w.check(d)
		want(w.T, "target", *w.reload(d).TargetID, first.ID)
	})
}

func TestFleet_RunCheck_FailedBuild_IsNotRepeated(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.builder(func(context.Context, string) error { return models.Errorf(models.Invalid, "Composer says no.") })
		failed := w.moves(d, "b2")
		want(w.T, "state", failed.State, models.PlatformFailed)
		for range 3 {
			w.check(d)
			w.work()
		}
		want(w.T, "builds", source.builds, 2)
		d = w.reload(d)
		want(w.T, "condition", d.Condition, models.ConditionFailing)
		want(w.T, "reason", d.Reason, "Composer says no.")
		want(w.T, "observed", d.Observed, "scripted:b2")
		want(w.T, "signature", d.Signature, "scripted:a1")

		source.builder(nil)
		_, err := w.fleet.RetryBuild(w.ctx, "ada", failed.ID)
		ok(w.T, err)
		_, err = w.fleet.RetryBuild(w.ctx, "ada", failed.ID)
		wantCode(w.T, err, models.Conflict)
		w.work()
		d = w.reload(d)
		want(w.T, "target", *d.TargetID, failed.ID)
		want(w.T, "condition", d.Condition, models.ConditionCurrent)
		want(w.T, "reason", d.Reason, "")
	})
}

func TestFleet_RunCheck_NewerRevision_ReplacesTheQueuedOne(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.says("b2")
		w.check(d)
		waiting := w.pending(models.TaskBuild)
		source.says("c3")
		w.check(d)
		want(w.T, "older build", w.taskOf(waiting.ID).State, models.TaskCancelled)
		replaced := w.named("thunder-b2")
		want(w.T, "older platform", replaced.State, models.PlatformFailed)
		want(w.T, "its reason", replaced.Reason, "A newer revision took its place before it was built.")
		w.pending(models.TaskBuild)
		w.work()
		want(w.T, "target", *w.reload(d).TargetID, w.named("thunder-c3").ID)

		// It was never tried, so it is when the source comes back to it.
		source.says("b2")
		w.check(d)
		w.work()
		again := w.named("thunder-b2-2")
		want(w.T, "state", again.State, models.PlatformReady)
		want(w.T, "target", *w.reload(d).TargetID, again.ID)
	})
}

// The source moved on and back while the build was running: the target is what
// the source says, and stays.
func TestFleet_RunBuild_SourceWentBackMeanwhile_LeavesTheTarget(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		first := w.named("thunder-a1")
		source.says("b2")
		w.check(d)
		source.says("a1")
		w.check(d)
		w.work()
		late := w.named("thunder-b2")
		want(w.T, "late one", late.State, models.PlatformReady)
		want(w.T, "late one is locked", late.Locked, true)
		d = w.reload(d)
		want(w.T, "target", *d.TargetID, first.ID)
		want(w.T, "condition", d.Condition, models.ConditionCurrent)
		source.says("b2")
		w.check(d)
		want(w.T, "target", *w.reload(d).TargetID, late.ID)
	})
}

func TestFleet_RunCheck_NamesOfPlatforms_AreFree(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		other, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{
			Name: "Thunder b2", UpdateType: "scripted", Settings: models.Settings{"url": "https://example.org/other.git"},
		})
		ok(w.T, err)
		w.sources.at("https://example.org/other.git").says("2")
		w.work()
		want(w.T, "platform of the other", w.named("thunder-b2-2").DistributionID, other.ID)
		for range 2 { // b2, and then b2-2, which the other has
			source.says("b2")
			w.check(d)
			w.work()
			source.mu.Lock()
			source.version.Content += " anew"
			source.mu.Unlock()
			w.check(d)
			w.work()
		}
		want(w.T, "third", w.named("thunder-b2-3").DistributionID, d.ID)
		source.says("北京")
		w.check(d)
		w.work()
		list, err := w.PlatformsOf(w.ctx, d.ID)
		ok(w.T, err)
		want(w.T, "name without a label", list[0].Name, "thunder")
	})
}

func TestFleet_RegisterPlatform_ByHand(t *testing.T) {
	each(t, func(w *world) {
		d, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{Name: "Intranet", UpdateType: "byhand"})
		ok(w.T, err)
		if d.UpstreamID != nil {
			w.Errorf("it is checked at upstream %d", *d.UpstreamID)
		}
		w.nothingQueued()
		for _, path := range []string{"", "srv/x", "/srv/../etc", "/srv/x/", "/", "/srv/\x00", "/a\nb"} {
			_, err := w.fleet.RegisterPlatform(w.ctx, "ada", d.ID, path, "")
			wantFields(w.T, err, "path")
		}
		register := func(path string) models.Platform {
			p, err := w.fleet.RegisterPlatform(w.ctx, "ada", d.ID, path, "form "+path)
			ok(w.T, err)
			again, err := w.fleet.RegisterPlatform(w.ctx, "ada", d.ID, path, "form "+path)
			ok(w.T, err)
			want(w.T, "platform of the form posted twice", again.ID, p.ID)
			w.work()
			p, err = w.fleet.Platform(w.ctx, p.ID)
			ok(w.T, err)
			return p
		}
		first := register("/srv/intranet/one")
		want(w.T, "name", first.Name, "intranet-one")
		want(w.T, "state", first.State, models.PlatformReady)
		want(w.T, "revision", first.Revision, "byhand:/srv/intranet/one")
		want(w.T, "first is locked", first.Locked, false)
		if target := w.reload(d).TargetID; target != nil {
			w.Errorf("it became the target %d by itself", *target)
		}
		ok(w.T, w.fleet.SetTarget(w.ctx, "ada", first.ID))
		second := register("/srv/intranet/two")
		want(w.T, "second is locked", second.Locked, true)
		want(w.T, "target", *w.reload(d).TargetID, first.ID)
		ok(w.T, w.fleet.SetTarget(w.ctx, "ada", second.ID))
		ok(w.T, w.fleet.SetTarget(w.ctx, "ada", second.ID))
		want(w.T, "target", *w.reload(d).TargetID, second.ID)
		want(w.T, "first is locked", w.named("intranet-one").Locked, true)
		want(w.T, "second is locked", w.named("intranet-two").Locked, false)

		absent := register("/srv/absent")
		want(w.T, "absent one", absent.State, models.PlatformFailed)
		want(w.T, "condition", w.reload(d).Condition, models.ConditionFailing)
		register("/srv/third")
		want(w.T, "condition", w.reload(d).Condition, models.ConditionCurrent)
		wantCode(w.T, w.fleet.SetTarget(w.ctx, "ada", absent.ID), models.Conflict, "ready")

		scripted := w.distribution("Thunder")
		_, err = w.fleet.RegisterPlatform(w.ctx, "ada", scripted.ID, "/srv/x", "")
		wantCode(w.T, err, models.Invalid, "Check now")
	})
}

// between lets something happen after the platforms were read.
type between struct {
	fleet.Store

	then func()
}

func (b between) PlatformsOf(ctx context.Context, id int64) ([]models.Platform, error) {
	list, err := b.Store.PlatformsOf(ctx, id)
	b.then()
	return list, err
}

// A build that ends while a check decides is not forgotten by it.
func TestFleet_RunCheck_BuildEndsMeanwhile_ItsEndStays(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.says("b2")
		source.builder(func(context.Context, string) error { return models.Errorf(models.Invalid, "Composer says no.") })
		w.check(d)
		build := w.pending(models.TaskBuild)
		check, err := w.fleet.CheckNow(w.ctx, "ada", d.ID)
		ok(w.T, err)
		reads := 0
		then := func() {
			if reads++; reads == 2 { // the first asks about running versions
				w.run(build.ID)
			}
		}
		taken, err := w.TakeTask(w.ctx, check.ID)
		ok(w.T, err)
		late := w.replica(between{w.Store, then})
		_, _, err = late.RunCheck(w.ctx, taken, &log{})
		ok(w.T, err)
		d = w.reload(d)
		want(w.T, "condition", d.Condition, models.ConditionFailing)
		want(w.T, "code", d.ReasonCode, models.ReasonBuild)
		want(w.T, "reason", d.Reason, "Composer says no.")
	})
}
