package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/internal/httpcode"
	"hefring/models"
	"hefring/templates/layouts"
	"hefring/templates/pages"
)

// fail is the one place where an error becomes an answer.
func (s *server) fail(err error, c echo.Context) {
	if c.Response().Committed || errors.Is(err, context.Canceled) && c.Request().Context().Err() != nil {
		return
	}
	status, head, text := explain(c.Request().Context(), err)
	away := text == httpcode.AwayText
	if away {
		c.Response().Header().Set(echo.HeaderRetryAfter, httpcode.AwayRetry)
	}
	if status >= http.StatusInternalServerError {
		s.logger.ErrorContext(c.Request().Context(), "request failed",
			slog.String("method", c.Request().Method), slog.String("path", c.Path()), slog.Int("status", status), slog.Any("error", err))
	}
	if isStatic(c) || isStream(c) {
		s.plain(c, status, head)
		return
	}
	if !away { // or who asks would be looked up in vain, once more
		if bound, unknown := s.bound(c); unknown == nil {
			s = bound
		}
	}
	view := pages.Problem{Page: s.page(c, "", head), Status: status, Head: head, Text: text, SignedIn: s.fleet != nil}
	if before := sentBefore(err); before != nil {
		view.Head, view.Made = "This form was sent before", madePath(before)
	}
	if away {
		view.Head, view.Again = awayHead, c.Request().Method == http.MethodGet
	}
	s.problem(c, view)
}

// awayHead stands above the page that says that the control plane's database is away.
const awayHead = "The database does not answer"

// sentBefore is what a form made that is sent again with other content; nil for other
// failures.
func sentBefore(err error) *fleet.SentBeforeError {
	before, _ := errors.AsType[*fleet.SentBeforeError](err)
	return before
}

// madePath is the page of what a form made.
func madePath(made *fleet.SentBeforeError) string {
	section := made.Kind + "s"
	if made.Kind == "channel" {
		section = "notices"
	}
	return fmt.Sprintf("/%s/%d", section, made.ID)
}

func (s *server) problem(c echo.Context, view pages.Problem) {
	if err := render(c, view.Status, pages.ProblemPage(view)); err != nil {
		s.logger.ErrorContext(c.Request().Context(), "draw error page", slog.Any("error", err))
		s.plain(c, http.StatusInternalServerError, "Something went wrong inside Hefring.")
	}
}

// sessionless answers when a session can be neither read nor stored: nobody knows who
// asks.
func (s *server) sessionless(w http.ResponseWriter, r *http.Request, err error) {
	s.logger.ErrorContext(r.Context(), "session", slog.Any("error", err))
	c := s.router.NewContext(r, w)
	c.Response().Header().Set(echo.HeaderRetryAfter, httpcode.AwayRetry)
	c.Response().Header().Del(echo.HeaderContentEncoding) // of the page that is not sent
	const status = http.StatusServiceUnavailable
	if isStream(c) {
		s.plain(c, status, headOf(status))
		return
	}
	view := pages.Problem{Status: status, Head: awayHead, Text: httpcode.AwayText, Again: r.Method == http.MethodGet}
	view.Page = layouts.Page{Title: view.Head, Theme: themeOf(c), Here: "/", Version: s.version, Decisions: -1}
	draw := s.headers(func(c echo.Context) error { s.problem(c, view); return nil })
	_ = draw(c) // it never fails
}

func (s *server) plain(c echo.Context, status int, text string) {
	if err := c.String(status, text+"\n"); err != nil {
		s.logger.DebugContext(c.Request().Context(), "answer", slog.Any("error", err))
	}
}

// explain gives the status, heading and text for an error.
func explain(ctx context.Context, err error) (status int, head, text string) {
	if code := models.CodeOf(err); code != "" {
		status = httpcode.Of(code)
		return status, headOf(status), models.Explain(err)
	}
	if he, ok := errors.AsType[*echo.HTTPError](err); ok {
		return he.Code, headOf(he.Code), textOf(he.Code)
	}
	if httpcode.Away(ctx, err) {
		return http.StatusServiceUnavailable, headOf(http.StatusServiceUnavailable), httpcode.AwayText
	}
	return http.StatusInternalServerError, headOf(http.StatusInternalServerError), models.Explain(err)
}

func headOf(status int) string {
	switch status {
	case http.StatusNotFound:
		return "There is nothing here"
	case http.StatusForbidden:
		return "That was refused"
	case http.StatusConflict:
		return "It has changed meanwhile"
	case http.StatusUnprocessableEntity:
		return "That was not understood"
	case http.StatusRequestEntityTooLarge:
		return "That was too much at once"
	case http.StatusTooManyRequests:
		return "Too many attempts"
	case http.StatusServiceUnavailable:
		return "Something outside does not answer"
	case http.StatusMethodNotAllowed:
		return "That cannot be done here"
	case http.StatusInternalServerError:
		return "Something went wrong"
	default:
		return http.StatusText(status)
	}
}

func textOf(status int) string {
	switch status {
	case http.StatusNotFound:
		return "There is no such page. It may have been deleted, or the address is wrong."
	case http.StatusMethodNotAllowed:
		return "This address is for a button, not for a link. Go back and use the page."
	case http.StatusRequestEntityTooLarge:
		return "A form may hold one megabyte. Send less."
	default:
		return "Go back and try again. Hefring’s log has the details."
	}
}
