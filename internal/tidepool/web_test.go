package tidepool_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/tidepool"
)

func TestWeb_Pages_ShowContentAndVersion(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	w := s.serve(t)
	front := w.statusOf(t, "/", 200)
	contains(t, front.body, "Alpha Harbour", "Welcome to the harbour", "tidepool 10.5.8", "It is not Drupal", "Lantern Point", "#1b6a80")
	if got := front.header.Get("X-Generator"); got != "Drupal 10 (https://www.drupal.org)" {
		t.Errorf("X-Generator is %q", got)
	}
	contains(t, w.statusOf(t, "/node/1", 200).body, "Reading the tide table", "/node/1/comment")
	contains(t, w.statusOf(t, "/user/login", 200).body, `name="pass"`)
	w.statusOf(t, "/node/99", 404)
	w.statusOf(t, "/nothing", 404)
	w.statusOf(t, "/node/add", 403)
	for _, file := range []string{"/core/misc/harbour.svg", "/themes/custom/tide/css/tide.css", "/sites/" + host + "/files/harbour.svg"} {
		w.statusOf(t, file, 200)
	}
}

func TestWeb_Upgrade_VersionAndSchemaVisible(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.V1062, installed(t, tidepool.V1058).database)
	s.must(t, "updatedb", "-y")
	body := s.serve(t).statusOf(t, "/", 200).body
	contains(t, body, "tidepool 10.6.2", "Range", "The harbour office is open every day from the first high water until dusk.", "#3f5aa6")
	lacks(t, body, "#1b6a80")
}

func TestWeb_Comment_InsertsRow(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	w := s.serve(t)
	w.statusOf(t, "/node/1", 200)
	if r := w.ask(t, http.MethodPost, host, "/node/1/comment", "name=Ann&body=Moored+%3Cb%3Esafely"); r.status != 303 || r.header.Get("Location") != "/node/1" {
		t.Errorf("POST: status %d to %q", r.status, r.header.Get("Location"))
	}
	contains(t, w.statusOf(t, "/node/1", 200).body, "Moored &lt;b&gt;safely", "Ann")
	if n := asText(s.query(t, "SELECT COUNT(*) FROM {guestbook_entry}")); n != "1" {
		t.Errorf("%s rows, want 1", n)
	}
	for path, want := range map[string]int{"/node/1/comment": 422, "/node/99/comment": 404} {
		if r := w.ask(t, http.MethodPost, host, path, "body=+"); r.status != want {
			t.Errorf("POST %s: status %d, want %d", path, r.status, want)
		}
	}
}

func TestWeb_OneTimeLink_LogsInOnce(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	w := s.serve(t)
	link := strings.TrimSpace(s.must(t, "user:login", "--no-browser"))
	path, found := strings.CutPrefix(link, "http://"+host)
	if !found {
		t.Fatalf("user:login gave %q", link)
	}
	r := w.statusOf(t, path, 302)
	cookies := (&http.Response{Header: r.header}).Cookies()
	if len(cookies) != 1 {
		t.Fatalf("cookies: %v", cookies)
	}
	contains(t, w.ask(t, http.MethodGet, host, "/user/1", "", cookies...).body, "Signed in as admin")
	if r := w.ask(t, http.MethodPost, host, "/node/add", "title=New+berth&body=Here.", cookies...); r.status != 303 || r.header.Get("Location") != "/node/4" {
		t.Errorf("POST /node/add: status %d to %q", r.status, r.header.Get("Location"))
	}
	w.statusOf(t, path, 403)
	if r := w.ask(t, http.MethodPost, host, "/user/login", "name=admin&pass=secret"); r.status != 302 {
		t.Errorf("login by password: status %d", r.status)
	}
	if r := w.ask(t, http.MethodPost, host, "/user/login", "name=admin&pass=wrong"); r.status != 200 || r.header.Get("Set-Cookie") != "" {
		t.Errorf("login by a wrong password: status %d, cookie %q", r.status, r.header.Get("Set-Cookie"))
	}
}

// Pitfall 19.
func TestWeb_PageCache_HidesBrokenSite(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	w := s.serve(t)
	for _, want := range []string{"MISS", "HIT"} {
		if got := w.statusOf(t, "/", 200).header.Get("X-Drupal-Cache"); got != want {
			t.Errorf("X-Drupal-Cache is %q, want %q", got, want)
		}
	}
	if got := w.statusOf(t, "/?x=1", 200).header.Get("X-Drupal-Cache"); got != "MISS" {
		t.Errorf("with a query: X-Drupal-Cache is %q, want MISS", got)
	}
	s.must(t, "php:eval", `\Drupal::database()->schema()->dropTable("node_field_data")`)
	w.statusOf(t, "/", 200)
	w.statusOf(t, "/?x=2", 500)
	w.statusOf(t, "/user/login?x=2", 200)
	if s.status(t)["bootstrap"] != "Successful" {
		t.Error("Drush notices the dropped table; the real one does not")
	}
}

// Pitfall 16.
func TestWeb_Maintenance_UncachedPages503(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	w := s.serve(t)
	w.statusOf(t, "/", 200)
	s.must(t, "state:set", "system.maintenance_mode", "1", "--input-format=integer")
	w.statusOf(t, "/", 200)
	contains(t, w.statusOf(t, "/?x=1", 503).body, "Alpha Harbour is currently under maintenance")
	// Drupal leaves the login open, so a probe of it alone does not see the mode.
	w.statusOf(t, "/user/login?x=1", 200)
	s.must(t, "state:set", "system.maintenance_mode", "0", "--input-format=integer")
	w.statusOf(t, "/?x=1", 200)
}

// Pitfall 5.
func TestWeb_UnknownHostAndEmptyDatabase_Installer(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.V1058, "")
	w := s.serve(t)
	for _, name := range []string{host, "nobody.test"} {
		if r := w.ask(t, http.MethodGet, name, "/", ""); r.status != 302 || r.header.Get("Location") != "/core/install.php" {
			t.Errorf("%s: status %d to %q", name, r.status, r.header.Get("Location"))
		}
	}
	w.statusOf(t, "/core/install.php", 200)
	s.must(t, "site:install", "minimal", "-y")
	w.statusOf(t, "/", 200)
	if err := os.Remove(filepath.Join(s.root, "web/sites/sites.php")); err != nil {
		t.Fatal(err)
	}
	w.statusOf(t, "/", 302) // Pitfall 4.
}

// Pitfall 7.
func TestWeb_UntrustedHost_400(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	s.put(t, "web/sites/sites.php", "<?php\n$sites = ['alpha.other' => '"+host+"'];\n")
	r := s.serve(t).ask(t, http.MethodGet, "alpha.other", "/", "")
	if r.status != 400 || r.body != "The provided host name is not valid for this server." {
		t.Errorf("status %d: %s", r.status, r.body)
	}
}

func TestWeb_WrongDatabase_500(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.V1058, filepath.Join(t.TempDir(), "missing", "site.sqlite"))
	contains(t, s.serve(t).statusOf(t, "/", 500).body, "The website encountered an unexpected error. Try again later.")
}

func TestWeb_SitePath_PortPrefixSymlinkAndParts(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	sites := filepath.Join(s.root, "web/sites")
	// The folder lives elsewhere and is linked under names that only match by the rules of multisite.
	elsewhere := filepath.Join(t.TempDir(), "shared")
	unprotect(t, s.root)
	if err := os.Rename(filepath.Join(sites, host), elsewhere); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"8088.beta.test", "gamma.test"} {
		if err := os.Symlink(elsewhere, filepath.Join(sites, name)); err != nil {
			t.Fatal(err)
		}
	}
	for uri, want := range map[string]string{
		"http://beta.test:8088": "sites/8088.beta.test", "http://beta.test": "sites/default", "www.gamma.test": "sites/gamma.test",
		"http://www.gamma.test:8088": "sites/gamma.test", "gamma.test": "sites/gamma.test",
	} {
		s.uri = uri
		status := s.status(t)
		if status["site"] != want || (want != "sites/default") != (status["bootstrap"] == "Successful") {
			t.Errorf("%s: site %v, bootstrap %v, want %s", uri, status["site"], status["bootstrap"], want)
		}
	}
}

// moved gives the same release in a second folder, with the same database and deployment identifier as the first.
func moved(t *testing.T) (from, to site) {
	t.Helper()
	const same = `$settings['deployment_identifier'] = 'the same';`
	from = newSite(t, tidepool.V1058, "", same)
	from.must(t, "site:install", "standard", "-y")
	return from, newSite(t, tidepool.V1058, from.database, same)
}

// Pitfall 1.
func TestContainer_SameIdentifierOldPathGone_HalfDead(t *testing.T) {
	t.Parallel()
	from, to := moved(t)
	first := from.serve(t)
	first.statusOf(t, "/", 200)
	unprotect(t, from.root)
	if err := os.RemoveAll(from.root); err != nil {
		t.Fatal(err)
	}
	w := to.serve(t)
	w.statusOf(t, "/", 200)
	w.statusOf(t, "/?x=1", 500)
	r := to.drush(t, "status", "--format=json")
	contains(t, r.out, `"bootstrap": "Successful"`)
	contains(t, r.errout, "[warning] include_once("+from.root+"/web/", "Failed to open stream")
	to.must(t, "cache:rebuild")
	w.statusOf(t, "/?x=1", 200)
	if r := to.drush(t, "status"); strings.Contains(r.errout, "[warning]") {
		t.Errorf("cache:rebuild did not repair the container: %s", r.errout)
	}
}

// Pitfall 1.
func TestContainer_SameIdentifierOldPathThere_RunsOldCode(t *testing.T) {
	t.Parallel()
	from, to := moved(t)
	from.put(t, "web/themes/custom/tide/tide.theme", "<?php function tide_preprocess_page(array &$v): void { $v['motto'] = 'Code of the old folder'; }")
	w := to.serve(t)
	contains(t, w.statusOf(t, "/?x=1", 200).body, "Code of the old folder")
	to.must(t, "cache:rebuild")
	lacks(t, w.statusOf(t, "/?x=1", 200).body, "Code of the old folder")
}

func TestContainer_NewIdentifier_RunsNewCode(t *testing.T) {
	t.Parallel()
	from := installed(t, tidepool.V1058)
	from.put(t, "web/themes/custom/tide/tide.theme", "<?php function tide_preprocess_page(array &$v): void { $v['motto'] = 'Code of the old folder'; }")
	to := newSite(t, tidepool.V1058, from.database)
	lacks(t, to.serve(t).statusOf(t, "/?x=1", 200).body, "Code of the old folder")
}

func TestWeb_WhitePage_EmptyWith200(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.WhitePage, installed(t, tidepool.V1063).database)
	s.must(t, "updatedb", "-y")
	s.must(t, "cache:rebuild")
	if s.status(t)["bootstrap"] != "Successful" {
		t.Error("Drush is not well")
	}
	if r := s.serve(t).statusOf(t, "/user/login?x=1", 200); r.body != "" {
		t.Errorf("the page is not empty: %s", r.body)
	}
}

func TestWeb_ErrorLevelVerbose_ShowsError(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.Fatal, installed(t, tidepool.V1063).database, `$config['system.logging']['error_level'] = 'verbose';`)
	contains(t, s.serve(t).statusOf(t, "/?x=1", 500).body, "ParseError")
}

func TestWeb_TwigStorage_BelowFilesOrWhereSettingsSay(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	s.serve(t).statusOf(t, "/", 200)
	compiled, err := filepath.Glob(filepath.Join(s.root, "web/sites", host, "files/php/twig/*.php"))
	if err != nil || len(compiled) != 1 {
		t.Errorf("compiled templates: %v, %v", compiled, err)
	}
	elsewhere := t.TempDir()
	other := newSite(t, tidepool.V1058, s.database, `$settings['php_storage']['twig']['directory'] = '`+elsewhere+`';`)
	other.serve(t).statusOf(t, "/?x=1", 200)
	exists(t, filepath.Join(elsewhere, "twig"))
}

func TestWeb_WrongVersion_OtherThanDrush(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.WrongVersion, installed(t, tidepool.V1063).database)
	if got := s.status(t)["drupal-version"]; got != "10.6.4" {
		t.Errorf("Drush says %v", got)
	}
	contains(t, s.serve(t).statusOf(t, "/user/login?x=1", 200).body, "tidepool 10.6.3")
}
