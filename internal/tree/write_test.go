package tree_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/tree"
)

func TestReplace_OldOrNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	for _, text := range []string{"old", "new"} {
		if err := tree.Replace(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, missing := os.Stat(path)
		if err != nil || missing != nil || string(got) != text || info.Mode() != 0o640 {
			t.Errorf("%q with %v; %v, %v", got, info.Mode(), err, missing)
		}
	}
	broken := errors.New("it is not to be")
	err := tree.Place(path, []byte("never"), func(temporary string) error {
		if info, err := os.Stat(temporary); err != nil || info.Mode() != 0o600 || filepath.Dir(temporary) != dir {
			t.Errorf("%s has %v, %v", temporary, info, err)
		}
		return broken
	})
	if got, _ := os.ReadFile(path); !errors.Is(err, broken) || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
	if err := tree.Replace(filepath.Join(dir, "none", "key"), nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in no folder: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestPieces_CutsTheStream(t *testing.T) {
	var cut []string
	p := tree.NewPieces(4, func(piece []byte) error {
		cut = append(cut, string(piece))
		return nil
	})
	for _, part := range []string{"ab", "", "cdefghij", "k"} {
		if n, err := io.WriteString(p, part); n != len(part) || err != nil {
			t.Fatalf("%d of %d, %v", n, len(part), err)
		}
	}
	if err := errors.Join(p.Flush(), p.Flush()); err != nil || strings.Join(cut, " ") != "abcd efgh ijk" {
		t.Errorf("%q, %v", cut, err)
	}
	full := errors.New("the disk is full")
	p = tree.NewPieces(2, func([]byte) error { return full })
	if n, err := p.Write([]byte("abcd")); n != 2 || !errors.Is(err, full) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestDrain_BoundsWhatFollows(t *testing.T) {
	for size, good := range map[int]bool{0: true, 1024: true, 2 << 20: false} {
		if err := tree.Drain(bytes.NewReader(make([]byte, size))); (err == nil) != good {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
