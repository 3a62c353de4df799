package docs

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"hefring/internal/config"
)

// settingsPage is the man page of the settings file, of section 5.
const settingsPage = "hefring.yaml"

// ManPages writes a man page for the program, for each command and for the
// settings file, by the names of their files. They carry no date: the same
// program makes the same pages.
func ManPages(app *kong.Application, version string) map[string]string {
	pages := map[string]string{}
	known := settingVariables()
	for _, node := range append([]*kong.Node{app.Node}, commands(app.Node)...) {
		pages[manName(app, node)+".1"] = manPage(app, node, optionsOf(node, known), version)
	}
	pages[settingsPage+".5"] = manSettings(app, version)
	return pages
}

func manName(app *kong.Application, node *kong.Node) string {
	return strings.Join(append([]string{app.Name}, words(node)...), "-")
}

// roff collects the lines of a page in the language of man(7).
type roff struct{ page strings.Builder }

// text writes a paragraph. A line that begins with a dot or an apostrophe would
// be a request.
func (r *roff) text(text string) {
	for line := range strings.Lines(text + "\n") {
		line = roffEscape(strings.TrimRight(line, "\n"))
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		r.page.WriteString(line + "\n")
	}
}

func (r *roff) request(name string, arguments ...string) {
	r.page.WriteString("." + name)
	for _, argument := range arguments {
		r.page.WriteString(` "` + strings.ReplaceAll(roffEscape(argument), `"`, `\(dq`) + `"`)
	}
	r.page.WriteString("\n")
}

func (r *roff) entry(name, help string) {
	r.request("TP")
	r.request("B", name)
	r.text(help)
}

// roffEscape guards text against being read as roff. Letters beyond ASCII are
// written by number, which every roff reads.
func roffEscape(text string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case c == '\\':
			b.WriteString(`\e`)
		case c == '-':
			b.WriteString(`\-`)
		case c > 0x7e:
			fmt.Fprintf(&b, `\[u%04X]`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func newPage(name, section, version, about string) *roff {
	r := &roff{}
	r.request("TH", strings.ToUpper(name), section, "", "hefring "+version, "Hefring")
	r.request("nh") // names of variables are copied from here
	r.request("SH", "NAME")
	r.text(name + " - " + about)
	return r
}

func manPage(app *kong.Application, node *kong.Node, all options, version string) string {
	r := newPage(manName(app, node), "1", version, firstSentence(node.Help))
	r.request("SH", "SYNOPSIS")
	r.request("B", typed(app, node))
	r.text(synopsis(node))
	r.request("SH", "DESCRIPTION")
	r.text(node.Help)
	if len(node.Positional) > 0 {
		r.request("SH", "ARGUMENTS")
		for _, argument := range node.Positional {
			r.entry(strings.ToUpper(argument.Name), helpOf(argument))
		}
	}
	if below := commands(node); len(below) > 0 {
		r.request("SH", "COMMANDS")
		for _, child := range below {
			if child.Parent == node {
				r.entry(manName(app, child)+"(1)", child.Help)
			}
		}
	} else {
		manOptions(r, all)
	}
	manSeeAlso(r, app, node)
	return r.page.String()
}

func manOptions(r *roff, all options) {
	r.request("SH", "OPTIONS")
	own := all.own
	if len(all.settings) <= fewSettings {
		own = append(own, all.settings...)
	}
	for _, flag := range own {
		r.entry(option(flag), helpOf(flag.Value))
	}
	r.entry("-h, --help", "Say what the command takes.")
	if len(all.settings) > fewSettings {
		r.request("SH", "SETTINGS")
		r.text("The command takes every setting of " + settingsPage + "(5) as a flag of the same name.")
	}
}

func manSeeAlso(r *roff, app *kong.Application, node *kong.Node) {
	r.request("SH", "SEE ALSO")
	if node.Parent == nil {
		r.text(settingsPage + "(5)")
		return
	}
	r.text(manName(app, node.Parent) + "(1), " + settingsPage + "(5)")
}

func manSettings(app *kong.Application, version string) string {
	r := newPage(settingsPage, "5", version, "settings of "+app.Name)
	r.request("SH", "DESCRIPTION")
	r.text("The file has one line “name: value” for each setting, in YAML; lists are written [a, b]. " +
		"It is read from " + config.DefaultFile + ", or from where --config or $HEFRING_CONFIG says. " +
		"A flag wins over a variable of the environment, and that over the file. " +
		app.Name + " config shows what holds and where it comes from; " + app.Name + " config check looks for problems.")
	r.request("SH", "SETTINGS")
	for _, s := range config.Settings() {
		help := s.Help
		if len(s.Choices) > 0 {
			help += " One of: " + strings.Join(s.Choices, ", ") + "."
		}
		if s.Default != "" {
			help += " Default: " + s.Default + "."
		}
		r.entry(s.Name, fmt.Sprintf("%s $%s.", help, s.Env))
	}
	r.request("SH", "SEE ALSO")
	r.text(app.Name + "(1)")
	return r.page.String()
}

// firstSentence is short enough for the NAME of a man page, which apropos shows.
func firstSentence(text string) string {
	first, _, _ := strings.Cut(text, ". ")
	return strings.TrimSuffix(first, ".")
}
