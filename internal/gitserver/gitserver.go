// Package gitserver serves bare git repositories below a folder over smart HTTP,
// for reading and pushing, with git's own http-backend. Tests and the demo use
// it; it knows no users, so it belongs on the loopback address only.
package gitserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi" //nolint:gosec // the flaw was in Go before 1.6.3
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Server serves the repositories <root>/<name>.git at <address>/<name>.git.
type Server struct {
	root string
	cgi  *cgi.Handler
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// New makes a server over the folder root, which must exist. It fails when git's
// http-backend is not installed.
func New(root string) (*Server, error) {
	backend, err := findBackend()
	if err != nil {
		return nil, err
	}
	root, err = filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("find repositories: %w", err)
	}
	return &Server{root: root, cgi: &cgi.Handler{
		Path:   backend,
		Dir:    root,
		Stderr: io.Discard,
		Logger: log.New(io.Discard, "", 0),
		Env: []string{
			"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + root,
			"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=http.receivepack", "GIT_CONFIG_VALUE_0=true",
			// The repositories may belong to another user than the server's.
			"GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*",
		},
	}}, nil
}

func findBackend() (string, error) {
	for _, dir := range []string{"/usr/lib/git-core", "/usr/libexec/git-core", "/usr/local/libexec/git-core"} {
		path := filepath.Join(dir, "git-http-backend")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("git-http-backend is not installed; install the package git")
}

// Create makes the empty bare repository name.git, whose default branch will be
// the one given, and gives its folder. One that is there already is an error.
func (s *Server) Create(name, branch string) (string, error) {
	if !namePattern.MatchString(name) {
		return "", fmt.Errorf("create repository %q: use letters, digits, dots, hyphens and underscores", name)
	}
	dir := s.Dir(name)
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // the repositories are public
		return "", fmt.Errorf("create repository: %w", err)
	}
	for _, sub := range []string{"objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil { //nolint:gosec // the repositories are public
			return "", fmt.Errorf("create repository: %w", err)
		}
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o644); err != nil { //nolint:gosec // the repositories are public
		return "", fmt.Errorf("create repository: %w", err)
	}
	return dir, s.SetDefault(name, branch)
}

// SetDefault makes another branch the default one, whether it exists or not.
func (s *Server) SetDefault(name, branch string) error {
	head := filepath.Join(s.Dir(name), "HEAD")
	if err := os.WriteFile(head, []byte("ref: refs/heads/"+branch+"\n"), 0o644); err != nil { //nolint:gosec // the repositories are public
		return fmt.Errorf("set default branch: %w", err)
	}
	return nil
}

// Dir is the folder of a repository.
func (s *Server) Dir(name string) string { return filepath.Join(s.root, name+".git") }

// ServeHTTP answers git clients.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	base, isRepository := strings.CutSuffix(name, ".git")
	if !isRepository || !namePattern.MatchString(base) {
		http.NotFound(w, r)
		return
	}
	s.cgi.ServeHTTP(w, r)
}

// Serve answers on the listener until ctx ends, then waits a moment for requests
// that are under way.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close()
		}
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve git: %w", err)
	}
	<-ended
	return nil
}
