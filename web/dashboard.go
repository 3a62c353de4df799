package web

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/templates/pages"
)

func (s *server) dashboard(c echo.Context) error {
	ctx := c.Request().Context()
	view := pages.Dashboard{}
	var err error
	if view.Counts, err = s.fleet.Fleet(ctx, fleet.Filter{}); err != nil {
		return fmt.Errorf("count fleet: %w", err)
	}
	if view.Decisions, err = s.fleet.Decisions(ctx, fleet.Filter{Limit: maxDecisions}); err != nil {
		return fmt.Errorf("list decisions: %w", err)
	}
	if view.Running, err = s.fleet.RunningTasks(ctx, fleet.Filter{Limit: 20}); err != nil {
		return fmt.Errorf("list running tasks: %w", err)
	}
	if view.Recent, err = s.fleet.RecentTasks(ctx, fleet.Filter{Limit: 15}); err != nil {
		return fmt.Errorf("list recent tasks: %w", err)
	}
	view.Page = s.frame(c, "decisions", dashboardTitle(len(view.Decisions)))
	view.Page.Decisions = len(view.Decisions)
	return render(c, http.StatusOK, pages.DashboardPage(view))
}

func dashboardTitle(decisions int) string {
	switch decisions {
	case 0:
		return "Decisions"
	case 1:
		return "1 decision"
	default:
		return fmt.Sprintf("%d decisions", decisions)
	}
}
