package host

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"hefring/internal/sites/backup"
	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/internal/tree"
	"hefring/models"
)

// Backup writes the site's content into one archive and gives b with what is in
// it. The site goes on being read and written. The database is that of one
// moment; the files are read after it, so a file that is uploaded meanwhile may
// be in the archive while the database does not know it yet, and a file that is
// deleted meanwhile may be missing.
func (h *Host) Backup(ctx context.Context, site models.Site, platform models.Platform, b models.Backup, log upgrade.Log) (models.Backup, error) {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return b, err
	}
	defer unlock()
	log.Step("backup")
	return h.keep(ctx, drupal.Release{Site: site, Platform: platform, Database: site.Database}, b, log)
}

// keep writes a backup of a release whose site is locked.
func (h *Host) keep(ctx context.Context, r drupal.Release, b models.Backup, log upgrade.Log) (models.Backup, error) {
	return h.keepFolders(ctx, r, b, h.liveFolders(r.Site.ID), log)
}

// keepFolders is keep with the folders that belong to the release's database.
func (h *Host) keepFolders(ctx context.Context, r drupal.Release, b models.Backup, folders map[string]string, log upgrade.Log) (models.Backup, error) {
	id := r.Site.ID
	if !filepath.IsAbs(h.Backups) {
		return b, errors.New("write backup: no folder is set for backups")
	}
	if b.URI == "" {
		b.URI = r.Site.URI
	}
	result, err := backup.Write(ctx, filepath.Join(h.backups(id), backup.Name(b)), backup.Source{
		Manifest: backup.Manifest{
			URI: r.Site.URI, Platform: r.Platform.Name, DrupalVersion: r.Platform.DrupalVersion, Profile: r.Site.Profile,
			Language: r.Site.Language, Title: r.Site.Title, Engine: r.Database.Engine, MadeAt: b.CreatedAt.UTC(),
		},
		Dump: func(ctx context.Context, w io.Writer) (int, error) {
			info, err := h.Databases.Dump(ctx, r.Database, w)
			return info.Tables, err
		},
		Files: folders[backup.PartFiles], Private: folders[backup.PartPrivate], Config: folders[backup.PartConfig],
		Salt: h.Layout.Salt(id), LocalSettings: drupal.LocalSettings(h.Layout, id),
	}, log)
	if err != nil {
		return b, err
	}
	m := result.Manifest
	b.Path, b.Bytes, b.Digest = result.Path, result.Bytes, result.Digest
	b.Engine, b.DrupalVersion, b.Profile, b.Tables, b.Files = m.Engine, m.DrupalVersion, m.Profile, m.Tables, m.Files()
	log.Printf(models.LevelInfo, "The backup has %s", tree.Size(b.Bytes))
	return b, nil
}

// backups is the folder of a site's backups.
func (h *Host) backups(siteID int64) string {
	return filepath.Join(h.Backups, strconv.FormatInt(siteID, 10))
}

// DropBackup removes a backup's file. One that is not there is no error.
func (h *Host) DropBackup(_ context.Context, b models.Backup) error {
	if b.Path == "" {
		// It failed, or its worker died before it could say where.
		b.Path = filepath.Join(h.backups(b.SiteID), backup.Name(b))
		if err := backup.Remove(b.Path + backup.Partial); err != nil {
			return err
		}
	}
	if err := h.ownBackup(b); err != nil {
		return err
	}
	return backup.Remove(b.Path)
}

// ownBackup refuses what is no backup in our own folder.
func (h *Host) ownBackup(b models.Backup) error {
	if b.SiteID <= 0 || filepath.Dir(b.Path) != h.backups(b.SiteID) || !strings.HasSuffix(b.Path, ".tar.gz") {
		return models.Errorf(models.Invalid, "%q is not a backup of Hefring's.", b.Path)
	}
	return nil
}
