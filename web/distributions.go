package web

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/pages"
)

// Bounds of what a distribution's page lists.
const (
	shownChecks = 15
	shownTasks  = 15
)

// info finds an update type. One that this Hefring does not know is shown by
// its id.
func (s *server) info(updateType string) plugins.Info {
	if plugin := s.plugin(updateType); plugin != nil {
		return plugin.Info()
	}
	return plugins.Info{ID: updateType, Name: updateType, Icon: "box"}
}

func (s *server) plugin(updateType string) plugins.Plugin {
	for _, plugin := range s.fleet.UpdateTypes() {
		if plugin.Info().ID == updateType {
			return plugin
		}
	}
	return nil
}

func (s *server) distributions(c echo.Context) error {
	filter, page := listing(c)
	filter.State = inState(c, models.AllConditions())
	rows, total, err := s.fleet.Distributions(c.Request().Context(), filter)
	if err != nil {
		return fmt.Errorf("list distributions: %w", err)
	}
	if to := strayed(c, page, total); to != "" {
		return c.Redirect(http.StatusSeeOther, to)
	}
	view := pages.Distributions{Page: s.page(c, "distributions", "Distributions"), Query: filter.Query, Pages: pager(c, page, total)}
	for _, row := range rows {
		info := s.info(row.UpdateType)
		view.Rows = append(view.Rows, pages.DistributionLine{DistributionRow: row, TypeName: info.Name, ByHand: info.ByHand})
	}
	return render(c, http.StatusOK, pages.DistributionsPage(view))
}

func (s *server) distribution(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	view, err := s.distributionView(c, id)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, pages.DistributionPage(view))
}

func (s *server) askDeleteDistribution(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	d, err := s.fleet.Distribution(ctx, id)
	if err != nil {
		return err
	}
	platforms, err := s.fleet.DistributionPlatforms(ctx, id)
	if err != nil {
		return fmt.Errorf("list platforms: %w", err)
	}
	sites, total, err := s.fleet.Sites(ctx, fleet.Filter{DistributionID: id, Brief: true, Limit: 12})
	if err != nil {
		return fmt.Errorf("list sites: %w", err)
	}
	view := deletionOf(d)
	view.Notes = append(view.Notes, removedWith(platforms)...)
	refuseForSites(&view, sites, total)
	return s.ask(c, "distributions", view)
}

// deletionOf asks whether a distribution may go.
func deletionOf(d models.Distribution) pages.Ask {
	back := fmt.Sprintf("/distributions/%d", d.ID)
	return pages.Ask{
		Title: "Delete " + d.Name + "?", Crumbs: crumbs("Distributions", "/distributions", d.Name, back, "Delete"), Back: back,
		URL: back + "/delete", Label: "Delete this distribution", Style: "stop",
		Text:  "Its source is looked at no more. Nothing at the source is changed, and what happened stays in the record.",
		Notes: []pages.Promise{{Icon: "unplug", Text: "Its webhooks, its credentials and the notices about it alone go with it."}},
	}
}

// removedWith says which platforms go with a distribution; nothing when it has none.
func removedWith(platforms []fleet.PlatformRow) []pages.Promise {
	if len(platforms) == 0 {
		return nil
	}
	var size int64
	for _, p := range platforms {
		size += p.Bytes
	}
	count := components.Count(int64(len(platforms)), "platform", "platforms")
	return []pages.Promise{{Icon: "package", Text: count + " and their files are removed, " + components.Bytes(size) + "."}}
}

// refuseForSites says that a distribution cannot be deleted, if it has sites; the
// first of them are given.
func refuseForSites(view *pages.Ask, sites []fleet.SiteRow, total int) {
	if total == 0 {
		return
	}
	view.Refused = "Sites live on its platforms, so it cannot be deleted. Delete them first, or clone them onto a platform of another distribution and delete them here."
	for _, site := range sites {
		view.Names = append(view.Names, site.URI)
	}
	view.More = max(total-len(sites), 0)
}

func (s *server) deleteDistribution(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	d, err := s.fleet.Distribution(ctx, id)
	if err != nil {
		return err
	}
	if err := s.fleet.DeleteDistribution(ctx, id); err != nil {
		return s.acted(c, fmt.Sprintf("/distributions/%d", id), err, "")
	}
	return s.acted(c, "/distributions", nil, "Deleted "+d.Name+". Its platforms are being removed.")
}

func (s *server) distributionView(c echo.Context, id int64) (view pages.Distribution, err error) {
	ctx := c.Request().Context()
	rows, _, err := s.fleet.Distributions(ctx, fleet.Filter{DistributionID: id, Limit: 1, NoTotal: true})
	if err != nil {
		return view, fmt.Errorf("load distribution: %w", err)
	}
	if len(rows) == 0 {
		_, err := s.fleet.Distribution(ctx, id) // says that there is none
		return view, err
	}
	view.Row = rows[0]
	if view.Platforms, err = s.fleet.DistributionPlatforms(ctx, id); err != nil {
		return view, fmt.Errorf("list platforms: %w", err)
	}
	if view.Checks, err = s.fleet.DistributionChecks(ctx, id, shownChecks); err != nil {
		return view, fmt.Errorf("list checks: %w", err)
	}
	if view.Live, view.Lines, err = s.liveOf(ctx, distributionSubjects(view.Row, view.Platforms)); err != nil {
		return view, err
	}
	if view.Row.Condition == models.ConditionHeld {
		pending, _, err := s.fleet.Pending(ctx, id)
		if err != nil {
			return view, fmt.Errorf("load what is held: %w", err)
		}
		view.Pending, view.PendingTo = pending.Revision, pending.Label
	}
	view.Info = s.info(view.Row.UpdateType)
	view.Settings = s.settings(view.Row.UpdateType, view.Row.Settings, s.fleet.SecretsSet(view.Row.Distribution))
	if view.Every, view.Paused, err = s.every(c, view.Row.Distribution); err != nil {
		return view, err
	}
	view.Page = s.page(c, "distributions", view.Row.Name)
	return view, nil
}

// distributionSubjects are what a distribution's page follows: its checks, and
// the builds of its platforms that are not ready.
func distributionSubjects(d fleet.DistributionRow, platforms []fleet.PlatformRow) []models.Subject {
	var subjects []models.Subject
	if d.UpstreamID != nil {
		subjects = append(subjects, models.Subject{Kind: models.SubjectUpstream, ID: *d.UpstreamID})
	}
	for _, p := range platforms {
		if p.State == models.PlatformQueued || p.State == models.PlatformBuilding {
			subjects = append(subjects, models.Subject{Kind: models.SubjectPlatform, ID: p.ID})
		}
	}
	return subjects
}

// settings names settings of an update type as its form does. set are the secrets that
// there are.
func (s *server) settings(updateType string, settings models.Settings, set map[string]bool) []pages.Fact {
	plugin := s.plugin(updateType)
	if plugin == nil {
		return nil
	}
	wanted := plugins.Wanted(plugin.Fields(), settings)
	var facts []pages.Fact
	for _, field := range plugin.Fields() {
		if !wanted[field.Name] {
			continue
		}
		value := models.Blot(settings[field.Name])
		switch {
		case field.Kind == plugins.FieldBool && value == "1":
			value = "yes"
		case field.Kind == plugins.FieldBool:
			value = "" // what is off need not be said
		case field.Kind.Secret() && set[field.Name]:
			value = "set, not shown"
		case field.Kind.Lines() && value != "":
			value = components.Count(int64(strings.Count(value, "\n")+1), "line", "lines")
		case field.Kind == plugins.FieldChoice:
			value = optionLabel(field.Options, value)
		}
		if value != "" {
			mono := field.Kind != plugins.FieldBool && field.Kind != plugins.FieldChoice && !field.Kind.Secret() && !field.Kind.Lines()
			facts = append(facts, pages.Fact{Label: field.Label, Value: value, Mono: mono})
		}
	}
	return facts
}

func optionLabel(options []plugins.Option, value string) string {
	for _, option := range options {
		if option.Value == value {
			return option.Label
		}
	}
	return value
}

// every says how often a distribution is looked at, and whether its queue is
// paused.
func (s *server) every(c echo.Context, d models.Distribution) (every string, paused bool, err error) {
	queues, err := s.fleet.Queues(c.Request().Context())
	if err != nil {
		return "", false, fmt.Errorf("list queues: %w", err)
	}
	every = "only by hand"
	for _, q := range queues {
		if q.UpdateType == d.UpdateType {
			every, paused = pages.EveryText(q.Every), q.Paused
		}
	}
	switch {
	case d.CheckEvery != nil && *d.CheckEvery == 0:
		every = "only by hand or webhook"
	case paused:
		every = "the queue is paused"
	case d.CheckEvery != nil:
		every = pages.EveryText(*d.CheckEvery)
	}
	return every, paused, nil
}

// approveDistribution builds what was held back for a decision.
func (s *server) approveDistribution(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	p, err := s.fleet.Approve(c.Request().Context(), id, c.FormValue("revision"))
	return s.acted(c, fmt.Sprintf("/distributions/%d", id), err, p.Name+" is being built.")
}

// retryDistribution lets checks of a stalled source go on.
func (s *server) retryDistribution(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	_, err = s.fleet.TryAgain(c.Request().Context(), id)
	return s.acted(c, fmt.Sprintf("/distributions/%d", id), err, "The source is being looked at.")
}

func (s *server) checkDistribution(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	_, err = s.fleet.CheckNow(c.Request().Context(), id)
	return s.acted(c, fmt.Sprintf("/distributions/%d", id), err, "The source is being looked at.")
}
