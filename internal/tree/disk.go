package tree

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"hefring/models"
)

// Free gives the bytes that an ordinary user may still write on the disk that
// holds dir.
func Free(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return int64(fs.Bavail) * fs.Bsize, nil //nolint:gosec // no disk has 2^63 blocks
}

// Explain turns a full disk, or a used-up quota, into a models.Error that says
// how much is left on the disk of dir. Other errors come back as they are.
func Explain(err error, dir string) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return Full(err, dir)
}

// Full is the models.Error for a full disk; cause may be what a program said.
func Full(cause error, dir string) error {
	left := "an unknown amount"
	if free, err := Free(dir); err == nil {
		left = Size(free)
	}
	return models.Wrapf(models.Unavailable, cause,
		"The disk that holds platforms is full: %s left. Delete old platforms or backups, or enlarge the disk, then try again.", left)
}

// Size writes bytes for people: 1.5 GB.
func Size(bytes int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	size, unit := float64(bytes), 0
	for size >= 1000 && unit < len(units)-1 {
		size /= 1000
		unit++
	}
	if unit == 0 || size >= 100 {
		return fmt.Sprintf("%.0f %s", size, units[unit])
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}

// SyncDir makes what was made, renamed and removed in a folder outlive a power cut.
func SyncDir(dir string) error {
	file, err := os.Open(dir) //nolint:gosec // the caller's folder
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
