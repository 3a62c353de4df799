package web

import (
	"context"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
)

// Front is what those need who are not known yet: people who sign in, and webhooks.
type Front interface {
	accounts
	hooks
}

// Fleet is what the pages need of the use cases, as the person has them who asks.
type Fleet interface {
	fleet.Pages
	tokens
	webhooks
	servers
	webServers
	life
	people
	notices
	audit

	Distribution(ctx context.Context, id int64) (models.Distribution, error)
	CreateDistribution(ctx context.Context, in fleet.NewDistribution) (models.Distribution, error)
	UpdateDistribution(ctx context.Context, id int64, in fleet.NewDistribution) (models.Distribution, error)
	DeleteDistribution(ctx context.Context, id int64) error // Conflict: sites live on its platforms
	CheckNow(ctx context.Context, distributionID int64) (models.Task, error)
	TryAgain(ctx context.Context, distributionID int64) (models.Task, error)
	// Pending gives the version that waits for a decision; false when none does.
	Pending(ctx context.Context, distributionID int64) (plugins.Version, bool, error)
	Approve(ctx context.Context, distributionID int64, revision string) (models.Platform, error)
	// SecretsSet tells which secret settings a distribution has.
	SecretsSet(d models.Distribution) map[string]bool

	Platform(ctx context.Context, id int64) (models.Platform, error)
	RegisterPlatform(ctx context.Context, distributionID int64, path, once string) (models.Platform, error)
	SetTarget(ctx context.Context, platformID int64) error
	LockPlatform(ctx context.Context, platformID int64) error
	UnlockPlatform(ctx context.Context, platformID int64) error
	VerifyPlatform(ctx context.Context, id int64) (models.Task, error)
	RetryBuild(ctx context.Context, platformID int64) (models.Task, error)
	DiffPlatforms(ctx context.Context, fromID, toID int64) (fleet.PlatformDiff, error)
	// DeletePlatform is Conflict when sites live there; it says which.
	DeletePlatform(ctx context.Context, id int64) (models.Task, error)

	CreateSite(ctx context.Context, in fleet.NewSite) (models.Site, error)
	RetryInstall(ctx context.Context, siteID int64) (models.Task, error)
	VerifySite(ctx context.Context, siteID int64) (models.Task, error)
	// HoldSite keeps a site where it is; until nil means until it is released.
	HoldSite(ctx context.Context, id int64, reason string, until *time.Time) error
	ReleaseSite(ctx context.Context, id int64) error

	UpgradePlan(ctx context.Context, siteID int64) (fleet.Plan, error)
	PlatformPlan(ctx context.Context, platformID int64) (fleet.PlatformPlan, error)
	CompareNow(ctx context.Context, siteID int64) (models.Task, error)
	// UpgradeSite moves a site to the target that the person was shown; Conflict
	// when the target moved on meanwhile or a task works on the site.
	UpgradeSite(ctx context.Context, siteID, targetID int64) (models.Task, error)
	UpgradePlatform(ctx context.Context, platformID, targetID int64) (models.Task, error)

	Task(ctx context.Context, id int64) (models.Task, error)
	Children(ctx context.Context, parentID int64) ([]models.Task, error)
	Lines(ctx context.Context, taskID, after int64, limit int) ([]models.TaskLine, error)
	// Follow gives a channel that gets a value when a task's log grew, and a
	// function that ends this.
	Follow(taskID int64) (<-chan struct{}, func())
	CancelTask(ctx context.Context, id int64) error
	// RetryTask queues the same work anew where that is possible.
	RetryTask(ctx context.Context, taskID int64) (models.Task, error)
	UpgradeOfTask(ctx context.Context, taskID int64) (models.Upgrade, error)
	UpgradeSteps(ctx context.Context, upgradeID int64) ([]models.UpgradeStep, error)

	SaveQueue(ctx context.Context, q models.Queue) error
	SaveHost(ctx context.Context, h models.Host) error
	PauseQueue(ctx context.Context, updateType string, paused bool) error
	// RunQueueNow tells how many checks it started.
	RunQueueNow(ctx context.Context, updateType string) (int, error)

	UpdateTypes() []plugins.Plugin
	SiteURL(site models.Site) string
}
