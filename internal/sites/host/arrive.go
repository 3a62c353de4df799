package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hefring/internal/sites/backup"
	"hefring/internal/sites/database"
	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/internal/sites/webserver"
	"hefring/models"
)

// This file is the new server's part in moving a site to another one.

// CargoBackups lists the backups that come with a site, each with the file that it
// becomes here.
func (h *Host) CargoBackups(siteID int64, cargo models.Cargo) ([]models.Backup, error) {
	_, digest, err := digests(cargo)
	if err != nil {
		return nil, err
	}
	list, err := readList(cargo.List, digest)
	if err != nil {
		return nil, err
	}
	for i := range list.Backups {
		b := &list.Backups[i]
		b.SiteID, b.Path = siteID, filepath.Join(h.backups(siteID), filepath.Base(b.Path))
		if err := h.ownBackup(*b); err != nil {
			return nil, err
		}
	}
	return list.Backups, os.MkdirAll(h.backups(siteID), 0o700)
}

// TakeIn makes a site from its first copy, beside what visitors see, and looks whether
// it answers. Visitors who come early are sent to origin. What an earlier stay or
// attempt left is replaced.
func (h *Host) TakeIn(ctx context.Context, site models.Site, platform models.Platform, cargo models.Cargo, origin string, log upgrade.Log) (models.Database, error) {
	if err := h.ownFolder(site); err != nil {
		return models.Database{}, err
	}
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return models.Database{}, err
	}
	defer unlock()
	log.Step("take in")
	if err := h.clearFor(site); err != nil {
		return models.Database{}, err
	}
	a, list, err := h.openCargo(ctx, cargo)
	if err != nil {
		return models.Database{}, err
	}
	defer func() { _ = a.Close() }()
	if err := h.sameBackups(ctx, site, list); err != nil {
		return models.Database{}, err
	}
	r := drupal.Release{Site: site, Platform: platform, Database: site.Database}
	if err := h.settleIn(ctx, &r, a, list); err != nil {
		return r.Database, err
	}
	log.Printf(models.LevelInfo, "%d files and folders are here", a.Manifest.Files())
	if err := h.takeCertificate(site, list, log); err != nil {
		return r.Database, err
	}
	if err := h.Drupal.WriteRelease(ctx, r); err != nil {
		return r.Database, err
	}
	if err := point(h.Layout.Current(site.ID), r.Docroot()); err != nil {
		return r.Database, err
	}
	v := h.vhost(site)
	v.Away, v.Elsewhere = true, origin
	if err := h.Web.AddSite(ctx, v); err != nil {
		return r.Database, err
	}
	return r.Database, h.prove(ctx, r, log)
}

// clearFor removes what an earlier stay left of a site, but for the lock that we hold
// and what was just received.
func (h *Host) clearFor(site models.Site) error {
	entries, err := os.ReadDir(h.Layout.Dir(site.ID))
	if err != nil {
		return fmt.Errorf("look for what %s left here: %w", site.URI, err)
	}
	for _, e := range entries {
		if e.Name() == "lock" || e.Name() == cargoFolder {
			continue
		}
		if err := removeTree(filepath.Join(h.Layout.Dir(site.ID), e.Name())); err != nil {
			return fmt.Errorf("remove what %s left here: %w", site.URI, err)
		}
	}
	return nil
}

func (h *Host) openCargo(ctx context.Context, cargo models.Cargo) (*backup.Archive, cargoList, error) {
	archive, digest, err := digests(cargo)
	if err != nil {
		return nil, cargoList{}, err
	}
	list, err := readList(cargo.List, digest)
	if err != nil {
		return nil, list, err
	}
	a, err := backup.Open(ctx, cargo.Archive, archive)
	return a, list, err
}

// sameBackups fails unless every backup that came is the one that was made.
func (h *Host) sameBackups(ctx context.Context, site models.Site, list cargoList) error {
	for _, b := range list.Backups {
		sum, err := fileSum(ctx, filepath.Join(h.backups(site.ID), filepath.Base(b.Path)))
		if err != nil {
			return fmt.Errorf("look at backup %d: %w", b.ID, err)
		}
		if sum != b.Digest {
			return models.Errorf(models.Unavailable, "The backup %s did not arrive as it was made. If it is damaged on the old server, delete it there, and move the site again.", filepath.Base(b.Path))
		}
	}
	return nil
}

func fileSum(ctx context.Context, path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // in a folder of ours
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = file.Close() })
	defer stop()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", errors.Join(context.Cause(ctx), err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// settleIn brings a site's own files and its content.
func (h *Host) settleIn(ctx context.Context, r *drupal.Release, a *backup.Archive, list cargoList) (err error) {
	site := r.Site
	if list.Password != "" {
		if err := database.KeepPassword(h.Layout, site.ID, list.Password); err != nil {
			return err
		}
	}
	if err := h.Drupal.KeepSalt(site, a.Salt); err != nil {
		return err
	}
	if len(a.LocalSettings) > 0 {
		if err := h.Drupal.WriteLocalSettings(site, a.LocalSettings); err != nil {
			return err
		}
	}
	if err := a.ExtractFiles(ctx, h.Layout.Dir(site.ID), owner{h.Drupal, site}); err != nil {
		return err
	}
	if r.Database.Server == 0 {
		if r.Database, err = h.freshDatabase(ctx, site); err != nil {
			return err
		}
		if err := h.loadCargo(ctx, r.Database, a); err != nil {
			return err
		}
	}
	if err := h.Databases.Check(ctx, r.Database); err != nil {
		return models.Wrapf(models.Unavailable, err, "This server cannot use the site's database: %s", models.Explain(err))
	}
	return nil
}

func (h *Host) loadCargo(ctx context.Context, db models.Database, a *backup.Archive) error {
	return a.LoadDatabase(ctx, func(dump io.Reader) error {
		_, err := h.Databases.Load(ctx, db, dump)
		return err
	})
}

// prove fails unless the site answers here, which visitors do not see.
func (h *Host) prove(ctx context.Context, r drupal.Release, log upgrade.Log) error {
	log.Step("prove")
	drush, err := h.Drupal.Drush(r, log.Out(), log.Err())
	if err != nil {
		return err
	}
	maintenance, err := drush.Maintenance(ctx)
	if err != nil {
		return err
	}
	want := unknownOf(r.Site).of(r.Platform)
	if maintenance {
		want = closed(r.Site)
	}
	fact, err := h.probe(ctx, r.Site, webserver.ReleaseCurrent, r.Docroot(), want)
	if err != nil {
		return err
	}
	log.Printf(models.LevelInfo, "%s answers here: %s", r.Site.URI, fact)
	return nil
}

// CatchUp brings in what changed since the first copy, compares all that the old
// server has with what is here, and looks once more whether the site answers.
func (h *Host) CatchUp(ctx context.Context, site models.Site, platform models.Platform, cargo models.Cargo, log upgrade.Log) error {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	log.Step("catch up")
	a, list, err := h.openCargo(ctx, cargo)
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }()
	dir := h.Layout.Dir(site.ID)
	changes := filepath.Join(h.cargo(site.ID), "changes")
	if err := errors.Join(removeTree(changes), os.Mkdir(changes, 0o700)); err != nil {
		return fmt.Errorf("make folder for what changed: %w", err)
	}
	if err := a.ExtractFiles(ctx, changes, owner{h.Drupal, site}); err != nil {
		return err
	}
	if err := backup.Merge(ctx, changes, dir, list.Gone); err != nil {
		return err
	}
	if err := h.complete(ctx, site, list); err != nil {
		return err
	}
	r := drupal.Release{Site: site, Platform: platform, Database: site.Database}
	if r.Database.Server == 0 {
		if err := h.loadCargo(ctx, r.Database, a); err != nil {
			return err
		}
	}
	return h.prove(ctx, r, log)
}

// complete fails unless all that the old server has is here. What came to be here by
// looking at pages does no harm.
func (h *Host) complete(ctx context.Context, site models.Site, list cargoList) error {
	folders := h.liveFolders(site.ID)
	here, err := backup.List(ctx, backup.Source{Files: folders[backup.PartFiles], Private: folders[backup.PartPrivate], Config: folders[backup.PartConfig]})
	if err != nil {
		return err
	}
	if lacks := here.Lacks(list.Listing); lacks != "" {
		return models.Errorf(models.Unavailable, "%s is not here as it is on the old server: somebody changed it meanwhile. Move the site again.", strings.TrimSpace(lacks))
	}
	return nil
}

// OpenHere lets visitors in.
func (h *Host) OpenHere(ctx context.Context, site models.Site, log upgrade.Log) error {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	log.Step("open")
	if err := h.Web.AddSite(ctx, h.vhost(site)); err != nil {
		return err
	}
	if err := h.probePublic(ctx, site, unknownOf(site)); err != nil {
		log.Printf(models.LevelWarn, "Visitors do not see what was proven: %s", models.Explain(err))
	}
	if err := removeTree(h.cargo(site.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what was received: %w", err)
	}
	return nil
}
