package drupalorg

import (
	"strings"

	"hefring/models"
)

// Installable lists the releases that Package Manager would go to from an
// installed version, newest first; "" is a fresh site. A project that is not
// published, and a supported branch that cannot be read, are errors.
func (f Feed) Installable(installed string) ([]Release, error) {
	if f.ProjectStatus != published {
		return nil, models.Errorf(models.Conflict, "%s cannot be installed: drupal.org calls the project %s.", f.Name, orNothing(f.ProjectStatus)).Because(models.ReasonNotFound)
	}
	own, hasOwn := modern(installed)
	if installed != "" && !hasOwn {
		return nil, models.Errorf(models.Invalid, "%q is not a version number.", installed)
	}
	var list []Release
	for _, r := range f.Releases {
		v, ok := r.number()
		if !ok || !r.valid() {
			continue
		}
		if hasOwn && v.Compare(own) <= 0 {
			break
		}
		fine, err := f.installable(r, v)
		if err != nil {
			return nil, err
		}
		if fine {
			list = append(list, r)
		}
	}
	return list, nil
}

func orNothing(status string) string {
	if status == "" {
		return "nothing"
	}
	return clean(status)
}

func (f Feed) installable(r Release, v Version) (bool, error) {
	if r.Insecure() || !r.Published() || r.Unsupported() || v.Dev() {
		return false, nil
	}
	if f.Branches == nil {
		return false, invalidBranch("")
	}
	for _, branch := range f.Branches {
		b, ok := branchVersion(branch)
		if !ok {
			return false, invalidBranch(branch)
		}
		minor, has := v.Minor()
		branchMinor, branchHas := b.Minor()
		if b.Major == v.Major && has == branchHas && minor == branchMinor {
			return true, nil
		}
	}
	return false, nil
}

func invalidBranch(branch string) error {
	return models.Errorf(models.Unavailable, "The release history names an invalid supported branch: %q.", clean(branch)).Because(models.ReasonMalformed)
}

// Channel says which releases a fresh build may take.
type Channel struct {
	PreReleases bool // alphas, betas and candidates as well
	Major       int  // stay within this major version; 0 is any
}

// Newest finds the release for a fresh build: of those that are installable, the
// first full one of the highest major version that has one, and when there is none
// at all the first pre-release. With PreReleases it is the first of the highest
// major version. In legacy feeds the supported major versions stand for the
// branches. Nothing to build is a models.Error with ReasonNotFound.
func (f Feed) Newest(c Channel) (Release, error) {
	if f.ProjectStatus != published {
		return Release{}, missing("%s is not to be used: drupal.org calls the project %s.", f.Name, orNothing(f.ProjectStatus))
	}
	var pick, early *Release
	var top, earlyTop int
	for _, r := range f.Releases {
		v, ok := f.candidate(r)
		if !ok || c.Major != 0 && v.Major != c.Major {
			continue
		}
		if early == nil || v.Major > earlyTop {
			early, earlyTop = &r, v.Major
		}
		if (v.Extra == "" || c.PreReleases) && (pick == nil || v.Major > top) {
			pick, top = &r, v.Major
		}
	}
	switch {
	case pick != nil:
		return *pick, nil
	case early != nil:
		return *early, nil
	}
	return Release{}, f.nothing(c)
}

// candidate tells whether a release may be built, without failing on branches that
// cannot be read.
func (f Feed) candidate(r Release) (Version, bool) {
	v, ok := ParseVersion(r.Version)
	if !ok || !r.valid() || r.Insecure() || !r.Published() || r.Unsupported() || v.Dev() {
		return v, false
	}
	if f.Legacy() {
		return v, f.supportsMajor(v.Major)
	}
	minor, has := v.Minor()
	for _, branch := range f.Branches {
		b, ok := branchVersion(branch)
		branchMinor, branchHas := b.Minor()
		if ok && b.Major == v.Major && has == branchHas && minor == branchMinor {
			return v, true
		}
	}
	return v, false
}

func (f Feed) nothing(c Channel) error {
	var names []string
	for _, r := range f.Releases {
		if r.Published() && len(names) < 3 {
			names = append(names, clean(r.Version))
		}
	}
	there := "It has no published release."
	if len(names) > 0 {
		there = "The newest there are " + strings.Join(names, ", ") + ", none of which is supported and free of known holes."
	}
	if c.Major != 0 {
		return missing("drupal.org has no release %d of %s to build. %s", c.Major, f.Name, there)
	}
	return missing("drupal.org has no release of %s to build. %s", f.Name, there)
}

// PreRelease tells whether a version is an alpha, a beta, a candidate or a
// snapshot.
func PreRelease(version string) bool {
	v, ok := ParseVersion(version)
	rank, _ := v.stage()
	return !ok || rank < stageFull
}
