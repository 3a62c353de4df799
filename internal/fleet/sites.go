package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hefring/models"
)

func siteSubject(id int64) models.Subject { return models.Subject{Kind: models.SubjectSite, ID: id} }

// CreateSite stores a site and has it installed. Only a ready, unlocked platform
// takes new sites.
func (f *Fleet) CreateSite(ctx context.Context, by string, in NewSite) (models.Site, error) {
	s := models.Site{
		URI: strings.ToLower(strings.TrimSpace(in.URI)), Title: strings.TrimSpace(in.Title), Profile: in.Profile,
		PlatformID: in.PlatformID, Server: LocalServer, State: models.SiteInstalling, Language: strings.ToLower(strings.TrimSpace(in.Language)),
	}
	if s.Title == "" {
		s.Title = s.URI
	}
	wrong := s.Validate()
	if why := f.placeDatabase(ctx, &s, in.DatabaseServerID, ""); why != "" {
		wrong["database"] = why
	}
	if why := f.placeOn(ctx, &s, in.ServerID); why != "" {
		wrong["server"] = why
	}
	var first int64
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := f.refuseTwin(ctx, tx, sent{in.Once, "site", in}, &first); err != nil {
			return err
		}
		p, err := tx.Platform(ctx, s.PlatformID)
		switch {
		case models.CodeOf(err) == models.NotFound:
			wrong["platform"] = "Choose a platform."
		case err != nil:
			return err
		default:
			if why := refusesSites(p); why != "" {
				wrong["platform"] = why
			}
			if wrong["profile"] == "" && !slices.Contains(p.Profiles, s.Profile) {
				wrong["profile"] = "This platform has no profile " + s.Profile + ". It has: " + strings.Join(p.Profiles, ", ") + "."
			}
		}
		if len(wrong) > 0 {
			return models.InvalidFields(wrong)
		}
		if err := tx.CreateSite(ctx, &s); err != nil {
			return err
		}
		if err := useForm(ctx, tx, in.Once, s.ID); err != nil {
			return err
		}
		return tx.CreateTask(ctx, installTask(by, s))
	})
	if errors.Is(err, errTwin) {
		return f.store.Site(ctx, first)
	}
	if err == nil && s.ServerID != nil {
		f.shareNow(ctx)
	}
	return s, err
}

// refusesSites says why a platform takes no new sites, or "".
func refusesSites(p models.Platform) string {
	switch {
	case p.State != models.PlatformReady:
		return fmt.Sprintf("%s is %s. Choose a ready platform.", p.Name, p.State)
	case p.Locked:
		return p.Name + " is locked and takes no new sites. Choose the upgrade target."
	}
	return ""
}

func installTask(by string, s models.Site) *models.Task {
	return &models.Task{Kind: models.TaskInstall, Subject: siteSubject(s.ID), Title: "Install " + s.URI, Actor: by}
}

// RetryInstall makes a site once more whose first installation, or cloning,
// failed. A clone for another server goes on to it.
func (f *Fleet) RetryInstall(ctx context.Context, by string, id int64) (models.Task, error) {
	s, err := f.store.Site(ctx, id)
	if err != nil {
		return models.Task{}, err
	}
	if s.Database != (models.Database{}) {
		return models.Task{}, models.Errorf(models.Conflict, "%s was installed before; installing it anew would delete its content.", s.URI)
	}
	making, to, err := f.making(ctx, by, s)
	if err != nil {
		return models.Task{}, err
	}
	task := models.Task{}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.MoveSite(ctx, by, s, models.SiteInstalling, ""); err != nil {
			return err
		}
		task, err = queueMaking(ctx, tx, making, to)
		return err
	})
	return task, err
}

// making is the task that makes a site once more, as the one before did, and the server
// that the site goes to then; nil: it stays.
func (f *Fleet) making(ctx context.Context, by string, s models.Site) (models.Task, *models.Server, error) {
	task := *installTask(by, s)
	last, err := f.store.SubjectTasks(ctx, []models.Subject{task.Subject}, 20)
	if err != nil {
		return task, nil, err
	}
	for _, t := range last { // newest first
		if t.Kind == models.TaskClone {
			task.Kind, task.Args, task.Title = t.Kind, t.Args, t.Title
			to, err := f.madeFor(ctx, s, t)
			return task, to, err
		}
	}
	return task, nil, nil
}

// RunInstall is the task that installs a site.
func (f *Fleet) RunInstall(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	return f.make(ctx, t, log, func(s models.Site, p models.Platform) (models.Database, error) {
		return f.cfg.Hosting.Install(ctx, s, p, log)
	})
}

// make carries out a task that makes a site, and records where its content is.
func (f *Fleet) make(ctx context.Context, t models.Task, _ Log, do func(models.Site, models.Platform) (models.Database, error)) (string, models.TaskState, error) {
	lasting := context.WithoutCancel(ctx) // a cancelled installation must still be recorded as such
	s, p, err := f.siteAndPlatform(lasting, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	// An end was recorded, and then the worker died.
	if s.State == models.SiteEnabled {
		return s.URI + " is installed", "", nil
	}
	if s.State == models.SiteBroken {
		return s.Reason, models.TaskFailed, nil
	}
	cause := f.brought(ctx, t, p)
	if cause == nil {
		cause = f.keyed(ctx, t, s)
	}
	if _, waits := errors.AsType[Waiting](cause); waits {
		return "", "", cause
	}
	var db models.Database
	if cause == nil {
		db, cause = do(s, p)
	}
	if cause != nil && handedOn(ctx) {
		return "", "", context.Cause(ctx)
	}
	reason, state := "", models.TaskState("")
	if cause != nil {
		reason, state = models.Explain(cause), models.TaskFailed
	}
	if cause != nil && errors.Is(context.Cause(ctx), ErrCancelled) {
		reason, state = "The installation was cancelled. Install it again when you want it.", models.TaskCancelled
	}
	ctx = lasting
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		if cause != nil {
			return tx.MoveSite(ctx, t.Actor, s, models.SiteBroken, reason)
		}
		if err := tx.PlaceSite(ctx, s, s.PlatformID, db); err != nil {
			return err
		}
		return tx.MoveSite(ctx, t.Actor, s, models.SiteEnabled, "")
	})
	switch {
	case err != nil:
		return "", "", errors.Join(cause, err)
	case cause != nil:
		return reason, state, cause
	}
	return s.URI + " is installed", "", nil
}

// HoldSite keeps a site where it is: no upgrade moves it until it is released, or
// until that time.
func (f *Fleet) HoldSite(ctx context.Context, by string, id int64, reason string, until *time.Time) error {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > 500 {
		return models.InvalidField("reason", "Say in up to 500 characters why it stays, so that others know.")
	}
	if until != nil && !until.After(f.cfg.Now()) {
		return models.InvalidField("until", "Choose a day to come, or leave it empty.")
	}
	return f.store.SetHeld(ctx, by, id, true, reason, until)
}

// ReleaseSite ends a hold.
func (f *Fleet) ReleaseSite(ctx context.Context, by string, id int64) error {
	return f.store.SetHeld(ctx, by, id, false, "", nil)
}

// VerifySite has a site looked at. A broken site that answers soundly is enabled
// again.
func (f *Fleet) VerifySite(ctx context.Context, by string, id int64) (models.Task, error) {
	s, err := f.store.Site(ctx, id)
	if err != nil {
		return models.Task{}, err
	}
	if s.Database == (models.Database{}) {
		return models.Task{}, models.Errorf(models.Conflict, "%s is not installed. Install it first.", s.URI)
	}
	return f.start(ctx, models.Task{Kind: models.TaskVerify, Subject: siteSubject(id), Title: "Verify " + s.URI, Actor: by})
}

func (f *Fleet) verifySite(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	s, err := f.store.Site(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	p, err := f.store.Platform(ctx, s.PlatformID)
	if err != nil {
		return "", "", err
	}
	if err := f.cfg.Hosting.Verify(ctx, s, p, log); err != nil {
		return "", "", err
	}
	if s.State != models.SiteBroken {
		return s.URI + " answers", "", nil
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		return tx.MoveSite(ctx, t.Actor, s, models.SiteEnabled, "")
	})
	return s.URI + " answers, and is enabled again", "", err
}
