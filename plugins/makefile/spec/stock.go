package spec

import (
	"strings"
)

// Stock writes the makefile of a build that is one release of a drupal.org
// project: Drupal itself, or a distribution that was packaged with it. version
// is as release feeds write it: 7.103, or 7.x-1.19 of a distribution. md5 is
// that of the archive at url; it may be "".
func Stock(name, version, url, md5 string) string {
	core, _, _ := strings.Cut(version, ".")
	key := "projects[" + name + "]"
	lines := []string{
		"; " + name + " " + version,
		"core = " + core + ".x",
		"api = 2",
		key + "[type] = core",
		key + "[version] = " + quoteINI(version),
		key + "[download][type] = get",
		key + "[download][url] = " + quoteINI(url),
	}
	if md5 != "" {
		lines = append(lines, key+"[download][md5] = "+md5)
	}
	return strings.Join(lines, "\n") + "\n"
}

// quoteINI writes a value so that it is read as it is.
func quoteINI(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
