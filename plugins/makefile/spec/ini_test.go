package spec

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestParseINI_Warnings(t *testing.T) {
	for text, want := range map[string]string{
		"# a comment\nprojects[views][version] = 3\n":      "“# a comment” has no “=”",
		"projects[views][version] =\nprojects[] = token\n": "the next line",
		"core = 7.x ; the core\n":                          "A comment needs a line of its own",
		"core = \"7.x\" ; the core\n":                      "holds a “;”",
		"core = \"7.x\n":                                   "begins with a quote that nothing closes",
		"projects[a][download][url] = http://x/?a=1;b=2\n": "",
		"a = \"\"\nb = 1\n":                                "",
	} {
		_, warnings, err := parseINI(text)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" && len(warnings) > 0 {
			t.Errorf("%q warns: %v", text, warnings)
		}
		if want != "" && (len(warnings) != 1 || !strings.Contains(warnings[0].Message, want) || warnings[0].Line != 1) {
			t.Errorf("%q: %+v", text, warnings)
		}
	}
}

// TestParseINI_AsTheExpression compares the scanner with Drush's regular
// expression, as far as Go's engine has it: without escaped quotes.
func TestParseINI_AsTheExpression(t *testing.T) {
	expression := regexp.MustCompile(`(?m)^\s*((?:[^=;\[\]]|\[[^\[\]]*\])+?)\s*=\s*(?:("[^"]*")|('[^']*')|([^\r\n]*?))\s*$`)
	alphabet := []string{"a", "=", "\n", " ", "[", "]", ";", "\"", "'", "b=1\n", "p[x]", "\r\n", "p[]=c\n", "=\n"}
	state := uint32(1)
	next := func(n int) int {
		state = state*1664525 + 1013904223
		return int(state>>16) % n
	}
	for range 40_000 {
		var b strings.Builder
		for range next(14) {
			b.WriteString(alphabet[next(len(alphabet))])
		}
		text := b.String()
		var want, got strings.Builder
		for _, m := range expression.FindAllStringSubmatch(text, -1) {
			fmt.Fprintf(&want, "%q=%q\n", m[1], strings.Trim(m[2], `"`)+strings.Trim(m[3], `'`)+m[4])
		}
		s := &iniScanner{text: text, line: 1, root: newMap(1)}
		for p := range s.pairs() {
			fmt.Fprintf(&got, "%q=%q\n", p.key, p.value)
		}
		if got.String() != want.String() {
			t.Fatalf("%q: got\n%swant\n%s", text, &got, &want)
		}
	}
}

func TestParseINI_HostileInTime(t *testing.T) {
	for name, text := range map[string]string{
		"lines":      strings.Repeat("\n", MaxText-1) + ";",
		"words":      strings.Repeat("a\n", MaxText/2-1) + ";",
		"brackets":   strings.Repeat("[\n]\n", MaxText/4-1) + ";",
		"open":       strings.Repeat("[\n", MaxText/2),
		"quotes":     strings.Repeat("a=\"\n", MaxText/4),
		"escaped":    "a=\"" + strings.Repeat("\\\"", MaxText/2-2),
		"mixed":      strings.Repeat("a=\"\nb='\n", MaxText/8),
		"returns":    strings.Repeat("a=\r\rb\n", MaxText/7),
		"list":       strings.Repeat("p[]=a\n", MaxText/6),
		"deep":       "p" + strings.Repeat("[a]", 18) + "=1\n",
		"wide lines": strings.Repeat("a=\n\n\n\rb\rc\n", MaxText/11),
	} {
		start := time.Now()
		_, _, err := parseINI(text)
		if took := time.Since(start); err != nil || took > time.Minute {
			t.Errorf("%s: %v, %v", name, took, err)
		}
	}
	if _, _, err := parseINI("p" + strings.Repeat("[a]", 50) + "=1\n"); err == nil {
		t.Error("50 levels of keys were accepted")
	}
}

func TestStripSlashes(t *testing.T) {
	for text, want := range map[string]string{`a\"b`: `a"b`, `a\\b`: `a\b`, `a\`: `a`, `\a`: `a`, `\0`: "\x00"} {
		if got := stripSlashes(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
