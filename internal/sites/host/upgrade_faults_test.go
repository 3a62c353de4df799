package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hefring/internal/sites/database"
	"hefring/internal/sites/drupal"
	"hefring/internal/testmysql"
	"hefring/internal/tidepool"
	"hefring/models"
)

// faulty is an engine that fails as fault says of each call; nil lets it through.
type faulty struct {
	database.Engine
	mu       sync.Mutex
	calls    int
	fault    func(method string, call int) error
	down     bool // databases cannot be dropped either
	dropped  func()
	markless bool // Marks fails
}

func (e *faulty) may(method string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	return e.fault(method, e.calls)
}

func (e *faulty) Create(ctx context.Context, site models.Site, label string) (models.Database, error) {
	if err := e.may("create"); err != nil {
		return models.Database{}, err
	}
	return e.Engine.Create(ctx, site, label)
}

func (e *faulty) Copy(ctx context.Context, from, to models.Database) (database.CopyInfo, error) {
	if err := e.may("copy"); err != nil {
		return database.CopyInfo{}, err
	}
	return e.Engine.Copy(ctx, from, to)
}

func (e *faulty) Drop(ctx context.Context, db models.Database) error {
	e.mu.Lock()
	down := e.down
	if e.dropped != nil {
		e.dropped()
	}
	e.mu.Unlock()
	if down {
		return refused()
	}
	return e.Engine.Drop(ctx, db)
}

func (e *faulty) Check(ctx context.Context, db models.Database) error {
	if err := e.may("check"); err != nil {
		return err
	}
	return e.Engine.Check(ctx, db)
}

func (e *faulty) Load(ctx context.Context, db models.Database, r io.Reader) (database.CopyInfo, error) {
	if err := e.may("load"); err != nil {
		return database.CopyInfo{}, err
	}
	return e.Engine.Load(ctx, db, r)
}

func (e *faulty) Marks(ctx context.Context, db models.Database) ([]models.TableMark, error) {
	if e.markless {
		return nil, errFull
	}
	return e.Engine.Marks(ctx, db)
}

// faults gives the site an engine that fails as told.
func (f *subject) faults(fault func(method string, call int) error) *faulty {
	e := &faulty{Engine: f.engine, fault: fault}
	h := *f.host
	h.Databases = e
	d := *f.copy()
	d.host = &h
	f.server = &d
	return e
}

// copy is the same machine, to be changed in one respect.
func (s *server) copy() *server {
	parent := s
	if s.parent != nil {
		parent = s.parent
	}
	return &server{
		place: s.place, layout: s.layout, runner: s.runner, engine: s.engine, drupal: s.drupal, web: s.web, platforms: s.platforms, host: s.host, parent: parent,
	}
}

var errFull = fmt.Errorf("write: %w", syscall.ENOSPC)

func refused() error {
	return models.Wrapf(models.Unavailable, syscall.ECONNREFUSED, "The database server does not answer.")
}

// The disk is full at one call after the other that a move makes of the database:
// the site stays what it was, and nothing is left behind.
func TestHost_Moves_DiskFullAtEveryCall_Recover(t *testing.T) {
	for _, name := range []string{"upgrade", "restore"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, b := withPast(t, tidepool.V1058)
			healthy, old := f.server, f.from
			for at, struck := 1, true; struck; at++ {
				struck = false
				f.server = healthy
				f.faults(func(method string, call int) error {
					if call != at {
						return nil
					}
					struck = true
					return fmt.Errorf("%s: %w", method, errFull)
				})
				m := f.move(tidepool.V1062)
				if name == "restore" {
					m = f.restore(b, old)
				}
				o := f.run(m)
				if !struck {
					f.wantOutcome(o, models.UpgradeSucceeded, "", "")
					t.Logf("%d calls failed, one after the other", at-1)
					return
				}
				f.wantOutcome(o, models.UpgradeRecovered, o.Upgrade.FailedStep, "no space")
				f.files(present())
				f.kept(0)
				f.whole("10.5.8", []string{"site.sqlite"}, old)
			}
		})
	}
}

// The database server does not answer before, or stops to while the copy is made
// and comes back while all is undone.
func TestHost_Upgrade_DatabaseRefuses_Recovers(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	clean := f.server
	f.faults(func(string, int) error { return refused() })
	o := f.run(f.move(tidepool.V1062))
	f.wantOutcome(o, models.UpgradeRecovered, models.StepPreflight, "does not answer")
	f.server = clean
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)

	copies, undone := 0, 0
	var e *faulty
	e = f.faults(func(method string, _ int) error {
		if method == "copy" {
			copies++
		}
		e.down = copies == 3 // the first was the comparison's, the second for warming up
		if !e.down {
			return nil
		}
		return refused()
	})
	e.dropped = func() {
		if undone++; undone > 3 {
			e.down = false
		}
	}
	tr := f.traffic()
	o = f.run(f.move(tidepool.V1062))
	f.wantOutcome(o, models.UpgradeRecovered, models.StepCopy, "does not answer")
	f.server = clean
	tr.check("10.5.8")
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)
}

// The database server is killed while updates run, and started again.
func TestHost_Upgrade_DatabaseServerKilled_Recovers(t *testing.T) {
	t.Parallel()
	server := testmysql.Start(t)
	f := onServer(t, server.Socket()).installed(t, tidepool.V1058)
	m, log := f.move(tidepool.V1062), &record{}
	j := newJournal(t, m)
	j.after = func(s models.UpgradeStep) {
		switch {
		case s.Name == models.StepUpdate && s.State == models.StepRunning:
			server.Kill(t)
		case s.Name == models.StepUpdate && s.State == models.StepFailed:
			server.Restart(t)
		}
	}
	o := f.host.Upgrade(t.Context(), m, j, log)
	f.wantOutcome(o, models.UpgradeRecovered, models.StepUpdate, "")
	f.onlyHas("10.5.8", f.site.Database)
	if t.Failed() {
		t.Log(log)
	}
}

// An update that does not end is ended, and undone.
func TestHost_Upgrade_UpdateHangs_Recovers(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1063)
	f.local(`if (PHP_SAPI === 'cli') { putenv('TIDEPOOL_SLOW_SECONDS=600'); }`)
	h := *f.host
	h.Times = drupal.DefaultTimes()
	h.Times.Update = 3 * time.Second
	f.server = f.copy()
	f.host = &h
	tr := f.traffic()
	o := f.run(f.move(tidepool.SlowUpdate))
	f.wantOutcome(o, models.UpgradeRecovered, models.StepUpdate, "")
	tr.check("10.6.3")
	f.whole("10.6.3", []string{"site.sqlite"}, f.from)
}

// It cannot be noted how the database is: the upgrade goes on, and the quote says
// that it cannot tell.
func TestHost_Upgrade_MarksFail_CannotTell(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	f.faults(func(string, int) error { return nil }).markless = true
	o := f.run(f.move(tidepool.V1062))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	loss, err := f.host.Loss(t.Context(), o.Upgrade)
	if err != nil || len(loss.Tables) != 1 || !loss.Tables[0].Unknown || loss.None {
		t.Errorf("the quote is %+v, %v", loss, err)
	}
}

// loose is a platform of its own, whose code a test may change.
func (f *subject) loose(version string) models.Platform {
	f.Helper()
	p := f.platform(f.T, version)
	p.ID += 5000 + f.site.ID
	p.Name, p.BuildKey = fmt.Sprintf("loose-%d", p.ID), fmt.Sprintf("loose-%d", p.ID)
	p.Root = filepath.Join(f.Base, p.Name)
	ok(f.T, tidepool.Write(p.Root, version))
	ok(f.T, os.WriteFile(filepath.Join(p.Root, "web", "sites", "sites.php"), []byte("<?php\n$sites = [];\n"), 0o644))
	return p
}

// rewrite changes the version that a platform's code says it is.
func rewrite(t *testing.T, p models.Platform, from, to string) {
	t.Helper()
	file := filepath.Join(p.Root, "web", "core", "lib", "Drupal.php")
	text, err := os.ReadFile(file)
	ok(t, err)
	ok(t, os.WriteFile(file, []byte(strings.Replace(string(text), from, to, 1)), 0o644))
}

// Somebody changes the code on the disk: what answers is not what was built.
func TestHost_Upgrade_WrongVersionServed_Recovers(t *testing.T) {
	for _, at := range []models.StepName{models.StepRebuild, models.StepSwitch} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			f := site(t, tidepool.V1058)
			to := f.loose(tidepool.V1062)
			m := f.moveTo(models.KindUpgrade, to)
			j := newJournal(t, m)
			j.after = func(s models.UpgradeStep) {
				if s.Name == at && s.State == models.StepDone {
					rewrite(t, to, "10.6.2", "10.6.9")
				}
			}
			o := f.host.Upgrade(t.Context(), m, j, &record{})
			want := map[models.StepName]models.StepName{models.StepRebuild: models.StepProbe, models.StepSwitch: models.StepConfirm}[at]
			f.wantOutcome(o, models.UpgradeRecovered, want, "answered by Drupal 10.6.9")
			f.whole("10.5.8", []string{"site.sqlite"}, f.from)
		})
	}
}

// A site's own pages and its text are looked at, before and afterwards.
func TestHost_Upgrade_OwnProbes(t *testing.T) {
	for name, c := range map[string]struct {
		probes []string
		text   string
		local  string
		step   models.StepName // at which it fails; "" when it does not
		reason string
		warns  string
	}{
		"well":              {probes: []string{"/node/1", "/nowhere"}, text: "Reading the tide table"},
		"the text is gone":  {probes: []string{"/node/1"}, text: "tidepool 10.5.8", step: models.StepProbe, reason: "does not show"},
		"never had it":      {probes: []string{"/node/1"}, text: "Something else", warns: "is not on /node/1 even now"},
		"a page is missing": {probes: []string{"/", "/node/1"}, local: `if (PHP_SAPI !== 'cli' && \Drupal::VERSION === '10.6.2' && strpos($_SERVER['REQUEST_URI'], '/node/1') === 0) { http_response_code(404); exit('<!doctype html><html>gone'); }`, step: models.StepProbe, reason: "answered 404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := site(t, tidepool.V1058)
			f.site.Probes, f.site.ProbeText = c.probes, c.text
			if c.local != "" {
				f.local(c.local)
			}
			m, log := f.move(tidepool.V1062), &record{}
			o := f.host.Upgrade(t.Context(), m, newJournal(t, m), log)
			want := models.UpgradeSucceeded
			if c.step != "" {
				want = models.UpgradeRecovered
			}
			f.wantOutcome(o, want, c.step, c.reason)
			if c.warns != "" && !strings.Contains(log.String(), c.warns) {
				t.Error("the log does not warn")
			}
			if t.Failed() {
				t.Log(log)
			}
		})
	}
}

// Whoever takes an upgrade up remembers that the text was not there before.
func TestHost_Upgrade_KilledWithoutText_GoesOn(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	f.site.ProbeText = "Never there"
	_, o := f.takeUp(f.killed(tidepool.V1062, point{models.StepSwitch, atDone}))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	if a := f.get("/?text"); a.status != http.StatusOK || a.version() != "10.6.2" {
		t.Errorf("the site answers %d from %s", a.status, a.version())
	}
	if errors.Is(o.Err, errLost) {
		t.Error(o.Err)
	}
}
