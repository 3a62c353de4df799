package store

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// channel is PostgreSQL's name for what we notify each other of: the ids of
// tasks whose log or state changed.
const channel = "hefring_task"

// hub wakes those who follow tasks.
type hub struct {
	mu        sync.Mutex
	followers map[int64]map[chan struct{}]struct{}
}

func newHub() *hub { return &hub{followers: map[int64]map[chan struct{}]struct{}{}} }

// Follow wakes the caller when the task's log, steps or state changed. Several
// changes may wake it once, and it may wake for nothing. On SQLite only changes
// of this process wake it, so a follower looks by itself each second as well.
// stop ends it.
func (s *Store) Follow(taskID int64) (wake <-chan struct{}, stop func()) {
	return s.hub.follow(taskID)
}

func (h *hub) follow(taskID int64) (<-chan struct{}, func()) {
	// One place is enough: who has not woken yet will see all changes at once.
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.followers[taskID] == nil {
		h.followers[taskID] = map[chan struct{}]struct{}{}
	}
	h.followers[taskID][c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.followers[taskID], c)
		if len(h.followers[taskID]) == 0 {
			delete(h.followers, taskID)
		}
	}
}

func (h *hub) wake(taskIDs ...int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range taskIDs {
		wakeAll(h.followers[id])
	}
}

func (h *hub) wakeEveryone() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, followers := range h.followers {
		wakeAll(followers)
	}
}

func wakeAll(followers map[chan struct{}]struct{}) {
	for c := range followers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// listen wakes local followers for changes made by other processes, until ctx
// ends. wait returns when it has stopped.
func (s *Store) listen(ctx context.Context) (wait func()) {
	if s.engine.pool() == nil {
		return func() {}
	}
	var stopped sync.WaitGroup
	stopped.Go(func() {
		for ctx.Err() == nil {
			if err := s.listenOnce(ctx); ctx.Err() == nil {
				s.log.WarnContext(ctx, "lost the connection that wakes live logs; trying again", slog.Any("error", err))
				pause(ctx, time.Second)
			}
		}
	})
	return stopped.Wait
}

func (s *Store) listenOnce(ctx context.Context) error {
	pooled, err := s.engine.pool().Acquire(ctx)
	if err != nil {
		return err
	}
	// A listening connection must not go back to the pool.
	conn := pooled.Hijack()
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it is of no use any more
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	s.hub.wakeEveryone() // for what was missed
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if id, err := strconv.ParseInt(n.Payload, 10, 64); err == nil {
			s.hub.wake(id)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
