package web

import (
	"sync"
	"time"
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

// take counts an attempt, if one more is allowed. It is counted before it is
// tried, so that many at once are no way around the limit; forgive takes it back.
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

// forgive forgets the attempts of a key, because one succeeded.
func (l *limiter) forgive(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.times, key)
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
