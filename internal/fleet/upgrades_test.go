package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/sites/upgrade"
	"hefring/models"
)

const museum = "museum.example.org"

// pressed is one site with its upgrade queued.
func (w *world) pressed() (models.Site, models.Task) {
	w.Helper()
	_, target, sites := w.behind(museum)
	t, err := w.fleet.UpgradeSite(w.ctx, "ada", sites[0].ID, target.ID)
	ok(w.T, err)
	return sites[0], t
}

func (w *world) upgradeOf(t models.Task) models.Upgrade {
	w.Helper()
	u, err := w.fleet.UpgradeOfTask(w.ctx, t.ID)
	ok(w.T, err)
	return u
}

func TestFleet_UpgradePlan_SaysWhatChanges(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		s := w.site(museum, w.named("thunder-a1").ID)
		_, err := w.fleet.UpgradePlan(w.ctx, s.ID)
		wantCode(w.T, err, models.Conflict, "nothing to upgrade")
		source.tree = drupal("10.6.2")
		source.says("b2")
		w.check(d)
		w.run(w.pending(models.TaskBuild).ID)
		plan, err := w.fleet.UpgradePlan(w.ctx, s.ID)
		ok(w.T, err)
		want(w.T, "from", plan.From.Name, "thunder-a1")
		want(w.T, "to", plan.To.Name, "thunder-b2")
		if plan.Comparison != nil || plan.RunningTask != 0 || len(plan.Changes) == 0 || plan.Changes[0].To != "10.6.2" {
			w.Errorf("plan %+v", plan)
		}
		w.work() // the comparison that the promotion asked for
		plan, err = w.fleet.UpgradePlan(w.ctx, s.ID)
		ok(w.T, err)
		if plan.Comparison == nil || len(plan.Comparison.Updates) != 1 {
			w.Errorf("comparison %+v", plan.Comparison)
		}
		pressed, err := w.fleet.UpgradeSite(w.ctx, "ada", s.ID, plan.To.ID)
		ok(w.T, err)
		plan, err = w.fleet.UpgradePlan(w.ctx, s.ID)
		ok(w.T, err)
		want(w.T, "running task", plan.RunningTask, pressed.ID)
		_, err = w.fleet.UpgradePlan(w.ctx, 999)
		wantCode(w.T, err, models.NotFound)
	})
}

func TestFleet_UpgradeSite_Refusals(t *testing.T) {
	each(t, func(w *world) {
		old, target, sites := w.behind(museum)
		_, err := w.fleet.UpgradeSite(w.ctx, "ada", sites[0].ID, old.ID)
		wantCode(w.T, err, models.Conflict, "thunder-b2", "by now")
		ok(w.T, w.fleet.HoldSite(w.ctx, "ada", sites[0].ID, "exhibition", nil))
		_, err = w.fleet.UpgradeSite(w.ctx, "ada", sites[0].ID, target.ID)
		wantCode(w.T, err, models.Conflict, "exhibition")
		ok(w.T, w.fleet.ReleaseSite(w.ctx, "ada", sites[0].ID))
		ok(w.T, w.MoveSite(w.ctx, "ada", w.at(sites[0].ID), models.SiteDisabled, ""))
		_, err = w.fleet.UpgradeSite(w.ctx, "ada", sites[0].ID, target.ID)
		wantCode(w.T, err, models.Conflict, "disabled")
		on := w.site("new.example.org", target.ID)
		_, err = w.fleet.UpgradeSite(w.ctx, "ada", on.ID, target.ID)
		wantCode(w.T, err, models.Conflict, "already")

		hand, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{Name: "By hand", UpdateType: "byhand"})
		ok(w.T, err)
		p, err := w.fleet.RegisterPlatform(w.ctx, "ada", hand.ID, "/srv/x", "")
		ok(w.T, err)
		w.work()
		lonely := w.site("lonely.example.org", p.ID)
		_, err = w.fleet.UpgradeSite(w.ctx, "ada", lonely.ID, p.ID)
		wantCode(w.T, err, models.Conflict, "no upgrade target")
		w.nothingQueued()
	})
}

func TestFleet_UpgradeSite_PressedTwiceAtOnce_MakesOneTask(t *testing.T) {
	each(t, func(w *world) {
		_, target, sites := w.behind(museum)
		type result struct {
			task models.Task
			err  error
		}
		results := make(chan result, 6)
		var people sync.WaitGroup
		for range cap(results) {
			people.Go(func() {
				t, err := w.fleet.UpgradeSite(w.ctx, "ada", sites[0].ID, target.ID)
				results <- result{t, err}
			})
		}
		people.Wait()
		close(results)
		running, made := w.pending(models.TaskUpgrade), 0
		for r := range results {
			if r.err == nil {
				made++
			} else {
				wantCode(w.T, r.err, models.Conflict)
			}
			want(w.T, "task", r.task.ID, running.ID)
		}
		want(w.T, "tasks made", made, 1)
	})
}

func TestFleet_RunUpgrade_Succeeds(t *testing.T) {
	each(t, func(w *world) {
		s, task := w.pressed()
		old := s.Database
		w.hosting.upgrade = func(ctx context.Context, m upgrade.Move, j upgrade.Journal) upgrade.Outcome {
			want(w.T, "site during the upgrade", w.at(s.ID).State, models.SiteUpgrading)
			want(w.T, "upgrade during the upgrade", w.upgradeOf(task).State, models.UpgradeRunning)
			want(w.T, "steps", len(m.Steps), len(models.StepsOf(models.KindUpgrade, models.ModeUnknown)))
			return succeed(ctx, m, j)
		}
		finished := w.run(task.ID)
		want(w.T, "task", finished.State, models.TaskSucceeded)
		want(w.T, "message", finished.Message, museum+" serves 10.5.8 · b2. Writes were paused for 1.5 s.")
		target := w.named("thunder-b2")
		s = w.at(s.ID)
		u := w.upgradeOf(task)
		want(w.T, "site", s.State, models.SiteEnabled)
		want(w.T, "platform", s.PlatformID, target.ID)
		want(w.T, "database", s.Database, u.NewDatabase)
		want(w.T, "upgrade", u.State, models.UpgradeSucceeded)
		want(w.T, "old database", u.OldDatabase, old)
		want(w.T, "mode", u.Mode, models.ModeDatabase)
		if u.StartedAt == nil || u.EndedAt == nil {
			w.Errorf("upgrade %+v", u)
		}
		steps, err := w.fleet.UpgradeSteps(w.ctx, u.ID)
		ok(w.T, err)
		for _, step := range steps {
			want(w.T, string(step.Name), step.State, models.StepDone)
		}
	})
}

func TestFleet_RunUpgrade_SucceedsWithRest_Warns(t *testing.T) {
	each(t, func(w *world) {
		_, task := w.pressed()
		w.hosting.upgrade = func(ctx context.Context, m upgrade.Move, j upgrade.Journal) upgrade.Outcome {
			o := succeed(ctx, m, j)
			o.Err = errors.New("a file stays")
			return o
		}
		finished := w.run(task.ID)
		want(w.T, "task", finished.State, models.TaskWarning)
		want(w.T, "upgrade", w.upgradeOf(task).State, models.UpgradeSucceeded)
	})
}

func TestFleet_RunUpgrade_OtherOutcomes(t *testing.T) {
	for state, c := range map[models.UpgradeState]struct {
		task  models.TaskState
		site  models.SiteState
		moved bool
		words string
	}{
		models.UpgradeRecovered: {models.TaskRecovered, models.SiteEnabled, false, "Step updatedb: Column not found. museum.example.org serves 10.5.8 · a1 as before."},
		models.UpgradeCancelled: {models.TaskCancelled, models.SiteEnabled, false, "Cancelled."},
		models.UpgradeFatal:     {models.TaskFailed, models.SiteBroken, true, "A person must look"},
	} {
		t.Run(string(state), func(t *testing.T) {
			each(t, func(w *world) {
				s, task := w.pressed()
				w.hosting.upgrade = fail(state, models.StepUpdate, "Column not found.")
				finished := w.run(task.ID)
				want(w.T, "task", finished.State, c.task)
				if !contains(finished.Message, c.words) {
					w.Errorf("message %q", finished.Message)
				}
				after := w.at(s.ID)
				want(w.T, "site", after.State, c.site)
				want(w.T, "moved", after.PlatformID != s.PlatformID, c.moved)
				want(w.T, "other database", after.Database != s.Database, c.moved)
				u := w.upgradeOf(task)
				want(w.T, "upgrade", u.State, state)
				want(w.T, "step", u.FailedStep, models.StepUpdate)
				want(w.T, "reason", u.Reason, "Column not found.")
				if state == models.UpgradeFatal {
					want(w.T, "site's reason", after.Reason, "Column not found.")
				}
			})
		})
	}
}

// What changed between the button and the task: the upgrade does not begin.
func TestFleet_RunUpgrade_NoLongerPossible_IsCancelled(t *testing.T) {
	for what, change := range map[string]func(w *world, s models.Site){
		"held":     func(w *world, s models.Site) { ok(w.T, w.fleet.HoldSite(w.ctx, "bob", s.ID, "exhibition", nil)) },
		"disabled": func(w *world, s models.Site) { ok(w.T, w.MoveSite(w.ctx, "bob", s, models.SiteDisabled, "")) },
		"moved": func(w *world, s models.Site) {
			ok(w.T, w.PlaceSite(w.ctx, s, w.named("thunder-b2").ID, s.Database))
		},
		"target deleted": func(w *world, _ models.Site) {
			ok(w.T, w.MovePlatform(w.ctx, "bob", w.named("thunder-b2"), models.PlatformDeleting, ""))
		},
	} {
		t.Run(what, func(t *testing.T) {
			each(t, func(w *world) {
				s, task := w.pressed()
				change(w, s)
				before := w.at(s.ID)
				w.hosting.upgrade = func(context.Context, upgrade.Move, upgrade.Journal) upgrade.Outcome {
					w.Error("it began")
					return upgrade.Outcome{}
				}
				ended := w.run(task.ID)
				want(w.T, "task", ended.State, models.TaskCancelled)
				want(w.T, "upgrade", w.upgradeOf(task).State, models.UpgradeCancelled)
				want(w.T, "site", w.at(s.ID).State, before.State)
			})
		})
	}
}

// The target moved on after the button was pressed: the site goes where the
// person saw that it would go.
func TestFleet_RunUpgrade_TargetMovedOn_GoesWhereItWasSent(t *testing.T) {
	each(t, func(w *world) {
		_, target, sites := w.behind(museum)
		task, err := w.fleet.UpgradeSite(w.ctx, "ada", sites[0].ID, target.ID)
		ok(w.T, err)
		w.sources.at(address).says("c3")
		d, err := w.Distribution(w.ctx, target.DistributionID)
		ok(w.T, err)
		w.check(d)
		w.run(w.pending(models.TaskBuild).ID)
		w.run(task.ID)
		want(w.T, "platform", w.at(sites[0].ID).PlatformID, target.ID)
		row, err := w.fleet.SiteRow(w.ctx, sites[0].ID)
		ok(w.T, err)
		want(w.T, "behind", row.Behind(), true)
	})
}

func TestFleet_CancelTask_QueuedUpgrade(t *testing.T) {
	each(t, func(w *world) {
		s, task := w.pressed()
		ok(w.T, w.fleet.CancelTask(w.ctx, "ada", task.ID))
		want(w.T, "task", w.taskOf(task.ID).State, models.TaskCancelled)
		want(w.T, "upgrade", w.upgradeOf(task).State, models.UpgradeCancelled)
		_, err := w.fleet.UpgradeSite(w.ctx, "ada", s.ID, w.named("thunder-b2").ID)
		ok(w.T, err)
	})
}

// Cancelled while no worker had it: the handler gets a context that has ended.
func TestFleet_RunUpgrade_CancelledBeforeItBegan(t *testing.T) {
	each(t, func(w *world) {
		s, task := w.pressed()
		ctx, cancel := context.WithCancelCause(w.ctx)
		cancel(fleet.ErrCancelled)
		w.hosting.upgrade = func(ctx context.Context, m upgrade.Move, j upgrade.Journal) upgrade.Outcome {
			if !errors.Is(context.Cause(ctx), fleet.ErrCancelled) {
				w.Error("the server does not learn of it")
			}
			return fail(models.UpgradeCancelled, models.StepPreflight, "cancelled")(ctx, m, j)
		}
		want(w.T, "task", w.runIn(ctx, task.ID).State, models.TaskCancelled)
		want(w.T, "upgrade", w.upgradeOf(task).State, models.UpgradeCancelled)
		want(w.T, "site", w.at(s.ID).State, models.SiteEnabled)
	})
}

// A stop before the first step is no failure of the upgrade.
func TestFleet_RunUpgrade_StoppedBeforeItBegan_IsTakenUpAgain(t *testing.T) {
	each(t, func(w *world) {
		s, task := w.pressed()
		ctx, stop := context.WithCancelCause(w.ctx)
		stop(fleet.ErrStopping)
		want(w.T, "task", w.runIn(ctx, task.ID).State, models.TaskRunning)
		want(w.T, "site", w.at(s.ID).State, models.SiteEnabled)
		want(w.T, "task", w.run(task.ID).State, models.TaskSucceeded)
	})
}

// Killed before the outcome was recorded, the next worker gets the journal.
func TestFleet_RunUpgrade_KilledBeforeRecord_IsTakenUpAgain(t *testing.T) {
	each(t, func(w *world) {
		s, task := w.pressed()
		first, err := w.TakeTask(w.ctx, task.ID)
		ok(w.T, err)
		w.hosting.upgrade = func(ctx context.Context, m upgrade.Move, j upgrade.Journal) upgrade.Outcome {
			o := succeed(ctx, m, j)
			return upgrade.Outcome{Upgrade: o.Upgrade, Err: errors.New("and here it is killed")}
		}
		left := w.handle(w.ctx, first)
		want(w.T, "task", left.State, models.TaskRunning)
		want(w.T, "site", w.at(s.ID).State, models.SiteUpgrading)
		w.hosting.upgrade = func(_ context.Context, m upgrade.Move, _ upgrade.Journal) upgrade.Outcome {
			want(w.T, "switched", m.Upgrade.Switched, true)
			want(w.T, "last step", m.Steps[len(m.Steps)-1].State, models.StepDone)
			want(w.T, "site", m.Site.State, models.SiteUpgrading)
			return upgrade.Outcome{State: models.UpgradeSucceeded, Upgrade: m.Upgrade}
		}
		again := w.run(task.ID)
		want(w.T, "task", again.State, models.TaskSucceeded)
		want(w.T, "attempt", again.Attempt, 2)
		want(w.T, "site", w.at(s.ID).State, models.SiteEnabled)
		want(w.T, "platform", w.at(s.ID).PlatformID, w.named("thunder-b2").ID)
	})
}

// Killed between the record and the end of the task: nothing is done twice.
func TestFleet_RunUpgrade_KilledAfterRecord_OnlyEnds(t *testing.T) {
	for _, state := range []models.UpgradeState{models.UpgradeSucceeded, models.UpgradeRecovered, models.UpgradeFatal, models.UpgradeCancelled} {
		t.Run(string(state), func(t *testing.T) {
			each(t, func(w *world) {
				s, task := w.pressed()
				if state != models.UpgradeSucceeded {
					w.hosting.upgrade = fail(state, models.StepProbe, "No.")
				}
				first, err := w.TakeTask(w.ctx, task.ID)
				ok(w.T, err)
				message, wanted, _ := w.fleet.RunUpgrade(w.ctx, first, &log{})
				before := w.at(s.ID)
				w.hosting.upgrade = func(context.Context, upgrade.Move, upgrade.Journal) upgrade.Outcome {
					w.Error("it is done twice")
					return upgrade.Outcome{}
				}
				again := w.run(task.ID)
				if wanted == "" {
					wanted = models.TaskSucceeded
				}
				want(w.T, "task", again.State, wanted)
				want(w.T, "message", again.Message, message)
				want(w.T, "site", fmt.Sprintf("%+v", w.at(s.ID)), fmt.Sprintf("%+v", before))
			})
		})
	}
}

// A worker that lost its task writes neither the journal nor the outcome.
func TestFleet_RunUpgrade_LostLease_WritesNothing(t *testing.T) {
	each(t, func(w *world) {
		s, task := w.pressed()
		first, err := w.TakeTask(w.ctx, task.ID)
		ok(w.T, err)
		w.hosting.upgrade = func(ctx context.Context, m upgrade.Move, j upgrade.Journal) upgrade.Outcome {
			second, err := w.TakeTask(w.ctx, task.ID)
			ok(w.T, err)
			want(w.T, "attempt", second.Attempt, 2)
			u := m.Upgrade
			u.Switched, u.Reason = true, "written late"
			wantCode(w.T, j.Save(ctx, u), models.Conflict)
			step := m.Steps[0]
			step.State = models.StepFailed
			wantCode(w.T, j.SaveStep(ctx, step), models.Conflict)
			return upgrade.Outcome{State: models.UpgradeFatal, Upgrade: u, Err: errors.New("written late")}
		}
		w.handle(w.ctx, first)
		want(w.T, "site", w.at(s.ID).State, models.SiteUpgrading)
		u := w.upgradeOf(task)
		want(w.T, "upgrade", u.State, models.UpgradeRunning)
		want(w.T, "switched", u.Switched, false)
		want(w.T, "reason", u.Reason, "")
		steps, err := w.fleet.UpgradeSteps(w.ctx, u.ID)
		ok(w.T, err)
		want(w.T, "first step", steps[0].State, models.StepPending)
		want(w.T, "task", w.taskOf(task.ID).State, models.TaskRunning)
	})
}

// The database does not take the outcome: nothing of it is stored, and the next
// worker does it over.
func TestFleet_RunUpgrade_RecordFails_StoresNothing(t *testing.T) {
	each(t, func(w *world) {
		s, task := w.pressed()
		w.hosting.upgrade = func(ctx context.Context, m upgrade.Move, j upgrade.Journal) upgrade.Outcome {
			o := succeed(ctx, m, j)
			o.Upgrade.Reason = "kept out"
			m.Site.PlatformID = 0
			ok(w.T, w.PlaceSite(w.ctx, w.at(s.ID), m.To.ID, s.Database)) // so that PlaceSite conflicts
			return o
		}
		first, err := w.TakeTask(w.ctx, task.ID)
		ok(w.T, err)
		_, _, err = w.fleet.RunUpgrade(w.ctx, first, &log{})
		wantCode(w.T, err, models.Conflict)
		u := w.upgradeOf(task)
		want(w.T, "upgrade", u.State, models.UpgradeRunning)
		want(w.T, "reason", u.Reason, "")
		want(w.T, "site", w.at(s.ID).State, models.SiteUpgrading)
	})
}

func TestFleet_Tidy_ForgetsOldOnesAfterAWeek(t *testing.T) {
	each(t, func(w *world) {
		s, task := w.pressed()
		w.run(task.ID)
		ok(w.T, w.fleet.Tidy(w.ctx))
		w.clock.pass(6 * 24 * time.Hour)
		ok(w.T, w.fleet.Tidy(w.ctx))
		want(w.T, "forgotten within a week", len(w.hosting.forgotten), 0)
		w.clock.pass(25 * time.Hour)
		w.hosting.forget = func(models.Site) error { return errors.New("the disk does not answer") }
		if err := w.fleet.Tidy(w.ctx); err == nil {
			w.Error("a failure is not told")
		}
		w.hosting.forget = nil
		for range 2 {
			ok(w.T, w.fleet.Tidy(w.ctx))
		}
		want(w.T, "forgotten", len(w.hosting.forgotten), 1)
		want(w.T, "it", w.hosting.forgotten[0], museum+` from thunder-a1 with "/db/`+museum+`"`)
		if u := w.upgradeOf(task); u.DroppedOldAt == nil {
			w.Error("it is not noted down")
		}
		want(w.T, "site", w.at(s.ID).State, models.SiteEnabled)
	})
}

// A database that a code-only upgrade shared, and that the next upgrade left
// behind, is kept for a week from then.
func TestFleet_Tidy_KeepsWhatIsUsed(t *testing.T) {
	each(t, func(w *world) {
		old, target, sites := w.behind(museum, "busy.example.org")
		d, err := w.Distribution(w.ctx, target.DistributionID)
		ok(w.T, err)
		w.hosting.upgrade = inCodeMode
		for _, s := range sites {
			_, err := w.fleet.UpgradeSite(w.ctx, "ada", s.ID, target.ID)
			ok(w.T, err)
		}
		w.work()
		w.clock.pass(5 * 24 * time.Hour)
		third := w.moves(d, "c3")
		w.hosting.upgrade = nil
		last, err := w.fleet.UpgradeSite(w.ctx, "ada", sites[0].ID, third.ID)
		ok(w.T, err)
		w.run(last.ID)
		u, now := w.upgradeOf(last), w.clock.time()
		u.EndedAt = &now
		ok(w.T, w.SaveUpgrade(w.ctx, u)) // the store's own clock did not move
		w.clock.pass(3 * 24 * time.Hour)
		busy, err := w.fleet.UpgradeSite(w.ctx, "ada", sites[1].ID, third.ID) // is worked on
		ok(w.T, err)
		broken := errors.New("this one cannot be removed")
		ok(w.T, w.fleet.Tidy(w.ctx))
		want(w.T, "forgotten", len(w.hosting.forgotten), 1)
		want(w.T, "it", w.hosting.forgotten[0], museum+" from "+old.Name+` with ""`)
		ok(w.T, w.fleet.CancelTask(w.ctx, "ada", busy.ID))
		w.clock.pass(5 * 24 * time.Hour)
		w.hosting.forget = func(s models.Site) error {
			if s.URI == museum {
				return nil
			}
			return broken
		}
		if err := w.fleet.Tidy(w.ctx); !errors.Is(err, broken) { // and the other one goes all the same
			w.Errorf("tidying gave %v", err)
		}
		want(w.T, "forgotten", len(w.hosting.forgotten), 2)
		want(w.T, "it", w.hosting.forgotten[1], museum+` from thunder-b2 with "/db/`+museum+`"`)
	})
}

func TestFleet_Tidy_KeepsBuildsThatRun(t *testing.T) {
	each(t, func(w *world) {
		w.thunder()
		ready := w.named("thunder-a1")
		d, err := w.Distribution(w.ctx, ready.DistributionID)
		ok(w.T, err)
		source := w.sources.at(address)
		source.builder(func(_ context.Context, dst string) error {
			ok(w.T, w.fleet.Tidy(w.ctx))
			return write(dst, drupal("10.6.2"))
		})
		second := w.moves(d, "b2")
		want(w.T, "state", second.State, models.PlatformReady)
		dead, err := w.platforms.Stage(w.ctx, 4711, 1) // of a build that no row speaks of
		ok(w.T, err)
		ok(w.T, write(dead, drupal("9.9.9")))
		ok(w.T, w.fleet.Tidy(w.ctx))
		w.nothingLeft(ready, second)
	})
}
