package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/internal/sites/webserver"
	"hefring/models"
)

// vhost is a site as the web server should see it.
func (h *Host) vhost(site models.Site) webserver.Vhost {
	return webserver.Vhost{
		Carried: h.carried(site),
		SiteID:  site.ID, URI: site.URI, Dir: h.Layout.Dir(site.ID),
		Aliases: site.Aliases, Redirect: site.Redirect,
		HTTPS: site.HTTPS, Certificate: site.Certificate, CertificateKey: site.CertificateKey,
		Disabled: site.State == models.SiteDisabled, User: h.Layout.User(site.ID),
	}
}

// Configure brings the web server, and the settings that Drupal reads, to what
// the site's row says: its names, redirects, certificate, and whether it is
// disabled.
func (h *Host) Configure(ctx context.Context, site models.Site, log upgrade.Log) error {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	log.Step("configure")
	if err := h.rewrite(ctx, site); err != nil {
		// A site without sound code must be taken off the web all the same.
		if site.State != models.SiteDisabled || ctx.Err() != nil {
			return err
		}
		log.Printf(models.LevelWarn, "The settings were left as they are: %s", models.Explain(err))
	}
	return h.Web.AddSite(ctx, h.vhost(site))
}

// rewrite writes the settings of the release that serves anew: they name the
// site's addresses.
func (h *Host) rewrite(ctx context.Context, site models.Site) error {
	platform, err := h.Drupal.Serving(site)
	if err != nil {
		return err
	}
	return h.Drupal.WriteRelease(ctx, drupal.Release{Site: site, Platform: platform, Database: site.Database})
}

// Verify mends what a site needs on this server and fails unless it is sound: its
// settings and links, its database, the owners of its folders, its entry in the
// web server, the code that serves, its pages, Drupal itself. At last it ends a
// read-only time that an upgrade may have left.
func (h *Host) Verify(ctx context.Context, site models.Site, platform models.Platform, log upgrade.Log) error {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	r := drupal.Release{Site: site, Platform: platform, Database: site.Database}
	log.Step("settings")
	if err := h.Databases.Check(ctx, site.Database); err != nil {
		return err
	}
	if err := h.Drupal.WriteRelease(ctx, r); err != nil {
		return err
	}
	if err := h.serves(site, r); err != nil {
		return err
	}
	log.Step("web server")
	if err := h.Web.AddSite(ctx, h.vhost(site)); err != nil {
		return err
	}
	if err := h.answers(ctx, r, log); err != nil {
		return err
	}
	log.Step("Drupal")
	drush, err := h.Drupal.Drush(r, log.Out(), log.Err())
	if err != nil {
		return err
	}
	status, err := drush.Status(ctx)
	if err != nil {
		return err
	}
	log.Printf(models.LevelInfo, "Drupal %s starts", status.DrupalVersion)
	gate := webserver.Gate{Run: h.Layout.Run(site.ID)}
	return gate.Open()
}

// answers looks at the pages of a site that is not switched off.
func (h *Host) answers(ctx context.Context, r drupal.Release, log upgrade.Log) error {
	if r.Site.State == models.SiteDisabled {
		log.Printf(models.LevelInfo, "%s is disabled; its pages were not asked for", r.Site.URI)
		return nil
	}
	fact, err := h.probe(ctx, r.Site, "current", r.Docroot(), unknown())
	if err != nil {
		return err
	}
	log.Printf(models.LevelInfo, "%s answers %s", h.URL(r.Site), fact)
	return nil
}

// serves makes sure that the link to the code that serves leads to the release's
// platform. One that is missing is made; one that leads elsewhere is not ours to
// judge.
func (h *Host) serves(site models.Site, r drupal.Release) error {
	current := h.Layout.Current(site.ID)
	target, err := os.Readlink(current)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return point(current, r.Docroot())
	case err != nil:
		return fmt.Errorf("look at what serves %s: %w", site.URI, err)
	case filepath.Clean(target) != filepath.Clean(r.Docroot()):
		return models.Errorf(models.Conflict,
			"%s is served from %s, but should be on the platform %s. Move it there with an upgrade or a rollback.", site.URI, target, r.Platform.Name)
	}
	return nil
}
