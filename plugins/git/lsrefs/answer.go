package lsrefs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"slices"
	"strings"
	"time"

	"hefring/models"
)

// handshake is what a server said that it can do.
type handshake struct {
	old    bool   // it does not speak version 2
	format string // of its object names
	unborn bool   // it can name the branch of a HEAD without a commit
	until  time.Time
}

// maxCapabilities is how many bytes a server may need to say what it can do.
const maxCapabilities = 64 << 10

// discover asks what the server can do.
func (c *call) discover(ctx context.Context) (handshake, error) {
	resp, err := c.get(ctx)
	if err != nil {
		return handshake{}, err
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != advertisement {
		defer func() { _ = resp.Body.Close() }()
		if isDumb(resp.Body) {
			return handshake{old: true}, nil
		}
		return handshake{}, c.notGit("content type " + kind)
	}
	shaken, err := readCapabilities(resp.Body)
	if err != nil {
		_ = resp.Body.Close()
		return handshake{}, c.answerError(err)
	}
	if shaken.old {
		_ = resp.Body.Close() // its refs follow, all of them
		return shaken, nil
	}
	finish(resp.Body)
	return shaken, nil
}

// isDumb says whether an answer is info/refs as a file: lines of object names and
// refs, or nothing at all for an empty repository.
func isDumb(r io.Reader) bool {
	first := make([]byte, 41)
	n, err := io.ReadFull(r, first)
	if n == 0 {
		return errors.Is(err, io.EOF)
	}
	return n == 41 && first[40] == '\t' && isOID(string(first[:40]), "sha1")
}

// said is an error in the server's own words.
type said string

func (s said) Error() string { return string(s) }

// answerError turns an error of reading an answer into one for people.
func (c *call) answerError(err error) error {
	if words, ok := errors.AsType[said](err); ok {
		return c.saidError(string(words))
	}
	return c.explain(err)
}

// readCapabilities reads the answer to a handshake. Version 2 begins with a line
// that says so, which may be preceded by the service's name as in older versions.
func readCapabilities(r io.Reader) (handshake, error) {
	lines := newScanner(r)
	line, err := firstLine(lines)
	if err != nil {
		return handshake{}, err
	}
	if line != "version 2" {
		return oldVersion(line)
	}
	shaken := handshake{format: "sha1"}
	can := false
	for {
		kind, line, err := lines.next()
		switch {
		case err != nil:
			return handshake{}, err
		case kind == flush && can:
			return shaken, nil
		case kind == flush:
			return handshake{}, broken("no ls-refs among the capabilities")
		case kind != data:
			return handshake{}, broken("a separator among the capabilities")
		}
		name, value, _ := strings.Cut(string(line), "=")
		switch name {
		case "ls-refs":
			can = true
			shaken.unborn = slices.Contains(strings.Fields(value), "unborn")
		case "object-format":
			if value != "sha1" && value != "sha256" {
				return handshake{}, broken("object names of an unknown kind")
			}
			shaken.format = value
		}
	}
}

// oldVersion judges the first line of a server that does not speak version 2: it
// names version 1, or is the first ref of version 0 with the capabilities behind
// it, or is missing because there are no refs.
func oldVersion(line string) (handshake, error) {
	oid, _, isRef := strings.Cut(line, " ")
	isRef = isRef && (len(oid) == 40 || len(oid) == 64) && strings.Trim(oid, "0123456789abcdef") == ""
	if line == "" || line == "version 1" || isRef {
		return handshake{old: true}, nil
	}
	return handshake{}, broken("something else where the version should be")
}

// firstLine is the line that says the version.
func firstLine(lines *scanner) (string, error) {
	text, err := dataLine(lines)
	if err != nil || text != "# service="+service {
		return text, err
	}
	kind, _, err := lines.next()
	if err != nil {
		return "", err
	}
	if kind != flush {
		return "", broken("no flush after the service")
	}
	return dataLine(lines)
}

// dataLine is the next line; a server's error is a said. A flush is "".
func dataLine(lines *scanner) (string, error) {
	kind, line, err := lines.next()
	switch {
	case err != nil:
		return "", err
	case kind == flush:
		return "", nil
	case kind != data:
		return "", broken("a separator where the version should be")
	}
	text := string(line)
	if words, isError := strings.CutPrefix(text, "ERR "); isError {
		return "", said(words)
	}
	return text, nil
}

// listWith asks a server that can do what shaken says.
func (c *call) listWith(ctx context.Context, shaken handshake, query Query, filter filter) (Answer, error) {
	if shaken.old {
		return Answer{}, ErrOldServer
	}
	resp, err := c.post(ctx, command(shaken, query, filter))
	if err != nil {
		return Answer{}, err
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != result {
		_ = resp.Body.Close()
		c.refused = true
		return Answer{}, c.notGit("content type " + kind)
	}
	answer, err := c.readRefs(resp.Body, shaken, filter)
	if err != nil {
		_ = resp.Body.Close()
		return Answer{}, err
	}
	finish(resp.Body)
	return answer, nil
}

// command is the request for refs.
func command(shaken handshake, query Query, filter filter) []byte {
	var b bytes.Buffer
	writeLine(&b, "command=ls-refs")
	writeLine(&b, "agent="+strings.ReplaceAll(userAgent, " ", "-"))
	writeLine(&b, "object-format="+shaken.format)
	b.WriteString("0001")
	if query.Peel {
		writeLine(&b, "peel")
	}
	if query.Symrefs {
		writeLine(&b, "symrefs")
		if shaken.unborn {
			writeLine(&b, "unborn")
		}
	}
	for _, prefix := range filter.sent {
		writeLine(&b, "ref-prefix "+prefix)
	}
	b.WriteString("0000")
	return b.Bytes()
}

// readRefs reads the answer to ls-refs.
func (c *call) readRefs(r io.Reader, shaken handshake, filter filter) (Answer, error) {
	answer, err := parseRefs(r, shaken.format, filter, c.limits.Refs)
	if errors.Is(err, errTooMany) {
		return Answer{}, models.Wrapf(models.Unavailable, err, "%s lists more than %d refs. Follow a branch or tag by its name, or remove refs from the repository.", c.host, c.limits.Refs).
			Because(models.ReasonTooLarge)
	}
	if err != nil {
		return Answer{}, c.answerError(err)
	}
	return answer, nil
}

// errTooMany ends an answer of too many refs.
var errTooMany = errors.New("too many refs")

// parseRefs reads refs up to the flush that ends them, and keeps those that the
// filter wants.
func parseRefs(r io.Reader, format string, filter filter, limit int) (Answer, error) {
	lines := newScanner(r)
	answer := Answer{ObjectFormat: format}
	for seen := 0; ; seen++ {
		kind, line, err := lines.next()
		switch {
		case err != nil:
			return Answer{}, err
		case kind == flush:
			answer.Refs, err = inOrder(answer.Refs)
			return answer, err
		case kind != data:
			return Answer{}, broken("a separator among the refs")
		case seen >= limit:
			return Answer{}, errTooMany
		}
		ref, err := parseRef(string(line), format)
		if err != nil {
			return Answer{}, err
		}
		switch {
		case !filter.wants(ref.Name) || !validName(ref.Name) || isZero(ref.OID):
		case ref.OID != "":
			answer.Refs = append(answer.Refs, ref)
		case ref.Name == "HEAD":
			answer.Unborn = ref.Target
		}
	}
}

// parseRef reads one line: an object's name or the word unborn, the ref's name,
// attributes. An unborn ref comes without an OID. Unknown attributes are left out.
func parseRef(line, format string) (Ref, error) {
	if words, isError := strings.CutPrefix(line, "ERR "); isError {
		return Ref{}, said(words)
	}
	if strings.ContainsFunc(line, func(r rune) bool { return r != ' ' && blank(r) }) {
		return Ref{}, broken("control characters in a ref")
	}
	oid, rest, _ := strings.Cut(line, " ")
	name, attributes, _ := strings.Cut(rest, " ")
	if name == "" {
		return Ref{}, broken("a ref without a name")
	}
	ref := Ref{Name: name}
	if oid != "unborn" {
		if !isOID(oid, format) {
			return Ref{}, broken("a ref without a %s object name", format)
		}
		ref.OID = oid
	}
	for attribute := range strings.SplitSeq(attributes, " ") {
		if target, ok := strings.CutPrefix(attribute, "symref-target:"); ok && validName(target) {
			ref.Target = target
		}
		if peeled, ok := strings.CutPrefix(attribute, "peeled:"); ok {
			if !isOID(peeled, format) {
				return Ref{}, broken("a tag without a %s object name", format)
			}
			ref.Peeled = peeled
		}
	}
	return ref, nil
}

// inOrder sorts refs by name; a name that comes twice is an error, because nobody
// could say which one is meant.
func inOrder(refs []Ref) ([]Ref, error) {
	byName := func(a, b Ref) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(refs, byName) {
		slices.SortFunc(refs, byName)
	}
	for i := 1; i < len(refs); i++ {
		if refs[i].Name == refs[i-1].Name {
			return nil, broken("the same ref twice")
		}
	}
	return refs, nil
}

// isZero says whether an object's name is the one that stands for none. Servers
// of git tell it for refs whose names they refuse themselves.
func isZero(oid string) bool { return oid != "" && strings.Trim(oid, "0") == "" }

// isOID says whether text is an object's name.
func isOID(text, format string) bool {
	length := 40
	if format == "sha256" {
		length = 64
	}
	return len(text) == length && strings.Trim(text, "0123456789abcdef") == ""
}

// validName says whether git takes a name for a ref's, as git-check-ref-format
// describes. Refs with other names could not be fetched, so they are passed over.
func validName(name string) bool {
	if name == "HEAD" {
		return true
	}
	if !strings.HasPrefix(name, "refs/") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") || strings.Contains(name, "@{") ||
		strings.ContainsAny(name, "~^:?*[\\") || strings.ContainsFunc(name, blank) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}
