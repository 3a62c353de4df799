package models

import "time"

// Mode says how a site is moved.
type Mode string

// Modes of an upgrade. It is unknown until preflight asked Drush.
const (
	ModeUnknown  Mode = ""
	ModeCode     Mode = "code"     // no pending database updates: a pointer switch, no write is refused
	ModeDatabase Mode = "database" // updates run on a copy while the site is read-only
)

// UpgradeKind says which of the moves of a site it is. All keep the same promise:
// whatever fails, the site serves what it served before.
type UpgradeKind string

// Kinds of moves.
const (
	KindUpgrade  UpgradeKind = "upgrade"
	KindRollback UpgradeKind = "rollback" // back to what an upgrade left, as long as that is kept
	KindRestore  UpgradeKind = "restore"  // to the content of a backup
)

// Upgrade is one move of a site to another platform.
type Upgrade struct {
	ID   int64
	Kind UpgradeKind `gorm:"default:upgrade"`
	// UndoesID is the upgrade that a rollback takes back; BackupID the backup
	// that a restore brings back.
	UndoesID *int64
	BackupID *int64
	TaskID   int64
	SiteID   int64
	FromID   int64 // platform
	ToID     int64 // platform
	Mode     Mode
	State    UpgradeState

	OldDatabase Database `gorm:"serializer:json"` // what it served before
	NewDatabase Database `gorm:"serializer:json"` // the copy; the same as the old one in code mode

	Switched     bool            // the point of no return was passed
	FailedStep   StepName        // the step at which it failed
	Reason       string          // what failed, and what to do
	ReadOnly     time.Duration   // how long writes were refused
	Updates      []PendingUpdate `gorm:"serializer:json"` // that it ran
	Marks        []TableMark     `gorm:"serializer:json"` // how the new database was when it opened
	RolledBackAt *time.Time      // when a rollback took it back
	DroppedOldAt *time.Time      // when the kept old database was deleted
	StartedAt    *time.Time
	EndedAt      *time.Time
	CreatedAt    time.Time
}

// StepName names one step of an upgrade.
type StepName string

// The steps of a move; StepsOf has their order.
const (
	StepPreflight StepName = "preflight"
	StepReadOnly  StepName = "read-only"
	StepCopy      StepName = "copy"
	StepDeploy    StepName = "deploy"
	StepUpdate    StepName = "updatedb"
	StepRebuild   StepName = "rebuild"
	StepProbe     StepName = "probe"
	StepSwitch    StepName = "switch"
	StepConfirm   StepName = "confirm" // probe again, now from outside
	StepReopen    StepName = "reopen"
	StepRetire    StepName = "retire"
)

// StepsOf lists the steps of a move in their order. An upgrade copies the content
// while writes are refused; a restore, and a rollback to a database that was kept,
// have theirs ready before.
func StepsOf(kind UpgradeKind, mode Mode) []StepName {
	switching := []StepName{StepSwitch, StepConfirm, StepReopen, StepRetire}
	if kind == KindRestore || kind == KindRollback && mode != ModeCode {
		return append([]StepName{StepPreflight, StepCopy, StepDeploy, StepUpdate, StepRebuild, StepProbe, StepReadOnly}, switching...)
	}
	return append([]StepName{StepPreflight, StepDeploy, StepReadOnly, StepCopy, StepUpdate, StepRebuild, StepProbe}, switching...)
}

// StepState is how far one step is.
type StepState string

// States of a step.
const (
	StepPending StepState = "pending"
	StepRunning StepState = "running"
	StepDone    StepState = "done"
	StepSkipped StepState = "skipped" // not needed in this mode
	StepFailed  StepState = "failed"
	StepUndone  StepState = "undone"
)

// UpgradeStep is the journal's line for one step of one upgrade.
type UpgradeStep struct {
	ID        int64
	UpgradeID int64
	Name      StepName
	State     StepState
	Message   string // one fact about it: 214 MB, 3 updates, 200 in 84 ms
	StartedAt *time.Time
	EndedAt   *time.Time
	UndoneAt  *time.Time
}
