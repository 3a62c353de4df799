package webtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// note keeps what a use case was told, for tests.
func (f *Fleet) note(said ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Said = nil
	for _, s := range said {
		if at, ok := s.(*time.Time); ok {
			if at == nil {
				s = "never"
			} else {
				s = at.Format(time.RFC3339)
			}
		}
		f.Said = append(f.Said, fmt.Sprint(s))
	}
}

// begin notes a call and gives the task of a kind, as if it were the one that
// was made.
func (f *Fleet) begin(method string, kind models.TaskKind) (models.Task, error) {
	if err := f.called(method); err != nil {
		return models.Task{}, err
	}
	return get(f, &f.Jobs, "task", func(t models.Task) bool { return t.Kind == kind })
}

// DatabaseServers lists the servers.
func (f *Fleet) DatabaseServers(context.Context) ([]fleet.DatabaseServerRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Databases), f.Fail["DatabaseServers"]
}

// DatabaseServerChoices lists them, too.
func (f *Fleet) DatabaseServerChoices(ctx context.Context) ([]fleet.DatabaseServerRow, error) {
	return f.DatabaseServers(ctx)
}

// DatabaseServer gives one.
func (f *Fleet) DatabaseServer(_ context.Context, id int64) (models.DatabaseServer, error) {
	row, err := get(f, &f.Databases, "database server", func(s fleet.DatabaseServerRow) bool { return s.ID == id })
	return row.DatabaseServer, err
}

// SaveDatabaseServer keeps one without its password.
func (f *Fleet) SaveDatabaseServer(_ context.Context, s models.DatabaseServer) (models.DatabaseServer, error) {
	if err := f.called("SaveDatabaseServer"); err != nil {
		return models.DatabaseServer{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Server1 = s
	if wrong := s.Validate(); len(wrong) > 0 {
		return s, &models.Error{Code: models.Invalid, Message: "Please check the marked fields.", Fields: wrong}
	}
	s.Password = ""
	for i := range f.Databases {
		if f.Databases[i].ID == s.ID {
			f.Databases[i].DatabaseServer = s
			return s, nil
		}
	}
	s.ID = f.nextID()
	f.Databases = append(f.Databases, fleet.DatabaseServerRow{DatabaseServer: s})
	return s, nil
}

// TestDatabaseServer is only noted.
func (f *Fleet) TestDatabaseServer(_ context.Context, _ int64) error {
	return f.called("TestDatabaseServer")
}

// DeleteDatabaseServer forgets one.
func (f *Fleet) DeleteDatabaseServer(_ context.Context, id int64) error {
	if err := f.called("DeleteDatabaseServer"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Databases = slices.DeleteFunc(f.Databases, func(s fleet.DatabaseServerRow) bool { return s.ID == id })
	return nil
}

// BackupSite is only noted.
func (f *Fleet) BackupSite(_ context.Context, _ int64, note string, keep bool) (models.Task, error) {
	f.note(note, keep)
	return models.Task{}, f.called("BackupSite")
}

// Backups lists a site's backups.
func (f *Fleet) Backups(_ context.Context, siteID int64, limit int) ([]models.Backup, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []models.Backup
	for _, b := range f.Backs {
		if b.SiteID == siteID && len(list) < limit {
			list = append(list, b)
		}
	}
	return list, f.Fail["Backups"]
}

// Backup gives one backup.
func (f *Fleet) Backup(_ context.Context, id int64) (models.Backup, error) {
	return get(f, &f.Backs, "backup", func(b models.Backup) bool { return b.ID == id })
}

// KeepBackup is only noted.
func (f *Fleet) KeepBackup(_ context.Context, _ int64, keep bool) error {
	f.note(keep)
	return f.called("KeepBackup")
}

// DeleteBackup is only noted.
func (f *Fleet) DeleteBackup(_ context.Context, _ int64) error {
	return f.called("DeleteBackup")
}

// RestoreSite gives the task that restores.
func (f *Fleet) RestoreSite(_ context.Context, backupID, platformID int64) (models.Task, error) {
	f.note(backupID, platformID)
	return f.begin("RestoreSite", models.TaskRestore)
}

// CloneSite makes a site; the same token again gives the first.
func (f *Fleet) CloneSite(_ context.Context, in fleet.NewClone) (models.Site, error) {
	if err := f.called("CloneSite"); err != nil {
		return models.Site{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Clone1 = in
	if first, twin := f.onces[in.Once]; twin && in.Once != "" {
		return models.Site{ID: first, URI: in.URI}, nil
	}
	s := models.Site{ID: f.nextID(), URI: in.URI, Title: in.Title, PlatformID: in.PlatformID, State: models.SiteInstalling}
	f.Sits = append(f.Sits, s)
	f.remember(in.Once, s.ID)
	return s, nil
}

// DisableSite is only noted.
func (f *Fleet) DisableSite(_ context.Context, _ int64) (models.Task, error) {
	return models.Task{}, f.called("DisableSite")
}

// EnableSite is only noted.
func (f *Fleet) EnableSite(_ context.Context, _ int64) (models.Task, error) {
	return models.Task{}, f.called("EnableSite")
}

// RunCron is only noted.
func (f *Fleet) RunCron(_ context.Context, _ int64) (models.Task, error) {
	return models.Task{}, f.called("RunCron")
}

// DeleteSite gives the task that deletes, if confirm is the site's URI.
func (f *Fleet) DeleteSite(ctx context.Context, siteID int64, confirm string, backup bool) (models.Task, error) {
	row, err := f.SiteRow(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	f.note(confirm, backup)
	if confirm != row.URI {
		return models.Task{}, models.InvalidField("confirm", "Type "+row.URI+" to say that you mean this site.")
	}
	return f.begin("DeleteSite", models.TaskDelete)
}

// LoginLink is what LoginToSite gives.
const LoginLink = "http://archive.example.org:8080/user/reset/1/1700000000/s3cr3t/login"

// LoginToSite gives LoginLink.
func (f *Fleet) LoginToSite(_ context.Context, _ int64) (string, error) {
	return LoginLink, f.called("LoginToSite")
}

// ConfigureSite keeps what it was told.
func (f *Fleet) ConfigureSite(_ context.Context, _ int64, in fleet.SiteSettings) (models.Task, error) {
	f.Settings1 = in
	return models.Task{}, f.called("ConfigureSite")
}

// RollbackPlan gives the plan of a site.
func (f *Fleet) RollbackPlan(ctx context.Context, siteID int64) (fleet.RollbackPlan, error) {
	plan, ok := f.Backwards[siteID]
	if !ok {
		return plan, models.Errorf(models.NotFound, "There is nothing to go back to: what the last upgrade left was removed.")
	}
	var err error
	if plan.Site, err = f.SiteRow(ctx, siteID); err != nil {
		return plan, err
	}
	return plan, f.failing("RollbackPlan")
}

// RollbackSite gives the task that rolls back.
func (f *Fleet) RollbackSite(_ context.Context, siteID, upgradeID int64) (models.Task, error) {
	f.note(siteID, upgradeID)
	return f.begin("RollbackSite", models.TaskRollback)
}

// RetryTask gives the same task.
func (f *Fleet) RetryTask(ctx context.Context, taskID int64) (models.Task, error) {
	if err := f.called("RetryTask"); err != nil {
		return models.Task{}, err
	}
	return f.Task(ctx, taskID)
}

// FindSites gives the task that looks for sites.
func (f *Fleet) FindSites(_ context.Context, root string) (models.Task, error) {
	f.note(root)
	if !strings.HasPrefix(root, "/") {
		return models.Task{}, models.InvalidField("root", "Give the absolute path of the code base on this server.")
	}
	return f.begin("FindSites", models.TaskImport)
}

// FoundSites lists what a task found.
func (f *Fleet) FoundSites(_ context.Context, taskID int64) ([]models.FoundSite, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Found[taskID]), f.Fail["FoundSites"]
}

// DiffPlatforms compares by version alone.
func (f *Fleet) DiffPlatforms(ctx context.Context, fromID, toID int64) (diff fleet.PlatformDiff, err error) {
	if diff.From, err = f.Platform(ctx, fromID); err != nil {
		return diff, err
	}
	if diff.To, err = f.Platform(ctx, toID); err != nil {
		return diff, err
	}
	to := map[string]models.Package{}
	for _, p := range diff.To.Packages {
		to[p.Name] = p
	}
	for _, p := range diff.From.Packages {
		d := models.PackageDiff{Name: p.Name, Type: p.Type, From: p, To: to[p.Name], Difference: verdict(p, to[p.Name])}
		diff.Packages = append(diff.Packages, d)
		delete(to, p.Name)
	}
	for _, p := range diff.To.Packages {
		if _, left := to[p.Name]; left {
			diff.Packages = append(diff.Packages, models.PackageDiff{Name: p.Name, Type: p.Type, To: p, Difference: models.DiffAdded})
		}
	}
	for _, s := range f.Sits {
		if s.PlatformID != fromID {
			continue
		}
		line := fleet.SiteDiff{Site: &s}
		if c, ok := f.Comparisons[s.ID]; ok {
			line.Comparison = &c
		}
		diff.Sites = append(diff.Sites, line)
	}
	return diff, f.failing("DiffPlatforms")
}

func verdict(from, to models.Package) models.Difference {
	switch {
	case to.Name == "":
		return models.DiffMissing
	case to.Schema < from.Schema:
		return models.DiffError
	case to.Version < from.Version:
		return models.DiffDowngrade
	case to.Version > from.Version:
		return models.DiffUpgrade
	default:
		return models.DiffSame
	}
}

// DeletePlatform gives the task that deletes.
func (f *Fleet) DeletePlatform(_ context.Context, _ int64) (models.Task, error) {
	return f.begin("DeletePlatform", models.TaskDelete)
}

// Ids of what the life of sites adds to the sample fleet.
const (
	DisabledSite   = 40
	DatabaseServer = 1
	BrokenServer   = 2
	ReadyBackup    = 51
	KeptBackup     = 52
	FailedBackup   = 53
	OwnBackup      = 54 // made on another platform than the present one
	RollbackTask   = 121
	RestoreTask    = 122 // running
	ImportTask     = 123
	DeleteTask     = 124
	VerifyTask     = 110
)

func sampleLife(f *Fleet, back func(time.Duration) time.Time) {
	f.Databases = []fleet.DatabaseServerRow{
		{Sites: 12, DatabaseServer: models.DatabaseServer{
			ID: DatabaseServer, Name: "Main database", Engine: models.EngineMySQL, Host: "db1.example.org", Port: 3306, User: "hefring", TLS: models.TLSVerify,
			Clients: "web1.example.org", Prefix: "hefring", Default: true, Version: "11.4.5-MariaDB", TestedAt: new(back(3 * time.Hour)), CreatedAt: back(90 * 24 * time.Hour),
		}},
		{DatabaseServer: models.DatabaseServer{
			ID: BrokenServer, Name: "Reports", Engine: models.EnginePostgres, Host: "/run/postgresql", User: "hefring", TLS: models.TLSOff, Clients: "%", Prefix: "hefring",
			Version: "17.2", TestedAt: new(back(8 * time.Minute)), Reason: "The server does not let the user hefring create databases. Run: ALTER ROLE hefring CREATEDB CREATEROLE.",
		}},
	}
	current := &f.Sits[1]
	current.Aliases, current.Redirect, current.HTTPS = []string{"www.gallery.example.org", "gallery.example.com"}, true, models.HTTPSRequired
	current.Certificate, current.CertificateKey = "/etc/ssl/gallery.pem", "/etc/ssl/gallery.key"
	current.Database = models.Database{Engine: models.EngineMySQL, Name: "hefring_s32_2", Server: DatabaseServer, User: "hefring_s32"}
	current.DatabaseServerID, current.Language = new(int64(DatabaseServer)), "nb"
	current.Probes, current.ProbeText, current.CronEvery, current.CronNextAt = []string{"/", "/collection"}, "Gallery", time.Hour, new(back(-20*time.Minute))
	current.BackupEvery, current.BackupKeep, current.BackupNextAt = 24*time.Hour, 14, new(back(-19*time.Hour))
	f.Sits[3].HeldUntil = new(back(-36 * time.Hour))
	f.Sits = append(f.Sits, models.Site{
		ID: DisabledSite, URI: "harvest.example.net", Title: "Harvest days", PlatformID: Target, State: models.SiteDisabled, Server: "local", Profile: "standard",
		Database: models.Database{Engine: models.EngineSQLite, Name: "/var/lib/hefring/sites/40/db/1.sqlite"}, CreatedAt: back(200 * 24 * time.Hour),
	})
	f.Backs = []models.Backup{
		{ID: ReadyBackup, SiteID: CurrentSite, TaskID: DoneTask, URI: current.URI, PlatformID: Target, Purpose: models.BackupSchedule, State: models.BackupReady, Engine: models.EngineMySQL, DrupalVersion: "10.6.2", Bytes: 61_234_567, Tables: 312, Files: 4121, CreatedAt: back(4 * time.Hour), EndedAt: new(back(4*time.Hour - 11*time.Second))},
		{ID: FailedBackup, SiteID: CurrentSite, URI: current.URI, PlatformID: Target, Purpose: models.BackupSchedule, State: models.BackupFailed, Reason: "The disk of the backups is full: 61 MB are needed, 12 MB are free.", CreatedAt: back(28 * time.Hour)},
		{ID: KeptBackup, SiteID: CurrentSite, URI: current.URI, PlatformID: Target, Purpose: models.BackupManual, State: models.BackupReady, Note: "Before the new design", Keep: true, Engine: models.EngineMySQL, DrupalVersion: "10.6.2", Bytes: 60_234_567, Tables: 312, Files: 4100, CreatedAt: back(9 * 24 * time.Hour)},
		{ID: OwnBackup, SiteID: CurrentSite, URI: current.URI, PlatformID: Outdated, Purpose: models.BackupRollback, State: models.BackupReady, Engine: models.EngineMySQL, DrupalVersion: "10.5.8", Bytes: 59_234_567, Tables: 308, Files: 4090, CreatedAt: back(20 * 24 * time.Hour)},
		{ID: 55, SiteID: CurrentSite, URI: current.URI, PlatformID: Target, Purpose: models.BackupManual, State: models.BackupMaking, CreatedAt: back(2 * time.Second)},
	}
	f.Backwards = map[int64]fleet.RollbackPlan{
		CurrentSite: {
			Upgrade: f.Moves[2], From: f.Plats[1], To: f.Plats[2], Until: back(-6 * 24 * time.Hour),
			Loss: models.Loss{Since: back(2 * time.Hour), Tables: []models.TableLoss{
				{Table: "node", Added: 2},
				{Table: "node_field_data", Added: 2, Changed: 5},
				{Table: "webform_submission", Added: 41, Removed: 1},
				{Table: "key_value", Unknown: true, Why: "it has no column that grows"},
			}},
		},
	}
	f.Found = map[int64][]models.FoundSite{ImportTask: {
		{Root: "/srv/old/drupal", Docroot: "web", Folder: "default", URI: "town-hall.example.org", Title: "Town hall", DrupalVersion: "10.4.9", Profile: "standard", Engine: models.EngineMySQL, Database: "town_hall", Bytes: 4_812_345_678},
		{Root: "/srv/old/drupal", Docroot: "web", Folder: "pool.example.org", URI: "pool.example.org", DrupalVersion: "10.4.9", Profile: "minimal", Engine: models.EngineSQLite, Database: "/srv/old/drupal/web/sites/pool.example.org/files/.ht.sqlite", Bytes: 812_345},
		{Root: "/srv/old/drupal", Docroot: "web", Folder: "market.example.org", URI: "market.example.org", DrupalVersion: "10.4.9", Profile: "standard", Engine: models.EngineMySQL, Database: "market", Problem: "Its tables have the prefix old_. Remove the prefix first, then look again."},
	}}
	f.Plats[1].Packages[1].Schema, f.Plats[2].Packages[1].Schema = 8640, 8639
	sampleMoves(f, back)
}

func sampleMoves(f *Fleet, back func(time.Duration) time.Time) {
	site := func(id int64) models.Subject { return models.Subject{Kind: models.SubjectSite, ID: id} }
	f.Jobs = append(f.Jobs,
		models.Task{ID: RollbackTask, Kind: models.TaskRollback, Subject: site(38), Title: "Roll back a site to 10.5.8", State: models.TaskSucceeded, Attempt: 1, Actor: "admin", CreatedAt: back(30 * time.Hour), StartedAt: new(back(30 * time.Hour)), EndedAt: new(back(30*time.Hour - 3*time.Second))},
		models.Task{ID: RestoreTask, Kind: models.TaskRestore, Subject: site(39), Title: "Restore a site", State: models.TaskRunning, Attempt: 1, Actor: "admin", CreatedAt: back(9 * time.Second), StartedAt: new(back(9 * time.Second))},
		models.Task{ID: ImportTask, Kind: models.TaskImport, Subject: models.Subject{Kind: models.SubjectImport, ID: 1}, Title: "Look for sites in /srv/old/drupal", State: models.TaskSucceeded, Attempt: 1, Actor: "admin", Message: "3 sites were found.", CreatedAt: back(30 * time.Hour), StartedAt: new(back(30 * time.Hour)), EndedAt: new(back(30*time.Hour - time.Second))},
		models.Task{ID: DeleteTask, Kind: models.TaskDelete, Subject: site(41), Title: "Delete an old site", State: models.TaskFailed, Attempt: 1, Actor: "admin", Message: "The backup failed, so nothing was deleted.", CreatedAt: back(31 * time.Hour), StartedAt: new(back(31 * time.Hour)), EndedAt: new(back(31*time.Hour - time.Second))},
	)
	f.Moves = append(f.Moves,
		models.Upgrade{ID: 204, Kind: models.KindRollback, UndoesID: new(int64(205)), TaskID: RollbackTask, SiteID: 38, FromID: Target, ToID: Outdated, Mode: models.ModeDatabase, State: models.UpgradeSucceeded, Switched: true, ReadOnly: 900 * time.Millisecond, StartedAt: new(back(30 * time.Hour)), EndedAt: new(back(30*time.Hour - 3*time.Second)), CreatedAt: back(30 * time.Hour)},
		models.Upgrade{ID: 205, Kind: models.KindUpgrade, TaskID: 113, SiteID: 38, FromID: Outdated, ToID: Target, Mode: models.ModeDatabase, State: models.UpgradeSucceeded, Switched: true, ReadOnly: 9 * time.Second, RolledBackAt: new(back(30 * time.Hour)), StartedAt: new(back(31 * time.Hour)), EndedAt: new(back(31*time.Hour - 40*time.Second)), CreatedAt: back(31 * time.Hour)},
		models.Upgrade{ID: 206, Kind: models.KindRestore, BackupID: new(int64(OwnBackup)), TaskID: RestoreTask, SiteID: 39, FromID: Target, ToID: Target, Mode: models.ModeDatabase, State: models.UpgradeRunning, StartedAt: new(back(9 * time.Second)), CreatedAt: back(9 * time.Second)},
	)
	for i, name := range models.StepsOf(models.KindUpgrade, models.ModeUnknown) {
		f.Steps = append(f.Steps,
			models.UpgradeStep{ID: int64(400 + i), UpgradeID: 204, Name: name, State: models.StepDone, StartedAt: new(back(30 * time.Hour)), EndedAt: new(back(30*time.Hour - 300*time.Millisecond))},
			models.UpgradeStep{ID: int64(430 + i), UpgradeID: 206, Name: name, State: models.StepPending},
		)
	}
	for i := range f.Jobs {
		if f.Jobs[i].ID == VerifyTask {
			f.Jobs[i].Message, f.Jobs[i].Result = "2 files differ from what was built.", `["web/index.php: changed","web/modules/evil.php: not in the manifest"]`
		}
	}
}
