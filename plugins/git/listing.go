package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/git/lsrefs"
)

// maxListing is how many bytes of refs are taken from git's own command.
const maxListing = 64 << 20

// list asks the server for refs.
func (c *client) list(ctx context.Context, native *lsrefs.Client, query lsrefs.Query) (lsrefs.Answer, error) {
	if c.remote.isSSH() {
		return c.listWithGit(ctx, query)
	}
	if native == nil {
		native = lsrefs.New(c.env.Egress.HTTPClient(), lsrefs.Limits{Timeout: c.answer})
	}
	asking, stop := context.WithTimeout(ctx, c.answer)
	defer stop()
	answer, err := native.Through(c.env.Egress.HTTPClient()).List(asking,
		lsrefs.Remote{URL: c.remote.url, Authorization: c.remote.login.authorization()}, query)
	if errors.Is(err, lsrefs.ErrOldServer) {
		c.markWhole()
		return c.listWithGit(ctx, query)
	}
	if err != nil && ctx.Err() != nil {
		return lsrefs.Answer{}, fmt.Errorf("ask for refs: %w", context.Cause(ctx))
	}
	if err != nil {
		return lsrefs.Answer{}, fieldError(fieldURL, err)
	}
	return answer, nil
}

func (c *client) listWithGit(ctx context.Context, query lsrefs.Query) (lsrefs.Answer, error) {
	args := []string{"ls-remote", "--symref", "--", c.remote.url}
	for _, name := range query.Names {
		args = append(args, name, name+"^{}")
	}
	for _, prefix := range query.Prefixes {
		args = append(args, prefix+"*")
	}
	res, err := c.ask(ctx, call{timeout: c.answer, output: maxListing, args: args})
	if errors.Is(err, run.ErrOutputLimit) {
		return lsrefs.Answer{}, models.Wrapf(models.Unavailable, err, "The repository has more refs than are accepted. Follow one by its name.").Because(models.ReasonTooLarge)
	}
	if err != nil {
		return lsrefs.Answer{}, err
	}
	return parseListing(string(res.Stdout), query), nil
}

// parseListing reads what ls-remote printed. Its patterns fit the ends of names,
// so that more comes than was asked for.
func parseListing(text string, query lsrefs.Query) lsrefs.Answer {
	wanted := func(name string) bool {
		return slices.Contains(query.Names, name) ||
			slices.ContainsFunc(query.Prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	}
	found := map[string]lsrefs.Ref{}
	for line := range strings.Lines(text) {
		value, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		name, isPeeled := strings.CutSuffix(name, "^{}")
		target, isSymbolic := strings.CutPrefix(value, "ref: ")
		if !ok || !wanted(name) || !isSymbolic && !isObject(value) {
			continue
		}
		ref := found[name]
		ref.Name = name
		switch {
		case isSymbolic:
			ref.Target = target
		case isPeeled:
			ref.Peeled = value
		default:
			ref.OID = value
		}
		found[name] = ref
	}
	var answer lsrefs.Answer
	for _, ref := range found {
		if ref.OID != "" {
			answer.Refs = append(answer.Refs, ref)
		}
	}
	slices.SortFunc(answer.Refs, func(a, b lsrefs.Ref) int { return strings.Compare(a.Name, b.Name) })
	return answer
}

// maxOffered is how many names are looked at to find a near one.
const maxOffered = 10_000

// find gives the tip of the source's reference. All sources of the upstream are
// served by one question.
func (s source) find(ctx context.Context, c *client) (tip, error) {
	if s.reference.kind == kindCommit {
		t, _ := s.reference.choose(lsrefs.Answer{})
		return t, nil
	}
	query := union(append(s.peers(c.env), s))
	key := fmt.Sprintf("git refs %q %q", query.Names, query.Prefixes)
	answer, err := plugins.Ask(c.env.Answers, key, func() (lsrefs.Answer, error) { return c.list(ctx, s.native, query) })
	if err != nil {
		return tip{}, err
	}
	if t, ok := s.reference.choose(answer); ok {
		return t, nil
	}
	return tip{}, s.missing(ctx, c)
}

// peers are the sources that are asked about at the same place; Hefring checks
// them together with this one.
func (s source) peers(env plugins.Env) []source {
	var peers []source
	for _, peer := range env.Peers {
		if other, ok := peer.(source); ok && other.remote.key() == s.remote.key() && other.reference.kind != kindCommit {
			peers = append(peers, other)
		}
	}
	return peers
}

// missing says why the wanted ref is not there, and what is near.
func (s source) missing(ctx context.Context, c *client) error {
	r := s.reference
	folder := "refs/heads/"
	if r.kind == kindPattern || r.kind == kindRange || strings.HasPrefix(r.ref, tagFolder) {
		folder = tagFolder
	}
	answer, err := plugins.Ask(c.env.Answers, "git refs in "+folder, func() (lsrefs.Answer, error) {
		return c.list(ctx, s.native, lsrefs.Query{Prefixes: []string{folder}})
	})
	if err != nil && models.ReasonOf(err) != models.ReasonTooLarge {
		return err
	}
	var names []string
	for _, ref := range answer.Refs[:min(len(answer.Refs), maxOffered)] {
		names = append(names, run.Clean(strings.TrimPrefix(ref.Name, folder)))
	}
	slices.SortFunc(names, compareNatural)
	notThere := func(field, format string, args ...any) error {
		return fieldError(field, models.Errorf(models.Invalid, format, args...).Because(models.ReasonRefNotFound))
	}
	switch {
	case r.kind == kindPattern || r.kind == kindRange:
		return s.noTag(names)
	case folder == tagFolder && len(names) == 0 && err == nil:
		return notThere(fieldTag, "The repository has no tag %q, nor any other. Push one, or follow a branch.", r.name())
	case r.kind == kindTag:
		return notThere(fieldTag, "The repository has no tag %q. Correct the tag: there %s.", r.name(), offer(r.name(), names))
	case r.kind == kindRef:
		return notThere(fieldRef, "The repository has no ref %q. It may have been deleted; correct it, or wait until it is back.", r.ref)
	case len(names) == 0 && err == nil:
		return notThere(fieldURL, "The repository is empty: it has no branches yet. Push a first commit, then check again. If it is not empty, the address is not one of a git repository.")
	case r.kind == kindDefault:
		return notThere(fieldBranch, "The repository's default branch does not exist. Name a branch: there %s.", offer("", names))
	}
	return notThere(fieldBranch, "The repository has no branch %q. Correct the branch: there %s.", r.name(), offer(r.name(), names))
}

func (r reference) name() string { return tip{ref: r.ref}.name() }

// noTag says why no tag fits, and which come first by their order.
func (s source) noTag(names []string) error {
	field, what := fieldRange, "is in this range"
	if s.reference.kind == kindPattern {
		field, what = fieldPattern, "fits this pattern"
	}
	advice := "The repository has no tags yet."
	if len(names) > 0 {
		slices.Reverse(names)
		advice = "Correct it: there " + offer("", names) + "."
	}
	lenient := s.reference.tags
	lenient.preReleases = true
	for _, name := range names {
		if _, ok := lenient.read(lsrefs.Ref{Name: tagFolder + name}); ok {
			advice = "Only pre-releases do, such as " + name + ". Switch on “Take pre-releases, too” to follow them."
			break
		}
	}
	return fieldError(field, models.Errorf(models.Invalid, "No tag of the repository %s. %s", what, advice).Because(models.ReasonRefNotFound))
}

// offer lists up to five names, the nearest first.
func offer(wanted string, names []string) string {
	if len(names) == 0 {
		return "are many others"
	}
	near := slices.Clone(names)
	if wanted != "" {
		slices.SortStableFunc(near, func(a, b string) int { return distance(wanted, a) - distance(wanted, b) })
	}
	verb, more := "is ", ""
	if len(near) > 1 {
		verb = "are "
	}
	if len(near) > 5 {
		more = fmt.Sprintf(" and %d more", len(near)-5)
		near = near[:5]
	}
	return verb + strings.Join(near, ", ") + more
}

// distance counts the edits between two names; a name that holds the other is
// nearer than its length says. Long names are compared by their beginning.
func distance(a, b string) int {
	a, b = strings.ToLower(a[:min(len(a), 100)]), strings.ToLower(b[:min(len(b), 100)])
	if strings.Contains(a, b) || strings.Contains(b, a) {
		return 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			previous, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, previous+cost)
		}
	}
	return row[len(b)]
}
