package webserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"hefring/models"
)

// Vhost is one site as the web server sees it.
type Vhost struct {
	SiteID int64  `json:"site"`
	URI    string `json:"uri"` // host name, lower case, without port
	Dir    string `json:"dir"` // the site's own folder, sites.Layout.Dir: holds current, next and run
}

func (v Vhost) compare(other Vhost) int { return cmp.Compare(v.SiteID, other.SiteID) }

type siteList map[int64]Vhost

var hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

func (v Vhost) check() error {
	if v.SiteID <= 0 {
		return fmt.Errorf("serve site: %d is not a site's number", v.SiteID)
	}
	if len(v.URI) > 253 || !hostPattern.MatchString(v.URI) {
		return models.InvalidField("uri", "Use a host name such as museum.example.org: letters, digits, dots and hyphens, no port and no path.")
	}
	return checkPath(v.Dir)
}

// AddSite serves a site, or changes how it is served, and waits until nginx
// answers with it. It starts the daemons if they do not run. What nginx refuses
// changes nothing: the sites before go on as they were.
func (s *Server) AddSite(ctx context.Context, site Vhost) error {
	if err := site.check(); err != nil {
		return err
	}
	if err := s.prepareSite(site); err != nil {
		return err
	}
	return s.change(ctx, func(sites siteList) error {
		for id, other := range sites {
			if other.URI == site.URI && id != site.SiteID {
				return models.Errorf(models.Conflict, "The web server already serves another site as %s. Choose another name.", site.URI)
			}
		}
		sites[site.SiteID] = site
		return nil
	})
}

// RemoveSite stops serving a site; its files stay. A site that is not served is
// no failure.
func (s *Server) RemoveSite(ctx context.Context, siteID int64) error {
	return s.change(ctx, func(sites siteList) error {
		delete(sites, siteID)
		return nil
	})
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
	if err := s.runner.Chown(dir); err != nil {
		return fmt.Errorf("prepare run folder of %s: %w", site.URI, err)
	}
	if err := s.enterable(dir); err != nil {
		return err
	}
	current := filepath.Join(site.Dir, "current")
	if _, err := os.Stat(current); err != nil {
		return nil // it may come later; until then visitors get 404
	}
	return s.enterable(current)
}

// openLock opens a site's write lock. The folder belongs to the sites' user, so
// nothing in it is trusted to be what it was.
func openLock(run *os.Root) (*os.File, error) {
	if err := makeLock(run); err != nil {
		return nil, fmt.Errorf("make write lock: %w", err)
	}
	lock, err := run.OpenFile(lockFile, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open write lock: %w", err)
	}
	info, err := lock.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a file")
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open write lock in %s: %w", strings.TrimSuffix(run.Name(), "/"), err)
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
