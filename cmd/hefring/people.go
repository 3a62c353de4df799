package main

import (
	"context"
	"os"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

type userCmd struct {
	Add      userAddCmd      `cmd:"" help:"Add a user. The password is read from standard input; an empty one allows one-time links only."`
	List     userListCmd     `cmd:"" help:"List users with their roles."`
	Change   userChangeCmd   `cmd:"" help:"Change a user's role or client, or whether the user may sign in. What is not named stays."`
	Password userPasswordCmd `cmd:"" help:"Set a user's password, read from standard input."`
	Second   userSecondCmd   `cmd:"" name:"drop-second-factor" help:"Take the second factor away of a user who lost it."`
}

type userAddCmd struct {
	act
	Name   string `arg:"" help:"The user's name."`
	Role   string `enum:"viewer,operator,manager,administrator" default:"administrator" help:"What the user may do: ${enum}."`
	Client string `help:"Name of the client whose sites are all that the user sees (default: every site)."`
}

// Run adds the user.
func (c *userAddCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayManageUsers); err != nil {
			return err // before anything is read
		}
		password, err := readPassword(os.Stdin)
		if err != nil {
			return err
		}
		client, err := clientNamed(ctx, f, c.Client)
		if err != nil {
			return err
		}
		u, err := f.AddUser(ctx, fleet.NewUser{Name: c.Name, Role: models.Role(c.Role), ClientID: client, Password: password})
		if err != nil || !c.JSON {
			return err
		}
		return printJSON(os.Stdout, api.UserView(fleet.UserRow{User: u, ClientName: c.Client}))
	})
}

// clientNamed finds a client; "" is none.
func clientNamed(ctx context.Context, f door, name string) (int64, error) {
	if name == "" {
		return 0, nil
	}
	client, err := f.ClientNamed(ctx, name)
	return client.ID, err
}

type userListCmd struct {
	act
	Query string `help:"Part of the name."`
	Limit int    `default:"100" help:"How many at most."`
}

// Run prints the list.
func (c *userListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		rows, _, err := f.UserRows(ctx, fleet.Filter{Query: c.Query, Limit: c.Limit})
		if err != nil {
			return err
		}
		list := each(rows, api.UserView)
		return c.table(list, []string{"USER", "ROLE", "CLIENT", "SIGNS IN"}, func(line func(...any)) {
			for _, u := range list {
				line(u.Name, u.Role, u.Client, map[bool]string{true: "no", false: "yes"}[u.Disabled])
			}
		})
	})
}

type userChangeCmd struct {
	act
	Name     string  `arg:"" help:"The user's name."`
	Role     string  `enum:",viewer,operator,manager,administrator" default:"" help:"viewer, operator, manager or administrator."`
	Client   *string `help:"Name of the client whose sites are all that the user sees; an empty one for every site."`
	Disabled *bool   `negatable:"" help:"Take the right to sign in away; sessions and tokens end at once."`
}

// Run changes the user.
func (c *userChangeCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		u, err := f.UserNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		in := fleet.NewUser{Role: u.Role, Disabled: u.DisabledAt != nil}
		if u.ClientID != nil {
			in.ClientID = *u.ClientID
		}
		if c.Role != "" {
			in.Role = models.Role(c.Role)
		}
		if c.Disabled != nil {
			in.Disabled = *c.Disabled
		}
		if c.Client != nil {
			if in.ClientID, err = clientNamed(ctx, f, *c.Client); err != nil {
				return err
			}
		}
		return f.ChangeUser(ctx, u.ID, in)
	})
}

type userPasswordCmd struct {
	act
	Name string `arg:"" help:"The user's name."`
}

// Run sets the password.
func (c *userPasswordCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayManageUsers); err != nil {
			return err // before anything is read
		}
		password, err := readPassword(os.Stdin)
		if err != nil {
			return err
		}
		return f.SetPassword(ctx, c.Name, password)
	})
}

type userSecondCmd struct {
	act
	Name string `arg:"" help:"The user's name."`
}

// Run takes it away.
func (c *userSecondCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		u, err := f.UserNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		return f.DropSecondFactor(ctx, u.ID)
	})
}

type clientCmd struct {
	List   clientListCmd   `cmd:"" help:"List clients."`
	Add    clientAddCmd    `cmd:"" help:"Add a client: a customer, a department, for whom sites are kept."`
	Change clientChangeCmd `cmd:"" help:"Change a client's name or note. What is not named stays."`
	Delete clientDeleteCmd `cmd:"" help:"Delete a client that has neither sites nor users."`
}

type clientListCmd struct{ act }

// Run prints the list.
func (c *clientListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		rows, err := f.Clients(ctx)
		if err != nil {
			return err
		}
		return c.table(each(rows, api.ClientView), []string{"CLIENT", "SITES", "USERS", "SINCE"}, func(line func(...any)) {
			for _, row := range rows {
				line(row.Name, row.Sites, row.Users, day(row.CreatedAt))
			}
		})
	})
}

type clientAddCmd struct {
	act
	Name string `arg:"" help:"The client's name."`
	Note string `help:"For yourselves: a contact, a contract."`
}

// Run adds the client.
func (c *clientAddCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		_, err := f.SaveClient(ctx, models.Client{Name: c.Name, Note: c.Note})
		return err
	})
}

type clientChangeCmd struct {
	act
	Name   string  `arg:"" help:"The client's name."`
	Rename *string `help:"Its name from now on."`
	Note   *string `help:"For yourselves: a contact, a contract."`
}

// Run changes the client.
func (c *clientChangeCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayManageClients); err != nil {
			return err
		}
		id, err := clientNamed(ctx, f, c.Name)
		if err != nil {
			return err
		}
		client, err := f.Client(ctx, id)
		if err != nil {
			return err
		}
		replace(&client.Name, c.Rename)
		replace(&client.Note, c.Note)
		_, err = f.SaveClient(ctx, client)
		return err
	})
}

type clientDeleteCmd struct {
	act
	Name string `arg:"" help:"The client's name."`
}

// Run deletes the client.
func (c *clientDeleteCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayManageClients); err != nil {
			return err
		}
		id, err := clientNamed(ctx, f, c.Name)
		if err != nil {
			return err
		}
		return f.DeleteClient(ctx, id)
	})
}

type siteGiveCmd struct {
	act
	URI    string `arg:"" help:"The site's address."`
	Client string `arg:"" optional:"" help:"Name of the client; none makes it nobody's."`
}

// Run says whose the site is.
func (c *siteGiveCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayManageClients); err != nil {
			return err
		}
		site, err := f.SiteNamed(ctx, c.URI)
		if err != nil {
			return err
		}
		client, err := clientNamed(ctx, f, c.Client)
		if err != nil {
			return err
		}
		return f.GiveSite(ctx, site.ID, client)
	})
}
