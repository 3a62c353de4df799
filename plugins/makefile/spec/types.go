// Package spec reads Drush makefiles: parsing (INI and YAML), including,
// overriding, merging and validating. It does no I/O of its own; a Loader reads
// what a makefile names. The format follows Drush 8 (lib/make), and
// docs/makefile-differences.md lists where it does not.
package spec

import "context"

// Limits of what is read.
const (
	MaxText    = 1 << 20 // bytes of one makefile
	MaxRead    = 100     // makefiles that one includes, directly or not
	MaxDepth   = 20      // includes within includes
	MaxEntries = 5000    // projects and libraries together
)

// Makefile is a makefile with everything it includes, validated: names and paths
// are safe to use, numbers and words are what they should be. As JSON it is the
// plan of a build.
type Makefile struct {
	Core         string    `json:"core"`                   // 7.x, 10.x
	API          string    `json:"api"`                    // 2
	Projects     []Project `json:"projects"`               // in the order of building; at most one has Type core when it is a top makefile
	Libraries    []Library `json:"libraries"`              // built last
	Translations []string  `json:"translations,omitempty"` // languages of the whole build
	Options      Options   `json:"options,omitzero"`
	Warnings     []Warning `json:"warnings,omitempty"`
	Base         Ref       `json:"base"` // the makefile itself; relative references begin beside it
	// Read is every makefile that was read, the top one first, then includes and
	// overrides in the order of reading.
	Read []Document `json:"read"`
}

// Options are the command options that a makefile may set.
type Options struct {
	WorkingCopy      bool   `json:"working_copy,omitempty"`        // leave .git in place
	NoCore           bool   `json:"no_core,omitempty"`             // the build is no whole site
	NoPatchTxt       bool   `json:"no_patch_txt,omitempty"`        // write no PATCHES.txt
	NoGitInfoFile    bool   `json:"no_gitinfofile,omitempty"`      // leave .info files of git checkouts as they are
	NoRecursion      bool   `json:"no_recursion,omitempty"`        // ignore makefiles inside of projects
	ContribDest      string `json:"contrib_destination,omitempty"` // clean relative path, "." is the build root
	ContribDestGiven bool   `json:"contrib_destination_given,omitempty"`
}

// Types of projects.
const (
	TypeCore    = "core"
	TypeModule  = "module"
	TypeTheme   = "theme"
	TypeProfile = "profile"
	TypeLibrary = "library"
)

// Project is one entry of projects.
type Project struct {
	Name               string    `json:"name"`              // letters, digits, _, - and . only
	Type               string    `json:"type"`              // one of the types of projects; "" when neither the makefile nor a feed said it yet
	Version            string    `json:"version,omitempty"` // as written: 3.24, 3.x-dev, 3; "" is unpinned
	Core               string    `json:"core,omitempty"`    // 7.x when it differs from the makefile's
	Subdir             string    `json:"subdir,omitempty"`  // clean relative path, as are the next three
	DirectoryName      string    `json:"directory_name,omitempty"`
	ContribDestination string    `json:"contrib_destination,omitempty"`
	Destination        string    `json:"destination,omitempty"`               // of profiles and libraries: the parent folder
	ContribDestGiven   bool      `json:"contrib_destination_given,omitempty"` // "" or "." mean the build root then
	Location           string    `json:"location,omitempty"`                  // base of its release feeds
	Variant            string    `json:"variant,omitempty"`                   // profile-only, projects, full
	MD5                string    `json:"md5,omitempty"`                       // checksum of the archive of a feed release, of the makefile itself
	Download           *Download `json:"download,omitempty"`                  // nil: a release of the feed
	Patches            []Patch   `json:"patches,omitempty"`
	NoRecursion        bool      `json:"no_recursion,omitempty"` // do_recursion = 0
	NoOverwrite        bool      `json:"no_overwrite,omitempty"` // overwrite = 0
	WorkingCopy        bool      `json:"working_copy,omitempty"` // options[working-copy]
	Lock               string    `json:"lock,omitempty"`         // text for .drush-lock-update
	Translations       []string  `json:"translations,omitempty"`
	L10nPath           string    `json:"l10n_path,omitempty"` // template of the address of a translation
	L10nURL            string    `json:"l10n_url,omitempty"`  // address of the l10n_server.xml
	From               Ref       `json:"from,omitzero"`       // the makefile that it stands in

	// Release is the release of the feed that was chosen: nil before Resolve, and
	// for projects with a Download.
	Release *Release `json:"release,omitempty"`
}

// Library is one entry of libraries.
type Library struct {
	Name          string    `json:"name"`
	Subdir        string    `json:"subdir,omitempty"`
	DirectoryName string    `json:"directory_name,omitempty"`
	Destination   string    `json:"destination,omitempty"` // "" is libraries
	Download      *Download `json:"download"`              // never nil
	Patches       []Patch   `json:"patches,omitempty"`
	WorkingCopy   bool      `json:"working_copy,omitempty"`
	NoOverwrite   bool      `json:"no_overwrite,omitempty"`
	Lock          string    `json:"lock,omitempty"`
	From          Ref       `json:"from,omitzero"`
}

// Types of downloads.
const (
	DownloadGet  = "get" // also written file
	DownloadGit  = "git"
	DownloadCopy = "copy"
)

// Download says where the code of an entry comes from.
type Download struct {
	Type      string    `json:"type"`               // one of the types of downloads
	URL       string    `json:"url"`                // as written; of git never empty: the default address is filled in
	Ref       Ref       `json:"ref,omitzero"`       // of get and copy: what URL names
	Filename  string    `json:"filename,omitempty"` // of get: one path component for a file that is no archive
	Subtree   string    `json:"subtree,omitempty"`  // clean relative path in the archive, before its only folder is stripped
	Checksums Checksums `json:"checksums,omitzero"`

	Tag         string `json:"tag,omitempty"` // precedence: Refspec, Tag, Revision, Branch, HEAD
	Branch      string `json:"branch,omitempty"`
	Revision    string `json:"revision,omitempty"`
	Refspec     string `json:"refspec,omitempty"`
	Submodule   bool   `json:"submodule,omitempty"`
	WorkingCopy bool   `json:"working_copy,omitempty"`
	// DefaultURL: the makefile gave no url. Together with addresses on drupal.org
	// this is what makes Drush write the version into .info files.
	DefaultURL bool `json:"default_url,omitempty"`

	// Commit is the commit that the reference stood for when it was resolved, in
	// full hex; "" before Resolve.
	Commit string `json:"commit,omitempty"`
}

// Checksums are those that were given, in lower-case hex; all must fit.
type Checksums struct {
	MD5    string `json:"md5,omitempty"`
	SHA1   string `json:"sha1,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	SHA512 string `json:"sha512,omitempty"`
}

// Patch is one patch of an entry, in the order of applying.
type Patch struct {
	URL string `json:"url"`          // as written: PATCHES.txt shows it
	Ref Ref    `json:"ref,omitzero"` // what it names: beside the makefile that names it
	// Fallback is tried when Ref is not there: beside the top makefile, as Drush
	// has it. Zero after Resolve.
	Fallback  Ref       `json:"fallback,omitzero"`
	Checksums Checksums `json:"checksums,omitzero"`
}

// Release is a release of a feed.
type Release struct {
	Type    string `json:"type"`              // what the feed says: core module theme profile
	Version string `json:"version"`           // as the feed writes it: 7.x-3.24, 7.103
	URL     string `json:"url"`               // of the archive
	MD5     string `json:"md5"`               // of the archive; "" when the feed has none
	Variant string `json:"variant,omitempty"` // of distributions: full, projects, profile-only
	Date    int64  `json:"date,omitempty"`    // seconds since 1970, for development snapshots
}

// Ref names one file or folder. One of URL, Git and Path alone is set; zero
// names nothing.
type Ref struct {
	URL    string `json:"url,omitempty"`    // http or https
	Git    string `json:"git,omitempty"`    // address of a repository; Path is inside of it
	Commit string `json:"commit,omitempty"` // of Git
	// Path is slash-separated, clean and relative: to the folder of local files
	// that the loader knows, or to the repository.
	Path string `json:"path,omitempty"`
}

// Document is a makefile as it was read.
type Document struct {
	Ref    Ref    `json:"ref,omitzero"`
	SHA256 string `json:"sha256"`
	MD5    string `json:"md5"`
	Format string `json:"format"` // ini, yaml
	Text   []byte `json:"-"`
}

// Warning is something that Drush does in silence and people should know.
type Warning struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // 0 when no line is to blame
	Message string `json:"message"`
}

// Loader reads what makefiles name. Its errors are models.Errors; a file that is
// not there has the code NotFound.
type Loader interface {
	// Read gives the whole file, at most maxBytes long, and where it really was:
	// after redirects, at a commit.
	Read(ctx context.Context, ref Ref, maxBytes int64) ([]byte, Ref, error)
	// Commit finds the commit that a git download names now, in full hex.
	Commit(ctx context.Context, d Download) (string, error)
	// Local tells whether makefiles may name files of this machine with absolute
	// paths and file: addresses.
	Local() bool
}

// Resolver pins a makefile: every project without Download gets a Release (and a
// Type, if it had none), every git download a Commit, and every relative patch
// its true Ref and a SHA256. The builder
// calls it for makefiles that it finds inside of projects; the plan of the top
// one is resolved already. Core is taken out of builds without core.
type Resolver interface {
	Resolve(ctx context.Context, m *Makefile) error
}
