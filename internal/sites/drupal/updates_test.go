package drupal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hefring/internal/tidepool"
	"hefring/models"
)

// articles counts the site's content.
func articles(t *testing.T, d *Drush) any {
	t.Helper()
	return eval(t, d, `$answer = (int) \Drupal::database()->query("SELECT COUNT(*) FROM {node_field_data}")->fetchColumn();`)
}

// Pitfall 12: nothing pending is an empty answer.
func TestDrush_PendingUpdates_Pitfall12_None(t *testing.T) {
	b := newBench(t)
	d, _ := b.installed()
	if got, err := d.PendingUpdates(testContext(t)); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDrush_PendingUpdates_Some(t *testing.T) {
	b := newBench(t)
	_, r := b.installed()
	to, _ := b.target(r, tidepool.V1062, "10.6.2")
	got, err := to.PendingUpdates(testContext(t))
	if err != nil || len(got) != 2 || got[0].Name != "system_update_10600" || got[0].Module != "system" || got[0].Kind != "hook_update_n" || got[0].Description == "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDrush_UpdateDatabase_Good(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	before := articles(t, from)
	to, log := b.target(r, tidepool.V1062, "10.6.2")
	if err := to.update(testContext(t), false); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if !strings.Contains(log.String(), "Update completed: system_update_10600") {
		t.Errorf("log\n%s", log)
	}
	if err := to.Rebuild(testContext(t)); err != nil {
		t.Error(err)
	}
	schemas, err := to.Schemas(testContext(t))
	if err != nil || schemas["system"] != 10600 {
		t.Errorf("schemas %v, %v", schemas, err)
	}
	if after := articles(t, to); after != before {
		t.Errorf("%v articles, before %v", after, before)
	}
	if got, err := from.PendingUpdates(testContext(t)); err != nil || len(got) != 0 {
		t.Errorf("the serving site has pending updates %v, %v", got, err)
	}
	// Nothing left to do is no failure.
	if err := to.update(testContext(t), false); err != nil {
		t.Error(err)
	}
}

// Pitfall 14: a failing update leaves what was written before it.
func TestDrush_UpdateDatabase_Pitfall14_Throws(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	to, log := b.target(r, tidepool.Throws, "11.0.0")
	err := to.update(testContext(t), false)
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "Update failed: ") || !strings.Contains(models.Explain(err), "exit code 1") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(log.String(), "Update aborted by") {
		t.Errorf("log\n%s", log)
	}
	if on, err := to.Maintenance(testContext(t)); err != nil || on {
		t.Errorf("maintenance %v, %v", on, err)
	}
	if _, err := from.Status(testContext(t)); err != nil {
		t.Errorf("the serving site: %v", err)
	}
}

// Pitfall 13: updatedb -y overrules Drupal's refusal and exits with 0.
func TestDrush_UpdateDatabase_Pitfall13_Overruled(t *testing.T) {
	b := newBench(t)
	_, r := b.installed()
	to, log := b.target(r, tidepool.V1062, "10.6.2")
	eval(t, to, `$all = \Drupal::config("core.extension")->get("module"); $all["gone_module"] = 0;
\Drupal::database()->query("UPDATE {config} SET data = ? WHERE name = 'core.extension'", [serialize(["module" => $all] + \Drupal::config("core.extension")->get())]); $answer = 1;`)
	reasons, err := to.Requirements(testContext(t))
	if err != nil || len(reasons) != 1 || !strings.Contains(reasons[0], "gone_module") {
		t.Fatalf("requirements %v, %v", reasons, err)
	}
	err = to.update(testContext(t), false)
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "Requirements check reports errors") {
		t.Errorf("got %v\n%s", err, log)
	}
	if strings.Contains(models.Explain(err), "exit code") {
		t.Errorf("this is about Drush exiting with 0, got %v", err)
	}
}

// Pitfalls 15 and 16: an update that is killed leaves no process, and
// maintenance mode on, which the next one would keep.
func TestDrush_UpdateDatabase_Pitfall15_Pitfall16_Killed(t *testing.T) {
	b := newBench(t)
	_, r := b.installed()
	to, log := b.target(r, tidepool.SlowUpdate, "10.6.4")
	b.local(`putenv("TIDEPOOL_SLOW_SECONDS=600");`)
	killed := errors.New("killed")
	ctx, kill := context.WithCancelCause(testContext(t))
	to.err = watch{log, "Update started: tidepool_tides_update_10201", func() { kill(killed) }}
	if err := to.update(ctx, false); !errors.Is(err, killed) {
		t.Fatalf("got %v\n%s", err, log)
	}
	if left := processesOf(t, b.root); left != "" {
		t.Errorf("still running: %s", left)
	}
	if on, err := to.Maintenance(testContext(t)); err != nil || !on {
		t.Fatalf("maintenance %v, %v: this test is about it being left on", on, err)
	}
	b.local(`putenv("TIDEPOOL_SLOW_SECONDS=0.01");`)
	to.err = log
	if err := to.update(testContext(t), false); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if on, err := to.Maintenance(testContext(t)); err != nil || on {
		t.Errorf("maintenance %v, %v after the update", on, err)
	}
}

func TestDrush_UpdateDatabase_Pitfall16_KeepsTheWish(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	if err := from.SetMaintenance(testContext(t), true); err != nil {
		t.Fatal(err)
	}
	to, log := b.target(r, tidepool.V1062, "10.6.2")
	if err := to.update(testContext(t), true); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if on, err := to.Maintenance(testContext(t)); err != nil || !on {
		t.Errorf("maintenance %v, %v, want on as before", on, err)
	}
}

func TestDrush_UpdateDatabase_TimeLimit(t *testing.T) {
	b := newBench(t)
	_, r := b.installed()
	to, _ := b.target(r, tidepool.SlowUpdate, "10.6.4")
	b.local(`putenv("TIDEPOOL_SLOW_SECONDS=600");`)
	to.Times.Update = 1500e6 // 1.5 s
	err := to.update(testContext(t), false)
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "limit of 1.5s") {
		t.Errorf("got %v", err)
	}
}

// Pitfall 17: with a parse error in an enabled module no command works, but
// Drush's status may still say that all is well.
func TestDrush_Status_Pitfall17_ParseError(t *testing.T) {
	b := newBench(t)
	_, r := b.installed()
	to, _ := b.target(r, tidepool.Fatal, "10.6.4")
	_, err := to.Status(testContext(t))
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "ParseError") {
		t.Errorf("status: %v", err)
	}
	if err := to.update(testContext(t), false); models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), "ParseError") {
		t.Errorf("update: %v", err)
	}
}

// Pitfall 1: the same database on a release of its own runs that release's code.
func TestDrush_Pitfall01_RunsTheReleasesCode(t *testing.T) {
	b := newBench(t)
	_, r := b.installed()
	to, _ := b.target(r, tidepool.V1062, "10.6.2")
	got := eval(t, to, `$answer = array_values(array_filter(get_included_files(), fn ($f) => str_contains($f, "/tide-10.5.8")));`)
	if files, ok := got.([]any); !ok || len(files) != 0 {
		t.Errorf("files of the old release: %v", got)
	}
}

func compare(t *testing.T, from, to *Drush) ([]models.PendingUpdate, string) {
	t.Helper()
	c, err := Compare(testContext(t), from, to)
	updates, blockers := c.Updates, c.Blockers
	if err != nil {
		t.Fatal(err)
	}
	return updates, strings.Join(blockers, "\n")
}

func TestCompare_Good(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	updates, blockers := compare(t, from, b.aside(r, tidepool.V1062, "10.6.2"))
	if blockers != "" || len(updates) != 2 || updates[1].Name != "tidepool_tides_update_10101" {
		t.Errorf("updates %v, blockers %s", updates, blockers)
	}
}

func TestCompare_CodeOnly(t *testing.T) {
	b := newBench(t)
	r := b.release(b.platform(tidepool.V1062, "10.6.2"), b.database("site"))
	from, _ := b.drush(r)
	if err := from.Install(testContext(t), "standard", "Museum", "admin"); err != nil {
		t.Fatal(err)
	}
	updates, blockers := compare(t, from, b.aside(r, tidepool.V1063, "10.6.3"))
	if blockers != "" || len(updates) != 0 {
		t.Errorf("updates %v, blockers %s", updates, blockers)
	}
}

// Pitfall 18: updatedb and cache:rebuild do not mind a missing module.
func TestCompare_Pitfall18_MissingModule(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	_, blockers := compare(t, from, b.aside(r, tidepool.MissingModule, "10.6.4"))
	if !strings.Contains(blockers, "The module tidepool_guestbook is enabled on the site, but the target does not have it.") {
		t.Errorf("blockers %s", blockers)
	}
}

// Pitfall 18 the other way: what is not enabled on the site may go.
func TestCompare_DisabledModuleMayGo(t *testing.T) {
	b := newBench(t)
	r := b.simple()
	from, _ := b.drush(r)
	if err := from.Install(testContext(t), "minimal", "Museum", "admin"); err != nil {
		t.Fatal(err)
	}
	modules, err := from.Modules(testContext(t))
	if err != nil || modules["tidepool_guestbook"].Enabled {
		t.Fatalf("modules %v, %v", modules, err)
	}
	if _, blockers := compare(t, from, b.aside(r, tidepool.MissingModule, "10.6.4")); blockers != "" {
		t.Errorf("blockers %s", blockers)
	}
}

func TestCompare_ParseError(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	to := b.aside(r, tidepool.Fatal, "10.6.4")
	to.release.Platform.Profiles = nil // another blocker does not hide this one
	_, blockers := compare(t, from, to)
	if !strings.Contains(blockers, "The target's code does not run with this site's content") || !strings.Contains(blockers, "ParseError") {
		t.Errorf("blockers %s", blockers)
	}
}

// Pitfall 13: Drupal does not complain about going back; the version decides.
func TestCompare_Pitfall13_Downgrade(t *testing.T) {
	b := newBench(t)
	r := b.release(b.platform(tidepool.V1062, "10.6.2"), b.database("site"))
	from, _ := b.drush(r)
	if err := from.Install(testContext(t), "standard", "Museum", "admin"); err != nil {
		t.Fatal(err)
	}
	_, blockers := compare(t, from, b.aside(r, tidepool.Downgrade, "10.5.9"))
	if blockers != "The target has Drupal 10.5.9, older than the site's 10.6.2. Drupal cannot go back to an older version." {
		t.Errorf("blockers %s", blockers)
	}
	// Also when the platform's record says otherwise.
	lying := b.aside(r, tidepool.V1058, "10.9.0")
	if _, blockers := compare(t, from, lying); !strings.Contains(blockers, "says that it is Drupal 10.5.8") {
		t.Errorf("blockers %s", blockers)
	}
	lying.release.Platform.DrupalVersion = ""
	if _, blockers := compare(t, from, lying); !strings.Contains(blockers, "cannot be compared") {
		t.Errorf("blockers %s", blockers)
	}
}

func TestCompare_NewerSchema(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	eval(t, from, `\Drupal::service("update.update_hook_registry")->setInstalledVersion("tidepool_tides", 10999); $answer = 1;`)
	_, blockers := compare(t, from, b.aside(r, tidepool.V1062, "10.6.2"))
	if !strings.Contains(blockers, "The site's database has update 10999 of tidepool_tides, but the target's code knows only updates up to 10101.") {
		t.Errorf("blockers %s", blockers)
	}
}

func TestCompare_UpdatesRemovedMeanwhile(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	to := b.aside(r, tidepool.V1062, "10.6.2")
	install := filepath.Join(to.release.Docroot(), "modules/contrib/tidepool_tides/tidepool_tides.install")
	writeFile(t, install, "<?php\nfunction tidepool_tides_update_last_removed() { return 10500; }\n")
	_, blockers := compare(t, from, to)
	if !strings.Contains(blockers, "the target no longer has the updates up to 10500") {
		t.Errorf("blockers %s", blockers)
	}
}

func TestCompare_ProfileMissing(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	to := b.aside(r, tidepool.V1062, "10.6.2")
	to.release.Platform.Profiles = []string{"harbour"}
	if _, blockers := compare(t, from, to); !strings.Contains(blockers, "profile standard, which the target does not have") {
		t.Errorf("blockers %s", blockers)
	}
}

func TestCompare_SiteDoesNotStart(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	to := b.aside(r, tidepool.V1062, "10.6.2")
	if err := os.Remove(r.link()); err != nil {
		t.Fatal(err)
	}
	c, err := Compare(testContext(t), from, to)
	blockers := c.Blockers
	if err == nil || len(blockers) != 0 {
		t.Errorf("blockers %v, %v", blockers, err)
	}
}

func TestCompare_LeavesTheSiteAlone(t *testing.T) {
	b := newBench(t)
	from, r := b.installed()
	to := b.aside(r, tidepool.V1062, "10.6.2")
	before := readFile(t, settingsFile(b, r))
	schemas, err := from.Schemas(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Compare(testContext(t), from, to); err != nil {
		t.Fatal(err)
	}
	after, err := from.Schemas(testContext(t))
	if err != nil || after["system"] != schemas["system"] || readFile(t, settingsFile(b, r)) != before {
		t.Errorf("schemas %v, %v", after, err)
	}
}

// watch calls seen when some text was written.
type watch struct {
	log  *record
	text string
	seen func()
}

func (w watch) Write(p []byte) (int, error) {
	n, err := w.log.Write(p)
	if strings.Contains(w.log.String(), w.text) {
		w.seen()
	}
	return n, err
}

// processesOf names a process that was started with root in its arguments.
func processesOf(t *testing.T, root string) string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), root) {
			return strings.ReplaceAll(string(text), "\x00", " ")
		}
	}
	return ""
}

// one asks a single question of those that Compare asks together.
func one[T any](ctx context.Context, d *Drush, q question) (answer T, err error) {
	answers, err := d.askAll(ctx, q)
	if err != nil {
		return answer, err
	}
	return answer, d.part(answers, q.name, &answer)
}

func (d *Drush) Modules(ctx context.Context) (map[string]Module, error) {
	return one[map[string]Module](ctx, d, modulesQuestion())
}

func (d *Drush) Schemas(ctx context.Context) (map[string]int, error) {
	return one[map[string]int](ctx, d, schemasQuestion())
}

func (d *Drush) Requirements(ctx context.Context) ([]string, error) {
	answer, err := one[struct{ Errors []string }](ctx, d, requirementsQuestion())
	return answer.Errors, err
}

// update is what an upgrade does: run the updates, and look afterwards.
func (d *Drush) update(ctx context.Context, maintenance bool) error {
	if err := d.UpdateDatabase(ctx); err != nil {
		return err
	}
	_, err := d.Settle(ctx, maintenance)
	return err
}
