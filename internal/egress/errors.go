package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hefring/models"
)

// maxRetryAfter is the longest wait that a server may ask for.
const maxRetryAfter = 24 * time.Hour

// CheckStatus turns an answer that is neither 2xx nor 304 into a models.Error
// with a Reason, and RetryAfter where host asked for a pause.
func CheckStatus(host string, resp *http.Response) error {
	code := resp.StatusCode
	if code >= 200 && code < 300 || code == http.StatusNotModified {
		return nil
	}
	if limited(resp) {
		return models.Errorf(models.Unavailable, "%s asks for fewer requests (%d). Try again later.", host, code).
			Because(models.ReasonRateLimited).After(retryAfter(resp, time.Now()))
	}
	switch code {
	case http.StatusNotFound, http.StatusGone:
		return models.Errorf(models.NotFound, "%s has nothing at that address (%d). Check the path; some servers say so, too, when a login is missing.", host, code).
			Because(models.ReasonNotFound)
	case http.StatusUnauthorized, http.StatusForbidden:
		return models.Errorf(models.Forbidden, "%s does not let Hefring read that address (%d). Check the credentials and what they allow.", host, code).
			Because(models.ReasonAuthentication)
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return timedOut(host, errors.New(resp.Status))
	case http.StatusRequestEntityTooLarge:
		return models.Errorf(models.Unavailable, "%s answered that too much was asked for (%d).", host, code).Because(models.ReasonTooLarge)
	}
	return models.Errorf(models.Unavailable, "%s answered %d.", host, code).Because(models.ReasonUnreachable)
}

// limited recognises the ways in which servers refuse requests that are too
// many; GitHub uses 403 with a header of its own
// (docs.github.com, “Rate limits for the REST API”).
func limited(resp *http.Response) bool {
	asked := resp.Header.Get("Retry-After") != ""
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusServiceUnavailable:
		return asked
	case http.StatusForbidden:
		return asked || resp.Header.Get("X-Ratelimit-Remaining") == "0"
	}
	return false
}

// retryAfter reads both forms of the header (RFC 9110 §10.2.3), or GitHub's time
// of reset; 0 when there is none that can be read. A date is taken by the
// server's own clock where it tells that.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	text := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return capped(time.Duration(seconds) * time.Second)
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		now = date
	}
	if until, err := http.ParseTime(text); err == nil {
		return capped(until.Sub(now))
	}
	if reset, err := strconv.ParseInt(resp.Header.Get("X-Ratelimit-Reset"), 10, 64); err == nil && text == "" {
		return capped(time.Unix(reset, 0).Sub(now))
	}
	return 0
}

func capped(wait time.Duration) time.Duration { return min(max(wait, 0), maxRetryAfter) }

// Explain turns an error of a connection to host into one for people: what
// happened, what may help, and its Reason. An error that is one already stays.
func Explain(host string, err error) error {
	if already, ok := errors.AsType[*models.Error](err); ok {
		return already
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return explainDNS(host, dns, err)
	}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return timedOut(host, err)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return models.Wrapf(models.Unavailable, err, "%s refuses connections. Check the host and the port.", host).Because(models.ReasonUnreachable)
	}
	if problem := tlsProblem(err); problem != "" {
		return models.Wrapf(models.Unavailable, err, "The certificate of %s is not valid here: %s", host, problem).Because(models.ReasonTLS)
	}
	return models.Wrapf(models.Unavailable, err, "%s could not be reached.", host).Because(models.ReasonUnreachable)
}

func timedOut(host string, err error) error {
	return models.Wrapf(models.Unavailable, err, "%s did not answer in time.", host).Because(models.ReasonTimeout)
}

func explainDNS(host string, dns *net.DNSError, err error) error {
	if dns.IsNotFound {
		return models.Wrapf(models.Unavailable, err, "The host %s is not known. Check its spelling.", host).Because(models.ReasonDNS)
	}
	return models.Wrapf(models.Unavailable, err, "This server's name server did not tell the address of %s. Trying again may help.", host).
		Because(models.ReasonDNS)
}

// tlsProblem says what is wrong with the other side's certificate; "" when that
// is not what err is about.
func tlsProblem(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "it is signed by an authority that this server does not know. An administrator can make a private one known with --ca-file."
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "it is made out to another host. Check the host's name; else its owner must mend it."
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "it has expired, or is not valid yet. Its owner must renew it; check this server's clock as well."
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "there is no TLS at that port. Check the port, or use http://."
	}
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	if verify || strings.Contains(err.Error(), "tls: ") {
		return "its owner must mend it, or an administrator make the authority that signed it known with --ca-file."
	}
	return ""
}

// hostOf names the host of an address in messages.
func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "The host"
	}
	return u.Host
}
