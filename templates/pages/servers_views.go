package pages

import (
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/components"
	"hefring/templates/layouts"
)

// WebServers is the list of web hosts with workers of their own.
type WebServers struct {
	layouts.Page
	Rows    []fleet.ServerRow
	Refused string // what it takes to add one here; "" where that can be done
	Now     time.Time
}

// WebServerForm adds a web host.
type WebServerForm struct {
	layouts.Page
	Name, Address string
	Errors        map[string]string
	Error, First  string
	Refused       string // what it takes to add one here; "" where that can be done
}

func (v WebServerForm) fields() []components.Field {
	mark := func(f components.Field) components.Field {
		f.Name, f.Error, f.Focus = f.ID, v.Errors[f.ID], v.First == f.ID
		return f
	}
	return []components.Field{
		mark(components.Field{ID: "name", Label: "Name", Value: v.Name, Mono: true, Placeholder: "web2", Help: "Lower-case letters, digits and hyphens. It is never changed."}),
		mark(components.Field{ID: "address", Label: "Address", Value: v.Address, Mono: true, Optional: true, Placeholder: "192.0.2.12", Help: "Where visitors reach its sites: a host name or an IP address."}),
	}
}

// WebServerInvited shows, once, what lets a worker join.
type WebServerInvited struct {
	layouts.Page
	Server  models.Server
	Command string
}

// WebServer is the page of a web host.
type WebServer struct {
	layouts.Page
	Server    models.Server
	Sites     []fleet.SiteRow
	More      bool // than are listed
	Platforms []fleet.ServerPlatformRow
	Now       time.Time
}

func (v WebServer) url(rest string) string { return "/servers/" + v.Server.Name + rest }

// WebServerStatus is how a web host stands.
func WebServerStatus(s models.Server, now time.Time) components.Status {
	switch {
	case s.State == models.ServerInvited:
		return components.Status{Key: "queued", Word: "Has not joined"}
	case s.Alive(now):
		return components.Status{Key: "ready", Word: "Works"}
	default:
		return components.Status{Key: "stalled", Word: "Not heard of"}
	}
}

// arrivalStatus is how far a platform has come on its way to a server.
func arrivalStatus(state models.DeliveryState) components.Status {
	switch state {
	case models.PlatformDelivered:
		return components.Status{Key: "ready", Word: "Is there"}
	case models.PlatformNotThere:
		return components.Status{Key: "failed", Word: "Failed"}
	default:
		return components.Status{Key: "running", Word: "On its way"}
	}
}

// parts is what the tasks under a task are called.
func (v Task) parts() string {
	switch v.Task.Kind {
	case models.TaskRelocate:
		return "What the two servers do"
	case models.TaskCloneTo:
		return "Made there, then moved"
	default:
		return "One task for each site"
	}
}

// spreads tells whether it is known from the start how many tasks there are under it.
func (v Task) spreads() bool {
	return v.Task.Kind != models.TaskRelocate && v.Task.Kind != models.TaskCloneTo
}

// turns tells whether the task is taken up again and again while others have their
// turn, so that its attempts say nothing.
func (v Task) turns() bool {
	return !v.spreads() || v.Task.Kind == models.TaskReceive
}
