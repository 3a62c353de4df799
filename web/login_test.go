package web

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/models"
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

func TestLogin_TooEarly_SaysHowLong(t *testing.T) {
	f := webtest.Sample()
	f.Fail["Login"] = models.Errorf(models.Forbidden, "Too many attempts. Wait 30 seconds, then try again.").After(29500 * time.Millisecond)
	got := visit(t, f).post("/login", url.Values{"name": {"admin"}, "password": {"x"}})
	if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "30" {
		t.Errorf("status %d, after %q", got.status, got.header.Get("Retry-After"))
	}
	got.has(t, "Wait 30 seconds", `value="admin"`)
}

// A flood costs no look into the database, and forged addresses are no way around.
func TestLogin_Flood_IsStoppedAtTheDoor(t *testing.T) {
	f := webtest.Sample()
	now := time.Now()
	b := visit(t, f, func(_ *Config, s *server) {
		if s != nil {
			s.floods.now = func() time.Time { return now }
			s.floods.limit = 5
		}
	})
	for range 5 {
		b.post("/login", url.Values{"name": {"admin"}, "password": {"x"}})
	}
	got := b.post("/login", url.Values{"name": {"admin"}, "password": {"correct horse"}}, "X-Forwarded-For", "10.9.9.9")
	if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "60" || f.Called("Login") != 5 {
		t.Fatalf("status %d, after %q, asked %d times", got.status, got.header.Get("Retry-After"), f.Called("Login"))
	}
	now = now.Add(time.Minute + time.Second)
	if got := b.post("/login", url.Values{"name": {"admin"}, "password": {"correct horse"}}); got.status != http.StatusSeeOther {
		t.Errorf("a minute later: %d", got.status)
	}
}

func TestLogin_Address_IsWhomAProxyOfOursNames(t *testing.T) {
	for name, c := range map[string]struct {
		proxies []netip.Prefix
		want    string
	}{
		"no proxy":   {nil, "127.0.0.1"},
		"our proxy":  {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "198.51.100.9"},
		"of another": {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "127.0.0.1"},
	} {
		f := webtest.Sample()
		b := visit(t, f, func(cfg *Config, _ *server) {
			if cfg != nil {
				cfg.Proxies = c.proxies
			}
		})
		b.post("/login", url.Values{"name": {"admin"}, "password": {"correct horse"}}, "X-Forwarded-For", "203.0.113.1, 198.51.100.9")
		if got := f.SignIns[0].Address; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestLimiter_Full_LetsNobodyElseIn(t *testing.T) {
	l := newLimiter(2, time.Minute)
	now := time.Now()
	l.now = func() time.Time { return now }
	for i := range maxKeys {
		if !l.take(strconv.Itoa(i)) {
			t.Fatalf("key %d was refused", i)
		}
	}
	if l.take("one more") || !l.take("7") || l.take("7") {
		t.Error("a full limiter counts wrongly")
	}
	now = now.Add(2 * time.Minute)
	if !l.take("later") || len(l.times) != 1 {
		t.Errorf("old keys were kept: %d", len(l.times))
	}
}

func TestLogin_SecondFactor_IsAskedForOnAPageOfItsOwn(t *testing.T) {
	f := webtest.Sample()
	f.Factor.On = true
	b := visit(t, f)
	if got := b.get("/login/code"); got.location() != "/login" {
		t.Fatalf("without a password: %d %q", got.status, got.location())
	}
	if got := b.post("/login/code", url.Values{"code": {webtest.SecondFactorCode}}); got.location() != "/login" || len(f.SignIns) != 0 {
		t.Fatalf("a code without a password: %d %q", got.status, got.location())
	}
	before := cookieOf(b.get("/login"), "hefring_session")
	got := b.post("/login", url.Values{"name": {"admin"}, "password": {"correct horse"}, "next": {"/queues"}})
	if got.status != http.StatusSeeOther || got.location() != "/login/code" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	half := cookieOf(got, "hefring_session")
	if half == nil || before != nil && half.Value == before.Value {
		t.Fatal("the session kept its token")
	}
	for _, path := range []string{"/", "/account", "/queues", "/tasks/1/stream"} {
		if got := b.get(path); got.status != http.StatusSeeOther && got.status != http.StatusUnauthorized {
			t.Errorf("half signed in, %s answers %d", path, got.status)
		}
	}
	b.get("/login/code").has(t, `autocomplete="one-time-code"`, `action="/login/code"`)
	got = b.post("/login/code", url.Values{"code": {"000000"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong code: %d", got.status)
	}
	got.has(t, "This code does not fit.", `role="alert"`)
	got = b.post("/login/code", url.Values{"code": {webtest.SecondFactorCode}})
	if got.status != http.StatusSeeOther || got.location() != "/queues" {
		t.Fatalf("the right code: %d to %q", got.status, got.location())
	}
	if in := cookieOf(got, "hefring_session"); in == nil || in.Value == half.Value {
		t.Error("the session kept its token")
	}
	b.get("/account").has(t, "Your account")
	if got := b.get("/login/code"); got.location() != "/login" {
		t.Errorf("the half-signed state stays: %q", got.location())
	}
}

func TestLoginLink_SecondFactor_IsAskedForToo(t *testing.T) {
	f := webtest.Sample()
	f.Factor.On = true
	got := visit(t, f).post("/login/link/token1", nil)
	if got.location() != "/login/code" || len(f.SignIns) != 0 {
		t.Errorf("led to %q", got.location())
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
