package platforms_test

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hefring/internal/platforms"
	"hefring/models"
)

// larger is a code base whose files are worth sharing.
func larger() map[string]string {
	files := drupal("web")
	for _, name := range []string{"a", "b", "c", "d"} {
		files["vendor/acme/"+name+".php"] = strings.Repeat("<?php // "+name+"\n", 2000)
	}
	return files
}

// shared builds a platform that shares files with older ones.
func shared(t *testing.T, s *platforms.Store, name string, files map[string]string, tool func(dir string), older ...models.Platform) (models.Platform, platforms.Sealed) {
	t.Helper()
	dir := staged(t, s, 1, files)
	if tool != nil {
		tool(dir)
	}
	if err := s.Prepare(t.Context(), dir, "web"); err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal(t.Context(), dir, "web", s.Older(older...)...)
	if err != nil {
		t.Fatal(err)
	}
	root, err := s.Publish(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return models.Platform{Root: root, ManifestDigest: sealed.Digest}, sealed
}

func wantWhole(t *testing.T, s *platforms.Store, list ...models.Platform) {
	t.Helper()
	for _, p := range list {
		if findings, err := s.Verify(t.Context(), p.Root, p.ManifestDigest); err != nil || len(findings) > 0 {
			t.Errorf("%s: %v %v", p.Root, findings, err)
		}
	}
}

func inode(t *testing.T, path ...string) uint64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestStore_Seal_SharesWithOlder(t *testing.T) {
	s := newStore(t)
	first, one := shared(t, s, "first", larger(), nil)
	files := larger()
	files["web/index.php"] = "<?php // changed\n"
	files["vendor/acme/moved.php"] = files["vendor/acme/a.php"]
	delete(files, "vendor/acme/a.php")
	second, sealed := shared(t, s, "second", files, nil, first)
	if one.Shared != (platforms.Shared{}) || sealed.Shared.Files != sealed.Files-1 {
		t.Errorf("shared %+v, then %+v of %d files", one.Shared, sealed.Shared, sealed.Files)
	}
	wantWhole(t, s, first, second)
	apparent, exclusive, err := s.Usage(t.Context(), second.Root)
	if err != nil || exclusive >= apparent-4*30_000 {
		t.Errorf("usage %d, of it exclusive %d, %v", apparent, exclusive, err)
	}
	if err := s.Delete(t.Context(), first.Root); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, s, second)
	if _, alone, err := s.Usage(t.Context(), second.Root); err != nil || alone != apparent {
		t.Errorf("alone it uses %d of %d, %v", alone, apparent, err)
	}
}

// A build tool may write in place to whatever lies in its staging folder
// (composer does): no older platform may notice.
func TestStore_Seal_BuildToolWritesInPlace(t *testing.T) {
	s := newStore(t)
	first, _ := shared(t, s, "first", larger(), nil)
	second, _ := shared(t, s, "second", larger(), nil, first)
	third, _ := shared(t, s, "third", larger(), func(dir string) {
		for name := range larger() {
			file, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_TRUNC, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteString("in place"); err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}, second, first)
	wantWhole(t, s, first, second, third)
	text, err := os.ReadFile(filepath.Join(third.Root, "vendor/acme/a.php"))
	if err != nil || string(text) != "in place" {
		t.Errorf("the third platform holds %q, %v", text, err)
	}
}

// Neither a site's PHP nor the web server's user can write to a shared file.
func TestStore_Seal_SharedFilesAreReadOnly(t *testing.T) {
	s := newStore(t)
	first, _ := shared(t, s, "first", larger(), nil)
	second, _ := shared(t, s, "second", larger(), nil, first)
	file := filepath.Join(second.Root, "vendor/acme/a.php")
	if os.Geteuid() != 0 {
		if _, err := os.OpenFile(file, os.O_RDWR, 0); !errors.Is(err, os.ErrPermission) {
			t.Errorf("opened for writing: %v", err)
		}
		return
	}
	for dir := filepath.Dir(second.Root); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{`cat "$1" >/dev/null`, `echo evil >>"$1"`, `chmod u+w "$1"`, `rm -f "$1"`, `mv "$1" "$1.old"`, `ln "$1" /tmp/hefring-test-link`} {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", command, "sh", file)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		reads := strings.HasPrefix(command, "cat")
		if reads != (err == nil) && !strings.HasPrefix(command, "ln") { // that is the kernel's setting
			t.Errorf("%s: %v %s", command, err, out)
		}
	}
	_ = os.Remove("/tmp/hefring-test-link")
	wantWhole(t, s, first, second)
}

func TestStore_Verify_SharedFileTampered(t *testing.T) {
	s := newStore(t)
	first, _ := shared(t, s, "first", larger(), nil)
	second, _ := shared(t, s, "second", larger(), nil, first)
	name := filepath.Join(first.Root, "vendor/acme/b.php")
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text[5] ^= 1
	// Of the same size, permissions and time.
	if err := errors.Join(os.Chmod(name, 0o644), os.WriteFile(name, text, 0o644), os.Chmod(name, 0o444), os.Chtimes(name, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	for _, p := range []models.Platform{first, second} {
		findings, err := s.Verify(t.Context(), p.Root, p.ManifestDigest)
		if err != nil || len(findings) != 1 || findings[0] != "changed: vendor/acme/b.php (other content of the same size)" {
			t.Errorf("%s: %v %v", p.Root, findings, err)
		}
	}
	third, sealedThird := shared(t, s, "third", larger(), nil, second, first)
	wantWhole(t, s, third)
	if inode(t, third.Root, "vendor/acme/b.php") == inode(t, first.Root, "vendor/acme/b.php") || sealedThird.Shared.Files != sealedThird.Files-1 {
		t.Errorf("the tampered file was shared: %+v", sealedThird.Shared)
	}
}

func TestStore_Seal_WhatCannotBeShared(t *testing.T) {
	s := newStore(t)
	first, _ := shared(t, s, "first", larger(), nil)
	gone, _ := shared(t, s, "gone", larger(), nil)
	forged := models.Platform{Root: first.Root, ManifestDigest: strings.Repeat("0", 64)}
	if list := s.Older(forged, models.Platform{}, models.Platform{Root: "/etc"}); len(list) != 0 {
		t.Errorf("%d platforms without a proof are offered", len(list))
	}
	dir := staged(t, s, 2, larger())
	if err := os.Chmod(filepath.Join(dir, "vendor/acme/a.php"), 0o755); err != nil {
		t.Fatal(err)
	}
	older := s.Older(gone, first)
	if err := s.Delete(t.Context(), gone.Root); err != nil { // at the same moment
		t.Fatal(err)
	}
	sealed, err := s.Seal(t.Context(), dir, "web", older...)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "vendor/acme/a.php"))
	if err != nil || info.Mode() != 0o555 || inode(t, dir, "vendor/acme/a.php") == inode(t, first.Root, "vendor/acme/a.php") {
		t.Errorf("a program was shared with a file that is none: %v %v", info.Mode(), err)
	}
	if inode(t, dir, "vendor/acme/b.php") != inode(t, first.Root, "vendor/acme/b.php") || sealed.Files == 0 {
		t.Error("the platform that is still there shares nothing")
	}
	wantWhole(t, s, first)
	if err := s.Discard(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, s, first)
}

func TestStore_Seal_OtherFileSystem(t *testing.T) {
	s := newStore(t)
	far, err := os.MkdirTemp("/dev/shm", "hefring-") //nolint:usetesting // it has to be another file system
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(far) })
	other := newStore(t)
	other.Root = filepath.Join(far, "platforms")
	first, _ := shared(t, other, "first", larger(), nil)
	dir := staged(t, s, 1, larger())
	sealed, err := s.Seal(t.Context(), dir, "web", other.Older(first)...)
	if err != nil || sealed.Shared.Files != 0 {
		t.Errorf("%+v %v", sealed.Shared, err)
	}
	entries, err := filepath.Glob(filepath.Join(dir, "vendor/acme/.*"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left: %v %v", entries, err)
	}
}

func TestStore_Inspect_Schemas(t *testing.T) {
	s := newStore(t)
	files := drupal("web")
	maps.Copy(files, map[string]string{
		"web/core/modules/system/system.install":   "<?php\nfunction system_update_10600() {}\nfunction system_update_last_removed() { return 8901; }\n",
		"web/modules/contrib/tides/tides.info.yml": "name: Tides\ntype: module\nversion: 8.x-1.10\n",
		"web/modules/contrib/tides/tides.install": "<?php\n// function tides_update_9999() {}\n/**\n * function tides_update_9998()\n */\nfunction other_update_9001() {}\n" +
			"function tides_update_8002(array &$sandbox): void {}\n  function tides_update_8010 () {}\nfunction tides_update_8003() {}\nfunction tides_update_99999999999() {}\n",
		"web/modules/big/big.info.yml": "name: Big\ntype: module\n",
		"web/modules/big/big.install":  "<?php\nfunction big_update_8001() {}\n" + strings.Repeat("#", 2<<20),
	})
	dir := staged(t, s, 1, files)
	if err := os.MkdirAll(filepath.Join(dir, "web/modules/odd/odd.install"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"web/modules/odd/odd.info.yml": "name: Odd\ntype: module\n"})
	found, err := s.Inspect(t.Context(), dir, "web")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"drupal": 10600, "tides": 8010, "big": 0, "odd": 0}
	for _, p := range found.Packages {
		if schema, ok := want[p.Name]; ok && p.Schema != schema {
			t.Errorf("%s has schema %d, want %d", p.Name, p.Schema, schema)
		}
	}
}
