package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"hefring/internal/fleet"
	"hefring/internal/store"
	"hefring/models"
)

// builds leaves a build queued.
func (w *world) builds() (models.Distribution, *source, models.Task) {
	w.Helper()
	d := w.distribution("Thunder")
	w.run(w.pending(models.TaskCheck).ID)
	return d, w.sources.at(address), w.pending(models.TaskBuild)
}

func TestFleet_RunBuild_PromotesAndLocksSiblings(t *testing.T) {
	each(t, func(w *world) {
		d, _, build := w.builds()
		want(w.T, "signature before", w.reload(d).Signature, "")
		finished := w.run(build.ID)
		want(w.T, "state", finished.State, models.TaskSucceeded)
		first := w.named("thunder-a1")
		want(w.T, "platform", first.State, models.PlatformReady)
		want(w.T, "Drupal", first.DrupalVersion, "10.5.8")
		want(w.T, "docroot", first.Docroot, "web")
		want(w.T, "profiles", len(first.Profiles), 1)
		if first.BuiltAt == nil || first.ManifestDigest == "" || first.Files < 6 || first.Bytes == 0 || first.Provenance["tool php"] != "8.2" {
			w.Errorf("platform %+v", first)
		}
		text, err := os.ReadFile(filepath.Join(first.Root, "REVISION"))
		if err != nil || string(text) != "scripted:a1\n" {
			w.Errorf("the tree holds %q (%v)", text, err)
		}
		findings, err := w.platforms.Verify(w.ctx, first.Root, first.ManifestDigest)
		if err != nil || len(findings) > 0 {
			w.Errorf("findings %v (%v)", findings, err)
		}
		d = w.reload(d)
		want(w.T, "target", *d.TargetID, first.ID)
		want(w.T, "signature", d.Signature, "scripted:a1")
		want(w.T, "condition", d.Condition, models.ConditionCurrent)
		second := w.moves(d, "b2")
		want(w.T, "target", *w.reload(d).TargetID, second.ID)
		want(w.T, "first is locked", w.named("thunder-a1").Locked, true)
		want(w.T, "second is locked", second.Locked, false)
		w.nothingLeft(first, second)
	})
}

// nothingLeft checks that the store on disk holds these platforms and no more.
func (w *world) nothingLeft(kept ...models.Platform) {
	w.Helper()
	roots := map[string]bool{}
	for _, p := range kept {
		roots[filepath.Base(filepath.Dir(p.Root))] = true
	}
	entries, err := os.ReadDir(w.platforms.Root)
	ok(w.T, err)
	for _, e := range entries {
		if e.Name() == ".staging" || e.Name() == ".trash" {
			inside, err := os.ReadDir(filepath.Join(w.platforms.Root, e.Name()))
			if err != nil || len(inside) > 0 {
				w.Errorf("%s holds %v (%v)", e.Name(), inside, err)
			}
			continue
		}
		if !roots[e.Name()] {
			w.Errorf("%s is left over", e.Name())
		}
		delete(roots, e.Name())
	}
	if len(roots) > 0 {
		w.Errorf("%v are gone", roots)
	}
}

func TestFleet_RunBuild_Failures_SayWhy(t *testing.T) {
	for what, c := range map[string]struct {
		build func(context.Context, string) error
		words string
	}{
		"source fails": {func(context.Context, string) error { return models.Errorf(models.Invalid, "Composer says no.") }, "Composer says no."},
		"no docroot":   {func(_ context.Context, dst string) error { return write(dst, map[string]string{"README": "x"}) }, "No docroot"},
		"internal":     {func(context.Context, string) error { return errors.New("disk on fire") }, "inside Hefring"},
		"link out": {func(_ context.Context, dst string) error {
			return errors.Join(write(dst, drupal("10.1")), os.Symlink("/etc", dst+"/etc"))
		}, "etc"},
		"no drush": {func(_ context.Context, dst string) error {
			return errors.Join(write(dst, drupal("10.1")), os.Remove(dst+"/vendor/bin/drush"))
		}, "drush"},
	} {
		t.Run(what, func(t *testing.T) {
			each(t, func(w *world) {
				d, source, build := w.builds()
				source.builder(c.build)
				failed := w.run(build.ID)
				want(w.T, "state", failed.State, models.TaskFailed)
				p := w.named("thunder-a1")
				want(w.T, "platform", p.State, models.PlatformFailed)
				want(w.T, "message", failed.Message, p.Reason)
				d = w.reload(d)
				want(w.T, "condition", d.Condition, models.ConditionFailing)
				want(w.T, "condition's reason", d.Reason, p.Reason)
				if !contains(p.Reason, c.words) || contains(p.Reason, "on fire") || d.TargetID != nil || d.Signature != "" {
					w.Errorf("reason %q, distribution %+v", p.Reason, d)
				}
				w.nothingLeft()
			})
		})
	}
}

func TestFleet_RunBuild_Cancelled(t *testing.T) {
	each(t, func(w *world) {
		d, source, build := w.builds()
		ctx, cancel := context.WithCancelCause(w.ctx)
		source.builder(func(ctx context.Context, dst string) error {
			ok(w.T, write(dst, drupal("10.5.8")))
			cancel(fleet.ErrCancelled)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		cancelled := w.runIn(ctx, build.ID)
		want(w.T, "state", cancelled.State, models.TaskCancelled)
		p := w.named("thunder-a1")
		want(w.T, "platform", p.State, models.PlatformFailed)
		want(w.T, "reason", p.Reason, "The build was cancelled. Build it again when you want it.")
		want(w.T, "condition", w.reload(d).Condition, models.ConditionFailing)
		w.nothingLeft()
		source.builder(nil)
		_, err := w.fleet.RetryBuild(w.ctx, "ada", p.ID)
		ok(w.T, err)
		w.work()
		want(w.T, "platform", w.named("thunder-a1").State, models.PlatformReady)
	})
}

// A task that was cancelled while no worker had it is given to its handler with
// a context that has ended; it must not leave a platform that waits for ever.
func TestFleet_RunBuild_CancelledBeforeItBegan(t *testing.T) {
	each(t, func(w *world) {
		_, source, build := w.builds()
		ctx, cancel := context.WithCancelCause(w.ctx)
		cancel(fleet.ErrCancelled)
		want(w.T, "state", w.runIn(ctx, build.ID).State, models.TaskCancelled)
		want(w.T, "platform", w.named("thunder-a1").State, models.PlatformFailed)
		want(w.T, "builds", source.builds, 0)
	})
}

func TestFleet_CancelTask_QueuedBuild_PutsBack(t *testing.T) {
	each(t, func(w *world) {
		_, _, build := w.builds()
		ok(w.T, w.fleet.CancelTask(w.ctx, "ada", build.ID))
		want(w.T, "task", w.taskOf(build.ID).State, models.TaskCancelled)
		want(w.T, "platform", w.named("thunder-a1").State, models.PlatformFailed)
		wantCode(w.T, w.fleet.CancelTask(w.ctx, "ada", build.ID), models.Conflict, "ended already")
	})
}

func TestFleet_RunBuild_Stopped_IsTakenUpAgain(t *testing.T) {
	each(t, func(w *world) {
		d, source, build := w.builds()
		ctx, stop := context.WithCancelCause(w.ctx)
		source.builder(func(ctx context.Context, dst string) error {
			stop(fleet.ErrStopping)
			<-ctx.Done()
			return ctx.Err()
		})
		stopped := w.runIn(ctx, build.ID)
		want(w.T, "task", stopped.State, models.TaskRunning)
		want(w.T, "platform", w.named("thunder-a1").State, models.PlatformBuilding)
		want(w.T, "condition", w.reload(d).Condition, models.ConditionChanged)
		source.builder(nil)
		want(w.T, "task", w.run(build.ID).State, models.TaskSucceeded)
		p := w.named("thunder-a1")
		want(w.T, "platform", p.State, models.PlatformReady)
		w.nothingLeft(p)
	})
}

// Killed at any point, a build is done again and leaves one whole platform.
func TestFleet_RunBuild_KilledAnywhere_IsTakenUpAgain(t *testing.T) {
	for _, at := range []string{"MovePlatform building", "SavePlatformBuild", "MovePlatform ready", "SetTarget", "after"} {
		t.Run(at, func(t *testing.T) {
			each(t, func(w *world) {
				d, source, build := w.builds()
				taken, err := w.TakeTask(w.ctx, build.ID)
				ok(w.T, err)
				// The handler dies in its tracks: nothing of what it does
				// afterwards, its deferred work apart, reaches the database.
				dying := w.replica(&mortal{Store: w.Store, dies: at})
				_, _, err = dying.Handlers()[models.TaskBuild](w.ctx, taken, &log{})
				if at != "after" && !errors.Is(err, errKilled) {
					w.Fatalf("it was not killed at %s: %v", at, err)
				}
				if at != "after" {
					if target := w.reload(d).TargetID; target != nil {
						w.Errorf("a build that died made %d the target", *target)
					}
				}
				half := filepath.Join(w.platforms.Root, ".staging", fmt.Sprintf("%d-1", build.Subject.ID), "code")
				ok(w.T, write(half, map[string]string{"half": "a tree"}))
				again := w.run(build.ID)
				want(w.T, "task", again.State, models.TaskSucceeded)
				want(w.T, "attempt", again.Attempt, 2)
				p := w.named("thunder-a1")
				want(w.T, "platform", p.State, models.PlatformReady)
				want(w.T, "target", *w.reload(d).TargetID, p.ID)
				if at == "after" {
					want(w.T, "builds", source.builds, 1)
				}
				ok(w.T, w.fleet.Tidy(w.ctx))
				w.nothingLeft(p)
				findings, err := w.platforms.Verify(w.ctx, p.Root, p.ManifestDigest)
				if err != nil || len(findings) > 0 {
					w.Errorf("findings %v (%v)", findings, err)
				}
			})
		})
	}
}

var errKilled = errors.New("killed")

// mortal is a store whose process is killed at a certain write.
type mortal struct {
	*store.Store

	dies string
	dead bool
}

func (m *mortal) at(point string) error {
	m.dead = m.dead || m.dies == point
	if m.dead {
		return errKilled
	}
	return nil
}

func (m *mortal) InTx(ctx context.Context, fn func(tx fleet.Tx) error) error {
	if m.dead {
		return errKilled
	}
	return m.Store.InTx(ctx, func(tx fleet.Tx) error { return fn(mortalTx{tx, m}) })
}

func (m *mortal) MovePlatform(ctx context.Context, by string, p models.Platform, to models.PlatformState, reason string) error {
	return mortalTx{m.Store, m}.MovePlatform(ctx, by, p, to, reason)
}

type mortalTx struct {
	fleet.Tx

	m *mortal
}

func (x mortalTx) MovePlatform(ctx context.Context, by string, p models.Platform, to models.PlatformState, reason string) error {
	if err := x.m.at("MovePlatform " + string(to)); err != nil {
		return err
	}
	return x.Tx.MovePlatform(ctx, by, p, to, reason)
}

func (x mortalTx) SavePlatformBuild(ctx context.Context, p models.Platform) error {
	if err := x.m.at("SavePlatformBuild"); err != nil {
		return err
	}
	return x.Tx.SavePlatformBuild(ctx, p)
}

func (x mortalTx) SetTarget(ctx context.Context, by string, id int64, old *int64, p models.Platform) error {
	if err := x.m.at("SetTarget"); err != nil {
		return err
	}
	return x.Tx.SetTarget(ctx, by, id, old, p)
}

// The failure was recorded, and then the worker died.
func TestFleet_RunBuild_TakenUpAfterItFailed_SaysSo(t *testing.T) {
	each(t, func(w *world) {
		_, source, build := w.builds()
		source.builder(func(context.Context, string) error { return models.Errorf(models.Invalid, "Composer says no.") })
		taken, err := w.TakeTask(w.ctx, build.ID)
		ok(w.T, err)
		_, _, err = w.fleet.RunBuild(w.ctx, taken, &log{})
		wantCode(w.T, err, models.Invalid)
		again := w.run(build.ID)
		want(w.T, "task", again.State, models.TaskFailed)
		want(w.T, "message", again.Message, "Composer says no.")
		want(w.T, "builds", source.builds, 1)
	})
}

// A worker that lost its task to another publishes nothing.
func TestFleet_RunBuild_TakenOver_WritesNothing(t *testing.T) {
	each(t, func(w *world) {
		d, source, build := w.builds()
		lost, err := w.TakeTask(w.ctx, build.ID)
		ok(w.T, err)
		source.builder(func(_ context.Context, dst string) error {
			source.builder(nil)
			want(w.T, "the other's build", w.run(build.ID).State, models.TaskSucceeded)
			return write(dst, drupal("6.6.6"))
		})
		w.handle(w.ctx, lost)
		p := w.named("thunder-a1")
		want(w.T, "state", p.State, models.PlatformReady)
		want(w.T, "version", p.DrupalVersion, "10.5.8")
		want(w.T, "condition", w.reload(d).Condition, models.ConditionCurrent)
		want(w.T, "task", w.taskOf(build.ID).State, models.TaskSucceeded)
		ok(w.T, w.fleet.Tidy(w.ctx))
		w.nothingLeft(p)
	})
}

func TestFleet_RunBuild_OlderThanTheTarget_DoesNotTakeItBack(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.says("b2")
		w.check(d)
		slow := w.pending(models.TaskBuild)
		source.builder(func(_ context.Context, dst string) error {
			source.builder(nil)
			newer := w.moves(d, "c3") // while the older one builds
			want(w.T, "target", *w.reload(d).TargetID, newer.ID)
			return write(dst, drupal("10.5.9"))
		})
		want(w.T, "slow build", w.run(slow.ID).State, models.TaskSucceeded)
		d = w.reload(d)
		want(w.T, "target", *d.TargetID, w.named("thunder-c3").ID)
		want(w.T, "signature", d.Signature, "scripted:c3")
		want(w.T, "condition", d.Condition, models.ConditionCurrent)
		want(w.T, "older one is locked", w.named("thunder-b2").Locked, true)
		want(w.T, "newer one is locked", w.named("thunder-c3").Locked, false)
	})
}

// An older build that fails says nothing about the distribution either.
func TestFleet_RunBuild_OlderFails_LeavesTheCondition(t *testing.T) {
	each(t, func(w *world) {
		d, source := w.thunder()
		source.says("b2")
		w.check(d)
		slow := w.pending(models.TaskBuild)
		source.builder(func(context.Context, string) error {
			source.builder(nil)
			w.moves(d, "c3")
			return models.Errorf(models.Invalid, "Composer says no.")
		})
		want(w.T, "slow build", w.run(slow.ID).State, models.TaskFailed)
		d = w.reload(d)
		want(w.T, "condition", d.Condition, models.ConditionCurrent)
		want(w.T, "reason", d.Reason, "")
	})
}

func TestFleet_RunVerify_FindsChanges(t *testing.T) {
	each(t, func(w *world) {
		w.thunder()
		p := w.named("thunder-a1")
		_, err := w.fleet.VerifyPlatform(w.ctx, "ada", p.ID)
		ok(w.T, err)
		sound := w.run(w.pending(models.TaskVerify).ID)
		want(w.T, "state", sound.State, models.TaskSucceeded)
		file := filepath.Join(p.Root, "web", "index.php")
		ok(w.T, os.Chmod(file, 0o644))
		ok(w.T, os.WriteFile(file, []byte("<?php hacked();\n"), 0o644))
		_, err = w.fleet.VerifyPlatform(w.ctx, "ada", p.ID)
		ok(w.T, err)
		spoilt := w.run(w.pending(models.TaskVerify).ID)
		want(w.T, "state", spoilt.State, models.TaskFailed)
		wantCode(w.T, spoilt.err, models.Conflict, "web/index.php")
	})
}

func TestFleet_LockPlatform_NotTheTarget(t *testing.T) {
	each(t, func(w *world) {
		d, _ := w.thunder()
		first := w.named("thunder-a1")
		wantCode(w.T, w.fleet.LockPlatform(w.ctx, "ada", first.ID), models.Conflict, "upgrade target")
		second := w.moves(d, "b2")
		ok(w.T, w.fleet.UnlockPlatform(w.ctx, "ada", first.ID))
		open, err := w.fleet.OpenPlatforms(w.ctx)
		ok(w.T, err)
		want(w.T, "open platforms", len(open), 2)
		ok(w.T, w.fleet.LockPlatform(w.ctx, "ada", first.ID))
		open, err = w.fleet.OpenPlatforms(w.ctx)
		ok(w.T, err)
		if len(open) != 1 || open[0].ID != second.ID {
			w.Errorf("open platforms %v", open)
		}
	})
}
