package api

import (
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// done is the answer of what needs no task.
type done struct {
	OK bool `json:"ok"`
}

// Task is one piece of work.
type Task struct {
	ID      int64            `json:"id"`
	Kind    models.TaskKind  `json:"kind"`
	Title   string           `json:"title"`
	State   models.TaskState `json:"state" enum:"queued,running,succeeded,warning,recovered,failed,cancelled"`
	Message string           `json:"message" doc:"The result or the failure in one sentence"`
	Actor   string           `json:"actor"`
	Attempt int              `json:"attempt" doc:"How many workers have taken it up"`
	Created time.Time        `json:"created_at"`
	Started *time.Time       `json:"started_at,omitempty"`
	Ended   *time.Time       `json:"ended_at,omitempty"`
}

// TaskView gives a task as programs read it.
func TaskView(t models.Task) Task {
	return Task{t.ID, t.Kind, t.Title, t.State, t.Message, t.Actor, t.Attempt, t.CreatedAt, t.StartedAt, t.EndedAt}
}

// Started is a task that was queued by this request.
type Started struct {
	Task Task `json:"task"`
}

// Started marks answers that work goes on after.
func (Started) Started() {}

func started(t models.Task, err error) (Started, error) { return Started{TaskView(t)}, err }

// Line is one line of a task's log.
type Line struct {
	ID    int64        `json:"id"`
	At    time.Time    `json:"at"`
	Step  string       `json:"step"`
	Level models.Level `json:"level"`
	Text  string       `json:"text"`
}

// Site is one Drupal instance.
type Site struct {
	URI           string           `json:"uri"`
	URL           string           `json:"url"`
	Title         string           `json:"title"`
	State         models.SiteState `json:"state"`
	Reason        string           `json:"reason,omitempty"`
	Distribution  string           `json:"distribution,omitempty" doc:"Its name"`
	Platform      string           `json:"platform"`
	DrupalVersion string           `json:"drupal_version"`
	UpgradeTarget string           `json:"upgrade_target,omitempty" doc:"The platform that an upgrade would move it to"`
	Profile       string           `json:"profile"`
	Language      string           `json:"language,omitempty"`
	Database      string           `json:"database" enum:"sqlite,mysql,postgres,"`
	Server        string           `json:"server" doc:"Name of the web host that it is on; local is the control plane's"`
	Held          bool             `json:"held"`
	HeldReason    string           `json:"held_reason,omitempty"`
	HeldUntil     *time.Time       `json:"held_until,omitempty"`
	RunningTask   int64            `json:"running_task,omitempty" doc:"That works on it now"`
	Settings      Settings         `json:"settings"`
}

// Settings is how a site is served and looked after.
type Settings struct {
	Aliases            []string     `json:"aliases,omitempty"`
	Redirect           bool         `json:"redirect,omitempty" doc:"Visitors of an alias are sent to the site's own address"`
	HTTPS              models.HTTPS `json:"https,omitempty" enum:",on,required"`
	Certificate        string       `json:"certificate,omitempty" doc:"Absolute file on the server"`
	CertificateKey     string       `json:"certificate_key,omitempty" doc:"Absolute file on the server"`
	Probes             []string     `json:"probes,omitempty" doc:"Paths that must answer as before when the site is moved"`
	ProbeText          string       `json:"probe_text,omitempty"`
	CronSeconds        int64        `json:"cron_seconds,omitempty" minimum:"0" maximum:"31622400"`
	BackupEverySeconds int64        `json:"backup_every_seconds,omitempty" minimum:"0" maximum:"31622400"`
	BackupKeep         int          `json:"backup_keep,omitempty" minimum:"0"`
}

func settingsView(s models.Site) Settings {
	return Settings{
		s.Aliases, s.Redirect, s.HTTPS, s.Certificate, s.CertificateKey, s.Probes, s.ProbeText,
		int64(s.CronEvery / time.Second), int64(s.BackupEvery / time.Second), s.BackupKeep,
	}
}

func (v Settings) settings() fleet.SiteSettings {
	return fleet.SiteSettings{
		Aliases: v.Aliases, Redirect: v.Redirect, HTTPS: v.HTTPS, Certificate: v.Certificate, CertificateKey: v.CertificateKey,
		Probes: v.Probes, ProbeText: v.ProbeText, CronEvery: time.Duration(v.CronSeconds) * time.Second,
		BackupEvery: time.Duration(v.BackupEverySeconds) * time.Second, BackupKeep: v.BackupKeep,
	}
}

// SiteView gives sites as programs read them.
func SiteView(f interface{ SiteURL(site models.Site) string }) func(row fleet.SiteRow) Site {
	return func(row fleet.SiteRow) Site {
		v := Site{
			URI: row.URI, URL: f.SiteURL(row.Site), Title: row.Title, State: row.State, Reason: row.Reason, Distribution: row.DistributionName, Platform: row.Platform.Name,
			DrupalVersion: row.Platform.DrupalVersion, Profile: row.Profile, Language: row.Language, Database: row.Database.Engine, Server: row.Server,
			Held: row.Held, HeldReason: row.HeldReason, HeldUntil: row.HeldUntil, RunningTask: row.RunningTaskID, Settings: settingsView(row.Site),
		}
		if row.Behind() {
			v.UpgradeTarget = row.Target.Name
		}
		return v
	}
}

// Backup is one site's content at one moment.
type Backup struct {
	ID            int64                `json:"id"`
	Site          string               `json:"site"`
	Purpose       models.BackupPurpose `json:"purpose"`
	State         models.BackupState   `json:"state"`
	Note          string               `json:"note,omitempty"`
	Reason        string               `json:"reason,omitempty"`
	DrupalVersion string               `json:"drupal_version"`
	Engine        string               `json:"engine"`
	Bytes         int64                `json:"bytes"`
	Digest        string               `json:"sha256"`
	Tables        int                  `json:"tables"`
	Files         int                  `json:"files"`
	Keep          bool                 `json:"keep"`
	Created       time.Time            `json:"created_at"`
}

// BackupView gives a backup as programs read it.
func BackupView(b models.Backup) Backup {
	return Backup{b.ID, b.URI, b.Purpose, b.State, b.Note, b.Reason, b.DrupalVersion, b.Engine, b.Bytes, b.Digest, b.Tables, b.Files, b.Keep, b.CreatedAt}
}

// Platform is one immutable code base.
type Platform struct {
	Name          string               `json:"name"`
	Distribution  string               `json:"distribution"`
	State         models.PlatformState `json:"state"`
	Reason        string               `json:"reason,omitempty"`
	DrupalVersion string               `json:"drupal_version"`
	Revision      string               `json:"revision"`
	Locked        bool                 `json:"locked"`
	UpgradeTarget bool                 `json:"upgrade_target"`
	Sites         int                  `json:"sites"`
}

// PlatformView gives a platform as programs read it.
func PlatformView(r fleet.PlatformRow) Platform {
	return Platform{r.Name, r.DistributionName, r.State, r.Reason, r.DrupalVersion, r.Revision, r.Locked, r.IsTarget(), r.Sites}
}

// PlatformDetails is all that is known of a platform.
type PlatformDetails struct {
	Platform

	PHPVersion string           `json:"php_version"`
	BuildKey   string           `json:"build_key" doc:"Of all that makes it what it is"`
	Note       string           `json:"note,omitempty" doc:"The source's own words"`
	Folder     string           `json:"folder,omitempty"`
	Digest     string           `json:"manifest_sha256,omitempty"`
	Files      int64            `json:"files"`
	Bytes      int64            `json:"bytes"`
	Built      *time.Time       `json:"built_at,omitempty"`
	Profiles   []string         `json:"profiles,omitempty"`
	Packages   []models.Package `json:"packages" nullable:"false"`
	Findings   []models.Finding `json:"findings" nullable:"false" doc:"What is known to be wrong with it, worst first"`
}

// PlatformDetailsView gives a platform with all that is known of it.
func PlatformDetailsView(r fleet.PlatformRow, p models.Platform) PlatformDetails {
	return PlatformDetails{
		PlatformView(r), p.PHPVersion, p.BuildKey, p.Note, p.Root, p.ManifestDigest, p.Files, p.Bytes, p.BuiltAt, p.Profiles, list(p.Packages), list(p.Findings()),
	}
}

// list is a list that is written as [] when there is nothing in it.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// Database is a database server for sites.
type Database struct {
	Name    string         `json:"name"`
	Engine  string         `json:"engine" enum:"mysql,postgres"`
	Host    string         `json:"host"`
	Port    int            `json:"port,omitempty"`
	User    string         `json:"user"`
	TLS     models.TLSMode `json:"tls" enum:"off,require,verify"`
	Clients string         `json:"clients" doc:"Where the sites' users may come from, as MySQL writes it"`
	Prefix  string         `json:"prefix" doc:"Begins the name of every database and user that Hefring makes there"`
	Version string         `json:"version"`
	Problem string         `json:"problem,omitempty"`
	Tested  *time.Time     `json:"tested_at,omitempty"`
	Default bool           `json:"default"`
	Sites   int            `json:"sites"`
}

// DatabaseView gives a database server as programs read it.
func DatabaseView(r fleet.DatabaseServerRow) Database {
	return Database{r.Name, r.Engine, r.Host, r.Port, r.User, r.TLS, r.Clients, r.Prefix, r.Version, r.Reason, r.TestedAt, r.Default, r.Sites}
}
