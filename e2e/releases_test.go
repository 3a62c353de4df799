package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

// drupalOrg serves release history, archives and other files that a test puts
// there.
type drupalOrg struct {
	t   *testing.T
	url string

	mu    sync.Mutex
	files map[string][]byte
}

func newDrupalOrg(t *testing.T) *drupalOrg {
	t.Helper()
	o := &drupalOrg{t: t, files: map[string][]byte{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		data, found := o.files[r.URL.Path]
		o.mu.Unlock()
		if !found {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(server.Close)
	o.url = server.URL
	return o
}

func (o *drupalOrg) put(path string, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files[path] = data
}

// archive packs a version of the fixture as drupal.org does and gives its MD5.
func (o *drupalOrg) archive(version string) (path, sum string) {
	o.t.Helper()
	dir := filepath.Join(o.t.TempDir(), "drupal-"+version)
	if err := tidepool.Write(dir, version); err != nil {
		o.t.Fatal(err)
	}
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	written := tar.NewWriter(zipped)
	if err := written.AddFS(os.DirFS(filepath.Dir(dir))); err != nil {
		o.t.Fatal(err)
	}
	if err := written.Close(); err != nil {
		o.t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		o.t.Fatal(err)
	}
	path = "/files/projects/drupal-" + version + ".tar.gz"
	o.put(path, packed.Bytes())
	digest := md5.Sum(packed.Bytes())
	return path, hex.EncodeToString(digest[:])
}

// release is one entry of a feed; terms are its release types.
func (o *drupalOrg) release(version string, terms ...string) string {
	path, sum := o.archive(version)
	var types strings.Builder
	for _, term := range terms {
		fmt.Fprintf(&types, "<term><name>Release type</name><value>%s</value></term>", term)
	}
	return fmt.Sprintf(`<release><name>drupal %[1]s</name><version>%[1]s</version><tag>%[1]s</tag><status>published</status>
<release_link>https://example.org/project/drupal/releases/%[1]s</release_link><download_link>%[2]s%[3]s</download_link>
<date>1700000000</date><mdhash>%[4]s</mdhash><terms>%[5]s</terms>
<files><file><url>%[2]s%[3]s</url><archive_type>tar.gz</archive_type><md5>%[4]s</md5></file></files></release>`, version, o.url, path, sum, types.String())
}

func (o *drupalOrg) feed(releases ...string) {
	o.put("/release-history/drupal/current", fmt.Appendf(nil, `<?xml version="1.0" encoding="utf-8"?>
<project xmlns:dc="http://purl.org/dc/elements/1.1/"><title>Drupal core</title><short_name>drupal</short_name><type>project_core</type>
<supported_branches>10.5.,10.6.</supported_branches><project_status>published</project_status><link>https://example.org/project/drupal</link>
<releases>%s</releases></project>`, strings.Join(releases, "")))
}

// A stock distribution: a security release becomes the target, what runs is
// flagged, and the platform says what it was made from.
func TestReleases_Stock(t *testing.T) {
	t.Parallel()
	h := newHefring(t, "")
	b, p, v := h.browser(), h.person("second"), h.visitor()
	o := newDrupalOrg(t)
	o.feed(o.release(tidepool.V1058, "Bug fixes"))

	b.signIn(h)
	b.visit("/distributions/new")
	b.fill("name", "Stock Drupal")
	b.click("the type stock", `document.querySelector('input[value=stock]').closest('label')`)
	b.fill("stock.location", o.url+"/release-history")
	b.examine("stock")
	b.press("Add and check now")
	b.lands(`^/distributions/1$`)
	old := p.awaitTarget(1, "10.5.8")
	p.quiet()
	b.visit(fmt.Sprintf("/platforms/%d", old.id))
	b.sees("Made from")
	b.sees("drupal-" + tidepool.V1058 + ".tar.gz")
	b.examine("made from")
	site := p.install(old.id, "standard", "museum.localhost")[0]

	o.feed(o.release(tidepool.V1062, "Security update"), o.release(tidepool.V1058, "Bug fixes", "Insecure"))
	p.check(1)
	target := p.awaitTarget(1, "10.6.2")
	p.quiet()
	b.visit("/")
	b.sees("Insecure")
	b.examine("insecure")
	b.visit("/distributions/1")
	b.sees("Security release")
	b.examine("insecure")
	b.visit(fmt.Sprintf("/sites/%d", site))
	b.sees("Insecure")
	p.mustSucceed(p.upgrade(site).id())
	v.serves("museum.localhost", "tidepool "+target.version)
	b.visit("/")
	if strings.Contains(b.text(`document.body.innerText`), "Insecure") {
		t.Error("no site is at risk any more, and the first page says so still")
	}
}

// A makefile: a change of what it includes makes a platform, too.
func TestReleases_Makefile(t *testing.T) {
	t.Parallel()
	h := newHefring(t, "")
	p, b := h.person("second"), h.browser()
	o := newDrupalOrg(t)
	makefile := func(version string) {
		path, sum := o.archive(version)
		o.put("/site.make", []byte("core = 10.x\napi = 2\nincludes[] = core.make\n"))
		o.put("/core.make", fmt.Appendf(nil, "projects[drupal][type] = core\nprojects[drupal][download][type] = get\nprojects[drupal][download][url] = %s%s\nprojects[drupal][download][md5] = %s\n", o.url, path, sum))
	}
	makefile(tidepool.V1058)
	d := p.submit("/distributions/new", "/distributions", map[string][]string{
		"name": {"Made"}, "type": {"makefile"}, "makefile.from": {"url"}, "makefile.url": {o.url + "/site.make"},
	})
	if d.id() == 0 {
		t.Fatalf("the distribution was refused: %s", d.text())
	}
	p.awaitTarget(d.id(), "10.5.8")
	p.quiet()
	makefile(tidepool.V1062)
	p.check(d.id())
	p.awaitTarget(d.id(), "10.6.2")
	p.quiet()
	b.signIn(h)
	b.visit(d.url)
	b.sees("MD5")
	b.examine("makefile")

	// What cannot be built leaves the target as it is.
	path, _ := o.archive(tidepool.V1063)
	o.put("/core.make", fmt.Appendf(nil, "projects[drupal][type] = core\nprojects[drupal][download][type] = get\nprojects[drupal][download][url] = %s%s\nprojects[drupal][download][md5] = %s\n", o.url, path, strings.Repeat("0", 32)))
	p.check(d.id())
	eventually(t, time.Minute, "the build fails", func() bool { return p.platforms(d.id())[0].state == "failed" })
	p.quiet()
	b.visit(d.url)
	b.sees("BuildFailed")
	for _, line := range p.platforms(d.id()) {
		if line.target && line.version != "10.6.2" {
			t.Errorf("the target is %s", line.version)
		}
	}
}
