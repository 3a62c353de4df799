package store

import (
	"context"
	"fmt"
	"time"

	"hefring/models"
)

// How long what is of no use any more is kept.
const (
	keepForms  = 24 * time.Hour
	keepChecks = time.Hour // ten thousand sources make three million a day
)

// Prune deletes what is of no use any more: expired sessions and login links,
// old form tokens, replies and deliveries, and the tasks and logs of old checks that went well. What the
// checks found stays.
func (s *Store) Prune(ctx context.Context, at time.Time) error {
	at = at.UTC()
	for _, one := range []struct {
		model any
		where string
		args  []any
	}{
		{&session{}, "expiry <= ?", []any{at}},
		{&models.LoginLink{}, "expires_at <= ?", []any{at}},
		{&formToken{}, "created_at <= ?", []any{at.Add(-keepForms)}},
		{&models.Reply{}, "created_at <= ?", []any{at.Add(-models.KeepReplies)}},
		{&models.Delivery{}, "at <= ?", []any{at.Add(-models.KeepDeliveries)}},
		{&models.Task{}, "kind = ? AND state = ? AND ended_at <= ?", []any{models.TaskCheck, models.TaskSucceeded, at.Add(-keepChecks)}},
	} {
		if err := s.with(ctx).Where(one.where, one.args...).Delete(one.model).Error; err != nil {
			return fmt.Errorf("prune database: %w", err)
		}
	}
	return s.PruneSignIns(ctx, at)
}
