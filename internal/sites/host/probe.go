package host

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"

	"hefring/internal/sites/webserver"
	"hefring/models"
)

// expected is the status that each probed path should answer with; 0 means any
// that is no failure.
type expected map[string]int

// sound is what a new site answers to anybody. The first page notices a
// maintenance mode that was left on, which the login page does not; the login
// page is there whatever the first page is. The prober adds a random query, which
// no page cache holds.
func sound() expected { return expected{"/": http.StatusOK, "/user/login": http.StatusOK} }

// unknown is what is expected of a site whose earlier answers nobody remembers.
func unknown() expected { return expected{"/": 0, "/user/login": 0} }

// closed is what a site in maintenance mode answers; its login page stays open.
func closed() expected { return expected{"/": http.StatusServiceUnavailable, "/user/login": 0} }

// remember asks what the site answers now, so that the new version can be held
// to it: an intranet may answer 403, a site in two languages with a redirect. It
// is nil when the site is not well.
func (h *Host) remember(ctx context.Context, site models.Site) (expected, error) {
	seen := expected{}
	for path := range sound() {
		answer, err := h.Web.Prober().Probe(ctx, webserver.Request{URI: site.URI, Path: path, Release: "current"})
		if err != nil {
			return nil, err
		}
		if answer.Status == http.StatusOK || answer.Status >= http.StatusInternalServerError {
			if err := webserver.Healthy(answer, ""); err != nil {
				return nil, err
			}
		}
		seen[path] = answer.Status
	}
	return seen, nil
}

// probe asks a release of the site for pages that no cache holds, and fails
// unless the answers are as expected and came from that docroot.
func (h *Host) probe(ctx context.Context, site models.Site, release, docroot string, want expected) (fact string, err error) {
	root, err := filepath.EvalSymlinks(docroot)
	if err != nil {
		return "", fmt.Errorf("find docroot: %w", err)
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		answer, err := h.Web.Prober().Probe(ctx, webserver.Request{URI: site.URI, Path: path, Release: release})
		if err != nil {
			return "", err
		}
		fact = fmt.Sprintf("%d in %d ms", answer.Status, answer.Took.Milliseconds())
		if err := meets(answer, path, root, want[path]); err != nil {
			return fact, err
		}
	}
	return fact, nil
}

func meets(answer webserver.Answer, path, root string, status int) error {
	if status == http.StatusServiceUnavailable && answer.Status == status && answer.Root == root {
		return nil // in maintenance mode, as before
	}
	if status == http.StatusOK || answer.Status == http.StatusOK || answer.Status >= http.StatusInternalServerError {
		if err := webserver.Healthy(answer, root); err != nil {
			return err
		}
	}
	switch {
	case answer.Root != root:
		return models.Errorf(models.Unavailable, "%s was answered by the code in %s instead of %s.", path, answer.Root, root)
	case status != 0 && answer.Status != status:
		return models.Errorf(models.Unavailable, "%s answers %d; before the upgrade it answered %d.", path, answer.Status, status)
	}
	return nil
}

// probePublic asks the site as a visitor does.
func (h *Host) probePublic(ctx context.Context, site models.Site, want expected) error {
	const path = "/user/login"
	answer, err := h.Web.Prober().Probe(ctx, webserver.Request{URI: site.URI, Path: path, Public: true})
	if err != nil {
		return err
	}
	return meets(answer, path, "", want[path])
}
