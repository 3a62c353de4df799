package fleet

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"hefring/models"
	"hefring/plugins"
)

// RunCheck is the task that looks at a distribution's source. When the source
// holds something that was not built yet, a platform is queued.
func (f *Fleet) RunCheck(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	d, err := f.store.Distribution(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	check := models.Check{
		DistributionID: d.ID, TaskID: &t.ID, Trigger: models.Trigger(t.Args["trigger"]),
		OldRevision: d.Observed, Times: 1, StartedAt: f.cfg.Now(),
	}
	version, err := f.look(ctx, d, log)
	check.EndedAt = f.cfg.Now()
	check.Took = check.EndedAt.Sub(check.StartedAt)
	if err != nil {
		return f.checkFailed(ctx, t, d, check, log, err)
	}
	check.NewRevision = version.Revision
	return f.checked(ctx, t, d, check, version, log)
}

func (f *Fleet) look(ctx context.Context, d models.Distribution, log Log) (plugins.Version, error) {
	source, err := f.open(d)
	if err != nil {
		return plugins.Version{}, err
	}
	env, done, err := f.env(log.Out())
	if err != nil {
		return plugins.Version{}, err
	}
	defer done()
	return source.Check(ctx, env, plugins.Version{Revision: d.Observed})
}

func (f *Fleet) checkFailed(ctx context.Context, t models.Task, d models.Distribution, check models.Check, log Log, cause error) (string, models.TaskState, error) {
	if ctx.Err() != nil {
		return "", "", context.Cause(ctx) // stopped or cancelled: it says nothing about the source
	}
	check.Outcome, check.NewRevision, check.Message = models.CheckFailed, d.Observed, models.Explain(cause)
	if err := f.recordCheck(ctx, t, &check, models.ConditionFailing, check.Message); err != nil {
		return "", "", errors.Join(cause, err)
	}
	log.Printf(models.LevelError, "%s", check.Message)
	return "", "", cause
}

// recordCheck stores what a check found, as long as its task is ours.
func (f *Fleet) recordCheck(ctx context.Context, t models.Task, check *models.Check, condition models.Condition, reason string) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		return tx.RecordCheck(ctx, check, condition, reason)
	})
}

// checked decides what a look at the source leads to.
func (f *Fleet) checked(ctx context.Context, t models.Task, d models.Distribution, check models.Check, v plugins.Version, log Log) (string, models.TaskState, error) {
	log.Printf(models.LevelInfo, "The source holds %s", v.Revision)
	key := f.buildKey(d, v.Content)
	known, err := f.builtAs(ctx, d, key)
	if err != nil {
		return "", "", err
	}
	moved := check.NewRevision != check.OldRevision
	switch {
	case known == nil, known.State == models.PlatformFailed && moved:
		// What failed, or was replaced while it waited, gets a new chance when the
		// source comes back to it.
		return f.changed(ctx, t, d, check, v, key, log)
	case known.State == models.PlatformReady && !isTarget(d, *known) && moved:
		// The source went back to something that was built before.
		return f.wentBack(ctx, t, d, check, *known, log)
	}
	check.Outcome = models.CheckUnchanged
	condition, reason := models.ConditionCurrent, ""
	switch known.State {
	case models.PlatformFailed:
		condition, reason = models.ConditionFailing, known.Reason
	case models.PlatformQueued, models.PlatformBuilding:
		condition = models.ConditionChanged
	default:
	}
	if err := f.recordCheck(ctx, t, &check, condition, reason); err != nil {
		return "", "", err
	}
	return "Unchanged: " + v.Label, "", nil
}

// builtAs finds the newest platform that was made, or tried, with this key.
func (f *Fleet) builtAs(ctx context.Context, d models.Distribution, key string) (*models.Platform, error) {
	list, err := f.store.PlatformsOf(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if p.BuildKey == key {
			return &p, nil
		}
	}
	return nil, nil
}

func isTarget(d models.Distribution, p models.Platform) bool {
	return d.TargetID != nil && *d.TargetID == p.ID
}

func (f *Fleet) changed(ctx context.Context, t models.Task, d models.Distribution, check models.Check, v plugins.Version, key string, log Log) (string, models.TaskState, error) {
	check.Outcome, check.Message = models.CheckChanged, v.Note
	p := models.Platform{
		DistributionID: d.ID, Server: LocalServer, State: models.PlatformQueued,
		Revision: v.Revision, Content: v.Content, BuildKey: key, Label: v.Label, Note: v.Note,
		Provenance: d.Settings,
	}
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		if err := tx.RecordCheck(ctx, &check, models.ConditionChanged, ""); err != nil {
			return err
		}
		if err := f.replaceQueued(ctx, tx, d); err != nil {
			return err
		}
		return f.queueBuild(ctx, tx, ActorQueue, d, &p)
	})
	if err != nil {
		return "", "", fmt.Errorf("queue platform: %w", err)
	}
	log.Printf(models.LevelInfo, "Platform %s is queued", p.Name)
	return "Changed: " + v.Label + " is being built", "", nil
}

// replaceQueued drops platforms that wait to be built: a newer revision takes
// their place.
func (f *Fleet) replaceQueued(ctx context.Context, tx Tx, d models.Distribution) error {
	list, err := tx.PlatformsOf(ctx, d.ID)
	if err != nil {
		return err
	}
	for _, p := range list {
		if p.State != models.PlatformQueued {
			continue
		}
		waiting, err := tx.RunningTask(ctx, platformSubject(p.ID))
		if err == nil {
			err = tx.CancelTask(ctx, ActorQueue, waiting.ID)
		}
		if err != nil && models.CodeOf(err) != models.NotFound {
			return err
		}
		if err := tx.MovePlatform(ctx, ActorQueue, p, models.PlatformFailed, "A newer revision took its place before it was built."); err != nil {
			return err
		}
	}
	return nil
}

// queueBuild names a platform, stores it and hands it to the builders.
func (f *Fleet) queueBuild(ctx context.Context, tx Tx, by string, d models.Distribution, p *models.Platform) error {
	siblings, err := tx.PlatformsOf(ctx, d.ID)
	if err != nil {
		return err
	}
	if err := createNamed(ctx, tx, p, strings.TrimSuffix(d.Slug+"-"+models.Slugify(p.Label), "-"), siblings); err != nil {
		return err
	}
	return tx.CreateTask(ctx, buildTask(by, *p))
}

// createNamed stores a platform under the first name that is free: its siblings'
// names are known, and a stranger's are met.
func createNamed(ctx context.Context, tx Tx, p *models.Platform, base string, siblings []models.Platform) error {
	const strangers = 20
	taken := map[string]bool{}
	for _, sibling := range siblings {
		taken[sibling.Name] = true
	}
	p.Name = base
	for n := 2; ; n++ {
		if !taken[p.Name] {
			err := tx.CreatePlatform(ctx, p)
			if models.CodeOf(err) != models.Conflict || n > len(siblings)+strangers {
				return err
			}
		}
		p.Name = base + "-" + strconv.Itoa(n)
	}
}

func (f *Fleet) wentBack(ctx context.Context, t models.Task, d models.Distribution, check models.Check, p models.Platform, log Log) (string, models.TaskState, error) {
	check.Outcome = models.CheckChanged
	check.Message = "The source went back to what " + p.Name + " was built from."
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		if err := tx.RecordCheck(ctx, &check, models.ConditionCurrent, ""); err != nil {
			return err
		}
		return f.promote(ctx, tx, ActorQueue, d, p)
	})
	if err != nil {
		return "", "", fmt.Errorf("promote %s: %w", p.Name, err)
	}
	log.Printf(models.LevelInfo, "%s It is the upgrade target again.", check.Message)
	return check.Message, "", nil
}

// DispatchChecks queues a check for every distribution that is due. Any number
// of replicas may call it at once: a due time is claimed by one of them.
func (f *Fleet) DispatchChecks(ctx context.Context) error {
	queues, err := f.store.Queues(ctx)
	if err != nil {
		return fmt.Errorf("read queues: %w", err)
	}
	for _, q := range queues {
		if q.Paused {
			continue
		}
		if err := f.dispatch(ctx, q); err != nil {
			return fmt.Errorf("dispatch %s checks: %w", q.UpdateType, err)
		}
	}
	return nil
}

func (f *Fleet) dispatch(ctx context.Context, q models.Queue) error {
	running, err := f.store.RunningChecks(ctx, q.UpdateType)
	if err != nil || running >= q.AtOnce {
		return err
	}
	now := f.cfg.Now()
	due, err := f.store.DueDistributions(ctx, q.UpdateType, now, q.AtOnce-running)
	if err != nil || len(due) == 0 {
		return err
	}
	for _, d := range due {
		if err := f.claim(ctx, d, q); err != nil {
			return err
		}
	}
	return f.store.MarkQueueRun(ctx, q.UpdateType, now)
}

func (f *Fleet) claim(ctx context.Context, d models.Distribution, q models.Queue) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		claimed, err := tx.ClaimCheck(ctx, d, f.nextCheck(d, q))
		if err != nil || !claimed {
			return err
		}
		if _, err := tx.RunningTask(ctx, distributionSubject(d.ID)); models.CodeOf(err) != models.NotFound {
			return err // it is being looked at; the next turn comes
		}
		err = tx.CreateTask(ctx, checkTask(ActorQueue, d, models.TriggerQueue))
		if models.CodeOf(err) == models.Conflict { // somebody pressed the button in this very moment
			return nil
		}
		return err
	})
}

// RegisterPlatform makes a platform of a distribution that is kept by hand out
// of a folder on this machine. The folder is copied and left alone.
func (f *Fleet) RegisterPlatform(ctx context.Context, by string, id int64, folder, once string) (models.Platform, error) {
	d, err := f.store.Distribution(ctx, id)
	if err != nil {
		return models.Platform{}, err
	}
	source, err := f.open(d)
	if err != nil {
		return models.Platform{}, err
	}
	if _, byHand := source.(plugins.Registrar); !byHand {
		return models.Platform{}, models.Errorf(models.Invalid, "%s builds its platforms from its source. Use Check now.", d.Name)
	}
	if wrong := wrongFolder(folder); wrong != "" {
		return models.Platform{}, models.InvalidField("path", wrong)
	}
	p := models.Platform{
		DistributionID: d.ID, Server: LocalServer, State: models.PlatformQueued,
		Revision: "manual:" + folder, Label: path.Base(folder), Provenance: models.Settings{"path": folder},
	}
	var first int64
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := f.refuseTwin(ctx, tx, once, &first); err != nil {
			return err
		}
		if err := f.queueBuild(ctx, tx, by, d, &p); err != nil {
			return err
		}
		return useForm(ctx, tx, once, p.ID)
	})
	if errors.Is(err, errTwin) {
		return f.store.Platform(ctx, first)
	}
	return p, err
}

// wrongFolder says what is wrong with a folder's path, before anybody looks at
// the disk.
func wrongFolder(folder string) string {
	switch {
	case !strings.HasPrefix(folder, "/") || len(folder) > 4096:
		return "Use an absolute path, for example /srv/drupal/intranet."
	case path.Clean(folder) != folder || folder == "/":
		return "Write the path without .. and without a slash at the end, for example /srv/drupal/intranet."
	case strings.ContainsFunc(folder, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "The path holds control characters. Type it anew."
	}
	return ""
}
