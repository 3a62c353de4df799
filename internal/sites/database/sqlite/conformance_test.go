package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/run"
	"hefring/internal/sites/database"
	"hefring/internal/sites/database/dbtest"
	"hefring/models"
)

func newSubject(t *testing.T) dbtest.Subject {
	t.Helper()
	e, layout := newEngine(t)
	return dbtest.Subject{
		Engine: e, Layout: layout,
		Open: func(tb testing.TB, db models.Database) *sql.DB {
			tb.Helper()
			conn, err := sql.Open("sqlite", address(db.Name, "rw"))
			if err != nil {
				tb.Fatal(err)
			}
			conn.SetMaxOpenConns(1)
			return conn
		},
		Foreign: func(tb testing.TB) (database.Foreign, *sql.DB) {
			tb.Helper()
			path := filepath.Join(tb.TempDir(), "foreign", "site.db")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				tb.Fatal(err)
			}
			conn, err := sql.Open("sqlite", address(path, "rwc"))
			if err != nil {
				tb.Fatal(err)
			}
			conn.SetMaxOpenConns(1)
			tb.Cleanup(func() { _ = conn.Close() })
			return database.Foreign{Engine: Name, File: path}, conn
		},
		Blob: "BLOB", Serial: "INTEGER PRIMARY KEY AUTOINCREMENT",
		Bytes: func(data []byte) string { return "X'" + dbtest.Hex(data) + "'" },
		Reads: func(ctx context.Context, db models.Database) error {
			conn, err := sql.Open("sqlite", address(db.Name, "rw"))
			if err != nil {
				return err
			}
			var n int
			err = conn.QueryRowContext(ctx, "SELECT count(*) FROM node WHERE title = 'Node 1'").Scan(&n)
			return errors.Join(err, conn.Close())
		},
		Objects: []string{
			"CREATE VIEW titles AS SELECT title FROM node",
			"CREATE TRIGGER shout AFTER INSERT ON users BEGIN UPDATE users SET name = upper(name) WHERE uid = NEW.uid; END",
		},
		Show: map[string]string{
			"SELECT count(*) FROM titles":                               "10",
			"SELECT count(*) FROM sqlite_master WHERE type = 'trigger'": "1",
		},
	}
}

func TestEngine_Conformance(t *testing.T) { dbtest.Run(t, newSubject(t)) }

func TestEngine_Killed(t *testing.T) {
	child := dbtest.RunChild(t, func(c dbtest.Child) database.Engine { return New(c.Layout, run.New(run.Config{})) })
	if !child {
		dbtest.Killed(t, newSubject(t), models.DatabaseServer{}, t.Name())
	}
}

// A foreign database in WAL mode, closed, in use, or left by a crash: what is
// committed comes along, and nothing is made or changed beside it.
func TestEngine_Adopt_WAL(t *testing.T) {
	e, layout := newEngine(t)
	to := create(t, e, "site")
	dir := t.TempDir()
	path := filepath.Join(dir, "foreign.db")
	fill(t, path, 50)
	state := func() string {
		t.Helper()
		var all strings.Builder
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			all.WriteString(entry.Name() + "\n")
			if !strings.HasSuffix(entry.Name(), "-shm") { // its locks are memory
				all.Write(bytesOf(t, filepath.Join(dir, entry.Name())))
			}
		}
		return all.String()
	}
	adopt := func(how string, visitors int64) {
		t.Helper()
		before := state()
		if _, err := e.Adopt(t.Context(), database.Foreign{Engine: Name, File: path}, to); err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if state() != before {
			t.Errorf("%s: the foreign folder was changed", how)
		}
		if visitors > 0 && visits(t, to.Name) != visitors || count(t, to.Name) != 50 {
			t.Errorf("%s: not all came along", how)
		}
	}
	adopt("closed", 0)
	holder, err := sql.Open("sqlite", address(path, "rw"))
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	holder.SetMaxOpenConns(1)
	if _, err := holder.Exec("CREATE TABLE visits (id INTEGER PRIMARY KEY); INSERT INTO visits VALUES (1), (2), (3)"); err != nil {
		t.Fatal(err)
	}
	adopt("in use", 3)
	main, log := bytesOf(t, path), bytesOf(t, path+"-wal")
	holder.Close()
	if err := errors.Join(removeFiles(path), os.WriteFile(path, main, 0o600), os.WriteFile(path+"-wal", log, 0o600)); err != nil {
		t.Fatal(err)
	}
	adopt("after a crash", 3)
	noLeftovers(t, layout.Dir(7), "db")
	for _, file := range []string{to.Name, "relative.db", "/etc/passwd", dir} {
		if _, err := e.Adopt(t.Context(), database.Foreign{Engine: Name, File: file}, to); models.CodeOf(err) == "" {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestEngine_Dump_Leftovers(t *testing.T) {
	e, layout := newEngine(t)
	db := create(t, e, "site")
	fill(t, db.Name, 5)
	for _, file := range []string{dumping(db.Name), dumping(db.Name) + "-journal"} {
		if err := os.WriteFile(file, []byte("left behind"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	chownLike(t, dumping(db.Name))
	if _, err := e.Dump(t.Context(), db, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	noLeftovers(t, layout.Databases(7), "site.sqlite", "site.sqlite-wal", "site.sqlite-shm")
	if err := os.WriteFile(filepath.Join(layout.Databases(7), ".copying-old.sqlite"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(t.Context(), site); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(layout.Databases(7)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}
