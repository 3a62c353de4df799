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

// The archive in which a platform goes to another server is a tar, packed with
// gzip: first the manifest, then the content of every file of it, in the
// manifest's order. Folders, links and permissions are in the manifest alone. An
// archive from the n-th file on has no manifest.

// RootOf is where a platform of another server's store lies in this one.
func (s *Store) RootOf(root string) string {
	return filepath.Join(s.Root, filepath.Base(filepath.Dir(root)), codeName)
}

// Holds tells whether a platform's folder is there.
func (s *Store) Holds(root string) bool {
	_, err := os.Lstat(root)
	return err == nil
}

// Pack writes the archive of a published platform whose manifest has the given
// digest, from its file of that number on; 0 is all of it.
func (s *Store) Pack(ctx context.Context, root, want string, from int, w io.Writer) error {
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
	if from == 0 {
		if err := addEntry(out, manifestName, text); err != nil {
			return fmt.Errorf("pack manifest: %w", err)
		}
	}
	for _, line := range onlyFiles(lines, from) {
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

// onlyFiles lists the files of a manifest from the one of that number on.
func onlyFiles(lines tree.Manifest, from int) []tree.Line {
	files := slices.DeleteFunc(slices.Clone(lines), func(l tree.Line) bool { return l.Kind != 'f' })
	return files[min(max(from, 0), len(files)):]
}

// Fetch gives the archive of a platform from its file of that number on.
type Fetch func(ctx context.Context, from int) (io.ReadCloser, error)

// How long a delivery goes on without a single file arriving.
const (
	fetchTries = 20
	fetchPause = 3 * time.Second
)

// Unpack fills a folder that Stage gave with a platform whose manifest has the given
// digest: what arrives is compared with the manifest byte for byte, and nothing
// that the manifest does not name is written. A connection that breaks is made anew
// and goes on after the last whole file.
func (s *Store) Unpack(ctx context.Context, staged, want string, fetch Fetch) (err error) {
	box, err := s.stagedBox(staged)
	if err != nil {
		return err
	}
	u := &unpacking{store: s, want: want, box: box}
	if u.dir, err = os.OpenRoot(staged); err != nil {
		return fmt.Errorf("open staging folder: %w", err)
	}
	defer func() { err = errors.Join(err, u.dir.Close()) }()
	for tries := 0; ; tries++ {
		before := u.done
		err := u.read(ctx, fetch)
		if err == nil {
			break
		}
		if u.done > before {
			tries = 0
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if models.CodeOf(err) != "" || errors.Is(err, syscall.ENOSPC) || tries >= fetchTries {
			return s.explain("receive platform", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(cmp.Or(s.Again, fetchPause)):
		}
	}
	return s.explain("receive platform", u.seal())
}

// unpacking is one call of Unpack.
type unpacking struct {
	store *Store
	want  string // digest
	box   string
	dir   *os.Root
	text  []byte // of the manifest, once it came
	lines tree.Manifest
	files []tree.Line
	done  int // files that are here
}

// read takes what one connection brings.
func (u *unpacking) read(ctx context.Context, fetch Fetch) (err error) {
	body, err := fetch(ctx, u.done)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	plain, err := gzip.NewReader(body)
	if err != nil {
		return fmt.Errorf("unpack archive: %w", err)
	}
	archive := tar.NewReader(plain)
	if u.text == nil {
		if err := u.readManifest(archive); err != nil {
			return err
		}
	}
	for u.done < len(u.files) {
		if err := u.readFile(ctx, archive, u.files[u.done]); err != nil {
			return err
		}
		u.done++
	}
	return nil
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
	u.text, u.lines, u.files = text, lines, onlyFiles(lines, 0)
	return nil
}

// fits fails when a platform is larger than this store takes, or than the disk.
func (s *Store) fits(lines tree.Manifest) error {
	files, bytes := lines.Totals()
	if most := s.options().Limited(); files > most.Files || bytes > most.Bytes {
		return models.Errorf(models.Invalid, "The platform has %d files of %s together, which is more than this server takes.", files, tree.Size(bytes))
	}
	free, err := tree.Free(s.Root)
	if err != nil {
		return err
	}
	if free < bytes {
		return tree.Full(fmt.Errorf("the platform wants %s", tree.Size(bytes)), s.Root)
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
