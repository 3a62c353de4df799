package fleet_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"hefring/internal/fleet"
	"hefring/models"
)

func TestFleet_CreateDistribution_WrongValues(t *testing.T) {
	each(t, func(w *world) {
		good := fleet.NewDistribution{Name: "Thunder", UpdateType: "scripted", Settings: models.Settings{"url": address}}
		for what, c := range map[string]struct {
			change func(*fleet.NewDistribution)
			fields []string
		}{
			"no name":         {func(d *fleet.NewDistribution) { d.Name = "  " }, []string{"name"}},
			"long name":       {func(d *fleet.NewDistribution) { d.Name = strings.Repeat("a", 101) }, []string{"name"}},
			"no letters":      {func(d *fleet.NewDistribution) { d.Name = "北京" }, []string{"slug"}},
			"bad short name":  {func(d *fleet.NewDistribution) { d.Slug = "../etc" }, []string{"slug"}},
			"unknown type":    {func(d *fleet.NewDistribution) { d.UpdateType = "cvs" }, []string{"type"}},
			"no address":      {func(d *fleet.NewDistribution) { d.Settings = nil }, []string{"url"}},
			"hyphen":          {func(d *fleet.NewDistribution) { d.Settings = models.Settings{"url": "--upload-pack=x"} }, []string{"url"}},
			"unknown setting": {func(d *fleet.NewDistribution) { d.Settings = models.Settings{"url": address, "x": "1"} }, []string{"x"}},
			"name and both settings": {func(d *fleet.NewDistribution) {
				d.Name, d.Settings = "", models.Settings{"docroot": "../web"}
			}, []string{"docroot", "name", "url"}},
		} {
			in := good
			c.change(&in)
			_, err := w.fleet.CreateDistribution(w.ctx, "ada", in)
			wantFields(w.T, err, c.fields...)
			if w.Failed() {
				w.Fatal(what)
			}
		}
		if _, n, err := w.Distributions(w.ctx, fleet.Filter{}); err != nil || n != 0 {
			w.Errorf("%d distributions were stored (%v)", n, err)
		}
		w.nothingQueued()
	})
}

func TestFleet_CreateDistribution_NamesItselfAndIsChecked(t *testing.T) {
	each(t, func(w *world) {
		d := w.distribution("  Faculty sites (D10) ")
		want(w.T, "name", d.Name, "Faculty sites (D10)")
		want(w.T, "short name", d.Slug, "faculty-sites-d10")
		want(w.T, "condition", w.reload(d).Condition, models.ConditionNew)
		if next := w.upstream(d).NextCheckAt; next == nil || !next.After(w.clock.time()) {
			w.Errorf("next check at %v", next)
		}
		task := w.pending(models.TaskCheck)
		want(w.T, "trigger", task.Args["trigger"], string(models.TriggerSave))
		want(w.T, "actor", task.Actor, "ada")
		want(w.T, "tasks handed to the queue", len(w.queue.tasks), 1)

		_, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{
			Name: "FACULTY SITES (D10)", Slug: "other", UpdateType: "scripted", Settings: models.Settings{"url": address},
		})
		wantCode(w.T, err, models.Conflict, "already")
	})
}

func TestFleet_CreateDistribution_FormPostedTwice_MakesOne(t *testing.T) {
	each(t, func(w *world) {
		in := fleet.NewDistribution{Name: "Thunder", UpdateType: "scripted", Settings: models.Settings{"url": address}, Once: "token of the form"}
		wrong := in
		wrong.Settings = nil
		_, err := w.fleet.CreateDistribution(w.ctx, "ada", wrong) // which does not use the token up
		wantFields(w.T, err, "url")
		var made sync.Map
		var posts sync.WaitGroup
		for range 4 {
			posts.Go(func() {
				d, err := w.fleet.CreateDistribution(w.ctx, "ada", in)
				if err != nil || d.Name != "Thunder" {
					w.Errorf("posting again gave %+v: %v", d, err)
				}
				made.Store(d.ID, true)
			})
		}
		posts.Wait()
		n := 0
		made.Range(func(any, any) bool { n++; return true })
		want(w.T, "distributions", n, 1)
		w.pending(models.TaskCheck)

		first, err := w.fleet.DistributionNamed(w.ctx, "thunder")
		ok(w.T, err)
		other := in
		other.Name = "Lightning"
		_, err = w.fleet.CreateDistribution(w.ctx, "ada", other)
		wantCode(w.T, err, models.Conflict, "sent before with something else", "open the form anew")
		if before, is := errors.AsType[*fleet.SentBeforeError](err); !is || *before != (fleet.SentBeforeError{Kind: "distribution", ID: first.ID}) {
			w.Errorf("it does not say what was made: %v", err)
		}
		// Neither does a form of something else take what this one made for its own.
		_, err = w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: "a.example.org", Profile: "standard", PlatformID: 1, Once: in.Once})
		wantCode(w.T, err, models.Conflict, "sent before with something else")
	})
}

func TestFleet_UpdateDistribution_ChecksOnlyWhatChanged(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		renamed, err := w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, fleet.NewDistribution{
			Name: "Thunder 10", Slug: "ignored", UpdateType: "ignored", Settings: d.Settings,
		})
		ok(w.T, err)
		want(w.T, "name", renamed.Name, "Thunder 10")
		want(w.T, "short name", w.reload(d).Slug, "thunder")
		w.nothingQueued()

		_, err = w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, fleet.NewDistribution{Name: "", Settings: models.Settings{"docroot": "/etc"}})
		wantFields(w.T, err, "docroot", "name", "url")
		want(w.T, "name after a wrong change", w.reload(d).Name, "Thunder 10")

		changed := fleet.NewDistribution{Name: "Thunder 10", Settings: models.Settings{"url": address, "docroot": "web"}}
		_, err = w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, changed)
		ok(w.T, err)
		w.pending(models.TaskCheck)
		changed.Settings = models.Settings{"url": address}
		_, err = w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, changed) // while the check is queued
		ok(w.T, err)
		changed.Settings = models.Settings{"url": address, "docroot": "web"}
		_, err = w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, changed)
		ok(w.T, err)
		w.work()
		// Other settings may give other code, also of the same revision.
		second := w.named("thunder-a1-2")
		want(w.T, "target", *w.reload(d).TargetID, second.ID)
		want(w.T, "first is locked", w.named("thunder-a1").Locked, true)

		_, err = w.fleet.UpdateDistribution(w.ctx, "ada", 999, changed)
		wantCode(w.T, err, models.NotFound)
	})
}

// A token in the query of an address is shown to nobody; who sends the rest back as it
// was shown keeps it, and who changes the rest does not send it elsewhere.
func TestFleet_UpdateDistribution_TokenInTheAddress_IsKept(t *testing.T) {
	const secret, shown = address + "?private_token=s3cr3t&ref=main", address + "?private_token=…&ref=main"
	each(t, func(w *world) {
		_, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{Name: "Copied", UpdateType: "scripted", Settings: models.Settings{"url": shown}})
		wantFields(w.T, err, "url")
		d, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{Name: "Thunder", UpdateType: "scripted", Settings: models.Settings{"url": secret}})
		ok(w.T, err)
		w.work()
		again := fleet.NewDistribution{Name: "Thunder 10", Settings: d.Settings.Blotted()}
		want(w.T, "what is shown", again.Settings["url"], shown)
		_, err = w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, again)
		ok(w.T, err)
		want(w.T, "address", w.reload(d).Settings["url"], secret)
		want(w.T, "name", w.reload(d).Name, "Thunder 10")
		w.nothingQueued()
		again.Settings = models.Settings{"url": strings.Replace(shown, "main", "next", 1)}
		_, err = w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, again)
		wantFields(w.T, err, "url")
		again.Settings = models.Settings{"url": strings.Replace(secret, "s3cr3t", "other", 1)}
		_, err = w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, again)
		ok(w.T, err)
		want(w.T, "address", w.reload(d).Settings["url"], again.Settings["url"])
	})
}

func TestFleet_CheckNow_OneAtATime(t *testing.T) {
	each(t, func(w *world) {
		d := w.distribution("Thunder")
		running, err := w.fleet.CheckNow(w.ctx, "bob", d.ID)
		wantCode(w.T, err, models.Conflict)
		want(w.T, "task", running.ID, w.pending(models.TaskCheck).ID)
		hand, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{Name: "By hand", UpdateType: "byhand"})
		ok(w.T, err)
		_, err = w.fleet.CheckNow(w.ctx, "bob", hand.ID)
		wantCode(w.T, err, models.Invalid, "Register")
	})
}
