package e2e_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Who is killed.
const (
	victimHefring  = "hefring"
	victimPHP      = "php"
	victimDatabase = "database"
	victimNginx    = "nginx"
	victimFPM      = "php-fpm"
)

// Where in a step: before its first journal write, in its midst, when its work is
// done and not written down.
const (
	before = "before"
	during = "during"
	after  = "after"
)

// point is one moment of a move.
type point struct {
	step string
	at   string
}

// Moments beside the steps: the pointer is switched and no line says so; the move
// has ended and the site's row does not say so.
const (
	unrecorded = "unrecorded"
	finish     = "finish"
)

// points lists the moments of a move.
func (m move) points(mode string) []point {
	var list []point
	if len(m.steps(mode)) == 0 {
		return nil
	}
	for _, step := range m.steps(mode) {
		list = append(list, point{step, before}, point{step, during}, point{step, after})
		if step == "switch" {
			list = append(list, point{step, unrecorded})
		}
	}
	return append(list, point{finish, before})
}

// held is what a line of the journal is when Hefring is held at a point, and the
// write at which it is held.
func (p point) held() (table, when string) {
	switch {
	case p.at == unrecorded:
		return "upgrades", "NEW.switched = 1 AND OLD.switched = 0"
	case p.step == finish:
		return "upgrades", "NEW.state IN ('succeeded', 'recovered') AND OLD.state = 'running'"
	case p.at == before:
		return "upgrade_steps", fmt.Sprintf("NEW.name = '%s' AND NEW.state = 'running' AND OLD.state = 'pending'", p.step)
	default:
		return "upgrade_steps", fmt.Sprintf("NEW.name = '%s' AND NEW.state = 'done' AND OLD.state = 'running'", p.step)
	}
}

// holdFor keeps Hefring at the point for a moment that is long enough to kill
// somebody else. The hold ends by itself; release waits for that.
func (l *lane) holdFor(p point) (release func()) {
	table, when := p.held()
	l.k.alter(fmt.Sprintf(`CREATE TRIGGER held BEFORE UPDATE ON %s WHEN %s BEGIN %s; END`, table, when, counting(l.rows)))
	return func() { l.k.alter(`DROP TRIGGER held`) }
}

// reached tells whether a task's upgrade is at the point, as far as its journal
// shows.
func (l *lane) reached(task int64, p point) bool {
	const state = `SELECT s.state FROM upgrade_steps s JOIN upgrades u ON u.id = s.upgrade_id WHERE u.task_id = ? AND s.name = ?`
	switch {
	case p.step == finish:
		return l.j.text(state, task, "retire") == "done"
	case p.at == before:
		return l.j.text(`SELECT state FROM upgrades WHERE task_id = ?`, task) == "running" && l.j.text(state, task, p.step) == "pending"
	}
	return l.j.text(state, task, p.step) == "running"
}

// awaitPoint waits until the move is at the point. Where Hefring is held, that is
// when it holds the database's only right to write for longer than any write
// takes.
func (l *lane) awaitPoint(t *testing.T, task int64, p point) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+l.h.path("control", "hefring.db")+"?_pragma=busy_timeout(0)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	defer func() { _ = db.Close() }()
	since := time.Time{}
	for deadline := time.Now().Add(time.Minute); ; {
		switch {
		case time.Now().After(deadline):
			t.Fatalf("%s was not reached: %v", p.step, l.j.list(`SELECT s.name || ' ' || s.state FROM upgrade_steps s JOIN upgrades u ON u.id = s.upgrade_id WHERE u.task_id = ?`, task))
		case !l.reached(task, p):
			since = time.Time{}
		case p.at == during:
			return
		case !busy(db):
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > 60*time.Millisecond:
			return
		}
		<-time.After(2 * time.Millisecond)
	}
}

// busy tells whether somebody is writing to the database.
func busy(db *sql.DB) bool {
	tx, err := db.BeginTx(context.Background(), nil)
	if err == nil {
		_ = tx.Rollback()
	}
	return err != nil
}

// strike kills the victim and gives how it comes back; hefring comes back by
// another way.
func (l *lane) strike(t *testing.T, victim string, random *rand.Rand) (heal func()) {
	t.Helper()
	switch victim {
	case victimDatabase:
		l.server.kill()
		pause := []time.Duration{100 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second}[random.IntN(3)]
		return func() {
			<-time.After(pause)
			l.server.start()
		}
	case victimNginx, victimFPM:
		if l.killAll(func(p process) bool { return strings.HasPrefix(p.name, victim) }) == 0 {
			t.Fatalf("%s does not run", victim)
		}
		return func() {} // Hefring is to mend it
	case victimPHP:
		l.killPHP(t)
		return func() {}
	}
	return l.spoil(t, victim, random)
}

// killPHP kills the program that works on the site, as soon as there is one. It
// may live for a blink, so only what is new is looked at.
func (l *lane) killPHP(t *testing.T) {
	t.Helper()
	old := map[string]bool{}
	for _, pid := range pids(t) {
		old[pid] = true
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		for _, pid := range pids(t) {
			if !old[pid] && l.isPHP(pid) {
				n, err := strconv.Atoi(pid)
				if err == nil && syscall.Kill(n, syscall.SIGKILL) == nil {
					return
				}
			}
		}
	}
	t.Fatal("no PHP was seen")
}

func pids(t *testing.T) []string {
	t.Helper()
	folder, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = folder.Close() }()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name[0] < '0' || name[0] > '9' })
}

// isPHP tells whether a process is a PHP that the lane's Hefring started.
func (l *lane) isPHP(pid string) bool {
	name, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil || !strings.HasPrefix(string(name), "php") || strings.HasPrefix(string(name), "php-fpm") {
		return false
	}
	command, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err == nil && strings.Contains(string(command), l.h.dir+"/")
}

// killAll kills processes of the lane's Hefring and says how many.
func (l *lane) killAll(which func(process) bool) int {
	killed := 0
	for _, p := range inFolder(l.h.dir) {
		if which(p) && syscall.Kill(p.pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}

// mended waits until the site answers again. Hefring has to see to that itself.
func (l *lane) mended(t *testing.T, site *torturedSite) {
	t.Helper()
	if os.Getenv("HEFRING_TORTURE_RESTART") == "" {
		eventually(t, 45*time.Second, site.uri+" answers again", func() bool { return l.served(site) != "" })
		return
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		if l.served(site) != "" {
			return
		}
	}
	l.h.stop()
	l.h.start()
	eventually(t, 45*time.Second, site.uri+" answers again", func() bool { return l.served(site) != "" })
}
