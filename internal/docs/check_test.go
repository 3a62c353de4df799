package docs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hefring/internal/docs"
)

// check writes pages into a folder and checks the first.
func check(t *testing.T, page string) []string {
	t.Helper()
	root := t.TempDir()
	other := "# Other page\n\n## It's a `code` heading: 2\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n"
	for name, text := range map[string]string{"docs/page.md": page, "docs/other.md": other, "README.md": "# Top\n"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parser := app(t)
	checker := &docs.Checker{
		Root: root, App: parser.Model, Targets: docs.Makefile("demo: build ## x\n\techo\nbench-it:\n"), Variables: map[string]bool{"HEFRING_KNOWN": true},
		Parse: func(args []string) error {
			_, err := parser.Parse(args)
			return err
		},
	}
	found, err := checker.Check("docs/page.md")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestChecker_Check_WhatIsTrue(t *testing.T) {
	page := "# Page\n" +
		"[a](other.md) [b](../README.md#top) [c](#page) [d](https://example.org/x?y#z) ![e](other.md \"title\") [f](other.md#its-a-code-heading-2) [g](other.md#twice-1)\n" +
		"`hefring site list --limit 3`, `hefring site`, `hefring site list|import --help`, `hefring serve --listen …`, `--json`, `--state on`, `git clone --bare`\n" +
		"`make demo`, `HEFRING_KNOWN`, HEFRING_LISTEN, make sense of it\n" +
		"```sh\n" +
		"$ hefring site list --limit 3 | jq '.[]' > out # hefring frob\n" +
		"echo \"a; hefring frob\" | sudo -u hefring HEFRING_DATA=/x bin/hefring site import DIR < in 2>err && make bench-it\n" +
		"hefring site import …\n" +
		"ExecStart=/usr/bin/hefring serve --data '/srv/a b'\n" +
		"[not](a-link)\n" +
		"```\n"
	if found := check(t, page); len(found) > 0 {
		t.Errorf("found\n%s", strings.Join(found, "\n"))
	}
}

func TestChecker_Check_WhatIsNot(t *testing.T) {
	for page, want := range map[string]string{
		"[a](nowhere.md)":                 "the link nowhere.md leads nowhere",
		"![a](images/none.png)":           "leads nowhere",
		"[a](other.md#no-heading)":        "docs/other.md has no heading #no-heading",
		"[a](other.md#no)":                "no heading",
		"[a](#nowhere)":                   "docs/page.md has no heading #nowhere",
		"[a]: gone.md":                    "leads nowhere",
		"[a](https://)":                   "is no address on the web",
		"[a](javascript:x)":               "is no address on the web",
		"[a](http://%zz)":                 "is no address",
		"`hefring frob`":                  "hefring has no command frob",
		"`hefring site frob`":             "hefring site has no command frob",
		"`hefring site list|frob --help`": "has no command list|frob",
		"`hefring site list --frob`":      "hefring site list has no flag --frob",
		"`hefring site list -x`":          "has no flag -x",
		"`--frob`":                        "no command has the flag --frob",
		"`make frob`":                     "no target frob",
		"`HEFRING_FROB=1 make demo`":      "nothing reads the variable HEFRING_FROB",
		"Set HEFRING_FROB.":               "nothing reads the variable",
		"```\nhefring site list\n```":     "missing flags",
		"```\nhefring serve --update-limit=1 --sites-mode=x\n```": "update-limit",
		"```\nx=$(true); hefring site import\n```":                "expected",
		"```\ntrue && make frob\n```":                             "no target frob",
	} {
		found := check(t, page)
		if !slices.ContainsFunc(found, func(line string) bool { return strings.Contains(line, want) }) {
			t.Errorf("%q: nothing of %q in %q", page, want, found)
		}
	}
	found := check(t, "one\n\n`--frob`\n")
	if len(found) != 1 || !strings.HasPrefix(found[0], "docs/page.md:3: ") {
		t.Errorf("got %q", found)
	}
}
