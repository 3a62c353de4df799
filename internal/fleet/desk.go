package fleet

import (
	"context"
	"time"

	"hefring/models"
	"hefring/plugins"
)

// Desk is the fleet as one actor has it: what a door (pages, API, command line)
// gets. It has the use cases with the actor's permissions in front of them, and the
// questions narrowed to what is there for the actor. A use case that is not here is
// open to no door.
type Desk struct {
	fleet *Fleet
	by    models.Actor
}

// For gives the fleet as an actor has it.
func (f *Fleet) For(by models.Actor) *Desk { return &Desk{f.Through(by.Entrance), by} }

// Actor is whose desk it is.
func (d *Desk) Actor() models.Actor { return d.by }

// may fails with Forbidden when the actor's role does not allow something.
func (d *Desk) may(p models.Permission) error { return d.by.Needs(p) }

// onSite fails when the actor may not do something, or the site is not there for
// the actor.
func (d *Desk) onSite(ctx context.Context, siteID int64, p models.Permission) error {
	if err := d.may(p); err != nil || !d.by.Bound() {
		return err
	}
	site, err := d.fleet.store.Site(ctx, siteID)
	if err != nil {
		return err
	}
	return d.sees(site)
}

// sees answers as if a site that is not the actor's did not exist.
func (d *Desk) sees(site models.Site) error {
	if d.by.Sees(site) {
		return nil
	}
	return models.Errorf(models.NotFound, "There is no site %d.", site.ID)
}

func (d *Desk) onBackup(ctx context.Context, backupID int64, p models.Permission) error {
	if err := d.may(p); err != nil || !d.by.Bound() {
		return err
	}
	b, err := d.fleet.store.Backup(ctx, backupID)
	if err != nil {
		return err
	}
	if d.onSite(ctx, b.SiteID, p) != nil {
		return models.Errorf(models.NotFound, "There is no backup %d.", backupID)
	}
	return nil
}

// onTask is for tasks on the actor's sites; others are not there for users of a
// client.
func (d *Desk) onTask(ctx context.Context, taskID int64, p models.Permission) error {
	if err := d.may(p); err != nil || !d.by.Bound() {
		return err
	}
	t, err := d.fleet.store.Task(ctx, taskID)
	if err != nil {
		return err
	}
	if d.onSubject(ctx, t.Subject) != nil {
		return models.Errorf(models.NotFound, "There is no task %d.", taskID)
	}
	return nil
}

func (d *Desk) onSubject(ctx context.Context, s models.Subject) error {
	if !s.Kind.OfSite() {
		return d.may(models.MaySeeFleet)
	}
	return d.onSite(ctx, s.ID, models.MaySeeSites)
}

// narrow bounds a question to what is there for the actor.
func (d *Desk) narrow(f Filter) Filter {
	if d.by.Bound() {
		f.ClientID = d.by.ClientID
	}
	return f
}

// Fleet counts what is there for the actor.
func (d *Desk) Fleet(ctx context.Context, f Filter) (Counts, error) {
	if err := d.may(models.MaySeeSites); err != nil {
		return Counts{}, err
	}
	return d.fleet.Fleet(ctx, d.narrow(f))
}

// Decisions lists what needs a decision, most urgent first.
func (d *Desk) Decisions(ctx context.Context, f Filter) ([]Decision, error) {
	return guarded(d, models.MaySeeSites, func() ([]Decision, error) { return d.fleet.Decisions(ctx, d.narrow(f)) })
}

// RunningTasks lists tasks that run or wait.
func (d *Desk) RunningTasks(ctx context.Context, f Filter) ([]models.Task, error) {
	return guarded(d, models.MaySeeSites, func() ([]models.Task, error) { return d.fleet.RunningTasks(ctx, d.narrow(f)) })
}

// RecentTasks lists tasks that ended, newest first.
func (d *Desk) RecentTasks(ctx context.Context, f Filter) ([]models.Task, error) {
	return guarded(d, models.MaySeeSites, func() ([]models.Task, error) { return d.fleet.RecentTasks(ctx, d.narrow(f)) })
}

// guarded asks a question if the actor may.
func guarded[T any](d *Desk, p models.Permission, ask func() (T, error)) (T, error) {
	if err := d.may(p); err != nil {
		var none T
		return none, err
	}
	return ask()
}

// seen asks a question about one site.
func seen[T any](ctx context.Context, d *Desk, siteID int64, ask func() (T, error)) (T, error) {
	if err := d.onSite(ctx, siteID, models.MaySeeSites); err != nil {
		var none T
		return none, err
	}
	return ask()
}

// followed asks a question about one task.
func followed[T any](ctx context.Context, d *Desk, taskID int64, ask func() (T, error)) (T, error) {
	if err := d.onTask(ctx, taskID, models.MaySeeSites); err != nil {
		var none T
		return none, err
	}
	return ask()
}

// Sites lists sites.
func (d *Desk) Sites(ctx context.Context, f Filter) ([]SiteRow, int, error) {
	if err := d.may(models.MaySeeSites); err != nil {
		return nil, 0, err
	}
	return d.fleet.Sites(ctx, d.narrow(f))
}

// Tasks lists tasks.
func (d *Desk) Tasks(ctx context.Context, f Filter) ([]models.Task, int, error) {
	if err := d.may(models.MaySeeSites); err != nil {
		return nil, 0, err
	}
	return d.fleet.Tasks(ctx, d.narrow(f))
}

// SiteRow loads one site.
func (d *Desk) SiteRow(ctx context.Context, id int64) (SiteRow, error) {
	return seen(ctx, d, id, func() (SiteRow, error) { return d.fleet.SiteRow(ctx, id) })
}

// SiteNamed finds a site by its address or an alias.
func (d *Desk) SiteNamed(ctx context.Context, uri string) (models.Site, error) {
	site, err := guarded(d, models.MaySeeSites, func() (models.Site, error) { return d.fleet.SiteNamed(ctx, uri) })
	if err == nil && !d.by.Sees(site) {
		return models.Site{}, models.Errorf(models.NotFound, "There is no site %s.", uri)
	}
	return site, err
}

// SiteURL is where visitors find a site.
func (d *Desk) SiteURL(site models.Site) string { return d.fleet.SiteURL(site) }

// SiteUpgrades lists a site's moves, newest first.
func (d *Desk) SiteUpgrades(ctx context.Context, siteID int64, limit int) ([]models.Upgrade, error) {
	return seen(ctx, d, siteID, func() ([]models.Upgrade, error) { return d.fleet.SiteUpgrades(ctx, siteID, limit) })
}

// UpgradeRows lists a site's moves, newest first, in parts.
func (d *Desk) UpgradeRows(ctx context.Context, siteID int64, f Filter) ([]models.Upgrade, int, error) {
	if err := d.onSite(ctx, siteID, models.MaySeeSites); err != nil {
		return nil, 0, err
	}
	return d.fleet.store.UpgradeRows(ctx, siteID, f)
}

// Backups lists a site's backups, newest first.
func (d *Desk) Backups(ctx context.Context, siteID int64, limit int) ([]models.Backup, error) {
	return seen(ctx, d, siteID, func() ([]models.Backup, error) { return d.fleet.Backups(ctx, siteID, limit) })
}

// BackupRows lists a site's backups, newest first, in parts.
func (d *Desk) BackupRows(ctx context.Context, siteID int64, f Filter) ([]models.Backup, int, error) {
	if err := d.onSite(ctx, siteID, models.MaySeeSites); err != nil {
		return nil, 0, err
	}
	return d.fleet.store.BackupRows(ctx, siteID, f)
}

// Backup loads one.
func (d *Desk) Backup(ctx context.Context, id int64) (models.Backup, error) {
	if err := d.onBackup(ctx, id, models.MaySeeSites); err != nil {
		return models.Backup{}, err
	}
	return d.fleet.Backup(ctx, id)
}

// SubjectTasks lists the tasks of some subjects, newest first.
func (d *Desk) SubjectTasks(ctx context.Context, subjects []models.Subject, limit int) ([]models.Task, error) {
	if err := d.may(models.MaySeeSites); err != nil {
		return nil, err
	}
	for _, s := range subjects {
		if err := d.onSubject(ctx, s); err != nil {
			return nil, err
		}
	}
	return d.fleet.SubjectTasks(ctx, subjects, limit)
}

// UpgradePlan says what an upgrade of a site would do.
func (d *Desk) UpgradePlan(ctx context.Context, siteID int64) (Plan, error) {
	return seen(ctx, d, siteID, func() (Plan, error) { return d.fleet.UpgradePlan(ctx, siteID) })
}

// RollbackPlan says what taking a site's upgrade back would do.
func (d *Desk) RollbackPlan(ctx context.Context, siteID int64) (RollbackPlan, error) {
	return seen(ctx, d, siteID, func() (RollbackPlan, error) { return d.fleet.RollbackPlan(ctx, siteID) })
}

// FoundSites gives what a search for sites found.
func (d *Desk) FoundSites(ctx context.Context, taskID int64) ([]models.FoundSite, error) {
	return guarded(d, models.MayCreateSites, func() ([]models.FoundSite, error) { return d.fleet.FoundSites(ctx, taskID) })
}

// Task loads one.
func (d *Desk) Task(ctx context.Context, id int64) (models.Task, error) {
	return followed(ctx, d, id, func() (models.Task, error) { return d.fleet.Task(ctx, id) })
}

// Children lists the tasks that a task started.
func (d *Desk) Children(ctx context.Context, id int64) ([]models.Task, error) {
	return followed(ctx, d, id, func() ([]models.Task, error) { return d.fleet.Children(ctx, id) })
}

// Lines gives lines of a task's log.
func (d *Desk) Lines(ctx context.Context, taskID, after int64, limit int) ([]models.TaskLine, error) {
	return followed(ctx, d, taskID, func() ([]models.TaskLine, error) { return d.fleet.Lines(ctx, taskID, after, limit) })
}

// Follow wakes its reader when a task's log may have grown. What it says must be
// asked for, so it tells nobody anything.
func (d *Desk) Follow(taskID int64) (wake <-chan struct{}, stop func()) {
	return d.fleet.Follow(taskID)
}

// UpgradeOfTask gives the move that a task carries out.
func (d *Desk) UpgradeOfTask(ctx context.Context, taskID int64) (models.Upgrade, error) {
	return followed(ctx, d, taskID, func() (models.Upgrade, error) { return d.fleet.UpgradeOfTask(ctx, taskID) })
}

// UpgradeSteps lists a move's steps.
func (d *Desk) UpgradeSteps(ctx context.Context, upgradeID int64) ([]models.UpgradeStep, error) {
	if err := d.may(models.MaySeeSites); err != nil {
		return nil, err
	}
	if !d.by.Bound() {
		return d.fleet.UpgradeSteps(ctx, upgradeID)
	}
	u, err := d.fleet.store.Upgrade(ctx, upgradeID)
	if err != nil {
		return nil, err
	}
	return seen(ctx, d, u.SiteID, func() ([]models.UpgradeStep, error) { return d.fleet.UpgradeSteps(ctx, upgradeID) })
}

// Platform loads one. Users of a client get its name and version only: what their
// sites run on.
func (d *Desk) Platform(ctx context.Context, id int64) (models.Platform, error) {
	p, err := guarded(d, models.MaySeeSites, func() (models.Platform, error) { return d.fleet.Platform(ctx, id) })
	return d.trim(p), err
}

// PlatformNamed finds one by its name, with as much of it as Platform gives.
func (d *Desk) PlatformNamed(ctx context.Context, name string) (models.Platform, error) {
	p, err := guarded(d, models.MaySeeSites, func() (models.Platform, error) { return d.fleet.PlatformNamed(ctx, name) })
	return d.trim(p), err
}

func (d *Desk) trim(p models.Platform) models.Platform {
	if !d.by.Bound() {
		return p
	}
	return models.Platform{ID: p.ID, Name: p.Name, State: p.State, Label: p.Label, DrupalVersion: p.DrupalVersion, BuiltAt: p.BuiltAt}
}

// PlatformRow loads one with everything about it.
func (d *Desk) PlatformRow(ctx context.Context, id int64) (PlatformRow, error) {
	return guarded(d, models.MaySeeFleet, func() (PlatformRow, error) { return d.fleet.PlatformRow(ctx, id) })
}

// Platforms lists platforms, newest first.
func (d *Desk) Platforms(ctx context.Context, f Filter) ([]PlatformRow, int, error) {
	if err := d.may(models.MaySeeFleet); err != nil {
		return nil, 0, err
	}
	return d.fleet.Platforms(ctx, f)
}

// PlatformChoices lists ready platforms to choose from, those of one distribution first.
func (d *Desk) PlatformChoices(ctx context.Context, distributionID int64, limit int) ([]models.Platform, error) {
	return guarded(d, models.MaySeeFleet, func() ([]models.Platform, error) { return d.fleet.PlatformChoices(ctx, distributionID, limit) })
}

// PlatformsByID loads some, with as much of them as Platform gives.
func (d *Desk) PlatformsByID(ctx context.Context, ids []int64) (map[int64]models.Platform, error) {
	found, err := guarded(d, models.MaySeeSites, func() (map[int64]models.Platform, error) { return d.fleet.PlatformsByID(ctx, ids) })
	for id, p := range found {
		found[id] = d.trim(p)
	}
	return found, err
}

// OpenPlatforms lists those that take new sites.
func (d *Desk) OpenPlatforms(ctx context.Context) ([]models.Platform, error) {
	return guarded(d, models.MaySeeFleet, func() ([]models.Platform, error) { return d.fleet.OpenPlatforms(ctx) })
}

// PlatformPlan says what upgrading all sites of a platform would do.
func (d *Desk) PlatformPlan(ctx context.Context, id int64) (PlatformPlan, error) {
	return guarded(d, models.MaySeeFleet, func() (PlatformPlan, error) { return d.fleet.PlatformPlan(ctx, id) })
}

// ComparePlatforms lists how the packages of two platforms differ.
func (d *Desk) ComparePlatforms(ctx context.Context, fromID, toID int64) ([]models.PackageChange, error) {
	return guarded(d, models.MaySeeFleet, func() ([]models.PackageChange, error) { return d.fleet.ComparePlatforms(ctx, fromID, toID) })
}

// DiffPlatforms compares two platforms with verdicts.
func (d *Desk) DiffPlatforms(ctx context.Context, fromID, toID int64) (PlatformDiff, error) {
	return guarded(d, models.MaySeeFleet, func() (PlatformDiff, error) { return d.fleet.DiffPlatforms(ctx, fromID, toID) })
}

// Distribution loads one.
func (d *Desk) Distribution(ctx context.Context, id int64) (models.Distribution, error) {
	return guarded(d, models.MaySeeFleet, func() (models.Distribution, error) { return d.fleet.Distribution(ctx, id) })
}

// Distributions lists distributions by name.
func (d *Desk) Distributions(ctx context.Context, f Filter) ([]DistributionRow, int, error) {
	if err := d.may(models.MaySeeFleet); err != nil {
		return nil, 0, err
	}
	return d.fleet.Distributions(ctx, f)
}

// DistributionNames lists distributions by name, to choose from.
func (d *Desk) DistributionNames(ctx context.Context, limit int) ([]models.Distribution, error) {
	return guarded(d, models.MaySeeFleet, func() ([]models.Distribution, error) { return d.fleet.DistributionNames(ctx, limit) })
}

// DistributionNamed finds one by its short name.
func (d *Desk) DistributionNamed(ctx context.Context, slug string) (models.Distribution, error) {
	return guarded(d, models.MaySeeFleet, func() (models.Distribution, error) { return d.fleet.DistributionNamed(ctx, slug) })
}

// DistributionPlatforms lists a distribution's platforms, newest first.
func (d *Desk) DistributionPlatforms(ctx context.Context, id int64) ([]PlatformRow, error) {
	return guarded(d, models.MaySeeFleet, func() ([]PlatformRow, error) { return d.fleet.DistributionPlatforms(ctx, id) })
}

// DistributionChecks lists a distribution's checks, newest first.
func (d *Desk) DistributionChecks(ctx context.Context, id int64, limit int) ([]models.Check, error) {
	return guarded(d, models.MaySeeFleet, func() ([]models.Check, error) { return d.fleet.DistributionChecks(ctx, id, limit) })
}

// CheckRows lists a distribution's checks, newest first, in parts.
func (d *Desk) CheckRows(ctx context.Context, distributionID int64, f Filter) ([]models.Check, int, error) {
	if err := d.may(models.MaySeeFleet); err != nil {
		return nil, 0, err
	}
	return d.fleet.store.CheckRows(ctx, distributionID, f)
}

// Pending gives the version that waits for a decision; false when none does.
func (d *Desk) Pending(ctx context.Context, distributionID int64) (plugins.Version, bool, error) {
	if err := d.may(models.MaySeeFleet); err != nil {
		return plugins.Version{}, false, err
	}
	return d.fleet.Pending(ctx, distributionID)
}

// SecretsSet tells which secret settings a distribution has.
func (d *Desk) SecretsSet(distribution models.Distribution) map[string]bool {
	return d.fleet.SecretsSet(distribution)
}

// UpdateTypes lists the update types that a distribution can have.
func (d *Desk) UpdateTypes() []plugins.Plugin { return d.fleet.UpdateTypes() }

// Webhooks lists a distribution's webhooks. Their addresses are half a secret.
func (d *Desk) Webhooks(ctx context.Context, distributionID int64) ([]WebhookRow, error) {
	return guarded(d, models.MayManageDistributions, func() ([]WebhookRow, error) { return d.fleet.Webhooks(ctx, distributionID) })
}

// Webhook loads one with its last deliveries.
func (d *Desk) Webhook(ctx context.Context, id int64, deliveries int) (WebhookRow, error) {
	return guarded(d, models.MayManageDistributions, func() (WebhookRow, error) { return d.fleet.Webhook(ctx, id, deliveries) })
}

// SubjectName is what people call what a task works on or an event speaks of. For
// users of a client only their sites are there.
func (d *Desk) SubjectName(ctx context.Context, subject models.Subject) (string, error) {
	if err := d.may(models.MaySeeSites); err != nil {
		return "", err
	}
	if d.by.Bound() && d.onSubject(ctx, subject) != nil {
		return "", models.Errorf(models.NotFound, "There is no %s %d.", subject.Kind, subject.ID)
	}
	return d.fleet.SubjectName(ctx, subject)
}

// Queues lists the queues of checks, without what waits in them.
func (d *Desk) Queues(ctx context.Context) ([]models.Queue, error) {
	return guarded(d, models.MaySeeFleet, func() ([]models.Queue, error) { return d.fleet.Queues(ctx) })
}

// QueueRows lists the queues of checks.
func (d *Desk) QueueRows(ctx context.Context, now time.Time) ([]QueueRow, error) {
	return guarded(d, models.MaySeeFleet, func() ([]QueueRow, error) { return d.fleet.QueueRows(ctx, now) })
}

// HostRows lists the hosts that sources are asked at.
func (d *Desk) HostRows(ctx context.Context, now time.Time) ([]HostRow, error) {
	return guarded(d, models.MaySeeFleet, func() ([]HostRow, error) { return d.fleet.HostRows(ctx, now) })
}

// DatabaseServers lists the servers for sites' databases.
func (d *Desk) DatabaseServers(ctx context.Context) ([]DatabaseServerRow, error) {
	return guarded(d, models.MaySeeFleet, func() ([]DatabaseServerRow, error) { return d.fleet.DatabaseServers(ctx) })
}

// DatabaseServerChoices lists them to choose from: their sites are not counted.
func (d *Desk) DatabaseServerChoices(ctx context.Context) ([]DatabaseServerRow, error) {
	return guarded(d, models.MaySeeFleet, func() ([]DatabaseServerRow, error) { return d.fleet.DatabaseServerChoices(ctx) })
}

// DatabaseServer loads one.
func (d *Desk) DatabaseServer(ctx context.Context, id int64) (models.DatabaseServer, error) {
	return guarded(d, models.MaySeeFleet, func() (models.DatabaseServer, error) { return d.fleet.DatabaseServer(ctx, id) })
}

// DatabaseServerRow finds one by its name.
func (d *Desk) DatabaseServerRow(ctx context.Context, name string) (DatabaseServerRow, error) {
	return guarded(d, models.MaySeeFleet, func() (DatabaseServerRow, error) { return d.fleet.DatabaseServerRow(ctx, name) })
}

// DatabaseServerNamed gives the id of the server with a name; "" is the usual one.
func (d *Desk) DatabaseServerNamed(ctx context.Context, name string) (int64, error) {
	return guarded(d, models.MaySeeFleet, func() (int64, error) { return d.fleet.DatabaseServerNamed(ctx, name) })
}
