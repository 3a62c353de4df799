package fleet

import (
	"context"
	"strings"

	"hefring/models"
)

// DeleteDistribution ends a distribution: its source is looked at no more, its
// webhooks, secrets and channels of notices go, and so do its platforms, each by a
// task of its own. Its row stays for the record. Conflict: sites live on its
// platforms, or could still be rolled back to one, or something works on one.
func (f *Fleet) DeleteDistribution(ctx context.Context, by string, id int64) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		d, err := tx.LockDistribution(ctx, id)
		if err != nil {
			return err
		}
		if err := f.dropPlatforms(ctx, tx, by, d); err != nil {
			return err
		}
		if err := f.stopWatching(ctx, tx, by, d); err != nil {
			return err
		}
		if err := tx.DeleteDistribution(ctx, id, f.cfg.Now()); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "delete", distributionSubject(id), "Deleted distribution "+d.Name+".").With(typed(d), nil))
	})
}

// dropPlatforms queues the deletion of all platforms. Each is marked before
// anybody looks whether sites need it: one that comes now waits and is refused.
func (f *Fleet) dropPlatforms(ctx context.Context, tx Tx, by string, d models.Distribution) error {
	platforms, err := tx.PlatformsOf(ctx, d.ID)
	if err != nil {
		return err
	}
	for _, p := range platforms {
		if err := f.dropPlatform(ctx, tx, by, p); err != nil {
			return err
		}
	}
	if err := f.noSites(ctx, tx, d, platforms); err != nil {
		return err
	}
	for _, p := range platforms {
		if err := f.noMoves(ctx, tx, p); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) dropPlatform(ctx context.Context, tx Tx, by string, p models.Platform) error {
	running, err := tx.RunningTask(ctx, platformSubject(p.ID))
	switch {
	case err == nil && running.Kind == models.TaskDelete:
		return nil
	case err == nil:
		return models.Errorf(models.Conflict, "“%s” is %s. Wait until it is over, or cancel it.", running.Title, running.State)
	case models.CodeOf(err) != models.NotFound:
		return err
	}
	if p.State != models.PlatformDeleting { // a deletion that failed before
		if err := tx.MovePlatform(ctx, by, p, models.PlatformDeleting, ""); err != nil {
			return err
		}
	}
	return tx.CreateTask(ctx, &models.Task{Kind: models.TaskDelete, Subject: platformSubject(p.ID), Title: "Delete " + p.Name, Actor: by})
}

// noSites answers Conflict when sites live on platforms of the distribution, and
// says what can be done.
func (f *Fleet) noSites(ctx context.Context, tx Tx, d models.Distribution, platforms []models.Platform) error {
	var sites []models.Site
	var homes []string
	for _, p := range platforms {
		here, err := tx.SitesOn(ctx, p.ID)
		if err != nil {
			return err
		}
		if len(here) > 0 {
			sites, homes = append(sites, here...), append(homes, p.Name)
		}
	}
	if len(sites) == 0 {
		return nil
	}
	return models.Errorf(models.Conflict,
		"%s live on %s. Delete them first, or clone them onto a platform of another distribution and delete them here. To have no new versions of %s while they stay, have its source checked only by hand.",
		nameSome(sites), strings.Join(homes, ", "), d.Name)
}

// stopWatching removes what would have told of the distribution, or been told.
func (f *Fleet) stopWatching(ctx context.Context, tx Tx, by string, d models.Distribution) error {
	hooks, err := tx.WebhooksOf(ctx, d.ID)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if err := f.dropWebhook(ctx, tx, by, h); err != nil {
			return err
		}
	}
	if err := tx.DeleteChannelsOf(ctx, by, d.ID); err != nil {
		return err
	}
	return f.cancelLooks(ctx, tx, by, d)
}

// cancelLooks ends comparisons with the target, and a look at the source unless
// other distributions come from there too.
func (f *Fleet) cancelLooks(ctx context.Context, tx Tx, by string, d models.Distribution) error {
	looks := []models.Subject{{Kind: models.SubjectTarget, ID: d.ID}}
	if d.UpstreamID != nil {
		subscribers, err := tx.Subscribers(ctx, *d.UpstreamID)
		if err != nil {
			return err
		}
		if len(subscribers) == 1 {
			looks = append(looks, upstreamSubject(*d.UpstreamID))
		}
	}
	for _, subject := range looks {
		task, err := tx.RunningTask(ctx, subject)
		if models.CodeOf(err) == models.NotFound {
			continue
		}
		if err != nil {
			return err
		}
		if err := tx.CancelTask(ctx, by, task.ID); err != nil {
			return err
		}
	}
	return nil
}
