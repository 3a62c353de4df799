package engines

import (
	"bytes"
	"context"
	"testing"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/internal/sites/database/mysql"
	"hefring/internal/sites/database/postgres"
	"hefring/internal/sites/database/sqlite"
	"hefring/internal/testmysql"
	"hefring/internal/testpg"
	"hefring/models"
)

func TestEngine_Routes(t *testing.T) {
	layout, runner := sites.Layout{Root: t.TempDir()}, run.New(run.Config{})
	all := map[int64]models.DatabaseServer{1: testmysql.Running(t).TCP(), 2: testpg.Running(t).TCP()}
	servers := func(_ context.Context, id int64) (models.DatabaseServer, error) {
		server, ok := all[id]
		if !ok {
			return server, models.Errorf(models.NotFound, "There is no database server %d.", id)
		}
		return server, nil
	}
	e := New(servers, sqlite.New(layout, runner), mysql.New(layout, runner, servers), postgres.New(layout, runner, servers))
	one, two, three := int64(1), int64(2), int64(3)
	var made []models.Database
	for i, server := range []*int64{nil, &one, &two} {
		site := models.Site{ID: int64(i + 1), URI: "museum.example.org", DatabaseServerID: server}
		db, err := e.Create(t.Context(), site, "site")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Remove(context.Background(), site); err != nil {
				t.Error(err)
			}
		})
		made = append(made, db)
		if want := []string{models.EngineSQLite, models.EngineMySQL, models.EnginePostgres}[i]; db.Engine != want {
			t.Errorf("%+v, want %s", db, want)
		}
		whole(t, e, site, db)
	}
	if _, err := e.Copy(t.Context(), made[0], made[1]); models.CodeOf(err) != models.Invalid {
		t.Errorf("copied between kinds: %v", err)
	}
	if _, err := e.Adopt(t.Context(), database.Foreign{Engine: "sqlite", File: "/x"}, made[1]); models.CodeOf(err) != models.Invalid {
		t.Errorf("adopted between kinds: %v", err)
	}
	if _, err := e.Create(t.Context(), models.Site{ID: 9, DatabaseServerID: &three}, "site"); models.CodeOf(err) != models.NotFound {
		t.Errorf("on an unknown server: %v", err)
	}
	if err := e.Check(t.Context(), models.Database{Engine: "oracle"}); models.CodeOf(err) != models.Invalid {
		t.Errorf("of an unknown kind: %v", err)
	}
	for _, server := range all {
		if version, err := e.Test(t.Context(), server); err != nil || version == "" {
			t.Errorf("%s: %q, %v", server.Name, version, err)
		}
	}
}

// whole sends every call to one database.
func whole(t *testing.T, e *Engine, site models.Site, db models.Database) {
	t.Helper()
	copied, err := e.Create(t.Context(), site, "copy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Copy(t.Context(), db, copied); err != nil {
		t.Error(err)
	}
	var dump bytes.Buffer
	if _, err := e.Dump(t.Context(), db, &dump); err != nil {
		t.Error(err)
	}
	if _, err := e.Load(t.Context(), copied, &dump); err != nil {
		t.Error(err)
	}
	if settings, err := e.PHP(t.Context(), db); err != nil || settings.Get("driver") == nil {
		t.Error(err)
	}
	marks, err := e.Marks(t.Context(), db)
	if err != nil || len(marks) != 0 {
		t.Errorf("%+v, %v", marks, err)
	}
	if losses, err := e.Loss(t.Context(), db, marks); err != nil || len(losses) != 0 {
		t.Errorf("%+v, %v", losses, err)
	}
	if dbs, err := e.Databases(t.Context(), site); err != nil || len(dbs) != 2 {
		t.Errorf("%+v, %v", dbs, err)
	}
	if err := e.Drop(t.Context(), copied); err != nil {
		t.Error(err)
	}
	if err := e.Check(t.Context(), db); err != nil {
		t.Error(err)
	}
}
