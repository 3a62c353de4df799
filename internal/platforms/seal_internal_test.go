package platforms

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/tree"
	"hefring/models"
)

// lockedTree is a staged platform as it is between the first and the second look.
func lockedTree(t *testing.T) *sealing {
	t.Helper()
	s := &Store{Root: t.TempDir(), MinFree: 1}
	dir, err := s.Stage(t.Context(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"web/index.php": "<?php // 1\n", "web/core/core.inc": "<?php // 2\n", "web/sites/sites.php": "<?php\n"} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	j := newSealing(s, dir, header{Docroot: "web"}, nil)
	if err := errors.Join(j.lock(t.Context()), j.share(t.Context()), j.close(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // so that the folder can be removed by an ordinary user
		_ = tree.Walk(t.Context(), dir, tree.Options{}, func(e tree.Entry) error {
			if e.Info.IsDir() {
				return e.Chmod(0o755)
			}
			return nil
		})
	})
	return j
}

// A program that the build left behind may write to a file that it had open before
// it was locked, and put its time back.
func TestSealing_Recheck(t *testing.T) {
	for what, c := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"nothing": {func(string) error { return nil }, ""},
		"content, time put back": {func(dir string) error {
			name := filepath.Join(dir, "web/core/core.inc")
			info, err := os.Stat(name)
			if err != nil {
				return err
			}
			return errors.Join(os.Chmod(name, 0o644), os.WriteFile(name, []byte("<?php // X\n"), 0o644),
				os.Chmod(name, 0o444), os.Chtimes(name, info.ModTime(), info.ModTime()))
		}, "web/core/core.inc (other content"},
		"a file more": {func(dir string) error {
			sites := filepath.Join(dir, "web/sites")
			return os.WriteFile(filepath.Join(sites, "evil.php"), nil, 0o644)
		}, "added: web/sites/evil.php"},
		"a file less": {func(dir string) error {
			web := filepath.Join(dir, "web")
			return errors.Join(os.Chmod(web, 0o755), os.Remove(filepath.Join(web, "index.php")), os.Chmod(web, 0o555))
		}, "missing: web/index.php"},
		"permissions": {func(dir string) error { return os.Chmod(filepath.Join(dir, "web/index.php"), 0o666) }, "permissions changed"},
		"a link out":  {func(dir string) error { return os.Symlink("../../..", filepath.Join(dir, "web/sites/out")) }, "leads out"},
	} {
		t.Run(what, func(t *testing.T) {
			j := lockedTree(t)
			if err := c.change(j.dir); err != nil {
				t.Fatal(err)
			}
			err := j.recheck(t.Context())
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if models.CodeOf(err) != models.Unavailable || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
