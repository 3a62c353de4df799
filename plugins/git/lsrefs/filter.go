package lsrefs

import (
	"slices"
	"strings"

	"hefring/models"
)

const (
	maxPrefix   = 4096 // bytes; longer than a ref's name can be
	maxPrefixes = 4096 // that are sent; git stops narrowing at 65,536
)

// filter is which refs are wanted. Servers may send more: a prefix is only a hint
// to them.
type filter struct {
	all      bool
	names    map[string]struct{}
	prefixes []string // sorted, none begins with another
	sent     []string // for the server, sorted, none begins with another; empty asks for all
}

func newFilter(q Query) (filter, error) {
	f := filter{all: len(q.Names)+len(q.Prefixes) == 0, names: make(map[string]struct{}, len(q.Names))}
	for _, list := range [][]string{q.Names, q.Prefixes} {
		for _, part := range list {
			if len(part) > maxPrefix || strings.ContainsFunc(part, blank) {
				return filter{}, models.Errorf(models.Invalid, "%.100q cannot be the name of a ref. Correct it.", part).Because(models.ReasonRefNotFound)
			}
		}
	}
	for _, name := range q.Names {
		f.names[name] = struct{}{}
	}
	f.prefixes = reduce(q.Prefixes)
	f.sent = reduce(slices.Concat(q.Names, f.prefixes))
	if len(f.sent) > maxPrefixes || slices.Contains(f.sent, "") {
		f.sent = nil
	}
	return f, nil
}

// blank says whether a character is one that no ref has and that could end it.
func blank(r rune) bool { return r <= ' ' || r == 0x7f }

// reduce leaves out prefixes that begin with another one.
func reduce(prefixes []string) []string {
	var kept []string
	for _, prefix := range slices.Sorted(slices.Values(prefixes)) {
		if len(kept) == 0 || !strings.HasPrefix(prefix, kept[len(kept)-1]) {
			kept = append(kept, prefix)
		}
	}
	return kept
}

// wants says whether a name was asked for. Of sorted prefixes none of which begins
// with another, only the last one up to the name can be its beginning.
func (f filter) wants(name string) bool {
	if f.all {
		return true
	}
	if _, found := f.names[name]; found {
		return true
	}
	at, found := slices.BinarySearch(f.prefixes, name)
	return found || at > 0 && strings.HasPrefix(name, f.prefixes[at-1])
}
