package drupalorg

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Constraint is what a release says of the Drupal that it works with: the part of
// Composer's language that drupal.org uses. It holds when one of its ranges does.
type Constraint struct{ ranges []interval }

// interval is a range of versions without those in except. A nil end is open.
type interval struct {
	low, high         *Version
	lowOpen, highOpen bool // the end itself is outside
	except            []Version
}

var (
	eitherOr   = regexp.MustCompile(`\s*\|\|?\s*`)
	spacedSign = regexp.MustCompile(`([<>=!~^])\s+`)
	hyphenated = regexp.MustCompile(`^(\S+)\s+-\s+(\S+)$`)
	separated  = regexp.MustCompile(`[\s,]+`)
	signed     = regexp.MustCompile(`^(\^|~|>=|<=|<>|!=|>|<|==|=)?v?(\d{1,9}(?:\.(?:\d{1,9}|[xX*])){0,3}|[xX*])(?:-([a-zA-Z]+\.?\d{0,9}))?(?:@[a-z]+)?$`)
)

const maxCondition = 500 // bytes

// ParseConstraint reads a constraint; ok is false for one outside of the part that
// is understood.
func ParseConstraint(text string) (c Constraint, ok bool) {
	if len(text) > maxCondition {
		return Constraint{}, false
	}
	for _, either := range eitherOr.Split(strings.TrimSpace(text), -1) {
		i, ok := parseRange(either)
		if !ok {
			return Constraint{}, false
		}
		c.ranges = append(c.ranges, i)
	}
	return c, true
}

func parseRange(text string) (interval, bool) {
	if ends := hyphenated.FindStringSubmatch(text); ends != nil {
		return parseHyphen(ends[1], ends[2])
	}
	var all interval
	for _, part := range separated.Split(spacedSign.ReplaceAllString(text, "$1"), -1) {
		i, ok := parseCondition(part)
		if !ok {
			return interval{}, false
		}
		all = all.and(i)
	}
	return all, true
}

// parseHyphen reads 8.0 - 9: up to every version that begins with the second.
func parseHyphen(from, to string) (interval, bool) {
	low, ok := parseCondition(">=" + from)
	if !ok {
		return interval{}, false
	}
	sign := "<="
	if strings.Count(to, ".") < 2 {
		sign = ""
		to += ".*"
	}
	high, ok := parseCondition(sign + to)
	return interval{low: low.low, high: high.high, highOpen: high.highOpen}, ok
}

func parseCondition(text string) (interval, bool) {
	match := signed.FindStringSubmatch(text)
	if match == nil {
		return interval{}, false
	}
	parts := strings.Split(match[2], ".")
	wild := slices.IndexFunc(parts, func(p string) bool { return strings.ContainsAny(p, "xX*") })
	if wild >= 0 {
		parts = parts[:wild]
		if len(parts) == 0 {
			return interval{}, true
		}
	}
	v, ok := exact(parts, match[3])
	if !ok {
		return interval{}, false
	}
	floor := v
	if floor.Extra == "" {
		floor.Extra = "dev" // its own candidates count as well
	}
	switch sign := match[1]; {
	case wild >= 0 && sign != "" && sign != "^" && sign != "~":
		return interval{}, false
	case wild >= 0:
		return span(floor, next(v, len(parts)-1)), true
	case sign == "^":
		at := 0
		if v.Major == 0 && len(parts) > 1 {
			at = 1
		}
		return span(floor, next(v, at)), true
	case sign == "~":
		return span(floor, next(v, max(0, len(parts)-2))), true
	case sign == ">=":
		return interval{low: &floor}, true
	case sign == ">":
		return interval{low: &v, lowOpen: true}, true
	case sign == "<":
		return interval{high: &floor, highOpen: true}, true
	case sign == "<=":
		return interval{high: &v}, true
	case sign == "!=", sign == "<>":
		return interval{except: []Version{v}}, true
	}
	return interval{low: &v, high: &v}, true
}

func span(low, high Version) interval { return interval{low: &low, high: &high, highOpen: true} }

func exact(parts []string, extra string) (Version, bool) {
	v := Version{Extra: strings.ReplaceAll(strings.ToLower(extra), ".", "")}
	for i, to := range []*int{&v.Major, &v.minor, &v.patch} {
		if i >= len(parts) {
			break
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return Version{}, false
		}
		*to = n
	}
	return v, true
}

// next is the first version after all that share the parts up to at.
func next(v Version, at int) Version {
	switch at {
	case 0:
		return Version{Major: v.Major + 1, Extra: "dev"}
	case 1:
		return Version{Major: v.Major, minor: v.minor + 1, Extra: "dev"}
	}
	return Version{Major: v.Major, minor: v.minor, patch: v.patch + 1, Extra: "dev"}
}

func (i interval) and(j interval) interval {
	if i.low == nil || j.low != nil && cmp.Or(i.low.Compare(*j.low), openness(i.lowOpen, j.lowOpen)) < 0 {
		i.low, i.lowOpen = j.low, j.lowOpen
	}
	if i.high == nil || j.high != nil && cmp.Or(j.high.Compare(*i.high), openness(i.highOpen, j.highOpen)) < 0 {
		i.high, i.highOpen = j.high, j.highOpen
	}
	i.except = append(slices.Clone(i.except), j.except...)
	return i
}

// openness is below 0 when an end of a is wider than that of b.
func openness(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (i interval) holds(v Version) bool {
	if i.low != nil && v.Compare(*i.low) < boundary(i.lowOpen) {
		return false
	}
	if i.high != nil && i.high.Compare(v) < boundary(i.highOpen) {
		return false
	}
	return !slices.ContainsFunc(i.except, func(e Version) bool { return e.Compare(v) == 0 })
}

func boundary(open bool) int {
	if open {
		return 1
	}
	return 0
}

// Allows tells whether a version of Drupal fulfils the constraint.
func (c Constraint) Allows(v Version) bool {
	return slices.ContainsFunc(c.ranges, func(i interval) bool { return i.holds(v) })
}

// overlaps tells whether some version of a major version may fulfil it.
func (c Constraint) overlaps(major int) bool {
	whole := span(Version{Major: major, Extra: "dev"}, Version{Major: major + 1, Extra: "dev"})
	return slices.ContainsFunc(c.ranges, func(i interval) bool {
		both := i.and(whole)
		ends := both.low.Compare(*both.high)
		return ends < 0 || ends == 0 && !both.lowOpen && !both.highOpen
	})
}

// Range is a run of Drupal releases; To is From where it is one alone.
type Range struct{ From, To string }

// CoreRanges says with which full releases of Drupal in supported branches, from
// the installed one on, a constraint goes, as ProjectCoreCompatibility does: core
// is the feed of Drupal itself. It is nil when installed is not in the feed, or the
// constraint is not understood.
func CoreRanges(constraint string, core Feed, installed string) []Range {
	c, ok := ParseConstraint(constraint)
	if _, known := core.Release(installed); !ok || !known {
		return nil
	}
	var list []Range
	within := false
	for _, r := range core.fullFrom(installed) {
		v, _ := r.number()
		switch allowed := c.Allows(v); {
		case allowed && within:
			list[len(list)-1].To = r.Version
		case allowed:
			list, within = append(list, Range{From: r.Version, To: r.Version}), true
		default:
			within = false
		}
	}
	return list
}

// fullFrom lists the supported releases without extra that are not lower than a
// version, lowest first.
func (f Feed) fullFrom(version string) []Release {
	from, ok := modern(version)
	if rank, _ := from.stage(); !ok || from.Core != "" || rank == stageUnstable || rank == stageOther {
		return nil // Composer does not know such versions
	}
	if from.patch == snapshot {
		from.patch = math.MaxInt32 // nor does it take a snapshot for an old one
	}
	var list []Release
	for _, r := range f.Releases {
		v, ok := r.number()
		inBranch := f.Branches == nil || f.supports(r.Version)
		if ok && inBranch && v.Core == "" && v.Extra == "" && v.Compare(from) >= 0 {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b Release) int {
		v, _ := a.number()
		w, _ := b.number()
		return v.Compare(w)
	})
	return list
}
