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

// NewToken is what a form says about a token.
type NewToken struct {
	User, Name string
	Life       time.Duration
	Role       models.Role // what programs may do with it at most; "" is what the user may
	ClientID   int64       // whose sites are all that there is for them; 0: as for the user
}

// problems says what is wrong with a token for a user.
func (in NewToken) problems(u models.User) map[string]string {
	wrong := map[string]string{}
	if !tokenName.MatchString(in.Name) {
		wrong["name"] = "Say in up to 64 letters, digits, spaces, dots and hyphens what it is for."
	}
	if in.Life < time.Minute || in.Life > maxTokenLife {
		wrong["life"] = "Choose between a minute and a year."
	}
	if in.Role != "" && (!in.Role.Valid() || !u.Role.AtLeast(in.Role)) {
		wrong["role"] = "Choose a role that is at most the user's own."
	}
	if in.ClientID != 0 && u.ClientID != nil && *u.ClientID != in.ClientID {
		wrong["client"] = "The user does not see the sites of this client. Choose the user's own."
	}
	return wrong
}

// CreateToken makes a token with which programs act for a user. It is shown once;
// what is kept is its hash.
func (f *Fleet) CreateToken(ctx context.Context, by string, in NewToken) (string, error) {
	u, err := f.store.UserByName(ctx, in.User)
	if err != nil {
		return "", err
	}
	if wrong := in.problems(u); len(wrong) > 0 {
		return "", models.InvalidFields(wrong)
	}
	token := tokenMark + strings.ToLower(rand.Text())
	t := models.Token{UserID: u.ID, Name: in.Name, Hash: hashToken(token), ExpiresAt: f.cfg.Now().Add(in.Life), Role: in.Role, ClientID: optional(in.ClientID)}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := clientExists(ctx, tx, t.ClientID); err != nil {
			return err
		}
		if err := tx.CreateToken(ctx, &t); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "create token", models.Subject{Kind: models.SubjectUser, ID: u.ID}, in.Name).With(nil, t))
	})
	return token, err
}

// UseToken gives who comes with a token: a program that may do what its user may, as
// far as the token allows it.
func (f *Fleet) UseToken(ctx context.Context, token string) (models.Actor, error) {
	t, err := f.store.UseToken(ctx, hashToken(token), f.cfg.Now())
	if models.CodeOf(err) == models.NotFound {
		return models.Actor{}, models.Errorf(models.Forbidden, "This token is not known or has expired. Make one with hefring token add.")
	}
	if err != nil {
		return models.Actor{}, err
	}
	u, err := f.store.User(ctx, t.UserID)
	if err != nil {
		return models.Actor{}, err
	}
	if t.ClientID != nil {
		c, err := f.store.Client(ctx, *t.ClientID)
		if err != nil {
			return models.Actor{}, err
		}
		t.Client = c.Name
	}
	by := t.Actor(u)
	by.Entrance.Token = t.Said()
	return by, nil
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
func (f *Fleet) RevokeToken(ctx context.Context, by, user, name string) error {
	u, err := f.store.UserByName(ctx, user)
	if err != nil {
		return err
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		token, err := tx.DeleteToken(ctx, u.ID, name)
		if err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "revoke token", userSubject(u.ID), name).With(token, nil))
	})
}
