package fleet_test

import (
	"context"
	"errors"
	"testing"

	"hefring/internal/fleet"
	"hefring/models"
)

func TestFleet_CreateSite_WrongValues(t *testing.T) {
	each(t, func(w *world) {
		old, target, _ := w.behind()
		_, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{
			Name: "Waiting", UpdateType: "scripted", Settings: models.Settings{"url": address},
		})
		ok(w.T, err)
		w.run(w.pending(models.TaskCheck).ID)
		unbuilt := w.named("waiting-b2")
		good := fleet.NewSite{URI: "museum.example.org", Profile: "standard", PlatformID: target.ID}
		for _, c := range []struct {
			change func(*fleet.NewSite)
			fields []string
		}{
			{func(s *fleet.NewSite) { s.URI = "" }, []string{"uri"}},
			{func(s *fleet.NewSite) { s.URI = "../../etc" }, []string{"uri"}},
			{func(s *fleet.NewSite) { s.URI = "default" }, []string{"uri"}},
			{func(s *fleet.NewSite) { s.Profile = "harbour" }, []string{"profile"}},
			{func(s *fleet.NewSite) { s.Profile = "../standard" }, []string{"profile"}},
			{func(s *fleet.NewSite) { s.Title = "a\nb" }, []string{"title"}},
			{func(s *fleet.NewSite) { s.PlatformID = 0 }, []string{"platform"}},
			{func(s *fleet.NewSite) { s.PlatformID = old.ID }, []string{"platform"}},
			{func(s *fleet.NewSite) { s.PlatformID, s.URI, s.Profile = unbuilt.ID, "-", "" }, []string{"platform", "profile", "uri"}},
		} {
			in := good
			c.change(&in)
			_, err := w.fleet.CreateSite(w.ctx, "ada", in)
			wantFields(w.T, err, c.fields...)
		}
		if _, n, err := w.Sites(w.ctx, fleet.Filter{}); err != nil || n > 0 {
			w.Errorf("%d sites were stored (%v)", n, err)
		}
	})
}

func TestFleet_CreateSite_InstallsIt(t *testing.T) {
	each(t, func(w *world) {
		w.thunder()
		p := w.named("thunder-a1")
		in := fleet.NewSite{URI: " Museum.Example.org ", Title: "", Profile: "standard", PlatformID: p.ID, Once: "form"}
		s, err := w.fleet.CreateSite(w.ctx, "ada", in)
		ok(w.T, err)
		want(w.T, "address", s.URI, "museum.example.org")
		want(w.T, "title", s.Title, "museum.example.org")
		want(w.T, "state", s.State, models.SiteInstalling)
		twin, err := w.fleet.CreateSite(w.ctx, "ada", in)
		ok(w.T, err)
		want(w.T, "site of the form posted twice", twin.ID, s.ID)
		in.Once = "another form"
		_, err = w.fleet.CreateSite(w.ctx, "ada", in)
		wantCode(w.T, err, models.Conflict, "already")

		installed := w.run(w.pending(models.TaskInstall).ID)
		want(w.T, "task", installed.State, models.TaskSucceeded)
		s = w.at(s.ID)
		want(w.T, "state", s.State, models.SiteEnabled)
		want(w.T, "database", s.Database.Name, "/db/museum.example.org")
		_, err = w.fleet.RetryInstall(w.ctx, "ada", s.ID)
		wantCode(w.T, err, models.Conflict, "delete its content")
	})
}

func TestFleet_RunInstall_FailsAndIsRetried(t *testing.T) {
	each(t, func(w *world) {
		w.thunder()
		s, err := w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: "museum.example.org", Profile: "standard", PlatformID: w.named("thunder-a1").ID})
		ok(w.T, err)
		w.hosting.install = func(context.Context, models.Site) error {
			return models.Errorf(models.Unavailable, "Drush failed. Look at the log.")
		}
		failed := w.run(w.pending(models.TaskInstall).ID)
		want(w.T, "task", failed.State, models.TaskFailed)
		want(w.T, "message", failed.Message, "Drush failed. Look at the log.")
		s = w.at(s.ID)
		want(w.T, "state", s.State, models.SiteBroken)
		want(w.T, "reason", s.Reason, failed.Message)
		w.hosting.install = nil
		_, err = w.fleet.RetryInstall(w.ctx, "ada", s.ID)
		ok(w.T, err)
		_, err = w.fleet.RetryInstall(w.ctx, "ada", s.ID)
		wantCode(w.T, err, models.Conflict)
		w.work()
		s = w.at(s.ID)
		want(w.T, "state", s.State, models.SiteEnabled)
		want(w.T, "reason", s.Reason, "")
	})
}

func TestFleet_VerifySite_BrokenOneThatAnswers_IsEnabledAgain(t *testing.T) {
	each(t, func(w *world) {
		s, task := w.pressed()
		w.hosting.upgrade = fail(models.UpgradeFatal, models.StepReopen, "The disk is full.")
		w.run(task.ID)
		want(w.T, "state", w.at(s.ID).State, models.SiteBroken)

		w.hosting.verify = models.Errorf(models.Unavailable, "It answers 500.")
		verify, err := w.fleet.VerifySite(w.ctx, "ada", s.ID)
		ok(w.T, err)
		want(w.T, "task", w.run(verify.ID).State, models.TaskFailed)
		want(w.T, "state", w.at(s.ID).State, models.SiteBroken)

		w.hosting.verify = nil
		verify, err = w.fleet.VerifySite(w.ctx, "ada", s.ID)
		ok(w.T, err)
		want(w.T, "task", w.run(verify.ID).State, models.TaskSucceeded)
		after := w.at(s.ID)
		want(w.T, "state", after.State, models.SiteEnabled)
		want(w.T, "reason", after.Reason, "")
	})
}

func TestFleet_RunInstall_Interrupted(t *testing.T) {
	for what, c := range map[string]struct {
		cause  error
		before bool // the context had ended when the handler was called
		task   models.TaskState
		site   models.SiteState
	}{
		"stopped":            {fleet.ErrStopping, false, models.TaskRunning, models.SiteInstalling},
		"lost":               {fleet.ErrLost, false, models.TaskRunning, models.SiteInstalling},
		"cancelled":          {fleet.ErrCancelled, false, models.TaskCancelled, models.SiteBroken},
		"cancelled long ago": {fleet.ErrCancelled, true, models.TaskCancelled, models.SiteBroken},
	} {
		t.Run(what, func(t *testing.T) {
			each(t, func(w *world) {
				w.thunder()
				s, err := w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: "museum.example.org", Profile: "standard", PlatformID: w.named("thunder-a1").ID})
				ok(w.T, err)
				ctx, end := context.WithCancelCause(w.ctx)
				if c.before {
					end(c.cause)
				}
				w.hosting.install = func(context.Context, models.Site) error { end(c.cause); return ctx.Err() }
				id := w.pending(models.TaskInstall).ID
				want(w.T, "task", w.runIn(ctx, id).State, c.task)
				s = w.at(s.ID)
				want(w.T, "site", s.State, c.site)
				w.hosting.install = nil
				if c.task == models.TaskRunning {
					want(w.T, "task taken up", w.run(id).State, models.TaskSucceeded)
				} else {
					want(w.T, "reason", s.Reason, "The installation was cancelled. Install it again when you want it.")
					_, err := w.fleet.RetryInstall(w.ctx, "ada", s.ID)
					ok(w.T, err)
					w.work()
				}
				want(w.T, "site", w.at(s.ID).State, models.SiteEnabled)
			})
		})
	}
}

func TestFleet_RunInstall_TakenUpAfterItsEnd_DoesNothing(t *testing.T) {
	each(t, func(w *world) {
		w.thunder()
		for uri, fails := range map[string]error{"good.example.org": nil, "bad.example.org": models.Errorf(models.Unavailable, "No.")} {
			_, err := w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: uri, Profile: "standard", PlatformID: w.named("thunder-a1").ID})
			ok(w.T, err)
			w.hosting.install = func(context.Context, models.Site) error { return fails }
			task, err := w.TakeTask(w.ctx, w.pending(models.TaskInstall).ID)
			ok(w.T, err)
			_, _, err = w.fleet.RunInstall(w.ctx, task, &log{})
			if (err != nil) != (fails != nil) {
				w.Error(err)
			}
			w.hosting.install = func(context.Context, models.Site) error { return errors.New("installed twice") }
			again := w.run(task.ID)
			want(w.T, uri+" is installed", again.State == models.TaskSucceeded, fails == nil)
		}
		want(w.T, "installations", w.hosting.installs, 2)
	})
}

func TestFleet_RunInstall_TakenOver_WritesNothing(t *testing.T) {
	each(t, func(w *world) {
		w.thunder()
		s, err := w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: "museum.example.org", Profile: "standard", PlatformID: w.named("thunder-a1").ID})
		ok(w.T, err)
		id := w.pending(models.TaskInstall).ID
		lost, err := w.TakeTask(w.ctx, id)
		ok(w.T, err)
		w.hosting.install = func(context.Context, models.Site) error {
			w.hosting.install = nil
			want(w.T, "the other's task", w.run(id).State, models.TaskSucceeded)
			return errors.New("late failure")
		}
		w.handle(w.ctx, lost)
		want(w.T, "site", w.at(s.ID).State, models.SiteEnabled)
	})
}

func TestFleet_CancelTask_QueuedInstall_PutsBack(t *testing.T) {
	each(t, func(w *world) {
		w.thunder()
		s, err := w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: "museum.example.org", Profile: "standard", PlatformID: w.named("thunder-a1").ID})
		ok(w.T, err)
		ok(w.T, w.fleet.CancelTask(w.ctx, "ada", w.pending(models.TaskInstall).ID))
		want(w.T, "site", w.at(s.ID).State, models.SiteBroken)
		_, err = w.fleet.RetryInstall(w.ctx, "ada", s.ID)
		ok(w.T, err)
	})
}

func TestFleet_HoldSite_WantsAReason(t *testing.T) {
	each(t, func(w *world) {
		_, _, sites := w.behind("museum.example.org")
		wantFields(w.T, w.fleet.HoldSite(w.ctx, "ada", sites[0].ID, "  ", nil), "reason")
		ok(w.T, w.fleet.HoldSite(w.ctx, "ada", sites[0].ID, " exhibition until June ", nil))
		held := w.at(sites[0].ID)
		want(w.T, "held", held.Held, true)
		want(w.T, "reason", held.HeldReason, "exhibition until June")
		ok(w.T, w.fleet.ReleaseSite(w.ctx, "ada", sites[0].ID))
		want(w.T, "held", w.at(sites[0].ID).Held, false)
		wantCode(w.T, w.fleet.HoldSite(w.ctx, "ada", 999, "x", nil), models.NotFound)
	})
}
