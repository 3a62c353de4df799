package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Copied says what Copy copied.
type Copied struct {
	Entries int   // files, folders and links
	Bytes   int64 // of all files together
	Shared  int   // of the files, how many share their blocks with the original
}

// Copier copies folders that a site goes on writing to.
type Copier struct {
	Name string                 // of the folder, in the log
	Skip func(path string) bool // leaves paths out; nil: none
	// Inside is a folder that the original lies in, and that nothing may lead out
	// of, also when somebody swaps links into the way to it; "" when the way
	// belongs to us.
	Inside string
	Log    Log
}

// Copy copies what is in src into dst, an existing folder of ours that holds
// nothing yet. Files share their blocks with the original until one of both is
// changed, where the file system can do that; they never share more, because PHP
// writes in place. The copies belong to us. A folder that is not there is empty.
func (c Copier) Copy(ctx context.Context, src, dst string) (Copied, error) {
	root, err := os.OpenRoot(dst)
	if err != nil {
		return Copied{}, fmt.Errorf("open folder for the copy: %w", err)
	}
	defer func() { _ = root.Close() }()
	notes := notes{log: c.Log, part: c.Name}
	t := &transfer{ctx: ctx, to: root, reflink: true}
	walk := walker{ctx: ctx, inside: c.Inside, skip: c.Skip, leftOut: notes.add, visit: t.item}
	if err := walk.walk(src); err != nil {
		if ctx.Err() != nil {
			return t.done, context.Cause(ctx)
		}
		return t.done, fmt.Errorf("copy the folder %s: %w", c.Name, explainDisk(err, dst))
	}
	notes.end()
	return t.done, nil
}

type transfer struct {
	ctx     context.Context //nolint:containedctx // lives for one Copy
	to      *os.Root
	reflink bool // nothing spoke against it so far
	done    Copied
}

func (t *transfer) item(i item) error {
	switch {
	case i.info.IsDir():
		if err := t.to.Mkdir(i.path, 0o700); err != nil {
			return err
		}
		t.done.Entries++
		return t.to.Chmod(i.path, folderMode(i.info.Mode()))
	case i.link != "":
		t.done.Entries++
		return t.to.Symlink(i.link, i.path)
	}
	in, info, err := i.open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if err := t.file(i.path, in, info); err != nil {
		return err
	}
	t.done.Entries++
	t.done.Bytes += info.Size()
	return nil
}

func (t *transfer) file(name string, in *os.File, info os.FileInfo) (err error) {
	out, err := t.to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if shared := t.share(out, in); !shared {
		if err := sparse(t.ctx, out, io.LimitReader(in, info.Size())); err != nil {
			return err
		}
	}
	if err := out.Chmod(fileMode(info.Mode())); err != nil {
		return err
	}
	return t.to.Chtimes(name, info.ModTime(), info.ModTime())
}

// share makes out share the blocks of in, and tells whether that worked.
func (t *transfer) share(out, in *os.File) bool {
	if !t.reflink {
		return false
	}
	err := unix.IoctlFileClone(int(out.Fd()), int(in.Fd()))
	switch {
	case err == nil:
		t.done.Shared++
		return true
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOSYS):
		t.reflink = false // the file system cannot, or there are two
	}
	return false
}
