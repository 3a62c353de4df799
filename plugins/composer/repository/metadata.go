package repository

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hefring/plugins/composer/version"
)

// Package is one version of a package, as a repository describes it.
type Package struct {
	Name        string
	Version     version.Version
	Type        string // project, library, drupal-module …
	Description string
	Time        string
	Dist        Dist
	Source      Dist // the repository that it was made from
	Require     map[string]string
	// Abandoned says that nobody cares for it any more; Replacement is what its
	// makers name instead, "" for nothing.
	Abandoned   bool
	Replacement string

	alias version.Version // number that its makers give to the branch
}

// Dist is where the code of a version is.
type Dist struct {
	Type      string `json:"type"`
	URL       string `json:"url"`
	Reference string `json:"reference,omitempty"` // commit
	Shasum    string `json:"shasum,omitempty"`    // SHA-1 of the archive, in hex
}

// ParseMetadata reads a metadata file: the versions of the package name. Versions
// that Composer could not read are left out.
func ParseMetadata(name string, body []byte) ([]Package, error) {
	if len(body) > MaxPage {
		return nil, errors.New("parse metadata: too large")
	}
	var file struct {
		Minified string          `json:"minified"`
		Packages json.RawMessage `json:"packages"`
	}
	if err := json.Unmarshal(body, &file); err != nil {
		return nil, fmt.Errorf("parse metadata of %s: %w", name, err)
	}
	var packages map[string]json.RawMessage
	if err := decodeMap(file.Packages, &packages); err != nil {
		return nil, fmt.Errorf("parse metadata of %s: %w", name, err)
	}
	text, ok := packages[name]
	if !ok {
		return nil, nil
	}
	var entries []json.RawMessage
	if isObject(text) {
		var numbered map[string]json.RawMessage
		if err := json.Unmarshal(text, &numbered); err != nil {
			return nil, fmt.Errorf("parse metadata of %s: %w", name, err)
		}
		for _, key := range slices.Sorted(maps.Keys(numbered)) {
			entries = append(entries, numbered[key])
		}
	} else if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("parse metadata of %s: %w", name, err)
	}
	return expand(name, entries, file.Minified == "composer/2.0")
}

// expand reads the entries. In minified files each one says only what differs
// from the one before; what was read once is shared.
func expand(name string, entries []json.RawMessage, minified bool) ([]Package, error) {
	if len(entries) > maxVersions {
		return nil, fmt.Errorf("parse metadata of %s: more than %d versions", name, maxVersions)
	}
	var list []Package
	var current fields
	for _, text := range entries {
		var entry map[string]json.RawMessage
		if err := json.Unmarshal(text, &entry); err != nil {
			return nil, fmt.Errorf("parse metadata of %s: %w", name, err)
		}
		if !minified {
			current = fields{}
		}
		for key, value := range entry {
			current.set(key, value)
		}
		if p, ok := current.pack(name); ok {
			list = append(list, p)
		}
	}
	return list, nil
}

// fields are what an entry says so far. The names of those that could not be read
// are in wrong.
type fields struct {
	version, kind, description, time string
	dist, source                     Dist
	require                          map[string]string
	abandoned                        any
	isDefault                        bool
	aliases                          []branchAlias
	wrong                            [fieldCount]bool
}

type branchAlias struct{ branch, alias string }

const (
	wrongVersion = iota
	wrongDist
	wrongSource
	wrongRequire
	fieldCount
)

// set takes over one key of an entry; "__unset" takes it away.
func (f *fields) set(key string, value json.RawMessage) {
	if string(value) == `"__unset"` {
		value = json.RawMessage("null")
	}
	switch key {
	case "version":
		f.version = ""
		f.wrong[wrongVersion] = json.Unmarshal(value, &f.version) != nil
	case "type":
		f.kind = text(value)
	case "description":
		f.description = text(value)
	case "time":
		f.time = text(value)
	case "dist":
		f.dist, f.wrong[wrongDist] = dist(value)
	case "source":
		f.source, f.wrong[wrongSource] = dist(value)
	case "require":
		f.require = nil
		f.wrong[wrongRequire] = decodeMap(value, &f.require) != nil
	case "abandoned":
		f.abandoned = nil
		_ = json.Unmarshal(value, &f.abandoned)
	case "default-branch":
		f.isDefault = string(value) == "true"
	case "extra":
		f.aliases = aliases(value)
	}
}

func text(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

func dist(value json.RawMessage) (d Dist, wrong bool) {
	if !isObject(value) {
		return Dist{}, string(value) != "null"
	}
	return d, json.Unmarshal(value, &d) != nil
}

// maxAliases bounds how many aliases are looked at.
const maxAliases = 1000

func aliases(extra json.RawMessage) []branchAlias {
	var read struct {
		Aliases json.RawMessage `json:"branch-alias"`
	}
	var names map[string]json.RawMessage
	if !isObject(extra) || json.Unmarshal(extra, &read) != nil || !isObject(read.Aliases) || json.Unmarshal(read.Aliases, &names) != nil {
		return nil
	}
	var list []branchAlias
	for _, branch := range slices.Sorted(maps.Keys(names)) {
		if alias := text(names[branch]); alias != "" && len(list) < maxAliases {
			list = append(list, branchAlias{branch, alias})
		}
	}
	return list
}

func (f *fields) pack(name string) (Package, bool) {
	v, err := version.Parse(f.version)
	if err != nil || slices.Contains(f.wrong[:], true) {
		return Package{}, false
	}
	p := Package{
		Name: name, Version: v, Type: f.kind, Description: f.description, Time: f.time,
		Dist: f.dist, Source: f.source, Require: f.require, alias: f.alias(),
	}
	switch abandoned := f.abandoned.(type) {
	case bool:
		p.Abandoned = abandoned
	case string:
		p.Abandoned, p.Replacement = abandoned != "", abandoned
	}
	return p, true
}

// DefaultBranch is the number of a default branch that has no other.
const DefaultBranch = "9999999-dev"

// alias finds the number that a branch goes by.
func (f *fields) alias() version.Version {
	if !strings.HasPrefix(f.version, "dev-") && !strings.HasSuffix(f.version, "-dev") {
		return version.Version{}
	}
	for _, a := range f.aliases {
		if v, ok := a.number(f.version); ok {
			return v
		}
	}
	if f.isDefault && numericPrefix(strings.TrimPrefix(f.version, "v")) == "" {
		return version.Version{Text: DefaultBranch, Normalized: DefaultBranch}
	}
	return version.Version{}
}

func (a branchAlias) number(branch string) (version.Version, bool) {
	number, isDev := strings.CutSuffix(a.alias, "-dev")
	if !strings.EqualFold(a.branch, branch) || !isDev || a.alias == DefaultBranch {
		return version.Version{}, false
	}
	normalized := version.NormalizeBranch(number)
	if strings.HasPrefix(normalized, "dev-") {
		return version.Version{}, false
	}
	from, to := numericPrefix(a.branch), numericPrefix(a.alias)
	if from != "" && to != "" && !strings.HasPrefix(strings.ToLower(to), strings.ToLower(from)) {
		return version.Version{}, false
	}
	return version.Version{Text: a.alias, Normalized: normalized}, true
}

// numericPrefix gives 1.2. for 1.2.x-dev and 1.2-dev; "" for other branches.
func numericPrefix(branch string) string {
	number, isDev := strings.CutSuffix(strings.ToLower(branch), "-dev")
	if !isDev {
		return ""
	}
	number = strings.TrimSuffix(number, ".x")
	if number == "" || strings.Trim(number, "0123456789.") != "" || strings.Contains(number, "..") ||
		strings.HasPrefix(number, ".") || strings.HasSuffix(number, ".") {
		return ""
	}
	return number + "."
}
