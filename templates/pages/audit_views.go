package pages

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
	"hefring/templates/components"
	"hefring/templates/layouts"
)

// Audit is the record of changes.
type Audit struct {
	layouts.Page
	Query  url.Values // what the record is narrowed to
	Rows   []fleet.EventRow
	First  bool   // it is the first page
	Next   string // where the next one begins; "" when there is none
	Error  string
	Errors map[string]string
}

// narrowed tells whether anything is looked for.
func (a Audit) narrowed() bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(a.Query)), func(name string) bool { return a.Query.Get(name) != "" })
}

// only names the one thing that the record is narrowed to by its number; "" for none.
func (a Audit) only() string {
	switch {
	case a.Query.Get("id") == "":
		return ""
	case len(a.Rows) > 0:
		return eventSubject(a.Rows[0])
	default:
		return KindText(models.SubjectKind(a.Query.Get("kind"))) + " " + a.Query.Get("id")
	}
}

// link is the address of the same search somewhere else.
func (a Audit) link(path, before string) string {
	query := maps.Clone(a.Query)
	if before != "" {
		query.Set("before", before)
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

func (a Audit) fields() []components.Field {
	kinds := []plugins.Option{{Value: "", Label: "anything"}}
	for _, kind := range []models.SubjectKind{
		models.SubjectSite, models.SubjectDistribution, models.SubjectPlatform, models.SubjectUser, models.SubjectClient,
		models.SubjectServer, models.SubjectChannel, models.SubjectQueue,
	} {
		kinds = append(kinds, plugins.Option{Value: string(kind), Label: KindText(kind)})
	}
	doors := []plugins.Option{{Value: "", Label: "anywhere"}}
	for _, door := range models.Doors() {
		doors = append(doors, plugins.Option{Value: string(door), Label: DoorText(door)})
	}
	field := func(name, label, kind, help string) components.Field {
		return components.Field{ID: name, Name: name, Label: label, Kind: kind, Help: help, Value: a.Query.Get(name), Error: a.Errors[name], Width: "w4", Optional: true, Auto: "off"}
	}
	about, door := field("kind", "What it is about", "choice", ""), field("door", "From", "choice", "")
	about.Options, about.Optional, door.Options, door.Optional = kinds, false, doors, false
	return []components.Field{
		field("actor", "Who", "text", ""), field("verb", "Did what", "text", "For example edit, lock, sign in failed."), field("address", "Address", "text", ""),
		about, field("name", "Its name", "text", ""), door,
		field("since", "From the day", "date", ""), field("until", "To the day", "date", ""),
	}
}

// KindText is what pages call what an event speaks of.
func KindText(kind models.SubjectKind) string {
	switch kind {
	case models.SubjectServer:
		return "database server"
	case models.SubjectChannel:
		return "channel of notices"
	case models.SubjectUpstream, models.SubjectTarget:
		return "source"
	default:
		return string(kind)
	}
}

// DoorText is what pages call a door.
func DoorText(door models.Door) string {
	switch door {
	case models.DoorPage:
		return "a page"
	case models.DoorAPI:
		return "the API"
	case models.DoorCommand:
		return "the command line"
	case models.DoorWebhook:
		return "a webhook"
	case models.DoorSchedule:
		return "the schedule"
	case models.DoorTask:
		return "a task"
	default:
		return "not recorded"
	}
}

// eventSubject names what an event speaks of.
func eventSubject(e fleet.EventRow) string {
	switch {
	case e.Name != "":
		return e.Name
	case e.Subject.ID != 0:
		return fmt.Sprintf("%s %d", KindText(e.Kind), e.Subject.ID)
	default:
		return KindText(e.Kind)
	}
}

// subjectURL is the page of what an event speaks of; "" for none.
func subjectURL(e fleet.EventRow) string {
	place := map[models.SubjectKind]string{
		models.SubjectSite: "sites", models.SubjectDistribution: "distributions", models.SubjectPlatform: "platforms", models.SubjectUser: "users",
		models.SubjectClient: "clients", models.SubjectServer: "databases", models.SubjectChannel: "notices",
	}[e.Kind]
	if place == "" || e.Name == "" {
		return ""
	}
	return fmt.Sprintf("/%s/%d", place, e.Subject.ID)
}

// recordOf narrows the record of changes to one thing.
func recordOf(kind models.SubjectKind, id int64) url.Values {
	return url.Values{"kind": {string(kind)}, "id": {strconv.FormatInt(id, 10)}}
}

func orNothing(value string) string {
	if value == "" {
		return "nothing"
	}
	return value
}
