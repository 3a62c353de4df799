package fleet_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"hefring/internal/fleet"
	"hefring/models"
)

func TestFleet_DeleteDistribution_SitesLiveThere_SaysWhichAndWhatToDo(t *testing.T) {
	each(t, func(w *world) {
		old, target, sites := w.behind(museum)
		err := w.fleet.DeleteDistribution(w.ctx, "ada", old.DistributionID)
		wantCode(w.T, err, models.Conflict, museum, old.Name, "clone them", "only by hand")
		w.task(w.fleet.UpgradeToTarget(w.ctx, "ada", sites[0].ID))
		wantCode(w.T, w.fleet.DeleteDistribution(w.ctx, "ada", old.DistributionID), models.Conflict, museum, target.Name)
		want(w.T, "nothing happened", w.named(target.Name).State, models.PlatformReady)
		w.nothingQueued()
		w.task(w.fleet.DeleteSite(w.ctx, "ada", sites[0].ID, museum, false))
		ok(w.T, w.fleet.DeleteDistribution(w.ctx, "ada", old.DistributionID))
	})
}

func TestFleet_DeleteDistribution_TakesEverythingAlong(t *testing.T) {
	each(t, func(w *world) {
		d, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{
			Name: "Thunder", UpdateType: "scripted", KeepPlatforms: 3, RebuildDays: 9,
			Settings: models.Settings{"url": address, "auth": "1", "password": "open sesame"},
		})
		ok(w.T, err)
		w.work()
		other := w.distribution("Other") // of the same source, with its own platforms
		w.work()
		w.moves(d, "b2")
		hook, _, err := w.fleet.CreateWebhook(w.ctx, "ada", d.ID, fleet.NewWebhook{Provider: models.ProviderGitHub})
		ok(w.T, err)
		about, _, err := w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Name: "Team", Kind: models.ChannelEmail, Target: "ada@example.org", Causes: models.Causes(), DistributionID: &d.ID}, "")
		ok(w.T, err)
		all, _, err := w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Name: "All", Kind: models.ChannelEmail, Target: "ada@example.org", Causes: models.Causes()}, "")
		ok(w.T, err)
		_, err = w.fleet.CheckNow(w.ctx, "ada", d.ID) // waits, also for the other one
		ok(w.T, err)
		list, err := w.PlatformsOf(w.ctx, d.ID)
		ok(w.T, err)
		var roots []string
		for _, p := range list {
			roots = append(roots, p.Root)
		}

		ok(w.T, w.fleet.DeleteDistribution(w.ctx, "ada", d.ID))
		w.recorded("delete")
		w.work()
		missing, err := w.platforms.Missing(roots)
		ok(w.T, err)
		if len(roots) != 2 || !slices.Equal(missing, roots) {
			w.Errorf("of %v only %v are gone", roots, missing)
		}
		_, err = w.fleet.Distribution(w.ctx, d.ID)
		wantCode(w.T, err, models.NotFound, "Thunder was deleted on")
		_, err = w.fleet.DistributionNamed(w.ctx, "thunder")
		wantCode(w.T, err, models.NotFound)
		_, err = w.Webhook(w.ctx, hook.ID)
		wantCode(w.T, err, models.NotFound)
		_, err = w.Channel(w.ctx, about.ID)
		wantCode(w.T, err, models.NotFound)
		_, err = w.Channel(w.ctx, all.ID)
		ok(w.T, err)
		rows, total, err := w.Distributions(w.ctx, fleet.Filter{Limit: 10})
		ok(w.T, err)
		if total != 1 || len(rows) != 1 || rows[0].ID != other.ID {
			w.Errorf("%d distributions are left, and of them %v", total, rows)
		}
		want(w.T, "the other one is", w.reload(other).Condition, models.ConditionCurrent)
		ok(w.T, w.fleet.EnsureUpstreams(w.ctx))
		ok(w.T, w.fleet.DispatchRebuilds(w.ctx))
		ok(w.T, w.fleet.Tidy(w.ctx))
		w.nothingQueued()
		wantCode(w.T, w.fleet.DeleteDistribution(w.ctx, "ada", d.ID), models.NotFound)

		again := w.distribution("Thunder")
		want(w.T, "its names are free", again.Slug, "thunder")
		w.work()
		want(w.T, "and build", w.reload(again).Condition, models.ConditionCurrent)
	})
}

func TestFleet_DeleteDistribution_DuringACheck_TheCheckGoesOn(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		other := w.distribution("Other")
		w.work()
		source.says("b2")
		source.during = func() {
			source.during = nil
			ok(w.T, w.fleet.DeleteDistribution(w.ctx, "ada", d.ID))
		}
		if look := w.check(other); look.State != models.TaskSucceeded {
			w.Errorf("the check is %s: %s", look.State, look.Message)
		}
		w.work()
		want(w.T, "the other one built it", w.named("other-b2").State, models.PlatformReady)
		left, err := w.PlatformsOf(w.ctx, d.ID)
		ok(w.T, err)
		want(w.T, "platforms of the deleted one", len(left), 0)
	})
}

func TestFleet_DeleteDistribution_OwnCheckIsCancelled_BuildIsInTheWay(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.says("b2")
		w.check(d) // the build is queued
		err := w.fleet.DeleteDistribution(w.ctx, "ada", d.ID)
		wantCode(w.T, err, models.Conflict, "Build thunder-b2", "cancel it")
		ok(w.T, w.fleet.CancelTask(w.ctx, "ada", w.pending(models.TaskBuild).ID))

		look, err := w.fleet.CheckNow(w.ctx, "ada", d.ID)
		ok(w.T, err)
		ok(w.T, w.fleet.DeleteDistribution(w.ctx, "ada", d.ID))
		cancelled, err := w.Task(w.ctx, look.ID)
		ok(w.T, err)
		want(w.T, "the check", cancelled.State, models.TaskCancelled)
		w.work()
	})
}

// A deletion of a platform that failed is taken up by that of its distribution.
func TestFleet_DeleteDistribution_PlatformHalfDeleted_IsDeleted(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.builder(func(context.Context, string) error { return errors.New("no") })
		bad := w.moves(d, "b2")
		want(w.T, "state", bad.State, models.PlatformFailed)
		ok(w.T, w.MovePlatform(w.ctx, "ada", bad, models.PlatformDeleting, "")) // and then its task was cancelled
		_, err := w.fleet.VerifyPlatform(w.ctx, "ada", w.named("thunder-a1").ID)
		ok(w.T, err)
		wantCode(w.T, w.fleet.DeleteDistribution(w.ctx, "ada", d.ID), models.Conflict, "thunder-a1")
		w.work()
		ok(w.T, w.fleet.DeleteDistribution(w.ctx, "ada", d.ID))
		w.work()
		left, err := w.PlatformsOf(w.ctx, d.ID)
		ok(w.T, err)
		want(w.T, "platforms left", len(left), 0)
	})
}
