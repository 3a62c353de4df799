package main

import (
	"context"
	"log/slog"
	"time"

	"hefring/internal/config"
	"hefring/internal/egress"
	"hefring/internal/tasks"
	"hefring/internal/traces"
	"hefring/models"
	"hefring/web"
)

// newTraces begins to follow requests and tasks, if there is a collector to tell.
func newTraces(ctx context.Context, cfg config.Config, guard *egress.Guard, logger *slog.Logger) (*traces.Traces, error) {
	if cfg.OTLPEndpoint == "" {
		return nil, nil //nolint:nilnil // nobody follows anything
	}
	headers, err := cfg.Collector()
	if err != nil {
		return nil, err
	}
	return traces.New(ctx, traces.Config{Endpoint: cfg.OTLPEndpoint, Headers: headers, Roots: guard.RootCAs(), Version: version, Logger: logger})
}

// traceTasks follows attempts at tasks; nil when nobody does.
func (a *app) traceTasks() func(context.Context, models.Task, string) (context.Context, tasks.Span) {
	if a.traces == nil {
		return nil
	}
	return func(ctx context.Context, t models.Task, origin string) (context.Context, tasks.Span) {
		return a.traces.Task(ctx, t, origin)
	}
}

// traceRequests follows requests; nil when nobody does.
func (a *app) traceRequests() web.Tracer {
	if a.traces == nil {
		return nil
	}
	return a.traces
}

// lastTraces is how long what is left may take to be sent.
const lastTraces = 2 * time.Second

func (a *app) closeTraces() {
	if a.traces == nil {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), lastTraces)
	defer stop()
	if err := a.traces.Close(ctx); err != nil {
		a.logger.Warn("send the last traces", slog.Any("error", err))
	}
}
