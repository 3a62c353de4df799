package fleet

import (
	"context"
	"crypto/rand"
	"regexp"
	"strings"
	"time"

	"hefring/models"
)

// tokenMark begins every token, so that scanners for leaked secrets know one.
const tokenMark = "hefring_"

// maxTokenLife bounds how long a token stays good.
const maxTokenLife = 366 * 24 * time.Hour

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$`)

// CreateToken makes a token with which programs act for a user. It is shown once;
// what is kept is its hash.
func (f *Fleet) CreateToken(ctx context.Context, user, name string, life time.Duration) (string, error) {
	u, err := f.store.UserByName(ctx, user)
	if err != nil {
		return "", err
	}
	wrong := map[string]string{}
	if !tokenName.MatchString(name) {
		wrong["name"] = "Say in up to 64 letters, digits, spaces, dots and hyphens what it is for."
	}
	if life < time.Minute || life > maxTokenLife {
		wrong["life"] = "Choose between a minute and a year."
	}
	if len(wrong) > 0 {
		return "", invalid(wrong)
	}
	token := tokenMark + strings.ToLower(rand.Text())
	err = f.store.InTx(ctx, func(tx Tx) error {
		t := models.Token{UserID: u.ID, Name: name, Hash: hashToken(token), ExpiresAt: f.cfg.Now().Add(life)}
		if err := tx.CreateToken(ctx, &t); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(user, "create token", models.Subject{Kind: models.SubjectUser, ID: u.ID}, name))
	})
	return token, err
}

// UseToken gives the user for whom a program acts.
func (f *Fleet) UseToken(ctx context.Context, token string) (models.User, error) {
	u, err := f.store.UseToken(ctx, hashToken(token), f.cfg.Now())
	if models.CodeOf(err) == models.NotFound {
		err = models.Errorf(models.Forbidden, "This token is not known or has expired. Make one with hefring token add.")
	}
	return u, err
}

// Tokens lists a user's tokens.
func (f *Fleet) Tokens(ctx context.Context, user string) ([]models.Token, error) {
	u, err := f.store.UserByName(ctx, user)
	if err != nil {
		return nil, err
	}
	return f.store.Tokens(ctx, u.ID)
}

// RevokeToken ends a token.
func (f *Fleet) RevokeToken(ctx context.Context, user, name string) error {
	u, err := f.store.UserByName(ctx, user)
	if err != nil {
		return err
	}
	return f.store.DeleteToken(ctx, u.ID, name)
}
