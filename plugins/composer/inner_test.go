package composer

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"hefring/internal/egress"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composer/repository"
)

func TestReadLock_Refuses(t *testing.T) {
	one := func(entry string) string { return `{"packages":[{"name":"a/b","version":"1.0",` + entry + `}]}` }
	const zip = `"dist":{"type":"zip","url":"https://example.org/x.zip"}`
	for name, c := range map[string]struct {
		text string
		good bool
	}{
		"ordinary":            {one(zip), true},
		"empty":               {`{"packages":[]}`, true},
		"nothing":             {``, false},
		"other JSON":          {`[]`, false},
		"metapackage":         {one(`"type":"metapackage"`), true},
		"no code":             {one(`"type":"library"`), false},
		"git":                 {one(`"source":{"type":"git","url":"https://example.org/x.git","reference":"1"}`), true},
		"git over ssh":        {one(`"source":{"type":"git","url":"git@example.org:x.git"}`), false},
		"subversion":          {one(`"source":{"type":"svn","url":"https://example.org"}`), false},
		"folder inside":       {one(`"dist":{"type":"path","url":"packages/b"}`), true},
		"folder above":        {one(`"dist":{"type":"path","url":"packages/../../b"}`), false},
		"allowed http":        {one(`"dist":{"type":"zip","url":"http://plain.example.org:81/x"}`), true},
		"http":                {one(`"dist":{"type":"zip","url":"http://example.org/x"}`), false},
		"user":                {one(`"dist":{"type":"zip","url":"https://me@example.org/x"}`), false},
		"program":             {one(zip + `,"bin":["bin/x"]`), true},
		"program as text":     {one(zip + `,"bin":"bin/x"`), true},
		"program above":       {one(zip + `,"bin":["../../x"]`), false},
		"program in the root": {one(zip + `,"bin":"/bin/x"`), false},
		"programs malformed":  {one(zip + `,"bin":{"a":1}`), false},
		"name leads out":      {`{"packages":[{"name":"../x","version":"1.0",` + zip + `}]}`, false},
		"for development too": {`{"packages":[],"packages-dev":[{"name":"../x","version":"1.0",` + zip + `}]}`, false},
		"too many":            {`{"packages":[{}` + strings.Repeat(",{}", maxLocked) + `]}`, false},
		"flags as PHP writes": {`{"packages":[],"stability-flags":[]}`, true},
		"flags":               {`{"packages":[],"stability-flags":{"a/b":20}}`, true},
		"flags malformed":     {`{"packages":[],"stability-flags":{"a/b":"x"}}`, false},
	} {
		_, err := readLock([]byte(c.text), map[string]bool{"plain.example.org": true})
		if (err == nil) != c.good || err != nil && (models.CodeOf(err) == "" || models.ReasonOf(err) == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadManifest_Repositories(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                  "packagist",
		`{"repositories":[]}`: "packagist",
		`{"repositories":{}}`: "packagist",
		`{"repositories":[{"packagist.org":false}]}`:                                                             "",
		`{"repositories":{"packagist.org":false}}`:                                                               "",
		`{"repositories":[{"type":"composer","url":"https://Example.org/8/"}]}`:                                  "https://example.org/8 packagist",
		`{"repositories":{"b":{"type":"composer","url":"https://b"},"a":{"type":"composer","url":"https://a"}}}`: "https://b https://a packagist",
		`{"repositories":[{"type":"package","package":{}},{"type":"path","url":"packages/*"}]}`:                  "packagist",
		`{"repositories":[{"type":"vcs","url":"https://example.org/x.git"}]}`:                                    "packagist",
		`{"repositories":"x"}`: "refused",
		`{"repositories":[5]}`: "refused",
		`{"repositories":[{"type":"composer","url":"https://a\u0000b"}]}`: "refused",
		`{"repositories":[{"type":"composer","url":["https://a"]}]}`:      "refused",
		`{"repositories":[{"url":"https://a"}]}`:                          "refused",
		`{"config":[]}`:                                                   "packagist",
		`{"config":{"vendor-dir":5}}`:                                     "refused",
		`{"config":{"vendor-dir":""}}`:                                    "refused",
		`{"config":{"vendor-dir":"/etc"}}`:                                "refused",
	} {
		m, err := readManifest([]byte(text))
		if err != nil {
			if want != "refused" || models.ReasonOf(err) != models.ReasonVerification {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		got := m.composers
		if m.packagist {
			got = append(got, "packagist")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}

func TestMemo_Encode_DropsWhatIsTooLarge(t *testing.T) {
	m := memo{Source: "x", Solved: time.Now().Unix(), Pages: pages{"https://example.org/%package%": {}}}
	for i := range 2000 {
		m.Pages["https://example.org/%package%"][strings.Repeat("a", i)] = seen{"e:x", "digest"}
	}
	if text := m.encode(); text != "" {
		t.Errorf("%d bytes", len(text))
	}
	if (memo{}).fresh(time.Hour) || (memo{Solved: time.Now().Add(time.Hour).Unix(), Pages: pages{"a": {"b": {}}}}).fresh(time.Hour) {
		t.Error("an empty memo, or one from the future, is fresh")
	}
}

// The memo of a project as large as Drupal's fits easily.
func TestMemo_Encode_Size(t *testing.T) {
	m := memo{Source: strings.Repeat("0", 32), Solved: time.Now().Unix(), Pages: pages{"https://repo.packagist.org/p2/%package%.json": {}}}
	for i := range 300 {
		name := "some-vendor/some-package-" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		m.Pages["https://repo.packagist.org/p2/%package%.json"][name] = seen{"m:Sat, 21 Nov 2026 10:00:00 GMT", "0123456789abcdef"}
	}
	text := m.encode()
	t.Logf("300 packages: %d bytes", len(text))
	if text == "" || len(text) > maxMemo/2 {
		t.Errorf("%d bytes", len(text))
	}
}

func TestEntry_Label_Short(t *testing.T) {
	e := entry{Name: "a/b", Version: "dev-" + strings.Repeat("é", 100), Dist: &repository.Dist{Reference: "0123456789abcdef"}}
	if label := e.label(); len([]rune(label)) > maxLabel {
		t.Errorf("%q", label)
	}
	name, v, ok := parseRevision(e.revision())
	if !ok || name != "a/b" || v.Text != e.Version {
		t.Errorf("%q %q %v", name, v, ok)
	}
}

func TestSeen_Validators(t *testing.T) {
	for name, c := range map[string]struct{ tag, date, asks, with string }{
		"tag":      {`"a"`, "", "If-None-Match", `"a"`},
		"time":     {"", "Sat, 21 Nov 2026 10:00:00 GMT", "If-Modified-Since", "Sat, 21 Nov 2026 10:00:00 GMT"},
		"both":     {`W/"a"`, "Sat, 21 Nov 2026 10:00:00 GMT", "If-None-Match", `W/"a"`},
		"too long": {strings.Repeat("a", 1000), "", "If-None-Match", ""},
		"none":     {"", "", "If-Modified-Since", ""},
	} {
		s := look(&egress.Page{Header: http.Header{"Etag": {c.tag}, "Last-Modified": {c.date}}, Body: []byte("x")})
		header := http.Header{}
		s.ask(header)
		if got := header.Get(c.asks); got != c.with || len(header) > 1 {
			t.Errorf("%s: %v", name, header)
		}
	}
}

func TestReadChanges(t *testing.T) {
	for text, want := range map[string]string{
		`{"actions":[],"timestamp":20}`: "",
		`{"actions":[{"type":"update","package":"a/b~dev","time":1},{"type":"delete","package":"c/d"}],"timestamp":20}`: "a/b~dev c/d",
		`{"actions":[{"type":"resync","package":"*"}],"timestamp":20}`:                                                  "no",
		`{"actions":[],"timestamp":5}`: "no",
		`{"error":"since"}`:            "no",
		``:                             "no",
	} {
		names, next, ok := readChanges([]byte(text), feed{"https://example.org", 10})
		got := "no"
		if ok {
			got = strings.Join(slices.Sorted(maps.Keys(names)), " ")
		}
		if got != want || ok && next.Since != 20 {
			t.Errorf("%s: %q %v", text, got, next)
		}
	}
}

func TestReadAdvisories_Forms(t *testing.T) {
	for text, want := range map[string]int{
		`{"advisories":[]}`: 0, `{"advisories":{}}`: 0, `{}`: 0,
		`{"advisories":{"A/b":[{"advisoryId":"1","affectedVersions":"<2"}]}}`:               1,
		`{"advisories":{"a/b":{"1":{"advisoryId":"1","affectedVersions":"<2"}}}}`:           1,
		`{"advisories":{"a/b":[{"advisoryId":"1","affectedVersions":"nonsense"}]}}`:         0,
		`{"advisories":{"a/b":[{"advisoryId":"1","affectedVersions":">=1.0,<1.0.5|>=2"}]}}`: 1,
	} {
		all, err := readAdvisories([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if list := all.of(locked{Name: "a/b", Version: "1.0.1"}); len(list) != want {
			t.Errorf("%s: %v", text, list)
		}
	}
	if _, err := readAdvisories([]byte(`{"advisories":{"a/b":"x"}}`)); err == nil {
		t.Error("nonsense was accepted")
	}
}

func TestAdvisory_Finding_ForeignText(t *testing.T) {
	f := advisory{Title: "a\x1b[31m\nb", Link: "javascript:alert(1)", Severity: "<b>"}.finding("a/b", "1.0\n2")
	if f.Title != "a b" || f.Link != "" || f.Severity != "" || strings.Contains(f.Version, "\n") {
		t.Errorf("%+v", f)
	}
}

func FuzzReadLock(f *testing.F) {
	f.Add([]byte(`{"packages":[{"name":"a/b","version":"1.0","dist":{"type":"zip","url":"https://example.org/x.zip"},"bin":["x"],"abandoned":"c/d"}],"stability-flags":{"a/b":20}}`))
	f.Add([]byte(`{"packages":[{"name":"a/b","dist":{"type":"path","url":"x"},"abandoned":true}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := readLock(text, nil)
		if err != nil {
			return
		}
		sources(plan{}, l)
		abandoned(plan{}, l)
		for _, p := range l.Packages {
			if strings.Contains(p.Name, "..") || strings.HasPrefix(p.dist().URL, "/") {
				t.Errorf("accepted: %+v", p)
			}
		}
	})
}

func FuzzReadManifest(f *testing.F) {
	f.Add([]byte(`{"repositories":{"a":{"type":"composer","url":"https://a"},"packagist.org":false},"config":{"vendor-dir":"x"}}`))
	f.Add([]byte(`{"repositories":[{"type":"path","url":"x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := readManifest(text)
		if err == nil && !inside(m.vendor) {
			t.Errorf("accepted %q", m.vendor)
		}
	})
}

func FuzzRecall(f *testing.F) {
	s := source{name: "a/b"}
	good, err := json.Marshal(memo{Source: s.key(), Solved: 1, Pages: pages{"https://example.org/%package%": {"a/b": {"e:x", "y"}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good), `{"package":{"name":"a/b"},"lock":"H4sIAAAAAAAA"}`)
	f.Fuzz(func(_ *testing.T, memo, planned string) {
		v := plugins.Version{Revision: "composer:a/b@1.0", Memo: memo, Plan: planned}
		m := s.recall(v)
		m.fresh(time.Hour)
		s.sound(v)
		s.former(v)
		_ = m.encode()
	})
}
