package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hefring/internal/doctor"
	"hefring/internal/gitserver"
	"hefring/internal/oneshot"
	"hefring/internal/run"
	"hefring/internal/secret"
)

const asProgram = "HEFRING_TEST_AS_PROGRAM"

// TestMain lets the test binary be the program: tests start it as people do.
func TestMain(m *testing.M) {
	if code, ok := run.Bridge(os.Args); ok {
		os.Exit(code)
	}
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program is hefring with an environment and a user.
type program struct {
	path string
	env  []string
	user *syscall.Credential
	in   string   // standard input
	by   []string // program that starts it, with arguments
}

type ended struct {
	code     int
	out, err string
}

func newProgram(t *testing.T) program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program{path: self}
}

func (p program) run(t *testing.T, args ...string) ended {
	t.Helper()
	argv := append(append(p.by, p.path), args...)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append([]string{asProgram + "=1", "GORACE=atexit_sleep_ms=0", "PATH=" + run.DefaultPath, "HEFRING_DATA=" + filepath.Join(os.TempDir(), "no-such-hefring")}, p.env...)
	cmd.Dir = filepath.Dir(p.path)
	cmd.Stdin = strings.NewReader(p.in)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return ended{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (p program) report(t *testing.T, args ...string) oneshot.Report {
	t.Helper()
	end := p.run(t, append(args, "--json")...)
	if end.code != 0 {
		t.Fatalf("%v: exit %d\n%s%s", args, end.code, end.out, end.err)
	}
	var r oneshot.Report
	if err := json.Unmarshal([]byte(end.out), &r); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, end.out)
	}
	return r
}

// repository serves a code base at <server>/site.git; wrap, which may be nil,
// stands before the server.
func repository(t *testing.T, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	handler := repositories(t)
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL + "/site.git"
}

func repositories(t *testing.T) http.Handler {
	t.Helper()
	work := t.TempDir()
	server, err := gitserver.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Create("site", "main"); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"web/index.php":           "<?php\n",
		"web/core/lib/Drupal.php": "<?php\nclass Drupal {\n  const VERSION = '10.5.8';\n}\n",
		"vendor/bin/drush":        "#!/bin/sh\n",
		"vendor/link":             "",
		"escape/README":           "x\n",
	} {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"add", "-A"},
		{"commit", "-q", "-m", "The first page"},
		{"push", "-q", server.Dir("site"), "HEAD:main"},
	} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.org", "GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.org")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return server
}

const loopback = "--allow=127.0.0.1/32"

func TestSourceCheck_PrintsRevisionKeyAndCost(t *testing.T) {
	url := repository(t, nil)
	p := newProgram(t)
	args := []string{"source", "check", "--type", "git", "--set", "url=" + url, loopback}
	r := p.report(t, args...)
	if !strings.HasPrefix(r.Revision, "git:refs/heads/main@sha1:") || len(r.BuildKey) != 64 || r.Note != "The first page" {
		t.Errorf("got %+v", r)
	}
	if r.Cost.Requests < 1 || r.Cost.Bytes < 100 || r.Cost.Seconds <= 0 {
		t.Errorf("cost %+v", r.Cost)
	}
	end := p.run(t, args...)
	for _, line := range []string{"revision     " + r.Revision, "build key    " + r.BuildKey, "requests"} {
		if !strings.Contains(end.out, line) {
			t.Errorf("%q is missing in\n%s", line, end.out)
		}
	}
	if again := p.report(t, append(args, "--set", "docroot=web")...); again.BuildKey == r.BuildKey || again.Revision != r.Revision {
		t.Errorf("another docroot is another platform: %+v", again)
	}
}

func TestSourceBuild_MakesTheTree(t *testing.T) {
	url := repository(t, nil)
	dir := filepath.Join(t.TempDir(), "code")
	r := newProgram(t).report(t, "source", "build", "--type", "git", "--set", "url="+url, loopback, dir)
	if r.Built == nil || r.Built.Files != 5 || r.Built.Platform == nil || r.Built.Platform.DrupalVersion != "10.5.8" {
		t.Errorf("got %+v", r.Built)
	}
	text, err := os.ReadFile(filepath.Join(dir, "web", "index.php"))
	if err != nil || string(text) != "<?php\n" {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
		t.Error("it holds .git")
	}
	// Part of it is no platform, and whole nevertheless.
	part := filepath.Join(t.TempDir(), "part")
	r = newProgram(t).report(t, "source", "build", "--type", "git", "--set", "url="+url, "--set", "subdirectory=escape", loopback, part)
	if r.Built.Platform != nil || r.Built.Unfit == "" || r.Built.Files != 1 {
		t.Errorf("got %+v", r.Built)
	}
}

func TestSource_ExitCodes(t *testing.T) {
	url := repository(t, nil)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(text string) string { return "--set=" + text }
	dir := filepath.Join(t.TempDir(), "code")
	for name, test := range map[string]struct {
		code int
		says string
		args []string
	}{
		"address blocked":    {1, "[AddressBlocked]", []string{"check", "--type=git", set("url=" + url)}},
		"no such folder":     {1, "no folder", []string{"check", "--type=git", set("url=" + url), set("subdirectory=none"), loopback}},
		"refused":            {3, "[Unreachable]", []string{"check", "--type=git", set("url=" + gone.URL + "/x.git"), loopback}},
		"no such type":       {2, "update type", []string{"check", "--type=none"}},
		"no such setting":    {2, "x: ", []string{"check", "--type=git", set("url=" + url), set("x=y")}},
		"missing setting":    {2, "url: ", []string{"check", "--type=git"}},
		"malformed setting":  {2, "--set url=VALUE", []string{"check", "--type=git", set("url")}},
		"missing file":       {2, "no such file", []string{"check", "--type=git", set("url=@" + full + "/none")}},
		"missing variable":   {2, "NONE", []string{"check", "--type=git", set("url=env:NONE")}},
		"secret in argument": {2, "token=@FILE", []string{"check", "--type=git", set("url=" + url), set("auth=token"), set("token=canary-c0ffee")}},
		"wrong network":      {2, "127.0.0.1/32", []string{"check", "--type=git", set("url=" + url), "--allow=everything"}},
		"folder is not free": {2, "not empty", []string{"build", "--type=git", set("url=" + url), loopback, full}},
		"build fails":        {1, "no folder", []string{"build", "--type=git", set("url=" + url), set("subdirectory=none"), loopback, dir}},
		"no type":            {2, "--type", []string{"check"}},
		"no folder":          {2, "<dir>", []string{"build", "--type=git"}},
		"by hand":            {2, "--folder", []string{"check", "--type=manual"}},
	} {
		t.Run(name, func(t *testing.T) {
			end := newProgram(t).run(t, append([]string{"source"}, test.args...)...)
			if end.code != test.code || !strings.Contains(end.err, test.says) || end.out != "" && !strings.Contains(end.out, "Usage:") {
				t.Errorf("exit %d, want %d that says %q\n%s%s", end.code, test.code, test.says, end.out, end.err)
			}
			if strings.Contains(end.err, "canary") {
				t.Errorf("it repeats the secret: %s", end.err)
			}
		})
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("a failed build left its folder")
	}
}

// Secrets come from files and the environment; arguments of whatever is started
// do not hold them.
func TestSource_Secrets(t *testing.T) {
	const secret = "canary-c0ffee-canary"
	url := repository(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, password, _ := r.BasicAuth(); password != secret {
				w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProgram(t)
	p.env, p.in = []string{"TOKEN=" + secret}, secret
	args := []string{"source", "check", "--type=git", "--set=url=" + url, "--set=auth=token", "--set=user=hefring", loopback}
	keys := map[string]bool{}
	for _, from := range []string{"@" + file, "env:TOKEN", "@-"} {
		keys[p.report(t, append(args, "--set=token="+from)...).BuildKey] = true
		dir := filepath.Join(t.TempDir(), "code")
		end := p.run(t, "source", "build", "--type=git", "--set=url="+url, "--set=auth=token", "--set=user=hefring", "--set=token="+from, loopback, dir)
		if end.code != 0 || strings.Contains(end.out+end.err, secret) {
			t.Errorf("%s: exit %d\n%s%s", from, end.code, end.out, end.err)
		}
	}
	if len(keys) != 1 {
		t.Errorf("the secret changes the build key: %v", keys)
	}
	p.env = []string{"TOKEN=wrong-" + secret}
	if end := p.run(t, append(args, "--set=token=env:TOKEN")...); end.code != 1 || strings.Contains(end.err, secret) || !strings.Contains(end.err, "[AuthenticationFailed]") {
		t.Errorf("exit %d\n%s", end.code, end.err)
	}
}

func TestSource_PrivateAuthority(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	mux.Handle("/git/", http.StripPrefix("/git", repositories(t)))
	mux.Handle("/composer/", http.StripPrefix("/composer", pages(packages(t, server.URL+"/composer"))))
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for kind, settings := range map[string][]string{
		"git":      {"--set=url=" + server.URL + "/git/site.git"},
		"composer": {"--set=package=acme/template", "--set=repository=" + server.URL + "/composer", "--set=only=1"},
	} {
		dir := filepath.Join(t.TempDir(), "code")
		args := append([]string{"source", "build", "--type=" + kind, loopback, dir}, settings...)
		if end := newProgram(t).run(t, args...); end.code != 3 || !strings.Contains(end.err, "[TLSInvalid]") || !strings.Contains(end.err, "--ca-file") {
			t.Errorf("%s: exit %d\n%s", kind, end.code, end.err)
		}
		if r := newProgram(t).report(t, append(args, "--ca-file="+caFile)...); r.Built.Files < 4 {
			t.Errorf("%s: got %+v", kind, r.Built)
		}
	}
}

// Ctrl-C in the middle of a build leaves nothing behind.
func TestSourceBuild_Interrupted(t *testing.T) {
	asked := make(chan struct{})
	url := repository(t, func(next http.Handler) http.Handler {
		var once sync.Once
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost { // after the first look, something is fetched
				_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice who leaves
				once.Do(func() { close(asked) })
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	base := t.TempDir()
	p := newProgram(t)
	cmd := exec.CommandContext(t.Context(), p.path, "source", "build", "--type=git", "--set=url="+url, loopback, filepath.Join(base, "code"))
	cmd.Env = []string{asProgram + "=1", "PATH=" + run.DefaultPath}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-asked:
	case err := <-ended:
		t.Fatalf("it ended before it fetched anything: %v\n%s", err, errs.String())
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := <-ended; err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v\n%s", err, errs.String())
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	if entries, err := os.ReadDir(base); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestSource_Manual(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "mine")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "index.php"), []byte("<?php\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "code")
	r := newProgram(t).report(t, "source", "build", "--type=manual", "--folder="+folder, dir)
	if r.Built.Files != 1 || !strings.HasPrefix(r.Revision, "manual:") {
		t.Errorf("got %+v", r)
	}
}

// ordinary is the program as an ordinary user runs it, with a folder of the
// user's own.
func ordinary(t *testing.T) (program, string) {
	t.Helper()
	base, err := os.MkdirTemp("", "hefring-user-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	p := newProgram(t)
	p.path = copyTo(t, p.path, filepath.Join(base, "hefring"))
	if os.Geteuid() == 0 {
		p.user = &syscall.Credential{Uid: 65534, Gid: 65534}
		if err := os.Chown(base, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	return p, base
}

func TestSource_OrdinaryUser(t *testing.T) {
	url := repository(t, nil)
	p, base := ordinary(t)
	r := p.report(t, "source", "build", "--type=git", "--set=url="+url, loopback, filepath.Join(base, "code"))
	info, err := os.Stat(filepath.Join(base, "code", "web", "index.php"))
	if err != nil || r.Built.Files != 5 {
		t.Fatalf("got %+v, %v", r.Built, err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid == 0 {
		t.Errorf("it belongs to %+v", stat)
	}
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if end := p.run(t, "source", "build", "--type=git", "--set=url="+url, loopback, "/usr/share/not-for-me"); end.code != 2 || !strings.Contains(end.err, "cannot be written") {
		t.Errorf("exit %d\n%s", end.code, end.err)
	}
}

// On a machine that lets nobody make namespaces nothing is built, unless the
// operator said so; the doctor says why.
func TestSource_WithoutSandbox(t *testing.T) {
	url := repository(t, nil)
	p, base := ordinary(t)
	p.by = []string{"bwrap", "--unshare-user", "--disable-userns", "--dev-bind", "/", "/", "--proc", "/proc", "--"}
	dir := filepath.Join(base, "code")
	args := []string{"source", "build", "--type=git", "--set=url=" + url, loopback, dir}
	if end := p.run(t, args...); end.code != 3 || !strings.Contains(end.err, "namespaces") || !strings.Contains(end.err, "hefring doctor") {
		t.Errorf("exit %d\n%s", end.code, end.err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("it was built")
	}
	examine := []string{"doctor", "--data=" + filepath.Join(base, "data"), "--json"}
	if f := finding(t, p.run(t, examine...), "sandbox"); f.State != doctor.Fail || !strings.Contains(f.Message, "does not start") || f.Fix == "" {
		t.Errorf("got %+v", f)
	}
	p.env = []string{"HEFRING_ALLOW_UNSANDBOXED_BUILDS=1"}
	if r := p.report(t, args...); r.Built.Files != 5 {
		t.Errorf("got %+v", r.Built)
	}
	if f := finding(t, p.run(t, examine...), "sandbox"); f.State != doctor.Warn {
		t.Errorf("got %+v", f)
	}
}

// finding reads the doctor's JSON, and holds the exit code to it.
func finding(t *testing.T, end ended, name string) doctor.Finding {
	t.Helper()
	var list []doctor.Finding
	if err := json.Unmarshal([]byte(end.out), &list); err != nil {
		t.Fatalf("%v\n%s%s", err, end.out, end.err)
	}
	if (end.code == 0) != doctor.Healthy(list) {
		t.Errorf("exit %d with %+v", end.code, list)
	}
	for _, f := range list {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no finding %s in %+v", name, list)
	return doctor.Finding{}
}

func TestSecretRotate(t *testing.T) {
	p := newProgram(t)
	file := filepath.Join(t.TempDir(), "secret.key")
	args := []string{"secret", "rotate", "--secret-key-file=" + file}
	if end := p.run(t, args...); end.code == 0 || !strings.Contains(end.err, "no key file") {
		t.Errorf("exit %d\n%s", end.code, end.err)
	}
	if _, err := secret.Load(file); err != nil {
		t.Fatal(err)
	}
	if end := p.run(t, args...); end.code != 0 || !strings.Contains(end.out, "holds 2 keys") {
		t.Errorf("exit %d\n%s%s", end.code, end.out, end.err)
	}
}

func TestDoctor_SaysWhatIsMissing(t *testing.T) {
	p := newProgram(t)
	data := filepath.Join(t.TempDir(), "data")
	if f := finding(t, p.run(t, "doctor", "--data="+data, "--json"), "sandbox"); f.State != doctor.OK {
		t.Errorf("got %+v", f)
	}
	missing := []string{"doctor", "--data=" + data, "--database=postgres://hefring:canary@127.0.0.1:1/x"}
	if f := finding(t, p.run(t, append(missing, "--json")...), "database"); f.State != doctor.Fail || strings.Contains(f.Message, "canary") {
		t.Errorf("got %+v", f)
	}
	end := p.run(t, missing...)
	if end.code != 1 || !strings.Contains(end.out, "FAIL  database") || !strings.Contains(end.out, "mend it with: ") || !strings.Contains(end.out, "ok    sandbox") {
		t.Errorf("exit %d\n%s", end.code, end.out)
	}
	if _, err := os.Lstat(data); err == nil {
		t.Error("the examination made the data folder")
	}
}

func copyTo(t *testing.T, from, to string) string {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return to
}
