package egress

import (
	"compress/gzip"
	"io"
	"net/http"
	"sync/atomic"
)

// Meter counts what was asked and received through the Guards that it was given
// to. The zero value is ready; it may be read at any time.
type Meter struct{ requests, received atomic.Int64 }

// Requests is the number of requests, those after a redirect included; a tunnel
// through a Proxy counts as one.
func (m *Meter) Requests() int64 { return m.requests.Load() }

// Received is the number of bytes that came in: heads and bodies of answers as
// they were sent, and what came through tunnels.
func (m *Meter) Received() int64 { return m.received.Load() }

func (m *Meter) ask() {
	if m != nil {
		m.requests.Add(1)
	}
}

func (m *Meter) receive(n int) {
	if m != nil {
		m.received.Add(int64(n))
	}
}

// Metered gives the same Guard, with the same connections, whose traffic m
// counts.
func (g *Guard) Metered(m *Meter) *Guard {
	metered := *g
	metered.meter = m
	return &metered
}

func (g *Guard) roundTripper() http.RoundTripper {
	if g.meter == nil {
		return g.transport
	}
	return meteredTransport{g.plain, g.meter}
}

// meteredTransport unpacks bodies itself, as http.Transport would, so that it
// can count them before.
type meteredTransport struct {
	plain *http.Transport
	meter *Meter
}

func (t meteredTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.meter.ask()
	unpack := req.Header.Get("Accept-Encoding") == "" && req.Header.Get("Range") == "" && req.Method != http.MethodHead
	if unpack {
		req = req.Clone(req.Context())
		req.Header.Set("Accept-Encoding", "gzip")
	}
	resp, err := t.plain.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	t.meter.receive(headSize(resp))
	resp.Body = &countedBody{resp.Body, t.meter}
	if unpack && resp.ContentLength != 0 && resp.Header.Get("Content-Encoding") == "gzip" {
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		resp.ContentLength, resp.Uncompressed = -1, true
		resp.Body = &gzipBody{packed: resp.Body}
	}
	return resp, nil
}

// headSize is what the head of an answer takes in HTTP/1.1.
func headSize(resp *http.Response) int {
	size := len("HTTP/1.1 \r\n\r\n") + len(resp.Status)
	for name, values := range resp.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return size
}

type countedBody struct {
	io.ReadCloser
	meter *Meter
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.meter.receive(n)
	return n, err
}

// gzipBody begins to unpack at the first read.
type gzipBody struct {
	packed io.ReadCloser
	reader *gzip.Reader
	failed error
}

func (b *gzipBody) Read(p []byte) (int, error) {
	if b.reader == nil && b.failed == nil {
		b.reader, b.failed = gzip.NewReader(b.packed)
	}
	if b.failed != nil {
		return 0, b.failed
	}
	return b.reader.Read(p)
}

func (b *gzipBody) Close() error { return b.packed.Close() }
