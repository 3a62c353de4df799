package api

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

const (
	get  = http.MethodGet
	post = http.MethodPost
	put  = http.MethodPut
	del  = http.MethodDelete
)

// SiteIn names a site by its address.
type SiteIn struct {
	Caller

	URI string `path:"site" doc:"The site's address"`
}

// Destination says where an upgrade leads.
type Destination struct {
	To string `query:"to" doc:"Name of a platform of the same distribution; none is the upgrade target"`
}

// moved begins an upgrade.
func (d Destination) moved(ctx context.Context, f Fleet, id int64, toTarget func(ctx context.Context, id int64) (models.Task, error), to func(ctx context.Context, id, targetID int64) (models.Task, error)) (Started, error) {
	if d.To == "" {
		return started(toTarget(ctx, id))
	}
	p, err := f.PlatformNamed(ctx, d.To)
	if err != nil {
		return Started{}, err
	}
	return started(to(ctx, id, p.ID))
}

// onSite is an operation that queues work on a site.
func (s *server) onSite(o operation, do func(f Fleet, ctx context.Context, siteID int64) (models.Task, error)) {
	register(s, o, func(ctx context.Context, f Fleet, in SiteIn) (Started, error) {
		site, err := f.SiteNamed(ctx, in.URI)
		if err != nil {
			return Started{}, err
		}
		return started(do(f, ctx, site.ID))
	})
}

// bodied is a request about a site with a body.
type bodied[T any] struct {
	SiteIn

	Body T
}

// withSite is an operation on a site with a body.
func withSite[B, T any](s *server, o operation, do func(ctx context.Context, f Fleet, site models.Site, body B) (T, error)) {
	register(s, o, func(ctx context.Context, f Fleet, in bodied[B]) (T, error) {
		site, err := f.SiteNamed(ctx, in.URI)
		if err != nil {
			var none T
			return none, err
		}
		return do(ctx, f, site, in.Body)
	})
}

type newSite struct {
	Caller

	Key  string `header:"Idempotency-Key" hidden:"true"`
	Body struct {
		URI      string `json:"uri"`
		Platform string `json:"platform" doc:"Its name"`
		Profile  string `json:"profile,omitempty" default:"standard"`
		Title    string `json:"title,omitempty"`
		Language string `json:"language,omitempty"`
		Database string `json:"database,omitempty" doc:"Name of a database server; none is an SQLite file"`
		Server   string `json:"server,omitempty" doc:"Name of the web host that it is made on; none is the control plane's"`
	}
}

type newClone struct {
	Caller

	Key  string `header:"Idempotency-Key" hidden:"true"`
	Body struct {
		FromSite   string `json:"from_site,omitempty" doc:"Address of the site to copy"`
		FromBackup int64  `json:"from_backup,omitempty"`
		FromImport int64  `json:"from_import,omitempty" doc:"The task that looked for sites"`
		Folder     string `json:"folder,omitempty" doc:"The found site's folder below sites/"`
		URI        string `json:"uri"`
		Title      string `json:"title,omitempty"`
		Platform   string `json:"platform,omitempty"`
		Database   string `json:"database,omitempty" doc:"Name of a database server of the same kind; none is where the origin's is"`
		Server     string `json:"server,omitempty" doc:"Where it goes: name of a web host, or local for the control plane's. It is made where its origin is, and then moved. None leaves it there"`
	}
}

func (s *server) sites() {
	register(s, operation{get, "/sites", "list-sites", "List sites"}, func(ctx context.Context, f Fleet, in struct {
		Paging
		InState

		Behind bool `query:"behind" doc:"Only sites that an upgrade waits for"`
	},
	) (Page[Site], error) {
		return listed(in.Paging, SiteView(f), func(r fleet.SiteRow) fleet.Position { return fleet.Position{Name: r.URI} }, func(filter fleet.Filter) ([]fleet.SiteRow, int, error) {
			filter.Behind, filter.State = in.Behind, in.State
			return f.Sites(ctx, filter)
		})
	})
	register(s, operation{get, "/sites/{site}", "get-site", "One site"}, func(ctx context.Context, f Fleet, in SiteIn) (Site, error) {
		site, err := f.SiteNamed(ctx, in.URI)
		if err != nil {
			return Site{}, err
		}
		row, err := f.SiteRow(ctx, site.ID)
		return SiteView(f)(row), err
	})
	register(s, operation{post, "/sites", "install-site", "Install a new site"}, install)
	register(s, operation{post, "/clones", "clone-site", "Make a site from another one, a backup, or one found outside"}, clone)
	register(s, operation{post, "/sites/{site}/upgrade", "upgrade-site", "Move a site to its distribution's upgrade target, or to another of its platforms"}, func(ctx context.Context, f Fleet, in struct {
		SiteIn
		Destination
	},
	) (Started, error) {
		site, err := f.SiteNamed(ctx, in.URI)
		if err != nil {
			return Started{}, err
		}
		return in.moved(ctx, f, site.ID, f.UpgradeToTarget, f.UpgradeSite)
	})
	s.onSite(operation{post, "/sites/{site}/verify", "verify-site", "Look whether a site is sound"}, Fleet.VerifySite)
	s.onSite(operation{post, "/sites/{site}/disable", "disable-site", "Take a site off the web"}, Fleet.DisableSite)
	s.onSite(operation{post, "/sites/{site}/enable", "enable-site", "Put a site onto the web again"}, Fleet.EnableSite)
	s.onSite(operation{post, "/sites/{site}/cron", "run-cron", "Run a site's cron"}, Fleet.RunCron)
	type home struct {
		Server string `json:"server" doc:"Name of a web host, or local for the control plane's"`
	}
	withSite(s, operation{post, "/sites/{site}/move", "move-site", "Move a site to another server"},
		func(ctx context.Context, f Fleet, site models.Site, body home) (Started, error) {
			// Before anything is looked up: who may not learns nothing of servers.
			if err := f.Actor().Needs(models.MayRelocateSites); err != nil {
				return Started{}, err
			}
			server, err := serverID(ctx, f, body.Server)
			if err != nil {
				return Started{}, err
			}
			return started(f.RelocateSite(ctx, site.ID, server))
		})
	s.rollbacks()
	s.care()
}

// Rollback is what taking a site's last move back would do.
type Rollback struct {
	Upgrade int64       `json:"upgrade" doc:"To be named when rolling back"`
	To      string      `json:"to" doc:"The platform that it goes back to"`
	Until   time.Time   `json:"until"`
	Loss    models.Loss `json:"loss"`
}

// RollbackView gives what a rollback would do as programs read it.
func RollbackView(p fleet.RollbackPlan) Rollback {
	p.Loss.Tables = list(p.Loss.Tables)
	return Rollback{p.Upgrade.ID, p.To.Name, p.Until, p.Loss}
}

func (s *server) rollbacks() {
	register(s, operation{get, "/sites/{site}/rollback", "quote-rollback", "What taking a site's last move back would lose"},
		func(ctx context.Context, f Fleet, in SiteIn) (Rollback, error) {
			site, err := f.SiteNamed(ctx, in.URI)
			if err != nil {
				return Rollback{}, err
			}
			plan, err := f.RollbackPlan(ctx, site.ID)
			return RollbackView(plan), err
		})
	type which struct {
		Upgrade int64 `json:"upgrade"`
	}
	withSite(s, operation{post, "/sites/{site}/rollback", "rollback-site", "Take a site's last move back"},
		func(ctx context.Context, f Fleet, site models.Site, body which) (Started, error) {
			return started(f.RollbackSite(ctx, site.ID, body.Upgrade))
		})
}

// care is what is done to a site beside moving it.
func (s *server) care() {
	type hold struct {
		Reason string     `json:"reason"`
		Until  *time.Time `json:"until,omitempty"`
	}
	withSite(s, operation{post, "/sites/{site}/hold", "hold-site", "Keep a site where it is"},
		func(ctx context.Context, f Fleet, site models.Site, body hold) (done, error) {
			return done{true}, f.HoldSite(ctx, site.ID, body.Reason, body.Until)
		})
	register(s, operation{post, "/sites/{site}/release", "release-site", "End a hold"}, func(ctx context.Context, f Fleet, in SiteIn) (done, error) {
		site, err := f.SiteNamed(ctx, in.URI)
		if err != nil {
			return done{}, err
		}
		return done{true}, f.ReleaseSite(ctx, site.ID)
	})
	type link struct {
		URL string `json:"url"`
	}
	register(s, operation{post, "/sites/{site}/login", "login-to-site", "A one-time link that signs in as the site's first user"},
		func(ctx context.Context, f Fleet, in SiteIn) (link, error) {
			site, err := f.SiteNamed(ctx, in.URI)
			if err != nil {
				return link{}, err
			}
			address, err := f.LoginToSite(ctx, site.ID)
			return link{address}, err
		})
	withSite(s, operation{put, "/sites/{site}/settings", "configure-site", "Replace how a site is served and looked after"},
		func(ctx context.Context, f Fleet, site models.Site, body Settings) (Started, error) {
			return started(f.ConfigureSite(ctx, site.ID, body.settings()))
		})
	register(s, operation{del, "/sites/{site}", "delete-site", "Delete a site, after a last backup"}, func(ctx context.Context, f Fleet, in struct {
		SiteIn

		Confirm string `query:"confirm" required:"true" doc:"The site's address once more"`
		Backup  bool   `query:"backup" default:"true"`
	},
	) (Started, error) {
		site, err := f.SiteNamed(ctx, in.URI)
		if err != nil {
			return Started{}, err
		}
		return started(f.DeleteSite(ctx, site.ID, in.Confirm, in.Backup))
	})
}

func install(ctx context.Context, f Fleet, in newSite) (Started, error) {
	p, err := platform(ctx, f, in.Body.Platform)
	if err != nil {
		return Started{}, err
	}
	server, err := databaseID(ctx, f, in.Body.Database)
	if err != nil {
		return Started{}, err
	}
	web, err := serverID(ctx, f, in.Body.Server)
	if err != nil {
		return Started{}, err
	}
	b := in.Body
	site, err := f.CreateSite(ctx, fleet.NewSite{
		ServerID: web,
		URI:      b.URI, Title: b.Title, Profile: b.Profile, PlatformID: p.ID, Language: b.Language, DatabaseServerID: server, Once: once(f, in.Key),
	})
	return made(ctx, f, site, err)
}

// once makes the key of one Caller its own.
func once(f Fleet, key string) string {
	if key == "" {
		return ""
	}
	return "api " + f.Actor().Name + " " + key
}

func clone(ctx context.Context, f Fleet, in newClone) (Started, error) {
	b := in.Body
	if b.Server != "" {
		// Before anything is looked up: who may not learns nothing of servers.
		if err := f.Actor().Needs(models.MayRelocateSites); err != nil {
			return Started{}, err
		}
	}
	clone := fleet.NewClone{FromBackup: b.FromBackup, FromFound: b.FromImport, Folder: b.Folder, URI: b.URI, Title: b.Title, Once: once(f, in.Key)}
	if b.FromSite != "" {
		from, err := f.SiteNamed(ctx, b.FromSite)
		if err != nil {
			return Started{}, err
		}
		clone.FromSite = from.ID
	}
	if b.Platform != "" {
		p, err := platform(ctx, f, b.Platform)
		if err != nil {
			return Started{}, err
		}
		clone.PlatformID = p.ID
	}
	server, err := databaseID(ctx, f, b.Database)
	if err != nil {
		return Started{}, err
	}
	clone.DatabaseServerID = server
	if b.Server != "" {
		to, err := serverID(ctx, f, b.Server)
		if err != nil {
			return Started{}, err
		}
		clone.ServerID = &to
	}
	site, err := f.CloneSite(ctx, clone)
	return made(ctx, f, site, err)
}

// made gives the task that makes a new site: of several, the one over them.
func made(ctx context.Context, f Fleet, site models.Site, err error) (Started, error) {
	if err != nil {
		return Started{}, err
	}
	list, err := f.SubjectTasks(ctx, []models.Subject{{Kind: models.SubjectSite, ID: site.ID}}, 1)
	if err != nil || len(list) == 0 {
		return Started{}, err
	}
	if list[0].ParentID != nil {
		return started(f.Task(ctx, *list[0].ParentID))
	}
	return started(list[0], nil)
}

// newest gives the last task of a subject, unless it could not be made.
func newest(ctx context.Context, f Fleet, subject models.Subject, err error) (Started, error) {
	if err != nil {
		return Started{}, err
	}
	list, err := f.SubjectTasks(ctx, []models.Subject{subject}, 1)
	if err != nil || len(list) == 0 {
		return Started{}, err
	}
	return started(list[0], nil)
}

// platform finds a platform; what is not there is the request's fault.
func platform(ctx context.Context, f Fleet, name string) (models.Platform, error) {
	p, err := f.PlatformNamed(ctx, name)
	if models.CodeOf(err) == models.NotFound {
		err = models.InvalidField("platform", "There is no platform of this name.")
	}
	return p, err
}

// databaseID finds a database server; "" is none.
func databaseID(ctx context.Context, f Fleet, name string) (int64, error) {
	id, err := f.DatabaseServerNamed(ctx, name)
	if models.CodeOf(err) == models.NotFound {
		err = models.InvalidField("database", "There is no database server of this name.")
	}
	return id, err
}

// BackupIn names a backup.
type BackupIn struct {
	Caller

	ID int64 `path:"backup"`
}

func (s *server) backups() {
	type order struct {
		Note string `json:"note,omitempty"`
		Keep bool   `json:"keep,omitempty"`
	}
	withSite(s, operation{post, "/sites/{site}/backups", "backup-site", "Back a site up"},
		func(ctx context.Context, f Fleet, site models.Site, body order) (Started, error) {
			return started(f.BackupSite(ctx, site.ID, body.Note, body.Keep))
		})
	register(s, operation{get, "/sites/{site}/backups", "list-backups", "List a site's backups, newest first"}, func(ctx context.Context, f Fleet, in struct {
		Steps

		URI string `path:"site" doc:"The site's address"`
	},
	) (Page[Backup], error) {
		site, err := f.SiteNamed(ctx, in.URI)
		if err != nil {
			return Page[Backup]{}, err
		}
		return listed(in.Steps, BackupView, func(b models.Backup) fleet.Position { return fleet.Position{ID: b.ID} }, func(filter fleet.Filter) ([]models.Backup, int, error) {
			return f.BackupRows(ctx, site.ID, filter)
		})
	})
	register(s, operation{get, "/backups/{backup}", "get-backup", "One backup"}, func(ctx context.Context, f Fleet, in BackupIn) (Backup, error) {
		b, err := f.Backup(ctx, in.ID)
		return BackupView(b), err
	})
	register(s, operation{put, "/backups/{backup}/keep", "keep-backup", "Keep a backup from retention, or not"}, func(ctx context.Context, f Fleet, in struct {
		BackupIn

		Body struct {
			Keep bool `json:"keep"`
		}
	},
	) (done, error) {
		return done{true}, f.KeepBackup(ctx, in.ID, in.Body.Keep)
	})
	register(s, operation{del, "/backups/{backup}", "delete-backup", "Delete a backup"}, func(ctx context.Context, f Fleet, in BackupIn) (done, error) {
		return done{true}, f.DeleteBackup(ctx, in.ID)
	})
	register(s, operation{post, "/backups/{backup}/restore", "restore-site", "Bring a site's content back from a backup"}, func(ctx context.Context, f Fleet, in struct {
		BackupIn

		Body struct {
			Platform string `json:"platform" doc:"The one that the site is on, or the one that the backup was made on"`
		}
	},
	) (Started, error) {
		p, err := platform(ctx, f, in.Body.Platform)
		if err != nil {
			return Started{}, err
		}
		return started(f.RestoreSite(ctx, in.ID, p.ID))
	})
}

// PlatformIn names a platform.
type PlatformIn struct {
	Caller

	Name string `path:"platform" doc:"The platform's name"`
}

func (s *server) onPlatform(o operation, do func(f Fleet, ctx context.Context, id int64) (models.Task, error)) {
	register(s, o, func(ctx context.Context, f Fleet, in PlatformIn) (Started, error) {
		p, err := f.PlatformNamed(ctx, in.Name)
		if err != nil {
			return Started{}, err
		}
		return started(do(f, ctx, p.ID))
	})
}

func (s *server) atPlatform(o operation, do func(f Fleet, ctx context.Context, id int64) error) {
	register(s, o, func(ctx context.Context, f Fleet, in PlatformIn) (done, error) {
		p, err := f.PlatformNamed(ctx, in.Name)
		if err != nil {
			return done{}, err
		}
		return done{true}, do(f, ctx, p.ID)
	})
}

func (s *server) platforms() {
	register(s, operation{get, "/platforms", "list-platforms", "List platforms"}, func(ctx context.Context, f Fleet, in struct {
		Paging

		State        string `query:"state" enum:"queued,building,ready,failed,deleting,deleted" doc:"Only those in this state; none is all but deleted ones"`
		Distribution string `query:"distribution" maxLength:"200" doc:"Short name of the distribution whose platforms are asked for"`
	},
	) (Page[Platform], error) {
		var of int64
		if in.Distribution != "" {
			d, err := f.DistributionNamed(ctx, in.Distribution)
			if err != nil {
				return Page[Platform]{}, err
			}
			of = d.ID
		}
		return listed(in.Paging, PlatformView, func(r fleet.PlatformRow) fleet.Position { return fleet.Position{ID: r.ID} }, func(filter fleet.Filter) ([]fleet.PlatformRow, int, error) {
			filter.DistributionID, filter.State = of, in.State
			return f.Platforms(ctx, filter)
		})
	})
	register(s, operation{get, "/platforms/{platform}", "get-platform", "One platform"}, func(ctx context.Context, f Fleet, in PlatformIn) (PlatformDetails, error) {
		p, err := f.PlatformNamed(ctx, in.Name)
		if err != nil {
			return PlatformDetails{}, err
		}
		row, err := f.PlatformRow(ctx, p.ID)
		if err != nil {
			return PlatformDetails{}, err
		}
		p, err = f.Platform(ctx, p.ID)
		return PlatformDetailsView(row, p), err
	})
	s.onPlatform(operation{post, "/platforms/{platform}/verify", "verify-platform", "Compare a platform's files with those that were built"}, Fleet.VerifyPlatform)
	s.onPlatform(operation{post, "/platforms/{platform}/build", "build-platform", "Build a failed platform again"}, Fleet.RetryBuild)
	register(s, operation{post, "/platforms/{platform}/upgrade", "upgrade-platform", "Upgrade every site of a platform"}, func(ctx context.Context, f Fleet, in struct {
		PlatformIn
		Destination
	},
	) (Started, error) {
		p, err := f.PlatformNamed(ctx, in.Name)
		if err != nil {
			return Started{}, err
		}
		return in.moved(ctx, f, p.ID, f.UpgradePlatformToTarget, f.UpgradePlatform)
	})
	s.onPlatform(operation{del, "/platforms/{platform}", "delete-platform", "Delete a platform that no site needs"}, Fleet.DeletePlatform)
	s.atPlatform(operation{post, "/platforms/{platform}/lock", "lock-platform", "Bar a platform from new sites"}, Fleet.LockPlatform)
	s.atPlatform(operation{post, "/platforms/{platform}/unlock", "unlock-platform", "Let a platform take new sites"}, Fleet.UnlockPlatform)
	s.atPlatform(operation{post, "/platforms/{platform}/target", "set-target", "Make a platform the upgrade target"}, Fleet.SetTarget)
	s.diffs()
}

// SiteDiff is what moving one site would meet.
type SiteDiff struct {
	Site     string   `json:"site"`
	Asked    bool     `json:"asked" doc:"Drush was asked already"`
	Updates  int      `json:"database_updates"`
	Blockers []string `json:"blockers,omitempty"`
}

// PlatformDiff is two platforms side by side.
type PlatformDiff struct {
	Packages []models.PackageDiff `json:"packages" nullable:"false" doc:"What is on either, worst first"`
	Sites    []SiteDiff           `json:"sites" nullable:"false" doc:"Of the first, with what moving each would meet"`
}

// PlatformDiffView gives two platforms side by side as programs read it.
func PlatformDiffView(d fleet.PlatformDiff) PlatformDiff {
	v := PlatformDiff{Packages: list(d.Packages), Sites: []SiteDiff{}}
	for _, one := range d.Sites {
		view := SiteDiff{Site: one.Site.URI}
		if c := one.Comparison; c != nil {
			view.Asked, view.Updates, view.Blockers = true, len(c.Updates), c.Blockers
		}
		v.Sites = append(v.Sites, view)
	}
	return v
}

func (s *server) diffs() {
	register(s, operation{get, "/platforms/{platform}/diff/{other}", "diff-platforms", "Two platforms side by side"}, func(ctx context.Context, f Fleet, in struct {
		PlatformIn

		Other string `path:"other"`
	},
	) (PlatformDiff, error) {
		from, err := f.PlatformNamed(ctx, in.Name)
		if err != nil {
			return PlatformDiff{}, err
		}
		to, err := f.PlatformNamed(ctx, in.Other)
		if err != nil {
			return PlatformDiff{}, err
		}
		found, err := f.DiffPlatforms(ctx, from.ID, to.ID)
		return PlatformDiffView(found), err
	})
}

// DatabaseIn names a database server.
type DatabaseIn struct {
	Caller

	Name string `path:"database" doc:"The server's name"`
}

// DatabaseBody is a database server as it is sent.
type DatabaseBody struct {
	Engine   string         `json:"engine" enum:"mysql,postgres"`
	Host     string         `json:"host"`
	Port     int            `json:"port,omitempty"`
	User     string         `json:"user"`
	Password string         `json:"password,omitempty" doc:"None keeps the stored one, as long as the address stays"`
	TLS      models.TLSMode `json:"tls,omitempty" enum:"off,require,verify" default:"off"`
	Clients  string         `json:"clients,omitempty"`
	Prefix   string         `json:"prefix,omitempty"`
	Default  bool           `json:"default,omitempty"`
}

func (b DatabaseBody) server(id int64, name string) models.DatabaseServer {
	return models.DatabaseServer{
		ID: id, Name: name, Engine: b.Engine, Host: b.Host, Port: b.Port, User: b.User, Password: b.Password, TLS: b.TLS, Clients: b.Clients, Prefix: b.Prefix, Default: b.Default,
	}
}

func databaseRow(ctx context.Context, f Fleet, in DatabaseIn) (fleet.DatabaseServerRow, error) {
	return f.DatabaseServerRow(ctx, in.Name)
}

func (s *server) databases() {
	register(s, operation{get, "/databases", "list-databases", "List the database servers for sites"}, func(ctx context.Context, f Fleet, in Steps) (Page[Database], error) {
		rows, err := f.DatabaseServers(ctx)
		return whole(in, rows, err, DatabaseView, func(r fleet.DatabaseServerRow) fleet.Position { return fleet.Position{Name: strings.ToLower(r.Name)} })
	})
	about(s, operation{get, "/databases/{database}", "get-database", "One database server"}, databaseRow,
		func(_ context.Context, _ Fleet, row fleet.DatabaseServerRow, _ DatabaseIn) (Database, error) {
			return DatabaseView(row), nil
		})
	register(s, operation{post, "/databases", "add-database", "Register a database server, once it has shown what it can do"}, func(ctx context.Context, f Fleet, in struct {
		Caller

		Body struct {
			DatabaseBody

			Name string `json:"name"`
		}
	},
	) (Database, error) {
		saved, err := f.SaveDatabaseServer(ctx, in.Body.server(0, in.Body.Name))
		return DatabaseView(fleet.DatabaseServerRow{DatabaseServer: saved}), err
	})
	type changedDatabase struct {
		DatabaseBody

		Name string `json:"name,omitempty" doc:"From now on; none keeps it"`
	}
	type change struct {
		DatabaseIn

		Body changedDatabase
	}
	about(s, operation{put, "/databases/{database}", "change-database", "Replace how a database server is reached, once it has shown what it can do there"},
		func(ctx context.Context, f Fleet, in change) (fleet.DatabaseServerRow, error) {
			return databaseRow(ctx, f, in.DatabaseIn)
		},
		func(ctx context.Context, f Fleet, row fleet.DatabaseServerRow, in change) (Database, error) {
			saved, err := f.SaveDatabaseServer(ctx, in.Body.server(row.ID, cmp.Or(in.Body.Name, row.Name)))
			row.DatabaseServer = saved
			return DatabaseView(row), err
		})
	work := func(o operation, do func(f Fleet, ctx context.Context, id int64) error) {
		about(s, o, databaseRow, func(ctx context.Context, f Fleet, row fleet.DatabaseServerRow, _ DatabaseIn) (done, error) {
			return done{true}, do(f, ctx, row.ID)
		})
	}
	work(operation{post, "/databases/{database}/test", "test-database", "Ask a database server again"}, Fleet.TestDatabaseServer)
	work(operation{del, "/databases/{database}", "delete-database", "Forget a database server that no site uses"}, Fleet.DeleteDatabaseServer)
}

// TaskIn names a task.
type TaskIn struct {
	Caller

	ID int64 `path:"task"`
}

func (s *server) tasks() {
	register(s, operation{get, "/tasks", "list-tasks", "List tasks, newest first"}, func(ctx context.Context, f Fleet, in struct {
		Paging

		State string `query:"state" enum:"queued,running,succeeded,warning,recovered,failed,cancelled" doc:"Only those in this state"`
	},
	) (Page[Task], error) {
		return listed(in.Paging, TaskView, func(t models.Task) fleet.Position { return fleet.Position{ID: t.ID} }, func(filter fleet.Filter) ([]models.Task, int, error) {
			filter.State = in.State
			return f.Tasks(ctx, filter)
		})
	})
	register(s, operation{get, "/tasks/{task}", "get-task", "One task"}, func(ctx context.Context, f Fleet, in TaskIn) (Task, error) {
		t, err := f.Task(ctx, in.ID)
		return TaskView(t), err
	})
	register(s, operation{get, "/tasks/{task}/children", "list-task-children", "The tasks that a task started"}, func(ctx context.Context, f Fleet, in struct {
		Steps

		ID int64 `path:"task"`
	},
	) (Page[Task], error) {
		if _, err := f.Task(ctx, in.ID); err != nil {
			return Page[Task]{}, err
		}
		rows, err := f.Children(ctx, in.ID)
		return whole(in.Steps, rows, err, TaskView, func(t models.Task) fleet.Position { return fleet.Position{ID: t.ID} })
	})
	type lines struct {
		Lines []Line `json:"lines"`
		Next  int64  `json:"next" doc:"Give it as after to read on"`
	}
	register(s, operation{get, "/tasks/{task}/log", "get-task-log", "A part of a task's log"}, func(ctx context.Context, f Fleet, in struct {
		TaskIn

		After int64 `query:"after" default:"0" doc:"Lines after this one"`
		Limit int   `query:"limit" default:"500" minimum:"1" maximum:"2000"`
	},
	) (lines, error) {
		if _, err := f.Task(ctx, in.ID); err != nil {
			return lines{}, err
		}
		list, err := f.Lines(ctx, in.ID, in.After, in.Limit)
		answer := lines{Lines: make([]Line, 0, len(list)), Next: in.After}
		for _, l := range list {
			answer.Lines = append(answer.Lines, Line{l.ID, l.At, l.Step, l.Level, l.Text})
			answer.Next = l.ID
		}
		return answer, err
	})
	register(s, operation{post, "/tasks/{task}/cancel", "cancel-task", "Cancel a task"}, func(ctx context.Context, f Fleet, in TaskIn) (done, error) {
		return done{true}, f.CancelTask(ctx, in.ID)
	})
	register(s, operation{post, "/tasks/{task}/retry", "retry-task", "Do the same work once more"}, func(ctx context.Context, f Fleet, in TaskIn) (Started, error) {
		return started(f.RetryTask(ctx, in.ID))
	})
}

func (s *server) imports() {
	register(s, operation{post, "/imports", "find-sites", "Look for sites in a code base outside of Hefring; nothing there is changed"}, func(ctx context.Context, f Fleet, in struct {
		Caller

		Body struct {
			Root string `json:"root" doc:"Absolute folder on the server"`
		}
	},
	) (Started, error) {
		return started(f.FindSites(ctx, in.Body.Root))
	})
	register(s, operation{get, "/imports/{task}", "found-sites", "What was found"}, func(ctx context.Context, f Fleet, in struct {
		Steps

		ID int64 `path:"task"`
	},
	) (Page[models.FoundSite], error) {
		found, err := f.FoundSites(ctx, in.ID)
		return whole(in.Steps, found, err, same, func(f models.FoundSite) fleet.Position { return fleet.Position{Name: f.Folder} })
	})
}
