// Package egress is the only way out to addresses that users gave. Every
// connection is checked when it is made, on the address that the name resolved
// to, so neither a clever name nor a redirect reaches the machine itself or its
// neighbours. Child programs get the same rules through a proxy on a unix
// socket.
package egress

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"hefring/models"
)

// Config is how a Guard decides. Zero values mean the defaults named.
type Config struct {
	Allow        []netip.Prefix // addresses that are reached although they are not public
	MaxRedirects int            // 3
	Timeout      time.Duration  // of one request with its body; 60 s
	Download     time.Duration  // of one Download; 30 min
	Stall        time.Duration  // of a Download without a byte; 60 s
	RootCAs      *x509.CertPool // the system's; see LoadAuthorities
	CAFile       string         // what CAFile gives; "" for the system's
	Resolver     *net.Resolver  // the system's

	ProxyConns   int           // connections of one proxy at a time; 64
	ProxyBytes   int64         // that one proxy passes on, both ways; 8 GiB
	ProxyIdle    time.Duration // after which a silent tunnel is closed; 2 min
	ProxyTimeout time.Duration // of one tunnel or request; 2 h
}

// Guard lets out what it may. It may be used by many goroutines.
type Guard struct {
	config    Config
	dialer    *net.Dialer
	transport *http.Transport
	plain     *http.Transport // passes bodies on as they are
	meter     *Meter          // nil: nothing is counted
}

const userAgent = "Hefring"

// New makes a Guard.
func New(c Config) *Guard {
	c.Allow = slices.Clone(c.Allow)
	c.MaxRedirects = cmp.Or(c.MaxRedirects, 3)
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	c.Download = cmp.Or(c.Download, 30*time.Minute)
	c.Stall = cmp.Or(c.Stall, time.Minute)
	c.ProxyConns = cmp.Or(c.ProxyConns, 64)
	c.ProxyBytes = cmp.Or(c.ProxyBytes, 8<<30)
	c.ProxyIdle = cmp.Or(c.ProxyIdle, 2*time.Minute)
	c.ProxyTimeout = cmp.Or(c.ProxyTimeout, 2*time.Hour)
	g := &Guard{config: c}
	g.dialer = &net.Dialer{
		Timeout:        15 * time.Second,
		KeepAlive:      30 * time.Second,
		Resolver:       c.Resolver,
		ControlContext: g.control,
	}
	conns := &openConns{dial: g.dialer.DialContext, closeIdle: g.Close}
	g.transport = &http.Transport{
		DialContext:            conns.connect,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.RootCAs},
		TLSHandshakeTimeout:    15 * time.Second,
		ResponseHeaderTimeout:  time.Minute,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        time.Minute,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    4,
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
	}
	g.plain = g.transport.Clone()
	g.plain.DisableCompression = true
	return g
}

// RootCAs are the authorities that are trusted; nil for the system's. They are for
// addresses that the operator gave, which this package is not about.
func (g *Guard) RootCAs() *x509.CertPool { return g.config.RootCAs }

// Close ends the connections that are kept for later requests.
func (g *Guard) Close() {
	g.transport.CloseIdleConnections()
	g.plain.CloseIdleConnections()
}

// control sees every socket before it connects, with the resolved address.
func (g *Guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return models.Errorf(models.Forbidden, "Connections of kind %s are not made to foreign addresses.", network).
			Because(models.ReasonAddressBlocked)
	}
	addrPort, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("check address %s: %w", address, err)
	}
	return g.CheckAddr(addrPort.Addr())
}

// DialContext connects to a TCP address under the Guard's rules.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return g.dialer.DialContext(ctx, network, address)
}

// CAFile is a file with every certificate authority that is trusted, for
// programs of others; "" means the system's own.
func (g *Guard) CAFile() string { return g.config.CAFile }

// HTTPClient gives a client under the Guard's rules: checked addresses, few
// redirects, never from https to http, no credentials to another host. Its
// Timeout covers the body. Bodies are not limited; Fetch does that.
func (g *Guard) HTTPClient() *http.Client {
	return &http.Client{Transport: g.roundTripper(), Timeout: g.config.Timeout, CheckRedirect: g.checkRedirect}
}

// kept names the headers that may follow a redirect to another host.
func kept(name string) bool {
	switch name {
	case "Accept", "Accept-Language", "User-Agent", "If-None-Match", "If-Modified-Since", "Range", "Git-Protocol", "Content-Type":
		return true
	}
	return false
}

func (g *Guard) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > g.config.MaxRedirects {
		return models.Errorf(models.Unavailable, "%s redirects more than %d times. Use the address it leads to.",
			via[0].URL.Host, g.config.MaxRedirects).Because(models.ReasonURL)
	}
	last := via[len(via)-1].URL
	if req.URL.Scheme != "https" && (req.URL.Scheme != "http" || last.Scheme != "http") {
		return models.Errorf(models.Forbidden, "%s redirects from %s to %s, which is not followed. Use the address it leads to.",
			last.Host, last.Scheme, req.URL.Scheme).Because(models.ReasonURL)
	}
	target := *req.URL
	target.Fragment, target.RawFragment = "", ""
	if err := g.checkParts(&target); err != nil {
		return models.Wrapf(models.Forbidden, err, "%s redirects to an address that is not accepted: %s", last.Host, models.Explain(err)).
			Because(models.ReasonOf(err))
	}
	req.Header.Del("Referer")
	for _, earlier := range via {
		if earlier.URL.Host == req.URL.Host && earlier.URL.Scheme == req.URL.Scheme {
			continue
		}
		for name := range req.Header {
			if !kept(name) {
				req.Header.Del(name)
			}
		}
		break
	}
	return nil
}
