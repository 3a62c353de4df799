package control

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hefring/internal/store"
	"hefring/internal/tree"
	"hefring/models"
)

// Result is a finished backup.
type Result struct {
	Manifest
	Bytes  int64  // of the archive
	SHA256 string // of the archive, in hex
}

// Backup writes an archive to a file that is not there yet. It has another name,
// which begins with a dot, until it is complete and on the disk, and is removed
// when something fails. Conflict: there is such a file.
func (p Plane) Backup(ctx context.Context, path string, withKey bool) (result Result, err error) {
	if _, err := os.Lstat(path); err == nil {
		return result, taken(path)
	}
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.part") // mode 0600
	if err != nil {
		return result, models.Wrapf(models.Invalid, err, "The backup cannot be written into the folder %s: %v. Choose another file.", dir, reason(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(file.Name())))
		}
	}()
	result, err = p.Write(ctx, file, withKey)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return result, explainDisk(err, dir)
	}
	if err := publish(file.Name(), path); err != nil {
		return result, err
	}
	return result, tree.SyncDir(dir)
}

func taken(path string) error {
	return models.Errorf(models.Conflict, "There is a file %s already, and a backup never replaces one. Choose another name.", path)
}

func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func explainDisk(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return models.Wrapf(models.Unavailable, err, "The disk of %s is full. Make room there or choose another file, then try again.", dir)
	}
	return err
}

// publish gives the file its name, and never takes that from another.
func publish(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // this file system cannot do both at once
		if _, there := os.Lstat(to); there == nil {
			return taken(to)
		}
		err = os.Rename(from, to)
	}
	if errors.Is(err, fs.ErrExist) {
		return taken(to)
	}
	if err != nil {
		return fmt.Errorf("finish backup: %w", err)
	}
	return nil
}

// Write writes an archive.
func (p Plane) Write(ctx context.Context, out io.Writer, withKey bool) (Result, error) {
	sum, size := sha256.New(), new(counter)
	w := &writer{ctx: ctx, log: p.Log, size: size, told: time.Now()}
	w.manifest = Manifest{Head: Head{FormatVersion, p.Version}, MadeAt: time.Now().UTC().Truncate(time.Second), Parts: map[string]Part{}}
	buffered := bufio.NewWriterSize(io.MultiWriter(out, sum, size), 256<<10)
	zip, _ := gzip.NewWriterLevel(buffered, gzip.BestSpeed) // the level is a valid one
	w.tar = tar.NewWriter(zip)
	err := w.write(p, withKey)
	if err == nil {
		err = errors.Join(w.tar.Close(), zip.Close(), buffered.Flush())
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return Result{Manifest: w.manifest, Bytes: size.n, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}

// writer writes one archive.
type writer struct {
	ctx      context.Context //nolint:containedctx // lives for one Write
	log      Log
	manifest Manifest
	tar      *tar.Writer
	size     *counter
	bytes    int64     // that were read
	told     time.Time // when progress was last logged
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func (w *writer) write(p Plane, withKey bool) error {
	head, err := json.Marshal(w.manifest.Head)
	if err != nil {
		return err
	}
	if err := w.entry(newTally(), headName, head); err != nil {
		return err
	}
	if err := w.database(p.Database); err != nil {
		return err
	}
	if err := w.files(p, withKey); err != nil {
		return err
	}
	if withKey {
		if err := w.key(p.SecretKey); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(w.manifest, "", "  ")
	if err != nil {
		return err
	}
	return w.entry(newTally(), manifestName, text)
}

func (w *writer) database(dsn string) error {
	t := newTally()
	pieces := tree.NewPieces(pieceBytes, func(piece []byte) error { return w.entry(t, fmt.Sprintf(piecePattern, t.entries), piece) })
	c, err := store.Dump(w.ctx, dsn, pieces)
	if err == nil {
		err = pieces.Flush()
	}
	if err != nil {
		return fmt.Errorf("back up database: %w", err)
	}
	w.manifest.Schema, w.manifest.Engine, w.manifest.Tables, w.manifest.Rows = c.Schema, c.Engine, c.Tables, c.Rows
	w.manifest.Parts[PartDatabase] = t.part()
	w.log.Printf(models.LevelInfo, "Database (%s, schema %d): %d tables with %d rows, %s.", c.Engine, c.Schema, len(c.Tables), c.Rows, tree.Size(t.bytes))
	return nil
}

// entry writes one file that is in memory.
func (w *writer) entry(t *tally, name string, content []byte) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o600, ModTime: w.manifest.MadeAt, Format: tar.FormatPAX}
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	t.begin(h)
	if _, err := io.MultiWriter(w.tar, t).Write(content); err != nil {
		return err
	}
	w.bytes += h.Size
	if time.Since(w.told) > 5*time.Second {
		w.told = time.Now()
		w.log.Printf(models.LevelInfo, "%s read, %s written …", tree.Size(w.bytes), tree.Size(w.size.n))
	}
	return nil
}

// files keeps what lies in the control folder beside the database.
func (w *writer) files(p Plane, withKeys bool) error {
	list, err := p.list()
	if err != nil {
		return fmt.Errorf("back up control folder: %w", err)
	}
	t := newTally()
	for _, path := range list {
		if p.ours(path) || private(path) && !withKeys {
			continue
		}
		content, err := readFile(path, filesBytes-t.bytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is gone meanwhile
		}
		if err != nil {
			return fmt.Errorf("back up control folder: %w", err)
		}
		name, err := filepath.Rel(p.Folder, path)
		if err != nil {
			return fmt.Errorf("back up control folder: %w", err)
		}
		if err := w.entry(t, filesFolder+filepath.ToSlash(name), content); err != nil {
			return err
		}
	}
	if t.entries > maxFiles {
		return models.Errorf(models.Invalid, "The folder %s holds more than %d files, which are not Hefring's. Move them elsewhere, then try again.", p.Folder, maxFiles)
	}
	if t.entries > 0 {
		w.manifest.Parts[PartFiles] = t.part()
		w.log.Printf(models.LevelInfo, "Control folder: %d files, %s.", t.entries, tree.Size(t.bytes))
	}
	return nil
}

// list gives the plain files of the control folder, sorted; no link is followed.
func (p Plane) list() (files []string, err error) {
	err = filepath.WalkDir(p.Folder, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case entry.Type().IsRegular():
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

func (w *writer) key(path string) error {
	content, err := readFile(path, manifestBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return models.Errorf(models.NotFound, "There is no key file %s. Leave --with-secret-key out, or name the file with --secret-key-file.", path)
	}
	if err != nil {
		return fmt.Errorf("back up key file: %w", err)
	}
	t := newTally()
	if err := w.entry(t, keyName, content); err != nil {
		return err
	}
	w.manifest.Parts[PartKey] = t.part()
	return nil
}

// readFile reads a plain file of at most so many bytes.
func readFile(path string, most int64) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) //nolint:gosec // a file of the control plane
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(content)) > most {
		err = models.Errorf(models.Invalid, "The control folder holds more than %s beside the database, with %s. That is not Hefring's. Move it elsewhere, then try again.", tree.Size(filesBytes), path)
	}
	return content, err
}

// tally counts and hashes the entries of one part.
type tally struct {
	entries int
	bytes   int64
	sum     hash.Hash
}

func newTally() *tally { return &tally{sum: sha256.New()} }

func (t *tally) begin(h *tar.Header) {
	t.entries++
	_, _ = fmt.Fprintf(t.sum, "%q %d\n", h.Name, h.Size)
}

func (t *tally) Write(p []byte) (int, error) {
	t.bytes += int64(len(p))
	return t.sum.Write(p)
}

func (t *tally) part() Part {
	return Part{Entries: t.entries, Bytes: t.bytes, SHA256: hex.EncodeToString(t.sum.Sum(nil))}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
