package composer

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

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
