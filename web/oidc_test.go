package web

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/webtest"
)

// theProvider is an OpenID Connect provider on this machine.
type theProvider struct {
	*mockoidc.MockOIDC
	t *testing.T
}

func newTheProvider(t *testing.T) *theProvider {
	t.Helper()
	m, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return &theProvider{m, t}
}

// settings make a server know the provider.
func (p *theProvider) settings(change ...func(*OIDC)) func(*Config, *server) {
	return func(c *Config, _ *server) {
		if c == nil {
			return
		}
		c.OIDC = OIDC{Name: "Harbour", Issuer: p.Issuer(), ClientID: p.ClientID, ClientSecret: p.ClientSecret, Scopes: []string{"profile", "email", "groups"}, Client: &http.Client{}}
		for _, f := range change {
			f(&c.OIDC)
		}
	}
}

// consent goes where the browser was sent, as a person who agrees, and gives the
// path that the provider sends the browser back to.
func (p *theProvider) consent(address string) string {
	p.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.Body.Close() != nil {
		p.t.Fatal(err)
	}
	back, err := res.Location()
	if err != nil {
		p.t.Fatalf("the provider answers %d: %s", res.StatusCode, body)
	}
	return back.RequestURI()
}

func known() *webtest.Fleet {
	f := webtest.Sample()
	f.Known = map[string]string{mockoidc.DefaultUser().Subject: "admin"}
	return f
}

func TestOIDC_Login_ThereAndBack(t *testing.T) {
	p, f := newTheProvider(t), known()
	b := visit(t, f, p.settings())
	page := b.get("/login?next=/queues")
	page.has(t, `href="/login/oidc?next=%2Fqueues"`, "Sign in with Harbour")
	there := b.get("/login/oidc?next=%2Fqueues")
	if there.status != http.StatusSeeOther || !strings.HasPrefix(there.location(), p.AuthorizationEndpoint()) {
		t.Fatalf("status %d to %q", there.status, there.location())
	}
	asked, err := url.Parse(there.location())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if len(asked.Query().Get(name)) < 20 {
			t.Errorf("%s is %q", name, asked.Query().Get(name))
		}
	}
	if asked.Query().Get("code_challenge_method") != "S256" || asked.Query().Get("redirect_uri") != b.base+callbackPath {
		t.Errorf("asked %v", asked.Query())
	}
	before := cookieOf(there, "hefring_session")
	back := b.get(p.consent(there.location()), "Sec-Fetch-Site", "cross-site")
	if back.status != http.StatusSeeOther || back.location() != "/queues" {
		t.Fatalf("status %d to %q\n%s", back.status, back.location(), b.logs)
	}
	if after := cookieOf(back, "hefring_session"); after == nil || after.Value == before.Value {
		t.Error("the session kept its token")
	}
	who := f.External
	if who.Issuer != p.Issuer() || who.Name != "jane.doe" || who.Email != "jane.doe@example.com" || !who.EmailVerified || len(who.Groups) != 2 {
		t.Errorf("the provider's person is %+v", who)
	}
	if got := b.get("/queues"); got.status != http.StatusOK {
		t.Errorf("not signed in: %d", got.status)
	}
}

func TestOIDC_Callback_Twice_IsRefused(t *testing.T) {
	p := newTheProvider(t)
	b := visit(t, known(), p.settings())
	path := p.consent(b.get("/login/oidc").location())
	if got := b.get(path); got.status != http.StatusSeeOther {
		t.Fatalf("the first time: %d", got.status)
	}
	b.post("/logout", nil)
	got := b.get(path)
	if got.status != http.StatusForbidden {
		t.Errorf("the second time: %d to %q", got.status, got.location())
	}
	got.has(t, "was used already")
}

// Who lures somebody onto the way back signs nobody in.
func TestOIDC_Callback_OfAnotherBrowser_IsRefused(t *testing.T) {
	p, f := newTheProvider(t), known()
	attacker := visit(t, f, p.settings())
	path := p.consent(attacker.get("/login/oidc").location())
	victim := another(t, attacker)
	if got := victim.get(path); got.status != http.StatusForbidden {
		t.Errorf("a browser that began nothing: %d", got.status)
	}
	victim.get("/login/oidc")
	if got := victim.get(path); got.status != http.StatusForbidden || len(f.SignIns) != 0 {
		t.Errorf("a browser that began something else: %d", got.status)
	}
}

func TestOIDC_Callback_WrongState_EndsTheWay(t *testing.T) {
	p := newTheProvider(t)
	b := visit(t, known(), p.settings())
	path := p.consent(b.get("/login/oidc").location())
	if got := b.get(strings.Replace(path, "state=", "state=x", 1)); got.status != http.StatusForbidden {
		t.Errorf("a wrong state: %d", got.status)
	}
	if got := b.get(path); got.status != http.StatusForbidden {
		t.Errorf("the right one after it: %d", got.status)
	}
}

func TestOIDC_Callback_TooLate(t *testing.T) {
	p := newTheProvider(t)
	var own *server
	b := visit(t, known(), p.settings(), func(_ *Config, s *server) {
		if s != nil {
			own = s
		}
	})
	path := p.consent(b.get("/login/oidc").location())
	own.oidc.patience = 0
	got := b.get(path)
	if got.status != http.StatusForbidden {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "took too long")
}

func TestOIDC_Callback_WrongNonce(t *testing.T) {
	p, f := newTheProvider(t), known()
	b := visit(t, f, p.settings())
	there, err := url.Parse(b.get("/login/oidc").location())
	if err != nil {
		t.Fatal(err)
	}
	query := there.Query()
	query.Set("nonce", "of somebody else's sign-in")
	there.RawQuery = query.Encode()
	got := b.get(p.consent(there.String()))
	if got.status != http.StatusForbidden || len(f.SignIns) != 0 {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "could not be trusted")
	if !strings.Contains(b.logs.String(), "another nonce") {
		t.Errorf("the log does not say why: %s", b.logs)
	}
}

// bent is a person about whom the provider states something else.
type bent struct {
	*mockoidc.MockUser
	bend  func(*mockoidc.IDTokenClaims)
	party string // for which the statement was made; "" is not said
}

func (u bent) Claims(scope []string, claims *mockoidc.IDTokenClaims) (jwt.Claims, error) {
	u.bend(claims)
	all, err := u.MockUser.Claims(scope, claims)
	if err != nil || u.party == "" {
		return all, err
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	more := jwt.MapClaims{}
	err = json.Unmarshal(text, &more)
	more["azp"] = u.party
	return more, err
}

func TestOIDC_Callback_StatementsThatDoNotHold(t *testing.T) {
	for name, bend := range map[string]func(*mockoidc.IDTokenClaims){
		"audience": func(c *mockoidc.IDTokenClaims) { c.Audience = jwt.ClaimStrings{"another client"} },
		"expired":  func(c *mockoidc.IDTokenClaims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute)) },
		"issuer":   func(c *mockoidc.IDTokenClaims) { c.Issuer = "https://id.example.net" },
		"nobody":   func(c *mockoidc.IDTokenClaims) { c.Subject = "" },
		"endless":  func(c *mockoidc.IDTokenClaims) { c.Subject = strings.Repeat("x", 256) },
		"party":    func(c *mockoidc.IDTokenClaims) { c.Audience = append(c.Audience, "another client") },
	} {
		p, f := newTheProvider(t), known()
		b := visit(t, f, p.settings())
		party := ""
		if name == "party" {
			party = "another client"
		}
		p.QueueUser(bent{mockoidc.DefaultUser(), bend, party})
		got := b.get(p.consent(b.get("/login/oidc").location()))
		if got.status != http.StatusForbidden || len(f.SignIns) != 0 || f.Called("ExternalLogin") != 0 {
			t.Errorf("%s: status %d", name, got.status)
		}
		got.has(t, "could not be trusted")
	}
}

func TestOIDC_Callback_SignedByAnotherKey(t *testing.T) {
	p, f := newTheProvider(t), known()
	b := visit(t, f, p.settings())
	path := p.consent(b.get("/login/oidc").location())
	stranger, err := mockoidc.RandomKeypair(2048)
	if err != nil {
		t.Fatal(err)
	}
	// What it publishes is the key of before, under the same id.
	p.Keypair = &mockoidc.Keypair{PrivateKey: stranger.PrivateKey, PublicKey: p.Keypair.PublicKey, Kid: p.Keypair.Kid}
	got := b.get(path)
	if got.status != http.StatusForbidden || len(f.SignIns) != 0 {
		t.Errorf("status %d", got.status)
	}
	if !strings.Contains(b.logs.String(), "failed to verify signature") {
		t.Errorf("the log does not say why: %s", b.logs)
	}
}

func TestOIDC_Callback_PersonUnknown(t *testing.T) {
	p, f := newTheProvider(t), webtest.Sample()
	b := visit(t, f, p.settings())
	got := b.get(p.consent(b.get("/login/oidc").location()))
	if got.status != http.StatusForbidden {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "No user of Hefring is linked to this account.", `action="/login"`)
}

func TestOIDC_Callback_PersonSaidNo(t *testing.T) {
	p := newTheProvider(t)
	b := visit(t, known(), p.settings())
	there, err := url.Parse(b.get("/login/oidc").location())
	if err != nil {
		t.Fatal(err)
	}
	got := b.get(callbackPath + "?error=access_denied<b>&state=" + there.Query().Get("state"))
	if got.status != http.StatusForbidden {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "access_denied&lt;b&gt;")
}

func TestOIDC_ProviderDown_StartsAndSaysSo(t *testing.T) {
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	b := visit(t, known(), func(c *Config, _ *server) {
		if c != nil {
			c.OIDC = OIDC{Issuer: down.URL, ClientID: "hefring", Client: &http.Client{}}
		}
	})
	for range 2 {
		got := b.get("/login/oidc")
		if got.status != http.StatusServiceUnavailable {
			t.Errorf("status %d", got.status)
		}
		got.has(t, strings.TrimPrefix(down.URL, "http://")+" does not answer", `name="password"`)
	}
	if got := b.post("/login", url.Values{"name": {"admin"}, "password": {"correct horse"}}); got.status != http.StatusSeeOther {
		t.Errorf("the password: %d", got.status)
	}
}

func TestOIDC_ProviderFails_IsNoRefusal(t *testing.T) {
	p := newTheProvider(t)
	b := visit(t, known(), p.settings())
	path := p.consent(b.get("/login/oidc").location())
	for range 2 { // the client's secret is sent in two ways until one was right
		p.QueueError(&mockoidc.ServerError{Code: http.StatusBadGateway, Error: "server_error"})
	}
	got := b.get(path)
	if got.status != http.StatusServiceUnavailable {
		t.Errorf("status %d", got.status)
	}
	got.has(t, "does not answer as it should")
}

func TestOIDC_ProviderDownMeanwhile_SaysSo(t *testing.T) {
	p := newTheProvider(t)
	b := visit(t, known(), p.settings())
	path := p.consent(b.get("/login/oidc").location())
	if err := p.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if got := b.get(path); got.status != http.StatusServiceUnavailable {
		t.Errorf("status %d", got.status)
	}
}

func TestOIDC_Provider_SendsTooMuch(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for range 3 << 10 {
			if _, err := w.Write([]byte(strings.Repeat(" ", 1<<10))); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	b := visit(t, known(), func(c *Config, _ *server) {
		if c != nil {
			c.OIDC = OIDC{Issuer: endless.URL, ClientID: "hefring", Client: &http.Client{}}
		}
	})
	if got := b.get("/login/oidc"); got.status != http.StatusServiceUnavailable {
		t.Errorf("status %d", got.status)
	}
}

// Another host cannot answer for the provider, neither what it offers nor a code: that
// would see the client's secret.
func TestOIDC_Provider_LeadsElsewhere(t *testing.T) {
	var asked atomic.Int32
	var issuer string
	offer := func(w http.ResponseWriter, at string) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"jwks_uri":%q}`, issuer, at+"/auth", at+"/token", at+"/keys")
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		offer(w, "http://"+r.Host)
	}))
	defer elsewhere.Close()
	for _, first := range []string{"/.well-known/openid-configuration", "/token"} {
		own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case first:
				http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
			case "/.well-known/openid-configuration": // on the same host it may
				http.Redirect(w, r, "/offer", http.StatusFound)
			default:
				offer(w, issuer)
			}
		}))
		issuer = own.URL
		b := visit(t, known(), func(c *Config, _ *server) {
			if c != nil {
				c.OIDC = OIDC{Issuer: own.URL, ClientID: "hefring", ClientSecret: "s3cret", Client: &http.Client{}}
			}
		})
		got := b.get("/login/oidc")
		if to, err := url.Parse(got.location()); err == nil && got.status == http.StatusSeeOther {
			got = b.get(callbackPath + "?code=x&state=" + to.Query().Get("state"))
		}
		if got.status != http.StatusServiceUnavailable || asked.Load() != 0 {
			t.Errorf("%s: %d to %q, and %d requests elsewhere", first, got.status, got.location(), asked.Load())
		}
		own.Close()
	}
}

func TestOIDC_SecondFactor_IsAskedForToo(t *testing.T) {
	p, f := newTheProvider(t), known()
	f.Factor.On = true
	b := visit(t, f, p.settings())
	if got := b.get(p.consent(b.get("/login/oidc?next=/queues").location())); got.location() != "/login/code" {
		t.Fatalf("led to %q", got.location())
	}
	if got := b.post("/login/code", url.Values{"code": {webtest.SecondFactorCode}}); got.location() != "/queues" {
		t.Errorf("led to %q", got.location())
	}
}

func TestOIDC_None_HasNoWay(t *testing.T) {
	b := signedIn(t, webtest.Sample())
	for _, path := range []string{"/login/oidc", callbackPath + "?state=&code=x"} {
		if got := b.get(path); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if got := b.post("/account/identities/link", nil); got.status != http.StatusNotFound {
		t.Errorf("link: %d", got.status)
	}
	b.get("/account").hasNot(t, "Sign-in with a provider")
}

// Linking begins with a form and goes on from a page: browsers hold the redirect of
// a form against form-action.
func TestOIDC_Link_ByAnActOfOnesOwn(t *testing.T) {
	p, f := newTheProvider(t), webtest.Sample()
	b := signedIn(t, f, p.settings())
	b.get("/account").has(t, "Link with Harbour")
	page := b.post("/account/identities/link", nil)
	if page.status != http.StatusOK {
		t.Fatalf("status %d", page.status)
	}
	address := strings.TrimPrefix(page.header.Get("Refresh"), "0; url=")
	if !strings.HasPrefix(address, p.AuthorizationEndpoint()) || strings.Contains(page.header.Get("Content-Security-Policy"), p.Addr()) {
		t.Fatalf("leads to %q", address)
	}
	page.has(t, "Continue to Harbour", `href="`+strings.ReplaceAll(address, "&", "&amp;")+`"`)
	if got := b.get(p.consent(address)); got.location() != "/account" {
		t.Fatalf("status %d to %q", got.status, got.location())
	}
	if len(f.Linked) != 1 || f.Linked[0].Subject != mockoidc.DefaultUser().Subject || f.Called("ExternalLogin") != 0 {
		t.Errorf("linked %+v", f.Linked)
	}
	b.get("/account").has(t, "Linked.", "jane.doe", "Unlink")
}

func TestOIDC_Link_SignedOutMeanwhile_IsRefused(t *testing.T) {
	p, f := newTheProvider(t), webtest.Sample()
	b := signedIn(t, f, p.settings())
	address := strings.TrimPrefix(b.post("/account/identities/link", nil).header.Get("Refresh"), "0; url=")
	path := p.consent(address)
	f.SignIns[0].UserID = 2 // somebody else sits there now
	if got := b.get(path); got.status != http.StatusForbidden || len(f.Linked) != 0 {
		t.Errorf("status %d, linked %+v", got.status, f.Linked)
	}
}

func TestOIDC_Names_OfOtherProviders(t *testing.T) {
	p, f := newTheProvider(t), known()
	b := visit(t, f, p.settings(func(o *OIDC) {
		o.NameClaim, o.GroupsClaim = "email", "phone_number"
		o.Admission = fleet.Admission{Roles: map[string]models.Role{"555-987-6543": models.RoleViewer}}
	}))
	b.get(p.consent(b.get("/login/oidc").location()))
	if f.External.Name != "jane.doe@example.com" {
		t.Errorf("name %q, groups %q", f.External.Name, f.External.Groups)
	}
}
