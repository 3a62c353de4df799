package drupal

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"hefring/models"
)

func TestReal(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	p := models.Platform{ID: 1, Name: "old", Root: "/tmp/dbx/old", Docroot: "web", BuildKey: "o", DrupalVersion: "10.1.2", Profiles: []string{"standard"}}
	q := models.Platform{ID: 2, Name: "new", Root: "/tmp/dbx/new", Docroot: "web", BuildKey: "n", DrupalVersion: "10.2.4", Profiles: []string{"standard"}}
	step := func(name string, f func() error) {
		start := time.Now()
		err := f()
		t.Logf("%s: %v (%v)", name, err, time.Since(start))
	}
	r := b.release(p, b.database("site"))
	d, log := b.drush(r)
	step("install", func() error { return d.Install(ctx, "standard", "Musé 'um\" <b>", "admin") })
	t.Log(log)
	step("status", func() error { s, err := d.Status(ctx); t.Log(s); return err })
	step("again", func() error { return b.drupal.WriteRelease(ctx, r) })
	rel := r.dir(b.layout)
	es, _ := os.ReadDir(rel)
	for _, e := range es {
		i, _ := e.Info()
		t.Log(e.Name(), i.Mode())
	}
	gl, _ := filepath.Glob(b.layout.Dir(7) + "/*/*")
	t.Log(gl)
	step("check", func() error { return b.engine.Check(ctx, r.Database) })
	a := b.release(q, b.copyOf(r.Database, "compare-1"))
	a.Aside = "compare-1"
	ad, _ := b.drush(a)
	step("compare", func() error { u, bl, err := Compare(ctx, d, ad); t.Log(len(u), u[:min(5, len(u))], bl); return err })
	m, _ := d.Modules(ctx)
	am, _ := ad.Modules(ctx)
	t.Log(len(m), m["block"], am["block"], am["claro"])
	to := b.release(q, b.copyOf(r.Database, "upgrade-1"))
	td, tl := b.drush(to)
	step("update", func() error { return td.UpdateDatabase(ctx, false) })
	t.Log(tl)
	step("rebuild", func() error { return td.Rebuild(ctx) })
	step("status", func() error { s, err := td.Status(ctx); t.Log(s); return err })
	step("maint", func() error { m, err := td.Maintenance(ctx); t.Log(m); return err })
	step("setmaint", func() error { return td.SetMaintenance(ctx, true) })
	step("maint", func() error { m, err := td.Maintenance(ctx); t.Log(m); return err })
	step("link", func() error { l, err := td.LoginLink(ctx, "http://museum.example.org:8080"); t.Log(l); return err })
	back := b.release(p, b.copyOf(to.Database, "compare-2"))
	back.Aside = "compare-2"
	back.Platform.DrupalVersion = "10.9"
	bd, _ := b.drush(back)
	step("compare back", func() error { u, bl, err := Compare(ctx, td, bd); t.Log(len(u), bl); return err })
	c := comparison{from: td, to: bd}
	step("schemas", func() error { err := c.schemas(ctx); t.Log(c.blockers); return err })
	step("remove", func() error { return b.drupal.RemoveRelease(ctx, r) })
	step("remove", func() error { return b.drupal.RemoveRelease(ctx, a) })
	step("remove", func() error { return b.drupal.RemoveRelease(ctx, to) })
	step("remove", func() error { return b.drupal.RemoveRelease(ctx, back) })
	es2, _ := os.ReadDir("/tmp/dbx/new/web/sites")
	t.Log(es2)
}
