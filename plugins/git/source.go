package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composerinstall"
)

// source is one branch of one repository.
type source struct {
	url          string
	host         string
	branch       string // "" for the repository's default
	subdirectory string
	composer     bool
	limits       tree.Options
	answer       time.Duration
}

// Check asks the repository for the branch's commit. Only when that is new its
// files are fetched, into a cache that the build takes them from.
func (s source) Check(ctx context.Context, env plugins.Env, last plugins.Version) (plugins.Version, error) {
	c, err := open(ctx, env, s)
	if err != nil {
		return plugins.Version{}, err
	}
	defer c.close()
	tip, err := c.tip(ctx)
	if err != nil {
		return plugins.Version{}, err
	}
	// Without a sub-directory the commit says everything.
	if last.Revision == tip.revision() && s.subdirectory == "" && last.Content == tip.commit {
		return last, nil
	}
	v := plugins.Version{Revision: tip.revision(), Content: tip.commit, Label: tip.commit[:7]}
	err = c.withMirror(ctx, func(m mirror) error {
		if err := m.want(ctx, tip); err != nil {
			return err
		}
		if v.Note, err = m.subject(ctx, tip.commit); err != nil {
			return err
		}
		if s.subdirectory != "" {
			v.Content, err = m.subtree(ctx, tip.commit, s.subdirectory)
		}
		return err
	})
	return v, err
}

// Build takes exactly the recorded commit, wherever the branch is now, and runs
// composer if that is set.
func (s source) Build(ctx context.Context, env plugins.Env, v plugins.Version, dst string) error {
	tip, err := parseRevision(v.Revision)
	if err != nil {
		return err
	}
	c, err := open(ctx, env, s)
	if err != nil {
		return err
	}
	defer c.close()
	err = c.withMirror(ctx, func(m mirror) error {
		if err := m.want(ctx, tip); err != nil {
			return err
		}
		return m.checkout(ctx, tip.commit, v.Content, dst)
	})
	if err != nil {
		return err
	}
	if err := s.inspect(ctx, dst); err != nil {
		return err
	}
	if !s.composer {
		return nil
	}
	return composerinstall.Run(ctx, env, dst, c.key)
}

// tip is where a ref stands.
type tip struct{ ref, commit string }

func (t tip) revision() string { return "git:" + t.ref + "@sha1:" + t.commit }

var revisionPattern = regexp.MustCompile(`^git:(HEAD|refs/heads/[^\x00-\x20]+)@sha1:([0-9a-f]{40})$`)

func parseRevision(text string) (tip, error) {
	match := revisionPattern.FindStringSubmatch(text)
	if match == nil {
		return tip{}, fmt.Errorf("malformed git revision %q", text)
	}
	return tip{ref: match[1], commit: match[2]}, nil
}

// inspect refuses what would not work as a platform or is not for one.
func (s source) inspect(ctx context.Context, dst string) error {
	err := tree.Walk(ctx, dst, s.limits, func(e tree.Entry) error {
		if !e.Info.Mode().IsRegular() || e.Info.Size() < int64(len(lfsMagic)) || e.Info.Size() > 1024 {
			return nil
		}
		pointer, err := isPointer(e)
		if err != nil {
			return err
		}
		if pointer {
			return models.Errorf(models.Invalid,
				"%q is kept in Git LFS, which Hefring does not fetch: the repository holds only a pointer to it. Commit the file itself, or remove it.", e.Path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look through the files: %w", err)
	}
	return nil
}

const lfsMagic = "version https://git-lfs.github.com/spec/"

func isPointer(e tree.Entry) (bool, error) {
	file, err := e.Open()
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	head := make([]byte, len(lfsMagic))
	if _, err := io.ReadFull(file, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return bytes.Equal(head, []byte(lfsMagic)), nil
}
