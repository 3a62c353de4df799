package fleet

import (
	"context"

	"hefring/models"
)

// Task gives one task.
func (f *Fleet) Task(ctx context.Context, id int64) (models.Task, error) {
	return f.store.Task(ctx, id)
}

// Lines gives at most limit lines of a task's log after the line with id after.
func (f *Fleet) Lines(ctx context.Context, taskID, after int64, limit int) ([]models.TaskLine, error) {
	return f.store.Lines(ctx, taskID, after, limit)
}

// Follow wakes its reader when a task's log or state may have changed. stop ends
// it.
func (f *Fleet) Follow(taskID int64) (wake <-chan struct{}, stop func()) {
	return f.store.Follow(taskID)
}

// Children gives a task's children.
func (f *Fleet) Children(ctx context.Context, id int64) ([]models.Task, error) {
	return f.store.Children(ctx, id)
}

// UpgradeOfTask gives the upgrade that a task carries out.
func (f *Fleet) UpgradeOfTask(ctx context.Context, taskID int64) (models.Upgrade, error) {
	return f.store.UpgradeOfTask(ctx, taskID)
}

// UpgradeSteps gives the journal of an upgrade.
func (f *Fleet) UpgradeSteps(ctx context.Context, upgradeID int64) ([]models.UpgradeStep, error) {
	return f.store.UpgradeSteps(ctx, upgradeID)
}

// CancelTask ends a queued task, asks a running one to stop, and does the same to
// its children. What a queued task waited to work on is put back.
func (f *Fleet) CancelTask(ctx context.Context, by string, id int64) error {
	t, err := f.store.Task(ctx, id)
	if err != nil {
		return err
	}
	if t.State.Over() {
		return models.Errorf(models.Conflict, "%s has ended already: %s.", t.Title, t.State)
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.CancelTask(ctx, by, id); err != nil {
			return err
		}
		now, err := tx.Task(ctx, id)
		if err != nil || now.State != models.TaskCancelled {
			return err // it runs, and its own handler puts things back
		}
		return f.putBack(ctx, tx, by, now)
	})
	if err != nil {
		return err
	}
	return f.cancelChildren(ctx, by, id)
}

func (f *Fleet) cancelChildren(ctx context.Context, by string, id int64) error {
	children, err := f.store.Children(ctx, id)
	if err != nil {
		return err
	}
	for _, child := range children {
		if child.State.Over() {
			continue
		}
		if err := f.CancelTask(ctx, by, child.ID); err != nil && models.CodeOf(err) != models.Conflict {
			return err
		}
	}
	return nil
}

// putBack undoes what queueing a task did, when it is cancelled before it began.
func (f *Fleet) putBack(ctx context.Context, tx Tx, by string, t models.Task) error {
	switch t.Kind {
	case models.TaskBuild:
		p, err := tx.Platform(ctx, t.Subject.ID)
		if err != nil {
			return err
		}
		return tx.MovePlatform(ctx, by, p, models.PlatformFailed, "The build was cancelled. Build it again when you want it.")
	case models.TaskDeliver:
		d, err := tx.Delivery(ctx, t.Subject.ID)
		if err != nil {
			return err
		}
		d.State, d.Reason, d.UpdatedAt = models.PlatformNotThere, "It was cancelled.", f.cfg.Now()
		return tx.SaveDelivery(ctx, d)
	case models.TaskRelocate:
		r, err := tx.RelocationOfTask(ctx, t.ID)
		if err != nil {
			return err
		}
		r.Reason = wasCancelled
		return tx.MoveRelocation(ctx, r, models.RelocationFailed)
	case models.TaskBackup:
		b, err := tx.BackupOfTask(ctx, t.ID)
		if err != nil {
			return err
		}
		b.Reason = "Cancelled before it began."
		return tx.MoveBackup(ctx, by, b, models.BackupFailed)
	case models.TaskInstall, models.TaskClone:
		s, err := tx.Site(ctx, t.Subject.ID)
		if err != nil {
			return err
		}
		return tx.MoveSite(ctx, by, s, models.SiteBroken, "The installation was cancelled. Install it again when you want it.")
	case models.TaskUpgrade, models.TaskRollback, models.TaskRestore:
		u, err := tx.UpgradeOfTask(ctx, t.ID)
		if err != nil {
			return err
		}
		return tx.MoveUpgrade(ctx, u, models.UpgradeCancelled, "Cancelled before it began.")
	default:
		return nil
	}
}

// Handler is the work of one kind of task. state "" with no error means that it
// succeeded.
type Handler func(ctx context.Context, t models.Task, log Log) (message string, state models.TaskState, err error)

// Handlers lists the work of every kind of task.
func (f *Fleet) Handlers() map[models.TaskKind]Handler {
	return map[models.TaskKind]Handler{
		models.TaskCheck:           f.RunCheck,
		models.TaskBuild:           f.RunBuild,
		models.TaskVerify:          f.RunVerify,
		models.TaskInstall:         f.RunInstall,
		models.TaskCompare:         f.RunCompare,
		models.TaskUpgrade:         f.RunUpgrade,
		models.TaskUpgradePlatform: f.RunUpgradePlatform,
		models.TaskRollback:        f.RunUpgrade,
		models.TaskRestore:         f.RunUpgrade,
		models.TaskBackup:          f.RunBackup,
		models.TaskClone:           f.runClone,
		models.TaskEnable:          f.runTurn,
		models.TaskDisable:         f.runTurn,
		models.TaskConfigure:       f.runConfigure,
		models.TaskCron:            f.runCron,
		models.TaskDelete:          f.runDelete,
		models.TaskImport:          f.runImport,
		models.TaskDeliver:         f.runDeliver,
		models.TaskRelocate:        f.runRelocate,
		models.TaskCloneTo:         f.runCloneTo,
		models.TaskSend:            f.runSend,
		models.TaskReceive:         f.runReceive,
		models.TaskHandOver:        f.runHandOver,
		models.TaskLogin:           f.runLogin,
		models.TaskLoss:            f.runLoss,
		models.TaskDropBackup:      f.runDropBackup,
	}
}
