package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/templates/pages"
)

// accounts is how people sign in, and what everybody does for oneself alone. userID
// is whoever is signed in.
type accounts interface {
	// Login and CheckCode are Forbidden with a RetryAfter for whoever guesses.
	Login(ctx context.Context, name, password, address string) (models.User, error)
	UseLoginLink(ctx context.Context, token string) (models.User, error)
	ExternalLogin(ctx context.Context, who fleet.External, allow fleet.Admission) (models.User, error)
	AsksForCode(ctx context.Context, userID int64) (bool, error)
	CheckCode(ctx context.Context, userID int64, code string) error

	// StartSession makes a stored session a user's.
	StartSession(ctx context.Context, s models.SignIn) error
	// SessionUser is NotFound when the session has ended.
	SessionUser(ctx context.Context, token string, active bool) (models.User, error)
	Sessions(ctx context.Context, userID int64) ([]models.SignIn, error)
	EndSession(ctx context.Context, userID int64, token string) error
	EndOtherSessions(ctx context.Context, userID int64, session string) (int, error)

	User(ctx context.Context, id int64) (models.User, error)
	ChangePassword(ctx context.Context, userID int64, in fleet.NewPassword, session string) error
	SecondFactor(ctx context.Context, userID int64) (fleet.SecondFactorState, error)
	SetUpSecondFactor(ctx context.Context, userID int64) error
	SecondFactorPicture(ctx context.Context, userID int64) ([]byte, error)
	ConfirmSecondFactor(ctx context.Context, userID int64, code string) ([]string, error)
	NewRecoveryCodes(ctx context.Context, userID int64, code string) ([]string, error)
	RemoveSecondFactor(ctx context.Context, userID int64, proof, address string) error
	Identities(ctx context.Context, userID int64) ([]models.Identity, error)
	LinkIdentity(ctx context.Context, userID int64, who fleet.External) error
	UnlinkIdentity(ctx context.Context, userID, id int64) error
}

// tokens are those of one user, by name: one's own, or another's for those who may.
type tokens interface {
	CreateToken(ctx context.Context, in fleet.NewToken) (string, error)
	Tokens(ctx context.Context, user string) ([]models.Token, error)
	RevokeToken(ctx context.Context, user, name string) error
}

// accountRoutes are those of signing in and of one's own account.
func (s *server) accountRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/login", (*server).loginPage, open},
		{post, "/login", (*server).login, open},
		{get, "/login/code", (*server).codePage, open},
		{post, "/login/code", (*server).loginCode, open},
		{get, "/login/link/:token", (*server).loginLinkPage, open},
		{post, "/login/link/:token", (*server).loginLink, open},
		{get, "/login/oidc", (*server).oidcLogin, open},
		{get, callbackPath, (*server).oidcCallback, open},
		{post, "/logout", (*server).logout, anybody},

		{get, "/account", (*server).account, anybody},
		{post, "/account/password", (*server).changePassword, anybody},
		{get, "/account/second-factor", (*server).secondFactor, anybody},
		{post, "/account/second-factor", (*server).setUpSecondFactor, anybody},
		{get, "/account/second-factor/code.png", (*server).secondFactorPicture, anybody},
		{post, "/account/second-factor/confirm", (*server).confirmSecondFactor, anybody},
		{post, "/account/second-factor/recovery", (*server).newRecoveryCodes, anybody},
		{post, "/account/second-factor/remove", (*server).removeSecondFactor, anybody},
		{post, "/account/identities/link", (*server).linkIdentity, anybody},
		{post, "/account/identities/unlink", (*server).unlinkIdentity, anybody},
		{post, "/account/sessions/end", (*server).endSession, anybody},
		{post, "/account/sessions/end-others", (*server).endOtherSessions, anybody},
		{post, "/account/tokens", (*server).createToken, anybody},
		{post, "/account/tokens/revoke", (*server).revokeToken, anybody},
	}
}

// ownSession is what the session that asks is stored under.
func (s *server) ownSession(c echo.Context) string {
	return sessionKey(s.sessions.Token(c.Request().Context()))
}

func (s *server) account(c echo.Context) error {
	return s.accountPage(c, http.StatusOK, pages.Account{})
}

// accountPage draws the page; view has what was typed into one of its forms.
func (s *server) accountPage(c echo.Context, status int, view pages.Account) error {
	ctx, id := c.Request().Context(), s.actor.UserID
	user, err := s.front.User(ctx, id)
	if err != nil {
		return err
	}
	if view.Factor, err = s.front.SecondFactor(ctx, id); err != nil {
		return err
	}
	if view.Sessions, err = s.front.Sessions(ctx, id); err != nil {
		return err
	}
	if view.Identities, err = s.front.Identities(ctx, id); err != nil {
		return err
	}
	if view.Tokens, err = s.fleet.Tokens(ctx, user.Name); err != nil {
		return err
	}
	if s.actor.May(models.MaySeeFleet) {
		if view.Clients, err = s.fleet.ClientNames(ctx); err != nil {
			return err
		}
	}
	view.User, view.HasPassword, view.Own, view.Provider = user, user.PasswordHash != "", s.ownSession(c), s.oidc.name()
	view.User.PasswordHash = ""
	view.Page = s.page(c, "", "Your account")
	return render(c, status, pages.AccountPage(view))
}

// accountRefused draws the page again with what is wrong with one of its forms.
func (s *server) accountRefused(c echo.Context, err error, view pages.Account) error {
	if models.CodeOf(err) == "" {
		return err
	}
	view.Error, view.Errors = formErrors(err)
	if models.RetryAfterOf(err) > 0 {
		view.Error = models.Explain(err)
	}
	return s.accountPage(c, refusal(c, err), view)
}

func (s *server) changePassword(c echo.Context) error {
	in := fleet.NewPassword{Present: c.FormValue("present"), Password: c.FormValue("password"), Address: addressOf(c)}
	var err error
	if in.Password != c.FormValue("again") {
		err = models.InvalidField("again", "This is not what you typed above. Type the new password twice.")
	} else {
		err = s.front.ChangePassword(c.Request().Context(), s.actor.UserID, in, s.ownSession(c))
	}
	if err != nil {
		return s.accountRefused(c, err, pages.Account{Part: "password"})
	}
	return s.acted(c, "/account", nil, "Your password was changed. You were signed out everywhere else.")
}

func (s *server) secondFactor(c echo.Context) error {
	return s.secondFactorPage(c, http.StatusOK, nil)
}

// secondFactorPage shows what a telephone needs to make codes, as long as it is not
// confirmed.
func (s *server) secondFactorPage(c echo.Context, status int, wrong error) error {
	state, err := s.front.SecondFactor(c.Request().Context(), s.actor.UserID)
	if err != nil {
		return err
	}
	if state.Secret == "" {
		return c.Redirect(http.StatusSeeOther, "/account")
	}
	view := pages.SecondFactor{Page: s.page(c, "", "Set up a second factor"), State: state}
	if wrong != nil {
		view.Error = whole(wrong)
	}
	return render(c, status, pages.SecondFactorPage(view))
}

func (s *server) setUpSecondFactor(c echo.Context) error {
	err := s.front.SetUpSecondFactor(c.Request().Context(), s.actor.UserID)
	if err != nil {
		return s.acted(c, "/account", err, "")
	}
	return c.Redirect(http.StatusSeeOther, "/account/second-factor")
}

func (s *server) secondFactorPicture(c echo.Context) error {
	picture, err := s.front.SecondFactorPicture(c.Request().Context(), s.actor.UserID)
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, "image/png", picture)
}

func (s *server) confirmSecondFactor(c echo.Context) error {
	codes, err := s.front.ConfirmSecondFactor(c.Request().Context(), s.actor.UserID, c.FormValue("code"))
	if code := models.CodeOf(err); code == models.Invalid || code == models.Forbidden {
		return s.secondFactorPage(c, refusal(c, err), err)
	}
	if err != nil {
		return s.acted(c, "/account", err, "")
	}
	return s.showRecoveryCodes(c, codes)
}

func (s *server) showRecoveryCodes(c echo.Context, codes []string) error {
	return render(c, http.StatusOK, pages.RecoveryCodesPage(pages.RecoveryCodes{Page: s.page(c, "", "Your recovery codes"), Codes: codes}))
}

func (s *server) newRecoveryCodes(c echo.Context) error {
	codes, err := s.front.NewRecoveryCodes(c.Request().Context(), s.actor.UserID, c.FormValue("code"))
	if err != nil {
		return s.accountRefused(c, err, pages.Account{Part: "recovery"})
	}
	return s.showRecoveryCodes(c, codes)
}

func (s *server) removeSecondFactor(c echo.Context) error {
	err := s.front.RemoveSecondFactor(c.Request().Context(), s.actor.UserID, c.FormValue("proof"), addressOf(c))
	if err != nil {
		return s.accountRefused(c, err, pages.Account{Part: "remove"})
	}
	return s.acted(c, "/account", nil, "The second factor is off. Your password alone signs you in.")
}

// linkIdentity leads to the provider by a page: a redirect of a form would be held
// against form-action.
func (s *server) linkIdentity(c echo.Context) error {
	if s.oidc == nil {
		return errNoPage()
	}
	address, err := s.begin(c, flow{LinkTo: s.actor.UserID})
	if err != nil {
		return s.acted(c, "/account", err, "")
	}
	c.Response().Header().Set("Refresh", "0; url="+address)
	return render(c, http.StatusOK, pages.ContinuePage(pages.Continue{Page: s.page(c, "", "Continue to "+s.oidc.cfg.Name), Provider: s.oidc.cfg.Name, Address: address}))
}

func (s *server) unlinkIdentity(c echo.Context) error {
	err := s.front.UnlinkIdentity(c.Request().Context(), s.actor.UserID, chosen(c.FormValue("identity")))
	return s.acted(c, "/account", err, "Unlinked.")
}

func (s *server) endSession(c echo.Context) error {
	token := c.FormValue("session")
	err := s.front.EndSession(c.Request().Context(), s.actor.UserID, token)
	if models.CodeOf(err) == models.NotFound {
		err = nil // it ended by itself
	}
	if err == nil && token == s.ownSession(c) {
		return s.logout(c)
	}
	return s.acted(c, "/account", err, "The session was ended.")
}

func (s *server) endOtherSessions(c echo.Context) error {
	_, err := s.front.EndOtherSessions(c.Request().Context(), s.actor.UserID, s.ownSession(c))
	return s.acted(c, "/account", err, "You were signed out everywhere else.")
}

// tokenLife is what a form says in days.
func tokenLife(days string) time.Duration {
	return time.Duration(min(number(days), 366)) * 24 * time.Hour
}

func (s *server) createToken(c echo.Context) error {
	view := pages.Account{Part: "token", TokenName: strings.TrimSpace(c.FormValue("name")), TokenLife: c.FormValue("life"), TokenRole: c.FormValue("role"), TokenClient: c.FormValue("client")}
	token, err := s.fleet.CreateToken(c.Request().Context(), fleet.NewToken{
		User: s.actor.Name, Name: view.TokenName, Life: tokenLife(view.TokenLife), Role: models.Role(view.TokenRole), ClientID: chosen(view.TokenClient),
	})
	if err != nil {
		return s.accountRefused(c, err, view)
	}
	return s.accountPage(c, http.StatusOK, pages.Account{NewToken: token})
}

func (s *server) revokeToken(c echo.Context) error {
	err := s.fleet.RevokeToken(c.Request().Context(), s.actor.Name, c.FormValue("name"))
	return s.acted(c, "/account", err, "The token is good for nothing any more.")
}
