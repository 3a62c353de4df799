package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"hefring/models"
)

// A site goes to another server in three tasks beside the one that people see. That
// one is the control plane's: it takes the relocation from step to step and switches.
// The others are done by the workers of the two servers, who know nothing of each
// other but what stands in the relocation's row. Its state is only changed by
// guarded updates, so that of two who decide at once one is refused.

// How long is waited, and how often it is looked, when a relocation is at somebody
// else.
const (
	relocationPoll = 200 * time.Millisecond
	relocationWait = time.Second
	// windowTime bounds how long writes are refused before a move is given up.
	windowTime = 5 * time.Minute
	// sealedTime bounds how long the old server waits for the control plane's decision.
	sealedTime = time.Minute
	// arrivalTime bounds how long the new server waits for the old one to hand over.
	arrivalTime = time.Hour
	// settleTime bounds how long the end of a failed move waits until both are tidy.
	settleTime = time.Minute
	maxOpening = 3 // tries to let visitors in
)

// RelocateSite moves a site to another server; 0 is the host of the control plane.
func (f *Fleet) RelocateSite(ctx context.Context, by string, siteID, serverID int64) (models.Task, error) {
	return f.relocate(ctx, models.Task{Actor: by}, siteID, serverID)
}

// relocate queues a move; the task says who asked for it and what it is a part of.
func (f *Fleet) relocate(ctx context.Context, task models.Task, siteID, serverID int64) (models.Task, error) {
	site, err := f.installed(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	to, err := f.serverFor(ctx, serverID)
	if err != nil {
		return models.Task{}, err
	}
	if err := f.mayRelocate(ctx, site, to); err != nil {
		return models.Task{}, err
	}
	task.Kind, task.Subject, task.Title = models.TaskRelocate, siteSubject(siteID), "Move "+site.URI+" to "+to.Name
	task.Args = models.Settings{"server": to.Name}
	r := models.Relocation{SiteID: siteID, FromID: site.ServerID, Site: site}
	if to.ID != 0 {
		r.ToID = &to.ID
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.CreateTask(ctx, &task); err != nil {
			return err
		}
		r.TaskID = task.ID
		return tx.CreateRelocation(ctx, &r)
	})
	if err == nil {
		f.shareNow(ctx)
	}
	return f.orRunning(ctx, task, err)
}

// serverFor gives a server by its number; that of the control plane's host has none.
func (f *Fleet) serverFor(ctx context.Context, id int64) (models.Server, error) {
	if id == 0 {
		return models.Server{Name: LocalServer, State: models.ServerJoined}, nil
	}
	s, err := f.store.Server(ctx, id)
	if models.CodeOf(err) == models.NotFound || err == nil && s.State == models.ServerRemoved {
		return s, models.InvalidField("server", "Choose one of the servers.")
	}
	return s, err
}

// mayRelocate refuses what cannot be done.
func (f *Fleet) mayRelocate(ctx context.Context, site models.Site, to models.Server) error {
	from, err := f.serverFor(ctx, site.Home())
	if err != nil {
		return err
	}
	switch {
	case from.ID == to.ID:
		return models.InvalidField("server", site.URI+" is on "+to.Name+" already.")
	case site.State != models.SiteEnabled:
		return models.Errorf(models.Conflict, "%s is %s. Only an enabled site can be moved to another server.", site.URI, site.State)
	}
	return f.canTravel(ctx, site, from, to)
}

// canTravel refuses a way between servers that one of them, or the site's database, does
// not have.
func (f *Fleet) canTravel(ctx context.Context, site models.Site, from, to models.Server) error {
	for _, s := range []models.Server{from, to} {
		if s.ID != 0 && !s.Alive(f.cfg.Now()) {
			return models.Errorf(models.Unavailable, "The worker of %s was not heard of lately. Start it there, then move the site.", s.Name)
		}
	}
	return f.reachesDatabase(ctx, site)
}

// reachesDatabase refuses a site whose database is on a host of which every server has
// its own. Whether the new server reaches another one is tried there.
func (f *Fleet) reachesDatabase(ctx context.Context, site models.Site) error {
	if site.Database.Server == 0 {
		return nil // a file, which goes with it
	}
	db, err := f.store.DatabaseServer(ctx, site.Database.Server)
	if err != nil {
		return err
	}
	ip := net.ParseIP(db.Host)
	if !strings.HasPrefix(db.Host, "/") && db.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil
	}
	return models.Errorf(models.Conflict,
		"The content of %s is on the database server %s, at %s: an address that means another machine on each server. Give %s an address that all servers reach, then move the site.", site.URI, db.Name, db.Host, db.Name)
}

// runRelocate is the task that people see.
func (f *Fleet) runRelocate(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	lasting := context.WithoutCancel(ctx)
	for {
		r, err := f.store.RelocationOfTask(lasting, t.ID)
		if err != nil {
			return "", "", passing(err)
		}
		if handedOn(ctx) {
			return "", "", context.Cause(ctx)
		}
		if f.stopped(ctx, t) && models.RelocationTransitions().Allows(r.State, models.RelocationFailed) && r.State != models.RelocationSealed {
			if err := f.failRelocation(lasting, r, wasCancelled); err != nil {
				return "", "", passing(err)
			}
			continue
		}
		if r.State == models.RelocationDone {
			return f.relocated(lasting, r)
		}
		wait, err := f.advance(lasting, t, r, log)
		switch {
		case models.CodeOf(err) == models.Conflict && !errors.Is(err, errRelocated): // somebody was quicker: look again
			wait = f.cfg.Poll
		case errors.Is(err, errRelocated):
			return f.notRelocated(lasting, r)
		case err != nil:
			return "", "", passing(err)
		}
		if wait >= relocationWait {
			return "", "", Waiting{For: wait}
		}
		<-time.After(wait)
	}
}

const wasCancelled = "It was cancelled."

// errRelocated says that everything is put back.
var errRelocated = models.Errorf(models.Conflict, "the move has ended")

// stopped tells whether a person stopped the task.
func (f *Fleet) stopped(ctx context.Context, t models.Task) bool {
	return t.Cancel || errors.Is(context.Cause(ctx), ErrCancelled)
}

// passing makes what no person can do anything about a reason to take the task up
// again: the database may be away for a moment.
func passing(err error) error {
	if err != nil && models.CodeOf(err) == "" {
		return errors.Join(ErrLost, err)
	}
	return err
}

// failRelocation ends a relocation before its switch, if nobody was quicker.
func (f *Fleet) failRelocation(ctx context.Context, r models.Relocation, why string) error {
	r.Reason = why
	err := f.store.MoveRelocation(ctx, r, models.RelocationFailed)
	if models.CodeOf(err) == models.Conflict {
		return nil
	}
	return err
}

// advance does the control plane's part of a step, and says how long to wait for the
// next.
func (f *Fleet) advance(ctx context.Context, t models.Task, r models.Relocation, log Log) (time.Duration, error) {
	switch r.State {
	case models.RelocationQueued:
		return 0, f.beginRelocation(ctx, t, r)
	case models.RelocationSending:
		return relocationWait, f.watchSides(ctx, t, r, models.TaskSend)
	case models.RelocationSent:
		log.Printf(models.LevelInfo, "The first copy is here; the new server takes it in")
		return 0, f.nextSide(ctx, t, r, models.RelocationPlacing, models.TaskReceive)
	case models.RelocationPlacing:
		return relocationWait, f.watchSides(ctx, t, r, models.TaskReceive)
	case models.RelocationReady:
		log.Printf(models.LevelInfo, "%s answers on its new server, which visitors do not see yet. The old one hands over", r.Site.URI)
		return 0, f.nextSide(ctx, t, r, models.RelocationHanding, models.TaskHandOver)
	case models.RelocationHanding:
		return relocationWait, f.watchSides(ctx, t, r, models.TaskHandOver, models.TaskReceive)
	case models.RelocationClosed, models.RelocationProven:
		if r.ClosedAt != nil && f.cfg.Now().Sub(*r.ClosedAt) > windowTime {
			return 0, f.failRelocation(ctx, r, "Writes were refused for too long.")
		}
		return f.cfg.Poll, f.watchSides(ctx, t, r, models.TaskHandOver, models.TaskReceive)
	case models.RelocationSealed:
		if err := r.Sound(); err != nil {
			return 0, f.failRelocation(ctx, r, models.Explain(err))
		}
		log.Printf(models.LevelInfo, "Switching")
		return 0, f.switchServer(ctx, t, r)
	case models.RelocationSwitched:
		return f.opening(ctx, t, r)
	case models.RelocationOpen:
		return 0, f.finishRelocation(ctx, t, r)
	case models.RelocationFailed:
		return relocationWait, f.settleRelocation(ctx, t, r)
	default:
		return relocationWait, nil
	}
}

// beginRelocation marks the site and has its old server send it.
func (f *Fleet) beginRelocation(ctx context.Context, t models.Task, r models.Relocation) error {
	err := f.store.InTx(ctx, func(tx Tx) error {
		site, err := tx.Site(ctx, r.SiteID)
		if err != nil {
			return err
		}
		if site.State != models.SiteEnabled || site.PlatformID != r.Site.PlatformID || site.Home() != r.Site.Home() {
			return models.Errorf(models.Invalid, "%s is not as it was when this was asked for.", site.URI)
		}
		if err := tx.MoveSite(ctx, t.Actor, site, models.SiteUpgrading, ""); err != nil {
			return err
		}
		if err := tx.MoveRelocation(ctx, r, models.RelocationSending); err != nil {
			return err
		}
		return f.startSide(ctx, tx, t, r, models.TaskSend)
	})
	if models.CodeOf(err) == models.Invalid {
		return f.failRelocation(ctx, r, models.Explain(err))
	}
	return err
}

// nextSide takes the relocation on and gives it to one of the servers.
func (f *Fleet) nextSide(ctx context.Context, t models.Task, r models.Relocation, to models.RelocationState, kind models.TaskKind) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		if err := tx.MoveRelocation(ctx, r, to); err != nil {
			return err
		}
		return f.startSide(ctx, tx, t, r, kind)
	})
}

// startSide queues a server's part.
func (f *Fleet) startSide(ctx context.Context, tx Tx, t models.Task, r models.Relocation, kind models.TaskKind) error {
	subject, verb, server := models.Subject{Kind: models.SubjectDeparture, ID: r.ID}, "Send ", r.Site.Server
	switch kind {
	case models.TaskReceive:
		subject.Kind, verb, server = models.SubjectArrival, "Take in ", t.Args["server"]
	case models.TaskHandOver:
		verb = "Hand over "
	default:
	}
	title := verb + r.Site.URI
	if server != "" { // of a move that was asked for by an older version it is not known
		title += ", on " + server
	}
	return tx.CreateTask(ctx, &models.Task{Kind: kind, Subject: subject, Title: title, Actor: t.Actor, ParentID: &t.ID})
}

// watchSides gives the relocation up when the part that it waits for has ended without
// taking it on.
func (f *Fleet) watchSides(ctx context.Context, t models.Task, r models.Relocation, kinds ...models.TaskKind) error {
	children, err := f.store.Children(ctx, t.ID)
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		last := lastOf(children, kind)
		if last.ID == 0 || !last.State.Over() {
			continue
		}
		why := fallback(last.Message, last.Title+" "+string(last.State)+".")
		if last.State == models.TaskCancelled {
			why = wasCancelled
		}
		// It may have ended because it took the relocation on just now: then this is refused.
		if err := f.failRelocation(ctx, r, why); err != nil {
			return err
		}
	}
	return nil
}

func fallback(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func lastOf(children []models.Task, kind models.TaskKind) (last models.Task) {
	for _, c := range children {
		if c.Kind == kind {
			last = c
		}
	}
	return last
}

// switchServer is the point of no return: one transaction.
func (f *Fleet) switchServer(ctx context.Context, t models.Task, r models.Relocation) error {
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		if err := tx.MoveRelocation(ctx, r, models.RelocationSwitched); err != nil {
			return err
		}
		if err := tx.SwitchServer(ctx, t.Actor, r); err != nil {
			return err
		}
		return f.keepWayBack(ctx, tx, r)
	})
	return err
}

// keepWayBack notes what the site can still be rolled back to. Older content stays
// where it is on a database server. In a file it stays behind with the old server,
// unless it is the very content that the site has, which went along.
func (f *Fleet) keepWayBack(ctx context.Context, tx Tx, r models.Relocation) error {
	kept, err := tx.KeptUpgrades(ctx, r.SiteID)
	if err != nil {
		return err
	}
	now := f.cfg.Now()
	for _, u := range kept {
		switch {
		case u.OldDatabase.Server != 0:
			continue
		case u.OldDatabase == u.NewDatabase && u.NewDatabase == r.Site.Database:
			u.OldDatabase, u.NewDatabase = r.Database, r.Database
		default:
			u.DroppedOldAt = &now
		}
		if err := tx.SaveUpgrade(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// opening waits until the new server lets visitors in, and has it try again.
func (f *Fleet) opening(ctx context.Context, t models.Task, r models.Relocation) (time.Duration, error) {
	children, err := f.store.Children(ctx, t.ID)
	if err != nil {
		return 0, err
	}
	last := lastOf(children, models.TaskReceive)
	if last.ID != 0 && !last.State.Over() {
		if f.cfg.Now().Sub(*r.ClosedAt) < windowTime {
			return f.cfg.Poll, nil
		}
		return relocationWait, nil
	}
	tries := 0
	for _, c := range children {
		if c.Kind == models.TaskReceive {
			tries++
		}
	}
	if tries > maxOpening {
		r.Reason = fallback(last.Message, "Its new server does not let visitors in.")
		return 0, f.store.MoveRelocation(ctx, r, models.RelocationOpen)
	}
	return relocationWait, f.startSide(ctx, f.store, t, r, models.TaskReceive)
}

// finishRelocation records that the site is at home on its new server.
func (f *Fleet) finishRelocation(ctx context.Context, t models.Task, r models.Relocation) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		site, err := tx.Site(ctx, r.SiteID)
		if err != nil {
			return err
		}
		to, why := models.SiteEnabled, ""
		if r.Reason != "" {
			to, why = models.SiteBroken, r.Reason
		}
		if err := tx.MoveSite(ctx, t.Actor, site, to, why); err != nil {
			return err
		}
		return tx.MoveRelocation(ctx, r, models.RelocationDone)
	})
}

// relocated says how a relocation ended that took place.
func (f *Fleet) relocated(ctx context.Context, r models.Relocation) (string, models.TaskState, error) {
	f.dropCarried(ctx, r.ID)
	site, err := f.store.Site(ctx, r.SiteID)
	if err != nil {
		return "", "", passing(err)
	}
	if r.Reason != "" {
		return fmt.Sprintf("A person must look at %s: it is on %s now, which does not let visitors in. %s", site.URI, site.Server, r.Reason), models.TaskFailed, nil
	}
	return fmt.Sprintf("%s is on %s. Writes were paused for %s.%s", site.URI, site.Server, seconds(r.ReadOnly()), pointing(r)), "", nil
}

// pointing says what is left to people after a relocation.
func pointing(r models.Relocation) string {
	to, err := url.Parse(r.Target)
	if err != nil || to.Hostname() == "" {
		return ""
	}
	return fmt.Sprintf(" Point its name to %s within a week; until then %s passes visitors on.", to.Hostname(), r.Site.Server)
}

// settleRelocation ends a relocation that failed, once both servers are as before.
func (f *Fleet) settleRelocation(ctx context.Context, t models.Task, r models.Relocation) error {
	children, err := f.store.Children(ctx, t.ID)
	if err != nil {
		return err
	}
	sent, handed := lastOf(children, models.TaskSend), lastOf(children, models.TaskHandOver)
	if sent.ID != 0 && sent.State.Over() && handed.ID == 0 { // the old server removes its copy
		return f.startSide(ctx, f.store, t, r, models.TaskHandOver)
	}
	late := r.EndedAt != nil && f.cfg.Now().Sub(*r.EndedAt) > settleTime
	for _, c := range children {
		if !c.State.Over() && !late {
			return nil
		}
	}
	site, err := f.store.Site(ctx, r.SiteID)
	if err != nil {
		return err
	}
	if site.State == models.SiteUpgrading {
		if err := f.store.MoveSite(ctx, t.Actor, site, models.SiteEnabled, ""); err != nil {
			return err
		}
	}
	return errRelocated
}

// notRelocated says how a relocation ended that did not take place.
func (f *Fleet) notRelocated(ctx context.Context, r models.Relocation) (string, models.TaskState, error) {
	f.dropCarried(ctx, r.ID)
	message := fmt.Sprintf("%s %s is served by %s as before.", strings.TrimSuffix(r.Reason, ".")+".", r.Site.URI, r.Site.Server)
	if r.Reason == wasCancelled {
		return message, models.TaskCancelled, nil
	}
	return message, models.TaskRecovered, nil
}

func (f *Fleet) dropCarried(ctx context.Context, id int64) {
	if f.cfg.Carried == nil {
		return
	}
	if err := f.cfg.Carried.Drop(id); err != nil {
		f.logger.WarnContext(ctx, "remove what was on its way", slog.Any("error", err))
	}
}

// MayCarry fails unless a site is on its way from a server, or with arriving to it.
func (f *Fleet) MayCarry(ctx context.Context, s models.Server, relocationID int64, arriving bool) error {
	r, err := f.store.Relocation(ctx, relocationID)
	if err != nil && models.CodeOf(err) != models.NotFound {
		return err
	}
	side := r.FromID
	if arriving {
		side = r.ToID
	}
	if err != nil || side == nil || *side != s.ID || r.State.Over() || r.State.Switched() {
		return models.Errorf(models.NotFound, "No site %d is on its way there.", relocationID)
	}
	return nil
}

// TidyRelocations removes what sites left on this server that are on another one since
// a week, and on the control plane's host what nothing is on its way with.
func (f *Fleet) TidyRelocations(ctx context.Context) error {
	return errors.Join(f.sweepLeft(ctx), f.sweepCarried(ctx))
}

func (f *Fleet) sweepLeft(ctx context.Context) error {
	left, err := f.store.LeftRelocations(ctx, f.cfg.Server, f.cfg.Now().Add(-keepOld), 100)
	if err != nil {
		return err
	}
	var failed []error
	for _, r := range left {
		if err := f.leave(ctx, r); err != nil {
			failed = append(failed, fmt.Errorf("remove what %s left: %w", r.Site.URI, err))
			continue
		}
		if err := f.store.SweepRelocations(ctx, r.SiteID, f.cfg.Server); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// leave removes what this server has of a site that is on another one.
func (f *Fleet) leave(ctx context.Context, r models.Relocation) error {
	list, err := f.store.PlatformsIn(ctx, models.PlatformReady, models.PlatformFailed)
	if err != nil {
		return err
	}
	return f.cfg.Hosting.Leave(ctx, r.Site, list, func(ctx context.Context) (bool, error) { return f.isElsewhere(ctx, r) })
}

// isElsewhere tells whether a site is on another server, and not on its way here.
func (f *Fleet) isElsewhere(ctx context.Context, r models.Relocation) (bool, error) {
	here, err := f.isHere(ctx, r.SiteID)
	if err != nil || here {
		return false, err
	}
	coming, err := f.store.RelocationsTo(ctx, r.SiteID, f.cfg.Server)
	return len(coming) == 0, err
}

// isHere tells whether a site is on this server. A worker does not see others.
func (f *Fleet) isHere(ctx context.Context, siteID int64) (bool, error) {
	site, err := f.store.Site(ctx, siteID)
	if models.CodeOf(err) == models.NotFound {
		return false, nil
	}
	return err == nil && f.here(site) && site.State != models.SiteDeleted, err
}

func (f *Fleet) sweepCarried(ctx context.Context) error {
	if f.cfg.Carried == nil { // the control plane's host alone has some
		return nil
	}
	ids, err := f.cfg.Carried.Numbers()
	if err != nil {
		return err
	}
	for _, id := range ids {
		r, err := f.store.Relocation(ctx, id)
		if err != nil && models.CodeOf(err) != models.NotFound {
			return err
		}
		if err == nil && !r.State.Over() {
			continue
		}
		if err := f.cfg.Carried.Drop(id); err != nil {
			return err
		}
	}
	return nil
}
