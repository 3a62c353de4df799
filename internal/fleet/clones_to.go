package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"hefring/models"
)

// A clone for another server is made beside its origin, where the content lies, and
// then moved: two tasks, one after the other, under one that people wait for. That one
// is the control plane's; a worker could not begin a move.

// destinationOf says where a new site goes once it is made; nil: it stays. What would
// refuse the move then, refuses it now, before anything is made.
func (f *Fleet) destinationOf(ctx context.Context, s models.Site, serverID *int64) (*models.Server, error) {
	if serverID == nil || *serverID == s.Home() {
		return nil, nil
	}
	to, err := f.serverFor(ctx, *serverID)
	if err != nil {
		return nil, err
	}
	from, err := f.serverFor(ctx, s.Home())
	if err != nil {
		return nil, err
	}
	if s.DatabaseServerID != nil { // it has no database yet
		s.Database.Server = *s.DatabaseServerID
	}
	return &to, f.canTravel(ctx, s, from, to)
}

// queueMaking queues the task that makes a site, under one that takes the site on to its
// server if it has one to go to. It gives the task that people wait for.
func queueMaking(ctx context.Context, tx Tx, making models.Task, to *models.Server) (models.Task, error) {
	if to == nil {
		err := tx.CreateTask(ctx, &making)
		return making, err
	}
	whole := cloneTo(making, *to)
	if err := tx.CreateTask(ctx, &whole); err != nil {
		return whole, err
	}
	making.ParentID = &whole.ID
	return whole, tx.CreateTask(ctx, &making)
}

// madeFor says which server a clone was made for by the task over it; nil: for none, or it
// is there.
func (f *Fleet) madeFor(ctx context.Context, s models.Site, clone models.Task) (*models.Server, error) {
	if clone.ParentID == nil {
		return nil, nil
	}
	whole, err := f.store.Task(ctx, *clone.ParentID)
	if err != nil {
		return nil, err
	}
	server, err := destination(whole)
	if err != nil {
		return nil, err
	}
	to, err := f.destinationOf(ctx, s, &server)
	if models.CodeOf(err) == models.Invalid {
		return nil, models.Errorf(models.Conflict, "%s was made for a server that is not there any more. Delete it, and clone its origin anew.", s.URI)
	}
	return to, err
}

// destination is the number of the server that a clone goes to.
func destination(t models.Task) (int64, error) {
	server, err := strconv.ParseInt(t.Args["server"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the server of task %d: %w", t.ID, err)
	}
	return server, nil
}

// retryCloneTo does what a clone for another server lacks: all of it, or the move of one
// that was made.
func (f *Fleet) retryCloneTo(ctx context.Context, by string, t models.Task) (models.Task, error) {
	s, err := f.store.Site(ctx, t.Subject.ID)
	if err != nil {
		return models.Task{}, err
	}
	if s.Database == (models.Database{}) {
		return f.RetryInstall(ctx, by, s.ID)
	}
	server, err := destination(t)
	if err != nil {
		return models.Task{}, err
	}
	if s.Home() == server {
		return models.Task{}, models.Errorf(models.Conflict, "%s is made, and on %s. Nothing is left to do.", s.URI, s.Server)
	}
	return f.RelocateSite(ctx, by, s.ID, server)
}

// cloneTo is the task over a clone that goes to another server.
func cloneTo(clone models.Task, to models.Server) models.Task {
	return models.Task{
		Kind: models.TaskCloneTo, Subject: models.Subject{Kind: models.SubjectNewcomer, ID: clone.Subject.ID}, Actor: clone.Actor,
		Title: clone.Title + " on " + to.Name, Args: models.Settings{"server": strconv.FormatInt(to.ID, 10)},
	}
}

// runCloneTo waits for the clone, has it moved, and waits for that.
func (f *Fleet) runCloneTo(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	lasting := context.WithoutCancel(ctx)
	if handedOn(ctx) {
		return "", "", context.Cause(ctx)
	}
	site, err := f.store.Site(lasting, t.Subject.ID)
	if err != nil {
		return "", "", passing(err)
	}
	children, err := f.store.Children(lasting, t.ID)
	if err != nil {
		return "", "", passing(err)
	}
	made, moved := lastOf(children, models.TaskClone), lastOf(children, models.TaskRelocate)
	switch {
	case moved.ID != 0 && !moved.State.Over() && !moved.Cancel && f.stopped(ctx, t): // it was begun after the others were cancelled
		return "", "", errors.Join(f.CancelTask(lasting, t.Actor, moved.ID), Waiting{childPoll})
	case !made.State.Over() || moved.ID != 0 && !moved.State.Over():
		return "", "", Waiting{childPoll}
	case made.State != models.TaskSucceeded && made.State != models.TaskWarning:
		return made.Message, made.State, nil
	case moved.ID != 0:
		return moved.Message, moved.State, nil
	case f.stopped(ctx, t):
		return fmt.Sprintf("Cancelled. %s is made, and stays on %s.", site.URI, site.Server), models.TaskCancelled, nil
	}
	return f.sendOff(lasting, t, site, log)
}

// sendOff queues the move of a clone that is made. It stays where it is, and serves,
// when the move is refused.
func (f *Fleet) sendOff(ctx context.Context, t models.Task, site models.Site, log Log) (string, models.TaskState, error) {
	server, err := destination(t)
	if err != nil {
		return "", "", err
	}
	_, err = f.relocate(ctx, models.Task{Actor: t.Actor, ParentID: &t.ID}, site.ID, server)
	if models.CodeOf(err) == models.Conflict {
		if _, busy := f.store.RunningTask(ctx, siteSubject(site.ID)); busy == nil { // somebody was quicker
			return "", "", Waiting{childPoll}
		}
	}
	if _, said := errors.AsType[*models.Error](err); said {
		return fmt.Sprintf("%s is made, and stays on %s: %s", site.URI, site.Server, models.Explain(err)), models.TaskWarning, nil
	}
	if err != nil {
		return "", "", passing(err)
	}
	log.Printf(models.LevelInfo, "%s is made on %s. Now it is moved", site.URI, site.Server)
	return "", "", Waiting{childPoll}
}
