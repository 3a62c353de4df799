package plugins_test

import (
	"errors"
	"strings"
	"testing"

	"hefring/models"
	"hefring/plugins"
)

// fake is an update type of a test.
type fake struct {
	id     string
	fields []plugins.Field
}

func (f fake) Info() plugins.Info      { return plugins.Info{ID: f.id, Name: f.id} }
func (f fake) Fields() []plugins.Field { return f.fields }
func (f fake) Open(models.Settings) (plugins.Source, error) {
	return nil, errors.New("not used")
}

func TestNewRegistry_RefusesMistakes(t *testing.T) {
	text := plugins.Field{Name: "a", Label: "A", Kind: plugins.FieldText}
	for want, list := range map[string][]plugins.Plugin{
		"id is taken":         {fake{id: "git"}, fake{id: "git"}},
		"lower-case word":     {fake{id: "Git"}},
		"name is taken":       {fake{id: "x", fields: []plugins.Field{text, text}}},
		"name must be":        {fake{id: "x", fields: []plugins.Field{{Name: "A b", Label: "A", Kind: plugins.FieldText}}}},
		"no label":            {fake{id: "x", fields: []plugins.Field{{Name: "a", Kind: plugins.FieldText}}}},
		"unknown kind":        {fake{id: "x", fields: []plugins.Field{{Name: "a", Label: "A", Kind: "colour"}}}},
		"choice, and nothing": {fake{id: "x", fields: []plugins.Field{{Name: "a", Label: "A", Kind: plugins.FieldChoice}}}},
	} {
		if _, err := plugins.NewRegistry(list...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestRegistry_Get_KnownAndUnknown(t *testing.T) {
	r, err := plugins.NewRegistry(fake{id: "b"}, fake{id: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := r.Get("a"); err != nil || p.Info().ID != "a" {
		t.Errorf("Get(a): %v %v", p, err)
	}
	if _, err := r.Get("c"); models.CodeOf(err) != models.NotFound {
		t.Errorf("Get(c): %v", err)
	}
	if all := r.All(); len(all) != 2 || all[0].Info().ID != "b" {
		t.Errorf("All: %v", all)
	}
}

func fields() []plugins.Field {
	return []plugins.Field{
		{Name: "url", Label: "URL", Kind: plugins.FieldURL, Required: true},
		{Name: "folder", Label: "Folder", Kind: plugins.FieldPath},
		{Name: "on", Label: "On", Kind: plugins.FieldBool},
		{Name: "mode", Label: "Mode", Kind: plugins.FieldChoice, Default: "a", Options: []plugins.Option{{Value: "a"}, {Value: "b"}}},
	}
}

func TestDecode_Values(t *testing.T) {
	v := plugins.Decode(fields(), models.Settings{"url": " https://example.org/x ", "folder": "./web//site/", "on": "1"})
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	if v.Text("url") != "https://example.org/x" || v.Text("folder") != "web/site" || !v.Bool("on") || v.Text("mode") != "a" {
		t.Errorf("%q %q %v %q", v.Text("url"), v.Text("folder"), v.Bool("on"), v.Text("mode"))
	}
}

func TestDecode_RefusesAtTheField(t *testing.T) {
	v := plugins.Decode(fields(), models.Settings{"folder": "../x", "on": "yes", "mode": "c", "strange": "1"})
	var e *models.Error
	if err := v.Err(); !errors.As(err, &e) || e.Code != models.Invalid {
		t.Fatalf("%v", v.Err())
	}
	for _, name := range []string{"url", "folder", "on", "mode", "strange"} {
		if e.Fields[name] == "" {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestValues_Text_PanicsForNoField(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a setting without a field was read")
		}
	}()
	plugins.Decode(fields(), models.Settings{}).Text("secret")
}
