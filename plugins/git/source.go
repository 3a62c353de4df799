package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composerinstall"
	"hefring/plugins/git/lsrefs"
)

// source is one reference of one repository.
type source struct {
	remote       remote
	reference    reference
	holdRewrites bool
	subdirectory string
	composer     bool
	submodules   bool
	verify       verification
	limits       tree.Options
	answer       time.Duration
	native       *lsrefs.Client // nil: one for each question
}

// Upstream is the repository as these credentials see it.
func (s source) Upstream() plugins.Upstream {
	return plugins.Upstream{Key: s.remote.key(), Host: s.remote.host()}
}

// Check asks the repository where the reference stands. Only when that is new
// its commit is fetched, without files where the server can leave them out.
func (s source) Check(ctx context.Context, env plugins.Env, last plugins.Version) (plugins.Version, error) {
	before, err := parseRevision(last.Revision)
	if err != nil {
		last, before = plugins.Version{}, tip{}
	}
	unchanged := last
	unchanged.Hold, unchanged.Plan = nil, ""
	known := last.Revision != "" && last.Memo == s.memo(last)
	if known && s.reference.kind == kindCommit && before.commit == s.reference.commit && before.ref == byCommit {
		return unchanged, nil
	}
	c, err := open(env, s.remote, s.answer)
	if err != nil {
		return plugins.Version{}, err
	}
	defer c.close()
	now, err := s.find(ctx, c)
	if err != nil {
		return plugins.Version{}, err
	}
	if known && last.Revision == now.revision() {
		return unchanged, nil
	}
	return s.examine(ctx, c, before, now)
}

// examine looks at a commit that was not accepted before.
func (s source) examine(ctx context.Context, c *client, before, now tip) (plugins.Version, error) {
	v := plugins.Version{Revision: now.revision(), Label: now.label(), Facts: facts(now)}
	line := follows
	look := c.withHistory
	if s.reference.kind == kindCommit { // it was not asked what the server can do
		look = c.withFiles
	}
	err := look(ctx, now.format(), func(m mirror) error {
		related := s.reference.moves() && before.ref == now.ref && before.commit != now.commit && before.format() == now.format()
		depth := 1
		if related {
			depth = nearHistory
		}
		if err := m.want(ctx, wanted{now.commit, now.seen(), depth, s.levels()}); err != nil {
			return err
		}
		if err := m.isCommit(ctx, now); err != nil {
			return err
		}
		signer, err := s.verify.check(ctx, m, now)
		if err != nil {
			return err
		}
		if signer != "" {
			v.Facts = append(v.Facts, models.Fact{Label: "Signed by", Value: signer})
		}
		if v.Note, err = m.subject(ctx, now.commit); err != nil {
			return err
		}
		if v.Content, err = s.content(ctx, m, now.commit); err != nil {
			return err
		}
		if related {
			line, err = m.lineage(ctx, now, before.commit)
		}
		return err
	})
	if err != nil {
		return plugins.Version{}, err
	}
	if line == rewritten {
		v.Note = rewrittenNote + v.Note
	}
	if reason, message := s.hold(before, now, line); reason != "" {
		v.Hold = &plugins.Hold{Reason: reason, Message: message}
	}
	v.Memo = s.memo(v)
	return v, nil
}

// seen is the ref under which the server offers the commit.
func (t tip) seen() string {
	if t.ref == byCommit {
		return ""
	}
	return t.ref
}

func facts(t tip) []models.Fact {
	list := []models.Fact{{Label: "Commit", Value: t.commit}}
	switch {
	case t.isTag():
		list = append(list, models.Fact{Label: "Tag", Value: t.name()})
	case strings.HasPrefix(t.ref, "refs/heads/"):
		list = append(list, models.Fact{Label: "Branch", Value: t.name()})
	case t.ref != byCommit:
		list = append(list, models.Fact{Label: "Ref", Value: t.ref})
	}
	return list
}

// memo binds a version to the settings that it was examined with. A version that
// carries it need not be examined again.
func (s source) memo(v plugins.Version) string {
	sum := sha256.New()
	for _, part := range []string{v.Revision, v.Content, s.subdirectory, strconv.FormatBool(s.submodules), s.verify.id()} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// Build takes exactly the recorded commit, wherever its ref is now, with its
// submodules and composer's packages if those are set.
func (s source) Build(ctx context.Context, env plugins.Env, v plugins.Version, dst string) (plugins.Made, error) {
	t, err := parseRevision(v.Revision)
	if err != nil {
		return plugins.Made{}, err
	}
	placed, err := s.put(ctx, env, t, v.Content, dst)
	if err != nil {
		return plugins.Made{}, err
	}
	if err := s.inspect(ctx, dst, placed.same); err != nil {
		return plugins.Made{}, err
	}
	if s.composer {
		err = composerinstall.Run(ctx, env, dst, s.remote.folder())
	}
	return plugins.Made{Sources: placed.sources}, err
}

// put writes the recorded commit to dst, with what an older platform holds of it
// shared, unless composer runs in dst afterwards.
func (s source) put(ctx context.Context, env plugins.Env, t tip, content, dst string) (*materialiser, error) {
	p := &materialiser{source: s, env: env, left: newBudget(s.limits)}
	if len(env.Older) > 0 && !s.composer {
		p.older = env.Older[0]
	}
	if err := s.materialise(ctx, p, t, content, dst); err != nil {
		return nil, err
	}
	err := p.share(ctx, dst)
	if !errors.Is(err, tree.ErrShare) || ctx.Err() != nil {
		return p, err
	}
	plugins.Logf(env, "The older platform's files cannot be shared; all files are written")
	if err := empty(dst); err != nil {
		return nil, err
	}
	p.older.Forget()
	p = &materialiser{source: s, env: env, left: newBudget(s.limits)}
	return p, s.materialise(ctx, p, t, content, dst)
}

// materialise writes the recorded commit to dst. When it returns, no credential
// is on disk any more: composer runs code of others.
func (s source) materialise(ctx context.Context, p *materialiser, t tip, content, dst string) error {
	c, err := open(p.env, s.remote, s.answer)
	if err != nil {
		return err
	}
	defer c.close()
	return p.place(ctx, order{c: c, tip: t, folder: s.subdirectory, dst: dst, accept: func(ctx context.Context, m mirror) error {
		if err := m.isCommit(ctx, t); err != nil {
			return err
		}
		if _, err := s.verify.check(ctx, m, t); err != nil {
			return err
		}
		found, err := s.content(ctx, m, t.commit)
		if err != nil || found == content {
			return err
		}
		return models.Errorf(models.Conflict, "The settings of the source were changed after the check. Check again, then build.")
	}})
}

// inspect refuses what would not work as a platform or is not for one; what an
// older platform has was looked at then.
func (s source) inspect(ctx context.Context, dst string, same []tree.Proof) error {
	known := make(map[string]bool, len(same))
	for _, p := range same {
		known[p.Name] = true
	}
	err := tree.Walk(ctx, dst, s.limits, func(e tree.Entry) error {
		if known[e.Path] {
			return nil
		}
		pointer, err := plugins.IsLFSPointer(e)
		if err != nil || !pointer {
			return err
		}
		return models.Errorf(models.Invalid,
			"%q is kept in Git LFS, which Hefring does not fetch: the repository holds only a pointer to it. Commit the file itself, or remove it.", e.Path)
	})
	if err != nil {
		return fmt.Errorf("look through the files: %w", err)
	}
	return nil
}
