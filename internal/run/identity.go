package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
)

// Identity is a user of the machine that programs run as.
type Identity struct {
	UID, GID uint32
	Home     string
}

// LookupIdentity finds the user with that name.
func LookupIdentity(name string) (*Identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("look up user %s: %w", name, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("look up user %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("look up user %s: %w", name, err)
	}
	return &Identity{UID: uint32(uid), GID: uint32(gid), Home: u.HomeDir}, nil
}

// Identity is who programs run as when root starts them; nil means ourselves.
// It is nil also when we are not root: then nobody can be switched to.
func (r *Runner) Identity() *Identity {
	if os.Geteuid() != 0 {
		return nil
	}
	return r.identity
}

// Chown gives the file or folder at path, with all that is in it, to the
// Runner's identity. Links are changed themselves, never followed, also when
// somebody swaps them in meanwhile. Without an identity it does nothing.
func (r *Runner) Chown(path string) error { return Chown(path, r.Identity()) }

// Chown gives the file or folder at path to an identity as Runner.Chown does.
// Without one, or without being root, it does nothing.
func Chown(path string, id *Identity) error {
	if id == nil || os.Geteuid() != 0 {
		return nil
	}
	uid, gid := int(id.UID), int(id.GID)
	if err := os.Lchown(path, uid, gid); err != nil {
		return fmt.Errorf("change owner: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("change owner: %w", err)
	}
	if !info.IsDir() {
		return nil
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return fmt.Errorf("change owner: %w", err)
	}
	defer func() { _ = root.Close() }()
	err = fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(name, uid, gid)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("change owner: %s changed meanwhile: %w", path, err)
	}
	if err != nil {
		return fmt.Errorf("change owner in %s: %w", path, err)
	}
	return nil
}
