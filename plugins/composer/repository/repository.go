// Package repository reads Composer repositories: their packages.json, the
// metadata of packages in Composer's second format, and security advisories; and
// it chooses a version as “composer create-project” does
// (https://getcomposer.org/doc/05-repositories.md).
package repository

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"hefring/internal/egress"
	"hefring/models"
)

const (
	// MaxPage is the size in bytes, after decompression, up to which files of a
	// repository are read.
	MaxPage     = 16 << 20
	maxVersions = 20_000 // of one package in one file
	maxPatterns = 10_000
	maxName     = 200 // bytes of the name of a package
)

var namePattern = regexp.MustCompile(`^[a-z0-9]([_.-]?[a-z0-9]+)*/[a-z0-9](([_.]|-{1,2})?[a-z0-9]+)*$`)

// ValidName tells whether name can be the name of a package: vendor/project in
// lower case.
func ValidName(name string) bool { return len(name) <= maxName && namePattern.MatchString(name) }

// Repository is what a packages.json says.
type Repository struct {
	metadata string          // address of metadata, with %package%; "" for none
	names    map[string]bool // all that it offers; nil when it does not say
	patterns []string
	inline   map[string]json.RawMessage // packages in packages.json itself

	AdvisoriesURL  string // that answers which advisories there are; "" for none
	AdvisoriesMeta bool   // metadata files hold advisories
	ChangesURL     string // that tells which packages changed; "" for none
}

// FileURL is where the packages.json of a repository is, given the address that a
// person wrote.
func FileURL(address string) string {
	if u, err := url.Parse(address); err == nil && strings.Contains(u.Path, ".json") {
		return address
	}
	return strings.TrimRight(address, "/") + "/packages.json"
}

// Parse reads the packages.json that was found at address. What cannot be used is
// a models.Error with the reason Malformed.
func Parse(address string, body []byte) (*Repository, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("parse repository's address: %w", err)
	}
	var file struct {
		Metadata   string          `json:"metadata-url"`
		Changes    string          `json:"metadata-changes-url"`
		Names      []string        `json:"available-packages"`
		Patterns   []string        `json:"available-package-patterns"`
		Packages   json.RawMessage `json:"packages"`
		Advisories json.RawMessage `json:"security-advisories"`
	}
	if err := json.Unmarshal(body, &file); err != nil {
		return nil, malformed(base.Host, err, "its packages.json is not what Composer expects")
	}
	r := &Repository{patterns: file.Patterns}
	if len(file.Patterns) > maxPatterns {
		return nil, malformed(base.Host, nil, "it lists more than %d patterns of names", maxPatterns)
	}
	if len(file.Names) > 0 {
		r.names = map[string]bool{}
		for _, name := range file.Names {
			r.names[strings.ToLower(name)] = true
		}
	}
	if err := decodeMap(file.Packages, &r.inline); err != nil {
		return nil, malformed(base.Host, err, "the packages in its packages.json are not what Composer expects")
	}
	if r.metadata, err = resolve(base, file.Metadata); err != nil {
		return nil, err
	}
	if r.metadata == "" && len(r.inline) == 0 {
		return nil, malformed(base.Host, nil, "it names no metadata-url, so it is made for Composer 1 only or holds nothing")
	}
	if r.metadata != "" && !strings.Contains(r.metadata, "%package%") {
		return nil, malformed(base.Host, nil, "its metadata-url has no place for the package's name")
	}
	if r.ChangesURL, err = resolve(base, file.Changes); err != nil {
		return nil, err
	}
	return r, r.readAdvisories(base, file.Advisories)
}

func (r *Repository) readAdvisories(base *url.URL, text json.RawMessage) (err error) {
	var config struct {
		Metadata bool   `json:"metadata"`
		API      string `json:"api-url"`
	}
	if isObject(text) {
		_ = json.Unmarshal(text, &config) // without advisories it is still a repository
	}
	r.AdvisoriesMeta = config.Metadata
	r.AdvisoriesURL, err = resolve(base, config.API)
	return err
}

// resolve completes an address that a repository names: one that begins with a
// slash is on the same host. It must not lead from https to something weaker.
func resolve(base *url.URL, address string) (string, error) {
	if address == "" {
		return "", nil
	}
	if len(address) > egress.MaxURL {
		return "", malformed(base.Host, nil, "it names an address that is too long")
	}
	// The placeholder is no valid escape.
	const hold = "HEFRINGPACKAGE"
	u, err := url.Parse(strings.ReplaceAll(address, "%package%", hold))
	if err != nil {
		return "", malformed(base.Host, err, "it names an address that is not valid")
	}
	u = base.ResolveReference(u)
	if u.Scheme != "https" && (u.Scheme != "http" || base.Scheme != "http") {
		return "", malformed(base.Host, nil, "it names an address that is not https")
	}
	if u.User != nil {
		return "", malformed(base.Host, nil, "it names an address with a user or a password in it")
	}
	return strings.ReplaceAll(u.String(), hold, "%package%"), nil
}

func malformed(host string, cause error, format string, args ...any) error {
	return models.Wrapf(models.Unavailable, cause, "The Composer repository at %s cannot be used: %s.", host, fmt.Sprintf(format, args...)).
		Because(models.ReasonMalformed)
}

// Offers tells whether the repository may have the package; most say so only when
// they are asked.
func (r *Repository) Offers(name string) bool {
	if r.inline[name] != nil {
		return true
	}
	if r.metadata == "" {
		return false
	}
	if r.names == nil && len(r.patterns) == 0 {
		return true
	}
	return r.names[name] || slices.ContainsFunc(r.patterns, func(pattern string) bool { return fits(strings.ToLower(pattern), name) })
}

// fits tells whether name is like pattern, in which * stands for any text.
func fits(pattern, name string) bool {
	first, rest, found := strings.Cut(pattern, "*")
	if !found {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	for _, part := range parts[:len(parts)-1] {
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return strings.HasSuffix(name, parts[len(parts)-1])
}

// Metadata is the address of a package's releases, or of its branches; "" when
// packages.json itself holds what there is.
func (r *Repository) Metadata(name string, branches bool) string {
	if r.metadata == "" {
		return ""
	}
	if branches {
		name += "~dev"
	}
	return strings.ReplaceAll(r.metadata, "%package%", name)
}

// Template is the address of metadata with %package% in the place of the name.
func (r *Repository) Template() string { return r.metadata }

// Inline gives the versions of a package that packages.json itself holds.
func (r *Repository) Inline(name string) ([]Package, error) {
	text, ok := r.inline[name]
	if !ok {
		return nil, nil
	}
	var entries []json.RawMessage
	if isObject(text) {
		var byVersion map[string]json.RawMessage
		if err := json.Unmarshal(text, &byVersion); err != nil {
			return nil, fmt.Errorf("parse packages of packages.json: %w", err)
		}
		for _, version := range slices.Sorted(maps.Keys(byVersion)) { // of two that are the same version always one comes first
			entries = append(entries, byVersion[version])
		}
	} else if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("parse packages of packages.json: %w", err)
	}
	return expand(name, entries, false)
}

func isObject(text json.RawMessage) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) }

// decodeMap reads an object into m; PHP writes an empty one as [].
func decodeMap[T any](text json.RawMessage, m *map[string]T) error {
	if !isObject(text) {
		var none []struct{}
		if len(text) == 0 || json.Unmarshal(text, &none) == nil && len(none) == 0 {
			*m = nil
			return nil
		}
	}
	return json.Unmarshal(text, m)
}
