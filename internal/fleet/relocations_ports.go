package fleet

import (
	"context"
	"time"

	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// Relocations is what the store knows of sites on their way to another server. A
// server of 0 is the host of the control plane.
type Relocations interface {
	CreateRelocation(ctx context.Context, r *models.Relocation) error
	Relocation(ctx context.Context, id int64) (models.Relocation, error)
	RelocationOfTask(ctx context.Context, taskID int64) (models.Relocation, error)
	LatestRelocation(ctx context.Context, siteID int64) (models.Relocation, error) // the newest that took place
	// MoveRelocation takes one on, with all that was found. Conflict: it is not in the
	// state any more that r says.
	MoveRelocation(ctx context.Context, r models.Relocation, to models.RelocationState) error
	// SwitchServer puts the site, and its backups, onto its new server. Conflict: it was
	// changed meanwhile.
	SwitchServer(ctx context.Context, by string, r models.Relocation) error
	// LeftRelocations lists those that ended before a time and left something on a
	// server. SweepRelocations notes that nothing of a site is left there.
	LeftRelocations(ctx context.Context, server int64, before time.Time, limit int) ([]models.Relocation, error)
	SweepRelocations(ctx context.Context, siteID, server int64) error
	RelocationsTo(ctx context.Context, siteID, server int64) ([]models.Relocation, error) // under way
}

// Carrier brings the archives of a site from one server to another, by way of the
// control plane's host. What is cut off goes on where it was. A name is one of those
// that CarriedName knows.
type Carrier interface {
	Send(ctx context.Context, relocationID int64, name, path string) error
	// Receive makes the file path, or goes on with what is there of it.
	Receive(ctx context.Context, relocationID int64, name, path string) error
}

// Carried is where a Carrier's archives lie in between.
type Carried interface {
	Drop(relocationID int64) error
	Numbers() ([]int64, error) // of the relocations of which something is there
}

// Relocating is the part of Hosting that brings a site from one server to another. All
// of it is safe to repeat after a kill at any point.
type Relocating interface {
	// PackSite makes a first copy of a site that goes on serving.
	PackSite(ctx context.Context, site models.Site, platform models.Platform, backups []models.Backup, log Log) (models.Cargo, error)
	// HandOver refuses writes, makes a copy of what changed since PackSite, and has
	// steps called in their order. Once they say that the site is switched, writes stay
	// refused here; otherwise they are let through again.
	HandOver(ctx context.Context, site models.Site, platform models.Platform, steps upgrade.HandOver, log Log) error
	// KeepClosed goes on with HandOver where a killed worker had sealed the site.
	KeepClosed(ctx context.Context, site models.Site, sealed func(ctx context.Context) (switched bool, err error)) error
	// StayHere undoes PackSite and HandOver: writes are let through again. It asks once
	// more whether that is right when nothing else works on the site.
	StayHere(ctx context.Context, site models.Site, sure func(ctx context.Context) (bool, error)) error
	// SendOn has the web server send visitors on to where the site is now; with
	// "" they are told to come back later.
	SendOn(ctx context.Context, site models.Site, target string, log Log) error

	// CargoBackups lists the backups that come with a site, with their files here.
	CargoBackups(siteID int64, cargo models.Cargo) ([]models.Backup, error)
	// TakeIn makes a site from its first copy, beside what visitors see, and looks
	// whether it answers. Visitors who come early are sent to origin.
	TakeIn(ctx context.Context, site models.Site, platform models.Platform, cargo models.Cargo, origin string, log Log) (models.Database, error)
	// CatchUp brings in what changed since, and looks again.
	CatchUp(ctx context.Context, site models.Site, platform models.Platform, cargo models.Cargo, log Log) error
	// OpenHere lets visitors in.
	OpenHere(ctx context.Context, site models.Site, log Log) error
	// Leave removes all that a server has of a site that is on another one: the web
	// server's entry, its folder, its links in the platforms, its backups. Databases
	// on database servers stay. It asks as StayHere does.
	Leave(ctx context.Context, site models.Site, platforms []models.Platform, sure func(ctx context.Context) (bool, error)) error

	// BackupFolder is where backups of a site lie. CargoFolder makes the folder where
	// its copies do.
	BackupFolder(siteID int64) string
	CargoFolder(siteID int64) (string, error)
	// Address is where visitors of a site are answered on this server, if name is the
	// server's; "" when that cannot be found.
	Address(ctx context.Context, name string, site models.Site) string
}
