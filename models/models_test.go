package models

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSlugify_Names(t *testing.T) {
	for name, want := range map[string]string{
		"Faculty sites":         "faculty-sites",
		"  Agency base (D10) ":  "agency-base-d10",
		"Übersicht":             "bersicht",
		"--":                    "",
		"../../etc/passwd":      "etc-passwd",
		strings.Repeat("a", 80): strings.Repeat("a", 40),
	} {
		if got := Slugify(name); got != want {
			t.Errorf("Slugify(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestSite_Validate_RefusesWhatIsNoHost(t *testing.T) {
	for _, uri := range []string{
		"", "default", "all", "simpletest", "../x", "a/b", "a b", "-a.example.org", "a..b", "a.example.org:8080", "A.example.org",
		strings.Repeat("a", 64) + ".org", strings.Repeat("a.", 130) + "org", "a\n", "a;rm", "a{b}", "*.example.org",
	} {
		s := Site{URI: uri, Profile: "standard"}
		if s.Validate()["uri"] == "" {
			t.Errorf("%q passes as a host name", uri)
		}
	}
	s := Site{URI: "museum.example.org", Profile: "standard", Title: "Museum"}
	if wrong := s.Validate(); len(wrong) > 0 {
		t.Errorf("a sound site is refused: %v", wrong)
	}
	s.Profile = "../standard"
	if s.Validate()["profile"] == "" {
		t.Error("a path passes as a profile")
	}
}

func TestBuildKey_ChangesWithEverythingThatMatters(t *testing.T) {
	tools := map[string]string{"php": "8.2"}
	base := BuildKey("git", Settings{"url": "u", "composer": "1"}, "c1", tools)
	if BuildKey("git", Settings{"composer": "1", "url": "u"}, "c1", tools) != base {
		t.Error("the order of settings changes the key")
	}
	for what, key := range map[string]string{
		"type":     BuildKey("makefile", Settings{"url": "u", "composer": "1"}, "c1", tools),
		"settings": BuildKey("git", Settings{"url": "u"}, "c1", tools),
		"content":  BuildKey("git", Settings{"url": "u", "composer": "1"}, "c2", tools),
		"tools":    BuildKey("git", Settings{"url": "u", "composer": "1"}, "c1", map[string]string{"php": "8.3"}),
	} {
		if key == base {
			t.Errorf("%s does not change the key", what)
		}
	}
}

func TestComparePackages_AddedRemovedChanged(t *testing.T) {
	from := []Package{{Name: "drupal", Type: "core", Version: "10.5.8"}, {Name: "tides", Type: "module", Version: "1.0.0"}, {Name: "gone", Type: "module", Version: "1.0.0"}, {Name: "same", Type: "theme", Version: "2"}}
	to := []Package{{Name: "drupal", Type: "core", Version: "10.6.2"}, {Name: "tides", Type: "module", Version: "1.1.0"}, {Name: "new", Type: "module", Version: "1.0.0"}, {Name: "same", Type: "theme", Version: "2"}}
	want := []PackageChange{
		{"drupal", "core", "10.5.8", "10.6.2"}, {"gone", "module", "1.0.0", ""}, {"new", "module", "", "1.0.0"}, {"tides", "module", "1.0.0", "1.1.0"},
	}
	if got := ComparePackages(from, to); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// Where no field is marked nobody is sent to look for one.
func TestError_Error_NamesTheFields(t *testing.T) {
	for want, err := range map[string]*Error{
		"port: Use a number.":                            InvalidField("port", "Use a number."),
		"host: Name it.; port: Use a number.":            InvalidFields(map[string]string{"port": "Use a number.", "host": "Name it."}),
		"It does not answer.; host: connection refused":  {Code: Invalid, Message: "It does not answer.", Fields: map[string]string{"host": "connection refused"}},
		"The disk does not answer. Look at it.: on fire": Wrapf(Unavailable, errors.New("on fire"), "The disk does not answer. Look at it."),
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := Explain(InvalidField("port", "Use a number.")); got != "Please check the marked field." {
		t.Errorf("a form says %q", got)
	}
}

func TestError_CodeAndMessage_ThroughWrapping(t *testing.T) {
	cause := errors.New("disk on fire")
	err := fmt.Errorf("save site: %w", Wrapf(Unavailable, cause, "The disk does not answer. Look at it."))
	if CodeOf(err) != Unavailable || Explain(err) != "The disk does not answer. Look at it." || !errors.Is(err, cause) {
		t.Errorf("code %q, message %q", CodeOf(err), Explain(err))
	}
	if got := Explain(cause); strings.Contains(got, "fire") {
		t.Errorf("an internal error is shown: %q", got)
	}
}
