package fleet_test

import (
	"strings"
	"testing"

	"hefring/internal/fleet"
	"hefring/models"
)

// Names are found in capitals or not; of two that differ in nothing else the exact one
// is meant. The record of changes finds them as the use cases do.
func TestFleet_Named_CapitalsDoNotMatter(t *testing.T) {
	each(t, func(w *world) {
		_, _, sites := w.behind("ours.example.org")
		site := sites[0]
		p, err := w.fleet.Platform(w.ctx, site.PlatformID)
		ok(w.T, err)
		d, err := w.fleet.Distribution(w.ctx, p.DistributionID)
		ok(w.T, err)
		_, err = w.fleet.SaveClient(w.ctx, "ada", models.Client{Name: "Museum"})
		ok(w.T, err)
		_, _, err = w.fleet.SaveChannel(w.ctx, "ada", models.Channel{Name: "All", Kind: models.ChannelEmail, Target: "ada@example.org", Causes: models.Causes()}, "")
		ok(w.T, err)
		for _, name := range []string{"main", "Main"} {
			ok(w.T, w.SaveDatabaseServer(w.ctx, "ada", &models.DatabaseServer{Name: name, Engine: models.EngineMySQL, TLS: models.TLSOff}))
		}
		for what, find := range map[string]func(name string) error{
			site.URI: func(name string) error { _, err := w.fleet.SiteNamed(w.ctx, name); return err },
			p.Name:   func(name string) error { _, err := w.fleet.PlatformNamed(w.ctx, name); return err },
			d.Slug:   func(name string) error { _, err := w.fleet.DistributionNamed(w.ctx, name); return err },
			"Museum": func(name string) error { _, err := w.fleet.ClientNamed(w.ctx, name); return err },
			"All":    func(name string) error { _, err := w.fleet.ChannelNamed(w.ctx, name); return err },
			"main":   func(name string) error { _, err := w.fleet.DatabaseServerNamed(w.ctx, name); return err },
		} {
			for _, name := range []string{what, strings.ToUpper(what), " " + what} {
				ok(w.T, find(name))
				_, err := w.fleet.Events(w.ctx, fleet.EventFilter{Name: name})
				ok(w.T, err)
			}
			wantCode(w.T, find(what+"x"), models.NotFound)
		}
		for i, name := range []string{"main", "Main"} {
			rows, err := w.fleet.DatabaseServers(w.ctx)
			ok(w.T, err)
			id, err := w.fleet.DatabaseServerNamed(w.ctx, name)
			ok(w.T, err)
			for _, row := range rows {
				if (row.ID == id) != (row.Name == name) {
					w.Errorf("%d: %s is found as %s", i, name, row.Name)
				}
			}
		}
	})
}

// Whoever wants few lines of the record is given them in pages of that size.
func TestFleet_EachEvent_ReadsPagesOfItsLimit(t *testing.T) {
	each(t, func(w *world) {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			_, err := w.fleet.SaveClient(w.ctx, "ada", models.Client{Name: name})
			ok(w.T, err)
		}
		var pages []int
		ok(w.T, w.fleet.EachEvent(w.ctx, fleet.EventFilter{Actor: "ada", Limit: 2}, func(rows []fleet.EventRow) error {
			pages = append(pages, len(rows))
			return nil
		}))
		if len(pages) != 3 || pages[0] != 2 || pages[2] != 1 {
			w.Errorf("read pages of %v", pages)
		}
	})
}
