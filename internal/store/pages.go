package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hefring/internal/fleet"
	"hefring/models"
)

// free is true of sites that may be moved.
const free = "sites.state = 'enabled' AND NOT sites.held"

// behind is true of sites that an Upgrade button would move. It needs d, the
// distribution.
const behind = free + " AND d.target_id IS NOT NULL AND d.target_id <> sites.platform_id"

// siteColumns are the columns of sites that their lines show.
const siteColumns = "sites.id, sites.uri, sites.title, sites.platform_id, sites.state, sites.held"

// lineColumns are the columns of platforms that lines of other things show.
func lineColumns() string {
	return "platforms.id, platforms.distribution_id, platforms.name, platforms.label, platforms.drupal_version, " +
		"platforms.security, platforms.at_risk, platforms.locked, platforms.state"
}

// outdated are the platforms that are not their distribution's upgrade target.
const outdated = "SELECT o.id FROM platforms o JOIN distributions d ON d.id = o.distribution_id WHERE d.target_id <> o.id"

// living asks for every site that is not deleted.
func (s *Store) living(ctx context.Context) *gorm.DB {
	return s.anew(ctx).Model(&models.Site{}).Where("sites.state <> 'deleted'")
}

// sites joins every living site with its platform p and distribution d.
func (s *Store) sites(ctx context.Context) *gorm.DB {
	return s.living(ctx).
		Joins("JOIN platforms p ON p.id = sites.platform_id").Joins("JOIN distributions d ON d.id = p.distribution_id")
}

// sitesOf narrows a query of sites to those of a client; 0 is everybody.
func sitesOf(clientID int64) func(*gorm.DB) *gorm.DB {
	return func(query *gorm.DB) *gorm.DB {
		if clientID == 0 {
			return query
		}
		return query.Where("sites.client_id = ?", clientID)
	}
}

// tasksOf narrows a query of tasks to those on sites of a client; 0 is everybody.
func tasksOf(clientID int64) func(*gorm.DB) *gorm.DB {
	return func(query *gorm.DB) *gorm.DB {
		if clientID == 0 {
			return query
		}
		return query.Where("tasks.subject_kind = ? AND tasks.subject_id IN (SELECT id FROM sites WHERE client_id = ?)", models.SubjectSite, clientID)
	}
}

// countLimit is up to where matches are counted. The total of a list that has more
// of them is one more than that.
const countLimit = fleet.Counted

// unknown stands for a total that must be counted.
const unknown = -1

// page loads the rows of one page and counts how many there are altogether.
func page[T any](query *gorm.DB, f fleet.Filter, by string) ([]T, int, error) {
	return listed[T](query, f, longList{by: by}, unknown)
}

// farDown is from where on a list first finds the numbers of its rows: what is
// skipped need not be read then, nor what a search does not want. It costs a little.
const farDown = 100

// longList is a list that may be long: its table, what it is ordered by, and the text
// that a search looks into, which an index has exactly so.
type longList struct {
	table, by, text string
	lettered        bool   // PostgreSQL has the text with letters between its words; see migration 0019
	walked          bool   // an index of PostgreSQL has the text in the order of the list; see migration 0019
	hint            string // has SQLite go through its index of the text: of itself it takes the whole, wide table
}

func sitesList() longList {
	return longList{table: "sites", by: "sites.uri", text: "sites.found_by", lettered: true, walked: true, hint: " INDEXED BY sites_text"}
}

func tasksList() longList {
	return longList{table: "tasks", by: "tasks.id DESC", text: "LOWER(tasks.title)"}
}

func platformsList() longList {
	return longList{table: "platforms", by: "platforms.id DESC", text: "LOWER(platforms.name)"}
}

func distributionsList() longList {
	return longList{table: "distributions", by: "LOWER(distributions.name)", text: "LOWER(distributions.name || ' ' || distributions.slug)"}
}

// holding narrows a query to the rows whose text holds a part.
func (s *Store) holding(query *gorm.DB, in longList, part string) *gorm.DB {
	pattern := "?"
	if in.lettered && s.engine.pool() != nil {
		pattern = "translate(?, ' -.', 'QXZ')"
	}
	return query.Where(in.text+" LIKE "+pattern+` ESCAPE '\'`, contains(part))
}

// listed is page where it may be known how many there are. With the name of the table it
// is quick far down, too.
func listed[T any](query *gorm.DB, f fleet.Filter, in longList, total int) ([]T, int, error) {
	query = query.Session(&gorm.Session{})
	limit, offset := f.Rows(), max(f.Offset, 0)
	var rows []T
	if f.NoTotal && total == unknown {
		total = 0
	}
	one := beyond(query, in.by, f.After).Order(in.by).Limit(limit).Offset(offset)
	if in.table != "" && (offset >= farDown || f.Query != "" && total > countLimit) {
		one = query.Where(in.table+".id IN (?)", one.Select(in.table+".id")).Order(in.by)
	}
	err := one.Find(&rows).Error
	if err != nil || total != unknown {
		return rows, total, err
	}
	if n := len(rows); n < limit && (n > 0 || offset == 0) && f.After == (fleet.Position{}) {
		return rows, offset + n, nil // it is the last page
	}
	total, err = bounded(query)
	return rows, total, err
}

// beyond leaves out what a list has up to and with a position. An index in the order
// of the list leads there at once.
func beyond(query *gorm.DB, order string, p fleet.Position) *gorm.DB {
	column, newest := strings.CutSuffix(order, " DESC")
	switch {
	case newest && p.ID != 0:
		return query.Where(column+" < ?", p.ID)
	case newest || p.Name == "":
		return query
	case strings.HasPrefix(order, "LOWER("):
		return query.Where(order+" > LOWER(?)", p.Name)
	default:
		return query.Where(order+" > ?", p.Name)
	}
}

// bounded counts the rows of a query, but not on and on.
func bounded(query *gorm.DB) (int, error) {
	var total int64
	matches := query.Select("1 AS found").Limit(countLimit + 1)
	err := query.Session(&gorm.Session{NewDB: true}).Table("(?) AS matches", matches).Count(&total).Error
	return int(total), err
}

// search narrows a query to the rows whose text holds what is looked for, and tells how
// many these are if it knows. Few of them are looked for once and then known by their
// numbers: the filter that comes back has the rest of the way to the page. Of many, the
// first are met soon in the order of the list.
//
// The numbers are taken from some, which finds the same rows as query, but in whatever
// order gives the first of them soonest.
func (s *Store) search(ctx context.Context, some, query *gorm.DB, in longList, f fleet.Filter) (*gorm.DB, fleet.Filter, int, error) {
	holds := func(query *gorm.DB) *gorm.DB { return s.holding(query, in, f.Query) }
	query, some = query.Session(&gorm.Session{}), some.Session(&gorm.Session{})
	looked := holds(some)
	if s.engine.pool() == nil { // SQLite must be told to begin with the text
		fits := holds(s.with(ctx).Table(in.table + in.hint)).Select(in.table + ".id").Session(&gorm.Session{})
		var first []int64
		if err := fits.Limit(countLimit + 1).Find(&first).Error; err != nil {
			return nil, f, 0, fmt.Errorf("search %s: %w", in.table, err)
		}
		switch {
		case len(first) <= countLimit:
			looked = some.Where(s.among(in.table+".id", first))
		case f.Narrow():
			looked = some.Where(in.table+".id IN (?)", fits)
		default:
			return holds(query), f, unknown, nil
		}
	}
	ids, err := s.numbers(ctx, looked, in)
	total := len(ids)
	first := in.walked && s.engine.pool() != nil && f.After == (fleet.Position{}) && f.Offset+f.Rows() <= total
	if err != nil || total > countLimit && !first {
		return holds(query), f, total, err
	}
	if f.After == (fleet.Position{}) {
		begin := min(max(f.Offset, 0), total)
		ids, f.Offset, f.Query = ids[begin:min(begin+f.Rows(), total)], 0, ""
	}
	if s.engine.pool() == nil {
		return query.Where(s.among(in.table+".id", ids)), f, total, nil
	}
	few := s.with(ctx).Table(in.table).Where(s.among("id", ids))
	// OFFSET keeps PostgreSQL from going through the whole list in its order instead.
	return query.Table("(? OFFSET 0) AS "+in.table, few), f, total, nil
}

// numbers gives the numbers of the rows of a query in the order of the list, countLimit
// and one of them if there are more: the first of a list that PostgreSQL can walk, any
// of others. They come as one value: to hand over a thousand rows would take longer than to
// find them.
func (s *Store) numbers(ctx context.Context, query *gorm.DB, in longList) ([]int64, error) {
	column, newest := strings.CutSuffix(in.by, " DESC")
	place, joined := "place", "string_agg(CAST(id AS text), ',' ORDER BY "
	if newest {
		place += " DESC"
	}
	found := query.Select(in.table + ".id, " + column + " AS place").Limit(countLimit + 1)
	switch {
	case s.engine.pool() == nil:
		joined = "group_concat(id, ',' ORDER BY "
	case in.walked:
		found = found.Order(place)
	}
	var text string
	if err := s.anew(ctx).Table("(?) AS found", found).Select("COALESCE(" + joined + place + "), '')").Scan(&text).Error; err != nil {
		return nil, fmt.Errorf("search %s: %w", in.table, err)
	}
	return parted(text)
}

// among is true where a column has one of many numbers. They are one value, however
// many there are.
func (s *Store) among(column string, ids []int64) clause.Expr {
	switch {
	case len(ids) == 0:
		return gorm.Expr("1 = 0")
	case s.engine.pool() == nil:
		return gorm.Expr(column+" IN (SELECT value FROM json_each(?))", "["+joined(ids)+"]")
	}
	return gorm.Expr(column+" = ANY (CAST(? AS bigint[]))", "{"+joined(ids)+"}")
}

// joined writes numbers with commas between them.
func joined(ids []int64) string {
	var text strings.Builder
	for i, id := range ids {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(strconv.FormatInt(id, 10))
	}
	return text.String()
}

// parted reads what joined wrote.
func parted(text string) ([]int64, error) {
	if text == "" {
		return nil, nil
	}
	ids := make([]int64, 0, strings.Count(text, ",")+1)
	for part := range strings.SplitSeq(text, ",") {
		id, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read number: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Fleet counts the fleet; for a client its sites and nothing else.
func (s *Store) Fleet(ctx context.Context, f fleet.Filter) (fleet.Counts, error) {
	if f.ClientID == 0 {
		t, err := s.tally(ctx)
		return t.count(), err
	}
	var c fleet.Counts
	count := func(when string) string { return "COALESCE(SUM(CASE WHEN " + when + " THEN 1 ELSE 0 END), 0)" }
	err := s.sites(ctx).Scopes(sitesOf(f.ClientID)).Select(
		count("sites.state = 'enabled' AND NOT sites.held AND (d.target_id IS NULL OR d.target_id = sites.platform_id)") + " AS current, " +
			count(behind) + " AS behind, " +
			count("sites.state = 'enabled' AND sites.held") + " AS held, " +
			count("sites.state = 'broken'") + " AS broken, " +
			count("sites.state = 'disabled'") + " AS disabled, " +
			count("sites.state IN ('installing', 'upgrading', 'deleting')") + " AS busy").Scan(&c).Error
	if err != nil {
		return c, fmt.Errorf("count sites: %w", err)
	}
	return c, nil
}

// RunningTasks lists running and then queued tasks, oldest first.
func (s *Store) RunningTasks(ctx context.Context, f fleet.Filter) ([]models.Task, error) {
	var list []models.Task
	err := s.with(ctx).Scopes(tasksOf(f.ClientID)).Where("state IN ?", unfinished()).Order("state DESC, id").Limit(f.Limit).Find(&list).Error
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
		Scopes(worthALook, tasksOf(f.ClientID)).Order("ended_at DESC, id DESC").Limit(f.Limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list ended tasks: %w", err)
	}
	return list, nil
}

// worthALook leaves out the checks and crons that queues make by themselves and
// that went well: there are many.
func worthALook(query *gorm.DB) *gorm.DB {
	return query.Where("NOT (tasks.kind IN ('check', 'cron') AND tasks.actor = '" + queueActor + "' AND tasks.state = 'succeeded')") // as indexes have it
}

// Distributions lists distributions by name.
func (s *Store) Distributions(ctx context.Context, f fleet.Filter) ([]fleet.DistributionRow, int, error) {
	t, err := s.tally(ctx)
	if err != nil {
		return nil, 0, err
	}
	some := standing(s.anew(ctx)).Model(&models.Distribution{})
	if f.State != "" {
		some = some.Where("distributions.condition = ?", f.State)
	}
	if f.DistributionID != 0 {
		some = some.Where("distributions.id = ?", f.DistributionID)
	}
	some = some.Session(&gorm.Session{})
	query, total := some.Joins("LEFT JOIN platforms t ON t.id = distributions.target_id"), unknown
	switch {
	case f.Query != "":
		if query, f, total, err = s.search(ctx, some, query, distributionsList(), f); err != nil {
			return nil, 0, err
		}
	case f.State == "" && f.DistributionID == 0:
		total = t.distributions
	}
	query = query.Select("distributions.*, t.name AS target_name, t.drupal_version AS target_version")
	rows, total, err := listed[fleet.DistributionRow](query, f, distributionsList(), total)
	if err != nil {
		return nil, 0, fmt.Errorf("list distributions: %w", err)
	}
	return rows, total, s.completeDistributions(ctx, t, rows)
}

// DistributionNames lists the first distributions by name, with nothing but their
// numbers and names.
func (s *Store) DistributionNames(ctx context.Context, limit int) ([]models.Distribution, error) {
	query := standing(s.with(ctx)).Model(&models.Distribution{}).Select("id", "name").Order("LOWER(distributions.name)").Limit(limit)
	list, err := each(query, func(d *models.Distribution) []any { return []any{&d.ID, &d.Name} })
	if err != nil {
		return nil, fmt.Errorf("list names of distributions: %w", err)
	}
	return list, nil
}

// DistributionNamed finds a distribution by its short name.
func (s *Store) DistributionNamed(ctx context.Context, slug string) (models.Distribution, error) {
	return first[models.Distribution](standing(s.with(ctx)).Where("slug = ?", slug), "distribution", slug)
}

// completeDistributions adds figures and upstreams.
func (s *Store) completeDistributions(ctx context.Context, t tally, rows []fleet.DistributionRow) error {
	upstreams, err := s.upstreamsByID(ctx, collect(rows, func(d fleet.DistributionRow) *int64 { return d.UpstreamID }))
	if err != nil {
		return err
	}
	for i := range rows {
		d := &rows[i]
		n := t.byFamily[d.ID]
		d.Platforms, d.Sites, d.Behind, d.Unsafe = n.platforms, n.sites, n.behind, n.unsafe
		if d.UpstreamID != nil {
			shared := upstreams[*d.UpstreamID]
			d.Upstream, d.Shared = shared.Upstream, shared.Subscribers-1
		}
	}
	return nil
}

type sharedUpstream struct {
	models.Upstream
	Subscribers int
}

func (s *Store) upstreamsByID(ctx context.Context, ids []int64) (map[int64]sharedUpstream, error) {
	if len(ids) == 0 {
		return nil, nil //nolint:nilnil // nothing is found in it either
	}
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

// each reads the rows of a query into the places that it is told. For hundreds of rows
// with few columns that takes a third of the time that GORM does.
func each[T any](query *gorm.DB, places func(row *T) []any) (list []T, err error) {
	rows, err := query.Rows()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var row T
		if err := rows.Scan(places(&row)...); err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

type count struct {
	ID int64
	N  int
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

// home is a platform with what lines of sites show of its distribution.
type home struct {
	models.Platform
	DistributionName string
	TargetID         *int64
}

// homes loads these columns of platforms and of the upgrade targets of their
// distributions.
func (s *Store) homes(ctx context.Context, ids []int64, columns string) (map[int64]home, error) {
	var list []home
	these := s.among("h.id", ids)
	err := s.with(ctx).Model(&models.Platform{}).Joins("JOIN distributions d ON d.id = platforms.distribution_id").
		Where("platforms.id IN (SELECT h.id FROM platforms h WHERE ? UNION SELECT f.target_id FROM platforms h JOIN distributions f ON f.id = h.distribution_id WHERE ?)", these, these).
		Select(columns + ", d.name AS distribution_name, d.target_id").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("load platforms: %w", err)
	}
	byID := make(map[int64]home, len(list))
	for _, p := range list {
		byID[p.ID] = p
	}
	return byID, nil
}

// platformRows asks for platforms with their distributions d and targets t.
func (s *Store) platformRows(ctx context.Context) *gorm.DB {
	return s.anew(ctx).Model(&models.Platform{}).
		Joins("JOIN distributions d ON d.id = platforms.distribution_id").Joins("LEFT JOIN platforms t ON t.id = d.target_id")
}

// besides is what rows of platforms show beside the platform.
const besides = "d.name AS distribution_name, d.update_type, d.target_id, " +
	"COALESCE(t.name, '') AS target_name, COALESCE(t.drupal_version, '') AS target_version, COALESCE(t.label, '') AS target_label"

// platformColumns names the columns of a platform but the long ones, which lists do not
// show.
func (s *Store) platformColumns() string {
	parsed := &gorm.Statement{DB: s.db}
	if err := parsed.Parse(&models.Platform{}); err != nil {
		return "platforms.*"
	}
	var names []string
	for _, name := range parsed.Schema.DBNames {
		if name != "packages" && name != "provenance" {
			names = append(names, "platforms."+name)
		}
	}
	return strings.Join(names, ", ")
}

// DistributionPlatforms lists the platforms of a distribution, newest first.
func (s *Store) DistributionPlatforms(ctx context.Context, distributionID int64) ([]fleet.PlatformRow, error) {
	t, err := s.tally(ctx)
	if err != nil {
		return nil, err
	}
	var rows []fleet.PlatformRow
	err = s.platformRows(ctx).Where("platforms.distribution_id = ? AND platforms.state <> 'deleted'", distributionID).
		Select(s.platformColumns() + ", " + besides).Order("platforms.id DESC").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("list platforms of distribution %d: %w", distributionID, err)
	}
	return tallied(t, rows), nil
}

// tallied adds how many sites there are.
func tallied(t tally, rows []fleet.PlatformRow) []fleet.PlatformRow {
	for i := range rows {
		n := t.byPlatform[rows[i].ID]
		rows[i].Sites, rows[i].Upgradable = n.sites(), n.behind()
	}
	return rows
}

// DistributionChecks lists the checks of a distribution, newest first.
func (s *Store) DistributionChecks(ctx context.Context, distributionID int64, limit int) ([]models.Check, error) {
	var list []models.Check
	if err := s.with(ctx).Where("distribution_id = ?", distributionID).Order("id DESC").Limit(limit).Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list checks of distribution %d: %w", distributionID, err)
	}
	return list, nil
}

// CheckRows lists the checks of a distribution, newest first, in parts.
func (s *Store) CheckRows(ctx context.Context, distributionID int64, f fleet.Filter) ([]models.Check, int, error) {
	query := s.with(ctx).Model(&models.Check{}).Where("distribution_id = ?", distributionID)
	list, total, err := page[models.Check](query, f, "id DESC")
	if err != nil {
		return nil, 0, fmt.Errorf("list checks of distribution %d: %w", distributionID, err)
	}
	return list, total, nil
}

// Platforms lists platforms, newest first, without deleted ones unless they are
// asked for.
func (s *Store) Platforms(ctx context.Context, f fleet.Filter) ([]fleet.PlatformRow, int, error) {
	t, err := s.tally(ctx)
	if err != nil {
		return nil, 0, err
	}
	narrow := func(query *gorm.DB) *gorm.DB {
		if f.State != "" {
			query = query.Where("platforms.state = ?", f.State)
		} else {
			query = query.Where("platforms.state <> 'deleted'")
		}
		if f.DistributionID != 0 {
			query = query.Where("platforms.distribution_id = ?", f.DistributionID)
		}
		if f.PlatformID != 0 {
			query = query.Where("platforms.id = ?", f.PlatformID)
		}
		return query
	}
	query, total := narrow(s.platformRows(ctx)), unknown
	switch {
	case f.Query != "":
		if query, f, total, err = s.search(ctx, narrow(s.anew(ctx).Model(&models.Platform{})), query, platformsList(), f); err != nil {
			return nil, 0, err
		}
	case f.State == "" && f.DistributionID == 0 && f.PlatformID == 0:
		total = t.count().Platforms
	}
	rows, total, err := listed[fleet.PlatformRow](query.Select(s.platformColumns()+", "+besides), f, platformsList(), total)
	if err != nil {
		return nil, 0, fmt.Errorf("list platforms: %w", err)
	}
	return tallied(t, rows), total, nil
}

// PlatformRow loads one platform with everything about it. Its sites are counted
// at this moment.
func (s *Store) PlatformRow(ctx context.Context, id int64) (fleet.PlatformRow, error) {
	const upgradable = "SELECT COUNT(*) FROM sites WHERE sites.platform_id = platforms.id AND sites.state = 'enabled' AND NOT sites.held AND d.target_id <> platforms.id"
	query := s.platformRows(ctx).Where("platforms.id = ?", id).Select("platforms.*, " + besides +
		", (SELECT COUNT(*) FROM sites WHERE sites.platform_id = platforms.id AND sites.state <> 'deleted') AS sites, (" + upgradable + ") AS upgradable")
	return first[fleet.PlatformRow](query, "platform", id)
}

// PlatformChoices lists ready platforms, those of one distribution before the others and
// each the newest first, with nothing but what they are called.
func (s *Store) PlatformChoices(ctx context.Context, distributionID int64, limit int) ([]models.Platform, error) {
	ready := s.with(ctx).Model(&models.Platform{}).Select("id").Where("state = ?", models.PlatformReady).Order("id DESC").Limit(limit).Session(&gorm.Session{})
	query := s.with(ctx).Model(&models.Platform{}).Select("id", "name", "label", "drupal_version", "state").
		Where("id IN (SELECT id FROM (?) AS own UNION SELECT id FROM (?) AS newest)", ready.Where("distribution_id = ?", distributionID), ready).
		Order(clause.OrderBy{Expression: gorm.Expr("CASE WHEN distribution_id = ? THEN 0 ELSE 1 END, id DESC", distributionID)}).Limit(limit)
	list, err := each(query, func(p *models.Platform) []any { return []any{&p.ID, &p.Name, &p.Label, &p.DrupalVersion, &p.State} })
	if err != nil {
		return nil, fmt.Errorf("list platforms to choose from: %w", err)
	}
	return list, nil
}

// PlatformsByID loads some platforms, without what lists do not show.
func (s *Store) PlatformsByID(ctx context.Context, ids []int64) (map[int64]models.Platform, error) {
	byID := map[int64]models.Platform{}
	if len(ids) == 0 {
		return byID, nil
	}
	var list []models.Platform
	if err := s.with(ctx).Where("id IN ?", ids).Select(lineColumns()).Find(&list).Error; err != nil {
		return nil, fmt.Errorf("load platforms: %w", err)
	}
	for _, p := range list {
		byID[p.ID] = p
	}
	return byID, nil
}

// OpenPlatforms lists the ready, unlocked platforms that may take new sites, by
// name.
func (s *Store) OpenPlatforms(ctx context.Context) ([]models.Platform, error) {
	var list []models.Platform
	// As the index has it.
	err := s.with(ctx).Where("state = 'ready' AND NOT locked").
		Select("id", "name", "label", "drupal_version", "profiles", "state").Order("name").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list open platforms: %w", err)
	}
	return list, nil
}

// Sites lists sites by URI, without deleted ones.
func (s *Store) Sites(ctx context.Context, f fleet.Filter) ([]fleet.SiteRow, int, error) {
	query, f, total, err := s.siteQuery(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	columns := "sites.*"
	if f.Brief {
		columns = siteColumns
	}
	list, total, err := listed[workedSite](query.Select(columns+", "+worked), f, sitesList(), total)
	if err != nil {
		return nil, 0, fmt.Errorf("list sites: %w", err)
	}
	rows, err := s.siteRows(ctx, list, lineColumns())
	return rows, total, err
}

// siteQuery narrows the list of sites, and tells how many that leaves if it is
// known, and what is left to narrow.
func (s *Store) siteQuery(ctx context.Context, f fleet.Filter) (query *gorm.DB, left fleet.Filter, total int, err error) {
	query = s.living(ctx).Scopes(sitesOf(f.ClientID))
	if f.State != "" {
		query = query.Where("sites.state = ?", f.State)
	}
	if f.DistributionID != 0 {
		query = query.Where("sites.platform_id IN (SELECT id FROM platforms WHERE distribution_id = ?)", f.DistributionID)
	}
	if f.PlatformID != 0 {
		query = query.Where("sites.platform_id = ?", f.PlatformID)
	}
	if f.ServerID != 0 {
		query = query.Where("sites.server_id = ?", f.ServerID)
	}
	some := query
	if f.DistributionID != 0 || f.PlatformID != 0 || f.ServerID != 0 || f.ClientID != 0 {
		// What is decided for these must be as it is at this moment.
		if f.Behind {
			query = query.Where(free + " AND sites.platform_id IN (" + outdated + ")")
			some = query
		}
		total, err = exactly(query, f)
	} else {
		some, query, total, err = s.anywhere(ctx, query, f)
	}
	if err != nil || f.Query == "" {
		return query, f, total, err
	}
	in := sitesList()
	in.walked = !f.Behind // those are found by their platforms
	return s.search(ctx, some, query, in, f)
}

// anywhere narrows a list of all sites, in any order and in its own, and tells how
// many that leaves if it is known.
func (s *Store) anywhere(ctx context.Context, query *gorm.DB, f fleet.Filter) (some, list *gorm.DB, total int, err error) {
	t, err := s.tally(ctx)
	if err != nil || !f.Behind {
		return query, query, t.matching(f), err
	}
	some, list = s.narrowBehind(query.Session(&gorm.Session{}), t)
	return some, list, t.matching(f), nil
}

// narrowBehind narrows a query of sites to those that an Upgrade button would move, in
// any order and in that of the list. Of a large fleet it is known which platforms they
// are on.
func (s *Store) narrowBehind(query *gorm.DB, t tally) (some, list *gorm.DB) {
	if t.sites <= largeFleet {
		list = query.Where(free + " AND sites.platform_id IN (" + outdated + ")")
		return list, list
	}
	on, n := t.behind()
	query = query.Where(free).Session(&gorm.Session{})
	if n <= fewBehind && s.engine.pool() != nil {
		list = query.Where(s.among("sites.platform_id", on))
		return list, list
	}
	// The sum keeps a planner from weighing each of many platforms, and SQLite from
	// going through all of their sites: they are everywhere in the list in any case.
	list = query.Where(s.among("sites.platform_id + 0", on))
	if s.engine.pool() == nil {
		return list, list
	}
	return query.Joins("JOIN unnest(CAST(? AS bigint[])) AS behind (id) ON behind.id = sites.platform_id", "{"+joined(on)+"}"), list
}

// exactly counts what a query without a search finds.
func exactly(query *gorm.DB, f fleet.Filter) (int, error) {
	if f.Query != "" || f.NoTotal {
		return unknown, nil
	}
	var total int64
	if err := query.Session(&gorm.Session{}).Count(&total).Error; err != nil {
		return 0, fmt.Errorf("count sites: %w", err)
	}
	return int(total), nil
}

// workedSite is a site with the task that works on it.
type workedSite struct {
	models.Site
	RunningTaskID int64
	On            databaseServer `gorm:"embedded;embeddedPrefix:on_"` // if it was asked for
}

// databaseServer is what a site's page shows of the server of its database.
type databaseServer struct {
	ID                    int64
	Name, Engine, Version string
}

// worked finds the queued or running task of a site: there is one at most.
const worked = "COALESCE((SELECT r.id FROM tasks r WHERE r.subject_kind = 'site' AND r.subject_id = sites.id AND r.state IN ('queued', 'running')), 0) AS running_task_id"

// SiteRow loads one site with everything about it, also the packages of its
// platform and its target.
func (s *Store) SiteRow(ctx context.Context, id int64) (fleet.SiteRow, error) {
	query := s.with(ctx).Model(&models.Site{}).Joins("LEFT JOIN database_servers ds ON ds.id = sites.database_server_id").Where("sites.id = ?", id).
		Select("sites.*, " + worked + ", ds.id AS on_id, ds.name AS on_name, ds.engine AS on_engine, ds.version AS on_version")
	site, err := first[workedSite](query, "site", id)
	if err != nil {
		return fleet.SiteRow{}, err
	}
	rows, err := s.siteRows(ctx, []workedSite{site}, "platforms.*")
	if err != nil {
		return fleet.SiteRow{}, err
	}
	rows[0].DatabaseServer = models.DatabaseServer{ID: site.On.ID, Name: site.On.Name, Engine: site.On.Engine, Version: site.On.Version}
	return rows[0], nil
}

// siteRows adds to sites what is shown beside them, of platforms these columns.
func (s *Store) siteRows(ctx context.Context, list []workedSite, columns string) ([]fleet.SiteRow, error) {
	if len(list) == 0 {
		return nil, nil
	}
	homes, err := s.homes(ctx, collect(list, func(site workedSite) *int64 { return &site.PlatformID }), columns)
	if err != nil {
		return nil, err
	}
	upgrades, err := s.lastUpgrades(ctx, collect(list, func(site workedSite) *int64 { return &site.ID }))
	if err != nil {
		return nil, err
	}
	rows := make([]fleet.SiteRow, 0, len(list))
	for _, site := range list {
		home := homes[site.PlatformID]
		row := fleet.SiteRow{
			Site: site.Site, DistributionID: home.DistributionID, DistributionName: home.DistributionName, Platform: home.Platform, RunningTaskID: site.RunningTaskID,
		}
		if home.TargetID != nil {
			target := homes[*home.TargetID].Platform
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
	newest := s.with(ctx).Model(&models.Upgrade{}).Select("MAX(id)").Where(s.among("site_id", siteIDs)).Group("site_id")
	var list []models.Upgrade
	// Lines show how it ended and not what it moved.
	err := s.with(ctx).Where("id IN (?)", newest).Select("id", "site_id", "task_id", "to_id", "state", "reason", "created_at").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("load newest upgrades: %w", err)
	}
	for _, u := range list {
		bySite[u.SiteID] = u
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

// UpgradeRows lists the upgrades of a site, newest first, in parts.
func (s *Store) UpgradeRows(ctx context.Context, siteID int64, f fleet.Filter) ([]models.Upgrade, int, error) {
	query := s.with(ctx).Model(&models.Upgrade{}).Where("site_id = ?", siteID)
	list, total, err := page[models.Upgrade](query, f, "id DESC")
	if err != nil {
		return nil, 0, fmt.Errorf("list upgrades of site %d: %w", siteID, err)
	}
	return list, total, nil
}

// Tasks lists tasks, newest first.
func (s *Store) Tasks(ctx context.Context, f fleet.Filter) ([]models.Task, int, error) {
	query := s.anew(ctx).Model(&models.Task{}).Scopes(tasksOf(f.ClientID))
	if f.State != "" {
		query = query.Where("state = ?", f.State)
	}
	if f.Query == "" && f.State == "" {
		query = query.Scopes(worthALook)
	}
	if f.DistributionID != 0 {
		query = query.Where("((subject_kind = ? AND subject_id = ?) OR (subject_kind = ? AND subject_id = (SELECT upstream_id FROM distributions WHERE id = ?)))",
			models.SubjectTarget, f.DistributionID, models.SubjectUpstream, f.DistributionID)
	}
	if f.PlatformID != 0 {
		query = query.Where("subject_kind = ? AND subject_id = ?", models.SubjectPlatform, f.PlatformID)
	}
	total := unknown
	if f.Query != "" {
		var err error
		if query, f, total, err = s.search(ctx, query, query, tasksList(), f); err != nil {
			return nil, 0, err
		}
	}
	list, total, err := listed[models.Task](query, f, tasksList(), total)
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
