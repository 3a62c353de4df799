package makefile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/drupalorg"
	"hefring/plugins/git"
	"hefring/plugins/makefile/spec"
)

const (
	resolving = 6        // questions at a time
	maxPatch  = 20 << 20 // bytes of a patch
)

// resolver finds out what the unpinned parts of a makefile stand for.
type resolver struct {
	env      plugins.Env
	git      git.Plugin
	location string
	gitBase  string
	noCore   bool
	before   *spec.Makefile // resolved earlier, nil for none

	checked     map[string]*spec.Makefile // makefiles that were resolved when the version was checked
	keepPatches bool                      // those of the makefile were looked at earlier
}

// Resolve pins the makefile as spec.Makefile's fields describe. What fails is one
// models.Error that names every project; when a server cannot be asked it is the
// first such failure.
func (r resolver) Resolve(ctx context.Context, loader spec.Loader, m *spec.Makefile) error {
	fix(m, r.checked)
	known, libraries := r.known(m)
	if r.noCore || m.Options.NoCore {
		m.Projects = slices.DeleteFunc(m.Projects, func(p spec.Project) bool { return p.Type == spec.TypeCore })
	}
	w := &workers{slots: make(chan struct{}, resolving)}
	for i := range m.Projects {
		p := &m.Projects[i]
		w.run(ctx, p.Name, func() error { return r.project(ctx, loader, m, p, known[p.Name]) })
	}
	for i := range m.Libraries {
		l := &m.Libraries[i]
		w.run(ctx, l.Name, func() error {
			if err := r.patches(ctx, loader, l.Patches); err != nil {
				return err
			}
			return r.download(ctx, l.Name, l.Download, libraries[l.Name])
		})
	}
	return w.wait(ctx)
}

// known are the entries that were resolved before, by name.
func (r resolver) known(m *spec.Makefile) (map[string]*spec.Project, map[string]*spec.Download) {
	projects, libraries := map[string]*spec.Project{}, map[string]*spec.Download{}
	if r.before == nil || r.before.Core != m.Core {
		return projects, libraries
	}
	for i := range r.before.Projects {
		projects[r.before.Projects[i].Name] = &r.before.Projects[i]
	}
	for _, l := range r.before.Libraries {
		libraries[l.Name] = l.Download
	}
	return projects, libraries
}

// workers run some questions at a time and collect what failed.
type workers struct {
	slots  chan struct{}
	all    sync.WaitGroup
	mu     sync.Mutex
	failed []failure
	next   int
}

type failure struct {
	order int
	name  string
	err   error
}

func (w *workers) run(ctx context.Context, name string, work func() error) {
	order := w.next
	w.next++
	w.slots <- struct{}{}
	w.all.Go(func() {
		defer func() { <-w.slots }()
		if ctx.Err() != nil {
			return
		}
		if err := work(); err != nil {
			w.mu.Lock()
			w.failed = append(w.failed, failure{order, name, err})
			w.mu.Unlock()
		}
	})
}

func (w *workers) wait(ctx context.Context) error {
	w.all.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("resolve makefile: %w", context.Cause(ctx))
	}
	return resolveError(w.failed)
}

// listed is how many failures one error names.
const listed = 10

func resolveError(failed []failure) error {
	sortFailures(failed)
	var wrong []failure
	for _, f := range failed {
		reason := models.ReasonOf(f.err)
		if reason != models.ReasonNotFound && reason != models.ReasonRefNotFound && models.CodeOf(f.err) != models.Invalid {
			if models.CodeOf(f.err) == "" {
				return fmt.Errorf("resolve %s: %w", f.name, f.err)
			}
			return rewritten(f.err, f.name+": "+models.Explain(f.err))
		}
		wrong = append(wrong, f)
	}
	if len(wrong) == 0 {
		return nil
	}
	var lines []string
	for _, f := range wrong[:min(len(wrong), listed)] {
		lines = append(lines, f.name+": "+models.Explain(f.err))
	}
	if len(wrong) > listed {
		lines = append(lines, fmt.Sprintf("And %d more.", len(wrong)-listed))
	}
	if len(lines) == 1 {
		return rewritten(wrong[0].err, "The makefile names what is not there. "+lines[0])
	}
	return rewritten(wrong[0].err, fmt.Sprintf("The makefile names %d things that are not there.\n%s", len(wrong), strings.Join(lines, "\n")))
}

// rewritten is err with another message, for a makefile instead of a form.
func rewritten(err error, message string) error {
	e, ok := errors.AsType[*models.Error](err)
	if !ok {
		return err
	}
	shown := *e
	shown.Message, shown.Fields, shown.Reason = message, nil, models.ReasonOf(err)
	return &shown
}

func (r resolver) project(ctx context.Context, loader spec.Loader, m *spec.Makefile, p, before *spec.Project) error {
	if err := r.patches(ctx, loader, p.Patches); err != nil || p.Release != nil {
		return err
	}
	if p.Download != nil {
		var known *spec.Download
		if before != nil {
			known = before.Download
		}
		return r.download(ctx, p.Name, p.Download, known)
	}
	if same(p, before) && pinned(p.Version, before.Release) {
		p.Release, p.Type = before.Release, before.Type
		return nil
	}
	return r.release(ctx, m, p)
}

// same tells whether two entries ask for the same release.
func same(p, before *spec.Project) bool {
	return before != nil && before.Download == nil && before.Release != nil && p.Version == before.Version && p.Core == before.Core &&
		p.Location == before.Location && p.Variant == before.Variant && (p.Type == "" || p.Type == before.Type)
}

// pinned tells whether a version as written is exactly this release, which never
// changes.
func pinned(version string, r *spec.Release) bool {
	return version != "" && !strings.HasSuffix(r.Version, "-dev") && (r.Version == version || strings.HasSuffix(r.Version, ".x-"+version))
}

func (r resolver) release(ctx context.Context, m *spec.Makefile, p *spec.Project) error {
	core := m.Core
	if p.Core != "" {
		core = p.Core
	}
	base := r.location
	if p.Location != "" {
		base = p.Location
	}
	got, err := drupalorg.Load(ctx, r.env, drupalorg.Address{Base: base, Project: p.Name, API: drupalorg.APIOf(core)}, drupalorg.Validators{})
	if err != nil {
		return err
	}
	picked, err := got.Feed.PickDrush(core, p.Version)
	if err != nil {
		return err
	}
	if p.Type == "" {
		p.Type = picked.Type
	}
	if p.Type == "" {
		p.Type = spec.TypeModule
	}
	file := picked.Release.Archive(variant(p, picked.Type))
	if file.URL == "" {
		return models.Errorf(models.NotFound, "drupal.org has no archive of %s %s. Choose another release, or its git repository.", p.Name, picked.Release.Version).Because(models.ReasonNotFound)
	}
	chosen := &spec.Release{
		Type: picked.Type, Version: picked.Release.Version, URL: file.URL, MD5: strings.ToLower(file.MD5), Variant: file.Variant, Date: picked.Release.Date,
	}
	if !releaseVersion.MatchString(chosen.Version) || chosen.MD5 != "" && !md5Text.MatchString(chosen.MD5) {
		return models.Errorf(models.Unavailable, "The release history of %s names a release or checksum that is none. Check again later.", p.Name).Because(models.ReasonMalformed)
	}
	p.Release = chosen
	return nil
}

// A feed is text of others.
var (
	releaseVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$`)
	md5Text        = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// variant is the archive of a distribution that is meant: all of it as core, and
// itself alone as a profile.
func variant(p *spec.Project, kind string) string {
	switch {
	case kind != spec.TypeProfile:
		return ""
	case p.Variant != "":
		return p.Variant
	case p.Type == spec.TypeCore:
		return "full"
	}
	return "profile-only"
}

// download finds the commit of a git download. Tags and revisions that were
// resolved before stay where they were: they are not meant to move.
func (r resolver) download(ctx context.Context, name string, d, before *spec.Download) error {
	if d == nil || d.Type != spec.DownloadGit || d.Commit != "" {
		return nil
	}
	if before != nil && before.Commit != "" && before.URL == d.URL && d.Refspec+before.Refspec == "" && before.Tag == d.Tag && before.Revision == d.Revision && d.Tag+d.Revision != "" {
		d.Commit = before.Commit
		return nil
	}
	asked := *d
	if d.DefaultURL && r.gitBase != "" {
		asked.URL = r.gitBase + "/" + name + ".git"
	}
	commit, err := plugins.Ask(r.env.Answers, fmt.Sprintf("makefile refs %s %q %s", asked.URL, refNames(asked), d.Revision), func() (string, error) {
		return commitOf(ctx, r.env, r.git, asked)
	})
	d.Commit = commit
	return err
}

// patches finds out where relative patches are, and what they are now.
func (r resolver) patches(ctx context.Context, loader spec.Loader, list []spec.Patch) error {
	if r.keepPatches {
		return nil
	}
	for i := range list {
		p := &list[i]
		if strings.Contains(p.URL, "://") && p.Ref.URL != "" {
			p.Fallback = spec.Ref{}
			continue
		}
		text, at, err := loader.Read(ctx, p.Ref, maxPatch)
		if models.CodeOf(err) == models.NotFound && !p.Fallback.IsZero() {
			text, at, err = loader.Read(ctx, p.Fallback, maxPatch)
		}
		if err != nil {
			if models.CodeOf(err) == "" {
				return fmt.Errorf("read patch %s: %w", p.URL, err)
			}
			return rewritten(err, fmt.Sprintf("The patch %s cannot be read: %s", p.URL, models.Explain(err)))
		}
		p.Ref, p.Fallback = at, spec.Ref{}
		if p.Checksums.SHA256 == "" {
			sum := sha256.Sum256(text)
			p.Checksums.SHA256 = hex.EncodeToString(sum[:])
		}
	}
	return nil
}

func sortFailures(failed []failure) {
	slices.SortFunc(failed, func(a, b failure) int { return a.order - b.order })
}
