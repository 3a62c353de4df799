package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/models"
	"hefring/static"
	"hefring/web/api"
)

// Observer is told of every request that was answered. It must not block.
type Observer interface {
	// Answered is one request. route is the pattern of its address; took is 0 for a
	// live stream, which has no length of its own.
	Answered(route, method string, status int, took time.Duration)
}

// Tracer follows requests.
type Tracer interface {
	// Request begins to follow a request, which has an id here and a header; what is
	// logged meanwhile has the context that it gives. end says what came of it; route
	// is the pattern of its address.
	Request(ctx context.Context, id string, header http.Header) (_ context.Context, end func(route, method string, status int))
}

// requestHeader names a request, in what is sent here and in the answer.
const requestHeader = "X-Request-Id"

// sane is a name that somebody else gave a request and that may stand in our log.
var sane = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// noRoute stands for the route of an address that is none of ours.
const noRoute = "none"

type requestKey struct{}

// request is what is known of a request, for the program's own log. What handles
// it fills it in; it is never told its path, which may hold a secret.
type request struct {
	id, route, user string
	token           string // name of the one that a program came with
}

// RequestID is the id of the request that a context is of; "" for other contexts.
func RequestID(ctx context.Context) string {
	if r := requestOf(ctx); r != nil {
		return r.id
	}
	return ""
}

func requestOf(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

// observed gives each request its id, and writes a line about it when it is
// answered. The line names the pattern of the address, and neither the address nor
// its query: links that sign in, addresses of webhooks and what people search for
// stay out of logs.
func (s *server) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		about := &request{id: r.Header.Get(requestHeader), route: noRoute}
		if !sane.MatchString(about.id) {
			about.id = strings.ToLower(rand.Text())
		}
		w.Header().Set(requestHeader, about.id)
		ctx, end := s.traced(r, about.id)
		r = r.WithContext(context.WithValue(ctx, requestKey{}, about))
		noted := &noting{ResponseWriter: w}
		unwritten := http.StatusInternalServerError // it panicked
		defer func() {
			status := cmp.Or(noted.status, unwritten)
			s.answered(r, about, status, time.Since(began))
			end(about.route, methodOf(r), status)
		}()
		next.ServeHTTP(noted, r)
		unwritten = http.StatusOK
	})
}

// traced begins to follow a request, unless it is one of those that are too many.
func (s *server) traced(r *http.Request, id string) (context.Context, func(route, method string, status int)) {
	if s.tracer == nil || r.URL.Path == healthPath || r.URL.Path == readyPath || strings.HasPrefix(r.URL.Path, static.Prefix) {
		return r.Context(), func(string, string, int) {}
	}
	return s.tracer.Request(r.Context(), id, r.Header)
}

func (s *server) answered(r *http.Request, about *request, status int, took time.Duration) {
	level := slog.LevelInfo
	if about.route == healthPath || about.route == readyPath || about.route == static.Prefix+"*" {
		level = slog.LevelDebug // there are too many of them
	}
	line := []slog.Attr{
		slog.String("method", methodOf(r)), slog.String("route", about.route),
		slog.Int("status", status), slog.Duration("took", took), slog.String("user", about.user),
	}
	if about.token != "" {
		line = append(line, slog.String("token", about.token))
	}
	s.logger.LogAttrs(r.Context(), level, "request", line...)
	if s.observer == nil {
		return
	}
	if strings.HasSuffix(about.route, "/stream") {
		took = 0
	}
	s.observer.Answered(about.route, methodOf(r), status, took)
}

// methodOf is a request's method, if it is one; anybody may send any word.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	default:
		return "other"
	}
}

// note fills in what is known once Echo has found the page.
func (s *server) note(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		about := requestOf(c.Request().Context())
		if about == nil {
			return next(c)
		}
		if c.Path() != "" {
			about.route = c.Path()
		}
		if isStatic(c) { // it has no session
			return next(c)
		}
		about.user = s.user(c)
		err := next(c)
		if about.user == "" { // who has just signed in
			about.user = s.user(c)
		}
		return err
	}
}

// routed notes the route of what a handler answers that is not Echo's. A handler
// that has routes of its own says so in the request's pattern.
func routed(route string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		about := requestOf(r.Context())
		if about != nil {
			about.route = route
		}
		next.ServeHTTP(w, r)
		if _, pattern, found := strings.Cut(r.Pattern, " "); found && about != nil {
			about.route = pattern
		}
	})
}

// NoteUsers makes the line about a request to the API name the user whose token it
// came with.
func NoteUsers(front api.Front) api.Front { return userNoting{front} }

type userNoting struct{ api.Front }

// UseToken finds who comes with a token.
func (n userNoting) UseToken(ctx context.Context, token string) (models.Actor, error) {
	by, err := n.Front.UseToken(ctx, token)
	if about := requestOf(ctx); about != nil && err == nil {
		about.user, about.token = by.Name, by.Token
	}
	return by, err
}

// noting remembers the status of an answer.
type noting struct {
	http.ResponseWriter

	status int
}

// WriteHeader sends the status.
func (n *noting) WriteHeader(status int) {
	if n.status == 0 && status >= http.StatusOK {
		n.status = status
	}
	n.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the answer.
func (n *noting) Write(p []byte) (int, error) {
	if n.status == 0 {
		n.status = http.StatusOK
	}
	return n.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the server's own.
func (n *noting) Unwrap() http.ResponseWriter { return n.ResponseWriter }
