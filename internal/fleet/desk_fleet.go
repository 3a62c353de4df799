package fleet

// This file is what is done with distributions, platforms, queues and servers: the use cases of the same names, for those who may.

import (
	"context"

	"hefring/models"
)

// CreateDistribution is Fleet.CreateDistribution for those who may.
func (d *Desk) CreateDistribution(ctx context.Context, in NewDistribution) (models.Distribution, error) {
	if err := d.may(models.MayManageDistributions); err != nil {
		return models.Distribution{}, err
	}
	return d.fleet.CreateDistribution(ctx, d.by.Name, in)
}

// UpdateDistribution is Fleet.UpdateDistribution for those who may.
func (d *Desk) UpdateDistribution(ctx context.Context, id int64, in NewDistribution) (models.Distribution, error) {
	if err := d.may(models.MayManageDistributions); err != nil {
		return models.Distribution{}, err
	}
	return d.fleet.UpdateDistribution(ctx, d.by.Name, id, in)
}

// DeleteDistribution is Fleet.DeleteDistribution for those who may.
func (d *Desk) DeleteDistribution(ctx context.Context, id int64) error {
	if err := d.may(models.MayManageDistributions); err != nil {
		return err
	}
	return d.fleet.DeleteDistribution(ctx, d.by.Name, id)
}

// CheckNow is Fleet.CheckNow for those who may.
func (d *Desk) CheckNow(ctx context.Context, distributionID int64) (models.Task, error) {
	if err := d.may(models.MayCheck); err != nil {
		return models.Task{}, err
	}
	return d.fleet.CheckNow(ctx, d.by.Name, distributionID)
}

// TryAgain is Fleet.TryAgain for those who may.
func (d *Desk) TryAgain(ctx context.Context, distributionID int64) (models.Task, error) {
	if err := d.may(models.MayCheck); err != nil {
		return models.Task{}, err
	}
	return d.fleet.TryAgain(ctx, d.by.Name, distributionID)
}

// Approve is Fleet.Approve for those who may.
func (d *Desk) Approve(ctx context.Context, distributionID int64, revision string) (models.Platform, error) {
	if err := d.may(models.MayBuild); err != nil {
		return models.Platform{}, err
	}
	return d.fleet.Approve(ctx, d.by.Name, distributionID, revision)
}

// RegisterPlatform is Fleet.RegisterPlatform for those who may.
func (d *Desk) RegisterPlatform(ctx context.Context, distributionID int64, folder, once string) (models.Platform, error) {
	if err := d.may(models.MayManageDistributions); err != nil {
		return models.Platform{}, err
	}
	return d.fleet.RegisterPlatform(ctx, d.by.Name, distributionID, folder, once)
}

// CreateWebhook is Fleet.CreateWebhook for those who may.
func (d *Desk) CreateWebhook(ctx context.Context, distributionID int64, in NewWebhook) (models.Webhook, string, error) {
	if err := d.may(models.MayManageDistributions); err != nil {
		return models.Webhook{}, "", err
	}
	return d.fleet.CreateWebhook(ctx, d.by.Name, distributionID, in)
}

// RotateWebhook is Fleet.RotateWebhook for those who may.
func (d *Desk) RotateWebhook(ctx context.Context, id int64, once string) (string, error) {
	if err := d.may(models.MayManageDistributions); err != nil {
		return "", err
	}
	return d.fleet.RotateWebhook(ctx, d.by.Name, id, once)
}

// RetireWebhookSecret is Fleet.RetireWebhookSecret for those who may.
func (d *Desk) RetireWebhookSecret(ctx context.Context, id, secretID int64) error {
	if err := d.may(models.MayManageDistributions); err != nil {
		return err
	}
	return d.fleet.RetireWebhookSecret(ctx, d.by.Name, id, secretID)
}

// DeleteWebhook is Fleet.DeleteWebhook for those who may.
func (d *Desk) DeleteWebhook(ctx context.Context, id int64) (models.Webhook, error) {
	if err := d.may(models.MayManageDistributions); err != nil {
		return models.Webhook{}, err
	}
	return d.fleet.DeleteWebhook(ctx, d.by.Name, id)
}

// RetryBuild is Fleet.RetryBuild for those who may.
func (d *Desk) RetryBuild(ctx context.Context, platformID int64) (models.Task, error) {
	if err := d.may(models.MayBuild); err != nil {
		return models.Task{}, err
	}
	return d.fleet.RetryBuild(ctx, d.by.Name, platformID)
}

// VerifyPlatform is Fleet.VerifyPlatform for those who may.
func (d *Desk) VerifyPlatform(ctx context.Context, platformID int64) (models.Task, error) {
	if err := d.may(models.MayVerifyPlatforms); err != nil {
		return models.Task{}, err
	}
	return d.fleet.VerifyPlatform(ctx, d.by.Name, platformID)
}

// UpgradePlatform is Fleet.UpgradePlatform for those who may.
func (d *Desk) UpgradePlatform(ctx context.Context, platformID, targetID int64) (models.Task, error) {
	if err := d.may(models.MayUpgradePlatforms); err != nil {
		return models.Task{}, err
	}
	return d.fleet.UpgradePlatform(ctx, d.by.Name, platformID, targetID)
}

// UpgradePlatformToTarget is Fleet.UpgradePlatformToTarget for those who may.
func (d *Desk) UpgradePlatformToTarget(ctx context.Context, platformID int64) (models.Task, error) {
	if err := d.may(models.MayUpgradePlatforms); err != nil {
		return models.Task{}, err
	}
	return d.fleet.UpgradePlatformToTarget(ctx, d.by.Name, platformID)
}

// SetTarget is Fleet.SetTarget for those who may.
func (d *Desk) SetTarget(ctx context.Context, platformID int64) error {
	if err := d.may(models.MayManagePlatforms); err != nil {
		return err
	}
	return d.fleet.SetTarget(ctx, d.by.Name, platformID)
}

// LockPlatform is Fleet.LockPlatform for those who may.
func (d *Desk) LockPlatform(ctx context.Context, platformID int64) error {
	if err := d.may(models.MayManagePlatforms); err != nil {
		return err
	}
	return d.fleet.LockPlatform(ctx, d.by.Name, platformID)
}

// UnlockPlatform is Fleet.UnlockPlatform for those who may.
func (d *Desk) UnlockPlatform(ctx context.Context, platformID int64) error {
	if err := d.may(models.MayManagePlatforms); err != nil {
		return err
	}
	return d.fleet.UnlockPlatform(ctx, d.by.Name, platformID)
}

// DeletePlatform is Fleet.DeletePlatform for those who may.
func (d *Desk) DeletePlatform(ctx context.Context, platformID int64) (models.Task, error) {
	if err := d.may(models.MayManagePlatforms); err != nil {
		return models.Task{}, err
	}
	return d.fleet.DeletePlatform(ctx, d.by.Name, platformID)
}

// SaveDatabaseServer is Fleet.SaveDatabaseServer for those who may.
func (d *Desk) SaveDatabaseServer(ctx context.Context, s models.DatabaseServer) (models.DatabaseServer, error) {
	if err := d.may(models.MayManageServers); err != nil {
		return models.DatabaseServer{}, err
	}
	return d.fleet.SaveDatabaseServer(ctx, d.by.Name, s)
}

// TestDatabaseServer is Fleet.TestDatabaseServer for those who may.
func (d *Desk) TestDatabaseServer(ctx context.Context, id int64) error {
	if err := d.may(models.MayManageServers); err != nil {
		return err
	}
	return d.fleet.TestDatabaseServer(ctx, d.by.Name, id)
}

// DeleteDatabaseServer is Fleet.DeleteDatabaseServer for those who may.
func (d *Desk) DeleteDatabaseServer(ctx context.Context, id int64) error {
	if err := d.may(models.MayManageServers); err != nil {
		return err
	}
	return d.fleet.DeleteDatabaseServer(ctx, d.by.Name, id)
}

// RunQueueNow is Fleet.RunQueueNow for those who may.
func (d *Desk) RunQueueNow(ctx context.Context, updateType string) (int, error) {
	if err := d.may(models.MayRunQueues); err != nil {
		return 0, err
	}
	return d.fleet.RunQueueNow(ctx, d.by.Name, updateType)
}

// PauseQueue is Fleet.PauseQueue for those who may.
func (d *Desk) PauseQueue(ctx context.Context, updateType string, paused bool) error {
	if err := d.may(models.MayRunQueues); err != nil {
		return err
	}
	return d.fleet.PauseQueue(ctx, d.by.Name, updateType, paused)
}

// SaveQueue is Fleet.SaveQueue for those who may.
func (d *Desk) SaveQueue(ctx context.Context, q models.Queue) error {
	if err := d.may(models.MayChangeSettings); err != nil {
		return err
	}
	return d.fleet.SaveQueue(ctx, d.by.Name, q)
}

// SaveHost is Fleet.SaveHost for those who may.
func (d *Desk) SaveHost(ctx context.Context, h models.Host) error {
	if err := d.may(models.MayChangeSettings); err != nil {
		return err
	}
	return d.fleet.SaveHost(ctx, d.by.Name, h)
}

// Servers lists the web hosts with workers of their own.
func (d *Desk) Servers(ctx context.Context) ([]ServerRow, error) {
	return guarded(d, models.MaySeeFleet, func() ([]ServerRow, error) { return d.fleet.Servers(ctx) })
}

// ServerRow finds one by its name.
func (d *Desk) ServerRow(ctx context.Context, name string) (ServerRow, error) {
	return guarded(d, models.MaySeeFleet, func() (ServerRow, error) { return d.fleet.ServerRow(ctx, name) })
}

// ServerChoices lists the servers that sites can be put on.
func (d *Desk) ServerChoices(ctx context.Context) ([]models.Server, error) {
	return guarded(d, models.MaySeeFleet, func() ([]models.Server, error) { return d.fleet.ServerChoices(ctx) })
}

// CanAddServers is Fleet.CanAddServers for those who may add them.
func (d *Desk) CanAddServers(ctx context.Context) error {
	if err := d.may(models.MayManageServers); err != nil {
		return err
	}
	return d.fleet.CanAddServers(ctx)
}

// ServerNamed finds one.
func (d *Desk) ServerNamed(ctx context.Context, name string) (models.Server, error) {
	return guarded(d, models.MaySeeFleet, func() (models.Server, error) { return d.fleet.ServerNamed(ctx, name) })
}

// PlatformServers lists the servers that a platform was brought to.
func (d *Desk) PlatformServers(ctx context.Context, platformID int64) ([]ServerPlatformRow, error) {
	return guarded(d, models.MaySeeFleet, func() ([]ServerPlatformRow, error) { return d.fleet.PlatformServers(ctx, platformID) })
}

// ServerPlatforms lists the platforms that were brought to a server.
func (d *Desk) ServerPlatforms(ctx context.Context, serverID int64) ([]ServerPlatformRow, error) {
	return guarded(d, models.MaySeeFleet, func() ([]ServerPlatformRow, error) { return d.fleet.ServerPlatforms(ctx, serverID) })
}

// AddServer is Fleet.AddServer for those who may.
func (d *Desk) AddServer(ctx context.Context, name, address string) (models.Server, string, error) {
	if err := d.may(models.MayManageServers); err != nil {
		return models.Server{}, "", err
	}
	return d.fleet.AddServer(ctx, d.by.Name, name, address)
}

// InviteServer is Fleet.InviteServer for those who may.
func (d *Desk) InviteServer(ctx context.Context, id int64) (models.Server, string, error) {
	if err := d.may(models.MayManageServers); err != nil {
		return models.Server{}, "", err
	}
	return d.fleet.InviteServer(ctx, d.by.Name, id)
}

// RemoveServer is Fleet.RemoveServer for those who may.
func (d *Desk) RemoveServer(ctx context.Context, id int64) error {
	if err := d.may(models.MayManageServers); err != nil {
		return err
	}
	return d.fleet.RemoveServer(ctx, d.by.Name, id)
}
