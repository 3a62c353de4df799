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

func webServerView(r fleet.ServerRow) WebServer {
	return WebServer{r.Name, r.Address, r.State, r.Alive(time.Now()), r.SeenAt, r.Version, r.Sites, r.Platforms}
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
	register(s, operation{get, "/servers", "list-servers", "List the web hosts with workers of their own"}, func(ctx context.Context, f Fleet, in Steps) (Page[WebServer], error) {
		rows, err := f.Servers(ctx)
		return whole(in, rows, err, webServerView, func(r fleet.ServerRow) fleet.Position { return fleet.Position{Name: r.Name} })
	})
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

// managed finds a web host for those who may change it: others are not told whether
// it is there.
func managed(ctx context.Context, f Fleet, name string) (models.Server, error) {
	if err := f.Actor().Needs(models.MayManageServers); err != nil {
		return models.Server{}, err
	}
	return f.ServerNamed(ctx, name)
}
