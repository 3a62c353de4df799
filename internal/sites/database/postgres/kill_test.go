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
