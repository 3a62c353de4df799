// Package web is the door for people: pages, forms, sessions and live logs over
// the use cases. A handler parses, calls one use case and draws.
package web

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"

	"hefring/static"
	"hefring/web/api"
)

// Config is what the pages work with.
type Config struct {
	Fleet        Fleet
	SessionStore scs.Store
	Logger       *slog.Logger
	// BaseURL is where people find Hefring, for example https://hefring.example.org;
	// "" means wherever a request came to.
	BaseURL string
	// SecureCookies keeps cookies off plain HTTP. Set it wherever people come by
	// HTTPS.
	SecureCookies bool
	Version       string // shown at the foot of every page; may be ""
	// API answers below api.Prefix; nil: there is none.
	API http.Handler
}

// Times of the pages.
const (
	sessionLength = 7 * 24 * time.Hour
	streamPoll    = time.Second            // how often a stream looks at its task's state
	stepsRest     = 150 * time.Millisecond // least time between two drawings of a run's steps
	streamBeat    = 15 * time.Second       // how often an idle stream says that it lives
)

// server holds what handlers need.
type server struct {
	fleet    Fleet
	sessions *scs.SessionManager
	logger   *slog.Logger
	hosts    []string // host names of BaseURL, for the check of origins
	base     string   // scheme and host of BaseURL; "" when it is not known
	hooks    *receiver
	api      http.Handler
	secure   bool
	version  string
	failures *limiter
	poll     time.Duration
	beat     time.Duration
}

// New makes the handler of all pages. Streams end when their request's context
// does: give the HTTP server a BaseContext that ends at shutdown.
func New(cfg Config) http.Handler { return newServer(cfg).handler() }

func (s *server) handler() http.Handler {
	pages := s.echo()
	withSession := s.sessions.LoadAndSave(pages)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, hookPath) {
			s.hooks.ServeHTTP(w, r) // machines: no session, no forms
			return
		}
		if s.api != nil && strings.HasPrefix(r.URL.Path, api.Prefix+"/") {
			s.api.ServeHTTP(w, r) // programs: a token, and nothing that a browser sends by itself
			return
		}
		if strings.HasPrefix(r.URL.Path, static.Prefix) {
			pages.ServeHTTP(w, r) // needs no session, so it costs no look into the database
			return
		}
		withSession.ServeHTTP(w, r)
	})
}

func newServer(cfg Config) *server {
	s := &server{
		fleet: cfg.Fleet, api: cfg.API, sessions: newSessions(cfg), logger: cfg.Logger, secure: cfg.SecureCookies, version: cfg.Version,
		failures: newLimiter(10, time.Minute), poll: streamPoll, beat: streamBeat,
	}
	if base, err := url.Parse(cfg.BaseURL); err == nil && base.Host != "" {
		s.hosts = append(s.hosts, base.Host)
		s.base = base.Scheme + "://" + base.Host
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.hooks = newReceiver(s.fleet, s.logger)
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
	m.ErrorFunc = func(w http.ResponseWriter, r *http.Request, err error) {
		if cfg.Logger != nil {
			cfg.Logger.ErrorContext(r.Context(), "session", slog.Any("error", err))
		}
		http.Error(w, "Hefring cannot reach its database. Its log has the details; try again in a moment.", http.StatusInternalServerError)
	}
	return m
}

func (s *server) echo() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.fail
	s.use(e)
	for _, r := range s.routes() {
		handler := r.handler
		if !r.public {
			handler = s.requireLogin(handler)
		}
		e.Add(r.method, r.path, handler)
	}
	return e
}
