package tasks

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
)

func TestScheduler_Turn_GoesOnAfterFailures(t *testing.T) {
	t.Parallel()
	var turns, inside atomic.Int64
	s, err := NewScheduler(slog.New(slog.DiscardHandler), Timed{"tick", 5 * time.Millisecond, func(context.Context) error {
		if inside.Add(1) > 1 {
			t.Error("two turns at the same time")
		}
		defer inside.Add(-1)
		switch turns.Add(1) {
		case 1:
			return errors.New("a failure")
		case 2:
			panic("a bug")
		}
		return nil
	}})
	ok(t, err)
	s.Start()
	eventually(t, "it goes on", func() bool { return turns.Load() > 5 })
	ok(t, s.Stop())
	after := turns.Load()
	want(t, "turns inside after the stop", inside.Load(), 0)
	want(t, "turns after the stop", turns.Load(), after)
}

func TestScheduler_Stop_EndsTheContext(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan struct{})
	s, err := NewScheduler(slog.New(slog.DiscardHandler), Timed{"slow", time.Hour, func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}})
	ok(t, err)
	s.Start()
	<-begun
	ok(t, s.Stop())
	<-ended
}
