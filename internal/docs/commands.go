// Package docs writes what can be written from the program itself: the table of
// settings, the pages on commands, man pages and completions. And it checks that
// what people wrote about the program is true of it.
package docs

import (
	"strings"

	"github.com/alecthomas/kong"

	"hefring/internal/config"
)

// commands gives every command that is not hidden, each before the ones below it.
func commands(parent *kong.Node) []*kong.Node {
	var list []*kong.Node
	for _, node := range parent.Children {
		if node.Hidden || node.Type != kong.CommandNode {
			continue
		}
		list = append(append(list, node), commands(node)...)
	}
	return list
}

// words are what is typed for a command, without the name of the program.
func words(node *kong.Node) []string {
	if node.Parent == nil {
		return nil
	}
	return append(words(node.Parent), node.Name)
}

// typed is the whole command as it is typed.
func typed(app *kong.Application, node *kong.Node) string {
	return strings.Join(append([]string{app.Name}, words(node)...), " ")
}

// options are the flags of a command. Those that are settings, which many
// commands take, are told apart.
type options struct{ own, settings []*kong.Flag }

func optionsOf(node *kong.Node, known map[string]bool) options {
	var all options
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			switch {
			case flag.Name == "help": // everything has it
			case len(flag.Envs) > 0 && known[flag.Envs[0]]:
				all.settings = append(all.settings, flag)
			default:
				all.own = append(all.own, flag)
			}
		}
	}
	return all
}

// settingVariables are the variables that tell a setting from other flags.
func settingVariables() map[string]bool {
	known := map[string]bool{}
	for _, s := range config.Settings() {
		known[s.Env] = true
	}
	return known
}

// placeholder stands for a flag's value.
func placeholder(f *kong.Flag) string {
	switch {
	case f.PlaceHolder != "": // of what there are too many kinds to name
		return f.PlaceHolder
	case f.Enum != "":
		return strings.TrimPrefix(strings.Join(f.EnumSlice(), "|"), "|") // "" is what it is if it is not given
	}
	return strings.ToUpper(f.Name)
}

// option is a flag as it is typed, with a word for its value.
func option(f *kong.Flag) string {
	text := "--" + f.Name
	if f.Short != 0 {
		text = "-" + string(f.Short) + ", " + text
	}
	if !f.IsBool() {
		text += " " + placeholder(f)
	}
	return text
}

// synopsis is what can stand behind a command.
func synopsis(node *kong.Node) string {
	if len(node.Children) > 0 {
		return "COMMAND"
	}
	parts := []string{"[OPTIONS]"}
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			if flag.Required {
				parts = append(parts, "--"+flag.Name+" "+placeholder(flag))
			}
		}
	}
	for _, argument := range node.Positional {
		parts = append(parts, argumentWord(argument))
	}
	return strings.Join(parts, " ")
}

func argumentWord(p *kong.Positional) string {
	word := strings.ToUpper(p.Name)
	if p.IsCumulative() {
		word += "..."
	}
	if !p.Required {
		word = "[" + word + "]"
	}
	return word
}

// helpOf is a flag's help with what it does not say itself.
func helpOf(v *kong.Value) string {
	text := v.Help
	if v.HasDefault && v.Default != "" && !v.IsBool() {
		text += " Default: " + v.Default + "."
	}
	if v.Flag != nil && len(v.Flag.Envs) > 0 {
		text += " $" + v.Flag.Envs[0] + "."
	}
	return text
}
