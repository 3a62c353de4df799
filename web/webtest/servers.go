package webtest

import (
	"context"
	"slices"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// JoinToken is what a worker joins with.
const JoinToken = "hefring_join_abcdefgh"

func sampleServers(f *Fleet, back func(time.Duration) time.Time) {
	f.WebHosts = []fleet.ServerRow{
		{Server: models.Server{ID: 1, Name: "web1", Address: "192.0.2.11", State: models.ServerJoined, Version: "1.2.0", SeenAt: new(back(2 * time.Second))}, Sites: 2, Platforms: 1},
		{Server: models.Server{ID: 2, Name: "web2", State: models.ServerJoined, Version: "1.2.0", SeenAt: new(back(3 * time.Hour))}},
		{Server: models.Server{ID: 3, Name: "web3", State: models.ServerInvited}},
	}
	f.Brought = []fleet.ServerPlatformRow{
		{Server: "web1", Platform: f.Plats[0].Name, ServerPlatform: models.ServerPlatform{
			ID: 1, ServerID: 1, PlatformID: f.Plats[0].ID, State: models.PlatformDelivered, Digest: "0123456789abcdef", UpdatedAt: back(26 * time.Hour),
		}},
		{Server: "web2", Platform: f.Plats[0].Name, ServerPlatform: models.ServerPlatform{
			ID: 2, ServerID: 2, PlatformID: f.Plats[0].ID, State: models.PlatformNotThere, Reason: "The control plane's certificate is not trusted.", UpdatedAt: back(3 * time.Hour),
		}},
	}
}

// Servers lists the web hosts.
func (f *Fleet) Servers(context.Context) ([]fleet.ServerRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.WebHosts), f.Fail["Servers"]
}

// ServerChoices lists those that have joined.
func (f *Fleet) ServerChoices(context.Context) ([]models.Server, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []models.Server
	for _, s := range f.WebHosts {
		if s.State == models.ServerJoined {
			list = append(list, s.Server)
		}
	}
	return list, f.Fail["ServerChoices"]
}

// CanAddServers fails as the test says.
func (f *Fleet) CanAddServers(context.Context) error { return f.failing("CanAddServers") }

// ServerNamed gives one.
func (f *Fleet) ServerNamed(_ context.Context, name string) (models.Server, error) {
	row, err := get(f, &f.WebHosts, "server", func(s fleet.ServerRow) bool { return s.Name == name })
	return row.Server, err
}

// ServerPlatforms lists what a web host has.
func (f *Fleet) ServerPlatforms(_ context.Context, serverID int64) ([]fleet.ServerPlatformRow, error) {
	return f.brought(func(d fleet.ServerPlatformRow) bool { return d.ServerID == serverID }), f.failing("ServerPlatforms")
}

// PlatformServers lists where a platform is.
func (f *Fleet) PlatformServers(_ context.Context, platformID int64) ([]fleet.ServerPlatformRow, error) {
	return f.brought(func(d fleet.ServerPlatformRow) bool { return d.PlatformID == platformID }), f.failing("PlatformServers")
}

func (f *Fleet) brought(which func(fleet.ServerPlatformRow) bool) (list []fleet.ServerPlatformRow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.Brought {
		if which(d) {
			list = append(list, d)
		}
	}
	return list
}

// AddServer adds one.
func (f *Fleet) AddServer(_ context.Context, name, address string) (models.Server, string, error) {
	if err := f.called("AddServer"); err != nil {
		return models.Server{}, "", err
	}
	s := models.Server{ID: 9, Name: name, Address: address, State: models.ServerInvited}
	if wrong := s.Validate(); len(wrong) > 0 {
		return s, "", &models.Error{Code: models.Invalid, Message: "Please check the marked fields.", Fields: wrong}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.WebHosts = append(f.WebHosts, fleet.ServerRow{Server: s})
	return s, JoinToken, nil
}

// InviteServer gives a token.
func (f *Fleet) InviteServer(_ context.Context, id int64) (models.Server, string, error) {
	if err := f.called("InviteServer"); err != nil {
		return models.Server{}, "", err
	}
	row, err := get(f, &f.WebHosts, "server", func(s fleet.ServerRow) bool { return s.ID == id })
	return row.Server, JoinToken, err
}

// RemoveServer removes one.
func (f *Fleet) RemoveServer(_ context.Context, id int64) error {
	if err := f.called("RemoveServer"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.WebHosts = slices.DeleteFunc(f.WebHosts, func(s fleet.ServerRow) bool { return s.ID == id })
	return nil
}

// RelocateSite gives a task that runs.
func (f *Fleet) RelocateSite(_ context.Context, siteID, serverID int64) (models.Task, error) {
	f.note(siteID, serverID)
	return f.begin("RelocateSite", models.TaskVerify)
}
