package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hefring/models"
)

// Throttles locks the counts of attempts with these keys until the transaction
// ends, and gives them in the same order. What was never counted is made. It must
// run inside a transaction.
func (s *Store) Throttles(ctx context.Context, keys ...string) ([]models.Throttle, error) {
	list := make([]models.Throttle, len(keys))
	for i, key := range keys {
		// Writing locks the row on both databases; the order of the keys is always
		// the same, so nobody waits in a circle.
		fresh := models.Throttle{Key: key, CountedAt: time.Unix(0, 0).UTC(), OpenAt: time.Unix(0, 0).UTC()}
		err := s.with(ctx).Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "key"}}, DoUpdates: clause.Assignments(map[string]any{"count": gorm.Expr("throttles.count")}),
		}).Create(&fresh).Error
		if err != nil {
			return nil, fmt.Errorf("count attempt: %w", err)
		}
		if list[i], err = first[models.Throttle](s.with(ctx).Where("key = ?", key), "count", "of attempts"); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// SaveThrottle stores a count of attempts.
func (s *Store) SaveThrottle(ctx context.Context, t models.Throttle) error {
	if err := s.with(ctx).Save(&t).Error; err != nil {
		return fmt.Errorf("count attempt: %w", err)
	}
	return nil
}

// PruneSignIns forgets counts of attempts that count no more, and second factors
// that were never confirmed.
func (s *Store) PruneSignIns(ctx context.Context, at time.Time) error {
	day, known := at.Add(-24*time.Hour), at.Add(-models.KnownAddress)
	if err := s.with(ctx).Where("counted_at < ? AND (good_at IS NULL OR good_at < ?)", day, known).Delete(&models.Throttle{}).Error; err != nil {
		return fmt.Errorf("forget counts of attempts: %w", err)
	}
	if err := s.with(ctx).Where("confirmed_at IS NULL AND created_at < ?", day).Delete(&models.SecondFactor{}).Error; err != nil {
		return fmt.Errorf("forget second factors that were not confirmed: %w", err)
	}
	return nil
}

// SecondFactor loads a user's second factor, confirmed or not. NotFound: none.
func (s *Store) SecondFactor(ctx context.Context, userID int64) (models.SecondFactor, error) {
	return first[models.SecondFactor](s.with(ctx).Where("user_id = ?", userID), "second factor of user", userID)
}

// SetUpSecondFactor stores a second factor that is not confirmed yet, in place of
// another such. Conflict: the user has a confirmed one.
func (s *Store) SetUpSecondFactor(ctx context.Context, factor models.SecondFactor) error {
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.with(ctx).Where("user_id = ? AND confirmed_at IS NULL", factor.UserID).Delete(&models.SecondFactor{}).Error; err != nil {
			return fmt.Errorf("replace second factor of user %d: %w", factor.UserID, err)
		}
		return create(ctx, tx, "second factor", &factor, "You have a second factor already. Remove it first.")
	})
}

// ConfirmSecondFactor makes a second factor asked for, and replaces the recovery
// codes. Conflict: it was confirmed or replaced before.
func (s *Store) ConfirmSecondFactor(ctx context.Context, factor models.SecondFactor, codes []models.RecoveryCode) error {
	return s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.SecondFactor{}).Where("user_id = ? AND confirmed_at IS NULL AND created_at = ?", factor.UserID, factor.CreatedAt).
			Updates(map[string]any{"confirmed_at": factor.ConfirmedAt, "last_step": factor.LastStep})
		if done.Error != nil {
			return fmt.Errorf("confirm second factor of user %d: %w", factor.UserID, done.Error)
		}
		if done.RowsAffected == 0 {
			return models.Errorf(models.Conflict, "This second factor was confirmed or replaced meanwhile. Reload the page and look again.")
		}
		return tx.SaveRecoveryCodes(ctx, factor.UserID, codes)
	})
}

// SaveRecoveryCodes replaces a user's recovery codes.
func (s *Store) SaveRecoveryCodes(ctx context.Context, userID int64, codes []models.RecoveryCode) error {
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.with(ctx).Where("user_id = ?", userID).Delete(&models.RecoveryCode{}).Error; err != nil {
			return fmt.Errorf("replace recovery codes of user %d: %w", userID, err)
		}
		if err := tx.with(ctx).Create(&codes).Error; err != nil {
			return fmt.Errorf("store recovery codes of user %d: %w", userID, err)
		}
		return nil
	})
}

// UseStep notes that the code of a step was used; false when it, or a later one,
// was used before.
func (s *Store) UseStep(ctx context.Context, userID, step int64) (bool, error) {
	done := s.with(ctx).Model(&models.SecondFactor{}).Where("user_id = ? AND confirmed_at IS NOT NULL AND last_step < ?", userID, step).Update("last_step", step)
	if done.Error != nil {
		return false, fmt.Errorf("use code of user %d: %w", userID, done.Error)
	}
	return done.RowsAffected == 1, nil
}

// UseRecoveryCode uses a code up; false when there is none of that hash.
func (s *Store) UseRecoveryCode(ctx context.Context, userID int64, hash string) (bool, error) {
	done := s.with(ctx).Where("user_id = ? AND hash = ?", userID, hash).Delete(&models.RecoveryCode{})
	if done.Error != nil {
		return false, fmt.Errorf("use recovery code of user %d: %w", userID, done.Error)
	}
	return done.RowsAffected == 1, nil
}

// RecoveryCodes counts the codes that a user has left.
func (s *Store) RecoveryCodes(ctx context.Context, userID int64) (int, error) {
	var n int64
	if err := s.with(ctx).Model(&models.RecoveryCode{}).Where("user_id = ?", userID).Count(&n).Error; err != nil {
		return 0, fmt.Errorf("count recovery codes of user %d: %w", userID, err)
	}
	return int(n), nil
}

// RemoveSecondFactor forgets a user's second factor and recovery codes. NotFound:
// there is none.
func (s *Store) RemoveSecondFactor(ctx context.Context, userID int64) error {
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.with(ctx).Where("user_id = ?", userID).Delete(&models.RecoveryCode{}).Error; err != nil {
			return fmt.Errorf("remove recovery codes of user %d: %w", userID, err)
		}
		done := tx.with(ctx).Where("user_id = ?", userID).Delete(&models.SecondFactor{})
		if done.Error != nil {
			return fmt.Errorf("remove second factor of user %d: %w", userID, done.Error)
		}
		if done.RowsAffected == 0 {
			return models.Errorf(models.NotFound, "There is no second factor to remove.")
		}
		return nil
	})
}

// IdentityOf finds who a provider's subject is. NotFound: nobody.
func (s *Store) IdentityOf(ctx context.Context, issuer, subject string) (models.Identity, error) {
	return first[models.Identity](s.with(ctx).Where("issuer = ? AND subject = ?", issuer, subject), "identity", subject)
}

// Identities lists a user's identities.
func (s *Store) Identities(ctx context.Context, userID int64) ([]models.Identity, error) {
	var list []models.Identity
	if err := s.with(ctx).Where("user_id = ?", userID).Order("issuer, id").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list identities of user %d: %w", userID, err)
	}
	return list, nil
}

// CreateIdentity links a provider's subject to a user. Conflict: it is linked.
func (s *Store) CreateIdentity(ctx context.Context, i *models.Identity) error {
	return s.atomic(ctx, func(tx *Store) error {
		return create(ctx, tx, "identity", i, "This account of the provider is linked to a user already. Unlink it there first.")
	})
}

// MarkIdentity notes that an identity was used, and what the provider calls it now.
func (s *Store) MarkIdentity(ctx context.Context, i models.Identity) error {
	if err := s.with(ctx).Model(&models.Identity{}).Where("id = ?", i.ID).Updates(map[string]any{"used_at": i.UsedAt, "name": i.Name}).Error; err != nil {
		return fmt.Errorf("note use of identity %d: %w", i.ID, err)
	}
	return nil
}

// DeleteIdentity unlinks a user's identity. NotFound: the user has none of that id.
func (s *Store) DeleteIdentity(ctx context.Context, userID, id int64) error {
	done := s.with(ctx).Where("user_id = ? AND id = ?", userID, id).Delete(&models.Identity{})
	if done.Error != nil {
		return fmt.Errorf("unlink identity %d: %w", id, done.Error)
	}
	if done.RowsAffected == 0 {
		return models.Errorf(models.NotFound, "This account of the provider is not linked any more. Reload the page.")
	}
	return nil
}
