package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm/clause"
)

// Sessions keeps browser sessions for the session manager of package web.
type Sessions struct{ store *Store }

// Sessions gives the keeper of browser sessions.
func (s *Store) Sessions() *Sessions { return &Sessions{s} }

type session struct {
	Token  string `gorm:"primaryKey"`
	Data   []byte
	Expiry time.Time
}

// FindCtx gives a session's data; false when it is unknown or expired.
func (k *Sessions) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	var found []session
	err := k.store.with(ctx).Where("token = ? AND expiry > ?", token, now()).Limit(1).Find(&found).Error
	if err != nil {
		return nil, false, fmt.Errorf("find session: %w", err)
	}
	if len(found) == 0 {
		return nil, false, nil
	}
	return found[0].Data, true, nil
}

// CommitCtx stores a session's data until expiry.
func (k *Sessions) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	row := session{Token: token, Data: data, Expiry: expiry.UTC().Truncate(time.Microsecond)}
	err := k.store.with(ctx).Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "token"}}, DoUpdates: clause.AssignmentColumns([]string{"data", "expiry"}),
	}).Create(&row).Error
	if err != nil {
		return fmt.Errorf("store session: %w", err)
	}
	return nil
}

// DeleteCtx removes a session; one that does not exist is no error.
func (k *Sessions) DeleteCtx(ctx context.Context, token string) error {
	if err := k.store.with(ctx).Where("token = ?", token).Delete(&session{}).Error; err != nil {
		return fmt.Errorf("delete session: %w", err)
	}
	return nil
}

// AllCtx gives the data of every session that has not expired, by token.
func (k *Sessions) AllCtx(ctx context.Context) (map[string][]byte, error) {
	var found []session
	if err := k.store.with(ctx).Where("expiry > ?", now()).Find(&found).Error; err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	all := make(map[string][]byte, len(found))
	for _, one := range found {
		all[one.Token] = one.Data
	}
	return all, nil
}

// Find is FindCtx for callers without a context.
func (k *Sessions) Find(token string) ([]byte, bool, error) {
	return k.FindCtx(context.Background(), token)
}

// Commit is CommitCtx for callers without a context.
func (k *Sessions) Commit(token string, data []byte, expiry time.Time) error {
	return k.CommitCtx(context.Background(), token, data, expiry)
}

// Delete is DeleteCtx for callers without a context.
func (k *Sessions) Delete(token string) error { return k.DeleteCtx(context.Background(), token) }

// All is AllCtx for callers without a context.
func (k *Sessions) All() (map[string][]byte, error) { return k.AllCtx(context.Background()) }
