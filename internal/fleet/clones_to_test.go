package fleet_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// clones asks for a clone of the site on a server.
func (j *journey) clones(server int64) models.Task {
	j.Helper()
	site, err := j.fleet.CloneSite(j.ctx, "ada", fleet.NewClone{FromSite: j.site.ID, URI: "copy.example.org", ServerID: &server})
	ok(j.T, err)
	j.site = site
	return j.newcomer()
}

// newcomer is the task over a clone for another server.
func (j *journey) newcomer() models.Task {
	j.Helper()
	list, err := j.SubjectTasks(j.ctx, []models.Subject{{Kind: models.SubjectNewcomer, ID: j.site.ID}}, 1)
	if err != nil || len(list) != 1 {
		j.Fatalf("tasks over the clone: %v (%v)", list, err)
	}
	return list[0]
}

// parts are the kinds of a task's children, with how they ended.
func (j *journey) parts(task models.Task) string {
	j.Helper()
	children, err := j.Children(j.ctx, task.ID)
	ok(j.T, err)
	var said []string
	for _, c := range children {
		said = append(said, string(c.Kind)+" "+string(c.State))
		if c.Kind == models.TaskRelocate {
			j.task = c
		}
	}
	return strings.Join(said, ", ")
}

// A clone for another server is made where its origin is, and then moved.
func TestFleet_CloneSite_ToAnotherServer(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	task := j.clones(j.fresh.id)
	want(t, "the clone's first server", j.site.Server, "web1")
	want(t, "title", task.Title, "Make copy.example.org from "+museum+" on web2")
	j.rests()
	task = j.newcomer()
	want(t, "the whole", string(task.State)+": "+task.Message[:len("copy.example.org is on web2.")], "succeeded: copy.example.org is on web2.")
	want(t, "its parts", j.parts(task), "clone succeeded, relocate succeeded")
	want(t, "the clone's server", j.at(j.site.ID).Server, "web2")
	_, err := j.fleet.RetryTask(j.ctx, "ada", task.ID)
	wantCode(t, err, models.Conflict, "on web2")
}

// To the server that the origin is on there is no way to go.
func TestFleet_CloneSite_WhereItsOriginIs(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	site, err := j.fleet.CloneSite(j.ctx, "ada", fleet.NewClone{FromSite: j.site.ID, URI: "copy.example.org", ServerID: &j.old.id})
	ok(t, err)
	j.rests()
	list, err := j.SubjectTasks(j.ctx, []models.Subject{{Kind: models.SubjectNewcomer, ID: site.ID}}, 1)
	if err != nil || len(list) != 0 {
		t.Errorf("it has a way to go: %v (%v)", list, err)
	}
	want(t, "the clone", j.at(site.ID).State, models.SiteEnabled)
}

// The control plane dies between the two halves, and goes on afterwards.
func TestFleet_CloneSite_ToAnotherServer_GoesOn(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.kill(j.control)
	j.clones(j.fresh.id)
	j.awaits("the clone is made", func() bool { return j.at(j.site.ID).State == models.SiteEnabled })
	j.start(j.control)
	j.rests()
	want(t, "its parts", j.parts(j.newcomer()), "clone succeeded, relocate succeeded")
}

// What would refuse the move refuses the clone, and nothing is made. A clone that is
// made when its move is refused stays and serves.
func TestFleet_CloneSite_ToAnotherServer_Refused(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	asked := func(server int64) error {
		_, err := j.fleet.CloneSite(j.ctx, "ada", fleet.NewClone{FromSite: j.site.ID, URI: "other.example.org", ServerID: &server})
		return err
	}
	wantFields(t, asked(999), "server")
	j.kill(j.control)
	j.clones(j.fresh.id)
	j.awaits("the clone is made", func() bool { return j.at(j.site.ID).State == models.SiteEnabled })
	j.clock.pass(time.Hour)
	wantCode(t, asked(j.fresh.id), models.Unavailable, "not heard of")
	if _, err := j.SiteNamed(j.ctx, "other.example.org"); models.CodeOf(err) != models.NotFound {
		t.Errorf("a site was made: %v", err)
	}
	j.start(j.control)
	j.rests()
	task := j.newcomer()
	want(t, "the whole", task.State, models.TaskWarning)
	if !strings.Contains(task.Message, "is made, and stays on web1: The worker of") {
		t.Errorf("it says: %s", task.Message)
	}
	want(t, "its parts", j.parts(task), "clone succeeded")
}

// Cancelled before its move begins, a clone stays where it was made.
func TestFleet_CloneSite_ToAnotherServer_Cancelled(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.kill(j.control)
	task := j.clones(j.fresh.id)
	j.awaits("the clone is made", func() bool { return j.at(j.site.ID).State == models.SiteEnabled })
	_, err := j.TakeTaskOf(context.WithoutCancel(j.ctx), task.ID, 0) // it runs
	ok(t, err)
	ok(t, j.fleet.CancelTask(j.ctx, "ada", task.ID))
	j.start(j.control)
	j.rests()
	task = j.newcomer()
	want(t, "the whole", string(task.State)+": "+task.Message, "cancelled: Cancelled. copy.example.org is made, and stays on web1.")
	want(t, "its parts", j.parts(task), "clone succeeded")
}

// What was not made is made anew and moved, whichever of the two tasks, or the site, is
// tried again. Who presses twice starts it once.
func TestFleet_RetryTask_CloneToAnotherServer(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(j *journey, whole models.Task) (models.Task, error){
		"the whole": func(j *journey, whole models.Task) (models.Task, error) {
			return j.fleet.RetryTask(j.ctx, "ada", whole.ID)
		},
		"the clone": func(j *journey, whole models.Task) (models.Task, error) {
			children, err := j.Children(j.ctx, whole.ID)
			ok(j.T, err)
			return j.fleet.RetryTask(j.ctx, "ada", children[0].ID)
		},
		"the site": func(j *journey, _ models.Task) (models.Task, error) {
			return j.fleet.RetryInstall(j.ctx, "ada", j.site.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJourney(t)
			full := func(_ context.Context, what string) error {
				if strings.HasPrefix(what, "clone ") {
					return models.Errorf(models.Unavailable, "The disk is full.")
				}
				return nil
			}
			j.hosts(full)
			j.clones(j.fresh.id)
			j.rests()
			failed := j.newcomer()
			want(t, "the whole", string(failed.State)+": "+failed.Message, "failed: The disk is full.")
			want(t, "it can be tried again", fleet.Retryable(failed), true)
			j.kill(j.old) // nothing is taken up between the two presses
			j.act = nil
			task, err := again(j, failed)
			ok(t, err)
			want(t, "kind", task.Kind, models.TaskCloneTo)
			want(t, "title", task.Title, failed.Title)
			_, err = again(j, failed)
			wantCode(t, err, models.Conflict, "copy.example.org")
			j.start(j.old)
			j.rests()
			want(t, "the task", j.newcomer().ID, task.ID)
			want(t, "its parts", j.parts(task), "clone succeeded, relocate succeeded")
			want(t, "the clone's server", j.at(j.site.ID).Server, "web2")
		})
	}
}

// hosts has the old server's worker start anew, with what else it does there scripted.
func (j *journey) hosts(act func(ctx context.Context, what string) error) {
	j.Helper()
	j.kill(j.old)
	j.act = act
	j.start(j.old)
}

// What is made and did not get to its server is only moved.
func TestFleet_RetryTask_CloneToAnotherServer_OnlyTheMove(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.road.act = func(_ context.Context, what string) error {
		if what == "take in" {
			return models.Errorf(models.Unavailable, "The disk is full.")
		}
		return nil
	}
	j.clones(j.fresh.id)
	j.rests()
	failed := j.newcomer()
	want(t, "the whole", failed.State, models.TaskRecovered)
	want(t, "it can be tried again", fleet.Retryable(failed), true)
	want(t, "the clone stays", j.at(j.site.ID).Server, "web1")
	j.kill(j.control)
	j.road.mu.Lock()
	j.road.act = nil
	j.road.mu.Unlock()
	task, err := j.fleet.RetryTask(j.ctx, "ada", failed.ID)
	ok(t, err)
	want(t, "kind", task.Kind, models.TaskRelocate)
	twice, err := j.fleet.RetryTask(j.ctx, "ada", failed.ID)
	wantCode(t, err, models.Conflict, "")
	want(t, "the second press leads to the first's task", twice.ID, task.ID)
	j.start(j.control)
	j.rests()
	want(t, "the clone's server", j.at(j.site.ID).Server, "web2")
	_, err = j.fleet.RetryTask(j.ctx, "ada", failed.ID)
	wantCode(t, err, models.Conflict, "Nothing is left to do")
}

// A clone for a server that cannot be reached, or is none any more, is not made again.
func TestFleet_RetryTask_CloneToAnotherServer_Refused(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.kill(j.old)
	task := j.clones(j.fresh.id)
	ok(t, j.fleet.CancelTask(j.ctx, "ada", task.ID))
	j.awaits("the whole has ended", func() bool { return j.newcomer().State.Over() })
	want(t, "the clone", j.at(j.site.ID).State, models.SiteBroken)
	again := func() error {
		_, err := j.fleet.RetryTask(j.ctx, "ada", task.ID)
		return err
	}
	j.clock.pass(time.Hour)
	wantCode(t, again(), models.Unavailable, "not heard of")
	want(t, "the clone", j.at(j.site.ID).State, models.SiteBroken)
	j.kill(j.fresh)
	ok(t, j.fleet.RemoveServer(j.ctx, "ada", j.fresh.id))
	wantCode(t, again(), models.Conflict, "not there any more")
}
