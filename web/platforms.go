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

func (s *server) platforms(c echo.Context) error {
	filter, page := listing(c)
	filter.State = inState(c, models.PlatformTransitions().States())
	rows, total, err := s.fleet.Platforms(c.Request().Context(), filter)
	if err != nil {
		return fmt.Errorf("list platforms: %w", err)
	}
	if to := strayed(c, page, total); to != "" {
		return c.Redirect(http.StatusSeeOther, to)
	}
	view := pages.Platforms{
		Page: s.page(c, "platforms", "Platforms"), Rows: rows, Query: filter.Query, Pages: pager(c, page, total),
		Segments: stateOptions(c, filter.State, []state{
			{"", "All"}, {"ready", "Ready"}, {"building", "Building"}, {"queued", "Queued"}, {"failed", "Failed"},
		}),
	}
	return render(c, http.StatusOK, pages.PlatformsPage(view))
}

// state is one choice of a list's filter.
type state struct{ value, label string }

func stateOptions(c echo.Context, current string, states []state) []components.Option {
	options := make([]components.Option, 0, len(states))
	for _, st := range states {
		options = append(options, components.Option{
			Label: st.label, URL: link(c, map[string]string{"state": st.value}), Count: -1, Current: st.value == current,
		})
	}
	return options
}

func (s *server) platform(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	view, err := s.platformView(c.Request().Context(), id)
	if err != nil {
		return err
	}
	view.Page = s.page(c, "platforms", view.Row.Name)
	return render(c, http.StatusOK, pages.PlatformPage(view))
}

func (s *server) platformView(ctx context.Context, id int64) (view pages.Platform, err error) {
	if view.Row, err = s.fleet.PlatformRow(ctx, id); err != nil {
		return view, err
	}
	if view.Sites, _, err = s.fleet.Sites(ctx, fleet.Filter{PlatformID: id, Brief: true, Limit: pageSize, NoTotal: true}); err != nil {
		return view, fmt.Errorf("list sites: %w", err)
	}
	view.Total = view.Row.Sites
	subjects := []models.Subject{{Kind: models.SubjectPlatform, ID: id}}
	if view.Tasks, err = s.fleet.SubjectTasks(ctx, subjects, shownTasks); err != nil {
		return view, fmt.Errorf("list tasks: %w", err)
	}
	if view.Live, view.Lines, err = s.live(ctx, view.Tasks); err != nil {
		return view, err
	}
	if view.Row.Outdated() {
		target, err := s.fleet.Platform(ctx, *view.Row.TargetID)
		if err != nil {
			return view, fmt.Errorf("load upgrade target: %w", err)
		}
		view.Changes = models.ComparePackages(view.Row.Packages, target.Packages)
	}
	if view.Servers, err = s.fleet.PlatformServers(ctx, id); err != nil {
		return view, fmt.Errorf("list servers of the platform: %w", err)
	}
	view.Provenance = s.provenance(view.Row)
	view.ByHand = s.info(view.Row.UpdateType).ByHand
	return view, nil
}

// provenance says how a platform was made: with which settings, as their form names
// them, and by which programs.
func (s *server) provenance(p fleet.PlatformRow) []pages.Fact {
	facts := s.settings(p.UpdateType, p.Provenance, nil)
	var tools []string
	for _, key := range slices.Sorted(maps.Keys(p.Provenance)) {
		if tool, is := strings.CutPrefix(key, "tool "); is {
			tools = append(tools, tool+" "+p.Provenance[key])
		}
	}
	if path := p.Provenance["path"]; path != "" {
		facts = append(facts, pages.Fact{Label: "Copied from", Value: path, Mono: true})
	}
	if len(tools) > 0 {
		facts = append(facts, pages.Fact{Label: "Built with", Value: strings.Join(tools, ", ")})
	}
	return facts
}

func (s *server) newPlatform(c echo.Context) error {
	return s.registerForm(c, http.StatusOK, pages.RegisterPlatform{Once: newOnce()})
}

func (s *server) registerForm(c echo.Context, status int, view pages.RegisterPlatform) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	if view.Distribution, err = s.fleet.Distribution(c.Request().Context(), id); err != nil {
		return err
	}
	if !s.info(view.Distribution.UpdateType).ByHand {
		return models.Errorf(models.NotFound, "%s finds its platforms by itself; none can be registered.", view.Distribution.Name)
	}
	view.Page = s.page(c, "distributions", "Register a platform")
	return render(c, status, pages.RegisterPlatformPage(view))
}

func (s *server) registerPlatform(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	path := strings.TrimSpace(c.FormValue("path"))
	p, err := s.fleet.RegisterPlatform(c.Request().Context(), id, path, once(c))
	if refused(err) {
		over, fields := formErrors(err)
		return s.registerForm(c, http.StatusUnprocessableEntity,
			pages.RegisterPlatform{Once: once(c), Path: path, Error: over, Wrong: fields["path"]})
	}
	if err != nil {
		return err
	}
	s.say(c, "succeeded", "Registered %s. It is being copied and sealed.", p.Name)
	return redirect(c, fmt.Sprintf("/platforms/%d", p.ID))
}

// onPlatform runs one use case of a platform's buttons.
func (s *server) onPlatform(c echo.Context, done string, do func(ctx context.Context, id int64) error) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	err = do(c.Request().Context(), id)
	return s.acted(c, fmt.Sprintf("/platforms/%d", id), err, done)
}

func (s *server) lockPlatform(c echo.Context) error {
	return s.onPlatform(c, "Locked. It takes no new sites; sites on it keep running.", s.fleet.LockPlatform)
}

func (s *server) unlockPlatform(c echo.Context) error {
	return s.onPlatform(c, "Unlocked. It takes new sites again.", s.fleet.UnlockPlatform)
}

func (s *server) setTarget(c echo.Context) error {
	return s.onPlatform(c, "This is the upgrade target now. The other platforms are locked.", s.fleet.SetTarget)
}

func (s *server) verifyPlatform(c echo.Context) error {
	return s.onPlatform(c, "Every file is being compared with what was built.", func(ctx context.Context, id int64) error {
		_, err := s.fleet.VerifyPlatform(ctx, id)
		return err
	})
}

func (s *server) retryBuild(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	_, err = s.fleet.RetryBuild(c.Request().Context(), id)
	return s.acted(c, fmt.Sprintf("/platforms/%d", id), err, "It is being built again.")
}
