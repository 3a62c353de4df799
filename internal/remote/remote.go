// Package remote is the way between the workers of web hosts and the control plane
// that is not the database: a worker joins, and fetches platforms. The control
// plane's part is an http.Handler below Prefix, the worker's a Client.
//
//	POST /worker/join             {"name", "token", "recipient", "version"} → {"sealed"}
//	POST /worker/platforms/7      which files, as platforms.Store.Pack takes that → the archive that it writes
//	PUT  /worker/relocations/3/first.tar.gz?at=0     from the server that a site leaves
//	GET  /worker/relocations/3/first.tar.gz/size     → {"size"}
//	GET  /worker/relocations/3/first.tar.gz?from=0   for the one that it goes to
//
// A worker shows its key as a bearer token. An answer that is no 200 is
// {"code", "message"}.
package remote

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/httpcode"
	"hefring/models"
)

// Prefix begins the path of everything that is for workers.
const Prefix = "/worker/"

const (
	maxRequest = 64 << 10
	maxWanted  = 1 << 20 // a bit for each of eight million files
	// stall is how long a worker may take no byte of an archive.
	stall = time.Minute
)

// Control is what workers ask of the control plane.
type Control interface {
	JoinServer(ctx context.Context, in fleet.JoinRequest) (sealed []byte, err error)
	WorkerWithKey(ctx context.Context, key string) (models.Server, error)
	PackPlatform(ctx context.Context, s models.Server, platformID int64, wanted []byte, w io.Writer) error
	// MayCarry fails unless a site is on its way from the server, or with arriving to it.
	MayCarry(ctx context.Context, s models.Server, relocationID int64, arriving bool) error
}

type handler struct {
	control Control
	relay   Relay
	logger  *slog.Logger
}

// Handler answers workers.
func Handler(control Control, relay Relay, logger *slog.Logger) http.Handler {
	h := &handler{control, relay, logger}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Prefix+"join", h.join)
	mux.HandleFunc("POST "+Prefix+"platforms/{id}", h.platform)
	mux.HandleFunc("PUT "+Prefix+"relocations/{id}/{name}", h.fill)
	mux.HandleFunc("GET "+Prefix+"relocations/{id}/{name}/size", h.size)
	mux.HandleFunc("GET "+Prefix+"relocations/{id}/{name}", h.carry)
	return mux
}

type joined struct {
	Sealed []byte `json:"sealed"`
}

type failure struct {
	Code    models.Code `json:"code"`
	Message string      `json:"message"`
}

func (h *handler) join(w http.ResponseWriter, r *http.Request) {
	var in fleet.JoinRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in); err != nil {
		h.fail(w, r, models.Errorf(models.Invalid, "This is no request to join."))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), httpcode.AnswerTime)
	defer cancel()
	sealed, err := h.control.JoinServer(ctx, in)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.logger.InfoContext(r.Context(), "a worker joined", slog.String("server", in.Name), slog.String("from", r.RemoteAddr))
	answer(w, http.StatusOK, joined{sealed})
}

// server is whose worker asks.
func (h *handler) server(r *http.Request) (models.Server, error) {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return models.Server{}, models.Errorf(models.Forbidden, "Show the worker's key.")
	}
	ctx, cancel := context.WithTimeout(r.Context(), httpcode.AnswerTime)
	defer cancel()
	return h.control.WorkerWithKey(ctx, key)
}

func (h *handler) platform(w http.ResponseWriter, r *http.Request) {
	server, err := h.server(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	wanted, wrong := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWanted))
	if err != nil || wrong != nil {
		h.fail(w, r, models.Errorf(models.Invalid, "Ask for /worker/platforms/NUMBER, and say which files."))
		return
	}
	out := &patient{w: w, until: http.NewResponseController(w)}
	err = h.control.PackPlatform(r.Context(), server, id, wanted, out)
	switch {
	case err == nil:
	case out.begun:
		// The archive has no end, which the worker sees.
		h.logger.WarnContext(r.Context(), "send platform", slog.String("server", server.Name), slog.Int64("platform", id), slog.Any("error", err))
		panic(http.ErrAbortHandler)
	default:
		h.fail(w, r, err)
	}
}

// patient gives every piece of an archive time of its own: the whole may take longer
// than an answer may.
type patient struct {
	w     http.ResponseWriter
	until *http.ResponseController
	begun bool
}

// Write sends a piece.
func (p *patient) Write(b []byte) (int, error) {
	if !p.begun {
		p.begun = true
		p.w.Header().Set("Content-Type", "application/gzip")
	}
	if err := p.until.SetWriteDeadline(time.Now().Add(stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}

func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := models.CodeOf(err)
	status := httpcode.Of(code)
	if status == http.StatusInternalServerError {
		h.logger.ErrorContext(r.Context(), "answer worker", slog.String("path", r.URL.Path), slog.Any("error", err))
		if httpcode.Away(r.Context(), err) {
			answer(w, http.StatusServiceUnavailable, failure{models.Unavailable, httpcode.AwayText})
			return
		}
		answer(w, status, failure{"", "The control plane failed. Its log says why."})
		return
	}
	answer(w, status, failure{code, models.Explain(err)})
}

func answer(w http.ResponseWriter, status int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(what) //nolint:errchkjson // the worker hung up
}
