package platforms_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hefring/internal/platforms"
	"hefring/models"
)

func TestStore_Stage_DropsOlderAttempts(t *testing.T) {
	s := newStore(t)
	first := staged(t, s, 7, map[string]string{"a": "1"})
	other := staged(t, s, 71, map[string]string{"a": "1"})
	second, err := s.Stage(t.Context(), 7, 2)
	if err != nil {
		t.Fatal(err)
	}
	if exists(first) || !exists(other) {
		t.Error("the wrong folders were removed")
	}
	entries, err := os.ReadDir(second)
	if err != nil || len(entries) != 0 {
		t.Errorf("the new folder holds %v, %v", entries, err)
	}
	again, err := s.Stage(t.Context(), 7, 2)
	if err != nil || again != second {
		t.Errorf("the same attempt: %s, %v", again, err)
	}
}

func TestStore_Stage_WantsFreeDisk(t *testing.T) {
	s := newStore(t)
	s.MinFree = 1 << 60
	_, err := s.Stage(t.Context(), 1, 1)
	wantError(t, err, "is full", "left", "Delete old platforms")
}

func TestStore_Prepare_AddsSitesFile(t *testing.T) {
	s := newStore(t)
	dir := staged(t, s, 1, drupal("web"))
	for range 2 {
		if err := s.Prepare(t.Context(), dir, "web"); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "web/sites/sites.php"))
	if err != nil || !strings.HasPrefix(string(text), "<?php") || !strings.Contains(string(text), "$sites = [];") {
		t.Errorf("%q %v", text, err)
	}
	own := staged(t, s, 2, map[string]string{"sites/sites.php": "<?php $sites['a'] = 'b';"})
	if err := s.Prepare(t.Context(), own, ""); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(filepath.Join(own, "sites/sites.php"))
	if err != nil || !strings.Contains(string(text), "'b'") {
		t.Errorf("the source's own file was changed: %q %v", text, err)
	}
}

func TestStore_Prepare_RefusesLinkedSites(t *testing.T) {
	s := newStore(t)
	outside := t.TempDir()
	dir := staged(t, s, 1, nil)
	if err := os.Symlink(outside, filepath.Join(dir, "sites")); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Prepare(t.Context(), dir, ""), "not a folder")
	if exists(filepath.Join(outside, "sites.php")) {
		t.Error("the link was followed")
	}
}

func TestStore_Seal_ProgramsWithoutExecuteBit(t *testing.T) {
	s := newStore(t)
	dir := staged(t, s, 1, drupal("web"))
	drush := filepath.Join(dir, "vendor/bin/drush")
	if err := os.Chmod(drush, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seal(t.Context(), dir, "web"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{drush: 0o555, filepath.Join(dir, "web/index.php"): 0o444} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode().Perm(), want, err)
		}
	}
}

func TestStore_Seal_ReadOnly(t *testing.T) {
	s := newStore(t)
	dir := staged(t, s, 1, drupal("web"))
	for name, mode := range map[string]os.FileMode{
		"vendor/bin/drush": 0o755 | os.ModeSetuid, "web/index.php": 0o666, "vendor": 0o777 | os.ModeSetgid,
	} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(dir, "web/index.php"), 33, 33); err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := s.Seal(t.Context(), dir, "web")
	if err != nil || sealed.Files != 9 || len(sealed.Digest) != 64 {
		t.Fatalf("%+v %v", sealed, err)
	}
	for name, want := range map[string]os.FileMode{
		".": 0o555, "vendor": 0o555, "vendor/bin/drush": 0o555, "web/index.php": 0o444, "web/sites": 0o755, "web/sites/default": 0o555,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got := info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid)
		stat, ok := info.Sys().(*syscall.Stat_t)
		if got != want || !ok || int(stat.Uid) != os.Geteuid() {
			t.Errorf("%s: mode %o, owner %d", name, got, stat.Uid)
		}
	}
}

func TestStore_Seal_RefusesHostileTrees(t *testing.T) {
	foreign := filepath.Join(t.TempDir(), "foreign")
	if err := os.WriteFile(foreign, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(dir string) error{
		"leads out of the tree, to \"/etc/passwd\"": func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "web/x")) },
		"leads out of the tree, to \"../../..":      func(dir string) error { return os.Symlink("../../../x", filepath.Join(dir, "web/x")) },
		"leads out of the tree":                     func(dir string) error { return os.Symlink("/srv/sites/1", filepath.Join(dir, "web/sites/a")) },
		"device, socket or pipe":                    func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "web/x"), 0o644) },
		"hard link":                                 func(dir string) error { return os.Link(foreign, filepath.Join(dir, "web/x")) },
		"nested more than": func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", 200)), 0o755)
		},
	} {
		s := newStore(t)
		dir := staged(t, s, 1, drupal("web"))
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		_, err := s.Seal(t.Context(), dir, "web")
		wantError(t, err, want)
		if _, err := s.Publish(dir, "bad"); err == nil {
			t.Errorf("%s: a tree that was not sealed was published", want)
		}
	}
	info, err := os.Stat(foreign)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file outside was changed: %v %v", info.Mode(), err)
	}
}

func TestStore_Seal_Limits(t *testing.T) {
	s := newStore(t)
	s.Files = 5
	_, err := s.Seal(t.Context(), staged(t, s, 1, drupal("web")), "web")
	wantError(t, err, "more than 5 files")
	s.Files, s.Bytes = 0, 10
	_, err = s.Seal(t.Context(), staged(t, s, 2, drupal("web")), "web")
	wantError(t, err, "larger than 10 B")
}

func TestStore_Publish_NeverReplaces(t *testing.T) {
	s := newStore(t)
	root, sealed := published(t, s, "site-10.6.2-abc")
	dir := staged(t, s, 2, drupal("web"))
	if _, err := s.Seal(t.Context(), dir, "web"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Publish(dir, "site-10.6.2-abc")
	wantError(t, err, "already there")
	if models.CodeOf(err) != models.Conflict || !exists(dir) {
		t.Errorf("%v", err)
	}
	findings, err := s.Verify(t.Context(), root, sealed.Digest)
	if err != nil || len(findings) != 0 {
		t.Errorf("the first platform: %v %v", findings, err)
	}
	for _, name := range []string{"", "../x", ".x", "a/b", "A", "-x"} {
		if _, err := s.Publish(dir, name); models.CodeOf(err) != models.Invalid {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestStore_Verify_Findings(t *testing.T) {
	s := newStore(t)
	root, sealed := published(t, s, "p")
	if err := os.Symlink("/srv/sites/4/releases/1", filepath.Join(root, "web/sites/example.org")); err != nil {
		t.Fatal(err)
	}
	findings, err := s.Verify(t.Context(), root, sealed.Digest)
	if err != nil || len(findings) != 0 {
		t.Fatalf("untouched: %v %v", findings, err)
	}
	unlock(t, root)
	for _, touch := range []error{
		os.WriteFile(filepath.Join(root, "web/index.php"), []byte("evil"), 0o600),
		os.WriteFile(filepath.Join(root, "web/extra.php"), []byte("evil"), 0o600),
		os.Remove(filepath.Join(root, "vendor/autoload.php")),
	} {
		if touch != nil {
			t.Fatal(touch)
		}
	}
	findings, err = s.Verify(t.Context(), root, sealed.Digest)
	text := strings.Join(findings, "\n")
	for _, want := range []string{"changed: web/index.php", "missing: vendor/autoload.php", "added: web/extra.php", "permissions changed: vendor/bin/drush"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("want %q in %q, %v", want, text, err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(root, "web/sites/evil")); err != nil {
		t.Fatal(err)
	}
	findings, err = s.Verify(t.Context(), root, sealed.Digest)
	if err != nil || !strings.Contains(strings.Join(findings, "\n"), "added: web/sites/evil. The symbolic link \"web/sites/evil\" leads out") {
		t.Errorf("a foreign link: %v %v", findings, err)
	}
	manifest := filepath.Join(filepath.Dir(root), "manifest")
	if err := errors.Join(os.Chmod(manifest, 0o600), os.WriteFile(manifest, []byte("hefring manifest 1 docroot \"web\"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	findings, err = s.Verify(t.Context(), root, sealed.Digest)
	if err != nil || len(findings) != 1 || !strings.Contains(findings[0], "manifest is not the one") {
		t.Errorf("a changed manifest: %v %v", findings, err)
	}
}

func TestStore_Verify_BoundedFindings(t *testing.T) {
	s := newStore(t)
	root, sealed := published(t, s, "p")
	for i := range 120 {
		if err := os.WriteFile(filepath.Join(root, "web/sites", strings.Repeat("x", i+1)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	findings, err := s.Verify(t.Context(), root, sealed.Digest)
	if err != nil || len(findings) != 101 || findings[100] != "and 20 more" {
		t.Errorf("%d findings, %v", len(findings), err)
	}
}

func unlock(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chmod(path, 0o755)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStore_Delete_KeepsSites(t *testing.T) {
	s := newStore(t)
	root, _ := published(t, s, "p")
	site := t.TempDir()
	write(t, site, map[string]string{"settings.php": "<?php"})
	if err := os.Symlink(site, filepath.Join(root, "web/sites/example.org")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Delete(t.Context(), root); err != nil {
			t.Fatal(err)
		}
	}
	if exists(filepath.Dir(root)) || !exists(filepath.Join(site, "settings.php")) {
		t.Error("the wrong things were removed")
	}
}

func TestStore_Delete_OnlyPlatforms(t *testing.T) {
	s := newStore(t)
	root, _ := published(t, s, "p")
	for _, path := range []string{"", "/", s.Root, filepath.Dir(root), "/etc/code", filepath.Join(s.Root, "../x/code"), filepath.Join(s.Root, ".staging", "code")} {
		if err := s.Delete(t.Context(), path); err == nil {
			t.Errorf("Delete(%q) did something", path)
		}
	}
	if !exists(root) {
		t.Error("the platform is gone")
	}
}

// Reconcile empties the trash while something is being deleted: both must end
// well, and the platform must be gone.
func TestStore_Delete_WhileReconciling(t *testing.T) {
	s := newStore(t)
	for range 5 {
		root, _ := published(t, s, "p")
		done := make(chan error)
		for range 2 {
			go func() { done <- s.Delete(t.Context(), root) }()
		}
		go func() {
			_, err := s.Reconcile(t.Context(), func(platforms.Found) bool { return true })
			done <- err
		}()
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if exists(filepath.Dir(root)) {
			t.Fatal("the platform is still there")
		}
	}
}

func TestStore_Reconcile_KeepsWhatIsKnown(t *testing.T) {
	s := newStore(t)
	known, _ := published(t, s, "known")
	unknown, _ := published(t, s, "unknown")
	running := staged(t, s, 5, map[string]string{"a": "1"})
	dead := staged(t, s, 6, map[string]string{"a": "1"})
	write(t, s.Root, map[string]string{".staging/strange/x": "1", "README": "not ours"})
	removed, err := s.Reconcile(t.Context(), func(f platforms.Found) bool { return f.Name == "known" || f.PlatformID == 5 })
	if err != nil || len(removed) != 3 {
		t.Errorf("removed %v, %v", removed, err)
	}
	for path, want := range map[string]bool{known: true, running: true, unknown: false, dead: false, filepath.Join(s.Root, "README"): true} {
		if exists(path) != want {
			t.Errorf("%s: there %v, want %v", path, !want, want)
		}
	}
}
