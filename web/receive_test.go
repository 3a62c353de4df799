package web

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/webtest"
)

const (
	hookURL  = hookPath + webtest.HookAddress
	mainPush = `{"ref":"refs/heads/main"}`
)

// github are the headers that GitHub sends with a body.
func github(secret, event, id, body string) []string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return []string{
		"Content-Type", "application/json", "X-GitHub-Event", event, "X-GitHub-Delivery", id,
		"X-Hub-Signature-256", "sha256=" + hex.EncodeToString(mac.Sum(nil)), "User-Agent", "GitHub-Hookshot/044aadd",
	}
}

// deliver sends as a provider does: no cookies, no token, another origin.
func (b *browser) deliver(method, path string, body io.Reader, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
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

func wantStatus(t *testing.T, what string, got answer, status int, words string) {
	t.Helper()
	if got.status != status || !strings.Contains(got.body, words) {
		t.Errorf("%s: status %d, want %d: %s", what, got.status, status, got.body)
	}
	if strings.Contains(got.body, "<") || strings.Count(got.body, "\n") != 1 {
		t.Errorf("%s: %q is not one line of text", what, got.body)
	}
	if len(got.header.Values("Set-Cookie")) > 0 {
		t.Errorf("%s: sets a cookie", what)
	}
}

func TestReceiver_Outcomes(t *testing.T) {
	f := webtest.Sample()
	b := visit(t, f)
	for _, c := range []struct {
		name, event, id, body, secret string
		status                        int
		words                         string
	}{
		{"push", "push", "1", mainPush, webtest.HookSecret, http.StatusAccepted, "looked at"},
		{"with the second secret", "push", "2", mainPush, "the younger secret of the sample", http.StatusAccepted, "looked at"},
		{"ping", "ping", "3", `{"zen":"x"}`, webtest.HookSecret, http.StatusOK, "address is right"},
		{"duplicate", "push", "seen", mainPush, webtest.HookSecret, http.StatusOK, "Seen before"},
		{"another branch", "push", "4", `{"ref":"refs/heads/x"}`, webtest.HookSecret, http.StatusOK, "nothing about the source"},
		{"wrong secret", "push", "5", mainPush, "wrong", http.StatusUnauthorized, "does not fit"},
		{"empty secret", "push", "5", mainPush, "", http.StatusUnauthorized, "does not fit"},
		{"not JSON", "push", "6", "x", webtest.HookSecret, http.StatusBadRequest, "JSON object"},
		{"empty body", "push", "7", "", webtest.HookSecret, http.StatusBadRequest, "JSON object"},
	} {
		wantStatus(t, c.name, b.deliver(http.MethodPost, hookURL, strings.NewReader(c.body), github(c.secret, c.event, c.id, c.body)...), c.status, c.words)
	}
	notes := f.Notes()
	if len(notes) != 4 {
		t.Fatalf("%d refusals are noted: %+v", len(notes), notes)
	}
	for _, d := range notes {
		if d.WebhookID != webtest.GitHubHook || d.Outcome != models.DeliveryRefused || d.Reason == "" || d.Sender != "127.0.0.1" {
			t.Errorf("noted %+v", d)
		}
	}
}

// A browser cannot be made to deliver, and a provider needs nothing of ours: no
// session, no token, any origin.
func TestReceiver_OtherMethods_NotAllowed(t *testing.T) {
	f := webtest.Sample()
	b := visit(t, f)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch} {
		got := b.deliver(method, hookURL, nil)
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != http.MethodPost {
			t.Errorf("%s: %d, allow %q", method, got.status, got.header.Get("Allow"))
		}
	}
	if f.Called("WebhookAt") != 0 {
		t.Error("another method than POST reached the fleet")
	}
	header := append(github(webtest.HookSecret, "push", "1", mainPush), "Origin", "https://github.com", "Sec-Fetch-Site", "cross-site")
	wantStatus(t, "another origin", b.deliver(http.MethodPost, hookURL, strings.NewReader(mainPush), header...), http.StatusAccepted, "")
}

func TestReceiver_UnknownAddress_AllAlike(t *testing.T) {
	f := webtest.Sample()
	b := visit(t, f)
	var first answer
	for i, path := range []string{
		hookPath + strings.Repeat("0", 32), hookPath, hookPath + "x", hookURL + "/", hookURL + "0", hookPath + strings.ToUpper(webtest.HookAddress), hookURL + "/x",
		hookPath + strings.Repeat("a", 9000), hookPath + "%00", hookPath + "..%2f..%2fetc", hookPath + "%ff", hookPath + "' OR 1=1 --",
	} {
		got := b.deliver(http.MethodPost, strings.ReplaceAll(path, " ", "%20"), strings.NewReader(mainPush), github(webtest.HookSecret, "push", "1", mainPush)...)
		got.header.Del("Date")
		got.header.Del("X-Request-Id") // every request has its own
		if i == 0 {
			first = got
		}
		wantStatus(t, path, got, http.StatusNotFound, "no such webhook")
		if got.body != first.body || fmt.Sprint(got.header) != fmt.Sprint(first.header) {
			t.Errorf("%.60s: %v %q differs from %v %q", path, got.header, got.body, first.header, first.body)
		}
	}
	if f.Called("WebhookAt") != 12 || f.Called("ReceiveHook") != 0 {
		t.Errorf("%d looks, %d deliveries", f.Called("WebhookAt"), f.Called("ReceiveHook"))
	}
}

func TestReceiver_Types_JSONOnly(t *testing.T) {
	f := webtest.Sample()
	b := visit(t, f)
	for _, sent := range []string{"application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "", "application/xml"} {
		header := append(github(webtest.HookSecret, "push", "1", mainPush), "Content-Type", sent)
		wantStatus(t, sent, b.deliver(http.MethodPost, hookURL, strings.NewReader(mainPush), header...), http.StatusUnsupportedMediaType, "application/json")
	}
	if notes := f.Notes(); len(notes) != 5 || notes[0].Key != "1" || notes[0].Event != "push" {
		t.Errorf("noted %+v", notes)
	}
	if f.Called("ReceiveHook") != 0 {
		t.Error("something else than JSON reached the fleet")
	}
}

func TestReceiver_HugeBody_Refused(t *testing.T) {
	f := webtest.Sample()
	b := visit(t, f)
	fits := `{"ref":"refs/heads/main","x":"` + strings.Repeat("a", 3<<20-32) + `"}`
	if len(fits) != 3<<20 {
		t.Fatal(len(fits))
	}
	wantStatus(t, "3 MiB", b.deliver(http.MethodPost, hookURL, strings.NewReader(fits), github(webtest.HookSecret, "push", "1", fits)...), http.StatusAccepted, "")
	over := fits + " "
	wantStatus(t, "announced", b.deliver(http.MethodPost, hookURL, strings.NewReader(over), github(webtest.HookSecret, "push", "2", over)...), http.StatusRequestEntityTooLarge, "3 MiB")
	unannounced := struct{ io.Reader }{strings.NewReader(over)} // chunked
	wantStatus(t, "not announced", b.deliver(http.MethodPost, hookURL, unannounced, github(webtest.HookSecret, "push", "3", over)...), http.StatusRequestEntityTooLarge, "3 MiB")
	if notes := f.Notes(); len(notes) != 2 || !strings.Contains(notes[0].Reason, "3 MiB") {
		t.Errorf("noted %+v", notes)
	}
}

// dial opens a connection and sends the head of a delivery.
func (b *browser) dial(head string) net.Conn {
	b.t.Helper()
	c, err := new(net.Dialer).DialContext(b.t.Context(), "tcp", strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, head); err != nil {
		b.t.Fatal(err)
	}
	return c
}

func head(length int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", hookURL, length)
}

func TestReceiver_SlowBody_GivenUp(t *testing.T) {
	f := webtest.Sample()
	b := visit(t, f, func(_ *Config, s *server) {
		if s != nil {
			s.hooks.read = 50 * time.Millisecond
		}
	})
	c := b.dial(head(100) + `{"ref"`)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d", res.StatusCode)
	}
	if notes := f.Notes(); len(notes) != 1 || !strings.Contains(notes[0].Reason, "slowly") {
		t.Errorf("noted %+v", notes)
	}
	c = b.dial(head(100) + `{"ref"`)
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a body that broke off is noted", func() bool {
		notes := f.Notes()
		return len(notes) == 2 && strings.Contains(notes[1].Reason, "broke off")
	})
}

// Slow senders of one webhook keep out neither other senders nor other webhooks.
func TestReceiver_ManySlowBodies_Bounded(t *testing.T) {
	f := webtest.Sample()
	b := visit(t, f)
	for range bodiesOfOne {
		b.dial(head(100) + "{")
	}
	eventually(t, "the place is full", func() bool {
		got := b.deliver(http.MethodPost, hookURL, strings.NewReader(mainPush), github(webtest.HookSecret, "push", "1", mainPush)...)
		return got.status == http.StatusServiceUnavailable && got.header.Get("Retry-After") != ""
	})
	other := hookPath + "fedcba9876543210fedcba9876543210"
	wantStatus(t, "another webhook", b.deliver(http.MethodPost, other, strings.NewReader(mainPush), "Content-Type", "application/json"), http.StatusUnauthorized, "X-Signature")
}

func TestReceiver_SenderOfTooMany_Waits(t *testing.T) {
	f := webtest.Sample()
	clock := time.Now()
	b := visit(t, f, func(_ *Config, s *server) {
		if s != nil {
			s.hooks.senders.now = func() time.Time { return clock }
		}
	})
	send := func() answer {
		return b.deliver(http.MethodPost, hookURL, strings.NewReader(mainPush), github("wrong", "push", "1", mainPush)...)
	}
	for range sendersBurst {
		wantStatus(t, "within the limit", send(), http.StatusUnauthorized, "")
	}
	got := send()
	wantStatus(t, "beyond it", got, http.StatusTooManyRequests, "Too many")
	if got.header.Get("Retry-After") == "" {
		t.Error("does not say when to come again")
	}
	if n := len(f.Notes()); n != notesBurst {
		t.Errorf("%d refusals were written down, want %d", n, notesBurst)
	}
	clock = clock.Add(time.Second)
	wantStatus(t, "a second later", send(), http.StatusUnauthorized, "")
}

func TestReceiver_Fleet_FailsOrPanics(t *testing.T) {
	f := webtest.Sample()
	b := visit(t, f)
	send := func() answer {
		return b.deliver(http.MethodPost, hookURL, strings.NewReader(mainPush), github(webtest.HookSecret, "push", "1", mainPush)...)
	}
	f.Fail["WebhookAt"] = errors.New("the database is on fire at 10.0.0.1")
	wantStatus(t, "no database", send(), http.StatusInternalServerError, "inside Hefring")
	delete(f.Fail, "WebhookAt")
	for err, status := range map[error]int{
		errors.New("on fire"):                                 http.StatusInternalServerError,
		models.Errorf(models.NotFound, "It is gone."):         http.StatusNotFound,
		models.Errorf(models.Unavailable, "There were many."): http.StatusTooManyRequests,
	} {
		f.Fail["ReceiveHook"] = err
		wantStatus(t, err.Error(), send(), status, "")
	}
	if !strings.Contains(b.logs.String(), "on fire") {
		t.Error("the log does not tell what failed")
	}
}

// panicking is a fleet whose webhooks panic.
type panicking struct{ unhurt }

type unhurt = hooks

func (panicking) ReceiveHook(context.Context, models.Webhook, fleet.Incoming) (models.Delivery, error) {
	panic("index out of range")
}

func TestReceiver_Panic_Survived(t *testing.T) {
	f := webtest.Sample()
	b := visit(t, f, func(_ *Config, s *server) {
		if s != nil {
			s.hooks.fleet = panicking{f}
		}
	})
	for range 2 * bodiesOfOne { // each gives its place back
		wantStatus(t, "panic", b.deliver(http.MethodPost, hookURL, strings.NewReader(mainPush), github(webtest.HookSecret, "push", "1", mainPush)...), http.StatusInternalServerError, "inside Hefring")
	}
	if !strings.Contains(b.logs.String(), "index out of range") {
		t.Error("the log does not tell of the panic")
	}
	b.get("/login").has(t, "Sign in")
}

func TestSenderOf_Addresses(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1", "[2001:db8:1:2:3:4:5:6]:443": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "@": "@", "x:1": "x",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, hookURL, nil)
		r.RemoteAddr = remote
		if got := senderOf(r); got != want {
			t.Errorf("%s: %q, want %q", remote, got, want)
		}
	}
}

func TestBuckets_Take_RefillsAndForgets(t *testing.T) {
	now := time.Now()
	b := newBuckets(2, 1)
	b.now = func() time.Time { return now }
	for i, want := range []bool{true, true, false, false} {
		if b.take("a") != want {
			t.Errorf("take %d: %v", i, !want)
		}
	}
	now = now.Add(time.Second)
	if !b.take("a") || b.take("a") {
		t.Error("one a second does not come back")
	}
	now = now.Add(-time.Hour) // the clock was set back
	if b.take("a") || !b.take("b") {
		t.Error("a clock that goes back refills")
	}
	for i := range maxKeys + 10 {
		b.take(strconv.Itoa(i))
	}
	if len(b.of) > maxKeys {
		t.Errorf("%d keys are kept", len(b.of))
	}
	if !b.take("stranger") {
		t.Error("strangers are kept out by others")
	}
	now = now.Add(2 * time.Hour)
	b.take("late")
	if len(b.of) != 1 {
		t.Errorf("%d keys are kept after a rest", len(b.of))
	}
}

func TestGate_AtOnce_Bounded(t *testing.T) {
	g := &gate{of: map[string]int{}}
	var workers sync.WaitGroup
	var mu sync.Mutex
	inside, most := 0, 0
	for i := range 500 {
		workers.Go(func() {
			key := strconv.Itoa(i % 20)
			if !g.enter(key) {
				return
			}
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			mu.Lock()
			inside--
			mu.Unlock()
			g.leave(key)
		})
	}
	workers.Wait()
	if most > bodiesOfAll || g.all != 0 || len(g.of) != 0 {
		t.Errorf("%d at most, %d left, %v", most, g.all, g.of)
	}
	for range bodiesOfOne {
		if !g.enter("x") {
			t.Error("refused too soon")
		}
	}
	if g.enter("x") || !g.enter("y") {
		t.Error("one key has too many places, or another none")
	}
}
