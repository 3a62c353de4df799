package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/internal/testpg"
	"hefring/internal/testsqlite"
	"hefring/models"
)

// postgres and sqlite are databases with our schema that each test copies.
var (
	postgres = testpg.NewTemplate(migrated)
	sqlite   = testsqlite.NewTemplate(migrated)
)

func migrated(ctx context.Context, dsn string) error {
	s, err := store.Open(ctx, dsn, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return s.Close()
}

// databases gives one new database of each kind.
func databases() map[string]func(t *testing.T) string {
	return map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { t.Helper(); return sqlite.Open(t, filepath.Join(t.TempDir(), "a b?#%.db")) },
		"postgres": func(t *testing.T) string { t.Helper(); return postgres.Open(t) },
	}
}

func open(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dsn, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.SetEnqueuer(queue{})
	return s
}

// queue writes tasks to a table through the transaction that it is given, as
// the real queue does.
type queue struct{}

func (queue) Enqueue(ctx context.Context, tx any, t models.Task) error {
	note := fmt.Sprintf("job %d", t.ID)
	switch tx := tx.(type) {
	case *sql.Tx:
		_, err := tx.ExecContext(ctx, "INSERT INTO sessions (token, data, expiry) VALUES (?, ?, ?)", note, []byte("job"), time.Now().Add(time.Hour))
		return err
	case pgx.Tx:
		_, err := tx.Exec(ctx, "INSERT INTO sessions (token, data, expiry) VALUES ($1, $2, $3)", note, []byte("job"), time.Now().Add(time.Hour))
		return err
	}
	return fmt.Errorf("a %T is no transaction", tx)
}

func jobs(t *testing.T, s *store.Store) int {
	t.Helper()
	all, err := s.Sessions().All()
	ok(t, err)
	return len(all)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code models.Code) {
	t.Helper()
	if models.CodeOf(err) != code {
		t.Fatalf("error is %v, want the code %s", err, code)
	}
	if e, is := errors.AsType[*models.Error](err); is && !strings.HasSuffix(e.Message, ".") {
		t.Fatalf("%q is not a sentence", e.Message)
	}
}

func want[T comparable](t *testing.T, what string, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Fatalf("%s is %v, want %v", what, got, wanted)
	}
}

// world is a small fleet: one distribution with an old and a new platform.
type world struct {
	*store.Store
	ctx      context.Context //nolint:containedctx // the test's own
	d        models.Distribution
	old, new models.Platform
}

func newWorld(t *testing.T, dsn string) *world {
	t.Helper()
	w := &world{Store: open(t, dsn), ctx: t.Context()}
	w.d = models.Distribution{Name: "Thunder", Slug: "thunder", UpdateType: "git", Settings: models.Settings{"url": "https://example.org/x.git"}}
	ok(t, w.CreateDistribution(w.ctx, &w.d))
	w.old = w.platform(t, "thunder-1")
	w.new = w.platform(t, "thunder-2")
	ok(t, w.SetTarget(w.ctx, "ada", w.d.ID, nil, w.old))
	return w
}

func (w *world) platform(t *testing.T, name string) models.Platform {
	t.Helper()
	p := models.Platform{DistributionID: w.d.ID, Name: name, Revision: "git:" + name, BuildKey: "key " + name, Server: "local"}
	ok(t, w.CreatePlatform(w.ctx, &p))
	ok(t, w.MovePlatform(w.ctx, "ada", p, models.PlatformBuilding, ""))
	p.DrupalVersion, p.Packages = "10.6.2", []models.Package{{Name: "drupal", Type: "core", Version: "10.6.2"}}
	ok(t, w.SavePlatformBuild(w.ctx, p))
	p.State = models.PlatformBuilding
	ok(t, w.MovePlatform(w.ctx, "ada", p, models.PlatformReady, ""))
	p, err := w.Platform(w.ctx, p.ID)
	ok(t, err)
	return p
}

func (w *world) site(t *testing.T, uri string) models.Site {
	t.Helper()
	site := models.Site{URI: uri, PlatformID: w.old.ID, Database: models.Database{Engine: "sqlite", Name: "/db/" + uri}}
	ok(t, w.CreateSite(w.ctx, &site))
	ok(t, w.MoveSite(w.ctx, "ada", site, models.SiteEnabled, ""))
	return w.load(t, site.ID)
}

func (w *world) load(t *testing.T, id int64) models.Site {
	t.Helper()
	site, err := w.Site(w.ctx, id)
	ok(t, err)
	return site
}

func (w *world) promote(t *testing.T) {
	t.Helper()
	ok(t, w.SetTarget(w.ctx, "ada", w.d.ID, &w.old.ID, w.new))
}

func (w *world) task(t *testing.T, kind models.TaskKind, subject models.Subject) models.Task {
	t.Helper()
	task := models.Task{Kind: kind, Subject: subject, Title: string(kind), Actor: "ada"}
	ok(t, w.CreateTask(w.ctx, &task))
	return task
}

func (w *world) finish(t *testing.T, id int64, to models.TaskState) {
	t.Helper()
	task, err := w.TakeTask(w.ctx, id)
	ok(t, err)
	ok(t, w.FinishTask(w.ctx, task, to, "done"))
}

// upgrade stores an upgrade of site that ended as to.
func (w *world) upgrade(t *testing.T, site models.Site, to models.UpgradeState) models.Upgrade {
	t.Helper()
	task := w.task(t, models.TaskUpgrade, models.Subject{Kind: models.SubjectSite, ID: site.ID})
	u := models.Upgrade{
		TaskID: task.ID, SiteID: site.ID, FromID: site.PlatformID, ToID: w.new.ID, Mode: models.ModeDatabase,
		OldDatabase: site.Database, NewDatabase: models.Database{Engine: "sqlite", Name: site.Database.Name + "-new"},
	}
	ok(t, w.CreateUpgrade(w.ctx, &u))
	ok(t, w.MoveUpgrade(w.ctx, u, models.UpgradeRunning, ""))
	u.State = models.UpgradeRunning
	ok(t, w.MoveUpgrade(w.ctx, u, to, ""))
	w.finish(t, task.ID, models.TaskSucceeded)
	loaded, err := w.Upgrade(w.ctx, u.ID)
	ok(t, err)
	return loaded
}

func TestStore_Create_TakenNamesConflict(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			site := w.site(t, "museum.example.org")
			wantCode(t, w.CreateDistribution(w.ctx, &models.Distribution{Name: "THUNDER", Slug: "other"}), models.Conflict)
			wantCode(t, w.CreateDistribution(w.ctx, &models.Distribution{Name: "Other", Slug: "thunder"}), models.Conflict)
			wantCode(t, w.CreatePlatform(w.ctx, &models.Platform{DistributionID: w.d.ID, Name: "thunder-1"}), models.Conflict)
			wantCode(t, w.CreateSite(w.ctx, &models.Site{URI: site.URI, PlatformID: w.old.ID}), models.Conflict)
			wantCode(t, w.CreatePlatform(w.ctx, &models.Platform{DistributionID: 999, Name: "orphan"}), models.NotFound)

			ok(t, w.MoveSite(w.ctx, "ada", site, models.SiteDeleting, ""))
			site.State = models.SiteDeleting
			ok(t, w.MoveSite(w.ctx, "ada", site, models.SiteDeleted, ""))
			again := w.site(t, "museum.example.org")
			if again.ID == site.ID {
				t.Fatal("the number of a deleted site was given again")
			}
		})
	}
}

func TestStore_Create_KeepsEverything(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			every := 90 * time.Second
			d := models.Distribution{Name: "Ba\xffd\x00text", Slug: "bad", UpdateType: "git", CheckEvery: &every, Secrets: []byte{0, 0xff}, RebuildDays: 30}
			ok(t, w.CreateDistribution(w.ctx, &d))
			got, err := w.Distribution(w.ctx, d.ID)
			ok(t, err)
			want(t, "interval", *got.CheckEvery, every)
			want(t, "secrets", string(got.Secrets), "\x00\xff")
			want(t, "rebuild", got.RebuildDays, 30)
			want(t, "settings", got.Settings == nil, true)
			want(t, "name", got.Name, "Ba\uFFFDd\uFFFDtext")
			want(t, "condition", got.Condition, models.ConditionNew)
			want(t, "packages", w.old.Packages[0].Version, "10.6.2")
			want(t, "built", w.old.BuiltAt != nil, true)
			_, err = w.Distribution(w.ctx, 999)
			wantCode(t, err, models.NotFound)
		})
	}
}

func TestStore_CreateSite_RefusedByLockedPlatform(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			w.promote(t)
			wantCode(t, w.CreateSite(w.ctx, &models.Site{URI: "a.example.org", PlatformID: w.old.ID}), models.Conflict)
			ok(t, w.SetLocked(w.ctx, "ada", w.old.ID, false))
			ok(t, w.CreateSite(w.ctx, &models.Site{URI: "a.example.org", PlatformID: w.old.ID}))
			queued := models.Platform{DistributionID: w.d.ID, Name: "queued"}
			ok(t, w.CreatePlatform(w.ctx, &queued))
			wantCode(t, w.CreateSite(w.ctx, &models.Site{URI: "b.example.org", PlatformID: queued.ID}), models.Conflict)
		})
	}
}

func TestStore_Move_OneWinner(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			site := w.site(t, "museum.example.org")
			var winners, losers atomic.Int32
			var movers sync.WaitGroup
			for range 20 {
				movers.Go(func() {
					switch err := w.MoveSite(w.ctx, "ada", site, models.SiteUpgrading, ""); {
					case err == nil:
						winners.Add(1)
					case models.CodeOf(err) == models.Conflict:
						losers.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			movers.Wait()
			want(t, "winners", winners.Load(), 1)
			want(t, "losers", losers.Load(), 19)
		})
	}
}

func TestStore_Move_GuardsTransitions(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			wantCode(t, w.MovePlatform(w.ctx, "ada", w.old, models.PlatformBuilding, ""), models.Conflict)
			stale := w.old
			stale.State = models.PlatformBuilding
			wantCode(t, w.MovePlatform(w.ctx, "ada", stale, models.PlatformFailed, "no"), models.Conflict)
			wantCode(t, w.SavePlatformBuild(w.ctx, stale), models.Conflict)
			stale.ID = 999
			wantCode(t, w.MovePlatform(w.ctx, "ada", stale, models.PlatformFailed, "no"), models.NotFound)
			site := w.site(t, "museum.example.org")
			ok(t, w.MoveSite(w.ctx, "ada", site, models.SiteBroken, "It is broken."))
			want(t, "reason", w.load(t, site.ID).Reason, "It is broken.")
		})
	}
}

func TestStore_SetTarget_LocksSiblings(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			w.promote(t)
			d, err := w.Distribution(w.ctx, w.d.ID)
			ok(t, err)
			want(t, "target", *d.TargetID, w.new.ID)
			want(t, "signature", d.Signature, w.new.Revision)
			old, err := w.Platform(w.ctx, w.old.ID)
			ok(t, err)
			want(t, "old is locked", old.Locked, true)
			open, err := w.OpenPlatforms(w.ctx)
			ok(t, err)
			want(t, "open platforms", len(open), 1)
			want(t, "open platform", open[0].Name, "thunder-2")
			wantCode(t, w.SetTarget(w.ctx, "bob", w.d.ID, &w.old.ID, w.old), models.Conflict)
			wantCode(t, w.SetTarget(w.ctx, "bob", w.d.ID, nil, w.old), models.Conflict)
			queued := models.Platform{DistributionID: w.d.ID, Name: "queued"}
			ok(t, w.CreatePlatform(w.ctx, &queued))
			wantCode(t, w.SetTarget(w.ctx, "bob", w.d.ID, &w.new.ID, queued), models.Conflict)
			d, err = w.Distribution(w.ctx, w.d.ID)
			ok(t, err)
			want(t, "target after a refusal", *d.TargetID, w.new.ID)
		})
	}
}

func TestStore_InTx_AllOrNothing(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			boom := errors.New("boom")
			err := w.InTx(w.ctx, func(tx fleet.Tx) error {
				ok(t, tx.CreateUser(w.ctx, &models.User{Name: "ada", Role: models.RoleAdministrator}))
				ok(t, tx.CreateTask(w.ctx, &models.Task{Kind: models.TaskCheck, Subject: models.Subject{Kind: models.SubjectDistribution, ID: w.d.ID}}))
				return boom
			})
			want(t, "error", errors.Is(err, boom), true)
			_, err = w.UserByName(w.ctx, "ada")
			wantCode(t, err, models.NotFound)
			want(t, "jobs", jobs(t, w.Store), 0)

			subject := models.Subject{Kind: models.SubjectDistribution, ID: w.d.ID}
			ok(t, w.InTx(w.ctx, func(tx fleet.Tx) error {
				ok(t, tx.CreateTask(w.ctx, &models.Task{Kind: models.TaskCheck, Subject: subject}))
				// A conflict undoes itself, not what the transaction did before.
				wantCode(t, tx.CreateTask(w.ctx, &models.Task{Kind: models.TaskCheck, Subject: subject}), models.Conflict)
				return tx.CreateUser(w.ctx, &models.User{Name: "Ada", Role: models.RoleAdministrator})
			}))
			user, err := w.UserByName(w.ctx, "ADA")
			ok(t, err)
			want(t, "user", user.Name, "Ada")
			want(t, "jobs", jobs(t, w.Store), 1)
		})
	}
}

func TestStore_RecordCheck_JoinsUnchanged(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			at := time.Now().UTC().Truncate(time.Microsecond)
			record := func(outcome models.CheckOutcome, revision string, condition models.Condition) models.Check {
				at = at.Add(time.Minute)
				c := models.Check{DistributionID: w.d.ID, Trigger: models.TriggerQueue, Outcome: outcome, NewRevision: revision, StartedAt: at, EndedAt: at}
				ok(t, w.RecordCheck(w.ctx, &c, condition, "why"))
				return c
			}
			record(models.CheckChanged, "r1", models.ConditionChanged)
			first := record(models.CheckUnchanged, "r1", models.ConditionCurrent)
			second := record(models.CheckUnchanged, "r1", models.ConditionCurrent)
			want(t, "joined row", second.ID, first.ID)
			want(t, "times", second.Times, 2)
			record(models.CheckFailed, "", models.ConditionFailing)
			checks, err := w.DistributionChecks(w.ctx, w.d.ID, 10)
			ok(t, err)
			want(t, "rows", len(checks), 3)
			want(t, "newest", checks[0].Outcome, models.CheckFailed)
			want(t, "times", checks[1].Times, 2)
			d, err := w.Distribution(w.ctx, w.d.ID)
			ok(t, err)
			want(t, "observed", d.Observed, "r1")
			want(t, "condition", d.Condition, models.ConditionFailing)
			want(t, "last check", d.LastCheckAt.Equal(at), true)
		})
	}
}

func TestStore_Task_Life(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			subject := models.Subject{Kind: models.SubjectPlatform, ID: w.old.ID}
			parent := w.task(t, models.TaskUpgradePlatform, subject)
			wantCode(t, w.CreateTask(w.ctx, &models.Task{Kind: models.TaskVerify, Subject: subject}), models.Conflict)
			running, err := w.RunningTask(w.ctx, subject)
			ok(t, err)
			want(t, "running task", running.ID, parent.ID)
			child := models.Task{Kind: models.TaskUpgrade, Subject: models.Subject{Kind: models.SubjectSite, ID: 1}, ParentID: &parent.ID}
			ok(t, w.CreateTask(w.ctx, &child))
			children, err := w.Children(w.ctx, parent.ID)
			ok(t, err)
			want(t, "children", len(children), 1)

			first, err := w.TakeTask(w.ctx, parent.ID)
			ok(t, err)
			first.Args = models.Settings{"spread": "1"}
			ok(t, w.SaveTaskArgs(w.ctx, first))
			second, err := w.TakeTask(w.ctx, parent.ID)
			ok(t, err)
			want(t, "attempt", second.Attempt, 2)
			want(t, "args", second.Args["spread"], "1")
			want(t, "start", second.StartedAt.Equal(*first.StartedAt), true)
			wantCode(t, w.HoldsTask(w.ctx, first), models.Conflict)
			wantCode(t, w.SaveTaskArgs(w.ctx, first), models.Conflict)
			wantCode(t, w.FinishTask(w.ctx, first, models.TaskSucceeded, ""), models.Conflict)
			wantCode(t, w.FinishTask(w.ctx, second, models.TaskRunning, ""), models.Conflict)
			ok(t, w.HoldsTask(w.ctx, second))
			ok(t, w.FinishTask(w.ctx, second, models.TaskWarning, "mostly"))
			_, err = w.TakeTask(w.ctx, parent.ID)
			wantCode(t, err, models.Conflict)
			_, err = w.RunningTask(w.ctx, subject)
			wantCode(t, err, models.NotFound)
			w.task(t, models.TaskVerify, subject)
		})
	}
}

// TestStore_HoldsTask_FencesItsTransaction proves that no worker can take a task
// over between HoldsTask and the end of the transaction that asked.
func TestStore_HoldsTask_FencesItsTransaction(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			task := w.task(t, models.TaskVerify, models.Subject{Kind: models.SubjectPlatform, ID: w.old.ID})
			task, err := w.TakeTask(w.ctx, task.ID)
			ok(t, err)
			var committing atomic.Bool
			taken := make(chan bool)
			ok(t, w.InTx(w.ctx, func(tx fleet.Tx) error {
				ok(t, tx.HoldsTask(w.ctx, task))
				go func() {
					_, err := w.TakeTask(w.ctx, task.ID)
					taken <- err == nil && committing.Load()
				}()
				ok(t, tx.SetHeld(w.ctx, "ada", w.inTxSite(t, tx).ID, true, "x", nil))
				committing.Store(true)
				return nil
			}))
			want(t, "taken after the commit", <-taken, true)
			wantCode(t, w.HoldsTask(w.ctx, task), models.Conflict)
		})
	}
}

func (w *world) inTxSite(t *testing.T, tx fleet.Tx) models.Site {
	t.Helper()
	site := models.Site{URI: "in.example.org", PlatformID: w.old.ID}
	ok(t, tx.CreateSite(w.ctx, &site))
	return site
}

func TestStore_CancelTask_QueuedEndsRunningIsMarked(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			queued := w.task(t, models.TaskVerify, models.Subject{Kind: models.SubjectPlatform, ID: w.old.ID})
			running := w.task(t, models.TaskVerify, models.Subject{Kind: models.SubjectPlatform, ID: w.new.ID})
			_, err := w.TakeTask(w.ctx, running.ID)
			ok(t, err)
			ok(t, w.CancelTask(w.ctx, "bob", queued.ID))
			ok(t, w.CancelTask(w.ctx, "bob", running.ID))
			list, err := w.TasksAmong(w.ctx, []int64{queued.ID, running.ID})
			ok(t, err)
			slices.SortFunc(list, func(a, b models.Task) int { return int(a.ID - b.ID) })
			want(t, "queued", list[0].State, models.TaskCancelled)
			want(t, "running", list[1].State, models.TaskRunning)
			want(t, "mark", list[1].Cancel, true)
			wantCode(t, w.CancelTask(w.ctx, "bob", queued.ID), models.Conflict)
			wantCode(t, w.CancelTask(w.ctx, "bob", 999), models.NotFound)
		})
	}
}

func TestStore_AppendLines_OrderAndLimits(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			task := w.task(t, models.TaskVerify, models.Subject{Kind: models.SubjectPlatform, ID: w.old.ID})
			wake, stop := w.Follow(task.ID)
			defer stop()
			ok(t, w.AppendLines(w.ctx, []models.TaskLine{
				{TaskID: task.ID, Level: models.LevelOut, Text: "bad \xff and \x00\r\n"},
				{TaskID: task.ID, Level: models.LevelErr, Text: strings.Repeat("é", 5000)},
			}))
			<-wake
			lines, err := w.Lines(w.ctx, task.ID, 0, 10)
			ok(t, err)
			want(t, "text", lines[0].Text, "bad \uFFFD and \uFFFD")
			want(t, "a long line is cut", len(lines[1].Text) <= store.MaxLineBytes && strings.HasSuffix(lines[1].Text, "(line cut)"), true)
			after, err := w.Lines(w.ctx, task.ID, lines[0].ID, 10)
			ok(t, err)
			want(t, "lines after the first", len(after), 1)

			many := make([]models.TaskLine, store.MaxLines-10)
			for i := range many {
				many[i] = models.TaskLine{TaskID: task.ID, Text: strconv.Itoa(i)}
			}
			ok(t, w.AppendLines(w.ctx, many))
			ok(t, w.AppendLines(w.ctx, many[:100]))
			ok(t, w.AppendLines(w.ctx, many[:100]))
			all, err := w.Lines(w.ctx, task.ID, 0, store.MaxLines*2)
			ok(t, err)
			want(t, "lines kept", len(all), store.MaxLines+1)
			want(t, "the last is a warning", all[store.MaxLines].Level, models.LevelWarn)
			want(t, "order", all[1000].Text, "998")
			wantCode(t, w.AppendLines(w.ctx, []models.TaskLine{{TaskID: 999, Text: "x"}}), models.NotFound)
		})
	}
}

func TestStore_Follow_WakesInOtherReplicas(t *testing.T) {
	dsn := postgres.Open(t)
	w := newWorld(t, dsn)
	other := open(t, dsn)
	task := w.task(t, models.TaskVerify, models.Subject{Kind: models.SubjectPlatform, ID: w.old.ID})
	wake, stop := other.Follow(task.ID)
	defer stop()
	deadline := time.After(90 * time.Second)
	// The other one may still be on its way to listening.
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		ok(t, w.AppendLines(w.ctx, []models.TaskLine{{TaskID: task.ID, Text: "x"}}))
		select {
		case <-wake:
			return
		case <-again.C:
		case <-deadline:
			t.Fatal("the other replica was never woken")
		}
	}
}

func TestStore_Upgrade_Journal(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			site := w.site(t, "museum.example.org")
			w.promote(t)
			u := w.upgrade(t, site, models.UpgradeSucceeded)
			want(t, "times are kept", u.StartedAt != nil && u.EndedAt != nil, true)
			steps, err := w.UpgradeSteps(w.ctx, u.ID)
			ok(t, err)
			want(t, "steps", len(steps), len(models.StepsOf(models.KindUpgrade, models.ModeUnknown)))
			for i, step := range steps {
				want(t, "step", step.Name, models.StepsOf(models.KindUpgrade, models.ModeUnknown)[i])
			}
			wake, stop := w.Follow(u.TaskID)
			defer stop()
			steps[0].State, steps[0].Message = models.StepDone, "200 in 84 ms"
			ok(t, w.SaveStep(w.ctx, steps[0]))
			<-wake

			ok(t, w.PlaceSite(w.ctx, site, w.new.ID, u.NewDatabase))
			wantCode(t, w.PlaceSite(w.ctx, site, w.new.ID, u.NewDatabase), models.Conflict)
			list, err := w.RetiredUpgrades(w.ctx, 0, time.Now().Add(time.Hour), 10)
			ok(t, err)
			want(t, "retired", len(list), 1)
			dropped := time.Now()
			u.DroppedOldAt, u.Switched = &dropped, true
			u.StartedAt = nil
			ok(t, w.SaveUpgrade(w.ctx, u))
			again, err := w.UpgradeOfTask(w.ctx, u.TaskID)
			ok(t, err)
			want(t, "the start is not erased", again.StartedAt != nil && again.Switched, true)
			list, err = w.RetiredUpgrades(w.ctx, 0, time.Now().Add(time.Hour), 10)
			ok(t, err)
			want(t, "retired after dropping", len(list), 0)
		})
	}
}

func TestStore_Comparison_Replaced(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			site := w.site(t, "museum.example.org")
			for range 2 {
				c := models.Comparison{
					SiteID: site.ID, FromPlatformID: w.old.ID, PlatformID: w.new.ID,
					Updates: []models.PendingUpdate{{Name: "node_update_1"}}, MadeAt: time.Now(),
				}
				ok(t, w.SaveComparison(w.ctx, &c))
			}
			c, err := w.Comparison(w.ctx, site.ID)
			ok(t, err)
			want(t, "update", c.Updates[0].Name, "node_update_1")
			list, err := w.ComparisonsOn(w.ctx, w.old.ID, w.new.ID)
			ok(t, err)
			want(t, "comparisons", len(list), 1)
			_, err = w.Comparison(w.ctx, 999)
			wantCode(t, err, models.NotFound)
		})
	}
}

func TestStore_Once_SecondGetsFirst(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			var fresh atomic.Int32
			var posts sync.WaitGroup
			for range 5 {
				posts.Go(func() {
					err := w.InTx(w.ctx, func(tx fleet.Tx) error {
						seen, isFresh, err := tx.Once(w.ctx, "token", "what it says")
						if err != nil {
							return err
						}
						if !isFresh {
							if seen != (fleet.SentForm{ID: 42, Content: "what it says"}) {
								t.Errorf("the form was %+v", seen)
							}
							return nil
						}
						fresh.Add(1)
						return tx.UseOnce(w.ctx, "token", 42)
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			posts.Wait()
			want(t, "fresh claims", fresh.Load(), 1)
		})
	}
}

func TestStore_LoginLink_UsedOnce(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			u := models.User{Name: "ada", Role: models.RoleAdministrator}
			ok(t, w.CreateUser(w.ctx, &u))
			wantCode(t, w.CreateUser(w.ctx, &models.User{Name: "ADA", Role: models.RoleAdministrator}), models.Conflict)
			ok(t, w.SetPassword(w.ctx, u.ID, "hash"))
			wantCode(t, w.SetPassword(w.ctx, 999, "hash"), models.NotFound)
			at := time.Now()
			ok(t, w.CreateLoginLink(w.ctx, models.LoginLink{TokenHash: "a", UserID: u.ID, ExpiresAt: at.Add(time.Hour)}))
			ok(t, w.CreateLoginLink(w.ctx, models.LoginLink{TokenHash: "b", UserID: u.ID, ExpiresAt: at.Add(-time.Hour)}))
			got, err := w.UseLoginLink(w.ctx, "a", at)
			ok(t, err)
			want(t, "user", got.PasswordHash, "hash")
			for _, token := range []string{"a", "b", "c"} {
				_, err := w.UseLoginLink(w.ctx, token, at)
				wantCode(t, err, models.NotFound)
			}
		})
	}
}

func TestSessions_Life_AndPrune(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			sessions := w.Sessions()
			at := time.Now()
			ok(t, sessions.Commit("live", []byte("1"), at.Add(time.Hour)))
			ok(t, sessions.Commit("live", []byte("2"), at.Add(time.Hour)))
			ok(t, sessions.Commit("dead", []byte("3"), at.Add(-time.Hour)))
			data, found, err := sessions.Find("live")
			ok(t, err)
			want(t, "session", found && string(data) == "2", true)
			_, found, err = sessions.Find("dead")
			ok(t, err)
			want(t, "expired session", found, false)
			ok(t, w.Prune(w.ctx, at))
			ok(t, sessions.Delete("live"))
			ok(t, sessions.Delete("live"))
			all, err := sessions.All()
			ok(t, err)
			want(t, "sessions", len(all), 0)
		})
	}
}

func TestStore_Prune_KeepsWhatChecksFound(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, database(t))
			task := w.task(t, models.TaskCheck, models.Subject{Kind: models.SubjectDistribution, ID: w.d.ID})
			ok(t, w.AppendLines(w.ctx, []models.TaskLine{{TaskID: task.ID, Text: "x"}}))
			c := models.Check{DistributionID: w.d.ID, TaskID: &task.ID, Trigger: models.TriggerButton, Outcome: models.CheckFailed}
			ok(t, w.RecordCheck(w.ctx, &c, models.ConditionFailing, "why"))
			w.finish(t, task.ID, models.TaskSucceeded)
			ok(t, w.Prune(w.ctx, time.Now()))
			_, err := w.Task(w.ctx, task.ID)
			ok(t, err)
			ok(t, w.Prune(w.ctx, time.Now().Add(30*24*time.Hour)))
			_, err = w.Task(w.ctx, task.ID)
			wantCode(t, err, models.NotFound)
			checks, err := w.DistributionChecks(w.ctx, w.d.ID, 10)
			ok(t, err)
			want(t, "checks", len(checks), 1)
		})
	}
}

func TestOpen_BadAddress_SaysWhatToDo(t *testing.T) {
	for _, dsn := range []string{"", "mysql://x/y", "sqlite:/dev/null/x/y.db", "postgres://127.0.0.1:1/x?connect_timeout=1"} {
		if s, err := store.Open(t.Context(), dsn, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%q was opened", dsn)
			ok(t, s.Close())
		}
	}
}

func TestOpen_SeveralAtOnce_MigrateOnce(t *testing.T) {
	for name, dsn := range map[string]string{
		"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "sub", "new.db"), "postgres": testpg.Empty(t),
	} {
		t.Run(name, func(t *testing.T) {
			var opens sync.WaitGroup
			for range 4 {
				opens.Go(func() {
					s, err := store.Open(t.Context(), dsn, slog.New(slog.DiscardHandler))
					if err != nil {
						t.Error(err)
						return
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			opens.Wait()
		})
	}
}
