package host_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"hefring/internal/sites/database"
	"hefring/internal/sites/database/mysql"
	"hefring/internal/sites/database/postgres"
	"hefring/internal/sites/drupal"
	"hefring/internal/testmysql"
	"hefring/internal/testpg"
	"hefring/internal/tidepool"
	"hefring/models"
)

// on is the same machine with its sites' databases elsewhere.
func (s *server) on(engine database.Engine) *server {
	d := &server{
		place: s.place, layout: s.layout, runner: s.runner, engine: engine, web: s.web, platforms: s.platforms, parent: s,
	}
	d.drupal = drupal.New(s.layout, s.runner, engine)
	d.host = d.hostWith(s.web)
	return d
}

// onServer is a machine whose sites' databases are on a database server.
func onServer(t *testing.T, where models.DatabaseServer) *server {
	t.Helper()
	s := serve(t)
	where.ID = 1
	servers := database.Servers(func(context.Context, int64) (models.DatabaseServer, error) { return where, nil })
	if where.Engine == models.EngineMySQL {
		return s.on(mysql.New(s.layout, s.runner, servers))
	}
	return s.on(postgres.New(s.layout, s.runner, servers))
}

// installed is a site that was installed there.
func (s *server) installed(t *testing.T, version string) *subject {
	t.Helper()
	from := s.platform(t, version)
	s.parent.mu.Lock()
	f := &subject{T: t, server: s, from: from, site: s.parent.newSite(from)}
	s.parent.mu.Unlock()
	id := int64(1)
	f.site.DatabaseServerID = &id
	log := &record{}
	var err error
	f.site.Database, err = s.host.Install(t.Context(), f.site, from, log)
	if err != nil {
		t.Fatalf("install: %v\n%s", err, log)
	}
	t.Cleanup(func() {
		if err := s.engine.Remove(context.WithoutCancel(t.Context()), f.site); err != nil {
			t.Errorf("remove the site's databases: %v", err)
		}
	})
	return f
}

// onlyHas checks which databases the site has, and that it works.
func (f *subject) onlyHas(version string, databases ...models.Database) {
	f.Helper()
	for _, path := range []string{"/", "/node/1?whole", "/user/login"} {
		if a := f.get(path); a.status != http.StatusOK || a.version() != version {
			f.Errorf("GET %s: %d from version %q, want %q\n%.300s", path, a.status, a.version(), version, a.body)
		}
	}
	if a := f.post("onlyHas " + version); a.status != http.StatusSeeOther {
		f.Errorf("a write is answered %d", a.status)
	}
	list, err := f.engine.Databases(f.Context(), f.site)
	ok(f.T, err)
	var have, want []string
	for _, db := range list {
		have = append(have, db.Name)
	}
	for _, db := range databases {
		want = append(want, db.Name)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		f.Errorf("databases %v, want %v", have, want)
	}
}

// everyServer are the servers that the whole way of a site is tried on.
func everyServer(t *testing.T) map[string]models.DatabaseServer {
	t.Helper()
	return map[string]models.DatabaseServer{
		"MariaDB": testmysql.Running(t).Socket(), "PostgreSQL": testpg.Running(t).Socket(),
	}
}

// The whole way on a database server: up, back, a backup of what was left brought
// back, and a move without database updates.
func TestHost_Moves_OnDatabaseServers(t *testing.T) {
	for name, where := range everyServer(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := onServer(t, where).installed(t, tidepool.V1058)
			old := f.from
			o, tr, _ := f.upgrade(tidepool.V1062)
			f.wantOutcome(o, models.UpgradeSucceeded, "", "")
			tr.check("10.5.8", "10.6.2")
			newer, up := f.from, o.Upgrade
			f.onlyHas("10.6.2", up.OldDatabase, up.NewDatabase)
			f.post("on the new version")
			loss, err := f.host.Loss(t.Context(), up)
			ok(t, err)
			if !slices.ContainsFunc(loss.Tables, func(l models.TableLoss) bool {
				return l.Table == "guestbook_entry" && (l.Added >= 1 || l.Unknown)
			}) {
				t.Errorf("the quote is %+v", loss)
			}

			tr = f.traffic()
			m, k := f.rollback(up, old), &keeper{}
			m.Keep = k.keep(f.site, models.BackupRollback)
			o = f.run(m)
			f.wantOutcome(o, models.UpgradeSucceeded, "", "")
			tr.hurt("10.6.2", "10.5.8")
			_, lost := f.shows(tr.acknowledged)
			f.onlyHas("10.5.8", up.OldDatabase, up.NewDatabase)
			t.Logf("rollback: writes refused for %s", o.Upgrade.ReadOnly)

			o = f.run(f.restore(k.backup, newer))
			f.wantOutcome(o, models.UpgradeSucceeded, "", "")
			f.holds(append(lost, "on the new version")...)
			restored := o.Upgrade.NewDatabase
			f.onlyHas("10.6.2", up.OldDatabase, up.NewDatabase, restored)
			t.Logf("restore: writes refused for %s", o.Upgrade.ReadOnly)

			o, tr, _ = f.upgrade(tidepool.V1063)
			f.wantOutcome(o, models.UpgradeSucceeded, "", "")
			tr.check("10.6.2", "10.6.3")
			if tr.refused > 0 {
				t.Errorf("%d writes were refused without database updates", tr.refused)
			}
			o, tr, _ = f.upgrade(tidepool.Throws)
			f.wantOutcome(o, models.UpgradeRecovered, models.StepUpdate, "updatedb failed")
			tr.check("10.6.3")
			f.onlyHas("10.6.3", up.OldDatabase, up.NewDatabase, restored)
		})
	}
}
