// Package version knows Composer's rules for versions: their one normal form,
// how stable they are, which is higher, and which a constraint accepts. The rules
// are those of composer/semver 3.3, with PHP's version_compare below them
// (https://getcomposer.org/doc/articles/versions.md); their answers are the test
// tables of this package.
package version

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
)

// Version is one version of a package. The zero value is no version.
type Version struct {
	Text       string // as its maker wrote it: v1.2-rc1
	Normalized string // Composer's normal form: 1.2.0.0-RC1
}

// maxText is the longest version that is read, in bytes.
const maxText = 512

// Parse reads a version, such as 1.2, v10.3.0-beta2, 2.x-dev or dev-main.
func Parse(text string) (Version, error) {
	normalized, err := Normalize(text)
	if err != nil {
		return Version{}, err
	}
	return Version{Text: strings.TrimSpace(text), Normalized: normalized}, nil
}

// Compare says which version is higher: -1, 0 or 1. Branches without a number are
// lower than everything else.
func (v Version) Compare(w Version) int { return Compare(v.Normalized, w.Normalized) }

// Stability says how stable the version is.
func (v Version) Stability() Stability { return StabilityOf(v.Normalized) }

// IsBranch tells whether it is the head of a branch without a number, which no
// order relates to other versions.
func (v Version) IsBranch() bool { return isBranch(v.Normalized) }

func (v Version) String() string { return v.Text }

func isBranch(normalized string) bool { return strings.HasPrefix(normalized, "dev-") }

// modifier is what may stand behind the numbers: stability, its number, and dev.
const modifier = `[._-]?(?:(stable|beta|b|rc|alpha|a|patch|pl|p)((?:[.-]?\d+)*)?)?([.-]?dev)?`

var (
	aliasPattern    = regexp.MustCompile(`^([^,\s]+) +as +([^,\s]+)$`)
	flagPattern     = regexp.MustCompile(`(?i)@(?:stable|rc|beta|alpha|dev)$`)
	buildPattern    = regexp.MustCompile(`^([^,\s+]+)\+[^\s]+$`)
	numberPattern   = regexp.MustCompile(`(?i)^v?(\d{1,5})(\.\d+)?(\.\d+)?(\.\d+)?` + modifier + `$`)
	datePattern     = regexp.MustCompile(`(?i)^v?(\d{4}(?:[.:-]?\d{2}){1,6}(?:[.:-]?\d{1,3})?)` + modifier + `$`)
	devPattern      = regexp.MustCompile(`(?i)^(.*?)[.-]?dev$`)
	branchPattern   = regexp.MustCompile(`(?i)^v?(\d+)(\.(?:\d+|[x*]))?(\.(?:\d+|[x*]))?(\.(?:\d+|[x*]))?$`)
	nonDigit        = regexp.MustCompile(`\D`)
	modifierPattern = regexp.MustCompile(`(?i)` + modifier + `(?:\+.*)?$`)
)

// Normalize brings a version into its normal form, such as 1.2 into 1.2.0.0 and
// 2.x-dev into 2.9999999.9999999.9999999-dev. An alias, a stability flag and build
// metadata fall away.
func Normalize(text string) (string, error) {
	if len(text) > maxText {
		return "", fmt.Errorf("parse version: longer than %d bytes", maxText)
	}
	version := strings.TrimSpace(text)
	if m := aliasPattern.FindStringSubmatch(version); m != nil {
		version = m[1]
	}
	version = flagPattern.ReplaceAllString(version, "")
	switch {
	case version == "master", version == "trunk", version == "default":
		return "dev-" + version, nil
	case len(version) >= 4 && strings.EqualFold(version[:4], "dev-"):
		return "dev-" + version[4:], nil
	}
	if m := buildPattern.FindStringSubmatch(version); m != nil {
		version = m[1]
	}
	if m := numberPattern.FindStringSubmatch(version); m != nil {
		numbers := m[1] + cmp.Or(m[2], ".0") + cmp.Or(m[3], ".0") + cmp.Or(m[4], ".0")
		return numbers + suffix(m[5], m[6], m[7]), nil
	}
	if m := datePattern.FindStringSubmatch(version); m != nil {
		return nonDigit.ReplaceAllString(m[1], ".") + suffix(m[2], m[3], m[4]), nil
	}
	if m := devPattern.FindStringSubmatch(version); m != nil {
		if branch := NormalizeBranch(m[1]); !isBranch(branch) {
			return branch, nil
		}
	}
	return "", fmt.Errorf("parse version %.60q: not a version that Composer knows", text)
}

func suffix(stability, number, dev string) string {
	text := ""
	if stability != "" && stability != "stable" {
		text = "-" + expand(stability) + strings.TrimLeft(number, ".-")
	}
	if dev != "" && stability != "stable" {
		text += "-dev"
	}
	return text
}

// expand gives the long name of a stability.
func expand(name string) string {
	switch name = strings.ToLower(name); name {
	case "a":
		return "alpha"
	case "b":
		return "beta"
	case "p", "pl":
		return "patch"
	case "rc":
		return "RC"
	}
	return name
}

// NormalizeBranch brings the name of a branch into its normal form: one that
// looks like a version becomes higher than all of its releases.
func NormalizeBranch(name string) string {
	name = strings.TrimSpace(name)
	m := branchPattern.FindStringSubmatch(name)
	if m == nil {
		return "dev-" + name
	}
	parts := m[1] + cmp.Or(m[2], ".x") + cmp.Or(m[3], ".x") + cmp.Or(m[4], ".x")
	return strings.NewReplacer("x", "9999999", "X", "9999999", "*", "9999999").Replace(parts) + "-dev"
}
