// Package arch holds the import rules of the house as a test. A linter skips
// generated templ code; this reads every file.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "hefring"

// layer says which of our own packages a folder may import, besides itself and
// its sub-folders. A prefix that ends in "/" covers sub-folders.
type layer struct {
	dir   string
	allow []string
}

func layers() []layer {
	return []layer{
		{"models", nil},
		{"migrations", nil},
		{"static", nil},
		{"internal/run", []string{"models"}},
		{"internal/egress", []string{"models"}},
		{"internal/config", []string{"models"}},
		{"internal/gitserver", nil},
		{"internal/secret", []string{"models", "internal/tree"}},
		{"internal/doctor", []string{"models", "internal/run", "internal/secret", "internal/tree"}},
		{"internal/oneshot", []string{"models", "plugins", "internal/platforms", "internal/run", "internal/egress", "internal/tree"}},
		{"internal/tree", []string{"models"}},
		{"internal/tidepool", []string{"testdata/tidepool"}},
		{"internal/testpg", []string{"models"}},
		{"internal/testmysql", []string{"models"}},
		{"internal/archive", []string{"models", "internal/tree"}},
		{"plugins", []string{"models", "internal/run", "internal/egress", "internal/tree", "internal/archive"}},
		{"internal/platforms", []string{"models", "internal/run", "internal/tree"}},
		{"internal/sites", []string{"models", "internal/run", "internal/tree"}},
		{"internal/fleet", []string{"models", "plugins", "internal/platforms", "internal/sites/", "internal/run", "internal/egress", "internal/webhook", "internal/tree"}},
		{"internal/webhook", []string{"models"}},
		{"internal/notify", []string{"models", "internal/egress", "internal/webhook"}},
		{"internal/control", []string{"models", "internal/store", "internal/tree"}},
		{"internal/docs", []string{"models", "internal/config"}},
		{"internal/release", []string{"internal/config"}},
		{"internal/httpcode", []string{"models"}},
		{"internal/remote", []string{"models", "internal/fleet", "internal/httpcode", "internal/tree"}},
		{"internal/metrics", []string{"models", "internal/fleet"}},
		{"internal/store", []string{"models", "migrations", "internal/fleet"}},
		{"internal/tasks", []string{"models", "internal/fleet", "internal/run"}},
		{"templates", []string{"models", "plugins", "static", "internal/fleet"}},
		{"web", []string{"models", "plugins", "templates/", "static", "internal/fleet", "internal/httpcode", "internal/webhook"}},
	}
}

// owner says which folders alone may import a package of others.
type owner struct {
	imported string // prefix
	dirs     []string
}

func owners() []owner {
	return []owner{
		{"gorm.io/", []string{"internal/store"}},
		{"github.com/labstack/echo", []string{"web"}},
		{"github.com/riverqueue/", []string{"internal/tasks"}},
		{"github.com/go-co-op/gocron", []string{"internal/tasks"}},
		{"os/exec", []string{"internal/run", "internal/testpg", "internal/testmysql", "internal/sites/database/dbtest"}},
		{"github.com/pressly/goose", []string{"internal/store"}},
		{"github.com/danielgtaylor/huma", []string{"web/api"}},
		{"github.com/wneessen/go-mail", []string{"internal/notify"}},
		{"github.com/goreleaser/nfpm", []string{"internal/release"}},
		{"github.com/coreos/go-oidc", []string{"web"}},
		{"github.com/pquerna/otp", []string{"internal/fleet"}},
		{"github.com/prometheus/", []string{"internal/metrics"}},
		{"go.opentelemetry.io/", []string{"internal/traces"}},
		{"github.com/go-sql-driver/mysql", []string{"internal/sites/database/mysql", "internal/testmysql"}},
	}
}

func TestImports_Rules(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		seen++
		for _, imported := range importsOf(t, path) {
			check(t, filepath.ToSlash(rel), imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 40 {
		t.Fatalf("read %d files; the walk starts at the wrong place", seen)
	}
}

func importsOf(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, imported)
	}
	return list
}

func check(t *testing.T, file, imported string) {
	t.Helper()
	if why := forbidden(file, imported); why != "" {
		t.Errorf("%s imports %s: %s", file, imported, why)
	}
}

// forbidden gives the reason why file may not import a package, or "".
func forbidden(file, imported string) string {
	for _, o := range owners() {
		if strings.HasPrefix(imported, o.imported) && !within(file, o.dirs) {
			return "only " + strings.Join(o.dirs, " and ") + " may"
		}
	}
	if within(file, []string{"models"}) && strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
		return "models uses the standard library only"
	}
	ours, isOurs := strings.CutPrefix(imported, module+"/")
	if !isOurs {
		return ""
	}
	for _, l := range layers() {
		if !within(file, []string{l.dir}) {
			continue
		}
		if within(ours+"/", []string{l.dir}) || allowed(ours, l.allow) {
			return ""
		}
		return l.dir + " may import only " + strings.Join(l.allow, ", ")
	}
	return ""
}

func within(file string, dirs []string) bool {
	for _, dir := range dirs {
		if strings.HasPrefix(file, dir+"/") {
			return true
		}
	}
	return false
}

func allowed(imported string, list []string) bool {
	for _, allow := range list {
		if imported == allow || strings.HasSuffix(allow, "/") && strings.HasPrefix(imported+"/", allow) {
			return true
		}
	}
	return false
}

func TestForbidden_CatchesEachRule(t *testing.T) {
	for _, c := range []struct{ file, imported string }{
		{"models/site.go", "hefring/internal/store"},
		{"models/site.go", "gorm.io/gorm"},
		{"models/site.go", "github.com/google/uuid"},
		{"internal/fleet/check.go", "hefring/internal/store"},
		{"internal/fleet/check.go", "hefring/web"},
		{"internal/fleet/check.go", "os/exec"},
		{"web/sites.go", "hefring/internal/store"},
		{"web/sites.go", "github.com/riverqueue/river"},
		{"internal/tasks/queue.go", "gorm.io/gorm"},
		{"plugins/git/git.go", "hefring/internal/store"},
		{"templates/pages/site_templ.go", "hefring/web"},
		{"cmd/hefring/main.go", "os/exec"},
	} {
		if forbidden(c.file, c.imported) == "" {
			t.Errorf("%s may import %s; it must not", c.file, c.imported)
		}
	}
	for _, c := range []struct{ file, imported string }{
		{"internal/store/store.go", "gorm.io/gorm"},
		{"plugins/git/git.go", "hefring/plugins"},
		{"internal/run/run.go", "os/exec"},
		{"web/sites.go", "hefring/templates/pages"},
	} {
		if why := forbidden(c.file, c.imported); why != "" {
			t.Errorf("%s may not import %s: %s", c.file, c.imported, why)
		}
	}
}

// The user fixed the top-level folders.
func TestTopLevel_Folders(t *testing.T) {
	fixed := map[string]bool{
		"cmd": true, "web": true, "templates": true, "static": true, "models": true, "plugins": true, "migrations": true,
		"internal": true, "e2e": true, "docs": true, "testdata": true,
	}
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") && entry.Name() != "bin" && !fixed[entry.Name()] {
			t.Errorf("top-level folder %s is not one of the fixed ones", entry.Name())
		}
	}
}
