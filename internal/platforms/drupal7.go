package platforms

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"hefring/models"
)

// Drupal 7 has no core folder: its own modules, themes and profiles lie beside
// everybody's in the docroot, and are described by .info files.

var version7Pattern = regexp.MustCompile(`(?m)^\s*define\(\s*['"]VERSION['"]\s*,\s*['"](7\.[0-9A-Za-z.+-]{1,50})['"]\s*\)\s*;`)

const bootstrap7 = "includes/bootstrap.inc"

// isSeven tells whether a docroot holds Drupal 7.
func (b base) isSeven(docroot string) bool {
	return b.isFile(path.Join(docroot, bootstrap7)) && b.isFile(path.Join(docroot, "modules/system/system.module"))
}

// hasCore tells whether a docroot holds a Drupal core.
func (b base) hasCore(docroot string) bool {
	return b.isFile(path.Join(docroot, "core/lib/Drupal.php")) || b.isSeven(docroot)
}

func (b base) version7(docroot string) (string, error) {
	name := path.Join(docroot, bootstrap7)
	text, err := b.read(name, maxSourceFile)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	match := version7Pattern.FindSubmatch(text)
	if match == nil {
		return "", models.Errorf(models.Invalid, "%s names no VERSION of Drupal 7. Check that Drupal core is complete in the source.", name)
	}
	return string(match[1]), nil
}

var infoLine = regexp.MustCompile(`(?m)^[ \t]*(version|core|hidden|project)[ \t]*=[ \t]*["']?([^"'\r\n]*?)["']?[ \t]*\r?$`)

// extension7 reads one .info file of Drupal 7; what is none of it is no package.
// Which kind it is, the file beside it tells.
func (b base) extension7(name string) (extension, bool) {
	text, err := b.read(name, maxInfoFile)
	if err != nil {
		return extension{}, false
	}
	said := map[string]string{} // the last line of a key counts: the packaging script's
	for _, line := range infoLine.FindAllSubmatch(text, -1) {
		said[string(line[1])] = string(line[2])
	}
	if said["core"] != "7.x" {
		return extension{}, false
	}
	stem := strings.TrimSuffix(name, ".info")
	kind := "theme"
	for _, k := range []string{"module", "profile"} {
		if b.isFile(stem + "." + k) {
			kind = k
		}
	}
	return extension{
		Name: path.Base(stem), Type: kind, Version: said["version"], Hidden: strings.EqualFold(said["hidden"], "TRUE"),
		Core: said["project"] == "drupal" || said["version"] == "VERSION", Schema: b.schema(stem + ".install"),
	}, true
}
