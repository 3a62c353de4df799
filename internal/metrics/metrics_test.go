package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/metrics"
	"hefring/models"
)

// database is a Source.
type database struct {
	asked   atomic.Int64
	fails   atomic.Bool
	figures fleet.Figures
}

func (d *database) Figures(context.Context, time.Time) (fleet.Figures, error) {
	d.asked.Add(1)
	if d.fails.Load() {
		return fleet.Figures{}, errors.New("the database is gone")
	}
	return d.figures, nil
}

type setup struct {
	*metrics.Metrics

	t   *testing.T
	db  *database
	now atomic.Int64
}

func newSetup(t *testing.T) *setup {
	t.Helper()
	s := &setup{Metrics: metrics.New("1.2.3", []string{"git", "stock"}), t: t, db: &database{}}
	s.now.Store(time.Now().UnixNano())
	s.Show(metrics.Standing{
		Source: s.db, Kinds: []models.TaskKind{models.TaskCheck, models.TaskBuild}, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Unix(0, s.now.Load()) },
	})
	return s
}

func (s *setup) pass(d time.Duration) { s.now.Add(int64(d)) }

func (s *setup) scrape() string {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		s.t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func (s *setup) has(lines ...string) {
	s.t.Helper()
	text := "\n" + s.scrape()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			s.t.Errorf("there is no line %s", line)
		}
	}
}

func (s *setup) hasNot(parts ...string) {
	s.t.Helper()
	text := s.scrape()
	for _, part := range parts {
		if strings.Contains(text, part) {
			s.t.Errorf("there is %s", part)
		}
	}
}

func TestMetrics_UnknownWords_BecomeOther(t *testing.T) {
	s := newSetup(t)
	s.Checked("https://example.org/secret.git", models.Check{Outcome: models.CheckFailed})
	s.Built("7", models.TaskFailed, time.Second)
	s.TaskEnded("kind-9", models.TaskFailed)
	s.Answered("/sites/:id", "BREW", 999, time.Second)
	s.has(
		`hefring_checks_total{outcome="failed",update_type="other"} 1`, `hefring_builds_total{outcome="failed",update_type="other"} 1`,
		`hefring_tasks_ended_total{kind="other",outcome="failed"} 1`, `hefring_http_requests_total{method="other",route="/sites/:id",status="other"} 1`,
	)
	s.hasNot("secret", "kind-9", "BREW", `status="999"`)
}

func TestMetrics_Answered_CountsAndTimes(t *testing.T) {
	s := newSetup(t)
	s.Answered("/sites/:id", http.MethodGet, 200, 30*time.Millisecond)
	s.Answered("/sites/:id", http.MethodGet, 204, 3*time.Second)
	s.Answered("/sites/:id", http.MethodGet, 503, time.Millisecond)
	s.Answered("/tasks/:id/stream", http.MethodGet, 200, 0)
	s.has(
		`hefring_http_requests_total{method="GET",route="/sites/:id",status="2xx"} 2`,
		`hefring_http_requests_total{method="GET",route="/sites/:id",status="5xx"} 1`,
		`hefring_http_requests_total{method="GET",route="/tasks/:id/stream",status="2xx"} 1`,
		`hefring_http_request_duration_seconds_bucket{method="GET",route="/sites/:id",le="0.05"} 2`,
		`hefring_http_request_duration_seconds_count{method="GET",route="/sites/:id"} 3`,
	)
	s.hasNot(`hefring_http_request_duration_seconds_count{method="GET",route="/tasks/:id/stream"}`)
}

func TestMetrics_Moved_NotBegun_HasNoTimes(t *testing.T) {
	s := newSetup(t)
	s.Moved(models.Upgrade{Kind: models.KindUpgrade, State: models.UpgradeCancelled})
	s.has(`hefring_upgrades_total{kind="upgrade",mode="unknown",outcome="cancelled"} 1`)
	s.hasNot("hefring_upgrade_refused_write_seconds_count", "hefring_upgrade_duration_seconds_count")
}

func TestMetrics_Show_FiguresAndZeros(t *testing.T) {
	s := newSetup(t)
	s.db.figures = fleet.Figures{
		Tasks: []fleet.TaskFigure{
			{Kind: models.TaskCheck, State: models.TaskQueued, Count: 3, Oldest: time.Unix(0, s.now.Load()).Add(-time.Minute)},
			{Kind: models.TaskCheck, State: models.TaskRunning, Count: 2, Oldest: time.Unix(0, s.now.Load()).Add(-time.Hour)},
			{Kind: "future", State: models.TaskQueued, Count: 1},
		},
		Queues:        []fleet.QueueFigure{{UpdateType: "git", Paused: true, Sources: 9, Due: 4, Lag: 90 * time.Second}, {UpdateType: "future", Sources: 1}},
		Sites:         map[string]int{"enabled": 12, "future": 1},
		Platforms:     map[string]int{"ready": 3},
		Distributions: map[string]int{"failing": 1},
	}
	s.has(
		`hefring_tasks{kind="check",state="queued"} 3`, `hefring_tasks{kind="check",state="running"} 2`, `hefring_tasks{kind="build",state="queued"} 0`,
		`hefring_task_oldest_queued_seconds{kind="check"} 60`, `hefring_task_oldest_queued_seconds{kind="build"} 0`,
		`hefring_checks_due{update_type="git"} 4`, `hefring_checks_lag_seconds{update_type="git"} 90`, `hefring_sources{update_type="git"} 9`,
		`hefring_queue_paused{update_type="git"} 1`, `hefring_sites{state="enabled"} 12`, `hefring_sites{state="broken"} 0`,
		`hefring_platforms{state="ready"} 3`, `hefring_platforms{state="queued"} 0`, `hefring_distributions{condition="failing"} 1`,
		`hefring_distributions{condition="held"} 0`, `hefring_database_answers 1`,
	)
	s.hasNot("future", `state="deleted"`)
}

func TestMetrics_Scrapes_AskTheDatabaseOnceInAWhile(t *testing.T) {
	s := newSetup(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { s.scrape() })
	}
	all.Wait()
	s.pass(4 * time.Second)
	s.scrape()
	if n := s.db.asked.Load(); n != 1 {
		t.Errorf("asked %d times for five scrapes", n)
	}
	s.pass(2 * time.Second)
	s.scrape()
	if n := s.db.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestMetrics_DatabaseGone_LeavesTheRest(t *testing.T) {
	s := newSetup(t)
	s.Built("git", models.TaskSucceeded, time.Second)
	s.db.figures.Sites = map[string]int{"enabled": 12}
	s.has(`hefring_sites{state="enabled"} 12`)
	s.db.fails.Store(true)
	s.pass(time.Minute)
	s.has(`hefring_database_answers 0`, `hefring_builds_total{outcome="succeeded",update_type="git"} 1`)
	s.hasNot("hefring_sites", "hefring_tasks{", "gone")
	s.db.fails.Store(false)
	s.pass(time.Minute)
	s.has(`hefring_database_answers 1`, `hefring_sites{state="enabled"} 12`)
}

// Every process and every Hefring is told apart, and names are as Prometheus wants
// them.
func TestMetrics_Handler_DescribesAll(t *testing.T) {
	s := newSetup(t)
	s.Checked("git", models.Check{Outcome: models.CheckChanged})
	text := s.scrape()
	for _, name := range []string{"hefring_build_info", "hefring_checks_total", "go_goroutines", "process_start_time_seconds", "promhttp_metric_handler_errors_total"} {
		if !strings.Contains(text, "# HELP "+name+" ") {
			t.Errorf("%s is not described", name)
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# HELP hefring_") && len(strings.Fields(line)) < 6 {
			t.Errorf("says too little: %s", line)
		}
	}
	if other := metrics.New("1", nil); other == nil {
		t.Error("a second one in the same process cannot be made")
	}
}

// Counting is done in the middle of work, by many at once.
func TestMetrics_ManyAtOnce(t *testing.T) {
	s := newSetup(t)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for range 200 {
				s.Checked("git", models.Check{Outcome: models.CheckUnchanged, Took: time.Millisecond})
				s.Answered(fmt.Sprintf("/%d/:id", n%2), http.MethodGet, 200, time.Millisecond)
			}
			s.scrapeQuietly()
		})
	}
	all.Wait()
	s.has(`hefring_checks_total{outcome="unchanged",update_type="git"} 1600`, `hefring_http_requests_total{method="GET",route="/0/:id",status="2xx"} 800`)
}

// scrapeQuietly is a scrape that may be refused because there are too many at once.
func (s *setup) scrapeQuietly() {
	s.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, "/metrics", nil))
}

// The page about metrics names each of them, and none that there is not.
func TestDocs_Metrics_AreThoseThatThereAre(t *testing.T) {
	s := newSetup(t)
	now := time.Now()
	s.db.figures.Queues = []fleet.QueueFigure{{UpdateType: "git"}}
	s.Checked("git", models.Check{})
	s.Built("git", models.TaskSucceeded, time.Second)
	s.Moved(models.Upgrade{StartedAt: &now, EndedAt: &now})
	s.TaskEnded(models.TaskCheck, models.TaskSucceeded)
	s.Answered("/", http.MethodGet, http.StatusOK, time.Second)
	there := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (hefring_\S+)`).FindAllStringSubmatch(s.scrape(), -1) {
		there[m[1]] = true
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`\bhefring_[a-z_]+`).FindAllString(string(page), -1) {
		if !there[m] {
			m = strings.TrimSuffix(strings.TrimSuffix(m, "_sum"), "_bucket")
		}
		named[m] = true
	}
	for name := range there {
		if !named[name] {
			t.Errorf("docs/metrics.md does not name %s", name)
		}
	}
	for name := range named {
		if !there[name] {
			t.Errorf("docs/metrics.md names %s, which there is not", name)
		}
	}
}
