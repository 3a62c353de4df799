package stock

import (
	"context"
	"fmt"
	"strings"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer"
	"hefring/plugins/drupalorg"
)

// composed is what Composer's own update type wants to build, without its plan.
type composed struct {
	Package  string `json:"package"`
	Revision string `json:"revision"`
	Content  string `json:"content"`
}

// templateOf is the Composer package of a project, and what it is built from.
func (s source) templateOf(feed drupalorg.Feed) string {
	switch {
	case s.template != "":
		return s.template
	case feed.Kind() == "core":
		return "drupal/recommended-project"
	case packageName.MatchString(feed.Composer):
		return feed.Composer
	}
	return "drupal/" + strings.ToLower(s.address.Project)
}

// open gives Composer's own update type for exactly one version of a package.
func (s source) open(name, version string) (plugins.Source, error) {
	settings := models.Settings{"package": name, "constraint": semantic(version)}
	if s.repository != "" {
		settings["repository"], settings["only"] = s.repository, "1"
	}
	source, err := composer.New().Open(settings)
	if err != nil {
		return nil, models.Wrapf(models.Invalid, err, "%s %s cannot be built with Composer: %s", name, version, err).Because(models.ReasonNotFound)
	}
	return source, nil
}

// semantic writes a version as Composer knows it: 8.x-1.5-rc1 is 1.5.0-rc1.
func semantic(version string) string {
	v, ok := drupalorg.ParseVersion(version)
	if !ok || v.Core == "" {
		return version
	}
	number, extra, hasExtra := strings.Cut(strings.TrimPrefix(version, v.Core+"-"), "-")
	if strings.Count(number, ".") == 1 {
		number += ".0"
	}
	if hasExtra {
		number += "-" + extra
	}
	return number
}

// planComposer plans to build a release with Composer: its dependencies are
// looked at in each check, so that a change of them is seen.
func (s source) planComposer(ctx context.Context, env plugins.Env, v *plugins.Version, feed drupalorg.Feed, last plugins.Version) (memo string, err error) {
	name := s.templateOf(feed)
	inner, err := s.open(name, v.Label)
	if err != nil {
		return "", err
	}
	env.Peers = nil // they are no sources of Composer's
	got, err := inner.Check(ctx, env, s.innerLast(last, name))
	if models.ReasonOf(err) == models.ReasonNotFound || models.ReasonOf(err) == models.ReasonRefNotFound {
		return "", models.Wrapf(models.NotFound, err, "drupal.org has %s %s, and Composer does not find %s %s to build it: %s If it was just released, it may take some hours; else name another Composer package.",
			s.address.Project, v.Label, name, semantic(v.Label), models.Explain(err)).Because(models.ReasonNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("look at Composer package %s: %w", name, err)
	}
	p := plan{Packaging: packagingComposer, Version: v.Label, Composer: &composed{Package: name, Revision: got.Revision, Content: got.Content}}
	if v.Plan, err = p.text(got.Plan); err != nil {
		return "", err
	}
	v.Content, v.Security, v.Hold = got.Content, got.Security, got.Hold
	v.Facts = append(v.Facts, got.Facts...)
	return got.Memo, nil
}

// innerLast is what Composer's own update type found in the last check; zero when
// that was of another package.
func (s source) innerLast(last plugins.Version, name string) plugins.Version {
	p, rest := readPlan(last.Plan)
	if p.Composer == nil || p.Composer.Package != name {
		return plugins.Version{}
	}
	_, memo := readMemo(last)
	return p.Composer.version(rest, memo)
}

func (c composed) version(plan, memo string) plugins.Version {
	return plugins.Version{Revision: c.Revision, Content: c.Content, Plan: plan, Memo: memo}
}

func (s source) buildComposer(ctx context.Context, env plugins.Env, p plan, rest, dst string) (plugins.Made, error) {
	inner, err := s.open(p.Composer.Package, p.Version)
	if err != nil {
		return plugins.Made{}, err
	}
	made, err := inner.Build(ctx, env, p.Composer.version(rest, ""), dst)
	if err != nil {
		return plugins.Made{}, err
	}
	core := models.SourcePackage{Name: s.address.Project, Type: "core", Version: p.Version}
	made.Sources = append([]models.SourcePackage{core}, made.Sources...)
	return made, nil
}

// assessComposer adds what Composer's own update type knows of the packages of
// platforms that were built with it.
func (s source) assessComposer(ctx context.Context, env plugins.Env, running []plugins.Version, findings [][]models.Finding) error {
	env.Peers = nil
	for i, v := range running {
		p, rest := readPlan(v.Plan)
		version, ok := s.versionOf(v)
		if !ok || p.Composer == nil || p.Version != version {
			continue
		}
		inner, err := s.open(p.Composer.Package, version)
		if err != nil {
			continue // the settings changed since
		}
		assessor, ok := inner.(plugins.Assessor)
		if !ok {
			continue
		}
		_, memo := readMemo(v)
		found, err := assessor.Assess(ctx, env, []plugins.Version{p.Composer.version(rest, memo)})
		if err != nil {
			return fmt.Errorf("assess packages of %s %s: %w", s.address.Project, version, err)
		}
		for _, list := range found {
			findings[i] = append(findings[i], list...)
		}
	}
	return nil
}
