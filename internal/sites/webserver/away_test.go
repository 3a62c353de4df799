package webserver

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"hefring/models"
)

// A site that is on another server is answered from there, also what is written, and
// Hefring still finds what is here.
func TestVhost_Away(t *testing.T) {
	s := secure(t, models.HTTPSOff)
	var got *http.Request
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = w.Write([]byte("from there"))
	}))
	t.Cleanup(there.Close)
	s.vhost.Away, s.vhost.Elsewhere = true, there.URL
	s.add()
	for _, method := range []string{"GET", "POST"} {
		a := s.send(method, "/node/1?x=1", "")
		if a.status != 200 || a.body != "from there" {
			t.Fatalf("%s: %d %s", method, a.status, a.body)
		}
		if host, _, _ := strings.Cut(got.Host, ":"); host != s.vhost.URI || got.Method != method || got.URL.RequestURI() != "/node/1?x=1" || got.Header.Get("X-Forwarded-For") == "" || got.Header.Get("X-Hefring-Sent-On") == "" {
			t.Errorf("%s %s of %s came with %v", got.Method, got.URL, got.Host, got.Header)
		}
	}
	found, err := s.prober.Probe(t.Context(), Request{URI: s.vhost.URI, Path: "/"})
	s.must(err)
	if err := Healthy(found, s.docroot("v1")); err != nil {
		t.Error(err)
	}
	s.vhost.Elsewhere = ""
	s.add()
	if a := s.send("GET", "/", ""); a.status != 503 {
		t.Errorf("with no other address: %d", a.status)
	}
	s.vhost.Away = false
	s.add()
	if a := s.send("GET", "/", ""); a.status != 200 || a.body == "from there" {
		t.Errorf("at home: %d %s", a.status, a.body)
	}
}

func TestVhost_Elsewhere_IsAnAddress(t *testing.T) {
	for text, fits := range map[string]bool{
		"http://192.0.2.12:8081": true, "https://[2001:db8::1]:8443": true, "http://192.0.2.12": true,
		"http://web2.example.org:80": false, "http://192.0.2.12/x": false, "http://192.0.2.12;return 200": false, "ftp://192.0.2.12": false, "192.0.2.12": false,
	} {
		v := Vhost{SiteID: 1, URI: "museum.example.org", Dir: "/srv/sites/1", Away: true, Elsewhere: text}
		if _, err := url.Parse(text); err == nil && (v.check() == nil) != fits {
			t.Errorf("%q: %v", text, v.check())
		}
	}
	if (Vhost{SiteID: 1, URI: "museum.example.org", Dir: "/srv/sites/1", Elsewhere: "http://192.0.2.12"}).check() == nil {
		t.Error("visitors of a site that is here are sent elsewhere")
	}
}
