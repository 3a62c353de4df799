package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"

	"hefring/internal/config"
	"hefring/internal/fleet"
	"hefring/internal/run"
	"hefring/internal/sites/webserver"
	"hefring/internal/store"
	"hefring/internal/tasks"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/builtin"
	"hefring/web"
)

// logged is a log that is read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// line gives the line with a message, as JSON.
func (l *logged) line(t *testing.T, message string) map[string]any {
	t.Helper()
	for text := range strings.Lines(l.String()) {
		line := map[string]any{}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		if line["msg"] == message {
			return line
		}
	}
	return nil
}

// observedApp is the part of the program that can be looked at from outside, on a
// database of its own.
func observedApp(t *testing.T, log *logged) *app {
	t.Helper()
	types, err := plugins.NewRegistry(builtin.All()...)
	if err != nil {
		t.Fatal(err)
	}
	a := &app{
		logger: logTo(log, "debug", "json"), metrics: newMetrics(types),
		web: webserver.New(webserver.Config{Dir: filepath.Join(t.TempDir(), "web"), Port: 1, ProbePort: 2}, run.New(run.Config{})),
	}
	if a.store, err = store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "hefring.db"), a.logger); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.store.Close() }) // a test may have closed it
	a.fleet = fleet.New(fleet.Config{Store: a.store, Types: types, Logger: a.logger, Observer: a.metrics})
	if a.tasks, err = a.newTasks(t.Context(), tasks.Workers()); err != nil {
		t.Fatal(err)
	}
	a.showFleet()
	a.health = a.newHealth(false)
	return a
}

func (a *app) ask(t *testing.T, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	a.observing().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// becomes asks until the answer is that.
func (a *app) becomes(t *testing.T, path string, status int, text string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		got, body := a.ask(t, path)
		if got == status && strings.Contains(body, text) {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("%s is %d %s, want %d %s", path, got, body, status, text)
		}
	}
}

func TestApp_Observing_TellsWhatItNeeds(t *testing.T) {
	log := &logged{}
	a := observedApp(t, log)
	a.becomes(t, "/readyz", http.StatusServiceUnavailable, `{"ready":false,"checks":[{"name":"database","state":"ok","required":true},{"name":"tasks","state":"failing","required":true},{"name":"sites","state":"failing","required":false}]}`)
	if err := a.tasks.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.becomes(t, "/readyz", http.StatusOK, `"ready":true`)
	a.becomes(t, "/metrics", http.StatusOK, `hefring_tasks{kind="upgrade",state="queued"} 0`)
	a.becomes(t, "/metrics", http.StatusOK, `version="dev"`)
	stopping, done := context.WithTimeout(t.Context(), 30*time.Second)
	defer done()
	if err := a.tasks.Stop(stopping); err != nil {
		t.Fatal(err)
	}
	a.becomes(t, "/readyz", http.StatusServiceUnavailable, `{"name":"tasks","state":"failing"`)
	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
	a.becomes(t, "/readyz", http.StatusServiceUnavailable, `{"name":"database","state":"failing"`)
	a.becomes(t, "/metrics", http.StatusOK, `hefring_database_answers 0`)
	a.becomes(t, "/healthz", http.StatusOK, "ok\n")
	if status, _ := a.ask(t, "/sites"); status != http.StatusNotFound {
		t.Errorf("pages are at the metrics' address: %d", status)
	}
	if line := log.line(t, "readiness check fails"); line == nil || line["check"] == "" || line["error"] == "" {
		t.Errorf("the log does not say why: %v", line)
	}
}

func TestApp_ServeMetrics_OnlyWhereItIsAsked(t *testing.T) {
	a := &app{logger: slog.New(slog.DiscardHandler)}
	stop, err := a.serveMetrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	a.cfg = config.Config{MetricsListen: taken.Addr().String()}
	if _, err := a.serveMetrics(t.Context()); err == nil || !strings.Contains(err.Error(), "--metrics-listen") {
		t.Errorf("got %v", err)
	}
}

func TestLogTo_NamesTheTask(t *testing.T) {
	log := &logged{}
	a := observedApp(t, log)
	a.tasks.Handle(models.TaskVerify, func(ctx context.Context, _ models.Task, _ fleet.Log) (string, models.TaskState, error) {
		a.logger.InfoContext(ctx, "deep inside", slog.Duration("after", 1500*time.Millisecond))
		a.logger.InfoContext(ctx, "says it itself", slog.String("task", "mine"))
		return "", "", nil
	})
	if err := a.tasks.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	task := models.Task{Kind: models.TaskVerify, Subject: models.Subject{Kind: models.SubjectPlatform, ID: 12}, Title: "Verify", Actor: "ada"}
	if err := a.store.CreateTask(t.Context(), &task); err != nil {
		t.Fatal(err)
	}
	a.becomes(t, "/metrics", http.StatusOK, `hefring_tasks_ended_total{kind="verify",outcome="succeeded"} 1`)
	stopping, done := context.WithTimeout(t.Context(), 30*time.Second)
	defer done()
	if err := a.tasks.Stop(stopping); err != nil {
		t.Fatal(err)
	}
	line := log.line(t, "deep inside")
	for key, want := range map[string]any{"task": float64(task.ID), "kind": "verify", "subject": "platform/12", "after": 1.5} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	if line := log.line(t, "says it itself"); line["task"] != "mine" || line["kind"] != "verify" {
		t.Errorf("got %v", line)
	}
	if n := strings.Count(log.String(), `"task":"mine"`); n != 1 || strings.Contains(log.String(), `"task":"mine","task"`) {
		t.Error("the task is named twice")
	}
}

func TestLogTo_NamesTheRequest(t *testing.T) {
	for format, wanted := range map[string]string{"json": `"request":"from-proxy"`, "text": " request=from-proxy", "": " request=from-proxy"} {
		log := &logged{}
		pages := web.New(web.Config{SessionStore: memstore.NewWithCleanupInterval(0), Logger: logTo(log, "debug", format)})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil)
		r.Header.Set("X-Request-ID", "from-proxy")
		pages.ServeHTTP(httptest.NewRecorder(), r)
		if !strings.Contains(log.String(), wanted) || !strings.Contains(log.String(), "/healthz") {
			t.Errorf("%s: logged %q", format, log)
		}
	}
}

func TestLogTo_Level(t *testing.T) {
	log := &logged{}
	for _, level := range []string{"warn", "error"} {
		logger := logTo(log, level, "text").With(slog.String("worker", "w")).WithGroup("g")
		logger.Info("nothing")
	}
	logTo(log, "nonsense", "text").Info("told")
	if strings.Contains(log.String(), "nothing") || !strings.Contains(log.String(), "told") {
		t.Errorf("logged %q", log)
	}
}
