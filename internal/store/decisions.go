package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"hefring/internal/fleet"
	"hefring/models"
)

// Decisions lists what needs a decision, most urgent first: sites that are
// broken, upgrades that put everything back, builds that failed, sources that
// fail or are held, database servers that cannot be used, scheduled backups that
// failed, sites with known holes, and at last sites that are behind. For a client
// it is what concerns its sites alone. All of it is one query. Of a large fleet
// they are remembered for a moment: every page shows how many there are.
func (s *Store) Decisions(ctx context.Context, f fleet.Filter) ([]fleet.Decision, error) {
	if f.ClientID != 0 {
		return s.decide(ctx, f, tally{})
	}
	t, err := s.tally(ctx)
	if err != nil {
		return nil, err
	}
	if f.Limit != shownDecisions {
		return s.decide(ctx, f, t)
	}
	all, err := recall(ctx, s, func(m *memory) *remembered[decided] { return &m.decisions }, func(ctx context.Context, before decided) (decided, error) {
		if before.counted.Equal(t.counted) && !t.counted.IsZero() {
			return before, nil // nothing was recorded since
		}
		list, err := s.decide(ctx, f, t)
		return decided{list, t.counted}, err
	}, func(decided) bool { return t.sites > largeFleet })
	return slices.Clone(all.list), err
}

// decided are the decisions that go with a tally.
type decided struct {
	list    []fleet.Decision
	counted time.Time // the tally
}

// shownDecisions is how many pages ask for.
const shownDecisions = 100

// finding is one line of the query for decisions.
type finding struct {
	Rank         rank
	ID           int64 // of the subject
	Title        string
	Reason       string
	State        string // of what the reason speaks of
	Step         models.StepName
	TaskID       int64
	PlatformID   int64
	PlatformName string
	Sites        int
	At           *time.Time
}

// rank orders decisions by how urgent they are.
type rank int

const (
	rankBroken rank = iota
	rankUpgrade
	rankBuild
	rankSource
	rankServer
	rankBackup
	rankRisk
	rankBehind
)

// columns gives what every part of the query selects, in the same order.
func (r rank) columns(id, title, reason, state, step, task, platform, platformName, sites, at string) string {
	return fmt.Sprintf("%d AS rank, %s AS id, %s AS title, %s AS reason, %s AS state, %s AS step, %s AS task_id, %s AS platform_id, %s AS platform_name, %s AS sites, %s AS at",
		r, id, title, reason, state, step, task, platform, platformName, sites, at)
}

// decide asks for all kinds of decisions at once.
func (s *Store) decide(ctx context.Context, f fleet.Filter, t tally) ([]fleet.Decision, error) {
	parts := []any{s.brokenSites(ctx, f), s.failedUpgrades(ctx, f), s.failedBackups(ctx, f), s.sitesBehind(ctx, f, t)}
	if f.ClientID == 0 {
		parts = append(parts, s.failedBuilds(ctx, f), s.stalledSources(ctx, f), s.deadServers(ctx, f), s.platformsAtRisk(ctx, f))
	}
	names := make([]string, 0, len(parts))
	for i := range parts {
		names = append(names, fmt.Sprintf("SELECT * FROM (?) AS part%d", i))
	}
	var found []finding
	if err := s.with(ctx).Raw(strings.Join(names, " UNION ALL "), parts...).Scan(&found).Error; err != nil {
		return nil, fmt.Errorf("list decisions: %w", err)
	}
	for i := range found {
		found[i].count(t)
	}
	slices.SortStableFunc(found, finding.compare)
	decisions := make([]fleet.Decision, 0, min(len(found), f.Limit))
	for _, one := range found[:min(len(found), f.Limit)] {
		decisions = append(decisions, one.decision())
	}
	return decisions, nil
}

// count fills in how many sites it is about, where that is known of the whole fleet.
func (d *finding) count(t tally) {
	switch {
	case t.byPlatform == nil: // a client's were counted by the query
	case d.Rank == rankRisk:
		d.Sites = t.byPlatform[d.ID].sites()
	case d.Rank == rankBehind:
		d.Sites = t.byFamily[d.ID].behind
	}
}

// compare puts the more urgent first, then what concerns more sites, then the newer.
func (d finding) compare(other finding) int {
	return cmp.Or(
		cmp.Compare(d.Rank, other.Rank), cmp.Compare(other.worse(), d.worse()), cmp.Compare(other.Sites, d.Sites),
		other.at().Compare(d.at()), cmp.Compare(d.ID, other.ID))
}

// worse tells what is more urgent within a rank.
func (d finding) worse() int {
	if d.Rank == rankUpgrade && d.State == string(models.UpgradeFatal) || d.Rank == rankSource && d.State == string(models.ConditionHeld) {
		return 1
	}
	return 0
}

func (d finding) at() time.Time {
	if d.At == nil {
		return time.Time{}
	}
	return *d.At
}

// decision puts it into words.
func (d finding) decision() fleet.Decision {
	made := fleet.Decision{
		Title: d.Title, Why: d.Reason, TaskID: d.TaskID, PlatformID: d.PlatformID, PlatformName: d.PlatformName, Sites: d.Sites, At: d.at(),
		Subject: siteSubject(d.ID),
	}
	otherwise := ""
	switch d.Rank {
	case rankBroken:
		made.Kind, otherwise = fleet.DecideBroken, "The site is broken. Its last task says more."
	case rankUpgrade:
		made.Kind, otherwise = fleet.DecideRecovered, fmt.Sprintf("The upgrade to %s failed at %s. The site serves as before.", d.PlatformName, d.Step)
		if d.worse() > 0 {
			made.Kind = fleet.DecideBroken
			otherwise = fmt.Sprintf("The upgrade to %s failed at %s and could not be put back. Look at the site.", d.PlatformName, d.Step)
		}
	case rankBuild:
		made.Kind, made.Subject = fleet.DecideBuild, platformSubject(d.ID)
		otherwise = "The newest platform of " + d.State + " did not build. Its log says why."
	case rankSource:
		made.Kind, made.Subject = fleet.DecideSource, models.Subject{Kind: models.SubjectDistribution, ID: d.ID}
		otherwise = "The source does not answer as it should."
		if d.worse() > 0 {
			otherwise = "Something unusual happened at the source. A person must decide."
		}
	case rankServer:
		made.Kind, made.Subject = fleet.DecideServer, serverSubject(d.ID)
	case rankBackup:
		made.Kind, made.Why = fleet.DecideBackup, "Its last backup failed: "+cmp.Or(d.Reason, "its log says why.")
	case rankRisk:
		made.Kind, made.Subject = fleet.DecideRisk, platformSubject(d.ID)
		otherwise = sitesDo(d.Sites, "runs", "run") + " on a version that has a known hole, was taken back, or gets no more repairs."
	case rankBehind:
		made.Kind, made.Subject = fleet.DecideUpgrade, models.Subject{Kind: models.SubjectDistribution, ID: d.ID}
		otherwise = sitesDo(d.Sites, "is", "are") + " behind " + d.PlatformName + "."
	}
	made.Why = cmp.Or(made.Why, otherwise)
	return made
}

// sitesDo says what sites do: 1 site is, 2 sites are.
func sitesDo(n int, one, more string) string {
	if n == 1 {
		return "1 site " + one
	}
	return fmt.Sprintf("%d sites %s", n, more)
}

// newestTask is the id of the newest task of a subject.
func newestTask(kind models.SubjectKind, id string) string {
	return fmt.Sprintf("COALESCE((SELECT MAX(t.id) FROM tasks t WHERE t.subject_kind = '%s' AND t.subject_id = %s), 0)", kind, id)
}

func (s *Store) brokenSites(ctx context.Context, f fleet.Filter) *gorm.DB {
	return s.with(ctx).Model(&models.Site{}).Scopes(sitesOf(f.ClientID)).Where("sites.state = 'broken'").
		Select(rankBroken.columns("sites.id", "sites.uri", "sites.reason", "''", "''", newestTask(models.SubjectSite, "sites.id"), "0", "''", "1", "sites.updated_at")).
		Order("sites.updated_at DESC, sites.id").Limit(f.Limit)
}

// failedUpgrades asks for enabled sites whose newest upgrade did not get them to
// their target. A later success, another way to the target or holding the site
// settles it.
func (s *Store) failedUpgrades(ctx context.Context, f fleet.Filter) *gorm.DB {
	// There are few such upgrades and many sites; the databases guess the other way.
	// SQLite keeps the order of a CROSS JOIN, PostgreSQL does not look into what it
	// is to materialize.
	sites := s.with(ctx).Table("upgrades AS u").Joins("CROSS JOIN sites").Scopes(sitesOf(f.ClientID)).
		Where("sites.id = u.site_id AND u.state IN ('recovered', 'fatal') AND sites.state = 'enabled' AND NOT sites.held").
		Where("NOT EXISTS (SELECT 1 FROM upgrades newer WHERE newer.site_id = u.site_id AND newer.id > u.id)").
		Select("u.id, u.site_id, sites.uri, sites.platform_id")
	failed := s.with(ctx).Raw("WITH failed AS MATERIALIZED (?) SELECT * FROM failed", sites)
	return s.with(ctx).Table("(?) AS f", failed).
		Joins("JOIN upgrades u ON u.id = f.id").
		Joins("JOIN platforms p ON p.id = f.platform_id").Joins("JOIN distributions d ON d.id = p.distribution_id").
		Joins("JOIN platforms target ON target.id = u.to_id").
		Where("d.target_id <> f.platform_id").
		Select(rankUpgrade.columns("f.site_id", "f.uri", "u.reason", "u.state", "u.failed_step", "u.task_id", "target.id", "target.name", "1", "u.ended_at")).
		Order("u.state, u.ended_at DESC, f.site_id").Limit(f.Limit)
}

// failedBuild is true of distributions d whose newest platform did not build.
const failedBuild = "EXISTS (SELECT 1 FROM platforms f WHERE f.state = 'failed' AND f.id = " +
	"(SELECT MAX(id) FROM platforms WHERE distribution_id = %s AND state <> 'deleted'))"

func (s *Store) failedBuilds(ctx context.Context, f fleet.Filter) *gorm.DB {
	return s.with(ctx).Model(&models.Platform{}).
		Joins("JOIN distributions d ON d.id = platforms.distribution_id").
		Where("platforms.state = 'failed'").
		Where("platforms.id = (SELECT MAX(id) FROM platforms newest WHERE newest.distribution_id = d.id AND newest.state <> 'deleted')").
		Select(rankBuild.columns("platforms.id", "platforms.name", "platforms.reason", "d.name", "''", newestTask(models.SubjectPlatform, "platforms.id"), "0", "''", "0", "platforms.updated_at")).
		Order("platforms.updated_at DESC, platforms.id").Limit(f.Limit)
}

// stalledSources asks for distributions that are held or failing. One that fails
// because its newest platform did not build is told as that.
func (s *Store) stalledSources(ctx context.Context, f fleet.Filter) *gorm.DB {
	return standing(s.with(ctx)).Where("condition IN ('held', 'failing')").
		Where("(condition = 'held' OR NOT " + fmt.Sprintf(failedBuild, "distributions.id") + ")").
		Select(rankSource.columns("id", "name", "reason", "condition", "''", newestTask(models.SubjectUpstream, "distributions.upstream_id"), "0", "''", "0", "COALESCE(last_check_at, updated_at)")).
		Order("condition DESC, updated_at DESC, id").Limit(f.Limit)
}

// deadServers asks for the database servers that failed their last test.
func (s *Store) deadServers(ctx context.Context, f fleet.Filter) *gorm.DB {
	return s.with(ctx).Model(&models.DatabaseServer{}).Where("reason <> ''").
		Select(rankServer.columns("id", "name", "reason", "''", "''", "0", "0", "''", "0", "tested_at")).
		Order("tested_at DESC, id").Limit(f.Limit)
}

// failedBackups asks for the sites whose last scheduled backup failed and that have
// no newer one.
func (s *Store) failedBackups(ctx context.Context, f fleet.Filter) *gorm.DB {
	return s.with(ctx).Model(&models.Site{}).Scopes(sitesOf(f.ClientID)).
		Joins("JOIN tasks t ON t.subject_id = sites.id AND t.subject_kind = 'site' AND t.kind = 'backup' AND t.state = 'failed'").
		Where("NOT EXISTS (SELECT 1 FROM tasks newer WHERE newer.subject_kind = 'site' AND newer.kind = 'backup' AND newer.subject_id = sites.id AND newer.ended_at IS NOT NULL AND newer.id > t.id)").
		Where("sites.backup_every > 0 AND sites.state = 'enabled'").
		Select(rankBackup.columns("sites.id", "sites.uri", "t.message", "''", "''", "t.id", "0", "''", "1", "t.ended_at")).
		Order("t.ended_at DESC, sites.id").Limit(f.Limit)
}

// platformsAtRisk asks for platforms with known holes that sites run on.
func (s *Store) platformsAtRisk(ctx context.Context, f fleet.Filter) *gorm.DB {
	return s.with(ctx).Model(&models.Platform{}).Where("platforms.at_risk AND platforms.state = 'ready'").
		Where("EXISTS (SELECT 1 FROM sites WHERE sites.platform_id = platforms.id AND sites.state <> 'deleted')").
		Select(rankRisk.columns("platforms.id", "platforms.name", "''", "''", "''", "0", "0", "''", "0", "platforms.updated_at")).
		Order("platforms.id DESC").Limit(f.Limit)
}

// sitesBehind asks for distributions with sites behind for which no batch is under
// way.
func (s *Store) sitesBehind(ctx context.Context, f fleet.Filter, t tally) *gorm.DB {
	sites, query := "COUNT(*)", s.sites(ctx).Scopes(sitesOf(f.ClientID)).Where(behind)
	if f.ClientID == 0 {
		sites, query = "0", s.with(ctx).Table("distributions AS d").Where("d.id IN ?", t.mostBehind(2*f.Limit))
	} else {
		query = query.Group("d.id, d.name, target.id, target.name, target.built_at")
	}
	return query.Joins("JOIN platforms target ON target.id = d.target_id").
		Where("d.id NOT IN (SELECT b.distribution_id FROM tasks t JOIN platforms b ON b.id = t.subject_id" +
			" WHERE t.kind = 'upgrade-platform' AND t.state IN ('queued', 'running'))").
		Select(rankBehind.columns("d.id", "d.name", "''", "''", "''", "0", "target.id", "target.name", sites, "target.built_at"))
}
