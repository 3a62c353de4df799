package platforms_test

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"hefring/internal/platforms"
	"hefring/models"
)

func inspect(t *testing.T, files map[string]string, docroot string) (platforms.Inspection, error) {
	t.Helper()
	s := newStore(t)
	return s.Inspect(t.Context(), staged(t, s, 1, files), docroot)
}

func TestStore_Inspect_Finds(t *testing.T) {
	for _, docroot := range []string{"", "web", "docroot", "html", "public"} {
		for _, setting := range []string{"", docroot} {
			got, err := inspect(t, drupal(docroot), setting)
			if err != nil || got.Docroot != docroot || got.DrupalVersion != "10.6.2" {
				t.Errorf("docroot %q, setting %q: %+v %v", docroot, setting, got, err)
			}
		}
	}
	files := drupal("app/site")
	files["composer.json"] = `{"extra":{"drupal-scaffold":{"locations":{"web-root":"app/site/"}}}}`
	if got, err := inspect(t, files, ""); err != nil || got.Docroot != "app/site" {
		t.Errorf("docroot of composer.json: %+v %v", got, err)
	}
}

func TestStore_Inspect_Packages(t *testing.T) {
	files := drupal("web")
	maps.Copy(files, map[string]string{
		"web/modules/contrib/token/token.info.yml":              "name: Token\ntype: module\nversion: '8.x-1.15'\n",
		"web/modules/contrib/token/tests/t/token_test.info.yml": "name: T\ntype: module\n",
		"web/modules/custom/mine/mine.info.yml":                 "name: Mine\ntype: module\nversion: 1.10\n",
		"web/modules/custom/plain/plain.info.yml":               "name: Plain\ntype: module\n",
		"web/modules/custom/broken/broken.info.yml":             "name: [\n",
		"web/themes/contrib/gin/gin.info.yml":                   "name: Gin\ntype: theme\n",
		"web/profiles/tide/tide.info.yml":                       "name: Tide\ntype: profile\nversion: VERSION\n",
		"web/profiles/tide/modules/reef/reef.info.yml":          "name: Reef\ntype: module\nversion: 2.0.0\n",
		"vendor/composer/installed.json": `{"packages":[
			{"name":"drupal/core","version":"10.6.2","type":"drupal-core"},
			{"name":"drupal/gin","version":"3.0.0","type":"drupal-theme"},
			{"name":"twig/twig","version":"v3.14.0","type":"library"},
			{"name":"drupal/core-recommended","version":"10.6.2","type":"metapackage"}]}`,
	})
	got, err := inspect(t, files, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []models.Package{
		{Name: "drupal", Type: "core", Version: "10.6.2"},
		{Name: "twig/twig", Type: "library", Version: "v3.14.0"},
		{Name: "mine", Type: "module", Version: "1.1"}, // a number to YAML, as Drupal reads it
		{Name: "plain", Type: "module"},
		{Name: "reef", Type: "module", Version: "2.0.0"},
		{Name: "token", Type: "module", Version: "8.x-1.15"},
		{Name: "tide", Type: "profile", Version: "10.6.2"},
		{Name: "gin", Type: "theme", Version: "3.0.0"},
	}
	if !reflect.DeepEqual(got.Packages, want) {
		t.Errorf("packages\n%+v\nwant\n%+v", got.Packages, want)
	}
	if !reflect.DeepEqual(got.Profiles, []string{"standard", "tide"}) {
		t.Errorf("profiles %v", got.Profiles)
	}
}

func TestStore_Inspect_InstalledOfComposer1(t *testing.T) {
	files := drupal("web")
	files["vendor/composer/installed.json"] = `[{"name":"twig/twig","version":"v1.44.0","type":"library"}]`
	got, err := inspect(t, files, "")
	if err != nil || len(got.Packages) != 2 || got.Packages[1].Version != "v1.44.0" {
		t.Errorf("%+v %v", got.Packages, err)
	}
}

func TestStore_Inspect_SaysWhatIsWrong(t *testing.T) {
	without := func(names ...string) map[string]string {
		files := drupal("web")
		for _, name := range names {
			delete(files, name)
		}
		return files
	}
	with := func(files map[string]string, name, text string) map[string]string {
		files[name] = text
		return files
	}
	for name, c := range map[string]struct {
		files   map[string]string
		docroot string
		want    []string
	}{
		"docroot not there":        {drupal("web"), "html", []string{`docroot "html" does not exist`, `"vendor", "web"`}},
		"docroot without index":    {without("web/index.php"), "web", []string{`docroot "web" holds no index.php`, `"core"`}},
		"no index anywhere":        {without("web/index.php"), "", []string{"No docroot was found", `"vendor", "web"`}},
		"docroot leads out":        {drupal("web"), "../..", []string{"does not exist"}},
		"docroot is absolute":      {drupal("web"), "/etc", []string{"does not exist"}},
		"core missing":             {without("web/core/lib/Drupal.php"), "web", []string{"has no Drupal core"}},
		"installers not allowed":   {with(without("web/core/lib/Drupal.php"), "vendor/drupal/core/lib/Drupal.php", "<?php"), "", []string{"vendor/drupal/core", "composer/installers", "allow-plugins"}},
		"composer was not run":     {map[string]string{"composer.json": "{}", "web/index.php": "<?php"}, "", []string{"has no Drupal core", "Run composer install"}},
		"nothing at all":           {map[string]string{}, "", []string{"No docroot was found", "nothing"}},
		"no drush":                 {without("vendor/bin/drush"), "", []string{"vendor/bin/drush is missing", "composer require drush/drush"}},
		"version not named":        {with(drupal("web"), "web/core/lib/Drupal.php", "<?php echo 1;"), "", []string{"names no VERSION"}},
		"version is a hostile one": {with(drupal("web"), "web/core/lib/Drupal.php", "<?php\nconst VERSION = '<script>';"), "", []string{"names no VERSION"}},
	} {
		_, err := inspect(t, c.files, c.docroot)
		t.Run(name, func(t *testing.T) { wantError(t, err, c.want...) })
	}
}

func TestStore_Inspect_HostileFiles(t *testing.T) {
	s := newStore(t)
	files := drupal("web")
	files["web/modules/a/a.info.yml"] = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\ntype: module\n"
	files["web/modules/b/b.info.yml"] = "type: module\nversion: " + strings.Repeat("9", 1<<20) + "\n"
	files["vendor/composer/installed.json"] = strings.Repeat("[", 1<<20)
	dir := staged(t, s, 1, files)
	if err := os.MkdirAll(filepath.Join(dir, "web/modules/c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "web/modules/c/c.info.yml"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(dir, "web/modules/d")); err != nil {
		t.Fatal(err)
	}
	got, err := s.Inspect(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got.Packages {
		if len(p.Version) > 100 {
			t.Errorf("package %s has a version of %d bytes", p.Name, len(p.Version))
		}
	}
}
