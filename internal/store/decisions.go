package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// Decisions lists what needs a decision, most urgent first: sites that are
// broken, upgrades that put everything back, builds that failed, sources that
// fail or are held, database servers that cannot be used, scheduled backups that
// failed, sites with known holes, and at last sites that are behind. Each is one
// query.
func (s *Store) Decisions(ctx context.Context, f fleet.Filter) ([]fleet.Decision, error) {
	var all []fleet.Decision
	for _, find := range []func(context.Context, int) ([]fleet.Decision, error){
		s.brokenSites, s.recoveredSites, s.failedBuilds, s.stalledSources, s.deadServers, s.failedBackups, s.sitesAtRisk, s.waitingUpgrades,
	} {
		some, err := find(ctx, f.Limit)
		if err != nil {
			return nil, fmt.Errorf("list decisions: %w", err)
		}
		all = append(all, some...)
	}
	return all[:min(len(all), f.Limit)], nil
}

// newestTask is the id of the newest task of a subject.
func newestTask(kind models.SubjectKind, id string) string {
	return fmt.Sprintf("COALESCE((SELECT MAX(t.id) FROM tasks t WHERE t.subject_kind = '%s' AND t.subject_id = %s), 0)", kind, id)
}

func (s *Store) brokenSites(ctx context.Context, limit int) ([]fleet.Decision, error) {
	var found []struct {
		ID        int64
		URI       string
		Reason    string
		TaskID    int64
		UpdatedAt time.Time
	}
	err := s.with(ctx).Model(&models.Site{}).Where("state = ?", models.SiteBroken).
		Select("id, uri, reason, updated_at, " + newestTask(models.SubjectSite, "sites.id") + " AS task_id").
		Order("updated_at DESC, id").Limit(limit).Find(&found).Error
	decisions := make([]fleet.Decision, 0, len(found))
	for _, one := range found {
		decisions = append(decisions, fleet.Decision{
			Kind: fleet.DecideBroken, Subject: siteSubject(one.ID), Title: one.URI,
			Why: cmp.Or(one.Reason, "The site is broken. Its last task says more."), TaskID: one.TaskID, Sites: 1, At: one.UpdatedAt,
		})
	}
	return decisions, err
}

// recoveredSites lists enabled sites whose newest upgrade did not get them to
// their target. A later success, another way to the target or holding the site
// settles it.
func (s *Store) recoveredSites(ctx context.Context, limit int) ([]fleet.Decision, error) {
	var found []struct {
		ID           int64
		URI          string
		Reason       string
		State        models.UpgradeState
		FailedStep   models.StepName
		TaskID       int64
		PlatformID   int64
		PlatformName string
		EndedAt      *time.Time
	}
	err := s.sites(ctx).
		Joins("JOIN upgrades u ON u.id = (SELECT MAX(id) FROM upgrades WHERE site_id = sites.id)").
		Joins("JOIN platforms target ON target.id = u.to_id").
		Where("u.state IN ?", []models.UpgradeState{models.UpgradeRecovered, models.UpgradeFatal}).
		Where(behind).
		Select("sites.id, sites.uri, u.reason, u.state, u.failed_step, u.task_id, u.ended_at, target.id AS platform_id, target.name AS platform_name").
		Order("u.state, u.ended_at DESC, sites.id").Limit(limit).Find(&found).Error
	decisions := make([]fleet.Decision, 0, len(found))
	for _, one := range found {
		d := fleet.Decision{
			Kind: fleet.DecideRecovered, Subject: siteSubject(one.ID), Title: one.URI, TaskID: one.TaskID,
			PlatformID: one.PlatformID, PlatformName: one.PlatformName, Sites: 1,
			Why: cmp.Or(one.Reason, fmt.Sprintf("The upgrade to %s failed at %s. The site serves as before.", one.PlatformName, one.FailedStep)),
		}
		if one.State == models.UpgradeFatal {
			d.Kind = fleet.DecideBroken
			d.Why = cmp.Or(one.Reason, fmt.Sprintf("The upgrade to %s failed at %s and could not be put back. Look at the site.", one.PlatformName, one.FailedStep))
		}
		if one.EndedAt != nil {
			d.At = *one.EndedAt
		}
		decisions = append(decisions, d)
	}
	return decisions, err
}

// failedBuild is true of distributions d whose newest platform did not build.
const failedBuild = "EXISTS (SELECT 1 FROM platforms f WHERE f.state = 'failed' AND f.id = " +
	"(SELECT MAX(id) FROM platforms WHERE distribution_id = %s AND state <> 'deleted'))"

func (s *Store) failedBuilds(ctx context.Context, limit int) ([]fleet.Decision, error) {
	var found []struct {
		ID           int64
		Name         string
		Reason       string
		Distribution string
		TaskID       int64
		UpdatedAt    time.Time
	}
	err := s.with(ctx).Model(&models.Platform{}).
		Joins("JOIN distributions d ON d.id = platforms.distribution_id").
		Where("platforms.state = ?", models.PlatformFailed).
		Where("platforms.id = (SELECT MAX(id) FROM platforms newest WHERE newest.distribution_id = d.id AND newest.state <> 'deleted')").
		Select("platforms.id, platforms.name, platforms.reason, platforms.updated_at, d.name AS distribution, " +
			newestTask(models.SubjectPlatform, "platforms.id") + " AS task_id").
		Order("platforms.updated_at DESC, platforms.id").Limit(limit).Find(&found).Error
	decisions := make([]fleet.Decision, 0, len(found))
	for _, one := range found {
		decisions = append(decisions, fleet.Decision{
			Kind: fleet.DecideBuild, Subject: platformSubject(one.ID), Title: one.Name, TaskID: one.TaskID, At: one.UpdatedAt,
			Why: cmp.Or(one.Reason, "The newest platform of "+one.Distribution+" did not build. Its log says why."),
		})
	}
	return decisions, err
}

// stalledSources lists distributions that are held or failing. One that fails
// because its newest platform did not build is told as that.
func (s *Store) stalledSources(ctx context.Context, limit int) ([]fleet.Decision, error) {
	var found []struct {
		ID        int64
		Name      string
		Reason    string
		Condition models.Condition
		TaskID    int64
		At        time.Time
	}
	err := s.with(ctx).Model(&models.Distribution{}).
		Where("condition = ? OR (condition = ? AND NOT "+fmt.Sprintf(failedBuild, "distributions.id")+")", models.ConditionHeld, models.ConditionFailing).
		Select("id, name, reason, condition, COALESCE(last_check_at, updated_at) AS at, " +
			newestTask(models.SubjectUpstream, "distributions.upstream_id") + " AS task_id").
		Order("condition DESC, updated_at DESC, id").Limit(limit).Find(&found).Error
	decisions := make([]fleet.Decision, 0, len(found))
	for _, one := range found {
		why := "The source does not answer as it should."
		if one.Condition == models.ConditionHeld {
			why = "Something unusual happened at the source. A person must decide."
		}
		decisions = append(decisions, fleet.Decision{
			Kind: fleet.DecideSource, Subject: models.Subject{Kind: models.SubjectDistribution, ID: one.ID}, Title: one.Name,
			Why: cmp.Or(one.Reason, why), TaskID: one.TaskID, At: one.At,
		})
	}
	return decisions, err
}

// deadServers lists the database servers that failed their last test.
func (s *Store) deadServers(ctx context.Context, limit int) ([]fleet.Decision, error) {
	var found []models.DatabaseServer
	err := s.with(ctx).Where("reason <> ''").Order("tested_at DESC, id").Limit(limit).Find(&found).Error
	decisions := make([]fleet.Decision, 0, len(found))
	for _, one := range found {
		d := fleet.Decision{Kind: fleet.DecideServer, Subject: serverSubject(one.ID), Title: one.Name, Why: one.Reason}
		if one.TestedAt != nil {
			d.At = *one.TestedAt
		}
		decisions = append(decisions, d)
	}
	return decisions, err
}

// failedBackups lists the sites whose last scheduled backup failed and that have
// no newer one.
func (s *Store) failedBackups(ctx context.Context, limit int) ([]fleet.Decision, error) {
	var found []struct {
		ID      int64
		URI     string
		TaskID  int64
		Message string
		EndedAt time.Time
	}
	err := s.with(ctx).Model(&models.Site{}).
		Joins("JOIN tasks t ON t.id = (SELECT MAX(id) FROM tasks WHERE subject_kind = ? AND subject_id = sites.id AND kind = ? AND ended_at IS NOT NULL)", models.SubjectSite, models.TaskBackup).
		Where("sites.backup_every > 0 AND sites.state = ? AND t.state = ?", models.SiteEnabled, models.TaskFailed).
		Select("sites.id, sites.uri, t.id AS task_id, t.message, t.ended_at").
		Order("t.ended_at DESC, sites.id").Limit(limit).Find(&found).Error
	decisions := make([]fleet.Decision, 0, len(found))
	for _, one := range found {
		decisions = append(decisions, fleet.Decision{
			Kind: fleet.DecideBackup, Subject: siteSubject(one.ID), Title: one.URI, TaskID: one.TaskID, Sites: 1, At: one.EndedAt,
			Why: "Its last backup failed: " + cmp.Or(one.Message, "its log says why."),
		})
	}
	return decisions, err
}

// sitesAtRisk lists platforms with known holes that sites run on.
func (s *Store) sitesAtRisk(ctx context.Context, limit int) ([]fleet.Decision, error) {
	var found []struct {
		ID        int64
		Name      string
		UpdatedAt time.Time
		Sites     int
	}
	err := s.with(ctx).Model(&models.Platform{}).Joins("JOIN sites ON sites.platform_id = platforms.id AND sites.state <> ?", models.SiteDeleted).
		Where("platforms.at_risk AND platforms.state = ?", models.PlatformReady).
		Select("platforms.id, platforms.name, platforms.updated_at, COUNT(*) AS sites").
		Group("platforms.id, platforms.name, platforms.updated_at").Order("sites DESC, platforms.id").Limit(limit).Find(&found).Error
	decisions := make([]fleet.Decision, 0, len(found))
	for _, one := range found {
		runs := "sites run"
		if one.Sites == 1 {
			runs = "site runs"
		}
		decisions = append(decisions, fleet.Decision{
			Kind: fleet.DecideRisk, Subject: platformSubject(one.ID), Title: one.Name,
			Why: fmt.Sprintf("%d %s on a version that has a known hole, was taken back, or gets no more repairs.", one.Sites, runs), Sites: one.Sites, At: one.UpdatedAt,
		})
	}
	return decisions, err
}

// waitingUpgrades lists distributions with sites behind for which no batch is
// under way.
func (s *Store) waitingUpgrades(ctx context.Context, limit int) ([]fleet.Decision, error) {
	var found []struct {
		ID            int64
		Name          string
		PlatformID    int64
		PlatformName  string
		DrupalVersion string
		Label         string
		BuiltAt       *time.Time
		Sites         int
	}
	err := s.sites(ctx).Joins("JOIN platforms target ON target.id = d.target_id").Where(behind).
		Where("NOT EXISTS (SELECT 1 FROM tasks t JOIN platforms b ON b.id = t.subject_id WHERE b.distribution_id = d.id"+
			" AND t.kind = ? AND t.subject_kind = ? AND t.state IN ?)", models.TaskUpgradePlatform, models.SubjectPlatform, unfinished()).
		Select("d.id, d.name, target.id AS platform_id, target.name AS platform_name, target.drupal_version, target.label, target.built_at, COUNT(*) AS sites").
		Group("d.id, d.name, target.id, target.name, target.drupal_version, target.label, target.built_at").
		Order("sites DESC, d.id").Limit(limit).Find(&found).Error
	decisions := make([]fleet.Decision, 0, len(found))
	for _, one := range found {
		d := fleet.Decision{
			Kind: fleet.DecideUpgrade, Subject: models.Subject{Kind: models.SubjectDistribution, ID: one.ID}, Title: one.Name,
			Why:        fmt.Sprintf("%s behind %s.", areSites(one.Sites), one.PlatformName),
			PlatformID: one.PlatformID, PlatformName: one.PlatformName, Sites: one.Sites,
		}
		if one.BuiltAt != nil {
			d.At = *one.BuiltAt
		}
		decisions = append(decisions, d)
	}
	return decisions, err
}

func areSites(n int) string {
	if n == 1 {
		return "1 site is"
	}
	return fmt.Sprintf("%d sites are", n)
}
