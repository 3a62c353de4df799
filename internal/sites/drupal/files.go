package drupal

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"hefring/internal/run"
	"hefring/internal/tree"
)

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

// tempName is a free name beside path.
func tempName(path string) (string, error) {
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"-"+rand.Text())
	if len(filepath.Base(name)) > 255 {
		name = filepath.Join(filepath.Dir(path), "."+rand.Text())
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return "", errors.Join(fs.ErrExist, err)
	}
	return name, nil
}

// leftover is how tempName calls a file.
var leftover = regexp.MustCompile(`^\.(.+-)?[A-Z2-7]{26}$`)

// sweep removes what a kill left of files that were being written. One task at a
// time works on a site.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() || !leftover.MatchString(entry.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// writeTemp writes a complete file beside path, on the disk and readable by the
// web user, and gives its name.
func (d *Drupal) writeTemp(path string, r Release, text string, mode fs.FileMode) (string, error) {
	name, err := tempName(path)
	if err != nil {
		return "", err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // a folder of the site
	if err != nil {
		return "", err
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = d.protect(name, r, mode)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(name))
	}
	return name, nil
}

// owner is who the site's PHP and its files belong to; nil: ourselves.
func (d *Drupal) owner(r Release) *run.Identity {
	return d.layout.Owner(r.Site.ID, d.programs.Identity())
}

// giveAway gives path and what is in it to the site's owner. A site that serves
// makes and removes journals meanwhile, so it is tried more than once.
func (d *Drupal) giveAway(path string, r Release) error {
	if d.layout.User(r.Site.ID) == 0 {
		return d.programs.Chown(path)
	}
	var err error
	for range 5 {
		if err = run.Chown(path, d.owner(r)); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// protect lets the site's owner read a file by its group, but never write it.
func (d *Drupal) protect(path string, r Release, mode fs.FileMode) error {
	if owner := d.owner(r); owner != nil {
		if err := os.Lchown(path, os.Geteuid(), int(owner.GID)); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

// replace writes a file in one step: readers see the old one or the new one.
func (d *Drupal) replace(path string, r Release, text string, mode fs.FileMode) error {
	temp, err := d.writeTemp(path, r, text, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return tree.SyncDir(filepath.Dir(path))
}
