package spec

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kind says what a node is. Makefiles are trees of PHP values: numbers stay text.
type kind int

const (
	kindText kind = iota
	kindNull
	kindTrue
	kindFalse
	kindMap // also lists: their keys are 0, 1, 2 …
)

// node is one value of a makefile. A map keeps the order in which its keys came
// first, as a PHP array does.
type node struct {
	kind   kind
	text   string
	keys   []string
	values map[string]*node
	line   int
	file   *Document // the makefile it was written in
}

func newMap(line int) *node {
	return &node{kind: kindMap, values: map[string]*node{}, line: line}
}

func newText(text string, line int) *node { return &node{text: text, line: line} }

// constant turns the words that PHP knows, in any case, into its constants.
func constant(text string, line int) *node {
	switch strings.ToLower(text) {
	case "true":
		return &node{kind: kindTrue, line: line}
	case "false":
		return &node{kind: kindFalse, line: line}
	case "null":
		return &node{kind: kindNull, line: line}
	}
	return newText(text, line)
}

func (n *node) isMap() bool { return n != nil && n.kind == kindMap }

// get finds a value; nil when n is no map or has no such key.
func (n *node) get(key string) *node {
	if !n.isMap() {
		return nil
	}
	return n.values[key]
}

func (n *node) set(key string, value *node) {
	if _, known := n.values[key]; !known {
		n.keys = append(n.keys, key)
	}
	n.values[key] = value
}

func (n *node) remove(key string) {
	delete(n.values, key)
	n.keys = slices.DeleteFunc(n.keys, func(k string) bool { return k == key })
}

// nextIndex is where “[]” puts a value: after as many as there are.
func (n *node) nextIndex() string { return strconv.Itoa(len(n.keys)) }

// empty tells what PHP's array_filter removes.
func (n *node) empty() bool {
	switch n.kind {
	case kindNull, kindFalse:
		return true
	case kindText:
		return n.text == "" || n.text == "0"
	case kindMap:
		return len(n.keys) == 0
	case kindTrue:
	}
	return false
}

// string is the value as PHP would print it. A map has none.
func (n *node) string() (string, bool) {
	switch n.kind {
	case kindText:
		return n.text, true
	case kindTrue:
		return "1", true
	case kindNull, kindFalse:
		return "", true
	case kindMap:
	}
	return "", false
}

// list tells whether a map's keys are 0, 1, 2 … in this order.
func (n *node) list() bool {
	for i, key := range n.keys {
		if key != strconv.Itoa(i) {
			return false
		}
	}
	return n.isMap()
}

var number = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

// isIndex tells whether PHP takes a key for a position.
func isIndex(key string) bool { return len(key) < 19 && number.MatchString(key) }

// attribute marks where a tree was written.
func (n *node) attribute(file *Document) {
	n.file = file
	for _, child := range n.values {
		child.attribute(file)
	}
}

// merge lays over on base, key by key: what over says wins, and the keys of base
// come first. Neither is changed.
func merge(base, over *node) *node {
	if !base.isMap() || !over.isMap() {
		return over
	}
	result := newMap(over.line)
	result.file = over.file
	for _, key := range base.keys {
		result.set(key, base.values[key])
	}
	for _, key := range over.keys {
		if old, known := result.values[key]; known {
			result.values[key] = merge(old, over.values[key])
			continue
		}
		result.set(key, over.values[key])
	}
	return result
}

// MarshalJSON writes the tree as PHP's json_encode does.
func (n *node) MarshalJSON() ([]byte, error) {
	switch n.kind {
	case kindNull:
		return []byte("null"), nil
	case kindTrue:
		return []byte("true"), nil
	case kindFalse:
		return []byte("false"), nil
	case kindText:
		return json.Marshal(n.text)
	case kindMap:
	}
	list := n.list()
	var b strings.Builder
	b.WriteByte("{["[index(list)])
	for i, key := range n.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if !list {
			name, err := json.Marshal(key)
			if err != nil {
				return nil, err
			}
			b.Write(name)
			b.WriteByte(':')
		}
		value, err := n.values[key].MarshalJSON()
		if err != nil {
			return nil, err
		}
		b.Write(value)
	}
	b.WriteByte("}]"[index(list)])
	return []byte(b.String()), nil
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}
