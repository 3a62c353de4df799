package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"

	"github.com/alexedwards/argon2id"

	"hefring/models"
)

// loginLinkLife is how long a one-time link stays good.
const loginLinkLife = 24 * time.Hour

var userPattern = regexp.MustCompile(`^[a-z][a-z0-9._@+-]{0,63}$`)

// decoy is compared when there is no such user, so that the answer takes as long;
// it costs what hashParams costs.
const decoy = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$wMmvAmRi2ELZ8YbhnQ4lcHbHnQ4lcHbHnQ4lcHbHnQ4"

// hashParams is the cost of a password's hash: 19 MiB, two passes (OWASP).
func hashParams() *argon2id.Params {
	return &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
}

// CreateUser adds a person who may sign in. password "" allows one-time links
// only.
func (f *Fleet) CreateUser(ctx context.Context, name, password string) (models.User, error) {
	if !userPattern.MatchString(name) {
		return models.User{}, models.InvalidField("name", "Use a lower-case letter, then letters, digits and . _ @ + -, 64 at most.")
	}
	u := models.User{Name: name, Role: models.RoleAdministrator}
	if password != "" {
		hash, err := f.hash(ctx, password)
		if err != nil {
			return u, err
		}
		u.PasswordHash = hash
	}
	err := f.store.CreateUser(ctx, &u)
	return u, err
}

// SetPassword gives a person a new password.
func (f *Fleet) SetPassword(ctx context.Context, name, password string) error {
	u, err := f.store.UserByName(ctx, name)
	if err != nil {
		return err
	}
	hash, err := f.hash(ctx, password)
	if err != nil {
		return err
	}
	return f.store.SetPassword(ctx, u.ID, hash)
}

func (f *Fleet) hash(ctx context.Context, password string) (string, error) {
	if len(password) < 12 || len(password) > 200 {
		return "", models.InvalidField("password", "Use 12 to 200 characters.")
	}
	release, err := f.hashTurn(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	hash, err := argon2id.CreateHash(password, hashParams())
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// hashTurn waits until this process may compute one more hash: each takes much
// memory.
func (f *Fleet) hashTurn(ctx context.Context) (release func(), err error) {
	select {
	case f.hashes <- struct{}{}:
		return func() { <-f.hashes }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Login gives the person with this name and password.
func (f *Fleet) Login(ctx context.Context, name, password string) (models.User, error) {
	refused := models.Errorf(models.Forbidden, "Name and password do not fit. Check both, or ask for a one-time link.")
	u, err := f.store.UserByName(ctx, name)
	if err != nil && models.CodeOf(err) != models.NotFound {
		return models.User{}, err
	}
	hash := u.PasswordHash
	if hash == "" {
		hash = decoy
	}
	release, turn := f.hashTurn(ctx)
	if turn != nil {
		return models.User{}, turn
	}
	defer release()
	match, compare := argon2id.ComparePasswordAndHash(password, hash)
	if compare != nil || !match || err != nil || u.PasswordHash == "" {
		return models.User{}, refused
	}
	return u, nil
}

// LoginLink makes the token of a one-time way in for a person.
func (f *Fleet) LoginLink(ctx context.Context, name string) (token string, err error) {
	u, err := f.store.UserByName(ctx, name)
	if err != nil {
		return "", err
	}
	token = rand.Text()
	link := models.LoginLink{TokenHash: hashToken(token), UserID: u.ID, ExpiresAt: f.cfg.Now().Add(loginLinkLife)}
	return token, f.store.CreateLoginLink(ctx, link)
}

// UseLoginLink gives the person of a one-time link and uses it up.
func (f *Fleet) UseLoginLink(ctx context.Context, token string) (models.User, error) {
	u, err := f.store.UseLoginLink(ctx, hashToken(token), f.cfg.Now())
	if models.CodeOf(err) == models.NotFound {
		return u, models.Errorf(models.Forbidden, "This link was used or has expired. Run “hefring login-link” to make a new one.")
	}
	return u, err
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
