package drupalorg_test

import (
	"strings"
	"testing"

	"hefring/models"
	"hefring/plugins/drupalorg"
)

const (
	core7Head  = `<title>Drupal core</title><short_name>drupal</short_name><type>project_core</type><api_version>7.x</api_version><recommended_major>7</recommended_major><supported_majors>7</supported_majors><default_major>7</default_major><project_status>published</project_status>`
	views7Head = `<title>Views</title><short_name>views</short_name><type>project_module</type><api_version>7.x</api_version><recommended_major>3</recommended_major><supported_majors>3,2</supported_majors><default_major>3</default_major><project_status>published</project_status>`
)

// legacy writes a release as legacy feeds do.
func legacy(version, major, patch, extra string) string {
	text := release(version) + "<version_major>" + major + "</version_major>"
	if patch != "" {
		text += "<version_patch>" + patch + "</version_patch>"
	}
	if extra != "" {
		text += "<version_extra>" + extra + "</version_extra>"
	}
	return text
}

func TestFeed_PickDrush(t *testing.T) {
	core := mustParse(t, feedText(core7Head, legacy("7.103", "7", "103", ""), legacy("7.102", "7", "102", ""), legacy("7.x-dev", "7", "", "dev")))
	views := mustParse(t, feedText(views7Head,
		legacy("7.x-4.0-beta1", "4", "0", "beta1"), legacy("7.x-3.25-rc1", "3", "25", "rc1"), legacy("7.x-3.24", "3", "24", ""), legacy("7.x-3.x-dev", "3", "", "dev"),
		legacy("7.x-2.0-alpha2", "2", "0", "alpha2"), legacy("7.x-2.0-alpha1", "2", "0", "alpha1"),
		strings.Replace(legacy("7.x-2.0", "2", "0", ""), "published", "unpublished", 1)))
	modern := mustParse(t, feedText(modernHead+"<supported_branches>8.x-1.,2.0.,3.0.</supported_branches>",
		release("3.0.0")+"<core_compatibility>^11</core_compatibility>", release("2.0.2")+"<core_compatibility>^9.5 || ^10</core_compatibility>",
		release("2.0.x-dev")+"<core_compatibility>^9.5 || ^10</core_compatibility>", release("8.x-1.30")))
	for _, c := range []struct {
		feed          drupalorg.Feed
		core, version string
		want          string // "" for an error
	}{
		{core, "7.x", "7.103", "7.103"},
		{core, "7.x", "7.102", "7.102"},
		{core, "7.x", "7.x", "7.x-dev"},
		{core, "7.x", "7.x-dev", "7.x-dev"},
		{core, "7.x", "7", ""},
		{core, "7.x", "7.999", ""},
		{core, "7.x", "", "7.103"},
		{views, "7.x", "", "7.x-3.24"},
		{views, "7.x", "3.24", "7.x-3.24"},
		{views, "7.x", "7.x-3.24", "7.x-3.24"},
		{views, "7.103", "3.24", "7.x-3.24"},
		{views, "7.x", "3", "7.x-3.24"},
		{views, "7.x", "2", "7.x-2.0-alpha2"},
		{views, "7.x", "3.x", "7.x-3.x-dev"},
		{views, "7.x", "3.x-dev", "7.x-3.x-dev"},
		{views, "7.x", "7.x-3.x", "7.x-3.x-dev"},
		{views, "7.x", "4.0-beta1", "7.x-4.0-beta1"},
		{views, "7.x", "2.0", ""}, // unpublished
		{views, "7.x", "9.9", ""},
		{views, "7.x", "9", ""},
		{views, "7.x", "3.24+2-dev", ""},
		{modern, "10.x", "", "2.0.2"},
		{modern, "10.4.2", "", "2.0.2"},
		{modern, "11.x", "", "3.0.0"},
		{modern, "8.x", "", "8.x-1.30"},
		{modern, "10.x", "2.0.2", "2.0.2"},
		{modern, "10.x", "1.30", "8.x-1.30"},
		{modern, "8.x", "8.x-1.30", "8.x-1.30"},
		{modern, "10.x", "2.0.x", "2.0.x-dev"},
		{modern, "10.x", "2", "2.0.2"},
	} {
		picked, err := c.feed.PickDrush(c.core, c.version)
		switch {
		case c.want == "" && models.ReasonOf(err) != models.ReasonNotFound:
			t.Errorf("%s %q: %q, %v, want an error", c.feed.Name, c.version, picked.Release.Version, err)
		case c.want != "" && (err != nil || picked.Release.Version != c.want || picked.Type != c.feed.Kind()):
			t.Errorf("%s %q for %s: %q %q, %v, want %s", c.feed.Name, c.version, c.core, picked.Release.Version, picked.Type, err, c.want)
		}
	}
	if _, err := views.PickDrush("7.x", "9.9"); !strings.Contains(models.Explain(err), "7.x-4.0-beta1, 7.x-3.25-rc1") {
		t.Errorf("the message offers nothing: %v", err)
	}
}

func TestFeed_PickDrush_DistributionAsCore(t *testing.T) {
	feed := mustParse(t, feedText(`<short_name>mydist</short_name><type>project_distribution</type><api_version>7.x</api_version><recommended_major>2</recommended_major><supported_majors>2</supported_majors><project_status>published</project_status>`,
		legacy("7.x-2.1", "2", "1", "")+`<files><file><url>https://example.org/full.tar.gz</url><archive_type>tar.gz</archive_type><variant>full</variant><md5>f</md5></file></files>`))
	for _, version := range []string{"7.x-2.1", "2.1", ""} {
		picked, err := feed.PickDrush("7.x", version)
		if err != nil || picked.Release.Version != "7.x-2.1" || picked.Release.Archive("full").MD5 != "f" {
			t.Errorf("%q: %+v, %v", version, picked, err)
		}
	}
}

func TestFeed_PickDrush_NothingSupported(t *testing.T) {
	feed := mustParse(t, feedText(modernHead))
	if _, err := feed.PickDrush("10.x", ""); models.ReasonOf(err) != models.ReasonNotFound || !strings.Contains(models.Explain(err), "no published release") {
		t.Errorf("got %v", err)
	}
}

func TestFeed_Newest(t *testing.T) {
	const head = `<short_name>drupal</short_name><type>project_core</type><project_status>published</project_status>`
	branches := func(list string) string { return head + "<supported_branches>" + list + "</supported_branches>" }
	upgrade := []string{release("11.0.0-beta1"), release("10.2.3"), release("10.2.0"), release("10.1.9", "Security update"), release("9.5.11"), release("9.5.x-dev")}
	for name, c := range map[string]struct {
		text    string
		channel drupalorg.Channel
		want    string
	}{
		"full release before beta":      {feedText(branches("11.0.,10.2.,9.5."), upgrade...), drupalorg.Channel{}, "10.2.3"},
		"pre-releases":                  {feedText(branches("11.0.,10.2.,9.5."), upgrade...), drupalorg.Channel{PreReleases: true}, "11.0.0-beta1"},
		"major":                         {feedText(branches("11.0.,10.2.,9.5."), upgrade...), drupalorg.Channel{Major: 9}, "9.5.11"},
		"major without full":            {feedText(branches("11.0.,10.2.,9.5."), upgrade...), drupalorg.Channel{Major: 11}, "11.0.0-beta1"},
		"major not there":               {feedText(branches("11.0.,10.2.,9.5."), upgrade...), drupalorg.Channel{Major: 8}, ""},
		"branch not supported":          {feedText(branches("10.1."), upgrade...), drupalorg.Channel{}, "10.1.9"},
		"highest major, not first":      {feedText(branches("8.x-1.,2.0."), release("8.x-1.5"), release("2.0.1")), drupalorg.Channel{}, "2.0.1"},
		"only a beta":                   {feedText(branches("11.0."), upgrade...), drupalorg.Channel{}, "11.0.0-beta1"},
		"insecure passed over":          {feedText(branches("10.2."), release("10.2.3", "Insecure"), release("10.2.2", "Unsupported"), release("10.2.1")), drupalorg.Channel{}, "10.2.1"},
		"unpublished passed over":       {feedText(branches("10.2."), strings.Replace(release("10.2.3"), "published", "unpublished", 1), release("10.2.1")), drupalorg.Channel{}, "10.2.1"},
		"snapshot never":                {feedText(branches("10.2."), release("10.2.x-dev")), drupalorg.Channel{PreReleases: true}, ""},
		"no branches":                   {feedText(head, release("10.2.3")), drupalorg.Channel{}, ""},
		"empty branches":                {feedText(branches(""), release("10.2.3")), drupalorg.Channel{}, ""},
		"unreadable branch beside":      {feedText(branches("nonsense,10.2."), release("10.2.3")), drupalorg.Channel{}, "10.2.3"},
		"project revoked":               {strings.Replace(feedText(branches("10.2."), release("10.2.3")), "published", "revoked", 1), drupalorg.Channel{}, ""},
		"legacy":                        {feedText(core7Head, legacy("7.103", "7", "103", ""), legacy("7.x-dev", "7", "", "dev")), drupalorg.Channel{}, "7.103"},
		"legacy other major":            {feedText(core7Head, legacy("7.103", "7", "103", "")), drupalorg.Channel{Major: 6}, ""},
		"legacy majors":                 {feedText(views7Head, legacy("7.x-4.0", "4", "0", ""), legacy("7.x-3.24", "3", "24", "")), drupalorg.Channel{}, "7.x-3.24"},
		"no link":                       {feedText(branches("10.2."), "<version>10.2.3</version><status>published</status>", release("10.2.1")), drupalorg.Channel{}, "10.2.1"},
		"date no number":                {feedText(branches("10.2."), strings.Replace(release("10.2.3"), "1700000000", "yesterday", 1), release("10.2.1")), drupalorg.Channel{}, "10.2.1"},
		"security release is no update": {feedText(branches("10.2."), release("10.2.3", "Security release")), drupalorg.Channel{}, "10.2.3"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := mustParse(t, c.text).Newest(c.channel)
			if c.want == "" {
				if models.ReasonOf(err) != models.ReasonNotFound {
					t.Errorf("got %q, %v", got.Version, err)
				}
				return
			}
			if err != nil || got.Version != c.want {
				t.Errorf("got %q, %v, want %q", got.Version, err, c.want)
			}
		})
	}
}

func TestFeed_Status_SecurityReleaseIsNoUpdate(t *testing.T) {
	feed := mustParse(t, feedText(modernHead+"<supported_branches>1.0.</supported_branches>", release("1.0.1", "Security release"), release("1.0.0")))
	if s := feed.Status("1.0.0", 0); len(s.Security) != 0 || s.State != drupalorg.NotCurrent {
		t.Errorf("got %+v", s)
	}
}

func TestAPIOf(t *testing.T) {
	for core, want := range map[string]string{"7.x": "7.x", "7.103": "7.x", "6.x": "6.x", "8.x": "8.x", "8.9.20": "8.x", "9.x": "current", "10.4.2": "current", "11.x": "current", "": "current"} {
		if got := drupalorg.APIOf(core); got != want {
			t.Errorf("%s: %s, want %s", core, got, want)
		}
	}
}
