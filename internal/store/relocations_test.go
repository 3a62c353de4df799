package store_test

import (
	"testing"
	"time"

	"hefring/models"
)

func TestStore_Relocation_Life(t *testing.T) {
	for name, dsn := range databases() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, dsn(t))
			site := w.site(t, "museum.example.org")
			task := w.task(t, models.TaskRelocate, models.Subject{Kind: models.SubjectSite, ID: site.ID})
			r := models.Relocation{TaskID: task.ID, SiteID: site.ID, Site: site}
			ok(t, w.CreateRelocation(t.Context(), &r))
			if coming, err := w.RelocationsTo(t.Context(), site.ID, 0); err != nil || len(coming) != 1 {
				t.Errorf("%d under way, %v", len(coming), err)
			}
			wantCode(t, w.SwitchServer(t.Context(), "ada", r), models.Conflict) // it is not being moved
			ok(t, w.MoveSite(t.Context(), "ada", site, models.SiteUpgrading, ""))
			for _, to := range []models.RelocationState{
				models.RelocationSending, models.RelocationSent, models.RelocationPlacing, models.RelocationReady, models.RelocationHanding,
				models.RelocationClosed, models.RelocationProven, models.RelocationSealed,
			} {
				r.First, r.Database = "aa:bb", models.Database{Engine: models.EngineSQLite, Name: "/data/sites/1/db/site.sqlite"}
				ok(t, w.MoveRelocation(t.Context(), r, to))
				wantCode(t, w.MoveRelocation(t.Context(), r, to), models.Conflict) // only one is first
				r.State = to
			}
			b := models.Backup{TaskID: task.ID, SiteID: site.ID, PlatformID: site.PlatformID, Purpose: models.BackupManual, URI: site.URI}
			ok(t, w.CreateBackup(t.Context(), &b))
			b.Path = "/old/backups/1/museum.tar.gz"
			ok(t, w.MoveBackup(t.Context(), "ada", b, models.BackupReady))
			r.Backups = "/new/backups/1"
			ok(t, w.SwitchServer(t.Context(), "ada", r))
			want(t, "database", w.load(t, site.ID).Database, r.Database)
			moved, err := w.Backup(t.Context(), b.ID)
			ok(t, err)
			want(t, "backup", moved.Path, "/new/backups/1/museum.tar.gz")
			for _, to := range []models.RelocationState{models.RelocationSwitched, models.RelocationOpen, models.RelocationDone} {
				ok(t, w.MoveRelocation(t.Context(), r, to))
				r.State = to
			}
			wantCode(t, w.MoveRelocation(t.Context(), r, models.RelocationFailed), models.Conflict)
			got, err := w.LatestRelocation(t.Context(), site.ID)
			ok(t, err)
			want(t, "database", got.Database, r.Database)
			want(t, "ended", got.EndedAt != nil, true)
			for _, at := range []struct {
				before time.Time
				left   int
			}{{time.Now().Add(-time.Hour), 0}, {time.Now().Add(time.Hour), 1}} {
				left, err := w.LeftRelocations(t.Context(), 0, at.before, 10)
				ok(t, err)
				want(t, "left", len(left), at.left)
			}
			ok(t, w.SweepRelocations(t.Context(), site.ID, 0))
			left, err := w.LeftRelocations(t.Context(), 0, time.Now().Add(time.Hour), 10)
			ok(t, err)
			want(t, "left after that", len(left), 0)
			if coming, err := w.RelocationsTo(t.Context(), site.ID, 0); err != nil || len(coming) != 0 {
				t.Errorf("%d under way, %v", len(coming), err)
			}
		})
	}
}
