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
	RebuildDays int // 0: never
	// KeepPlatforms is how many platforms stay beside the target; 0: all.
	KeepPlatforms int
	Once          string // token of the form; the same one twice creates once. "" creates always
}

// NewSite is what a person says about a site to install.
type NewSite struct {
	URI        string
	Title      string
	Profile    string
	PlatformID int64
	Language   string // "" is English
	// DatabaseServerID is where its content goes: 0 is an SQLite file.
	DatabaseServerID int64
	ServerID         int64  // where it is made; 0: on the control plane's host
	Once             string // as in NewDistribution
}

// NewClone is what a person says about a site that is made from what is there
// already: FromSite, FromBackup, or FromFound with Folder.
type NewClone struct {
	FromSite   int64
	FromBackup int64
	FromFound  int64  // the task that looked for sites
	Folder     string // of the found site, below sites/

	URI        string
	Title      string // "" takes the origin's
	PlatformID int64  // 0: the one that the origin ran on
	// DatabaseServerID must be of the origin's engine; 0 is where the origin's is.
	DatabaseServerID int64
	// ServerID is where it goes: it is made on its origin's server, and then moved. 0 is
	// the control plane's host, nil where its origin is.
	ServerID *int64
	Once     string
}

// SiteSettings is how a site is served and looked after.
type SiteSettings struct {
	Aliases                     []string
	Redirect                    bool
	HTTPS                       models.HTTPS
	Certificate, CertificateKey string
	Probes                      []string
	ProbeText                   string
	CronEvery                   time.Duration
	BackupEvery                 time.Duration
	BackupKeep                  int
}

// RollbackPlan is what the Roll back button of a site would do.
type RollbackPlan struct {
	Site     SiteRow
	Upgrade  models.Upgrade // that it takes back
	From, To models.Platform
	Loss     models.Loss
	Until    time.Time // when what it goes back to is removed
}

// PlatformDiff is two platforms side by side.
type PlatformDiff struct {
	From, To models.Platform
	Packages []models.PackageDiff // what is on either, worst first
	Sites    []SiteDiff           // of From, with what moving each would meet
}

// SiteDiff says what moving one site would meet.
type SiteDiff struct {
	Site       *models.Site
	Comparison *models.Comparison // nil: Drush was not asked yet
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
	Sites       []SiteRow // the first that would move; held and busy ones are not among them
	Compared    int       // of them, how many have a fresh comparison
	Updates     int       // of the compared ones, how many have database updates to run
	Blocked     int       // of the compared ones, how many cannot go
	RunningTask int64     // task that works on the platform now; 0: none
}
