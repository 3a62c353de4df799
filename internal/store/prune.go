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
// checks found stays. And SQLite looks at how much there is.
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
	if err := s.PruneSignIns(ctx, at); err != nil {
		return err
	}
	return s.weigh(ctx)
}

// weigh has SQLite look at how many rows its tables have and how its indexes divide
// them, if that has changed much: it then finds a list's rows by what few of them have,
// and not by what most have. PostgreSQL does so by itself.
func (s *Store) weigh(ctx context.Context) error {
	if s.engine.pool() != nil {
		return nil
	}
	const allTables = 0x10002 // not only those that this connection asked for; see sqlite.org/pragma.html#pragma_optimize
	if err := s.with(ctx).Exec(fmt.Sprintf("PRAGMA optimize = %d", allTables)).Error; err != nil {
		return fmt.Errorf("weigh database: %w", err)
	}
	return nil
}
