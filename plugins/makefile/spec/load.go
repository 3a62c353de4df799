package spec

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hefring/models"
)

// reader reads a makefile and what it includes.
type reader struct {
	loader   Loader
	read     []*Document
	warnings []Warning
	open     []Ref // the makefile that is being read and those that include it
}

// Load reads the makefile at ref with everything that it includes, and checks
// it. Errors are models.Errors that name the file and line, and what to write
// instead; they list all that is wrong at once.
func Load(ctx context.Context, loader Loader, ref Ref) (*Makefile, error) {
	r := &reader{loader: loader}
	tree, err := r.load(ctx, ref, Ref{})
	if err != nil {
		return nil, err
	}
	m, problems := newBuilder(r).build(tree)
	if len(problems) > 0 {
		return nil, problemsError(problems)
	}
	return m, nil
}

// load reads one makefile and merges its includes and overrides (§ “include” of
// Drush's make documentation): the includer wins over what it includes, the
// first include over the later ones, and overrides over everything.
func (r *reader) load(ctx context.Context, ref, fallback Ref) (*node, error) {
	doc, err := r.document(ctx, ref, fallback)
	if err != nil {
		return nil, err
	}
	if slices.Contains(r.open, doc.Ref) {
		return nil, models.Errorf(models.Invalid, "The makefile %s includes itself, by way of %s. Remove one of these includes.", doc.Ref, r.open[len(r.open)-1]).Because(models.ReasonMalformed)
	}
	r.open = append(r.open, doc.Ref)
	defer func() { r.open = r.open[:len(r.open)-1] }()
	tree, warnings, err := parse(doc)
	if err != nil {
		return nil, err
	}
	r.warnings = append(r.warnings, warnings[:min(len(warnings), max(0, maxWarnings-len(r.warnings)))]...)
	if err := normaliseLists(tree); err != nil {
		return nil, err
	}
	return r.combine(ctx, tree, doc)
}

func (r *reader) combine(ctx context.Context, own *node, doc *Document) (*node, error) {
	result := own
	for _, section := range []string{"includes", "overrides"} {
		list := own.get(section)
		if list == nil || list.empty() {
			continue
		}
		if !list.isMap() {
			list = newMap(list.line)
			list.set("0", own.get(section))
		}
		for _, key := range list.keys {
			other, err := r.include(ctx, list.values[key], section, doc)
			if err != nil {
				return nil, err
			}
			if other == nil {
				continue
			}
			// What is included was merged with its own includes already.
			other.remove("includes")
			other.remove("overrides")
			if section == "includes" {
				result = merge(other, result)
			} else {
				result = merge(result, other)
			}
		}
	}
	return result, nil
}

// include reads one item of includes or overrides; nil when it was taken back.
func (r *reader) include(ctx context.Context, item *node, section string, doc *Document) (*node, error) {
	if item.empty() {
		return nil, nil //nolint:nilnil // nothing is included, and nothing is wrong
	}
	ref, fallback, err := r.target(ctx, item, section, doc)
	if err != nil {
		return nil, err
	}
	return r.load(ctx, ref, fallback)
}

func (r *reader) target(ctx context.Context, item *node, section string, doc *Document) (ref, fallback Ref, err error) {
	wrong := func(format string, args ...any) (Ref, Ref, error) {
		return Ref{}, Ref{}, problemsError([]Problem{{File: doc.Ref, Line: item.line, Key: section, Message: fmt.Sprintf(format, args...)}})
	}
	if !item.isMap() {
		text, _ := item.string()
		ref, message := place(doc.Ref, text, r.loader.Local())
		if message != "" {
			return wrong("%s cannot be included: %s", quote(shorten(text)), message)
		}
		return ref, r.fallback(ref, text), nil
	}
	file, _ := text(item.get("makefile"))
	download := item.get("download")
	if download == nil {
		return wrong("this include names no download; write a path, an address, or makefile and download")
	}
	if file, message := CleanPath(file); message != "" || file == "." {
		return wrong("makefile must be the path of a makefile inside of the repository")
	}
	b := newBuilder(r)
	d := b.download(entry{name: section, key: section, node: item}, download, "")
	switch {
	case len(b.problems) > 0:
		return Ref{}, Ref{}, problemsError(b.problems)
	case d == nil || d.Type != DownloadGit || d.DefaultURL:
		return wrong("makefiles are included from git repositories: give download[type] = git and download[url]")
	}
	commit, err := r.loader.Commit(ctx, *d)
	if err != nil {
		return Ref{}, Ref{}, fmt.Errorf("include %s: %w", file, err)
	}
	clean, _ := CleanPath(file)
	return Ref{Git: d.URL, Commit: commit, Path: clean}, Ref{}, nil
}

// fallback is the same path beside the top makefile, as Drush tries it too.
func (r *reader) fallback(ref Ref, text string) Ref {
	if len(r.open) == 0 {
		return Ref{}
	}
	other, message := place(r.open[0], text, r.loader.Local())
	if message != "" || other == ref {
		return Ref{}
	}
	return other
}

func (r *reader) document(ctx context.Context, ref, fallback Ref) (*Document, error) {
	switch {
	case len(r.open) >= MaxDepth:
		return nil, models.Errorf(models.Invalid, "The makefile %s is included more than %d levels deep. Include it from the first makefile instead.", ref, MaxDepth).Because(models.ReasonMalformed)
	case len(r.read) > MaxRead:
		return nil, models.Errorf(models.Invalid, "The makefile includes more than %d others. Join some of them.", MaxRead).Because(models.ReasonMalformed)
	}
	text, at, err := r.loader.Read(ctx, ref, MaxText)
	if models.CodeOf(err) == models.NotFound && !fallback.IsZero() {
		text, at, err = r.loader.Read(ctx, fallback, MaxText)
	}
	if err != nil && len(r.open) > 0 {
		return nil, includeError(err, ref, r.open[len(r.open)-1])
	}
	if err != nil {
		return nil, err
	}
	doc := document(at, text)
	r.read = append(r.read, doc)
	return doc, nil
}

// includeError says which makefile wanted the one that cannot be read.
func includeError(err error, ref, by Ref) error {
	code := models.CodeOf(err)
	if code == "" {
		return fmt.Errorf("read makefile %s: %w", ref, err)
	}
	if code == models.NotFound {
		code = models.Invalid
	}
	return models.Wrapf(code, err, "%s includes %s, which cannot be read: %s", by, ref, models.Explain(err)).Because(models.ReasonOf(err))
}

// normaliseLists turns “- views” and “projects[] = views” into entries named
// views, so that merging finds them; Drush does so only after merging.
func normaliseLists(tree *node) error {
	list := tree.get("projects")
	if !list.isMap() {
		return nil
	}
	listed := map[string]bool{}
	for _, key := range slices.Clone(list.keys) {
		item := list.values[key]
		if !isIndex(key) || item.kind != kindText {
			continue
		}
		name := item.text
		if list.get(name) != nil && !listed[name] {
			return problemsError([]Problem{{File: item.file.Ref, Line: item.line, Key: "projects[]", Message: quote(shorten(name)) +
				" is listed and has settings of its own as well, of which Drush drops one in silence; remove the line that only lists it"}})
		}
		list.remove(key)
		if listed[name] || strings.TrimSpace(name) == "" {
			continue
		}
		listed[name] = true
		entry := newMap(item.line)
		entry.file = item.file
		version := newText("", item.line)
		version.file = item.file
		entry.set("version", version)
		list.set(name, entry)
	}
	return nil
}
