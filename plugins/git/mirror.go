package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
)

const (
	// Each fetch adds a pack; fetching everything anew once in a while is the
	// simplest way to keep the cache small and quick.
	maxPacks = 40
	maxNote  = 200 // characters of a commit's subject
	lockPoll = 50 * time.Millisecond
)

// errCorrupt marks failures that a new copy of the repository may cure.
var errCorrupt = errors.New("cached repository is damaged")

// mirror is a bare repository in the cache that holds the commits fetched so
// far, each without its history. Whoever holds one has it alone.
type mirror struct {
	c   *client
	dir string
}

// withMirror runs fn on the repository's mirror. A damaged mirror is made anew
// once.
func (c *client) withMirror(ctx context.Context, fn func(mirror) error) error {
	m := mirror{c, c.cacheDir()}
	if err := os.MkdirAll(filepath.Dir(m.dir), 0o755); err != nil { //nolint:gosec // another user passes through
		return fmt.Errorf("make git cache: %w", tree.Explain(err, c.env.Cache))
	}
	unlock, err := lock(ctx, m.dir+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	fresh, err := m.prepare(ctx)
	if err != nil {
		return err
	}
	err = fn(m)
	if fresh || ctx.Err() != nil || !errors.Is(err, errCorrupt) {
		return err
	}
	plugins.Logf(c.env, "The cached copy of the repository is damaged; it is fetched anew")
	if err := m.remake(ctx); err != nil {
		return err
	}
	return fn(m)
}

// lock waits for the mirror's lock. The kernel drops it with the process that
// holds it, so it is never left behind.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // in our own cache
	if err != nil {
		return nil, fmt.Errorf("lock git cache: %w", tree.Explain(err, filepath.Dir(name)))
	}
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock git cache: %w", err), file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), file.Close())
		case <-ticker.C:
		}
	}
}

// prepare leaves a mirror that git can use; fresh tells that it is empty.
func (m mirror) prepare(ctx context.Context) (fresh bool, err error) {
	packs, err := m.tidy()
	if err != nil || packs > maxPacks {
		return true, m.remake(ctx)
	}
	return packs == 0, nil
}

// tidy removes what a killed git left, counts the packs, and fails when the
// folder is no repository.
func (m mirror) tidy() (packs int, err error) {
	root, err := os.OpenRoot(m.dir)
	if err != nil {
		return 0, err
	}
	defer func() { _ = root.Close() }()
	for _, part := range []string{"HEAD", "config", "objects", "refs"} {
		if _, err := root.Lstat(part); err != nil {
			return 0, err
		}
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		switch {
		case !entry.Type().IsRegular():
		case strings.HasSuffix(base, ".lock"), strings.HasPrefix(base, "tmp_"), strings.HasPrefix(base, ".tmp"):
			return root.Remove(name)
		case strings.HasSuffix(base, ".pack"):
			packs++
		}
		return nil
	})
	return packs, err
}

func (m mirror) remake(ctx context.Context) error {
	if err := os.RemoveAll(m.dir); err != nil {
		return fmt.Errorf("remove git cache: %w", err)
	}
	if err := plugins.MakeDir(m.c.env, m.dir); err != nil {
		return err
	}
	_, err := m.local(ctx, "init", "--quiet", "--bare", "--template=", "--initial-branch=main")
	return err
}

// local runs git on the mirror, without network.
func (m mirror) local(ctx context.Context, args ...string) ([]byte, error) {
	return m.localIn(ctx, m.dir, nil, nil, nil, args...)
}

// localIn is local in another working folder; writable are further folders that
// git may change, env further variables, and lines, if given, takes its output.
func (m mirror) localIn(ctx context.Context, dir string, writable, env []string, lines func(string), args ...string) ([]byte, error) {
	cmd := run.Cmd{
		Name: "git", Args: append([]string{"--literal-pathspecs", "--git-dir=" + m.dir}, args...), Dir: dir,
		Env: environment(env...), Timeout: localTimeout,
		Sandbox: &run.Sandbox{Writable: append([]string{m.dir}, writable...), Network: run.NetworkNone},
	}
	if lines != nil {
		w := run.Lines(lines)
		defer func() { _ = w.Close() }()
		cmd.Stdout = w
	}
	res, err := m.c.env.Run.Run(ctx, cmd)
	if err == nil {
		return res.Stdout, nil
	}
	if full := plugins.FullDisk(err, append([]string{m.c.env.Cache}, writable...)...); full != nil {
		return nil, full
	}
	if exit, ok := errors.AsType[*run.ExitError](err); ok && exit.Signal == 0 {
		return nil, errors.Join(errCorrupt, err)
	}
	return nil, err
}

// want makes sure that the commit is in the mirror. Servers differ in what they
// hand out, so it tries the commit itself, then its branch, then the branch's
// history, since the branch may have moved on.
func (m mirror) want(ctx context.Context, t tip) error {
	if m.has(ctx, t.commit) {
		return nil
	}
	plugins.Logf(m.c.env, "Fetching commit %s from %s", t.commit[:7], m.c.source.host)
	const incoming = "refs/hefring/incoming"
	attempts := [][]string{
		{"--depth=1", "+" + t.commit + ":refs/hefring/" + t.commit},
		{"--depth=1", "+" + t.ref + ":" + incoming},
		{"--depth=2147483647", "+" + t.ref + ":" + incoming},
		{"", "+" + t.ref + ":" + incoming}, // servers of plain files know no depth
	}
	var last error
	for _, attempt := range attempts {
		last = m.fetch(ctx, attempt[0], attempt[1])
		if last != nil && !errors.Is(last, errNotOffered) {
			return last
		}
		if last == nil && m.has(ctx, t.commit) {
			return nil
		}
	}
	if last != nil && !errors.Is(last, errNotOffered) {
		return last
	}
	return models.Wrapf(models.Invalid, last,
		"Commit %s is no longer in the repository: the branch was rewritten after the check. Check again to build what it holds now.", t.commit[:7])
}

func (m mirror) has(ctx context.Context, commit string) bool {
	_, err := m.local(ctx, "cat-file", "-e", commit+"^{commit}")
	return err == nil
}

func (m mirror) fetch(ctx context.Context, depth, refspec string) error {
	args := []string{
		"--git-dir=" + m.dir, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
		"--no-recurse-submodules", "--no-auto-maintenance", "--refmap=",
	}
	if depth != "" {
		args = append(args, depth)
	}
	_, err := m.c.remote(ctx, fetchTimeout, 1<<20, []string{m.dir}, append(args, "--", m.c.source.url, refspec)...)
	return err
}

// subject gives the first line of the commit's message, made harmless.
func (m mirror) subject(ctx context.Context, commit string) (string, error) {
	out, err := m.local(ctx, "log", "-1", "--no-show-signature", "--encoding=UTF-8",
		fmt.Sprintf("--format=%%<(%d,trunc)%%s", maxNote), commit, "--")
	if err != nil {
		return "", fmt.Errorf("read commit message: %w", err)
	}
	return strings.TrimSpace(run.Clean(strings.TrimSpace(string(out)))), nil
}

// subtree gives the id of a folder of the commit.
func (m mirror) subtree(ctx context.Context, commit, folder string) (string, error) {
	out, err := m.local(ctx, "ls-tree", "-z", "--full-tree", "-d", commit, folder)
	if err != nil {
		return "", fmt.Errorf("look for sub-directory: %w", err)
	}
	info, _, _ := strings.Cut(string(out), "\t")
	parts := strings.Fields(info)
	if len(parts) == 3 && parts[1] == "tree" && len(parts[2]) == 40 {
		return parts[2], nil
	}
	return "", m.noFolder(ctx, commit, folder)
}

func (m mirror) noFolder(ctx context.Context, commit, folder string) error {
	var names []string
	_, err := m.localIn(ctx, m.dir, nil, nil, func(line string) {
		if len(names) < 1000 {
			names = append(names, line)
		}
	}, "ls-tree", "--full-tree", "-d", "--name-only", commit)
	if err != nil {
		return fmt.Errorf("list folders: %w", err)
	}
	if len(names) == 0 {
		return fieldError(fieldSubdirectory, models.Errorf(models.Invalid,
			"The repository has no folder %q, nor any other. Leave the sub-directory empty.", folder))
	}
	return fieldError(fieldSubdirectory, models.Errorf(models.Invalid,
		"The repository has no folder %q. Correct the sub-directory: there %s.", folder, offer(folder, names)))
}

// checkout writes the files of exactly that commit to dst. content is what the
// check saw: the commit, or the id of the sub-directory's tree.
func (m mirror) checkout(ctx context.Context, commit, content, dst string) error {
	treeID, err := m.expected(ctx, commit, content)
	if err != nil {
		return err
	}
	size, err := m.measure(ctx, treeID)
	if err != nil {
		return err
	}
	if free, err := tree.Free(dst); err == nil && free < size {
		return tree.Full(fmt.Errorf("the files need %s", tree.Size(size)), dst)
	}
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
	if _, err := git("update-ref", "--no-deref", "HEAD", commit); err != nil {
		return fmt.Errorf("check out commit: %w", err)
	}
	if _, err := git("read-tree", treeID); err != nil {
		return fmt.Errorf("check out commit: %w", err)
	}
	if _, err := git("checkout-index", "--all", "--force"); err != nil {
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
	if head != commit || written != treeID {
		return fmt.Errorf("checked out %s with tree %s instead of %s with %s: %w", head, written, commit, treeID, errCorrupt)
	}
	return nil
}

// expected gives the tree that a build of the version takes.
func (m mirror) expected(ctx context.Context, commit, content string) (string, error) {
	if m.c.source.subdirectory == "" && content == commit {
		out, err := m.local(ctx, "rev-parse", "--verify", commit+"^{tree}")
		if err != nil {
			return "", fmt.Errorf("look for the commit's files: %w", err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	if m.c.source.subdirectory != "" {
		treeID, err := m.subtree(ctx, commit, m.c.source.subdirectory)
		if err != nil || treeID == content {
			return treeID, err
		}
	}
	return "", models.Errorf(models.Conflict, "The sub-directory was changed after the check. Check again, then build.")
}

// measure counts a tree before anything of it is written, since a small
// repository can unfold into an endless one. It gives the bytes of all files.
func (m mirror) measure(ctx context.Context, treeID string) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limits := m.c.source.limits
	if limits.Files == 0 {
		limits.Files = tree.DefaultFiles
	}
	if limits.Bytes == 0 {
		limits.Bytes = tree.DefaultBytes
	}
	var files, bytes int64
	var submodules []string
	_, err := m.localIn(ctx, m.dir, nil, nil, func(line string) {
		mode, rest, _ := strings.Cut(line, " ")
		size, name, _ := strings.Cut(rest, " ")
		if mode == "160000" && len(submodules) < 5 {
			submodules = append(submodules, name)
		}
		n, _ := strconv.ParseInt(size, 10, 64) // "-" for submodules
		files, bytes = files+1, bytes+n
		if files > limits.Files || bytes > limits.Bytes {
			cancel(models.Errorf(models.Invalid, "The repository holds more than a platform may: %d files or %s. Remove what is no part of the website, or name a sub-directory.",
				limits.Files, tree.Size(limits.Bytes)))
		}
	}, "ls-tree", "-r", "--full-tree", "--format=%(objectmode) %(objectsize) %(path)", treeID)
	if err != nil {
		return 0, fmt.Errorf("measure commit: %w", err)
	}
	if len(submodules) > 0 {
		plugins.Logf(m.c.env, "Warning: git submodules are not fetched: %s", strings.Join(submodules, ", "))
	}
	plugins.Logf(m.c.env, "Checking out %d files, %s", files, tree.Size(bytes))
	return bytes, nil
}
