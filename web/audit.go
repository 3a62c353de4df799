package web

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/pages"
)

// audit is what the pages about the record of changes need.
type audit interface {
	// Events is Invalid when nothing has the name that is asked for.
	Events(ctx context.Context, f fleet.EventFilter) (fleet.EventPage, error)
	// EachEvent hands over all that a filter leaves, a page at a time.
	EachEvent(ctx context.Context, f fleet.EventFilter, do func([]fleet.EventRow) error) error
}

func (s *server) auditRoutes() []route {
	return []route{
		{http.MethodGet, "/audit", (*server).audit, models.MaySeeAudit},
		{http.MethodGet, "/audit/export.csv", (*server).auditCSV, models.MaySeeAudit},
		{http.MethodGet, "/audit/export.jsonl", (*server).auditJSON, models.MaySeeAudit},
	}
}

// eventFilter reads what the record is narrowed to. A day that is no day is said to be
// wrong.
func eventFilter(c echo.Context) (fleet.EventFilter, error) {
	text := func(name string) string {
		value := strings.TrimSpace(c.QueryParam(name))
		return value[:min(len(value), 300)]
	}
	f := fleet.EventFilter{
		Actor: text("actor"), Verb: text("verb"), Name: text("name"), Door: models.Door(text("door")), Address: text("address"), Query: text("q"),
		Subject: models.Subject{Kind: models.SubjectKind(text("kind")), ID: number(c.QueryParam("id"))}, Before: number(c.QueryParam("before")),
	}
	wrong := map[string]string{}
	day := func(name string) time.Time {
		at, err := time.Parse(time.DateOnly, text(name))
		if err != nil && text(name) != "" {
			wrong[name] = "Write a day such as 2026-11-22."
		}
		return at
	}
	f.Since, f.Until = day("since"), day("until")
	if !f.Until.IsZero() {
		f.Until = f.Until.AddDate(0, 0, 1) // the day itself belongs to it
	}
	if len(wrong) > 0 {
		return f, models.InvalidFields(wrong)
	}
	return f, nil
}

func (s *server) audit(c echo.Context) error {
	f, err := eventFilter(c)
	view := pages.Audit{Query: c.Request().URL.Query()}
	var page fleet.EventPage
	if err == nil {
		f.Limit = pageSize
		page, err = s.fleet.Events(c.Request().Context(), f)
	}
	status := http.StatusOK
	if models.CodeOf(err) == models.Invalid {
		view.Error, view.Errors = formErrors(err)
		status, err = http.StatusUnprocessableEntity, nil
	}
	if err != nil {
		return fmt.Errorf("read record of changes: %w", err)
	}
	view.Page, view.Rows = s.page(c, "audit", "Record of changes"), page.Rows
	// Where a page goes on is no part of what is looked for.
	view.Query.Del("before")
	view.First = f.Before == 0
	if page.Next != 0 {
		view.Next = strconv.FormatInt(page.Next, 10)
	}
	return render(c, status, pages.AuditPage(view))
}

// exportPatience is how long a reader of an export may take for one part of it.
const exportPatience = 30 * time.Second

// export sends all that the search finds, a part at a time.
func (s *server) export(c echo.Context, kind, name string, write func(w io.Writer, rows []fleet.EventRow) error) error {
	f, err := eventFilter(c)
	if err != nil {
		return err
	}
	w := c.Response()
	err = s.fleet.EachEvent(c.Request().Context(), f, func(rows []fleet.EventRow) error {
		w.Header().Set(echo.HeaderContentType, kind)
		w.Header().Set(echo.HeaderContentDisposition, `attachment; filename="`+name+`"`)
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(exportPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if err := write(w, rows); err != nil {
			return err
		}
		if w.Committed {
			w.Flush()
		}
		return nil
	})
	switch {
	case err != nil && w.Committed:
		// Half a file must not look like a whole one: the connection breaks.
		panic(http.ErrAbortHandler)
	case err != nil:
		w.Header().Del(echo.HeaderContentDisposition)
		return err
	case !w.Committed:
		return c.NoContent(http.StatusOK) // nothing was found
	}
	return nil
}

func (s *server) auditJSON(c echo.Context) error {
	return s.export(c, "application/jsonl; charset=utf-8", "audit.jsonl", func(w io.Writer, rows []fleet.EventRow) error {
		lines := json.NewEncoder(w)
		for _, row := range rows {
			if err := lines.Encode(row.Line()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *server) auditCSV(c echo.Context) error {
	first := true
	return s.export(c, "text/csv; charset=utf-8; header=present", "audit.csv", func(w io.Writer, rows []fleet.EventRow) error {
		lines := csv.NewWriter(w)
		if first {
			first = false
			if err := lines.Write(strings.Fields("id at actor door address verb subject_kind subject_id subject text changes token")); err != nil {
				return err
			}
		}
		for _, row := range rows {
			cells, err := csvCells(row.Line())
			if err == nil {
				err = lines.Write(cells)
			}
			if err != nil {
				return err
			}
		}
		lines.Flush()
		return lines.Error()
	})
}

func csvCells(e fleet.EventLine) ([]string, error) {
	changes := ""
	if len(e.Changes) > 0 {
		text, err := json.Marshal(e.Changes)
		if err != nil {
			return nil, fmt.Errorf("write changes of event %d: %w", e.ID, err)
		}
		changes = string(text)
	}
	cells := []string{
		strconv.FormatInt(e.ID, 10), e.At.Format(time.RFC3339Nano), e.Actor, string(e.Door), e.Address, e.Verb,
		string(e.SubjectKind), strconv.FormatInt(e.SubjectID, 10), e.Subject, e.Text, changes, e.Token,
	}
	for i := range cells {
		cells[i] = harmless(cells[i])
	}
	return cells, nil
}

// harmless keeps spreadsheets from taking a cell for a formula
// (owasp.org/www-community/attacks/CSV_Injection).
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
