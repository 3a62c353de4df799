package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/labstack/echo/v4"
	"golang.org/x/oauth2"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/pages"
)

// OIDC says how people sign in with an OpenID Connect provider. Without Issuer they
// do not.
type OIDC struct {
	Name         string // of the provider, as the button says it; "" is its host
	Issuer       string // address without /.well-known/…
	ClientID     string
	ClientSecret string   // "" for a public client; PKCE is used always
	Scopes       []string // beside openid; nil is profile and email
	NameClaim    string   // what a person is called by; "" is preferred_username
	GroupsClaim  string   // what lists a person's groups; "" is groups
	Admission    fleet.Admission
	Client       *http.Client // that reaches the provider: one of internal/egress
}

// Patience with a provider, and what it may send.
const (
	providerTimeout = 15 * time.Second
	providerRest    = 5 * time.Second // after a failure, before it is asked anew
	maxProviderSays = 1 << 20         // bytes of one answer

	maxProviderTurns = 3   // redirects
	maxSubject       = 255 // bytes, as the standard has it
)

// callbackPath is where a provider sends people back to.
const callbackPath = "/login/oidc/callback"

// provider is an OpenID Connect provider. It is asked what it offers when somebody
// wants to sign in, so that Hefring starts without it.
type provider struct {
	cfg      OIDC
	patience time.Duration // with people on their way to it and back

	mu       sync.Mutex
	found    *oidc.Provider
	failed   error // of the last question
	failedAt time.Time
}

// newProvider gives nil when there is none.
func newProvider(cfg OIDC) *provider {
	if cfg.Issuer == "" {
		return nil
	}
	if u, err := url.Parse(cfg.Issuer); cfg.Name == "" && err == nil {
		cfg.Name = u.Host
	}
	if cfg.NameClaim == "" {
		cfg.NameClaim = "preferred_username"
	}
	if cfg.GroupsClaim == "" {
		cfg.GroupsClaim = "groups"
	}
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"profile", "email"}
	}
	client := http.Client{}
	if cfg.Client != nil {
		client = *cfg.Client
	}
	if client.Transport == nil {
		client.Transport = http.DefaultTransport
	}
	client.Transport = terse{client.Transport}
	client.Timeout = providerTimeout
	client.CheckRedirect = stays
	cfg.Client = &client
	return &provider{cfg: cfg, patience: halfLength}
}

func (p *provider) name() string {
	if p == nil {
		return ""
	}
	return p.cfg.Name
}

// stays lets nobody but the host that was asked answer: what a provider offers is
// believed from then on, and codes and the client's secret are for it alone.
func stays(next *http.Request, via []*http.Request) error {
	first := via[0]
	if first.Method != http.MethodGet || next.URL.Host != first.URL.Host || next.URL.Scheme != first.URL.Scheme && next.URL.Scheme != "https" {
		return fmt.Errorf("%s leads to %s", first.URL.Host, next.URL.Host)
	}
	if len(via) > maxProviderTurns {
		return fmt.Errorf("%s leads on and on", first.URL.Host)
	}
	return nil
}

// terse cuts off answers that are too long.
type terse struct{ http.RoundTripper }

// RoundTrip asks.
func (t terse) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxProviderSays), res.Body}
	}
	return res, err
}

// discover asks the provider what it offers, once.
func (p *provider) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	if p.failed != nil && time.Since(p.failedAt) < providerRest {
		return nil, p.failed
	}
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.cfg.Client), p.cfg.Issuer)
	if err == nil {
		err = leadsSomewhere(found.Endpoint().AuthURL)
	}
	if err != nil {
		p.failed, p.failedAt = p.unavailable(fmt.Errorf("discover provider: %w", err)), time.Now()
		return nil, p.failed
	}
	p.found, p.failed = found, nil
	return found, nil
}

func leadsSomewhere(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("it signs people in at %q", address)
	}
	return nil
}

func (p *provider) unavailable(err error) error {
	return models.Wrapf(models.Unavailable, err, "%s does not answer as it should, so nobody can sign in with it now. Sign in with a password or a one-time link, or try again later.", p.cfg.Name)
}

func (p *provider) refused(err error) error {
	return models.Wrapf(models.Forbidden, err, "What %s said could not be trusted, so you are not signed in. Begin again; if it happens once more, tell an administrator: Hefring’s log says why.", p.cfg.Name)
}

func (p *provider) oauth(found *oidc.Provider, back string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret, Endpoint: found.Endpoint(),
		RedirectURL: back, Scopes: slices.Concat([]string{oidc.ScopeOpenID}, p.cfg.Scopes),
	}
}

// flow is one way to the provider and back, kept in the session.
type flow struct {
	State, Nonce, Verifier string
	Next                   string
	LinkTo                 int64 // the user who wants to be linked; 0: somebody signs in
	At                     time.Time
}

const keyFlow = "flow"

// begin keeps a flow in the session and gives the address at the provider.
func (s *server) begin(c echo.Context, f flow) (string, error) {
	ctx := c.Request().Context()
	found, err := s.oidc.discover(ctx)
	if err != nil {
		return "", err
	}
	f.State, f.Nonce, f.Verifier, f.At = rand.Text(), rand.Text(), oauth2.GenerateVerifier(), time.Now()
	text, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("keep sign-in: %w", err)
	}
	if s.user(c) == "" {
		s.sessions.SetDeadline(ctx, time.Now().Add(halfLength))
	}
	s.sessions.Put(ctx, keyFlow, string(text))
	return s.oidc.oauth(found, s.callback(c)).AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), nil
}

// takeFlow gives the flow that a state belongs to, this once.
func (s *server) takeFlow(c echo.Context, state string) (flow, bool) {
	var f flow
	text := s.sessions.PopString(c.Request().Context(), keyFlow)
	if json.Unmarshal([]byte(text), &f) != nil || f.State == "" || time.Since(f.At) > s.oidc.patience {
		return flow{}, false
	}
	return f, subtle.ConstantTimeCompare([]byte(f.State), []byte(state)) == 1
}

// callback is the address that the provider sends people back to.
func (s *server) callback(c echo.Context) string { return s.baseOf(c) + callbackPath }

// oidcLogin leads to the provider. It is a link and no form: browsers hold redirects
// of forms against form-action, which allows nothing but Hefring.
func (s *server) oidcLogin(c echo.Context) error {
	if s.oidc == nil {
		return errNoPage()
	}
	next := safePath(c.QueryParam("next"))
	if s.user(c) != "" {
		return c.Redirect(http.StatusSeeOther, next)
	}
	address, err := "", s.hurried(c)
	if err == nil {
		address, err = s.begin(c, flow{Next: next})
	}
	if err != nil {
		return s.oidcFailed(c, err, next)
	}
	return c.Redirect(http.StatusSeeOther, address)
}

// oidcFailed shows the login form with what went wrong.
func (s *server) oidcFailed(c echo.Context, err error, next string) error {
	if models.CodeOf(err) == "" {
		return err
	}
	s.logger.WarnContext(c.Request().Context(), "sign-in with the provider failed", slog.Any("error", err))
	status := refusal(c, err)
	if status == http.StatusUnprocessableEntity {
		status = http.StatusForbidden
	}
	return s.loginForm(c, status, pages.Login{Next: next, Error: models.Explain(err)})
}

// oidcCallback is where the provider sends people back to.
func (s *server) oidcCallback(c echo.Context) error {
	if s.oidc == nil {
		return errNoPage()
	}
	if err := s.hurried(c); err != nil {
		return s.oidcFailed(c, err, "/")
	}
	f, ok := s.takeFlow(c, c.QueryParam("state"))
	if !ok {
		return s.oidcFailed(c, models.Errorf(models.Forbidden, "This sign-in was not begun in this browser, took too long, or was used already. Begin again."), "/")
	}
	who, err := s.oidc.person(c, f, s.callback(c))
	if f.LinkTo != 0 {
		return s.linked(c, f, who, err)
	}
	if err != nil {
		return s.oidcFailed(c, err, f.Next)
	}
	user, err := s.front.ExternalLogin(c.Request().Context(), who, s.oidc.cfg.Admission)
	if err != nil {
		return s.oidcFailed(c, err, f.Next)
	}
	return s.admit(c, user, f.Next)
}

// linked links the provider's person to the user who asked for it and still is
// signed in.
func (s *server) linked(c echo.Context, f flow, who fleet.External, err error) error {
	bound, lost := s.bound(c)
	if lost != nil {
		return lost
	}
	if bound.fleet == nil || bound.actor.UserID != f.LinkTo {
		return s.oidcFailed(c, models.Errorf(models.Forbidden, "You are not signed in any more as the one who began this. Sign in and begin again."), "/account")
	}
	if err == nil {
		err = s.front.LinkIdentity(c.Request().Context(), f.LinkTo, who)
	} else {
		s.logger.WarnContext(c.Request().Context(), "linking with the provider failed", slog.Any("error", err))
	}
	return bound.acted(c, "/account", err, "Linked. You can sign in with "+s.oidc.cfg.Name+" from now on.")
}

// person proves with the provider who it is that came back.
func (p *provider) person(c echo.Context, f flow, back string) (fleet.External, error) {
	if said := c.QueryParam("error"); said != "" {
		return fleet.External{}, models.Errorf(models.Forbidden, "%s did not sign you in. It says: %s.", p.cfg.Name, clipped(said))
	}
	if issuer := c.QueryParam("iss"); issuer != "" && issuer != p.cfg.Issuer { // RFC 9207
		return fleet.External{}, p.refused(fmt.Errorf("the answer is of %q", issuer))
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(c.Request().Context(), p.cfg.Client), providerTimeout)
	defer cancel()
	found, err := p.discover(ctx)
	if err != nil {
		return fleet.External{}, err
	}
	oauth := p.oauth(found, back)
	token, err := oauth.Exchange(ctx, c.QueryParam("code"), oauth2.VerifierOption(f.Verifier))
	if err != nil {
		if said, answered := errors.AsType[*oauth2.RetrieveError](err); answered && said.Response.StatusCode < http.StatusInternalServerError {
			return fleet.External{}, p.refused(fmt.Errorf("exchange code: %w", err))
		}
		return fleet.External{}, p.unavailable(fmt.Errorf("exchange code: %w", err))
	}
	return p.read(ctx, found, token, f.Nonce)
}

// read checks the provider's statement about the person.
func (p *provider) read(ctx context.Context, found *oidc.Provider, token *oauth2.Token, nonce string) (fleet.External, error) {
	raw, _ := token.Extra("id_token").(string)
	stated, err := found.Verifier(&oidc.Config{ClientID: p.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		return fleet.External{}, p.refused(fmt.Errorf("verify ID token: %w", err))
	}
	if subtle.ConstantTimeCompare([]byte(stated.Nonce), []byte(nonce)) != 1 {
		return fleet.External{}, p.refused(errors.New("verify ID token: it has another nonce"))
	}
	claims := map[string]any{}
	if err := stated.Claims(&claims); err != nil {
		return fleet.External{}, p.refused(fmt.Errorf("read ID token: %w", err))
	}
	if n := len(stated.Subject); n == 0 || n > maxSubject {
		return fleet.External{}, p.refused(fmt.Errorf("verify ID token: its subject has %d bytes", n))
	}
	if azp, named := claims["azp"]; named && azp != p.cfg.ClientID {
		return fleet.External{}, p.refused(errors.New("verify ID token: it was made for another party"))
	}
	p.complete(ctx, found, token, stated.Subject, claims)
	who := fleet.External{Issuer: stated.Issuer, Subject: stated.Subject, Groups: texts(claims[p.cfg.GroupsClaim])}
	who.Name, _ = claims[p.cfg.NameClaim].(string)
	who.Email, _ = claims["email"].(string)
	who.EmailVerified, _ = claims["email_verified"].(bool)
	who.Name = clipped(who.Name)
	return who, nil
}

// complete asks for what the ID token left out. Providers may keep names and groups
// for those who ask; one that says nothing, or speaks of somebody else, adds nothing.
func (p *provider) complete(ctx context.Context, found *oidc.Provider, token *oauth2.Token, subject string, claims map[string]any) {
	_, named := claims[p.cfg.NameClaim]
	_, grouped := claims[p.cfg.GroupsClaim]
	if found.UserInfoEndpoint() == "" || named && (grouped || len(p.cfg.Admission.Roles) == 0) {
		return
	}
	info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil || info.Subject != subject {
		return
	}
	more := map[string]any{}
	if info.Claims(&more) != nil {
		return
	}
	for name, value := range more {
		if _, there := claims[name]; !there {
			claims[name] = value
		}
	}
}

// texts reads a list of texts, or one.
func texts(value any) []string {
	switch value := value.(type) {
	case string:
		return []string{value}
	case []any:
		var list []string
		for _, one := range value {
			if text, ok := one.(string); ok {
				list = append(list, text)
			}
		}
		return list
	}
	return nil
}

// clipped bounds what others say.
func clipped(text string) string {
	if len(text) > 100 {
		text = text[:100]
	}
	return strings.TrimSpace(strings.ToValidUTF8(text, ""))
}
