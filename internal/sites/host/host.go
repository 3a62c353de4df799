// Package host is the server that Hefring runs on: it installs sites, asks Drush
// about them, and carries out the steps of an upgrade and their undo.
package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/internal/sites/webserver"
	"hefring/internal/tree"
	"hefring/models"
)

// Host handles the sites of this server.
type Host struct {
	Layout    sites.Layout
	Databases database.Engine
	Drupal    *drupal.Drupal
	Web       *webserver.Server
	// Backups is the absolute folder of all backups; it belongs to Hefring alone.
	Backups string
	// Servers tries out database servers.
	Servers Servers
	// Times limits what Drush does in a move; the zero value is drupal.DefaultTimes.
	Times drupal.Times
	// Patience is how long a move tries again to put back what it did.
	Patience time.Duration
	// Abandoned and Cancelled tell from a context's cause that work goes on
	// elsewhere, or that a person stopped it.
	Abandoned func(cause error) bool
	Cancelled func(cause error) bool
}

// Servers tries out database servers.
type Servers interface {
	// Test connects, creates a database and a user, grants, and drops them again.
	// It gives the server's version.
	Test(ctx context.Context, server models.DatabaseServer) (version string, err error)
}

// TestDatabaseServer tries out a database server and gives its version.
func (h *Host) TestDatabaseServer(ctx context.Context, server models.DatabaseServer) (string, error) {
	return h.Servers.Test(ctx, server)
}

// adminName is the name of every new site's first user; people come in by
// one-time links.
const adminName = "admin"

// URL is where visitors find a site.
func (h *Host) URL(site models.Site) string { return h.Web.URL(site) }

// Install makes the site's folders and database, installs Drupal and opens the
// site in the web server. An attempt before it that was cut short is replaced.
func (h *Host) Install(ctx context.Context, site models.Site, platform models.Platform, log upgrade.Log) (models.Database, error) {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return models.Database{}, err
	}
	defer unlock()
	log.Step("database")
	r := drupal.Release{Site: site, Platform: platform}
	if r.Database, err = h.freshDatabase(ctx, site); err != nil {
		return models.Database{}, err
	}
	if err := h.Drupal.WriteRelease(ctx, r); err != nil {
		return models.Database{}, err
	}
	log.Step("install")
	log.Printf(models.LevelInfo, "Installing the profile %s", site.Profile)
	drush, err := h.Drupal.Drush(r, log.Out(), log.Err())
	if err != nil {
		return models.Database{}, err
	}
	if err := drush.Install(ctx, site.Profile, site.Title, adminName); err != nil {
		return models.Database{}, err
	}
	inform(ctx, drush, log)
	return r.Database, h.open(ctx, r, sound(), log)
}

// inform warns when there was no translation to the site's language.
func inform(ctx context.Context, drush *drupal.Drush, log upgrade.Log) {
	if !drush.Untranslated() {
		return
	}
	if got, err := drush.Language(ctx); err == nil {
		log.Printf(models.LevelWarn, "The translation to %q is neither in the platform nor could Drupal fetch it. The site is in the language %q, "+
			"with English texts. Import the translation on the site's own pages, under Translate interface.", drush.Site().Language, got)
	}
}

// open lets the world see a new site, and fails unless it answers as expected.
func (h *Host) open(ctx context.Context, r drupal.Release, want expected, log upgrade.Log) error {
	log.Step("open")
	if err := point(h.Layout.Current(r.Site.ID), r.Docroot()); err != nil {
		return err
	}
	if err := h.Web.AddSite(ctx, h.vhost(r.Site)); err != nil {
		return err
	}
	// The first pages of a new site make the tables of its caches. Two that do so
	// at once get into each other's way with SQLite, so each is asked for alone
	// before they are probed together.
	for _, path := range want.paths {
		_, _ = h.Web.Prober().Probe(ctx, webserver.Request{URI: r.Site.URI, Path: path, Release: webserver.ReleaseCurrent})
	}
	fact, err := h.probe(ctx, r.Site, "current", r.Docroot(), want)
	if err != nil {
		return errors.Join(err, h.shut(context.WithoutCancel(ctx), r.Site))
	}
	log.Printf(models.LevelInfo, "%s answers %s", h.URL(r.Site), fact)
	return nil
}

// shut takes a site that did not come to life off the web again.
func (h *Host) shut(ctx context.Context, site models.Site) error {
	if err := h.Web.RemoveSite(ctx, site.ID); err != nil {
		return err
	}
	if err := os.Remove(h.Layout.Current(site.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("take %s off the web: %w", site.URI, err)
	}
	return nil
}

func (h *Host) freshDatabase(ctx context.Context, site models.Site) (models.Database, error) {
	db, err := h.Databases.Create(ctx, site, "site")
	if err != nil {
		return db, err
	}
	if err := h.Databases.Drop(ctx, db); err != nil {
		return db, err
	}
	return h.Databases.Create(ctx, site, "site")
}

// Compare asks Drush, with the target's code on a copy of the site's database,
// what moving the site would do. The site and its platform are left alone.
func (h *Host) Compare(ctx context.Context, site models.Site, from, to models.Platform, log upgrade.Log) (models.Comparison, error) {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return models.Comparison{}, err
	}
	defer unlock()
	return h.compare(ctx, site, from, to, log)
}

// Forget removes the site's release on a platform that it left, and the database
// that it had there, if one is named, with the files that belong to it. What
// serves the site by now, because it went back, stays.
func (h *Host) Forget(ctx context.Context, site models.Site, from models.Platform, db models.Database) error {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	serves, uses, err := h.inUse(ctx, drupal.Release{Site: site, Platform: from, Database: db})
	if err != nil {
		return err
	}
	if !serves {
		if err := h.Drupal.RemoveRelease(ctx, drupal.Release{Site: site, Platform: from, Database: db}); err != nil {
			return err
		}
	}
	if uses || db == (models.Database{}) {
		return nil
	}
	if err := h.dropContent(site, db); err != nil {
		return err
	}
	return h.Databases.Drop(ctx, db)
}

// lock keeps other work off the site's folder, in this process and in others. A
// killed process gives it back.
func (h *Host) lock(ctx context.Context, site models.Site) (unlock func(), err error) {
	dir := h.Layout.Dir(site.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // PHP is another user
		return nil, fmt.Errorf("make site folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // in the site's own folder
	if err != nil {
		return nil, fmt.Errorf("open site lock: %w", err)
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock site: %w", err), file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), file.Close())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// halfMade ends the name of a link that is about to take another one's place.
const halfMade = ".new"

// point makes a link point to a target, in one step, and waits until that is on
// the disk.
func point(link, target string) error {
	temp := link + halfMade
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("clear link: %w", err)
	}
	if err := os.Symlink(target, temp); err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	if err := os.Rename(temp, link); err != nil {
		return fmt.Errorf("switch link: %w", err)
	}
	return tree.SyncDir(filepath.Dir(link))
}
