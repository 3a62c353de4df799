package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/pages"
)

// newClone is the form of a site that is made from what is there: the address
// says from what.
func (s *server) newClone(c echo.Context) error {
	view := pages.Clone{Once: newOnce(), Origin: pages.Origin{
		Site: number(c.QueryParam("site")), Backup: number(c.QueryParam("backup")), Task: number(c.QueryParam("task")), Folder: c.QueryParam("folder"),
	}}
	if err := s.findOrigin(c.Request().Context(), &view); err != nil {
		return err
	}
	view.SiteTitle, view.Database, view.Home = view.Origin.Title, view.Origin.Server, view.Origin.Home
	if view.Database == 0 {
		view.Database = s.defaultServer(c.Request().Context(), view.Origin.Engine)
	}
	return s.cloneForm(c, http.StatusOK, view)
}

// defaultServer is the server of an engine that new sites go to; 0 for none.
func (s *server) defaultServer(ctx context.Context, engine string) int64 {
	rows, err := s.fleet.DatabaseServerChoices(ctx)
	if err != nil {
		return 0 // the form says it
	}
	var first int64
	for _, row := range rows {
		switch {
		case row.Engine != engine:
		case row.Default:
			return row.ID
		case first == 0:
			first = row.ID
		}
	}
	return first
}

// findOrigin fills in what the new site is made from.
func (s *server) findOrigin(ctx context.Context, view *pages.Clone) error {
	switch o := &view.Origin; {
	case o.Site != 0:
		row, err := s.fleet.SiteRow(ctx, o.Site)
		if err != nil {
			return err
		}
		o.Name, o.Title, o.Version, o.Engine, o.Server, o.Home = row.URI, row.Title, row.Platform.DrupalVersion, row.Database.Engine, row.Database.Server, row.Home()
		o.PlatformName, o.Back = openName(row.Platform), sitePath(row.ID)
	case o.Backup != 0:
		b, err := s.fleet.Backup(ctx, o.Backup)
		if err != nil {
			return err
		}
		o.Name, o.Version, o.Engine, o.Back = backupName(b), b.DrupalVersion, b.Engine, sitePath(b.SiteID)
		o.URI = b.URI
		if site, err := s.fleet.SiteRow(ctx, b.SiteID); err == nil {
			o.Title, o.Home = site.Title, site.Home()
		}
		if p, err := s.fleet.Platform(ctx, b.PlatformID); err == nil {
			o.PlatformName = openName(p)
		}
	case o.Task != 0:
		return s.findFound(ctx, o)
	default:
		return errNoPage()
	}
	return nil
}

// openName is the name of a platform that may take a new site; "" for others.
func openName(p models.Platform) string {
	if p.State != models.PlatformReady || p.Locked {
		return ""
	}
	return p.Name
}

func (s *server) findFound(ctx context.Context, o *pages.Origin) error {
	list, err := s.fleet.FoundSites(ctx, o.Task)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(f models.FoundSite) bool { return f.Folder == o.Folder })
	if i < 0 {
		return errNoPage()
	}
	f := list[i]
	o.Name, o.URI, o.Title, o.Version, o.Engine = f.Root, f.URI, f.Title, f.DrupalVersion, f.Engine
	o.Problem, o.Bytes, o.Back = f.Problem, f.Bytes, fmt.Sprintf("/tasks/%d", o.Task)
	return nil
}

func (s *server) cloneForm(c echo.Context, status int, view pages.Clone) (err error) {
	ctx := c.Request().Context()
	if view.Platforms, err = s.fleet.OpenPlatforms(ctx); err != nil {
		return fmt.Errorf("list open platforms: %w", err)
	}
	if view.Servers, err = s.fleet.DatabaseServerChoices(ctx); err != nil {
		return fmt.Errorf("list database servers: %w", err)
	}
	if s.actor.May(models.MayRelocateSites) {
		hosts, err := s.fleet.ServerChoices(ctx)
		if err != nil {
			return fmt.Errorf("list servers: %w", err)
		}
		view.Hosts = serverOptions(hosts, "")
	}
	view.First = firstOf(view.Errors, "uri", "title", "platform", "database", "server")
	view.Page = s.page(c, "sites", view.Heading())
	return render(c, status, pages.ClonePage(view))
}

func (s *server) createClone(c echo.Context) error {
	view := pages.Clone{
		Once: once(c), URI: strings.ToLower(strings.TrimSpace(c.FormValue("uri"))), SiteTitle: strings.TrimSpace(c.FormValue("title")),
		Platform: chosen(c.FormValue("platform")), Database: chosen(c.FormValue("database")),
		Origin: pages.Origin{
			Site: chosen(c.FormValue("site")), Backup: chosen(c.FormValue("backup")), Task: chosen(c.FormValue("task")), Folder: c.FormValue("folder"),
		},
	}
	if err := s.findOrigin(c.Request().Context(), &view); err != nil {
		return err
	}
	in := fleet.NewClone{
		FromSite: view.Origin.Site, FromBackup: view.Origin.Backup, FromFound: view.Origin.Task, Folder: view.Origin.Folder,
		URI: view.URI, Title: view.SiteTitle, PlatformID: view.Platform, DatabaseServerID: view.Database, Once: view.Once,
	}
	view.Home = view.Origin.Home
	if typed := c.FormValue("server"); typed != "" {
		view.Home = chosen(typed)
		in.ServerID = &view.Home
	}
	site, err := s.fleet.CloneSite(c.Request().Context(), in)
	if refused(err) {
		view.Error, view.Errors = formErrors(err)
		return s.cloneForm(c, http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return err
	}
	then := ""
	if view.Home != view.Origin.Home {
		then = " Once it answers, it is moved to its server."
	}
	s.say(c, "succeeded", "%s is being made from %s. Nothing is changed there.%s", site.URI, view.Origin.Name, then)
	return redirect(c, sitePath(site.ID))
}

func (s *server) importForm(c echo.Context) error {
	return s.importPage(c, http.StatusOK, pages.Import{})
}

func (s *server) importPage(c echo.Context, status int, view pages.Import) error {
	view.Page = s.page(c, "sites", "Import sites")
	return render(c, status, pages.ImportPage(view))
}

func (s *server) findSites(c echo.Context) error {
	root := strings.TrimSpace(c.FormValue("root"))
	task, err := s.fleet.FindSites(c.Request().Context(), root)
	if refused(err) && (models.CodeOf(err) != models.Conflict || task.ID == 0) {
		view := pages.Import{Root: root}
		over, wrong := formErrors(err)
		view.Error, view.Wrong = over, wrong["root"]
		return s.importPage(c, http.StatusUnprocessableEntity, view)
	}
	if err != nil && task.ID == 0 {
		return err
	}
	return redirect(c, fmt.Sprintf("/tasks/%d", task.ID))
}

// addFound fills in what a task found that looked for sites.
func (s *server) addFound(ctx context.Context, view *pages.Task) error {
	if view.Task.State != models.TaskSucceeded && view.Task.State != models.TaskWarning {
		return nil
	}
	found, err := s.fleet.FoundSites(ctx, view.Task.ID)
	if err != nil {
		return fmt.Errorf("list found sites: %w", err)
	}
	view.Found, view.Looked = found, true
	return nil
}

// serverName is what people call the database server of a site; "" for none.
func (s *server) serverName(row fleet.SiteRow) string {
	switch {
	case row.Database.Server == 0:
		return ""
	case row.DatabaseServer.ID != row.Database.Server || !s.actor.May(models.MaySeeFleet):
		return fmt.Sprintf("server %d", row.Database.Server)
	}
	return pages.ProductName(row.DatabaseServer) + " on " + row.DatabaseServer.Name
}
