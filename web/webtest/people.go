package webtest

import (
	"context"

	"hefring/internal/fleet"
	"hefring/models"
)

// UserRows lists Listed.
func (f *Fleet) UserRows(_ context.Context, filter fleet.Filter) ([]fleet.UserRow, int, error) {
	list, total := page(f.Listed, filter)
	return list, total, f.failing("Users")
}

// AddUser refuses a role that there is not.
func (f *Fleet) AddUser(_ context.Context, in fleet.NewUser) (models.User, error) {
	if !in.Role.Valid() {
		return models.User{}, models.InvalidField("role", "Choose a role.")
	}
	f.User1 = in
	return models.User{ID: 2, Name: in.Name, Role: in.Role}, f.called("AddUser")
}

// ChangeUser notes what it was told.
func (f *Fleet) ChangeUser(_ context.Context, _ int64, in fleet.NewUser) error {
	f.User1 = in
	return f.called("ChangeUser")
}

// LoginLink makes a link that is always the same.
func (f *Fleet) LoginLink(context.Context, string) (string, error) {
	return "one-time", f.called("LoginLink")
}

// DropSecondFactor notes that it was called.
func (f *Fleet) DropSecondFactor(context.Context, int64) error { return f.called("DropSecondFactor") }

// ClientRows lists ClientList.
func (f *Fleet) ClientRows(_ context.Context, filter fleet.Filter) ([]fleet.ClientRow, int, error) {
	list, total := page(f.ClientList, filter)
	return list, total, f.failing("ClientRows")
}

// ClientNames lists ClientList.
func (f *Fleet) ClientNames(context.Context) ([]models.Client, error) {
	var list []models.Client
	for _, row := range f.ClientList {
		list = append(list, row.Client)
	}
	return list, f.failing("ClientNames")
}

// DistributionNames lists the first of Dists.
func (f *Fleet) DistributionNames(_ context.Context, limit int) ([]models.Distribution, error) {
	return f.Dists[:min(limit, len(f.Dists))], f.failing("DistributionNames")
}

// Client finds one of ClientList.
func (f *Fleet) Client(_ context.Context, id int64) (models.Client, error) {
	for _, c := range f.ClientList {
		if c.ID == id {
			return c.Client, nil
		}
	}
	return models.Client{}, models.Errorf(models.NotFound, "There is no client %d.", id)
}

// SaveClient refuses a client without a name.
func (f *Fleet) SaveClient(_ context.Context, c models.Client) (models.Client, error) {
	if c.Name == "" {
		return c, models.InvalidField("name", "Give a name.")
	}
	return c, f.called("SaveClient")
}

// DeleteClient notes that it was called.
func (f *Fleet) DeleteClient(context.Context, int64) error { return f.called("DeleteClient") }

// GiveSite notes that it was called.
func (f *Fleet) GiveSite(context.Context, int64, int64) error { return f.called("GiveSite") }
