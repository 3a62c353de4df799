package e2e_test

import (
	"net/http"
	"testing"
	"time"
)

// Reads never stop, and no write that was acknowledged is lost: visitors read and
// write without pause through whole upgrades, on every database.
func TestLoad_SQLite(t *testing.T)   { t.Parallel(); loaded(t, sqliteSites) }
func TestLoad_MariaDB(t *testing.T)  { t.Parallel(); loaded(t, mariadbSites) }
func TestLoad_Postgres(t *testing.T) { t.Parallel(); loaded(t, postgresSites) }

func loaded(t *testing.T, engine string) {
	t.Helper()
	for _, mode := range []string{databaseMode, codeMode} {
		l := newLane(t, engine, mode, 1)
		site := l.site()
		crowd := l.v.load(site.uri, crowd{readers: 4, writers: 2}, l.from, l.to)
		eventually(t, time.Minute, "the visitors are there", func() bool { return crowd.reads.Load() > 50 })
		begin := time.Now()
		task := l.p.upgrade(site.id).id()
		l.p.mustSucceed(task)
		took := time.Since(begin)
		eventually(t, time.Minute, "they read the new version", func() bool { return l.served(site) == l.to })
		crowd.finish(t, l.v, rules{paused: mode == databaseMode})
		l.readOnlyTimes(t, task, crowd)
		t.Logf("%s, %s mode: upgraded in %.1f s; %d reads, %d wrong, the longest took %d ms; %d entries taken, %d refusals",
			engine, mode, took.Seconds(), crowd.reads.Load(), len(crowd.wrong), crowd.longest.Milliseconds(), len(crowd.accepted), len(crowd.refused))
		l.whole(t, site)
		l.end()
	}
}

// readOnlyTimes fails if a write was refused before or after the time in which
// the journal says that writes were refused.
func (l *lane) readOnlyTimes(t *testing.T, task int64, crowd *load) {
	t.Helper()
	closed := l.j.time(`SELECT s.started_at FROM upgrade_steps s JOIN upgrades u ON u.id = s.upgrade_id WHERE u.task_id = ? AND s.name = 'read-only'`, task)
	opened := l.j.time(`SELECT s.ended_at FROM upgrade_steps s JOIN upgrades u ON u.id = s.upgrade_id WHERE u.task_id = ? AND s.name = 'reopen'`, task)
	for _, i := range crowd.refused {
		if i.status == http.StatusServiceUnavailable && (i.to.Before(closed) || i.from.After(opened)) {
			t.Errorf("a write was refused outside of the read-only time from %s to %s: %s", closed, opened, i)
			return
		}
	}
}
