package egress_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/models"
)

func wantReason(t *testing.T, err error, reason models.Reason) {
	t.Helper()
	if got := models.ReasonOf(err); got != reason {
		t.Errorf("reason %q, want %q: %v", got, reason, err)
	}
	if models.CodeOf(err) == "" {
		t.Errorf("no words for people: %v", err)
	}
}

func waitOf(err error) time.Duration {
	if e, ok := errors.AsType[*models.Error](err); ok {
		return e.RetryAfter
	}
	return -1
}

func TestGuard_Fetch_ReasonOfStatus(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		status int
		header http.Header
		reason models.Reason
		wait   time.Duration
	}{
		"401":                    {401, nil, models.ReasonAuthentication, 0},
		"403":                    {403, nil, models.ReasonAuthentication, 0},
		"403 of a limit":         {403, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"1000000090"}, "Date": {"Sun, 09 Sep 2001 01:46:40 GMT"}}, models.ReasonRateLimited, 90 * time.Second},
		"403 that asks to wait":  {403, http.Header{"Retry-After": {"7"}}, models.ReasonRateLimited, 7 * time.Second},
		"404":                    {404, nil, models.ReasonNotFound, 0},
		"410":                    {410, nil, models.ReasonNotFound, 0},
		"413":                    {413, nil, models.ReasonTooLarge, 0},
		"418":                    {418, nil, models.ReasonUnreachable, 0},
		"429":                    {429, nil, models.ReasonRateLimited, 0},
		"429 with seconds":       {429, http.Header{"Retry-After": {"120"}}, models.ReasonRateLimited, 2 * time.Minute},
		"429 with a date":        {429, http.Header{"Retry-After": {"Sun, 09 Sep 2001 01:47:40 GMT"}, "Date": {"Sun, 09 Sep 2001 01:46:40 GMT"}}, models.ReasonRateLimited, time.Minute},
		"429 with a past date":   {429, http.Header{"Retry-After": {now.Add(-time.Hour).UTC().Format(http.TimeFormat)}}, models.ReasonRateLimited, 0},
		"429 with a far date":    {429, http.Header{"Retry-After": {now.Add(9000 * time.Hour).UTC().Format(http.TimeFormat)}}, models.ReasonRateLimited, 24 * time.Hour},
		"429 with many seconds":  {429, http.Header{"Retry-After": {"2000000000"}}, models.ReasonRateLimited, 24 * time.Hour},
		"429 with too many":      {429, http.Header{"Retry-After": {"99999999999999999999"}}, models.ReasonRateLimited, 0},
		"429 with a minus":       {429, http.Header{"Retry-After": {"-5"}}, models.ReasonRateLimited, 0},
		"429 with nonsense":      {429, http.Header{"Retry-After": {"soon"}}, models.ReasonRateLimited, 0},
		"500":                    {500, nil, models.ReasonUnreachable, 0},
		"503":                    {503, nil, models.ReasonUnreachable, 0},
		"503 that asks to wait":  {503, http.Header{"Retry-After": {"30"}}, models.ReasonRateLimited, 30 * time.Second},
		"504":                    {504, nil, models.ReasonTimeout, 0},
		"300 without a location": {300, nil, models.ReasonUnreachable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), test.header)
				w.WriteHeader(test.status)
			})
			_, err := newGuard(t, egress.Config{Allow: loopback()}).Fetch(t.Context(), server.URL, 100, nil)
			wantReason(t, err, test.reason)
			if got := waitOf(err); got != test.wait {
				t.Errorf("wait %s, want %s", got, test.wait)
			}
		})
	}
}

func TestGuard_Fetch_ReasonOfConnection(t *testing.T) {
	quiet, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = quiet.Close() })
	closed := serve(t, func(http.ResponseWriter, *http.Request) {})
	closed.Close()
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	refusing := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server")
	}}
	for name, test := range map[string]struct {
		url    string
		config egress.Config
		reason models.Reason
	}{
		"unknown name":    {"http://x.invalid/", egress.Config{Resolver: rebinder(t)}, models.ReasonDNS},
		"no name server":  {"http://x.test/", egress.Config{Resolver: refusing}, models.ReasonDNS},
		"no answer":       {"http://" + quiet.Addr().String(), egress.Config{Timeout: 100 * time.Millisecond}, models.ReasonTimeout},
		"refused":         {closed.URL, egress.Config{}, models.ReasonUnreachable},
		"broken off":      {broken.URL, egress.Config{}, models.ReasonUnreachable},
		"no TLS there":    {"https" + strings.TrimPrefix(plain.URL, "http"), egress.Config{}, models.ReasonTLS},
		"blocked":         {"http://127.9.9.9/", egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, models.ReasonAddressBlocked},
		"blocked by name": {"http://x.test/", egress.Config{Resolver: rebinder(t, "10.0.0.1")}, models.ReasonAddressBlocked},
		"no address":      {"file:///etc/passwd", egress.Config{}, models.ReasonURL},
		"malformed":       {"http://a b/", egress.Config{}, models.ReasonURL},
	} {
		t.Run(name, func(t *testing.T) {
			if test.config.Allow == nil {
				test.config.Allow = loopback()
			}
			_, err := newGuard(t, test.config).Fetch(t.Context(), test.url, 100, nil)
			wantReason(t, err, test.reason)
		})
	}
}

func TestGuard_Fetch_ReasonOfBody(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/short" {
			w.Header().Set("Content-Length", "1000")
		}
		_, _ = w.Write(make([]byte, 200))
	})
	g := newGuard(t, egress.Config{Allow: loopback()})
	_, err := g.Fetch(t.Context(), server.URL, 100, nil)
	wantReason(t, err, models.ReasonTooLarge)
	_, err = g.Fetch(t.Context(), server.URL+"/short", 1000, nil)
	wantReason(t, err, models.ReasonUnreachable)
}

func TestGuard_Fetch_ReasonOfCertificate(t *testing.T) {
	expired := certificate(t, time.Now().Add(-time.Hour), "127.0.0.1")
	other := certificate(t, time.Now().Add(time.Hour), "127.0.0.9")
	for name, test := range map[string]struct {
		certificate tls.Certificate
		trusted     bool
		says        string
	}{
		"private authority": {certificate(t, time.Now().Add(time.Hour), "127.0.0.1"), false, "--ca-file"},
		"expired":           {expired, true, "expired"},
		"other host":        {other, true, "another host"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.TLS = &tls.Config{Certificates: []tls.Certificate{test.certificate}}
			server.StartTLS()
			t.Cleanup(server.Close)
			config := egress.Config{Allow: loopback(), RootCAs: x509.NewCertPool()}
			if test.trusted {
				config.RootCAs.AddCert(test.certificate.Leaf)
			}
			_, err := newGuard(t, config).Fetch(t.Context(), server.URL, 100, nil)
			wantReason(t, err, models.ReasonTLS)
			if !strings.Contains(models.Explain(err), test.says) {
				t.Errorf("%q does not say %q", models.Explain(err), test.says)
			}
		})
	}
}

// certificate makes one that signs itself.
func certificate(t *testing.T, until time.Time, address string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Hefring's test"}, IPAddresses: []net.IP{net.ParseIP(address)},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestLoadAuthorities(t *testing.T) {
	dir := t.TempDir()
	extra, bundle := filepath.Join(dir, "extra.pem"), filepath.Join(dir, "bundle.pem")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(server.Close)
	text := "a comment\n" + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary")})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	if err := os.WriteFile(extra, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start replaces the file of the first
		pool, err := egress.LoadAuthorities(extra, bundle)
		if err != nil {
			t.Fatal(err)
		}
		g := newGuard(t, egress.Config{Allow: loopback(), RootCAs: pool, CAFile: bundle})
		page, err := g.Fetch(t.Context(), server.URL, 100, nil)
		if err != nil || string(page.Body) != "hello" || g.CAFile() != bundle {
			t.Errorf("got %+v, %v", page, err)
		}
		if resp, err := g.HTTPClient().Get(server.URL); err != nil {
			t.Error(err)
		} else {
			_ = resp.Body.Close()
		}
	}
	written, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(written), "PRIVATE") || strings.Count(string(written), "BEGIN CERTIFICATE") < 1 {
		t.Errorf("the bundle holds %d bytes", len(written))
	}
	if info, err := os.Stat(bundle); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("got %v, %v", info, err)
	}
	for _, wrong := range []string{"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if err := os.WriteFile(extra, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := egress.LoadAuthorities(extra, bundle)
		wantCode(t, err, models.Invalid, "--ca-file")
	}
	_, err = egress.LoadAuthorities(filepath.Join(dir, "missing"), bundle)
	wantCode(t, err, models.Invalid, "--ca-file")
}
