package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hefring/internal/sites/upgrade"
	"hefring/internal/tree"
	"hefring/models"
)

// offPlatforms removes the site's links in platforms.
func (h *Host) offPlatforms(site models.Site, platforms []models.Platform) error {
	for _, p := range platforms {
		if err := h.unlink(site, p); err != nil {
			return fmt.Errorf("take %s off the platform %s: %w", site.URI, p.Name, err)
		}
	}
	return nil
}

// Delete takes the site off the web and removes all that it had: its links in the
// platforms, its databases and its user, its folder. Its backups stay. What is
// gone already is no error, so it may be repeated after a kill at any point.
func (h *Host) Delete(ctx context.Context, site models.Site, platforms []models.Platform, log upgrade.Log) error {
	if err := h.ownFolder(site); err != nil {
		return err
	}
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	log.Step("web server")
	if err := h.Web.RemoveSite(ctx, site.ID); err != nil {
		return err
	}
	log.Step("platforms")
	if err := h.offPlatforms(site, platforms); err != nil {
		return err
	}
	log.Step("database")
	// The folder holds the password of the site's user, so it goes last.
	if err := h.Databases.Remove(ctx, site); err != nil {
		return err
	}
	log.Step("files")
	if err := removeTree(h.Layout.Dir(site.ID)); err != nil {
		return fmt.Errorf("remove the folder of %s: %w", site.URI, err)
	}
	log.Printf(models.LevelInfo, "%s is gone; its backups are kept", site.URI)
	return tree.SyncDir(h.Layout.Root)
}

// ownFolder refuses a site whose folder is not a folder of ours: what a link in
// its place leads to is not the site's.
func (h *Host) ownFolder(site models.Site) error {
	if site.ID <= 0 {
		return models.Errorf(models.Invalid, "The site is not stored yet.")
	}
	dir := h.Layout.Dir(site.ID)
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the folder of %s: %w", site.URI, err)
	}
	if !info.IsDir() {
		return models.Errorf(models.Conflict, "%s is not a folder. Look what it is, and move it away.", dir)
	}
	return nil
}

// unlink removes every link below the platform's sites/ that leads into the
// site's folder, whatever its name.
func (h *Host) unlink(site models.Site, p models.Platform) error {
	if !filepath.IsAbs(p.Root) {
		return nil // it was never published, or is gone
	}
	dir := filepath.Join(p.Root, p.Docroot, "sites")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || !strings.HasPrefix(target, h.Layout.Dir(site.ID)+"/") {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// removeTree removes a folder with all that is in it. No link is followed, and
// folders that their owner made read-only are no obstacle.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	root, failed := os.OpenRoot(dir)
	if failed != nil {
		return errors.Join(err, failed)
	}
	defer func() { _ = root.Close() }()
	if err := openUp(root, "."); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// openUp lets us write in every folder of a tree.
func openUp(root *os.Root, name string) error {
	if err := root.Chmod(name, 0o700); err != nil {
		return err
	}
	entries, err := fs.ReadDir(root.FS(), filepath.ToSlash(name))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := openUp(root, filepath.Join(name, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
