package web

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// healthz tells that the process answers.
func healthz(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }
