package backup

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// renameBetween moves a name from one open folder to another on the same disk.
func renameBetween(from *os.Root, name string, to *os.Root, as string) error {
	source, err := from.Open(".")
	if err != nil {
		return err
	}
	target, err := to.Open(".")
	if err != nil {
		return errors.Join(err, source.Close())
	}
	err = unix.Renameat(int(source.Fd()), name, int(target.Fd()), as)
	if err != nil {
		err = fmt.Errorf("rename %s: %w", name, err)
	}
	return errors.Join(err, source.Close(), target.Close())
}
