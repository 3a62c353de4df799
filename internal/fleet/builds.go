package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
)

func platformSubject(id int64) models.Subject {
	return models.Subject{Kind: models.SubjectPlatform, ID: id}
}

func buildTask(by string, p models.Platform) *models.Task {
	return &models.Task{Kind: models.TaskBuild, Subject: platformSubject(p.ID), Title: "Build " + p.Name, Actor: by}
}

// RunBuild is the task that builds a platform: the code is put into a staging
// folder, inspected, sealed, published by one rename and recorded. Killed at
// any point it leaves a ready platform or nothing.
func (f *Fleet) RunBuild(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	lasting := context.WithoutCancel(ctx) // a cancelled build must still be recorded as such
	p, err := f.store.Platform(lasting, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	// An end was recorded, and then the worker died.
	if p.State == models.PlatformReady {
		return readyMessage(p), "", nil
	}
	if p.State == models.PlatformFailed {
		return p.Reason, models.TaskFailed, nil
	}
	d, err := f.store.Distribution(lasting, p.DistributionID)
	if err != nil {
		return "", "", err
	}
	if p.State == models.PlatformQueued {
		if err := f.store.MovePlatform(lasting, t.Actor, p, models.PlatformBuilding, ""); err != nil {
			return "", "", err
		}
		p.State = models.PlatformBuilding
	}
	if err := f.build(ctx, t, d, &p, log); err != nil {
		return f.buildFailed(ctx, t, d, p, log, err)
	}
	return readyMessage(p), "", nil
}

func readyMessage(p models.Platform) string { return p.Name + " is ready, Drupal " + p.DrupalVersion }

// ErrStopping is the cause of a context that ended because this process stops;
// the task is taken up again by another or after the restart.
var ErrStopping = errors.New("hefring is stopping")

// ErrLost is the cause of a context whose task another worker took over:
// nothing may be touched any more.
var ErrLost = errors.New("another worker took this task over")

// ErrCancelled is the cause of a context whose task somebody cancelled.
var ErrCancelled = errors.New("cancelled")

// handedOn tells whether the task goes on elsewhere, so that its failure here
// means nothing.
func handedOn(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, ErrStopping) || errors.Is(cause, ErrLost)
}

func (f *Fleet) buildFailed(ctx context.Context, t models.Task, d models.Distribution, p models.Platform, log Log, cause error) (string, models.TaskState, error) {
	if handedOn(ctx) {
		return "", "", context.Cause(ctx)
	}
	reason, state := models.Explain(cause), models.TaskFailed
	if errors.Is(context.Cause(ctx), ErrCancelled) {
		reason, state = "The build was cancelled. Build it again when you want it.", models.TaskCancelled
	}
	ctx = context.WithoutCancel(ctx)
	log.Printf(models.LevelError, "%s", reason)
	err := f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		if err := tx.MovePlatform(ctx, t.Actor, p, models.PlatformFailed, reason); err != nil {
			return err
		}
		newest, err := tx.PlatformsOf(ctx, d.ID)
		if err != nil || newest[0].ID != p.ID { // its successor says how the distribution is
			return err
		}
		return tx.SetCondition(ctx, d.ID, models.ConditionFailing, models.ReasonBuild, reason)
	})
	if err != nil {
		return "", "", errors.Join(cause, err)
	}
	f.built(t, d, state)
	return reason, state, cause
}

func (f *Fleet) build(ctx context.Context, t models.Task, d models.Distribution, p *models.Platform, log Log) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	source, err := f.open(d)
	if err != nil {
		return err
	}
	staged, err := f.cfg.Platforms.Stage(ctx, p.ID, t.Attempt)
	if err != nil {
		return fmt.Errorf("make staging folder: %w", err)
	}
	defer func() {
		if err := f.cfg.Platforms.Discard(context.WithoutCancel(ctx), p.ID); err != nil {
			f.logger.WarnContext(ctx, "remove staging folder", slog.String("platform", p.Name), slog.Any("error", err))
		}
	}()
	older, err := f.older(ctx, d.ID)
	if err != nil {
		return err
	}
	if err := f.materialise(ctx, materials{d, source, older}, p, staged, log); err != nil {
		return err
	}
	if err := f.inspect(ctx, d, p, staged, log); err != nil {
		return err
	}
	log.Step("seal")
	if err := f.cfg.Platforms.Prepare(ctx, staged, p.Docroot); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	sealed, err := f.cfg.Platforms.Seal(ctx, staged, p.Docroot, older...)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	p.ManifestDigest, p.Files, p.Bytes = sealed.Digest, sealed.Files, sealed.Bytes
	log.Printf(models.LevelInfo, "%d files, %d MB, manifest sha256:%.12s; %d files, %d MB shared with an older platform",
		p.Files, p.Bytes>>20, p.ManifestDigest, sealed.Shared.Files, sealed.Shared.Bytes>>20)
	return f.publish(ctx, t, d, p, source, staged, log)
}

// sharedWith is how many older platforms a new one may share files with.
const sharedWith = 2

// older lists the newest ready platforms of a distribution, whose files the next
// one need not store again.
func (f *Fleet) older(ctx context.Context, distributionID int64) ([]*tree.Kept, error) {
	all, err := f.store.PlatformsOf(ctx, distributionID) // newest first
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p models.Platform) bool { return p.State != models.PlatformReady })
	return f.cfg.Platforms.Older(all[:min(len(all), sharedWith)]...), nil
}

// materials is what a platform is made from.
type materials struct {
	distribution models.Distribution
	source       plugins.Source
	older        []*tree.Kept
}

func (f *Fleet) materialise(ctx context.Context, m materials, p *models.Platform, dst string, log Log) error {
	log.Step("fetch")
	env, done, err := f.env(log.Out())
	if err != nil {
		return err
	}
	defer done()
	env.Older = m.older
	plan, err := f.store.PlatformPlan(ctx, p.ID)
	if err != nil {
		return err
	}
	version := plugins.Version{Revision: p.Revision, Content: p.Content, Label: p.Label, Note: p.Note, Plan: plan}
	if registrar, byHand := m.source.(plugins.Registrar); byHand {
		version, err = registrar.Register(ctx, env, p.Provenance["path"])
		if err != nil {
			return err
		}
		p.Revision, p.Content, p.Note = version.Revision, version.Content, version.Note
		p.BuildKey = f.buildKey(m.distribution, p.Content)
	}
	log.Printf(models.LevelInfo, "Building %s", version.Revision)
	if err := f.cfg.Run.Chown(dst); err != nil {
		return fmt.Errorf("hand over staging folder: %w", err)
	}
	made, err := m.source.Build(ctx, env, version, dst)
	p.Sources, p.Audit = made.Sources, made.Findings
	return err
}

func (f *Fleet) inspect(ctx context.Context, d models.Distribution, p *models.Platform, dir string, log Log) error {
	log.Step("inspect")
	found, err := f.cfg.Platforms.Inspect(ctx, dir, d.Settings["docroot"])
	if err != nil {
		return err
	}
	p.Docroot, p.DrupalVersion, p.PHPVersion = found.Docroot, found.DrupalVersion, f.cfg.PHP
	p.Packages, p.Profiles = found.Packages, found.Profiles
	provenance := models.Settings{}
	maps.Copy(provenance, p.Provenance)
	for tool, version := range f.cfg.Tools {
		provenance["tool "+tool] = version
	}
	p.Provenance = provenance
	log.Printf(models.LevelInfo, "Drupal %s in %q, %d packages, profiles %v", p.DrupalVersion, p.Docroot, len(p.Packages), p.Profiles)
	return nil
}

// publish makes the sealed tree a ready platform and, unless it is kept by hand,
// the upgrade target.
func (f *Fleet) publish(ctx context.Context, t models.Task, d models.Distribution, p *models.Platform, source plugins.Source, staged string, log Log) error {
	log.Step("publish")
	// A worker that was killed before it recorded its platform left a folder of
	// the attempt before; Tidy removes it.
	root, err := f.cfg.Platforms.Publish(staged, fmt.Sprintf("%s-%d-%d", p.Name, p.ID, t.Attempt))
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	p.Root = root
	_, byHand := source.(plugins.Registrar)
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.HoldsTask(ctx, t); err != nil {
			return err
		}
		now := f.cfg.Now()
		p.BuiltAt = &now
		if err := tx.SavePlatformBuild(ctx, *p); err != nil {
			return err
		}
		if err := tx.MovePlatform(ctx, t.Actor, *p, models.PlatformReady, ""); err != nil {
			return err
		}
		p.State = models.PlatformReady
		if byHand {
			return f.offer(ctx, tx, t.Actor, d.ID, *p)
		}
		return f.promoteIfNewest(ctx, tx, t.Actor, d.ID, *p)
	})
	if err != nil {
		return err
	}
	f.built(t, d, models.TaskSucceeded)
	log.Printf(models.LevelInfo, "%s is ready", p.Name)
	return nil
}

// offer puts a platform that was registered by hand beside the others. It is
// locked as long as another one is the target.
func (f *Fleet) offer(ctx context.Context, tx Tx, by string, distributionID int64, p models.Platform) error {
	d, err := tx.Distribution(ctx, distributionID)
	if err != nil {
		return err
	}
	if err := tx.SetLocked(ctx, by, p.ID, d.TargetID != nil); err != nil {
		return err
	}
	return tx.SetCondition(ctx, d.ID, models.ConditionCurrent, "", "")
}

// promoteIfNewest makes p the target unless a platform that was asked for later
// already is, or the source went back to what the target holds.
func (f *Fleet) promoteIfNewest(ctx context.Context, tx Tx, by string, distributionID int64, p models.Platform) error {
	d, err := tx.Distribution(ctx, distributionID)
	if err != nil {
		return err
	}
	wentBack := d.Signature == d.Observed && p.Revision != d.Observed
	if d.TargetID != nil && (*d.TargetID > p.ID || wentBack) {
		return tx.SetLocked(ctx, by, p.ID, true)
	}
	if err := f.promote(ctx, tx, by, d, p); err != nil {
		return err
	}
	if d.Observed != p.Revision {
		return nil // the source moved on meanwhile; a newer platform is on its way
	}
	return tx.SetCondition(ctx, d.ID, models.ConditionCurrent, "", "")
}

// promote makes a ready platform the upgrade target, locks its siblings, and has
// Drush asked about the sites that are now behind.
func (f *Fleet) promote(ctx context.Context, tx Tx, by string, d models.Distribution, p models.Platform) error {
	if err := tx.SetTarget(ctx, by, d.ID, d.TargetID, p); err != nil {
		return err
	}
	behind := Filter{DistributionID: d.ID, Behind: true, Limit: 1}
	if _, count, err := tx.Sites(ctx, behind); err != nil || count == 0 {
		return err
	}
	return f.queueComparison(ctx, tx, by, d, nil)
}

// RetryBuild builds a failed platform once more.
func (f *Fleet) RetryBuild(ctx context.Context, by string, id int64) (models.Task, error) {
	p, err := f.store.Platform(ctx, id)
	if err != nil {
		return models.Task{}, err
	}
	task := buildTask(by, p)
	err = f.store.InTx(ctx, func(tx Tx) error {
		if err := tx.MovePlatform(ctx, by, p, models.PlatformQueued, ""); err != nil {
			return err
		}
		return tx.CreateTask(ctx, task)
	})
	return *task, err
}
