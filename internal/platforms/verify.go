package platforms

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"hefring/internal/tree"
	"hefring/models"
)

const (
	maxFindings   = 50
	maxManifest   = 256 << 20
	manifestMagic = "hefring manifest 1 docroot "
)

// header is the manifest file's first line.
type header struct{ Docroot string }

func (h header) encode(m tree.Manifest) []byte {
	return append([]byte(manifestMagic+strconv.Quote(h.Docroot)+"\n"), m.Text()...)
}

func (h header) digest(m tree.Manifest) string { return digest(h.encode(m)) }

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
// lists what differs, one line for each file and at most 50. Our links to sites
// are no difference. An empty list means that nothing was touched.
func (s *Store) Verify(ctx context.Context, root, want string) ([]string, error) {
	box, err := s.publishedBox(root)
	if err != nil {
		return nil, err
	}
	text, err := readLimited(filepath.Join(box, manifestName), maxManifest)
	if err != nil {
		return []string{"the manifest cannot be read"}, nil //nolint:nilerr // a finding, not a failure to look
	}
	if digest(text) != want {
		return []string{"the manifest is not the one that was sealed"}, nil
	}
	h, sealed, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	options := s.options()
	options.Skip = s.siteLink(path.Join(filepath.ToSlash(h.Docroot), "sites"), sealed)
	actual, err := tree.Scan(ctx, root, options, false)
	if problem, ok := errors.AsType[*models.Error](err); ok {
		return []string{problem.Message}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("verify platform: %w", err)
	}
	return compare(sealed, actual), nil
}

// siteLink tells our links to sites from what belongs to the platform.
func (s *Store) siteLink(sites string, sealed tree.Manifest) func(tree.Entry) bool {
	own := map[string]bool{}
	for _, line := range sealed {
		own[line.Path] = true
	}
	return func(e tree.Entry) bool {
		if path.Dir(e.Path) != sites || own[e.Path] || !path.IsAbs(e.Link) {
			return false
		}
		return s.Sites == "" || strings.HasPrefix(path.Clean(e.Link), s.Sites+"/")
	}
}

func compare(sealed, actual tree.Manifest) []string {
	var findings []string
	add := func(format, name string) {
		if len(findings) < maxFindings {
			findings = append(findings, fmt.Sprintf(format, name))
		}
	}
	found := map[string]tree.Line{}
	for _, line := range actual {
		found[line.Path] = line
	}
	for _, line := range sealed {
		now, ok := found[line.Path]
		switch {
		case !ok:
			add("missing: %s", line.Path)
		case now.Kind != line.Kind || now.Sum != line.Sum || now.Link != line.Link:
			add("changed: %s", line.Path)
		case now.Mode != line.Mode:
			add("permissions changed: %s", line.Path)
		}
		delete(found, line.Path)
	}
	for _, line := range actual {
		if _, extra := found[line.Path]; extra {
			add("added: %s", line.Path)
		}
	}
	return findings
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
