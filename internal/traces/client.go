package traces

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Times of sending. The library gives each batch 30 s altogether.
const (
	answerLimit = 10 * time.Second
	firstPause  = time.Second // before a batch is sent again; then twice that, and so on
	longPause   = 20 * time.Second
)

// client sends batches by OTLP over HTTP, in protobuf:
// https://opentelemetry.io/docs/specs/otlp/#otlphttp
// OpenTelemetry's own client does the same, and links gRPC into every program.
type client struct {
	url    string
	header http.Header
	http   *http.Client
	logger *slog.Logger
	ended  chan struct{} // closed when nothing is to be sent any more
	silent atomic.Bool   // the collector does not take what it is sent, and that was said
}

func newClient(c Config) *client {
	header := c.header()
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: answerLimit, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
		TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
	}
	return &client{
		url: strings.TrimRight(c.Endpoint, "/") + "/v1/traces", header: header, logger: c.Logger, ended: make(chan struct{}),
		http: &http.Client{
			Transport: transport, Timeout: answerLimit,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the headers are for this address
		},
	}
}

// header is what each batch is sent with.
func (c Config) header() http.Header {
	header := c.Headers.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/x-protobuf")
	header.Set("User-Agent", "hefring/"+c.Version)
	return header
}

// Start has nothing to do.
func (c *client) Start(context.Context) error { return nil }

// Stop lets connections go.
func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces sends a batch. That it fails is for the program's log, once until it
// works again, and keeps nobody from anything.
func (c *client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// TracesData has the same bytes as the request, whose package links gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("write traces: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-c.ended:
			stop()
		case <-ctx.Done():
		}
	}()
	err = c.send(ctx, body)
	switch was := c.silent.Swap(err != nil); {
	case err != nil && !was:
		c.logger.WarnContext(ctx, "traces are lost: the collector does not take them", slog.String("url", c.url), slog.Any("error", err))
	case err == nil && was:
		c.logger.InfoContext(ctx, "the collector takes traces again", slog.String("url", c.url))
	}
	return nil
}

// send tries until the collector takes the batch, refuses it, or ctx ends.
func (c *client) send(ctx context.Context, body []byte) error {
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		after, err := c.post(ctx, body)
		if err == nil || after < 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(max(after, pause)):
		}
	}
}

// post sends a batch once. After a failure it may be sent again after a while; a
// negative time says that it is refused for good.
func (c *client) post(ctx context.Context, body []byte) (again time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return -1, fmt.Errorf("send traces: %w", err)
	}
	request.Header = c.header
	answer, err := c.http.Do(request)
	if err != nil {
		return 0, fmt.Errorf("send traces: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16)) // so that the connection can be used again
	switch answer.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		seconds = min(max(seconds, 0), int(longPause/time.Second)) // before it is a duration, which has no room for all
		return time.Duration(seconds) * time.Second, fmt.Errorf("send traces: it answers %s", answer.Status)
	default:
		return -1, fmt.Errorf("send traces: it answers %s", answer.Status)
	}
}
