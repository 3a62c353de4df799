package host_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/tidepool"
	"hefring/internal/tree"
	"hefring/models"
)

// outside makes a code base that Hefring does not own and gives its
// folder.
func (s *server) outside(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "project")
	ok(t, tidepool.Write(root, tidepool.V1058))
	return root
}

// resident puts an installed site into sites/<folder> of such a code base, with
// its database among its public files, as Drupal proposes.
func (s *server) resident(t *testing.T, root, folder, settings string) {
	t.Helper()
	dir := filepath.Join(root, "web", "sites", folder)
	ok(t, os.MkdirAll(filepath.Join(dir, "files", "php", "twig"), 0o755))
	ok(t, os.MkdirAll(filepath.Join(dir, "files", "private"), 0o755))
	ok(t, os.WriteFile(filepath.Join(dir, "files", ".ht.sqlite"), s.template(t, tidepool.V1058), 0o644))
	ok(t, os.WriteFile(filepath.Join(dir, "files", "picture.jpg"), []byte("picture"), 0o644))
	ok(t, os.WriteFile(filepath.Join(dir, "files", "php", "twig", "x.php"), []byte("<?php"), 0o644))
	ok(t, os.WriteFile(filepath.Join(dir, "files", "private", "letter.pdf"), []byte("letter"), 0o644))
	ok(t, os.WriteFile(filepath.Join(dir, "settings.php"), []byte("<?php\n"+settings), 0o644))
}

const usualSettings = `
$databases['default']['default'] = ['driver' => 'sqlite', 'database' => $site_path . '/files/.ht.sqlite', 'prefix' => ''];
$settings['hash_salt'] = 'salt of the old site';
$settings['file_private_path'] = $app_root . '/' . $site_path . '/files/private';
if (file_exists(__DIR__ . '/settings.local.php')) {
  include __DIR__ . '/settings.local.php';
}
`

// manifest is a tree as it is, with owners and times.
func manifest(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	m, err := tree.Scan(t.Context(), root, tree.Options{}, false)
	ok(t, err)
	b.Write(m.Text())
	ok(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, path, info.ModTime().UnixNano(), info.Mode())
		return nil
	}))
	return b.String()
}

func (s *server) find(t *testing.T, root string) (map[string]models.FoundSite, *record) {
	t.Helper()
	log := &record{}
	list, err := s.host.Find(t.Context(), root, log)
	ok(t, err)
	found := map[string]models.FoundSite{}
	for _, site := range list {
		found[site.Folder] = site
	}
	return found, log
}

func TestHost_Find_Clone_AdoptsWithoutChange(t *testing.T) {
	t.Parallel()
	s := serve(t)
	root := s.outside(t)
	s.resident(t, root, "default", usualSettings)
	s.resident(t, root, "blog.example.org", usualSettings)
	local := filepath.Join(root, "web", "sites", "default", "settings.local.php")
	ok(t, os.WriteFile(local, []byte(`<?php $settings['config_sync_directory'] = '../config/sync';`), 0o644))
	ok(t, os.MkdirAll(filepath.Join(root, "config", "sync"), 0o755))
	ok(t, os.WriteFile(filepath.Join(root, "config", "sync", "system.site.yml"), []byte("name: x"), 0o644))
	ok(t, os.WriteFile(filepath.Join(root, "web", "sites", "sites.php"), []byte(`<?php $sites = ['8080.old.example.org' => 'default', 'museum.example.org' => 'default', 'x' => 'none'];`), 0o644))
	before := manifest(t, root)

	found, log := s.find(t, root)
	d, b := found["default"], found["blog.example.org"]
	if len(found) != 2 || d.Problem != "" || b.Problem != "" {
		t.Fatalf("found %+v\n%s", found, log)
	}
	if d.URI != "museum.example.org" && d.URI != "8080.old.example.org" || b.URI != "blog.example.org" {
		t.Errorf("addresses %q and %q", d.URI, b.URI)
	}
	if d.DrupalVersion != "10.5.8" || d.Profile != "standard" || d.Title != "Harbour" || d.Engine != models.EngineSQLite || d.Docroot != "web" ||
		d.Database != filepath.Join(root, "web/sites/default/files/.ht.sqlite") || d.Bytes == 0 {
		t.Errorf("found %+v", d)
	}
	if after := manifest(t, root); after != before {
		t.Error("looking changed the code base")
	}

	c := s.fresh(t, tidepool.V1062)
	c.site.URI = "adopted." + c.site.URI
	c.clone(models.Origin{Found: &d})
	c.whole("10.6.2", []string{"site.sqlite"}, c.from)
	files := c.layout.Files(c.site.ID)
	if got := read(t, filepath.Join(files, "picture.jpg")); got != "picture" {
		t.Errorf("the file is %q", got)
	}
	if got := read(t, filepath.Join(c.layout.Private(c.site.ID), "letter.pdf")); got != "letter" {
		t.Errorf("the private file is %q", got)
	}
	if got := read(t, filepath.Join(c.layout.Config(c.site.ID), "system.site.yml")); got != "name: x" {
		t.Errorf("the configuration is %q", got)
	}
	for _, name := range []string{".ht.sqlite", "php/twig/x.php", "private"} {
		if _, err := os.Lstat(filepath.Join(files, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was copied to the public files: %v", name, err)
		}
	}
	if read(t, c.layout.Salt(c.site.ID)) == "salt of the old site" {
		t.Error("the new site has the old salt")
	}
	if after := manifest(t, root); after != before {
		t.Error("adopting changed the code base")
	}
	d.Folder = "../default"
	n := s.fresh(t, tidepool.V1062)
	if _, err := s.host.Clone(t.Context(), models.Origin{Found: &d}, n.site, n.from, &record{}); models.CodeOf(err) != models.Invalid {
		t.Errorf("a folder that climbs gave %v", err)
	}
}

// Settings of strangers are programs.
func TestHost_Find_HostileSettings_AreProblems(t *testing.T) {
	t.Parallel()
	s := serve(t)
	root := s.outside(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer func() { _ = listener.Close() }()
	called := make(chan struct{}, 1)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_ = conn.Close()
			called <- struct{}{}
		}
	}()
	secret := filepath.Join(t.TempDir(), "secret.sqlite")
	ok(t, os.WriteFile(secret, s.template(t, tidepool.V1058), 0o600))
	elsewhere := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(elsewhere, "more.php"), []byte("<?php"), 0o644))
	cases := map[string]struct{ settings, problem string }{
		"loops":      {"while (TRUE) {}", "does not end"},
		"dies":       {"die('bye');", "ends PHP"},
		"fails":      {"throw new Exception('no way');", "no way"},
		"unparsable": {"$x = ;", "syntax error"},
		"recurses":   {"function f() { f(); } f();", "fails"},
		"greedy":     {"$x = 'x'; while (TRUE) { $x .= $x; }", "fails"},
		"talkative":  {"while (ob_get_level()) { ob_end_clean(); } while (TRUE) { print str_repeat('x', 100000); }", "prints without end"},
		"forges":     {"while (ob_get_level()) { ob_end_clean(); } print \"\\n{}\\n\";" + usualSettings, "ends PHP"},
		"environment": {
			"$databases['default']['default'] = ['driver' => getenv('DB'), 'database' => getenv('NAME')];",
			"name no database",
		},
		"home": {
			fmt.Sprintf("$s = @fsockopen('127.0.0.1', %d, $e, $m, 2); if (!$s) { throw new Exception('nobody answers'); }", listener.Addr().(*net.TCPAddr).Port),
			"nobody answers",
		},
		"writes":    {"if (file_put_contents(__DIR__ . '/x', 'x') === FALSE) { throw new Exception('read-only'); }", "read-only"},
		"programs":  {"exec('touch ' . __DIR__ . '/y'); throw new Exception(is_file(__DIR__ . '/y') ? 'written' : 'not written');", "not written"},
		"missing":   {"include '" + elsewhere + "/more.php'; if (!function_exists('z')) { require '" + elsewhere + "/more.php'; }", "Failed opening"},
		"prefix":    {"$databases['default']['default'] = ['driver' => 'sqlite', 'database' => 'x', 'prefix' => 'p_'];", "prefix"},
		"oracle":    {"$databases['default']['default'] = ['driver' => 'oracle', 'database' => 'x'];", `"oracle"`},
		"greed":     {"$databases['default']['default'] = ['driver' => 'sqlite', 'database' => '" + secret + "'];", "outside of"},
		"passwd":    {usualSettings + "$settings['file_private_path'] = '/etc';", "outside of"},
		"climbs":    {usualSettings + "$settings['file_public_path'] = '../../..';", "outside of"},
		"nowhere":   {"$databases['default']['default'] = ['driver' => 'sqlite', 'database' => 'sites/none.sqlite'];", "cannot be found"},
		"unreached": {"$databases['default']['default'] = ['driver' => 'mysql', 'database' => 'x', 'username' => 'u', 'password' => 'top-secret', 'host' => '127.0.0.1', 'port' => 1];", "cannot be read"},
		"empty":     {"", "name no database"},
		"odd":       {"$databases = 'x'; $settings = 7; $config_directories = NULL; $conf = new stdClass();", "name no database"},
		"binary":    {"$databases['default']['default'] = ['driver' => \"\\xff\", 'database' => 'x'];", "no text"},
	}
	for name, c := range cases {
		s.resident(t, root, name, c.settings)
	}
	s.resident(t, root, "unreadable", usualSettings)
	cases["unreadable"] = struct{ settings, problem string }{"", "may not read it"}
	ok(t, os.Chmod(filepath.Join(root, "web/sites/unreadable/settings.php"), 0))
	s.resident(t, root, "damaged", usualSettings)
	cases["damaged"] = struct{ settings, problem string }{"", "cannot be read"}
	ok(t, os.WriteFile(filepath.Join(root, "web/sites/damaged/files/.ht.sqlite"), []byte("no database at all, but long enough to look at"), 0o644))
	s.resident(t, root, "good.example.org", "print 'hello'; echo '{}';"+usualSettings)
	before := manifestBut(t, root, "unreadable")

	found, log := s.find(t, root)
	if len(found) != len(cases)+1 {
		t.Errorf("found %d of %d", len(found), len(cases)+1)
	}
	for name, c := range cases {
		if got := found[name].Problem; !strings.Contains(got, c.problem) {
			t.Errorf("%s: problem %q, want %q", name, got, c.problem)
		}
	}
	if good := found["good.example.org"]; good.Problem != "" || good.Profile != "standard" {
		t.Errorf("found %+v", good)
	}
	if strings.Contains(log.String(), "top-secret") || strings.Contains(fmt.Sprint(found), "top-secret") {
		t.Error("the password came out")
	}
	select {
	case <-called:
		t.Error("the settings reached the network")
	default:
	}
	if manifestBut(t, root, "unreadable") != before {
		t.Error("looking changed the code base")
	}
	greed := found["greed"]
	c := s.fresh(t, tidepool.V1058)
	if _, err := s.host.Clone(t.Context(), models.Origin{Found: &greed}, c.site, c.from, &record{}); models.CodeOf(err) != models.Invalid {
		t.Errorf("adopting what lies outside gave %v", err)
	}
}

// manifestBut leaves out one site, which nobody but root could read.
func manifestBut(t *testing.T, root, folder string) string {
	t.Helper()
	path := filepath.Join(root, "web/sites", folder, "settings.php")
	ok(t, os.Chmod(path, 0o400))
	text := manifest(t, root)
	ok(t, os.Chmod(path, 0))
	return text
}

func TestHost_Find_Refuses(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for root, code := range map[string]models.Code{
		"relative": models.Invalid, "/": models.Invalid, s.Base: models.Invalid, s.layout.Root: models.Invalid,
		filepath.Dir(s.Base): models.Invalid, "/nowhere/at/all": models.NotFound, t.TempDir(): models.NotFound,
	} {
		if _, err := s.host.Find(t.Context(), root, &record{}); models.CodeOf(err) != code {
			t.Errorf("%s gave %v", root, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCancelled)
	if _, err := s.host.Find(ctx, s.outside(t), &record{}); !errors.Is(err, errCancelled) {
		t.Errorf("a cancelled search gave %v", err)
	}
}
