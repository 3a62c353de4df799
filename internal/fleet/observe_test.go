package fleet_test

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/metrics"
	"hefring/internal/run"
	"hefring/internal/sites/upgrade"
	"hefring/models"
	"hefring/plugins"
)

// counted is a world whose events are counted.
type counted struct {
	*world

	metrics *metrics.Metrics
}

func newCounted(w *world) *counted {
	w.Helper()
	types, err := plugins.NewRegistry(updateType{w.sources, "scripted", false}, updateType{w.sources, "byhand", true})
	ok(w.T, err)
	c := &counted{world: w, metrics: metrics.New("1.2.3", []string{"scripted", "byhand"})}
	w.fleet = fleet.New(fleet.Config{
		Store: w.Store, Types: types, Platforms: w.platforms, Hosting: w.hosting, Run: run.New(run.Config{}),
		Secrets: sealer{}, Cache: w.TempDir(), Scratch: w.TempDir(), Logger: slog.New(slog.DiscardHandler), Now: w.clock.time, Observer: c.metrics,
	})
	c.metrics.Show(metrics.Standing{
		Source: w.Store, Kinds: slices.Collect(maps.Keys(w.fleet.Handlers())), Logger: slog.New(slog.DiscardHandler), Now: w.clock.time,
	})
	return c
}

var sample = regexp.MustCompile(`^([a-z_]+)(\{.*\})? (\S+)$`)

// scrape gives what is exposed: each series with its value.
func (c *counted) scrape() map[string]float64 {
	c.Helper()
	c.clock.pass(time.Minute) // figures are kept for a moment
	w := httptest.NewRecorder()
	c.metrics.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequestWithContext(c.ctx, "GET", "/metrics", nil))
	want(c.T, "status", w.Code, 200)
	series := map[string]float64{}
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		m := sample.FindStringSubmatch(lines.Text())
		if m == nil || !strings.HasPrefix(m[1], "hefring_") {
			continue
		}
		value, err := strconv.ParseFloat(m[3], 64)
		ok(c.T, err)
		series[m[1]+m[2]] = value
	}
	return series
}

// has checks figures.
func (c *counted) has(wanted map[string]float64) map[string]float64 {
	c.Helper()
	series := c.scrape()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		got, there := series[name]
		if !there || got != wanted[name] {
			c.Errorf("%s is %v (there: %t), want %v", name, got, there, wanted[name])
		}
	}
	return series
}

// otherwise makes a site's next move end like that.
func (c *counted) otherwise(script func(context.Context, upgrade.Move, upgrade.Journal) upgrade.Outcome) {
	c.hosting.mu.Lock()
	defer c.hosting.mu.Unlock()
	c.hosting.upgrade = script
}

func (c *counted) upgrade(s models.Site, target models.Platform) {
	c.Helper()
	t, err := c.fleet.UpgradeSite(c.ctx, "ada", s.ID, target.ID)
	ok(c.T, err)
	c.run(t.ID)
}

func TestFleet_Metrics_AreRightAfterRealEvents(t *testing.T) {
	each(t, func(w *world) {
		c := newCounted(w)
		d, source := c.thunder()
		old := c.named("thunder-a1")
		var sites []models.Site
		for _, uri := range []string{"museum.example.org", "library.example.org", "zoo.example.org", "late.example.org", "held.example.org"} {
			sites = append(sites, c.site(uri, old.ID))
		}
		c.check(d) // unchanged
		c.check(d)
		source.breaks(models.Errorf(models.Unavailable, "secret-host.example.org does not answer."))
		c.check(d)
		source.says("bad")
		source.builder(func(context.Context, string) error { return errors.New("no space") })
		c.check(d)
		c.work()
		stopped, stop := context.WithCancelCause(c.ctx)
		stop(fleet.ErrCancelled)
		source.says("worse")
		c.check(d)
		c.runIn(stopped, c.pending(models.TaskBuild).ID)
		source.builder(nil)
		target := c.moves(d, "b2")

		c.upgrade(sites[0], target)
		c.otherwise(inCodeMode)
		c.upgrade(sites[1], target)
		c.otherwise(fail(models.UpgradeRecovered, models.StepUpdate, "an update failed"))
		c.upgrade(sites[2], target)
		c.otherwise(fail(models.UpgradeFatal, models.StepReopen, "the disk died"))
		c.upgrade(sites[3], target)
		waiting, err := c.fleet.UpgradeSite(c.ctx, "ada", sites[4].ID, target.ID)
		ok(c.T, err)
		ok(c.T, c.fleet.HoldSite(c.ctx, "ada", sites[4].ID, "not now", nil))
		c.run(waiting.ID) // it is held by now
		c.otherwise(succeed)
		plan, err := c.fleet.RollbackPlan(c.ctx, sites[0].ID)
		ok(c.T, err)
		back, err := c.fleet.RollbackSite(c.ctx, "ada", sites[0].ID, plan.Upgrade.ID)
		ok(c.T, err)
		c.run(back.ID)
		_, err = c.fleet.CheckNow(c.ctx, "ada", d.ID)
		ok(c.T, err)
		c.metrics.TaskEnded(models.TaskCheck, models.TaskSucceeded)

		c.has(map[string]float64{
			`hefring_checks_total{outcome="changed",update_type="scripted"}`:                        4,
			`hefring_checks_total{outcome="unchanged",update_type="scripted"}`:                      2,
			`hefring_checks_total{outcome="failed",update_type="scripted"}`:                         1,
			`hefring_check_duration_seconds_count{update_type="scripted"}`:                          7,
			`hefring_builds_total{outcome="succeeded",update_type="scripted"}`:                      2,
			`hefring_builds_total{outcome="failed",update_type="scripted"}`:                         1,
			`hefring_builds_total{outcome="cancelled",update_type="scripted"}`:                      1,
			`hefring_build_duration_seconds_count{outcome="succeeded",update_type="scripted"}`:      2,
			`hefring_upgrades_total{kind="upgrade",mode="database",outcome="succeeded"}`:            1,
			`hefring_upgrades_total{kind="upgrade",mode="code",outcome="succeeded"}`:                1,
			`hefring_upgrades_total{kind="upgrade",mode="unknown",outcome="recovered"}`:             1,
			`hefring_upgrades_total{kind="upgrade",mode="unknown",outcome="fatal"}`:                 1,
			`hefring_upgrades_total{kind="upgrade",mode="unknown",outcome="cancelled"}`:             1,
			`hefring_upgrades_total{kind="rollback",mode="database",outcome="succeeded"}`:           1,
			`hefring_upgrade_refused_write_seconds_sum{kind="upgrade",mode="database"}`:             1.5,
			`hefring_upgrade_refused_write_seconds_count{kind="upgrade",mode="database"}`:           1,
			`hefring_upgrade_refused_write_seconds_bucket{kind="upgrade",mode="database",le="1"}`:   0,
			`hefring_upgrade_refused_write_seconds_bucket{kind="upgrade",mode="database",le="2.5"}`: 1,
			`hefring_upgrade_refused_write_seconds_sum{kind="upgrade",mode="code"}`:                 0,
			`hefring_upgrade_refused_write_seconds_count{kind="upgrade",mode="unknown"}`:            2, // not the one that never began
			`hefring_upgrade_duration_seconds_count{kind="rollback",mode="database"}`:               1,
			`hefring_database_answers`:                                                   1,
			`hefring_tasks{kind="check",state="queued"}`:                                 1,
			`hefring_tasks{kind="compare",state="queued"}`:                               0,
			`hefring_tasks{kind="upgrade",state="running"}`:                              0,
			`hefring_task_oldest_queued_seconds{kind="cron"}`:                            0,
			`hefring_tasks_ended_total{kind="check",outcome="succeeded"}`:                1,
			`hefring_sites{state="enabled"}`:                                             4,
			`hefring_sites{state="broken"}`:                                              1,
			`hefring_sites{state="upgrading"}`:                                           0,
			`hefring_platforms{state="ready"}`:                                           2,
			`hefring_platforms{state="failed"}`:                                          2,
			`hefring_distributions{condition="current"}`:                                 1,
			`hefring_distributions{condition="held"}`:                                    0,
			`hefring_sources{update_type="scripted"}`:                                    1,
			`hefring_queue_paused{update_type="scripted"}`:                               0,
			`hefring_build_info{go_version="` + runtime.Version() + `",version="1.2.3"}`: 1,
		})
	})
}

// What waits is seen to wait for longer and longer.
func TestFleet_Metrics_TellLagAndAge(t *testing.T) {
	each(t, func(w *world) {
		c := newCounted(w)
		d, _ := c.thunder()
		due := c.clock.time().Add(time.Hour)
		u := c.upstream(d)
		moved, err := c.ClaimUpstream(c.ctx, u, &due)
		ok(c.T, err)
		want(c.T, "moved", moved, true)
		c.has(map[string]float64{`hefring_checks_due{update_type="scripted"}`: 0, `hefring_checks_lag_seconds{update_type="scripted"}`: 0})
		c.clock.pass(due.Sub(c.clock.time()) + 9*time.Minute)
		c.has(map[string]float64{`hefring_checks_due{update_type="scripted"}`: 1, `hefring_checks_lag_seconds{update_type="scripted"}`: 600})
		ok(c.T, c.fleet.PauseQueue(c.ctx, "ada", "scripted", true))
		_, err = c.fleet.VerifyPlatform(c.ctx, "ada", c.named("thunder-a1").ID)
		ok(c.T, err)
		series := c.has(map[string]float64{
			`hefring_queue_paused{update_type="scripted"}`: 1, `hefring_tasks{kind="verify",state="queued"}`: 1,
		})
		if age := series[`hefring_task_oldest_queued_seconds{kind="verify"}`]; age < 4000 || age > 6000 { // the store's clock is the real one
			c.Errorf("the task has waited for %v s", age)
		}
	})
}

// Whatever the fleet holds, labels hold words of ours.
func TestFleet_Metrics_LabelsAreBounded(t *testing.T) {
	each(t, func(w *world) {
		c := newCounted(w)
		_, target, sites := c.behind("museum.example.org", "library.example.org")
		c.upgrade(sites[0], target)
		c.distribution("Airport")
		c.work() // it shares its source, which holds nothing new for the other
		before := c.scrape()
		for _, name := range []string{"Agency"} {
			d := c.distribution(name)
			c.work()
			c.site(models.Slugify(name)+".example.org", *c.reload(d).TargetID)
		}
		c.upgrade(sites[1], target)
		after := c.scrape()
		for name := range after {
			if _, known := before[name]; !known {
				c.Errorf("a bigger fleet has another series: %s", name)
			}
			wantWords(c.T, name)
		}
		if len(after) < 100 || len(after) > 200 {
			c.Errorf("%d series", len(after))
		}
	})
}

var label = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)

// wantWords checks that a series has only labels and values that do not come from
// what a fleet holds.
func wantWords(t *testing.T, series string) {
	t.Helper()
	states := []string{
		"queued", "running", "succeeded", "recovered", "fatal", "failed", "cancelled", "unchanged", "changed", "enabled", "disabled", "installing", "upgrading",
		"broken", "deleting", "building", "ready", "new", "current", "failing", "held",
	}
	kinds := []string{
		"check", "build", "verify", "install", "compare", "upgrade", "upgrade-platform", "rollback", "restore", "backup", "clone", "enable", "disable",
		"configure", "cron", "delete", "import", "deliver", "relocate", "clone-to", "send", "receive", "hand-over", "login", "loss", "drop-backup",
	}
	allowed := map[string][]string{
		"update_type": {"scripted", "byhand"}, "outcome": states, "state": states, "condition": states, "kind": kinds,
		"mode": {"code", "database", "unknown"}, "version": {"1.2.3"}, "go_version": {runtime.Version()},
	}
	for _, m := range label.FindAllStringSubmatch(series, -1) {
		if m[1] == "le" {
			continue
		}
		if !slices.Contains(allowed[m[1]], m[2]) {
			t.Errorf("%s: the label %s may not be %q", series, m[1], m[2])
		}
	}
}
