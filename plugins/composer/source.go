package composer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer/version"
	"hefring/plugins/composerinstall"
)

// secrets are the texts that nobody may read in a log: the token, and how it is
// sent.
func (s source) secrets() []string {
	if s.token == "" {
		return nil
	}
	return []string{base64.StdEncoding.EncodeToString([]byte(s.user + ":" + s.token)), s.token}
}

// Check asks whether anything changed of what the last answer rests on. Only then,
// or when that answer is old, the version is chosen anew and Composer works out
// its dependencies.
func (s source) Check(ctx context.Context, env plugins.Env, last plugins.Version) (plugins.Version, error) {
	v, err := s.check(ctx, env, last)
	return v, s.redact(err)
}

func (s source) check(ctx context.Context, env plugins.Env, last plugins.Version) (plugins.Version, error) {
	a := newAsker(env, s)
	v, err := s.look(ctx, a, last)
	if err != nil {
		return plugins.Version{}, err
	}
	v.Hold, v.Security = nil, false
	if v.Same(last) {
		v.Security = last.Security
		return v, nil
	}
	now, l, err := readPlan(v.Plan, s.plainHosts())
	if err != nil {
		return plugins.Version{}, err
	}
	old := s.former(last)
	v.Hold = old.hold(now.Package, l)
	v.Security = s.mends(ctx, a, old.lock, now.Repositories, l)
	return v, nil
}

// look gives an earlier answer when everything that it rests on is unchanged, and
// else finds a new one. While a person thinks about a held version, the earlier
// answer is not the last accepted one but the one that this machine kept.
func (s source) look(ctx context.Context, a *asker, last plugins.Version) (plugins.Version, error) {
	for _, earlier := range []plugins.Version{last, s.kept(a.env)} {
		m := s.recall(earlier)
		if !m.fresh(s.renew) || !s.sound(earlier) {
			continue
		}
		same, err := a.unchanged(ctx, m)
		if err != nil {
			return plugins.Version{}, err
		}
		if same {
			m.Pages, m.Feeds = a.seenOf(m.Pages), a.feedsOf(m.Pages)
			earlier.Memo = m.encode()
			return earlier, nil
		}
	}
	f, err := s.resolve(ctx, a)
	if err != nil {
		return plugins.Version{}, err
	}
	v, err := s.version(f, a.feedsOf(f.pages))
	if err == nil {
		s.keep(a.env, v)
	}
	return v, err
}

// sound tells whether an earlier answer can be built.
func (s source) sound(v plugins.Version) bool {
	p, l, err := readPlan(v.Plan, s.plainHosts())
	return err == nil && p.Package.Name == s.name && p.Package.revision() == v.Revision && p.Package.content(l) == v.Content
}

// file is where this machine keeps the source's newest answer.
func (s source) file(env plugins.Env) string {
	return filepath.Join(env.Cache, "composer-answers", s.key()+".json")
}

// keep stores an answer; losing it costs time only.
func (s source) keep(env plugins.Env, v plugins.Version) {
	text, err := json.Marshal(v)
	name := s.file(env)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(name), 0o700)
	}
	if err == nil {
		err = os.WriteFile(name+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		plugins.Logf(env, "Warning: the dependencies that were worked out could not be kept: %v", err)
	}
}

// kept gives the stored answer; none when there is none, or it is damaged.
func (s source) kept(env plugins.Env) plugins.Version {
	var v plugins.Version
	text, err := readFile(filepath.Dir(s.file(env)), filepath.Base(s.file(env)), 2*maxPlan)
	if err != nil || json.Unmarshal(text, &v) != nil {
		return plugins.Version{}
	}
	return v
}

// version puts what was found into words.
func (s source) version(f *found, feeds map[string]feed) (plugins.Version, error) {
	packed, err := pack(f.lock.encoded)
	if err != nil {
		return plugins.Version{}, err
	}
	p := plan{Package: f.entry, Lock: packed, Repositories: f.repositories, Abandoned: f.chosen.Abandoned, Replacement: f.chosen.Replacement}
	text, err := p.encode()
	if err != nil {
		return plugins.Version{}, err
	}
	m := memo{Source: s.key(), Solved: f.solved.Unix(), Pages: f.pages, Feeds: feeds}
	return plugins.Version{
		Revision: f.entry.revision(),
		Content:  f.entry.content(f.lock),
		Label:    f.entry.label(),
		Note:     oneLine(f.chosen.Description),
		Plan:     text,
		Memo:     m.encode(),
		Facts:    s.facts(f),
	}, nil
}

func (s source) facts(f *found) []models.Fact {
	lock := "worked out by Composer"
	if f.shipped {
		lock = "as the package ships it"
	}
	facts := []models.Fact{
		{Label: "Package", Value: s.name + " " + f.entry.Version},
		{Label: "Required packages", Value: strconv.Itoa(len(f.lock.Packages)) + ", " + lock},
		{Label: "Digest of composer.lock", Value: f.lock.canonical[:12]},
	}
	if f.chosen.Abandoned {
		facts = append(facts, models.Fact{Label: "Abandoned", Value: abandonment(f.chosen.Replacement)})
	}
	return facts
}

// abandonment says in one sentence what to do about an abandoned package.
func abandonment(replacement string) string {
	if replacement == "" {
		return "Its makers no longer care for it and name no replacement."
	}
	return "Its makers no longer care for it. Use " + oneLine(replacement) + " instead."
}

const maxNote = 300

// oneLine makes foreign text fit for a page.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(run.Clean(strings.Join(strings.Fields(text), " "))), " ")
	if len(text) > maxNote {
		text = strings.ToValidUTF8(text[:maxNote], "") + "…"
	}
	return text
}

// former is the version that was accepted last, as far as it is known.
type former struct {
	name      string
	version   version.Version
	reference string
	lock      *lock // nil when it is lost
}

func (s source) former(last plugins.Version) former {
	name, v, ok := parseRevision(last.Revision)
	if !ok || name != s.name {
		return former{}
	}
	old := former{name: name, version: v}
	if p, l, err := readPlan(last.Plan, s.plainHosts()); err == nil {
		old.reference, old.lock = p.Package.reference(), l
	}
	return old
}

// hold says what is out of the ordinary in the step to e with its packages; nil
// when nothing is.
func (old former) hold(e entry, l *lock) *plugins.Hold {
	now, err := version.Parse(e.Version)
	if old.name == "" || err != nil {
		return nil
	}
	order := now.Compare(old.version)
	switch {
	case now.IsBranch() || old.version.IsBranch():
	case order < 0:
		return &plugins.Hold{Reason: models.ReasonLower, Message: fmt.Sprintf(
			"The highest version of %s was %s and is now %s: a release was withdrawn, or the settings changed. Approving it builds the lower version.", old.name, old.version, now)}
	case order == 0 && now.Stability() != version.Dev && old.reference != "" && old.reference != e.reference():
		return &plugins.Hold{Reason: models.ReasonTagMoved, Message: fmt.Sprintf(
			"%s %s was published anew with other code (%s instead of %s). Approving it builds the new code.", old.name, now, short(e.reference()), short(old.reference))}
	}
	return old.holdLocked(l)
}

// holdLocked finds a dependency whose version stayed and whose code did not.
func (old former) holdLocked(now *lock) *plugins.Hold {
	if old.lock == nil {
		return nil
	}
	before := map[string]locked{}
	for _, p := range old.lock.Packages {
		before[p.Name] = p
	}
	for _, p := range now.Packages {
		was, ok := before[p.Name]
		a, b := was.commit(), p.commit()
		if ok && was.Version == p.Version && version.StabilityOf(p.Version) != version.Dev && a != "" && b != "" && a != b {
			return &plugins.Hold{Reason: models.ReasonTagMoved, Message: fmt.Sprintf(
				"%s %s, which %s needs, was published anew with other code (%s instead of %s). Approving it builds the new code.", p.Name, oneLine(p.Version), old.name, short(b), short(a))}
		}
	}
	return nil
}

// commit names what the code was made from.
func (l locked) commit() string {
	if reference := l.dist().Reference; reference != "" {
		return reference
	}
	return l.source().Reference
}

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
	if err := s.checkGit(m, l.Packages); err != nil {
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
	if err := root.WriteFile("composer.lock", l.encoded, 0o644); err != nil { //nolint:gosec // the web server's user may read it
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
		list = append(list, strings.TrimSuffix(p.Name+" "+p.Version+" "+short(p.commit()), " "))
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
	case commitPattern.MatchString(l.commit()):
		made.Checksum = "git:" + l.commit()
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

// redact keeps the credential out of an error: a repository may repeat what it
// was sent.
func (s source) redact(err error) error {
	if err == nil || s.token == "" || !strings.Contains(err.Error(), s.token) {
		return err
	}
	hide := func(text string) string {
		for _, secret := range s.secrets() {
			text = strings.ReplaceAll(text, secret, "***")
		}
		return text
	}
	clean := models.Errorf(models.CodeOf(err), "%s", hide(models.Explain(err))).Because(models.ReasonOf(err))
	clean.Err = errors.New(hide(err.Error()))
	if !utf8.ValidString(clean.Message) {
		clean.Message = strings.ToValidUTF8(clean.Message, "")
	}
	return clean
}
