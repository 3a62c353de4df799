package makefile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile"
)

// fromFolders is a world whose makefiles name repositories on this machine, and
// what a person at its command line may use.
func fromFolders(t *testing.T) (*world, plugins.Env) {
	t.Helper()
	w, env := newWorld(t), newEnv(t)
	w.byFile()
	env.Local = true
	return w, env
}

// local writes a makefile without core into a file, and gives its settings.
func (w *world) local(text string, more models.Settings) models.Settings {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "site.make")
	write(w.t, path, w.here(head+text))
	s := w.settings(more)
	s["url"], s["no_core"] = path, "1"
	return s
}

func gitEntry(section, name, url, more string) string {
	key := section + "[" + name + "]"
	return key + "[download][type] = git\n" + key + "[download][url] = " + url + "\n" + strings.ReplaceAll(more, "@", key+"[download]")
}

func TestSource_LocalRepositories(t *testing.T) {
	w, env := fromFolders(t)
	w.publish("site", "main", map[string]string{"site.module": "one"})
	text := gitEntry("projects", "branch", "file://@GITROOT@/site.git", "@[branch] = main\n") +
		gitEntry("projects", "tag", "file://@GITROOT@/gitmod.git", "@[tag] = 7.x-1.1\n") +
		gitEntry("projects", "commit", "file://@GITROOT@/gitmod.git", "@[revision] = 2b107a8\n") +
		gitEntry("projects", "head", "file://@GITROOT@/project/../gitmod.git/", "") +
		gitEntry("libraries", "lib", "file://@GITROOT@/gitlib.git", "") +
		"projects[gitmod][download][branch] = 7.x-2.x\n"
	source := open(t, w.local(text, nil))
	first := check(t, source, env, plugins.Version{})
	dst, made := build(t, source, env, first)
	modules := filepath.Join(dst, "sites/all/modules")
	for file, want := range map[string]string{
		"branch/site.module": "one", "tag/gitmod.module": "<?php // 1.1\n", "commit/gitmod.module": "<?php // 1.1\n",
		"head/gitmod.module": "<?php // 1.0\n", "gitmod/gitmod.module": "<?php // 2.x\n",
	} {
		if got := read(t, modules, file); got != want {
			t.Errorf("%s holds %q", file, got)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dst, "sites/all/libraries/lib")); err != nil || len(entries) == 0 {
		t.Errorf("the library: %v, %v", entries, err)
	}
	if len(made.Sources) != 6 || made.Sources[0].URL != w.base+"/site.git" {
		t.Errorf("made from %+v", made.Sources)
	}
	w.publish("site", "main", map[string]string{"site.module": "two"})
	second := check(t, source, env, first)
	if second.Content == first.Content {
		t.Error("a commit went unseen")
	}
	if dst, _ := build(t, source, newerEnv(t, env), second); read(t, dst, "sites/all/modules/branch/site.module") != "two" {
		t.Error("built something else")
	}
	if again := check(t, source, env, second); !again.Same(second) {
		t.Errorf("nothing changed, but %+v", again)
	}
	if left, err := os.ReadDir(env.Scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// newerEnv is env with an empty cache.
func newerEnv(t *testing.T, env plugins.Env) plugins.Env {
	t.Helper()
	env.Cache = t.TempDir()
	return env
}

func TestSource_LocalRepositories_Include(t *testing.T) {
	w, env := fromFolders(t)
	files := map[string]string{
		"make/inc.make": "projects[views][version] = 3.24\nprojects[views][patch][] = fix.patch\n" +
			"libraries[l][download][type] = copy\nlibraries[l][download][url] = lib\n",
		"make/fix.patch": read(t, w.www, "patches/views-ok.patch"),
		"make/lib/a.js":  "a",
	}
	w.publish("site", "main", files)
	source := open(t, w.local("includes[a][makefile] = make/inc.make\n"+gitEntry("includes", "a", "file://@GITROOT@/site.git", "@[branch] = main\n"), nil))
	first := check(t, source, env, plugins.Version{})
	dst, _ := build(t, source, env, first)
	if !strings.Contains(read(t, dst, "sites/all/modules/views/PATCHES.txt"), "fix.patch") || read(t, dst, "sites/all/libraries/l/a.js") != "a" {
		t.Error("the include was not built")
	}
	w.publish("site", "main", map[string]string{"make/lib/a.js": "b"})
	if now := check(t, source, env, first); now.Content == first.Content {
		t.Error("a commit went unseen")
	}
	// What the repository brings is not of this machine.
	w.publish("site", "main", map[string]string{"make/inc.make": gitEntry("projects", "x", "file://@GITROOT@/gitmod.git", "")})
	_, err := source.Check(t.Context(), env, first)
	wantError(t, err, models.ReasonMalformed, "names a folder of one machine")
}

func TestSource_LocalRepositories_WorkingCopy(t *testing.T) {
	w, env := fromFolders(t)
	// A repository with a working tree, below a name that must be escaped.
	clone := filepath.Join(t.TempDir(), "my 100% work")
	gitIn(t, "", "clone", "--quiet", "--branch=7.x-2.x", filepath.Join(w.root, "gitmod.git"), clone)
	address := "file://" + strings.NewReplacer("%", "%25", " ", "%20").Replace(clone)
	source := open(t, w.local(gitEntry("projects", "m", address, "@[branch] = 7.x-2.x\n"), models.Settings{"working_copy": "1"}))
	dst, _ := build(t, source, env, check(t, source, env, plugins.Version{}))
	dir := filepath.Join(dst, "sites/all/modules/m")
	if got := gitIn(t, dir, "-c", "safe.directory="+dir, "config", "remote.origin.url"); got != address {
		t.Errorf("origin is %s", got)
	}
	if read(t, dir, "gitmod.module") != "<?php // 2.x\n" {
		t.Error("another branch")
	}
}

// Only a makefile that is a file itself may name repositories beside it.
func TestSource_LocalRepositories_Elsewhere(t *testing.T) {
	w, env := fromFolders(t)
	text := head + gitEntry("projects", "x", "file://@GITROOT@/gitmod.git", "")
	const refused = "names a folder of one machine; use an address that begins with https://"

	strict := env
	strict.Local = false
	source := open(t, w.local(gitEntry("projects", "x", "file://@GITROOT@/gitmod.git", ""), nil))
	v := check(t, source, env, plugins.Version{})
	_, err := source.Check(t.Context(), strict, plugins.Version{})
	wantError(t, err, models.ReasonURL, "command line only")
	_, err = source.Build(t.Context(), strict, v, t.TempDir())
	wantError(t, err, models.ReasonURL, "command line only")

	w.put("/site.make", text)
	remote := models.Settings{"url": w.web.URL + "/site.make", "location": w.web.URL + "/release-history", "no_core": "1"}
	_, err = open(t, remote).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, models.ReasonMalformed, refused)
	_, err = open(t, w.local("includes[] = "+w.web.URL+"/site.make\n", nil)).Check(t.Context(), env, plugins.Version{})
	wantError(t, err, models.ReasonMalformed, refused)

	// A project brings a makefile of its own.
	w.publish("site", "main", map[string]string{"m.make": text})
	source = open(t, w.local(gitEntry("projects", "m", "file://@GITROOT@/site.git", ""), nil))
	v = check(t, source, env, plugins.Version{})
	_, err = source.Build(t.Context(), env, v, t.TempDir())
	if models.CodeOf(err) == "" || !strings.Contains(err.Error(), refused) {
		t.Error(err)
	}
}

func TestPlugin_Open_LocalGitBase(t *testing.T) {
	w := newWorld(t)
	local := w.local("projects[] = views\n", models.Settings{"git_base": "file:///srv/git"})
	open(t, local)
	for _, base := range []string{"file://", "file:///", "file://srv/git", "file:///srv/git?x", "file:///srv/%00", "file:srv", "/srv/git"} {
		local["git_base"] = base
		_, err := makefile.New().Open(local)
		if err == nil || !strings.Contains(err.Error(), "git_base") {
			t.Errorf("%s: %v", base, err)
		}
	}
	for _, where := range []models.Settings{
		{"git_base": "file:///srv/git"},
		{"git_base": "file:///srv/git", "from": "git", "repository": w.git.URL + "/site.git", "path": "site.make", "url": ""},
	} {
		if _, err := makefile.New().Open(w.settings(where)); err == nil || !strings.Contains(err.Error(), "git_base") {
			t.Error(err)
		}
	}
}

func TestSource_LocalRepositories_Problems(t *testing.T) {
	w, env := fromFolders(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(w.root, "gitmod.git"), link); err != nil {
		t.Fatal(err)
	}
	plain := t.TempDir()
	try := func(env plugins.Env, address, more string) error {
		_, err := open(t, w.local(gitEntry("libraries", "l", address, more), nil)).Check(t.Context(), env, plugins.Version{})
		return err
	}
	for address, want := range map[string]string{
		"file://" + plain:            "is no git repository",
		"file://" + plain + "/x":     "There is no folder",
		"file:///":                   "names no folder",
		"file://elsewhere/x.git":     "names no folder",
		"file:///srv/x.git?upload=y": "names no folder",
	} {
		if err := try(env, address, ""); models.CodeOf(err) != models.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
	wantError(t, try(env, "file://@GITROOT@/gitmod.git", "@[branch] = nope\n"), models.ReasonRefNotFound, "has no branch nope")
	wantError(t, try(env, "file://@GITROOT@/gitmod.git", "@[tag] = nope\n"), models.ReasonRefNotFound, "has no tag nope")
	wantError(t, try(env, "file://@GITROOT@/gitmod.git", "@[revision] = abcdef1\n"), models.ReasonRefNotFound, "has no revision abcdef1")
	if err := try(env, "file://"+link, ""); err != nil {
		t.Error(err)
	}
	for _, forbidden := range []string{w.root, filepath.Join(w.root, "gitmod.git"), filepath.Join(w.root, "gitmod.git", "objects")} {
		env.Forbidden = []string{forbidden}
		for _, address := range []string{"file://@GITROOT@/gitmod.git", "file://" + link} {
			for _, more := range []string{"", "@[revision] = 2b107a8\n"} {
				wantError(t, try(env, address, more), models.ReasonURL, "is, or holds, a folder of Hefring itself")
			}
		}
	}
}

// The build looks again at what the check allowed.
func TestSource_LocalRepositories_ForbiddenBuild(t *testing.T) {
	w, env := fromFolders(t)
	source := open(t, w.local(gitEntry("libraries", "l", "file://@GITROOT@/gitlib.git", ""), nil))
	v := check(t, source, env, plugins.Version{})
	env.Forbidden = []string{w.root}
	_, err := source.Build(t.Context(), env, v, t.TempDir())
	wantError(t, err, models.ReasonURL, "is, or holds, a folder of Hefring itself")
}

func TestSource_LocalRepositories_Unreadable(t *testing.T) {
	w, env := fromFolders(t)
	source := open(t, w.local(gitEntry("libraries", "l", "file://@GITROOT@/gitlib.git", ""), nil))
	v := check(t, source, env, plugins.Version{})
	for _, name := range []string{"refs/heads", "objects/pack", "packed-refs"} {
		path := filepath.Join(w.root, "gitlib.git", name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		env = newerEnv(t, env)
		_, err = source.Check(t.Context(), env, plugins.Version{})
		if err == nil {
			_, err = source.Build(t.Context(), env, v, t.TempDir())
		}
		wantError(t, err, models.ReasonURL, "may not read "+path, "chmod -R a+rX")
		if err := os.Chmod(path, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	build(t, source, newerEnv(t, env), v)
}

func TestSource_LocalRepositories_Broken(t *testing.T) {
	w, env := fromFolders(t)
	dir := t.TempDir()
	gitIn(t, "", "clone", "--quiet", "--bare", "--shared", filepath.Join(w.root, "gitlib.git"), filepath.Join(dir, "shared.git"))
	gitIn(t, "", "clone", "--quiet", "--bare", filepath.Join(w.root, "gitlib.git"), filepath.Join(dir, "broken.git"))
	write(t, filepath.Join(dir, "broken.git", "HEAD"), "nonsense")
	for name, want := range map[string]string{"shared.git": "borrows objects of another repository", "broken.git": "does not appear to be a git repository"} {
		source := open(t, w.local(gitEntry("libraries", "l", "file://"+filepath.Join(dir, name), ""), nil))
		v, err := source.Check(t.Context(), env, plugins.Version{})
		if err == nil {
			_, err = source.Build(t.Context(), env, v, t.TempDir())
		}
		wantError(t, err, models.ReasonOf(err), want)
	}
}

func TestSource_LocalRepositories_Submodule(t *testing.T) {
	w, env := fromFolders(t)
	commit := gitIn(t, filepath.Join(w.root, "gitlib.git"), "rev-parse", "HEAD")
	w.publish("site", "main", map[string]string{".gitmodules": "[submodule \"sub\"]\n\tpath = sub\n\turl = file://@GITROOT@/gitlib.git\n"})
	dir := filepath.Join(w.work, "site")
	gitIn(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+commit+",sub")
	gitIn(t, dir, "commit", "--quiet", "-m", "submodule")
	gitIn(t, dir, "push", "--quiet", "origin", "main")
	source := open(t, w.local(gitEntry("projects", "m", "file://@GITROOT@/site.git", "@[submodule][] = init\n"), nil))
	v := check(t, source, env, plugins.Version{})
	_, err := source.Build(t.Context(), env, v, t.TempDir())
	if models.CodeOf(err) == "" || !strings.Contains(err.Error(), "a submodule has an address that is not fetched from") {
		t.Error(err)
	}
}
