package drupalorg_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/drupalorg"
)

func newEnv(t *testing.T) plugins.Env {
	t.Helper()
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeout: 10 * time.Second})
	t.Cleanup(guard.Close)
	return plugins.Env{Egress: guard, Cache: t.TempDir(), Answers: &plugins.Answers{}}
}

// upstream serves one feed and recognises it by its ETag.
type upstream struct {
	server         *httptest.Server
	text, etag     atomic.Value
	full, notAgain atomic.Int64
}

func newUpstream(t *testing.T, text string) *upstream {
	t.Helper()
	u := &upstream{}
	u.text.Store(text)
	u.etag.Store(`"1"`)
	u.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/feeds/sample/current" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", u.etag.Load().(string))
		w.Header().Set("Last-Modified", "Sat, 01 Nov 2025 00:00:00 GMT")
		if r.Header.Get("If-None-Match") == u.etag.Load() && r.Header.Get("If-Modified-Since") != "" {
			u.notAgain.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		u.full.Add(1)
		_, _ = w.Write([]byte(u.text.Load().(string)))
	}))
	t.Cleanup(u.server.Close)
	return u
}

func (u *upstream) address() drupalorg.Address {
	return drupalorg.Address{Base: u.server.URL + "/feeds/", Project: "sample", API: "current"}
}

func TestFetch_Conditional(t *testing.T) {
	u := newUpstream(t, feedText(modernHead, release("1.0.0")))
	env := newEnv(t)
	first, err := drupalorg.Fetch(t.Context(), env.Egress, u.address(), drupalorg.Validators{})
	if err != nil || first.NotModified || first.Feed.Name != "sample" || first.Validators.ETag != `"1"` || first.Validators.LastModified == "" {
		t.Fatalf("first: %+v, %v", first, err)
	}
	again, err := drupalorg.Fetch(t.Context(), env.Egress, u.address(), first.Validators)
	if err != nil || !again.NotModified || again.Validators != first.Validators {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestLoad_KeepsTheFeed(t *testing.T) {
	u := newUpstream(t, feedText(modernHead, release("1.0.0")))
	env := newEnv(t)
	load := func(known drupalorg.Validators) drupalorg.Fetched {
		t.Helper()
		env.Answers = &plugins.Answers{} // another check
		got, err := drupalorg.Load(t.Context(), env, u.address(), known)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := load(drupalorg.Validators{})
	if again := load(drupalorg.Validators{}); !again.NotModified || len(again.Feed.Releases) != 1 {
		t.Errorf("again: %+v", again)
	}
	if u.full.Load() != 1 || u.notAgain.Load() != 1 {
		t.Errorf("%d downloads and %d without", u.full.Load(), u.notAgain.Load())
	}
	u.text.Store(feedText(modernHead, release("1.0.1"), release("1.0.0")))
	u.etag.Store(`"2"`)
	if changed := load(drupalorg.Validators{}); changed.NotModified || len(changed.Feed.Releases) != 2 {
		t.Errorf("changed: %+v", changed)
	}
	// The cache is lost.
	second := load(drupalorg.Validators{})
	env.Cache = t.TempDir()
	if lost := load(second.Validators); !lost.NotModified || lost.Feed.Name != "" {
		t.Errorf("without cache, as known: %+v", lost)
	}
	if lost := load(first.Validators); lost.NotModified || len(lost.Feed.Releases) != 2 {
		t.Errorf("without cache, changed: %+v", lost)
	}
	// It is damaged.
	files, _ := filepath.Glob(filepath.Join(env.Cache, "drupalorg", "*"))
	if len(files) != 1 {
		t.Fatalf("the cache holds %v", files)
	}
	if err := os.WriteFile(files[0], []byte(`{"validators":{"etag":"\"2\""},"body":"PA=="}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if damaged := load(drupalorg.Validators{}); damaged.NotModified || len(damaged.Feed.Releases) != 2 {
		t.Errorf("with a damaged cache: %+v", damaged)
	}
}

func TestLoad_OneQuestionForPeers(t *testing.T) {
	u := newUpstream(t, feedText(modernHead, release("1.0.0")))
	env := newEnv(t)
	for range 5 {
		if _, err := drupalorg.Load(t.Context(), env, u.address(), drupalorg.Validators{}); err != nil {
			t.Fatal(err)
		}
	}
	if u.full.Load() != 1 || u.notAgain.Load() != 0 {
		t.Errorf("%d downloads and %d without", u.full.Load(), u.notAgain.Load())
	}
}

func TestFetch_Failures(t *testing.T) {
	bomb := func() []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		blank := bytes.Repeat([]byte(" "), 1<<20)
		for range 20 {
			_, _ = w.Write(blank)
		}
		_ = w.Close()
		return b.Bytes()
	}()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		reason  models.Reason
	}{
		"gzip bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		}, models.ReasonTooLarge},
		"error document": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<error>No release history was found for the requested project (sample).</error>"))
		}, models.ReasonNotFound},
		"other project": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.ReplaceAll(feedText(modernHead), "sample", "other")))
		}, models.ReasonMalformed},
		"HTML":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html></html>")) }, models.ReasonMalformed},
		"404":         {http.NotFound, models.ReasonNotFound},
		"503":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, models.ReasonUnreachable},
		"429":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, models.ReasonRateLimited},
		"304 unasked": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }, models.ReasonMalformed},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write([]byte("<project>"))
		}, models.ReasonUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			t.Cleanup(server.Close)
			env := newEnv(t)
			_, err := drupalorg.Load(t.Context(), env, drupalorg.Address{Base: server.URL, Project: "sample", API: "current"}, drupalorg.Validators{})
			if models.ReasonOf(err) != c.reason || models.Explain(err) == "" {
				t.Errorf("got %v (%s)", err, models.ReasonOf(err))
			}
		})
	}
}

func TestAddress_URL(t *testing.T) {
	if got, err := (drupalorg.Address{Project: "drupal", API: "7.x"}).URL(); err != nil || got != "https://updates.drupal.org/release-history/drupal/7.x" {
		t.Errorf("%s, %v", got, err)
	}
	for _, a := range []drupalorg.Address{
		{Project: "", API: "7.x"},
		{Project: "../x", API: "7.x"},
		{Project: "a/b", API: "7.x"},
		{Project: "a?b", API: "7.x"},
		{Project: "-a", API: "7.x"},
		{Project: strings.Repeat("a", 200), API: "7.x"},
		{Project: "drupal", API: ""},
		{Project: "drupal", API: "7.x/../.."},
		{Project: "drupal\n", API: "7.x"},
	} {
		if got, err := a.URL(); models.CodeOf(err) != models.Invalid {
			t.Errorf("%+v: %s, %v", a, got, err)
		}
	}
}
