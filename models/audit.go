package models

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Door is the way by which somebody came to Hefring.
type Door string

// Doors.
const (
	DoorPage     Door = "page"     // a browser
	DoorAPI      Door = "api"      // a program with a token
	DoorCommand  Door = "command"  // the command line
	DoorWebhook  Door = "webhook"  // a source that said that it changed
	DoorSchedule Door = "schedule" // what Hefring does by itself at its time
	DoorTask     Door = "task"     // what a task does that somebody or the schedule started
)

// Doors lists them.
func Doors() []Door {
	return []Door{DoorPage, DoorAPI, DoorCommand, DoorWebhook, DoorSchedule, DoorTask}
}

// Entrance is where a change comes from.
type Entrance struct {
	Door    Door   // "" is not known: it was recorded by an older Hefring
	Address string // of the network, or "" where there is none
	Token   string // of a program: its token's name and what that is narrowed to, see Token.Said
}

// ActorNobody is the actor of what was done by somebody who is not known yet.
const ActorNobody = "somebody"

// Event is one line of the append-only record of changes.
type Event struct {
	ID      int64
	At      time.Time
	Actor   string
	Door    Door   `gorm:"default:''"` // where it comes from, see Entrance
	Address string `gorm:"default:''"`
	Token   string `gorm:"default:''" audit:"-"` // its name, not the token itself
	Verb    string // create promote lock upgrade pause …, or a state
	Subject `gorm:"embedded"`
	Text    string  // what changed, in one sentence
	Changes Changes `gorm:"serializer:json"` // what it was before and after; nil where nothing was
}

// With gives the event with what changed between two structs of one type. One of
// them may be nil: what was made has no before, what was deleted no after.
func (e Event) With(before, after any) Event {
	e.Changes = Diff(before, after)
	return e
}

// Moved gives the event with a step from state to state.
func (e Event) Moved(from, to string) Event { return e.Changed("state", from, to) }

// Changed gives the event with what one field was and is; "" is nothing.
func (e Event) Changed(field, before, after string) Event {
	e.Changes = Changes{{Field: field, Before: before, After: after}}
	return e
}

// Replaced gives the event with a secret that is another one now, or is no more.
func (e Event) Replaced(secret string) Event {
	e.Changes = Changes{{Field: secret, Secret: true}}
	return e
}

// Change is one field that changed. Of a secret it says that it changed and no more.
type Change struct {
	Field  string `json:"field"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	Secret bool   `json:"secret,omitempty"`
}

// Changes are the fields that changed, by name.
type Changes []Change

// Bounds of what one event keeps. Both are characters that people type, so a row
// never takes up more than some 100 kB.
const (
	maxChanges     = 60
	maxChangeValue = 400
)

// Diff compares two structs of one type field by field and gives what changed. One of
// them may be nil. Fields whose tag says audit:"secret", and all bytes, which are
// sealed or hashed, are only said to have changed; those whose tag says audit:"-" are
// bookkeeping and left out. A password inside a URL is blotted out.
func Diff(before, after any) Changes {
	was, is := map[string]field{}, map[string]field{}
	flatten(was, "", reflect.ValueOf(before), false)
	flatten(is, "", reflect.ValueOf(after), false)
	names := maps.Clone(was)
	maps.Copy(names, is)
	var list Changes
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, b := was[name], is[name]
		if a.text == b.text {
			continue
		}
		if a.secret || b.secret {
			list = append(list, Change{Field: name, Secret: true})
			continue
		}
		list = append(list, Change{Field: name, Before: a.said(), After: b.said()})
	}
	return list[:min(len(list), maxChanges)]
}

// field is one field of a struct as text. Empty is the same as not there.
type field struct {
	text   string
	secret bool
	flag   bool // what is yes or no
}

// said is the field as the record shows it. What is no says so beside a yes.
func (f field) said() string {
	if f.flag && f.text == "" {
		return "no"
	}
	return shown(f.text)
}

// urlUser is who an address of the record is asked as.
var urlUser = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s]*@`)

// shown bounds a value and takes out what nobody may read.
func shown(text string) string {
	text = Blot(urlUser.ReplaceAllString(text, "${1}…@"))
	if utf8.RuneCountInString(text) > maxChangeValue {
		text = string([]rune(text)[:maxChangeValue]) + "…"
	}
	return strings.ToValidUTF8(text, "�")
}

// flatten adds the fields of a value to all under their names in words.
func flatten(all map[string]field, name string, v reflect.Value, secret bool) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if !v.IsValid() {
		return
	}
	switch _, isTime := reflect.TypeAssert[time.Time](v); {
	case v.Kind() == reflect.Struct && !isTime:
		flattenStruct(all, name, v, secret)
	case v.Kind() == reflect.Map && !secret:
		for _, key := range v.MapKeys() {
			flatten(all, under(name, fmt.Sprint(key.Interface())), v.MapIndex(key), secret)
		}
	default:
		bytes := v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8
		all[name] = field{text: plain(v), secret: secret || bytes, flag: v.Kind() == reflect.Bool}
	}
}

func flattenStruct(all map[string]field, name string, v reflect.Value, secret bool) {
	for f, value := range v.Fields() {
		tag := f.Tag.Get("audit")
		if !f.IsExported() || tag == "-" || slices.Contains([]string{"ID", "CreatedAt", "UpdatedAt"}, f.Name) {
			continue
		}
		inner := name
		if !f.Anonymous {
			inner = under(name, words(f.Name))
		}
		flatten(all, inner, value, secret || tag == "secret")
	}
}

func under(name, more string) string {
	return strings.TrimSpace(name + " " + more)
}

// plain writes a value as text; a zero value is "".
func plain(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	switch value := v.Interface().(type) {
	case time.Time:
		return value.UTC().Format(time.RFC3339)
	case fmt.Stringer:
		return value.String()
	case []string:
		return strings.Join(value, ", ")
	case bool:
		return "yes"
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Int, reflect.Int64, reflect.Int32:
		return strconv.FormatInt(v.Int(), 10)
	default:
		text, err := json.Marshal(v.Interface())
		if err != nil {
			return fmt.Sprint(v.Interface())
		}
		return string(text)
	}
}

// words writes a field's name as people do: CheckEvery is check every, ClientID is
// client.
func words(name string) string {
	name = cmp.Or(strings.TrimSuffix(name, "ID"), name)
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		begins := i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if begins {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}
