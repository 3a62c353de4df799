// Package upgrade moves a site from one platform to another, or from one content
// to another, so that whatever happens it serves the old version or the new one,
// never neither.
//
// The new version is prepared beside the old one, on a copy of the database; the
// switch is one rename of a link. Before it, every failure and every kill means:
// drop the copy, reopen the old. After it: go forward, or switch back while
// nobody could have written yet.
package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"hefring/models"
)

// Move is one upgrade with what it is about.
type Move struct {
	Upgrade models.Upgrade
	Steps   []models.UpgradeStep // the journal, in order
	Site    models.Site
	From    models.Platform
	To      models.Platform
	// Undoes is the upgrade that a rollback takes back; Backup is what a restore
	// brings back. nil for the other kinds.
	Undoes *models.Upgrade
	Backup *models.Backup
	// Keep records a backup of what a rollback or a restore left, so that its
	// database may be dropped one day. It prepares a row and calls write, which
	// makes the archive while the site is locked and gives the row with what is in
	// it. It is called in the last step, when writes are let through again, and
	// once more when that was cut short; an error leaves the database as it is.
	// nil: nothing is kept beside the database itself.
	Keep func(ctx context.Context, write func(b models.Backup) (models.Backup, error)) error `json:"-"`
}

// Journal is the durable record of an upgrade. Every method fails when another
// worker has taken the upgrade over.
type Journal interface {
	Save(ctx context.Context, u models.Upgrade) error
	SaveStep(ctx context.Context, s models.UpgradeStep) error
}

// Log receives what happens, for people.
type Log interface {
	Printf(level models.Level, format string, args ...any)
	Step(name string) // the lines that follow belong to this step
	Out() io.Writer
	Err() io.Writer
}

// Outcome is how an upgrade ended.
type Outcome struct {
	State   models.UpgradeState // succeeded recovered fatal cancelled; "" when it goes on elsewhere
	Upgrade models.Upgrade
	Err     error // what failed
}

// Step is one step with its undo. Both may be repeated after a kill at any
// point. Do gives one fact for the journal.
type Step struct {
	Name models.StepName
	Do   func(ctx context.Context) (string, error)
	Undo func(ctx context.Context) error // nil: nothing to undo
	// Needed tells whether the step applies; it is asked when its turn comes.
	// nil: always.
	Needed func() bool
}

// Plan is the steps of one upgrade and what the engine must know of the world.
type Plan struct {
	// Steps are in the order in which they are carried out. Every kind of move has
	// its own: what need not happen while writes are refused happens before. The
	// journal knows them by their names.
	Steps []Step
	// Switched looks at the disk: does the site serve the target by now?
	Switched func() (bool, error)
	// Return puts the site back onto the old platform after the switch, as long
	// as nobody can have written to the new one; otherwise it fails.
	Return func(ctx context.Context) error
	// Patience is how long putting back is tried again: a server may be starting, a
	// web server being mended, somebody may be making room on the disk.
	Patience time.Duration
	// Abandoned tells from a context's cause that the upgrade goes on elsewhere.
	Abandoned func(cause error) bool
	// Cancelled tells from a context's cause that a person stopped it.
	Cancelled func(cause error) bool
}

// undoTime bounds all undoing together; it goes on after a cancel.
const undoTime = 5 * time.Minute

// engine runs a plan and keeps the journal.
type engine struct {
	plan    Plan
	journal Journal
	log     Log
	upgrade *models.Upgrade
	lines   map[models.StepName]*models.UpgradeStep
	now     func() time.Time
}

// Run carries a plan out, from the start or from where a killed worker left it.
func Run(ctx context.Context, move *Move, plan Plan, journal Journal, log Log) Outcome {
	e := &engine{
		plan: plan, journal: journal, log: log, upgrade: &move.Upgrade,
		lines: map[models.StepName]*models.UpgradeStep{},
		now:   func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) },
	}
	for i := range move.Steps {
		e.lines[move.Steps[i].Name] = &move.Steps[i]
	}
	outcome := e.run(ctx)
	outcome.Upgrade = *e.upgrade
	return outcome
}

func (e *engine) run(ctx context.Context) Outcome {
	if !e.begun() {
		return e.forward(ctx, 0)
	}
	switched, err := e.plan.Switched()
	if err != nil {
		return e.fatal(fmt.Errorf("look where the site is after its worker was lost: %w", err))
	}
	if !switched && !e.upgrade.Switched {
		e.log.Printf(models.LevelWarn, "The worker was lost before the switch. Putting everything back.")
		return e.recover(ctx, e.lastBegun(), errors.New("the worker that ran this upgrade was lost before the switch"))
	}
	e.log.Printf(models.LevelWarn, "The worker was lost after the switch. Going on.")
	if err := e.markSwitched(ctx); err != nil {
		return e.abandoned(err)
	}
	return e.forward(ctx, e.index(models.StepSwitch)+1)
}

// begun tells whether a worker was here before.
func (e *engine) begun() bool { return e.lastBegun() >= 0 }

func (e *engine) lastBegun() int {
	last := -1
	for i, s := range e.plan.Steps {
		if state := e.lines[s.Name].State; state != models.StepPending && state != models.StepSkipped {
			last = i
		}
	}
	return last
}

func (e *engine) index(name models.StepName) int {
	for i, s := range e.plan.Steps {
		if s.Name == name {
			return i
		}
	}
	return len(e.plan.Steps)
}

// forward runs the steps from the given one on. A step that is done is done.
func (e *engine) forward(ctx context.Context, from int) Outcome {
	for i := from; i < len(e.plan.Steps); i++ {
		s := e.plan.Steps[i]
		if e.lines[s.Name].State == models.StepDone {
			continue
		}
		if s.Needed != nil && !s.Needed() {
			if err := e.mark(ctx, s.Name, models.StepSkipped, ""); err != nil {
				return e.abandoned(err)
			}
			continue
		}
		if err := e.do(ctx, s); err != nil {
			return e.failed(ctx, i, err)
		}
	}
	return Outcome{State: models.UpgradeSucceeded}
}

// journalError is a failure to write the journal: nothing more may be done here.
type journalError struct{ error }

func (e journalError) Unwrap() error { return e.error }

func (e *engine) do(ctx context.Context, s Step) error {
	if e.upgrade.Switched {
		ctx = context.WithoutCancel(ctx) // after the switch only forward
	}
	e.log.Step(string(s.Name))
	if err := e.mark(ctx, s.Name, models.StepRunning, ""); err != nil {
		return journalError{err}
	}
	var fact string
	work := func(ctx context.Context) (err error) { fact, err = s.Do(ctx); return err }
	if s.Name == models.StepRetire { // nothing waits for it, and what it leaves somebody must tidy up
		once := work
		work = func(ctx context.Context) error { return e.patiently(ctx, "Tidying up", once) }
	}
	if err := work(ctx); err != nil {
		return err
	}
	if s.Name == models.StepSwitch {
		if err := e.markSwitched(ctx); err != nil {
			return journalError{err}
		}
	}
	if err := e.mark(ctx, s.Name, models.StepDone, fact); err != nil {
		return journalError{err}
	}
	return nil
}

func (e *engine) markSwitched(ctx context.Context) error {
	e.upgrade.Switched = true
	if err := e.journal.Save(context.WithoutCancel(ctx), *e.upgrade); err != nil {
		return err
	}
	if e.lines[models.StepSwitch].State == models.StepDone {
		return nil
	}
	return e.mark(context.WithoutCancel(ctx), models.StepSwitch, models.StepDone, "")
}

// failed decides what a failing step means.
func (e *engine) failed(ctx context.Context, at int, cause error) Outcome {
	var broken journalError
	if errors.As(cause, &broken) || e.plan.Abandoned(context.Cause(ctx)) {
		return e.abandoned(cause)
	}
	name := e.plan.Steps[at].Name
	e.log.Printf(models.LevelError, "Step %s: %s", name, explain(cause)) // which says that it failed
	lasting := context.WithoutCancel(ctx)
	tidying := name == models.StepRetire // it serves the new version; nothing is wrong with that
	if !tidying {
		// The reason comes before the mark: a worker that takes over should know it.
		e.upgrade.FailedStep, e.upgrade.Reason = name, explain(cause)
		if err := e.journal.Save(lasting, *e.upgrade); err != nil {
			return e.abandoned(err)
		}
	}
	if err := e.mark(lasting, name, models.StepFailed, firstLine(explain(cause))); err != nil {
		return e.abandoned(err)
	}
	if tidying {
		return Outcome{State: models.UpgradeSucceeded, Err: cause}
	}
	if e.upgrade.Switched && at > e.index(models.StepConfirm) {
		return e.fatal(fmt.Errorf("%s: %w", name, cause))
	}
	return e.recover(ctx, at, cause)
}

// recover undoes the steps from the given one back to the first.
func (e *engine) recover(ctx context.Context, from int, cause error) Outcome {
	cancelled := ctx.Err() != nil && e.plan.Cancelled(context.Cause(ctx))
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer stop()
	if e.upgrade.Reason == "" {
		e.upgrade.Reason = explain(cause)
	}
	if from >= e.index(models.StepSwitch) {
		e.log.Printf(models.LevelInfo, "Switching back")
		if err := e.patiently(ctx, "Switching back", e.plan.Return); err != nil {
			e.notSwitched(ctx)
			return e.fatal(fmt.Errorf("switch back: %w", err))
		}
		e.upgrade.Switched = false
		if err := e.journal.Save(ctx, *e.upgrade); err != nil {
			return e.abandoned(err)
		}
	}
	if err := e.undo(ctx, from); err != nil {
		return e.fatal(err)
	}
	state := models.UpgradeRecovered
	if cancelled {
		state = models.UpgradeCancelled
	}
	return Outcome{State: state, Err: cause}
}

// patiently repeats what puts something back until it succeeds. What a person was
// told to decide is not repeated.
func (e *engine) patiently(ctx context.Context, what string, do func(context.Context) error) error {
	begin := e.now()
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := do(ctx)
		if err == nil || models.CodeOf(err) == models.Conflict || e.now().Sub(begin) > e.plan.Patience {
			return err
		}
		e.log.Printf(models.LevelWarn, "%s failed and is tried again: %s", what, explain(err))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// notSwitched notes that the site points to what it served before, although it is
// not known to be well there.
func (e *engine) notSwitched(ctx context.Context) {
	if switched, err := e.plan.Switched(); err != nil || switched {
		return
	}
	e.upgrade.Switched = false
	if err := e.journal.Save(ctx, *e.upgrade); err != nil {
		e.log.Printf(models.LevelError, "The journal could not be written: %s", explain(err))
	}
}

// undo runs the undo of every begun step, newest first. It goes on after a
// failure, so that as much as possible is put back.
func (e *engine) undo(ctx context.Context, from int) error {
	var failures []error
	for i := min(from, len(e.plan.Steps)-1); i >= 0; i-- {
		s := e.plan.Steps[i]
		line := e.lines[s.Name]
		if line.State == models.StepPending || line.State == models.StepSkipped || line.UndoneAt != nil || s.Undo == nil {
			continue
		}
		e.log.Step(string(s.Name))
		if err := e.patiently(ctx, "Undoing "+string(s.Name), s.Undo); err != nil {
			e.log.Printf(models.LevelError, "Undoing %s failed: %s", s.Name, explain(err))
			failures = append(failures, fmt.Errorf("undo %s: %w", s.Name, err))
			continue
		}
		e.log.Printf(models.LevelInfo, "Undone: %s", s.Name)
		now := e.now()
		line.UndoneAt = &now
		if line.State != models.StepFailed {
			line.State = models.StepUndone
		}
		if err := e.journal.SaveStep(ctx, *line); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

func (e *engine) mark(ctx context.Context, name models.StepName, state models.StepState, fact string) error {
	line, now := e.lines[name], e.now()
	line.State = state
	if fact != "" {
		line.Message = fact
	}
	switch state {
	case models.StepRunning:
		line.StartedAt, line.EndedAt = &now, nil
	case models.StepDone, models.StepFailed:
		line.EndedAt = &now
	default:
	}
	return e.journal.SaveStep(context.WithoutCancel(ctx), *line)
}

func (e *engine) abandoned(err error) Outcome { return Outcome{Err: err} }

func (e *engine) fatal(err error) Outcome {
	e.log.Printf(models.LevelError, "A person must look: %s", explain(err))
	if e.upgrade.Reason == "" {
		e.upgrade.Reason = explain(err)
	}
	return Outcome{State: models.UpgradeFatal, Err: err}
}

// explain gives the words for people when there are some, and else the error's
// own: whoever upgrades a site may read what went wrong on it.
func explain(err error) string {
	if e, ok := errors.AsType[*models.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

func firstLine(text string) string {
	for i, r := range text {
		if r == '\n' || i > 200 {
			return text[:i]
		}
	}
	return text
}
