package platforms

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"hefring/models"
)

const (
	maxInfoFile   = 64 << 10
	maxExtensions = 20_000
	maxInfoDepth  = 12
)

// extension is a module, theme or profile as its .info.yml names it.
type extension struct {
	Name    string
	Type    string
	Version string
	Hidden  bool
	Core    bool // comes with Drupal core
	Schema  int  // number of its newest update, 0 for none
}

// extensions finds what Drupal itself would find below a docroot.
func (b base) extensions(ctx context.Context, docroot string) ([]extension, error) {
	var list []extension
	for _, place := range []struct {
		dir  string
		core bool
	}{{"core/profiles", true}, {"profiles", false}, {"modules", false}, {"themes", false}, {"sites/all", false}} {
		found, err := b.extensionsIn(ctx, path.Join(docroot, place.dir), place.core, 0)
		if err != nil {
			return nil, err
		}
		if list = append(list, found...); len(list) > maxExtensions {
			return nil, models.Errorf(models.Invalid, "There are more than %d modules, themes and profiles. Check the source for copies.", maxExtensions)
		}
	}
	return list, nil
}

func (b base) extensionsIn(ctx context.Context, dir string, core bool, depth int) ([]extension, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	entries, err := fs.ReadDir(b.root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) || depth > maxInfoDepth {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []extension
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		switch {
		case entry.IsDir() && !unsearched(entry.Name()):
			below, err := b.extensionsIn(ctx, name, core, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, below...)
		case strings.HasSuffix(name, ".info"):
			if e, ok := b.extension7(name); ok {
				list = append(list, e)
			}
		case strings.HasSuffix(name, ".info.yml"):
			if e, ok := b.extension(name); ok {
				e.Core = core
				list = append(list, e)
			}
		}
		if len(list) > maxExtensions {
			break
		}
	}
	return list, nil
}

// unsearched are the folders that Drupal's own extension discovery leaves out.
func unsearched(name string) bool {
	return strings.HasPrefix(name, ".") || slices.Contains([]string{
		"src", "lib", "vendor", "assets", "css", "files", "images", "js", "misc", "templates", "includes", "fixtures",
		"tests", "config", "Drupal", "node_modules", "bower_components",
	}, name)
}

// extension reads one .info.yml; what is no extension, or broken, is no package.
func (b base) extension(name string) (extension, bool) {
	text, err := b.read(name, maxInfoFile)
	if err != nil {
		return extension{}, false
	}
	var info struct {
		Type    string `yaml:"type"`
		Version string `yaml:"version"`
		Hidden  any    `yaml:"hidden"`
	}
	if yaml.Unmarshal(text, &info) != nil {
		return extension{}, false
	}
	if !slices.Contains([]string{"module", "theme", "profile"}, info.Type) {
		return extension{}, false
	}
	hidden, _ := info.Hidden.(bool)
	return extension{
		Name:    strings.TrimSuffix(path.Base(name), ".info.yml"),
		Type:    info.Type,
		Version: info.Version,
		Hidden:  hidden,
		Schema:  b.schema(strings.TrimSuffix(name, ".info.yml") + ".install"),
	}, true
}

// updatePattern is how Drupal recognises update functions, at the beginning of a
// line (https://api.drupal.org/api/drupal/core%21lib%21Drupal%21Core%21Extension%21module.api.php/function/hook_update_N).
var updatePattern = regexp.MustCompile(`(?m)^[ \t]*function[ \t]+([A-Za-z0-9_]{1,100})_update_([0-9]{1,9})[ \t]*\(`)

// schema gives the number of the newest database update in an .install file, 0
// when there is none. It reads the text and runs nothing; what is no file, or
// larger than a person writes, has none.
func (b base) schema(name string) int {
	text, err := b.read(name, maxSourceFile)
	if err != nil {
		return 0
	}
	module := strings.TrimSuffix(path.Base(name), ".install")
	newest := 0
	for _, match := range updatePattern.FindAllSubmatch(text, -1) {
		if n, err := strconv.Atoi(string(match[2])); err == nil && string(match[1]) == module {
			newest = max(newest, n)
		}
	}
	return newest
}

// composerPackage is one package of vendor/composer/installed.json.
type composerPackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Type    string `json:"type"`
}

// installed reads what composer says it installed, in the format of Composer 2
// or 1. Without a readable file there is nothing to say.
func (b base) installed() []composerPackage {
	text, err := b.read("vendor/composer/installed.json", maxInstalled)
	if err != nil {
		return nil
	}
	var two struct {
		Packages []composerPackage `json:"packages"`
	}
	if json.Unmarshal(text, &two) == nil {
		return two.Packages
	}
	var one []composerPackage
	if json.Unmarshal(text, &one) != nil {
		return nil
	}
	return one
}

func packages(core models.Package, extensions []extension, installed []composerPackage) []models.Package {
	list := []models.Package{core}
	versions := map[string]string{}
	for _, p := range installed {
		versions[p.Name] = p.Version
	}
	for _, e := range extensions {
		if e.Core {
			continue
		}
		// VERSION is the placeholder that core's own extensions carry.
		if e.Version == "VERSION" {
			e.Version = core.Version
		}
		list = append(list, models.Package{Name: e.Name, Type: e.Type, Version: cmp.Or(e.Version, versions["drupal/"+e.Name]), Schema: e.Schema})
	}
	for _, p := range installed {
		if isLibrary(p.Type) {
			list = append(list, models.Package{Name: p.Name, Type: "library", Version: p.Version})
		}
	}
	slices.SortFunc(list, func(a, b models.Package) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return slices.CompactFunc(list, func(a, b models.Package) bool { return a.Type == b.Type && a.Name == b.Name })
}

// isLibrary leaves out what is listed as core or as an extension already.
func isLibrary(kind string) bool {
	return kind != "metapackage" && (!strings.HasPrefix(kind, "drupal-") || kind == "drupal-library")
}

func profiles(extensions []extension) []string {
	var names []string
	for _, e := range extensions {
		if e.Type == "profile" && !e.Hidden {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
