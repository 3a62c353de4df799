package egress_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hefring/internal/egress"
	"hefring/models"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

func newGuard(t *testing.T, c egress.Config) *egress.Guard {
	t.Helper()
	g := egress.New(c)
	t.Cleanup(g.Close)
	return g
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func wantCode(t *testing.T, err error, code models.Code, parts ...string) {
	t.Helper()
	if models.CodeOf(err) != code {
		t.Fatalf("error %v: got code %q, want %q", err, models.CodeOf(err), code)
	}
	for _, part := range parts {
		if !strings.Contains(models.Explain(err), part) {
			t.Errorf("message %q does not say %q", models.Explain(err), part)
		}
	}
}

func TestGuard_CheckAddr_EveryPrefix(t *testing.T) {
	g := newGuard(t, egress.Config{})
	blocked := map[string]string{
		"0.0.0.0": "0.0.0.0/8", "0.1.2.3": "0.0.0.0/8", "10.0.0.1": "10.0.0.0/8", "10.255.255.255": "10.0.0.0/8",
		"100.64.0.1": "100.64.0.0/10", "100.100.100.200": "100.64.0.0/10", "127.0.0.1": "127.0.0.0/8",
		"127.255.0.1": "127.0.0.0/8", "168.63.129.16": "168.63.129.16/32",
		"169.254.169.254": "169.254.0.0/16", "172.16.0.1": "172.16.0.0/12", "172.31.255.255": "172.16.0.0/12",
		"192.0.0.192": "192.0.0.0/24", "192.0.2.1": "192.0.2.0/24", "192.88.99.1": "192.88.99.0/24",
		"192.168.1.1": "192.168.0.0/16", "198.18.0.1": "198.18.0.0/15", "198.19.255.255": "198.18.0.0/15",
		"198.51.100.1": "198.51.100.0/24", "203.0.113.1": "203.0.113.0/24",
		"224.0.0.1": "224.0.0.1/32", "240.0.0.1": "240.0.0.1/32", "255.255.255.255": "255.255.255.255/32",
		"::": "::/128", "::1": "::1/128", "::127.0.0.1": "::7f00:1/128", "::ffff:127.0.0.1": "127.0.0.0/8",
		"::ffff:10.0.0.1": "10.0.0.0/8", "64:ff9b::7f00:1": "64:ff9b::/96", "64:ff9b:1::1": "64:ff9b:1::/48",
		"100::1": "100::/64", "2001::1": "2001::/32", "2001:10::1": "2001::/23", "2001:db8::1": "2001:db8::/32",
		"2002:7f00:1::1": "2002::/16", "3fff::1": "3fff::/20", "fc00::1": "fc00::/7", "fd00:ec2::254": "fc00::/7",
		"fe80::1": "fe80::/10", "fe80::1%lo": "fe80::/10", "fec0::1": "fec0::/10", "ff02::1": "ff00::/8",
		"::ffff:0:127.0.0.1": "::ffff:0:7f00:1/128", "5f00::1": "5f00::1/128", "4000::1": "4000::1/128", "9000::1": "9000::1/128",
	}
	for addr, allow := range blocked {
		t.Run(addr, func(t *testing.T) {
			err := g.CheckAddr(netip.MustParseAddr(addr))
			wantCode(t, err, models.Forbidden, "--egress-allow "+allow)
			allowed := newGuard(t, egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix(allow)}})
			if err := allowed.CheckAddr(netip.MustParseAddr(addr)); err != nil {
				t.Errorf("the advice does not help: %v", err)
			}
		})
	}
	for _, addr := range []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.1", "172.15.255.255",
		"172.32.0.0", "192.0.1.0", "193.0.0.1", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "2003::1",
	} {
		if err := g.CheckAddr(netip.MustParseAddr(addr)); err != nil {
			t.Errorf("public address: %v", err)
		}
	}
}

func TestGuard_HTTPClient_LoopbackBlocked(t *testing.T) {
	var hits atomic.Int32
	server := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	g := newGuard(t, egress.Config{})
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "127.1.2.3"} {
		resp, err := g.HTTPClient().Get("http://" + host + port)
		if err == nil {
			_ = resp.Body.Close()
		}
		wantCode(t, err, models.Forbidden, "Address blocked", "--egress-allow")
	}
	if hits.Load() != 0 {
		t.Errorf("the listener got %d requests", hits.Load())
	}
	allowed := newGuard(t, egress.Config{Allow: loopback()})
	if _, err := allowed.Fetch(t.Context(), server.URL, 100, nil); err != nil || hits.Load() != 1 {
		t.Errorf("allowed address: %v, %d requests", err, hits.Load())
	}
}

// rebinder is a DNS server whose answer to A questions changes with each one;
// without answers it knows no name.
func rebinder(t *testing.T, answers ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked int
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			reply := dnsReply(buf[:n], func() netip.Addr {
				if len(answers) == 0 {
					return netip.Addr{}
				}
				addr := netip.MustParseAddr(answers[min(asked, len(answers)-1)])
				asked++
				return addr
			})
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func dnsReply(query []byte, next func() netip.Addr) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	kind := binary.BigEndian.Uint16(query[end+1:])
	question := query[12 : end+5]
	reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
	if kind != 1 {
		return reply
	}
	if next := next(); next.IsValid() {
		addr := next.As4()
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, addr[:]...)
	}
	return reply
}

func TestGuard_HTTPClient_RebindingBlocked(t *testing.T) {
	var hits atomic.Int32
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		w.Header().Set("Connection", "close")
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	// The first answer, which is let through, stands for the public address.
	g := newGuard(t, egress.Config{
		Resolver: rebinder(t, "127.0.0.1", "127.0.0.2"),
		Allow:    []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	})
	if _, err := g.Fetch(t.Context(), "http://rebind.test:"+port, 100, nil); err != nil {
		t.Fatalf("first answer: %v", err)
	}
	_, err := g.Fetch(t.Context(), "http://rebind.test:"+port, 100, nil)
	wantCode(t, err, models.Forbidden, "127.0.0.2", "--egress-allow 127.0.0.0/8")
	if hits.Load() != 1 {
		t.Errorf("the listener got %d requests", hits.Load())
	}
}

func TestGuard_HTTPClient_RedirectToInternalBlocked(t *testing.T) {
	var hits atomic.Int32
	internal := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	_, port, _ := strings.Cut(strings.TrimPrefix(internal.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.2", "localhost2.test"} {
		outside := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+host+":"+port+"/secret", http.StatusFound)
		})
		g := newGuard(t, egress.Config{
			Allow:    []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
			Resolver: rebinder(t, "127.0.0.2"),
		})
		_, err := g.Fetch(t.Context(), outside.URL, 100, nil)
		wantCode(t, err, models.Forbidden, "127.0.0.2")
	}
	if hits.Load() != 0 {
		t.Errorf("the internal listener got %d requests", hits.Load())
	}
}

func TestGuard_HTTPClient_Redirects(t *testing.T) {
	var seen http.Header
	other := serve(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Clone() })
	tests := map[string]struct {
		location func(hop int) string
		code     models.Code
		says     string
	}{
		"three are followed": {location: func(hop int) string {
			if hop < 3 {
				return "/again"
			}
			return ""
		}},
		"four are too many": {location: func(hop int) string {
			if hop < 4 {
				return "/again"
			}
			return ""
		}, code: models.Unavailable, says: "more than 3 times"},
		"other scheme": {location: func(int) string { return "ftp://example.org/x" }, code: models.Forbidden, says: "from http to ftp"},
		"file":         {location: func(int) string { return "file:///etc/passwd" }, code: models.Forbidden, says: "from http to file"},
		"password":     {location: func(int) string { return "http://a:b@127.0.0.1/" }, code: models.Forbidden, says: "password"},
		"to other host": {location: func(hop int) string {
			return other.URL + "/#part"
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			hop := -1
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				hop++
				if to := test.location(hop); to != "" {
					w.Header().Set("Location", to)
					w.WriteHeader(http.StatusFound)
				}
			})
			g := newGuard(t, egress.Config{Allow: loopback()})
			header := http.Header{"Authorization": {"Bearer canary"}, "Private-Token": {"canary"}, "Cookie": {"a=canary"}, "Accept": {"text/plain"}}
			_, err := g.Fetch(t.Context(), server.URL, 100, header)
			if test.code != "" {
				wantCode(t, err, test.code, test.says)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
	if seen.Get("Accept") != "text/plain" || seen.Get("User-Agent") == "" {
		t.Errorf("harmless headers got lost: %v", seen)
	}
	for name, values := range seen {
		if strings.Contains(strings.Join(values, " "), "canary") || name == "Referer" {
			t.Errorf("header %s went to another host", name)
		}
	}
}

func TestGuard_HTTPClient_NoDowngrade(t *testing.T) {
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusMovedPermanently))
	t.Cleanup(secure.Close)
	pool := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	g := newGuard(t, egress.Config{Allow: loopback(), RootCAs: pool})
	_, err := g.Fetch(t.Context(), secure.URL, 100, nil)
	wantCode(t, err, models.Forbidden, "from https to http")

	strict := newGuard(t, egress.Config{Allow: loopback()})
	_, err = strict.Fetch(t.Context(), secure.URL, 100, nil)
	wantCode(t, err, models.Unavailable, "certificate")
}

func TestGuard_Fetch_Limits(t *testing.T) {
	bomb := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		zeros := make([]byte, 1<<20)
		for range 64 {
			if _, err := zip.Write(zeros); err != nil {
				return
			}
		}
		_ = zip.Close()
	}
	exact := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) }
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		max     int64
		code    models.Code
	}{
		"gzip bomb": {bomb, 1 << 20, models.Unavailable},
		"endless":   {endless, 1 << 20, models.Unavailable},
		"one over":  {exact, 999, models.Unavailable},
		"fits":      {exact, 1000, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(t, egress.Config{Allow: loopback()})
			page, err := g.Fetch(t.Context(), serve(t, test.handler).URL, test.max, nil)
			if test.code != "" {
				wantCode(t, err, test.code, "more than")
				return
			}
			if err != nil || len(page.Body) != 1000 {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestGuard_Fetch_SlowDripEnds(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	g := newGuard(t, egress.Config{Allow: loopback(), Timeout: 300 * time.Millisecond})
	start := time.Now()
	_, err := g.Fetch(t.Context(), server.URL, 1<<20, nil)
	wantCode(t, err, models.Unavailable, "did not answer in time")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Fetch(ctx, server.URL, 100, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled fetch: %v", err)
	}
}

func TestGuard_Fetch_Answers(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/304":
			if r.Header.Get("If-None-Match") == `"a"` {
				w.WriteHeader(http.StatusNotModified)
			}
		case "/404":
			w.WriteHeader(http.StatusNotFound)
		case "/401":
			w.WriteHeader(http.StatusUnauthorized)
		case "/429":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.Header().Set("ETag", `"a"`)
			_, _ = io.WriteString(w, "hello")
		}
	})
	g := newGuard(t, egress.Config{Allow: loopback()})
	page, err := g.Fetch(t.Context(), server.URL+"/ok", 100, nil)
	if err != nil || string(page.Body) != "hello" || page.Header.Get("ETag") != `"a"` || page.URL != server.URL+"/ok" {
		t.Fatalf("got %+v, %v", page, err)
	}
	page, err = g.Fetch(t.Context(), server.URL+"/304", 100, http.Header{"If-None-Match": {`"a"`}})
	if err != nil || page.Status != http.StatusNotModified {
		t.Fatalf("got %+v, %v", page, err)
	}
	for path, code := range map[string]models.Code{
		"/404": models.NotFound, "/401": models.Forbidden, "/429": models.Unavailable, "/500": models.Unavailable,
	} {
		_, err := g.Fetch(t.Context(), server.URL+path, 100, nil)
		wantCode(t, err, code, "127.0.0.1")
	}
	server.Close()
	_, err = g.Fetch(t.Context(), server.URL, 100, nil)
	wantCode(t, err, models.Unavailable, "refuses connections")
	_, err = g.Fetch(t.Context(), "ssh://example.org/x", 100, nil)
	wantCode(t, err, models.Invalid)
}

func TestGuard_HTTPClient_IgnoresProxyEnvironment(t *testing.T) {
	var hits atomic.Int32
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	t.Setenv("http_proxy", proxy.URL)
	t.Setenv("HTTP_PROXY", proxy.URL)
	target := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, bytes.NewReader([]byte("direct"))) })
	g := newGuard(t, egress.Config{Allow: loopback()})
	page, err := g.Fetch(t.Context(), target.URL, 100, nil)
	if err != nil || string(page.Body) != "direct" || hits.Load() != 0 {
		t.Errorf("got %v, %v; proxy hits %d", page, err, hits.Load())
	}
}
