package gitserver_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/gitserver"
)

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.org", "GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestServer_Serve_PushAndClone(t *testing.T) {
	server, err := gitserver.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Create("site", "main"); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	url := "http://" + listener.Addr().String() + "/site.git"

	work := t.TempDir()
	git(t, work, "init", "-q", "-b", "main")
	if err := os.WriteFile(filepath.Join(work, "a.txt"), []byte("a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	git(t, work, "add", ".")
	git(t, work, "commit", "-qm", "first")
	git(t, work, "push", "-q", url, "main")
	clone := filepath.Join(t.TempDir(), "clone")
	git(t, work, "clone", "-q", url, clone)
	if got, want := git(t, clone, "rev-parse", "HEAD"), git(t, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("cloned %s, pushed %s", got, want)
	}

	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve ended with %v", err)
	}
}

func TestServer_Create_RefusesNames(t *testing.T) {
	server, err := gitserver.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "../x", "a/b", "-x", ".hidden"} {
		if _, err := server.Create(name, "main"); err == nil {
			t.Errorf("Create(%q) succeeded", name)
		}
	}
	if _, err := server.Create("twice", "main"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Create("twice", "main"); err == nil {
		t.Error("a repository was made twice")
	}
}

func TestServer_ServeHTTP_OnlyRepositories(t *testing.T) {
	server, err := gitserver.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/none.git/info/refs", "/etc/passwd", "/..git/HEAD"} {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
}
