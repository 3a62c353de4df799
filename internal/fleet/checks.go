package fleet

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"hefring/internal/egress"
	"hefring/models"
	"hefring/plugins"
)

// RunCheck is the task that looks at an upstream, for every distribution that
// comes from it. When a source holds something that was not built yet, a platform
// is queued.
func (f *Fleet) RunCheck(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	u, err := f.store.Upstream(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	// Read after the upstream: who subscribes later moves its due time, and has
	// a check of their own.
	subscribers, err := f.store.Subscribers(ctx, u.ID)
	if err != nil {
		return "", "", err
	}
	round := &round{task: t, log: log, answers: &plugins.Answers{}}
	for _, d := range subscribers {
		source, err := f.open(d)
		round.looks = append(round.looks, look{distribution: d, source: source, err: noLongerRight(err)})
	}
	for i := range round.looks {
		one := &round.looks[i]
		err := f.checkOne(ctx, round, one)
		if err != nil {
			if _, gone := f.store.Distribution(ctx, one.distribution.ID); models.CodeOf(gone) == models.NotFound {
				one.message, one.err = models.Explain(gone), nil
				continue
			}
			return "", "", err
		}
		f.observer().Checked(one.distribution.UpdateType, one.check)
	}
	if err := f.settle(ctx, round, u); err != nil {
		return "", "", err
	}
	return round.result()
}

// noLongerRight explains settings that an earlier version of Hefring accepted.
func noLongerRight(err error) error {
	e, ok := errors.AsType[*models.Error](err)
	if !ok || len(e.Fields) == 0 {
		return err
	}
	return models.Wrapf(models.Invalid, err, "Its settings are no longer accepted: open the form, correct what is marked, and save.").Because(models.ReasonURL)
}

// round is one look at an upstream.
type round struct {
	task     models.Task
	log      Log
	answers  *plugins.Answers
	looks    []look
	upstream error // what is wrong with the upstream, found by one for all
}

// look is one distribution's part of a round.
type look struct {
	distribution models.Distribution
	source       plugins.Source
	check        models.Check
	message      string
	err          error
}

func (r *round) peers(of *look) []plugins.Source {
	var peers []plugins.Source
	for i := range r.looks {
		if one := &r.looks[i]; one != of && one.source != nil {
			peers = append(peers, one.source)
		}
	}
	return peers
}

func (r *round) changed() bool {
	return slices.ContainsFunc(r.looks, func(l look) bool { return l.check.Outcome == models.CheckChanged })
}

func (r *round) requests() int64 {
	var n int64
	for _, l := range r.looks {
		n += l.check.Requests
	}
	return n
}

// result tells the task's end: what each distribution's part came to.
func (r *round) result() (string, models.TaskState, error) {
	var failed []look
	for _, one := range r.looks {
		if one.err != nil {
			failed = append(failed, one)
		}
	}
	switch {
	case len(r.looks) == 0:
		return "No distribution comes from here any more", "", nil
	case len(r.looks) == 1:
		return r.looks[0].message, "", r.looks[0].err
	case len(failed) == len(r.looks):
		return "", "", failed[0].err
	}
	var parts []string
	for _, one := range r.looks {
		text := one.message
		if one.err != nil {
			text = models.Explain(one.err)
		}
		parts = append(parts, one.distribution.Name+": "+text)
	}
	state := models.TaskSucceeded
	if len(failed) > 0 {
		state = models.TaskWarning
	}
	return strings.Join(parts, "; "), state, nil
}

// checkOne looks at one distribution's source and records what it found. Its
// error is one of ours; what the source did wrong is in l.
func (f *Fleet) checkOne(ctx context.Context, r *round, l *look) error {
	d := l.distribution
	l.check = models.Check{
		DistributionID: d.ID, TaskID: &r.task.ID, Trigger: models.Trigger(r.task.Args["trigger"]),
		OldRevision: d.Observed, Times: 1, StartedAt: f.cfg.Now(),
	}
	state, err := f.store.SourceState(ctx, d.ID)
	if err != nil {
		return err
	}
	if len(r.looks) > 1 {
		r.log.Printf(models.LevelInfo, "%s:", d.Name)
	}
	last := decodeVersion(state.Accepted)
	version, err := f.look(ctx, r, l, last)
	l.check.EndedAt = f.cfg.Now()
	l.check.Took = l.check.EndedAt.Sub(l.check.StartedAt)
	if err != nil {
		return f.checkFailed(ctx, r, l, err)
	}
	l.check.NewRevision = version.Revision
	return f.checked(ctx, r, l, state, version)
}

// look asks the source, and what it thinks of versions that run.
func (f *Fleet) look(ctx context.Context, r *round, l *look, last plugins.Version) (plugins.Version, error) {
	if l.err != nil {
		return plugins.Version{}, l.err
	}
	if r.upstream != nil {
		return plugins.Version{}, r.upstream
	}
	env, done, err := f.env(r.log.Out())
	if err != nil {
		return plugins.Version{}, err
	}
	defer done()
	meter := new(egress.Meter)
	if env.Egress != nil {
		env.Egress = env.Egress.Metered(meter)
	}
	env.Answers, env.Peers = r.answers, r.peers(l)
	version, err := l.source.Check(ctx, env, last)
	if err == nil {
		f.assess(ctx, l, env, r.log)
	}
	l.check.Requests, l.check.Received = meter.Requests(), meter.Received()
	if err == nil {
		err = tooLong(version)
	}
	return version, err
}

// Limits of what an update type may have us keep, in bytes.
const (
	maxPlan = 1 << 20
	maxMemo = 64 << 10
)

func tooLong(v plugins.Version) error {
	if len(v.Plan) > maxPlan || len(v.Memo) > maxMemo {
		return models.Errorf(models.Invalid,
			"What must be remembered of this source is longer than Hefring keeps (%d KiB). Split it into smaller parts.", maxPlan>>10).
			Because(models.ReasonTooLarge)
	}
	return nil
}

// assess asks what is wrong with the platforms that sites may run on. That it
// cannot be told is no failure of the check.
func (f *Fleet) assess(ctx context.Context, l *look, env plugins.Env, log Log) {
	assessor, ok := l.source.(plugins.Assessor)
	if !ok {
		return
	}
	list, err := f.store.PlatformsOf(ctx, l.distribution.ID)
	if err != nil {
		return
	}
	var ready []models.Platform
	var versions []plugins.Version
	for _, p := range list {
		if p.State == models.PlatformReady {
			ready = append(ready, p)
			versions = append(versions, plugins.Version{Revision: p.Revision, Content: p.Content, Label: p.Label})
		}
	}
	if len(ready) == 0 {
		return
	}
	findings, err := assessor.Assess(ctx, env, versions)
	if err != nil || len(findings) != len(ready) {
		log.Printf(models.LevelWarn, "What is wrong with the running versions could not be asked: %s", models.Explain(err))
		return
	}
	for i, p := range ready {
		if slices.Equal(p.Standing, findings[i]) {
			continue
		}
		if err := f.store.SetStanding(ctx, p.ID, findings[i]); err != nil {
			log.Printf(models.LevelWarn, "What is wrong with %s could not be stored", p.Name)
		}
	}
}

func (f *Fleet) checkFailed(ctx context.Context, r *round, l *look, cause error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) // stopped or cancelled: it says nothing about the source
	}
	d := l.distribution
	l.err = cause
	l.check.Outcome, l.check.NewRevision = models.CheckFailed, d.Observed
	l.check.Reason, l.check.Message = models.ReasonOf(cause), models.Explain(cause)
	stands := always(models.ConditionFailing, l.check.Reason, l.check.Message)
	switch l.check.Reason {
	case models.ReasonRateLimited: // it says nothing about what the source holds
		l.check.Outcome, stands = models.CheckThrottled, asBefore
	case models.ReasonAddressBlocked:
		l.check.Outcome = models.CheckBlocked
	default:
	}
	if l.check.Reason.OfUpstream() {
		r.upstream = cause
	}
	if err := f.recordCheck(ctx, r.task, &l.check, nil, stands); err != nil {
		return errors.Join(cause, err)
	}
	r.log.Printf(models.LevelError, "%s", l.check.Message)
	return nil
}

// standing is how a distribution stands after a check. It is asked inside of the
// transaction that records the check, because a build may end meanwhile.
type standing func(ctx context.Context, tx Tx, d models.Distribution) (models.Condition, models.Reason, string, error)

func always(condition models.Condition, code models.Reason, reason string) standing {
	return func(context.Context, Tx, models.Distribution) (models.Condition, models.Reason, string, error) {
		return condition, code, reason, nil
	}
}

func asBefore(_ context.Context, _ Tx, d models.Distribution) (models.Condition, models.Reason, string, error) {
	return d.Condition, d.ReasonCode, d.Reason, nil
}

// asBuilt is how a distribution stands whose source holds what a platform was, or
// is being, made from.
func asBuilt(platformID int64) standing {
	return func(ctx context.Context, tx Tx, _ models.Distribution) (models.Condition, models.Reason, string, error) {
		p, err := tx.Platform(ctx, platformID)
		switch {
		case err != nil:
			return "", "", "", err
		case p.State == models.PlatformFailed:
			return models.ConditionFailing, models.ReasonBuild, p.Reason, nil
		case p.State == models.PlatformQueued, p.State == models.PlatformBuilding:
			return models.ConditionChanged, "", "", nil
		default:
			return models.ConditionCurrent, "", "", nil
		}
	}
}

// recordCheck stores what a check found, as long as its task is ours. state is
// what is to be remembered of the source; nil leaves that alone.
func (f *Fleet) recordCheck(ctx context.Context, t models.Task, check *models.Check, state *models.SourceState, stands standing) error {
	return f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		d, err := tx.LockDistribution(ctx, check.DistributionID)
		if err != nil {
			return err
		}
		condition, code, reason, err := stands(ctx, tx, d)
		if err != nil {
			return err
		}
		if state != nil {
			if err := tx.SaveSourceState(ctx, *state); err != nil {
				return err
			}
		}
		if err := tx.RecordCheck(ctx, check, condition, reason); err != nil || code == check.Reason {
			return err
		}
		return tx.SetCondition(ctx, d.ID, condition, code, reason)
	})
}

// checked decides what a look at the source leads to.
func (f *Fleet) checked(ctx context.Context, r *round, l *look, state models.SourceState, v plugins.Version) error {
	d := l.distribution
	r.log.Printf(models.LevelInfo, "The source holds %s", v.Revision)
	if v.Hold != nil {
		return f.held(ctx, r, l, state, v)
	}
	accepted, err := encodeVersion(v)
	if err != nil {
		return err
	}
	moved := l.check.NewRevision != l.check.OldRevision
	before := state
	state = models.SourceState{DistributionID: d.ID, Accepted: accepted}
	key := f.buildKey(d, v.Content)
	known, err := f.builtAs(ctx, d, key)
	if err != nil {
		return err
	}
	switch {
	case known == nil, known.State == models.PlatformFailed && moved, f.stale(d, *known):
		// What failed, or was replaced while it waited, gets a new chance when the
		// source comes back to it.
		return f.changed(ctx, r, l, state, v, key)
	case known.State == models.PlatformReady && !isTarget(d, *known) && moved:
		// The source went back to something that was built before.
		return f.wentBack(ctx, r, l, state, *known)
	}
	l.check.Outcome, l.message = models.CheckUnchanged, "Unchanged: "+v.Label
	if before == state {
		return f.recordCheck(ctx, r.task, &l.check, nil, asBuilt(known.ID))
	}
	return f.recordCheck(ctx, r.task, &l.check, &state, asBuilt(known.ID))
}

// stale tells whether a platform is so old that the same revision is built anew.
// One that is being built, or failed, counts from its own beginning.
func (f *Fleet) stale(d models.Distribution, newest models.Platform) bool {
	if d.RebuildDays <= 0 || newest.State == models.PlatformQueued || newest.State == models.PlatformBuilding {
		return false
	}
	return f.cfg.Now().Sub(newest.CreatedAt) >= time.Duration(d.RebuildDays)*24*time.Hour
}

// DispatchRebuilds has distributions whose newest platform is older than they
// allow looked at, or, where nothing is looked at, its folder registered again.
func (f *Fleet) DispatchRebuilds(ctx context.Context) error {
	list, err := f.store.Rebuilt(ctx)
	if err != nil {
		return err
	}
	for _, d := range list {
		if err := f.dispatchRebuild(ctx, d); err != nil {
			return fmt.Errorf("rebuild %s: %w", d.Name, err)
		}
	}
	return nil
}

func (f *Fleet) dispatchRebuild(ctx context.Context, d models.Distribution) error {
	platforms, err := f.store.PlatformsOf(ctx, d.ID)
	if err != nil || len(platforms) == 0 || !f.stale(d, platforms[0]) {
		return err
	}
	if d.UpstreamID != nil {
		return f.store.ScheduleUpstream(ctx, *d.UpstreamID, f.cfg.Now())
	}
	_, err = f.RegisterPlatform(ctx, ActorQueue, d.ID, platforms[0].Provenance["path"], "")
	return err
}

// held keeps a version that is out of the ordinary until a person agrees. What
// was seen is recorded; what was accepted stays.
func (f *Fleet) held(ctx context.Context, r *round, l *look, state models.SourceState, v plugins.Version) error {
	pending, err := encodeVersion(v)
	if err != nil {
		return err
	}
	state.Pending = pending
	l.check.Outcome, l.check.Reason, l.check.Message = models.CheckHeld, v.Hold.Reason, v.Hold.Message
	l.message = "Held: " + v.Hold.Message
	r.log.Printf(models.LevelWarn, "%s", v.Hold.Message)
	return f.recordCheck(ctx, r.task, &l.check, &state, always(models.ConditionHeld, v.Hold.Reason, v.Hold.Message))
}

// Pending gives the version of a distribution that waits for a person; false
// when none does.
func (f *Fleet) Pending(ctx context.Context, id int64) (plugins.Version, bool, error) {
	state, err := f.store.SourceState(ctx, id)
	if err != nil || state.Pending == "" {
		return plugins.Version{}, false, err
	}
	v := decodeVersion(state.Pending)
	return v, v.Revision != "", nil
}

// Approve builds the version that was held. revision is what the person saw: if
// the source went on meanwhile, nothing is built.
func (f *Fleet) Approve(ctx context.Context, by string, id int64, revision string) (p models.Platform, err error) {
	err = f.store.InTx(ctx, func(tx Tx) error {
		d, err := tx.LockDistribution(ctx, id) // of two who approve at once, the second finds nothing held
		if err != nil {
			return err
		}
		v, accepted, err := release(ctx, tx, d, revision)
		if err != nil {
			return err
		}
		if err := tx.SaveSourceState(ctx, models.SourceState{DistributionID: d.ID, Accepted: accepted}); err != nil {
			return err
		}
		if err := f.replaceQueued(ctx, tx, d); err != nil {
			return err
		}
		p = f.newPlatform(d, v, f.buildKey(d, v.Content))
		if err := f.queueBuild(ctx, tx, by, d, &p); err != nil {
			return err
		}
		if err := tx.SetCondition(ctx, d.ID, models.ConditionChanged, "", ""); err != nil {
			return err
		}
		return tx.RecordEvent(ctx, f.event(by, "approve", distributionSubject(d.ID), "Approved "+v.Revision+".").Changed("held version", v.Revision, ""))
	})
	return p, err
}

// release gives the version that is held as one that is not, and as it is stored.
// Conflict: another one is held, or none.
func release(ctx context.Context, tx Tx, d models.Distribution, revision string) (v plugins.Version, accepted string, err error) {
	state, err := tx.SourceState(ctx, d.ID)
	if err != nil {
		return v, "", err
	}
	if state.Pending != "" {
		v = decodeVersion(state.Pending)
	}
	if v.Revision == "" || v.Revision != revision {
		return v, "", models.Errorf(models.Conflict, "What was held is no longer what %s holds. Reload the page and look again.", d.Name)
	}
	v.Hold = nil
	accepted, err = encodeVersion(v)
	return v, accepted, err
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

func (f *Fleet) newPlatform(d models.Distribution, v plugins.Version, key string) models.Platform {
	return models.Platform{
		DistributionID: d.ID, Server: LocalServer, State: models.PlatformQueued,
		Revision: v.Revision, Content: v.Content, BuildKey: key, Label: v.Label, Note: v.Note,
		Facts: v.Facts, Security: v.Security, Plan: v.Plan, Provenance: d.Settings,
	}
}

func (f *Fleet) changed(ctx context.Context, r *round, l *look, state models.SourceState, v plugins.Version, key string) error {
	d := l.distribution
	l.check.Outcome, l.check.Message = models.CheckChanged, v.Note
	p := f.newPlatform(d, v, key)
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, r.task); err != nil {
			return err
		}
		if err := tx.SaveSourceState(ctx, state); err != nil {
			return err
		}
		if err := tx.RecordCheck(ctx, &l.check, models.ConditionChanged, ""); err != nil {
			return err
		}
		if err := f.replaceQueued(ctx, tx, d); err != nil {
			return err
		}
		return f.queueBuild(ctx, tx, ActorQueue, d, &p)
	})
	if err != nil {
		return fmt.Errorf("queue platform: %w", err)
	}
	r.log.Printf(models.LevelInfo, "Platform %s is queued", p.Name)
	l.message = "Changed: " + v.Label + " is being built"
	return nil
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
	if _, err := tx.LockDistribution(ctx, d.ID); err != nil {
		return err // it was deleted meanwhile
	}
	siblings, err := tx.PlatformsOf(ctx, d.ID)
	if err != nil {
		return err
	}
	p.CreatedAt = f.cfg.Now()
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

func (f *Fleet) wentBack(ctx context.Context, r *round, l *look, state models.SourceState, p models.Platform) error {
	d := l.distribution
	l.check.Outcome = models.CheckChanged
	l.check.Message = "The source went back to what " + p.Name + " was built from."
	l.message = l.check.Message
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, r.task); err != nil {
			return err
		}
		if err := tx.SaveSourceState(ctx, state); err != nil {
			return err
		}
		if err := tx.RecordCheck(ctx, &l.check, models.ConditionCurrent, ""); err != nil {
			return err
		}
		return f.promote(ctx, tx, ActorQueue, d, p)
	})
	if err != nil {
		return fmt.Errorf("promote %s: %w", p.Name, err)
	}
	r.log.Printf(models.LevelInfo, "%s It is the upgrade target again.", l.check.Message)
	return nil
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
		if err := f.refuseTwin(ctx, tx, sent{once, "platform", p}, &first); err != nil {
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
