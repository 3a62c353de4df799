package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/pages"
	"hefring/web/api"
)

// people is what the pages about users and clients need.
type people interface {
	UserRows(ctx context.Context, f fleet.Filter) ([]fleet.UserRow, int, error)
	User(ctx context.Context, id int64) (models.User, error)
	AddUser(ctx context.Context, in fleet.NewUser) (models.User, error)
	// ChangeUser is Conflict for the last administrator.
	ChangeUser(ctx context.Context, id int64, in fleet.NewUser) error
	// LoginLink gives the secret part of a one-time link.
	LoginLink(ctx context.Context, name string) (string, error)

	AsksForCode(ctx context.Context, userID int64) (bool, error) // the user has a second factor
	// DropSecondFactor is for one who lost it.
	DropSecondFactor(ctx context.Context, userID int64) error

	ClientRows(ctx context.Context, f fleet.Filter) ([]fleet.ClientRow, int, error)
	ClientNames(ctx context.Context) ([]models.Client, error)
	Client(ctx context.Context, id int64) (models.Client, error)
	SaveClient(ctx context.Context, c models.Client) (models.Client, error)
	// DeleteClient is Conflict when it has sites or users.
	DeleteClient(ctx context.Context, id int64) error
	GiveSite(ctx context.Context, siteID, clientID int64) error
}

func (s *server) peopleRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/settings", (*server).setup, models.MaySeeFleet},

		{get, "/users", (*server).users, models.MayManageUsers},
		{post, "/users", (*server).addUser, models.MayManageUsers},
		{get, "/users/new", (*server).newUser, models.MayManageUsers},
		{get, "/users/:id", (*server).editUser, models.MayManageUsers},
		{post, "/users/:id", (*server).changeUser, models.MayManageUsers},
		{post, "/users/:id/login-link", (*server).linkUser, models.MayManageUsers},
		{post, "/users/:id/second-factor", (*server).dropSecondFactor, models.MayManageUsers},

		{get, "/clients", (*server).clients, models.MaySeeFleet},
		{post, "/clients", (*server).addClient, models.MayManageClients},
		{get, "/clients/new", (*server).newClient, models.MayManageClients},
		{get, "/clients/:id", (*server).editClient, models.MayManageClients},
		{post, "/clients/:id", (*server).changeClient, models.MayManageClients},
		{get, "/clients/:id/delete", (*server).askDeleteClient, models.MayManageClients},
		{post, "/clients/:id/delete", (*server).deleteClient, models.MayManageClients},
		{post, "/sites/:id/client", (*server).giveSite, models.MayManageClients},
	}
}

func (s *server) setup(c echo.Context) error {
	return render(c, http.StatusOK, pages.SetupPage(s.page(c, "settings", "Settings")))
}

func (s *server) users(c echo.Context) error {
	filter, page := listing(c)
	rows, total, err := s.fleet.UserRows(c.Request().Context(), filter)
	if err != nil {
		return fmt.Errorf("list users: %w", err)
	}
	if to := strayed(c, page, total); to != "" {
		return c.Redirect(http.StatusSeeOther, to)
	}
	view := pages.Users{Page: s.page(c, "users", "Users"), Rows: rows, Pager: pager(c, page, total)}
	view.Query = filter.Query
	return render(c, http.StatusOK, pages.UsersPage(view))
}

func readUser(c echo.Context) fleet.NewUser {
	return fleet.NewUser{
		Name: strings.TrimSpace(c.FormValue("name")), Role: models.Role(c.FormValue("role")),
		ClientID: chosen(c.FormValue("client")), Disabled: c.FormValue("disabled") == "1",
	}
}

func (s *server) userForm(c echo.Context, status int, view pages.UserForm) error {
	ctx := c.Request().Context()
	clients, err := s.fleet.ClientNames(ctx)
	if err != nil {
		return fmt.Errorf("list clients: %w", err)
	}
	title := "Add a user"
	if view.User.ID != 0 {
		title = view.User.Name
		if view.SecondFactor, err = s.fleet.AsksForCode(ctx, view.User.ID); err != nil {
			return fmt.Errorf("look for second factor: %w", err)
		}
	}
	view.Clients, view.First = clients, firstOf(view.Errors, "name", "role", "client")
	view.Page = s.page(c, "users", title)
	return render(c, status, pages.UserFormPage(view))
}

func (s *server) newUser(c echo.Context) error {
	return s.userForm(c, http.StatusOK, pages.UserForm{In: fleet.NewUser{Role: models.RoleOperator}})
}

func (s *server) addUser(c echo.Context) error {
	in := readUser(c)
	u, err := s.fleet.AddUser(c.Request().Context(), in)
	if refused(err) {
		view := pages.UserForm{In: in}
		view.Error, view.Errors = formErrors(err)
		return s.userForm(c, http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return err
	}
	s.say(c, "succeeded", "%s is added. Make a one-time link to let the user in.", u.Name)
	return redirect(c, fmt.Sprintf("/users/%d", u.ID))
}

func (s *server) userOf(c echo.Context) (models.User, error) {
	id, err := idOf(c)
	if err != nil {
		return models.User{}, err
	}
	return s.fleet.User(c.Request().Context(), id)
}

func formOf(u models.User) pages.UserForm {
	in := fleet.NewUser{Name: u.Name, Role: u.Role, Disabled: u.DisabledAt != nil}
	if u.ClientID != nil {
		in.ClientID = *u.ClientID
	}
	return pages.UserForm{User: u, In: in}
}

func (s *server) editUser(c echo.Context) error {
	u, err := s.userOf(c)
	if err != nil {
		return err
	}
	return s.userForm(c, http.StatusOK, formOf(u))
}

func (s *server) changeUser(c echo.Context) error {
	u, err := s.userOf(c)
	if err != nil {
		return err
	}
	in := readUser(c)
	err = s.fleet.ChangeUser(c.Request().Context(), u.ID, in)
	if refused(err) {
		view := pages.UserForm{User: u, In: in}
		view.Error, view.Errors = formErrors(err)
		return s.userForm(c, http.StatusUnprocessableEntity, view)
	}
	return s.acted(c, fmt.Sprintf("/users/%d", u.ID), err, "Saved. It counts from the next page on.")
}

// linkUser shows a one-time link on the page that it answers with: it is kept
// nowhere.
func (s *server) linkUser(c echo.Context) error {
	u, err := s.userOf(c)
	if err != nil {
		return err
	}
	token, err := s.fleet.LoginLink(c.Request().Context(), u.Name)
	if err != nil {
		return err
	}
	view := formOf(u)
	view.Link = s.baseOf(c) + api.LoginLinkPath + token
	return s.userForm(c, http.StatusOK, view)
}

func (s *server) dropSecondFactor(c echo.Context) error {
	u, err := s.userOf(c)
	if err != nil {
		return err
	}
	err = s.fleet.DropSecondFactor(c.Request().Context(), u.ID)
	return s.acted(c, fmt.Sprintf("/users/%d", u.ID), err, "Removed. The user signs in without a code, and can set up a new one.")
}

func (s *server) clients(c echo.Context) error {
	filter, page := listing(c)
	rows, total, err := s.fleet.ClientRows(c.Request().Context(), filter)
	if err != nil {
		return fmt.Errorf("list clients: %w", err)
	}
	if to := strayed(c, page, total); to != "" {
		return c.Redirect(http.StatusSeeOther, to)
	}
	view := pages.Clients{Page: s.page(c, "clients", "Clients"), Rows: rows, Query: filter.Query, Pager: pager(c, page, total)}
	return render(c, http.StatusOK, pages.ClientsPage(view))
}

func (s *server) clientForm(c echo.Context, status int, view pages.ClientForm) error {
	title := "Add a client"
	if view.Name != "" {
		title = view.Name
	}
	view.First = firstOf(view.Errors, "name", "note")
	view.Page = s.page(c, "clients", title)
	return render(c, status, pages.ClientFormPage(view))
}

func (s *server) newClient(c echo.Context) error {
	return s.clientForm(c, http.StatusOK, pages.ClientForm{})
}

func (s *server) addClient(c echo.Context) error { return s.saveClient(c, models.Client{}) }

func (s *server) clientOf(c echo.Context) (models.Client, error) {
	id, err := idOf(c)
	if err != nil {
		return models.Client{}, err
	}
	return s.fleet.Client(c.Request().Context(), id)
}

func (s *server) editClient(c echo.Context) error {
	client, err := s.clientOf(c)
	if err != nil {
		return err
	}
	return s.clientForm(c, http.StatusOK, pages.ClientForm{Client: client, Name: client.Name})
}

func (s *server) changeClient(c echo.Context) error {
	client, err := s.clientOf(c)
	if err != nil {
		return err
	}
	return s.saveClient(c, client)
}

func (s *server) saveClient(c echo.Context, old models.Client) error {
	in := models.Client{ID: old.ID, Name: c.FormValue("name"), Note: c.FormValue("note")}
	saved, err := s.fleet.SaveClient(c.Request().Context(), in)
	if refused(err) {
		view := pages.ClientForm{Client: in, Name: old.Name}
		view.Error, view.Errors = formErrors(err)
		return s.clientForm(c, http.StatusUnprocessableEntity, view)
	}
	return s.acted(c, "/clients", err, "Saved "+saved.Name+".")
}

func (s *server) askDeleteClient(c echo.Context) error {
	client, err := s.clientOf(c)
	if err != nil {
		return err
	}
	back := fmt.Sprintf("/clients/%d", client.ID)
	return s.ask(c, "clients", pages.Ask{
		Back: back, Crumbs: crumbs("Clients", "/clients", client.Name, back, "Delete"),
		Title: "Delete " + client.Name + "?", URL: back + "/delete", Label: "Delete this client", Style: "stop",
		Text: "A client with sites or users cannot be deleted; give them to somebody else first. The notices about it alone go with it.",
	})
}

func (s *server) deleteClient(c echo.Context) error {
	client, err := s.clientOf(c)
	if err != nil {
		return err
	}
	if err := s.fleet.DeleteClient(c.Request().Context(), client.ID); err != nil {
		return s.acted(c, fmt.Sprintf("/clients/%d", client.ID), err, "")
	}
	return s.acted(c, "/clients", nil, "Deleted "+client.Name+".")
}

func (s *server) giveSite(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	err = s.fleet.GiveSite(c.Request().Context(), id, chosen(c.FormValue("client")))
	return s.acted(c, sitePath(id), err, "Whose site it is has changed.")
}
