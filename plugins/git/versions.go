package git

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// version is a release number as the tags of a repository have it: 1.2.3,
// 10.4.0-rc1, 7.x-2.0-beta1.
type version struct {
	core    int    // Drupal core that its contributed projects name first; noCore without one
	numbers [4]int // those that are not written are 0
	rank    int    // of what follows the numbers: pre-release, nothing, or patch
	suffix  []string
}

// noCore sorts the versions without a core above those with one, as drupal.org's
// projects have changed from 8.x-1.5 to 2.0.0.
const noCore = math.MaxInt

// Ranks of what follows the numbers, lowest first. Words of no known meaning
// come where the alphabet puts them between those that have one, as in
// https://semver.org/#spec-item-11.
const (
	rankDev = iota
	rankNumber
	rankUnstable
	rankBeforeAlpha
	rankAlpha
	rankBeforeBeta
	rankBeta
	rankBeforeCandidate
	rankCandidate
	rankAfterCandidate
	rankStable
	rankPatch
)

var (
	// versionPattern is strict: a date such as 2024-09-22 is no version.
	versionPattern = regexp.MustCompile(`^(?:([0-9]{1,2})\.x-)?([0-9]{1,9}(?:\.[0-9]{1,9}){0,3})(.*)$`)
	stability      = regexp.MustCompile(`^[.-]?(dev|unstable|alpha|a|beta|b|rc|patch|pl|p)[.-]?([0-9]{0,9})$`)
	identifiers    = regexp.MustCompile(`^-([0-9a-z-]{1,50}(?:\.[0-9a-z-]{1,50}){0,9})$`)
	buildMetadata  = regexp.MustCompile(`\+[0-9A-Za-z.-]+$`)
	pieces         = regexp.MustCompile(`[0-9]+|[^0-9.]+`)
)

// parseVersion reads a whole text; a v before it is none of its business.
func parseVersion(text string) (version, bool) {
	match := versionPattern.FindStringSubmatch(buildMetadata.ReplaceAllString(text, ""))
	if match == nil || len(text) > 200 {
		return version{}, false
	}
	v := version{core: noCore, rank: rankStable}
	if match[1] != "" {
		v.core, _ = strconv.Atoi(match[1])
	}
	numbers := strings.Split(match[2], ".")
	for i, number := range numbers {
		v.numbers[i], _ = strconv.Atoi(number)
	}
	suffix := strings.ToLower(match[3])
	if suffix == "" {
		return v, true
	}
	if known := stability.FindStringSubmatch(suffix); known != nil {
		v.rank = rankOf(known[1])
		v.suffix = pieces.FindAllString(known[2], -1)
		return v, true
	}
	// Other words are pre-releases as Semantic Versioning has them, which always
	// come after three numbers.
	if free := identifiers.FindStringSubmatch(suffix); free != nil && len(numbers) == 3 && v.core == noCore {
		v.suffix = pieces.FindAllString(free[1], -1)
		v.rank = rankOf(v.suffix[0])
		return v, true
	}
	return version{}, false
}

// withoutV takes away the v that many projects write before their versions.
func withoutV(text string) string {
	if len(text) > 1 && (text[0] == 'v' || text[0] == 'V') {
		return text[1:]
	}
	return text
}

func rankOf(word string) int {
	switch word {
	case "dev":
		return rankDev
	case "unstable":
		return rankUnstable
	case "alpha", "a":
		return rankAlpha
	case "beta", "b":
		return rankBeta
	case "rc":
		return rankCandidate
	case "patch", "pl", "p":
		return rankPatch
	}
	switch {
	case word[0] <= '9':
		return rankNumber
	case word < "alpha":
		return rankBeforeAlpha
	case word < "beta":
		return rankBeforeBeta
	case word < "rc":
		return rankBeforeCandidate
	}
	return rankAfterCandidate
}

// preRelease tells whether the version is one that was made before a release.
func (v version) preRelease() bool { return v.rank < rankStable }

// compare orders versions: negative when v is lower than w.
func (v version) compare(w version) int {
	return cmp.Or(
		cmp.Compare(v.core, w.core),
		slices.Compare(v.numbers[:], w.numbers[:]),
		cmp.Compare(v.rank, w.rank),
		slices.CompareFunc(v.suffix, w.suffix, comparePieces),
	)
}

// comparePieces compares two numbers by value, two words by the alphabet, and
// puts numbers before words.
func comparePieces(a, b string) int {
	isNumber := func(text string) bool { return text[0] >= '0' && text[0] <= '9' }
	switch {
	case isNumber(a) && isNumber(b):
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	case isNumber(a):
		return -1
	case isNumber(b):
		return 1
	}
	return cmp.Compare(a, b)
}

// compareNatural orders texts as people do: release-9 before release-10.
func compareNatural(a, b string) int {
	return cmp.Or(
		slices.CompareFunc(pieces.FindAllString(a, -1), pieces.FindAllString(b, -1), comparePieces),
		cmp.Compare(a, b),
	)
}
