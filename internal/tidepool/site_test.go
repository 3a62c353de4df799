package tidepool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hefring/internal/tidepool"
)

const host = "alpha.test"

// site is one site on one written version; several may share a database, as before and after an upgrade.
type site struct {
	root     string
	uri      string
	database string
}

// settings is a settings.php as Hefring would write it; extra lines come last.
func (s site) settings(extra ...string) string {
	return fmt.Sprintf(`<?php
$databases['default']['default'] = ['driver' => 'sqlite', 'database' => '%s', 'prefix' => ''];
$settings['hash_salt'] = 'salt of the test';
$settings['config_sync_directory'] = '%s';
$settings['deployment_identifier'] = '%s';
$settings['trusted_host_patterns'] = ['^[a-z]+\.test$'];
%s
`, s.database, filepath.Join(s.root, "config"), s.root, strings.Join(extra, "\n"))
}

// newSite writes a version and the folder of a site on it; database is a file, new when empty.
func newSite(t *testing.T, version, database string, extra ...string) site {
	t.Helper()
	s := site{root: filepath.Join(t.TempDir(), "platform"), uri: host, database: database}
	if s.database == "" {
		s.database = filepath.Join(t.TempDir(), "site.sqlite")
	}
	if err := tidepool.Write(s.root, version); err != nil {
		t.Fatal(err)
	}
	s.put(t, "web/sites/sites.php", "<?php\n$sites = [];\n")
	s.put(t, "web/sites/"+host+"/settings.php", s.settings(extra...))
	if err := os.Mkdir(filepath.Join(s.root, "config"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unprotect(t, s.root) })
	return s
}

// installed is a new site with the standard profile's content.
func installed(t *testing.T, version string) site {
	t.Helper()
	s := newSite(t, version, "")
	s.must(t, "site:install", "standard", "--yes", "--site-name=Alpha Harbour", "--account-pass=secret")
	return s
}

// unprotect gives back the write permission that the installer takes, so that an ordinary user can remove the folder.
func unprotect(t *testing.T, root string) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(root, "web/sites/*"))
	if err != nil {
		t.Error(err)
	}
	for _, folder := range folders {
		if info, err := os.Stat(folder); err == nil && info.IsDir() {
			_ = os.Chmod(folder, 0o755)
		}
	}
}

func (s site) put(t *testing.T, name, content string) {
	t.Helper()
	file := filepath.Join(s.root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s site) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.root, "vendor/bin/drush"), append([]string{"--uri=" + s.uri}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.root}
	cmd.Dir = s.root
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

type result struct {
	code        int
	out, errout string
}

func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	err := cmd.Run()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		t.Fatalf("run %v: %v", cmd.Args, err)
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), errout: errout.String()}
}

func (s site) drush(t *testing.T, args ...string) result {
	t.Helper()
	return run(t, s.command(t.Context(), args...))
}

// must runs Drush and gives its stdout; any exit code but 0 ends the test.
func (s site) must(t *testing.T, args ...string) string {
	t.Helper()
	r := s.drush(t, args...)
	if r.code != 0 {
		t.Fatalf("drush %v: exit code %d\n%s%s", args, r.code, r.out, r.errout)
	}
	return r.out
}

// query runs SQL in the site through its own code and gives the rows as lists of strings.
func (s site) query(t *testing.T, sql string) [][]any {
	t.Helper()
	var rows [][]any
	out := s.must(t, "php:eval", `return \Drupal::database()->query("`+sql+`")->fetchAll(\PDO::FETCH_NUM)`, "--format=json")
	decode(t, out, &rows)
	return rows
}

func (s site) status(t *testing.T) map[string]any {
	t.Helper()
	var status map[string]any
	decode(t, s.must(t, "status", "--format=json"), &status)
	return status
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("decode %q: %v", text, err)
	}
}

func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, part := range wanted {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

func lacks(t *testing.T, text string, unwanted ...string) {
	t.Helper()
	for _, part := range unwanted {
		if strings.Contains(text, part) {
			t.Errorf("%q should not be in:\n%s", part, text)
		}
	}
}

func exists(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		if yes() {
			return
		}
		select {
		case <-t.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

// web is a PHP server over one platform.
type web struct {
	address string
	client  *http.Client
}

func (s site) serve(t *testing.T) web {
	t.Helper()
	address := freeAddress(t)
	cmd := exec.CommandContext(t.Context(), "php", "-S", address, ".ht.router.php")
	cmd.Dir = filepath.Join(s.root, "web")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	dialer := net.Dialer{}
	eventually(t, "the web server listens", func() bool {
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 10 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	return web{address: address, client: client}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (w web) ask(t *testing.T, method, name, path, form string, cookies ...*http.Cookie) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.address+path, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = name
	if form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, cookie := range cookies {
		request.AddCookie(cookie)
	}
	response, err := w.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{status: response.StatusCode, header: response.Header, body: string(body)}
}

func (w web) get(t *testing.T, path string) reply {
	t.Helper()
	return w.ask(t, http.MethodGet, host, path, "")
}

// statusOf checks one page's status and gives the page.
func (w web) statusOf(t *testing.T, path string, want int) reply {
	t.Helper()
	r := w.get(t, path)
	if r.status != want {
		t.Errorf("GET %s: status %d, want %d\n%s", path, r.status, want, r.body)
	}
	return r
}
