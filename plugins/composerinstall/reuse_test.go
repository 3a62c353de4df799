package composerinstall_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/platforms"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composerinstall"
)

// repository serves packages as archives; their names lead to their versions and
// files.
func repository(t *testing.T, packages map[string]map[string]map[string]string) string {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	listing := map[string]any{}
	for name, versions := range packages {
		entries := map[string]any{}
		for version, files := range versions {
			var archive bytes.Buffer
			z := zip.NewWriter(&archive)
			for file, text := range files {
				w, err := z.Create(file)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			sum := sha1.Sum(archive.Bytes())
			at := fmt.Sprintf("/%s-%s.zip", strings.ReplaceAll(name, "/", "-"), version)
			mux.HandleFunc("GET "+at, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive.Bytes()) })
			entries[version] = map[string]any{
				"name": name, "version": version, "type": "library", "bin": []string{"tool-" + path.Base(name)}, "autoload": map[string]any{"classmap": []string{"src"}},
				"dist": map[string]string{"type": "zip", "url": server.URL + at, "shasum": hex.EncodeToString(sum[:]), "reference": version},
			}
		}
		listing[name] = entries
	}
	mux.HandleFunc("GET /packages.json", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"packages": listing})
	})
	return `"repositories":[{"packagist.org":false},{"type":"composer","url":"` + server.URL + `"}],"config":{"secure-http":false}`
}

func library(text string) map[string]string {
	return map[string]string{"tool-" + text[:1]: "#!/usr/bin/env php\n<?php\n", "src/a/A.php": "<?php\nclass A" + text + " {}\n", "empty/": "", "README": text}
}

type warm struct {
	t     *testing.T
	store *platforms.Store
	env   plugins.Env
	log   *bytes.Buffer
	id    int64
}

func newWarm(t *testing.T) *warm {
	t.Helper()
	w := &warm{t: t, store: &platforms.Store{Root: filepath.Join(t.TempDir(), "platforms"), MinFree: 1}, log: &bytes.Buffer{}}
	w.env = newEnv(t, w.log)
	t.Cleanup(func() {
		if _, err := w.store.Reconcile(context.WithoutCancel(t.Context()), func(platforms.Found) bool { return false }); err != nil {
			t.Error(err)
		}
	})
	return w
}

// install builds, and gives the digest of the tree as Composer left it.
func (w *warm) install(files map[string]string, older ...models.Platform) (p models.Platform, digest string) {
	w.t.Helper()
	w.id++
	w.log.Reset()
	dir, err := w.store.Stage(w.t.Context(), w.id, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	env := w.env
	env.Older = w.store.Older(older...)
	if err := composerinstall.Run(w.t.Context(), env, dir, "key"); err != nil {
		w.t.Fatalf("%v\n%s", err, w.log)
	}
	m, err := tree.Scan(w.t.Context(), dir, tree.Options{}, true)
	if err != nil {
		w.t.Fatal(err)
	}
	sealed, err := w.store.Seal(w.t.Context(), dir, "", env.Older...)
	if err != nil {
		w.t.Fatal(err)
	}
	root, err := w.store.Publish(dir, fmt.Sprintf("p%d", w.id))
	if err != nil {
		w.t.Fatal(err)
	}
	return models.Platform{Root: root, ManifestDigest: sealed.Digest}, m.Digest()
}

// differences names the files that two trees do not have in common.
func differences(t *testing.T, a, b string) string {
	t.Helper()
	lines := map[tree.Line]int{}
	for i, dir := range []string{a, b} {
		m, err := tree.Scan(t.Context(), dir, tree.Options{}, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range m {
			lines[line] += 1 + i
		}
	}
	var names []string
	for line, in := range lines {
		if in != 3 {
			names = append(names, fmt.Sprintf("%s only in %d", line.Path, in))
		}
	}
	return strings.Join(names, ", ")
}

func (w *warm) wantWhole(list ...models.Platform) {
	w.t.Helper()
	for _, p := range list {
		if findings, err := w.store.Verify(w.t.Context(), p.Root, p.ManifestDigest); err != nil || len(findings) > 0 {
			w.t.Errorf("%s: %v %v", p.Root, findings, err)
		}
	}
}

// project is composer.json with its lock for these versions.
func project(t *testing.T, settings, versions string, more map[string]string) map[string]string {
	t.Helper()
	files := map[string]string{"composer.json": `{` + settings + `,"require":{"acme/a":"*","acme/b":"*"}}`}
	maps.Copy(files, more)
	locking := map[string]string{"composer.json": `{` + settings + `,"require":{"acme/a":"*","acme/b":"` + versions + `"}}`}
	dir := codeBase(t, locking)
	lock(t, dir)
	text, err := os.ReadFile(filepath.Join(dir, "composer.lock"))
	if err != nil {
		t.Fatal(err)
	}
	// The lock fits composer.json's own hash.
	if err := os.WriteFile(filepath.Join(dir, "composer.json"), []byte(files["composer.json"]), 0o600); err != nil {
		t.Fatal(err)
	}
	files["composer.lock"] = string(text)
	return files
}

func TestRun_TakesPackagesOfOlder(t *testing.T) {
	settings := repository(t, map[string]map[string]map[string]string{
		"acme/a": {"1.0.0": library("a")}, "acme/b": {"1.0.0": library("b1"), "2.0.0": library("b2")},
	})
	w := newWarm(t)
	first, _ := w.install(project(t, settings, "1.0.0", nil))
	for name, c := range map[string]struct {
		files map[string]string
		taken string
	}{
		"same packages":        {project(t, settings, "1.0.0", map[string]string{"index.php": "<?php // new\n"}), "2 packages are"},
		"one package upgraded": {project(t, settings, "2.0.0", nil), "1 packages are"},
		"other manifest":       {project(t, settings+`,"description":"x"`, "1.0.0", nil), ""},
		"scripts that write in place": {
			project(t, settings+`,"scripts":{"post-install-cmd":"@php -r \"file_put_contents('vendor/acme/a/README', 'x', FILE_APPEND);\""}`, "1.0.0", nil), "",
		},
	} {
		cold, want := w.install(c.files)
		second, got := w.install(c.files, first)
		if want != got {
			t.Errorf("%s: with packages of the older platform the tree differs: %s", name, differences(t, cold.Root, second.Root))
		}
		if said := strings.Contains(w.log.String(), "platform before"); said != (c.taken != "") || !strings.Contains(w.log.String(), c.taken) {
			t.Errorf("%s: %s", name, w.log)
		}
		w.wantWhole(first, cold, second)
	}
}

func TestRun_DoesNotTakeTamperedPackages(t *testing.T) {
	settings := repository(t, map[string]map[string]map[string]string{"acme/a": {"1.0.0": library("a")}, "acme/b": {"1.0.0": library("b")}})
	w := newWarm(t)
	files := project(t, settings, "1.0.0", nil)
	first, want := w.install(files)
	name := filepath.Join(first.Root, "vendor/acme/a/README")
	for _, step := range []func() error{
		func() error { return os.Chmod(name, 0o644) },
		func() error { return os.WriteFile(name, []byte("z"), 0o600) },
		func() error { return os.Chmod(name, 0o444) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	second, got := w.install(files, first)
	if got != want || !strings.Contains(w.log.String(), "cannot be used") {
		t.Errorf("the tampered file was taken: %s", w.log)
	}
	w.wantWhole(second)
}
