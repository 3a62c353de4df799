package web

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/pages"
)

func (s *server) siteSettings(c echo.Context) error {
	row, err := s.siteOf(c)
	if err != nil {
		return err
	}
	view := pages.SiteSettings{
		Row: row, Aliases: strings.Join(row.Aliases, "\n"), Redirect: row.Redirect, HTTPS: string(row.HTTPS),
		Certificate: row.Certificate, CertificateKey: row.CertificateKey,
		Probes: strings.Join(row.Probes, "\n"), ProbeText: row.ProbeText,
		Cron: typedEvery(row.CronEvery, "h"), Backup: typedEvery(row.BackupEvery, "d"),
	}
	if row.BackupKeep > 0 {
		view.BackupKeep = strconv.Itoa(row.BackupKeep)
	}
	return s.settingsForm(c, http.StatusOK, view)
}

func (s *server) settingsForm(c echo.Context, status int, view pages.SiteSettings) error {
	view.First = firstOf(view.Errors, "aliases", "redirect", "https", "certificate", "certificate_key", "probes", "probe_text", "cron_every", "backup_every", "backup_keep")
	view.Page = s.page(c, "sites", "Settings of "+view.Row.URI)
	return render(c, status, pages.SiteSettingsPage(view))
}

// typedEvery is an interval as the form holds it; an empty number is never.
func typedEvery(every time.Duration, unit string) pages.Every {
	if every <= 0 {
		return pages.Every{Unit: unit}
	}
	n, own := pages.SplitEvery(every)
	if own == "s" { // the form knows minutes at the least
		n, own = int64((every+time.Minute-1)/time.Minute), "m"
	}
	return pages.Every{Number: strconv.FormatInt(n, 10), Unit: own}
}

// maxEvery bounds what a form may say, so that nothing overflows.
const maxEvery = 366 * 24 * time.Hour

// readEvery reads an interval. Empty is 0, never; what is none is below 0, which
// is refused together with all else that is wrong.
func readEvery(in pages.Every) time.Duration {
	if in.Number == "" {
		return 0
	}
	n, err := strconv.ParseInt(in.Number, 10, 32)
	length := pages.UnitLength(in.Unit)
	if err != nil || n < 1 || length == 0 || time.Duration(n) > maxEvery/length {
		return -1
	}
	return time.Duration(n) * length
}

// lines reads one entry a line, without empty ones.
func lines(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

func readSettings(c echo.Context, row fleet.SiteRow) pages.SiteSettings {
	return pages.SiteSettings{
		Row: row, Aliases: c.FormValue("aliases"), Redirect: c.FormValue("redirect") == "1", HTTPS: c.FormValue("https"),
		Certificate: strings.TrimSpace(c.FormValue("certificate")), CertificateKey: strings.TrimSpace(c.FormValue("certificate_key")),
		Probes: c.FormValue("probes"), ProbeText: strings.TrimSpace(c.FormValue("probe_text")),
		Cron:       pages.Every{Number: strings.TrimSpace(c.FormValue("cron_every")), Unit: c.FormValue("cron_unit")},
		Backup:     pages.Every{Number: strings.TrimSpace(c.FormValue("backup_every")), Unit: c.FormValue("backup_unit")},
		BackupKeep: strings.TrimSpace(c.FormValue("backup_keep")),
	}
}

// settingsOf turns what was typed into the command.
func settingsOf(typed pages.SiteSettings) fleet.SiteSettings {
	in := fleet.SiteSettings{
		Redirect: typed.Redirect, HTTPS: models.HTTPS(typed.HTTPS), Certificate: typed.Certificate, CertificateKey: typed.CertificateKey,
		Probes: lines(typed.Probes), ProbeText: typed.ProbeText, CronEvery: readEvery(typed.Cron), BackupEvery: readEvery(typed.Backup),
	}
	for _, alias := range lines(typed.Aliases) {
		in.Aliases = append(in.Aliases, strings.ToLower(alias))
	}
	if typed.BackupKeep != "" {
		in.BackupKeep = -1 // no number
		if n, err := strconv.Atoi(typed.BackupKeep); err == nil && n > 0 {
			in.BackupKeep = n
		}
	}
	return in
}

func (s *server) configureSite(c echo.Context) error {
	row, err := s.siteOf(c)
	if err != nil {
		return err
	}
	view := readSettings(c, row)
	_, err = s.fleet.ConfigureSite(c.Request().Context(), row.ID, settingsOf(view))
	if refused(err) {
		view.Error, view.Errors = formErrors(err)
		return s.settingsForm(c, http.StatusUnprocessableEntity, view)
	}
	return s.acted(c, sitePath(row.ID), err, "Saved. The web server is being brought to it.")
}
