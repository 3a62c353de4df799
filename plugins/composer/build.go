package composer

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composerinstall"
)

// Build creates the project of exactly v and installs exactly the planned
// packages.
func (s source) Build(ctx context.Context, env plugins.Env, v plugins.Version, dst string) (plugins.Made, error) {
	made, err := s.build(ctx, env, v, dst)
	return made, s.redact(err)
}

func (s source) build(ctx context.Context, env plugins.Env, v plugins.Version, dst string) (plugins.Made, error) {
	p, l, err := readPlan(v.Plan, s.plainHosts())
	if err != nil {
		return plugins.Made{}, err
	}
	if p.Package.Name != s.name || p.Package.revision() != v.Revision || p.Package.content(l) != v.Content {
		return plugins.Made{}, fmt.Errorf("build %.100q: its plan is of another version", v.Revision)
	}
	c, err := s.session(ctx, env, v.Content[:32])
	if err != nil {
		return plugins.Made{}, err
	}
	defer c.Close()
	m, err := s.place(ctx, env, c, p, l, dst)
	if err != nil {
		return plugins.Made{}, err
	}
	made := plugins.Made{Sources: sources(p, l), Findings: abandoned(p, l)}
	insecure, err := s.audit(ctx, env, c, dst, p, l)
	if err != nil {
		return plugins.Made{}, err
	}
	made.Findings = append(insecure, made.Findings...)
	if err := s.install(ctx, env, c, dst); err != nil {
		return plugins.Made{}, err
	}
	return made, verify(dst, m.vendor, l)
}

// place puts the project with the planned composer.lock into dst.
func (s source) place(ctx context.Context, env plugins.Env, c *composerinstall.Composer, p plan, l *lock, dst string) (*manifest, error) {
	work, err := workplace(env)
	if err != nil {
		return nil, err
	}
	if err := env.Run.Chown(dst); err != nil {
		return nil, err
	}
	if err := s.create(ctx, env, c, p.Package, work, dst); err != nil {
		return nil, err
	}
	m, err := projectManifest(dst)
	if err != nil {
		return nil, err
	}
	if err := s.checkCredential(m, l.Packages); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dst)
	if err != nil {
		return nil, fmt.Errorf("open project: %w", err)
	}
	defer func() { _ = root.Close() }()
	if err := root.RemoveAll("composer.lock"); err != nil {
		return nil, fmt.Errorf("write composer.lock: %w", err)
	}
	if err := root.WriteFile("composer.lock", l.encoded, 0o644); err != nil {
		return nil, fmt.Errorf("write composer.lock: %w", err)
	}
	return m, env.Run.Chown(dst)
}

// install downloads the packages and then installs them. Only the first step has
// the credential, and only in the second one runs code of packages.
func (s source) install(ctx context.Context, env plugins.Env, c *composerinstall.Composer, dst string) error {
	if s.token != "" {
		plugins.Logf(env, "Downloading packages with the credential, before any of their code runs")
		if _, err := c.Run(ctx, composerinstall.Call{
			Args: withoutCode("install", "--no-dev", "--download-only", "--no-progress"), Dir: dst, Auth: s.auth(),
		}); err != nil {
			return fmt.Errorf("download packages: %w", err)
		}
	}
	return c.Install(ctx, dst)
}

// maxInstalled is the largest installed.json that is read, in bytes.
const maxInstalled = 64 << 20

// verify proves that the planned packages, and no others, are installed.
func verify(dst, vendor string, l *lock) error {
	name := path.Join(vendor, "composer", "installed.json")
	text, err := readFile(dst, name, maxInstalled)
	if err != nil {
		return err
	}
	if text == nil && len(l.Packages) == 0 {
		return nil
	}
	var installed struct {
		Packages []locked `json:"packages"`
	}
	if err := json.Unmarshal(text, &installed); err != nil {
		return models.Wrapf(models.Invalid, err, "Composer left no list of what it installed (%s).", name).Because(models.ReasonVerification)
	}
	got, want := versions(installed.Packages), versions(l.Packages)
	if !slices.Equal(got, want) {
		return models.Errorf(models.Invalid, "What was installed is not what was planned: %s. Look into the scripts and plugins of the package.", difference(got, want)).
			Because(models.ReasonVerification)
	}
	return nil
}

func versions(packages []locked) []string {
	list := make([]string, 0, len(packages))
	for _, p := range packages {
		list = append(list, strings.TrimSuffix(p.Name+" "+p.Version+" "+short(p.reference()), " "))
	}
	slices.Sort(list)
	return list
}

func difference(got, want []string) string {
	for _, text := range want {
		if !slices.Contains(got, text) {
			return "there is no " + oneLine(text)
		}
	}
	for _, text := range got {
		if !slices.Contains(want, text) {
			return oneLine(text) + " is there as well"
		}
	}
	return "some package is there twice"
}

// sources lists what the platform was made from.
func sources(p plan, l *lock) []models.SourcePackage {
	list := []models.SourcePackage{p.Package.locked().made()}
	for _, one := range l.Packages {
		list = append(list, one.made())
	}
	return list
}

func (l locked) made() models.SourcePackage {
	d := l.dist()
	if d.URL == "" {
		d = l.source()
	}
	made := models.SourcePackage{Name: l.Name, Type: kind(l), Version: oneLine(l.Version), URL: d.URL}
	switch {
	case d.Shasum != "":
		made.Checksum = "sha1:" + oneLine(d.Shasum)
	case commitPattern.MatchString(l.reference()):
		made.Checksum = "git:" + l.reference()
	}
	return made
}

// commitPattern recognises what git calls a commit.
var commitPattern = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

func kind(l locked) string {
	switch name, _ := strings.CutPrefix(l.Type, "drupal-"); name {
	case "module", "theme", "profile", "core":
		if name != l.Type {
			return name
		}
	}
	return "library"
}
