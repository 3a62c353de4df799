package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/bits"
	"path/filepath"
	"strconv"
	"time"

	"hefring/internal/platforms"
	"hefring/internal/tree"
	"hefring/models"
)

// deliveryPoll is how often a task looks whether its platform has arrived.
const deliveryPoll = time.Second

// brought has platforms brought to this server and fails with Waiting until they are
// here. The site is not touched before that, so a delivery that fails costs it nothing.
func (f *Fleet) brought(ctx context.Context, t models.Task, list ...models.Platform) error {
	if f.cfg.Server == 0 || ctx.Err() != nil {
		return nil //nolint:nilerr // what was stopped says so itself
	}
	for _, p := range list {
		if err := f.bring(ctx, t, p); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) bring(ctx context.Context, t models.Task, p models.Platform) error {
	d, err := f.store.EnsureDelivery(ctx, f.cfg.Server, p.ID)
	if err != nil {
		return err
	}
	if d.State == models.PlatformDelivered && f.cfg.Platforms.Holds(f.cfg.Platforms.RootOf(p.Root)) {
		return nil
	}
	if d.State == models.PlatformNotThere && d.UpdatedAt.After(t.CreatedAt) {
		return models.Errorf(models.Unavailable, "%s could not be brought here: %s", p.Name, d.Reason)
	}
	if p.State != models.PlatformReady {
		return models.Errorf(models.Conflict, "%s is %s by now.", p.Name, p.State)
	}
	server, err := f.store.Server(ctx, f.cfg.Server)
	if err != nil {
		return err
	}
	err = f.store.InTx(ctx, func(tx Tx) error {
		task := models.Task{Kind: models.TaskDeliver, Subject: deliverySubject(d.ID), Title: "Bring " + p.Name + " to " + server.Name, Actor: t.Actor}
		if err := tx.CreateTask(ctx, &task); err != nil {
			return err
		}
		d.State, d.Reason, d.UpdatedAt = models.PlatformOnItsWay, "", f.cfg.Now()
		return tx.SaveDelivery(ctx, d)
	})
	if err != nil && models.CodeOf(err) != models.Conflict { // it is on its way already
		return err
	}
	return Waiting{For: deliveryPoll}
}

func deliverySubject(id int64) models.Subject {
	return models.Subject{Kind: models.SubjectDelivery, ID: id}
}

// broughtFor has the platform brought that a move goes to, unless the move has begun.
func (f *Fleet) broughtFor(ctx context.Context, t models.Task, u models.Upgrade) error {
	if f.cfg.Server == 0 || u.State != models.UpgradeQueued {
		return nil
	}
	to, err := f.store.Platform(context.WithoutCancel(ctx), u.ToID)
	if err != nil {
		return err
	}
	return f.brought(ctx, t, to)
}

// runDeliver is the task that brings a platform to this server: it is received into a
// staging folder, compared with its manifest, published by one rename and recorded.
// Killed at any point it leaves a whole platform or nothing.
func (f *Fleet) runDeliver(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	lasting := context.WithoutCancel(ctx)
	d, err := f.store.Delivery(lasting, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	if f.cfg.Server == 0 || d.ServerID != f.cfg.Server {
		return "", "", models.Errorf(models.Conflict, "This platform is wanted on another server.")
	}
	p, err := f.store.Platform(lasting, d.PlatformID)
	if err != nil {
		return "", "", err
	}
	cause := f.receive(ctx, t, p, log)
	if cause != nil && handedOn(ctx) {
		return "", "", context.Cause(ctx)
	}
	d.State, d.Digest, d.Reason, d.UpdatedAt = models.PlatformDelivered, p.ManifestDigest, "", f.cfg.Now()
	if cause != nil {
		d.State, d.Digest, d.Reason = models.PlatformNotThere, "", models.Explain(cause)
	}
	err = f.store.InTx(lasting, func(tx Tx) error {
		if err := tx.HoldsTask(lasting, t); err != nil {
			return err
		}
		return tx.SaveDelivery(lasting, d)
	})
	if err != nil || cause != nil {
		return "", "", errors.Join(cause, err)
	}
	return fmt.Sprintf("%s is here, %d files as they were built", p.Name, p.Files), "", nil
}

func (f *Fleet) receive(ctx context.Context, t models.Task, p models.Platform, log Log) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if p.State != models.PlatformReady {
		return models.Errorf(models.Conflict, "%s is %s by now.", p.Name, p.State)
	}
	store := f.cfg.Platforms
	root := store.RootOf(p.Root)
	if store.Holds(root) { // it was published, and then the worker died
		return f.sound(ctx, p, root, log)
	}
	log.Step("receive")
	staged, err := store.Stage(ctx, p.ID, t.Attempt)
	if err != nil {
		return fmt.Errorf("make staging folder: %w", err)
	}
	defer func() {
		if err := store.Discard(context.WithoutCancel(ctx), p.ID); err != nil {
			f.logger.WarnContext(ctx, "remove staging folder", slog.String("platform", p.Name), slog.Any("error", err))
		}
	}()
	older, err := f.olderHere(ctx, p)
	if err != nil {
		return err
	}
	shared, err := store.Unpack(ctx, staged, p.ManifestDigest, func(ctx context.Context, wanted []byte) (io.ReadCloser, error) {
		if n := count(wanted); n > 0 {
			log.Printf(models.LevelInfo, "Fetching %d files", n)
		}
		return f.cfg.Courier.Fetch(ctx, p.ID, wanted)
	}, older...)
	if err != nil {
		return err
	}
	log.Printf(models.LevelInfo, "%d files, %s, were here already and are shared with an older platform", shared.Files, bytes(shared.Bytes))
	log.Step("publish")
	if _, err := store.Publish(staged, filepath.Base(filepath.Dir(root))); err != nil && models.CodeOf(err) != models.Conflict {
		return fmt.Errorf("publish: %w", err)
	}
	return f.sound(ctx, p, root, log)
}

// count tells how many files are wanted.
func count(wanted []byte) (n int) {
	for _, b := range wanted {
		n += bits.OnesCount8(b)
	}
	return n
}

// olderHere lists the newest platforms of the same distribution that are on this
// server, whose files need not be sent again.
func (f *Fleet) olderHere(ctx context.Context, p models.Platform) ([]*tree.Kept, error) {
	there, err := f.store.DeliveriesTo(ctx, f.cfg.Server)
	if err != nil {
		return nil, err
	}
	delivered := map[int64]bool{}
	for _, d := range there {
		delivered[d.PlatformID] = d.State == models.PlatformDelivered
	}
	all, err := f.store.PlatformsOf(ctx, p.DistributionID) // newest first
	if err != nil {
		return nil, err
	}
	var older []models.Platform
	for _, one := range all {
		if one.ID == p.ID || !delivered[one.ID] || len(older) == sharedWith {
			continue
		}
		one.Root = f.cfg.Platforms.RootOf(one.Root)
		older = append(older, one)
	}
	return f.cfg.Platforms.Older(older...), nil
}

// sound fails unless a delivered platform is what was built.
func (f *Fleet) sound(ctx context.Context, p models.Platform, root string, log Log) error {
	log.Step("verify")
	findings, err := f.cfg.Platforms.Verify(ctx, root, p.ManifestDigest)
	if err != nil {
		return fmt.Errorf("verify %s: %w", p.Name, err)
	}
	if len(findings) > 0 {
		return models.Errorf(models.Conflict, "The folder of %s on this server differs from what was built: %s. Find out who changed it; remove it there if no site is on it.", p.Name, findings[0])
	}
	log.Printf(models.LevelInfo, "%d files, manifest sha256:%.12s", p.Files, p.ManifestDigest)
	return nil
}

// TidyServer removes what nothing on this server stands for any more: deliveries that
// died, platforms that were deleted, old releases, databases and backups.
func (f *Fleet) TidyServer(ctx context.Context) error {
	return errors.Join(f.tidyDelivered(ctx), f.pruneBackups(ctx), f.forgetRetired(ctx), f.TidyRelocations(ctx))
}

func (f *Fleet) tidyDelivered(ctx context.Context) error {
	var stays map[string]bool
	var failed error
	_, err := f.cfg.Platforms.Reconcile(ctx, func(found platforms.Found) bool {
		if stays == nil && failed == nil {
			stays, failed = f.delivered(ctx)
		}
		return failed != nil || stays[found.Root] || stays[strconv.FormatInt(found.PlatformID, 10)]
	})
	return errors.Join(err, failed)
}

// delivered lists the roots of platforms that stay here, and the numbers of those that
// are on their way. Deleted ones are forgotten.
func (f *Fleet) delivered(ctx context.Context) (map[string]bool, error) {
	list, err := f.store.DeliveriesTo(ctx, f.cfg.Server)
	if err != nil {
		return nil, err
	}
	stays := map[string]bool{}
	for _, d := range list {
		p, err := f.store.Platform(ctx, d.PlatformID)
		if err != nil {
			return nil, err
		}
		if p.State == models.PlatformDeleted {
			if err := f.store.DropDelivery(ctx, d.ID); err != nil {
				return nil, err
			}
			continue
		}
		stays[f.cfg.Platforms.RootOf(p.Root)] = true
		stays[strconv.FormatInt(p.ID, 10)] = d.State == models.PlatformOnItsWay
	}
	return stays, nil
}
