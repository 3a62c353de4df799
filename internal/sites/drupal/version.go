package drupal

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var versionPattern = regexp.MustCompile(`^(\d+(?:\.\d+)*(?:\.x)?)(?:-([a-z]+)\.?(\d*))?`)

// version is a Drupal core version, made comparable.
type version struct {
	numbers []int
	stage   int // of stability
	serial  int // of the stage: rc2
}

func parseVersion(text string) (version, error) {
	parts := versionPattern.FindStringSubmatch(strings.ToLower(text))
	if parts == nil {
		return version{}, fmt.Errorf("%q is not a Drupal version", text)
	}
	v := version{stage: stage(parts[2])}
	for part := range strings.SplitSeq(parts[1], ".") {
		number, err := strconv.Atoi(part)
		if part == "x" { // a branch is newer than its releases
			number, err = math.MaxInt, nil
		}
		if err != nil {
			return version{}, fmt.Errorf("%q is not a Drupal version: %w", text, err)
		}
		v.numbers = append(v.numbers, number)
	}
	v.serial, _ = strconv.Atoi(parts[3])
	return v, nil
}

func stage(name string) int {
	switch name {
	case "dev":
		return 0
	case "alpha":
		return 1
	case "beta":
		return 2
	case "rc":
		return 3
	default: // a release, also one that somebody marked as his own
		return 4
	}
}

// compareVersions orders two Drupal core versions: negative when a is older.
func compareVersions(a, b string) (int, error) {
	x, err := parseVersion(a)
	if err != nil {
		return 0, err
	}
	y, err := parseVersion(b)
	if err != nil {
		return 0, err
	}
	for i := range max(len(x.numbers), len(y.numbers)) {
		if c := cmp.Compare(at(x.numbers, i), at(y.numbers, i)); c != 0 {
			return c, nil
		}
	}
	return cmp.Or(cmp.Compare(x.stage, y.stage), cmp.Compare(x.serial, y.serial)), nil
}

// generation is the first number of a Drupal version, 0 when it has none. The
// content of Drupal 7 cannot be brought to a later one by database updates.
func generation(text string) int {
	v, err := parseVersion(text)
	if err != nil {
		return 0
	}
	return at(v.numbers, 0)
}

func at(numbers []int, i int) int {
	if i < len(numbers) {
		return numbers[i]
	}
	return 0
}
