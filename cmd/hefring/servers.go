package main

import (
	"context"
	"os"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

type serverCmd struct {
	Add    serverAddCmd    `cmd:"" help:"Register a web host, and print the token with which its worker joins: once, within an hour."`
	Invite serverInviteCmd `cmd:"" help:"Print a new token for a server's worker. The one of before works until the new one joins."`
	List   serverListCmd   `cmd:"" help:"List the web hosts with workers of their own."`
	Show   serverShowCmd   `cmd:"" help:"Show a server and the platforms on it."`
	Sites  serverSitesCmd  `cmd:"" help:"List the sites on a server."`
	Remove serverRemoveCmd `cmd:"" help:"Take a server that no site is on out of the fleet. Its worker can do nothing from then on."`
}

// serverArg names the server of a command.
type serverArg struct {
	Name string `arg:"" help:"The server's name, such as web2."`
}

// onServer is reach for a server by its name.
func (c *act) onServer(ctx context.Context, name string, work func(f door, s models.Server) error) error {
	return c.reach(ctx, func(f door) error {
		s, err := f.ServerNamed(ctx, name)
		if err != nil {
			return err
		}
		return work(f, s)
	})
}

// webServerNamed gives the number of a server; "" is the control plane's host.
func webServerNamed(ctx context.Context, f door, name string) (int64, error) {
	if name == "" || name == models.LocalServer {
		return 0, nil
	}
	s, err := f.ServerNamed(ctx, name)
	return s.ID, err
}

type serverAddCmd struct {
	act
	serverArg
	Address string `help:"Where visitors reach its sites: a host name or an IP address."`
}

// Run registers the server.
func (c *serverAddCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		s, token, err := f.AddServer(ctx, c.Name, c.Address)
		if err != nil {
			return err
		}
		return c.invited(s, token)
	})
}

// invited prints a token and what to do with it.
func (c *act) invited(s models.Server, token string) error {
	if c.JSON {
		return printJSON(os.Stdout, map[string]string{"server": s.Name, "token": token})
	}
	printTo(os.Stdout, "On %s, within an hour:\n\n  hefring worker --server %s --join %s --url %s", s.Name, s.Name, token, c.URL)
	return nil
}

type serverInviteCmd struct {
	act
	serverArg
}

// Run prints the token.
func (c *serverInviteCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayManageServers); err != nil {
			return err // before anything is looked up
		}
		named, err := f.ServerNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		s, token, err := f.InviteServer(ctx, named.ID)
		if err != nil {
			return err
		}
		return c.invited(s, token)
	})
}

type serverListCmd struct {
	act
}

// Run prints the list.
func (c *serverListCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		rows, err := f.Servers(ctx)
		if err != nil {
			return err
		}
		return c.table(each(rows, api.WebServerView), []string{"SERVER", "ADDRESS", "STATE", "LAST SEEN", "VERSION", "SITES", "PLATFORMS"}, func(line func(...any)) {
			for _, s := range rows {
				line(s.Name, s.Address, s.State, lastSeen(s), s.Version, s.Sites, s.Platforms)
			}
		})
	})
}

// lastSeen says how a worker is, as far as is known.
func lastSeen(s fleet.ServerRow) string {
	switch {
	case s.SeenAt == nil:
		return "never"
	case s.Lives:
		return "now"
	}
	return time.Since(*s.SeenAt).Round(time.Second).String() + " ago"
}

type serverShowCmd struct {
	act
	serverArg
}

// Run prints what is known of the server, and what is on it.
func (c *serverShowCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		s, err := f.ServerRow(ctx, c.Name)
		if err != nil {
			return err
		}
		there, err := f.ServerPlatforms(ctx, s.ID)
		if err != nil {
			return err
		}
		view := api.WebServerDetails{WebServer: api.WebServerView(s), Delivered: each(there, api.PlatformThereView)}
		err = c.facts(view, []fact{
			{"server", s.Name}, {"address", s.Address}, {"state", s.State}, {"last seen", lastSeen(s)}, {"version", s.Version}, {"sites", s.Sites},
		})
		if err != nil || c.JSON || len(there) == 0 {
			return err
		}
		return c.table(view, []string{"PLATFORM", "STATE", "MANIFEST", "PROBLEM"}, func(line func(...any)) {
			for _, p := range there {
				line(p.Platform, p.State, p.Digest[:min(len(p.Digest), 12)], p.Reason)
			}
		})
	})
}

type serverRemoveCmd struct {
	act
	serverArg
}

// Run removes it.
func (c *serverRemoveCmd) Run(ctx context.Context) error {
	return c.reach(ctx, func(f door) error {
		if err := f.Actor().Needs(models.MayManageServers); err != nil {
			return err // before anything is looked up
		}
		s, err := f.ServerNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		return f.RemoveServer(ctx, s.ID)
	})
}

type serverSitesCmd struct {
	act
	serverArg
	Limit int `default:"1000" help:"At most so many."`
}

// Run prints the sites.
func (c *serverSitesCmd) Run(ctx context.Context) error {
	return c.onServer(ctx, c.Name, func(f door, s models.Server) error {
		sites, _, err := f.Sites(ctx, fleet.Filter{ServerID: s.ID, Limit: c.Limit, NoTotal: true})
		if err != nil {
			return err
		}
		return c.table(each(sites, api.SiteView(f)), []string{"SITE", "STATE"}, func(line func(...any)) {
			for _, one := range sites {
				line(one.URI, one.State)
			}
		})
	})
}
