package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// builder makes a Makefile out of a merged tree. It collects what is wrong
// instead of stopping at the first problem.
type builder struct {
	reader   *reader
	top      *Document
	local    bool
	problems []Problem
	warnings []Warning
}

func newBuilder(r *reader) *builder {
	b := &builder{reader: r, local: r.loader.Local()}
	if len(r.read) > 0 {
		b.top = r.read[0]
	}
	return b
}

// entry is one project, library or part of it, with the key that messages name.
type entry struct {
	name string
	key  string // projects[views]
	node *node
}

func (e entry) in(name string) string { return e.key + "[" + name + "]" }

func (b *builder) wrong(n *node, key, format string, args ...any) {
	p := Problem{Key: key, Message: fmt.Sprintf(format, args...)}
	if b.top != nil {
		p.File = b.top.Ref
	}
	if n != nil {
		p.Line = n.line
		if n.file != nil {
			p.File = n.file.Ref
		}
	}
	b.problems = append(b.problems, p)
}

func (b *builder) warn(n *node, key, format string, args ...any) {
	if len(b.warnings) >= maxWarnings {
		return
	}
	w := Warning{Message: shorten(key) + ": " + fmt.Sprintf(format, args...) + "."}
	if b.top != nil {
		w.File = b.top.Ref.String()
	}
	if n != nil {
		w.Line = n.line
		if n.file != nil {
			w.File = n.file.Ref.String()
		}
	}
	b.warnings = append(b.warnings, w)
}

var (
	coreText = regexp.MustCompile(`^([0-9]{1,3})(\.(x|[0-9]+(-[a-z0-9]+)?))?$`)
	apiText  = regexp.MustCompile(`^0*2(\.0*)?$`)
)

// normalise checks the sections of a merged tree and brings their shorthands
// into one form, as Drush's make_validate_info_file does. The tree changes.
func (b *builder) normalise(tree *node) {
	b.core(tree)
	b.api(tree)
	b.section(tree, "projects", func(list *node, key string) { b.shorthand(list, key) })
	b.section(tree, "libraries", func(list *node, key string) {
		if !list.values[key].isMap() {
			b.wrong(list.values[key], "libraries["+key+"]", "a library needs a download; write libraries[%s][download][type] and [url]", shorten(key))
			list.remove(key)
		}
	})
	b.defaults(tree)
}

func (b *builder) core(tree *node) {
	n := tree.get("core")
	if n == nil || n.empty() {
		b.wrong(n, "core", "the makefile does not say for which Drupal it is; write core = 7.x")
		return
	}
	text, _ := n.string()
	core, message := normalCore(text)
	if message != "" {
		b.wrong(n, "core", "%s", message)
		return
	}
	tree.set("core", &node{text: core, line: n.line, file: n.file})
}

// normalCore brings 7, 7.x and 7.102 into the form 7.x.
func normalCore(text string) (core, message string) {
	m := coreText.FindStringSubmatch(text)
	if m == nil {
		return "", quote(shorten(text)) + " is no version of Drupal core; write one such as 7.x or 10.x"
	}
	if major, err := strconv.Atoi(m[1]); err != nil || major < 6 {
		return "", fmt.Sprintf("Drupal %s is too old to be built; Drupal 6 is the oldest", m[1])
	}
	return strings.TrimLeft(m[1], "0") + ".x", ""
}

func (b *builder) api(tree *node) {
	n := tree.get("api")
	if n == nil || n.kind == kindNull {
		b.warn(nil, "api", "the makefile does not name its version of the format; write api = 2")
		tree.set("api", newText("2", 0))
		return
	}
	if text, ok := n.string(); !ok || !apiText.MatchString(strings.TrimSpace(text)) {
		b.wrong(n, "api", "%s is no version of the format that can be read; write api = 2", quote(shorten(text)))
	}
}

// section removes the entries that were taken back, and visits the others.
func (b *builder) section(tree *node, name string, visit func(list *node, key string)) {
	list := tree.get(name)
	switch {
	case list == nil:
		return
	case list.kind == kindNull:
		tree.set(name, newMap(list.line))
		return
	case !list.isMap():
		b.wrong(list, name, "it must be a list or a map of %s; write %s[NAME]", name, name)
		tree.remove(name)
		return
	}
	fresh := newMap(list.line)
	fresh.file = list.file
	for _, key := range list.keys {
		if !list.values[key].empty() {
			fresh.set(key, list.values[key])
		}
	}
	tree.set(name, fresh)
	for _, key := range slices.Clone(fresh.keys) {
		visit(fresh, key)
	}
}

func (b *builder) shorthand(list *node, key string) {
	item, name := list.values[key], "projects["+key+"]"
	switch {
	case item.isMap() && !isIndex(key):
		return
	case item.kind == kindText && !isIndex(key):
		entry := newMap(item.line)
		entry.file = item.file
		entry.set("version", item)
		list.values[key] = entry
		return
	case item.kind == kindTrue:
		b.wrong(item, name, "TRUE is no version; write projects[] = %s for its newest release, or projects[%s][version]", shorten(key), shorten(key))
	default:
		b.wrong(item, name, "a project needs a name; write projects[NAME] with its settings, or projects[] = NAME")
	}
	list.remove(key)
}

// defaults lays every entry on the defaults of its section.
func (b *builder) defaults(tree *node) {
	all := tree.get("defaults")
	if all == nil || all.empty() {
		return
	}
	if !all.isMap() {
		b.wrong(all, "defaults", "it must be a map; write defaults[projects][subdir] = contrib")
		return
	}
	for _, section := range all.keys {
		values, list := all.values[section], tree.get(section)
		switch {
		case section != "projects" && section != "libraries":
			b.warn(values, "defaults["+section+"]", "there are defaults for projects and libraries only, so this does nothing")
		case values.empty() || list == nil:
		case !values.isMap():
			b.wrong(values, "defaults["+section+"]", "it must be a map; write defaults[%s][subdir] = contrib", section)
		default:
			for _, key := range list.keys {
				list.values[key] = merge(values, list.values[key])
			}
		}
	}
}
