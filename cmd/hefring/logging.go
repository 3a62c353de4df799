package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"hefring/internal/tasks"
	"hefring/internal/traces"
	"hefring/web"
)

// newLogger makes the log of a command that people watch.
func newLogger(level string) *slog.Logger { return logTo(os.Stderr, level, "text") }

// logTo makes the program's own log: text, or one JSON object a line with
// durations in seconds.
func logTo(w io.Writer, level, format string) *slog.Logger {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		least = slog.LevelInfo
	}
	if format == "json" {
		return slog.New(naming{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least, ReplaceAttr: inSeconds})})
	}
	return slog.New(naming{slog.NewTextHandler(w, &slog.HandlerOptions{Level: least})})
}

// inSeconds is for programs, which cannot tell what a bare number of nanoseconds is.
func inSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key, a.Value.Duration().Seconds())
	}
	return a
}

// naming adds to each line the request or the task that it was written for, so
// that all lines of one are found together.
type naming struct{ slog.Handler }

// Handle writes a line.
func (n naming) Handle(ctx context.Context, r slog.Record) error {
	said := map[string]bool{}
	r.Attrs(func(a slog.Attr) bool {
		said[a.Key] = true
		return true
	})
	add := func(a slog.Attr) {
		if !said[a.Key] {
			r.AddAttrs(a)
		}
	}
	if id := web.RequestID(ctx); id != "" {
		add(slog.String("request", id))
	}
	if id := traces.ID(ctx); id != "" {
		add(slog.String("trace", id))
	}
	if t, ok := tasks.Of(ctx); ok {
		add(slog.Int64("task", t.ID))
		add(slog.String("kind", string(t.Kind)))
		add(slog.String("subject", fmt.Sprintf("%s/%d", t.Subject.Kind, t.Subject.ID)))
	}
	return n.Handler.Handle(ctx, r)
}

// WithAttrs keeps naming.
func (n naming) WithAttrs(attrs []slog.Attr) slog.Handler { return naming{n.Handler.WithAttrs(attrs)} }

// WithGroup keeps naming.
func (n naming) WithGroup(name string) slog.Handler { return naming{n.Handler.WithGroup(name)} }
