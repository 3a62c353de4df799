package plugins

import (
	"fmt"
	"regexp"
	"slices"

	"hefring/models"
)

// Registry holds the update types that this binary knows.
type Registry struct{ plugins []Plugin }

var (
	idPattern   = regexp.MustCompile(`^[a-z][a-z0-9]{0,31}$`)
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
)

// NewRegistry checks what the types say of themselves: a malformed or repeated
// id or field is a mistake in the program and ends its start.
func NewRegistry(plugins ...Plugin) (*Registry, error) {
	seen := map[string]bool{}
	for _, p := range plugins {
		id := p.Info().ID
		if !idPattern.MatchString(id) {
			return nil, fmt.Errorf("register update type %q: its id must be a lower-case word", id)
		}
		if seen[id] {
			return nil, fmt.Errorf("register update type %q: the id is taken", id)
		}
		seen[id] = true
		if err := checkFields(p.Fields()); err != nil {
			return nil, fmt.Errorf("register update type %q: %w", id, err)
		}
	}
	return &Registry{slices.Clone(plugins)}, nil
}

func checkFields(fields []Field) error {
	seen := map[string]bool{}
	for _, f := range fields {
		switch {
		case !namePattern.MatchString(f.Name):
			return fmt.Errorf("field %q: its name must be a lower-case word", f.Name)
		case seen[f.Name]:
			return fmt.Errorf("field %q: the name is taken", f.Name)
		case f.Label == "":
			return fmt.Errorf("field %q: it has no label", f.Name)
		case !slices.Contains(kinds(), f.Kind):
			return fmt.Errorf("field %q: unknown kind %q", f.Name, f.Kind)
		case (f.Kind == FieldChoice) != (len(f.Options) > 0):
			return fmt.Errorf("field %q: a choice, and nothing else, has options", f.Name)
		}
		if f.When != nil && !seen[f.When.Field] {
			return fmt.Errorf("field %q: it depends on %q, which must come before it", f.Name, f.When.Field)
		}
		seen[f.Name] = true
	}
	return nil
}

func kinds() []FieldKind {
	return []FieldKind{
		FieldText, FieldURL, FieldPath, FieldBool, FieldChoice, FieldLines, FieldNumber, FieldSecret, FieldSecretLines,
	}
}

// Get finds the update type with that id; models.NotFound when there is none.
func (r *Registry) Get(id string) (Plugin, error) {
	for _, p := range r.plugins {
		if p.Info().ID == id {
			return p, nil
		}
	}
	return nil, models.Errorf(models.NotFound, "There is no update type %q in this version of Hefring.", id)
}

// All lists the update types in the order in which a form offers them.
func (r *Registry) All() []Plugin { return slices.Clone(r.plugins) }
