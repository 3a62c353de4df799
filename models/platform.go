package models

import (
	"cmp"
	"slices"
	"time"
)

// Platform is one immutable code base of a distribution on a server.
type Platform struct {
	ID             int64
	DistributionID int64
	Server         string // name of the server it lives on
	Name           string // unique: slug, version and short revision
	Root           string // absolute folder of the sealed tree, "" before it is published
	Docroot        string // folder inside Root that holds index.php; "" is Root itself

	Revision   string // what the source said
	Content    string // id of the content that the build key was made of
	BuildKey   string
	Label      string   // short name of the revision for people: 4f2a91c, 10.6.2
	Note       string   // the source's own words: first line of the commit message
	Provenance Settings `gorm:"serializer:json"` // how it was made: settings, tool versions

	DrupalVersion  string
	PHPVersion     string
	Packages       []Package       `gorm:"serializer:json"`
	Profiles       []string        `gorm:"serializer:json"` // install profiles that a site can start with
	Facts          []Fact          `gorm:"serializer:json"` // about the source's version
	Sources        []SourcePackage `gorm:"serializer:json"` // what the tree was made from, where that is known
	Audit          []Finding       `gorm:"serializer:json"` // what was wrong with its packages when it was built
	Standing       []Finding       `gorm:"serializer:json"` // what its source says of this version now
	Security       bool            `gorm:"default:false"`   // it mends a hole in the version before
	AtRisk         bool            `gorm:"default:false"`   // Unsafe, kept so that lists need not read the findings
	Plan           string          `gorm:"-"`               // what the update type needs to build exactly this; kept apart, it may be long
	ManifestDigest string          // SHA-256 of the manifest, in hex
	Files          int64           // number of files in the manifest
	Bytes          int64           // their size together

	Locked    bool
	State     PlatformState
	Reason    string // why it failed, and what to do
	BuiltAt   *time.Time
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Findings is all that is known to be wrong with the platform, worst first.
func (p *Platform) Findings() []Finding {
	rank := map[FindingKind]int{FindingInsecure: 0, FindingRevoked: 1, FindingUnsupported: 2, FindingAbandoned: 3, FindingOutdated: 4}
	all := slices.Concat(p.Standing, p.Audit)
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(rank[a.Kind], rank[b.Kind]) })
	return all
}

// Unsafe tells whether sites should not stay on the platform: something in it
// has a known hole, was taken back, or gets no more repairs.
func (p *Platform) Unsafe() bool {
	return slices.ContainsFunc(p.Findings(), func(f Finding) bool {
		return f.Kind == FindingInsecure || f.Kind == FindingRevoked || f.Kind == FindingUnsupported
	})
}

// Package is one versioned part of a platform: Drupal core, a module, a theme,
// a profile or a library.
type Package struct {
	Name    string `json:"name"`
	Type    string `json:"type"` // core module theme profile library
	Version string `json:"version"`
	// Schema is the number of its newest database update that stands in its
	// code; 0: it has none.
	Schema int `json:"schema,omitempty"`
}

// SourcePackage is an archive or repository that a platform was made from, such
// as the core that a makefile names.
type SourcePackage struct {
	Name     string `json:"name"` // drupal
	Type     string `json:"type"` // core module theme profile library
	Version  string `json:"version"`
	URL      string `json:"url"`      // without credentials
	Checksum string `json:"checksum"` // md5:… sha256:… git:…; "" when its source gives none
}

// Fact is one thing worth knowing about a version: MD5 of the makefile.
type Fact struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// Finding is one thing that is wrong with a package.
type Finding struct {
	Kind     FindingKind `json:"kind"`
	Package  string      `json:"package"`
	Version  string      `json:"version"`            // the one that it was found in
	Title    string      `json:"title"`              // one sentence
	Link     string      `json:"link,omitempty"`     // https page that tells more
	Severity string      `json:"severity,omitempty"` // low medium high critical, as its source says
}

// FindingKind says what is wrong.
type FindingKind string

// Kinds of findings, worst first.
const (
	FindingInsecure    FindingKind = "insecure"    // a security release mends it, or an advisory names it
	FindingRevoked     FindingKind = "revoked"     // taken back by its makers
	FindingUnsupported FindingKind = "unsupported" // nobody mends it any more
	FindingAbandoned   FindingKind = "abandoned"   // its makers name a replacement, or none
	FindingOutdated    FindingKind = "outdated"    // a newer release is there
)

// PackageChange is one difference between two platforms. From is "" for an
// added package, To is "" for a removed one.
type PackageChange struct {
	Name string `json:"name"`
	Type string `json:"type"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// PackageDiff is one package on two platforms, with a verdict as Aegir's compare
// page gives it.
type PackageDiff struct {
	Name       string     `json:"name"`
	Type       string     `json:"type"`
	From       Package    `json:"from"` // the zero Package where a platform does not have it
	To         Package    `json:"to"`   // likewise
	Difference Difference `json:"difference"`
}

// Difference says what moving a site means for one package.
type Difference string

// Differences, worst first.
const (
	DiffError     Difference = "error"     // the target's schema is older: sites that use it cannot go
	DiffMissing   Difference = "missing"   // the target does not have it
	DiffDowngrade Difference = "downgrade" // an older version
	DiffUpgrade   Difference = "upgrade"   // a newer version or schema
	DiffAdded     Difference = "added"     // only the target has it
	DiffSame      Difference = "same"
)

// ComparePackages lists what differs between two package lists, by name.
func ComparePackages(from, to []Package) []PackageChange {
	type key struct{ kind, name string }
	changes := map[key]PackageChange{}
	for _, p := range from {
		changes[key{p.Type, p.Name}] = PackageChange{Name: p.Name, Type: p.Type, From: p.Version}
	}
	for _, p := range to {
		k := key{p.Type, p.Name}
		change := changes[k]
		change.Name, change.Type, change.To = p.Name, p.Type, p.Version
		changes[k] = change
	}
	var list []PackageChange
	for _, change := range changes {
		if change.From != change.To {
			list = append(list, change)
		}
	}
	slices.SortFunc(list, func(a, b PackageChange) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
	})
	return list
}

// DiffPackages lists every package of two platforms with what moving a site from
// one to the other means for it, worst first and then by name. A change whose
// direction nobody can tell, such as that of a branch, counts as an upgrade.
func DiffPackages(from, to []Package) []PackageDiff {
	type key struct{ kind, name string }
	at := map[key]int{}
	var list []PackageDiff
	for _, p := range from {
		at[key{p.Type, p.Name}] = len(list)
		list = append(list, PackageDiff{Name: p.Name, Type: p.Type, From: p, Difference: DiffMissing})
	}
	for _, p := range to {
		i, known := at[key{p.Type, p.Name}]
		if !known {
			list = append(list, PackageDiff{Name: p.Name, Type: p.Type, To: p, Difference: DiffAdded})
			continue
		}
		list[i].To = p
		list[i].Difference = difference(list[i].From, p)
	}
	rank := map[Difference]int{DiffError: 0, DiffMissing: 1, DiffDowngrade: 2, DiffUpgrade: 3, DiffAdded: 4, DiffSame: 5}
	slices.SortFunc(list, func(a, b PackageDiff) int {
		return cmp.Or(cmp.Compare(rank[a.Difference], rank[b.Difference]), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
	})
	return list
}

func difference(from, to Package) Difference {
	order, known := CompareVersions(to.Version, from.Version)
	older := known && order < 0
	// New major versions drop their old updates, and then have none: only
	// together with an older version that is a step back.
	if to.Schema < from.Schema && (to.Schema > 0 || older) {
		return DiffError
	}
	switch {
	case older:
		return DiffDowngrade
	case to.Schema > from.Schema, known && order > 0, !known && to.Version != from.Version:
		return DiffUpgrade
	}
	return DiffSame
}
