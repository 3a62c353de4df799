package makefile_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	made "hefring/plugins/makefile/build"
	"hefring/plugins/makefile/spec"
)

var update = flag.Bool("update", false, "write docs/makefile-differences.md anew")

const page = "../../docs/makefile-differences.md"

// TestDifferences_Page holds the page to what the code says: every difference is
// on it, every recorded case with it, and nothing else.
func TestDifferences_Page(t *testing.T) {
	want := render()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code says; run: go test ./plugins/makefile -run Differences -update", page)
	}
}

func TestDifferences_AreWhole(t *testing.T) {
	ids, cases := map[string]bool{}, map[string]string{}
	for _, d := range differences() {
		if ids[d.ID] || d.ID == "" || d.Drush == "" || d.Hefring == "" {
			t.Errorf("%q stands there twice, or lacks something", d.ID)
		}
		ids[d.ID] = true
		for _, c := range d.Cases {
			if cases[c] != "" {
				t.Errorf("%s belongs to %s and %s", c, cases[c], d.ID)
			}
			cases[c] = d.ID
			if name, ok := strings.CutPrefix(c, "oracle-make/"); ok {
				if _, err := os.Stat(filepath.Join(oracles, name, "case.json")); err != nil {
					t.Errorf("there is no case %s", c)
				}
			}
		}
	}
}

func differences() []spec.Difference {
	return slices.Concat(spec.Differences(), made.Differences())
}

func render() string {
	var b strings.Builder
	b.WriteString(`# Where Hefring differs from Drush

Hefring builds Drush makefiles as Drush 8 does: the same tree with the same
contents. The tests compare both over recorded builds, parsed files and real
makefiles. Where Drush loses input, publishes half a build or writes outside of
it, Hefring does something else. These are all such places, with the recorded
cases that show them; a test holds this page to the code.

| Name | Drush | Hefring | Recorded cases |
|---|---|---|---|
`)
	for _, d := range differences() {
		cases := strings.Join(d.Cases, "<br>")
		if cases == "" {
			cases = "–"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", d.ID, cell(d.Drush), cell(d.Hefring), cell(cases))
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
