package tree_test

import (
	"os"
	"path/filepath"
	"testing"

	"hefring/internal/tree"
)

func TestMakeDirs_ThoseThatLeadThere(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "there"), 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	err = tree.MakeDirs(t.Context(), dir, []string{"a/b/c", "a/there", "a/b", ".", "d/e", "a/there/f"}, tree.Ours, tree.Ours)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := root.Stat("a/there"); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("what was there: %v %v", info, err)
	}
	for _, name := range []string{"a/b/c", "a/there/f", "d/e"} {
		if info, err := root.Stat(name); err != nil || !info.IsDir() {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

func TestMakeDirs_WhatIsInTheWay(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"out/x", "file/x"} {
		err := tree.MakeDirs(t.Context(), dir, []string{name}, tree.Ours, tree.Ours)
		if err == nil {
			t.Errorf("%s was made", name)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside: %v %v", entries, err)
	}
}
