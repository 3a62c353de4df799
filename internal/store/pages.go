package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"gorm.io/gorm"

	"hefring/internal/fleet"
	"hefring/models"
)

// behind is true of sites that an Upgrade button would move. It needs d, the
// distribution.
const behind = "sites.state = 'enabled' AND NOT sites.held AND d.target_id IS NOT NULL AND d.target_id <> sites.platform_id"

// heavy are columns of platforms that lists do not show.
func heavy() []string { return []string{"packages", "provenance"} }

// defaultLimit is how many rows a page shows when it does not say.
const defaultLimit = 50

// sites joins every living site with its platform p and distribution d.
func (s *Store) sites(ctx context.Context) *gorm.DB {
	return s.with(ctx).Model(&models.Site{}).
		Joins("JOIN platforms p ON p.id = sites.platform_id").Joins("JOIN distributions d ON d.id = p.distribution_id").
		Where("sites.state <> ?", models.SiteDeleted)
}

// page counts the rows of a query, then loads those of one page.
func page[T any](query *gorm.DB, f fleet.Filter, order string, omit ...string) ([]T, int, error) {
	query = query.Session(&gorm.Session{})
	var total int64
	if err := query.Count(&total).Error; err != nil {
		return nil, 0, err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	var rows []T
	err := query.Order(order).Limit(limit).Offset(max(f.Offset, 0)).Omit(omit...).Find(&rows).Error
	return rows, int(total), err
}

// Fleet counts the fleet.
func (s *Store) Fleet(ctx context.Context, f fleet.Filter) (fleet.Counts, error) {
	var c fleet.Counts
	count := func(when string) string { return "COALESCE(SUM(CASE WHEN " + when + " THEN 1 ELSE 0 END), 0)" }
	err := s.sites(ctx).Select(
		count("sites.state = 'enabled' AND NOT sites.held AND (d.target_id IS NULL OR d.target_id = sites.platform_id)") + " AS current, " +
			count(behind) + " AS behind, " +
			count("sites.state = 'enabled' AND sites.held") + " AS held, " +
			count("sites.state = 'broken'") + " AS broken, " +
			count("sites.state = 'disabled'") + " AS disabled, " +
			count("sites.state IN ('installing', 'upgrading', 'deleting')") + " AS busy").Scan(&c).Error
	if err != nil {
		return c, fmt.Errorf("count sites: %w", err)
	}
	var rest struct{ Distributions, Platforms int }
	err = s.with(ctx).Raw("SELECT (SELECT COUNT(*) FROM distributions) AS distributions, " +
		"(SELECT COUNT(*) FROM platforms WHERE state <> 'deleted') AS platforms").Scan(&rest).Error
	if err != nil {
		return c, fmt.Errorf("count platforms: %w", err)
	}
	c.Distributions, c.Platforms = rest.Distributions, rest.Platforms
	return c, nil
}

// RunningTasks lists running and then queued tasks, oldest first.
func (s *Store) RunningTasks(ctx context.Context, f fleet.Filter) ([]models.Task, error) {
	var list []models.Task
	err := s.with(ctx).Where("state IN ?", unfinished()).Order("state DESC, id").Limit(f.Limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list running tasks: %w", err)
	}
	return list, nil
}

// RecentTasks lists tasks that ended, newest first, without the checks that a
// queue made and that went well: those would hide everything else.
func (s *Store) RecentTasks(ctx context.Context, f fleet.Filter) ([]models.Task, error) {
	var list []models.Task
	err := s.with(ctx).Where("ended_at IS NOT NULL").
		Scopes(worthALook).Order("ended_at DESC, id DESC").Limit(f.Limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list ended tasks: %w", err)
	}
	return list, nil
}

// worthALook leaves out the checks and crons that queues make by themselves and
// that went well: there are many.
func worthALook(query *gorm.DB) *gorm.DB {
	return query.Where("NOT (kind IN ? AND actor = ? AND state = ?)", []models.TaskKind{models.TaskCheck, models.TaskCron}, queueActor, models.TaskSucceeded)
}

// Distributions lists distributions by name.
func (s *Store) Distributions(ctx context.Context, f fleet.Filter) ([]fleet.DistributionRow, int, error) {
	query := s.with(ctx).Model(&models.Distribution{})
	if f.Query != "" {
		query = query.Where(`(LOWER(name) LIKE ? ESCAPE '\' OR slug LIKE ? ESCAPE '\')`, contains(f.Query), contains(f.Query))
	}
	if f.State != "" {
		query = query.Where("condition = ?", f.State)
	}
	if f.DistributionID != 0 {
		query = query.Where("id = ?", f.DistributionID)
	}
	list, total, err := page[models.Distribution](query, f, "LOWER(name), id")
	if err != nil {
		return nil, 0, fmt.Errorf("list distributions: %w", err)
	}
	rows, err := s.distributionRows(ctx, list)
	return rows, total, err
}

func (s *Store) distributionRows(ctx context.Context, list []models.Distribution) ([]fleet.DistributionRow, error) {
	ids := collect(list, func(d models.Distribution) *int64 { return &d.ID })
	targets, err := s.platformsByID(ctx, collect(list, func(d models.Distribution) *int64 { return d.TargetID }))
	if err != nil {
		return nil, err
	}
	platforms, err := counts(s.with(ctx).Model(&models.Platform{}).
		Where("distribution_id IN ? AND state <> ?", ids, models.PlatformDeleted).
		Select("distribution_id AS id, COUNT(*) AS n").Group("distribution_id"))
	if err != nil {
		return nil, err
	}
	sites, err := counts(s.sites(ctx).Where("d.id IN ?", ids).
		Select("d.id AS id, COUNT(*) AS n, SUM(CASE WHEN " + behind + " THEN 1 ELSE 0 END) AS behind").Group("d.id"))
	if err != nil {
		return nil, err
	}
	upstreams, err := s.upstreamsByID(ctx, collect(list, func(d models.Distribution) *int64 { return d.UpstreamID }))
	if err != nil {
		return nil, err
	}
	unsafe, err := s.unsafeSites(ctx, ids)
	if err != nil {
		return nil, err
	}
	rows := make([]fleet.DistributionRow, 0, len(list))
	for _, d := range list {
		row := fleet.DistributionRow{Unsafe: unsafe[d.ID], Distribution: d, Platforms: platforms[d.ID].N, Sites: sites[d.ID].N, Behind: sites[d.ID].Behind}
		if d.TargetID != nil {
			row.TargetName, row.TargetVersion = targets[*d.TargetID].Name, targets[*d.TargetID].DrupalVersion
		}
		if d.UpstreamID != nil {
			shared := upstreams[*d.UpstreamID]
			row.Upstream, row.Shared = shared.Upstream, shared.Subscribers-1
		}
		rows = append(rows, row)
	}
	return rows, nil
}

type sharedUpstream struct {
	models.Upstream
	Subscribers int
}

func (s *Store) upstreamsByID(ctx context.Context, ids []int64) (map[int64]sharedUpstream, error) {
	var list []sharedUpstream
	err := s.with(ctx).Model(&models.Upstream{}).Where("id IN ?", ids).
		Select("upstreams.*, (SELECT COUNT(*) FROM distributions d WHERE d.upstream_id = upstreams.id) AS subscribers").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("load upstreams: %w", err)
	}
	byID := make(map[int64]sharedUpstream, len(list))
	for _, one := range list {
		byID[one.ID] = one
	}
	return byID, nil
}

// unsafeSites counts the sites that run on platforms with known holes, by
// distribution.
func (s *Store) unsafeSites(ctx context.Context, distributions []int64) (map[int64]int, error) {
	found, err := counts(s.sites(ctx).Joins("JOIN platforms here ON here.id = sites.platform_id AND here.at_risk").
		Where("d.id IN ? AND sites.state <> ?", distributions, models.SiteDeleted).
		Select("d.id AS id, COUNT(*) AS n").Group("d.id"))
	if err != nil {
		return nil, err
	}
	unsafe := map[int64]int{}
	for id, n := range found {
		unsafe[id] = n.N
	}
	return unsafe, nil
}

type count struct {
	ID        int64
	N, Behind int
}

func counts(query *gorm.DB) (map[int64]count, error) {
	var found []count
	if err := query.Find(&found).Error; err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	byID := make(map[int64]count, len(found))
	for _, one := range found {
		byID[one.ID] = one
	}
	return byID, nil
}

// collect gathers the ids of a list, each once.
func collect[T any](list []T, id func(T) *int64) []int64 {
	var ids []int64
	for _, one := range list {
		if p := id(one); p != nil {
			ids = append(ids, *p)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// platformsByID loads platforms without what lists do not show.
func (s *Store) platformsByID(ctx context.Context, ids []int64) (map[int64]models.Platform, error) {
	byID := make(map[int64]models.Platform, len(ids))
	if len(ids) == 0 {
		return byID, nil
	}
	var list []models.Platform
	if err := s.with(ctx).Where("id IN ?", ids).Omit(heavy()...).Find(&list).Error; err != nil {
		return nil, fmt.Errorf("load platforms: %w", err)
	}
	for _, p := range list {
		byID[p.ID] = p
	}
	return byID, nil
}

func (s *Store) distributionsByID(ctx context.Context, ids []int64) (map[int64]models.Distribution, error) {
	byID := make(map[int64]models.Distribution, len(ids))
	if len(ids) == 0 {
		return byID, nil
	}
	var list []models.Distribution
	if err := s.with(ctx).Where("id IN ?", ids).Find(&list).Error; err != nil {
		return nil, fmt.Errorf("load distributions: %w", err)
	}
	for _, d := range list {
		byID[d.ID] = d
	}
	return byID, nil
}

// DistributionPlatforms lists the platforms of a distribution, newest first.
func (s *Store) DistributionPlatforms(ctx context.Context, distributionID int64) ([]fleet.PlatformRow, error) {
	var list []models.Platform
	err := s.with(ctx).Where("distribution_id = ? AND state <> ?", distributionID, models.PlatformDeleted).
		Omit(heavy()...).Order("id DESC").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list platforms of distribution %d: %w", distributionID, err)
	}
	return s.platformRows(ctx, list)
}

// DistributionChecks lists the checks of a distribution, newest first.
func (s *Store) DistributionChecks(ctx context.Context, distributionID int64, limit int) ([]models.Check, error) {
	var list []models.Check
	if err := s.with(ctx).Where("distribution_id = ?", distributionID).Order("id DESC").Limit(limit).Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list checks of distribution %d: %w", distributionID, err)
	}
	return list, nil
}

// Platforms lists platforms, newest first, without deleted ones unless they are
// asked for.
func (s *Store) Platforms(ctx context.Context, f fleet.Filter) ([]fleet.PlatformRow, int, error) {
	query := s.with(ctx).Model(&models.Platform{})
	if f.Query != "" {
		query = query.Where(`LOWER(name) LIKE ? ESCAPE '\'`, contains(f.Query))
	}
	if f.State != "" {
		query = query.Where("state = ?", f.State)
	} else {
		query = query.Where("state <> ?", models.PlatformDeleted)
	}
	if f.DistributionID != 0 {
		query = query.Where("distribution_id = ?", f.DistributionID)
	}
	if f.PlatformID != 0 {
		query = query.Where("id = ?", f.PlatformID)
	}
	list, total, err := page[models.Platform](query, f, "id DESC", heavy()...)
	if err != nil {
		return nil, 0, fmt.Errorf("list platforms: %w", err)
	}
	rows, err := s.platformRows(ctx, list)
	return rows, total, err
}

// PlatformRow loads one platform with everything about it.
func (s *Store) PlatformRow(ctx context.Context, id int64) (fleet.PlatformRow, error) {
	p, err := s.Platform(ctx, id)
	if err != nil {
		return fleet.PlatformRow{}, err
	}
	rows, err := s.platformRows(ctx, []models.Platform{p})
	if err != nil {
		return fleet.PlatformRow{}, err
	}
	return rows[0], nil
}

func (s *Store) platformRows(ctx context.Context, list []models.Platform) ([]fleet.PlatformRow, error) {
	distributions, err := s.distributionsByID(ctx, collect(list, func(p models.Platform) *int64 { return &p.DistributionID }))
	if err != nil {
		return nil, err
	}
	targets, err := s.platformsByID(ctx, targetsOf(distributions))
	if err != nil {
		return nil, err
	}
	ids := collect(list, func(p models.Platform) *int64 { return &p.ID })
	sites, err := counts(s.sites(ctx).Where("sites.platform_id IN ?", ids).
		Select("sites.platform_id AS id, COUNT(*) AS n, SUM(CASE WHEN " + behind + " THEN 1 ELSE 0 END) AS behind").Group("sites.platform_id"))
	if err != nil {
		return nil, err
	}
	rows := make([]fleet.PlatformRow, 0, len(list))
	for _, p := range list {
		d := distributions[p.DistributionID]
		row := fleet.PlatformRow{
			Platform: p, DistributionName: d.Name, UpdateType: d.UpdateType, TargetID: d.TargetID,
			Sites: sites[p.ID].N, Upgradable: sites[p.ID].Behind,
		}
		if d.TargetID != nil {
			target := targets[*d.TargetID]
			row.TargetName, row.TargetVersion, row.TargetLabel = target.Name, target.DrupalVersion, target.Label
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func targetsOf(distributions map[int64]models.Distribution) []int64 {
	var ids []int64
	for _, d := range distributions {
		if d.TargetID != nil {
			ids = append(ids, *d.TargetID)
		}
	}
	return ids
}

// OpenPlatforms lists the ready, unlocked platforms that may take new sites, by
// name.
func (s *Store) OpenPlatforms(ctx context.Context) ([]models.Platform, error) {
	var list []models.Platform
	err := s.with(ctx).Where("state = ? AND NOT locked", models.PlatformReady).Omit(heavy()...).Order("name").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list open platforms: %w", err)
	}
	return list, nil
}

// Sites lists sites by URI, without deleted ones.
func (s *Store) Sites(ctx context.Context, f fleet.Filter) ([]fleet.SiteRow, int, error) {
	query := s.sites(ctx)
	if f.Query != "" {
		query = query.Where(`(sites.uri LIKE ? ESCAPE '\' OR LOWER(sites.title) LIKE ? ESCAPE '\')`, contains(f.Query), contains(f.Query))
	}
	if f.State != "" {
		query = query.Where("sites.state = ?", f.State)
	}
	if f.DistributionID != 0 {
		query = query.Where("d.id = ?", f.DistributionID)
	}
	if f.PlatformID != 0 {
		query = query.Where("sites.platform_id = ?", f.PlatformID)
	}
	if f.Behind {
		query = query.Where(behind)
	}
	list, total, err := page[models.Site](query, f, "sites.uri, sites.id")
	if err != nil {
		return nil, 0, fmt.Errorf("list sites: %w", err)
	}
	rows, err := s.siteRows(ctx, list)
	return rows, total, err
}

// SiteRow loads one site with everything about it, also the packages of its
// platform and its target.
func (s *Store) SiteRow(ctx context.Context, id int64) (fleet.SiteRow, error) {
	site, err := s.Site(ctx, id)
	if err != nil {
		return fleet.SiteRow{}, err
	}
	rows, err := s.siteRows(ctx, []models.Site{site})
	if err != nil {
		return fleet.SiteRow{}, err
	}
	row := rows[0]
	if row.Platform, err = s.Platform(ctx, site.PlatformID); err != nil {
		return fleet.SiteRow{}, err
	}
	if row.Target != nil {
		target, err := s.Platform(ctx, row.Target.ID)
		if err != nil {
			return fleet.SiteRow{}, err
		}
		row.Target = &target
	}
	return row, nil
}

func (s *Store) siteRows(ctx context.Context, list []models.Site) ([]fleet.SiteRow, error) {
	platforms, err := s.platformsByID(ctx, collect(list, func(site models.Site) *int64 { return &site.PlatformID }))
	if err != nil {
		return nil, err
	}
	var owners []int64
	for _, p := range platforms {
		owners = append(owners, p.DistributionID)
	}
	distributions, err := s.distributionsByID(ctx, owners)
	if err != nil {
		return nil, err
	}
	targets, err := s.platformsByID(ctx, targetsOf(distributions))
	if err != nil {
		return nil, err
	}
	ids := collect(list, func(site models.Site) *int64 { return &site.ID })
	upgrades, err := s.lastUpgrades(ctx, ids)
	if err != nil {
		return nil, err
	}
	running, err := s.runningOn(ctx, ids)
	if err != nil {
		return nil, err
	}
	rows := make([]fleet.SiteRow, 0, len(list))
	for _, site := range list {
		platform := platforms[site.PlatformID]
		d := distributions[platform.DistributionID]
		row := fleet.SiteRow{
			Site: site, DistributionID: d.ID, DistributionName: d.Name, Platform: platform, RunningTaskID: running[site.ID],
		}
		if d.TargetID != nil {
			target := targets[*d.TargetID]
			row.Target = &target
		}
		if u, ok := upgrades[site.ID]; ok {
			row.LastUpgrade = &u
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (s *Store) lastUpgrades(ctx context.Context, siteIDs []int64) (map[int64]models.Upgrade, error) {
	bySite := map[int64]models.Upgrade{}
	if len(siteIDs) == 0 {
		return bySite, nil
	}
	newest := s.with(ctx).Model(&models.Upgrade{}).Select("MAX(id)").Where("site_id IN ?", siteIDs).Group("site_id")
	var list []models.Upgrade
	if err := s.with(ctx).Where("id IN (?)", newest).Find(&list).Error; err != nil {
		return nil, fmt.Errorf("load newest upgrades: %w", err)
	}
	for _, u := range list {
		bySite[u.SiteID] = u
	}
	return bySite, nil
}

func (s *Store) runningOn(ctx context.Context, siteIDs []int64) (map[int64]int64, error) {
	bySite := map[int64]int64{}
	if len(siteIDs) == 0 {
		return bySite, nil
	}
	var list []models.Task
	err := s.with(ctx).Select("id", "subject_id").
		Where("subject_kind = ? AND subject_id IN ? AND state IN ?", models.SubjectSite, siteIDs, unfinished()).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("load running tasks of sites: %w", err)
	}
	for _, t := range list {
		bySite[t.Subject.ID] = t.ID
	}
	return bySite, nil
}

// SiteUpgrades lists the upgrades of a site, newest first.
func (s *Store) SiteUpgrades(ctx context.Context, siteID int64, limit int) ([]models.Upgrade, error) {
	var list []models.Upgrade
	if err := s.with(ctx).Where("site_id = ?", siteID).Order("id DESC").Limit(limit).Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list upgrades of site %d: %w", siteID, err)
	}
	return list, nil
}

// Tasks lists tasks, newest first.
func (s *Store) Tasks(ctx context.Context, f fleet.Filter) ([]models.Task, int, error) {
	query := s.with(ctx).Model(&models.Task{})
	if f.Query != "" {
		query = query.Where(`LOWER(title) LIKE ? ESCAPE '\'`, contains(f.Query))
	}
	if f.State != "" {
		query = query.Where("state = ?", f.State)
	}
	if f.Query == "" && f.State == "" {
		query = query.Scopes(worthALook)
	}
	if f.DistributionID != 0 {
		query = query.Where("(subject_kind = ? AND subject_id = ?) OR (subject_kind = ? AND subject_id = (SELECT upstream_id FROM distributions WHERE id = ?))",
			models.SubjectTarget, f.DistributionID, models.SubjectUpstream, f.DistributionID)
	}
	if f.PlatformID != 0 {
		query = query.Where("subject_kind = ? AND subject_id = ?", models.SubjectPlatform, f.PlatformID)
	}
	list, total, err := page[models.Task](query, f, "id DESC")
	if err != nil {
		return nil, 0, fmt.Errorf("list tasks: %w", err)
	}
	return list, total, nil
}

// SubjectTasks lists the tasks of these subjects, newest first.
func (s *Store) SubjectTasks(ctx context.Context, subjects []models.Subject, limit int) ([]models.Task, error) {
	if len(subjects) == 0 {
		return nil, nil
	}
	pairs := make([][]any, 0, len(subjects))
	for _, one := range subjects {
		pairs = append(pairs, []any{one.Kind, one.ID})
	}
	var list []models.Task
	err := s.with(ctx).Where("(subject_kind, subject_id) IN ?", pairs).Order("id DESC").Limit(limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list tasks of %s: %w", strconv.Itoa(len(subjects))+" subjects", err)
	}
	return list, nil
}
