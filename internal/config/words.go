package config

import (
	"net/url"
	"strings"
)

// hidden stands where a secret would.
const hidden = "xxxxx"

// Mask hides what is secret in a value: the password of an address, or all of it
// when it is no address.
func Mask(text string) string {
	if text == "" {
		return ""
	}
	if path, isFile := strings.CutPrefix(text, "sqlite:"); isFile && strings.HasPrefix(path, "/") {
		return text
	}
	address, err := url.Parse(text)
	if err != nil || address.Scheme == "" || address.Host == "" {
		return hidden
	}
	query := address.Query()
	for name := range query {
		if strings.Contains(strings.ToLower(name), "pass") {
			query.Set(name, hidden)
		}
	}
	address.RawQuery = query.Encode()
	return address.Redacted()
}

// nearest finds the name that a slip of the pen away from text; "" when none is
// near. The first skip bytes, which all share, do not count.
func nearest(text string, names []string, skip int) string {
	best, found := 3, ""
	for _, name := range names {
		far := distance(text, name)
		if far < best && far*3 <= len(name)-skip {
			best, found = far, name
		}
	}
	return found
}

// distance counts the letters to change, add or remove (Levenshtein 1966); far
// more than a slip for texts of very different length.
func distance(a, b string) int {
	if max(len(a), len(b)) > 100 {
		return 100
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0] // the value up and left
		row[0] = i + 1
		for j := range len(b) {
			changed := before
			if a[i] != b[j] {
				changed++
			}
			before = row[j+1]
			row[j+1] = min(changed, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
