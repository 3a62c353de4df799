package platforms_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/platforms"
	"hefring/models"
)

// newStore is a store whose read-only trees the test can clean up.
func newStore(t *testing.T) *platforms.Store {
	t.Helper()
	s := &platforms.Store{Root: filepath.Join(t.TempDir(), "platforms"), Sites: "/srv/sites", MinFree: 1}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if _, err := s.Reconcile(ctx, func(platforms.Found) bool { return false }); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return s
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// drupal is the least that passes for a code base.
func drupal(docroot string) map[string]string {
	return map[string]string{
		filepath.Join(docroot, "index.php"):                                "<?php\n",
		filepath.Join(docroot, "core/lib/Drupal.php"):                      "<?php\nclass Drupal {\n  const VERSION = '10.6.2';\n  const CORE_COMPATIBILITY = '8.x';\n}\n",
		filepath.Join(docroot, "core/profiles/standard/standard.info.yml"): "name: Standard\ntype: profile\nversion: VERSION\n",
		filepath.Join(docroot, "core/profiles/testing/testing.info.yml"):   "name: Testing\ntype: profile\nhidden: true\n",
		filepath.Join(docroot, "core/modules/node/node.info.yml"):          "name: Node\ntype: module\nversion: VERSION\n",
		filepath.Join(docroot, "sites/default/default.settings.php"):       "<?php\n",
		"vendor/bin/drush":     "#!/usr/bin/env php\n",
		"vendor/autoload.php":  "<?php\n",
		"vendor/secret/x.json": "{}",
	}
}

func staged(t *testing.T, s *platforms.Store, id int64, files map[string]string) string {
	t.Helper()
	dir, err := s.Stage(t.Context(), id, 1)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, files)
	return dir
}

// published goes the whole way.
func published(t *testing.T, s *platforms.Store, name string) (root string, sealed platforms.Sealed) {
	t.Helper()
	dir := staged(t, s, 1, drupal("web"))
	if err := s.Prepare(t.Context(), dir, "web"); err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal(t.Context(), dir, "web")
	if err != nil {
		t.Fatal(err)
	}
	root, err = s.Publish(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return root, sealed
}

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	var e *models.Error
	if !errors.As(err, &e) {
		t.Errorf("want an error for people with %q, got %v", texts, err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(e.Message, text) {
			t.Errorf("want %q in %q", text, e.Message)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
