package tasks

import (
	"context"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/models"
)

// joined is a server whose worker joined, and where it finds the database.
func (f *fixture) joined(t *testing.T, dsn, name string) (models.Server, string) {
	t.Helper()
	s := models.Server{Name: name}
	ok(t, f.InviteServer(f.ctx, "ada", &s, "hash of "+name, time.Now().Add(time.Hour)))
	s, err := f.JoinServer(f.ctx, fleet.Joining{Name: name, TokenHash: "hash of " + name, Recipient: "age1", Password: "a password", KeyHash: "key of " + name, Now: time.Now()})
	ok(t, err)
	address, err := url.Parse(dsn)
	ok(t, err)
	values := address.Query()
	values.Set("user", s.Role)
	address.RawQuery = values.Encode()
	return s, address.String()
}

// siteOn makes a site on a server; nil is the control plane's host.
func (f *fixture) siteOn(t *testing.T, uri string, server *int64) models.Site {
	t.Helper()
	d := models.Distribution{Name: uri, Slug: strings.ReplaceAll(uri, ".", "-"), UpdateType: "manual", Settings: models.Settings{}}
	ok(t, f.CreateDistribution(f.ctx, &d))
	p := models.Platform{DistributionID: d.ID, Name: "p-" + d.Slug, Server: models.LocalServer, State: models.PlatformReady}
	ok(t, f.CreatePlatform(f.ctx, &p))
	s := models.Site{URI: uri, PlatformID: p.ID, Server: models.LocalServer, ServerID: server, State: models.SiteInstalling, Profile: "standard"}
	ok(t, f.CreateSite(f.ctx, &s))
	return s
}

// workerOf is a Runner of a server with the database rights of its worker.
func workerOf(t *testing.T, s models.Server, dsn string) *fixture {
	t.Helper()
	st, err := store.OpenJoined(t.Context(), dsn, slog.New(slog.DiscardHandler))
	ok(t, err)
	t.Cleanup(func() { ok(t, st.Close()) })
	cfg := fast(s.Name)
	cfg.Workers, cfg.Server, cfg.Joined = ServerWorkers(s.ID), s.ID, true
	r, err := New(t.Context(), st, Access(st.Access()), cfg)
	ok(t, err)
	st.SetEnqueuer(r)
	return &fixture{Store: st, r: r, ctx: t.Context()}
}

// A task is done on the server of its site and nowhere else, with the rights that its
// worker has.
func TestRunner_Server_DoesItsOwnTasksOnly(t *testing.T) {
	t.Parallel()
	dsn := postgres.Open(t)
	f := setup(t, dsn)
	server, address := f.joined(t, dsn, "web2")
	w := workerOf(t, server, address)
	says := func(who string) fleet.Handler {
		return func(_ context.Context, _ models.Task, log fleet.Log) (string, models.TaskState, error) {
			log.Printf(models.LevelInfo, "here")
			return who, "", nil
		}
	}
	f.r.Handle(models.TaskVerify, says("control"))
	w.r.Handle(models.TaskVerify, says("web2"))
	there, here := f.siteOn(t, "there.example.org", &server.ID), f.siteOn(t, "here.example.org", nil)
	f.start(t)
	first, second := f.create(t, models.TaskVerify, there.ID), f.create(t, models.TaskVerify, here.ID)
	want(t, "who does the control plane's", f.ended(t, second.ID).Message, "control")
	want(t, "the server's without its worker", f.load(t, first.ID).State, models.TaskQueued)

	// Whatever stands in a queue, a server's task is not the control plane's.
	ok(t, f.Access().InTx(f.ctx, func(tx any) error {
		return f.r.queue.insert(f.ctx, tx, job{TaskID: first.ID}, QueueSites, 1)
	}))
	third := f.create(t, models.TaskVerify, here.ID)
	f.ended(t, third.ID)
	w.start(t)
	done := f.ended(t, first.ID)
	want(t, "who does the server's", done.Message, "web2")
	want(t, "attempts", done.Attempt, 1)
	if log := f.log(t, first.ID); !strings.Contains(log, "here") {
		t.Errorf("its log is %q", log)
	}
}

// tablesOf lists the tables that a role may do something with.
func tablesOf(t *testing.T, conn *pgx.Conn, role, right string) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm') AND (has_table_privilege($1, c.oid, $2) OR has_any_column_privilege($1, c.oid, $2)) ORDER BY 1`, role, right)
	ok(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	ok(t, err)
	return names
}

func TestWorkerRole_LeastPrivilege(t *testing.T) {
	t.Parallel()
	dsn := postgres.Open(t)
	f := setup(t, dsn)
	server, address := f.joined(t, dsn, "web2")
	other, _ := f.joined(t, dsn, "web1")
	own, foreign := f.siteOn(t, "own.example.org", &server.ID), f.siteOn(t, "foreign.example.org", &other.ID)
	f.siteOn(t, "here.example.org", nil)
	f.create(t, models.TaskVerify, foreign.ID)
	conn, err := pgx.Connect(f.ctx, address)
	ok(t, err)
	t.Cleanup(func() { ok(t, conn.Close(context.Background())) })

	may := []string{
		"backups", "comparisons", "database_servers", "events", "goose_db_version", "platforms", "relocations", "server_keys", "server_platforms", "servers", "site_names", "sites",
		"task_lines", "tasks", "upgrade_steps", "upgrades", "worker_beats",
	}
	for _, name := range tablesOf(t, conn, server.Role, "SELECT") {
		if !strings.HasPrefix(name, "river_") && !slices.Contains(may, name) {
			t.Errorf("a worker may read %s", name)
		}
	}
	for _, name := range []string{"users", "tokens", "sessions", "sign_ins", "second_factors", "identities", "login_links", "channels", "clients", "server_joins", "webhook_secrets", "distributions"} {
		if _, err := conn.Exec(f.ctx, "SELECT * FROM "+name); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("reading %s: %v", name, err)
		}
	}
	for _, name := range tablesOf(t, conn, server.Role, "UPDATE") {
		if slices.Contains([]string{"platforms", "database_servers", "events", "goose_db_version", "server_keys"}, name) {
			t.Errorf("a worker may change %s", name)
		}
	}
	var sites, tasks, servers int
	ok(t, conn.QueryRow(f.ctx, "SELECT (SELECT COUNT(*) FROM sites), (SELECT COUNT(*) FROM tasks), (SELECT COUNT(*) FROM servers)").Scan(&sites, &tasks, &servers))
	want(t, "sites that it sees", sites, 1)
	want(t, "tasks that it sees", tasks, 0)
	want(t, "servers that it sees", servers, 1)
	tag, err := conn.Exec(f.ctx, "UPDATE sites SET state = 'broken' WHERE id = $1", foreign.ID)
	ok(t, err)
	want(t, "another server's sites that it changed", tag.RowsAffected(), 0)
	if _, err := conn.Exec(f.ctx, "UPDATE sites SET server_id = $1 WHERE id = $2", other.ID, own.ID); err == nil {
		t.Error("a worker gave its site to another server")
	}
	_, err = conn.Exec(f.ctx, `INSERT INTO tasks (kind, subject_kind, subject_id, title, state, attempt, actor, message, cancel, created_at, server_id)
		VALUES ('delete', 'site', $1, '', 'queued', 0, '', '', false, now(), $2)`, foreign.ID, other.ID)
	if err == nil {
		t.Error("a worker made a task for another server")
	}
}

func TestServer_JoinAndRemove(t *testing.T) {
	t.Parallel()
	dsn := postgres.Open(t)
	f := setup(t, dsn)
	server, address := f.joined(t, dsn, "web2")
	again := fleet.Joining{Name: "web2", TokenHash: "hash of web2", Recipient: "age1", Password: "another", KeyHash: "x", Now: time.Now()}
	if _, err := f.JoinServer(f.ctx, again); models.CodeOf(err) != models.NotFound {
		t.Errorf("a token that was used: %v", err)
	}
	ok(t, f.InviteServer(f.ctx, "ada", &server, "late", time.Now().Add(-time.Minute)))
	again.TokenHash = "late"
	if _, err := f.JoinServer(f.ctx, again); models.CodeOf(err) != models.NotFound {
		t.Errorf("a token whose time is over: %v", err)
	}
	found, err := f.ServerWithKey(f.ctx, "key of web2")
	ok(t, err)
	want(t, "whose key it is", found.ID, server.ID)

	w := workerOf(t, server, address)
	ok(t, w.BeatServer(f.ctx, server.ID, "1.2.3"))
	rows, err := f.ServerRows(f.ctx)
	ok(t, err)
	want(t, "it is heard", rows[0].Alive(time.Now()) && rows[0].Version == "1.2.3", true)

	site := f.siteOn(t, "own.example.org", &server.ID)
	if err := f.RemoveServer(f.ctx, "ada", server); models.CodeOf(err) != models.Conflict {
		t.Errorf("a server with a site: %v", err)
	}
	ok(t, f.MoveSite(f.ctx, "ada", site, models.SiteDeleting, ""))
	site.State = models.SiteDeleting
	ok(t, f.MoveSite(f.ctx, "ada", site, models.SiteDeleted, ""))
	ok(t, f.RemoveServer(f.ctx, "ada", found))
	if err := w.BeatServer(f.ctx, server.ID, "1.2.3"); err == nil {
		t.Error("the worker of a removed server still may do something")
	}
	if _, err := f.ServerWithKey(f.ctx, "key of web2"); models.CodeOf(err) != models.NotFound {
		t.Errorf("the key of a removed server: %v", err)
	}
	if _, err := f.ServerNamed(f.ctx, "web2"); models.CodeOf(err) != models.NotFound {
		t.Errorf("a removed server: %v", err)
	}
	page, err := f.Events(f.ctx, fleet.EventFilter{Subject: models.Subject{Kind: models.SubjectWebServer, ID: server.ID}})
	ok(t, err)
	var verbs []string
	for _, line := range slices.Backward(page.Rows) {
		verbs = append(verbs, line.Actor+" "+line.Verb)
	}
	want(t, "the record of changes", strings.Join(verbs, ", "), "ada invite, system join, ada invite, ada remove")
	for _, line := range page.Rows {
		if len(line.Changes) == 0 {
			t.Errorf("the record does not say what %s changed", line.Verb)
		}
	}
}

// A control plane that was restored beside the one that it comes from, in another
// database of the same PostgreSQL, leaves that one's workers alone and takes its own.
func TestServer_RestoredBesideItsOrigin(t *testing.T) {
	t.Parallel()
	dsn, copied := postgres.Open(t), postgres.Open(t)
	f, restored := setup(t, dsn), setup(t, copied)
	server, address := f.joined(t, dsn, "web2")
	there := models.Server{Name: "web2"}
	ok(t, restored.InviteServer(t.Context(), "ada", &there, "hash of web2", time.Now().Add(time.Hour)))
	owner, err := pgx.Connect(t.Context(), copied)
	ok(t, err)
	t.Cleanup(func() { ok(t, owner.Close(context.Background())) })
	_, err = owner.Exec(t.Context(), "UPDATE servers SET state = 'joined', role = $1", server.Role)
	ok(t, err)

	ok(t, restored.RenewRights(t.Context()))
	want(t, "what the worker may read in the copy", len(tablesOf(t, owner, server.Role, "SELECT")), 0)
	w := workerOf(t, server, address) // which looks for its rights
	again, err := restored.JoinServer(t.Context(), fleet.Joining{Name: "web2", TokenHash: "hash of web2", Recipient: "age1", Password: "another", KeyHash: "x", Now: time.Now()})
	ok(t, err)
	want(t, "has a role of its own", again.Role != server.Role, true)
	ok(t, w.BeatServer(t.Context(), server.ID, "1.2.3"))
	ok(t, restored.RemoveServer(t.Context(), "ada", again))
	ok(t, f.RemoveServer(t.Context(), "ada", server))
}

func TestServer_Invite_NeedsPostgreSQL(t *testing.T) {
	t.Parallel()
	f := setup(t, databases()["sqlite"](t))
	err := f.InviteServer(f.ctx, "ada", &models.Server{Name: "web2"}, "hash", time.Now().Add(time.Hour))
	want(t, "code", models.CodeOf(err), models.Unavailable)
}

// After an upgrade of Hefring, workers that joined before have what new ones have, on
// tables that are new too, and nothing more.
func TestStore_RenewRights_AfterAMigration(t *testing.T) {
	t.Parallel()
	dsn := postgres.Open(t)
	f := setup(t, dsn)
	server, address := f.joined(t, dsn, "web2")
	other, _ := f.joined(t, dsn, "web1")
	own := f.siteOn(t, "own.example.org", &server.ID)
	f.siteOn(t, "foreign.example.org", &other.ID)
	owner, err := pgx.Connect(f.ctx, dsn)
	ok(t, err)
	t.Cleanup(func() { ok(t, owner.Close(context.Background())) })
	does := func(statement string) {
		t.Helper()
		_, err := owner.Exec(f.ctx, statement)
		ok(t, err)
	}
	ok(t, f.RenewRights(f.ctx))
	marks := func() (text string) {
		t.Helper()
		ok(t, owner.QueryRow(f.ctx, "SELECT string_agg(rolname || ' ' || xmin::text, ', ' ORDER BY rolname) FROM pg_authid WHERE rolname IN ($1, $2) AND shobj_description(oid, 'pg_authid') IS NOT NULL", server.Role, other.Role).Scan(&text))
		return text
	}
	before := marks()

	// A migration makes a table anew, which takes all rights on it away, and what an
	// older program allowed is allowed no more.
	does("CREATE TABLE made_anew (LIKE site_names INCLUDING ALL)")
	does("DROP TABLE site_names")
	does("ALTER TABLE made_anew RENAME TO site_names")
	does("GRANT SELECT ON users TO " + server.Role)
	does("CREATE POLICY " + server.Role + " ON users TO " + server.Role + " USING (true)")
	if _, err := store.OpenJoined(f.ctx, address, slog.New(slog.DiscardHandler)); models.CodeOf(err) != models.Unavailable {
		t.Errorf("a worker without its rights begins: %v", err)
	}
	var renewed sync.WaitGroup
	for range 3 { // replicas that start at once
		renewed.Go(func() {
			if err := f.RenewRights(f.ctx); err != nil {
				t.Error(err)
			}
		})
	}
	renewed.Wait()
	want(t, "the roles", marks(), before)

	w := workerOf(t, server, address)
	ok(t, w.SaveComparison(f.ctx, &models.Comparison{SiteID: own.ID, FromPlatformID: own.PlatformID, PlatformID: own.PlatformID, MadeAt: time.Now()}))
	if names := tablesOf(t, owner, server.Role, "INSERT"); !slices.Contains(names, "site_names") {
		t.Errorf("the worker may not write to the new table, only to %v", names)
	}
	if names := tablesOf(t, owner, server.Role, "SELECT"); slices.Contains(names, "users") {
		t.Error("a right that no worker needs stays")
	}
	var rows, rules int
	ok(t, owner.QueryRow(f.ctx, "SELECT COUNT(DISTINCT tablename), COUNT(*) FROM pg_policies WHERE policyname = $1", server.Role).Scan(&rows, &rules))
	want(t, "rules, one for each table", rules, rows)
	sites, total, err := w.Sites(f.ctx, fleet.Filter{})
	if err == nil && total != 1 {
		t.Errorf("the worker sees %d sites: %v", total, sites)
	}

	does("DROP OWNED BY " + other.Role) // restored into another server of databases
	does("DROP ROLE " + other.Role)
	ok(t, f.RenewRights(f.ctx))
}
