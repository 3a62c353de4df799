package manual_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/manual"
	"hefring/plugins/plugintest"
)

func codeBase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "web/index.php", "<?php\n", 0o640)
	write(t, dir, "vendor/bin/tool", "#!/bin/sh\n", 0o700)
	if err := os.Symlink("../vendor/bin/tool", filepath.Join(dir, "web", "tool")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func env(t *testing.T) plugins.Env {
	t.Helper()
	return plugins.Env{
		Run: run.New(run.Config{}), Egress: egress.New(egress.Config{}), Log: io.Discard,
		Scratch: t.TempDir(), Cache: t.TempDir(),
	}
}

func registrar(t *testing.T) plugins.Registrar {
	t.Helper()
	source, err := manual.New().Open(models.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	r, ok := source.(plugins.Registrar)
	if !ok {
		t.Fatal("the manual type is no Registrar")
	}
	return r
}

func TestPlugin_Suite(t *testing.T) {
	dir := codeBase(t)
	plugintest.Exercise(t, plugintest.Harness{
		Plugin: manual.New(), Settings: models.Settings{"docroot": "web"}, Elsewhere: models.Settings{"docroot": "nowhere"},
		Folder: dir, Untouched: []string{dir},
		Run: run.New(run.Config{}), Egress: egress.New(egress.Config{}),
	})
}

func TestSource_Check_SaysToRegister(t *testing.T) {
	_, err := registrar(t).Check(t.Context(), env(t), plugins.Version{})
	if models.CodeOf(err) != models.Invalid || !strings.Contains(models.Explain(err), "Register a folder") {
		t.Errorf("Check: %v", err)
	}
}

func TestSource_Build_CopiesWhatWasRegistered(t *testing.T) {
	dir, e, dst := codeBase(t), env(t), t.TempDir()
	r := registrar(t)
	v, err := r.Register(t.Context(), e, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Build(t.Context(), e, v, dst); err != nil {
		t.Fatal(err)
	}
	m, err := tree.Scan(t.Context(), dst, tree.Options{}, true)
	if err != nil || m.Digest() != v.Content {
		t.Errorf("the copy differs: %v", err)
	}
	info, err := os.Stat(filepath.Join(dst, "vendor/bin/tool"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("vendor/bin/tool: %v %v", info.Mode(), err)
	}
}

func TestSource_Build_RefusesChangedFolder(t *testing.T) {
	dir, e := codeBase(t), env(t)
	r := registrar(t)
	v, err := r.Register(t.Context(), e, dir)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "web/index.php", "<?php // other\n", 0o640)
	_, err = r.Build(t.Context(), e, v, t.TempDir())
	if models.CodeOf(err) != models.Conflict || !strings.Contains(models.Explain(err), "Register it again") {
		t.Errorf("Build after a change: %v", err)
	}
}

func TestSource_Register_RefusesPaths(t *testing.T) {
	dir, e := codeBase(t), env(t)
	data := filepath.Join(t.TempDir(), "data")
	write(t, data, "platforms/x/file", "x", 0o600)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	e.Forbidden = []string{data}
	for path, want := range map[string]string{
		"":                                    "absolute path",
		"web":                                 "absolute path",
		"-x":                                  "absolute path",
		dir + "/../" + filepath.Base(dir):     "without “..”",
		dir + "/":                             "without “..”",
		dir + "/nowhere":                      "no folder",
		dir + "/web/index.php":                "not a folder",
		dir + "/a\nb":                         "control characters",
		data:                                  "Hefring itself",
		filepath.Join(data, "platforms"):      "Hefring itself",
		filepath.Dir(data):                    "Hefring itself",
		filepath.Join(link, "platforms", "x"): "Hefring itself",
		t.TempDir():                           "no files",
	} {
		_, err := registrar(t).Register(t.Context(), e, path)
		if models.CodeOf(err) != models.Invalid || !strings.Contains(models.Explain(err), want) {
			t.Errorf("Register(%q): want %q, got %v", path, want, err)
		}
	}
}

func TestSource_Register_RefusesHostileTrees(t *testing.T) {
	for want, spoil := range map[string]func(dir string) error{
		"leads out":        func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "passwd")) },
		"leads out of":     func(dir string) error { return os.Symlink("../../etc", filepath.Join(dir, "web", "etc")) },
		"device, socket":   func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600) },
		"setuid or setgid": func(dir string) error { return os.Chmod(filepath.Join(dir, "vendor/bin/tool"), 0o755|os.ModeSetuid) },
	} {
		dir := codeBase(t)
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		_, err := registrar(t).Register(t.Context(), env(t), dir)
		if models.CodeOf(err) != models.Invalid || !strings.Contains(models.Explain(err), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestSource_Register_Cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := registrar(t).Register(ctx, env(t), codeBase(t)); err == nil {
		t.Error("a cancelled Register succeeded")
	}
}
