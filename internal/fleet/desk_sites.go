package fleet

// This file is what is done with sites: the use cases of the same names, for those who may.

import (
	"context"
	"time"

	"hefring/models"
)

// CreateSite is Fleet.CreateSite for those who may.
func (d *Desk) CreateSite(ctx context.Context, in NewSite) (models.Site, error) {
	if err := d.may(models.MayCreateSites); err != nil {
		return models.Site{}, err
	}
	return d.fleet.CreateSite(ctx, d.by.Name, in)
}

// CloneSite is Fleet.CloneSite for those who may.
func (d *Desk) CloneSite(ctx context.Context, in NewClone) (models.Site, error) {
	if err := d.may(models.MayCreateSites); err != nil {
		return models.Site{}, err
	}
	if in.ServerID != nil {
		if err := d.may(models.MayRelocateSites); err != nil {
			return models.Site{}, err
		}
	}
	return d.fleet.CloneSite(ctx, d.by.Name, in)
}

// FindSites is Fleet.FindSites for those who may.
func (d *Desk) FindSites(ctx context.Context, root string) (models.Task, error) {
	if err := d.may(models.MayCreateSites); err != nil {
		return models.Task{}, err
	}
	return d.fleet.FindSites(ctx, d.by.Name, root)
}

// RetryInstall is Fleet.RetryInstall for those who may.
func (d *Desk) RetryInstall(ctx context.Context, siteID int64) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayOperateSites); err != nil {
		return models.Task{}, err
	}
	return d.fleet.RetryInstall(ctx, d.by.Name, siteID)
}

// VerifySite is Fleet.VerifySite for those who may.
func (d *Desk) VerifySite(ctx context.Context, siteID int64) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayOperateSites); err != nil {
		return models.Task{}, err
	}
	return d.fleet.VerifySite(ctx, d.by.Name, siteID)
}

// HoldSite is Fleet.HoldSite for those who may.
func (d *Desk) HoldSite(ctx context.Context, siteID int64, reason string, until *time.Time) error {
	if err := d.onSite(ctx, siteID, models.MayOperateSites); err != nil {
		return err
	}
	return d.fleet.HoldSite(ctx, d.by.Name, siteID, reason, until)
}

// ReleaseSite is Fleet.ReleaseSite for those who may.
func (d *Desk) ReleaseSite(ctx context.Context, siteID int64) error {
	if err := d.onSite(ctx, siteID, models.MayOperateSites); err != nil {
		return err
	}
	return d.fleet.ReleaseSite(ctx, d.by.Name, siteID)
}

// RunCron is Fleet.RunCron for those who may.
func (d *Desk) RunCron(ctx context.Context, siteID int64) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayOperateSites); err != nil {
		return models.Task{}, err
	}
	return d.fleet.RunCron(ctx, d.by.Name, siteID)
}

// LoginToSite is Fleet.LoginToSite for those who may.
func (d *Desk) LoginToSite(ctx context.Context, siteID int64) (string, error) {
	if err := d.onSite(ctx, siteID, models.MaySignInToSites); err != nil {
		return "", err
	}
	return d.fleet.LoginToSite(ctx, d.by.Name, siteID)
}

// ConfigureSite is Fleet.ConfigureSite for those who may.
func (d *Desk) ConfigureSite(ctx context.Context, siteID int64, in SiteSettings) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayConfigureSites); err != nil {
		return models.Task{}, err
	}
	return d.fleet.ConfigureSite(ctx, d.by.Name, siteID, in)
}

// DisableSite is Fleet.DisableSite for those who may.
func (d *Desk) DisableSite(ctx context.Context, siteID int64) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayConfigureSites); err != nil {
		return models.Task{}, err
	}
	return d.fleet.DisableSite(ctx, d.by.Name, siteID)
}

// EnableSite is Fleet.EnableSite for those who may.
func (d *Desk) EnableSite(ctx context.Context, siteID int64) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayConfigureSites); err != nil {
		return models.Task{}, err
	}
	return d.fleet.EnableSite(ctx, d.by.Name, siteID)
}

// DeleteSite is Fleet.DeleteSite for those who may.
func (d *Desk) DeleteSite(ctx context.Context, siteID int64, confirm string, backup bool) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayDeleteSites); err != nil {
		return models.Task{}, err
	}
	return d.fleet.DeleteSite(ctx, d.by.Name, siteID, confirm, backup)
}

// CompareNow is Fleet.CompareNow for those who may.
func (d *Desk) CompareNow(ctx context.Context, siteID int64) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayUpgrade); err != nil {
		return models.Task{}, err
	}
	return d.fleet.CompareNow(ctx, d.by.Name, siteID)
}

// UpgradeSite is Fleet.UpgradeSite for those who may.
func (d *Desk) UpgradeSite(ctx context.Context, siteID, targetID int64) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayUpgrade); err != nil {
		return models.Task{}, err
	}
	return d.fleet.UpgradeSite(ctx, d.by.Name, siteID, targetID)
}

// UpgradeToTarget is Fleet.UpgradeToTarget for those who may.
func (d *Desk) UpgradeToTarget(ctx context.Context, siteID int64) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayUpgrade); err != nil {
		return models.Task{}, err
	}
	return d.fleet.UpgradeToTarget(ctx, d.by.Name, siteID)
}

// RollbackSite is Fleet.RollbackSite for those who may.
func (d *Desk) RollbackSite(ctx context.Context, siteID, upgradeID int64) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayUpgrade); err != nil {
		return models.Task{}, err
	}
	return d.fleet.RollbackSite(ctx, d.by.Name, siteID, upgradeID)
}

// BackupSite is Fleet.BackupSite for those who may.
func (d *Desk) BackupSite(ctx context.Context, siteID int64, note string, keep bool) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayBackUp); err != nil {
		return models.Task{}, err
	}
	return d.fleet.BackupSite(ctx, d.by.Name, siteID, note, keep)
}

// KeepBackup is Fleet.KeepBackup for those who may.
func (d *Desk) KeepBackup(ctx context.Context, backupID int64, keep bool) error {
	if err := d.onBackup(ctx, backupID, models.MayConfigureSites); err != nil {
		return err
	}
	return d.fleet.KeepBackup(ctx, d.by.Name, backupID, keep)
}

// DeleteBackup is Fleet.DeleteBackup for those who may.
func (d *Desk) DeleteBackup(ctx context.Context, backupID int64) error {
	if err := d.onBackup(ctx, backupID, models.MayConfigureSites); err != nil {
		return err
	}
	return d.fleet.DeleteBackup(ctx, d.by.Name, backupID)
}

// RestoreSite is Fleet.RestoreSite for those who may.
func (d *Desk) RestoreSite(ctx context.Context, backupID, platformID int64) (models.Task, error) {
	if err := d.onBackup(ctx, backupID, models.MayRestore); err != nil {
		return models.Task{}, err
	}
	return d.fleet.RestoreSite(ctx, d.by.Name, backupID, platformID)
}

// RelocateSite is Fleet.RelocateSite for those who may.
func (d *Desk) RelocateSite(ctx context.Context, siteID, serverID int64) (models.Task, error) {
	if err := d.onSite(ctx, siteID, models.MayRelocateSites); err != nil {
		return models.Task{}, err
	}
	return d.fleet.RelocateSite(ctx, d.by.Name, siteID, serverID)
}

// CancelTask is Fleet.CancelTask for those who may.
func (d *Desk) CancelTask(ctx context.Context, taskID int64) error {
	if err := d.onTask(ctx, taskID, models.MayCancelTasks); err != nil {
		return err
	}
	return d.fleet.CancelTask(ctx, d.by.Name, taskID)
}

// RetryTask is Fleet.RetryTask for those who may, and who may do what the task does.
func (d *Desk) RetryTask(ctx context.Context, taskID int64) (models.Task, error) {
	if err := d.onTask(ctx, taskID, models.MayCancelTasks); err != nil {
		return models.Task{}, err
	}
	t, err := d.fleet.Task(ctx, taskID)
	if err != nil {
		return models.Task{}, err
	}
	if err := d.may(t.Permission()); err != nil {
		return models.Task{}, err
	}
	return d.fleet.RetryTask(ctx, d.by.Name, taskID)
}
