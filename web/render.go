package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/components"
	"hefring/templates/layouts"
)

// maxDecisions bounds what the first page lists.
const maxDecisions = 100

// isPart tells whether htmx asks for a part of a page.
func isPart(c echo.Context) bool { return c.Request().Header.Get("HX-Request") == "true" }

// isDialog tells whether the answer goes into the page's dialog.
func isDialog(c echo.Context) bool {
	return isPart(c) && c.Request().Header.Get("HX-Target") == "dialog"
}

// currentPath is the page that the browser shows while htmx asks.
func currentPath(c echo.Context) string {
	u, err := url.Parse(c.Request().Header.Get("HX-Current-URL"))
	if err != nil {
		return "/"
	}
	return safePath(u.RequestURI())
}

// page fills the frame of a page, with the number of decisions that wait.
func (s *server) page(c echo.Context, section, title string) layouts.Page {
	p := s.frame(c, section, title)
	if s.fleet != nil && !isPart(c) {
		p.Decisions = s.countDecisions(c.Request().Context())
	}
	return p
}

// frame fills the frame of a page.
func (s *server) frame(c echo.Context, section, title string) layouts.Page {
	p := layouts.Page{
		Title: title, Section: section, User: s.user(c), Theme: themeOf(c), Here: "/", Version: s.version, Decisions: -1,
		Allows: s.may, SeesURL: s.sees,
	}
	if token, ok := c.Get("csrf").(string); ok {
		p.CSRF = token
	}
	if c.Request().Method == http.MethodGet {
		p.Here = safePath(c.Request().URL.RequestURI())
	}
	if !isDialog(c) {
		p.Notice = s.takeNotice(c)
	}
	return p
}

// countDecisions is for the navigation; a page without it is better than none.
func (s *server) countDecisions(ctx context.Context) int {
	list, err := s.fleet.Decisions(ctx, fleet.Filter{Limit: maxDecisions})
	if err != nil {
		s.logger.ErrorContext(ctx, "count decisions", slog.Any("error", err))
		return -1
	}
	return len(list)
}

// render draws a page. It is drawn whole before anything is sent, so that a
// failure is still an error page.
func render(c echo.Context, status int, page templ.Component) error {
	var text bytes.Buffer
	// Drawing asks for nothing, so it may still be done when the time to ask is over.
	if err := page.Render(context.WithoutCancel(c.Request().Context()), &text); err != nil {
		return fmt.Errorf("draw %s: %w", c.Path(), err)
	}
	c.Response().Header().Set(echo.HeaderVary, "HX-Request")
	return c.HTMLBlob(status, text.Bytes())
}

// redirect leads the browser to a page after a form. Within the page that it
// shows, htmx follows by itself and draws in place; elsewhere it is told to go.
func redirect(c echo.Context, path string) error {
	target, err := url.Parse(path)
	current, wrong := url.Parse(currentPath(c))
	if isPart(c) && (err != nil || wrong != nil || target.Path != current.Path) {
		c.Response().Header().Set("HX-Redirect", path)
		return c.NoContent(http.StatusOK)
	}
	return c.Redirect(http.StatusSeeOther, path)
}

// say leaves a sentence for the next page.
func (s *server) say(c echo.Context, key, format string, args ...any) {
	ctx := c.Request().Context()
	s.sessions.Put(ctx, keyNotice, fmt.Sprintf(format, args...))
	s.sessions.Put(ctx, keyKind, key)
}

func (s *server) takeNotice(c echo.Context) *components.Notice {
	ctx := c.Request().Context()
	text := s.sessions.PopString(ctx, keyNotice)
	if text == "" {
		return nil
	}
	return &components.Notice{Key: s.sessions.PopString(ctx, keyKind), Text: text}
}

// acted ends a button: it leads back to the page with what was done, or with
// why it was not.
func (s *server) acted(c echo.Context, back string, err error, done string) error {
	switch models.CodeOf(err) {
	case "":
		if err != nil {
			return err
		}
		s.say(c, "succeeded", "%s", done)
	case models.NotFound:
		return err
	case models.Invalid, models.Conflict, models.Forbidden, models.Unavailable:
		s.say(c, "warning", "%s", whole(err))
	default:
		return err
	}
	return redirect(c, back)
}

// whole is an error's message with what it says of fields, for where no form
// stands beside it.
func whole(err error) string {
	_, fields := formErrors(err)
	if len(fields) == 0 {
		return models.Explain(err)
	}
	var said []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		said = append(said, fields[name])
	}
	return strings.Join(said, " ")
}

// newOnce makes the token that lets a form be posted twice without harm.
func newOnce() string { return rand.Text() }

// once reads the token; what is not one of ours is dropped.
func once(c echo.Context) string {
	token := c.FormValue("_once")
	if len(token) > 64 {
		return ""
	}
	return token
}

func errNoPage() error {
	return models.Errorf(models.NotFound, "There is no such page. It may have been deleted, or the address is wrong.")
}

// idOf reads the number in an address.
func idOf(c echo.Context) (int64, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, errNoPage()
	}
	return id, nil
}

// pageSize is how many rows a list shows at once.
const pageSize = 50

// maxPage keeps the number of a page where the database can count.
const maxPage = 1_000_000

// chosen is the number of what was chosen in a form, 0 for none of it. What is no such
// number is -1, which nothing has: it must not count as none, where that is more.
func chosen(text string) int64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// number reads a positive number out of a query or a form; 0 for anything else.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// listing reads search and page of a list, and what it is narrowed to beside a state.
func listing(c echo.Context) (fleet.Filter, int) {
	page := int(min(max(number(c.QueryParam("page")), 1), maxPage))
	query := c.QueryParam("q")
	if len(query) > 200 {
		query = query[:200]
	}
	return fleet.Filter{
		Query:          query,
		DistributionID: number(c.QueryParam("distribution")), PlatformID: number(c.QueryParam("platform")),
		ClientID: number(c.QueryParam("client")), Behind: c.QueryParam("behind") == "1", Limit: pageSize, Offset: (page - 1) * pageSize,
	}, page
}

// inState is the state that a list is narrowed to. One that there is not does not
// narrow, as with all that is chosen from.
func inState[S ~string](c echo.Context, states []S) string {
	state := c.QueryParam("state")
	if !slices.Contains(states, S(state)) {
		return ""
	}
	return state
}

// link is the address of the same list with some of its query changed; "" takes
// a part away.
func link(c echo.Context, change map[string]string) string {
	query := c.Request().URL.Query()
	query.Del("page")
	for key, value := range change {
		query.Del(key)
		if value != "" {
			query.Set(key, value)
		}
	}
	if len(query) == 0 {
		return c.Request().URL.Path
	}
	return c.Request().URL.Path + "?" + query.Encode()
}

// strayed leads from behind the end of a list to its last page: the list became
// shorter, or somebody typed the address. It is "" on a page that is there.
func strayed(c echo.Context, page, total int) string {
	last := max(1, (total+pageSize-1)/pageSize)
	if page <= last || total > fleet.Counted { // nobody counted where that one ends
		return ""
	}
	return link(c, map[string]string{"page": strconv.Itoa(last)})
}

func pager(c echo.Context, page, total int) components.Pages {
	return components.Pages{Page: page, Size: pageSize, Total: total, Link: func(page int) string {
		return link(c, map[string]string{"page": strconv.Itoa(page)})
	}}
}

// busyTask gives the first task that is queued or running.
func busyTask(tasks []models.Task) *models.Task {
	for i := range tasks {
		if !tasks[i].State.Over() {
			return &tasks[i]
		}
	}
	return nil
}
