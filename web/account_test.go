package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"hefring/models"
	"hefring/templates/pages"
	"hefring/web/webtest"
)

func TestAccount_Sessions_EndedElsewhere_AreOut(t *testing.T) {
	f := webtest.Sample()
	one := signedIn(t, f)
	two := another(t, one)
	two.signIn()
	page := one.get("/account", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	page.has(t, "This one.", "Sign out everywhere else", "127.0.0.1")
	token := regexp.MustCompile(`name="session" value="([^"]+)"`).FindStringSubmatch(page.body)
	if token == nil || strings.Count(page.body, `name="session"`) != 1 {
		t.Fatal("the page offers to end something else than the other session")
	}
	if got := one.post("/account/sessions/end", url.Values{"session": {token[1]}}); got.location() != "/account" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	if got := two.get("/account"); got.location() != "/login?next=%2Faccount" {
		t.Errorf("the ended session answers %d to %q", got.status, got.location())
	}
	two.signIn()
	one.post("/account/sessions/end-others", nil)
	if got := two.get("/account"); got.status != http.StatusSeeOther {
		t.Errorf("the ended session answers %d", got.status)
	}
	if got := one.get("/account"); got.status != http.StatusOK {
		t.Errorf("the own session answers %d", got.status)
	}
}

// another is a second browser on the server of the first.
func another(t *testing.T, b *browser) *browser {
	t.Helper()
	other := *visit(t, webtest.Sample())
	other.base = b.base
	return &other
}

// What pages ask by themselves keeps nobody signed in.
func TestAccount_Polls_AreNoActivity(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	for _, c := range []struct {
		header []string
		want   bool
	}{{nil, true}, {[]string{"HX-Request", "true", "HX-Trigger", "poll"}, false}, {[]string{"HX-Request", "true", "HX-Trigger", "form"}, true}} {
		b.get("/queues", c.header...)
		if got := f.Seen[len(f.Seen)-1]; got != c.want {
			t.Errorf("%v counts as activity: %t", c.header, got)
		}
	}
}

func TestAccount_Password_TwiceTheSame(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	b.get("/account").has(t, `name="present"`, `autocomplete="new-password"`)
	got := b.post("/account/password", url.Values{"present": {"correct horse"}, "password": {"a new long password"}, "again": {"another one"}})
	if got.status != http.StatusUnprocessableEntity || f.Called("ChangePassword") != 0 {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "Type the new password twice.", `id="password-again-e"`)
	got.hasNot(t, "a new long password")
	got = b.post("/account/password", url.Values{"present": {"wrong"}, "password": {"a new long password"}, "again": {"a new long password"}})
	got.has(t, "This is not your password.")
	got = b.post("/account/password", url.Values{"present": {"correct horse"}, "password": {"a new long password"}, "again": {"a new long password"}})
	if got.location() != "/account" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	b.get("/account").has(t, "You were signed out everywhere else.")
	if f.Password.Address != "127.0.0.1" {
		t.Errorf("address %q", f.Password.Address)
	}
}

func TestAccount_TooEarly_SaysSo(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	f.Fail["ChangePassword"] = models.Errorf(models.Forbidden, "Too many attempts. Wait 4 seconds, then try again.").After(4 * time.Second)
	got := b.post("/account/password", url.Values{"present": {"x"}, "password": {"y"}, "again": {"y"}})
	if got.status != http.StatusTooManyRequests {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "Wait 4 seconds")
}

func TestAccount_SecondFactor_FromSetUpToRemoval(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	if got := b.get("/account/second-factor"); got.location() != "/account" {
		t.Errorf("nothing to set up: %d", got.status)
	}
	if got := b.post("/account/second-factor", nil); got.location() != "/account/second-factor" {
		t.Fatalf("led to %q", got.location())
	}
	page := b.get("/account/second-factor")
	page.has(t, "JBSW Y3DP", `src="/account/second-factor/code.png"`, `href="otpauth://totp/`)
	if got := b.get("/account/second-factor/code.png"); got.header.Get("Content-Type") != "image/png" || got.header.Get("Cache-Control") == "" || !strings.Contains(got.header.Get("Cache-Control"), "no-store") {
		t.Errorf("picture: %v", got.header)
	}
	got := b.post("/account/second-factor/confirm", url.Values{"code": {"000000"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong code: %d", got.status)
	}
	got.has(t, "This code does not fit.", "JBSW Y3DP")
	b.post("/account/second-factor/confirm", url.Values{"code": {webtest.SecondFactorCode}}).has(t, webtest.RecoveryCode, "never shown again")
	page = b.get("/account")
	page.has(t, "10 recovery codes are left.")
	page.hasNot(t, webtest.RecoveryCode)
	b.post("/account/second-factor/recovery", url.Values{"code": {webtest.SecondFactorCode}}).has(t, strings.ToUpper(webtest.RecoveryCode))
	got = b.post("/account/second-factor/remove", url.Values{"proof": {"wrong"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong password: %d", got.status)
	}
	b.post("/account/second-factor/remove", url.Values{"proof": {"correct horse"}})
	b.get("/account").has(t, "Set up a second factor", "The second factor is off.")
}

func TestAccount_Tokens_ShownOnce(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	got := b.post("/account/tokens", url.Values{"name": {""}, "life": {"90"}})
	if got.status != http.StatusUnprocessableEntity {
		t.Errorf("without a name: %d", got.status)
	}
	got.has(t, "Say what it is for.")
	b.post("/account/tokens", url.Values{"name": {"Deployment"}, "life": {"90"}}).has(t, `value="hefring_Deployment"`, "never shown again")
	page := b.get("/account")
	page.has(t, "Deployment", "Revoke")
	page.hasNot(t, "hefring_Deployment")
	b.post("/account/tokens/revoke", url.Values{"name": {"Deployment"}})
	b.get("/account").hasNot(t, "Deployment</th>")
}

// Everybody has an account, whatever else they may do.
func TestAccount_EveryRole_HasOne(t *testing.T) {
	for _, role := range append(models.Roles(), "") {
		f := webtest.Sample()
		f.Roles = map[string]models.Role{"admin": role}
		if got := signedIn(t, f).get("/account"); got.status != http.StatusOK {
			t.Errorf("%q: %d", role, got.status)
		}
	}
}

func TestBrowser_InFewWords(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                    "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0":     "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/604.1": "Safari on iPhone",
		"curl/8.5.0": "curl", "": "A browser that does not say what it is", strings.Repeat("ä", 100): strings.Repeat("ä", 60) + "…",
	} {
		if got := pages.Browser(agent); got != want {
			t.Errorf("%q: %q, want %q", agent, got, want)
		}
	}
}
