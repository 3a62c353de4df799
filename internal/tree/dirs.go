package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Ours is no user and no group: what is made stays ours.
const Ours = -1

// MakeDirs makes folders below root, and those that lead to them, on all
// processors, and gives them to a user and a group, by number, or to Ours; those
// that are there are left as they are.
func MakeDirs(ctx context.Context, root string, dirs []string, uid, gid int) error {
	top, err := os.Open(root) //nolint:gosec // whoever calls says where
	if err != nil {
		return err
	}
	defer func() { _ = top.Close() }()
	for _, level := range byDepth(dirs) {
		err := Parallel(ctx, func(_ context.Context, put func(siblings)) error {
			for _, s := range level {
				put(s)
			}
			return nil
		}, func(ctx context.Context, s siblings, _ []byte) error {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the caller sees that it was stopped
			}
			return s.make(top, uid, gid)
		})
		if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return nil
}

// siblings are folders in one other.
type siblings struct {
	parent string
	names  []string
}

// byDepth groups folders, with those that lead to them, by how deep they lie and
// by the folder that they are in.
func byDepth(dirs []string) (levels [][]siblings) {
	noted := map[string]bool{".": true}
	at := map[string]int{} // of a folder's own, in their level
	var note func(dir string)
	note = func(dir string) {
		if noted[dir] {
			return
		}
		noted[dir] = true
		parent := path.Dir(dir)
		note(parent)
		depth := strings.Count(dir, "/")
		if depth == len(levels) {
			levels = append(levels, nil)
		}
		i, ok := at[parent]
		if !ok {
			i = len(levels[depth])
			at[parent] = i
			levels[depth] = append(levels[depth], siblings{parent: parent})
		}
		levels[depth][i].names = append(levels[depth][i].names, path.Base(dir))
	}
	for _, dir := range dirs {
		note(dir)
	}
	return levels
}

func (s siblings) make(top *os.File, uid, gid int) error {
	parent, err := openFolder(top, s.parent)
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	for _, name := range s.names {
		err := unix.Mkdirat(int(parent.Fd()), name, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil && uid != Ours {
			err = unix.Fchownat(int(parent.Fd()), name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path.Join(s.parent, name), err)
		}
	}
	return nil
}
