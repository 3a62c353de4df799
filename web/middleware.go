package web

import (
	"compress/gzip"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"hefring/internal/httpcode"
	"hefring/models"
	"hefring/static"
)

// policy lets a page load from Hefring alone, and nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// use puts on every request what protects it.
func (s *server) use(e *echo.Echo) {
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true, LogErrorFunc: s.panicked}))
	e.Use(s.note)
	e.Use(s.headers)
	e.Use(middleware.BodyLimit("1M"))
	// Pages are made for each request: what a better level saves on the way it costs here.
	e.Use(middleware.GzipWithConfig(middleware.GzipConfig{Skipper: isStream, MinLength: 1024, Level: gzip.BestSpeed}))
	e.Use(s.sameOrigin)
	e.Use(s.csrf())
}

func (s *server) panicked(c echo.Context, err error, stack []byte) error {
	s.logger.ErrorContext(c.Request().Context(), "handler panicked", slog.String("path", c.Path()), slog.Any("error", err), slog.String("stack", string(stack)))
	return err
}

// headers sets the security headers; pages are kept by nobody.
func (s *server) headers(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		// same-origin and not no-referrer: the latter makes browsers send
		// "Origin: null" with our own forms.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		if s.secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if !isStatic(c) {
			h.Set("Cache-Control", "no-store")
		}
		return next(c)
	}
}

func isStatic(c echo.Context) bool { return strings.HasPrefix(c.Request().URL.Path, static.Prefix) }

func isStream(c echo.Context) bool { return strings.HasSuffix(c.Request().URL.Path, "/stream") }

// csrf refuses forged forms. Sites that Hefring hosts may share its host name on
// another port, which browsers call same-site, and could plant a cookie for it;
// so same-site is refused as well as cross-site.
func (s *server) csrf() echo.MiddlewareFunc {
	return middleware.CSRFWithConfig(middleware.CSRFConfig{ //nolint:gosec // the name of a field
		Skipper:               isStatic,
		TokenLookup:           "header:X-CSRF-Token,form:_csrf",
		CookieName:            "hefring_csrf",
		CookiePath:            "/",
		CookieHTTPOnly:        true,
		CookieSecure:          s.secure,
		CookieSameSite:        http.SameSiteLaxMode,
		ErrorHandler:          func(error, echo.Context) error { return errForged() },
		AllowSecFetchSiteFunc: func(echo.Context) (bool, error) { return false, errForged() },
	})
}

func errForged() error {
	return models.Errorf(models.Forbidden, "This form was not sent from a page of Hefring, or the page was open for too long. Reload the page and send the form again.")
}

// sameOrigin refuses what a browser sends from a page of somebody else, also
// where the browser does not say Sec-Fetch-Site.
func (s *server) sameOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		origin := c.Request().Header.Get(echo.HeaderOrigin)
		if c.Request().Method != http.MethodPost || origin == "" {
			return next(c)
		}
		u, err := url.Parse(origin)
		if err != nil || u.Host != c.Request().Host && !slices.Contains(s.hosts, u.Host) {
			return errForged()
		}
		return next(c)
	}
}

// Keys of the session.
const (
	keyUser   = "user"
	keyNotice = "notice"
	keyKind   = "notice kind"
)

// user is the name of the person who is signed in, or "".
func (s *server) user(c echo.Context) string {
	return s.sessions.GetString(c.Request().Context(), keyUser)
}

// serve has a route's handler answer for the person who asks.
func (s *server) serve(r route) echo.HandlerFunc {
	return func(c echo.Context) error {
		s := s.entered(c)
		if r.needs == open {
			return r.handler(s, c)
		}
		bound, err := s.bound(c)
		if err != nil {
			return err
		}
		if bound.fleet == nil {
			return s.toLogin(c)
		}
		if err := bound.allows(r.needs); err != nil {
			return err
		}
		return r.handler(bound, c)
	}
}

// entrance is where a request comes from.
func entrance(c echo.Context) models.Entrance {
	return models.Entrance{Door: models.DoorPage, Address: c.RealIP()}
}

// entered gives the server as it is for requests from there.
func (s *server) entered(c echo.Context) *server {
	if s.through == nil {
		return s
	}
	here := *s
	here.front = s.through(entrance(c))
	return &here
}

// bound gives the server as the person has it who is signed in. What that person may
// do is looked up on each request, so that what an administrator takes away is gone
// at once. Nobody is signed in: it is the same server.
func (s *server) bound(c echo.Context) (*server, error) {
	if s.user(c) == "" || s.fleet != nil {
		return s, nil
	}
	// Who asks is looked up soon also where the answer may take its time.
	ctx, cancel := context.WithTimeout(c.Request().Context(), httpcode.AnswerTime)
	defer cancel()
	user, err := s.front.SessionUser(ctx, s.ownSession(c), isActive(c))
	if models.CodeOf(err) == models.NotFound {
		return s, s.sessions.Destroy(c.Request().Context())
	}
	if err != nil {
		return s, err
	}
	bound := *s
	bound.actor = user.Actor()
	bound.actor.Entrance = entrance(c)
	bound.fleet = s.as(bound.actor)
	return &bound, nil
}

func (s *server) allows(p models.Permission) error {
	if p == anybody {
		return nil
	}
	return s.actor.Needs(p)
}

func (s *server) toLogin(c echo.Context) error {
	if isPart(c) {
		// A part of a page cannot show a login form: have the browser go there.
		c.Response().Header().Set("HX-Redirect", loginURL(currentPath(c)))
		return c.NoContent(http.StatusUnauthorized)
	}
	if isStream(c) {
		return c.NoContent(http.StatusUnauthorized)
	}
	back := "/"
	if c.Request().Method == http.MethodGet {
		back = c.Request().URL.RequestURI()
	}
	return c.Redirect(http.StatusSeeOther, loginURL(back))
}

func loginURL(next string) string {
	if next == "/" || safePath(next) != next {
		return "/login"
	}
	return "/login?next=" + url.QueryEscape(next)
}

// safePath gives path if it is a path on this server, and "/" otherwise, so that
// a link to Hefring cannot lead elsewhere.
func safePath(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(path, "/") ||
		strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\x00\r\n\t") || strings.HasPrefix(u.Path, "//") {
		return "/"
	}
	return path
}
