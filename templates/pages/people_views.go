package pages

import (
	"fmt"
	"strconv"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/layouts"
)

// Users is the list of those who may sign in.
type Users struct {
	layouts.Page
	Rows  []fleet.UserRow
	Pager components.Pages
}

// UserForm adds a user, or is the page of one.
type UserForm struct {
	layouts.Page
	User         models.User // as it is; ID 0 for a new one
	In           fleet.NewUser
	Clients      []models.Client
	SecondFactor bool   // the user has one
	Link         string // a one-time link that was just made
	Errors       map[string]string
	Error, First string
}

func (u UserForm) url(rest string) string {
	if u.User.ID == 0 {
		return "/users" + rest
	}
	return fmt.Sprintf("/users/%d%s", u.User.ID, rest)
}

// RoleText is what a role is called on pages.
func RoleText(r models.Role) string {
	switch r {
	case models.RoleViewer:
		return "Viewer"
	case models.RoleOperator:
		return "Operator"
	case models.RoleManager:
		return "Manager"
	case models.RoleAdministrator:
		return "Administrator"
	default:
		return "None"
	}
}

func (u UserForm) fields() []components.Field {
	var fields []components.Field
	if u.User.ID == 0 {
		fields = append(fields, components.Field{
			ID: "name", Name: "name", Label: "Name", Value: u.In.Name, Kind: "text", Width: "w8", Auto: "off",
			Help: "What the user types to sign in. A password comes later: the user gets in by a one-time link first.",
		})
	}
	roles := make([]plugins.Option, 0, len(models.Roles()))
	for _, r := range models.Roles() {
		roles = append(roles, plugins.Option{Value: string(r), Label: RoleText(r)})
	}
	clients := []plugins.Option{{Value: "0", Label: "every site"}}
	for _, c := range u.Clients {
		clients = append(clients, plugins.Option{Value: strconv.FormatInt(c.ID, 10), Label: "sites of " + c.Name})
	}
	fields = append(fields,
		components.Field{ID: "role", Name: "role", Label: "Role", Value: string(u.In.Role), Kind: "choice", Options: roles},
		components.Field{ID: "client", Name: "client", Label: "Sees", Value: strconv.FormatInt(u.In.ClientID, 10), Kind: "choice", Options: clients})
	if u.User.ID != 0 {
		fields = append(fields, components.Field{
			ID: "disabled", Name: "disabled", Label: "May not sign in", Value: yes(u.In.Disabled), Kind: "bool",
			Help: "Sessions and tokens end at once.",
		})
	}
	return withErrors(fields, u.Errors, u.First)
}

func yes(b bool) string {
	if b {
		return "1"
	}
	return ""
}

func withErrors(fields []components.Field, errors map[string]string, first string) []components.Field {
	for i := range fields {
		fields[i].Error, fields[i].Focus = errors[fields[i].Name], fields[i].Name == first
	}
	return fields
}

// Clients is the list of clients.
type Clients struct {
	layouts.Page
	Rows  []fleet.ClientRow
	Query string // that was searched for
	Pager components.Pages
}

// ClientForm adds a client, or is the page of one.
type ClientForm struct {
	layouts.Page
	Client       models.Client // as it was typed
	Name         string        // as it is
	Errors       map[string]string
	Error, First string
}

func (c ClientForm) url(rest string) string {
	if c.Client.ID == 0 {
		return "/clients" + rest
	}
	return fmt.Sprintf("/clients/%d%s", c.Client.ID, rest)
}

func (c ClientForm) fields() []components.Field {
	return withErrors([]components.Field{
		{ID: "name", Name: "name", Label: "Name", Value: c.Client.Name, Kind: "text", Width: "w8"},
		{ID: "note", Name: "note", Label: "Note", Value: c.Client.Note, Kind: "lines", Optional: true, Width: "w12", Help: "For yourselves: a contact, a contract."},
	}, c.Errors, c.First)
}
