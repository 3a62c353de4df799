package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	if err := f.tellMissing(ctx); err != nil {
		return fmt.Errorf("look for platforms: %w", err)
	}
	if err := f.store.PruneUpstreams(ctx); err != nil {
		return err
	}
	if err := f.pruneBackups(ctx); err != nil {
		return fmt.Errorf("prune backups: %w", err)
	}
	if err := f.prunePlatforms(ctx); err != nil {
		return fmt.Errorf("prune platforms: %w", err)
	}
	if err := f.TidyRelocations(ctx); err != nil {
		return fmt.Errorf("tidy what moved to other servers: %w", err)
	}
	return f.forgetRetired(ctx)
}

// forgetRetired removes old releases and databases whose time is over.
func (f *Fleet) forgetRetired(ctx context.Context) error {
	list, err := f.store.RetiredUpgrades(ctx, f.cfg.Server, f.cfg.Now().Add(-keepOld), 100)
	if err != nil {
		return fmt.Errorf("list old databases: %w", err)
	}
	var failed []error
	for _, u := range list {
		if err := f.forget(ctx, u); err != nil { // one that cannot go must not keep the others
			failed = append(failed, fmt.Errorf("remove what upgrade %d kept: %w", u.ID, err))
		}
	}
	return errors.Join(failed...)
}

func (f *Fleet) tidyPlatforms(ctx context.Context) error {
	// The rows are read once the folders are listed: a build that begins
	// meanwhile is then in neither or in both.
	var rows *platformRows
	var failed error
	removed, err := f.cfg.Platforms.Reconcile(ctx, func(found platforms.Found) bool {
		if rows == nil && failed == nil {
			rows, failed = f.platformRows(ctx)
		}
		return failed != nil || rows.need(found)
	})
	for _, root := range removed {
		f.logger.InfoContext(ctx, "removed what a build left", slog.String("folder", root))
	}
	return errors.Join(err, failed)
}

// tellMissing moves platforms whose folder is gone from ready to failed: what
// the database says must be so.
func (f *Fleet) tellMissing(ctx context.Context) error {
	ready, err := f.store.PlatformsIn(ctx, models.PlatformReady)
	if err != nil {
		return err
	}
	var roots []string
	for _, p := range ready {
		roots = append(roots, p.Root)
	}
	missing, err := f.cfg.Platforms.Missing(roots)
	if err != nil {
		return err
	}
	for _, p := range ready {
		if !slices.Contains(missing, p.Root) {
			continue
		}
		err := f.store.MovePlatform(ctx, ActorSystem, p, models.PlatformFailed,
			"Its folder is gone from the disk. Find out who removed it, and press Build again.")
		if err != nil && models.CodeOf(err) != models.Conflict { // it is being deleted
			return err
		}
	}
	return nil
}

// platformRows is what the database knows of the folders on disk.
type platformRows struct {
	roots    map[string]bool
	building map[int64]bool
}

func (f *Fleet) platformRows(ctx context.Context) (*platformRows, error) {
	list, err := f.store.PlatformsIn(ctx, models.PlatformQueued, models.PlatformBuilding, models.PlatformReady, models.PlatformDeleting)
	if err != nil {
		return nil, err
	}
	rows := &platformRows{roots: map[string]bool{}, building: map[int64]bool{}}
	for _, p := range list {
		rows.roots[p.Root] = true
		if p.State == models.PlatformBuilding || p.State == models.PlatformQueued {
			rows.building[p.ID] = true
		}
	}
	return rows, nil
}

// need tells whether a folder stays. Between its publication and its record a
// platform is in no row: while anything builds, nothing published goes.
func (r *platformRows) need(found platforms.Found) bool {
	if found.Name == "" {
		return r.building[found.PlatformID]
	}
	return r.roots[found.Root] || len(r.building) > 0
}

// forget removes what a move kept of the old version, but for what another move,
// or the site itself, still needs.
func (f *Fleet) forget(ctx context.Context, u models.Upgrade) error {
	site, err := f.store.Site(ctx, u.SiteID)
	if err != nil {
		return err
	}
	if _, err := f.store.RunningTask(ctx, siteSubject(site.ID)); models.CodeOf(err) != models.NotFound {
		return err // it is being moved; the next turn comes
	}
	if u.Kind != models.KindUpgrade { // what it left goes only once it is in a backup
		b, err := f.store.BackupOfTask(ctx, u.TaskID)
		if err != nil && models.CodeOf(err) != models.NotFound {
			return err
		}
		if !b.Made() {
			f.logger.WarnContext(ctx, "what a move left was not backed up and is kept", slog.String("site", site.URI), slog.Int64("upgrade", u.ID))
			return nil
		}
	}
	kept, err := f.store.KeptUpgrades(ctx, u.SiteID)
	if err != nil {
		return err
	}
	needRelease, needDatabase := site.PlatformID == u.FromID, u.OldDatabase == site.Database
	for _, other := range kept {
		if other.ID == u.ID {
			continue
		}
		needRelease = needRelease || other.FromID == u.FromID
		needDatabase = needDatabase || other.OldDatabase == u.OldDatabase
	}
	from, db := models.Platform{}, u.OldDatabase
	if !needRelease {
		if from, err = f.store.Platform(ctx, u.FromID); err != nil {
			return err
		}
	}
	if needDatabase {
		db = models.Database{}
	}
	if !needRelease || !needDatabase {
		if err := f.cfg.Hosting.Forget(ctx, site, from, db); err != nil {
			return err
		}
	}
	now := f.cfg.Now()
	u.DroppedOldAt = &now
	return f.store.SaveUpgrade(ctx, u)
}
