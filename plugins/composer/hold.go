package composer

import (
	"cmp"
	"fmt"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer/version"
)

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
	case order == 0 && now.Stability() != version.Dev && moved(old.reference, e.reference()):
		return &plugins.Hold{Reason: models.ReasonTagMoved, Message: fmt.Sprintf(
			"%s %s was published anew with other code (%s instead of %s). Approving it builds the new code.", old.name, now, short(e.reference()), short(old.reference))}
	}
	return old.holdLocked(l)
}

func moved(from, to string) bool { return from != "" && to != "" && from != to }

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
		a, b := was.reference(), p.reference()
		if ok && was.Version == p.Version && version.StabilityOf(p.Version) != version.Dev && moved(a, b) {
			return &plugins.Hold{Reason: models.ReasonTagMoved, Message: fmt.Sprintf(
				"%s %s, which %s needs, was published anew with other code (%s instead of %s). Approving it builds the new code.", p.Name, oneLine(p.Version), old.name, short(b), short(a))}
		}
	}
	return nil
}

// reference is the commit that the code was made from, else the checksum of its
// archive; "" when neither is known.
func (l locked) reference() string {
	return cmp.Or(l.dist().Reference, l.source().Reference, l.dist().Shasum)
}
