package plugins

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"hefring/models"
)

const (
	maxValue = 2000     // bytes of one setting
	maxLines = 64 << 10 // bytes of one setting of several lines
	maxPath  = 500
)

// Values are settings that were checked against the fields of an update type.
type Values struct {
	fields []Field
	values models.Settings
	wrong  map[string]string
}

// Decode checks settings strictly against fields: names that are no field are
// refused, required ones must be there, and each value must fit its kind. Read
// the values, Refuse those that the type itself cannot use, and end with Err.
func Decode(fields []Field, settings models.Settings) *Values {
	v := &Values{fields: fields, values: models.Settings{}, wrong: map[string]string{}}
	for name := range settings {
		if !v.has(name) {
			v.wrong[name] = "This update type has no such setting."
		}
	}
	for _, f := range fields {
		v.decode(f, settings[f.Name])
	}
	return v
}

func (v *Values) decode(f Field, text string) {
	if !v.wanted(f) {
		return
	}
	if !f.Kind.Secret() {
		text = strings.TrimSpace(text)
	}
	if text == "" && f.Kind != FieldBool {
		text = f.Default
	}
	if text == "" {
		if f.Required {
			v.wrong[f.Name] = "Fill this in."
		}
		return
	}
	if message := problem(f, text); message != "" {
		v.wrong[f.Name] = message
		return
	}
	switch f.Kind {
	case FieldPath:
		text = CleanPath(text)
	case FieldLines, FieldSecretLines:
		text = strings.ReplaceAll(text, "\r\n", "\n") // as browsers send them
	default:
	}
	v.values[f.Name] = text
}

// wanted tells whether a field counts: one that depends on another field may not.
func (v *Values) wanted(f Field) bool {
	return f.When == nil || slices.Contains(f.When.Values, v.values[f.When.Field])
}

// Wanted tells which fields count with these settings: one that depends on
// another field may not.
func Wanted(fields []Field, settings models.Settings) map[string]bool {
	v := Decode(fields, settings)
	wanted := map[string]bool{}
	for _, f := range fields {
		wanted[f.Name] = v.wanted(f)
	}
	return wanted
}

// Shaping gives the settings that are part of the build key: those that decide
// what is built, where they differ from the default.
func Shaping(fields []Field, settings models.Settings) models.Settings {
	wanted := Wanted(fields, settings)
	shaping := models.Settings{}
	for _, f := range fields {
		if value := settings[f.Name]; wanted[f.Name] && !f.Aside && !f.Kind.Secret() && value != "" && value != f.Default {
			shaping[f.Name] = value
		}
	}
	return shaping
}

// Secret tells whether values of the kind are kept encrypted and never shown.
func (k FieldKind) Secret() bool { return k == FieldSecret || k == FieldSecretLines }

// Lines tells whether values of the kind may have several lines.
func (k FieldKind) Lines() bool { return k == FieldLines || k == FieldSecretLines }

func problem(f Field, text string) string {
	limit := maxValue
	if f.Kind.Lines() {
		limit = maxLines
		text = strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ").Replace(text)
	}
	switch {
	case len(text) > limit:
		return fmt.Sprintf("Use at most %d characters.", limit)
	case strings.ContainsFunc(text, unprintable):
		return "Leave out line breaks and control characters."
	case strings.HasPrefix(text, "-") && !f.Kind.Secret() && !f.Kind.Lines():
		return "It must not begin with a hyphen."
	}
	return kindProblem(f, text)
}

func kindProblem(f Field, text string) string {
	switch f.Kind {
	case FieldPath:
		return pathProblem(text)
	case FieldBool:
		if text != "1" {
			return "Use 1 for yes, and nothing for no."
		}
	case FieldChoice:
		if !slices.ContainsFunc(f.Options, func(o Option) bool { return o.Value == text }) {
			return "Choose one of the offered values."
		}
	case FieldURL:
		if strings.ContainsFunc(text, unicode.IsSpace) {
			return "An address holds no spaces."
		}
	case FieldNumber:
		if _, err := strconv.ParseUint(text, 10, 31); err != nil {
			return "Use a whole number, such as 30."
		}
	case FieldText, FieldLines, FieldSecret, FieldSecretLines:
	}
	return ""
}

func pathProblem(text string) string {
	const advice = " Use a path inside of the source, such as web or sites/main."
	switch {
	case len(text) > maxPath:
		return fmt.Sprintf("Use at most %d characters.", maxPath)
	case strings.HasPrefix(text, "/"), strings.HasPrefix(text, "~"):
		return "It must not begin with / or ~." + advice
	case strings.Contains(text, `\`), strings.Contains(text, ":"):
		return "It must not hold a backslash or colon." + advice
	}
	for part := range strings.SplitSeq(text, "/") {
		switch {
		case part == "..":
			return "It must not hold “..”." + advice
		case strings.HasPrefix(part, "-"):
			return "No part may begin with a hyphen." + advice
		case strings.EqualFold(part, ".git"):
			return "It must not lead into .git." + advice
		}
	}
	return ""
}

// unprintable finds control characters, also those that turn the direction of
// writing, and what is no UTF-8.
func unprintable(r rune) bool {
	return r == unicode.ReplacementChar || unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
}

// CleanPath brings a relative path into its one form; the top is "".
func CleanPath(text string) string {
	text = path.Clean(text)
	if text == "." {
		return ""
	}
	return text
}

// Text gives a setting, its default, or "".
func (v *Values) Text(name string) string {
	if !v.has(name) {
		panic("plugin reads the setting " + name + " and has no field for it")
	}
	return v.values[name]
}

// Number gives a setting of FieldNumber; 0 when it is empty.
func (v *Values) Number(name string) int {
	n, err := strconv.ParseUint(v.Text(name), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// Bool tells whether a yes-or-no setting is on.
func (v *Values) Bool(name string) bool { return v.Text(name) == "1" }

// Refuse marks a setting as wrong, unless it is so already.
func (v *Values) Refuse(name, message string) {
	if !v.has(name) {
		panic("plugin refuses the setting " + name + " and has no field for it")
	}
	if v.wrong[name] == "" {
		v.wrong[name] = message
	}
}

// Err is nil, or one models.Error with every wrong setting in its Fields.
func (v *Values) Err() error {
	if len(v.wrong) == 0 {
		return nil
	}
	return models.InvalidFields(v.wrong)
}

func (v *Values) has(name string) bool {
	return slices.ContainsFunc(v.fields, func(f Field) bool { return f.Name == name })
}
