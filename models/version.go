package models

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// CompareVersions orders two versions of a Drupal project or a library: -1 when a
// is older, 0 when they are one, 1 when a is newer. known is false where nobody
// can tell: an empty version, or the name of a branch without a number.
//
// The core prefix of old does not count, so 8.x-1.10 is 1.10.0 and newer than
// 1.9.0 (https://www.drupal.org/docs/develop/git/git-for-drupal-project-maintainers/release-naming-conventions).
// A branch such as 10.3.x is newer than its releases, and 1.3+4-dev, four commits
// after it, newer than 1.3. Before a release come its release candidates, betas,
// alphas, unstable and development versions, in this order.
func CompareVersions(a, b string) (order int, known bool) {
	v, okV := parseVersion(a)
	w, okW := parseVersion(b)
	if !okV || !okW {
		return 0, false
	}
	for i := range v.numbers {
		if c := cmp.Compare(v.numbers[i], w.numbers[i]); c != 0 {
			return c, true
		}
	}
	return cmp.Or(cmp.Compare(v.stage, w.stage), cmp.Compare(v.serial, w.serial), cmp.Compare(v.after, w.after)), true
}

// version is a version, made comparable.
type version struct {
	numbers [4]int64
	stage   int   // how finished it is
	serial  int64 // of the stage: rc2
	after   int64 // commits since
}

// Stages of a version, lowest first.
const (
	stageDev = iota
	stageUnstable
	stageAlpha
	stageBeta
	stageCandidate
	stageStable
	stagePatch
)

const (
	branchNumber = math.MaxInt64
	maxVersion   = 128 // bytes of a version that is read
)

func parseVersion(text string) (v version, ok bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	if len(text) > maxVersion {
		return v, false
	}
	if core, rest, found := strings.Cut(text, ".x-"); found && isDigits(core) && rest != "dev" {
		text = rest
	}
	text = strings.TrimPrefix(text, "v")
	text, build, _ := strings.Cut(text, "+")
	numbers, suffix := text, ""
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '.' && r != 'x' && (r < '0' || r > '9') }); i >= 0 {
		numbers, suffix = text[:i], strings.TrimLeft(text[i:], "-_")
	}
	if !v.readNumbers(strings.TrimRight(numbers, ".")) {
		return v, false
	}
	v.readSuffix(suffix)
	v.readBuild(build)
	return v, true
}

func (v *version) readNumbers(text string) bool {
	parts := strings.Split(text, ".")
	if len(parts) > len(v.numbers) || parts[0] == "x" {
		return false
	}
	for i, part := range parts {
		switch {
		case part == "x" && i == len(parts)-1:
			v.numbers[i] = branchNumber
		case isDigits(part):
			v.numbers[i] = digits(part)
		default:
			return false
		}
	}
	return true
}

func (v *version) readSuffix(text string) {
	name := text
	if i := strings.IndexAny(text, "0123456789.-_"); i >= 0 {
		name = text[:i]
		number := strings.TrimLeft(text[i:], ".-_")
		if j := strings.IndexFunc(number, func(r rune) bool { return r < '0' || r > '9' }); j >= 0 {
			number = number[:j]
		}
		if isDigits(number) {
			v.serial = digits(number)
		}
	}
	switch name {
	case "dev":
		v.stage = stageDev
	case "unstable":
		v.stage = stageUnstable
	case "a", "alpha":
		v.stage = stageAlpha
	case "b", "beta":
		v.stage = stageBeta
	case "rc":
		v.stage = stageCandidate
	case "p", "pl", "patch":
		v.stage = stagePatch
	default: // a release, also one that somebody marked as his own
		v.stage, v.serial = stageStable, 0
	}
}

// readBuild reads what drupal.org puts behind the release that a development
// snapshot came after: 8.x-1.3+4-dev.
func (v *version) readBuild(text string) {
	commits, dev := strings.CutSuffix(text, "-dev")
	if dev && isDigits(commits) {
		v.after = digits(commits)
	}
}

func isDigits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

// digits reads a number; what is too large counts as the largest but the x of a
// branch.
func digits(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n == branchNumber {
		return branchNumber - 1
	}
	return n
}
