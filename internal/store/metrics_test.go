package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

func TestStore_Figures(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			at := time.Now().UTC().Truncate(time.Microsecond)
			busy, gone := w.site(t, "museum.example.org"), w.site(t, "gone.example.org")
			w.site(t, "library.example.org")
			ok(t, w.MoveSite(w.ctx, "ada", gone, models.SiteDeleting, ""))
			gone.State = models.SiteDeleting
			ok(t, w.MoveSite(w.ctx, "ada", gone, models.SiteDeleted, ""))
			w.task(t, models.TaskBackup, models.Subject{Kind: models.SubjectSite, ID: busy.ID})
			w.task(t, models.TaskVerify, models.Subject{Kind: models.SubjectPlatform, ID: w.old.ID})
			running := w.task(t, models.TaskVerify, models.Subject{Kind: models.SubjectPlatform, ID: w.new.ID})
			_, err := w.TakeTask(w.ctx, running.ID)
			ok(t, err)
			ended := w.task(t, models.TaskCheck, models.Subject{Kind: models.SubjectQueue, ID: 9})
			w.finish(t, ended.ID, models.TaskSucceeded)

			ok(t, w.SaveQueue(w.ctx, models.Queue{UpdateType: "git", Every: time.Minute, AtOnce: 1}))
			ok(t, w.SaveQueue(w.ctx, models.Queue{UpdateType: "stock", Every: time.Minute, AtOnce: 1, Paused: true}))
			w.due(t, "one", at.Add(-time.Hour))
			w.due(t, "two", at.Add(-time.Minute))
			w.due(t, "three", at.Add(time.Minute))

			f, err := w.Figures(w.ctx, at)
			ok(t, err)
			for i := range f.Tasks {
				if age := at.Sub(f.Tasks[i].Oldest).Abs(); age > time.Minute {
					t.Errorf("the oldest %s is %s old", f.Tasks[i].Kind, age)
				}
				f.Tasks[i].Oldest = time.Time{}
			}
			want(t, "tasks", fmt.Sprint(f.Tasks), fmt.Sprint([]fleet.TaskFigure{
				{Kind: models.TaskBackup, State: models.TaskQueued, Count: 1}, {Kind: models.TaskVerify, State: models.TaskQueued, Count: 1}, {Kind: models.TaskVerify, State: models.TaskRunning, Count: 1},
			}))
			want(t, "queues", fmt.Sprint(f.Queues), fmt.Sprint([]fleet.QueueFigure{
				{UpdateType: "git", Sources: 3, Due: 2, Lag: time.Hour}, {UpdateType: "stock", Paused: true},
			}))
			want(t, "sites", fmt.Sprint(f.Sites), "map[enabled:2]")
			want(t, "platforms", fmt.Sprint(f.Platforms), "map[ready:2]")
			want(t, "distributions", fmt.Sprint(f.Distributions), "map[new:4]")
		})
	}
}

// due adds a distribution whose source is due at that time.
func (w *world) due(t *testing.T, name string, at time.Time) {
	t.Helper()
	u, err := w.EnsureUpstream(w.ctx, models.Upstream{UpdateType: "git", Key: name, Host: name})
	ok(t, err)
	ok(t, w.CreateDistribution(w.ctx, &models.Distribution{Name: name, Slug: name, UpdateType: "git", UpstreamID: &u.ID}))
	ok(t, w.ScheduleUpstream(w.ctx, u.ID, at))
}

func TestStore_Sound_OnlyWithItsOwnSchema(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			ok(t, s.Sound(t.Context()))
			newer(t, s.Access().SQL)
			err := s.Sound(t.Context())
			wantCode(t, err, models.Unavailable)
			if !strings.Contains(err.Error(), "schema 999999") {
				t.Errorf("got %v", err)
			}
			stopped, stop := context.WithCancel(t.Context())
			stop()
			if err := s.Sound(stopped); err == nil || models.CodeOf(err) != "" {
				t.Errorf("without an answer: %v", err)
			}
		})
	}
}

// newer makes it look as if a later version had changed the schema.
func newer(t *testing.T, db *sql.DB) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999999, true)")
	ok(t, err)
}
