package models_test

import (
	"testing"

	"hefring/models"
)

// The first rows are what Aegir and other comparisons of text or of PHP get wrong.
func TestCompareVersions_Order(t *testing.T) {
	for _, row := range []struct {
		older, newer string
	}{
		{"8.9.1", "8.9.20"},
		{"9.5.11", "10.3.1"},
		{"8.x-1.9", "8.x-1.10"},
		{"1.9.0", "8.x-1.10"},
		{"8.x-1.10", "2.0.0"},
		{"7.54", "7.103"},
		{"7.x-2.10", "7.x-3.0"},
		{"8.x-3.1", "4.0.0-alpha1"},
		{"5.x-1.0", "1.1.0"},
		{"75.4", "754.0"},
		{"10.4.0-dev", "10.4.0-alpha1"},
		{"10.4.0-alpha1", "10.4.0-beta1"},
		{"10.4.0-beta9", "10.4.0-beta10"},
		{"10.4.0-beta10", "10.4.0-rc1"},
		{"10.4.0-RC1", "10.4.0"},
		{"10.4.0", "10.4.1-dev"},
		{"1.0-unstable3", "1.0-alpha1"},
		{"1.0-rc.2", "1.0"},
		{"1.0.0-alpha.9", "1.0.0-alpha.10"},
		{"8.x-1.3", "8.x-1.3+4-dev"},
		{"8.x-1.3+4-dev", "8.x-1.3+12-dev"},
		{"8.x-1.3+12-dev", "8.x-1.4"},
		{"10.3.99", "10.3.x-dev"},
		{"10.3.x-dev", "10.4.0"},
		{"8.x-1.99", "8.x-1.x-dev"},
		{"v6.4.0", "v6.4.10"},
		{"1.2.3", "1.2.3.1"},
		{"1.2.3", "1.2.3-p1"},
		{"1.2", "1.2.1"},
		{"99999999999999999998", "x"},
		{"1", "99999999999999999999"},
	} {
		if row.newer == "x" { // no version
			continue
		}
		for _, try := range []struct {
			a, b string
			want int
		}{{row.older, row.newer, -1}, {row.newer, row.older, 1}, {row.older, row.older, 0}, {row.newer, row.newer, 0}} {
			if got, known := models.CompareVersions(try.a, try.b); got != try.want || !known {
				t.Errorf("%s and %s: %d %v, want %d", try.a, try.b, got, known, try.want)
			}
		}
	}
}

func TestCompareVersions_Same(t *testing.T) {
	for _, row := range [][2]string{
		{"8.x-1.10", "1.10.0"}, {"v1.2", "1.2.0"}, {"1.0-RC1", "1.0.0-rc1"}, {"1.6-mine", "1.6"}, {"10.6.2+sha.1", "10.6.2"}, {" 1.0 ", "1.0"},
	} {
		if got, known := models.CompareVersions(row[0], row[1]); got != 0 || !known {
			t.Errorf("%s and %s: %d %v", row[0], row[1], got, known)
		}
	}
}

func TestCompareVersions_Unknown(t *testing.T) {
	for _, text := range []string{"", "dev-main", "main", "x", "..", "1..2", "1.2.3.4.5", "VERSION", "1.x.2", "\xff", string(make([]byte, 500))} {
		if order, known := models.CompareVersions(text, "1.0"); known || order != 0 {
			t.Errorf("%q: %d %v", text, order, known)
		}
	}
}

func FuzzCompareVersions(f *testing.F) {
	f.Add("8.x-1.3+4-dev", "10.3.x-dev", "1.0-rc1")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		ab, known := models.CompareVersions(a, b)
		ba, _ := models.CompareVersions(b, a)
		if ab != -ba {
			t.Errorf("%q %q: %d and %d", a, b, ab, ba)
		}
		bc, knownC := models.CompareVersions(b, c)
		if ac, _ := models.CompareVersions(a, c); known && knownC && ab <= 0 && bc <= 0 && ac > 0 {
			t.Errorf("%q <= %q <= %q, but the first is newer than the last", a, b, c)
		}
	})
}

func TestDiffPackages_Verdicts(t *testing.T) {
	p := func(name, version string, schema int) models.Package {
		return models.Package{Name: name, Type: "module", Version: version, Schema: schema}
	}
	from := []models.Package{
		{Name: "drupal", Type: "core", Version: "9.5.11", Schema: 8901},
		p("same", "8.x-1.10", 8001), p("same_text", "dev-main", 0), p("older", "8.x-1.10", 0), p("gone", "1.0", 0),
		p("schema", "1.0", 8005), p("schema_gone", "2.0", 8005), p("cleaned", "1.0", 8005), p("unclear", "dev-main", 1), p("newer", "8.x-1.9", 0),
		p("written", "8.x-1.1", 0), p("only_schema", "", 8001),
		{Name: "twin", Type: "theme", Version: "1.0"},
	}
	to := []models.Package{
		{Name: "drupal", Type: "core", Version: "10.3.1", Schema: 10201},
		p("same", "8.x-1.10", 8001), p("same_text", "dev-main", 0), p("older", "1.9.0", 0),
		p("schema", "1.1", 8003), p("schema_gone", "1.0", 0), p("cleaned", "2.0", 0), p("unclear", "2.0", 1), p("newer", "1.10.0", 0),
		p("written", "1.1.0", 0), p("only_schema", "", 8002), p("new", "1.0", 0),
		{Name: "twin", Type: "module", Version: "1.0"},
	}
	want := []struct {
		name string
		diff models.Difference
	}{
		{"schema", models.DiffError},
		{"schema_gone", models.DiffError},
		{"gone", models.DiffMissing},
		{"twin", models.DiffMissing},
		{"older", models.DiffDowngrade},
		{"cleaned", models.DiffUpgrade},
		{"drupal", models.DiffUpgrade},
		{"newer", models.DiffUpgrade},
		{"only_schema", models.DiffUpgrade},
		{"unclear", models.DiffUpgrade},
		{"new", models.DiffAdded},
		{"twin", models.DiffAdded},
		{"same", models.DiffSame},
		{"same_text", models.DiffSame},
		{"written", models.DiffSame},
	}
	got := models.DiffPackages(from, to)
	if len(got) != len(want) {
		t.Fatalf("%d differences instead of %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		if got[i].Name != w.name || got[i].Difference != w.diff {
			t.Errorf("%d: %s %s, want %s %s", i, got[i].Name, got[i].Difference, w.name, w.diff)
		}
	}
	if gone := got[2]; gone.To != (models.Package{}) || gone.From.Version != "1.0" || gone.Type != "module" {
		t.Errorf("%+v", gone)
	}
}
