package fleet_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// The numbers are those of docs/security.md.

func TestFailureMode14_OneCheckForEachUpstream(t *testing.T) {
	each(t, func(w *world) {
		for n := range 20 {
			w.distribution(fmt.Sprintf("App %d", n))
		}
		w.work()
		source := w.sources.at(address)
		asked := source.asked
		w.clock.pass(6 * time.Minute)
		want(w.T, "tasks for twenty distributions", w.dispatch(), 1)
		w.work()
		want(w.T, "questions for twenty distributions", source.asked-asked, 1)
	})
}

// Sources that were added together, or became due together after a pause, do not
// stay together.
func TestFailureMode15_NoThunderingHerd(t *testing.T) {
	each(t, func(w *world) {
		list := w.sourcesOf("scripted", 12)
		q := w.scripted()
		q.Every, q.AtOnce = time.Hour, 64
		ok(w.T, w.fleet.SaveQueue(w.ctx, "ada", q))
		w.clock.pass(24 * time.Hour)
		want(w.T, "due after a pause", w.dispatch(), 12)
		q.Every = 30 * time.Minute
		w.work()
		ok(w.T, w.fleet.SaveQueue(w.ctx, "ada", q))
		minutes := map[time.Time]int{}
		for _, d := range list {
			next := w.upstream(d).NextCheckAt
			minutes[next.Truncate(time.Minute)]++
			if wait := next.Sub(w.clock.time()); wait < 0 || wait > 66*time.Minute {
				w.Errorf("%s is due in %s", d.Name, wait)
			}
		}
		for minute, n := range minutes {
			if n > 6 {
				w.Errorf("%d of 12 are due in the minute of %s", n, minute)
			}
		}
	})
}

func TestFailureMode21_FolderGoneAfterRestart(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		second := w.moves(d, "b2")
		ok(w.T, w.fleet.Tidy(w.ctx))
		want(w.T, "state", w.named("thunder-b2").State, models.PlatformReady)
		remove(w.T, filepath.Dir(second.Root))
		ok(w.T, w.fleet.Tidy(w.ctx))
		gone := w.named("thunder-b2")
		want(w.T, "state", gone.State, models.PlatformFailed)
		_, err := w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: "a.example.org", Profile: "standard", PlatformID: gone.ID})
		if err == nil {
			w.Error("a site was put on a platform that is gone")
		}
		_, err = w.fleet.RetryBuild(w.ctx, "ada", gone.ID)
		ok(w.T, err)
		w.work()
		want(w.T, "state", w.named("thunder-b2").State, models.PlatformReady)
	})
}

// A disk that is not mounted is not a disk whose platforms were removed.
func TestFailureMode21_StoreNotMounted_SaysSo(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		w.moves(d, "b2")
		aside := w.platforms.Root + ".unmounted"
		ok(w.T, os.Rename(w.platforms.Root, aside))
		if err := w.fleet.Tidy(w.ctx); models.CodeOf(err) != models.Unavailable {
			w.Errorf("error is %v", err)
		}
		ok(w.T, os.Rename(aside, w.platforms.Root))
		want(w.T, "state", w.named("thunder-b2").State, models.PlatformReady)
	})
}

// remove deletes a sealed tree.
func remove(t *testing.T, dir string) {
	t.Helper()
	ok(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(path, 0o755)
		}
		return err
	}))
	ok(t, os.RemoveAll(dir))
}
