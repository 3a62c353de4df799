package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

type siteCmd struct {
	List      siteListCmd      `cmd:"" help:"List sites."`
	Install   siteInstallCmd   `cmd:"" help:"Install a new site."`
	Show      siteShowCmd      `cmd:"" help:"Print what is known of a site."`
	Plan      sitePlanCmd      `cmd:"" help:"Say what an upgrade of a site would change."`
	Compare   siteCompareCmd   `cmd:"" help:"Ask Drush, on a copy of the site's database, what an upgrade would do."`
	Upgrade   siteUpgradeCmd   `cmd:"" help:"Move a site to its distribution's upgrade target."`
	Move      siteMoveCmd      `cmd:"" help:"Move a site to another server. It serves from the old one until the new one was proven."`
	Moves     siteMovesCmd     `cmd:"" help:"List a site's upgrades, rollbacks and restores."`
	Retry     siteRetryCmd     `cmd:"" help:"Try an installation again that failed."`
	Rollback  siteRollbackCmd  `cmd:"" help:"Take a site's last move back. Without --yes, say what that would lose."`
	Verify    siteVerifyCmd    `cmd:"" help:"Look whether a site is sound."`
	Backup    siteBackupCmd    `cmd:"" help:"Back a site up."`
	Backups   siteBackupsCmd   `cmd:"" help:"List a site's backups."`
	Keep      siteKeepCmd      `cmd:"" help:"Keep a backup until somebody deletes it, or no longer."`
	Drop      siteDropCmd      `cmd:"" help:"Delete a backup."`
	Restore   siteRestoreCmd   `cmd:"" help:"Bring a site's content back from one of its backups."`
	Clone     siteCloneCmd     `cmd:"" help:"Make a site from another one, or from a backup."`
	Disable   siteDisableCmd   `cmd:"" help:"Take a site off the web."`
	Enable    siteEnableCmd    `cmd:"" help:"Put a site onto the web again."`
	Hold      siteHoldCmd      `cmd:"" help:"Keep a site where it is: no upgrade moves it."`
	Release   siteReleaseCmd   `cmd:"" help:"End a hold."`
	Cron      siteCronCmd      `cmd:"" help:"Run a site's cron."`
	Login     siteLoginCmd     `cmd:"" help:"Print a one-time link that signs in as the site's first user."`
	Configure siteConfigureCmd `cmd:"" help:"Change aliases, HTTPS, probes, cron and backups of a site. What is not named stays."`
	Give      siteGiveCmd      `cmd:"" help:"Say whose a site is."`
	Delete    siteDeleteCmd    `cmd:"" help:"Delete a site, after a last backup."`
	Find      siteFindCmd      `cmd:"" help:"Look for sites in a code base outside of Hefring; nothing there is changed."`
	Adopt     siteAdoptCmd     `cmd:"" help:"Make a site from one that was found outside."`
}

type siteListCmd struct {
	act
	Query  string `help:"Part of the address."`
	State  string `enum:",installing,enabled,disabled,upgrading,broken,deleting" default:"" help:"Only sites in this state: installing, enabled, disabled, upgrading, broken or deleting."`
	Behind bool   `help:"Only sites that an upgrade waits for."`
	Limit  int    `default:"1000" help:"At most so many."`
}

// Run prints the list.
func (c *siteListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		rows, _, err := f.Sites(ctx, fleet.Filter{Query: c.Query, State: c.State, Behind: c.Behind, Limit: c.Limit})
		if err != nil {
			return err
		}
		list := each(rows, api.SiteView(f))
		return c.table(list, []string{"SITE", "STATE", "DRUPAL", "PLATFORM", "UPGRADE TO"}, func(line func(...any)) {
			for _, s := range list {
				line(s.URI, s.State, s.DrupalVersion, s.Platform, s.UpgradeTarget)
			}
		})
	})
}

type siteInstallCmd struct {
	waiting
	URI      string `arg:"" name:"site" help:"Address, such as museum.example.org."`
	Platform string `required:"" help:"Name of the platform."`
	Profile  string `default:"standard" help:"Install profile."`
	Title    string `help:"Name of the site (default: its address)."`
	Language string `help:"Language code (default: English)."`
	Database string `name:"database-server" help:"Database server for its content (default: an SQLite file)."`
	Server   string `help:"Server that it is made on (default: the host of the control plane)."`
}

// Run queues the installation.
func (c *siteInstallCmd) Run(ctx context.Context) error {
	return c.onPlatform(ctx, c.Platform, func(f door, p models.Platform) (models.Task, error) {
		server, err := f.DatabaseServerNamed(ctx, c.Database)
		if err != nil {
			return models.Task{}, err
		}
		on, err := webServerNamed(ctx, f, c.Server)
		if err != nil {
			return models.Task{}, err
		}
		site, err := f.CreateSite(ctx, fleet.NewSite{
			URI: c.URI, Title: c.Title, Profile: c.Profile, PlatformID: p.ID, Language: c.Language, DatabaseServerID: server, ServerID: on,
		})
		return taskOf(ctx, f, site, err)
	})
}

// taskOf gives the task that makes a new site.
func taskOf(ctx context.Context, f door, site models.Site, err error) (models.Task, error) {
	if err != nil {
		return models.Task{}, err
	}
	task, err := newestTask(ctx, f, models.Subject{Kind: models.SubjectSite, ID: site.ID})
	if err != nil || task.ParentID == nil {
		return task, err
	}
	return f.Task(ctx, *task.ParentID) // of several, the one over them
}

// newestTask is the task that was just made for something.
func newestTask(ctx context.Context, f door, subject models.Subject) (models.Task, error) {
	list, err := f.SubjectTasks(ctx, []models.Subject{subject}, 1)
	if err != nil || len(list) == 0 {
		return models.Task{}, errors.Join(err, errors.New("it has no task; see hefring task list"))
	}
	return list[0], nil
}

// siteArg names the site of a command.
type siteArg struct {
	URI string `arg:"" name:"site" help:"The site's address."`
}

type siteUpgradeCmd struct {
	waiting
	siteArg
	To string `placeholder:"PLATFORM" help:"Move it to this platform of its distribution, not to the upgrade target."`
}

// Run queues the upgrade.
func (c *siteUpgradeCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) {
		if c.To == "" {
			return f.UpgradeToTarget(ctx, s.ID)
		}
		to, err := f.PlatformNamed(ctx, c.To)
		if err != nil {
			return models.Task{}, err
		}
		return f.UpgradeSite(ctx, s.ID, to.ID)
	})
}

type siteRollbackCmd struct {
	waiting
	siteArg
	Yes bool `short:"y" help:"Do it, whatever is lost."`
}

// Run says what would be lost, or queues the rollback.
func (c *siteRollbackCmd) Run(ctx context.Context) error {
	if c.Yes {
		return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) {
			if err := f.Actor().Needs(models.MayUpgrade); err != nil {
				return models.Task{}, err
			}
			plan, err := f.RollbackPlan(ctx, s.ID)
			if err != nil {
				return models.Task{}, err
			}
			return f.RollbackSite(ctx, s.ID, plan.Upgrade.ID)
		})
	}
	return c.reach(ctx, func(f door) error {
		site, err := f.SiteNamed(ctx, c.URI)
		if err != nil {
			return err
		}
		plan, err := f.RollbackPlan(ctx, site.ID)
		if err != nil {
			return err
		}
		return c.quote(plan)
	})
}

func (c *siteRollbackCmd) quote(plan fleet.RollbackPlan) error {
	if c.JSON {
		return printJSON(os.Stdout, api.RollbackView(plan))
	}
	printTo(os.Stdout, "%s goes back to %s. This is possible until %s.", c.URI, plan.To.Name, plan.Until.Format(time.DateTime))
	if plan.Loss.None {
		printTo(os.Stdout, "Nothing is lost: both versions use the same database. Use --yes to do it.")
		return nil
	}
	err := c.table(plan.Loss.Tables, []string{"TABLE", "ADDED", "CHANGED", "REMOVED", ""}, func(line func(...any)) {
		for _, t := range plan.Loss.Tables {
			line(t.Table, t.Added, t.Changed, t.Removed, t.Why)
		}
	})
	printTo(os.Stdout, "What was written since %s is lost to the site, and kept as a backup. Use --yes to do it.", plan.Loss.Since.Format(time.DateTime))
	return err
}

type siteVerifyCmd struct {
	waiting
	siteArg
}

// Run queues the look.
func (c *siteVerifyCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) { return f.VerifySite(ctx, s.ID) })
}

type siteBackupCmd struct {
	waiting
	siteArg
	Note string `help:"A word on what it is for."`
	Keep bool   `help:"Keep it until somebody deletes it."`
}

// Run queues the backup.
func (c *siteBackupCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) {
		return f.BackupSite(ctx, s.ID, c.Note, c.Keep)
	})
}

type siteBackupsCmd struct {
	act
	siteArg
	Limit int `default:"1000" help:"At most so many."`
}

// Run prints the list.
func (c *siteBackupsCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		site, err := f.SiteNamed(ctx, c.URI)
		if err != nil {
			return err
		}
		list, err := f.Backups(ctx, site.ID, c.Limit)
		if err != nil {
			return err
		}
		return c.table(each(list, api.BackupView), []string{"BACKUP", "MADE", "PURPOSE", "STATE", "DRUPAL", "BYTES", "NOTE"}, func(line func(...any)) {
			for _, b := range list {
				line(b.ID, b.CreatedAt.Format(time.DateTime), b.Purpose, b.State, b.DrupalVersion, b.Bytes, b.Note)
			}
		})
	})
}

type siteRestoreCmd struct {
	waiting
	siteArg
	Backup int64 `arg:"" help:"Number of the backup; see hefring site backups."`
	Own    bool  `name:"own-platform" help:"Go to the platform that the backup was made on, not to the present one."`
}

// Run queues the restoring.
func (c *siteRestoreCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) {
		if err := f.Actor().Needs(models.MayRestore); err != nil {
			return models.Task{}, err
		}
		b, err := f.Backup(ctx, c.Backup)
		if err != nil {
			return models.Task{}, err
		}
		if b.SiteID != s.ID {
			return models.Task{}, models.Errorf(models.Conflict, "Backup %d is of %s. Use hefring site clone to make a site from it.", b.ID, b.URI)
		}
		platform := s.PlatformID
		if c.Own {
			platform = b.PlatformID
		}
		return f.RestoreSite(ctx, b.ID, platform)
	})
}

type siteCloneCmd struct {
	waiting
	From     string `arg:"" help:"Address of the site to copy, or the number of a backup."`
	URI      string `arg:"" name:"site" help:"Address of the new site."`
	Title    string `help:"Name of the new site (default: the origin's)."`
	Platform string `help:"Name of the platform (default: the origin's)."`
	Database string `name:"database-server" help:"Database server for its content; it must be of the origin's kind (default: where the origin's is)."`
	Server   string `help:"Server that it goes to, as hefring server list has it; local is the control plane's host (default: the origin's). It is made on the origin's server, and moved once it answers there; --wait waits for both."`
}

// Run queues the copying.
func (c *siteCloneCmd) Run(ctx context.Context) error {
	return c.queue(ctx, func(f door) (models.Task, error) { return c.clone(ctx, f) })
}

func (c *siteCloneCmd) clone(ctx context.Context, f door) (models.Task, error) {
	in := fleet.NewClone{URI: c.URI, Title: c.Title}
	if id, err := strconv.ParseInt(c.From, 10, 64); err == nil {
		in.FromBackup = id
	} else {
		from, err := f.SiteNamed(ctx, c.From)
		if err != nil {
			return models.Task{}, err
		}
		in.FromSite = from.ID
	}
	if c.Server == "" {
		return clone(ctx, f, in, c.Platform, c.Database)
	}
	if err := f.Actor().Needs(models.MayRelocateSites); err != nil {
		return models.Task{}, err // before anything is looked up
	}
	server, err := webServerNamed(ctx, f, c.Server)
	if err != nil {
		return models.Task{}, err
	}
	in.ServerID = &server
	return clone(ctx, f, in, c.Platform, c.Database)
}

func clone(ctx context.Context, f door, in fleet.NewClone, platform, database string) (models.Task, error) {
	if platform != "" {
		p, err := f.PlatformNamed(ctx, platform)
		if err != nil {
			return models.Task{}, err
		}
		in.PlatformID = p.ID
	}
	server, err := f.DatabaseServerNamed(ctx, database)
	if err != nil {
		return models.Task{}, err
	}
	in.DatabaseServerID = server
	site, err := f.CloneSite(ctx, in)
	return taskOf(ctx, f, site, err)
}

type siteDisableCmd struct {
	waiting
	siteArg
}

// Run queues it.
func (c *siteDisableCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) { return f.DisableSite(ctx, s.ID) })
}

type siteEnableCmd struct {
	waiting
	siteArg
}

// Run queues it.
func (c *siteEnableCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) { return f.EnableSite(ctx, s.ID) })
}

type siteHoldCmd struct {
	act
	siteArg
	Reason string    `required:"" help:"Why it stays."`
	Until  time.Time `format:"2006-01-02" help:"Day on which the hold ends by itself, such as 2027-01-31 (default: never)."`
}

// Run holds the site.
func (c *siteHoldCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		site, err := f.SiteNamed(ctx, c.URI)
		if err != nil {
			return err
		}
		var until *time.Time
		if !c.Until.IsZero() {
			until = &c.Until
		}
		return f.HoldSite(ctx, site.ID, c.Reason, until)
	})
}

type siteReleaseCmd struct {
	act
	siteArg
}

// Run ends the hold.
func (c *siteReleaseCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		site, err := f.SiteNamed(ctx, c.URI)
		if err != nil {
			return err
		}
		return f.ReleaseSite(ctx, site.ID)
	})
}

type siteCronCmd struct {
	waiting
	siteArg
}

// Run queues it.
func (c *siteCronCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) { return f.RunCron(ctx, s.ID) })
}

type siteLoginCmd struct {
	act
	siteArg
}

// Run prints the link.
func (c *siteLoginCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		site, err := f.SiteNamed(ctx, c.URI)
		if err != nil {
			return err
		}
		link, err := f.LoginToSite(ctx, site.ID)
		if err != nil {
			return err
		}
		return c.single("url", link)
	})
}

type siteConfigureCmd struct {
	waiting
	siteArg
	Alias       []string       `sep:"," help:"Other host names of the site, all of them; --alias= for none."`
	Redirect    *bool          `negatable:"" help:"Send visitors of an alias to the site's own address."`
	HTTPS       *string        `name:"https" enum:"off,on,required" help:"off, on or required."`
	Certificate *string        `help:"File of the certificate on the server."`
	Key         *string        `help:"File of the certificate's key on the server."`
	Probe       []string       `sep:"," help:"Paths that must answer as before when the site is moved; --probe= for the usual ones."`
	ProbeText   *string        `help:"Text that must stand on the first of them."`
	CronEvery   *time.Duration `help:"How often cron runs, such as 1h; 0s for never."`
	BackupEvery *time.Duration `help:"How often the site is backed up, such as 24h; 0s for never."`
	BackupKeep  *int           `help:"How many scheduled backups stay."`
}

// Run stores the settings and queues the web server's change.
func (c *siteConfigureCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) {
		return f.ConfigureSite(ctx, s.ID, c.settings(s))
	})
}

func (c *siteConfigureCmd) settings(s models.Site) fleet.SiteSettings {
	in := fleet.SettingsOf(s)
	if c.Alias != nil {
		in.Aliases = named(c.Alias)
	}
	if c.Probe != nil {
		in.Probes = named(c.Probe)
	}
	if c.HTTPS != nil {
		in.HTTPS = models.HTTPS(strings.TrimPrefix(*c.HTTPS, "off"))
	}
	replace(&in.Redirect, c.Redirect)
	replace(&in.Certificate, c.Certificate)
	replace(&in.CertificateKey, c.Key)
	replace(&in.ProbeText, c.ProbeText)
	replace(&in.CronEvery, c.CronEvery)
	replace(&in.BackupEvery, c.BackupEvery)
	replace(&in.BackupKeep, c.BackupKeep)
	return in
}

// named leaves out what is empty.
func named(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "" })
}

func replace[T any](value *T, by *T) {
	if by != nil {
		*value = *by
	}
}

type siteDeleteCmd struct {
	waiting
	siteArg
	Confirm string `required:"" help:"The site's address once more."`
	Backup  bool   `default:"true" negatable:"" help:"Back it up first; without that backup nothing is removed."`
}

// Run queues the deletion.
func (c *siteDeleteCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) {
		return f.DeleteSite(ctx, s.ID, c.Confirm, c.Backup)
	})
}

type siteFindCmd struct {
	waiting
	Root string `arg:"" help:"Folder of the code base." type:"path"`
}

// Run queues the search; with --wait it prints what was found.
func (c *siteFindCmd) Run(ctx context.Context) error {
	var task models.Task
	err := c.queue(ctx, func(f door) (t models.Task, err error) {
		task, err = f.FindSites(ctx, c.Root)
		return task, err
	})
	if err != nil || !c.Wait {
		return err
	}
	return c.reach(ctx, func(f door) error {
		found, err := f.FoundSites(ctx, task.ID)
		if err != nil {
			return err
		}
		return c.table(found, []string{"FOLDER", "ADDRESS", "DRUPAL", "PROFILE", "DATABASE", "PROBLEM"}, func(line func(...any)) {
			for _, f := range found {
				line(f.Folder, f.URI, f.DrupalVersion, f.Profile, f.Engine+" "+f.Database, f.Problem)
			}
		})
	})
}

type siteAdoptCmd struct {
	waiting
	Task     int64  `arg:"" help:"The task that looked for sites."`
	Folder   string `arg:"" help:"The found site's folder below sites/."`
	URI      string `arg:"" name:"site" help:"Address of the new site."`
	Platform string `required:"" help:"Name of the platform that it will live on."`
	Title    string `help:"Name of the new site (default: the found one's)."`
	Database string `name:"database-server" help:"Database server for its content; it must be of the same kind (default: an SQLite file)."`
}

// Run queues the copying.
func (c *siteAdoptCmd) Run(ctx context.Context) error {
	return c.queue(ctx, func(f door) (models.Task, error) {
		return clone(ctx, f, fleet.NewClone{FromFound: c.Task, Folder: c.Folder, URI: c.URI, Title: c.Title}, c.Platform, c.Database)
	})
}

type siteMoveCmd struct {
	waiting
	siteArg
	Server string `required:"" help:"The server that it goes to, as hefring server list has it; local is the control plane's host."`
}

// Run queues the move.
func (c *siteMoveCmd) Run(ctx context.Context) error {
	return c.onSite(ctx, c.URI, func(f door, s models.Site) (models.Task, error) {
		if err := f.Actor().Needs(models.MayRelocateSites); err != nil {
			return models.Task{}, err // before anything is looked up
		}
		server, err := webServerNamed(ctx, f, c.Server)
		if err != nil {
			return models.Task{}, err
		}
		return f.RelocateSite(ctx, s.ID, server)
	})
}
