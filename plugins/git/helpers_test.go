package git_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hefring/internal/egress"
	"hefring/internal/gitserver"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git"
)

func TestMain(m *testing.M) {
	if code, ok := run.Bridge(os.Args); ok {
		os.Exit(code)
	}
	if url := os.Getenv(fullDiskEnv); url != "" {
		os.Exit(onFullDisk(url, os.Getenv(fullDiskFolderEnv)))
	}
	os.Exit(m.Run())
}

// upstream is a repository on a server, with a working copy to push from.
type upstream struct {
	t      *testing.T
	server *gitserver.Server
	http   *httptest.Server
	url    string
	// pushURL asks for no credentials.
	pushURL string
	work    string
}

// newUpstream serves the empty repository site.git; wrap, which may be nil,
// stands before the server.
func newUpstream(t *testing.T, wrap func(http.Handler) http.Handler) *upstream {
	t.Helper()
	server, err := gitserver.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Create("site", "main"); err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = server
	if wrap != nil {
		handler = wrap(handler)
	}
	u := &upstream{t: t, server: server, http: httptest.NewServer(handler), work: t.TempDir()}
	t.Cleanup(u.http.Close)
	u.url = u.http.URL + "/site.git"
	u.pushURL = u.url
	u.git("init", "-q", "-b", "main")
	return u
}

// beside makes another repository on the same server.
func (u *upstream) beside(name string) *upstream {
	u.t.Helper()
	if _, err := u.server.Create(name, "main"); err != nil {
		u.t.Fatal(err)
	}
	other := &upstream{t: u.t, server: u.server, http: u.http, work: u.t.TempDir()}
	other.url = u.http.URL + "/" + name + ".git"
	other.pushURL = other.url
	other.git("init", "-q", "-b", "main")
	return other
}

// submodule adds a commit of another repository at a path.
func (u *upstream) submodule(path, url, commit string) {
	u.t.Helper()
	u.git("config", "-f", ".gitmodules", "submodule."+path+".path", path)
	u.git("config", "-f", ".gitmodules", "submodule."+path+".url", url)
	u.git("add", ".gitmodules")
	u.git("update-index", "--add", "--cacheinfo", "160000,"+commit+","+path)
	u.git("commit", "-q", "-m", "add "+path)
}

// guarded serves the same repositories to those alone who have the token.
func (u *upstream) guarded(user, token string) string {
	u.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, ok := r.BasicAuth()
		if !ok || name != user || password != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="`+r.Header.Get("Authorization")+`"`)
			http.Error(w, "you sent "+r.Header.Get("Authorization")+" that is "+password, http.StatusUnauthorized)
			return
		}
		u.server.ServeHTTP(w, r)
	}))
	u.t.Cleanup(server.Close)
	return server.URL
}

func (u *upstream) git(args ...string) string {
	u.t.Helper()
	return gitIn(u.t, u.work, nil, args...)
}

func gitIn(t *testing.T, dir string, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.org", "GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.org")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// commit writes files, commits them and gives the commit.
func (u *upstream) commit(message string, files map[string]string) string {
	u.t.Helper()
	for name, text := range files {
		path := filepath.Join(u.work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			u.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			u.t.Fatal(err)
		}
	}
	u.git("add", "-A")
	u.git("commit", "-q", "--allow-empty", "-m", message)
	return u.git("rev-parse", "HEAD")
}

func (u *upstream) push(args ...string) {
	u.t.Helper()
	// Our server takes no request of unknown length.
	u.git(append([]string{"-c", "http.postBuffer=100000000", "push", "-q", u.pushURL}, args...)...)
}

func (u *upstream) publish(message string, files map[string]string) string {
	u.t.Helper()
	commit := u.commit(message, files)
	u.push("HEAD")
	return commit
}

// runner switches to an ordinary user, as the program does when it is root.
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

func guard(t *testing.T, allow ...string) *egress.Guard {
	t.Helper()
	var prefixes []netip.Prefix
	for _, text := range allow {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	g := egress.New(egress.Config{Allow: prefixes})
	t.Cleanup(g.Close)
	return g
}

// lines is a log that a test reads while it is written.
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
	return plugins.Env{
		Run: runner(t), Egress: guard(t, "127.0.0.0/8"), Log: &lines{},
		Scratch: t.TempDir(), Cache: t.TempDir(),
	}
}

func open(t *testing.T, settings models.Settings) plugins.Source {
	t.Helper()
	source, err := git.New().Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func check(t *testing.T, source plugins.Source, env plugins.Env) plugins.Version {
	t.Helper()
	v, err := source.Check(t.Context(), env, plugins.Version{})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return v
}

func build(t *testing.T, source plugins.Source, env plugins.Env, v plugins.Version) string {
	t.Helper()
	dst := t.TempDir()
	if _, err := source.Build(t.Context(), env, v, dst); err != nil {
		t.Fatalf("build: %v", err)
	}
	return dst
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantError checks that err is for people and says all of the texts.
func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if models.CodeOf(err) == "" {
		t.Errorf("want an error for people, got %v", err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(models.Explain(err), text) {
			t.Errorf("want %q in %q", text, models.Explain(err))
		}
	}
}

func wantReason(t *testing.T, err error, reason models.Reason) {
	t.Helper()
	if got := models.ReasonOf(err); got != reason {
		t.Errorf("reason %q instead of %q: %v", got, reason, err)
	}
}

// checkAfter checks with the version from before.
func checkAfter(t *testing.T, source plugins.Source, env plugins.Env, last plugins.Version) plugins.Version {
	t.Helper()
	v, err := source.Check(t.Context(), env, last)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return v
}

// wantHold checks that a person is asked, and that the version builds when that
// person agrees.
func wantHold(t *testing.T, v plugins.Version, reason models.Reason) {
	t.Helper()
	if v.Hold == nil || v.Hold.Reason != reason || v.Hold.Message == "" {
		t.Errorf("want a hold because of %s, got %+v", reason, v)
	}
}

// allowFilter makes the server leave out what is not wanted, as the large ones do.
func (u *upstream) allowFilter() {
	u.t.Helper()
	gitIn(u.t, u.server.Dir("site"), nil, "config", "uploadpack.allowFilter", "true")
}

func asError(err error) *models.Error {
	e, _ := errors.AsType[*models.Error](err)
	return e
}

// countingWriter counts what a server answers.
type countingWriter struct {
	http.ResponseWriter
	count *atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.count.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

// noise is text that nothing makes smaller.
func noise(t *testing.T, size int) string {
	t.Helper()
	text := make([]byte, size)
	if _, err := rand.Read(text); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
