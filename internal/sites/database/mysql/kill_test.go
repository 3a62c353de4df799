package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
		t.Helper()
		server := testmysql.Start(t)
		s := newSubject(t, server, server.Socket())
		dbtest.FillsUp(t, s, 5000)
		// Whatever else fills the disk, removing a database makes room.
		full, err := os.Create(filepath.Join(os.TempDir(), "full"))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(full, zeros{}); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the disk is not full after %d bytes: %v", n, err)
		}
		if err := s.Engine.Remove(t.Context(), s.Site(7)); err != nil {
			t.Error(err)
		}
	})
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestExplain(t *testing.T) {
	server := models.DatabaseServer{Name: "db1", Host: "192.0.2.1", User: "admin"}
	for want, err := range map[string]error{
		"db1 is full":                             &driver.MySQLError{Number: 1021},
		"refuses the user admin":                  &driver.MySQLError{Number: 1045},
		"does not let admin":                      &driver.MySQLError{Number: 1044},
		"too many connections":                    &driver.MySQLError{Number: 1040},
		"ended the connection":                    driver.ErrInvalidConn,
		"in the middle":                           &run.ExitError{Tail: "mysqldump: Error 2013: Lost connection to server during query"},
		"does not answer":                         syscall.ECONNREFUSED,
		"took too long":                           context.DeadlineExceeded,
		"Install mariadb-client":                  run.ErrNotFound,
		"disk of the database server db1 is full": fmt.Errorf("copy: %w", &driver.MySQLError{Number: 1005, Message: "Can't create table `a`.`b` (errno: 135 \"No more room in record file\")"}),
		"db1 is full: could":                      &driver.MySQLError{Number: 1030, Message: "Got error 28 \"No space left on device\" from storage engine InnoDB"},
		"disk of the database":                    &run.ExitError{Tail: "ERROR 1114 (HY000) at line 3: The table 'x' is full"},
	} {
		got := explain("copy", server, "x", fmt.Errorf("wrapped: %w", err))
		if models.CodeOf(got) != models.Unavailable || !strings.Contains(models.Explain(got), want) {
			t.Errorf("want %q: %v", want, got)
		}
	}
}
