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
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"hefring/models"
)

// Config is how a Guard decides. Zero values mean the defaults named.
type Config struct {
	Allow        []netip.Prefix // addresses that are reached although they are not public
	MaxRedirects int            // 3
	Timeout      time.Duration  // of one request with its body; 60 s
	RootCAs      *x509.CertPool // the system's
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
	plain     *http.Transport // of the proxy: passes bodies on as they are
}

const userAgent = "Hefring"

// New makes a Guard.
func New(c Config) *Guard {
	c.Allow = slices.Clone(c.Allow)
	c.MaxRedirects = cmp.Or(c.MaxRedirects, 3)
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
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
	g.transport = &http.Transport{
		DialContext:            g.dialer.DialContext,
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

// Close ends the connections that are kept for later requests.
func (g *Guard) Close() {
	g.transport.CloseIdleConnections()
	g.plain.CloseIdleConnections()
}

// control sees every socket before it connects, with the resolved address.
func (g *Guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return models.Errorf(models.Forbidden, "Connections of kind %s are not made to foreign addresses.", network)
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

// HTTPClient gives a client under the Guard's rules: checked addresses, few
// redirects, never from https to http, no credentials to another host. Its
// Timeout covers the body. Bodies are not limited; Fetch does that.
func (g *Guard) HTTPClient() *http.Client {
	return &http.Client{Transport: g.transport, Timeout: g.config.Timeout, CheckRedirect: g.checkRedirect}
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
			via[0].URL.Host, g.config.MaxRedirects)
	}
	last := via[len(via)-1].URL
	if req.URL.Scheme != "https" && (req.URL.Scheme != "http" || last.Scheme != "http") {
		return models.Errorf(models.Forbidden, "%s redirects from %s to %s, which is not followed. Use the address it leads to.",
			last.Host, last.Scheme, req.URL.Scheme)
	}
	target := *req.URL
	target.Fragment, target.RawFragment = "", ""
	if err := g.checkParts(&target); err != nil {
		return models.Wrapf(models.Forbidden, err, "%s redirects to an address that is not accepted: %s", last.Host, models.Explain(err))
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

// Page is what a Fetch brought.
type Page struct {
	URL    string // after redirects
	Status int    // 200 to 299, or 304
	Header http.Header
	Body   []byte
}

// Fetch gets an http or https address. header, which may be nil, goes to the
// address's own host only. A body of more than maxBytes, counted after
// decompression, is an error, and so is every status but 2xx and 304. The errors
// are models.Errors for people.
func (g *Guard) Fetch(ctx context.Context, rawURL string, maxBytes int64, header http.Header) (*Page, error) {
	u, err := g.CheckURL(rawURL, "https", "http")
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", u.Host, err)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", userAgent)
	}
	resp, err := g.HTTPClient().Do(req)
	if err != nil {
		return nil, Explain(u.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := checkStatus(u.Host, resp); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes+1))
	if err != nil {
		return nil, Explain(u.Host, err)
	}
	if int64(len(body)) > maxBytes {
		return nil, models.Errorf(models.Unavailable, "%s sent more than the %d bytes that are accepted.", u.Host, maxBytes)
	}
	return &Page{URL: resp.Request.URL.String(), Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

func checkStatus(host string, resp *http.Response) error {
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300, code == http.StatusNotModified:
		return nil
	case code == http.StatusNotFound, code == http.StatusGone:
		return models.Errorf(models.NotFound, "%s has nothing at that address (%d). Check the path.", host, code)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return models.Errorf(models.Forbidden, "%s does not let Hefring read that address (%d).", host, code)
	case code == http.StatusTooManyRequests:
		return models.Errorf(models.Unavailable, "%s asks for fewer requests (429). Try again later.", host)
	default:
		return models.Errorf(models.Unavailable, "%s answered %d.", host, code)
	}
}

// Explain turns an error of a connection to host into one for people: what
// happened, and what may help. An error that is one already stays.
func Explain(host string, err error) error {
	if already, ok := errors.AsType[*models.Error](err); ok {
		return already
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return models.Wrapf(models.Unavailable, err, "The host %s is not known. Check its spelling.", host)
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return models.Wrapf(models.Unavailable, err, "%s did not answer in time.", host)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return models.Wrapf(models.Unavailable, err, "%s refuses connections. Check the host and the port.", host)
	}
	if tlsProblem(err) {
		return models.Wrapf(models.Unavailable, err, "The certificate of %s is not valid here. Its owner must renew it, or an administrator install the authority that signed it.", host)
	}
	return models.Wrapf(models.Unavailable, err, "%s could not be reached.", host)
}

func tlsProblem(err error) bool {
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	return verify || record || strings.Contains(err.Error(), "tls: ")
}
