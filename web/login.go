package web

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"hefring/models"
	"hefring/templates/pages"
)

func (s *server) loginPage(c echo.Context) error {
	next := safePath(c.QueryParam("next"))
	if s.user(c) != "" {
		return c.Redirect(http.StatusSeeOther, next)
	}
	return render(c, http.StatusOK, pages.LoginPage(pages.Login{Page: s.page(c, "", "Sign in"), Next: next}))
}

func (s *server) login(c echo.Context) error {
	view := pages.Login{Page: s.page(c, "", "Sign in"), Name: strings.TrimSpace(c.FormValue("name")), Next: safePath(c.FormValue("next"))}
	key := c.RealIP() + " " + strings.ToLower(view.Name)
	if !s.failures.take(key) {
		c.Response().Header().Set(echo.HeaderRetryAfter, "60")
		view.Error = "Too many attempts for this name. Wait a minute, then try again."
		return render(c, http.StatusTooManyRequests, pages.LoginPage(view))
	}
	user, err := s.fleet.Login(c.Request().Context(), view.Name, c.FormValue("password"))
	if code := models.CodeOf(err); code != "" {
		view.Error = models.Explain(err)
		return render(c, loginStatus(code), pages.LoginPage(view))
	}
	if err != nil {
		return err
	}
	s.failures.forgive(key)
	return s.enter(c, user, view.Next)
}

// loginStatus is the status of a refused login. 401 would promise a challenge
// that browsers understand; a form has none.
func loginStatus(code models.Code) int {
	if code == models.Unavailable {
		return http.StatusServiceUnavailable
	}
	return http.StatusUnprocessableEntity
}

// enter signs a person in under a new session token, so that a token which
// somebody else knew before is worth nothing.
func (s *server) enter(c echo.Context, user models.User, next string) error {
	ctx := c.Request().Context()
	if err := s.sessions.RenewToken(ctx); err != nil {
		return err
	}
	s.sessions.Put(ctx, keyUser, user.Name)
	return c.Redirect(http.StatusSeeOther, safePath(next))
}

// loginLinkPage shows a button and uses nothing up: programs that scan mail open
// links too.
func (s *server) loginLinkPage(c echo.Context) error {
	view := pages.LoginLink{Page: s.page(c, "", "Sign in"), Token: c.Param("token")}
	return render(c, http.StatusOK, pages.LoginLinkPage(view))
}

func (s *server) loginLink(c echo.Context) error {
	user, err := s.fleet.UseLoginLink(c.Request().Context(), c.Param("token"))
	if code := models.CodeOf(err); code != "" {
		view := pages.LoginLink{Page: s.page(c, "", "Sign in"), Token: c.Param("token"), Error: models.Explain(err)}
		return render(c, statusOf(code), pages.LoginLinkPage(view))
	}
	if err != nil {
		return err
	}
	return s.enter(c, user, "/")
}

func (s *server) logout(c echo.Context) error {
	if err := s.sessions.Destroy(c.Request().Context()); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/login")
}
