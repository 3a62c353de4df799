package models

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Site is one Drupal instance on a platform.
type Site struct {
	ID         int64
	URI        string // host name, lower case, without port
	PlatformID int64
	Server     string
	Database   Database `gorm:"serializer:json"` // where its content is now
	Profile    string
	Title      string
	State      SiteState
	Held       bool
	HeldReason string
	Reason     string // why it is broken, and what to do
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Database names one database of a site: a file for SQLite, a database on a
// server for the others.
type Database struct {
	Engine string `json:"engine"` // sqlite
	Name   string `json:"name"`   // for SQLite the absolute path of the file
}

var (
	hostPattern    = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	profilePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

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
