package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"hefring/models"
)

// machine is the actor of events that no person asked for.
const machine = "system"

// CreatePlatform stores a platform, queued unless it says otherwise. Conflict:
// name taken.
func (s *Store) CreatePlatform(ctx context.Context, p *models.Platform) error {
	if p.State == "" {
		p.State = models.PlatformQueued
	}
	taken := fmt.Sprintf("There is a platform with the name %s already. Look for it in the list of platforms.", p.Name)
	return s.atomic(ctx, func(tx *Store) error {
		if err := create(ctx, tx, "platform", p, taken); err != nil || p.Plan == "" {
			return err
		}
		if err := tx.with(ctx).Create(&platformPlan{PlatformID: p.ID, Plan: p.Plan}).Error; err != nil {
			return fmt.Errorf("store plan of platform %s: %w", p.Name, err)
		}
		return nil
	})
}

func platformSubject(id int64) models.Subject {
	return models.Subject{Kind: models.SubjectPlatform, ID: id}
}

// Platform loads one.
func (s *Store) Platform(ctx context.Context, id int64) (models.Platform, error) {
	return get[models.Platform](ctx, s, "platform", id)
}

// PlatformNamed finds the platform with a name, without deleted ones.
func (s *Store) PlatformNamed(ctx context.Context, name string) (models.Platform, error) {
	return first[models.Platform](s.with(ctx).Where("name = ? AND state <> ?", name, models.PlatformDeleted), "platform", name)
}

// PlatformsOf lists the platforms of a distribution, newest first, without
// deleted ones.
func (s *Store) PlatformsOf(ctx context.Context, distributionID int64) ([]models.Platform, error) {
	var list []models.Platform
	err := s.with(ctx).Where("distribution_id = ? AND state <> ?", distributionID, models.PlatformDeleted).
		Order("id DESC").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list platforms of distribution %d: %w", distributionID, err)
	}
	return list, nil
}

// PlatformsIn lists the platforms that are in one of these states, oldest first,
// without their lists.
func (s *Store) PlatformsIn(ctx context.Context, states ...models.PlatformState) ([]models.Platform, error) {
	var list []models.Platform
	if err := s.with(ctx).Where("state IN ?", states).Omit("packages", "sources", "audit", "standing", "facts").Order("id").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list platforms: %w", err)
	}
	return list, nil
}

// MovePlatform takes p from its state to another. The reason is kept with the
// platform; a ready one has its time of completion.
func (s *Store) MovePlatform(ctx context.Context, by string, p models.Platform, to models.PlatformState, reason string) error {
	set := map[string]any{"reason": reason}
	if to == models.PlatformReady {
		set["built_at"] = gorm.Expr("COALESCE(built_at, ?)", now())
	}
	return s.atomic(ctx, func(tx *Store) error {
		err := move[models.PlatformState]{
			allowed: models.PlatformTransitions(), model: &models.Platform{}, what: "platform", name: p.Name,
			id: p.ID, from: p.State, to: to, set: set,
		}.apply(ctx, tx)
		if err != nil {
			return err
		}
		return tx.RecordEvent(ctx, models.Event{Actor: by, Verb: string(to), Subject: platformSubject(p.ID), Text: reason}.Moved(string(p.State), string(to)))
	})
}

// SavePlatformBuild stores what a build found, everything but the name, the
// state, the lock and the reason, while the platform is still
// building; else it answers Conflict.
func (s *Store) SavePlatformBuild(ctx context.Context, p models.Platform) error {
	p.AtRisk = p.Unsafe()
	done := s.with(ctx).Model(&models.Platform{}).Where("id = ? AND state = ?", p.ID, models.PlatformBuilding).
		Select("*").Omit("id", "distribution_id", "server", "name", "state", "locked", "reason", "standing", "created_at").Updates(p)
	if done.Error != nil {
		return fmt.Errorf("save build of platform %d: %w", p.ID, done.Error)
	}
	if done.RowsAffected == 1 {
		return nil
	}
	return move[models.PlatformState]{
		model: &models.Platform{}, what: "platform", name: p.Name, id: p.ID, from: models.PlatformBuilding,
	}.lost(ctx, s)
}

// SetLocked locks or unlocks a platform for new sites. Locking a locked one
// changes nothing.
func (s *Store) SetLocked(ctx context.Context, by string, platformID int64, locked bool) error {
	return s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.Platform{}).
			Where("id = ? AND locked = ? AND state <> ?", platformID, !locked, models.PlatformDeleted).Update("locked", locked)
		if done.Error != nil {
			return fmt.Errorf("lock platform %d: %w", platformID, done.Error)
		}
		if done.RowsAffected == 0 {
			_, err := tx.Platform(ctx, platformID)
			return err
		}
		verb, text := "unlock", "It takes new sites."
		if locked {
			verb, text = "lock", "It takes no new sites."
		}
		e := models.Event{Actor: by, Verb: verb, Subject: platformSubject(platformID), Text: text}
		return tx.RecordEvent(ctx, e.With(models.Platform{Locked: !locked}, models.Platform{Locked: locked}))
	})
}
