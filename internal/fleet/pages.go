package fleet

import (
	"context"
	"time"

	"hefring/models"
)

// Counted is how far long searches and rare states are counted. A total of one more
// means that there are more.
const Counted = 1000

// Pages are the questions that pages ask. Each is a handful of queries at most,
// whatever the number of rows.
type Pages interface {
	// Fleet, Decisions, RunningTasks and RecentTasks heed the filter's client and
	// limit only.
	Fleet(ctx context.Context, f Filter) (Counts, error)
	Decisions(ctx context.Context, f Filter) ([]Decision, error) // what needs a decision, most urgent first
	RunningTasks(ctx context.Context, f Filter) ([]models.Task, error)
	RecentTasks(ctx context.Context, f Filter) ([]models.Task, error) // ended, newest first
	Distributions(ctx context.Context, f Filter) ([]DistributionRow, int, error)
	DistributionNames(ctx context.Context, limit int) ([]models.Distribution, error) // id and name alone
	DistributionPlatforms(ctx context.Context, distributionID int64) ([]PlatformRow, error)
	DistributionChecks(ctx context.Context, distributionID int64, limit int) ([]models.Check, error)
	Platforms(ctx context.Context, f Filter) ([]PlatformRow, int, error)
	// PlatformChoices are ready, those of the distribution first: id, name and version alone.
	PlatformChoices(ctx context.Context, distributionID int64, limit int) ([]models.Platform, error)
	PlatformsByID(ctx context.Context, ids []int64) (map[int64]models.Platform, error) // without their packages and the like
	PlatformRow(ctx context.Context, id int64) (PlatformRow, error)
	Sites(ctx context.Context, f Filter) ([]SiteRow, int, error)
	SiteRow(ctx context.Context, id int64) (SiteRow, error)
	SiteUpgrades(ctx context.Context, siteID int64, limit int) ([]models.Upgrade, error)
	Tasks(ctx context.Context, f Filter) ([]models.Task, int, error)
	SubjectTasks(ctx context.Context, subjects []models.Subject, limit int) ([]models.Task, error) // newest first
	SubjectName(ctx context.Context, subject models.Subject) (string, error)                       // NotFound: gone, or of a kind without names
	Queues(ctx context.Context) ([]models.Queue, error)                                            // without what waits in them
	QueueRows(ctx context.Context, now time.Time) ([]QueueRow, error)
	HostRows(ctx context.Context, now time.Time) ([]HostRow, error)
	Backups(ctx context.Context, siteID int64, limit int) ([]models.Backup, error) // newest first, without those that are gone
	Backup(ctx context.Context, id int64) (models.Backup, error)
	DatabaseServers(ctx context.Context) ([]DatabaseServerRow, error)
	DatabaseServerChoices(ctx context.Context) ([]DatabaseServerRow, error) // the same, whose sites are not counted
	DatabaseServer(ctx context.Context, id int64) (models.DatabaseServer, error)
	// OpenPlatforms lists the ready, unlocked platforms that may take new sites: id,
	// name, version and profiles alone.
	OpenPlatforms(ctx context.Context) ([]models.Platform, error)
}

// Lists are the questions that programs ask and pages do not.
type Lists interface {
	DistributionNamed(ctx context.Context, slug string) (models.Distribution, error)                   // by its short name
	BackupRows(ctx context.Context, siteID int64, f Filter) (rows []models.Backup, total int, _ error) // newest first, without those that are gone
	CheckRows(ctx context.Context, distributionID int64, f Filter) (rows []models.Check, total int, _ error)
	UpgradeRows(ctx context.Context, siteID int64, f Filter) (rows []models.Upgrade, total int, _ error)
	MessageRows(ctx context.Context, channelID int64, f Filter) (rows []NoticeMessageRow, total int, _ error)
}

// Filter narrows a list. Zero values do not narrow.
type Filter struct {
	Query          string // part of a name
	State          string
	DistributionID int64
	PlatformID     int64
	ServerID       int64 // sites only: those on a web host
	ClientID       int64 // sites of the client and tasks on them; for Decisions and counts too
	Behind         bool  // sites only: those that an upgrade waits for
	Brief          bool  // sites only: of each no more than a line of a list shows
	Limit, Offset  int   // Limit 0 means 50
	NoTotal        bool  // how many there are is not wanted, and 0
	After          Position
}

// DefaultRows is how many rows a list has when it does not say.
const DefaultRows = 50

// Rows is how many rows are wanted at most.
func (f Filter) Rows() int {
	if f.Limit <= 0 {
		return DefaultRows
	}
	return f.Limit
}

// Narrow tells whether something else than a text is asked of the rows.
func (f Filter) Narrow() bool {
	return f.State != "" || f.DistributionID != 0 || f.PlatformID != 0 || f.ServerID != 0 || f.ClientID != 0 || f.Behind
}

// Position is the last row of a part of a list that was seen. The list goes on after
// it, whatever was added before it meanwhile. Zero is its beginning.
type Position struct {
	Name string // for lists by name
	ID   int64  // for lists by number
}

// Counts is the state of the fleet in figures.
type Counts struct {
	Current, Behind, Held, Broken, Disabled, Busy int // sites
	Distributions, Platforms                      int
}

// DecisionKind says what kind of decision waits.
type DecisionKind string

// Kinds of decisions.
const (
	DecideUpgrade   DecisionKind = "upgrade"   // sites of a distribution are behind
	DecideBuild     DecisionKind = "build"     // a platform did not build
	DecideRecovered DecisionKind = "recovered" // the last upgrade of a site was recovered
	DecideBroken    DecisionKind = "broken"    // a site is broken or an upgrade ended fatal
	DecideSource    DecisionKind = "source"    // a source fails or is held
	DecideRisk      DecisionKind = "risk"      // sites run on a platform with known holes
	DecideBackup    DecisionKind = "backup"    // the last backup of a site failed
	DecideServer    DecisionKind = "server"    // a database server cannot be used
)

// Decision is one line of the first page.
type Decision struct {
	Kind         DecisionKind
	Subject      models.Subject
	Title        string // name of the distribution, platform or site
	Why          string // what happened and what it means
	TaskID       int64  // whose log tells more; 0 for none
	PlatformID   int64  // for DecideUpgrade the target
	PlatformName string
	Sites        int
	At           time.Time
}

// DistributionRow is one line of the list of distributions.
type DistributionRow struct {
	models.Distribution
	Upstream                 models.Upstream // zero for one that is kept by hand
	Shared                   int             // other distributions of the same upstream
	Unsafe                   int             // sites on platforms with known holes
	TargetName               string
	TargetVersion            string
	Platforms, Sites, Behind int
}

// PlatformRow is a platform with what its line and page show beside it.
type PlatformRow struct {
	models.Platform
	DistributionName string
	UpdateType       string
	TargetID         *int64 // of the distribution
	TargetName       string
	TargetVersion    string
	TargetLabel      string
	Sites            int // that live here
	Upgradable       int // of them, how many an Upgrade button would move
}

// IsTarget tells whether it is its distribution's upgrade target.
func (p PlatformRow) IsTarget() bool { return p.TargetID != nil && *p.TargetID == p.ID }

// Outdated tells whether an Upgrade button belongs on it.
func (p PlatformRow) Outdated() bool {
	return p.State == models.PlatformReady && p.TargetID != nil && *p.TargetID != p.ID && p.Upgradable > 0
}

// SiteRow is a site with what its line and page show beside it.
type SiteRow struct {
	models.Site
	DistributionID   int64
	DistributionName string
	Platform         models.Platform
	Target           *models.Platform // the distribution's upgrade target
	LastUpgrade      *models.Upgrade
	RunningTaskID    int64                 // 0: none
	DatabaseServer   models.DatabaseServer // id, name, engine and version alone; SiteRow only
}

// Behind tells whether an Upgrade button belongs on it.
func (s SiteRow) Behind() bool {
	return s.State == models.SiteEnabled && s.Target != nil && s.Target.ID != s.PlatformID && !s.Held
}

// QueueRow is one line of the Queues page.
type QueueRow struct {
	models.Queue
	Sources   int // distributions that are checked by themselves
	Waiting   int // due or queued
	Running   int
	NextRunAt *time.Time
	Lag       time.Duration // how long the oldest due check waits
}

// DatabaseServerRow is one line of the list of database servers.
type DatabaseServerRow struct {
	models.DatabaseServer
	Sites int
}

// HostRow is one line of the Queues page about a host.
type HostRow struct {
	models.Host
	Upstreams int
	Stalled   int           // that wait for a person
	Failing   int           // whose last check failed
	Due       int           `gorm:"-"`
	Lag       time.Duration `gorm:"-"` // 95th percentile of how long due checks wait
}
