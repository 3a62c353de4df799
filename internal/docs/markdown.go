package docs

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"hefring/internal/config"
)

// The marks in a page between which stands what is generated.
const (
	markBegin = "<!-- made by make generate from the code -->"
	markEnd   = "<!-- end of what is made -->"
)

// Fill puts generated text between the marks of a page. The error is for a page
// without them.
func Fill(page, text string) (string, error) {
	before, rest, begins := strings.Cut(page, markBegin)
	_, after, ends := strings.Cut(rest, markEnd)
	if !begins || !ends {
		return "", fmt.Errorf("fill page: it has no line %q and %q below it", markBegin, markEnd)
	}
	return before + markBegin + "\n\n" + strings.TrimSpace(text) + "\n\n" + markEnd + after, nil
}

// Settings writes the table of settings.
func Settings(list []config.Setting) string {
	var b strings.Builder
	b.WriteString("| setting | environment | takes | default | |\n|---|---|---|---|---|\n")
	for _, s := range list {
		takes := s.Takes
		if len(s.Choices) > 0 {
			takes = "`" + strings.Join(s.Choices, "`, `") + "`"
		}
		value := ""
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		help := cell(s.Help)
		if s.Secret {
			help += " May be a [secret](#secrets)."
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s |\n", s.Name, s.Env, takes, value, help)
	}
	return b.String()
}

// Commands writes a section for each command.
func Commands(app *kong.Application) string {
	var b strings.Builder
	known := settingVariables()
	for _, node := range commands(app.Node) {
		fmt.Fprintf(&b, "%s %s\n\n%s\n\n", strings.Repeat("#", 1+len(words(node))), typed(app, node), prose(node.Help))
		if len(node.Children) > 0 {
			continue
		}
		fmt.Fprintf(&b, "```\n%s %s\n```\n\n", typed(app, node), synopsis(node))
		commandTable(&b, node, optionsOf(node, known))
	}
	return b.String()
}

// fewSettings is up to how many settings a command names them all.
const fewSettings = 8

func commandTable(b *strings.Builder, node *kong.Node, all options) {
	var rows strings.Builder
	for _, argument := range node.Positional {
		fmt.Fprintf(&rows, "| `%s` | %s |\n", strings.ToUpper(argument.Name), cell(helpOf(argument)))
	}
	own := all.own
	if len(all.settings) <= fewSettings {
		own = append(own, all.settings...)
	}
	for _, flag := range own {
		fmt.Fprintf(&rows, "| `%s` | %s |\n", strings.ReplaceAll(option(flag), "|", "\\|"), cell(helpOf(flag.Value)))
	}
	if rows.Len() > 0 {
		b.WriteString("| | |\n|---|---|\n" + rows.String() + "\n")
	}
	if len(all.settings) > fewSettings {
		b.WriteString("It takes the [settings](settings.md) too.\n\n")
	}
}

// prose guards text against being read as marks of Markdown.
func prose(text string) string {
	return strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`).Replace(text)
}

func cell(text string) string { return strings.ReplaceAll(prose(text), "|", `\|`) }
