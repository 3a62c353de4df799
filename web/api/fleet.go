package api

import (
	"context"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// Front is what the API needs to know who asks.
type Front interface {
	UseToken(ctx context.Context, token string) (models.User, error)
}

// Fleet is what the API needs of the use cases, as the one has them who asks.
type Fleet interface {
	Actor() models.Actor

	SiteNamed(ctx context.Context, uri string) (models.Site, error)
	SiteRow(ctx context.Context, id int64) (fleet.SiteRow, error)
	Sites(ctx context.Context, f fleet.Filter) ([]fleet.SiteRow, int, error)
	SiteURL(site models.Site) string
	CreateSite(ctx context.Context, in fleet.NewSite) (models.Site, error)
	CloneSite(ctx context.Context, in fleet.NewClone) (models.Site, error)
	UpgradeToTarget(ctx context.Context, siteID int64) (models.Task, error)
	RollbackPlan(ctx context.Context, siteID int64) (fleet.RollbackPlan, error)
	RollbackSite(ctx context.Context, siteID, upgradeID int64) (models.Task, error)
	VerifySite(ctx context.Context, siteID int64) (models.Task, error)
	DisableSite(ctx context.Context, siteID int64) (models.Task, error)
	EnableSite(ctx context.Context, siteID int64) (models.Task, error)
	RunCron(ctx context.Context, siteID int64) (models.Task, error)
	LoginToSite(ctx context.Context, siteID int64) (string, error)
	HoldSite(ctx context.Context, id int64, reason string, until *time.Time) error
	ReleaseSite(ctx context.Context, id int64) error
	ConfigureSite(ctx context.Context, siteID int64, in fleet.SiteSettings) (models.Task, error)
	DeleteSite(ctx context.Context, siteID int64, confirm string, backup bool) (models.Task, error)

	BackupSite(ctx context.Context, siteID int64, note string, keep bool) (models.Task, error)
	Backups(ctx context.Context, siteID int64, limit int) ([]models.Backup, error)
	Backup(ctx context.Context, id int64) (models.Backup, error)
	KeepBackup(ctx context.Context, id int64, keep bool) error
	DeleteBackup(ctx context.Context, id int64) error
	RestoreSite(ctx context.Context, backupID, platformID int64) (models.Task, error)

	PlatformNamed(ctx context.Context, name string) (models.Platform, error)
	PlatformRow(ctx context.Context, id int64) (fleet.PlatformRow, error)
	Platforms(ctx context.Context, f fleet.Filter) ([]fleet.PlatformRow, int, error)
	VerifyPlatform(ctx context.Context, id int64) (models.Task, error)
	LockPlatform(ctx context.Context, id int64) error
	UnlockPlatform(ctx context.Context, id int64) error
	SetTarget(ctx context.Context, platformID int64) error
	UpgradePlatformToTarget(ctx context.Context, platformID int64) (models.Task, error)
	RetryBuild(ctx context.Context, platformID int64) (models.Task, error)
	DiffPlatforms(ctx context.Context, fromID, toID int64) (fleet.PlatformDiff, error)
	DeletePlatform(ctx context.Context, id int64) (models.Task, error)

	DatabaseServers(ctx context.Context) ([]fleet.DatabaseServerRow, error)
	DatabaseServerNamed(ctx context.Context, name string) (int64, error)
	SaveDatabaseServer(ctx context.Context, s models.DatabaseServer) (models.DatabaseServer, error)
	TestDatabaseServer(ctx context.Context, id int64) error
	DeleteDatabaseServer(ctx context.Context, id int64) error

	Task(ctx context.Context, id int64) (models.Task, error)
	Tasks(ctx context.Context, f fleet.Filter) ([]models.Task, int, error)
	SubjectTasks(ctx context.Context, subjects []models.Subject, limit int) ([]models.Task, error)
	Lines(ctx context.Context, taskID, after int64, limit int) ([]models.TaskLine, error)
	CancelTask(ctx context.Context, id int64) error
	RetryTask(ctx context.Context, taskID int64) (models.Task, error)

	FindSites(ctx context.Context, root string) (models.Task, error)
	FoundSites(ctx context.Context, taskID int64) ([]models.FoundSite, error)
}
