package e2e_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ordeal is one run: during one move of one site somebody is killed.
type ordeal struct {
	move   string
	engine string
	mode   string
	victim string
	point  point
}

func (o ordeal) String() string {
	return fmt.Sprintf("%s/%s/%s/%s/%s-%s", o.engine, o.mode, o.move, o.victim, o.point.step, o.point.at)
}

// move is one way in which a site changes its platform or content.
type move struct {
	name string
	// steps lists the steps in the order in which they are done in a mode, asksPHP
	// those in which Drush runs.
	steps, asksPHP func(mode string) []string
	// site gives a site with which the move can begin.
	site func(l *lane) *torturedSite
	// begin starts it and lands on its task.
	begin func(l *lane, site *torturedSite) page
	// lossy tells whether, when it succeeds, what was written meanwhile is gone, as
	// people are told before.
	lossy func(mode string) bool
}

// moves lists those that are tortured.
func moves() []move {
	return []move{
		{
			name:  "upgrade",
			steps: copyingSteps,
			asksPHP: func(mode string) []string {
				return map[string][]string{databaseMode: {"preflight", "updatedb", "rebuild"}, codeMode: {"preflight", "rebuild", "confirm"}}[mode]
			},
			site:  (*lane).site,
			begin: func(l *lane, site *torturedSite) page { return l.p.upgrade(site.id) },
			lossy: func(string) bool { return false },
		},
		{
			name: "rollback",
			steps: func(mode string) []string {
				if mode == codeMode {
					return copyingSteps(mode)
				}
				return []string{"preflight", "deploy", "probe", "read-only", "switch", "confirm", "reopen", "retire"}
			},
			asksPHP: func(mode string) []string {
				return map[string][]string{databaseMode: {"probe"}, codeMode: {"preflight", "rebuild", "confirm"}}[mode]
			},
			site:  (*lane).upgradedSite,
			begin: (*lane).rollBack,
			lossy: func(mode string) bool { return mode == databaseMode },
		},
		{
			name: "restore", // knows no mode; it is done where the other moves have two
			steps: func(mode string) []string {
				if mode == codeMode {
					return nil
				}
				return []string{"preflight", "copy", "deploy", "rebuild", "probe", "read-only", "switch", "confirm", "reopen", "retire"}
			},
			asksPHP: func(string) []string { return []string{"rebuild", "probe"} },
			site:    (*lane).savedSite,
			begin:   (*lane).restore,
			lossy:   func(string) bool { return true },
		},
	}
}

// copyingSteps are those of a move that prepares the new version on a copy of the
// content.
func copyingSteps(mode string) []string {
	if mode == codeMode {
		return []string{"preflight", "deploy", "copy", "rebuild", "probe", "switch", "confirm", "retire"}
	}
	return []string{"preflight", "deploy", "read-only", "copy", "updatedb", "rebuild", "probe", "switch", "confirm", "reopen", "retire"}
}

// ordeals lists every run of one lane.
func ordeals(engine, mode string) []ordeal {
	var list []ordeal
	for _, m := range moves() {
		for _, p := range m.points(mode) {
			for _, victim := range victims(engine) {
				if m.possible(victim, mode, p) {
					list = append(list, ordeal{m.name, engine, mode, victim, p})
				}
			}
		}
	}
	return list
}

func victims(engine string) []string {
	if engine == sqliteSites { // has no server
		return []string{victimHefring, victimPHP, victimNginx, victimFPM}
	}
	return []string{victimHefring, victimPHP, victimDatabase, victimNginx, victimFPM}
}

// possible tells whether a victim can be met at a point. Servers are killed while
// Hefring stands still before or after the work of a step; PHP while it works.
func (m move) possible(victim, mode string, p point) bool {
	switch victim {
	case victimHefring:
		return true
	case victimPHP:
		return p.at == during && slices.Contains(m.asksPHP(mode), p.step)
	default:
		return p.at != during
	}
}

// verdict is what came of a run.
type verdict struct {
	ordeal
	outcome string
	broken  bool
	took    time.Duration
	dead    time.Duration // how long the site did not answer
}

// torture carries out the ordeals of a lane, each as a test of its own, in an
// order that the seed decides, until the time is over.
func (l *lane) torture(t *testing.T, list []ordeal, seed uint64, end time.Time) []verdict {
	t.Helper()
	var verdicts []verdict
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, o := range list {
		if time.Now().After(end) {
			t.Logf("%d of %d runs were left out, as the time is over", len(list)-len(verdicts), len(list))
			break
		}
		v := verdict{ordeal: o}
		begin := time.Now()
		t.Run(strings.ReplaceAll(o.String(), " ", "-"), func(t *testing.T) {
			l.in(t)
			defer l.in(l.owner)
			defer func() {
				v.broken = t.Failed()
				l.tellBroken(t, v)
			}()
			sum := fnv.New64a()
			_, _ = sum.Write([]byte(o.String()))
			l.suffer(t, &v, rand.New(rand.NewPCG(seed, sum.Sum64())))
		})
		v.took = time.Since(begin)
		verdicts = append(verdicts, v)
		l.survive()
		if v.broken { // what it left is told, and no fault of the next run
			l.known = append(l.known, l.leftovers(t)...)
		}
	}
	return verdicts
}

// survive makes sure that the next run finds everything up, whatever the last did.
func (l *lane) survive() {
	select {
	case <-l.h.ended:
		l.h.start()
	default:
	}
	if l.server != nil {
		select {
		case <-l.server.ended:
			l.server.start()
		default:
		}
	}
	l.k.alter(`DROP TRIGGER IF EXISTS held`)
}

// suffer is one run.
func (l *lane) suffer(t *testing.T, v *verdict, random *rand.Rand) {
	t.Helper()
	m := moves()[slices.IndexFunc(moves(), func(m move) bool { return m.name == v.move })]
	site := m.site(l)
	at := v.point
	var release func()
	switch v.victim {
	case victimHefring:
		release = l.k.hold(at.held()) // for ever
	case victimPHP:
		at.at = before // who looks for it must be awake when it comes
		release = l.holdFor(at)
	default:
		release = l.holdFor(at)
	}
	crowd := l.v.load(site.uri, crowd{readers: 1, writers: 1, pace: 30 * time.Millisecond}, l.from, l.to)
	eventually(t, 20*time.Second, "the visitors are there", func() bool { return crowd.reads.Load() > 3 })
	pressed := m.begin(l, site)
	if !strings.HasPrefix(pressed.url, "/tasks/") {
		t.Fatalf("%s cannot be moved: %s: %.500s", site.uri, pressed.url, pressed.text())
	}
	task := pressed.id()
	l.awaitPoint(t, task, at)
	allowed := rules{paused: l.mode == databaseMode}
	begin := time.Now()
	if v.victim == victimHefring {
		if v.point.at == during {
			<-time.After(time.Duration(random.IntN(60)) * time.Millisecond)
		}
		l.h.kill()
		release()
		l.k.restart()
	} else {
		heal := l.strike(t, v.victim, random)
		if v.victim == faultDisk { // on which release could not write either
			heal()
			heal = func() {}
		}
		release()
		heal()
	}
	if slices.Contains([]string{victimDatabase, faultDisk, faultRefused, faultCrowded}, v.victim) {
		eventually(t, 30*time.Second, site.uri+" answers again", func() bool { return l.served(site) != "" })
		allowed.dead = span{begin, time.Now()}
	}
	v.outcome = l.p.awaitTask(task, 90*time.Second)
	if v.victim == victimNginx || v.victim == victimFPM {
		l.mended(t, site)
		allowed.dead = span{begin, time.Now()}
	}
	v.dead = allowed.dead.to.Sub(allowed.dead.from)
	l.p.quiet()
	allowed.lossy = v.outcome == "succeeded" && m.lossy(l.mode)
	crowd.finish(t, l.v, allowed)
	l.v.serves(site.uri, site.anchor)
	l.judge(t, v, site, task)
	l.whole(t, site)
	if !t.Failed() {
		l.back(site)
	}
}

// judge fails the test unless the move ended as it may.
func (l *lane) judge(t *testing.T, v *verdict, site *torturedSite, task int64) {
	t.Helper()
	moved := l.j.number(`SELECT s.platform_id = u.to_id AND (u.mode = 'code' OR s.database = u.new_database) FROM upgrades u JOIN sites s ON s.id = u.site_id WHERE u.task_id = ?`, task) == 1
	state := l.j.text(`SELECT state FROM upgrades WHERE task_id = ?`, task)
	if state != "succeeded" && state != "recovered" || v.outcome != state {
		t.Errorf("the upgrade of %s ended %s, its task %s: %s", site.uri, state, v.outcome, l.j.text(`SELECT reason FROM upgrades WHERE task_id = ?`, task))
	}
	if moved != (state == "succeeded") {
		t.Errorf("the upgrade of %s %s, and the site has moved: %t", site.uri, state, moved)
	}
	if t.Failed() {
		t.Logf("the log of the task:\n%s", l.p.get(fmt.Sprintf("/tasks/%d/log", task)).body)
	}
}

// tellBroken keeps what a broken run said, where HEFRING_TORTURE_LOGS says.
func (l *lane) tellBroken(t *testing.T, v verdict) {
	t.Helper()
	if !v.broken {
		return
	}
	dir := os.Getenv("HEFRING_TORTURE_LOGS")
	if dir == "" {
		l.h.tell()
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(l.h.logFile())
	if err != nil {
		t.Error(err)
	}
	name := strings.ReplaceAll(v.String(), "/", "_") + ".log"
	text := fmt.Sprintf("%s ended %s\n\n%s\n\n%s", v, v.outcome, strings.Join(l.lastTask(), "\n"), log[max(0, len(log)-100_000):])
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

// lastTask is the log of the newest move.
func (l *lane) lastTask() []string {
	return l.j.list(`SELECT text FROM task_lines WHERE task_id = (SELECT task_id FROM upgrades ORDER BY id DESC LIMIT 1) ORDER BY id`)
}

// book is the verdicts of all lanes.
type book struct {
	mu   sync.Mutex
	all  []verdict
	from time.Time
}

func (b *book) add(list []verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, list...)
}

// table says what came of it: runs and broken ones by step and by victim,
// database and mode.
func (b *book) table() string {
	var columns, rows []string
	total, broken := map[string]int{}, map[string]int{}
	outcomes := map[string]int{}
	wrong := 0
	for _, v := range b.all {
		column := fmt.Sprintf("%s %s/%s", v.victim, v.engine, v.mode)
		row := v.move + " " + v.point.step
		if !slices.Contains(columns, column) {
			columns = append(columns, column)
		}
		if !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
		for _, key := range []string{row + column, row, column} {
			total[key]++
			if v.broken {
				broken[key]++
			}
		}
		outcomes[v.outcome]++
		if v.broken {
			wrong++
		}
	}
	slices.Sort(columns)
	order := append(steps(), finish)
	slices.SortStableFunc(rows, func(a, b string) int {
		moveA, stepA, _ := strings.Cut(a, " ")
		moveB, stepB, _ := strings.Cut(b, " ")
		if moveA != moveB {
			return -strings.Compare(moveA, moveB)
		}
		return slices.Index(order, stepA) - slices.Index(order, stepB)
	})
	var text strings.Builder
	cell := func(key string) string {
		if total[key] == 0 {
			return "-"
		}
		return fmt.Sprintf("%d/%d", broken[key], total[key])
	}
	fmt.Fprintf(&text, "broken/runs\n%-28s", "")
	for i := range columns {
		fmt.Fprintf(&text, "%7s", string(rune('A'+i)))
	}
	fmt.Fprintf(&text, "%7s\n", "all")
	for _, row := range rows {
		fmt.Fprintf(&text, "%-28s", row)
		for _, column := range columns {
			fmt.Fprintf(&text, "%7s", cell(row+column))
		}
		fmt.Fprintf(&text, "%7s\n", cell(row))
	}
	fmt.Fprintf(&text, "%-28s", "all")
	for _, column := range columns {
		fmt.Fprintf(&text, "%7s", cell(column))
	}
	fmt.Fprintf(&text, "%4d/%d\n", wrong, len(b.all))
	for i, column := range columns {
		fmt.Fprintf(&text, "%c: %s killed\n", 'A'+i, column)
	}
	for _, v := range b.all {
		if v.broken {
			fmt.Fprintf(&text, "broken: %s, ended %q\n", v, v.outcome)
		}
	}
	fmt.Fprintf(&text, "%d runs, %d broken, %v, in %s\n", len(b.all), wrong, outcomes, time.Since(b.from).Round(time.Second))
	return text.String()
}
