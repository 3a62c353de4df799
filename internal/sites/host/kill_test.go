package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"hefring/internal/sites/upgrade"
	"hefring/internal/tidepool"
	"hefring/models"
)

// point is a moment at which an upgrade's process is killed.
type point struct {
	Step models.StepName
	At   string
}

// Moments of a step.
const (
	atStart    = "start"    // its beginning is in the journal
	atOutput   = "output"   // Drush has said something
	atTrial    = "trial"    // the trial that a comparison makes is there
	atDone     = "done"     // it is done, and the journal does not know
	atEnd      = "end"      // its end is in the journal
	atFailed   = "failed"   // its failure is in the journal
	atReturned = "returned" // the site is switched back, and the journal does not know
	atUndone   = "undone"   // it is undone, and the journal does not know
)

func (p point) String() string { return string(p.Step) + " " + p.At }

// errand is what a victim gets to do.
type errand struct {
	Place   place
	Journal string
	Kill    point
}

// victim runs an upgrade in a process of its own until it kills itself with -9.
func victim(file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	var e errand
	if err := json.Unmarshal(text, &e); err != nil {
		panic(err)
	}
	j, err := openJournal(e.Journal)
	if err != nil {
		panic(err)
	}
	die := func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
	when := func(at string, state models.StepState) func(models.UpgradeStep) {
		return func(s models.UpgradeStep) {
			if e.Kill == (point{s.Name, at}) && s.State == state {
				die()
			}
		}
	}
	start, end, failed := when(atStart, models.StepRunning), when(atEnd, models.StepDone), when(atFailed, models.StepFailed)
	done := when(atDone, models.StepDone)
	j.before = func(s models.UpgradeStep) {
		done(s)
		if e.Kill == (point{s.Name, atUndone}) && s.UndoneAt != nil {
			die()
		}
	}
	j.after = func(s models.UpgradeStep) { start(s); end(s); failed(s) }
	if e.Kill.At == atReturned {
		j.returned = die
	}
	s := e.Place.open()
	if e.Kill.At == atTrial {
		go watch(s.layout.Release(j.move.Site.ID, j.move.To.ID)+"-compare", die)
	}
	log := &record{output: func(step string) {
		if e.Kill == (point{models.StepName(step), atOutput}) {
			die()
		}
	}}
	o := s.host.Upgrade(context.Background(), j.current(), j, log)
	_, _ = fmt.Fprintf(os.Stderr, "the upgrade ended as %q and never came to %s: %v\n%s", o.State, e.Kill, o.Err, log)
	return 1
}

// watch calls then as soon as there is a settings.php in a folder.
func watch(dir string, then func()) {
	for range time.Tick(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "settings.php")); err == nil {
			then()
		}
	}
}

// killed starts an upgrade in another process, which is killed at the point, and
// gives the journal that is left.
func (f *subject) killed(version string, at point) *journal {
	f.Helper()
	j := newJournal(f.T, f.move(version))
	f.again(j, at)
	left, err := openJournal(j.path)
	ok(f.T, err)
	return left
}

// again has another process go on with an upgrade until it is killed, too.
func (f *subject) again(j *journal, at point) {
	f.Helper()
	text, err := json.Marshal(errand{f.place, j.path, at})
	ok(f.T, err)
	file := j.path + "-errand"
	ok(f.T, os.WriteFile(file, text, 0o600))
	cmd := exec.CommandContext(f.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victimMark+"="+file)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Run()
	if status, is := cmd.ProcessState.Sys().(syscall.WaitStatus); !is || status.Signal() != syscall.SIGKILL {
		f.Fatalf("the upgrade was not killed at %s: %v\n%s", at, err, &said)
	}
}

// takeUp goes on with a killed upgrade.
func (f *subject) takeUp(j *journal) (upgrade.Move, upgrade.Outcome) {
	f.Helper()
	log := &record{}
	m := j.current()
	o := f.host.Upgrade(f.Context(), m, j, log)
	f.Cleanup(func() {
		if f.Failed() {
			f.Logf("taken up, it ended as %q: %v\n%s", o.State, o.Err, log)
		}
	})
	f.settle(m, o)
	return m, o
}

// survive kills one upgrade after the other at every point and takes each up.
// Those that were killed before the switch leave the site for the next one.
func survive(t *testing.T, from, to string, mode models.Mode, points []point) {
	t.Helper()
	var f *subject
	for _, at := range points {
		t.Run(at.String(), func(t *testing.T) {
			if f == nil {
				f = site(t, from)
			}
			f.T = t
			defer func() {
				if t.Failed() {
					f = nil
				}
			}()
			old := f.from
			tr := f.traffic()
			m, o := f.takeUp(f.killed(to, at))
			copied := fmt.Sprintf("upgrade-%d.sqlite", m.Upgrade.ID)
			switch {
			case !forward(at):
				if o.State != models.UpgradeRecovered {
					t.Errorf("outcome %q, want recovered: %v", o.State, o.Err)
				}
				tr.check(from)
				f.whole(from, []string{"site.sqlite"}, old)
			default:
				if o.State != models.UpgradeSucceeded {
					t.Errorf("outcome %q, want succeeded: %v", o.State, o.Err)
				}
				tr.check(from, to)
				databases := []string{"site.sqlite"}
				if mode == models.ModeDatabase {
					databases = append(databases, copied)
				}
				f.whole(to, databases, old, m.To)
				f = nil
			}
			if mode == models.ModeCode && tr.refused > 0 {
				t.Errorf("%d writes were refused", tr.refused)
			}
		})
	}
}

// forward tells whether the site was switched at that point.
func forward(at point) bool {
	steps := models.StepsOf(models.KindUpgrade, models.ModeUnknown)
	here, there := slices.Index(steps, at.Step), slices.Index(steps, models.StepSwitch)
	return here > there || here == there && at.At != atStart
}

func TestHost_Upgrade_KilledInDatabaseMode_BeforeSwitch(t *testing.T) {
	t.Parallel()
	survive(t, "10.5.8", tidepool.V1062, models.ModeDatabase, []point{
		{models.StepPreflight, atStart},
		{models.StepPreflight, atTrial},
		{models.StepPreflight, atEnd},
		{models.StepReadOnly, atStart},
		{models.StepReadOnly, atDone},
		{models.StepReadOnly, atEnd},
		{models.StepCopy, atStart},
		{models.StepCopy, atDone},
		{models.StepCopy, atEnd},
		{models.StepDeploy, atStart},
		{models.StepDeploy, atDone},
		{models.StepDeploy, atEnd},
		{models.StepUpdate, atStart},
		{models.StepUpdate, atOutput},
		{models.StepUpdate, atEnd},
		{models.StepRebuild, atStart},
		{models.StepRebuild, atEnd},
		{models.StepProbe, atStart},
		{models.StepProbe, atEnd},
		{models.StepSwitch, atStart},
	})
}

func TestHost_Upgrade_KilledInDatabaseMode_AfterSwitch(t *testing.T) {
	t.Parallel()
	survive(t, "10.5.8", tidepool.V1062, models.ModeDatabase, []point{
		{models.StepSwitch, atDone},
		{models.StepSwitch, atEnd},
		{models.StepConfirm, atStart},
		{models.StepConfirm, atEnd},
		{models.StepReopen, atStart},
		{models.StepReopen, atDone},
		{models.StepReopen, atEnd},
		{models.StepRetire, atStart},
		{models.StepRetire, atDone},
		{models.StepRetire, atEnd},
	})
}

func TestHost_Upgrade_KilledInCodeMode(t *testing.T) {
	t.Parallel()
	survive(t, "10.6.2", tidepool.V1063, models.ModeCode, []point{
		{models.StepPreflight, atStart},
		{models.StepPreflight, atEnd},
		{models.StepCopy, atStart},
		{models.StepCopy, atEnd},
		{models.StepDeploy, atStart},
		{models.StepDeploy, atEnd},
		{models.StepRebuild, atStart},
		{models.StepRebuild, atEnd},
		{models.StepProbe, atStart},
		{models.StepProbe, atEnd},
		{models.StepSwitch, atStart},
		{models.StepSwitch, atDone},
		{models.StepSwitch, atEnd},
		{models.StepConfirm, atStart},
		{models.StepConfirm, atEnd},
		{models.StepRetire, atStart},
		{models.StepRetire, atDone},
		{models.StepRetire, atEnd},
	})
}

// The worker was away for so long that writes are let through again.
func TestHost_Upgrade_KilledAndLapsed_KeepsWrites(t *testing.T) {
	for _, at := range []point{{models.StepUpdate, atOutput}, {models.StepSwitch, atDone}, {models.StepConfirm, atEnd}} {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			f := site(t, tidepool.V1058)
			j := f.killed(tidepool.V1062, at)
			if a := f.post("too early"); a.status != http.StatusServiceUnavailable {
				t.Errorf("a write right after the kill is answered %d", a.status)
			}
			f.lapse()
			if a := f.post("after the lease"); a.status != http.StatusSeeOther {
				t.Errorf("a write after the lease is answered %d", a.status)
			}
			_, o := f.takeUp(j)
			want := map[bool]models.UpgradeState{true: models.UpgradeSucceeded, false: models.UpgradeRecovered}[forward(at)]
			if o.State != want {
				t.Errorf("outcome %q, want %q: %v", o.State, want, o.Err)
			}
			f.holds("after the lease")
		})
	}
}

// Undoing goes on where it was killed, and still knows what failed.
func TestHost_Upgrade_KilledWhileUndoing(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1063)
	tr := f.traffic()
	j := f.killed(tidepool.Throws, point{models.StepCopy, atUndone})
	for _, step := range []models.StepName{models.StepReadOnly, models.StepDeploy} {
		f.again(j, point{step, atUndone})
	}
	j, err := openJournal(j.path)
	ok(t, err)
	_, o := f.takeUp(j)
	f.wantOutcome(o, models.UpgradeRecovered, models.StepUpdate, "")
	tr.check("10.6.3")
	f.whole("10.6.3", []string{"site.sqlite"}, f.from)
}

// deaf is the same server, whose visitors' port does not answer.
func (f *subject) deaf() *subject {
	port, err := freePort()
	ok(f.T, err)
	d := *f
	p := f.place
	p.Port = port
	d.server = p.open()
	d.built = f.built
	return &d
}

// The first look after the switch failed, and then the worker died: the next one
// looks again, and finds the site well.
func TestHost_Upgrade_KilledAfterConfirmFailed_LooksAgain(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	j := newJournal(t, f.move(tidepool.V1062))
	f.deaf().again(j, point{models.StepConfirm, atFailed})
	j, err := openJournal(j.path)
	ok(t, err)
	m, o := f.takeUp(j)
	if o.State != models.UpgradeSucceeded {
		t.Errorf("outcome %q: %v", o.State, o.Err)
	}
	f.whole("10.6.2", []string{"site.sqlite", "upgrade-1.sqlite"}, old, m.To)
}

// Killed right after it was switched back, the site stays on the old version and
// keeps what was written there since.
func TestHost_Upgrade_KilledWhileSwitchingBack(t *testing.T) {
	for mode, versions := range map[string][2]string{
		"database": {tidepool.V1058, tidepool.V1062}, "code": {tidepool.V1062, tidepool.V1063},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := site(t, versions[0])
			j := newJournal(t, f.move(versions[1]))
			f.deaf().again(j, point{models.StepSwitch, atReturned})
			if mode == "database" {
				f.lapse()
			}
			if a := f.post("after the lease"); a.status != http.StatusSeeOther {
				t.Errorf("a write is answered %d", a.status)
			}
			j, err := openJournal(j.path)
			ok(t, err)
			_, o := f.takeUp(j)
			if o.State != models.UpgradeRecovered || o.Upgrade.Switched {
				t.Errorf("outcome %q, switched %t: %v", o.State, o.Upgrade.Switched, o.Err)
			}
			f.holds("after the lease")
			f.whole(versions[0], []string{"site.sqlite"}, f.from)
		})
	}
}

// lapse makes the gate of a killed upgrade as old as its lease.
func (f *subject) lapse() {
	f.Helper()
	long := time.Now().Add(-time.Hour)
	ok(f.T, os.Chtimes(filepath.Join(f.layout.Run(f.site.ID), "read-only"), long, long))
}

// Visitors wrote to the new version while no worker was there, and now it turns
// out not to be well: going back would lose what they wrote, so a person decides.
func TestHost_Upgrade_WrittenToAndSick_IsFatal(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	j := f.killed(tidepool.V1062, point{models.StepSwitch, atDone})
	f.lapse()
	if a := f.post("on the new version"); a.status != http.StatusSeeOther {
		t.Errorf("a write is answered %d", a.status)
	}
	sick := f.local(`if (PHP_SAPI !== 'cli') { throw new \Exception('This is sick.'); }`)
	m, o := f.takeUp(j)
	f.wantOutcome(o, models.UpgradeFatal, models.StepConfirm, "500")
	if !o.Upgrade.Switched {
		t.Error("it says that the site is on the old version")
	}
	ok(t, os.Remove(sick))
	eventually(t, "PHP notices that the site is well", func() bool { return f.get("/?well").status == http.StatusOK })
	f.holds("on the new version")
	if f.get("/?new").version() != "10.6.2" || m.To.ID != f.from.ID || old.ID == f.from.ID {
		t.Error("the site is not on the new version")
	}
}

// A worker that is killed while it takes an upgrade up is survived, too.
func TestHost_Upgrade_KilledTwice(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	old := f.from
	j := f.killed(tidepool.V1062, point{models.StepSwitch, atDone})
	f.again(j, point{models.StepConfirm, atStart})
	f.again(j, point{models.StepReopen, atDone})
	j, err := openJournal(j.path)
	ok(t, err)
	m, o := f.takeUp(j)
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	f.whole("10.6.2", []string{"site.sqlite", "upgrade-1.sqlite"}, old, m.To)
}

// Whoever takes an upgrade up knows that visitors were shown the maintenance page.
func TestHost_Upgrade_KilledInMaintenanceMode(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	f.maintain(true)
	_, o := f.takeUp(f.killed(tidepool.V1062, point{models.StepProbe, atStart}))
	f.wantOutcome(o, models.UpgradeRecovered, "", "lost")
	old := f.from
	m, o := f.takeUp(f.killed(tidepool.V1062, point{models.StepSwitch, atDone}))
	f.wantOutcome(o, models.UpgradeSucceeded, "", "")
	if a := f.get("/?maintenance"); a.status != http.StatusServiceUnavailable {
		t.Errorf("the site answers %d", a.status)
	}
	f.maintain(false)
	f.whole("10.6.2", []string{"site.sqlite", "upgrade-2.sqlite"}, old, m.To)
}

// A site that was sick before, and is so on the new version, is put back as it
// was; that its old version is as sick is nobody's fault.
func TestHost_Upgrade_KilledWhileSick_Recovers(t *testing.T) {
	t.Parallel()
	f := site(t, tidepool.V1058)
	f.local(`if (PHP_SAPI !== 'cli' && \Drupal::VERSION === '10.5.8') { throw new \Exception('This version is sick.'); }`)
	j := f.killed(tidepool.V1062, point{models.StepSwitch, atDone})
	f.local(`if (PHP_SAPI !== 'cli') { throw new \Exception('Every version is sick.'); }`)
	_, o := f.takeUp(j)
	f.wantOutcome(o, models.UpgradeRecovered, models.StepConfirm, "500")
	f.clean([]string{"site.sqlite"}, f.from)
}
