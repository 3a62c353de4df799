package lsrefs

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
)

// userAgent begins with git/ and a version that can do version 2: GitHub and
// others answer only such clients, and some refuse old ones
// (https://github.com/jelmer/dulwich/issues/562, https://github.com/libgit2/libgit2/pull/4041).
const userAgent = "git/2.0 (Hefring)"

const (
	service       = "git-upload-pack"
	advertisement = "application/x-" + service + "-advertisement"
	question      = "application/x-" + service + "-request"
	result        = "application/x-" + service + "-result"
)

// call is one List on one repository.
type call struct {
	http     *http.Client
	limits   Limits
	base     string // address with its final slash and without a user
	host     string // for messages
	auth     string
	requests int
	bytes    int64
	refused  bool // the server answered, and not what its capabilities promised
}

func (c *Client) newCall(remote Remote) (*call, error) {
	u, err := url.Parse(remote.URL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, models.Errorf(models.Invalid, "This is not the http or https address of a repository. Write one such as https://example.org/project.git.").Because(models.ReasonURL)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, models.Errorf(models.Invalid, "The address of a repository has no part after ? or #. Leave that out.").Because(models.ReasonURL)
	}
	u.User = nil
	base := u.String()
	if !strings.HasSuffix(base, "/") {
		base += "/"
	}
	return &call{http: c.http, limits: c.limits, base: base, host: u.Hostname(), auth: remote.Authorization}, nil
}

// get asks for the server's capabilities.
func (c *call) get(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"info/refs?service="+service, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s for its capabilities: %w", c.host, err)
	}
	return c.do(req, maxCapabilities, broken("more than %d bytes of capabilities", maxCapabilities))
}

// post sends a command.
func (c *call) post(ctx context.Context, command []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+service, bytes.NewReader(command))
	if err != nil {
		return nil, fmt.Errorf("ask %s for refs: %w", c.host, err)
	}
	req.Header.Set("Content-Type", question)
	req.Header.Set("Accept", result)
	// Nothing is changed by asking twice: a kept connection that the server closes
	// just now may be replaced by a new one. The empty value is not sent; see
	// http.Transport.
	req.Header["Idempotency-Key"] = []string{}
	return c.do(req, c.limits.Bytes, errTooLong)
}

// do gives a response with status 200. Its body is counted, and ends with the
// error over after limit bytes.
func (c *call) do(req *http.Request, limit int64, over error) (*http.Response, error) {
	req.Header.Set("Git-Protocol", "version=2")
	req.Header.Set("User-Agent", userAgent)
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	c.requests++
	c.refused = false
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.connection(err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, c.status(resp)
	}
	resp.Body = &body{ReadCloser: resp.Body, call: c, left: limit, over: over}
	return resp, nil
}

// errTooLong ends refs of too many bytes.
var errTooLong = errors.New("too many bytes")

// body counts what is read, after decompression, and ends at a limit.
type body struct {
	io.ReadCloser

	call *call
	left int64
	over error
}

func (b *body) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.over
	}
	p = p[:min(int64(len(p)), b.left)]
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	b.call.bytes += int64(n)
	return n, err
}

// finish closes a body whose answer is complete. A few bytes more are read, for
// the connection to be used again.
func finish(b io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, b, 4<<10)
	_ = b.Close()
}

// status turns an answer other than 200 into an error for people.
func (c *call) status(resp *http.Response) error {
	code := resp.StatusCode
	if code >= 300 && code < 400 {
		c.refused = true
		return c.redirected(resp)
	}
	err := egress.CheckStatus(c.host, resp)
	reason := models.ReasonOf(err)
	switch reason {
	case models.ReasonAuthentication:
		return c.notAllowed(code)
	case models.ReasonRateLimited, models.ReasonTimeout:
		return err
	default: // the server does not know what was asked
	}
	c.refused = true
	switch {
	case reason == models.ReasonNotFound:
		return models.Wrapf(models.Invalid, err, "There is no git repository at this address on %s (%d). Correct the repository URL. A private repository looks like this too: then give credentials that may read it.", c.host, code).
			Because(models.ReasonNotFound)
	case code >= 500:
		return models.Wrapf(models.Unavailable, err, "%s answered with an error of its own (%d). Try again later.", c.host, code).Because(models.ReasonUnreachable)
	}
	return c.notGit(fmt.Sprintf("status %d", code))
}

func (c *call) notAllowed(code int) error {
	if c.auth == "" {
		return models.Errorf(models.Forbidden, "%s wants credentials for this repository (%d), or it does not exist. Give credentials that may read it, or correct the address.", c.host, code).
			Because(models.ReasonAuthentication)
	}
	return models.Errorf(models.Forbidden, "%s does not let these credentials read the repository (%d). Give others, let them read it, or correct the address.", c.host, code).
		Because(models.ReasonAuthentication)
}

// redirected says where the server would like requests to go. That is never done
// by itself: credentials would go along, and git's own command does not do it
// either when it fetches.
func (c *call) redirected(resp *http.Response) error {
	where := "another one"
	if to, err := resp.Location(); err == nil && (to.Scheme == "https" || to.Scheme == "http") && to.Host != "" {
		path, _, isRepository := strings.Cut(to.EscapedPath(), "/info/refs")
		if isRepository && len(path) < 500 {
			where = run.Clean(to.Scheme + "://" + to.Host + path)
		}
	}
	return models.Errorf(models.Invalid, "%s sends this address on to %s, which is not followed. Use the address that it leads to; https instead of http, or .git at the end, often helps.", c.host, c.redact(where)).
		Because(models.ReasonURL)
}

// notGit is the error for an address that answers something else.
func (c *call) notGit(what string) error {
	return models.Wrapf(models.Invalid, errors.New(c.redact(run.Clean(what))), "What is at this address on %s is not a git repository. Correct the repository URL; it often ends in .git.", c.host).
		Because(models.ReasonMalformed)
}

// explain turns an error of reading an answer into one for people.
func (c *call) explain(err error) error {
	switch {
	case errors.Is(err, errTooLong):
		return models.Wrapf(models.Unavailable, err, "%s lists more refs than the %d MiB that are accepted. Follow a branch or tag by its name, or remove refs from the repository.", c.host, c.limits.Bytes>>20).
			Because(models.ReasonTooLarge)
	case errors.Is(err, errCut):
		c.refused = true
		return models.Wrapf(models.Unavailable, err, "%s broke off its answer. Try again later.", c.host).Because(models.ReasonUnreachable)
	case errors.Is(err, errBroken):
		c.refused = true
		return models.Wrapf(models.Unavailable, err, "%s answered something that is not git's protocol. Check the address; if it is right, the server or a proxy before it is broken.", c.host).
			Because(models.ReasonMalformed)
	}
	return c.connection(err)
}

// connection turns an error of the connection into one for people. Its cause may
// quote what the server sent, and so go without it.
func (c *call) connection(err error) error {
	err = egress.Explain(c.host, err)
	e, ok := errors.AsType[*models.Error](err)
	if !ok || c.redact(err.Error()) == err.Error() {
		return err
	}
	told := *e
	told.Message, told.Err = c.redact(e.Message), nil
	return &told
}

// saidError is the error for a server's own words.
func (c *call) saidError(words string) error {
	c.refused = true
	words = strings.TrimSpace(c.redact(run.Clean(words)))
	if runes := []rune(words); len(runes) > 300 {
		words = string(runes[:300]) + "…"
	}
	if words == "" {
		words = "an error without a reason"
	}
	return models.Errorf(models.Unavailable, "%s answered: %s", c.host, words).Because(models.ReasonUnreachable)
}

// redact takes the credentials out of a server's words: it may repeat what it was
// sent.
func (c *call) redact(words string) string {
	_, secret, _ := strings.Cut(c.auth, " ")
	secrets := []string{c.auth, secret}
	if plain, err := base64.StdEncoding.DecodeString(secret); err == nil {
		_, password, _ := strings.Cut(string(plain), ":")
		secrets = append(secrets, string(plain), password, url.QueryEscape(password), url.PathEscape(password))
	}
	for _, s := range secrets {
		if s != "" {
			words = strings.ReplaceAll(words, s, "***")
		}
	}
	return words
}
