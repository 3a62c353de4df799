package git

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git/lsrefs"
)

// Kinds of references, as the setting ref_kind has them.
const (
	kindBranch  = "branch"
	kindDefault = "default"
	kindTag     = "tag"
	kindPattern = "pattern"
	kindRange   = "range"
	kindRef     = "ref"
	kindCommit  = "commit"
)

// reference says which of a repository's refs is followed.
type reference struct {
	kind   string
	ref    string  // full name, for a branch, tag or ref
	commit string  // for a commit
	tags   tagRule // for a pattern or range
}

// query is what must be asked to choose; nothing for a commit.
func (r reference) query() lsrefs.Query {
	q := lsrefs.Query{Symrefs: true, Peel: true}
	switch r.kind {
	case kindDefault:
		q.Names = []string{"HEAD"}
	case kindPattern, kindRange:
		q.Prefixes = []string{tagFolder + r.tags.literal}
	case kindCommit:
	default:
		q.Names = []string{r.ref}
	}
	return q
}

// moves tells whether the reference is one that commits are added to.
func (r reference) moves() bool {
	return r.kind == kindDefault || r.ref != "" && !strings.HasPrefix(r.ref, tagFolder)
}

// choose finds the wanted ref; false when it is not there.
func (r reference) choose(found lsrefs.Answer) (tip, bool) {
	switch r.kind {
	case kindDefault:
		return defaultTip(found)
	case kindPattern, kindRange:
		return r.tags.highest(found.Refs)
	case kindCommit:
		return tip{ref: byCommit, commit: r.commit}, true
	}
	ref, ok := found.Find(r.ref)
	return tipOf(ref), ok
}

func tipOf(ref lsrefs.Ref) tip {
	t := tip{ref: ref.Name, commit: ref.Commit()}
	if ref.Peeled != "" {
		t.tag = ref.OID
	}
	return t
}

// defaultTip is named after the branch that HEAD stands for, unless that has a
// name which no person could type.
func defaultTip(found lsrefs.Answer) (tip, bool) {
	head, ok := found.Find("HEAD")
	t := tipOf(head)
	if short, isBranch := strings.CutPrefix(head.Target, "refs/heads/"); isBranch && validName(short) {
		t.ref = head.Target
	}
	return t, ok
}

// tagRule chooses among tags: those whose name fits, the highest one first.
type tagRule struct {
	literal     string // that names begin with, for the question to the server
	fits        func(name string) (number string, ok bool)
	within      constraint // nil: any
	strict      bool       // only tags that are versions
	preReleases bool
}

// candidate is a tag that fits.
type candidate struct {
	ref     lsrefs.Ref
	number  string
	version version
	known   bool // number is a version
}

// read judges a tag by its name.
func (t tagRule) read(ref lsrefs.Ref) (candidate, bool) {
	name, isTag := strings.CutPrefix(ref.Name, tagFolder)
	if !isTag || !validName(name) {
		return candidate{}, false
	}
	number, ok := t.fits(name)
	if !ok {
		return candidate{}, false
	}
	c := candidate{ref: ref, number: number}
	c.version, c.known = parseVersion(withoutV(number))
	switch {
	case !c.known:
		return c, !t.strict
	case c.version.preRelease() && !t.preReleases:
		return candidate{}, false
	case t.within != nil && !t.within.allows(c.version):
		return candidate{}, false
	}
	return c, true
}

// compare orders candidates: versions above other names.
func (c candidate) compare(d candidate) int {
	switch {
	case c.known && d.known:
		return cmp.Or(c.version.compare(d.version), cmp.Compare(c.ref.Name, d.ref.Name))
	case c.known:
		return 1
	case d.known:
		return -1
	}
	return compareNatural(c.number, d.number)
}

func (t tagRule) highest(refs []lsrefs.Ref) (tip, bool) {
	var best candidate
	found := false
	for _, ref := range refs {
		c, ok := t.read(ref)
		if ok && (!found || c.compare(best) > 0) {
			best, found = c, true
		}
	}
	return tipOf(best.ref), found
}

// fell tells whether the choice went from a tag that the rule would still take
// to a lower one.
func (t tagRule) fell(from, to tip) bool {
	before, ok := t.read(lsrefs.Ref{Name: from.ref})
	if !ok {
		return false
	}
	after, ok := t.read(lsrefs.Ref{Name: to.ref})
	if ok && after.known && before.known { // names of one version are none lower than the other
		return after.version.compare(before.version) < 0
	}
	return ok && after.compare(before) < 0
}

// readReference reads the settings of the reference and refuses wrong ones.
func readReference(v *plugins.Values) reference {
	r := reference{kind: v.Text(fieldKind)}
	switch r.kind {
	case "", kindBranch:
		return readBranch(v)
	case kindTag:
		name := v.Text(fieldTag)
		r.ref = tagFolder + name
		if name != "" && !validName(name) {
			v.Refuse(fieldTag, "This cannot be the name of a tag. Write it as git shows it, such as v10.2.0.")
		}
	case kindPattern:
		r.tags = readPattern(v)
	case kindRange:
		r.tags = readRange(v)
	case kindRef:
		r.ref = v.Text(fieldRef)
		if r.ref != "" && !validRef(r.ref) {
			v.Refuse(fieldRef, "Write the ref in full, such as refs/heads/main, refs/tags/v1.0 or refs/pull/12/head.")
		}
	case kindCommit:
		r.commit = strings.ToLower(v.Text(fieldCommit))
		if r.commit != "" && !isObject(r.commit) {
			v.Refuse(fieldCommit, "Give the commit's whole name: 40 digits from 0 to 9 and a to f, as “git rev-parse HEAD” prints it.")
		}
	}
	return r
}

func readBranch(v *plugins.Values) reference {
	name := v.Text(fieldBranch)
	if name == "" {
		return reference{kind: kindDefault}
	}
	if !validName(name) {
		v.Refuse(fieldBranch, "This cannot be the name of a branch. Write it as git shows it, such as main or release/10.")
	}
	return reference{kind: kindBranch, ref: "refs/heads/" + name}
}

func readPattern(v *plugins.Values) tagRule {
	text := v.Text(fieldPattern)
	rule := tagRule{preReleases: v.Bool(fieldPreReleases)}
	if expression, ok := betweenSlashes(text); ok {
		fits, literal, message := readExpression(expression)
		if message != "" {
			v.Refuse(fieldPattern, message)
		}
		rule.fits, rule.literal = fits, literal
		return rule
	}
	if _, err := path.Match(text, ""); err != nil {
		v.Refuse(fieldPattern, "A [ in this pattern is not closed. Use * for any text, ? for one character and [0-9] for a set.")
	}
	rule.literal = text[:strings.IndexAny(text+"*", `*?[\`)]
	if rule.literal != "" && !validName(rule.literal+"1") {
		v.Refuse(fieldPattern, "No tag can begin like this. Write it as git shows tags, such as release-*.")
	}
	// What all names share says nothing about their order, but a number must not
	// be torn apart.
	shared := strings.TrimRight(rule.literal, "0123456789.")
	rule.fits = func(name string) (string, bool) {
		ok, err := path.Match(text, name)
		return strings.TrimPrefix(name, shared), ok && err == nil
	}
	return rule
}

func betweenSlashes(text string) (string, bool) {
	if len(text) > 2 && text[0] == '/' && text[len(text)-1] == '/' {
		return text[1 : len(text)-1], true
	}
	return "", false
}

// readExpression reads a regular expression for whole names. Its first group, if
// there is one, is the version.
func readExpression(text string) (fits func(string) (string, bool), literal, message string) {
	whole, err := regexp.Compile("^(?:" + text + ")$")
	if err != nil {
		return nil, "", "This is not a regular expression that RE2 knows (https://github.com/google/re2/wiki/Syntax). " + brief(err)
	}
	if begin, err := regexp.Compile(strings.TrimPrefix(text, "^")); err == nil {
		literal, _ = begin.LiteralPrefix()
	}
	if literal != "" && !validName(strings.TrimRight(literal, "/.")) {
		literal = ""
	}
	return func(name string) (string, bool) {
		match := whole.FindStringSubmatch(name)
		if match == nil {
			return "", false
		}
		return match[min(1, len(match)-1)], true
	}, literal, ""
}

func brief(err error) string {
	text := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	before, _, _ := strings.Cut(text, ": `")
	return "What is wrong: " + before + "."
}

func readRange(v *plugins.Values) tagRule {
	rule := tagRule{strict: true, preReleases: v.Bool(fieldPreReleases)}
	text := v.Text(fieldRange)
	var err error
	if rule.within, err = parseConstraint(text); err != nil && text != "" {
		v.Refuse(fieldRange, models.Explain(err))
	}
	prefix := v.Text(fieldPrefix)
	if expression, ok := betweenSlashes(prefix); ok {
		fits, literal, message := readExpression(expression)
		if message != "" {
			v.Refuse(fieldPrefix, message)
		}
		rule.fits, rule.literal = fits, literal
		return rule
	}
	if prefix != "" && !validName(prefix+"1") {
		v.Refuse(fieldPrefix, "No tag can begin like this. Write what stands before the version, such as component/v, or a regular expression between slashes.")
	}
	rule.literal = prefix
	rule.fits = func(name string) (string, bool) { return strings.CutPrefix(name, prefix) }
	return rule
}

// union is one question for all sources of an upstream.
func union(sources []source) lsrefs.Query {
	all := lsrefs.Query{Symrefs: true, Peel: true}
	for _, s := range sources {
		q := s.reference.query()
		all.Names = append(all.Names, q.Names...)
		all.Prefixes = append(all.Prefixes, q.Prefixes...)
	}
	slices.Sort(all.Names)
	slices.Sort(all.Prefixes)
	all.Names, all.Prefixes = slices.Compact(all.Names), slices.Compact(all.Prefixes)
	return all
}
