package tasks

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/go-co-op/gocron/v2"
)

// Timed is something that happens again and again in this process. Where it
// must happen once over all replicas, it has to see to that itself.
type Timed struct {
	Name  string
	Every time.Duration
	Run   func(ctx context.Context) error
}

// Scheduler is the clock.
type Scheduler struct {
	cron gocron.Scheduler
	stop context.CancelFunc
}

// stopTimeout is how long a stopping Scheduler waits for what runs.
const stopTimeout = 10 * time.Second

// NewScheduler makes a clock that runs these at their intervals, the first time
// at once, and none of them twice at the same time. An error or a panic is
// logged, and the next turn comes all the same.
func NewScheduler(log *slog.Logger, timed ...Timed) (*Scheduler, error) {
	cron, err := gocron.NewScheduler(gocron.WithStopTimeout(stopTimeout), gocron.WithLocation(time.UTC))
	if err != nil {
		return nil, fmt.Errorf("make scheduler: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	for _, one := range timed {
		_, err := cron.NewJob(gocron.DurationJob(one.Every), gocron.NewTask(func() { one.turn(ctx, log) }),
			gocron.WithName(one.Name), gocron.WithSingletonMode(gocron.LimitModeReschedule),
			gocron.WithStartAt(gocron.WithStartImmediately()))
		if err != nil {
			stop()
			return nil, fmt.Errorf("schedule %s: %w", one.Name, err)
		}
	}
	return &Scheduler{cron: cron, stop: stop}, nil
}

// Start lets the clock go.
func (s *Scheduler) Start() { s.cron.Start() }

// Stop ends the contexts of what runs, waits for it, and stops the clock.
func (s *Scheduler) Stop() error {
	s.stop()
	if err := s.cron.Shutdown(); err != nil {
		return fmt.Errorf("stop scheduler: %w", err)
	}
	return nil
}

// turn runs it once.
func (t Timed) turn(ctx context.Context, log *slog.Logger) {
	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "timed work panicked", slog.String("name", t.Name), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		}
	}()
	if err := t.Run(ctx); err != nil && ctx.Err() == nil {
		log.ErrorContext(ctx, "timed work failed", slog.String("name", t.Name), slog.Any("error", err))
	}
}
