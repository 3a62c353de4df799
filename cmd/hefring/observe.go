package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"hefring/internal/metrics"
	"hefring/plugins"
	"hefring/web"
)

// newMetrics makes the metrics of this process.
func newMetrics(types *plugins.Registry) *metrics.Metrics {
	var ids []string
	for _, plugin := range types.All() {
		ids = append(ids, plugin.Info().ID)
	}
	return metrics.New(version, ids)
}

// showFleet adds to the metrics how the fleet stands.
func (a *app) showFleet() {
	a.metrics.Show(metrics.Standing{
		Source: a.store, Kinds: slices.Collect(maps.Keys(a.fleet.Handlers())), Logger: a.logger,
	})
}

// newHealth says what /readyz looks at. That the sites' web server is being mended
// is told, but is no reason to keep people from the dashboard: it is where they
// look then.
func (a *app) newHealth(replica bool) http.Handler {
	checks := []web.Check{
		{Name: "database", Test: a.store.Sound},
		{Name: "tasks", Test: func(context.Context) error { return a.tasks.Working() }},
	}
	if !replica {
		checks = append(checks, web.Check{Name: "sites", Test: a.serving, Aside: true})
	}
	return web.NewHealth(checks, a.logger)
}

// serving fails unless the sites' web server answers.
func (a *app) serving(ctx context.Context) error {
	status, err := a.web.Status(ctx)
	if err != nil {
		return err
	}
	if !status.Healthy() {
		return fmt.Errorf("nginx: %q, php-fpm: %q", status.Nginx.Message, status.PHP.Message)
	}
	return nil
}

// observing answers Prometheus, and load balancers that look at a port of their own.
func (a *app) observing() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler(a.logger))
	mux.Handle("/healthz", a.health)
	mux.Handle("/readyz", a.health)
	return mux
}

// serveMetrics listens where metrics are read, if anywhere, until stop is called.
func (a *app) serveMetrics(ctx context.Context) (stop func(), err error) {
	if a.cfg.MetricsListen == "" {
		return func() {}, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.MetricsListen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for metrics: %w; choose another address with --metrics-listen", a.cfg.MetricsListen, err)
	}
	if !isLoopback(listener.Addr()) {
		a.logger.WarnContext(ctx, "metrics are shown to everybody who reaches their address: let a firewall keep strangers out", slog.String("address", listener.Addr().String()))
	}
	server := &http.Server{
		Handler: a.observing(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 1 << 16, ErrorLog: slog.NewLogLogger(a.logger.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.logger.ErrorContext(ctx, "serve metrics", slog.Any("error", err))
		}
	}()
	return func() { _ = server.Close() }, nil
}

func isLoopback(address net.Addr) bool {
	at, err := netip.ParseAddrPort(address.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}
