package host_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"hefring/internal/sites/upgrade"
	"hefring/internal/tidepool"
	"hefring/models"
)

// journey is a site with a move before it, and what it should be like when that
// was undone or carried out.
type journey struct {
	*subject
	move         func() upgrade.Move
	stayed, came func()
	versions     [2]string // that readers see, before and after
	refuses      bool      // writes are refused for a moment
}

// endure kills one move after the other at every point and takes each up. Those
// that were killed before the switch leave the site for the next one.
func endure(t *testing.T, begin func(t *testing.T) *journey, points []point) {
	t.Helper()
	var j *journey
	for _, at := range points {
		t.Run(at.String(), func(t *testing.T) {
			if j == nil {
				j = begin(t)
			}
			j.T = t
			defer func() {
				if t.Failed() {
					j = nil
				}
			}()
			tr := j.traffic()
			book := newJournal(t, j.move())
			j.again(book, at)
			left, err := openJournal(book.path)
			ok(t, err)
			_, o := j.takeUp(left)
			seen := j.versions[:1]
			if forward(at) && j.versions[0] != j.versions[1] {
				seen = j.versions[:]
			}
			tr.hurt(seen...)
			if !j.refuses && tr.refused > 0 {
				t.Errorf("%d writes were refused", tr.refused)
			}
			if !forward(at) {
				if o.State != models.UpgradeRecovered {
					t.Errorf("outcome %q, want recovered: %v", o.State, o.Err)
				}
				j.holds(tr.acknowledged...)
				j.stayed()
				return
			}
			if o.State != models.UpgradeSucceeded {
				t.Errorf("outcome %q, want succeeded: %v", o.State, o.Err)
			}
			j.came()
			j = nil
		})
	}
}

// done are the moments that ask most of whoever takes a move up: a step was
// carried out, and the journal does not know. The whole loop is in the e2e tests.
func done(steps ...models.StepName) (list []point) {
	for _, step := range steps {
		list = append(list, point{step, atDone})
	}
	return list
}

func TestHost_Rollback_Killed_DatabaseMode(t *testing.T) {
	t.Parallel()
	endure(t, func(t *testing.T) *journey {
		t.Helper()
		f := site(t, tidepool.V1058)
		old := f.from
		up := f.run(f.move(tidepool.V1062)).Upgrade
		newer := f.from
		databases := func() []string { return []string{base(up.OldDatabase), base(up.NewDatabase)} }
		return &journey{
			subject: f, versions: [2]string{"10.6.2", "10.5.8"}, refuses: true,
			move:   func() upgrade.Move { return f.rollback(up, old) },
			stayed: func() { f.whole("10.6.2", databases(), old, newer) },
			came:   func() { f.whole("10.5.8", databases(), old, newer) },
		}
	}, done(models.StepPreflight, models.StepDeploy, models.StepProbe, models.StepReadOnly, models.StepSwitch, models.StepConfirm, models.StepReopen, models.StepRetire))
}

func TestHost_Rollback_Killed_CodeMode(t *testing.T) {
	t.Parallel()
	endure(t, func(t *testing.T) *journey {
		t.Helper()
		f := site(t, tidepool.V1062)
		old := f.from
		up := f.run(f.move(tidepool.V1063)).Upgrade
		newer := f.from
		return &journey{
			subject: f, versions: [2]string{"10.6.3", "10.6.2"},
			move:   func() upgrade.Move { return f.rollback(up, old) },
			stayed: func() { f.whole("10.6.3", []string{"site.sqlite"}, old, newer) },
			came:   func() { f.whole("10.6.2", []string{"site.sqlite"}, old, newer) },
		}
	}, []point{
		{models.StepPreflight, atTrial},
		{models.StepDeploy, atEnd},
		{models.StepCopy, atDone},
		{models.StepRebuild, atEnd},
		{models.StepSwitch, atStart},
		{models.StepSwitch, atDone},
		{models.StepConfirm, atEnd},
		{models.StepRetire, atDone},
	})
}

func TestHost_Restore_Killed_SamePlatform(t *testing.T) {
	t.Parallel()
	endure(t, func(t *testing.T) *journey {
		t.Helper()
		f, b := withPast(t, tidepool.V1062)
		return &journey{
			subject: f, versions: [2]string{"10.6.2", "10.6.2"}, refuses: true,
			move:   func() upgrade.Move { return f.restore(b, f.from) },
			stayed: func() { f.files(present()); f.kept(0); f.whole("10.6.2", []string{"site.sqlite"}, f.from) },
			came: func() {
				f.files(past())
				f.kept(1)
				f.whole("10.6.2", []string{"site.sqlite", base(f.site.Database)}, f.from)
			},
		}
	}, append([]point{{models.StepCopy, atStart}, {models.StepSwitch, atStart}},
		done(models.StepPreflight, models.StepCopy, models.StepDeploy, models.StepRebuild, models.StepProbe, models.StepReadOnly, models.StepSwitch, models.StepConfirm, models.StepRetire)...))
}

func TestHost_Restore_Killed_OtherPlatform(t *testing.T) {
	t.Parallel()
	endure(t, func(t *testing.T) *journey {
		t.Helper()
		f, b := withPast(t, tidepool.V1058)
		old := f.from
		up := f.run(f.move(tidepool.V1062)).Upgrade
		ok(t, f.host.Forget(t.Context(), f.site, old, up.OldDatabase))
		newer := f.from
		return &journey{
			subject: f, versions: [2]string{"10.6.2", "10.5.8"}, refuses: true,
			move:   func() upgrade.Move { return f.restore(b, old) },
			stayed: func() { f.files(present()); f.kept(0); f.whole("10.6.2", []string{base(up.NewDatabase)}, newer) },
			came: func() {
				f.files(past())
				f.kept(1)
				f.whole("10.5.8", []string{base(up.NewDatabase), base(f.site.Database)}, old, newer)
			},
		}
	}, []point{
		{models.StepCopy, atDone},
		{models.StepDeploy, atStart},
		{models.StepDeploy, atEnd},
		{models.StepReadOnly, atEnd},
		{models.StepSwitch, atStart},
		{models.StepSwitch, atDone},
		{models.StepConfirm, atEnd},
		{models.StepRetire, atStart},
	})
}

// Killed right after it was switched back, the restore's successor puts the files
// back, too.
func TestHost_Restore_KilledWhileSwitchingBack(t *testing.T) {
	t.Parallel()
	f, b := withPast(t, tidepool.V1062)
	j := newJournal(t, f.restore(b, f.from))
	f.deaf().again(j, point{models.StepSwitch, atReturned})
	left, err := openJournal(j.path)
	ok(t, err)
	_, o := f.takeUp(left)
	if o.State != models.UpgradeRecovered || o.Upgrade.Switched {
		t.Errorf("outcome %q, switched %t: %v", o.State, o.Upgrade.Switched, o.Err)
	}
	f.files(present())
	f.kept(0)
	f.whole("10.6.2", []string{"site.sqlite"}, f.from)
}

// Killed after some of the folders changed places and before the pointer did: the
// successor puts them back.
func TestHost_Restore_KilledBetweenFoldersAndPointer(t *testing.T) {
	t.Parallel()
	for _, exchanged := range [][]string{{"files"}, {"files", "private", "config"}} {
		f, b := withPast(t, tidepool.V1062)
		j := newJournal(t, f.restore(b, f.from))
		f.again(j, point{models.StepSwitch, atStart})
		for _, name := range exchanged {
			dir := f.layout.Dir(f.site.ID)
			ok(t, unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "kept", "1", name), unix.AT_FDCWD, filepath.Join(dir, name), unix.RENAME_EXCHANGE))
		}
		left, err := openJournal(j.path)
		ok(t, err)
		_, o := f.takeUp(left)
		if o.State != models.UpgradeRecovered {
			t.Errorf("outcome %q: %v", o.State, o.Err)
		}
		f.files(present())
		f.kept(0)
		f.whole("10.6.2", []string{"site.sqlite"}, f.from)
	}
}
