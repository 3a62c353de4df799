package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"hefring/models"
)

// Merge brings what lies in the folders files, private and config of from into those
// of to, both ours, on one disk: it removes what is gone, renames files and folders that to has not
// or has otherwise, and keeps the rest. Nothing leads out of to, whatever links are in
// it. Cut short, it may be repeated with the same folders.
func Merge(ctx context.Context, from, to string, gone []string) error {
	dir, err := os.OpenRoot(to)
	if err != nil {
		return fmt.Errorf("open folder to bring changes to: %w", err)
	}
	defer func() { _ = dir.Close() }()
	for _, name := range gone {
		if err := owned(name); err != nil {
			return err
		}
		if err := dir.RemoveAll(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what is gone: %w", err)
		}
	}
	m := merger{ctx: ctx, from: from, to: to, dir: dir}
	for _, part := range folders() {
		w := walker{ctx: ctx, leftOut: func(string, string) {}, visit: func(i item) error { return m.item(part, i) }}
		if err := w.walk(path.Join(from, part)); err != nil {
			return fmt.Errorf("bring changes: %w", err)
		}
	}
	return nil
}

// owned refuses a path that is not below one of a site's folders.
func owned(name string) error {
	part, rest, below := strings.Cut(name, "/")
	if !below || rest == "" || !slices.Contains(folders(), part) || !fs.ValidPath(name) {
		return models.Errorf(models.Invalid, "%q is no file of a site.", shorten(name))
	}
	return nil
}

type merger struct {
	ctx      context.Context //nolint:containedctx // lives for one Merge
	from, to string
	dir      *os.Root
}

func (m *merger) item(part string, i item) error {
	name := part + "/" + i.path
	if i.info.IsDir() {
		info, err := m.dir.Lstat(name)
		if err == nil && info.IsDir() {
			return m.dir.Chmod(name, i.info.Mode().Perm())
		}
		if err == nil {
			err = m.dir.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := m.dir.Mkdir(name, 0o700); err != nil {
			return err
		}
		known := stat(i.info)
		return errors.Join(m.dir.Lchown(name, int(known.Uid), int(known.Gid)), m.dir.Chmod(name, i.info.Mode().Perm()))
	}
	// Both sides are opened folder by folder: nobody swaps a link into the way.
	return m.rename(i, name)
}

// rename moves a file or link over whatever has its name.
func (m *merger) rename(i item, name string) error {
	if info, err := m.dir.Lstat(name); err == nil && info.IsDir() {
		if err := m.dir.RemoveAll(name); err != nil {
			return err
		}
	}
	target, err := m.dir.OpenRoot(path.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	return renameBetween(i.dir, path.Base(i.path), target, path.Base(name))
}
