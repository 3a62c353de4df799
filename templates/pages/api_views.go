package pages

import "hefring/templates/layouts"

// APIReference describes the API to people: what its OpenAPI document says.
type APIReference struct {
	layouts.Page
	Base    string // address of the API
	Groups  []APIGroup
	Schemas []APISchema
}

// APIGroup is the operations about one kind of thing.
type APIGroup struct {
	Name       string
	Operations []APIOperation
}

// APIOperation is one operation.
type APIOperation struct {
	ID, Method, Path, Summary string
	Parameters, Body          []APIField
	Status                    string // of an answer that all is well
	Answer                    APIField
	Curl                      string // an example; the address of the API comes before its end
}

// APIField is a parameter, a field, or what an answer is.
type APIField struct {
	Name, Place, Type, Doc string
	Schema                 string // name of what it holds; "" is nothing of its own
	Required               bool
}

// APISchema is what a kind of object has.
type APISchema struct {
	Name   string
	Fields []APIField
}

// example is a command that calls an operation.
func (v APIReference) example(o APIOperation) string { return o.Curl + " '" + v.Base + o.Path + "'" }

func needed(required bool) string {
	if required {
		return "needed"
	}
	return ""
}
