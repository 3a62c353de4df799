package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hefring/models"
)

// LoginToSite makes a link that signs one person in as the site's first user,
// once. It is a secret.
func (f *Fleet) LoginToSite(ctx context.Context, by string, siteID int64) (string, error) {
	site, err := f.installed(ctx, siteID)
	if err != nil {
		return "", err
	}
	if site.State != models.SiteEnabled {
		return "", models.Errorf(models.Conflict, "%s is %s. Only an enabled site lets people in.", site.URI, site.State)
	}
	var link string
	if f.here(site) {
		link, err = f.makeLogin(ctx, site)
	} else {
		link, err = f.askLogin(ctx, by, site)
	}
	if err != nil {
		return "", err
	}
	return link, f.store.RecordEvent(ctx, f.event(by, "login", siteSubject(siteID), "Made a one-time login link."))
}

// makeLogin makes the link on the server that the site is on, which is this one.
func (f *Fleet) makeLogin(ctx context.Context, site models.Site) (string, error) {
	p, err := f.store.Platform(ctx, site.PlatformID)
	if err != nil {
		return "", err
	}
	return f.cfg.Hosting.LoginLink(ctx, site, p)
}

func cronTask(by string, site models.Site) models.Task {
	return models.Task{Kind: models.TaskCron, Subject: siteSubject(site.ID), Title: "Run cron of " + site.URI, Actor: by}
}

// RunCron has a site's cron run now.
func (f *Fleet) RunCron(ctx context.Context, by string, siteID int64) (models.Task, error) {
	site, err := f.installed(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	if site.State != models.SiteEnabled {
		return models.Task{}, models.Errorf(models.Conflict, "%s is %s. Cron runs on enabled sites only.", site.URI, site.State)
	}
	return f.start(ctx, cronTask(by, site))
}

func (f *Fleet) runCron(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	site, p, err := f.siteAndPlatform(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	if site.State != models.SiteEnabled {
		return fmt.Sprintf("%s is %s by now.", site.URI, site.State), models.TaskCancelled, nil
	}
	if err := f.cfg.Hosting.Cron(ctx, site, p, log); err != nil {
		return "", "", err
	}
	return "Cron of " + site.URI + " ran", "", nil
}

func (f *Fleet) siteAndPlatform(ctx context.Context, siteID int64) (models.Site, models.Platform, error) {
	site, err := f.store.Site(ctx, siteID)
	if err != nil {
		return site, models.Platform{}, err
	}
	p, err := f.store.Platform(ctx, site.PlatformID)
	return site, p, err
}

// DisableSite has a site taken off the web. Its content stays.
func (f *Fleet) DisableSite(ctx context.Context, by string, siteID int64) (models.Task, error) {
	return f.turn(ctx, by, siteID, models.SiteEnabled, models.Task{Kind: models.TaskDisable, Title: "Disable "})
}

// EnableSite has a disabled site put onto the web again.
func (f *Fleet) EnableSite(ctx context.Context, by string, siteID int64) (models.Task, error) {
	return f.turn(ctx, by, siteID, models.SiteDisabled, models.Task{Kind: models.TaskEnable, Title: "Enable "})
}

func (f *Fleet) turn(ctx context.Context, by string, siteID int64, from models.SiteState, t models.Task) (models.Task, error) {
	site, err := f.installed(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	if site.State != from {
		return models.Task{}, models.Errorf(models.Conflict, "%s is %s.", site.URI, site.State)
	}
	t.Subject, t.Title, t.Actor = siteSubject(siteID), t.Title+site.URI, by
	return f.start(ctx, t)
}

// runTurn is the task that enables or disables a site. The web server is changed
// first: a kill in between repeats what was done.
func (f *Fleet) runTurn(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	site, p, err := f.siteAndPlatform(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	was, to := site, models.SiteEnabled
	if t.Kind == models.TaskDisable {
		to = models.SiteDisabled
	}
	if site.State == to {
		return fmt.Sprintf("%s is %s", site.URI, to), "", nil
	}
	site.State = to
	err = f.cfg.Hosting.Configure(ctx, site, log)
	if err == nil && to == models.SiteEnabled {
		err = f.cfg.Hosting.Verify(ctx, site, p, log)
	}
	if err != nil {
		if handedOn(ctx) {
			return "", "", context.Cause(ctx)
		}
		return "", "", errors.Join(err, f.cfg.Hosting.Configure(context.WithoutCancel(ctx), was, log))
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		return tx.MoveSite(ctx, t.Actor, was, to, "")
	})
	return fmt.Sprintf("%s is %s", site.URI, to), "", err
}

// ConfigureSite changes how a site is served and looked after, and has the web
// server follow.
func (f *Fleet) ConfigureSite(ctx context.Context, by string, siteID int64, in SiteSettings) (models.Task, error) {
	site, err := f.store.Site(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	if site.State == models.SiteDeleting || site.State == models.SiteDeleted {
		return models.Task{}, models.Errorf(models.Conflict, "%s is %s.", site.URI, site.State)
	}
	f.adopt(&site, in)
	if wrong := siteProblems(&site); len(wrong) > 0 {
		return models.Task{}, models.InvalidFields(wrong)
	}
	task := configureTask(by, site)
	err = f.store.InTx(ctx, func(tx Tx) error {
		// First the task: it keeps others off the site while the row changes.
		if err := tx.CreateTask(ctx, &task); err != nil {
			return err
		}
		return tx.ConfigureSite(ctx, by, site)
	})
	return f.orRunning(ctx, task, err)
}

func configureTask(by string, site models.Site) models.Task {
	return models.Task{Kind: models.TaskConfigure, Subject: siteSubject(site.ID), Title: "Configure " + site.URI, Actor: by}
}

// SettingsOf gives a site's settings as they are.
func SettingsOf(s models.Site) SiteSettings {
	return SiteSettings{
		Aliases: s.Aliases, Redirect: s.Redirect, HTTPS: s.HTTPS, Certificate: s.Certificate, CertificateKey: s.CertificateKey,
		Probes: s.Probes, ProbeText: s.ProbeText, CronEvery: s.CronEvery, BackupEvery: s.BackupEvery, BackupKeep: s.BackupKeep,
	}
}

// adopt puts what a person typed into the site.
func (f *Fleet) adopt(site *models.Site, in SiteSettings) {
	site.Aliases = nil
	for _, alias := range in.Aliases {
		if alias = strings.ToLower(strings.TrimSpace(alias)); alias != "" {
			site.Aliases = append(site.Aliases, alias)
		}
	}
	site.Probes = nil
	for _, path := range in.Probes {
		if path = strings.TrimSpace(path); path != "" {
			site.Probes = append(site.Probes, path)
		}
	}
	site.Redirect, site.HTTPS, site.ProbeText = in.Redirect, in.HTTPS, strings.TrimSpace(in.ProbeText)
	site.Certificate, site.CertificateKey = strings.TrimSpace(in.Certificate), strings.TrimSpace(in.CertificateKey)
	now := f.cfg.Now()
	reschedule := func(every *time.Duration, next **time.Time, to time.Duration) {
		if *every == to {
			return
		}
		at := now.Add(jitter(to))
		*every, *next = to, &at
	}
	reschedule(&site.CronEvery, &site.CronNextAt, in.CronEvery)
	reschedule(&site.BackupEvery, &site.BackupNextAt, in.BackupEvery)
	site.BackupKeep = in.BackupKeep
}

// Limits of a site's settings.
const (
	maxAliases = 100
	maxProbes  = 20
	maxKept    = 1000
)

func siteProblems(s *models.Site) map[string]string {
	wrong := s.Validate()
	maps.DeleteFunc(wrong, func(field, _ string) bool { return field == "profile" || field == "title" || field == "uri" }) // not changed here
	switch {
	case len(s.Aliases) > maxAliases:
		wrong["aliases"] = fmt.Sprintf("Use at most %d.", maxAliases)
	case slices.Contains(s.Aliases, s.URI):
		wrong["aliases"] = s.URI + " is the site's own address already."
	default:
		for i, alias := range s.Aliases {
			if slices.Contains(s.Aliases[:i], alias) {
				wrong["aliases"] = alias + " stands there twice."
			}
		}
	}
	switch {
	case s.HTTPS != models.HTTPSOff && s.HTTPS != models.HTTPSOn && s.HTTPS != models.HTTPSRequired:
		wrong["https"] = "Choose off, on or required."
	case s.HTTPS != models.HTTPSOff && (!filepath.IsAbs(s.Certificate) || !filepath.IsAbs(s.CertificateKey)):
		wrong["certificate"] = "Name the files of the certificate and of its key on the server, each as an absolute path."
	}
	if len(s.Probes) > maxProbes || slices.ContainsFunc(s.Probes, func(p string) bool {
		return !strings.HasPrefix(p, "/") || len(p) > 500 || strings.ContainsAny(p, "# \x00\r\n")
	}) {
		wrong["probes"] = fmt.Sprintf("Use at most %d paths such as /news, one a line.", maxProbes)
	}
	if len(s.ProbeText) > 200 {
		wrong["probe_text"] = "Use at most 200 characters."
	}
	if s.CronEvery != 0 && (s.CronEvery < time.Minute || s.CronEvery > maxInterval) {
		wrong["cron_every"] = "Choose a minute or more, or leave it empty."
	}
	if s.BackupEvery != 0 && (s.BackupEvery < time.Hour || s.BackupEvery > maxInterval) {
		wrong["backup_every"] = "Choose an hour or more, or leave it empty."
	}
	if s.BackupKeep < 0 || s.BackupKeep > maxKept || s.BackupEvery != 0 && s.BackupKeep == 0 {
		wrong["backup_keep"] = fmt.Sprintf("Say how many scheduled backups stay, from 1 to %d.", maxKept)
	}
	return wrong
}

func (f *Fleet) runConfigure(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	site, err := f.store.Site(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	if site.Database == (models.Database{}) {
		return site.URI + " is served so once it is installed", "", nil
	}
	if err := f.cfg.Hosting.Configure(ctx, site, log); err != nil {
		return "", "", err
	}
	return "The web server serves " + strings.Join(site.Names(), ", "), "", nil
}

// DeleteSite has a site removed with all that it has, if confirm is its address.
// With backup, its content is backed up first, and without that backup nothing
// is removed.
func (f *Fleet) DeleteSite(ctx context.Context, by string, siteID int64, confirm string, backup bool) (models.Task, error) {
	site, err := f.store.Site(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	if strings.ToLower(strings.TrimSpace(confirm)) != site.URI {
		return models.Task{}, models.InvalidField("confirm", "Type "+site.URI+" to say that you mean this site.")
	}
	if site.State == models.SiteUpgrading || site.State == models.SiteDeleted {
		return models.Task{}, models.Errorf(models.Conflict, "%s is %s.", site.URI, site.State)
	}
	task := models.Task{Kind: models.TaskDelete, Subject: siteSubject(siteID), Title: "Delete " + site.URI, Actor: by}
	if backup && site.Database != (models.Database{}) {
		task.Args = models.Settings{"backup": "1"}
	}
	return f.start(ctx, task)
}

// runDelete is the task that deletes a site or a platform.
func (f *Fleet) runDelete(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	if t.Subject.Kind == models.SubjectPlatform {
		return f.deletePlatform(ctx, t, log)
	}
	site, err := f.store.Site(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	switch site.State {
	case models.SiteDeleted:
		return site.URI + " is deleted", "", nil
	case models.SiteUpgrading:
		return "", "", models.Errorf(models.Conflict, "%s is being upgraded.", site.URI)
	default:
	}
	if err := f.lastBackup(ctx, t, site, log); err != nil {
		return "", "", err
	}
	if site.State != models.SiteDeleting {
		if err := f.store.MoveSite(ctx, t.Actor, site, models.SiteDeleting, ""); err != nil {
			return "", "", err
		}
		site.State = models.SiteDeleting
	}
	platforms, err := f.store.PlatformsIn(ctx, models.PlatformReady, models.PlatformFailed)
	if err != nil {
		return "", "", err
	}
	// From here on there is no way back, so it is not stopped half-way either.
	if err := f.cfg.Hosting.Delete(ctx, site, platforms, log); err != nil {
		return "", "", err
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		kept, err := tx.KeptUpgrades(ctx, site.ID)
		if err != nil {
			return err
		}
		now := f.cfg.Now()
		for _, u := range kept {
			u.DroppedOldAt = &now
			if err := tx.SaveUpgrade(ctx, u); err != nil {
				return err
			}
		}
		return tx.MoveSite(ctx, t.Actor, site, models.SiteDeleted, "")
	})
	return site.URI + " is deleted", "", err
}

// lastBackup backs up a site that is about to be deleted, if that was wished.
func (f *Fleet) lastBackup(ctx context.Context, t models.Task, site models.Site, log Log) error {
	if t.Args["backup"] == "" || site.State == models.SiteDeleting { // deleting: it was made
		return nil
	}
	log.Step("backup")
	b, err := f.store.BackupOfTask(ctx, t.ID)
	if models.CodeOf(err) == models.NotFound {
		b = models.Backup{TaskID: t.ID, Purpose: models.BackupDelete, Keep: true, Note: "Before it was deleted"}
		err = f.store.CreateBackup(ctx, f.backupOf(site, &b))
	}
	if err != nil || b.State == models.BackupReady {
		return err
	}
	_, _, err = f.makeBackup(ctx, t, site, b, log)
	return err
}
