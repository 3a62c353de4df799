package drupalorg

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// State is what Drupal's update module says of an installed version.
type State string

// States, named as in Drupal.
const (
	NotSecure    State = "NOT_SECURE"
	Revoked      State = "REVOKED"
	NotSupported State = "NOT_SUPPORTED"
	NotCurrent   State = "NOT_CURRENT"
	Current      State = "CURRENT"
	NotChecked   State = "NOT_CHECKED" // a snapshot of unknown age
	Unknown      State = "UNKNOWN"
)

// Status is the judgement on one installed version.
type Status struct {
	State       State
	Reason      string // of Unknown and NotChecked
	Recommended string // versions; "" for none
	Latest      string // of the major version in question
	Snapshot    string
	LatestOfAll string    // of Latest and Snapshot the younger one; for an installed snapshot
	Also        []string  // newest of each higher major version
	Security    []Release // security updates after the installed version
	Labels      []string  // Release revoked, Project not supported …
	Coverage    *Coverage // of Drupal core; nil for others
}

// Coverage says how long a release of Drupal core gets security updates.
type Coverage struct {
	Until       string // version that ends it: 10.7.0; "" where there is a date
	Minors      int    // further minor versions until then; only when MinorsKnown
	MinorsKnown bool
	End, Warn   string // dates, 2023-11 or 2023-06-21; Warn may be ""
}

const noReleases = "No available releases found"

// Status judges an installed version like Drupal's update module: that of Drupal 7
// for legacy feeds, the current one for others. datestamp is when an installed snapshot
// was packaged, in Unix seconds; 0 when that is not known.
func (f Feed) Status(installed string, datestamp int64) Status {
	s := status{feed: f, installed: installed, datestamp: datestamp, snapshot: snapshotName.MatchString(installed)}
	if !s.project() {
		if f.Legacy() {
			s.legacy()
		} else {
			s.modern()
		}
	}
	if f.Name == "drupal" && !f.Legacy() {
		s.Coverage = f.coverage(installed)
	}
	return s.Status
}

var snapshotName = regexp.MustCompile(`dev|HEAD`)

// status is a judgement in the making.
type status struct {
	Status
	feed      Feed
	installed string
	datestamp int64
	snapshot  bool

	higher    map[int]bool // major versions that Also has a release of
	target    int
	base      string   // of the recommended version: without extra, or the patch number
	candidate *Release // the newest with that base
	inBranch  bool     // the release looked at last is supported
}

// project judges by the state of the whole project; false means to go on.
func (s *status) project() bool {
	switch s.feed.ProjectStatus {
	case "insecure":
		s.State, s.Labels = NotSecure, []string{"Project not secure"}
	case "unpublished", "revoked":
		s.State, s.Labels = Revoked, []string{"Project revoked"}
	case "unsupported":
		s.State, s.Labels = NotSupported, []string{"Project not supported"}
	default:
		return false
	}
	return true
}

func (s *status) unknown(reason string) { s.State, s.Reason = Unknown, reason }

// modern is update_calculate_project_update_status of Drupal 11.
func (s *status) modern() {
	if s.installed == "" {
		s.unknown("Empty version")
		return
	}
	own, ok := modern(s.installed)
	if !ok {
		s.unknown("Invalid version: " + s.installed)
		return
	}
	s.target = own.Major
	if !s.feed.supports(s.installed) && len(s.feed.Branches) > 0 {
		s.State = NotSupported
		s.target = max(own.Major, s.feed.firstMajor())
	}
	if len(s.feed.Releases) == 0 {
		s.unknown(noReleases)
		return
	}
	for _, r := range s.feed.Releases {
		if !s.modernRelease(r) {
			break
		}
	}
	if s.Recommended == "" && s.inBranch {
		s.Recommended = s.Latest
	}
	s.conclude()
}

// firstMajor is that of the first readable supported branch, or 0.
func (f Feed) firstMajor() int {
	for _, branch := range f.Branches {
		if v, ok := branchVersion(branch); ok {
			return v.Major
		}
	}
	return 0
}

func branchVersion(branch string) (Version, bool) {
	if !strings.HasSuffix(branch, ".") {
		return Version{}, false
	}
	return modern(branch + "0")
}

// modernRelease looks at one release; false ends the search.
func (s *status) modernRelease(r Release) bool {
	v, ok := r.number()
	if !ok || !r.valid() {
		return true
	}
	s.inBranch = s.feed.supports(r.Version) && !r.Unsupported()
	own := r.Version == s.installed
	switch {
	case own:
		s.judge(r, !s.inBranch)
	case !r.Published() || !s.inBranch || r.Insecure(), !r.dated && v.Dev():
		return true
	}
	if v.Major > s.target {
		s.also(v.Major, r.Version)
		return true
	}
	s.note(v.Major, v.Extra, r.Version)
	if s.Recommended == "" && v.Major == s.target && s.inBranch {
		s.recommend(r, strings.TrimSuffix(r.Version, "-"+v.Extra), v.Extra)
	}
	if own {
		return false
	}
	s.mend(r)
	return true
}

// judge says what is wrong with the installed release.
func (s *status) judge(r Release, unsupported bool) {
	switch {
	case r.Insecure():
		s.State = NotSecure
	case !r.Published():
		s.State, s.Labels = Revoked, append(s.Labels, "Release revoked")
	case unsupported:
		s.State, s.Labels = NotSupported, append(s.Labels, "Release not supported")
	}
}

// also keeps the first release of each higher major version.
func (s *status) also(major int, version string) {
	if s.higher[major] {
		return
	}
	if s.higher == nil {
		s.higher = map[int]bool{}
	}
	s.higher[major] = true
	s.Also = append(s.Also, version)
}

// majorOf is the major version of a release, -1 when there is none.
func (f Feed) majorOf(r Release) int {
	if f.Legacy() {
		n, err := strconv.Atoi(r.major)
		if err != nil {
			return -1
		}
		return n
	}
	v, ok := r.number()
	if !ok {
		return -1
	}
	return v.Major
}

func (s *status) note(major int, extra, version string) {
	if major != s.target {
		return
	}
	if s.Latest == "" {
		s.Latest = version
	}
	if s.Snapshot == "" && extra == "dev" {
		s.Snapshot = version
	}
}

// recommend takes the newest release with the base of the first full release: not
// 1.6-beta without a 1.6, but 1.6-bugfix before 1.6.
func (s *status) recommend(r Release, base, extra string) {
	if s.candidate == nil || s.base != base {
		s.base, s.candidate = base, &r
	}
	if extra == "" {
		s.Recommended = s.candidate.Version
	}
}

// leeway is how many seconds an archive's own date may lie behind the feed's.
const leeway = 100

// mend records a security update; for a snapshot only what is younger.
func (s *status) mend(r Release) {
	if s.snapshot && (s.datestamp == 0 || r.Date != 0 && s.datestamp+leeway > r.Date) {
		return
	}
	if r.Security() {
		s.Security = append(s.Security, r)
	}
}

// conclude compares the installed version with what was found.
func (s *status) conclude() {
	if s.State != "" {
		return
	}
	if s.Recommended == "" {
		s.unknown(noReleases)
		return
	}
	if s.snapshot {
		s.concludeSnapshot()
		return
	}
	s.State = NotCurrent
	if s.installed == s.Recommended || s.installed == s.Latest {
		s.State = Current
	}
}

func (s *status) concludeSnapshot() {
	latest, _ := s.feed.Release(s.Latest)
	s.LatestOfAll = s.Latest
	if young, ok := s.feed.Release(s.Snapshot); ok && young.Date > latest.Date {
		s.LatestOfAll, latest = s.Snapshot, young
	}
	switch {
	case s.datestamp == 0:
		s.State, s.Reason = NotChecked, "Unknown release date"
	case s.datestamp+leeway > latest.Date:
		s.State = Current
	default:
		s.State = NotCurrent
	}
}

var legacyMajor = regexp.MustCompile(`^(?:\d+\.x-)?(\d{1,9})\.`)

// legacy is update_calculate_project_update_status of Drupal 7.
func (s *status) legacy() {
	own := -1
	if match := legacyMajor.FindStringSubmatch(s.installed); match != nil {
		own, _ = strconv.Atoi(match[1])
	}
	s.legacyTarget(own)
	if len(s.feed.Releases) == 0 {
		s.unknown(noReleases)
		return
	}
	for _, r := range s.feed.Releases {
		if !s.legacyRelease(r) {
			break
		}
	}
	if s.Recommended == "" {
		s.Recommended = s.Latest
	}
	if len(s.Security) > 0 {
		s.State = NotSecure // outweighs all else
	}
	s.conclude()
}

func (s *status) legacyTarget(own int) {
	s.target = own
	if s.feed.supportsMajor(own) {
		return
	}
	wanted := s.feed.DefaultMajor
	if s.feed.RecommendedMajor != "" {
		s.State, wanted = NotSupported, s.feed.RecommendedMajor
	}
	if n, err := strconv.Atoi(wanted); err == nil {
		s.target = max(own, n)
	}
}

func (f Feed) supportsMajor(major int) bool {
	supported := f.SupportedMajors
	if supported == nil && f.DefaultMajor != "" {
		supported = []string{f.DefaultMajor}
	}
	return slices.Contains(supported, strconv.Itoa(major))
}

// legacyRelease looks at one release; false ends the search. Drupal 7 takes also
// releases that say nothing of their state; here they are passed over, as later.
func (s *status) legacyRelease(r Release) bool {
	if !r.valid() {
		return true
	}
	own := r.Version == s.installed
	if own {
		s.judge(r, r.Unsupported())
	}
	if !r.Published() || r.Insecure() || r.Unsupported() {
		return true
	}
	major := s.feed.majorOf(r)
	if major > s.target {
		if s.feed.supportsMajor(major) {
			s.also(major, r.Version)
		}
		return true
	}
	s.note(major, r.extra, r.Version)
	if s.Recommended == "" && major == s.target && r.hasPatch {
		s.recommend(r, r.patch, r.extra)
	}
	if own {
		return false
	}
	s.mend(r)
	return true
}

// coverage is ProjectSecurityData of Drupal 11: a minor version is covered until
// the second one after it is released, but for the last ones of Drupal 9.
func (f Feed) coverage(installed string) *Coverage {
	if _, known := f.Release(installed); !known {
		return nil
	}
	v, ok := modern(installed)
	if !ok {
		return nil
	}
	switch minor, _ := v.Minor(); {
	case v.Major == 9 && minor == 4:
		return &Coverage{End: "2023-06-21", Warn: "2022-12-14"}
	case v.Major == 9 && minor == 5:
		return &Coverage{End: "2023-11", Warn: "2023-05-14"}
	case v.Extra != "":
		return nil
	}
	end := v.second() + 2
	c := &Coverage{Until: strconv.Itoa(v.Major) + "." + strconv.Itoa(end) + ".0"}
	for _, r := range f.Releases {
		if w, ok := r.number(); ok && r.valid() && w.Major == v.Major && r.Published() && w.Extra == "" {
			c.Minors, c.MinorsKnown = end-w.second(), true
			break
		}
	}
	return c
}

// second is the second number as Drupal reads it, which knows no prefix here.
func (v Version) second() int {
	if v.Core != "" {
		return 0
	}
	if minor, ok := v.Minor(); ok {
		return minor
	}
	return v.patch
}
