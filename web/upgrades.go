package web

import (
	"context"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"hefring/models"
	"hefring/templates/pages"
)

func (s *server) planSite(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	plan, err := s.fleet.UpgradePlan(c.Request().Context(), id)
	if err != nil {
		return s.acted(c, fmt.Sprintf("/sites/%d", id), err, "")
	}
	view := pages.Plan{Page: s.page(c, "sites", "Upgrade "+plan.Site.URI), Plan: plan, Fragment: isDialog(c)}
	if view.Comparing, err = s.comparing(c); err != nil {
		return err
	}
	return render(c, http.StatusOK, pages.PlanPage(view))
}

// comparing is the task that asks Drush, if the page waits for one and has no
// answer from it: it runs, or it failed.
func (s *server) comparing(c echo.Context) (*models.Task, error) {
	id := number(c.QueryParam("compare"))
	if id == 0 {
		return nil, nil
	}
	task, err := s.fleet.Task(c.Request().Context(), id)
	if models.CodeOf(err) == models.NotFound || err == nil && task.Kind != models.TaskCompare {
		return nil, nil
	}
	if err != nil || task.State == models.TaskSucceeded {
		return nil, err
	}
	return &task, nil
}

func (s *server) compareSite(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	back := fmt.Sprintf("/sites/%d/upgrade", id)
	task, err := s.fleet.CompareNow(c.Request().Context(), id)
	if err != nil && (models.CodeOf(err) != models.Conflict || task.ID == 0) {
		return s.acted(c, back, err, "")
	}
	// Followed by htmx inside of the dialog as well as by the browser.
	return c.Redirect(http.StatusSeeOther, fmt.Sprintf("%s?compare=%d", back, task.ID))
}

func (s *server) upgradeSite(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	task, err := s.fleet.UpgradeSite(c.Request().Context(), id, chosen(c.FormValue("target")))
	return s.upgrading(c, task, err, fmt.Sprintf("/sites/%d/upgrade", id), func(ctx context.Context) int64 {
		plan, err := s.fleet.UpgradePlan(ctx, id)
		if err != nil {
			return 0
		}
		return plan.RunningTask
	})
}

func (s *server) planPlatform(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	plan, err := s.fleet.PlatformPlan(c.Request().Context(), id)
	if err != nil {
		return s.acted(c, fmt.Sprintf("/platforms/%d", id), err, "")
	}
	view := pages.PlatformPlan{Page: s.page(c, "platforms", "Upgrade "+plan.Platform.Name), Plan: plan, Fragment: isDialog(c)}
	return render(c, http.StatusOK, pages.PlatformPlanPage(view))
}

func (s *server) upgradePlatform(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	task, err := s.fleet.UpgradePlatform(c.Request().Context(), id, chosen(c.FormValue("target")))
	return s.upgrading(c, task, err, fmt.Sprintf("/platforms/%d/upgrade", id), func(ctx context.Context) int64 {
		plan, err := s.fleet.PlatformPlan(ctx, id)
		if err != nil {
			return 0
		}
		return plan.RunningTask
	})
}

// upgrading leads to the task of an upgrade. Where somebody else was quicker it
// leads to theirs; where the target moved on, back to the question, which now
// shows the new one.
func (s *server) upgrading(c echo.Context, task models.Task, err error, question string, running func(context.Context) int64) error {
	if err == nil {
		return redirect(c, fmt.Sprintf("/tasks/%d", task.ID))
	}
	if models.CodeOf(err) == models.Conflict {
		id := task.ID
		if id == 0 {
			id = running(c.Request().Context())
		}
		if id != 0 {
			s.say(c, "warning", "This is the task that works on it already. Nothing was started a second time.")
			return redirect(c, fmt.Sprintf("/tasks/%d", id))
		}
	}
	return s.acted(c, question, err, "")
}
