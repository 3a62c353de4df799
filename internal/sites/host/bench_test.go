//go:build bench

package host_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/run"
	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/internal/sites/webserver"
	"hefring/internal/testmysql"
	"hefring/internal/testpg"
	"hefring/internal/tidepool"
	"hefring/models"
)

// Where real Drupal is: two folders of built code, with vendor/ and web/, the
// second newer than the first and with database updates. Without them the fixture
// distribution is measured.
const (
	benchFrom = "HEFRING_BENCH_FROM"
	benchTo   = "HEFRING_BENCH_TO"
	benchRuns = "HEFRING_BENCH_RUNS" // how often everything is measured; 3 if not set
	benchOnly = "HEFRING_BENCH_ONLY" // one of SQLite, MariaDB, PostgreSQL
)

const fileBytes = 200 << 20 // of uploaded files in the second half

// versions are what is measured: from → to with database updates, to → again
// without.
type versions struct{ from, to, again models.Platform }

// result is what one database showed, each the median of all runs.
type result struct {
	floor                 time.Duration // drush updatedb and cache:rebuild, nothing else
	window, total         time.Duration // of an upgrade without files
	fullWindow, fullTotal time.Duration // with files
	aegir, fullAegir      time.Duration
	code                  time.Duration
	refused               int // writes in code mode
	back, restore         time.Duration
}

// TestBenchUpgrades measures for how long an upgrade refuses writes, against the
// bare updates as the floor and against what Aegir does. It fails when a goal is
// missed.
func TestBenchUpgrades(t *testing.T) {
	s := serve(t)
	v := benchVersions(t, s)
	engines := []struct {
		name string
		on   func() *server
	}{
		{"SQLite", func() *server { return s.on(s.engine) }},
		{"MariaDB", func() *server { return onServer(t, testmysql.Running(t).Socket()) }},
		{"PostgreSQL", func() *server { return onServer(t, testpg.Running(t).Socket()) }},
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n%s → %s, %d runs, medians in seconds\n", v.from.DrupalVersion, v.to.DrupalVersion, runsWanted())
	fmt.Fprintf(&table, "%-11s %7s | %-23s | %-23s | %-15s | %-14s | %s\n", "", "floor", "upgrade: window total", "with 200 MB of files", "Aegir's: 0, 200", "code mode", "window of rollback, restore")
	for _, e := range engines {
		if only := os.Getenv(benchOnly); only != "" && only != e.name {
			continue
		}
		r := measure(t, e.on(), v)
		fmt.Fprintf(&table, "%-11s %7.2f | %10.2f %11.2f | %10.2f %11.2f | %7.2f %7.2f | %5.2f refused %d | %.2f %.2f\n", e.name, r.floor.Seconds(),
			r.window.Seconds(), r.total.Seconds(), r.fullWindow.Seconds(), r.fullTotal.Seconds(), r.aegir.Seconds(), r.fullAegir.Seconds(),
			r.code.Seconds(), r.refused, r.back.Seconds(), r.restore.Seconds())
		for _, goal := range []struct {
			name string
			met  bool
		}{
			{fmt.Sprintf("window ≤ 1.3 × floor (%.2f)", r.window.Seconds()/r.floor.Seconds()), r.window <= r.floor*13/10},
			{fmt.Sprintf("window does not grow with files (%.2f)", r.fullWindow.Seconds()/r.window.Seconds()), r.fullWindow <= r.window*12/10+200*time.Millisecond},
			{fmt.Sprintf("window ≤ 0.3 × Aegir's with 200 MB (%.2f)", r.fullWindow.Seconds()/r.fullAegir.Seconds()), r.fullWindow <= r.fullAegir*3/10},
			{fmt.Sprintf("code mode refuses nothing (%d)", r.refused), r.refused == 0},
		} {
			verdict := "pass"
			if !goal.met {
				verdict = "FAIL"
				t.Errorf("%s: missed: %s", e.name, goal.name)
			}
			fmt.Fprintf(&table, "            %s  %s\n", verdict, goal.name)
		}
	}
	t.Log(table.String())
}

func runsWanted() int {
	if n, err := strconv.Atoi(os.Getenv(benchRuns)); err == nil && n > 0 {
		return n
	}
	return 3
}

func benchVersions(t *testing.T, s *server) versions {
	t.Helper()
	from, to := os.Getenv(benchFrom), os.Getenv(benchTo)
	if from == "" || to == "" {
		return versions{s.platform(t, tidepool.V1058), s.platform(t, tidepool.V1062), s.platform(t, tidepool.V1063)}
	}
	return versions{s.tree(t, "from", from), s.tree(t, "to", to), s.tree(t, "again", to)}
}

var constVersion = regexp.MustCompile(`const VERSION = '([^']+)'`)

// tree makes a platform of a folder of built code.
func (s *server) tree(t *testing.T, name, dir string) models.Platform {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := models.Platform{
		ID: int64(len(s.built) + 1), Name: name, Docroot: "web", BuildKey: "key-" + name, State: models.PlatformReady,
		Root: filepath.Join(s.Base, "code-"+name), Profiles: []string{"standard", "minimal"},
	}
	ok(t, exec.CommandContext(t.Context(), "cp", "-a", dir, p.Root).Run())
	ok(t, os.WriteFile(filepath.Join(p.Root, "web", "sites", "sites.php"), []byte("<?php\n$sites = [];\n"), 0o644))
	text, err := os.ReadFile(filepath.Join(p.Root, "web", "core", "lib", "Drupal.php"))
	ok(t, err)
	p.DrupalVersion = constVersion.FindStringSubmatch(string(text))[1]
	s.built[name] = p
	return p
}

func measure(t *testing.T, s *server, v versions) (r result) {
	t.Helper()
	if v.from.Name == "from" {
		s.parent.mu.Lock()
		s.parent.built["from"] = v.from
		s.parent.mu.Unlock()
	}
	f := s.installedOn(t, v.from)
	var samples [10][]time.Duration
	names := [10]string{"window", "total", "window with files", "total with files", "floor", "Aegir's", "Aegir's with files", "code mode", "rollback's window", "restore's window"}
	add := func(i int, d time.Duration) {
		samples[i] = append(samples[i], d)
		t.Logf("%s: %.2f s", names[i], d.Seconds())
	}
	for round := range 2 * runsWanted() {
		full := round%2 == 1
		f.fill(full)
		column := 0
		if full {
			column = 2
		}
		if !full {
			add(4, f.floor(v.to))
		}
		add(5+column/2, f.aegir(v.to))
		begin := time.Now()
		o := f.timed(f.moveTo(models.KindUpgrade, v.to))
		add(column+1, time.Since(begin))
		f.wantOutcome(o, models.UpgradeSucceeded, "", "")
		add(column, o.Upgrade.ReadOnly)
		up := o.Upgrade
		if !full {
			begin = time.Now()
			refused := f.countRefused(func() { o = f.run(f.moveTo(models.KindUpgrade, v.again)) })
			add(7, time.Since(begin))
			f.wantOutcome(o, models.UpgradeSucceeded, "", "")
			r.refused += refused
			f.wantOutcome(f.run(f.rollback(o.Upgrade, v.to)), models.UpgradeSucceeded, "", "")
			ok(t, f.host.Forget(t.Context(), f.site, v.again, models.Database{}))
		}
		o = f.run(f.rollback(up, v.from))
		f.wantOutcome(o, models.UpgradeSucceeded, "", "")
		add(8, o.Upgrade.ReadOnly)
		ok(t, f.host.Forget(t.Context(), f.site, v.to, up.NewDatabase))
		if t.Failed() {
			return r
		}
	}
	b, err := f.host.Backup(t.Context(), f.site, f.from, models.Backup{ID: 1, SiteID: f.site.ID, CreatedAt: time.Now()}, &record{})
	ok(t, err)
	o := f.run(f.restore(b, f.from))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	add(9, o.Upgrade.ReadOnly)
	for i, into := range []*time.Duration{&r.window, &r.total, &r.fullWindow, &r.fullTotal, &r.floor, &r.aegir, &r.fullAegir, &r.code, &r.back, &r.restore} {
		*into = median(samples[i])
	}
	return r
}

// timed carries a move out and says how long each step took.
func (f *subject) timed(m upgrade.Move) upgrade.Outcome {
	f.Helper()
	j, log := newJournal(f.T, m), &record{}
	o := f.host.Upgrade(f.Context(), m, j, log)
	f.settle(m, o)
	var steps []string
	for _, s := range j.current().Steps {
		if s.StartedAt != nil && s.EndedAt != nil {
			steps = append(steps, fmt.Sprintf("%s %.2f", s.Name, s.EndedAt.Sub(*s.StartedAt).Seconds()))
		}
	}
	f.Log(strings.Join(steps, ", "))
	if o.State != models.UpgradeSucceeded {
		f.Logf("ended as %q: %v\n%s", o.State, o.Err, log)
	}
	return o
}

func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// installedOn is a site that was installed on a platform.
func (s *server) installedOn(t *testing.T, from models.Platform) *subject {
	t.Helper()
	s.parent.mu.Lock()
	f := &subject{T: t, server: s, from: from, site: s.parent.newSite(from)}
	s.parent.mu.Unlock()
	f.site.URI = fmt.Sprintf("bench%d", f.site.ID) // Drush before 13 installs into no folder whose name has a dot
	if s.engine != s.parent.engine {
		id := int64(1)
		f.site.DatabaseServerID = &id
	}
	log := &record{}
	var err error
	f.site.Database, err = s.host.Install(t.Context(), f.site, from, log)
	if err != nil {
		t.Fatalf("install: %v\n%s", err, log)
	}
	t.Cleanup(func() {
		if err := s.engine.Remove(context.WithoutCancel(t.Context()), f.site); err != nil {
			t.Errorf("remove the site's databases: %v", err)
		}
	})
	return f
}

// fill makes the site's files 200 MB, or takes them away. They are noise, as
// pictures are.
func (f *subject) fill(full bool) {
	f.Helper()
	dir := filepath.Join(f.layout.Files(f.site.ID), "bench")
	ok(f.T, os.RemoveAll(dir))
	if !full {
		return
	}
	ok(f.T, os.Mkdir(dir, 0o755))
	const pictures = 100
	for i := range pictures {
		file, err := os.Create(filepath.Join(dir, fmt.Sprintf("picture-%d.jpg", i)))
		ok(f.T, err)
		_, err = io.CopyN(file, rand.Reader, fileBytes/pictures)
		ok(f.T, err)
		ok(f.T, file.Close())
	}
	ok(f.T, f.runner.Chown(dir))
}

// bare runs Drush as a person would, on a release.
func (f *subject) bare(r drupal.Release, args ...string) {
	f.Helper()
	res, err := f.runner.Run(f.Context(), run.Cmd{
		Name: filepath.Join(r.Platform.Root, "vendor", "bin", "drush"),
		Args: append([]string{"--root=" + r.Docroot(), "--uri=" + r.URI(), "--no-interaction"}, args...),
		Dir:  r.Docroot(), Env: []string{"HOME=" + f.layout.Temp(f.site.ID)}, Timeout: 10 * time.Minute,
	})
	if err != nil {
		f.Fatalf("drush %v: %v\n%s\n%s", args, err, res.Stdout, res.Stderr)
	}
}

// aside is the site on a platform with a database of its own.
func (f *subject) aside(to models.Platform, label string) (r drupal.Release, drop func()) {
	f.Helper()
	db, err := f.engine.Create(f.Context(), f.site, label)
	ok(f.T, err)
	r = drupal.Release{Site: f.site, Platform: to, Database: db, Aside: label}
	return r, func() {
		ok(f.T, f.drupal.RemoveRelease(f.Context(), r))
		ok(f.T, f.engine.Drop(f.Context(), db))
	}
}

// floor is how long the updates themselves take.
func (f *subject) floor(to models.Platform) time.Duration {
	f.Helper()
	r, drop := f.aside(to, "floor")
	defer drop()
	_, err := f.engine.Copy(f.Context(), f.site.Database, r.Database)
	ok(f.T, err)
	ok(f.T, f.drupal.WriteRelease(f.Context(), r))
	begin := time.Now()
	f.bare(r, "updatedb", "-y")
	f.bare(r, "cache:rebuild")
	return time.Since(begin)
}

// aegir does what Aegir's migrate task does, one after the other and without its
// fixed waits: a dump and an archive of the site's folder, a new database and
// user, both unpacked again, the updates, the package list, a rebuild, a look, and
// the old ones dropped. The site cannot be written to from the first to the last.
func (f *subject) aegir(to models.Platform) time.Duration {
	f.Helper()
	old, dropOld := f.aside(f.from, "aegirold")
	defer dropOld()
	_, err := f.engine.Copy(f.Context(), f.site.Database, old.Database)
	ok(f.T, err)
	work := f.TempDir()
	ok(f.T, os.Chmod(work, 0o755))
	target := filepath.Join(work, "site")
	ok(f.T, os.Mkdir(target, 0o755))

	begin := time.Now()
	dump, err := os.Create(filepath.Join(work, "database.sql"))
	ok(f.T, err)
	_, err = f.engine.Dump(f.Context(), old.Database, dump)
	ok(f.T, err)
	archive := filepath.Join(work, "site.tar.gz")
	ok(f.T, exec.CommandContext(f.Context(), "tar", "-C", f.layout.Dir(f.site.ID), "-czf", archive, "files", "private").Run())
	r, drop := f.aside(to, "aegirnew")
	defer drop()
	ok(f.T, exec.CommandContext(f.Context(), "tar", "-C", target, "-xzf", archive).Run())
	_, err = dump.Seek(0, io.SeekStart)
	ok(f.T, err)
	_, err = f.engine.Load(f.Context(), r.Database, dump)
	ok(f.T, err)
	ok(f.T, f.drupal.WriteRelease(f.Context(), r))
	f.bare(r, "updatedb", "-y")
	f.bare(r, "pm:list", "--format=json")
	f.bare(r, "cache:rebuild")
	f.bare(r, "status", "--format=json")
	_, err = f.web.Prober().Probe(f.Context(), webserver.Request{URI: f.site.URI, Path: "/user/login", Release: webserver.ReleaseCurrent})
	ok(f.T, err)
	ok(f.T, f.engine.Drop(f.Context(), old.Database))
	ok(f.T, os.RemoveAll(target))
	took := time.Since(begin)
	ok(f.T, dump.Close())
	return took
}

// countRefused counts the writes that are refused while fn runs.
func (f *subject) countRefused(fn func()) int {
	f.Helper()
	refused, stop := 0, make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		client := visitor()
		defer client.CloseIdleConnections()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			a, err := f.ask(client, http.MethodPost, "/user/login", url.Values{"body": {"bench"}})
			if err == nil && a.status == http.StatusServiceUnavailable {
				refused++
			}
		}
	})
	fn()
	close(stop)
	writer.Wait()
	return refused
}
