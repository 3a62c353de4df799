package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"hefring/internal/run"
	"hefring/internal/sites/database"
	"hefring/internal/sites/database/dbtest"
	"hefring/internal/testpg"
	"hefring/models"
)

func TestEngine_Killed(t *testing.T) {
	child := dbtest.RunChild(t, func(c dbtest.Child) database.Engine {
		return New(c.Layout, run.New(run.Config{}), func(context.Context, int64) (models.DatabaseServer, error) { return c.Server, nil })
	})
	if !child {
		s := testpg.Running(t)
		dbtest.Killed(t, newSubject(t, s, s.TCP()), s.TCP(), t.Name())
	}
}

func TestEngine_ServerKilled(t *testing.T) {
	s := testpg.Start(t)
	dbtest.ServerKilled(t, newSubject(t, s, s.TCP()), s.Kill, s.Restart)
}

// PostgreSQL calls a database invalid whose removal was cut short. It ends the
// connection of whoever alters one; it can only be dropped.
func TestEngine_RemovalCutShort(t *testing.T) {
	pg := testpg.Running(t)
	s := newSubject(t, pg, pg.TCP())
	from, to := s.Create(t, 8, "site"), s.Create(t, 8, "upgrade-1")
	s.Fill(t, from, 10)
	cutShort := func(name string) {
		t.Helper()
		super(t, pg, "postgres", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = "+literal(name))
	}

	cutShort(to.Name)
	if err := s.Engine.Check(t.Context(), to); models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "incomplete") {
		t.Errorf("it is not said: %v", err)
	}
	s.Create(t, 8, "upgrade-1")
	if err := s.Engine.Check(t.Context(), to); err != nil {
		t.Errorf("not made anew: %v", err)
	}

	super(t, pg, "postgres", "CREATE DATABASE "+ident(to.Name+unfinished)+" OWNER "+ident(to.User))
	cutShort(to.Name)
	cutShort(to.Name + unfinished)
	if _, err := s.Engine.Copy(t.Context(), from, to); err != nil || s.Ask(t, to, "SELECT count(*) FROM bodies") != "10" {
		t.Errorf("not copied into: %v", err)
	}

	cutShort(to.Name)
	if err := s.Engine.Drop(t.Context(), to); err != nil {
		t.Errorf("not dropped: %v", err)
	}
	cutShort(from.Name)
	if err := s.Engine.Remove(t.Context(), s.Site(8)); err != nil {
		t.Errorf("not removed with its site: %v", err)
	}
	if left, err := s.Engine.Databases(t.Context(), s.Site(8)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestExplain(t *testing.T) {
	server := models.DatabaseServer{Name: "db1", Host: "192.0.2.1", User: "admin"}
	for want, err := range map[string]error{
		"db1 is full":               &pgconn.PgError{Code: "53100"},
		"refuses the user admin":    &pgconn.PgError{Code: "28P01"},
		"CREATEDB":                  &pgconn.PgError{Code: "42501"},
		"too many connections":      &pgconn.PgError{Code: "53300"},
		"ended the connection":      &pgconn.PgError{Code: "57P01"},
		"does not answer":           &pgconn.PgError{Code: "57P03"},
		"took too long":             context.DeadlineExceeded,
		"older than db1":            &run.ExitError{Tail: "pg_dump: error: aborting because of server version mismatch"},
		"Install postgresql-client": run.ErrNotFound,
		"disk of the database":      &run.ExitError{Tail: "pg_restore: error: could not extend file: No space left on device"},
	} {
		got := explain("copy", server, "x", fmt.Errorf("wrapped: %w", err))
		if models.CodeOf(got) != models.Unavailable || !strings.Contains(models.Explain(got), want) {
			t.Errorf("want %q: %v", want, got)
		}
	}
}
