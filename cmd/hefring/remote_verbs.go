package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/web/api"
)

// What commands ask of a Hefring elsewhere: each verb is an operation of its API.
var _ door = (*farDoor)(nil)

// subjectDatabase is how the API's paths call a database server.
const subjectDatabase models.SubjectKind = "database"

// Actor lets everything pass: the other side knows what the token may do.
func (r *farDoor) Actor() models.Actor {
	return models.Actor{Name: "token", Role: models.RoleAdministrator}
}

func taskFrom(t api.Task) models.Task {
	return models.Task{
		ID: t.ID, Kind: t.Kind, Title: t.Title, State: t.State, Message: t.Message, Actor: t.Actor, Attempt: t.Attempt, CreatedAt: t.Created, StartedAt: t.Started, EndedAt: t.Ended,
	}
}

func (r *farDoor) siteFrom(s api.Site) models.Site {
	set := s.Settings
	return models.Site{
		ID: r.number(models.SubjectSite, s.URI), URI: s.URI, Title: s.Title, State: s.State, Reason: s.Reason, Profile: s.Profile, Language: s.Language,
		PlatformID: r.number(models.SubjectPlatform, s.Platform), Database: models.Database{Engine: s.Database}, Server: s.Server,
		Held: s.Held, HeldReason: s.HeldReason, HeldUntil: s.HeldUntil,
		Aliases: set.Aliases, Redirect: set.Redirect, HTTPS: set.HTTPS, Certificate: set.Certificate, CertificateKey: set.CertificateKey,
		Probes: set.Probes, ProbeText: set.ProbeText, CronEvery: time.Duration(set.CronSeconds) * time.Second,
		BackupEvery: time.Duration(set.BackupEverySeconds) * time.Second, BackupKeep: set.BackupKeep,
	}
}

func filterQuery(f fleet.Filter) url.Values {
	query := url.Values{}
	if f.Query != "" {
		query.Set("query", f.Query)
	}
	if f.State != "" {
		query.Set("state", f.State)
	}
	if f.Behind {
		query.Set("behind", "true")
	}
	return query
}

// Sites lists sites.
func (r *farDoor) Sites(ctx context.Context, f fleet.Filter) ([]fleet.SiteRow, int, error) {
	path := "/sites"
	if f.ServerID != 0 {
		path = r.path(f.ServerID, "sites")
	}
	list, total, err := listed[api.Site](ctx, r, path, filterQuery(f), f.Limit)
	return each(list, r.rowFrom), total, err
}

// each makes something of every item.
func each[A, B any](list []A, view func(A) B) []B {
	made := make([]B, 0, len(list))
	for _, one := range list {
		made = append(made, view(one))
	}
	return made
}

// SiteNamed finds a site by its address or an alias.
func (r *farDoor) SiteNamed(ctx context.Context, uri string) (models.Site, error) {
	var s api.Site
	if err := r.get(ctx, "/sites/"+url.PathEscape(uri), nil, &s); err != nil {
		return models.Site{}, err
	}
	return r.siteFrom(s), nil
}

func (r *farDoor) rowFrom(s api.Site) fleet.SiteRow {
	r.urls[s.URI] = s.URL
	row := fleet.SiteRow{
		Site: r.siteFrom(s), DistributionName: s.Distribution, Platform: models.Platform{Name: s.Platform, DrupalVersion: s.DrupalVersion}, RunningTaskID: s.RunningTask,
	}
	if s.UpgradeTarget != "" {
		row.Target = &models.Platform{ID: r.number(models.SubjectPlatform, s.UpgradeTarget), Name: s.UpgradeTarget}
	}
	return row
}

// SiteRow loads one site.
func (r *farDoor) SiteRow(ctx context.Context, siteID int64) (fleet.SiteRow, error) {
	var s api.Site
	if err := r.get(ctx, r.path(siteID), nil, &s); err != nil {
		return fleet.SiteRow{}, err
	}
	return r.rowFrom(s), nil
}

// SiteURL is where visitors find a site that was loaded before.
func (r *farDoor) SiteURL(site models.Site) string { return r.urls[site.URI] }

// SiteUpgrades lists a site's moves.
func (r *farDoor) SiteUpgrades(ctx context.Context, siteID int64, limit int) ([]models.Upgrade, error) {
	list, _, err := listed[api.Upgrade](ctx, r, r.path(siteID, "upgrades"), url.Values{}, limit)
	return each(list, upgradeFrom), err
}

func upgradeFrom(u api.Upgrade) models.Upgrade {
	return models.Upgrade{
		ID: u.ID, Kind: u.Kind, TaskID: u.Task, Mode: u.Mode, State: u.State, Reason: u.Reason, FailedStep: u.FailedStep, Switched: u.Switched,
		ReadOnly: time.Duration(u.ReadOnlySeconds * float64(time.Second)), Updates: make([]models.PendingUpdate, max(0, u.Updates)),
		StartedAt: u.Started, EndedAt: u.Ended, RolledBackAt: u.RolledBack,
	}
}

// UpgradePlan says what an upgrade would do.
func (r *farDoor) UpgradePlan(ctx context.Context, siteID int64) (fleet.Plan, error) {
	var quote api.Plan
	err := r.get(ctx, r.path(siteID, "upgrade"), nil, &quote)
	plan := fleet.Plan{From: models.Platform{Name: quote.From}, To: models.Platform{Name: quote.To}, Changes: quote.Changes, RunningTask: quote.RunningTask}
	if quote.Asked && quote.AskedAt != nil {
		plan.Comparison = &models.Comparison{Updates: quote.Updates, Blockers: quote.Blockers, MadeAt: *quote.AskedAt}
	}
	return plan, err
}

// CompareNow asks Drush what an upgrade would do.
func (r *farDoor) CompareNow(ctx context.Context, siteID int64) (models.Task, error) {
	return r.on(ctx, siteID, "compare", nil)
}

// RetryInstall tries an installation again.
func (r *farDoor) RetryInstall(ctx context.Context, siteID int64) (models.Task, error) {
	return r.on(ctx, siteID, "install", nil)
}

// CreateSite has a site installed.
func (r *farDoor) CreateSite(ctx context.Context, in fleet.NewSite) (models.Site, error) {
	return r.newSite(ctx, "/sites", in.URI, map[string]any{
		"uri": in.URI, "platform": r.name(in.PlatformID), "profile": in.Profile, "title": in.Title, "language": in.Language, "database": r.name(in.DatabaseServerID), "server": r.name(in.ServerID),
	})
}

// CloneSite has a site made from another.
func (r *farDoor) CloneSite(ctx context.Context, in fleet.NewClone) (models.Site, error) {
	body := map[string]any{
		"from_site": r.name(in.FromSite), "from_backup": in.FromBackup, "from_import": in.FromFound, "folder": in.Folder,
		"uri": in.URI, "title": in.Title, "platform": r.name(in.PlatformID), "database": r.name(in.DatabaseServerID),
	}
	if in.ServerID != nil {
		body["server"] = r.serverName(*in.ServerID)
	}
	return r.newSite(ctx, "/clones", in.URI, body)
}

// newSite remembers the task that makes the site, for SubjectTasks.
func (r *farDoor) newSite(ctx context.Context, path, uri string, body any) (models.Site, error) {
	task, err := r.start(ctx, http.MethodPost, path, nil, body)
	if err != nil {
		return models.Site{}, err
	}
	site := models.Site{ID: r.number(models.SubjectSite, uri), URI: uri}
	r.made[models.Subject{Kind: models.SubjectSite, ID: site.ID}] = task
	return site, nil
}

// SubjectTasks gives the task that made something.
func (r *farDoor) SubjectTasks(_ context.Context, subjects []models.Subject, _ int) ([]models.Task, error) {
	var list []models.Task
	for _, s := range subjects {
		if task, ok := r.made[s]; ok {
			list = append(list, task)
		}
	}
	return list, nil
}

// on has work queued on what has a number here.
func (r *farDoor) on(ctx context.Context, id int64, verb string, body any) (models.Task, error) {
	return r.start(ctx, http.MethodPost, r.path(id, verb), nil, body)
}

// UpgradeToTarget moves a site to its upgrade target.
func (r *farDoor) UpgradeToTarget(ctx context.Context, siteID int64) (models.Task, error) {
	return r.on(ctx, siteID, "upgrade", nil)
}

// RollbackPlan says what taking a site's last move back would lose.
func (r *farDoor) RollbackPlan(ctx context.Context, siteID int64) (fleet.RollbackPlan, error) {
	var quote api.Rollback
	err := r.get(ctx, r.path(siteID, "rollback"), nil, &quote)
	return fleet.RollbackPlan{Upgrade: models.Upgrade{ID: quote.Upgrade}, To: models.Platform{Name: quote.To}, Until: quote.Until, Loss: quote.Loss}, err
}

// RollbackSite takes a site's move back.
func (r *farDoor) RollbackSite(ctx context.Context, siteID, upgradeID int64) (models.Task, error) {
	return r.on(ctx, siteID, "rollback", map[string]int64{"upgrade": upgradeID})
}

// RelocateSite moves a site to another server.
func (r *farDoor) RelocateSite(ctx context.Context, siteID, serverID int64) (models.Task, error) {
	return r.on(ctx, siteID, "move", map[string]any{"server": r.serverName(serverID)})
}

// VerifySite looks whether a site is sound.
func (r *farDoor) VerifySite(ctx context.Context, siteID int64) (models.Task, error) {
	return r.on(ctx, siteID, "verify", nil)
}

// DisableSite takes a site off the web.
func (r *farDoor) DisableSite(ctx context.Context, siteID int64) (models.Task, error) {
	return r.on(ctx, siteID, "disable", nil)
}

// EnableSite puts a site onto the web again.
func (r *farDoor) EnableSite(ctx context.Context, siteID int64) (models.Task, error) {
	return r.on(ctx, siteID, "enable", nil)
}

// RunCron runs a site's cron.
func (r *farDoor) RunCron(ctx context.Context, siteID int64) (models.Task, error) {
	return r.on(ctx, siteID, "cron", nil)
}

// LoginToSite makes a one-time link.
func (r *farDoor) LoginToSite(ctx context.Context, siteID int64) (string, error) {
	var link struct {
		URL string `json:"url"`
	}
	err := r.post(ctx, r.path(siteID, "login"), nil, &link)
	return link.URL, err
}

// HoldSite keeps a site where it is.
func (r *farDoor) HoldSite(ctx context.Context, siteID int64, reason string, until *time.Time) error {
	body := map[string]any{"reason": reason}
	if until != nil {
		body["until"] = until
	}
	return r.post(ctx, r.path(siteID, "hold"), body, nil)
}

// ReleaseSite ends a hold.
func (r *farDoor) ReleaseSite(ctx context.Context, siteID int64) error {
	return r.post(ctx, r.path(siteID, "release"), nil, nil)
}

// ConfigureSite replaces a site's settings.
func (r *farDoor) ConfigureSite(ctx context.Context, siteID int64, in fleet.SiteSettings) (models.Task, error) {
	return r.start(ctx, http.MethodPut, r.path(siteID, "settings"), nil, api.Settings{
		Aliases: in.Aliases, Redirect: in.Redirect, HTTPS: in.HTTPS, Certificate: in.Certificate, CertificateKey: in.CertificateKey,
		Probes: in.Probes, ProbeText: in.ProbeText, CronSeconds: int64(in.CronEvery / time.Second),
		BackupEverySeconds: int64(in.BackupEvery / time.Second), BackupKeep: in.BackupKeep,
	})
}

// DeleteSite deletes a site.
func (r *farDoor) DeleteSite(ctx context.Context, siteID int64, confirm string, backup bool) (models.Task, error) {
	query := url.Values{"confirm": {confirm}, "backup": {strconv.FormatBool(backup)}}
	return r.start(ctx, http.MethodDelete, r.path(siteID), query, nil)
}

// FindSites looks for sites in a folder there.
func (r *farDoor) FindSites(ctx context.Context, root string) (models.Task, error) {
	return r.start(ctx, http.MethodPost, "/imports", nil, map[string]string{"root": root})
}

// FoundSites gives what a search found.
func (r *farDoor) FoundSites(ctx context.Context, taskID int64) ([]models.FoundSite, error) {
	var page api.Page[models.FoundSite]
	err := r.get(ctx, "/imports/"+strconv.FormatInt(taskID, 10), nil, &page)
	return page.Items, err
}

// BackupSite backs a site up.
func (r *farDoor) BackupSite(ctx context.Context, siteID int64, note string, keep bool) (models.Task, error) {
	return r.on(ctx, siteID, "backups", map[string]any{"note": note, "keep": keep})
}

func (r *farDoor) backupFrom(b api.Backup) models.Backup {
	return models.Backup{
		ID: b.ID, SiteID: r.number(models.SubjectSite, b.Site), URI: b.Site, Purpose: b.Purpose, State: b.State, Note: b.Note, Reason: b.Reason,
		DrupalVersion: b.DrupalVersion, Engine: b.Engine, Bytes: b.Bytes, Digest: b.Digest, Tables: b.Tables, Files: b.Files, Keep: b.Keep, CreatedAt: b.Created,
	}
}

// Backups lists a site's backups.
func (r *farDoor) Backups(ctx context.Context, siteID int64, limit int) ([]models.Backup, error) {
	list, _, err := listed[api.Backup](ctx, r, r.path(siteID, "backups"), url.Values{}, limit)
	return each(list, r.backupFrom), err
}

func backupPath(id int64) string { return "/backups/" + strconv.FormatInt(id, 10) }

// Backup loads one.
func (r *farDoor) Backup(ctx context.Context, id int64) (models.Backup, error) {
	var b api.Backup
	if err := r.get(ctx, backupPath(id), nil, &b); err != nil {
		return models.Backup{}, err
	}
	return r.backupFrom(b), nil
}

// KeepBackup says whether a backup stays.
func (r *farDoor) KeepBackup(ctx context.Context, id int64, keep bool) error {
	return r.ask(ctx, http.MethodPut, backupPath(id)+"/keep", nil, map[string]bool{"keep": keep}, nil)
}

// DeleteBackup deletes one.
func (r *farDoor) DeleteBackup(ctx context.Context, id int64) error {
	return r.ask(ctx, http.MethodDelete, backupPath(id), nil, nil, nil)
}

// RestoreSite brings a backup back.
func (r *farDoor) RestoreSite(ctx context.Context, backupID, platformID int64) (models.Task, error) {
	platform := r.name(platformID)
	if platform == "" {
		return models.Task{}, models.Errorf(models.Invalid, "The API does not say which platform a backup was made on. Leave --own-platform out, or run this on the server.")
	}
	return r.start(ctx, http.MethodPost, backupPath(backupID)+"/restore", nil, map[string]string{"platform": platform})
}

// Platforms lists platforms.
func (r *farDoor) Platforms(ctx context.Context, f fleet.Filter) ([]fleet.PlatformRow, int, error) {
	list, total, err := listed[api.Platform](ctx, r, "/platforms", filterQuery(f), f.Limit)
	return each(list, r.platformRowFrom), total, err
}

func (r *farDoor) platformRowFrom(p api.Platform) fleet.PlatformRow {
	row := fleet.PlatformRow{Platform: r.platformFrom(p), DistributionName: p.Distribution, Sites: p.Sites}
	if p.UpgradeTarget {
		row.TargetID = &row.ID
	}
	return row
}

func (r *farDoor) platformFrom(p api.Platform) models.Platform {
	return models.Platform{
		ID: r.number(models.SubjectPlatform, p.Name), Name: p.Name, State: p.State, Reason: p.Reason, DrupalVersion: p.DrupalVersion, Revision: p.Revision, Locked: p.Locked,
	}
}

// PlatformNamed finds a platform by its name.
func (r *farDoor) PlatformNamed(ctx context.Context, name string) (models.Platform, error) {
	var p api.Platform
	if err := r.get(ctx, "/platforms/"+url.PathEscape(name), nil, &p); err != nil {
		return models.Platform{}, err
	}
	return r.platformFrom(p), nil
}

// VerifyPlatform compares a platform's files with those that were built.
func (r *farDoor) VerifyPlatform(ctx context.Context, id int64) (models.Task, error) {
	return r.on(ctx, id, "verify", nil)
}

// LockPlatform bars a platform from new sites.
func (r *farDoor) LockPlatform(ctx context.Context, id int64) error {
	return r.post(ctx, r.path(id, "lock"), nil, nil)
}

// UnlockPlatform lets a platform take new sites.
func (r *farDoor) UnlockPlatform(ctx context.Context, id int64) error {
	return r.post(ctx, r.path(id, "unlock"), nil, nil)
}

// SetTarget makes a platform the upgrade target.
func (r *farDoor) SetTarget(ctx context.Context, id int64) error {
	return r.post(ctx, r.path(id, "target"), nil, nil)
}

// UpgradePlatformToTarget upgrades a platform's sites.
func (r *farDoor) UpgradePlatformToTarget(ctx context.Context, id int64) (models.Task, error) {
	return r.on(ctx, id, "upgrade", nil)
}

// RetryBuild builds a failed platform again.
func (r *farDoor) RetryBuild(ctx context.Context, id int64) (models.Task, error) {
	return r.on(ctx, id, "build", nil)
}

// DeletePlatform deletes a platform.
func (r *farDoor) DeletePlatform(ctx context.Context, id int64) (models.Task, error) {
	return r.start(ctx, http.MethodDelete, r.path(id), nil, nil)
}

func (r *farDoor) distributionFrom(d api.Distribution) fleet.DistributionRow {
	one := models.Distribution{
		ID: r.number(models.SubjectDistribution, d.Slug), Name: d.Name, Slug: d.Slug, UpdateType: d.Type, Condition: d.Condition, Reason: d.Reason,
		Signature: d.Revision, Observed: d.Observed, LastCheckAt: d.CheckedAt,
		Settings: d.Source.Settings, RebuildDays: d.Source.RebuildDays, KeepPlatforms: d.Source.KeepPlatforms,
	}
	if s := d.Source.CheckSeconds; s != nil {
		one.CheckEvery = new(time.Duration(*s) * time.Second)
	}
	set := map[string]bool{}
	for _, name := range d.Source.Secrets {
		set[name] = true
	}
	r.secrets[one.ID] = set
	return fleet.DistributionRow{
		Distribution: one, TargetName: d.UpgradeTarget, TargetVersion: d.DrupalVersion, Platforms: d.Platforms, Sites: d.Sites, Behind: d.Behind,
	}
}

// Distributions lists distributions, or gives the one that a filter names.
func (r *farDoor) Distributions(ctx context.Context, f fleet.Filter) ([]fleet.DistributionRow, int, error) {
	if f.DistributionID != 0 {
		var d api.Distribution
		err := r.get(ctx, r.path(f.DistributionID), nil, &d)
		return []fleet.DistributionRow{r.distributionFrom(d)}, 1, err
	}
	list, total, err := listed[api.Distribution](ctx, r, "/distributions", filterQuery(f), f.Limit)
	return each(list, r.distributionFrom), total, err
}

// DistributionNamed finds a distribution by its short name.
func (r *farDoor) DistributionNamed(ctx context.Context, slug string) (models.Distribution, error) {
	var d api.Distribution
	if err := r.get(ctx, "/distributions/"+url.PathEscape(slug), nil, &d); err != nil {
		return models.Distribution{}, err
	}
	return r.distributionFrom(d).Distribution, nil
}

// CheckNow looks at a distribution's source.
func (r *farDoor) CheckNow(ctx context.Context, id int64) (models.Task, error) {
	return r.on(ctx, id, "check", nil)
}

// TryAgain lets checks go on.
func (r *farDoor) TryAgain(ctx context.Context, id int64) (models.Task, error) {
	return r.on(ctx, id, "retry", nil)
}

// DistributionChecks lists the last looks at a source.
func (r *farDoor) DistributionChecks(ctx context.Context, id int64, limit int) ([]models.Check, error) {
	list, _, err := listed[api.Check](ctx, r, r.path(id, "checks"), url.Values{}, limit)
	return each(list, func(c api.Check) models.Check {
		return models.Check{
			ID: c.ID, Trigger: c.Trigger, Outcome: c.Outcome, OldRevision: c.OldRevision, NewRevision: c.NewRevision, Message: c.Message, Times: c.Times,
			StartedAt: c.Started, EndedAt: c.Ended,
		}
	}), err
}

// Pending gives the version that is held back.
func (r *farDoor) Pending(ctx context.Context, id int64) (plugins.Version, bool, error) {
	var held api.HeldVersion
	err := r.get(ctx, r.path(id, "held"), nil, &held)
	if models.CodeOf(err) == models.NotFound {
		return plugins.Version{}, false, nil
	}
	return plugins.Version{Revision: held.Revision, Label: held.Label, Note: held.Note, Security: held.Security}, err == nil, err
}

// Approve has the version built that is held back.
func (r *farDoor) Approve(ctx context.Context, id int64, revision string) (models.Platform, error) {
	return r.build(ctx, r.path(id, "approve"), map[string]string{"revision": revision})
}

// RegisterPlatform makes a platform of a folder there.
func (r *farDoor) RegisterPlatform(ctx context.Context, id int64, folder, _ string) (models.Platform, error) {
	return r.build(ctx, r.path(id, "platforms"), map[string]string{"folder": folder})
}

// build remembers the task that makes a platform, for SubjectTasks. The platform's
// name is not known here.
func (r *farDoor) build(ctx context.Context, path string, body any) (models.Platform, error) {
	task, err := r.start(ctx, http.MethodPost, path, nil, body)
	if err != nil {
		return models.Platform{}, err
	}
	p := models.Platform{ID: r.number(models.SubjectPlatform, "of task "+strconv.FormatInt(task.ID, 10))}
	r.made[models.Subject{Kind: models.SubjectPlatform, ID: p.ID}] = task
	return p, nil
}

// QueueRows lists the queues of checks.
func (r *farDoor) QueueRows(ctx context.Context, _ time.Time) ([]fleet.QueueRow, error) {
	list, _, err := listed[api.Queue](ctx, r, "/queues", url.Values{}, remotePage)
	return each(list, func(q api.Queue) fleet.QueueRow {
		queue := models.Queue{UpdateType: q.Type, Every: time.Duration(q.EverySeconds) * time.Second, AtOnce: q.AtOnce, Paused: q.Paused}
		return fleet.QueueRow{
			Queue: queue, Sources: q.Sources, Waiting: q.Waiting, Running: q.Running, NextRunAt: q.NextAt, Lag: time.Duration(q.LagSeconds * float64(time.Second)),
		}
	}), err
}

// RunQueueNow looks at every source of a type.
func (r *farDoor) RunQueueNow(ctx context.Context, updateType string) (int, error) {
	var run struct {
		Started int `json:"started"`
	}
	err := r.post(ctx, queuePath(updateType)+"/run", nil, &run)
	return run.Started, err
}

// PauseQueue stops or resumes a queue.
func (r *farDoor) PauseQueue(ctx context.Context, updateType string, paused bool) error {
	return r.post(ctx, queuePath(updateType)+pausing(paused), nil, nil)
}

// SaveQueue changes a queue.
func (r *farDoor) SaveQueue(ctx context.Context, q models.Queue) error {
	body := map[string]int64{"every_seconds": int64(q.Every / time.Second), "at_once": int64(q.AtOnce)}
	return r.ask(ctx, http.MethodPut, queuePath(q.UpdateType), nil, body, nil)
}

func queuePath(updateType string) string { return "/queues/" + url.PathEscape(updateType) }

// HostRows lists the hosts that sources are asked at.
func (r *farDoor) HostRows(ctx context.Context, _ time.Time) ([]fleet.HostRow, error) {
	list, _, err := listed[api.Host](ctx, r, "/hosts", url.Values{}, maxHosts)
	return each(list, func(h api.Host) fleet.HostRow {
		host := models.Host{Name: h.Name, AtOnce: h.AtOnce, PerMinute: h.PerMinute, BlockedUntil: h.BlockedUntil, Requests: h.Requests}
		return fleet.HostRow{Host: host, Upstreams: h.Sources, Failing: h.Failing, Stalled: h.Stalled}
	}), err
}

// SaveHost changes how much is asked of a host.
func (r *farDoor) SaveHost(ctx context.Context, h models.Host) error {
	body := map[string]int{"at_once": h.AtOnce, "per_minute": h.PerMinute}
	return r.ask(ctx, http.MethodPut, "/hosts/"+url.PathEscape(h.Name), nil, body, nil)
}

// TestDatabaseServer asks a server again.
func (r *farDoor) TestDatabaseServer(ctx context.Context, id int64) error {
	return r.post(ctx, r.path(id, "test"), nil, nil)
}

// DeleteDatabaseServer forgets a server.
func (r *farDoor) DeleteDatabaseServer(ctx context.Context, id int64) error {
	return r.ask(ctx, http.MethodDelete, r.path(id), nil, nil, nil)
}

func taskPath(id int64) string { return "/tasks/" + strconv.FormatInt(id, 10) }

// Task loads one.
func (r *farDoor) Task(ctx context.Context, id int64) (models.Task, error) {
	var t api.Task
	err := r.get(ctx, taskPath(id), nil, &t)
	return taskFrom(t), err
}

// Tasks lists tasks, newest first.
func (r *farDoor) Tasks(ctx context.Context, f fleet.Filter) ([]models.Task, int, error) {
	list, total, err := listed[api.Task](ctx, r, "/tasks", filterQuery(f), f.Limit)
	return each(list, taskFrom), total, err
}

// Lines gives lines of a task's log.
func (r *farDoor) Lines(ctx context.Context, taskID, after int64, limit int) ([]models.TaskLine, error) {
	var log struct {
		Lines []api.Line `json:"lines"`
	}
	query := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(limit)}}
	err := r.get(ctx, taskPath(taskID)+"/log", query, &log)
	lines := make([]models.TaskLine, 0, len(log.Lines))
	for _, l := range log.Lines {
		lines = append(lines, models.TaskLine{ID: l.ID, TaskID: taskID, At: l.At, Step: l.Step, Level: l.Level, Text: l.Text})
	}
	return lines, err
}

// CancelTask cancels a task.
func (r *farDoor) CancelTask(ctx context.Context, id int64) error {
	return r.post(ctx, taskPath(id)+"/cancel", nil, nil)
}

// RetryTask does the same work once more.
func (r *farDoor) RetryTask(ctx context.Context, id int64) (models.Task, error) {
	return r.start(ctx, http.MethodPost, taskPath(id)+"/retry", nil, nil)
}
