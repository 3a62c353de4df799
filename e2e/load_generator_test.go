package e2e_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load is visitors who read a site without pause, and writers who do not give up:
// an entry that is refused is sent again until it is taken.
type load struct {
	uri      string
	port     int
	versions []string // those that a page may be of
	pace     time.Duration
	client   *http.Client

	ctx   context.Context //nolint:containedctx // its end is the end of all visitors
	stop  context.CancelFunc
	ended sync.WaitGroup
	reads atomic.Int64

	mu       sync.Mutex
	longest  time.Duration
	wrong    []incident // reads that were not answered as they should be
	accepted []string   // entries that the site took
	refused  []incident // writes that it did not
}

// incident is one request that went wrong.
type incident struct {
	from, to time.Time
	status   int // 0: no answer at all
	what     string
}

// crowd says how much load there is.
type crowd struct {
	readers, writers int
	pace             time.Duration // between two requests of one visitor; 0: none
}

// load sends a crowd to a site, until finish is called. Each page has to be of
// one of the versions.
func (v *visitor) load(uri string, c crowd, versions ...string) *load {
	ctx, stop := context.WithCancel(context.Background())
	dialer := net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", v.port)) // whatever the name
		},
		MaxIdleConnsPerHost: c.readers + c.writers,
	}
	l := &load{uri: uri, port: v.port, versions: versions, pace: c.pace, ctx: ctx, stop: stop, client: &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	v.t.Cleanup(func() {
		l.halt()
		transport.CloseIdleConnections()
	})
	for n := range c.readers {
		l.ended.Go(func() { l.read(n) })
	}
	for n := range c.writers {
		l.ended.Go(func() { l.write(n) })
	}
	return l
}

// aim is one thing to read and how to know it.
type aim struct {
	path  string
	says  string
	plain bool // a file, which names no version
	fresh bool // past the page cache
}

// targets: pages that come from the page cache, pages that cannot, a file of the
// site and one of the platform.
func (l *load) targets() []aim {
	return []aim{
		{path: "/", says: "Welcome to the harbour"},
		{path: "/", says: "Welcome to the harbour", fresh: true},
		{path: "/node/1", says: "Reading the tide table"},
		{path: "/node/2", says: "Winter berths", fresh: true},
		{path: "/user/login", says: `name="pass"`, fresh: true},
		{path: "/sites/" + l.uri + "/files/harbour.svg", says: "<svg", plain: true},
		{path: "/core/misc/harbour.svg", says: "<svg", plain: true},
	}
}

func (l *load) read(reader int) {
	list := l.targets()
	for n := reader; l.ctx.Err() == nil; n++ {
		at := list[n%len(list)]
		path := at.path
		if at.fresh {
			path += fmt.Sprintf("?reader=%d-%d", reader, n)
		}
		begin := time.Now()
		status, body, err := l.ask(http.MethodGet, path, nil)
		end := time.Now()
		l.reads.Add(1)
		l.noteRead(incident{from: begin, to: end, status: status, what: l.fault(at, path, status, body, err)})
		l.rest()
	}
}

// fault says what is wrong with an answer, "" for nothing.
func (l *load) fault(at aim, path string, status int, body string, err error) string {
	known := at.plain || slices.ContainsFunc(l.versions, func(v string) bool { return strings.Contains(body, "tidepool "+v) })
	switch {
	case err != nil:
		return fmt.Sprintf("GET %s: %v", path, err)
	case status != http.StatusOK:
		return fmt.Sprintf("GET %s: status %d: %.200s", path, status, textOf(body))
	case !strings.Contains(body, at.says):
		return fmt.Sprintf("GET %s: without %q: %.200s", path, at.says, textOf(body))
	case !known:
		return fmt.Sprintf("GET %s: of another version than %v: %.200s", path, l.versions, textOf(body))
	}
	return ""
}

func (l *load) noteRead(i incident) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = max(l.longest, i.to.Sub(i.from))
	if i.what != "" {
		l.wrong = append(l.wrong, i)
	}
}

// write posts entries, each until it is taken.
func (l *load) write(writer int) {
	for n := 0; l.ctx.Err() == nil; n++ {
		text := fmt.Sprintf("entry-%d-%08x-%06d-end", writer, rand.Uint32(), n)
		for l.ctx.Err() == nil && !l.post(text) {
			l.pause(5 * time.Millisecond)
		}
		l.rest()
	}
}

func (l *load) post(text string) (taken bool) {
	begin := time.Now()
	status, body, err := l.ask(http.MethodPost, "/node/3/comment", url.Values{"name": {"Ann"}, "body": {text}})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && status == http.StatusSeeOther {
		l.accepted = append(l.accepted, text)
		return true
	}
	what := fmt.Sprintf("write %s: status %d: %.200s", text, status, textOf(body))
	if err != nil {
		what = fmt.Sprintf("write %s: %v", text, err)
	}
	l.refused = append(l.refused, incident{from: begin, to: time.Now(), status: status, what: what})
	return false
}

func (l *load) ask(method, path string, form url.Values) (status int, body string, err error) {
	// Not the crowd's own context: what has begun is answered.
	request, err := http.NewRequest(method, fmt.Sprintf("http://%s:%d%s", l.uri, l.port, path), strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", err
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := l.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

func (l *load) rest() {
	if l.pace > 0 {
		l.pause(l.pace)
	}
}

func (l *load) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.ctx.Done():
	case <-timer.C:
	}
}

func (l *load) halt() {
	l.stop()
	l.ended.Wait()
}

// span is a time in which the machine under the site was broken.
type span struct{ from, to time.Time }

// within tells whether a request fell into the span, if only in part.
func (s span) covers(i incident) bool { return i.to.After(s.from) && i.from.Before(s.to) }

// rules say what may happen to a crowd.
type rules struct {
	paused bool // writes may be answered with 503
	dead   span // anything may fail
	lossy  bool // what was written is gone, as people were told
}

// finish sends the crowd home and fails the test where something happened to it
// that must not, or an entry that the site took is not there.
func (l *load) finish(t *testing.T, v *visitor, allowed rules) {
	t.Helper()
	l.halt()
	bad := slices.DeleteFunc(slices.Clone(l.wrong), allowed.dead.covers)
	if len(bad) > 0 {
		t.Errorf("%d of %d reads were not answered as they should be, first and last:\n%s\n%s", len(bad), l.reads.Load(), bad[0], bad[len(bad)-1])
	}
	refused := slices.DeleteFunc(slices.Clone(l.refused), func(i incident) bool {
		return allowed.dead.covers(i) || allowed.paused && i.status == http.StatusServiceUnavailable
	})
	if len(refused) > 0 {
		t.Errorf("%d writes were not taken, first and last:\n%s\n%s", len(refused), refused[0], refused[len(refused)-1])
	}
	body := v.get(l.uri, fmt.Sprintf("/node/3?all=%d", time.Now().UnixNano())).body
	var lost []string
	for _, text := range l.accepted {
		if !allowed.lossy && !strings.Contains(body, text) {
			lost = append(lost, text)
		}
	}
	if len(lost) > 0 {
		t.Errorf("%d of %d accepted entries are lost, the first is %s", len(lost), len(l.accepted), lost[0])
	}
	if l.reads.Load() == 0 || len(l.accepted) == 0 {
		t.Errorf("%d reads and %d entries are no load", l.reads.Load(), len(l.accepted))
	}
}

func (i incident) String() string {
	return fmt.Sprintf("%s to %s: %s", i.from.Format("15:04:05.000"), i.to.Format("15:04:05.000"), i.what)
}
