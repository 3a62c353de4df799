package host_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hefring/internal/sites/drupal"
	"hefring/internal/sites/webserver"
	"hefring/internal/tidepool"
	"hefring/models"
)

func TestHost_Install_ServesAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	s := serve(t)
	p := s.platform(t, tidepool.V1058)
	s.mu.Lock()
	f := &subject{T: t, server: s, from: p, site: s.newSite(p)}
	s.mu.Unlock()
	f.site.State, f.site.Title = models.SiteInstalling, "Harbour of Tests"
	for range 2 { // the second time as if the first had been cut short
		log := &record{}
		db, err := s.host.Install(t.Context(), f.site, p, log)
		if err != nil {
			t.Fatalf("install: %v\n%s", err, log)
		}
		f.site.Database = db
		f.whole("10.5.8", []string{"site.sqlite"}, p)
	}
	if a := f.get("/"); !strings.Contains(a.body, "Harbour of Tests") {
		t.Errorf("the site does not bear its title:\n%s", a.body)
	}
}

func TestHost_Install_FailingProfile(t *testing.T) {
	t.Parallel()
	s := serve(t)
	p := s.platform(t, tidepool.V1058)
	s.mu.Lock()
	site := s.newSite(p)
	s.mu.Unlock()
	site.Profile = "absent"
	if _, err := s.host.Install(t.Context(), site, p, &record{}); models.CodeOf(err) != models.Unavailable {
		t.Errorf("installing an absent profile gave %v", err)
	}
	if _, err := os.Lstat(s.layout.Current(site.ID)); !os.IsNotExist(err) {
		t.Error("a site that is not installed is served")
	}
}

func TestHost_Upgrade_DatabaseMode(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	o, tr, _ := f.upgrade(tidepool.V1062)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	tr.check("10.5.8", "10.6.2")
	if o.Upgrade.Mode != models.ModeDatabase || len(o.Upgrade.Updates) != 2 || o.Upgrade.ReadOnly <= 0 || !o.Upgrade.Switched {
		t.Errorf("upgrade %+v", o.Upgrade)
	}
	if tr.refused == 0 {
		t.Error("no write was refused while the database was copied")
	}
	f.whole("10.6.2", []string{"site.sqlite", "upgrade-1.sqlite"}, old, f.from)

	ok(t, f.host.Forget(t.Context(), f.site, old, o.Upgrade.OldDatabase))
	ok(t, f.host.Forget(t.Context(), f.site, old, o.Upgrade.OldDatabase))
	f.whole("10.6.2", []string{"upgrade-1.sqlite"}, f.from)
	findings, err := f.platforms.Verify(t.Context(), f.from.Root, f.from.ManifestDigest)
	if err != nil || len(findings) > 0 {
		t.Errorf("the platform was changed: %v %v", findings, err)
	}
}

func TestHost_Upgrade_CodeMode(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1062)
	old := f.from
	o, tr, _ := f.upgrade(tidepool.V1063)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	tr.check("10.6.2", "10.6.3")
	if o.Upgrade.Mode != models.ModeCode || o.Upgrade.NewDatabase != o.Upgrade.OldDatabase || o.Upgrade.ReadOnly != 0 {
		t.Errorf("upgrade %+v", o.Upgrade)
	}
	if tr.refused > 0 {
		t.Errorf("%d writes were refused", tr.refused)
	}
	f.whole("10.6.3", []string{"site.sqlite"}, old, f.from)
}

func TestHost_Upgrade_Failures_LeaveTheOldVersion(t *testing.T) {
	for _, c := range []struct {
		version string
		step    models.StepName
		reason  string
	}{
		{tidepool.Throws, models.StepUpdate, "updatedb failed"},
		{tidepool.WhitePage, models.StepProbe, "empty page"},
		{tidepool.Fatal, models.StepPreflight, "does not run"},
		{tidepool.MissingModule, models.StepPreflight, "tidepool_guestbook"},
		{tidepool.Downgrade, models.StepPreflight, "older than the site's"},
	} {
		t.Run(c.version, func(t *testing.T) {
			t.Parallel()
			f := site(t, tidepool.V1063)
			o, tr, _ := f.upgrade(c.version)
			f.wantOutcome(o, models.UpgradeRecovered, c.step, c.reason)
			if o.Upgrade.Switched {
				t.Error("it says that it switched")
			}
			tr.check("10.6.3")
			f.whole("10.6.3", []string{"site.sqlite"}, f.from)
		})
	}
}

// After a recovered upgrade the next one is as good as the first.
func TestHost_Upgrade_AfterRecovered_Succeeds(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1063)
	old := f.from
	o, tr, log := f.upgrade(tidepool.Throws)
	f.wantOutcome(o, models.UpgradeRecovered, models.StepUpdate, "")
	tr.check("10.6.3")
	if text := log.String(); !strings.Contains(text, "updatedb [err]") || !strings.Contains(text, "Update failed: tidepool_tides_update_11001") {
		t.Error("the log does not show at updatedb which update failed")
	}
	o, tr, _ = f.upgrade(tidepool.Fixed)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	tr.check("10.6.3", "11.0.1")
	f.whole("11.0.1", []string{"site.sqlite", "upgrade-2.sqlite"}, old, f.from)
}

// The new version answers the prober and not the public: the switch is taken back.
func TestHost_Upgrade_PublicProbeFails_SwitchesBack(t *testing.T) {
	for mode, versions := range map[string][2]string{
		"database": {tidepool.V1058, tidepool.V1062}, "code": {tidepool.V1062, tidepool.V1063},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := site(t, versions[0])
			port, err := freePort()
			ok(t, err)
			deaf := f.hostWith(webserver.New(webserver.Config{Dir: filepath.Join(f.Base, "web"), Port: port, ProbePort: f.ProbePort}, f.runner))
			tr := f.traffic()
			m, log := f.move(versions[1]), &record{}
			o := deaf.Upgrade(t.Context(), m, newJournal(t, m), log)
			f.wantOutcome(o, models.UpgradeRecovered, models.StepConfirm, "Nothing listens")
			if o.Upgrade.Switched {
				t.Error("it says that the site is on the target")
			}
			tr.wait()
			tr.halt()
			if len(tr.failures) > 0 {
				t.Error(tr.failures)
			}
			f.holds(tr.acknowledged...)
			f.whole(versions[0], []string{"site.sqlite"}, f.from)
			if t.Failed() {
				t.Log(log)
			}
		})
	}
}

func TestHost_Upgrade_Cancelled_PutsBack(t *testing.T) {
	for _, at := range []models.StepName{models.StepPreflight, models.StepCopy, models.StepProbe} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			f := site(t, tidepool.V1058)
			tr := f.traffic()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			m := f.move(tidepool.V1062)
			j := newJournal(t, m)
			j.after = func(s models.UpgradeStep) {
				if s.Name == at && s.State == models.StepRunning {
					cancel(errCancelled)
				}
			}
			o := f.host.Upgrade(ctx, m, j, &record{})
			if o.State != models.UpgradeCancelled {
				t.Errorf("outcome %s: %v", o.State, o.Err)
			}
			tr.check("10.5.8")
			f.whole("10.5.8", []string{"site.sqlite"}, f.from)
		})
	}
}

// After the switch nobody can cancel any more.
func TestHost_Upgrade_CancelledAfterSwitch_GoesOn(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	m := f.move(tidepool.V1062)
	j := newJournal(t, m)
	j.after = func(s models.UpgradeStep) {
		if s.Name == models.StepSwitch && s.State == models.StepDone {
			cancel(errCancelled)
		}
	}
	o := f.host.Upgrade(ctx, m, j, &record{})
	f.settle(m, o)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	f.whole("10.6.2", []string{"site.sqlite", "upgrade-1.sqlite"}, old, f.from)
}

// A worker that lost its task touches nothing any more.
func TestHost_Upgrade_LostJournal_StopsWithoutUndo(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	ctx, lose := context.WithCancelCause(t.Context())
	defer lose(nil)
	m := f.move(tidepool.V1062)
	j := newJournal(t, m)
	j.after = func(s models.UpgradeStep) {
		if s.Name == models.StepUpdate && s.State == models.StepRunning {
			lose(errLost)
		}
	}
	o := f.host.Upgrade(ctx, m, j, &record{})
	if o.State != "" {
		t.Errorf("outcome %s, want none: it goes on elsewhere", o.State)
	}
	if names := names(t, f.layout.Databases(f.site.ID)); !strings.Contains(strings.Join(names, " "), "upgrade-1.sqlite") {
		t.Errorf("the copy was dropped: %v", names)
	}
	// The one who took it over.
	j.after = nil
	o = f.host.Upgrade(t.Context(), j.current(), j, &record{})
	if o.State != models.UpgradeRecovered {
		t.Errorf("outcome %s: %v", o.State, o.Err)
	}
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)
}

// A write came through while the site should have been read-only: the copy lacks
// it, so the site must not be switched.
func TestHost_Upgrade_GateLapsed_Recovers(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	m := f.move(tidepool.V1062)
	j := newJournal(t, m)
	j.after = func(s models.UpgradeStep) {
		if s.Name == models.StepProbe && s.State == models.StepDone {
			ok(t, os.Remove(filepath.Join(f.layout.Run(f.site.ID), "read-only")))
			if a := f.post("came through"); a.status != http.StatusSeeOther {
				t.Errorf("the write was answered %d", a.status)
			}
		}
	}
	o := f.host.Upgrade(t.Context(), m, j, &record{})
	f.wantOutcome(o, models.UpgradeRecovered, models.StepSwitch, "writable for a moment")
	f.holds("came through")
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)
}

// A site that is not well before may become well by the upgrade.
func TestHost_Upgrade_SickBefore_BecomesWell(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	f.local(`if (PHP_SAPI !== 'cli' && \Drupal::VERSION === '10.5.8') { throw new \Exception('This version is sick.'); }`)
	if a := f.get("/?sick"); a.status != http.StatusInternalServerError {
		t.Fatalf("the site is not sick: %d", a.status)
	}
	m, log := f.move(tidepool.V1062), &record{}
	o := f.host.Upgrade(t.Context(), m, newJournal(t, m), log)
	f.settle(m, o)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	if !strings.Contains(log.String(), "not well before the upgrade") {
		t.Error("the log does not say that it was sick")
	}
	f.whole("10.6.2", []string{"site.sqlite", "upgrade-1.sqlite"}, old, f.from)
}

// A site that is as sick afterwards is left as it was, and that is not fatal.
func TestHost_Upgrade_SickBeforeAndAfter_Recovers(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	f.local(`if (PHP_SAPI !== 'cli') { throw new \Exception('Every version is sick.'); }`)
	m := f.move(tidepool.V1062)
	o := f.host.Upgrade(t.Context(), m, newJournal(t, m), &record{})
	f.wantOutcome(o, models.UpgradeRecovered, models.StepProbe, "500")
	f.clean([]string{"site.sqlite"}, f.from)
	ok(t, os.Remove(filepath.Join(f.layout.Dir(f.site.ID), "local.settings.php")))
	f.whole("10.5.8", []string{"site.sqlite"}, f.from)
}

// An administrator put the site into maintenance mode; it is so afterwards, too.
func TestHost_Upgrade_MaintenanceMode_IsKept(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	f.maintain(true)
	m, log := f.move(tidepool.V1062), &record{}
	o := f.host.Upgrade(t.Context(), m, newJournal(t, m), log)
	f.settle(m, o)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	if a := f.get("/?maintenance"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "under maintenance") {
		t.Errorf("the site answers %d", a.status)
	}
	f.maintain(false)
	f.whole("10.6.2", []string{"site.sqlite", "upgrade-1.sqlite"}, old, f.from)
	if t.Failed() {
		t.Log(log)
	}
}

func (f *subject) maintain(on bool) {
	f.Helper()
	d, err := f.drupal.Drush(drupal.Release{Site: f.site, Platform: f.from, Database: f.site.Database}, os.Stderr, os.Stderr)
	ok(f.T, err)
	ok(f.T, d.SetMaintenance(f.Context(), on))
}

// local writes a person's own settings and gives their file.
func (f *subject) local(code string) string {
	f.Helper()
	file := filepath.Join(f.layout.Dir(f.site.ID), "local.settings.php")
	ok(f.T, os.WriteFile(file, []byte("<?php\n"+code+"\n"), 0o644))
	return file
}

func TestHost_Compare_LeavesNothing(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	for version, want := range map[string]struct{ updates, blockers int }{
		tidepool.V1062: {2, 0}, tidepool.MissingModule: {2, 2},
	} {
		c, err := f.host.Compare(t.Context(), f.site, f.from, f.platform(t, version), &record{})
		ok(t, err)
		if len(c.Updates) != want.updates || len(c.Blockers) != want.blockers || c.Took <= 0 || c.SiteID != f.site.ID {
			t.Errorf("%s: %+v", version, c)
		}
		f.whole("10.5.8", []string{"site.sqlite"}, f.from)
	}
}

// Work on one site takes turns, also over the end of its context.
func TestHost_Lock_WaitsUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1062)
	m := f.move(tidepool.V1063)
	j := newJournal(t, m)
	j.after = func(s models.UpgradeStep) {
		if s.Name != models.StepDeploy || s.State != models.StepDone {
			return
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, fmt.Errorf("waited: %w", errCancelled))
		defer cancel()
		if _, err := f.host.Compare(ctx, f.site, f.from, m.To, &record{}); err == nil || !strings.Contains(err.Error(), "waited") {
			t.Errorf("a comparison during the upgrade gave %v", err)
		}
	}
	if o := f.host.Upgrade(t.Context(), m, j, &record{}); o.State != models.UpgradeSucceeded {
		t.Errorf("outcome %s: %v", o.State, o.Err)
	}
}
