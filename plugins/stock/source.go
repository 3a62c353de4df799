package stock

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/drupalorg"
)

// source is one project.
type source struct {
	address    drupalorg.Address
	channel    drupalorg.Channel
	packaging  string
	template   string // Composer package; "" is to be worked out
	repository string // "" for the public ones
}

var _ plugins.Assessor = source{}

// Upstream is the project's feed.
func (s source) Upstream() plugins.Upstream { return upstreamOf(s.address) }

const revisionPrefix = "drupal:"

func (s source) revision(version string) string {
	return revisionPrefix + s.address.Project + "/" + version
}

// versionOf reads the release out of a revision of this project.
func (s source) versionOf(v plugins.Version) (string, bool) {
	version, ok := strings.CutPrefix(v.Revision, s.revision(""))
	return version, ok && validVersion(version)
}

var versionText = regexp.MustCompile(`^[0-9][0-9a-z.-]{0,38}$`)

// validVersion tells whether foreign text may stand in revisions, names and
// messages as a version.
func validVersion(text string) bool {
	_, ok := drupalorg.ParseVersion(text)
	return ok && versionText.MatchString(text)
}

// Check asks for the feed, only if it changed, and picks a release out of it.
func (s source) Check(ctx context.Context, env plugins.Env, last plugins.Version) (plugins.Version, error) {
	known := drupalorg.Validators{}
	before, _ := readMemo(last)
	if p, _ := readPlan(last.Plan); p.Packaging == packagingArchive && before.Settings == s.settings() {
		known = before.Validators
	}
	got, err := drupalorg.Load(ctx, env, s.address, known)
	if err != nil {
		return plugins.Version{}, err
	}
	if got.NotModified && got.Feed.Name == "" {
		return last, nil
	}
	release, err := s.pick(got.Feed, last)
	if err != nil {
		return plugins.Version{}, err
	}
	v, err := s.version(ctx, env, got, release, last)
	if err != nil {
		return plugins.Version{}, err
	}
	s.compare(&v, got.Feed, last)
	return v, nil
}

// pick chooses the release to build. Where only full releases are wanted and none
// is left to take, the last one stays rather than to give way to a beta.
func (s source) pick(feed drupalorg.Feed, last plugins.Version) (drupalorg.Release, error) {
	release, err := feed.Newest(s.channel)
	if err != nil {
		return drupalorg.Release{}, err
	}
	if !validVersion(release.Version) {
		return drupalorg.Release{}, models.Errorf(models.Unavailable, "drupal.org lists the version %.80q of %s, which is none.", release.Version, s.address.Project).Because(models.ReasonMalformed)
	}
	before, ok := s.versionOf(last)
	if ok && !s.channel.PreReleases && drupalorg.PreRelease(release.Version) && !drupalorg.PreRelease(before) {
		if kept, there := feed.Release(before); there && kept.Published() {
			return kept, nil
		}
	}
	return release, nil
}

// version describes a release and how it is built.
func (s source) version(ctx context.Context, env plugins.Env, got drupalorg.Fetched, r drupalorg.Release, last plugins.Version) (plugins.Version, error) {
	v := plugins.Version{Revision: s.revision(r.Version), Label: r.Version, Note: note(r), Facts: s.facts(got.Feed, r)}
	var rest string
	var err error
	if s.fromArchive(got.Feed, r) {
		err = s.planArchive(&v, got.Feed, r)
	} else {
		rest, err = s.planComposer(ctx, env, &v, got.Feed, last)
	}
	if err != nil {
		return plugins.Version{}, err
	}
	v.Memo, err = memo{Validators: got.Validators, Settings: s.settings(), Content: v.Content}.text(rest)
	return v, err
}

func note(r drupalorg.Release) string {
	var parts []string
	if r.Date > 0 {
		parts = append(parts, "Released "+day(r.Date))
	}
	if drupalorg.PreRelease(r.Version) {
		parts = append(parts, "not a full release yet")
	}
	if r.Security() {
		parts = append(parts, "security update")
	}
	return strings.Join(parts, ", ")
}

func day(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.DateOnly) }

func (s source) facts(feed drupalorg.Feed, r drupalorg.Release) []models.Fact {
	var list []models.Fact
	add := func(label, value string) {
		if value != "" {
			list = append(list, models.Fact{Label: label, Value: value})
		}
	}
	add("Release", webLink(r.Link))
	if r.Date > 0 {
		add("Released", day(r.Date))
	}
	if c := feed.Status(r.Version, 0).Coverage; c != nil {
		switch {
		case c.Until != "":
			add("Security updates until", "Drupal "+c.Until)
		default:
			add("Security updates until", c.End)
		}
	}
	return list
}

// webLink gives foreign text when it is the address of a page, else "".
func webLink(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || len(text) > 500 {
		return ""
	}
	return u.String()
}

// compare sets what is only seen beside the version before: whether it mends a
// hole, and whether a person should look first.
func (s source) compare(v *plugins.Version, feed drupalorg.Feed, last plugins.Version) {
	before, ok := s.versionOf(last)
	if !ok {
		return
	}
	if v.Same(last) {
		v.Facts, v.Security, v.Hold = last.Facts, last.Security, nil
		return
	}
	old, _ := drupalorg.ParseVersion(before)
	now, _ := drupalorg.ParseVersion(v.Label)
	switch order := now.Compare(old); {
	case order < 0:
		v.Hold = &plugins.Hold{Reason: models.ReasonLower, Message: s.lowered(feed, before, v.Label)}
	case order == 0 && repacked(last.Plan, v.Plan):
		v.Hold = &plugins.Hold{
			Reason:  models.ReasonTagMoved,
			Message: fmt.Sprintf("drupal.org has another archive of %s %s than before, at the same address. If its makers packed it anew, approve to build it; a platform with the old archive stays as it is.", s.address.Project, before),
		}
	}
	mended := mends(feed, old, now)
	if len(mended) > 0 {
		v.Security = true
		v.Facts = append(v.Facts, models.Fact{Label: "Security releases since " + before, Value: strings.Join(mended, ", ")})
	}
}

func (s source) lowered(feed drupalorg.Feed, before, now string) string {
	why := "it is still in the list; perhaps the settings changed"
	switch r, there := feed.Release(before); {
	case !there:
		why = "it is no longer in the list"
	case !r.Published():
		why = "it was taken back"
	case r.Insecure():
		why = "it is marked insecure"
	case r.Unsupported():
		why = "it is marked unsupported"
	}
	return fmt.Sprintf("The release to take is %s, and the last one was %s: %s. Sites cannot go down to a lower version. Approve to build it for new sites.", now, before, why)
}

// mends lists the security releases above old, up to now.
func mends(feed drupalorg.Feed, old, now drupalorg.Version) []string {
	var list []string
	for _, r := range feed.Releases {
		v, ok := drupalorg.ParseVersion(r.Version)
		if ok && r.Security() && r.Published() && validVersion(r.Version) && v.Compare(old) > 0 && v.Compare(now) <= 0 && len(list) < 50 {
			list = append(list, r.Version)
		}
	}
	return list
}
