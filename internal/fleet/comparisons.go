package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"

	"hefring/models"
)

// queueComparison has Drush asked what upgrading a distribution's outdated sites
// would do; site narrows it to one. A comparison that is on its way serves all.
func (f *Fleet) queueComparison(ctx context.Context, tx Tx, by string, d models.Distribution, site *models.Site) error {
	t := comparisonTask(by, d, site)
	if _, err := tx.RunningTask(ctx, t.Subject); models.CodeOf(err) != models.NotFound {
		return err
	}
	return tx.CreateTask(ctx, &t)
}

func comparisonTask(by string, d models.Distribution, site *models.Site) models.Task {
	t := models.Task{
		Kind: models.TaskCompare, Actor: by, Title: "Compare outdated sites of " + d.Name,
		Subject: models.Subject{Kind: models.SubjectTarget, ID: d.ID},
	}
	if site != nil {
		t.Title = "Compare " + site.URI + " with the upgrade target"
		t.Args = models.Settings{"site": strconv.FormatInt(site.ID, 10)}
	}
	return t
}

// CompareNow asks Drush what upgrading a site would do.
func (f *Fleet) CompareNow(ctx context.Context, by string, siteID int64) (models.Task, error) {
	row, err := f.store.SiteRow(ctx, siteID)
	if err != nil {
		return models.Task{}, err
	}
	if row.Target == nil || row.Target.ID == row.PlatformID {
		return models.Task{}, models.Errorf(models.Conflict, "%s is on its upgrade target already.", row.URI)
	}
	if err := f.reachable(row.Site); err != nil {
		return models.Task{}, err
	}
	d, err := f.store.Distribution(ctx, row.DistributionID)
	if err != nil {
		return models.Task{}, err
	}
	return f.start(ctx, comparisonTask(by, d, &row.Site))
}

// RunCompare is the task that asks Drush about a distribution's outdated sites.
func (f *Fleet) RunCompare(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	d, err := f.store.Distribution(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	if d.TargetID == nil {
		return "There is no upgrade target", "", nil
	}
	to, err := f.store.Platform(ctx, *d.TargetID)
	if err != nil {
		return "", "", err
	}
	wanted := t.Args["site"]
	asked, failed := 0, 0
	list, err := f.store.PlatformsOf(ctx, d.ID)
	if err != nil {
		return "", "", err
	}
	for _, from := range list {
		if from.ID == to.ID || from.State != models.PlatformReady {
			continue
		}
		a, n, err := f.compareAll(ctx, from, to, wanted, log)
		if err != nil {
			return "", "", err
		}
		asked, failed = asked+a, failed+n
	}
	message := fmt.Sprintf("%d sites compared with %s", asked, to.Name)
	if failed > 0 {
		return fmt.Sprintf("%s, %d could not be asked", message, failed), models.TaskWarning, nil
	}
	return message, "", nil
}

// compareAll asks about the sites of one platform; one that cannot be asked does
// not hinder the others.
func (f *Fleet) compareAll(ctx context.Context, from, to models.Platform, wanted string, log Log) (asked, failed int, err error) {
	sites, err := f.store.SitesOn(ctx, from.ID)
	if err != nil {
		return 0, 0, err
	}
	for _, site := range sites {
		if wanted != "" && wanted != strconv.FormatInt(site.ID, 10) || site.State != models.SiteEnabled || site.Held || !f.here(site) {
			continue
		}
		if known, err := f.store.Comparison(ctx, site.ID); err == nil && wanted == "" && known.Fresh(site, to.ID) {
			continue
		}
		log.Step(site.URI)
		comparison, err := f.cfg.Hosting.Compare(ctx, site, from, to, log)
		if ctx.Err() != nil {
			return asked, failed, context.Cause(ctx)
		}
		if err != nil {
			failed++
			log.Printf(models.LevelError, "%s: %s", site.URI, models.Explain(err))
			f.logger.WarnContext(ctx, "compare site", slog.String("site", site.URI), slog.Any("error", err))
			continue
		}
		asked++
		comparison.MadeAt = f.cfg.Now()
		if err := f.store.SaveComparison(ctx, &comparison); err != nil {
			return asked, failed, err
		}
		log.Printf(models.LevelInfo, "%s: %d database updates, %d blockers", site.URI, len(comparison.Updates), len(comparison.Blockers))
	}
	return asked, failed, nil
}
