package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// batch leaves the upgrade of a platform with these sites queued.
func (w *world) batch(uris ...string) (target models.Platform, sites []models.Site, parent models.Task) {
	w.Helper()
	old, target, sites := w.behind(uris...)
	parent, err := w.fleet.UpgradePlatform(w.ctx, "ada", old.ID, target.ID)
	ok(w.T, err)
	return target, sites, parent
}

func (w *world) children(parent models.Task) []models.Task {
	w.Helper()
	list, err := w.fleet.Children(w.ctx, parent.ID)
	ok(w.T, err)
	return list
}

func (w *world) workChildren(parent models.Task) {
	w.Helper()
	for _, child := range w.children(parent) {
		if child.State == models.TaskQueued {
			w.run(child.ID)
		}
	}
}

func TestFleet_PlatformPlan_CountsWhatDrushSaid(t *testing.T) {
	each(t, func(w *world) {
		w.hosting.compare = func(_ context.Context, s models.Site) (models.Comparison, error) {
			c := models.Comparison{SiteID: s.ID, FromPlatformID: s.PlatformID, PlatformID: w.named("thunder-b2").ID}
			switch s.URI {
			case "a.example.org":
				c.Updates = []models.PendingUpdate{{Name: "node_update_1"}}
			case "b.example.org":
				c.Blockers = []string{"A module is missing."}
			case "c.example.org":
				return c, errors.New("no answer")
			}
			return c, nil
		}
		old, target, sites := w.behind("a.example.org", "b.example.org", "c.example.org", "d.example.org", "held.example.org")
		ok(w.T, w.fleet.HoldSite(w.ctx, "ada", sites[4].ID, "exhibition", nil))
		plan, err := w.fleet.PlatformPlan(w.ctx, old.ID)
		ok(w.T, err)
		want(w.T, "sites", len(plan.Sites), 4)
		want(w.T, "compared", plan.Compared, 3+1) // the held one was compared before it was held
		want(w.T, "with updates", plan.Updates, 1)
		want(w.T, "blocked", plan.Blocked, 1)
		want(w.T, "running", plan.RunningTask, 0)
		parent, err := w.fleet.UpgradePlatform(w.ctx, "ada", old.ID, target.ID)
		ok(w.T, err)
		plan, err = w.fleet.PlatformPlan(w.ctx, old.ID)
		ok(w.T, err)
		want(w.T, "running", plan.RunningTask, parent.ID)
		_, err = w.fleet.PlatformPlan(w.ctx, target.ID)
		wantCode(w.T, err, models.Conflict, "not behind")
	})
}

func TestFleet_UpgradePlatform_Refusals(t *testing.T) {
	each(t, func(w *world) {
		old, target, _ := w.behind(museum)
		_, err := w.fleet.UpgradePlatform(w.ctx, "ada", target.ID, target.ID)
		wantCode(w.T, err, models.Conflict, "not behind")
		_, err = w.fleet.UpgradePlatform(w.ctx, "ada", old.ID, old.ID)
		wantCode(w.T, err, models.Conflict, "by now")
		first, err := w.fleet.UpgradePlatform(w.ctx, "ada", old.ID, target.ID)
		ok(w.T, err)
		second, err := w.fleet.UpgradePlatform(w.ctx, "bob", old.ID, target.ID)
		wantCode(w.T, err, models.Conflict)
		want(w.T, "task", second.ID, first.ID)
	})
}

func TestFleet_RunUpgradePlatform_MovesEverySite(t *testing.T) {
	each(t, func(w *world) {
		target, sites, parent := w.batch("a.example.org", "b.example.org", "c.example.org")
		var waits fleet.Waiting
		spread := w.run(parent.ID)
		if !errors.As(spread.err, &waits) || waits.For <= 0 || waits.For > 10*time.Second {
			w.Errorf("it does not wait: %v", spread.err)
		}
		children := w.children(parent)
		want(w.T, "children", len(children), 3)
		for _, child := range children {
			want(w.T, "parent", *child.ParentID, parent.ID)
			want(w.T, "actor", child.Actor, "ada")
		}
		w.run(children[0].ID)
		want(w.T, "parent while children run", w.run(parent.ID).State, models.TaskRunning)
		w.workChildren(parent)
		ended := w.run(parent.ID)
		want(w.T, "parent", ended.State, models.TaskSucceeded)
		want(w.T, "message", ended.Message, "3 of 3 sites upgraded")
		for _, s := range sites {
			want(w.T, s.URI, w.at(s.ID).PlatformID, target.ID)
		}
	})
}

// A worker that died while it made the children: those that are there get no twin.
func TestFleet_RunUpgradePlatform_TakenUp_MakesEachChildOnce(t *testing.T) {
	each(t, func(w *world) {
		_, _, parent := w.batch("a.example.org", "b.example.org", "c.example.org")
		taken, err := w.TakeTask(w.ctx, parent.ID)
		ok(w.T, err)
		ctx, kill := context.WithCancelCause(w.ctx)
		_, _, err = w.fleet.RunUpgradePlatform(ctx, taken, &killer{after: "a.example.org is queued", kill: func() { kill(fleet.ErrLost) }})
		if err == nil {
			w.Error("it was not killed")
		}
		want(w.T, "children when it died", len(w.children(parent)), 1)
		w.workChildren(parent) // the first is over by the time the task is taken up
		w.run(parent.ID)
		want(w.T, "children", len(w.children(parent)), 3)
		w.run(parent.ID)
		want(w.T, "children", len(w.children(parent)), 3)
		w.workChildren(parent)
		want(w.T, "message", w.run(parent.ID).Message, "3 of 3 sites upgraded")
	})
}

// killer is a log that ends its worker when it hears something.
type killer struct {
	log
	after string
	kill  func()
}

func (k *killer) Printf(level models.Level, format string, args ...any) {
	if fmt.Sprintf(format, args...) == k.after {
		k.kill()
	}
}

func TestFleet_RunUpgradePlatform_SkipsHeldAndBusySites(t *testing.T) {
	each(t, func(w *world) {
		target, sites, parent := w.batch("held.example.org", "busy.example.org", "off.example.org", "good.example.org")
		ok(w.T, w.fleet.HoldSite(w.ctx, "ada", sites[0].ID, "exhibition", nil))
		busy, err := w.fleet.UpgradeSite(w.ctx, "bob", sites[1].ID, target.ID)
		ok(w.T, err)
		ok(w.T, w.MoveSite(w.ctx, "ada", sites[2], models.SiteDisabled, ""))
		spread := w.run(parent.ID)
		for _, line := range []string{
			"held.example.org is held: exhibition", fmt.Sprintf("busy.example.org is being worked on already: task %d", busy.ID),
			"off.example.org is disabled and stays", "good.example.org is queued",
		} {
			if !contains(spread.log, line) {
				w.Errorf("%q is not in the log:\n%s", line, spread.log)
			}
		}
		want(w.T, "children", len(w.children(parent)), 1)
		w.workChildren(parent)
		ended := w.run(parent.ID)
		want(w.T, "message", ended.Message, "1 of 1 sites upgraded")
		want(w.T, "held one", w.at(sites[0].ID).PlatformID, sites[0].PlatformID)
		want(w.T, "busy one's task", w.taskOf(busy.ID).State, models.TaskQueued)
	})
}

func TestFleet_RunUpgradePlatform_Summary(t *testing.T) {
	each(t, func(w *world) {
		_, sites, parent := w.batch("a.example.org", "b.example.org", "c.example.org", "d.example.org")
		w.hosting.upgrade = func(ctx context.Context, m upgrade.Move, j upgrade.Journal) upgrade.Outcome {
			switch m.Site.ID {
			case sites[1].ID:
				return fail(models.UpgradeRecovered, models.StepUpdate, "No.")(ctx, m, j)
			case sites[2].ID:
				return fail(models.UpgradeFatal, models.StepReopen, "No.")(ctx, m, j)
			}
			return succeed(ctx, m, j)
		}
		w.run(parent.ID)
		ok(w.T, w.fleet.CancelTask(w.ctx, "ada", w.children(parent)[3].ID))
		w.workChildren(parent)
		ended := w.run(parent.ID)
		want(w.T, "parent", ended.State, models.TaskWarning)
		want(w.T, "message", ended.Message, "1 of 4 sites upgraded, 1 recovered, 1 failed, 1 cancelled")
	})
}

func TestFleet_RunUpgradePlatform_TargetMovedOn_DoesNothing(t *testing.T) {
	each(t, func(w *world) {
		target, _, parent := w.batch(museum)
		d, err := w.Distribution(w.ctx, target.DistributionID)
		ok(w.T, err)
		w.sources.at(address).says("c3")
		w.check(d)
		w.run(w.pending(models.TaskBuild).ID)
		ended := w.run(parent.ID)
		want(w.T, "parent", ended.State, models.TaskFailed)
		wantCode(w.T, ended.err, models.Conflict, "Press Upgrade again")
		want(w.T, "children", len(w.children(parent)), 0)
	})
}

func TestFleet_CancelTask_Parent_CancelsChildren(t *testing.T) {
	each(t, func(w *world) {
		_, sites, parent := w.batch("a.example.org", "b.example.org", "c.example.org")
		w.run(parent.ID)
		children := w.children(parent)
		w.run(children[0].ID)
		running, err := w.TakeTask(w.ctx, children[1].ID)
		ok(w.T, err)
		ok(w.T, w.fleet.CancelTask(w.ctx, "bob", parent.ID))
		want(w.T, "one that is over", w.taskOf(children[0].ID).State, models.TaskSucceeded)
		want(w.T, "running one", w.taskOf(running.ID).State, models.TaskRunning)
		want(w.T, "running one is asked to stop", w.taskOf(running.ID).Cancel, true)
		want(w.T, "queued one", w.taskOf(children[2].ID).State, models.TaskCancelled)
		want(w.T, "its upgrade", w.upgradeOf(children[2]).State, models.UpgradeCancelled)
		want(w.T, "its site", w.at(sites[2].ID).State, models.SiteEnabled)
		want(w.T, "parent is asked to stop", w.taskOf(parent.ID).Cancel, true)
		ctx, cancel := context.WithCancelCause(w.ctx)
		cancel(fleet.ErrCancelled)
		want(w.T, "parent", w.runIn(ctx, parent.ID).State, models.TaskCancelled)
	})
}

// Children that were made while somebody cancelled the parent do not go on.
func TestFleet_RunUpgradePlatform_CancelledWhileItSpreads(t *testing.T) {
	each(t, func(w *world) {
		_, sites, parent := w.batch("a.example.org", "b.example.org", "c.example.org")
		taken, err := w.TakeTask(w.ctx, parent.ID)
		ok(w.T, err)
		ctx, cancel := context.WithCancelCause(w.ctx)
		_, state, err := w.fleet.RunUpgradePlatform(ctx, taken, &killer{after: "b.example.org is queued", kill: func() { cancel(fleet.ErrCancelled) }})
		if state != models.TaskCancelled || err != nil {
			w.Errorf("it ended as %q: %v", state, err)
		}
		for _, child := range w.children(parent) {
			want(w.T, child.Title, child.State, models.TaskCancelled)
		}
		want(w.T, "site", w.at(sites[0].ID).State, models.SiteEnabled)
		w.nothingQueued()
	})
}

func TestFleet_RunCompare_AsksOnceAboutEachSite(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		first := w.named("thunder-a1")
		a, b := w.site("a.example.org", first.ID), w.site("b.example.org", first.ID)
		held := w.site("held.example.org", first.ID)
		ok(w.T, w.fleet.HoldSite(w.ctx, "ada", held.ID, "exhibition", nil))
		source.says("b2")
		w.check(d)
		w.run(w.pending(models.TaskBuild).ID)
		compare := w.pending(models.TaskCompare)
		want(w.T, "subject", compare.Subject, models.Subject{Kind: models.SubjectTarget, ID: d.ID})
		running, err := w.fleet.CompareNow(w.ctx, "ada", a.ID)
		wantCode(w.T, err, models.Conflict)
		want(w.T, "task", running.ID, compare.ID)
		ended := w.run(compare.ID)
		want(w.T, "message", ended.Message, "2 sites compared with thunder-b2")
		want(w.T, "sites asked", len(w.hosting.compares), 2)
		known, err := w.Comparison(w.ctx, b.ID)
		ok(w.T, err)
		want(w.T, "made at", known.MadeAt.Equal(w.clock.time()), true)

		// Only what is not known is asked again, unless a person wants it.
		w.site("late.example.org", w.named("thunder-b2").ID)
		_, err = w.fleet.CompareNow(w.ctx, "ada", a.ID)
		ok(w.T, err)
		want(w.T, "message", w.run(w.pending(models.TaskCompare).ID).Message, "1 sites compared with thunder-b2")
		want(w.T, "site asked again", w.hosting.compares[2], "a.example.org")

		w.hosting.compare = func(context.Context, models.Site) (models.Comparison, error) {
			return models.Comparison{}, models.Errorf(models.Unavailable, "Drush does not answer.")
		}
		_, err = w.fleet.CompareNow(w.ctx, "ada", b.ID)
		ok(w.T, err)
		failed := w.run(w.pending(models.TaskCompare).ID)
		want(w.T, "state", failed.State, models.TaskWarning)
		want(w.T, "message", failed.Message, "0 sites compared with thunder-b2, 1 could not be asked")

		_, err = w.fleet.CompareNow(w.ctx, "ada", w.site("new.example.org", w.named("thunder-b2").ID).ID)
		wantCode(w.T, err, models.Conflict, "already")
	})
}

// Nobody asks Drush when no site is behind.
func TestFleet_RunBuild_NoSitesBehind_ComparesNothing(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.says("b2")
		w.check(d)
		w.run(w.pending(models.TaskBuild).ID)
		w.nothingQueued()
	})
}
