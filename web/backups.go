package web

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/pages"
)

// backup leads to a backup's line on its site's page.
func (s *server) backup(c echo.Context) error {
	b, err := s.backupOf(c)
	if err != nil {
		return err
	}
	return redirect(c, fmt.Sprintf("%s#backup-%d", sitePath(b.SiteID), b.ID))
}

func (s *server) backupOf(c echo.Context) (models.Backup, error) {
	id, err := idOf(c)
	if err != nil {
		return models.Backup{}, err
	}
	return s.fleet.Backup(c.Request().Context(), id)
}

func (s *server) keepBackup(c echo.Context) error {
	b, err := s.backupOf(c)
	if err != nil {
		return err
	}
	keep, done := c.FormValue("keep") == "1", "No longer kept: the schedule may remove it."
	if keep {
		done = "Kept. No schedule removes it."
	}
	err = s.fleet.KeepBackup(c.Request().Context(), b.ID, keep)
	return s.acted(c, sitePath(b.SiteID), err, done)
}

// backupName tells backups of a site apart.
func backupName(b models.Backup) string { return "the backup of " + components.ExactText(b.CreatedAt) }

func (s *server) askDeleteBackup(c echo.Context) error {
	b, err := s.backupOf(c)
	if err != nil {
		return err
	}
	return s.ask(c, "sites", pages.Ask{
		Title: "Delete " + backupName(b) + "?", Crumbs: crumbs("Sites", "/sites", b.URI, sitePath(b.SiteID), "Delete a backup"), Back: sitePath(b.SiteID),
		URL: fmt.Sprintf("/backups/%d/delete", b.ID), Label: "Delete this backup", Style: "stop",
		Text: "Its archive of " + components.Bytes(b.Bytes) + " is removed. What was in it cannot be brought back. The site itself stays as it is.",
	})
}

func (s *server) deleteBackup(c echo.Context) error {
	b, err := s.backupOf(c)
	if err != nil {
		return err
	}
	err = s.fleet.DeleteBackup(c.Request().Context(), b.ID)
	return s.acted(c, sitePath(b.SiteID), err, "Deleted.")
}

// askRestore asks on which platform the content comes back: the one that the
// site runs on, or the one that it ran on then.
func (s *server) askRestore(c echo.Context) error {
	b, err := s.backupOf(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	row, err := s.fleet.SiteRow(ctx, b.SiteID)
	if err != nil {
		return err
	}
	options := s.restoreOptions(ctx, b, row.Platform)
	return s.ask(c, "sites", pages.Ask{
		Title: "Restore " + row.URI + " from " + backupName(b) + "?", Crumbs: siteCrumbs(row, "Restore"), Back: sitePath(row.ID),
		URL: fmt.Sprintf("/backups/%d/restore", b.ID), Label: "Restore this site", Style: "go",
		Text: "What was written since then is no longer on the site. It is kept as a backup of its own.",
		Fields: []components.Field{{
			ID: "ask-platform", Name: "platform", Label: "Platform", Kind: "choice", Width: "w12", Value: options[0].Value, Options: options,
			Help: "On a newer one, the database updates that came since are run on what is restored.",
		}},
		Notes: []pages.Promise{
			{Icon: "eye", Text: "Reads never stop. Writes pause while the backup is loaded beside what runs."},
			{Icon: "undo-2", Text: "If a step fails before the switch, the site goes on as it is now."},
		},
	})
}

// restoreOptions are the platforms that a backup can come back on, the one that
// fits first: the present one, unless its database updates are older than those
// that the backup has seen.
func (s *server) restoreOptions(ctx context.Context, b models.Backup, present models.Platform) []plugins.Option {
	options := []plugins.Option{{Value: strconv.FormatInt(present.ID, 10), Label: "The present one: " + pages.PlatformLabel(present)}}
	if b.PlatformID == present.ID {
		return options
	}
	own, err := s.fleet.Platform(ctx, b.PlatformID)
	if err != nil || own.State != models.PlatformReady {
		return options // gone; the present one is what there is
	}
	options = append(options, plugins.Option{Value: strconv.FormatInt(own.ID, 10), Label: "The backup’s own: " + pages.PlatformLabel(own)})
	if diff := models.DiffPackages(own.Packages, present.Packages); len(diff) > 0 && diff[0].Difference == models.DiffError {
		slices.Reverse(options)
	}
	return options
}

func (s *server) restoreSite(c echo.Context) error {
	b, err := s.backupOf(c)
	if err != nil {
		return err
	}
	task, err := s.fleet.RestoreSite(c.Request().Context(), b.ID, chosen(c.FormValue("platform")))
	return s.started(c, sitePath(b.SiteID), task, err)
}
