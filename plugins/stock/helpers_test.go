package stock_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/stock"
)

// site is a release-history server of one project that tests change.
type site struct {
	*httptest.Server
	mu       sync.Mutex
	head     string // elements of the project
	releases []string
	etag     int
	files    map[string][]byte
	feeds    int // answered whole
	same     int // answered with 304
	loads    int // archives
}

func newSite(t *testing.T, head string) *site {
	t.Helper()
	s := &site{head: head, files: map[string][]byte{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

const coreHead = `<title>Drupal core</title><short_name>drupal</short_name><type>project_core</type><project_status>published</project_status><link>https://example.org/project/drupal</link><supported_branches>10.4.,10.5.,11.0.</supported_branches>`

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.files[r.URL.Path]; ok {
		s.loads++
		_, _ = w.Write(data)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/release-history/") {
		http.NotFound(w, r)
		return
	}
	tag := fmt.Sprintf(`"%d"`, s.etag)
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		s.same++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.feeds++
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="utf-8"?><project>`+s.head+"<releases>"+strings.Join(s.releases, "")+"</releases></project>")
}

// set replaces the releases, newest first.
func (s *site) set(releases ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releases = releases
	s.etag++
}

func (s *site) counts() (feeds, same int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feeds, s.same
}

// release writes a release whose archive the site serves.
func (s *site) release(version string, types ...string) string {
	return s.packed(version, map[string]string{"index.php": "<?php // " + version + "\n", "core/lib/Drupal.php": version}, types...)
}

func (s *site) packed(version string, files map[string]string, types ...string) string {
	data := pack("drupal-"+version, files)
	s.mu.Lock()
	path := "/files/drupal-" + version + ".tar.gz"
	s.files[path] = data
	s.mu.Unlock()
	sum := md5.Sum(data)
	return element(version, s.URL+path, hex.EncodeToString(sum[:]), types...)
}

func element(version, address, sum string, types ...string) string {
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, `<release><version>%s</version><status>published</status><release_link>https://example.org/releases/%[1]s</release_link><download_link>%s</download_link><mdhash>%s</mdhash><date>1700000000</date><terms>`, version, address, sum)
	for _, t := range types {
		text.WriteString("<term><name>Release type</name><value>" + t + "</value></term>")
	}
	return text.String() + "</terms></release>"
}

func pack(top string, files map[string]string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_ = w.WriteHeader(&tar.Header{Name: top + "/" + name, Mode: 0o644, Size: int64(len(files[name]))})
		_, _ = w.Write([]byte(files[name]))
	}
	_ = w.Close()
	_ = z.Close()
	return b.Bytes()
}

func newGuard(t *testing.T) *egress.Guard {
	t.Helper()
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(guard.Close)
	return guard
}

func newEnv(t *testing.T) plugins.Env {
	t.Helper()
	return plugins.Env{
		Run: run.New(run.Config{}), Egress: newGuard(t), Log: io.Discard,
		Scratch: t.TempDir(), Cache: t.TempDir(), Answers: &plugins.Answers{},
	}
}

// settings are those that name the site, with others in pairs.
func (s *site) settings(pairs ...string) models.Settings {
	settings := models.Settings{"location": s.URL + "/release-history"}
	for i := 0; i < len(pairs); i += 2 {
		settings[pairs[i]] = pairs[i+1]
	}
	return settings
}

func open(t *testing.T, settings models.Settings) plugins.Source {
	t.Helper()
	source, err := stock.New().Open(settings)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return source
}

// check is one check, as the fleet makes it.
func check(t *testing.T, source plugins.Source, env plugins.Env, last plugins.Version) plugins.Version {
	t.Helper()
	env.Answers = &plugins.Answers{}
	v, err := source.Check(t.Context(), env, last)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return v
}

func fact(v plugins.Version, label string) string {
	for _, f := range v.Facts {
		if f.Label == label {
			return f.Value
		}
	}
	return ""
}
