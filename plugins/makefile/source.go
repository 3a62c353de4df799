package makefile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git/lsrefs"
	"hefring/plugins/makefile/build"
	"hefring/plugins/makefile/spec"
)

// source is one makefile. One of url, local and repository is set.
type source struct {
	plugin     Plugin
	url        *url.URL
	local      string         // absolute path on this machine
	repository plugins.Source // of git
	path       string         // in the repository

	login    login
	options  build.Options
	location string // base of release feeds; "" is drupal.org's
}

// login is how to ask for the makefile; git knows its own.
type login struct{ kind, user, token string }

// authorization is the HTTP header's value; "" for none.
func (l login) authorization() string {
	if l.kind != authToken {
		return ""
	}
	return lsrefs.BasicAuth(l.user, l.token)
}

// digest tells credentials apart and gives nothing of them away; "" for none.
func (l login) digest() string {
	if l.kind != authToken {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "hefring makefile credentials %d:%s%s", len(l.user), l.user, l.token))
	return hex.EncodeToString(sum[:8])
}

// Upstream is the host of the makefile, or its repository.
func (s source) Upstream() plugins.Upstream {
	switch {
	case s.repository != nil:
		return s.repository.Upstream()
	case s.local != "":
		return plugins.Upstream{Key: "file://" + s.local}
	}
	canonical := *s.url
	canonical.Host = strings.ToLower(canonical.Host)
	key := canonical.String()
	if digest := s.login.digest(); digest != "" {
		key += "#" + digest
	}
	return plugins.Upstream{Key: key, Host: strings.TrimSuffix(strings.ToLower(s.url.Hostname()), ".")}
}

// plan is how a version is built: everything that was not fixed in the makefile
// is fixed here.
type plan struct {
	Makefile *spec.Makefile `json:"makefile"`
	Location string         `json:"location,omitempty"` // that the releases come from
	// Repository is the version of the repository that holds the makefile, as the
	// git update type gave it.
	Repository *revision `json:"repository,omitempty"`
	// Inner are the makefiles inside of profiles, by the name of the profile; nil for
	// one that has none.
	Inner map[string]*spec.Makefile `json:"inner,omitempty"`
	// Files is what is copied from beside the makefile, when no commit fixes it.
	Files map[string]string `json:"files,omitempty"` // path -> SHA-256
}

// revision is what git needs of a version of its own.
type revision struct {
	Revision string `json:"revision"`
	Content  string `json:"content"`
	Memo     string `json:"memo,omitempty"`
}

func (r *revision) version() plugins.Version {
	if r == nil {
		return plugins.Version{}
	}
	return plugins.Version{Revision: r.Revision, Content: r.Content, Memo: r.Memo}
}

// maxPlan is how many bytes a plan may have.
const maxPlan = 1 << 20

// readPlan gives the zero plan for damaged text.
func readPlan(text string) plan {
	var p plan
	if len(text) > maxPlan || json.Unmarshal([]byte(text), &p) != nil || p.Makefile == nil {
		return plan{}
	}
	return p
}

// content is the id of what a build takes from the plan: not where the makefiles
// are, and what was in their comments.
func (p plan) content() (string, error) {
	bare := plan{Makefile: withoutReadings(p.Makefile), Files: p.Files, Inner: map[string]*spec.Makefile{}}
	for name, m := range p.Inner {
		bare.Inner[name] = withoutReadings(m)
	}
	if p.Repository != nil && slices.ContainsFunc(downloads(p.Makefile), beside) {
		bare.Repository = &revision{Content: p.Repository.Content}
	}
	text, err := json.Marshal(bare)
	if err != nil {
		return "", fmt.Errorf("hash plan: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// withoutReadings forgets what reading a makefile told beside its entries.
func withoutReadings(read *spec.Makefile) *spec.Makefile {
	if read == nil {
		return nil
	}
	m := *read
	m.Warnings, m.Read, m.Base = nil, nil, spec.Ref{}
	m.Projects, m.Libraries = slices.Clone(m.Projects), slices.Clone(m.Libraries)
	for i := range m.Projects {
		m.Projects[i].From, m.Projects[i].Patches = spec.Ref{}, withoutPlaces(m.Projects[i].Patches)
	}
	for i := range m.Libraries {
		m.Libraries[i].From, m.Libraries[i].Patches = spec.Ref{}, withoutPlaces(m.Libraries[i].Patches)
	}
	return &m
}

// beside tells whether a download is a file or folder beside the makefile.
func beside(d *spec.Download) bool { return d != nil && d.Ref.Path != "" && d.Ref.Git == "" }

// withoutPlaces forgets where patches are whose text is known.
func withoutPlaces(patches []spec.Patch) []spec.Patch {
	bare := make([]spec.Patch, len(patches))
	for i, p := range patches {
		if p.Checksums.SHA256 != "" {
			p.Ref = spec.Ref{}
		}
		p.Fallback = spec.Ref{}
		bare[i] = p
	}
	return bare
}

// Check reads the makefile with everything that it includes, and finds out what
// its unpinned projects and branches stand for now.
func (s source) Check(ctx context.Context, env plugins.Env, last plugins.Version) (plugins.Version, error) {
	env = s.permitted(env)
	before := readPlan(last.Plan)
	l, err := s.open(ctx, env, before.Repository.version())
	if err != nil {
		return plugins.Version{}, err
	}
	m, err := spec.Load(ctx, l, l.top)
	if err != nil {
		return plugins.Version{}, s.explain(err)
	}
	if err := s.resolver(env, before).Resolve(ctx, l, m); err != nil {
		return plugins.Version{}, err
	}
	if err := s.checkCore(m); err != nil {
		return plugins.Version{}, err
	}
	p := plan{Makefile: m, Location: s.feeds(), Repository: l.repository}
	if p.Inner, err = s.inner(ctx, env, l, m, before); err != nil {
		return plugins.Version{}, err
	}
	if p.Files, err = l.digests(ctx, m); err != nil {
		return plugins.Version{}, err
	}
	v, err := s.version(p)
	v.Hold = l.hold
	return v, err
}

// permitted is env for this makefile: only one that is a file of this machine may
// name others.
func (s source) permitted(env plugins.Env) plugins.Env {
	env.Local = env.Local && s.local != ""
	return env
}

func (s source) resolver(env plugins.Env, before plan) resolver {
	r := resolver{env: env, git: s.plugin.git, location: s.location, gitBase: s.options.GitBase, noCore: s.options.NoCore}
	if before.Makefile != nil && before.Location == s.feeds() {
		r.before = before.Makefile
	}
	return r
}

// feeds names where releases and commits are looked up.
func (s source) feeds() string { return strings.TrimSpace(s.location + " " + s.options.GitBase) }

func (s source) checkCore(m *spec.Makefile) error {
	if s.options.NoCore || m.Options.NoCore {
		return nil
	}
	var names []string
	for _, p := range m.Projects {
		if p.Type == spec.TypeCore {
			names = append(names, p.Name)
		}
	}
	switch {
	case len(names) == 0:
		return models.Errorf(models.Invalid, "The makefile names no core project, so the build would be no site. Add projects[] = drupal, or choose to build without core.").Because(models.ReasonMalformed)
	case len(names) > 1:
		return models.Errorf(models.Invalid, "The makefile names more than one core project: %s. Remove all but one.", strings.Join(names, ", ")).Because(models.ReasonMalformed)
	}
	return nil
}

func (s source) version(p plan) (plugins.Version, error) {
	content, err := p.content()
	if err != nil {
		return plugins.Version{}, err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return plugins.Version{}, fmt.Errorf("write plan: %w", err)
	}
	if len(text) > maxPlan {
		return plugins.Version{}, models.Errorf(models.Invalid, "The makefile is too large: what it resolves to takes %d KiB, and 1024 are kept. Split it.", len(text)>>10).Because(models.ReasonTooLarge)
	}
	top := p.Makefile.Read[0]
	return plugins.Version{
		Revision: revisionOf(top.MD5, content),
		Content:  content,
		Label:    top.MD5[:7],
		Note:     note(p.Makefile),
		Plan:     string(text),
		Facts:    facts(p),
	}, nil
}

func revisionOf(md5, content string) string {
	return "makefile:md5:" + md5 + ":resolved:" + content[:16]
}

// note says in one line what the makefile names.
func note(m *spec.Makefile) string {
	core := "Drupal " + m.Core
	others := 0
	for _, p := range m.Projects {
		switch {
		case p.Type != spec.TypeCore:
			others++
		case p.Release != nil:
			core = p.Name + " " + p.Release.Version
		case p.Version != "":
			core = p.Name + " " + p.Version
		default:
			core = p.Name
		}
	}
	text := core + " with " + counted(others, "project", "projects")
	if n := len(m.Libraries); n > 0 {
		text += " and " + counted(n, "library", "libraries")
	}
	return text
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func facts(p plan) []models.Fact {
	list := []models.Fact{{Label: "MD5", Value: p.Makefile.Read[0].MD5}, {Label: "SHA-256", Value: p.Makefile.Read[0].SHA256}}
	if p.Repository != nil {
		if _, commit, found := strings.Cut(p.Repository.Revision, "@sha1:"); found {
			list = append(list, models.Fact{Label: "Commit", Value: commit})
		}
	}
	for _, doc := range p.Makefile.Read[1:] {
		if len(list) == 12 {
			list = append(list, models.Fact{Label: "Further makefiles", Value: strconv.Itoa(len(p.Makefile.Read) - 10)})
			break
		}
		list = append(list, models.Fact{Label: "Includes", Value: doc.Ref.String()})
	}
	if n := len(p.Makefile.Warnings); n > 0 {
		list = append(list, models.Fact{Label: "Warnings", Value: strconv.Itoa(n)})
	}
	return list
}

// Build makes the tree of exactly the versions that the check found.
func (s source) Build(ctx context.Context, env plugins.Env, v plugins.Version, dst string) (plugins.Made, error) {
	env = s.permitted(env)
	p := readPlan(v.Plan)
	if p.Makefile == nil || len(p.Makefile.Read) == 0 {
		return plugins.Made{}, errors.New("build makefile: the plan of the version is damaged")
	}
	content, err := p.content()
	if err != nil {
		return plugins.Made{}, err
	}
	if content != v.Content || v.Revision != revisionOf(p.Makefile.Read[0].MD5, content) {
		return plugins.Made{}, fmt.Errorf("build makefile: revision %.100q does not fit its plan", v.Revision)
	}
	l, err := s.reopen(ctx, env, p)
	if err != nil {
		return plugins.Made{}, err
	}
	for _, w := range p.Makefile.Warnings {
		plugins.Logf(env, "Warning: %s", s.shown(w.String()))
	}
	for _, doc := range p.Makefile.Read {
		plugins.Logf(env, "Makefile %s, MD5 %s", s.shown(doc.Ref.String()), doc.MD5)
	}
	r := s.resolver(env, plan{})
	r.checked = p.Inner
	return build.Build(ctx, env, build.Job{
		Makefile: p.Makefile, Loader: l, Folder: l.folder, Options: s.options,
		Resolve: r.Resolve,
	}, dst)
}

// shown gives paths of a local makefile their slash back: its references begin at
// the top of this machine.
func (s source) shown(text string) string {
	folder := path.Dir(s.local) + "/"
	if s.local == "" || folder == "//" {
		return text
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, folder, folder[1:]), folder[1:], folder)
}

// explain puts errors of the makefile itself at the field of the form that names
// it.
func (s source) explain(err error) error {
	e, ok := errors.AsType[*models.Error](err)
	if !ok || e.Fields != nil {
		return err
	}
	shown := *e
	shown.Message = s.shown(e.Message)
	field := fieldURL
	if s.repository != nil {
		field = fieldPath
	}
	shown.Fields = map[string]string{field: shown.Message}
	return &shown
}

func fieldsOf(err error) map[string]string {
	if e, ok := errors.AsType[*models.Error](err); ok {
		return e.Fields
	}
	return nil
}
