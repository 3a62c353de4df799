// Package api is the door for programs: a JSON API over the same use cases as
// the pages, described by OpenAPI 3.1. A program acts for the user of its token.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hefring/internal/httpcode"
	"hefring/models"
)

// Root begins every address that is for programs.
const Root = "/api"

// Prefix begins every path of the API.
const Prefix = Root + "/v1"

// LoginLinkPath is where one-time links lead to on the dashboard; what follows signs
// the user in.
const LoginLinkPath = "/login/link/"

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
func New(front Front, as func(models.Actor) Fleet, logger *slog.Logger, version string) *Handler {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Hefring", version)
	config.DocsPath = "" // it would load scripts from elsewhere; see Reference
	config.CreateHooks = nil
	config.Transformers = append(config.Transformers, withoutBody)
	config.Servers = []*huma.Server{{URL: Prefix}}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"token": {}}}
	s := &server{front: front, as: as, api: humago.NewWithPrefix(mux, Prefix, config), logger: logger}
	s.api.UseMiddleware(s.understood)
	s.sites()
	s.backups()
	s.platforms()
	s.databases()
	s.servers()
	s.tasks()
	s.imports()
	s.audit()
	s.distributions()
	s.held()
	s.queues()
	s.webhooks()
	s.channels()
	s.users()
	s.clients()
	s.tokens()
	s.moves()
	s.overview()
	return &Handler{safe(s.onceOnly(s.known(mux))), s.api.OpenAPI()}
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

// known answers what no operation takes as all else that fails is answered.
func (s *server) known(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refusal, pattern := mux.Handler(r)
		// Where a name is missing the address has an empty part. Without it, which is
		// where the mux would send the program, it may mean something else.
		if path.Clean(r.URL.EscapedPath()) != r.URL.EscapedPath() {
			refusal, pattern = http.NotFoundHandler(), ""
		}
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		said := &keeping{ResponseWriter: w}
		refusal.ServeHTTP(said, r) // sets Allow
		if said.status == http.StatusMethodNotAllowed {
			s.refuse(w, r, huma.Error405MethodNotAllowed("There is no such operation. What can be done here is in the header Allow."))
			return
		}
		s.refuse(w, r, huma.Error404NotFound("There is no such operation. All of them are at "+Prefix+"/openapi.json."))
	})
}

// withoutBody keeps what was sent out of what is said to be wrong with it: it may be
// a secret, and large.
func withoutBody(_ huma.Context, _ string, value any) (any, error) {
	problem, ok := value.(*huma.ErrorModel)
	if !ok {
		return value, nil
	}
	for _, detail := range problem.Errors {
		if detail != nil && strings.HasPrefix(detail.Location, "body") {
			detail.Value = nil
		}
	}
	return problem, nil
}

// Caller is part of every request.
type Caller struct {
	Authorization string `header:"Authorization" doc:"Bearer and a token" hidden:"true"`

	address string // of the network
	url     url.URL
}

// Resolve notes where the request comes from.
func (c *Caller) Resolve(ctx huma.Context) []error {
	c.address, c.url = ctx.RemoteAddr(), ctx.URL()
	if host, _, err := net.SplitHostPort(c.address); err == nil {
		c.address = host
	}
	return nil
}

func (c Caller) entrance() models.Entrance {
	return models.Entrance{Door: models.DoorAPI, Address: c.address}
}

func (c Caller) token() string {
	kind, token, _ := strings.Cut(c.Authorization, " ")
	if !strings.EqualFold(kind, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// authorised is a request that says who asks.
type authorised interface {
	token() string
	entrance() models.Entrance
	asked() url.URL
}

// asked is the address of the request.
func (c Caller) asked() url.URL { return c.url }

// answer wraps what an operation gives.
type answer[T any] struct {
	Link string `header:"Link" doc:"Of lists: where the next part is, with rel=next (RFC 8288)"`
	Body T
}

// partial is an answer that goes on elsewhere.
type partial interface{ follow(from url.URL) string }

func answered[T any](value T, from url.URL) *answer[T] {
	a := &answer[T]{Body: value}
	if p, ok := any(value).(partial); ok {
		a.Link = p.follow(from)
	}
	return a
}

// operation describes one operation: method and path, what it is called, and one
// sentence.
type operation struct{ method, path, id, summary string }

// tag is what operations are listed under: the first word of the path.
func (o operation) tag() string {
	first, _, _ := strings.Cut(strings.TrimPrefix(o.path, "/"), "/")
	return first
}

// patience is how long the operation may take. Who is not named here needs the database
// alone.
func (o operation) patience() time.Duration {
	switch o.id {
	case "login-to-site", "quote-rollback", "rollback-site", "delete-backup", // ask the site's server
		"add-database", "change-database", "test-database", // ask that database server
		"test-channel": // asks who takes the notices
		return httpcode.PatientTime
	default:
		return httpcode.AnswerTime
	}
}

// parameters are those that operations have beside their own: whatever changes
// something takes an idempotency key.
func (o operation) parameters() []*huma.Param {
	if o.method == get {
		return nil
	}
	longest := maxKey
	return []*huma.Param{{
		Name: keyHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &longest},
		Description: "A name that you choose for this request. Sent again within 24 hours with the same key, it is done once and answered alike.",
	}}
}

// register adds an operation. It gets the fleet as the user of the Caller's token has
// it.
func register[I authorised, T any](s *server, o operation, do func(ctx context.Context, f Fleet, in I) (T, error)) {
	status := http.StatusOK
	if _, starts := reflect.TypeFor[T]().MethodByName("Started"); starts {
		status = http.StatusAccepted
	}
	huma.Register(s.api, huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, DefaultStatus: status, MaxBodyBytes: maxBody,
		Tags: []string{o.tag()}, Parameters: o.parameters(),
		Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}, func(ctx context.Context, in *I) (*answer[T], error) {
		ctx, cancel := context.WithTimeout(ctx, o.patience())
		defer cancel()
		by, err := s.front.UseToken(ctx, (*in).token())
		if err != nil {
			if models.CodeOf(err) == models.Forbidden {
				return nil, huma.Error401Unauthorized(models.Explain(err))
			}
			return nil, s.problem(ctx, o, err)
		}
		from := (*in).entrance()
		from.Token = by.Entrance.Token
		by.Entrance = from
		value, err := do(ctx, s.as(by), *in)
		if err != nil {
			return nil, s.problem(ctx, o, err)
		}
		return answered(value, (*in).asked()), nil
	})
}

// problem says what went wrong as RFC 9457 has it. What a person cannot act on
// is told to the log alone.
func (s *server) problem(ctx context.Context, o operation, err error) error {
	if said, ok := errors.AsType[huma.StatusError](err); ok {
		return said
	}
	known, ok := errors.AsType[*models.Error](err)
	if !ok {
		if !errors.Is(ctx.Err(), context.Canceled) {
			s.logger.ErrorContext(ctx, "api", slog.String("operation", o.id), slog.Any("error", err))
		}
		if httpcode.Away(ctx, err) {
			return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(httpcode.AwayText), http.Header{"Retry-After": {httpcode.AwayRetry}})
		}
		return huma.Error500InternalServerError("Something failed inside Hefring. Its log has the details.")
	}
	var details []error
	for _, field := range slices.Sorted(mapKeys(known.Fields)) {
		details = append(details, &huma.ErrorDetail{Location: "body." + field, Message: known.Fields[field]})
	}
	return huma.NewError(httpcode.Of(known.Code), known.Message, details...)
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
