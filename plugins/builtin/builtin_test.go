package builtin_test

import (
	"context"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/builtin"
)

func TestAll_Registers(t *testing.T) {
	r, err := plugins.NewRegistry(builtin.All()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"git", "stock", "composer", "makefile", "manual"} {
		if _, err := r.Get(id); err != nil {
			t.Error(err)
		}
	}
}

// sixth is an update type that exists in its own folder only.
type sixth struct{}

func (sixth) Info() plugins.Info {
	return plugins.Info{ID: "sixth", Name: "Sixth", Summary: "One more.", Icon: "plus"}
}

func (sixth) Fields() []plugins.Field {
	return []plugins.Field{
		{Name: "place", Label: "Place", Kind: plugins.FieldURL, Required: true},
		{Name: "colour", Label: "Colour", Kind: plugins.FieldChoice, Options: []plugins.Option{{Value: "red", Label: "Red"}}},
	}
}

func (s sixth) Open(settings models.Settings) (plugins.Source, error) {
	v := plugins.Decode(s.Fields(), settings)
	return sixthSource{v.Text("place") + v.Text("colour")}, v.Err()
}

type sixthSource struct{ where string }

func (s sixthSource) Check(context.Context, plugins.Env, plugins.Version) (plugins.Version, error) {
	return plugins.Version{Revision: s.where}, nil
}

func (sixthSource) Upstream() plugins.Upstream { return plugins.Upstream{} }

func (sixthSource) Build(context.Context, plugins.Env, plugins.Version, string) (plugins.Made, error) {
	return plugins.Made{}, nil
}

// TestAll_SixthTypeNeedsNoOtherList adds a type as its author would and uses it
// through the registry alone.
func TestAll_SixthTypeNeedsNoOtherList(t *testing.T) {
	r, err := plugins.NewRegistry(append(builtin.All(), sixth{})...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Get("sixth")
	if err != nil {
		t.Fatal(err)
	}
	source, err := p.Open(models.Settings{"place": "https://example.org/", "colour": "red"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := source.Check(t.Context(), plugins.Env{}, plugins.Version{})
	if err != nil || v.Revision != "https://example.org/red" {
		t.Errorf("%+v %v", v, err)
	}
	if _, err := p.Open(models.Settings{"place": "https://example.org/", "colour": "blue"}); models.CodeOf(err) != models.Invalid {
		t.Errorf("a wrong choice: %v", err)
	}
}

// TestAll_OnlyPlaceThatNamesTypes reads the sources: every folder with an update
// type is in All, and nothing else below plugins imports one, other types apart:
// a makefile may lie in a git repository.
func TestAll_OnlyPlaceThatNamesTypes(t *testing.T) {
	types := map[string]bool{}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		dir := filepath.Join("..", entry.Name())
		if entry.IsDir() && holds(t, dir, ") Info() plugins.Info {") {
			types[entry.Name()] = true
		}
	}
	if len(types) != len(builtin.All()) {
		t.Errorf("folders with update types: %v; All has %d", types, len(builtin.All()))
	}
	for _, p := range builtin.All() {
		if !types[p.Info().ID] {
			t.Errorf("%s has no folder of its name", p.Info().ID)
		}
	}
	err = filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			name, ours := strings.CutPrefix(imported, "hefring/plugins/")
			where, _, _ := strings.Cut(strings.TrimPrefix(filepath.ToSlash(path), "../"), "/")
			if ours && types[name] && !types[where] && where != "builtin" {
				t.Errorf("%s names the update type %s", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, dir, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), text) {
			return true
		}
	}
	return false
}
