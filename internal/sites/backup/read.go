package backup

import (
	"archive/tar"
	"bufio"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	"hefring/internal/tree"
	"hefring/models"
)

// Archive is a backup that was found sound.
type Archive struct {
	Manifest Manifest
	// Salt is Drupal's hash salt, LocalSettings a person's own settings in PHP;
	// nil when there are none.
	Salt, LocalSettings []byte

	file *os.File
	path string
}

// Open opens an archive. Nothing of it is used before its SHA-256 was found to be
// digest, and before the whole of it was read once and matches its manifest. What
// is wrong with it is a models.Error of the kind Invalid; models.NotFound says
// that there is no such file. The caller closes it.
func Open(ctx context.Context, name, digest string) (*Archive, error) {
	file, err := openFile(name)
	if err != nil {
		return nil, err
	}
	a := &Archive{file: file, path: name}
	if err := a.verify(ctx, digest); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return a, nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }

func openFile(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) //nolint:gosec // a backup's own path
	if errors.Is(err, os.ErrNotExist) {
		return nil, missing(name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = damaged(name, nil, "it is not a plain file.")
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func (a *Archive) verify(ctx context.Context, digest string) error {
	sum := sha256.New()
	if _, err := io.Copy(sum, tree.UntilDone(ctx, a.file)); err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		return damaged(a.path, nil, "it was changed or damaged since it was made (its SHA-256 is %s and should be %s). Use another backup.", got, digest)
	}
	return a.survey(ctx)
}

// survey reads the whole archive and compares it with its manifest.
func (a *Archive) survey(ctx context.Context) error {
	s := surveyor{archive: a, parts: map[string]*tally{}}
	if err := a.each(ctx, s.entry); err != nil {
		return err
	}
	if !s.complete {
		return damaged(a.path, nil, "it has no manifest: it was cut short.")
	}
	return s.compare()
}

type surveyor struct {
	archive  *Archive
	parts    map[string]*tally
	complete bool
}

func (s *surveyor) entry(h *tar.Header, content io.Reader) error {
	if s.complete {
		return s.archive.bad("%q comes after the manifest", h.Name)
	}
	if h.Name == manifestName {
		s.complete = true
		return s.manifest(h, content)
	}
	part, err := s.archive.check(h)
	if err != nil {
		return err
	}
	t := s.parts[part]
	if t == nil {
		t = newTally()
		s.parts[part] = t
	}
	t.begin(h)
	var small *[]byte
	switch h.Name {
	case saltName:
		small = &s.archive.Salt
	case localName:
		small = &s.archive.LocalSettings
	default:
		_, err = io.Copy(t, content)
		return err
	}
	*small, err = io.ReadAll(io.TeeReader(io.LimitReader(content, smallBytes+1), t))
	if err == nil && len(*small) > smallBytes {
		err = s.archive.bad("%q is too long", h.Name)
	}
	return err
}

func (s *surveyor) manifest(h *tar.Header, content io.Reader) error {
	if h.Typeflag != tar.TypeReg || h.Size > manifestBytes {
		return s.archive.bad("its manifest is no plain file of a sensible size")
	}
	text, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &s.archive.Manifest); err != nil {
		return damaged(s.archive.path, err, "its manifest cannot be read.")
	}
	if f := s.archive.Manifest.Format; f != FormatVersion {
		return s.archive.bad("it has the format %d, and this version of Hefring reads the format %d", f, FormatVersion)
	}
	return nil
}

func (s *surveyor) compare() error {
	for name, want := range s.archive.Manifest.Parts {
		t := s.parts[name]
		if t == nil {
			t = newTally()
		}
		if got := t.part(); got.Entries != want.Entries || got.Bytes != want.Bytes || got.SHA256 != want.SHA256 {
			return s.archive.bad("its part %q is not what its manifest says", name)
		}
		if want.Disk < 0 || want.Disk > want.Bytes+int64(want.Entries)<<17 {
			return s.archive.bad("its part %q claims an impossible size", name)
		}
		delete(s.parts, name)
	}
	for name := range s.parts {
		return s.archive.bad("its part %q is not in its manifest", name)
	}
	return nil
}

// each calls visit for every entry. Reading the content may fail with what is
// wrong with the archive.
func (a *Archive) each(ctx context.Context, visit func(*tar.Header, io.Reader) error) (err error) {
	defer func() {
		if p := recover(); p != nil { // the decompressor reads what may be hostile
			err = damaged(a.path, fmt.Errorf("reader gave up: %v", p), "it is damaged. Use another backup.")
		}
	}()
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	unzip, err := gzip.NewReader(bufio.NewReaderSize(tree.UntilDone(ctx, a.file), 128<<10))
	if err != nil {
		return a.explain(ctx, err)
	}
	entries := tar.NewReader(unzip)
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return a.explain(ctx, tree.Drain(unzip))
		}
		if err != nil {
			return a.explain(ctx, err)
		}
		if err := visit(h, entries); err != nil {
			return a.explain(ctx, err)
		}
	}
}

func missing(name string, cause error) error {
	return models.Wrapf(models.NotFound, cause, "The file %s of the backup is not there any more. Use another backup.", name)
}

func isCorrupt(err error) bool {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	return corrupt
}

// errEnough ends each early.
var errEnough = errors.New("enough was read")

func (a *Archive) explain(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, errEnough):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader),
		errors.Is(err, tar.ErrHeader), errors.Is(err, io.EOF), isCorrupt(err):
		return damaged(a.path, err, "it is damaged or was cut short. Use another backup.")
	}
	return err
}

func (a *Archive) bad(format string, args ...any) error {
	return damaged(a.path, nil, "%s. Use another backup.", fmt.Sprintf(format, args...))
}

// check refuses entries that Write never makes, and gives the entry's part.
func (a *Archive) check(h *tar.Header) (part string, err error) {
	name := strings.TrimSuffix(h.Name, "/")
	part, rest, below := strings.Cut(name, "/")
	switch {
	case len(name) > maxPath || name != path.Clean(name) || path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0):
		return "", a.bad("%q leads out of it", shorten(h.Name))
	case strings.Count(name, "/") > maxDepth:
		return "", a.bad("%q lies too deep", shorten(h.Name))
	case h.Name == saltName, h.Name == localName, part == PartDatabase && below && rest != "":
		if h.Typeflag != tar.TypeReg {
			return "", a.bad("%q is not a plain file", shorten(h.Name))
		}
		return part, nil
	case part != PartFiles && part != PartPrivate && part != PartConfig:
		return "", a.bad("%q does not belong into a backup", shorten(h.Name))
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return part, nil
	case tar.TypeReg:
		if below {
			return part, nil
		}
	case tar.TypeSymlink:
		if below && staysIn(rest, h.Linkname) {
			return part, nil
		}
		return "", a.bad("%q is a link out of its folder", shorten(h.Name))
	}
	return "", a.bad("%q is neither a file nor a folder nor a link", shorten(h.Name))
}

// LoadDatabase hands the engine's dump to load, as Engine.Load takes it. When it
// succeeds, load has seen the end of a complete dump.
func (a *Archive) LoadDatabase(ctx context.Context, load func(io.Reader) error) error {
	want, there := a.Manifest.Parts[PartDatabase]
	if !there {
		return a.bad("it holds no database")
	}
	in, out := io.Pipe()
	go func() {
		_ = out.CloseWithError(a.dump(ctx, out, want))
	}()
	// What load leaves unread must not keep the writer for ever.
	err := load(in)
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	_ = in.CloseWithError(errEnough)
	return err
}

// dump writes the pieces of the dump one after the other. It fails if they are
// not what the manifest promises.
func (a *Archive) dump(ctx context.Context, w io.Writer, want Part) error {
	t := newTally()
	err := a.each(ctx, func(h *tar.Header, content io.Reader) error {
		part, err := a.partOf(h)
		if err != nil || part != PartDatabase {
			if t.entries > 0 && err == nil {
				return errEnough // the pieces come in one run
			}
			return err
		}
		t.begin(h)
		_, err = io.Copy(io.MultiWriter(w, t), content)
		return err
	})
	if err != nil {
		return err
	}
	if got := t.part(); got.SHA256 != want.SHA256 {
		return a.bad("it changed while it was read")
	}
	return nil
}

func (a *Archive) partOf(h *tar.Header) (string, error) {
	if h.Name == manifestName {
		return "", nil
	}
	return a.check(h)
}

// tally counts and hashes the entries of one part.
type tally struct {
	entries int
	bytes   int64
	disk    int64
	leftOut int
	sum     hash.Hash
}

func newTally() *tally { return &tally{sum: sha256.New()} }

func (t *tally) begin(h *tar.Header) {
	t.entries++
	_, _ = fmt.Fprintf(t.sum, "%q %c %q %d\n", strings.TrimSuffix(h.Name, "/"), h.Typeflag, h.Linkname, h.Size)
}

func (t *tally) Write(p []byte) (int, error) {
	t.bytes += int64(len(p))
	return t.sum.Write(p)
}

func (t *tally) part() Part {
	return Part{Entries: t.entries, Bytes: t.bytes, Disk: t.disk, LeftOut: t.leftOut, SHA256: hex.EncodeToString(t.sum.Sum(nil))}
}
