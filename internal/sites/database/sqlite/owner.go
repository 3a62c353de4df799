package sqlite

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// asOwner runs fn with the file rights of the folder's owner, the web user.
//
// Root would otherwise open, create and remove files in a folder where a
// site's own PHP may plant links, and SQLite's journals would belong to root,
// which the web user could then not write.
func asOwner(dir string, fn func() error) error {
	var stat syscall.Stat_t
	if err := syscall.Lstat(dir, &stat); err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if euid := os.Geteuid(); euid != 0 || int(stat.Uid) == euid {
		return fn()
	}
	result := make(chan error, 1)
	go func() {
		done := errors.New("the thread that worked as the web user ended")
		defer func() { result <- done }()
		// Never unlocked: the thread ends with the goroutine, and nothing else
		// ever runs with these rights.
		runtime.LockOSThread()
		if done = setFileUser(int(stat.Uid), int(stat.Gid)); done == nil {
			done = fn()
		}
	}()
	return <-result
}

// setFileUser changes the rights to files of this thread alone.
func setFileUser(uid, gid int) error {
	if err := errors.Join(unix.Setfsgid(gid), unix.Setfsuid(uid)); err != nil {
		return fmt.Errorf("work as the web user: %w", err)
	}
	// The calls themselves report nothing; asking for -1 changes nothing and
	// answers what is set.
	nowGID, _ := unix.SetfsgidRetGid(-1)
	nowUID, _ := unix.SetfsuidRetUid(-1)
	if nowUID != uid || nowGID != gid {
		return fmt.Errorf("work as the web user: the kernel refused user %d, group %d", uid, gid)
	}
	return nil
}
