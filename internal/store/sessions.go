package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm/clause"

	"hefring/models"
)

// Sessions keeps browser sessions for the session manager of package web.
type Sessions struct{ store *Store }

// sessionTime is how long a session is looked for or stored. Live logs have no limit
// as a whole, and begin with this.
const sessionTime = 10 * time.Second

// Sessions gives the keeper of browser sessions.
func (s *Store) Sessions() *Sessions { return &Sessions{s} }

// session is what a browser is known by. Whose it is says its models.SignIn alone,
// which ends with it: a request that was under way when its session was ended writes
// the session anew, and that lets nobody in.
type session struct {
	Token  string `gorm:"primaryKey"`
	Data   []byte
	Expiry time.Time
}

// FindCtx gives a session's data; false when it is unknown or expired.
func (k *Sessions) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, sessionTime)
	defer cancel()
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
	ctx, cancel := context.WithTimeout(ctx, sessionTime)
	defer cancel()
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
	ctx, cancel := context.WithTimeout(ctx, sessionTime)
	defer cancel()
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

// StartSession makes a stored session a user's. NotFound: there is none.
func (s *Store) StartSession(ctx context.Context, begun models.SignIn) error {
	return s.atomic(ctx, func(tx *Store) error {
		return create(ctx, tx, "session", &begun, "This session is somebody's already. Sign out first.")
	})
}

// SessionUser gives a session and its user. NotFound: unknown, ended, expired, or
// nobody's.
func (s *Store) SessionUser(ctx context.Context, token string, at time.Time) (models.SignIn, models.User, error) {
	var row struct {
		models.User
		SignedInAt time.Time
		SeenAt     time.Time
		Address    string
		Agent      string
	}
	found := s.with(ctx).Table("sign_ins").Select("users.*, sign_ins.created_at AS signed_in_at, sign_ins.seen_at, sign_ins.address, sign_ins.agent").
		Joins("JOIN sessions ON sessions.token = sign_ins.token").Joins("JOIN users ON users.id = sign_ins.user_id").
		Where("sign_ins.token = ? AND sessions.expiry > ?", token, at).Limit(1).Scan(&row)
	if found.Error != nil {
		return models.SignIn{}, models.User{}, fmt.Errorf("find user of session: %w", found.Error)
	}
	if found.RowsAffected == 0 {
		return models.SignIn{}, models.User{}, missing("session", "of this browser")
	}
	return models.SignIn{
		Token: token, UserID: row.ID, CreatedAt: row.SignedInAt, SeenAt: row.SeenAt, Address: row.Address, Agent: row.Agent,
	}, row.User, nil
}

// SeeSession notes that a session was used.
func (s *Store) SeeSession(ctx context.Context, token string, at time.Time) error {
	if err := s.with(ctx).Model(&models.SignIn{}).Where("token = ? AND seen_at < ?", token, at).Update("seen_at", at).Error; err != nil {
		return fmt.Errorf("note use of session: %w", err)
	}
	return nil
}

// maxSignIns is how many sessions of one user are listed.
const maxSignIns = 200

// SignIns lists a user's sessions, the one that was used last first.
func (s *Store) SignIns(ctx context.Context, userID int64, at time.Time) ([]models.SignIn, error) {
	var list []models.SignIn
	err := s.with(ctx).Joins("JOIN sessions ON sessions.token = sign_ins.token").Where("user_id = ? AND sessions.expiry > ?", userID, at).
		Order("seen_at DESC, sign_ins.token").Limit(maxSignIns).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list sessions of user %d: %w", userID, err)
	}
	return list, nil
}

// EndSession removes a user's session. NotFound: the user has none of that token.
func (s *Store) EndSession(ctx context.Context, userID int64, token string) error {
	n, err := s.endSessions(ctx, "token = ? AND token IN (SELECT token FROM sign_ins WHERE user_id = ?)", token, userID)
	if err == nil && n == 0 {
		return models.Errorf(models.NotFound, "This session has ended already. Reload the page.")
	}
	return err
}

// EndSessions removes all sessions of a user but the one named; "" keeps none. It
// tells how many there were.
func (s *Store) EndSessions(ctx context.Context, userID int64, except string) (int, error) {
	return s.endSessions(ctx, "token <> ? AND token IN (SELECT token FROM sign_ins WHERE user_id = ?)", except, userID)
}

func (s *Store) endSessions(ctx context.Context, where string, args ...any) (int, error) {
	done := s.with(ctx).Where(where, args...).Delete(&session{})
	if done.Error != nil {
		return 0, fmt.Errorf("end sessions: %w", done.Error)
	}
	return int(done.RowsAffected), nil
}
