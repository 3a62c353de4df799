package build

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/spec"
)

// level is one makefile of a build: the top one, or one inside of a project.
type level struct {
	makefile *spec.Makefile
	loader   spec.Loader
	folder   string          // where local references begin; "" when there are none
	contrib  string          // where contributed code goes
	above    []string        // names of the projects that it stands in
	taken    map[string]bool // projects of all makefiles above: theirs win
	entries  []*entry        // in the order of building
}

// entry is one project or library of a build.
type entry struct {
	name     string
	kind     string // type of a project
	version  string
	core     string // 7.x
	path     string // in the build; "." for core
	contrib  string // where the code of makefiles inside of it goes
	recurses bool

	release      *spec.Release
	md5          string // of the release, as the makefile says
	download     *spec.Download
	patches      []spec.Patch
	lock         string
	workingCopy  bool
	noOverwrite  bool
	translations []string
	l10nPath     string
	l10nURL      string
	defaultL10n  bool // drupal.org's translations fit it
}

func (b *builder) topLevel() (*level, error) {
	m := b.job.Makefile
	l := &level{makefile: m, loader: b.job.Loader, folder: b.job.Folder, taken: map[string]bool{}}
	if b.options.ContribDestGiven {
		l.contrib = path.Clean(b.options.ContribDest)
	} else {
		l.contrib = m.ContribDestination("")
	}
	projects, libraries, err := b.chosen(m)
	if err != nil {
		return nil, err
	}
	var core, contrib []*entry
	for _, p := range projects {
		e, err := b.project(l, p)
		if err != nil {
			return nil, err
		}
		if e.kind == spec.TypeCore {
			core = append(core, e)
		} else {
			contrib = append(contrib, e)
		}
	}
	switch {
	case b.options.NoCore:
		core = nil
	case len(core) == 0:
		return nil, models.Errorf(models.Invalid, "The makefile names no core project. Add “projects[] = drupal”, or switch core off to build a part of a site.").
			Because(models.ReasonMalformed)
	case len(core) > 1:
		return nil, models.Errorf(models.Invalid, "The makefile names more than one core project: %s and %s. Leave one.", core[0].name, core[1].name).
			Because(models.ReasonMalformed)
	}
	l.entries = slices.Concat(core, contrib)
	for _, lib := range libraries {
		l.entries = append(l.entries, b.library(l, lib))
	}
	return l, b.counted(l)
}

func (b *builder) counted(l *level) error {
	if b.count += len(l.entries); b.count > maxProjects {
		return models.Errorf(models.Invalid, "The makefile and those inside of its projects name more than %d projects and libraries. Remove some.", maxProjects).
			Because(models.ReasonTooLarge)
	}
	return nil
}

// chosen leaves out what a limited build does not want.
func (b *builder) chosen(m *spec.Makefile) ([]spec.Project, []spec.Library, error) {
	o := b.options
	if len(o.Projects) == 0 && len(o.Libraries) == 0 {
		return m.Projects, m.Libraries, nil
	}
	projects, err := only(m.Projects, o.Projects, "project", func(p spec.Project) string { return p.Name })
	if err != nil {
		return nil, nil, err
	}
	libraries, err := only(m.Libraries, o.Libraries, "library", func(l spec.Library) string { return l.Name })
	return projects, libraries, err
}

func only[T any](all []T, names []string, what string, name func(T) string) ([]T, error) {
	if slices.Contains(names, "*") {
		return all, nil
	}
	var list []T
	for _, item := range all {
		if slices.Contains(names, name(item)) {
			list = append(list, item)
		}
	}
	for _, wanted := range names {
		if !slices.ContainsFunc(list, func(item T) bool { return name(item) == wanted }) {
			return nil, models.Errorf(models.Invalid, "The makefile has no %s called %q. Correct the name of what to build.", what, wanted)
		}
	}
	return list, nil
}

func (b *builder) project(l *level, p spec.Project) (*entry, error) {
	e := &entry{
		name: p.Name, kind: p.Type, version: p.Version, core: p.Core, contrib: l.contrib,
		release: p.Release, md5: p.MD5, download: p.Download, patches: p.Patches, lock: p.Lock,
		workingCopy: b.options.WorkingCopy || p.WorkingCopy || p.Download != nil && p.Download.WorkingCopy,
		noOverwrite: p.NoOverwrite, translations: p.Translations, l10nPath: p.L10nPath, l10nURL: p.L10nURL,
		defaultL10n: p.Location == "" && b.options.Location == "",
	}
	if p.Download == nil && p.Release == nil {
		return nil, fmt.Errorf("build %s: the plan has no release for it", p.Name)
	}
	if e.core == "" {
		e.core = l.makefile.Core
	}
	if e.kind == "" && p.Release != nil {
		e.kind = p.Release.Type
	}
	if e.kind == "" {
		e.kind = spec.TypeModule
	}
	if p.ContribDestGiven {
		e.contrib = path.Clean(p.ContribDestination)
	}
	if len(e.translations) == 0 {
		e.translations = unique(l.makefile.Translations, b.options.Translations)
	}
	e.path = projectPath(e, p, l.contrib)
	if e.kind == spec.TypeProfile {
		e.contrib = e.path
	}
	variant := p.Variant
	if p.Release != nil && p.Release.Variant != "" {
		variant = p.Release.Variant
	}
	whole := variant == "projects" || variant == "full"
	e.recurses = !b.options.NoRecursion && !p.NoRecursion && !whole && e.kind != spec.TypeLibrary
	if p.Release != nil && p.DirectoryName != "" && p.DirectoryName != p.Name && e.kind != spec.TypeCore {
		plugins.Logf(b.env, "Note: directory_name of %s counts only with a download of its own, as in Drush; releases of drupal.org go to %s", p.Name, e.path)
	}
	return e, nil
}

// projectPath gives the folder of a project in the build. Releases of a feed are
// unpacked by Drush under their own name, whatever directory_name says.
func projectPath(e *entry, p spec.Project, contrib string) string {
	p.Type = e.kind
	if p.Release != nil {
		p.DirectoryName = ""
	}
	return p.Path(contrib)
}

func (b *builder) library(l *level, lib spec.Library) *entry {
	d := lib.Download
	return &entry{
		name: lib.Name, kind: spec.TypeLibrary, core: l.makefile.Core,
		path:     lib.Path(l.contrib),
		download: d, patches: lib.Patches, lock: lib.Lock, noOverwrite: lib.NoOverwrite,
		workingCopy: b.options.WorkingCopy || lib.WorkingCopy || d != nil && d.WorkingCopy,
	}
}

func unique(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// place moves an entry's prepared code to where it belongs.
func (b *builder) place(e *entry, folder string) error {
	from := filepath.Join(filepath.Base(b.stage), filepath.Base(folder))
	if e.kind == spec.TypeCore {
		return b.placeCore(from)
	}
	if !filepath.IsLocal(e.path) || e.path == "." {
		return models.Errorf(models.Invalid, "Its folder %q does not lie inside of the build. Correct its destination, sub-directory and directory name.", e.path)
	}
	if err := b.clear(e); err != nil {
		return err
	}
	if err := b.root.MkdirAll(path.Dir(e.path), 0o755); err != nil {
		return models.Wrapf(models.Invalid, err, "Its folder %s cannot be made: something else is in the way. Correct its destination.", e.path)
	}
	if err := b.root.Rename(from, e.path); err != nil {
		return fmt.Errorf("put in place: %w", err)
	}
	b.placed[e.path] = e.name
	return nil
}

// clear takes away what stands at an entry's place: the later one wins, as in
// Drush, unless the makefile says otherwise or more than that would be lost.
func (b *builder) clear(e *entry) error {
	info, err := b.root.Lstat(e.path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil
	}
	if err != nil {
		return models.Wrapf(models.Invalid, err, "Its folder %s lies inside of something that is no folder. Correct its destination.", e.path)
	}
	before, replaced := b.placed[e.path]
	switch {
	case e.noOverwrite:
		return models.Errorf(models.Invalid, "Its folder %s is there already, and overwrite is switched off for it. Give it another directory_name, or allow it to overwrite.", e.path)
	case !info.IsDir():
		return models.Errorf(models.Invalid, "At its place %s stands a file. Give it another directory_name.", e.path)
	case !replaced:
		for other, name := range b.placed {
			if strings.HasPrefix(other, e.path+"/") {
				return models.Errorf(models.Invalid, "Its folder %s holds %s already, which would be lost. Name %s after it in the makefile, or give one of them another place.", e.path, name, name)
			}
		}
	}
	if replaced {
		plugins.Logf(b.env, "Note: %s takes the place of %s at %s", e.name, before, e.path)
	}
	if err := b.root.RemoveAll(e.path); err != nil {
		return fmt.Errorf("make room at %s: %w", e.path, err)
	}
	return nil
}

// placeCore moves what core holds to the top of the build.
func (b *builder) placeCore(from string) error {
	folder, err := b.root.Open(from)
	if err != nil {
		return fmt.Errorf("put core in place: %w", err)
	}
	defer func() { _ = folder.Close() }()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("put core in place: %w", err)
	}
	for _, name := range names {
		if err := b.root.Rename(path.Join(from, name), name); err != nil {
			return fmt.Errorf("put core in place: %w", err)
		}
	}
	return nil
}
