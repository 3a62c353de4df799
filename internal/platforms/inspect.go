package platforms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"hefring/internal/tree"
	"hefring/models"
)

// Sizes in bytes of the files that Inspect reads.
const (
	maxSourceFile = 1 << 20
	maxInstalled  = 32 << 20
)

// Inspection is what a code base says about itself.
type Inspection struct {
	Docroot       string // folder of index.php, relative; "" is the top
	DrupalVersion string
	Packages      []models.Package // by type and name
	Profiles      []string         // install profiles that a person may choose
}

var versionPattern = regexp.MustCompile(`(?m)^\s*(?:public\s+)?const\s+VERSION\s*=\s*['"]([0-9A-Za-z.+-]{1,50})['"]\s*;`)

// usualDocroots are tried when neither the setting nor composer.json names one.
func usualDocroots() []string {
	return []string{"", "web", "docroot", "html", "public", "public_html", "www", "htdocs"}
}

// Inspect reads a built code base without running any of it: where the docroot
// is, which Drupal it holds, its packages and its install profiles. What makes
// it unfit for sites is a models.Error.
func (s *Store) Inspect(ctx context.Context, dir, docroot string) (Inspection, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Inspection{}, fmt.Errorf("open code base: %w", err)
	}
	defer func() { _ = root.Close() }()
	b := base{root}
	found, err := b.docroot(docroot)
	if err != nil {
		return Inspection{}, err
	}
	if err := b.wantDrush(found); err != nil {
		return Inspection{}, err
	}
	version, err := b.drupalVersion(found)
	if err != nil {
		return Inspection{}, err
	}
	extensions, err := b.extensions(ctx, found)
	if err != nil {
		return Inspection{}, fmt.Errorf("list extensions: %w", err)
	}
	core := models.Package{Name: "drupal", Type: "core", Version: version, Schema: b.coreSchema(found)}
	return Inspection{
		Docroot:       found,
		DrupalVersion: version,
		Packages:      packages(core, extensions, b.installed()),
		Profiles:      profiles(extensions),
	}, nil
}

// base is a code base that somebody else wrote; every look stays inside of it.
type base struct{ root *os.Root }

func (b base) docroot(setting string) (string, error) {
	setting = clean(setting)
	if setting != "" {
		return setting, b.fitsSetting(setting)
	}
	for _, candidate := range append(b.scaffoldRoot(), usualDocroots()...) {
		if b.isFile(path.Join(candidate, "index.php")) && b.hasCore(candidate) {
			return candidate, nil
		}
	}
	for _, candidate := range append(b.scaffoldRoot(), usualDocroots()...) {
		if b.isFile(path.Join(candidate, "index.php")) {
			return "", b.noCore(candidate)
		}
	}
	if err := b.misplacedCore(""); err != nil {
		return "", err
	}
	return "", models.Errorf(models.Invalid,
		"No docroot was found: no folder holds both index.php and core/lib/Drupal.php. The source holds %s. Set the docroot to the folder of index.php.%s", b.list(""), b.composerHint())
}

func clean(docroot string) string {
	docroot = path.Clean(strings.ReplaceAll(docroot, "\\", "/"))
	if docroot == "." {
		return ""
	}
	return docroot
}

func (b base) fitsSetting(docroot string) error {
	info, err := b.root.Stat(docroot)
	if err != nil || !info.IsDir() {
		return docrootError("The docroot %q does not exist in the source, which holds %s. Correct the docroot, or leave it empty to have it found.%s", docroot, b.list(""), b.composerHint())
	}
	if !b.isFile(path.Join(docroot, "index.php")) {
		return docrootError("The docroot %q holds no index.php, but %s. Correct the docroot, or leave it empty to have it found.%s", docroot, b.list(docroot), b.composerHint())
	}
	if !b.hasCore(docroot) {
		return b.noCore(docroot)
	}
	return nil
}

func docrootError(format string, args ...any) error {
	e := models.Errorf(models.Invalid, format, args...)
	e.Fields = map[string]string{"docroot": e.Message}
	return e
}

func (b base) noCore(docroot string) error {
	if err := b.misplacedCore(docroot); err != nil {
		return err
	}
	return models.Errorf(models.Invalid, "%s has no Drupal core: %s is missing.%s", place(docroot), path.Join(docroot, "core/lib/Drupal.php"), b.composerHint())
}

// misplacedCore recognises a composer install that was not allowed to run
// composer/installers: it succeeds and leaves core below vendor/.
func (b base) misplacedCore(docroot string) error {
	if !b.isFile("vendor/drupal/core/lib/Drupal.php") {
		return nil
	}
	return models.Errorf(models.Invalid,
		"Composer put Drupal core into vendor/drupal/core instead of %s, because it may not run composer/installers. Add \"composer/installers\": true under config.allow-plugins in composer.json, then commit and push.", path.Join(docroot, "core"))
}

func (b base) composerHint() string {
	if b.isFile("composer.json") && !b.isFile("vendor/autoload.php") {
		return " There is a composer.json and no vendor folder: switch on “Run composer install”."
	}
	return ""
}

// wantDrush leaves out Drupal 7, whose Drush may be the server's own.
func (b base) wantDrush(docroot string) error {
	if b.isFile("vendor/bin/drush") || b.isSeven(docroot) {
		return nil
	}
	return models.Errorf(models.Invalid,
		"vendor/bin/drush is missing; Hefring installs and updates sites with it. Run “composer require drush/drush” in the source and commit the result.%s", b.composerHint())
}

func (b base) drupalVersion(docroot string) (string, error) {
	if b.isSeven(docroot) {
		return b.version7(docroot)
	}
	name := path.Join(docroot, "core/lib/Drupal.php")
	text, err := b.read(name, maxSourceFile)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	match := versionPattern.FindSubmatch(text)
	if match == nil {
		return "", models.Errorf(models.Invalid, "%s names no VERSION. Check that Drupal core is complete in the source.", name)
	}
	return string(match[1]), nil
}

// coreSchema is that of the system module, which stands for all of core.
func (b base) coreSchema(docroot string) int {
	if b.isSeven(docroot) {
		return b.schema(path.Join(docroot, "modules/system/system.install"))
	}
	return b.schema(path.Join(docroot, "core/modules/system/system.install"))
}

// scaffoldRoot is the docroot that composer.json gives to Drupal's scaffold.
func (b base) scaffoldRoot() []string {
	text, err := b.read("composer.json", maxSourceFile)
	if err != nil {
		return nil
	}
	var file struct {
		Extra struct {
			Scaffold struct {
				Locations map[string]string `json:"locations"`
			} `json:"drupal-scaffold"`
		} `json:"extra"`
	}
	if json.Unmarshal(text, &file) != nil {
		return nil
	}
	docroot := clean(file.Extra.Scaffold.Locations["web-root"])
	if !fs.ValidPath(docroot) {
		return nil
	}
	return []string{docroot}
}

func (b base) isFile(name string) bool {
	info, err := b.root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// read gives a regular file of at most limit bytes.
func (b base) read(name string, limit int64) ([]byte, error) {
	// Without O_NONBLOCK a pipe of that name would hang us.
	file, err := b.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("larger than %s", tree.Size(limit))
	}
	return text, err
}

// list names a few things of a folder, for messages.
func (b base) list(dir string) string {
	file, err := b.root.Open(path.Join(".", dir))
	if err != nil {
		return "nothing"
	}
	defer func() { _ = file.Close() }()
	names, err := file.Readdirnames(200)
	if err != nil || len(names) == 0 {
		return "nothing"
	}
	slices.Sort(names)
	more := ""
	if len(names) > 8 {
		names, more = names[:8], ", …"
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(names, ", ") + more
}

func place(docroot string) string {
	if docroot == "" {
		return "The source"
	}
	return fmt.Sprintf("The docroot %q", docroot)
}
