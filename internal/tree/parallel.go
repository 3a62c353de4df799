package tree

import (
	"context"
	"runtime"
	"sync"
)

const (
	bufferBytes = 128 << 10
	queued      = 128 // jobs that wait, each of which may hold an open file
)

// Parallel does the jobs that produce puts, on all processors, each worker with
// a buffer of its own. The first failure cancels the context that both are given
// and is the answer. work is called for every job, also after a failure, so that
// it can let go of what the job holds.
func Parallel[J any](ctx context.Context, produce func(ctx context.Context, put func(J)) error, work func(ctx context.Context, job J, buffer []byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs := make(chan J, queued)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			buffer := make([]byte, bufferBytes)
			for job := range jobs {
				if err := work(ctx, job, buffer); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := produce(ctx, func(job J) { jobs <- job })
	close(jobs)
	workers.Wait()
	if err != nil {
		return err
	}
	return context.Cause(ctx)
}
