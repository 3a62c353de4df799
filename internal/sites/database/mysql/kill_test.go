package mysql

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"hefring/internal/run"
	"hefring/internal/sites/database"
	"hefring/internal/sites/database/dbtest"
	"hefring/internal/testmysql"
	"hefring/models"
)

func TestEngine_Killed(t *testing.T) {
	child := dbtest.RunChild(t, func(c dbtest.Child) database.Engine {
		return New(c.Layout, run.New(run.Config{}), func(context.Context, int64) (models.DatabaseServer, error) { return c.Server, nil })
	})
	if !child {
		s := testmysql.Running(t)
		dbtest.Killed(t, newSubject(t, s, s.TCP()), s.TCP(), t.Name())
	}
}

func TestEngine_ServerKilled(t *testing.T) {
	s := testmysql.Start(t)
	dbtest.ServerKilled(t, newSubject(t, s, s.TCP()), s.Kill, s.Restart)
}

func TestEngine_DiskFull(t *testing.T) {
	dbtest.DiskFull(t, t.Name(), 160, func(t *testing.T) {
		s := testmysql.Start(t)
		dbtest.FillsUp(t, newSubject(t, s, s.Socket()), 5000)
	})
}

func TestExplain(t *testing.T) {
	server := models.DatabaseServer{Name: "db1", Host: "192.0.2.1", User: "admin"}
	for want, err := range map[string]error{
		"db1 is full":            &driver.MySQLError{Number: 1021},
		"refuses the user admin": &driver.MySQLError{Number: 1045},
		"does not let admin":     &driver.MySQLError{Number: 1044},
		"too many connections":   &driver.MySQLError{Number: 1040},
		"ended the connection":   driver.ErrInvalidConn,
		"in the middle":          &run.ExitError{Tail: "mysqldump: Error 2013: Lost connection to server during query"},
		"does not answer":        syscall.ECONNREFUSED,
		"took too long":          context.DeadlineExceeded,
		"Install mariadb-client": run.ErrNotFound,
		"disk of the database":   &run.ExitError{Tail: "ERROR 1114 (HY000) at line 3: The table 'x' is full"},
	} {
		got := explain("copy", server, "x", fmt.Errorf("wrapped: %w", err))
		if models.CodeOf(got) != models.Unavailable || !strings.Contains(models.Explain(got), want) {
			t.Errorf("want %q: %v", want, got)
		}
	}
}
