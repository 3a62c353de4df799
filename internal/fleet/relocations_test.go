package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/fleet"
	"hefring/internal/secret"
	"hefring/internal/sites/upgrade"
	"hefring/internal/store"
	"hefring/models"
)

// journey is a site's way from web1 to web2. Each of the three parties has its own
// rights in the database and can die at any moment; the queue is played.
type journey struct {
	*world

	road    *road
	control *party
	old     *party
	fresh   *party
	site    models.Site
	task    models.Task
	upgrade func(context.Context, upgrade.Move, upgrade.Journal) upgrade.Outcome // of parties that start; nil: succeed
	act     func(ctx context.Context, what string) error                         // the same of what else they do on their hosts
	step    sync.RWMutex                                                         // held while a state is written and its hooks run
}

func newJourney(t *testing.T) *journey {
	t.Helper()
	dsn := queuedPostgres.Open(t)
	w := newWorld(t, dsn)
	j := &journey{world: w, road: &road{sent: map[string]bool{}, gates: map[int64]string{}}}
	w.thunder()
	box, err := secret.Load(filepath.Join(t.TempDir(), "secret.key"))
	ok(t, err)
	j.control = j.party("control", 0, w.Store, box)
	j.old, j.fresh = j.webHost(dsn, "web1"), j.webHost(dsn, "web2")
	site, err := w.fleet.CreateSite(w.ctx, "ada", fleet.NewSite{URI: museum, Profile: "standard", PlatformID: w.named("thunder-a1").ID, ServerID: j.old.id})
	ok(t, err)
	j.start(j.control, j.old, j.fresh)
	j.rests()
	j.site = j.at(site.ID)
	j.road.set(j.old.id, "open")
	return j
}

// webHost adds a party with a worker.
func (j *journey) webHost(dsn, name string) *party {
	j.Helper()
	server, box, s := j.joined(dsn, name)
	s.SetEnqueuer(&queue{})
	ok(j.T, s.BeatServer(j.ctx, server.ID, "1.2.3"))
	d, err := j.EnsureDelivery(j.ctx, server.ID, j.named("thunder-a1").ID) // all hosts share one disk here
	ok(j.T, err)
	d.State = models.PlatformDelivered
	ok(j.T, j.SaveDelivery(j.ctx, d))
	return j.party(name, server.ID, s, box)
}

// party is the process of one host.
type party struct {
	name  string
	id    int64 // of its server
	store *store.Store
	box   *secret.Box

	mu    sync.Mutex
	life  *life
	hooks []func(models.RelocationState) // after the party wrote a state
}

// life is a party from a start to its death.
type life struct {
	dead  atomic.Bool
	ctx   context.Context //nolint:containedctx // of everything that it does
	end   context.CancelCauseFunc
	works sync.WaitGroup
	busy  sync.Map // tasks that it works on
	party *party
	fleet *fleet.Fleet
}

func (j *journey) party(name string, id int64, s *store.Store, box *secret.Box) *party {
	p := &party{name: name, id: id, store: s, box: box}
	j.Cleanup(func() { j.kill(p) })
	return p
}

// start lets parties work until they are killed.
func (j *journey) start(list ...*party) {
	j.Helper()
	for _, p := range list {
		ctx, end := context.WithCancelCause(context.WithoutCancel(j.ctx))
		l := &life{ctx: ctx, end: end, party: p}
		cfg := fleet.Config{
			Store: doomed{p.store, l, &j.step}, Secrets: p.box, Recipient: p.box.Recipient, SealFor: secret.SealFor, Server: p.id,
			Hosting: fleet.Placed(&hosting{Relocating: at{j.road, l}, upgrade: j.upgrade, act: j.act}, j.platforms), Platforms: j.platforms, Carrier: at{j.road, l},
			Logger: slog.New(slog.DiscardHandler), Now: j.clock.time, Poll: 5 * time.Millisecond,
		}
		if p == j.control {
			cfg.Hosting, cfg.Carried = &hosting{Relocating: at{j.road, l}}, j.road
		}
		l.fleet = fleet.New(cfg)
		handlers := l.fleet.Handlers()
		p.mu.Lock()
		p.life = l
		p.mu.Unlock()
		l.works.Go(func() {
			for l.ctx.Err() == nil {
				j.round(l, handlers)
				select {
				case <-l.ctx.Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
}

// kill ends all that a party does, as a power cut would: what it still tries fails.
func (j *journey) kill(p *party) {
	l := p.now()
	if l == nil {
		return
	}
	l.dies()
	l.works.Wait()
}

func (p *party) now() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life
}

func (l *life) dies() {
	l.dead.Store(true)
	l.end(fleet.ErrLost)
}

// err is what a dead party is told.
func (l *life) err() error {
	if l.dead.Load() {
		return fleet.ErrLost
	}
	return nil
}

// round takes what is queued for a party, and what a life before it left.
func (j *journey) round(l *life, handlers map[models.TaskKind]fleet.Handler) {
	for _, state := range []models.TaskState{models.TaskQueued, models.TaskRunning} {
		list, _, err := l.party.store.Tasks(context.WithoutCancel(l.ctx), fleet.Filter{State: string(state), Limit: 100})
		if err != nil {
			j.Errorf("%s lists its tasks: %v", l.party.name, err)
			return
		}
		for _, t := range list {
			if t.ServerID == nil && l.party.id != 0 || t.ServerID != nil && *t.ServerID != l.party.id {
				continue
			}
			ctx, cancel := context.WithCancelCause(l.ctx)
			if before, works := l.busy.LoadOrStore(t.ID, cancel); works {
				if stop, is := before.(context.CancelCauseFunc); is && t.Cancel {
					stop(fleet.ErrCancelled)
				}
				cancel(nil)
				continue
			}
			if t.Cancel {
				cancel(fleet.ErrCancelled)
			}
			l.works.Go(func() { j.works(ctx, l, t, handlers[t.Kind]) })
		}
	}
}

// works does one task, as a worker does.
func (j *journey) works(ctx context.Context, l *life, t models.Task, handler fleet.Handler) {
	defer l.busy.Delete(t.ID)
	t, err := l.party.store.TakeTaskOf(context.WithoutCancel(ctx), t.ID, l.party.id)
	if models.CodeOf(err) == models.Conflict || l.dead.Load() {
		return
	}
	if err != nil {
		j.Errorf("%s takes a task: %v", l.party.name, err)
		return
	}
	message, state, err := handler(ctx, t, &log{})
	_, waits := errors.AsType[fleet.Waiting](err)
	if l.dead.Load() || waits || state == "" && errors.Is(err, fleet.ErrLost) {
		return
	}
	switch {
	case state != "":
	case errors.Is(context.Cause(ctx), fleet.ErrCancelled):
		state = models.TaskCancelled
	case err != nil:
		state = models.TaskFailed
	default:
		state = models.TaskSucceeded
	}
	if err != nil && message == "" {
		message = models.Explain(err)
	}
	if err := l.party.store.FinishTask(context.WithoutCancel(ctx), t, state, message); err != nil && models.CodeOf(err) == "" {
		j.Errorf("%s ends %s: %v", l.party.name, t.Title, err)
	}
}

// awaits waits until something is so.
func (j *journey) awaits(what string, is func() bool) {
	j.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r, err := j.relocation()
			j.Fatalf("it never came that %s; the move is %s: %s (%v); the hosts did %q", what, r.State, r.Reason, err, j.road.done())
		}
	}
}

// relocation is the site's way as it is.
func (j *journey) relocation() (models.Relocation, error) {
	return j.RelocationOfTask(j.ctx, j.task.ID)
}

// moves asks for the move.
func (j *journey) moves() {
	j.Helper()
	var err error
	j.task, err = j.fleet.RelocateSite(j.ctx, "ada", j.site.ID, j.fresh.id)
	ok(j.T, err)
}

// on has something done right after a state was written, before any party sees it.
func (j *journey) on(state models.RelocationState, do func()) {
	var once sync.Once
	for _, p := range []*party{j.control, j.old, j.fresh} {
		p.mu.Lock()
		p.hooks = append(p.hooks, func(to models.RelocationState) {
			if to == state {
				once.Do(do)
			}
		})
		p.mu.Unlock()
	}
}

// rests waits until nothing is worked on any more.
func (j *journey) rests() {
	j.Helper()
	j.awaits("all tasks have ended", func() bool {
		for _, state := range []models.TaskState{models.TaskQueued, models.TaskRunning} {
			if list, _, err := j.Tasks(j.ctx, fleet.Filter{State: string(state), Limit: 1}); err != nil || len(list) > 0 {
				return false
			}
		}
		return true
	})
}

// ends waits until nothing is worked on any more, and fails unless exactly one server
// takes writes, and nothing is left over. wanted "" is done, or failed for a worker
// that was lost.
func (j *journey) ends(wanted models.RelocationState) models.Relocation {
	j.Helper()
	j.rests()
	r, err := j.relocation()
	ok(j.T, err)
	site := j.at(j.site.ID)
	t, err := j.Task(j.ctx, j.task.ID)
	ok(j.T, err)
	j.task = t
	home, other := j.old, j.fresh
	gates := map[bool]string{false: "gone", true: "sent on to http://192.0.2.12"}
	if r.State == models.RelocationDone {
		home, other = j.fresh, j.old
	}
	if wanted == "" {
		wanted = r.State
		if r.State == models.RelocationFailed && !strings.Contains(r.Reason, "was lost") {
			j.Errorf("it failed: %s", r.Reason)
		}
	}
	if r.State != wanted {
		j.Errorf("the move is %s, want %s: %s; %s; the hosts did %q", r.State, wanted, r.Reason, t.Message, j.road.done())
	}
	want(j.T, "the site's server", site.Server, home.name)
	want(j.T, "the site's state", site.State, models.SiteEnabled)
	want(j.T, "the gate of its server", j.road.gate(home.id), "open")
	if got := j.road.gate(other.id); got != "" && got != gates[r.State == models.RelocationDone] {
		j.Errorf("the other server is %q", got)
	}
	if left, err := j.road.Numbers(); err != nil || len(left) > 0 {
		j.Errorf("%v are left on the control plane's host: %v", left, err)
	}
	return r
}

// doomed is a party's way to the database, which ends with its life.
type doomed struct {
	*store.Store

	life *life
	step *sync.RWMutex
}

func (m doomed) InTx(ctx context.Context, fn func(tx fleet.Tx) error) error {
	m.step.Lock()
	defer m.step.Unlock()
	if err := m.life.err(); err != nil {
		return err
	}
	w := &witness{}
	err := m.Store.InTx(ctx, func(tx fleet.Tx) error {
		w.Tx = tx
		return fn(w)
	})
	if err == nil {
		m.life.wrote(w.states...)
	}
	return err
}

func (m doomed) MoveRelocation(ctx context.Context, r models.Relocation, to models.RelocationState) error {
	return m.InTx(ctx, func(tx fleet.Tx) error { return tx.MoveRelocation(ctx, r, to) })
}

func (m doomed) MoveSite(ctx context.Context, by string, s models.Site, to models.SiteState, why string) error {
	return m.InTx(ctx, func(tx fleet.Tx) error { return tx.MoveSite(ctx, by, s, to, why) })
}

func (m doomed) Relocation(ctx context.Context, id int64) (models.Relocation, error) {
	m.step.RLock()
	defer m.step.RUnlock()
	if err := m.life.err(); err != nil {
		return models.Relocation{}, err
	}
	return m.Store.Relocation(ctx, id)
}

func (m doomed) RelocationOfTask(ctx context.Context, id int64) (models.Relocation, error) {
	m.step.RLock()
	defer m.step.RUnlock()
	if err := m.life.err(); err != nil {
		return models.Relocation{}, err
	}
	return m.Store.RelocationOfTask(ctx, id)
}

// witness notes which states a transaction writes.
type witness struct {
	fleet.Tx

	states []models.RelocationState
}

func (w *witness) MoveRelocation(ctx context.Context, r models.Relocation, to models.RelocationState) error {
	err := w.Tx.MoveRelocation(ctx, r, to)
	if err == nil {
		w.states = append(w.states, to)
	}
	return err
}

func (l *life) wrote(states ...models.RelocationState) {
	l.party.mu.Lock()
	hooks := slices.Clone(l.party.hooks)
	l.party.mu.Unlock()
	for _, state := range states {
		for _, hook := range hooks {
			hook(state)
		}
	}
}

// road is what the hosts do with the site, and what is on its way between them.
type road struct {
	mu    sync.Mutex
	did   []string
	sent  map[string]bool
	gates map[int64]string                             // of each server: open, closed, sealed, hidden, gone or where visitors are sent
	act   func(ctx context.Context, what string) error // lets the test fail or hold something
	db    string                                       // what the new server says of the site's database
}

func (r *road) set(server int64, gate string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gates[server] = gate
}

func (r *road) gate(server int64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gates[server]
}

func (r *road) done() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.did)
}

// count tells how often something was done.
func (r *road) count(what string) (n int) {
	for _, one := range r.done() {
		if one == what {
			n++
		}
	}
	return n
}

func (r *road) Drop(id int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.sent {
		if strings.HasPrefix(name, fmt.Sprintf("%d/", id)) {
			delete(r.sent, name)
		}
	}
	return nil
}

func (r *road) Numbers() (ids []int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.sent {
		id := int64(0)
		if _, err := fmt.Sscanf(name, "%d/", &id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// at is the road as one life of a party sees it.
type at struct {
	*road

	life *life
}

// does notes something, unless the party is dead or the test fails it.
func (a at) does(ctx context.Context, what string) error {
	if err := a.life.err(); err != nil {
		return err
	}
	a.mu.Lock()
	a.did = append(a.did, a.life.party.name+" "+what)
	act := a.act
	a.mu.Unlock()
	if act != nil {
		if err := act(ctx, what); err != nil {
			return err
		}
	}
	return a.life.err()
}

// turns moves the party's gate.
func (a at) turns(gate string) error {
	if err := a.life.err(); err != nil {
		return err
	}
	a.set(a.life.party.id, gate)
	return nil
}

func (a at) Send(ctx context.Context, id int64, name, _ string) error {
	if err := a.does(ctx, "send "+name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent[fmt.Sprintf("%d/%s", id, name)] = true
	return nil
}

func (a at) Receive(ctx context.Context, id int64, name, _ string) error {
	a.mu.Lock()
	there := a.sent[fmt.Sprintf("%d/%s", id, name)]
	a.mu.Unlock()
	if !there {
		return models.Errorf(models.NotFound, "%s was not sent.", name)
	}
	return a.does(ctx, "receive "+name)
}

func (a at) PackSite(ctx context.Context, _ models.Site, _ models.Platform, _ []models.Backup, _ fleet.Log) (models.Cargo, error) {
	return models.Cargo{Archive: "/old/first.tar.gz", List: "/old/first.json", Digest: "first"}, a.does(ctx, "pack")
}

func (a at) HandOver(ctx context.Context, _ models.Site, _ models.Platform, steps upgrade.HandOver, _ fleet.Log) error {
	if err := errors.Join(a.does(ctx, "close"), a.turns("closed")); err != nil {
		return err
	}
	err := steps.Closed(ctx, models.Cargo{Archive: "/old/last.tar.gz", List: "/old/last.json", Digest: "last"})
	if err == nil {
		err = steps.Proven(ctx)
	}
	if err == nil {
		err = a.does(ctx, "seal")
	}
	if err != nil {
		return errors.Join(err, a.turns("open"))
	}
	return errors.Join(a.turns("sealed"), a.decided(ctx, steps.Sealed))
}

func (a at) decided(ctx context.Context, sealed func(ctx context.Context) (bool, error)) error {
	switched, err := sealed(context.WithoutCancel(ctx))
	if err != nil || switched {
		return err
	}
	return errors.Join(models.Errorf(models.Unavailable, "The site was not switched."), a.turns("open"))
}

func (a at) KeepClosed(ctx context.Context, _ models.Site, sealed func(ctx context.Context) (bool, error)) error {
	return errors.Join(a.does(ctx, "keep closed"), a.decided(ctx, sealed))
}

func (a at) StayHere(ctx context.Context, _ models.Site, sure func(ctx context.Context) (bool, error)) error {
	return a.ifSure(ctx, "stay", "open", sure)
}

func (a at) ifSure(ctx context.Context, what, gate string, sure func(ctx context.Context) (bool, error)) error {
	if yes, err := sure(ctx); err != nil || !yes {
		return err
	}
	return errors.Join(a.does(ctx, what), a.turns(gate))
}

func (a at) SendOn(ctx context.Context, _ models.Site, target string, _ fleet.Log) error {
	return errors.Join(a.does(ctx, "send on"), a.turns("sent on to "+target))
}

func (a at) CargoBackups(int64, models.Cargo) ([]models.Backup, error) { return nil, nil }

func (a at) TakeIn(ctx context.Context, s models.Site, _ models.Platform, _ models.Cargo, _ string, _ fleet.Log) (models.Database, error) {
	db := models.Database{Engine: models.EngineSQLite, Name: fmt.Sprintf("/new/sites/%d/db/site.sqlite", s.ID)}
	if s.Database.Server != 0 {
		db = s.Database
	}
	if a.db != "" {
		db.Name = a.db
	}
	return db, errors.Join(a.does(ctx, "take in"), a.turns("hidden"))
}

func (a at) CatchUp(ctx context.Context, _ models.Site, _ models.Platform, cargo models.Cargo, _ fleet.Log) error {
	if cargo.Digest != "last" {
		return fmt.Errorf("it catches up with %q", cargo.Digest)
	}
	return a.does(ctx, "catch up")
}

func (a at) OpenHere(ctx context.Context, _ models.Site, _ fleet.Log) error {
	if err := a.does(ctx, "open"); err != nil {
		return err
	}
	return a.turns("open")
}

func (a at) Leave(ctx context.Context, _ models.Site, _ []models.Platform, sure func(ctx context.Context) (bool, error)) error {
	return a.ifSure(ctx, "leave", "gone", sure)
}

func (a at) BackupFolder(id int64) string      { return fmt.Sprintf("/new/backups/%d", id) }
func (a at) CargoFolder(int64) (string, error) { return "/new/cargo", nil }
func (a at) Address(context.Context, string, models.Site) string {
	return map[string]string{"web1": "http://192.0.2.11", "web2": "http://192.0.2.12"}[a.life.party.name]
}

// onTheWay are the states that a move passes, in their order.
func onTheWay() []models.RelocationState {
	return []models.RelocationState{
		models.RelocationSending, models.RelocationSent, models.RelocationPlacing, models.RelocationReady, models.RelocationHanding, models.RelocationClosed,
		models.RelocationProven, models.RelocationSealed, models.RelocationSwitched, models.RelocationOpen, models.RelocationDone,
	}
}

func TestFleet_RelocateSite_Goes(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	var mu sync.Mutex
	var passed []models.RelocationState
	for _, state := range onTheWay() {
		j.on(state, func() {
			mu.Lock()
			defer mu.Unlock()
			passed = append(passed, state)
		})
	}
	j.moves()
	r := j.ends(models.RelocationDone)
	if !slices.Equal(passed, onTheWay()) {
		t.Errorf("it passed %v", passed)
	}
	want(t, "task", j.task.State, models.TaskSucceeded)
	want(t, "content", j.at(j.site.ID).Database.Name, fmt.Sprintf("/new/sites/%d/db/site.sqlite", j.site.ID))
	want(t, "origin and target", r.Origin+" "+r.Target, "http://192.0.2.11 http://192.0.2.12")
	want(t, "done", strings.Join(j.road.done(), ", "), "web1 pack, web1 send first.tar.gz, web1 send first.json, web2 receive first.tar.gz, web2 receive first.json, "+
		"web2 take in, web1 close, web1 send last.tar.gz, web1 send last.json, web2 receive last.tar.gz, web2 receive last.json, web2 catch up, web1 seal, web2 open, web1 send on")
}

// Each party dies at the moment that a state is written, and comes back. Whatever was
// begun goes on, except where writes were refused and the one who died held them up:
// there the move is given up. A new server that dies just before may come back to
// either.
func TestFleet_RelocateSite_EveryStateResumes(t *testing.T) {
	t.Parallel()
	givenUp := map[string]bool{"web1 closed": true, "web1 proven": true, "web2 closed": true}
	for _, state := range onTheWay() {
		for _, name := range []string{"control", "web1", "web2"} {
			t.Run(fmt.Sprintf("%s dies at %s", name, state), func(t *testing.T) {
				t.Parallel()
				j := newJourney(t)
				victim := map[string]*party{"control": j.control, "web1": j.old, "web2": j.fresh}[name]
				died := make(chan struct{})
				j.on(state, func() { victim.now().dies(); close(died) })
				j.moves()
				<-died
				j.kill(victim)
				j.start(victim)
				switch {
				case givenUp[name+" "+string(state)]:
					j.ends(models.RelocationFailed)
				case victim == j.fresh && aboutToHand(state):
					j.ends("")
				default:
					j.ends(models.RelocationDone)
				}
			})
		}
	}
}

// aboutToHand tells whether the old server may refuse writes at any moment.
func aboutToHand(s models.RelocationState) bool {
	return s == models.RelocationReady || s == models.RelocationHanding
}

// All of them die at once.
func TestFleet_RelocateSite_PowerCut(t *testing.T) {
	t.Parallel()
	for _, state := range onTheWay() {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			j := newJourney(t)
			died := make(chan struct{})
			all := []*party{j.control, j.old, j.fresh}
			j.on(state, func() {
				for _, p := range all {
					p.now().dies()
				}
				close(died)
			})
			j.moves()
			<-died
			for _, p := range all {
				j.kill(p)
			}
			j.start(all...)
			switch {
			case state == models.RelocationClosed || state == models.RelocationProven:
				j.ends(models.RelocationFailed)
			case aboutToHand(state):
				j.ends("")
			default:
				j.ends(models.RelocationDone)
			}
		})
	}
}

// Until the site is switched a person can stop the move; then it is finished. Once it
// is sealed the switch may be quicker: either way both servers agree.
func TestFleet_RelocateSite_CancelledAtEveryState(t *testing.T) {
	t.Parallel()
	sealed := slices.Index(onTheWay(), models.RelocationSealed)
	for i, state := range onTheWay()[:len(onTheWay())-1] {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			j := newJourney(t)
			over := func() bool {
				r, err := j.relocation()
				return err == nil && r.State.Over()
			}
			if i < sealed {
				j.road.act = func(ctx context.Context, what string) error {
					if what == "seal" { // it goes no further than this
						<-ctx.Done()
						return context.Cause(ctx)
					}
					return nil
				}
			}
			j.on(state, func() { ok(t, j.fleet.CancelTask(j.ctx, "ada", j.task.ID)) })
			j.moves()
			if i > sealed {
				j.ends(models.RelocationDone)
				return
			}
			if i == sealed {
				j.awaits("it is decided", over)
				r, err := j.relocation()
				ok(t, err)
				if r.State == models.RelocationDone {
					j.ends(models.RelocationDone)
					return
				}
			}
			r := j.ends(models.RelocationFailed)
			want(t, "reason", r.Reason, "It was cancelled.")
			want(t, "task", j.task.State, models.TaskCancelled)
		})
	}
}

// A move that waits behind nothing yet is put back by who cancels it.
func TestFleet_RelocateSite_CancelledBeforeItBegan(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.kill(j.control)
	j.moves()
	ok(t, j.fleet.CancelTask(j.ctx, "ada", j.task.ID))
	j.start(j.control)
	j.ends(models.RelocationFailed)
	want(t, "what the hosts did", len(j.road.done()), 0)
}

// Whatever fails before the switch, the site stays, and both servers are as before.
func TestFleet_RelocateSite_EveryFailureIsPutBack(t *testing.T) {
	t.Parallel()
	for _, what := range []string{
		"pack", "send first.tar.gz", "send first.json", "receive first.tar.gz", "receive first.json", "take in", "close", "send last.tar.gz", "send last.json",
		"receive last.tar.gz", "receive last.json", "catch up", "seal",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			j := newJourney(t)
			j.road.act = func(_ context.Context, at string) error {
				if at == what {
					return models.Errorf(models.Unavailable, "The disk is full.")
				}
				return nil
			}
			j.moves()
			r := j.ends(models.RelocationFailed)
			want(t, "reason", r.Reason, "The disk is full.")
			want(t, "task", j.task.State, models.TaskRecovered)
			want(t, "message", j.task.Message, "The disk is full. museum.example.org is served by web1 as before.")
			if n := j.road.count("web1 stay"); n != 1 {
				t.Errorf("the old server was put back %d times: %q", n, j.road.done())
			}
		})
	}
}

// A worker that says of another site's content that it is this one's gets nothing.
func TestFleet_RelocateSite_ForeignContentIsRefused(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.road.db = "/new/sites/999/db/site.sqlite"
	j.moves()
	r := j.ends(models.RelocationFailed)
	if !strings.Contains(r.Reason, "not the site's own") {
		t.Errorf("it says %q", r.Reason)
	}
}

// A server that does not come back while writes are refused costs some minutes of
// them, and no more.
func TestFleet_RelocateSite_TargetIsLostForGood(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	died := make(chan struct{})
	j.on(models.RelocationClosed, func() { j.fresh.now().dies(); close(died) })
	j.moves()
	<-died
	j.kill(j.fresh)
	j.clock.pass(6 * time.Minute)
	j.awaits("the old server takes writes again", func() bool { return j.road.gate(j.old.id) == "open" })
	j.awaits("the site is not on its way any more", func() bool {
		j.clock.pass(2 * time.Minute)
		return j.at(j.site.ID).State == models.SiteEnabled
	})
	j.start(j.fresh)
	r := j.ends(models.RelocationFailed)
	want(t, "reason", r.Reason, "Writes were refused for too long.")
	want(t, "what is left on the new server", j.road.gate(j.fresh.id), "gone")
}

// An old server that is lost once it refuses writes for good does not hold the site
// up. When it comes back it sends visitors on.
func TestFleet_RelocateSite_SourceIsLostAfterTheSeal(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	died := make(chan struct{})
	j.on(models.RelocationSealed, func() { j.old.now().dies(); close(died) })
	j.moves()
	<-died
	j.kill(j.old)
	j.awaits("the site is on its new server", func() bool { s := j.at(j.site.ID); return s.Server == "web2" && s.State == models.SiteEnabled })
	want(t, "the new server", j.road.gate(j.fresh.id), "open")
	if got := j.road.gate(j.old.id); got != "sealed" && got != "closed" {
		t.Errorf("the old server's gate is %s", got)
	}
	j.start(j.old)
	j.ends(models.RelocationDone)
}

// An old server that is lost while the new one takes the site in is waited for; a
// person may end that.
func TestFleet_RelocateSite_SourceIsLostBeforeIt(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	died := make(chan struct{})
	j.on(models.RelocationPlacing, func() { j.old.now().dies(); close(died) })
	j.moves()
	<-died
	j.kill(j.old)
	j.awaits("the old server's turn has come", func() bool {
		r, err := j.relocation()
		return err == nil && r.State == models.RelocationHanding
	})
	ok(t, j.fleet.CancelTask(j.ctx, "ada", j.task.ID))
	j.awaits("the new server is tidy", func() bool { return j.road.gate(j.fresh.id) == "gone" })
	j.start(j.old)
	r := j.ends(models.RelocationFailed)
	want(t, "reason", r.Reason, "It was cancelled.")
}

// After the switch the new server tries again; when it cannot, a person is called.
func TestFleet_RelocateSite_NewServerDoesNotOpen(t *testing.T) {
	t.Parallel()
	for _, failures := range []int{2, 9} {
		j := newJourney(t)
		left := atomic.Int64{}
		left.Store(int64(failures))
		j.road.act = func(_ context.Context, what string) error {
			if what == "open" && left.Add(-1) >= 0 {
				return models.Errorf(models.Unavailable, "nginx does not start.")
			}
			return nil
		}
		j.moves()
		if failures == 2 {
			j.ends(models.RelocationDone)
			continue
		}
		j.awaits("the site is broken", func() bool { return j.at(j.site.ID).State == models.SiteBroken })
		j.rests()
		task, err := j.Task(j.ctx, j.task.ID)
		ok(t, err)
		j.task = task
		site := j.at(j.site.ID)
		want(t, "where it is", site.Server+": "+site.Reason, "web2: nginx does not start.")
		want(t, "task", string(j.task.State)+": "+j.task.Message,
			"failed: A person must look at museum.example.org: it is on web2 now, which does not let visitors in. nginx does not start.")
		if got := j.road.gate(j.old.id); got == "open" {
			t.Error("the old server takes writes that nobody will see")
		}
	}
}

// What a site left on a server is removed a week later, and not before.
func TestFleet_TidyRelocations_AfterAWeek(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.moves()
	j.ends(models.RelocationDone)
	l := j.old.now()
	f := fleet.New(fleet.Config{
		Store: j.old.store, Server: j.old.id, Platforms: j.platforms, Logger: slog.New(slog.DiscardHandler), Now: j.clock.time,
		Hosting: fleet.Placed(&hosting{Relocating: at{j.road, l}}, j.platforms),
	})
	j.clock.pass(6 * 24 * time.Hour)
	ok(t, f.TidyRelocations(j.ctx))
	want(t, "left early", j.road.count("web1 leave"), 0)
	j.clock.pass(2 * 24 * time.Hour)
	ok(t, f.TidyRelocations(j.ctx))
	ok(t, f.TidyRelocations(j.ctx))
	want(t, "left", j.road.count("web1 leave"), 1)
	want(t, "gate", j.road.gate(j.old.id), "gone")
}

// A site can be rolled back after it came to another server, if what it was before can
// be had there.
func TestFleet_RollbackSite_AfterAMove(t *testing.T) {
	t.Parallel()
	onServer := func(name string) *models.Database {
		return &models.Database{Engine: models.EnginePostgres, Name: name, Server: 1, User: "hefring_1"}
	}
	for name, c := range map[string]struct {
		was, is *models.Database // nil: a file
		back    bool
	}{
		"a new file":              {nil, nil, false},
		"the same file":           {nil, nil, true},
		"a database on a server":  {onServer("a"), onServer("b"), true},
		"from a file to a server": {nil, onServer("b"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJourney(t)
			all := []*party{j.control, j.old, j.fresh}
			for _, p := range all {
				j.kill(p)
			}
			j.upgrade = func(ctx context.Context, m upgrade.Move, journal upgrade.Journal) upgrade.Outcome {
				if name == "the same file" || m.Upgrade.Kind == models.KindRollback {
					o := inCodeMode(ctx, m, journal)
					if m.Undoes != nil {
						o.Upgrade.NewDatabase = m.Undoes.OldDatabase
					}
					return o
				}
				o := succeed(ctx, m, journal)
				if c.is != nil {
					o.Upgrade.NewDatabase = *c.is
				}
				return o
			}
			if c.was != nil {
				ok(t, j.PlaceSite(j.ctx, j.site, j.site.PlatformID, *c.was))
			}
			server := models.DatabaseServer{Name: "Main", Engine: models.EnginePostgres, Host: "192.0.2.14", User: "sites", TLS: models.TLSOff, Prefix: "hefring"}
			ok(t, j.SaveDatabaseServer(j.ctx, "ada", &server))
			want(t, "its number", server.ID, 1)
			old := j.site.PlatformID
			j.sources.at(address).says("b2")
			list, _, err := j.Distributions(j.ctx, fleet.Filter{Limit: 1})
			ok(t, err)
			check, err := j.fleet.CheckNow(j.ctx, "ada", list[0].ID)
			ok(t, err)
			j.run(check.ID)
			j.run(j.pending(models.TaskBuild).ID)
			j.start(all...)
			j.rests()
			_, err = j.fleet.UpgradeToTarget(j.ctx, "ada", j.site.ID)
			ok(t, err)
			j.rests()
			j.site = j.at(j.site.ID)
			j.moves()
			j.ends(models.RelocationDone)

			plan, err := j.control.now().fleet.RollbackPlan(j.ctx, j.site.ID)
			if !c.back {
				wantCode(t, err, models.NotFound, "came to web2", "stayed on web1", "Restore a backup")
				return
			}
			ok(t, err)
			_, err = j.fleet.RollbackSite(j.ctx, "ada", j.site.ID, plan.Upgrade.ID)
			ok(t, err)
			j.rests()
			site := j.at(j.site.ID)
			want(t, "platform", site.PlatformID, old)
			want(t, "server", site.Server+" "+string(site.State), "web2 enabled")
			wanted := models.Database{Engine: models.EngineSQLite, Name: fmt.Sprintf("/new/sites/%d/db/site.sqlite", site.ID)}
			if c.was != nil {
				wanted = *c.was
			}
			want(t, "content", site.Database, wanted)
		})
	}
}

// What cannot be moved is said at once.
func TestFleet_RelocateSite_Refused(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	_, err := j.fleet.RelocateSite(j.ctx, "ada", j.site.ID, j.old.id)
	wantFields(t, err, "server")
	_, err = j.fleet.RelocateSite(j.ctx, "ada", j.site.ID, 999)
	wantFields(t, err, "server")
	ok(t, j.MoveSite(j.ctx, "ada", j.site, models.SiteUpgrading, ""))
	_, err = j.fleet.RelocateSite(j.ctx, "ada", j.site.ID, j.fresh.id)
	wantCode(t, err, models.Conflict, "upgrading")
	ok(t, j.MoveSite(j.ctx, "ada", j.at(j.site.ID), models.SiteEnabled, ""))
	j.clock.pass(time.Hour)
	_, err = j.fleet.RelocateSite(j.ctx, "ada", j.site.ID, j.fresh.id)
	wantCode(t, err, models.Unavailable, "not heard of")
}
