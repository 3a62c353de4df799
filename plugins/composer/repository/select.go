package repository

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"hefring/models"
	"hefring/plugins/composer/version"
)

// Query says which version of a package is wanted.
type Query struct {
	Package    string
	Constraint string // "" accepts every version
	// Stability is the least stable one that is accepted; "" takes it from the
	// constraint.
	Stability string
	Platform  Platform // nil: whatever the versions ask of the machine
}

// Platform is what the machine has: PHP, its extensions, Composer itself.
type Platform map[string]version.Version

var platformPattern = regexp.MustCompile(`(?i)^(?:php(?:-64bit|-ipv6|-zts|-debug)?|hhvm|(?:ext|lib)-[a-z0-9](?:[_.-]?[a-z0-9]+)*|composer(?:-(?:plugin|runtime)-api)?)$`)

// IsPlatform tells whether name means a part of the machine and no package.
func IsPlatform(name string) bool { return platformPattern.MatchString(name) }

var flagPattern = regexp.MustCompile(`(?i)^[^,\s]*?@(stable|rc|beta|alpha|dev)$`)

// Wanted gives the least stable version that is looked at.
func (q Query) Wanted() (version.Stability, error) {
	switch {
	case q.Stability != "":
		return version.ParseStability(q.Stability)
	case q.Constraint == "":
		return version.Stable, nil
	}
	if m := flagPattern.FindStringSubmatch(q.Constraint); m != nil {
		return version.ParseStability(m[1])
	}
	return version.StabilityOf(q.Constraint), nil
}

// Chosen is the version that create-project would take.
type Chosen struct {
	Package
	// Shown is the version as people know it: for branches the number that they
	// go by.
	Shown version.Version
}

// Select chooses as create-project does: the highest version that the constraint
// and the stability accept and whose requirements of the machine hold; more
// stable ones first only where nothing as stable as wanted is there. Finding none
// is a models.Error with the reason NotFound that says why.
func Select(packages []Package, q Query) (Chosen, error) {
	wanted, err := q.Wanted()
	if err != nil {
		return Chosen{}, err
	}
	found, err := candidates(packages, q, wanted)
	if err != nil {
		return Chosen{}, err
	}
	slices.SortStableFunc(found, func(a, b Chosen) int {
		x, y := a.Shown.Stability(), b.Shown.Stability()
		if x <= wanted && y <= wanted {
			return b.Shown.Compare(a.Shown)
		}
		return cmp.Or(cmp.Compare(max(x, wanted), max(y, wanted)), b.Shown.Compare(a.Shown))
	})
	for _, c := range found {
		if q.Platform == nil || q.Platform.missing(c.Package) == "" {
			if c.Shown.Text == DefaultBranch {
				c.Shown = c.Version
			}
			return c, nil
		}
	}
	return Chosen{}, none(packages, found, q, wanted)
}

// candidates are the acceptable versions. A branch counts under both of its
// names, as soon as one is acceptable.
func candidates(packages []Package, q Query, wanted version.Stability) ([]Chosen, error) {
	accepts := func(version.Version) bool { return true }
	if q.Constraint != "" {
		c, err := version.ParseConstraint(q.Constraint)
		if err != nil {
			return nil, err
		}
		accepts = c.Matches
	}
	var found []Chosen
	for _, p := range packages {
		var names []version.Version
		if p.alias.Text != "" {
			names = append(names, p.alias)
		}
		names = append(names, p.Version)
		if !slices.ContainsFunc(names, func(v version.Version) bool { return v.Stability() <= wanted && accepts(v) }) {
			continue
		}
		for _, name := range names {
			found = append(found, Chosen{p, name})
		}
	}
	return found, nil
}

// missing names a requirement of p that the machine does not meet; "" when it
// meets all.
func (m Platform) missing(p Package) string {
	names := make([]string, 0, len(p.Require))
	for name := range p.Require {
		if IsPlatform(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		have, ok := m[strings.ToLower(name)]
		constraint, err := version.ParseConstraint(p.Require[name])
		if !ok || err != nil || !constraint.Matches(have) {
			return name + " " + p.Require[name]
		}
	}
	return ""
}

func none(packages []Package, found []Chosen, q Query, wanted version.Stability) error {
	const advice = "Widen the constraint, or accept less stable versions."
	var e *models.Error
	switch {
	case len(found) > 0:
		e = models.Errorf(models.Invalid, "No version of %s that the constraint accepts works on this server: %s wants %s. Widen the constraint, or install what is missing.",
			q.Package, found[0].Shown, q.Platform.missing(found[0].Package))
	case len(packages) == 0:
		e = models.Errorf(models.Invalid, "The repository has no package %s with stability %s. Check the spelling of its name and the repository.", q.Package, wanted)
	case q.Constraint == "":
		e = models.Errorf(models.Invalid, "%s has no version with stability %s or better. %s", q.Package, wanted, advice)
	default:
		e = models.Errorf(models.Invalid, "%s has no version that fits %s with stability %s or better. %s", q.Package, q.Constraint, wanted, advice)
	}
	return e.Because(models.ReasonNotFound)
}
