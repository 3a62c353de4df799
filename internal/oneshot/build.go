package oneshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"hefring/internal/platforms"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
)

// Built is the tree that a build made.
type Built struct {
	Dir      string                 `json:"dir"`
	Files    int64                  `json:"files"`
	Bytes    int64                  `json:"bytes"`
	Digest   string                 `json:"digest"` // SHA-256 over names, contents and execute bits
	Sources  []models.SourcePackage `json:"sources,omitempty"`
	Findings []models.Finding       `json:"findings,omitempty"`
	Platform *Platform              `json:"platform,omitempty"`
	// Unfit says why the tree could not be a platform; it may be whole
	// nevertheless, such as one that was asked for without core.
	Unfit string `json:"unfit,omitempty"`
}

// Platform is what the tree would be as a platform.
type Platform struct {
	Docroot       string           `json:"docroot"`
	DrupalVersion string           `json:"drupal_version"`
	Packages      []models.Package `json:"packages"`
	Profiles      []string         `json:"profiles"`
}

// Build makes the source's code in dir, which must not exist or be empty: beside
// it first, and moved there in one step once it is whole. After an error dir is
// as it was.
func (w *Workshop) Build(ctx context.Context, r Request, dir string) (Report, error) {
	job, err := w.begin(r)
	if err != nil {
		return Report{}, err
	}
	target, err := free(dir)
	if err != nil {
		return Report{}, errors.Join(err, ErrSettings)
	}
	box, err := os.MkdirTemp(filepath.Dir(target), ".hefring-build-")
	if err != nil {
		return Report{}, errors.Join(models.Wrapf(models.Invalid, err,
			"The build is prepared beside %s, and that folder cannot be written to. Choose a place in a folder of yours.", target), ErrSettings)
	}
	defer job.remove(box)
	if err := job.furnish(box); err != nil {
		return Report{}, err
	}
	store := &platforms.Store{Root: box}
	staged, err := store.Stage(ctx, 1, 1)
	if err != nil {
		return Report{}, fmt.Errorf("make staging folder: %w", err)
	}
	defer func() {
		if err := store.Discard(context.WithoutCancel(ctx), 1); err != nil {
			plugins.Logf(job.env, "What is left of the build could not be removed: %v", err)
		}
	}()
	if err := job.build(ctx, store, staged); err != nil {
		return Report{}, err
	}
	if err := publish(staged, target); err != nil {
		return Report{}, err
	}
	job.report.Built.Dir = target
	return job.finish(), nil
}

// free gives the absolute place of a folder that is not there, or empty.
func free(dir string) (string, error) {
	target, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", dir, err)
	}
	if parent, err := os.Stat(filepath.Dir(target)); err != nil || !parent.IsDir() {
		return "", models.InvalidField("dir", fmt.Sprintf("There is no folder %s. Make it first.", filepath.Dir(target)))
	}
	if resolved, err := filepath.EvalSymlinks(target); err == nil {
		target = resolved
	}
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return target, nil
	}
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", dir, err)
	}
	if !info.IsDir() {
		return "", models.InvalidField("dir", target+" is not a folder. Name one that is empty or not there yet.")
	}
	entries, err := os.ReadDir(target)
	if err != nil {
		return "", fmt.Errorf("look into %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return "", models.InvalidField("dir", target+" is not empty. Name a folder that is empty or not there yet.")
	}
	return target, nil
}

// build goes the way of a platform: fetch, look through, inspect.
func (j *job) build(ctx context.Context, store *platforms.Store, staged string) error {
	runner := j.workshop.config.Run
	version, err := j.look(ctx)
	if err != nil {
		return err
	}
	plugins.Logf(j.env, "Building %s", version.Revision)
	if err := runner.Chown(staged); err != nil {
		return fmt.Errorf("hand over staging folder: %w", err)
	}
	made, err := j.source.Build(ctx, j.env, version, staged)
	if err != nil {
		return err
	}
	if err := store.Check(ctx, staged); err != nil {
		return err
	}
	manifest, err := tree.Scan(ctx, staged, tree.Options{}, true)
	if err != nil {
		return fmt.Errorf("read what was built: %w", err)
	}
	built := &Built{Digest: manifest.Digest(), Sources: made.Sources, Findings: made.Findings}
	built.Files, built.Bytes = manifest.Totals()
	if built.Files == 0 {
		return models.Errorf(models.Invalid, "The source built an empty folder. Check what it names.").Because(models.ReasonBuild)
	}
	found, err := store.Inspect(ctx, staged, j.request.Settings["docroot"])
	switch {
	case err == nil:
		built.Platform = &Platform{found.Docroot, found.DrupalVersion, found.Packages, found.Profiles}
	case models.CodeOf(err) != "":
		built.Unfit = models.Explain(err)
	default:
		return fmt.Errorf("inspect: %w", err)
	}
	j.report.Built = built
	return own(ctx, staged, runner.Identity() != nil)
}

// own takes the tree from the user that built it.
func own(ctx context.Context, dir string, foreign bool) error {
	if !foreign {
		return nil
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if err := os.Lchown(dir, uid, gid); err != nil {
		return fmt.Errorf("take over what was built: %w", err)
	}
	if err := tree.Walk(ctx, dir, tree.Options{}, func(e tree.Entry) error { return e.Chown(uid, gid) }); err != nil {
		return fmt.Errorf("take over what was built: %w", err)
	}
	return nil
}

// publish moves the whole tree in one step; only an empty folder gives way.
func publish(staged, target string) error {
	err := unix.Rename(staged, target)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return models.Wrapf(models.Conflict, err, "Something else was written to %s meanwhile. Nothing was changed there; name another folder.", target)
	}
	if err != nil {
		return fmt.Errorf("move the build to %s: %w", target, err)
	}
	return nil
}
