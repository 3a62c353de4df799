package egress_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/models"
)

func startProxy(t *testing.T, c egress.Config, allow func(string, int) bool) *egress.Proxy {
	t.Helper()
	g := newGuard(t, c)
	proxy, err := g.ServeProxy(t.Context(), filepath.Join(t.TempDir(), "proxy.sock"), allow, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	return proxy
}

// through is a client that knows only the proxy's socket, like a program in a
// sandbox.
func through(t *testing.T, proxy *egress.Proxy, roots *x509.CertPool) *http.Client {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test"})
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", proxy.Socket())
	}
	if roots != nil {
		transport.TLSClientConfig.RootCAs = roots
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func secureServer(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return server, pool
}

func get(t *testing.T, client *http.Client, address string) (int, string, error) {
	t.Helper()
	resp, err := client.Get(address)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// raw sends text to the proxy and gives what it answers.
func raw(t *testing.T, proxy *egress.Proxy, text string) string {
	t.Helper()
	conn, err := net.Dial("unix", proxy.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, text)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
	return fmt.Sprintf("%d %s", resp.StatusCode, body)
}

func TestProxy_PassesAllowed(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %s via %q", r.Method, r.URL.Path, body, r.Header.Get("X-Forwarded-For"))
	}
	plain := serve(t, handler)
	secure, roots := secureServer(t, handler)
	proxy := startProxy(t, egress.Config{Allow: loopback()}, nil)
	client := through(t, proxy, roots)
	for _, address := range []string{plain.URL, secure.URL} {
		if status, body, err := get(t, client, address+"/a"); err != nil || status != 200 || body != `GET /a  via ""` {
			t.Errorf("got %d %q %v", status, body, err)
		}
		resp, err := client.Post(address+"/b", "text/plain", strings.NewReader("sent"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(body) != `POST /b sent via ""` {
			t.Errorf("got %q", body)
		}
	}
	if err := proxy.Refused(); err != nil {
		t.Errorf("refused: %v", err)
	}
}

func TestProxy_RefusesBlocked(t *testing.T) {
	var hits atomic.Int32
	count := func(http.ResponseWriter, *http.Request) { hits.Add(1) }
	plain := serve(t, count)
	secure, roots := secureServer(t, count)
	proxy := startProxy(t, egress.Config{}, nil)
	client := through(t, proxy, roots)
	status, body, err := get(t, client, plain.URL)
	if err != nil || status != http.StatusForbidden || !strings.Contains(body, "--egress-allow 127.0.0.0/8") {
		t.Errorf("plain: got %d %q %v", status, body, err)
	}
	wantCode(t, proxy.Refused(), models.Forbidden, "127.0.0.1", "--egress-allow 127.0.0.0/8")
	if _, _, err := get(t, client, secure.URL); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("CONNECT: got %v", err)
	}
	if answer := raw(t, proxy, "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(answer, "403") {
		t.Errorf("metadata: got %q", answer)
	}
	wantCode(t, proxy.Refused(), models.Forbidden, "169.254.169.254 is link-local")
	if hits.Load() != 0 {
		t.Errorf("the listeners got %d requests", hits.Load())
	}
}

func TestProxy_RefusesRebound(t *testing.T) {
	var hits atomic.Int32
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		w.Header().Set("Connection", "close")
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	proxy := startProxy(t, egress.Config{
		Resolver: rebinder(t, "127.0.0.1", "127.0.0.2"), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}, nil)
	client := through(t, proxy, nil)
	for i, want := range []int{200, 403} {
		if status, body, err := get(t, client, "http://rebind.test:"+port); err != nil || status != want {
			t.Errorf("request %d: got %d %q %v", i, status, body, err)
		}
	}
	if hits.Load() != 1 {
		t.Errorf("the listener got %d requests", hits.Load())
	}
}

func TestProxy_AllowHosts(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	var asked string
	proxy := startProxy(t, egress.Config{Allow: loopback()}, func(host string, port int) bool {
		asked = fmt.Sprint(host, " ", port)
		return false
	})
	status, body, err := get(t, through(t, proxy, nil), server.URL)
	if err != nil || status != 403 || !strings.Contains(body, "not allowed here") {
		t.Errorf("got %d %q %v", status, body, err)
	}
	if want := strings.Replace(strings.TrimPrefix(server.URL, "http://"), ":", " ", 1); asked != want {
		t.Errorf("asked for %q, want %q", asked, want)
	}
	if answer := raw(t, proxy, "CONNECT example.org:443 HTTP/1.1\r\nHost: other.test\r\n\r\n"); !strings.HasPrefix(answer, "403") || asked != "example.org 443" {
		t.Errorf("got %q, asked for %q", answer, asked)
	}
}

func TestProxy_RefusesMalformed(t *testing.T) {
	proxy := startProxy(t, egress.Config{Allow: loopback()}, nil)
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"GET https://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"GET ftp://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://a:b@127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"GET http://127.0.0.1:0/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"CONNECT 127.0.0.1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT 127.0.0.1:0 HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT 127.0.0.1:99999 HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT 127.0.0.1:http HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT :80 HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT /run/docker.sock:80 HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x00\x01\x02\r\n\r\n",
	} {
		if answer := raw(t, proxy, request); !strings.HasPrefix(answer, "40") {
			t.Errorf("%q: got %q", request, answer)
		}
	}
}

func TestProxy_FailedSaysWhy(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	server.Close()
	proxy := startProxy(t, egress.Config{Allow: loopback()}, nil)
	status, body, err := get(t, through(t, proxy, nil), server.URL)
	if err != nil || status != http.StatusBadGateway || !strings.Contains(body, "refuses connections") {
		t.Errorf("got %d %q %v", status, body, err)
	}
	wantCode(t, proxy.Failed(), models.Unavailable, "refuses connections")
	if proxy.Refused() != nil {
		t.Errorf("nothing was refused: %v", proxy.Refused())
	}
}

func TestProxy_ByteLimit(t *testing.T) {
	big := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20)) }
	plain := serve(t, big)
	secure, roots := secureServer(t, big)
	for _, address := range []string{plain.URL, secure.URL} {
		proxy := startProxy(t, egress.Config{Allow: loopback(), ProxyBytes: 200 << 10}, nil)
		client := through(t, proxy, roots)
		_, body, err := get(t, client, address)
		if err == nil || len(body) > 200<<10 {
			t.Errorf("%s: got %d bytes, %v", address, len(body), err)
		}
		wantCode(t, proxy.Refused(), models.Forbidden, "bytes")
		if status, _, err := get(t, client, plain.URL); err != nil || status != 403 {
			t.Errorf("after the limit: %d, %v", status, err)
		}
	}
}

func TestProxy_ConnectionLimit(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	server := serve(t, func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	})
	proxy := startProxy(t, egress.Config{Allow: loopback(), ProxyConns: 1}, nil)
	client := through(t, proxy, nil)
	first := make(chan error, 1)
	go func() {
		resp, err := client.Get(server.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		first <- err
	}()
	<-entered
	if status, _, err := get(t, client, server.URL); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("got %d, %v", status, err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// silent accepts connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	return ln.Addr().String()
}

func openTunnel(t *testing.T, proxy *egress.Proxy, target string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", proxy.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // the tunnel
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", resp, err)
	}
	return conn
}

func TestProxy_TunnelKeepsHalfOpen(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // answers only when everything was sent
		defer close(done)
		for range 20 {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			text, _ := io.ReadAll(conn)
			_, _ = conn.Write(bytes.Repeat(text, 100_000))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	proxy := startProxy(t, egress.Config{Allow: loopback()}, nil)
	for range 20 {
		conn := openTunnel(t, proxy, ln.Addr().String())
		_, _ = io.WriteString(conn, "hello")
		_ = conn.(*net.UnixConn).CloseWrite()
		if text, err := io.ReadAll(conn); err != nil || len(text) != 500_000 {
			t.Fatalf("got %d bytes, %v", len(text), err)
		}
	}
}

func TestProxy_TunnelEnds(t *testing.T) {
	for name, test := range map[string]struct {
		config egress.Config
		end    func(*egress.Proxy)
	}{
		"when idle":        {egress.Config{ProxyIdle: 100 * time.Millisecond}, func(*egress.Proxy) {}},
		"when it is long":  {egress.Config{ProxyTimeout: 100 * time.Millisecond}, func(*egress.Proxy) {}},
		"with the proxy":   {egress.Config{}, func(p *egress.Proxy) { p.Close() }},
		"with a 2nd close": {egress.Config{}, func(p *egress.Proxy) { p.Close(); p.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.Allow = loopback()
			proxy := startProxy(t, test.config, nil)
			conn := openTunnel(t, proxy, silent(t))
			test.end(proxy)
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the tunnel stays open: %v", err)
			}
		})
	}
}

func TestProxy_EndsWithContext(t *testing.T) {
	g := newGuard(t, egress.Config{Allow: loopback()})
	ctx, cancel := context.WithCancel(t.Context())
	path := filepath.Join(t.TempDir(), "proxy.sock")
	proxy, err := g.ServeProxy(ctx, path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn := openTunnel(t, proxy, silent(t))
	cancel()
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the tunnel stays open: %v", err)
	}
	proxy.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	early, err := g.ServeProxy(ctx, path, nil, nil)
	if err == nil {
		early.Close()
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket stays: %v", err)
		}
	}
}

func TestProxy_Socket(t *testing.T) {
	g := newGuard(t, egress.Config{Allow: loopback()})
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 100), strings.Repeat("e", 100))
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{t.TempDir(), deep} {
		path := filepath.Join(dir, "p.sock")
		proxy, err := g.ServeProxy(t.Context(), path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != 0o666 || info.Mode().Type() != os.ModeSocket {
			t.Errorf("got %v, %v", info, err)
		}
		if _, err := g.ServeProxy(t.Context(), path, nil, nil); err == nil {
			t.Error("a second proxy took the same socket")
		}
		proxy.Close()
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket stays: %v", err)
		}
	}
	if _, err := g.ServeProxy(t.Context(), filepath.Join(t.TempDir(), "missing", "p.sock"), nil, nil); err == nil {
		t.Error("a missing folder is no error")
	}
}
