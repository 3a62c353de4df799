package tree

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOpenFolder_BothWaysAgree(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "a/b"), 0o700),
		os.WriteFile(filepath.Join(dir, "a/file"), nil, 0o600),
		os.Symlink("a", filepath.Join(dir, "inside")),
		os.Symlink(outside, filepath.Join(dir, "out")),
		os.Symlink("..", filepath.Join(dir, "a/up")),
		os.Symlink("../..", filepath.Join(dir, "a/above")),
	); err != nil {
		t.Fatal(err)
	}
	top, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = top.Close() }()
	for what, open := range map[string]func(*os.File, string) (*os.File, error){"at once": openFolder, "slowly": openFolderSlowly} {
		for name, want := range map[string]string{
			".": ".", "a/b": "a/b", "inside/b": "a/b", "a/up": ".", "a/up/a": "a",
			"out": "", "a/above": "", "..": "", "a/../..": "", "/": "", "a/file": "", "none": "",
		} {
			folder, err := open(top, name)
			if want == "" {
				if err == nil {
					t.Errorf("%s: %s was opened", what, name)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %s: %v", what, name, err)
				continue
			}
			got, err := folder.Stat()
			wanted, wantedErr := os.Stat(filepath.Join(dir, want))
			if err := errors.Join(err, wantedErr, folder.Close()); err != nil || !os.SameFile(got, wanted) {
				t.Errorf("%s: %s is another folder than %s: %v", what, name, want, err)
			}
		}
	}
}
