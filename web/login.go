package web

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/internal/httpcode"
	"hefring/models"
	"hefring/templates/pages"
)

// Keys of a session in which somebody has proven a password and no code yet. They
// let nobody in.
const (
	keyHalf     = "half"
	keyHalfName = "half name"
	keyHalfNext = "half next"
)

// halfLength is how long a person has to find the telephone, or to sign in at a
// provider.
const halfLength = 15 * time.Minute

// loginForm draws the form, with why it was refused.
func (s *server) loginForm(c echo.Context, status int, view pages.Login) error {
	view.Page, view.Provider = s.page(c, "", "Sign in"), s.oidc.name()
	return render(c, status, pages.LoginPage(view))
}

func (s *server) loginPage(c echo.Context) error {
	next := safePath(c.QueryParam("next"))
	if s.user(c) != "" {
		return c.Redirect(http.StatusSeeOther, next)
	}
	return s.loginForm(c, http.StatusOK, pages.Login{Next: next})
}

func (s *server) login(c echo.Context) error {
	view := pages.Login{Name: strings.TrimSpace(c.FormValue("name")), Next: safePath(c.FormValue("next"))}
	user, err := models.User{}, s.hurried(c)
	if err == nil {
		user, err = s.front.Login(c.Request().Context(), view.Name, c.FormValue("password"), addressOf(c))
	}
	if models.CodeOf(err) != "" {
		view.Error = models.Explain(err)
		return s.loginForm(c, refusal(c, err), view)
	}
	if err != nil {
		return err
	}
	return s.admit(c, user, view.Next)
}

// refusal is the status of a refused login. 401 would promise a challenge that
// browsers understand; a form has none.
func refusal(c echo.Context, err error) int {
	if wait := models.RetryAfterOf(err); wait > 0 {
		c.Response().Header().Set(echo.HeaderRetryAfter, strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
		return http.StatusTooManyRequests
	}
	if models.CodeOf(err) == models.Unavailable {
		return http.StatusServiceUnavailable
	}
	return http.StatusUnprocessableEntity
}

// admit signs a person in who has shown to be one, once the second factor is shown
// too where there is one.
func (s *server) admit(c echo.Context, user models.User, next string) error {
	ctx := c.Request().Context()
	asks, err := s.front.AsksForCode(ctx, user.ID)
	if err != nil {
		return err
	}
	if !asks {
		return s.enter(c, user, next)
	}
	if err := s.sessions.RenewToken(ctx); err != nil {
		return err
	}
	s.sessions.SetDeadline(ctx, time.Now().Add(halfLength))
	s.sessions.Remove(ctx, keyUser)
	s.sessions.Put(ctx, keyHalf, user.ID)
	s.sessions.Put(ctx, keyHalfName, user.Name)
	s.sessions.Put(ctx, keyHalfNext, safePath(next))
	return c.Redirect(http.StatusSeeOther, "/login/code")
}

// enter signs a person in under a new session token, so that a token which
// somebody else knew before is worth nothing.
func (s *server) enter(c echo.Context, user models.User, next string) error {
	ctx := c.Request().Context()
	if err := s.sessions.Clear(ctx); err != nil {
		return err
	}
	if err := s.sessions.RenewToken(ctx); err != nil {
		return err
	}
	s.sessions.Put(ctx, keyUser, user.Name)
	token, _, err := s.sessions.Commit(ctx) // what it belongs to must be there
	if err != nil {
		return err
	}
	err = s.front.StartSession(ctx, models.SignIn{Token: sessionKey(token), UserID: user.ID, Address: addressOf(c), Agent: c.Request().UserAgent()})
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, safePath(next))
}

// codePage asks for the second factor of somebody whose password was right.
func (s *server) codePage(c echo.Context) error {
	if s.sessions.GetInt64(c.Request().Context(), keyHalf) == 0 {
		return c.Redirect(http.StatusSeeOther, "/login")
	}
	return render(c, http.StatusOK, pages.LoginCodePage(pages.LoginCode{Page: s.page(c, "", "Second factor")}))
}

func (s *server) loginCode(c echo.Context) error {
	ctx := c.Request().Context()
	user := models.User{ID: s.sessions.GetInt64(ctx, keyHalf), Name: s.sessions.GetString(ctx, keyHalfName)}
	if user.ID == 0 {
		return c.Redirect(http.StatusSeeOther, "/login")
	}
	err := s.front.CheckCode(ctx, user.ID, c.FormValue("code"))
	if models.CodeOf(err) != "" {
		return render(c, refusal(c, err), pages.LoginCodePage(pages.LoginCode{Page: s.page(c, "", "Second factor"), Error: whole(err)}))
	}
	if err != nil {
		return err
	}
	return s.enter(c, user, s.sessions.GetString(ctx, keyHalfNext))
}

// loginLinkPage shows a button and uses nothing up: programs that scan mail open
// links too.
func (s *server) loginLinkPage(c echo.Context) error {
	view := pages.LoginLink{Page: s.page(c, "", "Sign in"), Token: c.Param("token")}
	return render(c, http.StatusOK, pages.LoginLinkPage(view))
}

func (s *server) loginLink(c echo.Context) error {
	user, err := s.front.UseLoginLink(c.Request().Context(), c.Param("token"))
	if code := models.CodeOf(err); code != "" {
		view := pages.LoginLink{Page: s.page(c, "", "Sign in"), Token: c.Param("token"), Error: models.Explain(err)}
		return render(c, httpcode.Of(code), pages.LoginLinkPage(view))
	}
	if err != nil {
		return err
	}
	return s.admit(c, user, "/")
}

func (s *server) logout(c echo.Context) error {
	if err := s.sessions.Destroy(c.Request().Context()); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/login")
}
