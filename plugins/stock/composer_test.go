package stock_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

func TestMain(m *testing.M) {
	if code, ok := run.Bridge(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// packagist is a Composer repository that tests publish to.
type packagist struct {
	*httptest.Server
	t     *testing.T
	mu    sync.Mutex
	pages map[string][]byte
	list  map[string][]any
}

func newPackagist(t *testing.T) *packagist {
	t.Helper()
	p := &packagist{t: t, list: map[string][]any{}, pages: map[string][]byte{"/packages.json": []byte(`{"packages":[],"metadata-url":"/p2/%package%.json"}`)}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if page, ok := p.pages[r.URL.Path]; ok {
			_, _ = w.Write(page)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// publish adds a version of a package that requires others.
func (p *packagist) publish(name, version, kind string, require, files map[string]string) {
	p.t.Helper()
	manifest := map[string]any{"name": name, "type": kind}
	if require != nil {
		manifest["require"] = require
	}
	all := map[string]string{"composer.json": string(p.json(manifest))}
	maps.Copy(all, files)
	var data bytes.Buffer
	w := zip.NewWriter(&data)
	for _, file := range slices.Sorted(maps.Keys(all)) {
		f, err := w.Create(file)
		if err == nil {
			_, err = f.Write([]byte(all[file]))
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	path := "/dist/" + strings.ReplaceAll(name, "/", "-") + "-" + version + ".zip"
	p.pages[path] = data.Bytes()
	sum := sha1.Sum(data.Bytes())
	text := hex.EncodeToString(sum[:])
	manifest["version"] = version
	manifest["dist"] = map[string]any{"type": "zip", "url": p.URL + path, "reference": text, "shasum": text}
	p.list[name] = append(p.list[name], manifest)
	p.pages["/p2/"+name+".json"] = p.json(map[string]any{"packages": map[string]any{name: p.list[name]}})
	p.pages["/p2/"+name+"~dev.json"] = p.json(map[string]any{"packages": map[string]any{name: []any{}}})
}

func (p *packagist) json(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func (p *packagist) open(settings models.Settings) plugins.Source {
	p.t.Helper()
	settings["composer_repository"] = p.URL
	return open(p.t, settings)
}

// sandboxed is newEnv with programs running as an ordinary user.
func sandboxed(t *testing.T) plugins.Env {
	t.Helper()
	env := newEnv(t)
	if os.Geteuid() == 0 {
		id, err := run.LookupIdentity("www-data")
		if err != nil {
			t.Fatal(err)
		}
		env.Run = run.New(run.Config{Identity: id})
	}
	return env
}

func TestSource_Composer_Core(t *testing.T) {
	p := newPackagist(t)
	s := newSite(t, coreHead)
	for _, version := range []string{"10.4.0", "10.5.0", "10.5.1", "11.0.0"} {
		p.publish("drupal/recommended-project", version, "project", map[string]string{"drupal/core": version, "acme/lib": "^1"}, map[string]string{"web/index.php": "<?php // " + version + "\n"})
		p.publish("drupal/core", version, "library", nil, map[string]string{"core.php": "<?php\n"})
	}
	p.publish("acme/lib", "1.0.0", "library", nil, map[string]string{"lib.php": "<?php\n"})
	s.set(s.release("10.5.0"))
	env, source := sandboxed(t), p.open(s.settings("packaging", "composer"))
	v := check(t, source, env, plugins.Version{})
	if v.Revision != "drupal:drupal/10.5.0" || v.Label != "10.5.0" || fact(v, "Package") != "drupal/recommended-project 10.5.0" {
		t.Fatalf("got %+v", v)
	}
	if again := check(t, source, env, v); !again.Same(v) {
		t.Errorf("again: %+v", again)
	}
	dst := t.TempDir()
	made, err := source.Build(t.Context(), env, v, dst)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dst, "web/index.php")); err != nil || !strings.Contains(string(text), "10.5.0") {
		t.Errorf("built %q, %v", text, err)
	}
	if len(made.Sources) < 3 || made.Sources[0].Name != "drupal" || made.Sources[0].Type != "core" || made.Sources[0].Version != "10.5.0" {
		t.Errorf("made of %+v", made.Sources)
	}
	for _, damage := range []func(*plugins.Version){
		func(v *plugins.Version) { v.Plan, _, _ = strings.Cut(v.Plan, "\n") },
		func(v *plugins.Version) { v.Content = strings.Repeat("0", len(v.Content)) },
		func(v *plugins.Version) { v.Revision = "drupal:drupal/10.5.1" },
	} {
		w := v
		damage(&w)
		if _, err := source.Build(t.Context(), env, w, t.TempDir()); err == nil {
			t.Errorf("built %.80s", w.Plan)
		}
	}

	// A dependency drifts.
	p.publish("acme/lib", "1.0.1", "library", nil, map[string]string{"lib.php": "<?php // new\n"})
	drifted := check(t, source, env, v)
	if drifted.Revision != v.Revision || drifted.Content == v.Content || drifted.Hold != nil {
		t.Errorf("drifted: %+v", drifted)
	}
	// A security release comes out.
	s.set(s.release("10.5.1", "Security update"), s.release("10.5.0", "Insecure"))
	next := check(t, source, env, drifted)
	if next.Label != "10.5.1" || !next.Security || next.Hold != nil {
		t.Errorf("next: %+v", next)
	}
	found, err := source.(plugins.Assessor).Assess(t.Context(), env, []plugins.Version{drifted, next})
	if err != nil || len(found[0]) != 1 || found[0][0].Kind != models.FindingInsecure || len(found[1]) != 0 {
		t.Errorf("assessed %+v, %v", found, err)
	}
	// It goes down.
	s.set(s.release("10.4.0"))
	if low := check(t, source, env, next); low.Label != "10.4.0" || low.Hold == nil || low.Hold.Reason != models.ReasonLower {
		t.Errorf("lower: %+v %+v", low, low.Hold)
	}
}

func TestSource_Composer_NotPublishedYet(t *testing.T) {
	p := newPackagist(t)
	p.publish("drupal/recommended-project", "10.5.0", "project", nil, map[string]string{"web/index.php": "<?php\n"})
	s := newSite(t, coreHead)
	s.set(s.release("10.5.1"))
	_, err := p.open(s.settings("packaging", "composer")).Check(t.Context(), sandboxed(t), plugins.Version{})
	if models.ReasonOf(err) != models.ReasonNotFound || !strings.Contains(models.Explain(err), "drupal/recommended-project 10.5.1") {
		t.Errorf("got %v", err)
	}
}

// Distributions without a whole archive follow their template: that which the feed
// names, that of the settings, or the package of the same name.
func TestSource_Composer_Template(t *testing.T) {
	for name, c := range map[string]struct {
		head, version string
		pairs         []string
		pack, number  string
	}{
		"named by the feed": {`<type>project_general</type><composer_namespace>acme/sample</composer_namespace><supported_branches>1.2.</supported_branches>`, "1.2.0", nil, "acme/sample", "1.2.0"},
		"same name":         {`<type>project_distribution</type><supported_branches>8.x-2.</supported_branches>`, "8.x-2.3", nil, "drupal/sample", "2.3.0"},
		"in the settings":   {`<type>project_distribution</type><supported_branches>8.x-2.</supported_branches>`, "8.x-2.4-rc1", []string{"composer_package", "acme/template", "channel", "prerelease"}, "acme/template", "2.4.0-RC1"},
		"strange in feed":   {`<type>project_general</type><composer_namespace>../x</composer_namespace><supported_branches>1.2.</supported_branches>`, "1.2.0", nil, "drupal/sample", "1.2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPackagist(t)
			p.publish(c.pack, c.number, "project", nil, map[string]string{"web/index.php": "<?php\n"})
			s := newSite(t, `<short_name>sample</short_name><project_status>published</project_status>`+c.head)
			s.set(s.release(c.version))
			env := sandboxed(t)
			source := p.open(s.settings(append(c.pairs, "project", "sample")...))
			v := check(t, source, env, plugins.Version{})
			if v.Revision != "drupal:sample/"+c.version || !strings.HasPrefix(fact(v, "Package"), c.pack+" ") {
				t.Errorf("got %+v", v)
			}
			if c.pairs == nil {
				return
			}
			dst := t.TempDir()
			if _, err := source.Build(t.Context(), env, v, dst); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dst, "web/index.php")); err != nil {
				t.Error(err)
			}
		})
	}
}
