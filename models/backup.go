package models

import "time"

// Backup is one site's content at one moment: its database, its files, public
// and private, and what is needed to bring it back.
type Backup struct {
	ID         int64
	SiteID     int64
	TaskID     int64  // that made it
	URI        string // of the site at that time
	PlatformID int64  // on which the site ran
	Purpose    BackupPurpose
	State      BackupState
	Note       string // a person's own words
	Path       string // absolute, the archive's file; "" before it is there

	Engine        string // of the database in it
	DrupalVersion string
	Profile       string
	Bytes         int64  // of the archive
	Digest        string // SHA-256 of the archive, in hex
	Tables, Files int
	Keep          bool   // retention never takes it
	Reason        string // why it failed
	CreatedAt     time.Time
	EndedAt       *time.Time
}

// Made tells whether the backup was complete once, also when it was deleted since.
func (b *Backup) Made() bool {
	return b.State == BackupReady || b.State == BackupDeleted && b.Digest != ""
}

// BackupPurpose says why a backup was made.
type BackupPurpose string

// Purposes of backups.
const (
	BackupManual   BackupPurpose = "manual"
	BackupSchedule BackupPurpose = "schedule"
	BackupDelete   BackupPurpose = "delete"   // before the site was deleted
	BackupRollback BackupPurpose = "rollback" // what a rollback dropped
	BackupRestore  BackupPurpose = "restore"  // what a restore replaced
)

// BackupState is where a backup is in its life.
type BackupState string

// States of a backup.
const (
	BackupMaking  BackupState = "making"
	BackupReady   BackupState = "ready"
	BackupFailed  BackupState = "failed"
	BackupDeleted BackupState = "deleted" // its file is gone; the row stays as a record
)

// BackupTransitions is the life of a backup.
func BackupTransitions() Transitions[BackupState] {
	return Transitions[BackupState]{
		BackupMaking:  {BackupReady, BackupFailed},
		BackupReady:   {BackupDeleted},
		BackupFailed:  {BackupDeleted},
		BackupDeleted: {},
	}
}

// Origin is where the content of a new site comes from: another site, a backup,
// or a code base outside of Hefring. Exactly one of them is set.
type Origin struct {
	Site   *Site
	Backup *Backup
	Found  *FoundSite
}

// FoundSite is a site in a code base that Hefring does not own. Nothing of it is
// ever changed: to adopt it is to copy it.
type FoundSite struct {
	Root    string `json:"root"`    // absolute folder of the code base
	Docroot string `json:"docroot"` // inside of Root; "" is Root itself
	Folder  string `json:"folder"`  // below sites/: default, museum.example.org
	URI     string `json:"uri"`     // its host name as far as it is known

	DrupalVersion string `json:"drupal_version"`
	Profile       string `json:"profile"`
	Title         string `json:"title"`
	Engine        string `json:"engine"`
	Database      string `json:"database"` // its name, or SQLite's file; never its password
	Bytes         int64  `json:"bytes"`    // of its files
	Problem       string `json:"problem"`  // why it cannot be adopted; "" when it can
}

// Loss says what going back to the version before an upgrade would lose.
type Loss struct {
	Since  time.Time   `json:"since"`  // when the newer version opened
	None   bool        `json:"none"`   // the older version uses the same database: nothing is lost
	Tables []TableLoss `json:"tables"` // those with changes, and those of which it cannot be told
}

// TableLoss is what was written to one table since.
type TableLoss struct {
	Table   string `json:"table"`
	Added   int64  `json:"added"` // rows
	Changed int64  `json:"changed"`
	Removed int64  `json:"removed"`
	Unknown bool   `json:"unknown,omitempty"` // it cannot be told, or not all of it
	Why     string `json:"why,omitempty"`     // why not; "" otherwise
}

// TableMark is how a table was when a new version opened, so that Loss can be
// told later. It is cheap to take: no row is read but the last.
type TableMark struct {
	Table   string `json:"t"`
	Rows    int64  `json:"n"`
	Key     string `json:"k,omitempty"` // a column that only grows; "" for none
	MaxKey  int64  `json:"m,omitempty"`
	Changed string `json:"c,omitempty"` // a column with the time of the last change, in Unix seconds
	// What the database itself counts, where it does: rows inserted, updated,
	// deleted so far.
	Counts *[3]int64 `json:"s,omitempty"`
	Sum    string    `json:"h,omitempty"` // a checksum, where that is cheap
	At     int64     `json:"a,omitempty"` // when it was taken, in Unix seconds
}
