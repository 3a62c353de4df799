package host_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hefring/internal/sites/upgrade"
	"hefring/internal/tidepool"
	"hefring/models"
)

// backup writes a backup of the site as it is.
func (f *subject) snapshot() models.Backup {
	f.Helper()
	b, err := f.host.Backup(f.Context(), f.site, f.from, models.Backup{
		ID: 100 + f.runs, SiteID: f.site.ID, PlatformID: f.from.ID, CreatedAt: time.Unix(1700000000, 0),
	}, &record{})
	ok(f.T, err)
	return b
}

// restore is a move that brings a backup back.
func (f *subject) restore(b models.Backup, to models.Platform) upgrade.Move {
	f.Helper()
	m := f.moveTo(models.KindRestore, to)
	m.Backup, m.Upgrade.BackupID = &b, &b.ID
	return m
}

// upload puts a public and a private file into the site.
func (f *subject) both(name, text string) {
	f.Helper()
	for _, dir := range []string{f.layout.Files(f.site.ID), f.layout.Private(f.site.ID)} {
		file := filepath.Join(dir, name)
		ok(f.T, os.WriteFile(file, []byte(text), 0o644))
		ok(f.T, f.runner.Chown(file))
	}
}

// public is what visitors get of a public file.
func (f *subject) public(name string) answer {
	f.Helper()
	return f.get("/sites/" + f.site.URI + "/files/" + name)
}

// files checks which public and private files serve.
func (f *subject) files(want map[string]string) {
	f.Helper()
	for name, text := range want {
		a := f.public(name)
		private, err := os.ReadFile(filepath.Join(f.layout.Private(f.site.ID), name))
		if text == "" {
			if a.status != http.StatusNotFound || !errors.Is(err, os.ErrNotExist) {
				f.Errorf("%s is there: %d, %v", name, a.status, err)
			}
			continue
		}
		if a.status != http.StatusOK || a.body != text || string(private) != text {
			f.Errorf("%s: %d %q, private %q %v; want %q", name, a.status, a.body, private, err, text)
		}
	}
}

// kept counts the contents that are kept beside the site.
func (f *subject) kept(want int) {
	f.Helper()
	entries, err := os.ReadDir(filepath.Join(f.layout.Dir(f.site.ID), "kept"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.Error(err)
	}
	if len(entries) != want {
		f.Errorf("%d contents are kept, want %d", len(entries), want)
	}
}

// then is a site with a past: what was written and uploaded before the backup, and
// what came after it.
func withPast(t *testing.T, version string) (*subject, models.Backup) {
	t.Helper()
	f := site(t, version)
	f.post("before")
	f.both("old.txt", "of the backup")
	f.both("both.txt", "of the backup")
	b := f.snapshot()
	f.post("after")
	f.both("both.txt", "of now")
	f.both("new.txt", "of now")
	return f, b
}

func past() map[string]string {
	return map[string]string{"old.txt": "of the backup", "both.txt": "of the backup", "new.txt": ""}
}

func present() map[string]string {
	return map[string]string{"old.txt": "of the backup", "both.txt": "of now", "new.txt": "of now"}
}

// On the platform that serves, only the content changes: database and files
// together, and it can be taken back.
func TestHost_Restore_SamePlatform(t *testing.T) {
	t.Parallel()
	f, b := withPast(t, tidepool.V1062)
	tr := f.traffic()
	m, k := f.restore(b, f.from), &keeper{}
	m.Keep = k.keep(f.site, models.BackupRestore)
	o := f.run(m)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	tr.hurt("10.6.2")
	if tr.refused > 0 && o.Upgrade.ReadOnly <= 0 || len(o.Upgrade.Updates) > 0 || o.Upgrade.Mode != models.ModeDatabase {
		t.Errorf("restore %+v", o.Upgrade)
	}
	databases := []string{"site.sqlite", "restore-1.sqlite"}
	f.holds("before")
	if _, missing := f.shows([]string{"after"}); len(missing) != 1 {
		t.Error("what came after the backup is still there")
	}
	f.files(past())
	f.whole("10.6.2", databases, f.from)
	f.kept(1)
	if k.calls != 1 || k.backup.Files < 6 {
		t.Errorf("kept %d times: %+v", k.calls, k.backup)
	}

	undo := f.rollback(o.Upgrade, f.from)
	o = f.run(undo)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	f.holds("before", "after")
	f.files(present())
	f.whole("10.6.2", databases, f.from)

	// The backup of what the restore replaced has its files, too.
	o = f.run(f.restore(k.backup, f.from))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	f.holds("before", "after")
	f.files(present())
	f.kept(2)
	for _, db := range []models.Database{undo.Upgrade.OldDatabase, o.Upgrade.OldDatabase} {
		ok(t, f.host.Forget(t.Context(), f.site, models.Platform{ID: 4000, Root: "/nowhere"}, db))
	}
	f.kept(0)
	f.files(present())
	f.whole("10.6.2", []string{base(f.site.Database)}, f.from)
}

// To the backup's own platform: code, database and files together.
func TestHost_Restore_OwnPlatform(t *testing.T) {
	t.Parallel()
	f, b := withPast(t, tidepool.V1058)
	old := f.from
	o := f.run(f.move(tidepool.V1062))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	newer := f.from
	tr := f.traffic()
	o = f.run(f.restore(b, old))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	tr.hurt("10.6.2", "10.5.8")
	f.holds("before")
	f.files(past())
	databases := []string{"site.sqlite", "upgrade-1.sqlite", "restore-2.sqlite"}
	f.whole("10.5.8", databases, old, newer)
	o = f.run(f.rollback(o.Upgrade, newer))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	f.holds("before", "after")
	f.files(present())
	f.whole("10.6.2", databases, old, newer)
}

// To the present platform, which is newer: its updates run on what is brought.
func TestHost_Restore_PendingUpdates(t *testing.T) {
	t.Parallel()
	f, b := withPast(t, tidepool.V1058)
	old := f.from
	f.run(f.move(tidepool.V1062))
	newer := f.from
	tr := f.traffic()
	o := f.run(f.restore(b, newer))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	tr.hurt("10.6.2")
	if len(o.Upgrade.Updates) != 2 {
		t.Errorf("updates %v", o.Upgrade.Updates)
	}
	f.holds("before")
	f.files(past())
	f.whole("10.6.2", []string{"site.sqlite", "upgrade-1.sqlite", "restore-2.sqlite"}, old, newer)
}

func TestHost_Restore_Refuses(t *testing.T) {
	t.Parallel()
	f, b := withPast(t, tidepool.V1062)
	older := f.platform(t, tidepool.V1058)
	bare := f.from
	bare.Profiles = []string{"minimal"}
	changed, foreign, gone := b, b, b
	changed.Digest = strings.Repeat("0", 64)
	foreign.Path = "/etc/passwd"
	gone.Path += "x.tar.gz"
	for name, c := range map[string]struct {
		backup models.Backup
		to     models.Platform
		reason string
	}{
		"damaged":      {changed, f.from, "changed or damaged"},
		"foreign":      {foreign, f.from, "not a backup of Hefring's"},
		"gone":         {gone, f.from, "not there any more"},
		"newer":        {b, older, "cannot go back"},
		"other engine": {b, f.from, "sqlite"},
		"profile":      {b, bare, "profile standard"},
	} {
		m := f.restore(c.backup, c.to)
		if name == "other engine" {
			m.Upgrade.OldDatabase.Engine = models.EngineMySQL
		}
		o := f.run(m)
		if o.State != models.UpgradeRecovered || !strings.Contains(o.Upgrade.Reason, c.reason) {
			t.Errorf("%s: outcome %q because %q, %v", name, o.State, o.Upgrade.Reason, o.Err)
		}
	}
	f.files(present())
	f.whole("10.6.2", []string{"site.sqlite"}, f.from)
	f.kept(0)
}

// What is brought turns out to be broken: the site goes on as it was.
func TestHost_Restore_BrokenContent_Recovers(t *testing.T) {
	t.Parallel()
	f, b := withPast(t, tidepool.V1062)
	f.local(`if (PHP_SAPI !== 'cli' && strpos($databases['default']['default']['database'], 'restore-') !== FALSE) { throw new \Exception('This content is sick.'); }`)
	tr := f.traffic()
	o := f.run(f.restore(b, f.from))
	f.wantOutcome(o, models.UpgradeRecovered, models.StepProbe, "500")
	tr.check("10.6.2")
	if tr.refused > 0 {
		t.Errorf("%d writes were refused", tr.refused)
	}
	f.files(present())
	f.whole("10.6.2", []string{"site.sqlite"}, f.from)
	f.kept(0)
}

// The new content answers the prober and not the public: all of it is taken back.
func TestHost_Restore_PublicProbeFails_SwitchesBack(t *testing.T) {
	t.Parallel()
	f, b := withPast(t, tidepool.V1062)
	m := f.restore(b, f.from)
	tr := f.traffic()
	o := f.deaf().host.Upgrade(t.Context(), m, newJournal(t, m), &record{})
	f.wantOutcome(o, models.UpgradeRecovered, models.StepConfirm, "Nothing listens")
	tr.check("10.6.2")
	f.files(present())
	f.whole("10.6.2", []string{"site.sqlite"}, f.from)
	f.kept(0)
}
