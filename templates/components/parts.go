package components

import (
	"fmt"
	"strings"

	"hefring/internal/fleet"
	"hefring/models"
	"hefring/plugins"
)

// Form is what every form needs beside its fields.
type Form struct {
	CSRF string // token against forged forms
	Once string // token that makes a double post harmless; "" where none is needed
	// Allows tells whether the person may ask for an address; nil: for all.
	Allows func(url string) bool
	// SeesURL tells whether the person may look at an address; nil: at each.
	SeesURL func(url string) bool
}

// May tells whether a button or link to an address belongs on the page.
func (f Form) May(url string) bool { return f.Allows == nil || f.Allows(url) }

// Sees tells whether the person who asks may look at an address.
func (f Form) Sees(url string) bool { return f.SeesURL == nil || f.SeesURL(url) }

// Action is one button: a form that posts to one address.
type Action struct {
	URL    string
	Label  string
	About  string // said to screen readers after the label, where many buttons look alike
	Icon   string
	Style  string // go stop quiet, or "" for an ordinary button
	ID     string // keeps the focus when the region is drawn anew
	Hidden map[string]string
}

func (a Action) class() string { return strings.TrimSpace("btn " + a.Style) }

// Notice is one sentence over a page, about what was just done.
type Notice struct {
	Key  string // succeeded, warning, failed
	Text string
}

// Field is one control of a form with all that belongs to it.
type Field struct {
	ID, Name, Label   string
	Help, Placeholder string
	Value, Error      string
	Kind              string // text, password, bool, choice, number, date, lines, secretlines
	Options           []plugins.Option
	Optional, Mono    bool
	Focus             bool   // the first one with an error
	Width             string // w12 w8 w4 w3, or "" for half
	Auto              string // autocomplete
	Min, Max          int    // of a number
	Set               bool   // a secret is there; leaving it empty keeps it
	When              string // id of the control that it depends on; "" for none
	WhenValues        string // of that control, separated by spaces
}

func (f Field) describedBy() string {
	var ids []string
	if f.Error != "" {
		ids = append(ids, f.ID+"-e")
	}
	if f.Help != "" {
		ids = append(ids, f.ID+"-h")
	}
	return strings.Join(ids, " ")
}

func (f Field) secret() bool { return f.Kind == "password" || f.Kind == "secretlines" }

// shown is what a control may hold when it is drawn: secrets are never sent back.
func (f Field) shown() string {
	if f.secret() {
		return ""
	}
	return f.Value
}

func (f Field) placeholder() string {
	if f.secret() && f.Set {
		return "kept as it is; type to replace it"
	}
	return f.Placeholder
}

func (f Field) class() string { return strings.TrimSpace("f " + f.Width) }

func (f Field) inputType() string {
	if f.Kind == "password" || f.Kind == "number" || f.Kind == "date" {
		return f.Kind
	}
	return "text"
}

func (f Field) auto() string {
	if f.Auto == "" {
		return "off"
	}
	return f.Auto
}

// PluginField draws a setting of an update type; value and wrong are what was
// typed and what is wrong with it.
func PluginField(updateType string, p plugins.Field, value, wrong string) Field {
	f := Field{
		ID: updateType + "-" + p.Name, Name: updateType + "." + p.Name,
		Label: p.Label, Help: p.Help, Placeholder: p.Placeholder, Value: value, Error: wrong,
		Kind: "text", Options: p.Options, Optional: !p.Required,
	}
	switch p.Kind {
	case plugins.FieldBool:
		f.Kind, f.Optional = "bool", false
	case plugins.FieldChoice:
		f.Kind, f.Optional = "choice", false
	case plugins.FieldURL, plugins.FieldPath:
		f.Mono = true
	case plugins.FieldNumber:
		f.Kind, f.Max = "number", 1<<31-1
	case plugins.FieldLines:
		f.Kind, f.Mono, f.Width = "lines", true, "w12"
	case plugins.FieldSecret:
		f.Kind, f.Auto = "password", "new-password"
	case plugins.FieldSecretLines:
		f.Kind, f.Mono, f.Width = "secretlines", true, "w12"
	case plugins.FieldText:
	}
	if p.When != nil {
		f.When, f.WhenValues = updateType+"-"+p.When.Field, strings.Join(p.When.Values, " ")
	}
	if p.Wide {
		f.Width = "w12"
	}
	return f
}

// Pages says where in a long list the reader is.
type Pages struct {
	Page, Size, Total int
	Link              func(page int) string
}

func (p Pages) from() int { return (p.Page-1)*p.Size + 1 }
func (p Pages) to() int {
	if p.many() {
		return p.Page * p.Size
	}
	return min(p.Page*p.Size, p.Total)
}
func (p Pages) more() bool { return p.Page*p.Size < p.Total || p.many() }

// single tells whether the list is no longer than the page.
func (p Pages) single() bool { return p.Page == 1 && !p.more() }

// many tells whether there are more than were counted.
func (p Pages) many() bool { return p.Total == fleet.Counted+1 }

func (p Pages) total() string {
	if p.many() {
		return count(fleet.Counted) + "+"
	}
	return count(p.Total)
}

// Option is one choice of a filter over a list.
type Option struct {
	Label, URL string
	Count      int // -1: not shown
	Current    bool
}

// StepLog is one step of an upgrade with its lines.
type StepLog struct {
	Step  models.UpgradeStep
	Kind  models.UpgradeKind // of the move
	Over  bool               // the upgrade has ended
	Lines []models.TaskLine
}

func (s StepLog) title() string { return StepTitle(s.Kind, s.Step.Name) }

func (s StepLog) status() Status { return StepStatus(s.Step.State, s.Over) }

func (s StepLog) open() bool {
	return s.Step.State == models.StepFailed || s.Step.State == models.StepRunning ||
		s.Step.State == models.StepUndone && hasError(s.Lines)
}

func hasError(lines []models.TaskLine) bool {
	for _, line := range lines {
		if line.Level == models.LevelError {
			return true
		}
	}
	return false
}

func (s StepLog) message() string {
	switch {
	case s.Step.Message != "":
		return s.Step.Message
	case s.Step.State == models.StepPending && s.Over:
		return "not reached"
	case s.Step.State == models.StepSkipped:
		return "not needed"
	default:
		return StepHint(s.Kind, s.Step.Name)
	}
}

func lineID(id int64) string { return fmt.Sprintf("l%d", id) }

func count(n int) string { return Figure(int64(n)) }

// wave is the path of the line that marks the point of no return.
func wave() string { return "M0 4q5-5 10 0" + strings.Repeat("t10 0", 158) }

// StreamURL is where the lines after these are streamed from.
func StreamURL(taskID int64, lines []models.TaskLine) string {
	var after int64
	if len(lines) > 0 {
		after = lines[len(lines)-1].ID
	}
	return fmt.Sprintf("/tasks/%d/stream?after=%d", taskID, after)
}

// embedded tells whether a task is watched best by its log; the others have
// pages of their own with steps or children.
func embedded(kind models.TaskKind) bool {
	switch kind {
	case models.TaskUpgrade, models.TaskUpgradePlatform, models.TaskRollback, models.TaskRestore, models.TaskCloneTo:
		return false
	default:
		return true
	}
}
