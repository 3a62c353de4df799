package e2e_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// journal reads Hefring's own database; it never writes.
type journal struct {
	t    *testing.T
	db   *sql.DB
	path string
	// stopped is set while Hefring is stopped in the middle of whatever it does:
	// it may hold the database's locks, so a copy is read.
	stopped bool
}

func (h *hefring) journal() *journal {
	h.t.Helper()
	path := h.path("control", "hefring.db")
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		h.t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	h.t.Cleanup(func() { _ = db.Close() })
	return &journal{t: h.t, db: db, path: path}
}

// source is the database to read.
func (j *journal) source() (db *sql.DB, done func()) {
	j.t.Helper()
	if !j.stopped {
		return j.db, func() {}
	}
	dir, err := os.MkdirTemp("", "hefring-journal-")
	if err != nil {
		j.t.Fatal(err)
	}
	copied := filepath.Join(dir, "hefring.db")
	for _, part := range []string{"", "-wal"} {
		content, err := os.ReadFile(j.path + part)
		if err == nil {
			err = os.WriteFile(copied+part, content, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			j.t.Fatal(err)
		}
	}
	db, err = sql.Open("sqlite", "file:"+copied)
	if err != nil {
		j.t.Fatal(err)
	}
	return db, func() { _, _ = db.Close(), os.RemoveAll(dir) }
}

// text reads one value; "" when there is no row.
func (j *journal) text(query string, args ...any) string {
	j.t.Helper()
	db, done := j.source()
	defer done()
	var text sql.NullString
	if err := db.QueryRow(query, args...).Scan(&text); err != nil && !errors.Is(err, sql.ErrNoRows) {
		j.t.Fatalf("%s: %v", query, err)
	}
	return text.String
}

// number reads one number.
func (j *journal) number(query string, args ...any) int64 {
	j.t.Helper()
	db, done := j.source()
	defer done()
	var n sql.NullInt64
	if err := db.QueryRow(query, args...).Scan(&n); err != nil && !errors.Is(err, sql.ErrNoRows) {
		j.t.Fatalf("%s: %v", query, err)
	}
	return n.Int64
}

// time reads one time.
func (j *journal) time(query string, args ...any) time.Time {
	j.t.Helper()
	db, done := j.source()
	defer done()
	var at sql.NullTime
	if err := db.QueryRow(query, args...).Scan(&at); err != nil && !errors.Is(err, sql.ErrNoRows) {
		j.t.Fatalf("%s: %v", query, err)
	}
	return at.Time
}

// list reads one column.
func (j *journal) list(query string, args ...any) []string {
	j.t.Helper()
	db, done := j.source()
	defer done()
	rows, err := db.Query(query, args...)
	if err != nil {
		j.t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var text sql.NullString
		if err := rows.Scan(&text); err != nil {
			j.t.Fatal(err)
		}
		list = append(list, text.String)
	}
	if err := rows.Err(); err != nil {
		j.t.Fatal(err)
	}
	return list
}
