package spec

// Difference is one place where Hefring does not do what Drush 8 does, on
// purpose. docs/makefile-differences.md shows them all.
type Difference struct {
	ID      string   // lower-case words with hyphens
	Drush   string   // what Drush does, one or two sentences
	Hefring string   // what Hefring does instead
	Cases   []string // recorded cases that show it: oracle-make/NAME, oracle-ini/NAME, makefiles/PATH
}

// Differences are those of reading makefiles.
func Differences() []Difference { return append(ofTexts(), ofEntries()...) }

// ofTexts are about the format and about including.
func ofTexts() []Difference {
	return []Difference{
		{
			ID:      "php-constants",
			Drush:   "Values that are the name of any PHP constant become its value: E_ALL is 32767, PHP_OS is Linux.",
			Hefring: "Only TRUE, FALSE and NULL are constants; all other words stay text.",
			Cases:   []string{"oracle-ini/const-other"},
		},
		{
			ID:      "byte-order-mark",
			Drush:   "A byte order mark at the beginning of the file becomes part of the first key, which is lost.",
			Hefring: "The mark is left out.",
			Cases:   []string{"oracle-ini/bom"},
		},
		{
			ID:      "yaml-numbers",
			Drush:   "YAML numbers are converted: version: 1.30 becomes 1.3, and 1.0 becomes 1, which is another release or none.",
			Hefring: "Values stay as they are written.",
			Cases:   []string{"oracle-make/yaml-float-trailing-zero", "makefiles/real/lightning/drupal-org.make.yml"},
		},
		{
			ID:      "yaml-that-is-no-map",
			Drush:   "A makefile of one INI line without core is read as a YAML text, and Drush crashes.",
			Hefring: "YAML that is no map is read as INI.",
			Cases:   []string{"oracle-make/include-oneline-no-core"},
		},
		{
			ID:      "listed-and-keyed",
			Drush:   "When a project is listed and has settings of its own in one makefile, or is listed in one makefile and has settings in another, the settings are dropped in silence.",
			Hefring: "In one makefile this is an error. Over several makefiles the entries are merged.",
			Cases:   []string{"oracle-make/dup-list-and-key"},
		},
		{
			ID:      "include-cycle",
			Drush:   "A makefile that includes itself, directly or by way of others, never ends.",
			Hefring: "It is an error that names the makefiles. At most 20 levels and 100 makefiles are included.",
			Cases:   []string{"oracle-make/include-cycle"},
		},
		{
			ID:      "relative-to-an-address",
			Drush:   "Relative includes and patches of a makefile that comes from an address are not found.",
			Hefring: "They are looked for beside the makefile, at the same address.",
			Cases:   []string{"oracle-make/url-makefile-relative-include", "oracle-make/url-makefile-relative-patch"},
		},
	}
}

// ofEntries are about projects, libraries and their keys.
func ofEntries() []Difference {
	return []Difference{
		{
			ID:      "unknown-download",
			Drush:   "A download without a type, or of the types cvs, post, link or any unknown one, leaves an empty folder, and the build succeeds.",
			Hefring: "It is an error. Only get (or file), git, copy and pm are types.",
			Cases: []string{
				"oracle-make/download-type-link", "oracle-make/download-type-post", "oracle-make/download-type-unknown",
				"oracle-make/lib-no-download", "oracle-make/lib-no-type-git",
				"makefiles/real/boa/buildkit.make", "makefiles/real/express/drupal-org.make",
			},
		},
		{
			ID:      "bzr-and-svn",
			Drush:   "Projects and libraries can come from Bazaar and Subversion.",
			Hefring: "They cannot: both are errors.",
			Cases:   []string{"makefiles/drush/bzr.make", "makefiles/drush/svn.make"},
		},
		{
			ID:      "malformed-checksum",
			Drush:   "A checksum that can fit nothing is compared when everything was downloaded.",
			Hefring: "It is an error before anything is downloaded.",
			Cases:   []string{"makefiles/drush/md5-fail.make"},
		},
		{
			ID:      "paths-that-escape",
			Drush:   "The keys name, download_location and others move an entry to any place; destination, filename and subtree may lead out of the build, and so may subdir when it ends in “/..”.",
			Hefring: "Such keys and paths are errors.",
			Cases:   []string{"oracle-make/project-name-evil", "oracle-make/project-name-override", "oracle-make/subdir-evil-end"},
		},
		{
			ID:      "single-patch",
			Drush:   "patch = ADDRESS, without brackets, is ignored in silence.",
			Hefring: "The patch is applied.",
			Cases:   []string{"oracle-make/patch-scalar"},
		},
		{
			ID:      "unencrypted-git",
			Drush:   "git:// and SSH addresses of repositories are used as they are.",
			Hefring: "They become https addresses, with a warning: no key is there for them.",
		},
		{
			ID:      "project-md5",
			Drush:   "A checksum on a project without download makes Drush clone a repository.",
			Hefring: "It is the checksum of the project's archive.",
		},
		{
			ID:      "contrib-destination-of-10",
			Drush:   "From Drupal 10 on, modules go to sites/all again, since only the first digit of the version is read.",
			Hefring: "They go to modules, as with Drupal 8 and 9.",
			Cases:   []string{"oracle-make/core-10"},
		},
	}
}
