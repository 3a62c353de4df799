package fleet

import (
	"context"
	"encoding/json"
	"fmt"

	"hefring/models"
)

// Platform gives one platform.
func (f *Fleet) Platform(ctx context.Context, id int64) (models.Platform, error) {
	return f.store.Platform(ctx, id)
}

// SetTarget makes a ready platform its distribution's upgrade target by hand and
// locks the others.
func (f *Fleet) SetTarget(ctx context.Context, by string, platformID int64) error {
	p, err := f.store.Platform(ctx, platformID)
	if err != nil {
		return err
	}
	if p.State != models.PlatformReady {
		return models.Errorf(models.Conflict, "%s is %s. Only a ready platform can be the upgrade target.", p.Name, p.State)
	}
	return f.store.InTx(ctx, func(tx Tx) error {
		d, err := tx.Distribution(ctx, p.DistributionID)
		if err != nil || isTarget(d, p) {
			return err
		}
		return f.promote(ctx, tx, by, d, p)
	})
}

// LockPlatform bars a platform from taking new sites. Sites on it keep running.
func (f *Fleet) LockPlatform(ctx context.Context, by string, id int64) error {
	p, err := f.store.Platform(ctx, id)
	if err != nil {
		return err
	}
	d, err := f.store.Distribution(ctx, p.DistributionID)
	if err != nil {
		return err
	}
	if isTarget(d, p) {
		return models.Errorf(models.Conflict, "%s is the upgrade target of %s and takes new sites. Make another platform the target first.", p.Name, d.Name)
	}
	return f.store.SetLocked(ctx, by, id, true)
}

// UnlockPlatform lets a platform take new sites again.
func (f *Fleet) UnlockPlatform(ctx context.Context, by string, id int64) error {
	p, err := f.store.Platform(ctx, id)
	if err != nil {
		return err
	}
	if p.State != models.PlatformReady {
		return models.Errorf(models.Conflict, "%s is %s. Only a ready platform can be unlocked.", p.Name, p.State)
	}
	return f.store.SetLocked(ctx, by, id, false)
}

// VerifyPlatform has a platform compared with its manifest.
func (f *Fleet) VerifyPlatform(ctx context.Context, by string, id int64) (models.Task, error) {
	p, err := f.store.Platform(ctx, id)
	if err != nil {
		return models.Task{}, err
	}
	if p.State != models.PlatformReady {
		return models.Task{}, models.Errorf(models.Conflict, "%s is %s. Only a ready platform can be verified.", p.Name, p.State)
	}
	return f.start(ctx, models.Task{Kind: models.TaskVerify, Subject: platformSubject(id), Title: "Verify " + p.Name, Actor: by})
}

// RunVerify is the task that looks whether a platform or a site is sound.
func (f *Fleet) RunVerify(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	if t.Subject.Kind == models.SubjectSite {
		return f.verifySite(ctx, t, log)
	}
	return f.verifyPlatform(ctx, t, log)
}

func (f *Fleet) verifyPlatform(ctx context.Context, t models.Task, log Log) (string, models.TaskState, error) {
	p, err := f.store.Platform(ctx, t.Subject.ID)
	if err != nil {
		return "", "", err
	}
	findings, err := f.cfg.Platforms.Verify(ctx, p.Root, p.ManifestDigest)
	if err != nil {
		return "", "", fmt.Errorf("verify %s: %w", p.Name, err)
	}
	if len(findings) == 0 {
		return fmt.Sprintf("All %d files are as they were built", p.Files), "", nil
	}
	for _, finding := range findings {
		log.Printf(models.LevelError, "%s", finding)
	}
	if err := f.saveFindings(ctx, t, findings); err != nil {
		return "", "", err
	}
	return "", "", models.Errorf(models.Conflict,
		"%s differs from what was built: %s. Somebody changed it by hand: find out who, and upgrade its sites to a sound platform.", p.Name, findings[0])
}

// saveFindings keeps what a verification found for the task's page.
func (f *Fleet) saveFindings(ctx context.Context, t models.Task, findings []string) error {
	result, err := json.Marshal(findings)
	if err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	t.Result = string(result)
	return f.store.SaveTaskResult(ctx, t)
}

// ComparePlatforms lists the packages that differ between two platforms.
func (f *Fleet) ComparePlatforms(ctx context.Context, fromID, toID int64) ([]models.PackageChange, error) {
	from, err := f.store.Platform(ctx, fromID)
	if err != nil {
		return nil, err
	}
	to, err := f.store.Platform(ctx, toID)
	if err != nil {
		return nil, err
	}
	return models.ComparePackages(from.Packages, to.Packages), nil
}
