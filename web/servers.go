package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"hefring/models"
	"hefring/templates/pages"
)

// servers is what the pages need of the use cases about database servers.
type servers interface {
	// SaveDatabaseServer tests a server and stores it; ID 0 makes a new one, an
	// empty password keeps the old one.
	SaveDatabaseServer(ctx context.Context, s models.DatabaseServer) (models.DatabaseServer, error)
	TestDatabaseServer(ctx context.Context, id int64) error
	// DeleteDatabaseServer is Conflict when sites use it; it says which.
	DeleteDatabaseServer(ctx context.Context, id int64) error
}

func (s *server) databases(c echo.Context) error {
	rows, err := s.fleet.DatabaseServers(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list database servers: %w", err)
	}
	return render(c, http.StatusOK, pages.DatabasesPage(pages.Databases{Page: s.page(c, "databases", "Database servers"), Rows: rows}))
}

func (s *server) newDatabase(c echo.Context) error {
	in := models.DatabaseServer{Engine: models.EngineMySQL, TLS: models.TLSOff, Clients: "%", Prefix: "hefring"}
	return s.databaseForm(c, http.StatusOK, pages.DatabaseForm{Server: in})
}

func (s *server) editDatabase(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	in, err := s.fleet.DatabaseServer(c.Request().Context(), id)
	if err != nil {
		return err
	}
	view := pages.DatabaseForm{Server: in}
	if in.Port > 0 {
		view.Port = strconv.Itoa(in.Port)
	}
	return s.databaseForm(c, http.StatusOK, view)
}

func (s *server) databaseForm(c echo.Context, status int, view pages.DatabaseForm) error {
	view.First = firstOf(view.Errors, "name", "engine", "host", "port", "user", "password", "tls", "clients", "prefix")
	title := "Register a database server"
	if id := view.Server.ID; id != 0 {
		stored, err := s.fleet.DatabaseServer(c.Request().Context(), id)
		if err != nil {
			return err
		}
		view.Stored = stored
		title = stored.Name
	}
	view.Page = s.page(c, "databases", title)
	return render(c, status, pages.DatabaseFormPage(view))
}

// readDatabase reads the form of a server. A port that is none is -1, which the
// server's own rule refuses.
func readDatabase(c echo.Context) (in models.DatabaseServer, port string) {
	in = models.DatabaseServer{
		Name: strings.TrimSpace(c.FormValue("name")), Engine: c.FormValue("engine"),
		Host: strings.TrimSpace(c.FormValue("host")), User: strings.TrimSpace(c.FormValue("user")), Password: c.FormValue("password"),
		TLS: models.TLSMode(c.FormValue("tls")), Clients: strings.TrimSpace(c.FormValue("clients")),
		Prefix: strings.TrimSpace(c.FormValue("prefix")), Default: c.FormValue("default") == "1",
	}
	if port = strings.TrimSpace(c.FormValue("port")); port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 {
			n = -1
		}
		in.Port = n
	}
	return in, port
}

func (s *server) createDatabase(c echo.Context) error { return s.saveDatabase(c, 0) }

func (s *server) updateDatabase(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	return s.saveDatabase(c, id)
}

func (s *server) saveDatabase(c echo.Context, id int64) error {
	in, port := readDatabase(c)
	in.ID = id
	saved, err := s.fleet.SaveDatabaseServer(c.Request().Context(), in)
	if refused(err) {
		view := pages.DatabaseForm{Server: in, Port: port}
		view.Error, view.Errors = formErrors(err)
		return s.databaseForm(c, http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return err
	}
	s.say(c, "succeeded", "%s works and is saved: a database and a user were made there, and dropped again.", saved.Name)
	return redirect(c, fmt.Sprintf("/databases/%d", saved.ID))
}

func (s *server) testDatabase(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	err = s.fleet.TestDatabaseServer(c.Request().Context(), id)
	return s.acted(c, fmt.Sprintf("/databases/%d", id), err, "It works: a database and a user were made there, and dropped again.")
}

func (s *server) askDeleteDatabase(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	stored, err := s.fleet.DatabaseServer(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return s.ask(c, "databases", pages.Ask{
		Back: fmt.Sprintf("/databases/%d", id), Crumbs: crumbs("Database servers", "/databases", stored.Name, fmt.Sprintf("/databases/%d", id), "Delete"),
		Title: "Delete " + stored.Name + "?", URL: fmt.Sprintf("/databases/%d/delete", id), Label: "Delete this server", Style: "stop",
		Text: "Hefring forgets how to reach it. On the server itself nothing is changed. A server that sites use cannot be deleted.",
	})
}

func (s *server) deleteDatabase(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	err = s.fleet.DeleteDatabaseServer(c.Request().Context(), id)
	if err != nil {
		return s.acted(c, fmt.Sprintf("/databases/%d", id), err, "")
	}
	return s.acted(c, "/databases", nil, "Deleted. On the server itself nothing was changed.")
}
