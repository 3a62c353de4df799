package spec

import (
	"path"
	"strconv"
	"strings"
)

// Major is the number of Drupal's main version that the makefile is for.
func (m *Makefile) Major() int {
	digits, _, _ := strings.Cut(m.Core, ".")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// ContribDestination is the folder below which modules, themes and libraries
// go, relative to the build root; "." is the root itself. given is what the
// settings say, "" when they say nothing.
func (m *Makefile) ContribDestination(given string) string {
	switch {
	case given != "":
		return path.Clean(given)
	case m.Options.ContribDestGiven:
		return path.Clean(m.Options.ContribDest)
	case m.Major() >= 8:
		return "."
	}
	return "sites/all"
}

// Path is where the project goes, relative to the build root: "." for core.
// contrib is the makefile's ContribDestination.
func (p *Project) Path(contrib string) string {
	if p.ContribDestGiven {
		contrib = p.ContribDestination
	}
	folder := p.DirectoryName
	if folder == "" {
		folder = p.Name
	}
	switch p.Type {
	case TypeCore:
		return "."
	case TypeProfile:
		return path.Join(or(p.Destination, "profiles"), p.Subdir, folder)
	case TypeTheme:
		return path.Join(contrib, "themes", p.Subdir, folder)
	case TypeLibrary:
		return path.Join(contrib, or(p.Destination, "libraries"), p.Subdir, folder)
	}
	return path.Join(contrib, "modules", p.Subdir, folder)
}

// Path is where the library goes, relative to the build root.
func (l *Library) Path(contrib string) string {
	return path.Join(contrib, or(l.Destination, "libraries"), l.Subdir, or(l.DirectoryName, l.Name))
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}
