package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/internal/sites/database/mysql"
	"hefring/internal/sites/database/postgres"
	"hefring/internal/sites/drupal"
	"hefring/internal/sites/host"
	"hefring/internal/testmysql"
	"hefring/internal/testpg"
	"hefring/internal/tidepool"
	"hefring/models"
)

// The life of a site whose content is on a database server: install, back up,
// clone with updates, bring back, adopt from outside, verify, delete.
func TestHost_Life_OnDatabaseServers(t *testing.T) {
	s := serve(t)
	for name, c := range map[string]struct {
		server models.DatabaseServer
		engine func(sites.Layout, database.Servers) database.Engine
		driver string
	}{
		"MariaDB":    {testmysql.Running(t).TCP(), func(l sites.Layout, d database.Servers) database.Engine { return mysql.New(l, s.runner, d) }, "mysql"},
		"PostgreSQL": {testpg.Running(t).TCP(), func(l sites.Layout, d database.Servers) database.Engine { return postgres.New(l, s.runner, d) }, "pgsql"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine := c.engine(s.layout, func(context.Context, int64) (models.DatabaseServer, error) { return c.server, nil })
			h := &host.Host{Layout: s.layout, Databases: engine, Drupal: drupal.New(s.layout, s.runner, engine), Web: s.web, Backups: filepath.Join(s.Base, "backups")}
			fresh := func(version string) *subject {
				f := s.fresh(t, version)
				f.site.DatabaseServerID = &c.server.ID
				return f
			}
			create := func(f *subject, how func(log *record) (models.Database, error)) {
				t.Helper()
				log := &record{}
				db, err := how(log)
				if err != nil {
					t.Fatalf("%v\n%s", err, log)
				}
				f.made(db)
			}
			f := fresh(tidepool.V1058)
			create(f, func(log *record) (models.Database, error) { return h.Install(t.Context(), f.site, f.from, log) })
			f.upload("files/picture.jpg", "picture")
			f.post("in all of them")
			tr := f.traffic()
			b, err := h.Backup(t.Context(), f.site, f.from, models.Backup{ID: 1, SiteID: f.site.ID, CreatedAt: time.Now().UTC()}, &record{})
			ok(t, err)
			if b.Engine != c.server.Engine || b.Tables < 5 {
				t.Errorf("backup %+v", b)
			}
			all := []*subject{f, fresh(tidepool.V1062), fresh(tidepool.V1058), fresh(tidepool.V1058)}
			create(all[1], func(log *record) (models.Database, error) {
				return h.Clone(t.Context(), models.Origin{Site: &f.site}, all[1].site, all[1].from, log)
			})
			create(all[2], func(log *record) (models.Database, error) {
				return h.Clone(t.Context(), models.Origin{Backup: &b}, all[2].site, all[2].from, log)
			})
			tr.check("10.5.8")
			if tr.refused > 0 {
				t.Errorf("%d writes were refused", tr.refused)
			}

			password, err := database.ReadPassword(s.layout, f.site.ID)
			ok(t, err)
			root := s.outside(t)
			s.resident(t, root, "default", fmt.Sprintf(
				"$databases['default']['default'] = ['driver' => '%s', 'database' => '%s', 'username' => '%s', 'password' => '%s', 'host' => '%s', 'port' => '%d'];",
				c.driver, f.site.Database.Name, f.site.Database.User, password, c.server.Host, c.server.Port))
			found, log := s.find(t, root)
			site := found["default"]
			if site.Problem != "" || site.Profile != "standard" || site.Title != "Harbour" || site.Database != f.site.Database.Name {
				t.Fatalf("found %+v\n%s", site, log)
			}
			create(all[3], func(log *record) (models.Database, error) {
				return h.Clone(t.Context(), models.Origin{Found: &site}, all[3].site, all[3].from, log)
			})
			if strings.Contains(log.String(), password) {
				t.Error("the password came out")
			}
			for i, version := range []string{"10.5.8", "10.6.2", "10.5.8", "10.5.8"} {
				all[i].whole(version, nil, all[i].from)
				all[i].holds("in all of them")
				ok(t, h.Verify(t.Context(), all[i].site, all[i].from, &record{}))
			}

			n := s.fresh(t, tidepool.V1058)
			if _, err := s.host.Clone(t.Context(), models.Origin{Backup: &b}, n.site, n.from, &record{}); models.CodeOf(err) != models.Invalid || !strings.Contains(err.Error(), "same kind") {
				t.Errorf("a backup of another kind of database gave %v", err)
			}
			ok(t, s.host.Delete(t.Context(), n.site, nil, &record{}))
			for _, each := range all {
				ok(t, h.Delete(t.Context(), each.site, []models.Platform{each.from}, &record{}))
				each.gone()
				if left, err := engine.Databases(t.Context(), each.site); err != nil || len(left) > 0 {
					t.Errorf("databases %v are left: %v", left, err)
				}
			}
			ok(t, h.DropBackup(t.Context(), b))
			if _, err := os.Stat(b.Path); !os.IsNotExist(err) {
				t.Errorf("the backup is left: %v", err)
			}
		})
	}
}
