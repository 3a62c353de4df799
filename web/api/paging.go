package api

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"hefring/internal/fleet"
)

// Steps is how much of a list is asked for, and from where on.
type Steps struct {
	Caller

	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"500" doc:"How many at most"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"Where to go on: next of the part before"`
}

// Paging narrows a list, too.
type Paging struct {
	Steps

	Query string `query:"query" maxLength:"200" doc:"Part of the name"`
}

// InState narrows a list of sites, too.
type InState struct {
	State string `query:"state" enum:"installing,enabled,disabled,upgrading,broken,deleting" doc:"Only those in this state"`
}

// asking is a request for a part of a list.
type asking interface {
	filter() (fleet.Filter, error)
	steps() Steps
}

func (s Steps) steps() Steps { return s }

func (s Steps) filter() (fleet.Filter, error) {
	after, err := s.after()
	return fleet.Filter{Limit: s.Limit + 1, After: after}, err // one more tells whether it goes on
}

func (p Paging) filter() (fleet.Filter, error) {
	f, err := p.Steps.filter()
	f.Query = p.Query
	return f, err
}

// cursor is the last row of a part, and of which list.
type cursor struct {
	List string `json:"l"`
	Name string `json:"n,omitempty"`
	ID   int64  `json:"i,omitempty"`
}

func (s Steps) after() (fleet.Position, error) {
	if s.Cursor == "" {
		return fleet.Position{}, nil
	}
	var c cursor
	text, err := base64.RawURLEncoding.DecodeString(s.Cursor)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || c.List != s.url.Path || c.Name == "" && c.ID == 0 {
		return fleet.Position{}, huma.NewError(http.StatusUnprocessableEntity, "This cursor is not of this list. Leave it out to begin anew.",
			&huma.ErrorDetail{Location: "query.cursor", Message: "Give next of the part before, as it is."})
	}
	return fleet.Position{Name: c.Name, ID: c.ID}, nil
}

func (s Steps) cursor(p fleet.Position) string {
	text, _ := json.Marshal(cursor{s.url.Path, p.Name, p.ID}) //nolint:errchkjson // it has nothing that cannot be written
	return base64.RawURLEncoding.EncodeToString(text)
}

// Page is one part of a list.
type Page[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Total int    `json:"total" doc:"How many there are altogether; 1001 stands for more than 1000 where counting takes long"`
	Next  string `json:"next,omitempty" doc:"Give it as cursor for the next part; none at the end"`
}

// follow is the link to the next part.
func (p Page[T]) follow(from url.URL) string {
	if p.Next == "" {
		return ""
	}
	query := from.Query()
	query.Set("cursor", p.Next)
	return fmt.Sprintf("<%s?%s>; rel=\"next\"", from.EscapedPath(), query.Encode())
}

// listed is a part of a list that may be long: place says where a row stands in it.
func listed[R, T any](in asking, view func(R) T, place func(R) fleet.Position, ask func(fleet.Filter) ([]R, int, error)) (Page[T], error) {
	filter, err := in.filter()
	if err != nil {
		return Page[T]{}, err
	}
	rows, total, err := ask(filter)
	return pageOf(in.steps(), rows, total, view, place), err
}

func pageOf[R, T any](s Steps, rows []R, total int, view func(R) T, place func(R) fleet.Position) Page[T] {
	page := Page[T]{Total: total}
	if len(rows) > s.Limit {
		rows = rows[:s.Limit]
		page.Next = s.cursor(place(rows[len(rows)-1]))
	}
	page.Items = make([]T, 0, len(rows))
	for _, row := range rows {
		page.Items = append(page.Items, view(row))
	}
	return page
}

// whole is a part of a list that is short and known as a whole. It is put in the
// order of its places: by name, then by number.
func whole[R, T any](s Steps, rows []R, err error, view func(R) T, place func(R) fleet.Position) (Page[T], error) {
	if err != nil {
		return Page[T]{}, err
	}
	after, err := s.after()
	if err != nil {
		return Page[T]{}, err
	}
	compare := func(a, b fleet.Position) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) }
	total := len(rows)
	slices.SortFunc(rows, func(a, b R) int { return compare(place(a), place(b)) })
	rest := slices.DeleteFunc(rows, func(r R) bool { return after != fleet.Position{} && compare(place(r), after) <= 0 })
	return pageOf(s, rest, total, view, place), nil
}

// same shows a row as it is.
func same[R any](row R) R { return row }
