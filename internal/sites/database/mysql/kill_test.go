package mysql

import (
	"context"
	"testing"

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
