package tidepool_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hefring/internal/tidepool"
)

func TestVersions_Order_EachAfterItsBase(t *testing.T) {
	t.Parallel()
	var seen []string
	for _, v := range tidepool.Versions() {
		if v.Base != "" && !slices.Contains(seen, v.Base) {
			t.Errorf("%s comes before its base %s", v.Name, v.Base)
		}
		if v.Message == "" || slices.Contains(seen, v.Name) {
			t.Errorf("version %q has no message or is listed twice", v.Name)
		}
		seen = append(seen, v.Name)
	}
	for _, name := range []string{
		tidepool.V1058, tidepool.V1062, tidepool.V1063, tidepool.Throws, tidepool.Fixed, tidepool.Fatal, tidepool.MissingModule, tidepool.SlowUpdate,
		tidepool.WhitePage, tidepool.WrongVersion, tidepool.Downgrade, tidepool.NoDocroot, tidepool.BrokenLock, tidepool.NeedsComposer,
	} {
		if !slices.Contains(seen, name) {
			t.Errorf("%s is not listed", name)
		}
	}
}

func TestWrite_UnknownVersion_NotExist(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := tidepool.Write(dir, "9.9.9"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestWrite_OldTree_ReplacedButForGit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{".git/HEAD", "stray/file"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := tidepool.Write(dir, tidepool.V1058); err != nil {
		t.Fatal(err)
	}
	exists(t, filepath.Join(dir, ".git/HEAD"))
	if _, err := os.Stat(filepath.Join(dir, "stray")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stray folder is still there: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "vendor/bin/drush"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o755 {
		t.Errorf("drush has mode %v, want 0755", info.Mode())
	}
}

func TestWrite_DeletingVersions_FilesGone(t *testing.T) {
	t.Parallel()
	for version, gone := range map[string]string{
		tidepool.MissingModule: "web/modules/custom/tidepool_guestbook",
		tidepool.NoDocroot:     "web/index.php",
		tidepool.BrokenLock:    "composer.lock",
		tidepool.NeedsComposer: "vendor",
	} {
		dir := t.TempDir()
		if err := tidepool.Write(dir, version); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s still has %s", version, gone)
		}
		exists(t, filepath.Join(dir, "web/core/lib/Drupal.php"))
	}
}

// Only the version that is meant to be broken may have a file that PHP cannot read.
func TestWrite_EveryVersion_ParsesButFatal(t *testing.T) {
	t.Parallel()
	const parse = `foreach (array_slice($argv, 1) as $f) { try { token_get_all(file_get_contents($f), TOKEN_PARSE); } catch (ParseError $e) { echo basename($f), "\n"; } }`
	for _, v := range tidepool.Versions() {
		dir := t.TempDir()
		if err := tidepool.Write(dir, v.Name); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "php", append([]string{"-r", parse, "--"}, phpFiles(t, dir)...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if v.Name == tidepool.Fatal {
			want = "tidepool_tides.module"
		}
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("%s: unreadable files %q, want %q", v.Name, got, want)
		}
	}
}

func phpFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && slices.Contains([]string{".php", ".inc", ".install", ".module", ".theme", ".engine"}, filepath.Ext(name)) {
			files = append(files, name)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("find PHP files: %d, %v", len(files), err)
	}
	return files
}

func composer(t *testing.T, dir string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "composer", "install", "--no-dev", "--no-interaction", "--no-progress")
	cmd.Dir = dir
	// A proxy that nobody listens on: whatever goes out fails.
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "COMPOSER_ALLOW_SUPERUSER=1",
		"http_proxy=http://127.0.0.1:9", "https_proxy=http://127.0.0.1:9",
	}
	return run(t, cmd)
}

func TestComposer_CommittedVendor_NothingToInstall(t *testing.T) {
	t.Parallel()
	for _, version := range []string{tidepool.V1058, tidepool.V1062, tidepool.Throws} {
		s := newSite(t, version, "")
		r := composer(t, s.root)
		if r.code != 0 {
			t.Fatalf("%s: composer ended with %d: %s", version, r.code, r.errout)
		}
		contains(t, r.errout, "Nothing to install, update or remove", "Generating autoload files")
		lacks(t, r.errout, "Warning: The lock file is not up to date")
		s.must(t, "site:install", "minimal", "--yes")
	}
}

func TestComposer_NeedsComposer_WorksAfterInstall(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.NeedsComposer, "")
	r := composer(t, s.root)
	if r.code != 0 {
		t.Fatalf("composer ended with %d: %s", r.code, r.errout)
	}
	contains(t, r.errout, "Installing drupal/core (10.6.3)")
	s.must(t, "site:install", "standard", "--yes")
	s.must(t, "updatedb", "--yes")
	if s.status(t)["bootstrap"] != "Successful" {
		t.Error("the site does not run on the code that Composer installed")
	}
}

func TestComposer_BrokenLock_ExitCode2(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.BrokenLock, "")
	r := composer(t, s.root)
	if r.code != 2 {
		t.Errorf("composer ended with %d, want 2", r.code)
	}
	contains(t, r.errout, "drupal/tidepool_moorings")
	if _, err := os.Stat(filepath.Join(s.root, "vendor")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a half vendor/ was left")
	}
}

func TestPackages_EachStep_VersionsChange(t *testing.T) {
	t.Parallel()
	want := map[string]map[string]string{
		tidepool.V1058:  {"drupal/core": "10.5.8", "drupal/tidepool_tides": "1.0.0", "tidepool/almanac": "2025.2.0", "drush/drush": "13.3.0"},
		tidepool.V1062:  {"drupal/core": "10.6.2", "drupal/tidepool_tides": "1.1.0", "tidepool/almanac": "2026.1.0", "drush/drush": "13.3.0"},
		tidepool.V1063:  {"drupal/core": "10.6.3", "drupal/tidepool_tides": "1.1.0", "tidepool/almanac": "2026.1.1", "drush/drush": "13.3.0"},
		tidepool.Throws: {"drupal/core": "11.0.0", "drupal/tidepool_tides": "2.0.0", "tidepool/almanac": "2026.1.1", "drush/drush": "13.3.0"},
	}
	for version, packages := range want {
		dir := t.TempDir()
		if err := tidepool.Write(dir, version); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, "vendor/composer/installed.json"))
		if err != nil {
			t.Fatal(err)
		}
		var list struct {
			Packages []struct{ Name, Version string } `json:"packages"`
		}
		decode(t, string(raw), &list)
		for _, p := range list.Packages {
			if packages[p.Name] != p.Version {
				t.Errorf("%s has %s %s, want %q", version, p.Name, p.Version, packages[p.Name])
			}
		}
		if len(list.Packages) != len(packages) {
			t.Errorf("%s has %d packages, want %d", version, len(list.Packages), len(packages))
		}
	}
}
