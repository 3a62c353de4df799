package spec

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hefring/models"
)

// fixtures finds makefiles of public projects, which are not part of the source:
// a folder beside the repository, or HEFRING_FIXTURES.
func fixtures(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("HEFRING_FIXTURES"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		found := filepath.Join(filepath.Dir(dir), "shared", "fixtures")
		if _, err := os.Stat(found); err == nil {
			return found
		}
	}
	t.Skip("The fixtures of public projects are not here. Set HEFRING_FIXTURES to their folder.")
	return ""
}

// folder is the Loader of a folder.
type folder string

func (f folder) Read(_ context.Context, ref Ref, _ int64) ([]byte, Ref, error) {
	if ref.Path == "" {
		return nil, ref, models.Errorf(models.Unavailable, "no network")
	}
	text, err := os.ReadFile(filepath.Join(string(f), ref.Path))
	if err != nil {
		return nil, ref, models.Wrapf(models.NotFound, err, "There is no file %s.", ref)
	}
	return text, ref, nil
}

func (folder) Commit(context.Context, Download) (string, error) {
	return strings.Repeat("a", 40), nil
}

func (folder) Local() bool { return true }

type expected struct {
	Raw                json.RawMessage
	Valid              bool
	Info               json.RawMessage
	ContribDestination string `json:"contrib_destination"`
	Destinations       struct{ Projects, Libraries map[string]string }
}

func TestLoad_RealMakefiles(t *testing.T) {
	root := filepath.Join(fixtures(t), "makefiles")
	counts := map[string]int{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".expected.json") {
			return err
		}
		name, err := filepath.Rel(root, strings.TrimSuffix(file, ".expected.json"))
		if err != nil {
			return err
		}
		t.Run(name, func(t *testing.T) { counts[asRecorded(t, root, name)]++ })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("makefiles: %d as recorded, %d different and listed", counts["passed"], counts["different"])
}

// asRecorded compares one makefile with what is recorded of it.
func asRecorded(t *testing.T, root, name string) string {
	t.Helper()
	want := recorded(t, root, name)
	makefile, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	doc := document(Ref{Path: name}, makefile)
	raw, _, err := parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	raw.set("format", newText(doc.Format, 0))
	wrong := compare("raw tree", tidy(t, marshal(t, raw)), tidy(t, want.Raw))

	r := &reader{loader: folder(root)}
	tree, err := r.load(t.Context(), Ref{Path: name}, Ref{})
	if err != nil {
		t.Fatal(err)
	}
	m, problems := newBuilder(r).build(tree)
	if want.Valid {
		tree.set("format", newText(r.read[0].Format, 0))
		wrong += compare("validated tree", tidy(t, marshal(t, tree)), tidy(t, want.Info))
		wrong += destinations(m, want)
	}
	if (len(problems) > 0) == want.Valid {
		wrong += fmt.Sprintf("problems: %v\n", problems)
	}
	differs := listedDifferences()["makefiles/"+name]
	if (wrong != "") != differs {
		t.Errorf("listed as different: %v; %s", differs, wrong)
	}
	if differs {
		return "different"
	}
	return "passed"
}

func recorded(t *testing.T, root, name string) expected {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name+".expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want expected
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	return want
}

func compare(what, got, want string) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%s:\n%s\nwant:\n%s\n", what, got, want)
}

func destinations(m *Makefile, want expected) string {
	var wrong strings.Builder
	contrib := m.ContribDestination("")
	if recorded := path.Clean(want.ContribDestination); recorded != contrib {
		if !strings.HasPrefix(recorded, "profiles/") { // recorded as a makefile inside of a profile
			fmt.Fprintf(&wrong, "contrib destination %q, want %q\n", contrib, recorded)
		}
		contrib = m.ContribDestination(recorded)
	}
	for _, p := range m.Projects {
		if got := p.Path(contrib); got != want.Destinations.Projects[p.Name] {
			fmt.Fprintf(&wrong, "%s goes to %s, want %s\n", p.Name, got, want.Destinations.Projects[p.Name])
		}
	}
	for _, l := range m.Libraries {
		if got := l.Path(contrib); got != want.Destinations.Libraries[l.Name] {
			fmt.Fprintf(&wrong, "%s goes to %s, want %s\n", l.Name, got, want.Destinations.Libraries[l.Name])
		}
	}
	if len(m.Projects) != len(want.Destinations.Projects) {
		fmt.Fprintf(&wrong, "%d projects, want %d\n", len(m.Projects), len(want.Destinations.Projects))
	}
	return wrong.String()
}

// listedDifferences are the recorded cases that differ on purpose.
func listedDifferences() map[string]bool {
	listed := map[string]bool{}
	for _, d := range Differences() {
		for _, c := range d.Cases {
			listed[c] = true
		}
	}
	return listed
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// tidy brings JSON into a form that can be compared: numbers are text, maps keep
// their order, and what marks only how Drush works is left out.
func tidy(t *testing.T, text []byte) string {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var b strings.Builder
	var walk func(indent string)
	walk = func(indent string) {
		token, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch v := token.(type) {
		case json.Delim:
			b.WriteString("{\n")
			for i := 0; decoder.More(); i++ {
				key := strconv.Itoa(i)
				if v == '{' {
					name, err := decoder.Token()
					if err != nil {
						t.Fatal(err)
					}
					key = name.(string)
				}
				mark := b.String()
				b.WriteString(indent + "  " + key + ": ")
				walk(indent + "  ")
				if indent == "" && (key == "core_release" || key == "includes") {
					b.Reset()
					b.WriteString(mark)
				}
			}
			if _, err := decoder.Token(); err != nil {
				t.Fatal(err)
			}
			b.WriteString(indent + "}\n")
		case nil:
			b.WriteString("null\n")
		case bool:
			b.WriteString(map[bool]string{true: "TRUE\n", false: "FALSE\n"}[v])
		case json.Number:
			b.WriteString("\"" + v.String() + "\"\n")
		case string:
			b.WriteString("\"" + v + "\"\n")
		}
	}
	walk("")
	return b.String()
}

func TestParseINI_Oracle(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "oracle-ini.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct {
		INI    string
		Parsed json.RawMessage
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	listed := listedDifferences()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tree, _, err := parseINI(strings.TrimPrefix(c.INI, "\ufeff"))
			if err != nil {
				t.Fatal(err)
			}
			got := "null\n"
			if tree != nil {
				got = tidy(t, marshal(t, tree))
			}
			if want, differs := tidy(t, c.Parsed), listed["oracle-ini/"+name]; (got != want) != differs {
				t.Errorf("got %s want %s; listed as different: %v", got, want, differs)
			}
		})
	}
}
