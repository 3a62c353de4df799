package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"hefring/internal/httpcode"
	"hefring/models"
	"hefring/web/api"
)

// Limits of what is asked of a Hefring elsewhere.
const (
	remoteLimit = 2 * time.Minute // of one answer
	maxAnswer   = 32 << 20        // bytes
	maxToken    = 4096            // bytes of a file that holds one
	remotePage  = 500             // the most that the API lists at once
	maxHosts    = 10000
	maxClients  = 10000
	maxChildren = 100_000 // of what belongs to one thing
)

// farDoor is a Hefring elsewhere, by its JSON API. Sites, platforms and database
// servers have names there; it gives them numbers of its own, so that commands
// need not know where they work.
type farDoor struct {
	base   string // with the API's prefix
	token  string
	client *http.Client

	names []string // of what has the number index+1, with its kind
	made  map[models.Subject]models.Task
	urls  map[string]string // of sites, by their addresses
	steps map[int64][]models.UpgradeStep
	// secrets tells of distributions which secret settings they have.
	secrets map[int64]map[string]bool
}

// remoteToken is the token to work elsewhere with; "" means here.
func (c *act) remoteToken() (string, error) {
	if c.TokenFile == "" {
		return strings.TrimSpace(os.Getenv("HEFRING_TOKEN")), nil
	}
	file, err := os.Open(c.TokenFile)
	if err != nil {
		return "", models.Wrapf(models.Invalid, err, "The file with the token cannot be read: %v.", err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	if err != nil {
		return "", models.Wrapf(models.Invalid, err, "The file with the token cannot be read: %v.", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || len(text) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", models.Errorf(models.Invalid, "%s does not hold a token. Write what hefring token add printed into it, and nothing else.", c.TokenFile)
	}
	return token, nil
}

// newRemote gives the Hefring at an address. A token never goes over the network
// in the clear.
func newRemote(address, token, caFile string) (*farDoor, error) {
	at, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || at.Host == "" || at.User != nil {
		return nil, models.InvalidField("url", "Use the address of the dashboard, such as https://hefring.example.org.")
	}
	if at.Scheme != "https" && (at.Scheme != "http" || !isHere(at.Hostname())) {
		return nil, models.InvalidField("url", "Use an address that begins with https://: everybody on the way could read the token.")
	}
	roots, err := authorities(caFile)
	if err != nil {
		return nil, err
	}
	return &farDoor{
		base: at.String() + api.Prefix, token: token, made: map[models.Subject]models.Task{}, urls: map[string]string{},
		steps: map[int64][]models.UpgradeStep{}, secrets: map[int64]map[string]bool{},
		client: &http.Client{
			Timeout: remoteLimit,
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
				DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second,
				MaxResponseHeaderBytes: 1 << 20, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute,
			},
			// Who answers with another address does not get the token sent there.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// isHere tells whether a host is this machine.
func isHere(host string) bool {
	at, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && at.Unmap().IsLoopback()
}

// authorities are those that are trusted; nil for the system's.
func authorities(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil //nolint:nilnil // that is how crypto/tls says: the system's
	}
	text, err := os.ReadFile(caFile) //nolint:gosec // the person at the command line names it
	if err != nil {
		return nil, models.InvalidField("ca-file", "It cannot be read: "+err.Error())
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificate authorities: %w", err)
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, models.InvalidField("ca-file", "It holds no certificate in PEM.")
	}
	return roots, nil
}

// get asks for something.
func (r *farDoor) get(ctx context.Context, path string, query url.Values, into any) error {
	return r.ask(ctx, http.MethodGet, path, query, nil, into)
}

// post has something done.
func (r *farDoor) post(ctx context.Context, path string, body, into any) error {
	return r.ask(ctx, http.MethodPost, path, nil, body, into)
}

// start has work queued.
func (r *farDoor) start(ctx context.Context, method, path string, query url.Values, body any) (models.Task, error) {
	var answer api.Started
	err := r.ask(ctx, method, path, query, body, &answer)
	return taskFrom(answer.Task), err
}

// ask sends one request. What the other side refuses comes back as the error that
// the same command would have given there.
func (r *farDoor) ask(ctx context.Context, method, path string, query url.Values, body, into any) error {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("write request: %w", err)
		}
		payload = bytes.NewReader(text)
	}
	address := r.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, payload)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+r.token)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "hefring/"+version)
	if method == http.MethodPost {
		request.Header.Set("Idempotency-Key", rand.Text())
	}
	if payload != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := r.client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return r.silent(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return r.silent(err)
	}
	if len(text) > maxAnswer {
		return models.Errorf(models.Unavailable, "%s answers with more than can be right. Is it a Hefring?", r.host())
	}
	if response.StatusCode >= 300 {
		return r.refused(response, text)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return models.Wrapf(models.Unavailable, err, "%s does not answer as Hefring's API does. Give the address of the dashboard with --url.", r.host())
	}
	return nil
}

func (r *farDoor) host() string { return strings.TrimSuffix(r.base, api.Prefix) }

// silent says why there was no answer.
func (r *farDoor) silent(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return models.Wrapf(models.Unavailable, err, "The certificate of %s is not trusted: %v. A certificate authority of your own is named with --ca-file.", r.host(), err)
	}
	return models.Wrapf(models.Unavailable, err, "%s does not answer: %v.", r.host(), err)
}

// refused makes an error of an answer that is a problem, as RFC 9457 has it.
func (r *farDoor) refused(response *http.Response, text []byte) error {
	if to := response.Header.Get("Location"); response.StatusCode < 400 {
		return models.Errorf(models.Invalid, "%s is elsewhere: it names %q. Give the right address with --url.", r.host(), to)
	}
	var problem struct {
		Detail string `json:"detail"`
		Errors []struct {
			Location string `json:"location"`
			Message  string `json:"message"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(text, &problem); err != nil || problem.Detail == "" {
		return models.Errorf(httpcode.Meant(response.StatusCode), "%s answers %s, and not as Hefring's API does. Give the address of the dashboard with --url.", r.host(), response.Status)
	}
	if response.StatusCode == http.StatusInternalServerError {
		return errors.New(problem.Detail)
	}
	refusal := &models.Error{Code: httpcode.Meant(response.StatusCode), Message: problem.Detail, Fields: map[string]string{}}
	for _, one := range problem.Errors {
		refusal.Fields[strings.TrimPrefix(one.Location, "body.")] = one.Message
	}
	return refusal
}

// number is the number here of what has a name there.
func (r *farDoor) number(kind models.SubjectKind, name string) int64 {
	full := string(kind) + " " + name
	for i, known := range r.names {
		if known == full {
			return int64(i) + 1
		}
	}
	r.names = append(r.names, full)
	return int64(len(r.names))
}

// path is where the API has what has a number here.
func (r *farDoor) path(id int64, more ...string) string {
	if id < 1 || id > int64(len(r.names)) {
		return "/unknown"
	}
	kind, name, _ := strings.Cut(r.names[id-1], " ")
	return strings.Join(append([]string{"/" + kind + "s", url.PathEscape(name)}, more...), "/")
}

// name is what has a number here; "" for 0.
func (r *farDoor) name(id int64) string {
	if id < 1 || id > int64(len(r.names)) {
		return ""
	}
	_, name, _ := strings.Cut(r.names[id-1], " ")
	return name
}

// listed gives the items of a list, up to a number of them, page after page.
func listed[T any](ctx context.Context, r *farDoor, path string, query url.Values, limit int) ([]T, int, error) {
	var all []T
	limit = cmp.Or(limit, 50)
	for {
		query.Set("limit", strconv.Itoa(min(remotePage, limit-len(all))))
		var page struct {
			Items []T    `json:"items"`
			Total int    `json:"total"`
			Next  string `json:"next"`
		}
		if err := r.get(ctx, path, query, &page); err != nil {
			return nil, 0, err
		}
		all = append(all, page.Items...)
		if len(all) >= limit || page.Next == "" {
			return all, page.Total, nil
		}
		query.Set("cursor", page.Next)
	}
}
