package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"hefring/models"
)

// External is a person as an OpenID Connect provider describes them. Package web has
// checked that it was the provider.
type External struct {
	Issuer, Subject string
	Name            string // what the provider calls the person
	Email           string
	EmailVerified   bool
	Groups          []string
}

// Admission says what a provider's word is good for.
type Admission struct {
	AutoCreate bool                   // who is not known becomes a user
	Domains    []string               // of the verified e-mail addresses of those who may become users; empty: all
	Roles      map[string]models.Role // group → role; empty: groups say nothing
	Role       models.Role            // of new users where groups say nothing; "" is viewer
}

// role gives the highest role that the groups stand for; "" when they stand for none.
func (a Admission) role(groups []string) models.Role {
	var highest models.Role
	for _, group := range groups {
		if role := a.Roles[group]; role.AtLeast(highest) || highest == "" && role.Valid() {
			highest = role
		}
	}
	return highest
}

// ExternalLogin gives the user that a provider's person is: one that is linked, or a
// new one where that is allowed. An account of the same name is never taken for the
// person's: linking takes an act of the user's own, see LinkIdentity.
func (f *Fleet) ExternalLogin(ctx context.Context, who External, allow Admission) (models.User, error) {
	if len(allow.Roles) > 0 && allow.role(who.Groups) == "" {
		return models.User{}, models.Errorf(models.Forbidden, "None of your groups may use Hefring. Ask an administrator for one that may.")
	}
	var u models.User
	err := f.store.InTx(ctx, func(tx Tx) error {
		identity, err := tx.IdentityOf(ctx, who.Issuer, who.Subject)
		if models.CodeOf(err) == models.NotFound {
			u, err = f.welcome(ctx, tx, who, allow)
			return err
		}
		if err != nil {
			return err
		}
		now := f.cfg.Now()
		identity.Name, identity.UsedAt = who.Name, &now
		if err := tx.MarkIdentity(ctx, identity); err != nil {
			return err
		}
		u, err = tx.User(ctx, identity.UserID)
		return err
	})
	if err != nil {
		return u, err
	}
	if err := admitted(u); err != nil {
		return u, err
	}
	return f.followGroups(ctx, u, allow.role(who.Groups))
}

// welcome makes a user of somebody who is not known.
func (f *Fleet) welcome(ctx context.Context, tx Tx, who External, allow Admission) (models.User, error) {
	if !allow.AutoCreate {
		return models.User{}, models.Errorf(models.Forbidden, "No user of Hefring is linked to this account. Sign in with a password or a one-time link, then link it on the page of your account; or ask an administrator.")
	}
	if !allow.admits(who) {
		return models.User{}, models.Errorf(models.Forbidden, "Accounts with your e-mail address may not use Hefring. Ask an administrator.")
	}
	name := strings.ToLower(strings.TrimSpace(who.Name))
	if !userPattern.MatchString(name) {
		return models.User{}, models.Errorf(models.Forbidden, "The provider gave no name that Hefring can use: a letter, then letters, digits and . _ @ + -. Ask an administrator to make you a user.")
	}
	u := models.User{Name: name, Role: allow.role(who.Groups)}
	if u.Role == "" {
		u.Role = allow.Role
	}
	if u.Role == "" {
		u.Role = models.RoleViewer
	}
	err := tx.CreateUser(ctx, &u)
	if models.CodeOf(err) == models.Conflict {
		return u, models.Wrapf(models.Forbidden, err, "There is a user %s already who is not linked to this account. If that is you, sign in with your password or a one-time link and link it on the page of your account.", name)
	}
	if err != nil {
		return u, err
	}
	if err := tx.RecordEvent(ctx, f.event(u.Name, "create user", userSubject(u.ID), fmt.Sprintf("%s, %s, known to %s", u.Name, u.Role, who.Issuer)).With(nil, u)); err != nil {
		return u, err
	}
	return u, f.link(ctx, tx, u, who)
}

func (a Admission) admits(who External) bool {
	if len(a.Domains) == 0 {
		return true
	}
	_, domain, found := strings.Cut(who.Email, "@")
	return found && who.EmailVerified && slices.ContainsFunc(a.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
}

func (f *Fleet) link(ctx context.Context, tx Tx, u models.User, who External) error {
	now := f.cfg.Now()
	identity := models.Identity{UserID: u.ID, Issuer: who.Issuer, Subject: who.Subject, Name: who.Name, CreatedAt: now, UsedAt: &now}
	if err := tx.CreateIdentity(ctx, &identity); err != nil {
		return err
	}
	return tx.RecordEvent(ctx, f.event(u.Name, "link identity", userSubject(u.ID), identity.Said()).With(nil, identity))
}

// followGroups gives a user the role that the groups stand for. Somebody must be left who
// can administer, and an administrator belongs to no client.
func (f *Fleet) followGroups(ctx context.Context, u models.User, role models.Role) (models.User, error) {
	if u.ClientID != nil && role == models.RoleAdministrator {
		role = models.RoleManager
	}
	if role == "" || role == u.Role {
		return u, nil
	}
	var was models.User
	last := false
	err := f.store.InTx(ctx, func(tx Tx) (err error) {
		if was, err = tx.LockUser(ctx, u.ID); err != nil {
			return err
		}
		u = was
		u.Role = role
		if err := tx.SaveUser(ctx, u); err != nil {
			return err
		}
		left, err := tx.Administrators(ctx)
		if last = err == nil && left == 0; last {
			return models.Errorf(models.Conflict, "%s is the last administrator.", u.Name)
		}
		if err != nil {
			return err
		}
		return tx.RecordEdit(ctx, f.event(u.Name, "change user", userSubject(u.ID), fmt.Sprintf("%s: %s → %s, by groups of the provider", u.Name, was.Role, role)).With(models.User{Role: was.Role}, models.User{Role: role}))
	})
	if last {
		f.logger.WarnContext(ctx, "the last administrator keeps the role although the provider's groups give another",
			slog.String("user", u.Name), slog.String("role", string(role)))
		return was, nil
	}
	return u, err
}

// LinkIdentity links a provider's person to a user who is signed in and wants it.
// Conflict: it is linked to somebody.
func (f *Fleet) LinkIdentity(ctx context.Context, userID int64, who External) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		u, err := tx.User(ctx, userID)
		if err != nil {
			return err
		}
		return f.link(ctx, tx, u, who)
	})
}

// Identities lists the provider's persons that a user is linked to.
func (f *Fleet) Identities(ctx context.Context, userID int64) ([]models.Identity, error) {
	return f.store.Identities(ctx, userID)
}

// UnlinkIdentity ends a link. Conflict: it is the user's only way in.
func (f *Fleet) UnlinkIdentity(ctx context.Context, userID, id int64) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		u, err := tx.LockUser(ctx, userID) // of two links, one of which must stay, not both go at once
		if err != nil {
			return err
		}
		linked, err := tx.Identities(ctx, userID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(linked, func(l models.Identity) bool { return l.ID == id })
		if i >= 0 && u.PasswordHash == "" && len(linked) == 1 {
			return models.Errorf(models.Conflict, "This is your only way to sign in. Set a password first.")
		}
		if err := tx.DeleteIdentity(ctx, userID, id); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(u.Name, "unlink identity", userSubject(userID), linked[i].Said()).With(linked[i], nil))
	})
}
