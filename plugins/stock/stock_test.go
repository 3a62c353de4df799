package stock_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/plugintest"
	"hefring/plugins/stock"
)

func TestPlugin_Contract(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("11.0.0"), s.release("10.5.1"), s.release("10.5.0"))
	plugintest.Exercise(t, plugintest.Harness{
		Plugin:    stock.New(),
		Settings:  s.settings("project", "drupal", "core", "current", "channel", "major", "major", "10", "packaging", "auto"),
		Elsewhere: models.Settings{"project": "no_such_project", "location": "https://updates.invalid/release-history"},
		Wrong: map[string][]string{
			"project":             {"../x", "a/b", "a b", "drupal?x", "drupäl", "7up", strings.Repeat("a", 101)},
			"major":               {"0", "1.5", "ten", "99999999999"},
			"location":            {"https://user:secret@example.org/", "https://example.org/?x=1", "https://", "ssh://example.org/x"},
			"composer_repository": {"https://user:secret@example.org/", "https://example.org/?x=1"},
			"composer_package":    {"drupal", "Drupal/x", "drupal/x/y", "drupal/x y", "/x", "drupal/"},
		},
		Run:    run.New(run.Config{}),
		Egress: newGuard(t),
	})
}

func TestSource_Check_Channels(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("11.0.0-rc1"), s.release("10.5.1"), s.release("10.4.9", "Security update"), s.release("9.5.11"))
	for _, c := range []struct {
		pairs []string
		want  string
	}{
		{nil, "10.5.1"},
		{[]string{"channel", "prerelease"}, "11.0.0-rc1"},
		{[]string{"channel", "major", "major", "10"}, "10.5.1"},
		{[]string{"channel", "major", "major", "11"}, "11.0.0-rc1"},
	} {
		v := check(t, open(t, s.settings(c.pairs...)), newEnv(t), plugins.Version{})
		if v.Revision != "drupal:drupal/"+c.want || v.Label != c.want || v.Security || v.Hold != nil {
			t.Errorf("%v: %+v", c.pairs, v)
		}
		if early := strings.Contains(v.Note, "not a full release"); early != strings.Contains(c.want, "rc") {
			t.Errorf("%v: the note is %q", c.pairs, v.Note)
		}
	}
	_, err := open(t, s.settings("channel", "major", "major", "9")).Check(t.Context(), newEnv(t), plugins.Version{})
	if models.ReasonOf(err) != models.ReasonNotFound {
		t.Errorf("an unsupported major version: %v", err)
	}
}

func TestSource_Check_Conditional(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("10.5.1"))
	env, source := newEnv(t), open(t, s.settings())
	first := check(t, source, env, plugins.Version{})
	again := check(t, source, env, first)
	if feeds, same := s.counts(); feeds != 1 || same != 1 || !again.Same(first) {
		t.Errorf("with its cache: %d downloads, %d without; %+v", feeds, same, again)
	}
	// The memo alone is enough.
	if again = check(t, source, newEnv(t), again); !again.Same(first) {
		t.Errorf("without its cache: %+v", again)
	}
	if feeds, same := s.counts(); feeds != 1 || same != 2 {
		t.Errorf("without its cache: %d downloads, %d without", feeds, same)
	}
	// Other settings ask anew.
	other := check(t, open(t, s.settings("channel", "prerelease")), newEnv(t), again)
	if feeds, _ := s.counts(); feeds != 2 || !other.Same(first) {
		t.Errorf("other settings: %d downloads, %+v", feeds, other)
	}
	// A new validator alone is no change.
	s.set(s.release("10.5.1"))
	if again = check(t, source, env, first); !again.Same(first) {
		t.Errorf("the same feed anew: %+v", again)
	}
}

func TestSource_Check_DamagedMemory(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("10.5.1"))
	env, source := newEnv(t), open(t, s.settings())
	good := check(t, source, env, plugins.Version{})
	for _, last := range []plugins.Version{
		{Revision: "drupal:drupal/", Content: "x", Plan: "{", Memo: "{"},
		{Revision: "drupal:drupal/../../x", Plan: `{"packaging":"archive"}`, Memo: `{"validators":7}`},
		{Revision: "git:HEAD@sha1:x", Memo: "null\nnull"},
		{Revision: "drupal:other/11.0.0"},
		{Revision: good.Revision, Content: good.Content},
		{Memo: strings.Repeat("a", 1<<20), Plan: strings.Repeat("{", 1<<20)},
	} {
		if v := check(t, source, env, last); !v.Same(good) || v.Hold != nil {
			t.Errorf("after %.60q: %+v", last.Revision, v)
		}
	}
}

func TestSource_Check_SecurityUpdate(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("10.4.0"))
	env, source := newEnv(t), open(t, s.settings())
	last := check(t, source, env, plugins.Version{})
	s.set(s.release("10.4.2"), s.release("10.4.1"), s.release("10.4.0"))
	if v := check(t, source, env, last); v.Label != "10.4.2" || v.Security || v.Hold != nil {
		t.Errorf("bug fixes: %+v", v)
	}
	s.set(s.release("10.4.3"), s.release("10.4.2", "Security update"), s.release("10.4.1"), s.release("10.4.0", "Insecure"))
	v := check(t, source, env, last)
	if v.Label != "10.4.3" || !v.Security || fact(v, "Security releases since 10.4.0") != "10.4.2" {
		t.Errorf("a security update on the way: %+v", v)
	}
	s.set(s.release("10.4.4"), s.release("10.4.3"), s.release("10.4.2", "Security update"))
	if v = check(t, source, env, v); v.Label != "10.4.4" || v.Security {
		t.Errorf("after it: %+v", v)
	}
	s.set(s.release("10.4.5", "Security release"), s.release("10.4.4"))
	if v = check(t, source, env, v); v.Security {
		t.Errorf("another word is no security update: %+v", v)
	}
}

func TestSource_Check_LowerIsHeld(t *testing.T) {
	for name, c := range map[string]struct {
		now  func(s *site) []string
		says string
	}{
		"revoked": {func(s *site) []string {
			return []string{strings.Replace(s.release("10.5.1"), "published", "unpublished", 1), s.release("10.5.0")}
		}, "taken back"},
		"gone":     {func(s *site) []string { return []string{s.release("10.5.0")} }, "no longer in the list"},
		"insecure": {func(s *site) []string { return []string{s.release("10.5.1", "Insecure"), s.release("10.5.0")} }, "marked insecure"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, coreHead)
			s.set(s.release("10.5.1"), s.release("10.5.0"))
			env, source := newEnv(t), open(t, s.settings())
			last := check(t, source, env, plugins.Version{})
			s.set(c.now(s)...)
			v := check(t, source, env, last)
			if v.Label != "10.5.0" || v.Hold == nil || v.Hold.Reason != models.ReasonLower || !strings.Contains(v.Hold.Message, c.says) {
				t.Fatalf("got %+v, hold %+v", v, v.Hold)
			}
			// Until a person approves it, each check says so again.
			if again := check(t, source, env, last); !again.Same(v) || again.Hold == nil {
				t.Errorf("again: %+v", again)
			}
			if accepted := check(t, source, env, v); accepted.Hold != nil || !accepted.Same(v) {
				t.Errorf("approved: %+v", accepted)
			}
		})
	}
}

func TestSource_Check_NoBetaInPlaceOfAFullRelease(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("10.4.0"))
	env, source := newEnv(t), open(t, s.settings())
	last := check(t, source, env, plugins.Version{})
	s.set(s.release("11.0.0-beta1"), s.release("10.4.0", "Unsupported"))
	v := check(t, source, env, last)
	if !v.Same(last) || v.Hold != nil {
		t.Errorf("got %+v", v)
	}
}

func TestSource_Check_RepackedIsHeld(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("10.4.0"))
	env, source := newEnv(t), open(t, s.settings())
	last := check(t, source, env, plugins.Version{})
	s.set(s.packed("10.4.0", map[string]string{"index.php": "<?php // other\n"}))
	v := check(t, source, env, last)
	if v.Revision != last.Revision || v.Content == last.Content || v.Hold == nil || v.Hold.Reason != models.ReasonTagMoved {
		t.Errorf("got %+v, hold %+v", v, v.Hold)
	}
	if _, err := source.Build(t.Context(), env, last, t.TempDir()); models.ReasonOf(err) != models.ReasonVerification {
		t.Errorf("the old release built from the new archive: %v", err)
	}
}

// The same archive at another address is no news.
func TestSource_Check_ArchiveMoved(t *testing.T) {
	s := newSite(t, coreHead)
	text := s.release("10.4.0")
	s.set(text)
	env, source := newEnv(t), open(t, s.settings())
	last := check(t, source, env, plugins.Version{})
	s.set(strings.Replace(text, "/files/", "/mirror/", 1))
	if v := check(t, source, env, last); !v.Same(last) || v.Hold != nil {
		t.Errorf("got %+v", v)
	}
}

func TestSource_Check_ProjectWithVendor(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("10.4.0"))
	if v := check(t, open(t, s.settings("project", "drupal/drupal")), newEnv(t), plugins.Version{}); v.Revision != "drupal:drupal/10.4.0" {
		t.Errorf("got %+v", v)
	}
}

func TestSource_Check_Refusals(t *testing.T) {
	const sum = "0123456789abcdef0123456789abcdef"
	for name, c := range map[string]struct {
		head, release string
		pairs         []string
		reason        models.Reason
		says          string
	}{
		"module":            {strings.Replace(coreHead, "project_core", "project_module", 1), element("10.4.0", "https://example.org/x.tar.gz", sum), []string{"packaging", "archive"}, models.ReasonNotFound, "module"},
		"no full archive":   {strings.Replace(coreHead, "project_core", "project_distribution", 1), element("10.4.0", "https://example.org/x.tar.gz", sum), []string{"packaging", "archive"}, models.ReasonNotFound, "Composer"},
		"no checksum":       {coreHead, element("10.4.0", "https://example.org/x.tar.gz", ""), nil, models.ReasonVerification, "checksum"},
		"strange checksum":  {coreHead, element("10.4.0", "https://example.org/x.tar.gz", "abc"), nil, models.ReasonVerification, "checksum"},
		"file address":      {coreHead, element("10.4.0", "file:///etc/passwd", sum), nil, models.ReasonMalformed, "address"},
		"address in quotes": {coreHead, element("10.4.0", "https://example.org/&quot;&#10;includes[] = https://example.org/x", sum), nil, models.ReasonMalformed, "address"},
		"revoked project":   {strings.Replace(coreHead, "published", "revoked", 1), element("10.4.0", "https://example.org/x.tar.gz", sum), nil, models.ReasonNotFound, "revoked"},
		"nothing":           {coreHead, "", nil, models.ReasonNotFound, "no published release"},
	} {
		t.Run(name, func(t *testing.T) {
			head := c.head
			if strings.Contains(name, "module") || strings.Contains(name, "full") {
				head = strings.ReplaceAll(head, "<short_name>drupal<", "<short_name>other<")
				c.pairs = append(c.pairs, "project", "other")
			}
			s := newSite(t, head)
			s.set(c.release)
			_, err := open(t, s.settings(c.pairs...)).Check(t.Context(), newEnv(t), plugins.Version{})
			if models.ReasonOf(err) != c.reason || !strings.Contains(models.Explain(err), c.says) {
				t.Errorf("got %v (%s)", err, models.ReasonOf(err))
			}
		})
	}
}

func TestSource_Build_Archive(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("10.5.1"))
	env, source := newEnv(t), open(t, s.settings())
	v := check(t, source, env, plugins.Version{})
	dst := t.TempDir()
	made, err := source.Build(t.Context(), env, v, dst)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dst, "core/lib/Drupal.php")); err != nil || string(text) != "10.5.1" {
		t.Errorf("built %q, %v", text, err)
	}
	want := models.SourcePackage{Name: "drupal", Type: "core", Version: "10.5.1", URL: s.URL + "/files/drupal-10.5.1.tar.gz", Checksum: "md5:" + fact(v, "MD5 of the archive")}
	if len(made.Sources) != 1 || made.Sources[0] != want {
		t.Errorf("made of %+v, want %+v", made.Sources, want)
	}
	if !strings.Contains(v.Plan, "projects[drupal][download][md5]") {
		t.Errorf("the plan holds no makefile: %s", v.Plan)
	}
}

const core7Head = `<title>Drupal core</title><short_name>drupal</short_name><type>project_core</type><api_version>7.x</api_version><recommended_major>7</recommended_major><supported_majors>7</supported_majors><default_major>7</default_major><project_status>published</project_status>`

func TestSource_Build_Legacy(t *testing.T) {
	s := newSite(t, core7Head)
	s.set(strings.Replace(s.release("7.103"), "<date>", "<version_major>7</version_major><version_patch>103</version_patch><date>", 1))
	env, source := newEnv(t), open(t, s.settings("core", "7.x"))
	v := check(t, source, env, plugins.Version{})
	if v.Revision != "drupal:drupal/7.103" || !strings.Contains(v.Plan, "core = 7.x") {
		t.Fatalf("got %+v", v)
	}
	dst := t.TempDir()
	made, err := source.Build(t.Context(), env, v, dst)
	if err != nil || len(made.Sources) != 1 || made.Sources[0].Type != "core" || made.Sources[0].Version != "7.103" {
		t.Errorf("made %+v, %v", made, err)
	}
	if _, err := os.Stat(filepath.Join(dst, "index.php")); err != nil {
		t.Error(err)
	}
	if source.Upstream().Key != s.URL+"/release-history/drupal/7.x" {
		t.Errorf("upstream %+v", source.Upstream())
	}
}

// A distribution is built from its full variant, with the right core of the
// makefile for old and new ways to write its version.
func TestSource_Build_Distribution(t *testing.T) {
	for _, c := range []struct{ core, head, version, says string }{
		{"7.x", `<api_version>7.x</api_version><recommended_major>2</recommended_major><supported_majors>2</supported_majors>`, "7.x-2.1", "core = 7.x"},
		{"current", `<supported_branches>8.x-2.</supported_branches>`, "8.x-2.1", "core = 8.x"},
		{"current", `<supported_branches>3.0.</supported_branches>`, "3.0.1", "core = 8.x"},
	} {
		s := newSite(t, `<short_name>mydist</short_name><type>project_distribution</type><project_status>published</project_status>`+c.head)
		full := s.release(c.version)
		full = strings.Replace(full, "<terms>", "<files><file><url>"+between(full, "<download_link>", "<")+"</url><archive_type>tar.gz</archive_type><variant>full</variant><md5>"+
			between(full, "<mdhash>", "<")+"</md5></file></files><terms>", 1)
		full = strings.Replace(full, "<mdhash>", "<mdhash>x", 1) // that of another archive
		s.set(full)
		env, source := newEnv(t), open(t, s.settings("core", c.core, "project", "mydist"))
		v := check(t, source, env, plugins.Version{})
		if !strings.Contains(v.Plan, c.says) {
			t.Errorf("%s: plan %s", c.version, v.Plan)
		}
		dst := t.TempDir()
		if _, err := source.Build(t.Context(), env, v, dst); err != nil {
			t.Errorf("%s: %v", c.version, err)
		}
		if _, err := os.Stat(filepath.Join(dst, "index.php")); err != nil {
			t.Error(err)
		}
	}
}

func between(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	middle, _, _ := strings.Cut(rest, to)
	return middle
}

func TestSource_Build_DamagedPlan(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("10.5.1"), s.release("10.5.0"))
	env, source := newEnv(t), open(t, s.settings())
	good := check(t, source, env, plugins.Version{})
	for name, change := range map[string]func(*plugins.Version){
		"none":              func(v *plugins.Version) { v.Plan = "" },
		"no JSON":           func(v *plugins.Version) { v.Plan = "{" },
		"other checksum":    func(v *plugins.Version) { v.Plan = strings.ReplaceAll(v.Plan, `"md5":"`, `"md5":"0`) },
		"other archive":     func(v *plugins.Version) { v.Plan = strings.ReplaceAll(v.Plan, "/files/", "/other/") },
		"other makefile":    func(v *plugins.Version) { v.Plan = strings.Replace(v.Plan, "[md5] = ", "[md5] = 0", 1) },
		"other release":     func(v *plugins.Version) { v.Revision = "drupal:drupal/10.5.0" },
		"other project":     func(v *plugins.Version) { v.Revision = "drupal:other/10.5.1" },
		"unknown packaging": func(v *plugins.Version) { v.Plan = strings.Replace(v.Plan, `"archive"`, `"zip"`, 1) },
	} {
		v := good
		change(&v)
		if _, err := source.Build(t.Context(), env, v, t.TempDir()); err == nil {
			t.Errorf("%s: built", name)
		}
	}
}

func TestSource_Upstream(t *testing.T) {
	up := func(pairs ...string) plugins.Upstream {
		settings := models.Settings{}
		for i := 0; i < len(pairs); i += 2 {
			settings[pairs[i]] = pairs[i+1]
		}
		return open(t, settings).Upstream()
	}
	if got := up(); got.Host != "updates.drupal.org" || got.Key != "https://updates.drupal.org/release-history/drupal/current" {
		t.Errorf("got %+v", got)
	}
	if a, b := up("channel", "prerelease", "location", "https://Updates.Drupal.org/release-history/"), up(); a != b {
		t.Errorf("%+v is not %+v", a, b)
	}
	if a, b := up("core", "7.x"), up(); a == b {
		t.Error("two feeds are one upstream")
	}
}

func TestSource_Assess(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("10.5.2", "Security update"), s.release("10.5.1"), s.release("10.5.0", "Insecure"),
		strings.Replace(s.release("10.4.9"), "published", "unpublished", 1), s.release("10.4.8", "Security update"), s.release("10.4.7"), s.release("10.3.9"))
	env, source := newEnv(t), open(t, s.settings())
	check(t, source, env, plugins.Version{})
	running := []string{"drupal:drupal/10.5.2", "drupal:drupal/10.5.1", "drupal:drupal/10.5.0", "drupal:drupal/10.4.9", "drupal:drupal/10.4.8", "drupal:drupal/10.3.9", "drupal:other/1.0.0", "nonsense", "drupal:drupal/nonsense"}
	want := []string{"", "insecure", "insecure", "revoked", "outdated", "unsupported", "", "", ""}
	var versions []plugins.Version
	for _, revision := range running {
		versions = append(versions, plugins.Version{Revision: revision})
	}
	assessor, ok := source.(plugins.Assessor)
	if !ok {
		t.Fatal("no assessor")
	}
	found, err := assessor.Assess(t.Context(), env, versions)
	if err != nil || len(found) != len(running) {
		t.Fatalf("%v, %v", found, err)
	}
	for i, list := range found {
		var kinds []string
		for _, f := range list {
			kinds = append(kinds, string(f.Kind))
			if f.Package != "drupal" || f.Title == "" || !strings.HasPrefix(f.Link, "https://example.org/") || !strings.HasSuffix(running[i], f.Version) {
				t.Errorf("%s: %+v", running[i], f)
			}
		}
		if got := strings.Join(kinds, " "); got != want[i] {
			t.Errorf("%s: %q, want %q: %+v", running[i], got, want[i], list)
		}
	}
}

func TestSource_Assess_Outdated(t *testing.T) {
	s := newSite(t, coreHead)
	s.set(s.release("10.5.2"), s.release("10.5.1"))
	found, err := open(t, s.settings()).(plugins.Assessor).Assess(t.Context(), newEnv(t), []plugins.Version{{Revision: "drupal:drupal/10.5.1"}})
	if err != nil || len(found[0]) != 1 || found[0][0].Kind != models.FindingOutdated || !strings.Contains(found[0][0].Title, "10.5.2") {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestSource_Assess_WholeProject(t *testing.T) {
	for status, want := range map[string]models.FindingKind{"insecure": models.FindingInsecure, "revoked": models.FindingRevoked, "unpublished": models.FindingRevoked, "unsupported": models.FindingUnsupported} {
		s := newSite(t, strings.Replace(coreHead, ">published<", ">"+status+"<", 1))
		s.set(s.release("10.5.2"))
		found, err := open(t, s.settings()).(plugins.Assessor).Assess(t.Context(), newEnv(t), []plugins.Version{{Revision: "drupal:drupal/10.5.2"}})
		if err != nil || len(found[0]) != 1 || found[0][0].Kind != want || !strings.Contains(found[0][0].Title, "project") {
			t.Errorf("%s: %+v, %v", status, found, err)
		}
	}
}
