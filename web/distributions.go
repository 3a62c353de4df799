package web

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
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
	rows, total, err := s.fleet.Distributions(c.Request().Context(), filter)
	if err != nil {
		return fmt.Errorf("list distributions: %w", err)
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

func (s *server) distributionView(c echo.Context, id int64) (view pages.Distribution, err error) {
	ctx := c.Request().Context()
	if view.Row.Distribution, err = s.fleet.Distribution(ctx, id); err != nil {
		return view, err
	}
	if view.Platforms, err = s.fleet.DistributionPlatforms(ctx, id); err != nil {
		return view, fmt.Errorf("list platforms: %w", err)
	}
	if view.Checks, err = s.fleet.DistributionChecks(ctx, id, shownChecks); err != nil {
		return view, fmt.Errorf("list checks: %w", err)
	}
	if view.Live, view.Lines, err = s.liveOf(ctx, distributionSubjects(id, view.Platforms)); err != nil {
		return view, err
	}
	for _, p := range view.Platforms {
		view.Row.Sites += p.Sites
		view.Row.Behind += p.Upgradable
	}
	view.Info = s.info(view.Row.UpdateType)
	view.Settings = s.settings(view.Row.Distribution)
	if view.Every, err = s.every(c, view.Row.Distribution); err != nil {
		return view, err
	}
	view.Page = s.page(c, "distributions", view.Row.Name)
	return view, nil
}

// distributionSubjects are what a distribution's page follows: its checks, and
// the builds of its platforms that are not ready.
func distributionSubjects(id int64, platforms []fleet.PlatformRow) []models.Subject {
	subjects := []models.Subject{{Kind: models.SubjectDistribution, ID: id}}
	for _, p := range platforms {
		if p.State == models.PlatformQueued || p.State == models.PlatformBuilding {
			subjects = append(subjects, models.Subject{Kind: models.SubjectPlatform, ID: p.ID})
		}
	}
	return subjects
}

// settings names a distribution's settings as its form does.
func (s *server) settings(d models.Distribution) []pages.Fact {
	plugin := s.plugin(d.UpdateType)
	if plugin == nil {
		return nil
	}
	var facts []pages.Fact
	for _, field := range plugin.Fields() {
		value := d.Settings[field.Name]
		switch {
		case field.Kind == plugins.FieldBool && value == "1":
			value = "yes"
		case field.Kind == plugins.FieldBool:
			value = "no"
		case field.Kind == plugins.FieldChoice:
			value = optionLabel(field.Options, value)
		}
		if value != "" {
			mono := field.Kind != plugins.FieldBool && field.Kind != plugins.FieldChoice
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

// every says how often a distribution is looked at.
func (s *server) every(c echo.Context, d models.Distribution) (string, error) {
	if d.CheckEvery != nil {
		if *d.CheckEvery == 0 {
			return "only by hand", nil
		}
		return pages.EveryText(*d.CheckEvery), nil
	}
	rows, err := s.queueRows(c)
	if err != nil {
		return "", err
	}
	for _, row := range rows {
		if row.UpdateType == d.UpdateType && row.Paused {
			return "the queue is paused", nil
		}
		if row.UpdateType == d.UpdateType {
			return pages.EveryText(row.Every), nil
		}
	}
	return "only by hand", nil
}

func (s *server) checkDistribution(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	_, err = s.fleet.CheckNow(c.Request().Context(), s.user(c), id)
	return s.acted(c, fmt.Sprintf("/distributions/%d", id), err, "The source is being looked at.")
}
