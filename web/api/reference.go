package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"hefring/templates/pages"
)

// Handler answers programs.
type Handler struct {
	http.Handler

	document *huma.OpenAPI
}

// Reference is what the document says, for people.
func (h *Handler) Reference() pages.APIReference {
	var list []pages.APIOperation
	tags := map[string]string{}
	for path, item := range h.document.Paths {
		for _, o := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if o != nil && len(o.Tags) > 0 {
				list = append(list, h.operation(path, o))
				tags[o.OperationID] = o.Tags[0]
			}
		}
	}
	slices.SortFunc(list, func(a, b pages.APIOperation) int {
		return cmp.Or(cmp.Compare(tags[a.ID], tags[b.ID]), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	var ref pages.APIReference
	for _, o := range list {
		if n := len(ref.Groups); n == 0 || ref.Groups[n-1].Name != tags[o.ID] {
			ref.Groups = append(ref.Groups, pages.APIGroup{Name: tags[o.ID]})
		}
		group := &ref.Groups[len(ref.Groups)-1]
		group.Operations = append(group.Operations, o)
	}
	schemas := h.document.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		ref.Schemas = append(ref.Schemas, pages.APISchema{Name: name, Fields: fields(schemas[name])})
	}
	return ref
}

func (h *Handler) operation(path string, o *huma.Operation) pages.APIOperation {
	v := pages.APIOperation{ID: o.OperationID, Method: o.Method, Path: path, Summary: o.Summary}
	for _, p := range o.Parameters {
		field := kind(p.Schema)
		field.Name, field.Place, field.Required, field.Doc = p.Name, "in the "+p.In, p.Required, cmp.Or(p.Description, p.Schema.Description)
		v.Parameters = append(v.Parameters, field)
	}
	curl := []string{`curl -H "Authorization: Bearer $TOKEN"`}
	if o.Method != http.MethodGet {
		curl = append(curl, "-X "+o.Method)
	}
	if o.RequestBody != nil && o.RequestBody.Content["application/json"] != nil {
		body := h.resolve(o.RequestBody.Content["application/json"].Schema)
		v.Body = fields(body)
		curl = append(curl, `-H "Content-Type: application/json"`, "-d '"+h.sample(body)+"'")
	}
	v.Curl = strings.Join(curl, " ")
	for _, status := range []string{"200", "202"} {
		if r := o.Responses[status]; r != nil && r.Content["application/json"] != nil {
			v.Status, v.Answer = status, kind(r.Content["application/json"].Schema)
		}
	}
	return v
}

func (h *Handler) resolve(s *huma.Schema) *huma.Schema {
	if s.Ref != "" {
		return h.document.Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// fields lists what an object has.
func fields(s *huma.Schema) []pages.APIField {
	var list []pages.APIField
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field := kind(s.Properties[name])
		field.Name, field.Required, field.Doc = name, slices.Contains(s.Required, name), s.Properties[name].Description
		list = append(list, field)
	}
	return list
}

// kind says what a schema is, in words.
func kind(s *huma.Schema) pages.APIField {
	switch {
	case s == nil:
		return pages.APIField{Type: "nothing"}
	case s.Ref != "":
		return pages.APIField{Schema: s.Ref[strings.LastIndex(s.Ref, "/")+1:]}
	case s.Type == huma.TypeArray && s.Items != nil:
		of := kind(s.Items)
		return pages.APIField{Type: strings.TrimSpace("list of " + of.Type), Schema: of.Schema}
	case len(s.Enum) > 0:
		var values []string
		for _, one := range s.Enum {
			if text := fmt.Sprint(one); text != "" {
				values = append(values, text)
			}
		}
		return pages.APIField{Type: "one of " + strings.Join(values, ", ")}
	case s.Format == "date-time":
		return pages.APIField{Type: "time (RFC 3339)"}
	case s.Default != nil:
		return pages.APIField{Type: fmt.Sprintf("%s, else %v", s.Type, s.Default)}
	}
	return pages.APIField{Type: s.Type}
}

// sample is a body with what is needed.
func (h *Handler) sample(s *huma.Schema) string {
	body := map[string]any{}
	for _, name := range s.Required {
		body[name] = value(s.Properties[name])
	}
	text, err := json.Marshal(body)
	if err != nil {
		return "{}"
	}
	return string(text)
}

func value(s *huma.Schema) any {
	switch {
	case s == nil:
		return nil
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type == huma.TypeInteger || s.Type == huma.TypeNumber:
		return 1
	case s.Type == huma.TypeBoolean:
		return true
	case s.Type == huma.TypeObject || s.Ref != "":
		return map[string]any{}
	case s.Type == huma.TypeArray:
		return []any{}
	}
	return "…"
}
