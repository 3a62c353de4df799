package drupal

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database/sqlite"
	"hefring/internal/tidepool"
	"hefring/models"
)

// bench is a server with its platforms and one site.
type bench struct {
	t      *testing.T
	root   string
	layout sites.Layout
	runner *run.Runner
	engine *sqlite.Engine
	drupal *Drupal
	site   models.Site
	next   int64 // id of the next platform
}

func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	root := t.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // the web user must get through
		t.Fatal(err)
	}
	layout := sites.Layout{Root: filepath.Join(root, "sites")}
	runner := run.New(run.Config{Identity: webUser(t)})
	engine := sqlite.New(layout, runner)
	return &bench{
		t: t, root: root, layout: layout, runner: runner, engine: engine,
		drupal: New(layout, runner, engine),
		site:   models.Site{ID: 7, URI: "museum.example.org", Profile: "standard", Title: "Museum"},
		next:   41,
	}
}

// webUser is whom the web server runs as when the tests run as root.
func webUser(t *testing.T) *run.Identity {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	id, err := run.LookupIdentity("www-data")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// platform writes one version of the fixture as a sealed platform.
func (b *bench) platform(version, drupalVersion string) models.Platform {
	b.t.Helper()
	b.next++
	root := filepath.Join(b.root, "platforms", "tide-"+version+"-"+drupalVersion)
	if err := os.MkdirAll(root, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := tidepool.Write(root, version); err != nil {
		b.t.Fatal(err)
	}
	writeFile(b.t, filepath.Join(root, "web", "sites", "sites.php"), "<?php\n\n$sites = [];\n")
	return models.Platform{
		ID: b.next, Name: "tide-" + version, Root: root, Docroot: "web", BuildKey: "key-" + version,
		DrupalVersion: drupalVersion, Profiles: []string{"minimal", "standard", "harbour"},
	}
}

func (b *bench) database(label string) models.Database {
	b.t.Helper()
	db, err := b.engine.Create(b.t.Context(), b.site, label)
	if err != nil {
		b.t.Fatal(err)
	}
	return db
}

func (b *bench) copyOf(from models.Database, label string) models.Database {
	b.t.Helper()
	to := b.database(label)
	if _, err := b.engine.Copy(b.t.Context(), from, to); err != nil {
		b.t.Fatal(err)
	}
	return to
}

func (b *bench) release(p models.Platform, db models.Database) Release {
	return Release{Site: b.site, Platform: p, Database: db}
}

// drush writes a release and opens its Drush.
func (b *bench) drush(r Release) (*Drush, *record) {
	b.t.Helper()
	if err := b.drupal.WriteRelease(testContext(b.t), r); err != nil {
		b.t.Fatal(err)
	}
	log := &record{}
	d, err := b.drupal.Drush(r, log, log)
	if err != nil {
		b.t.Fatal(err)
	}
	return d, log
}

// installed is a site that serves from the first version.
func (b *bench) installed() (*Drush, Release) {
	b.t.Helper()
	r := b.release(b.platform(tidepool.V1058, "10.5.8"), b.database("site"))
	d, log := b.drush(r)
	if err := d.Install(testContext(b.t), "standard", "Museum", "admin"); err != nil {
		b.t.Fatalf("install: %v\n%s", err, log)
	}
	return d, r
}

// target is Drush on another version with a copy of the site's database.
func (b *bench) target(from Release, version, drupalVersion string) (*Drush, *record) {
	b.t.Helper()
	r := b.release(b.platform(version, drupalVersion), b.copyOf(from.Database, "upgrade-1"))
	return b.drush(r)
}

// aside is like target, for comparing.
func (b *bench) aside(from Release, version, drupalVersion string) *Drush {
	b.t.Helper()
	r := b.release(b.platform(version, drupalVersion), b.copyOf(from.Database, "compare-1"))
	r.Aside = "compare-1"
	d, _ := b.drush(r)
	return d
}

// record is a log that may be written by several goroutines.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
