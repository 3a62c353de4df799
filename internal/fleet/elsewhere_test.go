package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/bits"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/platforms"
	"hefring/internal/run"
	"hefring/internal/secret"
	"hefring/internal/store"
	"hefring/internal/tasks"
	"hefring/internal/testpg"
	"hefring/models"
	"hefring/plugins"
)

// queuedPostgres is a database with the tables of the queue, too.
var queuedPostgres = testpg.NewTemplate(func(ctx context.Context, dsn string) error {
	s, err := store.Open(ctx, dsn, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, err = tasks.New(ctx, s, tasks.Access(s.Access()), tasks.Config{Logger: slog.New(slog.DiscardHandler)})
	return errors.Join(err, s.Close())
})

// twoHosts are a control plane and a web host with a worker, each with its own way to
// the database, its own keys and its own disk; the queue is the real one.
type twoHosts struct {
	*world

	box    *secret.Box
	server models.Server
	there  *hosting         // of the web host
	disk   *platforms.Store // of the web host
	worker *tasks.Runner
	sent   atomic.Int64                 // files that were asked for
	lost   atomic.Pointer[models.Error] // of the way to the control plane
}

func newTwoHosts(t *testing.T) *twoHosts {
	t.Helper()
	dsn := queuedPostgres.Open(t)
	e := &twoHosts{world: newWorld(t, dsn), there: &hosting{}}
	e.thunder() // with the queue that the test plays
	var err error
	e.box, err = secret.Load(filepath.Join(t.TempDir(), "secret.key"))
	ok(t, err)
	runner := e.runner(e.Store, tasks.Config{ID: "local", Workers: tasks.Workers()})
	e.SetEnqueuer(runner)
	e.fleet = e.process(fleet.Config{Store: e.Store, Secrets: e.box, Recipient: e.box.Recipient, Hosting: e.hosting, Platforms: e.platforms})
	e.begin(runner, e.fleet)
	e.join(dsn)
	return e
}

// process is one more part of the fleet.
func (e *twoHosts) process(cfg fleet.Config) *fleet.Fleet {
	e.Helper()
	types, err := plugins.NewRegistry(updateType{e.sources, "scripted", false})
	ok(e.T, err)
	cfg.Types, cfg.Run, cfg.Cache, cfg.Scratch = types, run.New(run.Config{}), e.TempDir(), e.TempDir()
	cfg.Tools, cfg.PHP, cfg.Logger, cfg.SealFor = map[string]string{"php": "8.2"}, "8.2", slog.New(slog.DiscardHandler), secret.SealFor
	return fleet.New(cfg)
}

func (e *twoHosts) runner(s *store.Store, cfg tasks.Config) *tasks.Runner {
	e.Helper()
	cfg.Logger, cfg.Beat = slog.New(slog.DiscardHandler), 100*time.Millisecond
	r, err := tasks.New(e.ctx, s, tasks.Access(s.Access()), cfg)
	ok(e.T, err)
	return r
}

func (e *twoHosts) begin(r *tasks.Runner, f *fleet.Fleet) {
	e.Helper()
	r.HandleAll(f.Handlers())
	ok(e.T, r.Start(e.ctx))
	e.Cleanup(func() { ok(e.T, r.Stop(context.Background())) })
}

// joined adds a web host and gives its keys and its way to the database, which has the
// rights of a worker and no others.
func (w *world) joined(dsn, name string) (models.Server, *secret.Box, *store.Store) {
	w.Helper()
	box, err := secret.Load(filepath.Join(w.TempDir(), "secret.key"))
	ok(w.T, err)
	server := models.Server{Name: name}
	ok(w.T, w.InviteServer(w.ctx, "ada", &server, "hash of "+name, time.Now().Add(time.Hour)))
	server, err = w.JoinServer(w.ctx, fleet.Joining{
		Name: name, TokenHash: "hash of " + name, Recipient: box.Recipient(), Password: "a password", KeyHash: "key of " + name, Now: time.Now(),
	})
	ok(w.T, err)
	address, err := url.Parse(dsn)
	ok(w.T, err)
	values := address.Query()
	values.Set("user", server.Role)
	address.RawQuery = values.Encode()
	s, err := store.OpenJoined(w.ctx, address.String(), slog.New(slog.DiscardHandler))
	ok(w.T, err)
	w.Cleanup(func() { ok(w.T, s.Close()) })
	return server, box, s
}

// join adds the web host.
func (e *twoHosts) join(dsn string) {
	e.Helper()
	server, box, s := e.joined(dsn, "web2")
	e.server = server
	e.disk = &platforms.Store{Root: filepath.Join(e.TempDir(), "platforms"), Sites: "/srv/sites", MinFree: 1}
	e.Cleanup(func() { // an ordinary user cannot remove sealed trees otherwise
		_, err := e.disk.Reconcile(context.Background(), func(platforms.Found) bool { return false })
		ok(e.T, err)
	})
	e.worker = e.runner(s, tasks.Config{ID: "web2", Workers: tasks.ServerWorkers(e.server.ID), Server: e.server.ID, Joined: true})
	s.SetEnqueuer(e.worker)
	f := e.process(fleet.Config{
		Store: s, Secrets: box, Hosting: fleet.Placed(e.there, e.disk), Platforms: e.disk, Server: e.server.ID, Courier: courier{e, e.server},
	})
	e.begin(e.worker, f)
	ok(e.T, f.Beat(e.ctx, "1.2.3"))
}

// courier brings platforms without a network.
type courier struct {
	*twoHosts

	to models.Server
}

func (c courier) Fetch(ctx context.Context, platformID int64, wanted []byte) (io.ReadCloser, error) {
	if lost := c.lost.Load(); lost != nil {
		return nil, lost
	}
	for _, b := range wanted {
		c.sent.Add(int64(bits.OnesCount8(b)))
	}
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(c.fleet.PackPlatform(ctx, c.to, platformID, wanted, writer)) }()
	return reader, nil
}

// deeds lists what a host did.
func deeds(h *hosting) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.did)
}

// ends waits until a task has ended well.
func (e *twoHosts) ends(id int64) models.Task {
	e.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		t, err := e.Task(e.ctx, id)
		ok(e.T, err)
		if t.State == models.TaskSucceeded {
			return t
		}
		if t.State.Over() || time.Now().After(deadline) {
			e.Fatalf("%s is %s: %s", t.Title, t.State, t.Message)
		}
	}
}

// ended waits for the newest task of a subject.
func (e *twoHosts) ended(s models.Subject) models.Task {
	e.Helper()
	list, err := e.SubjectTasks(e.ctx, []models.Subject{s}, 1)
	ok(e.T, err)
	if len(list) != 1 {
		e.Fatalf("there is no task of %v", s)
	}
	return e.ends(list[0].ID)
}

// museum makes a site on the web host.
func (e *twoHosts) museum() models.Site {
	e.Helper()
	s, err := e.fleet.CreateSite(e.ctx, "ada", fleet.NewSite{URI: museum, Profile: "standard", PlatformID: e.named("thunder-a1").ID, ServerID: e.server.ID})
	ok(e.T, err)
	e.ended(models.Subject{Kind: models.SubjectSite, ID: s.ID})
	return e.at(s.ID)
}

func TestFleet_SiteElsewhere_IsAskedByItsWorker(t *testing.T) {
	t.Parallel()
	e := newTwoHosts(t)
	site := e.museum()
	before := e.named("thunder-a1")
	want(t, "files that were sent", e.sent.Load(), before.Files)
	if !e.disk.Holds(e.disk.RootOf(before.Root)) {
		t.Error("the platform is not on the web host")
	}
	e.sent.Store(0)

	link, err := e.fleet.LoginToSite(e.ctx, "ada", site.ID)
	ok(t, err)
	want(t, "link", link, "http://"+museum+"/user/reset/1/2/secret")
	asked := e.ended(models.Subject{Kind: models.SubjectQuestion, ID: site.ID})
	if strings.Contains(fmt.Sprint(asked), "secret") || asked.Result == "" {
		t.Errorf("what everybody may read of it: %v", asked)
	}
	want(t, "whose work it was", *asked.ServerID, e.server.ID)
	want(t, "asked here", len(deeds(e.hosting)), 0)

	task, err := e.fleet.BackupSite(e.ctx, "ada", site.ID, "", false)
	ok(t, err)
	e.ends(task.ID)
	list, err := e.fleet.Backups(e.ctx, site.ID, 1)
	ok(t, err)

	for i, in := range []fleet.NewClone{{FromSite: site.ID}, {FromBackup: list[0].ID}} {
		in.URI = fmt.Sprintf("copy%d.example.org", i)
		clone, err := e.fleet.CloneSite(e.ctx, "ada", in)
		ok(t, err)
		e.ended(models.Subject{Kind: models.SubjectSite, ID: clone.ID})
		if clone = e.at(clone.ID); clone.ServerID == nil || *clone.ServerID != e.server.ID || clone.Server != "web2" || clone.State != models.SiteEnabled {
			t.Errorf("the clone is %s on %s", clone.State, clone.Server)
		}
	}
	ok(t, e.fleet.DeleteBackup(e.ctx, "ada", list[0].ID))
	b, err := e.fleet.Backup(e.ctx, list[0].ID)
	ok(t, err)
	want(t, "backup", b.State, models.BackupDeleted)
	want(t, "who removed it", slices.Contains(deeds(e.there), fmt.Sprintf("drop backup %d", b.ID)), true)
	ok(t, e.fleet.DeleteBackup(e.ctx, "ada", b.ID)) // which asks nobody
	if slices.ContainsFunc(deeds(e.hosting), func(what string) bool { return !strings.HasPrefix(what, "verify") }) {
		t.Errorf("the control plane's host did %q", deeds(e.hosting))
	}
}

func TestFleet_SiteElsewhere_LossIsCounted(t *testing.T) {
	t.Parallel()
	e := newTwoHosts(t)
	site := e.museum()
	e.there.loss = models.Loss{Tables: []models.TableLoss{{Table: "node", Added: 3}}}
	target := e.target("b2")
	task, err := e.fleet.UpgradeToTarget(e.ctx, "ada", site.ID)
	ok(t, err)
	e.ends(task.ID)
	want(t, "platform", e.at(site.ID).PlatformID, target.ID)
	for range 2 { // the second time it is known
		plan, err := e.fleet.RollbackPlan(e.ctx, site.ID)
		ok(t, err)
		want(t, "loss", fmt.Sprint(plan.Loss.Tables), "[{node 3 0 0 false }]")
	}
	counts := 0
	for _, what := range deeds(e.there) {
		if strings.HasPrefix(what, "loss") {
			counts++
		}
	}
	want(t, "how often it was counted", counts, 1)
}

// target has the source move on and waits until that is built.
func (e *twoHosts) target(label string) models.Platform {
	e.Helper()
	e.sources.at(address).says(label)
	list, _, err := e.Distributions(e.ctx, fleet.Filter{Limit: 1})
	ok(e.T, err)
	_, err = e.fleet.CheckNow(e.ctx, "ada", list[0].ID)
	ok(e.T, err)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		d, err := e.fleet.Distribution(e.ctx, list[0].ID)
		ok(e.T, err)
		if d.TargetID == nil {
			continue
		}
		if p, err := e.fleet.Platform(e.ctx, *d.TargetID); err == nil && p.Name == "thunder-"+label {
			return p
		}
	}
	e.Fatalf("%s is not built", label)
	return models.Platform{}
}

// A new target is brought to the servers that have outdated sites, which compare them.
func TestFleet_SiteElsewhere_IsComparedInAdvance(t *testing.T) {
	t.Parallel()
	e := newTwoHosts(t)
	site := e.museum()
	e.sent.Store(0)
	target := e.target("b2")
	known := func() models.Comparison {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
			if c, err := e.Comparison(e.ctx, site.ID); err == nil && c.Fresh(e.at(site.ID), target.ID) {
				return c
			}
		}
		t.Fatal("the site was not compared")
		return models.Comparison{}
	}
	first := known()
	want(t, "updates", len(first.Updates), 1)
	e.hosting.mu.Lock()
	want(t, "asked here", len(e.hosting.compares), 0)
	e.hosting.mu.Unlock()
	if !e.disk.Holds(e.disk.RootOf(target.Root)) {
		t.Error("the target is not on the web host")
	}
	want(t, "files that were sent", e.sent.Load(), 1)                                    // one says the revision, all others were there
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) { // until the first one has ended
		task, err := e.fleet.CompareNow(e.ctx, "ada", site.ID)
		if err == nil {
			e.ends(task.ID)
			break
		}
		if models.CodeOf(err) != models.Conflict || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if again := known(); again.ID == first.ID {
		t.Error("it was not compared anew")
	}
}

// A server that is not there is not waited for.
func TestFleet_SiteElsewhere_WorkerIsAway(t *testing.T) {
	t.Parallel()
	e := newTwoHosts(t)
	site := e.museum()
	e.there.mu.Lock()
	e.there.act = func(_ context.Context, what string) error {
		if strings.HasPrefix(what, "login") {
			return models.Errorf(models.Unavailable, "Drush does not answer.")
		}
		return nil
	}
	e.there.mu.Unlock()
	_, err := e.fleet.LoginToSite(e.ctx, "ada", site.ID)
	wantCode(t, err, models.Unavailable, "Drush does not answer")

	impatient, stop := context.WithTimeout(e.ctx, 300*time.Millisecond)
	defer stop()
	ok(t, e.worker.Stop(e.ctx))
	if _, err = e.fleet.LoginToSite(impatient, "ada", site.ID); err == nil {
		t.Error("nobody answered")
	}
	list, err := e.SubjectTasks(e.ctx, []models.Subject{{Kind: models.SubjectQuestion, ID: site.ID}}, 1)
	ok(t, err)
	want(t, "what nobody waits for", list[0].State, models.TaskCancelled)

	silent := e.process(fleet.Config{
		Store: e.Store, Secrets: e.box, Recipient: e.box.Recipient, Hosting: e.hosting, Platforms: e.platforms,
		Now: func() time.Time { return time.Now().Add(time.Hour) },
	})
	_, err = silent.LoginToSite(e.ctx, "ada", site.ID)
	wantCode(t, err, models.Unavailable, "web2", "not heard")
}

// A process that only answers people has the control plane's host asked, too.
func TestFleet_Nowhere_AsksTheControlPlane(t *testing.T) {
	t.Parallel()
	e := newTwoHosts(t)
	made, err := e.fleet.CreateSite(e.ctx, "ada", fleet.NewSite{URI: museum, Profile: "standard", PlatformID: e.named("thunder-a1").ID})
	ok(t, err)
	e.ended(models.Subject{Kind: models.SubjectSite, ID: made.ID})
	none := &hosting{}
	replica := e.process(fleet.Config{
		Store: e.Store, Secrets: e.box, Recipient: e.box.Recipient, Hosting: none, Server: fleet.Nowhere,
		Platforms: &platforms.Store{Root: filepath.Join(t.TempDir(), "platforms")},
	})
	link, err := replica.LoginToSite(e.ctx, "ada", made.ID)
	ok(t, err)
	want(t, "link", link, "http://"+museum+"/user/reset/1/2/secret")
	want(t, "did it here", len(deeds(none)), 0)

	_, err = e.EnsureDelivery(e.ctx, e.server.ID, e.named("thunder-a1").ID)
	ok(t, err)
	err = replica.PackPlatform(e.ctx, e.server, e.named("thunder-a1").ID, nil, io.Discard)
	wantCode(t, err, models.Unavailable, "hefring serve")
}

// deliver has a platform brought to the web host and gives how that ended.
func (e *twoHosts) deliver(p models.Platform) (models.Task, models.ServerPlatform) {
	e.Helper()
	d, err := e.EnsureDelivery(e.ctx, e.server.ID, p.ID)
	ok(e.T, err)
	task := models.Task{Kind: models.TaskDeliver, Subject: models.Subject{Kind: models.SubjectDelivery, ID: d.ID}, Title: "Bring " + p.Name, Actor: "ada"}
	ok(e.T, e.CreateTask(e.ctx, &task))
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		t, err := e.Task(e.ctx, task.ID)
		ok(e.T, err)
		if t.State.Over() {
			d, err := e.Delivery(e.ctx, d.ID)
			ok(e.T, err)
			return t, d
		}
		if time.Now().After(deadline) {
			e.Fatalf("%s is %s", t.Title, t.State)
		}
	}
}

func TestFleet_Deliver_EveryEnd(t *testing.T) {
	t.Parallel()
	e := newTwoHosts(t)
	p := e.named("thunder-a1")
	here := e.disk.RootOf(p.Root)

	// What is refused is told, and nothing of it stays.
	e.lost.Store(&models.Error{Code: models.Forbidden, Message: "This worker's key is not known."})
	task, d := e.deliver(p)
	want(t, "task", task.State, models.TaskFailed)
	want(t, "delivery", string(d.State)+": "+d.Reason, string(models.PlatformNotThere)+": This worker's key is not known.")
	if left, err := filepath.Glob(filepath.Join(e.disk.Root, ".staging", "*")); err != nil || len(left) > 0 || e.disk.Holds(here) {
		t.Errorf("it left %v: %v", left, err)
	}
	site, err := e.fleet.CreateSite(e.ctx, "ada", fleet.NewSite{URI: museum, Profile: "standard", PlatformID: p.ID, ServerID: e.server.ID})
	ok(t, err)
	for deadline := time.Now().Add(time.Minute); e.at(site.ID).State != models.SiteBroken; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the site is %s", e.at(site.ID).State)
		}
	}
	want(t, "why the site is not made", e.at(site.ID).Reason, p.Name+" could not be brought here: This worker's key is not known.")
	want(t, "what was done for it", len(deeds(e.there)), 0)

	e.lost.Store(nil)
	task, d = e.deliver(p)
	want(t, "task", task.State, models.TaskSucceeded)
	want(t, "delivery", d.State, models.PlatformDelivered)
	want(t, "digest", d.Digest, p.ManifestDigest)

	// A worker that died after it had published finds the platform and compares it.
	e.sent.Store(0)
	task, _ = e.deliver(p)
	want(t, "task", task.State, models.TaskSucceeded)
	want(t, "files that were sent", e.sent.Load(), 0)
	file := filepath.Join(here, "web/index.php")
	ok(t, errors.Join(os.Chmod(file, 0o644), os.WriteFile(file, []byte("<?php // changed"), 0o644), os.Chmod(file, 0o444)))
	task, d = e.deliver(p)
	want(t, "task", task.State, models.TaskFailed)
	want(t, "delivery", d.State, models.PlatformNotThere)
	if !strings.Contains(task.Message, "web/index.php") {
		t.Errorf("it says %q", task.Message)
	}

	// No other process does it.
	_, _, err = e.fleet.Handlers()[models.TaskDeliver](e.ctx, task, &log{})
	wantCode(t, err, models.Conflict, "another server")
}
