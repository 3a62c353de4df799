package web

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/templates/pages"
)

// maxChoices bounds a list of platforms to choose from.
const maxChoices = 200

func (s *server) comparePlatforms(c echo.Context) (err error) {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	view := pages.Compare{With: number(c.QueryParam("with")), All: c.QueryParam("all") == "1"}
	if view.Row, err = s.fleet.PlatformRow(ctx, id); err != nil {
		return err
	}
	if view.Choices, err = s.fleet.PlatformChoices(ctx, view.Row.DistributionID, maxChoices); err != nil {
		return fmt.Errorf("list platforms: %w", err)
	}
	if view.With == 0 && view.Row.TargetID != nil && *view.Row.TargetID != id {
		view.With = *view.Row.TargetID
	}
	if view.With != 0 {
		diff, err := s.fleet.DiffPlatforms(ctx, id, view.With)
		if err != nil {
			return err
		}
		view.Diff = &diff
	}
	view.Page = s.page(c, "platforms", "Compare "+view.Row.Name)
	return render(c, http.StatusOK, pages.ComparePage(view))
}

func (s *server) askDeletePlatform(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	row, err := s.fleet.PlatformRow(ctx, id)
	if err != nil {
		return err
	}
	back := fmt.Sprintf("/platforms/%d", id)
	view := pages.Ask{
		Title: "Delete " + row.Name + "?", Crumbs: crumbs("Platforms", "/platforms", row.Name, back, "Delete"), Back: back,
		URL: back + "/delete", Label: "Delete this platform", Style: "stop",
		Text: "Its folder and its files are removed. What other platforms share with it stays.",
	}
	if row.IsTarget() {
		view.Refused = "It is the upgrade target of " + row.DistributionName + ", so it cannot be deleted. Make another platform the target first."
	}
	if row.Sites > 0 {
		sites, total, err := s.fleet.Sites(ctx, fleet.Filter{PlatformID: id, Brief: true, Limit: 12})
		if err != nil {
			return fmt.Errorf("list sites: %w", err)
		}
		view.Refused = "Sites live here, so it cannot be deleted. Upgrade or delete them first."
		for _, site := range sites {
			view.Names = append(view.Names, site.URI)
		}
		view.More = max(total-len(sites), 0)
	}
	return s.ask(c, "platforms", view)
}

func (s *server) deletePlatform(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	task, err := s.fleet.DeletePlatform(c.Request().Context(), id)
	return s.started(c, fmt.Sprintf("/platforms/%d", id), task, err)
}
