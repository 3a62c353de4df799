package webserver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// files is a configuration: contents by path relative to its folder.
type files map[string]string

// version names a configuration by what is in it.
func (f files) version() string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(f)) {
		_, _ = fmt.Fprintf(sum, "%q%q", name, f[name])
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// tree is a configuration on disk that changes as a whole. Each version has a
// folder of its own, <link>-<version>, and the link names the one in force, so
// that neither a crash nor a full disk leaves half of a configuration.
type tree struct{ link string }

const (
	keySuffix = ".key" // of files that nobody else may read
	// emptyVersion is the folder before there is any configuration: php-fpm does
	// not start when a folder that it is to include is missing.
	emptyVersion = "empty"
)

func (t tree) folder(version string) string { return t.link + "-" + version }

// current is the version in force, "" for none.
func (t tree) current() (string, error) {
	target, err := os.Readlink(t.link)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read configuration link: %w", err)
	}
	return strings.TrimPrefix(target, filepath.Base(t.link)+"-"), nil
}

// write puts a version on the disk, beside the one in force. A folder that was
// meddled with, or that a power failure emptied, is written again.
func (t tree) write(version string, content files) error {
	if t.holds(version, content) {
		return nil
	}
	staging := t.folder(version) + ".new"
	if err := os.RemoveAll(staging); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	for name, text := range content {
		// The rest can be drawn again from it.
		if err := writeFile(filepath.Join(staging, name), text, name == sitesFile); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	if err := os.RemoveAll(t.folder(version)); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.Rename(staging, t.folder(version)); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return syncDir(filepath.Dir(t.link))
}

// holds tells whether a version's folder has exactly this content.
func (t tree) holds(version string, content files) bool {
	found := 0
	err := filepath.WalkDir(t.folder(version), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(t.folder(version), path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // our own folder
		if err != nil {
			return err
		}
		if want, known := content[name]; !known || want != string(text) {
			return fs.ErrInvalid
		}
		found++
		return nil
	})
	return err == nil && found == len(content)
}

func writeFile(path, text string, durable bool) error {
	if err := makeFolder(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644) // the sites' user reads it
	if strings.HasSuffix(path, keySuffix) {
		mode = 0o600
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if durable {
		err = errors.Join(err, file.Sync())
	}
	// PHP's workers are another user, whatever our umask is.
	return errors.Join(err, file.Chmod(mode), file.Close())
}

// use puts a version in force.
func (t tree) use(version string) error {
	fresh := t.link + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("switch configuration: %w", err)
	}
	if err := os.Symlink(filepath.Base(t.folder(version)), fresh); err != nil {
		return fmt.Errorf("switch configuration: %w", err)
	}
	if err := os.Rename(fresh, t.link); err != nil {
		return fmt.Errorf("switch configuration: %w", err)
	}
	return syncDir(filepath.Dir(t.link))
}

// note keeps the version to go back to, should we be killed before the one that
// is about to be in force is proven.
func (t tree) note(previous string) error {
	if err := t.forget(); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Base(t.folder(previous)), t.back()); err != nil {
		return fmt.Errorf("note configuration to go back to: %w", err)
	}
	return syncDir(filepath.Dir(t.link))
}

// forget says that the version in force is proven.
func (t tree) forget() error {
	if err := os.Remove(t.back()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note proven configuration: %w", err)
	}
	return nil
}

// undo goes back from a version that was never proven, and tells whether there
// was one.
func (t tree) undo() (undone bool, err error) {
	target, err := os.Readlink(t.back())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read configuration to go back to: %w", err)
	}
	if err := t.use(strings.TrimPrefix(target, filepath.Base(t.link)+"-")); err != nil {
		return false, err
	}
	return true, t.forget()
}

// begin puts the empty version in force where there is none.
func (t tree) begin() error {
	version, err := t.current()
	if err != nil || version != "" {
		return err
	}
	if err := makeFolder(t.folder(emptyVersion), 0o755); err != nil {
		return err
	}
	return t.use(emptyVersion)
}

func (t tree) back() string { return t.link + ".back" }

// prune removes all versions but one.
func (t tree) prune(version string) error {
	old, err := filepath.Glob(t.link + "-*")
	if err != nil {
		return fmt.Errorf("remove old configuration: %w", err)
	}
	old = append(old, t.link+".new")
	for _, folder := range old {
		if folder == t.folder(version) {
			continue
		}
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("remove old configuration: %w", err)
		}
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // our own folder
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
