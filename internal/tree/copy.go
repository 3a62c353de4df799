package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Copy copies the tree at src into dst, an existing empty folder. Permissions
// are 0755 for folders and what may be executed, 0644 for the rest; owners are
// not kept, and src is only read.
func Copy(ctx context.Context, src, dst string, o Options) error {
	to, err := os.OpenRoot(dst)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	return Walk(ctx, src, o, func(e Entry) error {
		switch {
		case e.Info.IsDir():
			return to.Mkdir(e.Path, 0o755)
		case e.Link != "":
			return to.Symlink(e.Link, e.Path)
		}
		if err := copyFile(ctx, e, to); err != nil {
			return fmt.Errorf("copy %q: %w", e.Path, err)
		}
		return nil
	})
}

func copyFile(ctx context.Context, e Entry, to *os.Root) (err error) {
	in, err := e.Open()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	mode := fs.FileMode(0o644)
	if e.Info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	out, err := to.OpenFile(e.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	n, err := io.Copy(out, io.LimitReader(UntilDone(ctx, in), e.Info.Size()+1))
	if err == nil && n != e.Info.Size() {
		err = changed(e.Path)
	}
	return err
}
