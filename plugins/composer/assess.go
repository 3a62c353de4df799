package composer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer/repository"
	"hefring/plugins/composer/version"
	"hefring/plugins/composerinstall"
)

// advisory is one warning about some versions of a package.
type advisory struct {
	ID       string `json:"advisoryId"`
	Affected string `json:"affectedVersions"`
	Title    string `json:"title"`
	CVE      string `json:"cve"`
	Link     string `json:"link"`
	Severity string `json:"severity"`
}

// finding puts the advisory into words.
func (d advisory) finding(name, installed string) models.Finding {
	title := oneLine(d.Title)
	if title == "" {
		title = "Security advisory " + oneLine(d.ID)
	}
	if d.CVE != "" {
		title += " (" + oneLine(d.CVE) + ")"
	}
	f := models.Finding{Kind: models.FindingInsecure, Package: name, Version: oneLine(installed), Title: title}
	if u, err := url.Parse(d.Link); err == nil && u.Scheme == "https" && u.User == nil && len(d.Link) <= egress.MaxURL {
		f.Link = u.String()
	}
	if severity := strings.ToLower(d.Severity); slices.Contains([]string{"low", "medium", "high", "critical"}, severity) {
		f.Severity = severity
	}
	return f
}

// advisories are by package.
type advisories map[string][]advisory

// readAdvisories reads an answer; PHP writes empty maps as lists.
func readAdvisories(text []byte) (advisories, error) {
	var answer struct {
		Advisories json.RawMessage `json:"advisories"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read advisories: %w", err)
	}
	all := advisories{}
	var byName map[string]json.RawMessage
	_ = json.Unmarshal(answer.Advisories, &byName) // fails for the empty list
	for name, raw := range byName {
		var list []advisory
		var numbered map[string]advisory // what is left of a list that PHP filtered
		switch {
		case json.Unmarshal(raw, &list) == nil:
		case json.Unmarshal(raw, &numbered) == nil:
			for _, one := range numbered {
				list = append(list, one)
			}
		default:
			return nil, fmt.Errorf("read advisories of %.60q: malformed", name)
		}
		slices.SortFunc(list, func(a, b advisory) int { return strings.Compare(a.ID, b.ID) })
		all[strings.ToLower(name)] = list
	}
	return all, nil
}

// of gives the findings for one installed package.
func (all advisories) of(p locked) []models.Finding {
	v, err := version.Parse(p.Version)
	if err != nil {
		return nil
	}
	var list []models.Finding
	for _, one := range all[strings.ToLower(p.Name)] {
		c, err := version.ParseConstraint(one.Affected)
		if err == nil && c.Matches(v) {
			list = append(list, one.finding(p.Name, p.Version))
		}
	}
	return list
}

// insecure gives the findings for all packages of a lock.
func (all advisories) insecure(l *lock) []models.Finding {
	var list []models.Finding
	for _, p := range l.Packages {
		list = append(list, all.of(p)...)
	}
	return list
}

// audit has Composer look up the planned packages before they are installed. That
// it cannot is no reason not to build.
func (s source) audit(ctx context.Context, env plugins.Env, c *composerinstall.Composer, dst string, p plan, l *lock) ([]models.Finding, error) {
	if len(l.Packages) == 0 || !s.audited(ctx, env, p.Repositories) {
		return nil, nil
	}
	result, err := c.Run(ctx, composerinstall.Call{
		Args: withoutCode("audit", "--format=json", "--locked", "--no-dev"), Dir: dst, Auth: s.auth(), Silent: true, Output: repository.MaxPage,
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	exit, failed := errors.AsType[*run.ExitError](err)
	all, readErr := readAdvisories(result.Stdout)
	switch {
	case err != nil && !failed, readErr != nil: // it ends with the number of packages that are affected
		plugins.Logf(env, "Warning: the packages could not be audited for known security holes")
		if failed {
			plugins.Logf(env, "%s", exit.Tail)
		}
		return nil, nil
	}
	var list []models.Finding
	for _, p := range l.Packages {
		for _, one := range all[strings.ToLower(p.Name)] { // Composer chose those that affect it
			list = append(list, one.finding(p.Name, p.Version))
		}
	}
	if len(list) > 0 {
		plugins.Logf(env, "Warning: %d security advisories affect these packages", len(list))
		return list, nil
	}
	plugins.Logf(env, "composer audit knows no security hole in these packages")
	return nil, nil
}

// audited tells whether any of the repositories keeps advisories.
func (s source) audited(ctx context.Context, env plugins.Env, repositories []string) bool {
	a := newAsker(env, s)
	for _, at := range repositories {
		repo, err := a.open(ctx, at)
		if err != nil {
			plugins.Logf(env, "Warning: the packages were not audited for known security holes: %s", models.Explain(s.redact(err)))
			return false
		}
		if repo.AdvisoriesURL != "" || repo.AdvisoriesMeta {
			return true
		}
	}
	plugins.Logf(env, "The packages were not audited for known security holes: no repository keeps advisories")
	return false
}

// abandoned lists packages that nobody cares for any more.
func abandoned(p plan, l *lock) []models.Finding {
	var list []models.Finding
	add := func(one locked, replacement string) {
		list = append(list, models.Finding{
			Kind: models.FindingAbandoned, Package: one.Name, Version: oneLine(one.Version), Title: abandonment(replacement),
		})
	}
	if p.Abandoned {
		add(p.Package.locked(), p.Replacement)
	}
	for _, one := range l.Packages {
		if replacement, is := one.abandoned(); is {
			add(one, replacement)
		}
	}
	return list
}

// Assess asks the repositories for advisories on the packages of each version,
// and lists those that were abandoned.
func (s source) Assess(ctx context.Context, env plugins.Env, running []plugins.Version) ([][]models.Finding, error) {
	a := newAsker(env, s)
	lists := make([][]models.Finding, len(running))
	for i, v := range running {
		p, l, err := readPlan(v.Plan, s.plainHosts())
		if err != nil {
			continue // of a version whose plan is lost nothing is known
		}
		all, err := a.advisories(ctx, p.Repositories, names(l))
		if err != nil {
			return nil, s.redact(err)
		}
		lists[i] = append(all.insecure(l), abandoned(p, l)...)
	}
	return lists, nil
}

func names(locks ...*lock) []string {
	var list []string
	for _, l := range locks {
		if l == nil {
			continue
		}
		for _, p := range l.Packages {
			list = append(list, strings.ToLower(p.Name))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// mends tells whether the step from the old packages to the new ones closes a
// known hole. When nobody can say, it does not.
func (s source) mends(ctx context.Context, a *asker, old *lock, repositories []string, now *lock) bool {
	if old == nil {
		return false
	}
	all, err := a.advisories(ctx, repositories, names(old, now))
	if err != nil {
		plugins.Logf(a.env, "Warning: nobody could be asked for security advisories: %s", models.Explain(s.redact(err)))
		return false
	}
	still := all.insecure(now)
	return slices.ContainsFunc(all.insecure(old), func(was models.Finding) bool {
		return !slices.ContainsFunc(still, func(is models.Finding) bool { return is.Package == was.Package && is.Title == was.Title })
	})
}

// atATime is how many packages one question names; Packagist takes more.
const atATime = 500

// advisories asks the repositories for what is known of packages.
func (a *asker) advisories(ctx context.Context, repositories, packages []string) (advisories, error) {
	all := advisories{}
	for _, at := range repositories {
		repo, err := a.open(ctx, at)
		if err != nil {
			return nil, err
		}
		if repo.AdvisoriesURL == "" {
			continue
		}
		for some := range slices.Chunk(packages, atATime) {
			found, err := a.askAdvisories(ctx, repo.AdvisoriesURL, some)
			if err != nil {
				return nil, err
			}
			for name, list := range found {
				all[name] = append(all[name], list...)
			}
		}
	}
	return all, nil
}

func (a *asker) askAdvisories(ctx context.Context, at string, packages []string) (advisories, error) {
	key := digest(append([]string{"composer advisories", at, a.source.credential()}, packages...)...)
	return plugins.Ask(a.env.Answers, key, func() (advisories, error) {
		text, err := a.post(ctx, at, url.Values{"packages[]": packages}.Encode())
		if err != nil {
			return nil, fmt.Errorf("ask for security advisories: %w", err)
		}
		found, err := readAdvisories(text)
		if err != nil {
			return nil, malformed(at, err)
		}
		return found, nil
	})
}

func (a *asker) post(ctx context.Context, at, form string) ([]byte, error) {
	u, err := a.env.Egress.CheckURL(at, "https", "http")
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", u.Host, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("User-Agent", "Hefring")
	a.source.authorize(at, request.Header)
	response, err := a.env.Egress.HTTPClient().Do(request)
	if err != nil {
		return nil, egress.Explain(u.Host, err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := egress.CheckStatus(u.Host, response); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, repository.MaxPage+1))
	if err != nil {
		return nil, egress.Explain(u.Host, err)
	}
	if len(text) > repository.MaxPage {
		return nil, models.Errorf(models.Unavailable, "%s sent more than the %d bytes that are accepted.", u.Host, repository.MaxPage).
			Because(models.ReasonTooLarge)
	}
	return text, nil
}
