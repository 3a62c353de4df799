package version_test

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"hefring/plugins/composer/version"
)

// lines reads a table of JSON values, one a line.
func lines[T any](t *testing.T, path string) []T {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var list []T
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		var row T
		if err := json.Unmarshal(scanner.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		list = append(list, row)
	}
	if err := scanner.Err(); err != nil || len(list) == 0 {
		t.Fatalf("%s: %d rows, %v", path, len(list), err)
	}
	return list
}

// satisfies answers as Composer's Semver::satisfies: 1, 0 or E for an error.
func satisfies(text, constraint string) string {
	v, err := version.Parse(text)
	if err != nil {
		return "E"
	}
	c, err := version.ParseConstraint(constraint)
	switch {
	case err != nil:
		return "E"
	case c.Matches(v):
		return "1"
	}
	return "0"
}

func order(a, b version.Version) int { return a.Compare(b) }

func TestConstraint_Matches_Golden(t *testing.T) {
	for _, file := range []string{"golden.jsonl", "more.jsonl"} {
		rows := lines[[3]string](t, "testdata/"+file)
		good := 0
		for _, row := range rows {
			if got := satisfies(row[1], row[0]); got != row[2] {
				t.Errorf("%q with %q: got %s, want %s", row[1], row[0], got, row[2])
				continue
			}
			good++
		}
		t.Logf("%s: %d of %d", file, good, len(rows))
	}
}

// The first table holds what Composer's Comparator says of texts as they stand,
// the second what it makes of their normal forms.
func TestCompare_Golden(t *testing.T) {
	for file, compare := range map[string]func(a, b string) int{
		"cmp.jsonl":     version.Compare,
		"morecmp.jsonl": func(a, b string) int { return mustParse(t, a).Compare(mustParse(t, b)) },
	} {
		rows := lines[[3]any](t, "testdata/"+file)
		good := 0
		for _, row := range rows {
			if got := compare(row[0].(string), row[1].(string)); float64(got) != row[2] {
				t.Errorf("%s: %q and %q: got %d, want %v", file, row[0], row[1], got, row[2])
				continue
			}
			good++
		}
		t.Logf("%s: %d of %d", file, good, len(rows))
	}
}

func mustParse(t *testing.T, text string) version.Version {
	t.Helper()
	v, err := version.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// tables is what Composer 2.5.5 answered.
type tables struct {
	Normalize map[string]struct {
		Normalized *string
		Stability  string
	}
	Compare []struct {
		A, B  string
		More  bool `json:"a>b"`
		Equal bool `json:"a==b"`
	}
	Satisfies []struct {
		Version, Constraint string
		Result              any
	}
	Sort []struct{ In, Asc []string }
}

func readTables(t *testing.T) tables {
	t.Helper()
	text, err := os.ReadFile("testdata/semver.json")
	if err != nil {
		t.Fatal(err)
	}
	var tables tables
	if err := json.Unmarshal(text, &tables); err != nil {
		t.Fatal(err)
	}
	return tables
}

func TestNormalize_Golden(t *testing.T) {
	table := readTables(t).Normalize
	for _, row := range lines[[3]*string](t, "testdata/morenorm.jsonl") {
		got, err := version.Normalize(*row[0])
		if (row[1] == nil) != (err != nil) || err == nil && got != *row[1] {
			t.Errorf("%q: got %q, %v", *row[0], got, err)
		}
		if s := version.StabilityOf(*row[0]); s.String() != *row[2] {
			t.Errorf("%q: stability %s, want %s", *row[0], s, *row[2])
		}
	}
	for text, want := range table {
		got, err := version.Normalize(text)
		if (want.Normalized == nil) != (err != nil) || err == nil && got != *want.Normalized {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
		if s := version.StabilityOf(text); s.String() != want.Stability {
			t.Errorf("%q: stability %s, want %s", text, s, want.Stability)
		}
	}
	t.Logf("semver.json normalize: %d", len(table))
}

func TestVersion_Compare_Tables(t *testing.T) {
	all := readTables(t)
	for _, row := range all.Compare {
		c := mustParse(t, row.A).Compare(mustParse(t, row.B))
		if (c > 0) != row.More || (c == 0) != row.Equal {
			t.Errorf("%q and %q: %d", row.A, row.B, c)
		}
	}
	for _, row := range all.Sort {
		var list []version.Version
		for _, text := range row.In {
			list = append(list, mustParse(t, text))
		}
		slices.SortFunc(list, order)
		for i, v := range list {
			if v.Text != row.Asc[i] {
				t.Errorf("sorted: %v, want %v", list, row.Asc)
				break
			}
		}
	}
	t.Logf("semver.json compare: %d, sort: %d", len(all.Compare), len(all.Sort))
}

func TestConstraint_Matches_Tables(t *testing.T) {
	rows := readTables(t).Satisfies
	for _, row := range rows {
		want := map[any]string{true: "1", false: "0", "error": "E"}[row.Result]
		if got := satisfies(row.Version, row.Constraint); got != want {
			t.Errorf("%q with %q: got %s, want %s", row.Version, row.Constraint, got, want)
		}
	}
	t.Logf("semver.json satisfies: %d", len(rows))
}

func TestNormalize_LongTextRefused(t *testing.T) {
	long := strings.Repeat("1", 1<<20)
	if _, err := version.Normalize(long); err == nil {
		t.Error("a version of a megabyte was accepted")
	}
	if _, err := version.ParseConstraint(long); err == nil {
		t.Error("a constraint of a megabyte was accepted")
	}
	if _, err := version.ParseConstraint(strings.Repeat("1 ", 2000)); err == nil {
		t.Error("a constraint of 2000 versions was accepted")
	}
}

func TestConstraint_Matches_ZeroValueNothing(t *testing.T) {
	if (version.Constraint{}).Matches(mustParse(t, "1.0")) {
		t.Error("no constraint matches something")
	}
	c, err := version.ParseConstraint("*")
	if err != nil || c.Matches(version.Version{}) {
		t.Errorf("no version is matched: %v", err)
	}
}

func FuzzNormalize(f *testing.F) {
	for _, text := range []string{"1.0", "v1.2-rc.3+b", "dev-main", "2.x-dev", "8.x-1.0", "20240102", "1.0 as 2.0", "1.0@dev", "-", "1.0.0-p1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		version.StabilityOf(text)
		v, err := version.Parse(text)
		if err != nil {
			return
		}
		if len(v.Normalized) > len(text)+64 {
			t.Errorf("%q grew to %q", text, v.Normalized)
		}
		if same := v; v.Compare(same) != 0 {
			t.Errorf("%q is not equal to itself", text)
		}
	})
}

func FuzzParseConstraint(f *testing.F) {
	for _, text := range []string{"^1.2", "~1.2.3.4", ">=1.0 <2.0", "1.0 - 2.0", "1.*", "dev-main#abc", "^8@beta || !=2", "<> 1", "1.0 as 2.0", "1.0  - 2"} {
		f.Add(text, "1.2.3")
	}
	f.Fuzz(func(_ *testing.T, text, against string) {
		c, err := version.ParseConstraint(text)
		if err != nil {
			return
		}
		if v, err := version.Parse(against); err == nil {
			c.Matches(v)
		}
	})
}
