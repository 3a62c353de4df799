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
	Packages       []Package `gorm:"serializer:json"`
	Profiles       []string  `gorm:"serializer:json"` // install profiles that a site can start with
	ManifestDigest string    // SHA-256 of the manifest, in hex
	Files          int64     // number of files in the manifest
	Bytes          int64     // their size together

	Locked    bool
	State     PlatformState
	Reason    string // why it failed, and what to do
	BuiltAt   *time.Time
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Package is one versioned part of a platform: Drupal core, a module, a theme,
// a profile or a library.
type Package struct {
	Name    string `json:"name"`
	Type    string `json:"type"` // core module theme profile library
	Version string `json:"version"`
}

// PackageChange is one difference between two platforms. From is "" for an
// added package, To is "" for a removed one.
type PackageChange struct {
	Name string
	Type string
	From string
	To   string
}

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
