package stock

import (
	"context"
	"fmt"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/drupalorg"
)

// Assess judges running releases as Drupal's update module does.
func (s source) Assess(ctx context.Context, env plugins.Env, running []plugins.Version) ([][]models.Finding, error) {
	got, err := drupalorg.Load(ctx, env, s.address, drupalorg.Validators{})
	if err != nil {
		return nil, err
	}
	findings := make([][]models.Finding, len(running))
	for i, v := range running {
		if version, ok := s.versionOf(v); ok {
			findings[i] = s.judge(got.Feed, version)
		}
	}
	return findings, s.assessComposer(ctx, env, running, findings)
}

// judge turns a status into findings, the worst first.
func (s source) judge(feed drupalorg.Feed, version string) []models.Finding {
	status := feed.Status(version, 0)
	name := feed.Name + " " + version
	link := webLink(feed.Link)
	if r, ok := feed.Release(status.Recommended); ok && webLink(r.Link) != "" {
		link = webLink(r.Link)
	}
	var list []models.Finding
	add := func(kind models.FindingKind, format string, args ...any) {
		list = append(list, models.Finding{Kind: kind, Package: feed.Name, Version: version, Link: link, Title: fmt.Sprintf(format, args...)})
	}
	advice := advice(status, version)
	mended, near := s.mended(status, version)
	switch {
	case feed.ProjectStatus == "insecure":
		add(models.FindingInsecure, "The whole project has known security holes and was taken from drupal.org. Move its sites to something else.")
	case status.State == drupalorg.NotSecure:
		add(models.FindingInsecure, "%s has known security holes.%s", name, advice)
	case near:
		add(models.FindingInsecure, "%s lacks the security update %s.%s", name, mended, advice)
	}
	switch {
	case status.State == drupalorg.Revoked && feed.ProjectStatus != published:
		add(models.FindingRevoked, "The whole project was taken back by its makers. Move its sites to something else.")
	case status.State == drupalorg.Revoked:
		add(models.FindingRevoked, "%s was taken back by its makers.%s", name, advice)
	case status.State == drupalorg.NotSupported && feed.ProjectStatus == "unsupported":
		add(models.FindingUnsupported, "Nobody looks after the project any more.")
	case status.State == drupalorg.NotSupported:
		add(models.FindingUnsupported, "%s gets no more repairs.%s", name, advice)
	case status.State == drupalorg.NotCurrent && len(list) == 0 && mended != "":
		add(models.FindingOutdated, "%s is not the newest release; %s after it is a security update.%s", name, mended, advice)
	case status.State == drupalorg.NotCurrent && len(list) == 0:
		add(models.FindingOutdated, "%s is not the newest release.%s", name, advice)
	}
	return list
}

const published = "published"

// advice names the release to go to, as a sentence with a space before it.
func advice(status drupalorg.Status, version string) string {
	to := status.Recommended
	if to == "" && len(status.Also) > 0 {
		to = status.Also[0]
	}
	if to == "" || to == version || !validVersion(to) {
		return ""
	}
	return " Go to " + to + "."
}

// mended gives the newest security update after a version, and whether it is of
// the same branch: one of another branch need not concern it, since drupal.org
// marks what it does concern as insecure. Drupal lists them for current versions
// as well and does not show them then.
func (s source) mended(status drupalorg.Status, version string) (update string, near bool) {
	own, ok := drupalorg.ParseVersion(version)
	if !ok || status.State == drupalorg.Current {
		return "", false
	}
	for _, r := range status.Security {
		v, ok := drupalorg.ParseVersion(r.Version)
		if !ok || !validVersion(r.Version) || v.Compare(own) <= 0 {
			continue
		}
		if v.SameBranch(own) {
			return r.Version, true
		}
		if update == "" {
			update = r.Version
		}
	}
	return update, false
}
