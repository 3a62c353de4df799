package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/components"
	"hefring/templates/layouts"
	"hefring/templates/pages"
)

// life is what the pages need of the use cases about the life of a site. What
// starts a task is Conflict when another one works on the site.
type life interface {
	BackupSite(ctx context.Context, siteID int64, note string, keep bool) (models.Task, error)
	KeepBackup(ctx context.Context, id int64, keep bool) error
	DeleteBackup(ctx context.Context, id int64) error
	// RestoreSite brings a site's content back, on the platform that it runs on or
	// on the backup's own.
	RestoreSite(ctx context.Context, backupID, platformID int64) (models.Task, error)
	CloneSite(ctx context.Context, in fleet.NewClone) (models.Site, error)
	DisableSite(ctx context.Context, siteID int64) (models.Task, error)
	EnableSite(ctx context.Context, siteID int64) (models.Task, error)
	RunCron(ctx context.Context, siteID int64) (models.Task, error)
	// DeleteSite wants the site's URI typed again.
	DeleteSite(ctx context.Context, siteID int64, confirm string, backup bool) (models.Task, error)
	// LoginToSite gives an address that signs one person in, once. It is a secret.
	LoginToSite(ctx context.Context, siteID int64) (string, error)
	ConfigureSite(ctx context.Context, siteID int64, in fleet.SiteSettings) (models.Task, error)
	// RollbackPlan is NotFound when there is nothing to go back to.
	RollbackPlan(ctx context.Context, siteID int64) (fleet.RollbackPlan, error)
	RollbackSite(ctx context.Context, siteID, upgradeID int64) (models.Task, error)

	// FindSites looks for sites in a code base that Hefring does not own.
	FindSites(ctx context.Context, root string) (models.Task, error)
	FoundSites(ctx context.Context, taskID int64) ([]models.FoundSite, error)
}

// shownBackups bounds what a site's page lists.
const shownBackups = 50

// crumbs makes the way to a page of label and address pairs; the last label has
// no address.
func crumbs(way ...string) []layouts.Crumb {
	var list []layouts.Crumb
	for i := 0; i < len(way); i += 2 {
		crumb := layouts.Crumb{Label: way[i]}
		if i+1 < len(way) {
			crumb.URL = way[i+1]
		}
		list = append(list, crumb)
	}
	return list
}

// ask draws a question: as a dialog where htmx asks for one, else as a page.
func (s *server) ask(c echo.Context, section string, view pages.Ask) error {
	return s.askWith(c, http.StatusOK, section, view)
}

func (s *server) askWith(c echo.Context, status int, section string, view pages.Ask) error {
	view.Page, view.Fragment = s.page(c, section, view.Title), isDialog(c)
	return render(c, status, pages.AskPage(view))
}

// askAgain draws a question whose answer was wrong, with what is wrong beside
// each field.
func (s *server) askAgain(c echo.Context, section string, view pages.Ask, err error) error {
	over, wrong := formErrors(err)
	view.Error = over
	for i := range view.Fields {
		f := &view.Fields[i]
		if text := wrong[f.Name]; text != "" {
			f.Error = text
		}
		f.Value = c.FormValue(f.Name)
	}
	return s.askWith(c, http.StatusUnprocessableEntity, section, view)
}

// siteCrumbs is the way to a page about a site.
func siteCrumbs(row fleet.SiteRow, here string) []layouts.Crumb {
	return crumbs("Sites", "/sites", row.URI, sitePath(row.ID), here)
}

func sitePath(id int64) string { return fmt.Sprintf("/sites/%d", id) }

// askSite draws a question about the site of the address.
func (s *server) askSite(c echo.Context, question func(fleet.SiteRow) pages.Ask) error {
	row, err := s.siteOf(c)
	if err != nil {
		return err
	}
	return s.ask(c, "sites", question(row))
}

func (s *server) siteOf(c echo.Context) (fleet.SiteRow, error) {
	id, err := idOf(c)
	if err != nil {
		return fleet.SiteRow{}, err
	}
	return s.fleet.SiteRow(c.Request().Context(), id)
}

// onSite runs one use case of a site's buttons that starts a task.
func (s *server) onSite(c echo.Context, done string, do func(ctx context.Context, id int64) (models.Task, error)) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	_, err = do(c.Request().Context(), id)
	return s.acted(c, sitePath(id), err, done)
}

// started leads to a task that a person wants to watch, or says on the page
// before why there is none.
func (s *server) started(c echo.Context, back string, task models.Task, err error) error {
	if err != nil || task.ID == 0 {
		return s.acted(c, back, err, "It needs nothing any more.")
	}
	return redirect(c, fmt.Sprintf("/tasks/%d", task.ID))
}

func backupQuestion(row fleet.SiteRow) pages.Ask {
	return pages.Ask{
		Title: "Back up " + row.URI + "?", Crumbs: siteCrumbs(row, "Back up"), Back: sitePath(row.ID),
		URL: sitePath(row.ID) + "/backup", Label: "Back up now", Style: "go",
		Notes: []pages.Promise{
			{Icon: "database", Text: "Its database and its files, public and private, as they are at one moment."},
			{Icon: "eye", Text: "The site goes on being read and written."},
		},
		Fields: []components.Field{
			{ID: "ask-note", Name: "note", Label: "Note", Width: "w12", Optional: true, Placeholder: "Before the new design"},
			{ID: "ask-keep", Name: "keep", Label: "Keep it: no schedule removes it", Kind: "bool", Width: "w12"},
		},
	}
}

func (s *server) askBackup(c echo.Context) error { return s.askSite(c, backupQuestion) }

func (s *server) backupSite(c echo.Context) error {
	note, keep := strings.TrimSpace(c.FormValue("note")), c.FormValue("keep") == "1"
	return s.onSite(c, "It is being backed up. The site goes on meanwhile.", func(ctx context.Context, id int64) (models.Task, error) {
		return s.fleet.BackupSite(ctx, id, note, keep)
	})
}

func (s *server) askDisable(c echo.Context) error {
	return s.askSite(c, func(row fleet.SiteRow) pages.Ask {
		return pages.Ask{
			Title: "Disable " + row.URI + "?", Crumbs: siteCrumbs(row, "Disable"), Back: sitePath(row.ID),
			URL: sitePath(row.ID) + "/disable", Label: "Disable this site", Style: "stop",
			Text:  "Visitors get an answer that says that the site is off. Nothing of it is deleted, and Enable brings it back as it is.",
			Notes: []pages.Promise{{Icon: "clock", Text: "While it is disabled it is not upgraded, its cron does not run and no schedule backs it up."}},
		}
	})
}

func (s *server) disableSite(c echo.Context) error {
	return s.onSite(c, "It is being taken off the web.", s.fleet.DisableSite)
}

func (s *server) enableSite(c echo.Context) error {
	return s.onSite(c, "It is being put back onto the web.", s.fleet.EnableSite)
}

func (s *server) runCron(c echo.Context) error {
	return s.onSite(c, "Its cron is being run.", s.fleet.RunCron)
}

func deleteQuestion(row fleet.SiteRow) pages.Ask {
	view := pages.Ask{
		Title: "Delete " + row.URI + "?", Crumbs: siteCrumbs(row, "Delete"), Back: sitePath(row.ID),
		URL: sitePath(row.ID) + "/delete", Label: "Delete this site", Style: "stop",
		Text: "It goes off the web at once. Its database, its database user, its files and its folder are removed. Its backups stay until somebody deletes them.",
		Fields: []components.Field{
			{ID: "ask-confirm", Name: "confirm", Label: "Type the address to confirm", Width: "w12", Mono: true, Placeholder: row.URI},
		},
	}
	if row.Database.Engine != "" {
		view.Fields = append(view.Fields, components.Field{
			ID: "ask-backup", Name: "backup", Label: "Back it up first", Kind: "bool", Value: "1", Width: "w12",
			Help: "If the backup fails, nothing is deleted.",
		})
	}
	return view
}

func (s *server) askDeleteSite(c echo.Context) error { return s.askSite(c, deleteQuestion) }

func (s *server) deleteSite(c echo.Context) error {
	row, err := s.siteOf(c)
	if err != nil {
		return err
	}
	confirm := strings.ToLower(strings.TrimSpace(c.FormValue("confirm")))
	task, err := s.fleet.DeleteSite(c.Request().Context(), row.ID, confirm, c.FormValue("backup") == "1")
	if models.CodeOf(err) == models.Invalid {
		return s.askAgain(c, "sites", deleteQuestion(row), err)
	}
	return s.started(c, sitePath(row.ID), task, err)
}

// loginToSite leads to the site with a link that works once. It stands in this
// one answer and nowhere else.
func (s *server) loginToSite(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	link, err := s.fleet.LoginToSite(c.Request().Context(), id)
	if err != nil {
		return s.acted(c, sitePath(id), err, "")
	}
	target, err := url.Parse(link)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		// Not with the link: it is a secret.
		return s.acted(c, sitePath(id), models.Errorf(models.Unavailable, "The site gave no address to sign in at. Verify the site and try again."), "")
	}
	return c.Redirect(http.StatusSeeOther, link)
}

// plainHost is a host name that may stand in a policy as it is.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)

// allowLogin lets the Log in button of a page lead to a site: browsers hold
// what a form is redirected to against the page's policy.
func allowLogin(c echo.Context, siteURL string) {
	site, err := url.Parse(siteURL)
	if err != nil || !plainHost.MatchString(site.Hostname()) {
		return
	}
	allowed := fmt.Sprintf("form-action 'self' http://%[1]s:* https://%[1]s:*", site.Hostname())
	c.Response().Header().Set("Content-Security-Policy", strings.Replace(policy, "form-action 'self'", allowed, 1))
}

// holdUntil reads the day on which a hold ends by itself; nil for none.
func holdUntil(text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return nil, models.InvalidField("until", "Use a day such as "+now().AddDate(0, 0, 14).Format(time.DateOnly)+", or leave it empty.")
	}
	if !day.After(now()) {
		return nil, models.InvalidField("until", "Choose a day to come, or leave it empty.")
	}
	return &day, nil
}

func (s *server) askRollback(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	plan, err := s.fleet.RollbackPlan(c.Request().Context(), id)
	if models.CodeOf(err) == models.NotFound {
		if _, gone := s.fleet.SiteRow(c.Request().Context(), id); gone != nil {
			return gone
		}
		s.say(c, "warning", "%s", models.Explain(err))
		return redirect(c, sitePath(id))
	}
	if err != nil {
		return s.acted(c, sitePath(id), err, "")
	}
	view := pages.Rollback{Page: s.page(c, "sites", "Roll back "+plan.Site.URI), Plan: plan, Fragment: isDialog(c)}
	return render(c, http.StatusOK, pages.RollbackPage(view))
}

func (s *server) rollbackSite(c echo.Context) error {
	id, err := idOf(c)
	if err != nil {
		return err
	}
	task, err := s.fleet.RollbackSite(c.Request().Context(), id, chosen(c.FormValue("upgrade")))
	return s.started(c, sitePath(id), task, err)
}
