package git

import (
	"slices"
	"strings"
	"testing"

	"hefring/plugins/git/lsrefs"
)

func TestParseVersion_Order(t *testing.T) {
	t.Parallel()
	// Each row is in rising order.
	for _, row := range []string{
		"1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0", // semver.org
		"1.0-dev 1.0-alpha1 1.0-a2 1.0-beta1 1.0b2 1.0-beta10 1.0-RC1 1.0rc2 1.0 1.0-pl1 1.0-p2 1.1",
		"7.x-1.0-unstable1 7.x-1.0-alpha1 7.x-1.0-beta1 7.x-1.0-rc1 7.x-1.0 7.x-1.1 7.x-1.10 7.x-2.0-beta1 7.x-2.0 8.x-1.5 8.x-2.0 1.0.0 2.0.0",
		"6.x-3.9 7.x-1.0 10.x-1.0",
		"9.5.11 10.0.0-alpha1 10.0.0 10.1.9 10.1.10 10.4.0-rc1 10.4.0 11.0.0",
		"1 1.0.1 1.2 1.2.3.4 2 10",
		"1.0.0-1 1.0.0-2 1.0.0-10 1.0.0-aaa 1.0.0-alpha 1.0.0-and 1.0.0-beta 1.0.0-foo 1.0.0-rc 1.0.0-zzz 1.0.0",
		"2024.9.22 2024.10.1",
	} {
		texts := strings.Fields(row)
		for i, text := range texts {
			v, ok := parseVersion(text)
			if !ok {
				t.Errorf("%s is a version", text)
				continue
			}
			for j, other := range texts {
				w, _ := parseVersion(other)
				if got, want := v.compare(w), sign(i-j); sign(got) != want {
					t.Errorf("%s against %s: %d, want %d", text, other, got, want)
				}
			}
		}
	}
	for _, pair := range [][2]string{{"1", "1.0.0"}, {"1.0.0+build.5", "1.0.0"}, {"1.0-RC1", "1.0.0-rc.1"}, {"1.02", "1.2"}} {
		v, ok := parseVersion(pair[0])
		w, fine := parseVersion(pair[1])
		if !ok || !fine || v.compare(w) != 0 {
			t.Errorf("%v differ", pair)
		}
	}
}

func sign(n int) int { return min(1, max(-1, n)) }

func TestParseVersion_Strict(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "x", "11.x", "7.x-2.x-dev", "8.x-1.x", "2024-09-22", "2024-09-22-test", "1.2.3.4.5", "1..2", "1.", ".1", "-1",
		"1.0 ", " 1.0", "1.0-foo", "v1.0", "1.0.0-", "1.0.0-a..b", "1,0", "1.0.0-ä", "99999999999999", "7.x-", "7.x", "1.0/2",
		"8.x-1.0-foo", strings.Repeat("1", 300),
	} {
		if v, ok := parseVersion(text); ok {
			t.Errorf("%q was read as %+v", text, v)
		}
	}
}

func TestParseConstraint_Allows(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct{ in, out string }{
		"^1.2":               {"1.2 1.2.0 1.9.9 1.99", "1.1.9 2.0.0 2.0.0-beta1 0.9"},
		"^0.3":               {"0.3.0 0.3.9", "0.4.0 0.2.9 1.0"},
		"^0.0.3":             {"0.0.3", "0.0.4 0.0.2"},
		"^0":                 {"0.1 0.9.9", "1.0"},
		"~1.2":               {"1.2 1.9", "2.0 1.1"},
		"~1.2.3":             {"1.2.3 1.2.9", "1.3.0 1.2.2"},
		"~1":                 {"1.0 1.9", "2.0 0.9"},
		">=1 <2":             {"1.0 1.9.9", "0.9 2.0 2.0-rc1"},
		">= 1.0, < 2.0":      {"1.0 1.9.9", "0.9 2.0"},
		"10.x":               {"10.0.0 10.9.9", "9.9 11.0.0 11.0.0-alpha1"},
		"10.2.*":             {"10.2.0 10.2.30", "10.1.9 10.3.0"},
		"*":                  {"0.1 7.x-1.0 99", ""},
		"1.2.3":              {"1.2.3 v1.2.3", "1.2.4 1.2.2"},
		"=1.2":               {"1.2.0", "1.2.1"},
		"!=1.2 ^1":           {"1.1 1.3", "1.2"},
		"<>1.2 ^1":           {"1.1 1.3", "1.2"},
		">1.2":               {"1.2.1 2.0", "1.2 1.2.0-rc1"},
		"<=1.2":              {"1.2 1.1 1.2-rc1", "1.2.1"},
		"1.0 - 2.0":          {"1.0 2.0.9", "2.1 0.9"},
		"1.0 - 2.0.0":        {"1.0 2.0.0", "2.0.1"},
		"^1.0 || ^3.0":       {"1.5 3.5", "2.5 4.0"},
		"^1.0 | 3.x":         {"1.5 3.5", "2.5"},
		"7.x-2.x":            {"7.x-2.0 7.x-2.9", "7.x-3.0 8.x-2.0 2.0 7.x-1.9"},
		"^7.x-2.1":           {"7.x-2.1 7.x-2.10", "7.x-3.0 7.x-2.0 8.x-2.1"},
		"7.x-*":              {"7.x-1.0 7.x-9.9", "8.x-1.0 6.x-1.0 7.0"},
		">=8.x-1.5":          {"8.x-1.5 2.0.0 8.x-2.0", "8.x-1.4 7.x-9.0"},
		"^10.4@":             {"", ""},
		">=10.4.0-rc1 <10.5": {"10.4.0-rc1 10.4.0 10.4.0-rc2", "10.4.0-beta1 10.5.0-alpha1"},
		"^v10.2":             {"10.2.0", "11.0.0"},
	} {
		constraint, err := parseConstraint(text)
		if c.in == "" && c.out == "" {
			if err == nil {
				t.Errorf("%s is no range", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for want, list := range map[bool]string{true: c.in, false: c.out} {
			for number := range strings.FieldsSeq(list) {
				v, ok := parseVersion(withoutV(number))
				if !ok || constraint.allows(v) != want {
					t.Errorf("%s allows %s: want %v", text, number, want)
				}
			}
		}
	}
}

func TestCompareNatural(t *testing.T) {
	t.Parallel()
	names := []string{"release-10", "release-9", "a", "release-2024-10-01", "release-2024-09-22", "release-010"}
	slices.SortFunc(names, compareNatural)
	want := []string{"a", "release-9", "release-010", "release-10", "release-2024-09-22", "release-2024-10-01"}
	if !slices.Equal(names, want) {
		t.Errorf("got %v", names)
	}
}

func FuzzParseConstraint(f *testing.F) {
	for _, seed := range []string{"^1.2", "~1.2.3", ">=1 <2 || 7.x-2.x", "1.0 - 2.0", "10.x", "* , !=1", "^|^", "1.0-beta1"} {
		f.Add(seed, "1.2.3-rc1")
	}
	f.Fuzz(func(t *testing.T, text, number string) {
		v, known := parseVersion(number)
		constraint, err := parseConstraint(text)
		if err == nil && known {
			constraint.allows(v)
		}
		if known && v.compare(v) != 0 {
			t.Errorf("%q is not itself", number)
		}
	})
}

func FuzzParseListing(f *testing.F) {
	f.Add("ref: refs/heads/main\tHEAD\n0123456789012345678901234567890123456789\tHEAD\n")
	f.Add("0123456789012345678901234567890123456789\trefs/tags/v1\n0123456789012345678901234567890123456780\trefs/tags/v1^{}\n")
	query := lsrefs.Query{Names: []string{"HEAD"}, Prefixes: []string{"refs/"}}
	f.Fuzz(func(t *testing.T, text string) {
		answer := parseListing(text, query)
		for _, ref := range answer.Refs {
			if !isObject(ref.OID) || ref.Peeled != "" && !isObject(ref.Peeled) {
				t.Errorf("got %+v", ref)
			}
		}
		for _, r := range []reference{{kind: kindDefault}, {kind: kindBranch, ref: "refs/heads/main"}} {
			if found, ok := r.choose(answer); ok && found.ref != "HEAD" && !validRef(found.ref) {
				t.Errorf("got %+v", found)
			}
		}
	})
}

func FuzzParseRevision(f *testing.F) {
	f.Add("git:refs/heads/main@sha1:0123456789012345678901234567890123456789")
	f.Add("git:refs/tags/v1@sha1:0123456789012345678901234567890123456789;tag:0123456789012345678901234567890123456789")
	f.Fuzz(func(t *testing.T, text string) {
		if found, err := parseRevision(text); err == nil && found.revision() != text {
			t.Errorf("%q became %q", text, found.revision())
		}
	})
}
