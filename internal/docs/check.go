package docs

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Checker compares pages with the program that they tell about.
type Checker struct {
	Root      string               // folder of the repository
	App       *kong.Application    // the program's commands
	Parse     func([]string) error // tries a command line; nothing is run
	Targets   map[string]bool      // of make
	Variables map[string]bool      // of the environment, beside those of the commands
}

// Makefile finds the targets of a Makefile.
func Makefile(text string) map[string]bool {
	targets := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(text, -1) {
		targets[match[1]] = true
	}
	return targets
}

// Variables finds what looks like a variable of ours in a text.
func Variables(text string) []string {
	return regexp.MustCompile(`\bHEFRING_[A-Z0-9_]*[A-Z0-9]\b`).FindAllString(text, -1)
}

// Check reads a page, named from the root, and says what in it is not so, with
// file and line: links, anchors, commands, flags, targets and variables.
func (c *Checker) Check(name string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(c.Root, name)) //nolint:gosec // a page of the repository
	if err != nil {
		return nil, fmt.Errorf("read page: %w", err)
	}
	p := &pageCheck{Checker: c, name: name}
	for n, line := range readPage(string(text)) {
		p.line = n + 1
		p.check(line)
	}
	return p.found, nil
}

// pageLine is a line of a page: what is prose in it, and what is code.
type pageLine struct {
	prose string
	code  []string
	block bool // the line stands in a block of code
}

var spans = regexp.MustCompile("`([^`]+)`")

func readPage(text string) []pageLine {
	var list []pageLine
	fenced := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch fence := strings.HasPrefix(strings.TrimSpace(line), "```"); {
		case fence:
			fenced = !fenced
			list = append(list, pageLine{})
		case fenced:
			list = append(list, pageLine{code: []string{line}, block: true})
		default:
			one := pageLine{prose: spans.ReplaceAllString(line, "``")}
			for _, match := range spans.FindAllStringSubmatch(line, -1) {
				one.code = append(one.code, match[1])
			}
			list = append(list, one)
		}
	}
	return list
}

// pageCheck is a look at one page.
type pageCheck struct {
	*Checker
	name  string
	line  int
	found []string
}

func (p *pageCheck) wrong(format string, args ...any) {
	p.found = append(p.found, fmt.Sprintf("%s:%d: ", p.name, p.line)+fmt.Sprintf(format, args...))
}

func (p *pageCheck) check(line pageLine) {
	for _, match := range regexp.MustCompile(`\]\(([^()\s]+)[^()]*\)|^\[[^\]]+\]:\s*(\S+)`).FindAllStringSubmatch(line.prose, -1) {
		p.link(match[1] + match[2])
	}
	for _, code := range line.code {
		p.commandLines(code, line.block)
		for _, match := range regexp.MustCompile(`(?:^|[\s;&])make ([a-z][a-z0-9-]*)`).FindAllStringSubmatch(code, -1) {
			if !p.Targets[match[1]] {
				p.wrong("the Makefile has no target %s", match[1])
			}
		}
		if flag, ok := leadingFlag(code); ok && !line.block && !p.anyFlag(flag) {
			p.wrong("no command has the flag %s", flag)
		}
	}
	for _, variable := range Variables(line.prose + " " + strings.Join(line.code, " ")) {
		if !p.Variables[variable] && !knownVariable(p.App.Node, variable) {
			p.wrong("nothing reads the variable %s", variable)
		}
	}
}

// link follows a link to a file or a heading. Addresses on the web are only
// looked at, not fetched.
func (p *pageCheck) link(target string) {
	address, err := url.Parse(target)
	switch {
	case err != nil:
		p.wrong("%s is no address", target)
		return
	case address.Scheme != "":
		if address.Scheme != "https" && address.Scheme != "http" || address.Host == "" {
			p.wrong("%s is no address on the web", target)
		}
		return
	}
	file := p.name
	if address.Path != "" {
		file = filepath.Join(filepath.Dir(p.name), address.Path)
	}
	text, err := p.read(file)
	if err != nil {
		p.wrong("the link %s leads nowhere", target)
		return
	}
	if address.Fragment != "" && !slices.Contains(anchors(text), address.Fragment) {
		p.wrong("%s has no heading #%s", file, address.Fragment)
	}
}

func (p *pageCheck) read(file string) (string, error) {
	path := filepath.Join(p.Root, file)
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return "", err
	}
	text, err := os.ReadFile(path) //nolint:gosec // a page of the repository names it
	return string(text), err
}

// anchors are the names of a page's headings, as GitHub makes them.
func anchors(page string) []string {
	var list []string
	times := map[string]int{}
	drop := regexp.MustCompile(`[^\p{L}\p{N}\p{M}_ -]`)
	for _, line := range headings(page) {
		name := strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(line), ""), " ", "-")
		times[name]++
		if n := times[name]; n > 1 {
			name = fmt.Sprintf("%s-%d", name, n-1)
		}
		list = append(list, name)
	}
	return list
}

func headings(page string) []string {
	var list []string
	fenced := false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if level := len(line) - len(strings.TrimLeft(line, "#")); !fenced && level > 0 && strings.HasPrefix(line[level:], " ") {
			list = append(list, strings.TrimSpace(line[level:]))
		}
	}
	return list
}

// leadingFlag finds the flag that a piece of code begins with.
func leadingFlag(code string) (string, bool) {
	match := regexp.MustCompile(`^--([a-z][a-z0-9-]*)`).FindStringSubmatch(code)
	if match == nil {
		return "", false
	}
	return match[0], true
}

func (p *pageCheck) anyFlag(flag string) bool {
	return hasFlag([]*kong.Node{p.App.Node}, flag) || hasFlag(commands(p.App.Node), flag)
}

func hasFlag(nodes []*kong.Node, flag string) bool {
	for _, node := range nodes {
		for _, group := range node.AllFlags(false) {
			for _, f := range group {
				if slices.Contains(spellings(f), flag) {
					return true
				}
			}
		}
	}
	return false
}

// spellings are the ways in which a flag can be typed.
func spellings(f *kong.Flag) []string {
	list := []string{"--" + f.Name}
	if f.Short != 0 {
		list = append(list, "-"+string(f.Short))
	}
	for _, alias := range f.Aliases {
		list = append(list, "--"+alias)
	}
	if f.Tag.Negatable != "" {
		list = append(list, "--no-"+f.Name)
	}
	return list
}

func knownVariable(node *kong.Node, name string) bool {
	for _, flag := range node.Flags {
		if slices.Contains(flag.Envs, name) {
			return true
		}
	}
	return slices.ContainsFunc(node.Children, func(child *kong.Node) bool { return knownVariable(child, name) })
}
