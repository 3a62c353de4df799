package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/httpcode"
	"hefring/internal/webhook"
	"hefring/models"
)

// hookPath is where providers deliver: hookPath and a webhook's address.
const hookPath = "/hooks/"

// Bounds of what the receiver takes, so that strangers cannot wear it out.
// Behind a proxy all senders have one address, hence they are generous.
const (
	hookRead     = 30 * time.Second // to send a body
	hookTake     = 20 * time.Second // to record it
	sendersBurst = 120              // deliveries of one network address at once
	sendersRate  = 10               // a second, in the long run
	notesBurst   = 30               // refusals of one webhook that are written down at once
	notesRate    = 0.5              // a second, in the long run
	bodiesOfOne  = 8                // bodies that one sender may be sending to a webhook
	bodiesOfAll  = 64               // that may be on their way together
	retryLater   = "60"
	retrySoon    = "5"
	maxAddress   = 64
	noWebhook    = "There is no such webhook."
)

// receiver takes webhooks. It stands outside of the pages: it has no session, no
// forms and nothing to draw.
type receiver struct {
	fleet   hooks
	logger  *slog.Logger
	read    time.Duration
	senders *buckets
	notes   *buckets
	bodies  *gate
}

func newReceiver(f hooks, logger *slog.Logger) *receiver {
	return &receiver{
		fleet: f, logger: logger, read: hookRead,
		senders: newBuckets(sendersBurst, sendersRate), notes: newBuckets(notesBurst, notesRate),
		bodies: &gate{of: map[string]int{}},
	}
}

// ServeHTTP takes one delivery.
func (s *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			s.logger.ErrorContext(r.Context(), "webhook panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			reply(w, http.StatusInternalServerError, "Something went wrong inside Hefring.")
		}
	}()
	sender := senderOf(r)
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		reply(w, http.StatusMethodNotAllowed, "A webhook is delivered by POST.")
	case !s.senders.take(sender):
		w.Header().Set("Retry-After", retryLater)
		reply(w, http.StatusTooManyRequests, "Too many deliveries came from your address. Send fewer.")
	default:
		s.find(w, r, sender)
	}
}

// senderOf is the network that a request comes from: an IPv4 address, or the /64
// that one IPv6 customer has.
func senderOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if prefix, err := ip.Prefix(64); err == nil && ip.Is6() {
		return prefix.String()
	}
	return ip.String()
}

// find looks up the webhook. An address that is not one of ours, was one, or
// could not be one is answered in the same way, after the same look.
func (s *receiver) find(w http.ResponseWriter, r *http.Request, sender string) {
	address := strings.TrimPrefix(r.URL.Path, hookPath)
	ctx, cancel := context.WithTimeout(r.Context(), hookTake)
	defer cancel()
	hook, err := s.fleet.WebhookAt(ctx, address[:min(len(address), maxAddress)])
	switch {
	case models.CodeOf(err) == models.NotFound:
		w.Header().Set("Connection", "close") // the body is not read
		reply(w, http.StatusNotFound, noWebhook)
	case err != nil:
		s.failed(w, r, fmt.Errorf("find webhook: %w", err))
	default:
		s.receive(w, r, hook, sender)
	}
}

func (s *receiver) failed(w http.ResponseWriter, r *http.Request, err error) {
	s.logger.ErrorContext(r.Context(), "take webhook", slog.Any("error", err))
	if httpcode.Away(r.Context(), err) {
		w.Header().Set("Retry-After", retryLater)
		reply(w, http.StatusServiceUnavailable, httpcode.AwayText)
		return
	}
	reply(w, http.StatusInternalServerError, "Something went wrong inside Hefring. Deliver it again later.")
}

func (s *receiver) receive(w http.ResponseWriter, r *http.Request, hook models.Webhook, sender string) {
	refused := func(status int, why string) {
		d := models.Delivery{WebhookID: hook.ID, Sender: sender, Outcome: models.DeliveryRefused, Reason: why}
		d.Event, d.Key = webhook.Claims(hook.Provider, r.Header)
		s.note(r, d)
		w.Header().Set("Connection", "close")
		reply(w, status, why)
	}
	if err := webhook.CheckType(hook.Provider, r.Header); err != nil {
		refused(http.StatusUnsupportedMediaType, models.Explain(err))
		return
	}
	key := hook.Address + " " + sender
	if !s.bodies.enter(key) {
		w.Header().Set("Retry-After", retrySoon)
		w.Header().Set("Connection", "close")
		reply(w, http.StatusServiceUnavailable, "Too many deliveries are on their way at once. Deliver it again.")
		return
	}
	defer s.bodies.leave(key)
	body, err := s.body(w, r)
	if err != nil {
		status, why := unreadable(err)
		refused(status, why)
		return
	}
	s.take(w, r, hook, fleet.Incoming{Header: r.Header, Body: body, Sender: sender})
}

// body reads the body, which must be short and come soon.
func (s *receiver) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > webhook.MaxBody {
		return nil, &http.MaxBytesError{Limit: webhook.MaxBody}
	}
	err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.read))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, webhook.MaxBody))
}

func unreadable(err error) (status int, why string) {
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return http.StatusRequestEntityTooLarge, fmt.Sprintf("It has more than %d MiB. Send pushes and tags only, of fewer commits at once.", webhook.MaxBody>>20)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return http.StatusRequestTimeout, "It came too slowly."
	}
	return http.StatusBadRequest, "It broke off."
}

// take hands a delivery over and answers. What was begun is finished, also when
// the sender does not wait.
func (s *receiver) take(w http.ResponseWriter, r *http.Request, hook models.Webhook, in fleet.Incoming) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), hookTake)
	defer cancel()
	d, err := s.fleet.ReceiveHook(ctx, hook, in)
	if err == nil {
		s.taken(w, r, d)
		return
	}
	status := http.StatusBadRequest
	switch models.CodeOf(err) {
	case "":
		s.failed(w, r, fmt.Errorf("take delivery: %w", err))
		return
	case models.NotFound: // it was deleted in this very moment
		reply(w, http.StatusNotFound, noWebhook)
		return
	case models.Forbidden:
		status = http.StatusUnauthorized
	case models.Unavailable:
		w.Header().Set("Retry-After", retryLater)
		status = http.StatusTooManyRequests
	case models.Invalid, models.Conflict:
	}
	s.note(r, d)
	reply(w, status, d.Reason)
}

func (s *receiver) taken(w http.ResponseWriter, r *http.Request, d models.Delivery) {
	switch d.Outcome {
	case models.DeliveryAccepted:
		reply(w, http.StatusAccepted, "Accepted: the source is looked at.")
	case models.DeliveryPing:
		if d.Reason != "" { // nothing was proven
			s.note(r, d)
		}
		reply(w, http.StatusOK, "The address is right. "+d.Reason)
	case models.DeliveryDuplicate:
		reply(w, http.StatusOK, "Seen before; nothing is done again.")
	case models.DeliveryIgnored, models.DeliveryRefused:
		reply(w, http.StatusOK, d.Reason)
	}
}

// note writes a refusal down, if not too many were.
func (s *receiver) note(r *http.Request, d models.Delivery) {
	if !s.notes.take(strconv.FormatInt(d.WebhookID, 10)) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), hookTake)
	defer cancel()
	if err := s.fleet.NoteDelivery(ctx, d); err != nil && models.CodeOf(err) != models.NotFound {
		s.logger.ErrorContext(ctx, "note refused webhook", slog.Any("error", err))
	}
}

// reply says one sentence to a machine whose log a person may read.
func reply(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, strings.TrimSpace(text)+"\n")
}

// buckets let each key do something so often: burst times at once, and rate
// times a second in the long run (token buckets).
type buckets struct {
	burst, rate float64
	now         func() time.Time

	mu sync.Mutex
	of map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newBuckets(burst, rate float64) *buckets {
	return &buckets{burst: burst, rate: rate, now: time.Now, of: map[string]bucket{}}
}

// take uses one up. When there are too many keys to keep, strangers pass: there
// are other bounds, and nobody may keep the others out by having many addresses.
func (b *buckets) take(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	one, known := b.of[key]
	if !known {
		if len(b.of) >= maxKeys {
			b.prune(now)
		}
		if len(b.of) >= maxKeys {
			return true
		}
		one = bucket{b.burst, now}
	}
	one = bucket{b.filled(one, now), now}
	if one.left < 1 {
		b.of[key] = one
		return false
	}
	one.left--
	b.of[key] = one
	return true
}

func (b *buckets) filled(one bucket, now time.Time) float64 {
	return min(b.burst, one.left+max(now.Sub(one.at), 0).Seconds()*b.rate)
}

// prune forgets who is as good as new.
func (b *buckets) prune(now time.Time) {
	for key, one := range b.of {
		if b.filled(one, now) >= b.burst {
			delete(b.of, key)
		}
	}
}

// gate bounds how many are inside, of one key and together.
type gate struct {
	mu  sync.Mutex
	of  map[string]int
	all int
}

func (g *gate) enter(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= bodiesOfAll || g.of[key] >= bodiesOfOne {
		return false
	}
	g.all++
	g.of[key]++
	return true
}

func (g *gate) leave(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	g.of[key]--
	if g.of[key] == 0 {
		delete(g.of, key)
	}
}
