package spec

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/models"
)

// files is a Loader of makefiles by address or path.
type files struct {
	texts  map[string]string
	remote bool // no absolute paths
	asked  []string
}

func (f *files) Read(_ context.Context, ref Ref, _ int64) ([]byte, Ref, error) {
	f.asked = append(f.asked, ref.String())
	text, ok := f.texts[ref.String()]
	if !ok {
		return nil, ref, models.Errorf(models.NotFound, "There is no %s.", ref)
	}
	return []byte(text), ref, nil
}

func (f *files) Commit(_ context.Context, d Download) (string, error) {
	return strings.Repeat("0", 39) + strconv.Itoa(len(d.Branch)), nil
}

func (f *files) Local() bool { return !f.remote }

const head = "core = 7.x\napi = 2\n"

func load(t *testing.T, f *files, ref Ref) *Makefile {
	t.Helper()
	m, err := Load(t.Context(), f, ref)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func parseOne(t *testing.T, text string) *Makefile {
	t.Helper()
	m, err := Parse([]byte(text), "site.make")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func projectsOf(m *Makefile) map[string]Project {
	found := map[string]Project{}
	for _, p := range m.Projects {
		found[p.Name] = p
	}
	return found
}

func TestLoad_IncludesMerge(t *testing.T) {
	f := &files{texts: map[string]string{
		"d/site.make":   head + "includes[] = a.make\nincludes[] = sub/b.make\noverrides[] = o1.make\noverrides[] = o2.make\nprojects[] = drupal\nprojects[own][version] = 1.0\nprojects[gone] = FALSE\nprojects[late][version] = 1.0\n",
		"d/a.make":      "projects[x][version] = 1.0\nprojects[own][version] = 9.9\nprojects[own][patch][] = p.patch\nprojects[gone][version] = 1.0\n",
		"d/sub/b.make":  "projects[x][version] = 2.0\nprojects[x][subdir] = s\nincludes[] = c.make\nincludes[] = beside.make\n",
		"d/sub/c.make":  "projects[] = c\n",
		"d/beside.make": "projects[] = beside\n",
		"d/o1.make":     "projects[late][version] = 1.1\nprojects[late][subdir] = o1\n",
		"d/o2.make":     "projects[late][version] = 1.2\n",
	}}
	m := load(t, f, Ref{Path: "d/site.make"})
	projects := projectsOf(m)
	for name, version := range map[string]string{"x": "1.0", "own": "1.0", "c": "", "beside": "", "late": "1.2", "drupal": ""} {
		if p, ok := projects[name]; !ok || p.Version != version {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if _, there := projects["gone"]; there {
		t.Error("FALSE did not remove a project of an include")
	}
	if projects["x"].Subdir != "s" || projects["late"].Subdir != "o1" {
		t.Errorf("attributes were not merged: %+v", projects)
	}
	patch := projects["own"].Patches[0]
	if patch.Ref.Path != "d/p.patch" || !patch.Fallback.IsZero() {
		t.Errorf("patch: %+v", patch)
	}
	var read []string
	for _, d := range m.Read {
		read = append(read, d.Ref.Path)
	}
	want := []string{"d/site.make", "d/a.make", "d/sub/b.make", "d/sub/c.make", "d/beside.make", "d/o1.make", "d/o2.make"}
	if !slices.Equal(read, want) || len(m.Read[0].SHA256) != 64 || len(m.Read[0].MD5) != 32 {
		t.Errorf("read %v", m.Read)
	}
}

func TestLoad_PatchesMergeByIndex(t *testing.T) {
	f := &files{texts: map[string]string{
		"site.make": head + "includes[] = inc.make\nprojects[views][patch][] = https://example.org/own.patch\n",
		"inc.make":  "projects[views][version] = 3.24\nprojects[views][patch][] = https://example.org/0.patch\nprojects[views][patch][] = https://example.org/1.patch\n",
	}}
	patches := projectsOf(load(t, f, Ref{Path: "site.make"}))["views"].Patches
	if len(patches) != 2 || patches[0].Ref.URL != "https://example.org/own.patch" || patches[1].Ref.URL != "https://example.org/1.patch" {
		t.Errorf("%+v", patches)
	}
}

func TestLoad_RelativeToAnAddress(t *testing.T) {
	f := &files{remote: true, texts: map[string]string{
		"https://example.org/mk/site.make?x=1": head + "includes[] = sub/inc.make\nprojects[a][version] = 1.0\nprojects[a][patch][] = a.patch\n",
		"https://example.org/mk/sub/inc.make":  "projects[b][version] = 1.0\nprojects[b][patch][] = ../b.patch?v=2\nlibraries[l][download][type] = get\nlibraries[l][download][url] = l.zip\n",
	}}
	m := load(t, f, Ref{URL: "https://example.org/mk/site.make?x=1"})
	projects := projectsOf(m)
	if got := projects["a"].Patches[0].Ref.URL; got != "https://example.org/mk/a.patch" {
		t.Error(got)
	}
	b := projects["b"].Patches[0]
	if b.Ref.URL != "https://example.org/mk/b.patch?v=2" || b.Fallback.URL != "https://example.org/b.patch?v=2" {
		t.Errorf("%+v", b)
	}
	if got := m.Libraries[0].Download.Ref.URL; got != "https://example.org/mk/sub/l.zip" {
		t.Error(got)
	}
}

func TestLoad_GitInclude(t *testing.T) {
	commit := strings.Repeat("0", 39) + "4"
	f := &files{texts: map[string]string{
		"site.make": head + "includes[a][makefile] = sub/inc.make\nincludes[a][download][type] = git\nincludes[a][download][url] = https://example.org/x.git\nincludes[a][download][branch] = main\n",
		"sub/inc.make of https://example.org/x.git at 0000000":  "includes[] = more.make\nprojects[b][version] = 1.0\nprojects[b][patch][] = b.patch\n",
		"sub/more.make of https://example.org/x.git at 0000000": "projects[] = c\n",
	}}
	m := load(t, f, Ref{Path: "site.make"})
	patch := projectsOf(m)["b"].Patches[0]
	if want := (Ref{Git: "https://example.org/x.git", Commit: commit, Path: "sub/b.patch"}); patch.Ref != want || patch.Fallback.Path != "b.patch" {
		t.Errorf("%+v", patch)
	}
	if len(m.Read) != 3 || m.Read[2].Ref.Path != "sub/more.make" {
		t.Errorf("%+v", m.Read)
	}
}

func TestLoad_Cycles(t *testing.T) {
	f := &files{texts: map[string]string{"a.make": head + "includes[] = b.make\n", "b.make": "includes[] = a.make\nprojects[] = x\n"}}
	_, err := Load(t.Context(), f, Ref{Path: "a.make"})
	wantError(t, err, "a.make includes itself, by way of b.make")

	deep := &files{texts: map[string]string{}}
	for i := range 30 {
		deep.texts[fmt.Sprintf("%d.make", i)] = head + fmt.Sprintf("includes[] = %d.make\n", i+1)
	}
	_, err = Load(t.Context(), deep, Ref{Path: "0.make"})
	wantError(t, err, "more than 20 levels deep")

	wide := &files{texts: map[string]string{"top.make": head}}
	for i := range 150 {
		wide.texts["top.make"] += fmt.Sprintf("includes[] = i%d.make\n", i)
		wide.texts[fmt.Sprintf("i%d.make", i)] = fmt.Sprintf("projects[] = p%d\n", i)
	}
	_, err = Load(t.Context(), wide, Ref{Path: "top.make"})
	wantError(t, err, "includes more than 100 others")

	// Each of ten files includes the next one twice.
	doubling := &files{texts: map[string]string{"10.make": "projects[] = x\n"}}
	for i := range 10 {
		doubling.texts[fmt.Sprintf("%d.make", i)] = head + strings.Repeat(fmt.Sprintf("includes[] = %d.make\n", i+1), 2)
	}
	_, err = Load(t.Context(), doubling, Ref{Path: "0.make"})
	wantError(t, err, "includes more than 100 others")
}

func TestLoad_MissingInclude(t *testing.T) {
	f := &files{texts: map[string]string{"d/site.make": head + "includes[] = nope.make\n"}}
	_, err := Load(t.Context(), f, Ref{Path: "d/site.make"})
	wantError(t, err, "d/site.make includes d/nope.make, which cannot be read")
	if models.CodeOf(err) != models.Invalid {
		t.Errorf("code %s", models.CodeOf(err))
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %v", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(models.Explain(err), part) {
			t.Errorf("%q\nlacks %q", models.Explain(err), part)
		}
	}
}

func TestParse_Problems(t *testing.T) {
	project := func(lines string) string { return head + "projects[a][version] = 1.0\n" + lines }
	for name, c := range map[string]struct{ text, want string }{
		"no core":            {"api = 2\nprojects[] = a\n", "does not say for which Drupal it is; write core = 7.x"},
		"bad core":           {"core = seven\napi = 2\n", "site.make, line 1: core: “seven” is no version of Drupal core"},
		"patch version":      {"core = 8.9.20\napi = 2\n", "“8.9.20” is no version of Drupal core"},
		"old core":           {"core = 5.x\napi = 2\n", "too old"},
		"api":                {"core = 7.x\napi = 3\n", "write api = 2"},
		"true":               {head + "projects[views] = TRUE\n", "line 3: projects[views]: TRUE is no version"},
		"type":               {project("projects[a][type] = widget\n"), "line 4: projects[a][type]: “widget” is no type of project; write module, theme"},
		"translation":        {project("projects[a][type] = translation\n"), "write translations[] ="},
		"version":            {head + "projects[a][version] = 3.24 ; stable\n", "“3.24 ; stable” is no version"},
		"evil name":          {project("projects[a][name] = ../../x\n"), "another place"},
		"evil key":           {head + "projects[../../x][version] = 1.0\n", "no name of a project"},
		"evil subdir":        {project("projects[a][subdir] = a/..\n"), "holds “..”"},
		"absolute subdir":    {project("projects[a][subdir] = /etc\n"), "begins with /"},
		"evil destination":   {project("projects[a][destination] = ../x\n"), "lead out of the build"},
		"dot directory":      {project("projects[a][directory_name] = .\n"), "replace everything beside it"},
		"git directory":      {project("projects[a][directory_name] = .git/hooks\n"), "leads into .git"},
		"list and key":       {head + "projects[] = a\nprojects[a][version] = 1.0\n", "listed and has settings of its own"},
		"library":            {head + "libraries[l][destination] = x\n", "names no download"},
		"library text":       {head + "libraries[l] = 1.0\n", "a library needs a download"},
		"library type":       {head + "libraries[l][download][url] = https://example.org/x\n", "the download has no type"},
		"cvs":                {project("projects[a][download][type] = cvs\n"), "downloads by cvs are not supported"},
		"unknown download":   {project("projects[a][download][type] = foo\n"), "“foo” is no type of download"},
		"no address":         {project("projects[a][download][type] = get\n"), "the download has no address"},
		"ftp":                {project("projects[a][download][type] = get\nprojects[a][download][url] = ftp://example.org/x\n"), "addresses that begin with ftp: are not supported"},
		"password":           {project("projects[a][download][type] = get\nprojects[a][download][url] = https://u:p@example.org/x\n"), "holds a user name or password"},
		"filename":           {project("projects[a][download][type] = get\nprojects[a][download][url] = https://example.org/x\nprojects[a][download][filename] = ../x\n"), "holds “..”"},
		"subtree":            {project("projects[a][download][type] = get\nprojects[a][download][url] = https://example.org/x\nprojects[a][download][subtree] = ../x\n"), "holds “..”"},
		"checksum":           {project("projects[a][download][type] = get\nprojects[a][download][url] = https://example.org/x\nprojects[a][download][sha256] = 12\n"), "has 64 digits"},
		"copy of an address": {project("projects[a][download][type] = copy\nprojects[a][download][url] = https://example.org/x\n"), "only a folder beside the makefile can be copied"},
		"option as a branch": {project("projects[a][download][branch] = --upload-pack=x\n"), "cannot be the name of a branch"},
		"git address":        {project("projects[a][download][url] = ext::sh -c x\n"), "no valid address"},
		"git option":         {project("projects[a][download][url] = --upload-pack=x\n"), "no valid address"},
		"patch":              {project("projects[a][patch][] = ftp://example.org/x\n"), "“ftp://example.org/x” is no patch"},
		"patch without url":  {project("projects[a][patch][x][md5] = 1\n"), "the patch has no address"},
		"escape":             {project("projects[a][patch][] = ../../x.patch\n"), "leads out of the folder"},
		"variant":            {project("projects[a][variant] = half\n"), "write profile-only, projects, full"},
		"language":           {head + "translations[] = ../x\n", "is no language"},
		"html":               {"<!DOCTYPE html><html>core = 7.x</html>", "it is a web page"},
		"binary":             {"core = 7.x\x00", "zero bytes"},
		"latin":              {"core = 7.x\n; \xe9\n", "UTF-8"},
		"empty":              {"", "it holds no settings"},
		"words":              {"hello\n", "it holds no settings"},
		"yaml":               {"core: 7.x\nprojects:\n  - drupal\n views: x\n", "line 4"},
		"yaml map in list":   {"core: 7.x\nprojects:\n  - views: {version: 1}\n", "a project needs a name"},
		"yaml twice":         {"core: 7.x\nprojects:\n  a: {}\n  a: {}\n", "line 4"},
		"yaml documents":     {"core: 7.x\n---\ncore: 8.x\n", "several documents"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Parse([]byte(c.text), "site.make")
			if m != nil {
				t.Errorf("gave %+v", m)
			}
			wantError(t, err, c.want)
			if models.ReasonOf(err) != models.ReasonMalformed || models.CodeOf(err) != models.Invalid {
				t.Errorf("reason %q, code %q", models.ReasonOf(err), models.CodeOf(err))
			}
		})
	}
}

func TestParse_ListsAllProblems(t *testing.T) {
	var text strings.Builder
	text.WriteString(head)
	for i := range 20 {
		fmt.Fprintf(&text, "projects[p%d] = TRUE\n", i)
	}
	_, err := Parse([]byte(text.String()), "site.make")
	wantError(t, err, "20 things are wrong", "projects[p0]", "projects[p7]", "And 12 more.")
}

func TestParse_RemotePlaces(t *testing.T) {
	for text, want := range map[string]string{
		"projects[a][patch][] = /etc/passwd\n":                                                                         "path of one machine",
		"projects[a][patch][] = file:///etc/passwd\n":                                                                  "names a file of one machine",
		"projects[a][patch][] = ../../../x\n":                                                                          "above the top of the server",
		"projects[a][download][url] = file:///srv/x.git\n":                                                             "names a folder of one machine",
		"includes[] = /etc/passwd\n":                                                                                   "cannot be included",
		"includes[a][makefile] = ../x\nincludes[a][download][url] = https://e.org/x.git\n":                             "path of a makefile inside of the repository",
		"includes[a][makefile] = x\nincludes[a][download][type] = get\nincludes[a][download][url] = https://e.org/x\n": "included from git repositories",
	} {
		f := &files{remote: true, texts: map[string]string{"https://example.org/mk/site.make": head + text}}
		_, err := Load(t.Context(), f, Ref{URL: "https://example.org/mk/site.make"})
		wantError(t, err, want)
	}
}

func TestParse_Whole(t *testing.T) {
	m := parseOne(t, head+`translations[] = de
options[working-copy] = TRUE
options[force-complete] = TRUE
defaults[projects][subdir] = contrib
defaults[widgets][x] = y
projects[] = drupal
projects[views] = 3.24
projects[g][type] = Theme
projects[g][download][branch] = 7.x-1.x
projects[s][download] = git@example.org:team/s.git
projects[f][type] = profile
projects[f][download][type] = file
projects[f][download][url] = "https://example.org/f.tgz"
projects[f][download][md5] = 7BE9C30B10F7E4DD1A57A2377EB9C699
projects[f][subdir] = ""
projects[f][do_recursion] = 0
projects[f][contrib_destination] = .
projects[f][mystery] = x
projects[p][download][type] = pm
projects[p][patch] = https://example.org/p.patch
projects[q][version] = 1.x-dev
projects[q][patch][12][url] = q.patch
projects[q][patch][12][sha1] = da39a3ee5e6b4b0d3255bfef95601890afd80709
libraries[l][download][type] = copy
libraries[l][download][url] = file://./l
libraries[l][destination] = modules/x
libraries[l][directory_name] = "folder"
`)
	projects := projectsOf(m)
	if got := slices.Sorted(maps.Keys(projects)); !slices.Equal(got, []string{"drupal", "f", "g", "p", "q", "s", "views"}) {
		t.Fatal(got)
	}
	want := map[string]*Download{
		"g": {Type: "git", URL: "https://git.drupalcode.org/project/g.git", DefaultURL: true, Branch: "7.x-1.x"},
		"s": {Type: "git", URL: "https://example.org/team/s.git"},
		"f": {Type: "get", URL: "https://example.org/f.tgz", Ref: Ref{URL: "https://example.org/f.tgz"}, Checksums: Checksums{MD5: "7be9c30b10f7e4dd1a57a2377eb9c699"}},
		"p": nil, "drupal": nil, "views": nil, "q": nil,
	}
	for name, d := range want {
		if got := projects[name].Download; !reflect.DeepEqual(got, d) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	paths := map[string]string{"drupal": ".", "views": "sites/all/modules/contrib/views", "g": "sites/all/themes/contrib/g", "s": "sites/all/modules/contrib/s", "f": "profiles/f"}
	for name, want := range paths {
		p := projects[name]
		if got := p.Path(m.ContribDestination("")); got != want {
			t.Errorf("%s goes to %s", name, got)
		}
	}
	if f := projects["f"]; !f.NoRecursion || !f.ContribDestGiven || f.Type != TypeProfile {
		t.Errorf("%+v", f)
	}
	if patch := projects["q"].Patches[0]; patch.Ref.Path != "q.patch" || patch.Checksums.SHA1 == "" || len(projects["p"].Patches) != 1 {
		t.Errorf("%+v", patch)
	}
	l := m.Libraries[0]
	if l.Download.Ref.Path != "l" || l.Path("sites/all") != "sites/all/modules/x/folder" {
		t.Errorf("%+v", l)
	}
	if !m.Options.WorkingCopy || !slices.Equal(m.Translations, []string{"de"}) {
		t.Errorf("%+v", m)
	}
	var warnings []string
	for _, w := range m.Warnings {
		warnings = append(warnings, w.String())
	}
	all := strings.Join(warnings, "\n")
	for _, part := range []string{"options[force-complete]", "defaults[widgets]", "projects[f][mystery]", "https://example.org/team/s.git is used instead", "site.make, line "} {
		if !strings.Contains(all, part) {
			t.Errorf("the warnings lack %q:\n%s", part, all)
		}
	}
	var again Makefile
	if err := json.Unmarshal(marshal(t, m), &again); err != nil {
		t.Fatal(err)
	}
	if string(marshal(t, again)) != string(marshal(t, m)) {
		t.Error("the JSON form loses something")
	}
}

func TestParse_YAML(t *testing.T) {
	m := parseOne(t, `core: 8.x
base: &base
  type: theme
  version: 1.30
projects:
  drupal: {version: ~}
  views: "3.24"
  zen:
    <<: *base
    subdir: x
  other: *base
  off: false
  null_version: {version: null}
  text:
    version: 0x10
    lock: |
      two
      lines
`)
	projects := projectsOf(m)
	if z := projects["zen"]; z.Type != TypeTheme || z.Version != "1.30" || z.Subdir != "x" {
		t.Errorf("zen: %+v", z)
	}
	if projects["other"].Type != TypeTheme || projects["text"].Version != "0x10" || projects["text"].Lock != "two\nlines\n" {
		t.Errorf("%+v", projects)
	}
	if _, there := projects["off"]; there {
		t.Error("false did not remove a project")
	}
}

func TestParse_YAMLBombs(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("core: 7.x\na: &a [x, x, x, x, x, x, x, x, x, x]\n")
	for c := 'b'; c < 'k'; c++ {
		fmt.Fprintf(&bomb, "%c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), c-1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"aliases": {bomb.String(), "more than 50000 values"},
		"itself":  {"core: 7.x\na: &a [*a]\n", "holds itself"},
		"unknown": {"core: 7.x\na: *b\n", "b"},
		"flow":    {"core: 7.x\na: " + strings.Repeat("[", 100_000), "nested more than 50 deep"},
		"dashes":  {"core: 7.x\na:\n  " + strings.Repeat("- ", 100_000), "dashes"},
		"blocks":  {"core: 7.x\n" + nested(400), "nested more than 50 deep"},
		"large":   {"core: 7.x\n# " + strings.Repeat("x", MaxText), "larger than"},
		"long":    {"core: 7.x\n# " + strings.Repeat("x", MaxText/2), "Split it, or write it as INI"},
		"keys":    {"core: 7.x\n" + strings.Repeat("k: v\n", 20_000), "more than 20000 lines"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(c.text), "site.make.yml")
			wantError(t, err, c.want)
		})
	}
}

func TestParseYAML_HostileInTime(t *testing.T) {
	var keys strings.Builder
	keys.WriteString("core: 7.x\n")
	for i := range 5_000 {
		fmt.Fprintf(&keys, "k%d: v\n", i)
	}
	for name, text := range map[string]string{
		"keys": keys.String(), "list": "core: 7.x\nx:\n" + strings.Repeat("  - a\n", 19_000), "questions": strings.Repeat("? a\n", 9_000),
		"quotes": strings.Repeat("'", 200_000), "escapes": "x: \"" + strings.Repeat("\\x41", 60_000) + "\"",
		"block": "core: 7.x\nx: |\n" + strings.Repeat("  a\n", 19_000), "pipes": strings.Repeat("|\n", 19_000), "nested": strings.Repeat(nested(45), 200),
		"flow": "core: 7.x\nx: [" + strings.Repeat(strings.Repeat("a,", 900)+"\n", 20) + "]", "blank": strings.Repeat(" ", 200_000), "returns": strings.Repeat("\r", 200_000),
	} {
		start := time.Now()
		_, _ = parseYAML(text)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s took %s", name, took)
		}
	}
}

func nested(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestParse_TooManyEntries(t *testing.T) {
	var b strings.Builder
	b.WriteString(head)
	for i := range MaxEntries + 1 {
		fmt.Fprintf(&b, "projects[] = p%d\n", i)
	}
	_, err := Parse([]byte(b.String()), "site.make")
	wantError(t, err, "at most 5000 are built")
}

func TestStock_IsRead(t *testing.T) {
	for _, md5 := range []string{"", strings.Repeat("a", 32)} {
		m := parseOne(t, Stock("thunder", "7.x-3.2", "https://example.org/b.tar.gz", md5))
		p := m.Projects[0]
		if len(m.Projects) != 1 || p.Type != TypeCore || p.Version != "7.x-3.2" || m.Core != "7.x" || p.Download.Checksums.MD5 != md5 || len(m.Warnings) > 0 {
			t.Errorf("%+v", m)
		}
	}
}

func TestQuoteINI_IsReadBack(t *testing.T) {
	for _, value := range []string{`a"b`, `a\b`, `a\`, `"`, "two\nlines", "", "; x", `\"`} {
		tree, _, err := parseINI("k = " + quoteINI(value) + "\n")
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := text(tree.get("k")); got != value {
			t.Errorf("%q came back as %q", value, got)
		}
	}
}
