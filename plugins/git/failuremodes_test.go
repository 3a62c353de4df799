package git_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git"
)

// Each test is one of the ways in which programs of this kind were reported to
// fail.

// https://github.com/concourse/concourse/issues/3799
func TestFailureMode01_ForcePushOfFirstCommit(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"a": "1"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url})
	last := check(t, source, env)
	for _, text := range []string{"2", "3"} {
		u.git("checkout", "-q", "--orphan", "fresh"+text)
		commit := u.commit("new root", map[string]string{"a": text})
		u.push("--force", "HEAD:refs/heads/main")
		v := checkAfter(t, source, env, last)
		if v.Content != commit || !strings.HasPrefix(v.Note, "History was rewritten") {
			t.Errorf("got %+v", v)
		}
		if got := read(t, build(t, source, env, v), "a"); got != text {
			t.Errorf("built %q", got)
		}
		last = v
	}
	u.commit("next", map[string]string{"a": "4"})
	u.push("HEAD:refs/heads/main")
	if v := checkAfter(t, source, env, last); v.Note != "next" {
		t.Errorf("the commit after: %+v", v)
	}
}

// https://github.com/fluxcd/flux2/issues/4875
func TestFailureMode02_ForcePushLosesObjects(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("root", map[string]string{"a": "0"})
	gone := u.publish("gone", map[string]string{"a": "1"})
	source := open(t, models.Settings{"url": u.url})
	env := newEnv(t)
	before := check(t, source, env)
	u.git("reset", "-q", "--hard", "HEAD~1")
	u.commit("other", map[string]string{"a": "2"})
	u.push("--force", "HEAD:refs/heads/main")
	gitIn(t, u.server.Dir("site"), nil, "-c", "gc.pruneExpire=now", "gc", "-q", "--prune=now")
	// The next check works, with the old cache and with none.
	for _, place := range []plugins.Env{env, newEnv(t)} {
		v := checkAfter(t, source, place, before)
		if got := read(t, build(t, source, place, v), "a"); got != "2" {
			t.Errorf("built %q", got)
		}
	}
	// And who still wants the lost commit is told so.
	_, err := source.Build(t.Context(), newEnv(t), before, t.TempDir())
	wantError(t, err, "Commit "+gone[:7]+" is no longer in the repository", "Check again")
	wantReason(t, err, models.ReasonRefNotFound)
}

// https://github.com/fluxcd/flux/issues/2288
func TestFailureMode03_BranchDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("main", map[string]string{"a": "0"})
	u.git("checkout", "-q", "-b", "live")
	u.publish("one", map[string]string{"a": "1"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "branch": "live"})
	before := check(t, source, env)
	u.push("--delete", "live")
	_, err := source.Check(t.Context(), env, before)
	wantReason(t, err, models.ReasonRefNotFound)
	wantError(t, err, `no branch "live"`, "main")
	u.git("checkout", "-q", "main")
	again := u.commit("two", map[string]string{"a": "2"})
	u.push("HEAD:refs/heads/live")
	v := checkAfter(t, source, env, before)
	if v.Content != again {
		t.Errorf("after the branch came back: %+v", v)
	}
	if got := read(t, build(t, source, env, v), "a"); got != "2" {
		t.Errorf("built %q", got)
	}
}

// https://github.com/fluxcd/flux/issues/1845
func TestFailureMode04_BranchAndTagOfOneName(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	tagged := u.publish("tagged", map[string]string{"a": "tag"})
	u.git("tag", "release")
	u.push("refs/tags/release")
	branch := u.commit("branch", map[string]string{"a": "branch"})
	u.push("HEAD:refs/heads/release", "HEAD:refs/heads/feature/release")
	env := newEnv(t)
	for want, settings := range map[string]models.Settings{
		"git:refs/heads/release@sha1:" + branch: {"ref_kind": "branch", "branch": "release"},
		"git:refs/tags/release@sha1:" + tagged:  {"ref_kind": "tag", "tag": "release"},
	} {
		settings["url"] = u.url
		source := open(t, settings)
		v := check(t, source, env)
		if v.Revision != want {
			t.Errorf("got %s, want %s", v.Revision, want)
		}
		if got := read(t, build(t, source, env, v), "a"); !strings.HasPrefix(settings["ref_kind"], got) {
			t.Errorf("built %q", got)
		}
	}
}

// https://github.com/fluxcd/flux2/issues/4841
func TestFailureMode05_ChangedKindOfReference(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	tagged := u.tag("v1.0.0")
	head := u.publish("head", map[string]string{"a": "1"})
	env := newEnv(t)
	all := models.Settings{"url": u.url, "branch": "main", "tag": "v1.0.0", "version_range": "^9", "tag_pattern": "none*", "ref": "refs/none/x", "commit": strings.Repeat("a", 40)}
	var last plugins.Version
	for _, step := range []struct{ kind, commit string }{
		{"branch", head}, {"tag", tagged}, {"default", head}, {"tag", tagged}, {"branch", head},
	} {
		v := checkAfter(t, open(t, merge(all, models.Settings{"ref_kind": step.kind})), env, last)
		if v.Content != step.commit || v.Hold != nil || strings.Contains(v.Note, "rewritten") {
			t.Errorf("%s: %+v", step.kind, v)
		}
		last = v
	}
}

// https://github.com/SwiftPackageIndex/SwiftPackageIndex-Server/issues/693
func TestFailureMode06_MovedTagIsSeen(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.tag("v1.0.0")
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "ref_kind": "tag", "tag": "v1.0.0"})
	before := check(t, source, env)
	build(t, source, env, before)
	moved := u.commit("moved", map[string]string{"version": "moved"})
	u.git("tag", "-f", "-a", "-m", "again", "v1.0.0")
	u.push("--force", "refs/tags/v1.0.0")
	for range 2 { // it is told as long as nobody agreed
		v := checkAfter(t, source, env, before)
		wantHold(t, v, models.ReasonTagMoved)
		if v.Content != moved {
			t.Errorf("got %+v", v)
		}
		if got := read(t, build(t, source, env, v), "version"); got != "moved" {
			t.Errorf("built %q after a person agreed", got)
		}
		if agreed := checkAfter(t, source, env, v); agreed.Hold != nil || !agreed.Same(v) {
			t.Errorf("after a person agreed: %+v", agreed)
		}
	}
	// The version from before still builds.
	if got := read(t, build(t, source, newEnv(t), before), "version"); got != "v1.0.0" {
		t.Errorf("the older version built %q", got)
	}
}

// https://github.com/tj-actions/changed-files/issues/2463
func TestFailureMode07_TagsPointedAtMalware(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	for _, name := range []string{"v1.0.0", "v1.1.0", "v2.0.0"} {
		u.tag(name)
	}
	env := newEnv(t)
	sources := map[string]plugins.Source{}
	last := map[string]plugins.Version{}
	for name, settings := range map[string]models.Settings{
		"tag": {"ref_kind": "tag", "tag": "v1.1.0"}, "range": {"ref_kind": "range", "version_range": "^1"},
		"pattern": {"ref_kind": "pattern", "tag_pattern": "v1.*"}, "ref": {"ref_kind": "ref", "ref": "refs/tags/v1.1.0"},
	} {
		settings["url"] = u.url
		sources[name] = open(t, settings)
		last[name] = check(t, sources[name], env)
	}
	u.git("checkout", "-q", "--orphan", "evil")
	u.commit("totally fine", map[string]string{"version": "malware"})
	for _, name := range []string{"v1.0.0", "v1.1.0", "v2.0.0"} {
		u.git("tag", "-f", name)
		u.push("--force", "refs/tags/"+name)
	}
	for name, source := range sources {
		v := checkAfter(t, source, env, last[name])
		wantHold(t, v, models.ReasonTagMoved)
		if v.Hold != nil && !strings.Contains(v.Hold.Message, "ask its owner") {
			t.Errorf("%s: %q does not say what to do", name, v.Hold.Message)
		}
	}
}

// https://github.com/argoproj/argo-cd/issues/20083
func TestFailureMode08_PinnedTagIsNoRange(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	want := u.tag("1.2")
	u.tag("v1.2")
	u.tag("1.2.0")
	u.tag("1.2.9")
	odd := u.tag("2024-09-22-test")
	env := newEnv(t)
	for name, commit := range map[string]string{"1.2": want, "2024-09-22-test": odd} {
		v := check(t, open(t, models.Settings{"url": u.url, "ref_kind": "tag", "tag": name}), env)
		if v.Content != commit || v.Label != name {
			t.Errorf("%s: %+v", name, v)
		}
	}
	v := check(t, open(t, models.Settings{"url": u.url, "ref_kind": "range", "version_range": ">=1"}), env)
	if v.Label != "1.2.9" {
		t.Errorf("a date is no version: %+v", v)
	}
}

// https://github.com/argoproj/argo-cd/issues/7377
func TestFailureMode09_AnnotatedTag(t *testing.T) {
	t.Parallel()
	key := newSSHKey(t)
	u := newUpstream(t, nil)
	commit := u.signCommit("signed", map[string]string{"a": "1"}, key.sign(t, "git"), nil)
	u.signTag("v1.0", commit, key.sign(t, "git"), nil)
	object := u.git("rev-parse", "refs/tags/v1.0")
	env := newEnv(t)
	for _, verify := range []string{"none", "commit", "tag", "both"} {
		source := open(t, models.Settings{"url": u.url, "ref_kind": "tag", "tag": "v1.0", "verify": verify, "trusted_keys": key.line()})
		v := check(t, source, env)
		if v.Revision != "git:refs/tags/v1.0@sha1:"+commit+";tag:"+object || v.Content != commit {
			t.Errorf("%s: %+v", verify, v)
		}
		build(t, source, env, v)
	}
	// The same commit, tagged anew: another tag object and nothing to build.
	source := open(t, models.Settings{"url": u.url, "ref_kind": "tag", "tag": "v1.0"})
	before := check(t, source, env)
	u.git("tag", "-f", "-a", "-m", "again", "v1.0", commit)
	u.push("--force", "refs/tags/v1.0")
	if v := checkAfter(t, source, env, before); v.Content != before.Content || v.Revision == before.Revision {
		t.Errorf("got %+v", v)
	}
}

// https://github.com/argoproj/argo-cd/issues/20949
func TestFailureMode10_PrefixedTagsInRange(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.tag("v9.0.0")
	u.tag("api/v2.0.0")
	u.tag("component/v1.0.0")
	want := u.tag("component/v1.4.0")
	u.tag("component/v2.0.0")
	u.tag("component-extra/v1.9.0")
	for _, prefix := range []string{"component/v", "component/", `/component.v?(?P<version>\d.*)/`} {
		v := check(t, open(t, models.Settings{"url": u.url, "ref_kind": "range", "version_range": "^1.0", "tag_prefix": prefix}), newEnv(t))
		if v.Content != want {
			t.Errorf("%s: %+v", prefix, v)
		}
	}
}

// manyRefs gives the repository further tags and a branch for each.
func (u *upstream) manyRefs(n int) {
	u.t.Helper()
	commit := u.git("rev-parse", "HEAD")
	var text strings.Builder
	text.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	fmt.Fprintf(&text, "%s refs/heads/main\n", commit)
	for i := range n {
		fmt.Fprintf(&text, "%s refs/heads/user/%06d\n", commit, i)
	}
	for i := range n {
		fmt.Fprintf(&text, "%s refs/tags/ci/%06d\n", commit, i)
	}
	if err := os.WriteFile(filepath.Join(u.server.Dir("site"), "packed-refs"), []byte(text.String()), 0o644); err != nil {
		u.t.Fatal(err)
	}
}

// https://github.com/argoproj/argo-cd/pull/28667
func TestFailureMode11_HundredThousandRefs(t *testing.T) {
	t.Parallel()
	var received atomic.Int64
	u := newUpstream(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&countingWriter{w, &received}, r) })
	})
	u.publish("head", map[string]string{"a": "1"})
	u.manyRefs(50_000)
	env := newEnv(t)
	for name, settings := range map[string]models.Settings{
		"default": {}, "branch": {"branch": "user/000007"}, "tag": {"ref_kind": "tag", "tag": "ci/049999"}, "pattern": {"ref_kind": "pattern", "tag_pattern": "ci/04999?"},
	} {
		settings["url"] = u.url
		source := open(t, settings)
		v := check(t, source, env)
		received.Store(0)
		if again := checkAfter(t, source, env, v); !again.Same(v) {
			t.Errorf("%s: %+v", name, again)
		}
		if n := received.Load(); n > 2000 {
			t.Errorf("%s: %d bytes for a check with nothing new", name, n)
		}
	}
}

// https://github.com/redpanda-data/console/pull/2521
func TestFailureMode12_MemoryOfLargeListing(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("head", map[string]string{"a": "1"})
	u.manyRefs(50_000)
	env, source := newEnv(t), open(t, models.Settings{"url": u.url})
	v := check(t, source, env)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		checkAfter(t, source, env, v)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 10<<20 {
		t.Errorf("10 checks allocated %d bytes", used)
	}
}

// https://github.com/fluxcd/source-controller/issues/303
func TestFailureMode13_EndlessAnswer(t *testing.T) {
	t.Parallel()
	line := "003d0123456789012345678901234567890123456789 refs/tags/v%07d\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000000eversion 2\n0013ls-refs=unborn\n0000")
			return
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, line, i%10_000_000); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := open(t, models.Settings{"url": server.URL + "/x.git", "branch": "main"}).Check(t.Context(), newEnv(t), plugins.Version{})
	runtime.ReadMemStats(&after)
	wantError(t, err)
	if reason := models.ReasonOf(err); reason != models.ReasonTooLarge && reason != models.ReasonMalformed {
		t.Errorf("reason %q: %v", reason, err)
	}
	if held := int64(after.HeapInuse) - int64(before.HeapInuse); held > 256<<20 {
		t.Errorf("it holds %d bytes", held)
	}
}

// https://github.com/argoproj/argo-cd/issues/4925
func TestFailureMode14_OneQuestionForAll(t *testing.T) { TestSource_Check_OneQuestionForPeers(t) }

// https://github.com/argoproj/argo-cd/issues/17623
func TestFailureMode16_StaleLocks(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"a": "1"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url})
	v := check(t, source, env)
	build(t, source, env, v)
	mirrors, err := filepath.Glob(filepath.Join(env.Cache, "git", "*", "HEAD"))
	if err != nil || len(mirrors) == 0 {
		t.Fatalf("mirrors: %v, %v", mirrors, err)
	}
	for _, head := range mirrors {
		for _, name := range []string{"shallow.lock", "index.lock", "config.lock", "HEAD.lock", "packed-refs.lock", "refs/hefring/incoming.lock", "objects/pack/tmp_pack_x"} {
			if err := os.WriteFile(filepath.Join(filepath.Dir(head), name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	second := u.publish("second", map[string]string{"a": "2"})
	v = checkAfter(t, source, env, v)
	if v.Content != second || read(t, build(t, source, env, v), "a") != "2" {
		t.Errorf("got %+v", v)
	}
	if strings.Contains(env.Log.(*lines).String(), "damaged") {
		t.Error("the mirror was thrown away for a stale lock")
	}
}

// https://github.com/argoproj/argo-cd/issues/20785: a server that accepts
// connections and says nothing holds up nobody else.
func TestFailureMode17_HungSSHChild(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	accepted := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			accepted <- struct{}{}
		}
	}()
	key := newSSHKey(t)
	settings := models.Settings{
		"url": "ssh://git@" + ln.Addr().String() + "/site.git", "auth": "key", "ssh_key": key.private,
		"known_hosts": sshServer{address: ln.Addr().String()}.knownHosts(key),
	}
	source, err := git.Plugin{Answer: 3 * time.Second}.Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	env := newEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	hung := make(chan error, 1)
	go func() { // a build has half an hour, and holds the mirror's lock
		_, err := source.Build(ctx, env, plugins.Version{Revision: "git:refs/heads/main@sha1:" + strings.Repeat("a", 40), Content: "x"}, t.TempDir())
		hung <- err
	}()
	<-accepted
	start := time.Now()
	_, err = source.Check(t.Context(), env, plugins.Version{})
	wantReason(t, err, models.ReasonTimeout)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("the check took %s", took)
	}
	cancel()
	select {
	case err := <-hung:
		if err == nil {
			t.Error("it was built")
		}
	case <-time.After(20 * time.Second):
		t.Error("the build does not end when it is cancelled")
	}
	wantNoKey(t, env, key)
}

// https://github.com/fluxcd/source-controller/issues/490
func TestFailureMode18_HostKeyRotated(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("head", map[string]string{"a": "1"})
	old, fresh := newSSHKey(t), newSSHKey(t)
	s := serveSSH(t, fresh)
	env := newEnv(t)
	_, err := open(t, merge(s.settings(u), models.Settings{"known_hosts": s.knownHosts(old)})).Check(t.Context(), env, plugins.Version{})
	wantReason(t, err, models.ReasonHostKey)
	wantError(t, err, "Ask its owner whether the key was changed", "ssh-keyscan")
	check(t, open(t, merge(s.settings(u), models.Settings{"known_hosts": s.knownHosts(old, fresh)})), env)
}

// https://github.com/fluxcd/flux2/issues/2568
func TestFailureMode19_PrivateAuthorityEverywhere(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	part := u.beside("part")
	commit := part.publish("part", map[string]string{"file": "2"})
	u.commit("top", map[string]string{"a": "1"})
	u.submodule("part", "../part.git", commit)
	u.push("HEAD")
	url, knows, stranger := overTLS(t, u.server)
	source := open(t, models.Settings{"url": url + "/site.git", "submodules": "1"})
	v := check(t, source, knows)
	if got := read(t, build(t, source, knows, v), "part/file"); got != "2" {
		t.Errorf("built %q", got)
	}
	_, err := source.Check(t.Context(), stranger, plugins.Version{})
	wantReason(t, err, models.ReasonTLS)
	_, err = source.Build(t.Context(), stranger, v, t.TempDir())
	wantReason(t, err, models.ReasonTLS)
	wantError(t, err, "--ca-file")
}

// https://github.com/fluxcd/source-controller/issues/364
func TestFailureMode20_SubmoduleRefusedIsNotParent(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	part := u.beside("part")
	commit := part.publish("part", map[string]string{"file": "2"})
	u.commit("top", map[string]string{"a": "1"})
	u.submodule("libraries/part", u.guarded("git", canary)+"/part.git", commit)
	u.push("HEAD")
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "submodules": "1"})
	v := check(t, source, env)
	_, err := source.Build(t.Context(), env, v, t.TempDir())
	wantError(t, err, `The submodule "libraries/part" could not be fetched`, "credentials")
	wantReason(t, err, models.ReasonBuild) // and not AuthenticationFailed, which would stall the upstream
	if e := asError(err); e != nil && len(e.Fields) > 0 {
		t.Errorf("fields of the source are blamed: %v", e.Fields)
	}
	if again := checkAfter(t, source, env, v); !again.Same(v) {
		t.Errorf("the next check gives %+v", again)
	}
}
