package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"hefring/internal/tidepool"
)

// What goes wrong without anybody being killed: it begins at a step and ends by
// itself, as when somebody makes room.
const (
	faultDisk    = "disk"    // the disk of Hefring and the sites is full
	faultRefused = "refused" // the database server lets nobody in but its owner
	faultCrowded = "crowded" // the database server has no connection left
)

func faultsOf(engine string) []string {
	if engine == sqliteSites {
		return []string{faultDisk}
	}
	return []string{faultDisk, faultRefused, faultCrowded}
}

// faultyOrdeals lists a lane's runs in which something goes wrong at a step. It is
// wrong for as long as the step lasts.
func faultyOrdeals(engine, mode string) []ordeal {
	var list []ordeal
	for _, m := range moves() {
		for _, step := range m.steps(mode) {
			for _, fault := range faultsOf(engine) {
				list = append(list, ordeal{m.name, engine, mode, fault, point{step, before}})
			}
		}
	}
	return list
}

// diskSize is enough for what a lane keeps, and quickly filled.
const diskSize = 160 << 20

// onSmallDisk gives the lane's Hefring a disk of its own for all its data.
func (l *lane) onSmallDisk() {
	h := l.h
	h.t.Helper()
	h.stop()
	if err := reap(h.dir); err != nil {
		h.t.Fatal(err)
	}
	aside := h.data() + ".aside"
	if err := os.Rename(h.data(), aside); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Mkdir(h.data(), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", h.data(), "tmpfs", 0, "size="+strconv.Itoa(diskSize)); err != nil {
		h.t.Fatalf("mount a small disk, for which the test has to be root: %v", err)
	}
	h.t.Cleanup(func() {
		if err := errors.Join(reap(h.dir), syscall.Unmount(h.data(), syscall.MNT_DETACH)); err != nil {
			h.t.Error(err)
		}
	})
	if out, err := exec.Command("cp", "-a", aside+"/.", h.data()).CombinedOutput(); err != nil {
		h.t.Fatalf("move the data: %v\n%s", err, out)
	}
	if err := os.RemoveAll(aside); err != nil {
		h.t.Fatal(err)
	}
	h.start()
	*l.j = *h.journal() // the one before reads the old file
}

// fill takes all that is left on the disk, and gives how to free it.
func (h *hefring) fill(t *testing.T) (free func()) {
	t.Helper()
	name := h.path("filler")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for len(block) > 0 {
		if _, err := file.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	_ = file.Close()
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// spoil begins a fault and gives how it ends.
func (l *lane) spoil(t *testing.T, fault string, random *rand.Rand) (heal func()) {
	t.Helper()
	var end func()
	switch fault {
	case faultDisk:
		end = l.h.fill(t)
	case faultRefused:
		end = l.server.refuse()
	case faultCrowded:
		end = l.server.crowd()
	default:
		t.Fatalf("nobody knows how to do %s", fault)
	}
	pause := []time.Duration{300 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second}[random.IntN(3)]
	if fault == faultDisk {
		pause += time.Second // Hefring stands still at first
	}
	return func() {
		<-time.After(pause)
		end()
	}
}

// refuse lets in nobody but the owner, until the returned function is called.
func (s *siteServer) refuse() (admit func()) {
	s.t.Helper()
	users, err := s.users()
	if err != nil {
		s.t.Fatal(err)
	}
	users = append(users, administrator)
	each := func(statement func(user string) string) {
		for _, user := range users {
			if _, err := s.ask(statement(user)); err != nil {
				s.t.Errorf("%s: %v", statement(user), err)
			}
		}
	}
	if s.kind == postgresSites {
		each(func(user string) string { return `ALTER ROLE "` + user + `" NOLOGIN` })
		if _, err := s.ask(`SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE usename <> 'root'`); err != nil {
			s.t.Error(err)
		}
		return func() { each(func(user string) string { return `ALTER ROLE "` + user + `" LOGIN` }) }
	}
	accounts, err := s.ask(`SELECT CONCAT(QUOTE(user), '@', QUOTE(host)) FROM mysql.global_priv WHERE user NOT IN ('', 'root', 'mysql', 'mariadb.sys', 'PUBLIC')`)
	if err != nil {
		s.t.Fatal(err)
	}
	users = accounts
	each(func(account string) string { return "ALTER USER " + account + " ACCOUNT LOCK" })
	ids, err := s.ask(`SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE user NOT IN ('root', 'system user')`)
	if err != nil {
		s.t.Error(err)
	}
	for _, id := range ids {
		_, _ = s.ask("KILL " + id) // it may have gone by itself
	}
	return func() { each(func(account string) string { return "ALTER USER " + account + " ACCOUNT UNLOCK" }) }
}

// crowd takes all connections that the server has, until the returned function is
// called.
func (s *siteServer) crowd() (leave func()) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	var open []func()
	for range 1000 {
		closer, err := s.connect(ctx)
		if err != nil {
			break
		}
		open = append(open, closer)
	}
	return func() {
		for _, closer := range open {
			closer()
		}
		cancel()
	}
}

// connect opens a connection as Hefring does.
func (s *siteServer) connect(ctx context.Context) (closer func(), err error) {
	if s.kind == postgresSites {
		config, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres sslmode=disable", s.port, administrator))
		if err != nil {
			return nil, err
		}
		config.Password = s.password
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return nil, err
		}
		return func() { _ = conn.Close(context.Background()) }, nil
	}
	config := mysql.NewConfig()
	config.Net, config.Addr, config.User, config.Passwd = "tcp", s.address(), administrator, s.password
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return func() { _ = conn.Close() }, nil
}

// badTarget is a version that no site must be left on.
type badTarget struct {
	version string
	drupal  string // what its platform is recorded as
	says    string // what the reason speaks of
	flags   []string
}

// badVersions lists them; a site of 10.6.3 is to be moved there.
func badVersions() []badTarget {
	return []badTarget{
		{version: tidepool.Throws, drupal: "11.0.0", says: "tidepool_tides"},
		{version: tidepool.Fatal, drupal: "10.6.3", says: "tidepool_tides"},
		{version: tidepool.WhitePage, drupal: "10.6.3", says: "empty"},
		{version: tidepool.WrongVersion, drupal: "10.6.4", says: "10.6.3"},
		{version: tidepool.MissingModule, drupal: "10.6.3", says: "tidepool_guestbook"},
		{version: tidepool.Downgrade, drupal: "10.5.9", says: "older"},
		{version: tidepool.SlowUpdate, drupal: "10.6.3", says: "limit", flags: []string{"--update-limit=3s"}},
	}
}

// badVersion moves the lane's site to a bad version, which must end with the site
// as it was, read and written all the while.
func (l *lane) badVersion(t *testing.T, r *repo, site *torturedSite, b badTarget) {
	t.Helper()
	l.from, l.to = "10.6.3", b.drupal
	l.fromPlatform = l.j.number(`SELECT platform_id FROM sites WHERE id = ?`, site.id)
	if len(b.flags) > 0 {
		l.h.stop()
		l.h.flags = append(l.h.flags, b.flags...)
		l.h.start()
	}
	r.push(b.version)
	before := l.j.number(`SELECT MAX(id) FROM platforms`)
	l.p.check(l.distribution)
	eventually(t, time.Minute, "the bad version is the target", func() bool {
		l.toPlatform = l.j.number(`SELECT target_id FROM distributions WHERE id = ?`, l.distribution)
		return l.toPlatform > before
	})
	l.p.quiet()
	crowd := l.v.load(site.uri, crowd{readers: 1, writers: 1, pace: 30 * time.Millisecond}, l.from)
	eventually(t, 20*time.Second, "the visitors are there", func() bool { return crowd.reads.Load() > 3 })
	begin := time.Now()
	pressed := l.p.upgrade(site.id)
	if !strings.HasPrefix(pressed.url, "/tasks/") { // the page says why it cannot go there
		if !strings.Contains(pressed.text(), b.says) {
			t.Errorf("the button leads to %s: %.600s", pressed.url, pressed.text())
		}
	} else {
		task := pressed.id()
		got := l.p.awaitTask(task, time.Minute)
		reason := l.j.text(`SELECT reason FROM upgrades WHERE task_id = ?`, task)
		if got != "recovered" && got != "failed" || l.j.text(`SELECT state FROM upgrades WHERE task_id = ?`, task) == "fatal" {
			t.Errorf("the move to %s ended %s", b.version, got)
		}
		if !strings.Contains(reason, b.says) {
			t.Errorf("the reason is %q, and should speak of %q", reason, b.says)
		}
		t.Logf("%s: %s after %.1f s: %s", b.version, got, time.Since(begin).Seconds(), reason)
	}
	crowd.finish(t, l.v, rules{paused: true})
	l.whole(t, site)
}

// badLane is a lane whose one site is on 10.6.3.
func badLane(t *testing.T, engine string) (*lane, *repo, *torturedSite) {
	t.Helper()
	l := &lane{engine: engine, mode: databaseMode, batch: 1, owner: t, from: "10.6.3"}
	l.server = newSiteServer(t, engine)
	l.h = newHefring(t, "")
	l.p, l.v, l.j = l.h.person("admin"), l.h.visitor(), l.h.journal()
	l.k = kills{t: t, h: l.h, p: l.p, v: l.v, j: l.j}
	l.useServer()
	repo := newForge(t).repo("bad")
	repo.push(tidepool.V1063)
	l.distribution = l.p.addGit("Bad", repo.url, nil).id()
	l.fromPlatform = l.p.awaitTarget(l.distribution, l.from).id
	l.install()
	l.fromTables = l.tables(t, l.idle[0])
	return l, repo, l.site()
}

// tampering is code that changes on the disk after the new version was proven.
func tamperings() map[string]func(root string) error {
	return map[string]func(root string) error{
		"another version": func(root string) error {
			return rewrite(filepath.Join(root, "web/core/lib/Drupal.php"), "const VERSION = '10.6.", "const VERSION = '10.9.")
		},
		"a parse error": func(root string) error {
			return rewrite(filepath.Join(root, "web/themes/custom/tide/tide.theme"), "<?php", "<?php {")
		},
		"a white page": func(root string) error {
			return rewrite(filepath.Join(root, "web/index.php"), "<?php", "<?php exit;")
		},
	}
}

// rewrite replaces a text in a file of a sealed platform.
func rewrite(name, old, changed string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	after := strings.Replace(string(text), old, changed, 1)
	if after == string(text) {
		return fmt.Errorf("%s lacks %q", name, old)
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	temp := name + ".tampered"
	if err := os.WriteFile(temp, []byte(after), info.Mode()); err != nil {
		return err
	}
	if err := os.Chmod(temp, info.Mode()); err != nil {
		return err
	}
	return os.Rename(temp, name)
}

// tampered upgrades a site whose new platform changes while Hefring is about to
// switch: after the switch the site must notice, and go back.
func (l *lane) tampered(t *testing.T, what string, tamper func(root string) error) {
	t.Helper()
	site := l.site()
	root := l.j.text(`SELECT root FROM platforms WHERE id = ?`, l.toPlatform)
	aside := t.TempDir()
	if out, err := exec.Command("cp", "-a", root, aside+"/code").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	at := point{"switch", before}
	release := l.holdFor(at)
	task := l.p.upgrade(site.id).id()
	l.awaitPoint(t, task, at)
	if err := tamper(root); err != nil {
		t.Error(err)
	}
	release()
	got := l.p.awaitTask(task, time.Minute)
	if state := l.j.text(`SELECT state FROM upgrades WHERE task_id = ?`, task); state != "recovered" {
		t.Errorf("with %s after the switch the upgrade ended %s, its task %s", what, state, got)
	}
	t.Logf("%s: %s", what, l.j.text(`SELECT reason FROM upgrades WHERE task_id = ?`, task))
	if out, err := exec.Command("cp", "-a", aside+"/code/.", root).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l.whole(t, site)
	l.back(site)
}
