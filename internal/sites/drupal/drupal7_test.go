package drupal

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hefring/internal/run"
	"hefring/internal/sites/database"
	"hefring/models"
)

// drush8 stands in for Drush 8: it says what it was called with, in the padded
// way of its messages, and answers what the file "answer" beside it holds.
const drush8 = `#!/bin/sh
printf '%s\n' "$@" >"$HOME/arguments"
printf 'Updated.%60s[ok]\n' '' >&2
cat "$(dirname "$0")/answer"
`

// seven is a platform of Drupal 7 and a server with a Drush 8.
func (b *bench) seven() models.Platform {
	b.t.Helper()
	b.next++
	root := filepath.Join(b.root, "platforms", "seven")
	writeFile(b.t, filepath.Join(root, "sites", "sites.php"), "<?php\n\n$sites = [];\n")
	writeFile(b.t, filepath.Join(root, "index.php"), "<?php\n")
	b.drupal.Drush8 = filepath.Join(b.root, "drush8", "vendor", "bin", "drush")
	b.answer8(`{"a":1}`)
	b.program(b.drupal.Drush8, drush8)
	return models.Platform{ID: b.next, Name: "seven", Root: root, BuildKey: "key", DrupalVersion: "7.101", Profiles: []string{"standard"}}
}

func (b *bench) answer8(text string) {
	b.t.Helper()
	writeFile(b.t, filepath.Join(filepath.Dir(b.drupal.Drush8), "answer"), text)
}

func (b *bench) program(file, text string) {
	b.t.Helper()
	writeFile(b.t, file, text)
	if err := os.Chmod(file, 0o755); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) arguments() []string {
	b.t.Helper()
	return strings.Split(strings.TrimSpace(readFile(b.t, filepath.Join(b.layout.Temp(7), "arguments"))), "\n")
}

func TestDrush_Drupal7_Commands(t *testing.T) {
	b := newBench(t)
	p := b.seven()
	d, log := b.drush(b.release(p, b.database("site")))
	var got struct{ A int }
	if err := d.eval(testContext(t), `print "x";`, &got); err != nil || got.A != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	want := []string{"php-eval", "--root=" + p.Root, "--uri=museum.example.org", "--yes", "--nocolor", `print "x";`}
	if args := b.arguments(); !slices.Equal(args, want) {
		t.Errorf("php:eval became %q", args)
	}
	if err := d.Rebuild(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if args := b.arguments(); args[0] != "cache-clear" || args[len(args)-1] != "all" {
		t.Errorf("cache:rebuild became %q", args)
	}
	if !strings.Contains(log.String(), "Updated.  [ok]\n") {
		t.Errorf("the log says %q", log)
	}
}

func TestDrush_Drupal7_Maintenance(t *testing.T) {
	b := newBench(t)
	d, _ := b.drush(b.release(b.seven(), b.database("site")))
	for answer, want := range map[string]bool{"true": true, "false": false} {
		b.answer8(`{"system.maintenance_mode":` + answer + `}`)
		if on, err := d.Maintenance(testContext(t)); err != nil || on != want {
			t.Errorf("%s: %v, %v", answer, on, err)
		}
	}
	if err := d.SetMaintenance(testContext(t), true); err != nil {
		t.Fatal(err)
	}
	if args := b.arguments(); args[len(args)-1] != `variable_set("maintenance_mode", 1);` {
		t.Errorf("got %q", args)
	}
}

func TestDrupal_Drush_Drupal7_WhereItLies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		put  func(b *bench, p models.Platform) (want string)
		says string
	}{
		"the server's": {func(b *bench, _ models.Platform) string { return b.drupal.Drush8 }, ""},
		"behind a link": {func(b *bench, _ models.Platform) string {
			program, link := b.drupal.Drush8, filepath.Join(b.root, "drush")
			if err := os.Symlink(program, link); err != nil {
				b.t.Fatal(err)
			}
			b.drupal.Drush8 = link
			return program
		}, ""},
		"the platform's own": {func(b *bench, p models.Platform) string {
			own := filepath.Join(p.Root, "vendor", "bin", "drush")
			b.program(own, drush8)
			return own
		}, ""},
		"none":      {func(b *bench, _ models.Platform) string { b.drupal.Drush8 = ""; return "" }, "needs Drush 8"},
		"relative":  {func(b *bench, _ models.Platform) string { b.drupal.Drush8 = "drush"; return "" }, "absolute path"},
		"not there": {func(b *bench, _ models.Platform) string { b.drupal.Drush8 += "8"; return "" }, "Drush 8 is not at"},
		"not executable": {func(b *bench, _ models.Platform) string {
			b.program(b.drupal.Drush8, "")
			_ = os.Chmod(b.drupal.Drush8, 0o644)
			return ""
		}, "may not be executed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			p := b.seven()
			want := c.put(b, p)
			d, err := b.drupal.Drush(b.release(p, b.database("site")), nil, nil)
			switch {
			case want == "" && !strings.Contains(models.Explain(err), c.says):
				t.Errorf("got %v", err)
			case want != "" && (err != nil || d.program != want):
				t.Errorf("got %+v, %v", d, err)
			}
		})
	}
}

// What Drupal 7 reads is named otherwise: it knows no $settings.
func TestDrupal_WriteRelease_Drupal7_Settings(t *testing.T) {
	b := newBench(t)
	r := b.release(b.seven(), b.database("site"))
	b.write(r)
	var got struct {
		Databases map[string]map[string]map[string]any
		Salt      string
		Conf      map[string]any
	}
	text := php(t, `include $argv[1]; echo json_encode(["databases" => $databases, "salt" => $drupal_hash_salt, "conf" => $conf]);`,
		filepath.Join(r.Platform.Root, "sites/museum.example.org/settings.php"))
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	for key, want := range map[string]any{
		"file_public_path": "sites/museum.example.org/files", "file_private_path": b.layout.Private(7), "file_temporary_path": b.layout.Temp(7),
	} {
		if got.Conf[key] != want {
			t.Errorf("%s = %v, want %v", key, got.Conf[key], want)
		}
	}
	if got.Salt != readFile(t, b.layout.Salt(7)) || len(got.Salt) < 60 {
		t.Errorf("salt %q", got.Salt)
	}
	db := got.Databases["default"]["default"]
	if db["driver"] != "sqlite" || db["database"] != r.Database.Name || db["namespace"] != nil || db["autoload"] != nil {
		t.Errorf("database %v", db)
	}
	// While writes are refused, the site's own cron does not write either.
	if _, set := got.Conf["cron_safe_threshold"]; set {
		t.Error("cron is off although writes are not refused")
	}
	writeFile(t, b.layout.ReadOnly(7), "30\n")
	if off := php(t, `include $argv[1]; echo json_encode($conf["cron_safe_threshold"]);`, settingsFile(b, r)); off != "0" {
		t.Errorf("while writes are refused, cron runs every %s s", off)
	}
}

func TestComplaint_Drush8(t *testing.T) {
	res := run.Result{
		Stdout: []byte(" Bad  7001  7001 -\nDo you wish to run all pending updates? (y/n): y\n"),
		Stderr: []byte("WD php: Error: Call to undefined function undefined_thing()        [error]\n" +
			"Drush command terminated abnormally due to an unrecoverable error.       [error]\n" +
			"'all' cache was cleared.              [success]\nFinished performing updates.             [ok]\n"),
	}
	if got := complaint(res); got != "WD php: Error: Call to undefined function undefined_thing()" {
		t.Errorf("got %q", got)
	}
}

func TestComplaint_Drush8_Uncaught(t *testing.T) {
	res := run.Result{Stderr: []byte("Drush command terminated abnormally due to an unrecoverable error.       [error]\n" +
		"Error: Uncaught Error: Call to undefined function cache_get() in module.inc:763\nStack trace:\n#0 module.inc(963): x()\n  thrown in module.inc, line 763\n" +
		"'all' cache was cleared.              [success]\nFinished performing updates.             [ok]\n")}
	if got := complaint(res); got != "Error: Uncaught Error: Call to undefined function cache_get() in module.inc:763" {
		t.Errorf("got %q", got)
	}
}

func TestGeneration(t *testing.T) {
	for text, want := range map[string]int{"7.101": 7, "7.x-dev": 7, "10.5.8": 10, "8.9.20": 8, "": 0, "x": 0} {
		if got := generation(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// Drupal looks for the folder of the name that it was asked by.
func TestDrupal_WriteRelease_Aliases(t *testing.T) {
	b := newBench(t)
	r := b.simple()
	r.Site.Aliases = []string{"www.museum.example.org", "old.example.org"}
	b.write(r)
	links := func() string {
		entries, err := os.ReadDir(filepath.Join(r.Docroot(), "sites"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			if target, err := os.Readlink(filepath.Join(r.Docroot(), "sites", e.Name())); err == nil && target == r.dir(b.layout) {
				names = append(names, e.Name())
			}
		}
		return strings.Join(names, " ")
	}
	if got := links(); got != "museum.example.org old.example.org www.museum.example.org" {
		t.Errorf("links %s", got)
	}
	if hosts := include(t, settingsFile(b, r)).Settings["trusted_host_patterns"].([]any); len(hosts) != 3 || hosts[2] != `^old\.example\.org$` {
		t.Errorf("hosts %v", hosts)
	}
	trial := r
	trial.Aside = "compare"
	b.write(trial)
	if hosts := include(t, settingsFile(b, trial)).Settings["trusted_host_patterns"].([]any); len(hosts) != 1 {
		t.Errorf("hosts of a trial %v", hosts)
	}
	r.Site.Aliases = []string{"www.museum.example.org"}
	b.write(r)
	if got := links(); got != "museum.example.org www.museum.example.org" {
		t.Errorf("after an alias was taken away: links %s", got)
	}
	if err := b.drupal.RemoveRelease(testContext(t), r); err != nil || links() != "" {
		t.Errorf("after the release was removed: links %s, %v", links(), err)
	}
	r.Site.Aliases = []string{"../../evil"}
	if err := b.drupal.WriteRelease(testContext(t), r); models.CodeOf(err) != models.Invalid {
		t.Errorf("got %v", err)
	}
}

// mysqlEngine only names a connection.
type mysqlEngine struct{ database.Engine }

func (mysqlEngine) PHP(context.Context, models.Database) (database.Settings, error) {
	return database.Settings{
		{Key: "driver", Value: "mysql"},
		{Key: "collation", Value: "utf8mb4_general_ci"},
		{Key: "namespace", Value: `Drupal\mysql\Driver\Database\mysql`},
		{Key: "autoload", Value: "core/modules/mysql/src/Driver/Database/mysql/"},
	}, nil
}

// Drupal 7 connects with utf8 unless it is told otherwise, and MariaDB refuses to
// mix that with a collation of utf8mb4.
func TestDrupal_WriteRelease_Drupal7_Charset(t *testing.T) {
	b := newBench(t)
	p := b.seven()
	b.drupal.engine = mysqlEngine{}
	r := b.release(p, models.Database{Engine: models.EngineMySQL, Name: "x"})
	connection, err := b.drupal.connection(t.Context(), r)
	if charset, _ := connection.Get("charset").(string); err != nil || charset != "utf8mb4" || connection.Get("namespace") != nil {
		t.Errorf("Drupal 7 gets %v, %v", connection, err)
	}
	r.Platform.DrupalVersion = "10.6.2"
	if connection, err := b.drupal.connection(t.Context(), r); err != nil || connection.Get("charset") != nil {
		t.Errorf("Drupal 10 gets %v, %v", connection, err)
	}
}
