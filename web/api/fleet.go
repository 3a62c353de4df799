package api

import (
	"context"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
)

// Front is what the API needs to know who asks.
type Front interface {
	UseToken(ctx context.Context, token string) (models.Actor, error)
	// Recall makes a request its caller's to do, or gives what it was answered before.
	Recall(ctx context.Context, k fleet.Keyed) (reply []byte, fresh bool, err error)
	Remember(ctx context.Context, k fleet.Keyed, reply []byte) error
	Forget(ctx context.Context, k fleet.Keyed) error // it did nothing
}

// Fleet is what the API needs of the use cases, as the one has them who asks.
type Fleet interface {
	Actor() models.Actor
	Events(ctx context.Context, f fleet.EventFilter) (fleet.EventPage, error)

	Servers(ctx context.Context) ([]fleet.ServerRow, error)
	ServerNamed(ctx context.Context, name string) (models.Server, error)
	AddServer(ctx context.Context, name, address string) (models.Server, string, error)
	InviteServer(ctx context.Context, id int64) (models.Server, string, error)
	RemoveServer(ctx context.Context, id int64) error
	ServerRow(ctx context.Context, name string) (fleet.ServerRow, error)
	ServerPlatforms(ctx context.Context, serverID int64) ([]fleet.ServerPlatformRow, error)
	PlatformServers(ctx context.Context, platformID int64) ([]fleet.ServerPlatformRow, error)

	SiteNamed(ctx context.Context, uri string) (models.Site, error)
	SiteRow(ctx context.Context, id int64) (fleet.SiteRow, error)
	Sites(ctx context.Context, f fleet.Filter) ([]fleet.SiteRow, int, error)
	SiteURL(site models.Site) string
	CreateSite(ctx context.Context, in fleet.NewSite) (models.Site, error)
	CloneSite(ctx context.Context, in fleet.NewClone) (models.Site, error)
	RetryInstall(ctx context.Context, siteID int64) (models.Task, error)
	RelocateSite(ctx context.Context, siteID, serverID int64) (models.Task, error)
	CompareNow(ctx context.Context, siteID int64) (models.Task, error)
	UpgradePlan(ctx context.Context, siteID int64) (fleet.Plan, error)
	UpgradeRows(ctx context.Context, siteID int64, f fleet.Filter) ([]models.Upgrade, int, error)
	GiveSite(ctx context.Context, siteID, clientID int64) error
	UpgradeSite(ctx context.Context, siteID, targetID int64) (models.Task, error)
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
	BackupRows(ctx context.Context, siteID int64, f fleet.Filter) ([]models.Backup, int, error)
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
	UpgradePlatform(ctx context.Context, platformID, targetID int64) (models.Task, error)
	UpgradePlatformToTarget(ctx context.Context, platformID int64) (models.Task, error)
	RetryBuild(ctx context.Context, platformID int64) (models.Task, error)
	DiffPlatforms(ctx context.Context, fromID, toID int64) (fleet.PlatformDiff, error)
	DeletePlatform(ctx context.Context, id int64) (models.Task, error)
	PlatformPlan(ctx context.Context, id int64) (fleet.PlatformPlan, error)
	Platform(ctx context.Context, id int64) (models.Platform, error)

	Distributions(ctx context.Context, f fleet.Filter) ([]fleet.DistributionRow, int, error)
	DistributionNamed(ctx context.Context, slug string) (models.Distribution, error)
	CheckRows(ctx context.Context, distributionID int64, f fleet.Filter) ([]models.Check, int, error)
	SecretsSet(distribution models.Distribution) map[string]bool
	UpdateTypes() []plugins.Plugin
	CreateDistribution(ctx context.Context, in fleet.NewDistribution) (models.Distribution, error)
	UpdateDistribution(ctx context.Context, id int64, in fleet.NewDistribution) (models.Distribution, error)
	DeleteDistribution(ctx context.Context, id int64) error // Conflict: sites live on its platforms
	CheckNow(ctx context.Context, distributionID int64) (models.Task, error)
	TryAgain(ctx context.Context, distributionID int64) (models.Task, error)
	Pending(ctx context.Context, distributionID int64) (plugins.Version, bool, error)
	Approve(ctx context.Context, distributionID int64, revision string) (models.Platform, error)
	RegisterPlatform(ctx context.Context, distributionID int64, folder, once string) (models.Platform, error)

	Webhooks(ctx context.Context, distributionID int64) ([]fleet.WebhookRow, error)
	Webhook(ctx context.Context, id int64, deliveries int) (fleet.WebhookRow, error)
	CreateWebhook(ctx context.Context, distributionID int64, in fleet.NewWebhook) (models.Webhook, string, error)
	RotateWebhook(ctx context.Context, id int64, once string) (string, error)
	RetireWebhookSecret(ctx context.Context, id, secretID int64) error
	DeleteWebhook(ctx context.Context, id int64) (models.Webhook, error)

	QueueRows(ctx context.Context, now time.Time) ([]fleet.QueueRow, error)
	RunQueueNow(ctx context.Context, updateType string) (int, error)
	PauseQueue(ctx context.Context, updateType string, paused bool) error
	SaveQueue(ctx context.Context, q models.Queue) error
	HostRows(ctx context.Context, now time.Time) ([]fleet.HostRow, error)
	SaveHost(ctx context.Context, h models.Host) error

	Channels(ctx context.Context) ([]fleet.ChannelRow, error)
	ChannelNamed(ctx context.Context, name string) (fleet.ChannelRow, error)
	Channel(ctx context.Context, id int64, messages int) (fleet.ChannelRow, []fleet.NoticeMessageRow, error)
	MessageRows(ctx context.Context, channelID int64, f fleet.Filter) ([]fleet.NoticeMessageRow, int, error)
	SaveChannel(ctx context.Context, c models.Channel, once string) (models.Channel, string, error)
	RotateChannelSecret(ctx context.Context, id int64, once string) (string, error)
	PauseChannel(ctx context.Context, id int64, paused bool) error
	DeleteChannel(ctx context.Context, id int64) (models.Channel, error)
	TestChannel(ctx context.Context, id int64) (models.NoticeAttempt, error)
	ResendMessage(ctx context.Context, id int64) (models.NoticeMessage, error)

	UserRows(ctx context.Context, f fleet.Filter) ([]fleet.UserRow, int, error)
	UserNamed(ctx context.Context, name string) (models.User, error)
	AddUser(ctx context.Context, in fleet.NewUser) (models.User, error)
	ChangeUser(ctx context.Context, id int64, in fleet.NewUser) error
	SetPassword(ctx context.Context, name, password string) error
	LoginLink(ctx context.Context, name string) (string, error)
	DropSecondFactor(ctx context.Context, userID int64) error
	ClientRows(ctx context.Context, f fleet.Filter) ([]fleet.ClientRow, int, error)
	Client(ctx context.Context, id int64) (models.Client, error)
	ClientNamed(ctx context.Context, name string) (models.Client, error)
	SaveClient(ctx context.Context, c models.Client) (models.Client, error)
	DeleteClient(ctx context.Context, id int64) error
	Tokens(ctx context.Context, user string) ([]models.Token, error)
	CreateToken(ctx context.Context, in fleet.NewToken) (string, error)
	RevokeToken(ctx context.Context, user, name string) error

	Fleet(ctx context.Context, f fleet.Filter) (fleet.Counts, error)
	Decisions(ctx context.Context, f fleet.Filter) ([]fleet.Decision, error)
	RunningTasks(ctx context.Context, f fleet.Filter) ([]models.Task, error)
	RecentTasks(ctx context.Context, f fleet.Filter) ([]models.Task, error)
	UpgradeOfTask(ctx context.Context, taskID int64) (models.Upgrade, error)
	UpgradeSteps(ctx context.Context, upgradeID int64) ([]models.UpgradeStep, error)

	DatabaseServers(ctx context.Context) ([]fleet.DatabaseServerRow, error)
	DatabaseServerRow(ctx context.Context, name string) (fleet.DatabaseServerRow, error)
	DatabaseServerNamed(ctx context.Context, name string) (int64, error)
	SaveDatabaseServer(ctx context.Context, s models.DatabaseServer) (models.DatabaseServer, error)
	TestDatabaseServer(ctx context.Context, id int64) error
	DeleteDatabaseServer(ctx context.Context, id int64) error

	Task(ctx context.Context, id int64) (models.Task, error)
	Children(ctx context.Context, id int64) ([]models.Task, error)
	Tasks(ctx context.Context, f fleet.Filter) ([]models.Task, int, error)
	SubjectTasks(ctx context.Context, subjects []models.Subject, limit int) ([]models.Task, error)
	Lines(ctx context.Context, taskID, after int64, limit int) ([]models.TaskLine, error)
	CancelTask(ctx context.Context, id int64) error
	RetryTask(ctx context.Context, taskID int64) (models.Task, error)

	FindSites(ctx context.Context, root string) (models.Task, error)
	FoundSites(ctx context.Context, taskID int64) ([]models.FoundSite, error)
}
