package drupalorg

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hefring/models"
)

// Picked is the release that a makefile means.
type Picked struct {
	Release Release
	Type    string // core module theme profile, as the feed says; "" when it does not
}

// PickDrush finds the release that Drush takes for a project of a makefile without
// download. core is the makefile's, such as 7.x or 8.9.20. version may be
//
//   - a version as it stands in the feed, with or without the prefix of core: 3.24,
//     7.x-3.24, 7.103, 2.0.1
//   - a branch, for its development snapshot: 3.x, 7.x
//   - a major version of what is not Drupal core, for its best release: 3
//   - "" for the best release of the recommended major version.
//
// The best release is the first one that is no alpha, beta, candidate or snapshot,
// else the first. Beyond Drush: the prefix may be there or not; from Drupal 8 on
// the prefix is 8.x, and releases that do not fit core are passed over. What is
// not found is a models.Error with ReasonNotFound.
func (f Feed) PickDrush(core, version string) (Picked, error) {
	if snapshotBetween.MatchString(version) {
		return Picked{}, missing("%s %s is a state between two releases, which drupal.org does not keep. Name a release, or a git revision.", f.Name, version)
	}
	var found []Release
	if version == "" {
		found = f.recommended(core)
	} else {
		for _, name := range f.spellings(core, version) {
			if found = f.named(name); len(found) > 0 {
				break
			}
		}
	}
	if len(found) == 0 {
		return Picked{}, f.notFound(core, version)
	}
	return Picked{Release: best(found), Type: f.Kind()}, nil
}

var (
	snapshotBetween = regexp.MustCompile(`\+\d+-dev$`)
	majorOnly       = regexp.MustCompile(`^\d+\.x-(\d+)$`)
)

func (f Feed) notFound(core, version string) *models.Error {
	what := f.Name + " " + version
	if version == "" {
		what = "any recommended release of " + f.Name
	}
	var names []string
	for _, r := range f.Releases {
		if r.Published() && len(names) < 5 {
			names = append(names, r.Version)
		}
	}
	if len(names) == 0 {
		return missing("drupal.org has no published release of %s for Drupal %s.", f.Name, core)
	}
	return missing("drupal.org does not have %s for Drupal %s. The newest there are %s.", what, core, strings.Join(names, ", "))
}

// prefix is what stands before the versions of contributed projects.
func prefix(core string) string {
	switch major, _, _ := strings.Cut(core, "."); major {
	case "5", "6", "7":
		return major + ".x-"
	}
	return "8.x-"
}

// spellings lists what a version may be called in the feed.
func (f Feed) spellings(core, version string) []string {
	if f.Kind() == "core" {
		return []string{version}
	}
	return []string{prefix(core) + version, version}
}

// named lists the releases that a name stands for.
func (f Feed) named(name string) []Release {
	if major := majorOnly.FindStringSubmatch(name); major != nil {
		return f.ofMajor(major[1])
	}
	if strings.HasSuffix(name, ".x") {
		name += "-dev"
	}
	return f.where(func(r Release) bool { return r.Version == name })
}

// recommended lists the releases of the recommended major version, or of the first
// supported one that has any.
func (f Feed) recommended(core string) []Release {
	for _, major := range f.majors() {
		fits := slices.DeleteFunc(f.ofMajor(major), func(r Release) bool { return !f.fits(r, core) })
		if len(fits) > 0 {
			return fits
		}
	}
	return nil
}

// fits tells whether a release says that it is for the major version of core.
func (f Feed) fits(r Release, core string) bool {
	if f.Legacy() || r.Core == "" || core == "" {
		return true
	}
	major, _, _ := strings.Cut(core, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return true
	}
	c, ok := ParseConstraint(r.Core)
	return !ok || c.overlaps(n)
}

// maxMajors is how many major versions are looked at; drupal.org has a handful.
const maxMajors = 50

// majors lists the major versions worth looking at: the recommended one, the
// supported ones, and those of supported branches in the order of their releases.
func (f Feed) majors() []string {
	var list []string
	add := func(major string) {
		if major != "" && len(list) < maxMajors && !slices.Contains(list, major) {
			list = append(list, major)
		}
	}
	if f.RecommendedMajor != "0" {
		add(f.RecommendedMajor)
	}
	for _, major := range f.SupportedMajors {
		add(major)
	}
	for _, r := range f.Releases {
		if major, extra := r.drushParts(); r.Published() && extra != "dev" && f.supportsNamed(r.Version) {
			add(major)
		}
	}
	return list
}

// supportsNamed is supports as Drush sees it: an empty branch holds nothing, and
// ends the list.
func (f Feed) supportsNamed(version string) bool {
	for _, branch := range f.Branches {
		if strings.HasPrefix(version, branch) {
			return branch != ""
		}
	}
	return false
}

func (f Feed) ofMajor(major string) []Release {
	return f.where(func(r Release) bool {
		own, _ := r.drushParts()
		return own == major
	})
}

func (f Feed) where(match func(Release) bool) []Release {
	var list []Release
	for _, r := range f.Releases {
		if r.Published() && match(r) {
			list = append(list, r)
		}
	}
	return list
}

func best(list []Release) Release {
	for _, r := range list {
		if _, extra := r.drushParts(); extra == "" {
			return r
		}
	}
	return list[0]
}

// drushParts gives the major version and what follows the numbers: as the feed
// tells them, else out of the version.
func (r Release) drushParts() (major, extra string) {
	if r.hasMajor {
		return r.major, r.extra
	}
	v, ok := ParseVersion(r.Version)
	if !ok {
		return "", ""
	}
	return strconv.Itoa(v.Major), v.Extra
}
