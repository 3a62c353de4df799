package main

import (
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"hefring/internal/config"
	"hefring/internal/egress"
	"hefring/internal/fleet"
	"hefring/internal/tasks"
	"hefring/models"
	"hefring/web"
)

// collector takes traces by OTLP over HTTP, and keeps their ids by the names of spans.
type collector struct {
	mu    sync.Mutex
	ids   map[string]string
	links map[string]string // the trace that a span is linked to
}

// ServeHTTP takes a batch.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var data tracepb.TracesData
	body, err := io.ReadAll(r.Body)
	if err != nil || proto.Unmarshal(body, &data) != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Authorization") != "Bearer key" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, from := range data.GetResourceSpans() {
		for _, scope := range from.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.ids[span.GetName()] = hex.EncodeToString(span.GetTraceId())
				for _, link := range span.GetLinks() {
					c.links[span.GetName()] = hex.EncodeToString(link.GetTraceId())
				}
			}
		}
	}
}

func TestApp_Traces_LogsNameThem(t *testing.T) {
	to := &collector{ids: map[string]string{}, links: map[string]string{}}
	server := httptest.NewServer(to)
	defer server.Close()
	log := &logged{}
	a := observedApp(t, log)
	a.cfg = config.Config{OTLPEndpoint: server.URL, OTLPHeaders: "authorization=Bearer%20key"}
	var err error
	if a.traces, err = newTraces(t.Context(), a.cfg, egress.New(egress.Config{}), a.logger); err != nil {
		t.Fatal(err)
	}
	if a.tasks, err = a.newTasks(t.Context(), tasks.Workers()); err != nil {
		t.Fatal(err)
	}
	a.tasks.Handle(models.TaskVerify, func(ctx context.Context, _ models.Task, log fleet.Log) (string, models.TaskState, error) {
		log.Step("look")
		a.logger.InfoContext(ctx, "deep inside")
		return "", "", nil
	})
	if err := a.tasks.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	task := models.Task{Kind: models.TaskVerify, Subject: models.Subject{Kind: models.SubjectPlatform, ID: 12}, Title: "Verify", Actor: "ada"}
	asking, asked := a.traces.Request(t.Context(), "abc", http.Header{})
	if err := a.store.CreateTask(asking, &task); err != nil {
		t.Fatal(err)
	}
	asked("/platforms/:id/verify", "POST", http.StatusSeeOther)
	a.becomes(t, "/metrics", http.StatusOK, `hefring_tasks_ended_total{kind="verify",outcome="succeeded"} 1`)
	stopping, done := context.WithTimeout(t.Context(), 30*time.Second)
	defer done()
	if err := a.tasks.Stop(stopping); err != nil {
		t.Fatal(err)
	}
	pages := web.New(web.Config{SessionStore: memstore.NewWithCleanupInterval(0), Logger: a.logger, Tracer: a.traceRequests()})
	pages.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/nowhere", nil))
	a.closeTraces()

	to.mu.Lock()
	defer to.mu.Unlock()
	for message, span := range map[string]string{"deep inside": "verify", "request": "GET none"} {
		if line := log.line(t, message); line["trace"] != to.ids[span] || to.ids[span] == "" {
			t.Errorf("the collector has %v, the log %v", to.ids, line)
		}
	}
	if asked := to.ids["POST /platforms/:id/verify"]; asked == "" || to.links["verify"] != asked {
		t.Errorf("the task was asked for by %q and is linked to %q", asked, to.links["verify"])
	}
	if to.ids["look"] != to.ids["verify"] {
		t.Errorf("the step is not the task's: %v", to.ids)
	}
}

func TestApp_Traces_OffIsNothing(t *testing.T) {
	a := &app{logger: slog.New(slog.DiscardHandler)}
	var err error
	if a.traces, err = newTraces(t.Context(), a.cfg, egress.New(egress.Config{}), a.logger); err != nil || a.traces != nil {
		t.Errorf("got %v, %v", a.traces, err)
	}
	if a.traceTasks() != nil || a.traceRequests() != nil {
		t.Error("something is followed")
	}
	a.closeTraces()
}
