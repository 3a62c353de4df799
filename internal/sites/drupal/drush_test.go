package drupal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/tidepool"
	"hefring/models"
)

// local writes the person's own settings of the site.
func (b *bench) local(code string) {
	b.t.Helper()
	writeFile(b.t, filepath.Join(b.layout.Dir(b.site.ID), localSettings), "<?php\n"+code)
}

// eval runs PHP in the site and gives the "answer" that it prints.
func eval(t *testing.T, d *Drush, code string) any {
	t.Helper()
	var got struct{ Answer any }
	if err := d.eval(testContext(t), code+` print "\n" . json_encode(["answer" => $answer]) . "\n";`, &got); err != nil {
		t.Fatal(err)
	}
	return got.Answer
}

func TestDrupal_Drush_WhereItLies(t *testing.T) {
	t.Parallel()
	program := "#!/usr/bin/env php\n"
	for name, c := range map[string]struct {
		put  func(b *bench, p *models.Platform) error
		want string // below the platform; "" means that it is refused
		says string
	}{
		"above":      {func(*bench, *models.Platform) error { return nil }, "vendor/bin/drush", ""},
		"as docroot": {func(_ *bench, p *models.Platform) error { p.Docroot = ""; return nil }, "vendor/bin/drush", ""},
		"beside": {func(b *bench, p *models.Platform) error {
			writeFile(b.t, filepath.Join(p.Root, "web/vendor/bin/drush"), program)
			return os.Chmod(filepath.Join(p.Root, "web/vendor/bin/drush"), 0o755)
		}, "web/vendor/bin/drush", ""},
		"absent": {func(_ *bench, p *models.Platform) error { return os.RemoveAll(filepath.Join(p.Root, "vendor")) }, "", "composer require drush/drush"},
		"only above the platform": {func(_ *bench, p *models.Platform) error {
			p.Root, p.Docroot = filepath.Join(p.Root, "web"), ""
			return nil
		}, "", "composer require drush/drush"},
		"link that leads out": {func(b *bench, p *models.Platform) error {
			file := filepath.Join(p.Root, "vendor/bin/drush")
			writeFile(b.t, filepath.Join(b.root, "evil"), program)
			return errors.Join(os.Remove(file), os.Symlink(filepath.Join(b.root, "evil"), file))
		}, "", "composer require drush/drush"},
		"not executable": {func(_ *bench, p *models.Platform) error {
			return os.Chmod(filepath.Join(p.Root, "vendor/bin/drush"), 0o644)
		}, "", "chmod +x"},
		"platform gone": {func(_ *bench, p *models.Platform) error { return os.RemoveAll(p.Root) }, "", "not where it was"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			r := b.simple()
			root := r.Platform.Root
			if err := c.put(b, &r.Platform); err != nil {
				t.Fatal(err)
			}
			d, err := b.drupal.Drush(r, nil, nil)
			switch {
			case c.want == "" && (models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), c.says)):
				t.Errorf("got %v", err)
			case c.want != "" && (err != nil || d.program != filepath.Join(root, c.want)):
				t.Errorf("got %v, %v", d, err)
			}
		})
	}
}

func TestDrush_Install(t *testing.T) {
	b := newBench(t)
	r := b.simple()
	r.Site.Title = `It's "the" <Museum> $HOME --yes`
	d, log := b.drush(r)
	text := readFile(t, settingsFile(b, r))
	if err := d.Install(testContext(t), "standard", r.Site.Title, "o'neill --x"); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if !strings.Contains(log.String(), "Installation complete.  User name: o'neill --x  User password: [hidden]") {
		t.Errorf("the log says\n%s", log)
	}
	if got := eval(t, d, `$answer = \Drupal::config("system.site")->get("name");`); got != r.Site.Title {
		t.Errorf("title %q", got)
	}
	// Pitfall 21: the ready settings.php is kept, for its config folder exists.
	if readFile(t, settingsFile(b, r)) != text {
		t.Error("settings.php was changed")
	}
	// Once more, over the site that is there.
	if err := d.Install(testContext(t), "minimal", "Again", "admin"); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
}

func TestDrush_Install_Failing(t *testing.T) {
	b := newBench(t)
	d, _ := b.drush(b.simple())
	err := d.Install(testContext(t), "nosuch", "Museum", "admin")
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "nosuch") {
		t.Errorf("got %v", err)
	}
	if err := d.Install(testContext(t), "--help", "Museum", "admin"); models.CodeOf(err) != models.Invalid {
		t.Errorf("got %v", err)
	}
}

// Pitfall 21: without its config folder the installer changes settings.php;
// the folder is made before, and the file is out of its reach.
func TestDrush_Install_Pitfall21_SettingsKept(t *testing.T) {
	b := newBench(t)
	r := b.simple()
	d, _ := b.drush(r)
	if err := os.RemoveAll(b.layout.Config(7)); err != nil {
		t.Fatal(err)
	}
	b.write(r)
	salt, text := readFile(t, b.layout.Salt(7)), readFile(t, settingsFile(b, r))
	if err := d.Install(testContext(t), "standard", "Museum", "admin"); err != nil {
		t.Fatal(err)
	}
	if readFile(t, settingsFile(b, r)) != text || readFile(t, b.layout.Salt(7)) != salt {
		t.Error("the installer changed the settings")
	}
}

// Pitfall 22: what Drush writes belongs to the web user.
func TestDrush_Install_Pitfall22_FilesOfTheWebUser(t *testing.T) {
	b := newBench(t)
	b.installed()
	web := os.Geteuid()
	if id := b.runner.Identity(); id != nil {
		web = int(id.UID)
	}
	for _, dir := range []string{b.layout.Files(7), b.layout.Databases(7)} {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 {
			t.Fatalf("%s: %v, %v", dir, entries, err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err != nil || ownerOf(info) != web {
				t.Errorf("%s in %s does not belong to the web user (%v)", e.Name(), dir, err)
			}
		}
	}
}

// Pitfall 6: Drush exits with 0 for a site it does not know, for a wrong
// database, and for another site.
func TestDrush_Status_Pitfall06_OnlySuccessfulCounts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(b *bench, r *Release) error
		says  string
	}{
		"unknown site":   {func(_ *bench, r *Release) error { return os.Remove(r.link()) }, ""},
		"no database":    {func(b *bench, r *Release) error { return b.engine.Drop(b.t.Context(), r.Database) }, ""},
		"empty database": {func(_ *bench, r *Release) error { return os.Truncate(r.Database.Name, 0) }, "no successful bootstrap"},
		"not a database": {func(_ *bench, r *Release) error { return os.WriteFile(r.Database.Name, make([]byte, 8192), 0o644) }, ""},
		"other database": {func(b *bench, _ *Release) error {
			b.local(`$databases['default']['default']['database'] = '` + b.copyOf(models.Database{Engine: "sqlite", Name: b.layout.Databases(7) + "/site.sqlite"}, "other").Name + `';`)
			return nil
		}, "instead of"},
		"fatal settings":  {func(b *bench, _ *Release) error { b.local("this is no PHP;"); return nil }, ""},
		"exits with zero": {func(b *bench, _ *Release) error { b.local("exit(0);"); return nil }, "answered nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			d, r := b.installed()
			if s, err := d.Status(testContext(t)); err != nil || s.DrupalVersion != "10.5.8" || s.Profile != "standard" {
				t.Fatalf("before: %+v, %v", s, err)
			}
			if err := c.spoil(b, &r); err != nil {
				t.Fatal(err)
			}
			_, err := d.Status(testContext(t))
			if models.CodeOf(err) != models.Unavailable || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// With a site in sites/default an unknown name is answered from there, with a
// successful bootstrap.
func TestDrush_Status_Pitfall06_AnswerOfAnotherSite(t *testing.T) {
	b := newBench(t)
	d, r := b.installed()
	if err := errors.Join(
		os.RemoveAll(filepath.Join(r.Docroot(), "sites/default")),
		os.Rename(r.link(), filepath.Join(r.Docroot(), "sites/default")),
	); err != nil {
		t.Fatal(err)
	}
	_, err := d.Status(testContext(t))
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), `"sites/default" instead of sites/museum.example.org`) {
		t.Errorf("got %v", err)
	}
}

func TestDrush_Status_NoiseOfPHP(t *testing.T) {
	b := newBench(t)
	d, _ := b.installed()
	b.local(`print "PHP Deprecated:  Foo [bar] in {x}\n[warning] {\n"; register_shutdown_function(function () { print "\nPHP Notice: {late}\n"; });`)
	if s, err := d.Status(testContext(t)); err != nil || s.DrupalVersion != "10.5.8" {
		t.Errorf("status %+v, %v", s, err)
	}
	if m, err := d.Modules(testContext(t)); err != nil || !m["node"].Enabled || m["node"].Type != "module" {
		t.Errorf("modules %+v, %v", m, err)
	}
	if p, err := d.PendingUpdates(testContext(t)); err != nil || len(p) != 0 {
		t.Errorf("pending %+v, %v", p, err)
	}
	if on, err := d.Maintenance(testContext(t)); err != nil || on {
		t.Errorf("maintenance %v, %v", on, err)
	}
}

func TestDrush_Status_TooMuchOutput(t *testing.T) {
	b := newBench(t)
	d, _ := b.installed()
	b.local(`print str_repeat("noise\n", 4000000);`)
	if _, err := d.Status(testContext(t)); err == nil {
		t.Error("24 MB of noise were taken for an answer")
	}
}

// Pitfall 23: Drush does not start without a home; it gets one it may write.
func TestDrush_Pitfall23_Home(t *testing.T) {
	b := newBench(t)
	d, _ := b.installed()
	home := eval(t, d, `$answer = getenv("HOME"); file_put_contents("$answer/probe", "x");`)
	if home != b.layout.Temp(7) || readFile(t, filepath.Join(b.layout.Temp(7), "probe")) != "x" {
		t.Errorf("home %v", home)
	}
}

func TestDrush_Sandbox(t *testing.T) {
	b := newBench(t)
	d, r := b.installed()
	l := b.layout
	other := filepath.Join(l.Dir(8), "hash_salt")
	writeFile(t, other, "secret of another site")
	attempts := `$answer = [];
foreach (%s as $path) { if (@file_put_contents($path, "x") !== FALSE) { $answer[] = $path; } }
if (@file_get_contents("` + other + `") !== FALSE) { $answer[] = "another site"; }
@unlink("` + r.link() + `"); @rename("` + settingsFile(b, r) + `", "` + l.Files(7) + `/x");`
	paths := []string{
		filepath.Join(r.Platform.Root, "x"), filepath.Join(r.Docroot(), "sites", "sites.php"), settingsFile(b, r), l.Salt(7),
		filepath.Join(l.Dir(7), localSettings), filepath.Join(l.Run(7), "x"), l.Current(7), filepath.Join(l.Files(7), "allowed"),
	}
	got := eval(t, d, strings.Replace(attempts, "%s", list(paths), 1))
	if written, ok := got.([]any); !ok || len(written) != 1 || written[0] != filepath.Join(l.Files(7), "allowed") {
		t.Errorf("Drush wrote or read %v", got)
	}
	if _, err := d.Status(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestDrush_Sandbox_AsideKeepsContent(t *testing.T) {
	b := newBench(t)
	_, r := b.installed()
	d := b.aside(r, tidepool.V1062, "10.6.2")
	got := eval(t, d, `$answer = @file_put_contents("`+b.layout.Files(7)+`/x", "x");`)
	if got != false {
		t.Errorf("a trial wrote into the site's files: %v", got)
	}
}

func TestDrush_Maintenance(t *testing.T) {
	b := newBench(t)
	d, _ := b.installed()
	for _, on := range []bool{true, false} {
		if err := d.SetMaintenance(testContext(t), on); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Maintenance(testContext(t)); err != nil || got != on {
			t.Errorf("maintenance %v, %v, want %v", got, err, on)
		}
	}
	for value, want := range map[string]bool{`TRUE`: true, `FALSE`: false, `"1"`: true, `"0"`: false, `""`: false, `NULL`: false} {
		eval(t, d, `\Drupal::state()->set("system.maintenance_mode", `+value+`); $answer = 1;`)
		if got, err := d.Maintenance(testContext(t)); err != nil || got != want {
			t.Errorf("%s: maintenance %v, %v, want %v", value, got, err, want)
		}
	}
}

func TestDrush_Rebuild(t *testing.T) {
	b := newBench(t)
	d, _ := b.installed()
	log, ok := d.out.(*record)
	if !ok {
		t.Fatal("no log")
	}
	if err := d.Rebuild(testContext(t)); err != nil || !strings.Contains(log.String(), "Cache rebuild complete") {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestDrush_LoginLink(t *testing.T) {
	b := newBench(t)
	d, _ := b.installed()
	log, ok := d.out.(*record)
	if !ok {
		t.Fatal("no log")
	}
	base := "http://museum.example.org:8080"
	link, err := d.LoginLink(testContext(t), base)
	if err != nil || !strings.HasPrefix(link, base+"/user/reset/1/") {
		t.Errorf("%q, %v", link, err)
	}
	if strings.Contains(log.String(), "/user/reset/") {
		t.Error("the link is in the log")
	}
	for _, bad := range []string{"", "museum.example.org", "file:///etc", "--help", "http://"} {
		if _, err := d.LoginLink(testContext(t), bad); models.CodeOf(err) != models.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDrush_CancelledContext(t *testing.T) {
	b := newBench(t)
	d, _ := b.installed()
	stop := errors.New("taken over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := d.Status(ctx); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if _, err := Compare(ctx, d, d); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
