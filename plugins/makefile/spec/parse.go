package spec

import (
	"context"
	"crypto/md5" //nolint:gosec // the checksum that the users of makefiles know
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"hefring/models"
)

// maxWarnings is how many warnings one makefile gives.
const maxWarnings = 50

// Formats of makefiles.
const (
	FormatINI  = "ini"
	FormatYAML = "yaml"
)

var (
	saysYAML = regexp.MustCompile(`(?m)^\s*core:`)
	saysINI  = regexp.MustCompile(`(?m)^\s*core\s*=`)
)

// Parse reads one makefile that includes nothing. name is what errors call it.
func Parse(text []byte, name string) (*Makefile, error) {
	return Load(context.Background(), &alone{text: text}, Ref{Path: name})
}

// alone is the Loader of one text.
type alone struct {
	text []byte
	read bool
}

func (a *alone) Read(_ context.Context, ref Ref, _ int64) ([]byte, Ref, error) {
	if a.read {
		return nil, ref, models.Errorf(models.NotFound, "This makefile cannot include others.")
	}
	a.read = true
	return a.text, ref, nil
}

func (*alone) Commit(context.Context, Download) (string, error) {
	return "", models.Errorf(models.Invalid, "Nothing can be included here.")
}

func (*alone) Local() bool { return true }

// parse reads the text of a makefile into a tree, in the format that its content
// shows.
func parse(doc *Document) (*node, []Warning, error) {
	if err := checkText(doc.Text); err != nil {
		return nil, nil, doc.wrong(err)
	}
	text := strings.TrimPrefix(string(doc.Text), "\ufeff")
	tree, warnings, err := parseText(doc, text)
	if err != nil {
		return nil, nil, doc.wrong(err)
	}
	if !tree.isMap() || len(tree.keys) == 0 {
		return nil, nil, doc.wrong(errors.New("it holds no settings; a makefile begins with lines such as “core = 7.x” and “api = 2”"))
	}
	tree.attribute(doc)
	for i := range warnings {
		warnings[i].File = doc.Ref.String()
	}
	return tree, warnings, nil
}

func parseText(doc *Document, text string) (*node, []Warning, error) {
	switch {
	case saysYAML.MatchString(text):
		doc.Format = FormatYAML
		tree, err := parseYAML(text)
		return tree, nil, err
	case saysINI.MatchString(text):
		doc.Format = FormatINI
		return parseINI(text)
	}
	doc.Format = FormatYAML
	tree, yamlErr := parseYAML(text)
	if yamlErr == nil && tree.isMap() && !tree.list() {
		return tree, nil, nil
	}
	ini, warnings, err := parseINI(text)
	if err != nil || ini != nil {
		doc.Format = FormatINI
		return ini, warnings, err
	}
	return tree, nil, yamlErr
}

func checkText(text []byte) error {
	switch {
	case len(text) > MaxText:
		return fmt.Errorf("it is larger than %d bytes, which no makefile needs", MaxText)
	case !utf8.Valid(text):
		return errors.New("it is no text in UTF-8. Save it in that encoding")
	case strings.IndexByte(string(text), 0) >= 0:
		return errors.New("it holds zero bytes, so it is no text")
	}
	if head := strings.ToLower(strings.TrimSpace(string(text[:min(len(text), 200)]))); strings.HasPrefix(head, "<!doctype") || strings.HasPrefix(head, "<html") || strings.HasPrefix(head, "<?xml") {
		return errors.New("it is a web page. Use the address of the file itself, often called “raw”")
	}
	return nil
}

// document describes a makefile that was read.
func document(ref Ref, text []byte) *Document {
	long, short := sha256.Sum256(text), md5.Sum(text) //nolint:gosec // shown to people, trusted for nothing
	return &Document{Ref: ref, Text: text, SHA256: hex.EncodeToString(long[:]), MD5: hex.EncodeToString(short[:])}
}

func (d *Document) wrong(err error) error {
	text := err.Error()
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return models.Wrapf(models.Invalid, err, "The makefile %s cannot be read: %s", d.Ref, text).Because(models.ReasonMalformed)
}

// quote puts a text into quotation marks.
func quote(text string) string { return "“" + text + "”" }

// shorten makes a foreign text fit for a message.
func shorten(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 120 {
		return string(runes[:119]) + "…"
	}
	return text
}

// String names the file for people.
func (r Ref) String() string {
	switch {
	case r.URL != "":
		return r.URL
	case r.Git != "" && len(r.Commit) >= 7:
		return r.Path + " of " + r.Git + " at " + r.Commit[:7]
	case r.Git != "":
		return r.Path + " of " + r.Git
	}
	return r.Path
}

// IsZero tells whether it names nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

func (w Warning) String() string {
	if w.Line == 0 {
		return w.File + ": " + w.Message
	}
	return w.File + ", line " + strconv.Itoa(w.Line) + ": " + w.Message
}
