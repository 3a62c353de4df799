package httpcode_test

import (
	"net/http"
	"testing"

	"hefring/internal/httpcode"
	"hefring/models"
)

// What one side says the other understands.
func TestMeant_UnderstandsOf(t *testing.T) {
	for _, code := range []models.Code{models.Invalid, models.NotFound, models.Conflict, models.Forbidden, models.Unavailable} {
		if got := httpcode.Meant(httpcode.Of(code)); got != code {
			t.Errorf("%s is answered with %d, which is understood as %s", code, httpcode.Of(code), got)
		}
	}
	for status, want := range map[int]models.Code{
		http.StatusUnauthorized: models.Forbidden, http.StatusTooManyRequests: models.Unavailable, http.StatusBadGateway: models.Unavailable,
		http.StatusBadRequest: models.Invalid, http.StatusTeapot: models.Invalid, httpcode.Of(""): models.Unavailable,
	} {
		if got := httpcode.Meant(status); got != want {
			t.Errorf("%d is understood as %s, not %s", status, got, want)
		}
	}
}
