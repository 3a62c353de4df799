package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const (
	maxYAMLDepth = 50     // levels of nesting
	maxYAMLNodes = 50_000 // values, counting those that aliases repeat
	maxYAMLText  = 256 << 10
	maxYAMLMarks = 20_000
)

// parseYAML reads a YAML makefile. Scalars stay as they were written: 1.30 is no
// number.
func parseYAML(text string) (*node, error) {
	if err := checkNesting(text); err != nil {
		return nil, err
	}
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return nil, yamlError(err)
	}
	if len(file.Docs) > 1 {
		return nil, errors.New("it holds several documents, separated by ---; a makefile is one")
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return &node{kind: kindNull, line: 1}, nil
	}
	r := &yamlReader{anchors: map[string]ast.Node{}}
	return r.read(file.Docs[0].Body, 0)
}

// checkNesting refuses texts on which the parser would recurse deeply, or work
// long: its time grows with the square of what a map holds.
func checkNesting(text string) error {
	if len(text) > maxYAMLText {
		return fmt.Errorf("it is larger than %d bytes. Split it, or write it as INI", maxYAMLText)
	}
	depth, marks := 0, 0
	for line := range strings.Lines(text) {
		dashes := 0
		for _, c := range []byte(line) {
			switch c {
			case '[', '{':
				depth++
				marks++
			case ']', '}':
				depth = max(depth-1, 0)
			case '-':
				dashes++
			case '?', '!', '&', '*', ':', ',', '\n':
				dashes++
				marks++
			}
		}
		switch {
		case depth > maxYAMLDepth:
			return fmt.Errorf("brackets are nested more than %d deep", maxYAMLDepth)
		case dashes > 1000:
			return errors.New("a line holds more than 1000 dashes, colons and other marks")
		case marks > maxYAMLMarks:
			return fmt.Errorf("it holds more than %d lines, colons and other marks. Split it, or write it as INI", maxYAMLMarks)
		}
	}
	return nil
}

func yamlError(err error) error {
	if e, ok := errors.AsType[yaml.Error](err); ok {
		if tk := e.GetToken(); tk != nil && tk.Position != nil {
			return fmt.Errorf("line %d: %s", tk.Position.Line, shorten(e.GetMessage()))
		}
		return errors.New(shorten(e.GetMessage()))
	}
	return errors.New(shorten(firstLine(err.Error())))
}

type yamlReader struct {
	anchors map[string]ast.Node
	open    []string // anchors that are being read
	nodes   int
}

func (r *yamlReader) read(n ast.Node, depth int) (*node, error) {
	line := lineOf(n)
	r.nodes++
	switch {
	case depth > maxYAMLDepth:
		return nil, fmt.Errorf("line %d: it is nested more than %d deep", line, maxYAMLDepth)
	case r.nodes > maxYAMLNodes:
		return nil, fmt.Errorf("line %d: it holds more than %d values", line, maxYAMLNodes)
	}
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return &node{kind: kindNull, line: line}, nil
	case *ast.BoolNode:
		return constant(n.GetToken().Value, line), nil
	case *ast.LiteralNode:
		return newText(n.Value.Value, line), nil
	case *ast.StringNode:
		return newText(n.Value, line), nil
	case *ast.MappingNode:
		return r.readMap(n.Values, line, depth)
	case *ast.MappingValueNode:
		return r.readMap([]*ast.MappingValueNode{n}, line, depth)
	case *ast.SequenceNode:
		return r.readList(n, line, depth)
	case *ast.AnchorNode:
		r.anchors[n.Name.GetToken().Value] = n.Value
		return r.read(n.Value, depth+1)
	case *ast.AliasNode:
		return r.readAlias(n, line, depth)
	case *ast.TagNode:
		return r.read(n.Value, depth+1)
	case ast.ScalarNode:
		return newText(n.GetToken().Value, line), nil
	}
	return nil, fmt.Errorf("line %d: makefiles cannot hold this kind of value", line)
}

func lineOf(n ast.Node) int {
	if n == nil {
		return 0
	}
	tk := n.GetToken()
	if tk == nil || tk.Position == nil {
		return 0
	}
	return tk.Position.Line
}

func (r *yamlReader) readList(n *ast.SequenceNode, line, depth int) (*node, error) {
	result := newMap(line)
	for _, value := range n.Values {
		child, err := r.read(value, depth+1)
		if err != nil {
			return nil, err
		}
		result.set(result.nextIndex(), child)
	}
	return result, nil
}

func (r *yamlReader) readMap(values []*ast.MappingValueNode, line, depth int) (*node, error) {
	result := newMap(line)
	for _, v := range values {
		if _, merging := v.Key.(*ast.MergeKeyNode); merging {
			if err := r.mergeKey(result, v.Value, depth); err != nil {
				return nil, err
			}
			continue
		}
		key, err := r.readKey(v.Key, depth)
		if err != nil {
			return nil, err
		}
		child, err := r.read(v.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if at := lineOf(v.Key); at > 0 {
			child = &node{kind: child.kind, text: child.text, keys: child.keys, values: child.values, line: at}
		}
		result.set(key, child)
	}
	return result, nil
}

func (r *yamlReader) readKey(key ast.MapKeyNode, depth int) (string, error) {
	n, err := r.read(keyNode(key), depth+1)
	if err != nil {
		return "", err
	}
	text := n.text
	if n.kind != kindText {
		text = key.GetToken().Value
	}
	if n.kind == kindMap || text == "" {
		return "", fmt.Errorf("line %d: a key must be a word", lineOf(key))
	}
	return text, nil
}

func keyNode(key ast.MapKeyNode) ast.Node {
	if complexKey, ok := key.(*ast.MappingKeyNode); ok {
		return complexKey.Value
	}
	return key
}

// mergeKey does “<<: *name”: what the map itself says wins.
func (r *yamlReader) mergeKey(into *node, value ast.Node, depth int) error {
	from, err := r.read(value, depth+1)
	if err != nil {
		return err
	}
	if !from.isMap() {
		return fmt.Errorf("line %d: << takes a map", lineOf(value))
	}
	sources := []*node{from}
	if from.list() {
		sources = nil
		for _, key := range from.keys {
			sources = append(sources, from.values[key])
		}
	}
	for _, source := range sources {
		for _, key := range source.keys {
			if into.get(key) == nil {
				into.set(key, source.values[key])
			}
		}
	}
	return nil
}

func (r *yamlReader) readAlias(n *ast.AliasNode, line, depth int) (*node, error) {
	name := n.Value.GetToken().Value
	target, known := r.anchors[name]
	if !known {
		return nil, fmt.Errorf("line %d: there is no anchor &%s before *%s", line, shorten(name), shorten(name))
	}
	if slices.Contains(r.open, name) {
		return nil, fmt.Errorf("line %d: *%s holds itself", line, shorten(name))
	}
	r.open = append(r.open, name)
	defer func() { r.open = r.open[:len(r.open)-1] }()
	return r.read(target, depth+1)
}
