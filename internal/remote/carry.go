package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"hefring/models"
)

// This file is a worker's way to send the archives of a site that leaves its server,
// and to fetch those of one that comes.

// How long an archive is tried again without a byte of it getting through.
const (
	carryTries = 20
	carryPause = 3 * time.Second
)

type size struct {
	Size int64 `json:"size"`
}

func carried(relocationID int64, name string) string {
	return fmt.Sprintf("relocations/%d/%s", relocationID, name)
}

// Send brings a file to the control plane's host. A connection that breaks is made
// anew and goes on where it was.
func (c *Client) Send(ctx context.Context, relocationID int64, name, path string) error {
	file, err := os.Open(path) //nolint:gosec // our own archive
	if err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	at := int64(0)
	return c.patiently(ctx, func() (moved bool, err error) {
		before := at
		if err = c.sendFrom(ctx, relocationID, name, file, at); err == nil {
			return true, nil
		}
		// What got through of it is not sent again.
		if there, failed := c.sizeOf(ctx, relocationID, name); failed == nil && there >= before {
			at = there
		}
		return at > before, err
	})
}

func (c *Client) sendFrom(ctx context.Context, relocationID int64, name string, file *os.File, at int64) error {
	if _, err := file.Seek(at, io.SeekStart); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	timer := time.AfterFunc(answerTime, stop)
	defer timer.Stop()
	// The file must not be closed with the request.
	body, err := c.ask(ctx, http.MethodPut, fmt.Sprintf("%s?at=%d", carried(relocationID, name), at), io.NopCloser(ticking{file, timer}))
	if err != nil {
		return err
	}
	return body.Close()
}

// ticking winds a timer up with each piece that is read.
type ticking struct {
	r     io.Reader
	timer *time.Timer
}

// Read reads on.
func (t ticking) Read(p []byte) (int, error) {
	t.timer.Reset(answerTime)
	return t.r.Read(p)
}

func (c *Client) sizeOf(ctx context.Context, relocationID int64, name string) (int64, error) {
	ctx, stop := context.WithTimeout(ctx, answerTime)
	defer stop()
	body, err := c.ask(ctx, http.MethodGet, carried(relocationID, name)+"/size", nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	var got size
	err = json.NewDecoder(io.LimitReader(body, maxRequest)).Decode(&got)
	return got.Size, err
}

// Receive fetches an archive into a file, from the beginning. A connection that breaks
// is made anew and goes on where it was.
func (c *Client) Receive(ctx context.Context, relocationID int64, name, path string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // in the site's folder
	if err != nil {
		return fmt.Errorf("receive %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	at := int64(0)
	return c.patiently(ctx, func() (bool, error) {
		ctx, stop := context.WithCancel(ctx)
		timer := time.AfterFunc(answerTime, stop)
		body, err := c.ask(ctx, http.MethodGet, fmt.Sprintf("%s?from=%d", carried(relocationID, name), at), nil)
		if err != nil {
			timer.Stop()
			stop()
			return false, err
		}
		watch := &watched{body, timer, stop}
		n, err := io.Copy(file, watch)
		at += n
		return n > 0, errors.Join(err, watch.Close())
	})
}

// patiently repeats work as long as it gets on now and then.
func (c *Client) patiently(ctx context.Context, work func() (moved bool, err error)) error {
	for tries := 0; ; tries++ {
		moved, err := work()
		if err == nil {
			return nil
		}
		if moved {
			tries = 0
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if models.CodeOf(err) != "" || tries >= carryTries {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(carryPause):
		}
	}
}
