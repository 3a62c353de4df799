package git_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git"
)

func TestSource_Submodules_Recursive(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	inner, part := u.beside("inner"), u.beside("part")
	deepest := inner.publish("inner", map[string]string{"deep": "3"})
	part.commit("part", map[string]string{"file": "2"})
	part.submodule("in ner", "./../inner.git", deepest)
	part.push("HEAD")
	partCommit := part.git("rev-parse", "HEAD")
	part.publish("later", map[string]string{"file": "later"})
	u.commit("top", map[string]string{"a": "1", "web/index.php": "x"})
	u.submodule("web/libraries/part", "../part.git", partCommit)
	u.submodule("vendor/part", part.url, partCommit)
	u.push("HEAD")
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "submodules": "1"})
	v := check(t, source, env)
	dst := t.TempDir()
	made, err := source.Build(t.Context(), env, v, dst)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a": "1", "web/libraries/part/file": "2", "web/libraries/part/in ner/deep": "3", "vendor/part/file": "2", "vendor/part/in ner/deep": "3",
	} {
		if got := read(t, dst, name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	if len(made.Sources) != 5 || made.Sources[0].Checksum != "git:"+v.Content || made.Sources[0].Name != "site" {
		t.Errorf("sources are %+v", made.Sources)
	}
	if got := read(t, build(t, source, env, v), "vendor/part/file"); got != "2" {
		t.Errorf("built %q again", got)
	}
	below := open(t, models.Settings{"url": u.url, "submodules": "1", "subdirectory": "web"})
	if got := read(t, build(t, below, env, check(t, below, env)), "libraries/part/file"); got != "2" {
		t.Errorf("below web: %q", got)
	}
}

func TestSource_Submodules_Hostile(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(internal.Close)
	port := internal.URL[strings.LastIndexByte(internal.URL, ':'):]
	for name, c := range map[string]struct{ url, says string }{
		"file":              {"file:///etc", "file: are not accepted"},
		"path":              {"/etc", "Paths on this machine"},
		"helper":            {"ext::sh%20-c", "helper"},
		"git":               {"git://example.org/x", "git: are not accepted"},
		"password":          {"https://a:b@example.org/x", "password"},
		"out of the server": {"../../../x.git", "leads out"},
		"out, hidden":       {"../x/../../../y.git", "leads out"},
		"blocked address":   {"http://10.1.2.3/x.git", "10.0.0.0/8"},
		"blocked name":      {"http://ip6-localhost" + port + "/x.git", ""},
		"metadata":          {"http://169.254.169.254/latest", "metadata"},
		"ssh without key":   {"git@example.org:team/x.git", "for which there is no key"},
		"not there":         {"../none.git", "no git repository"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, nil)
			first := u.commit("top", map[string]string{"a": "1"})
			u.submodule("part", c.url, first)
			u.push("HEAD")
			env, source := newEnv(t), open(t, models.Settings{"url": u.url, "submodules": "1"})
			v, err := source.Check(t.Context(), env, plugins.Version{})
			if err == nil { // git refuses the worst addresses when it fetches
				_, err = source.Build(t.Context(), env, v, t.TempDir())
				wantError(t, err, `submodule "part"`, c.says)
				wantReason(t, err, models.ReasonBuild)
			}
			wantError(t, err)
		})
	}
	if asked.Load() != 0 {
		t.Error("an internal server was asked")
	}
}

// Links of the tree lead no submodule out of it.
func TestSource_Submodules_BehindLink(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	part := u.beside("part")
	commit := part.publish("part", map[string]string{"file": "2"})
	outside := t.TempDir()
	blob := gitIn(t, u.work, []byte(outside), "hash-object", "-w", "--stdin")
	modules := gitIn(t, u.work, []byte("[submodule \"x\"]\n\tpath = link/part\n\turl = ../part.git\n"), "hash-object", "-w", "--stdin")
	sub := gitIn(t, u.work, []byte("160000 commit "+commit+"\tpart\n"), "mktree")
	id := gitIn(t, u.work, []byte("100644 blob "+modules+"\t.gitmodules\n120000 blob "+blob+"\tlink\n040000 tree "+sub+"\tlink\n"), "mktree")
	evil := u.git("commit-tree", "-m", "evil", id)
	u.push("--force", evil+":refs/heads/main")
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "submodules": "1"})
	v, err := source.Check(t.Context(), env, plugins.Version{})
	if err == nil {
		_, err = source.Build(t.Context(), env, v, t.TempDir())
	}
	if err == nil {
		t.Error("it was built")
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) > 0 {
		t.Errorf("outside is %v, %v", entries, err)
	}
}

func TestSource_Submodules_WithoutAddress(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	first := u.commit("top", map[string]string{"a": "1"})
	u.git("update-index", "--add", "--cacheinfo", "160000,"+first+",part")
	u.git("commit", "-q", "-m", "lost")
	u.push("HEAD")
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "submodules": "1"})
	_, err := source.Build(t.Context(), env, check(t, source, env), t.TempDir())
	wantError(t, err, `submodule "part" has no address`)
}

// A repository that is its own submodule, and parts that are small alone.
func TestSource_Submodules_Limits(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	commit := u.commit("top", map[string]string{"a": strings.Repeat("x", 400)})
	for range 12 {
		u.submodule("again", "../site.git", commit)
		commit = u.git("rev-parse", "HEAD")
		u.push("HEAD:refs/heads/main")
	}
	env := newEnv(t)
	source := open(t, models.Settings{"url": u.url, "submodules": "1"})
	_, err := source.Build(t.Context(), env, check(t, source, env), t.TempDir())
	wantError(t, err, "nested more than 10 deep")
	small, err := git.Plugin{Limits: tree.Options{Bytes: 1000}}.Open(models.Settings{"url": u.url, "submodules": "1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = small.Build(t.Context(), env, check(t, small, env), t.TempDir())
	wantError(t, err, "more than a platform may")
}

// Credentials go along to submodules on the same server, and to no other.
func TestSource_Submodules_Credentials(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	part := u.beside("part")
	commit := part.publish("part", map[string]string{"file": "2"})
	guarded := u.guarded("git", canary)
	var leaked atomic.Int64
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(strings.Join(r.Header["Authorization"], " "), "Basic") {
			leaked.Add(1)
		}
		u.server.ServeHTTP(w, r)
	}))
	t.Cleanup(foreign.Close)
	u.commit("top", map[string]string{"a": "1"})
	u.submodule("near", "../part.git", commit)
	u.submodule("far", foreign.URL+"/part.git", commit)
	u.push("HEAD")
	env := newEnv(t)
	source := open(t, models.Settings{"url": guarded + "/site.git", "auth": "token", "token": canary, "submodules": "1"})
	dst := build(t, source, env, check(t, source, env))
	if read(t, dst, "near/file") != "2" || read(t, dst, "far/file") != "2" {
		t.Error("a submodule is missing")
	}
	if leaked.Load() != 0 {
		t.Error("another server got the token")
	}
	wantNoCanary(t, env, plugins.Version{})
	if found, _ := filepath.Glob(filepath.Join(env.Cache, "git", "*", "HEAD")); len(found) < 3 {
		t.Errorf("the repositories share mirrors: %v", found)
	}
}

// Where submodules come from stands above the sub-directory, and counts.
func TestSource_Submodules_AddressChanges(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	part := u.beside("part")
	commit := part.publish("part", map[string]string{"file": "2"})
	u.commit("top", map[string]string{"web/a": "1"})
	u.submodule("web/part", "../none.git", commit)
	u.push("HEAD")
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "submodules": "1", "subdirectory": "web"})
	before := check(t, source, env)
	_, err := source.Build(t.Context(), env, before, t.TempDir())
	wantError(t, err, `submodule "web/part"`)
	u.git("config", "-f", ".gitmodules", "submodule.web/part.url", "../part.git")
	u.git("commit", "-q", "-m", "mended", ".gitmodules")
	u.push("HEAD")
	after := checkAfter(t, source, env, before)
	if after.Content == before.Content {
		t.Error("the content is the same")
	}
	if got := read(t, build(t, source, env, after), "part/file"); got != "2" {
		t.Errorf("built %q", got)
	}
}
