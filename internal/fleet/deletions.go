package fleet

import (
	"context"
	"fmt"
	"slices"

	"hefring/models"
)

// DeletePlatform has a platform removed from the disk. Conflict: sites live
// there, or could still be rolled back to it.
func (f *Fleet) DeletePlatform(ctx context.Context, by string, id int64) (models.Task, error) {
	p, err := f.store.Platform(ctx, id)
	if err != nil {
		return models.Task{}, err
	}
	if err := f.spare(ctx, f.store, p); err != nil {
		return models.Task{}, err
	}
	return f.start(ctx, models.Task{Kind: models.TaskDelete, Subject: platformSubject(id), Title: "Delete " + p.Name, Actor: by})
}

// spare answers Conflict unless nothing needs the platform.
func (f *Fleet) spare(ctx context.Context, tx Tx, p models.Platform) error {
	switch p.State {
	case models.PlatformReady, models.PlatformFailed, models.PlatformDeleting:
	default:
		return models.Errorf(models.Conflict, "%s is %s.", p.Name, p.State)
	}
	d, err := tx.Distribution(ctx, p.DistributionID)
	if err != nil && models.CodeOf(err) != models.NotFound { // of a distribution that was deleted nothing is the target
		return err
	}
	if err == nil && isTarget(d, p) {
		return models.Errorf(models.Conflict, "%s is the upgrade target of %s. Make another platform the target first.", p.Name, d.Name)
	}
	sites, err := tx.SitesOn(ctx, p.ID)
	if err != nil {
		return err
	}
	if len(sites) > 0 {
		return models.Errorf(models.Conflict, "%s live on %s. Upgrade or delete them first.", nameSome(sites), p.Name)
	}
	return f.noMoves(ctx, tx, p)
}

// noMoves answers Conflict when a site is being moved from or to the platform, or
// could still be rolled back to it.
func (f *Fleet) noMoves(ctx context.Context, tx Tx, p models.Platform) error {
	moves, err := tx.UpgradesNeeding(ctx, p.ID)
	if err != nil || len(moves) == 0 {
		return err
	}
	site, err := tx.Site(ctx, moves[0].SiteID)
	if err != nil {
		return err
	}
	if ended := moves[0].EndedAt; ended != nil {
		return models.Errorf(models.Conflict, "%s can still be rolled back to %s, until %s.", site.URI, p.Name, ended.Add(keepOld).Format("2 January 15:04"))
	}
	return models.Errorf(models.Conflict, "%s is being moved and needs %s.", site.URI, p.Name)
}

// deletePlatform is the task that removes a platform. It is marked first, so
// that no site comes while its folder goes.
func (f *Fleet) deletePlatform(ctx context.Context, t models.Task, _ Log) (string, models.TaskState, error) {
	p, err := f.store.Platform(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	if p.State == models.PlatformDeleted {
		return p.Name + " is deleted", "", nil
	}
	if p.State != models.PlatformDeleting {
		err := f.store.InTx(ctx, func(tx Tx) error {
			// The move writes first, so that a site that comes now waits and is refused.
			if err := tx.MovePlatform(ctx, t.Actor, p, models.PlatformDeleting, ""); err != nil {
				return err
			}
			return f.spare(ctx, tx, p)
		})
		if err != nil {
			return "", "", err
		}
		p.State = models.PlatformDeleting
	}
	if p.Root != "" {
		if err := f.cfg.Platforms.Delete(ctx, p.Root); err != nil {
			return "", "", fmt.Errorf("delete %s: %w", p.Name, err)
		}
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		return tx.MovePlatform(ctx, t.Actor, p, models.PlatformDeleted, "")
	})
	return p.Name + " is deleted, " + bytes(p.Bytes), "", err
}

// prunePlatforms queues the deletion of platforms beyond the number that their
// distribution keeps and that nothing needs.
func (f *Fleet) prunePlatforms(ctx context.Context) error {
	keeping, err := f.store.Keeping(ctx)
	if err != nil {
		return err
	}
	for _, d := range keeping {
		list, err := f.store.PlatformsOf(ctx, d.ID) // newest first
		if err != nil {
			return err
		}
		kept := 0
		for _, p := range list {
			if isTarget(d, p) || p.State != models.PlatformReady && p.State != models.PlatformFailed {
				continue
			}
			if kept++; kept <= d.KeepPlatforms {
				continue
			}
			if _, err := f.DeletePlatform(ctx, ActorSystem, p.ID); err != nil && models.CodeOf(err) != models.Conflict {
				return err
			}
		}
	}
	return nil
}

// DiffPlatforms puts two platforms side by side, with the sites of the first.
func (f *Fleet) DiffPlatforms(ctx context.Context, fromID, toID int64) (PlatformDiff, error) {
	from, err := f.store.Platform(ctx, fromID)
	if err != nil {
		return PlatformDiff{}, err
	}
	to, err := f.store.Platform(ctx, toID)
	if err != nil {
		return PlatformDiff{}, err
	}
	diff := PlatformDiff{From: from, To: to, Packages: models.DiffPackages(from.Packages, to.Packages)}
	sites, err := f.store.SiteAddresses(ctx, fromID)
	if err != nil {
		return diff, err
	}
	known, err := f.store.ComparisonsOn(ctx, fromID, toID)
	if err != nil {
		return diff, err
	}
	asked := map[int64]*models.Comparison{}
	for i := range known {
		asked[known[i].SiteID] = &known[i]
	}
	for i := range sites {
		diff.Sites = append(diff.Sites, SiteDiff{Site: &sites[i], Comparison: asked[sites[i].ID]})
	}
	return diff, nil
}

// RetryTask queues the same work once more. Invalid: this kind of work has a
// button of its own.
func (f *Fleet) RetryTask(ctx context.Context, by string, taskID int64) (models.Task, error) {
	t, err := f.store.Task(ctx, taskID)
	if err != nil {
		return models.Task{}, err
	}
	if !t.State.Over() {
		return t, models.Errorf(models.Conflict, "%s has not ended yet.", t.Title)
	}
	switch t.Kind {
	case models.TaskInstall, models.TaskClone:
		return f.RetryInstall(ctx, by, t.Subject.ID)
	case models.TaskBuild:
		return f.RetryBuild(ctx, by, t.Subject.ID)
	case models.TaskUpgrade:
		return f.UpgradeToTarget(ctx, by, t.Subject.ID)
	case models.TaskRollback:
		plan, err := f.wayBack(ctx, t.Subject.ID)
		if err != nil {
			return models.Task{}, err
		}
		return f.RollbackSite(ctx, by, t.Subject.ID, plan.Upgrade.ID)
	case models.TaskRestore:
		u, err := f.store.UpgradeOfTask(ctx, t.ID)
		if err != nil {
			return models.Task{}, err
		}
		return f.RestoreSite(ctx, by, *u.BackupID, u.ToID)
	case models.TaskRelocate:
		r, err := f.store.RelocationOfTask(ctx, t.ID)
		if err != nil {
			return models.Task{}, err
		}
		to := int64(0)
		if r.ToID != nil {
			to = *r.ToID
		}
		return f.RelocateSite(ctx, by, r.SiteID, to)
	case models.TaskCloneTo:
		return f.retryCloneTo(ctx, by, t)
	case models.TaskBackup:
		return f.BackupSite(ctx, by, t.Subject.ID, "", false)
	case models.TaskVerify, models.TaskCron, models.TaskEnable, models.TaskDisable, models.TaskConfigure, models.TaskDelete, models.TaskImport, models.TaskCompare, models.TaskDeliver:
		return f.start(ctx, models.Task{Kind: t.Kind, Subject: t.Subject, Title: t.Title, Actor: by, Args: t.Args})
	default:
		return models.Task{}, models.Errorf(models.Invalid, "%s cannot be repeated from here. Use the button on the page of what it works on.", t.Title)
	}
}

// Retryable tells whether RetryTask can repeat a task.
func Retryable(t models.Task) bool {
	return t.State.Over() && t.State != models.TaskSucceeded && !slices.Contains(unrepeatable(), t.Kind) && !t.Kind.Question()
}

// unrepeatable lists what is repeated with the button of what it belongs to.
func unrepeatable() []models.TaskKind {
	return []models.TaskKind{models.TaskCheck, models.TaskUpgradePlatform, models.TaskSend, models.TaskReceive, models.TaskHandOver}
}
