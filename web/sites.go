package web

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/components"
	"hefring/templates/pages"
)

func (s *server) sites(c echo.Context) error {
	ctx := c.Request().Context()
	filter, page := listing(c)
	filter.Brief = true
	filter.State = inState(c, slices.DeleteFunc(models.SiteTransitions().States(), models.SiteTransitions().Final)) // no list has those that are gone
	rows, total, err := s.fleet.Sites(ctx, filter)
	if err != nil {
		return fmt.Errorf("list sites: %w", err)
	}
	if to := strayed(c, page, total); to != "" {
		return c.Redirect(http.StatusSeeOther, to)
	}
	counts, err := s.fleet.Fleet(ctx, fleet.Filter{ClientID: filter.ClientID})
	if err != nil {
		return fmt.Errorf("count fleet: %w", err)
	}
	distributions, err := s.choices(ctx, counts.Distributions, filter.DistributionID)
	if err != nil {
		return err
	}
	view := pages.Sites{
		Page: s.page(c, "sites", "Sites"), Rows: rows, Pages: pager(c, page, total), Segments: siteSegments(c, filter, counts),
		Query: filter.Query, State: filter.State, Behind: filter.Behind, Distribution: filter.DistributionID,
		Distributions: distributions, Busy: anyBusy(rows), Filtered: c.Request().URL.RawQuery != "",
	}
	view.Page.Query = filter.Query
	return render(c, http.StatusOK, pages.SitesPage(view))
}

// shownChoices is how many distributions a list can be narrowed to in its form. Where
// there are more, a distribution's own page leads to its sites.
const shownChoices = 100

// choices are the distributions that the form over the list of sites offers if there
// are not too many of them, and the one that is chosen in any case.
func (s *server) choices(ctx context.Context, all int, chosen int64) ([]models.Distribution, error) {
	if !s.actor.May(models.MaySeeFleet) {
		return nil, nil
	}
	if all <= shownChoices { // of which a client's figures know nothing
		list, err := s.fleet.DistributionNames(ctx, shownChoices+1)
		if err != nil {
			return nil, fmt.Errorf("list distributions: %w", err)
		}
		if len(list) <= shownChoices {
			return list, nil
		}
	}
	if chosen == 0 {
		return nil, nil
	}
	one, err := s.fleet.Distribution(ctx, chosen)
	if models.CodeOf(err) == models.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load distribution: %w", err)
	}
	return []models.Distribution{one}, nil
}

func anyBusy(rows []fleet.SiteRow) bool {
	for _, row := range rows {
		if row.RunningTaskID != 0 || row.State == models.SiteInstalling || row.State == models.SiteUpgrading {
			return true
		}
	}
	return false
}

func siteSegments(c echo.Context, f fleet.Filter, n fleet.Counts) []components.Option {
	all := n.Current + n.Behind + n.Held + n.Broken + n.Disabled + n.Busy
	choice := func(label, state string, behind bool, count int) components.Option {
		change := map[string]string{"state": state, "behind": ""}
		if behind {
			change["behind"] = "1"
		}
		return components.Option{Label: label, URL: link(c, change), Count: count, Current: f.State == state && f.Behind == behind}
	}
	return []components.Option{
		choice("All", "", false, all), choice("Behind", "", true, n.Behind),
		choice("Upgrading", string(models.SiteUpgrading), false, -1), choice("Installing", string(models.SiteInstalling), false, -1),
		choice("Broken", string(models.SiteBroken), false, n.Broken), choice("Disabled", string(models.SiteDisabled), false, n.Disabled),
	}
}

func (s *server) newSite(c echo.Context) error {
	view := pages.SiteForm{Once: newOnce(), Platform: number(c.QueryParam("platform")), Profile: "standard", Database: -1}
	return s.siteForm(c, http.StatusOK, view)
}

func (s *server) siteForm(c echo.Context, status int, view pages.SiteForm) error {
	platforms, err := s.fleet.OpenPlatforms(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list open platforms: %w", err)
	}
	view.Platforms = platforms
	if view.Servers, err = s.fleet.DatabaseServerChoices(c.Request().Context()); err != nil {
		return fmt.Errorf("list database servers: %w", err)
	}
	hosts, err := s.fleet.ServerChoices(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list servers: %w", err)
	}
	view.Hosts = serverOptions(hosts, "")
	if view.Database < 0 {
		view.Database = usualServer(view.Servers)
	}
	view.First = firstOf(view.Errors, "uri", "title", "platform", "profile", "language", "database", "server")
	view.Page = s.page(c, "sites", "Install a site")
	return render(c, status, pages.SiteFormPage(view))
}

// usualServer is where new sites go unless somebody says otherwise; 0 for none.
func usualServer(rows []fleet.DatabaseServerRow) int64 {
	for _, row := range rows {
		if row.Default {
			return row.ID
		}
	}
	return 0
}

func (s *server) createSite(c echo.Context) error {
	in := fleet.NewSite{
		URI: strings.ToLower(strings.TrimSpace(c.FormValue("uri"))), Title: strings.TrimSpace(c.FormValue("title")),
		Profile: c.FormValue("profile"), PlatformID: chosen(c.FormValue("platform")), Once: once(c),
		Language: c.FormValue("language"), DatabaseServerID: chosen(c.FormValue("database")),
		ServerID: chosen(c.FormValue("server")),
	}
	site, err := s.fleet.CreateSite(c.Request().Context(), in)
	if refused(err) {
		view := pages.SiteForm{Once: in.Once, URI: in.URI, SiteTitle: in.Title, Profile: in.Profile, Platform: in.PlatformID, Language: in.Language, Database: in.DatabaseServerID, Server: in.ServerID}
		view.Error, view.Errors = formErrors(err)
		return s.siteForm(c, http.StatusUnprocessableEntity, view)
	}
	if err != nil {
		return err
	}
	s.say(c, "succeeded", "%s is being installed.", site.URI)
	return redirect(c, fmt.Sprintf("/sites/%d", site.ID))
}

func (s *server) site(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	view, err := s.siteView(c.Request().Context(), id)
	if err != nil {
		return err
	}
	view.Page = s.page(c, "sites", view.Row.URI)
	allowLogin(c, view.URL)
	return render(c, http.StatusOK, pages.SitePage(view))
}

func (s *server) siteView(ctx context.Context, id int64) (view pages.Site, err error) {
	if view.Row, err = s.fleet.SiteRow(ctx, id); err != nil {
		return view, err
	}
	if view.Upgrades, err = s.fleet.SiteUpgrades(ctx, id, shownTasks); err != nil {
		return view, fmt.Errorf("list upgrades: %w", err)
	}
	subjects := []models.Subject{{Kind: models.SubjectSite, ID: id}, {Kind: models.SubjectNewcomer, ID: id}}
	if view.Tasks, err = s.fleet.SubjectTasks(ctx, subjects, shownTasks); err != nil {
		return view, fmt.Errorf("list tasks: %w", err)
	}
	if view.Live, view.Lines, err = s.live(ctx, view.Tasks); err != nil {
		return view, err
	}
	view.Names = s.platformNames(ctx, view.Upgrades)
	if view.Backups, err = s.fleet.Backups(ctx, id, shownBackups); err != nil {
		return view, fmt.Errorf("list backups: %w", err)
	}
	if s.actor.May(models.MaySeeFleet) {
		if view.Clients, err = s.fleet.ClientNames(ctx); err != nil {
			return view, fmt.Errorf("list clients: %w", err)
		}
	}
	if view.Live == nil { // it is offered for nothing that is worked on
		if view.Movable, err = s.movable(ctx, view.Row); err != nil {
			return view, fmt.Errorf("list servers: %w", err)
		}
	}
	view.Server = s.serverName(view.Row)
	view.URL = s.fleet.SiteURL(view.Row.Site)
	return view, nil
}

// platformNames gives the versions of the platforms that upgrades speak of. One
// that is gone is named by its number.
func (s *server) platformNames(ctx context.Context, upgrades []models.Upgrade) map[int64]string {
	names := map[int64]string{}
	for _, u := range upgrades {
		for _, id := range []int64{u.FromID, u.ToID} {
			names[id] = fmt.Sprintf("platform %d", id)
		}
	}
	found, err := s.fleet.PlatformsByID(ctx, slices.Sorted(maps.Keys(names)))
	if err != nil {
		return names
	}
	for id, p := range found {
		names[id] = components.Version(p)
	}
	return names
}

func (s *server) holdSite(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	until, err := holdUntil(strings.TrimSpace(c.FormValue("until")))
	if err == nil {
		err = s.fleet.HoldSite(c.Request().Context(), id, strings.TrimSpace(c.FormValue("reason")), until)
	}
	return s.acted(c, fmt.Sprintf("/sites/%d", id), err, "Held. Nobody can upgrade it until it is released.")
}

func (s *server) releaseSite(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	err = s.fleet.ReleaseSite(c.Request().Context(), id)
	return s.acted(c, fmt.Sprintf("/sites/%d", id), err, "Released. It can be upgraded again.")
}

func (s *server) verifySite(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	_, err = s.fleet.VerifySite(c.Request().Context(), id)
	return s.acted(c, fmt.Sprintf("/sites/%d", id), err, "It is being verified.")
}

func (s *server) retryInstall(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	_, err = s.fleet.RetryInstall(c.Request().Context(), id)
	return s.acted(c, fmt.Sprintf("/sites/%d", id), err, "It is being installed again.")
}
