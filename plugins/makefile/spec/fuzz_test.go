package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// seeds are texts of makefiles to begin with.
func seeds(f *testing.F) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("..", "build", "testdata", "oracle-make", "*", "*.make*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{
		"", "a", "=", "[=", "p[x[y]] = 1\n", "a = \"\\\"\n", "a = 'x\ny'\n;[", "\ufeffcore = 7.x\r\napi = 2\r\n", "p[][a] = 1\np[][a] = 2\n",
		"core: 7.x\nprojects:\n  - a\n  - b\n", "core: 7.x\na: &a {b: *a}\n", "core: 7.x\n<<: {api: 2}\n", "core: 7.x\nx: |\n  a\n", "? a\n: b\ncore: 8.x\n",
		"core: 7.x\nprojects: {a: {version: !!str 1.0}}\n", "--- \ncore: 7.x\n...\n", "core: 7.x\nx: [\n", "core: 7.x\n\tx: y\n",
	} {
		f.Add(text)
	}
}

const patience = 30 * time.Second

// FuzzParseINI parses any text in bounded time; what it reads, written out, is
// read back as the same.
func FuzzParseINI(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		start := time.Now()
		tree, _, err := parseINI(text)
		if took := time.Since(start); took > patience {
			t.Fatalf("took %s", took)
		}
		if err != nil || tree == nil {
			return
		}
		written := printINI(tree, "")
		again, _, err := parseINI(written)
		if err != nil {
			t.Fatalf("%q: %v", written, err)
		}
		if again == nil {
			again = newMap(0)
		}
		if got, want := printINI(again, ""), written; got != want {
			t.Fatalf("%q was written as\n%s\nand read as\n%s", text, want, got)
		}
	})
}

// printINI writes the values of a tree whose keys can be written; what a list has
// at its positions keeps them.
func printINI(n *node, key string) string {
	var b strings.Builder
	for _, k := range n.keys {
		child, own := n.values[k], k
		if key != "" {
			own = key + "[" + k + "]"
		}
		if k == "" || strings.Trim(k, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" {
			continue
		}
		switch child.kind {
		case kindMap:
			b.WriteString(printINI(child, own))
		case kindText:
			if strings.IndexByte(child.text, 0) < 0 && !strings.EqualFold(child.text, "true") {
				b.WriteString(own + " = " + quoteINI(child.text) + "\n")
			}
		case kindTrue:
			b.WriteString(own + " = TRUE\n")
		case kindFalse:
			b.WriteString(own + " = FALSE\n")
		case kindNull:
			b.WriteString(own + " = NULL\n")
		}
	}
	return b.String()
}

// FuzzParseYAML parses any text in bounded time.
func FuzzParseYAML(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > MaxText {
			return
		}
		start := time.Now()
		_, _ = parseYAML(text)
		if took := time.Since(start); took > patience {
			t.Fatalf("took %s", took)
		}
	})
}

// FuzzParse reads any text as a whole makefile: what is accepted stays inside of
// the build, and has names and numbers that are what they should be.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse([]byte(text), "folder/site.make")
		if err != nil {
			return
		}
		contrib := m.ContribDestination("")
		for _, p := range m.Projects {
			stays(t, p.Path(contrib))
			if p.Download != nil && (p.Download.Filename != "" && strings.ContainsAny(p.Download.Filename, "/\\")) {
				t.Errorf("file name %q", p.Download.Filename)
			}
			if p.Name == "" || strings.ContainsAny(p.Name, "/\\\n ") {
				t.Errorf("name %q", p.Name)
			}
		}
		for _, l := range m.Libraries {
			if l.Download == nil {
				t.Error("a library without download")
			}
			stays(t, l.Path(contrib))
		}
	})
}

func stays(t *testing.T, path string) {
	t.Helper()
	if path == "" || strings.HasPrefix(path, "/") || path == ".." || strings.HasPrefix(path, "../") || strings.Contains(path, "/../") || strings.ContainsAny(path, "\x00\n\\") {
		t.Errorf("path %q", path)
	}
}
