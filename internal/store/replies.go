package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hefring/models"
)

// maxReplies is how many answers are kept of one token.
const maxReplies = 20000

// replyLease is how long a request may be done before it counts as given up: by a
// process that was killed.
const replyLease = 2 * time.Minute

// ClaimReply makes a request its caller's to do. fresh is false when it was made
// before; found is then what is known of that. NotFound: there is no such token.
// Unavailable: too many are kept.
func (s *Store) ClaimReply(ctx context.Context, tokenHash string, r models.Reply) (found models.Reply, fresh bool, err error) {
	err = s.atomic(ctx, func(tx *Store) error {
		t, err := first[models.Token](tx.with(ctx).Where("hash = ?", tokenHash), "token", "of this value")
		if err != nil {
			return err
		}
		r.TokenID, r.Sealed = t.ID, []byte{}
		if err := tx.with(ctx).Where("id = ? AND created_at <= ?", r.ID, r.ClaimedAt.Add(-models.KeepReplies)).Delete(&models.Reply{}).Error; err != nil {
			return fmt.Errorf("drop old reply: %w", err)
		}
		done := tx.with(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&r)
		if done.Error != nil {
			return fmt.Errorf("claim reply: %w", done.Error)
		}
		if fresh = done.RowsAffected == 1; fresh {
			return tx.spareReplies(ctx, t.ID)
		}
		if err := tx.with(ctx).Where("id = ?", r.ID).Take(&found).Error; err != nil {
			return fmt.Errorf("load reply: %w", err)
		}
		fresh, err = tx.takeReply(ctx, found, r)
		return err
	})
	return found, fresh, err
}

// spareReplies fails when a token has too many.
func (s *Store) spareReplies(ctx context.Context, tokenID int64) error {
	var n int64
	some := s.with(ctx).Model(&models.Reply{}).Select("1 AS kept").Where("token_id = ?", tokenID).Limit(maxReplies + 1)
	if err := s.with(ctx).Session(&gorm.Session{NewDB: true}).Table("(?) AS replies", some).Count(&n).Error; err != nil {
		return fmt.Errorf("count replies: %w", err)
	}
	if n > maxReplies {
		return models.Errorf(models.Unavailable, "More than %d idempotency keys of this token are remembered. Go on without keys, with another token, or tomorrow.", maxReplies)
	}
	return nil
}

// takeReply takes a request over that somebody gave up.
func (s *Store) takeReply(ctx context.Context, found, r models.Reply) (bool, error) {
	if found.AnsweredAt != nil || found.Request != r.Request || r.ClaimedAt.Sub(found.ClaimedAt) < replyLease {
		return false, nil
	}
	done := s.with(ctx).Model(&models.Reply{}).Where("id = ? AND answered_at IS NULL AND claimed_at = ?", r.ID, found.ClaimedAt).
		UpdateColumn("claimed_at", r.ClaimedAt.UTC())
	if done.Error != nil {
		return false, fmt.Errorf("take reply over: %w", done.Error)
	}
	return done.RowsAffected == 1, nil
}

// SaveReply stores what a claimed request was answered, unless somebody else took it
// over.
func (s *Store) SaveReply(ctx context.Context, r models.Reply) error {
	err := s.with(ctx).Model(&models.Reply{}).Where("id = ? AND answered_at IS NULL", r.ID).
		Select("sealed", "answered_at").Updates(&r).Error
	if err != nil {
		return fmt.Errorf("save reply: %w", err)
	}
	return nil
}

// DropReply forgets a request that came to nothing, so that it can be made again.
func (s *Store) DropReply(ctx context.Context, id string) error {
	if err := s.with(ctx).Where("id = ? AND answered_at IS NULL", id).Delete(&models.Reply{}).Error; err != nil {
		return fmt.Errorf("drop reply: %w", err)
	}
	return nil
}
