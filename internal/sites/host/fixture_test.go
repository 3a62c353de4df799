package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/internal/sites/webserver"
	"hefring/models"
)

// template is the content of a site that was installed from one version.
type template []byte

// template installs a version once, the real way.
func (s *server) template(t *testing.T, version string) template {
	t.Helper()
	p := s.platform(t, version)
	s.mu.Lock()
	defer s.mu.Unlock()
	if made := s.templates[version]; made != nil {
		return made
	}
	log := &record{}
	site := s.newSite(p)
	db, err := s.host.Install(t.Context(), site, p, log)
	if err != nil {
		t.Fatalf("install: %v\n%s", err, log)
	}
	whole, err := s.engine.Create(t.Context(), site, "whole")
	ok(t, err)
	_, err = s.engine.Copy(t.Context(), db, whole)
	ok(t, err)
	s.templates[version], err = os.ReadFile(whole.Name)
	ok(t, err)
	return s.templates[version]
}

func (s *server) newSite(p models.Platform) models.Site {
	s.sites++
	return models.Site{
		ID: s.sites, URI: fmt.Sprintf("site%d.example.org", s.sites), PlatformID: p.ID, Server: "local",
		Profile: "standard", Title: "Harbour", State: models.SiteEnabled,
	}
}

// subject is one site that a test works on.
type subject struct {
	*testing.T
	*server
	site models.Site
	from models.Platform
	runs int64
}

// site gives a site that serves a version, as an installation leaves it.
func site(t *testing.T, version string) *subject {
	t.Helper()
	s := serve(t)
	from := s.platform(t, version)
	content := s.template(t, version)
	s.mu.Lock()
	f := &subject{T: t, server: s, from: from, site: s.newSite(from)}
	s.mu.Unlock()
	var err error
	f.site.Database, err = s.engine.Create(t.Context(), f.site, "site")
	ok(t, err)
	ok(t, os.WriteFile(f.site.Database.Name, content, 0o640))
	ok(t, s.drupal.WriteRelease(t.Context(), drupal.Release{Site: f.site, Platform: from, Database: f.site.Database}))
	ok(t, os.Symlink(filepath.Join(from.Root, "web"), s.layout.Current(f.site.ID)))
	ok(t, s.web.AddSite(t.Context(), webserver.Vhost{SiteID: f.site.ID, URI: f.site.URI, Dir: s.layout.Dir(f.site.ID)}))
	return f
}

// move is a new upgrade of the site to a version.
func (f *subject) move(version string) upgrade.Move {
	f.Helper()
	f.runs++
	to := f.platform(f.T, version)
	m := upgrade.Move{Site: f.site, From: f.from, To: to, Upgrade: models.Upgrade{
		ID: f.runs, SiteID: f.site.ID, FromID: f.from.ID, ToID: to.ID, State: models.UpgradeRunning, OldDatabase: f.site.Database,
	}}
	for i, name := range models.StepsOf(models.KindUpgrade, models.ModeUnknown) {
		m.Steps = append(m.Steps, models.UpgradeStep{ID: int64(i + 1), UpgradeID: m.Upgrade.ID, Name: name, State: models.StepPending})
	}
	return m
}

// settle is what the fleet writes down after an upgrade.
func (f *subject) settle(m upgrade.Move, o upgrade.Outcome) {
	if o.Upgrade.Switched {
		f.from, f.site.PlatformID, f.site.Database = m.To, m.To.ID, o.Upgrade.NewDatabase
	}
}

// journal keeps an upgrade's journal in a file, as durably as a database would.
type journal struct {
	mu   sync.Mutex
	path string
	move upgrade.Move
	// before and after are called around the writing of a step's line, returned
	// before it is written that the site was switched back; nil: not.
	before, after func(s models.UpgradeStep)
	returned      func()
}

func newJournal(t *testing.T, m upgrade.Move) *journal {
	t.Helper()
	j := &journal{path: filepath.Join(t.TempDir(), "journal"), move: m}
	ok(t, j.write())
	return j
}

func openJournal(path string) (*journal, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	j := &journal{path: path}
	return j, json.Unmarshal(text, &j.move)
}

func (j *journal) write() error {
	text, err := json.Marshal(j.move)
	if err != nil {
		return err
	}
	if err := os.WriteFile(j.path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(j.path+".new", j.path)
}

// current is the move as a worker gets it that takes the upgrade up.
func (j *journal) current() upgrade.Move {
	j.mu.Lock()
	defer j.mu.Unlock()
	m := j.move
	m.Steps = slices.Clone(m.Steps)
	return m
}

func (j *journal) Save(ctx context.Context, u models.Upgrade) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if j.returned != nil && j.move.Upgrade.Switched && !u.Switched {
		j.returned()
	}
	j.move.Upgrade = u
	return j.write()
}

func (j *journal) SaveStep(_ context.Context, s models.UpgradeStep) error {
	if j.before != nil {
		j.before(s)
	}
	j.mu.Lock()
	j.move.Steps[s.ID-1] = s
	err := j.write()
	j.mu.Unlock()
	if err == nil && j.after != nil {
		j.after(s)
	}
	return err
}

// record is a log that keeps everything.
type record struct {
	mu     sync.Mutex
	text   strings.Builder
	step   string
	output func(step string) // called when a program says something
}

func (r *record) add(level models.Level, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.text, "%s [%s] %s\n", r.step, level, text)
}

func (r *record) Printf(level models.Level, format string, args ...any) {
	r.add(level, fmt.Sprintf(format, args...))
}

func (r *record) Step(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step = name
}

func (r *record) Out() io.Writer { return writer{r, models.LevelOut} }
func (r *record) Err() io.Writer { return writer{r, models.LevelErr} }

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

type writer struct {
	*record
	level models.Level
}

func (w writer) Write(p []byte) (int, error) {
	w.add(w.level, strings.TrimRight(string(p), "\n"))
	if w.output != nil {
		w.mu.Lock()
		step := w.step
		w.mu.Unlock()
		w.output(step)
	}
	return len(p), nil
}

// answer is what a visitor got.
type answer struct {
	status int
	header http.Header
	body   string
}

var versionPattern = regexp.MustCompile(`Running <strong>tidepool ([^<]+)</strong>`)

func (a answer) version() string {
	if m := versionPattern.FindStringSubmatch(a.body); m != nil {
		return m[1]
	}
	return ""
}

// ask sends a visitor's request to the site.
func (f *subject) ask(client *http.Client, method, path string, form url.Values) (answer, error) {
	request, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", f.Port, path), strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	request.Host = net.JoinHostPort(f.site.URI, strconv.Itoa(f.Port))
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(body)}, err
}

func visitor() *http.Client {
	return &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 2}, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (f *subject) get(path string) answer {
	f.Helper()
	client := visitor()
	defer client.CloseIdleConnections()
	a, err := f.ask(client, http.MethodGet, path, nil)
	ok(f.T, err)
	return a
}

func (f *subject) post(text string) answer {
	f.Helper()
	client := visitor()
	defer client.CloseIdleConnections()
	a, err := f.ask(client, http.MethodPost, "/node/2/comment", url.Values{"body": {text}})
	ok(f.T, err)
	return a
}

// traffic is a reader and a writer who never pause.
type traffic struct {
	site    *subject
	stopped chan struct{}
	done    sync.WaitGroup

	mu           sync.Mutex
	failures     []string
	versions     []string // that the reader saw, in order, without repetitions
	reads        int
	acknowledged []string
	refused      int
}

func (f *subject) traffic() *traffic {
	f.Helper()
	visited := *f // the test may change what is wrong with the machine meanwhile
	tr := &traffic{site: &visited, stopped: make(chan struct{})}
	tr.done.Go(tr.read)
	tr.done.Go(tr.write)
	f.Cleanup(tr.halt)
	tr.wait()
	return tr
}

// wait returns when both have done something from now on.
func (tr *traffic) wait() {
	tr.site.Helper()
	count := func() (int, int) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.reads, len(tr.acknowledged) + tr.refused + len(tr.failures)
	}
	reads, writes := count()
	eventually(tr.site.T, "readers and writers go on", func() bool {
		r, w := count()
		return r > reads+1 && w > writes
	})
}

func (tr *traffic) halt() {
	select {
	case <-tr.stopped:
	default:
		close(tr.stopped)
	}
	tr.done.Wait()
}

func (tr *traffic) running() bool {
	select {
	case <-tr.stopped:
		return false
	default:
		return true
	}
}

func (tr *traffic) fail(format string, args ...any) {
	if len(tr.failures) < 5 {
		tr.failures = append(tr.failures, fmt.Sprintf(format, args...))
	}
}

func (tr *traffic) read() {
	client := visitor()
	defer client.CloseIdleConnections()
	for n := 0; tr.running(); n++ {
		// Every second one comes from Drupal's page cache, which may be older.
		path := "/node/1"
		if n%2 == 0 {
			path += "?n=" + strconv.Itoa(n)
		}
		a, err := tr.site.ask(client, http.MethodGet, path, nil)
		tr.mu.Lock()
		tr.reads++
		version := a.version()
		switch {
		case err != nil:
			tr.fail("read %s: %v", path, err)
		case a.status != http.StatusOK || version == "":
			tr.fail("read %s: %d %.200s", path, a.status, a.body)
		case n%2 == 0 && (len(tr.versions) == 0 || tr.versions[len(tr.versions)-1] != version):
			tr.versions = append(tr.versions, version)
		}
		tr.mu.Unlock()
	}
}

func (tr *traffic) write() {
	// When nginx reloads for another test it may close a connection just as a
	// write is sent on it, and nobody but the visitor may repeat a write.
	client := visitor()
	client.Transport = &http.Transport{DisableKeepAlives: true}
	began := time.Now().UnixNano()
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for n := 0; tr.running(); n++ {
		text := fmt.Sprintf("line %d of the writer %d.", n, began)
		a, err := tr.site.ask(client, http.MethodPost, "/node/2/comment", url.Values{"body": {text}})
		tr.mu.Lock()
		switch {
		case err != nil:
			tr.fail("write: %v", err)
		case a.status == http.StatusSeeOther:
			tr.acknowledged = append(tr.acknowledged, text)
		case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
			tr.refused++
		default:
			tr.fail("write: %d %.200s", a.status, a.body)
		}
		tr.mu.Unlock()
		select {
		case <-pace.C:
		case <-tr.stopped:
		}
	}
}

// check ends the traffic and looks whether anybody was hurt.
func (tr *traffic) check(versions ...string) {
	f := tr.site
	f.Helper()
	tr.wait()
	tr.halt()
	for _, failure := range tr.failures {
		f.Error(failure)
	}
	if !slices.Equal(tr.versions, versions) {
		f.Errorf("readers saw the versions %v one after the other, want %v", tr.versions, versions)
	}
	f.holds(tr.acknowledged...)
}

// holds checks that texts that visitors wrote are there.
func (f *subject) holds(texts ...string) {
	f.Helper()
	body := f.get("/node/2?holds=" + strconv.FormatInt(time.Now().UnixNano(), 10)).body
	lost := 0
	for _, text := range texts {
		if !strings.Contains(body, "<p>"+text+"</p>") {
			lost++
		}
	}
	if lost > 0 {
		f.Errorf("%d of %d acknowledged texts are lost", lost, len(texts))
	}
}

// upgrade moves the site while visitors read and write.
func (f *subject) upgrade(version string) (upgrade.Outcome, *traffic, *record) {
	f.Helper()
	tr := f.traffic()
	m := f.move(version)
	log := &record{}
	j := newJournal(f.T, m)
	o := f.host.Upgrade(f.Context(), m, j, log)
	f.settle(m, o)
	if f.Failed() {
		f.Log(log)
	}
	f.Cleanup(func() {
		if f.Failed() {
			f.Logf("outcome %s: %v\n%s", o.State, o.Err, log)
		}
	})
	return o, tr, log
}

func (f *subject) wantOutcome(o upgrade.Outcome, state models.UpgradeState, failed models.StepName, reason string) {
	f.Helper()
	if o.State != state || o.Upgrade.FailedStep != failed || !strings.Contains(o.Upgrade.Reason, reason) {
		f.Errorf("outcome %q at %q because %q (%v); want %q at %q because %q",
			o.State, o.Upgrade.FailedStep, o.Upgrade.Reason, o.Err, state, failed, reason)
	}
}

// whole checks that the site serves a version, takes writes, and that nothing
// lies about but the databases and releases that are named.
func (f *subject) whole(version string, databases []string, releases ...models.Platform) {
	f.Helper()
	for _, path := range []string{"/", "/node/1?whole", "/user/login"} {
		if a := f.get(path); a.status != http.StatusOK || a.version() != version {
			f.Errorf("GET %s: %d from version %q, want %q\n%.300s", path, a.status, a.version(), version, a.body)
		}
	}
	text := fmt.Sprintf("whole %d", time.Now().UnixNano())
	if a := f.post(text); a.status != http.StatusSeeOther {
		f.Errorf("a write is answered %d: %.300s", a.status, a.body)
	}
	f.holds(text)
	f.clean(databases, releases...)
}

func (f *subject) clean(databases []string, releases ...models.Platform) {
	f.Helper()
	dir := f.layout.Dir(f.site.ID)
	for _, name := range []string{"next", "next.new", "current.new", "run/read-only"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			f.Errorf("%s is left over (%v)", name, err)
		}
	}
	var wantReleases, haveReleases []string
	for _, p := range releases {
		wantReleases = append(wantReleases, strconv.FormatInt(p.ID, 10))
	}
	haveReleases = names(f.T, filepath.Join(dir, "releases"))
	slices.Sort(wantReleases)
	if !slices.Equal(haveReleases, wantReleases) {
		f.Errorf("releases %v, want %v", haveReleases, wantReleases)
	}
	haveDatabases := slices.DeleteFunc(names(f.T, filepath.Join(dir, "db")), func(name string) bool {
		return strings.HasSuffix(name, "-wal") || strings.HasSuffix(name, "-shm")
	})
	if slices.Sort(databases); !slices.Equal(haveDatabases, databases) {
		f.Errorf("databases %v, want %v", haveDatabases, databases)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.built {
		var links []string
		for _, name := range names(f.T, filepath.Join(p.Root, "web", "sites")) {
			if name == f.site.URI || strings.HasSuffix(name, ".site"+strconv.FormatInt(f.site.ID, 10)) {
				links = append(links, name)
			}
		}
		var want []string
		if slices.ContainsFunc(releases, func(r models.Platform) bool { return r.ID == p.ID }) {
			want = []string{f.site.URI}
		}
		if !slices.Equal(links, want) {
			f.Errorf("links %v on %s, want %v", links, p.Name, want)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	ok(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// eventually polls until yes, for a minute at most.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
