package platforms

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"hefring/internal/tree"
	"hefring/models"
)

const (
	maxFindings   = 100
	maxManifest   = 256 << 20
	manifestMagic = "hefring manifest 1 docroot "
)

// header is the manifest file's first line.
type header struct{ Docroot string }

func (h header) encode(m tree.Manifest) []byte {
	return append([]byte(manifestMagic+strconv.Quote(h.Docroot)+"\n"), m.Text()...)
}

// sites is the folder of the sites, relative.
func (h header) sites() string { return path.Join(filepath.ToSlash(h.Docroot), "sites") }

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func decode(text []byte) (header, tree.Manifest, error) {
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	quoted, ok := strings.CutPrefix(string(first), manifestMagic)
	if !ok {
		return header{}, nil, errors.New("not a manifest")
	}
	docroot, err := strconv.Unquote(quoted)
	if err != nil {
		return header{}, nil, fmt.Errorf("read docroot: %w", err)
	}
	m, err := tree.Parse(rest)
	return header{docroot}, m, err
}

// Verify compares a published platform with the manifest of the given digest and
// lists what differs, one line for each file, at most 100 of them and how many
// more there are. It reads every file, so that no time or size can hide a change.
// Our links to sites are no difference. An empty list means that nothing was
// touched.
func (s *Store) Verify(ctx context.Context, root, want string) ([]string, error) {
	box, err := s.publishedBox(root)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(root); err != nil {
		return []string{"the platform's folder is gone"}, nil //nolint:nilerr // a finding, not a failure to look
	}
	name := filepath.Join(box, manifestName)
	text, err := readPacked(name)
	if err != nil {
		return []string{"the manifest cannot be read"}, nil //nolint:nilerr // as above
	}
	if digest(text) != want {
		return []string{"the manifest is not the one that was sealed"}, nil
	}
	h, sealed, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	info, err := os.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("verify platform: %w", err)
	}
	look := looking{store: s, sites: h.sites(), owner: ownerOf(info)}
	findings, err := look.findings(ctx, root, sealed)
	if err != nil {
		return nil, fmt.Errorf("verify platform: %w", err)
	}
	return findings, nil
}

// stamp changes with everything that is done to a file. No program can set the
// time of an inode's change.
type stamp struct {
	tree.Stamp
	dev     uint64
	changed syscall.Timespec
}

func stampOf(info fs.FileInfo) stamp {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{tree.StampOf(info, ""), stat.Dev, stat.Ctim}
}

// looking is one look at a platform.
type looking struct {
	store   *Store
	sites   string           // folder of the sites, relative
	owner   uint32           // who sealed it
	known   map[string]stamp // of files that need not be read while they have it
	sealed  map[string]tree.Line
	odd     map[string]string // what no platform may hold
	foreign []string          // files that changed hands
	actual  tree.Manifest
}

// findings lists what differs from what was sealed.
func (l *looking) findings(ctx context.Context, root string, sealed tree.Manifest) ([]string, error) {
	l.odd, l.sealed = map[string]string{}, make(map[string]tree.Line, len(sealed))
	for _, line := range sealed {
		l.sealed[line.Path] = line
	}
	options := l.store.options()
	options.Skip = l.store.siteLink(l.sites, l.sealed)
	options.Odd = func(e tree.Entry, problem *models.Error) { l.odd[e.Path] = problem.Message }
	err := l.scan(ctx, root, options)
	if problem, ok := errors.AsType[*models.Error](err); ok {
		return []string{problem.Message}, nil
	}
	if err != nil {
		return nil, err
	}
	return l.compare(sealed), nil
}

func (l *looking) scan(ctx context.Context, root string, o tree.Options) error {
	var hashes tree.Hashes
	err := hashes.Walk(ctx, root, o, func(e tree.Entry) error {
		line := tree.Describe(e)
		was, sealed := l.sealed[e.Path]
		if sealed && ownerOf(e.Info) != l.owner {
			l.foreign = append(l.foreign, e.Path)
		}
		l.actual = append(l.actual, line)
		if line.Kind != 'f' || !sealed || was.Size != line.Size {
			return nil // that it differs is known without reading it
		}
		if before, ok := l.known[e.Path]; ok && before == stampOf(e.Info) {
			l.actual[len(l.actual)-1].Sum = was.Sum
			return nil
		}
		return hashes.Add(e, len(l.actual)-1)
	})
	if err != nil {
		return err
	}
	hashes.Fill(l.actual)
	return nil
}

func ownerOf(info fs.FileInfo) uint32 {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return stat.Uid
}

func (l *looking) compare(sealed tree.Manifest) []string {
	var f findings
	found := map[string]tree.Line{}
	for _, line := range l.actual {
		found[line.Path] = line
	}
	for _, was := range sealed {
		now, ok := found[was.Path]
		delete(found, was.Path)
		problem, odd := l.odd[was.Path]
		delete(l.odd, was.Path)
		switch {
		case odd:
			f.add("changed: %s. %s", was.Path, problem)
		case !ok:
			f.add("missing: %s", was.Path)
		default:
			f.differs(was, now)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		f.add("added: %s", name)
	}
	for _, name := range slices.Sorted(maps.Keys(l.odd)) {
		f.add("added: %s. %s", name, l.odd[name])
	}
	for _, name := range l.foreign {
		f.addRights("owner changed: %s", name)
	}
	return f.list()
}

// findings are what Verify tells, bounded; what was done to permissions comes
// last, for it is often done to all files at once.
type findings struct {
	lines  []string
	rights []string
	count  int
}

func (f *findings) add(format string, args ...any) {
	if f.count++; len(f.lines) < maxFindings {
		f.lines = append(f.lines, fmt.Sprintf(format, args...))
	}
}

func (f *findings) addRights(format string, args ...any) {
	if f.count++; len(f.rights) < maxFindings {
		f.rights = append(f.rights, fmt.Sprintf(format, args...))
	}
}

func (f *findings) differs(was, now tree.Line) {
	switch {
	case now.Kind != was.Kind:
		f.add("changed: %s (%s instead of %s)", was.Path, kind(now.Kind), kind(was.Kind))
	case now.Link != was.Link:
		f.add("changed: %s (link to %q instead of %q)", was.Path, now.Link, was.Link)
	case now.Size != was.Size:
		f.add("changed: %s (%d bytes instead of %d)", was.Path, now.Size, was.Size)
	case now.Sum != was.Sum:
		f.add("changed: %s (other content of the same size)", was.Path)
	}
	if now.Kind == was.Kind && now.Mode != was.Mode {
		f.addRights("permissions changed: %s (%04o instead of %04o)", was.Path, now.Mode, was.Mode)
	}
}

func (f *findings) list() []string {
	list := slices.Concat(f.lines, f.rights)
	list = list[:min(len(list), maxFindings)]
	if more := f.count - len(list); more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return list
}

func kind(k byte) string {
	switch k {
	case 'd':
		return "a folder"
	case 'l':
		return "a link"
	}
	return "a file"
}

// siteLink tells our links to sites from what belongs to the platform.
func (s *Store) siteLink(sites string, sealed map[string]tree.Line) func(tree.Entry) bool {
	return func(e tree.Entry) bool {
		if _, own := sealed[e.Path]; own || path.Dir(e.Path) != sites || !path.IsAbs(e.Link) {
			return false
		}
		return s.Sites == "" || strings.HasPrefix(path.Clean(e.Link), s.Sites+"/")
	}
}

// readPacked reads what writePacked wrote, or plain text, as earlier versions wrote
// manifests.
func readPacked(name string) ([]byte, error) {
	text, err := readLimited(name, maxManifest)
	if err != nil || !bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
		return text, err
	}
	r, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", filepath.Base(name), err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err == nil && len(plain) > maxManifest {
		err = fmt.Errorf("it is larger than %s", tree.Size(maxManifest))
	}
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", filepath.Base(name), err)
	}
	return plain, nil
}

func readLimited(name string, limit int64) ([]byte, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is no file of at most %s", name, tree.Size(limit))
	}
	return os.ReadFile(name) //nolint:gosec // a file of the store
}
