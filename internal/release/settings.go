package release

import (
	"fmt"
	"strings"

	"hefring/internal/config"
)

// settings is the file of settings as packages install it: all of them, explained,
// with their defaults, and none in force.
func settings() []byte {
	var text strings.Builder
	text.WriteString(`# Settings of Hefring. They have the names of the options of "hefring serve";
# an option or a variable of the environment goes before what stands here.
# Remove the # before a name to set it, then: systemctl restart hefring
`)
	for _, s := range config.Settings() {
		if s.Name == "config" { // names this very file
			continue
		}
		text.WriteString("\n")
		for line := range strings.Lines(wrapped(s.Help, 78)) {
			text.WriteString("# " + line)
		}
		if len(s.Choices) > 0 {
			text.WriteString("# One of: " + strings.Join(s.Choices, ", ") + "\n")
		}
		text.WriteString("# In the environment: " + s.Env + "\n")
		fmt.Fprintf(&text, "#%s: %s\n", s.Name, value(s))
	}
	return []byte(text.String())
}

// value is the default in YAML, or an empty value of the setting's kind.
func value(s config.Setting) string {
	switch {
	case s.Takes == "list":
		return "[" + s.Default + "]"
	case s.Takes == "yes or no":
		return "false"
	case s.Takes == "number" && s.Default == "":
		return "0"
	case s.Takes == "number", s.Takes == "time":
		return s.Default
	}
	return `"` + s.Default + `"`
}

// wrapped breaks a text into lines, at spaces.
func wrapped(text string, width int) string {
	var out strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			out.WriteString("\n")
			column = 0
		default:
			out.WriteString(" ")
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String() + "\n"
}
