package egress_test

import (
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"

	"hefring/internal/egress"
)

func TestGuard_HTTPClient_FewOpenConnections(t *testing.T) {
	for _, protocol := range []string{"HTTP/2.0", "HTTP/1.1"} {
		t.Run(protocol, func(t *testing.T) {
			var open, most, hosts atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != protocol {
					w.WriteHeader(http.StatusTeapot)
				}
			}))
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					hosts.Add(1)
					most.Store(max(most.Load(), open.Add(1)))
				case http.StateClosed:
					open.Add(-1)
				default:
				}
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			_, port, err := net.SplitHostPort(server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			pool := x509.NewCertPool()
			pool.AddCert(server.Certificate())
			g := newGuard(t, egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: pool, Resolver: rebinder(t, "127.0.0.1")})
			for i := range 400 {
				// The server's certificate is for example.com and the hosts below it.
				if _, err := g.Fetch(t.Context(), "https://host"+strconv.Itoa(i)+".example.com:"+port, 100, nil); err != nil {
					t.Fatal(err)
				}
			}
			if hosts.Load() != 400 || most.Load() > 200 {
				t.Errorf("%d hosts were reached over at most %d connections at a time", hosts.Load(), most.Load())
			}
		})
	}
}
