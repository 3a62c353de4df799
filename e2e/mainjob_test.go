package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// The two sites of the main job.
const (
	harbour = "harbour.localhost"
	lagoon  = "lagoon.localhost"
)

// The main job from the first login to an upgrade that fails and is put back,
// each step through the browser.
func TestMainJob(t *testing.T) {
	t.Parallel()
	m := &mainJob{t: t, h: newHefring(t, ""), repo: newForge(t).repo("tidepool")}
	m.b, m.v, m.p, m.j = m.h.browser(), m.h.visitor(), m.h.person("second"), m.h.journal()
	m.repo.push(tidepool.V1058, talkative)
	m.signIn()
	m.createDistribution()
	m.firstPlatform()
	m.createSites()
	m.queue()
	m.secondPlatform()
	m.buttons(map[string]bool{"/platforms/1/upgrade": true, "/sites/1/upgrade": true, "/sites/2/upgrade": true})
	m.lockedPlatform()
	m.upgradeSite()
	m.buttons(map[string]bool{"/platforms/1/upgrade": true, "/sites/2/upgrade": true})
	m.upgradePlatform()
	m.buttons(nil)
	m.codeOnly()
	m.throwing()
	m.repaired()
	m.pages()
}

type mainJob struct {
	t    *testing.T
	h    *hefring
	repo *repo
	b    *browser
	p    *person
	v    *visitor
	j    *journal

	began time.Time
}

// step says where the test is and how long it has taken.
func (m *mainJob) step(what string) {
	m.t.Helper()
	if m.began.IsZero() {
		m.began = time.Now()
	}
	m.t.Logf("%3.0f s  %s", time.Since(m.began).Seconds(), what)
}

func (m *mainJob) signIn() {
	m.step("1. sign in")
	b := m.b
	b.open("/login")
	b.fill("name", "admin")
	b.fill("password", "wrong")
	b.press("Sign in")
	b.sees("Name and password do not fit")
	b.examine("refused")
	b.visit(m.h.run("", "login-link", "admin"))
	b.examine("link")
	b.press("Sign in")
	b.lands("^/$")
	b.sees("Nothing to keep up to date yet")
	b.examine("empty")
	for _, path := range []string{"/distributions", "/platforms", "/sites", "/sites/new", "/tasks", "/queues"} {
		b.open(path)
	}
	b.visit("/")
	b.press("Dark")
	b.until(5*time.Second, "the theme is dark", `document.documentElement.dataset.theme === 'dark'`)
	b.press("System")
	b.until(5*time.Second, "the theme follows the system", `!document.documentElement.dataset.theme`)
}

func (m *mainJob) createDistribution() {
	m.step("1. create a distribution, badly at first")
	b := m.b
	b.press("Add a distribution")
	b.lands("^/distributions/new$")
	b.examine("")
	b.press("Add and check now")
	b.sees("Give it a name")
	bad := map[string]string{
		"name": "Tide \"pool\" <b>", "git.url": "ftp://example.org/x", "git.branch": "a..b", "git.subdirectory": "../outside", "git.docroot": "web/../..",
	}
	for _, name := range []string{"name", "git.url", "git.branch", "git.subdirectory", "git.docroot"} {
		b.fill(name, bad[name])
	}
	b.pressOn(`[name="git.composer"]`)
	b.press("Add and check now")
	b.until(10*time.Second, "the answer is there", `document.getElementById('git-branch-e')`)
	for _, id := range []string{"git-url", "git-branch", "git-subdirectory", "git-docroot"} {
		b.until(10*time.Second, "something stands beside "+id, `document.getElementById(`+quote(id+"-e")+`)`)
		if text := b.wrong(id); len(text) < 15 {
			m.t.Errorf("%s: %q does not say what to do", id, text)
		}
	}
	for name, typed := range bad {
		if got := b.value(name); got != typed {
			m.t.Errorf("%s holds %q after the error; %q was typed", name, got, typed)
		}
	}
	if b.text(field("git.composer")+".checked") != "true" {
		m.t.Error("the tick at “Run composer install” is lost")
	}
	if got := b.text(`document.activeElement.name`); got != "git.url" {
		m.t.Errorf("the focus is on %q, not on the first wrong field", got)
	}
	b.examine("refused")
	for name, value := range map[string]string{"name": "Tidepool", "git.url": m.repo.url, "git.branch": "", "git.subdirectory": "", "git.docroot": "web"} {
		b.fill(name, value)
	}
	b.show("add-distribution")
	b.press("Add and check now")
	b.lands(`^/distributions/1$`)
}

func (m *mainJob) firstPlatform() {
	m.step("2. the first platform is built before our eyes")
	b := m.b
	b.seesWithin(30*time.Second, "Compiling part 2 of 16")
	b.examine("building")
	b.seesWithin(time.Minute, "Ready")
	lines := b.added("line")
	m.areLive("the build", lines, m.j.time(`SELECT ended_at FROM tasks WHERE kind = 'build'`), 4)
	spoken := map[string]bool{}
	for _, line := range lines {
		if _, part, found := strings.Cut(line.Text, "Compiling "); found {
			if spoken[part] {
				m.t.Errorf("the live log shows %q twice", part)
			}
			spoken[part] = true
		}
	}
	if len(spoken) < 8 {
		m.t.Errorf("only %d of the build's 16 lines arrived live: %v", len(spoken), lines)
	}
	b.until(15*time.Second, "the platform is the target", `[...document.querySelectorAll('#platforms .tag')].some((el) => el.innerText.includes('Target'))`)
	if left := b.text(`performance.getEntriesByType('navigation')[0].type`); left != "navigate" {
		m.t.Errorf("the page was loaded anew (%s)", left)
	}
	b.examine("ready")
	b.show("first-platform")
	b.pressOn(`#platforms tbody th a`)
	b.lands(`^/platforms/1$`)
	b.sees("10.5.8")
	b.sees("Target")
	b.examine("")
	b.press("Verify")
	b.sees("Every file is being compared")
	m.p.quiet()
	if got := m.j.text(`SELECT state FROM tasks WHERE kind = 'verify'`); got != "succeeded" {
		m.t.Errorf("the verification ended %s", got)
	}
}

// areLive fails unless the additions came before the task had ended, and at so
// many different times at least.
func (m *mainJob) areLive(what string, list []added, ended time.Time, least int) {
	m.t.Helper()
	early, times := 0, map[int64]bool{}
	for _, a := range list {
		if time.UnixMilli(a.At).Before(ended) {
			early++
			times[a.At/100] = true
		}
	}
	if early < 5 || len(times) < least {
		m.t.Errorf("%s: %d of %d additions came before its end at %s, at %d different times: %v", what, early, len(list), ended, len(times), list)
	}
}

func (m *mainJob) createSites() {
	m.step("3. create two sites")
	b := m.b
	b.visit("/platforms/1")
	b.press("Install a site")
	b.lands(`^/sites/new`)
	b.examine("")
	b.fill("uri", "no host!")
	b.fill("title", "Harbour office")
	b.choose("profile", "standard")
	b.press("Install site")
	b.until(10*time.Second, "the name is refused", `document.getElementById('uri-e')`)
	if b.value("uri") != "no host!" || b.value("title") != "Harbour office" || b.value("profile") != "standard" {
		m.t.Error("what was typed is lost")
	}
	b.examine("refused")
	for i, uri := range []string{harbour, lagoon} {
		if i > 0 {
			b.visit("/sites/new")
		}
		b.fill("uri", uri)
		b.fill("title", "Office of "+uri)
		b.choose("platform", "1")
		b.choose("profile", "standard")
		b.press("Install site")
		b.lands(fmt.Sprintf(`^/sites/%d$`, i+1))
		b.until(time.Minute, "the site is installed", `(document.querySelector('#top .badge') || {dataset: {}}).dataset.s === 'current'`)
		b.examine("installed")
		b.show("installed")
		b.press("Visit the site")
		b.seesWithin(20*time.Second, "Office of "+uri)
		b.sees("tidepool 10.5.8")
		if got := b.text("location.host"); got != fmt.Sprintf("%s:%d", uri, m.h.sitesPort) {
			m.t.Errorf("the site is at %s", got)
		}
	}
	m.step("4. add content")
	b.visit(m.v.url(harbour, "/node/1"))
	b.fill("name", "Ann")
	b.fill("body", "Moored safely at the pier")
	b.press("Leave a line")
	b.sees("Moored safely at the pier")
	m.v.comment(lagoon, "The flamingos are back")
}

// setQueue changes the git queue through its form.
func (m *mainJob) setQueue(every, unit string) {
	m.t.Helper()
	b := m.b
	b.fill("#git-every", every)
	b.choose("#git-unit", unit)
	b.press("Save Git repository")
}

func (m *mainJob) queue() {
	m.step("4. the queue: interval, pause, resume")
	b := m.b
	b.open("/queues")
	units := b.texts(`[...` + field("#git-unit") + `.options].map((o) => o.value)`)
	second := units[0]
	m.setQueue("1", second)
	b.sees("Choose between 5 seconds and 7 days")
	if got := b.value("#git-every"); got != "1" {
		m.t.Errorf("the interval holds %q; 1 was typed", got)
	}
	b.examine("refused")
	m.setQueue("5", second)
	b.sees("is looked at every 5 s")
	b.press("Pause Git repository")
	b.sees("Paused")
	b.examine("paused")
	checks := func() int64 { return m.j.number(`SELECT COALESCE(SUM(times), 0) FROM checks`) }
	m.p.quiet() // a check that was under way may end
	before := checks()
	m.repo.push(tidepool.V1062, talkative)
	never(m.t, 8*time.Second, "a paused queue looked at a source", func() bool { return checks() != before })
	b.press("Resume Git repository")
	b.sees("Resumed")
}

func (m *mainJob) secondPlatform() {
	m.step("4. the queue notices the commit by itself")
	m.p.awaitTarget(1, "10.6.2")
	if got := m.j.text(`SELECT "trigger" FROM checks WHERE outcome = 'changed' ORDER BY id DESC LIMIT 1`); got != "queue" {
		m.t.Errorf("the change was found by %q", got)
	}
	m.p.quiet() // Drush is asked about the sites
	lines := m.p.platforms(1)
	if len(lines) != 2 || !lines[0].target || lines[0].locked || lines[1].target || !lines[1].locked {
		m.t.Errorf("the second platform should be the target and the first be locked: %+v", lines)
	}
	m.b.visit("/")
	m.b.sees("Update ready")
	m.b.sees("Upgrade 2 sites")
	m.b.examine("behind")
	m.b.show("decisions")
	m.b.visit("/distributions/1")
	m.b.sees("Upgrade 2 sites")
	m.b.show("distribution")
}

// buttons crawls all lists and pages: the Upgrade buttons have to be exactly
// these, each on the list and on its own page.
func (m *mainJob) buttons(want map[string]bool) {
	m.step("4. Upgrade buttons are where they belong and nowhere else")
	m.t.Helper()
	b := m.b
	seen := map[string]map[string]bool{}
	todo := []string{"/", "/distributions", "/platforms", "/sites", "/tasks", "/queues", "/distributions/new", "/sites/new"}
	link := func(p string) bool {
		for _, prefix := range []string{"/distributions/", "/platforms/", "/sites/", "/tasks/"} {
			if rest, found := strings.CutPrefix(p, prefix); found {
				_, err := strconv.Atoi(rest)
				return err == nil
			}
		}
		return false
	}
	for i := 0; i < len(todo); i++ {
		path := todo[i]
		b.visit(path)
		found := map[string]bool{}
		for _, href := range b.texts(`[...document.querySelectorAll('a,button')].filter((el) => el.checkVisibility() && /^Upgrade/.test(el.innerText.trim())).map((el) => el.getAttribute('href') || el.form && el.form.getAttribute('action') || '')`) {
			switch {
			case path == "/" && strings.HasSuffix(href, "#platforms"): // leads to the list of platforms
			case link(href) && strings.HasPrefix(href, "/tasks/"): // the title of a task
			case href == "/tasks/" || strings.HasPrefix(href, "/tasks?"):
			default:
				found[href] = true
			}
		}
		seen[path] = found
		for _, p := range b.texts(`[...document.querySelectorAll('main a[href]')].map((a) => a.getAttribute('href'))`) {
			if link(p) && !slices.Contains(todo, p) {
				todo = append(todo, p)
			}
		}
	}
	for path, found := range seen {
		expected := map[string]bool{}
		for href := range want {
			subject := strings.TrimSuffix(href, "/upgrade")
			kind, _, _ := strings.Cut(strings.TrimPrefix(subject, "/"), "/")
			switch {
			case path == subject, path == "/"+kind, path == "/distributions/1" && kind == "platforms":
				expected[href] = true
			case strings.HasPrefix(path, "/platforms/") && kind == "sites": // the sites that live there
				id, _ := strconv.ParseInt(strings.TrimPrefix(subject, "/sites/"), 10, 64)
				if path == fmt.Sprintf("/platforms/%d", m.j.number(`SELECT platform_id FROM sites WHERE id = ?`, id)) {
					expected[href] = true
				}
			}
		}
		for href := range found {
			if !expected[href] {
				m.t.Errorf("%s has an Upgrade button %s that does not belong there", path, href)
			}
		}
		for href := range expected {
			if !found[href] {
				m.t.Errorf("%s lacks the Upgrade button %s", path, href)
			}
		}
	}
}

func (m *mainJob) lockedPlatform() {
	m.step("4. no site on the locked platform")
	b := m.b
	b.open("/sites/new?platform=1")
	if offered := b.options("platform"); len(offered) != 1 || strings.Contains(strings.Join(offered, " "), m.p.platforms(1)[1].name) {
		m.t.Errorf("the form offers %v", offered)
	}
	b.open("/platforms/1")
	if b.text(controls+`.some((el) => el.innerText.includes('Install a site'))`) == "true" {
		m.t.Error("the locked platform offers to install a site")
	}
	got := m.p.submit("/sites/new", "/sites", url.Values{"uri": {"forged.localhost"}, "platform": {"1"}, "profile": {"standard"}})
	if got.status != http.StatusUnprocessableEntity || !strings.Contains(got.wrong("platform"), "locked") {
		m.t.Errorf("a forged form: status %d, beside the platform %q", got.status, got.wrong("platform"))
	}
	if n := m.j.number(`SELECT COUNT(*) FROM sites`); n != 2 {
		m.t.Errorf("there are %d sites", n)
	}
}

func (m *mainJob) upgradeSite() {
	m.step("5. upgrade one site")
	b := m.b
	b.visit("/sites/1")
	b.press("Upgrade to 10.6.2")
	b.until(10*time.Second, "the dialog is open", `document.querySelector('dialog[open] #plan')`)
	b.sees("10.5.8")
	b.sees("10.6.2")
	b.sees("Packages changed")
	b.sees("1.0.0 → 1.1.0")
	b.sees("system_update_10600")
	b.sees("tidepool_tides_update_10101")
	b.examine("dialog")
	b.show("upgrade")
	b.press("Not now")
	b.until(5*time.Second, "the dialog is closed", `!document.querySelector('dialog[open]')`)
	if got := b.text(`document.activeElement.id`); got != "upgrade" {
		m.t.Errorf("after the dialog the focus is on %q", got)
	}
	b.press("Upgrade to 10.6.2")
	b.press("Ask Drush again")
	b.sees("Drush is being asked")
	b.seesWithin(30*time.Second, "system_update_10600")
	reader := m.v.read(harbour, "Moored safely", "10.5.8", "10.6.2")
	writer := m.v.write(harbour)
	b.pressOn("#confirm")
	path := b.lands(`^/tasks/\d+$`)
	b.seesWithin(time.Minute, "Succeeded: "+harbour)
	reader.finish(m.t)
	writer.finish(m.t, http.StatusServiceUnavailable)
	m.steps(path, "updatedb", "switch", "reopen")
	b.examine("succeeded")
	b.show("upgraded")
	b.visit(m.v.url(harbour, "/?fresh=1"))
	b.sees("tidepool 10.6.2")
	b.sees("Range") // what the database update made
	b.visit(m.v.url(harbour, "/node/1?fresh=1"))
	b.sees("Moored safely at the pier")
	m.v.serves(lagoon, "tidepool 10.5.8", "The flamingos are back")
	m.open(1)
}

// steps fails unless these steps turned to done on the open page.
func (m *mainJob) steps(path string, names ...string) {
	m.t.Helper()
	task, _ := strconv.Atoi(strings.TrimPrefix(path, "/tasks/"))
	changes := m.b.added("step")
	m.areLive("the steps", changes, m.j.time(`SELECT ended_at FROM tasks WHERE id = ?`, task), 2)
	for _, name := range names {
		if !slices.ContainsFunc(changes, func(a added) bool { return a.ID == "step-"+name && a.Text == "done" }) {
			m.t.Errorf("the step %s was not seen to end: %v", name, changes)
		}
	}
}

// open fails if a site still refuses writes or kept what an upgrade needed.
func (m *mainJob) open(site int64) {
	m.t.Helper()
	uri := m.j.text(`SELECT uri FROM sites WHERE id = ?`, site)
	m.v.comment(uri, "A line after the upgrade")
	m.v.serves(uri, "A line after the upgrade")
	clean(m.t, m.h, m.j, site)
}

func (m *mainJob) upgradePlatform() {
	m.step("5. upgrade the rest of the platform")
	b := m.b
	b.visit("/platforms/1")
	b.press("Upgrade 1 site to 10.6.2")
	b.until(10*time.Second, "the dialog is open", `document.querySelector('dialog[open] #plan')`)
	b.sees(lagoon)
	b.examine("dialog")
	b.pressOn("#confirm")
	parent := b.lands(`^/tasks/\d+$`)
	b.seesWithin(time.Minute, "One task for each site")
	b.examine("parent")
	b.until(time.Minute, "the batch has succeeded", `document.querySelector('#state .badge').dataset.s === 'succeeded'`)
	b.sees("1 of 1")
	b.press("Upgrade " + lagoon)
	child := b.lands(`^/tasks/\d+$`)
	if child == parent {
		m.t.Error("the site's upgrade is no task of its own")
	}
	b.sees("Part of")
	b.sees("Succeeded: " + lagoon)
	m.v.serves(lagoon, "tidepool 10.6.2", "The flamingos are back")
	m.open(2)
}

func (m *mainJob) codeOnly() {
	m.step("5. code only: no write is refused")
	b := m.b
	b.visit("/queues")
	m.setQueue("1", b.texts(`[...` + field("#git-unit") + `.options].map((o) => o.value)`)[2]) // an hour
	b.sees("is looked at every 1 h")
	eventually(m.t, 30*time.Second, "the last look of every 5 s is over", func() bool {
		return time.Until(m.j.time(`SELECT next_check_at FROM upstreams ORDER BY next_check_at LIMIT 1`)) > 10*time.Minute
	})
	m.p.quiet()
	m.repo.push(tidepool.V1063)
	b.press("Run now Git repository")
	b.sees("1 source is being looked at")
	m.p.awaitTarget(1, "10.6.3")
	m.p.quiet()
	b.visit("/sites/1")
	b.press("Upgrade to 10.6.3")
	b.sees("Reads and writes never stop")
	b.examine("dialog code")
	reader := m.v.read(harbour, "Moored safely", "10.6.2", "10.6.3")
	writer := m.v.write(harbour)
	b.pressOn("#confirm")
	b.lands(`^/tasks/\d+$`)
	b.seesWithin(time.Minute, "Succeeded: "+harbour)
	reader.finish(m.t)
	writer.finish(m.t)
	b.sees("code only, no database updates")
	b.examine("succeeded code")
	m.v.serves(harbour, "tidepool 10.6.3", "Moored safely")
	m.open(1)
}

func (m *mainJob) throwing() {
	m.step("6. a database update throws")
	b := m.b
	m.p.update(m.repo, 1, tidepool.Throws, "11.0.0")
	m.p.quiet()
	b.visit("/sites/1")
	b.press("Upgrade to 11.0.0")
	b.sees("tidepool_tides_update_11001")
	reader := m.v.read(harbour, "Moored safely", "10.6.3")
	writer := m.v.write(harbour)
	b.pressOn("#confirm")
	task := b.lands(`^/tasks/\d+$`)
	b.seesWithin(time.Minute, "Recovered: "+harbour)
	reader.finish(m.t)
	writer.finish(m.t, http.StatusServiceUnavailable)
	b.until(10*time.Second, "the failing step is marked and its log shows PHP's error",
		`document.querySelector('#step-updatedb').dataset.s === 'failed' && /undefined function.*tidepool_tides_station_code/.test(document.querySelector('#step-updatedb pre').innerText)`)
	b.examine("recovered")
	b.show("recovered")
	b.visit(task) // and after a reload
	b.until(10*time.Second, "the failing step shows PHP's error",
		`document.querySelector('#step-updatedb').dataset.s === 'failed' && document.querySelector('#step-updatedb details').open && /undefined function.*tidepool_tides_station_code/.test(document.querySelector('#step-updatedb pre').innerText)`)
	m.v.serves(harbour, "tidepool 10.6.3", "Moored safely")
	m.open(1)
	b.visit("/")
	b.until(10*time.Second, "the first page lists it", `[...document.querySelectorAll('#decisions li')].some((li) => li.innerText.includes(`+quote(harbour)+`) && li.innerText.includes('Recovered'))`)
	b.examine("recovered")
	b.press("See what failed")
	b.lands("^" + task + "$")
	b.open("/sites/1")
	b.sees("The last upgrade was put back")
}

func (m *mainJob) repaired() {
	m.step("6. the repaired version")
	m.p.update(m.repo, 1, tidepool.Fixed, "11.0.1")
	m.p.quiet()
	for _, platform := range m.p.platforms(1) {
		if strings.Contains(m.p.get(fmt.Sprintf("/platforms/%d", platform.id)).body, fmt.Sprintf(`/platforms/%d/upgrade"`, platform.id)) {
			task := m.p.press("platforms", platform.id)
			m.p.mustSucceed(task.id())
		}
	}
	m.v.serves(harbour, "tidepool 11.0.1", "Moored safely")
	m.v.serves(lagoon, "tidepool 11.0.1", "The flamingos are back")
	m.buttons(nil)
}

// pages looks at every page that was not looked at yet.
func (m *mainJob) pages() {
	m.step("every page is in order")
	b := m.b
	for _, path := range []string{
		"/", "/distributions", "/distributions/1", "/distributions/1/edit", "/platforms", "/platforms/2",
		"/sites", "/sites/2", "/sites?q=nothing", "/tasks", "/tasks?state=failed", "/tasks/1", "/nowhere",
	} {
		b.open(path)
	}
	b.visit("/sites/1")
	b.press("Hold")
	b.sees("Why is it held?")
	b.examine("hold")
	b.fill("reason", "The exhibition opens on Friday")
	b.press("Hold this site")
	b.sees("The exhibition opens on Friday")
	b.examine("held")
	b.press("Release")
	b.sees("Released")
	b.press("Sign out")
	b.lands(`^/login$`)
}
