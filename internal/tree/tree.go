// Package tree reads folder trees that somebody else wrote: it walks them inside
// os.Root handles, so that no link leads out, holds them to limits, hashes them
// into manifests and copies them.
package tree

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"hefring/models"
)

// Limits of a tree when Options name none.
const (
	DefaultFiles = 500_000
	DefaultBytes = 20 << 30
	maxDepth     = 128 // folders inside folders; each level holds one file handle
)

// Options say what a walk accepts.
type Options struct {
	Files int64 // entries of all kinds; 0 means DefaultFiles
	Bytes int64 // sizes of all files together; 0 means DefaultBytes
	// Skip leaves an entry, and what is below it, out of the walk unchecked.
	Skip func(e Entry) bool
	// Odd is told of what a walk does not accept, other than too much of it, and
	// the walk goes on behind it; nil ends the walk there.
	Odd func(e Entry, problem *models.Error)
	// NoSetuid refuses files and folders that carry setuid or setgid bits.
	NoSetuid bool
}

// Entry is one file, folder or symbolic link of a tree.
type Entry struct {
	Path string // relative, with slashes
	Info fs.FileInfo
	Link string // target of a symbolic link
	dir  *os.Root
}

// Open opens a regular file for reading. It fails if the entry became something
// else since it was seen.
func (e Entry) Open() (*os.File, error) {
	// Without O_NONBLOCK a file that was swapped for a pipe would hang us.
	file, err := e.dir.OpenFile(path.Base(e.Path), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	// An inode's number is soon used again, so the kind counts as well.
	if err == nil && (!os.SameFile(info, e.Info) || !info.Mode().IsRegular()) {
		err = changed(e.Path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Chmod sets the permission bits of a file or folder.
func (e Entry) Chmod(mode fs.FileMode) error { return e.dir.Chmod(path.Base(e.Path), mode) }

// Chown gives the entry itself, never what it links to, to another owner.
func (e Entry) Chown(uid, gid int) error { return e.dir.Lchown(path.Base(e.Path), uid, gid) }

// Limited gives the same options with the limits that hold where none is named.
func (o Options) Limited() Options {
	o.Files = cmp.Or(o.Files, DefaultFiles)
	o.Bytes = cmp.Or(o.Bytes, DefaultBytes)
	return o
}

// Walk calls visit for every entry below dir, folders before what they hold and
// names in order. A link that leads out of dir, a special file, or more than the
// limits allow ends it with a models.Error. It looks a little ahead of visit, so
// the functions of o are called beside it.
func Walk(ctx context.Context, dir string, o Options, visit func(Entry) error) error {
	top, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = top.Close() }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &walker{ctx: ctx, top: top, options: o.Limited(), found: make(chan found, lookAhead), ahead: make(chan struct{}, listAhead)}
	ended := make(chan error, 1)
	go func() {
		defer close(w.found)
		entries, err := w.list(top, "")
		if err == nil {
			err = w.folder(top, entries, 0)
		}
		ended <- err
	}()
	var failed error
	for f := range w.found {
		if f.left != nil {
			_ = f.left.Close()
			continue
		}
		if failed == nil {
			failed = context.Cause(ctx)
		}
		if failed == nil {
			if failed = visit(f.Entry); failed != nil {
				cancel(failed)
			}
		}
	}
	if err := <-ended; failed == nil {
		failed = err
	}
	return failed
}

// lookAhead is how many entries Walk finds before they are visited; each may hold a
// folder open.
const lookAhead = 256

type walker struct {
	ctx     context.Context //nolint:containedctx // lives for one Walk
	top     *os.Root
	options Options
	found   chan found
	ahead   chan struct{} // a place for each folder that is listed ahead
	files   atomic.Int64
	bytes   int64
}

// found is an entry to visit, or a folder of which all entries were.
type found struct {
	Entry
	left *os.Root
}

// put hands on what was found, unless nobody wants it any more.
func (w *walker) put(f found) error {
	select {
	case w.found <- f:
		return nil
	case <-w.ctx.Done():
		if f.left != nil {
			_ = f.left.Close()
		}
		return context.Cause(w.ctx)
	}
}

// folder finds what is in an open folder and below.
func (w *walker) folder(dir *os.Root, entries []Entry, depth int) error {
	entries, err := w.accept(entries)
	if err != nil {
		return err
	}
	below := w.listings(dir, entries, depth+1)
	defer below.drop()
	for _, e := range entries {
		if err := w.put(found{Entry: e}); err != nil {
			return err
		}
		if !e.Info.IsDir() {
			continue
		}
		sub := below.next()
		if sub.err != nil {
			return sub.err
		}
		err := w.folder(sub.dir, sub.entries, depth+1)
		if left := w.put(found{left: sub.dir}); err == nil {
			err = left
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// accept gives those entries that the options leave in the walk.
func (w *walker) accept(entries []Entry) ([]Entry, error) {
	accepted := entries[:0]
	for _, e := range entries {
		if w.options.Skip != nil && w.options.Skip(e) {
			continue
		}
		if err := w.count(e); err != nil {
			return nil, err
		}
		err := w.check(e)
		if err == nil {
			accepted = append(accepted, e)
			continue
		}
		problem, ok := errors.AsType[*models.Error](err)
		if w.options.Odd == nil || !ok {
			return nil, err
		}
		w.options.Odd(e, problem)
	}
	return accepted, nil
}

// list reads what is in a folder.
func (w *walker) list(dir *os.Root, at string) ([]Entry, error) {
	names, err := w.names(dir)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(names))
	for i, name := range names {
		if err := w.ctx.Err(); err != nil {
			return nil, context.Cause(w.ctx)
		}
		if entries[i], err = entry(dir, name, at); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func entry(dir *os.Root, name, at string) (e Entry, err error) {
	e = Entry{Path: path.Join(at, name), dir: dir}
	if e.Info, err = dir.Lstat(name); err != nil {
		return e, err
	}
	if e.Info.Mode()&fs.ModeSymlink != 0 {
		e.Link, err = dir.Readlink(name)
	}
	return e, err
}

// names reads a folder in pieces, so that a folder of a billion names meets the
// limit and not the machine's memory.
func (w *walker) names(dir *os.Root) ([]string, error) {
	file, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var names []string
	for {
		if err := w.ctx.Err(); err != nil {
			return nil, context.Cause(w.ctx)
		}
		some, err := file.Readdirnames(4096)
		names = append(names, some...)
		if w.files.Add(int64(len(some))) > w.options.Files {
			return nil, models.Errorf(models.Invalid, "There are more than %d files. Point at a smaller folder, or leave generated files out of the source.", w.options.Files)
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (w *walker) check(e Entry) error {
	mode := e.Info.Mode()
	if w.options.NoSetuid && mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		return models.Errorf(models.Invalid, "%q carries a setuid or setgid bit. Take it away with chmod ug-s.", e.Path)
	}
	switch {
	case mode.IsDir():
		return nil
	case mode&fs.ModeSymlink != 0:
		return w.checkLink(e)
	case !mode.IsRegular():
		return models.Errorf(models.Invalid, "%q is a device, socket or pipe. A platform holds only files, folders and links: remove it.", e.Path)
	}
	return nil
}

func (w *walker) count(e Entry) error {
	if !e.Info.Mode().IsRegular() {
		return nil
	}
	if w.bytes += e.Info.Size(); w.bytes > w.options.Bytes {
		return models.Errorf(models.Invalid, "The files are larger than %s together. Leave large files out of the source.", Size(w.options.Bytes))
	}
	return nil
}

// checkLink follows the link both as text and through the file system: each way
// alone can be fooled by a link to a folder above or to a name that is not there
// yet.
func (w *walker) checkLink(e Entry) error {
	leaves := models.Errorf(models.Invalid, "The symbolic link %q leads out of the tree, to %q. Remove it, or make it point inside.", e.Path, shorten(e.Link))
	if path.IsAbs(e.Link) || !within(path.Join(path.Dir(e.Path), e.Link)) {
		return leaves
	}
	if _, err := w.top.Stat(e.Path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		leaves.Err = err
		return leaves
	}
	return nil
}

func within(clean string) bool { return clean != ".." && !strings.HasPrefix(clean, "../") }

func shorten(text string) string {
	if len(text) > 200 {
		return text[:200] + "…"
	}
	return text
}

func changed(name string) error {
	return models.Errorf(models.Conflict, "%q changed while it was read. Wait until nothing writes to the folder, then try again.", name)
}
