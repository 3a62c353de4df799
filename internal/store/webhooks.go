package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hefring/models"
)

// CreateWebhook stores a webhook without secrets.
func (s *Store) CreateWebhook(ctx context.Context, h *models.Webhook) error {
	return s.atomic(ctx, func(tx *Store) error {
		return create(ctx, tx, "webhook", h, "There is a webhook with this address already. Try once more.")
	})
}

// Webhook loads one.
func (s *Store) Webhook(ctx context.Context, id int64) (models.Webhook, error) {
	return get[models.Webhook](ctx, s, "webhook", id)
}

// WebhookAt finds a webhook by the random part of its path.
func (s *Store) WebhookAt(ctx context.Context, address string) (models.Webhook, error) {
	return first[models.Webhook](s.with(ctx).Where("address = ?", address), "webhook at", "this address")
}

// WebhooksOf lists a distribution's webhooks, oldest first.
func (s *Store) WebhooksOf(ctx context.Context, distributionID int64) ([]models.Webhook, error) {
	var list []models.Webhook
	if err := s.with(ctx).Where("distribution_id = ?", distributionID).Order("id").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list webhooks of distribution %d: %w", distributionID, err)
	}
	return list, nil
}

// LockWebhook makes others that lock a webhook wait until the transaction ends.
func (s *Store) LockWebhook(ctx context.Context, id int64) error {
	// Writing what is there already locks the row.
	done := s.with(ctx).Model(&models.Webhook{}).Where("id = ?", id).UpdateColumn("address", gorm.Expr("address"))
	if done.Error != nil {
		return fmt.Errorf("lock webhook %d: %w", id, done.Error)
	}
	if done.RowsAffected == 0 {
		return missing("webhook", id)
	}
	return nil
}

// DeleteWebhook removes a webhook with its secrets and deliveries.
func (s *Store) DeleteWebhook(ctx context.Context, id int64) error {
	done := s.with(ctx).Where("id = ?", id).Delete(&models.Webhook{})
	if done.Error != nil {
		return fmt.Errorf("delete webhook %d: %w", id, done.Error)
	}
	if done.RowsAffected == 0 {
		return missing("webhook", id)
	}
	return nil
}

// MarkWebhook stores when a delivery came that one of the secrets proved.
func (s *Store) MarkWebhook(ctx context.Context, id, secretID int64, at time.Time) error {
	if err := s.with(ctx).Model(&models.Webhook{}).Where("id = ?", id).UpdateColumn("hook_at", at).Error; err != nil {
		return fmt.Errorf("mark webhook %d: %w", id, err)
	}
	if err := s.with(ctx).Model(&models.WebhookSecret{}).Where("id = ?", secretID).Update("used_at", at).Error; err != nil {
		return fmt.Errorf("mark secret of webhook %d: %w", id, err)
	}
	return nil
}

// AddWebhookSecret stores one more secret.
func (s *Store) AddWebhookSecret(ctx context.Context, secret *models.WebhookSecret) error {
	return s.atomic(ctx, func(tx *Store) error {
		return create(ctx, tx, "secret", secret, "This secret is stored already.")
	})
}

// WebhookSecrets lists a webhook's secrets, oldest first.
func (s *Store) WebhookSecrets(ctx context.Context, webhookID int64) ([]models.WebhookSecret, error) {
	var list []models.WebhookSecret
	if err := s.with(ctx).Where("webhook_id = ?", webhookID).Order("id").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list secrets of webhook %d: %w", webhookID, err)
	}
	return list, nil
}

// DropWebhookSecret removes a secret.
func (s *Store) DropWebhookSecret(ctx context.Context, id int64) error {
	if err := s.with(ctx).Where("id = ?", id).Delete(&models.WebhookSecret{}).Error; err != nil {
		return fmt.Errorf("drop secret %d: %w", id, err)
	}
	return nil
}

// RecordDelivery stores a proven delivery. When one with its key is there
// already, fresh is false and the delivery is a duplicate; unless that came
// before the time forget, which may be zero for never.
func (s *Store) RecordDelivery(ctx context.Context, d models.Delivery, forget time.Time) (fresh bool, err error) {
	err = s.atomic(ctx, func(tx *Store) error {
		if err := tx.LockWebhook(ctx, d.WebhookID); err != nil {
			return err
		}
		d.Fresh, d.Times = true, 1
		done := tx.with(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&d)
		if done.Error != nil {
			return fmt.Errorf("record delivery: %w", done.Error)
		}
		if done.RowsAffected == 1 {
			fresh = true
			return nil
		}
		known := tx.with(ctx).Where("fresh AND webhook_id = ? AND key = ? AND at < ?", d.WebhookID, d.Key, forget)
		if fresh, err = tx.repeatDelivery(known, d); err != nil || fresh {
			return err
		}
		d.Fresh, d.Outcome, d.Reason = false, models.DeliveryDuplicate, ""
		return tx.recordUnproven(ctx, d)
	})
	return fresh, err
}

// RecordUnproven stores a delivery that proved nothing. Those of one sender for
// one reason are one row, and only the newest models.KeepRefused rows stay, so
// that nobody can fill the disk.
func (s *Store) RecordUnproven(ctx context.Context, d models.Delivery) error {
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.LockWebhook(ctx, d.WebhookID); err != nil {
			return err
		}
		return tx.recordUnproven(ctx, d)
	})
}

func (s *Store) recordUnproven(ctx context.Context, d models.Delivery) error {
	d.Fresh, d.Times = false, 1
	same := s.with(ctx).Where("NOT fresh AND webhook_id = ? AND outcome = ? AND reason = ? AND sender = ?", d.WebhookID, d.Outcome, d.Reason, d.Sender)
	if d.Outcome == models.DeliveryDuplicate {
		same = s.with(ctx).Where("NOT fresh AND webhook_id = ? AND outcome = ? AND key = ?", d.WebhookID, d.Outcome, d.Key)
	}
	joined, err := s.repeatDelivery(same, d)
	if err != nil || joined {
		return err
	}
	if err := s.with(ctx).Create(&d).Error; err != nil {
		return fmt.Errorf("record delivery: %w", err)
	}
	newest := s.with(ctx).Model(&models.Delivery{}).Select("id").Where("NOT fresh AND webhook_id = ?", d.WebhookID).
		Order("at DESC, id DESC").Limit(models.KeepRefused)
	err = s.with(ctx).Where("NOT fresh AND webhook_id = ? AND id NOT IN (?)", d.WebhookID, newest).Delete(&models.Delivery{}).Error
	if err != nil {
		return fmt.Errorf("drop old deliveries: %w", err)
	}
	return nil
}

// repeatDelivery counts d in the row that the query finds, if it finds one.
func (s *Store) repeatDelivery(query *gorm.DB, d models.Delivery) (bool, error) {
	done := query.Model(&models.Delivery{}).Updates(map[string]any{
		"times": gorm.Expr("times + 1"), "at": d.At, "key": d.Key, "event": d.Event, "ref": d.Ref, "sender": d.Sender, "outcome": d.Outcome, "reason": d.Reason,
	})
	if done.Error != nil {
		return false, fmt.Errorf("record delivery once more: %w", done.Error)
	}
	return done.RowsAffected > 0, nil
}

// CountDeliveries counts the proven deliveries of a webhook since a time.
func (s *Store) CountDeliveries(ctx context.Context, webhookID int64, since time.Time) (int, error) {
	var n int64
	err := s.with(ctx).Model(&models.Delivery{}).Where("fresh AND webhook_id = ? AND at >= ?", webhookID, since).Count(&n).Error
	if err != nil {
		return 0, fmt.Errorf("count deliveries of webhook %d: %w", webhookID, err)
	}
	return int(n), nil
}

// Deliveries lists a webhook's deliveries, newest first.
func (s *Store) Deliveries(ctx context.Context, webhookID int64, limit int) ([]models.Delivery, error) {
	var list []models.Delivery
	err := s.with(ctx).Where("webhook_id = ?", webhookID).Order("at DESC, id DESC").Limit(limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list deliveries of webhook %d: %w", webhookID, err)
	}
	return list, nil
}
