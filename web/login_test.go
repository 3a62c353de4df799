package web

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/web/webtest"
)

func cookieOf(a answer, name string) *http.Cookie {
	res := http.Response{Header: a.header}
	for _, c := range res.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func TestLogin_Right_LeadsToThePageThatWasWanted(t *testing.T) {
	b := visit(t, webtest.Sample())
	got := b.get("/sites?behind=1")
	if want := "/login?next=" + url.QueryEscape("/sites?behind=1"); got.location() != want {
		t.Fatalf("led to %q, want %q", got.location(), want)
	}
	b.get(got.location()).has(t, `name="next" value="/sites?behind=1"`)
	got = b.post("/login", url.Values{"name": {"admin"}, "password": {"correct horse"}, "next": {"/sites?behind=1"}})
	if got.status != http.StatusSeeOther || got.location() != "/sites?behind=1" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	b.get("/sites").has(t, "Sign out", "admin")
}

func TestLogin_NextElsewhere_LeadsHome(t *testing.T) {
	b := visit(t, webtest.Sample())
	got := b.post("/login", url.Values{"name": {"admin"}, "password": {"correct horse"}, "next": {"//evil.example"}})
	if got.location() != "/" {
		t.Errorf("led to %q", got.location())
	}
}

func TestLogin_Wrong_KeepsTheNameAndNotThePassword(t *testing.T) {
	b := visit(t, webtest.Sample())
	got := b.post("/login", url.Values{"name": {"admin"}, "password": {"hunter2"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("status %d", got.status)
	}
	got.has(t, `value="admin"`, "Name or password is wrong.", `role="alert"`)
	got.hasNot(t, "hunter2")
}

func TestLogin_DatabaseGone_IsNoWrongPassword(t *testing.T) {
	f := webtest.Sample()
	f.Fail["Login"] = errors.New("no database")
	got := visit(t, f).post("/login", url.Values{"name": {"admin"}, "password": {"x"}})
	if got.status != http.StatusInternalServerError {
		t.Errorf("status %d", got.status)
	}
	got.hasNot(t, "no database")
}

func TestLogin_Cookies_AreGuarded(t *testing.T) {
	for _, secure := range []bool{false, true} {
		b := visit(t, webtest.Sample(), func(c *Config, _ *server) {
			if c != nil {
				c.SecureCookies = secure
			}
		})
		// A browser sends secure cookies by HTTPS only; the test brings them itself.
		page := b.get("/login")
		csrf := cookieOf(page, "hefring_csrf")
		token := tokenField.FindStringSubmatch(page.body)[1]
		got := b.do(http.MethodPost, "/login", url.Values{"name": {"admin"}, "password": {"correct horse"}, "_csrf": {token}}, "Cookie", "hefring_csrf="+csrf.Value)
		session := cookieOf(got, "hefring_session")
		for _, c := range []*http.Cookie{csrf, session} {
			if c == nil || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure != secure || c.Path != "/" {
				t.Errorf("secure %t: cookie %v", secure, c)
			}
		}
		if hsts := got.header.Get("Strict-Transport-Security"); (hsts != "") != secure {
			t.Errorf("secure %t: HSTS %q", secure, hsts)
		}
	}
}

func TestLogin_Session_GetsANewToken(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	home, err := url.Parse(b.base)
	if err != nil {
		t.Fatal(err)
	}
	before := b.http.Jar.Cookies(home)
	b.post("/logout", nil)
	if got := b.get("/"); got.location() != "/login" {
		t.Fatalf("after sign-out: %d %q", got.status, got.location())
	}
	var old []string
	for _, c := range before {
		old = append(old, c.Name+"="+c.Value)
	}
	if got := b.get("/", "Cookie", strings.Join(old, "; ")); got.location() != "/login" {
		t.Error("the session of before the sign-out still works")
	}
}

func TestLogin_TenFailures_AreEnough(t *testing.T) {
	f := webtest.Sample()
	now := time.Now()
	b := visit(t, f, func(_ *Config, s *server) {
		if s != nil {
			s.failures.now = func() time.Time { return now }
		}
	})
	for i := range 10 {
		if got := b.post("/login", url.Values{"name": {"admin"}, "password": {"x"}}); got.status != http.StatusUnprocessableEntity {
			t.Fatalf("attempt %d: %d", i, got.status)
		}
	}
	got := b.post("/login", url.Values{"name": {" ADMIN "}, "password": {"correct horse"}})
	if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "60" {
		t.Fatalf("attempt 11: %d %q", got.status, got.header.Get("Retry-After"))
	}
	got.has(t, "Wait a minute")
	if f.Called("Login") != 10 {
		t.Errorf("the fleet was asked %d times", f.Called("Login"))
	}
	if got := b.post("/login", url.Values{"name": {"admin"}, "password": {"correct horse"}}, "X-Forwarded-For", "10.9.9.9"); got.status != http.StatusTooManyRequests {
		t.Errorf("a forged address helps: %d", got.status)
	}
	if got := b.post("/login", url.Values{"name": {"other"}, "password": {"x"}}); got.status != http.StatusUnprocessableEntity {
		t.Errorf("another name is barred too: %d", got.status)
	}
	now = now.Add(time.Minute + time.Second)
	if got := b.post("/login", url.Values{"name": {"admin"}, "password": {"correct horse"}}); got.status != http.StatusSeeOther {
		t.Errorf("a minute later: %d", got.status)
	}
}

func TestLimiter_Full_KeepsNobodyWhoSucceeds(t *testing.T) {
	l := newLimiter(2, time.Minute)
	now := time.Now()
	l.now = func() time.Time { return now }
	for i := range maxKeys {
		if !l.take(strconv.Itoa(i)) {
			t.Fatalf("key %d was refused", i)
		}
	}
	if l.take("one more") {
		t.Error("a full limiter takes one more")
	}
	l.forgive("7")
	if !l.take("one more") {
		t.Error("there was room")
	}
	now = now.Add(2 * time.Minute)
	if !l.take("later") || len(l.times) != 1 {
		t.Errorf("old keys were kept: %d", len(l.times))
	}
}

func TestLoginLink_Opened_IsNotUsedUp(t *testing.T) {
	f := webtest.Sample()
	b := visit(t, f)
	for range 3 {
		got := b.get("/login/link/token1")
		if got.status != http.StatusOK {
			t.Fatalf("status %d", got.status)
		}
		got.has(t, `action="/login/link/token1"`, "Sign in")
	}
	if f.Called("UseLoginLink") != 0 {
		t.Fatal("looking at the link used it up")
	}
	if got := b.post("/login/link/token1", nil); got.status != http.StatusSeeOther || got.location() != "/" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	if got := b.get("/"); got.status != http.StatusOK {
		t.Errorf("not signed in: %d", got.status)
	}
	again := visit(t, f).post("/login/link/token1", nil)
	if again.status != http.StatusNotFound {
		t.Errorf("a second use: %d", again.status)
	}
	again.has(t, "used already")
}

func TestTheme_Chosen_StaysAndComesBack(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	if got := b.post("/theme", url.Values{"theme": {"dark"}, "next": {"/queues"}}); got.location() != "/queues" {
		t.Errorf("led to %q", got.location())
	}
	b.get("/queues").has(t, `data-theme="dark"`, `aria-pressed="true">Dark`)
	b.post("/theme", url.Values{"theme": {"\"><script>"}, "next": {"https://evil.example"}})
	b.get("/queues").hasNot(t, "data-theme")
}
