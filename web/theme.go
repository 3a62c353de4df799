package web

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

const themeCookie = "hefring_theme"

// themeOf is the theme that the person chose, or "" to follow the system.
func themeOf(c echo.Context) string {
	cookie, err := c.Cookie(themeCookie)
	if err != nil || cookie.Value != "light" && cookie.Value != "dark" {
		return ""
	}
	return cookie.Value
}

func (s *server) theme(c echo.Context) error {
	cookie := &http.Cookie{ //nolint:gosec // Secure where people come by HTTPS
		Name: themeCookie, Value: c.FormValue("theme"), Path: "/", MaxAge: 365 * 24 * 3600,
		HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode,
	}
	if cookie.Value != "light" && cookie.Value != "dark" {
		cookie.Value, cookie.MaxAge = "", -1
	}
	c.SetCookie(cookie)
	return c.Redirect(http.StatusSeeOther, safePath(c.FormValue("next")))
}
