package composer

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer/repository"
	"hefring/plugins/composer/version"
	"hefring/plugins/composerinstall"
)

// found is what a source holds now.
type found struct {
	entry        entry
	chosen       repository.Chosen
	lock         *lock
	shipped      bool     // composer.lock comes with the package
	repositories []string // Composer repositories that know of its packages
	pages        pages    // what all this rests on
	solved       time.Time
}

// resolve chooses the version and works out its dependencies.
func (s source) resolve(ctx context.Context, a *asker) (*found, error) {
	f := &found{pages: pages{}, solved: time.Now()}
	var err error
	if f.chosen, err = s.choose(ctx, a, f); err != nil {
		return nil, err
	}
	f.entry = entryOf(f.chosen.Package)
	if err := f.entry.locked().check(s.plainHosts()); err != nil {
		return nil, models.Wrapf(models.Invalid, err, "%s %s is not accepted: %s.", s.name, run.Clean(f.entry.Version), err.Error()).
			Because(models.ReasonVerification)
	}
	if err := s.checkCredential(nil, []locked{f.entry.locked()}); err != nil {
		return nil, err
	}
	m, err := s.solve(ctx, a.env, f)
	if err != nil {
		return nil, err
	}
	return f, s.watch(ctx, a, m, f)
}

// choose looks at the package's versions.
func (s source) choose(ctx context.Context, a *asker, f *found) (repository.Chosen, error) {
	repo, err := a.open(ctx, s.repository)
	if err != nil {
		return repository.Chosen{}, err
	}
	f.keep(a, repository.FileURL(s.repository), "")
	query := repository.Query{Package: s.name, Constraint: s.constraint, Stability: s.stability}
	wanted, err := query.Wanted()
	if err != nil {
		return repository.Chosen{}, err
	}
	packages, err := repo.Inline(s.name)
	if err != nil {
		return repository.Chosen{}, malformed(s.repository, err)
	}
	for _, name := range metadataNames(repo, s.name, wanted == version.Dev) {
		p, err := a.read(ctx, repo.Template(), name)
		if err != nil {
			return repository.Chosen{}, err
		}
		f.keep(a, repo.Template(), name)
		if p.seen.digest == absent {
			continue
		}
		some, err := repository.ParseMetadata(s.name, p.body)
		if err != nil {
			return repository.Chosen{}, malformed(s.repository, err)
		}
		packages = append(packages, some...)
	}
	if query.Platform, err = platform(ctx, a.env); err != nil {
		return repository.Chosen{}, err
	}
	return repository.Select(packages, query)
}

func malformed(at string, err error) error {
	return models.Wrapf(models.Unavailable, err, "%s answered something that Composer could not read either. Tell its administrator, and try again later.", hostOf(at)).
		Because(models.ReasonMalformed)
}

// metadataNames are the files of a package that are asked for.
func metadataNames(r *repository.Repository, name string, branches bool) []string {
	switch {
	case r.Template() == "" || !r.Offers(name):
		return nil
	case branches:
		return []string{name, name + "~dev"}
	}
	return []string{name}
}

// keep notes that the answer rests on a page.
func (f *found) keep(a *asker, template, name string) {
	s, ok := a.known(template, name)
	if !ok {
		return
	}
	if f.pages[template] == nil {
		f.pages[template] = map[string]seen{}
	}
	f.pages[template][name] = s
}

// platform asks Composer what this machine has.
func platform(ctx context.Context, env plugins.Env) (repository.Platform, error) {
	return plugins.Ask(env.Answers, "composer platform", func() (repository.Platform, error) {
		dir, err := workplace(env)
		if err != nil {
			return nil, err
		}
		c, err := composerinstall.Open(ctx, env, composerinstall.Options{CacheKey: "platform"})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		result, err := c.Run(ctx, composerinstall.Call{
			Args: []string{"show", "--platform", "--format=json", "--no-plugins", "--no-scripts"}, Dir: dir, Silent: true,
		})
		if err != nil {
			return nil, err
		}
		return readPlatform(result.Stdout)
	})
}

// workplace makes a folder for one use of Composer.
func workplace(env plugins.Env) (string, error) {
	dir, err := os.MkdirTemp(env.Scratch, "work-")
	if err != nil {
		return "", fmt.Errorf("make folder: %w", tree.Explain(err, env.Scratch))
	}
	// The sandbox is entered without any right to pass closed folders.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // Scratch is closed to others
		return "", fmt.Errorf("make folder: %w", err)
	}
	return dir, env.Run.Chown(dir)
}

func readPlatform(text []byte) (repository.Platform, error) {
	var answer struct {
		Platform []struct{ Name, Version string } `json:"platform"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read what composer knows of this machine: %w", err)
	}
	p := repository.Platform{}
	for _, part := range answer.Platform {
		if v, err := version.Parse(part.Version); err == nil {
			p[strings.ToLower(part.Name)] = v
		}
	}
	return p, nil
}

// session sets Composer up for this source.
func (s source) session(ctx context.Context, env plugins.Env, suffix string) (*composerinstall.Composer, error) {
	config, err := s.config(suffix)
	if err != nil {
		return nil, err
	}
	return composerinstall.Open(ctx, env, composerinstall.Options{CacheKey: s.key(), Config: config, Secrets: s.secrets()})
}

// solve creates the project without its packages and has Composer work out which
// ones it needs. No code of the project runs.
func (s source) solve(ctx context.Context, env plugins.Env, f *found) (*manifest, error) {
	c, err := s.session(ctx, env, "")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	work, err := workplace(env)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(work, "project")
	if err := s.create(ctx, env, c, f.entry, work, dir); err != nil {
		return nil, err
	}
	m, err := projectManifest(dir)
	if err != nil {
		return nil, err
	}
	if err := s.checkCredential(m, nil); err != nil {
		return nil, err
	}
	text, err := readFile(dir, "composer.lock", maxLock)
	if err != nil {
		return nil, err
	}
	f.shipped = text != nil
	if !f.shipped {
		plugins.Logf(env, "Working out the dependencies of %s %s", s.name, f.entry.Version)
		if _, err := c.Run(ctx, composerinstall.Call{
			Args: withoutCode("update", "--no-install", "--no-audit", "--no-progress"), Dir: dir, Auth: s.auth(), Timeout: solveTime,
		}); err != nil {
			return nil, fmt.Errorf("work out dependencies: %w", err)
		}
		if text, err = readFile(dir, "composer.lock", maxLock); err != nil {
			return nil, err
		}
	}
	if s.token != "" {
		if text, err = onlyArchives(text); err != nil {
			return nil, err
		}
	}
	if f.lock, err = readLock(text, s.plainHosts()); err != nil {
		return nil, err
	}
	return m, s.checkCredential(nil, slices.Concat(f.lock.Packages, f.lock.ForDev))
}

// solveTime is how long a check may work on dependencies.
const solveTime = 15 * time.Minute

// withoutCode adds to a command what keeps code of packages from running.
func withoutCode(args ...string) []string { return append(args, "--no-scripts", "--no-plugins") }

// create makes the project of exactly e in dir, without its packages. work is a
// folder for it alone.
func (s source) create(ctx context.Context, env plugins.Env, c *composerinstall.Composer, e entry, work, dir string) error {
	// A repository that has this version and nothing else: what was chosen is what
	// is taken, whatever the real one says by now.
	const file = "packages.json"
	text, err := json.Marshal(map[string]any{"packages": map[string]any{e.Name: map[string]any{e.Version: e}}})
	if err != nil {
		return fmt.Errorf("describe package: %w", err)
	}
	if err := os.WriteFile(filepath.Join(work, file), text, 0o600); err != nil {
		return fmt.Errorf("describe package: %w", err)
	}
	if err := env.Run.Chown(work); err != nil {
		return err
	}
	var writable []string
	if rel, err := filepath.Rel(work, dir); err != nil || !filepath.IsLocal(rel) {
		writable = []string{dir}
	}
	args := withoutCode("create-project", "--no-install", "--no-progress", "--prefer-dist", "--stability=dev", "--remove-vcs", "--repository="+file)
	_, err = c.Run(ctx, composerinstall.Call{Args: append(args, "--", e.Name, dir), Dir: work, Writable: writable, Auth: s.auth()})
	if err != nil {
		return fmt.Errorf("create project: %w", err)
	}
	return nil
}

func projectManifest(dir string) (*manifest, error) {
	text, err := readFile(dir, "composer.json", maxManifest)
	if err != nil {
		return nil, err
	}
	if text == nil {
		return nil, models.Errorf(models.Invalid, "The package holds no composer.json, so it is no template for a project. Choose another package.").
			Because(models.ReasonVerification)
	}
	return readManifest(text)
}

// watch notes how the pages of all locked packages look, so that the next check
// can tell whether Composer would answer differently.
func (s source) watch(ctx context.Context, a *asker, m *manifest, f *found) error {
	f.repositories = s.asked(m)
	if f.shipped {
		return nil // nothing but a new version of the package changes it
	}
	left := map[string]bool{}
	for _, p := range f.lock.Packages {
		left[strings.ToLower(p.Name)] = p.dist().Type != "path"
	}
	for _, at := range f.repositories {
		repo, err := a.open(ctx, at)
		if err != nil {
			return err
		}
		f.keep(a, repository.FileURL(at), "")
		var list []question
		for name := range left {
			if repo.Offers(name) && left[name] {
				for _, file := range metadataNames(repo, name, f.branches(m, name)) {
					list = append(list, question{template: repo.Template(), name: file})
				}
			}
		}
		if err := a.look(ctx, list); err != nil {
			return err
		}
		for _, q := range list {
			f.keep(a, q.template, q.name)
			if s, ok := a.known(q.template, q.name); ok && s.digest != absent {
				left[strings.TrimSuffix(q.name, "~dev")] = false // Composer asks no further either
			}
		}
	}
	return nil
}

// look asks for the pages that were not seen yet.
func (a *asker) look(ctx context.Context, list []question) error {
	list = slices.DeleteFunc(slices.Clone(list), func(q question) bool {
		_, known := a.known(q.template, q.name)
		return known
	})
	return a.each(ctx, list, nil)
}

// branches tells whether Composer looks at the branches of a package.
func (f *found) branches(m *manifest, name string) bool {
	if strings.EqualFold(m.Minimum, version.Dev.String()) || f.lock.unstable[name] >= 20 {
		return true
	}
	return slices.ContainsFunc(f.lock.Packages, func(p locked) bool {
		return strings.EqualFold(p.Name, name) && version.StabilityOf(p.Version) == version.Dev
	})
}

// asked lists the Composer repositories that Composer asks for the project, in
// its order. What it would refuse for want of encryption is left out.
func (s source) asked(m *manifest) []string {
	list := append(slices.Clone(m.composers), s.repositories()...)
	if m.packagist && !s.only {
		list = append(list, packagist)
	}
	plain := s.plainHosts()
	var once []string
	for _, at := range list {
		u, err := checkURL(at)
		if err != nil || u.Scheme == "http" && !plain[strings.ToLower(u.Hostname())] || slices.Contains(once, at) {
			continue
		}
		once = append(once, at)
	}
	return once
}
