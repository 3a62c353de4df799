//go:build drupal

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/testmysql"
	"hefring/internal/testpg"
)

// The whole life of sites on real Drupal, on every database. HEFRING_DRUPAL_REPO
// is a git repository, by URL or path, that holds Drupal with Drush at two refs:
// HEFRING_DRUPAL_OLD and HEFRING_DRUPAL_NEW, which are old and new by default.
// Between them database updates must be pending. HEFRING_DRUPAL_COMPOSER=1 has
// composer install run, for a repository without vendor folder.
// HEFRING_DRUPAL_DATABASES names the databases to use, by default all:
// sqlite,mysql,postgres.
func TestDrupal(t *testing.T) {
	settings := map[string]string{}
	if os.Getenv("HEFRING_DRUPAL_COMPOSER") == "1" {
		settings["composer"] = "1"
	}
	newDrupal(t, "HEFRING_DRUPAL", settings, drupal8{}).life()
}

// The same on Drupal 7: HEFRING_DRUPAL7_REPO, with HEFRING_DRUPAL7_OLD and
// HEFRING_DRUPAL7_NEW. HEFRING_DRUSH8 is the Drush 8 of this machine.
func TestDrupal7(t *testing.T) {
	if os.Getenv("HEFRING_DRUSH8") == "" {
		t.Fatal("say where Drush 8 is: HEFRING_DRUSH8=<path of vendor/bin/drush or of the phar>")
	}
	newDrupal(t, "HEFRING_DRUPAL7", nil, drupal7{}).life()
}

// drupal is one distribution of real Drupal with a site on each database.
type drupal struct {
	t      *testing.T
	prefix string // of the environment's variables
	speech speech
	h      *hefring
	p      *person
	v      *visitor
	j      *journal
	b      *browser

	repo         string // bare, on this machine
	distribution int64
	old, new     platformLine
	profile      string
	sites        []*drupalSite
	mysql        *testmysql.Server
	postgres     *testpg.Server
	began        time.Time
}

// drupalSite is one site of the test.
type drupalSite struct {
	id     int64
	uri    string
	engine string
	server int64 // of its databases; 0: SQLite
	backup int64
}

func newDrupal(t *testing.T, prefix string, settings map[string]string, speech speech) *drupal {
	t.Helper()
	source := os.Getenv(prefix + "_REPO")
	if source == "" {
		t.Fatalf("say where Drupal is: %s_REPO=<git URL or path>", prefix)
	}
	forge := newForge(t)
	repo, err := forge.server.Create("drupal", "main")
	if err != nil {
		t.Fatal(err)
	}
	git(t, repo, "fetch", "--quiet", source, "+refs/*:refs/*")
	d := &drupal{t: t, prefix: prefix, speech: speech, repo: repo, began: time.Now()}
	d.point("OLD", "old")
	d.h = newHefring(t, "")
	d.p, d.v, d.j, d.b = d.h.person("admin"), d.h.visitor(), d.h.journal(), d.h.browser()
	d.b.signIn(d.h)
	d.distribution = d.p.addGit("Drupal", forge.url+"/drupal.git", settings).id()
	return d
}

// point moves the branch that the distribution follows to a ref.
func (d *drupal) point(variable, otherwise string) {
	d.t.Helper()
	ref := os.Getenv(d.prefix + "_" + variable)
	if ref == "" {
		ref = otherwise
	}
	git(d.t, d.repo, "update-ref", "refs/heads/main", git(d.t, d.repo, "rev-parse", "--verify", ref+"^{commit}"))
}

// step says where the test is and how long it has taken.
func (d *drupal) step(what string) {
	d.t.Helper()
	d.t.Logf("%4.0f s  %s", time.Since(d.began).Seconds(), what)
}

// each does something on every site, one after the other.
func (d *drupal) each(what string, do func(s *drupalSite)) {
	d.t.Helper()
	for _, s := range d.sites {
		begin := time.Now()
		do(s)
		d.step(fmt.Sprintf("%s: %s (%.1f s)", what, s.engine, time.Since(begin).Seconds()))
	}
}

func (d *drupal) life() {
	d.old = d.target(0)
	d.step("built " + d.old.name + ", Drupal " + d.old.version)
	d.install()
	d.each("content before", d.write)
	d.each("backup", d.backUp)
	d.imports()

	d.point("NEW", "new")
	d.p.check(d.distribution)
	d.new = d.target(d.old.id)
	d.step("built " + d.new.name + ", Drupal " + d.new.version)
	d.p.quiet()
	d.each("failed upgrade, recovered", d.failedUpgrade)
	d.each("upgrade", d.upgrade)
	d.each("rollback with its quote", d.rollBack)
	d.each("upgrade once more", d.upgradeAgain)
	d.each("clone", d.clone)
	d.each("restore on the present platform", func(s *drupalSite) { d.restore(s, d.new) })
	d.each("restore on its own platform", func(s *drupalSite) { d.restore(s, d.old) })
	d.each("login, cron, disable, enable", d.daily)
	d.each("other names", d.alias)
	d.each("delete", d.remove)
}

// target waits for a target other than the platform given.
func (d *drupal) target(other int64) platformLine {
	d.t.Helper()
	var found platformLine
	eventually(d.t, 10*time.Minute, "there is a target", func() bool {
		if reason := d.j.text(`SELECT reason FROM distributions WHERE condition IN ('failing', 'held')`); reason != "" {
			d.t.Fatalf("the source or its build fails: %s", reason)
		}
		for _, line := range d.p.platforms(d.distribution) {
			if line.target && line.id != other {
				found = line
			}
		}
		return found.id != 0
	})
	return found
}

// root is the folder of a platform, docroot that of its index.php.
func (d *drupal) root(platform int64) string {
	d.t.Helper()
	return d.j.text(`SELECT root FROM platforms WHERE id = ?`, platform)
}

func (d *drupal) docroot(platform int64) string {
	d.t.Helper()
	return filepath.Join(d.root(platform), d.j.text(`SELECT docroot FROM platforms WHERE id = ?`, platform))
}

// platformOf is where a site lives.
func (d *drupal) platformOf(site int64) int64 {
	d.t.Helper()
	return d.j.number(`SELECT platform_id FROM sites WHERE id = ?`, site)
}

// lastTask is the newest task of a kind about a site.
func (d *drupal) lastTask(kind string, site int64) int64 {
	d.t.Helper()
	return d.j.number(`SELECT MAX(id) FROM tasks WHERE kind = ? AND subject_kind = 'site' AND subject_id = ?`, kind, site)
}

// succeeds waits for the newest task of a kind about a site.
func (d *drupal) succeeds(kind string, site int64) {
	d.t.Helper()
	id := d.lastTask(kind, site)
	if id == 0 {
		d.t.Fatalf("there is no %s task of site %d: %s", kind, site, d.p.get(fmt.Sprintf("/sites/%d", site)).text())
	}
	d.ends(id, "succeeded")
}

// ends waits for a task, which has to end so.
func (d *drupal) ends(task int64, want string) {
	d.t.Helper()
	if got := d.p.awaitTask(task, 10*time.Minute); got != want {
		d.t.Fatalf("task %d ended %s, not %s: %s\n%s", task, got, want,
			d.j.text(`SELECT message FROM tasks WHERE id = ?`, task), d.p.get(fmt.Sprintf("/tasks/%d/log", task)).body)
	}
}

// landed is the task that a button led to.
func (d *drupal) landed(got page) int64 {
	d.t.Helper()
	rest, found := strings.CutPrefix(got.url, "/tasks/")
	id, err := strconv.ParseInt(rest, 10, 64)
	if !found || err != nil {
		d.t.Fatalf("there is no task behind %s (status %d):\n%s", got.url, got.status, got.text())
	}
	return id
}

// press sends the form of a page of its own and wants the answer to be good.
func (d *drupal) press(path string, typed map[string][]string) page {
	d.t.Helper()
	got := d.p.submit(path, path, typed)
	if got.status >= 400 {
		d.t.Fatalf("%s: status %d\n%s", path, got.status, got.text())
	}
	return got
}

// pressOn presses a button of a site's page.
func (d *drupal) pressOn(site int64, action string) {
	d.t.Helper()
	path := fmt.Sprintf("/sites/%d", site)
	if got := d.p.submit(path, path+"/"+action, nil); got.status >= 400 {
		d.t.Fatalf("%s/%s: status %d\n%s", path, action, got.status, got.text())
	}
}
