package git_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"hefring/models"
	"hefring/plugins"
)

// tag makes an annotated tag of a new commit and gives the commit.
func (u *upstream) tag(name string) string {
	u.t.Helper()
	commit := u.commit("release "+name, map[string]string{"version": name})
	u.git("tag", "-a", "-m", name, name)
	u.push("refs/tags/" + name)
	return commit
}

func TestSource_Check_Kinds(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	commits := map[string]string{}
	for _, name := range []string{
		"v1.0.0", "v1.2.0", "v1.10.0", "v2.0.0-beta1", "component/v1.0.0", "component/v1.3.0", "7.x-1.9", "7.x-1.10", "7.x-2.0-beta1",
		"8.x-1.5", "release-9", "release-10", "2024-09-22", "nightly-2024-10-01-a",
	} {
		commits[name] = u.tag(name)
	}
	u.git("tag", "light", commits["v1.0.0"])
	u.push("refs/tags/light", "HEAD:refs/heads/main", commits["v1.2.0"]+":refs/heads/stable", commits["release-9"]+":refs/pull/12/head")
	env := newEnv(t)
	for name, c := range map[string]struct {
		settings models.Settings
		ref      string
		commit   string
		label    string
	}{
		"default":            {models.Settings{"ref_kind": "default"}, "refs/heads/main", commits["nightly-2024-10-01-a"], ""},
		"default, leftovers": {models.Settings{"ref_kind": "default", "branch": "stable", "tag": "light"}, "refs/heads/main", commits["nightly-2024-10-01-a"], ""},
		"branch":             {models.Settings{"ref_kind": "branch", "branch": "stable"}, "refs/heads/stable", commits["v1.2.0"], ""},
		"branch of old":      {models.Settings{"branch": "stable"}, "refs/heads/stable", commits["v1.2.0"], ""},
		"branch unnamed":     {models.Settings{"ref_kind": "branch"}, "refs/heads/main", commits["nightly-2024-10-01-a"], ""},
		"annotated tag":      {models.Settings{"ref_kind": "tag", "tag": "v1.2.0", "branch": "x"}, "refs/tags/v1.2.0", commits["v1.2.0"], "v1.2.0"},
		"light tag":          {models.Settings{"ref_kind": "tag", "tag": "light"}, "refs/tags/light", commits["v1.0.0"], "light"},
		"range":              {models.Settings{"ref_kind": "range", "version_range": "^1.0"}, "refs/tags/v1.10.0", commits["v1.10.0"], "v1.10.0"},
		"range, any":         {models.Settings{"ref_kind": "range", "version_range": "*", "tag_prefix": "v"}, "refs/tags/v1.10.0", commits["v1.10.0"], "v1.10.0"},
		"pre-releases":       {models.Settings{"ref_kind": "range", "version_range": "*", "tag_prefix": "v", "prereleases": "1"}, "refs/tags/v2.0.0-beta1", commits["v2.0.0-beta1"], "v2.0.0-beta1"},
		"prefix":             {models.Settings{"ref_kind": "range", "version_range": "1.x", "tag_prefix": "component/"}, "refs/tags/component/v1.3.0", commits["component/v1.3.0"], "component/v1.3.0"},
		"capture":            {models.Settings{"ref_kind": "range", "version_range": "1.x", "tag_prefix": "/component.v(.+)/"}, "refs/tags/component/v1.3.0", commits["component/v1.3.0"], "component/v1.3.0"},
		"drupal":             {models.Settings{"ref_kind": "range", "version_range": "7.x-*"}, "refs/tags/7.x-1.10", commits["7.x-1.10"], "7.x-1.10"},
		"drupal 8":           {models.Settings{"ref_kind": "range", "version_range": "^8.x-1.0"}, "refs/tags/8.x-1.5", commits["8.x-1.5"], "8.x-1.5"},
		"glob":               {models.Settings{"ref_kind": "pattern", "tag_pattern": "release-*"}, "refs/tags/release-10", commits["release-10"], "release-10"},
		"glob in a number":   {models.Settings{"ref_kind": "pattern", "tag_pattern": "v1*"}, "refs/tags/v1.10.0", commits["v1.10.0"], "v1.10.0"},
		"expression":         {models.Settings{"ref_kind": "pattern", "tag_pattern": `/nightly-(\d{4}-\d\d-\d\d).*/`}, "refs/tags/nightly-2024-10-01-a", commits["nightly-2024-10-01-a"], "nightly-2024-10-01-a"},
		"ref":                {models.Settings{"ref_kind": "ref", "ref": "refs/pull/12/head"}, "refs/pull/12/head", commits["release-9"], ""},
		"ref of a tag":       {models.Settings{"ref_kind": "ref", "ref": "refs/tags/light"}, "refs/tags/light", commits["v1.0.0"], "light"},
		"commit":             {models.Settings{"ref_kind": "commit", "commit": strings.ToUpper(commits["7.x-1.9"])}, "commit", commits["7.x-1.9"], ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.settings["url"] = u.url
			source := open(t, c.settings)
			v := check(t, source, env)
			if begin := "git:" + c.ref + "@sha1:" + c.commit; !strings.HasPrefix(v.Revision, begin) || v.Content != c.commit {
				t.Errorf("got %+v, want %s", v, begin)
			}
			if label := c.label; v.Label != label && label != "" || label == "" && v.Label != c.commit[:7] {
				t.Errorf("label %q", v.Label)
			}
			if again := checkAfter(t, source, env, v); !again.Same(v) || again.Hold != nil {
				t.Errorf("then %+v", again)
			}
			if got := read(t, build(t, source, env, v), "version"); !strings.Contains(u.git("show", "-s", "--format=%s", c.commit), got) {
				t.Errorf("built %q", got)
			}
		})
	}
}

func TestSource_Check_AnnotatedTagNamesBoth(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	commit := u.tag("v1.0")
	object := u.git("rev-parse", "v1.0^{tag}")
	v := check(t, open(t, models.Settings{"url": u.url, "ref_kind": "tag", "tag": "v1.0"}), newEnv(t))
	if want := "git:refs/tags/v1.0@sha1:" + commit + ";tag:" + object; v.Revision != want {
		t.Errorf("got %s, want %s", v.Revision, want)
	}
}

func TestSource_Check_MissingRefs(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.tag("v2.0.0-rc1")
	u.tag("v1.0.0")
	u.push("HEAD:refs/heads/main")
	for name, c := range map[string]struct {
		settings models.Settings
		field    string
		says     string
	}{
		"branch":          {models.Settings{"branch": "mian"}, "branch", "there is main"},
		"tag":             {models.Settings{"ref_kind": "tag", "tag": "v1.0.1"}, "tag", "v1.0.0"},
		"ref":             {models.Settings{"ref_kind": "ref", "ref": "refs/pull/1/head"}, "ref", "refs/pull/1/head"},
		"range":           {models.Settings{"ref_kind": "range", "version_range": "^9"}, "version_range", "v2.0.0-rc1"},
		"only candidates": {models.Settings{"ref_kind": "range", "version_range": "^2"}, "version_range", "Only pre-releases do, such as v2.0.0-rc1"},
		"pattern":         {models.Settings{"ref_kind": "pattern", "tag_pattern": "x*"}, "tag_pattern", "fits this pattern"},
		"commit":          {models.Settings{"ref_kind": "commit", "commit": strings.Repeat("a", 40)}, "", "no longer in the repository"},
	} {
		c.settings["url"] = u.url
		_, err := open(t, c.settings).Check(t.Context(), newEnv(t), plugins.Version{})
		wantError(t, err, c.says)
		wantReason(t, err, models.ReasonRefNotFound)
		if e := asError(err); c.field != "" && (e == nil || e.Fields[c.field] == "") {
			t.Errorf("%s: not at its field: %v", name, err)
		}
	}
}

func TestSource_Check_TagOfTree(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("x", map[string]string{"a": "1"})
	u.git("tag", "-a", "-m", "x", "odd", "HEAD^{tree}")
	u.push("refs/tags/odd")
	_, err := open(t, models.Settings{"url": u.url, "ref_kind": "tag", "tag": "odd"}).Check(t.Context(), newEnv(t), plugins.Version{})
	wantError(t, err, "is a tree and not a commit")
	wantReason(t, err, models.ReasonRefNotFound)
}

func TestSource_Check_HoldsFallingVersion(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]models.Settings{
		"range":   {"ref_kind": "range", "version_range": "^1"},
		"pattern": {"ref_kind": "pattern", "tag_pattern": "v*"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, nil)
			lower := u.tag("v1.9.0")
			u.tag("v1.10.0")
			settings["url"] = u.url
			env, source := newEnv(t), open(t, settings)
			before := check(t, source, env)
			u.push("--delete", "refs/tags/v1.10.0")
			v := checkAfter(t, source, env, before)
			wantHold(t, v, models.ReasonLower)
			if v.Content != lower {
				t.Errorf("got %+v", v)
			}
			u.git("tag", "-d", "v1.10.0")
			u.tag("v1.11.0")
			if v := checkAfter(t, source, env, before); v.Hold != nil || v.Label != "v1.11.0" {
				t.Errorf("after it rose again: %+v", v)
			}
		})
	}
}

// A person who chooses a lower range means it.
func TestSource_Check_LowerRangeChosen(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.tag("v1.0.0")
	u.tag("v2.0.0")
	env := newEnv(t)
	before := check(t, open(t, models.Settings{"url": u.url, "ref_kind": "range", "version_range": "^2"}), env)
	v := checkAfter(t, open(t, models.Settings{"url": u.url, "ref_kind": "range", "version_range": "^1"}), env, before)
	if v.Hold != nil || v.Label != "v1.0.0" {
		t.Errorf("got %+v", v)
	}
}

func TestSource_Check_HoldsRewrittenHistory(t *testing.T) {
	t.Parallel()
	for _, filtered := range []bool{false, true} {
		t.Run(fmt.Sprintf("filter %v", filtered), func(t *testing.T) {
			u := newUpstream(t, nil)
			if filtered {
				u.allowFilter()
			}
			u.publish("root", map[string]string{"a": "0"})
			u.publish("one", map[string]string{"a": "1"})
			env := newEnv(t)
			careful := open(t, models.Settings{"url": u.url, "on_rewrite": "hold"})
			before := check(t, careful, env)
			u.publish("two", map[string]string{"a": "2"})
			if v := checkAfter(t, careful, env, before); v.Hold != nil || v.Note != "two" {
				t.Errorf("an ordinary commit: %+v", v)
			}
			u.git("reset", "-q", "--hard", "HEAD~2")
			other := u.commit("other", map[string]string{"a": "3"})
			u.push("--force", "HEAD:refs/heads/main")
			v := checkAfter(t, careful, env, before)
			wantHold(t, v, models.ReasonRewritten)
			if v := checkAfter(t, open(t, models.Settings{"url": u.url}), env, before); v.Hold != nil || v.Note != "History was rewritten: other" || v.Content != other {
				t.Errorf("without holding: %+v", v)
			}
			if got := read(t, build(t, careful, env, v), "a"); got != "3" {
				t.Errorf("built %q after a person agreed", got)
			}
		})
	}
}

// Many commits may have come between two checks.
func TestSource_Check_FollowsOverLongHistory(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.allowFilter()
	u.publish("first", map[string]string{"a": "0"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "on_rewrite": "hold"})
	before := check(t, source, env)
	tree := u.git("rev-parse", "HEAD^{tree}")
	commit := u.git("rev-parse", "HEAD")
	for i := range 120 {
		commit = u.git("commit-tree", "-p", commit, "-m", strconv.Itoa(i), tree)
	}
	u.push(commit + ":refs/heads/main")
	if v := checkAfter(t, source, env, before); v.Hold != nil || v.Content != commit || v.Note != "119" {
		t.Errorf("got %+v", v)
	}
}

// peersOf opens sources of one upstream and counts what they ask.
func TestSource_Check_OneQuestionForPeers(t *testing.T) {
	t.Parallel()
	var questions atomic.Int64
	u := newUpstream(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "git-upload-pack") {
				questions.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})
	u.tag("v1.0.0")
	u.push("HEAD:refs/heads/main", "HEAD:refs/heads/stable")
	env := newEnv(t)
	var all []plugins.Source
	last := map[int]plugins.Version{}
	for _, settings := range []models.Settings{
		{}, {"branch": "stable"}, {"ref_kind": "tag", "tag": "v1.0.0"}, {"ref_kind": "range", "version_range": "^1"}, {"ref_kind": "pattern", "tag_pattern": "v*"},
	} {
		settings["url"] = u.url
		all = append(all, open(t, settings))
	}
	for i, source := range all {
		last[i] = check(t, source, env)
	}
	questions.Store(0)
	env.Peers, env.Answers = all, new(plugins.Answers)
	for i, source := range all {
		if v := checkAfter(t, source, env, last[i]); !v.Same(last[i]) {
			t.Errorf("%+v, then %+v", last[i], v)
		}
	}
	if n := questions.Load(); n != 1 {
		t.Errorf("%d questions for %d sources", n, len(all))
	}
}

// With nothing new a check asks once, starts no program and touches no cache.
func TestSource_Check_UnchangedIsCheap(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"web/a": "1"})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "subdirectory": "web"})
	v := check(t, source, env)
	env.Run, env.Cache = nil, t.TempDir()
	if again := checkAfter(t, source, env, v); !again.Same(v) {
		t.Errorf("%+v, then %+v", v, again)
	}
}

// A check of a sub-directory does not download the files.
func TestSource_Check_SubdirectoryWithoutFiles(t *testing.T) {
	t.Parallel()
	var received atomic.Int64
	u := newUpstream(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&countingWriter{w, &received}, r)
		})
	})
	u.allowFilter()
	large := noise(t, 3_000_000)
	u.publish("first", map[string]string{"sites/main/web/index.php": "1", "docs/large": large})
	env, source := newEnv(t), open(t, models.Settings{"url": u.url, "subdirectory": "sites/main"})
	received.Store(0)
	first := check(t, source, env)
	u.publish("docs", map[string]string{"docs/large": large + "x"})
	second := checkAfter(t, source, env, first)
	if first.Content != second.Content || first.Revision == second.Revision {
		t.Errorf("%+v, then %+v", first, second)
	}
	if n := received.Load(); n > 20_000 {
		t.Errorf("the checks received %d bytes", n)
	}
	if got := read(t, build(t, source, env, second), "web/index.php"); got != "1" {
		t.Errorf("built %q", got)
	}
}

// Sources that look into different folders share a mirror that lacks some.
func TestSource_Check_FoldersOfOneMirror(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.allowFilter()
	u.publish("first", map[string]string{"sites/main/web/index.php": "1", "docs/x": "1", "top": "1"})
	env := newEnv(t)
	for _, folder := range []string{"", "docs", "sites/main/web", "sites/main"} {
		source := open(t, models.Settings{"url": u.url, "subdirectory": folder})
		v := check(t, source, env)
		if folder != "" && v.Content != u.git("rev-parse", "HEAD:"+folder) {
			t.Errorf("%s: %+v", folder, v)
		}
		build(t, source, env, v)
	}
	_, err := open(t, models.Settings{"url": u.url, "subdirectory": "sites/none"}).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, `no folder "sites/none"`, "docs")
}

func TestSource_Check_SHA256(t *testing.T) {
	t.Parallel()
	for _, filtered := range []bool{false, true} {
		u := newUpstream(t, nil)
		bare := u.server.Dir("site")
		if err := os.RemoveAll(bare); err != nil {
			t.Fatal(err)
		}
		gitIn(t, filepath.Dir(bare), nil, "init", "-q", "--bare", "--object-format=sha256", "-b", "main", "site.git")
		if filtered {
			u.allowFilter()
		}
		u.work = t.TempDir()
		u.git("init", "-q", "-b", "main", "--object-format=sha256")
		first := u.tag("v1.0.0")
		u.push("HEAD:refs/heads/main")
		env := newEnv(t)
		source := open(t, models.Settings{"url": u.url, "on_rewrite": "hold"})
		v := check(t, source, env)
		if v.Revision != "git:refs/heads/main@sha256:"+first || v.Label != first[:7] {
			t.Errorf("got %+v", v)
		}
		if got := read(t, build(t, source, env, v), "version"); got != "v1.0.0" {
			t.Errorf("built %q", got)
		}
		u.publish("next", map[string]string{"version": "2"})
		if next := checkAfter(t, source, env, v); next.Hold != nil || next.Note != "next" {
			t.Errorf("got %+v", next)
		}
		tagged := open(t, models.Settings{"url": u.url, "ref_kind": "range", "version_range": "*", "subdirectory": ""})
		if v := check(t, tagged, env); v.Revision != "git:refs/tags/v1.0.0@sha256:"+first+";tag:"+u.git("rev-parse", "v1.0.0") {
			t.Errorf("got %+v", v)
		}
	}
}
