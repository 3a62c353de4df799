package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm/clause"

	"hefring/internal/fleet"
	"hefring/models"
)

// CreateUser stores a user. Conflict: name taken, in capitals or not.
func (s *Store) CreateUser(ctx context.Context, u *models.User) error {
	taken := fmt.Sprintf("There is a user with the name %s already. Choose another.", u.Name)
	return s.atomic(ctx, func(tx *Store) error { return create(ctx, tx, "user", u, taken) })
}

// User loads one.
func (s *Store) User(ctx context.Context, id int64) (models.User, error) {
	return get[models.User](ctx, s, "user", id)
}

// UserByName finds a user by name, in capitals or not.
func (s *Store) UserByName(ctx context.Context, name string) (models.User, error) {
	return first[models.User](s.with(ctx).Where("lower(name) = lower(?)", name), "user", name)
}

// SetPassword stores the hash of a user's password.
func (s *Store) SetPassword(ctx context.Context, userID int64, hash string) error {
	done := s.with(ctx).Model(&models.User{}).Where("id = ?", userID).Update("password_hash", hash)
	if done.Error != nil {
		return fmt.Errorf("set password of user %d: %w", userID, done.Error)
	}
	if done.RowsAffected == 0 {
		return missing("user", userID)
	}
	return nil
}

// CreateLoginLink stores a one-time way in.
func (s *Store) CreateLoginLink(ctx context.Context, l models.LoginLink) error {
	return s.atomic(ctx, func(tx *Store) error {
		return create(ctx, tx, "login link", &l, "This login link exists already. Ask for another.")
	})
}

// UseLoginLink uses a link up and gives its user. NotFound: unknown, used or
// expired.
func (s *Store) UseLoginLink(ctx context.Context, tokenHash string, at time.Time) (models.User, error) {
	var user models.User
	err := s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.LoginLink{}).
			Where("token_hash = ? AND used_at IS NULL AND expires_at > ?", tokenHash, at).Update("used_at", at)
		if done.Error != nil {
			return fmt.Errorf("use login link: %w", done.Error)
		}
		if done.RowsAffected == 0 {
			return models.Errorf(models.NotFound, "This login link was used already or has expired. Ask for a new one.")
		}
		var link models.LoginLink
		if err := tx.with(ctx).Where("token_hash = ?", tokenHash).Take(&link).Error; err != nil {
			return fmt.Errorf("load login link: %w", err)
		}
		var err error
		user, err = tx.User(ctx, link.UserID)
		return err
	})
	return user, err
}

// formToken remembers what a form made, so that sending it twice makes it once.
type formToken struct {
	Token     string `gorm:"primaryKey"`
	ThingID   int64
	Content   string `gorm:"default:''"` // "" is not known: an older Hefring took it
	CreatedAt time.Time
}

// Once claims the token of a form that makes something. If the token was
// claimed before, fresh is false, and seen is what the form made and the content that
// it was claimed with. A claim waits for another one at the same time to end.
func (s *Store) Once(ctx context.Context, token, content string) (seen fleet.SentForm, fresh bool, err error) {
	if token == "" {
		return seen, false, errors.New("claim form: it has no token")
	}
	err = s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&formToken{Token: token, Content: content})
		if done.Error != nil {
			return fmt.Errorf("claim form: %w", done.Error)
		}
		if fresh = done.RowsAffected == 1; fresh {
			return nil
		}
		var row formToken
		if err := tx.with(ctx).Where("token = ?", token).Take(&row).Error; err != nil {
			return fmt.Errorf("find what the form made: %w", err)
		}
		seen = fleet.SentForm{ID: row.ThingID, Content: row.Content}
		return nil
	})
	return seen, fresh, err
}

// UseOnce stores what the form with a claimed token made.
func (s *Store) UseOnce(ctx context.Context, token string, id int64) error {
	done := s.with(ctx).Model(&formToken{}).Where("token = ?", token).Update("thing_id", id)
	if done.Error != nil {
		return fmt.Errorf("remember what the form made: %w", done.Error)
	}
	if done.RowsAffected == 0 {
		return missing("form", token)
	}
	return nil
}

// CreateToken stores a token. Conflict: the user has one of that name.
func (s *Store) CreateToken(ctx context.Context, t *models.Token) error {
	return s.atomic(ctx, func(tx *Store) error {
		return create(ctx, tx, "token", t, fmt.Sprintf("There is a token with the name %s already. Choose another, or revoke it.", t.Name))
	})
}

// tokenUse is how exactly the last use of a token is noted: each note is a write.
const tokenUse = time.Hour

// UseToken gives a token. NotFound: unknown or expired.
func (s *Store) UseToken(ctx context.Context, hash string, at time.Time) (models.Token, error) {
	t, err := first[models.Token](s.with(ctx).Where("hash = ? AND expires_at > ?", hash, at.UTC()), "token", "of this value")
	if err != nil {
		return t, err
	}
	if t.UsedAt == nil || at.Sub(*t.UsedAt) > tokenUse {
		if err := s.with(ctx).Model(&models.Token{}).Where("id = ?", t.ID).UpdateColumn("used_at", at.UTC()).Error; err != nil {
			return t, fmt.Errorf("note use of token %d: %w", t.ID, err)
		}
	}
	return t, nil
}

// Tokens lists a user's tokens by name.
func (s *Store) Tokens(ctx context.Context, userID int64) ([]models.Token, error) {
	var list []models.Token
	if err := s.with(ctx).Where("user_id = ?", userID).Order("name").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	names, err := s.clientsByID(ctx, collect(list, func(t models.Token) *int64 { return t.ClientID }))
	for i := range list {
		if id := list[i].ClientID; id != nil {
			list[i].Client = names[*id]
		}
	}
	return list, err
}

// DeleteToken revokes a token.
func (s *Store) DeleteToken(ctx context.Context, userID int64, name string) (models.Token, error) {
	var deleted []models.Token
	err := s.with(ctx).Clauses(clause.Returning{}).Where("user_id = ? AND name = ?", userID, name).Delete(&deleted).Error
	if err != nil {
		return models.Token{}, fmt.Errorf("revoke token: %w", err)
	}
	if len(deleted) == 0 {
		return models.Token{}, missing("token", name)
	}
	return deleted[0], nil
}
