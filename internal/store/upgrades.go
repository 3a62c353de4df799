package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"hefring/models"
)

// CreateUpgrade stores an upgrade, queued unless it says otherwise, with one
// pending step for each of models.StepsOf.
func (s *Store) CreateUpgrade(ctx context.Context, u *models.Upgrade) error {
	if u.State == "" {
		u.State = models.UpgradeQueued
	}
	if u.Kind == "" {
		u.Kind = models.KindUpgrade
	}
	return s.atomic(ctx, func(tx *Store) error {
		if err := create(ctx, tx, "upgrade", u, "This task has an upgrade already."); err != nil {
			return err
		}
		names := models.StepsOf(u.Kind, u.Mode)
		steps := make([]models.UpgradeStep, 0, len(names))
		for _, name := range names {
			steps = append(steps, models.UpgradeStep{UpgradeID: u.ID, Name: name, State: models.StepPending})
		}
		return create(ctx, tx, "steps of the upgrade", &steps, "This upgrade has its steps already.")
	})
}

// Upgrade loads one.
func (s *Store) Upgrade(ctx context.Context, id int64) (models.Upgrade, error) {
	return get[models.Upgrade](ctx, s, "upgrade", id)
}

// UpgradeOfTask loads the upgrade that the task carries out.
func (s *Store) UpgradeOfTask(ctx context.Context, taskID int64) (models.Upgrade, error) {
	return first[models.Upgrade](s.with(ctx).Where("task_id = ?", taskID), "upgrade of task", taskID)
}

// MoveUpgrade takes an upgrade from its state to another and keeps the times of
// its start and end. An empty reason leaves the one it has.
func (s *Store) MoveUpgrade(ctx context.Context, u models.Upgrade, to models.UpgradeState, reason string) error {
	set := map[string]any{}
	if reason != "" {
		set["reason"] = reason
	}
	if to == models.UpgradeRunning {
		set["started_at"] = now()
	}
	if to.Over() {
		set["ended_at"] = now()
	}
	return s.atomic(ctx, func(tx *Store) error {
		err := move[models.UpgradeState]{
			allowed: models.UpgradeTransitions(), model: &models.Upgrade{}, what: "upgrade", name: strconv.FormatInt(u.ID, 10),
			id: u.ID, from: u.State, to: to, set: set,
		}.apply(ctx, tx)
		if err != nil {
			return err
		}
		task, err := tx.Task(ctx, u.TaskID)
		if err != nil {
			return err
		}
		e := models.Event{Actor: task.Actor, Verb: "upgrade " + string(to), Subject: siteSubject(u.SiteID), Text: reason}
		if err := tx.RecordEvent(ctx, e.Changed("upgrade", string(u.State), string(to))); err != nil {
			return err
		}
		return tx.wake(ctx, u.TaskID)
	})
}

// LatestUpgrade loads the newest succeeded move of a site.
func (s *Store) LatestUpgrade(ctx context.Context, siteID int64) (models.Upgrade, error) {
	return first[models.Upgrade](s.with(ctx).Where("site_id = ? AND state = ?", siteID, models.UpgradeSucceeded).Order("id DESC").Limit(1), "upgrade of site", siteID)
}

// KeptUpgrades lists the succeeded moves of a site whose old version is still kept.
func (s *Store) KeptUpgrades(ctx context.Context, siteID int64) ([]models.Upgrade, error) {
	var list []models.Upgrade
	err := s.with(ctx).Where("site_id = ? AND state = ? AND dropped_old_at IS NULL", siteID, models.UpgradeSucceeded).Order("id").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list kept upgrades of site %d: %w", siteID, err)
	}
	return list, nil
}

// UpgradesNeeding lists the moves that need a platform: those that are not over
// yet, and those that could be taken back to it.
func (s *Store) UpgradesNeeding(ctx context.Context, platformID int64) ([]models.Upgrade, error) {
	var list []models.Upgrade
	err := s.with(ctx).Where("(from_id = ? AND state = ? AND dropped_old_at IS NULL) OR ((from_id = ? OR to_id = ?) AND state IN ?)",
		platformID, models.UpgradeSucceeded, platformID, platformID, []models.UpgradeState{models.UpgradeQueued, models.UpgradeRunning}).
		Order("id").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list moves that need platform %d: %w", platformID, err)
	}
	return list, nil
}

// SaveUpgrade stores everything of an upgrade but its state, which moves, and
// the times and the reason where u has none: a copy that was read before the
// last move must not erase what that wrote.
func (s *Store) SaveUpgrade(ctx context.Context, u models.Upgrade) error {
	columns := []string{
		"mode", "old_database", "new_database", "switched", "failed_step", "read_only", "updates", "marks", "rolled_back_at", "dropped_old_at",
	}
	if u.Reason != "" {
		columns = append(columns, "reason")
	}
	if u.StartedAt != nil {
		columns = append(columns, "started_at")
	}
	if u.EndedAt != nil {
		columns = append(columns, "ended_at")
	}
	return s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.Upgrade{}).Where("id = ?", u.ID).Select(columns).Updates(u)
		if done.Error != nil {
			return fmt.Errorf("save upgrade %d: %w", u.ID, done.Error)
		}
		if done.RowsAffected == 0 {
			return missing("upgrade", u.ID)
		}
		return tx.wake(ctx, u.TaskID)
	})
}

// UpgradeSteps lists the journal of an upgrade in the order of the steps.
func (s *Store) UpgradeSteps(ctx context.Context, upgradeID int64) ([]models.UpgradeStep, error) {
	var steps []models.UpgradeStep
	if err := s.with(ctx).Where("upgrade_id = ?", upgradeID).Order("id").Find(&steps).Error; err != nil {
		return nil, fmt.Errorf("list steps of upgrade %d: %w", upgradeID, err)
	}
	return steps, nil
}

// SaveStep stores one line of the journal.
func (s *Store) SaveStep(ctx context.Context, step models.UpgradeStep) error {
	return s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.UpgradeStep{}).Where("id = ?", step.ID).
			Select("state", "message", "started_at", "ended_at", "undone_at").Updates(step)
		if done.Error != nil {
			return fmt.Errorf("save step %s: %w", step.Name, done.Error)
		}
		if done.RowsAffected == 0 {
			return missing("step", step.ID)
		}
		return tx.wakeUpgrade(ctx, tx.with(ctx).Model(&models.Upgrade{}).Where("id = ?", step.UpgradeID))
	})
}

// RetiredUpgrades lists succeeded upgrades ended before the time that are not
// marked as dropped yet: what their sites had before is still kept. Oldest first.
func (s *Store) RetiredUpgrades(ctx context.Context, server int64, before time.Time, limit int) ([]models.Upgrade, error) {
	var list []models.Upgrade
	here := s.with(ctx).Model(&models.Site{}).Select("id").Where(on("server_id", server))
	err := s.with(ctx).Where("site_id IN (?)", here).Where("state = ? AND dropped_old_at IS NULL AND ended_at < ?", models.UpgradeSucceeded, before.UTC()).
		Order("ended_at, id").Limit(limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list retired upgrades: %w", err)
	}
	return list, nil
}
