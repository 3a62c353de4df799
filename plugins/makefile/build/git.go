package build

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/spec"
)

const (
	cloneTimeout = 30 * time.Minute
	localTimeout = 10 * time.Minute
	maxPacks     = 40
	lockPoll     = 50 * time.Millisecond
)

// defaultGit is where drupal.org keeps the repositories of its projects.
const defaultGit = "https://git.drupalcode.org/project"

// errNotOffered marks a server that does not hand out a commit by its name.
var errNotOffered = errors.New("the server does not offer that commit")

var fullCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// checkout tells of the commit whose files an entry got.
type checkout struct {
	commit   string
	when     time.Time // of the commit
	describe string    // git describe --tags, "" when it was not asked or knows nothing
}

// gitEnvironment is the environment of git, with further variables.
func gitEnvironment(more ...string) []string {
	env := plugins.GitEnvironment("http:https", [2]string{"advice.detachedHead", "false"})
	return append(append(env, "TZ=UTC"), more...)
}

// repository is one repository on a server, for one entry.
type repository struct {
	b      *builder
	name   string // of the entry
	url    string
	host   string
	folder string // of a repository on this machine, which has no host
	git    string // folder with the objects
}

// git puts the files of the entry's commit into the folder.
func (b *builder) git(ctx context.Context, e *entry, folder string) (*checkout, error) {
	d := e.download
	if !fullCommit.MatchString(d.Commit) {
		return nil, fmt.Errorf("check out %s: the plan names no commit", e.name)
	}
	r, err := b.repository(e, d)
	if err != nil {
		return nil, err
	}
	plugins.Logf(b.env, "Fetching %s at %s from %s", e.name, d.Commit[:7], d.URL)
	var c *checkout
	if e.workingCopy || d.Submodule {
		c, err = r.clone(ctx, e, folder)
	} else {
		c, err = r.export(ctx, d, b.wantsInfo(e) && developmentBranch(stampedVersion(e)) != "", folder)
	}
	if err != nil {
		return nil, err
	}
	if err := refusePointers(ctx, folder); err != nil {
		return nil, err
	}
	b.took(models.SourcePackage{Name: e.name, Type: e.kind, Version: cmp.Or(e.version, cmp.Or(d.Tag, d.Branch)), URL: d.URL, Checksum: "git:" + d.Commit})
	plugins.Logf(b.env, "%s checked out, %s", e.name, d.Commit[:7])
	return c, nil
}

// refusePointers refuses checkouts whose files are elsewhere.
func refusePointers(ctx context.Context, folder string) error {
	all := tree.Options{Skip: func(e tree.Entry) bool { return e.Link != "" || e.Path == ".git" }}
	return tree.Walk(ctx, folder, all, func(e tree.Entry) error {
		pointer, err := plugins.IsLFSPointer(e)
		if err != nil || !pointer {
			return err
		}
		return models.Errorf(models.Invalid, "%q is kept in Git LFS, which Hefring does not fetch: the repository holds only a pointer to it. Use an archive, or another version.", e.Path)
	})
}

func (b *builder) repository(e *entry, d *spec.Download) (*repository, error) {
	address := d.URL
	if d.DefaultURL && b.options.GitBase != "" {
		address = strings.TrimRight(b.options.GitBase, "/") + strings.TrimPrefix(d.URL, defaultGit)
	}
	r, err := b.at(e.name, address)
	if err != nil {
		return nil, models.Wrapf(models.Invalid, err, "Unable to clone %s from %s: %s", e.name, d.URL, models.Explain(err)).Because(models.ReasonURL)
	}
	return r, nil
}

// at is the repository at an address that may be used here.
func (b *builder) at(name, address string) (*repository, error) {
	if b.env.Local && OnThisMachine(address) {
		folder, err := localFolder(address, b.env.Forbidden)
		return &repository{b: b, name: name, url: address, folder: folder}, err
	}
	u, err := b.env.Egress.CheckURL(address, "https", "http")
	if err != nil {
		return nil, err
	}
	return &repository{b: b, name: name, url: address, host: u.Host}, nil
}

// mirrorDir is a bare repository in the cache. Those with history are kept apart
// from those that hold single commits.
func (r *repository) mirrorDir(history bool) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %t", r.url, history))
	return filepath.Join(cmp.Or(r.b.env.Cache, r.b.stage), "makefile", "git", hex.EncodeToString(sum[:16]))
}

// export writes the files of the commit by way of a mirror, with the history that
// tells of it if that is wanted.
func (r *repository) export(ctx context.Context, d *spec.Download, history bool, folder string) (*checkout, error) {
	r.git = r.mirrorDir(history)
	if err := os.MkdirAll(filepath.Dir(r.git), 0o755); err != nil { //nolint:gosec // another user passes through
		return nil, fmt.Errorf("make git cache: %w", tree.Explain(err, r.b.env.Cache))
	}
	unlock, err := lock(ctx, r.git+".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	if err := r.want(ctx, d, history); err != nil {
		return nil, err
	}
	if err := r.write(ctx, d.Commit, folder); err != nil {
		return nil, err
	}
	return r.tell(ctx, d.Commit, history)
}

// lock waits for the mirror's lock, which the kernel drops with its holder.
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

// prepare leaves an empty or a usable mirror. One that a killed git left
// unusable, or that has grown many packs, is made anew.
func (r *repository) prepare(ctx context.Context) error {
	if _, err := os.Lstat(r.git); err == nil {
		packs, _ := filepath.Glob(filepath.Join(r.git, "objects", "pack", "*.pack"))
		_, broken := r.local(ctx, "rev-parse", "--is-bare-repository")
		if broken == nil && len(packs) <= maxPacks {
			return r.unlockRefs()
		}
	}
	if err := os.RemoveAll(r.git); err != nil {
		return fmt.Errorf("remove git cache: %w", err)
	}
	if err := plugins.MakeDir(r.b.env, r.git); err != nil {
		return err
	}
	_, err := r.run(ctx, gitCall{writable: []string{r.git}, args: []string{"--git-dir=" + r.git, "init", "--quiet", "--bare", "--template=", "--initial-branch=main"}})
	if err != nil {
		return fmt.Errorf("make git cache: %w", err)
	}
	return nil
}

// unlockRefs removes the locks of a git that was killed; we hold the mirror's
// own lock.
func (r *repository) unlockRefs() error {
	for _, pattern := range []string{"*.lock", "refs/*/*.lock", "refs/*/*/*.lock", "objects/pack/tmp_*"} {
		names, _ := filepath.Glob(filepath.Join(r.git, pattern))
		for _, name := range names {
			if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("tidy git cache: %w", err)
			}
		}
	}
	return nil
}

// want fetches the commit unless it is there; with history, the tags and what
// led to it as well.
func (r *repository) want(ctx context.Context, d *spec.Download, history bool) error {
	if !history && r.has(ctx, d.Commit) {
		return nil
	}
	everything := []string{"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}
	attempts := [][]string{
		{"--depth=1", "+" + d.Commit + ":refs/hefring/" + d.Commit},
		everything,
		{"+" + d.Commit + ":refs/hefring/" + d.Commit},
	}
	if history {
		attempts = [][]string{everything, {"+" + d.Commit + ":refs/hefring/" + d.Commit}}
	}
	if d.Refspec != "" {
		from, _, _ := strings.Cut(strings.TrimPrefix(d.Refspec, "+"), ":")
		attempts = append(attempts, []string{"+" + from + ":refs/hefring/" + d.Commit})
	}
	for _, attempt := range attempts {
		err := r.fetch(ctx, attempt...)
		if err != nil && !errors.Is(err, errNotOffered) {
			return err
		}
		if r.has(ctx, d.Commit) {
			return nil
		}
	}
	return models.Errorf(models.Conflict, "Commit %s is no longer in the repository %s: it was rewritten after the check. Check again.", d.Commit[:7], d.URL).
		Because(models.ReasonRewritten)
}

func (r *repository) has(ctx context.Context, commit string) bool {
	_, err := r.local(ctx, "cat-file", "-e", commit+"^{commit}")
	return err == nil
}

func (r *repository) fetch(ctx context.Context, args ...string) error {
	command := []string{
		"--git-dir=" + r.git, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
		"--no-auto-maintenance", "--refmap=",
	}
	if strings.HasPrefix(args[0], "--depth") {
		command, args = append(command, args[0]), args[1:]
	}
	command = append(append(command, "--", r.from()), args...)
	return r.transfer(ctx, gitCall{writable: []string{r.git}, args: command})
}

// write puts the files of the commit into the folder, and proves that it did.
func (r *repository) write(ctx context.Context, commit, folder string) error {
	if err := r.measure(ctx, commit, false); err != nil {
		return err
	}
	work, err := r.b.newFolder()
	if err != nil {
		return err
	}
	if err := errors.Join(r.b.env.Run.Chown(work), r.b.env.Run.Chown(folder)); err != nil {
		return err
	}
	git := func(args ...string) (string, error) {
		out, err := r.run(ctx, gitCall{
			dir: folder, writable: []string{r.git, work, folder},
			env:  []string{"GIT_INDEX_FILE=" + filepath.Join(work, "index"), "GIT_WORK_TREE=" + folder},
			args: append([]string{"--git-dir=" + r.git}, args...),
		})
		return strings.TrimSpace(out), err
	}
	want, err := git("rev-parse", "--verify", commit+"^{tree}")
	if err != nil {
		return fmt.Errorf("check out commit: %w", err)
	}
	for _, step := range [][]string{{"update-ref", "--no-deref", "HEAD", commit}, {"read-tree", want}, {"checkout-index", "--all", "--force"}} {
		if _, err := git(step...); err != nil {
			return fmt.Errorf("check out commit: %w", err)
		}
	}
	written, err := git("write-tree")
	if err != nil {
		return fmt.Errorf("prove commit: %w", err)
	}
	if written != want {
		return fmt.Errorf("checked out tree %s instead of %s", written, want)
	}
	return os.RemoveAll(work)
}

// measure holds a commit to the limits before anything of it is written. wanted
// tells that its submodules will be fetched.
func (r *repository) measure(ctx context.Context, commit string, wanted bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limits := r.b.options.Tree.Limited()
	var files, bytes int64
	submodules := 0
	lines := run.Lines(func(line string) {
		n, _ := strconv.ParseInt(line, 10, 64)
		if line == "-" {
			submodules++
		}
		files, bytes = files+1, bytes+n
		if files > limits.Files || bytes > limits.Bytes {
			cancel(models.Errorf(models.Invalid, "The repository %s holds more than a platform may: %d files or %s.", r.url, limits.Files, tree.Size(limits.Bytes)).
				Because(models.ReasonTooLarge))
		}
	})
	_, err := r.b.env.Run.Run(ctx, run.Cmd{
		Name: "git", Args: []string{"--git-dir=" + r.git, "ls-tree", "-r", "--full-tree", "--format=%(objectsize)", commit}, Dir: r.git,
		Env: gitEnvironment(), Stdout: lines, Timeout: localTimeout, Sandbox: &run.Sandbox{ReadOnly: []string{r.git}},
	})
	_ = lines.Close()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return fmt.Errorf("measure commit: %w", err)
	}
	if submodules > 0 && !wanted {
		plugins.Logf(r.b.env, "Note: %s has git submodules, which stay empty folders. To fetch them give download[submodule].", r.name)
	}
	if free, err := tree.Free(r.b.dst); err == nil && free < bytes {
		return tree.Full(fmt.Errorf("the files need %s", tree.Size(bytes)), r.b.dst)
	}
	return nil
}

// tell gives what is known of the commit.
func (r *repository) tell(ctx context.Context, commit string, history bool) (*checkout, error) {
	out, err := r.local(ctx, "log", "-1", "--no-show-signature", "--format=%ct", commit, "--")
	if err != nil {
		return nil, fmt.Errorf("read commit: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read commit: %w", err)
	}
	c := &checkout{commit: commit, when: time.Unix(seconds, 0).UTC()}
	if !history {
		return c, nil
	}
	// Without a tag that leads to the commit git fails, and there is nothing to tell.
	if out, err := r.local(ctx, "describe", "--tags", "--abbrev=7", commit); err == nil {
		c.describe = strings.TrimSpace(out)
	}
	return c, nil
}

// clone makes a repository of its own in the folder, for who wants to work in it,
// and for submodules.
func (r *repository) clone(ctx context.Context, e *entry, folder string) (*checkout, error) {
	d := e.download
	if err := r.b.env.Run.Chown(folder); err != nil {
		return nil, err
	}
	r.git = filepath.Join(folder, ".git")
	git := func(args ...string) error {
		_, err := r.run(ctx, gitCall{dir: folder, writable: []string{folder}, args: args})
		return err
	}
	if err := git("init", "--quiet", "--template=", "--initial-branch=main"); err != nil {
		return nil, fmt.Errorf("make repository: %w", err)
	}
	if err := git("remote", "add", "origin", "--", r.url); err != nil {
		return nil, fmt.Errorf("make repository: %w", err)
	}
	if err := r.wantAll(ctx, d, folder); err != nil {
		return nil, err
	}
	if err := r.measure(ctx, d.Commit, d.Submodule); err != nil {
		return nil, err
	}
	checkout := []string{"checkout", "--quiet", "--force", "--detach", d.Commit, "--"}
	if d.Branch != "" && d.Tag == "" && d.Revision == "" && d.Refspec == "" {
		checkout = []string{"checkout", "--quiet", "--force", "-B", d.Branch, d.Commit, "--"}
	}
	if err := git(checkout...); err != nil {
		return nil, fmt.Errorf("check out commit: %w", err)
	}
	if d.Submodule {
		err := r.remote(ctx, gitCall{dir: folder, writable: []string{folder}, args: []string{"submodule", "--quiet", "update", "--init", "--recursive"}}, nil)
		if err != nil {
			return nil, models.Wrapf(models.CodeOf(err), err, "Unable to initialize submodules: %s", models.Explain(err)).Because(models.ReasonOf(err))
		}
	}
	return r.tell(ctx, d.Commit, true)
}

// wantAll fetches branches, tags and the commit.
func (r *repository) wantAll(ctx context.Context, d *spec.Download, folder string) error {
	attempts := [][]string{{"+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"}, {"+" + d.Commit + ":refs/hefring/commit"}}
	if d.Refspec != "" {
		from, _, _ := strings.Cut(strings.TrimPrefix(d.Refspec, "+"), ":")
		attempts = append(attempts, []string{"+" + from + ":refs/hefring/commit"})
	}
	for _, attempt := range attempts {
		command := append([]string{"--git-dir=" + r.git, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--refmap=", "--", r.from()}, attempt...)
		err := r.transfer(ctx, gitCall{writable: []string{folder}, args: command})
		if err != nil && !errors.Is(err, errNotOffered) {
			return err
		}
		if r.has(ctx, d.Commit) {
			return nil
		}
	}
	return models.Errorf(models.Conflict, "Commit %s is no longer in the repository %s: it was rewritten after the check. Check again.", d.Commit[:7], d.URL).
		Because(models.ReasonRewritten)
}

// copyFromGit takes a folder of the repository that the makefile lies in.
func (b *builder) copyFromGit(ctx context.Context, e *entry, folder string) error {
	ref := e.download.Ref
	if !fullCommit.MatchString(ref.Commit) {
		return fmt.Errorf("copy %s: the plan names no commit", ref.Path)
	}
	whole, err := b.newFolder()
	if err != nil {
		return err
	}
	beside := *e
	beside.download = &spec.Download{Type: spec.DownloadGit, URL: ref.Git, Commit: ref.Commit}
	beside.workingCopy = false
	if _, err := b.git(ctx, &beside, whole); err != nil {
		return err
	}
	source, err := within(whole, ref.Path)
	if err != nil {
		return models.Wrapf(models.Invalid, err, "There is no folder %s in the makefile's repository. Correct download[url].", ref.Path).Because(models.ReasonNotFound)
	}
	if err := tree.Copy(ctx, source, folder, tree.Options{}); err != nil {
		return err
	}
	return os.RemoveAll(whole)
}

// gitCall is one run of git.
type gitCall struct {
	dir      string
	writable []string
	env      []string
	args     []string
}

// local runs git on the repository without network.
func (r *repository) local(ctx context.Context, args ...string) (string, error) {
	return r.run(ctx, gitCall{writable: []string{r.git}, args: append([]string{"--git-dir=" + r.git}, args...)})
}

func (r *repository) run(ctx context.Context, c gitCall) (string, error) {
	res, err := r.b.env.Run.Run(ctx, run.Cmd{
		Name: "git", Args: c.args, Dir: c.dir, Env: gitEnvironment(c.env...), Timeout: localTimeout,
		Sandbox: &run.Sandbox{Writable: c.writable, Network: run.NetworkNone},
	})
	if full := plugins.FullDisk(err, r.b.dst, r.b.env.Cache); full != nil {
		return "", full
	}
	return string(res.Stdout), err
}

// from is the address that git is given.
func (r *repository) from() string {
	if r.folder == "" {
		return r.url
	}
	u := url.URL{Scheme: "file", Path: r.folder}
	return u.String()
}

// transfer runs git with the repository, wherever it is. Its errors are for
// people.
func (r *repository) transfer(ctx context.Context, c gitCall) error {
	if r.folder == "" {
		return r.remote(ctx, c, r.onlyHost)
	}
	_, err := r.withFolder(ctx, c)
	return err
}

// onlyHost lets git speak to the repository's server alone.
func (r *repository) onlyHost(host string, port int) bool {
	u, err := url.Parse(r.url)
	if err != nil || !strings.EqualFold(u.Hostname(), host) {
		return false
	}
	switch {
	case u.Port() != "":
		return u.Port() == strconv.Itoa(port)
	case u.Scheme == "http":
		return port == 80
	}
	return port == 443
}

// remote runs git with the guarded network. Its errors are for people.
func (r *repository) remote(ctx context.Context, c gitCall, allow func(string, int) bool) error {
	leave, err := r.b.hosts.enter(ctx, r.host)
	if err != nil {
		return err
	}
	defer leave()
	return r.b.patiently(ctx, func() error {
		proxy, err := plugins.OpenProxy(ctx, r.b.env, allow)
		if err != nil {
			return err
		}
		defer proxy.Close()
		_, err = r.b.env.Run.Run(ctx, run.Cmd{
			Name: "git", Args: c.args, Dir: c.dir, Env: gitEnvironment(c.env...), Timeout: cloneTimeout,
			Sandbox: &run.Sandbox{Writable: c.writable, Network: run.NetworkProxy, Proxy: proxy.Socket()},
		})
		return r.explain(err, proxy)
	})
}
