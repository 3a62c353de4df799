package traces

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"hefring/models"
)

// Task follows one attempt at a task, and its steps. It is not for several
// goroutines at once.
type Task struct {
	tracer trace.Tracer
	ctx    context.Context //nolint:containedctx // the steps' spans are below the task's
	span   trace.Span
	step   trace.Span // that runs; nil before the first
	name   string     // of that step
}

// Task begins to follow an attempt at a task, which is a trace of its own: what asked
// for it has mostly ended. origin is what asked for it, by Origin, and becomes a link;
// what is none is left out.
func (t *Traces) Task(ctx context.Context, task models.Task, origin string) (context.Context, *Task) {
	about := []attribute.KeyValue{
		attribute.Int64("hefring.task", task.ID), attribute.String("hefring.task.kind", string(task.Kind)),
		attribute.String("hefring.task.subject", fmt.Sprintf("%s/%d", task.Subject.Kind, task.Subject.ID)),
		attribute.Int("hefring.task.attempt", task.Attempt),
	}
	if task.StartedAt != nil {
		about = append(about, attribute.Float64("hefring.task.waited_seconds", task.StartedAt.Sub(task.CreatedAt).Seconds()))
	}
	options := append(linkTo(origin), trace.WithNewRoot(), trace.WithAttributes(about...))
	ctx, span := t.tracer.Start(ctx, string(task.Kind), options...)
	return ctx, &Task{tracer: t.tracer, ctx: ctx, span: span}
}

// Step says that a step begins, and the one before has ended. "" ends it only.
func (t *Task) Step(name string) {
	if name == t.name {
		return
	}
	if t.step != nil {
		t.step.End()
	}
	t.step, t.name = nil, name
	if name != "" {
		_, t.step = t.tracer.Start(t.ctx, name)
	}
}

// End says how the attempt ended, and why if it failed. The step that ran has failed
// with it.
func (t *Task) End(how, failure string) {
	if t.step != nil {
		note(t.step, failure)
	}
	t.span.SetAttributes(attribute.String("hefring.task.state", how))
	note(t.span, failure)
}

// note ends a span.
func note(span trace.Span, failure string) {
	if failure != "" {
		span.SetStatus(codes.Error, failure)
	}
	span.End()
}
