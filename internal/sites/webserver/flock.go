package webserver

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// pollEvery is how often a condition outside of this process is looked at.
const pollEvery = 10 * time.Millisecond

// flock takes a lock that other processes hold, too. It asks again and again
// because a waiting flock cannot be called off.
func flock(ctx context.Context, file *os.File, how int) error {
	return poll(ctx, func() (bool, error) {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return false, nil
		}
		return err == nil, err
	})
}

// poll calls done until it answers true or an error, or ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if finished, err := done(); finished || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
