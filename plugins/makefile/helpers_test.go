package makefile_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
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
	"hefring/plugins/makefile"
)

func TestMain(m *testing.M) {
	if code, ok := run.Bridge(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

const oracles = "build/testdata/oracle-make"

// recorded is where the recorded builds of Drush thought their files were.
const recorded = "http://127.0.0.1:8099"

// world serves makefiles, what they name, and repositories.
type world struct {
	t    *testing.T
	web  *httptest.Server
	git  *httptest.Server
	www  string // absolute folder of the recorded files
	work string // working copies
	root string // folder of the repositories
	base string // address of the folder of the repositories, in makefiles

	mu    sync.Mutex
	pages map[string]string // path -> text, before the recorded files
	asked []string          // method, path and status, in the order of asking
	auth  map[string]string // path -> Authorization that came with it
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, pages: map[string]string{}, auth: map[string]string{}, work: t.TempDir()}
	www, err := filepath.Abs(oracles + "/_www")
	if err != nil {
		t.Fatal(err)
	}
	w.www = www
	w.web = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.web.Close)
	root := t.TempDir()
	bundles, err := filepath.Glob(oracles + "/_git/*.bundle")
	if err != nil || len(bundles) == 0 {
		t.Fatalf("no bundles: %v", err)
	}
	for _, bundle := range bundles {
		name := strings.TrimSuffix(filepath.Base(bundle), ".bundle")
		gitIn(t, "", "clone", "--quiet", "--mirror", bundle, filepath.Join(root, name+".git"))
	}
	server, err := gitserver.New(root)
	if err != nil {
		t.Fatal(err)
	}
	w.root = root
	mux := http.NewServeMux()
	mux.Handle("/project/", http.StripPrefix("/project", server))
	mux.Handle("/", server)
	w.git = httptest.NewServer(mux)
	t.Cleanup(w.git.Close)
	w.base = w.git.URL
	if _, err := server.Create("site", "main"); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) serve(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	text, ok := w.pages[r.URL.Path]
	w.auth[r.URL.Path] = r.Header.Get("Authorization")
	w.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/private/") {
		if user, token, _ := r.BasicAuth(); user != "reader" || token != secret {
			w.note(r, http.StatusUnauthorized)
			http.Error(out, "who are you?", http.StatusUnauthorized)
			return
		}
	}
	if !ok {
		data, err := os.ReadFile(filepath.Join(w.www, filepath.FromSlash(r.URL.Path)))
		if err != nil {
			w.note(r, http.StatusNotFound)
			http.NotFound(out, r)
			return
		}
		text = string(data)
	}
	if !strings.Contains(r.URL.Path, "/files/") {
		text = w.here(text)
	}
	sum := md5.Sum([]byte(text))
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	out.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.note(r, http.StatusNotModified)
		out.WriteHeader(http.StatusNotModified)
		return
	}
	w.note(r, http.StatusOK)
	_, _ = out.Write([]byte(text))
}

func (w *world) note(r *http.Request, status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, fmt.Sprintf("%s %d", r.URL.Path, status))
}

// requests gives what was asked since the last call.
func (w *world) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

func (w *world) put(path, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[path] = text
}

// here turns recorded addresses into those of this world.
func (w *world) here(text string) string {
	return strings.NewReplacer(recorded, w.web.URL, "file://@GITROOT@", w.base, "@WWW@", w.www).Replace(text)
}

// there is the way back.
func (w *world) there(text string) string {
	return strings.NewReplacer(w.web.URL, recorded, w.base, "file://@GITROOT@", w.www, "@WWW@").Replace(text)
}

// byFile has makefiles name the repositories with file:// addresses.
func (w *world) byFile() {
	w.t.Helper()
	w.base = "file://" + w.root
	if err := os.Symlink(w.root, filepath.Join(w.root, "project")); err != nil {
		w.t.Fatal(err)
	}
}

func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.org", "GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.org")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// publish commits files to a branch of a repository and gives the commit.
func (w *world) publish(repository, branch string, files map[string]string) string {
	w.t.Helper()
	dir := filepath.Join(w.work, repository)
	if _, err := os.Stat(dir); err != nil {
		gitIn(w.t, "", "clone", "--quiet", w.git.URL+"/"+repository+".git", dir)
		gitIn(w.t, dir, "checkout", "--quiet", "-B", branch)
	}
	for name, text := range files {
		write(w.t, filepath.Join(dir, name), w.here(text))
	}
	gitIn(w.t, dir, "add", "-A")
	gitIn(w.t, dir, "commit", "--quiet", "--allow-empty", "-m", "change")
	gitIn(w.t, dir, "push", "--quiet", "origin", branch)
	return gitIn(w.t, dir, "rev-parse", "HEAD")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func runner(t *testing.T) *run.Runner {
	t.Helper()
	if os.Geteuid() != 0 {
		return run.New(run.Config{})
	}
	id, err := run.LookupIdentity("www-data")
	if err != nil {
		t.Fatal(err)
	}
	return run.New(run.Config{Identity: id})
}

func guard(t *testing.T) *egress.Guard {
	t.Helper()
	g := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(g.Close)
	return g
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
	return plugins.Env{Run: runner(t), Egress: guard(t), Log: &lines{}, Scratch: t.TempDir(), Cache: t.TempDir()}
}

// settings are those of a makefile of the world.
func (w *world) settings(more models.Settings) models.Settings {
	s := models.Settings{"url": w.web.URL + "/site.make", "location": w.web.URL + "/release-history", "git_base": w.base + "/project"}
	maps.Copy(s, more)
	return s
}

func open(t *testing.T, settings models.Settings) plugins.Source {
	t.Helper()
	source, err := makefile.New().Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func check(t *testing.T, source plugins.Source, env plugins.Env, last plugins.Version) plugins.Version {
	t.Helper()
	v, err := source.Check(t.Context(), env, last)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return v
}

func build(t *testing.T, source plugins.Source, env plugins.Env, v plugins.Version) (string, plugins.Made) {
	t.Helper()
	dst := t.TempDir()
	made, err := source.Build(t.Context(), env, v, dst)
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	return dst, made
}

func wantError(t *testing.T, err error, reason models.Reason, texts ...string) {
	t.Helper()
	if models.CodeOf(err) == "" {
		t.Fatalf("want an error for people, got %v", err)
	}
	if got := models.ReasonOf(err); got != reason {
		t.Errorf("reason %q, want %q: %v", got, reason, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("want %q in %q", text, err)
		}
	}
}

const head = "core = 7.x\napi = 2\n"

func guardOfNothing(t *testing.T) *egress.Guard {
	t.Helper()
	g := egress.New(egress.Config{})
	t.Cleanup(g.Close)
	return g
}
