package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/models"
)

// recorded stores n events, one a minute, and gives when the first was.
func recorded(t *testing.T, s fleet.Store, n int) time.Time {
	t.Helper()
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		e := models.Event{
			At: first.Add(time.Duration(i) * time.Minute), Actor: []string{"ada", "bob"}[i%2], Verb: []string{"edit", "lock", "pause"}[i%3],
			Subject: models.Subject{Kind: models.SubjectSite, ID: int64(i%5 + 1)}, Text: fmt.Sprintf("Number %d.", i),
		}
		ok(t, s.RecordEvent(t.Context(), e.With(models.Queue{AtOnce: i}, models.Queue{AtOnce: i + 1})))
	}
	return first
}

func TestStore_Events_NarrowsAndPages(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			from := models.Entrance{Door: models.DoorPage, Address: "192.0.2.7"}
			first := recorded(t, s.Through(from), 60)
			ok(t, s.RecordEvent(t.Context(), models.Event{At: first, Actor: "system", Verb: "place", Text: "Half of 100% done_"}))
			for _, c := range []struct {
				filter fleet.EventFilter
				n      int
			}{
				{fleet.EventFilter{}, 61},
				{fleet.EventFilter{Actor: "ada"}, 30},
				{fleet.EventFilter{Actor: "ADA"}, 0},
				{fleet.EventFilter{Actor: "ada", Verb: "lock"}, 10},
				{fleet.EventFilter{Subject: models.Subject{Kind: models.SubjectSite}}, 60},
				{fleet.EventFilter{Subject: models.Subject{Kind: models.SubjectSite, ID: 2}}, 12},
				{fleet.EventFilter{Door: models.DoorPage}, 60},
				{fleet.EventFilter{Door: models.DoorAPI}, 0},
				{fleet.EventFilter{Address: "192.0.2.7"}, 60},
				{fleet.EventFilter{Query: "NUMBER 1"}, 11},
				{fleet.EventFilter{Query: "100%"}, 1},
				{fleet.EventFilter{Query: "0_ d"}, 0},
				{fleet.EventFilter{Query: "at once"}, 60}, // a field that changed
				{fleet.EventFilter{Since: first.Add(50 * time.Minute)}, 10},
				{fleet.EventFilter{Until: first.Add(10 * time.Minute)}, 11},
				{fleet.EventFilter{Since: first.Add(10 * time.Minute), Until: first.Add(20 * time.Minute), Actor: "bob"}, 5},
			} {
				seen := walk(t, s, c.filter, 7)
				want(t, fmt.Sprintf("%+v", c.filter), len(seen), c.n)
				for i := 1; i < len(seen); i++ {
					if seen[i].At.After(seen[i-1].At) {
						t.Fatalf("%+v is not newest first", c.filter)
					}
				}
			}
			page, err := s.Events(t.Context(), fleet.EventFilter{Limit: 1})
			ok(t, err)
			newest := page.Rows[0]
			want(t, "where it came from", models.Entrance{Door: newest.Door, Address: newest.Address}, from)
			want(t, "changes", fmt.Sprint(newest.Changes), fmt.Sprint(models.Changes{{Field: "at once", Before: "59", After: "60"}}))
			_, err = s.Events(t.Context(), fleet.EventFilter{Before: 9999})
			wantCode(t, err, models.Invalid)
		})
	}
}

// walk follows the pages and gives all rows.
func walk(t *testing.T, s *store.Store, f fleet.EventFilter, limit int) []fleet.EventRow {
	t.Helper()
	var all []fleet.EventRow
	seen := map[int64]bool{}
	for f.Limit = limit; ; {
		page, err := s.Events(t.Context(), f)
		ok(t, err)
		for _, row := range page.Rows {
			if seen[row.ID] {
				t.Fatalf("the event %d comes twice", row.ID)
			}
			seen[row.ID] = true
		}
		all = append(all, page.Rows...)
		if page.Next == 0 {
			return all
		}
		f.Before = page.Next
	}
}

// What is in the record stays there, whoever asks.
func TestStore_Events_AreAppendOnly(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			recorded(t, s, 3)
			statements := []string{"UPDATE events SET actor = 'nobody'", "DELETE FROM events", "DELETE FROM events WHERE id = 1"}
			if name == "postgres" {
				statements = append(statements, "TRUNCATE events")
			}
			for _, statement := range statements {
				_, err := s.Access().SQL.ExecContext(t.Context(), statement)
				if err == nil || !strings.Contains(err.Error(), "append-only") {
					t.Errorf("%s: %v", statement, err)
				}
			}
			want(t, "events", len(walk(t, s, fleet.EventFilter{}, 50)), 3)
		})
	}
}

// Each way to narrow the record has an index that gives it in its order, so that a
// page of a long record costs as much as one of a short record.
func TestStore_Events_UseIndexes(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			many(t, s.Access().SQL)
			for index, where := range map[string]string{
				"events_at": "1 = 1", "events_actor": "actor = 'a7'", "events_verb": "verb = 'v7'", "events_door": "door = 'd7'",
				"events_address": "address = '10.0.0.7'", "events_kind": "subject_kind = 'k7'", "events_subject": "subject_kind = 'k8' AND subject_id = 0",
			} {
				plan := explained(t, s.Access().SQL, name, "SELECT * FROM events WHERE "+where+" AND (at, id) < ('2026-02-01 00:00:00', 20000) ORDER BY at DESC, id DESC LIMIT 51")
				if !strings.Contains(plan, index+" ") && !strings.Contains(plan, index+"\n") || strings.Contains(plan, "Sort") || strings.Contains(plan, "TEMP B-TREE") {
					t.Errorf("%s is not read by %s in its order:\n%s", where, index, plan)
				}
			}
		})
	}
}

// many makes enough rows for a planner to look at indexes.
func many(t *testing.T, db *sql.DB) {
	t.Helper()
	lines(t, db, 20_000, "'a' || n % 20, 'v' || n % 20, 'k' || n % 20, n % 2 * n, '', 'd' || n % 20, '10.0.0.' || n % 200")
	_, err := db.ExecContext(t.Context(), "ANALYZE events")
	ok(t, err)
}

// lines makes that many rows of the year 2026; values are those of actor, verb, kind,
// id, text, door and address, for the number n.
func lines(t *testing.T, db *sql.DB, count int, values string) {
	t.Helper()
	const columns = "INSERT INTO events (at, actor, verb, subject_kind, subject_id, text, door, address) "
	_, err := db.ExecContext(t.Context(), fmt.Sprintf("%s SELECT timestamptz '2026-01-01' + n * interval '1 minute', %s FROM generate_series(1, %d) n", columns, values, count))
	if err != nil {
		_, err = db.ExecContext(t.Context(), fmt.Sprintf("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) %s SELECT datetime('2026-01-01', '+' || n || ' minutes') || ' +0000 UTC', %s FROM s", count, columns, values))
	}
	ok(t, err)
}

func explained(t *testing.T, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, engine, query string, args ...any,
) string {
	t.Helper()
	explain := map[string]string{"sqlite": "EXPLAIN QUERY PLAN ", "postgres": "EXPLAIN "}[engine]
	rows, err := db.QueryContext(t.Context(), explain+query, args...)
	ok(t, err)
	defer rows.Close()
	names, err := rows.Columns()
	ok(t, err)
	var plan strings.Builder
	for rows.Next() {
		cells, into := make([]any, len(names)), make([]any, len(names))
		for i := range cells {
			into[i] = &cells[i]
		}
		ok(t, rows.Scan(into...))
		fmt.Fprintln(&plan, cells[len(cells)-1])
	}
	ok(t, rows.Err())
	return plan.String()
}

// What no index gives is looked for in a part of the record at once, and the page says
// where to go on: a text, and what fits several conditions that are each common.
func TestStore_Events_SearchGoesOn(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			needle := models.Event{At: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), Actor: "ada", Verb: "upgrade", Door: models.DoorAPI, Text: "A needle.", Subject: models.Subject{Kind: models.SubjectSite, ID: 7}}
			ok(t, s.RecordEvent(t.Context(), needle))
			lines(t, s.Access().SQL, 50_000, "'ada', 'upgrade', 'site', 8, '', CASE n % 2 WHEN 0 THEN 'page' ELSE 'cli' END, ''")
			for what, f := range map[string]fleet.EventFilter{
				"a text":       {Query: "needle"},
				"a text of":    {Query: "needle", Actor: "ada"},
				"two":          {Actor: "ada", Door: models.DoorAPI},
				"three":        {Verb: "upgrade", Actor: "ada", Door: models.DoorAPI},
				"only the id":  {Subject: models.Subject{ID: 7}},
				"kind and by":  {Subject: models.Subject{Kind: models.SubjectSite}, Door: models.DoorAPI},
				"all of these": {Subject: needle.Subject, Verb: "upgrade", Actor: "ada", Door: models.DoorAPI, Query: "needle"},
			} {
				pages, found := 0, 0
				for {
					page, err := s.Events(t.Context(), f)
					ok(t, err)
					pages, found = pages+1, found+len(page.Rows)
					if page.Next == 0 {
						break
					}
					f.Before = page.Next
				}
				wanted := map[string]int{"postgres": 6, "sqlite": 11}[name] // of 10,000 and 5,000 lines each
				if what == "all of these" {
					wanted = 1 // the subject's own lines are few
				}
				if pages != wanted || found != 1 {
					t.Errorf("%s: found %d on %d pages, want 1 on %d", what, found, pages, wanted)
				}
			}
		})
	}
}

func TestStore_Through_GoesIntoTransactions(t *testing.T) {
	t.Parallel()
	for name, database := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			broken := errors.New("no")
			from := models.Entrance{Door: models.DoorAPI, Address: "2001:db8::7"}
			record := func(ctx context.Context, verb string, fail error) error {
				return s.Through(from).InTx(ctx, func(tx fleet.Tx) error {
					if err := tx.RecordEvent(ctx, models.Event{Actor: "ada", Verb: verb}); err != nil {
						return err
					}
					return fail
				})
			}
			ok(t, record(t.Context(), "stays", nil))
			if err := record(t.Context(), "goes", broken); !errors.Is(err, broken) {
				t.Fatal(err)
			}
			page, err := s.Events(t.Context(), fleet.EventFilter{})
			ok(t, err)
			want(t, "events", len(page.Rows), 1)
			want(t, "where it came from", models.Entrance{Door: page.Rows[0].Door, Address: page.Rows[0].Address}, from)
		})
	}
}
