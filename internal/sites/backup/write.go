package backup

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
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"hefring/internal/tree"
	"hefring/models"
)

// Source is what a backup is made of. What is empty or not there is left out.
type Source struct {
	Manifest Manifest // the facts; Write counts tables and parts itself
	// Dump writes the database as its engine's Load takes it.
	Dump                   func(ctx context.Context, w io.Writer) (tables int, err error)
	Files, Private, Config string // absolute folders
	Salt, LocalSettings    string // absolute files
	// Only leaves out the files and links of which it says no, each named by its part
	// and its path in it; nil leaves out none. Folders are always there.
	Only func(part, path string) bool
}

func (s Source) folder(part string) string {
	return map[string]string{PartFiles: s.Files, PartPrivate: s.Private, PartConfig: s.Config}[part]
}

// Result is a finished backup.
type Result struct {
	Path     string
	Bytes    int64  // of the archive
	Digest   string // its SHA-256, in hex
	Manifest Manifest
}

// Write writes an archive to path, an absolute name in a folder that is ours
// alone and is made if it is not there. Until it is complete it has a name that
// ends in Partial; whatever such files an earlier attempt left in the folder are
// removed first, so two must not write to one folder at once.
func Write(ctx context.Context, path string, s Source, log Log) (result Result, err error) {
	dir := filepath.Dir(path)
	if err := prepare(dir); err != nil {
		return result, err
	}
	need, err := s.measure(ctx)
	if err != nil {
		return result, err
	}
	if err := Room(dir, need); err != nil {
		return result, err
	}
	temp := path + Partial
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return result, fmt.Errorf("write backup: %w", explainDisk(err, dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(temp)))
		}
	}()
	w := newWriter(ctx, file, s, log)
	if err := errors.Join(w.write(), file.Close()); err != nil {
		if ctx.Err() != nil {
			return result, context.Cause(ctx)
		}
		return result, fmt.Errorf("write backup: %w", explainDisk(err, dir))
	}
	if err := os.Rename(temp, path); err != nil {
		return result, fmt.Errorf("finish backup: %w", err)
	}
	if err := tree.SyncDir(dir); err != nil {
		return result, fmt.Errorf("finish backup: %w", err)
	}
	return Result{Path: path, Bytes: w.size.n, Digest: hex.EncodeToString(w.sum.Sum(nil)), Manifest: w.manifest}, nil
}

// prepare makes the folder, and removes what a killed attempt left in it.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder for backups: %w", explainDisk(err, filepath.Dir(dir)))
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder
		return fmt.Errorf("make folder for backups: %w", err)
	}
	return Sweep(dir)
}

// Sweep removes the unfinished archives from a folder. One that is not there is
// no error.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for unfinished backups: %w", err)
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != Partial {
			continue
		}
		if err := ignoreMissing(os.Remove(filepath.Join(dir, entry.Name()))); err != nil {
			return fmt.Errorf("remove unfinished backup: %w", err)
		}
	}
	return nil
}

// Remove removes an archive. One that is not there is no error.
func Remove(path string) error {
	if err := ignoreMissing(os.Remove(path)); err != nil {
		return fmt.Errorf("remove backup: %w", err)
	}
	if err := ignoreMissing(tree.SyncDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("remove backup: %w", err)
	}
	return nil
}

// measure is how large the archive may become, as far as that is known before:
// the size of the files, since most uploads are compressed already.
func (s Source) measure(ctx context.Context) (int64, error) {
	var bytes int64
	for _, part := range folders() {
		n, err := Measure(ctx, s.folder(part), nil)
		if err != nil {
			return 0, err
		}
		bytes += n
	}
	return bytes, nil
}

// Measure adds up what the files in a folder take up on the disk, in bytes; skip
// leaves paths out, nil none.
func Measure(ctx context.Context, dir string, skip func(path string) bool) (bytes int64, err error) {
	if dir == "" {
		return 0, nil
	}
	w := walker{ctx: ctx, skip: skip, leftOut: func(string, string) {}, visit: func(i item) error {
		if i.info.Mode().IsRegular() {
			bytes += onDisk(i.info)
		}
		return nil
	}}
	return bytes, w.walk(dir)
}

// writer writes one archive.
type writer struct {
	ctx      context.Context //nolint:containedctx // lives for one Write
	source   Source
	manifest Manifest
	log      Log
	file     *os.File
	sum      interface{ Sum([]byte) []byte }
	size     *counter
	buffered *bufio.Writer
	zip      *gzip.Writer
	tar      *tar.Writer
	told     time.Time // when progress was last logged
	bytes    int64     // since the beginning
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func newWriter(ctx context.Context, file *os.File, s Source, log Log) *writer {
	sum := sha256.New()
	w := &writer{ctx: ctx, source: s, manifest: s.Manifest, log: log, file: file, sum: sum, size: &counter{}, told: time.Now()}
	w.manifest.Format, w.manifest.Parts, w.manifest.Tables = FormatVersion, map[string]Part{}, 0
	w.buffered = bufio.NewWriterSize(io.MultiWriter(file, sum, w.size), 256<<10)
	// Uploads are compressed already: more effort would cost time and gain little.
	w.zip, _ = gzip.NewWriterLevel(w.buffered, gzip.BestSpeed) // the level is a valid one
	w.tar = tar.NewWriter(w.zip)
	return w
}

func (w *writer) write() error {
	if err := w.database(); err != nil {
		return err
	}
	for _, part := range folders() {
		if err := w.folder(part); err != nil {
			return err
		}
	}
	if err := w.site(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(w.manifest, "", "  ")
	if err != nil {
		return err
	}
	if err := w.bytesEntry(newTally(), manifestName, text); err != nil {
		return err
	}
	return errors.Join(w.tar.Close(), w.zip.Close(), w.buffered.Flush(), w.file.Sync())
}

func (w *writer) database() error {
	if w.source.Dump == nil {
		w.manifest.Engine = ""
		return nil
	}
	t := newTally()
	keep := func(piece []byte) error {
		return w.bytesEntry(t, fmt.Sprintf("%s/%06d", PartDatabase, t.entries), piece)
	}
	pieces := tree.NewPieces(pieceBytes, keep)
	tables, err := w.source.Dump(w.ctx, pieces)
	if err == nil {
		err = pieces.Flush()
	}
	if err == nil && t.entries == 0 {
		err = keep(nil) // an empty dump is one
	}
	if err != nil {
		return fmt.Errorf("dump database: %w", err)
	}
	w.manifest.Tables = tables
	w.manifest.Parts[PartDatabase] = t.part()
	w.log.Printf(models.LevelInfo, "Database: %d tables, %s", tables, tree.Size(t.bytes))
	return nil
}

// bytesEntry writes a file that is in memory.
func (w *writer) bytesEntry(t *tally, name string, content []byte) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o600, ModTime: w.manifest.MadeAt.Truncate(time.Second), Format: tar.FormatPAX}
	if err := w.header(t, h); err != nil {
		return err
	}
	t.disk += h.Size
	_, err := io.MultiWriter(w.tar, t).Write(content)
	w.progress(h.Size)
	return err
}

func (w *writer) header(t *tally, h *tar.Header) error {
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	t.begin(h)
	return nil
}

// site keeps the small files of the site's own folder.
func (w *writer) site() error {
	t := newTally()
	for _, file := range []struct{ name, path string }{{saltName, w.source.Salt}, {localName, w.source.LocalSettings}} {
		if file.path == "" {
			continue
		}
		content, err := readSmall(file.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := w.bytesEntry(t, file.name, content); err != nil {
			return err
		}
	}
	if t.entries > 0 {
		w.manifest.Parts[PartSite] = t.part()
	}
	return nil
}

func readSmall(path string) ([]byte, error) {
	file, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, smallBytes+1))
	if err == nil && len(content) > smallBytes {
		err = models.Errorf(models.Invalid, "%s is larger than %s. Make it smaller, then try again.", path, tree.Size(smallBytes))
	}
	return content, err
}

func (w *writer) folder(part string) error {
	t := newTally()
	notes := notes{log: w.log, part: part}
	walk := walker{
		ctx:     w.ctx,
		skip:    func(path string) bool { return part == PartFiles && Compiled(path) },
		leftOut: func(path, why string) { t.leftOut++; notes.add(path, why) },
		visit:   func(i item) error { return w.item(t, part, i, &notes) },
	}
	if dir := w.source.folder(part); dir != "" {
		if err := walk.walk(dir); err != nil {
			return fmt.Errorf("keep the folder %s: %w", part, err)
		}
	}
	w.manifest.Parts[part] = t.part()
	notes.end()
	w.log.Printf(models.LevelInfo, "%s: %d files and folders, %s", part, t.entries, tree.Size(t.bytes))
	return nil
}

// Compiled tells whether a path below the public files is Drupal's compiled
// code, which it makes again by itself.
func Compiled(path string) bool { return path == "php" }

func (w *writer) item(t *tally, part string, i item, notes *notes) error {
	h := &tar.Header{
		Name: part + "/" + i.path, Mode: int64(i.info.Mode().Perm()), ModTime: i.info.ModTime().Truncate(time.Second), Format: tar.FormatPAX,
	}
	switch {
	case i.info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		return w.header(t, h)
	case w.source.Only != nil && !w.source.Only(part, i.path):
		return nil
	case i.link != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, i.link
		return w.header(t, h)
	}
	file, info, err := i.open()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := w.header(t, h); err != nil {
		return err
	}
	t.disk += onDisk(info)
	return w.content(t, h, file, notes)
}

// content writes exactly the promised number of bytes: what has grown is cut,
// what has shrunk is filled with zeros.
func (w *writer) content(t *tally, h *tar.Header, file io.Reader, notes *notes) error {
	to := io.MultiWriter(w.tar, t, progress{w})
	n, err := io.Copy(to, io.LimitReader(tree.UntilDone(w.ctx, file), h.Size))
	if err != nil {
		return fmt.Errorf("copy %q: %w", shorten(h.Name), err)
	}
	if n == h.Size {
		return nil
	}
	notes.add(h.Name, "it became shorter while it was read, and is filled with zeros")
	_, err = io.CopyN(to, zeros{w.ctx}, h.Size-n)
	return err
}

type zeros struct {
	ctx context.Context //nolint:containedctx // lives for one file
}

func (z zeros) Read(p []byte) (int, error) {
	if z.ctx.Err() != nil {
		return 0, context.Cause(z.ctx)
	}
	clear(p)
	return len(p), nil
}

type progress struct{ w *writer }

func (p progress) Write(data []byte) (int, error) {
	p.w.progress(int64(len(data)))
	return len(data), nil
}

func (w *writer) progress(n int64) {
	w.bytes += n
	if time.Since(w.told) < 10*time.Second {
		return
	}
	w.told = time.Now()
	w.log.Printf(models.LevelInfo, "%s read, %s written", tree.Size(w.bytes), tree.Size(w.size.n))
}

// notes tells of single files, but not of a million.
type notes struct {
	log   Log
	part  string
	count int
}

const mostNotes = 20

func (n *notes) add(path, why string) {
	if n.count++; n.count <= mostNotes {
		n.log.Printf(models.LevelWarn, "%s: %q: %s.", n.part, shorten(path), why)
	}
}

func (n *notes) end() {
	if n.count > mostNotes {
		n.log.Printf(models.LevelWarn, "%s: the same of %d more.", n.part, n.count-mostNotes)
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}
