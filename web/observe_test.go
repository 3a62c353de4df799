package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

// watch is a server whose log, and what it told its observer, a test reads.
type watch struct {
	*testing.T

	base  string
	http  *http.Client
	logs  *lockedBuffer
	seen  *counts
	front *watchFront
}

// lockedBuffer is written by a server while a test reads it.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// counts is an Observer.
type counts struct {
	mu     sync.Mutex
	of     map[string]int
	timed  map[string]bool
	traced []string
}

func (c *counts) Answered(route, method string, status int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[fmt.Sprintf("%s %s %d", method, route, status)]++
	c.timed[route] = took > 0
}

// Request makes them a Tracer.
func (c *counts) Request(ctx context.Context, id string, header http.Header) (context.Context, func(route, method string, status int)) {
	return context.WithValue(ctx, tracedKey{}, id), func(route, method string, status int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.traced = append(c.traced, fmt.Sprintf("%s %s %s %d %s", id, method, route, status, header.Get("Traceparent")))
	}
}

type tracedKey struct{}

// names is a slog.Handler that adds the request's id, as the program's own does.
type names struct{ slog.Handler }

func (n names) Handle(ctx context.Context, r slog.Record) error {
	r.AddAttrs(slog.String("request", RequestID(ctx)))
	if traced, ok := ctx.Value(tracedKey{}).(string); ok {
		r.AddAttrs(slog.String("traced", traced))
	}
	return n.Handler.Handle(ctx, r)
}

// watchFront knows one person, one token, and no webhook.
type watchFront struct {
	Front

	fails atomic.Bool
	hooks atomic.Int64
}

const (
	goodToken = "hefring_s3cr3t-token"
	goodLink  = "s3cr3t-link"
	hookAt    = "s3cr3t-address"
)

func ada() models.User { return models.User{ID: 1, Name: "ada", Role: models.RoleAdministrator} }

func (f *watchFront) SessionUser(context.Context, string, bool) (models.User, error) {
	return ada(), nil
}

func (f *watchFront) StartSession(context.Context, models.SignIn) error { return nil }

func (f *watchFront) AsksForCode(context.Context, int64) (bool, error) { return false, nil }

func (f *watchFront) Login(_ context.Context, _, password, _ string) (models.User, error) {
	if password != "s3cr3t-password" {
		return models.User{}, models.Errorf(models.Invalid, "Name or password is wrong.")
	}
	return ada(), nil
}

func (f *watchFront) UseLoginLink(_ context.Context, token string) (models.User, error) {
	if f.fails.Load() {
		return models.User{}, errors.New("the database is gone")
	}
	if token != goodLink {
		return models.User{}, models.Errorf(models.Forbidden, "This link was used.")
	}
	return ada(), nil
}

func (f *watchFront) UseToken(_ context.Context, token string) (models.Actor, error) {
	if token != goodToken {
		return models.Actor{}, models.Errorf(models.Forbidden, "This token is not known.")
	}
	return models.Token{Name: "Deployment"}.Actor(ada()), nil
}

func (f *watchFront) Recall(context.Context, fleet.Keyed) ([]byte, bool, error) {
	return nil, true, nil
}

func (f *watchFront) Remember(context.Context, fleet.Keyed, []byte) error { return nil }

func (f *watchFront) Forget(context.Context, fleet.Keyed) error { return nil }

func (f *watchFront) WebhookAt(context.Context, string) (models.Webhook, error) {
	f.hooks.Add(1)
	return models.Webhook{}, models.Errorf(models.NotFound, "There is no such webhook.")
}

// pagesFleet has a name that is not one of its methods.
type pagesFleet = Fleet

// watchFleet fails on what it is asked for.
type watchFleet struct{ pagesFleet }

func (watchFleet) SiteRow(_ context.Context, id int64) (fleet.SiteRow, error) {
	if id == 7 {
		return fleet.SiteRow{}, errors.New("no such column")
	}
	return fleet.SiteRow{}, models.Errorf(models.NotFound, "There is no site %d.", id)
}

func (watchFleet) Decisions(context.Context, fleet.Filter) ([]fleet.Decision, error) {
	return nil, nil
}

func (watchFleet) Task(context.Context, int64) (models.Task, error) {
	panic("no tasks here")
}

// watchAPI is an API with one operation.
type watchAPI struct{ programs }

// programs has a name that is not one of its methods.
type programs = api.Fleet

func (watchAPI) SiteNamed(_ context.Context, uri string) (models.Site, error) {
	return models.Site{}, models.Errorf(models.NotFound, "There is no site %s.", uri)
}

func observedServer(t *testing.T, checks ...Check) *watch {
	t.Helper()
	w := &watch{T: t, logs: &lockedBuffer{}, seen: &counts{of: map[string]int{}, timed: map[string]bool{}}, front: &watchFront{}}
	logger := slog.New(names{slog.NewJSONHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})})
	handler := api.New(NoteUsers(w.front), func(models.Actor) api.Fleet { return watchAPI{} }, logger, "test")
	srv := httptest.NewServer(New(Config{
		Front: w.front, As: func(models.Actor) Fleet { return watchFleet{} }, SessionStore: memstore.NewWithCleanupInterval(0),
		Logger: logger, Version: "test", API: handler, Health: NewHealth(checks, logger), Observer: w.seen, Tracer: w.seen,
	}))
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.base = srv.URL
	w.http = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(w.http.CloseIdleConnections)
	return w
}

// send sends a request and gives status, header and body of the answer.
func (w *watch) send(method, path, body string, header ...string) (int, http.Header, string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, w.base+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := w.http.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	return res.StatusCode, res.Header, string(text)
}

// submit sends a form of a page of ours.
func (w *watch) submit(path string, form url.Values) int {
	w.Helper()
	_, _, page := w.send(http.MethodGet, "/login", "")
	token := tokenField.FindStringSubmatch(page)
	if token == nil {
		w.Fatal("the page has no form")
	}
	form.Set("_csrf", token[1])
	status, _, _ := w.send(http.MethodPost, path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	return status
}

func (w *watch) signIn() {
	w.Helper()
	if status := w.submit("/login", url.Values{"name": {"ada"}, "password": {"s3cr3t-password"}}); status != http.StatusSeeOther {
		w.Fatalf("sign in: %d", status)
	}
}

// lines are the lines of the log with a message.
func (w *watch) lines(message string) []map[string]any {
	w.Helper()
	var found []map[string]any
	for text := range strings.Lines(w.logs.String()) {
		line := map[string]any{}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			w.Fatalf("%v in %q", err, text)
		}
		if line["msg"] == message {
			found = append(found, line)
		}
	}
	return found
}

// request gives the line about the request with an id.
func (w *watch) request(id string) map[string]any {
	w.Helper()
	for _, line := range w.lines("request") {
		if line["request"] == id {
			return line
		}
	}
	w.Fatalf("no line about %s in %s", id, w.logs)
	return nil
}

func TestObserved_RequestID_IsGivenBackAndInEveryLine(t *testing.T) {
	w := observedServer(t)
	w.signIn()
	_, header, _ := w.send(http.MethodGet, "/sites/7", "", "X-Request-ID", "proxy-1.a_b")
	if got := header.Get("X-Request-Id"); got != "proxy-1.a_b" {
		t.Errorf("the id came back as %q", got)
	}
	line := w.request("proxy-1.a_b")
	for key, want := range map[string]any{"method": "GET", "route": "/sites/:id", "status": 500.0, "user": "ada"} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	if took, is := line["took"].(float64); !is || took <= 0 {
		t.Errorf("it took %v", line["took"])
	}
	failures := w.lines("request failed")
	if len(failures) != 1 || failures[0]["request"] != "proxy-1.a_b" {
		t.Errorf("the failure's line does not name its request: %v", failures)
	}
}

func TestObserved_RequestID_InsaneOnesAreReplaced(t *testing.T) {
	w := observedServer(t)
	seen := map[string]bool{}
	for _, id := range []string{"", "-x", "a b", "a\"b", "é", "a/b", "a=b", strings.Repeat("x", 65), "<script>"} {
		_, header, _ := w.send(http.MethodGet, "/healthz", "", "X-Request-ID", id)
		got := header.Get("X-Request-Id")
		if got == id || !sane.MatchString(got) || len(got) < 20 || seen[got] {
			t.Errorf("%q was answered with %q", id, got)
		}
		seen[got] = true
	}
	for _, insane := range []string{"a b", "é", "a/b", "<script>", strings.Repeat("x", 65)} {
		if strings.Contains(w.logs.String(), insane) {
			t.Errorf("%q is in the log", insane)
		}
	}
}

func TestObserved_Tracer_FollowsWhatPeopleAndProgramsAsk(t *testing.T) {
	w := observedServer(t)
	w.signIn()
	w.seen.mu.Lock()
	w.seen.traced = nil
	w.seen.mu.Unlock()
	for i, path := range []string{"/healthz", "/readyz", "/static/none.css", "/sites/7?q=s3cr3t", "/tasks/9", "/nowhere", "/api/v1/sites/x"} {
		w.send(http.MethodGet, path, "", "X-Request-ID", fmt.Sprintf("r%d", i), "Traceparent", "theirs")
	}
	want := []string{
		"r3 GET /sites/:id 500 theirs", "r4 GET /tasks/:id 500 theirs", "r5 GET none 404 theirs", "r6 GET /api/v1/sites/{site} 401 theirs",
	}
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	if !slices.Equal(w.seen.traced, want) {
		t.Errorf("got %q", w.seen.traced)
	}
	if line := w.request("r3"); line["traced"] != "r3" {
		t.Errorf("the line about a request lacks its trace: %v", line)
	}
}

// Everything that is secret about a request is called s3cr3t here.
func TestObserved_Secrets_AreNeitherLoggedNorCounted(t *testing.T) {
	w := observedServer(t)
	w.send(http.MethodGet, "/login/link/"+goodLink, "")
	w.submit("/login/link/s3cr3t-wrong", url.Values{})
	w.front.fails.Store(true)
	w.submit("/login/link/s3cr3t-failing", url.Values{})
	w.front.fails.Store(false)
	w.submit("/login", url.Values{"name": {"s3cr3t-name"}, "password": {"s3cr3t-wrong"}})
	w.submit("/login/link/"+goodLink, url.Values{})
	w.send(http.MethodPost, "/hooks/"+hookAt, "s3cr3t", "X-Hub-Signature-256", "sha256=s3cr3t", "X-Gitlab-Token", "s3cr3t")
	w.send(http.MethodGet, "/hooks/"+hookAt+"?s3cr3t", "")
	for _, authorization := range []string{"Bearer " + goodToken, "Bearer s3cr3t", "s3cr3t", "Basic s3cr3t"} {
		w.send(http.MethodGet, "/api/v1/sites/s3cr3t.example.org?q=s3cr3t", "", "Authorization", authorization)
	}
	w.send(http.MethodGet, "/api/v1/s3cr3t?token=s3cr3t", "")
	w.send(http.MethodGet, "/s3cr3t/s3cr3t?token=s3cr3t#s3cr3t", "", "Referer", "https://x/s3cr3t", "User-Agent", "s3cr3t")
	w.send(http.MethodGet, "/static/s3cr3t.css", "")
	w.send(http.MethodGet, "/sites/7?q=s3cr3t", "", "Cookie", "s3cr3t=s3cr3t")
	w.send(http.MethodGet, "/tasks/9?q=s3cr3t", "") // panics
	w.send("S3CR3T", "/sites", "s3cr3t=s3cr3t")
	w.send(http.MethodPost, "/readyz?s3cr3t", "s3cr3t")
	if w.front.hooks.Load() == 0 {
		t.Fatal("no webhook was looked for")
	}
	if log := strings.ToLower(w.logs.String()); strings.Contains(log, "s3cr3t") {
		for line := range strings.Lines(log) {
			if strings.Contains(line, "s3cr3t") {
				t.Errorf("logged: %s", line)
			}
		}
	}
	if len(w.lines("request")) < 20 {
		t.Errorf("only %d requests were logged", len(w.lines("request")))
	}
	for counted := range w.seen.of {
		if strings.Contains(strings.ToLower(counted), "s3cr3t") {
			t.Errorf("counted: %s", counted)
		}
	}
}

func TestObserved_Routes_ArePatterns(t *testing.T) {
	w := observedServer(t)
	w.signIn()
	for _, path := range []string{"/sites/1", "/sites/2", "/nothing/at/all", "/static/none.css", "/static/none.js", "/healthz", "/tasks/9"} {
		w.send(http.MethodGet, path, "")
	}
	for n := range 50 {
		w.send(http.MethodGet, fmt.Sprintf("/wp-login-%d.php", n), "")
	}
	w.send("PROPFIND", "/sites/1", "")
	w.send(http.MethodPost, "/hooks/one", "")
	w.send(http.MethodPost, "/hooks/two", "")
	w.send(http.MethodGet, "/api/v1/sites/museum.example.org", "", "Authorization", "Bearer "+goodToken)
	w.send(http.MethodGet, "/api/v1/sites/museum.example.org", "")
	w.send(http.MethodGet, "/api/v1/nothing", "")
	want := map[string]int{
		"GET /login 200": 1, "POST /login 303": 1,
		"GET /sites/:id 404": 2, "GET none 404": 51, "GET /static/* 404": 2, "GET /healthz 200": 1, "GET /tasks/:id 500": 1,
		"other /sites/:id 403": 1, "POST /hooks/:address 404": 2,
		"GET /api/v1/sites/{site} 404": 1, "GET /api/v1/sites/{site} 401": 1, "GET /api/* 404": 1,
	}
	if !maps.Equal(w.seen.of, want) {
		for _, key := range slices.Sorted(maps.Keys(w.seen.of)) {
			if w.seen.of[key] != want[key] {
				t.Errorf("%s: %d, want %d", key, w.seen.of[key], want[key])
			}
		}
		for key := range want {
			if w.seen.of[key] == 0 {
				t.Errorf("%s was not counted", key)
			}
		}
	}
	users := map[any]int{}
	for _, line := range w.lines("request") {
		if line["route"] == "/api/v1/sites/{site}" {
			users[line["user"]]++
			if line["user"] == "ada" && line["token"] != "Deployment" {
				t.Errorf("the line does not name the token: %v", line)
			}
		}
	}
	if users["ada"] != 1 || users[""] != 1 {
		t.Errorf("users of the API's requests: %v", users)
	}
}

// A panic outside of the pages still has its line.
func TestObserved_Panic_IsLogged(t *testing.T) {
	logs := &lockedBuffer{}
	s := &server{logger: slog.New(slog.NewTextHandler(logs, nil))}
	handler := s.observed(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	}()
	if !strings.Contains(logs.String(), "status=500") {
		t.Errorf("logged %q", logs)
	}
}

// Streams need the server's own writer under ours.
func TestObserved_Writer_FlushesAndHasNoTimeOfStreams(t *testing.T) {
	seen := &counts{of: map[string]int{}, timed: map[string]bool{}}
	s := &server{logger: slog.New(slog.DiscardHandler), observer: seen}
	srv := httptest.NewServer(s.observed(routed("/tasks/:id/stream", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		control := http.NewResponseController(w)
		_, _ = io.WriteString(w, "data: x\n\n")
		if err := errors.Join(control.Flush(), control.SetWriteDeadline(time.Time{})); err != nil {
			t.Error(err)
		}
	}))))
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	eventually(t, "the request is counted", func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return seen.of["GET /tasks/:id/stream 200"] == 1
	})
	if seen.timed["/tasks/:id/stream"] {
		t.Error("a stream has a duration")
	}
}

func ready(t *testing.T, w *watch) (int, readiness) {
	t.Helper()
	status, header, body := w.send(http.MethodGet, "/readyz", "")
	var state readiness
	if err := json.Unmarshal([]byte(body), &state); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	if header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" || header.Get("Set-Cookie") != "" {
		t.Errorf("headers %v", header)
	}
	if strings.Contains(body, "s3cr3t") {
		t.Errorf("%s tells why", body)
	}
	return status, state
}

func TestReadyz_TellsEachCheck(t *testing.T) {
	fine := func(context.Context) error { return nil }
	broken := func(context.Context) error { return errors.New("s3cr3t-host does not answer") }
	for _, c := range []struct {
		name   string
		checks []Check
		status int
		want   string
	}{
		{"all is well", []Check{{"database", fine, false}, {"sites", fine, true}}, 200, "{true [{database ok true} {sites ok false}]}"},
		{"nothing to look at", nil, 200, "{true []}"},
		{"what is needed fails", []Check{{"database", broken, false}, {"tasks", fine, false}}, 503, "{false [{database failing true} {tasks ok true}]}"},
		{"what stands aside fails", []Check{{"database", fine, false}, {"sites", broken, true}}, 200, "{true [{database ok true} {sites failing false}]}"},
	} {
		w := observedServer(t, c.checks...)
		status, state := ready(t, w)
		if status != c.status || fmt.Sprint(state) != c.want {
			t.Errorf("%s: %d %v", c.name, status, state)
		}
	}
}

func TestReadyz_AskedOften_LooksOnce(t *testing.T) {
	var asked atomic.Int64
	h := NewHealth([]Check{{Name: "database", Test: func(context.Context) error {
		asked.Add(1)
		return nil
	}}}, slog.New(slog.DiscardHandler)).(*health)
	now := time.Now()
	h.now = func() time.Time { return now }
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { h.look(t.Context()) })
	}
	all.Wait()
	if asked.Load() != 1 {
		t.Errorf("looked %d times for 100 who asked at once", asked.Load())
	}
	now = now.Add(readyFor)
	h.look(t.Context())
	if asked.Load() != 2 {
		t.Errorf("looked %d times a second later", asked.Load())
	}
}

// A database that hangs must hang nobody who asks, and a second question must not
// pile up behind the first.
func TestReadyz_Hanging_IsNotReady(t *testing.T) {
	release := make(chan struct{})
	var inside atomic.Int64
	w := observedServer(t, Check{Name: "database", Test: func(context.Context) error {
		inside.Add(1)
		<-release // heeds nothing
		return nil
	}})
	defer close(release)
	for range 2 {
		began := time.Now()
		if status, _ := ready(t, w); status != http.StatusServiceUnavailable || time.Since(began) > 10*readyTime {
			t.Errorf("%d after %s", status, time.Since(began))
		}
	}
	if status, _, body := w.send(http.MethodGet, "/healthz", ""); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	if n := inside.Load(); n != 1 {
		t.Errorf("%d questions hang", n)
	}
	if lines := w.lines("readiness check fails"); len(lines) != 1 || lines[0]["check"] != "database" {
		t.Errorf("logged %v", lines)
	}
}

func TestHealthz_Methods(t *testing.T) {
	w := observedServer(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, _, body := w.send(http.MethodHead, path, ""); status != http.StatusOK || body != "" {
			t.Errorf("HEAD %s: %d %q", path, status, body)
		}
		if status, header, _ := w.send(http.MethodPost, path, "x"); status != http.StatusMethodNotAllowed || header.Get("Allow") == "" {
			t.Errorf("POST %s: %d", path, status)
		}
	}
}
