package models

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Site is one Drupal instance on a platform.
type Site struct {
	ID       int64
	URI      string   // host name, lower case, without port
	Aliases  []string `gorm:"serializer:json"` // other host names of it
	Redirect bool     `gorm:"default:false"`   // visitors of an alias are sent to the URI
	HTTPS    HTTPS    `gorm:"column:https;default:''"`
	// Certificate and CertificateKey are absolute files in PEM, for HTTPS.
	Certificate    string `gorm:"default:''"`
	CertificateKey string `gorm:"default:''"`
	PlatformID     int64
	Server         string
	// ServerID is the server that it is on; nil: the host of the control plane.
	ServerID *int64
	Database Database `gorm:"serializer:json"` // where its content is now
	// DatabaseServerID is where its databases are made; nil: SQLite files.
	DatabaseServerID *int64
	ClientID         *int64 // whose it is; nil: the host's own
	Profile          string
	Language         string `gorm:"default:''"` // it was installed with; "" is English
	Title            string
	// Probes are the paths that must answer as before when the site is moved;
	// none means the first page and the login page. ProbeText must stand on the
	// first of them.
	Probes     []string      `gorm:"serializer:json"`
	ProbeText  string        `gorm:"default:''"`
	CronEvery  time.Duration `gorm:"default:0"` // 0: Hefring does not run it
	CronNextAt *time.Time    `audit:"-"`        // when it is due; nil: at once
	// BackupEvery is the schedule, 0 for none; BackupKeep how many scheduled
	// backups stay.
	BackupEvery  time.Duration `gorm:"default:0"`
	BackupKeep   int           `gorm:"default:0"`
	BackupNextAt *time.Time    `audit:"-"` // when it is due; nil: at once
	State        SiteState
	Held         bool
	HeldReason   string
	HeldUntil    *time.Time // nil: until somebody releases it
	Reason       string     // why it is broken, and what to do
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

var (
	hostPattern     = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	languagePattern = regexp.MustCompile(`^[a-z]{2,3}(-[a-z0-9]{2,8})*$`)
	profilePattern  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

// HTTPS says whether a site answers over TLS.
type HTTPS string

// Choices of HTTPS.
const (
	HTTPSOff      HTTPS = ""         // plain HTTP
	HTTPSOn       HTTPS = "on"       // both
	HTTPSRequired HTTPS = "required" // HTTP is sent to HTTPS
)

// Home is the number of the web host that the site is on; 0 for the control plane's.
func (s *Site) Home() int64 {
	if s.ServerID == nil {
		return 0
	}
	return *s.ServerID
}

// Names lists all host names of the site, its URI first.
func (s *Site) Names() []string { return append([]string{s.URI}, s.Aliases...) }

// reservedURIs are folders that Drupal itself has below sites/; a site of that
// name would be installed into them.
func reservedURIs() []string { return []string{"all", "default", "simpletest"} }

// Validate checks what a person typed for a new site.
func (s *Site) Validate() map[string]string {
	wrong := map[string]string{}
	switch {
	case len(s.URI) > 253 || !hostPattern.MatchString(s.URI):
		wrong["uri"] = "Use a host name such as museum.example.org: letters, digits, dots and hyphens, no port and no path."
	case slices.Contains(reservedURIs(), s.URI):
		wrong["uri"] = "Drupal keeps this name for itself. Choose another, such as museum.example.org."
	}
	if !profilePattern.MatchString(s.Profile) {
		wrong["profile"] = "Choose one of the platform's install profiles."
	}
	for _, alias := range s.Aliases {
		if len(alias) > 253 || !hostPattern.MatchString(alias) || slices.Contains(reservedURIs(), alias) {
			wrong["aliases"] = "Use host names such as www.example.org, one a line, without port and path."
		}
	}
	if s.Language != "" && !languagePattern.MatchString(s.Language) {
		wrong["language"] = "Use a language code such as de or pt-br, or leave it empty for English."
	}
	if len(s.Title) > 100 || strings.ContainsAny(s.Title, "\x00\n\r") {
		wrong["title"] = "Use one line of at most 100 characters."
	}
	return wrong
}

// Comparison is what Drush answered about moving one site to one platform,
// asked on a throw-away copy of its database.
type Comparison struct {
	ID             int64
	SiteID         int64
	FromPlatformID int64
	PlatformID     int64           // the target
	Updates        []PendingUpdate `gorm:"serializer:json"`
	Blockers       []string        `gorm:"serializer:json"` // why it cannot go; empty means that it can
	Took           time.Duration
	MadeAt         time.Time
}

// PendingUpdate is one database update that the target would run.
type PendingUpdate struct {
	Name        string `json:"name"` // node_update_10201
	Module      string `json:"module"`
	Kind        string `json:"kind"` // hook_update_n post-update
	Description string `json:"description"`
}

// Fresh tells whether the comparison still speaks of this site and target.
func (c *Comparison) Fresh(site Site, targetID int64) bool {
	return c.FromPlatformID == site.PlatformID && c.PlatformID == targetID
}
