package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"hefring/models"
)

// BackupSite has a site backed up. keep holds the backup until somebody deletes
// it.
func (f *Fleet) BackupSite(ctx context.Context, by string, siteID int64, note string, keep bool) (models.Task, error) {
	site, err := f.installed(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	note = strings.TrimSpace(note)
	if len(note) > 500 {
		return models.Task{}, models.InvalidField("note", "Use at most 500 characters.")
	}
	return f.backUp(ctx, by, site, models.Backup{Purpose: models.BackupManual, Note: note, Keep: keep})
}

// installed gives a site that has content.
func (f *Fleet) installed(ctx context.Context, siteID int64) (models.Site, error) {
	site, err := f.store.Site(ctx, siteID)
	if err == nil && site.Database == (models.Database{}) {
		err = models.Errorf(models.Conflict, "%s is not installed yet.", site.URI)
	}
	if err == nil && (site.State == models.SiteDeleting || site.State == models.SiteDeleted) {
		err = models.Errorf(models.Conflict, "%s is %s.", site.URI, site.State)
	}
	return site, err
}

func (f *Fleet) backUp(ctx context.Context, by string, site models.Site, b models.Backup) (models.Task, error) {
	task := models.Task{Kind: models.TaskBackup, Subject: siteSubject(site.ID), Title: "Back up " + site.URI, Actor: by}
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.CreateTask(ctx, &task); err != nil {
			return err
		}
		b.TaskID = task.ID
		return tx.CreateBackup(ctx, f.backupOf(site, &b))
	})
	return f.orRunning(ctx, task, err)
}

func (f *Fleet) backupOf(site models.Site, b *models.Backup) *models.Backup {
	b.SiteID, b.URI, b.PlatformID = site.ID, site.URI, site.PlatformID
	return b
}

// orRunning gives the task that works on the subject already, if that is why
// another could not be made.
func (f *Fleet) orRunning(ctx context.Context, t models.Task, err error) (models.Task, error) {
	if models.CodeOf(err) != models.Conflict {
		return t, err
	}
	if running, lookup := f.store.RunningTask(ctx, t.Subject); lookup == nil {
		return running, err
	}
	return t, err
}

// RunBackup is the task that backs a site up.
func (f *Fleet) RunBackup(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	lasting := context.WithoutCancel(ctx) // a cancelled backup must still be recorded as such
	b, err := f.store.BackupOfTask(lasting, t.ID)
	if err != nil {
		return "", "", err
	}
	switch b.State { // an end was recorded, and then the worker died
	case models.BackupReady:
		return backupMessage(b), "", nil
	case models.BackupFailed, models.BackupDeleted:
		return b.Reason, models.TaskFailed, nil
	case models.BackupMaking:
	}
	site, err := f.store.Site(lasting, b.SiteID)
	if err != nil {
		return "", "", err
	}
	return f.makeBackup(ctx, t, site, b, log)
}

func backupMessage(b models.Backup) string {
	return fmt.Sprintf("%s is backed up: %d tables, %d files, %s", b.URI, b.Tables, b.Files, bytes(b.Bytes))
}

// bytes says a size as people do.
func bytes(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// makeBackup writes a backup and records how that ended.
func (f *Fleet) makeBackup(ctx context.Context, t models.Task, site models.Site, b models.Backup, log Log) (string, models.TaskState, error) {
	lasting := context.WithoutCancel(ctx)
	p, err := f.store.Platform(lasting, site.PlatformID)
	if err != nil {
		return "", "", err
	}
	b.PlatformID = p.ID
	made, cause := f.cfg.Hosting.Backup(ctx, site, p, b, log)
	if cause != nil && handedOn(ctx) {
		return "", "", context.Cause(ctx)
	}
	to, state := models.BackupReady, models.TaskState("")
	if cause != nil {
		made, to, state = b, models.BackupFailed, models.TaskFailed
		made.Reason = models.Explain(cause)
		if errors.Is(context.Cause(ctx), ErrCancelled) {
			made.Reason, state = "The backup was cancelled.", models.TaskCancelled
		}
	}
	err = f.store.InTx(lasting, func(tx Tx) error {
		if err := tx.HoldsTask(lasting, t); err != nil {
			return err
		}
		return tx.MoveBackup(lasting, t.Actor, made, to)
	})
	switch {
	case err != nil:
		return "", "", errors.Join(cause, err)
	case cause != nil:
		return made.Reason, state, cause
	}
	return backupMessage(made), "", nil
}

// KeepBackup holds a backup from retention, or lets retention have it.
func (f *Fleet) KeepBackup(ctx context.Context, by string, id int64, keep bool) error {
	return f.store.KeepBackup(ctx, by, id, keep)
}

// DeleteBackup removes a backup that no work needs.
func (f *Fleet) DeleteBackup(ctx context.Context, by string, id int64) error {
	b, err := f.droppable(ctx, id)
	if err != nil || b.State == models.BackupDeleted {
		return err
	}
	site, err := f.store.Site(ctx, b.SiteID)
	if err != nil {
		return err
	}
	if !f.here(site) {
		return f.askDrop(ctx, by, site, b)
	}
	return f.dropBackup(ctx, by, b)
}

// droppable gives a backup that no work needs, or that is gone.
func (f *Fleet) droppable(ctx context.Context, id int64) (models.Backup, error) {
	b, err := f.store.Backup(ctx, id)
	if err != nil || b.State == models.BackupDeleted {
		return b, err
	}
	if b.State == models.BackupMaking {
		return b, models.Errorf(models.Conflict, "This backup is being made. Cancel its task, or wait until it is ready.")
	}
	if running, err := f.store.RunningTask(ctx, siteSubject(b.SiteID)); err == nil {
		return b, models.Errorf(models.Conflict, "%s is being worked on (%s), which may need its backups. Wait until that has ended.", b.URI, running.Title)
	}
	return b, nil
}

// dropBackup removes the file first: a row without a file can be dropped again, a
// file without a row would stay for ever.
func (f *Fleet) dropBackup(ctx context.Context, by string, b models.Backup) error {
	if err := f.cfg.Hosting.DropBackup(ctx, b); err != nil {
		return fmt.Errorf("remove backup %d of %s: %w", b.ID, b.URI, err)
	}
	return f.store.MoveBackup(ctx, by, b, models.BackupDeleted)
}

// pruneBackups removes scheduled backups beyond the number that their site
// keeps, and what failed ones may have left.
func (f *Fleet) pruneBackups(ctx context.Context) error {
	spent, err := f.store.SpentBackups(ctx, f.cfg.Server, 200)
	if err != nil {
		return err
	}
	var failed []error
	for _, b := range spent {
		if err := f.dropBackup(ctx, ActorSystem, b); err != nil && models.CodeOf(err) != models.Conflict {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// duePerTurn bounds how much scheduled work of sites one turn queues.
const duePerTurn = 50

// DispatchSites queues the scheduled backups and crons that are due, and ends
// the holds whose time is over.
func (f *Fleet) DispatchSites(ctx context.Context) error {
	return errors.Join(f.dispatchBackups(ctx), f.dispatchCrons(ctx), f.endHolds(ctx))
}

func (f *Fleet) dispatchBackups(ctx context.Context) error {
	now := f.cfg.Now()
	due, err := f.store.DueBackups(ctx, now, duePerTurn)
	if err != nil {
		return err
	}
	for _, site := range due {
		task := models.Task{Kind: models.TaskBackup, Subject: siteSubject(site.ID), Title: "Back up " + site.URI, Actor: ActorQueue}
		err := f.store.InTx(ctx, func(tx Tx) error {
			mine, err := tx.ClaimBackup(ctx, site, now.Add(jitter(site.BackupEvery)))
			if err != nil || !mine {
				return err
			}
			if err := tx.CreateTask(ctx, &task); err != nil {
				return err
			}
			return tx.CreateBackup(ctx, f.backupOf(site, &models.Backup{TaskID: task.ID, Purpose: models.BackupSchedule}))
		})
		if err := f.unlessBusy(ctx, site, err); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) dispatchCrons(ctx context.Context) error {
	now := f.cfg.Now()
	due, err := f.store.DueCrons(ctx, now, duePerTurn)
	if err != nil {
		return err
	}
	for _, site := range due {
		task := cronTask(ActorQueue, site)
		err := f.store.InTx(ctx, func(tx Tx) error {
			mine, err := tx.ClaimCron(ctx, site, now.Add(jitter(site.CronEvery)))
			if err != nil || !mine {
				return err
			}
			return tx.CreateTask(ctx, &task)
		})
		if err := f.unlessBusy(ctx, site, err); err != nil {
			return err
		}
	}
	return nil
}

// unlessBusy forgives that a task works on the site: its turn comes again.
func (f *Fleet) unlessBusy(ctx context.Context, site models.Site, err error) error {
	if models.CodeOf(err) == models.Conflict {
		f.logger.DebugContext(ctx, "scheduled work waits", slog.String("site", site.URI), slog.Any("error", err))
		return nil
	}
	return err
}

func (f *Fleet) endHolds(ctx context.Context) error {
	ended, err := f.store.EndedHolds(ctx, f.cfg.Now(), duePerTurn)
	if err != nil {
		return err
	}
	for _, site := range ended {
		if err := f.store.EndHold(ctx, ActorSystem, site.ID, f.cfg.Now()); err != nil && models.CodeOf(err) != models.NotFound {
			return err
		}
	}
	return nil
}

// maxInterval bounds schedules; nobody means more.
const maxInterval = 366 * 24 * time.Hour
