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
}

// Shared counts files that use the disk only once.
type Shared struct{ Files, Bytes int64 }

// Seal makes a staged platform read-only, for root's processes its property too,
// records every file in a manifest beside it, waits until all of it is on the disk
// and meanwhile sees that nobody writes to it any more. Only docroot/sites stays writable, and that for us alone, because links
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
	j := newSealing(s, dir, header{Docroot: docroot}, older)
	if err := j.lock(ctx); err != nil {
		return Sealed{}, s.explain("seal platform", err)
	}
	if err := j.share(ctx); err != nil {
		return Sealed{}, s.explain("share files", err)
	}
	if err := j.close(ctx); err != nil {
		return Sealed{}, s.explain("seal platform", err)
	}
	text := j.header.encode(j.manifest)
	kept := make(chan error, 1)
	go func() { kept <- j.keep(box, text) }() // the one waits for the disk, the other does not
	err = j.recheck(ctx)
	if err := errors.Join(err, <-kept); err != nil {
		return Sealed{}, s.explain("write platform to the disk", err)
	}
	files, size := j.manifest.Totals()
	return Sealed{Digest: digest(text), Files: files, Bytes: size, Shared: j.shared}, nil
}

func (s *Store) options() tree.Options { return tree.Options{Files: s.Files, Bytes: s.Bytes} }

// Check refuses what no platform may hold: links that lead out, special files,
// hard links to files elsewhere, and more than the limits allow. Seal does so
// too.
func (s *Store) Check(ctx context.Context, dir string) error {
	several := names{}
	err := tree.Walk(ctx, dir, s.options(), func(e tree.Entry) error {
		several.see(e)
		return nil
	})
	if err == nil {
		err = several.refuse()
	}
	return s.explain("look through the files", err)
}

// names are those of files that have several. A file with more names than the
// tree shows is shared with somebody who could change it later, or whom we would
// lock out of his own file.
type names map[inode]*name

type inode struct{ dev, ino uint64 }

type name struct {
	path        string
	links, seen uint64
}

// see notes a file that has several names, and tells whether it has.
func (n names) see(e tree.Entry) bool {
	stat, ok := e.Info.Sys().(*syscall.Stat_t)
	if !ok || !e.Info.Mode().IsRegular() || stat.Nlink < 2 {
		return false
	}
	key := inode{stat.Dev, stat.Ino}
	if n[key] == nil {
		n[key] = &name{path: e.Path, links: uint64(stat.Nlink)} //nolint:unconvert // 32 bits on other machines
	}
	n[key].seen++
	return true
}

func (n names) refuse() error {
	for _, name := range n {
		if name.seen < name.links {
			return models.Errorf(models.Invalid, "%q is a hard link to a file outside of the platform. Copy the file in the source instead.", name.path)
		}
	}
	return nil
}

// sealing is one call of Seal.
type sealing struct {
	store    *Store
	dir      string
	header   header
	older    []*tree.Kept
	given    map[string]bool // files that the build itself shared
	several  names
	manifest tree.Manifest
	shared   Shared
	stamps   map[string]stamp
	blobs    map[string]string // git's names of the files' content
}

func newSealing(s *Store, dir string, h header, older []*tree.Kept) *sealing {
	return &sealing{
		store: s, dir: dir, header: h, older: older,
		given: map[string]bool{}, stamps: map[string]stamp{}, blobs: map[string]string{}, several: names{},
	}
}

// gave finds the file that an older platform gave to the build at this place, and
// git's name of its content.
func (j *sealing) gave(e tree.Entry) (line tree.Line, blob string, ok bool) {
	if !e.Info.Mode().IsRegular() {
		return tree.Line{}, "", false
	}
	for _, k := range j.older {
		blob, ok := k.Gave(e.Path, e.Info)
		if !ok {
			continue
		}
		if line, ok := k.File(e.Path); ok && line.Mode == j.mode(e) && line.Mode == e.Info.Mode() {
			return line, blob, true
		}
	}
	return tree.Line{}, "", false
}

// mode gives the permissions that an entry is sealed with.
func (j *sealing) mode(e tree.Entry) fs.FileMode {
	mode := tree.Sealed(e.Info.Mode())
	if e.Path == j.header.sites() && e.Info.IsDir() {
		return 0o755
	}
	// Composer makes these programs; committed by way of some systems they
	// have lost their execute bit, and Drush starts itself.
	if path.Dir(e.Path) == binaries && e.Info.Mode().IsRegular() {
		mode |= 0o111
	}
	return mode
}

// lock makes everything read-only and reads the files, except those that an older
// platform gave, which are so already. Files of several names wait until it is
// known that all of these are ours.
func (j *sealing) lock(ctx context.Context) error {
	if err := own(j.dir); err != nil {
		return err
	}
	hashes := tree.Hashes{Naming: tree.GitSHA1}
	waiting := map[string]bool{}
	err := hashes.Walk(ctx, j.dir, j.store.options(), func(e tree.Entry) error {
		line := tree.Describe(e)
		if line.Kind != 'l' {
			line.Mode = j.mode(e)
		}
		if old, blob, ok := j.gave(e); ok {
			line.Sum = old.Sum
			j.take(e, line, blob)
			return nil
		}
		j.manifest = append(j.manifest, line)
		if j.several.see(e) {
			waiting[e.Path] = true
		} else if err := lockEntry(e, line.Mode); err != nil {
			return err
		}
		if line.Kind != 'f' {
			return nil
		}
		return hashes.Add(e, len(j.manifest)-1)
	})
	if err != nil {
		return err
	}
	hashes.Fill(j.manifest)
	for i, name := range hashes.Names() {
		j.blobs[j.manifest[i].Path] = name
	}
	if err := j.several.refuse(); err != nil || len(waiting) == 0 {
		return err
	}
	return j.lockSeveral(waiting)
}

// take notes a file that an older platform gave.
func (j *sealing) take(e tree.Entry, line tree.Line, blob string) {
	j.manifest = append(j.manifest, line)
	j.blobs[e.Path] = blob
	j.given[e.Path] = true
	j.stamps[e.Path] = stampOf(e.Info)
	j.shared.Files++
	j.shared.Bytes += line.Size
}

func (j *sealing) lockSeveral(paths map[string]bool) error {
	root, err := os.OpenRoot(j.dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, line := range j.manifest {
		if !paths[line.Path] {
			continue
		}
		if os.Geteuid() == 0 {
			if err := root.Lchown(line.Path, 0, 0); err != nil {
				return err
			}
		}
		if err := root.Chmod(line.Path, line.Mode); err != nil {
			return err
		}
	}
	return nil
}

func own(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(dir, 0, 0)
}

func lockEntry(e tree.Entry, mode fs.FileMode) error {
	stat, ok := e.Info.Sys().(*syscall.Stat_t)
	if os.Geteuid() == 0 && (!ok || stat.Uid != 0 || stat.Gid != 0) {
		if err := e.Chown(0, 0); err != nil {
			return err
		}
	}
	switch {
	case e.Link != "":
		return nil
	case e.Info.IsDir() && os.Geteuid() != 0:
		mode = 0o755 // we could not share anything in it
	}
	return e.Chmod(mode)
}

// share gives files that older platforms have as well back to the disk. It goes
// from the new tree to the older ones and never the other way.
func (j *sealing) share(ctx context.Context) error {
	var left []tree.Line
	for _, line := range j.manifest {
		if line.Kind == 'f' && !j.given[line.Path] {
			left = append(left, line)
		}
	}
	total, size := tree.Manifest(left).Totals()
	var err error
	for _, k := range j.older {
		if left, err = k.Replace(ctx, j.dir, left); err != nil {
			return err
		}
	}
	files, rest := tree.Manifest(left).Totals()
	j.shared.Files += total - files
	j.shared.Bytes += size - rest
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
		switch {
		case line.Kind == 'f' && !j.given[line.Path]:
			info, err := os.Lstat(filepath.Join(j.dir, line.Path))
			if err != nil {
				return err
			}
			j.stamps[line.Path] = stampOf(info)
		case line.Kind == 'd' && line.Mode != 0o755 && os.Geteuid() != 0:
			if err := root.Chmod(line.Path, line.Mode); err != nil {
				return err
			}
		}
	}
	return root.Chmod(".", 0o555)
}

// keep writes what was found beside the platform, and all of it to the disk.
func (j *sealing) keep(box string, manifest []byte) error {
	if err := writePacked(filepath.Join(box, manifestName), manifest); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := writePacked(filepath.Join(box, stampsName), j.stampsText(digest(manifest))); err != nil {
		return fmt.Errorf("write stamps: %w", err)
	}
	return syncAll(box)
}

// recheck looks once more through a platform that nobody but us can open for
// writing any more: a program that the build left behind may have had files open.
// It reads only those that the kernel says were touched since they were read.
func (j *sealing) recheck(ctx context.Context) error {
	look := looking{store: j.store, sites: j.header.sites(), owner: uint32(os.Geteuid()), known: j.stamps} //nolint:gosec // no negative number
	findings, err := look.findings(ctx, j.dir, j.manifest)
	if err != nil || len(findings) == 0 {
		return err
	}
	return models.Errorf(models.Unavailable, "The platform changed while it was being sealed (%s). See that nothing else writes to the folder of platforms, then build it again.", findings[0])
}

// writePacked makes a file in one step.
func writePacked(name string, text []byte) error {
	temporary := name + ".new"
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
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
