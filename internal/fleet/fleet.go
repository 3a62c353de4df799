// Package fleet holds the use cases: check a distribution, promote a platform,
// upgrade a site. Every door (web, CLI, tasks) calls these and nothing beside
// them.
package fleet

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"hefring/internal/egress"
	"hefring/internal/platforms"
	"hefring/internal/run"
	"hefring/internal/sites/upgrade"
	"hefring/models"
	"hefring/plugins"
)

// Actors that are not people.
const (
	ActorQueue  = "queue"  // the schedule of checks
	ActorSystem = "system" // Hefring itself, after something it did
)

// LocalServer is the name of the server that Hefring runs on.
const LocalServer = models.LocalServer

// Hosting is what happens to sites on a server. All of it is safe to repeat
// after a kill at any point.
type Hosting interface {
	Relocating

	// Install makes the site's folders and database, installs Drupal and opens
	// the site in the web server. It gives the database.
	Install(ctx context.Context, site models.Site, platform models.Platform, log Log) (models.Database, error)
	// Compare asks Drush, on a copy of the site's database, what moving it
	// would do.
	Compare(ctx context.Context, site models.Site, from, to models.Platform, log Log) (models.Comparison, error)
	// Upgrade moves the site, or puts everything back.
	Upgrade(ctx context.Context, move upgrade.Move, journal upgrade.Journal, log Log) upgrade.Outcome
	// Verify fails unless the site answers soundly from its platform.
	Verify(ctx context.Context, site models.Site, platform models.Platform, log Log) error
	// Forget removes what a move kept of the old version: the site's release on
	// the old platform, unless from is no platform, and the old database, if one
	// is named.
	Forget(ctx context.Context, site models.Site, from models.Platform, db models.Database) error
	// Loss tells what a rollback of the upgrade would lose.
	Loss(ctx context.Context, u models.Upgrade) (models.Loss, error)

	// Configure brings the web server to what the site's row says: its names,
	// redirects, certificate, and whether it is disabled.
	Configure(ctx context.Context, site models.Site, log Log) error
	// Cron runs the site's own periodic work.
	Cron(ctx context.Context, site models.Site, platform models.Platform, log Log) error
	// LoginLink makes a link that signs one person in, once, as the site's first
	// user. It is a secret.
	LoginLink(ctx context.Context, site models.Site, platform models.Platform) (string, error)
	// Backup writes the site's content as of one moment and gives b with what is
	// in it. The site goes on being read and written.
	Backup(ctx context.Context, site models.Site, platform models.Platform, b models.Backup, log Log) (models.Backup, error)
	// DropBackup removes a backup's file. One that is not there is no error.
	DropBackup(ctx context.Context, b models.Backup) error
	// Clone makes the site to, on its platform, with the content of another. The
	// origin goes on as it is.
	Clone(ctx context.Context, from models.Origin, to models.Site, platform models.Platform, log Log) (models.Database, error)
	// Delete takes the site off the web and removes all that it had: its
	// databases, its user, its folder, its links in the platforms.
	Delete(ctx context.Context, site models.Site, platforms []models.Platform, log Log) error
	// Find lists the sites of a code base that Hefring does not own. It changes
	// nothing there.
	Find(ctx context.Context, root string, log Log) ([]models.FoundSite, error)
	// TestDatabaseServer connects, creates a database and a user, grants, and
	// drops them again. It gives the server's version.
	TestDatabaseServer(ctx context.Context, server models.DatabaseServer) (version string, err error)

	// URL is where visitors find a site.
	URL(site models.Site) string
}

// Nowhere is the server of a process that answers people and works on no sites.
const Nowhere = -1

// Config is what the use cases work with.
type Config struct {
	Store     Store
	Types     *plugins.Registry
	Platforms *platforms.Store
	Hosting   Hosting
	Run       *run.Runner
	Egress    *egress.Guard
	Secrets   Sealer
	Cache     string            // folder for the update types' mirrors; safe to lose
	Scratch   string            // folder for their temporary files
	Forbidden []string          // folders of our own that nobody may register as a platform
	Tools     map[string]string // versions of tools that change what a build gives; part of the build key
	PHP       string            // version of PHP that the sites run on
	Host      string            // name of the host that people find Hefring at; "" when it is not known
	Notifier  Notifier          // takes notices to people
	Logger    *slog.Logger
	Observer  Observer // counts what ends; nil: nobody does
	// Server is the server whose sites are worked on here; 0: the control plane's
	// host; Nowhere: none. Courier brings platforms to it.
	Server  int64
	Courier Courier
	// Carrier brings sites to other servers and from them; Carried is where they lie in
	// between, on the control plane's host alone.
	Carrier Carrier
	Carried Carried
	// WorkerDatabase is where workers find the control plane's database, a
	// postgres:// address without a user.
	WorkerDatabase string
	// SealFor encrypts for the key of a worker, by its public half.
	SealFor func(recipient, context string, plain []byte) ([]byte, error)
	// Recipient gives the public half of this process's own key, for answers of
	// servers that nobody else may read.
	Recipient func() string
	// Poll is how often those who move a site look what the others did; 0: 200 ms.
	Poll time.Duration
	Now  func() time.Time
}

// Fleet is the set of use cases.
type Fleet struct {
	Pages // the questions of pages go straight to the store

	cfg    Config
	store  Store
	logger *slog.Logger
	hashes chan struct{} // bounds how many password hashes are computed at once
}

// New makes the use cases.
func New(cfg Config) *Fleet {
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
	}
	cfg.Poll = cmp.Or(cfg.Poll, relocationPoll)
	return &Fleet{Pages: cfg.Store, cfg: cfg, store: cfg.Store, logger: cfg.Logger, hashes: make(chan struct{}, 2)}
}

// UpdateTypes lists the update types that a distribution can have.
func (f *Fleet) UpdateTypes() []plugins.Plugin { return f.cfg.Types.All() }

// SiteURL is where visitors find a site.
func (f *Fleet) SiteURL(site models.Site) string { return f.cfg.Hosting.URL(site) }

// env lends a source what it may use; done gives the scratch folder back.
func (f *Fleet) env(log io.Writer) (env plugins.Env, done func(), err error) {
	scratch, err := os.MkdirTemp(f.cfg.Scratch, "source-")
	if err != nil {
		return plugins.Env{}, nil, fmt.Errorf("make scratch folder: %w", err)
	}
	if err := f.cfg.Run.Chown(scratch); err != nil {
		return plugins.Env{}, nil, fmt.Errorf("hand over scratch folder: %w", err)
	}
	env = plugins.Env{
		Run: f.cfg.Run, Egress: f.cfg.Egress, Log: log,
		Scratch: scratch, Cache: f.cfg.Cache, Forbidden: f.cfg.Forbidden,
	}
	return env, func() {
		if err := os.RemoveAll(scratch); err != nil {
			f.logger.Warn("remove scratch folder", slog.String("folder", filepath.Base(scratch)), slog.Any("error", err))
		}
	}, nil
}

// buildKey is the key of what a version would build to.
func (f *Fleet) buildKey(d models.Distribution, content string) string {
	settings := d.Settings
	if plugin, err := f.cfg.Types.Get(d.UpdateType); err == nil {
		settings = plugins.Shaping(plugin.Fields(), settings)
	}
	return models.BuildKey(d.UpdateType, settings, content, f.cfg.Tools)
}

// jitter spreads an interval by a tenth, so that sources that were added
// together are not asked together for ever.
func jitter(every time.Duration) time.Duration {
	return time.Duration((0.95 + 0.1*rand.Float64()) * float64(every)) //nolint:gosec // nothing secret
}

// start stores a task, or gives the one that works on the subject already.
func (f *Fleet) start(ctx context.Context, t models.Task) (models.Task, error) {
	err := f.store.InTx(ctx, func(tx Tx) error { return tx.CreateTask(ctx, &t) })
	if models.CodeOf(err) == models.Conflict {
		if running, lookup := f.store.RunningTask(ctx, t.Subject); lookup == nil {
			return running, err
		}
	}
	return t, err
}
