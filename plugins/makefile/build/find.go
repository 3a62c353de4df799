package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/spec"
)

// FindCommit finds the whole name of the commit that a revision of a repository
// stands for, such as 2fe932c. It fetches the repository's history into the
// cache, since no server tells that.
func FindCommit(ctx context.Context, env plugins.Env, address, revision string) (string, error) {
	r, err := (&builder{env: env, dst: env.Scratch}).at(address, address)
	if err != nil {
		return "", err
	}
	r.git = r.mirrorDir(true)
	if err := os.MkdirAll(filepath.Dir(r.git), 0o755); err != nil { //nolint:gosec // another user passes through
		return "", fmt.Errorf("make git cache: %w", tree.Explain(err, env.Cache))
	}
	unlock, err := lock(ctx, r.git+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := r.prepare(ctx); err != nil {
		return "", err
	}
	// A name that is no beginning of a commit may stand for another one now.
	if commit := r.find(ctx, revision); strings.HasPrefix(commit, revision) && commit != "" {
		return commit, nil
	}
	if err := r.fetch(ctx, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
		return "", err
	}
	if commit := r.find(ctx, revision); commit != "" {
		return commit, nil
	}
	return "", models.Errorf(models.Invalid, "The repository %s has no revision %s, or several that begin so. Write the whole name of a commit.", address, revision).
		Because(models.ReasonRefNotFound)
}

// find gives the commit that is known by a name; "" when there is none, or more
// than one.
func (r *repository) find(ctx context.Context, revision string) string {
	out, err := r.local(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	if commit := strings.TrimSpace(out); err == nil && fullCommit.MatchString(commit) {
		return commit
	}
	return ""
}

// Inside prepares a profile as a build would, and gives the makefile inside of
// it, resolved; nil when it has none that would be built.
func Inside(ctx context.Context, env plugins.Env, job Job, profile string) (*spec.Makefile, error) {
	dst, err := os.MkdirTemp(env.Scratch, "inside-")
	if err != nil {
		return nil, fmt.Errorf("make folder for profile: %w", tree.Explain(err, env.Scratch))
	}
	defer func() { _ = os.RemoveAll(dst) }()
	if err := os.Chmod(dst, 0o755); err != nil { //nolint:gosec // sandboxed programs pass through
		return nil, fmt.Errorf("make folder for profile: %w", err)
	}
	b, err := newBuilder(env, job, dst)
	if err != nil {
		return nil, err
	}
	defer b.close()
	l, err := b.topLevel()
	if err != nil {
		return nil, err
	}
	for _, e := range l.entries {
		if e.name == profile && e.kind == spec.TypeProfile && e.recurses {
			return b.inside(ctx, l, e)
		}
	}
	return nil, nil //nolint:nilnil // there is no makefile, and nothing is wrong
}

func (b *builder) inside(ctx context.Context, l *level, e *entry) (*spec.Makefile, error) {
	folder, err := b.prepare(ctx, l, e)
	if err != nil {
		var failed failures
		failed.add(l, e, err)
		return nil, failed.err()
	}
	name, err := findMakefile(folder, e.name)
	if err != nil || name == "" {
		return nil, err
	}
	inner, err := b.innerLevel(ctx, l, e, folder, name)
	if err != nil {
		var failed failures
		failed.add(l, e, err)
		return nil, failed.err()
	}
	return inner.makefile, nil
}
