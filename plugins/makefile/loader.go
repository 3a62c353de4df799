package makefile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/spec"
)

// loader reads what one makefile names, for one call on its source.
type loader struct {
	env    plugins.Env
	source source
	top    spec.Ref
	folder string // where paths begin; "" when there are none, or not yet

	repository *revision // of the makefile, when it is in one
	hold       *plugins.Hold
	mu         sync.Mutex
	checkouts  map[spec.Ref]string // guarded by mu
}

var _ spec.Loader = (*loader)(nil)

// open finds out where the makefile is now. before is the version of its
// repository that was seen last.
func (s source) open(ctx context.Context, env plugins.Env, before plugins.Version) (*loader, error) {
	l := &loader{env: env, source: s, checkouts: map[spec.Ref]string{}}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	switch {
	case s.repository != nil:
		v, err := s.repository.Check(ctx, env, before)
		if err != nil {
			return nil, renamed(err)
		}
		l.repository, l.hold = &revision{Revision: v.Revision, Content: v.Content, Memo: v.Memo}, v.Hold
		l.top = spec.Ref{Path: s.path}
	case s.local != "":
		if !env.Local {
			return nil, models.InvalidField(fieldURL, "Files of this machine are for “hefring source” on the command line only. Use an address, or a git repository.").Because(models.ReasonURL)
		}
		l.folder, l.top = "/", spec.Ref{Path: strings.TrimPrefix(s.local, "/")}
	default:
		l.top = spec.Ref{URL: s.url.String()}
	}
	return l, nil
}

// reopen is open for a version that was seen.
func (s source) reopen(ctx context.Context, env plugins.Env, p plan) (*loader, error) {
	if s.repository == nil {
		return s.open(ctx, env, plugins.Version{})
	}
	if p.Repository == nil {
		return nil, errors.New("build makefile: the plan names no version of the repository")
	}
	l := &loader{env: env, source: s, repository: p.Repository, checkouts: map[spec.Ref]string{}, top: spec.Ref{Path: s.path}}
	folder, err := l.checkout(ctx)
	l.folder = folder
	return l, err
}

// renamed makes the fields of git's errors those of this type.
func renamed(err error) error {
	e, ok := errors.AsType[*models.Error](err)
	if !ok || e.Fields == nil {
		return err
	}
	shown := *e
	shown.Fields = map[string]string{}
	for name, message := range e.Fields {
		shown.Fields[ownName(name)] = message
	}
	return &shown
}

// Local tells whether absolute paths are allowed.
func (l *loader) Local() bool { return l.source.local != "" && l.env.Local }

// Read reads a file at an address, in a repository, or beside the makefile.
func (l *loader) Read(ctx context.Context, ref spec.Ref, maxBytes int64) ([]byte, spec.Ref, error) {
	switch {
	case ctx.Err() != nil:
		return nil, ref, context.Cause(ctx)
	case ref.URL != "":
		return l.page(ctx, ref, maxBytes)
	case ref.Git != "":
		text, err := l.committed(ref, maxBytes, func() (string, error) { return l.checkoutOf(ctx, ref) })
		return text, ref, err
	case l.repository != nil:
		own := spec.Ref{Git: l.source.Upstream().Key, Commit: l.repository.Content, Path: ref.Path}
		text, err := l.committed(own, maxBytes, func() (string, error) { return l.checkout(ctx) })
		return text, ref, err
	case l.Local():
		text, err := l.localFile(ref, maxBytes)
		return text, ref, err
	}
	return nil, ref, models.Errorf(models.NotFound, "%s is not beside the makefile.", ref).Because(models.ReasonNotFound)
}

// kept is a file in the cache, with what a server recognises it by.
type kept struct {
	URL      string `json:"url,omitempty"` // after redirects
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
	Text     []byte `json:"text"`
}

// maxKept is the size in bytes of the largest file that is kept in the cache.
const maxKept = 4 << 20

// page asks for an address; the server says when it is the one in the cache.
func (l *loader) page(ctx context.Context, ref spec.Ref, maxBytes int64) ([]byte, spec.Ref, error) {
	authorization := l.authorization(ref.URL)
	path := l.keptPath("page", ref.URL, authorization)
	ask := func() (kept, error) { return l.ask(ctx, ref.URL, authorization, path, maxBytes) }
	got, err := plugins.Ask(l.env.Answers, fmt.Sprintf("makefile page %s %d", path, maxBytes), ask)
	if err != nil {
		return nil, ref, err
	}
	return got.Text, spec.Ref{URL: got.URL}, nil
}

func (l *loader) ask(ctx context.Context, address, authorization, path string, maxBytes int64) (kept, error) {
	known, ok := readKept(path)
	header := http.Header{}
	if ok && known.ETag != "" {
		header.Set("If-None-Match", known.ETag)
	}
	if ok && known.Modified != "" {
		header.Set("If-Modified-Since", known.Modified)
	}
	if authorization != "" {
		header.Set("Authorization", authorization)
	}
	page, err := l.env.Egress.Fetch(ctx, address, maxBytes, header)
	if err != nil {
		return kept{}, err
	}
	if page.Status == http.StatusNotModified {
		if !ok || int64(len(known.Text)) > maxBytes {
			return kept{}, models.Errorf(models.Unavailable, "%s says that nothing changed without having been asked. Check the address.", hostOf(address)).Because(models.ReasonMalformed)
		}
		return known, nil
	}
	got := kept{URL: page.URL, Text: page.Body, ETag: short(page.Header.Get("Etag"), 300), Modified: short(page.Header.Get("Last-Modified"), 100)}
	if got.ETag+got.Modified != "" {
		writeKept(path, got)
	}
	return got, nil
}

func short(text string, limit int) string {
	if len(text) > limit {
		return ""
	}
	return text
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "The server"
	}
	return u.Host
}

// authorization is sent to the origin of the makefile itself only.
func (l *loader) authorization(address string) string {
	own, secret := l.source.url, l.source.login.authorization()
	if own == nil || secret == "" {
		return ""
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != own.Scheme || !strings.EqualFold(u.Host, own.Host) {
		return ""
	}
	return secret
}

// keptPath is a file of the cache; what one credential may read is kept from
// others.
func (l *loader) keptPath(parts ...string) string {
	sum := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return filepath.Join(l.env.Cache, "makefile", hex.EncodeToString(sum.Sum(nil)[:16])+".json")
}

// readKept gives nothing when the file is not there, or is damaged.
func readKept(path string) (kept, bool) {
	file, err := os.Open(path) //nolint:gosec // in our own cache
	if err != nil {
		return kept{}, false
	}
	defer func() { _ = file.Close() }()
	var k kept
	err = json.NewDecoder(io.LimitReader(file, 2*maxKept)).Decode(&k)
	return k, err == nil
}

// writeKept keeps a file; the cache may be lost, so failures do not matter.
func writeKept(path string, k kept) {
	if len(k.Text) > maxKept {
		return
	}
	data, err := json.Marshal(k)
	if err != nil {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // holds no secrets; its files do
		return
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return
	}
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
}

// committed reads a file of a commit: out of the cache, or of a checkout.
func (l *loader) committed(ref spec.Ref, maxBytes int64, checkout func() (string, error)) ([]byte, error) {
	path := l.keptPath("file", ref.Git, ref.Commit, ref.Path)
	if k, ok := readKept(path); ok && int64(len(k.Text)) <= maxBytes {
		return k.Text, nil
	}
	folder, err := checkout()
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open checkout: %w", err)
	}
	defer func() { _ = root.Close() }()
	file, err := root.Open(ref.Path)
	if err != nil {
		return nil, models.Wrapf(models.NotFound, err, "There is no file %s in the repository.", ref.Path).Because(models.ReasonNotFound)
	}
	text, err := readFile(file, ref, maxBytes)
	if err == nil {
		writeKept(path, kept{Text: text})
	}
	return text, err
}

// readFile reads a regular file and closes it.
func readFile(file *os.File, ref spec.Ref, maxBytes int64) ([]byte, error) {
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", ref, err)
	case !info.Mode().IsRegular():
		return nil, models.Errorf(models.Invalid, "%s is no file. Correct the path.", ref).Because(models.ReasonNotFound)
	case info.Size() > maxBytes:
		return nil, models.Errorf(models.Invalid, "%s is larger than the %d bytes that are accepted.", ref, maxBytes).Because(models.ReasonTooLarge)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxBytes))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ref, err)
	}
	return text, nil
}

// localFile reads a file of this machine for a person at its command line.
func (l *loader) localFile(ref spec.Ref, maxBytes int64) ([]byte, error) {
	path, err := filepath.EvalSymlinks("/" + ref.Path)
	if err != nil {
		return nil, models.Wrapf(models.NotFound, err, "There is no file /%s on this machine that Hefring can open.", ref.Path).Because(models.ReasonNotFound)
	}
	for _, f := range l.env.Forbidden {
		own, err := filepath.EvalSymlinks(f)
		if err != nil {
			own = filepath.Clean(f)
		}
		if path == own || strings.HasPrefix(path, own+"/") {
			return nil, models.Errorf(models.Invalid, "/%s is in a folder of Hefring itself. Use a file outside of its data.", ref.Path).Because(models.ReasonURL)
		}
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // pipes and devices block
		return nil, models.Errorf(models.Invalid, "/%s is no file. Correct the path.", ref.Path).Because(models.ReasonNotFound)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, models.Wrapf(models.Invalid, err, "Hefring may not read /%s.", ref.Path).Because(models.ReasonNotFound)
	}
	return readFile(file, ref, maxBytes)
}

// digests hashes what is taken from beside a local makefile. Elsewhere a commit
// or an address says what it is.
func (l *loader) digests(ctx context.Context, m *spec.Makefile) (map[string]string, error) {
	if !l.Local() {
		return nil, nil //nolint:nilnil // no files
	}
	found := map[string]string{}
	for _, d := range downloads(m) {
		if !beside(d) || found[d.Ref.Path] != "" {
			continue
		}
		digest, err := l.digest(ctx, d)
		if err != nil {
			return nil, err
		}
		found[d.Ref.Path] = digest
	}
	return found, nil
}

func (l *loader) digest(ctx context.Context, d *spec.Download) (string, error) {
	if d.Type != spec.DownloadCopy {
		text, err := l.localFile(d.Ref, maxLocal)
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(text)
		return hex.EncodeToString(sum[:]), nil
	}
	scanned, err := tree.Scan(ctx, "/"+d.Ref.Path, tree.Options{}, true)
	if errors.Is(err, fs.ErrNotExist) {
		return "", models.Wrapf(models.Invalid, err, "There is no folder /%s, which the makefile copies. Correct download[url].", d.Ref.Path).Because(models.ReasonNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("read folder %s: %w", d.Ref, err)
	}
	return scanned.Digest(), nil
}

// maxLocal is the size in bytes of the largest file beside a makefile.
const maxLocal = 256 << 20

func downloads(m *spec.Makefile) []*spec.Download {
	var list []*spec.Download
	for _, p := range m.Projects {
		list = append(list, p.Download)
	}
	for _, l := range m.Libraries {
		list = append(list, l.Download)
	}
	return list
}
