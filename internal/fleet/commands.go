package fleet

import (
	"time"

	"hefring/models"
)

// NewDistribution is what a person says about a distribution, to create it or
// to change it.
type NewDistribution struct {
	Name       string
	Slug       string // "" makes one from the name; a change of an existing one is ignored
	UpdateType string
	Settings   models.Settings // with secrets; an empty secret stays as it was
	// CheckEvery overrides the queue's interval; nil follows it, 0 means only by
	// hand.
	CheckEvery  *time.Duration
	RebuildDays int    // 0: never
	Once        string // token of the form; the same one twice creates once. "" creates always
}

// NewSite is what a person says about a site to install.
type NewSite struct {
	URI        string
	Title      string
	Profile    string
	PlatformID int64
	Once       string // as in NewDistribution
}

// Plan is what the Upgrade button of a site would do.
type Plan struct {
	Site        SiteRow
	From, To    models.Platform
	Changes     []models.PackageChange
	Comparison  *models.Comparison // what Drush answered; nil: not asked yet
	RunningTask int64              // task that works on the site now; 0: none
}

// PlatformPlan is what the Upgrade button of a platform would do.
type PlatformPlan struct {
	Platform    PlatformRow
	From, To    models.Platform
	Changes     []models.PackageChange
	Sites       []SiteRow // that would move; held and busy ones are not among them
	Compared    int       // of them, how many have a fresh comparison
	Updates     int       // of the compared ones, how many have database updates to run
	Blocked     int       // of the compared ones, how many cannot go
	RunningTask int64     // task that works on the platform now; 0: none
}
