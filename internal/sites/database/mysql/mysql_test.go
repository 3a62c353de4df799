package mysql

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/internal/sites/database/dbtest"
	"hefring/internal/testmysql"
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
	c := config(server, name)
	c.MaxAllowedPacket = 0
	connector, err := driver.NewConnector(c)
	if err != nil {
		tb.Fatal(err)
	}
	return sql.OpenDB(connector)
}

func newSubject(t *testing.T, s *testmysql.Server, server models.DatabaseServer) dbtest.Subject {
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
			admin := s.DB(tb, "")
			if _, err := admin.Exec("DROP DATABASE IF EXISTS `foreign-site`; CREATE DATABASE `foreign-site`; GRANT SELECT, LOCK TABLES ON `foreign-site`.* TO 'visitor'@'%' IDENTIFIED BY 'p w''\"'"); err != nil {
				tb.Fatal(err)
			}
			return database.Foreign{Engine: Name, Host: server.Host, Port: server.Port, Name: "foreign-site", User: "visitor", Password: "p w'\""}, s.DB(tb, "foreign-site")
		},
		Blob: "LONGBLOB", Serial: "INT AUTO_INCREMENT PRIMARY KEY",
		Bytes: func(data []byte) string { return "0x" + dbtest.Hex(data) },
		Reads: func(ctx context.Context, db models.Database) error {
			return within(ctx, as(db), db.Name, shortTime, func(ctx context.Context, db *sql.DB) error {
				var n int
				return db.QueryRowContext(ctx, "SELECT count(*) FROM node WHERE title = 'Node 1'").Scan(&n)
			})
		},
		Objects: []string{
			"CREATE VIEW titles AS SELECT title FROM node",
			"CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2",
			"CREATE TRIGGER shout BEFORE INSERT ON users FOR EACH ROW SET NEW.name = upper(NEW.name)",
			"CREATE TABLE childs (id INT PRIMARY KEY, uid INT, double_id INT AS (id * 2) STORED, CONSTRAINT of_user FOREIGN KEY (uid) REFERENCES users (uid))",
			"INSERT INTO childs (id, uid) VALUES (4, 1)",
		},
		Show: map[string]string{
			"SELECT count(*) FROM titles":  "10",
			"SELECT twice(21)":             "42",
			"SELECT double_id FROM childs": "8",
			"SELECT count(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()":                   "1",
			"SELECT count(*) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE()": "1",
		},
	}
}

func TestEngine_Conformance(t *testing.T) {
	s := testmysql.Running(t)
	dbtest.Run(t, newSubject(t, s, s.TCP()))
}

func TestEngine_Conformance_Socket(t *testing.T) {
	s := testmysql.Running(t)
	subject := newSubject(t, s, s.Socket())
	from, to := subject.Create(t, 7, "site"), subject.Create(t, 7, "upgrade-1")
	subject.Fill(t, from, 5)
	if _, err := subject.Engine.Copy(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	settings, err := subject.Engine.PHP(t.Context(), to)
	if err != nil || settings.Get("unix_socket") != s.Socket().Host {
		t.Errorf("%v, %v", settings.Without("password"), err)
	}
}

func TestEngine_LeastPrivilege(t *testing.T) {
	s := testmysql.Running(t)
	subject := newSubject(t, s, s.TCP())
	// Underscores are wildcards in GRANT: 7_site must not be 71site or 7xsite.
	a, b := subject.Create(t, 7, "site"), subject.Create(t, 71, "site")
	if _, err := s.DB(t, "").Exec("DROP DATABASE IF EXISTS hefringx7xsite; CREATE DATABASE hefringx7xsite; CREATE TABLE hefringx7xsite.things (id INT)"); err != nil {
		t.Fatal(err)
	}
	subject.Fill(t, b, 1)
	conn := subject.Open(t, a)
	defer conn.Close()
	for _, statement := range []string{
		"SELECT * FROM " + b.Name + ".node", "USE " + b.Name, "SELECT * FROM hefringx7xsite.things", "SELECT * FROM mysql.user",
		"CREATE DATABASE hefring_7_more", "CREATE USER someone", "GRANT SELECT ON " + a.Name + ".* TO '" + b.User + "'@'%'", "SET GLOBAL read_only = 1",
		"SELECT 1 INTO OUTFILE 'hostile'", "SELECT load_file('/etc/passwd') FROM mysql.user",
	} {
		if _, err := conn.Exec(statement); err == nil {
			t.Errorf("a site's user may %s", statement)
		}
	}
	info, err := os.Stat(subject.Layout.Password(7))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password's file: %v, %v", info.Mode(), err)
	}
	// The user goes with its last database, and so do its rights.
	if err := subject.Engine.Drop(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.DB(t, "").QueryRow("SELECT (SELECT count(*) FROM mysql.user WHERE User = ?) + (SELECT count(*) FROM mysql.db WHERE User = ?)", a.User, a.User).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rights are left, %v", n, err)
	}
}

func TestEngine_Password_Lost(t *testing.T) {
	s := testmysql.Running(t)
	subject := newSubject(t, s, s.TCP())
	db := subject.Create(t, 7, "site")
	old, err := subject.Engine.PHP(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(subject.Layout.Password(7)); err != nil {
		t.Fatal(err)
	}
	settings, err := subject.Engine.PHP(t.Context(), db)
	if err != nil || settings.Get("password") == old.Get("password") || settings.Get("password") == "" {
		t.Errorf("the password was %v", err)
	}
	if err := subject.Engine.Check(t.Context(), db); err != nil {
		t.Error(err)
	}
}

// A session that holds a table does not keep a database from being dropped.
func TestEngine_Drop_OpenSessions(t *testing.T) {
	s := testmysql.Running(t)
	subject := newSubject(t, s, s.TCP())
	db := subject.Create(t, 7, "site")
	subject.Fill(t, db, 1)
	conn := subject.Open(t, db)
	defer conn.Close()
	tx, err := conn.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("SELECT * FROM node"); err != nil {
		t.Fatal(err)
	}
	if err := subject.Engine.Drop(t.Context(), db); err != nil {
		t.Fatal(err)
	}
}

func TestEngine_Check_Incomplete(t *testing.T) {
	s := testmysql.Running(t)
	subject := newSubject(t, s, s.TCP())
	db, to := subject.Create(t, 7, "site"), subject.Create(t, 7, "upgrade-1")
	if _, err := subject.Engine.Load(t.Context(), db, strings.NewReader("CREATE TABLE half (id INT);\n")); models.CodeOf(err) != models.Invalid {
		t.Fatal(err)
	}
	_, copyErr := subject.Engine.Copy(t.Context(), db, to)
	for _, err := range []error{subject.Engine.Check(t.Context(), db), copyErr} {
		if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "incomplete") {
			t.Errorf("half a database: %v", err)
		}
	}
}

func TestEngine_Test(t *testing.T) {
	s := testmysql.Running(t)
	e, _ := newEngine(t, s.TCP())
	left := func() (n int) {
		t.Helper()
		row := s.DB(t, "").QueryRow(`SELECT (SELECT count(*) FROM mysql.user WHERE User = 'hefring_0') + (SELECT count(*) FROM mysql.db WHERE User = 'hefring_0') +
			(SELECT count(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'hefring\_0\_%')`)
		if err := row.Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	// What a killed test left.
	if _, err := s.DB(t, "").Exec("CREATE DATABASE hefring_0_test; CREATE USER 'hefring_0'@'%' IDENTIFIED BY 'x'"); err != nil {
		t.Fatal(err)
	}
	for _, server := range []models.DatabaseServer{s.TCP(), s.Socket()} {
		if version, err := e.Test(t.Context(), server); err != nil || !strings.Contains(version, "MariaDB") || left() != 0 {
			t.Errorf("%q, %v; %d left", version, err, left())
		}
	}
	// A user from elsewhere cannot connect from here.
	server := s.TCP()
	server.Clients = "192.0.2.1"
	if _, err := e.Test(t.Context(), server); models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "192.0.2.1") || left() != 0 {
		t.Errorf("wrong clients: %v; %d left", err, left())
	}
	if _, err := s.DB(t, "").Exec("CREATE OR REPLACE USER weak@'%' IDENTIFIED BY 'weak'"); err != nil {
		t.Fatal(err)
	}
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

func TestNewEnough(t *testing.T) {
	for version, good := range map[string]bool{
		"5.7.8": true, "5.7.7": false, "8.0.36-0ubuntu": true, "10.3.0-MariaDB": true, "10.2.9-MariaDB-log": false, "5.5.5-10.11.6-MariaDB": true, "": false, "x": false,
	} {
		if err := newEnough(models.DatabaseServer{}, version); (err == nil) != good {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestClean(t *testing.T) {
	long := "INSERT INTO `t` VALUES ('" + strings.Repeat("CREATE DEFINER=`x`@`y` ", 10000) + "');\n"
	dump := "/*M!999999\\- enable the sandbox mode */ \n" +
		"/*!50013 DEFINER=`a``b`@`%` SQL SECURITY DEFINER */\n" +
		"/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER x\n" +
		"CREATE DEFINER=`root`@`%` FUNCTION `f`()\n" + long + "-- Dump completed\n"
	want := "/*!50013  SQL SECURITY DEFINER */\n/*!50003 CREATE*/ /*!50017 */ /*!50003 TRIGGER x\nCREATE  FUNCTION `f`()\n" + long + "-- Dump completed\n"
	var got strings.Builder
	if err := clean(&got, strings.NewReader(dump)); err != nil || got.String() != want {
		t.Errorf("%v\n%.600s", err, got.String())
	}
}

// A database of plain tables is copied inside the server, also for another site;
// one that has more than that, or is written meanwhile, is not.
func TestEngine_CopyInside(t *testing.T) {
	s := testmysql.Running(t)
	subject := newSubject(t, s, s.TCP())
	e := subject.Engine.(*Engine)
	from, to, other := subject.Create(t, 7, "site"), subject.Create(t, 7, "upgrade-1"), subject.Create(t, 70, "site")
	subject.Fill(t, from, 100)
	subject.Exec(t, from, "CREATE TABLE childs (id INT PRIMARY KEY, uid INT, price DECIMAL(10, 2), at TIMESTAMP NULL, note JSON, CONSTRAINT of_user FOREIGN KEY (uid) REFERENCES users (uid))",
		"INSERT INTO childs VALUES (1, 1, 3.50, NULL, '{\"a\": 1}'), (2, NULL, NULL, '2024-01-02 03:04:05', NULL)")
	inside := func(to models.Database) bool {
		t.Helper()
		source, errFrom := e.servers.Find(t.Context(), Name, from)
		target, errTo := e.servers.Find(t.Context(), Name, to)
		if err := errors.Join(errFrom, errTo, e.restart(t.Context(), target)); err != nil {
			t.Fatal(err)
		}
		done, err := e.copyInside(t.Context(), source, target)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if !inside(to) || !inside(other) {
		t.Error("plain tables are not copied inside")
	}
	if got := subject.Ask(t, other, "SELECT concat(price, note) FROM childs WHERE id = 1"); got != `3.50{"a": 1}` {
		t.Errorf("it has %q", got)
	}
	subject.Exec(t, from, "CREATE VIEW titles AS SELECT title FROM node")
	if inside(to) {
		t.Error("a view was left out")
	}
}
