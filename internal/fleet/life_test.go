package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/sites/upgrade"
	"hefring/models"
)

const museum2 = "copy.example.org"

// lived is a fleet with one site that runs on its upgrade target.
func (w *world) lived() (models.Platform, models.Site) {
	w.Helper()
	w.thunder()
	p := w.named("thunder-a1")
	return p, w.site(museum, p.ID)
}

func (w *world) did(what string) bool {
	w.hosting.mu.Lock()
	defer w.hosting.mu.Unlock()
	return slices.Contains(w.hosting.did, what)
}

// failing lets one kind of work fail.
func (w *world) failing(prefix string) {
	w.hosting.mu.Lock()
	defer w.hosting.mu.Unlock()
	w.hosting.act = func(_ context.Context, what string) error {
		if strings.HasPrefix(what, prefix) {
			return models.Errorf(models.Unavailable, "The disk is full. Free some space.")
		}
		return nil
	}
}

func (w *world) task(t models.Task, err error) done {
	w.Helper()
	ok(w.T, err)
	return w.run(t.ID)
}

func TestFleet_BackupSite_RecordsWhatItMade(t *testing.T) {
	each(t, func(w *world) {
		p, site := w.lived()
		_, err := w.fleet.BackupSite(w.ctx, "ada", site.ID, strings.Repeat("x", 501), false)
		wantFields(w.T, err, "note")
		made := w.task(w.fleet.BackupSite(w.ctx, "ada", site.ID, " Before the fair ", true))
		want(w.T, "task", made.State, models.TaskSucceeded)
		list, err := w.fleet.Backups(w.ctx, site.ID, 10)
		ok(w.T, err)
		want(w.T, "backups", len(list), 1)
		b := list[0]
		want(w.T, "state", b.State, models.BackupReady)
		want(w.T, "note", b.Note, "Before the fair")
		want(w.T, "kept", b.Keep, true)
		want(w.T, "platform", b.PlatformID, p.ID)
		want(w.T, "tables", b.Tables, 70)
		want(w.T, "has its end", b.EndedAt != nil, true)

		w.failing("backup")
		failed := w.task(w.fleet.BackupSite(w.ctx, "ada", site.ID, "", false))
		want(w.T, "task", failed.State, models.TaskFailed)
		want(w.T, "message", failed.Message, "The disk is full. Free some space.")
		w.hosting.act = nil
		ok(w.T, w.fleet.DeleteBackup(w.ctx, "ada", b.ID))
		want(w.T, "file dropped", w.did(fmt.Sprintf("drop backup %d", b.ID)), true)
		b, err = w.fleet.Backup(w.ctx, b.ID)
		ok(w.T, err)
		want(w.T, "state", b.State, models.BackupDeleted)
	})
}

func TestFleet_BackupSite_CancelledBeforeItBegan(t *testing.T) {
	each(t, func(w *world) {
		_, site := w.lived()
		task, err := w.fleet.BackupSite(w.ctx, "ada", site.ID, "", false)
		ok(w.T, err)
		ok(w.T, w.fleet.CancelTask(w.ctx, "ada", task.ID))
		b, err := w.BackupOfTask(w.ctx, task.ID)
		ok(w.T, err)
		want(w.T, "state", b.State, models.BackupFailed)
	})
}

func TestFleet_DispatchSites_BackupsCronsAndHolds(t *testing.T) {
	each(t, func(w *world) {
		_, site := w.lived()
		in := fleet.SettingsOf(site)
		in.BackupEvery, in.BackupKeep, in.CronEvery = 24*time.Hour, 2, time.Hour
		w.task(w.fleet.ConfigureSite(w.ctx, "ada", site.ID, in))
		until := w.clock.time().Add(time.Hour)
		ok(w.T, w.fleet.HoldSite(w.ctx, "ada", site.ID, "Fair", &until))
		ok(w.T, w.fleet.DispatchSites(w.ctx))
		w.nothingQueued()
		want(w.T, "held", w.at(site.ID).Held, true)

		for day := range 4 {
			w.clock.pass(26 * time.Hour)
			ok(w.T, w.fleet.DispatchSites(w.ctx))
			w.work() // the backup; cron waits until it has ended
			ok(w.T, w.fleet.DispatchSites(w.ctx))
			w.work()
			ok(w.T, w.fleet.DispatchSites(w.ctx))
			w.nothingQueued()
			list, err := w.fleet.Backups(w.ctx, site.ID, 10)
			ok(w.T, err)
			want(w.T, "backups", len(list), day+1)
		}
		want(w.T, "cron ran", w.did("cron "+museum), true)
		want(w.T, "held", w.at(site.ID).Held, false)

		// Retention takes the oldest scheduled ones, and never what a person keeps.
		list, err := w.fleet.Backups(w.ctx, site.ID, 10)
		ok(w.T, err)
		ok(w.T, w.fleet.KeepBackup(w.ctx, "ada", list[3].ID, true))
		ok(w.T, w.fleet.Tidy(w.ctx))
		left, err := w.fleet.Backups(w.ctx, site.ID, 10)
		ok(w.T, err)
		want(w.T, "left", fmt.Sprint(ids(left)), fmt.Sprint(ids([]models.Backup{list[0], list[1], list[3]})))
		want(w.T, "file dropped", w.did(fmt.Sprintf("drop backup %d", list[2].ID)), true)
	})
}

func ids(list []models.Backup) (all []int64) {
	for _, b := range list {
		all = append(all, b.ID)
	}
	return all
}

func TestFleet_DispatchSites_OnceOverReplicas(t *testing.T) {
	each(t, func(w *world) {
		_, site := w.lived()
		in := fleet.SettingsOf(site)
		in.CronEvery = time.Hour
		w.task(w.fleet.ConfigureSite(w.ctx, "ada", site.ID, in))
		w.clock.pass(2 * time.Hour)
		other := w.replica(w.Store)
		failed := make(chan error, 8)
		for i := range cap(failed) {
			f := w.fleet
			if i%2 == 1 {
				f = other
			}
			go func() { failed <- f.DispatchSites(w.ctx) }()
		}
		for range cap(failed) {
			ok(w.T, <-failed)
		}
		w.pending(models.TaskCron)
	})
}

func TestFleet_ConfigureSite_NamesBelongToOneSite(t *testing.T) {
	each(t, func(w *world) {
		p, site := w.lived()
		other := w.site("other.example.org", p.ID)
		in := fleet.SettingsOf(site)
		in.Aliases = []string{" WWW.Museum.example.org ", "", "kunst.example.org"}
		done := w.task(w.fleet.ConfigureSite(w.ctx, "ada", site.ID, in))
		want(w.T, "task", done.State, models.TaskSucceeded)
		want(w.T, "served", w.did("configure "+museum+",www.museum.example.org,kunst.example.org enabled"), true)

		found, err := w.fleet.SiteNamed(w.ctx, "kunst.example.org")
		ok(w.T, err)
		want(w.T, "site of the alias", found.ID, site.ID)
		taken := fleet.SettingsOf(other)
		taken.Aliases = []string{"kunst.example.org"}
		_, err = w.fleet.ConfigureSite(w.ctx, "ada", other.ID, taken)
		wantCode(w.T, err, models.Conflict, "kunst.example.org")
		_, err = w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: "kunst.example.org", Profile: "standard", PlatformID: p.ID})
		wantCode(w.T, err, models.Conflict, "kunst.example.org")

		bad := fleet.SiteSettings{
			Aliases: []string{"a.example.org", "a.example.org"}, HTTPS: models.HTTPSOn, Certificate: "cert.pem",
			Probes: []string{"news"}, ProbeText: strings.Repeat("x", 201), CronEvery: time.Second, BackupEvery: time.Hour,
		}
		_, err = w.fleet.ConfigureSite(w.ctx, "ada", other.ID, bad)
		wantFields(w.T, err, "aliases", "certificate", "probes", "probe_text", "cron_every", "backup_keep")
		bad = fleet.SiteSettings{Aliases: []string{"not a host"}, HTTPS: "perhaps", BackupKeep: -1}
		_, err = w.fleet.ConfigureSite(w.ctx, "ada", other.ID, bad)
		wantFields(w.T, err, "aliases", "https", "backup_keep")

		w.task(w.fleet.DeleteSite(w.ctx, "ada", site.ID, museum, false))
		w.task(w.fleet.ConfigureSite(w.ctx, "ada", other.ID, taken)) // a deleted site gives its names back
	})
}

func TestFleet_DisableSite_AndEnable(t *testing.T) {
	each(t, func(w *world) {
		_, site := w.lived()
		_, err := w.fleet.EnableSite(w.ctx, "ada", site.ID)
		wantCode(w.T, err, models.Conflict, "enabled")
		want(w.T, "task", w.task(w.fleet.DisableSite(w.ctx, "ada", site.ID)).State, models.TaskSucceeded)
		want(w.T, "state", w.at(site.ID).State, models.SiteDisabled)
		want(w.T, "web server", w.did("configure "+museum+" disabled"), true)
		_, err = w.fleet.RunCron(w.ctx, "ada", site.ID)
		wantCode(w.T, err, models.Conflict, "disabled")
		_, err = w.fleet.LoginToSite(w.ctx, "ada", site.ID)
		wantCode(w.T, err, models.Conflict, "disabled")

		w.hosting.verify = models.Errorf(models.Unavailable, "It answers 500.")
		failed := w.task(w.fleet.EnableSite(w.ctx, "ada", site.ID))
		want(w.T, "task", failed.State, models.TaskFailed)
		want(w.T, "state", w.at(site.ID).State, models.SiteDisabled)
		want(w.T, "put back", w.hosting.did[len(w.hosting.did)-1], "configure "+museum+" disabled")
		w.hosting.verify = nil
		w.task(w.fleet.RetryTask(w.ctx, "ada", failed.ID))
		want(w.T, "state", w.at(site.ID).State, models.SiteEnabled)
	})
}

func TestFleet_LoginToSite_IsNotRecorded(t *testing.T) {
	each(t, func(w *world) {
		_, site := w.lived()
		link, err := w.fleet.LoginToSite(w.ctx, "ada", site.ID)
		ok(w.T, err)
		want(w.T, "link", contains(link, "/user/reset/"), true)
	})
}

func TestFleet_DeleteSite_BacksUpFirst(t *testing.T) {
	each(t, func(w *world) {
		p, site := w.lived()
		_, err := w.fleet.DeleteSite(w.ctx, "ada", site.ID, "another.example.org", true)
		wantFields(w.T, err, "confirm")

		// Without the backup nothing is removed.
		w.failing("backup")
		failed := w.task(w.fleet.DeleteSite(w.ctx, "ada", site.ID, museum, true))
		want(w.T, "task", failed.State, models.TaskFailed)
		want(w.T, "state", w.at(site.ID).State, models.SiteEnabled)
		want(w.T, "deleted", w.did("delete "+museum+" from 1 platforms"), false)

		// Once it has begun it can only be finished.
		w.failing("delete")
		failed = w.task(w.fleet.DeleteSite(w.ctx, "ada", site.ID, museum, true))
		want(w.T, "state", w.at(site.ID).State, models.SiteDeleting)
		w.hosting.act = nil
		w.task(w.fleet.RetryTask(w.ctx, "ada", failed.ID))
		want(w.T, "state", w.at(site.ID).State, models.SiteDeleted)
		list, err := w.fleet.Backups(w.ctx, site.ID, 10)
		ok(w.T, err)
		want(w.T, "backups", list[0].Purpose, models.BackupDelete)

		// Its address is free, and its content can come back as a new site.
		clone, err := w.fleet.CloneSite(w.ctx, "ada", fleet.NewClone{FromBackup: list[0].ID, URI: museum, PlatformID: p.ID})
		ok(w.T, err)
		w.run(w.pending(models.TaskClone).ID)
		want(w.T, "state", w.at(clone.ID).State, models.SiteEnabled)
	})
}

// Content of a database server's goes where it is, unless another one is named.
func TestFleet_CloneSite_DatabaseOfItsOrigin(t *testing.T) {
	each(t, func(w *world) {
		p, site := w.lived()
		var servers []models.DatabaseServer
		for _, engine := range []string{models.EnginePostgres, models.EngineMySQL} {
			server := models.DatabaseServer{Name: engine, Engine: engine, Host: "192.0.2.14", User: "sites", TLS: models.TLSOff, Prefix: "hefring"}
			ok(w.T, w.SaveDatabaseServer(w.ctx, "ada", &server))
			servers = append(servers, server)
		}
		ok(w.T, w.PlaceSite(w.ctx, site, p.ID, models.Database{Engine: servers[0].Engine, Name: "a", Server: servers[0].ID, User: "hefring_1"}))
		clone, err := w.fleet.CloneSite(w.ctx, "ada", fleet.NewClone{FromSite: site.ID, URI: "copy.example.org"})
		ok(w.T, err)
		want(w.T, "server", *w.at(clone.ID).DatabaseServerID, servers[0].ID)
		_, err = w.fleet.CloneSite(w.ctx, "ada", fleet.NewClone{FromSite: site.ID, URI: "other.example.org", DatabaseServerID: servers[1].ID})
		wantFields(w.T, err, "database")
	})
}

func TestFleet_CloneSite_FailsAndIsRetried(t *testing.T) {
	each(t, func(w *world) {
		p, site := w.lived()
		_, err := w.fleet.CloneSite(w.ctx, "ada", fleet.NewClone{URI: museum2})
		wantFields(w.T, err, "origin")
		_, err = w.fleet.CloneSite(w.ctx, "ada", fleet.NewClone{FromSite: site.ID, URI: "-", DatabaseServerID: 99})
		wantFields(w.T, err, "uri", "database")

		in := fleet.NewClone{FromSite: site.ID, URI: museum2, Once: "form"}
		clone, err := w.fleet.CloneSite(w.ctx, "ada", in)
		ok(w.T, err)
		twin, err := w.fleet.CloneSite(w.ctx, "ada", in)
		ok(w.T, err)
		want(w.T, "of the form posted twice", twin.ID, clone.ID)
		want(w.T, "platform", clone.PlatformID, p.ID)
		want(w.T, "title", clone.Title, site.Title)
		w.failing("clone")
		w.run(w.pending(models.TaskClone).ID)
		want(w.T, "state", w.at(clone.ID).State, models.SiteBroken)
		w.hosting.act = nil
		again := w.task(w.fleet.RetryInstall(w.ctx, "ada", clone.ID))
		want(w.T, "it clones again", again.Kind, models.TaskClone)
		want(w.T, "state", w.at(clone.ID).State, models.SiteEnabled)
		want(w.T, "database", w.at(clone.ID).Database.Name, "/db/"+museum2)
	})
}

func TestFleet_FindSites_AndAdopt(t *testing.T) {
	each(t, func(w *world) {
		p, _ := w.lived()
		for _, root := range []string{"", "relative", "/a\nb"} {
			_, err := w.fleet.FindSites(w.ctx, "ada", root)
			wantFields(w.T, err, "root")
		}
		w.hosting.found = []models.FoundSite{
			{Root: "/srv/old", Folder: "default", URI: "old.example.org", Profile: "standard", Engine: models.EngineSQLite, Title: "Old"},
			{Root: "/srv/old", Folder: "shop", URI: "shop.example.org", Problem: "Its database does not answer."},
			{Root: "/srv/old", Folder: "big", URI: "big.example.org", Profile: "standard", Engine: models.EngineMySQL},
		}
		looked := w.task(w.fleet.FindSites(w.ctx, "ada", "/srv/old/"))
		want(w.T, "message", looked.Message, "3 sites found, 2 can be adopted")
		adopt := func(folder string) error {
			_, err := w.fleet.CloneSite(w.ctx, "ada", fleet.NewClone{FromFound: looked.ID, Folder: folder, URI: folder + ".example.org", PlatformID: p.ID})
			return err
		}
		wantCode(w.T, adopt("shop"), models.Conflict, "does not answer")
		wantCode(w.T, adopt("none"), models.NotFound, "sites/none")
		wantFields(w.T, adopt("big"), "database")
		ok(w.T, adopt("default"))
		w.run(w.pending(models.TaskClone).ID)
		want(w.T, "adopted", w.did("clone /srv/old default to default.example.org on "+p.Name), true)
	})
}

func TestFleet_RollbackSite_GoesBackAndKeeps(t *testing.T) {
	each(t, func(w *world) {
		old, target, sites := w.behind(museum)
		site := sites[0]
		_, err := w.fleet.RollbackPlan(w.ctx, site.ID)
		wantCode(w.T, err, models.NotFound, "nothing to go back to")
		w.task(w.fleet.UpgradeSite(w.ctx, "ada", site.ID, target.ID))
		newer := w.at(site.ID).Database
		w.hosting.loss = models.Loss{Tables: []models.TableLoss{{Table: "node", Added: 2}}}
		plan, err := w.fleet.RollbackPlan(w.ctx, site.ID)
		ok(w.T, err)
		want(w.T, "back to", plan.To.ID, old.ID)
		want(w.T, "loses", plan.Loss.Tables[0].Added, 2)
		_, err = w.fleet.DeletePlatform(w.ctx, "ada", old.ID)
		wantCode(w.T, err, models.Conflict, "rolled back")
		_, err = w.fleet.RollbackSite(w.ctx, "ada", site.ID, plan.Upgrade.ID+1)
		wantCode(w.T, err, models.Conflict, "moved again")

		keep := errors.New("the disk is full")
		var again func(ctx context.Context) error
		w.hosting.upgrade = func(ctx context.Context, m upgrade.Move, _ upgrade.Journal) upgrade.Outcome {
			u := m.Upgrade
			again = func(ctx context.Context) error {
				return m.Keep(ctx, func(b models.Backup) (models.Backup, error) {
					b.Path, b.Digest = "/backups/left", "abc"
					return b, keep
				})
			}
			want(w.T, "backing up what is left fails", errors.Is(again(ctx), keep), true)
			want(w.T, "kind", u.Kind, models.KindRollback)
			want(w.T, "undoes", m.Undoes.ID, plan.Upgrade.ID)
			want(w.T, "database to go back to", u.NewDatabase, plan.Upgrade.OldDatabase)
			u.Switched = true
			return upgrade.Outcome{State: models.UpgradeSucceeded, Upgrade: u}
		}
		ok(w.T, w.fleet.HoldSite(w.ctx, "ada", site.ID, "Broken by the upgrade", nil)) // a hold keeps from upgrades only
		back := w.task(w.fleet.RollbackSite(w.ctx, "ada", site.ID, plan.Upgrade.ID))
		want(w.T, "task", back.State, models.TaskSucceeded)
		now := w.at(site.ID)
		want(w.T, "platform", now.PlatformID, old.ID)
		want(w.T, "database", now.Database, site.Database)
		undone, err := w.Upgrade(w.ctx, plan.Upgrade.ID)
		ok(w.T, err)
		want(w.T, "marked", undone.RolledBackAt != nil, true)

		// After a week the newer version goes once it is in a backup, and nothing
		// that is in use.
		w.clock.pass(8 * 24 * time.Hour)
		ok(w.T, w.fleet.Tidy(w.ctx))
		want(w.T, "forgotten without a backup", len(w.hosting.forgotten), 0)
		keep = nil
		ok(w.T, again(w.ctx))
		ok(w.T, w.fleet.Tidy(w.ctx))
		want(w.T, "forgotten", strings.Join(w.hosting.forgotten, "; "), fmt.Sprintf("%s from %s with %q", museum, target.Name, newer.Name))
	})
}

func TestFleet_RestoreSite_OfABrokenSite(t *testing.T) {
	each(t, func(w *world) {
		p, site := w.lived()
		w.task(w.fleet.BackupSite(w.ctx, "ada", site.ID, "", false))
		list, err := w.fleet.Backups(w.ctx, site.ID, 1)
		ok(w.T, err)
		ok(w.T, w.MoveSite(w.ctx, "ada", site, models.SiteBroken, "It answers 500."))
		_, err = w.fleet.RestoreSite(w.ctx, "ada", list[0].ID, p.ID+100)
		wantFields(w.T, err, "platform")

		w.hosting.upgrade = func(_ context.Context, m upgrade.Move, _ upgrade.Journal) upgrade.Outcome {
			want(w.T, "backup", m.Backup.ID, list[0].ID)
			return upgrade.Outcome{State: models.UpgradeRecovered, Upgrade: m.Upgrade, Err: errors.New("it is damaged")}
		}
		failed := w.task(w.fleet.RestoreSite(w.ctx, "ada", list[0].ID, p.ID))
		want(w.T, "task", failed.State, models.TaskRecovered)
		want(w.T, "it is as broken as before", w.at(site.ID).State, models.SiteBroken)
		w.hosting.upgrade = nil
		w.task(w.fleet.RetryTask(w.ctx, "ada", failed.ID))
		want(w.T, "state", w.at(site.ID).State, models.SiteEnabled)
	})
}

func TestFleet_DeletePlatform_OnlyWhenNothingNeedsIt(t *testing.T) {
	each(t, func(w *world) {
		old, target, sites := w.behind(museum)
		_, err := w.fleet.DeletePlatform(w.ctx, "ada", target.ID)
		wantCode(w.T, err, models.Conflict, "upgrade target")
		_, err = w.fleet.DeletePlatform(w.ctx, "ada", old.ID)
		wantCode(w.T, err, models.Conflict, museum)
		w.task(w.fleet.DeleteSite(w.ctx, "ada", sites[0].ID, museum, false))
		task, err := w.fleet.DeletePlatform(w.ctx, "ada", old.ID)
		ok(w.T, err)
		want(w.T, "task", w.run(task.ID).State, models.TaskSucceeded)
		p, err := w.Platform(w.ctx, old.ID)
		ok(w.T, err)
		want(w.T, "state", p.State, models.PlatformDeleted)
		missing, err := w.platforms.Missing([]string{old.Root, target.Root})
		ok(w.T, err)
		want(w.T, "folders gone", fmt.Sprint(missing), fmt.Sprint([]string{old.Root}))
	})
}

func TestFleet_Tidy_KeepsTheLastPlatforms(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		w.site(museum, w.named("thunder-a1").ID)
		for _, label := range []string{"b2", "c3", "d4", "e5"} {
			w.moves(d, label)
		}
		_, err := w.fleet.UpdateDistribution(w.ctx, "ada", d.ID, fleet.NewDistribution{Name: "Thunder", Settings: d.Settings, KeepPlatforms: 1})
		ok(w.T, err)
		ok(w.T, w.fleet.Tidy(w.ctx))
		w.work()
		left, err := w.PlatformsOf(w.ctx, d.ID)
		ok(w.T, err)
		var names []string
		for _, p := range left {
			names = append(names, p.Name)
		}
		// The target, the one before it, and the one that a site lives on.
		want(w.T, "left", strings.Join(names, " "), "thunder-e5 thunder-d4 thunder-a1")
	})
}

func TestFleet_SaveDatabaseServer_TestedAndSealed(t *testing.T) {
	each(t, func(w *world) {
		p, _ := w.lived()
		_, err := w.fleet.SaveDatabaseServer(w.ctx, "ada", models.DatabaseServer{Engine: "oracle", Port: -1})
		wantFields(w.T, err, "name", "engine", "host", "port", "user")
		in := models.DatabaseServer{Name: "Main", Engine: models.EngineMySQL, Host: "db.example.org", User: "admin", Password: "open sesame", Default: true}
		w.failing("test")
		_, err = w.fleet.SaveDatabaseServer(w.ctx, "ada", in)
		wantCode(w.T, err, models.Unavailable)
		if rows, err := w.fleet.DatabaseServers(w.ctx); err != nil || len(rows) > 0 {
			w.Errorf("a server that failed its test was stored: %v", err)
		}
		w.hosting.act = nil
		s, err := w.fleet.SaveDatabaseServer(w.ctx, "ada", in)
		ok(w.T, err)
		want(w.T, "version", s.Version, "MariaDB 10.11")
		want(w.T, "shown password", s.Password, "")
		stored, err := w.DatabaseServer(w.ctx, s.ID)
		ok(w.T, err)
		want(w.T, "sealed", contains(string(stored.Secret), "open sesame"), false)
		opened, err := w.fleet.OpenDatabaseServer(w.ctx, s.ID)
		ok(w.T, err)
		want(w.T, "password", opened.Password, "open sesame")

		// A kept password stays with its address.
		s.Name = "Renamed"
		_, err = w.fleet.SaveDatabaseServer(w.ctx, "ada", s)
		ok(w.T, err)
		want(w.T, "tested with it", w.did(`test mysql admin@db.example.org with "open sesame"`), true)
		s.Host = "elsewhere.example.org"
		_, err = w.fleet.SaveDatabaseServer(w.ctx, "ada", s)
		wantFields(w.T, err, "password")

		site, err := w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: museum2, Profile: "standard", PlatformID: p.ID, DatabaseServerID: s.ID})
		ok(w.T, err)
		want(w.T, "server of the site", *site.DatabaseServerID, s.ID)
		wantCode(w.T, w.fleet.DeleteDatabaseServer(w.ctx, "ada", s.ID), models.Conflict, museum2)
		w.work()
		w.failing("test")
		wantCode(w.T, w.fleet.TestDatabaseServer(w.ctx, "ada", s.ID), models.Unavailable)
		decisions, err := w.Decisions(w.ctx, fleet.Filter{Limit: 10})
		ok(w.T, err)
		want(w.T, "decision", slices.ContainsFunc(decisions, func(d fleet.Decision) bool { return d.Kind == fleet.DecideServer && d.Title == "Renamed" }), true)
		_, err = w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: "third.example.org", Profile: "standard", PlatformID: p.ID, DatabaseServerID: s.ID})
		wantFields(w.T, err, "database")
		w.hosting.act = nil
		w.task(w.fleet.DeleteSite(w.ctx, "ada", site.ID, museum2, false))
		ok(w.T, w.fleet.DeleteDatabaseServer(w.ctx, "ada", s.ID))
	})
}
