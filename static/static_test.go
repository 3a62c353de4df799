package static

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPath_Unknown_Panics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a file that does not exist has a path")
		}
	}()
	Path("nothing.css")
}

func TestHandler_EveryFile_HasItsType(t *testing.T) {
	for name, want := range map[string]string{"hefring.css": "text/css", "hefring.js": "javascript", "htmx.min.js": "javascript", "htmx-ext-sse.js": "javascript", "mark.svg": "image/svg"} {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, Path(name), nil))
		if w.Code != 200 || !strings.Contains(w.Header().Get("Content-Type"), want) || w.Body.Len() == 0 {
			t.Errorf("%s: %d %q", name, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

func TestHandler_OldHash_IsNotFound(t *testing.T) {
	for _, path := range []string{"/static/hefring.000000000000.css", "/static/", "/static/../go.mod", "/static/static.go", "/static/LICENSES.md"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = path
		Handler().ServeHTTP(w, r)
		if w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
