package webserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hefring/models"
)

const (
	largestCertificate = 1 << 20
	// endsSoon is when the end of a certificate is told: tools renew a month
	// before, so by then something is wrong.
	endsSoon = 14 * 24 * time.Hour
)

// Names of a certificate that came with a site from another server, and of its key.
const (
	CarriedChain = "chain.pem"
	CarriedKey   = "key.pem"
)

// certificate is a pair of PEM files as they were read.
type certificate struct {
	chain, key string
	leaf       *x509.Certificate
	lacks      error // why it is the carried one; nil: it is the operator's
}

// Pair is a certificate with its chain, and its key, in PEM. It is a secret.
type Pair struct {
	Chain, Key string
	NotAfter   time.Time
	// Lacks says what is wrong with the operator's files when this is the pair that came
	// from another server; "" otherwise.
	Lacks string
}

// Certificate is how the certificate of one site is.
type Certificate struct {
	SiteID   int64
	URI      string
	File     string // the operator's
	NotAfter time.Time
	Trouble  string // what is wrong and what to do; "" when nothing is
}

// readCertificate reads the operator's files, or what came with the site from another
// server where those cannot be used.
func readCertificate(site Vhost) (certificate, error) {
	c, err := readPair(site)
	if err == nil || site.Carried == "" {
		return c, err
	}
	own := site
	own.Certificate, own.CertificateKey = filepath.Join(site.Carried, CarriedChain), filepath.Join(site.Carried, CarriedKey)
	came, failed := readPair(own)
	if failed != nil {
		return c, err // what the operator can do something about
	}
	came.lacks = err
	return came, nil
}

// readPair names the certificate before the key where neither can be read, so that what
// is told twice is told in the same words.
func readPair(site Vhost) (certificate, error) {
	var c certificate
	var err error
	unread := func(path string) error {
		return models.Wrapf(models.Invalid, err, "The file %s for HTTPS of %s cannot be read: %s.", path, site.URI, reason(err))
	}
	if c.chain, err = readSmall(site.Certificate); err != nil {
		return c, unread(site.Certificate)
	}
	if c.key, err = readSmall(site.CertificateKey); err != nil {
		return c, unread(site.CertificateKey)
	}
	return parseCertificate(site, c)
}

func parseCertificate(site Vhost, c certificate) (certificate, error) {
	pair, err := tls.X509KeyPair([]byte(c.chain), []byte(c.key))
	if err != nil {
		return c, models.Wrapf(models.Invalid, err, "The certificate %s and the key %s of %s cannot be used: %s.",
			site.Certificate, site.CertificateKey, site.URI, strings.TrimPrefix(err.Error(), "tls: "))
	}
	c.leaf = pair.Leaf
	return c, nil
}

// reason is an error of the file system without the path that is told already.
func reason(err error) string {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err.Error()
	}
	return err.Error()
}

func readSmall(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a file")
	}
	text, err := io.ReadAll(io.LimitReader(file, largestCertificate+1))
	if err != nil {
		return "", err
	}
	if len(text) > largestCertificate {
		return "", errors.New("it is too big for a certificate")
	}
	return string(text), nil
}

func certificateFile(siteID int64) string { return fmt.Sprintf("certs/%d.crt", siteID) }

func keyFile(siteID int64) string { return fmt.Sprintf("certs/%d%s", siteID, keySuffix) }

// copied is the certificate that nginx runs with. It is a copy: a renewal that
// goes wrong must not keep nginx from starting, nor other sites from changing.
func (s *Server) copied(site Vhost) (certificate, error) {
	var c certificate
	var err error
	dir := s.nginx().tree.link
	if c.chain, err = readSmall(filepath.Join(dir, certificateFile(site.SiteID))); err == nil {
		c.key, err = readSmall(filepath.Join(dir, keyFile(site.SiteID)))
	}
	if err != nil {
		return c, fmt.Errorf("read copied certificate of %s: %w", site.URI, err)
	}
	return parseCertificate(site, c)
}

// usable is the operator's certificate, or the copy of the one before when that
// cannot be used.
func (s *Server) usable(site Vhost) (certificate, error) {
	fresh, err := readCertificate(site)
	if err == nil {
		return fresh, nil
	}
	if old, missing := s.copied(site); missing == nil {
		return old, nil
	}
	return certificate{}, err
}

// Served gives what a site with HTTPS is served with. That can be a copy of files that
// are not there any more.
func (s *Server) Served(site Vhost) (Pair, error) { return pairOf(s.usable(site)) }

// Offered gives what a site with HTTPS can be served with anew.
func Offered(site Vhost) (Pair, error) { return pairOf(readCertificate(site)) }

func pairOf(c certificate, err error) (Pair, error) {
	if err != nil {
		return Pair{}, err
	}
	p := Pair{Chain: c.chain, Key: c.key, NotAfter: c.leaf.NotAfter}
	if c.lacks != nil {
		p.Lacks = models.Explain(c.lacks)
	}
	return p, nil
}

// Certificates tells of every site with HTTPS when its certificate ends and what
// is wrong with it.
func (s *Server) Certificates() ([]Certificate, error) {
	sites, err := s.sites()
	if err != nil {
		return nil, err
	}
	var list []Certificate
	for _, site := range slices.SortedFunc(maps.Values(sites), Vhost.compare) {
		if site.HTTPS != models.HTTPSOff {
			list = append(list, s.judge(site, time.Now()))
		}
	}
	return list, nil
}

func (s *Server) judge(site Vhost, now time.Time) Certificate {
	result := Certificate{SiteID: site.SiteID, URI: site.URI, File: site.Certificate}
	used, err := s.copied(site)
	if err != nil {
		result.Trouble = models.Explain(err)
		return result
	}
	result.NotAfter = used.leaf.NotAfter
	fresh, err := readCertificate(site)
	switch {
	case err != nil:
		result.Trouble = models.Explain(err) + " The one from before is still in use."
	case fresh.chain != used.chain:
		result.Trouble = site.Certificate + " was renewed and is not yet in use. Verify the site, or start Hefring again."
	case now.After(used.leaf.NotAfter):
		result.Trouble = fmt.Sprintf("The certificate of %s ended on %s. Renew %s.", site.URI, used.leaf.NotAfter.Format(time.DateOnly), site.Certificate)
	case fresh.lacks != nil:
		result.Trouble = fmt.Sprintf("%s The certificate that came with the site from its other server is used until it ends on %s.",
			models.Explain(fresh.lacks), used.leaf.NotAfter.Format(time.DateOnly))
	case used.leaf.NotAfter.Sub(now) < endsSoon:
		result.Trouble = fmt.Sprintf("The certificate of %s ends on %s. Renew %s.", site.URI, used.leaf.NotAfter.Format(time.DateOnly), site.Certificate)
	case now.Before(used.leaf.NotBefore):
		result.Trouble = fmt.Sprintf("The certificate of %s is not valid before %s. Look at the clock.", site.URI, used.leaf.NotBefore.Format(time.DateOnly))
	default:
		result.Trouble = uncovered(site, used.leaf)
	}
	return result
}

// uncovered tells which of a site's names the certificate is not for.
func uncovered(site Vhost, leaf *x509.Certificate) string {
	for _, name := range site.names() {
		if leaf.VerifyHostname(name) != nil {
			return fmt.Sprintf("The certificate %s is not for %s; browsers will warn. Have it made for all names of the site.", site.Certificate, name)
		}
	}
	return ""
}
