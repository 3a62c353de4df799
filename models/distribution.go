package models

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Settings are the values of an update type's form, by field name. Booleans are
// "1" or absent.
type Settings map[string]string

// Distribution says where a flavour of Drupal comes from and which of its
// platforms is current.
type Distribution struct {
	ID         int64
	Name       string
	Slug       string   // part of every platform's name; never changes
	UpdateType string   // id of the plugin
	Settings   Settings `gorm:"serializer:json"` // without secrets
	Secrets    []byte   // its secret settings, encrypted; nil for none
	UpstreamID *int64   // what is asked for changes; nil: nothing

	// CheckEvery overrides the queue's interval; nil follows the queue, 0 means
	// only by hand.
	CheckEvery *time.Duration
	// RebuildDays builds the same revision again when the newest platform is that
	// many days old, for what changes without the source; 0 never does.
	RebuildDays int `gorm:"default:0"`
	// KeepPlatforms is how many ready platforms stay beside the upgrade target;
	// older ones without sites are deleted. 0 keeps all.
	KeepPlatforms int `gorm:"default:0"`

	TargetID  *int64 // the upgrade target
	Observed  string // revision that the last check saw
	Signature string // revision of the upgrade target; set by promotion only

	Condition   Condition
	Reason      string // why the condition is not good, and what to do
	ReasonCode  Reason `gorm:"default:''"` // the same in one word
	LastCheckAt *time.Time
	CreatedAt   time.Time
	UpdatedAt   time.Time
	DeletedAt   *time.Time // it has no source, secrets and target any more; its row stays for the record
}

// Condition is how a distribution stands to its source.
type Condition string

// Conditions of a distribution.
const (
	ConditionNew     Condition = "new"     // not looked at yet
	ConditionCurrent Condition = "current" // the target is what the source says
	ConditionChanged Condition = "changed" // the source moved on; a platform is on its way
	ConditionFailing Condition = "failing" // the last check or build failed; it is tried again
	ConditionHeld    Condition = "held"    // something exceptional; a person must decide
)

// AllConditions lists them.
func AllConditions() []Condition {
	return []Condition{ConditionNew, ConditionCurrent, ConditionChanged, ConditionFailing, ConditionHeld}
}

var slugPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Slugify makes a short name out of a name: lower-case letters, digits and
// single hyphens, 40 characters at most. It is "" when nothing is left.
func Slugify(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	slug := b.String()
	if len(slug) > 40 {
		slug = slug[:40]
	}
	return strings.Trim(slug, "-")
}

// Validate checks what a person typed, apart from the update type's own fields.
func (d *Distribution) Validate() map[string]string {
	wrong := map[string]string{}
	if name := strings.TrimSpace(d.Name); name == "" || len(name) > 100 {
		wrong["name"] = "Give it a name of 1 to 100 characters."
	}
	if !slugPattern.MatchString(d.Slug) || len(d.Slug) > 40 {
		wrong["slug"] = "Use 1 to 40 lower-case letters, digits and single hyphens, for example faculty-sites."
	}
	if d.CheckEvery != nil && *d.CheckEvery != 0 && (*d.CheckEvery < MinQueueInterval || *d.CheckEvery > MaxQueueInterval) {
		wrong["check_every"] = "Choose between 5 seconds and 7 days, or only by hand."
	}
	if d.RebuildDays < 0 || d.RebuildDays > MaxRebuildDays {
		wrong["rebuild_days"] = fmt.Sprintf("Choose between 1 and %d days, or leave it empty.", MaxRebuildDays)
	}
	if d.KeepPlatforms < 0 || d.KeepPlatforms > MaxKeepPlatforms {
		wrong["keep_platforms"] = fmt.Sprintf("Choose between 1 and %d platforms, or leave it empty.", MaxKeepPlatforms)
	}
	return wrong
}

// MaxRebuildDays is the longest time after which a platform can be built anew.
const MaxRebuildDays = 3650

// MaxKeepPlatforms is the most platforms that stay beside the upgrade target when
// older ones are deleted.
const MaxKeepPlatforms = 1000

// CheckOutcome is what a check found.
type CheckOutcome string

// Outcomes of a check.
const (
	CheckUnchanged CheckOutcome = "unchanged"
	CheckChanged   CheckOutcome = "changed"
	CheckHeld      CheckOutcome = "held"
	CheckFailed    CheckOutcome = "failed"
	CheckThrottled CheckOutcome = "throttled" // the host asked for a pause
	CheckBlocked   CheckOutcome = "blocked"   // the address is one that Hefring may not reach
)

// Trigger says what asked for a check.
type Trigger string

// Triggers of a check.
const (
	TriggerQueue   Trigger = "queue"
	TriggerButton  Trigger = "button"
	TriggerSave    Trigger = "save"
	TriggerWebhook Trigger = "webhook"
)

// Check is one look at a distribution's source. Consecutive unchanged checks
// are one row with Times > 1.
type Check struct {
	ID             int64
	DistributionID int64
	TaskID         *int64
	Trigger        Trigger
	Outcome        CheckOutcome
	OldRevision    string
	NewRevision    string
	Message        string // for failed and held: what happened and what to do; for changed: the source's own words
	Times          int
	StartedAt      time.Time
	EndedAt        time.Time
	Took           time.Duration // of the last one
	Reason         Reason        `gorm:"default:''"` // for failed, held, throttled and blocked
	Requests       int64         `gorm:"default:0"`  // of the last one, over the network
	Received       int64         `gorm:"default:0"`  // bytes, of the last one
}

// Queue is one update type's schedule of checks.
type Queue struct {
	UpdateType string `gorm:"primaryKey"`
	Every      time.Duration
	AtOnce     int
	Paused     bool
	LastRunAt  *time.Time
}

// Limits of a queue's settings.
const (
	MinQueueInterval = 5 * time.Second
	MaxQueueInterval = 7 * 24 * time.Hour
	MaxQueueAtOnce   = 64
)

// Validate checks what a person typed for a queue.
func (q *Queue) Validate() map[string]string {
	wrong := map[string]string{}
	if q.Every < MinQueueInterval || q.Every > MaxQueueInterval {
		wrong["every"] = "Choose between 5 seconds and 7 days."
	}
	if q.AtOnce < 1 || q.AtOnce > MaxQueueAtOnce {
		wrong["at_once"] = fmt.Sprintf("Choose between 1 and %d.", MaxQueueAtOnce)
	}
	return wrong
}

// BuildKey hashes everything that decides what a platform contains: the
// content's own id, the update type and its settings, and the tools' versions.
// A new platform is built only when the key changes. It is SHA-256 over JSON
// with sorted keys, in hex.
func BuildKey(updateType string, settings Settings, content string, tools map[string]string) string {
	// encoding/json sorts the keys of maps, which makes the encoding canonical.
	text, err := json.Marshal([]any{"hefring build key 1", updateType, settings, content, tools})
	if err != nil {
		panic("maps of strings always encode: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
