package fleet

import (
	"time"

	"hefring/models"
)

// Observer is told how work ended, once that is recorded; it counts. It is called
// from many goroutines and must not block.
type Observer interface {
	// Checked is one distribution's part of a look at its source.
	Checked(updateType string, c models.Check)
	// Built is one platform: succeeded, failed or cancelled. took counts from when
	// a worker first took it up.
	Built(updateType string, end models.TaskState, took time.Duration)
	// Moved is one upgrade, rollback or restore of a site, in its last state.
	Moved(u models.Upgrade)
}

// nobody observes.
type nobody struct{}

func (nobody) Checked(string, models.Check)                  {}
func (nobody) Built(string, models.TaskState, time.Duration) {}
func (nobody) Moved(models.Upgrade)                          {}

func (f *Fleet) observer() Observer {
	if f.cfg.Observer == nil {
		return nobody{}
	}
	return f.cfg.Observer
}

// built tells the observer how a build ended.
func (f *Fleet) built(t models.Task, d models.Distribution, end models.TaskState) {
	var took time.Duration
	if t.StartedAt != nil {
		took = max(f.cfg.Now().Sub(*t.StartedAt), 0)
	}
	f.observer().Built(d.UpdateType, end, took)
}

// Figures is the state of the fleet as metrics tell it. Nothing in it names a
// site, a person or a place. What there is none of may be missing.
type Figures struct {
	Tasks         []TaskFigure   // that are queued or running
	Queues        []QueueFigure  // of update types
	Sites         map[string]int // by state, without deleted ones
	Platforms     map[string]int // by state, without deleted ones
	Distributions map[string]int // by condition
}

// TaskFigure counts the tasks of one kind in one state.
type TaskFigure struct {
	Kind   models.TaskKind
	State  models.TaskState
	Count  int
	Oldest time.Time // when the oldest of them was asked for
}

// QueueFigure is the queue of one update type.
type QueueFigure struct {
	UpdateType string
	Paused     bool
	Sources    int           // that are looked at by themselves
	Due        int           // of them, those that wait for their turn
	Lag        time.Duration // how long the one that waits longest has been due
}
