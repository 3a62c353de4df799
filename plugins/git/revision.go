package git

import (
	"fmt"
	"regexp"
	"strings"
)

// tip is where a ref stands.
type tip struct {
	ref    string // full name, HEAD, or byCommit
	commit string
	tag    string // annotated tag that names the commit, "" for none
}

// byCommit stands in a revision for the ref of a source that names a commit.
const byCommit = "commit"

const tagFolder = "refs/tags/"

// format names the hash of the repository's objects.
func (t tip) format() string {
	if len(t.commit) == sha256Length {
		return "sha256"
	}
	return "sha1"
}

// Lengths of object names in hexadecimal digits.
const (
	sha1Length   = 40
	sha256Length = 64
)

func (t tip) revision() string {
	text := "git:" + t.ref + "@" + t.format() + ":" + t.commit
	if t.tag != "" {
		text += ";tag:" + t.tag
	}
	return text
}

// isTag tells whether the ref is one that is not meant to move.
func (t tip) isTag() bool { return strings.HasPrefix(t.ref, tagFolder) }

// name is the ref as people write it.
func (t tip) name() string {
	for _, folder := range []string{"refs/heads/", tagFolder} {
		if short, ok := strings.CutPrefix(t.ref, folder); ok {
			return short
		}
	}
	return t.ref
}

// label is a short name of the version for people.
func (t tip) label() string {
	if name := t.name(); t.isTag() && len(name) <= 40 {
		return name
	}
	return t.commit[:7]
}

var revisionPattern = regexp.MustCompile(`^git:(HEAD|commit|refs/[^\x00-\x20\x7f]+)@(?:sha1:([0-9a-f]{40})|sha256:([0-9a-f]{64}))(?:;tag:([0-9a-f]{40}|[0-9a-f]{64}))?$`)

func parseRevision(text string) (tip, error) {
	match := revisionPattern.FindStringSubmatch(text)
	if match == nil {
		return tip{}, fmt.Errorf("malformed git revision %.200q", text)
	}
	t := tip{ref: match[1], commit: match[2] + match[3], tag: match[4]}
	if t.tag != "" && len(t.tag) != len(t.commit) || strings.HasPrefix(t.ref, "refs/") && !validRef(t.ref) {
		return tip{}, fmt.Errorf("malformed git revision %.200q", text)
	}
	return t, nil
}

var refCharacters = regexp.MustCompile(`^[^\x00-\x20\x7f~^:?*\[\\]+$`)

// validName follows git check-ref-format for a branch or tag.
func validName(name string) bool {
	if len(name) > 250 || !refCharacters.MatchString(name) || name == "@" ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasSuffix(name, ".") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasPrefix(part, "-") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// validRef accepts full names only.
func validRef(ref string) bool {
	rest, ok := strings.CutPrefix(ref, "refs/")
	return ok && validName(rest) && strings.Contains(rest, "/")
}

func isHex(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }

func isObject(text string) bool {
	return (len(text) == sha1Length || len(text) == sha256Length) && isHex(text)
}
