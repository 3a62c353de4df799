package fleet

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// This file is what the workers of the two servers do in a relocation.

// side is one server's part of a relocation.
type side struct {
	*Fleet

	task models.Task
	id   int64
	log  Log
}

func (f *Fleet) side(t models.Task, log Log) side { return side{f, t, t.Subject.ID, log} }

// now loads the relocation as it is.
func (s side) now(ctx context.Context) (models.Relocation, error) {
	r, err := s.store.Relocation(context.WithoutCancel(ctx), s.id)
	if err == nil && !r.State.Over() {
		err = r.Sound()
	}
	return r, passing(err)
}

// take takes the relocation on, as long as the task is ours.
func (s side) take(ctx context.Context, r models.Relocation, to models.RelocationState) error {
	err := s.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, s.task); err != nil {
			return errors.Join(ErrLost, err)
		}
		return tx.MoveRelocation(ctx, r, to)
	})
	return passing(err)
}

// failed gives the relocation up for what went wrong here, unless somebody else goes on with the task.
func (s side) failed(ctx context.Context, r models.Relocation, cause error) error {
	if handedOn(ctx) || errors.Is(cause, ErrLost) {
		return nil
	}
	why := models.Explain(cause)
	if errors.Is(context.Cause(ctx), ErrCancelled) {
		why = wasCancelled
	}
	return s.failRelocation(context.WithoutCancel(ctx), r, why)
}

// until waits for one of the states, and gives the relocation as it is then. It ends
// early with what stops the task.
func (s side) until(ctx context.Context, limit time.Duration, states ...models.RelocationState) (models.Relocation, error) {
	end := time.Now().Add(limit)
	for {
		r, err := s.now(ctx)
		if err != nil {
			return r, err
		}
		if slices.Contains(states, r.State) {
			return r, nil
		}
		switch {
		case r.State == models.RelocationFailed:
			return r, models.Errorf(models.Conflict, "%s", r.Reason)
		case time.Now().After(end):
			return r, models.Errorf(models.Unavailable, "The other side of the move was not heard of for %s.", limit)
		}
		select {
		case <-ctx.Done():
			return r, context.Cause(ctx)
		case <-time.After(s.cfg.Poll):
		}
	}
}

// address is where visitors of a site are answered on this server; "" when nobody
// said.
func (s side) address(ctx context.Context, site models.Site) string {
	if s.cfg.Server == 0 {
		return ""
	}
	server, err := s.store.Server(ctx, s.cfg.Server)
	if err != nil {
		return ""
	}
	return s.cfg.Hosting.Address(ctx, server.Address, site)
}

// runSend is the old server's first part: a copy of the site, which goes on serving.
func (f *Fleet) runSend(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	s := f.side(t, log)
	r, err := s.now(ctx)
	if err != nil || r.State != models.RelocationSending {
		return s.over(r, err)
	}
	if err := s.send(ctx, &r); err != nil {
		return "", "", errors.Join(err, s.failed(ctx, r, err))
	}
	return "A first copy of " + r.Site.URI + " is on its way", "", nil
}

// over ends a part that nobody waits for any more.
func (s side) over(r models.Relocation, err error) (string, models.TaskState, error) {
	if err != nil {
		return "", "", err
	}
	if r.State == models.RelocationFailed {
		return r.Reason, models.TaskCancelled, nil
	}
	return r.Site.URI + " is on its way", "", nil
}

func (s side) send(ctx context.Context, r *models.Relocation) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	p, err := s.store.Platform(ctx, r.Site.PlatformID)
	if err != nil {
		return passing(err)
	}
	all, err := s.store.Backups(ctx, r.SiteID, maxKept*10)
	if err != nil {
		return passing(err)
	}
	var ready []models.Backup
	for _, b := range all {
		if b.State == models.BackupReady {
			ready = append(ready, b)
		}
	}
	cargo, err := s.cfg.Hosting.PackSite(ctx, r.Site, p, ready, s.log)
	if err != nil {
		return err
	}
	s.log.Step("send")
	for _, b := range ready {
		if err := s.cfg.Carrier.Send(ctx, r.ID, backupName(b), b.Path); err != nil {
			return err
		}
	}
	if err := s.sendCargo(ctx, r.ID, cargo); err != nil {
		return err
	}
	r.First, r.Origin = cargo.Digest, s.address(ctx, r.Site)
	return s.take(ctx, *r, models.RelocationSent)
}

func backupName(b models.Backup) string { return fmt.Sprintf("backup-%d", b.ID) }

func (s side) sendCargo(ctx context.Context, id int64, cargo models.Cargo) error {
	for _, path := range []string{cargo.Archive, cargo.List} {
		if err := s.cfg.Carrier.Send(ctx, id, filepath.Base(path), path); err != nil {
			return err
		}
	}
	return nil
}

// runHandOver is the old server's second part, and what puts it back.
func (f *Fleet) runHandOver(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	s := f.side(t, log)
	r, err := s.now(ctx)
	if err != nil {
		return "", "", err
	}
	switch r.State {
	case models.RelocationHanding:
		err = s.handOver(ctx, r)
	case models.RelocationClosed, models.RelocationProven:
		err = models.Errorf(models.Unavailable, "The worker of the old server was lost while it handed over.")
	case models.RelocationSealed:
		err = s.cfg.Hosting.KeepClosed(ctx, r.Site, s.sealed)
	default:
	}
	if handedOn(ctx) {
		return "", "", context.Cause(ctx)
	}
	if r, err = s.decided(ctx, err); err != nil {
		return "", "", err
	}
	if r.State == models.RelocationFailed {
		return s.stayHere(context.WithoutCancel(ctx), r)
	}
	return s.sendOn(context.WithoutCancel(ctx))
}

// decided gives the relocation as it was decided in the end: failed or switched. After
// something failed here it is given up, unless others were quicker.
func (s side) decided(ctx context.Context, cause error) (models.Relocation, error) {
	lasting := context.WithoutCancel(ctx)
	if cause == nil {
		cause = models.Errorf(models.Unavailable, "The site was not switched.")
	}
	for {
		if errors.Is(cause, ErrLost) || handedOn(ctx) {
			return models.Relocation{}, errors.Join(cause, context.Cause(ctx))
		}
		r, err := s.now(lasting)
		switch {
		case err == nil && (r.State == models.RelocationFailed || r.State.Switched()):
			return r, nil
		case models.CodeOf(err) == models.Conflict: // the row is not sound
			cause = err
		case err != nil:
			return r, err
		}
		if err := s.failed(ctx, r, cause); err != nil {
			return r, passing(err)
		}
	}
}

func (s side) handOver(ctx context.Context, r models.Relocation) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	p, err := s.store.Platform(ctx, r.Site.PlatformID)
	if err != nil {
		return passing(err)
	}
	began := s.cfg.Now()
	return s.cfg.Hosting.HandOver(ctx, r.Site, p, upgrade.HandOver{
		Closed: func(ctx context.Context, cargo models.Cargo) error {
			if err := s.sendCargo(ctx, r.ID, cargo); err != nil {
				return err
			}
			r.Second, r.ClosedAt = cargo.Digest, &began
			return s.take(ctx, r, models.RelocationClosed)
		},
		Proven: func(ctx context.Context) error {
			_, err := s.until(ctx, windowTime, models.RelocationProven)
			return err
		},
		Sealed: s.sealed,
	}, s.log)
}

// sealed says that nobody writes any more, waits for the decision, and gives it. When
// there is none, it is decided here.
func (s side) sealed(ctx context.Context) (bool, error) {
	r, err := s.now(ctx)
	if err != nil {
		return false, err
	}
	if r.State == models.RelocationProven {
		if err := s.take(ctx, r, models.RelocationSealed); err != nil && models.CodeOf(err) != models.Conflict {
			return false, err
		}
	}
	r, err = s.until(ctx, sealedTime, models.RelocationSwitched, models.RelocationOpen, models.RelocationDone)
	if err == nil {
		return true, nil
	}
	if models.CodeOf(err) == "" || errors.Is(err, ErrLost) {
		return false, err // it cannot be told now
	}
	if err := s.failRelocation(ctx, r, models.Explain(err)); err != nil {
		return false, passing(err)
	}
	r, err = s.now(ctx)
	return r.State.Switched(), err
}

// stayHere lets writes through again, unless the site left after all with another move.
func (s side) stayHere(ctx context.Context, r models.Relocation) (string, models.TaskState, error) {
	err := s.cfg.Hosting.StayHere(ctx, r.Site, func(ctx context.Context) (bool, error) { return s.isHere(ctx, r.SiteID) })
	if err != nil {
		return "", "", err
	}
	return r.Site.URI + " stays here", models.TaskCancelled, nil
}

// sendOn sends visitors on once the new server lets them in.
func (s side) sendOn(ctx context.Context) (string, models.TaskState, error) {
	r, err := s.until(ctx, arrivalTime, models.RelocationOpen, models.RelocationDone)
	if err != nil {
		return "", "", err
	}
	if elsewhere, err := s.isElsewhere(ctx, r); err != nil || !elsewhere {
		return "", "", passing(err)
	}
	if err := s.cfg.Hosting.SendOn(ctx, r.Site, r.Target, s.log); err != nil {
		return "", "", err
	}
	return r.Site.URI + " is on its new server; what is left here is removed in a week", "", nil
}

// runReceive is the new server's part.
func (f *Fleet) runReceive(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	s := f.side(t, log)
	r, err := s.now(ctx)
	if err != nil {
		return "", "", err
	}
	r.Site = s.moved(r)
	switch r.State {
	case models.RelocationPlacing:
		err = s.takeIn(ctx, &r)
		if _, waits := errors.AsType[Waiting](err); waits {
			return "", "", err
		}
	case models.RelocationClosed:
		err = models.Errorf(models.Unavailable, "The worker of the new server was lost while it took in what changed.")
	default:
	}
	if err == nil {
		err = s.catchUp(ctx)
	}
	if handedOn(ctx) {
		return "", "", context.Cause(ctx)
	}
	if r, err = s.decided(ctx, err); err != nil {
		return "", "", err
	}
	lasting := context.WithoutCancel(ctx)
	switch r.State {
	case models.RelocationFailed:
		return s.clear(lasting, r)
	case models.RelocationSwitched:
		return s.open(lasting, r)
	default:
		return r.Site.URI + " is here", "", nil
	}
}

// moved is the site as it is on its new server.
func (s side) moved(r models.Relocation) models.Site {
	site := r.Site
	site.ServerID = r.ToID
	if r.Database != (models.Database{}) {
		site.Database = r.Database
	}
	return site
}

// takeIn makes the site from its first copy.
func (s side) takeIn(ctx context.Context, r *models.Relocation) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	p, err := s.store.Platform(ctx, r.Site.PlatformID)
	if err != nil {
		return passing(err)
	}
	if err := s.keyed(ctx, s.task, r.Site); err != nil {
		return err
	}
	if err := s.brought(ctx, s.task, p); err != nil {
		return err
	}
	if err := s.store.SweepRelocations(ctx, r.SiteID, s.cfg.Server); err != nil {
		return passing(err) // what is left of an earlier stay is replaced
	}
	s.log.Step("receive")
	cargo, err := s.receiveCargo(ctx, *r, "first", r.First)
	if err != nil {
		return err
	}
	backups, err := s.cfg.Hosting.CargoBackups(r.SiteID, cargo)
	if err != nil {
		return err
	}
	for _, b := range backups {
		if err := s.cfg.Carrier.Receive(ctx, r.ID, backupName(b), b.Path); err != nil {
			return err
		}
	}
	if r.Database, err = s.cfg.Hosting.TakeIn(ctx, r.Site, p, cargo, r.Origin, s.log); err != nil {
		return err
	}
	r.Backups, r.Target = s.cfg.Hosting.BackupFolder(r.SiteID), s.address(ctx, r.Site)
	return s.take(ctx, *r, models.RelocationReady)
}

func (s side) receiveCargo(ctx context.Context, r models.Relocation, which, digest string) (models.Cargo, error) {
	dir, err := s.cfg.Hosting.CargoFolder(r.SiteID)
	if err != nil {
		return models.Cargo{}, err
	}
	cargo := models.Cargo{Archive: filepath.Join(dir, which+".tar.gz"), List: filepath.Join(dir, which+".json"), Digest: digest}
	for _, path := range []string{cargo.Archive, cargo.List} {
		if err := s.cfg.Carrier.Receive(ctx, r.ID, filepath.Base(path), path); err != nil {
			return cargo, err
		}
	}
	return cargo, nil
}

// catchUp brings in what changed, once the old server refuses writes, and waits for
// the switch.
func (s side) catchUp(ctx context.Context) error {
	r, err := s.until(ctx, arrivalTime, models.RelocationClosed, models.RelocationProven, models.RelocationSealed,
		models.RelocationSwitched, models.RelocationOpen, models.RelocationDone)
	if err != nil || r.State.Switched() {
		return err
	}
	r.Site = s.moved(r)
	if r.State == models.RelocationClosed {
		p, err := s.store.Platform(ctx, r.Site.PlatformID)
		if err != nil {
			return passing(err)
		}
		cargo, err := s.receiveCargo(ctx, r, "last", r.Second)
		if err != nil {
			return err
		}
		if err := s.cfg.Hosting.CatchUp(ctx, r.Site, p, cargo, s.log); err != nil {
			return err
		}
		if err := s.take(ctx, r, models.RelocationProven); err != nil {
			return err
		}
	}
	_, err = s.until(ctx, windowTime+sealedTime, models.RelocationSwitched, models.RelocationOpen, models.RelocationDone)
	return err
}

// open lets visitors in.
func (s side) open(ctx context.Context, r models.Relocation) (string, models.TaskState, error) {
	if err := s.cfg.Hosting.OpenHere(ctx, s.moved(r), s.log); err != nil {
		return "", "", err
	}
	now := s.cfg.Now()
	r.OpenedAt = &now
	if err := s.take(ctx, r, models.RelocationOpen); err != nil && models.CodeOf(err) != models.Conflict {
		return "", "", err
	}
	return r.Site.URI + " serves visitors here", "", nil
}

// clear removes what a relocation that failed left here.
func (s side) clear(ctx context.Context, r models.Relocation) (string, models.TaskState, error) {
	if err := s.leave(ctx, r); err != nil {
		return "", "", err
	}
	return r.Reason, models.TaskCancelled, nil
}
