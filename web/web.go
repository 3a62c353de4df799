// Package web is the door for people: pages, forms, sessions and live logs over
// the use cases. A handler parses, calls one use case and draws.
package web

import (
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"

	"hefring/models"
	"hefring/static"
	"hefring/web/api"
)

// Config is what the pages work with.
type Config struct {
	Front Front
	// Through gives the front to somebody who comes by that way, which the record of
	// changes then says; nil: Front is for everybody.
	Through func(models.Entrance) Front
	// As gives the fleet as somebody has it.
	As           func(models.Actor) Fleet
	SessionStore scs.Store
	Logger       *slog.Logger
	// BaseURL is where people find Hefring, for example https://hefring.example.org;
	// "" means wherever a request came to.
	BaseURL string
	// SecureCookies keeps cookies off plain HTTP. Set it wherever people come by
	// HTTPS.
	SecureCookies bool
	Version       string // shown at the foot of every page; may be ""
	// OIDC is a provider that people sign in with; without Issuer there is none.
	OIDC OIDC
	// Proxies are the addresses of reverse proxies before Hefring. What they say in
	// X-Forwarded-For is believed; without them, everybody comes from where the
	// connection does.
	Proxies []netip.Prefix
	// API answers below api.Root; nil: there is none.
	API http.Handler
	// Health answers /healthz and /readyz, see NewHealth; nil: it looks at nothing.
	Health http.Handler
	// Observer is told of every request; nil: nobody is.
	Observer Observer
	// Tracer follows requests; nil: nobody does.
	Tracer Tracer
}

// Times of the pages.
const (
	sessionLength = models.SessionLife
	streamPoll    = time.Second            // how often a stream looks at its task's state
	stepsRest     = 150 * time.Millisecond // least time between two drawings of a run's steps
	streamBeat    = 15 * time.Second       // how often an idle stream says that it lives
)

// server holds what handlers need.
//
// Handlers get one of their own for each request, in which fleet is what the person
// has who asks; see bound.
type server struct {
	as       func(models.Actor) Fleet
	through  func(models.Entrance) Front
	front    Front
	actor    models.Actor // zero: nobody is signed in
	fleet    Fleet        // as the actor has it; nil: nobody is signed in
	router   *echo.Echo
	needs    map[string]models.Permission // by method and path of a route
	sessions *scs.SessionManager
	logger   *slog.Logger
	hosts    []string // host names of BaseURL, for the check of origins
	base     string   // scheme and host of BaseURL; "" when it is not known
	hooks    *receiver
	api      http.Handler
	health   http.Handler
	observer Observer
	tracer   Tracer
	secure   bool
	version  string
	floods   *limiter
	oidc     *provider // nil: there is none
	realIP   echo.IPExtractor
	poll     time.Duration
	beat     time.Duration
}

// New makes the handler of all pages. Streams end when their request's context
// does: give the HTTP server a BaseContext that ends at shutdown.
func New(cfg Config) http.Handler { return newServer(cfg).handler() }

func (s *server) handler() http.Handler {
	pages := s.echo()
	withSession := s.bounded(s.sessions.LoadAndSave(pages))
	return s.observed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isHealth(r) {
			routed(r.URL.Path, s.health).ServeHTTP(w, r) // it must answer without the database
			return
		}
		if strings.HasPrefix(r.URL.Path, hookPath) {
			routed(hookPath+":address", s.hooks).ServeHTTP(w, r) // machines: no session, no forms
			return
		}
		if s.api != nil && isAPI(r) {
			r = r.WithContext(r.Context())
			r.RemoteAddr = s.realIP(r)                   // as the record of changes says it
			routed(api.Root+"/*", s.api).ServeHTTP(w, r) // programs: a token, and nothing that a browser sends by itself
			return
		}
		if strings.HasPrefix(r.URL.Path, static.Prefix) {
			pages.ServeHTTP(w, r) // needs no session, so it costs no look into the database
			return
		}
		withSession.ServeHTTP(w, r)
	}))
}

// isAPI tells whether a program asks. What is not there, such as another version of
// the API, is answered as programs read it, too.
func isAPI(r *http.Request) bool {
	return r.URL.Path != docsPath && (r.URL.Path == api.Root || strings.HasPrefix(r.URL.Path, api.Root+"/"))
}

func newServer(cfg Config) *server {
	s := &server{
		as: cfg.As, through: cfg.Through, front: cfg.Front, api: cfg.API, sessions: newSessions(cfg), logger: cfg.Logger, secure: cfg.SecureCookies, version: cfg.Version,
		floods: newLimiter(floodLimit, floodWindow), oidc: newProvider(cfg.OIDC), realIP: realIP(cfg.Proxies), poll: streamPoll, beat: streamBeat,
	}
	if base, err := url.Parse(cfg.BaseURL); err == nil && base.Host != "" {
		s.hosts = append(s.hosts, base.Host)
		s.base = base.Scheme + "://" + base.Host
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.sessions.ErrorFunc = s.sessionless
	s.hooks = newReceiver(s.front, s.logger)
	if s.health, s.observer, s.tracer = cfg.Health, cfg.Observer, cfg.Tracer; s.health == nil {
		s.health = NewHealth(nil, s.logger)
	}
	return s
}

func newSessions(cfg Config) *scs.SessionManager {
	m := scs.New()
	m.Store = cfg.SessionStore
	m.Lifetime = sessionLength
	m.HashTokenInStore = true
	m.Cookie.Name = "hefring_session"
	m.Cookie.HttpOnly = true
	m.Cookie.SameSite = http.SameSiteLaxMode
	m.Cookie.Secure = cfg.SecureCookies
	return m
}

func (s *server) echo() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = s.realIP
	e.HTTPErrorHandler = s.fail
	s.use(e)
	s.router, s.needs = e, map[string]models.Permission{}
	for _, r := range s.routes() {
		s.needs[r.method+" "+r.path] = r.needs
		e.Add(r.method, r.path, s.serve(r))
	}
	return e
}
