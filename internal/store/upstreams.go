package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"hefring/internal/fleet"
	"hefring/models"
)

// EnsureUpstream finds the upstream with u's update type and key, or stores u.
// The host's row is made with it.
func (s *Store) EnsureUpstream(ctx context.Context, u models.Upstream) (models.Upstream, error) {
	var found models.Upstream
	err := s.atomic(ctx, func(tx *Store) error {
		now := now()
		u.LastChangeAt, u.CreatedAt = now, now
		host := models.NewHost(u.Host, now)
		unless := clause.OnConflict{DoNothing: true}
		if err := tx.with(ctx).Clauses(unless).Create(&host).Error; err != nil {
			return fmt.Errorf("make host %s: %w", u.Host, err)
		}
		if err := tx.with(ctx).Clauses(unless).Create(&u).Error; err != nil {
			return fmt.Errorf("make upstream: %w", err)
		}
		err := tx.with(ctx).Where("update_type = ? AND key = ?", u.UpdateType, u.Key).First(&found).Error
		if err != nil {
			return fmt.Errorf("find upstream: %w", err)
		}
		return nil
	})
	return found, err
}

// Upstream loads one.
func (s *Store) Upstream(ctx context.Context, id int64) (models.Upstream, error) {
	return get[models.Upstream](ctx, s, "upstream", id)
}

// LockUpstream is Upstream; others that change it wait for this transaction.
func (s *Store) LockUpstream(ctx context.Context, id int64) (models.Upstream, error) {
	return locked[models.Upstream](ctx, s, "upstream", id)
}

// UpstreamsOfType lists the upstreams of an update type that have subscribers.
func (s *Store) UpstreamsOfType(ctx context.Context, updateType string) ([]models.Upstream, error) {
	var all []models.Upstream
	err := s.subscribed(ctx).Where("update_type = ?", updateType).Order("id").Find(&all).Error
	if err != nil {
		return nil, fmt.Errorf("list upstreams of type %s: %w", updateType, err)
	}
	return all, nil
}

func (s *Store) subscribed(ctx context.Context) *gorm.DB {
	return s.with(ctx).Where("EXISTS (SELECT 1 FROM distributions d WHERE d.upstream_id = upstreams.id)")
}

// Subscribers lists the distributions of an upstream by name.
func (s *Store) Subscribers(ctx context.Context, upstreamID int64) ([]models.Distribution, error) {
	var all []models.Distribution
	if err := s.with(ctx).Where("upstream_id = ?", upstreamID).Order("name, id").Find(&all).Error; err != nil {
		return nil, fmt.Errorf("list distributions of upstream %d: %w", upstreamID, err)
	}
	return all, nil
}

// Orphans lists distributions that have no upstream.
func (s *Store) Orphans(ctx context.Context) ([]models.Distribution, error) {
	var all []models.Distribution
	if err := standing(s.with(ctx)).Where("upstream_id IS NULL").Order("id").Find(&all).Error; err != nil {
		return nil, fmt.Errorf("list distributions without upstream: %w", err)
	}
	return all, nil
}

// Rebuilt lists distributions that are rebuilt every some days.
func (s *Store) Rebuilt(ctx context.Context) ([]models.Distribution, error) {
	var all []models.Distribution
	if err := s.with(ctx).Where("rebuild_days > 0").Order("id").Find(&all).Error; err != nil {
		return nil, fmt.Errorf("list distributions to rebuild: %w", err)
	}
	return all, nil
}

// DueUpstreams lists upstreams of a type whose next check is due, the longest
// waiting first: those with subscribers that nothing looks at right now, at
// hosts that take checks.
func (s *Store) DueUpstreams(ctx context.Context, updateType string, at time.Time, limit int) ([]models.Upstream, error) {
	var due []models.Upstream
	err := s.subscribed(ctx).
		Where("update_type = ? AND next_check_at <= ? AND NOT stalled", updateType, at).
		Where("NOT EXISTS (SELECT 1 FROM tasks t WHERE t.subject_kind = ? AND t.subject_id = upstreams.id AND t.state IN ?)",
			models.SubjectUpstream, unfinished()).
		Where("NOT EXISTS (SELECT 1 FROM hosts h WHERE h.name = upstreams.host AND h.blocked_until > ?)", at).
		Where("(SELECT COUNT(*) FROM tasks t JOIN upstreams u ON u.id = t.subject_id WHERE t.subject_kind = ? AND t.state IN ? AND u.host = upstreams.host)"+
			" < COALESCE((SELECT h.at_once FROM hosts h WHERE h.name = upstreams.host), 1)", models.SubjectUpstream, unfinished()).
		Order("next_check_at, id").Limit(limit).Find(&due).Error
	if err != nil {
		return nil, fmt.Errorf("list due upstreams: %w", err)
	}
	return due, nil
}

// ClaimUpstream moves next_check_at from u's to next; false when another replica
// was quicker.
func (s *Store) ClaimUpstream(ctx context.Context, u models.Upstream, next *time.Time) (bool, error) {
	done := s.with(ctx).Model(&models.Upstream{}).
		Where(map[string]any{"id": u.ID, "next_check_at": nilOr(u.NextCheckAt)}).
		Updates(map[string]any{"next_check_at": rounded(next)})
	if done.Error != nil {
		return false, fmt.Errorf("claim check of upstream %d: %w", u.ID, done.Error)
	}
	return done.RowsAffected == 1, nil
}

// rounded is a time as both databases keep it.
func rounded(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC().Truncate(time.Microsecond)
	return &utc
}

// ScheduleUpstream has an upstream looked at when it is due at next, unless it
// is due before.
func (s *Store) ScheduleUpstream(ctx context.Context, id int64, next time.Time) error {
	err := s.with(ctx).Model(&models.Upstream{}).Where("id = ? AND (next_check_at IS NULL OR next_check_at > ?)", id, next).
		Updates(map[string]any{"next_check_at": rounded(&next)}).Error
	if err != nil {
		return fmt.Errorf("schedule upstream %d: %w", id, err)
	}
	return nil
}

// RecordUpstream stores how an upstream answered: everything but its key, its
// next check and its last webhook.
func (s *Store) RecordUpstream(ctx context.Context, u models.Upstream) error {
	err := s.with(ctx).Model(&models.Upstream{}).Where("id = ?", u.ID).
		Select("last_check_at", "last_change_at", "failures", "stalled", "reason", "message").Updates(u).Error
	if err != nil {
		return fmt.Errorf("record upstream %d: %w", u.ID, err)
	}
	return nil
}

// MarkHook stores when an upstream's last verified webhook came.
func (s *Store) MarkHook(ctx context.Context, upstreamID int64, at time.Time) error {
	err := s.with(ctx).Model(&models.Upstream{}).Where("id = ?", upstreamID).Update("hook_at", at).Error
	if err != nil {
		return fmt.Errorf("mark webhook of upstream %d: %w", upstreamID, err)
	}
	return nil
}

// PruneUpstreams removes upstreams that no distribution comes from any more.
func (s *Store) PruneUpstreams(ctx context.Context) error {
	err := s.with(ctx).Where("NOT EXISTS (SELECT 1 FROM distributions d WHERE d.upstream_id = upstreams.id)"+
		" AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.subject_kind = ? AND t.subject_id = upstreams.id AND t.state IN ?)",
		models.SubjectUpstream, unfinished()).Delete(&models.Upstream{}).Error
	if err != nil {
		return fmt.Errorf("remove upstreams: %w", err)
	}
	return nil
}

// Host loads the politeness towards a host; a host that is not known yet has the
// defaults.
func (s *Store) Host(ctx context.Context, name string) (models.Host, error) {
	var h models.Host
	err := s.with(ctx).Where("name = ?", name).First(&h).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return models.NewHost(name, now()), nil
	}
	if err != nil {
		return models.Host{}, fmt.Errorf("load host %s: %w", name, err)
	}
	return h, nil
}

// LockHost makes others that change a host or ask it wait for this transaction, and
// gives it as it is then. One that is not known yet is stored.
func (s *Store) LockHost(ctx context.Context, name string) (models.Host, error) {
	h := models.NewHost(name, now())
	err := s.with(ctx).Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "name"}}, DoUpdates: clause.Assignments(map[string]any{"name": name}),
	}).Create(&h).Error
	if err != nil {
		return models.Host{}, fmt.Errorf("lock host %s: %w", name, err)
	}
	return s.Host(ctx, name)
}

// SaveHost creates or replaces a host.
func (s *Store) SaveHost(ctx context.Context, h models.Host) error {
	if err := s.with(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(&h).Error; err != nil {
		return fmt.Errorf("save host %s: %w", h.Name, err)
	}
	return nil
}

// TakeHost begins one check at a host, if its limits allow. Two replicas that
// ask at once wait for each other.
func (s *Store) TakeHost(ctx context.Context, name string, at time.Time) (bool, error) {
	taken := false
	err := s.atomic(ctx, func(tx *Store) error {
		if err := tx.lockHost(ctx, name); err != nil {
			return err
		}
		h, err := tx.Host(ctx, name)
		if err != nil {
			return err
		}
		var running int64
		err = tx.with(ctx).Model(&models.Task{}).Joins("JOIN upstreams u ON u.id = tasks.subject_id AND u.host = ?", name).
			Where("tasks.subject_kind = ? AND tasks.state IN ?", models.SubjectUpstream, unfinished()).Count(&running).Error
		if err != nil {
			return fmt.Errorf("count checks at %s: %w", name, err)
		}
		taken = h.Take(at, int(running))
		return tx.SaveHost(ctx, h)
	})
	return taken, err
}

// CountRequests adds to what was asked of a host today.
func (s *Store) CountRequests(ctx context.Context, name string, at time.Time, n int64) error {
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.lockHost(ctx, name); err != nil {
			return err
		}
		h, err := tx.Host(ctx, name)
		if err != nil {
			return err
		}
		h.Count(at, n)
		return tx.SaveHost(ctx, h)
	})
}

// lockHost makes others that change the host wait for this transaction.
func (s *Store) lockHost(ctx context.Context, name string) error {
	if err := s.with(ctx).Model(&models.Host{}).Where("name = ?", name).Update("name", name).Error; err != nil {
		return fmt.Errorf("lock host %s: %w", name, err)
	}
	return nil
}

// BlockHost keeps a host from being asked until a time, if that is later than
// what it asked for before.
func (s *Store) BlockHost(ctx context.Context, name string, until time.Time) error {
	err := s.with(ctx).Model(&models.Host{}).Where("name = ? AND (blocked_until IS NULL OR blocked_until < ?)", name, until).
		Updates(map[string]any{"blocked_until": rounded(&until)}).Error
	if err != nil {
		return fmt.Errorf("block host %s: %w", name, err)
	}
	return nil
}

// SourceState loads what is remembered of a distribution's source.
func (s *Store) SourceState(ctx context.Context, distributionID int64) (models.SourceState, error) {
	state := models.SourceState{DistributionID: distributionID}
	err := s.with(ctx).Where("distribution_id = ?", distributionID).First(&state).Error
	if err != nil && !errors.Is(err, gorm.ErrRecordNotFound) {
		return state, fmt.Errorf("load source state of distribution %d: %w", distributionID, err)
	}
	return state, nil
}

// SaveSourceState stores what is remembered of a distribution's source.
func (s *Store) SaveSourceState(ctx context.Context, state models.SourceState) error {
	if err := s.with(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(&state).Error; err != nil {
		return fmt.Errorf("save source state of distribution %d: %w", state.DistributionID, err)
	}
	return nil
}

// platformPlan is the long part of a platform.
type platformPlan struct {
	PlatformID int64 `gorm:"primaryKey"`
	Plan       string
}

func (platformPlan) TableName() string { return "platform_plans" }

// PlatformPlan loads what the update type needs to build exactly this platform.
func (s *Store) PlatformPlan(ctx context.Context, platformID int64) (string, error) {
	var plan platformPlan
	err := s.with(ctx).Where("platform_id = ?", platformID).First(&plan).Error
	if err != nil && !errors.Is(err, gorm.ErrRecordNotFound) {
		return "", fmt.Errorf("load plan of platform %d: %w", platformID, err)
	}
	return plan.Plan, nil
}

// SetStanding stores what its source says of a platform's version now.
func (s *Store) SetStanding(ctx context.Context, platformID int64, findings []models.Finding) error {
	return s.atomic(ctx, func(tx *Store) error {
		p, err := tx.Platform(ctx, platformID)
		if err != nil {
			return err
		}
		p.Standing = findings
		p.AtRisk = p.Unsafe()
		err = tx.with(ctx).Model(&models.Platform{}).Where("id = ?", platformID).Select("standing", "at_risk").Updates(p).Error
		if err != nil {
			return fmt.Errorf("save standing of platform %d: %w", platformID, err)
		}
		return nil
	})
}

// HostRows gives the lines of hosts on the Queues page, the busiest first. Those of
// many upstreams may have been counted a moment ago.
func (s *Store) HostRows(ctx context.Context, at time.Time) ([]fleet.HostRow, error) {
	count := func(ctx context.Context, _ []fleet.HostRow) ([]fleet.HostRow, error) { return s.countHosts(ctx, at) }
	return recall(ctx, s, func(m *memory) *remembered[[]fleet.HostRow] { return &m.hosts }, count, func(rows []fleet.HostRow) bool {
		n := 0
		for _, row := range rows {
			n += row.Upstreams
		}
		return n > largeFleet
	})
}

func (s *Store) countHosts(ctx context.Context, at time.Time) ([]fleet.HostRow, error) {
	var rows []fleet.HostRow
	count := s.subscribed(ctx).Model(&models.Upstream{}).Group("host").
		Select("host, COUNT(*) AS upstreams, COUNT(*) FILTER (WHERE stalled) AS stalled, COUNT(*) FILTER (WHERE failures > 0) AS failing")
	err := s.with(ctx).Model(&models.Host{}).Joins("JOIN (?) u ON u.host = hosts.name", count).
		Select("hosts.*, u.upstreams, u.stalled, u.failing").Order("requests DESC, name").Limit(200).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("list hosts: %w", err)
	}
	lags, err := s.lags(ctx, at)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		lag := lags[rows[i].Name]
		rows[i].Due = len(lag)
		rows[i].Lag = percentile(lag, 95)
	}
	return rows, nil
}

// lags lists how long due checks have been waiting, by host.
func (s *Store) lags(ctx context.Context, at time.Time) (map[string][]time.Duration, error) {
	var due []struct {
		Host        string
		NextCheckAt time.Time
	}
	err := s.subscribed(ctx).Model(&models.Upstream{}).Where("next_check_at <= ? AND NOT stalled", at).
		Select("host, next_check_at").Order("next_check_at").Limit(100_000).Find(&due).Error
	if err != nil {
		return nil, fmt.Errorf("list due upstreams: %w", err)
	}
	byHost := map[string][]time.Duration{}
	for _, one := range due {
		byHost[one.Host] = append(byHost[one.Host], at.Sub(one.NextCheckAt))
	}
	return byHost, nil
}

// percentile gives the nearest-rank percentile; 0 of nothing.
func percentile(list []time.Duration, p int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[(len(list)*p+99)/100-1]
}
