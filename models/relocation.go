package models

import (
	"path"
	"strconv"
	"time"
)

// RelocationState is how far a site has come on its way to another server.
type RelocationState string

// States of a relocation. Each is written by one side, which is named behind it: the
// control plane, the server that the site leaves, or the one that it goes to. Only
// from sealed on nothing but the control plane decides.
const (
	RelocationQueued   RelocationState = "queued"
	RelocationSending  RelocationState = "sending"  // control: the first copy of its files is made
	RelocationSent     RelocationState = "sent"     // old: it is on the control plane's host
	RelocationPlacing  RelocationState = "placing"  // control: the new server takes it
	RelocationReady    RelocationState = "ready"    // new: the site answers there, visitors do not see it
	RelocationHanding  RelocationState = "handing"  // control: the old server hands over
	RelocationClosed   RelocationState = "closed"   // old: writes are refused, and what changed since is sent
	RelocationProven   RelocationState = "proven"   // new: the site answers there with all of it
	RelocationSealed   RelocationState = "sealed"   // old: nobody wrote since, and nobody will
	RelocationSwitched RelocationState = "switched" // control: the site is on the new server
	RelocationOpen     RelocationState = "open"     // new: visitors are answered there
	RelocationDone     RelocationState = "done"     // control
	RelocationFailed   RelocationState = "failed"   // any, before the switch: the old server serves as before
)

// RelocationTransitions is the way of a relocation. Before the switch every failure
// leads to failed, and nothing leads there afterwards.
func RelocationTransitions() Transitions[RelocationState] {
	return Transitions[RelocationState]{
		RelocationQueued:   {RelocationSending, RelocationFailed},
		RelocationSending:  {RelocationSent, RelocationFailed},
		RelocationSent:     {RelocationPlacing, RelocationFailed},
		RelocationPlacing:  {RelocationReady, RelocationFailed},
		RelocationReady:    {RelocationHanding, RelocationFailed},
		RelocationHanding:  {RelocationClosed, RelocationFailed},
		RelocationClosed:   {RelocationProven, RelocationFailed},
		RelocationProven:   {RelocationSealed, RelocationFailed},
		RelocationSealed:   {RelocationSwitched, RelocationFailed},
		RelocationSwitched: {RelocationOpen},
		RelocationOpen:     {RelocationDone},
		RelocationDone:     {},
		RelocationFailed:   {},
	}
}

// Switched tells whether the site is on its new server.
func (s RelocationState) Switched() bool {
	return s == RelocationSwitched || s == RelocationOpen || s == RelocationDone
}

// Over tells whether nothing follows.
func (s RelocationState) Over() bool { return RelocationTransitions().Final(s) }

// Relocation is a site's way from one server to another. Both servers' workers see
// it, and nothing else of each other.
type Relocation struct {
	ID     int64
	TaskID int64 // the one that people see
	SiteID int64
	FromID *int64 // server; nil: the host of the control plane
	ToID   *int64
	State  RelocationState
	Reason string // why it failed
	// Site is the site as it was when it began: the new server cannot see its row.
	Site Site `gorm:"serializer:json"`
	// Origin is where the old server answers visitors, Target where the new one
	// does, such as http://192.0.2.12:8081; "" when that is not known.
	Origin string
	Target string
	// First and Second are the digests of what the old server sent.
	First  string
	Second string
	// Database is where the site's content is on the new server, Backups the folder
	// of its backups there.
	Database  Database `gorm:"serializer:json"`
	Backups   string
	ClosedAt  *time.Time // when writes began to be refused
	OpenedAt  *time.Time // when they were let through again
	CreatedAt time.Time
	EndedAt   *time.Time
	SweptAt   *time.Time // when what was left on the old server was removed
}

// ReadOnly is how long writes were refused.
func (r Relocation) ReadOnly() time.Duration {
	if r.ClosedAt == nil || r.OpenedAt == nil {
		return 0
	}
	return r.OpenedAt.Sub(*r.ClosedAt)
}

// Sound refuses a row that says of another site's content or backups that they are
// this one's: both workers may write into it, and whoever takes one over must not
// reach the other server's sites.
func (r Relocation) Sound() error {
	own := strconv.FormatInt(r.SiteID, 10)
	file := r.Database.Name
	switch {
	case r.Database == (Database{}) || r.Database == r.Site.Database && r.Database.Server != 0:
	case r.Site.Database.Server == 0 && r.Database == (Database{Engine: EngineSQLite, Name: file}) &&
		path.IsAbs(file) && path.Clean(file) == file && path.Ext(file) == ".sqlite" && path.Base(path.Dir(path.Dir(file))) == own:
	default:
		return Errorf(Conflict, "The new server says that the content of %s is in %q, which is not the site's own.", r.Site.URI, file)
	}
	if r.Backups != "" && (!path.IsAbs(r.Backups) || path.Clean(r.Backups) != r.Backups || path.Base(r.Backups) != own) {
		return Errorf(Conflict, "The new server says that the backups of %s are in %q, which is not the site's own.", r.Site.URI, r.Backups)
	}
	return nil
}

// Cargo is what an old server sends in one go: an archive in the format of backups,
// and a list of what the site's folders hold.
type Cargo struct {
	Archive string // absolute file
	List    string // absolute file
	Digest  string // of the archive and the list together, in hex
}
