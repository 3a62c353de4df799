package makefile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git"
	"hefring/plugins/git/lsrefs"
	"hefring/plugins/makefile/build"
	"hefring/plugins/makefile/spec"
)

// checkout has the makefile's own repository at its commit in a scratch folder.
func (l *loader) checkout(ctx context.Context) (string, error) {
	return l.place(spec.Ref{Commit: l.repository.Revision}, func(dst string) error {
		_, err := l.source.repository.Build(ctx, l.env, l.repository.version(), dst)
		return renamed(err)
	})
}

// checkoutOf has another repository at a commit in a scratch folder.
func (l *loader) checkoutOf(ctx context.Context, ref spec.Ref) (string, error) {
	if l.env.Local && build.OnThisMachine(ref.Git) {
		return l.place(spec.Ref{Git: ref.Git, Commit: ref.Commit}, func(dst string) error {
			return build.CheckOut(ctx, l.env, ref.Git, ref.Commit, dst)
		})
	}
	env := l.env
	env.Answers, env.Peers = nil, nil // they are of the makefile's upstream
	return l.place(spec.Ref{Git: ref.Git, Commit: ref.Commit}, func(dst string) error {
		repository, err := l.source.plugin.git.Open(models.Settings{"url": ref.Git, "ref_kind": "commit", "commit": ref.Commit})
		if err != nil {
			return foreign(err)
		}
		v, err := repository.Check(ctx, env, plugins.Version{})
		if err != nil {
			return foreign(err)
		}
		_, err = repository.Build(ctx, env, v, dst)
		return foreign(err)
	})
}

// foreign takes the fields from an error about something that no form holds.
func foreign(err error) error {
	e, ok := errors.AsType[*models.Error](err)
	if !ok || e.Fields == nil {
		return err
	}
	shown := *e
	shown.Fields = nil
	return &shown
}

// place fills a scratch folder once.
func (l *loader) place(key spec.Ref, fill func(dst string) error) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if folder, done := l.checkouts[key]; done {
		return folder, nil
	}
	folder, err := os.MkdirTemp(l.env.Scratch, "repository-")
	if err != nil {
		return "", fmt.Errorf("make folder for repository: %w", tree.Explain(err, l.env.Scratch))
	}
	if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // programs of another user work in it
		return "", fmt.Errorf("make folder for repository: %w", err)
	}
	if err := fill(folder); err != nil {
		return "", err
	}
	l.checkouts[key] = folder
	return folder, nil
}

// Commit finds the commit that a git download stands for now.
func (l *loader) Commit(ctx context.Context, d spec.Download) (string, error) {
	return commitOf(ctx, l.env, l.source.plugin.git, d)
}

var wholeCommit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// commitOf finds the commit that a git download stands for now.
func commitOf(ctx context.Context, env plugins.Env, plugin git.Plugin, d spec.Download) (string, error) {
	names := refNames(d)
	if len(names) == 0 && wholeCommit.MatchString(d.Revision) {
		return d.Revision, nil
	}
	if len(names) == 0 {
		return build.FindCommit(ctx, env, d.URL, d.Revision)
	}
	if env.Local && build.OnThisMachine(d.URL) {
		commit, err := build.FindRef(ctx, env, d.URL, names)
		if err == nil && commit == "" {
			err = noRef(d)
		}
		return commit, err
	}
	answer, err := listRefs(ctx, env, d.URL, names)
	if errors.Is(err, lsrefs.ErrOldServer) {
		return askGit(ctx, env, plugin, d.URL, names)
	}
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if ref, ok := answer.Find(name); ok {
			return ref.Commit(), nil
		}
	}
	return "", noRef(d)
}

// refNames are the refs that a git download may mean, the likeliest first; none
// for a revision. Drush's order is refspec, tag, revision, branch.
func refNames(d spec.Download) []string {
	switch {
	case d.Refspec != "":
		name := strings.TrimPrefix(d.Refspec, "+")
		return []string{name, "refs/tags/" + name, "refs/heads/" + name}
	case d.Tag != "":
		return []string{"refs/tags/" + d.Tag}
	case d.Revision != "":
		return nil
	case d.Branch != "":
		return []string{"refs/heads/" + d.Branch}
	}
	return []string{"HEAD"}
}

func noRef(d spec.Download) error {
	const advice = "Correct it, or wait until it is back."
	switch {
	case d.Refspec != "":
		return models.Errorf(models.Invalid, "The repository %s has no ref %s. "+advice, d.URL, d.Refspec).Because(models.ReasonRefNotFound)
	case d.Tag != "":
		return models.Errorf(models.Invalid, "The repository %s has no tag %s. "+advice, d.URL, d.Tag).Because(models.ReasonRefNotFound)
	case d.Branch != "":
		return models.Errorf(models.Invalid, "The repository %s has no branch %s. "+advice, d.URL, d.Branch).Because(models.ReasonRefNotFound)
	}
	return models.Errorf(models.Invalid, "The repository %s is empty. Push a first commit.", d.URL).Because(models.ReasonRefNotFound)
}

func listRefs(ctx context.Context, env plugins.Env, address string, names []string) (lsrefs.Answer, error) {
	u, err := env.Egress.CheckURL(address, "https", "http")
	if err != nil {
		return lsrefs.Answer{}, err
	}
	client := lsrefs.New(env.Egress.HTTPClient(), lsrefs.Limits{})
	return client.List(ctx, lsrefs.Remote{URL: u.String()}, lsrefs.Query{Names: names, Peel: true})
}

// askGit has git itself ask a server that does not speak its newer protocol.
func askGit(ctx context.Context, env plugins.Env, plugin git.Plugin, address string, names []string) (commit string, err error) {
	env.Answers, env.Peers = nil, nil
	for _, name := range names {
		settings := models.Settings{"url": address, "ref_kind": "ref", "ref": name}
		if name == "HEAD" {
			settings = models.Settings{"url": address, "ref_kind": "default"}
		}
		var repository plugins.Source
		if repository, err = plugin.Open(settings); err != nil {
			continue
		}
		var v plugins.Version
		if v, err = repository.Check(ctx, env, plugins.Version{}); err == nil {
			return commitIn(v.Revision), nil
		}
		if models.ReasonOf(err) != models.ReasonRefNotFound {
			break
		}
	}
	return "", foreign(err)
}

var revisionCommit = regexp.MustCompile(`@sha(?:1|256):([0-9a-f]{40,64})`)

func commitIn(revision string) string {
	if match := revisionCommit.FindStringSubmatch(revision); match != nil {
		return match[1]
	}
	return ""
}
