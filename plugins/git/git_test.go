package git_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git"
	"hefring/plugins/plugintest"
)

func TestPlugin_Suite(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"drupal/web/index.php": "<?php\n", "README": "x"})
	plugintest.Exercise(t, plugintest.Harness{
		Plugin:    git.New(),
		Settings:  models.Settings{"url": u.url, "branch": "main", "subdirectory": "drupal", "docroot": "web"},
		Elsewhere: models.Settings{"url": "https://nowhere.example/none.git"},
		Wrong: map[string][]string{
			"url": {
				"git://example.org/x.git", "ftp://example.org/x.git", "fd::17/foo", "https:///x.git", "https://example.org",
				"https://user:secret@example.org/x.git", "../x", "http://example.org/x?service=y", "ssh://example.org/x.git",
			},
			"ref":           {"main", "refs", "refs/", "refs/main", "refs/heads/a..b", "refs/heads/a:b", "HEAD", "refs/heads/-x"},
			"commit":        {"abc", "HEAD", strings.Repeat("g", 40), strings.Repeat("a", 41), strings.Repeat("a", 39)},
			"tag":           {"a..b", "a b", "v1:v2", "a/-b"},
			"tag_pattern":   {"[", "v[0-", "/(/", "/a(?!b)/", "a b*", "a..b*", "/"},
			"version_range": {"x y", "^", ">=", "1.2 ||", "^10.x", "2024-09-22", "1..2", "nonsense", "^1 | | ^2"},
			"tag_prefix":    {"a..b", "a b", "/(/"},
			"user":          {"a:b"},
			"ssh_key":       {"nonsense", "ssh-ed25519 AAAA", "PuTTY-User-Key-File-2: ssh-rsa"},
			"known_hosts":   {"nonsense", "# nothing", "ssh-ed25519 AAAA"},
			"trusted_keys":  {"nonsense", "# nothing", "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----BEGIN OPENSSH PRIVATE KEY-----"},
			"branch":        {"a..b", "a b", "a~1", "a^", "a:b", "a.lock", "/a", "a/", "a//b", ".a", "a/-b", "@", "a@{1}", "a.", "a*", "a[b", `a\b`},
		},
		Untouched: []string{u.server.Dir("site"), u.work},
		Run:       runner(t), Egress: guard(t, "127.0.0.0/8"),
	})
}

func TestPlugin_Open_CredentialsFitAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings models.Settings
		field    string
	}{
		"ssh without key":    {models.Settings{"url": "git@example.org:team/site.git"}, "auth"},
		"ssh with token":     {models.Settings{"url": "ssh://git@example.org/site.git", "auth": "token", "token": "x"}, "auth"},
		"https with key":     {models.Settings{"url": "https://example.org/site.git", "auth": "key", "ssh_key": "x", "known_hosts": "x"}, "auth"},
		"token in the clear": {models.Settings{"url": "http://example.org/site.git", "auth": "token", "token": "x"}, "url"},
		"no token":           {models.Settings{"url": "https://example.org/site.git", "auth": "token"}, "token"},
		"no key":             {models.Settings{"url": "git@example.org:site.git", "auth": "key"}, "ssh_key"},
		"tag of a branch":    {models.Settings{"url": "https://example.org/site.git", "verify": "tag", "trusted_keys": sshPublic}, "verify"},
	} {
		_, err := git.New().Open(c.settings)
		var e *models.Error
		if !errors.As(err, &e) || e.Fields[c.field] == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const sshPublic = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJC2cVYkhKyLyJ5PzEGkGPq3nmYH5EeFS7kpXTkNTp8r somebody"

func TestSource_Check_DefaultBranch(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	first := u.publish("Add the \x1b[31mfirst\x1b[0m page\n\nbody", map[string]string{"a": "1"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url})
	v := check(t, source, env)
	if v.Revision != "git:refs/heads/main@sha1:"+first || v.Content != first || v.Label != first[:7] || v.Note != "Add the first page" || v.Hold != nil {
		t.Errorf("got %+v", v)
	}

	u.git("checkout", "-q", "-b", "next/10")
	second := u.publish("second", map[string]string{"a": "2"})
	if again := check(t, source, env); !again.Same(v) {
		t.Errorf("a push to another branch gave %+v", again)
	}
	if err := u.server.SetDefault("site", "next/10"); err != nil {
		t.Fatal(err)
	}
	if v := check(t, source, env); v.Revision != "git:refs/heads/next/10@sha1:"+second {
		t.Errorf("after the default branch changed: %+v", v)
	}
}

func TestSource_Check_BranchAndTagOfOneName(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("tagged", map[string]string{"a": "1"})
	u.git("tag", "release")
	u.push("refs/tags/release")
	u.git("checkout", "-q", "-b", "feature/release")
	u.publish("decoy", map[string]string{"a": "decoy"})
	u.git("checkout", "-q", "-b", "other", "main")
	commit := u.commit("branch", map[string]string{"a": "2"})
	u.push("HEAD:refs/heads/release")
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "branch": "release"})
	v := check(t, source, env)
	if v.Revision != "git:refs/heads/release@sha1:"+commit {
		t.Errorf("got %+v", v)
	}
	if got := read(t, build(t, source, env, v), "a"); got != "2" {
		t.Errorf("built %q", got)
	}
}

func TestSource_Check_Subdirectory(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"sites/main/web/index.php": "1", "docs/x": "1"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "subdirectory": "sites/main/"})
	first := check(t, source, env)
	u.publish("docs only", map[string]string{"docs/x": "2"})
	second := check(t, source, env)
	if first.Content != second.Content || first.Revision == second.Revision {
		t.Errorf("another folder's commit: %+v, then %+v", first, second)
	}
	u.publish("code", map[string]string{"sites/main/web/index.php": "2"})
	third := check(t, source, env)
	if third.Content == second.Content {
		t.Error("a commit to the sub-directory left the content as it was")
	}
	dst := build(t, source, env, third)
	if got := read(t, dst, "web/index.php"); got != "2" {
		t.Errorf("built %q", got)
	}
	if _, err := os.Lstat(filepath.Join(dst, "docs")); err == nil {
		t.Error("the build holds more than the sub-directory")
	}
	if got := read(t, build(t, source, env, first), "web/index.php"); got != "1" {
		t.Errorf("the older version built %q", got)
	}
}

func TestSource_Check_MissingBranchOffersNearOnes(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("x", map[string]string{"a": "1"})
	for _, name := range []string{"develop", "production", "release/10", "release/11", "zzz", "quite-another", "stage"} {
		u.push("HEAD:refs/heads/" + name)
	}
	_, err := open(t, models.Settings{"url": u.url, "branch": "developp"}).Check(t.Context(), newEnv(t), plugins.Version{})
	wantError(t, err, `no branch "developp"`, "there are develop", "and 3 more")
	var e *models.Error
	if !errors.As(err, &e) || e.Fields["branch"] == "" {
		t.Errorf("the message is not at the field: %v", err)
	}
}

func TestSource_Check_MissingSubdirectory(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("x", map[string]string{"web/a": "1", "docs/a": "1", "file": "1"})
	for _, folder := range []string{"wep", "file", "web/none"} {
		_, err := open(t, models.Settings{"url": u.url, "subdirectory": folder}).Check(t.Context(), newEnv(t), plugins.Version{})
		wantError(t, err, fmt.Sprintf("no folder %q", folder), "web", "docs")
	}
}

func TestSource_Check_EmptyRepository(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	for _, branch := range []string{"", "main"} {
		_, err := open(t, models.Settings{"url": u.url, "branch": branch}).Check(t.Context(), newEnv(t), plugins.Version{})
		wantError(t, err, "repository is empty", "Push a first commit")
	}
}

func TestSource_Check_DefaultBranchMissing(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("x", map[string]string{"a": "1"})
	if err := u.server.SetDefault("site", "gone"); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, models.Settings{"url": u.url}).Check(t.Context(), newEnv(t), plugins.Version{})
	wantError(t, err, "default branch does not exist", "there is main")
}

func TestSource_Check_BadServers(t *testing.T) {
	t.Parallel()
	answer := func(handler http.HandlerFunc) string {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return server.URL + "/x.git"
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + closed.Addr().String() + "/x.git"
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	var inner atomic.Int64
	internal := answer(func(http.ResponseWriter, *http.Request) { inner.Add(1) })
	for _, c := range map[string]struct {
		url    string
		want   []string
		reason models.Reason
	}{
		"refused":   {refused, []string{"127.0.0.1", "refuses connections"}, models.ReasonUnreachable},
		"not found": {answer(http.NotFound), []string{"no git repository", "127.0.0.1"}, models.ReasonNotFound},
		"html": {answer(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>\n<body>hello</body>\n</html>\n"))
		}), []string{"not a git repository"}, models.ReasonMalformed},
		"wants login": {answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
		}), []string{"wants credentials"}, models.ReasonAuthentication},
		"forbidden":    {answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }), []string{"wants credentials"}, models.ReasonAuthentication},
		"broken":       {answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }), []string{"error of its own"}, models.ReasonUnreachable},
		"too often":    {answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }), []string{"fewer requests"}, models.ReasonRateLimited},
		"redirect":     {answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, internal, http.StatusFound) }), []string{"sends this address on"}, models.ReasonURL},
		"hangs up":     {answer(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), []string{"could not be reached"}, models.ReasonUnreachable},
		"unknown host": {"http://nowhere.invalid/x.git", []string{"nowhere.invalid"}, models.ReasonDNS},
	} {
		_, err := open(t, models.Settings{"url": c.url}).Check(t.Context(), newEnv(t), plugins.Version{})
		wantError(t, err, c.want...)
		wantReason(t, err, c.reason)
	}
	if inner.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

func TestSource_Check_SilentServer(t *testing.T) {
	t.Parallel()
	silence := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silence }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(silence) })
	source, err := git.Plugin{Answer: 2 * time.Second}.Open(models.Settings{"url": server.URL + "/x.git"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Check(t.Context(), newEnv(t), plugins.Version{})
	wantError(t, err, "127.0.0.1 did not answer in time")
}

// A server may call its default branch what no person could type.
func TestSource_Check_HostileDefaultBranch(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	commit := u.publish("first", map[string]string{"a": "1"})
	const name = "--upload-pack=touch pwned"
	ref := filepath.Join(u.server.Dir("site"), "refs/heads", name)
	if err := os.WriteFile(ref, []byte(commit+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := u.server.SetDefault("site", name); err != nil {
		t.Fatal(err)
	}
	env, source := newEnv(t), open(t, models.Settings{"url": u.url})
	v, err := source.Check(t.Context(), env, plugins.Version{})
	if err != nil {
		wantError(t, err) // git may refuse the name first
		return
	}
	if strings.Contains(v.Revision, "upload-pack") {
		t.Errorf("the name was taken over: %+v", v)
	}
	build(t, source, env, v)
}

func TestSource_Check_BlockedAddress(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("x", map[string]string{"a": "1"})
	env := newEnv(t)
	env.Egress = guard(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(u.http.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "169.254.169.254"} {
		_, err := open(t, models.Settings{"url": "http://" + net.JoinHostPort(strings.Trim(host, "[]"), port) + "/site.git"}).Check(t.Context(), env, plugins.Version{})
		wantError(t, err)
		if models.CodeOf(err) == models.Unavailable {
			t.Errorf("%s: not told as blocked: %v", host, err)
		}
	}
}

func TestSource_Build_RecordedCommit(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"a": "1"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url})
	v := check(t, source, env)
	u.publish("second", map[string]string{"a": "2"})
	dst := build(t, source, env, v)
	if got := read(t, dst, "a"); got != "1" {
		t.Errorf("built %q with the cache", got)
	}
	if _, err := os.Lstat(filepath.Join(dst, ".git")); err == nil {
		t.Error("the build holds .git")
	}
	if got := read(t, build(t, source, newEnv(t), v), "a"); got != "1" {
		t.Errorf("built %q without a cache", got)
	}
}

// A server that speaks only the first protocol hands out nothing but the tips of
// its branches.
func TestSource_Build_RecordedCommitFromStrictServer(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Git-Protocol")
			next.ServeHTTP(w, r)
		})
	})
	first := u.publish("first", map[string]string{"a": "1"})
	source := open(t, models.Settings{"url": u.url})
	v := check(t, source, newEnv(t))
	u.publish("second", map[string]string{"a": "2"})
	u.publish("third", map[string]string{"a": "3"})
	if got := read(t, build(t, source, newEnv(t), v), "a"); got != "1" {
		t.Errorf("built %q", got)
	}

	u.git("checkout", "-q", "--orphan", "fresh")
	u.commit("rewritten", map[string]string{"a": "4"})
	u.push("--force", "HEAD:refs/heads/main")
	_, err := source.Build(t.Context(), newEnv(t), v, t.TempDir())
	wantError(t, err, "Commit "+first[:7]+" is no longer in the repository", "Check again")
}

func TestSource_Build_PlainFileServer(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	first := u.publish("first", map[string]string{"a": "1"})
	gitIn(t, u.server.Dir("site"), nil, "update-server-info")
	files := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(u.server.Dir("site")))))
	t.Cleanup(files.Close)
	env, source := newEnv(t), open(t, models.Settings{"url": files.URL + "/site.git", "branch": "main"})
	v := check(t, source, env)
	if v.Content != first {
		t.Errorf("got %+v", v)
	}
	if got := read(t, build(t, source, env, v), "a"); got != "1" {
		t.Errorf("built %q", got)
	}
}

func TestSource_Build_RefusesHostileRepositories(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(u *upstream)
		want  string
	}{
		"link to a secret": {func(u *upstream) { link(u, "/etc/passwd", "secret") }, "leads out of the tree"},
		"link upwards":     {func(u *upstream) { link(u, "../../../../etc", "up") }, "leads out of the tree"},
		"link through a link": {func(u *upstream) {
			u.commit("x", map[string]string{"d/file": "x"})
			link(u, "..", "d/up")
			link(u, "d/up/../..", "out")
		}, "leads out of the tree"},
		"LFS pointer": {func(u *upstream) {
			u.commit("x", map[string]string{"big.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 5\n"})
		}, "kept in Git LFS"},
		"large file": {func(u *upstream) { u.commit("x", map[string]string{"large": strings.Repeat("x", 200_000)}) }, "more than a platform may"},
		"many files": {func(u *upstream) {
			files := map[string]string{}
			for i := range 120 {
				files[fmt.Sprintf("many/%d", i)] = "x"
			}
			u.commit("x", files)
		}, "more than a platform may"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, nil)
			u.commit("x", map[string]string{"index.php": "<?php\n"})
			c.spoil(u)
			u.push("HEAD")
			env := newEnv(t)
			source, err := git.Plugin{Limits: tree.Options{Files: 100, Bytes: 100_000}}.Open(models.Settings{"url": u.url})
			if err != nil {
				t.Fatal(err)
			}
			_, err = source.Build(t.Context(), env, check(t, source, env), t.TempDir())
			wantError(t, err, c.want)
		})
	}
}

func link(u *upstream, target, name string) {
	u.t.Helper()
	if err := os.Symlink(target, filepath.Join(u.work, name)); err != nil {
		u.t.Fatal(err)
	}
	u.git("add", "-A")
	u.git("commit", "-q", "-m", "link")
}

// tree bomb: ten levels of ten times the same folder are ten thousand million
// files in a repository of a few kilobytes.
func TestSource_Build_TreeBomb(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	blob := gitIn(t, u.work, []byte("x"), "hash-object", "-w", "--stdin")
	kind, id := "100644 blob", blob
	for range 10 {
		var listing strings.Builder
		for i := range 10 {
			fmt.Fprintf(&listing, "%s %s\tf%d\n", kind, id, i)
		}
		id = gitIn(t, u.work, []byte(listing.String()), "mktree")
		kind = "040000 tree"
	}
	commit := u.git("commit-tree", "-m", "bomb", id)
	u.push(commit + ":refs/heads/main")
	env, source := newEnv(t), open(t, models.Settings{"url": u.url})
	_, err := source.Build(t.Context(), env, check(t, source, env), t.TempDir())
	wantError(t, err, "more than a platform may")
}

func TestSource_Build_HostileGitmodules(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.commit("x", map[string]string{"a": "1", ".gitmodules": "[submodule \"x\"]\n\tpath = x\n\turl = --upload-pack=touch${IFS}pwned\n"})
	u.push("HEAD")
	_, err := open(t, models.Settings{"url": u.url}).Check(t.Context(), newEnv(t), plugins.Version{})
	wantError(t, err, "malformed or dangerous")
}

func TestSource_Build_LeavesSubmodulesOut(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	first := u.commit("x", map[string]string{"a": "1", ".gitmodules": "[submodule \"part\"]\n\tpath = part\n\turl = https://example.org/part.git\n"})
	u.git("update-index", "--add", "--cacheinfo", "160000,"+first+",part")
	u.git("commit", "-q", "-m", "module")
	u.push("HEAD")
	env, source := newEnv(t), open(t, models.Settings{"url": u.url})
	build(t, source, env, check(t, source, env))
	if text := env.Log.(*lines).String(); !strings.Contains(text, "submodules are not fetched: part") {
		t.Errorf("the log does not tell: %s", text)
	}
}

func TestSource_Build_HooksAndFiltersDoNotRun(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("x", map[string]string{"a": "1", ".gitattributes": "* filter=evil\n*.txt text eol=crlf\n", "b.txt": "x\n"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url})
	v := check(t, source, env)
	// A hostile server cannot write here; a broken-into cache could.
	mirror := onlyMirror(t, env)
	hook := filepath.Join(mirror, "hooks", "reference-transaction")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\ntouch "+mirror+"/pwned\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	dst := build(t, source, env, v)
	if _, err := os.Lstat(filepath.Join(mirror, "pwned")); err == nil {
		t.Error("a hook ran")
	}
	if got := read(t, dst, "b.txt"); got != "x\r\n" {
		t.Errorf("the repository's own attributes were not applied: %q", got)
	}
}

func onlyMirror(t *testing.T, env plugins.Env) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(env.Cache, "git", "*", "HEAD"))
	if err != nil || len(found) != 1 {
		t.Fatalf("mirrors: %v %v", found, err)
	}
	return filepath.Dir(found[0])
}

func TestSource_Build_RepairsDamagedMirror(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(mirror string) error{
		"pack cut short": func(mirror string) error {
			packs, err := filepath.Glob(filepath.Join(mirror, "objects/pack/*.pack"))
			if err != nil || len(packs) == 0 {
				return errors.New("no pack")
			}
			return errors.Join(os.Chmod(packs[0], 0o600), os.Truncate(packs[0], 20))
		},
		"index of pack gone": func(mirror string) error {
			found, err := filepath.Glob(filepath.Join(mirror, "objects/pack/*.idx"))
			if err != nil || len(found) == 0 {
				return errors.New("no index")
			}
			return os.Remove(found[0])
		},
		"config is noise": func(mirror string) error {
			return os.WriteFile(filepath.Join(mirror, "config"), []byte("\x00[["), 0o644)
		},
		"HEAD gone":    func(mirror string) error { return os.Remove(filepath.Join(mirror, "HEAD")) },
		"objects gone": func(mirror string) error { return os.RemoveAll(filepath.Join(mirror, "objects")) },
		"shallow is noise": func(mirror string) error {
			return os.WriteFile(filepath.Join(mirror, "shallow"), []byte("nonsense\n"), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, nil)
			u.publish("first", map[string]string{"a": "1", "sub/b": "1"})
			env, source := newEnv(t), open(t, models.Settings{"url": u.url, "subdirectory": "sub"})
			v := check(t, source, env)
			if err := spoil(onlyMirror(t, env)); err != nil {
				t.Fatal(err)
			}
			if got := read(t, build(t, source, env, v), "b"); got != "1" {
				t.Errorf("built %q", got)
			}
			second := u.publish("second", map[string]string{"sub/b": "2"})
			if v := check(t, source, env); !strings.HasSuffix(v.Revision, second) {
				t.Errorf("got %+v", v)
			}
		})
	}
}

func TestSource_Check_ManyAtOnce(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	commit := u.publish("first", map[string]string{"a": "1"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url})
	errs := make(chan error)
	const checks = 4
	for range checks {
		go func() {
			v, err := source.Check(t.Context(), env, plugins.Version{})
			if err == nil && v.Content != commit {
				err = fmt.Errorf("got %+v", v)
			}
			errs <- err
		}()
	}
	for range checks {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestSource_Build_RefusesOtherSubdirectory(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"a/x": "1", "b/y": "1"})
	env := newEnv(t)
	v := check(t, open(t, models.Settings{"url": u.url, "subdirectory": "a"}), env)
	_, err := open(t, models.Settings{"url": u.url, "subdirectory": "b"}).Build(t.Context(), env, v, t.TempDir())
	wantError(t, err, "Check again")
}

func TestSource_Build_ComposerMissing(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"a": "1"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "composer": "1"})
	_, err := source.Build(t.Context(), env, check(t, source, env), t.TempDir())
	wantError(t, err, "no composer.json", "switch off")
}
