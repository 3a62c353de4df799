package backup

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func lay(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := link(text); ok {
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func link(text string) (target string, ok bool) {
	if len(text) > 3 && text[:3] == "-> " {
		return text[3:], true
	}
	return "", false
}

func sourceOf(dir string) Source {
	return Source{Files: filepath.Join(dir, "files"), Private: filepath.Join(dir, "private"), Config: filepath.Join(dir, "config")}
}

func list(t *testing.T, dir string) Listing {
	t.Helper()
	all, err := List(t.Context(), sourceOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestList_Changed_SeesWhatIsOther(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, map[string]string{"files/a": "one", "files/same": "same", "files/sub/gone": "gone", "files/kind": "a file", "private/x": "x", "files/php/compiled": "left out"})
	before := list(t, dir)
	for _, name := range []string{"files/a", "files/sub/gone", "files/kind"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	lay(t, dir, map[string]string{"files/a": "two", "files/new": "new", "files/kind/inside": "a folder by now"})
	after := list(t, dir)
	for path, want := range map[string]bool{"files/a": true, "files/new": true, "files/same": false, "private/x": false, "files/kind": true, "files/sub": false} {
		if got := after.Changed(before, path); got != want {
			t.Errorf("%s changed: %v", path, got)
		}
	}
	gone := after.Gone(before)
	slices.Sort(gone)
	if !slices.Equal(gone, []string{"files/kind", "files/sub/gone"}) {
		t.Errorf("gone: %v", gone)
	}
	if _, there := after["files/php/compiled"]; there {
		t.Error("compiled code is listed")
	}
	if lacks := before.Lacks(after); lacks == "" {
		t.Error("nothing lacks")
	}
	if lacks := after.Lacks(after); lacks != "" {
		t.Errorf("it lacks its own %s", lacks)
	}
}

func TestMerge_BringsChanges(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	lay(t, from, map[string]string{"files/a": "two", "files/deep/er/b": "new", "files/kind": "a file by now", "files/folder/x": "a folder by now", "files/l": "-> a", "private/p": "p", "config/c": "c"})
	lay(t, to, map[string]string{"files/a": "one", "files/stays": "stays", "files/old": "old", "files/kind/inside": "x", "files/folder": "a file", "private/q": "q", "config/c": "b"})
	for range 2 { // a killed attempt is repeated
		if err := Merge(t.Context(), from, to, []string{"files/old", "files/kind", "files/nothing"}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"files/a": "two", "files/deep/er/b": "new", "files/kind": "a file by now", "files/folder/x": "a folder by now", "files/stays": "stays", "private/p": "p", "private/q": "q", "config/c": "c", "files/l": "two",
	} {
		if text, err := os.ReadFile(filepath.Join(to, name)); name != "files/kind" && (err != nil || string(text) != want) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(to, "files/old")); err == nil {
		t.Error("what is gone is there")
	}
}

// Nothing of a merge leads out of the site, whatever links lie in its way.
func TestMerge_Hostile(t *testing.T) {
	outside := t.TempDir()
	lay(t, outside, map[string]string{"keep": "mine"})
	to := t.TempDir()
	lay(t, to, map[string]string{"files/out": "-> " + outside, "private/x": "", "config/x": ""})
	for _, gone := range []string{"files/../../keep", "/etc/passwd", "files", "site/hash_salt", "..", "files/"} {
		if err := Merge(t.Context(), t.TempDir(), to, []string{gone}); err == nil {
			t.Errorf("%q was removed", gone)
		}
	}
	from := t.TempDir()
	lay(t, from, map[string]string{"files/out/keep": "theirs"})
	_ = Merge(t.Context(), from, to, []string{"files/out/keep"})
	if text, err := os.ReadFile(filepath.Join(outside, "keep")); err != nil || string(text) != "mine" {
		t.Errorf("outside: %q, %v", text, err)
	}
}
