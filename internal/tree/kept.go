package tree

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Kept is a sealed tree that newer trees may share files with: read-only files
// whose content a manifest names.
//
// A file is shared by a clone of its blocks where the file system can do that,
// else by a hard link. What writes in place to a hard link reaches every tree
// that has it, so programs must not run in a tree that holds shared files, unless
// the files' owner is not who the programs run as.
type Kept struct {
	root  string
	lines Manifest
	paths map[string]int // of files, into lines
	sums  func() map[content]string

	noClone atomic.Bool
	names   atomic.Int64 // temporary ones
	mu      sync.Mutex
	given   map[string]bool
}

// content is what makes two files interchangeable.
type content struct {
	sum  string
	mode fs.FileMode
}

// Keep offers the tree at root, of which m is the manifest.
func Keep(root string, m Manifest) *Kept {
	k := &Kept{root: root, lines: m, paths: make(map[string]int, len(m)), given: map[string]bool{}}
	for i, line := range m {
		if line.Kind == 'f' {
			k.paths[line.Path] = i
		}
	}
	k.sums = sync.OnceValue(func() map[content]string {
		sums := make(map[content]string, len(k.paths))
		for _, line := range m {
			if line.Kind == 'f' {
				sums[content{line.Sum, line.Mode}] = line.Path
			}
		}
		return sums
	})
	return k
}

// Root is the folder of the tree.
func (k *Kept) Root() string { return k.root }

// File gives the line of a file as it was sealed.
func (k *Kept) File(name string) (Line, bool) {
	i, ok := k.paths[name]
	if !ok {
		return Line{}, false
	}
	return k.lines[i], true
}

// Files gives the lines of all files below a folder, "" for all of them.
func (k *Kept) Files(folder string) []Line {
	var list []Line
	for _, line := range k.lines {
		if line.Kind == 'f' && (folder == "" || Below(line.Path, folder)) {
			list = append(list, line)
		}
	}
	return list
}

// Below tells whether a relative path lies below a folder.
func Below(name, folder string) bool {
	return len(name) > len(folder)+1 && name[:len(folder)] == folder && name[len(folder)] == '/'
}

// Same finds a file with the content and permissions of line, best under the
// same path.
func (k *Kept) Same(line Line) (name string, ok bool) {
	if mine, ok := k.File(line.Path); ok && mine.Sum == line.Sum && mine.Mode == line.Mode {
		return line.Path, true
	}
	name, ok = k.sums()[content{line.Sum, line.Mode}]
	return name, ok
}

// Gave tells whether the file at name of a newer tree is this tree's own file of
// that name, proven when it was shared.
func (k *Kept) Gave(name string, info fs.FileInfo) bool {
	k.mu.Lock()
	given := k.given[name]
	k.mu.Unlock()
	if !given {
		return false
	}
	own, err := os.Lstat(path.Join(k.root, name))
	return err == nil && os.SameFile(own, info)
}

// Proof is a file of a kept tree that was read and found to be as it was sealed.
type Proof struct {
	Name string
	stat stamp
}

// stamp tells a file that was replaced or written to meanwhile. It leaves out the
// time of the inode's change, which every further name sets.
type stamp struct {
	dev, ino uint64
	size     int64
	written  unix.Timespec
}

func stampOf(file *os.File) (stamp, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return stamp{}, err
	}
	return stamp{stat.Dev, stat.Ino, stat.Size, stat.Mtim}, nil
}

// Prove reads files of the tree on all processors and gives those that hold what
// the manifest says and that accept agrees to. accept gets the file's line and
// what a hash, made by also, says of the content in hex; it is called from
// several goroutines. With also nil the second hash is "".
func (k *Kept) Prove(ctx context.Context, names []string, also func(size int64) hash.Hash, accept func(l Line, sum string) bool) ([]Proof, error) {
	root, err := os.OpenRoot(k.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it was deleted meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("open older tree: %w", err)
	}
	defer func() { _ = root.Close() }()
	var mu sync.Mutex
	var proofs []Proof
	err = Parallel(ctx, func(ctx context.Context, put func(string)) error {
		for _, name := range names {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			put(name)
		}
		return nil
	}, func(ctx context.Context, name string, buffer []byte) error {
		line, ok := k.File(name)
		if !ok || ctx.Err() != nil {
			return nil
		}
		file, err := openSealed(root, line)
		if err != nil {
			return nil //nolint:nilerr // what cannot be shared is written anew
		}
		defer func() { _ = file.Close() }()
		first, err := stampOf(file)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		sum, second, err := twoSums(reader{ctx, file}, line.Size, also, buffer)
		if err != nil || sum != line.Sum || !accept(line, second) {
			return nil //nolint:nilerr // as above
		}
		mu.Lock()
		defer mu.Unlock()
		proofs = append(proofs, Proof{name, first})
		return nil
	})
	slices.SortFunc(proofs, func(a, b Proof) int { return compareText(a.Name, b.Name) })
	return proofs, err
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func twoSums(r io.Reader, size int64, also func(int64) hash.Hash, buffer []byte) (first, second string, err error) {
	sum := sha256.New()
	to := io.Writer(sum)
	var other hash.Hash
	if also != nil {
		other = also(size)
		to = io.MultiWriter(sum, other)
	}
	if _, err := io.CopyBuffer(to, struct{ io.Reader }{r}, buffer); err != nil {
		return "", "", err
	}
	if other != nil {
		second = hex.EncodeToString(other.Sum(nil))
	}
	return hex.EncodeToString(sum.Sum(nil)), second, nil
}

// openSealed opens a file that still looks as it was sealed: its kind,
// permissions, size, and us as its owner.
func openSealed(root *os.Root, line Line) (*os.File, error) {
	file, err := root.OpenFile(line.Path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode() != line.Mode || info.Size() != line.Size || int(stat.Uid) != os.Geteuid() || line.Mode&0o222 != 0 {
		return nil, errors.Join(errNotSealed, file.Close())
	}
	return file, nil
}

var errNotSealed = errors.New("the file is not as it was sealed")

// ErrShare says that the file system refused to share a file that was proven, or
// that the older tree went away. Nothing is lost; the file is to be written anew.
var ErrShare = errors.New("file cannot be shared")

// Place shares proven files with the tree at dst, under the same names and in
// folders that are made as needed. Nothing may be at those names. It fails with
// ErrShare when not all could be shared; dst then holds some of them.
func (k *Kept) Place(ctx context.Context, dst string, proofs []Proof) error {
	from, err := os.OpenRoot(k.root)
	if err != nil {
		return errors.Join(ErrShare, err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenRoot(dst)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	return Parallel(ctx, func(ctx context.Context, put func([]Proof)) error {
		for _, group := range byFolder(proofs) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			// Two workers must not make the same folder.
			if err := to.MkdirAll(path.Dir(group[0].Name), 0o755); err != nil {
				return fmt.Errorf("make folder: %w", Explain(err, dst))
			}
			put(group)
		}
		return nil
	}, func(ctx context.Context, group []Proof, _ []byte) error {
		if ctx.Err() != nil {
			return nil
		}
		return k.placeFolder(from, to, group)
	})
}

func byFolder(proofs []Proof) [][]Proof {
	var groups [][]Proof
	at := map[string]int{}
	for _, p := range proofs {
		dir := path.Dir(p.Name)
		i, ok := at[dir]
		if !ok {
			i = len(groups)
			at[dir] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], p)
	}
	return groups
}

func (k *Kept) placeFolder(from, to *os.Root, group []Proof) error {
	name := path.Dir(group[0].Name)
	older, err := from.OpenRoot(name)
	if err != nil {
		return errors.Join(ErrShare, err)
	}
	defer func() { _ = older.Close() }()
	dir, err := to.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	for _, p := range group {
		if err := k.place(older, dir, p); err != nil {
			return fmt.Errorf("share %q: %w", p.Name, err)
		}
	}
	return nil
}

func (k *Kept) place(older *os.Root, dir *os.File, p Proof) error {
	line, _ := k.File(p.Name)
	line.Path = path.Base(p.Name)
	file, err := openSealed(older, line)
	if err != nil {
		return errors.Join(ErrShare, err)
	}
	defer func() { _ = file.Close() }()
	now, err := stampOf(file)
	if err != nil || now != p.stat {
		return errors.Join(ErrShare, err)
	}
	if err := k.give(file, dir, path.Base(p.Name), line.Mode); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.given[p.Name] = true
	return nil
}

// give makes name in dir the content of file.
func (k *Kept) give(file, dir *os.File, name string, mode fs.FileMode) error {
	if !k.noClone.Load() {
		err := cloneFile(file, dir, name, mode)
		if err == nil {
			return nil
		}
		k.noClone.Store(true)
	}
	err := unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(file.Fd())), int(dir.Fd()), name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return errors.Join(ErrShare, err)
	}
	return nil
}

// cloneFile makes a file of its own that shares the blocks of another, on file
// systems that can (https://man7.org/linux/man-pages/man2/ioctl_ficlone.2.html).
func cloneFile(file, dir *os.File, name string, mode fs.FileMode) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = unix.IoctlFileClone(fd, int(file.Fd()))
	if err == nil {
		err = unix.Fchmod(fd, uint32(mode.Perm()))
	}
	if closeErr := unix.Close(fd); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(err, unix.Unlinkat(int(dir.Fd()), name, 0))
	}
	return nil
}

// Replace makes files of the tree at dst share the content of this tree's equal
// files, each in one step: whatever interrupts it leaves the one or the other.
// lines are files of dst whose content is what their Sum says; dst must still be
// writable, and no program may run in it any more. What cannot be shared stays as
// it is. It gives how many files and bytes are shared now.
func (k *Kept) Replace(ctx context.Context, dst string, lines []Line) (files, bytes int64, err error) {
	from, err := os.OpenRoot(k.root)
	if err != nil {
		return 0, 0, nil //nolint:nilerr // it was deleted meanwhile
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenRoot(dst)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = to.Close() }()
	var shared, saved atomic.Int64
	err = Parallel(ctx, func(ctx context.Context, put func(Line)) error {
		for _, line := range lines {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			put(line)
		}
		return nil
	}, func(ctx context.Context, line Line, buffer []byte) error {
		if ctx.Err() != nil {
			return nil
		}
		ok, err := k.replace(ctx, from, to, line, buffer)
		if ok {
			shared.Add(1)
			saved.Add(line.Size)
		}
		return err
	})
	return shared.Load(), saved.Load(), err
}

const temporary = ".hefring-shared-"

// replace fails only when a half-done step could not be taken back.
func (k *Kept) replace(ctx context.Context, from, to *os.Root, line Line, buffer []byte) (bool, error) {
	name, ok := k.Same(line)
	if !ok {
		return false, nil
	}
	own, _ := k.File(name)
	file, err := openSealed(from, own)
	if err != nil {
		return false, nil //nolint:nilerr // it stays as it is
	}
	defer func() { _ = file.Close() }()
	// What is shared is what was read just now, whatever the name leads to.
	if sum, _, err := twoSums(reader{ctx, file}, own.Size, nil, buffer); err != nil || sum != line.Sum {
		return false, nil //nolint:nilerr // it was tampered with
	}
	dir, err := to.Open(path.Dir(line.Path))
	if err != nil {
		return false, nil //nolint:nilerr // it stays as it is
	}
	defer func() { _ = dir.Close() }()
	base := path.Base(line.Path)
	beside := temporary + strconv.FormatInt(k.names.Add(1), 10)
	if err := k.give(file, dir, beside, line.Mode); err != nil {
		return false, nil //nolint:nilerr // as above
	}
	fd := int(dir.Fd())
	err = unix.Renameat(fd, beside, fd, base)
	// Renaming one name of a file to another of its names does nothing.
	removeErr := unix.Unlinkat(fd, beside, 0)
	switch {
	case err != nil:
		return false, errors.Join(fmt.Errorf("share %q: %w", line.Path, err), removeErr)
	case removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist):
		return true, fmt.Errorf("share %q: %w", line.Path, removeErr)
	}
	return true, nil
}
