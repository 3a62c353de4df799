package fleet

import (
	"context"

	"hefring/models"
)

// UserRows lists who may sign in.
func (d *Desk) UserRows(ctx context.Context, f Filter) ([]UserRow, int, error) {
	if err := d.may(models.MayManageUsers); err != nil {
		return nil, 0, err
	}
	return d.fleet.store.UserRows(ctx, f)
}

// User loads one.
func (d *Desk) User(ctx context.Context, id int64) (models.User, error) {
	return guarded(d, models.MayManageUsers, func() (models.User, error) { return d.fleet.User(ctx, id) })
}

// AsksForCode is Fleet.AsksForCode for those who look after users.
func (d *Desk) AsksForCode(ctx context.Context, userID int64) (bool, error) {
	return guarded(d, models.MayManageUsers, func() (bool, error) { return d.fleet.AsksForCode(ctx, userID) })
}

// UserNamed finds one by its name.
func (d *Desk) UserNamed(ctx context.Context, name string) (models.User, error) {
	return guarded(d, models.MayManageUsers, func() (models.User, error) { return d.fleet.UserNamed(ctx, name) })
}

// AddUser is Fleet.AddUser for those who may.
func (d *Desk) AddUser(ctx context.Context, in NewUser) (models.User, error) {
	return guarded(d, models.MayManageUsers, func() (models.User, error) { return d.fleet.AddUser(ctx, d.by.Name, in) })
}

// ChangeUser is Fleet.ChangeUser for those who may.
func (d *Desk) ChangeUser(ctx context.Context, id int64, in NewUser) error {
	if err := d.may(models.MayManageUsers); err != nil {
		return err
	}
	return d.fleet.ChangeUser(ctx, d.by.Name, id, in)
}

// SetPassword gives a user a new password.
func (d *Desk) SetPassword(ctx context.Context, name, password string) error {
	if err := d.may(models.MayManageUsers); err != nil {
		return err
	}
	return d.fleet.SetPassword(ctx, d.by.Name, name, password)
}

// LoginLink makes a one-time way in for a user.
func (d *Desk) LoginLink(ctx context.Context, name string) (string, error) {
	return guarded(d, models.MayManageUsers, func() (string, error) { return d.fleet.LoginLink(ctx, d.by.Name, name) })
}

// DropSecondFactor takes a user's second factor away, for one who lost it.
func (d *Desk) DropSecondFactor(ctx context.Context, userID int64) error {
	if err := d.may(models.MayManageUsers); err != nil {
		return err
	}
	return d.fleet.DropSecondFactor(ctx, d.by.Name, userID)
}

// CreateToken makes a token for the actor, or for another one by those who may.
func (d *Desk) CreateToken(ctx context.Context, in NewToken) (string, error) {
	if err := d.onUser(in.User); err != nil {
		return "", err
	}
	return d.fleet.CreateToken(ctx, d.by.Name, in)
}

// Tokens lists a user's tokens.
func (d *Desk) Tokens(ctx context.Context, user string) ([]models.Token, error) {
	if err := d.onUser(user); err != nil {
		return nil, err
	}
	return d.fleet.Tokens(ctx, user)
}

// RevokeToken ends a token.
func (d *Desk) RevokeToken(ctx context.Context, user, name string) error {
	if err := d.onUser(user); err != nil {
		return err
	}
	return d.fleet.RevokeToken(ctx, d.by.Name, user, name)
}

// onUser lets everybody look after their own, but not with a token that is narrowed:
// it would make itself one that is not.
func (d *Desk) onUser(name string) error {
	if d.by.UserID != 0 && d.by.Name == name && !d.by.Narrowed {
		return nil
	}
	return d.may(models.MayManageUsers)
}

// Clients lists clients by name.
func (d *Desk) Clients(ctx context.Context) ([]ClientRow, error) {
	return guarded(d, models.MaySeeFleet, func() ([]ClientRow, error) { return d.fleet.store.Clients(ctx) })
}

// ClientRows lists clients by name, in parts.
func (d *Desk) ClientRows(ctx context.Context, f Filter) ([]ClientRow, int, error) {
	if err := d.may(models.MaySeeFleet); err != nil {
		return nil, 0, err
	}
	return d.fleet.store.ClientRows(ctx, f)
}

// ClientNames lists clients by name, to choose from.
func (d *Desk) ClientNames(ctx context.Context) ([]models.Client, error) {
	return guarded(d, models.MaySeeFleet, func() ([]models.Client, error) { return d.fleet.store.ClientNames(ctx) })
}

// Client loads one.
func (d *Desk) Client(ctx context.Context, id int64) (models.Client, error) {
	return guarded(d, models.MaySeeFleet, func() (models.Client, error) { return d.fleet.store.Client(ctx, id) })
}

// ClientNamed finds one by its name.
func (d *Desk) ClientNamed(ctx context.Context, name string) (models.Client, error) {
	return guarded(d, models.MaySeeFleet, func() (models.Client, error) { return d.fleet.ClientNamed(ctx, name) })
}

// SaveClient is Fleet.SaveClient for those who may.
func (d *Desk) SaveClient(ctx context.Context, c models.Client) (models.Client, error) {
	return guarded(d, models.MayManageClients, func() (models.Client, error) { return d.fleet.SaveClient(ctx, d.by.Name, c) })
}

// DeleteClient is Fleet.DeleteClient for those who may.
func (d *Desk) DeleteClient(ctx context.Context, id int64) error {
	if err := d.may(models.MayManageClients); err != nil {
		return err
	}
	return d.fleet.DeleteClient(ctx, d.by.Name, id)
}

// GiveSite is Fleet.GiveSite for those who may.
func (d *Desk) GiveSite(ctx context.Context, siteID, clientID int64) error {
	if err := d.may(models.MayManageClients); err != nil {
		return err
	}
	return d.fleet.GiveSite(ctx, d.by.Name, siteID, clientID)
}
