package api

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Bounds of what is read and repeated of a request that is not understood.
const (
	maxStray  = 64 // bytes of a name, and of a body where none belongs
	maxStrays = 10 // names
)

// understood refuses what an operation would not heed: a filter whose name is
// misspelt would act on everything.
func (s *server) understood(ctx huma.Context, next func(huma.Context)) {
	address := ctx.URL()
	query, err := url.ParseQuery(address.RawQuery)
	if err != nil {
		s.misunderstood(ctx, http.StatusBadRequest, "The query of this address cannot be read. Write it as name=value, joined by &, with other signs as %XX.")
		return
	}
	takes := queryOf(ctx.Operation())
	if stray := strays(query, takes); len(stray) > 0 {
		s.misunderstood(ctx, http.StatusUnprocessableEntity, "This operation would not heed all of the query, so nothing was done. "+whatIsTaken(takes), stray...)
		return
	}
	if ctx.Operation().RequestBody == nil && hasBody(ctx.BodyReader()) {
		s.misunderstood(ctx, http.StatusUnprocessableEntity, "This operation takes no body, and would not heed this one, so nothing was done. "+whatIsTaken(takes))
		return
	}
	next(ctx)
}

func (s *server) misunderstood(ctx huma.Context, status int, message string, details ...error) {
	_ = huma.WriteErr(s.api, ctx, status, message, details...) // the program hung up
}

// queryOf gives the names that an operation takes in the query, in order.
func queryOf(o *huma.Operation) []string {
	var names []string
	for _, p := range o.Parameters {
		if p.In == "query" {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

// strays are the parts of a query that an operation would not heed.
func strays(query url.Values, takes []string) []error {
	var found []error
	for _, name := range slices.Sorted(maps.Keys(query)) {
		wrong := ""
		if !slices.Contains(takes, name) {
			wrong = "There is no such parameter."
		} else if len(query[name]) > 1 {
			wrong = "Give it once."
		}
		if wrong != "" && len(found) < maxStrays {
			name = strings.ToValidUTF8(name[:min(len(name), maxStray)], "")
			found = append(found, &huma.ErrorDetail{Location: "query." + name, Message: wrong})
		}
	}
	return found
}

func whatIsTaken(names []string) string {
	if len(names) == 0 {
		return "It takes nothing in the query."
	}
	return fmt.Sprintf("It takes in the query: %s.", strings.Join(names, ", "))
}

// hasBody tells whether a body says something. Some programs send an empty object
// with whatever they send.
func hasBody(body io.Reader) bool {
	if body == nil {
		return false
	}
	text, err := io.ReadAll(io.LimitReader(body, maxStray))
	text = bytes.TrimSpace(text)
	return err != nil || len(text) > 0 && string(text) != "{}" && string(text) != "null"
}
