package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hefring/models"
)

// Proxy is an HTTP forward proxy on a unix socket, the way out for one sandboxed
// program.
type Proxy struct {
	guard   *Guard
	allow   func(host string, port int) bool
	log     *slog.Logger
	server  *http.Server
	socket  string
	forward *httputil.ReverseProxy
	slots   chan struct{}
	left    atomic.Int64 // bytes that may still pass
	stop    context.CancelFunc
	done    chan struct{}  // closed when everything has ended
	served  sync.WaitGroup // the accept loop and the requests

	mu      sync.Mutex
	closed  bool
	refused error
	failed  error
}

// ServeProxy starts a proxy on a new unix socket at socketPath until ctx ends or
// Close is called. It speaks plain HTTP requests and CONNECT under the Guard's
// rules; allowHosts, which may be nil, narrows them to certain hosts. Every local
// user may use the socket, so its folder must keep out those who should not; a
// sandbox gets the socket alone. log may be nil.
func (g *Guard) ServeProxy(ctx context.Context, socketPath string, allowHosts func(host string, port int) bool, log *slog.Logger) (*Proxy, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if allowHosts == nil {
		allowHosts = func(string, int) bool { return true }
	}
	ln, err := listen(ctx, socketPath)
	if err != nil {
		return nil, fmt.Errorf("serve proxy: %w", err)
	}
	p := &Proxy{
		guard: g, allow: allowHosts, log: log, socket: socketPath,
		slots: make(chan struct{}, g.config.ProxyConns), done: make(chan struct{}),
	}
	ctx, p.stop = context.WithCancel(ctx)
	p.left.Store(g.config.ProxyBytes)
	p.forward = &httputil.ReverseProxy{
		Rewrite:       func(*httputil.ProxyRequest) {},
		Transport:     g.plain,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ModifyResponse: func(r *http.Response) error {
			g.meter.receive(headSize(r))
			r.Body = &meteredBody{r.Body, p, g.meter}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { p.fail(w, r.URL.Hostname(), err) },
	}
	p.server = &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          p.forward.ErrorLog,
	}
	p.served.Go(func() { _ = p.server.Serve(ln) })
	context.AfterFunc(ctx, p.shutDown)
	return p, nil
}

// maxSocketPath is what fits into a socket address with its final zero.
const maxSocketPath = 107

func listen(ctx context.Context, path string) (net.Listener, error) {
	address := path
	if len(path) > maxSocketPath {
		dir, err := os.Open(filepath.Dir(path))
		if err != nil {
			return nil, err
		}
		defer func() { _ = dir.Close() }()
		address = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	}
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "unix", address)
	if err != nil {
		return nil, err
	}
	if unix, ok := ln.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // Close removes it under its own name
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // its users have other ids; the folder guards it
		return nil, errors.Join(err, ln.Close(), os.Remove(path))
	}
	return ln, nil
}

// Socket is the path of the proxy's unix socket.
func (p *Proxy) Socket() string { return p.socket }

// Close ends the proxy with all its connections and removes its socket. It may
// be called more than once.
func (p *Proxy) Close() {
	p.stop()
	<-p.done
}

func (p *Proxy) shutDown() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.server.Close()
	if rm := os.Remove(p.socket); !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	if err != nil {
		p.log.Warn("close egress proxy", slog.Any("error", err))
	}
	p.served.Wait()
	close(p.done)
}

// begin counts a request that Close waits for; false when it is too late.
func (p *Proxy) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.served.Add(1)
	}
	return !p.closed
}

// Refused is the last refusal, for telling people why a program could not fetch
// something; nil when everything was let through.
func (p *Proxy) Refused() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// Failed is the last connection that was allowed and did not come about, as a
// models.Error; nil when there was none. Programs tend to try again, so it
// matters only when the program failed.
func (p *Proxy) Failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// ServeHTTP handles one request of a program.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.begin() {
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	}
	defer p.served.Done()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		p.refuse(w, http.StatusServiceUnavailable, models.Errorf(models.Unavailable,
			"More than %d connections at a time were asked for.", cap(p.slots)))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.guard.config.ProxyTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	if r.Method == http.MethodConnect {
		p.connect(w, r)
		return
	}
	if r.URL.Scheme != "http" || r.URL.Host == "" || r.URL.User != nil {
		p.refuse(w, http.StatusBadRequest, models.Errorf(models.Invalid,
			"Only CONNECT and requests with an http address are forwarded."))
		return
	}
	if err := p.check(r.URL.Hostname(), r.URL.Port(), 80); err != nil {
		p.refuse(w, http.StatusForbidden, err)
		return
	}
	p.guard.meter.ask()
	r.Body = &meteredBody{r.Body, p, nil}
	p.forward.ServeHTTP(w, r)
}

// check says whether a program may go to host.
func (p *Proxy) check(host, port string, standard int) error {
	number := standard
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return models.Errorf(models.Invalid, "The port %q is not a number from 1 to 65535.", port)
		}
		number = n
	}
	if host == "" || number == 0 || strings.ContainsAny(host, "/@%\\ ") {
		return models.Errorf(models.Invalid, "The host or port to connect to is not valid.")
	}
	if !p.allow(host, number) {
		return models.Errorf(models.Forbidden, "Connections to %s are not allowed here.", net.JoinHostPort(host, strconv.Itoa(number))).
			Because(models.ReasonAddressBlocked)
	}
	if p.left.Load() <= 0 {
		return p.overspent()
	}
	return nil
}

func (p *Proxy) overspent() error {
	return models.Errorf(models.Forbidden, "More than the %d bytes that one task may transfer were asked for.", p.guard.config.ProxyBytes).
		Because(models.ReasonTooLarge)
}

func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		p.refuse(w, http.StatusBadRequest, models.Wrapf(models.Invalid, err, "CONNECT wants host:port."))
		return
	}
	if err := p.check(host, port, 0); err != nil {
		p.refuse(w, http.StatusForbidden, err)
		return
	}
	p.guard.meter.ask()
	target, err := p.guard.DialContext(r.Context(), "tcp", net.JoinHostPort(host, port))
	if err != nil {
		p.fail(w, host, err)
		return
	}
	defer func() { _ = target.Close() }()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.fail(w, host, err)
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	// The server's own reader would end r's context at the first end of file,
	// though the other direction may still be running.
	early, err := buffered.Peek(buffered.Reader.Buffered())
	if err != nil {
		return
	}
	p.tunnel(r.Context(), conn, io.MultiReader(bytes.NewReader(early), conn), target)
}

// tunnel copies both ways until both sides have ended, nothing has come for a
// while, the bytes are used up, or ctx ends.
func (p *Proxy) tunnel(ctx context.Context, conn net.Conn, fromConn io.Reader, target net.Conn) {
	end := func() {
		_ = conn.Close()
		_ = target.Close()
	}
	defer context.AfterFunc(ctx, end)()
	idle := time.AfterFunc(p.guard.config.ProxyIdle, end)
	defer idle.Stop()

	var both sync.WaitGroup
	both.Go(func() { p.pump(target, fromConn, nil, idle, end) })
	both.Go(func() { p.pump(conn, target, p.guard.meter, idle, end) })
	both.Wait()
}

func (p *Proxy) pump(dst net.Conn, src io.Reader, meter *Meter, idle *time.Timer, end func()) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			idle.Reset(p.guard.config.ProxyIdle)
			meter.receive(n)
			if !p.spend(n) {
				end()
				return
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				end()
				return
			}
		}
		if err != nil {
			break
		}
	}
	if half, ok := dst.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// spend counts n bytes; false when they are too many.
func (p *Proxy) spend(n int) bool {
	if p.left.Add(-int64(n)) >= 0 {
		return true
	}
	p.record(p.overspent())
	return false
}

func (p *Proxy) record(err error) {
	p.log.Warn("egress refused", slog.String("reason", models.Explain(err)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = err
}

func (p *Proxy) refuse(w http.ResponseWriter, status int, err error) {
	p.record(err)
	http.Error(w, models.Explain(err), status)
}

// fail answers when a connection did not come about: 403 when the Guard is the
// cause, else 502.
func (p *Proxy) fail(w http.ResponseWriter, host string, err error) {
	err = Explain(host, err)
	if models.CodeOf(err) == models.Forbidden {
		p.refuse(w, http.StatusForbidden, err)
		return
	}
	p.log.Info("egress failed", slog.String("host", host), slog.Any("error", err))
	p.mu.Lock()
	p.failed = err
	p.mu.Unlock()
	http.Error(w, models.Explain(err), http.StatusBadGateway)
}

// meteredBody counts what is read.
type meteredBody struct {
	io.ReadCloser
	proxy *Proxy
	meter *Meter
}

func (b *meteredBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	b.meter.receive(n)
	if n > 0 && !b.proxy.spend(n) {
		return 0, b.proxy.overspent()
	}
	return n, err
}
