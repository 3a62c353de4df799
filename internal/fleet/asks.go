package fleet

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"hefring/models"
)

// What only the server can do that a site is on, and that a person waits for, is a
// question: a small task in a queue of its own, whose answer is waited for. It does
// not hinder work on the site, as it would not on the site's own server.

// Patience with a server.
const (
	askTime   = 25 * time.Second
	askLook   = time.Second      // how often an answer is looked for that woke nobody
	lossFresh = 30 * time.Second // how long a count is taken for what would be counted now
)

func questionSubject(siteID int64) models.Subject {
	return models.Subject{Kind: models.SubjectQuestion, ID: siteID}
}

// ask has a site's server do what t says, and gives the task as it ended. What was not
// answered in time is cancelled: Unavailable.
func (f *Fleet) ask(ctx context.Context, site models.Site, t models.Task) (models.Task, error) {
	if err := f.heard(ctx, site); err != nil {
		return t, err
	}
	t.Subject = questionSubject(site.ID)
	waiting, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	for {
		asked, err := f.start(waiting, t)
		before := models.CodeOf(err) == models.Conflict // another question to the same site comes first
		if err != nil && !before {
			return t, unanswered(waiting, ctx, site, err)
		}
		if asked.ID == 0 {
			continue // and has ended by now
		}
		ended, err := f.await(waiting, asked.ID)
		if err == nil && before {
			continue
		}
		if err != nil && !before {
			err = errors.Join(err, f.takeBack(ctx, asked))
		}
		if err != nil {
			return t, unanswered(waiting, ctx, site, err)
		}
		if ended.State != models.TaskSucceeded {
			return ended, models.Errorf(models.Unavailable, "%s", ended.Message)
		}
		return ended, nil
	}
}

// heard fails unless the worker of a site's server lives.
func (f *Fleet) heard(ctx context.Context, site models.Site) error {
	if site.ServerID == nil {
		return nil
	}
	server, err := f.store.Server(ctx, *site.ServerID)
	if err != nil {
		return err
	}
	if server.Alive(f.cfg.Now()) {
		return nil
	}
	return models.Errorf(models.Unavailable, "%s is on the server %s, whose worker was not heard of for %s. Start it there, then try again.", site.URI, server.Name, models.ServerLost)
}

// await waits until a task has ended.
func (f *Fleet) await(ctx context.Context, id int64) (models.Task, error) {
	wake, stop := f.store.Follow(id)
	defer stop()
	look := time.NewTicker(askLook)
	defer look.Stop()
	for {
		t, err := f.store.Task(ctx, id)
		if err != nil || t.State.Over() {
			return t, err
		}
		select {
		case <-ctx.Done():
			return t, context.Cause(ctx)
		case <-wake:
		case <-look.C:
		}
	}
}

// takeBack ends a question that nobody waits for any more.
func (f *Fleet) takeBack(ctx context.Context, t models.Task) error {
	lasting, stop := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer stop()
	err := f.CancelTask(lasting, t.Actor, t.ID)
	if models.CodeOf(err) == models.Conflict { // it ended just now
		return nil
	}
	return err
}

// unanswered says why there is no answer: waiting is over before ctx when it took too
// long.
func unanswered(waiting, ctx context.Context, site models.Site, err error) error {
	if waiting.Err() == nil || ctx.Err() != nil {
		return err
	}
	return models.Wrapf(models.Unavailable, err, "The server of %s did not answer within %s. It may be busy; try again in a while.", site.URI, askTime)
}

func loginContext(siteID int64) string { return fmt.Sprintf("login link of site %d", siteID) }

// askLogin has a site's server make a one-time login link. It comes sealed for this
// process's key: tasks are read by many.
func (f *Fleet) askLogin(ctx context.Context, by string, site models.Site) (string, error) {
	t, err := f.ask(ctx, site, models.Task{
		Kind: models.TaskLogin, Title: "Make a one-time login link for " + site.URI, Actor: by, Args: models.Settings{"for": f.cfg.Recipient()},
	})
	if err != nil {
		return "", err
	}
	sealed, err := base64.StdEncoding.DecodeString(t.Result)
	if err != nil {
		return "", fmt.Errorf("read login link: %w", err)
	}
	link, err := f.cfg.Secrets.Open(loginContext(site.ID), sealed)
	if err != nil {
		return "", fmt.Errorf("open login link: %w", err)
	}
	return string(link), nil
}

// asked gives the site that a question is about, if it is here.
func (f *Fleet) asked(ctx context.Context, t models.Task) (models.Site, error) {
	site, err := f.store.Site(ctx, t.Subject.ID)
	if err == nil && !f.here(site) {
		err = models.Errorf(models.Conflict, "%s is on another server.", site.URI)
	}
	return site, err
}

func (f *Fleet) runLogin(ctx context.Context, t models.Task, _ Log) (string, models.TaskState, error) {
	site, err := f.asked(ctx, t)
	if err != nil {
		return "", "", err
	}
	link, err := f.makeLogin(ctx, site)
	if err != nil {
		return "", "", err
	}
	sealed, err := f.cfg.SealFor(t.Args["for"], loginContext(site.ID), []byte(link))
	if err != nil {
		return "", "", fmt.Errorf("seal login link: %w", err)
	}
	t.Result = base64.StdEncoding.EncodeToString(sealed)
	return "The link is made", "", f.store.SaveTaskResult(ctx, t)
}

// askLoss has a site's server count what taking a move back would lose. Where it does
// not say, the answer is that it is not known, and why.
func (f *Fleet) askLoss(ctx context.Context, site models.Site, u models.Upgrade) (models.Loss, error) {
	t, err := f.counted(ctx, site, u)
	if models.CodeOf(err) == models.NotFound {
		t, err = f.ask(ctx, site, models.Task{
			Kind: models.TaskLoss, Title: "Count what a rollback of " + site.URI + " would lose", Actor: ActorSystem, Args: lossArgs(u),
		})
	}
	if models.CodeOf(err) == models.Unavailable {
		return models.Loss{Tables: []models.TableLoss{{Table: "all tables", Unknown: true, Why: models.Explain(err)}}}, nil
	}
	if err != nil {
		return models.Loss{}, err
	}
	var loss models.Loss
	if err := json.Unmarshal([]byte(t.Result), &loss); err != nil {
		return loss, fmt.Errorf("read what would be lost: %w", err)
	}
	return loss, nil
}

func lossArgs(u models.Upgrade) models.Settings {
	return models.Settings{"upgrade": strconv.FormatInt(u.ID, 10)}
}

// counted finds a count of the same that was made just now: who looks at a page again
// does not ask again. NotFound: there is none.
func (f *Fleet) counted(ctx context.Context, site models.Site, u models.Upgrade) (models.Task, error) {
	last, err := f.store.SubjectTasks(ctx, []models.Subject{questionSubject(site.ID)}, 5)
	if err != nil {
		return models.Task{}, err
	}
	since := f.cfg.Now().Add(-lossFresh)
	for _, t := range last {
		if t.Kind == models.TaskLoss && t.State == models.TaskSucceeded && t.Args["upgrade"] == lossArgs(u)["upgrade"] && t.StartedAt != nil && t.StartedAt.After(since) {
			return t, nil
		}
	}
	return models.Task{}, models.Errorf(models.NotFound, "It was not counted lately.")
}

func (f *Fleet) runLoss(ctx context.Context, t models.Task, _ Log) (string, models.TaskState, error) {
	site, err := f.asked(ctx, t)
	if err != nil {
		return "", "", err
	}
	id, _ := strconv.ParseInt(t.Args["upgrade"], 10, 64)
	u, err := f.store.Upgrade(ctx, id)
	if err != nil {
		return "", "", err
	}
	if u.SiteID != site.ID {
		return "", "", models.Errorf(models.Conflict, "This is a move of another site.")
	}
	loss, err := f.cfg.Hosting.Loss(ctx, u)
	if err != nil {
		return "", "", err
	}
	text, err := json.Marshal(loss)
	if err != nil {
		return "", "", fmt.Errorf("write what would be lost: %w", err)
	}
	t.Result = string(text)
	return "Counted", "", f.store.SaveTaskResult(ctx, t)
}

// askDrop has a site's server remove a backup.
func (f *Fleet) askDrop(ctx context.Context, by string, site models.Site, b models.Backup) error {
	_, err := f.ask(ctx, site, models.Task{
		Kind: models.TaskDropBackup, Title: "Remove a backup of " + b.URI, Actor: by, Args: models.Settings{"backup": strconv.FormatInt(b.ID, 10)},
	})
	return err
}

func (f *Fleet) runDropBackup(ctx context.Context, t models.Task, _ Log) (string, models.TaskState, error) {
	site, err := f.asked(ctx, t)
	if err != nil {
		return "", "", err
	}
	id, _ := strconv.ParseInt(t.Args["backup"], 10, 64)
	b, err := f.droppable(ctx, id)
	switch {
	case err != nil:
		return "", "", err
	case b.SiteID != site.ID:
		return "", "", models.Errorf(models.Conflict, "This is a backup of another site.")
	case b.State == models.BackupDeleted:
		return "It is removed", "", nil
	}
	return "It is removed", "", f.dropBackup(ctx, t.Actor, b)
}
