package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hefring/internal/fleet"
	"hefring/internal/httpcode"
	"hefring/models"
)

// keyHeader names a request that is to be done once.
const keyHeader = "Idempotency-Key"

// Bounds of requests with a key.
const (
	maxKey   = 255
	maxReply = 256 << 10        // larger answers are not remembered
	doneIn   = 90 * time.Second // well before somebody may take the request over
)

// replayed tells that an answer is that of an earlier request.
const replayed = "Idempotency-Replayed"

// reply is an answer as it is remembered.
type reply struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
	Body   []byte `json:"body"`
}

// onceOnly does a request that has a key once, however often it is sent. What was
// refused did nothing: it is not remembered, so that the same request can succeed
// later.
func (s *server) onceOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get(keyHeader)
		token := Caller{Authorization: r.Header.Get("Authorization")}.token()
		if key == "" || token == "" || r.Method == http.MethodGet || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		if len(key) > maxKey {
			s.refuse(w, r, models.Errorf(models.Invalid, "An idempotency key has 255 characters at most."))
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.refuse(w, r, broken(err))
			return
		}
		s.once(w, r, next, fleet.Keyed{Token: token, Key: key, Request: fingerprint(r, body)}, body)
	})
}

// broken is a body that could not be read.
func broken(err error) error {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return huma.NewError(http.StatusRequestEntityTooLarge, "A request has 1 MiB at most.")
	}
	return huma.NewError(http.StatusBadRequest, "The request broke off. Send it once more.")
}

// fingerprint is a hash of all that a request asks for.
func fingerprint(r *http.Request, body []byte) string {
	sum := sha256.New()
	for _, part := range []string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery} {
		_, _ = io.WriteString(sum, part+"\n")
	}
	_, _ = sum.Write(body)
	return hex.EncodeToString(sum.Sum(nil))
}

func (s *server) once(w http.ResponseWriter, r *http.Request, next http.Handler, k fleet.Keyed, body []byte) {
	earlier, fresh, err := s.recall(r, k)
	if models.CodeOf(err) == models.NotFound { // no such token: the operation says so
		fresh, err = true, nil
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if !fresh {
		s.replay(w, r, earlier)
		return
	}
	// It is done to its end even if nobody waits for it any more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), doneIn)
	defer cancel()
	kept := &keeping{ResponseWriter: w}
	inner := r.WithContext(ctx)
	inner.Body = io.NopCloser(bytes.NewReader(body))
	remembered := false
	defer func() {
		r.Pattern = inner.Pattern
		if !remembered { // also when it panicked
			s.forget(r, k)
		}
	}()
	next.ServeHTTP(kept, inner)
	remembered = s.remember(r, k, kept) // before anybody learns of it
	w.WriteHeader(cmp.Or(kept.status, http.StatusOK))
	_, _ = kept.body.WriteTo(w)
}

// recall looks whether the request was answered before.
func (s *server) recall(r *http.Request, k fleet.Keyed) (earlier []byte, fresh bool, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), httpcode.AnswerTime)
	defer cancel()
	return s.front.Recall(ctx, k)
}

// remember stores an answer that something was done.
func (s *server) remember(r *http.Request, k fleet.Keyed, kept *keeping) bool {
	if kept.status < 200 || kept.status > 299 || kept.body.Len() > maxReply {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), httpcode.AnswerTime)
	defer cancel()
	text, err := json.Marshal(reply{kept.status, kept.Header().Get("Content-Type"), kept.body.Bytes()})
	if err == nil {
		err = s.front.Remember(ctx, k, text)
	}
	if err != nil {
		s.logger.ErrorContext(r.Context(), "remember reply", slog.Any("error", err))
	}
	return err == nil
}

func (s *server) forget(r *http.Request, k fleet.Keyed) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), httpcode.AnswerTime)
	defer cancel()
	if err := s.front.Forget(ctx, k); err != nil {
		s.logger.ErrorContext(r.Context(), "forget reply", slog.Any("error", err))
	}
}

// replay answers as the first time.
func (s *server) replay(w http.ResponseWriter, r *http.Request, text []byte) {
	var old reply
	if err := json.Unmarshal(text, &old); err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", old.Type)
	w.Header().Set(replayed, "true")
	w.WriteHeader(old.Status)
	_, _ = w.Write(old.Body)
}

// refuse answers with a problem.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	problem := s.problem(r.Context(), operation{id: keyHeader}, err)
	status := http.StatusInternalServerError
	if more, ok := errors.AsType[huma.HeadersError](problem); ok {
		maps.Copy(w.Header(), more.GetHeaders())
	}
	var body any = problem
	if said, ok := errors.AsType[huma.StatusError](problem); ok {
		status, body = said.GetStatus(), said
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // the program hung up
}

// keeping holds an answer back.
type keeping struct {
	http.ResponseWriter // for its header

	status int
	body   bytes.Buffer
}

// WriteHeader takes the status.
func (k *keeping) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

// Write takes a part.
func (k *keeping) Write(p []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(p)
}
