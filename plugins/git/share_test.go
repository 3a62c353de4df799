package git_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/platforms"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
)

// shelf keeps platforms that builds share files with.
type shelf struct {
	t     *testing.T
	store *platforms.Store
	id    int64
}

func newShelf(t *testing.T, dir string) *shelf {
	t.Helper()
	s := &shelf{t: t, store: &platforms.Store{Root: filepath.Join(dir, "platforms"), MinFree: 1}}
	t.Cleanup(func() {
		if _, err := s.store.Reconcile(context.WithoutCancel(t.Context()), func(platforms.Found) bool { return false }); err != nil {
			t.Error(err)
		}
	})
	return s
}

// build makes a platform, and gives the digest of what the source built.
func (s *shelf) build(source plugins.Source, env plugins.Env, v plugins.Version, older ...models.Platform) (p models.Platform, sealed platforms.Sealed, digest string) {
	s.t.Helper()
	s.id++
	dir, err := s.store.Stage(s.t.Context(), s.id, 1)
	if err != nil {
		s.t.Fatal(err)
	}
	env.Log = &lines{}
	env.Older = s.store.Older(older...)
	if _, err := source.Build(s.t.Context(), env, v, dir); err != nil {
		s.t.Fatalf("%v\n%s", err, env.Log)
	}
	m, err := tree.Scan(s.t.Context(), dir, tree.Options{}, true)
	if err != nil {
		s.t.Fatal(err)
	}
	if sealed, err = s.store.Seal(s.t.Context(), dir, "", env.Older...); err != nil {
		s.t.Fatal(err)
	}
	root, err := s.store.Publish(dir, fmt.Sprintf("p%d", s.id))
	if err != nil {
		s.t.Fatal(err)
	}
	if findings, err := s.store.Verify(s.t.Context(), root, sealed.Digest); err != nil || len(findings) > 0 {
		s.t.Fatalf("%v %v", findings, err)
	}
	return models.Platform{Root: root, ManifestDigest: sealed.Digest}, sealed, m.Digest()
}

func (s *shelf) wantWhole(list ...models.Platform) {
	s.t.Helper()
	for _, p := range list {
		if findings, err := s.store.Verify(s.t.Context(), p.Root, p.ManifestDigest); err != nil || len(findings) > 0 {
			s.t.Errorf("%s: %v %v", p.Root, findings, err)
		}
	}
}

func TestSource_Build_SharesWithOlder(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	files := map[string]string{"odd \"näme\".txt": "odd", "empty": ""}
	for i := range 30 {
		files[fmt.Sprintf("core/d%d/file.php", i)] = strings.Repeat("<?php\n", 100+i)
	}
	u.publish("first", files)
	settings := models.Settings{"url": u.url, "ref_kind": "branch", "branch": "main"}
	source, env := open(t, settings), newEnv(t)
	before := check(t, source, env)
	home := newShelf(t, t.TempDir())
	first, _, _ := home.build(source, env, before)

	u.git("mv", "core/d1/file.php", "core/d1/moved.php")
	if err := os.Chmod(filepath.Join(u.work, "core/d2/file.php"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("d3/file.php", filepath.Join(u.work, "core/link")); err != nil {
		t.Fatal(err)
	}
	u.publish("second", map[string]string{"core/d0/file.php": "<?php // changed\n"})
	after := checkAfter(t, source, env, before)
	_, _, want := home.build(source, env, after)
	second, sealed, got := home.build(source, env, after, first)
	// One file is new, and one became a program.
	if got != want || sealed.Shared.Files != sealed.Files-2 {
		t.Errorf("same tree: %v, shared %+v of %d", got == want, sealed.Shared, sealed.Files)
	}
	home.wantWhole(first, second)

	far, err := os.MkdirTemp("/dev/shm", "hefring-") //nolint:usetesting // it has to be another file system
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(far) })
	away := newShelf(t, far)
	other, sealed, got := away.build(source, env, after)
	away.wantWhole(other)
	if got != want || sealed.Shared.Files != 0 {
		t.Errorf("alone: %v %+v", got == want, sealed.Shared)
	}
	dst := t.TempDir() // on another file system nothing can be shared
	env.Older, env.Log = away.store.Older(other), &lines{}
	if _, err := source.Build(t.Context(), env, after, dst); err != nil {
		t.Fatal(err)
	}
	if m, err := tree.Scan(t.Context(), dst, tree.Options{}, true); err != nil || m.Digest() != want {
		t.Errorf("from another file system: %v", err)
	}
}

// Attributes change what git writes without changing what it keeps.
func TestSource_Build_SharesNothingWithConversions(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	u.publish("first", map[string]string{"a.txt": strings.Repeat("line\n", 100)})
	source, env := open(t, models.Settings{"url": u.url, "ref_kind": "branch", "branch": "main"}), newEnv(t)
	before := check(t, source, env)
	home := newShelf(t, t.TempDir())
	first, _, _ := home.build(source, env, before)
	u.publish("second", map[string]string{".gitattributes": "*.txt text eol=crlf\n"})
	second, _, _ := home.build(source, env, checkAfter(t, source, env, before), first)
	if text := read(t, second.Root, "a.txt"); !strings.Contains(text, "\r\n") {
		t.Errorf("%q", text[:20])
	}
	home.wantWhole(first, second)
}

// Composer's scripts write in place to whatever they find; the older platform
// must not notice, and Composer must be able to write.
func TestSource_Build_ComposerWritesInPlace(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	tool := "<?php $f = fopen('core/a.php', 'r+'); ftruncate($f, 0); fwrite($f, 'in place'.getmypid()); fclose($f);\n"
	u.publish("first", map[string]string{
		"core/a.php": strings.Repeat("<?php\n", 100), "core/b.php": strings.Repeat("<?php b\n", 100),
		"composer.json": `{"repositories":[{"packagist.org":false}],"scripts":{"post-autoload-dump":"@php tool.php"}}`,
		"tool.php":      tool,
	})
	source, env := open(t, models.Settings{"url": u.url, "ref_kind": "branch", "branch": "main", "composer": "1"}), newEnv(t)
	v := check(t, source, env)
	home := newShelf(t, t.TempDir())
	first, _, _ := home.build(source, env, v)
	second, _, _ := home.build(source, env, v, first)
	third, sealed, _ := home.build(source, env, v, second, first)
	home.wantWhole(first, second, third)
	if sealed.Shared.Files == 0 || !strings.HasPrefix(read(t, third.Root, "core/a.php"), "in place") {
		t.Errorf("%+v, %q", sealed.Shared, read(t, third.Root, "core/a.php"))
	}
}
