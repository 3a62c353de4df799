package main

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"hefring/internal/config"
	"hefring/internal/docs"
)

// make generate sets it.
var update = flag.Bool("update-docs", false, "write the generated parts of docs/ anew")

const root = "../.."

func parser(t *testing.T) *kong.Kong {
	t.Helper()
	p, err := newParser(t.Context(), &cli{}, &config.Loader{})
	if err != nil {
		t.Fatal(err)
	}
	p.Exit = func(code int) { t.Errorf("it exits with %d", code) }
	return p
}

// What docs say about settings and commands is what the code says.
func TestDocs_Generated_IsFresh(t *testing.T) {
	model := parser(t).Model
	for name, text := range map[string]string{
		"docs/settings.md": docs.Settings(config.Settings()),
		"docs/cli.md":      docs.Commands(model),
	} {
		path := filepath.Join(root, name)
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := docs.Fill(string(page), text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if fresh == string(page) {
			continue
		}
		if !*update {
			t.Errorf("%s is stale: run make generate", name)
			continue
		}
		if err := os.WriteFile(path, []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Every link, command, flag, variable and make target that the documents name is
// there.
func TestDocs_Claims_AreTrue(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	program := parser(t)
	checker := &docs.Checker{
		Root: root, App: program.Model, Targets: docs.Makefile(string(makefile)), Variables: testVariables(t, string(makefile)),
		Parse: func(args []string) error {
			_, err := program.Parse(args)
			return err
		},
	}
	pages := documents(t)
	for _, name := range pages {
		found, err := checker.Check(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range found {
			t.Error(problem)
		}
	}
	if len(pages) < 20 {
		t.Errorf("only %d pages were read", len(pages))
	}
}

// documents are the pages for people: those beside the Makefile and in docs.
func documents(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".md") {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if list[i], err = filepath.Rel(root, list[i]); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// testVariables are those that make targets and tests read.
func testVariables(t *testing.T, makefile string) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, name := range docs.Variables(makefile) {
		known[name] = true
	}
	read := regexp.MustCompile(`(?:Getenv|LookupEnv)\("(HEFRING_[A-Z0-9_]+)"\)`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if err == nil && slices.Contains([]string{".git", "bin"}, entry.Name()) {
				return filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, match := range read.FindAllSubmatch(text, -1) {
			known[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return known
}

// Settings files that pages show can be used as they are.
func TestDocs_SettingsFiles_Fit(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	shown := 0
	for _, name := range []string{"docs/quickstart.md", "docs/settings.md"} {
		page, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range block.FindAllStringSubmatch(string(page), -1) {
			shown++
			if got := newProgram(t).run(t, "config", "check", "--config", settingsFile(t, match[1])); got.code != 0 {
				t.Errorf("%s: %s\n%s", name, got.err, match[1])
			}
		}
	}
	if shown < 2 {
		t.Errorf("the pages show %d settings files", shown)
	}
}

// The list of documents names every page.
func TestDocs_List_NamesEveryPage(t *testing.T) {
	list, err := os.ReadFile(filepath.Join(root, "docs/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range documents(t) {
		page, in := strings.CutPrefix(name, "docs/")
		if in && !strings.HasPrefix(page, "adr/") && page != "README.md" && !strings.Contains(string(list), "]("+page+")") {
			t.Errorf("docs/README.md does not name %s", page)
		}
	}
}

// What the page of messages explains is said by the program; … stands for what differs.
func TestDocs_Messages_AreSaid(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	said := sources(t)
	messages := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(page), -1)
	for _, message := range messages {
		for part := range strings.SplitSeq(message[1], "…") {
			if !strings.Contains(said, strings.TrimSpace(part)) {
				t.Errorf("nothing says %q of %q", part, message[1])
			}
		}
	}
	if len(messages) < 25 {
		t.Errorf("the page explains %d messages", len(messages))
	}
}

// sources are those of the program as one text, in which sentences that go over
// several lines are whole.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"cmd", "internal", "models", "plugins", "web"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return regexp.MustCompile(`"\s*\+\s*"`).ReplaceAllString(all.String(), "")
}
