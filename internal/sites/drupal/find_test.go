package drupal

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/models"
)

func code(t *testing.T, dir, file, text string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, file), text)
	writeFile(t, filepath.Join(dir, "index.php"), "<?php\n")
}

func TestCodeVersion(t *testing.T) {
	t.Parallel()
	for want, c := range map[string][2]string{
		"10.5.8":     {"core/lib/Drupal.php", "<?php\nclass Drupal {\n  const VERSION = '10.5.8';\n"},
		"11.2.0-dev": {"core/lib/Drupal.php", "<?php\nclass Drupal {\n  public const VERSION = \"11.2.0-dev\";\n"},
		"7.103":      {"includes/bootstrap.inc", "<?php\ndefine('VERSION', '7.103');\n"},
		"":           {"includes/bootstrap.inc", "<?php\ndefine('VERSION', '6.38');\n"},
	} {
		dir := t.TempDir()
		code(t, dir, c[0], c[1])
		got, err := CodeVersion(dir)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", c[1], got, err)
		}
	}
}

func TestDocroots_TwoLevels(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"a/web", "b", "vendor/x", ".hidden", "c/d/e", "b/core/tests/web"} {
		code(t, filepath.Join(root, dir), "core/lib/Drupal.php", "<?php\n const VERSION = '10.5.8';\n")
	}
	got, err := Docroots(t.Context(), root)
	if err != nil || !slices.Equal(got, []string{"a/web", "b"}) {
		t.Errorf("%v %v", got, err)
	}
	if got, err = Docroots(t.Context(), filepath.Join(root, "b")); err != nil || !slices.Equal(got, []string{""}) {
		t.Errorf("%v %v", got, err)
	}
}

func TestSiteFolders_LinksAreOtherNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"default", "b.example.org", "all", "simpletest"} {
		writeFile(t, filepath.Join(dir, "sites", name, "settings.php"), "<?php\n")
	}
	writeFile(t, filepath.Join(dir, "sites", "empty", "x"), "")
	writeFile(t, filepath.Join(dir, "shared", "settings.php"), "<?php\n")
	for name, target := range map[string]string{"a.example.org": "b.example.org", "c.example.org": "../shared", "d.example.org": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, "sites", name)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := SiteFolders(dir)
	if err != nil || !slices.Equal(got, []string{"b.example.org", "c.example.org", "default"}) {
		t.Errorf("%v %v", got, err)
	}
	if got, err := SiteFolders(t.TempDir()); err != nil || got != nil {
		t.Errorf("%v %v", got, err)
	}
}

// What Drupal 7 and later say, in all the ways that their settings have.
func TestDrupal_ReadSettings(t *testing.T) {
	t.Parallel()
	var config run.Config
	if id := webUser(t); id != nil {
		config.Identity = id
	}
	d := New(sites.Layout{Root: t.TempDir()}, run.New(config), nil)
	for name, c := range map[string]struct {
		settings string
		want     Outside
	}{
		"seven": {
			`$databases = array('default' => array('default' => array('driver' => 'mysql', 'database' => 'd7', 'username' => 'u', 'password' => "p'\\w", 'host' => 'db', 'port' => '3307', 'prefix' => '')));
$base_url = 'http://Old.Example.org:8080/sub'; $conf['file_public_path'] = 'sites/default/f'; $conf['file_private_path'] = '/var/private'; require_once DRUPAL_ROOT . '/includes/nothing.inc.php';`,
			Outside{
				Database: database.Foreign{Engine: models.EngineMySQL, Name: "d7", User: "u", Password: `p'\w`, Host: "db", Port: 3307},
				Public:   "ROOT/sites/default/f", Private: "/var/private", Hosts: []string{"old.example.org"},
			},
		},
		"socket": {
			`$databases['default']['default'] = ['driver' => 'mysql', 'database' => 'x', 'unix_socket' => '/run/mysqld/mysqld.sock', 'prefix' => ['default' => '']];
$class_loader->addPsr4('A\\', 'b'); $config_directories['sync'] = '../sync'; if (class_exists('Nothing\Here')) { throw new Exception(); }`,
			Outside{
				Database: database.Foreign{Engine: models.EngineMySQL, Name: "x", Host: "/run/mysqld/mysqld.sock"},
				Public:   "ROOT/sites/default/files", Config: "PARENT/sync",
			},
		},
		"replicas": {
			`$databases['default']['default'][] = ['driver' => 'pgsql', 'database' => 'x', 'port' => 5433];`,
			Outside{Database: database.Foreign{Engine: models.EnginePostgres, Name: "x", Host: "localhost", Port: 5433}, Public: "ROOT/sites/default/files"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := filepath.Join(t.TempDir(), "code")
			docroot := filepath.Join(root, "web")
			writeFile(t, filepath.Join(docroot, "sites/default/settings.php"), "<?php\n"+c.settings)
			writeFile(t, filepath.Join(docroot, "includes/nothing.inc.php"), "<?php\n")
			got, err := d.ReadSettings(t.Context(), models.FoundSite{Root: root, Docroot: "web", Folder: "default"})
			for _, path := range []*string{&c.want.Public, &c.want.Config} {
				*path = strings.Replace(strings.Replace(*path, "ROOT", docroot, 1), "PARENT", root, 1)
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}
