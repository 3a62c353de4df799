// Package api is the door for programs: a JSON API over the same use cases as
// the pages, described by OpenAPI 3.1. A program acts for the user of its token.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hefring/models"
)

// Prefix begins every path of the API.
const Prefix = "/api/v1"

// Limits of requests.
const maxBody = 1 << 20

// server holds what operations need.
type server struct {
	front  Front
	as     func(models.Actor) Fleet
	api    huma.API
	logger *slog.Logger
}

// New makes the handler of the API. Its description is at Prefix/openapi.json.
func New(front Front, as func(models.Actor) Fleet, logger *slog.Logger, version string) http.Handler {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Hefring", version)
	config.DocsPath = "" // a viewer would load scripts from elsewhere
	config.CreateHooks = nil
	config.Servers = []*huma.Server{{URL: Prefix}}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"token": {}}}
	s := &server{front: front, as: as, api: humago.NewWithPrefix(mux, Prefix, config), logger: logger}
	s.sites()
	s.backups()
	s.platforms()
	s.databases()
	s.tasks()
	s.imports()
	return safe(mux)
}

// safe bounds requests and keeps answers out of caches and frames.
func safe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// Caller is part of every request.
type Caller struct {
	Authorization string `header:"Authorization" doc:"Bearer and a token" hidden:"true"`
}

func (c Caller) token() string {
	kind, token, _ := strings.Cut(c.Authorization, " ")
	if !strings.EqualFold(kind, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// authorised is a request that says who asks.
type authorised interface{ token() string }

// answer wraps what an operation gives.
type answer[T any] struct{ Body T }

// operation describes one operation: method and path, what it is called, and one
// sentence.
type operation struct{ method, path, id, summary string }

// register adds an operation. It gets the fleet as the user of the Caller's token has
// it.
func register[I authorised, T any](s *server, o operation, do func(ctx context.Context, f Fleet, in I) (T, error)) {
	status := http.StatusOK
	if _, starts := reflect.TypeFor[T]().MethodByName("Started"); starts {
		status = http.StatusAccepted
	}
	huma.Register(s.api, huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, DefaultStatus: status, MaxBodyBytes: maxBody,
		Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}, func(ctx context.Context, in *I) (*answer[T], error) {
		user, err := s.front.UseToken(ctx, (*in).token())
		if err != nil {
			if models.CodeOf(err) == models.Forbidden {
				return nil, huma.Error401Unauthorized(models.Explain(err))
			}
			return nil, s.problem(ctx, o, err)
		}
		value, err := do(ctx, s.as(user.Actor()), *in)
		if err != nil {
			return nil, s.problem(ctx, o, err)
		}
		return &answer[T]{value}, nil
	})
}

// problem says what went wrong as RFC 9457 has it. What a person cannot act on
// is told to the log alone.
func (s *server) problem(ctx context.Context, o operation, err error) error {
	known, ok := errors.AsType[*models.Error](err)
	if !ok {
		if ctx.Err() == nil {
			s.logger.ErrorContext(ctx, "api", slog.String("operation", o.id), slog.Any("error", err))
		}
		return huma.Error500InternalServerError("Something failed inside Hefring. Its log has the details.")
	}
	var details []error
	for _, field := range slices.Sorted(mapKeys(known.Fields)) {
		details = append(details, &huma.ErrorDetail{Location: "body." + field, Message: known.Fields[field]})
	}
	return huma.NewError(statusOf(known.Code), known.Message, details...)
}

func mapKeys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func statusOf(code models.Code) int {
	switch code {
	case models.Invalid:
		return http.StatusUnprocessableEntity
	case models.NotFound:
		return http.StatusNotFound
	case models.Conflict:
		return http.StatusConflict
	case models.Forbidden:
		return http.StatusForbidden
	default:
		return http.StatusServiceUnavailable
	}
}
