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

// Whatever is asked below /api is answered as programs read it, but for the page.
func TestServer_IsAPI(t *testing.T) {
	w := observedServer(t)
	for path, want := range map[string]int{
		"/api": http.StatusNotFound, "/api/": http.StatusNotFound, "/api/v1": http.StatusNotFound, "/api/v1/": http.StatusNotFound,
		"/api/v2/sites": http.StatusNotFound, "/api/v1/sites/a//b": http.StatusNotFound, "/api/v1/../v1/sites": http.StatusNotFound, "/api/docs/x": http.StatusNotFound,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, "PROPFIND"} {
			status, header, body := w.send(method, path, "")
			if status != want || header.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, `"detail"`) {
				t.Errorf("%s %s: %d %s %.200s", method, path, status, header.Get("Content-Type"), body)
			}
		}
	}
	for _, path := range []string{"/api/docs", "/apis"} {
		if _, header, _ := w.send(http.MethodGet, path, ""); header.Get("Content-Type") == "application/problem+json" {
			t.Errorf("%s is answered as if it were of the API", path)
		}
	}
}
