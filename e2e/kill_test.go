package e2e_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// kill -9 during builds: after the restart the build goes on by itself or is
// cleaned up, and no half platform ever looks ready.
func TestKill_Build(t *testing.T) {
	t.Parallel()
	k := newKills(t)
	repo := newForge(t).repo("killed")
	repo.push(tidepool.V1058, talkative)
	d := k.p.addGit("Killed", repo.url, map[string]string{"composer": "1"}).id()
	k.when("composer runs", func() bool {
		return k.j.number(`SELECT COUNT(*) FROM task_lines WHERE text LIKE '%Compiling part 3%'`) > 0
	})
	k.restart()
	k.built(d, "10.5.8")

	release := k.hold("platforms", "NEW.state = 'ready'")
	repo.push(tidepool.V1062)
	k.p.check(d)
	k.when("the platform is sealed", func() bool {
		found, err := filepath.Glob(k.h.path("platforms", ".staging", "*", "manifest"))
		return err == nil && len(found) > 0 || len(k.published()) > 1
	})
	release()
	k.restart()
	k.built(d, "10.6.2")

	repo.push(tidepool.V1063)
	before := k.published()
	release = k.hold("platforms", "NEW.state = 'ready'")
	k.p.check(d)
	k.when("the platform is published", func() bool { return len(k.published()) > len(before) })
	release()
	if n := k.j.number(`SELECT COUNT(*) FROM platforms WHERE state = 'ready'`); n != 2 {
		t.Fatalf("%d platforms are ready; the third should have been published and not recorded", n)
	}
	k.restart()
	k.built(d, "10.6.3")

	// What the killed attempt had published is removed when nothing builds.
	k.h.stop()
	k.h.start()
	eventually(t, 20*time.Second, "the store holds the ready platforms and nothing else", func() bool {
		ready := k.j.list(`SELECT root FROM platforms WHERE state = 'ready' ORDER BY root`)
		return slices.EqualFunc(k.published(), ready, func(dir, root string) bool { return strings.HasPrefix(root+"/", dir+"/") })
	})
}

type kills struct {
	t *testing.T
	h *hefring
	p *person
	v *visitor
	j *journal
}

func newKills(t *testing.T) *kills {
	t.Helper()
	h := newHefring(t, "")
	return &kills{t: t, h: h, p: h.person("admin"), v: h.visitor(), j: h.journal()}
}

// when kills Hefring as soon as a condition holds.
func (k *kills) when(what string, now func() bool) {
	k.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !now(); {
		if time.Now().After(deadline) {
			k.t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(200 * time.Microsecond)
	}
	k.h.kill()
}

// hold keeps Hefring inside a write to its database, for longer than any test:
// what was done before it is done, and not recorded. So no moment is too short to
// be met, however busy the machine is. release lets it go, after the kill.
func (k *kills) hold(table, when string) (release func()) {
	k.t.Helper()
	k.alter(fmt.Sprintf(`CREATE TRIGGER held BEFORE UPDATE ON %s WHEN %s BEGIN SELECT COUNT(*) FROM %s; END`,
		table, when, strings.TrimSuffix(strings.Repeat("sqlite_master, ", 8), ", ")))
	return func() { k.alter(`DROP TRIGGER held`) }
}

func (k *kills) alter(statement string) {
	k.t.Helper()
	db, err := sql.Open("sqlite", "file:"+k.h.path("control", "hefring.db")+"?_pragma=busy_timeout(30000)")
	if err != nil {
		k.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec(statement); err != nil {
		k.t.Fatalf("%s: %v", statement, err)
	}
}

// restart makes sure that nothing half done is shown and that no program goes on,
// and starts Hefring again.
func (k *kills) restart() {
	k.t.Helper()
	for _, root := range k.j.list(`SELECT root FROM platforms WHERE state = 'ready'`) {
		if _, err := os.Stat(filepath.Join(root, "web", "index.php")); err != nil {
			k.t.Errorf("a platform looks ready and is not: %v", err)
		}
	}
	eventually(k.t, 10*time.Second, "the programs of the killed Hefring have ended", func() bool { return len(k.h.orphans()) == 0 })
	k.h.start()
}

// built waits until the killed build is done and whole.
func (k *kills) built(d int64, version string) {
	k.t.Helper()
	platform := k.p.awaitTarget(d, version)
	eventually(k.t, time.Minute, "the task ends", k.p.idle)
	if left := staged(k.h); len(left) > 0 {
		k.t.Errorf("left in the staging folder: %v", left)
	}
	path := fmt.Sprintf("/platforms/%d", platform.id)
	k.p.submit(path, path+"/verify", nil)
	k.p.quiet()
	if got := k.j.text(`SELECT state FROM tasks WHERE kind = 'verify' ORDER BY id DESC LIMIT 1`); got != "succeeded" {
		k.t.Errorf("the platform that was built after the kill does not verify: %s", got)
	}
}

// published lists the folders of platforms.
func (k *kills) published() []string {
	found, err := filepath.Glob(k.h.path("platforms", "[a-z0-9]*"))
	if err != nil {
		k.t.Fatal(err)
	}
	return found
}

// steps of an upgrade with database updates.
func steps() []string {
	return []string{"preflight", "read-only", "copy", "deploy", "updatedb", "rebuild", "probe", "switch", "confirm", "reopen", "retire"}
}

// kill -9 at each step of an upgrade: the site serves the old or the new version
// all the time, and after the restart the task finishes or recovers by itself.
func TestKill_Upgrade(t *testing.T) {
	t.Parallel()
	k := newKills(t)
	repo := newForge(t).repo("killed")
	repo.push(tidepool.V1058)
	d := k.p.addGit("Killed", repo.url, nil).id()
	old := k.p.awaitTarget(d, "10.5.8")
	var uris []string
	for n := range steps() {
		uris = append(uris, fmt.Sprintf("site%02d.localhost", n+1))
	}
	sites := k.p.install(old.id, "standard", uris...)
	k.p.update(repo, d, tidepool.V1062, "10.6.2")
	k.p.quiet()
	for i, step := range steps() {
		want := []string{"recovered"}
		switch {
		case step == "switch":
			want = []string{"recovered", "succeeded"}
		case i > slices.Index(steps(), "switch"):
			want = []string{"succeeded"}
		}
		k.upgrade(sites[i], step, "10.5.8", "10.6.2", want...)
	}
	k.rest(old.id, uris, "10.6.2")

	// Code only: the database is shared, and steps are left out.
	now := k.p.awaitTarget(d, "10.6.2")
	k.p.update(repo, d, tidepool.V1063, "10.6.3")
	k.p.quiet()
	k.upgrade(1, "rebuild", "10.6.2", "10.6.3", "recovered")
	k.upgrade(2, "switch", "10.6.2", "10.6.3", "recovered", "succeeded")
	k.upgrade(3, "confirm", "10.6.2", "10.6.3", "succeeded")
	k.rest(now.id, uris, "10.6.3")

	// A database update in the middle of its work; the version stays the same.
	k.p.update(repo, d, tidepool.SlowUpdate, "10.6.3")
	k.p.quiet()
	k.upgrade(4, "updatedb", "10.6.3", "10.6.3", "recovered")
	k.v.serves(uris[3], "tidepool 10.6.3")
}

// upgrade presses Upgrade on a site, kills Hefring at the step, starts it again
// and looks whether all is well.
func (k *kills) upgrade(site int64, step, from, to string, want ...string) {
	k.t.Helper()
	begin := time.Now()
	uri := k.j.text(`SELECT uri FROM sites WHERE id = ?`, site)
	k.v.comment(uri, "Moored before the kill")
	release := k.hold("upgrade_steps", fmt.Sprintf("NEW.name = '%s' AND NEW.state = 'done'", step))
	task := k.p.upgrade(site).id()
	if task == 0 {
		k.t.Fatalf("%s cannot be upgraded", uri)
	}
	reader := k.v.read(uri, "Moored before the kill", from, to)
	writer := k.v.write(uri)
	k.when(uri+" is at "+step, func() bool {
		return k.j.text(`SELECT s.state FROM upgrade_steps s JOIN upgrades u ON u.id = s.upgrade_id WHERE u.task_id = ? AND s.name = ?`, task, step) == "running" &&
			(to != from || k.halfway(task))
	})
	release()
	k.restart()
	got := k.p.awaitTask(task, time.Minute)
	if !slices.Contains(want, got) {
		k.t.Errorf("killed at %s, the upgrade ended %s, want %v:\n%s", step, got, want, k.p.get(fmt.Sprintf("/tasks/%d/log", task)).body)
	}
	reader.finish(k.t)
	writer.finish(k.t, http.StatusServiceUnavailable)
	serves := to
	if got != "succeeded" {
		serves = from
	}
	k.v.serves(uri, "tidepool "+serves, "Moored before the kill")
	if moved := k.j.number(`SELECT s.platform_id = u.to_id FROM upgrades u JOIN sites s ON s.id = u.site_id WHERE u.task_id = ?`, task) == 1; moved != (got == "succeeded") {
		k.t.Errorf("killed at %s: the upgrade %s, and the site has moved: %t", step, got, moved)
	}
	k.v.comment(uri, "Moored after the kill")
	k.v.serves(uri, "Moored after the kill")
	clean(k.t, k.h, k.j, site)
	k.t.Logf("killed at %-9s  %-9s  %4.1f s  (%s)", step, got, time.Since(begin).Seconds(), uri)
}

// halfway tells whether the slow database update of an upgrade has done some of
// its work on the copy.
func (k *kills) halfway(task int64) bool {
	name := k.j.text(`SELECT json_extract(new_database, '$.name') FROM upgrades WHERE task_id = ?`, task)
	copied, err := sql.Open("sqlite", "file:"+name+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		k.t.Fatal(err)
	}
	defer func() { _ = copied.Close() }()
	var rows int
	// Before the update has begun there is no such table.
	return copied.QueryRow(`SELECT COUNT(*) FROM tide_forecast`).Scan(&rows) == nil && rows > 2
}

// rest moves what was put back, and all serve the new version.
func (k *kills) rest(platform int64, uris []string, version string) {
	k.t.Helper()
	k.p.mustSucceed(k.p.press("platforms", platform).id())
	k.p.quiet()
	for i, uri := range uris {
		k.v.serves(uri, "tidepool "+version)
		k.v.comment(uri, "After all")
		clean(k.t, k.h, k.j, int64(i+1))
	}
}
