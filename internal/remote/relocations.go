package remote

import (
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"hefring/models"
)

// allowed gives the relocation of a request, if its worker may send to it, or with
// arriving fetch from it.
func (h *handler) allowed(r *http.Request, arriving bool) (id int64, err error) {
	server, err := h.server(r)
	if err != nil {
		return 0, err
	}
	id, err = strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, models.Errorf(models.Invalid, "Name the move by its number.")
	}
	return id, h.control.MayCarry(r.Context(), server, id, arriving)
}

// fill takes a piece of an archive.
func (h *handler) fill(w http.ResponseWriter, r *http.Request) {
	id, err := h.allowed(r, false)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	at, err := strconv.ParseInt(r.URL.Query().Get("at"), 10, 64)
	if err != nil {
		h.fail(w, r, models.Errorf(models.Invalid, "Say with ?at= where this belongs."))
		return
	}
	from := &unhurried{r.Body, http.NewResponseController(w)}
	if err := h.relay.Fill(id, r.PathValue("name"), at, from); err != nil {
		h.fail(w, r, err)
		return
	}
	h.size(w, r)
}

// unhurried gives every piece of a request time of its own: the whole may take longer
// than a request may.
type unhurried struct {
	body  io.Reader
	until *http.ResponseController
}

// Read takes a piece.
func (u *unhurried) Read(p []byte) (int, error) {
	// A server that knows no deadlines has none that would be too early.
	_ = u.until.SetReadDeadline(time.Now().Add(stall))
	_ = u.until.SetWriteDeadline(time.Now().Add(2 * stall))
	return u.body.Read(p)
}

// size says how much of an archive is there, to the one who sends it.
func (h *handler) size(w http.ResponseWriter, r *http.Request) {
	id, err := h.allowed(r, false)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	n, err := h.relay.Size(id, r.PathValue("name"))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, size{n})
}

// carry gives an archive.
func (h *handler) carry(w http.ResponseWriter, r *http.Request) {
	id, err := h.allowed(r, true)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	from, err := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64)
	if err != nil || from < 0 {
		h.fail(w, r, models.Errorf(models.Invalid, "Say with ?from= where to begin."))
		return
	}
	body, err := h.relay.Open(id, r.PathValue("name"), from)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	defer func() { _ = body.Close() }()
	out := &patient{w: w, until: http.NewResponseController(w)}
	if _, err := io.Copy(struct{ io.Writer }{out}, body); err != nil {
		h.logger.WarnContext(r.Context(), "send archive of a site", slog.Int64("relocation", id), slog.Any("error", err))
		panic(http.ErrAbortHandler) // what ends early must not look whole
	}
	if !out.begun { // nothing is left of it
		w.WriteHeader(http.StatusOK)
	}
}
