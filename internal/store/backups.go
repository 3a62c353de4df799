package store

import (
	"context"
	"fmt"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// CreateBackup stores a backup that is being made.
func (s *Store) CreateBackup(ctx context.Context, b *models.Backup) error {
	b.State = models.BackupMaking
	return create(ctx, s, "backup", b, "This backup is there already.")
}

// Backup loads one.
func (s *Store) Backup(ctx context.Context, id int64) (models.Backup, error) {
	return get[models.Backup](ctx, s, "backup", id)
}

// Backups lists the backups of a site, newest first, without those that are
// gone.
func (s *Store) Backups(ctx context.Context, siteID int64, limit int) ([]models.Backup, error) {
	var list []models.Backup
	err := s.with(ctx).Where("site_id = ? AND state <> ?", siteID, models.BackupDeleted).Order("id DESC").Limit(limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list backups of site %d: %w", siteID, err)
	}
	return list, nil
}

// BackupRows lists a site's backups, newest first, without those that are gone, in
// parts.
func (s *Store) BackupRows(ctx context.Context, siteID int64, f fleet.Filter) ([]models.Backup, int, error) {
	query := s.with(ctx).Model(&models.Backup{}).Where("site_id = ? AND state <> ?", siteID, models.BackupDeleted)
	list, total, err := page[models.Backup](query, f, "id DESC")
	if err != nil {
		return nil, 0, fmt.Errorf("list backups of site %d: %w", siteID, err)
	}
	return list, total, nil
}

// BackupOfTask loads the newest backup that a task makes.
func (s *Store) BackupOfTask(ctx context.Context, taskID int64) (models.Backup, error) {
	return first[models.Backup](s.with(ctx).Where("task_id = ?", taskID).Order("id DESC").Limit(1), "backup of task", taskID)
}

// MoveBackup takes a backup from its state to another, with what was found.
func (s *Store) MoveBackup(ctx context.Context, by string, b models.Backup, to models.BackupState) error {
	return s.atomic(ctx, func(tx *Store) error {
		err := move[models.BackupState]{
			allowed: models.BackupTransitions(), model: &models.Backup{}, what: "backup", name: b.URI,
			id: b.ID, from: b.State, to: to, set: map[string]any{
				"path": b.Path, "engine": b.Engine, "drupal_version": b.DrupalVersion, "profile": b.Profile, "bytes": b.Bytes,
				"digest": b.Digest, "tables": b.Tables, "files": b.Files, "reason": b.Reason, "ended_at": now(),
			},
		}.apply(ctx, tx)
		if err != nil {
			return err
		}
		return tx.RecordEvent(ctx, models.Event{Actor: by, Verb: "backup " + string(to), Subject: siteSubject(b.SiteID), Text: b.Reason}.Moved(string(b.State), string(to)))
	})
}

// KeepBackup keeps a backup from retention, or lets retention have it. One that is as
// wanted stays as it is, and the record says nothing of it.
func (s *Store) KeepBackup(ctx context.Context, by string, id int64, keep bool) error {
	return s.atomic(ctx, func(tx *Store) error {
		b, err := locked[models.Backup](ctx, tx, "backup", id)
		if err != nil || b.State == models.BackupReady && b.Keep == keep {
			return err
		}
		done := tx.with(ctx).Model(&models.Backup{}).Where("id = ? AND state = ?", id, models.BackupReady).Update("keep", keep)
		if done.Error != nil {
			return fmt.Errorf("keep backup %d: %w", id, done.Error)
		}
		if done.RowsAffected == 0 {
			return models.Errorf(models.Conflict, "The backup is %s. Only a ready one can be kept.", b.State)
		}
		verb := "keep backup"
		if !keep {
			verb = "release backup"
		}
		return tx.RecordEvent(ctx, models.Event{Actor: by, Verb: verb, Subject: siteSubject(b.SiteID), Text: b.Note}.With(models.Backup{Keep: b.Keep}, models.Backup{Keep: keep}))
	})
}

// SpentBackups lists scheduled backups beyond the number that their site keeps,
// and failed ones; oldest first.
func (s *Store) SpentBackups(ctx context.Context, server int64, limit int) ([]models.Backup, error) {
	var list []models.Backup
	newer := s.with(ctx).Table("backups AS b").Select("COUNT(*)").
		Where("b.site_id = backups.site_id AND b.purpose = backups.purpose AND b.state = backups.state AND NOT b.keep AND b.id > backups.id")
	err := s.with(ctx).Joins("JOIN sites ON sites.id = backups.site_id").Where(on("sites.server_id", server)).
		Where("backups.state = ? OR (backups.state = ? AND backups.purpose = ? AND NOT backups.keep AND sites.backup_keep > 0 AND (?) >= sites.backup_keep)",
			models.BackupFailed, models.BackupReady, models.BackupSchedule, newer).
		Order("backups.id").Limit(limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list spent backups: %w", err)
	}
	return list, nil
}

// DueBackups lists enabled sites whose scheduled backup is due and that nothing
// works on.
func (s *Store) DueBackups(ctx context.Context, now time.Time, limit int) ([]models.Site, error) {
	return s.due(ctx, "backup", now, limit)
}

// DueCrons lists enabled sites whose cron is due and that nothing works on.
func (s *Store) DueCrons(ctx context.Context, now time.Time, limit int) ([]models.Site, error) {
	return s.due(ctx, "cron", now, limit)
}

func (s *Store) due(ctx context.Context, what string, at time.Time, limit int) ([]models.Site, error) {
	var list []models.Site
	err := s.with(ctx).Where("state = ? AND "+what+"_every > 0 AND ("+what+"_next_at IS NULL OR "+what+"_next_at <= ?)", models.SiteEnabled, at.UTC()).
		Where("NOT EXISTS (SELECT 1 FROM tasks t WHERE t.subject_kind = ? AND t.subject_id = sites.id AND t.state IN ?)", models.SubjectSite, unfinished()).
		Order(what + "_next_at, id").Limit(limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list sites whose %s is due: %w", what, err)
	}
	return list, nil
}

// ClaimBackup moves a site's next scheduled backup from site's to next; false
// when another replica was quicker.
func (s *Store) ClaimBackup(ctx context.Context, site models.Site, next time.Time) (bool, error) {
	return s.claim(ctx, "backup", site.ID, site.BackupNextAt, next)
}

// ClaimCron is ClaimBackup for cron.
func (s *Store) ClaimCron(ctx context.Context, site models.Site, next time.Time) (bool, error) {
	return s.claim(ctx, "cron", site.ID, site.CronNextAt, next)
}

func (s *Store) claim(ctx context.Context, what string, siteID int64, was *time.Time, next time.Time) (bool, error) {
	query := s.with(ctx).Model(&models.Site{}).Where("id = ?", siteID)
	if was == nil {
		query = query.Where(what + "_next_at IS NULL")
	} else {
		query = query.Where(what+"_next_at = ?", *was)
	}
	done := query.UpdateColumn(what+"_next_at", next.UTC())
	if done.Error != nil {
		return false, fmt.Errorf("claim %s of site %d: %w", what, siteID, done.Error)
	}
	return done.RowsAffected == 1, nil
}
