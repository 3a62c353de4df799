package plugintest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// suite holds the page's update type to the contract, as its author would.
const suite = `package tarball_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"testing"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins/plugintest"
	"hefring/plugins/tarball"
)

func TestMain(m *testing.M) {
	if code, ok := run.Bridge(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func pack(t *testing.T) []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	files := tar.NewWriter(zip)
	noise := make([]byte, 100_000) // does not shrink
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for name, text := range map[string]string{"site/index.php": "<?php\n", "site/core/x": string(noise)} {
		if err := files.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPlugin_Suite(t *testing.T) {
	const token = "canary-c0ffee-canary"
	body := pack(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/site.tar.gz":
			http.NotFound(w, r)
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("If-None-Match") == "\"1\"":
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("ETag", "\"1\"")
			_, _ = w.Write(body)
		}
	}))
	t.Cleanup(server.Close)
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(guard.Close)
	plugintest.Exercise(t, plugintest.Harness{
		Plugin:    tarball.New(),
		Settings:  models.Settings{"url": server.URL + "/site.tar.gz", "token": token},
		Elsewhere: models.Settings{"url": "https://nowhere.example/x.tar.gz"},
		Broken: []models.Settings{
			{"url": server.URL + "/site.tar.gz", "token": "wrong-" + token},
			{"url": server.URL + "/other.tar.gz", "token": token},
		},
		Wrong: map[string][]string{"url": {"https://user:secret@example.org/x", "ftp://example.org/x", "https:///x"}},
		Run:   run.New(run.Config{}), Egress: guard,
	})
}
`

// TestPage_ExampleIsAnUpdateType compiles the update type of the page and runs
// the suite on it.
func TestPage_ExampleIsAnUpdateType(t *testing.T) {
	code := example(t)
	if out, err := exercise(t, code); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// The suite finds what is wrong with a type that does it another way.
func TestExercise_FindsMistakes(t *testing.T) {
	code := example(t)
	for name, test := range map[string]struct{ old, now, says string }{
		"secret in the note":      {`Label: content[:7],`, `Label: content[:7], Note: s.token,`, "holds a secret"},
		"secret in the log":       {`"Downloading %s", s.url`, `"Downloading %s", s.token`, "the log holds a secret"},
		"one upstream for all":    {`Key: s.url + " " + hex.EncodeToString(secret[:8])`, `Key: hex.EncodeToString(secret[:0]) + "x"`, "the upstream is the same"},
		"never asks with an ETag": {`header.Set("If-None-Match", etag)`, `header.Set("X", etag)`, "a check with nothing new took"},
		"trusts what it is given": {`if page.Status == http.StatusNotModified {`, `if last.Content != "" {`, "Check_ToleratesDamagedLast"},
		"accepts all addresses":   {`err != nil || u.Host == ""`, `err != nil || true && u == nil`, "want a models.Error at the field"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Count(code, test.old) != 1 {
				t.Fatalf("%q stands in the page %d times", test.old, strings.Count(code, test.old))
			}
			out, err := exercise(t, strings.Replace(code, test.old, test.now, 1))
			if err == nil || !strings.Contains(out, test.says) {
				t.Errorf("want a failure that says %q, got %v\n%s", test.says, err, out)
			}
		})
	}
}

// example is the Go code of the page.
func example(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/update-types.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```go\n")
	code, _, found := strings.Cut(rest, "\n```\n")
	if !found {
		t.Fatal("the page holds no example")
	}
	return code + "\n"
}

// exercise compiles an update type in a folder of this module that is not on the
// disk, and runs the suite on it.
func exercise(t *testing.T, code string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	overlay := map[string]string{}
	for name, text := range map[string]string{"tarball.go": code, "tarball_test.go": suite} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		place, err := filepath.Abs(filepath.Join("../tarball", name))
		if err != nil {
			t.Fatal(err)
		}
		overlay[place] = file
	}
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"gofmt", "-d", dir},
		{"go", "test", "-overlay=" + filepath.Join(dir, "overlay.json"), "-vet=off", "-c", "-o", filepath.Join(dir, "suite"), "hefring/plugins/tarball"},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "suite")).CombinedOutput()
	return string(out), err
}
