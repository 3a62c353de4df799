package backup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"hefring/internal/tree"
	"hefring/models"
)

// Owner gives files to the web user; *run.Runner does.
type Owner interface {
	// Chown gives path and what is in it to the web user; it does nothing when
	// that is ourselves.
	Chown(path string) error
}

// reserve is the room in bytes that stays free on a disk.
const reserve = 64 << 20

// ExtractFiles unpacks the folders files, private and config into dst, an
// existing folder of ours in which nothing of these names lies, and gives them to
// owner. After an error dst may hold part of them.
func (a *Archive) ExtractFiles(ctx context.Context, dst string, owner Owner) error {
	if err := Room(dst, a.Manifest.Disk()); err != nil {
		return err
	}
	root, err := os.OpenRoot(dst)
	if err != nil {
		return fmt.Errorf("open folder for the backup's files: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, name := range folders() {
		if err := root.Mkdir(name, 0o750); err != nil {
			return fmt.Errorf("unpack backup: %w", err)
		}
	}
	x := extractor{ctx: ctx, archive: a, root: root}
	if err := a.each(ctx, x.entry); err != nil {
		return fmt.Errorf("unpack backup: %w", explainDisk(err, dst))
	}
	for _, name := range folders() {
		if err := owner.Chown(path.Join(dst, name)); err != nil {
			return fmt.Errorf("unpack backup: %w", err)
		}
	}
	return nil
}

// Room fails unless the disk of dir can take that many bytes more.
func Room(dir string, bytes int64) error {
	free, err := tree.Free(dir)
	if err != nil {
		return err
	}
	if free < bytes+reserve {
		return models.Errorf(models.Unavailable,
			"The disk of %s has %s left, and %s are needed. Delete old backups or platforms, or enlarge the disk, then try again.",
			dir, tree.Size(free), tree.Size(bytes+reserve))
	}
	return nil
}

func explainDisk(err error, dir string) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	left := "an unknown amount"
	if free, failed := tree.Free(dir); failed == nil {
		left = tree.Size(free)
	}
	return models.Wrapf(models.Unavailable, err,
		"The disk of %s is full: %s left. Delete old backups or platforms, or enlarge the disk, then try again.", dir, left)
}

type extractor struct {
	ctx     context.Context //nolint:containedctx // lives for one ExtractFiles
	archive *Archive
	root    *os.Root
}

func (x *extractor) entry(h *tar.Header, content io.Reader) error {
	part, err := x.archive.partOf(h)
	if err != nil || part != PartFiles && part != PartPrivate && part != PartConfig {
		return err
	}
	name := strings.TrimSuffix(h.Name, "/")
	switch h.Typeflag {
	case tar.TypeDir:
		if err := x.root.MkdirAll(name, 0o750); err != nil {
			return err
		}
		return x.root.Chmod(name, folderMode(h.FileInfo().Mode()))
	case tar.TypeSymlink:
		return x.root.Symlink(h.Linkname, name)
	}
	return x.file(name, h, content)
}

func (x *extractor) file(name string, h *tar.Header, content io.Reader) (err error) {
	out, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := sparse(x.ctx, out, content); err != nil {
		return err
	}
	if err := out.Chmod(fileMode(h.FileInfo().Mode())); err != nil {
		return err
	}
	return x.root.Chtimes(name, h.ModTime, h.ModTime)
}

// folderMode and fileMode keep what a site set, but never lock its own user out,
// and never bring setuid bits back.
func folderMode(mode fs.FileMode) fs.FileMode { return mode.Perm() | 0o700 }
func fileMode(mode fs.FileMode) fs.FileMode   { return mode.Perm() | 0o400 }

// sparse copies content and leaves holes where it is zero.
func sparse(ctx context.Context, out *os.File, content io.Reader) error {
	buffer := make([]byte, 64<<10)
	var size int64
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.ReadFull(content, buffer)
		if n > 0 && !zero(buffer[:n]) {
			if _, err := out.WriteAt(buffer[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n < len(buffer) {
			// A short last block and a broken stream look alike here: the tar
			// reader's next call tells which it was.
			if _, err := content.Read(buffer[:1]); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return out.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}

func zero(block []byte) bool {
	for _, b := range block {
		if b != 0 {
			return false
		}
	}
	return true
}
