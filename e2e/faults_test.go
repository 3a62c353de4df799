package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// Bad input and faults: each is answered with what happened and what to do, and
// nothing is half done.
func TestFaults(t *testing.T) {
	t.Parallel()
	f := &faults{t: t, h: newHefring(t, ""), forge: newForge(t)}
	f.p, f.other, f.v, f.j = f.h.person("admin"), f.h.person("second"), f.h.visitor(), f.h.journal()
	f.sources()
	f.paths()
	f.postedTwice()
	f.forged()
	f.together()
	f.batch()
}

type faults struct {
	t        *testing.T
	h        *hefring
	forge    *forge
	p, other *person
	v        *visitor
	j        *journal
}

// source is one source that cannot become a platform.
type source struct {
	name, url string
	settings  map[string]string
	says      string // pattern of what a person reads
}

// sources: every fault of a source is told on its distribution's page and on the
// first page, and makes no platform that looks ready.
func (f *faults) sources() {
	website := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<!doctype html>\n<title>A website</title>\n<p>Welcome.\n"))
	}))
	defer website.Close()
	good, noDocroot, broken := f.forge.repo("good"), f.forge.repo("no-docroot"), f.forge.repo("broken")
	good.push(tidepool.V1058)
	noDocroot.push(tidepool.NoDocroot)
	broken.push(tidepool.BrokenLock)
	if _, err := f.forge.server.Create("empty", "main"); err != nil {
		f.t.Fatal(err)
	}
	closed := fmt.Sprintf("http://127.0.0.1:%d/x.git", freePorts(f.t, 1)[0])
	list := []source{
		{"Unreachable", closed, nil, `refuses connections.*[Cc]heck`},
		{"Not git", website.URL + "/x.git", nil, `not a git repository.*Correct the repository URL`},
		{"No repository", f.forge.url + "/nowhere.git", nil, `no git repository.*Correct the repository URL`},
		{"Empty repository", f.forge.url + "/empty.git", nil, `is empty.*Push a first commit`},
		{"Private network", "http://10.255.255.1/x.git", nil, `private|not allowed|may not connect`},
		{"No branch", good.url, map[string]string{"branch": "nowhere"}, `no branch "nowhere".*Correct the branch`},
		{"No folder", good.url, map[string]string{"subdirectory": "nowhere"}, `no folder "nowhere".*Correct the sub-directory`},
		{"Docroot without index", good.url, map[string]string{"docroot": "vendor"}, `no index\.php.*Correct the docroot`},
		{"Docroot nowhere", good.url, map[string]string{"docroot": "nowhere"}, `does not exist.*Correct the docroot`},
		{"No docroot", noDocroot.url, nil, `No docroot was found.*Set the docroot`},
		{"Composer fails", broken.url, map[string]string{"composer": "1"}, `composer install failed.*(commit|Commit)`},
		{"Composer needed", broken.url, nil, `switch on .Run composer install`},
	}
	ids := map[string]int64{}
	for _, s := range list {
		got := f.p.addGit(s.name, s.url, s.settings)
		if ids[s.name] = got.id(); ids[s.name] == 0 && !regexp.MustCompile(s.says).MatchString(got.wrong("git-url")) {
			f.t.Errorf("%s: status %d, beside the address %q, want %s", s.name, got.status, got.wrong("git-url"), s.says)
		}
	}
	for _, s := range list {
		if ids[s.name] != 0 {
			f.failing(ids[s.name], s)
		}
	}
	if n := f.j.number(`SELECT COUNT(*) FROM platforms WHERE state = 'ready'`); n != 0 {
		f.t.Errorf("%d platforms look ready", n)
	}
	f.p.quiet()
	f.noRest()
	first := f.p.get("/").text()
	for _, s := range list {
		if ids[s.name] != 0 && !strings.Contains(first, s.name) && !strings.Contains(first, slug(s.name)) {
			f.t.Errorf("%s is not on the first page:\n%s", s.name, first)
		}
	}
}

// slug is the short name that platforms have of a distribution.
func slug(name string) string { return strings.ReplaceAll(strings.ToLower(name), " ", "-") }

func (f *faults) failing(id int64, s source) {
	f.t.Helper()
	path := fmt.Sprintf("/distributions/%d", id)
	said := ""
	eventually(f.t, time.Minute, s.name+" fails", func() bool {
		got := f.p.get(path)
		said = textOf(got.match(`(?s)<div class="note" data-s="(?:failed|warning)">(.*?)</div>`))
		return strings.Contains(got.body, `class="st badge" data-s="failed"`) && said != ""
	})
	if !regexp.MustCompile(s.says).MatchString(said) {
		f.t.Errorf("%s says %q, want %s", s.name, said, s.says)
	}
}

// noRest fails if a build left something in the store of platforms.
func (f *faults) noRest() {
	f.t.Helper()
	if left := staged(f.h); len(left) > 0 {
		f.t.Errorf("left in the staging folder: %v", left)
	}
}

// paths: what leads out of a folder, and what a program would take for an option,
// is refused beside its field.
func (f *faults) paths() {
	before := f.j.number(`SELECT COUNT(*) FROM distributions`)
	for _, path := range []string{"..", "../x", "a/../../b", "/../etc", "x/..", `..\x`} {
		for _, field := range []string{"subdirectory", "docroot"} {
			got := f.p.addGit("Paths", f.forge.url+"/good.git", map[string]string{field: path})
			if got.status != http.StatusUnprocessableEntity || got.wrong("git-"+field) == "" {
				f.t.Errorf("%s %q: status %d, beside it %q", field, path, got.status, got.wrong("git-"+field))
			}
		}
		got := f.p.submit("/distributions/new", "/distributions", url.Values{"name": {"Paths"}, "type": {"manual"}, "manual.docroot": {path}})
		if got.status != http.StatusUnprocessableEntity || got.wrong("manual-docroot") == "" {
			f.t.Errorf("manual docroot %q: status %d, beside it %q", path, got.status, got.wrong("manual-docroot"))
		}
	}
	for _, address := range []string{"-u", "--upload-pack=touch", "-oProxyCommand=touch", "ext::sh -c touch", "file:///etc", "/etc", "http://user:secret@127.0.0.1/x.git"} {
		got := f.p.addGit("Address", address, nil)
		if got.status != http.StatusUnprocessableEntity || got.wrong("git-url") == "" {
			f.t.Errorf("address %q: status %d, beside it %q", address, got.status, got.wrong("git-url"))
		}
	}
	for _, branch := range []string{"-x", "--upload-pack=touch", "a b", "../x", "x.lock"} {
		got := f.p.addGit("Branch", f.forge.url+"/good.git", map[string]string{"branch": branch})
		if got.status != http.StatusUnprocessableEntity || got.wrong("git-branch") == "" {
			f.t.Errorf("branch %q: status %d, beside it %q", branch, got.status, got.wrong("git-branch"))
		}
	}
	if n := f.j.number(`SELECT COUNT(*) FROM distributions`); n != before {
		f.t.Errorf("%d distributions were made of bad values", n-before)
	}
	f.folders()
}

// folders: paths of folders on the server.
func (f *faults) folders() {
	manual := f.p.submit("/distributions/new", "/distributions", url.Values{"name": {"By hand"}, "type": {"manual"}}).id()
	form := fmt.Sprintf("/distributions/%d/platforms", manual)
	for _, path := range []string{"", "../etc", "srv", "/srv/../etc", "/srv/", "/", "-x"} {
		got := f.p.submit(form+"/new", form, url.Values{"path": {path}})
		if got.status != http.StatusUnprocessableEntity || got.wrong("path") == "" {
			f.t.Errorf("folder %q: status %d, beside it %q", path, got.status, got.wrong("path"))
		}
	}
	// What only the disk knows is told when it is looked at: on the form, or by
	// the platform that could not be made.
	for path, says := range map[string]string{"/nowhere/at/all": "no folder", f.h.data(): "of Hefring itself", "/proc/version": "not a folder"} {
		got := f.p.submit(form+"/new", form, url.Values{"path": {path}})
		said := got.wrong("path")
		if got.status == http.StatusOK {
			eventually(f.t, time.Minute, "the platform fails", func() bool {
				got = f.p.get(fmt.Sprintf("/platforms/%d", got.id()))
				return strings.Contains(got.body, `class="st badge" data-s="failed"`)
			})
			said = got.text()
		}
		if !strings.Contains(said, says) {
			f.t.Errorf("folder %q: it says %q, want %q", path, said, says)
		}
	}
}

// send posts the same form several times at once.
func send(forms ...func() (page, error)) []page {
	pages := make([]page, len(forms))
	var all sync.WaitGroup
	for i, form := range forms {
		all.Go(func() {
			got, err := form()
			if err != nil {
				got.body = err.Error()
			}
			pages[i] = got
		})
	}
	all.Wait()
	return pages
}

// postedTwice: a form that is sent twice makes one thing, and both answers lead
// to it.
func (f *faults) postedTwice() {
	values := f.p.fill("/distributions/new", url.Values{"name": {"Tidepool"}, "type": {"git"}, "git.url": {f.forge.url + "/good.git"}})
	post := func(action string) []page {
		once := func() (page, error) { return f.p.try(http.MethodPost, action, values) }
		return append(send(once, once), f.p.send(action, values))
	}
	f.oneThing("distribution", post("/distributions"), `SELECT COUNT(*) FROM distributions WHERE name = 'Tidepool'`)
	target := f.p.awaitTarget(f.j.number(`SELECT id FROM distributions WHERE name = 'Tidepool'`), "10.5.8")
	values = f.p.fill("/sites/new", url.Values{"uri": {harbour}, "platform": {strconv.FormatInt(target.id, 10)}, "profile": {"standard"}})
	f.oneThing("site", post("/sites"), `SELECT COUNT(*) FROM sites WHERE uri = '`+harbour+`'`)
	f.p.quiet()
	f.v.serves(harbour, "tidepool 10.5.8")
	// With another form, that is with other intent, the name is taken.
	got := f.p.submit("/distributions/new", "/distributions", url.Values{"name": {"Tidepool"}, "type": {"git"}, "git.url": {f.forge.url + "/good.git"}})
	if got.status != http.StatusUnprocessableEntity || !strings.Contains(strings.ToLower(got.text()), "tidepool") {
		f.t.Errorf("a second distribution of the same name: status %d", got.status)
	}
	got = f.p.submit("/sites/new", "/sites", url.Values{"uri": {harbour}, "platform": {strconv.FormatInt(target.id, 10)}, "profile": {"standard"}})
	if got.status != http.StatusUnprocessableEntity || got.wrong("uri") == "" {
		f.t.Errorf("a second site of the same name: status %d, beside the name %q", got.status, got.wrong("uri"))
	}
}

func (f *faults) oneThing(what string, answers []page, count string) {
	f.t.Helper()
	for _, got := range answers {
		if got.id() == 0 || got.url != answers[0].url {
			f.t.Errorf("%s posted twice: status %d at %s, the first at %s\n%.500s", what, got.status, got.url, answers[0].url, got.text())
		}
	}
	if n := f.j.number(count); n != 1 {
		f.t.Errorf("%s posted twice: there are %d", what, n)
	}
}

// forged: no button and no form does anything without the page's own token.
func (f *faults) forged() {
	state := func() string {
		return fmt.Sprint(f.j.number(`SELECT COUNT(*) FROM events`), f.j.number(`SELECT COUNT(*) FROM tasks`), f.j.number(`SELECT COUNT(*) FROM distributions`),
			f.j.number(`SELECT COUNT(*) FROM sites`), f.j.list(`SELECT every || ' ' || paused FROM queues`), f.j.list(`SELECT locked || ' ' || state FROM platforms`), f.j.list(`SELECT held FROM sites`))
	}
	f.p.quiet()
	f.p.submit("/queues", "/queues/git/pause", nil) // or a check could change the state meanwhile
	f.p.quiet()
	before := state()
	site, platform := f.j.number(`SELECT MAX(id) FROM sites`), f.j.number(`SELECT MAX(id) FROM platforms WHERE state = 'ready'`)
	actions := []string{"/distributions", "/distributions/1", "/distributions/1/check", "/distributions/1/approve", "/distributions/1/retry", "/distributions/1/webhooks", "/queues/hosts", "/distributions/1/platforms", "/sites", "/queues/git", "/queues/git/run", "/queues/git/pause", "/queues/git/resume", "/tasks/1/cancel", "/logout"}
	for _, verb := range []string{"lock", "unlock", "verify", "target", "build", "upgrade"} {
		actions = append(actions, fmt.Sprintf("/platforms/%d/%s", platform, verb))
	}
	for _, verb := range []string{"hold", "release", "install", "upgrade", "compare"} {
		actions = append(actions, fmt.Sprintf("/sites/%d/%s", site, verb))
	}
	for _, action := range actions {
		for _, token := range []string{"", "forged"} {
			values := url.Values{"name": {"Forged"}, "type": {"git"}, "git.url": {f.forge.url + "/good.git"}, "reason": {"forged"}, "every": {"1"}, "unit": {"h"}}
			if token != "" {
				values.Set("_csrf", token)
			}
			got := f.p.send(action, values)
			if got.status != http.StatusForbidden || !strings.Contains(got.text(), "Reload the page") {
				f.t.Errorf("POST %s with the token %q: status %d\n%.300s", action, token, got.status, got.text())
			}
		}
	}
	if after := state(); after != before {
		f.t.Errorf("forged forms changed something:\n%s\n%s", before, after)
	}
	f.p.submit("/queues", "/queues/git/resume", nil)
}

// behind brings a new version of a distribution with some sites on its old one.
func (f *faults) behind(name string, uris ...string) (old platformLine, sites []int64) {
	f.t.Helper()
	repo := f.forge.repo(name)
	repo.push(tidepool.V1058)
	d := f.p.addGit(name, repo.url, nil).id()
	old = f.p.awaitTarget(d, "10.5.8")
	sites = f.p.install(old.id, "standard", uris...)
	f.p.update(repo, d, tidepool.V1062, "10.6.2")
	f.p.quiet()
	return old, sites
}

const already = "This is the task that works on it already. Nothing was started a second time."

// together: two people press Upgrade at once; there is one upgrade, and both see
// it.
func (f *faults) together() {
	_, sites := f.behind("together", "together.localhost")
	path := fmt.Sprintf("/sites/%d/upgrade", sites[0])
	var forms []func() (page, error)
	for _, who := range []*person{f.p, f.other} {
		values := who.fill(path, url.Values{"target": {who.get(path).match(`name="target" value="(\d+)"`)}})
		forms = append(forms, func() (page, error) { return who.try(http.MethodPost, path, values) })
	}
	notices := 0
	pages := send(forms...)
	for _, got := range pages {
		if !strings.HasPrefix(got.url, "/tasks/") || got.url != pages[0].url {
			f.t.Errorf("one of two people landed on %s (status %d), the other on %s", got.url, got.status, pages[0].url)
		}
		if strings.Contains(got.text(), already) {
			notices++
		}
	}
	if notices != 1 {
		f.t.Errorf("%d of two people were told that it runs already", notices)
	}
	f.p.mustSucceed(pages[0].id())
	if n := f.j.number(`SELECT COUNT(*) FROM upgrades WHERE site_id = ?`, sites[0]); n != 1 {
		f.t.Errorf("there were %d upgrades", n)
	}
	f.v.serves("together.localhost", "tidepool 10.6.2")
	clean(f.t, f.h, f.j, sites[0])
}

// batch: a site is upgraded while its platform's batch runs, and the other way
// round; every site moves exactly once.
func (f *faults) batch() {
	uris := []string{"one.localhost", "two.localhost", "three.localhost"}
	old, sites := f.behind("batch", uris...)
	path := fmt.Sprintf("/sites/%d/upgrade", sites[0])
	values := f.p.fill(path, url.Values{"target": {f.p.get(path).match(`name="target" value="(\d+)"`)}})
	early := f.p.upgrade(sites[1])
	parent := f.other.press("platforms", old.id)
	late := f.p.send(path, values)
	if !strings.HasPrefix(late.url, "/tasks/") && !strings.Contains(late.text(), "already") {
		f.t.Errorf("a site pressed during the batch: status %d at %s\n%.500s", late.status, late.url, late.text())
	}
	again := f.p.send(fmt.Sprintf("/platforms/%d/upgrade", old.id), values)
	if again.url != parent.url && !strings.Contains(again.text(), "already") && !strings.Contains(again.text(), "not behind") && !strings.Contains(again.text(), "No site to upgrade") {
		f.t.Errorf("a second batch: status %d at %s\n%.500s", again.status, again.url, again.text())
	}
	f.p.mustSucceed(early.id())
	f.p.mustSucceed(parent.id())
	f.p.quiet()
	for i, id := range sites {
		f.v.serves(uris[i], "tidepool 10.6.2")
		if n := f.j.number(`SELECT COUNT(*) FROM upgrades WHERE site_id = ? AND state = 'succeeded'`, id); n != 1 {
			f.t.Errorf("%s was upgraded %d times", uris[i], n)
		}
		if n := f.j.number(`SELECT COUNT(*) FROM upgrades WHERE site_id = ? AND state NOT IN ('succeeded', 'cancelled')`, id); n != 0 {
			f.t.Errorf("%s has %d upgrades that did not end well", uris[i], n)
		}
		f.v.comment(uris[i], "After the batch")
		clean(f.t, f.h, f.j, id)
	}
}
