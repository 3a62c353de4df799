package build

import "hefring/plugins/makefile/spec"

// Differences are those of building. docs/makefile-differences.md shows them with
// those of reading.
func Differences() []spec.Difference {
	return []spec.Difference{
		{
			ID:      "half-built",
			Drush:   "When core or a library cannot be downloaded, verified or patched, the build is published without it, or without the patch, and only the exit code says so.",
			Hefring: "The build fails, and nothing is published.",
			Cases: []string{
				"oracle-make/core-md5-bad", "oracle-make/patch-fail-core", "oracle-make/lib-404", "oracle-make/lib-md5-bad",
				"oracle-make/lib-sha1-bad", "oracle-make/lib-sha256-bad", "oracle-make/lib-sha512-bad",
			},
		},
		{
			ID:      "force-complete",
			Drush:   "With --force-complete a build with missing and unpatched projects is published, and succeeds.",
			Hefring: "There is no such option: the build fails.",
			Cases:   []string{"oracle-make/lib-md5-bad-force", "oracle-make/patch-fail-force", "oracle-make/project-md5-bad-force"},
		},
		{
			ID:      "projects-of-all-levels",
			Drush:   "A project that the makefile names itself is left out of makefiles inside of its projects, but not of those one level deeper: it is built twice, maybe in two versions.",
			Hefring: "What a makefile names is left out at every level below it.",
			Cases:   []string{"oracle-make/recursion-two-levels"},
		},
		{
			ID:      "core-translations",
			Drush:   "Translations of core also land in the folders translations and profiles/translations, where nothing looks for them.",
			Hefring: "They go to modules/system/translations and to each profile.",
			Cases:   []string{"oracle-make/yaml-translations-project"},
		},
		{
			ID:      "version-with-core",
			Drush:   "A version with the prefix of core, such as 7.x-3.23, is found only for distributions that are built as core.",
			Hefring: "It may stand there for every project.",
			Cases:   []string{"oracle-make/contrib-version-7.x-3.23"},
		},
		{
			ID:      "lost-projects",
			Drush:   "A project whose folder holds others that were built before takes their place, and they are lost in silence.",
			Hefring: "This is an error that names both. Only a project in exactly the same folder is replaced.",
		},
		{
			ID:      "patch-checksum-first",
			Drush:   "The checksum of a patch is verified when the patch has been applied already.",
			Hefring: "It is verified before.",
		},
		{
			ID:      "git-left-behind",
			Drush:   "Archives may bring .git folders, which stay.",
			Hefring: "Only working copies keep .git.",
		},
		{
			ID:      "links-that-leave",
			Drush:   "Archives may hold links to any place of the machine, and repositories and patches too.",
			Hefring: "Links that lead out of an archive, or out of the build, are errors.",
		},
		{
			ID:      "lfs-pointers",
			Drush:   "Files that a repository keeps in Git LFS are built as the small texts that point to them.",
			Hefring: "This is an error that names the file.",
		},
		{
			ID:      "public-repositories",
			Drush:   "Any repository on the same machine can be cloned with a file:// address, whoever wrote the makefile.",
			Hefring: "Repositories are cloned over https and http. Those with file:// addresses are for makefiles that are files of this machine themselves, on the command line; submodules are never cloned from there.",
		},
	}
}
