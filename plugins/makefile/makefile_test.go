package makefile_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile"
	"hefring/plugins/plugintest"
)

const secret = "open-sesame-4711"

func TestPlugin_Suite(t *testing.T) {
	w := newWorld(t)
	w.put("/site.make", head+"includes[] = inc.make\nprojects[] = drupal\nprojects[gitmod][download][branch] = 7.x-1.x\n")
	w.put("/inc.make", "projects[views][version] = 3.24\nprojects[views][patch][] = patches/views-ok.patch\n")
	plugintest.Exercise(t, plugintest.Harness{
		Plugin:    makefile.New(),
		Settings:  w.settings(models.Settings{"contrib_destination": "sites/all", "docroot": "."}),
		Elsewhere: models.Settings{"url": "https://nowhere.example/none.make"},
		Wrong: map[string][]string{
			"url": {
				"site.make", "ftp://example.org/x.make", "https://user:pw@example.org/x.make", "https://user@example.org/x.make", "https:///x.make",
				"https://example.org", "https://example.org/folder/", "/srv/../etc/x.make", "/srv//x.make", "file:x.make", "/", "ext::sh -c x",
			},
			"contrib_destination": {"../x", "/sites/all", "a/..", "sites/.git"},
			"location":            {"ftp://example.org/x", "https://u:p@example.org/x", "https://example.org/?x=1", "release-history"},
			"git_base":            {"ssh://git@example.org/x", "file:///srv/git"},
			"translations":        {"../de", "d", "de;en"},
		},
		Untouched: []string{w.www},
		Run:       runner(t), Egress: guard(t),
	})
}

func TestPlugin_SuiteOfGit(t *testing.T) {
	w := newWorld(t)
	w.publish("site", "main", map[string]string{
		"make/site.make": head + "includes[] = inc.make\nprojects[] = drupal\nlibraries[l][download][type] = copy\nlibraries[l][download][url] = lib\n",
		"make/inc.make":  "projects[views][version] = 3.24\nprojects[views][patch][] = fix.patch\n",
		"make/fix.patch": read(t, oracles, "_www/patches/views-ok.patch"),
		"make/lib/a.js":  "a",
	})
	plugintest.Exercise(t, plugintest.Harness{
		Plugin: makefile.New(),
		Settings: models.Settings{
			"from": "git", "repository": w.git.URL + "/site.git", "ref": "main", "path": "make/site.make", "location": w.web.URL + "/release-history",
		},
		Elsewhere: models.Settings{"from": "git", "repository": "https://nowhere.example/none.git", "path": "site.make"},
		Wrong:     map[string][]string{"ref": {"a..b", "a b"}, "repository": {"https://user:pw@example.org/x.git"}, "path": {"../site.make"}},
		Untouched: []string{w.www},
		Run:       runner(t), Egress: guard(t),
	})
}

func TestSource_Check_WhatChanges(t *testing.T) {
	w := newWorld(t)
	w.put("/site.make", head+"includes[] = sub/inc.make\nprojects[] = drupal\nprojects[gitmod][download][branch] = live\n")
	w.put("/sub/inc.make", "projects[views][version] = 3.24\nprojects[views][patch][] = fix.patch\n")
	w.put("/sub/fix.patch", "one")
	w.publish("gitmod", "live", map[string]string{"x": "1"})
	source, env := open(t, w.settings(nil)), newEnv(t)
	first := check(t, source, env, plugins.Version{})
	if len(first.Facts) < 3 || first.Facts[0].Label != "MD5" || len(first.Facts[0].Value) != 32 || !strings.Contains(first.Revision, first.Facts[0].Value) {
		t.Errorf("facts: %+v", first.Facts)
	}
	if first.Note != "drupal 7.103 with 2 projects" || first.Label != first.Facts[0].Value[:7] {
		t.Errorf("%q %q", first.Note, first.Label)
	}

	w.requests()
	if again := check(t, source, env, first); !again.Same(first) {
		t.Errorf("nothing new: %+v", again)
	}
	asked := w.requests()
	slices.Sort(asked)
	want := []string{"/release-history/drupal/7.x 304", "/site.make 304", "/sub/fix.patch 304", "/sub/inc.make 304"}
	if !slices.Equal(asked, want) {
		t.Errorf("a check with nothing new asked %v", asked)
	}

	last := first
	changed := func(what string) {
		t.Helper()
		v := check(t, source, env, last)
		if v.Content == last.Content || v.Revision == last.Revision {
			t.Errorf("%s went unseen", what)
		}
		if v.Facts[0].Value != first.Facts[0].Value {
			t.Errorf("the MD5 of the file changed with %s", what)
		}
		last = v
	}
	w.put("/sub/fix.patch", "two")
	changed("the patch")
	w.publish("gitmod", "live", map[string]string{"x": "2"})
	changed("the branch")
	feed := read(t, w.www, "release-history/drupal/7.x")
	w.put("/release-history/drupal/7.x", strings.ReplaceAll(feed, "7.103", "7.104"))
	changed("the newest release of core")
	w.put("/sub/inc.make", "projects[views][version] = 3.23\nprojects[views][patch][] = fix.patch\n")
	changed("the include")

	w.put("/site.make", "; a comment\n"+head+"includes[] = sub/inc.make\nprojects[] = drupal\nprojects[gitmod][download][branch] = live\n")
	v := check(t, source, env, last)
	if v.Content != last.Content || v.Revision == last.Revision {
		t.Errorf("a comment: %+v, then %+v", last, v)
	}
}

func TestSource_Build_WhatWasChecked(t *testing.T) {
	w := newWorld(t)
	w.put("/site.make", head+"projects[] = drupal\nprojects[gitmod][download][branch] = live\nprojects[gitmod][type] = module\n")
	commit := w.publish("gitmod", "live", map[string]string{"state": "checked"})
	source, env := open(t, w.settings(nil)), newEnv(t)
	v := check(t, source, env, plugins.Version{})
	w.publish("gitmod", "live", map[string]string{"state": "later"})
	w.put("/site.make", head+"projects[] = drupal\n")
	dst, made := build(t, source, newEnv(t), v)
	if got := read(t, dst, "sites/all/modules/gitmod/state"); got != "checked" {
		t.Errorf("built %q", got)
	}
	if !slices.ContainsFunc(made.Sources, func(p models.SourcePackage) bool { return p.Name == "gitmod" && p.Checksum == "git:"+commit }) ||
		!slices.ContainsFunc(made.Sources, func(p models.SourcePackage) bool {
			return p.Name == "drupal" && p.Version == "7.103" && p.Type == "core"
		}) {
		t.Errorf("%+v", made.Sources)
	}
	for _, plan := range []string{"", "{", "{}", `{"makefile":{}}`, v.Plan[:len(v.Plan)-1], strings.Replace(v.Plan, commit, strings.Repeat("0", 40), 1), strings.Repeat(" ", 2<<20)} {
		damaged := v
		damaged.Plan = plan
		if _, err := source.Build(t.Context(), newEnv(t), damaged, t.TempDir()); err == nil {
			t.Errorf("built the plan %.60q", plan)
		}
		if now := check(t, source, env, damaged); now.Content == "" {
			t.Errorf("check after a damaged plan: %+v", now)
		}
	}
}

func TestSource_Check_PinnedAsksOnce(t *testing.T) {
	w := newWorld(t)
	w.put("/site.make", head+"projects[drupal][version] = 7.103\nprojects[views] = 3.24\nprojects[gitmod][download][revision] = "+w.short("gitmod")+"\n")
	source, env := open(t, w.settings(nil)), newEnv(t)
	v := check(t, source, env, plugins.Version{})
	if !strings.Contains(v.Plan, `"commit":"`+w.short("gitmod")) {
		t.Errorf("the short revision was not found: %s", v.Plan)
	}
	w.requests()
	if again := check(t, source, env, v); !again.Same(v) {
		t.Errorf("%+v", again)
	}
	if asked := w.requests(); !slices.Equal(asked, []string{"/site.make 304"}) {
		t.Errorf("asked %v", asked)
	}
	dst, _ := build(t, source, newEnv(t), v)
	if _, err := os.Stat(filepath.Join(dst, "sites/all/modules/gitmod")); err != nil {
		t.Error(err)
	}
}

// short is the beginning of the commit of a repository's first branch.
func (w *world) short(repository string) string {
	return gitIn(w.t, "", "ls-remote", w.git.URL+"/"+repository+".git", "HEAD")[:8]
}

func TestSource_Credentials(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	w.put("/private/site.make", head+"includes[] = inc.make\nincludes[] = "+other.web.URL+"/inc.make\nprojects[] = drupal\n")
	w.put("/private/inc.make", "projects[views][version] = 3.24\nprojects[views][patch][] = fix.patch\n")
	w.put("/private/fix.patch", read(t, w.www, "patches/views-ok.patch"))
	other.put("/inc.make", "projects[] = token\n")
	settings := w.settings(models.Settings{"url": w.web.URL + "/private/site.make", "auth": "token", "user": "reader", "token": secret})
	source, env := open(t, settings), newEnv(t)
	v := check(t, source, env, plugins.Version{})
	build(t, source, env, v)
	if w.auth["/private/inc.make"] == "" || w.auth["/private/fix.patch"] == "" || other.auth["/inc.make"] != "" || w.auth["/release-history/drupal/7.x"] != "" {
		t.Errorf("sent %v and %v", w.auth, other.auth)
	}
	for _, text := range []string{v.Plan, v.Memo, v.Revision, v.Note, env.Log.(*lines).String(), source.Upstream().Key} {
		if strings.Contains(text, secret) {
			t.Errorf("the token is in %q", text)
		}
	}
	settings["token"] = "wrong-" + secret
	_, err := open(t, settings).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, models.ReasonAuthentication)
	if strings.Contains(err.Error(), secret) {
		t.Error(err)
	}
	without := open(t, w.settings(models.Settings{"url": w.web.URL + "/private/site.make"}))
	if without.Upstream().Key == source.Upstream().Key {
		t.Error("one upstream with and without credentials")
	}
	if _, err := without.Check(t.Context(), env, plugins.Version{}); err == nil {
		t.Error("the cache gave a file to one who may not read it")
	}
	settings["url"] = "http://example.org/site.make"
	if _, err := makefile.New().Open(settings); err == nil || !strings.Contains(err.Error(), "everybody on the way") {
		t.Error(err)
	}
}

func TestSource_Local(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "site.make"), w.here(head+"projects[] = drupal\nlibraries[l][download][type] = copy\nlibraries[l][download][url] = lib\n"))
	write(t, filepath.Join(dir, "lib/a.js"), "a")
	source, env := open(t, w.settings(models.Settings{"url": filepath.Join(dir, "site.make")})), newEnv(t)
	_, err := source.Check(t.Context(), env, plugins.Version{})
	wantError(t, err, models.ReasonURL, "command line only")
	env.Local = true
	v := check(t, source, env, plugins.Version{})
	write(t, filepath.Join(dir, "lib/a.js"), "b")
	if now := check(t, source, env, v); now.Content == v.Content {
		t.Error("a change of a copied folder went unseen")
	} else if dst, _ := build(t, source, env, now); read(t, dst, "sites/all/libraries/l/a.js") != "b" {
		t.Error("built something else")
	}
	write(t, filepath.Join(dir, "site.make"), head+"projects[] = drupal\nprojects[a][type] = widget\n")
	_, err = source.Check(t.Context(), env, plugins.Version{})
	wantError(t, err, models.ReasonMalformed, " "+dir+"/site.make, line 4")
	env.Forbidden = []string{dir}
	_, err = source.Check(t.Context(), env, plugins.Version{})
	wantError(t, err, models.ReasonURL, "folder of Hefring itself")
}

func TestSource_Check_GitRepository(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{
		"site.make": head + "projects[] = drupal\nprojects[views][version] = 3.24\nprojects[views][patch][] = fix.patch\n",
		"fix.patch": read(t, w.www, "patches/views-ok.patch"),
	}
	w.publish("site", "main", files)
	settings := models.Settings{"from": "git", "repository": w.git.URL + "/site.git", "path": "site.make", "location": w.web.URL + "/release-history"}
	source, env := open(t, settings), newEnv(t)
	first := check(t, source, env, plugins.Version{})
	w.publish("site", "main", map[string]string{"README": "x"})
	second := check(t, source, env, first)
	if !second.Same(first) {
		t.Errorf("an unrelated commit: %+v, then %+v", first, second)
	}
	w.publish("site", "main", map[string]string{"fix.patch": files["fix.patch"] + "\n"})
	third := check(t, source, env, second)
	if third.Content == second.Content || third.Facts[0] != second.Facts[0] {
		t.Errorf("a changed patch: %+v, then %+v", second, third)
	}
	dst, _ := build(t, source, newEnv(t), first)
	if !strings.Contains(read(t, dst, "sites/all/modules/views/PATCHES.txt"), "- fix.patch") {
		t.Error("the patch was not applied")
	}
	settings["path"] = "none.make"
	_, err := open(t, settings).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, models.ReasonNotFound, "no file none.make", "path: ")
	settings["path"], settings["ref"] = "site.make", "nope"
	_, err = open(t, settings).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, models.ReasonRefNotFound, "ref: ", `no branch "nope"`)
}

func TestSource_Check_Errors(t *testing.T) {
	w := newWorld(t)
	source, env := open(t, w.settings(nil)), newEnv(t)
	for text, want := range map[string]struct {
		reason models.Reason
		says   string
	}{
		head + "projects[] = views\n": {models.ReasonMalformed, "names no core project"},
		head + "projects[] = drupal\nprojects[x][type] = core\nprojects[x][download][branch] = 7.x-1.x\nprojects[x][download][url] = file://@GITROOT@/gitmod.git\n": {models.ReasonMalformed, "more than one core project: x, drupal"},
		head + "projects[] = drupal\nprojects[] = nosuch\nprojects[views] = 9.9\n":                                                                                  {models.ReasonNotFound, "names 2 things that are not there"},
		head + "projects[] = drupal\nprojects[gitmod][download][branch] = nope\n":                                                                                   {models.ReasonRefNotFound, "has no branch nope"},
		head + "projects[] = drupal\nprojects[gitmod][download][revision] = abcdef12\n":                                                                             {models.ReasonRefNotFound, "has no revision abcdef12"},
		head + "projects[] = drupal\nprojects[views][patch][] = nope.patch\n":                                                                                       {models.ReasonNotFound, "The patch nope.patch cannot be read"},
		head + "projects[] = drupal\nincludes[] = nope.make\n":                                                                                                      {models.ReasonNotFound, "which cannot be read"},
		head + "projects[] = drupal\nprojects[a][type] = widget\n":                                                                                                  {models.ReasonMalformed, "site.make, line 4: projects[a][type]"},
		"<!doctype html><title>Log in</title>":                                                                                                                      {models.ReasonMalformed, "it is a web page"},
	} {
		w.put("/site.make", text)
		_, err := source.Check(t.Context(), env, plugins.Version{})
		wantError(t, err, want.reason, want.says)
	}
	_, err := open(t, w.settings(models.Settings{"url": w.web.URL + "/none.make"})).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, models.ReasonNotFound, "url: ")
	env.Egress = guardOfNothing(t)
	_, err = source.Check(t.Context(), env, plugins.Version{})
	wantError(t, err, models.ReasonAddressBlocked)
}

func TestSource_Check_HostileFeed(t *testing.T) {
	w := newWorld(t)
	w.put("/site.make", head+"projects[] = drupal\n")
	source, env := open(t, w.settings(nil)), newEnv(t)
	feed := read(t, w.www, "release-history/drupal/7.x")
	for name, text := range map[string]string{
		"version":  strings.ReplaceAll(feed, "<version>7.103</version>", "<version>7.103\n\x1b[31m</version>"),
		"checksum": regexp.MustCompile(`<mdhash>[0-9a-f]*</mdhash>`).ReplaceAllString(feed, "<mdhash>none</mdhash>"),
		"page":     "<!doctype html><title>Sorry</title>",
	} {
		w.put("/release-history/drupal/7.x", text)
		_, err := source.Check(t.Context(), env, plugins.Version{})
		if err == nil || models.ReasonOf(err) != models.ReasonMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSource_Check_WithoutCore(t *testing.T) {
	w := newWorld(t)
	w.put("/site.make", head+"projects[drupal][version] = 7.9999\nprojects[views] = 3.24\n")
	source, env := open(t, w.settings(models.Settings{"no_core": "1", "contrib_destination": "."})), newEnv(t)
	dst, _ := build(t, source, env, check(t, source, env, plugins.Version{}))
	entries, err := os.ReadDir(dst)
	if err != nil || len(entries) != 1 || entries[0].Name() != "modules" {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestSource_Check_MakefileOfProfile(t *testing.T) {
	w := newWorld(t)
	w.put("/site.make", head+"projects[] = drupal\nprojects[gitprofile][type] = profile\nprojects[gitprofile][download][branch] = live\n")
	w.publish("gitprofile", "live", map[string]string{
		"gitprofile.make": head + "projects[] = views\nprojects[gitmod][download][branch] = inner\nprojects[token][version] = 1.7\n",
	})
	w.publish("gitmod", "inner", map[string]string{"state": "checked"})
	source, env := open(t, w.settings(nil)), newEnv(t)
	first := check(t, source, env, plugins.Version{})
	w.requests()
	if again := check(t, source, env, first); !again.Same(first) {
		t.Errorf("nothing new: %+v, then %+v", first, again)
	}
	asked := w.requests()
	slices.Sort(asked)
	if want := []string{"/release-history/drupal/7.x 304", "/release-history/views/7.x 304", "/site.make 304"}; !slices.Equal(asked, want) {
		t.Errorf("a check with nothing new asked %v", asked)
	}
	if other := check(t, source, newEnv(t), plugins.Version{}); !other.Same(first) {
		t.Errorf("on another machine: %+v, then %+v", first, other)
	}
	w.publish("gitmod", "inner", map[string]string{"state": "later"})
	second := check(t, source, env, first)
	if second.Content == first.Content {
		t.Error("a push to a project inside of the profile went unseen")
	}
	feed := read(t, w.www, "release-history/views/7.x")
	w.put("/release-history/views/7.x", strings.ReplaceAll(feed, "3.24", "3.25"))
	if third := check(t, source, env, second); third.Content == second.Content {
		t.Error("a release of a project inside of the profile went unseen")
	}
	dst, made := build(t, source, newEnv(t), first)
	if got := read(t, dst, "profiles/gitprofile/modules/gitmod/state"); got != "checked" {
		t.Errorf("built %q", got)
	}
	if !slices.ContainsFunc(made.Sources, func(p models.SourcePackage) bool { return p.Name == "views" && strings.Contains(p.Version, "3.24") }) {
		t.Errorf("built %+v", made.Sources)
	}
	w.publish("gitprofile", "live", map[string]string{"gitprofile.make": head + "projects[] = nosuch\n"})
	_, err := source.Check(t.Context(), env, second)
	wantError(t, err, models.ReasonNotFound, "gitprofile", "nosuch")
}

func TestSource_Check_ProfileBesideMakefile(t *testing.T) {
	w := newWorld(t)
	w.publish("site", "main", map[string]string{
		"site.make":              head + "projects[] = drupal\nprojects[own][type] = profile\nprojects[own][download][type] = copy\nprojects[own][download][url] = own\n",
		"own/own.info":           "name = Own\n",
		"own/drupal-org.make":    head + "projects[views][version] = 3.24\nprojects[views][patch][] = patches/a.patch\n",
		"own/patches/a.patch":    read(t, w.www, "patches/views-ok.patch"),
		"patches/not-this.patch": "x",
	})
	settings := models.Settings{"from": "git", "repository": w.git.URL + "/site.git", "path": "site.make", "location": w.web.URL + "/release-history"}
	source, env := open(t, settings), newEnv(t)
	first := check(t, source, env, plugins.Version{})
	if again := check(t, source, env, first); !again.Same(first) {
		t.Errorf("nothing new: %+v, then %+v", first, again)
	}
	dst, _ := build(t, source, newEnv(t), first)
	if !strings.Contains(read(t, dst, "profiles/own/modules/views/PATCHES.txt"), "a.patch") {
		t.Error("the patch of the profile was not applied")
	}
	w.publish("site", "main", map[string]string{"own/drupal-org.make": head + "projects[views][version] = 3.23\n"})
	if second := check(t, source, env, first); second.Content == first.Content || !strings.Contains(second.Plan, "7.x-3.23") {
		t.Error("a change of the profile's makefile went unseen")
	}
}
