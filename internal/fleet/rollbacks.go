package fleet

import (
	"context"
	"errors"
	"fmt"

	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// RollbackPlan says what taking a site's last move back would do and lose.
// NotFound: there is nothing to go back to.
func (f *Fleet) RollbackPlan(ctx context.Context, siteID int64) (RollbackPlan, error) {
	plan, err := f.wayBack(ctx, siteID)
	if err != nil {
		return plan, err
	}
	if f.here(plan.Site.Site) {
		plan.Loss, err = f.cfg.Hosting.Loss(ctx, plan.Upgrade)
	} else {
		plan.Loss, err = f.askLoss(ctx, plan.Site.Site, plan.Upgrade)
	}
	return plan, err
}

// wayBack finds the move that can be taken back.
func (f *Fleet) wayBack(ctx context.Context, siteID int64) (RollbackPlan, error) {
	row, err := f.store.SiteRow(ctx, siteID)
	if err != nil {
		return RollbackPlan{}, err
	}
	u, err := f.store.LatestUpgrade(ctx, siteID)
	if err != nil {
		if models.CodeOf(err) == models.NotFound {
			err = models.Errorf(models.NotFound, "%s was not moved yet. There is nothing to go back to.", row.URI)
		}
		return RollbackPlan{}, err
	}
	if err := f.cameAlong(ctx, row.Site, u); err != nil {
		return RollbackPlan{}, err
	}
	if u.DroppedOldAt != nil || u.ToID != row.PlatformID || u.EndedAt == nil {
		return RollbackPlan{}, models.Errorf(models.NotFound, "What %s was before its last move is not kept any more. Restore a backup instead.", row.URI)
	}
	plan := RollbackPlan{Site: row, Upgrade: u, Until: u.EndedAt.Add(keepOld)}
	if plan.From, err = f.store.Platform(ctx, u.ToID); err != nil {
		return plan, err
	}
	if plan.To, err = f.store.Platform(ctx, u.FromID); err != nil {
		return plan, err
	}
	if plan.To.State != models.PlatformReady {
		return plan, models.Errorf(models.NotFound, "%s, on which %s was before, is %s. Restore a backup instead.", plan.To.Name, row.URI, plan.To.State)
	}
	return plan, nil
}

// cameAlong fails if what a move left stayed on another server. The older platform is
// brought to the new one; older content in a file is not, nor are files that a restore
// replaced.
func (f *Fleet) cameAlong(ctx context.Context, site models.Site, u models.Upgrade) error {
	moved, err := f.store.LatestRelocation(ctx, site.ID)
	if models.CodeOf(err) == models.NotFound {
		return nil
	}
	if err != nil || u.EndedAt == nil || !moved.CreatedAt.After(*u.EndedAt) || u.Kind == models.KindUpgrade && u.DroppedOldAt == nil {
		return err
	}
	return models.Errorf(models.NotFound, "%s came to %s after its last upgrade, and what it was before stayed on %s. Restore a backup instead: they came along.",
		site.URI, site.Server, moved.Site.Server)
}

// RollbackSite takes a site's last move back. upgradeID is the move that the
// person was shown.
func (f *Fleet) RollbackSite(ctx context.Context, by string, siteID, upgradeID int64) (models.Task, error) {
	plan, err := f.wayBack(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	switch {
	case plan.Upgrade.ID != upgradeID:
		return models.Task{}, models.Errorf(models.Conflict, "%s was moved again meanwhile. Look at what going back means now.", plan.Site.URI)
	case plan.Site.State != models.SiteEnabled && plan.Site.State != models.SiteBroken:
		return models.Task{}, models.Errorf(models.Conflict, "%s is %s. Only an enabled or a broken site can be rolled back.", plan.Site.URI, plan.Site.State)
	}
	return f.queueMove(ctx, by, plan.Site.Site, models.TaskRollback,
		fmt.Sprintf("Roll %s back to %s", plan.Site.URI, VersionLabel(plan.To)), models.Upgrade{
			Kind: models.KindRollback, UndoesID: &plan.Upgrade.ID, ToID: plan.To.ID, Mode: plan.Upgrade.Mode, NewDatabase: plan.Upgrade.OldDatabase,
		})
}

// RestoreSite brings a site's content back from one of its backups, onto a
// platform: the one that it is on, or the one that the backup was made on.
func (f *Fleet) RestoreSite(ctx context.Context, by string, backupID, platformID int64) (models.Task, error) {
	b, err := f.readyBackup(ctx, backupID)
	if err != nil {
		return models.Task{}, err
	}
	site, err := f.installed(ctx, b.SiteID)
	if err != nil {
		return models.Task{}, err
	}
	if platformID != site.PlatformID && platformID != b.PlatformID {
		return models.Task{}, models.InvalidField("platform", "Choose the platform that the site is on, or the one that the backup was made on.")
	}
	p, err := f.store.Platform(ctx, platformID)
	switch {
	case err != nil:
		return models.Task{}, err
	case p.State != models.PlatformReady:
		return models.Task{}, models.Errorf(models.Conflict, "%s is %s. Restore to the platform that the site is on.", p.Name, p.State)
	case site.State != models.SiteEnabled && site.State != models.SiteBroken:
		return models.Task{}, models.Errorf(models.Conflict, "%s is %s. Only an enabled or a broken site can be restored.", site.URI, site.State)
	case b.Engine != site.Database.Engine:
		return models.Task{}, models.Errorf(models.Conflict, "The backup's content is for %s, the site's is in %s. Make a new site from the backup instead.", b.Engine, site.Database.Engine)
	}
	return f.queueMove(ctx, by, site, models.TaskRestore, fmt.Sprintf("Restore %s of %s", site.URI, b.CreatedAt.Format("2 January 2006 15:04")),
		models.Upgrade{Kind: models.KindRestore, BackupID: &b.ID, ToID: p.ID})
}

// queueMove queues a move of a site that is no upgrade.
func (f *Fleet) queueMove(ctx context.Context, by string, site models.Site, kind models.TaskKind, title string, u models.Upgrade) (models.Task, error) {
	task := models.Task{Kind: kind, Subject: siteSubject(site.ID), Actor: by, Title: title, Args: models.Settings{"was": string(site.State)}}
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.CreateTask(ctx, &task); err != nil {
			return err
		}
		u.TaskID, u.SiteID, u.FromID, u.OldDatabase = task.ID, site.ID, site.PlatformID, site.Database
		return tx.CreateUpgrade(ctx, &u)
	})
	return f.orRunning(ctx, task, err)
}

// keepLeft records a backup of the content that a rollback or a restore left.
func (f *Fleet) keepLeft(t models.Task, move upgrade.Move) func(ctx context.Context, write func(models.Backup) (models.Backup, error)) error {
	if move.Upgrade.Kind == models.KindUpgrade {
		return nil
	}
	return func(ctx context.Context, write func(models.Backup) (models.Backup, error)) error {
		b, err := f.store.BackupOfTask(ctx, t.ID)
		if models.CodeOf(err) == models.NotFound || err == nil && b.State != models.BackupMaking && !b.Made() {
			b = models.Backup{TaskID: t.ID, Purpose: models.BackupRollback, Note: "What the rollback left"}
			if move.Upgrade.Kind == models.KindRestore {
				b.Purpose, b.Note = models.BackupRestore, "What the restore replaced"
			}
			err = f.store.CreateBackup(ctx, f.backupOf(move.Site, &b))
		}
		if err != nil || b.Made() {
			return err
		}
		made, cause := write(b)
		if cause != nil && handedOn(ctx) {
			return cause
		}
		to := models.BackupReady
		if cause != nil {
			made, to = b, models.BackupFailed
			made.Reason = models.Explain(cause)
		}
		return errors.Join(cause, f.store.MoveBackup(context.WithoutCancel(ctx), t.Actor, made, to))
	}
}

// fillMove reads what a rollback or a restore is about.
func (f *Fleet) fillMove(ctx context.Context, tx Tx, move *upgrade.Move) error {
	u := move.Upgrade
	if u.UndoesID != nil {
		undone, err := tx.Upgrade(ctx, *u.UndoesID)
		if err != nil {
			return err
		}
		if u.State == models.UpgradeQueued && undone.DroppedOldAt != nil {
			return models.Errorf(models.Conflict, "What %s was before is not kept any more.", move.Site.URI)
		}
		move.Undoes = &undone
	}
	if u.BackupID != nil {
		b, err := f.store.Backup(ctx, *u.BackupID)
		if err != nil {
			return err
		}
		if u.State == models.UpgradeQueued && b.State != models.BackupReady {
			return models.Errorf(models.Conflict, "The backup is %s by now.", b.State)
		}
		move.Backup = &b
	}
	return nil
}

// noteRollback marks the move that a rollback took back.
func (f *Fleet) noteRollback(ctx context.Context, tx Tx, move upgrade.Move) error {
	if move.Undoes == nil {
		return nil
	}
	now := f.cfg.Now()
	move.Undoes.RolledBackAt = &now
	return tx.SaveUpgrade(ctx, *move.Undoes)
}
