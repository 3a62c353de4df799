package e2e_test

import (
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// person uses Hefring's pages without a browser: it follows links, fills forms
// and sends the tokens that they hold.
type person struct {
	t      *testing.T
	base   string
	client *http.Client
}

// page is what a person gets to see.
type page struct {
	url    string // after redirects, without the host
	status int
	body   string
}

// person signs in with a password.
func (h *hefring) person(name string) *person {
	h.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	p := &person{t: h.t, base: h.url, client: &http.Client{Jar: jar, Timeout: time.Minute}}
	if got := p.submit("/login", "/login", url.Values{"name": {name}, "password": {password}}); got.status != http.StatusOK || got.url == "/login" {
		h.t.Fatalf("sign in as %s: status %d at %s\n%s", name, got.status, got.url, got.text())
	}
	return p
}

// get opens a page.
func (p *person) get(path string) page {
	p.t.Helper()
	got, err := p.try(http.MethodGet, path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return got
}

// submit opens a page and sends one of its forms, with what was typed in it.
func (p *person) submit(from, action string, typed url.Values) page {
	p.t.Helper()
	return p.send(action, p.fill(from, typed))
}

// fill gives what a form of the page sends.
func (p *person) fill(from string, typed url.Values) url.Values {
	p.t.Helper()
	form := p.get(from)
	values := url.Values{}
	for _, token := range []string{"_csrf", "_once"} {
		if match := regexp.MustCompile(`name="` + token + `" value="([^"]*)"`).FindStringSubmatch(form.body); match != nil {
			values.Set(token, html.UnescapeString(match[1]))
		}
	}
	if values.Get("_csrf") == "" {
		p.t.Fatalf("%s has no form (status %d):\n%s", from, form.status, form.text())
	}
	maps.Copy(values, typed)
	return values
}

// send posts exactly these values.
func (p *person) send(action string, values url.Values) page {
	p.t.Helper()
	got, err := p.try(http.MethodPost, action, values)
	if err != nil {
		p.t.Fatal(err)
	}
	return got
}

func (p *person) try(method, path string, values url.Values) (page, error) {
	request, err := http.NewRequest(method, p.base+path, strings.NewReader(values.Encode()))
	if err != nil {
		return page{}, err
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := p.client.Do(request)
	if err != nil {
		return page{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return page{}, err
	}
	return page{url: response.Request.URL.RequestURI(), status: response.StatusCode, body: string(body)}, nil
}

var (
	tagPattern   = regexp.MustCompile(`(?s)<(script|style|svg).*?</(script|style|svg)>|<[^>]*>`)
	spacePattern = regexp.MustCompile(`\s+`)
)

// text is what can be read on the page.
func (p page) text() string { return textOf(p.body) }

func textOf(markup string) string {
	return strings.TrimSpace(spacePattern.ReplaceAllString(html.UnescapeString(tagPattern.ReplaceAllString(markup, " ")), " "))
}

// match gives the first group of a pattern in the page, or "".
func (p page) match(pattern string) string {
	if match := regexp.MustCompile(pattern).FindStringSubmatch(p.body); match != nil {
		return html.UnescapeString(match[1])
	}
	return ""
}

// wrong is what stands beside a field.
func (p page) wrong(id string) string {
	return textOf(p.match(`(?s)id="` + regexp.QuoteMeta(id) + `-e">(.*?)</p>`))
}

// id is the number in the page's address.
func (p page) id() int64 {
	match := regexp.MustCompile(`^/[a-z]+/(\d+)`).FindStringSubmatch(p.url)
	if match == nil {
		return 0
	}
	n, _ := strconv.ParseInt(match[1], 10, 64)
	return n
}

// addGit adds a distribution that follows a repository; settings are the form's
// other fields.
func (p *person) addGit(name, url string, settings map[string]string) page {
	p.t.Helper()
	typed := map[string][]string{"name": {name}, "type": {"git"}, "git.url": {url}}
	for field, value := range settings {
		typed["git."+field] = []string{value}
	}
	return p.submit("/distributions/new", "/distributions", typed)
}

// platformLine is a platform as its distribution's page shows it.
type platformLine struct {
	id             int64
	name, state    string
	version        string
	target, locked bool
}

var linePattern = regexp.MustCompile(`(?s)<tr role="row">(.*?)</tr>`)

// platforms reads the platforms of a distribution, newest first.
func (p *person) platforms(distribution int64) []platformLine {
	p.t.Helper()
	var list []platformLine
	for _, row := range linePattern.FindAllStringSubmatch(p.get(fmt.Sprintf("/distributions/%d", distribution)).body, -1) {
		line := page{body: row[1]}
		id, _ := strconv.ParseInt(line.match(`href="/platforms/(\d+)"`), 10, 64)
		if id == 0 {
			continue
		}
		list = append(list, platformLine{
			id: id, name: line.match(`href="/platforms/\d+">([^<]*)<`), state: line.match(`class="st" data-s="([a-z]+)"`),
			version: line.match(`data-l="Drupal"><code>([^<]*)<`),
			target:  strings.Contains(row[1], `data-s="target"`), locked: strings.Contains(row[1], `data-s="locked"`),
		})
	}
	return list
}

// awaitTarget waits until a platform with this version is the upgrade target.
func (p *person) awaitTarget(distribution int64, version string) platformLine {
	p.t.Helper()
	var found platformLine
	var last []platformLine
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		last = p.platforms(distribution)
		for _, line := range last {
			if line.target && line.version == version && line.state == "ready" {
				found = line
			}
			if line.state == "failed" {
				p.t.Fatalf("platform %s did not build: %s", line.name, p.get(fmt.Sprintf("/platforms/%d", line.id)).text())
			}
		}
		if found.id != 0 {
			return found
		}
		<-time.After(100 * time.Millisecond)
	}
	p.t.Fatalf("no target with version %s: %+v\n%s", version, last, p.get(fmt.Sprintf("/distributions/%d", distribution)).text())
	return found
}

// check has a distribution's source looked at.
func (p *person) check(distribution int64) {
	p.t.Helper()
	path := fmt.Sprintf("/distributions/%d", distribution)
	if got := p.submit(path, path+"/check", nil); got.status != http.StatusOK {
		p.t.Fatalf("check now: status %d\n%s", got.status, got.text())
	}
}

// update pushes a version and waits until it is the target.
func (p *person) update(r *repo, distribution int64, version, drupal string) platformLine {
	p.t.Helper()
	r.push(version)
	p.check(distribution)
	return p.awaitTarget(distribution, drupal)
}

// install installs sites side by side and waits for them.
func (p *person) install(platform int64, profile string, uris ...string) []int64 { //nolint:unparam // the test on real Drupal installs another
	p.t.Helper()
	ids := make([]int64, 0, len(uris))
	for _, uri := range uris {
		got := p.submit("/sites/new", "/sites", url.Values{
			"uri": {uri}, "title": {"The " + uri}, "platform": {strconv.FormatInt(platform, 10)}, "profile": {profile},
		})
		if got.id() == 0 {
			p.t.Fatalf("install %s: status %d\n%s", uri, got.status, got.text())
		}
		ids = append(ids, got.id())
	}
	for _, id := range ids {
		eventually(p.t, 2*time.Minute, "the site is installed", func() bool {
			state := p.site(id)
			if state == "broken" {
				p.t.Fatalf("the site is broken: %s", p.get(fmt.Sprintf("/sites/%d", id)).text())
			}
			return state == "current"
		})
	}
	return ids
}

// site is how a site stands, as its page says: current behind running recovered
// held broken …
func (p *person) site(id int64) string {
	p.t.Helper()
	return p.get(fmt.Sprintf("/sites/%d", id)).match(`class="st badge" data-s="([a-z]+)"`)
}

// upgrade presses a site's Upgrade button.
func (p *person) upgrade(site int64) page { return p.press("sites", site) }

// press presses the Upgrade button of a site or platform and lands on the task.
func (p *person) press(kind string, id int64) page {
	p.t.Helper()
	path := fmt.Sprintf("/%s/%d/upgrade", kind, id)
	return p.submit(path, path, url.Values{"target": {p.get(path).match(`name="target" value="(\d+)"`)}})
}

// task is how a task stands: queued running succeeded recovered failed …
func (p *person) task(id int64) string {
	p.t.Helper()
	return p.get(fmt.Sprintf("/tasks/%d", id)).match(`class="st badge" data-s="([a-z]+)"`)
}

// awaitTask waits until a task has ended and gives how.
func (p *person) awaitTask(id int64, limit time.Duration) string {
	p.t.Helper()
	state := ""
	eventually(p.t, limit, fmt.Sprintf("task %d ends", id), func() bool {
		state = p.task(id)
		return state != "queued" && state != "running"
	})
	return state
}

// mustSucceed waits for a task and fails unless it ends well.
func (p *person) mustSucceed(id int64) {
	p.t.Helper()
	if got := p.awaitTask(id, 2*time.Minute); got != "succeeded" {
		p.t.Fatalf("task %d ended %s:\n%s", id, got, p.get(fmt.Sprintf("/tasks/%d/log", id)).body)
	}
}

// quiet waits until no task is queued or running.
func (p *person) quiet() {
	p.t.Helper()
	eventually(p.t, 2*time.Minute, "all tasks have ended", p.idle)
}

// idle looks at one list, because between two a task may move from one to the
// other.
func (p *person) idle() bool {
	p.t.Helper()
	return p.get("/tasks").match(`class="st" data-s="(queued|running)"`) == ""
}
