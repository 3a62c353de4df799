package drupal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"hefring/internal/run"
	"hefring/models"
)

// Module is one module or theme in a platform's code.
type Module struct {
	Type    string // module or theme
	Version string // "" when it names none
	Enabled bool   // on this site
}

// Modules lists the modules and themes that the site sees in the platform's
// code, by name. What is enabled but missing from the code is not among them.
func (d *Drush) Modules(ctx context.Context) (map[string]Module, error) {
	modules := map[string]Module{}
	for _, kind := range []string{"module", "theme"} { // Drush's own answer does not say which is which
		var rows map[string]struct {
			Status  string `json:"status"`
			Version any    `json:"version"`
		}
		err := d.must(ctx, call{command: "pm:list", options: []string{"--format=json", "--type=" + kind}}, &rows)
		if err != nil {
			return nil, err
		}
		for name, row := range rows {
			if row.Status == "" {
				return nil, models.Errorf(models.Unavailable, "drush pm:list does not say whether %s is enabled on %s.", name, d.release.URI())
			}
			version, _ := row.Version.(string)
			modules[name] = Module{Type: kind, Version: version, Enabled: strings.EqualFold(row.Status, "enabled")}
		}
	}
	return modules, nil
}

// forgetLists makes Drupal look for modules in its code again. A copied
// database remembers the lists of the code that it came from, and pm:list
// would repeat them.
func (d *Drush) forgetLists(ctx context.Context) error {
	var done struct{ Done bool }
	return d.eval(ctx, `
foreach (["module", "theme", "profile"] as $type) {
  if (\Drupal::hasService("extension.list.$type")) {
    \Drupal::service("extension.list.$type")->reset();
  }
}
print "\n" . json_encode(["done" => TRUE]) . "\n";`, &done)
}

// Schemas gives the schema version of every installed module: the number of
// the last database update that it has.
func (d *Drush) Schemas(ctx context.Context) (map[string]int, error) {
	schemas := map[string]int{}
	err := d.eval(ctx, `
$schemas = array_map("intval", \Drupal::keyValue("system.schema")->getAll());
print "\n" . json_encode((object) $schemas) . "\n";`, &schemas)
	return schemas, err
}

// Schema is what a platform's code knows of a module's database updates.
type Schema struct {
	Newest  int `json:"newest"`  // number of the newest update, or the version a new installation starts with
	Removed int `json:"removed"` // number of the newest update that is no longer in the code; 0 for none
}

// TargetSchemas gives for every module that is installed on the site what the
// platform's code knows of its updates.
func (d *Drush) TargetSchemas(ctx context.Context) (map[string]Schema, error) {
	schemas := map[string]Schema{}
	// A module that is installed afresh has the newest of these three numbers.
	err := d.eval(ctx, `
$names = array_keys(\Drupal::keyValue("system.schema")->getAll());
foreach ($names as $name) {
  \Drupal::moduleHandler()->loadInclude($name, "install");
}
$schemas = [];
foreach ($names as $name) {
  $removed = function_exists("{$name}_update_last_removed") ? (int) ("{$name}_update_last_removed")() : 0;
  $updates = \Drupal::service("update.update_hook_registry")->getAvailableUpdates($name);
  $schemas[$name] = ["newest" => max(8000, $removed, ...array_values($updates)), "removed" => $removed];
}
print "\n" . json_encode((object) $schemas) . "\n";`, &schemas)
	return schemas, err
}

// Requirements lists why Drupal itself says that its updates should not run.
// Drush only asks whether to go on, and answers yes for us.
func (d *Drush) Requirements(ctx context.Context) ([]string, error) {
	var answer struct{ Errors []string }
	err := d.eval(ctx, `
foreach (["install.inc", "update.inc"] as $file) {
  if (is_file(\Drupal::root() . "/core/includes/$file")) {
    include_once \Drupal::root() . "/core/includes/$file";
  }
}
foreach (array_keys(\Drupal::moduleHandler()->getModuleList()) as $name) {
  \Drupal::moduleHandler()->loadInclude($name, "install");
}
$text = function ($value) {
  if (is_array($value) && !isset($value["#markup"])) {
    $value = isset($value["#type"]) || isset($value["#theme"]) ? \Drupal::service("renderer")->renderInIsolation($value) : "";
  }
  return trim(preg_replace("/\s+/", " ", strip_tags((string) (is_array($value) ? $value["#markup"] : $value))));
};
$errors = [];
foreach (update_check_requirements() as $requirement) {
  if (!is_array($requirement)) {
    $errors[] = $text($requirement);
    continue;
  }
  $severity = $requirement["severity"] ?? 0;
  if (($severity instanceof \BackedEnum ? $severity->value : $severity) >= 2) {
    $errors[] = implode(": ", array_filter([$text($requirement["title"] ?? ""), $text($requirement["description"] ?? $requirement["value"] ?? "")]));
  }
}
print "\n" . json_encode(["errors" => array_values(array_filter($errors))], JSON_INVALID_UTF8_SUBSTITUTE) . "\n";`, &answer)
	return answer.Errors, err
}

// PendingUpdates lists the database updates that the platform's code would run,
// in their order. Drush prints nothing at all when there are none.
func (d *Drush) PendingUpdates(ctx context.Context) ([]models.PendingUpdate, error) {
	c := call{command: "updatedb:status", options: []string{"--format=json"}, limit: d.Times.Ask}
	res, err := d.run(ctx, c)
	if err != nil {
		return nil, err
	}
	updates, err := parsePending(res)
	if err != nil {
		return nil, d.unreadable(c.command, res, err)
	}
	return updates, nil
}

func parsePending(res run.Result) ([]models.PendingUpdate, error) {
	raw, err := findJSON(res.Stdout)
	switch {
	case err != nil && bytes.Contains(res.Stderr, []byte("No database updates required")):
		return nil, nil // what stands on stdout is PHP's chatter
	case err != nil:
		return nil, err
	case raw == nil:
		return nil, nil
	}
	rows, err := ordered(raw)
	if err != nil {
		return nil, err
	}
	updates := make([]models.PendingUpdate, 0, len(rows))
	for _, row := range rows {
		update, err := parseUpdate(row)
		if err != nil {
			return nil, err
		}
		updates = append(updates, update)
	}
	return updates, nil
}

// ordered gives the values of an object, or of the list that Drush 8 prints, in
// their order.
func ordered(raw json.RawMessage) ([]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	open, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	var rows []json.RawMessage
	for decoder.More() {
		if open == json.Delim('{') {
			if _, err := decoder.Token(); err != nil { // the key
				return nil, err
			}
		}
		var row json.RawMessage
		if err := decoder.Decode(&row); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

var (
	modulePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	updatePattern = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	kindPattern   = regexp.MustCompile(`^[a-z][a-z_-]*$`)
)

const hookUpdate = "hook_update_n"

// parseUpdate reads one row; names are the functions' names.
func parseUpdate(raw json.RawMessage) (models.PendingUpdate, error) {
	var row struct {
		Module      string `json:"module"`
		ID          any    `json:"update_id"`
		Description string `json:"description"`
		Type        string `json:"type"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&row); err != nil {
		return models.PendingUpdate{}, fmt.Errorf("read a pending update: %w", err)
	}
	module, id, kind := strings.ToLower(row.Module), fmt.Sprint(row.ID), row.Type
	if kind == "" {
		kind = hookUpdate // Drush 8 knows no other
	}
	if !modulePattern.MatchString(module) || !updatePattern.MatchString(id) || row.ID == nil || !kindPattern.MatchString(kind) {
		return models.PendingUpdate{}, fmt.Errorf("read a pending update: module %q, update %q, type %q", row.Module, id, row.Type)
	}
	infix := "_update_"
	if kind != hookUpdate {
		infix = "_" + strings.ReplaceAll(kind, "-", "_") + "_"
	}
	text := strings.TrimPrefix(strings.Join(strings.Fields(run.Clean(row.Description)), " "), id+" - ")
	return models.PendingUpdate{Name: module + infix + id, Module: module, Kind: kind, Description: text}, nil
}

var failure = regexp.MustCompile(`Update failed: |Update aborted by: |Requirements check reports errors`)

// UpdateDatabase runs all pending updates and afterwards puts maintenance mode
// to what the caller says: what the site had before, asked from what serves.
// An update that was killed leaves the mode on, and the next one takes that for
// the administrator's wish.
//
// It fails when Drush fails, when its output tells of a failed update or of
// requirements that it overruled, and when updates remain.
func (d *Drush) UpdateDatabase(ctx context.Context, maintenance bool) error {
	var failures []string
	look := func(line string) {
		if failure.MatchString(line) && len(failures) < 20 {
			failures = append(failures, strings.Trim(mark.ReplaceAllString(strings.TrimSpace(line), ""), "/ "))
		}
	}
	out, errs := watched(d.out, look), watched(d.err, look)
	_, err := d.run(ctx, call{
		command: "updatedb", options: []string{"-y", "--no-cache-clear"},
		limit: d.Times.Update, out: out, err: errs,
	})
	_, _ = out.Close(), errs.Close()
	if err == nil {
		err = d.allDone(ctx, failures)
	}
	if ctx.Err() != nil { // what was killed is mended by the next run
		return err
	}
	return errors.Join(err, d.restoreMaintenance(ctx, maintenance))
}

func (d *Drush) allDone(ctx context.Context, failures []string) error {
	if len(failures) > 0 {
		return models.Errorf(models.Unavailable, "The database updates of %s did not succeed: %s", d.release.URI(), strings.Join(failures, " "))
	}
	left, err := d.PendingUpdates(ctx)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return models.Errorf(models.Unavailable, "%d database updates of %s remain after all were run, the first is %s.", len(left), d.release.URI(), left[0].Name)
	}
	return nil
}

func (d *Drush) restoreMaintenance(ctx context.Context, want bool) error {
	is, err := d.Maintenance(ctx)
	if err != nil || is == want {
		return err
	}
	return d.SetMaintenance(ctx, want)
}
