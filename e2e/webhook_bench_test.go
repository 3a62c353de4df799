//go:build bench

package e2e_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver

	"hefring/internal/testpg"
	"hefring/internal/tidepool"
)

// TestBenchWebhooks measures how long it is from a delivery to the begin of the
// build that it leads to, on each database, with the real program and a real
// repository, one push at a time. The rival is looking every 5 seconds, the
// shortest interval that a queue can have. HEFRING_BENCH_PUSHES is how many
// pushes, 120 when it is not given.
func TestBenchWebhooks(t *testing.T) {
	pushes := 120
	if text := os.Getenv("HEFRING_BENCH_PUSHES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatal("HEFRING_BENCH_PUSHES must be a number")
		}
		pushes = n
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(os.Stdout, "%d cores, load average before: %s", runtime.NumCPU(), load)
	for _, name := range []string{"SQLite", "PostgreSQL"} {
		t.Run(name, func(t *testing.T) {
			database := ""
			if name == "PostgreSQL" {
				database = testpg.Empty(t)
			}
			m := newMeter(t, database)
			answers, builds := m.webhooks(pushes)
			polls := m.polls(max(pushes/6, 5))
			_, _ = fmt.Fprintf(os.Stdout, "%-10s  from POST to its answer      %s\n", name, summary(answers))
			_, _ = fmt.Fprintf(os.Stdout, "%-10s  from POST to build start     %s\n", name, summary(builds))
			_, _ = fmt.Fprintf(os.Stdout, "%-10s  polling every 5 s, to start  %s\n", name, summary(polls))
			_, _ = fmt.Fprintf(os.Stdout, "%-10s  polling every 5 min would be %s\n", name, "p50 150 s     p99 297 s (half the interval, and nearly all of it)")
			if p99 := percentile(builds, 99); p99 >= time.Second {
				t.Errorf("p99 from POST to build start is %s, the goal is less than 1 s", p99)
			}
		})
	}
}

func summary(list []time.Duration) string {
	ms := func(p int) float64 { return float64(percentile(list, p).Microseconds()) / 1000 }
	return fmt.Sprintf("p50 %7.1f ms  p99 %7.1f ms  max %7.1f ms  n %d", ms(50), ms(99), ms(100), len(list))
}

// percentile gives the nearest rank.
func percentile(list []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}

// meter is a Hefring with one distribution and its webhook.
type meter struct {
	hookTest

	db     *sql.DB
	ask    string // when the build of a revision began and how the platform stands
	pushed int
}

func newMeter(t *testing.T, database string) *meter {
	t.Helper()
	m := &meter{hookTest: hookTest{t: t, h: newHefring(t, database), repo: newForge(t).repo("tidepool")}}
	m.open(database)
	m.p = m.h.person("admin")
	m.repo.push(tidepool.V1058)
	m.p.addGit("Tidepool", m.repo.url, nil)
	m.p.awaitTarget(1, "10.5.8")
	made := m.p.submit("/distributions/1/webhooks", "/distributions/1/webhooks", url.Values{"provider": {"github"}})
	m.address = made.match(`id="address" type="text" value="([^"]+)"`)
	m.secret = made.match(`id="secret" type="text" value="([^"]+)"`)
	if m.address == "" || m.secret == "" {
		t.Fatal("the page shows no address or secret")
	}
	m.p.quiet()
	return m
}

func (m *meter) open(database string) {
	m.t.Helper()
	driver, dsn, arg := "pgx", database, "$1"
	if database == "" {
		driver, dsn, arg = "sqlite", "file:"+m.h.path("control", "hefring.db")+"?mode=ro&_pragma=busy_timeout(5000)", "?"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = db.Close() })
	m.db = db
	m.ask = `SELECT e.at, p.state FROM platforms p JOIN events e ON e.subject_kind = 'platform' AND e.subject_id = p.id AND e.verb = 'building'
		WHERE p.revision LIKE ` + arg + ` ORDER BY e.id LIMIT 1`
}

// push makes a commit that must be built, and gives its id.
func (m *meter) push() string {
	m.t.Helper()
	m.pushed++
	if err := os.WriteFile(filepath.Join(m.repo.work, "pushes.txt"), []byte(strconv.Itoa(m.pushed)+"\n"), 0o644); err != nil {
		m.t.Fatal(err)
	}
	git(m.t, m.repo.work, "add", "--all")
	git(m.t, m.repo.work, "commit", "--quiet", "--message", fmt.Sprintf("Push %d", m.pushed))
	git(m.t, m.repo.work, "push", "--quiet", "origin", "HEAD:main")
	return git(m.t, m.repo.work, "rev-parse", "HEAD")
}

// built waits until a commit is a ready platform and gives when its build began,
// by Hefring's own record.
func (m *meter) built(commit string) time.Time {
	m.t.Helper()
	var began time.Time
	eventually(m.t, time.Minute, "the platform of push "+strconv.Itoa(m.pushed)+" is ready", func() bool {
		var state string
		err := m.db.QueryRow(m.ask, "%"+commit+"%").Scan(&began, &state)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			m.t.Fatal(err)
		}
		if state == "failed" {
			m.t.Fatal("the platform did not build")
		}
		return state == "ready"
	})
	return began
}

// webhooks pushes, delivers, and gives how long the answers and the builds'
// begins took.
func (m *meter) webhooks(n int) (answers, builds []time.Duration) {
	m.t.Helper()
	for i := range n {
		commit := m.push()
		// At any point of the queue's rhythm.
		<-time.After(rand.N(500 * time.Millisecond))
		posted := time.Now()
		status, text := m.send("push", strconv.Itoa(i), `{"ref": "refs/heads/main", "after": "`+commit+`"}`)
		answers = append(answers, time.Since(posted))
		if status != http.StatusAccepted {
			m.t.Fatalf("delivery %d: %d %s", i, status, text)
		}
		builds = append(builds, m.built(commit).Sub(posted))
	}
	return answers, builds
}

// polls pushes to a distribution that has no webhook, at any point of the
// interval of 5 s.
func (m *meter) polls(n int) (builds []time.Duration) {
	m.t.Helper()
	m.p.submit("/webhooks/1", "/webhooks/1/delete", nil)
	// Another repository: a webhook that works makes polling rarer for a day.
	m.repo = newForge(m.t).repo("polled")
	m.repo.push(tidepool.V1058)
	d := m.p.addGit("Polled", m.repo.url, nil).id()
	m.p.awaitTarget(d, "10.5.8")
	m.p.submit("/queues", "/queues/git", url.Values{"every": {"5"}, "unit": {"s"}, "at_once": {"8"}})
	for range n {
		<-time.After(rand.N(5 * time.Second))
		commit := m.push()
		pushed := time.Now()
		builds = append(builds, m.built(commit).Sub(pushed))
	}
	return builds
}
