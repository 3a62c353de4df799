package control

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
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"hefring/internal/store"
	"hefring/internal/tree"
	"hefring/models"
)

// Archive is a backup that was found sound.
type Archive struct {
	Manifest Manifest

	path  string
	file  *os.File
	files map[string][]byte // of the control folder, by their paths in it
	key   []byte            // nil: not in it
}

// Open opens a backup and reads the whole of it: nothing is used before it was
// found to be what its manifest says, and a dump that fits a schema which this
// Hefring knows. digest is the SHA-256 that it must have, in hex; "" for any.
// Invalid: it is no backup, damaged or hostile. Conflict: it needs a newer
// Hefring. The caller closes it.
func Open(ctx context.Context, path, digest string) (*Archive, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the operator's choice
	if errors.Is(err, os.ErrNotExist) {
		return nil, models.Wrapf(models.NotFound, err, "There is no file %s.", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	a := &Archive{path: path, file: file, files: map[string][]byte{}}
	if err := a.verify(ctx, digest); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return a, nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }

func (a *Archive) verify(ctx context.Context, digest string) error {
	info, err := a.file.Stat()
	if err != nil {
		return fmt.Errorf("open backup: %w", err)
	}
	if !info.Mode().IsRegular() {
		return a.bad(nil, "it is not a plain file")
	}
	if digest != "" {
		sum := sha256.New()
		if _, err := io.Copy(sum, tree.UntilDone(ctx, a.file)); err != nil {
			return a.explain(ctx, err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, digest) {
			return a.bad(nil, "its SHA-256 is %s and should be %s; it was changed or damaged", got, digest)
		}
	}
	return a.protected(ctx, func() error { return a.survey(ctx) })
}

// protected makes what the decompressor and the parsers of hostile bytes do a
// fault of the archive.
func (a *Archive) protected(ctx context.Context, read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = a.bad(fmt.Errorf("reader gave up: %v", p), "it is damaged")
		}
	}()
	return a.explain(ctx, read())
}

// survey reads the whole archive and compares it with its manifest.
func (a *Archive) survey(ctx context.Context) error {
	s, err := a.stream(ctx)
	if err != nil {
		return err
	}
	contents, err := store.CheckDump(ctx, s)
	if err != nil {
		return err
	}
	parts := map[string]*tally{PartDatabase: s.tally, PartFiles: newTally(), PartKey: newTally()}
	if err := a.rest(s, parts); err != nil {
		return err
	}
	m := a.Manifest
	if m.Schema != contents.Schema || m.Rows != contents.Rows || !maps.Equal(m.Tables, contents.Tables) {
		return a.bad(nil, "its database is not what its manifest says")
	}
	for name, t := range parts {
		if got, want := t.part(), m.Parts[name]; t.entries+want.Entries > 0 && got != want {
			return a.bad(nil, "its part %q is not what its manifest says", name)
		}
	}
	return nil
}

// rest reads what follows the database, up to the end of the file.
func (a *Archive) rest(s *stream, parts map[string]*tally) error {
	for h := s.after; ; {
		if h == nil {
			return a.bad(nil, "it has no manifest: it was cut short")
		}
		if h.Name == manifestName {
			return a.manifest(s, h)
		}
		if err := a.small(s, h, parts); err != nil {
			return err
		}
		var err error
		if h, err = s.next(); err != nil {
			return err
		}
	}
}

// small reads a file of the control folder, or the key.
func (a *Archive) small(s *stream, h *tar.Header, parts map[string]*tally) error {
	name, isFile := strings.CutPrefix(h.Name, filesFolder)
	t := parts[PartKey]
	switch {
	case h.Typeflag != tar.TypeReg:
		return a.bad(nil, "%.200q is not a plain file", h.Name)
	case isFile:
		t = parts[PartFiles]
		if !proper(name) {
			return a.bad(nil, "%.200q leads out of it", h.Name)
		}
	case h.Name != keyName:
		return a.bad(nil, "%.200q does not belong into it", h.Name)
	}
	most := filesBytes - t.bytes
	_, twice := a.files[name]
	if !isFile {
		twice, most = a.key != nil, manifestBytes
	}
	if twice || t.entries >= maxFiles || h.Size > most {
		return a.bad(nil, "%.200q comes twice, or is too much", h.Name)
	}
	t.begin(h)
	content, err := io.ReadAll(io.TeeReader(s.tar, t))
	if err != nil {
		return err
	}
	if isFile {
		a.files[name] = content
		return nil
	}
	a.key = content
	return nil
}

// proper tells whether a path stays in the folder that it is seen from.
func proper(name string) bool {
	return name != "" && len(name) <= maxPath && name == path.Clean(name) && !path.IsAbs(name) && name != "." && name != ".." &&
		!strings.HasPrefix(name, "../") && !strings.ContainsAny(name, "\x00\\")
}

func (a *Archive) manifest(s *stream, h *tar.Header) error {
	if h.Typeflag != tar.TypeReg || h.Size > manifestBytes {
		return a.bad(nil, "its manifest is no plain file of a sensible size")
	}
	text, err := io.ReadAll(s.tar)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &a.Manifest); err != nil {
		return a.bad(err, "its manifest cannot be read")
	}
	if a.Manifest.Head != s.head {
		return a.bad(nil, "its manifest belongs to another")
	}
	if h, err := s.next(); err != nil || h != nil {
		return errors.Join(err, a.bad(nil, "something follows its manifest"))
	}
	return tree.Drain(s.unzip)
}

// stream gives the dump out of the archive's pieces. after is the first entry that
// is none, once it was read to its end.
type stream struct {
	archive *Archive
	head    Head
	unzip   *gzip.Reader
	tar     *tar.Reader
	tally   *tally
	inside  bool // a piece
	after   *tar.Header
	want    *Part // what the pieces must be, where that is known
	ended   bool
}

func (a *Archive) stream(ctx context.Context) (*stream, error) {
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	unzip, err := gzip.NewReader(bufio.NewReaderSize(tree.UntilDone(ctx, a.file), 128<<10))
	if err != nil {
		return nil, err
	}
	s := &stream{archive: a, unzip: unzip, tar: tar.NewReader(unzip), tally: newTally()}
	return s, s.begin()
}

// begin reads the head, which every format has.
func (s *stream) begin() error {
	h, err := s.next()
	if err != nil {
		return err
	}
	if h == nil || h.Name != headName || h.Typeflag != tar.TypeReg || h.Size > headBytes {
		return s.archive.bad(nil, "it is no backup of Hefring's control plane")
	}
	text, err := io.ReadAll(s.tar)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &s.head); err != nil || s.head.Format < 1 {
		return s.archive.bad(err, "its head cannot be read")
	}
	if s.head.Format > FormatVersion {
		return models.Errorf(models.Conflict, "The backup %s has the format %d, and this Hefring reads formats up to %d. It was made by Hefring %.60s: use that, or a newer one.",
			filepath.Base(s.archive.path), s.head.Format, FormatVersion, s.head.Hefring)
	}
	return nil
}

// next gives the next entry, nil after the last.
func (s *stream) next() (*tar.Header, error) {
	h, err := s.tar.Next()
	if errors.Is(err, io.EOF) {
		return nil, nil //nolint:nilnil // there is none
	}
	return h, err
}

// Read reads the dump.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.inside {
			n, err := s.tar.Read(p)
			if n > 0 {
				_, _ = s.tally.Write(p[:n]) // never fails
				return n, nil
			}
			if !errors.Is(err, io.EOF) {
				return 0, err
			}
			s.inside = false
		}
		if err := s.piece(); err != nil {
			return 0, err
		}
	}
}

// piece goes to the next piece; io.EOF when there is none.
func (s *stream) piece() error {
	if s.ended {
		return io.EOF
	}
	h, err := s.next()
	if err != nil {
		return err
	}
	if h == nil || h.Name != fmt.Sprintf(piecePattern, s.tally.entries) {
		s.after, s.ended = h, true
		if s.want != nil && s.tally.part() != *s.want {
			return s.archive.bad(nil, "it changed while it was read")
		}
		return io.EOF
	}
	if h.Typeflag != tar.TypeReg || h.Size < 1 || h.Size > pieceBytes {
		return s.archive.bad(nil, "%.200q is not a plain file of a sensible size", h.Name)
	}
	s.tally.begin(h)
	s.inside = true
	return nil
}

func (a *Archive) bad(cause error, format string, args ...any) error {
	return unusable(a.path, cause, format, args...)
}

func (a *Archive) explain(ctx context.Context, err error) error {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, gzip.ErrHeader) && a.isForeign():
		return a.bad(err, "it is no backup of Hefring's control plane")
	case corrupt, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader),
		errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong), errors.Is(err, tar.ErrInsecurePath):
		return a.bad(err, "it is damaged or was cut short")
	}
	return err
}

// isForeign tells whether the file does not even begin as gzip does.
func (a *Archive) isForeign() bool {
	head := make([]byte, 2)
	_, err := a.file.ReadAt(head, 0)
	return err != nil || head[0] != 0x1f || head[1] != 0x8b
}
