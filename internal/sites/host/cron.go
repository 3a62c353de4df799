package host

import (
	"context"

	"hefring/internal/sites/drupal"
	"hefring/internal/sites/upgrade"
	"hefring/internal/sites/webserver"
	"hefring/models"
)

// Cron runs the site's own periodic work. It waits for other work on the site,
// and does nothing while the site is read-only: what cron writes then would be
// lost with the old version.
func (h *Host) Cron(ctx context.Context, site models.Site, platform models.Platform, log upgrade.Log) error {
	unlock, err := h.lock(ctx, site)
	if err != nil {
		return err
	}
	defer unlock()
	log.Step("cron")
	gate := webserver.Gate{Run: h.Layout.Run(site.ID)}
	if gate.Closed() {
		return models.Errorf(models.Conflict, "%s is read-only now. Cron runs again when it is not.", site.URI)
	}
	drush, err := h.Drupal.Drush(drupal.Release{Site: site, Platform: platform, Database: site.Database}, log.Out(), log.Err())
	if err != nil {
		return err
	}
	return drush.Cron(ctx)
}

// LoginLink makes a link that signs one person in, once, as the site's first
// user. It is a secret. It may be asked for while other work goes on.
func (h *Host) LoginLink(ctx context.Context, site models.Site, platform models.Platform) (string, error) {
	drush, err := h.Drupal.Drush(drupal.Release{Site: site, Platform: platform, Database: site.Database}, nil, nil)
	if err != nil {
		return "", err
	}
	return drush.LoginLink(ctx, h.URL(site))
}
