package traces

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"hefring/models"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// collector takes traces by OTLP over HTTP.
type collector struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	spans    []*tracepb.Span
	about    []*commonpb.KeyValue // the process that they are from
	header   http.Header
	refusals []int // statuses of the next answers
	asked    int
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t}
	c.server = httptest.NewServer(c)
	t.Cleanup(c.server.Close)
	return c
}

// ServeHTTP takes a batch, or refuses it.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if len(c.refusals) > 0 {
		w.WriteHeader(c.refusals[0])
		c.refusals = c.refusals[1:]
		return
	}
	var data tracepb.TracesData
	if err := errors.Join(err, proto.Unmarshal(body, &data)); err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" ||
		r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("got %s %s %v", r.Method, r.URL.Path, err)
	}
	c.header = r.Header
	for _, from := range data.GetResourceSpans() {
		c.about = from.GetResource().GetAttributes()
		for _, scope := range from.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

// span gives the one of that name.
func (c *collector) span(name string) *tracepb.Span {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.spans, func(s *tracepb.Span) bool { return s.GetName() == name })
	if i < 0 {
		c.t.Fatalf("no span %q among %d", name, len(c.spans))
	}
	return c.spans[i]
}

func value(list []*commonpb.KeyValue, name string) string {
	for _, one := range list {
		if one.GetKey() == name {
			return strings.Trim(strings.SplitN(one.GetValue().String(), ":", 2)[1], `"`)
		}
	}
	return ""
}

func (c *collector) traces(log io.Writer) *Traces {
	c.t.Helper()
	traces, err := New(c.t.Context(), Config{
		Endpoint: c.server.URL + "/", Headers: http.Header{"X-Key": {"a key"}}, Version: "1.2.3", Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return traces
}

func (c *collector) close(traces *Traces) {
	c.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	if err := traces.Close(ctx); err != nil {
		c.t.Error(err)
	}
}

func TestTraces_Request_IsSent(t *testing.T) {
	c := newCollector(t)
	traces := c.traces(io.Discard)
	header := http.Header{}
	header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	header.Set("Tracestate", "vendor="+strings.Repeat("x", 200))
	ctx, end := traces.Request(t.Context(), "abc", header)
	id := ID(ctx)
	end("/sites/:id", "GET", 200)
	_, failed := traces.Request(t.Context(), "def", http.Header{"Traceparent": {"00-zz"}})
	failed("/sites", "POST", 500)
	c.close(traces)

	got := c.span("GET /sites/:id")
	if len(id) != 32 || id != hexOf(got.GetTraceId()) || id == "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("the log has %q, the collector %x", id, got.GetTraceId())
	}
	if links := got.GetLinks(); len(links) != 1 || hexOf(links[0].GetTraceId()) != "0af7651916cd43dd8448eb211c80319c" || links[0].GetTraceState() != "" {
		t.Errorf("its caller is %v", links)
	}
	for name, want := range map[string]string{"hefring.request": "abc", "http.request.method": "GET", "http.route": "/sites/:id", "http.response.status_code": "200"} {
		if value(got.GetAttributes(), name) != want {
			t.Errorf("%s is %q", name, value(got.GetAttributes(), name))
		}
	}
	if got.GetKind() != tracepb.Span_SPAN_KIND_SERVER || got.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("got %v", got)
	}
	other := c.span("POST /sites")
	if other.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR || len(other.GetLinks()) != 0 {
		t.Errorf("got %v", other)
	}
	if value(c.about, "service.name") != "hefring" || value(c.about, "service.version") != "1.2.3" || value(c.about, "host.name") == "" {
		t.Errorf("the process is %v", c.about)
	}
	if c.header.Get("X-Key") != "a key" || c.header.Get("User-Agent") != "hefring/1.2.3" {
		t.Errorf("sent with %v", c.header)
	}
}

func hexOf(id []byte) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range id {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

func TestTraces_Task_HasItsSteps(t *testing.T) {
	c := newCollector(t)
	traces := c.traces(io.Discard)
	created := time.Now().Add(-3 * time.Second)
	started := created.Add(2 * time.Second)
	ctx, task := traces.Task(t.Context(), models.Task{
		ID: 812, Kind: models.TaskUpgrade, Subject: models.Subject{Kind: models.SubjectSite, ID: 31}, Attempt: 2, CreatedAt: created, StartedAt: &started,
	}, "")
	for _, step := range []string{"preflight", "preflight", "", "updatedb"} {
		task.Step(step)
	}
	task.End(string(models.TaskFailed), "It did not work.")
	c.close(traces)

	got, first, last := c.span("upgrade"), c.span("preflight"), c.span("updatedb")
	if len(c.spans) != 3 || ID(ctx) != hexOf(got.GetTraceId()) {
		t.Errorf("got %d spans, %s", len(c.spans), ID(ctx))
	}
	for name, want := range map[string]string{
		"hefring.task": "812", "hefring.task.kind": "upgrade", "hefring.task.subject": "site/31", "hefring.task.attempt": "2",
		"hefring.task.waited_seconds": "2", "hefring.task.state": "failed",
	} {
		if value(got.GetAttributes(), name) != want {
			t.Errorf("%s is %q", name, value(got.GetAttributes(), name))
		}
	}
	for _, step := range []*tracepb.Span{first, last} {
		if !bytes.Equal(step.GetParentSpanId(), got.GetSpanId()) || !bytes.Equal(step.GetTraceId(), got.GetTraceId()) {
			t.Errorf("%s is not the task's", step.GetName())
		}
	}
	if first.GetEndTimeUnixNano() > last.GetStartTimeUnixNano() || first.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("got %v", first)
	}
	for _, failed := range []*tracepb.Span{got, last} {
		if failed.GetStatus().GetMessage() != "It did not work." || failed.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR {
			t.Errorf("%s: %v", failed.GetName(), failed.GetStatus())
		}
	}
}

func TestTraces_Task_IsLinkedToWhatAskedForIt(t *testing.T) {
	c := newCollector(t)
	traces := c.traces(io.Discard)
	asking, end := traces.Request(t.Context(), "abc", http.Header{})
	origin := Origin(asking)
	end("/sites/:id/upgrade", "POST", 303)
	for _, from := range []string{
		origin, "", Origin(t.Context()), "00-zz", strings.ToUpper(origin), "00-00000000000000000000000000000000-b7ad6b7169203331-01",
		origin + strings.Repeat("x", 1<<20), "01" + origin[2:] + "-" + strings.Repeat("x", maxOrigin),
	} {
		_, task := traces.Task(t.Context(), models.Task{ID: 1, Kind: models.TaskKind("from " + from[:min(len(from), 20)])}, from)
		task.End(string(models.TaskSucceeded), "")
	}
	c.close(traces)
	request := c.span("POST /sites/:id/upgrade")
	linked := 0
	for _, span := range c.spans {
		if len(span.GetLinks()) == 0 {
			continue
		}
		linked++
		link := span.GetLinks()[0]
		if !bytes.Equal(link.GetTraceId(), request.GetTraceId()) || !bytes.Equal(link.GetSpanId(), request.GetSpanId()) || bytes.Equal(span.GetTraceId(), request.GetTraceId()) || len(span.GetParentSpanId()) != 0 {
			t.Errorf("%s is linked to %v", span.GetName(), link)
		}
	}
	if linked != 1 || len(origin) != 55 {
		t.Errorf("%d tasks are linked to what asked, by %q", linked, origin)
	}
}

func TestTraces_UploadTraces_TriesAgain(t *testing.T) {
	c := newCollector(t)
	c.refusals = []int{http.StatusServiceUnavailable}
	var log bytes.Buffer
	traces := c.traces(&log)
	_, end := traces.Request(t.Context(), "abc", http.Header{})
	end("/", "GET", 200)
	c.close(traces)
	c.span("GET /")
	if c.asked != 2 || log.String() != "" {
		t.Errorf("asked %d times: %s", c.asked, log.String())
	}
}

func TestTraces_UploadTraces_SaysOnceThatItFails(t *testing.T) {
	c := newCollector(t)
	c.refusals = []int{http.StatusForbidden, http.StatusFound, http.StatusNotFound}
	var log bytes.Buffer
	traces := c.traces(&log)
	for range 4 {
		_, end := traces.Request(t.Context(), "abc", http.Header{})
		end("/", "GET", 200)
		if err := traces.provider.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	c.close(traces)
	if c.asked != 4 || strings.Count(log.String(), "traces are lost") != 1 || strings.Count(log.String(), "takes traces again") != 1 || !strings.Contains(log.String(), "403 Forbidden") {
		t.Errorf("asked %d times: %s", c.asked, log.String())
	}
	if strings.Contains(log.String(), "a key") {
		t.Errorf("the log has what is secret: %s", log.String())
	}
}

func TestTraces_Close_WhenNobodyAnswers(t *testing.T) {
	c := newCollector(t)
	traces := c.traces(io.Discard)
	c.server.Close()
	_, end := traces.Request(t.Context(), "abc", http.Header{})
	end("/", "GET", 200)
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	began := time.Now()
	_ = traces.Close(ctx) // what is left is lost
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %s", took)
	}
}

func TestTraces_New_TrustsGivenAuthorities(t *testing.T) {
	c := newCollector(t)
	secure := httptest.NewTLSServer(c)
	t.Cleanup(secure.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	for _, trusted := range []*x509.CertPool{nil, roots} {
		client := newClient(Config{Endpoint: secure.URL, Roots: trusted, Logger: slog.New(slog.DiscardHandler)})
		_, err := client.post(t.Context(), nil)
		if (err == nil) != (trusted != nil) {
			t.Errorf("trusted %t: %v", trusted != nil, err)
		}
		if err := client.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestID_WithoutTrace(t *testing.T) {
	if id := ID(t.Context()); id != "" {
		t.Errorf("got %q", id)
	}
}
