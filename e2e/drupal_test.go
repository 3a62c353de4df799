//go:build drupal

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The short main job on real Drupal. HEFRING_DRUPAL_REPO is a git repository, by
// URL or path, that holds a whole Drupal with Drush at two refs:
// HEFRING_DRUPAL_OLD and HEFRING_DRUPAL_NEW, which are old and new by default.
// HEFRING_DRUPAL_COMPOSER=1 has composer install run.
func TestDrupal(t *testing.T) {
	source := os.Getenv("HEFRING_DRUPAL_REPO")
	if source == "" {
		t.Fatal("say where Drupal is: HEFRING_DRUPAL_REPO=<git URL or path>")
	}
	forge := newForge(t)
	repo, err := forge.server.Create("drupal", "main")
	if err != nil {
		t.Fatal(err)
	}
	git(t, repo, "fetch", "--quiet", source, "+refs/*:refs/*")
	to := func(variable, otherwise string) {
		t.Helper()
		ref := os.Getenv(variable)
		if ref == "" {
			ref = otherwise
		}
		git(t, repo, "update-ref", "refs/heads/main", git(t, repo, "rev-parse", "--verify", ref+"^{commit}"))
	}
	to("HEFRING_DRUPAL_OLD", "old")

	d := &drupal{t: t, h: newHefring(t, "")}
	d.p, d.v, d.j = d.h.person("admin"), d.h.visitor(), d.h.journal()
	settings := map[string]string{}
	if os.Getenv("HEFRING_DRUPAL_COMPOSER") == "1" {
		settings["composer"] = "1"
	}
	id := d.p.addGit("Drupal", forge.url+"/drupal.git", settings).id()
	old := d.target(id, 0)
	t.Logf("built %s, Drupal %s", old.name, old.version)
	site := d.p.install(old.id, "minimal", harbour)[0]
	d.serves("/")
	d.serves("/user/login")
	before := d.status(old)
	if before != old.version {
		t.Errorf("drush says %s; the platform holds %s", before, old.version)
	}

	to("HEFRING_DRUPAL_NEW", "new")
	d.p.check(id)
	target := d.target(id, old.id)
	t.Logf("built %s, Drupal %s", target.name, target.version)
	d.p.quiet()
	b := d.h.browser()
	b.signIn(d.h)
	b.visit(fmt.Sprintf("/sites/%d", site))
	b.press("Upgrade to ")
	b.sees("Packages changed")
	t.Logf("the dialog says: %s", spacePattern.ReplaceAllString(b.text(`document.querySelector('dialog[open]').innerText`), " "))
	b.examine("dialog")
	reader := d.read()
	b.pressOn("#confirm")
	task := b.lands(`^/tasks/\d+$`)
	number, _ := strconv.ParseInt(strings.TrimPrefix(task, "/tasks/"), 10, 64)
	d.p.mustSucceed(number)
	reader()
	b.open(task)
	d.serves("/")
	d.serves("/user/login")
	if after := d.status(target); after != target.version || after == before {
		t.Errorf("after the upgrade drush says %s; the target holds %s, before it was %s", after, target.version, before)
	}
	t.Logf("writes were paused for %s", time.Duration(d.j.number(`SELECT read_only FROM upgrades`)))
	clean(t, d.h, d.j, site)
}

type drupal struct {
	t *testing.T
	h *hefring
	p *person
	v *visitor
	j *journal
}

// target waits for a target other than the platform given.
func (d *drupal) target(distribution, other int64) platformLine {
	d.t.Helper()
	var found platformLine
	eventually(d.t, 10*time.Minute, "there is a target", func() bool {
		if reason := d.j.text(`SELECT reason FROM distributions WHERE condition IN ('failing', 'held')`); reason != "" {
			d.t.Fatalf("the source or its build fails: %s", reason)
		}
		for _, line := range d.p.platforms(distribution) {
			if line.target && line.id != other {
				found = line
			}
		}
		return found.id != 0
	})
	return found
}

// serves opens a page past every cache.
func (d *drupal) serves(path string) {
	d.t.Helper()
	d.v.get(harbour, fmt.Sprintf("%s?x=%d", path, time.Now().UnixNano()))
}

// read opens the site's login page all the time; the end fails on any that was
// not answered with 200.
func (d *drupal) read() (finish func()) {
	stop, done := make(chan struct{}), make(chan string, 1)
	go func() {
		wrong, n := "", 0
		for {
			select {
			case <-stop:
				done <- wrong
				return
			case <-time.After(50 * time.Millisecond):
			}
			n++
			got, err := d.v.try(http.MethodGet, harbour, fmt.Sprintf("/user/login?r=%d", n), nil)
			if err != nil || got.status != http.StatusOK {
				wrong += fmt.Sprintf("read %d: status %d, %v\n", n, got.status, err)
			}
		}
	}()
	return func() {
		d.t.Helper()
		close(stop)
		if wrong := <-done; wrong != "" {
			d.t.Errorf("the site did not answer all the time:\n%s", wrong)
		}
	}
}

// status asks a platform's own Drush for the version that the site runs.
func (d *drupal) status(platform platformLine) string {
	d.t.Helper()
	root := d.j.text(`SELECT root FROM platforms WHERE id = ?`, platform.id)
	cmd := exec.CommandContext(d.t.Context(), "php", root+"/vendor/bin/drush", "--uri="+strings.TrimSuffix(d.v.url(harbour, ""), "/"), "status", "--format=json")
	cmd.Dir = root
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: webUser(d.t)}
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("drush status: %v\n%s", err, out)
	}
	var status map[string]any
	if err := json.Unmarshal(out, &status); err != nil {
		d.t.Fatalf("drush status: %v\n%s", err, out)
	}
	if status["bootstrap"] != "Successful" {
		d.t.Errorf("drush does not start the site: %s", out)
	}
	return fmt.Sprint(status["drupal-version"])
}

// webUser is who PHP runs as when the tests run as root.
func webUser(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("www-data")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(account.Uid, 10, 32)
	gid, _ := strconv.ParseUint(account.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
