package tree_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"hefring/internal/tree"
)

func TestParallel_FirstFailureEndsIt(t *testing.T) {
	broken := errors.New("broken")
	var put, done atomic.Int64
	err := tree.Parallel(t.Context(), func(ctx context.Context, job func(int)) error {
		for i := range 100_000 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			put.Add(1)
			job(i)
		}
		return nil
	}, func(_ context.Context, i int, buffer []byte) error {
		done.Add(1)
		if i == 100 || len(buffer) == 0 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || put.Load() != done.Load() || done.Load() == 100_000 {
		t.Errorf("%v after %d jobs, of which %d were done", err, put.Load(), done.Load())
	}
}

func TestParallel_Cancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("stopped by a test")
	cancel(cause)
	err := tree.Parallel(ctx, func(context.Context, func(int)) error { return nil }, func(context.Context, int, []byte) error { return nil })
	if !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}
