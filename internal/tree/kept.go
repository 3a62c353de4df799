package tree

import (
	"context"
	"errors"
	"fmt"
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
// A file is shared by a hard link. What writes in place to it reaches every tree
// that has it, so programs must not run in a tree that holds shared files, unless
// the files' owner is not who the programs run as.
type Kept struct {
	root   string
	lines  Manifest
	paths  map[string]int // of files, into lines
	sums   func() map[content]string
	stamps map[string]Stamp

	names atomic.Int64 // temporary ones
	mu    sync.Mutex
	given map[string]Stamp // of the newer tree's file
}

// Stamp tells by its looks that a file still holds what was once read from it, as
// git's index does (https://git-scm.com/docs/index-format). It leaves out the time
// of the inode's change, which every further name sets.
type Stamp struct {
	Inode   uint64
	Size    int64
	Written int64  // nanoseconds since 1970
	Blob    string // git's name of the content, in hex; "" when unknown
}

// looks is what can be seen of a file without reading it.
func (s Stamp) looks() Stamp {
	s.Blob = ""
	return s
}

// StampOf is the stamp of a file that holds what git calls blob.
func StampOf(info fs.FileInfo, blob string) Stamp {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Stamp{}
	}
	return Stamp{stat.Ino, stat.Size, stat.Mtim.Nano(), blob}
}

// content is what makes two files interchangeable.
type content struct {
	sum  string
	mode fs.FileMode
}

// Keep offers the tree at root, of which m is the manifest. Files that look as
// their stamp says are not read again.
func Keep(root string, m Manifest, stamps map[string]Stamp) *Kept {
	k := &Kept{root: root, lines: m, paths: make(map[string]int, len(m)), stamps: stamps, given: map[string]Stamp{}}
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
// gave it, proven to hold what its line says, and what git calls that if it is
// known. Programs run as others, so a file of theirs that took the inode's number
// is never taken for it.
func (k *Kept) Gave(name string, info fs.FileInfo) (blob string, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() {
		return "", false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	given, ok := k.given[name]
	return given.Blob, ok && given.looks() == StampOf(info, "")
}

// Forget forgets what was given to a tree that was emptied since.
func (k *Kept) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.given)
}

// Proof is a file of a kept tree that was found to be as it was sealed.
type Proof struct {
	Name  string
	stamp Stamp
}

// look looks at name in the folder that is open as fd, or at what is open as fd
// itself when name is "".
func look(fd int, name string) (unix.Stat_t, error) {
	var stat unix.Stat_t
	err := unix.Fstatat(fd, name, &stat, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
	return stat, err
}

func stampOf(stat unix.Stat_t) Stamp {
	return Stamp{Inode: stat.Ino, Size: stat.Size, Written: stat.Mtim.Nano()}
}

// Prove gives those files of the tree that hold what the manifest says and that
// accept agrees to. What does not look as its stamp says is read, on all
// processors. accept gets the file's line and the name of its content, "" for
// Nameless; it is called from several goroutines.
func (k *Kept) Prove(ctx context.Context, names []string, naming Naming, accept func(l Line, name string) bool) ([]Proof, error) {
	root, err := os.Open(k.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it was deleted meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("open older tree: %w", err)
	}
	defer func() { _ = root.Close() }()
	p := &proving{kept: k, naming: naming, accept: accept}
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
	naming Naming
	accept func(l Line, name string) bool
	mu     sync.Mutex
	proofs []Proof
}

// folder proves files of one folder; what cannot be proven is written anew.
func (p *proving) folder(ctx context.Context, root *os.File, names []string, buffer []byte) {
	dir, err := openFolder(root, path.Dir(names[0]))
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
		stamp, known := p.seen(int(dir.Fd()), line)
		if !known {
			stamp, known = p.read(ctx, int(dir.Fd()), line, buffer)
		}
		if known && p.accept(line, p.name(stamp)) {
			proofs = append(proofs, Proof{name, stamp})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proofs = append(p.proofs, proofs...)
}

// seen knows a file by its looks.
func (p *proving) seen(dir int, line Line) (Stamp, bool) {
	stamp, ok := p.kept.stamps[line.Path]
	if !ok || !p.naming.fits(stamp.Blob) {
		return Stamp{}, false
	}
	stat, err := look(dir, path.Base(line.Path))
	return stamp, err == nil && isSealed(stat, line) && stampOf(stat) == stamp.looks()
}

// read knows a file by its content.
func (p *proving) read(ctx context.Context, dir int, line Line, buffer []byte) (Stamp, bool) {
	file, stat, err := openSealed(dir, line)
	if err != nil {
		return Stamp{}, false
	}
	defer func() { _ = file.Close() }()
	stamp := stampOf(stat)
	var sum string
	sum, stamp.Blob, err = sums(UntilDone(ctx, file), line.Size, p.naming, buffer)
	return stamp, err == nil && sum == line.Sum
}

func (p *proving) name(s Stamp) string {
	if p.naming == Nameless {
		return ""
	}
	return s.Blob
}

// isSealed tells whether a file still looks as it was sealed: its kind,
// permissions, size, and us as its owner.
func isSealed(stat unix.Stat_t, line Line) bool {
	return stat.Mode == unix.S_IFREG|uint32(line.Mode.Perm()) && line.Mode&0o222 == 0 &&
		stat.Size == line.Size && int(stat.Uid) == os.Geteuid()
}

// openSealed opens a file of a folder that is sealed.
func openSealed(dir int, line Line) (*os.File, unix.Stat_t, error) {
	// Without O_NONBLOCK a file that was swapped for a pipe would hang us.
	fd, err := unix.Openat(dir, path.Base(line.Path), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, unix.Stat_t{}, err
	}
	stat, err := look(fd, "")
	if err == nil && !isSealed(stat, line) {
		err = errNotSealed
	}
	if err != nil {
		return nil, stat, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), line.Path), stat, nil
}

var errNotSealed = errors.New("the file is not as it was sealed")

// ErrShare says that the file system refused to share a file that was proven, or
// that the older tree went away. Nothing is lost; the file is to be written anew.
var ErrShare = errors.New("file cannot be shared")

// Place is Fill for folders that are not there yet: it makes them first.
func (k *Kept) Place(ctx context.Context, dst string, proofs []Proof) error {
	dirs := make([]string, len(proofs))
	for i, p := range proofs {
		dirs[i] = path.Dir(p.Name)
	}
	if err := MakeDirs(ctx, dst, dirs, Ours, Ours); err != nil {
		return Explain(err, dst)
	}
	return k.Fill(ctx, dst, proofs)
}

// Fill shares proven files with the tree at dst, under the same names and in folders
// that are there. Nothing may be at those names. It fails with ErrShare when not all
// could be shared; dst then holds some of them.
func (k *Kept) Fill(ctx context.Context, dst string, proofs []Proof) error {
	from, err := os.Open(k.root)
	if err != nil {
		return errors.Join(ErrShare, err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.Open(dst) //nolint:gosec // whoever calls says where
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	groups := byFolder(proofs, func(p Proof) string { return p.Name })
	return Parallel(ctx, func(ctx context.Context, put func([]Proof)) error {
		for _, group := range groups {
			if ctx.Err() != nil {
				return context.Cause(ctx)
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

func (k *Kept) placeFolder(from, to *os.File, group []Proof) error {
	name := path.Dir(group[0].Name)
	older, err := openFolder(from, name)
	if err != nil {
		return errors.Join(ErrShare, err)
	}
	defer func() { _ = older.Close() }()
	dir, err := openFolder(to, name)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	given := make([]Stamp, len(group))
	for i, p := range group {
		if given[i], err = place(int(older.Fd()), int(dir.Fd()), p); err != nil {
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
func place(older, dir int, p Proof) (Stamp, error) {
	base := path.Base(p.Name)
	if err := unix.Linkat(older, base, dir, base, 0); err != nil {
		return Stamp{}, err
	}
	stat, err := look(dir, base)
	if err != nil || stampOf(stat) != p.stamp.looks() {
		return Stamp{}, errors.Join(errNotSealed, err, unix.Unlinkat(dir, base, 0))
	}
	return p.stamp, nil
}

// Replace makes files of the tree at dst share the content of this tree's equal
// files, each in one step: whatever interrupts it leaves the one or the other.
// lines are files of dst whose content is what their Sum says, or that are not there
// yet, in folders that are; dst must still be
// writable, and no program may run in it any more. What cannot be shared stays as
// it is, and is given back as left.
func (k *Kept) Replace(ctx context.Context, dst string, lines []Line) (left []Line, err error) {
	from, err := os.Open(k.root)
	if err != nil {
		return lines, nil // it was deleted meanwhile
	}
	defer func() { _ = from.Close() }()
	to, err := os.Open(dst) //nolint:gosec // whoever calls says where
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

func (k *Kept) replaceFolder(ctx context.Context, from, to *os.File, group []Line, buffer []byte) (left []Line, err error) {
	dir, err := openFolder(to, path.Dir(group[0].Path))
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
func (k *Kept) replace(ctx context.Context, from *os.File, dir int, line Line, buffer []byte) (bool, error) {
	name, ok := k.Same(line)
	if !ok {
		return false, nil
	}
	own, _ := k.File(name)
	older, err := openFolder(from, path.Dir(name))
	if err != nil {
		return false, nil // it stays as it is
	}
	defer func() { _ = older.Close() }()
	file, _, err := openSealed(int(older.Fd()), own)
	if err != nil {
		return false, nil // as above
	}
	defer func() { _ = file.Close() }()
	// What is shared is what was read just now, whatever the name leads to.
	if sum, _, err := sums(UntilDone(ctx, file), own.Size, Nameless, buffer); err != nil || sum != line.Sum {
		return false, nil // it was tampered with
	}
	base := path.Base(line.Path)
	beside := temporary + strconv.FormatInt(k.names.Add(1), 10)
	if err := unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(file.Fd())), dir, beside, unix.AT_SYMLINK_FOLLOW); err != nil {
		return false, nil // as above
	}
	err = unix.Renameat(dir, beside, dir, base)
	// Renaming one name of a file to another of its names does nothing.
	if removeErr := unix.Unlinkat(dir, beside, 0); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err == nil, err
}
