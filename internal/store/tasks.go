package store

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"hefring/internal/fleet"
	"hefring/models"
)

// queueActor is the actor of tasks that a queue's clock asked for.
const queueActor = "queue"

func unfinished() []models.TaskState {
	return []models.TaskState{models.TaskQueued, models.TaskRunning}
}

// CreateTask stores a task and hands it to the queue in the same transaction.
// Conflict: the subject has a queued or running task already.
func (s *Store) CreateTask(ctx context.Context, t *models.Task) error {
	if s.enqueuer == nil {
		return errors.New("create task: the store has no queue to hand it to")
	}
	t.State, t.Attempt = models.TaskQueued, 0
	return s.atomic(ctx, func(tx *Store) error {
		if err := tx.route(ctx, t); err != nil {
			return err
		}
		if err := create(ctx, tx, "task", t, "Another task works on this already. Wait until it has ended, or cancel it."); err != nil {
			return err
		}
		if err := tx.enqueuer.Enqueue(ctx, tx.native, *t); err != nil {
			return fmt.Errorf("enqueue task %d: %w", t.ID, err)
		}
		return tx.taskEvent(ctx, t.Actor, string(t.Kind), *t, t.Title)
	})
}

// taskEvent records what happens to a task, but not each quiet look at a
// source for a queue or a webhook, which are in the list of checks, not each cron,
// and no questions.
func (s *Store) taskEvent(ctx context.Context, by, verb string, t models.Task, text string) error {
	if t.Kind.Question() { // what comes of it is recorded by whoever asked
		return nil
	}
	if t.Kind == models.TaskCron && by == queueActor || t.Kind == models.TaskCheck && (by == queueActor || by == fleet.ActorWebhook) {
		return nil
	}
	return s.event(ctx, by, verb, t.Subject, text)
}

// Task loads one.
func (s *Store) Task(ctx context.Context, id int64) (models.Task, error) {
	return get[models.Task](ctx, s, "task", id)
}

// TasksAmong loads the tasks with these ids.
func (s *Store) TasksAmong(ctx context.Context, ids []int64) ([]models.Task, error) {
	var list []models.Task
	if err := s.with(ctx).Where("id IN ?", ids).Find(&list).Error; err != nil {
		return nil, fmt.Errorf("load tasks: %w", err)
	}
	return list, nil
}

// RunningTask finds the subject's queued or running task.
func (s *Store) RunningTask(ctx context.Context, subject models.Subject) (models.Task, error) {
	query := s.with(ctx).Where("subject_kind = ? AND subject_id = ? AND state IN ?", subject.Kind, subject.ID, unfinished())
	return first[models.Task](query, "running task for "+string(subject.Kind), subject.ID)
}

// Children lists the tasks under a parent, oldest first.
func (s *Store) Children(ctx context.Context, parentID int64) ([]models.Task, error) {
	var list []models.Task
	if err := s.with(ctx).Where("parent_id = ?", parentID).Order("id").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list children of task %d: %w", parentID, err)
	}
	return list, nil
}

// TakeTask is TakeTaskOf for the control plane's own tasks.
func (s *Store) TakeTask(ctx context.Context, id int64) (models.Task, error) {
	return s.TakeTaskOf(ctx, id, 0)
}

// TakeTaskOf moves a queued or running task of a server (0 is the control plane's
// host) to running under a new attempt, which takes it away from whoever had it.
// Conflict: it has ended, or it is another server's: whatever stands in a queue, a
// task is done on its own server only.
func (s *Store) TakeTaskOf(ctx context.Context, id, server int64) (models.Task, error) {
	var taken models.Task
	err := s.atomic(ctx, func(tx *Store) error {
		at := now()
		done := tx.with(ctx).Model(&models.Task{}).Where("id = ? AND state IN ?", id, unfinished()).Where(on("server_id", server)).Updates(map[string]any{
			"state": models.TaskRunning, "attempt": gorm.Expr("attempt + 1"), "started_at": gorm.Expr("COALESCE(started_at, ?)", at),
		})
		if done.Error != nil {
			return fmt.Errorf("take task %d: %w", id, done.Error)
		}
		var err error
		if taken, err = tx.Task(ctx, id); err != nil {
			return err
		}
		if done.RowsAffected == 0 && !taken.State.Over() {
			return models.Errorf(models.Conflict, "The task %q is another server's.", taken.Title)
		}
		if done.RowsAffected == 0 {
			return models.Errorf(models.Conflict, "The task %q has ended already: it %s.", taken.Title, ended(taken.State))
		}
		return tx.wake(ctx, id)
	})
	return taken, err
}

func ended(state models.TaskState) string {
	switch state {
	case models.TaskSucceeded:
		return "succeeded"
	case models.TaskWarning:
		return "ended with a warning"
	case models.TaskRecovered:
		return "failed and put everything back"
	case models.TaskFailed:
		return "failed"
	case models.TaskCancelled:
		return "was cancelled"
	case models.TaskQueued, models.TaskRunning:
	}
	return "is " + string(state)
}

// FinishTask ends a running task if t.Attempt is still the current one.
func (s *Store) FinishTask(ctx context.Context, t models.Task, to models.TaskState, message string) error {
	if !to.Over() {
		return models.Errorf(models.Conflict, "The task %q cannot end as %s.", t.Title, to)
	}
	return s.atomic(ctx, func(tx *Store) error {
		done := tx.with(ctx).Model(&models.Task{}).
			Where("id = ? AND state = ? AND attempt = ?", t.ID, models.TaskRunning, t.Attempt).
			Updates(map[string]any{"state": to, "message": message, "ended_at": now()})
		if done.Error != nil {
			return fmt.Errorf("finish task %d: %w", t.ID, done.Error)
		}
		if done.RowsAffected == 0 {
			return tx.notHeld(ctx, t)
		}
		by := tx.throughDoor(models.Entrance{Door: models.DoorTask})
		if err := by.taskEvent(ctx, t.Actor, string(t.Kind)+" "+string(to), t, message); err != nil {
			return err
		}
		if t.ParentID != nil { // its page shows the children
			if err := tx.wake(ctx, *t.ParentID); err != nil {
				return err
			}
		}
		return tx.wake(ctx, t.ID)
	})
}

// HoldsTask answers Conflict when another worker took the task over or it has
// ended. Inside a transaction nobody can take it over before the end of that.
func (s *Store) HoldsTask(ctx context.Context, t models.Task) error {
	// Writing what is there already locks the row.
	done := s.with(ctx).Model(&models.Task{}).
		Where("id = ? AND state = ? AND attempt = ?", t.ID, models.TaskRunning, t.Attempt).UpdateColumn("attempt", t.Attempt)
	if done.Error != nil {
		return fmt.Errorf("hold task %d: %w", t.ID, done.Error)
	}
	if done.RowsAffected == 0 {
		return s.notHeld(ctx, t)
	}
	return nil
}

// SaveTaskArgs stores what a task must remember between calls, if its attempt
// is still the current one.
func (s *Store) SaveTaskArgs(ctx context.Context, t models.Task) error {
	done := s.with(ctx).Model(&models.Task{}).
		Where("id = ? AND state = ? AND attempt = ?", t.ID, models.TaskRunning, t.Attempt).Select("args").Updates(t)
	if done.Error != nil {
		return fmt.Errorf("save arguments of task %d: %w", t.ID, done.Error)
	}
	if done.RowsAffected == 0 {
		return s.notHeld(ctx, t)
	}
	return nil
}

// SaveTaskResult stores what a task found, if its attempt is still the current
// one.
func (s *Store) SaveTaskResult(ctx context.Context, t models.Task) error {
	done := s.with(ctx).Model(&models.Task{}).
		Where("id = ? AND state = ? AND attempt = ?", t.ID, models.TaskRunning, t.Attempt).UpdateColumn("result", t.Result)
	if done.Error != nil {
		return fmt.Errorf("save result of task %d: %w", t.ID, done.Error)
	}
	if done.RowsAffected == 0 {
		return s.notHeld(ctx, t)
	}
	return nil
}

// notHeld says why t is not its worker's any more.
func (s *Store) notHeld(ctx context.Context, t models.Task) error {
	current, err := s.Task(ctx, t.ID)
	if err != nil {
		return err
	}
	if current.State.Over() {
		return models.Errorf(models.Conflict, "The task %q has ended already: it %s.", current.Title, ended(current.State))
	}
	return models.Errorf(models.Conflict,
		"Another worker took the task %q over (attempt %d, not %d). This one stops.", current.Title, current.Attempt, t.Attempt)
}

// CancelTask ends a queued task and marks a running one, whose worker then
// stops. Conflict: it has ended.
func (s *Store) CancelTask(ctx context.Context, by string, id int64) error {
	return s.atomic(ctx, func(tx *Store) error {
		ended, err := tx.cancelIn(ctx, id, models.TaskQueued, map[string]any{
			"state": models.TaskCancelled, "cancel": true, "ended_at": now(), "message": "Cancelled by " + by + " before it began.",
		})
		if err != nil {
			return err
		}
		marked := false
		if !ended {
			if marked, err = tx.cancelIn(ctx, id, models.TaskRunning, map[string]any{"cancel": true}); err != nil {
				return err
			}
		}
		t, err := tx.Task(ctx, id)
		if err != nil {
			return err
		}
		if !ended && !marked {
			return tx.notHeld(ctx, t)
		}
		if err := tx.event(ctx, by, string(t.Kind)+" cancel", t.Subject, t.Title); err != nil {
			return err
		}
		return tx.wake(ctx, id)
	})
}

func (s *Store) cancelIn(ctx context.Context, id int64, state models.TaskState, set map[string]any) (bool, error) {
	done := s.with(ctx).Model(&models.Task{}).Where("id = ? AND state = ?", id, state).Updates(set)
	if done.Error != nil {
		return false, fmt.Errorf("cancel task %d: %w", id, done.Error)
	}
	return done.RowsAffected == 1, nil
}

// RunningChecks counts the queued and running checks of upstreams of a type.
func (s *Store) RunningChecks(ctx context.Context, updateType string) (int, error) {
	var n int64
	err := s.with(ctx).Model(&models.Task{}).
		Joins("JOIN upstreams u ON u.id = tasks.subject_id AND u.update_type = ?", updateType).
		Where("tasks.kind = ? AND tasks.subject_kind = ? AND tasks.state IN ?", models.TaskCheck, models.SubjectUpstream, unfinished()).
		Count(&n).Error
	if err != nil {
		return 0, fmt.Errorf("count running checks: %w", err)
	}
	return int(n), nil
}
