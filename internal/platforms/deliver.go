package platforms

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"hefring/internal/tree"
	"hefring/models"
)

// A platform goes to another server in archives, each a tar that is packed with gzip:
// first one with the manifest, then one with the content of those files that the other
// server has not got, in the manifest's order. Folders, links and permissions are in
// the manifest alone. Which files are wanted is said by a bit for each: file n is bit
// n%8 of byte n/8, counted from the lowest. Who wants nothing is given the manifest.

// RootOf is where a platform of another server's store lies in this one.
func (s *Store) RootOf(root string) string {
	return filepath.Join(s.Root, filepath.Base(filepath.Dir(root)), codeName)
}

// Holds tells whether a platform's folder is there.
func (s *Store) Holds(root string) bool {
	_, err := os.Lstat(root)
	return err == nil
}

// Pack writes the archive of the wanted files of a published platform whose manifest
// has the given digest, or of its manifest.
func (s *Store) Pack(ctx context.Context, root, want string, wanted []byte, w io.Writer) error {
	box, err := s.publishedBox(root)
	if err != nil {
		return err
	}
	text, err := readPacked(filepath.Join(box, manifestName))
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	if digest(text) != want {
		return models.Errorf(models.Unavailable, "The manifest of %s is not the one that was sealed. Verify the platform.", filepath.Base(box))
	}
	_, lines, err := decode(text)
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("open platform: %w", err)
	}
	defer func() { _ = dir.Close() }()
	packed, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	out := tar.NewWriter(packed)
	if len(wanted) == 0 {
		if err := addEntry(out, manifestName, text); err != nil {
			return fmt.Errorf("pack manifest: %w", err)
		}
	}
	for n, line := range onlyFiles(lines) {
		if !wants(wanted, n) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := packFile(out, dir, line); err != nil {
			return fmt.Errorf("pack %s: %w", line.Path, err)
		}
	}
	if err := errors.Join(out.Close(), packed.Close()); err != nil {
		return fmt.Errorf("pack platform: %w", err)
	}
	return nil
}

func addEntry(out *tar.Writer, name string, text []byte) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o444, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := out.Write(text)
	return err
}

func packFile(out *tar.Writer, dir *os.Root, line tree.Line) error {
	file, err := dir.Open(line.Path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := out.WriteHeader(&tar.Header{Name: line.Path, Size: line.Size, Mode: 0o444, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err = io.CopyN(out, file, line.Size)
	return err
}

// onlyFiles lists the files of a manifest.
func onlyFiles(lines tree.Manifest) []tree.Line {
	return slices.DeleteFunc(slices.Clone(lines), func(l tree.Line) bool { return l.Kind != 'f' })
}

func wants(wanted []byte, n int) bool { return n/8 < len(wanted) && wanted[n/8]&(1<<(n%8)) != 0 }

// wanting says that these files are wanted.
func wanting(numbers []int) []byte {
	if len(numbers) == 0 {
		return nil
	}
	wanted := make([]byte, slices.Max(numbers)/8+1)
	for _, n := range numbers {
		wanted[n/8] |= 1 << (n % 8)
	}
	return wanted
}

// Fetch gives the archive of the wanted files of a platform, or of its manifest.
type Fetch func(ctx context.Context, wanted []byte) (io.ReadCloser, error)

// How long a delivery goes on without a single file arriving.
const (
	fetchTries = 20
	fetchPause = 3 * time.Second
)

// Unpack fills a folder that Stage gave with a platform whose manifest has the given
// digest: what arrives is compared with the manifest byte for byte, and nothing
// that the manifest does not name is written. Files that an older platform has as well
// are shared with it, once they were read and found to be the same; the others are
// fetched. A connection that breaks is made anew and goes on after the last whole file.
func (s *Store) Unpack(ctx context.Context, staged, want string, fetch Fetch, older ...*tree.Kept) (shared Shared, err error) {
	box, err := s.stagedBox(staged)
	if err != nil {
		return Shared{}, err
	}
	u := &unpacking{store: s, want: want, box: box, staged: staged, older: older}
	if u.dir, err = os.OpenRoot(staged); err != nil {
		return Shared{}, fmt.Errorf("open staging folder: %w", err)
	}
	defer func() { err = errors.Join(err, u.dir.Close()) }()
	for tries := 0; ; tries++ {
		before := len(u.missing)
		err := u.read(ctx, fetch)
		if err == nil {
			break
		}
		if len(u.missing) != before {
			tries = 0
		}
		if ctx.Err() != nil {
			return Shared{}, context.Cause(ctx)
		}
		if models.CodeOf(err) != "" || errors.Is(err, syscall.ENOSPC) || tries >= fetchTries {
			return Shared{}, s.explain("receive platform", err)
		}
		select {
		case <-ctx.Done():
			return Shared{}, context.Cause(ctx)
		case <-time.After(cmp.Or(s.Again, fetchPause)):
		}
	}
	return u.shared, s.explain("receive platform", u.seal())
}

// unpacking is one call of Unpack.
type unpacking struct {
	store   *Store
	want    string // digest
	box     string
	staged  string
	dir     *os.Root
	older   []*tree.Kept
	text    []byte // of the manifest, once it came
	lines   tree.Manifest
	files   []tree.Line
	missing []int // files that are not here yet
	shared  Shared
}

// read takes what is not here yet, as far as the connections hold.
func (u *unpacking) read(ctx context.Context, fetch Fetch) error {
	if u.text == nil {
		if err := u.open(ctx, fetch, u.readManifest); err != nil {
			return err
		}
		if err := u.share(ctx); err != nil {
			return err
		}
	}
	if len(u.missing) == 0 {
		return nil
	}
	return u.open(ctx, fetch, func(archive *tar.Reader) error {
		for len(u.missing) > 0 {
			if err := u.readFile(ctx, archive, u.files[u.missing[0]]); err != nil {
				return err
			}
			u.missing = u.missing[1:]
		}
		return nil
	})
}

// open reads one archive.
func (u *unpacking) open(ctx context.Context, fetch Fetch, read func(*tar.Reader) error) error {
	body, err := fetch(ctx, wanting(u.missing))
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	plain, err := gzip.NewReader(body)
	if err != nil {
		return fmt.Errorf("unpack archive: %w", err)
	}
	return read(tar.NewReader(plain))
}

// share takes what older platforms have, and notes what is missing then.
func (u *unpacking) share(ctx context.Context) (err error) {
	left := u.files
	for _, k := range u.older {
		if left, err = k.Replace(ctx, u.staged, left); err != nil {
			return err
		}
	}
	stays := make(map[string]bool, len(left))
	for _, line := range left {
		stays[line.Path] = true
	}
	for n, line := range u.files {
		if stays[line.Path] {
			u.missing = append(u.missing, n)
		} else {
			u.shared.Files++
			u.shared.Bytes += line.Size
		}
	}
	_, bytes := tree.Manifest(left).Totals()
	return u.store.wantFree("the platform", bytes)
}

// foreign is the answer to an archive that is not of this platform.
func foreign(what string) error {
	return models.Errorf(models.Unavailable, "What arrived is not the platform that was sealed: %s. Verify the platform on the control plane's host, then try again.", what)
}

func (u *unpacking) readManifest(archive *tar.Reader) error {
	header, err := archive.Next()
	if err != nil {
		return fmt.Errorf("receive manifest: %w", err)
	}
	if header.Name != manifestName || header.Size > maxManifest {
		return foreign("it does not begin with its manifest")
	}
	text, err := io.ReadAll(archive)
	if err != nil {
		return fmt.Errorf("receive manifest: %w", err)
	}
	if digest(text) != u.want {
		return foreign("its manifest differs")
	}
	_, lines, err := decode(text)
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	if err := u.store.fits(lines); err != nil {
		return err
	}
	for _, line := range lines {
		if line.Kind != 'd' {
			continue
		}
		if err := u.dir.Mkdir(line.Path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	u.text, u.lines, u.files = text, lines, onlyFiles(lines)
	return nil
}

// fits fails when a platform is larger than this store takes.
func (s *Store) fits(lines tree.Manifest) error {
	files, bytes := lines.Totals()
	if most := s.options().Limited(); files > most.Files || bytes > most.Bytes {
		return models.Errorf(models.Invalid, "The platform has %d files of %s together, which is more than this server takes.", files, tree.Size(bytes))
	}
	return nil
}

func (u *unpacking) readFile(ctx context.Context, archive *tar.Reader, line tree.Line) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	header, err := archive.Next()
	if err != nil {
		return fmt.Errorf("receive %s: %w", line.Path, err)
	}
	if header.Name != line.Path || header.Size != line.Size || header.Typeflag != tar.TypeReg {
		return foreign(fmt.Sprintf("%q is where %q should be", header.Name, line.Path))
	}
	// A connection before may have brought a part of it.
	if err := u.dir.Remove(line.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := u.dir.OpenFile(line.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(file, sum), archive, line.Size); err != nil {
		return fmt.Errorf("receive %s: %w", line.Path, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != line.Sum {
		return foreign(fmt.Sprintf("%q has other content", line.Path))
	}
	return file.Chmod(line.Mode)
}

// seal adds what the manifest alone says, and waits until all of it is on the disk.
func (u *unpacking) seal() error {
	for _, line := range u.lines {
		if line.Kind != 'l' {
			continue
		}
		if err := u.dir.Symlink(line.Link, line.Path); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, line := range slices.Backward(u.lines) { // what is inside first
		if line.Kind != 'd' {
			continue
		}
		if err := u.dir.Chmod(line.Path, line.Mode); err != nil {
			return err
		}
	}
	if err := u.dir.Chmod(".", 0o555); err != nil {
		return err
	}
	if err := writePacked(filepath.Join(u.box, manifestName), u.text); err != nil {
		return err
	}
	return syncAll(u.box)
}
