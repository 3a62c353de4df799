package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"gorm.io/gorm"

	"hefring/models"
)

// CreateDistribution stores a distribution. Its condition is new when none is
// given. Conflict: slug or name taken.
func (s *Store) CreateDistribution(ctx context.Context, d *models.Distribution) error {
	if d.Condition == "" {
		d.Condition = models.ConditionNew
	}
	taken := fmt.Sprintf("There is a distribution with the name %s or the short name %s already. Choose others.", d.Name, d.Slug)
	return s.atomic(ctx, func(tx *Store) error { return beside("name", create(ctx, tx, "distribution", d, taken)) })
}

// SaveDistribution stores the name, settings, source and intervals of d.
func (s *Store) SaveDistribution(ctx context.Context, d *models.Distribution) error {
	return s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.Distribution{}).Where("id = ? AND deleted_at IS NULL", d.ID).
			Select("name", "settings", "secrets", "upstream_id", "check_every", "rebuild_days", "keep_platforms").Updates(d)
		switch {
		case errors.Is(done.Error, gorm.ErrDuplicatedKey):
			return models.Wrapf(models.Conflict, done.Error, "There is a distribution with the name %s already. Choose another.", d.Name)
		case done.Error != nil:
			return fmt.Errorf("save distribution %d: %w", d.ID, done.Error)
		case done.RowsAffected == 0:
			return missing("distribution", d.ID)
		}
		return nil
	})
}

// Distribution loads one. NotFound: there is none, or it was deleted.
func (s *Store) Distribution(ctx context.Context, id int64) (models.Distribution, error) {
	d, err := get[models.Distribution](ctx, s, "distribution", id)
	if err == nil && d.DeletedAt != nil {
		err = models.Errorf(models.NotFound, "%s was deleted on %s.", d.Name, d.DeletedAt.Format("2 January 2006"))
	}
	return d, err
}

// standing are the distributions that were not deleted.
func standing(db *gorm.DB) *gorm.DB {
	return db.Model(&models.Distribution{}).Where("distributions.deleted_at IS NULL")
}

// DeleteDistribution marks a distribution as deleted, and forgets its source, its
// secrets, its target, what waits for approval, and how often anything was to
// happen to it.
func (s *Store) DeleteDistribution(ctx context.Context, id int64, at time.Time) error {
	return s.atomic(ctx, func(tx *Store) error {
		done := standing(tx.with(ctx)).Where("id = ?", id).Updates(map[string]any{
			"deleted_at": rounded(&at), "secrets": nil, "upstream_id": nil, "target_id": nil, "rebuild_days": 0, "keep_platforms": 0,
		})
		if done.Error != nil {
			return fmt.Errorf("delete distribution %d: %w", id, done.Error)
		}
		if done.RowsAffected == 0 {
			return missing("distribution", id)
		}
		if err := tx.with(ctx).Where("distribution_id = ?", id).Delete(&models.SourceState{}).Error; err != nil {
			return fmt.Errorf("forget source of distribution %d: %w", id, err)
		}
		return nil
	})
}

// LockDistribution makes others that change a distribution wait for this
// transaction, and gives it as it is then.
func (s *Store) LockDistribution(ctx context.Context, id int64) (models.Distribution, error) {
	if err := s.with(ctx).Model(&models.Distribution{}).Where("id = ?", id).UpdateColumn("id", id).Error; err != nil {
		return models.Distribution{}, fmt.Errorf("lock distribution %d: %w", id, err)
	}
	return s.Distribution(ctx, id)
}

// RecordCheck stores what a check found: its row, joined to the row before
// where both are unchanged, and the distribution's condition, reason, observed
// revision and last check. c.ID becomes the row's id.
func (s *Store) RecordCheck(ctx context.Context, c *models.Check, condition models.Condition, reason string) error {
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.setCondition(ctx, c.DistributionID, condition, c.Reason, reason, observation(c)); err != nil {
			return err
		}
		joined, err := tx.joinCheck(ctx, c)
		if err != nil || joined {
			return err
		}
		c.Times = max(c.Times, 1)
		return create(ctx, tx, "check", c, "This check is recorded already.")
	})
}

// observation is what a check changes of its distribution. A check that saw
// nothing leaves what the one before saw.
func observation(c *models.Check) map[string]any {
	set := map[string]any{"last_check_at": c.EndedAt}
	if c.NewRevision != "" {
		set["observed"] = c.NewRevision
	}
	return set
}

// joinCheck adds an unchanged check to the newest row if that is unchanged too.
func (s *Store) joinCheck(ctx context.Context, c *models.Check) (bool, error) {
	if c.Outcome != models.CheckUnchanged {
		return false, nil
	}
	var newest []models.Check
	err := s.with(ctx).Where("distribution_id = ?", c.DistributionID).Order("id DESC").Limit(1).Find(&newest).Error
	if err != nil {
		return false, fmt.Errorf("load newest check: %w", err)
	}
	if len(newest) == 0 || newest[0].Outcome != models.CheckUnchanged {
		return false, nil
	}
	err = s.with(ctx).Model(&models.Check{}).Where("id = ?", newest[0].ID).Updates(map[string]any{
		"times": gorm.Expr("times + 1"), "ended_at": c.EndedAt, "took": c.Took, "task_id": c.TaskID, "trigger": c.Trigger,
		"requests": c.Requests, "received": c.Received,
	}).Error
	if err != nil {
		return false, fmt.Errorf("join check: %w", err)
	}
	c.ID, c.Times, c.StartedAt = newest[0].ID, newest[0].Times+1, newest[0].StartedAt
	return true, nil
}

// SetCondition stores how a distribution stands to its source.
func (s *Store) SetCondition(ctx context.Context, distributionID int64, condition models.Condition, code models.Reason, reason string) error {
	return s.atomic(ctx, func(tx *Store) error {
		return tx.setCondition(ctx, distributionID, condition, code, reason, nil)
	})
}

func (s *Store) setCondition(ctx context.Context, id int64, condition models.Condition, code models.Reason, reason string, set map[string]any) error {
	d, err := s.Distribution(ctx, id)
	if err != nil {
		return err
	}
	columns := map[string]any{"condition": condition, "reason_code": code, "reason": reason}
	maps.Copy(columns, set)
	if err := s.with(ctx).Model(&models.Distribution{}).Where("id = ?", id).Updates(columns).Error; err != nil {
		return fmt.Errorf("set condition of distribution %d: %w", id, err)
	}
	if d.Condition == condition {
		return nil
	}
	subject := models.Subject{Kind: models.SubjectDistribution, ID: id}
	return s.RecordEvent(ctx, models.Event{Actor: machine, Verb: string(condition), Subject: subject, Text: reason}.Moved(string(d.Condition), string(condition)))
}

// SetTarget makes a ready platform the upgrade target, unlocks it, locks its
// siblings and sets the distribution's signature, if the target is still old
// (nil: none).
func (s *Store) SetTarget(ctx context.Context, by string, distributionID int64, old *int64, platform models.Platform) error {
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.claimTarget(ctx, distributionID, old, platform); err != nil {
			return err
		}
		unlocked := tx.with(ctx).Model(&models.Platform{}).
			Where("id = ? AND distribution_id = ? AND state = ?", platform.ID, distributionID, models.PlatformReady).
			Update("locked", false)
		if unlocked.Error != nil {
			return fmt.Errorf("unlock platform %d: %w", platform.ID, unlocked.Error)
		}
		if unlocked.RowsAffected == 0 {
			return models.Errorf(models.Conflict,
				"The platform %s is not a ready platform of this distribution. Only those can be the upgrade target.", platform.Name)
		}
		err := tx.with(ctx).Model(&models.Platform{}).
			Where("distribution_id = ? AND id <> ? AND state <> ? AND NOT locked", distributionID, platform.ID, models.PlatformDeleted).
			Update("locked", true).Error
		if err != nil {
			return fmt.Errorf("lock the other platforms of distribution %d: %w", distributionID, err)
		}
		subject := models.Subject{Kind: models.SubjectDistribution, ID: distributionID}
		e := models.Event{Actor: by, Verb: "promote", Subject: subject, Text: platform.Name + " is the upgrade target; the other platforms are locked."}
		return tx.RecordEvent(ctx, e.With(models.Distribution{TargetID: old}, models.Distribution{TargetID: &platform.ID}))
	})
}

func (s *Store) claimTarget(ctx context.Context, distributionID int64, old *int64, platform models.Platform) error {
	// A map's nil becomes IS NULL.
	done := s.with(ctx).Model(&models.Distribution{}).Where(map[string]any{"id": distributionID, "target_id": nilOr(old)}).
		Updates(map[string]any{"target_id": platform.ID, "signature": platform.Revision})
	if done.Error != nil {
		return fmt.Errorf("set target of distribution %d: %w", distributionID, done.Error)
	}
	if done.RowsAffected == 1 {
		return nil
	}
	if _, err := s.Distribution(ctx, distributionID); err != nil {
		return err
	}
	return models.Errorf(models.Conflict,
		"Another platform was made the upgrade target meanwhile. Reload the page and look whether %s should still be it.", platform.Name)
}

// nilOr gives an untyped nil for a nil pointer, which GORM writes as IS NULL.
func nilOr[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// Keeping lists the distributions that keep only some of their platforms.
func (s *Store) Keeping(ctx context.Context) ([]models.Distribution, error) {
	var list []models.Distribution
	if err := s.with(ctx).Where("keep_platforms > 0").Order("id").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list distributions that keep some platforms: %w", err)
	}
	return list, nil
}
