// Package drupalorg reads the release history that drupal.org publishes for each
// project, and decides with it as Drupal's own update module, its Package Manager
// and Drush do.
package drupalorg

import (
	"slices"
	"strings"

	"hefring/models"
)

// Feed is the release history of one project.
type Feed struct {
	Title         string
	Name          string // machine name: drupal
	Type          string // project_core project_module project_distribution …; "" when not told
	API           string // 7.x in legacy feeds, "" in those of Drupal 8 and later
	ProjectStatus string // published insecure revoked unpublished unsupported
	Link          string
	// Composer is the package that the project is, such as drupal/token; "" when not
	// told.
	Composer string

	// Branches are the beginnings of the versions that are supported, such as 10.5.
	// or 8.x-1.; nil when the feed does not tell.
	Branches []string

	// Legacy feeds name major versions instead; "" and nil when they do not.
	RecommendedMajor, DefaultMajor string
	SupportedMajors                []string

	Releases []Release // newest first, as drupal.org sorts them
}

// Release is one version of a project.
type Release struct {
	Version  string
	Tag      string
	Status   string // published unpublished
	Link     string // its page
	Download string
	MD5      string // of Download, in hex; "" when not told
	Date     int64  // Unix seconds; 0 when not told
	Size     int64
	Types    []string // Security update, Bug fixes, New features, Insecure, Unsupported
	Core     string   // Composer constraint on Drupal; "" when not told
	Covered  bool     // by drupal.org's security advisory policy
	Files    []File   // archives that hold it

	dated, downloadable bool   // the elements are there
	wrongDate           bool   // it is no number
	major, patch, extra string // as legacy feeds tell them
	hasMajor, hasPatch  bool
}

// File is one archive of a release.
type File struct {
	URL     string
	Type    string // tar.gz zip
	Variant string // full projects profile-only, for distributions
	MD5     string
	Size    int64
	Date    int64
}

const (
	typeSecurity    = "Security update"
	typeInsecure    = "Insecure"
	typeUnsupported = "Unsupported"

	published = "published"
)

// Security tells whether the release mends a hole.
func (r Release) Security() bool { return slices.Contains(r.Types, typeSecurity) }

// Insecure tells whether a hole is known in it.
func (r Release) Insecure() bool { return slices.Contains(r.Types, typeInsecure) }

// Unsupported tells whether its makers gave it up.
func (r Release) Unsupported() bool { return slices.Contains(r.Types, typeUnsupported) }

// Published tells whether it may be downloaded.
func (r Release) Published() bool { return r.Status == published }

// Archive gives the tar.gz of a variant of a distribution; without a variant, or
// when the release has none, its ordinary download.
func (r Release) Archive(variant string) File {
	for _, f := range r.Files {
		if variant != "" && f.Variant == variant && f.Type == "tar.gz" {
			return f
		}
	}
	return File{URL: r.Download, Type: "tar.gz", MD5: r.checksum(), Size: r.Size, Date: r.Date}
}

// checksum is that of Download; modern feeds tell it with the files only.
func (r Release) checksum() string {
	if r.MD5 != "" {
		return r.MD5
	}
	for _, f := range r.Files {
		if f.URL == r.Download {
			return f.MD5
		}
	}
	return ""
}

// valid follows Drupal's ProjectRelease: others are passed over.
func (r Release) valid() bool {
	return r.Version != "" && r.Link != "" && (r.Published() || r.Status == "unpublished") &&
		!r.wrongDate && (!r.downloadable || r.Download != "")
}

// number gives the version as Drupal 8 and later understand it.
func (r Release) number() (Version, bool) { return modern(r.Version) }

// modern reads a version by the rules of Drupal 8 and later, where 8.x is the
// only prefix.
func modern(text string) (Version, bool) {
	v, ok := ParseVersion(text)
	return v, ok && (v.Core == "" || v.Core == "8.x")
}

// Legacy tells whether the feed is one of Drupal 7 or earlier.
func (f Feed) Legacy() bool {
	switch f.API {
	case "5.x", "6.x", "7.x":
		return true
	}
	return f.Branches == nil && (f.RecommendedMajor != "" || f.SupportedMajors != nil || f.DefaultMajor != "")
}

// Kind gives what the project is: core module theme profile, and "" for others. A
// feed of Drupal itself need not say so.
func (f Feed) Kind() string {
	switch f.Type {
	case "project_core":
		return "core"
	case "":
		if f.Name == "drupal" {
			return "core"
		}
	case "project_module":
		return "module"
	case "project_theme":
		return "theme"
	case "project_distribution", "profile-legacy":
		return "profile"
	}
	return ""
}

// Release finds a version.
func (f Feed) Release(version string) (Release, bool) {
	i := slices.IndexFunc(f.Releases, func(r Release) bool { return r.Version == version })
	if i < 0 {
		return Release{}, false
	}
	return f.Releases[i], true
}

// supports tells whether a version is in a supported branch. An empty branch holds
// every version, as in Drupal.
func (f Feed) supports(version string) bool {
	return slices.ContainsFunc(f.Branches, func(branch string) bool { return strings.HasPrefix(version, branch) })
}

// APIOf gives the last part of the feed's address for a Drupal version such as
// 7.x, 10.x or 10.4.2: from Drupal 9 on there is one feed for all.
func APIOf(core string) string {
	switch major, _, _ := strings.Cut(core, "."); major {
	case "5", "6", "7", "8":
		return major + ".x"
	}
	return "current"
}

func missing(format string, args ...any) *models.Error {
	return models.Errorf(models.NotFound, format, args...).Because(models.ReasonNotFound)
}
