package web

import (
	"net/http"
	"strings"
	"testing"

	"hefring/models"
	"hefring/web/api"
	"hefring/web/webtest"
)

// The reference is a page like any other: whoever is signed in reads it without
// JavaScript, and it loads nothing from elsewhere.
func TestAPIDocs_ShowOperations(t *testing.T) {
	front := &watchFront{}
	b := signedIn(t, webtest.Sample(), func(cfg *Config, _ *server) {
		if cfg != nil {
			cfg.API = api.New(front, func(models.Actor) api.Fleet { return watchAPI{} }, nil, "test")
		}
	})
	page := b.get("/api/docs")
	wantPage(t, "reference", page, http.StatusOK, "add-distribution", "Idempotency-Key", `id="object-Site"`, "curl -H", "/api/v1/openapi.json")
	if strings.Contains(page.body, "<style") || strings.Contains(page.body, "onclick=") {
		t.Error("the page has what the policy forbids")
	}
}
