package drupal

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hefring/internal/tree"
	"hefring/models"
)

// WriteRelease makes everything that Drupal needs to run the site on the
// platform: the site's folders, the release folder with settings.php, and the
// link to it in the platform. It may be repeated, mends permissions that
// Drupal's installer left, and replaces nothing that is not ours.
func (d *Drupal) WriteRelease(ctx context.Context, r Release) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := multisite(r); err != nil {
		return err
	}
	for _, step := range []func(context.Context, Release) error{d.folders, d.salt, d.releaseFolder, d.place} {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := step(ctx, r); err != nil {
			return fmt.Errorf("write release of %s on platform %d: %w", r.URI(), r.Platform.ID, err)
		}
	}
	return nil
}

// multisite makes sure that Drupal looks into sites/<uri> at all: without
// sites.php every address is answered from sites/default.
func multisite(r Release) error {
	_, err := os.Stat(filepath.Join(r.Docroot(), "sites", "sites.php"))
	if errors.Is(err, fs.ErrNotExist) {
		return models.Wrapf(models.Unavailable, err,
			"The platform %s has no sites/sites.php, so Drupal would ignore the site's settings. Build the platform again.", r.Platform.Name)
	}
	return err
}

// folder is one folder of a site.
type folder struct {
	path string
	mode fs.FileMode
	web  bool // belongs to the web user, who writes there
}

func (d *Drupal) folders(_ context.Context, r Release) error {
	l, id := d.layout, r.Site.ID
	if err := os.MkdirAll(l.Root, 0o755); err != nil { //nolint:gosec // PHP is another user
		return err
	}
	for _, f := range []folder{
		{l.Dir(id), 0o755, false},
		{filepath.Dir(l.Release(id, r.Platform.ID)), 0o755, false},
		{l.Files(id), 0o755, true}, // the web server reads them, too
		{l.Private(id), 0o750, true},
		{l.Temp(id), 0o750, true},
		{l.Config(id), 0o750, true},
		{l.Databases(id), 0o750, true},
		{l.Run(id), 0o755, true},
		{r.dir(l), 0o755, false},
		{r.compiled(l), 0o750, true},
	} {
		if err := d.folder(f, r); err != nil {
			return err
		}
	}
	return nil
}

// folder makes a folder, or mends its owner and mode.
func (d *Drupal) folder(f folder, r Release) error {
	if err := os.Mkdir(f.path, f.mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(f.path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return models.Errorf(models.Conflict, "%s is not a folder. Look what it is, and move it away.", f.path)
	}
	if info.Mode().Perm() != f.mode {
		if err := os.Chmod(f.path, f.mode); err != nil {
			return err
		}
	}
	// Chown walks the whole tree, so it is called only when it is needed.
	if owner := d.owner(r); f.web && owner != nil && ownerOf(info) != int(owner.UID) {
		return d.giveAway(f.path, r)
	}
	return nil
}

// salt makes the site's hash salt once and for all. Linking a complete file
// into place never replaces one that is there, also when two do it at once.
func (d *Drupal) salt(_ context.Context, r Release) error {
	path := d.layout.Salt(r.Site.ID)
	if _, err := os.Lstat(path); err == nil {
		return d.protect(path, r, 0o640)
	}
	random := make([]byte, 55)
	_, _ = rand.Read(random) // never fails
	temp, err := d.writeTemp(path, r, base64.RawURLEncoding.EncodeToString(random), 0o640)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }()
	if err := os.Link(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return tree.SyncDir(filepath.Dir(path))
}

func (d *Drupal) releaseFolder(ctx context.Context, r Release) error {
	text, err := d.settingsPHP(ctx, r)
	if err != nil {
		return err
	}
	dir := r.dir(d.layout)
	if err := sweep(dir); err != nil {
		return err
	}
	if err := d.replace(filepath.Join(dir, "settings.php"), r, text, 0o440); err != nil {
		return err
	}
	return placeLink(filepath.Join(dir, "files"), "../../files", func(string) bool { return false })
}

// place links sites/<uri> of the platform to the release, and for every alias
// as well: Drupal looks for the folder of the name that it was asked by.
func (d *Drupal) place(_ context.Context, r Release) error {
	ours := d.layout.Dir(r.Site.ID) + "/"
	names := r.names()
	for _, name := range names {
		err := placeLink(r.linkOf(name), r.dir(d.layout), func(old string) bool { return strings.HasPrefix(old, ours) })
		if err != nil {
			return err
		}
	}
	return d.unlink(r, func(name string) bool { return !slices.Contains(names, name) })
}

// unlink removes the platform's links to the release whose names say yes.
func (d *Drupal) unlink(r Release, yes func(name string) bool) error {
	entries, err := os.ReadDir(filepath.Join(r.Docroot(), "sites"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Type() != fs.ModeSymlink || !yes(entry.Name()) {
			continue
		}
		target, err := os.Readlink(r.linkOf(entry.Name()))
		if err != nil || target != r.dir(d.layout) {
			continue
		}
		if err := os.Remove(r.linkOf(entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// placeLink makes a link. One that is there is replaced in one step if
// replaceable says so of what it points to; everything else is left alone.
func placeLink(path, target string, replaceable func(old string) bool) error {
	err := os.Symlink(target, path)
	if err == nil {
		return tree.SyncDir(filepath.Dir(path))
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	old, err := os.Readlink(path)
	switch {
	case err == nil && old == target:
		return nil
	case err != nil || !replaceable(old):
		return models.Errorf(models.Conflict,
			"%s is there already and is not Hefring's. Look what it is, and move it away or choose another name for the site.", path)
	}
	temp, err := tempName(path)
	if err != nil {
		return err
	}
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return tree.SyncDir(filepath.Dir(path))
}

// RemoveRelease takes the site off the platform: the link and the release
// folder. The site's content stays. It may be repeated, also when the platform
// is gone, and gets over folders that Drupal's installer made read-only.
func (d *Drupal) RemoveRelease(_ context.Context, r Release) error {
	if err := r.check(); err != nil {
		return err
	}
	dir := r.dir(d.layout)
	if err := d.unlink(r, func(string) bool { return true }); err != nil {
		return fmt.Errorf("remove links of %s: %w", r.URI(), err)
	}
	if err := unlock(dir); err != nil {
		return fmt.Errorf("remove release %s: %w", dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove release %s: %w", dir, err)
	}
	return nil
}

// unlock lets us write in every folder below dir; files need no mode of their
// own to be removed. It never leaves dir, whatever links the web user made.
func unlock(dir string) error {
	if err := os.Chmod(dir, 0o755); errors.Is(err, fs.ErrNotExist) { //nolint:gosec // the files in it are about to be removed
		return nil
	} else if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return unlockIn(root, ".")
}

func unlockIn(root *os.Root, name string) error {
	// The mode comes first: what may not be read cannot be listed.
	if err := root.Chmod(name, 0o700); err != nil {
		return err
	}
	entries, err := fs.ReadDir(root.FS(), name)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := unlockIn(root, filepath.Join(name, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
