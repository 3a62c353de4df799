package e2e_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// journal reads Hefring's own database; it never writes.
type journal struct {
	t  *testing.T
	db *sql.DB
}

func (h *hefring) journal() *journal {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+h.path("control", "hefring.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		h.t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	h.t.Cleanup(func() { _ = db.Close() })
	return &journal{t: h.t, db: db}
}

// text reads one value; "" when there is no row.
func (j *journal) text(query string, args ...any) string {
	j.t.Helper()
	var text sql.NullString
	if err := j.db.QueryRow(query, args...).Scan(&text); err != nil && !errors.Is(err, sql.ErrNoRows) {
		j.t.Fatalf("%s: %v", query, err)
	}
	return text.String
}

// number reads one number.
func (j *journal) number(query string, args ...any) int64 {
	j.t.Helper()
	var n sql.NullInt64
	if err := j.db.QueryRow(query, args...).Scan(&n); err != nil && !errors.Is(err, sql.ErrNoRows) {
		j.t.Fatalf("%s: %v", query, err)
	}
	return n.Int64
}

// time reads one time.
func (j *journal) time(query string, args ...any) time.Time {
	j.t.Helper()
	var at sql.NullTime
	if err := j.db.QueryRow(query, args...).Scan(&at); err != nil && !errors.Is(err, sql.ErrNoRows) {
		j.t.Fatalf("%s: %v", query, err)
	}
	return at.Time
}

// list reads one column.
func (j *journal) list(query string, args ...any) []string {
	j.t.Helper()
	rows, err := j.db.Query(query, args...)
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
