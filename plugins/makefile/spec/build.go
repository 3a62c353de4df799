package spec

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// build makes the Makefile. It is only whole when there are no problems.
func (b *builder) build(tree *node) (*Makefile, []Problem) {
	b.normalise(tree)
	m := &Makefile{API: "2", Base: b.top.Ref}
	m.Core, _ = text(tree.get("core"))
	for _, doc := range b.reader.read {
		m.Read = append(m.Read, *doc)
	}
	b.topLevel(tree)
	if count := count(tree.get("projects")) + count(tree.get("libraries")); count > MaxEntries {
		b.wrong(nil, "projects", "it names %d projects and libraries; at most %d are built", count, MaxEntries)
		return m, b.problems
	}
	b.entries(tree, "projects", func(e entry) { m.Projects = append(m.Projects, b.project(e, m.Core)) })
	b.entries(tree, "libraries", func(e entry) {
		if library, ok := b.library(e); ok {
			m.Libraries = append(m.Libraries, library)
		}
	})
	m.Translations = b.languages(tree.get("translations"), "translations")
	b.options(tree.get("options"), &m.Options)
	m.Warnings = append(slices.Clone(b.reader.warnings), b.warnings...)
	return m, b.problems
}

func count(n *node) int {
	if n == nil {
		return 0
	}
	return len(n.keys)
}

func (b *builder) entries(tree *node, section string, visit func(entry)) {
	list := tree.get(section)
	if !list.isMap() {
		return
	}
	for _, key := range list.keys {
		visit(entry{name: key, key: section + "[" + key + "]", node: list.values[key]})
	}
}

func (b *builder) topLevel(tree *node) {
	for _, key := range tree.keys {
		switch key {
		case "core", "api", "projects", "libraries", "includes", "overrides", "defaults", "translations", "options", "format":
			continue
		}
		if !strings.Contains(key, "\n") { // the parser warned of glued lines already
			b.warn(tree.values[key], key, "makefiles have no such setting, so this does nothing")
		}
	}
}

// options takes the command options that a makefile may set; the others could
// make a build weaker or write elsewhere.
func (b *builder) options(n *node, o *Options) {
	if n == nil || n.empty() {
		return
	}
	if !n.isMap() {
		b.wrong(n, "options", "it must be a map; write options[no-core] = TRUE")
		return
	}
	flags := map[string]*bool{
		"working-copy": &o.WorkingCopy, "no-core": &o.NoCore, "no-patch-txt": &o.NoPatchTxt,
		"no-gitinfofile": &o.NoGitInfoFile, "no-recursion": &o.NoRecursion,
	}
	for _, key := range n.keys {
		value, name := n.values[key], "options["+key+"]"
		switch flag := flags[key]; {
		case flag != nil:
			*flag = !value.empty()
		case key == "contrib-destination":
			o.ContribDest, o.ContribDestGiven = b.path(value, name)
		default:
			b.warn(value, name, "makefiles cannot set this option here, so it does nothing")
		}
	}
}

var (
	projectName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	versionText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`)
	language    = regexp.MustCompile(`^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,4}$`)
)

// project reads one entry of projects.
func (b *builder) project(e entry, core string) Project {
	p := Project{Name: e.name, From: e.node.file.ref()}
	if !projectName.MatchString(e.name) || strings.HasSuffix(e.name, ".") {
		b.wrong(e.node, e.key, "this is no name of a project; use letters, digits, hyphens and underscores")
	}
	b.projectKeys(e)
	n := e.node
	p.Type = b.projectType(e)
	if p.Version = b.word(n.get("version"), e.in("version")); p.Version != "" && !versionText.MatchString(p.Version) {
		b.wrong(n.get("version"), e.in("version"), "%s is no version; write one such as 3.24 or 3.x-dev", quote(shorten(p.Version)))
	}
	p.Core = b.projectCore(e, core)
	p.Subdir, _ = b.path(n.get("subdir"), e.in("subdir"))
	p.DirectoryName = b.folder(n.get("directory_name"), e.in("directory_name"))
	p.ContribDestination, p.ContribDestGiven = b.path(n.get("contrib_destination"), e.in("contrib_destination"))
	p.Destination, _ = b.path(n.get("destination"), e.in("destination"))
	p.Variant = b.oneOf(n.get("variant"), e.in("variant"), "profile-only", "projects", "full")
	p.MD5 = b.checksum(n.get("md5"), e.in("md5"), 32)
	p.Location = b.webAddress(n.get("location"), e.in("location"))
	p.L10nURL = b.webAddress(n.get("l10n_url"), e.in("l10n_url"))
	p.L10nPath = b.webAddress(n.get("l10n_path"), e.in("l10n_path"))
	p.Lock, _ = text(n.get("lock"))
	p.Translations = b.languages(n.get("translations"), e.in("translations"))
	p.NoRecursion = off(n.get("do_recursion"))
	p.NoOverwrite = off(n.get("overwrite"))
	p.WorkingCopy = on(n.get("options").get("working-copy"))
	p.Patches = b.patches(e, n.get("patch"))
	if d := n.get("download"); d != nil && !d.empty() {
		p.Download = b.download(e, d, DownloadGit)
	}
	if p.Type == "" && p.Name == "drupal" {
		p.Type = TypeCore
	}
	if p.Type == "" && p.Download != nil {
		p.Type = TypeModule
	}
	if p.Download != nil && p.Download.Type == DownloadGet && p.Download.Checksums.MD5 == "" {
		p.Download.Checksums.MD5 = p.MD5
	}
	return p
}

func (b *builder) projectKeys(e entry) {
	for _, key := range e.node.keys {
		value := e.node.values[key]
		switch key {
		case "type", "version", "core", "subdir", "directory_name", "contrib_destination", "destination", "patch", "download",
			"do_recursion", "variant", "overwrite", "location", "md5", "lock", "translations", "l10n_path", "l10n_url", "options", "_type":
		case "name", "build_path", "path", "project_directory", "make_directory", "download_location", "base_contrib_destination":
			b.wrong(value, e.in(key), "it would move the project to another place than its name says; remove it and use %s[NAME], subdir or directory_name", section(e))
		default:
			b.warn(value, e.in(key), "projects and libraries have no such setting, so this does nothing")
		}
	}
}

func section(e entry) string {
	name, _, _ := strings.Cut(e.key, "[")
	return name
}

func (b *builder) projectType(e entry) string {
	n := e.node.get("type")
	value := strings.ToLower(b.word(n, e.in("type")))
	switch value {
	case "", TypeCore, TypeModule, TypeTheme, TypeProfile, TypeLibrary:
		return value
	case "translation":
		b.wrong(n, e.in("type"), "translations are no longer projects; write translations[] = LANGUAGE instead")
	default:
		b.wrong(n, e.in("type"), "%s is no type of project; write module, theme, profile, library or core", quote(shorten(value)))
	}
	return TypeModule
}

func (b *builder) projectCore(e entry, core string) string {
	n := e.node.get("core")
	value := b.word(n, e.in("core"))
	if value == "" {
		return ""
	}
	own, message := normalCore(value)
	if message != "" {
		b.wrong(n, e.in("core"), "%s", message)
	}
	if own == core {
		return ""
	}
	return own
}

// library reads one entry of libraries.
func (b *builder) library(e entry) (Library, bool) {
	l := Library{Name: e.name, From: e.node.file.ref()}
	n := e.node
	for _, key := range n.keys {
		switch key {
		case "download", "destination", "subdir", "directory_name", "patch", "options", "overwrite", "lock":
		case "type", "do_recursion", "contrib_destination", "version", "description": // common, and without effect in Drush
		default:
			b.projectKeys(entry{name: e.name, key: e.key, node: &node{kind: kindMap, keys: []string{key}, values: n.values}})
		}
	}
	l.Subdir, _ = b.path(n.get("subdir"), e.in("subdir"))
	l.DirectoryName = b.folder(n.get("directory_name"), e.in("directory_name"))
	l.Destination, _ = b.path(n.get("destination"), e.in("destination"))
	l.WorkingCopy = on(n.get("options").get("working-copy"))
	l.NoOverwrite = off(n.get("overwrite"))
	l.Lock, _ = text(n.get("lock"))
	l.Patches = b.patches(e, n.get("patch"))
	if l.DirectoryName == "" {
		if clean, message := CleanPath(e.name); message != "" || clean == "." || strings.Contains(clean, "/") {
			b.wrong(n, e.key, "this is no name of a folder; give directory_name")
		}
	}
	d := n.get("download")
	if d == nil || d.empty() {
		b.wrong(n, e.key, "the library names no download, and Drush would leave an empty folder; write %s and %s", e.in("download][type"), e.in("download][url"))
		return l, false
	}
	l.Download = b.download(e, d, "")
	return l, l.Download != nil
}

// patches reads a list or map of patches, or a single one.
func (b *builder) patches(e entry, n *node) []Patch {
	key := e.in("patch")
	if n == nil || n.empty() {
		return nil
	}
	if !n.isMap() || onePatch(n) {
		return b.patch(nil, n, key)
	}
	var list []Patch
	for _, k := range n.keys {
		list = b.patch(list, n.values[k], key+"["+k+"]")
	}
	return list
}

// onePatch tells whether a map is a patch and not a list of them.
func onePatch(n *node) bool {
	return n.get("url") != nil && !slices.ContainsFunc(n.keys, func(k string) bool { return k != "url" && checksumLength(k) == 0 })
}

func (b *builder) patch(list []Patch, n *node, key string) []Patch {
	if n.empty() {
		return list
	}
	address, sums := n, Checksums{}
	if n.isMap() {
		address = n.get("url")
		for _, k := range n.keys {
			if k != "url" && checksumLength(k) == 0 {
				b.warn(n.values[k], key+"["+k+"]", "patches have no such setting, so this does nothing")
			}
		}
		sums = b.checksums(n, key)
	}
	url, ok := text(address)
	if !ok || url == "" {
		b.wrong(n, key, "the patch has no address; write its address, or url and md5")
		return list
	}
	p := Patch{URL: url, Checksums: sums}
	from := address.file.ref()
	ref, message := place(from, url, b.local)
	if message != "" {
		b.wrong(address, key, "%s is no patch that can be read: %s", quote(shorten(url)), message)
		return list
	}
	p.Ref = ref
	if other, message := place(b.top.Ref, url, b.local); message == "" && other != ref {
		p.Fallback = other
	}
	return append(list, p)
}

func (d *Document) ref() Ref {
	if d == nil {
		return Ref{}
	}
	return d.Ref
}

// text is the value of a scalar; false for maps and for nothing at all.
func text(n *node) (string, bool) {
	if n == nil {
		return "", false
	}
	return n.string()
}

func on(n *node) bool  { return n != nil && !n.empty() }
func off(n *node) bool { return n != nil && n.empty() }

// word is a one-line scalar, "" when it is not there.
func (b *builder) word(n *node, key string) string {
	if n == nil {
		return ""
	}
	value, ok := n.string()
	if !ok || strings.ContainsFunc(value, unicode.IsControl) || len(value) > maxAddress {
		b.wrong(n, key, "it must be one line of text")
		return ""
	}
	return strings.TrimSpace(value)
}

// path is a clean relative path; "" when it is not there or not usable. given
// tells whether the makefile has it.
func (b *builder) path(n *node, key string) (clean string, given bool) {
	value := b.word(n, key)
	if value == "" {
		return "", n != nil && n.kind != kindNull
	}
	clean, message := CleanPath(value)
	if message != "" {
		b.wrong(n, key, "%s cannot be used: %s", quote(shorten(value)), message)
		return "", false
	}
	return clean, true
}

// folder is a path below the folder that others share.
func (b *builder) folder(n *node, key string) string {
	clean, _ := b.path(n, key)
	if clean == "." {
		b.wrong(n, key, "it would replace everything beside it; write the name of a folder")
		return ""
	}
	return clean
}

func (b *builder) oneOf(n *node, key string, allowed ...string) string {
	value := strings.ToLower(b.word(n, key))
	if value == "" || slices.Contains(allowed, value) {
		return value
	}
	b.wrong(n, key, "%s cannot be used; write %s", quote(shorten(value)), strings.Join(allowed, ", "))
	return ""
}

func (b *builder) webAddress(n *node, key string) string {
	value := b.word(n, key)
	if value == "" {
		return ""
	}
	// Templates of addresses hold names such as %project, which are no escapes.
	plain := strings.NewReplacer("%project", "p", "%release", "r", "%core", "c", "%language", "l", "%filename", "f").Replace(value)
	if _, message := placeURL(plain); message != "" {
		b.wrong(n, key, "%s cannot be used: %s", quote(shorten(value)), message)
		return ""
	}
	return value
}

// Languages reads a list of languages, separated by commas or spaces. The message
// says what is wrong with it, "" when nothing is.
func Languages(text string) (list []string, message string) {
	for _, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		if !language.MatchString(item) {
			return nil, quote(shorten(item)) + " is no language. Write codes such as de or pt-br."
		}
		if !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	return list, ""
}

func (b *builder) languages(n *node, key string) []string {
	if n == nil || n.empty() {
		return nil
	}
	var items []string
	if value, ok := n.string(); ok {
		items = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	}
	for _, k := range n.keys {
		if value := b.word(n.values[k], key); value != "" {
			items = append(items, value)
		}
	}
	var list []string
	for _, item := range items {
		if !language.MatchString(item) {
			b.wrong(n, key, "%s is no language; write a code such as de or pt-br", quote(shorten(item)))
			continue
		}
		if !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	return list
}
