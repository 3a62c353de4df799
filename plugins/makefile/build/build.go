// Package build makes a tree out of a makefile that was read and resolved: it
// downloads, checks, unpacks, patches and puts in place what the makefile names,
// as Drush 8 does (commands/make of its sources). What differs is in Differences.
//
// Everything is prepared in a folder of its own inside of the target, several
// projects at a time, and then put in place in the makefile's order. A single
// failure fails the whole build.
package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"hefring/internal/archive"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/spec"
)

// Job is what is built, and how what it names is read.
type Job struct {
	// Makefile was resolved: projects without download have a Release, git
	// downloads a Commit, and patches a true Ref.
	Makefile *spec.Makefile
	// Loader reads patches, files and makefiles that the makefile names.
	Loader spec.Loader
	// Folder on this machine is where references of the makefile with a Path alone
	// begin; "" when the makefile is not local.
	Folder string
	// Resolve pins a makefile that was found inside of a project; loader reads
	// what that one names.
	Resolve func(ctx context.Context, loader spec.Loader, m *spec.Makefile) error
	Options Options
}

// Options are those of a build, in the words of Drush's command line. What the
// top makefile's own options switch on is on as well.
type Options struct {
	ContribDest      string // clean relative path for contributed code; "." is the build root
	ContribDestGiven bool   // else it follows from the version of core
	NoCore           bool   // leave core out; the build is no whole site
	NoPatchTxt       bool   // write no PATCHES.txt
	NoGitInfoFile    bool   // leave .info files of git checkouts as they are
	ForceGitInfoFile bool   // write them also for repositories elsewhere
	NoRecursion      bool   // do not look for makefiles inside of projects
	WorkingCopy      bool   // keep .git
	IgnoreChecksums  bool   // do not verify what is downloaded
	PrepareInstall   bool   // make settings.php and the files folder of sites/default
	MD5              bool   // log the digest of the build, see Digest
	Translations     []string
	// Projects and Libraries are the only ones that are built; "*" is all. Naming
	// some of one kind leaves out all of the other kind that are not named.
	Projects  []string
	Libraries []string

	// Location is the base of release feeds when it is not drupal.org's; then the
	// translations of drupal.org are not asked for either.
	Location string

	Concurrency int            // projects that are prepared at a time; 0 is 4
	Archives    archive.Limits // of each archive
	Tree        tree.Options   // of the whole build; only its Files and Bytes count
	// GitBase stands for https://git.drupalcode.org/project, where repositories
	// without an address are; "" is that.
	GitBase string
}

const (
	defaultConcurrency = 4
	perHost            = 2 // requests to one host at a time
	maxLevels          = 10
	maxProjects        = 20_000 // of all makefiles together
)

// Build makes the tree in dst, an existing empty folder. Failures are one
// models.Error that names every project which cannot be built and why; dst may
// hold anything then.
func Build(ctx context.Context, env plugins.Env, job Job, dst string) (plugins.Made, error) {
	if job.Makefile == nil || job.Loader == nil {
		return plugins.Made{}, errors.New("build makefile: none is given")
	}
	b, err := newBuilder(env, job, dst)
	if err != nil {
		return plugins.Made{}, err
	}
	defer b.close()
	if err := b.run(ctx); err != nil {
		if ctx.Err() != nil {
			return plugins.Made{}, context.Cause(ctx)
		}
		return plugins.Made{}, err
	}
	b.tidyCache()
	return plugins.Made{Sources: b.made}, nil
}

// builder is one build.
type builder struct {
	env     plugins.Env
	job     Job
	options Options
	dst     string
	root    *os.Root // dst
	stage   string   // absolute folder inside of dst, removed at the end
	slots   chan struct{}
	hosts   hosts

	folders int               // made in stage
	count   int               // entries of all makefiles
	placed  map[string]string // path in dst -> who stands there
	made    []models.SourcePackage
	l10n    map[string]string // address of an l10n server -> its template
	bytes   int64             // of all that was prepared
	mu      sync.Mutex        // guards folders, made, l10n and bytes
}

func newBuilder(env plugins.Env, job Job, dst string) (*builder, error) {
	root, err := os.OpenRoot(dst)
	if err != nil {
		return nil, fmt.Errorf("open target folder: %w", err)
	}
	if err := wantEmpty(root); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	stage, err := os.MkdirTemp(dst, ".building-")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make folder for building: %w", tree.Explain(err, dst)), root.Close())
	}
	if err := os.Chmod(stage, 0o755); err != nil { //nolint:gosec // sandboxed programs pass through
		return nil, errors.Join(fmt.Errorf("make folder for building: %w", err), root.Close())
	}
	if env.Log != nil {
		env.Log = &lockedWriter{w: env.Log}
	}
	options := job.Options.with(job.Makefile.Options)
	return &builder{
		env: env, job: job, options: options, dst: dst, root: root, stage: stage,
		slots:  make(chan struct{}, cmp.Or(options.Concurrency, defaultConcurrency)),
		placed: map[string]string{}, l10n: map[string]string{},
	}, nil
}

// wantEmpty refuses to build over what is there.
func wantEmpty(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("look at target folder: %w", err)
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(1)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("look at target folder: %w", err)
	}
	if len(names) > 0 {
		return models.Errorf(models.Conflict, "The folder to build in already holds files. Empty it, or name another.")
	}
	return nil
}

// with adds what the makefile's own options say.
func (o Options) with(m spec.Options) Options {
	o.NoCore = o.NoCore || m.NoCore
	o.NoPatchTxt = o.NoPatchTxt || m.NoPatchTxt
	o.NoGitInfoFile = o.NoGitInfoFile || m.NoGitInfoFile
	o.NoRecursion = o.NoRecursion || m.NoRecursion
	o.WorkingCopy = o.WorkingCopy || m.WorkingCopy
	o.Concurrency = min(max(o.Concurrency, 0), 16)
	return o
}

func (b *builder) close() {
	_ = b.root.RemoveAll(filepath.Base(b.stage))
	_ = b.root.Close()
}

func (b *builder) run(ctx context.Context) error {
	top, err := b.topLevel()
	if err != nil {
		return err
	}
	if err := b.level(ctx, top); err != nil {
		return err
	}
	if err := b.root.RemoveAll(filepath.Base(b.stage)); err != nil {
		return fmt.Errorf("remove folder for building: %w", err)
	}
	if b.options.PrepareInstall {
		if err := b.prepareInstall(); err != nil {
			return err
		}
	}
	limits := tree.Options{Files: b.options.Tree.Files, Bytes: b.options.Tree.Bytes}
	if err := tree.Walk(ctx, b.dst, limits, func(tree.Entry) error { return nil }); err != nil {
		return fmt.Errorf("look through the build: %w", err)
	}
	if !b.options.MD5 {
		return nil
	}
	digest, err := Digest(ctx, b.dst, limits)
	if err != nil {
		return err
	}
	plugins.Logf(b.env, "Build hash: %s", digest)
	return nil
}

// level builds one makefile: its projects in their order, each with the makefile
// inside of it, then its libraries.
func (b *builder) level(ctx context.Context, l *level) error {
	ready := b.prepareAll(ctx, l)
	var failed failures
	for i, e := range l.entries {
		failed.add(l, e, ready[i].err)
	}
	if failed.any() {
		return failed.err()
	}
	for i, e := range l.entries {
		if err := b.place(e, ready[i].folder); err != nil {
			failed.add(l, e, err)
			return failed.err()
		}
		failed.add(l, e, b.recurse(ctx, l, e))
	}
	return failed.err()
}

// prepared is an entry's code in a folder of its own, or why there is none.
type prepared struct {
	folder string
	err    error
}

func (b *builder) prepareAll(ctx context.Context, l *level) []prepared {
	ready := make([]prepared, len(l.entries))
	var all sync.WaitGroup
	for i, e := range l.entries {
		all.Go(func() {
			select {
			case b.slots <- struct{}{}:
				defer func() { <-b.slots }()
				ready[i].folder, ready[i].err = b.prepare(ctx, l, e)
			case <-ctx.Done():
				ready[i].err = context.Cause(ctx)
			}
		})
	}
	all.Wait()
	return ready
}

// newFolder makes an empty folder in the stage.
func (b *builder) newFolder() (string, error) {
	b.mu.Lock()
	b.folders++
	name := filepath.Join(b.stage, strconv.Itoa(b.folders))
	b.mu.Unlock()
	if err := os.Mkdir(name, 0o755); err != nil { //nolint:gosec // the tree of a website
		return "", fmt.Errorf("make folder for project: %w", tree.Explain(err, b.dst))
	}
	return name, nil
}

// weigh holds all prepared code together to the limit of the build, before much
// more than that is on the disk.
func (b *builder) weigh(ctx context.Context, folder string) error {
	limits := tree.Options{Files: b.options.Tree.Files, Bytes: cmp.Or(b.options.Tree.Bytes, tree.DefaultBytes)}
	limits.Skip = func(e tree.Entry) bool { return e.Link != "" } // where they lead is seen when all is in place
	var size int64
	err := tree.Walk(ctx, folder, limits, func(e tree.Entry) error {
		if e.Info.Mode().IsRegular() {
			size += e.Info.Size()
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes += size; b.bytes > limits.Bytes {
		return models.Errorf(models.Invalid, "With it the build holds more than %s. Remove projects from the makefile.", tree.Size(limits.Bytes)).
			Because(models.ReasonTooLarge)
	}
	return nil
}

// took records what the build is made of.
func (b *builder) took(p models.SourcePackage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.made = append(b.made, p)
	slices.SortStableFunc(b.made, func(x, y models.SourcePackage) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Type, y.Type), cmp.Compare(x.URL, y.URL))
	})
}

// hosts lets a few requests through to each host at a time.
type hosts struct {
	mu    sync.Mutex
	slots map[string]chan struct{}
}

// enter waits for a turn with the host.
func (h *hosts) enter(ctx context.Context, host string) (leave func(), err error) {
	h.mu.Lock()
	if h.slots == nil {
		h.slots = map[string]chan struct{}{}
	}
	slot := h.slots[host]
	if slot == nil {
		slot = make(chan struct{}, perHost)
		h.slots[host] = slot
	}
	h.mu.Unlock()
	select {
	case slot <- struct{}{}:
		return func() { <-slot }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// lockedWriter keeps the lines of projects that are prepared together apart.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
