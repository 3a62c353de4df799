package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const (
	maxFile   = 64 << 10 // bytes of a settings file, and of a file that holds a secret
	maxMarks  = 1000     // brackets; the time that the parser takes grows with the square of those left open
	maxListed = 1000     // entries of one list
)

// entry is one line of a settings file.
type entry struct {
	name, text, place string
	list              bool // it was written as a list
}

// readFile reads a settings file: YAML, one plain value or one list below each
// key. What it could not take is among the problems; the rest is given all the
// same.
func readFile(path string) ([]entry, []Problem) {
	text, err := readSmall(path)
	if err != nil {
		return nil, []Problem{{Place: path, Text: err.Error()}}
	}
	if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) > maxMarks {
		return nil, []Problem{{Place: path, Text: fmt.Sprintf("It holds more than %d brackets. A settings file has one line “name: value” for each setting.", maxMarks)}}
	}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []Problem{yamlProblem(path, err)}
	}
	r := &fileReader{path: path, seen: map[string]string{}}
	for i, doc := range file.Docs {
		if i > 0 {
			r.wrong(doc.Body, "", "A settings file is one document. Remove the line with three dashes.")
			break
		}
		r.document(doc.Body)
	}
	return r.entries, r.problems
}

// readSmall reads a whole file that is meant to be short.
func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // whoever starts the program names it
	if err != nil {
		return nil, unreadable(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, unreadable(err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("It is larger than %d KiB. Name another file.", maxFile>>10) //nolint:revive,staticcheck // a sentence for a person
	}
	return text, nil
}

// unreadable says what to do about a file that cannot be read.
func unreadable(err error) error {
	cause := err
	if pathError, ok := errors.AsType[*os.PathError](err); ok {
		cause = pathError.Err
	}
	hint := "Name another file."
	switch {
	case errors.Is(err, os.ErrPermission):
		hint = "Run Hefring as a user who may read it, or name another file."
	case errors.Is(err, os.ErrNotExist):
		hint = "Make it, or name another file."
	}
	return fmt.Errorf("It cannot be read: %w. %s", cause, hint) //nolint:staticcheck // a sentence for a person
}

func yamlProblem(path string, err error) Problem {
	problem := Problem{Place: path, Text: "It is no YAML: " + strings.SplitN(err.Error(), "\n", 2)[0] + "."}
	if e, ok := errors.AsType[yaml.Error](err); ok {
		problem.Text = "It is no YAML: " + strings.SplitN(e.GetMessage(), "\n", 2)[0] + "."
		if tk := e.GetToken(); tk != nil && tk.Position != nil {
			problem.Place = fmt.Sprintf("%s:%d", path, tk.Position.Line)
		}
	}
	problem.Text += " Write one line “name: value” for each setting, and values with marks such as # or : in quotes."
	return problem
}

type fileReader struct {
	path     string
	entries  []entry
	problems []Problem
	seen     map[string]string // key -> where it stood first
}

func (r *fileReader) place(n ast.Node) string {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return r.path
	}
	return fmt.Sprintf("%s:%d", r.path, n.GetToken().Position.Line)
}

func (r *fileReader) wrong(n ast.Node, name, text string) {
	r.problems = append(r.problems, Problem{Place: r.place(n), Setting: name, Text: text})
}

func (r *fileReader) document(body ast.Node) {
	switch n := body.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode: // an empty file sets nothing
	case *ast.MappingNode:
		for _, value := range n.Values {
			r.line(value)
		}
	case *ast.MappingValueNode:
		r.line(n)
	default:
		r.wrong(body, "", "Write one line “name: value” for each setting.")
	}
}

func (r *fileReader) line(n *ast.MappingValueNode) {
	key, ok := n.Key.(ast.ScalarNode)
	if !ok {
		r.wrong(n.Key, "", "Write the name of a setting, such as listen, before the colon.")
		return
	}
	name := key.GetToken().Value
	if len(name) > maxQuoted || strings.ContainsFunc(name, isControl) {
		r.wrong(n.Key, "", "No setting has such a name. Correct it, or remove the line.")
		return
	}
	if first, twice := r.seen[name]; twice {
		r.wrong(n.Key, name, "It stands at "+first+" already. Remove one of them.")
		return
	}
	r.seen[name] = r.place(n.Key)
	one := entry{name: name, place: r.place(n.Key)}
	if sequence, isList := n.Value.(*ast.SequenceNode); isList {
		one.list = true
		one.text, ok = r.list(name, sequence)
	} else {
		one.text, ok = r.scalar(name, n.Value)
	}
	if ok {
		r.entries = append(r.entries, one)
	}
}

func (r *fileReader) list(name string, n *ast.SequenceNode) (string, bool) {
	if len(n.Values) > maxListed {
		r.wrong(n, name, fmt.Sprintf("It lists more than %d values.", maxListed))
		return "", false
	}
	var values []string
	for _, value := range n.Values {
		text, ok := r.scalar(name, value)
		if !ok {
			return "", false
		}
		values = append(values, text)
	}
	return kong.JoinEscaped(values, ','), true
}

// scalar gives a value as it was written: 010 and 1.30 are no numbers yet.
func (r *fileReader) scalar(name string, n ast.Node) (string, bool) {
	var text string
	switch n := n.(type) {
	case nil, *ast.NullNode:
		r.wrong(n, name, "It has no value. Write one behind the colon, or remove the line.")
		return "", false
	case *ast.StringNode:
		text = n.Value
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		text = n.GetToken().Value
	default:
		r.wrong(n, name, "It takes a plain value on one line. Put values with marks such as &, * or { in quotes.")
		return "", false
	}
	if strings.ContainsFunc(text, isControl) {
		r.wrong(n, name, "It takes a plain value on one line.")
		return "", false
	}
	return text, true
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }
