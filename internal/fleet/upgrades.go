package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// UpgradePlan says what upgrading a site would do.
func (f *Fleet) UpgradePlan(ctx context.Context, siteID int64) (Plan, error) {
	row, err := f.store.SiteRow(ctx, siteID)
	if err != nil {
		return Plan{}, err
	}
	if row.Target == nil || row.Target.ID == row.PlatformID {
		return Plan{}, models.Errorf(models.Conflict, "%s is on its upgrade target already. There is nothing to upgrade.", row.URI)
	}
	plan := Plan{Site: row, From: row.Platform, To: *row.Target, RunningTask: row.RunningTaskID}
	plan.Changes = models.ComparePackages(plan.From.Packages, plan.To.Packages)
	comparison, err := f.store.Comparison(ctx, siteID)
	if err != nil && models.CodeOf(err) != models.NotFound {
		return Plan{}, err
	}
	if err == nil && comparison.Fresh(row.Site, plan.To.ID) {
		plan.Comparison = &comparison
	}
	return plan, nil
}

// UpgradeSite queues the upgrade of a site to its distribution's target. target
// is the platform that the person saw in the dialog.
func (f *Fleet) UpgradeSite(ctx context.Context, by string, siteID, target int64) (models.Task, error) {
	row, err := f.store.SiteRow(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	if running, err := f.store.RunningTask(ctx, siteSubject(siteID)); err == nil {
		return running, models.Errorf(models.Conflict, "%s is being worked on already: %s.", row.URI, running.Title)
	}
	if err := mayUpgrade(row, target); err != nil {
		return models.Task{}, err
	}
	var task models.Task
	err = f.store.InTx(ctx, func(tx Tx) error {
		task, err = f.queueUpgrade(ctx, tx, by, row.Site, *row.Target, nil)
		return err
	})
	if models.CodeOf(err) == models.Conflict {
		if running, lookup := f.store.RunningTask(ctx, siteSubject(siteID)); lookup == nil {
			return running, err
		}
	}
	return task, err
}

// UpgradeToTarget is UpgradeSite for doors without a dialog: whatever the target is
// now.
func (f *Fleet) UpgradeToTarget(ctx context.Context, by string, siteID int64) (models.Task, error) {
	row, err := f.store.SiteRow(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	if row.Target == nil {
		return models.Task{}, models.Errorf(models.Conflict, "%s has no upgrade target. Choose one on its distribution's page.", row.URI)
	}
	return f.UpgradeSite(ctx, by, siteID, row.Target.ID)
}

func mayUpgrade(row SiteRow, target int64) error {
	switch {
	case row.Target == nil:
		return models.Errorf(models.Conflict, "%s has no upgrade target. Choose one on its distribution's page.", row.URI)
	case row.Target.ID != target:
		return models.Errorf(models.Conflict, "The upgrade target is %s by now. Look at what changes, then press Upgrade again.", row.Target.Name)
	case row.Target.ID == row.PlatformID:
		return models.Errorf(models.Conflict, "%s is on %s already.", row.URI, row.Target.Name)
	case row.Held:
		return models.Errorf(models.Conflict, "%s is held: %s. Release it first.", row.URI, row.HeldReason)
	case row.State != models.SiteEnabled:
		return models.Errorf(models.Conflict, "%s is %s. Only an enabled site can be upgraded.", row.URI, row.State)
	}
	return nil
}

func (f *Fleet) queueUpgrade(ctx context.Context, tx Tx, by string, site models.Site, to models.Platform, parent *int64) (models.Task, error) {
	task := models.Task{
		Kind: models.TaskUpgrade, Subject: siteSubject(site.ID), Actor: by, ParentID: parent,
		Title: fmt.Sprintf("Upgrade %s to %s", site.URI, VersionLabel(to)),
	}
	if err := tx.CreateTask(ctx, &task); err != nil {
		return task, err
	}
	return task, tx.CreateUpgrade(ctx, &models.Upgrade{
		TaskID: task.ID, SiteID: site.ID, FromID: site.PlatformID, ToID: to.ID,
		State: models.UpgradeQueued, OldDatabase: site.Database,
	})
}

// VersionLabel is how people call what a platform holds: its Drupal version and
// the short name of its revision.
func VersionLabel(p models.Platform) string {
	if p.Label == "" || p.Label == p.DrupalVersion {
		return p.DrupalVersion
	}
	return p.DrupalVersion + " · " + p.Label
}

// RunUpgrade is the task that moves one site.
func (f *Fleet) RunUpgrade(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	lasting := context.WithoutCancel(ctx) // a cancelled upgrade must still be recorded as such
	u, err := f.store.UpgradeOfTask(lasting, t.ID)
	if err != nil {
		return "", "", err
	}
	if u.State.Over() { // it was recorded, and then the worker died
		return f.upgradeEnd(lasting, u, nil)
	}
	if handedOn(ctx) {
		return "", "", context.Cause(ctx)
	}
	if err := f.broughtFor(ctx, t, u); err != nil {
		if _, waits := errors.AsType[Waiting](err); waits {
			return "", "", err
		}
		return f.notStarted(ctx, u, err)
	}
	move, err := f.takeUp(lasting, t, u)
	if err != nil {
		return f.notStarted(ctx, u, err)
	}
	move.Keep = f.keepLeft(t, move)
	outcome := f.cfg.Hosting.Upgrade(ctx, move, journal{f.store, t}, log)
	if outcome.State == "" {
		return "", "", errors.Join(ErrLost, outcome.Err)
	}
	return f.recordUpgrade(lasting, t, move, outcome)
}

// takeUp marks the upgrade and the site as being worked on and reads what the
// move is about.
func (f *Fleet) takeUp(ctx context.Context, t models.Task, u models.Upgrade) (upgrade.Move, error) {
	move := upgrade.Move{Upgrade: u}
	err := f.store.InTx(ctx, func(tx Tx) (err error) {
		if move.Site, err = tx.Site(ctx, u.SiteID); err != nil {
			return err
		}
		if move.From, err = tx.Platform(ctx, u.FromID); err != nil {
			return err
		}
		if move.To, err = tx.Platform(ctx, u.ToID); err != nil {
			return err
		}
		if err := f.fillMove(ctx, tx, &move); err != nil {
			return err
		}
		if move.Steps, err = tx.UpgradeSteps(ctx, u.ID); err != nil || u.State == models.UpgradeRunning {
			return err
		}
		switch {
		case move.Site.PlatformID != u.FromID:
			return models.Errorf(models.Conflict, "%s moved to another platform meanwhile.", move.Site.URI)
		case move.Site.Held && u.Kind == models.KindUpgrade:
			return models.Errorf(models.Conflict, "%s is held: %s.", move.Site.URI, move.Site.HeldReason)
		case move.To.State != models.PlatformReady:
			return models.Errorf(models.Conflict, "%s is %s by now.", move.To.Name, move.To.State)
		}
		if err := tx.MoveSite(ctx, t.Actor, move.Site, models.SiteUpgrading, ""); err != nil {
			return err
		}
		if err := tx.MoveUpgrade(ctx, u, models.UpgradeRunning, ""); err != nil {
			return err
		}
		move.Site.State, move.Upgrade.State = models.SiteUpgrading, models.UpgradeRunning
		now := f.cfg.Now()
		move.Upgrade.StartedAt = &now
		return tx.SaveUpgrade(ctx, move.Upgrade)
	})
	return move, err
}

// notStarted ends an upgrade that cannot begin; the site was not touched.
func (f *Fleet) notStarted(ctx context.Context, u models.Upgrade, cause error) (string, models.TaskState, error) {
	if handedOn(ctx) || models.CodeOf(cause) == "" {
		return "", "", cause
	}
	ctx = context.WithoutCancel(ctx)
	if err := f.store.MoveUpgrade(ctx, u, models.UpgradeCancelled, models.Explain(cause)); err != nil {
		return "", "", errors.Join(cause, err)
	}
	u.State = models.UpgradeCancelled
	f.observer().Moved(u)
	return models.Explain(cause), models.TaskCancelled, cause
}

func (f *Fleet) recordUpgrade(ctx context.Context, t models.Task, move upgrade.Move, outcome upgrade.Outcome) (string, models.TaskState, error) {
	u := outcome.Upgrade
	now := f.cfg.Now()
	u.EndedAt = &now
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		if err := tx.SaveUpgrade(ctx, u); err != nil {
			return err
		}
		if err := tx.MoveUpgrade(ctx, u, outcome.State, u.Reason); err != nil {
			return err
		}
		if u.Switched {
			if err := tx.PlaceSite(ctx, move.Site, move.To.ID, u.NewDatabase); err != nil {
				return err
			}
		}
		if outcome.State == models.UpgradeSucceeded {
			if err := f.noteRollback(ctx, tx, move); err != nil {
				return err
			}
		}
		wasBroken := t.Args["was"] == string(models.SiteBroken) && outcome.State != models.UpgradeSucceeded
		if outcome.State == models.UpgradeFatal || wasBroken {
			return tx.MoveSite(ctx, t.Actor, move.Site, models.SiteBroken, u.Reason)
		}
		return tx.MoveSite(ctx, t.Actor, move.Site, models.SiteEnabled, "")
	})
	if err != nil { // such as a full disk: how it ended must be written some time
		return "", "", errors.Join(ErrLost, err)
	}
	u.State = outcome.State
	f.observer().Moved(u)
	return f.upgradeEnd(ctx, u, outcome.Err)
}

// upgradeEnd says how an upgrade ended, in the words of its task.
func (f *Fleet) upgradeEnd(ctx context.Context, u models.Upgrade, cause error) (string, models.TaskState, error) {
	site, err := f.store.Site(ctx, u.SiteID)
	if err != nil {
		return "", "", err
	}
	from, err := f.store.Platform(ctx, u.FromID)
	if err != nil {
		return "", "", err
	}
	to, err := f.store.Platform(ctx, u.ToID)
	if err != nil {
		return "", "", err
	}
	switch u.State {
	case models.UpgradeSucceeded:
		message := fmt.Sprintf("%s serves %s. Writes were paused for %s.", site.URI, VersionLabel(to), seconds(u.ReadOnly))
		if cause != nil {
			return message + " Tidying up was not finished: " + cause.Error(), models.TaskWarning, nil //nolint:nilerr // the upgrade itself succeeded
		}
		return message, "", nil
	case models.UpgradeRecovered:
		what := strings.TrimSuffix(u.Reason, ".")
		if u.FailedStep != "" { // else its worker was lost
			what = fmt.Sprintf("Step %s: %s", u.FailedStep, what) // the reason says that it failed
		}
		return fmt.Sprintf("%s. %s serves %s as before.", what, site.URI, VersionLabel(from)), models.TaskRecovered, cause
	case models.UpgradeCancelled:
		return fmt.Sprintf("Cancelled. %s serves %s as before.", site.URI, VersionLabel(from)), models.TaskCancelled, cause
	default:
		return fmt.Sprintf("A person must look at %s: %s", site.URI, u.Reason), models.TaskFailed, cause
	}
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// journal writes an upgrade's journal as long as its task is ours.
type journal struct {
	store Store
	task  models.Task
}

func (j journal) Save(ctx context.Context, u models.Upgrade) error {
	return j.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, j.task); err != nil {
			return err
		}
		return tx.SaveUpgrade(ctx, u)
	})
}

func (j journal) SaveStep(ctx context.Context, s models.UpgradeStep) error {
	return j.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, j.task); err != nil {
			return err
		}
		return tx.SaveStep(ctx, s)
	})
}
