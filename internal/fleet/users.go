package fleet

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"hefring/models"
)

// People is the part of the store that knows who there is.
type People interface {
	UserRows(ctx context.Context, f Filter) ([]UserRow, int, error)     // by name
	LockUser(ctx context.Context, id int64) (models.User, error)        // others that change users wait
	SaveUser(ctx context.Context, u models.User) error                  // role, client and whether disabled
	Administrators(ctx context.Context) (int, error)                    // that may sign in and belong to no client
	Clients(ctx context.Context) ([]ClientRow, error)                   // by name, with what they have
	ClientRows(ctx context.Context, f Filter) ([]ClientRow, int, error) // by name, with what they have
	ClientNames(ctx context.Context) ([]models.Client, error)           // by name
	Client(ctx context.Context, id int64) (models.Client, error)        //
	LockClient(ctx context.Context, id int64) (models.Client, error)    // others that change it wait
	ClientNamed(ctx context.Context, name string) (models.Client, error)
	SaveClient(ctx context.Context, c *models.Client) error                            // ID 0 makes a new one; Conflict: name taken
	DeleteClient(ctx context.Context, by string, id int64) error                       // with its channels; Conflict: it has sites or users
	SetClient(ctx context.Context, siteID int64, clientID *int64) (models.Site, error) // whose a site is; the site as it was
}

// UserRow is one line of the list of users.
type UserRow struct {
	models.User
	ClientName string
	Tokens     int
}

// ClientRow is one line of the list of clients.
type ClientRow struct {
	models.Client
	Sites, Users int
}

// NewUser is what a form about a user says.
type NewUser struct {
	Name     string
	Role     models.Role
	ClientID int64 // 0: none
	Disabled bool
	Password string // of a new user; "" allows one-time links only
}

var clientPattern = regexp.MustCompile(`^[^\pC]{1,100}$`)

// User loads one.
func (f *Fleet) User(ctx context.Context, id int64) (models.User, error) {
	return f.store.User(ctx, id)
}

// AddUser adds a person, who gets in by a one-time link at first.
func (f *Fleet) AddUser(ctx context.Context, by string, in NewUser) (models.User, error) {
	wrong := in.problems()
	if !userPattern.MatchString(in.Name) {
		wrong["name"] = "Use a lower-case letter, then letters, digits and . _ @ + -, 64 at most."
	}
	if len(wrong) > 0 {
		return models.User{}, models.InvalidFields(wrong)
	}
	u := models.User{Name: in.Name, Role: in.Role, ClientID: optional(in.ClientID)}
	var err error
	if in.Password != "" {
		if u.PasswordHash, err = f.hash(ctx, in.Name, in.Password); err != nil {
			return u, err
		}
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := clientExists(ctx, tx, u.ClientID); err != nil {
			return err
		}
		if err := tx.CreateUser(ctx, &u); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "create user", models.Subject{Kind: models.SubjectUser, ID: u.ID}, u.Name+", "+string(u.Role)).With(nil, u))
	})
	return u, err
}

func (in NewUser) problems() map[string]string {
	wrong := map[string]string{}
	if !in.Role.Valid() {
		wrong["role"] = "Choose viewer, operator, manager or administrator."
	}
	if in.ClientID != 0 && in.Role == models.RoleAdministrator {
		wrong["role"] = "An administrator looks after everything, so this one cannot belong to a client."
	}
	return wrong
}

func optional(id int64) *int64 {
	if id == 0 {
		return nil
	}
	return &id
}

func clientExists(ctx context.Context, tx Tx, id *int64) error {
	if id == nil {
		return nil
	}
	_, err := tx.Client(ctx, *id)
	if models.CodeOf(err) == models.NotFound {
		return models.InvalidField("client", "There is no such client any more. Choose another.")
	}
	return err
}

// ChangeUser gives a user another role or client, or takes the right to sign in
// away. Somebody must be left who can administer.
func (f *Fleet) ChangeUser(ctx context.Context, by string, id int64, in NewUser) error {
	if wrong := in.problems(); len(wrong) > 0 {
		return models.InvalidFields(wrong)
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		u, err := tx.LockUser(ctx, id)
		if err != nil {
			return err
		}
		old, was := u, describe(u)
		u.Role, u.ClientID = in.Role, optional(in.ClientID)
		if in.Disabled != (u.DisabledAt != nil) {
			u.DisabledAt = nil
			if in.Disabled {
				now := f.cfg.Now()
				u.DisabledAt = &now
			}
		}
		if err := clientExists(ctx, tx, u.ClientID); err != nil {
			return err
		}
		if err := tx.SaveUser(ctx, u); err != nil {
			return err
		}
		if left, err := tx.Administrators(ctx); err != nil || left == 0 {
			return orElse(err, models.Errorf(models.Conflict, "%s is the last administrator. Make somebody else one first.", u.Name))
		}
		return tx.RecordEdit(ctx, f.event(by, "change user", models.Subject{Kind: models.SubjectUser, ID: id}, fmt.Sprintf("%s: %s → %s", u.Name, was, describe(u))).With(old, u))
	})
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func describe(u models.User) string {
	text := string(u.Role)
	if u.ClientID != nil {
		text += fmt.Sprintf(" of client %d", *u.ClientID)
	}
	if u.DisabledAt != nil {
		text += ", may not sign in"
	}
	return text
}

// SaveClient makes a client, or changes its name and note.
func (f *Fleet) SaveClient(ctx context.Context, by string, c models.Client) (models.Client, error) {
	c.Name, c.Note = strings.TrimSpace(c.Name), strings.TrimSpace(c.Note)
	wrong := map[string]string{}
	if !clientPattern.MatchString(c.Name) {
		wrong["name"] = "Give a name of up to 100 characters."
	}
	if len(c.Note) > 2000 {
		wrong["note"] = "Use 2,000 characters at most."
	}
	if len(wrong) > 0 {
		return c, models.InvalidFields(wrong)
	}
	verb := "change client"
	if c.ID == 0 {
		verb = "create client"
	}
	err := f.store.InTx(ctx, func(tx Tx) error {
		var old models.Client
		if c.ID != 0 {
			var err error
			if old, err = tx.LockClient(ctx, c.ID); err != nil {
				return err
			}
		}
		if err := tx.SaveClient(ctx, &c); err != nil {
			return err
		}
		return tx.RecordEdit(ctx, f.event(by, verb, clientSubject(c.ID), c.Name).With(old, c))
	})
	return c, err
}

// DeleteClient removes a client that has neither sites nor users, with the channels
// of notices about it.
func (f *Fleet) DeleteClient(ctx context.Context, by string, id int64) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		c, err := tx.LockClient(ctx, id)
		if err != nil {
			return err
		}
		if err := tx.DeleteClient(ctx, by, id); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "delete client", clientSubject(id), c.Name).With(c, nil))
	})
}

// GiveSite says whose a site is; 0: the host's own.
func (f *Fleet) GiveSite(ctx context.Context, by string, siteID, clientID int64) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		name := "nobody"
		if clientID != 0 {
			c, err := tx.Client(ctx, clientID)
			if err != nil {
				return err
			}
			name = c.Name
		}
		old, err := tx.SetClient(ctx, siteID, optional(clientID))
		if err != nil {
			return err
		}
		return tx.RecordEdit(ctx, f.event(by, "give to client", models.Subject{Kind: models.SubjectSite, ID: siteID}, name).
			With(models.Site{ClientID: old.ClientID}, models.Site{ClientID: optional(clientID)}))
	})
}

func clientSubject(id int64) models.Subject {
	return models.Subject{Kind: models.SubjectClient, ID: id}
}
