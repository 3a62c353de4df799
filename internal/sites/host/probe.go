package host

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"hefring/internal/sites/webserver"
	"hefring/models"
)

// versionHeader is how the gate tells a probe which Drupal answered.
const versionHeader = "X-Hefring-Drupal"

// expected is what a site should answer.
type expected struct {
	paths   []string       // that are probed, each by itself
	status  map[string]int // 0 means any that is no failure
	public  int            // of the last path, asked as visitors do
	text    string         // must stand on the first path's page; "" for none
	version string         // of Drupal; "" when it does not matter
}

// expect is the same status on all paths.
func expect(paths []string, status int) expected {
	e := expected{paths: paths, status: map[string]int{}, public: status}
	for _, path := range paths {
		e.status[path] = status
	}
	return e
}

// probedPaths are the site's own, or the usual two. The first page notices a
// maintenance mode that was left on, which the login page does not; the login
// page is there whatever the first page is. The prober adds a random query, which
// no page cache holds.
func probedPaths(site models.Site) []string {
	if len(site.Probes) > 0 {
		return site.Probes
	}
	return []string{"/", "/user/login"}
}

// sound is what a new site answers to anybody.
func sound() expected { return expect(probedPaths(models.Site{}), http.StatusOK) }

// unknown is what is expected of a site whose earlier answers nobody remembers.
func unknown() expected { return unknownOf(models.Site{}) }

// unknownOf is unknown for the pages of a certain site. Its text is expected: that
// it was not there before, somebody would remember.
func unknownOf(site models.Site) expected {
	e := expect(probedPaths(site), 0)
	e.text = site.ProbeText
	return e
}

// closed is what a site in maintenance mode answers; its login page stays open.
func closed(site models.Site) expected {
	e := expect(probedPaths(site), 0)
	for _, path := range e.paths {
		if path != loginPage {
			e.status[path] = http.StatusServiceUnavailable
		}
	}
	e.public = e.status[e.paths[len(e.paths)-1]]
	return e
}

const loginPage = "/user/login"

// closedNow is what a site in maintenance mode answers at this moment: some of its
// own pages may be plain files.
func (h *Host) closedNow(ctx context.Context, site models.Site) expected {
	e := closed(site)
	answers, err := h.ask(ctx, requestsOf(site, webserver.ReleaseCurrent, e.paths))
	if err != nil {
		return e
	}
	for i, path := range e.paths {
		e.status[path] = 0
		if answers[i].Status == http.StatusServiceUnavailable {
			e.status[path] = http.StatusServiceUnavailable
		}
	}
	e.public = e.status[e.paths[len(e.paths)-1]]
	return e
}

// of is what is expected when a platform's code answers.
func (e expected) of(p models.Platform) expected {
	e.version = p.DrupalVersion
	return e
}

// remember asks what the site answers now, so that the new version can be held
// to it: an intranet may answer 403, a site in two languages with a redirect. An
// error says that the site is not well. When its text is missing even now, that is
// told and nothing is expected of it.
func (h *Host) remember(ctx context.Context, site models.Site) (seen expected, textMissing bool, err error) {
	paths := probedPaths(site)
	requests := requestsOf(site, webserver.ReleaseCurrent, paths)
	requests = append(requests, webserver.Request{URI: site.URI, Path: paths[len(paths)-1], Public: true})
	answers, err := h.ask(ctx, requests)
	if err != nil {
		return seen, false, err
	}
	seen = expect(paths, 0)
	for i, path := range paths {
		if err := fit(answers[i], ""); err != nil {
			return expected{}, false, err
		}
		seen.status[path] = answers[i].Status
	}
	seen.public = answers[len(paths)].Status
	if contains(answers[0], site.ProbeText) {
		seen.text = site.ProbeText
		return seen, false, nil
	}
	return seen, true, nil
}

func requestsOf(site models.Site, release string, paths []string) []webserver.Request {
	requests := make([]webserver.Request, len(paths))
	for i, path := range paths {
		requests[i] = webserver.Request{URI: site.URI, Path: path, Release: release}
	}
	return requests
}

// abreast is how many pages are asked for at once.
const abreast = 3

// ask asks for several pages and gives the answers in their order. The first goes
// alone: after a rebuild it fills Drupal's caches, and several at once would each
// do all of that work.
func (h *Host) ask(ctx context.Context, requests []webserver.Request) ([]webserver.Answer, error) {
	answers, failures := make([]webserver.Answer, len(requests)), make([]error, len(requests))
	slots := make(chan struct{}, abreast)
	prober := h.Web.Prober()
	var all sync.WaitGroup
	if len(requests) > 0 {
		if answers[0], failures[0] = prober.Probe(ctx, requests[0]); failures[0] != nil {
			return nil, failures[0]
		}
	}
	for i := 1; i < len(requests); i++ {
		request := requests[i]
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			answers[i], failures[i] = prober.Probe(ctx, request)
		})
	}
	all.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// probe asks a release of the site for pages that no cache holds, and fails
// unless the answers are as expected and came from that docroot.
func (h *Host) probe(ctx context.Context, site models.Site, release, docroot string, want expected) (fact string, err error) {
	root, err := filepath.EvalSymlinks(docroot)
	if err != nil {
		return "", fmt.Errorf("find docroot: %w", err)
	}
	answers, err := h.ask(ctx, requestsOf(site, release, want.paths))
	if err != nil {
		return "", err
	}
	var facts []string
	for i, path := range want.paths {
		fact := fmt.Sprintf("%d in %d ms", answers[i].Status, answers[i].Took.Milliseconds())
		if err := meets(answers[i], path, root, want.status[path]); err != nil {
			return fact, err
		}
		facts = append(facts, fact)
	}
	if !contains(answers[0], want.text) && !inMaintenance(answers[0], want.status[want.paths[0]]) {
		return facts[0], models.Errorf(models.Unavailable, "%s does not show %q, which it should.", want.paths[0], want.text)
	}
	return facts[0], want.served(answers)
}

// served fails when another Drupal answered than the one that was to: code that was
// changed on the disk, or compiled code of before.
func (e expected) served(answers []webserver.Answer) error {
	if e.version == "" {
		return nil
	}
	said := false
	for i, answer := range answers {
		version := answer.Header.Get(versionHeader)
		if version == "" {
			continue // a plain file, perhaps
		}
		said = true
		if version != e.version {
			return models.Errorf(models.Unavailable,
				"%s is answered by Drupal %s, and the platform is Drupal %s. Verify the platform: somebody may have changed its code.", e.paths[i], version, e.version)
		}
	}
	if !said {
		return models.Errorf(models.Unavailable, "None of the pages %s says which Drupal answers. Probe at least one that Drupal makes.", strings.Join(e.paths, ", "))
	}
	return nil
}

// fit fails when an answer is that of a broken site, whatever is expected.
func fit(answer webserver.Answer, root string) error {
	if answer.Status == http.StatusOK || answer.Status >= http.StatusInternalServerError {
		return webserver.Healthy(answer, root)
	}
	return nil
}

func inMaintenance(answer webserver.Answer, status int) bool {
	return status == http.StatusServiceUnavailable && answer.Status == status
}

func meets(answer webserver.Answer, path, root string, status int) error {
	if inMaintenance(answer, status) && answer.Root == root {
		return nil // as before
	}
	if status == http.StatusOK {
		if err := webserver.Healthy(answer, root); err != nil {
			return err
		}
	}
	if err := fit(answer, root); err != nil {
		return err
	}
	switch {
	case answer.Root != root:
		return models.Errorf(models.Unavailable, "%s was answered by the code in %s instead of %s.", path, answer.Root, root)
	case status != 0 && answer.Status != status:
		return models.Errorf(models.Unavailable, "%s answers %d; before the upgrade it answered %d.", path, answer.Status, status)
	}
	return nil
}

// contains tells whether a text stands on a page, as HTML may write it.
func contains(answer webserver.Answer, text string) bool {
	return text == "" || slices.ContainsFunc([]string{text, html.EscapeString(text)}, func(form string) bool {
		return bytes.Contains(answer.Body, []byte(form))
	})
}

// probePublic asks the site as a visitor does.
func (h *Host) probePublic(ctx context.Context, site models.Site, want expected) error {
	path := want.paths[len(want.paths)-1]
	answer, err := h.Web.Prober().Probe(ctx, webserver.Request{URI: site.URI, Path: path, Public: true})
	if err != nil {
		return err
	}
	return meets(answer, path, "", want.public)
}
