package webserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hefring/models"
)

var troublePattern = regexp.MustCompile(`(?:Fatal|Parse|Recoverable fatal) error(?:</b>)?:[^\n<]{0,200}|` +
	`Uncaught [\w\\]*(?:Exception|Error)[^\n<]{0,200}|The website encountered an unexpected error`)

const (
	probeTimeout = time.Minute // a first page after a cache rebuild takes long
	largestPage  = 1 << 20
)

// Prober looks at sites the way a visitor would, and at releases that no visitor
// sees yet.
type Prober struct {
	PublicAddr string        // address that visitors reach, host:port
	TLSAddr    string        // the same for HTTPS
	ProbeAddr  string        // address of the probe listener, host:port
	Limit      time.Duration // for one request; 0 means a minute
	// Secure tells of a host name whether visitors reach it by HTTPS alone; nil
	// means that none is.
	Secure func(uri string) bool
}

// Releases that the probe listener serves.
const (
	ReleaseCurrent = "current"
	ReleaseNext    = "next"
)

// Request is one look at a site.
type Request struct {
	URI     string // host name of the site
	Path    string // begins with a slash; may have a query
	Release string // ReleaseCurrent or ReleaseNext; "" means the current one
	Public  bool   // through the public listener, as visitors do
}

// Answer is what the site said.
type Answer struct {
	URL       string
	Status    int
	Header    http.Header
	Body      []byte // at most 1 MiB
	Root      string // docroot that served; "" for a public request
	Took      time.Duration
	Truncated bool // the body was longer
}

// Probe asks for one page, past page caches; redirects are not followed. Its
// errors say that there was no answer at all, and where to look.
func (p *Prober) Probe(ctx context.Context, r Request) (Answer, error) {
	request, err := p.request(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	limit := p.Limit
	if limit <= 0 {
		limit = probeTimeout
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	transport := &http.Transport{
		DisableKeepAlives: true, MaxResponseHeaderBytes: largestPage,
		// It is our own nginx; whether visitors trust the certificate is told by
		// Server.Certificates.
		TLSClientConfig: &tls.Config{ServerName: r.URI, InsecureSkipVerify: true}, //nolint:gosec // see above
	}
	defer transport.CloseIdleConnections()

	start := time.Now()
	response, err := transport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return Answer{}, unanswered(err, request, limit)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, largestPage+1))
	if err != nil {
		return Answer{}, unanswered(err, request, limit)
	}
	return Answer{
		URL: request.URL.Scheme + "://" + request.Host + request.URL.RequestURI(), Status: response.StatusCode,
		Header: response.Header, Body: body[:min(len(body), largestPage)], Truncated: len(body) > largestPage,
		Root: response.Header.Get("X-Hefring-Root"), Took: time.Since(start),
	}, nil
}

func (p *Prober) request(ctx context.Context, r Request) (*http.Request, error) {
	target, err := url.ParseRequestURI(r.Path)
	if err != nil || !strings.HasPrefix(r.Path, "/") || strings.ContainsRune(r.Path, '#') {
		return nil, models.InvalidField("path", "Use a path that begins with a slash, such as /user/login.")
	}
	if (Vhost{SiteID: 1, URI: r.URI, Dir: "/"}).check() != nil {
		return nil, fmt.Errorf("probe site: %q is not a host name", r.URI)
	}
	if r.Release != "" && r.Release != ReleaseCurrent && r.Release != ReleaseNext {
		return nil, fmt.Errorf("probe %s: unknown release %q", r.URI, r.Release)
	}
	secure := p.Secure != nil && p.Secure(r.URI)
	target.Scheme, target.Host = "http", p.ProbeAddr
	switch {
	case r.Public && secure:
		target.Scheme, target.Host = "https", p.TLSAddr
	case r.Public:
		target.Host = p.PublicAddr
	}
	if target.RawQuery != "" {
		target.RawQuery += "&"
	}
	target.RawQuery += "hefring-probe=" + rand.Text()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", r.URI, err)
	}
	request.Host, err = p.host(r.URI, secure)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "Hefring")
	request.Header.Set("Accept", "text/html")
	if !r.Public {
		request.Header.Set("X-Hefring-Release", r.Release)
	}
	return request, nil
}

// host is the Host header as visitors send it, for the probe listener too.
func (p *Prober) host(uri string, secure bool) (string, error) {
	address, usual := p.PublicAddr, httpPort
	if secure {
		address, usual = p.TLSAddr, httpsPort
	}
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("probe %s: %w", uri, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", fmt.Errorf("probe %s: %w", uri, err)
	}
	return hostPort(uri, port, usual), nil
}

// unanswered turns a transport's error into a sentence.
func unanswered(err error, request *http.Request, limit time.Duration) error {
	name, address := request.Host, request.URL.Host
	var slow net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("probe %s: %w", name, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return models.Wrapf(models.Unavailable, err, "Nothing listens on %s for %s: nginx is not running. Start Hefring's web server; nginx says why it ended in its log.", address, name)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return models.Wrapf(models.Unavailable, err, "%s did not answer within %s. Look for a slow database or a hanging PHP process; php-fpm's log names it.", name, limit)
	default:
		return models.Wrapf(models.Unavailable, err, "%s on %s broke off its answer. Look into the logs of nginx and php-fpm.", name, address)
	}
}

// Healthy tells why an answer is not that of a working site; nil when it is. With
// wantRoot, it must have come from that docroot.
func Healthy(a Answer, wantRoot string) error {
	if reason := ailment(a, wantRoot); reason != "" {
		return models.Errorf(models.Unavailable, "%s %s", a.URL, reason)
	}
	return nil
}

func ailment(a Answer, wantRoot string) string {
	if reason := badStatus(a); reason != "" {
		return reason
	}
	if trouble := bytes.TrimSpace(phpTrouble(a.Body)); len(trouble) > 0 {
		return fmt.Sprintf("answered with an error of PHP or Drupal in the page: %s", trouble)
	}
	page := bytes.ToLower(a.Body)
	switch {
	case len(bytes.TrimSpace(a.Body)) == 0:
		return "answered 200 with an empty page. PHP's log says what ended it."
	case !bytes.Contains(page, []byte("<html")) && !bytes.Contains(page, []byte("<!doctype")):
		return "answered 200, but not with an HTML page."
	case wantRoot != "" && a.Root == "":
		return fmt.Sprintf("does not say which release served it; it should be %s. Ask through the probe listener.", wantRoot)
	case wantRoot != "" && a.Root != wantRoot:
		return fmt.Sprintf("was served from %s and not from %s.", a.Root, wantRoot)
	}
	return ""
}

func badStatus(a Answer) string {
	place := a.Header.Get("Location")
	switch {
	case a.Status == http.StatusOK:
		return ""
	case strings.Contains(place, "/install.php"):
		return "sends to Drupal's installer: this host name has no settings.php here, or its database is empty."
	case a.Status >= 300 && a.Status < 400:
		return fmt.Sprintf("answered %d and sends to %q instead of showing a page.", a.Status, place)
	case a.Status == http.StatusBadRequest:
		return "answered 400: Drupal does not accept this host name. Look at trusted_host_patterns in settings.php."
	case a.Status == http.StatusForbidden:
		return "answered 403: nobody may see this page. Choose a path that anonymous visitors may see."
	case a.Status == http.StatusNotFound:
		return "answered 404: there is no such page, or no release to serve it from."
	case a.Status == http.StatusBadGateway:
		return "answered 502: php-fpm does not run or its worker died. Look into php-fpm's log."
	case a.Status == http.StatusServiceUnavailable:
		return "answered 503: the site is in maintenance mode, or overloaded."
	case a.Status == http.StatusGatewayTimeout:
		return "answered 504: PHP took too long."
	case a.Status >= 500:
		return fmt.Sprintf("answered %d%s. PHP's log has the details.", a.Status, quoted(phpTrouble(a.Body)))
	}
	return fmt.Sprintf("answered %d instead of 200.", a.Status)
}

func quoted(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s)", text)
}

// phpTrouble finds what PHP or Drupal print when a page fails half-way, also
// under status 200.
func phpTrouble(body []byte) []byte {
	return troublePattern.Find(body)
}
