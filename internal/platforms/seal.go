package platforms

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"hefring/internal/tree"
	"hefring/models"
)

// binaries is where Composer puts the programs of packages.
const binaries = "vendor/bin"

// Sealed is what Seal found and fixed.
type Sealed struct {
	Digest string // SHA-256 of the manifest, in hex
	Files  int64
	Bytes  int64
}

// Seal makes a staged platform read-only, for root's processes its property too,
// records every file in a manifest beside it and waits until all of it is on the
// disk. Only docroot/sites stays writable, and that for us alone, because links
// to sites are placed there; programs in vendor/bin become executable. A tree with links that lead out, special files or
// too many files is refused with a models.Error.
func (s *Store) Seal(ctx context.Context, dir, docroot string) (Sealed, error) {
	box, err := s.stagedBox(dir)
	if err != nil {
		return Sealed{}, err
	}
	sites := path.Join(filepath.ToSlash(docroot), "sites")
	if err := s.refuseForeign(ctx, dir); err != nil {
		return Sealed{}, s.explain("seal platform", err)
	}
	if err := s.lock(ctx, dir, sites); err != nil {
		return Sealed{}, s.explain("seal platform", err)
	}
	manifest, err := tree.Scan(ctx, dir, s.options(), false)
	if err != nil {
		return Sealed{}, s.explain("seal platform", err)
	}
	header := header{Docroot: docroot}
	if err := writeManifest(filepath.Join(box, manifestName), header.encode(manifest)); err != nil {
		return Sealed{}, s.explain("write manifest", err)
	}
	if err := syncAll(box); err != nil {
		return Sealed{}, s.explain("write platform to the disk", err)
	}
	files, bytes := manifest.Totals()
	return Sealed{Digest: header.digest(manifest), Files: files, Bytes: bytes}, nil
}

func (s *Store) options() tree.Options { return tree.Options{Files: s.Files, Bytes: s.Bytes} }

// Check refuses what no platform may hold: links that lead out, special files,
// hard links to files elsewhere, and more than the limits allow. Seal does so
// too.
func (s *Store) Check(ctx context.Context, dir string) error {
	return s.explain("look through the files", s.refuseForeign(ctx, dir))
}

// refuseForeign checks the tree before anything in it is changed. A file with
// more names than the tree shows is shared with somebody who could change it
// later, or whom we would lock out of his own file.
func (s *Store) refuseForeign(ctx context.Context, dir string) error {
	type inode struct{ dev, ino uint64 }
	type name struct {
		path        string
		links, seen uint64
	}
	shared := map[inode]*name{}
	err := tree.Walk(ctx, dir, s.options(), func(e tree.Entry) error {
		stat, ok := e.Info.Sys().(*syscall.Stat_t)
		if !ok || e.Info.IsDir() || stat.Nlink < 2 {
			return nil
		}
		key := inode{stat.Dev, stat.Ino}
		if shared[key] == nil {
			shared[key] = &name{path: e.Path, links: uint64(stat.Nlink)} //nolint:unconvert // 32 bits on other machines
		}
		shared[key].seen++
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range shared {
		if n.seen < n.links {
			return models.Errorf(models.Invalid, "%q is a hard link to a file outside of the platform. Copy the file in the source instead.", n.path)
		}
	}
	return nil
}

func (s *Store) lock(ctx context.Context, dir, sites string) error {
	asRoot := os.Geteuid() == 0
	if asRoot {
		if err := os.Lchown(dir, 0, 0); err != nil {
			return err
		}
	}
	err := tree.Walk(ctx, dir, s.options(), func(e tree.Entry) error {
		if asRoot {
			if err := e.Chown(0, 0); err != nil {
				return err
			}
		}
		if e.Link != "" {
			return nil
		}
		mode := tree.Sealed(e.Info.Mode())
		if e.Path == sites && e.Info.IsDir() {
			mode = 0o755
		}
		// Composer makes these programs; committed by way of some systems they
		// have lost their execute bit, and Drush starts itself.
		if path.Dir(e.Path) == binaries && e.Info.Mode().IsRegular() {
			mode |= 0o111
		}
		return e.Chmod(mode)
	})
	if err != nil {
		return err
	}
	return os.Chmod(dir, 0o555) //nolint:gosec // PHP reads it as another user
}

func writeManifest(name string, text []byte) error {
	temporary := name + ".new"
	if err := os.WriteFile(temporary, text, 0o444); err != nil { //nolint:gosec // it holds no secrets
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, name)
}

// syncAll flushes the whole file system. For the tens of thousands of small
// files of a platform that is many times quicker than asking for each.
func syncAll(dir string) error {
	file, err := os.Open(dir) //nolint:gosec // a folder of the store
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := unix.Syncfs(int(file.Fd())); err != nil {
		return fmt.Errorf("sync file system: %w", err)
	}
	return nil
}

// Prepare adds what Drupal needs for many sites on one code base: without
// sites/sites.php every host is answered from sites/default. A file that is
// there already is left alone.
func (s *Store) Prepare(_ context.Context, dir, docroot string) error {
	if _, err := s.stagedBox(dir); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open platform: %w", err)
	}
	defer func() { _ = root.Close() }()
	sites := path.Join(filepath.ToSlash(docroot), "sites")
	if err := root.Mkdir(sites, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return s.explain("make sites folder", err)
	}
	info, err := root.Lstat(sites)
	if err != nil {
		return fmt.Errorf("look at sites folder: %w", err)
	}
	if !info.IsDir() {
		return models.Errorf(models.Invalid, "%q is not a folder. Make it a real folder in the source; Hefring places its sites there.", sites)
	}
	return s.explain("write sites.php", addFile(root, path.Join(sites, "sites.php"), "<?php\n\n$sites = [];\n"))
}

func addFile(root *os.Root, name, text string) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}
