package webserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"hefring/internal/run"
	"hefring/models"
)

// Vhost is one site as the web server sees it.
type Vhost struct {
	SiteID int64  `json:"site"`
	URI    string `json:"uri"` // host name, lower case, without port
	Dir    string `json:"dir"` // the site's own folder, sites.Layout.Dir: holds current, next and run
	// Aliases are other host names of it; with Redirect their visitors are sent to the URI.
	Aliases  []string     `json:"aliases,omitempty"`
	Redirect bool         `json:"redirect,omitempty"`
	HTTPS    models.HTTPS `json:"https,omitempty"`
	// Certificate, with its chain, and CertificateKey are absolute files in PEM.
	Certificate    string `json:"certificate,omitempty"`
	CertificateKey string `json:"certificate_key,omitempty"`
	// Carried is a folder with CarriedChain and CarriedKey, which came with the site from
	// another server. They are used where the files above cannot be.
	Carried  string `json:"carried,omitempty"`
	Disabled bool   `json:"disabled,omitempty"` // every page says that the site is switched off
	// Away says that the site is on another server: its visitors are sent on to
	// Elsewhere, an origin such as http://192.0.2.12:8081, or when that is "" told to
	// come back later. Hefring's own look at the site still finds it here.
	Away      bool   `json:"away,omitempty"`
	Elsewhere string `json:"elsewhere,omitempty"`
	// User is the uid and gid of the site's own PHP pool; 0 is the shared one.
	User int `json:"user,omitempty"`
}

func (v Vhost) compare(other Vhost) int { return cmp.Compare(v.SiteID, other.SiteID) }

// names are all host names that answer.
func (v Vhost) names() []string { return append([]string{v.URI}, v.Aliases...) }

type siteList map[int64]Vhost

func (l siteList) sorted() []Vhost { return slices.SortedFunc(maps.Values(l), Vhost.compare) }

// secure tells whether a site has HTTPS.
func (l siteList) secure() bool {
	for _, site := range l {
		if site.HTTPS != models.HTTPSOff {
			return true
		}
	}
	return false
}

// taken tells whether another site has one of the site's names, and which.
func (l siteList) taken(site Vhost) (string, bool) {
	for id, other := range l {
		if id == site.SiteID {
			continue
		}
		for _, name := range site.names() {
			if slices.Contains(other.names(), name) {
				return name, true
			}
		}
	}
	return "", false
}

var hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

func (v Vhost) check() error {
	if v.SiteID <= 0 {
		return fmt.Errorf("serve site: %d is not a site's number", v.SiteID)
	}
	if !isHostName(v.URI) {
		return models.InvalidField("uri", "Use a host name such as museum.example.org: letters, digits, dots and hyphens, no port and no path.")
	}
	seen := map[string]bool{v.URI: true}
	for _, alias := range v.Aliases {
		if !isHostName(alias) {
			return models.InvalidField("aliases", fmt.Sprintf("%q is not a host name. Use names such as www.example.org: letters, digits, dots and hyphens, no port and no path.", alias))
		}
		if seen[alias] {
			return models.InvalidField("aliases", alias+" is there twice.")
		}
		seen[alias] = true
	}
	if err := v.checkTLS(); err != nil {
		return err
	}
	if v.Elsewhere != "" && (!v.Away || !isOrigin(v.Elsewhere)) {
		return fmt.Errorf("serve site: %q is not where another server answers", v.Elsewhere)
	}
	if err := v.checkUser(); err != nil {
		return err
	}
	return checkPath(v.Dir)
}

// isOrigin tells whether visitors can be sent on to an address: nginx looks a name up
// only once, and does not start when it cannot, so it must be an IP address.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && net.ParseIP(u.Hostname()) != nil && u.Scheme+"://"+u.Host == text
}

func isHostName(name string) bool { return len(name) <= 253 && hostPattern.MatchString(name) }

func (v Vhost) checkTLS() error {
	switch v.HTTPS {
	case models.HTTPSOff:
		return nil
	case models.HTTPSOn, models.HTTPSRequired:
	default:
		return models.InvalidField("https", fmt.Sprintf("%q is no choice for HTTPS.", v.HTTPS))
	}
	wrong := map[string]string{}
	for field, path := range map[string]string{"certificate": v.Certificate, "certificate_key": v.CertificateKey} {
		if !filepath.IsAbs(path) {
			wrong[field] = "HTTPS needs a certificate and its key: name both as absolute files in PEM, or switch HTTPS off."
		}
	}
	if len(wrong) > 0 {
		return models.InvalidFields(wrong)
	}
	return nil
}

// checkUser refuses users that nobody can become. The number 65534 is nobody's,
// and the highest means that nothing is changed.
func (v Vhost) checkUser() error {
	switch {
	case v.User == 0:
		return nil
	case os.Geteuid() != 0:
		return models.Errorf(models.Invalid, "Sites can have users of their own only when Hefring runs as root. Start it as root, or switch users per site off.")
	case v.User < 1000 || v.User == 65534 || int64(v.User) >= math.MaxUint32:
		return models.Errorf(models.Invalid, "The user %d cannot be a site's own. Choose a first user that leaves a free range above it, such as 200000.", v.User)
	}
	return nil
}

// AddSite serves a site, or changes how it is served, and waits until nginx
// answers with it. It starts the daemons if they do not run. What nginx refuses
// changes nothing: the sites before go on as they were.
func (s *Server) AddSite(ctx context.Context, site Vhost) error {
	if err := site.check(); err != nil {
		return err
	}
	if err := s.certified(site); err != nil {
		return err
	}
	if err := s.prepareSite(site); err != nil {
		return err
	}
	if err := s.forgotten(ctx); err != nil {
		return err
	}
	return s.change(ctx, func(sites siteList) error {
		if name, taken := sites.taken(site); taken {
			return models.Errorf(models.Conflict, "The web server already serves another site as %s. Choose another name.", name)
		}
		sites[site.SiteID] = site
		return nil
	})
}

// certified refuses HTTPS without a certificate. A site that is on another server must
// not fail for files that its operator does not renew here any more.
func (s *Server) certified(site Vhost) (err error) {
	switch {
	case site.HTTPS == models.HTTPSOff:
	case site.Away:
		_, err = s.usable(site)
	default:
		_, err = readCertificate(site)
	}
	return err
}

// RemoveSite stops serving a site; its files stay. A site that is not served is
// no failure.
func (s *Server) RemoveSite(ctx context.Context, siteID int64) error {
	err := s.change(ctx, func(sites siteList) error {
		delete(sites, siteID)
		return nil
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("run", removedFile), nil, 0o600); err != nil {
		return fmt.Errorf("note that a site was removed: %w", err)
	}
	return nil
}

const (
	// removedFile has the time at which the last site was removed.
	removedFile = "removed"
	// memory is how long PHP's workers may remember where a path led:
	// realpath_cache_ttl, which counts whole seconds from the request's beginning.
	memory = 2100 * time.Millisecond
)

// forgotten waits until no worker remembers a site that was just removed: its
// address may go to another one, whose settings lie elsewhere.
func (s *Server) forgotten(ctx context.Context) error {
	info, err := os.Stat(s.path("run", removedFile))
	if err != nil {
		return nil //nolint:nilerr // none was removed
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(memory - time.Since(info.ModTime())):
		return nil
	}
}

// prepareSite makes the folder of the gate with its lock, which is never
// removed: two files of that name would be two locks.
func (s *Server) prepareSite(site Vhost) error {
	dir := filepath.Join(site.Dir, "run")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the sites' user enters it
		return fmt.Errorf("make run folder of %s: %w", site.URI, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open run folder of %s: %w", site.URI, err)
	}
	defer func() { _ = root.Close() }()
	lock, err := openLock(root)
	if err != nil {
		return err
	}
	if err := lock.Close(); err != nil {
		return fmt.Errorf("close write lock of %s: %w", site.URI, err)
	}
	if err := run.Chown(dir, s.owner(site)); err != nil {
		return fmt.Errorf("prepare run folder of %s: %w", site.URI, err)
	}
	if err := s.enterable(dir, site.User); err != nil {
		return err
	}
	current := filepath.Join(site.Dir, "current")
	if _, err := os.Stat(current); err != nil {
		return nil // it may come later; until then visitors get 404
	}
	return s.enterable(current, site.User)
}

// openLock opens a site's write lock. The folder belongs to the sites' user, so
// nothing in it is trusted to be what it was.
func openLock(run *os.Root) (*os.File, error) {
	if err := makeLock(run); err != nil {
		return nil, fmt.Errorf("make write lock: %w", err)
	}
	return openLockFile(run, lockFile)
}

func openLockFile(run *os.Root, name string) (*os.File, error) {
	lock, err := run.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	info, err := lock.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a file")
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open lock %s in %s: %w", name, strings.TrimSuffix(run.Name(), "/"), err)
	}
	return lock, nil
}

// makeLock makes the lock file if there is none, readable for PHP's user whatever
// our umask is.
func makeLock(run *os.Root) error {
	lock, err := run.OpenFile(lockFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(lock.Chmod(0o644), lock.Close())
}
