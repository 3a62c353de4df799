//go:build drupal

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hefring/internal/testmysql"
	"hefring/internal/testpg"
	"hefring/models"
)

// register makes a database server known through its form.
func (d *drupal) register(server models.DatabaseServer) int64 {
	d.t.Helper()
	got := d.p.submit("/databases/new", "/databases", url.Values{
		"name": {server.Engine}, "engine": {server.Engine}, "host": {server.Host}, "port": {portText(server.Port)},
		"user": {server.User}, "password": {server.Password}, "tls": {string(models.TLSOff)}, "clients": {"%"}, "prefix": {"hefring"},
	})
	if got.id() == 0 {
		d.t.Fatalf("register %s: status %d\n%s", server.Engine, got.status, got.text())
	}
	return got.id()
}

func portText(port int) string {
	if port == 0 {
		return ""
	}
	return strconv.Itoa(port)
}

// engines are the databases to test on.
func engines() []string {
	if text := os.Getenv("HEFRING_DRUPAL_DATABASES"); text != "" {
		return strings.Split(text, ",")
	}
	return []string{models.EngineSQLite, models.EngineMySQL, models.EnginePostgres}
}

// install registers the servers and installs one site on each.
func (d *drupal) install() {
	d.t.Helper()
	d.profile = d.chooseProfile()
	for _, engine := range engines() {
		s := &drupalSite{engine: engine, uri: "harbour-" + engine + ".localhost"}
		switch engine {
		case models.EngineMySQL:
			d.mysql = testmysql.Start(d.t)
			s.server = d.register(d.mysql.TCP())
		case models.EnginePostgres:
			d.postgres = testpg.Start(d.t)
			s.server = d.register(d.postgres.TCP())
		}
		d.sites = append(d.sites, s)
	}
	d.each("install "+d.profile, func(s *drupalSite) {
		got := d.p.submit("/sites/new", "/sites", url.Values{
			"uri": {s.uri}, "title": {"The harbour's"}, "platform": {strconv.FormatInt(d.old.id, 10)}, "profile": {d.profile}, "database": {strconv.FormatInt(s.server, 10)},
		})
		if s.id = got.id(); s.id == 0 {
			d.t.Fatalf("install %s: status %d\n%s", s.uri, got.status, got.text())
		}
		d.succeeds("install", s.id)
		d.runs(s, d.old)
	})
}

// chooseProfile takes HEFRING_DRUPAL_PROFILE, or the most usual of those that
// the platform has.
func (d *drupal) chooseProfile() string {
	d.t.Helper()
	var has []string
	if err := json.Unmarshal([]byte(d.j.text(`SELECT profiles FROM platforms WHERE id = ?`, d.old.id)), &has); err != nil || len(has) == 0 {
		d.t.Fatalf("the platform has the profiles %v, %v", has, err)
	}
	for _, name := range []string{os.Getenv(d.prefix + "_PROFILE"), "standard", "minimal"} {
		if slices.Contains(has, name) {
			return name
		}
	}
	return has[0]
}

func (d *drupal) backUp(s *drupalSite) {
	d.t.Helper()
	d.press(fmt.Sprintf("/sites/%d/backup", s.id), url.Values{"note": {"Before anything"}})
	d.succeeds("backup", s.id)
	if s.backup = d.j.number(`SELECT MAX(id) FROM backups WHERE site_id = ? AND state = 'ready'`, s.id); s.backup == 0 {
		d.t.Fatal("there is no backup")
	}
	d.article(s, "After the backup")
	d.whole(s, "Moored safely", "After the backup")
}

// failedUpgrade makes the database updates fail: the site has to be put back as
// it was, without a read that failed.
func (d *drupal) failedUpgrade(s *drupalSite) {
	d.t.Helper()
	local := d.h.path("sites", strconv.FormatInt(s.id, 10), "local.settings.php")
	if err := os.WriteFile(local, []byte("<?php\n"+d.speech.boom(d.new.version)+"\n"), 0o644); err != nil {
		d.t.Fatal(err)
	}
	finish := d.read(s)
	task := d.landed(d.p.upgrade(s.id))
	d.ends(task, "recovered")
	finish()
	if step := d.j.text(`SELECT failed_step FROM upgrades WHERE task_id = ?`, task); step != "updatedb" {
		d.t.Errorf("the upgrade failed at %q: %s", step, d.j.text(`SELECT reason FROM upgrades WHERE task_id = ?`, task))
	}
	if log := d.p.get(fmt.Sprintf("/tasks/%d/log", task)).body; !strings.Contains(log, "The tide was too high") {
		d.t.Errorf("the log does not say why it failed:\n%s", log)
	}
	if err := os.Remove(local); err != nil {
		d.t.Fatal(err)
	}
	d.runs(s, d.old)
	d.whole(s, "Moored safely", "After the backup")
}

// upgrade presses the button; on the first site in the browser.
func (d *drupal) upgrade(s *drupalSite) {
	d.t.Helper()
	if s != d.sites[0] {
		d.upgradeAgain(s)
		return
	}
	b := d.b
	b.visit(fmt.Sprintf("/sites/%d", s.id))
	b.press("Upgrade to ")
	b.sees("Packages changed")
	d.t.Logf("the dialog says: %s", spacePattern.ReplaceAllString(b.text(`document.querySelector('dialog[open]').innerText`), " "))
	b.examine("dialog")
	finish := d.read(s)
	b.pressOn("#confirm")
	task, _ := strconv.ParseInt(strings.TrimPrefix(b.lands(`^/tasks/\d+$`), "/tasks/"), 10, 64)
	d.ends(task, "succeeded")
	finish()
	b.open(fmt.Sprintf("/tasks/%d", task))
	d.upgraded(s, task)
}

func (d *drupal) upgradeAgain(s *drupalSite) {
	d.t.Helper()
	finish := d.read(s)
	task := d.landed(d.p.upgrade(s.id))
	d.ends(task, "succeeded")
	finish()
	d.upgraded(s, task)
}

// upgraded looks at what an upgrade left.
func (d *drupal) upgraded(s *drupalSite, task int64) {
	d.t.Helper()
	mode := d.j.text(`SELECT mode FROM upgrades WHERE task_id = ?`, task)
	d.step(fmt.Sprintf("%s: mode %s, %d updates, writes were paused for %s", s.engine, mode,
		d.j.number(`SELECT json_array_length(updates) FROM upgrades WHERE task_id = ?`, task),
		time.Duration(d.j.number(`SELECT read_only FROM upgrades WHERE task_id = ?`, task))))
	if mode != "database" {
		d.t.Errorf("the mode was %s; choose two releases with database updates between them", mode)
	}
	d.runs(s, d.new)
	d.whole(s, "Moored safely", "After the backup")
}

// rollBack goes back to the old version and loses what the quote says.
func (d *drupal) rollBack(s *drupalSite) {
	d.t.Helper()
	d.article(s, "After the upgrade")
	path := fmt.Sprintf("/sites/%d/rollback", s.id)
	question := d.p.get(path)
	d.t.Logf("the quote says: %s", question.text())
	if question.status != http.StatusOK || !strings.Contains(question.text(), "node") {
		d.t.Errorf("the quote does not name the article (status %d)", question.status)
	}
	finish := d.read(s)
	task := d.landed(d.press(path, url.Values{"upgrade": {question.match(`name="upgrade" value="(\d+)"`)}}))
	d.ends(task, "succeeded")
	finish()
	d.runs(s, d.old)
	d.whole(s, "Moored safely", "After the backup")
	if n := d.j.number(`SELECT COUNT(*) FROM backups WHERE site_id = ? AND purpose = 'rollback' AND state = 'ready'`, s.id); n == 0 {
		d.t.Error("what was dropped was not kept")
	}
}

// clone makes a second site, which has to be one of its own.
func (d *drupal) clone(s *drupalSite) {
	d.t.Helper()
	copied := &drupalSite{engine: s.engine, server: s.server, uri: "clone-" + s.engine + ".localhost"}
	got := d.p.submit(fmt.Sprintf("/sites/clone?site=%d", s.id), "/sites/clone", url.Values{
		"site": {strconv.FormatInt(s.id, 10)}, "uri": {copied.uri}, "title": {"A clone"}, "platform": {strconv.FormatInt(d.new.id, 10)}, "database": {strconv.FormatInt(s.server, 10)},
	})
	if copied.id = got.id(); copied.id == 0 {
		d.t.Fatalf("clone: status %d\n%s", got.status, got.text())
	}
	d.succeeds("clone", copied.id)
	d.runs(copied, d.new)
	d.whole(copied, "Moored safely", "After the backup")
	d.article(copied, "Only on the clone")
	d.whole(s, "Moored safely", "After the backup")
	d.whole(copied, "Moored safely", "After the backup", "Only on the clone")
	d.remove(copied)
}

// restore brings the first backup back.
func (d *drupal) restore(s *drupalSite, platform platformLine) {
	d.t.Helper()
	finish := d.read(s)
	d.ends(d.landed(d.press(fmt.Sprintf("/backups/%d/restore", s.backup), url.Values{"platform": {strconv.FormatInt(platform.id, 10)}})), "succeeded")
	finish()
	d.runs(s, platform)
	d.whole(s, "Moored safely")
	d.article(s, "After the restore")
	d.whole(s, "Moored safely", "After the restore")
}

// daily is what people do with a site between upgrades.
func (d *drupal) daily(s *drupalSite) {
	d.t.Helper()
	d.logIn(s)
	d.pressOn(s.id, "cron")
	d.succeeds("cron", s.id)
	d.press(fmt.Sprintf("/sites/%d/disable", s.id), nil)
	d.succeeds("disable", s.id)
	if got, err := d.v.try(http.MethodGet, s.uri, "/", nil); err != nil || got.status != http.StatusServiceUnavailable {
		d.t.Errorf("the disabled site answers %d, %v", got.status, err)
	}
	d.pressOn(s.id, "enable")
	d.succeeds("enable", s.id)
	d.pressOn(s.id, "verify")
	d.p.quiet()
	d.whole(s, "Moored safely", "After the restore")
}

// logIn follows the Log in button to the end: the person is the site's first user.
func (d *drupal) logIn(s *drupalSite) {
	d.t.Helper()
	client := *d.p.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p := *d.p
	p.client = &client
	path := fmt.Sprintf("/sites/%d", s.id)
	form := p.fill(path, nil)
	request, err := http.NewRequest(http.MethodPost, p.base+path+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = response.Body.Close()
	link, err := url.Parse(response.Header.Get("Location"))
	if err != nil || link.Hostname() != s.uri || !strings.Contains(link.Path, "/user/reset/1/") {
		d.t.Fatalf("the Log in button leads to %q (status %d)", link, response.StatusCode)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	visitor := *d.v
	visitor.client = &http.Client{Transport: d.v.client.Transport, Jar: jar, Timeout: time.Minute}
	if got, err := visitor.try(http.MethodGet, s.uri, link.RequestURI(), nil); err != nil || got.status != http.StatusOK {
		d.t.Fatalf("the login link answers %d, %v", got.status, err)
	}
	if got, err := visitor.try(http.MethodGet, s.uri, "/node/1/edit", nil); err != nil || got.status != http.StatusOK {
		d.t.Errorf("after the login link /node/1/edit answers %d, %v", got.status, err)
	}
	if log := d.h.logFile(); log != "" {
		if text, err := os.ReadFile(log); err == nil && strings.Contains(string(text), link.Path) {
			d.t.Error("the login link is in the log")
		}
	}
}

// alias gives a site another name, which Drupal has to answer for.
func (d *drupal) alias(s *drupalSite) {
	d.t.Helper()
	name := "pier-" + s.engine + ".localhost"
	d.p.submit(fmt.Sprintf("/sites/%d/settings", s.id), fmt.Sprintf("/sites/%d/settings", s.id), url.Values{"aliases": {name}, "https": {""}})
	d.succeeds("configure", s.id)
	other := *s
	other.uri = name
	for _, path := range []string{"/", "/node/1"} {
		if got := d.v.get(name, fmt.Sprintf("%s?x=%d", path, time.Now().UnixNano())); path == "/node/1" && !strings.Contains(got.body, "Moored safely") {
			d.t.Errorf("%s%s lacks the article:\n%s", name, path, got.text())
		}
	}
	d.p.submit(fmt.Sprintf("/sites/%d/settings", s.id), fmt.Sprintf("/sites/%d/settings", s.id), url.Values{"aliases": {name}, "redirect": {"1"}, "https": {""}})
	d.succeeds("configure", s.id)
	if got, err := d.v.try(http.MethodGet, name, "/node/1", nil); err != nil || got.status != http.StatusMovedPermanently && got.status != http.StatusPermanentRedirect {
		d.t.Errorf("%s answers %d instead of sending visitors on, %v", name, got.status, err)
	}
	d.whole(s, "Moored safely", "After the restore")
}

// remove deletes a site, of which nothing may be left.
func (d *drupal) remove(s *drupalSite) {
	d.t.Helper()
	d.ends(d.landed(d.press(fmt.Sprintf("/sites/%d/delete", s.id), url.Values{"confirm": {s.uri}})), "succeeded")
	if exists(d.h.path("sites", strconv.FormatInt(s.id, 10), "releases")) {
		d.t.Errorf("the folder of %s was left", s.uri)
	}
	for _, platform := range []int64{d.old.id, d.new.id} {
		links, err := filepath.Glob(filepath.Join(d.docroot(platform), "sites", "*"+s.uri+"*"))
		if err != nil || len(links) > 0 {
			d.t.Errorf("of %s were left: %v, %v", s.uri, links, err)
		}
	}
	if got, err := d.v.try(http.MethodGet, s.uri, "/node/1", nil); err == nil && got.status == http.StatusOK {
		d.t.Errorf("%s still answers", s.uri)
	}
}
