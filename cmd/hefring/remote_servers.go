package main

import (
	"cmp"
	"context"
	"net/http"
	"net/url"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/web/api"
)

// serverName is how the API calls a server that has a number here.
func (r *farDoor) serverName(id int64) string { return cmp.Or(r.name(id), models.LocalServer) }

func (r *farDoor) serverFrom(s api.WebServer) fleet.ServerRow {
	return fleet.ServerRow{Sites: s.Sites, Platforms: s.Platforms, Lives: s.Alive, Server: models.Server{
		ID: r.number(models.SubjectWebServer, s.Name), Name: s.Name, Address: s.Address, State: s.State, Version: s.Version, SeenAt: s.Seen,
	}}
}

// Servers lists the web hosts.
func (r *farDoor) Servers(ctx context.Context) ([]fleet.ServerRow, error) {
	list, _, err := listed[api.WebServer](ctx, r, "/servers", url.Values{}, maxChildren)
	return each(list, r.serverFrom), err
}

// ServerRow finds one by its name.
func (r *farDoor) ServerRow(ctx context.Context, name string) (fleet.ServerRow, error) {
	var s api.WebServer
	if err := r.get(ctx, "/servers/"+url.PathEscape(name), nil, &s); err != nil {
		return fleet.ServerRow{}, err
	}
	return r.serverFrom(s), nil
}

// ServerNamed gives a number to a web host; the other side says whether there is one.
func (r *farDoor) ServerNamed(_ context.Context, name string) (models.Server, error) {
	return models.Server{ID: r.number(models.SubjectWebServer, name), Name: name}, nil
}

// AddServer registers a web host.
func (r *farDoor) AddServer(ctx context.Context, name, address string) (models.Server, string, error) {
	return r.invitation(ctx, "/servers", map[string]string{"name": name, "address": address})
}

// InviteServer gives a new token for a web host's worker.
func (r *farDoor) InviteServer(ctx context.Context, id int64) (models.Server, string, error) {
	return r.invitation(ctx, r.path(id, "invite"), nil)
}

func (r *farDoor) invitation(ctx context.Context, path string, body any) (models.Server, string, error) {
	var made api.Invitation
	err := r.post(ctx, path, body, &made)
	return models.Server{ID: r.number(models.SubjectWebServer, made.Server), Name: made.Server}, made.Token, err
}

// RemoveServer takes a web host out of the fleet.
func (r *farDoor) RemoveServer(ctx context.Context, id int64) error {
	return r.ask(ctx, http.MethodDelete, r.path(id), nil, nil, nil)
}

// ServerPlatforms lists the platforms that were brought to a web host.
func (r *farDoor) ServerPlatforms(ctx context.Context, serverID int64) ([]fleet.ServerPlatformRow, error) {
	var s api.WebServerDetails
	err := r.get(ctx, r.path(serverID), nil, &s)
	return each(s.Delivered, thereFrom), err
}

// PlatformServers lists the web hosts that a platform was brought to.
func (r *farDoor) PlatformServers(ctx context.Context, platformID int64) ([]fleet.ServerPlatformRow, error) {
	list, _, err := listed[api.PlatformThere](ctx, r, r.path(platformID, "servers"), url.Values{}, maxChildren)
	return each(list, thereFrom), err
}

func thereFrom(p api.PlatformThere) fleet.ServerPlatformRow {
	return fleet.ServerPlatformRow{Server: p.Server, Platform: p.Platform, ServerPlatform: models.ServerPlatform{State: p.State, Digest: p.Digest, Reason: p.Reason}}
}
