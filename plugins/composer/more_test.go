package composer_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer"
	"hefring/plugins/plugintest"
)

func TestPlugin_Exercise(t *testing.T) {
	u := newUpstream(t)
	u.header = "Bearer " + canary
	u.template("1.0.0", map[string]string{"acme/lib": "^1.0"}, nil)
	u.template("1.1.0", map[string]string{"acme/lib": "^1.0"}, nil)
	u.publish("acme/lib", "1.0.0", map[string]string{"src/A.php": "<?php\n"}, nil)
	settings := u.settings(models.Settings{"token": canary})
	plugintest.Exercise(t, plugintest.Harness{
		Plugin:    composer.New(),
		Settings:  settings,
		Elsewhere: models.Settings{"package": "acme/other", "repository": "https://no-such-host.example.org", "constraint": "^11 || dev-main"},
		Broken: []models.Settings{
			u.settings(models.Settings{"token": canary, "user": "robot"}),
			u.settings(models.Settings{"token": canary, "constraint": "^2"}),
			u.settings(models.Settings{"token": canary, "package": "acme/none"}),
		},
		Exception: &plugintest.Exception{
			Settings: settings,
			Provoke:  func(*testing.T) { u.withdraw("acme/template", "1.1.0") },
			Reason:   models.ReasonLower,
		},
		Wrong: map[string][]string{
			"package":      {"acme", "acme/", "Acme/Lib", "acme/lib/x", "../etc", "acme/lib --x", "php"},
			"constraint":   {"abc", "^", "8.x-1.0", ">=", "1.0 --stability=dev"},
			"repository":   {"ftp://example.org", "https://user:pw@example.org", "https://user@example.org", "https://example.org/?x=1", "http://"},
			"repositories": {"/srv/repo", "file:///srv", "https://example.org\nvcs", "git@example.org:x.git"},
		},
		Run: runner(t), Egress: guard(t),
	})
}

func TestPlugin_Open_CredentialNeedsToken(t *testing.T) {
	_, err := composer.New().Open(models.Settings{"package": "a/b", "repository": "https://example.org", "user": "me"})
	var e *models.Error
	if !errors.As(err, &e) || e.Fields["token"] == "" {
		t.Errorf("%v", err)
	}
	if _, err = composer.New().Open(models.Settings{"package": "a/b", "only": "1"}); !errors.As(err, &e) || e.Fields["only"] == "" {
		t.Errorf("%v", err)
	}
}

func TestSource_Upstream_CredentialsApart(t *testing.T) {
	keys := map[string]bool{}
	for _, s := range []models.Settings{
		{"repository": "https://Repo.example.org/"},
		{"repository": "https://repo.example.org"},
		{"repository": "https://repo.example.org", "token": "canary-1"},
		{"repository": "https://repo.example.org", "token": "canary-2"},
		{"repository": "https://repo.example.org", "token": "canary-1", "user": "me"},
	} {
		s["package"] = "a/b"
		up := open(t, composer.New(), s).Upstream()
		if up.Host != "repo.example.org" || strings.Contains(up.Key, "canary") {
			t.Errorf("%+v", up)
		}
		keys[up.Key] = true
	}
	if len(keys) != 4 {
		t.Errorf("%v", keys)
	}
}

func TestSource_Check_PeersShareAnswers(t *testing.T) {
	u := newUpstream(t)
	u.template("1.0.0", map[string]string{"acme/lib": "^1.0"}, nil)
	u.publish("acme/lib", "1.0.0", nil, nil)
	env, _ := machine(t)
	s := u.open(nil)
	v := check(t, env, s, plugins.Version{})
	peer := u.open(models.Settings{"constraint": "1.0.0"})
	w := check(t, env, peer, plugins.Version{})
	u.requests()
	env.Answers = &plugins.Answers{}
	check(t, env, s, v)
	check(t, env, peer, w)
	if got := u.requests(); len(got) != 3 {
		t.Errorf("two sources of one repository asked %v", got)
	}
}

func TestSource_Check_ChoosesForThisMachine(t *testing.T) {
	u := newUpstream(t)
	u.template("1.0.0", map[string]string{"php": ">=7"}, nil)
	u.template("2.0.0", map[string]string{"php": ">=99"}, nil)
	u.template("2.1.0", map[string]string{"ext-no-such-thing": "*"}, nil)
	env, _ := machine(t)
	if v := check(t, env, u.open(nil), plugins.Version{}); v.Label != "1.0.0" {
		t.Errorf("%+v", v)
	}
	_, err := u.open(models.Settings{"constraint": "^2"}).Check(t.Context(), env, plugins.Version{})
	wantReason(t, err, models.ReasonNotFound, "2.1.0 wants ext-no-such-thing *")
}

func TestSource_Check_Branch(t *testing.T) {
	u := newUpstream(t)
	u.template("dev-main", nil, nil)
	env, _ := machine(t)
	s := u.open(models.Settings{"constraint": "dev-main"})
	v := check(t, env, s, plugins.Version{})
	if !strings.HasPrefix(v.Revision, "composer:acme/template@dev-main#") {
		t.Errorf("%+v", v)
	}
	u.template("dev-main", nil, map[string]string{"new.txt": "1"})
	next := check(t, env, s, v)
	if next.Revision == v.Revision || next.Hold != nil {
		t.Errorf("%+v", next)
	}
	dst, _ := build(t, env, s, next)
	if _, err := os.Stat(filepath.Join(dst, "new.txt")); err != nil {
		t.Error(err)
	}
}

func TestSource_Check_ShippedLockIsTaken(t *testing.T) {
	u := newUpstream(t)
	lib := u.publish("acme/lib", "1.0.0", nil, nil)
	u.publish("acme/lib", "1.5.0", nil, nil)
	lock := map[string]any{
		"content-hash": "0", "packages": []any{lib}, "packages-dev": []any{}, "aliases": []any{}, "minimum-stability": "stable",
		"stability-flags": []any{}, "prefer-stable": false, "prefer-lowest": false, "platform": []any{}, "platform-dev": []any{}, "plugin-api-version": "2.3.0",
	}
	u.template("1.0.0", map[string]string{"acme/lib": "^1.0"}, map[string]string{"composer.lock": string(u.json(lock))})
	env, log := machine(t)
	s := u.open(nil)
	v := check(t, env, s, plugins.Version{})
	dst, _ := build(t, env, s, v)
	text, err := os.ReadFile(filepath.Join(dst, "vendor/composer/installed.json"))
	if err != nil || !strings.Contains(string(text), `"version": "1.0.0"`) {
		t.Errorf("%s %v\n%s", text, err, log)
	}
	u.publish("acme/lib", "1.6.0", nil, nil)
	if next := check(t, env, s, v); !next.Same(v) {
		t.Errorf("%+v", next)
	}
}

func TestSource_Check_RenewsAfterAWhile(t *testing.T) {
	u := newUpstream(t)
	u.template("1.0.0", nil, nil)
	env, _ := machine(t)
	s := open(t, composer.Plugin{Renew: time.Nanosecond}, u.settings(nil))
	v := check(t, env, s, plugins.Version{})
	u.requests()
	if again := check(t, env, s, v); !again.Same(v) {
		t.Errorf("%+v", again)
	}
	if got := u.requests(); slices.Contains(got, "/p2/acme/template.json 304") {
		t.Errorf("an old answer was taken: %v", got)
	}
}

func TestSource_Check_DamagedMemory(t *testing.T) {
	u := newUpstream(t)
	u.template("1.0.0", nil, nil)
	env, _ := machine(t)
	s := u.open(nil)
	v := check(t, env, s, plugins.Version{})
	for _, memo := range []string{"", "{", "[]", `{"source":5}`, strings.Repeat("x", 70_000), strings.Replace(v.Memo, `"source":"`, `"source":"0`, 1)} {
		last := v
		last.Memo = memo
		if again := check(t, env, s, last); !again.Same(v) {
			t.Errorf("%+v", again)
		}
	}
	for _, plan := range []string{"", "{", "[]", `{"lock":"eA=="}`, strings.Repeat("x", 2<<20), strings.Replace(v.Plan, "template", "another", 1), strings.Replace(v.Plan, `"lock":"H4sI`, `"lock":"H4sJ`, 1)} {
		strange := v
		strange.Plan = plan
		if _, err := s.Build(t.Context(), env, strange, t.TempDir()); err == nil {
			t.Errorf("built with the plan %.40q", plan)
		}
	}
}

func TestSource_Check_Failures(t *testing.T) {
	page := func(status int, body string) func(u *upstream) {
		return func(u *upstream) {
			u.wrap = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Retry-After", "120")
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
				return true
			}
		}
	}
	metadata := func(body string) func(u *upstream) {
		return func(u *upstream) { u.put("/p2/acme/template.json", []byte(body)) }
	}
	for name, c := range map[string]struct {
		change func(u *upstream)
		reason models.Reason
	}{
		"no repository":         {page(404, ""), models.ReasonNotFound},
		"wants a login":         {page(401, ""), models.ReasonAuthentication},
		"too many requests":     {page(429, ""), models.ReasonRateLimited},
		"server is broken":      {page(500, ""), models.ReasonUnreachable},
		"a web page":            {page(200, "<html>"), models.ReasonMalformed},
		"not modified, unasked": {page(304, ""), models.ReasonMalformed},
		"no metadata":           {metadata(""), models.ReasonMalformed},
		"other metadata":        {metadata(`{"packages":{"acme/template":"x"}}`), models.ReasonMalformed},
		"half":                  {metadata(`{"packages":{"acme/template":[{"version":"1.0.0"`), models.ReasonMalformed},
		"no versions":           {metadata(`{"packages":{"acme/template":[]}}`), models.ReasonNotFound},
		"absent":                {func(u *upstream) { delete(u.pages, "/p2/acme/template.json") }, models.ReasonNotFound},
		"too large":             {metadata(strings.Repeat(" ", 17<<20)), models.ReasonTooLarge},
		"not offered":           {func(u *upstream) { u.root(map[string]any{"available-package-patterns": []string{"drupal/*"}}) }, models.ReasonNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			u.template("1.0.0", nil, nil)
			c.change(u)
			env, _ := machine(t)
			_, err := u.open(nil).Check(t.Context(), env, plugins.Version{})
			wantReason(t, err, c.reason)
		})
	}
}

// What a hostile package or repository may try, and where it must end.
func TestSource_Hostile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hidden"), 0o644); err != nil {
		t.Fatal(err)
	}
	repositories := func(list string) map[string]string {
		return map[string]string{"composer.json": `{"name":"acme/template","require":{"acme/lib":"*"},"repositories":[` + list + `]}`}
	}
	dist := func(change map[string]any) func(u *upstream) {
		return func(u *upstream) {
			entry := u.publish("acme/lib", "1.0.0", nil, nil)
			maps.Copy(entry["dist"].(map[string]any), change)
			u.add(entry)
		}
	}
	for name, c := range map[string]struct {
		files  map[string]string
		change func(u *upstream)
		text   string
	}{
		"file repository":   {files: repositories(`{"type":"composer","url":"file:///etc"}`), text: "not on a web server"},
		"local repository":  {files: repositories(`{"type":"path","url":"/etc/*"}`), text: "not in the project"},
		"folder above":      {files: repositories(`{"type":"path","url":"../../*"}`), text: "not in the project"},
		"git over ext":      {files: repositories(`{"type":"git","url":"ext::sh -c id"}`), text: "not on a web server"},
		"git over ssh":      {files: repositories(`{"type":"vcs","url":"git@example.org:x/y.git"}`), text: "not on a web server"},
		"local git":         {files: repositories(`{"type":"vcs","url":"/srv/git/x"}`), text: "not on a web server"},
		"perforce":          {files: repositories(`{"type":"perforce","url":"x;id"}`), text: "not supported"},
		"subversion":        {files: repositories(`{"type":"svn","url":"http://x"}`), text: "not supported"},
		"named repository":  {files: map[string]string{"composer.json": `{"repositories":{"a":{"type":"hg","url":"http://x"}}}`}, text: "not supported"},
		"vendor elsewhere":  {files: map[string]string{"composer.json": `{"config":{"vendor-dir":"../../vendor"}}`}, text: "vendor-dir"},
		"no manifest":       {files: map[string]string{"composer.json": ""}, text: "composer.json"},
		"manifest is a lie": {files: map[string]string{"composer.json": "{"}, text: "not valid"},
		"lock is a lie":     {files: map[string]string{"composer.lock": "{"}, text: "not valid"},
		"program outside": {change: func(u *upstream) {
			u.publish("acme/lib", "1.0.0", nil, map[string]any{"bin": []string{"../../../../bin/x"}})
		}, text: "outside of itself"},
		"code in a file":      {change: dist(map[string]any{"url": "file://" + secret}), text: "neither https nor http"},
		"code in a folder":    {change: dist(map[string]any{"type": "path", "url": "/etc"}), text: "outside of the project"},
		"code elsewhere":      {change: dist(map[string]any{"url": "http://example.org/x.zip"}), text: "nothing protects it"},
		"password in address": {change: dist(map[string]any{"url": "https://me:pw@example.org/x.zip"}), text: "password"},
		"perforce code":       {change: dist(map[string]any{"type": "perforce"}), text: "not supported"},
		"code changed":        {change: dist(map[string]any{"shasum": strings.Repeat("0", 40)}), text: "checksum"},
		"archive escapes": {change: func(u *upstream) {
			u.publish("acme/lib", "1.0.0", map[string]string{"../../../escape.txt": "x"}, nil)
		}, text: ""},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			u.publish("acme/lib", "1.0.0", nil, nil)
			u.template("1.0.0", map[string]string{"acme/lib": "*"}, c.files)
			if c.change != nil {
				c.change(u)
			}
			env, log := machine(t)
			s := u.open(nil)
			dst := filepath.Join(t.TempDir(), "a", "dst")
			if err := os.MkdirAll(dst, 0o755); err != nil {
				t.Fatal(err)
			}
			v, err := s.Check(t.Context(), env, plugins.Version{})
			if err == nil {
				_, err = s.Build(t.Context(), env, v, dst)
			}
			if c.text != "" && (models.CodeOf(err) == "" || !strings.Contains(models.Explain(err), c.text)) {
				t.Errorf("%v\n%s", err, log)
			}
			if entries, _ := os.ReadDir(filepath.Dir(dst)); len(entries) != 1 {
				t.Errorf("something was written beside the build: %v", entries)
			}
		})
	}
}

// Repositories of the project itself are asked, those of the settings too.
func TestSource_Check_MoreRepositories(t *testing.T) {
	u, second, third := newUpstream(t), newUpstream(t), newUpstream(t)
	second.publish("acme/lib", "1.0.0", nil, nil)
	third.publish("acme/own", "1.0.0", nil, nil)
	u.template("1.0.0", nil, map[string]string{
		"composer.json": fmt.Sprintf(`{"name":"acme/template","require":{"acme/lib":"*","acme/own":"*"},"config":{"vendor-dir":"web/packages"},"repositories":{"own":{"type":"composer","url":%q}}}`, third.url),
	})
	env, _ := machine(t)
	s := u.open(models.Settings{"repositories": "\n" + second.url + "\r\n"})
	v := check(t, env, s, plugins.Version{})
	dst, _ := build(t, env, s, v)
	if _, err := os.Stat(filepath.Join(dst, "web/packages/acme/own")); err != nil {
		t.Error(err)
	}
	third.publish("acme/own", "1.1.0", nil, nil)
	next := check(t, env, s, v)
	if next.Same(v) {
		t.Error("the project's own repository is not watched")
	}
	second.publish("acme/lib", "1.1.0", nil, nil)
	if last := check(t, env, s, next); last.Same(next) {
		t.Error("the further repository is not watched")
	}
}

// Code of packages that changes what was installed is found out.
func TestSource_Build_VerifiesWhatIsInstalled(t *testing.T) {
	u := newUpstream(t)
	u.publish("acme/lib", "1.0.0", nil, nil)
	u.template("1.0.0", nil, map[string]string{
		"composer.json": `{"name":"acme/template","require":{"acme/lib":"*"},"scripts":{"post-install-cmd":"sed -i s/1.0.0/1.0.9/ vendor/composer/installed.json"}}`,
	})
	env, _ := machine(t)
	s := u.open(nil)
	v := check(t, env, s, plugins.Version{})
	_, err := s.Build(t.Context(), env, v, t.TempDir())
	wantReason(t, err, models.ReasonVerification, "there is no acme/lib 1.0.0")
}

func advisoryOf(affected string) []map[string]any {
	return []map[string]any{{
		"advisoryId": "X-1", "packageName": "acme/lib", "remoteId": "x", "title": "Anyone can log in", "link": "https://example.org/advisory",
		"cve": "CVE-2026-0001", "affectedVersions": affected, "source": "Test", "sources": []any{map[string]any{"name": "Test", "remoteId": "x"}},
		"reportedAt": "2026-01-01 00:00:00", "composerRepository": "https://packagist.org", "severity": "high",
	}}
}

func TestSource_Findings(t *testing.T) {
	u := newUpstream(t)
	u.root(map[string]any{"security-advisories": map[string]any{"metadata": false, "api-url": u.url + "/advisories"}})
	u.template("1.0.0", map[string]string{"acme/lib": "^1.0", "acme/old": "*"}, nil)
	u.publish("acme/lib", "1.0.0", nil, nil)
	u.publish("acme/old", "1.0.0", nil, map[string]any{"abandoned": "acme/new"})
	env, log := machine(t)
	s := u.open(nil)
	v := check(t, env, s, plugins.Version{})
	u.known = map[string][]map[string]any{"acme/lib": advisoryOf("<1.0.1")}
	_, made := build(t, env, s, v)
	want := []models.Finding{
		{Kind: models.FindingInsecure, Package: "acme/lib", Version: "1.0.0", Title: "Anyone can log in (CVE-2026-0001)", Link: "https://example.org/advisory"},
		{Kind: models.FindingAbandoned, Package: "acme/old", Version: "1.0.0", Title: "Its makers no longer care for it. Use acme/new instead."},
	}
	for i := range made.Findings {
		made.Findings[i].Severity = "" // Composer tells it since 2.7
	}
	if !slices.Equal(made.Findings, want) {
		t.Errorf("%+v\n%s", made.Findings, log)
	}
	u.publish("acme/lib", "1.0.1", nil, nil)
	next := check(t, env, s, v)
	if !next.Security {
		t.Errorf("the update mends a hole: %+v", next)
	}
	assessor, ok := s.(plugins.Assessor)
	if !ok {
		t.Fatal("no Assessor")
	}
	lists, err := assessor.Assess(t.Context(), env, []plugins.Version{v, next, {}})
	want[0].Severity = "high"
	if err != nil || len(lists) != 3 || !slices.Equal(lists[0], want) || !slices.Equal(lists[1], want[1:]) || lists[2] != nil {
		t.Errorf("%+v %v", lists, err)
	}
}

func TestSource_Check_AbandonedShown(t *testing.T) {
	u := newUpstream(t)
	u.publish("acme/template", "1.0.0", nil, map[string]any{"type": "project", "abandoned": "acme/other"})
	env, _ := machine(t)
	s := u.open(nil)
	v := check(t, env, s, plugins.Version{})
	if !slices.ContainsFunc(v.Facts, func(f models.Fact) bool { return f.Label == "Abandoned" && strings.Contains(f.Value, "acme/other") }) {
		t.Errorf("%+v", v.Facts)
	}
	_, made := build(t, env, s, v)
	if len(made.Findings) != 1 || made.Findings[0].Kind != models.FindingAbandoned {
		t.Errorf("%+v", made.Findings)
	}
}

const canary = "canary-4f1c9b7d2e"

// The credential reaches the repository, and nothing else.
func TestSource_CredentialStaysSecret(t *testing.T) {
	for name, c := range map[string]struct{ user, header string }{
		"basic":  {"robot", "Basic " + base64.StdEncoding.EncodeToString([]byte("robot:"+canary))},
		"bearer": {"", "Bearer " + canary},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			u.header = c.header
			u.publish("acme/lib", "1.0.0", nil, nil)
			u.template("1.0.0", nil, map[string]string{
				"composer.json": `{"name":"acme/template","require":{"acme/lib":"*"},"scripts":{"post-install-cmd":"env > environment.txt; cat /proc/*/environ >> environment.txt; find / -name auth.json > auth.txt || true"}}`,
			})
			env, log := machine(t)
			settings := models.Settings{"token": canary, "user": c.user}
			s := u.open(settings)
			stop := watchArguments(t)
			v := check(t, env, s, plugins.Version{})
			dst, made := build(t, env, s, v)
			stop()
			for _, text := range []string{log.String(), v.Plan, v.Memo, fmt.Sprintf("%+v %+v %+v", v, made, s.Upstream())} {
				if leaks(text) {
					t.Errorf("the credential is in %s", text)
				}
			}
			for _, dir := range []string{dst, env.Scratch, env.Cache} {
				searchTree(t, dir)
			}
			if text, err := os.ReadFile(filepath.Join(dst, "environment.txt")); err != nil || !strings.Contains(string(text), "COMPOSER_HOME") {
				t.Errorf("the script saw no environment: %s %v", text, err)
			}
		})
	}
}

func leaks(text string) bool {
	return strings.Contains(text, canary) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("robot:"+canary)))
}

func searchTree(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if leaks(string(text)) {
			t.Errorf("the credential is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// watchArguments looks at the arguments of all programs until it is stopped.
func watchArguments(t *testing.T) (stop func()) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range files {
				if text, err := os.ReadFile(file); err == nil && leaks(string(text)) {
					t.Errorf("the credential is an argument: %q", text)
				}
			}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(done); <-ended }
}

// A repository that refuses repeats what it was sent, and so does Composer.
func TestSource_CredentialStaysSecret_InErrors(t *testing.T) {
	u := newUpstream(t)
	u.publish("acme/lib", "1.0.0", nil, nil)
	u.template("1.0.0", map[string]string{"acme/lib": "*"}, nil)
	u.wrap = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/dist/") {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"warning":"you sent %s"}`, r.Header.Get("Authorization"))
		return true
	}
	env, log := machine(t)
	_, err := u.open(models.Settings{"token": canary, "user": "robot"}).Check(t.Context(), env, plugins.Version{})
	if err == nil || leaks(err.Error()) || leaks(log.String()) {
		t.Errorf("%v\n%s", err, log)
	}
	if !strings.Contains(log.String(), "you sent Basic ***") {
		t.Errorf("the repository's words are missing, so the test proves nothing: %s", log)
	}
}

// Composer gives git the credential among its arguments, so git must not be
// tried on the credential's host; nor may a package weaken TLS.
func TestSource_CredentialStaysSecret_HostilePackage(t *testing.T) {
	setUp := func(t *testing.T) (*upstream, models.Settings) {
		t.Helper()
		u := newUpstream(t)
		u.header = "Bearer " + canary
		u.template("1.0.0", map[string]string{"acme/lib": "*"}, nil)
		return u, models.Settings{"token": canary}
	}
	git := func(u *upstream) map[string]any {
		return map[string]any{"type": "git", "url": u.url + "/lib.git", "reference": strings.Repeat("1", 40)}
	}
	t.Run("repository", func(t *testing.T) {
		u, settings := setUp(t)
		u.template("1.1.0", nil, map[string]string{"composer.json": fmt.Sprintf(`{"repositories":[{"type":"vcs","url":%q}]}`, u.url+"/lib.git")})
		env, _ := machine(t)
		_, err := u.open(settings).Check(t.Context(), env, plugins.Version{})
		wantReason(t, err, models.ReasonVerification, "only archives")
	})
	t.Run("weak connections", func(t *testing.T) {
		u, settings := setUp(t)
		u.template("1.1.0", nil, map[string]string{"composer.json": `{"config":{"secure-http":false}}`})
		env, _ := machine(t)
		_, err := u.open(settings).Check(t.Context(), env, plugins.Version{})
		wantReason(t, err, models.ReasonVerification, "secure-http")
	})
	t.Run("no archive", func(t *testing.T) {
		u, settings := setUp(t)
		u.add(map[string]any{"name": "acme/lib", "version": "1.0.0", "source": git(u)})
		env, _ := machine(t)
		_, err := u.open(settings).Check(t.Context(), env, plugins.Version{})
		wantReason(t, err, models.ReasonVerification, "acme/lib has no archive")
	})
	t.Run("archive is gone", func(t *testing.T) {
		u, settings := setUp(t)
		entry := u.publish("acme/lib", "1.0.0", nil, nil)
		entry["source"] = git(u)
		u.add(entry)
		env, log := machine(t)
		s := u.open(settings)
		v := check(t, env, s, plugins.Version{})
		u.mu.Lock()
		delete(u.pages, "/dist/acme-lib-1.0.0.zip")
		u.mu.Unlock()
		stop := watchArguments(t)
		_, err := s.Build(t.Context(), env, v, t.TempDir())
		stop()
		if models.CodeOf(err) == "" || strings.Contains(strings.Join(u.requests(), " "), "lib.git") {
			t.Errorf("git was tried: %v\n%s", err, log)
		}
	})
}
