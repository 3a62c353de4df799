// Package metrics counts what Hefring does and shows it to Prometheus.
//
// What ends (checks, builds, upgrades, tasks, requests) is counted by the process
// in which it ended: add the instances up. How the fleet stands comes from the
// database, so that every instance says the same: take any of them. The values of
// labels are words of the program's own, never names, ids or addresses of the
// fleet's, and their number does not grow with the fleet.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hefring/internal/fleet"
	"hefring/models"
)

const namespace = "hefring"

// other stands for a value that is not one of ours.
const other = "other"

// Metrics counts. It is safe for use by many goroutines at once.
type Metrics struct {
	registry *prometheus.Registry
	types    words // update types
	kinds    words // of tasks

	checks, builds, upgrades, tasks, requests *prometheus.CounterVec
	checkTime, buildTime, upgradeTime         *prometheus.HistogramVec
	refused, requestTime                      *prometheus.HistogramVec
}

var _ fleet.Observer = (*Metrics)(nil)

// words are the values that a label may have.
type words map[string]bool

func wordsOf[S ~string](list ...S) words {
	w := words{}
	for _, one := range list {
		w[string(one)] = true
	}
	return w
}

// or gives the value if it is one of the words, and other if not.
func (w words) or(value string) string {
	if w[value] {
		return value
	}
	return other
}

// New makes metrics that count from zero. updateTypes are the update types that
// this Hefring knows.
func New(version string, updateTypes []string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), types: wordsOf(updateTypes...),

		checks:    counter("checks_total", "Looks at the sources of distributions that ended in this process.", "update_type", "outcome"),
		checkTime: histogram("check_duration_seconds", "How long looks at sources took.", quick(), "update_type"),
		builds:    counter("builds_total", "Builds of platforms that ended in this process.", "update_type", "outcome"),
		buildTime: histogram("build_duration_seconds", "How long builds took, from when a worker first took them up.", slow(), "update_type", "outcome"),
		upgrades:  counter("upgrades_total", "Upgrades, rollbacks and restores of sites that ended in this process.", "kind", "mode", "outcome"),
		upgradeTime: histogram("upgrade_duration_seconds",
			"How long upgrades, rollbacks and restores took, of those that had begun.", slow(), "kind", "mode"),
		refused: histogram("upgrade_refused_write_seconds",
			"How long sites refused writes while they were moved. The sum is all the time that writes were refused.", refusals(), "kind", "mode"),
		tasks:    counter("tasks_ended_total", "Tasks of every kind that ended in this process.", "kind", "outcome"),
		requests: counter("http_requests_total", "Requests answered by this process, by the pattern of their address.", "route", "method", "status"),
		requestTime: histogram("http_request_duration_seconds",
			"How long answers took, without live streams.", quick(), "route", "method"),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(version),
		m.checks, m.checkTime, m.builds, m.buildTime, m.upgrades, m.upgradeTime, m.refused, m.tasks, m.requests, m.requestTime,
	)
	return m
}

// Handler answers scrapes. A scrape that cannot reach the database still has
// everything else.
func (m *Metrics) Handler(logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: 4, Timeout: 2 * askTime, Registry: m.registry,
	})
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

// Bounds of buckets, in seconds.
func quick() []float64    { return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30} }
func slow() []float64     { return []float64{1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600} }
func refusals() []float64 { return []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800} }

func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1; the labels say which Hefring this is.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	info.Set(1)
	return info
}

// Checked counts one distribution's part of a look at its source.
func (m *Metrics) Checked(updateType string, c models.Check) {
	updateType = m.types.or(updateType)
	m.checks.WithLabelValues(updateType, string(c.Outcome)).Inc()
	m.checkTime.WithLabelValues(updateType).Observe(c.Took.Seconds())
}

// Built counts one build.
func (m *Metrics) Built(updateType string, end models.TaskState, took time.Duration) {
	updateType = m.types.or(updateType)
	m.builds.WithLabelValues(updateType, string(end)).Inc()
	m.buildTime.WithLabelValues(updateType, string(end)).Observe(took.Seconds())
}

// Moved counts one upgrade, rollback or restore that has ended.
func (m *Metrics) Moved(u models.Upgrade) {
	kind, mode := string(u.Kind), string(u.Mode)
	if u.Mode == models.ModeUnknown {
		mode = "unknown" // it ended before Drush was asked
	}
	m.upgrades.WithLabelValues(kind, mode, string(u.State)).Inc()
	if u.StartedAt == nil || u.EndedAt == nil {
		return // it never began
	}
	m.upgradeTime.WithLabelValues(kind, mode).Observe(max(u.EndedAt.Sub(*u.StartedAt), 0).Seconds())
	m.refused.WithLabelValues(kind, mode).Observe(u.ReadOnly.Seconds())
}

// TaskEnded counts one task.
func (m *Metrics) TaskEnded(kind models.TaskKind, end models.TaskState) {
	m.tasks.WithLabelValues(m.kinds.or(string(kind)), string(end)).Inc()
}

// Answered counts one request. route is the pattern of its address, never the
// address. What never ends by itself, such as a stream, has no duration: took is 0.
func (m *Metrics) Answered(route, method string, status int, took time.Duration) {
	method = methods().or(method)
	m.requests.WithLabelValues(route, method, classOf(status)).Inc()
	if took > 0 {
		m.requestTime.WithLabelValues(route, method).Observe(took.Seconds())
	}
}

func methods() words {
	return wordsOf(http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions)
}

// classOf is the class of a status: 2xx.
func classOf(status int) string {
	if status < 100 || status > 599 {
		return other
	}
	return string(rune('0'+status/100)) + "xx"
}
