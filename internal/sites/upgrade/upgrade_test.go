package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"hefring/models"
)

var (
	errKilled    = errors.New("killed")
	errCancelled = errors.New("cancelled by a person")
	errTaken     = errors.New("taken over")
)

// world is a site that steps change, with the same rules as a real one.
type world struct {
	current   string // old or new
	closed    bool   // writes are refused
	copied    bool
	deployed  bool
	retired   bool
	openedNew bool // writes reached the new version

	order  []models.StepName // of the steps; nil: that of models.StepsOf
	failAt models.StepName   // Do of this step fails
	killAt string            // "do updatedb", "did updatedb", "undo copy", "save", … panics with errKilled
	calls  []string
}

func (w *world) at(place string) {
	w.calls = append(w.calls, place)
	if place == w.killAt {
		w.killAt = "" // it strikes once
		panic(errKilled)
	}
}

func (w *world) step(name models.StepName, do func(), undo func()) Step {
	s := Step{Name: name, Do: func(context.Context) (string, error) {
		w.at("do " + string(name))
		if w.failAt == name {
			return "", fmt.Errorf("%s went wrong", name)
		}
		do()
		w.at("did " + string(name))
		return "", nil
	}}
	if undo != nil {
		s.Undo = func(context.Context) error {
			w.at("undo " + string(name))
			undo()
			w.at("undid " + string(name))
			return nil
		}
	}
	return s
}

func (w *world) plan() Plan {
	nothing := func() {}
	plan := Plan{
		Steps: []Step{
			w.step(models.StepPreflight, nothing, nil),
			w.step(models.StepReadOnly, func() { w.closed = true }, func() { w.closed = false }),
			w.step(models.StepCopy, func() { w.copied = true }, func() { w.copied = false }),
			w.step(models.StepDeploy, func() { w.deployed = true }, func() { w.deployed = false }),
			w.step(models.StepUpdate, nothing, nil),
			w.step(models.StepRebuild, nothing, nil),
			w.step(models.StepProbe, nothing, nil),
			w.step(models.StepSwitch, func() { w.current = "new" }, nil),
			w.step(models.StepConfirm, nothing, nil),
			w.step(models.StepReopen, func() { w.closed = false; w.openedNew = true }, nil),
			w.step(models.StepRetire, func() { w.retired = true }, nil),
		},
		Switched: func() (bool, error) { return w.current == "new", nil },
		Return: func(context.Context) error {
			w.at("return")
			if w.openedNew {
				return errors.New("somebody may have written to the new version")
			}
			w.current = "old"
			w.at("returned")
			return nil
		},
		Abandoned: func(cause error) bool { return errors.Is(cause, errTaken) },
		Cancelled: func(cause error) bool { return errors.Is(cause, errCancelled) },
	}
	if w.order != nil {
		slices.SortFunc(plan.Steps, func(a, b Step) int { return slices.Index(w.order, a.Name) - slices.Index(w.order, b.Name) })
	}
	return plan
}

// orders are those of the kinds of moves: all as in models.StepsOf, a copy that is
// deployed first, and content that is prepared before writes are refused.
func orders() map[string][]models.StepName {
	end := models.StepsOf(models.KindUpgrade, models.ModeUnknown)[7:]
	return map[string][]models.StepName{
		"as listed": models.StepsOf(models.KindUpgrade, models.ModeUnknown),
		"copying": append([]models.StepName{
			models.StepPreflight, models.StepDeploy, models.StepReadOnly, models.StepCopy,
			models.StepUpdate, models.StepRebuild, models.StepProbe,
		}, end...),
		"preparing": append([]models.StepName{
			models.StepPreflight, models.StepCopy, models.StepDeploy, models.StepUpdate,
			models.StepRebuild, models.StepProbe, models.StepReadOnly,
		}, end...),
	}
}

// book is a journal in memory.
type book struct {
	w       *world
	upgrade models.Upgrade
	steps   []models.UpgradeStep
	saves   int
	killAt  int // the nth write kills before it is stored
	lost    bool
}

func newBook(w *world) *book {
	b := &book{w: w, killAt: -1}
	for i, name := range models.StepsOf(models.KindUpgrade, models.ModeUnknown) {
		b.steps = append(b.steps, models.UpgradeStep{ID: int64(i + 1), Name: name, State: models.StepPending})
	}
	return b
}

func (b *book) write() error {
	if b.lost {
		return errTaken
	}
	b.saves++
	if b.saves == b.killAt {
		panic(errKilled)
	}
	return nil
}

func (b *book) Save(_ context.Context, u models.Upgrade) error {
	if err := b.write(); err != nil {
		return err
	}
	b.upgrade = u
	return nil
}

func (b *book) SaveStep(_ context.Context, s models.UpgradeStep) error {
	if err := b.write(); err != nil {
		return err
	}
	b.steps[s.ID-1] = s
	return nil
}

type quiet struct{}

func (quiet) Printf(models.Level, string, ...any) {}
func (quiet) Step(string)                         {}
func (quiet) Out() io.Writer                      { return io.Discard }
func (quiet) Err() io.Writer                      { return io.Discard }

// try runs one worker's attempt; it tells whether the worker was killed.
func try(ctx context.Context, b *book) (outcome Outcome, killed bool) {
	defer func() {
		if r := recover(); r != nil {
			if r != any(errKilled) {
				panic(r)
			}
			killed = true
		}
	}()
	move := Move{Upgrade: b.upgrade, Steps: slices.Clone(b.steps)}
	return Run(ctx, &move, b.w.plan(), b, quiet{}), false
}

// finish lets workers take over until one ends it.
func finish(t *testing.T, b *book) Outcome {
	t.Helper()
	for range 10 {
		outcome, killed := try(t.Context(), b)
		if !killed {
			return outcome
		}
	}
	t.Fatal("it never ended")
	return Outcome{}
}

// whole fails the test unless the site is entirely old or entirely new.
func whole(t *testing.T, w *world, o Outcome) {
	t.Helper()
	if w.closed {
		t.Errorf("writes stay refused after %s", o.State)
	}
	switch o.State {
	case models.UpgradeSucceeded:
		if w.current != "new" || !w.retired {
			t.Errorf("succeeded, yet %+v", w)
		}
	case models.UpgradeRecovered, models.UpgradeCancelled:
		if w.current != "old" || w.copied || w.deployed {
			t.Errorf("%s, yet %+v", o.State, w)
		}
	default:
		t.Errorf("ended %q: %v", o.State, o.Err)
	}
}

func TestRun_Succeeds(t *testing.T) {
	w := &world{current: "old"}
	b := newBook(w)
	o := finish(t, b)
	whole(t, w, o)
	if o.State != models.UpgradeSucceeded {
		t.Fatalf("state %s", o.State)
	}
	for _, s := range b.steps {
		if s.State != models.StepDone || s.StartedAt == nil || s.EndedAt == nil {
			t.Errorf("journal line %+v", s)
		}
	}
}

func TestRun_FailingStep_Recovers(t *testing.T) {
	for _, name := range models.StepsOf(models.KindUpgrade, models.ModeUnknown) {
		t.Run(string(name), func(t *testing.T) {
			w := &world{current: "old", failAt: name}
			o := finish(t, newBook(w))
			switch name {
			case models.StepRetire: // it serves the new version; only tidying is left
				if o.State != models.UpgradeSucceeded || o.Err == nil || w.current != "new" {
					t.Fatalf("%s: %+v", o.State, w)
				}
			case models.StepReopen: // the new version was confirmed but takes no writes
				if o.State != models.UpgradeFatal {
					t.Fatalf("state %s", o.State)
				}
			default:
				whole(t, w, o)
				if o.State != models.UpgradeRecovered || o.Upgrade.FailedStep != name || o.Upgrade.Reason == "" {
					t.Fatalf("%s at %s: %s", o.State, o.Upgrade.FailedStep, o.Upgrade.Reason)
				}
			}
		})
	}
}

// Killed before, inside and after every step, and at every write of the journal,
// with every later step failing or not: the site ends whole.
func TestRun_KilledAnywhere_EndsWhole(t *testing.T) {
	for name, order := range orders() {
		t.Run(name, func(t *testing.T) {
			begin := func(failAt models.StepName, killAt string) *world {
				return &world{current: "old", order: order, failAt: failAt, killAt: killAt}
			}
			reference := begin("", "")
			book := newBook(reference)
			finish(t, book)
			places, writes := reference.calls, book.saves
			for _, failAt := range append([]models.StepName{""}, models.StepsOf(models.KindUpgrade, models.ModeUnknown)[:9]...) {
				failing := begin(failAt, "")
				failingBook := newBook(failing)
				finish(t, failingBook)
				for _, place := range slices.Concat(places, failing.calls) {
					w := begin(failAt, place)
					whole(t, w, finish(t, newBook(w)))
					if t.Failed() {
						t.Fatalf("failing at %q, killed at %q", failAt, place)
					}
				}
				for n := 1; n <= max(writes, failingBook.saves); n++ {
					w := begin(failAt, "")
					b := newBook(w)
					b.killAt = n
					whole(t, w, finish(t, b))
					if t.Failed() {
						t.Fatalf("failing at %q, killed at write %d", failAt, n)
					}
				}
			}
		})
	}
}

func TestRun_CancelledBeforeSwitch_PutsBack(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	w := &world{current: "old"}
	b := newBook(w)
	move := Move{Steps: slices.Clone(b.steps)}
	plan := w.plan()
	plan.Steps[4].Do = func(ctx context.Context) (string, error) {
		cancel(errCancelled)
		return "", ctx.Err()
	}
	o := Run(ctx, &move, plan, b, quiet{})
	whole(t, w, o)
	if o.State != models.UpgradeCancelled {
		t.Fatalf("state %s", o.State)
	}
}

func TestRun_CancelledAfterSwitch_GoesForward(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	w := &world{current: "old"}
	b := newBook(w)
	move := Move{Steps: slices.Clone(b.steps)}
	plan := w.plan()
	plan.Steps[8].Do = func(ctx context.Context) (string, error) {
		cancel(errCancelled)
		return "", ctx.Err()
	}
	o := Run(ctx, &move, plan, b, quiet{})
	whole(t, w, o)
	if o.State != models.UpgradeSucceeded {
		t.Fatalf("state %s", o.State)
	}
}

func TestRun_TakenOver_TouchesNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	w := &world{current: "old"}
	b := newBook(w)
	move := Move{Steps: slices.Clone(b.steps)}
	plan := w.plan()
	plan.Steps[4].Do = func(ctx context.Context) (string, error) {
		cancel(errTaken)
		b.lost = true
		return "", ctx.Err()
	}
	o := Run(ctx, &move, plan, b, quiet{})
	if o.State != "" || !w.copied || !w.deployed || !w.closed {
		t.Fatalf("it acted on a site that is another worker's: %q %+v", o.State, w)
	}
}

func TestRun_ReturnImpossible_IsFatal(t *testing.T) {
	w := &world{current: "old", failAt: models.StepConfirm, openedNew: true}
	if o := finish(t, newBook(w)); o.State != models.UpgradeFatal || w.current != "new" {
		t.Fatalf("%s: %+v", o.State, w)
	}
}
