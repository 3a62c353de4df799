package makefile

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/makefile/build"
	"hefring/plugins/makefile/spec"
)

// inner looks into the profiles that bring a makefile of their own: what is not
// pinned there changes a build as well. Profiles that did not change since before
// are not downloaded again.
func (s source) inner(ctx context.Context, env plugins.Env, l *loader, m *spec.Makefile, before plan) (map[string]*spec.Makefile, error) {
	if s.options.NoRecursion || m.Options.NoRecursion {
		return nil, nil //nolint:nilnil // no makefile is looked for
	}
	found := map[string]*spec.Makefile{}
	for _, p := range m.Projects {
		if p.Type != spec.TypeProfile || p.NoRecursion {
			continue
		}
		var err error
		known, ok := before.Inner[p.Name]
		if ok && before.Location == s.feeds() && unchanged(p, m, before.Makefile) && (!beside(p.Download) || l.sameCommit(before)) {
			found[p.Name], err = s.again(ctx, env, l, known)
		} else {
			found[p.Name], err = s.lookInside(ctx, env, l, m, p)
		}
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// sameCommit tells whether the makefile's repository stands where it did.
func (l *loader) sameCommit(before plan) bool {
	return l.repository != nil && before.Repository != nil && l.repository.Content == before.Repository.Content
}

// unchanged tells whether a project, and the names that its makefile leaves out,
// are what they were.
func unchanged(p spec.Project, now, before *spec.Makefile) bool {
	names := func(m *spec.Makefile) []string {
		var list []string
		for _, p := range m.Projects {
			list = append(list, p.Name)
		}
		slices.Sort(list)
		return list
	}
	return now.Core == before.Core && slices.Equal(names(now), names(before)) &&
		slices.ContainsFunc(before.Projects, func(was spec.Project) bool { return reflect.DeepEqual(p, was) })
}

func (s source) lookInside(ctx context.Context, env plugins.Env, l *loader, m *spec.Makefile, p spec.Project) (*spec.Makefile, error) {
	if l.repository != nil && beside(p.Download) {
		folder, err := l.checkout(ctx)
		if err != nil {
			return nil, err
		}
		l.folder = folder
	}
	r := s.resolver(env, plan{})
	job := build.Job{Makefile: m, Loader: l, Folder: l.folder, Options: s.options, Resolve: r.Resolve}
	found, err := build.Inside(ctx, env, job, p.Name)
	if code := models.CodeOf(err); code == models.Invalid || code == models.NotFound {
		return nil, rewritten(err, models.Explain(err))
	}
	if err != nil {
		return nil, fmt.Errorf("look into %s: %w", p.Name, err)
	}
	return found, nil
}

// again finds out what the unpinned parts of a makefile that was found before
// stand for now.
func (s source) again(ctx context.Context, env plugins.Env, l *loader, before *spec.Makefile) (*spec.Makefile, error) {
	if before == nil {
		return nil, nil //nolint:nilnil // there was none
	}
	text, err := json.Marshal(before)
	if err != nil {
		return nil, fmt.Errorf("copy makefile: %w", err)
	}
	now := new(spec.Makefile)
	if err := json.Unmarshal(text, now); err != nil {
		return nil, fmt.Errorf("copy makefile: %w", err)
	}
	for i := range now.Projects {
		now.Projects[i].Release = nil
	}
	for _, d := range downloads(now) {
		if d != nil {
			d.Commit = ""
		}
	}
	r := s.resolver(env, plan{Makefile: before, Location: s.feeds()})
	r.keepPatches = true
	return now, r.Resolve(ctx, l, now)
}

// fix takes over what was resolved of the same makefile when it was checked.
func fix(m *spec.Makefile, checked map[string]*spec.Makefile) {
	for _, was := range checked {
		if was == nil || len(was.Read) == 0 || len(m.Read) == 0 || was.Read[0].SHA256 != m.Read[0].SHA256 {
			continue
		}
		for i := range m.Projects {
			at := slices.IndexFunc(was.Projects, func(p spec.Project) bool { return p.Name == m.Projects[i].Name })
			if at >= 0 {
				fixProject(&m.Projects[i], was.Projects[at])
			}
		}
		for i := range m.Libraries {
			at := slices.IndexFunc(was.Libraries, func(l spec.Library) bool { return l.Name == m.Libraries[i].Name })
			if at >= 0 {
				fixDownload(m.Libraries[i].Download, was.Libraries[at].Download)
			}
		}
		return
	}
}

func fixProject(p *spec.Project, was spec.Project) {
	if p.Download == nil && was.Download == nil && p.Version == was.Version && p.Core == was.Core {
		p.Release, p.Type = was.Release, was.Type
	}
	fixDownload(p.Download, was.Download)
}

func fixDownload(d, was *spec.Download) {
	if d != nil && was != nil && d.URL == was.URL && slices.Equal(refNames(*d), refNames(*was)) && d.Revision == was.Revision {
		d.Commit = was.Commit
	}
}
