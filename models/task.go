package models

import (
	"strings"
	"time"
)

// TaskKind names what a task does.
type TaskKind string

// Kinds of tasks.
const (
	TaskCheck           TaskKind = "check"            // look at an upstream, for all its distributions
	TaskBuild           TaskKind = "build"            // build a platform
	TaskVerify          TaskKind = "verify"           // compare a platform with its manifest
	TaskInstall         TaskKind = "install"          // install a site
	TaskCompare         TaskKind = "compare"          // ask Drush about moving a distribution's outdated sites
	TaskUpgrade         TaskKind = "upgrade"          // move one site
	TaskUpgradePlatform TaskKind = "upgrade-platform" // move every site of a platform
	TaskRollback        TaskKind = "rollback"         // take a site's upgrade back
	TaskRestore         TaskKind = "restore"          // bring a site's content back from a backup
	TaskBackup          TaskKind = "backup"           // back a site up
	TaskClone           TaskKind = "clone"            // make a site from another one, a backup, or one outside
	TaskEnable          TaskKind = "enable"           // put a site onto the web
	TaskDisable         TaskKind = "disable"          // take a site off the web
	TaskConfigure       TaskKind = "configure"        // bring the web server to a site's names and certificate
	TaskCron            TaskKind = "cron"             // run a site's cron
	TaskDelete          TaskKind = "delete"           // delete a site or a platform
	TaskImport          TaskKind = "import"           // look for sites in a code base outside
	TaskDeliver         TaskKind = "deliver"          // bring a platform to a server
	TaskRelocate        TaskKind = "relocate"         // move a site to another server
	TaskCloneTo         TaskKind = "clone-to"         // make a site from another one, and move it to another server
	TaskSend            TaskKind = "send"             // send a first copy of a site that moves to another server
	TaskReceive         TaskKind = "receive"          // take a site in from another server
	TaskHandOver        TaskKind = "hand-over"        // refuse writes and send what changed since
	TaskLogin           TaskKind = "login"            // ask a site's server for a one-time login link
	TaskLoss            TaskKind = "loss"             // ask a site's server what a rollback would lose
	TaskDropBackup      TaskKind = "drop-backup"      // have a site's server remove a backup
)

// Question tells whether a kind of task is something small that somebody waits for,
// asked of the server that a site is on.
func (k TaskKind) Question() bool { return k == TaskLogin || k == TaskLoss || k == TaskDropBackup }

// SubjectKind names what a task works on.
type SubjectKind string

// Subjects of tasks and events.
const (
	SubjectDistribution SubjectKind = "distribution"
	SubjectPlatform     SubjectKind = "platform"
	SubjectSite         SubjectKind = "site"
	SubjectUpstream     SubjectKind = "upstream"
	SubjectQueue        SubjectKind = "queue"
	SubjectUser         SubjectKind = "user"
	SubjectClient       SubjectKind = "client"
	SubjectImport       SubjectKind = "import" // code bases outside; one is looked at at a time
	SubjectServer       SubjectKind = "database-server"
	SubjectWebServer    SubjectKind = "server"          // a web host with a worker
	SubjectDelivery     SubjectKind = "server-platform" // a platform on a server
	// A site's way to another server has two ends, which are worked on at the same time.
	SubjectDeparture SubjectKind = "departure"
	SubjectArrival   SubjectKind = "arrival"
	// SubjectNewcomer is a site that is made on one server for another. It has its own
	// kind so that the whole does not hinder its parts, which work on the site.
	SubjectNewcomer SubjectKind = "newcomer"
	// SubjectTarget is a distribution seen as the place where comparisons are
	// made; it has its own kind so that comparing does not hinder checking.
	SubjectTarget SubjectKind = "target"
	// SubjectServerTarget is a platform on a server, seen as what sites there are
	// compared with.
	SubjectServerTarget SubjectKind = "server-target"
	// SubjectQuestion is a site whose server is asked something. It has its own kind
	// so that asking does not hinder work on the site.
	SubjectQuestion SubjectKind = "question"
)

// SubjectKinds lists them.
func SubjectKinds() []SubjectKind {
	return []SubjectKind{
		SubjectSite, SubjectDistribution, SubjectPlatform, SubjectUser, SubjectClient, SubjectServer, SubjectWebServer, SubjectChannel, SubjectQueue,
		SubjectUpstream, SubjectImport, SubjectDelivery, SubjectDeparture, SubjectArrival, SubjectNewcomer, SubjectTarget, SubjectServerTarget, SubjectQuestion,
	}
}

// OfSite tells whether the number of a subject is that of a site.
func (k SubjectKind) OfSite() bool {
	return k == SubjectSite || k == SubjectQuestion || k == SubjectNewcomer
}

// Subject is what a task works on or an event speaks of.
type Subject struct {
	Kind SubjectKind `gorm:"column:subject_kind"`
	ID   int64       `gorm:"column:subject_id"`
}

// Task is one durable piece of work. At most one task for a subject is queued
// or running at any time.
type Task struct {
	ID        int64
	Kind      TaskKind
	Subject   `gorm:"embedded"`
	ServerID  *int64 // whose worker does it; nil: the control plane's own
	Title     string // what people call it: Upgrade museum.example.org to 10.6.2
	State     TaskState
	ParentID  *int64
	Attempt   int      // how many workers have taken it up; a worker whose number is old has lost it
	Actor     string   // who asked for it: a user's name, or queue
	Args      Settings `gorm:"serializer:json"`
	Message   string   // the result or the failure in one sentence
	Result    string   `gorm:"default:''"` // what it found, as JSON, for the page that asked; "" mostly
	Cancel    bool     // somebody asked for it to stop
	CreatedAt time.Time
	StartedAt *time.Time
	EndedAt   *time.Time
}

// TaskLine is one line of a task's log.
type TaskLine struct {
	ID     int64
	TaskID int64
	At     time.Time
	Step   string // name of the step that wrote it; "" outside of steps
	Level  Level
	Text   string
}

// Level says how a line of a log is meant.
type Level string

// Levels of a line.
const (
	LevelOut   Level = "out"   // a child program's standard output
	LevelErr   Level = "err"   // a child program's standard error
	LevelInfo  Level = "info"  // what Hefring does
	LevelWarn  Level = "warn"  // it goes on, but look
	LevelError Level = "error" // it failed
)

// LoginLink is a one-time way in for a user. Only the hash of its token is kept.
type LoginLink struct {
	TokenHash string `gorm:"primaryKey" audit:"secret"`
	UserID    int64  `audit:"-"`
	ExpiresAt time.Time
	UsedAt    *time.Time
}

// Token lets a program act for a user. Only its hash is kept.
type Token struct {
	ID        int64
	UserID    int64  `audit:"-"`
	Name      string // what it is for
	Hash      string `audit:"secret"` // SHA-256 in hex
	ExpiresAt time.Time
	UsedAt    *time.Time // to the hour
	CreatedAt time.Time
	Role      Role   `gorm:"default:''"` // what programs may do with it at most; "" is what the user may
	ClientID  *int64 // whose sites are all that there is for them; nil: as for the user

	Client string `gorm:"-"` // the client's name
}

// Actor gives what a program with the token may do: the smaller of what its user may
// and of what it is narrowed to.
func (t Token) Actor(u User) Actor {
	a := u.Actor().narrow(t.Role, t.ClientID)
	a.Token = t.Name
	return a
}

// Said is the token as the record of changes names it: what it is for, and what it is
// narrowed to.
func (t Token) Said() string {
	var narrow []string
	if t.Role != "" {
		narrow = append(narrow, string(t.Role))
	}
	if t.ClientID != nil {
		narrow = append(narrow, "sites of "+t.Client)
	}
	if len(narrow) == 0 {
		return t.Name
	}
	return t.Name + " (" + strings.Join(narrow, ", ") + ")"
}

// KeepReplies is how long the answer to a request with an idempotency key is kept.
const KeepReplies = 24 * time.Hour

// Reply is what a request with an idempotency key was answered.
type Reply struct {
	ID         string `gorm:"primaryKey"` // hash of the token and the key
	TokenID    int64
	Request    string     // hash of the request
	Sealed     []byte     // what nobody can open who has not the token and the key
	ClaimedAt  time.Time  // when somebody began to do it
	AnsweredAt *time.Time // nil: it is being done
	CreatedAt  time.Time
}
