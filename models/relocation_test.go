package models

import "testing"

func TestRelocation_Sound(t *testing.T) {
	file := Database{Engine: EngineSQLite, Name: "/data/sites/7/db/site.sqlite"}
	server := Database{Engine: EnginePostgres, Name: "hefring_7_site", Server: 2, User: "hefring_7"}
	for name, one := range map[string]struct {
		was, is Database
		backups string
		sound   bool
	}{
		"nothing yet":          {file, Database{}, "", true},
		"a file":               {file, Database{Engine: EngineSQLite, Name: "/srv/hefring/sites/7/db/site.sqlite"}, "/srv/hefring/backups/7", true},
		"the same database":    {server, server, "/srv/backups/7", true},
		"another site's file":  {file, Database{Engine: EngineSQLite, Name: "/srv/hefring/sites/9/db/site.sqlite"}, "", false},
		"a way around":         {file, Database{Engine: EngineSQLite, Name: "/srv/sites/9/db/../../7/db/site.sqlite"}, "", false},
		"no database":          {file, Database{Engine: EngineSQLite, Name: "/srv/sites/7/private/x.txt"}, "", false},
		"another database":     {server, Database{Engine: EnginePostgres, Name: "hefring_9_site", Server: 2, User: "hefring_9"}, "", false},
		"a file for a server":  {server, file, "", false},
		"a server for a file":  {file, server, "", false},
		"others' backups":      {file, file, "/srv/backups/9", false},
		"backups from a where": {file, file, "backups/7", false},
	} {
		r := Relocation{SiteID: 7, Site: Site{URI: "museum.example.org", Database: one.was}, Database: one.is, Backups: one.backups}
		if err := r.Sound(); (err == nil) != one.sound {
			t.Errorf("%s: %v", name, err)
		}
	}
}
