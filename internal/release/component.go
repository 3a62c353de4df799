package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// component is one thing of others that the binary holds.
type component struct {
	name, version string
	purl          string   // github.com/package-url/purl-spec
	sum           string   // go.sum's
	licences      []string // SPDX identifiers; none: not known
	texts         []string
}

// components are Go's own library, the modules that are linked in, and the files
// of others that static/LICENSES.md lists, each with its licence.
func (r Release) components(built binary) ([]component, error) {
	goVersion := strings.TrimPrefix(built.info.GoVersion, "go")
	goVersion, _, _ = strings.Cut(goVersion, " ") // experiments follow
	library := component{name: "std", version: goVersion, purl: "pkg:golang/std@" + goVersion}
	if err := library.license(r.GoRoot); err != nil {
		return nil, err
	}
	list := []component{library}
	for _, dep := range built.info.Deps {
		c, err := r.module(dep)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	embedded, err := embeddedFiles(filepath.Join(r.Source, "static", "LICENSES.md"))
	return append(list, embedded...), err
}

func (r Release) module(dep *debug.Module) (component, error) {
	if dep.Replace != nil {
		dep = dep.Replace
	}
	c := component{name: dep.Path, version: dep.Version, sum: dep.Sum, purl: "pkg:golang/" + strings.ToLower(dep.Path) + "@" + dep.Version}
	path, err := module.EscapePath(dep.Path)
	if err != nil {
		return c, fmt.Errorf("find module: %w", err)
	}
	version, err := module.EscapeVersion(dep.Version)
	if err != nil {
		return c, fmt.Errorf("find module %s: %w", dep.Path, err)
	}
	return c, c.license(filepath.Join(r.Modules, filepath.FromSlash(path)+"@"+version))
}

var licenceFile = regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying|^notice|^patents`)

// license reads the licence files at the top of a folder.
func (c *component) license(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for licence of %s: %w", c.name, err)
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !licenceFile.MatchString(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name())) //nolint:gosec // Go's module cache
		if err != nil {
			return fmt.Errorf("read licence of %s: %w", c.name, err)
		}
		c.texts = append(c.texts, strings.TrimSpace(string(text)))
		c.licences = append(c.licences, classify(string(text))...)
	}
	slices.Sort(c.licences)
	c.licences = slices.Compact(c.licences)
	return nil
}

var space = regexp.MustCompile(`[\s*#/]+`)

// classify finds out which licences a text is, by sentences that only they have;
// their SPDX identifiers. A text may hold several.
func classify(text string) []string {
	text = space.ReplaceAllString(strings.ToLower(text), " ")
	has := func(parts ...string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
	}
	const (
		mit  = "permission is hereby granted, free of charge, to any person obtaining a copy"
		isc  = "permission to use, copy, modify, and"
		bsd  = "redistribution and use in source and binary forms"
		keep = "above copyright notice and this permission notice"
	)
	var list []string
	for _, l := range []struct {
		id   string
		fits bool
	}{
		{"Apache-2.0", has("apache license", "version 2.0", "grant of patent license") || has("licensed under the apache license, version 2.0")},
		{"MPL-2.0", has("mozilla public license", "version 2.0") || has("mozilla public license, v. 2.0")},
		{"MIT", has(mit, keep)},
		{"MIT-0", has(mit) && !has(keep)},
		{"ISC", has(isc, "with or without fee is hereby granted, provided that the above")},
		{"0BSD", has(isc, "with or without fee is hereby granted") && !has("hereby granted, provided")},
		{"BSD-3-Clause", has(bsd, "endorse or promote products")},
		{"BSD-2-Clause", has(bsd) && !has("endorse or promote products")},
		{"CC0-1.0", has("cc0 1.0 universal") || has("cc0 1.0")},
		{"Unlicense", has("this is free and unencumbered software")},
	} {
		if l.fits {
			list = append(list, l.id)
		}
	}
	return list
}

var (
	embeddedRow  = regexp.MustCompile(`(?m)^\| [^|]*` + "`" + `[^|]*\| (\S+)(?: \([^)|]*\))? (\d[\w.-]*)[^|]*\| ([^|]+) \|$`)
	embeddedRows = regexp.MustCompile("(?m)^\\| [^|]*`")
)

// embeddedFiles reads the table of files that are not Go: file, from, licence.
func embeddedFiles(path string) ([]component, error) {
	text, err := os.ReadFile(path) //nolint:gosec // of the checkout
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read licences of embedded files: %w", err)
	}
	rows := embeddedRow.FindAllStringSubmatch(string(text), -1)
	if len(rows) != len(embeddedRows.FindAllString(string(text), -1)) {
		return nil, fmt.Errorf("%s: a row does not say what it is from as “name 1.2.3”, then its licence", path)
	}
	var list []component
	for _, row := range rows {
		c := component{name: row[1], version: row[2], purl: "pkg:npm/" + strings.ToLower(row[1]) + "@" + row[2], texts: []string{row[3]}}
		if c.name == "Lucide" { // its icons' package
			c.purl = "pkg:npm/lucide-static@" + c.version
		}
		for words, id := range map[string]string{"Zero-Clause BSD": "0BSD", "ISC": "ISC", "MIT": "MIT", "Apache": "Apache-2.0", "3-Clause BSD": "BSD-3-Clause"} {
			if strings.Contains(row[3], words) {
				c.licences = append(c.licences, id)
			}
		}
		slices.Sort(c.licences)
		list = append(list, c)
	}
	return list, nil
}

// notices are the licences of everything in the binary, as most of them ask for.
func notices(list []component) []byte {
	var text strings.Builder
	text.WriteString("Hefring holds the work of others. These are their licences.\n")
	for _, c := range list {
		known := "licence not known"
		if len(c.licences) > 0 {
			known = strings.Join(c.licences, ", ")
		}
		fmt.Fprintf(&text, "\n%s\n%s %s (%s)\n", strings.Repeat("=", 79), c.name, c.version, known)
		for _, licence := range c.texts {
			fmt.Fprintf(&text, "%s\n%s\n", strings.Repeat("-", 79), licence)
		}
	}
	return []byte(text.String())
}

// copyright is Debian's file of that name.
func (r Release) copyright() []byte {
	var text strings.Builder
	text.WriteString("Hefring keeps a fleet of Drupal sites up to date.\n\n")
	if licence, err := os.ReadFile(filepath.Join(r.Source, "LICENSE")); err == nil {
		text.Write(licence)
		text.WriteString("\n")
	}
	text.WriteString("The program holds the work of others; their licences are in\n/usr/share/doc/hefring/third-party-licences.txt.\n")
	return []byte(text.String())
}
