package metrics

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hefring/internal/fleet"
	"hefring/models"
)

// Source knows how the fleet stands.
type Source interface {
	Figures(ctx context.Context, at time.Time) (fleet.Figures, error)
}

const (
	// keepFor is how long figures are not asked for again, so that scraping often,
	// or from many places, costs the database nothing more.
	keepFor = 5 * time.Second
	// askTime is how long the database may take.
	askTime = 5 * time.Second
)

// Standing is what a Metrics shows of the fleet beside what it counts itself.
type Standing struct {
	Source Source
	Kinds  []models.TaskKind // of tasks that there are
	Logger *slog.Logger
	Now    func() time.Time // nil: the time
}

// Show adds how the fleet stands to what is scraped. It is called once, before
// tasks end.
func (m *Metrics) Show(s Standing) {
	if s.Now == nil {
		s.Now = time.Now
	}
	slices.Sort(s.Kinds)
	m.kinds = wordsOf(s.Kinds...)
	m.registry.MustRegister(&standing{Standing: s, types: m.types, of: described()})
}

// descriptions of the figures.
type descriptions struct {
	answers, tasks, oldest, due, lag, sources, paused, sites, platforms, distributions *prometheus.Desc
}

func described() descriptions {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	}
	return descriptions{
		answers:       desc("database_answers", "1 when the database gave the figures of this scrape, 0 when it did not and they are left out."),
		tasks:         desc("tasks", "Tasks that are queued or running.", "kind", "state"),
		oldest:        desc("task_oldest_queued_seconds", "How long the task that waits longest has been queued; 0 when none is.", "kind"),
		due:           desc("checks_due", "Sources whose check is due and not yet queued.", "update_type"),
		lag:           desc("checks_lag_seconds", "How long the source that waits longest has been due; 0 when none is.", "update_type"),
		sources:       desc("sources", "Sources that are looked at by themselves.", "update_type"),
		paused:        desc("queue_paused", "1 when the queue of the update type is paused.", "update_type"),
		sites:         desc("sites", "Sites, without deleted ones.", "state"),
		platforms:     desc("platforms", "Platforms, without deleted ones.", "state"),
		distributions: desc("distributions", "Distributions by how they stand to their source.", "condition"),
	}
}

// standing asks the database when it is scraped.
type standing struct {
	Standing

	types words
	of    descriptions

	mu      sync.Mutex
	asked   time.Time // zero: never
	figures fleet.Figures
	err     error
}

// Describe lists what Collect gives.
func (s *standing) Describe(out chan<- *prometheus.Desc) {
	for _, one := range []*prometheus.Desc{
		s.of.answers, s.of.tasks, s.of.oldest, s.of.due, s.of.lag, s.of.sources, s.of.paused, s.of.sites, s.of.platforms, s.of.distributions,
	} {
		out <- one
	}
}

// Collect gives the figures. States that nothing is in are there with 0, so that
// rules about them need no special case.
func (s *standing) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	figures, at, err := s.ask()
	gauge(s.of.answers, truth(err == nil))
	if err != nil {
		return
	}
	s.collectTasks(figures.Tasks, at, gauge)
	for _, q := range figures.Queues {
		if !s.types[q.UpdateType] {
			continue // of a version that knew more
		}
		gauge(s.of.sources, float64(q.Sources), q.UpdateType)
		gauge(s.of.due, float64(q.Due), q.UpdateType)
		gauge(s.of.lag, q.Lag.Seconds(), q.UpdateType)
		gauge(s.of.paused, truth(q.Paused), q.UpdateType)
	}
	for _, state := range among(models.SiteTransitions(), models.SiteDeleted) {
		gauge(s.of.sites, float64(figures.Sites[state]), state)
	}
	for _, state := range among(models.PlatformTransitions(), models.PlatformDeleted) {
		gauge(s.of.platforms, float64(figures.Platforms[state]), state)
	}
	for _, condition := range conditions() {
		gauge(s.of.distributions, float64(figures.Distributions[condition]), condition)
	}
}

func (s *standing) collectTasks(tasks []fleet.TaskFigure, at time.Time, gauge func(*prometheus.Desc, float64, ...string)) {
	for _, kind := range s.Kinds {
		var oldest time.Duration
		count := map[models.TaskState]int{}
		for _, one := range tasks {
			if one.Kind != kind {
				continue
			}
			count[one.State] = one.Count
			if one.State == models.TaskQueued {
				oldest = max(at.Sub(one.Oldest), 0)
			}
		}
		gauge(s.of.tasks, float64(count[models.TaskQueued]), string(kind), string(models.TaskQueued))
		gauge(s.of.tasks, float64(count[models.TaskRunning]), string(kind), string(models.TaskRunning))
		gauge(s.of.oldest, oldest.Seconds(), string(kind))
	}
}

// ask gives the figures and the time at which they were true. Scrapes that come
// together wait for one answer.
func (s *standing) ask() (fleet.Figures, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	if !s.asked.IsZero() && now.Sub(s.asked) < keepFor {
		return s.figures, s.asked, s.err
	}
	// A scrape has no context of its own; the next one wants the answer too.
	ctx, done := context.WithTimeout(context.Background(), askTime)
	defer done()
	s.asked = now
	s.figures, s.err = s.Source.Figures(ctx, now)
	if s.err != nil {
		s.Logger.WarnContext(ctx, "ask for figures", slog.Any("error", s.err))
	}
	return s.figures, s.asked, s.err
}

// among lists the states of a life but one, in the order of the alphabet.
func among[S ~string](life models.Transitions[S], without S) []string {
	var list []string
	for state := range life {
		if state != without {
			list = append(list, string(state))
		}
	}
	slices.Sort(list)
	return list
}

func conditions() []string {
	return []string{
		string(models.ConditionNew), string(models.ConditionCurrent), string(models.ConditionChanged),
		string(models.ConditionFailing), string(models.ConditionHeld),
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
