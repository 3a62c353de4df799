package fleet

import (
	"context"
	"fmt"
	"time"

	"hefring/internal/platforms"
	"hefring/models"
)

// keepOld is how long the release and the database that a site had before an
// upgrade are kept.
const keepOld = 7 * 24 * time.Hour

// Tidy removes what nothing stands for any more: builds that died, and old
// releases and databases whose time is over.
func (f *Fleet) Tidy(ctx context.Context) error {
	if err := f.tidyPlatforms(ctx); err != nil {
		return fmt.Errorf("tidy platforms: %w", err)
	}
	list, err := f.store.RetiredUpgrades(ctx, f.cfg.Now().Add(-keepOld), 100)
	if err != nil {
		return fmt.Errorf("list old databases: %w", err)
	}
	for _, u := range list {
		if err := f.forget(ctx, u); err != nil {
			return fmt.Errorf("remove what upgrade %d kept: %w", u.ID, err)
		}
	}
	return nil
}

func (f *Fleet) tidyPlatforms(ctx context.Context) error {
	list, err := f.store.PlatformsIn(ctx, models.PlatformQueued, models.PlatformBuilding, models.PlatformReady, models.PlatformDeleting)
	if err != nil {
		return err
	}
	roots, building := map[string]bool{}, map[int64]bool{}
	for _, p := range list {
		if p.Root != "" {
			roots[p.Root] = true
		}
		if p.State == models.PlatformBuilding || p.State == models.PlatformQueued {
			building[p.ID] = true
		}
	}
	removed, err := f.cfg.Platforms.Reconcile(ctx, func(found platforms.Found) bool {
		if found.Name == "" {
			return building[found.PlatformID]
		}
		// Between its publication and its record a platform is in no row; while
		// anything builds, nothing published goes.
		return roots[found.Root] || len(building) > 0
	})
	for _, root := range removed {
		f.logger.InfoContext(ctx, "removed what a build left", "folder", root)
	}
	return err
}

func (f *Fleet) forget(ctx context.Context, u models.Upgrade) error {
	site, err := f.store.Site(ctx, u.SiteID)
	if err != nil {
		return err
	}
	if _, err := f.store.RunningTask(ctx, siteSubject(site.ID)); models.CodeOf(err) != models.NotFound {
		return err // it is being moved; the next turn comes
	}
	if site.PlatformID != u.FromID { // else it came back and uses both
		from, err := f.store.Platform(ctx, u.FromID)
		if err != nil {
			return err
		}
		old := u.OldDatabase
		if old == site.Database { // code mode
			old = models.Database{}
		}
		if err := f.cfg.Hosting.Forget(ctx, site, from, old); err != nil {
			return err
		}
	}
	now := f.cfg.Now()
	u.DroppedOldAt = &now
	return f.store.SaveUpgrade(ctx, u)
}
