package store

import (
	"math/rand/v2"
	"time"

	"hefring/models"
)

// seedPlan is what the rows of an invented fleet agree on: it is drawn before any of
// them is made, in the order in which it would have happened.
type seedPlan struct {
	families  int     // distributions that have platforms
	platforms []int64 // distribution of each platform
	states    []models.PlatformState
	begun     []time.Time // when each platform's build began
	built     []time.Time // when it ended
	of        [][]int64   // ready platforms of each family, oldest first
	known     []int       // how many of them are older than the first task
	stock     []int64     // all of those
	homes     []int64     // platform of each site
	clients   int
	settled   int // sites, from the first on, that are installed

	kinds    []models.TaskKind
	subjects []int64                  // number of each task's site, upstream or platform
	wheres   []int64                  // platform of its site at that time
	moves    []seedMove               // what upgrade tasks did
	open     map[int]models.TaskState // of tasks that did not end
	busy     map[int64]seedJob        // sites that such tasks work on
}

// seedMove is what an upgrade task did, or tried.
type seedMove struct {
	task           int
	site, from, to int64
}

// seedJob is how a site stands while it is worked on.
type seedJob struct {
	state models.SiteState
	since time.Time
}

// seedSite is a site while its history is drawn: its family, and the places of its
// platforms in the family's list.
type seedSite struct {
	family, at, goal int
}

// seededOpen is how many tasks at the end may be queued or running. Nobody works on
// them.
const seededOpen = 24

func (g *seeder) plan() {
	g.families = min(max(g.Platforms/4, 1), g.Distributions)
	g.clients = g.Sites / 400
	g.settled = g.Sites
	if g.Tasks >= seededOpen {
		g.settled -= g.atWork()
	}
	g.planPlatforms()
	g.planTasks(g.planSites())
}

// atWork is how many sites are being installed, and how many upgraded.
func (g *seeder) atWork() int { return min(seededOpen/3, g.Sites/40) }

// planPlatforms draws which distribution each platform has: few are popular, most are
// not. Nearly all are older than the first task, so that there are tasks of the sites'
// way to where they are; the last ones are of distributions with few sites.
func (g *seeder) planPlatforms() {
	g.of, g.known = make([][]int64, g.families), make([]int, g.families)
	old := max(g.Platforms-g.Platforms/20, g.families)
	for i := range g.Platforms {
		family, state := i%g.families, g.state(i)
		begun := g.founded.Add(g.now.Add(-g.span-24*time.Hour).Sub(g.founded) / time.Duration(old) * time.Duration(i+1))
		switch {
		case i >= old:
			family = g.families/2 + g.r.IntN(g.families-g.families/2)
			begun = g.now.Add(-g.span + (g.span-3*time.Hour)/time.Duration(g.Platforms-old+1)*time.Duration(i-old+1))
		case i >= 2*g.families: // the first rounds give everybody one
			family = g.popular(g.families)
		}
		begun = begun.Truncate(time.Microsecond)
		g.platforms, g.states = append(g.platforms, int64(family+1)), append(g.states, state)
		g.begun, g.built = append(g.begun, begun), append(g.built, begun.Add(4*time.Minute))
		if state != models.PlatformReady {
			continue
		}
		g.of[family] = append(g.of[family], int64(i+1))
		if i < old {
			g.known[family]++
			g.stock = append(g.stock, int64(i+1))
		}
	}
}

func (g *seeder) state(platform int) models.PlatformState {
	switch {
	case platform < g.families: // every family has a ready one
		return models.PlatformReady
	case g.chance(4):
		return models.PlatformFailed
	case g.chance(6):
		return models.PlatformDeleted
	}
	return models.PlatformReady
}

// planSites draws where each site goes: most to the newest platform. It begins on one
// that its upgrades lead from.
func (g *seeder) planSites() []seedSite {
	steps := make([]int, g.Sites)
	for i := range g.Tasks {
		g.kinds = append(g.kinds, g.usualKind(i))
		if end := g.ends(i); g.kinds[i] == models.TaskUpgrade && (end == models.TaskSucceeded || end == models.TaskWarning) {
			steps[g.taskSite(i)-1]++
		}
	}
	sites := make([]seedSite, 0, g.Sites)
	for i := range g.Sites {
		family := g.popular(g.families)
		goal := g.known[family] - 1
		if i < g.settled && goal > 0 && g.chance(14) {
			goal -= 1 + g.r.IntN(min(goal, 3))
		}
		sites = append(sites, seedSite{family: family, at: max(goal-steps[i], 0), goal: goal})
	}
	return sites
}

// planTasks goes through all tasks in their order and lets them do what they can.
func (g *seeder) planTasks(sites []seedSite) {
	g.subjects, g.wheres = make([]int64, g.Tasks), make([]int64, g.Tasks)
	g.open, g.busy = map[int]models.TaskState{}, map[int64]seedJob{}
	fresh := len(g.platforms) - g.Platforms/20
	for i := range g.Tasks {
		if last := i - (g.Tasks - seededOpen); last >= 0 && g.planOpen(i, last, sites) {
			continue
		}
		switch g.kinds[i] {
		case models.TaskCheck:
			g.subjects[i] = g.checked(i)
		case models.TaskVerify:
			g.subjects[i] = g.stock[i%len(g.stock)]
		case models.TaskBuild:
			if fresh < g.Platforms && g.begun[fresh].Before(g.taskAt(i)) {
				g.begun[fresh], g.built[fresh] = g.taskAt(i), g.taskEnd(i)
				fresh++
				g.subjects[i] = int64(fresh)
			} else {
				g.kinds[i], g.subjects[i] = models.TaskVerify, g.stock[i%len(g.stock)]
			}
		default:
			g.planWork(i, g.taskSite(i), sites)
		}
	}
	for _, s := range sites {
		g.homes = append(g.homes, g.of[s.family][s.at])
	}
}

// planWork lets a task work on a site. One that cannot be upgraded is backed up.
func (g *seeder) planWork(i int, id int64, sites []seedSite) {
	s := &sites[id-1]
	g.subjects[i], g.wheres[i] = id, g.of[s.family][s.at]
	if g.kinds[i] != models.TaskUpgrade {
		return
	}
	to := g.next(*s, g.taskAt(i))
	if to == s.at {
		g.kinds[i] = models.TaskBackup
		return
	}
	g.moves = append(g.moves, seedMove{task: i, site: id, from: g.wheres[i], to: g.of[s.family][to]})
	if end := g.ends(i); end == models.TaskSucceeded || end == models.TaskWarning {
		s.at = to
	}
}

// next is the place of the platform that a site is upgraded to at that time, its own
// when it stays: one is as far as it shall go, and nothing was built since.
func (g *seeder) next(s seedSite, at time.Time) int {
	if s.at < s.goal {
		return s.at + 1
	}
	if s.goal < g.known[s.family]-1 {
		return s.at
	}
	list := g.of[s.family]
	newest := len(list) - 1
	for newest > s.at && g.built[list[newest]-1].After(at) {
		newest--
	}
	return newest
}

// planOpen lets one of the last tasks be at work still, and tells whether it is.
func (g *seeder) planOpen(i, last int, sites []seedSite) bool {
	state := []models.TaskState{models.TaskRunning, models.TaskQueued}[last/3%2]
	switch id := int64(g.settled + last/3 + 1); {
	case last%3 == 0 && id <= int64(g.Sites):
		g.kinds[i], g.subjects[i] = models.TaskInstall, id
		g.busy[id] = seedJob{models.SiteInstalling, g.taskAt(i)}
	case last%3 == 1 && len(g.busy) < 2*g.atWork():
		id := g.idle(sites)
		if id == 0 {
			return false
		}
		state = models.TaskRunning
		s := sites[id-1]
		g.kinds[i], g.subjects[i], g.wheres[i] = models.TaskUpgrade, id, g.of[s.family][s.at]
		g.moves = append(g.moves, seedMove{task: i, site: id, from: g.wheres[i], to: g.of[s.family][len(g.of[s.family])-1]})
		g.busy[id] = seedJob{models.SiteUpgrading, g.taskAt(i)}
	case g.kinds[i] == models.TaskCheck:
		g.subjects[i] = g.checked(i)
		for earlier := range g.open {
			if g.kinds[earlier] == models.TaskCheck && g.subjects[earlier] == g.subjects[i] {
				return false
			}
		}
	default:
		return false
	}
	g.open[i] = state
	return true
}

// idle finds a site that an upgrade waits for and that nobody works on, 0 for none.
func (g *seeder) idle(sites []seedSite) int64 {
	for id := int64(g.settled); id > 0; id-- {
		s := sites[id-1]
		if _, busy := g.busy[id]; !busy && s.at < len(g.of[s.family])-1 {
			return id
		}
	}
	return 0
}

// quiet is the first of the tasks of the last hour. Only from then on there are
// looks at sources that found nothing, and most tasks are such: they are deleted
// when an hour is over.
func (g *seeder) quiet() int { return g.Tasks - g.Tasks/20 }

// taskAt is when the i-th task was made.
func (g *seeder) taskAt(i int) time.Time {
	quiet, lately := g.quiet(), 50*time.Minute
	if i < quiet {
		span := g.span - time.Hour
		return g.now.Add(-time.Hour - span/time.Duration(max(quiet, 1))*time.Duration(quiet-i)).Truncate(time.Microsecond)
	}
	n := max(g.Tasks-quiet, 1)
	return g.now.Add(-lately / time.Duration(n) * time.Duration(g.Tasks-i)).Truncate(time.Microsecond)
}

// taskEnd is when it ended.
func (g *seeder) taskEnd(i int) time.Time {
	end := g.taskAt(i).Add(time.Duration(1+i*37%90) * time.Second)
	if end.After(g.now) {
		return g.now
	}
	return end
}

// usualKind gives the kinds of tasks in an order that goes on and on. Each upgrade
// task has its upgrade, each backup its backup.
func (g *seeder) usualKind(i int) models.TaskKind {
	if i >= g.quiet() && i%10 < 7 {
		return models.TaskCheck
	}
	switch i % 10 {
	case 0, 3, 7, 9:
		return models.TaskUpgrade
	case 1, 2, 5:
		return models.TaskBackup
	case 4:
		return models.TaskBuild
	}
	return []models.TaskKind{models.TaskVerify, models.TaskDisable, models.TaskEnable, models.TaskConfigure}[i/10%4]
}

// taskSite is the site of the i-th task. With each round through all sites they get
// tasks of other kinds.
func (g *seeder) taskSite(i int) int64 { return int64((i*7919+i/g.settled)%g.settled) + 1 }

// checked is the upstream of the i-th task.
func (g *seeder) checked(i int) int64 {
	distribution := int64(i%g.Distributions) + 1
	if byHand(distribution) {
		distribution--
	}
	return upstreamOf(distribution)
}

func (g *seeder) taskSubject(i int) models.Subject {
	kind := models.SubjectSite
	switch g.kinds[i] {
	case models.TaskCheck:
		kind = models.SubjectUpstream
	case models.TaskBuild, models.TaskVerify:
		kind = models.SubjectPlatform
	default:
	}
	return models.Subject{Kind: kind, ID: g.subjects[i]}
}

// ends draws how the i-th task ended. It is the same whoever asks.
func (g *seeder) ends(i int) models.TaskState {
	if state, open := g.open[i]; open {
		return state
	}
	own := rand.New(rand.NewPCG(g.Random, uint64(i)+1)) //nolint:gosec // an invented fleet
	n, upgrade := own.IntN(1000), g.kinds[i] == models.TaskUpgrade
	switch {
	case g.kinds[i] == models.TaskBuild:
		if g.subjects != nil && g.states[g.subjects[i]-1] == models.PlatformFailed {
			return models.TaskFailed
		}
	case n < 20 && upgrade:
		return models.TaskRecovered
	case n < 12:
		return models.TaskFailed
	case n < 26:
		return models.TaskCancelled
	case n < 40:
		return models.TaskWarning
	}
	return models.TaskSucceeded
}
