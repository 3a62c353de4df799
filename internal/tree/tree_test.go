package tree_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"hefring/internal/tree"
	"hefring/models"
)

func sample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"a/b/tool": 0o700, "a/page.php": 0o640, "name\nwith \"odd\" \xff bytes": 0o600} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	link(t, dir, "b/tool", "a/tool")
	link(t, dir, "missing", "a/dangling")
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func link(t *testing.T, dir, target, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func scan(t *testing.T, dir string, uniform bool) tree.Manifest {
	t.Helper()
	m, err := tree.Scan(t.Context(), dir, tree.Options{}, uniform)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestManifest_Parse_ReadsText(t *testing.T) {
	m := scan(t, sample(t), false)
	if len(m) != 8 {
		t.Errorf("%d entries: %+v", len(m), m)
	}
	again, err := tree.Parse(m.Text())
	if err != nil || !reflect.DeepEqual(m, again) {
		t.Errorf("%v\n%+v\n%+v", err, m, again)
	}
	if files, bytes := m.Totals(); files != 3 || bytes != int64(len("a/b/tool")+len("a/page.php")+len("name\nwith \"odd\" \xff bytes")) {
		t.Errorf("%d files, %d bytes", files, bytes)
	}
}

func TestManifest_Parse_RefusesNoise(t *testing.T) {
	for _, text := range []string{"x\n", "f 0644 1\n", "f 0644 x - \"a\" \"\"\n", "f 0644 1 - a b\n", "f 0644 1 - \"a\" b\n"} {
		if _, err := tree.Parse([]byte(text)); err == nil {
			t.Errorf("%q was parsed", text)
		}
	}
}

func TestCopy_SameDigest(t *testing.T) {
	dir, dst := sample(t), t.TempDir()
	before := scan(t, dir, false).Digest()
	if err := tree.Copy(t.Context(), dir, dst, tree.Options{}); err != nil {
		t.Fatal(err)
	}
	if scan(t, dir, true).Digest() != scan(t, dst, true).Digest() {
		t.Error("the copy differs")
	}
	if scan(t, dir, false).Digest() != before {
		t.Error("the original was changed")
	}
}

func TestWalk_Links(t *testing.T) {
	for name, c := range map[string]struct {
		links [][2]string // target, name
		ok    bool
	}{
		"inside":                {[][2]string{{"../a/page.php", "empty/page"}}, true},
		"to the top":            {[][2]string{{"..", "empty/top"}}, true},
		"absolute":              {[][2]string{{"/etc/passwd", "x"}}, false},
		"above":                 {[][2]string{{"../x", "x"}}, false},
		"deep above":            {[][2]string{{"a/../../x", "x"}}, false},
		"through a link upward": {[][2]string{{"..", "empty/top"}, {"empty/top/../..", "x"}}, false},
		"dangling and above":    {[][2]string{{"none/../../etc", "x"}}, false},
		"to itself":             {[][2]string{{"x", "x"}}, false},
	} {
		dir := sample(t)
		for _, l := range c.links {
			link(t, dir, l[0], l[1])
		}
		_, err := tree.Scan(t.Context(), dir, tree.Options{}, false)
		if c.ok != (err == nil) || err != nil && models.CodeOf(err) != models.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWalk_Limits(t *testing.T) {
	dir := sample(t)
	for want, o := range map[string]tree.Options{"more than 4 files": {Files: 4}, "larger than 3 B": {Bytes: 3}} {
		err := tree.Walk(t.Context(), dir, o, func(tree.Entry) error { return nil })
		if models.CodeOf(err) != models.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestWalk_Cancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("stopped by a test")
	err := tree.Walk(ctx, sample(t), tree.Options{}, func(tree.Entry) error {
		cancel(cause)
		return nil
	})
	if !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}

func TestEntry_Open_NoticesSwap(t *testing.T) {
	dir := sample(t)
	path := filepath.Join(dir, "a/page.php")
	err := tree.Walk(t.Context(), dir, tree.Options{}, func(e tree.Entry) error {
		if e.Path != "a/page.php" {
			return nil
		}
		if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
			return err
		}
		file, err := e.Open()
		if err == nil {
			return fmt.Errorf("opened %s", file.Name())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestExplain_FullDisk(t *testing.T) {
	err := tree.Explain(fmt.Errorf("write: %w", syscall.ENOSPC), t.TempDir())
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "left") {
		t.Errorf("%v", err)
	}
	other := errors.New("other")
	if !errors.Is(tree.Explain(other, ""), other) {
		t.Error("another error was changed")
	}
}

func TestSize_ForPeople(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0 B", 999: "999 B", 1500: "1.5 kB", 123_456: "123 kB", 20 << 30: "21.5 GB"} {
		if got := tree.Size(bytes); got != want {
			t.Errorf("Size(%d) = %s, want %s", bytes, got, want)
		}
	}
}
