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
	"strings"
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
	given   map[string]inode // of the newer tree's file
}

type inode struct{ dev, ino uint64 }

// content is what makes two files interchangeable.
type content struct {
	sum  string
	mode fs.FileMode
}

// Keep offers the tree at root, of which m is the manifest.
func Keep(root string, m Manifest) *Kept {
	k := &Kept{root: root, lines: m, paths: make(map[string]int, len(m)), given: map[string]inode{}}
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

// All gives every line of the tree, folders before what they hold.
func (k *Kept) All() Manifest { return k.lines }

// Same finds a file with the content and permissions of line, best under the
// same path.
func (k *Kept) Same(line Line) (name string, ok bool) {
	if mine, ok := k.File(line.Path); ok && mine.Sum == line.Sum && mine.Mode == line.Mode {
		return line.Path, true
	}
	name, ok = k.sums()[content{line.Sum, line.Mode}]
	return name, ok
}

// Gave tells whether the file at name of a newer tree is the one that this tree
// gave it, proven to hold what its line says. Programs run as others, so a file
// of theirs that took the inode's number is never taken for it.
func (k *Kept) Gave(name string, info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	given, ok := k.given[name]
	return ok && given == inode{stat.Dev, stat.Ino}
}

// Forget forgets what was given to a tree that was emptied since.
func (k *Kept) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.given)
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

// stampOf looks at name in the folder that is open as fd, or at what is open as fd
// itself when name is "".
func stampOf(fd int, name string) (stamp, error) {
	var stat unix.Stat_t
	if err := unix.Fstatat(fd, name, &stat, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
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
	p := &proving{kept: k, also: also, accept: accept}
	err = Parallel(ctx, func(ctx context.Context, put func([]string)) error {
		for _, group := range byFolder(names, func(name string) string { return name }) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			put(group)
		}
		return nil
	}, func(ctx context.Context, group []string, buffer []byte) error {
		p.folder(ctx, root, group, buffer)
		return nil
	})
	slices.SortFunc(p.proofs, func(a, b Proof) int { return strings.Compare(a.Name, b.Name) })
	return p.proofs, err
}

// proving is one call of Prove.
type proving struct {
	kept   *Kept
	also   func(size int64) hash.Hash
	accept func(l Line, sum string) bool
	mu     sync.Mutex
	proofs []Proof
}

// folder proves files of one folder; what cannot be proven is written anew.
func (p *proving) folder(ctx context.Context, root *os.Root, names []string, buffer []byte) {
	dir, err := root.OpenRoot(path.Dir(names[0]))
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }()
	var proofs []Proof
	for _, name := range names {
		line, ok := p.kept.File(name)
		if ctx.Err() != nil || !ok {
			continue
		}
		if proof, ok := p.file(ctx, dir, line, buffer); ok {
			proofs = append(proofs, proof)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proofs = append(p.proofs, proofs...)
}

func (p *proving) file(ctx context.Context, dir *os.Root, line Line, buffer []byte) (Proof, bool) {
	file, err := openSealed(dir, line)
	if err != nil {
		return Proof{}, false
	}
	defer func() { _ = file.Close() }()
	first, err := stampOf(int(file.Fd()), "")
	if err != nil {
		return Proof{}, false
	}
	sum, second, err := twoSums(reader{ctx, file}, line.Size, p.also, buffer)
	if err != nil || sum != line.Sum || !p.accept(line, second) {
		return Proof{}, false
	}
	return Proof{line.Path, first}, true
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

// openSealed opens a file of a folder that still looks as it was sealed: its kind,
// permissions, size, and us as its owner.
func openSealed(dir *os.Root, line Line) (*os.File, error) {
	file, err := dir.OpenFile(path.Base(line.Path), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
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
		for _, group := range byFolder(proofs, func(p Proof) string { return p.Name }) {
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
			return nil //nolint:nilerr // the caller sees that it was stopped
		}
		return k.placeFolder(from, to, group)
	})
}

// byFolder groups what lies in the same folder.
func byFolder[T any](list []T, name func(T) string) [][]T {
	var groups [][]T
	at := map[string]int{}
	for _, item := range list {
		dir := path.Dir(name(item))
		i, ok := at[dir]
		if !ok {
			i = len(groups)
			at[dir] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], item)
	}
	return groups
}

func (k *Kept) placeFolder(from, to *os.Root, group []Proof) error {
	name := path.Dir(group[0].Name)
	older, err := from.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return errors.Join(ErrShare, err)
	}
	defer func() { _ = older.Close() }()
	dir, err := to.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	given := make([]inode, len(group))
	for i, p := range group {
		if given[i], err = k.place(int(older.Fd()), int(dir.Fd()), p); err != nil {
			return fmt.Errorf("share %q: %w", p.Name, errors.Join(ErrShare, err))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, p := range group {
		k.given[p.Name] = given[i]
	}
	return nil
}

// place shares one file between folders that are open. What a name leads to is
// looked at once the new tree has it, and given up if it is not what was proven.
func (k *Kept) place(older, dir int, p Proof) (inode, error) {
	base := path.Base(p.Name)
	line, _ := k.File(p.Name)
	if !k.noClone.Load() {
		fd, err := unix.Openat(older, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return inode{}, err
		}
		defer func() { _ = unix.Close(fd) }()
		if now, err := stampOf(fd, ""); err != nil || now != p.stat {
			return inode{}, errors.Join(errNotSealed, err)
		}
		if err := cloneFile(fd, dir, base, line.Mode); err == nil {
			now, err := stampOf(dir, base)
			return inode{now.dev, now.ino}, err
		}
		k.noClone.Store(true)
	}
	if err := unix.Linkat(older, base, dir, base, 0); err != nil {
		return inode{}, err
	}
	now, err := stampOf(dir, base)
	if err != nil || now != p.stat {
		return inode{}, errors.Join(errNotSealed, err, unix.Unlinkat(dir, base, 0))
	}
	return inode{now.dev, now.ino}, nil
}

// give makes name in the open folder dir the content of the open file.
func (k *Kept) give(file, dir int, name string, mode fs.FileMode) error {
	if !k.noClone.Load() {
		if cloneFile(file, dir, name, mode) == nil {
			return nil
		}
		k.noClone.Store(true)
	}
	return unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(file), dir, name, unix.AT_SYMLINK_FOLLOW)
}

// cloneFile makes a file of its own that shares the blocks of another, on file
// systems that can (https://man7.org/linux/man-pages/man2/ioctl_ficlone.2.html).
func cloneFile(file, dir int, name string, mode fs.FileMode) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = unix.IoctlFileClone(fd, file)
	if err == nil {
		err = unix.Fchmod(fd, uint32(mode.Perm()))
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return errors.Join(err, unix.Unlinkat(dir, name, 0))
	}
	return nil
}

// Replace makes files of the tree at dst share the content of this tree's equal
// files, each in one step: whatever interrupts it leaves the one or the other.
// lines are files of dst whose content is what their Sum says; dst must still be
// writable, and no program may run in it any more. What cannot be shared stays as
// it is, and is given back as left.
func (k *Kept) Replace(ctx context.Context, dst string, lines []Line) (left []Line, err error) {
	from, err := os.OpenRoot(k.root)
	if err != nil {
		return lines, nil // it was deleted meanwhile
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenRoot(dst)
	if err != nil {
		return nil, err
	}
	defer func() { _ = to.Close() }()
	var mu sync.Mutex
	err = Parallel(ctx, func(ctx context.Context, put func([]Line)) error {
		for _, group := range byFolder(lines, func(l Line) string { return l.Path }) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			put(group)
		}
		return nil
	}, func(ctx context.Context, group []Line, buffer []byte) error {
		rest, err := k.replaceFolder(ctx, from, to, group, buffer)
		mu.Lock()
		defer mu.Unlock()
		left = append(left, rest...)
		return err
	})
	return left, err
}

func (k *Kept) replaceFolder(ctx context.Context, from, to *os.Root, group []Line, buffer []byte) (left []Line, err error) {
	dir, err := to.OpenFile(path.Dir(group[0].Path), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	for _, line := range group {
		if ctx.Err() != nil {
			return nil, nil // Parallel answers for it
		}
		ok, err := k.replace(ctx, from, int(dir.Fd()), line, buffer)
		if err != nil {
			return nil, fmt.Errorf("share %q: %w", line.Path, err)
		}
		if !ok {
			left = append(left, line)
		}
	}
	return left, nil
}

const temporary = ".hefring-shared-"

// replace fails only when a half-done step could not be taken back.
func (k *Kept) replace(ctx context.Context, from *os.Root, dir int, line Line, buffer []byte) (bool, error) {
	name, ok := k.Same(line)
	if !ok {
		return false, nil
	}
	own, _ := k.File(name)
	older, err := from.OpenRoot(path.Dir(name))
	if err != nil {
		return false, nil // it stays as it is
	}
	defer func() { _ = older.Close() }()
	file, err := openSealed(older, own)
	if err != nil {
		return false, nil // as above
	}
	defer func() { _ = file.Close() }()
	// What is shared is what was read just now, whatever the name leads to.
	if sum, _, err := twoSums(reader{ctx, file}, own.Size, nil, buffer); err != nil || sum != line.Sum {
		return false, nil // it was tampered with
	}
	base := path.Base(line.Path)
	beside := temporary + strconv.FormatInt(k.names.Add(1), 10)
	if err := k.give(int(file.Fd()), dir, beside, line.Mode); err != nil {
		return false, nil // as above
	}
	err = unix.Renameat(dir, beside, dir, base)
	// Renaming one name of a file to another of its names does nothing.
	if removeErr := unix.Unlinkat(dir, beside, 0); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err == nil, err
}
