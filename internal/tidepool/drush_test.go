package tidepool_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hefring/internal/tidepool"
)

func TestDrush_Version_NeedsNoSite(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.Fatal, "")
	contains(t, s.must(t, "--version"), "Drush Commandline Tool 13.3.0")
	contains(t, s.must(t, "version"), "13.3.0")
}

// Pitfall 23.
func TestDrush_NoHome_ExitCode255(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.V1058, "")
	cmd := s.command(t.Context(), "status")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	r := run(t, cmd)
	if r.code != 255 {
		t.Errorf("exit code %d, want 255", r.code)
	}
	contains(t, r.errout, "Cannot find the home directory path")
}

func TestDrush_BadCommandLine_ExitCode1(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.V1058, "")
	for _, args := range [][]string{{"status", "--nonsense"}, {"nonsense"}, {"-z", "status"}, {"status", "--root=/"}, {}} {
		if r := s.drush(t, args...); r.code != 1 || r.out != "" || r.errout == "" {
			t.Errorf("drush %v: exit code %d, stdout %q, stderr %q", args, r.code, r.out, r.errout)
		}
	}
}

func TestDrush_Status_Healthy(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	status := s.status(t)
	for key, want := range map[string]any{
		"bootstrap": "Successful", "db-status": "Connected", "db-driver": "sqlite", "drupal-version": "10.5.8", "uri": "http://" + host,
		"site": "sites/" + host, "root": filepath.Join(s.root, "web"), "install-profile": "standard", "files": "sites/" + host + "/files",
	} {
		if status[key] != want {
			t.Errorf("%s is %v, want %v", key, status[key], want)
		}
	}
	if r := s.drush(t, "status", "--format=json", "--root="+s.root, "-y", "-n", "--no-ansi"); r.code != 0 {
		t.Errorf("with Drush's general options: exit code %d: %s", r.code, r.errout)
	}
}

// Pitfall 6.
func TestDrush_Status_UnknownSiteHasNoBootstrap(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	s.uri = "nobody.test"
	status := s.status(t)
	if _, found := status["bootstrap"]; found || status["site"] != "sites/default" {
		t.Errorf("status of an unknown site: %v", status)
	}
}

// Pitfall 6.
func TestDrush_WrongDatabase_OnlyVersionAndBootstrapFailed(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.V1058, filepath.Join(t.TempDir(), "missing", "site.sqlite"))
	if status := s.status(t); len(status) != 1 || status["drupal-version"] != "10.5.8" {
		t.Errorf("status with a wrong database: %v", status)
	}
	r := s.drush(t, "pm:list", "--format=json")
	if r.code != 1 {
		t.Errorf("pm:list: exit code %d, want 1", r.code)
	}
	contains(t, r.errout, "Bootstrap failed. Run your command with -vvv")
}

// Pitfall 4.
func TestDrush_NoSitesPHP_SiteFolderIgnored(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.V1058, "")
	if err := os.Remove(filepath.Join(s.root, "web/sites/sites.php")); err != nil {
		t.Fatal(err)
	}
	if site := s.status(t)["site"]; site != "sites/default" {
		t.Errorf("site is %v, want sites/default", site)
	}
	r := s.drush(t, "site:install", "standard", "--yes")
	if r.code == 0 {
		t.Error("site:install succeeded")
	}
	contains(t, r.errout, "Call to a member function getInstallTasks() on null")
}

func TestDrush_SiteInstall_Profiles(t *testing.T) {
	t.Parallel()
	for profile, guestbook := range map[string]bool{"minimal": false, "standard": true, "harbour": true} {
		s := newSite(t, tidepool.V1062, "")
		r := s.drush(t, "site:install", profile, "-y", "--site-name=Quay & Co", "--account-name=root", "--account-mail=root@alpha.test", "--locale=da")
		if r.code != 0 {
			t.Fatalf("%s: %s", profile, r.errout)
		}
		contains(t, r.errout, "[success] Installation complete.  User name: root  User password: ")
		var modules map[string]map[string]any
		decode(t, s.must(t, "pm:list", "--format=json", "--status=enabled", "--type=module"), &modules)
		if _, found := modules["tidepool_guestbook"]; found != guestbook {
			t.Errorf("%s: guestbook enabled is %v, want %v", profile, found, guestbook)
		}
		if m := modules["system"]; m["status"] != "Enabled" || m["version"] != "10.6.2" || m["package"] != "Core" || m["type"] != "module" {
			t.Errorf("system is listed as %v", m)
		}
		// A fresh install is at the newest schema of its code.
		if r := s.drush(t, "updatedb:status", "--format=json"); r.out != "" {
			t.Errorf("%s: updates are pending after installing: %s", profile, r.out)
		}
	}
	s := newSite(t, tidepool.V1058, "")
	if r := s.drush(t, "site:install", "nonsense", "-y"); r.code != 1 {
		t.Errorf("an unknown profile: exit code %d, want 1", r.code)
	}
}

func TestDrush_SiteInstall_GivenPasswordNotShown(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.V1058, "")
	r := s.drush(t, "site:install", "minimal", "-y", "--account-pass=hunter2")
	contains(t, r.errout, "[success] Installation complete.")
	lacks(t, r.errout+r.out, "hunter2", "User password")
}

// Pitfalls 20 and 21.
func TestDrush_SiteInstall_KeepsReadySettingsAndProtectsThem(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	folder := filepath.Join(s.root, "web/sites", host)
	content, err := os.ReadFile(filepath.Join(folder, "settings.php"))
	if err != nil {
		t.Fatal(err)
	}
	if string(content) != s.settings() {
		t.Errorf("settings.php was changed:\n%s", content)
	}
	for name, want := range map[string]os.FileMode{folder: 0o555, filepath.Join(folder, "settings.php"): 0o444} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
}

// Pitfall 21.
func TestDrush_SiteInstall_RewritesSettingsWithoutSyncFolder(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.V1058, "")
	if err := os.Remove(filepath.Join(s.root, "config")); err != nil {
		t.Fatal(err)
	}
	s.must(t, "site:install", "minimal", "-y")
	content, err := os.ReadFile(filepath.Join(s.root, "web/sites", host, "settings.php"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(content), "$databases['default']['default'] =") != 2 || strings.Count(string(content), "$settings['hash_salt'] =") != 2 {
		t.Errorf("nothing was appended:\n%s", content)
	}
	if s.status(t)["bootstrap"] != "Successful" {
		t.Error("the site does not run with the settings that the installer wrote")
	}
}

// Pitfall 12.
func TestDrush_UpdatedbStatus_NothingPendingIsEmpty(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	r := s.drush(t, "updatedb:status", "--format=json")
	if r.code != 0 || r.out != "" {
		t.Errorf("exit code %d, stdout %q, want 0 and nothing", r.code, r.out)
	}
	contains(t, r.errout, "[success] No database updates required.")
	// Code only: the next release but one has nothing for a site of the release before it.
	middle := newSite(t, tidepool.V1062, s.database)
	middle.must(t, "updatedb", "-y")
	if r := newSite(t, tidepool.V1063, s.database).drush(t, "updatedb:status", "--format=json"); r.out != "" {
		t.Errorf("10.6.3 has updates pending: %s", r.out)
	}
}

func TestDrush_Updatedb_AppliesPending(t *testing.T) {
	t.Parallel()
	old := installed(t, tidepool.V1058)
	s := newSite(t, tidepool.V1062, old.database)
	var pending map[string]struct {
		Module      string `json:"module"`
		UpdateID    int    `json:"update_id"` //nolint:tagliatelle // Drush's name
		Description string `json:"description"`
		Type        string `json:"type"`
	}
	decode(t, s.must(t, "updatedb:status", "--format=json"), &pending)
	if p := pending["tidepool_tides_update_10101"]; len(pending) != 2 || p.Module != "tidepool_tides" || p.UpdateID != 10101 || p.Type != "hook_update_n" || p.Description != "Add the tidal range to every reading." {
		t.Errorf("pending: %+v", pending)
	}
	r := s.drush(t, "updatedb", "--no-cache-clear", "-y")
	if r.code != 0 {
		t.Fatalf("updatedb: %s", r.errout)
	}
	contains(t, r.out, "Update ID", "system           10600")
	contains(t, r.errout, "[notice] Update started: system_update_10600", "[notice] Update completed: tidepool_tides_update_10101", "[success] Finished performing updates.")
	if rows := s.query(t, "SELECT COUNT(*) FROM {tide_reading} WHERE range_cm = high_cm - low_cm AND range_cm > 0"); asText(rows) != "4" {
		t.Errorf("rows with a range: %v", rows)
	}
	if rows := s.query(t, "SELECT summary FROM {node_field_data} WHERE nid = 2"); asText(rows) != "Twelve berths are free from November to March." {
		t.Errorf("summary: %v", rows)
	}
	contains(t, s.drush(t, "updatedb", "-y").errout, "[success] No pending updates.")
	if on := s.must(t, "state:get", "system.maintenance_mode"); strings.TrimSpace(on) != "" {
		t.Errorf("maintenance mode is %q after updating", on)
	}
}

// asText is the first cell of a query's answer.
func asText(rows [][]any) string {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return ""
	}
	return fmt.Sprint(rows[0][0])
}

// Pitfall 14.
func TestDrush_UpdatedbThrows_EarlierAndPartialWritesStay(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.Throws, installed(t, tidepool.V1063).database)
	r := s.drush(t, "updatedb", "-y")
	if r.code != 1 {
		t.Errorf("exit code %d, want 1", r.code)
	}
	contains(t, r.errout, "Update completed: system_update_11000", "[error]  Call to undefined function tidepool_tides_station_code()",
		"[error]  Update failed: tidepool_tides_update_11001", "[error]  Update aborted by: tidepool_tides_update_11001")
	if log := asText(s.query(t, "SELECT message FROM {harbour_log}")); log != "The log was opened." {
		t.Errorf("the earlier update left %q", log)
	}
	if n := asText(s.query(t, "SELECT COUNT(*) FROM {tide_reading} WHERE station <> ''")); n != "2" {
		t.Errorf("the failing update left %s rows, want 2", n)
	}
	if on := strings.TrimSpace(s.must(t, "state:get", "system.maintenance_mode")); on != "" {
		t.Errorf("maintenance mode is %q, want it off again", on)
	}
	contains(t, s.must(t, "updatedb:status", "--format=json"), "tidepool_tides_update_11001")
}

func TestDrush_UpdatedbFixed_AppliesBoth(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.Fixed, installed(t, tidepool.V1063).database)
	s.must(t, "updatedb", "-y")
	if n := asText(s.query(t, "SELECT COUNT(*) FROM {tide_reading} WHERE station <> ''")); n != "4" {
		t.Errorf("%s readings have a station, want 4", n)
	}
	contains(t, s.serve(t).statusOf(t, "/?x=1", 200).body, "tidepool 11.0.1")
}

// slowUpdate starts updatedb of the slow version and waits until it has done its first step.
func slowUpdate(t *testing.T) (site, *exec.Cmd) {
	t.Helper()
	s := newSite(t, tidepool.SlowUpdate, installed(t, tidepool.V1063).database)
	cmd := s.command(t.Context(), "updatedb", "-y")
	cmd.Env = append(cmd.Env, "TIDEPOOL_SLOW_SECONDS=1.5")
	errout, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	lines := bufio.NewScanner(errout)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Computed 1 of 20 parts.") {
			return s, cmd
		}
	}
	t.Fatal("the slow update never began")
	return s, cmd
}

// Pitfall 15.
func TestDrush_UpdatedbParentTerminated_ChildGoesOn(t *testing.T) {
	t.Parallel()
	s, cmd := slowUpdate(t)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the parent outlived SIGTERM")
	}
	eventually(t, "the orphan finishes", func() bool {
		return strings.TrimSpace(s.must(t, "php:eval", `echo \Drupal::keyValue("system.schema")->get("tidepool_tides")`)) == "10201"
	})
	eventually(t, "the orphan puts maintenance mode off", func() bool {
		return strings.TrimSpace(s.must(t, "state:get", "system.maintenance_mode")) == ""
	})
}

// Pitfall 16.
func TestDrush_UpdatedbGroupKilled_MaintenanceModeStaysForGood(t *testing.T) {
	t.Parallel()
	s, cmd := slowUpdate(t)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	maintenance := func() string { return strings.TrimSpace(s.must(t, "state:get", "system.maintenance_mode")) }
	if maintenance() != "1" {
		t.Fatal("maintenance mode is off after the kill")
	}
	again := s.command(t.Context(), "updatedb", "-y")
	again.Env = append(again.Env, "TIDEPOOL_SLOW_SECONDS=0.01")
	if r := run(t, again); r.code != 0 {
		t.Fatalf("updatedb again: %s", r.errout)
	}
	if maintenance() != "1" {
		t.Error("the next updatedb put maintenance mode off; Drush restores what it finds")
	}
	s.must(t, "state:set", "system.maintenance_mode", "0", "--input-format=integer")
	if maintenance() != "0" {
		t.Error("state:set did not put maintenance mode off")
	}
}

// Pitfalls 13 and 18.
func TestDrush_MissingModule_EverythingLooksWell(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.MissingModule, installed(t, tidepool.V1063).database)
	r := s.drush(t, "updatedb", "-y")
	if r.code != 0 {
		t.Errorf("updatedb: exit code %d, want 0", r.code)
	}
	contains(t, r.errout, "Module tidepool_guestbook has an entry in the system.schema key/value storage, but is missing from your site.", "tidepool_guestbook. Review")
	contains(t, r.out, "Requirements check reports errors. Do you wish to continue?: yes.")
	s.must(t, "cache:rebuild")
	contains(t, s.must(t, "config:get", "core.extension", "module", "--format=json"), `"core.extension:module"`, `"tidepool_guestbook": 0`)
	lacks(t, s.must(t, "pm:list", "--format=json"), "tidepool_guestbook")
	contains(t, s.must(t, "core:requirements", "--format=json", "--severity=2"), "it is missing: tidepool_guestbook")
	s.serve(t).statusOf(t, "/node/1?x=1", 200)
}

// Pitfall 13.
func TestDrush_Updatedb_WithoutYesCancelled(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.V1062, installed(t, tidepool.V1058).database)
	cmd := s.command(t.Context(), "updatedb")
	cmd.Stdin = strings.NewReader("no\n")
	if r := run(t, cmd); r.code != 1 || !strings.Contains(r.errout, "Cancelled.") {
		t.Errorf("exit code %d, %s", r.code, r.errout)
	}
	contains(t, s.must(t, "updatedb:status", "--format=json"), "system_update_10600")
}

// Pitfall 13.
func TestDrush_Downgrade_AcceptedByYes(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.Downgrade, installed(t, tidepool.V1058).database)
	newSite(t, tidepool.V1062, s.database).must(t, "updatedb", "-y")
	r := s.drush(t, "updatedb", "-y")
	if r.code != 0 || s.status(t)["drupal-version"] != "10.5.9" {
		t.Errorf("exit code %d, status %v", r.code, s.status(t))
	}
	contains(t, r.errout, "The version of the /System/ module that you are attempting to update to is missing update 11300 (which was marked as an equivalent by 10600). Update to at least Drupal Core 11.3.0.", "No pending updates.")
	var schema map[string]int
	decode(t, s.must(t, "php:eval", `return \Drupal::keyValue("system.schema")->getAll()`, "--format=json"), &schema)
	var available []int
	decode(t, s.must(t, "php:eval", `return \Drupal::service("update.update_hook_registry")->getAvailableUpdates("tidepool_tides")`, "--format=json"), &available)
	if schema["tidepool_tides"] != 10101 || schema["system"] != 10600 || len(available) != 0 {
		t.Errorf("schema %v, available %v", schema, available)
	}
	s.serve(t).statusOf(t, "/node/1?x=1", 200)
}

// Pitfall 17.
func TestDrush_Fatal_EveryCommandFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, tidepool.Fatal, installed(t, tidepool.V1063).database)
	for _, args := range [][]string{
		{"status", "--format=json"},
		{"updatedb:status", "--format=json"},
		{"updatedb", "-y"},
		{"cache:rebuild"},
		{"pm:list", "--format=json"},
		{"state:get", "system.maintenance_mode"},
		{"php:eval", "return 1"},
		{"user:login"},
	} {
		r := s.drush(t, args...)
		if r.code != 1 {
			t.Errorf("drush %v: exit code %d, want 1", args, r.code)
		}
		contains(t, r.errout, "ParseError", "tidepool_tides.module")
	}
	s.serve(t).statusOf(t, "/user/login?x=1", 500)
}

func TestDrush_PHPEval_DrupalAPI(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	code := `\Drupal::state()->set("system.maintenance_mode", 1); return [\Drupal::VERSION, \Drupal::state()->get("system.maintenance_mode"), array_keys(\Drupal::moduleHandler()->getModuleList())]`
	var answer []any
	decode(t, s.must(t, "php:eval", code, "--format=json"), &answer)
	if len(answer) != 3 || answer[0] != "10.5.8" || answer[1] != 1.0 {
		t.Errorf("php:eval answered %v", answer)
	}
	contains(t, s.must(t, "php:eval", "return 7"), "int(7)")
	if r := s.drush(t, "php:eval", "nonsense("); r.code != 1 {
		t.Errorf("code that does not parse: exit code %d, want 1", r.code)
	}
}

// Pitfalls 9 and 10.
func TestDatabase_SQLite_WALAndOwnCollation(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	const vacuum = `$p = new PDO("sqlite:" . $argv[1]); echo $p->query("PRAGMA journal_mode")->fetchColumn(), "\n"; $p->exec("VACUUM INTO '" . $argv[1] . ".copy'");`
	r := run(t, exec.CommandContext(t.Context(), "php", "-d", "display_errors=1", "-r", vacuum, "--", s.database))
	contains(t, r.out+r.errout, "wal\n", "no such collation sequence: NOCASE_UTF8")
}

func TestDrush_Cron_NotesWhenItRan(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	for _, name := range []string{"core:cron", "cron"} {
		contains(t, s.drush(t, name).errout, "[success] Cron run successful.")
	}
	if last := strings.TrimSpace(s.must(t, "state:get", "system.cron_last")); len(last) != 10 {
		t.Errorf("cron ran at %q", last)
	}
}

func TestDrush_ConfigSet_ChangesOneKey(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1058)
	s.must(t, "config:set", "-y", "system.site", "name", "Beta Quay")
	contains(t, s.must(t, "config:get", "system.site", "name"), "system.site:name: Beta Quay")
	contains(t, s.must(t, "config:get", "system.site", "uuid"), "system.site:uuid: ")
	contains(t, s.serve(t).statusOf(t, "/?x=1", 200).body, "Beta Quay")
}

// The services that Hefring's questions to a site use.
func TestDrush_PHPEval_Services(t *testing.T) {
	t.Parallel()
	s := installed(t, tidepool.V1062)
	const code = `$list = \Drupal::service("extension.list.module")->reset(); return [
		\Drupal::hasService("extension.list.theme"), $list->getList()["node"]->status, $list->get("node")->getPath(), $list->exists("nothing"),
		$list->getAllInstalledInfo()["system"]["version"], \Drupal::configFactory()->getEditable("system.theme")->get("default"),
		\Drupal::service("keyvalue")->get("system.schema")->has("system"), \Drupal::service("update.post_update_registry")->getPendingUpdateInformation(),
		\Drupal::database()->driver(), \Drupal::service("extension.list.module")->getList()["standard"]->getType()]`
	var answer []any
	decode(t, s.must(t, "php:eval", code, "--format=json"), &answer)
	if got := fmt.Sprint(answer); got != "[true 1 core/modules/node false 10.6.2 tide true [] sqlite profile]" {
		t.Errorf("php:eval answered %s", got)
	}
}
