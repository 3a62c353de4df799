package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"hefring/models"
)

// Page is what a Fetch or Download brought.
type Page struct {
	URL    string // after redirects
	Status int    // 200 to 299, or 304
	Header http.Header
	Body   []byte // of a Fetch
	Size   int64  // of the body in bytes, after decompression
}

// Fetch gets an http or https address. header, which may be nil and may hold
// credentials, goes to the address's own origin only. A body of more than
// maxBytes, counted after decompression, is an error, and so is every status but
// 2xx and 304. The errors are models.Errors for people, with a Reason.
func (g *Guard) Fetch(ctx context.Context, rawURL string, maxBytes int64, header http.Header) (*Page, error) {
	var body bytes.Buffer
	page, err := g.get(ctx, g.HTTPClient(), rawURL, &body, maxBytes, header)
	if err != nil {
		return nil, err
	}
	page.Body = body.Bytes()
	return page, nil
}

// Download is Fetch for large bodies: it writes the body to w as it comes. It
// takes as long as bytes keep coming, within a wide limit. After an error w may
// hold a part of the body.
func (g *Guard) Download(ctx context.Context, rawURL string, w io.Writer, maxBytes int64, header http.Header) (*Page, error) {
	ctx, cancel := context.WithTimeout(ctx, g.config.Download)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stall := time.AfterFunc(g.config.Stall, func() { stop(context.DeadlineExceeded) })
	defer stall.Stop()
	client := g.HTTPClient()
	client.Timeout = 0
	page, err := g.get(ctx, client, rawURL, &lively{w, stall, g.config.Stall}, maxBytes, header)
	if err != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return nil, timedOut(hostOf(rawURL), err)
	}
	return page, err
}

// lively puts a timer off with each write.
type lively struct {
	io.Writer
	timer *time.Timer
	wait  time.Duration
}

func (l *lively) Write(p []byte) (int, error) {
	l.timer.Reset(l.wait)
	return l.Writer.Write(p)
}

func (g *Guard) get(ctx context.Context, client *http.Client, rawURL string, w io.Writer, maxBytes int64, header http.Header) (*Page, error) {
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
	resp, err := client.Do(req)
	if err != nil {
		return nil, Explain(u.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := CheckStatus(u.Host, resp); err != nil {
		return nil, err
	}
	size, err := copyBody(w, resp.Body, maxBytes, u.Host)
	if err != nil {
		return nil, err
	}
	return &Page{URL: resp.Request.URL.String(), Status: resp.StatusCode, Header: resp.Header, Size: size}, nil
}

// copyBody keeps apart what failed: the other side, or the place that is
// written to.
func copyBody(w io.Writer, body io.Reader, maxBytes int64, host string) (int64, error) {
	buf := make([]byte, 32<<10)
	for size := int64(0); ; {
		n, err := body.Read(buf)
		size += int64(n)
		if size > maxBytes {
			return size, models.Errorf(models.Unavailable, "%s sent more than the %d bytes that are accepted.", host, maxBytes).
				Because(models.ReasonTooLarge)
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return size, fmt.Errorf("write what %s sent: %w", host, err)
		}
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, Explain(host, err)
		}
	}
}
