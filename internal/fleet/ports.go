package fleet

import (
	"context"
	"time"

	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// Store is the database as the use cases see it. Its Tx methods work outside of
// a transaction too, each for itself.
type Store interface {
	Tx
	Pages
	Lists
	Audit
	// InTx runs fn in one transaction: all of it or nothing. fn must use only tx
	// and do no work outside of the database.
	InTx(ctx context.Context, fn func(tx Tx) error) error
	SiteNamed(ctx context.Context, uri string) (models.Site, error) // by its address or an alias
	PlatformNamed(ctx context.Context, name string) (models.Platform, error)
	// AppendLines adds lines to a task's log, in order, and wakes those who
	// follow it.
	AppendLines(ctx context.Context, lines []models.TaskLine) error
	// Follow wakes its reader when a task's log or state may have changed; a
	// reader looks by itself each second all the same. stop ends it.
	Follow(taskID int64) (wake <-chan struct{}, stop func())
	// Lines gives at most limit lines of a task's log that come after the line
	// with id after, oldest first.
	Lines(ctx context.Context, taskID, after int64, limit int) ([]models.TaskLine, error)
}

// Tx is what may happen inside a transaction. Get methods answer
// models.NotFound for what is not there. Move methods check the transition
// table, write only if the row is still in state from (else models.Conflict),
// and record an event in the same transaction.
type Tx interface {
	Hooks
	Notices
	Servers
	Relocations

	// Sites is the list of Pages, for decisions about a distribution's sites.
	Sites(ctx context.Context, f Filter) ([]SiteRow, int, error)

	CreateDistribution(ctx context.Context, d *models.Distribution) error    // Conflict: slug or name taken
	SaveDistribution(ctx context.Context, d *models.Distribution) error      // name, settings, source, intervals
	Distribution(ctx context.Context, id int64) (models.Distribution, error) // NotFound: also when it was deleted
	DeleteDistribution(ctx context.Context, id int64, at time.Time) error    // its row stays for the record
	// LockDistribution makes others that change a distribution wait for this
	// transaction, and gives it as it is then.
	LockDistribution(ctx context.Context, id int64) (models.Distribution, error)
	Keeping(ctx context.Context) ([]models.Distribution, error) // that keep only some of their platforms
	// RecordCheck stores what a check found: the check's row (joined to the row
	// before where both are unchanged) and the distribution's condition,
	// reason, observed revision and last check.
	RecordCheck(ctx context.Context, c *models.Check, condition models.Condition, reason string) error
	SetCondition(ctx context.Context, distributionID int64, condition models.Condition, code models.Reason, reason string) error
	// SetTarget makes a ready platform the upgrade target, unlocks it, locks
	// its siblings and sets the distribution's signature, if the target is
	// still the one given as old (nil: none).
	SetTarget(ctx context.Context, by string, distributionID int64, old *int64, platform models.Platform) error

	CreatePlatform(ctx context.Context, p *models.Platform) error // Conflict: name taken
	Platform(ctx context.Context, id int64) (models.Platform, error)
	PlatformsOf(ctx context.Context, distributionID int64) ([]models.Platform, error)           // newest first, without deleted
	PlatformsIn(ctx context.Context, states ...models.PlatformState) ([]models.Platform, error) // without packages
	MovePlatform(ctx context.Context, by string, p models.Platform, to models.PlatformState, reason string) error
	// SavePlatformBuild stores what a build found (everything but name, state,
	// lock and reason) while the platform is still building.
	SavePlatformBuild(ctx context.Context, p models.Platform) error
	SetLocked(ctx context.Context, by string, platformID int64, locked bool) error

	CreateSite(ctx context.Context, s *models.Site) error // Conflict: URI taken
	Site(ctx context.Context, id int64) (models.Site, error)
	SitesOn(ctx context.Context, platformID int64) ([]models.Site, error)       // by URI, without deleted
	SiteAddresses(ctx context.Context, platformID int64) ([]models.Site, error) // the same, with id, URI and platform alone
	MoveSite(ctx context.Context, by string, s models.Site, to models.SiteState, reason string) error
	// PlaceSite records where a site runs now: its platform and database, if it
	// is still on the platform that s says.
	PlaceSite(ctx context.Context, s models.Site, platformID int64, db models.Database) error
	SetHeld(ctx context.Context, by string, siteID int64, held bool, reason string, until *time.Time) error
	EndedHolds(ctx context.Context, now time.Time, limit int) ([]models.Site, error)
	// EndHold lets a site go whose hold has come to its end; one that somebody holds
	// for longer by now stays.
	EndHold(ctx context.Context, by string, siteID int64, now time.Time) error
	// ConfigureSite stores how a site is served and looked after. Conflict: a
	// name is another site's.
	ConfigureSite(ctx context.Context, by string, s models.Site) error
	// DueBackups and DueCrons list enabled sites whose scheduled work is due and
	// that nothing works on. Claim… moves its next time from s's to next; false
	// when another replica was quicker.
	DueBackups(ctx context.Context, now time.Time, limit int) ([]models.Site, error)
	DueCrons(ctx context.Context, now time.Time, limit int) ([]models.Site, error)
	ClaimBackup(ctx context.Context, s models.Site, next time.Time) (bool, error)
	ClaimCron(ctx context.Context, s models.Site, next time.Time) (bool, error)

	CreateBackup(ctx context.Context, b *models.Backup) error
	BackupOfTask(ctx context.Context, taskID int64) (models.Backup, error)
	MoveBackup(ctx context.Context, by string, b models.Backup, to models.BackupState) error // with what was found
	KeepBackup(ctx context.Context, by string, id int64, keep bool) error
	// SpentBackups lists failed backups on a server (0: on the control plane's
	// host), and scheduled ones beyond the number that their site keeps.
	SpentBackups(ctx context.Context, server int64, limit int) ([]models.Backup, error)

	SaveDatabaseServer(ctx context.Context, by string, s *models.DatabaseServer) error // Conflict: name taken
	MarkDatabaseServer(ctx context.Context, s models.DatabaseServer) error             // what its last test said
	DeleteDatabaseServer(ctx context.Context, by string, id int64) error
	SitesUsing(ctx context.Context, serverID int64) ([]models.Site, error)

	SaveComparison(ctx context.Context, c *models.Comparison) error // replaces the site's older one
	Comparison(ctx context.Context, siteID int64) (models.Comparison, error)

	// ComparisonsOn lists the comparisons of a platform's sites with a target.
	ComparisonsOn(ctx context.Context, platformID, targetID int64) ([]models.Comparison, error)

	CreateUpgrade(ctx context.Context, u *models.Upgrade) error // with one pending step for each of models.StepsOf
	Upgrade(ctx context.Context, id int64) (models.Upgrade, error)
	UpgradeOfTask(ctx context.Context, taskID int64) (models.Upgrade, error)
	MoveUpgrade(ctx context.Context, u models.Upgrade, to models.UpgradeState, reason string) error
	SaveUpgrade(ctx context.Context, u models.Upgrade) error // everything but its state
	UpgradeSteps(ctx context.Context, upgradeID int64) ([]models.UpgradeStep, error)
	SaveStep(ctx context.Context, s models.UpgradeStep) error
	LatestUpgrade(ctx context.Context, siteID int64) (models.Upgrade, error)  // the newest that succeeded
	KeptUpgrades(ctx context.Context, siteID int64) ([]models.Upgrade, error) // whose old version is still kept
	// UpgradesNeeding lists the moves that need a platform: those that are not
	// over yet, and those that could be taken back to it.
	UpgradesNeeding(ctx context.Context, platformID int64) ([]models.Upgrade, error)
	// RetiredUpgrades lists succeeded upgrades of the sites on a server, ended
	// before the time, whose old database is still kept.
	RetiredUpgrades(ctx context.Context, server int64, before time.Time, limit int) ([]models.Upgrade, error)

	// CreateTask stores a task and hands it to the queue in the same
	// transaction. Conflict: the subject has a queued or running task already;
	// RunningTask finds it.
	CreateTask(ctx context.Context, t *models.Task) error
	Task(ctx context.Context, id int64) (models.Task, error)
	RunningTask(ctx context.Context, subject models.Subject) (models.Task, error)
	Children(ctx context.Context, parentID int64) ([]models.Task, error)
	// TakeTask moves a queued or running task to running under a new attempt.
	TakeTask(ctx context.Context, id int64) (models.Task, error)
	// FinishTask ends a running task if its attempt is still the current one.
	FinishTask(ctx context.Context, t models.Task, to models.TaskState, message string) error
	// HoldsTask answers Conflict when another worker took the task over.
	HoldsTask(ctx context.Context, t models.Task) error
	// SaveTaskArgs stores what a task must remember between calls, if its
	// attempt is still the current one.
	SaveTaskArgs(ctx context.Context, t models.Task) error
	SaveTaskResult(ctx context.Context, t models.Task) error // likewise
	// CancelTask ends a queued task and marks a running one.
	CancelTask(ctx context.Context, by string, id int64) error

	Queues(ctx context.Context) ([]models.Queue, error)
	LockQueue(ctx context.Context, updateType string) (models.Queue, error)  // others that change it wait
	SaveQueue(ctx context.Context, q models.Queue) error                     // creates or replaces
	MarkQueueRun(ctx context.Context, updateType string, at time.Time) error // sets only LastRunAt
	RunningChecks(ctx context.Context, updateType string) (int, error)       // queued or running

	// EnsureUpstream finds the upstream with u's update type and key, or stores u.
	EnsureUpstream(ctx context.Context, u models.Upstream) (models.Upstream, error)
	Upstream(ctx context.Context, id int64) (models.Upstream, error)
	LockUpstream(ctx context.Context, id int64) (models.Upstream, error) // others that change it wait
	UpstreamsOfType(ctx context.Context, updateType string) ([]models.Upstream, error)
	Subscribers(ctx context.Context, upstreamID int64) ([]models.Distribution, error) // by name
	Rebuilt(ctx context.Context) ([]models.Distribution, error)                       // distributions that are rebuilt every some days
	Orphans(ctx context.Context) ([]models.Distribution, error)                       // distributions without upstream
	// DueUpstreams lists upstreams of a type whose next check is due and that
	// nothing looks at, at hosts that take checks.
	DueUpstreams(ctx context.Context, updateType string, now time.Time, limit int) ([]models.Upstream, error)
	// ClaimUpstream moves next_check_at from u's to next; false when another
	// replica was quicker.
	ClaimUpstream(ctx context.Context, u models.Upstream, next *time.Time) (bool, error)
	ScheduleUpstream(ctx context.Context, id int64, next time.Time) error // unless it is due before
	RecordUpstream(ctx context.Context, u models.Upstream) error          // everything but key, next check and webhook
	MarkHook(ctx context.Context, upstreamID int64, at time.Time) error
	PruneUpstreams(ctx context.Context) error // that no distribution comes from
	Host(ctx context.Context, name string) (models.Host, error)
	LockHost(ctx context.Context, name string) (models.Host, error) // others that change or ask it wait
	SaveHost(ctx context.Context, h models.Host) error
	// TakeHost begins one check at a host, if its limits allow.
	TakeHost(ctx context.Context, name string, now time.Time) (bool, error)
	BlockHost(ctx context.Context, name string, until time.Time) error
	CountRequests(ctx context.Context, name string, at time.Time, n int64) error
	SourceState(ctx context.Context, distributionID int64) (models.SourceState, error) // empty when there is none
	SaveSourceState(ctx context.Context, state models.SourceState) error
	PlatformPlan(ctx context.Context, platformID int64) (string, error)
	SetStanding(ctx context.Context, platformID int64, findings []models.Finding) error

	RecordEvent(ctx context.Context, e models.Event) error
	// RecordEdit is RecordEvent unless nothing changed.
	RecordEdit(ctx context.Context, e models.Event) error
	// Once claims the token of a form that makes something. If the token was
	// claimed before, fresh is false, and seen is what the form made and the content that
	// it was claimed with. A claim waits for another one at the same time to end.
	Once(ctx context.Context, token, content string) (seen SentForm, fresh bool, err error)
	// UseOnce stores what the form with a claimed token made.
	UseOnce(ctx context.Context, token string, id int64) error

	People
	SignIns

	CreateUser(ctx context.Context, u *models.User) error // Conflict: name taken
	User(ctx context.Context, id int64) (models.User, error)
	UserByName(ctx context.Context, name string) (models.User, error)
	SetPassword(ctx context.Context, userID int64, hash string) error
	CreateToken(ctx context.Context, t *models.Token) error                         // Conflict: name taken
	UseToken(ctx context.Context, hash string, now time.Time) (models.Token, error) // NotFound: unknown or expired
	Tokens(ctx context.Context, userID int64) ([]models.Token, error)
	DeleteToken(ctx context.Context, userID int64, name string) (models.Token, error) // the one that there was
	// ClaimReply makes a request its caller's to do. fresh is false when it was made
	// before; found is then what is known of that.
	ClaimReply(ctx context.Context, tokenHash string, r models.Reply) (found models.Reply, fresh bool, err error)
	SaveReply(ctx context.Context, r models.Reply) error // what was claimed is answered
	DropReply(ctx context.Context, id string) error      // a claim that came to nothing
	CreateLoginLink(ctx context.Context, l models.LoginLink) error
	UseLoginLink(ctx context.Context, tokenHash string, now time.Time) (models.User, error) // NotFound: unknown, used or expired
}

// Log is a task's live log. Its writers take child programs' output.
type Log = upgrade.Log
