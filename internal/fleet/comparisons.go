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
	d, err := f.store.Distribution(ctx, row.DistributionID)
	if err != nil {
		return models.Task{}, err
	}
	if row.ServerID != nil {
		t, err := f.comparisonThere(ctx, comparisonTask(by, d, &row.Site), *row.ServerID, row.Target.ID)
		if err != nil {
			return t, err
		}
		return f.start(ctx, t)
	}
	return f.start(ctx, comparisonTask(by, d, &row.Site))
}

// RunCompare is the task that asks Drush about a distribution's outdated sites.
func (f *Fleet) RunCompare(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	if t.Subject.Kind == models.SubjectServerTarget {
		return f.runCompareThere(ctx, t, log)
	}
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
	if t.Args["site"] == "" {
		if err := f.compareElsewhere(ctx, t, d, to, log); err != nil {
			return "", "", err
		}
	}
	return f.compareWith(ctx, to, t.Args["site"], log)
}

// compareWith asks about the outdated sites that are on this server.
func (f *Fleet) compareWith(ctx context.Context, to models.Platform, wanted string, log Log) (string, models.TaskState, error) {
	asked, failed := 0, 0
	list, err := f.store.PlatformsOf(ctx, to.DistributionID)
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
		if !f.here(site) || !f.wantsComparison(ctx, site, to, wanted) {
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

// wantsComparison tells whether a site is to be compared with a target: the wanted one
// is, all others unless that is known.
func (f *Fleet) wantsComparison(ctx context.Context, site models.Site, to models.Platform, wanted string) bool {
	if site.State != models.SiteEnabled || site.Held {
		return false
	}
	if wanted != "" {
		return wanted == strconv.FormatInt(site.ID, 10)
	}
	known, err := f.store.Comparison(ctx, site.ID)
	return err != nil || !known.Fresh(site, to.ID)
}

// compareElsewhere has the servers with outdated sites ask about theirs. The target is
// brought there for it, which an upgrade then need not wait for.
func (f *Fleet) compareElsewhere(ctx context.Context, t models.Task, d models.Distribution, to models.Platform, log Log) error {
	servers, err := f.outdatedServers(ctx, to)
	if err != nil {
		return err
	}
	for _, server := range servers {
		there := comparisonTask(t.Actor, d, nil)
		there.Title += " on " + server.Name
		there, err := f.comparisonThere(ctx, there, server.ID, to.ID)
		if err != nil {
			return err
		}
		if _, err := f.start(ctx, there); err != nil && models.CodeOf(err) != models.Conflict { // it is on its way
			return err
		}
		log.Printf(models.LevelInfo, "%s compares the sites that are on it", server.Name)
	}
	return nil
}

// outdatedServers lists the servers with sites that are to be compared with a target.
func (f *Fleet) outdatedServers(ctx context.Context, to models.Platform) ([]models.Server, error) {
	platforms, err := f.store.PlatformsOf(ctx, to.DistributionID)
	if err != nil {
		return nil, err
	}
	found := map[int64]bool{}
	var list []models.Server
	for _, from := range platforms {
		if from.ID == to.ID || from.State != models.PlatformReady {
			continue
		}
		sites, err := f.store.SitesOn(ctx, from.ID)
		if err != nil {
			return nil, err
		}
		for _, site := range sites {
			if site.ServerID == nil || found[*site.ServerID] || !f.wantsComparison(ctx, site, to, "") {
				continue
			}
			server, err := f.store.Server(ctx, *site.ServerID)
			if err != nil {
				return nil, err
			}
			found[server.ID] = true
			list = append(list, server)
		}
	}
	return list, nil
}

// comparisonThere makes a comparison the work of a server.
func (f *Fleet) comparisonThere(ctx context.Context, t models.Task, serverID, targetID int64) (models.Task, error) {
	d, err := f.store.EnsureDelivery(ctx, serverID, targetID)
	t.Subject = models.Subject{Kind: models.SubjectServerTarget, ID: d.ID}
	return t, err
}

// runCompareThere is the task that asks Drush about the outdated sites of a server, on
// that server.
func (f *Fleet) runCompareThere(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	d, err := f.store.Delivery(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	if d.ServerID != f.cfg.Server {
		return "", "", models.Errorf(models.Conflict, "These sites are on another server.")
	}
	to, err := f.store.Platform(ctx, d.PlatformID)
	if err != nil {
		return "", "", err
	}
	if err := f.brought(ctx, t, to); err != nil {
		return "", "", err
	}
	return f.compareWith(ctx, to, t.Args["site"], log)
}
