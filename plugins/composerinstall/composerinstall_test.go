package composerinstall_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/egress"
	"hefring/internal/run"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/composerinstall"
)

func TestMain(m *testing.M) {
	if code, ok := run.Bridge(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func newEnv(t *testing.T, log *bytes.Buffer) plugins.Env {
	t.Helper()
	config := run.Config{}
	if os.Geteuid() == 0 {
		id, err := run.LookupIdentity("www-data")
		if err != nil {
			t.Fatal(err)
		}
		config.Identity = id
	}
	guard := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(guard.Close)
	return plugins.Env{Run: run.New(config), Egress: guard, Log: log, Scratch: t.TempDir(), Cache: t.TempDir()}
}

// local keeps composer from asking packagist.
const local = `"repositories":[{"packagist.org":false},{"type":"path","url":"packages/*","options":{"symlink":false}}]`

func codeBase(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// lock makes composer.lock with composer itself.
func lock(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "composer", "update", "--no-install", "--ignore-platform-reqs", "--no-interaction", "--quiet")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "COMPOSER_ALLOW_SUPERUSER=1", "COMPOSER_HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("composer update: %v\n%s", err, out)
	}
}

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	var e *models.Error
	if !errors.As(err, &e) {
		t.Fatalf("want an error for people, got %v", err)
	}
	for _, text := range texts {
		if !strings.Contains(e.Message, text) {
			t.Errorf("want %q in %q", text, e.Message)
		}
	}
}

func TestRun_InstallsWithoutDevPackages(t *testing.T) {
	dir := codeBase(t, map[string]string{
		"composer.json":              `{` + local + `,"require":{"acme/lib":"*"},"require-dev":{"acme/dev":"*"},"config":{"lock":true}}`,
		"packages/lib/composer.json": `{"name":"acme/lib","version":"1.0.0","autoload":{"files":["lib.php"]}}`,
		"packages/lib/lib.php":       "<?php\n",
		"packages/dev/composer.json": `{"name":"acme/dev","version":"1.0.0"}`,
	})
	lock(t, dir)
	var log bytes.Buffer
	if err := composerinstall.Run(t.Context(), newEnv(t, &log), dir, "key"); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for path, want := range map[string]bool{"vendor/acme/lib/lib.php": true, "vendor/autoload.php": true, "vendor/acme/dev": false} {
		if _, err := os.Lstat(filepath.Join(dir, path)); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	if !strings.Contains(log.String(), "acme/lib") {
		t.Errorf("composer's own words are not in the log: %s", log.String())
	}
}

func TestRun_SameTwice(t *testing.T) {
	var loaders []string
	for range 2 {
		dir := codeBase(t, map[string]string{
			"composer.json":              `{` + local + `,"require":{"acme/lib":"*"}}`,
			"packages/lib/composer.json": `{"name":"acme/lib","version":"1.0.0","autoload":{"files":["lib.php"]}}`,
			"packages/lib/lib.php":       "<?php\n",
		})
		lock(t, dir)
		var log bytes.Buffer
		if err := composerinstall.Run(t.Context(), newEnv(t, &log), dir, "key"); err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
		text, err := os.ReadFile(filepath.Join(dir, "vendor/autoload.php"))
		if err != nil {
			t.Fatal(err)
		}
		loaders = append(loaders, string(text))
	}
	if loaders[0] != loaders[1] {
		t.Errorf("two builds of one source differ: %v", loaders)
	}
}

func TestRun_WarnsWithoutLock(t *testing.T) {
	dir := codeBase(t, map[string]string{"composer.json": `{` + local + `}`})
	var log bytes.Buffer
	if err := composerinstall.Run(t.Context(), newEnv(t, &log), dir, "key"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "no composer.lock") {
		t.Errorf("log: %s", log.String())
	}
}

// A script of the code base must find none of the machine's secrets and no way
// out but the proxy.
func TestRun_ScriptsAreContained(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hidden"), 0o644); err != nil {
		t.Fatal(err)
	}
	probe := `<?php
$out = [];
$out[] = @file_get_contents('` + secret + `') === false ? 'secret-absent' : 'SECRET-READ';
$out[] = @fsockopen('169.254.169.254', 80, $a, $b, 1) ? 'NET-OPEN' : 'net-closed';
$out[] = @file_put_contents('/etc/hefring-test', 'x') ? 'ETC-WRITTEN' : 'etc-safe';
$out[] = getmyuid() === 0 && posix_geteuid() === 0 ? 'ROOT' : 'not-root';
file_put_contents('probe.txt', implode(',', $out));
`
	dir := codeBase(t, map[string]string{
		"composer.json": `{` + local + `,"scripts":{"post-autoload-dump":"@php probe.php"}}`,
		"probe.php":     probe,
	})
	var log bytes.Buffer
	if err := composerinstall.Run(t.Context(), newEnv(t, &log), dir, "key"); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	text, err := os.ReadFile(filepath.Join(dir, "probe.txt"))
	if err != nil || string(text) != "secret-absent,net-closed,etc-safe,not-root" {
		t.Errorf("%s %v", text, err)
	}
}

func TestRun_ExplainsFailures(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		lock   bool
		change map[string]string
		want   []string
	}{
		"no composer.json":  {files: map[string]string{"a": "1"}, want: []string{"no composer.json", "sub-directory"}},
		"not JSON":          {files: map[string]string{"composer.json": "{"}, want: []string{"not valid JSON"}},
		"script fails":      {files: map[string]string{"composer.json": `{` + local + `,"scripts":{"post-autoload-dump":"@php -r 'fwrite(STDERR, \"broken by us\\n\"); exit(3);'"}}`}, want: []string{"exit code 3", "log"}},
		"package not found": {files: map[string]string{"composer.json": `{"repositories":[{"packagist.org":false}],"require":{"acme/none":"*"}}`}, want: []string{"exit code 2", "cannot be installed together"}},
		"stale lock": {
			files: map[string]string{
				"composer.json":              `{` + local + `,"require":{"acme/lib":"1.0.0"}}`,
				"packages/lib/composer.json": `{"name":"acme/lib","version":"1.0.0"}`,
			},
			lock:   true,
			change: map[string]string{"composer.json": `{` + local + `,"require":{"acme/lib":"2.0.0"}}`},
			want:   []string{"exit code 4", "composer update --lock"},
		},
		"PHP too old": {
			files: map[string]string{
				"composer.json":              `{` + local + `,"require":{"acme/lib":"1.0.0"}}`,
				"packages/lib/composer.json": `{"name":"acme/lib","version":"1.0.0","require":{"php":">=99"}}`,
			},
			lock: true,
			want: []string{"PHP version"},
		},
		"download refused": {
			files: map[string]string{"composer.json": `{"repositories":[{"packagist.org":false},{"type":"package","package":{"name":"acme/far","version":"1.0.0",` +
				`"dist":{"type":"zip","url":"https://169.254.169.254/far.zip"}}}],"require":{"acme/far":"1.0.0"}}`},
			want: []string{"composer install failed", "169.254.169.254"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := codeBase(t, c.files)
			if c.lock {
				lock(t, dir)
			}
			for name, text := range c.change {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var log bytes.Buffer
			err := composerinstall.Run(t.Context(), newEnv(t, &log), dir, "key")
			wantError(t, err, c.want...)
			if t.Failed() {
				t.Log(log.String())
			}
		})
	}
}
