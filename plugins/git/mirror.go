package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
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
// far. Whoever holds one has it alone.
type mirror struct {
	c      *client
	dir    string
	format string // hash of its objects: sha1 or sha256
	// partial marks the copy that checks use: commits, and folders as far down as
	// they were asked for, but no files.
	partial bool
}

// withFiles runs fn on the mirror that builds take their files from.
func (c *client) withFiles(ctx context.Context, format string, fn func(mirror) error) error {
	return c.withMirror(ctx, mirror{c: c, dir: c.cacheDir() + suffix(format), format: format}, fn)
}

// withHistory runs fn on the mirror that checks look at: without files, where
// the server leaves them out. Git must not be told to look for missing objects on
// a server of plain files: it would call itself without end.
func (c *client) withHistory(ctx context.Context, format string, fn func(mirror) error) error {
	if _, err := os.Lstat(c.cacheDir() + wholeMark); err == nil {
		return c.withFiles(ctx, format, fn)
	}
	return c.withMirror(ctx, mirror{c: c, dir: c.cacheDir() + suffix(format) + ".history", format: format, partial: true}, fn)
}

// wholeMark stands beside the mirrors of a server that always sends everything.
const wholeMark = ".whole"

func suffix(format string) string {
	if format == "sha1" {
		return ""
	}
	return "." + format
}

// withMirror runs fn on a mirror. A damaged one is made anew once.
func (c *client) withMirror(ctx context.Context, m mirror, fn func(mirror) error) error {
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
	_, err := m.local(ctx, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", "--object-format="+m.format)
	return err
}

// local runs git on the mirror, without network.
func (m mirror) local(ctx context.Context, args ...string) ([]byte, error) {
	return m.localIn(ctx, m.dir, nil, nil, nil, args...)
}

// localIn is local in another working folder; writable are further folders that
// git may change, env further variables, and lines, if given, takes its output.
func (m mirror) localIn(ctx context.Context, dir string, writable, env []string, lines func(string), args ...string) ([]byte, error) {
	cmd := run.Cmd{Args: args, Dir: dir, Env: env}
	if lines != nil {
		w := run.Lines(lines)
		defer func() { _ = w.Close() }()
		cmd.Stdout = w
	}
	return m.localCmd(ctx, cmd, writable...)
}

// localCmd runs git's command on the mirror, in its sandbox.
func (m mirror) localCmd(ctx context.Context, cmd run.Cmd, writable ...string) ([]byte, error) {
	cmd.Name, cmd.Timeout = "git", localTimeout
	cmd.Args = append([]string{"--literal-pathspecs", "--git-dir=" + m.dir}, cmd.Args...)
	cmd.Env = append(plugins.GitEnvironment("none"), cmd.Env...)
	cmd.Sandbox = &run.Sandbox{Writable: append([]string{m.dir}, writable...), Network: run.NetworkNone}
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

// wanted is one object that a mirror is to have.
type wanted struct {
	object string
	ref    string // where it was seen, "" for nowhere
	depth  int    // commits of its history, 1 for none but itself
	levels int    // of folders, in a partial mirror
}

// want makes sure that the object is in the mirror.
func (m mirror) want(ctx context.Context, w wanted) error {
	if m.has(ctx, w.object) {
		return nil
	}
	plugins.Logf(m.c.env, "Fetching %s from %s", w.object[:7], m.c.remote.host())
	return m.load(ctx, w)
}

// everything is the depth that git takes for no limit.
const everything = 2147483647

// load fetches the object. Servers differ in what they hand out, so it tries the
// object itself, then its ref, then the ref's history, since the ref may have
// moved on, then all branches.
func (m mirror) load(ctx context.Context, w wanted) error {
	const incoming = "refs/hefring/incoming"
	type attempt struct {
		depth   int
		refspec string
	}
	attempts := []attempt{{w.depth, "+" + w.object + ":refs/hefring/" + w.object}}
	if w.ref != "" {
		ref := "+" + w.ref + ":" + incoming
		// Servers of plain files know no depth.
		attempts = append(attempts, attempt{w.depth, ref}, attempt{everything, ref}, attempt{0, ref})
	} else {
		all := "+refs/heads/*:" + incoming + "/*"
		attempts = append(attempts, attempt{everything, all}, attempt{0, all})
	}
	var last error
	for _, a := range attempts {
		last = m.fetch(ctx, a.depth, w.levels, a.refspec)
		if last != nil && !errors.Is(last, errNotOffered) {
			return last
		}
		if last == nil && m.has(ctx, w.object) {
			return nil
		}
	}
	if last != nil && !errors.Is(last, errNotOffered) {
		return last
	}
	return models.Wrapf(models.Invalid, last,
		"Commit %s is no longer in the repository: its history was rewritten, or it never was there. Check again to build what it holds now.", w.object[:7]).
		Because(models.ReasonRefNotFound)
}

func (m mirror) has(ctx context.Context, object string) bool {
	_, err := m.local(ctx, "cat-file", "-e", object)
	return err == nil
}

// fetch gets refspec with depth commits of history, 0 for no limit.
func (m mirror) fetch(ctx context.Context, depth, levels int, refspec string) error {
	args := []string{
		"--git-dir=" + m.dir, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
		"--no-recurse-submodules", "--no-auto-maintenance", "--refmap=",
	}
	if depth > 0 {
		args = append(args, "--depth="+strconv.Itoa(depth))
	}
	fetching := call{timeout: fetchTimeout, output: 1 << 20, writable: []string{m.dir}, partial: m.partial}
	if !m.partial {
		fetching.args = slices.Concat(args, []string{"--", m.c.remote.url, refspec})
		_, err := m.c.ask(ctx, fetching)
		return err
	}
	var err error
	for _, filter := range []string{"tree:" + strconv.Itoa(levels), "blob:none"} {
		fetching.args = slices.Concat(args, []string{"--filter=" + filter, "--", promisor, refspec})
		var res run.Result
		res, err = m.c.ask(ctx, fetching)
		if err == nil && bytes.Contains(res.Stderr, []byte("filtering not recognized")) {
			m.c.markWhole()
		}
		if !errors.Is(err, errNoFilter) {
			return err
		}
	}
	m.c.markWhole()
	return err
}

// markWhole remembers that partial copies gain nothing here.
func (c *client) markWhole() {
	name := c.cacheDir() + wholeMark
	_ = os.MkdirAll(filepath.Dir(name), 0o755) //nolint:gosec // another user passes through
	_ = os.WriteFile(name, nil, 0o600)         // without it checks are only slower
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

// isCommit tells an odd tag or ref from one that can be built.
func (m mirror) isCommit(ctx context.Context, t tip) error {
	out, err := m.local(ctx, "cat-file", "-t", t.commit)
	if err != nil {
		return fmt.Errorf("look at %s: %w", t.commit, err)
	}
	if kind := strings.TrimSpace(string(out)); kind != "commit" {
		return models.Errorf(models.Invalid, "%s is a %s and not a commit, so there is nothing to build. Choose another reference.", t.name(), kind).
			Because(models.ReasonRefNotFound)
	}
	return nil
}

// object finds an entry of the commit's tree; its id is "" when there is none.
func (m mirror) object(ctx context.Context, commit, name string) (kind, id string, err error) {
	args := []string{"ls-tree", "-z", "--full-tree", commit, name}
	out, err := m.local(ctx, args...)
	if err != nil && m.partial { // a folder on the way is not here yet
		var res run.Result
		res, err = m.c.ask(ctx, call{
			timeout: fetchTimeout, output: 1 << 20, writable: []string{m.dir}, partial: true,
			args: append([]string{"--literal-pathspecs", "--git-dir=" + m.dir}, args...),
		})
		out = res.Stdout
	}
	if err != nil {
		return "", "", fmt.Errorf("look for %s in commit: %w", name, err)
	}
	info, _, _ := strings.Cut(string(out), "\t")
	if parts := strings.Fields(info); len(parts) == 3 && isObject(parts[2]) {
		return parts[1], parts[2], nil
	}
	return "", "", nil
}

// subtree gives the id of a folder of the commit.
func (m mirror) subtree(ctx context.Context, commit, folder string) (string, error) {
	kind, id, err := m.object(ctx, commit, folder)
	if err != nil || kind == "tree" {
		return id, err
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
			"The repository has no folder %q, nor any other. Leave the sub-directory empty.", folder).Because(models.ReasonNotFound))
	}
	return fieldError(fieldSubdirectory, models.Errorf(models.Invalid,
		"The repository has no folder %q. Correct the sub-directory: there %s.", folder, offer(folder, names)).Because(models.ReasonNotFound))
}
