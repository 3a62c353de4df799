package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Setting is one setting as its flag, its variable and its key in the settings
// file name it.
type Setting struct {
	Name    string   // of the flag and of the key
	Env     string   // the environment variable
	Help    string   // what it does
	Default string   // as text; "" for none
	Choices []string // the only values, if there are such
	Takes   string   // what kind of value: text, path, number, time, list, or yes or no
	Secret  bool     // its value is never shown
	Holds   string   // for the name of a file that holds another setting's value: that setting's name
}

// Settings gives every setting in the order of Config.
func Settings() []Setting {
	list := make([]Setting, 0, 64)
	for _, flag := range newSheet().flags {
		list = append(list, settingOf(flag))
	}
	return list
}

// sheet is a Config with kong's flags for it, which decode text into it.
type sheet struct {
	config Config
	flags  []*kong.Flag
}

func newSheet() *sheet {
	s := &sheet{}
	// The tags of Config are fixed; the tests would see it.
	s.flags = kong.Must(&s.config, kong.NoDefaultHelp()).Model.Flags
	return s
}

func settingOf(f *kong.Flag) Setting {
	s := Setting{Name: f.Name, Help: f.Help, Default: f.Default, Takes: takes(f)}
	if len(f.Envs) > 0 {
		s.Env = f.Envs[0]
	}
	if f.Enum != "" {
		s.Choices = f.EnumSlice()
	}
	s.Secret, s.Holds = f.Tag.Has("secret"), f.Tag.Get("holds")
	return s
}

func takes(f *kong.Flag) string {
	switch {
	case f.Target.Type() == reflect.TypeFor[time.Duration]():
		return "time"
	case f.Target.Kind() == reflect.Bool:
		return "yes or no"
	case f.Target.Kind() == reflect.Slice:
		return "list"
	case f.Target.CanInt():
		return "number"
	case f.Tag.Type == "path":
		return "path"
	}
	return "text"
}

// set decodes a text into its field. The result says what is wrong with it, and
// then the field is as it was; "" means that it was taken.
func set(f *kong.Flag, text string) string {
	setting := settingOf(f)
	if len(setting.Choices) > 0 && !slices.Contains(setting.Choices, text) {
		return "It is " + quoted(setting, text) + ". Use " + strings.Join(setting.Choices, " or ") + "."
	}
	value := reflect.New(f.Target.Type()).Elem()
	if err := f.Parse(kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: text}), value); err != nil {
		return "It is " + quoted(setting, text) + ". " + example(setting)
	}
	f.Target.Set(value)
	return ""
}

// example says what would be right.
func example(s Setting) string {
	switch s.Takes {
	case "time":
		return "Use a time such as 90s, 30m or 2h."
	case "number":
		return "Use a whole number" + suchAs(s.Default) + "."
	case "yes or no":
		return "Use true or false."
	}
	return "Use a value" + suchAs(s.Default) + "."
}

func suchAs(text string) string {
	if text == "" {
		return ""
	}
	return " such as " + text
}

const maxQuoted = 60

// quoted shows a value that was refused, but no secret and no endless one.
func quoted(s Setting, text string) string {
	if s.Secret {
		return "a value that does not fit"
	}
	if short := []rune(text); len(short) > maxQuoted {
		text = string(short[:maxQuoted]) + "…"
	}
	return strconv.Quote(text)
}

// textOf is the opposite of set.
func textOf(f *kong.Flag) string {
	switch value := f.Target.Interface().(type) {
	case []string:
		return kong.JoinEscaped(value, ',')
	case time.Duration:
		return shortTime(value)
	case bool:
		return strconv.FormatBool(value)
	case int:
		return strconv.Itoa(value)
	}
	return f.Target.String()
}

// shortTime writes 30m, not 30m0s.
func shortTime(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
