package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"hefring/models"
)

const (
	maxDepth = 100 // folders inside folders; each level holds one file handle
	maxPath  = 4096
	// names is how many names of a folder are read at once.
	names = 1024
)

// item is one file, folder or symbolic link of a folder that somebody writes to
// at the same time.
type item struct {
	path string // relative, with slashes
	info fs.FileInfo
	link string // target of a symbolic link
	dir  *os.Root
}

// open opens a file for reading, if it still is the one that was seen. It fails
// with fs.ErrNotExist when it is gone.
func (i item) open() (*os.File, fs.FileInfo, error) {
	// Without O_NONBLOCK a file that was swapped for a pipe would hang us.
	file, err := i.dir.OpenFile(path.Base(i.path), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && (!os.SameFile(info, i.info) || !info.Mode().IsRegular()) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// walker visits all that is worth keeping in a folder. What vanishes meanwhile is
// passed over; no link is followed.
type walker struct {
	ctx     context.Context //nolint:containedctx // lives for one walk
	inside  string          // Copier.Inside
	skip    func(path string) bool
	leftOut func(path, why string)
	visit   func(item) error
	owner   uint32 // of the folder
}

func (w *walker) walk(dir string) error {
	top, err := w.top(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer func() { _ = top.Close() }()
	info, err := top.Stat(".")
	if err != nil {
		return fmt.Errorf("look at folder: %w", err)
	}
	w.owner = stat(info).Uid
	return w.folder(top, "", 0)
}

func (w *walker) top(dir string) (*os.Root, error) {
	if w.inside == "" {
		return os.OpenRoot(dir)
	}
	way, err := filepath.Rel(w.inside, dir)
	if err != nil {
		return nil, err
	}
	around, err := os.OpenRoot(w.inside)
	if err != nil {
		return nil, err
	}
	defer func() { _ = around.Close() }()
	return around.OpenRoot(way)
}

func (w *walker) folder(dir *os.Root, at string, depth int) error {
	if depth > maxDepth {
		return models.Errorf(models.Invalid, "Folders are nested more than %d deep at %q. Move what is in there further up.", maxDepth, shorten(at))
	}
	file, err := dir.Open(".")
	if err != nil {
		return fmt.Errorf("read folder: %w", unreadable(at, err))
	}
	defer func() { _ = file.Close() }()
	for {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		some, err := file.Readdirnames(names)
		for _, name := range some {
			if err := w.item(dir, name, path.Join(at, name), depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read folder %q: %w", shorten(at), err)
		}
	}
}

func (w *walker) item(dir *os.Root, name, at string, depth int) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if w.skip != nil && w.skip(at) {
		return nil
	}
	i := item{path: at, dir: dir}
	var err error
	if i.info, err = dir.Lstat(name); err == nil && i.info.Mode()&fs.ModeSymlink != 0 {
		i.link, err = dir.Readlink(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at file: %w", unreadable(at, err))
	}
	if why := w.unfit(i); why != "" {
		w.leftOut(at, why)
		return nil
	}
	if err := w.visit(i); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return unreadable(at, err)
	}
	if !i.info.IsDir() {
		return nil
	}
	return w.below(i, name, depth)
}

func (w *walker) below(i item, name string, depth int) error {
	sub, err := i.dir.OpenRoot(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open folder: %w", unreadable(i.path, err))
	}
	defer func() { _ = sub.Close() }()
	if info, err := sub.Stat("."); err != nil || !os.SameFile(info, i.info) {
		return nil // it was swapped for another one just now
	}
	return w.folder(sub, i.path, depth+1)
}

// unfit says why an item cannot be kept; "" when it can.
func (w *walker) unfit(i item) string {
	mode := i.info.Mode()
	switch {
	case len(i.path) > maxPath-len(PartPrivate)-1:
		return "its path is too long"
	case mode.IsDir():
		return ""
	case mode&fs.ModeSymlink != 0:
		if !staysIn(i.path, i.link) {
			return "it is a link out of the folder"
		}
		return ""
	case !mode.IsRegular():
		return "it is a device, socket or pipe"
	}
	// A second name of a file that the site may not even read must not become a
	// copy that it may.
	if s := stat(i.info); s.Nlink > 1 && s.Uid != w.owner {
		return "it is another name of somebody else's file"
	}
	return ""
}

// staysIn tells whether a link at a path below a folder leads to somewhere below
// it. Only a target that goes up first and then down can be judged by its text:
// then each link stays in, and so does a chain of them.
func staysIn(at, target string) bool {
	if target == "" || path.IsAbs(target) || len(target) > maxPath || strings.ContainsRune(target, 0) {
		return false
	}
	up, down := strings.Count(path.Clean(at), "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part != "..":
			down = true
		case down || up == 0:
			return false
		default:
			up--
		}
	}
	return true
}

func stat(info fs.FileInfo) syscall.Stat_t {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return *s
	}
	return syscall.Stat_t{}
}

// onDisk is how many bytes of a file are no hole.
func onDisk(info fs.FileInfo) int64 { return min(stat(info).Blocks*512, info.Size()) }

func unreadable(at string, err error) error {
	if !errors.Is(err, fs.ErrPermission) || models.CodeOf(err) != "" {
		return err
	}
	return models.Wrapf(models.Unavailable, err, "%q may not be read. Give it to the user of the site, with the right to read.", shorten(at))
}

func shorten(text string) string {
	if len(text) > 200 {
		return text[:200] + "…"
	}
	return text
}
