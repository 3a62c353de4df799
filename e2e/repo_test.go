package e2e_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/gitserver"
	"hefring/internal/tidepool"
)

// forge serves git repositories over HTTP on the loopback address.
type forge struct {
	t      *testing.T
	server *gitserver.Server
	url    string
}

func newForge(t *testing.T) *forge {
	t.Helper()
	server, err := gitserver.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &forge{t: t, server: server, url: "http://" + listener.Addr().String()}
}

// repo is one repository with a clone to work in.
type repo struct {
	t    *testing.T
	url  string
	work string
}

func (f *forge) repo(name string) *repo {
	f.t.Helper()
	if _, err := f.server.Create(name, "main"); err != nil {
		f.t.Fatal(err)
	}
	r := &repo{t: f.t, url: f.url + "/" + name + ".git", work: filepath.Join(f.t.TempDir(), name)}
	git(f.t, "", "init", "--quiet", "--initial-branch=main", r.work)
	git(f.t, r.work, "remote", "add", "origin", r.url)
	return r
}

// push commits a version of the fixture, changed by the tweaks, and pushes it.
func (r *repo) push(version string, tweaks ...func(t *testing.T, dir string)) {
	r.t.Helper()
	if err := tidepool.Write(r.work, version); err != nil {
		r.t.Fatal(err)
	}
	for _, tweak := range tweaks {
		tweak(r.t, r.work)
	}
	git(r.t, r.work, "add", "--all", "--force")
	git(r.t, r.work, "commit", "--quiet", "--message", "Tidepool "+version)
	git(r.t, r.work, "push", "--quiet", "origin", "HEAD:main")
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Tidepool", "GIT_AUTHOR_EMAIL=tidepool@example.org",
		"GIT_COMMITTER_NAME=Tidepool", "GIT_COMMITTER_EMAIL=tidepool@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// talkative makes composer run a script of the code base that takes a while and
// says so line by line, as real builds do.
func talkative(t *testing.T, dir string) {
	t.Helper()
	name := filepath.Join(dir, "composer.json")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// At the front, so that the part that composer.lock stands for stays as it is.
	text = bytes.Replace(text, []byte("{\n"), []byte("{\n    \"scripts\": {\"post-install-cmd\": [\"@php build.php\"]},\n"), 1)
	const script = `<?php
for ($i = 1; $i <= 16; $i++) {
  echo "Compiling part $i of 16\n";
  usleep(200000);
}
`
	for file, data := range map[string][]byte{name: text, filepath.Join(dir, "build.php"): []byte(script)} {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
