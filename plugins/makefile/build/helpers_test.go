package build_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hefring/internal/egress"
	"hefring/internal/gitserver"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/drupalorg"
	"hefring/plugins/makefile/build"
	"hefring/plugins/makefile/spec"
)

func TestMain(m *testing.M) {
	if code, ok := run.Bridge(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(runAll(m))
}

// repositories is a folder with those of the recorded builds, cloned once.
var repositories string

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "makefile-build-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	repositories = dir
	bundles, err := filepath.Glob("testdata/oracle-make/_git/*.bundle")
	if err != nil || len(bundles) == 0 {
		panic("no bundles of git repositories")
	}
	for _, bundle := range bundles {
		name := strings.TrimSuffix(filepath.Base(bundle), ".bundle")
		if out, err := exec.Command("git", "clone", "--quiet", "--mirror", bundle, filepath.Join(dir, name+".git")).CombinedOutput(); err != nil {
			panic(string(out))
		}
	}
	return m.Run()
}

// recorded is where the recorded builds of Drush thought their files were.
const recorded = "http://127.0.0.1:8099"

// world serves what the recorded builds are made of.
type world struct {
	web  *httptest.Server
	git  *httptest.Server
	root string // folder of the repositories
	www  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{root: repositories}
	www, err := filepath.Abs("testdata/oracle-make/_www")
	if err != nil {
		t.Fatal(err)
	}
	w.www = www
	w.web = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.web.Close)
	server, err := gitserver.New(w.root)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/project/", http.StripPrefix("/project", server))
	mux.Handle("/", server)
	w.git = httptest.NewServer(mux)
	t.Cleanup(w.git.Close)
	return w
}

// serve is a file server that gives its own address in what is text.
func (w *world) serve(out http.ResponseWriter, r *http.Request) {
	name := filepath.Join(w.www, filepath.FromSlash(strings.TrimPrefix(r.URL.Path, "/")))
	text, err := os.ReadFile(name)
	if err != nil || !strings.HasPrefix(name, w.www) {
		http.NotFound(out, r)
		return
	}
	if strings.Contains(r.URL.Path, "/files/") {
		_, _ = out.Write(text)
		return
	}
	_, _ = out.Write([]byte(w.here(string(text))))
}

// here turns recorded addresses into those of this world.
func (w *world) here(text string) string {
	return strings.NewReplacer(recorded, w.web.URL, "file://@GITROOT@", w.git.URL, "@WWW@", w.www).Replace(text)
}

// there is the way back.
func (w *world) there(text string) string {
	return strings.NewReplacer(w.web.URL, recorded, w.git.URL, "file://@GITROOT@", w.www, "@WWW@").Replace(text)
}

func command(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C", "TZ=UTC",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.org", "GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.org",
		"GIT_AUTHOR_DATE=2014-05-01T00:00:00Z", "GIT_COMMITTER_DATE=2014-05-01T00:00:00Z")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s %v: %v\n%s", name, args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// loader reads makefiles of the world. Paths begin at folder.
type loader struct {
	w      *world
	env    plugins.Env
	folder string
	local  bool
}

func (l loader) Local() bool { return l.local }

func (l loader) Read(ctx context.Context, ref spec.Ref, maxBytes int64) ([]byte, spec.Ref, error) {
	switch {
	case ref.URL != "":
		page, err := l.env.Egress.Fetch(ctx, ref.URL, maxBytes, nil)
		if err != nil {
			return nil, ref, err
		}
		return page.Body, ref, nil
	case ref.Git != "":
		cmd := exec.CommandContext(ctx, "git", "--git-dir="+l.w.gitDir(ref.Git), "cat-file", "blob", ref.Commit+":"+ref.Path)
		text, err := cmd.Output()
		if err != nil {
			return nil, ref, models.Wrapf(models.NotFound, err, "There is no %s.", ref)
		}
		return text, ref, nil
	}
	text, err := build.ReadFile(l.folder, ref.Path, maxBytes)
	return text, ref, err
}

func (w *world) gitDir(address string) string { return filepath.Join(w.root, filepath.Base(address)) }

// Commit follows Drush's precedence: refspec, tag, revision, branch, HEAD.
func (l loader) Commit(ctx context.Context, d spec.Download) (string, error) {
	name := "HEAD"
	switch {
	case d.Refspec != "":
		name = d.Refspec
	case d.Tag != "":
		name = "refs/tags/" + d.Tag
	case d.Revision != "":
		name = d.Revision
	case d.Branch != "":
		name = "refs/heads/" + d.Branch
	}
	cmd := exec.CommandContext(ctx, "git", "--git-dir="+l.w.gitDir(d.URL), "rev-parse", "--verify", "--quiet", name+"^{commit}")
	out, err := cmd.Output()
	if err != nil {
		return "", models.Wrapf(models.Invalid, err, "The repository %s has no %s.", d.URL, name)
	}
	return strings.TrimSpace(string(out)), nil
}

// resolve pins what a makefile leaves open, from the feeds of the world.
func (w *world) resolve(env plugins.Env) func(context.Context, spec.Loader, *spec.Makefile) error {
	return func(ctx context.Context, l spec.Loader, m *spec.Makefile) error {
		data, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(w.here(string(data))), m); err != nil { // makefiles in archives name the recorded addresses
			return err
		}
		for i := range m.Projects {
			p := &m.Projects[i]
			if p.Download == nil {
				if err := w.release(ctx, env, m, p); err != nil {
					return err
				}
				continue
			}
			if err := pin(ctx, l, p.Download); err != nil {
				return err
			}
		}
		for i := range m.Libraries {
			if err := pin(ctx, l, m.Libraries[i].Download); err != nil {
				return err
			}
		}
		return nil
	}
}

func pin(ctx context.Context, l spec.Loader, d *spec.Download) (err error) {
	if d.Type == spec.DownloadGit {
		d.Commit, err = l.Commit(ctx, *d)
	}
	return err
}

func (w *world) release(ctx context.Context, env plugins.Env, m *spec.Makefile, p *spec.Project) error {
	core := p.Core
	if core == "" {
		core = m.Core
	}
	got, err := drupalorg.Load(ctx, env, drupalorg.Address{Base: w.web.URL + "/release-history", Project: p.Name, API: core}, drupalorg.Validators{})
	if err != nil {
		return err
	}
	picked, err := got.Feed.PickDrush(core, p.Version)
	if err != nil {
		return err
	}
	kind := p.Type
	if kind == "" {
		kind = picked.Type
	}
	r := picked.Release
	p.Release = &spec.Release{Type: picked.Type, Version: r.Version, URL: r.Download, MD5: r.MD5, Date: r.Date}
	want := "profile-only"
	if kind == spec.TypeCore {
		want = "full"
	}
	if p.Variant != "" {
		want = p.Variant
	}
	for _, f := range r.Files {
		if f.Variant == want && strings.HasSuffix(f.URL, ".tar.gz") {
			p.Release.URL, p.Release.MD5, p.Release.Variant = f.URL, f.MD5, f.Variant
		}
	}
	return nil
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newEnv(t *testing.T) plugins.Env {
	t.Helper()
	config := run.Config{}
	if os.Geteuid() == 0 {
		id, err := run.LookupIdentity("www-data")
		if err != nil {
			t.Fatal(err)
		}
		config.Identity = id
	}
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(guard.Close)
	return plugins.Env{Run: run.New(config), Egress: guard, Log: &lines{}, Scratch: t.TempDir(), Cache: t.TempDir()}
}

// buildText builds a makefile that is given as text, with further files beside
// it.
func (w *world) buildText(t *testing.T, env plugins.Env, text string, files map[string]string, o build.Options) (dst string, made plugins.Made, err error) {
	t.Helper()
	folder := t.TempDir()
	write(t, folder, map[string]string{"site.make": w.here(text)})
	write(t, folder, files)
	l := loader{w: w, env: env, folder: folder}
	m, err := spec.Load(t.Context(), l, spec.Ref{Path: "site.make"})
	if err != nil {
		return "", made, err
	}
	resolve := w.resolve(env)
	if err := resolve(t.Context(), l, m); err != nil {
		return "", made, err
	}
	dst = t.TempDir()
	o.GitBase = w.git.URL + "/project"
	made, err = build.Build(t.Context(), env, build.Job{Makefile: m, Loader: l, Folder: folder, Resolve: resolve, Options: o}, dst)
	return dst, made, err
}

func write(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// contents gives the files of a tree, and its empty folders with a slash; what is
// in .git is left out.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			list, err := os.ReadDir(path)
			if err == nil && (len(list) == 0 || e.Name() == ".git") {
				found[rel+"/"] = ""
			}
			if e.Name() == ".git" {
				return fs.SkipDir
			}
			return err
		}
		if e.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			found[rel] = "-> " + to
			return err
		}
		text, err := os.ReadFile(path)
		found[rel] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if models.CodeOf(err) == "" {
		t.Fatalf("want an error for people, got %v", err)
	}
	for _, text := range texts {
		if !strings.Contains(models.Explain(err), text) {
			t.Errorf("want %q in %q", text, models.Explain(err))
		}
	}
}

func wantFile(t *testing.T, dir, name, want string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || string(text) != want {
		t.Errorf("%s holds %q, %v; want %q", name, text, err, want)
	}
}

func site(more string) string {
	return fmt.Sprintf("core = 7.x\napi = 2\nprojects[] = drupal\n%s\n", more)
}
