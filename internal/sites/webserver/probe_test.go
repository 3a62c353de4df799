package webserver

import (
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/models"
)

func TestProber_Probe_Releases(t *testing.T) {
	f := serve(t)
	look := func(release string) Answer {
		t.Helper()
		a, err := f.prober.Probe(t.Context(), Request{URI: host, Path: "/user/login?a=b", Release: release})
		f.must(err)
		return a
	}
	if a := look(ReleaseNext); a.Status != 404 || a.Root != "" {
		t.Errorf("without a next release: %d %q", a.Status, a.Root)
	}
	f.link(filepath.Join(f.site, "next"), f.docroot("v2"))
	for release, want := range map[string]string{"": "v1", ReleaseCurrent: "v1", ReleaseNext: "v2"} {
		a := look(release)
		f.must(Healthy(a, f.docroot(want)))
		if !strings.Contains(string(a.Body), "release="+want+" query=a=b&amp;hefring-probe=") || a.Took <= 0 {
			t.Errorf("%q: %+v %s", release, a, a.Body)
		}
		if err := Healthy(a, f.docroot("v3")); err == nil || !strings.Contains(models.Explain(err), f.docroot("v3")) {
			t.Errorf("%q from the wrong release: %v", release, err)
		}
	}
	f.link(filepath.Join(f.site, "current"), f.docroot("v2"))
	f.must(Healthy(look(ReleaseCurrent), f.docroot("v2")))
}

func TestProber_Probe_StaticFilesTellTheirRelease(t *testing.T) {
	f := serve(t)
	a, err := f.prober.Probe(t.Context(), Request{URI: host, Path: "/core/misc/release.css"})
	f.must(err)
	if a.Status != 200 || a.Root != f.docroot("v1") {
		t.Errorf("got %d from %q", a.Status, a.Root)
	}
}

func TestProber_Probe_Public(t *testing.T) {
	f := serve(t)
	f.link(filepath.Join(f.site, "next"), f.docroot("v2"))
	a, err := f.prober.Probe(t.Context(), Request{URI: host, Path: "/", Public: true, Release: ReleaseNext})
	f.must(err)
	f.must(Healthy(a, ""))
	if a.Root != "" || !strings.Contains(string(a.Body), "release=v1") || !strings.HasPrefix(a.URL, f.server.URL(models.Site{URI: host})+"?") {
		t.Errorf("got %+v %s", a, a.Body)
	}
	if err := Healthy(a, f.docroot("v1")); err == nil {
		t.Error("healthy from an unknown root")
	}
}

func TestProber_Probe_HostAsVisitorsSendIt(t *testing.T) {
	f := serve(t)
	f.write(filepath.Join(f.docroot("v1"), "index.php"), `<?php echo $_SERVER["HTTP_HOST"];`)
	for _, public := range []bool{true, false} {
		a, err := f.prober.Probe(t.Context(), Request{URI: host, Path: "/", Public: public})
		f.must(err)
		if want := net.JoinHostPort(host, strconv.Itoa(f.config.Port)); string(a.Body) != want {
			t.Errorf("got %q, want %q", a.Body, want)
		}
	}
}

func TestProber_Probe_SpoofedRoot(t *testing.T) {
	f := serve(t)
	a, err := f.prober.Probe(t.Context(), Request{URI: host, Path: "/spoof"})
	f.must(err)
	if a.Root != f.docroot("v1") || len(a.Header.Values("X-Hefring-Root")) != 1 {
		t.Errorf("got %v", a.Header)
	}
}

func TestProber_Probe_ForeignRelease(t *testing.T) {
	f := serve(t)
	for _, release := range []string{"../../platforms/v2", "CURRENT/..", "none"} {
		a, err := f.sendTo(f.prober.ProbeAddr, "GET", host, "/", "", http.Header{"X-Hefring-Release": {release}})
		f.must(err)
		if a.status != 404 {
			t.Errorf("%s: got %d", release, a.status)
		}
	}
}

func TestProber_Probe_Invalid(t *testing.T) {
	p := &Prober{PublicAddr: "127.0.0.1:1", ProbeAddr: "127.0.0.1:1"}
	for name, r := range map[string]Request{
		"no path":         {URI: host},
		"relative path":   {URI: host, Path: "user"},
		"a URL":           {URI: host, Path: "http://elsewhere/"},
		"line break":      {URI: host, Path: "/a\r\nb"},
		"no host":         {Path: "/"},
		"host with lines": {URI: "a\r\nb", Path: "/"},
		"release":         {URI: host, Path: "/", Release: "old"},
	} {
		if _, err := p.Probe(t.Context(), r); err == nil || strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestProber_Probe_NothingListens(t *testing.T) {
	p := &Prober{PublicAddr: "127.0.0.1:80", ProbeAddr: net.JoinHostPort(loopback, strconv.Itoa(freePort(t)))}
	_, err := p.Probe(t.Context(), Request{URI: host, Path: "/"})
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "nginx is not running") {
		t.Errorf("got %v", err)
	}
}

func TestProber_Probe_Silence(t *testing.T) {
	listener, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	p := &Prober{PublicAddr: "127.0.0.1:80", ProbeAddr: listener.Addr().String(), Limit: 50 * time.Millisecond}
	_, err = p.Probe(t.Context(), Request{URI: host, Path: "/"})
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "did not answer within") {
		t.Errorf("got %v", err)
	}
}

func TestProber_Probe_PHPIsDown(t *testing.T) {
	f := serve(t)
	f.must(f.server.php().stop(t.Context()))
	a, err := f.prober.Probe(t.Context(), Request{URI: host, Path: "/"})
	f.must(err)
	if err := Healthy(a, ""); err == nil || !strings.Contains(models.Explain(err), "php-fpm") {
		t.Errorf("got %v", err)
	}
}

// Pitfalls: an unknown host and an empty database send to the installer; a
// fatal error may come with status 200.
func TestHealthy_Ailments(t *testing.T) {
	f := serve(t)
	for path, want := range map[string]string{"/": "", "/blank": "empty page", "/throw": "answered 500", "/installer": "installer", "/core/install.php": "answered 404", "/globals": "not with an HTML page"} {
		a, err := f.prober.Probe(t.Context(), Request{URI: host, Path: path})
		f.must(err)
		err = Healthy(a, f.docroot("v1"))
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(models.Explain(err), want)) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestHealthy_Pages(t *testing.T) {
	page := func(text string) string { return "<!DOCTYPE html><html><body>" + text + "</body></html>" }
	for name, c := range map[string]struct {
		status   int
		location string
		body     string
		want     string // "" healthy
	}{
		"fine":                  {200, "", page("Welcome"), ""},
		"upper case":            {200, "", "<HTML>x</HTML>", ""},
		"about errors":          {200, "", page("How we caught uncaught errors"), ""},
		"white":                 {200, "", " \n\t", "empty page"},
		"fatal":                 {200, "", page("Fatal error: Uncaught Error: Call to undefined function"), "Call to undefined function"},
		"fatal in HTML":         {200, "", page("<b>Fatal error</b>:  Allowed memory size"), "Allowed memory size"},
		"parse error":           {200, "", page("PHP Parse error: syntax error"), "syntax error"},
		"exception":             {200, "", page("Uncaught PDOException: gone"), "PDOException"},
		"Drupal's own":          {200, "", page("The website encountered an unexpected error. Try again later."), "unexpected error"},
		"Drupal's own with 500": {500, "", "The website encountered an unexpected error.", "answered 500 (The website"},
		"text":                  {200, "", "hello", "not with an HTML page"},
		"installer":             {302, "/core/install.php", "", "installer"},
		"redirect":              {301, "https://elsewhere/", page(""), "https://elsewhere/"},
		"see other":             {303, "/user/login", page(""), "303"},
		"untrusted host":        {400, "", page(""), "trusted_host_patterns"},
		"forbidden":             {403, "", page(""), "403"},
		"missing":               {404, "", page(""), "404"},
		"maintenance":           {503, "", page(""), "maintenance"},
		"created":               {201, "", page(""), "201"},
	} {
		header := http.Header{}
		if c.location != "" {
			header.Set("Location", c.location)
		}
		err := Healthy(Answer{URL: "http://a/", Status: c.status, Header: header, Body: []byte(c.body)}, "")
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(models.Explain(err), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
