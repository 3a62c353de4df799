package main

import (
	"context"
	"os"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
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

// onServer is do for a server by its name.
func (c *act) onServer(ctx context.Context, name string, work func(f *fleet.Desk, s models.Server) error) error {
	return c.do(ctx, func(f *fleet.Desk) error {
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
	return c.do(ctx, func(f *fleet.Desk) error {
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
	return c.do(ctx, func(f *fleet.Desk) error {
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

// serverJSON is a server as scripts read it.
type serverJSON struct {
	Name      string             `json:"name"`
	Address   string             `json:"address"`
	State     models.ServerState `json:"state"`
	Alive     bool               `json:"alive"`
	Seen      *time.Time         `json:"seen_at"`
	Version   string             `json:"version"`
	Sites     int                `json:"sites"`
	Platforms int                `json:"platforms"`
}

type serverListCmd struct {
	act
}

// Run prints the list.
func (c *serverListCmd) Run(ctx context.Context) error {
	return c.do(ctx, func(f *fleet.Desk) error {
		rows, err := f.Servers(ctx)
		if err != nil {
			return err
		}
		list := make([]serverJSON, 0, len(rows))
		for _, r := range rows {
			list = append(list, serverJSON{r.Name, r.Address, r.State, r.Alive(time.Now()), r.SeenAt, r.Version, r.Sites, r.Platforms})
		}
		return c.table(list, []string{"SERVER", "ADDRESS", "STATE", "LAST SEEN", "VERSION", "SITES", "PLATFORMS"}, func(line func(...any)) {
			for _, s := range list {
				line(s.Name, s.Address, s.State, lastSeen(s), s.Version, s.Sites, s.Platforms)
			}
		})
	})
}

// lastSeen says how a worker is, as far as is known.
func lastSeen(s serverJSON) string {
	switch {
	case s.Seen == nil:
		return "never"
	case s.Alive:
		return "now"
	}
	return time.Since(*s.Seen).Round(time.Second).String() + " ago"
}

type serverShowCmd struct {
	act
	serverArg
}

// Run prints what is on the server.
func (c *serverShowCmd) Run(ctx context.Context) error {
	return c.onServer(ctx, c.Name, func(f *fleet.Desk, s models.Server) error {
		deliveries, err := f.ServerPlatforms(ctx, s.ID)
		if err != nil {
			return err
		}
		type platform struct {
			Name   string               `json:"platform"`
			State  models.DeliveryState `json:"state"`
			Digest string               `json:"manifest_digest"`
			Reason string               `json:"reason"`
		}
		list := make([]platform, 0, len(deliveries))
		for _, d := range deliveries {
			list = append(list, platform{d.Platform, d.State, d.Digest, d.Reason})
		}
		return c.table(list, []string{"PLATFORM", "STATE", "MANIFEST", "PROBLEM"}, func(line func(...any)) {
			for _, p := range list {
				line(p.Name, p.State, p.Digest[:min(len(p.Digest), 12)], p.Reason)
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
	return c.do(ctx, func(f *fleet.Desk) error {
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
	return c.onServer(ctx, c.Name, func(f *fleet.Desk, s models.Server) error {
		sites, err := f.SitesOnServer(ctx, s.ID, c.Limit)
		if err != nil {
			return err
		}
		type site struct {
			URI   string           `json:"uri"`
			State models.SiteState `json:"state"`
		}
		list := make([]site, 0, len(sites))
		for _, one := range sites {
			list = append(list, site{one.URI, one.State})
		}
		return c.table(list, []string{"SITE", "STATE"}, func(line func(...any)) {
			for _, one := range list {
				line(one.URI, one.State)
			}
		})
	})
}
