package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm/clause"

	"hefring/internal/fleet"
	"hefring/models"
)

// Queues lists the queues by update type.
func (s *Store) Queues(ctx context.Context) ([]models.Queue, error) {
	var list []models.Queue
	if err := s.with(ctx).Order("update_type").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	return list, nil
}

// LockQueue makes others that change a queue wait for this transaction, and gives it as
// it is then.
func (s *Store) LockQueue(ctx context.Context, updateType string) (models.Queue, error) {
	query := s.with(ctx).Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).Where("update_type = ?", updateType)
	return first[models.Queue](query, "queue for the update type", updateType)
}

// SaveQueue creates or replaces a queue.
func (s *Store) SaveQueue(ctx context.Context, q models.Queue) error {
	if err := s.with(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(&q).Error; err != nil {
		return fmt.Errorf("save queue %s: %w", q.UpdateType, err)
	}
	return nil
}

// MarkQueueRun stores when a queue ran last.
func (s *Store) MarkQueueRun(ctx context.Context, updateType string, at time.Time) error {
	err := s.with(ctx).Model(&models.Queue{}).Where("update_type = ?", updateType).Update("last_run_at", at).Error
	if err != nil {
		return fmt.Errorf("mark run of queue %s: %w", updateType, err)
	}
	return nil
}

// QueueRows gives the lines of the Queues page.
func (s *Store) QueueRows(ctx context.Context, at time.Time) ([]fleet.QueueRow, error) {
	queues, err := s.Queues(ctx)
	if err != nil {
		return nil, err
	}
	sources, err := s.queueSources(ctx, at)
	if err != nil {
		return nil, err
	}
	work, err := s.queueWork(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]fleet.QueueRow, 0, len(queues))
	for _, q := range queues {
		row := fleet.QueueRow{Queue: q}
		if from := sources[q.UpdateType]; from.Sources > 0 {
			row.Sources, row.Waiting, row.NextRunAt = from.Sources, from.Due, from.NextRunAt
			if from.Due > 0 && from.NextRunAt != nil {
				row.Lag = at.Sub(*from.NextRunAt)
			}
		}
		row.Waiting += work[q.UpdateType][models.TaskQueued]
		row.Running = work[q.UpdateType][models.TaskRunning]
		rows = append(rows, row)
	}
	return rows, nil
}

type queueSource struct {
	UpdateType   string
	Sources, Due int
	NextRunAt    *time.Time
}

// queueSources counts what queues look at, or tells what was counted lately if that is
// much.
func (s *Store) queueSources(ctx context.Context, at time.Time) (map[string]queueSource, error) {
	count := func(ctx context.Context, _ map[string]queueSource) (map[string]queueSource, error) {
		return s.countSources(ctx, at)
	}
	return recall(ctx, s, func(m *memory) *remembered[map[string]queueSource] { return &m.sources }, count, func(byType map[string]queueSource) bool {
		n := 0
		for _, one := range byType {
			n += one.Sources
		}
		return n > largeFleet
	})
}

func (s *Store) countSources(ctx context.Context, at time.Time) (map[string]queueSource, error) {
	var found []queueSource
	err := s.subscribed(ctx).Model(&models.Upstream{}).Where("next_check_at IS NOT NULL AND NOT stalled").
		Select("update_type, COUNT(*) AS sources, SUM(CASE WHEN next_check_at <= ? THEN 1 ELSE 0 END) AS due, MIN(next_check_at) AS next_run_at", at).
		Group("update_type").Find(&found).Error
	if err != nil {
		return nil, fmt.Errorf("count sources of queues: %w", err)
	}
	byType := make(map[string]queueSource, len(found))
	for _, one := range found {
		byType[one.UpdateType] = one
	}
	return byType, nil
}

func (s *Store) queueWork(ctx context.Context) (map[string]map[models.TaskState]int, error) {
	var found []struct {
		UpdateType string
		State      models.TaskState
		N          int
	}
	err := s.with(ctx).Model(&models.Task{}).
		Joins("JOIN upstreams u ON u.id = tasks.subject_id").
		Where("tasks.kind = ? AND tasks.subject_kind = ? AND tasks.state IN ?", models.TaskCheck, models.SubjectUpstream, unfinished()).
		Select("u.update_type, tasks.state, COUNT(*) AS n").Group("u.update_type, tasks.state").Find(&found).Error
	if err != nil {
		return nil, fmt.Errorf("count checks of queues: %w", err)
	}
	work := map[string]map[models.TaskState]int{}
	for _, one := range found {
		if work[one.UpdateType] == nil {
			work[one.UpdateType] = map[models.TaskState]int{}
		}
		work[one.UpdateType][one.State] = one.N
	}
	return work, nil
}
