package repository_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/models"
	"hefring/plugins/composer/repository"
	"hefring/plugins/composer/version"
)

const address = "http://127.0.0.1:8099/composer/packages.json"

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// load gives the versions of a package that the recorded repository has.
func load(t *testing.T, name string, branches bool) []repository.Package {
	t.Helper()
	r, err := repository.Parse(address, read(t, "repo/packages.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []repository.Package
	for _, at := range []string{r.Metadata(name, false), r.Metadata(name, true)} {
		body, err := os.ReadFile(filepath.Join("testdata/repo", strings.TrimPrefix(at, "http://127.0.0.1:8099/composer")))
		if os.IsNotExist(err) || strings.Contains(at, "~dev") && !branches {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		some, err := repository.ParseMetadata(name, body)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, some...)
	}
	return list
}

func parse(t *testing.T, text string) version.Version {
	t.Helper()
	v, err := version.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Composer 2.5.5's own choices.
func TestSelect_AsCreateProject(t *testing.T) {
	var cases []struct {
		Package    string
		Constraint *string
		Options    []string
		Selected   *string
		Error      *string
	}
	if err := json.Unmarshal(read(t, "cases.json"), &cases); err != nil {
		t.Fatal(err)
	}
	good := 0
	for _, c := range cases {
		q := repository.Query{Package: c.Package, Platform: repository.Platform{"php": parse(t, "8.2.36")}}
		if c.Constraint != nil {
			q.Constraint = *c.Constraint
		}
		name := strings.Join(append([]string{c.Package, q.Constraint}, c.Options...), " ")
		for _, option := range c.Options {
			if stability, ok := strings.CutPrefix(option, "--stability="); ok {
				q.Stability = stability
			}
			if option == "--ignore-platform-reqs" {
				q.Platform = nil
			}
		}
		wanted, err := q.Wanted()
		if err != nil {
			t.Fatal(err)
		}
		chosen, err := repository.Select(load(t, c.Package, wanted == version.Dev), q)
		switch {
		case c.Selected == nil && models.ReasonOf(err) == models.ReasonNotFound, c.Selected != nil && err == nil && chosen.Shown.Text == *c.Selected:
			good++
		default:
			t.Errorf("%s: got %q, %v", name, chosen.Shown, err)
		}
	}
	t.Logf("cases.json: %d of %d", good, len(cases))
}

func TestSelect_PlatformNamed(t *testing.T) {
	packages := load(t, "acme/phpreq", false)[:1]
	for have, want := range map[string]string{"php": "wants php >=99", "ext-none": "wants php >=99"} {
		_, err := repository.Select(packages, repository.Query{Package: "acme/phpreq", Platform: repository.Platform{have: parse(t, "8.2.0")}})
		if models.ReasonOf(err) != models.ReasonNotFound || !strings.Contains(models.Explain(err), want) {
			t.Errorf("%v", err)
		}
	}
}

func TestParseMetadata_Expands(t *testing.T) {
	list := load(t, "acme/unset", true)
	byVersion := map[string]repository.Package{}
	for _, p := range list {
		byVersion[p.Version.Text] = p
	}
	if len(list) != 3 || byVersion["3.0.0"].Dist.Reference != "ref-3.0.0" || byVersion["1.0.0"].Type != "project" {
		t.Errorf("%+v", list)
	}
	phpreq := load(t, "acme/phpreq", false)
	if len(phpreq) != 3 || phpreq[1].Require["php"] != ">=8.1" || phpreq[2].Require != nil {
		t.Errorf("inherited or unset requirements: %+v", phpreq)
	}
	if p := load(t, "acme/abandoned", false)[0]; !p.Abandoned || p.Replacement != "acme/stable" {
		t.Errorf("abandoned: %+v", p)
	}
}

func TestParseMetadata_Hostile(t *testing.T) {
	entry := `{"version":"1.0","dist":{"type":"zip","url":"https://example.org/a.zip"}}`
	for name, c := range map[string]struct {
		body  string
		wrong bool
		count int
	}{
		"nothing":                 {"", true, 0},
		"half":                    {`{"packages":{"a/b":[` + entry, true, 0},
		"no packages":             {`{}`, false, 0},
		"empty list of PHP":       {`{"packages":[]}`, false, 0},
		"full list":               {`{"packages":[1]}`, true, 0},
		"other package":           {`{"packages":{"c/d":[` + entry + `]}}`, false, 0},
		"one":                     {`{"packages":{"a/b":[` + entry + `]}}`, false, 1},
		"numbered":                {`{"packages":{"a/b":{"1.0":` + entry + `}}}`, false, 1},
		"versions are numbers":    {`{"packages":{"a/b":[{"version":1.0},` + entry + `]}}`, false, 1},
		"entry is text":           {`{"packages":{"a/b":["x"]}}`, true, 0},
		"unset version":           {`{"minified":"composer/2.0","packages":{"a/b":[` + entry + `,{"version":"__unset"}]}}`, false, 1},
		"requirements are a list": {`{"packages":{"a/b":[{"version":"1.0","require":["x"]},{"version":"1.1","require":[]}]}}`, false, 1},
		"dist is text":            {`{"packages":{"a/b":[{"version":"1.0","dist":"x"}]}}`, false, 0},
		"no dist":                 {`{"packages":{"a/b":[{"version":"1.0","dist":null}]}}`, false, 1},
		"wild extra":              {`{"packages":{"a/b":[{"version":"dev-x","extra":{"branch-alias":{"dev-x":5,"dev-y":"2.x-dev"}}}]}}`, false, 1},
		"too many":                {`{"packages":{"a/b":[{}` + strings.Repeat(",{}", 20_000) + `]}}`, true, 0},
		"deep":                    {strings.Repeat("[", 100_000), true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := repository.ParseMetadata("a/b", []byte(c.body))
			if (err != nil) != c.wrong || len(list) != c.count {
				t.Errorf("%d versions, %v", len(list), err)
			}
		})
	}
}

// A large value that many versions inherit is read once.
func TestParseMetadata_MinifiedBomb(t *testing.T) {
	require := `"require":{"x/y":"` + strings.Repeat("1", 1<<20) + `"}`
	var body strings.Builder
	body.WriteString(`{"minified":"composer/2.0","packages":{"a/b":[{"version":"1.0",` + require + `}`)
	for i := range 15_000 {
		fmt.Fprintf(&body, `,{"version":"1.%d"}`, i)
	}
	body.WriteString(`]}}`)
	list, err := repository.ParseMetadata("a/b", []byte(body.String()))
	if err != nil || len(list) != 15_001 {
		t.Fatalf("%d %v", len(list), err)
	}
}

func TestParse_MetadataAddress(t *testing.T) {
	for template, want := range map[string]string{
		"/p2/%package%.json":                        "https://repo.example.org/p2/a/b.json",
		"https://repo.example.org/x/%package%.json": "https://repo.example.org/x/a/b.json",
		"https://cdn.example.org/%package%.json":    "https://cdn.example.org/a/b.json",
		"p2/%package%.json?x=1":                     "https://repo.example.org/sub/p2/a/b.json?x=1",
		"http://repo.example.org/%package%.json":    "",
		"file:///etc/%package%":                     "",
		"/p2/all.json":                              "",
		"https://user:pw@example.org/%package%":     "",
		"":                                          "",
	} {
		r, err := repository.Parse("https://repo.example.org/sub/packages.json", []byte(`{"metadata-url":`+fmt.Sprintf("%q", template)+`}`))
		if want == "" {
			if models.ReasonOf(err) != models.ReasonMalformed {
				t.Errorf("%s: %v", template, err)
			}
			continue
		}
		if err != nil || r.Metadata("a/b", false) != want {
			t.Errorf("%s: %v %v", template, r, err)
			continue
		}
		if got := r.Metadata("a/b", true); !strings.Contains(got, "a/b~dev") {
			t.Errorf("branches: %s", got)
		}
	}
}

func TestRepository_Offers(t *testing.T) {
	for text, want := range map[string]string{
		`{"metadata-url":"/%package%"}`:                                                "drupal/core acme/x",
		`{"metadata-url":"/%package%","available-packages":["Drupal/Core"]}`:           "drupal/core",
		`{"metadata-url":"/%package%","available-package-patterns":["drupal/*"]}`:      "drupal/core",
		`{"metadata-url":"/%package%","available-package-patterns":["*/x","*e*/*r*"]}`: "acme/x",
		`{"metadata-url":"/%package%","available-package-patterns":["drupal/core"]}`:   "drupal/core",
		`{"metadata-url":"/%package%","available-packages":[],"packages":[]}`:          "drupal/core acme/x",
		`{"packages":{"acme/x":{"1.0":{"version":"1.0"}}}}`:                            "acme/x",
		`{"packages":{"acme/x":[{"version":"1.0"}]},"security-advisories":"nonsense"}`: "acme/x",
	} {
		r, err := repository.Parse(address, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []string
		for _, name := range []string{"drupal/core", "acme/x"} {
			if r.Offers(name) {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}

func TestRepository_Inline(t *testing.T) {
	for _, text := range []string{
		`{"packages":{"acme/x":{"1.0":{"version":"1.0"},"1.1":{"version":"1.1"}}}}`,
		`{"packages":{"acme/x":[{"version":"1.0"},{"version":"1.1"}]}}`,
	} {
		r, err := repository.Parse(address, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if list, err := r.Inline("acme/x"); err != nil || len(list) != 2 {
			t.Errorf("%v %v", list, err)
		}
		if list, err := r.Inline("acme/y"); err != nil || len(list) != 0 {
			t.Errorf("%v %v", list, err)
		}
	}
}

func TestParse_Refused(t *testing.T) {
	patterns := `"x/*"` + strings.Repeat(`,"x/*"`, 10_000)
	for _, text := range []string{``, `[]`, `{}`, `<html>`, `{"packages":[]}`, `{"metadata-url":5}`, `{"packages":[5]}`, `{"metadata-url":"/%package%","available-package-patterns":[` + patterns + `]}`} {
		if _, err := repository.Parse(address, []byte(text)); models.ReasonOf(err) != models.ReasonMalformed {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func TestFileURL(t *testing.T) {
	for address, want := range map[string]string{
		"https://repo.packagist.org":             "https://repo.packagist.org/packages.json",
		"https://packages.drupal.org/8/":         "https://packages.drupal.org/8/packages.json",
		"https://example.org/satis/private.json": "https://example.org/satis/private.json",
	} {
		if got := repository.FileURL(address); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"drupal/recommended-project": true, "a/b": true, "a_b/c--d": true, "drupal": false, "A/b": false, "a/b/c": false,
		"../etc": false, "a/..": false, "a/b c": false, "": false, "-a/b": false, "a/b%": false, strings.Repeat("a", 200) + "/b": false,
	} {
		if repository.ValidName(name) != want {
			t.Errorf("%q", name)
		}
	}
}

func FuzzParseMetadata(f *testing.F) {
	for _, name := range []string{"unset", "phpreq", "devonly~dev", "abandoned"} {
		f.Add(read(f, "repo/p2/acme/"+name+".json"), "acme/"+strings.TrimSuffix(name, "~dev"))
	}
	f.Fuzz(func(_ *testing.T, body []byte, name string) {
		list, err := repository.ParseMetadata(name, body)
		if err != nil {
			return
		}
		_, _ = repository.Select(list, repository.Query{Package: name, Stability: "dev", Platform: repository.Platform{}})
	})
}

func FuzzParse(f *testing.F) {
	f.Add(read(f, "repo/packages.json"))
	f.Add([]byte(`{"metadata-url":"/%package%","available-package-patterns":["*a*b*"],"packages":{"a/b":{"1.0":{}}}}`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		r, err := repository.Parse(address, body)
		if err != nil {
			return
		}
		r.Offers("a/b")
		_, _ = r.Inline("a/b")
	})
}
