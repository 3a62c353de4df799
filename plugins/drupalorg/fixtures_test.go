package drupalorg_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hefring/models"
	"hefring/plugins/drupalorg"
)

// recorded is what Drupal and Drush made of a feed of a public project.
type recorded struct {
	Parsed           bool                      `json:"parsed"`
	ProjectStatus    string                    `json:"project_status"`
	Branches         *string                   `json:"supported_branches"`
	RecommendedMajor *string                   `json:"recommended_major"`
	SupportedMajors  *string                   `json:"supported_majors"`
	Releases         json.RawMessage           `json:"releases"`
	Installed        map[string]recordedStatus `json:"installed"`
	Fresh            json.RawMessage           `json:"installable_fresh"`
	From             json.RawMessage           `json:"installable_from"`
	Drush            recordedDrush             `json:"drush8_selection"`
}

type recordedRelease struct {
	Status   string   `json:"status"`
	Types    []string `json:"types"`
	Date     string   `json:"date"`
	Core     string   `json:"core_compatibility"`
	MD5      string   `json:"mdhash"`
	Download string   `json:"download_link"`
}

type recordedStatus struct {
	Status      string   `json:"status"`
	Reason      string   `json:"reason"`
	Recommended string   `json:"recommended"`
	Latest      string   `json:"latest_version"`
	Dev         string   `json:"dev_version"`
	LatestDev   string   `json:"latest_dev"`
	Also        []string `json:"also"`
	Security    []string `json:"security_updates"`
	Extra       []string `json:"extra"`
	Coverage    *struct {
		Until  string `json:"security_coverage_end_version"`
		Minors *int   `json:"additional_minors_coverage"`
		End    string `json:"security_coverage_end_date"`
		Warn   string `json:"security_coverage_ending_warn_date"`
	} `json:"security_coverage"`
}

type recordedDrush struct {
	Error       string              `json:"error"`
	Status      string              `json:"status"`
	Recommended string              `json:"recommended"`
	Best        *string             `json:"best"`
	Dev         *string             `json:"dev"`
	Statuses    map[string][]string `json:"statuses"`
}

// fixtures finds the feeds of public projects beside the repository.
func fixtures(tb testing.TB) string {
	tb.Helper()
	folder := fixturesFolder(tb)
	if _, err := os.Stat(folder); err != nil {
		tb.Skip("the feeds of public projects are not here: set HEFRING_FIXTURES to the folder that holds release-history")
	}
	return folder
}

// fixturesFolder is where they would be.
func fixturesFolder(tb testing.TB) string {
	tb.Helper()
	root := os.Getenv("HEFRING_FIXTURES")
	if root == "" {
		dir, err := os.Getwd()
		if err != nil {
			tb.Fatal(err)
		}
		for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				root = filepath.Join(filepath.Dir(dir), "shared", "fixtures")
			}
		}
	}
	return filepath.Join(root, "release-history")
}

func TestFeed_RecordedExpectations(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(fixtures(t), "*", "*.xml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no feeds: %v", err)
	}
	count := map[string]int{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), ".xml")
		t.Run(name, func(t *testing.T) {
			var want recorded
			read(t, strings.TrimSuffix(file, ".xml")+".expected.json", &want)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			feed, err := drupalorg.Parse(data)
			if (err == nil) != want.Parsed {
				t.Fatalf("parsed: %v", err)
			}
			count["feeds"]++
			if err != nil {
				checkUnreadable(t, err, want, count)
				return
			}
			checkParsed(t, feed, want, count)
			for installed, status := range want.Installed {
				checkStatus(t, feed, installed, status)
				count["statuses"]++
			}
			checkInstallable(t, feed, want, count)
			checkDrush(t, feed, want.Drush, count)
		})
	}
	t.Logf("compared: %v", count)
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// checkUnreadable holds that what Drupal cannot read is an error here, where it
// says UNKNOWN for whatever is installed.
func checkUnreadable(t *testing.T, err error, want recorded, count map[string]int) {
	t.Helper()
	if models.ReasonOf(err) == "" || want.Drush.Error == "" {
		t.Errorf("error %v, Drush's %q", err, want.Drush.Error)
	}
	for installed, status := range want.Installed {
		if status.Status != "UNKNOWN" {
			t.Errorf("%s is %s", installed, status.Status)
		}
		count["statuses"]++
	}
	count["drush"]++
}

func checkParsed(t *testing.T, feed drupalorg.Feed, want recorded, count map[string]int) {
	t.Helper()
	releases := map[string]recordedRelease{}
	if string(want.Releases) != "[]" {
		if err := json.Unmarshal(want.Releases, &releases); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "project status", feed.ProjectStatus, want.ProjectStatus)
	equal(t, "branches", strings.Join(feed.Branches, ","), deref(want.Branches))
	equal(t, "recommended major", feed.RecommendedMajor, deref(want.RecommendedMajor))
	equal(t, "supported majors", strings.Join(feed.SupportedMajors, ","), deref(want.SupportedMajors))
	equal(t, "releases", len(feed.Releases), len(releases))
	for version, r := range releases {
		got, ok := feed.Release(version)
		if !ok {
			t.Errorf("%s is missing", version)
		}
		equal(t, version, fmt.Sprint(got.Status, got.Types, got.Core), fmt.Sprint(r.Status, r.Types, r.Core))
		if r.Date != "" {
			equal(t, version, strconv.FormatInt(got.Date, 10), r.Date)
		}
		if r.MD5 != "" {
			equal(t, version, got.MD5+got.Download, r.MD5+r.Download)
		}
		count["releases"]++
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func checkStatus(t *testing.T, feed drupalorg.Feed, installed string, want recordedStatus) {
	t.Helper()
	version, stamp, _ := strings.Cut(strings.TrimPrefix(installed, "!"), "@")
	datestamp, _ := strconv.ParseInt(stamp, 10, 64)
	got := feed.Status(version, datestamp)
	var security []string
	for _, r := range got.Security {
		security = append(security, r.Version)
	}
	for _, c := range []struct{ what, got, want string }{
		{"state", string(got.State), want.Status},
		{"reason", got.Reason, want.Reason},
		{"recommended", got.Recommended, want.Recommended},
		{"latest", got.Latest, want.Latest},
		{"snapshot", got.Snapshot, want.Dev},
		{"latest of all", got.LatestOfAll, want.LatestDev},
		{"also", fmt.Sprint(got.Also), fmt.Sprint(want.Also)},
		{"security", fmt.Sprint(security), fmt.Sprint(want.Security)},
		{"labels", fmt.Sprint(got.Labels), fmt.Sprint(want.Extra)},
	} {
		equal(t, installed+" "+c.what, c.got, c.want)
	}
	if (got.Coverage == nil) != (want.Coverage == nil) {
		t.Errorf("%s coverage: %+v, want %+v", installed, got.Coverage, want.Coverage)
	} else if got.Coverage != nil {
		wanted := drupalorg.Coverage{Until: want.Coverage.Until, End: want.Coverage.End, Warn: want.Coverage.Warn}
		if want.Coverage.Minors != nil {
			wanted.Minors, wanted.MinorsKnown = *want.Coverage.Minors, true
		}
		equal(t, installed+" coverage", *got.Coverage, wanted)
	}
}

func checkInstallable(t *testing.T, feed drupalorg.Feed, want recorded, count map[string]int) {
	t.Helper()
	if want.Fresh == nil {
		return // Drupal 7 has no Package Manager
	}
	checkList(t, feed, "", want.Fresh)
	count["installable"]++
	from := map[string]json.RawMessage{}
	if string(want.From) != "[]" {
		if err := json.Unmarshal(want.From, &from); err != nil {
			t.Fatal(err)
		}
	}
	for installed, list := range from {
		checkList(t, feed, installed, list)
		count["installable"]++
	}
}

func checkList(t *testing.T, feed drupalorg.Feed, installed string, want json.RawMessage) {
	t.Helper()
	got, err := feed.Installable(installed)
	var versions []string
	if json.Unmarshal(want, &versions) != nil { // it is the text of an error
		if err == nil {
			t.Errorf("installable from %q: no error, want %s", installed, want)
		}
		return
	}
	if err != nil && (len(versions) > 0 || feed.ProjectStatus == "published") {
		t.Errorf("installable from %q: %v", installed, err)
	}
	var names []string
	for _, r := range got {
		names = append(names, r.Version)
	}
	if !slices.Equal(names, versions) {
		t.Errorf("installable from %q: %v, want %v", installed, names, versions)
	}
}

func checkDrush(t *testing.T, feed drupalorg.Feed, want recordedDrush, count map[string]int) {
	t.Helper()
	core := "8.x"
	if feed.Legacy() {
		core = "7.x"
	}
	picked, err := feed.PickDrush(core, "")
	count["drush"]++
	if want.Error != "" || want.Best == nil {
		if err == nil {
			t.Errorf("Drush picks nothing, not %s", picked.Release.Version)
		}
		return
	}
	if err != nil {
		t.Errorf("Drush picks %s: %v", *want.Best, err)
		return
	}
	equal(t, "Drush's pick", picked.Release.Version, *want.Best)
	if want.Dev == nil {
		return
	}
	picked, err = feed.PickDrush(core, strings.TrimSuffix(*want.Dev, "-dev"))
	if strings.HasSuffix(*want.Dev, ".x-dev") && (err != nil || picked.Release.Version != *want.Dev) {
		t.Errorf("the snapshot is %s, not %s: %v", *want.Dev, picked.Release.Version, err)
	}
}
