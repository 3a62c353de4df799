package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
)

// snapshot is what is taken out of a mirror.
type snapshot struct {
	commit string
	folder string // of the commit, "" for all of it
	tree   string // id of the folder
	links  []link
	blobs  []blob // its files, where an older platform may hold some of them
}

// link is the place of a submodule.
type link struct {
	path   string // below the folder
	commit string
}

// budget is how many files and bytes a build may still take.
type budget struct{ files, bytes int64 }

func newBudget(o tree.Options) *budget {
	o = o.Limited()
	return &budget{o.Files, o.Bytes}
}

// snapshot finds the tree of a commit's folder.
func (m mirror) snapshot(ctx context.Context, commit, folder string) (snapshot, error) {
	s := snapshot{commit: commit, folder: folder}
	if folder != "" {
		var err error
		s.tree, err = m.subtree(ctx, commit, folder)
		return s, err
	}
	out, err := m.local(ctx, "rev-parse", "--verify", commit+"^{tree}")
	if err != nil {
		return s, fmt.Errorf("look for the commit's files: %w", err)
	}
	s.tree = strings.TrimSpace(string(out))
	return s, nil
}

// checkout writes the files of exactly that snapshot to dst, and proves it. Those
// that older holds already, below the folder at, it leaves out and gives instead.
func (m mirror) checkout(ctx context.Context, s *snapshot, left *budget, dst string, older *tree.Kept, at string) ([]tree.Proof, error) {
	size, err := m.measure(ctx, s, left, older != nil)
	if err != nil {
		return nil, err
	}
	same, rest, err := m.unchanged(ctx, *s, older, at)
	if err != nil {
		return nil, err
	}
	for _, p := range same {
		line, _ := older.File(p.Name)
		size -= line.Size
	}
	if free, err := tree.Free(dst); err == nil && free < size {
		return nil, tree.Full(fmt.Errorf("the files need %s", tree.Size(size)), dst)
	}
	if len(same) > 0 {
		plugins.Logf(m.c.env, "%d files are as the platform before has them and are shared with it", len(same))
	}
	return same, m.write(ctx, *s, rest, dst)
}

// write puts the snapshot's files into dst, or only those that are named, each
// with a zero byte behind it.
func (m mirror) write(ctx context.Context, s snapshot, names []byte, dst string) error {
	work, err := os.MkdirTemp(m.c.env.Scratch, "git-")
	if err != nil {
		return fmt.Errorf("make folder for git: %w", tree.Explain(err, m.c.env.Scratch))
	}
	if err := errors.Join(m.c.env.Run.Chown(work), m.c.env.Run.Chown(dst)); err != nil {
		return err
	}
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(work, "index"), "GIT_WORK_TREE=" + dst}
	git := func(args ...string) (string, error) {
		out, err := m.localIn(ctx, dst, []string{work, dst}, env, nil, args...)
		return strings.TrimSpace(string(out)), err
	}
	for _, args := range [][]string{{"update-ref", "--no-deref", "HEAD", s.commit}, {"read-tree", s.tree}} {
		if _, err := git(args...); err != nil {
			return fmt.Errorf("check out commit: %w", err)
		}
	}
	checkout := run.Cmd{Args: []string{"checkout-index", "--all", "--force"}, Dir: dst, Env: env}
	if names != nil {
		checkout.Args, checkout.Stdin = []string{"checkout-index", "-z", "--stdin", "--force"}, bytes.NewReader(names)
	}
	if _, err := m.localCmd(ctx, checkout, work, dst); err != nil {
		return fmt.Errorf("check out commit: %w", err)
	}
	head, err := git("rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		return fmt.Errorf("prove commit: %w", err)
	}
	written, err := git("write-tree")
	if err != nil {
		return fmt.Errorf("prove commit: %w", err)
	}
	if head != s.commit || written != s.tree {
		return fmt.Errorf("checked out %s with tree %s instead of %s with %s: %w", head, written, s.commit, s.tree, errCorrupt)
	}
	return nil
}

// measure counts a tree before anything of it is written, since a small
// repository can unfold into an endless one, and notes its submodules. It gives
// the bytes of all files; with list the snapshot gets all of their names.
func (m mirror) measure(ctx context.Context, s *snapshot, left *budget, list bool) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var files, size int64
	s.links, s.blobs = nil, nil
	_, err := m.localIn(ctx, m.dir, nil, nil, func(line string) {
		mode, rest, _ := strings.Cut(line, " ")
		length, rest, _ := strings.Cut(rest, " ")
		id, name, _ := strings.Cut(rest, " ")
		if mode == modeSubmodule && len(s.links) <= maxSubmodules {
			s.links = append(s.links, link{unquote(name), id})
		}
		n, _ := strconv.ParseInt(length, 10, 64) // "-" for submodules
		files, size = files+1, size+n
		if list {
			s.blobs = append(s.blobs, blob{unquote(name), mode, id, n})
		}
		if files > left.files || size > left.bytes {
			cancel(models.Errorf(models.Invalid, "The repository holds more than a platform may: %d files or %s. Remove what is no part of the website, or name a sub-directory.",
				left.files, tree.Size(left.bytes)).Because(models.ReasonTooLarge))
		}
	}, "ls-tree", "-r", "--full-tree", "--format=%(objectmode) %(objectsize) %(objectname) %(path)", s.tree)
	if err == nil {
		err = context.Cause(ctx) // git may have ended before it was stopped
	}
	if err != nil {
		return 0, fmt.Errorf("measure commit: %w", err)
	}
	left.files, left.bytes = left.files-files, left.bytes-size
	plugins.Logf(m.c.env, "Checking out %d files, %s", files, tree.Size(size))
	return size, nil
}

// unquote reads a name as git prints those with unusual characters.
func unquote(name string) string {
	if plain, err := strconv.Unquote(name); err == nil && strings.HasPrefix(name, `"`) {
		return plain
	}
	return name
}

const modeSubmodule = "160000"

// content names everything of a commit that decides what a build gives: the
// commit, or the tree of its sub-directory, which other folders' commits leave
// as it is. Where submodules come from stands at the top of the repository.
func (s source) content(ctx context.Context, m mirror, commit string) (string, error) {
	if s.subdirectory == "" {
		return commit, nil
	}
	id, err := m.subtree(ctx, commit, s.subdirectory)
	if err != nil || !s.submodules {
		return id, err
	}
	_, modules, err := m.object(ctx, commit, gitmodules)
	if err != nil || modules == "" {
		return id, err
	}
	return id + "+" + modules, nil
}

// levels is how many levels of folders a check looks into.
func (s source) levels() int {
	if s.subdirectory == "" {
		return 0
	}
	return strings.Count(path.Clean(s.subdirectory), "/") + 1
}
