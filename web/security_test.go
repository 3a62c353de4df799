package web

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2/memstore"

	"hefring/models"
	"hefring/web/webtest"
)

// public are the only addresses that need nobody to be signed in.
func public() map[string]bool {
	return map[string]bool{
		"GET /static/*": true, "GET /healthz": true, "GET /login": true, "POST /login": true, "POST /theme": true,
		"GET /login/link/:token": true, "POST /login/link/:token": true, "GET /login/code": true, "POST /login/code": true,
		"GET /login/oidc": true, "GET /login/oidc/callback": true, // there is no provider
	}
}

func TestRoutes_All_NeedLoginOrArePublic(t *testing.T) {
	b := visit(t, webtest.Sample())
	e := newServer(Config{Front: webtest.Sample(), SessionStore: memstore.NewWithCleanupInterval(0)}).echo()
	seen := 0
	for _, r := range e.Routes() {
		if public()[r.Method+" "+r.Path] {
			continue
		}
		seen++
		path := strings.NewReplacer(":id", "1", ":type", "git", "*", "x").Replace(r.Path)
		var got answer
		if r.Method == http.MethodPost {
			got = b.post(path, nil)
		} else {
			got = b.get(path)
		}
		isStream := strings.HasSuffix(path, "/stream") && got.status == http.StatusUnauthorized
		if !isStream && (got.status != http.StatusSeeOther || !strings.HasPrefix(got.location(), "/login")) {
			t.Errorf("%s %s answers %d %s to somebody who is not signed in", r.Method, r.Path, got.status, got.location())
		}
	}
	if seen < 35 {
		t.Errorf("saw %d routes that need a login; some are missing", seen)
	}
}

func TestRoutes_GarbageIDs_NotFound(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	for _, kind := range []string{"distributions", "platforms", "sites", "tasks", "backups", "databases"} {
		for _, id := range []string{"0", "-1", "x", "1e3", "99999999999999999999", "9223372036854775807", "1%00", "%2e%2e", "1;drop"} {
			if got := b.get("/" + kind + "/" + id); got.status != http.StatusNotFound {
				t.Errorf("GET /%s/%s: %d", kind, id, got.status)
			}
		}
	}
	for _, path := range []string{"/nothing", "/tasks/9999/stream", "/tasks/9999/log", "/sites/9999/upgrade", "/platforms/9999/upgrade", "/distributions/9999/edit", "/static/nothing.css", "/static/../web.go"} {
		if got := b.get(path); got.status != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, got.status)
		}
	}
	b.get("/nothing").has(t, "There is nothing here", "Go to the first page")
	if got := b.post("/queues/nothing", url.Values{"every": {"5"}, "unit": {"m"}, "at_once": {"1"}}); got.status != http.StatusNotFound {
		t.Errorf("POST to an unknown queue: %d", got.status)
	}
}

func TestRoutes_WrongMethod_SaysSo(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	got := b.get("/sites/31/hold")
	if got.status != http.StatusMethodNotAllowed {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "That cannot be done here")
}

func TestRoutes_OddQueries_DoNotFail(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	for _, path := range []string{
		"/sites?page=-5", "/sites?page=99999999999999999999", "/sites?page=1000000", "/sites?q=%00%ff", "/sites?distribution=x&behind=maybe",
		"/tasks?state=nothing", "/platforms?q=" + strings.Repeat("a", 5000), "/sites/31/upgrade?compare=x", "/sites/31/upgrade?compare=9999", "/sites/new?platform=x",
	} {
		got := b.get(path)
		if got.status == http.StatusSeeOther {
			got = b.get(got.location())
		}
		if got.status != http.StatusOK {
			t.Errorf("GET %.60s: %d", path, got.status)
		}
	}
}

func TestCSRF_Forged_Refused(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	token := b.token()
	for name, send := range map[string]func() answer{
		"no token":    func() answer { return b.do(http.MethodPost, "/sites/31/release", url.Values{}) },
		"wrong token": func() answer { return b.do(http.MethodPost, "/sites/31/release", url.Values{"_csrf": {"forged"}}) },
		"cross-site, with token": func() answer {
			return b.do(http.MethodPost, "/sites/31/release", url.Values{"_csrf": {token}}, "Sec-Fetch-Site", "cross-site")
		},
		"same-site, with token": func() answer {
			return b.do(http.MethodPost, "/sites/31/release", url.Values{"_csrf": {token}}, "Sec-Fetch-Site", "same-site")
		},
		"foreign origin, with token": func() answer {
			return b.do(http.MethodPost, "/sites/31/release", url.Values{"_csrf": {token}}, "Origin", "https://evil.example")
		},
		"null origin, with token": func() answer {
			return b.do(http.MethodPost, "/sites/31/release", url.Values{"_csrf": {token}}, "Origin", "null")
		},
		"another port, with token": func() answer {
			return b.do(http.MethodPost, "/sites/31/release", url.Values{"_csrf": {token}}, "Origin", "http://127.0.0.1:1")
		},
	} {
		if got := send(); got.status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, got.status)
		}
	}
	if f.Called("ReleaseSite") != 0 {
		t.Error("a forged form reached the fleet")
	}
	b.do(http.MethodPost, "/sites/31/release", url.Values{}).has(t, "Reload the page and send the form again")
}

func TestCSRF_OwnForms_Pass(t *testing.T) {
	b := signedIn(t, webtest.Sample(), func(c *Config, _ *server) {
		if c != nil {
			c.BaseURL = "https://hefring.example.org"
		}
	})
	token := b.token()
	for name, header := range map[string][]string{
		"token": nil, "header": {"X-CSRF-Token", token}, "own origin": {"Origin", b.base}, "origin behind a proxy": {"Origin", "https://hefring.example.org"},
		"same-origin": {"Sec-Fetch-Site", "same-origin"},
	} {
		if got := b.do(http.MethodPost, "/sites/31/release", url.Values{"_csrf": {token}}, header...); got.status != http.StatusSeeOther {
			t.Errorf("%s: status %d", name, got.status)
		}
	}
}

var inline = regexp.MustCompile(`(?i)<script(?:>| (?:[^>]*)>[^<])|<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|hx-vals=.js`)

// everyPage lists the pages of the sample fleet.
func everyPage() []string {
	return []string{
		"/", "/distributions", "/distributions?q=agency", "/distributions?q=zzz", "/distributions/new", "/distributions/1", "/distributions/2", "/distributions/3",
		"/distributions/1/edit", "/distributions/2/edit", "/distributions/2/platforms/new", "/platforms", "/platforms?state=failed", "/platforms/11", "/platforms/12",
		"/platforms/13", "/platforms/14", "/platforms/21", "/platforms/12/upgrade", "/sites", "/sites?behind=1", "/sites?q=zzz", "/sites/new", "/sites/new?platform=11",
		"/sites/31", "/sites/32", "/sites/33", "/sites/34", "/sites/35", "/sites/36", "/sites/37", "/sites/31/upgrade", "/sites/33/upgrade", "/sites/34/upgrade",
		"/sites/38/upgrade?compare=106", "/tasks", "/tasks?state=running", "/tasks/101", "/tasks/102", "/tasks/103", "/tasks/104", "/tasks/107", "/tasks/109",
		"/tasks/111", "/tasks/112", "/tasks/113", "/queues",
		"/distributions/1/webhooks", "/distributions/2/webhooks", "/webhooks/1", "/webhooks/2",
		"/sites/40", "/sites/32/settings", "/sites/32/backup", "/sites/32/disable", "/sites/32/delete", "/sites/32/rollback", "/backups/51/restore", "/backups/51/delete",
		"/sites/clone?site=32", "/sites/clone?backup=51", "/sites/clone?task=123&folder=default", "/sites/clone?task=123&folder=market.example.org", "/import",
		"/tasks/110", "/tasks/121", "/tasks/122", "/tasks/123", "/tasks/124", "/platforms/12/compare", "/platforms/12/compare?with=11&all=1", "/platforms/12/delete", "/platforms/13/delete",
		"/databases", "/databases/new", "/databases/1", "/databases/2", "/databases/1/delete",
	}
}

func TestPages_Every_StrictPolicyAndNothingInline(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	for _, path := range everyPage() {
		got := b.get(path)
		if got.status != http.StatusOK {
			t.Errorf("GET %s: %d", path, got.status)
		}
		csp := got.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, got.header)
		}
		if found := inline.FindString(got.body); found != "" {
			t.Errorf("%s has something inline: %q", path, found)
		}
		if n := strings.Count(got.body, "<h1"); n != 1 {
			t.Errorf("%s has %d h1", path, n)
		}
		if id := doubleID(got.body); id != "" {
			t.Errorf("%s has the id %q twice", path, id)
		}
		if strings.Contains(got.body, "%!") {
			t.Errorf("%s: a format went wrong", path)
		}
	}
}

var idAttribute = regexp.MustCompile(`\sid="([^"]+)"`)

func doubleID(page string) string {
	seen := map[string]bool{}
	for _, m := range idAttribute.FindAllStringSubmatch(page, -1) {
		if seen[m[1]] {
			return m[1]
		}
		seen[m[1]] = true
	}
	return ""
}

func TestPages_HostileNames_AreEscaped(t *testing.T) {
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>`
	f := webtest.Sample()
	f.Dists[0].Name, f.Dists[0].Slug, f.Dists[0].Reason = evil, evil, evil
	f.Dists[0].Settings = models.Settings{"url": evil, "branch": evil}
	f.Plats[0].Name, f.Plats[2].Name, f.Plats[2].Note, f.Plats[2].Label, f.Plats[2].Revision = evil, evil, evil, evil, evil
	f.Plats[2].Packages = []models.Package{{Name: evil, Type: evil, Version: evil}}
	f.Plats[2].Provenance = models.Settings{evil: evil}
	f.Sits[0].URI, f.Sits[0].Title, f.Sits[0].Profile = evil, evil, evil
	f.Sits[3].HeldReason, f.Sits[5].Reason = evil, evil
	f.Checks[1].Message, f.Checks[2].Message = evil, evil
	for i := range f.Jobs {
		f.Jobs[i].Title, f.Jobs[i].Message, f.Jobs[i].Actor = evil, evil, evil
	}
	for i := range f.Log {
		f.Log[i].Text, f.Log[i].Step = evil, evil
	}
	for i := range f.Waiting {
		f.Waiting[i].Title, f.Waiting[i].Why, f.Waiting[i].PlatformName = evil, evil, evil
	}
	f.Comparisons[31] = models.Comparison{SiteID: 31, FromPlatformID: 12, PlatformID: 11, Blockers: []string{evil}, Updates: []models.PendingUpdate{{Name: evil, Description: evil}}}
	f.Sits[1].URI, f.Sits[1].Aliases, f.Sits[1].Probes, f.Sits[1].ProbeText, f.Sits[1].Language = evil, []string{evil}, []string{evil}, evil, evil
	for i := range f.Backs {
		f.Backs[i].Note, f.Backs[i].Reason, f.Backs[i].URI, f.Backs[i].DrupalVersion = evil, evil, evil, evil
	}
	for i := range f.Databases {
		s := &f.Databases[i].DatabaseServer
		s.Name, s.Host, s.Version, s.Reason, s.User = evil, evil, evil, evil, evil
	}
	for i := range f.Found[webtest.ImportTask] {
		s := &f.Found[webtest.ImportTask][i]
		s.Root, s.URI, s.Title, s.DrupalVersion, s.Profile, s.Database = evil, evil, evil, evil, evil, evil
	}
	f.Found[webtest.ImportTask][2].Problem = evil
	f.Backwards[32].Loss.Tables[0].Table, f.Backwards[32].Loss.Tables[3].Why = evil, evil
	b := signedIn(t, f)
	for _, path := range append(everyPage(), "/sites?q="+url.QueryEscape(evil), "/tasks?q="+url.QueryEscape(evil)+"&state="+url.QueryEscape(evil)) {
		b.get(path).hasNot(t, "<script>alert", "<img src=x")
	}
	events, _ := b.follow("/tasks/101/stream", "")
	if e := next(t, events, "line"); strings.Contains(e.data, "<script") {
		t.Errorf("a line of the stream is not escaped: %s", e.data)
	}
}

func TestPages_TokenInAnAddress_IsNotShown(t *testing.T) {
	f := webtest.Sample()
	const address = "https://code.example.org/base.make?private_token="
	f.Dists[0].Settings = models.Settings{"url": address + "hunter2"}
	f.Plats[1].Provenance = models.Settings{"url": address + "hunter2"}
	b := signedIn(t, f)
	for _, path := range everyPage() {
		b.get(path).hasNot(t, "hunter2")
	}
	for _, path := range []string{"/distributions/1", "/distributions/1/edit", "/platforms/11"} {
		b.get(path).has(t, address+"…")
	}
}

func TestErrors_Internal_HideTheirText(t *testing.T) {
	f := webtest.Sample()
	f.Fail["Sites"] = errors.New("dial tcp 10.0.0.1: password=hunter2")
	b := signedIn(t, f)
	got := b.get("/sites")
	if got.status != http.StatusInternalServerError {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "Something went wrong")
	got.hasNot(t, "hunter2")
	if !strings.Contains(b.logs.String(), "hunter2") {
		t.Error("the log does not say what happened")
	}
}

func TestBody_TooLarge_Refused(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	got := b.post("/distributions", url.Values{"name": {strings.Repeat("a", 2<<20)}}, "X-CSRF-Token", b.token())
	if got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", got.status)
	}
}

func TestSafePath_OnlyPathsHere(t *testing.T) {
	for path, want := range map[string]string{
		"/sites?q=a%20b": "/sites?q=a%20b", "/": "/", "": "/", "sites": "/", "//evil.example": "/", "https://evil.example/": "/", `/\evil.example`: "/",
		"/\tx": "/", "javascript:alert(1)": "/", "/%2f/evil.example": "/", "/a\r\nb": "/", "/%zz": "/",
	} {
		if got := safePath(path); got != want {
			t.Errorf("safePath(%q) = %q, want %q", path, got, want)
		}
	}
}
