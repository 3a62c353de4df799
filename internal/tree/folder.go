package tree

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openFolder opens the folder at name below dir, wherever links inside of dir lead
// and never outside, as os.Root does, which asks the kernel for each part of the
// name. See openat2(2).
func openFolder(dir *os.File, name string) (*os.File, error) {
	how := &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(int(dir.Fd()), name, how)
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), name), nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		// Something was renamed meanwhile, or the container's filter does not know
		// the call.
		return openFolderSlowly(dir, name)
	}
	return nil, &os.PathError{Op: "open", Path: name, Err: err}
}

func openFolderSlowly(dir *os.File, name string) (*os.File, error) {
	root, err := os.OpenRoot(dir.Name())
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
}
