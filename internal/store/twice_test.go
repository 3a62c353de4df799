package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// Who presses twice, or two who press at once, change a thing once, and the record has
// one line.
func TestStore_PressedAtOnce_IsRecordedOnce(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		site := w.site(t, "museum.example.org")
		task := w.task(t, models.TaskBackup, models.Subject{Kind: models.SubjectSite, ID: site.ID})
		backup := models.Backup{TaskID: task.ID, SiteID: site.ID, PlatformID: site.PlatformID, Purpose: models.BackupManual, URI: site.URI}
		ok(t, w.CreateBackup(w.ctx, &backup))
		ok(t, w.MoveBackup(w.ctx, "ada", backup, models.BackupReady))
		for verb, press := range map[string]func(ctx context.Context) error{
			"hold":        func(ctx context.Context) error { return w.SetHeld(ctx, "ada", site.ID, true, "A fair is on.", nil) },
			"keep backup": func(ctx context.Context) error { return w.KeepBackup(ctx, "ada", backup.ID, true) },
		} {
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					if err := press(w.ctx); err != nil {
						t.Errorf("%s: %v", verb, err)
					}
				})
			}
			group.Wait()
			lines, err := w.Events(w.ctx, fleet.EventFilter{Verb: verb})
			ok(t, err)
			want(t, "lines of "+verb, len(lines.Rows), 1)
		}
	})
}

// Who prolongs a hold while its end is being looked for keeps the site held.
func TestStore_EndHold_Prolonged_Stays(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w *world) {
		t.Helper()
		site := w.site(t, "museum.example.org")
		over, later := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
		ok(t, w.SetHeld(w.ctx, "ada", site.ID, true, "A fair is on.", &over))
		ended, err := w.EndedHolds(w.ctx, time.Now(), 10)
		ok(t, err)
		want(t, "ended holds", len(ended), 1)
		ok(t, w.SetHeld(w.ctx, "ada", site.ID, true, "It goes on.", &later))
		ok(t, w.EndHold(w.ctx, "hefring", site.ID, time.Now()))
		kept, err := w.Site(w.ctx, site.ID)
		ok(t, err)
		want(t, "held", kept.Held, true)
		ok(t, w.EndHold(w.ctx, "hefring", site.ID, later.Add(time.Second)))
		kept, err = w.Site(w.ctx, site.ID)
		ok(t, err)
		want(t, "held after its end", kept.Held, false)
	})
}
