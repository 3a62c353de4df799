package drupalorg

import (
	"cmp"
	"strconv"
	"strings"
)

// Version is a version number as drupal.org writes it: 7.103, 10.4.0-rc1,
// 7.x-3.24, 8.x-1.x-dev.
type Version struct {
	Core  string // prefix for the Drupal that it is for: 7.x; "" without one
	Major int
	Extra string // alpha1, rc2, dev; "" for a full release

	minor, patch int // minor is -1 where there are two parts; patch may be snapshot
}

// snapshot stands for the x of a branch: below all of its releases.
const snapshot = -1

// ParseVersion reads a version number by the rules of Drupal's ExtensionVersion,
// for any core prefix; ok is false for what is none.
func ParseVersion(text string) (v Version, ok bool) {
	rest := text
	if core, after, found := strings.Cut(text, ".x-"); found && after != "dev" && isNumber(core) {
		v.Core, rest = core+".x", after
	}
	parts := strings.Split(rest, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return Version{}, false
	}
	last, extra, hasExtra := strings.Cut(parts[len(parts)-1], "-")
	v.Extra, _, _ = strings.Cut(extra, "-")
	if hasExtra && v.Extra == "" {
		return Version{}, false
	}
	if parts[len(parts)-1] = last; last == "x" && v.Extra != "dev" {
		return Version{}, false
	}
	var numbers [3]int
	for i, part := range parts {
		if numbers[i], ok = number(part, i == len(parts)-1); !ok {
			return Version{}, false
		}
	}
	v.Major, v.minor, v.patch = numbers[0], numbers[1], numbers[2]
	if len(parts) == 2 {
		v.minor, v.patch = -1, numbers[1]
	}
	return v, true
}

func number(text string, last bool) (int, bool) {
	if last && text == "x" {
		return snapshot, true
	}
	if !isNumber(text) {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

func isNumber(text string) bool {
	return text != "" && len(text) < 10 && strings.Trim(text, "0123456789") == ""
}

// Minor gives the middle one of three numbers; ok is false where there are two.
func (v Version) Minor() (n int, ok bool) { return v.minor, v.minor >= 0 }

// SameBranch tells whether two versions are developed together: 10.4.0 and 10.4.9,
// 8.x-1.0 and 8.x-1.7.
func (v Version) SameBranch(w Version) bool { return v.Major == w.Major && v.minor == w.minor }

// Dev tells whether it is a development snapshot.
func (v Version) Dev() bool { return v.Extra == "dev" }

// Compare orders versions like Package Manager: the core prefix does not count,
// 8.x-6.2 is 6.2.0, and the snapshot of a branch is below all of its releases.
// Before a full release come its release candidates, betas, alphas and unstable
// releases, in this order.
func (v Version) Compare(w Version) int {
	a, b := v.numbers(), w.numbers()
	rankA, countA := v.stage()
	rankB, countB := w.stage()
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[2], b[2]),
		cmp.Compare(rankA, rankB), cmp.Compare(countA, countB), cmp.Compare(v.Extra, w.Extra))
}

func (v Version) numbers() [3]int {
	if v.minor < 0 {
		return [3]int{v.Major, v.patch, 0}
	}
	return [3]int{v.Major, v.minor, v.patch}
}

// stage gives how finished a release is, and its number within that stage. Words
// that are not known name a mended release, as in 1.6-bugfix.
func (v Version) stage() (rank, count int) {
	name := strings.TrimRight(v.Extra, "0123456789")
	count, _ = strconv.Atoi(v.Extra[len(name):])
	switch strings.ToLower(name) {
	case "dev":
		return stageDev, count
	case "unstable":
		return stageUnstable, count
	case "alpha":
		return stageAlpha, count
	case "beta":
		return stageBeta, count
	case "rc":
		return stageCandidate, count
	case "":
		return stageFull, count
	}
	return stageOther, count
}

// Stages of a release, lowest first.
const (
	stageDev = iota
	stageUnstable
	stageAlpha
	stageBeta
	stageCandidate
	stageFull
	stageOther
)
