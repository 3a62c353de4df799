package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
)

const (
	gitmodules      = ".gitmodules"
	maxSubmodules   = 200 // of one repository
	maxNesting      = 10  // submodules of submodules
	maxGitmodules   = 1 << 20
	namedSubmodules = 5 // in the log
)

// materialiser puts a commit with its submodules in place.
type materialiser struct {
	source  source
	env     plugins.Env
	left    *budget
	sources []models.SourcePackage
	older   *tree.Kept   // nil: nothing is shared
	same    []tree.Proof // what is taken from it
}

// order is one repository's commit that is to be put in place.
type order struct {
	c      *client
	tip    tip
	folder string // of the commit, "" for all of it
	dst    string
	at     string // dst below the platform's folder, "" for that itself
	depth  int    // of submodules in submodules
	// accept looks at the commit before anything of it is written.
	accept func(context.Context, mirror) error
}

// place writes one commit's files to dst, then those of its submodules. The
// mirror is let go in between: a submodule may come from the same repository.
func (p *materialiser) place(ctx context.Context, o order) error {
	var s snapshot
	var known map[string]string
	before := *p.left
	var same []tree.Proof
	err := o.c.withFiles(ctx, o.tip.format(), func(m mirror) (err error) {
		*p.left = before // it may be done once more
		if err := m.want(ctx, wanted{object: o.tip.commit, ref: o.tip.seen(), depth: 1}); err != nil {
			return err
		}
		if err := o.accept(ctx, m); err != nil {
			return err
		}
		if s, err = m.snapshot(ctx, o.tip.commit, o.folder); err != nil {
			return err
		}
		if same, err = m.checkout(ctx, &s, p.left, o.dst, p.older, o.at); err != nil {
			return err
		}
		if len(s.links) > 0 && p.source.submodules {
			known, err = m.modules(ctx, s.commit)
		}
		return err
	})
	if err != nil {
		return err
	}
	p.sources = append(p.sources, o.c.remote.sourcePackage(o.tip))
	p.same = append(p.same, same...)
	if len(s.links) > 0 && !p.source.submodules {
		p.leftOut(s.links)
		return nil
	}
	return p.placeLinks(ctx, o, s, known)
}

func (p *materialiser) placeLinks(ctx context.Context, o order, s snapshot, known map[string]string) error {
	if len(s.links) > 0 && (o.depth >= maxNesting || len(s.links) > maxSubmodules) {
		return models.Errorf(models.Invalid, "The repository has more than %d submodules, or they are nested more than %d deep. Remove some.", maxSubmodules, maxNesting).
			Because(models.ReasonTooLarge)
	}
	for _, l := range s.links {
		at := path.Join(s.folder, l.path)
		address, ok := known[at]
		if !ok {
			return models.Errorf(models.Invalid, "The submodule %q has no address in .gitmodules. Add it, or remove the submodule.", at).Because(models.ReasonBuild)
		}
		if err := p.submodule(ctx, o, address, l); err != nil {
			return ofSubmodule(at, err)
		}
	}
	return nil
}

func (p *materialiser) leftOut(links []link) {
	var names []string
	for _, l := range links[:min(len(links), namedSubmodules)] {
		names = append(names, run.Clean(l.path))
	}
	plugins.Logf(p.env, "Warning: git submodules are not fetched: %s", strings.Join(names, ", "))
}

// ofSubmodule says of a failure that it is the submodule's and not the source's,
// which others may share.
func ofSubmodule(at string, err error) error {
	e, ok := errors.AsType[*models.Error](err)
	if !ok {
		return fmt.Errorf("fetch submodule %q: %w", at, err)
	}
	message := e.Message
	if strings.HasPrefix(message, "The submodule ") {
		return err // of a submodule of it
	}
	return models.Wrapf(e.Code, err, "The submodule %q could not be fetched. %s", at, message).Because(models.ReasonBuild)
}

// submodule fetches one submodule from its own repository.
func (p *materialiser) submodule(ctx context.Context, parent order, address string, l link) error {
	r, err := parent.c.remote.resolve(address)
	if err != nil {
		return err
	}
	if err := ownFolder(parent.dst, l.path); err != nil {
		return err
	}
	c, err := open(p.env, r, p.source.answer)
	if err != nil {
		return err
	}
	defer c.close()
	t := tip{ref: byCommit, commit: l.commit}
	return p.place(ctx, order{
		c: c, tip: t, dst: filepath.Join(parent.dst, filepath.FromSlash(l.path)), at: path.Join(parent.at, l.path), depth: parent.depth + 1,
		accept: func(ctx context.Context, m mirror) error { return m.isCommit(ctx, t) },
	})
}

// ownFolder makes sure that the submodule's place is a folder of the tree.
func ownFolder(dst, name string) error {
	root, err := os.OpenRoot(dst)
	if err != nil {
		return fmt.Errorf("place submodule: %w", err)
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(name, 0o755); err != nil {
		return fmt.Errorf("place submodule: %w", err)
	}
	for at := name; at != "."; at = path.Dir(at) {
		info, err := root.Lstat(at)
		if err != nil {
			return fmt.Errorf("place submodule: %w", err)
		}
		if !info.IsDir() {
			return models.Errorf(models.Invalid, "Its place %q is not a folder.", at)
		}
	}
	return nil
}

// modules reads where the submodules of a commit come from, by their path.
func (m mirror) modules(ctx context.Context, commit string) (map[string]string, error) {
	kind, id, err := m.object(ctx, commit, gitmodules)
	if err != nil || kind != "blob" {
		return nil, err
	}
	out, err := m.local(ctx, "cat-file", "blob", id)
	if err != nil || len(out) > maxGitmodules {
		return nil, fmt.Errorf("read .gitmodules: %w", errors.Join(err, errTooLong(len(out))))
	}
	// Without a blob to read, git config would follow includes.
	out, err = m.local(ctx, "config", "--blob", id, "--no-includes", "-z", "--get-regexp", `^submodule\..*\.(path|url)$`)
	if err != nil {
		return nil, models.Wrapf(models.Invalid, err, "The file .gitmodules cannot be read. Correct it in the repository.").Because(models.ReasonBuild)
	}
	paths, urls := map[string]string{}, map[string]string{}
	for entry := range strings.SplitSeq(string(out), "\x00") {
		key, value, _ := strings.Cut(entry, "\n")
		if name, ok := strings.CutSuffix(key, ".path"); ok {
			paths[name] = value
		}
		if name, ok := strings.CutSuffix(key, ".url"); ok {
			urls[name] = value
		}
	}
	known := map[string]string{}
	for name, at := range paths {
		if urls[name] != "" {
			known[path.Clean(at)] = urls[name]
		}
	}
	return known, nil
}

func errTooLong(n int) error {
	if n > maxGitmodules {
		return models.Errorf(models.Invalid, "The file .gitmodules is longer than %d bytes.", maxGitmodules)
	}
	return nil
}

// resolve reads the address of a submodule. One that begins with ./ or ../ is
// relative to this repository and stays on its server. Credentials go to their
// own server only.
func (r remote) resolve(address string) (remote, error) {
	if strings.HasPrefix(address, "./") || strings.HasPrefix(address, "../") {
		var err error
		if address, err = r.join(address); err != nil {
			return remote{}, err
		}
	}
	sub, err := readRemote(address)
	if err != nil {
		return remote{}, err
	}
	if sub.sameServer(r) && sub.address.User.Username() == r.address.User.Username() {
		sub.login = r.login
	}
	if sub.isSSH() && sub.login == (credentials{}) {
		return remote{}, models.Errorf(models.Invalid, "Its SSH address leads to %s, for which there is no key. Use an https address in .gitmodules, or a relative one.", sub.host())
	}
	return sub, nil
}

func (r remote) join(address string) (string, error) {
	outside := models.Errorf(models.Invalid, "Its address %.200q leads out of the server's repositories. Correct it in .gitmodules.", address)
	base := strings.Trim(r.address.Path, "/")
	rest := address
	for {
		if after, ok := strings.CutPrefix(rest, "./"); ok {
			rest = after
			continue
		}
		after, ok := strings.CutPrefix(rest, "../")
		if !ok {
			break
		}
		if base == "" {
			return "", outside
		}
		base, rest = strings.TrimPrefix(path.Dir("/"+base), "/"), after
	}
	if rest == "" || strings.Contains("/"+rest+"/", "/../") {
		return "", outside
	}
	joined := path.Join(base, rest)
	if !strings.Contains(r.url, "://") { // the short form
		begin := ""
		if before, after, ok := strings.Cut(r.url, ":"); ok && strings.HasPrefix(after, "/") && before != "" {
			begin = "/"
		}
		return r.address.User.Username() + "@" + r.address.Host + ":" + begin + joined, nil
	}
	u := url.URL{Scheme: r.address.Scheme, User: r.address.User, Host: r.address.Host, Path: "/" + joined}
	return u.String(), nil
}

// sourcePackage names the repository at a commit.
func (r remote) sourcePackage(t tip) models.SourcePackage {
	return models.SourcePackage{
		Name: strings.TrimSuffix(path.Base(r.address.Path), ".git"), Type: "repository", Version: t.label(),
		URL: r.url, Checksum: "git:" + t.commit,
	}
}
