package store

import (
	"context"
	"fmt"
	"time"

	"hefring/internal/fleet"
	"hefring/models"
)

// Figures gives the state of the fleet in figures: three queries, each over an
// index or a table that does not grow with time.
func (s *Store) Figures(ctx context.Context, at time.Time) (fleet.Figures, error) {
	figures := fleet.Figures{Sites: map[string]int{}, Platforms: map[string]int{}, Distributions: map[string]int{}}
	err := s.with(ctx).Model(&models.Task{}).Where("state IN ?", unfinished()).
		Select("kind, state, COUNT(*) AS count, MIN(created_at) AS oldest").Group("kind, state").Order("kind, state").Find(&figures.Tasks).Error
	if err != nil {
		return figures, fmt.Errorf("count tasks: %w", err)
	}
	if figures.Queues, err = s.queueFigures(ctx, at); err != nil {
		return figures, err
	}
	var states []struct {
		Thing, State string
		Count        int
	}
	err = s.with(ctx).Raw(`SELECT 'site' AS thing, state, COUNT(*) AS count FROM sites WHERE state <> ? GROUP BY state
		UNION ALL SELECT 'platform', state, COUNT(*) FROM platforms WHERE state <> ? GROUP BY state
		UNION ALL SELECT 'distribution', condition, COUNT(*) FROM distributions WHERE deleted_at IS NULL GROUP BY condition`,
		models.SiteDeleted, models.PlatformDeleted).Scan(&states).Error
	if err != nil {
		return figures, fmt.Errorf("count states: %w", err)
	}
	of := map[string]map[string]int{"site": figures.Sites, "platform": figures.Platforms, "distribution": figures.Distributions}
	for _, one := range states {
		of[one.Thing][one.State] = one.Count
	}
	return figures, nil
}

func (s *Store) queueFigures(ctx context.Context, at time.Time) ([]fleet.QueueFigure, error) {
	var found []struct {
		fleet.QueueFigure
		First *time.Time // due time
	}
	err := s.with(ctx).Raw(`SELECT q.update_type, q.paused, COUNT(u.id) AS sources, MIN(u.next_check_at) AS first,
			COALESCE(SUM(CASE WHEN u.next_check_at <= ? THEN 1 ELSE 0 END), 0) AS due
		FROM queues q LEFT JOIN upstreams u ON u.update_type = q.update_type AND u.next_check_at IS NOT NULL AND NOT u.stalled
			AND EXISTS (SELECT 1 FROM distributions d WHERE d.upstream_id = u.id)
		GROUP BY q.update_type, q.paused ORDER BY q.update_type`, at.UTC()).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("count sources of queues: %w", err)
	}
	list := make([]fleet.QueueFigure, 0, len(found))
	for _, one := range found {
		if one.First != nil {
			one.Lag = max(at.Sub(*one.First), 0)
		}
		list = append(list, one.QueueFigure)
	}
	return list, nil
}

// Sound fails unless the database answers and has exactly the schema that this
// version of Hefring works with. It is one short query.
func (s *Store) Sound(ctx context.Context) error {
	var applied int64
	// Goose, which applies migrations, keeps a row for each of them.
	err := s.with(ctx).Raw("SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&applied).Error
	if err != nil {
		return fmt.Errorf("ask database: %w", err)
	}
	steps, err := s.engine.provider()
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	sources := steps.ListSources() // in their order
	if ours := sources[len(sources)-1].Version; applied != ours {
		return models.Errorf(models.Unavailable, "The database has schema %d, this version of Hefring works with %d. Run the same version everywhere.", applied, ours)
	}
	return nil
}
