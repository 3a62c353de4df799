package build

import (
	"testing"

	"hefring/plugins/makefile/spec"
)

func TestFullVersion_Spellings(t *testing.T) {
	for _, c := range []struct{ kind, core, version, want string }{
		{"module", "7.x", "", ""},
		{"module", "7.x", "1.0", "7.x-1.0"},
		{"module", "7.x", "7.x-1.0", "7.x-1.0"},
		{"module", "7.x", "1", "7.x-1.x-dev"},
		{"module", "7.x", "1.x", "7.x-1.x-dev"},
		{"module", "7.x", "1.x-dev", "7.x-1.x-dev"},
		{"module", "7.12", "2.0", "7.x-2.0"},
		{"core", "7.x", "7", "7.x-dev"},
		{"core", "7.x", "7.x", "7.x-dev"},
		{"core", "7.x", "7.103", "7.103"},
	} {
		if got := fullVersion(&entry{kind: c.kind, core: c.core, version: c.version}); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.kind, c.version, got, c.want)
		}
	}
}

func TestStampedVersion_Precedence(t *testing.T) {
	d := spec.Download{Tag: "7.x-1.0", Branch: "7.x-1.x", Revision: "abc"}
	e := &entry{core: "7.x", version: "1.1", download: &d}
	want := []string{"7.x-1.1", "7.x-1.0", "7.x-1.x-dev", "abc", "unknown"}
	for i, forget := range []func(){func() {}, func() { e.version = "" }, func() { d.Tag = "" }, func() { d.Branch = "" }, func() { d.Revision = "" }} {
		forget()
		if got := stampedVersion(e); got != want[i] {
			t.Errorf("got %q, want %q", got, want[i])
		}
	}
}

func TestRebuilt_FromTags(t *testing.T) {
	for _, c := range []struct{ version, described, want string }{
		{"7.x-1.x-dev", "7.x-1.1", "7.x-1.1+0-dev"},
		{"7.x-1.x-dev", "7.x-1.1-3-gabcdef0", "7.x-1.1+3-dev"},
		{"7.x-1.x-dev", "7.x-1.0-rc1-12-gabcdef0123", "7.x-1.0-rc1+12-dev"},
		{"7.x-1.x-dev", "7.x-2.1-3-gabcdef0", "7.x-1.x-dev"},
		{"7.x-1.x-dev", "7.x-10.1", "7.x-1.x-dev"},
		{"7.x-1.x-dev", "", "7.x-1.x-dev"},
		{"7.x-1.1", "7.x-1.1", "7.x-1.1"},
		{"8.x-dev", "8.9.20-4-gabcdef0", "8.x-dev"},
		{"main-dev", "1.0", "main-dev"},
	} {
		if got := rebuilt(c.version, c.described); got != c.want {
			t.Errorf("%s described as %q: got %q, want %q", c.version, c.described, got, c.want)
		}
	}
}

func TestBaseName_Addresses(t *testing.T) {
	for address, want := range map[string]string{
		"https://example.org/a/b.zip":       "b.zip",
		"https://example.org/a/b.js?v=1/2":  "b.js",
		"https://example.org/a%20b.js":      "a b.js",
		"https://example.org/a%2Fb":         "a%2Fb",
		"https://example.org/":              "",
		"https://example.org":               "",
		"https://example.org/download/?f=x": "download",
		"p/local.patch":                     "local.patch",
		"/abs/x":                            "x",
	} {
		if got := baseName(address); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}

func TestTouchesGit_Headers(t *testing.T) {
	for text, want := range map[string]bool{
		"--- a/.git/config\n":                    true,
		"+++ b/sub/.GIT/hooks/x\n":               true,
		"diff --git a/.git/x b/.git/x\n":         true,
		"diff --git \"a/.git/x\" \"b/.git/x\"\n": true,
		"rename to .git/config\n":                true,
		"Index: .git/config\n":                   true,
		"--- .git\tdate\n":                       true,
		"*** .git/config\tdate\n":                true,
		"--- a/.gitignore\n":                     false,
		"+++ b/x.git/y\n":                        false,
		"+see .git/config\n":                     false,
		"diff --git a/x b/x\n":                   false,
	} {
		if got := touchesGit.MatchString(text); got != want {
			t.Errorf("%q: got %t", text, got)
		}
	}
}
