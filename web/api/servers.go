package api

import (
	"context"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// WebServer is a web host with a worker of its own.
type WebServer struct {
	Name      string             `json:"name"`
	Address   string             `json:"address,omitempty" doc:"Where visitors reach its sites"`
	State     models.ServerState `json:"state" enum:"invited,joined"`
	Alive     bool               `json:"alive" doc:"Its worker was heard lately"`
	Seen      *time.Time         `json:"seen_at,omitempty"`
	Version   string             `json:"version,omitempty" doc:"Of its worker"`
	Sites     int                `json:"sites"`
	Platforms int                `json:"platforms" doc:"That were brought to it"`
}

// WebServerView gives a web host as programs read it.
func WebServerView(r fleet.ServerRow) WebServer {
	return WebServer{r.Name, r.Address, r.State, r.Lives, r.SeenAt, r.Version, r.Sites, r.Platforms}
}

// WebServerDetails is all that is known of a web host.
type WebServerDetails struct {
	WebServer

	Delivered []PlatformThere `json:"delivered" nullable:"false" doc:"The platforms that were brought to it, newest first"`
}

// PlatformThere is a platform on a web host.
type PlatformThere struct {
	Server   string               `json:"server"`
	Platform string               `json:"platform"`
	State    models.DeliveryState `json:"state" enum:"delivering,ready,failed"`
	Digest   string               `json:"manifest_digest,omitempty" doc:"That it was verified with"`
	Reason   string               `json:"reason,omitempty" doc:"Why it failed"`
}

// PlatformThereView gives a platform on a web host as programs read it.
func PlatformThereView(r fleet.ServerPlatformRow) PlatformThere {
	return PlatformThere{r.Server, r.Platform, r.State, r.Digest, r.Reason}
}

// Invitation is what a web host's worker joins with, once.
type Invitation struct {
	Server string `json:"server"`
	Token  string `json:"token" doc:"It is shown once and lets a worker join within an hour"`
}

// WebServerIn names a web host.
type WebServerIn struct {
	Caller

	// Not "server": clients in Go that are generated have an argument of that name.
	Name string `path:"name" doc:"The server's name"`
}

// serverID is the number of a web host; "" and local are the control plane's.
func serverID(ctx context.Context, f Fleet, name string) (int64, error) {
	if name == "" || name == models.LocalServer {
		return 0, nil
	}
	s, err := f.ServerNamed(ctx, name)
	return s.ID, err
}

func (s *server) servers() {
	s.seenServers()
	register(s, operation{post, "/servers", "add-server", "Register a web host, and get the token with which its worker joins"}, func(ctx context.Context, f Fleet, in struct {
		Caller

		Body struct {
			Name    string `json:"name"`
			Address string `json:"address,omitempty" doc:"Where visitors reach its sites: a host name or an IP address"`
		}
	},
	) (Invitation, error) {
		added, token, err := f.AddServer(ctx, in.Body.Name, in.Body.Address)
		return Invitation{added.Name, token}, err
	})
	register(s, operation{post, "/servers/{name}/invite", "invite-server", "A new token for a web host's worker"}, func(ctx context.Context, f Fleet, in WebServerIn) (Invitation, error) {
		named, err := managed(ctx, f, in.Name)
		if err != nil {
			return Invitation{}, err
		}
		invited, token, err := f.InviteServer(ctx, named.ID)
		return Invitation{invited.Name, token}, err
	})
	register(s, operation{del, "/servers/{name}", "remove-server", "Take a web host without sites out of the fleet"}, func(ctx context.Context, f Fleet, in WebServerIn) (done, error) {
		named, err := managed(ctx, f, in.Name)
		if err != nil {
			return done{}, err
		}
		return done{true}, f.RemoveServer(ctx, named.ID)
	})
}

// seenServers is what there is to know of web hosts.
func (s *server) seenServers() {
	register(s, operation{get, "/servers", "list-servers", "List the web hosts with workers of their own"}, func(ctx context.Context, f Fleet, in Steps) (Page[WebServer], error) {
		rows, err := f.Servers(ctx)
		return whole(in, rows, err, WebServerView, func(r fleet.ServerRow) fleet.Position { return fleet.Position{Name: r.Name} })
	})
	register(s, operation{get, "/servers/{name}", "get-server", "One web host, with the platforms on it"}, func(ctx context.Context, f Fleet, in WebServerIn) (WebServerDetails, error) {
		row, err := f.ServerRow(ctx, in.Name)
		if err != nil {
			return WebServerDetails{}, err
		}
		list, err := f.ServerPlatforms(ctx, row.ID)
		there := make([]PlatformThere, 0, len(list))
		for _, one := range list {
			there = append(there, PlatformThereView(one))
		}
		return WebServerDetails{WebServerView(row), there}, err
	})
	register(s, operation{get, "/servers/{name}/sites", "list-server-sites", "List the sites on a web host"}, func(ctx context.Context, f Fleet, in struct {
		Paging
		InState

		Name string `path:"name" doc:"The server's name"`
	},
	) (Page[Site], error) {
		named, err := f.ServerNamed(ctx, in.Name)
		if err != nil {
			return Page[Site]{}, err
		}
		return listed(in.Paging, SiteView(f), func(r fleet.SiteRow) fleet.Position { return fleet.Position{Name: r.URI} }, func(filter fleet.Filter) ([]fleet.SiteRow, int, error) {
			filter.ServerID, filter.State = named.ID, in.State
			return f.Sites(ctx, filter)
		})
	})
	register(s, operation{get, "/platforms/{platform}/servers", "list-platform-servers", "List the web hosts that a platform was brought to"}, func(ctx context.Context, f Fleet, in struct {
		Steps

		Name string `path:"platform" doc:"The platform's name"`
	},
	) (Page[PlatformThere], error) {
		p, err := f.PlatformNamed(ctx, in.Name)
		if err != nil {
			return Page[PlatformThere]{}, err
		}
		rows, err := f.PlatformServers(ctx, p.ID)
		return whole(in.Steps, rows, err, PlatformThereView, func(r fleet.ServerPlatformRow) fleet.Position { return fleet.Position{Name: r.Server} })
	})
}

// managed finds a web host for those who may change it: others are not told whether
// it is there.
func managed(ctx context.Context, f Fleet, name string) (models.Server, error) {
	if err := f.Actor().Needs(models.MayManageServers); err != nil {
		return models.Server{}, err
	}
	return f.ServerNamed(ctx, name)
}
