package web

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"

	"hefring/models"
	"hefring/web/webtest"
)

// browser is a person's browser without JavaScript that follows no redirect.
type browser struct {
	t    *testing.T
	base string
	http *http.Client
	logs *bytes.Buffer
}

// answer is what a page gave.
type answer struct {
	status int
	body   string
	header http.Header
}

func (a answer) location() string { return a.header.Get("Location") }

// visit opens a browser on a fleet; nobody is signed in yet.
func visit(t *testing.T, f *webtest.Fleet, change ...func(*Config, *server)) *browser {
	t.Helper()
	return visitWithin(t, f, 0, change...)
}

// visitWithin is visit of a server that gives every answer only so long.
func visitWithin(t *testing.T, f *webtest.Fleet, writeTimeout time.Duration, change ...func(*Config, *server)) *browser {
	t.Helper()
	logs := &bytes.Buffer{}
	store := memstore.NewWithCleanupInterval(0)
	cfg := Config{Front: f, As: func(by models.Actor) Fleet { return f.As(by) }, SessionStore: store, Logger: slog.New(slog.NewTextHandler(logs, nil)), Version: "test"}
	for _, c := range change {
		c(&cfg, nil)
	}
	s := newServer(cfg)
	s.poll = 5 * time.Millisecond
	for _, c := range change {
		c(nil, s)
	}
	srv := httptest.NewUnstartedServer(s.handler())
	srv.Config.WriteTimeout = writeTimeout
	srv.Start()
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(client.CloseIdleConnections)
	return &browser{t: t, base: srv.URL, http: client, logs: logs}
}

// signedIn is visit by somebody who signed in.
func signedIn(t *testing.T, f *webtest.Fleet, change ...func(*Config, *server)) *browser {
	t.Helper()
	b := visit(t, f, change...)
	b.signIn()
	return b
}

func (b *browser) signIn() {
	b.t.Helper()
	if got := b.post("/login", url.Values{"name": {"admin"}, "password": {"correct horse"}}); got.status != http.StatusSeeOther {
		b.t.Fatalf("sign in: status %d\n%s", got.status, got.body)
	}
}

func (b *browser) do(method, path string, form url.Values, header ...string) answer {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{res.StatusCode, string(text), res.Header}
}

func (b *browser) get(path string, header ...string) answer {
	b.t.Helper()
	return b.do(http.MethodGet, path, nil, header...)
}

var tokenField = regexp.MustCompile(`name="_csrf" value="([^"]+)"`)

// token is what a form of this browser's pages carries.
func (b *browser) token() string {
	b.t.Helper()
	for _, path := range []string{"/login", "/queues"} {
		if m := tokenField.FindStringSubmatch(b.get(path).body); m != nil {
			return html.UnescapeString(m[1])
		}
	}
	b.t.Fatal("no page has a form with a token")
	return ""
}

func (b *browser) post(path string, form url.Values, header ...string) answer {
	b.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	form.Set("_csrf", b.token())
	return b.do(http.MethodPost, path, form, header...)
}

func (a answer) has(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			t.Errorf("the page (status %d) has no %q", a.status, part)
		}
	}
}

func (a answer) hasNot(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(a.body, part) {
			t.Errorf("the page (status %d) has %q", a.status, part)
		}
	}
}

// event is one server-sent event.
type event struct{ id, name, data string }

// follow opens a stream and gives its events until it ends or the test does.
func (b *browser) follow(path, lastID string) (<-chan event, context.CancelFunc) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := b.http.Do(req) //nolint:bodyclose // the cleanup closes it
	if err != nil {
		b.t.Fatal(err)
	}
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		b.t.Fatalf("stream has type %q, status %d", got, res.StatusCode)
	}
	events := make(chan event, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(events)
		defer func() { _ = res.Body.Close() }()
		readEvents(res.Body, events)
	}()
	b.t.Cleanup(func() { cancel(); <-done })
	return events, cancel
}

func readEvents(body io.Reader, events chan<- event) {
	var e event
	for scan := bufio.NewScanner(body); scan.Scan(); {
		switch key, value, _ := strings.Cut(scan.Text(), ": "); key {
		case "":
			if value != "" || strings.HasPrefix(scan.Text(), ":") {
				events <- event{name: "comment", data: value}
				continue
			}
			if e.name != "" {
				events <- e
			}
			e = event{}
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data += value
		}
	}
}

// next gives the next event with one of the names.
func next(t *testing.T, events <-chan event, names ...string) event {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case e, open := <-events:
			if !open {
				t.Fatalf("the stream ended before %v", names)
			}
			if slices.Contains(names, e.name) {
				return e
			}
		case <-deadline:
			t.Fatalf("no %v within 10 s", names)
		}
	}
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within 10 s: %s", what)
		case <-tick.C:
		}
	}
}

// A page behind the end of a list, because the list became shorter, leads to its last one.
func TestLists_BehindTheEnd_LeadToTheLastPage(t *testing.T) {
	f := webtest.Sample()
	for id := range int64(2 * pageSize) {
		f.Sits = append(f.Sits, models.Site{ID: 1000 + id, URI: fmt.Sprintf("many-%d.example.org", id), State: models.SiteEnabled})
	}
	b := signedIn(t, f)
	for path, want := range map[string]string{
		"/sites?page=9&q=many":  "/sites?page=2&q=many",
		"/sites?page=2&q=zebra": "/sites?page=1&q=zebra",
		"/distributions?page=2": "/distributions?page=1",
		"/platforms?page=2":     "/platforms?page=1",
		"/tasks?page=2":         "/tasks?page=1",
		"/users?page=2":         "/users?page=1",
		"/clients?page=2":       "/clients?page=1",
	} {
		if got := b.get(path); got.status != http.StatusSeeOther || got.location() != want {
			t.Errorf("%s: status %d to %q, want %q", path, got.status, got.location(), want)
		}
	}
	b.get("/sites?page=2&q=many").has(t, "51 to 100 of 100 sites")
	b.get("/sites?q=many-99.").has(t, "1 site<")
}

// A distribution whose first platform is ready leads on to its first site.
func TestDistribution_WithoutSites_LeadsToTheFirst(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	install := fmt.Sprintf(`class="btn go" href="/sites/new?platform=%d"`, webtest.Target)
	path := fmt.Sprintf("/distributions/%d", webtest.GitDistribution)
	b.get(path).hasNot(t, install)
	f.Sits = nil
	b.get(path).has(t, install)
	f.Dists[0].TargetID = nil
	b.get(path).hasNot(t, "/sites/new")
}

// A platform says how it was made in the words of the form.
func TestPlatform_Provenance_IsNamedAsTheFormDoes(t *testing.T) {
	page := signedIn(t, webtest.Sample()).get(fmt.Sprintf("/platforms/%d", webtest.Target))
	page.has(t, "Run composer install", "Built with", "composer 2.8.6, php 8.3.19")
	page.hasNot(t, "tool php")
}

// Where there are many distributions the list of sites offers only the chosen one, so
// that it stays chosen.
func TestSites_ManyDistributions_OfferTheChosenOne(t *testing.T) {
	f := webtest.Sample()
	for id := int64(1000); id < 1200; id++ {
		f.Dists = append(f.Dists, models.Distribution{ID: id, Name: fmt.Sprintf("Flavour %d", id)})
	}
	b := signedIn(t, f)
	if page := b.get("/sites"); strings.Contains(page.body, `name="distribution"`) {
		t.Error("one of 200 distributions can be chosen")
	}
	page := b.get("/sites?distribution=1150")
	wantPage(t, "narrowed", page, http.StatusOK, `<option value="1150" selected>Flavour 1150</option>`)
	if strings.Contains(page.body, "Flavour 1149") {
		t.Error("others are offered")
	}
	wantPage(t, "one that is gone", b.get("/sites?distribution=99999"), http.StatusOK)
}

// A state that there is not does not narrow a list, and none is marked as chosen.
func TestServer_Lists_UnknownState(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	for path, shown := range map[string]string{"/sites": "museum.example.org", "/platforms": "/platforms/11", "/tasks": "Upgrade", "/distributions": "/distributions/1"} {
		plain := b.get(path).body
		if !strings.Contains(plain, shown) {
			t.Fatalf("%s has no %q", path, shown)
		}
		for _, state := range []string{"nothing", "%3Cb%3E"} {
			got := b.get(path + "?state=" + state)
			if got.status != http.StatusOK || !strings.Contains(got.body, shown) {
				t.Errorf("%s?state=%s: status %d, nothing is listed", path, state, got.status)
			}
			if strings.Contains(plain, `aria-current="true">All`) != strings.Contains(got.body, `aria-current="true">All`) {
				t.Errorf("%s?state=%s: All is not chosen", path, state)
			}
		}
	}
	if got := b.get("/sites?state=deleted"); !strings.Contains(got.body, "museum.example.org") {
		t.Error("sites that are gone are in no list, and there is no state for them")
	}
	if got := b.get("/sites?state=broken"); strings.Contains(got.body, "museum.example.org") {
		t.Error("a state narrows nothing any more")
	}
}
