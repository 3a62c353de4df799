package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"gorm.io/gorm/clause"

	"hefring/internal/fleet"
	"hefring/models"
)

// CreateRelocation stores a site's way to another server.
func (s *Store) CreateRelocation(ctx context.Context, r *models.Relocation) error {
	r.State = models.RelocationQueued
	return create(ctx, s, "relocation", r, "This task has a relocation already.")
}

// Relocation loads one.
func (s *Store) Relocation(ctx context.Context, id int64) (models.Relocation, error) {
	return get[models.Relocation](ctx, s, "relocation", id)
}

// RelocationOfTask loads the one that the task carries out.
func (s *Store) RelocationOfTask(ctx context.Context, taskID int64) (models.Relocation, error) {
	return first[models.Relocation](s.with(ctx).Where("task_id = ?", taskID), "relocation of task", taskID)
}

// LatestRelocation loads the newest of a site that took place.
func (s *Store) LatestRelocation(ctx context.Context, siteID int64) (models.Relocation, error) {
	query := s.with(ctx).Where("site_id = ? AND state = ?", siteID, models.RelocationDone).Order("id DESC").Limit(1)
	return first[models.Relocation](query, "relocation of site", siteID)
}

// MoveRelocation takes a relocation on, with all that was found, if it is still in the
// state that r says.
func (s *Store) MoveRelocation(ctx context.Context, r models.Relocation, to models.RelocationState) error {
	set := map[string]any{
		"reason": r.Reason, "origin": r.Origin, "target": r.Target, "first": r.First, "second": r.Second, "backups": r.Backups,
		"closed_at": r.ClosedAt, "opened_at": r.OpenedAt,
	}
	if to.Over() {
		set["ended_at"] = now()
	}
	return s.atomic(ctx, func(tx *Store) error {
		err := move[models.RelocationState]{
			allowed: models.RelocationTransitions(), model: &models.Relocation{}, what: "move of", name: r.Site.URI,
			id: r.ID, from: r.State, to: to, set: set,
		}.apply(ctx, tx)
		if err != nil {
			return err
		}
		err = tx.with(ctx).Model(&models.Relocation{}).Where("id = ?", r.ID).Select("database").Updates(models.Relocation{Database: r.Database}).Error
		if err != nil {
			return fmt.Errorf("save relocation %d: %w", r.ID, err)
		}
		return nil
	})
}

// SwitchServer is the switch of a relocation: the site is on its new server, with its
// backups, if it is where the relocation found it.
func (s *Store) SwitchServer(ctx context.Context, by string, r models.Relocation) error {
	name := models.LocalServer
	if r.ToID != nil {
		server, err := s.Server(ctx, *r.ToID)
		if err != nil {
			return err
		}
		name = server.Name
	}
	return s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.Site{}).Where("id = ? AND platform_id = ? AND state = ?", r.SiteID, r.Site.PlatformID, models.SiteUpgrading).
			Where(on("server_id", valueOf(r.FromID))).
			Select("server_id", "server", "database").Updates(models.Site{ServerID: r.ToID, Server: name, Database: r.Database})
		if done.Error != nil {
			return fmt.Errorf("switch site %d to its new server: %w", r.SiteID, done.Error)
		}
		if done.RowsAffected == 0 {
			return models.Errorf(models.Conflict, "%s was changed meanwhile.", r.Site.URI)
		}
		if err := tx.takeBackups(ctx, r); err != nil {
			return err
		}
		e := models.Event{Actor: by, Verb: "relocate", Subject: siteSubject(r.SiteID), Text: fmt.Sprintf("From %s to %s.", r.Site.Server, name)}
		return tx.RecordEvent(ctx, e.With(models.Site{Server: r.Site.Server, Database: r.Site.Database}, models.Site{Server: name, Database: r.Database}))
	})
}

func valueOf(id *int64) int64 {
	if id == nil {
		return 0
	}
	return *id
}

// takeBackups notes where a site's backups lie on its new server.
func (s *Store) takeBackups(ctx context.Context, r models.Relocation) error {
	var list []models.Backup
	if err := s.with(ctx).Where("site_id = ? AND state = ?", r.SiteID, models.BackupReady).Find(&list).Error; err != nil {
		return fmt.Errorf("list backups of site %d: %w", r.SiteID, err)
	}
	for _, b := range list {
		path := filepath.Join(r.Backups, filepath.Base(b.Path))
		if err := s.with(ctx).Model(&models.Backup{}).Where("id = ?", b.ID).Update("path", path).Error; err != nil {
			return fmt.Errorf("note where backup %d is: %w", b.ID, err)
		}
	}
	return nil
}

// LeftRelocations lists those that ended before a time and left something on a server
// (0: the control plane's host) that was not removed yet.
func (s *Store) LeftRelocations(ctx context.Context, server int64, before time.Time, limit int) ([]models.Relocation, error) {
	return s.relocations(ctx, limit, on("from_id", server), clause.Eq{Column: "state", Value: models.RelocationDone},
		clause.Eq{Column: "swept_at", Value: nil}, clause.Lte{Column: "ended_at", Value: before.UTC()})
}

// RelocationsTo lists the ones of a site to a server (0: the control plane's host)
// that are under way.
func (s *Store) RelocationsTo(ctx context.Context, siteID, server int64) ([]models.Relocation, error) {
	ended := []any{models.RelocationDone, models.RelocationFailed}
	return s.relocations(ctx, 1, on("to_id", server), clause.Eq{Column: "site_id", Value: siteID}, clause.Not(clause.IN{Column: "state", Values: ended}))
}

func (s *Store) relocations(ctx context.Context, limit int, which ...clause.Expression) ([]models.Relocation, error) {
	var list []models.Relocation
	if err := s.with(ctx).Clauses(clause.Where{Exprs: which}).Order("id").Limit(limit).Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list relocations: %w", err)
	}
	return list, nil
}

// SweepRelocations notes that nothing is left on a server (0: the control plane's
// host) of a site that left it.
func (s *Store) SweepRelocations(ctx context.Context, siteID, server int64) error {
	err := s.with(ctx).Model(&models.Relocation{}).Where("site_id = ? AND state = ? AND swept_at IS NULL", siteID, models.RelocationDone).
		Where(on("from_id", server)).Update("swept_at", now()).Error
	if err != nil {
		return fmt.Errorf("note that nothing is left of site %s: %w", strconv.FormatInt(siteID, 10), err)
	}
	return nil
}

var _ fleet.Relocations = (*Store)(nil)
