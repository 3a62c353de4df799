package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
)

const (
	fetchTimeout = 30 * time.Minute // one download
	localTimeout = 10 * time.Minute
)

// client is git for one call on one source.
type client struct {
	env    plugins.Env
	source source
	proxy  *egress.Proxy
	key    string // names the repository in caches
}

func open(ctx context.Context, env plugins.Env, s source) (*client, error) {
	u, err := env.Egress.CheckGitURL(s.url)
	if err != nil {
		return nil, fieldError(fieldURL, err)
	}
	host, port := u.Hostname(), portOf(u)
	proxy, err := plugins.OpenProxy(ctx, env, func(h string, p int) bool { return strings.EqualFold(h, host) && p == port })
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(s.url))
	return &client{env: env, source: s, proxy: proxy, key: hex.EncodeToString(sum[:16])}, nil
}

func portOf(u *url.URL) int {
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

func (c *client) close() { c.proxy.Close() }

// fieldError makes the message of err appear at a field of the form as well.
func fieldError(field string, err error) error {
	e, ok := errors.AsType[*models.Error](err)
	if !ok {
		return err
	}
	return &models.Error{Code: e.Code, Message: e.Message, Fields: map[string]string{field: e.Message}, Err: e.Err}
}

// settings harden git against what a repository or its server may try.
func settings() [][2]string {
	return [][2]string{
		{"protocol.file.allow", "never"},
		{"protocol.version", "2"},
		{"core.hooksPath", "/dev/null"},
		{"core.fsmonitor", "false"},
		{"core.symlinks", "true"},
		{"core.autocrlf", "false"},
		{"core.attributesFile", "/dev/null"},
		{"core.protectNTFS", "true"},
		{"core.protectHFS", "true"},
		{"safe.bareRepository", "explicit"},
		{"transfer.fsckObjects", "true"},
		{"fetch.fsckObjects", "true"},
		// Old and harmless, and common in long histories.
		{"fetch.fsck.zeroPaddedFilemode", "ignore"},
		{"fetch.fsck.badTimezone", "ignore"},
		{"transfer.bundleURI", "false"},
		{"transfer.unpackLimit", "1"},
		{"fetch.unpackLimit", "1"},
		{"fetch.recurseSubmodules", "false"},
		{"submodule.recurse", "false"},
		{"http.followRedirects", "false"},
		{"http.lowSpeedLimit", "500"},
		{"http.lowSpeedTime", "60"},
		{"credential.helper", ""},
		{"gc.auto", "0"},
		{"maintenance.auto", "false"},
	}
}

func environment(more ...string) []string {
	env := []string{
		"LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=http:https",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_LFS_SKIP_SMUDGE=1", "GIT_PROTOCOL_FROM_USER=0",
	}
	list := settings()
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(list)))
	for i, pair := range list {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, pair[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, pair[1]))
	}
	return append(env, more...)
}

// remote runs git with the network. Its errors are for people.
func (c *client) remote(ctx context.Context, timeout time.Duration, output int64, writable []string, args ...string) ([]byte, error) {
	res, err := c.env.Run.Run(ctx, run.Cmd{
		Name: "git", Args: args, Env: environment(), Timeout: timeout,
		Limits:  run.Limits{OutputBytes: output},
		Sandbox: &run.Sandbox{Writable: writable, Network: run.NetworkProxy, Proxy: c.proxy.Socket()},
	})
	if err != nil {
		return nil, c.explain(err)
	}
	return res.Stdout, nil
}

// tip finds the commit of the branch.
func (c *client) tip(ctx context.Context) (tip, error) {
	ref, args := "HEAD", []string{"ls-remote", "--symref", "--", c.source.url, "HEAD"}
	if c.source.branch != "" {
		ref = "refs/heads/" + c.source.branch
		args = []string{"ls-remote", "--heads", "--", c.source.url, ref}
	}
	out, err := c.remote(ctx, c.source.answer, 1<<20, nil, args...)
	if err != nil {
		return tip{}, err
	}
	found, err := parseRefs(out)
	if err != nil {
		return tip{}, err
	}
	commit, ok := found.commits[ref]
	if !ok {
		return tip{}, c.missing(ctx)
	}
	if ref == "HEAD" && found.head != "" {
		ref = found.head
	}
	return tip{ref: ref, commit: commit}, nil
}

// refs is what ls-remote printed.
type refs struct {
	commits map[string]string
	head    string // branch that HEAD stands for
}

func parseRefs(out []byte) (refs, error) {
	found := refs{commits: map[string]string{}}
	for line := range strings.Lines(string(out)) {
		value, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if !ok {
			continue
		}
		if branch, isSymbolic := strings.CutPrefix(value, "ref: "); isSymbolic {
			if short, isBranch := strings.CutPrefix(branch, "refs/heads/"); name == "HEAD" && isBranch && validBranch(short) {
				found.head = branch
			}
			continue
		}
		if len(value) == 64 {
			return refs{}, models.Errorf(models.Invalid, "The repository uses SHA-256 object names, which Hefring cannot follow yet. Use a repository with SHA-1 names.")
		}
		if len(value) == 40 && isHex(value) {
			found.commits[name] = value
		}
	}
	return found, nil
}

func isHex(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }

// missing says why the wanted ref is not there, and what is near.
func (c *client) missing(ctx context.Context) error {
	out, err := c.remote(ctx, c.source.answer, 16<<20, nil, "ls-remote", "--heads", "--", c.source.url)
	tooMany := errors.Is(err, run.ErrOutputLimit)
	if err != nil && !tooMany {
		return err
	}
	found, err := parseRefs(out)
	if err != nil {
		return err
	}
	var names []string
	for ref := range found.commits {
		names = append(names, run.Clean(strings.TrimPrefix(ref, "refs/heads/")))
	}
	slices.Sort(names)
	switch {
	case len(names) == 0 && !tooMany:
		return fieldError(fieldURL, models.Errorf(models.Invalid, "The repository is empty: it has no branches yet. Push a first commit, then check again. If it is not empty, the address is not one of a git repository."))
	case c.source.branch == "":
		return fieldError(fieldBranch, models.Errorf(models.Invalid, "The repository's default branch does not exist. Name a branch: there %s.", offer("", names)))
	}
	return fieldError(fieldBranch, models.Errorf(models.Invalid, "The repository has no branch %q. Correct the branch: there %s.", c.source.branch, offer(c.source.branch, names)))
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

func (c *client) cacheDir() string { return filepath.Join(c.env.Cache, "git", c.key) }
