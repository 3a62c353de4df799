package web

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"hefring/templates/pages"
	"hefring/web/api"
)

// describing is an API that tells people what it can.
type describing interface{ Reference() pages.APIReference }

// docsPath is the page about the API, beside it.
const docsPath = api.Root + "/docs"

// apiDocs shows what programs can ask.
func (s *server) apiDocs(c echo.Context) error {
	d, ok := s.api.(describing)
	if !ok {
		return errNoPage()
	}
	view := d.Reference()
	view.Page, view.Base = s.page(c, "", "The API"), s.baseOf(c)+api.Prefix
	return render(c, http.StatusOK, pages.APIPage(view))
}
