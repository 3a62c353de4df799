package drupal

import (
	"strings"
	"testing"

	"hefring/internal/run"
	"hefring/models"
)

func TestFindJSON(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":          {" \n\t\n", ""},
		"alone":            {`{"a": 1}`, `{"a": 1}`},
		"warnings around":  {"\nDeprecated: x in [y] on line {3}\n[warning] {no}\n{\n  \"a\": [\n{}\n]\n}\nPHP Notice: y\n", "{\n  \"a\": [\n{}\n]\n}"},
		"footnote":         {"[1] http://example.org\n{\"a\":1}\n", `{"a":1}`},
		"list":             {"[{\"a\":1}]\r\n", `[{"a":1}]`},
		"none":             {"Fatal error", "error"},
		"cut off":          {`{"a": 1`, "error"},
		"two":              {"{}\n{}", "error"},
		"text on its line": {`{"a":1} and more`, "error"},
		"deep":             {strings.Repeat("[\n", 5000), "error"},
	} {
		got, err := findJSON([]byte(c.text))
		if err != nil {
			got = []byte("error")
		}
		if string(got) != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// Pitfall 12: nothing pending is empty output; else an object, or the list of
// Drush 8 with names in capitals.
func TestParsePending_Pitfall12_Forms(t *testing.T) {
	object := `{
 "system_update_10201": {"module": "system", "update_id": 10201, "description": "10201 - Clear\n  it.", "type": "hook_update_n"},
 "a-post-b_c": {"module": "a", "update_id": "b_c", "description": "Do.", "type": "post-update"},
 "a_update_9": {"module": "a", "update_id": "9", "description": "", "type": "hook_update_n"}}`
	want := []models.PendingUpdate{
		{Name: "system_update_10201", Module: "system", Kind: "hook_update_n", Description: "Clear it."},
		{Name: "a_post_update_b_c", Module: "a", Kind: "post-update", Description: "Do."},
		{Name: "a_update_9", Module: "a", Kind: "hook_update_n"},
	}
	for name, c := range map[string]struct {
		out, err string
		want     []models.PendingUpdate
		fails    bool
	}{
		"none":            {"", " [success] No database updates required.", nil, false},
		"none with noise": {"PHP Deprecated: x\n", " [success] No database updates required.", nil, false},
		"object":          {object, "", want, false},
		"noise":           {"PHP Deprecated: x\n" + object + "\nPHP Notice: y", "", want, false},
		"list": {
			`[{"module": "System", "update_id": 7086, "description": "Repair."}]`, "",
			[]models.PendingUpdate{{Name: "system_update_7086", Module: "system", Kind: "hook_update_n", Description: "Repair."}},
			false,
		},
		"empty object":    {"{}", "", []models.PendingUpdate{}, false},
		"only noise":      {"PHP Fatal error: x", "", nil, true},
		"no id":           {`{"x": {"module": "system"}}`, "", nil, true},
		"hostile module":  {`{"x": {"module": "sys<b>", "update_id": 1}}`, "", nil, true},
		"hostile id":      {`{"x": {"module": "system", "update_id": "1; x"}}`, "", nil, true},
		"other structure": {`{"x": 3}`, "", nil, true},
		"list of lists":   {`[[1]]`, "", nil, true},
	} {
		got, err := parsePending(run.Result{Stdout: []byte(c.out), Stderr: []byte(c.err)})
		if (err != nil) != c.fails || len(got) != len(c.want) {
			t.Errorf("%s: got %v, %v", name, got, err)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: got %+v, want %+v", name, got[i], c.want[i])
			}
		}
	}
}

func TestComplaint(t *testing.T) {
	for name, c := range map[string]struct{ out, err, want string }{
		"marked":    {"", ">  [error]  no such tide \n>  [error]  Update failed: bad_update_10001 \n [notice] x\n [error]  Finished performing updates. \n", "no such tide; Update failed: bad_update_10001"},
		"trace":     {"", " [error]  ParseError: Unclosed '(' #0 /a/b.php(128)\n#1 /c.php\n", "ParseError: Unclosed '('"},
		"block":     {"", "\nIn ExtensionList.php line 267:\n                \n  The module bad does not exist.  \n\n", "The module bad does not exist."},
		"nothing":   {"", "", "it said nothing. The task's log may have more."},
		"password":  {"User password: hunter2", "", "User password: [hidden]"},
		"on stdout": {"Fatal error: x\n", "", "Fatal error: x"},
	} {
		if got := complaint(run.Result{Stdout: []byte(c.out), Stderr: []byte(c.err)}); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	long := complaint(run.Result{Stderr: []byte(strings.Repeat("[error] é\n", 5000))})
	if len(long) > maxComplaint+10 {
		t.Errorf("a complaint of %d bytes", len(long))
	}
}

func TestRedacted(t *testing.T) {
	for name, chunks := range map[string][]string{
		"one line":  {" [success] Installation complete.  User name: admin  User password: hunter2\nnext line\n"},
		"in pieces": {"User pass", "word: hun", "ter2\nnext ", "line"},
		"wrapped":   {"User name: administrator  User password: \nhunter2\nnext line"},
		"capitals":  {"USER PASSWORD:hunter2\nnext line"},
		"words":     {"Your password is hunter2\nnext line\n"},
	} {
		var log record
		w := redacted(&log)
		for _, chunk := range chunks {
			if _, err := w.Write([]byte(chunk)); err != nil {
				t.Fatal(err)
			}
		}
		_ = w.Close()
		if strings.Contains(log.String(), "hunter") || !strings.Contains(log.String(), "next line") {
			t.Errorf("%s: %q", name, log.String())
		}
	}
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{
		"7.103", "9.5.11", "10.2.12", "10.5.8", "10.6.2-dev", "10.6.2-alpha1", "10.6.2-beta2", "10.6.2-rc1", "10.6.2-rc2", "10.6.2",
		"10.6.10", "10.6.x-dev", "11.0.0-throws", "11.3.0-rc1", "11.3.0", "11.x-dev",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			got, err := compareVersions(a, b)
			if err != nil || got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s to %s: %d, %v", a, b, got, err)
			}
		}
	}
	for _, bad := range []string{"", "x", "dev-main", "v10", "99999999999999999999.1"} {
		if _, err := compareVersions(bad, "10.6.2"); err == nil {
			t.Errorf("%q is no version", bad)
		}
	}
	if got, _ := compareVersions("10.6", "10.6.0"); got != 0 {
		t.Errorf("10.6 and 10.6.0 differ: %d", got)
	}
}
