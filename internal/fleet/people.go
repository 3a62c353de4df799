package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/alexedwards/argon2id"

	"hefring/internal/fleet/passwords"
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
		hash, err := f.hash(ctx, name, password)
		if err != nil {
			return u, err
		}
		u.PasswordHash = hash
	}
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.CreateUser(ctx, &u); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(ActorSystem, "create user", userSubject(u.ID), u.Name+", "+string(u.Role)).With(nil, u))
	})
	return u, err
}

// SetPassword gives a person a new password, and ends the person's sessions.
func (f *Fleet) SetPassword(ctx context.Context, by, name, password string) error {
	u, err := f.store.UserByName(ctx, name)
	if err != nil {
		return err
	}
	hash, err := f.hash(ctx, u.Name, password)
	if err != nil {
		return err
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		if _, err := tx.EndSessions(ctx, u.ID, ""); err != nil {
			return err
		}
		if err := tx.SetPassword(ctx, u.ID, hash); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "change password", userSubject(u.ID), u.Name+". All sessions were ended.").Replaced("password"))
	})
}

// ChangePassword gives a person a new password who knows the present one, or has
// none yet. The person's other sessions end; session is the one that goes on.
func (f *Fleet) ChangePassword(ctx context.Context, userID int64, in NewPassword, session string) error {
	u, err := f.store.User(ctx, userID)
	if err != nil {
		return err
	}
	if err := f.knows(ctx, u, in.Present, in.Address, "present"); err != nil {
		return err
	}
	hash, err := f.hash(ctx, u.Name, in.Password)
	if err != nil {
		return err
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		if _, err := tx.EndSessions(ctx, u.ID, session); err != nil {
			return err
		}
		if err := tx.SetPassword(ctx, u.ID, hash); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(u.Name, "change password", userSubject(u.ID), "Other sessions were ended.").Replaced("password"))
	})
}

// NewPassword is what a form says about one's own password.
type NewPassword struct {
	Present, Password string
	Address           string // where the form came from
}

// knows proves a password in a form of somebody who is signed in. Who has none need
// not know it.
func (f *Fleet) knows(ctx context.Context, u models.User, password, address, field string) error {
	if u.PasswordHash == "" {
		return nil
	}
	_, err := f.Login(ctx, u.Name, password, address)
	if models.CodeOf(err) == models.Forbidden && models.RetryAfterOf(err) == 0 {
		return models.InvalidField(field, "This is not your password.")
	}
	return err
}

func userSubject(id int64) models.Subject { return models.Subject{Kind: models.SubjectUser, ID: id} }

func (f *Fleet) hash(ctx context.Context, name, password string) (string, error) {
	if why := passwords.Refuse(password, name, f.cfg.Host, "hefring"); why != "" {
		return "", models.InvalidField("password", why)
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

// maxTyped is how long a password is that is worth comparing.
const maxTyped = 4 * passwords.Longest

// Login gives the person with this name and password. Who guesses has to wait, see
// models.PatiencePair; the answer then says how long (models.RetryAfterOf). address
// is where the attempt comes from. A name that nobody has is answered alike and as
// late.
func (f *Fleet) Login(ctx context.Context, name, password, address string) (models.User, error) {
	tries := passwordTries(name, address)
	if err := f.count(ctx, tries); err != nil {
		return models.User{}, err
	}
	u, err := f.store.UserByName(ctx, name)
	if err != nil && models.CodeOf(err) != models.NotFound {
		return models.User{}, err
	}
	match, turn := f.matches(ctx, u.PasswordHash, password)
	if turn != nil {
		return models.User{}, turn
	}
	if !match || err != nil {
		if err := f.failedSignIn(ctx, u, "A password did not fit."); err != nil {
			return models.User{}, err
		}
		return models.User{}, models.Errorf(models.Forbidden, "Name and password do not fit. Check both, or ask for a one-time link.")
	}
	if err := f.forgive(ctx, tries); err != nil {
		return models.User{}, err
	}
	return u, admitted(u)
}

// failedSignIn records an attempt that was refused; u is nobody when the name that
// was typed is nobody's. What was typed is not kept: it may be a password in the
// wrong field.
func (f *Fleet) failedSignIn(ctx context.Context, u models.User, why string) error {
	return f.store.RecordEvent(ctx, f.event(models.ActorNobody, "sign in failed", userSubject(u.ID), strings.TrimSpace(u.Name+" "+why)))
}

// matches compares a password with its hash; "" takes as long and never matches.
func (f *Fleet) matches(ctx context.Context, hash, password string) (bool, error) {
	release, err := f.hashTurn(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	against := hash
	if hash == "" || len(password) > maxTyped {
		against, password = decoy, ""
	}
	match, err := argon2id.ComparePasswordAndHash(password, against)
	return err == nil && match && against == hash, nil
}

// admitted fails for those who may not sign in any more. Only who has proven to be
// the person learns it.
func admitted(u models.User) error {
	if u.DisabledAt != nil {
		return models.Errorf(models.Forbidden, "This account was disabled. Ask an administrator.")
	}
	return nil
}

// LoginLink makes the token of a one-time way in for a person.
func (f *Fleet) LoginLink(ctx context.Context, by, name string) (token string, err error) {
	u, err := f.store.UserByName(ctx, name)
	if err != nil {
		return "", err
	}
	token = rand.Text()
	link := models.LoginLink{TokenHash: hashToken(token), UserID: u.ID, ExpiresAt: f.cfg.Now().Add(loginLinkLife)}
	return token, f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.CreateLoginLink(ctx, link); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "make login link", userSubject(u.ID), u.Name).With(nil, link))
	})
}

// UseLoginLink gives the person of a one-time link and uses it up.
func (f *Fleet) UseLoginLink(ctx context.Context, token string) (models.User, error) {
	u, err := f.store.UseLoginLink(ctx, hashToken(token), f.cfg.Now())
	if models.CodeOf(err) == models.NotFound {
		return u, models.Errorf(models.Forbidden, "This link was used or has expired. Run “hefring login-link” to make a new one.")
	}
	if err != nil {
		return u, err
	}
	return u, admitted(u)
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
