package platforms

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
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
	Shared Shared // with older platforms

	stamps map[string]stamp // of the files when they were read
}

// Shared counts files that use the disk only once.
type Shared struct{ Files, Bytes int64 }

// Seal makes a staged platform read-only, for root's processes its property too,
// records every file in a manifest beside it and waits until all of it is on the
// disk. Only docroot/sites stays writable, and that for us alone, because links
// to sites are placed there; programs in vendor/bin become executable. A tree with links that lead out, special files or
// too many files is refused with a models.Error.
//
// Files that an older platform has as well are shared with it. The last program
// of the build must have ended: it could write to the older platform's files.
func (s *Store) Seal(ctx context.Context, dir, docroot string, older ...*tree.Kept) (Sealed, error) {
	box, err := s.stagedBox(dir)
	if err != nil {
		return Sealed{}, err
	}
	j := &sealing{store: s, dir: dir, sites: path.Join(filepath.ToSlash(docroot), "sites"), older: older, given: map[string]string{}}
	if err := j.refuseForeign(ctx); err != nil {
		return Sealed{}, s.explain("seal platform", err)
	}
	if err := j.lock(ctx); err != nil {
		return Sealed{}, s.explain("seal platform", err)
	}
	if err := j.share(ctx); err != nil {
		return Sealed{}, s.explain("share files", err)
	}
	if err := j.close(ctx); err != nil {
		return Sealed{}, s.explain("seal platform", err)
	}
	header := header{Docroot: docroot}
	text := header.encode(j.manifest)
	if err := writeManifest(filepath.Join(box, manifestName), text); err != nil {
		return Sealed{}, s.explain("write manifest", err)
	}
	if err := syncAll(box); err != nil {
		return Sealed{}, s.explain("write platform to the disk", err)
	}
	files, size := j.manifest.Totals()
	return Sealed{Digest: digest(text), Files: files, Bytes: size, Shared: j.shared, stamps: j.stamps}, nil
}

func (s *Store) options() tree.Options { return tree.Options{Files: s.Files, Bytes: s.Bytes} }

// Check refuses what no platform may hold: links that lead out, special files,
// hard links to files elsewhere, and more than the limits allow. Seal does so
// too, except for files that it knows to be shared with an older platform.
func (s *Store) Check(ctx context.Context, dir string) error {
	j := &sealing{store: s, dir: dir}
	return s.explain("look through the files", j.refuseForeign(ctx))
}

// sealing is one call of Seal.
type sealing struct {
	store    *Store
	dir      string
	sites    string // folder of the sites, relative
	older    []*tree.Kept
	given    map[string]string // hash of each file that the build itself shared
	manifest tree.Manifest
	shared   Shared
	stamps   map[string]stamp
}

// refuseForeign checks the tree before anything in it is changed. A file with
// more names than the tree shows is shared with somebody who could change it
// later, or whom we would lock out of his own file, unless that is an older
// platform which gave it.
func (j *sealing) refuseForeign(ctx context.Context) error {
	type inode struct{ dev, ino uint64 }
	type name struct {
		path        string
		links, seen uint64
	}
	shared := map[inode]*name{}
	err := tree.Walk(ctx, j.dir, j.store.options(), func(e tree.Entry) error {
		stat, ok := e.Info.Sys().(*syscall.Stat_t)
		if !ok || !e.Info.Mode().IsRegular() || j.gave(e) || stat.Nlink < 2 {
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

// gave tells whether an older platform gave this file to the build, and notes
// its hash.
func (j *sealing) gave(e tree.Entry) bool {
	for _, k := range j.older {
		if !k.Gave(e.Path, e.Info) {
			continue
		}
		line, _ := k.File(e.Path)
		if line.Mode != j.mode(e) {
			continue
		}
		j.given[e.Path] = line.Sum
		j.shared.Files++
		j.shared.Bytes += line.Size
		return true
	}
	return false
}

// mode gives the permissions that an entry is sealed with.
func (j *sealing) mode(e tree.Entry) fs.FileMode {
	mode := tree.Sealed(e.Info.Mode())
	if e.Path == j.sites && e.Info.IsDir() {
		return 0o755
	}
	// Composer makes these programs; committed by way of some systems they
	// have lost their execute bit, and Drush starts itself.
	if path.Dir(e.Path) == binaries && e.Info.Mode().IsRegular() {
		mode |= 0o111
	}
	return mode
}

// lock makes every file read-only and reads it. Folders stay writable for us.
func (j *sealing) lock(ctx context.Context) error {
	if err := own(j.dir); err != nil {
		return err
	}
	var hashes tree.Hashes
	err := hashes.Walk(ctx, j.dir, j.store.options(), func(e tree.Entry) error {
		line := tree.Describe(e)
		if line.Kind != 'l' {
			line.Mode = j.mode(e)
		}
		sum, given := j.given[e.Path]
		if given {
			line.Sum = sum
		}
		j.manifest = append(j.manifest, line)
		if given {
			return nil
		}
		if err := lockEntry(e, line); err != nil || line.Kind != 'f' {
			return err
		}
		return hashes.Add(e, len(j.manifest)-1)
	})
	if err != nil {
		return err
	}
	hashes.Fill(j.manifest)
	return nil
}

func own(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(dir, 0, 0)
}

func lockEntry(e tree.Entry, line tree.Line) error {
	if stat, ok := e.Info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (!ok || stat.Uid != 0 || stat.Gid != 0) {
		if err := e.Chown(0, 0); err != nil {
			return err
		}
	}
	switch {
	case line.Kind == 'l':
		return nil
	case line.Kind == 'd':
		return e.Chmod(0o755) // until all is shared
	}
	return e.Chmod(line.Mode)
}

// share gives files that older platforms have as well back to the disk. It goes
// from the new tree to the older ones and never the other way.
func (j *sealing) share(ctx context.Context) error {
	var left []tree.Line
	for _, line := range j.manifest {
		if _, given := j.given[line.Path]; line.Kind == 'f' && !given {
			left = append(left, line)
		}
	}
	for _, k := range j.older {
		var have, rest []tree.Line
		for _, line := range left {
			if _, ok := k.Same(line); ok {
				have = append(have, line)
			} else {
				rest = append(rest, line)
			}
		}
		files, size, err := k.Replace(ctx, j.dir, have)
		if err != nil {
			return err
		}
		j.shared.Files += files
		j.shared.Bytes += size
		left = rest
	}
	return nil
}

// close takes the right to write from the folders and notes how the files look.
func (j *sealing) close(ctx context.Context) error {
	root, err := os.OpenRoot(j.dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, line := range slices.Backward(j.manifest) { // what is inside first
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if line.Kind == 'd' && line.Mode != 0o755 {
			if err := root.Chmod(line.Path, line.Mode); err != nil {
				return err
			}
		}
	}
	if err := root.Chmod(".", 0o555); err != nil {
		return err
	}
	j.stamps = make(map[string]stamp, len(j.manifest))
	return tree.Walk(ctx, j.dir, j.store.options(), func(e tree.Entry) error {
		if e.Info.Mode().IsRegular() {
			j.stamps[e.Path] = stampOf(e.Info)
		}
		return nil
	})
}

func writeManifest(name string, text []byte) error {
	temporary := name + ".new"
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := os.WriteFile(temporary, packed.Bytes(), 0o444); err != nil { //nolint:gosec // it holds no secrets
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
