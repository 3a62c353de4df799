package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"hefring/models"
)

// CreateSite stores a site, installing unless it says otherwise. Conflict: URI
// taken, or its platform takes no new sites any more.
func (s *Store) CreateSite(ctx context.Context, site *models.Site) error {
	if site.State == "" {
		site.State = models.SiteInstalling
	}
	taken := fmt.Sprintf("There is a site with the address %s already. Choose another.", site.URI)
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.takesSites(ctx, site.PlatformID); err != nil {
			return err
		}
		if err := beside("uri", create(ctx, tx, "site", site, taken)); err != nil {
			return err
		}
		return tx.takeNames(ctx, *site)
	})
}

// siteName gives a host name to one site.
type siteName struct {
	Name   string `gorm:"primaryKey"`
	SiteID int64
}

// takeNames gives a site its host names and no others. Conflict: one of them is
// another site's.
func (s *Store) takeNames(ctx context.Context, site models.Site) error {
	if err := s.with(ctx).Where("site_id = ?", site.ID).Delete(&siteName{}).Error; err != nil {
		return fmt.Errorf("give back names of site %d: %w", site.ID, err)
	}
	if site.State == models.SiteDeleted {
		return nil
	}
	for _, name := range site.Names() {
		field := "aliases"
		if name == site.URI {
			field = "uri"
		}
		taken := name + " is the address of another site already. Choose another."
		if err := beside(field, create(ctx, s, "name", &siteName{Name: name, SiteID: site.ID}, taken)); err != nil {
			return err
		}
	}
	return nil
}

// ConfigureSite stores how a site is served and looked after.
func (s *Store) ConfigureSite(ctx context.Context, by string, site models.Site) error {
	return s.atomic(ctx, func(tx *Store) error {
		old, err := locked[models.Site](ctx, tx, "site", site.ID)
		if err != nil {
			return err
		}
		done := tx.with(ctx).Model(&models.Site{}).Where("id = ? AND state <> ?", site.ID, models.SiteDeleted).
			Select("aliases", "redirect", "https", "certificate", "certificate_key", "probes", "probe_text", "cron_every", "cron_next_at", "backup_every", "backup_next_at", "backup_keep").
			Updates(site)
		if done.Error != nil {
			return fmt.Errorf("configure site %d: %w", site.ID, done.Error)
		}
		if done.RowsAffected == 0 {
			return missing("site", site.ID)
		}
		if err := tx.takeNames(ctx, site); err != nil {
			return err
		}
		after, err := tx.Site(ctx, site.ID)
		if err != nil {
			return err
		}
		return tx.RecordEdit(ctx, models.Event{Actor: by, Verb: "configure", Subject: siteSubject(site.ID)}.With(old, after))
	})
}

// EndedHolds lists sites whose hold has come to its end.
func (s *Store) EndedHolds(ctx context.Context, at time.Time, limit int) ([]models.Site, error) {
	var list []models.Site
	err := s.with(ctx).Where("held AND held_until <= ? AND state <> ?", at.UTC(), models.SiteDeleted).Order("held_until").Limit(limit).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list ended holds: %w", err)
	}
	return list, nil
}

// EndHold lets a site go whose hold has come to its end. One that somebody holds for
// longer by now stays.
func (s *Store) EndHold(ctx context.Context, by string, siteID int64, at time.Time) error {
	return s.atomic(ctx, func(tx *Store) error {
		site, err := locked[models.Site](ctx, tx, "site", siteID)
		if err != nil || site.HeldUntil == nil || site.HeldUntil.After(at) {
			return err
		}
		return tx.SetHeld(ctx, by, siteID, false, "", nil)
	})
}

// takesSites answers Conflict unless the platform is ready and unlocked. It
// writes, so that nobody can lock or delete the platform before the end of the
// transaction.
func (s *Store) takesSites(ctx context.Context, platformID int64) error {
	done := s.with(ctx).Model(&models.Platform{}).Where("id = ? AND state = ? AND NOT locked", platformID, models.PlatformReady).
		UpdateColumn("locked", false)
	if done.Error != nil {
		return fmt.Errorf("reserve platform %d: %w", platformID, done.Error)
	}
	if done.RowsAffected == 1 {
		return nil
	}
	p, err := s.Platform(ctx, platformID)
	if err != nil {
		return err
	}
	if p.State == models.PlatformReady {
		return models.Errorf(models.Conflict, "The platform %s is locked and takes no new sites. Choose an unlocked one.", p.Name)
	}
	return models.Errorf(models.Conflict, "The platform %s is %s. Choose one that is ready.", p.Name, p.State)
}

func siteSubject(id int64) models.Subject { return models.Subject{Kind: models.SubjectSite, ID: id} }

// Site loads one.
func (s *Store) Site(ctx context.Context, id int64) (models.Site, error) {
	return get[models.Site](ctx, s, "site", id)
}

// SiteNamed finds the site with an address or alias.
func (s *Store) SiteNamed(ctx context.Context, uri string) (models.Site, error) {
	query := s.with(ctx).Joins("JOIN site_names n ON n.site_id = sites.id").Where("n.name = ?", uri)
	return first[models.Site](query, "site", uri)
}

// SitesOn lists the sites of a platform by URI, without deleted ones.
func (s *Store) SitesOn(ctx context.Context, platformID int64) ([]models.Site, error) {
	var list []models.Site
	err := s.with(ctx).Where("platform_id = ? AND state <> ?", platformID, models.SiteDeleted).Order("uri").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list sites on platform %d: %w", platformID, err)
	}
	return list, nil
}

// SiteAddresses lists the sites on a platform by URI, without deleted ones, with
// nothing but their numbers, their addresses and the platform.
func (s *Store) SiteAddresses(ctx context.Context, platformID int64) ([]models.Site, error) {
	query := s.with(ctx).Model(&models.Site{}).Select("id", "uri", "platform_id").
		Where("platform_id = ? AND state <> ?", platformID, models.SiteDeleted).Order("uri")
	list, err := each(query, func(site *models.Site) []any { return []any{&site.ID, &site.URI, &site.PlatformID} })
	if err != nil {
		return nil, fmt.Errorf("list addresses of sites on platform %d: %w", platformID, err)
	}
	return list, nil
}

// MoveSite takes a site from its state to another. The reason is kept with it.
func (s *Store) MoveSite(ctx context.Context, by string, site models.Site, to models.SiteState, reason string) error {
	from := site.State
	return s.atomic(ctx, func(tx *Store) error {
		err := move[models.SiteState]{
			allowed: models.SiteTransitions(), model: &models.Site{}, what: "site", name: site.URI,
			id: site.ID, from: site.State, to: to, set: map[string]any{"reason": reason},
		}.apply(ctx, tx)
		if err != nil {
			return err
		}
		if to == models.SiteDeleted {
			site.State = to
			if err := tx.takeNames(ctx, site); err != nil {
				return err
			}
		}
		return tx.RecordEvent(ctx, models.Event{Actor: by, Verb: string(to), Subject: siteSubject(site.ID), Text: reason}.Moved(string(from), string(to)))
	})
}

// PlaceSite records where a site runs now, if it is still on the platform that
// site says.
func (s *Store) PlaceSite(ctx context.Context, site models.Site, platformID int64, db models.Database) error {
	return s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.Site{}).
			Where("id = ? AND platform_id = ? AND state <> ?", site.ID, site.PlatformID, models.SiteDeleted).
			Select("platform_id", "database").Updates(models.Site{PlatformID: platformID, Database: db})
		if done.Error != nil {
			return fmt.Errorf("place site %d: %w", site.ID, done.Error)
		}
		if done.RowsAffected == 0 {
			if _, err := tx.Site(ctx, site.ID); err != nil {
				return err
			}
			return models.Errorf(models.Conflict, "The site %s was moved or deleted meanwhile. Reload the page and look again.", site.URI)
		}
		if platformID == site.PlatformID {
			return nil
		}
		e := models.Event{Actor: machine, Verb: "place", Subject: siteSubject(site.ID), Text: fmt.Sprintf("From platform %d to platform %d.", site.PlatformID, platformID)}
		return tx.RecordEvent(ctx, e.With(models.Site{PlatformID: site.PlatformID, Database: site.Database}, models.Site{PlatformID: platformID, Database: db}))
	})
}

// SetHeld pins a site to its platform, until a time if one is given, or lets it
// go. One that is as wanted stays as it is, and the record says nothing of it.
func (s *Store) SetHeld(ctx context.Context, by string, siteID int64, held bool, reason string, until *time.Time) error {
	verb := "release"
	if held {
		verb = "hold"
	} else {
		reason, until = "", nil
	}
	return s.atomic(ctx, func(tx *Store) error {
		old, err := locked[models.Site](ctx, tx, "site", siteID)
		if err != nil {
			return err
		}
		after := old
		after.Held, after.HeldReason, after.HeldUntil = held, reason, until
		e := models.Event{Actor: by, Verb: verb, Subject: siteSubject(siteID), Text: reason}.With(old, after)
		if old.State != models.SiteDeleted && len(e.Changes) == 0 {
			return nil
		}
		done := tx.with(ctx).Model(&models.Site{}).Where("id = ? AND state <> ?", siteID, models.SiteDeleted).
			Updates(map[string]any{"held": held, "held_reason": reason, "held_until": until})
		if done.Error != nil {
			return fmt.Errorf("hold site %d: %w", siteID, done.Error)
		}
		if done.RowsAffected == 0 {
			return missing("site", siteID)
		}
		return tx.RecordEvent(ctx, e)
	})
}

// SaveComparison stores what Drush said about moving a site; it replaces the
// site's older one.
func (s *Store) SaveComparison(ctx context.Context, c *models.Comparison) error {
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.with(ctx).Where("site_id = ?", c.SiteID).Delete(&models.Comparison{}).Error; err != nil {
			return fmt.Errorf("replace comparison of site %d: %w", c.SiteID, err)
		}
		c.ID = 0
		return create(ctx, tx, "comparison", c, "Another comparison of this site was stored at the same moment. Ask again.")
	})
}

// Comparison loads the newest comparison of a site.
func (s *Store) Comparison(ctx context.Context, siteID int64) (models.Comparison, error) {
	return first[models.Comparison](s.with(ctx).Where("site_id = ?", siteID), "comparison of site", siteID)
}

// ComparisonsOn lists the comparisons of a platform's sites with a target.
func (s *Store) ComparisonsOn(ctx context.Context, platformID, targetID int64) ([]models.Comparison, error) {
	var list []models.Comparison
	// The comparison must still speak of where the site is.
	err := s.with(ctx).Joins("JOIN sites ON sites.id = comparisons.site_id AND sites.platform_id = comparisons.from_platform_id").
		Where("comparisons.from_platform_id = ? AND comparisons.platform_id = ? AND sites.state <> ?", platformID, targetID, models.SiteDeleted).
		Order("sites.uri").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("list comparisons on platform %d: %w", platformID, err)
	}
	return list, nil
}

// wakeUpgrade wakes those who follow the upgrade's task.
func (s *Store) wakeUpgrade(ctx context.Context, query *gorm.DB) error {
	var tasks []int64
	if err := query.Pluck("task_id", &tasks).Error; err != nil {
		return fmt.Errorf("find the upgrade's task: %w", err)
	}
	for _, id := range tasks {
		if err := s.wake(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
