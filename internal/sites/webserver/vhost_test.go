package webserver

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestVhost_KeepsToItself(t *testing.T) {
	f := serve(t)
	const secret = `<?php echo "EXEC" . "UTED"; // SECRET`
	here := "sites/" + host
	for _, path := range []string{
		"core/install.php", "update.php", "core/authorize.php", "core/rebuild.php", "core/INSTALL.PHP", "install.php", "xmlrpc.php", "info.phtml",
		"autoload.php", "vendor/autoload.php", "vendor/bin/drush", "composer.json", "composer.lock", "web.config",
		"core/CHANGELOG.txt", "README.md", "core/lib/a.inc", "modules/a/a.module", "modules/a/a.install", "modules/a/a.info.yml",
		"themes/a/a.theme", "themes/a/page.html.twig", "profiles/a/a.profile", "dump.sql", "dump.mysql", "scripts/a.sh",
		".git/config", ".env", ".htaccess", ".well-known.php", "modules/.git/HEAD",
		"sites/default/settings.php", here + "/settings.php", here + "/settings.php~", here + "/settings.php.bak", here + "/services.yml",
		here + "/private/a.txt", here + "/files/private/a.txt", here + "/files/php/twig/a.html", here + "/php/twig/a.txt",
		here + "/files/evil.php", here + "/files/evil.PHP", here + "/files/evil.phtml", here + "/files/evil.php5", here + "/files/evil.phar",
		here + "/files/.ht.sqlite", here + "/files/a.sqlite", here + "/files/config_abc/sync/a.txt", here + "/db/a.txt",
	} {
		f.write(filepath.Join(f.docroot("v1"), path), secret)
		for _, form := range []string{"/" + path, "//" + path, "/core/../" + path} {
			a := f.send("GET", form, "")
			if a.status != 404 || strings.Contains(a.body, "SECRET") || strings.Contains(a.body, "EXECUTED") {
				t.Errorf("%s: got %d %s", form, a.status, a.body)
			}
		}
	}
	for _, path := range []string{"/core/install.php/", "/core/install.php/x", "/index.php/cron/KEY", "/" + here + "/files/a.txt/x.php", "/core/install.php?x=y", "/core/install%2ephp"} {
		if a := f.send("GET", path, ""); a.status != 404 || strings.Contains(a.body, "EXECUTED") {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
}

func TestVhost_Serves(t *testing.T) {
	f := serve(t)
	here := "/sites/" + host
	for path, text := range map[string]string{
		"/robots.txt": "robots", "/.well-known/security.txt": "security", "/core/misc/drupal.js": "script", "/core/assets/vendor/a/a.js": "vendor",
		here + "/files/notes.txt": "notes", here + "/files/css/css_1.css": "style", here + "/files/CHANGELOG.txt": "uploaded", here + "/files/a b.txt": "space",
	} {
		f.write(filepath.Join(f.docroot("v1"), path), text)
		a := f.send("GET", strings.ReplaceAll(path, " ", "%20"), "")
		if a.status != 200 || a.body != text || a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("X-Hefring-Root") != "" {
			t.Errorf("%s: got %d %s %v", path, a.status, a.body, a.header)
		}
	}
	// What is not there is Drupal's to make, or to miss.
	for _, path := range []string{here + "/files/styles/large/public/a.jpg", here + "/files/css/css_2.css", "/node/1", "/sites/", "/core/", "/a.b/c", "/index.php?q=node/1", "/missing.png"} {
		if a := f.send("GET", path, ""); a.status != 200 || !strings.Contains(a.body, "release=v1") {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	f.write(filepath.Join(f.docroot("v1"), "core/modules/statistics/statistics.php"), `<?php echo "counted ", $_SERVER["SCRIPT_NAME"];`)
	if a := f.send("POST", "/core/modules/statistics/statistics.php", "nid=1"); a.body != "counted /core/modules/statistics/statistics.php" {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestVhost_BigUpload(t *testing.T) {
	f := serve(t)
	body := strings.Repeat("x", 3<<20)
	if a := f.send("POST", "/", body); a.status != 200 || f.written("v1") != body+"\n" {
		t.Errorf("got %d and %d bytes", a.status, len(f.written("v1")))
	}
}

func TestVhost_WithoutRelease(t *testing.T) {
	f := serve(t)
	f.link(filepath.Join(f.site, "current"), f.docroot("gone"))
	for _, path := range []string{"/", "/index.php", "/core/misc/release.css"} {
		if a := f.send("GET", path, ""); a.status != 404 {
			t.Errorf("%s: got %d %s", path, a.status, a.body)
		}
	}
	f.link(filepath.Join(f.site, "current"), f.docroot("v2"))
	if a := f.send("GET", "/", ""); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// A site's own settings cannot take the gate away.
func TestVhost_UserIniIsIgnored(t *testing.T) {
	f := serve(t)
	f.write(filepath.Join(f.docroot("v1"), ".user.ini"), "auto_prepend_file =\ndisplay_errors = 1\n")
	f.must(f.gate().Close(lease))
	if a := f.send("POST", "/", "x"); a.status != 503 {
		t.Errorf("got %d", a.status)
	}
}

// Pitfall: with the link's own name PHP flips between releases for minutes.
func TestVhost_Switch_LosesNoReadAndNeverGoesBack(t *testing.T) {
	f := serve(t)
	var switched, stop atomic.Bool
	var reads, fresh atomic.Int64
	var group sync.WaitGroup
	for _, path := range []string{"/node/1", "/core/misc/release.css", "/node/2", "/"} {
		group.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for !stop.Load() {
				mustBeNew := switched.Load()
				body, err := f.read(client, path)
				isNew := strings.Contains(body, "v2")
				if err != nil || (!isNew && (mustBeNew || !strings.Contains(body, "v1"))) {
					t.Errorf("%s: %v %s (after the switch: %t)", path, err, body, mustBeNew)
					return
				}
				if isNew {
					switched.Store(true)
					fresh.Add(1)
				}
				reads.Add(1)
			}
		})
	}
	f.eventually("the old release is read", func() bool { return reads.Load() > 200 })
	f.link(filepath.Join(f.site, "current"), f.docroot("v2"))
	switched.Store(true)
	f.eventually("the new release is read", func() bool { return fresh.Load() > 400 })
	stop.Store(true)
	group.Wait()
}

func (f *fixture) read(client *http.Client, path string) (string, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+f.prober.PublicAddr+path, nil)
	if err != nil {
		return "", err
	}
	request.Host = host
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		return response.Status, os.ErrInvalid
	}
	return string(body), err
}

// A reload, for another site's sake, loses no read either.
func TestVhost_Reload_LosesNoRead(t *testing.T) {
	f := serve(t)
	var stop atomic.Bool
	var reads atomic.Int64
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for !stop.Load() {
				if a, err := f.try("GET", host, "/", ""); err != nil || a.status != 200 {
					t.Errorf("got %d, %v", a.status, err)
				}
				reads.Add(1)
			}
		})
	}
	for id := range int64(4) {
		f.must(f.server.AddSite(t.Context(), Vhost{SiteID: 20 + id, URI: "other" + string(rune('a'+id)) + ".example.org", Dir: f.site}))
	}
	stop.Store(true)
	group.Wait()
	if reads.Load() == 0 {
		t.Error("nothing was read")
	}
}
