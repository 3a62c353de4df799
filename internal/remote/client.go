package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// Client is a worker's way to the control plane.
type Client struct {
	Base string       // address of the dashboard
	Key  string       // what the worker shows; "" before it joined
	HTTP *http.Client // trusts the control plane's certificate
}

// answerTime is how long an answer may take to begin, and a pause in it may last.
const answerTime = time.Minute

// CheckAddress refuses addresses that no worker should use: without TLS, others read
// what is sent, unless plain says that the network is private.
func CheckAddress(base string, plain bool) error {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return models.InvalidField("url", "Use the address of the dashboard, such as https://hefring.example.org.")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "https" || plain || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return models.InvalidField("url", "Use https://, or say with --plain-http that nobody listens on the network between the hosts.")
}

// Join shows a one-time token and gives the sealed credentials.
func (c *Client) Join(ctx context.Context, in fleet.JoinRequest) ([]byte, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	ctx, stop := context.WithTimeout(ctx, answerTime)
	defer stop()
	body, err := c.ask(ctx, http.MethodPost, "join", bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	var got joined
	if err := json.NewDecoder(io.LimitReader(body, maxRequest)).Decode(&got); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return got.Sealed, nil
}

// Fetch gives the archive of the wanted files of a platform, or of its manifest; see
// platforms.Store.Pack.
func (c *Client) Fetch(ctx context.Context, platformID int64, wanted []byte) (io.ReadCloser, error) {
	ctx, stop := context.WithCancel(ctx)
	timer := time.AfterFunc(answerTime, stop)
	body, err := c.ask(ctx, http.MethodPost, fmt.Sprintf("platforms/%d", platformID), bytes.NewReader(wanted))
	if err != nil {
		timer.Stop()
		stop()
		return nil, err
	}
	return &watched{body, timer, stop}, nil
}

// watched gives an archive up that pauses for too long.
type watched struct {
	body  io.ReadCloser
	timer *time.Timer
	stop  func()
}

// Read reads on.
func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(answerTime)
	return w.body.Read(p)
}

// Close hangs up.
func (w *watched) Close() error {
	w.timer.Stop()
	defer w.stop()
	return w.body.Close()
}

func (c *Client) ask(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.Base, "/")+Prefix+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask the control plane: %w", err)
	}
	if c.Key != "" {
		request.Header.Set("Authorization", "Bearer "+c.Key)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the control plane: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer func() { _ = response.Body.Close() }()
	var said failure
	if err := json.NewDecoder(io.LimitReader(response.Body, maxRequest)).Decode(&said); err != nil || said.Message == "" {
		return nil, fmt.Errorf("ask the control plane: it answers %s", response.Status)
	}
	if said.Code == "" || said.Code == models.Unavailable {
		return nil, errors.New(said.Message) // it may pass
	}
	return nil, models.Errorf(said.Code, "%s", said.Message)
}
