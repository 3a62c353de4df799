package e2e_test

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// The ways in which an upgrade goes.
const (
	databaseMode = "database"
	codeMode     = "code"
)

// lane is one Hefring with the sites of one kind of database and one mode, and a
// database server of its own where there is one. Lanes run side by side; in a lane
// one thing happens after the other.
type lane struct {
	k      kills // its t is that of the run at hand
	h      *hefring
	p      *person
	v      *visitor
	j      *journal
	server *siteServer // nil for SQLite
	engine string
	mode   string

	from, to     string // versions of Drupal
	fromPlatform int64
	toPlatform   int64
	idle         []*torturedSite // on the old platform, and well
	moved        []*torturedSite // on the new one, by an upgrade that can be taken back
	made         int
	batch        int      // how many sites are installed at once
	known        []string // what earlier runs left, which has been told
	rows         int      // how many rows the trigger counts to hold Hefring for a moment
	owner        *testing.T
	distribution int64
	fromTables   []string
}

// torturedSite is a site that is upgraded again and again.
type torturedSite struct {
	id     int64
	uri    string
	runs   int
	anchor string // written before everything else, so it is always there
}

// newLane starts Hefring with sites that are behind; batch is how many sites are
// installed at a time.
func newLane(t *testing.T, engine, mode string, batch int) *lane {
	t.Helper()
	l := &lane{engine: engine, mode: mode, batch: batch, owner: t, from: "10.5.8", to: "10.6.2"}
	old, next := tidepool.V1058, tidepool.V1062
	if mode == codeMode {
		l.from, l.to = "10.6.2", "10.6.3"
		old, next = tidepool.V1062, tidepool.V1063
	}
	l.server = newSiteServer(t, engine)
	l.h = newHefring(t, "")
	l.p, l.v, l.j = l.h.person("admin"), l.h.visitor(), l.h.journal()
	l.k = kills{t: t, h: l.h, p: l.p, v: l.v, j: l.j}
	l.useServer()
	repo := newForge(t).repo("tortured")
	repo.push(old)
	l.distribution = l.p.addGit("Tortured", repo.url, nil).id()
	l.fromPlatform = l.p.awaitTarget(l.distribution, l.from).id
	l.install()
	l.fromTables = l.tables(t, l.idle[0])
	l.toPlatform = l.p.update(repo, l.distribution, next, l.to).id
	l.p.quiet()
	l.quietSource()
	l.calibrate()
	return l
}

// quietSource has the source looked at no more, and lets new sites onto the old
// platform again.
func (l *lane) quietSource() {
	l.p.submit("/queues", "/queues/git/pause", nil)
	l.unlock()
}

func (l *lane) unlock() {
	path := fmt.Sprintf("/platforms/%d", l.fromPlatform)
	l.p.submit(path, path+"/unlock", nil)
}

// useServer makes the lane's server the one that new sites get their databases
// on.
func (l *lane) useServer() {
	if l.server == nil {
		return
	}
	l.h.run(l.server.password+"\n", "database", "add", "tortured", "--engine="+l.server.engine(), "--host=127.0.0.1",
		"--port="+strconv.Itoa(l.server.port), "--user="+administrator, "--default")
}

// in lets everything that the lane does report to a test.
func (l *lane) in(t *testing.T) {
	t.Helper()
	l.h.t, l.p.t, l.v.t, l.j.t, l.k.t = t, t, t, t, t
	if l.server != nil {
		l.server.t = t
	}
}

// install installs the next batch of sites, side by side.
func (l *lane) install() {
	t := l.h.t
	t.Helper()
	var batch []*torturedSite
	for range l.batch {
		l.made++
		uri := fmt.Sprintf("site%03d.localhost", l.made)
		got := l.p.submit("/sites/new", "/sites", url.Values{
			"uri": {uri}, "platform": {strconv.FormatInt(l.fromPlatform, 10)}, "profile": {"standard"}, "database": {l.j.text(`SELECT MAX(id) FROM database_servers`)},
		})
		if got.id() == 0 {
			t.Fatalf("install %s: status %d\n%s", uri, got.status, got.text())
		}
		batch = append(batch, &torturedSite{id: got.id(), uri: uri})
	}
	l.idle = append(l.idle, batch...)
	for _, site := range batch {
		eventually(t, 2*time.Minute, site.uri+" is installed", func() bool {
			state := l.j.text(`SELECT state FROM sites WHERE id = ?`, site.id)
			if state == "broken" {
				t.Fatalf("%s is broken: %s", site.uri, l.p.get(fmt.Sprintf("/sites/%d", site.id)).text())
			}
			return state == "enabled"
		})
		if got := l.j.text(`SELECT json_extract("database", '$.engine') FROM sites WHERE id = ?`, site.id); (got == "sqlite") != (l.server == nil) {
			t.Fatalf("the content of %s is on %s", site.uri, got)
		}
	}
	l.p.quiet()
	for _, site := range batch {
		site.anchor = fmt.Sprintf("anchored-%d-end", site.id)
		l.v.comment(site.uri, site.anchor)
	}
}

// site gives a site that is behind and well.
func (l *lane) site() *torturedSite {
	if len(l.idle) == 0 {
		l.install()
	}
	site := l.idle[0]
	l.idle = l.idle[1:]
	return site
}

// upgradedSite gives a site that was upgraded and can go back.
func (l *lane) upgradedSite() *torturedSite {
	if len(l.moved) == 0 {
		site := l.site()
		l.p.mustSucceed(l.p.upgrade(site.id).id())
		l.p.quiet()
		return site
	}
	site := l.moved[0]
	l.moved = l.moved[1:]
	return site
}

// savedSite gives a site with a backup of this moment.
func (l *lane) savedSite() *torturedSite {
	site := l.site()
	path := fmt.Sprintf("/sites/%d/backup", site.id)
	l.p.submit(path, path, nil)
	l.p.mustSucceed(l.j.number(`SELECT MAX(id) FROM tasks WHERE kind = 'backup' AND subject_id = ?`, site.id))
	l.p.quiet()
	return site
}

// restore brings the newest backup back that somebody asked for.
func (l *lane) restore(site *torturedSite) page {
	backup := l.j.number(`SELECT MAX(id) FROM backups WHERE site_id = ? AND purpose = 'manual' AND state = 'ready'`, site.id)
	path := fmt.Sprintf("/backups/%d/restore", backup)
	return l.p.submit(path, path, url.Values{"platform": {strconv.FormatInt(l.j.number(`SELECT platform_id FROM sites WHERE id = ?`, site.id), 10)}})
}

// back takes a site again, if it may be used once more: its pages must not grow
// for ever.
func (l *lane) back(site *torturedSite) {
	site.runs++
	switch platform := l.j.number(`SELECT platform_id FROM sites WHERE id = ?`, site.id); {
	case platform == l.toPlatform && site.runs < 8:
		l.moved = append(l.moved, site)
	case platform == l.fromPlatform && site.runs < 6:
		l.idle = append(l.idle, site)
	}
}

// end stops the lane before its test ends.
func (l *lane) end() {
	l.h.stop()
	if err := reap(l.h.dir); err != nil {
		l.h.t.Error(err)
	}
	if l.server != nil {
		l.server.kill()
	}
}

var versionPattern = regexp.MustCompile(`tidepool (\d+\.\d+\.\d+)`)

// served is the version that a page past the cache is of; "" for none.
func (l *lane) served(site *torturedSite) string {
	got, err := l.v.try("GET", site.uri, fmt.Sprintf("/node/1?v=%d", time.Now().UnixNano()), nil)
	match := versionPattern.FindStringSubmatch(got.body)
	if err != nil || got.status != 200 || match == nil {
		return ""
	}
	return match[1]
}

// calibrate finds out how many rows the trigger must count to hold Hefring long
// enough to kill something, and well shorter than the lease of a task.
func (l *lane) calibrate() {
	db, err := sql.Open("sqlite", "file:"+l.h.path("control", "hefring.db")+"?mode=ro")
	if err != nil {
		l.h.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const sample, want = 200_000, time.Second
	least := time.Minute // as if nobody else used the machine
	for range 5 {
		begin := time.Now()
		var n int
		if err := db.QueryRow(counting(sample)).Scan(&n); err != nil || n != sample {
			l.h.t.Fatalf("calibrate: counted %d rows, %v", n, err)
		}
		least = min(least, time.Since(begin))
	}
	l.rows = int(float64(sample) * float64(want) / float64(least))
}

// counting is a query that takes a while: it counts so many rows.
func counting(rows int) string {
	return fmt.Sprintf(`SELECT COUNT(*) FROM (SELECT 1 FROM %s LIMIT %d)`, strings.TrimSuffix(strings.Repeat("sqlite_master, ", 8), ", "), rows)
}

// tables lists the tables of the database that serves a site.
func (l *lane) tables(t *testing.T, site *torturedSite) []string {
	t.Helper()
	name := l.j.text(`SELECT json_extract("database", '$.name') FROM sites WHERE id = ?`, site.id)
	if l.server != nil {
		list, err := l.server.tables(name)
		if err != nil {
			t.Errorf("list the tables of %s: %v", name, err)
		}
		return list
	}
	db, err := sql.Open("sqlite", "file:"+name+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tables := &journal{t: t, db: db}
	return tables.list(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name`)
}

// whole fails the test unless the site serves what its row says, its content is
// whole, it takes writes, and nothing is left behind.
func (l *lane) whole(t *testing.T, site *torturedSite) {
	t.Helper()
	l.consistent(t, site)
	if missing := without(l.fromTables, l.tables(t, site)); len(missing) > 0 {
		t.Errorf("%s lost the tables %v", site.uri, missing)
	}
	text := fmt.Sprintf("afterwards-%d-end", time.Now().UnixNano())
	l.v.comment(site.uri, text)
	l.v.serves(site.uri, text, "Reading the tide table", "Lantern Point")
	clean(t, l.h, l.j, site.id)
	if left := without(l.leftovers(t), l.known); len(left) > 0 {
		l.known = append(l.known, left...)
		t.Errorf("left behind: %v", left)
	}
}

// consistent fails unless row, pointer and pages name the same version.
func (l *lane) consistent(t *testing.T, site *torturedSite) {
	t.Helper()
	var wants string
	switch platform := l.j.number(`SELECT platform_id FROM sites WHERE id = ?`, site.id); platform {
	case l.fromPlatform:
		wants = l.from
	case l.toPlatform:
		wants = l.to
	default:
		t.Errorf("%s is on platform %d", site.uri, platform)
	}
	if got := l.served(site); got != wants {
		t.Errorf("%s serves %q, and its row says %q", site.uri, got, wants)
	}
	if state := l.j.text(`SELECT state FROM sites WHERE id = ?`, site.id); state != "enabled" {
		t.Errorf("%s is %s", site.uri, state)
	}
	root := l.j.text(`SELECT p.root FROM platforms p JOIN sites s ON s.platform_id = p.id WHERE s.id = ?`, site.id)
	target, err := os.Readlink(l.h.path("sites", strconv.FormatInt(site.id, 10), "current"))
	if err != nil || !strings.HasPrefix(target+"/", root+"/") {
		t.Errorf("%s points to %s (%v), and its row says %s", site.uri, target, err, root)
	}
}

// leftovers lists what there is and nothing stands for: databases, users,
// releases, links in platforms, half-made files, sites of the web server, programs.
func (l *lane) leftovers(t *testing.T) []string {
	t.Helper()
	var left []string
	if l.server != nil {
		left = append(left, l.onServer(t)...)
	}
	var releases, links []string
	for _, line := range l.j.list(`SELECT s.id || ' ' || s.uri || ' ' || s.platform_id FROM sites s
		UNION SELECT s.id || ' ' || s.uri || ' ' || u.from_id FROM sites s JOIN upgrades u ON u.site_id = s.id WHERE u.state = 'succeeded' AND u.dropped_old_at IS NULL`) {
		part := strings.Fields(line)
		releases = append(releases, l.h.path("sites", part[0], "releases", part[2]))
		root := l.j.text(`SELECT root FROM platforms WHERE id = ?`, part[2])
		links = append(links, filepath.Join(root, "web", "sites", part[1]))
	}
	left = append(left, without(l.glob("sites", "*", "releases", "*"), releases)...)
	left = append(left, without(l.glob("platforms", "*", "*", "web", "sites", "*.localhost*"), links)...)
	left = append(left, without(l.glob("platforms", "*", "web", "sites", "*.localhost*"), links)...)
	for _, pattern := range [][]string{{"*.new"}, {".*"}, {"db", ".*"}, {"db", "*.new"}, {"run", "read-only"}, {"next"}, {"releases", ".*"}, {"releases", "*", ".*"}} {
		left = append(left, l.glob(append([]string{"sites", "*"}, pattern...)...)...)
	}
	vhosts := l.glob("web", "nginx-*", "sites.json")
	for _, file := range vhosts {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, uri := range regexp.MustCompile(`[a-z0-9]+\.localhost`).FindAllString(string(text), -1) {
			if l.j.number(`SELECT COUNT(*) FROM sites WHERE uri = ?`, uri) == 0 {
				left = append(left, "the web server's "+uri)
			}
		}
	}
	for _, p := range l.h.orphans() {
		if p.pid != l.h.cmd.Process.Pid && !strings.HasPrefix(p.name, "hefring") {
			left = append(left, fmt.Sprintf("%s (%d): %s", p.name, p.pid, p.command))
		}
	}
	return left
}

// onServer lists the databases and users of the server that no row names.
func (l *lane) onServer(t *testing.T) []string {
	t.Helper()
	wanted := l.j.list(`SELECT json_extract("database", '$.name') FROM sites UNION
		SELECT json_extract(old_database, '$.name') FROM upgrades WHERE state = 'succeeded' AND dropped_old_at IS NULL`)
	databases, err := l.server.databases()
	if err != nil {
		t.Error(err)
	}
	left := named("database ", without(databases, wanted))
	users, err := l.server.users()
	if err != nil {
		t.Error(err)
	}
	return append(left, named("user ", without(users, l.j.list(`SELECT json_extract("database", '$.user') FROM sites`)))...)
}

func named(what string, list []string) []string {
	for i := range list {
		list[i] = what + list[i]
	}
	return list
}

func (l *lane) glob(parts ...string) []string {
	found, err := filepath.Glob(l.h.path(parts...))
	if err != nil {
		l.h.t.Fatal(err)
	}
	return found
}

// without gives what is in a list and not in another.
func without(list, others []string) []string {
	var rest []string
	for _, one := range list {
		if !slices.Contains(others, one) {
			rest = append(rest, one)
		}
	}
	return rest
}

// rollBack presses the button that takes a site's last upgrade back.
func (l *lane) rollBack(site *torturedSite) page {
	path := fmt.Sprintf("/sites/%d/rollback", site.id)
	return l.p.submit(path, path, url.Values{"upgrade": {l.p.get(path).match(`name="upgrade" value="(\d+)"`)}})
}
