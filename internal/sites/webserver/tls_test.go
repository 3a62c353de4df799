package webserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hefring/models"
)

const alias = "www.museum.example.org"

// secured is a site with a certificate of its own.
type secured struct {
	*fixture
	vhost  Vhost
	serial int64
}

func secure(t *testing.T, choice models.HTTPS) *secured {
	t.Helper()
	f := prepare(t)
	f.config.TLSPort = freePort(t)
	f.server = New(f.config, runner())
	f.prober = f.server.Prober()
	s := &secured{fixture: f, vhost: f.vhost()}
	s.vhost.HTTPS = choice
	s.vhost.Certificate, s.vhost.CertificateKey = filepath.Join(f.base, "site.crt"), filepath.Join(f.base, "site.key")
	s.issue(time.Now().Add(90*24*time.Hour), host, alias)
	return s
}

// issue writes a new certificate to the operator's files.
func (s *secured) issue(until time.Time, names ...string) {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	s.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(s.serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	s.must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	s.must(err)
	s.write(s.vhost.Certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s.write(s.vhost.CertificateKey, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	s.must(os.Chmod(s.vhost.CertificateKey, 0o600))
}

func (s *secured) add() {
	s.Helper()
	s.must(s.server.AddSite(s.Context(), s.vhost))
}

// ask sends a request by HTTPS and gives the serial number of the certificate.
func (s *secured) ask(name, path string) (answer, int64, error) {
	request, err := http.NewRequest(http.MethodGet, "https://"+s.prober.TLSAddr+path, nil)
	if err != nil {
		return answer{}, 0, err
	}
	request.Host = name
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, 0, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, response.TLS.PeerCertificates[0].SerialNumber.Int64(), err
}

func (s *secured) mustAsk(name, path string) answer {
	s.Helper()
	a, _, err := s.ask(name, path)
	s.must(err)
	return a
}

func (s *secured) trouble() string {
	s.Helper()
	list, err := s.server.Certificates()
	s.must(err)
	if len(list) != 1 || list[0].SiteID != 7 || list[0].NotAfter.IsZero() {
		s.Fatalf("got %+v", list)
	}
	return list[0].Trouble
}

func (a answer) wantMove(t *testing.T, status int, to string) {
	t.Helper()
	if place := a.header.Get("Location"); a.status != status || place != to {
		t.Errorf("got %d to %s, want %d to %s", a.status, place, status, to)
	}
}

func TestServer_URL(t *testing.T) {
	on, off := models.Site{URI: host, HTTPS: models.HTTPSOn}, models.Site{URI: host}
	private := New(Config{Port: 8081}, runner())
	system := New(Config{Mode: ModeSystem}, runner())
	for got, want := range map[string]string{
		private.URL(off): "http://" + host + ":8081/", private.URL(on): "https://" + host + ":8443/",
		system.URL(off): "http://" + host + "/", system.URL(on): "https://" + host + "/",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestVhost_HTTPS_On(t *testing.T) {
	s := secure(t, models.HTTPSOn)
	s.add()
	if a := s.send("GET", "/", ""); a.status != 200 || a.header.Get("Strict-Transport-Security") != "" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	if a := s.mustAsk(host, "/env?x=y"); a.status != 200 || a.header.Get("Strict-Transport-Security") != "" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	s.write(s.docroot("v1")+"/index.php", `<?php echo json_encode([$_SERVER["HTTPS"] ?? "", $_SERVER["REQUEST_SCHEME"]]);`)
	if a := s.mustAsk(host, "/"); a.body != `["on","https"]` {
		t.Errorf("got %s", a.body)
	}
	if a := s.send("GET", "/", ""); a.body != `["","http"]` {
		t.Errorf("got %s", a.body)
	}
	if _, _, err := s.ask("unknown.example.org", "/"); err == nil {
		t.Error("an unknown name got another site's certificate")
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		conn, err := tls.Dial("tcp", s.prober.TLSAddr, &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		if err == nil {
			_ = conn.Close()
			t.Errorf("it speaks %s", tls.VersionName(version))
		}
	}
	info, err := os.Stat(filepath.Join(s.config.Dir, "nginx", keyFile(7)))
	s.must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the key: %v", info.Mode())
	}
}

func TestVhost_HTTPS_Required(t *testing.T) {
	s := secure(t, models.HTTPSRequired)
	s.vhost.Aliases = []string{alias}
	s.add()
	port := s.config.TLSPort
	s.send("GET", "/a/b?c=d&e", "").wantMove(t, 301, fmt.Sprintf("https://%s:%d/a/b?c=d&e", host, port))
	s.send("POST", "/a", "x").wantMove(t, 308, fmt.Sprintf("https://%s:%d/a", host, port))
	a, err := s.try("GET", alias, "/a", "")
	s.must(err)
	a.wantMove(t, 301, fmt.Sprintf("https://%s:%d/a", alias, port))
	for _, name := range []string{host, alias} {
		if a := s.mustAsk(name, "/"); a.status != 200 || a.header.Get("Strict-Transport-Security") != "max-age=31536000" {
			t.Errorf("%s: got %d %v", name, a.status, a.header)
		}
	}
	// What a tool for ACME puts there is served by HTTP, and nothing else is.
	s.write(filepath.Join(s.config.Dir, "acme", ".well-known", "acme-challenge", "token_-1"), "answer")
	s.write(filepath.Join(s.config.Dir, "acme", "other"), "hidden")
	for _, name := range []string{host, alias} {
		a, err := s.try("GET", name, "/.well-known/acme-challenge/token_-1", "")
		s.must(err)
		if a.status != 200 || a.body != "answer" {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
		a, err = s.try("GET", name, "/.well-known/acme-challenge/../../other", "")
		s.must(err)
		if a.status == 200 {
			t.Errorf("%s: got %s", name, a.body)
		}
	}
	// The probe sees what visitors see.
	for _, public := range []bool{false, true} {
		found, err := s.prober.Probe(t.Context(), Request{URI: host, Path: "/", Public: public})
		s.must(err)
		if err := Healthy(found, ""); err != nil {
			t.Errorf("public %t: %v", public, err)
		}
	}
	s.write(s.docroot("v1")+"/index.php", `<?php echo json_encode([$_SERVER["HTTPS"] ?? "", $_SERVER["HTTP_HOST"]]);`)
	found, err := s.prober.Probe(t.Context(), Request{URI: host, Path: "/"})
	s.must(err)
	if want := fmt.Sprintf(`["on","%s:%d"]`, host, port); string(found.Body) != want {
		t.Errorf("got %s, want %s", found.Body, want)
	}
}

func TestVhost_Aliases(t *testing.T) {
	s := secure(t, models.HTTPSOn)
	s.vhost.Aliases = []string{alias, "old.example.org"}
	s.add()
	for _, name := range s.vhost.Aliases {
		if a, err := s.try("GET", name, "/", ""); err != nil || a.status != 200 {
			t.Errorf("%s: got %d, %v", name, a.status, err)
		}
	}
	s.vhost.Redirect = true
	s.add()
	a, err := s.try("GET", alias, "/a%20b?c=d", "")
	s.must(err)
	a.wantMove(t, 301, fmt.Sprintf("http://%s:%d/a%%20b?c=d", host, s.config.Port))
	a, err = s.try("POST", alias, "/a", "x")
	s.must(err)
	a.wantMove(t, 308, fmt.Sprintf("http://%s:%d/a", host, s.config.Port))
	s.mustAsk(alias, "/a").wantMove(t, 301, fmt.Sprintf("https://%s:%d/a", host, s.config.TLSPort))

	other := Vhost{SiteID: 8, URI: "other.example.org", Dir: s.site}
	for name, site := range map[string]Vhost{
		"its name is an alias": {SiteID: 8, URI: alias, Dir: s.site},
		"an alias is a name":   {SiteID: 8, URI: other.URI, Aliases: []string{host}, Dir: s.site},
		"an alias is an alias": {SiteID: 8, URI: other.URI, Aliases: []string{alias}, Dir: s.site},
	} {
		if err := s.server.AddSite(t.Context(), site); models.CodeOf(err) != models.Conflict {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, aliases := range map[string][]string{"twice": {"a.example.org", "a.example.org"}, "itself": {other.URI}, "no name": {"*.example.org"}, "nginx": {"a; return 200"}} {
		other.Aliases = aliases
		if err := s.server.AddSite(t.Context(), other); models.CodeOf(err) != models.Invalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// What is given up may be taken by another.
	s.vhost.Aliases, s.vhost.Redirect = nil, false
	s.add()
	other.Aliases = []string{alias}
	s.must(s.server.AddSite(t.Context(), other))
}

func TestServer_AddSite_BadCertificate(t *testing.T) {
	s := secure(t, models.HTTPSOn)
	s.add()
	status := s.status()
	good, err := os.ReadFile(s.vhost.Certificate)
	s.must(err)
	wrong := filepath.Join(s.base, "wrong")
	for name, change := range map[string]func(*Vhost){
		"no certificate":     func(v *Vhost) { v.Certificate = "" },
		"no key":             func(v *Vhost) { v.CertificateKey = "" },
		"relative":           func(v *Vhost) { v.Certificate = "site.crt" },
		"not there":          func(v *Vhost) { v.Certificate += ".gone" },
		"a folder":           func(v *Vhost) { v.Certificate = s.base },
		"empty":              func(*Vhost) { s.write(wrong, "") },
		"half":               func(*Vhost) { s.write(wrong, string(good[:len(good)/2])) },
		"no key in it":       func(v *Vhost) { v.CertificateKey = v.Certificate },
		"huge":               func(*Vhost) { s.write(wrong, strings.Repeat("x", largestCertificate+1)) },
		"without a limit":    func(v *Vhost) { v.Certificate = "/dev/zero" },
		"unknown choice":     func(v *Vhost) { v.HTTPS = "perhaps" },
		"for somebody's key": func(v *Vhost) { s.issue(time.Now().Add(time.Hour), host); s.write(wrong, string(good)) },
	} {
		site := s.vhost
		site.Certificate = wrong
		s.write(wrong, string(good))
		change(&site)
		if err := s.server.AddSite(t.Context(), site); models.CodeOf(err) != models.Invalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if after := s.status(); after != status {
		t.Errorf("status was %+v, is %+v", status, after)
	}
	if a, serial, err := s.ask(host, "/"); err != nil || a.status != 200 || serial != 1 {
		t.Errorf("got %d with certificate %d, %v", a.status, serial, err)
	}
}

// A renewal is picked up; one that went wrong neither stops the site, nor a
// change of another, nor a restart.
func TestServer_Reload_RenewedCertificate(t *testing.T) {
	s := secure(t, models.HTTPSOn)
	s.add()
	if trouble := s.trouble(); trouble != "" {
		t.Errorf("got %q", trouble)
	}
	s.issue(time.Now().Add(90*24*time.Hour), host)
	if trouble := s.trouble(); !strings.Contains(trouble, "not yet in use") {
		t.Errorf("got %q", trouble)
	}
	s.must(s.server.Reload(t.Context()))
	if _, serial, err := s.ask(host, "/"); err != nil || serial != 2 {
		t.Errorf("got certificate %d, %v", serial, err)
	}
	before := s.status()
	s.must(s.server.Reload(t.Context()))
	if after := s.status(); after != before {
		t.Errorf("status was %+v, is %+v", before, after)
	}
	s.write(s.vhost.Certificate, "half a certif")
	s.must(s.server.AddSite(t.Context(), Vhost{SiteID: 8, URI: "other.example.org", Dir: s.site}))
	s.must(s.server.Stop(t.Context()))
	s.must(os.Remove(s.vhost.CertificateKey))
	s.must(s.server.Start(t.Context()))
	if a, serial, err := s.ask(host, "/"); err != nil || a.status != 200 || serial != 2 {
		t.Errorf("got %d with certificate %d, %v", a.status, serial, err)
	}
	if trouble := s.trouble(); !strings.Contains(trouble, "still in use") {
		t.Errorf("got %q", trouble)
	}
}

// What is told at every check is told in the same words, or it would be news each time.
func TestOffered_NeitherFile_NamesTheCertificate(t *testing.T) {
	t.Parallel()
	site := Vhost{URI: host, HTTPS: models.HTTPSOn, Certificate: filepath.Join(t.TempDir(), "site.crt"), CertificateKey: filepath.Join(t.TempDir(), "site.key")}
	for range 50 {
		if _, err := Offered(site); !strings.HasPrefix(models.Explain(err), "The file "+site.Certificate+" ") {
			t.Fatalf("it says %q", models.Explain(err))
		}
	}
	failed, _ := errors.AsType[*models.Error](Vhost{HTTPS: models.HTTPSOn}.checkTLS())
	if failed == nil || len(failed.Fields) != 2 {
		t.Errorf("without both it marks %v", failed)
	}
}

// What came with a site from another server is used until the operator's files are
// there, and it does not hide that they are not.
func TestServer_AddSite_CarriedCertificate(t *testing.T) {
	t.Parallel()
	s := secure(t, models.HTTPSOn)
	s.vhost.Carried = filepath.Join(s.base, "carried")
	s.must(os.Mkdir(s.vhost.Carried, 0o700))
	for from, to := range map[string]string{s.vhost.Certificate: CarriedChain, s.vhost.CertificateKey: CarriedKey} {
		s.must(os.Rename(from, filepath.Join(s.vhost.Carried, to)))
	}
	s.add()
	if _, serial, err := s.ask(host, "/"); err != nil || serial != s.serial {
		t.Errorf("it is served with %d: %v", serial, err)
	}
	if got := s.trouble(); !strings.Contains(got, s.vhost.Certificate) || !strings.Contains(got, "came with the site") {
		t.Errorf("the doctor says %q", got)
	}
	pair, err := Offered(s.vhost)
	if err != nil || pair.Chain == "" || pair.Key == "" || !strings.Contains(pair.Lacks, "cannot be read") {
		t.Errorf("the pair lacks %q: %v", pair.Lacks, err)
	}
	s.issue(time.Now().Add(90*24*time.Hour), host)
	s.must(s.server.Reload(t.Context()))
	if _, serial, err := s.ask(host, "/"); err != nil || serial != s.serial {
		t.Errorf("it is served with %d: %v", serial, err)
	}
	if pair, err := Offered(s.vhost); err != nil || pair.Lacks != "" {
		t.Errorf("the pair lacks %q: %v", pair.Lacks, err)
	}
	// Neither of them: the copy is what it is served with, and goes along to another
	// server; while it is there its visitors are sent on by HTTPS, too.
	s.must(os.Remove(s.vhost.Certificate))
	s.must(os.RemoveAll(s.vhost.Carried))
	if pair, err := s.server.Served(s.vhost); err != nil || pair.Chain == "" {
		t.Errorf("it is served with %q: %v", pair.Chain, err)
	}
	if _, err := Offered(s.vhost); models.CodeOf(err) != models.Invalid {
		t.Errorf("it is offered: %v", err)
	}
	away := s.vhost
	away.Away = true
	s.must(s.server.AddSite(t.Context(), away))
	if a := s.mustAsk(host, "/"); a.status != http.StatusServiceUnavailable {
		t.Errorf("while it is away it answers %d", a.status)
	}
	if s.server.AddSite(t.Context(), s.vhost) == nil {
		t.Error("it is served here without a certificate")
	}
	s.vhost.SiteID, s.vhost.URI, s.vhost.Aliases = 8, "other.example.org", nil
	if err := s.server.AddSite(t.Context(), s.vhost); models.CodeOf(err) != models.Invalid {
		t.Errorf("it is served all the same: %v", err)
	}
}

func TestServer_Certificates_Trouble(t *testing.T) {
	s := secure(t, models.HTTPSOn)
	s.vhost.Aliases = []string{alias}
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		until time.Time
		names []string
		want  string
	}{
		"sound":       {time.Now().Add(60 * day), []string{host, alias}, ""},
		"ends soon":   {time.Now().Add(5 * day), []string{host, alias}, "ends on"},
		"has ended":   {time.Now().Add(-time.Minute), []string{host, alias}, "ended on"},
		"other names": {time.Now().Add(60 * day), []string{host}, "is not for " + alias},
	} {
		s.issue(c.until, c.names...)
		s.add()
		if got := s.trouble(); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q", name, got)
		}
	}
	s.must(s.server.RemoveSite(t.Context(), 7))
	if list, err := s.server.Certificates(); err != nil || len(list) != 0 {
		t.Errorf("got %+v, %v", list, err)
	}
	if keys, _ := filepath.Glob(filepath.Join(s.config.Dir, "nginx-*", "certs", "*")); len(keys) > 0 {
		t.Errorf("left: %v", keys)
	}
}

func TestVhost_Disabled(t *testing.T) {
	s := secure(t, models.HTTPSOn)
	s.vhost.Aliases, s.vhost.Disabled = []string{alias}, true
	s.add()
	for _, method := range []string{"GET", "POST"} {
		for _, path := range []string{"/", "/index.php", "/core/misc/release.css", "/user/login", "/missing.png"} {
			for _, name := range []string{host, alias} {
				a, err := s.try(method, name, path, "")
				s.must(err)
				if a.status != 503 || a.header.Get("Retry-After") == "" || a.header.Get("Cache-Control") != "no-store" ||
					a.header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(a.body, "<h1>This site is switched off</h1>") {
					t.Errorf("%s %s%s: got %d %v %s", method, name, path, a.status, a.header, a.body)
				}
			}
		}
	}
	if a := s.mustAsk(host, "/"); a.status != 503 {
		t.Errorf("got %d", a.status)
	}
	if s.written("v1") != "" {
		t.Error("PHP ran")
	}
	found, err := s.prober.Probe(t.Context(), Request{URI: host, Path: "/"})
	s.must(err)
	if err := Healthy(found, s.docroot("v1")); err != nil {
		t.Error(err)
	}
	s.vhost.Disabled = false
	s.add()
	if a := s.send("GET", "/", ""); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
}

// Lists of sites that earlier versions wrote are read.
func TestVhost_JSON_Earlier(t *testing.T) {
	var list []Vhost
	if err := json.Unmarshal([]byte(`[{"site": 7, "uri": "museum.example.org", "dir": "/data/sites/7"}]`), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].SiteID != 7 || list[0].HTTPS != models.HTTPSOff || list[0].check() != nil {
		t.Errorf("got %+v", list)
	}
}
