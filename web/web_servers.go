package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/pages"
)

// webServers is what the pages need of the use cases about web hosts.
type webServers interface {
	Servers(ctx context.Context) ([]fleet.ServerRow, error)
	// ServerChoices lists those that sites can be put on.
	ServerChoices(ctx context.Context) ([]models.Server, error)
	// CanAddServers is Unavailable, and says what it takes, where there can be none.
	CanAddServers(ctx context.Context) error
	ServerNamed(ctx context.Context, name string) (models.Server, error)
	ServerPlatforms(ctx context.Context, serverID int64) ([]fleet.ServerPlatformRow, error)
	PlatformServers(ctx context.Context, platformID int64) ([]fleet.ServerPlatformRow, error)
	// AddServer and InviteServer give a token that is shown once.
	AddServer(ctx context.Context, name, address string) (models.Server, string, error)
	InviteServer(ctx context.Context, id int64) (models.Server, string, error)
	// RemoveServer is Conflict when sites are on it.
	RemoveServer(ctx context.Context, id int64) error
	RelocateSite(ctx context.Context, siteID, serverID int64) (models.Task, error)
}

// shownSites bounds what a server's page lists.
const shownSites = 200

func (s *server) webServers(c echo.Context) error {
	rows, err := s.fleet.Servers(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list servers: %w", err)
	}
	view := pages.WebServers{Page: s.page(c, "servers", "Servers"), Rows: rows, Now: time.Now()}
	if view.Refused, err = s.refusesServers(c.Request().Context()); err != nil {
		return err
	}
	return render(c, http.StatusOK, pages.WebServersPage(view))
}

// refusesServers says what it takes to add servers where that can only fail; "" where
// it can be done, or is nothing for who looks.
func (s *server) refusesServers(ctx context.Context) (string, error) {
	if !s.actor.May(models.MayManageServers) {
		return "", nil
	}
	err := s.fleet.CanAddServers(ctx)
	if models.CodeOf(err) == models.Unavailable {
		return models.Explain(err), nil
	}
	return "", err
}

func (s *server) newWebServer(c echo.Context) error {
	return s.webServerForm(c, http.StatusOK, pages.WebServerForm{})
}

func (s *server) webServerForm(c echo.Context, status int, view pages.WebServerForm) error {
	view.First = firstOf(view.Errors, "name", "address")
	view.Page = s.page(c, "servers", "Add a server")
	refused, err := s.refusesServers(c.Request().Context())
	if err != nil {
		return err
	}
	view.Refused = refused
	return render(c, status, pages.WebServerFormPage(view))
}

func (s *server) addWebServer(c echo.Context) error {
	name, address := strings.TrimSpace(c.FormValue("name")), strings.TrimSpace(c.FormValue("address"))
	added, token, err := s.fleet.AddServer(c.Request().Context(), name, address)
	if refused(err) {
		view := pages.WebServerForm{Name: name, Address: address}
		view.Error, view.Errors = formErrors(err)
		return s.webServerForm(c, http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return err
	}
	return s.invited(c, added, token)
}

// invited shows a token in the very answer to the form that made it, so that it is
// kept nowhere.
func (s *server) invited(c echo.Context, to models.Server, token string) error {
	view := pages.WebServerInvited{Server: to, Command: fmt.Sprintf("hefring worker --server %s --join %s --url %s", to.Name, token, s.baseOf(c))}
	view.Page = s.page(c, "servers", "Let "+to.Name+" join")
	return render(c, http.StatusOK, pages.WebServerInvitedPage(view))
}

// webServerOf finds the server of the address.
func (s *server) webServerOf(c echo.Context) (models.Server, error) {
	return s.fleet.ServerNamed(c.Request().Context(), c.Param("name"))
}

func (s *server) webServer(c echo.Context) error {
	ctx := c.Request().Context()
	found, err := s.webServerOf(c)
	if err != nil {
		return err
	}
	view := pages.WebServer{Server: found, Now: time.Now(), Page: s.page(c, "servers", found.Name)}
	if view.Sites, _, err = s.fleet.Sites(ctx, fleet.Filter{ServerID: found.ID, Brief: true, Limit: shownSites + 1, NoTotal: true}); err != nil {
		return err
	}
	if len(view.Sites) > shownSites {
		view.Sites, view.More = view.Sites[:shownSites], true
	}
	if view.Platforms, err = s.fleet.ServerPlatforms(ctx, found.ID); err != nil {
		return err
	}
	return render(c, http.StatusOK, pages.WebServerPage(view))
}

func webServerPath(name string) string { return "/servers/" + name }

func (s *server) inviteWebServer(c echo.Context) error {
	found, err := s.webServerOf(c)
	if err != nil {
		return err
	}
	invited, token, err := s.fleet.InviteServer(c.Request().Context(), found.ID)
	if err != nil {
		return s.acted(c, webServerPath(found.Name), err, "")
	}
	return s.invited(c, invited, token)
}

func (s *server) askRemoveWebServer(c echo.Context) error {
	found, err := s.webServerOf(c)
	if err != nil {
		return err
	}
	path := webServerPath(found.Name)
	return s.ask(c, "servers", pages.Ask{
		Back: path, Crumbs: crumbs("Servers", "/servers", found.Name, path, "Remove"),
		Title: "Remove " + found.Name + "?", URL: path + "/remove", Label: "Remove this server", Style: "stop",
		Text: "Its worker can do nothing from then on. On the host itself nothing is changed: stop the worker there. A server that sites are on cannot be removed.",
	})
}

func (s *server) removeWebServer(c echo.Context) error {
	found, err := s.webServerOf(c)
	if err != nil {
		return err
	}
	if err := s.fleet.RemoveServer(c.Request().Context(), found.ID); err != nil {
		return s.acted(c, webServerPath(found.Name), err, "")
	}
	return s.acted(c, "/servers", nil, found.Name+" is removed from the fleet.")
}

// serverOptions lists where a site may be: the control plane's host and every server
// whose worker joined.
func serverOptions(list []models.Server, without string) []plugins.Option {
	var options []plugins.Option
	if without != models.LocalServer {
		options = append(options, plugins.Option{Value: "0", Label: components.ServerName(models.LocalServer)})
	}
	for _, one := range list {
		if one.Name == without {
			continue
		}
		label := one.Name
		if !one.Alive(time.Now()) {
			label += " (not heard of lately)"
		}
		options = append(options, plugins.Option{Value: strconv.FormatInt(one.ID, 10), Label: label})
	}
	return options
}

// moveQuestion asks where a site should go.
func moveQuestion(row fleet.SiteRow, servers []models.Server) pages.Ask {
	view := pages.Ask{
		Title: "Move " + row.URI + " to another server?", Crumbs: siteCrumbs(row, "Move"), Back: sitePath(row.ID),
		URL: sitePath(row.ID) + "/move", Label: "Move this site", Style: "go",
		Text: "It is on " + components.ServerName(row.Server) + ", which serves it until the new server was found to answer with all of it. Whatever fails before, it stays there.",
		Notes: []pages.Promise{
			{Icon: "clock", Text: "Writes are refused for some seconds at the end; reads go on."},
			{Icon: "globe", Text: "Its name in DNS is yours to point to the new server. For a week the old one sends visitors on."},
		},
	}
	if row.Database.Server == 0 {
		view.Notes = append(view.Notes, pages.Promise{Icon: "undo-2", Text: "What its last upgrade kept for a rollback is given up, unless that upgrade left the content as it was. Backups go along."})
	}
	if row.HTTPS != models.HTTPSOff {
		view.Notes = append(view.Notes, pages.Promise{Icon: "lock", Text: "Its certificate goes along. Where " + row.Certificate + " is not on the new server, what came along is used until it ends: have your tool make it there."})
	}
	options := serverOptions(servers, row.Server)
	if len(options) == 0 {
		view.Refused = "There is no other server. Add one at Settings, Servers."
		return view
	}
	view.Fields = []components.Field{{ID: "ask-server", Name: "server", Label: "Server", Kind: "choice", Value: options[0].Value, Options: options, Width: "w12"}}
	return view
}

// movable tells whether there is a server that a site could be moved to by who looks.
func (s *server) movable(ctx context.Context, row fleet.SiteRow) (bool, error) {
	if row.State != models.SiteEnabled || !s.actor.May(models.MayRelocateSites) {
		return false, nil
	}
	if row.ServerID != nil {
		return true, nil // the control plane's host is another one
	}
	list, err := s.fleet.ServerChoices(ctx)
	return len(list) > 0, err
}

func (s *server) askMove(c echo.Context) error {
	row, err := s.siteOf(c)
	if err != nil {
		return err
	}
	list, err := s.fleet.ServerChoices(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list servers: %w", err)
	}
	return s.ask(c, "sites", moveQuestion(row, list))
}

func (s *server) moveSite(c echo.Context) error {
	row, err := s.siteOf(c)
	if err != nil {
		return err
	}
	task, err := s.fleet.RelocateSite(c.Request().Context(), row.ID, chosen(c.FormValue("server")))
	return s.started(c, sitePath(row.ID), task, err)
}
