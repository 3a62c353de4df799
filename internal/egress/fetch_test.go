package egress_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/models"
)

func TestGuard_Download(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(body)
	})
	g := newGuard(t, egress.Config{Allow: loopback(), Timeout: time.Nanosecond}) // which is for pages
	var got bytes.Buffer
	page, err := g.Download(t.Context(), server.URL, &got, int64(len(body)), nil)
	if err != nil || !bytes.Equal(got.Bytes(), body) || page.Size != int64(len(body)) || page.Status != 200 {
		t.Fatalf("got %d bytes, %v", got.Len(), err)
	}
	got.Reset()
	page, err = g.Download(t.Context(), server.URL, &got, 10, http.Header{"If-None-Match": {`"a"`}})
	if err != nil || page.Status != http.StatusNotModified || got.Len() != 0 {
		t.Errorf("got %+v, %v", page, err)
	}
	_, err = g.Download(t.Context(), server.URL, io.Discard, int64(len(body))-1, nil)
	wantReason(t, err, models.ReasonTooLarge)
	_, err = g.Download(t.Context(), server.URL, full{}, int64(len(body)), nil)
	if !errors.Is(err, errFull) || models.CodeOf(err) != "" {
		t.Errorf("our own failure is put down to the server: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Download(ctx, server.URL, io.Discard, 10, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

var errFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestGuard_Download_Ends(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			if r.URL.Path == "/stalls" && n == 10 {
				<-r.Context().Done()
				return
			}
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
	for path, config := range map[string]egress.Config{
		"/stalls": {Allow: loopback(), Stall: 200 * time.Millisecond},
		"/drips":  {Allow: loopback(), Download: 300 * time.Millisecond},
	} {
		start := time.Now()
		_, err := newGuard(t, config).Download(t.Context(), server.URL+path, io.Discard, 1<<20, nil)
		wantReason(t, err, models.ReasonTimeout)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %s", path, took)
		}
	}
}

// The way back to the first host does not bring its credentials back.
func TestGuard_Fetch_CredentialsStayAtOrigin(t *testing.T) {
	var first, other string
	var seen []string
	here := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, "here "+r.URL.Path+" "+r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/same":
			http.Redirect(w, r, "/end", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other+"/back", http.StatusFound)
		}
	})
	there := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, "there "+r.URL.Path+" "+r.Header.Get("Authorization"))
		http.Redirect(w, r, first+"/end", http.StatusFound)
	})
	first, other = here.URL, there.URL
	g := newGuard(t, egress.Config{Allow: loopback()})
	header := http.Header{"Authorization": {"Bearer canary"}}
	for _, metered := range []*egress.Guard{g, g.Metered(new(egress.Meter))} {
		seen = nil
		for _, path := range []string{"/same", "/away"} {
			if _, err := metered.Download(t.Context(), first+path, io.Discard, 1000, header); err != nil {
				t.Fatal(err)
			}
		}
		want := "here /same Bearer canary|here /end Bearer canary|here /away Bearer canary|there /back |here /end "
		if got := strings.Join(seen, "|"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if header.Get("User-Agent") != "" {
		t.Error("the caller's header was changed")
	}
}

// A name that is public when somebody looks, and this machine when the
// connection is made.
func TestGuard_Fetch_RebindingToLoopback(t *testing.T) {
	var hits atomic.Int32
	server := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	resolver := rebinder(t, "93.184.216.34", "127.0.0.1")
	g := newGuard(t, egress.Config{Resolver: resolver})
	addrs, err := resolver.LookupNetIP(t.Context(), "ip4", "rebind.test")
	if err != nil || len(addrs) != 1 || g.CheckAddr(addrs[0]) != nil {
		t.Fatalf("the first answer is to be public: %v, %v", addrs, err)
	}
	_, err = g.Fetch(t.Context(), "http://rebind.test:"+port, 100, nil)
	wantReason(t, err, models.ReasonAddressBlocked)
	if !strings.Contains(models.Explain(err), "127.0.0.1") || hits.Load() != 0 {
		t.Errorf("%d requests, %v", hits.Load(), err)
	}
}

func TestGuard_Metered(t *testing.T) {
	text := strings.Repeat("the same again and again ", 4000)
	var conns atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/redirect":
			http.Redirect(w, r, "/packed", http.StatusFound)
		case r.URL.Path == "/none":
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusNotModified)
		case r.URL.Path == "/plain" || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"):
			_, _ = io.WriteString(w, text)
		default:
			w.Header().Set("Content-Encoding", "gzip")
			zip := gzip.NewWriter(w)
			_, _ = io.WriteString(zip, text)
			_ = zip.Close()
		}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	g := newGuard(t, egress.Config{Allow: loopback()})
	for _, test := range []struct {
		path           string
		requests       int64
		atLeast, below int64
	}{
		{"/plain", 1, int64(len(text)), int64(len(text)) + 400},
		{"/packed", 1, 200, 4000},
		{"/redirect", 2, 200, 4000},
		{"/none", 1, 20, 400},
	} {
		var m egress.Meter
		page, err := g.Metered(&m).Fetch(t.Context(), server.URL+test.path, 1<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.path != "/none" && string(page.Body) != text {
			t.Errorf("%s: got %d bytes", test.path, len(page.Body))
		}
		if m.Requests() != test.requests || m.Received() < test.atLeast || m.Received() >= test.below {
			t.Errorf("%s: %d requests, %d bytes", test.path, m.Requests(), m.Received())
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections; they are to be shared", n)
	}
}

func TestProxy_Metered(t *testing.T) {
	plain := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 5000)) })
	secure, roots := secureServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 5000)) })
	for _, address := range []string{plain.URL, secure.URL} {
		var m egress.Meter
		g := newGuard(t, egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}).Metered(&m)
		proxy, err := g.ServeProxy(t.Context(), filepath.Join(t.TempDir(), "proxy.sock"), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		client := through(t, proxy, roots)
		if status, body, err := get(t, client, address); err != nil || status != 200 || len(body) != 5000 {
			t.Errorf("got %d, %d bytes, %v", status, len(body), err)
		}
		client.CloseIdleConnections()
		proxy.Close()
		if m.Requests() != 1 || m.Received() < 5000 || m.Received() > 9000 {
			t.Errorf("%s: %d requests, %d bytes", address, m.Requests(), m.Received())
		}
	}
}
