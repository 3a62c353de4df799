package platforms_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hefring/internal/platforms"
	"hefring/internal/tree"
	"hefring/models"
)

// blobs proves the files of a platform and gives what git calls them.
func blobs(t *testing.T, s *platforms.Store, p models.Platform, names ...string) map[string]string {
	t.Helper()
	var mu sync.Mutex
	found := map[string]string{}
	proofs, err := s.Older(p)[0].Prove(t.Context(), names, tree.GitSHA1, func(l tree.Line, name string) bool {
		mu.Lock()
		defer mu.Unlock()
		found[l.Path] = name
		return true
	})
	if err != nil || len(proofs) != len(found) {
		t.Fatalf("%d proofs of %d files: %v", len(proofs), len(found), err)
	}
	return found
}

// rewrite changes a sealed file in place, and its time to when it seems to have
// been written.
func rewrite(t *testing.T, name, text string, written time.Time) {
	t.Helper()
	if err := errors.Join(os.Chmod(name, 0o644), os.WriteFile(name, []byte(text), 0o644), os.Chmod(name, 0o444), os.Chtimes(name, written, written)); err != nil {
		t.Fatal(err)
	}
}

func writtenAt(t *testing.T, name string) time.Time {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func TestKept_Prove_ByLooks(t *testing.T) {
	s := newStore(t)
	p, _ := shared(t, s, "first", larger(), nil)
	at := func(letter string) (name, file, text string) {
		name = "vendor/acme/" + letter + ".php"
		return name, filepath.Join(p.Root, name), larger()[name]
	}
	a, _, text := at("a")
	other := strings.Replace(text, "// a", "// x", 1)
	git := func(text string) string {
		sum := sha1.Sum([]byte(fmt.Sprintf("blob %d\x00%s", len(text), text)))
		return hex.EncodeToString(sum[:])
	}
	b, fileB, textB := at("b")
	rewrite(t, fileB, textB, time.Now().Add(time.Hour)) // as it was, but it must be read
	c, fileC, textC := at("c")
	rewrite(t, fileC, strings.Replace(textC, "// c", "// x", 1), time.Now().Add(time.Hour))
	d, fileD, _ := at("d")
	before := writtenAt(t, fileD)
	// Another file of the same size and time; the inode's number is free only then.
	if err := errors.Join(os.WriteFile(fileD+".new", []byte(other), 0o644), os.Rename(fileD+".new", fileD)); err != nil {
		t.Fatal(err)
	}
	rewrite(t, fileD, other, before)
	got := blobs(t, s, p, a, b, c, d)
	if len(got) != 2 || got[a] != git(text) || got[b] != git(textB) {
		t.Errorf("proven %v, want %s and %s alone", got, a, b)
	}
}

// A file of the same size, inode and time is not read again. That it was tampered
// with is found by the first verification, which reads: the manifest says what the
// content was.
func TestKept_Prove_ByLooks_TimeForged(t *testing.T) {
	s := newStore(t)
	first, _ := shared(t, s, "first", larger(), nil)
	const name = "vendor/acme/a.php"
	file := filepath.Join(first.Root, name)
	before := writtenAt(t, file)
	rewrite(t, file, strings.Replace(larger()[name], "// a", "// x", 1), before)
	if got := blobs(t, s, first, name); len(got) != 1 {
		t.Fatalf("it was read: %v", got)
	}
	older := s.Older(first)
	files := larger()
	delete(files, name)
	dir := staged(t, s, 2, files)
	proofs, err := older[0].Prove(t.Context(), []string{name}, tree.Nameless, func(tree.Line, string) bool { return true })
	if err != nil || len(proofs) != 1 {
		t.Fatalf("%v %v", proofs, err)
	}
	if err := older[0].Place(t.Context(), dir, proofs); err != nil {
		t.Fatal(err)
	}
	if err := s.Prepare(t.Context(), dir, "web"); err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal(t.Context(), dir, "web", older...)
	if err != nil {
		t.Fatal(err)
	}
	root, err := s.Publish(dir, "second")
	if err != nil {
		t.Fatal(err)
	}
	findings, err := s.Verify(t.Context(), root, sealed.Digest)
	if err != nil || len(findings) != 1 || findings[0] != "changed: "+name+" (other content of the same size)" {
		t.Errorf("%v %v", findings, err)
	}
}

// Without stamps that belong to the manifest all is read.
func TestKept_Prove_StampsMissing(t *testing.T) {
	const name = "vendor/acme/a.php"
	for what, spoil := range map[string]func(file string) error{
		"missing": os.Remove,
		"damaged": func(file string) error { return os.Truncate(file, 100) },
		"of other": func(file string) error {
			return os.WriteFile(file, []byte("hefring stamps 1 of "+strings.Repeat("0", 64)+"\n"), 0o600)
		},
		"short": func(file string) error { return os.WriteFile(file, []byte("hefring stamps 1 of \n1 2"), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			s := newStore(t)
			p, _ := shared(t, s, "first", larger(), nil)
			file := filepath.Join(p.Root, name)
			rewrite(t, file, strings.Replace(larger()[name], "// a", "// x", 1), writtenAt(t, file))
			stamps := filepath.Join(filepath.Dir(p.Root), "stamps")
			if err := errors.Join(os.Chmod(stamps, 0o600), spoil(stamps)); err != nil {
				t.Fatal(err)
			}
			if got := blobs(t, s, p, name, "vendor/acme/b.php"); len(got) != 1 || got[name] != "" {
				t.Errorf("proven %v", got)
			}
		})
	}
}

// What an older platform gave keeps its stamp, so that the build after the next
// one need not read it either.
func TestStore_Seal_StampsOfShared(t *testing.T) {
	s := newStore(t)
	first, _ := shared(t, s, "first", larger(), nil)
	second, _ := shared(t, s, "second", larger(), nil, first)
	const name = "vendor/acme/a.php"
	if err := s.Delete(context.WithoutCancel(t.Context()), first.Root); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(second.Root, name)
	rewrite(t, file, strings.Replace(larger()[name], "// a", "// x", 1), writtenAt(t, file))
	if got := blobs(t, s, second, name); len(got) != 1 {
		t.Errorf("it was read: %v", got)
	}
}
