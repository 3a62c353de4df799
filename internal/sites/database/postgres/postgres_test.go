package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/internal/sites/database/dbtest"
	"hefring/internal/testpg"
	"hefring/models"
)

func newEngine(t *testing.T, server models.DatabaseServer) (*Engine, sites.Layout) {
	t.Helper()
	layout := sites.Layout{Root: t.TempDir()}
	return New(layout, run.New(run.Config{}), func(_ context.Context, id int64) (models.DatabaseServer, error) {
		if id != server.ID {
			return models.DatabaseServer{}, errors.New("no such server")
		}
		return server, nil
	}), layout
}

func open(tb testing.TB, server models.DatabaseServer, name string) *sql.DB {
	tb.Helper()
	config, err := pgx.ParseConfig(fmt.Sprintf("host='%s' port=%d user='%s' password='%s' dbname='%s' sslmode=disable", server.Host, port(server), server.User, server.Password, name))
	if err != nil {
		tb.Fatal(err)
	}
	return stdlib.OpenDB(*config)
}

// super runs statements as the superuser.
func super(tb testing.TB, s *testpg.Server, name string, statements ...string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), s.DSN(name))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	if err := exec(context.Background(), conn, statements...); err != nil {
		tb.Fatal(err)
	}
	return conn
}

func newSubject(t *testing.T, s *testpg.Server, server models.DatabaseServer) dbtest.Subject {
	t.Helper()
	e, layout := newEngine(t, server)
	as := func(db models.Database) models.DatabaseServer {
		place, err := e.servers.Find(t.Context(), Name, db)
		if err != nil {
			t.Fatal(err)
		}
		own, err := e.own(context.Background(), place)
		if err != nil {
			t.Fatal(err)
		}
		return own
	}
	return dbtest.Subject{
		Engine: e, Layout: layout, Server: &server.ID,
		Open: func(tb testing.TB, db models.Database) *sql.DB { tb.Helper(); return open(tb, as(db), db.Name) },
		Foreign: func(tb testing.TB) (database.Foreign, *sql.DB) {
			tb.Helper()
			super(tb, s, "postgres", `DROP DATABASE IF EXISTS "foreign-site"`, "DROP ROLE IF EXISTS visitor", `CREATE ROLE visitor LOGIN PASSWORD 'p w''"\'`, `CREATE DATABASE "foreign-site" OWNER visitor`)
			super(tb, s, "foreign-site", "CREATE EXTENSION pg_trgm", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO visitor")
			foreign := database.Foreign{Engine: Name, Host: server.Host, Port: server.Port, Name: "foreign-site", User: "visitor", Password: `p w'"\`}
			db, err := sql.Open("pgx", s.DSN("foreign-site"))
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() {
				_ = db.Close()
				super(tb, s, "postgres", `DROP DATABASE "foreign-site" WITH (FORCE)`, "DROP ROLE visitor")
			})
			return foreign, db
		},
		Blob: "BYTEA", Serial: "SERIAL PRIMARY KEY",
		Bytes: func(data []byte) string { return `'\x` + dbtest.Hex(data) + `'::bytea` },
		Reads: func(ctx context.Context, db models.Database) error {
			return within(ctx, as(db), db.Name, shortTime, func(ctx context.Context, conn *pgx.Conn) error {
				var n int
				return conn.QueryRow(ctx, "SELECT count(*) FROM node WHERE title = 'Node 1'").Scan(&n)
			})
		},
		Objects: []string{
			"CREATE VIEW titles AS SELECT title FROM node",
			"CREATE FUNCTION twice(n INT) RETURNS INT LANGUAGE sql AS 'SELECT n * 2'",
			"CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name = upper(NEW.name); RETURN NEW; END $$",
			"CREATE TRIGGER shout BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION shout()",
			"CREATE INDEX node_trgm ON node USING gin (title gin_trgm_ops)",
			"COMMENT ON TABLE node IS 'The base table.'",
			"CREATE TABLE childs (id INT PRIMARY KEY, uid INT REFERENCES users (uid), double_id INT GENERATED ALWAYS AS (id * 2) STORED, CONSTRAINT small CHECK (id < 100))",
			"INSERT INTO childs (id, uid) VALUES (4, 1)",
		},
		Show: map[string]string{
			"SELECT count(*) FROM titles":              "10",
			"SELECT twice(21)":                         "42",
			"SELECT double_id FROM childs":             "8",
			"SELECT obj_description('node'::regclass)": "The base table.",
			"SELECT count(*) FROM pg_constraint WHERE contype IN ('f', 'c') AND connamespace = 'public'::regnamespace":                "2",
			"SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal":                                                                  "1",
			"SELECT count(*) FROM pg_indexes WHERE indexname = 'node_trgm'":                                                           "1",
			"SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND pg_get_userbyid(relowner) <> current_user": "0",
		},
	}
}

func TestEngine_Conformance(t *testing.T) {
	s := testpg.Running(t)
	dbtest.Run(t, newSubject(t, s, s.TCP()))
}

func TestEngine_Conformance_Socket(t *testing.T) {
	s := testpg.Running(t)
	subject := newSubject(t, s, s.Socket())
	from, to := subject.Create(t, 7, "site"), subject.Create(t, 70, "site")
	subject.Fill(t, from, 5)
	if _, err := subject.Engine.Copy(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	settings, err := subject.Engine.PHP(t.Context(), to)
	if err != nil || settings.Get("host") != s.Socket().Host {
		t.Errorf("%v, %v", settings.Without("password"), err)
	}
}

func TestEngine_LeastPrivilege(t *testing.T) {
	s := testpg.Running(t)
	subject := newSubject(t, s, s.TCP())
	a, b := subject.Create(t, 7, "site"), subject.Create(t, 71, "site")
	copied := subject.Create(t, 71, "upgrade-1")
	if _, err := subject.Engine.Copy(t.Context(), b, copied); err != nil {
		t.Fatal(err)
	}
	place, err := subject.Engine.(*Engine).servers.Find(t.Context(), Name, a)
	if err != nil {
		t.Fatal(err)
	}
	own, err := subject.Engine.(*Engine).own(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []models.Database{b, copied} {
		conn := open(t, own, other.Name)
		if err := conn.Ping(); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("a site's role in %s: %v", other.Name, err)
		}
		conn.Close()
	}
	conn := subject.Open(t, a)
	defer conn.Close()
	for _, statement := range []string{
		"CREATE DATABASE hefring_7_more", "CREATE ROLE someone", "SET ROLE " + b.User, "SET ROLE " + testpg.Admin, "COPY (SELECT 1) TO PROGRAM 'touch hostile'",
		"SELECT pg_read_file('/etc/passwd')", "ALTER SYSTEM SET fsync = off", "DROP DATABASE " + b.Name,
	} {
		if _, err := conn.Exec(statement); err == nil {
			t.Errorf("a site's role may %s", statement)
		}
	}
	info, err := os.Stat(subject.Layout.Password(7))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password's file: %v, %v", info.Mode(), err)
	}
	if err := subject.Engine.Drop(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := super(t, s, "postgres").QueryRow(t.Context(), "SELECT count(*) FROM pg_roles WHERE rolname = $1", a.User).Scan(&n); err != nil || n != 0 {
		t.Errorf("the role is left: %d, %v", n, err)
	}
}

// A session that stays makes a template impossible: the copy is streamed, and the
// session goes on.
func TestEngine_Copy_OpenSession(t *testing.T) {
	s := testpg.Running(t)
	subject := newSubject(t, s, s.TCP())
	from, to := subject.Create(t, 7, "site"), subject.Create(t, 7, "upgrade-1")
	subject.Fill(t, from, 10)
	conn := subject.Open(t, from)
	defer conn.Close()
	one, err := conn.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	before := pid(t, one)
	if _, err := subject.Engine.Copy(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	if got := subject.Ask(t, to, "SELECT count(*) FROM node"); got != "10" || pid(t, one) != before {
		t.Errorf("%s rows", got)
	}
}

func pid(t *testing.T, conn *sql.Conn) (pid int) {
	t.Helper()
	if err := conn.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestEngine_Drop_OpenSessions(t *testing.T) {
	s := testpg.Running(t)
	subject := newSubject(t, s, s.TCP())
	db := subject.Create(t, 7, "site")
	conn := subject.Open(t, db)
	defer conn.Close()
	if err := conn.Ping(); err != nil {
		t.Fatal(err)
	}
	if err := subject.Engine.Drop(t.Context(), db); err != nil {
		t.Fatal(err)
	}
}

func TestEngine_Password_Lost(t *testing.T) {
	s := testpg.Running(t)
	subject := newSubject(t, s, s.TCP())
	db := subject.Create(t, 7, "site")
	if err := os.Remove(subject.Layout.Password(7)); err != nil {
		t.Fatal(err)
	}
	if err := subject.Engine.Check(t.Context(), db); err != nil {
		t.Error(err)
	}
}

// What a kill left is no database of the site, and goes with the next attempt.
func TestEngine_Leftovers(t *testing.T) {
	s := testpg.Running(t)
	subject := newSubject(t, s, s.TCP())
	from, to := subject.Create(t, 7, "site"), subject.Create(t, 7, "upgrade-1")
	subject.Fill(t, from, 10)
	leave := func() {
		super(t, s, "postgres", `CREATE DATABASE "`+to.Name+unfinished+`" OWNER `+to.User)
	}
	for _, tidy := range []func() error{
		func() error { _, err := subject.Engine.Copy(t.Context(), from, to); return err },
		func() error { return subject.Engine.Drop(t.Context(), to) },
		func() error { return subject.Engine.Remove(t.Context(), subject.Site(7)) },
	} {
		leave()
		if got, err := subject.Engine.Databases(t.Context(), subject.Site(7)); err != nil || len(got) > 2 {
			t.Errorf("%+v, %v", got, err)
		}
		if err := tidy(); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := super(t, s, "postgres").QueryRow(t.Context(), `SELECT count(*) FROM pg_database WHERE datname LIKE '%.new'`).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d are left, %v", n, err)
		}
	}
}

func TestEngine_Test(t *testing.T) {
	s := testpg.Running(t)
	e, _ := newEngine(t, s.TCP())
	left := func() (n int) {
		t.Helper()
		row := super(t, s, "postgres").QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_roles WHERE rolname = 'hefring_0') + (SELECT count(*) FROM pg_database WHERE datname LIKE 'hefring\_0\_%')`)
		if err := row.Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	// What a killed test left.
	super(t, s, "postgres", "SET ROLE "+testpg.Admin, "CREATE ROLE hefring_0", "GRANT hefring_0 TO CURRENT_USER", "CREATE DATABASE hefring_0_test OWNER hefring_0")
	for _, server := range []models.DatabaseServer{s.TCP(), s.Socket()} {
		if version, err := e.Test(t.Context(), server); err != nil || version == "" || left() != 0 {
			t.Errorf("%q, %v; %d left", version, err, left())
		}
	}
	super(t, s, "postgres", "DROP ROLE IF EXISTS weak", "CREATE ROLE weak LOGIN PASSWORD 'weak'")
	for name, change := range map[string]func(*models.DatabaseServer){
		"refuses the user":   func(s *models.DatabaseServer) { s.Password = "wrong" },
		"does not let weak":  func(s *models.DatabaseServer) { s.User, s.Password = "weak", "weak" },
		"does not answer at": func(s *models.DatabaseServer) { s.Port = 1 },
	} {
		server := s.TCP()
		change(&server)
		if _, err := e.Test(t.Context(), server); models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), name) {
			t.Errorf("want %q: %v", name, err)
		}
	}
}

// With a template, connections that come meanwhile wait; none fails.
func TestEngine_CopyTemplate_WhileConnecting(t *testing.T) {
	s := testpg.Running(t)
	subject := newSubject(t, s, s.TCP())
	e := subject.Engine.(*Engine)
	from, to := subject.Create(t, 7, "site"), subject.Create(t, 7, "upgrade-1")
	subject.Fill(t, from, 2000)
	source, errFrom := e.servers.Find(t.Context(), Name, from)
	target, errTo := e.servers.Find(t.Context(), Name, to)
	if err := errors.Join(errFrom, errTo); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	readers, reads := 3, make(chan int, 3)
	for range readers {
		go func() {
			n := 0
			for ; ctx.Err() == nil; n++ {
				if err := subject.Reads(t.Context(), from); err != nil {
					t.Errorf("a read failed after %d good ones: %v", n, err)
					break
				}
			}
			reads <- n
		}()
	}
	templates := 0
	for range 5 {
		_, done, err := e.copyTemplate(t.Context(), source, target)
		if err != nil {
			t.Error(err)
		}
		if done {
			templates++
		}
	}
	stop()
	all := 0
	for range readers {
		all += <-reads
	}
	if templates == 0 || all == 0 {
		t.Errorf("%d of 5 copies were made from the template, %d reads", templates, all)
	}
	t.Logf("%d of 5 copies were made from the template during %d reads", templates, all)
}
