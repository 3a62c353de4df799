package web

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"hefring/web/webtest"
)

// https://github.com/argoproj/argo-cd/issues/27881, CVE-2025-59538: a malformed
// webhook stops the server. Each of the corpus is signed, so it reaches the
// parser.
func TestFailureMode25_MalformedWebhook(t *testing.T) {
	b := visit(t, webtest.Sample())
	files, err := filepath.Glob("../internal/webhook/testdata/malformed/*")
	if err != nil || len(files) < 25 {
		t.Fatal(files, err)
	}
	for i, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := b.deliver(http.MethodPost, hookURL, bytes.NewReader(body), github(webtest.HookSecret, "push", strconv.Itoa(i), string(body))...)
		if got.status != http.StatusAccepted && got.status != http.StatusOK && got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", file, got.status, got.body)
		}
	}
	if strings.Contains(b.logs.String(), "panicked") {
		t.Error("something panicked")
	}
}

// endless is a body without an end; it counts what was read of it.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.read += int64(len(p))
	return len(p), nil
}

// https://github.com/advisories/GHSA-jmvp-698c-4x3w: a huge body of somebody
// unknown takes all memory.
func TestFailureMode26_HugeUnauthenticatedBody(t *testing.T) {
	f := webtest.Sample()
	s := newReceiver(f, nil)
	for address, status := range map[string]int{webtest.HookAddress: http.StatusRequestEntityTooLarge, strings.Repeat("0", 32): http.StatusNotFound} {
		body := &endless{}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, hookPath+address, body)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr, r.ContentLength = "192.0.2.1:1", -1
		r.Header.Set("Content-Type", "application/json")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := &discard{header: http.Header{}}
		s.ServeHTTP(w, r)
		runtime.ReadMemStats(&after)
		if w.status != status {
			t.Errorf("status %d, want %d", w.status, status)
		}
		if took := after.TotalAlloc - before.TotalAlloc; body.read > 8<<20 || took > 32<<20 {
			t.Errorf("%d bytes were read and %d allocated", body.read, took)
		}
	}
}

// discard is an answer that nobody reads.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }

// https://github.com/advisories/GHSA-8xwj-2wgh-gprh: anybody can have sources
// looked at, also through a page that makes a browser ask.
func TestFailureMode27_UnauthenticatedNotify(t *testing.T) {
	f := webtest.Sample()
	b := signedIn(t, f)
	for name, got := range map[string]answer{
		"link":           b.get(hookURL + "?ref=refs/heads/main"),
		"image":          b.do(http.MethodGet, hookURL, nil, "Sec-Fetch-Dest", "image"),
		"form":           b.do(http.MethodPost, hookURL, map[string][]string{"ref": {"refs/heads/main"}}),
		"script of text": b.deliver(http.MethodPost, hookURL, strings.NewReader(mainPush), "Content-Type", "text/plain"),
		"JSON, unsigned": b.deliver(http.MethodPost, hookURL, strings.NewReader(mainPush), "Content-Type", "application/json", "X-GitHub-Event", "push"),
	} {
		if got.status != http.StatusMethodNotAllowed && got.status != http.StatusUnsupportedMediaType && got.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: lets pages of others read", name)
		}
	}
}
