package lsrefs

import (
	"maps"
	"sync"
	"time"
)

// How long capabilities are remembered. A server that becomes another one refuses
// what it does not know, and is asked anew at once; only one that learns more goes
// unnoticed until then.
const (
	rememberNew = 24 * time.Hour
	rememberOld = time.Hour
)

// memory keeps the capabilities of servers, each repository by itself: one host
// may serve different formats.
type memory struct {
	size int

	mu    sync.Mutex
	known map[string]handshake // by address
}

func (m *memory) recall(base string) (handshake, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	shaken, ok := m.known[base]
	return shaken, ok && time.Now().Before(shaken.until)
}

func (m *memory) remember(base string, shaken handshake) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.known[base]; !known && len(m.known) >= m.size {
		m.makeRoom()
	}
	shaken.until = time.Now().Add(rememberNew)
	if shaken.old {
		shaken.until = time.Now().Add(rememberOld)
	}
	m.known[base] = shaken
}

// makeRoom forgets what is too old, or else any one.
func (m *memory) makeRoom() {
	now := time.Now()
	maps.DeleteFunc(m.known, func(_ string, shaken handshake) bool { return now.After(shaken.until) })
	for base := range m.known {
		if len(m.known) < m.size {
			return
		}
		delete(m.known, base)
	}
}

func (m *memory) forget(base string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, base)
}
