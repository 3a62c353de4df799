package host_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/sites/upgrade"
	"hefring/internal/tidepool"
	"hefring/models"
)

// moveTo is a new move of the site to a platform.
func (f *subject) moveTo(kind models.UpgradeKind, to models.Platform) upgrade.Move {
	f.Helper()
	f.runs++
	m := upgrade.Move{Site: f.site, From: f.from, To: to, Upgrade: models.Upgrade{
		ID: f.runs, Kind: kind, SiteID: f.site.ID, FromID: f.from.ID, ToID: to.ID, State: models.UpgradeRunning, OldDatabase: f.site.Database,
	}}
	for i, name := range models.StepsOf(models.KindUpgrade, models.ModeUnknown) {
		m.Steps = append(m.Steps, models.UpgradeStep{ID: int64(i + 1), UpgradeID: m.Upgrade.ID, Name: name, State: models.StepPending})
	}
	return m
}

// rollback is a move that takes an upgrade back.
func (f *subject) rollback(undoes models.Upgrade, to models.Platform) upgrade.Move {
	f.Helper()
	m := f.moveTo(models.KindRollback, to)
	m.Undoes, m.Upgrade.UndoesID = &undoes, &undoes.ID
	return m
}

// run carries a move out.
func (f *subject) run(m upgrade.Move) upgrade.Outcome {
	f.Helper()
	log := &record{}
	o := f.host.Upgrade(f.Context(), m, newJournal(f.T, m), log)
	f.settle(m, o)
	f.Cleanup(func() {
		if f.Failed() {
			f.Logf("%s ended as %q: %v\n%s", m.Upgrade.Kind, o.State, o.Err, log)
		}
	})
	return o
}

// keeper is what the fleet does with what a move left: it writes a backup.
type keeper struct {
	backup models.Backup
	calls  int
}

func (k *keeper) keep(site models.Site, purpose models.BackupPurpose) func(context.Context, func(models.Backup) (models.Backup, error)) error {
	return func(_ context.Context, write func(models.Backup) (models.Backup, error)) (err error) {
		k.calls++
		k.backup, err = write(models.Backup{ID: 900, SiteID: site.ID, Purpose: purpose, CreatedAt: time.Unix(1700000000, 0)})
		return err
	}
}

// shows tells which of some texts stand on the page that takes them.
func (f *subject) shows(texts []string) (shown, missing []string) {
	f.Helper()
	body := f.get("/node/2?shows=" + strconv.FormatInt(time.Now().UnixNano(), 10)).body
	for _, text := range texts {
		if strings.Contains(body, "<p>"+text+"</p>") {
			shown = append(shown, text)
		} else {
			missing = append(missing, text)
		}
	}
	return shown, missing
}

// hurt ends the traffic and fails if a read failed or versions came in another
// order.
func (tr *traffic) hurt(versions ...string) {
	tr.site.Helper()
	tr.wait()
	tr.halt()
	for _, failure := range tr.failures {
		tr.site.Error(failure)
	}
	if !slices.Equal(tr.versions, versions) {
		tr.site.Errorf("readers saw the versions %v one after the other, want %v", tr.versions, versions)
	}
}

func base(db models.Database) string { return filepath.Base(db.Name) }

// Everything that was acknowledged is either on the site or in the backup of what
// the rollback left; the quote tells of it beforehand.
func TestHost_Rollback_DatabaseMode_LosesNothingUntold(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	o, tr, _ := f.upgrade(tidepool.V1062)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	tr.check("10.5.8", "10.6.2")
	newer, up := f.from, o.Upgrade
	before := slices.Clone(tr.acknowledged)
	for _, text := range []string{"on the new version", "and once more"} {
		if a := f.post(text); a.status != http.StatusSeeOther {
			t.Fatalf("a write is answered %d", a.status)
		}
	}
	loss, err := f.host.Loss(t.Context(), up)
	ok(t, err)
	told := int64(0)
	for _, table := range loss.Tables {
		if table.Table == "guestbook_entry" {
			told = table.Added
		}
	}
	if told < 2 || loss.None {
		t.Errorf("the quote is %+v", loss)
	}

	tr = f.traffic()
	m, k := f.rollback(up, old), &keeper{}
	m.Keep = k.keep(f.site, models.BackupRollback)
	begin := time.Now()
	o = f.run(m)
	took := time.Since(begin)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	tr.hurt("10.6.2", "10.5.8")
	if o.Upgrade.NewDatabase != up.OldDatabase || o.Upgrade.OldDatabase != up.NewDatabase || o.Upgrade.ReadOnly <= 0 || o.Upgrade.ReadOnly > took {
		t.Errorf("rollback %+v", o.Upgrade)
	}
	t.Logf("the rollback took %s, writes were refused for %s", took, o.Upgrade.ReadOnly)
	shown, lost := f.shows(tr.acknowledged)
	if len(shown) == 0 || len(lost) == 0 {
		t.Errorf("%d texts stayed and %d went: the traffic did not cross the rollback", len(shown), len(lost))
	}
	if k.calls != 1 || k.backup.Digest == "" || k.backup.DrupalVersion != "10.6.2" {
		t.Errorf("kept %d times: %+v", k.calls, k.backup)
	}
	databases := []string{base(up.OldDatabase), base(up.NewDatabase)}
	f.whole("10.5.8", databases, old, newer)

	// What the backup has is all that is not on the site.
	r := f.restore(k.backup, newer)
	o = f.run(r)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	f.holds(append(append(lost, "on the new version", "and once more"), before[:max(0, len(before)-1)]...)...)
}

func TestHost_Rollback_CodeMode_RefusesNothing(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1062)
	old := f.from
	o, tr, _ := f.upgrade(tidepool.V1063)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	tr.check("10.6.2", "10.6.3")
	newer := f.from
	loss, err := f.host.Loss(t.Context(), o.Upgrade)
	if err != nil || !loss.None || len(loss.Tables) > 0 {
		t.Errorf("the quote is %+v, %v", loss, err)
	}
	tr = f.traffic()
	o = f.run(f.rollback(o.Upgrade, old))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	tr.check("10.6.3", "10.6.2")
	if tr.refused > 0 || o.Upgrade.Mode != models.ModeCode || o.Upgrade.ReadOnly != 0 {
		t.Errorf("%d writes were refused; %+v", tr.refused, o.Upgrade)
	}
	f.whole("10.6.2", []string{"site.sqlite"}, old, newer)
}

// A rollback that fails leaves the newer version, and what it wanted to go back to.
func TestHost_Rollback_Fails_KeepsBoth(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	o := f.run(f.move(tidepool.V1062))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	newer, up := f.from, o.Upgrade
	sick := f.local(`if (PHP_SAPI !== 'cli' && \Drupal::VERSION === '10.5.8') { throw new \Exception('This version is sick.'); }`)
	tr := f.traffic()
	o = f.run(f.rollback(up, old))
	f.wantOutcome(o, models.UpgradeRecovered, models.StepProbe, "500")
	tr.check("10.6.2")
	if tr.refused > 0 {
		t.Errorf("%d writes were refused by a rollback that failed before its switch", tr.refused)
	}
	databases := []string{base(up.OldDatabase), base(up.NewDatabase)}
	f.whole("10.6.2", databases, old, newer)
	ok(t, os.Remove(sick))
	o = f.run(f.rollback(up, old))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	f.whole("10.5.8", databases, old, newer)

	// And a rollback can itself be taken back.
	o = f.run(f.rollback(o.Upgrade, newer))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	f.whole("10.6.2", databases, old, newer)
}

// The backup of what was left fails: the rollback stands, and nothing was dropped.
func TestHost_Rollback_KeepFails_Stands(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	up := f.run(f.move(tidepool.V1062)).Upgrade
	newer := f.from
	m := f.rollback(up, old)
	m.Keep = func(context.Context, func(models.Backup) (models.Backup, error)) error { return errors.New("no room") }
	o := f.run(m)
	if o.State != models.UpgradeSucceeded || o.Err == nil || !strings.Contains(o.Err.Error(), "no room") {
		t.Errorf("outcome %q: %v", o.State, o.Err)
	}
	f.whole("10.5.8", []string{base(up.OldDatabase), base(up.NewDatabase)}, old, newer)
}

func TestHost_Rollback_Refuses(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	up := f.run(f.move(tidepool.V1062)).Upgrade
	newer := f.from
	gone, moved, dropped := up, up, up
	now := time.Now()
	gone.DroppedOldAt = &now
	moved.NewDatabase.Name += "-other"
	for name, c := range map[string]struct {
		undoes models.Upgrade
		reason string
	}{"dropped": {gone, "not kept any more"}, "moved on": {moved, "moved on since"}} {
		o := f.run(f.rollback(c.undoes, old))
		if o.State != models.UpgradeRecovered || !strings.Contains(o.Upgrade.Reason, c.reason) {
			t.Errorf("%s: outcome %q because %q", name, o.State, o.Upgrade.Reason)
		}
	}
	f.whole("10.6.2", []string{base(up.OldDatabase), base(up.NewDatabase)}, old, newer)
	ok(t, f.engine.Drop(t.Context(), dropped.OldDatabase))
	o := f.run(f.rollback(dropped, old))
	f.wantOutcome(o, models.UpgradeRecovered, models.StepPreflight, "")
	f.whole("10.6.2", []string{base(up.NewDatabase)}, old, newer)
}

// What a rollback went back to serves again, so it is not forgotten with the
// upgrade that left it.
func TestHost_Forget_WhatServes_Stays(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	up := f.run(f.move(tidepool.V1062)).Upgrade
	newer := f.from
	f.run(f.rollback(up, old))
	ok(t, f.host.Forget(t.Context(), f.site, old, up.OldDatabase))
	f.whole("10.5.8", []string{base(up.OldDatabase), base(up.NewDatabase)}, old, newer)
	ok(t, f.host.Forget(t.Context(), f.site, newer, up.NewDatabase))
	f.whole("10.5.8", []string{base(up.OldDatabase)}, old)
}
