package web

import (
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/models"
)

// The flood limit: so many sign-ins of one address a minute are worth a look into
// the database, which knows who has to wait (see fleet.Login).
const (
	floodLimit  = 120
	floodWindow = time.Minute
)

// maxKeys bounds a limiter's memory. When it is full of keys that still count,
// everybody waits rather than nobody.
const maxKeys = 50_000

// limiter counts attempts by key within a sliding window.
type limiter struct {
	limit  int
	window time.Duration
	now    func() time.Time

	mu    sync.Mutex
	times map[string][]time.Time
}

func newLimiter(limit int, window time.Duration) *limiter {
	return &limiter{limit: limit, window: window, now: time.Now, times: map[string][]time.Time{}}
}

// take counts an attempt, if one more is allowed.
func (l *limiter) take(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.times) >= maxKeys {
		l.prune()
	}
	recent := l.recent(l.times[key])
	if len(recent) >= l.limit || len(recent) == 0 && len(l.times) >= maxKeys {
		return false
	}
	l.times[key] = append(recent, l.now())
	return true
}

func (l *limiter) recent(times []time.Time) []time.Time {
	oldest := l.now().Add(-l.window)
	for len(times) > 0 && !times[0].After(oldest) {
		times = times[1:]
	}
	return times
}

func (l *limiter) prune() {
	for key, times := range l.times {
		if len(l.recent(times)) == 0 {
			delete(l.times, key)
		}
	}
}

// hurried fails when an address tries to sign in more often than is looked at.
func (s *server) hurried(c echo.Context) error {
	if s.floods.take(addressOf(c)) {
		return nil
	}
	return models.Errorf(models.Forbidden, "Too many attempts from your address. Wait a minute, then try again.").After(floodWindow)
}

// addressOf is the network that a request comes from: an IPv4 address, or the /64
// that one IPv6 customer has.
func addressOf(c echo.Context) string {
	ip, err := netip.ParseAddr(c.RealIP())
	if err != nil {
		return c.RealIP()
	}
	ip = ip.Unmap().WithZone("")
	if prefix, err := ip.Prefix(64); err == nil && ip.Is6() {
		return prefix.String()
	}
	return ip.String()
}

// realIP finds out who asks: the other side of the connection, or whom a proxy of
// ours says it asks for in X-Forwarded-For.
func realIP(proxies []netip.Prefix) echo.IPExtractor {
	if len(proxies) == 0 {
		return echo.ExtractIPDirect()
	}
	trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range proxies {
		p = p.Masked()
		trust = append(trust, echo.TrustIPRange(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}))
	}
	return echo.ExtractIPFromXFFHeader(trust...)
}

// sessionKey is what the session manager stores a session under.
func sessionKey(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// isActive tells whether a person did something, and not an open page by itself.
func isActive(c echo.Context) bool {
	return !isStream(c) && c.Request().Header.Get("HX-Trigger") != "poll" && c.Request().Method != http.MethodHead &&
		!strings.HasSuffix(c.Request().URL.Path, ".png")
}
