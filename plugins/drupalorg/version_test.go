package drupalorg_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"hefring/plugins/drupalorg"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{
		"7.103":               "7 - ",
		"10.4.0-rc1":          "10 4 rc1",
		"7.x-3.24":            "7.x 3 - ",
		"8.x-1.x-dev":         "8.x 1 - dev",
		"8.x-dev":             "8 - dev",
		"8.0.x-dev":           "8 0 dev",
		"1.6-bugfix":          "1 - bugfix",
		"8.x-1.0-beta1-other": "8.x 1 - beta1",
		"10.x-2.0":            "10.x 2 - ",
	} {
		v, ok := drupalorg.ParseVersion(text)
		got := strconv.Itoa(v.Major)
		if v.Core != "" {
			got = v.Core + " " + got
		}
		minor, has := v.Minor()
		if has {
			got += fmt.Sprint(" ", minor)
		} else {
			got += " -"
		}
		if got += " " + v.Extra; !ok || got != want {
			t.Errorf("%s: %q %v, want %q", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "7", "x", "7.x", "1.2.3.4", "1..2", "v1.2", "1.2-", "1.x-alpha1", "8.x-", "8.x-5.x", "1.2 ", "1.-1", "-1.2", "1.2\n", "1.99999999999", "٣.١", "1.0-rc.1"} {
		if v, ok := drupalorg.ParseVersion(text); ok {
			t.Errorf("%q is %+v", text, v)
		}
	}
}

func TestVersion_Compare(t *testing.T) {
	ascending := []string{
		"6.38", "8.x-1.x-dev", "8.x-1.0-unstable2", "8.x-1.0-alpha2", "8.x-1.0-alpha10", "8.x-1.0-beta1", "8.x-1.0-rc1", "8.x-1.0", "8.x-1.0-bugfix",
		"8.x-1.1", "8.x-1.10", "2.0.0-alpha1", "2.0.0", "2.0.1", "2.1.x-dev", "2.1.0", "8.x-6.2", "7.0.1", "7.9", "7.103", "10.0.0",
	}
	ascending = ascending[1:]
	for i, a := range ascending {
		for j, b := range ascending {
			v, okA := drupalorg.ParseVersion(a)
			w, okB := drupalorg.ParseVersion(b)
			if !okA || !okB {
				t.Fatalf("%s %v, %s %v", a, okA, b, okB)
			}
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			if got := v.Compare(w); got != want {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
	a, _ := drupalorg.ParseVersion("8.x-6.2")
	b, _ := drupalorg.ParseVersion("6.2.0")
	if a.Compare(b) != 0 {
		t.Error("8.x-6.2 is not 6.2.0")
	}
}

func TestPreRelease(t *testing.T) {
	for text, want := range map[string]bool{"10.0.0": false, "10.0.0-rc1": true, "7.x-1.0-alpha1": true, "1.6-bugfix": false, "8.x-1.x-dev": true, "nonsense": true} {
		if drupalorg.PreRelease(text) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

func TestConstraint_Allows(t *testing.T) {
	for constraint, c := range map[string]struct{ yes, no []string }{
		"^8.1.1":             {[]string{"8.1.1", "8.9.20"}, []string{"8.1.0", "9.0.0", "9.0.0-alpha1"}},
		"^8 || ^9":           {[]string{"8.0.0", "9.5.11", "8.0.0-rc1"}, []string{"7.103", "10.0.0"}},
		"^9.4|^10":           {[]string{"9.4.0", "10.4.2"}, []string{"9.3.9", "11.0.0"}},
		">=8.8 <10":          {[]string{"8.8.0", "9.9.9", "8.8.0-beta1"}, []string{"8.7.14", "10.0.0", "10.0.0-rc1"}},
		">= 8.8, < 10":       {[]string{"8.8.0"}, []string{"10.0.0"}},
		"~8.7.3":             {[]string{"8.7.3", "8.7.14"}, []string{"8.8.0", "8.7.2"}},
		"~8.7":               {[]string{"8.7.0", "8.9.0"}, []string{"9.0.0", "8.6.9"}},
		"8.x":                {[]string{"8.0.0", "8.9.20"}, []string{"9.0.0"}},
		"8.7.*":              {[]string{"8.7.0"}, []string{"8.8.0"}},
		"*":                  {[]string{"7.103", "11.0.0-beta1"}, nil},
		"10.4.2":             {[]string{"10.4.2"}, []string{"10.4.1", "10.4.2-rc1"}},
		"<9.1.0":             {[]string{"9.0.5"}, []string{"9.1.0", "9.1.0-rc1"}},
		">9.1.0 <=9.3":       {[]string{"9.1.1", "9.3.0"}, []string{"9.1.0", "9.3.1"}},
		"8.0 - 9":            {[]string{"8.0.0", "9.5.0"}, []string{"10.0.0"}},
		"8.0.1 - 9.0.1":      {[]string{"8.0.1", "9.0.1"}, []string{"8.0.0", "9.0.2"}},
		"^9 !=9.1.0":         {[]string{"9.0.0", "9.1.1"}, []string{"9.1.0"}},
		"^8.8@beta || ^0.3":  {[]string{"8.8.0", "0.3.1"}, []string{"0.4.0"}},
		">=8.8.0-beta1":      {[]string{"8.8.0-rc1"}, []string{"8.8.0-alpha1"}},
		">9 <9":              {nil, []string{"9.0.0", "8.0.0"}},
		"  ^8.1   || v9.0.0": {[]string{"8.1.0", "9.0.0"}, []string{"9.0.1"}},
	} {
		parsed, ok := drupalorg.ParseConstraint(constraint)
		if !ok {
			t.Errorf("%s is not understood", constraint)
			continue
		}
		for i, list := range [][]string{c.yes, c.no} {
			for _, version := range list {
				v, _ := drupalorg.ParseVersion(version)
				if got := parsed.Allows(v); got != (i == 0) {
					t.Errorf("%s allows %s: %v", constraint, version, got)
				}
			}
		}
	}
	for _, text := range []string{"", "abc", "^", "8.x-1.0", "dev-main", "^8 |", ">=8.*", "1.2.3.4.5", "8 9 ^^2", string(make([]byte, 600))} {
		if _, ok := drupalorg.ParseConstraint(text); ok {
			t.Errorf("%.20q is understood", text)
		}
	}
}

func TestCoreRanges(t *testing.T) {
	core := mustParse(t, feedText(`<short_name>drupal</short_name><project_status>published</project_status><supported_branches>8.8.,8.9.,9.</supported_branches>`,
		release("9.1.0-beta1"), release("9.0.0"), release("8.9.1"), release("8.9.0"), release("8.8.4"), release("8.8.3"), release("8.8.2"), release("8.8.x-dev"), release("8.7.0")))
	for _, c := range []struct {
		constraint, installed string
		want                  []drupalorg.Range
	}{
		{"^8.8", "8.8.2", []drupalorg.Range{{From: "8.8.2", To: "8.9.1"}}},
		{"^8.8 || ^9", "8.8.3", []drupalorg.Range{{From: "8.8.3", To: "9.0.0"}}},
		{"8.8.2 || >8.8.3 <8.9.1 || 9.0.0", "8.8.2", []drupalorg.Range{{From: "8.8.2", To: "8.8.2"}, {From: "8.8.4", To: "8.9.0"}, {From: "9.0.0", To: "9.0.0"}}},
		{"^10", "8.8.2", nil},
		{"^8", "8.7.0", []drupalorg.Range{{From: "8.8.2", To: "8.9.1"}}},
		{"^8", "8.6.0", nil},
		{"nonsense", "8.8.2", nil},
	} {
		if got := drupalorg.CoreRanges(c.constraint, core, c.installed); !slices.Equal(got, c.want) {
			t.Errorf("%s from %s: %v, want %v", c.constraint, c.installed, got, c.want)
		}
	}
}
