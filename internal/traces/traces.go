// Package traces tells an OpenTelemetry collector what requests and tasks were made
// of and how long they took. It is the only package that knows OpenTelemetry.
package traces

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says where traces go.
type Config struct {
	// Endpoint is a collector's address for OTLP over HTTP without the path, such as
	// http://127.0.0.1:4318.
	Endpoint string
	Headers  http.Header    // sent with each batch; for its password, say
	Roots    *x509.CertPool // authorities to trust; nil: the system's
	Version  string         // Hefring's
	Logger   *slog.Logger
}

// Traces follows requests and tasks. What it tells goes out in batches in the
// background; when the collector does not answer, what is too much is dropped.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	client   *client
}

// New begins to follow; Close ends it. The library itself reads OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and the like from the environment.
func New(ctx context.Context, c Config) (*Traces, error) {
	client := newClient(c)
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("export traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithHost(), resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "hefring"), attribute.String("service.version", c.Version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("describe this process for traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Traces{provider: provider, tracer: provider.Tracer("hefring"), client: client}, nil
}

// Close sends what is left, as long as ctx lasts. It is called once.
func (t *Traces) Close(ctx context.Context) error {
	defer close(t.client.ended) // the library would go on trying
	return t.provider.Shutdown(ctx)
}

// ID is the id of the trace that a context is of, as 32 hex digits; "" for none.
func ID(ctx context.Context) string {
	if at := trace.SpanContextFromContext(ctx); at.HasTraceID() {
		return at.TraceID().String()
	}
	return ""
}

// Origin is what a context's trace and span are called in a traceparent header, for
// what is done later because of it; "" for none.
func Origin(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier.Get(traceparent)
}

// traceparent is the header that names a trace and a span.
const traceparent = "traceparent"

// linkTo is the option to begin a span with a link to what a traceparent header
// names; nothing for one that is none.
func linkTo(origin string) []trace.SpanStartOption {
	if len(origin) > maxOrigin {
		return nil
	}
	at := callerOf(http.Header{http.CanonicalHeaderKey(traceparent): {origin}})
	if !at.IsValid() {
		return nil
	}
	return []trace.SpanStartOption{trace.WithLinks(trace.Link{SpanContext: at})}
}

// maxOrigin is the length of a traceparent that is read, in bytes; those of version
// 00 have 55.
const maxOrigin = 128

// Request begins to follow a request until end is called. It is a trace of its own:
// whoever asks may say in the header (traceparent) that it belongs to another one, and
// that is kept as a link, because strangers are not to choose our ids nor what is kept.
func (t *Traces) Request(ctx context.Context, id string, header http.Header) (_ context.Context, end func(route, method string, status int)) {
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("hefring.request", id))}
	options = append(options, linkTo(header.Get(traceparent))...)
	ctx, span := t.tracer.Start(ctx, "request", options...)
	return ctx, func(route, method string, status int) {
		span.SetName(method + " " + route)
		span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route), attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(status))
		}
		span.End()
	}
}

// callerOf reads traceparent (https://www.w3.org/TR/trace-context/), and nothing that
// has no fixed length.
func callerOf(header http.Header) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(header))
	return trace.SpanContextFromContext(ctx).WithTraceState(trace.TraceState{})
}
