package fleet_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hefring/internal/fleet"
	"hefring/internal/platforms"
	"hefring/internal/run"
	"hefring/internal/sites/upgrade"
	"hefring/internal/store"
	"hefring/internal/testpg"
	"hefring/internal/testsqlite"
	"hefring/models"
	"hefring/plugins"
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

// onSQLite gives the DSN of a new SQLite database.
func onSQLite(t *testing.T) string {
	t.Helper()
	return sqlite.Open(t, filepath.Join(t.TempDir(), "hefring.db"))
}

// each runs a test on both databases.
func each(t *testing.T, test func(w *world)) {
	t.Helper()
	for name, dsn := range map[string]func() string{
		"sqlite":   func() string { return onSQLite(t) },
		"postgres": func() string { return postgres.Open(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newWorld(t, dsn()))
		})
	}
}

// world is a fleet on a real database, with sources and a server that the test
// plays.
type world struct {
	*testing.T
	*store.Store
	ctx       context.Context //nolint:containedctx // the test's own
	fleet     *fleet.Fleet
	sources   *sources
	hosting   *hosting
	queue     *queue
	platforms *platforms.Store
	clock     *clock
}

func newWorld(t *testing.T, dsn string) *world {
	t.Helper()
	s, err := store.Open(t.Context(), dsn, slog.New(slog.DiscardHandler))
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	w := &world{
		T: t, Store: s, ctx: t.Context(), sources: newSources(), hosting: &hosting{}, queue: &queue{},
		platforms: &platforms.Store{Root: filepath.Join(t.TempDir(), "platforms"), Sites: "/srv/sites", MinFree: 1},
		clock:     &clock{now: time.Now().UTC().Truncate(time.Microsecond)},
	}
	t.Cleanup(func() { // an ordinary user cannot remove sealed trees otherwise
		_, err := w.platforms.Reconcile(context.Background(), func(platforms.Found) bool { return false })
		ok(t, err)
	})
	s.SetEnqueuer(w.queue)
	w.fleet = w.replica(w.Store)
	ok(t, w.fleet.EnsureQueues(w.ctx))
	return w
}

// replica is one more process on the same fleet.
func (w *world) replica(s fleet.Store) *fleet.Fleet {
	w.Helper()
	types, err := plugins.NewRegistry(updateType{w.sources, "scripted", false}, updateType{w.sources, "quiet", false}, updateType{w.sources, "byhand", true})
	ok(w.T, err)
	return fleet.New(fleet.Config{
		Store: s, Types: types, Platforms: w.platforms, Hosting: w.hosting, Run: run.New(run.Config{}),
		Secrets: sealer{}, Cache: w.TempDir(), Scratch: w.TempDir(), Tools: map[string]string{"php": "8.2"}, PHP: "8.2",
		Logger: slog.New(slog.DiscardHandler), Now: w.clock.time,
	})
}

// sealer shows whether what is stored went through it.
type sealer struct{}

func (sealer) Seal(context string, plain []byte) ([]byte, error) {
	return []byte(context + "|" + base64.StdEncoding.EncodeToString(plain)), nil
}

func (sealer) Open(context string, sealed []byte) ([]byte, error) {
	text, ok := strings.CutPrefix(string(sealed), context+"|")
	if !ok {
		return nil, fmt.Errorf("sealed for something else than %s", context)
	}
	return base64.StdEncoding.DecodeString(text)
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// queue notes which tasks were handed to it.
type queue struct {
	mu    sync.Mutex
	tasks []models.Task
}

func (q *queue) Enqueue(_ context.Context, tx any, t models.Task) error {
	switch tx.(type) {
	case *sql.Tx, pgx.Tx:
	default:
		return fmt.Errorf("a %T is no transaction", tx)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks = append(q.tasks, t)
	return nil
}

// sources are the places that scripted distributions come from, by address.
type sources struct {
	mu     sync.Mutex
	places map[string]*source
}

func newSources() *sources { return &sources{places: map[string]*source{}} }

func (s *sources) at(url string) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places[url] == nil {
		s.places[url] = &source{url: url, version: version("a1"), tree: drupal("10.5.8")}
	}
	return s.places[url]
}

// source is one place; a test changes it as it goes.
type source struct {
	url     string
	mu      sync.Mutex
	version plugins.Version
	last    plugins.Version // what the newest check was told
	peers   int             // of the newest check
	found   []models.Finding
	during  func()                                      // called while a check looks
	asked   int                                         // questions; sources that are checked together ask one
	fails   error                                       // of the next checks
	tree    map[string]string                           // what a build writes
	build   func(ctx context.Context, dst string) error // instead of writing the tree
	checks  int
	builds  int
}

func version(label string) plugins.Version {
	return plugins.Version{Revision: "scripted:" + label, Content: "content of " + label, Label: label, Note: "Note on " + label}
}

func (s *source) says(label string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version, s.fails = version(label), nil
}

func (s *source) breaks(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

func (s *source) builder(build func(ctx context.Context, dst string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.build = build
}

// Upstream gives each address a host of its own.
func (s *source) Upstream() plugins.Upstream {
	return plugins.Upstream{Key: s.url, Host: models.Slugify(s.url)}
}

func (s *source) Assess(_ context.Context, _ plugins.Env, running []plugins.Version) ([][]models.Finding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	findings := make([][]models.Finding, len(running))
	for i := range findings {
		findings[i] = s.found
	}
	return findings, nil
}

func (s *source) Check(ctx context.Context, env plugins.Env, last plugins.Version) (plugins.Version, error) {
	if _, err := os.Stat(env.Scratch); err != nil {
		return plugins.Version{}, err
	}
	_, _ = io.WriteString(env.Log, "looking\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks++
	_, _ = plugins.Ask(env.Answers, "refs", func() (int, error) { s.asked++; return s.asked, nil })
	s.last, s.peers = last, len(env.Peers)
	if s.during != nil {
		s.during()
	}
	if err := context.Cause(ctx); err != nil {
		return plugins.Version{}, err
	}
	return s.version, s.fails
}

func (s *source) Build(ctx context.Context, env plugins.Env, v plugins.Version, dst string) (plugins.Made, error) {
	made := plugins.Made{Sources: []models.SourcePackage{{Name: "drupal", Type: "core", Version: v.Plan}}}
	return made, s.write(ctx, env, v, dst)
}

func (s *source) write(ctx context.Context, env plugins.Env, v plugins.Version, dst string) error {
	_, _ = io.WriteString(env.Log, "building "+v.Label+"\n")
	s.mu.Lock()
	s.builds++
	build, tree := s.build, maps.Clone(s.tree)
	s.mu.Unlock()
	if build != nil {
		return build(ctx, dst)
	}
	tree["REVISION"] = v.Revision + "\n"
	return write(dst, tree)
}

type registrar struct{ *source }

func (r registrar) Upstream() plugins.Upstream { return plugins.Upstream{} }

func (r registrar) Register(_ context.Context, _ plugins.Env, path string) (plugins.Version, error) {
	if strings.Contains(path, "absent") {
		return plugins.Version{}, models.Errorf(models.Invalid, "There is no folder %s on this server.", path)
	}
	return plugins.Version{Revision: "byhand:" + path, Content: path, Label: "1234567", Note: "Registered from " + path}, nil
}

// updateType opens sources.
type updateType struct {
	sources *sources
	id      string
	byHand  bool
}

func (u updateType) Info() plugins.Info {
	return plugins.Info{ID: u.id, Name: u.id, Summary: "For tests.", Icon: "hand", ByHand: u.byHand}
}

func (u updateType) Fields() []plugins.Field {
	return []plugins.Field{
		{Name: "url", Label: "Address", Kind: plugins.FieldURL, Required: !u.byHand},
		{Name: "docroot", Label: "Docroot", Kind: plugins.FieldPath},
		{Name: "auth", Label: "Sign in", Kind: plugins.FieldBool, Aside: true},
		{Name: "password", Label: "Password", Kind: plugins.FieldSecret, When: &plugins.When{Field: "auth", Values: []string{"1"}}},
	}
}

func (u updateType) Open(settings models.Settings) (plugins.Source, error) {
	values := plugins.Decode(u.Fields(), settings)
	url := values.Text("url")
	if password := values.Text("password"); strings.Contains(password, "short") {
		values.Refuse("password", "It is too short.")
	}
	if err := values.Err(); err != nil {
		return nil, err
	}
	if u.byHand {
		return registrar{u.sources.at("by hand")}, nil
	}
	return u.sources.at(url), nil
}

// drupal is the least that passes for a code base.
func drupal(version string) map[string]string {
	return map[string]string{
		"web/index.php":                                "<?php\n",
		"web/core/lib/Drupal.php":                      "<?php\nclass Drupal {\n  const VERSION = '" + version + "';\n}\n",
		"web/core/profiles/standard/standard.info.yml": "name: Standard\ntype: profile\nversion: VERSION\n",
		"web/core/modules/node/node.info.yml":          "name: Node\ntype: module\nversion: VERSION\n",
		"vendor/bin/drush":                             "#!/usr/bin/env php\n",
		"vendor/autoload.php":                          "<?php\n",
	}
}

func write(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// hosting is a server whose work a test scripts.
type hosting struct {
	fleet.Relocating // nil: no site goes to another server here

	mu        sync.Mutex
	installs  int
	compares  []string
	forgotten []string
	install   func(ctx context.Context, s models.Site) error
	compare   func(ctx context.Context, s models.Site) (models.Comparison, error)
	upgrade   func(ctx context.Context, m upgrade.Move, j upgrade.Journal) upgrade.Outcome
	forget    func(s models.Site) error
	verify    error
	did       []string // what else was done, such as "backup museum.example.org"
	act       func(ctx context.Context, what string) error
	found     []models.FoundSite
	loss      models.Loss
}

// does notes something and lets the test fail it.
func (h *hosting) does(ctx context.Context, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	h.mu.Lock()
	h.did = append(h.did, what)
	script := h.act
	h.mu.Unlock()
	if script != nil {
		return script(ctx, what)
	}
	return nil
}

func (h *hosting) Loss(ctx context.Context, u models.Upgrade) (models.Loss, error) {
	return h.loss, h.does(ctx, "loss %d", u.ID)
}

func (h *hosting) Configure(ctx context.Context, s models.Site, _ fleet.Log) error {
	return h.does(ctx, "configure %s %s", strings.Join(s.Names(), ","), s.State)
}

func (h *hosting) Cron(ctx context.Context, s models.Site, _ models.Platform, _ fleet.Log) error {
	return h.does(ctx, "cron %s", s.URI)
}

func (h *hosting) LoginLink(ctx context.Context, s models.Site, _ models.Platform) (string, error) {
	return "http://" + s.URI + "/user/reset/1/2/secret", h.does(ctx, "login %s", s.URI)
}

func (h *hosting) Backup(ctx context.Context, s models.Site, p models.Platform, b models.Backup, _ fleet.Log) (models.Backup, error) {
	b.Path, b.Engine, b.DrupalVersion, b.Profile = fmt.Sprintf("/backups/%d", b.ID), s.Database.Engine, p.DrupalVersion, s.Profile
	b.Tables, b.Files, b.Bytes, b.Digest = 70, 12, 3_400_000, "abc"
	return b, h.does(ctx, "backup %s", s.URI)
}

func (h *hosting) DropBackup(ctx context.Context, b models.Backup) error {
	return h.does(ctx, "drop backup %d", b.ID)
}

func (h *hosting) Clone(ctx context.Context, from models.Origin, to models.Site, p models.Platform, _ fleet.Log) (models.Database, error) {
	name := ""
	switch {
	case from.Site != nil:
		name = from.Site.URI
	case from.Backup != nil:
		name = from.Backup.Path
	case from.Found != nil:
		name = from.Found.Root + " " + from.Found.Folder
	}
	return models.Database{Engine: "sqlite", Name: "/db/" + to.URI}, h.does(ctx, "clone %s to %s on %s", name, to.URI, p.Name)
}

func (h *hosting) Delete(ctx context.Context, s models.Site, platforms []models.Platform, _ fleet.Log) error {
	return h.does(ctx, "delete %s from %d platforms", s.URI, len(platforms))
}

func (h *hosting) Find(ctx context.Context, root string, _ fleet.Log) ([]models.FoundSite, error) {
	return h.found, h.does(ctx, "find %s", root)
}

func (h *hosting) TestDatabaseServer(ctx context.Context, s models.DatabaseServer) (string, error) {
	return "MariaDB 10.11", h.does(ctx, "test %s %s@%s with %q", s.Engine, s.User, s.Host, s.Password)
}

func (h *hosting) Install(ctx context.Context, s models.Site, _ models.Platform, log fleet.Log) (models.Database, error) {
	h.mu.Lock()
	h.installs++
	script := h.install
	h.mu.Unlock()
	log.Printf(models.LevelInfo, "installing")
	if script != nil {
		if err := script(ctx, s); err != nil {
			return models.Database{}, err
		}
	}
	return models.Database{Engine: "sqlite", Name: "/db/" + s.URI}, context.Cause(ctx)
}

func (h *hosting) Compare(ctx context.Context, s models.Site, from, to models.Platform, _ fleet.Log) (models.Comparison, error) {
	h.mu.Lock()
	h.compares = append(h.compares, s.URI)
	script := h.compare
	h.mu.Unlock()
	if script != nil {
		return script(ctx, s)
	}
	return models.Comparison{
		SiteID: s.ID, FromPlatformID: from.ID, PlatformID: to.ID, Took: time.Second,
		Updates: []models.PendingUpdate{{Name: "node_update_10201", Module: "node", Kind: "hook_update_n"}},
	}, nil
}

func (h *hosting) Upgrade(ctx context.Context, m upgrade.Move, j upgrade.Journal, _ fleet.Log) upgrade.Outcome {
	h.mu.Lock()
	script := h.upgrade
	h.mu.Unlock()
	if script == nil {
		script = succeed
	}
	return script(ctx, m, j)
}

func (h *hosting) Verify(context.Context, models.Site, models.Platform, fleet.Log) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.verify
}

func (h *hosting) Forget(_ context.Context, s models.Site, from models.Platform, db models.Database) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.forget != nil {
		if err := h.forget(s); err != nil {
			return err
		}
	}
	h.forgotten = append(h.forgotten, fmt.Sprintf("%s from %s with %q", s.URI, from.Name, db.Name))
	return nil
}

func (h *hosting) URL(s models.Site) string { return "http://" + s.URI + "/" }

// succeed is an upgrade in database mode that goes well.
func succeed(ctx context.Context, m upgrade.Move, j upgrade.Journal) upgrade.Outcome {
	u := m.Upgrade
	u.Mode, u.Switched, u.ReadOnly = models.ModeDatabase, true, 1500*time.Millisecond
	u.NewDatabase = models.Database{Engine: "sqlite", Name: fmt.Sprintf("/db/%s-%d", m.Site.URI, u.ID)}
	for _, s := range m.Steps {
		s.State = models.StepDone
		if err := j.SaveStep(ctx, s); err != nil {
			return upgrade.Outcome{Upgrade: u, Err: err}
		}
	}
	if err := j.Save(ctx, u); err != nil {
		return upgrade.Outcome{Upgrade: u, Err: err}
	}
	return upgrade.Outcome{State: models.UpgradeSucceeded, Upgrade: u}
}

// inCodeMode is one that needs no database updates.
func inCodeMode(_ context.Context, m upgrade.Move, _ upgrade.Journal) upgrade.Outcome {
	u := m.Upgrade
	u.Mode, u.Switched, u.NewDatabase = models.ModeCode, true, u.OldDatabase
	return upgrade.Outcome{State: models.UpgradeSucceeded, Upgrade: u}
}

// fail is an upgrade that ends otherwise.
func fail(state models.UpgradeState, step models.StepName, reason string) func(context.Context, upgrade.Move, upgrade.Journal) upgrade.Outcome {
	return func(_ context.Context, m upgrade.Move, _ upgrade.Journal) upgrade.Outcome {
		u := m.Upgrade
		u.FailedStep, u.Reason = step, reason
		u.Switched = state == models.UpgradeFatal
		u.NewDatabase = models.Database{Engine: "sqlite", Name: "/db/copy"}
		return upgrade.Outcome{State: state, Upgrade: u, Err: errors.New(reason)}
	}
}

// log keeps what a task says.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Printf(level models.Level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(&l.text, string(level)+" "+format+"\n", args...)
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) Step(name string) { l.Printf(models.LevelInfo, "step %s", name) }
func (l *log) Out() io.Writer   { return l }
func (l *log) Err() io.Writer   { return l }

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// done is how a task's handler ended.
type done struct {
	models.Task

	err error
	log string
}

// run does one task as a worker does.
func (w *world) run(id int64) done {
	w.Helper()
	return w.runIn(w.ctx, id)
}

func (w *world) runIn(ctx context.Context, id int64) done {
	w.Helper()
	t, err := w.TakeTask(w.ctx, id)
	ok(w.T, err)
	return w.handle(ctx, t)
}

// handle calls the handler of a taken task and settles it.
func (w *world) handle(ctx context.Context, t models.Task) done {
	w.Helper()
	l := &log{}
	message, state, err := w.fleet.Handlers()[t.Kind](ctx, t, l)
	w.settle(ctx, t, message, state, err)
	t, load := w.Task(w.ctx, t.ID)
	ok(w.T, load)
	return done{t, err, l.String()}
}

func (w *world) settle(ctx context.Context, t models.Task, message string, state models.TaskState, err error) {
	w.Helper()
	cause := context.Cause(ctx)
	if _, waits := errors.AsType[fleet.Waiting](err); waits {
		return
	}
	if err != nil && state == "" && (errors.Is(err, fleet.ErrLost) || errors.Is(cause, fleet.ErrLost) || errors.Is(cause, fleet.ErrStopping)) {
		return
	}
	switch {
	case err == nil && state == "":
		state = models.TaskSucceeded
	case state == "" && errors.Is(cause, fleet.ErrCancelled):
		state = models.TaskCancelled
	case state == "":
		state = models.TaskFailed
	}
	if err != nil && message == "" {
		message = models.Explain(err)
	}
	if err := w.FinishTask(w.ctx, t, state, message); err != nil && models.CodeOf(err) == "" {
		w.Fatal(err)
	}
}

// queued lists the queued tasks, oldest first.
func (w *world) queued() []models.Task {
	w.Helper()
	list, _, err := w.Tasks(w.ctx, fleet.Filter{State: string(models.TaskQueued), Limit: 1000})
	ok(w.T, err)
	slices.SortFunc(list, func(a, b models.Task) int { return int(a.ID - b.ID) })
	return list
}

// work does everything that is queued, and what that leads to.
func (w *world) work() {
	w.Helper()
	for list := w.queued(); len(list) > 0; list = w.queued() {
		for _, t := range list {
			w.run(t.ID)
		}
	}
}

// pending gives the one queued task of a kind.
func (w *world) pending(kind models.TaskKind) models.Task {
	w.Helper()
	var found []models.Task
	for _, t := range w.queued() {
		if t.Kind == kind {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		w.Fatalf("%d queued tasks of the kind %s, want one", len(found), kind)
	}
	return found[0]
}

func (w *world) nothingQueued() {
	w.Helper()
	if list := w.queued(); len(list) > 0 {
		w.Errorf("%d tasks are queued, among them %q", len(list), list[0].Title)
	}
}

const address = "https://example.org/code.git"

// distribution creates one and leaves its check queued.
func (w *world) distribution(name string) models.Distribution {
	w.Helper()
	d, err := w.fleet.CreateDistribution(w.ctx, "ada", fleet.NewDistribution{
		Name: name, UpdateType: "scripted", Settings: models.Settings{"url": address},
	})
	ok(w.T, err)
	return d
}

// thunder is a distribution with one ready platform.
func (w *world) thunder() (models.Distribution, *source) {
	w.Helper()
	d := w.distribution("Thunder")
	w.work()
	return w.reload(d), w.sources.at(address)
}

// upstream is what a distribution's checks ask.
func (w *world) upstream(d models.Distribution) models.Upstream {
	w.Helper()
	u, err := w.Upstream(w.ctx, *w.reload(d).UpstreamID)
	ok(w.T, err)
	return u
}

func (w *world) reload(d models.Distribution) models.Distribution {
	w.Helper()
	d, err := w.fleet.Distribution(w.ctx, d.ID)
	ok(w.T, err)
	return d
}

// check has the distribution's source looked at, and no more.
func (w *world) check(d models.Distribution) done {
	w.Helper()
	t, err := w.fleet.CheckNow(w.ctx, "ada", d.ID)
	ok(w.T, err)
	return w.run(t.ID)
}

// moves lets the source move on, and everything follow.
func (w *world) moves(d models.Distribution, label string) models.Platform {
	w.Helper()
	w.sources.at(address).says(label)
	w.check(d)
	w.work()
	return w.named("thunder-" + label)
}

func (w *world) named(name string) models.Platform {
	w.Helper()
	rows, _, err := w.Platforms(w.ctx, fleet.Filter{Limit: 1000})
	ok(w.T, err)
	for _, row := range rows {
		if row.Name == name {
			p, err := w.fleet.Platform(w.ctx, row.ID)
			ok(w.T, err)
			return p
		}
	}
	w.Fatalf("there is no platform %s", name)
	return models.Platform{}
}

// site installs one on a platform.
func (w *world) site(uri string, platformID int64) models.Site {
	w.Helper()
	s, err := w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: uri, Profile: "standard", PlatformID: platformID})
	ok(w.T, err)
	t, err := w.RunningTask(w.ctx, models.Subject{Kind: models.SubjectSite, ID: s.ID})
	ok(w.T, err)
	if d := w.run(t.ID); d.State != models.TaskSucceeded {
		w.Fatalf("install %s: %s %v", uri, d.State, d.err)
	}
	return w.at(s.ID)
}

func (w *world) at(siteID int64) models.Site {
	w.Helper()
	s, err := w.Site(w.ctx, siteID)
	ok(w.T, err)
	return s
}

// behind is a distribution whose sites have an upgrade waiting.
func (w *world) behind(uris ...string) (old, target models.Platform, sites []models.Site) {
	w.Helper()
	d, _ := w.thunder()
	old = w.named("thunder-a1")
	for _, uri := range uris {
		sites = append(sites, w.site(uri, old.ID))
	}
	target = w.moves(d, "b2")
	old = w.named("thunder-a1")
	return old, target, sites
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want[T comparable](t *testing.T, what string, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Errorf("%s is %v, want %v", what, got, wanted)
	}
}

// wantCode checks the code of an error, and that its message is a sentence with
// these words.
func wantCode(t *testing.T, err error, code models.Code, words ...string) {
	t.Helper()
	e, is := errors.AsType[*models.Error](err)
	if !is || e.Code != code {
		t.Errorf("error is %v, want the code %s", err, code)
		return
	}
	if !strings.HasSuffix(e.Message, ".") {
		t.Errorf("%q is not a sentence", e.Message)
	}
	for _, word := range words {
		if !strings.Contains(e.Message, word) {
			t.Errorf("%q does not say %q", e.Message, word)
		}
	}
}

// wantFields checks which fields of a form are wrong.
func wantFields(t *testing.T, err error, names ...string) {
	t.Helper()
	e, is := errors.AsType[*models.Error](err)
	if !is || e.Code != models.Invalid {
		t.Errorf("error is %v, want wrong fields %v", err, names)
		return
	}
	slices.Sort(names)
	if got := slices.Sorted(maps.Keys(e.Fields)); !slices.Equal(got, names) {
		t.Errorf("wrong fields %v, want %v", got, names)
	}
	for name, text := range e.Fields {
		if !strings.HasSuffix(text, ".") {
			t.Errorf("%s: %q is not a sentence", name, text)
		}
	}
}

func contains(text, part string) bool { return strings.Contains(text, part) }
