package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/tidepool"
	"hefring/internal/tree"
)

// life is a fleet with one distribution, seen by a person with a browser, by
// another one without, and by a visitor of its sites.
type life struct {
	t    *testing.T
	h    *hefring
	b    *browser
	p    *person
	v    *visitor
	j    *journal
	repo *repo

	began time.Time
}

// newLife starts a fleet whose first platform is of 10.5.8; somebody is signed
// in.
func newLife(t *testing.T) *life {
	t.Helper()
	l := &life{t: t, h: newHefring(t, ""), repo: newForge(t).repo("tidepool"), began: time.Now()}
	l.b, l.p, l.v, l.j = l.h.browser(), l.h.person("second"), l.h.visitor(), l.h.journal()
	l.repo.push(tidepool.V1058)
	l.p.addGit("Tidepool", l.repo.url, nil)
	l.p.awaitTarget(1, "10.5.8")
	l.p.quiet()
	l.b.signIn(l.h)
	return l
}

// step says where the test is and how long it has taken.
func (l *life) step(what string) {
	l.t.Helper()
	l.t.Logf("%3.0f s  %s", time.Since(l.began).Seconds(), what)
}

// asks presses what opens a dialog and waits until the dialog is open.
func (l *life) asks(label string) {
	l.t.Helper()
	l.b.press(label)
	l.b.until(10*time.Second, "the dialog is open", `document.querySelector('dialog[open] #plan')`)
}

// confirms presses the dialog's button, which leads to a task that succeeds.
func (l *life) confirms() {
	l.t.Helper()
	l.b.pressOn("#confirm")
	l.succeeds()
}

// succeeds waits until the task of the open page has succeeded.
func (l *life) succeeds() {
	l.t.Helper()
	l.b.lands(`^/tasks/\d+$`)
	l.b.until(2*time.Minute, "the task has ended", `document.querySelector('#state .note')`)
	if got := l.badge("#state"); got != "succeeded" {
		l.t.Fatalf("the task ended %s; the browser shows %s", got, l.b.describe())
	}
}

// badge is the state that a part of the page shows.
func (l *life) badge(part string) string {
	l.t.Helper()
	return l.b.text(`(document.querySelector(` + quote(part+" .badge") + `) || {dataset: {s: ''}}).dataset.s`)
}

// becomes waits until the open page of a site or a platform shows a state, without
// being loaded anew.
func (l *life) becomes(state string) {
	l.t.Helper()
	l.b.until(2*time.Minute, "the page says "+state, `(document.querySelector('#top .badge') || {dataset: {}}).dataset.s === `+quote(state))
}

// cells reads a table's body, row by row, with a bar between the cells.
func (l *life) cells(table string) []string {
	l.t.Helper()
	return l.b.texts(`[...document.querySelectorAll(` + quote(table+" tbody tr") + `)].map((tr) => [...tr.cells].map((c) => c.innerText.replace(/\s+/g, ' ').trim()).join('|'))`)
}

// upgrade brings a site to its target.
func (l *life) upgrade(site int64) {
	l.t.Helper()
	l.b.visit(fmt.Sprintf("/sites/%d", site))
	l.asks("Upgrade to")
	l.confirms()
}

// lacks fails if a site's page has a text.
func (l *life) lacks(uri, text string) {
	l.t.Helper()
	if strings.Contains(l.v.get(uri, fmt.Sprintf("/node/1?l=%d", time.Now().UnixNano())).body, text) {
		l.t.Errorf("%s has %q", uri, text)
	}
}

// The whole life of a site on a database server, through the browser.
func TestLife_Site(t *testing.T) {
	t.Parallel()
	server := newSiteServer(t, mariadbSites)
	l := newLife(t)
	l.registers(server)
	l.installs()
	l.backsUp()
	l.rollsBack()
	l.restores()
	l.clones()
	l.configures()
	l.turnsOff()
	l.holds()
	l.runsCron()
	l.logsIn()
	l.deletes(server)
}

func (l *life) registers(server *siteServer) {
	l.step("register a database server, with a wrong password at first")
	b := l.b
	b.open("/databases")
	b.press("Register a server")
	b.lands(`^/databases/new$`)
	b.fill("name", "Main database")
	b.fill("host", "127.0.0.1")
	b.fill("port", strconv.Itoa(server.port))
	b.fill("user", administrator)
	b.fill("password", "wrong")
	b.pressOn("#default")
	b.press("Test and save")
	b.until(time.Minute, "the server is refused", `document.querySelector('#form [role=alert]') || document.getElementById('password-e')`)
	if said := b.text(`document.querySelector('#form').innerText`); !strings.Contains(said, "refuses the user "+administrator) {
		l.t.Errorf("nothing says what is wrong:\n%s", said)
	}
	if b.value("name") != "Main database" || b.value("password") != "" || b.text(`document.getElementById('default').checked`) != "true" {
		l.t.Error("what was typed is lost, or the password came back")
	}
	if n := l.j.number(`SELECT COUNT(*) FROM database_servers`); n != 0 {
		l.t.Errorf("a server that does not let anybody in is stored")
	}
	b.examine("refused")
	b.fill("password", server.password)
	b.press("Test and save")
	b.seesWithin(time.Minute, "works and is saved")
	b.lands(`^/databases/1$`)
	b.sees("MariaDB")
	b.examine("saved")
	b.press("Test")
	b.seesWithin(time.Minute, "It works")
	b.visit("/databases")
	b.sees("Default")
	b.examine("listed")
}

func (l *life) installs() {
	l.step("install a site on it")
	b := l.b
	b.visit("/sites/new")
	if got := b.value("database"); got != "1" {
		l.t.Errorf("the database %q is chosen", got)
	}
	b.fill("uri", harbour)
	b.fill("title", "Harbour office")
	b.choose("profile", "standard")
	b.examine("with a server")
	b.press("Install site")
	b.lands(`^/sites/1$`)
	l.becomes("current")
	if got := l.j.text(`SELECT json_extract("database", '$.engine') FROM sites WHERE id = 1`); got != "mysql" {
		l.t.Errorf("its content is on %q", got)
	}
	l.v.comment(harbour, "Moored before the fair")
	l.p.quiet()
}

func (l *life) backsUp() {
	l.step("back up, with a note")
	b := l.b
	b.visit("/sites/1")
	l.asks("Back up now…")
	b.fill("note", "Before the fair")
	b.examine("backup dialog")
	b.pressOn("#confirm")
	b.sees("It is being backed up")
	b.until(time.Minute, "the backup is ready", `(document.querySelector('#backup-1 .st') || {dataset: {}}).dataset.s === 'ready'`)
	b.sees("Before the fair")
	b.press("Keep")
	b.sees("No schedule removes it")
	b.until(10*time.Second, "the backup is kept", `document.querySelector('#backup-1').innerText.includes('Kept')`)
	b.examine("backed up")
	b.show("site")
}

func (l *life) rollsBack() {
	l.step("upgrade, and roll back")
	b := l.b
	l.p.update(l.repo, 1, tidepool.V1062, "10.6.2")
	l.p.quiet()
	l.upgrade(1)
	l.v.serves(harbour, "tidepool 10.6.2", "Moored before the fair")
	l.v.comment(harbour, "Sailed after the fair")
	l.p.quiet()
	b.visit("/sites/1")
	b.examine("upgraded")
	l.asks("Roll back…")
	b.sees("10.5.8")
	b.sees("Going back loses what was written since")
	b.sees("kept as a backup")
	quote := l.cells("dialog[open] table")
	if !slices.ContainsFunc(quote, func(row string) bool {
		table, rows, _ := strings.Cut(row, "|")
		return strings.HasPrefix(table, "guestbook_entry") && strings.HasPrefix(rows, "1|")
	}) {
		l.t.Errorf("the loss of one entry of the guestbook is not told: %q", quote)
	}
	b.examine("rollback dialog")
	b.show("rollback")
	b.press("Not now")
	b.until(5*time.Second, "the dialog is closed", `!document.querySelector('dialog[open]')`)
	if got := b.text(`document.activeElement.id`); got != "rollback" {
		l.t.Errorf("after the dialog the focus is on %q", got)
	}
	l.asks("Roll back…")
	reader := l.v.read(harbour, "Moored before the fair", "10.6.2", "10.5.8")
	l.confirms()
	reader.finish(l.t)
	b.sees("Rollback")
	b.examine("rolled back")
	l.v.serves(harbour, "tidepool 10.5.8", "Moored before the fair")
	l.lacks(harbour, "Sailed after the fair")
	l.p.quiet()
	b.visit("/sites/1")
	b.sees("what a rollback dropped")
	b.sees("taken back")
	b.examine("after the rollback")
}

func (l *life) restores() {
	l.step("restore what the rollback dropped, on the platform that it was on")
	b := l.b
	dropped := l.j.number(`SELECT id FROM backups WHERE purpose = 'rollback'`)
	l.v.comment(harbour, "Written in between")
	b.pressOn(fmt.Sprintf("#restore-%d", dropped))
	b.until(10*time.Second, "the dialog is open", `document.querySelector('dialog[open] #plan')`)
	b.sees("It is kept as a backup of its own")
	if offered := b.options("platform"); len(offered) != 2 || b.value("platform") != "2" {
		l.t.Errorf("it may come back on %q, first %s", offered, b.value("platform"))
	}
	b.examine("restore dialog")
	l.confirms()
	b.examine("restored")
	l.v.serves(harbour, "tidepool 10.6.2", "Sailed after the fair")
	l.lacks(harbour, "Written in between")
	l.p.quiet()
	b.visit("/sites/1")
	b.sees("what a restore replaced")
}

func (l *life) clones() {
	l.step("clone, onto a taken address at first")
	b := l.b
	b.press("Clone…")
	b.lands(`^/sites/clone`)
	b.examine("")
	b.fill("uri", harbour)
	b.press("Make the site")
	b.until(15*time.Second, "the address is refused", `document.getElementById('uri-e')`)
	if b.value("uri") != harbour || b.value("database") != "1" {
		l.t.Error("what was typed is lost")
	}
	b.examine("refused")
	b.fill("uri", lagoon)
	b.press("Make the site")
	b.lands(`^/sites/2$`)
	l.becomes("current")
	b.examine("cloned")
	l.v.comment(lagoon, "Only in the copy")
	l.v.serves(lagoon, "tidepool 10.6.2", "Sailed after the fair", "Only in the copy")
	l.lacks(harbour, "Only in the copy")
	l.p.quiet()
}

func (l *life) configures() {
	l.step("settings, wrong ones at first")
	b := l.b
	b.visit("/sites/1")
	b.press("Site settings")
	b.lands(`^/sites/1/settings$`)
	b.examine("")
	b.show("site-settings")
	wrong := map[string]string{"aliases": "no host!\n" + lagoon, "probes": "news", "cron_every": "0", "backup_every": "1", "backup_keep": ""}
	for name, typed := range wrong {
		b.fill(name, typed)
	}
	b.press("Save")
	for _, id := range []string{"aliases", "probes", "cron_every", "backup_keep"} {
		b.until(15*time.Second, "something stands beside "+id, `document.getElementById(`+quote(id+"-e")+`)`)
	}
	for name, typed := range wrong {
		if got := b.value(name); got != typed {
			l.t.Errorf("%s holds %q after the error; %q was typed", name, got, typed)
		}
	}
	b.examine("refused")
	b.fill("aliases", lagoon)
	b.fill("probes", "/\n/node/1")
	b.fill("probe_text", "Harbour office")
	b.fill("cron_every", "1")
	b.fill("backup_keep", "7")
	b.pressOn("#redirect")
	b.press("Save")
	b.until(15*time.Second, "the other site's address is refused", `(document.getElementById('aliases-e') || {innerText: ''}).innerText.includes(`+quote(lagoon)+`)`)
	b.fill("aliases", "www."+harbour)
	b.press("Save")
	b.lands(`^/sites/1$`)
	b.sees("Saved.")
	b.sees("www." + harbour)
	b.sees("sent to " + harbour)
	b.sees("Every day; the newest 7")
	l.p.quiet()
	if got, err := l.v.try(http.MethodGet, "www."+harbour, "/node/1", nil); err != nil || got.status != http.StatusMovedPermanently {
		l.t.Errorf("the alias answers %d, %v", got.status, err)
	}
	b.visit("/sites/1")
	b.examine("configured")
}

func (l *life) turnsOff() {
	l.step("disable and enable")
	b := l.b
	l.asks("Disable…")
	b.examine("disable dialog")
	b.pressOn("#confirm")
	b.sees("It is being taken off the web")
	l.becomes("disabled")
	if got, err := l.v.try(http.MethodGet, harbour, "/", nil); err != nil || got.status != http.StatusServiceUnavailable {
		l.t.Errorf("a disabled site answers %d, %v", got.status, err)
	}
	b.examine("disabled")
	b.press("Enable")
	l.becomes("current")
	l.v.serves(harbour, "Sailed after the fair")
	l.p.quiet()
}

func (l *life) holds() {
	l.step("hold until a day, and release")
	b := l.b
	b.visit("/sites/1")
	b.press("Hold")
	b.fill("reason", "The exhibition opens on Friday")
	b.choose("until", "2001-02-03")
	b.press("Hold this site")
	b.sees("Choose a day to come")
	if l.badge("#top") != "current" {
		l.t.Error("it is held until a day that is over")
	}
	b.press("Hold")
	b.fill("reason", "The exhibition opens on Friday")
	b.choose("until", time.Now().UTC().AddDate(1, 0, 0).Format(time.DateOnly))
	b.examine("hold")
	b.press("Hold this site")
	b.sees("Held until")
	b.sees("The exhibition opens on Friday")
	b.examine("held")
	b.press("Release")
	b.sees("Released")
}

func (l *life) runsCron() {
	l.step("run cron")
	l.b.press("Run cron")
	l.b.sees("Its cron is being run")
	l.p.quiet()
	if got := l.j.text(`SELECT state FROM tasks WHERE kind = 'cron' ORDER BY id DESC LIMIT 1`); got != "succeeded" {
		l.t.Errorf("cron ended %q", got)
	}
}

func (l *life) logsIn() {
	l.step("log in to the site")
	l.b.visit("/sites/1")
	l.b.press("Log in")
	// Hefring's own pages say who is signed in, too.
	l.b.until(30*time.Second, "the site is open", `document.readyState === 'complete' && location.host === `+quote(fmt.Sprintf("%s:%d", harbour, l.h.sitesPort)))
	l.b.sees("Signed in as admin.")
}

func (l *life) deletes(server *siteServer) {
	l.step("delete, with a wrong confirmation at first, and make a site from the backup")
	b := l.b
	b.visit("/databases/1")
	l.asks("Delete…")
	b.pressOn("#confirm")
	b.sees("The databases of")
	b.sees(harbour)
	b.examine("in use")
	b.visit("/sites/1")
	l.asks("Delete…")
	b.fill("confirm", lagoon)
	b.examine("delete dialog")
	b.pressOn("#confirm")
	b.sees("Type " + harbour)
	if b.value("confirm") != lagoon || b.text(field("backup")+".checked") != "true" {
		l.t.Error("what was typed is lost")
	}
	b.examine("not confirmed")
	b.fill("confirm", harbour)
	l.confirms()
	l.p.quiet()
	b.visit("/sites/1")
	b.sees("Deleted.")
	b.sees("before deletion")
	b.examine("deleted")
	last := l.j.number(`SELECT id FROM backups WHERE site_id = 1 AND purpose = 'delete'`)
	b.pressOn(fmt.Sprintf(`#backup-%d a[href^="/sites/clone"]`, last))
	b.lands(`^/sites/clone`)
	if got := b.value("title"); got != "Harbour office" {
		l.t.Errorf("the title %q is proposed", got)
	}
	b.examine("from a backup")
	b.fill("uri", harbour)
	b.press("Make the site")
	b.lands(`^/sites/3$`)
	l.becomes("current")
	l.v.serves(harbour, "tidepool 10.6.2", "Sailed after the fair")
	b.examine("made from a backup")
	if databases, err := server.databases(); err != nil || len(databases) != 2 {
		l.t.Errorf("two sites have the databases %q, %v", databases, err)
	}
	if users, err := server.users(); err != nil || len(users) != 2 {
		l.t.Errorf("two sites have the users %q, %v", users, err)
	}
}

// Platforms are compared, deleted when nobody needs them, verified, and only so
// many of them stay.
func TestLife_Platform(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.p.install(1, "standard", harbour)
	l.p.update(l.repo, 1, tidepool.V1062, "10.6.2")
	l.p.quiet()
	l.compares()
	l.deletesPlatform()
	l.verifies()
	l.keepsFew()
}

func (l *life) compares() {
	l.step("compare two platforms")
	b := l.b
	b.visit("/platforms/1")
	b.press("Compare with…")
	b.lands(`^/platforms/1/compare$`)
	if got := b.value("with"); got != "2" {
		l.t.Errorf("it is compared with %q at first", got)
	}
	differing := l.cells("section:first-of-type table")
	for _, row := range differing {
		if strings.HasSuffix(row, "|Same") {
			l.t.Errorf("%q does not differ", row)
		}
	}
	for _, want := range []string{"10.5.8", "10.6.2", "|Upgrade"} {
		if !strings.Contains(strings.Join(differing, "\n"), want) {
			l.t.Errorf("%q lacks %q", differing, want)
		}
	}
	b.sees(harbour)
	b.sees("Can go")
	b.examine("")
	b.show("compare")
	b.pressOn("#all")
	b.press("Compare")
	b.lands(`all=1`)
	if all := l.cells("section:first-of-type table"); len(all) <= len(differing) || !strings.Contains(strings.Join(all, "\n"), "|Same") {
		l.t.Errorf("with what is the same the list is %q", all)
	}
	b.examine("all")
	b.visit("/platforms/2/compare?with=1")
	b.sees("Error: the other platform’s schema is older")
	b.examine("backwards")
}

func (l *life) deletesPlatform() {
	l.step("delete a platform, while a site lives there at first")
	b := l.b
	b.visit("/platforms/1")
	l.asks("Delete…")
	b.sees("Sites live here")
	b.sees(harbour)
	b.examine("delete refused")
	b.press("Back")
	l.p.mustSucceed(l.p.submit("/sites/1/delete", "/sites/1/delete", url.Values{"confirm": {harbour}}).id())
	b.visit("/platforms/1")
	root := l.j.text(`SELECT root FROM platforms WHERE id = 1`)
	l.asks("Delete…")
	b.examine("delete dialog")
	l.confirms()
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		l.t.Errorf("the folder of the deleted platform: %v", err)
	}
	b.visit("/platforms/1")
	l.becomes("disabled")
	b.examine("deleted")
}

func (l *life) verifies() {
	l.step("verify a platform that somebody changed")
	b := l.b
	const changed = "web/modules/contrib/tidepool_tides/tidepool_tides.module"
	tamper(l.t, filepath.Join(l.j.text(`SELECT root FROM platforms WHERE id = 2`), changed))
	b.visit("/platforms/2")
	b.press("Verify")
	b.sees("Every file is being compared")
	l.p.quiet()
	b.visit(fmt.Sprintf("/tasks/%d", l.j.number(`SELECT MAX(id) FROM tasks WHERE kind = 'verify'`)))
	if got := l.badge("#state"); got != "failed" {
		l.t.Errorf("the verification ended %s", got)
	}
	if list := b.texts(`[...document.querySelectorAll('#differing li')].map((li) => li.innerText)`); len(list) != 1 || !strings.Contains(list[0], changed) {
		l.t.Errorf("what differs is %q", list)
	}
	b.examine("tampered")
}

// tamper changes one byte of a file, and neither its size nor its times.
func tamper(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	for _, err := range []error{
		os.Chmod(name, 0o600), os.WriteFile(name, text, 0o600), os.Chmod(name, info.Mode()), os.Chtimes(name, info.ModTime(), info.ModTime()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (l *life) keepsFew() {
	l.step("keep only the last platform")
	b := l.b
	b.visit("/distributions/1/edit")
	b.fill("keep_platforms", "0")
	b.press("Save")
	b.until(15*time.Second, "it is refused", `document.getElementById('keep_platforms-e')`)
	if got := b.value("keep_platforms"); got != "0" {
		l.t.Errorf("the field holds %q; 0 was typed", got)
	}
	b.examine("refused")
	b.fill("keep_platforms", "1")
	b.press("Save")
	b.lands(`^/distributions/1$`)
	l.p.quiet()
	b.visit("/distributions/1/edit")
	if got := b.value("keep_platforms"); got != "1" {
		l.t.Errorf("%q platforms are kept", got)
	}
	l.p.update(l.repo, 1, tidepool.V1063, "10.6.3")
	l.p.update(l.repo, 1, tidepool.Fixed, "11.0.1")
	l.p.quiet()
	l.h.stop()
	l.h.start() // which cleans up
	eventually(l.t, time.Minute, "the oldest platform is deleted", func() bool {
		return l.j.text(`SELECT state FROM platforms WHERE id = 2`) == "deleted"
	})
	l.p.quiet()
	if got := l.j.number(`SELECT COUNT(*) FROM platforms WHERE state = 'ready'`); got != 2 {
		l.t.Errorf("%d platforms are ready, not the target and one beside it", got)
	}
	b.open("/distributions/1")
}

// Sites that live elsewhere are found and adopted, and nothing of theirs is
// changed.
func TestLife_Import(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	root, port := l.outside()
	there := (&hefring{t: t, sitesPort: port}).visitor()
	there.comment("museum.example.org", "Written in the old museum")
	there.comment("shop.example.org", "Written in the old shop")
	before := whole(t, root)

	l.step("look for sites")
	b := l.b
	b.visit("/sites")
	b.press("Import")
	b.lands(`^/import$`)
	b.examine("")
	b.fill("root", "relative/folder")
	b.press("Look for sites")
	b.until(15*time.Second, "the folder is refused", `document.getElementById('root-e')`)
	b.examine("refused")
	b.fill("root", root)
	b.press("Look for sites")
	l.succeeds()
	b.until(15*time.Second, "the sites are listed", `document.querySelectorAll('#found tbody tr').length === 3`)
	found := strings.Join(l.cells("#found table"), "\n")
	for _, want := range []string{"museum.example.org", "sites/default Old museum", "shop.example.org", "sites/shop Old shop", "10.5.8", "SQLite", "sites/broken", "Adopt…"} {
		if !strings.Contains(found, want) {
			t.Errorf("the list lacks %q:\n%s", want, found)
		}
	}
	if strings.Count(found, "Adopt…") != 2 {
		t.Errorf("two of three can be adopted:\n%s", found)
	}
	b.examine("found")
	list := b.text("location.pathname")

	for i, folder := range []string{"default", "shop"} {
		l.step("adopt sites/" + folder)
		uri := folder + ".localhost"
		b.visit(list)
		b.press("Adopt… " + folder)
		b.lands(`^/sites/clone`)
		b.sees("Nothing outside is changed")
		b.examine("adopt")
		b.show("adopt")
		b.fill("uri", uri)
		b.press("Adopt this site")
		b.lands(fmt.Sprintf(`^/sites/%d$`, i+1))
		l.becomes("current")
		l.v.serves(uri, "tidepool 10.5.8", map[string]string{"default": "Written in the old museum", "shop": "Written in the old shop"}[folder])
		l.v.comment(uri, "Written in the new house")
	}
	b.examine("adopted")
	l.p.quiet()
	if after := whole(t, root); !bytes.Equal(after, before) {
		t.Errorf("the code base outside was changed:\nbefore\n%s\nafter\n%s", before, after)
	}
	there.serves("museum.example.org", "Written in the old museum")
	there.comment("shop.example.org", "The old shop goes on")
	there.serves("shop.example.org", "The old shop goes on")
	l.lacks("shop.localhost", "The old shop goes on")
}

// outside makes a code base that Hefring does not own, with two sites and what is
// left of a third, and serves it.
func (l *life) outside() (root string, port int) {
	l.t.Helper()
	root = filepath.Join(l.h.dir, "outside", "project")
	if err := tidepool.Write(root, tidepool.V1058); err != nil {
		l.t.Fatal(err)
	}
	sites := filepath.Join(root, "web", "sites")
	files := map[string]string{
		"sites.php":           "<?php\n$sites = ['museum.example.org' => 'default', 'shop.example.org' => 'shop'];\n",
		"broken/settings.php": "<?php\n// The database went with the last server.\n",
	}
	for _, folder := range []string{"default", "shop"} {
		files[folder+"/settings.php"] = `<?php
$databases['default']['default'] = ['driver' => 'sqlite', 'database' => $app_root . '/' . $site_path . '/files/.ht.sqlite', 'prefix' => ''];
$settings['hash_salt'] = 'salt of the old ` + folder + `';
$settings['config_sync_directory'] = '../config/sync';
`
		files[folder+"/files/harbour.txt"] = "A public harbour"
	}
	files["../../config/sync/README.txt"] = "Exported configuration"
	for name, text := range files {
		name = filepath.Join(sites, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			l.t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	for uri, title := range map[string]string{"museum.example.org": "Old museum", "shop.example.org": "Old shop"} {
		cmd := exec.CommandContext(l.t.Context(), "php", "vendor/bin/drush", "--uri="+uri, "site:install", "standard", "--site-name="+title, "--yes")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "HOME="+l.h.dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			l.t.Fatalf("install %s: %v\n%s", uri, err, out)
		}
	}
	port = freePorts(l.t, 1)[0]
	l.serveElsewhere(filepath.Join(root, "web"), port)
	return root, port
}

// serveElsewhere serves a docroot by PHP alone, until the test ends.
func (l *life) serveElsewhere(docroot string, port int) {
	l.t.Helper()
	cmd := exec.Command("php", "-S", fmt.Sprintf("127.0.0.1:%d", port), ".ht.router.php")
	cmd.Dir = docroot
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	v := (&hefring{t: l.t, sitesPort: port}).visitor()
	eventually(l.t, time.Minute, "the code base outside is served", func() bool {
		got, err := v.try(http.MethodGet, "museum.example.org", "/", nil)
		return err == nil && got.status == http.StatusOK
	})
}

// whole is a tree with the checksum of each of its files.
func whole(t *testing.T, root string) []byte {
	t.Helper()
	manifest, err := tree.Scan(t.Context(), root, tree.Options{}, false)
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Text()
}

// A site's life without JavaScript: every question is a page of its own.
func TestLife_NoJavaScript(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.p.install(1, "standard", harbour)
	l.v.comment(harbour, "Moored without any script")
	l.b.scripting(false)
	b := l.b

	l.step("back up")
	b.visit("/sites/1")
	b.press("Back up now…")
	b.lands(`^/sites/1/backup$`)
	b.fill("note", "By hand")
	b.examine("")
	b.pressOn("#confirm")
	b.lands(`^/sites/1$`)
	l.p.quiet()
	b.visit("/sites/1")
	b.sees("By hand")

	l.step("upgrade and roll back")
	l.p.update(l.repo, 1, tidepool.V1062, "10.6.2")
	l.p.quiet()
	l.p.mustSucceed(l.p.upgrade(1).id())
	l.v.comment(harbour, "Lost by going back")
	l.p.quiet()
	b.visit("/sites/1")
	b.press("Roll back…")
	b.lands(`^/sites/1/rollback$`)
	b.sees("Going back loses")
	b.examine("")
	b.pressOn("#confirm")
	l.ends(b.lands(`^/tasks/\d+$`))
	l.v.serves(harbour, "tidepool 10.5.8", "Moored without any script")
	l.lacks(harbour, "Lost by going back")

	l.step("restore")
	b.visit("/sites/1")
	b.pressOn("#restore-1")
	b.lands(`^/backups/1/restore$`)
	b.examine("")
	b.pressOn("#confirm")
	l.ends(b.lands(`^/tasks/\d+$`))
	l.v.serves(harbour, "tidepool 10.5.8", "Moored without any script")

	l.step("settings")
	b.visit("/sites/1/settings")
	b.fill("aliases", "no host!")
	b.press("Save")
	b.until(15*time.Second, "the alias is refused", `document.getElementById('aliases-e')`)
	b.fill("aliases", "www."+harbour)
	b.press("Save")
	b.lands(`^/sites/1$`)
	b.sees("www." + harbour)
	l.p.quiet()

	l.step("compare")
	b.visit("/platforms/1")
	b.press("Compare with…")
	b.pressOn("#all")
	b.press("Compare")
	b.lands(`all=1`)
	b.sees("Same")

	l.step("delete")
	b.visit("/sites/1")
	b.press("Delete…")
	b.lands(`^/sites/1/delete$`)
	b.fill("confirm", "another.localhost")
	b.pressOn("#confirm")
	b.sees("Type " + harbour)
	b.examine("refused")
	b.fill("confirm", harbour)
	b.pressOn(`[name="backup"]`) // not this time
	b.pressOn("#confirm")
	l.ends(b.lands(`^/tasks/\d+$`))
	b.visit("/sites/1")
	b.sees("Deleted.")
	if got := l.j.text(`SELECT state FROM sites WHERE id = 1`); got != "deleted" {
		l.t.Errorf("the site is %s", got)
	}
}

// ends waits until the task of an address has succeeded, without looking at its
// page.
func (l *life) ends(path string) {
	l.t.Helper()
	id, err := strconv.ParseInt(strings.TrimPrefix(path, "/tasks/"), 10, 64)
	if err != nil {
		l.t.Fatal(err)
	}
	l.p.mustSucceed(id)
	l.p.quiet()
}
