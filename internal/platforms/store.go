// Package platforms is the store of code bases on disk: a build happens in a
// staging folder, is inspected, sealed and published by one rename, and is never
// changed afterwards. Whatever is interrupted leaves either a whole platform or
// something that Reconcile removes.
//
//	<root>/.staging/<platform>-<attempt>/code    being built
//	<root>/.staging/<platform>-<attempt>/manifest once sealed
//	<root>/<name>/code                           published, with its manifest beside it
//	<root>/.trash/                               being removed
package platforms

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hefring/internal/tree"
	"hefring/models"
)

const (
	stagingName  = ".staging"
	trashName    = ".trash"
	codeName     = "code"
	manifestName = "manifest"

	defaultMinFree = 256 << 20
)

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,199}$`)

// Store is a folder full of platforms.
type Store struct {
	Root string // absolute; made when it is missing
	// Sites is the folder that holds every site; links in a docroot's sites
	// folder that lead there are ours and no part of the platform.
	Sites   string
	MinFree int64 // bytes that must be free to begin a build; 0 means 256 MiB
	Files   int64 // most entries of a platform; 0 means tree.DefaultFiles
	Bytes   int64 // most bytes of a platform; 0 means tree.DefaultBytes
	// Again is how long Unpack waits before it asks anew when a connection broke; 0
	// means 3 s.
	Again time.Duration
}

// Stage makes the new, empty folder that a build fills, and removes what earlier
// attempts at the same platform left.
func (s *Store) Stage(ctx context.Context, platformID int64, attempt int) (string, error) {
	staging := filepath.Join(s.Root, stagingName)
	if err := os.MkdirAll(staging, 0o755); err != nil { //nolint:gosec // PHP reads platforms as another user
		return "", s.explain("make staging folder", err)
	}
	if err := s.Discard(ctx, platformID); err != nil {
		return "", err
	}
	if err := s.wantFree("a build", cmp.Or(s.MinFree, defaultMinFree)); err != nil {
		return "", err
	}
	dir := filepath.Join(staging, fmt.Sprintf("%d-%d", platformID, attempt), codeName)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // PHP reads platforms as another user
		return "", s.explain("make staging folder", err)
	}
	return dir, nil
}

// wantFree fails when the disk has less room than something wants.
func (s *Store) wantFree(what string, bytes int64) error {
	free, err := tree.Free(s.Root)
	if err != nil {
		return err
	}
	if free < bytes {
		return tree.Full(fmt.Errorf("%s wants %s", what, tree.Size(bytes)), s.Root)
	}
	return nil
}

// Discard removes what builds of a platform left in staging.
func (s *Store) Discard(ctx context.Context, platformID int64) error {
	return s.eachStaged(func(dir string, id int64) error {
		if id != platformID {
			return nil
		}
		return s.discard(ctx, filepath.Dir(dir))
	})
}

// eachStaged calls fn with the code folder and platform of every staged build.
func (s *Store) eachStaged(fn func(dir string, platformID int64) error) error {
	staging := filepath.Join(s.Root, stagingName)
	entries, err := os.ReadDir(staging)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list staging folder: %w", err)
	}
	for _, entry := range entries {
		number, _, _ := strings.Cut(entry.Name(), "-")
		id, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			id = 0 // not ours; no platform has this number, so nobody keeps it
		}
		if err := fn(filepath.Join(staging, entry.Name(), codeName), id); err != nil {
			return err
		}
	}
	return nil
}

// Publish moves a sealed folder that Stage gave to its final place in one step,
// and gives the platform's root. It never replaces anything: models.Conflict
// when the name is taken.
func (s *Store) Publish(staged, name string) (string, error) {
	if !namePattern.MatchString(name) {
		return "", models.Errorf(models.Invalid, "%q cannot be a platform's name: use lower-case letters, digits, dots, hyphens and underscores.", name)
	}
	box, err := s.stagedBox(staged)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(filepath.Join(box, manifestName)); err != nil {
		return "", fmt.Errorf("publish platform %s before it is sealed: %w", name, err)
	}
	target := filepath.Join(s.Root, name)
	if err := unix.Renameat2(unix.AT_FDCWD, box, unix.AT_FDCWD, target, unix.RENAME_NOREPLACE); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return "", models.Wrapf(models.Conflict, err, "A platform folder named %s is already there. Nothing was replaced; build again, or remove that folder if no platform uses it.", name)
		}
		return "", s.explain("publish platform "+name, err)
	}
	for _, dir := range []string{filepath.Join(s.Root, stagingName), s.Root} {
		if err := tree.SyncDir(dir); err != nil {
			return "", s.explain("publish platform "+name, err)
		}
	}
	return filepath.Join(target, codeName), nil
}

// stagedBox gives the folder around a staged code folder.
func (s *Store) stagedBox(dir string) (string, error) {
	box := filepath.Dir(dir)
	if filepath.Base(dir) != codeName || filepath.Dir(box) != filepath.Join(s.Root, stagingName) {
		return "", fmt.Errorf("%s is no staging folder of %s", dir, s.Root)
	}
	return box, nil
}

// publishedBox gives the folder around a published platform's root.
func (s *Store) publishedBox(root string) (string, error) {
	box := filepath.Dir(root)
	if filepath.Base(root) != codeName || filepath.Dir(box) != s.Root || !namePattern.MatchString(filepath.Base(box)) {
		return "", fmt.Errorf("%s is no platform of %s", root, s.Root)
	}
	return box, nil
}

// Delete deletes a published platform: it is moved out of sight in one step and
// removed then, so that a killed deletion leaves nothing that looks like a
// platform; Reconcile removes the rest. Links to sites are cut, what they point
// to stays, and so do files that other platforms share. Deleting what is gone
// already is no error; a folder outside of the store is refused.
func (s *Store) Delete(ctx context.Context, root string) error {
	box, err := s.publishedBox(root)
	if err != nil {
		return err
	}
	return s.discard(ctx, box)
}

// discard moves a folder out of sight in one step and then deletes it, so that a
// half-deleted platform is never taken for a whole one.
func (s *Store) discard(ctx context.Context, box string) error {
	trash := filepath.Join(s.Root, trashName)
	for {
		if err := os.MkdirAll(trash, 0o700); err != nil {
			return fmt.Errorf("make trash folder: %w", err)
		}
		hole, err := os.MkdirTemp(trash, "")
		if err != nil {
			return fmt.Errorf("make trash folder: %w", err)
		}
		err = os.Rename(box, filepath.Join(hole, "box"))
		if err == nil {
			return erase(ctx, hole)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(fmt.Errorf("remove %s: %w", filepath.Base(box), err), erase(ctx, hole))
		}
		if err := erase(ctx, hole); err != nil {
			return err
		}
		// Either the box is gone, or Reconcile emptied the trash just then.
		if _, err := os.Lstat(box); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// erase deletes a tree whose folders may be read-only.
func erase(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer func() { _ = root.Close() }()
	if err := unlock(ctx, root); err != nil {
		return fmt.Errorf("delete %s: %w", dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("delete %s: %w", dir, err)
	}
	return nil
}

// unlock makes every folder writable for its owner, without following links.
// What somebody else deletes meanwhile is no failure.
func unlock(ctx context.Context, dir *os.Root) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := dir.Chmod(".", 0o700); gone(err) != nil {
		return err
	}
	entries, err := fs.ReadDir(dir.FS(), ".")
	if gone(err) != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := dir.Chmod(entry.Name(), 0o700); gone(err) != nil {
			return err
		}
		if err := unlockBelow(ctx, dir, entry.Name()); gone(err) != nil {
			return err
		}
	}
	return nil
}

func unlockBelow(ctx context.Context, dir *os.Root, name string) error {
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	return unlock(ctx, sub)
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *Store) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, tree.Explain(err, s.Root))
}
