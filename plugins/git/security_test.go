package git_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git"
)

// No address leads git to another transport, an option or a file.
func TestPlugin_Open_HostileAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"--upload-pack=touch /tmp/x", "-oProxyCommand=touch", "ext::sh -c touch", "ext::sh", "fd::17", "file:///etc", "/etc", "./x", "~/x",
		"git://example.org/x", "ftp://example.org/x", "ftps://example.org/x", "rsync://example.org/x", "git+ssh://example.org/x",
		"https:///etc/passwd", "https://", "ssh://-oProxyCommand=touch/x", "ssh://git@-oProxyCommand=touch/x", "-x@example.org:y",
		"git@-oProxyCommand=touch:x", "https://example.org/x\n--y", "https://user:secret@example.org/x", "https://example.org/../x",
		"https://example.org/x?service=y", "https://example.org/x#y", "git@example.org:-x",
	} {
		if _, err := git.New().Open(models.Settings{"url": address}); asError(err) == nil || asError(err).Fields["url"] == "" {
			t.Errorf("%q was not refused: %v", address, err)
		}
	}
}

// What the operator's account is set up to do with git does not matter.
func TestSource_Check_IgnoresAmbientConfiguration(t *testing.T) {
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"a": "1"})
	home := t.TempDir()
	config := "[url \"http://127.0.0.1:1/\"]\n\tinsteadOf = http://\n[core]\n\thooksPath = /nonexistent\n\tfsmonitor = touch " + home + "/pwned\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": home, "GIT_CONFIG_GLOBAL": filepath.Join(home, ".gitconfig"), "GIT_DIR": home, "GIT_WORK_TREE": home,
		"GIT_SSH_COMMAND": "touch " + home + "/pwned", "GIT_ASKPASS": "/bin/false", "GIT_PROXY_COMMAND": "false", "GIT_ALTERNATE_OBJECT_DIRECTORIES": home,
		"http_proxy": "http://127.0.0.1:1", "GIT_TRACE": home + "/trace", "GIT_EXEC_PATH": home,
	} {
		t.Setenv(name, value)
	}
	env, source := newEnv(t), open(t, models.Settings{"url": u.url + "", "ref_kind": "ref", "ref": "refs/heads/main"})
	if got := read(t, build(t, source, env, check(t, source, env)), "a"); got != "1" {
		t.Errorf("built %q", got)
	}
	for _, name := range []string{"pwned", "trace"} {
		if _, err := os.Lstat(filepath.Join(home, name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

// A repository inside of a repository is only files.
func TestSource_Build_NestedBareRepository(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	pwned := filepath.Join(t.TempDir(), "pwned")
	evil := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tfsmonitor = touch " + pwned + "\n\thooksPath = hooks\n[filter \"evil\"]\n\tsmudge = touch " + pwned + "\n"
	u.publish("nested", map[string]string{
		"HEAD": "ref: refs/heads/main\n", "config": evil, "objects/x": "", "refs/x": "", "hooks/post-checkout": "#!/bin/sh\ntouch " + pwned + "\n",
		".gitattributes": "* filter=evil\n", "a": "1",
	})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "submodules": "1"})
	dst := build(t, source, env, check(t, source, env))
	if read(t, dst, "config") != evil || read(t, dst, "a") != "1" {
		t.Error("the files are others")
	}
	if _, err := os.Lstat(pwned); err == nil {
		t.Error("something of the repository ran")
	}
}

// CVE-2025-48384: git submodule wrote a path that ends in a carriage return to
// its configuration and read another.
func TestSource_Submodules_CarriageReturn(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	part := u.beside("part")
	commit := part.publish("part", map[string]string{"post-checkout": "#!/bin/sh\n"})
	u.commit("top", map[string]string{"a": "1"})
	u.submodule("sub\r", "../part.git", commit)
	u.push("HEAD")
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "submodules": "1"})
	v, err := source.Check(t.Context(), env, plugins.Version{})
	if err != nil {
		wantError(t, err)
		return
	}
	dst := t.TempDir()
	if _, err := source.Build(t.Context(), env, v, dst); err != nil {
		wantError(t, err)
		return
	}
	if _, err := os.Lstat(filepath.Join(dst, "sub")); err == nil {
		t.Error("another path was written")
	}
	if read(t, dst, "sub\r/post-checkout") == "" {
		t.Error("the submodule is empty")
	}
}

// The files of a .git folder come into no build, however they are spelt.
func TestSource_Build_DotGitInTree(t *testing.T) {
	t.Parallel()
	for _, name := range []string{".git", ".GIT", "git~1", ".gi\u200ct"} {
		u := newUpstream(t, nil)
		u.publish("root", map[string]string{"a": "1"})
		blob := gitIn(t, u.work, []byte("[core]\n\tfsmonitor = touch x\n"), "hash-object", "-w", "--stdin")
		inner := gitIn(t, u.work, []byte("100644 blob "+blob+"\tconfig\n"), "mktree")
		id := gitIn(t, u.work, []byte("040000 tree "+inner+"\t"+name+"\n"), "mktree")
		evil := u.git("commit-tree", "-m", "evil", id)
		u.push("--force", evil+":refs/heads/main")
		env, source := newEnv(t), open(t, models.Settings{"url": u.url})
		v, err := source.Check(t.Context(), env, plugins.Version{})
		dst := t.TempDir()
		if err == nil {
			_, err = source.Build(t.Context(), env, v, dst)
		}
		if err == nil {
			t.Errorf("%q was built", name)
		}
		if found, _ := filepath.Glob(filepath.Join(dst, "*", "config")); len(found) > 0 {
			t.Errorf("%q was written: %v", name, found)
		}
		if err != nil && strings.Contains(models.Explain(err), "inside Hefring") {
			t.Errorf("%q: not for people: %v", name, err)
		}
	}
}

// A server of plain files may name others that have more objects.
func TestSource_Check_ForeignAlternates(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	commit := u.publish("first", map[string]string{"a": "1"})
	var asked atomic.Int64
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(internal.Close)
	gitIn(t, u.server.Dir("site"), nil, "update-server-info")
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "alternates"):
			_, _ = w.Write([]byte(internal.URL + "/objects\n"))
		case strings.HasSuffix(r.URL.Path, "/info/refs"), strings.HasSuffix(r.URL.Path, "/HEAD"):
			http.FileServer(http.Dir(filepath.Dir(u.server.Dir("site")))).ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(files.Close)
	env, source := newEnv(t), open(t, models.Settings{"url": files.URL + "/site.git", "branch": "main"})
	_, err := source.Check(t.Context(), env, plugins.Version{})
	wantError(t, err)
	_, err = source.Build(t.Context(), env, plugins.Version{Revision: "git:refs/heads/main@sha1:" + commit, Content: commit}, t.TempDir())
	wantError(t, err)
	if asked.Load() != 0 {
		t.Error("another server was asked")
	}
}

// A server may speak version 2 to us and hand out plain files to git.
func TestSource_Check_TwoFacedServer(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.allowFilter()
	u.publish("first", map[string]string{"web/a": "1"})
	gitIn(t, u.server.Dir("site"), nil, "update-server-info")
	var dumb atomic.Bool
	files := http.FileServer(http.Dir(filepath.Dir(u.server.Dir("site"))))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if dumb.Load() && r.UserAgent() != "git/2.0 (Hefring)" {
			files.ServeHTTP(w, r)
			return
		}
		u.server.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	env, source := newEnv(t), open(t, models.Settings{"url": server.URL + "/site.git", "subdirectory": "web"})
	before := check(t, source, env)
	dumb.Store(true)
	u.publish("second", map[string]string{"web/a": "2"})
	gitIn(t, u.server.Dir("site"), nil, "update-server-info")
	start := time.Now()
	if _, err := source.Check(t.Context(), env, before); err != nil {
		wantError(t, err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}
