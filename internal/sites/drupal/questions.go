package drupal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"hefring/internal/run"
	"hefring/models"
)

// question is PHP that prints one JSON value, for Drupal 8 and later and for 7.
// A start of Drush costs more than what it is asked, so several go together.
type question struct{ name, eight, seven string }

// failedPart is what PHP says of a question that it could not answer.
type failedPart struct {
	Failed *string `json:"hefring_failed"`
}

// askAll asks several questions in one start of Drush. A question that throws
// does not keep the others from being answered; what it threw is its answer's
// error, see part. A fault that PHP cannot catch is the error of all.
func (d *Drush) askAll(ctx context.Context, questions ...question) (map[string]json.RawMessage, error) {
	var b strings.Builder
	b.WriteString("$hefring = array();\n")
	for _, q := range questions {
		fmt.Fprintf(&b, `ob_start();
try {
  call_user_func(function () {%s
  });
  $said = trim(ob_get_contents());
  $line = strrpos($said, "\n");
  $hefring[%s] = json_decode($line === FALSE ? $said : substr($said, $line + 1));
}
catch (\Throwable $e) {
  $hefring[%s] = array("hefring_failed" => get_class($e) . ": " . $e->getMessage());
}
ob_end_clean();
`, d.dialect.php(q.eight, q.seven), quote(q.name), quote(q.name))
	}
	b.WriteString(`print "\n" . json_encode((object) $hefring, JSON_INVALID_UTF8_SUBSTITUTE) . "\n";`)
	answers := map[string]json.RawMessage{}
	if err := d.eval(ctx, b.String(), &answers); err != nil {
		return nil, err
	}
	return answers, nil
}

// thrownError is what PHP threw instead of answering a question.
type thrownError struct{ error }

func (e thrownError) Unwrap() error { return e.error }

// part decodes the answer to one of several questions.
func (d *Drush) part(answers map[string]json.RawMessage, name string, into any) error {
	raw := answers[name]
	var failed failedPart
	if json.Unmarshal(raw, &failed) == nil && failed.Failed != nil {
		text := strings.Join(strings.Fields(run.Clean(*failed.Failed)), " ")
		return thrownError{models.Errorf(models.Unavailable, "drush php:eval failed on %s: %s", d.release.URI(), strings.ToValidUTF8(text[:min(len(text), maxComplaint)], ""))}
	}
	if len(raw) == 0 || string(raw) == "null" {
		return d.unreadable(evalCommand, run.Result{}, errors.New("it did not answer "+name))
	}
	if err := decode(raw, into); err != nil {
		return d.unreadable(evalCommand, run.Result{}, err)
	}
	return nil
}

// Names of questions.
const (
	askStatus       = "status"
	askMaintenance  = "maintenance"
	askForget       = "forget"
	askModules      = "modules"
	askSchemas      = "schemas"
	askTarget       = "target"
	askRequirements = "requirements"
	askLeft         = "left"
)

func statusQuestion() question {
	return question{askStatus, `
$options = \Drupal::database()->getConnectionOptions();
print "\n" . json_encode(["drupal-version" => \Drupal::VERSION, "bootstrap" => "Successful", "site" => \Drupal::service("kernel")->getSitePath(),
  "db-name" => $options["database"], "install-profile" => (string) \Drupal::installProfile()]) . "\n";`, `
drupal_bootstrap(DRUPAL_BOOTSTRAP_FULL);
print "\n" . json_encode(array("drupal-version" => VERSION, "bootstrap" => "Successful", "site" => conf_path(),
  "db-name" => $GLOBALS["databases"]["default"]["default"]["database"], "install-profile" => drupal_get_profile())) . "\n";`}
}

func maintenanceQuestion() question {
	return question{askMaintenance, `
print "\n" . json_encode(["system.maintenance_mode" => \Drupal::state()->get("system.maintenance_mode")]) . "\n";`, maintenance7}
}

// forgetQuestion makes Drupal look for modules in its code again. A copied
// database remembers the lists of the code that it came from.
func forgetQuestion() question {
	return question{askForget, `
foreach (["module", "theme", "profile"] as $type) {
  if (\Drupal::hasService("extension.list.$type")) {
    \Drupal::service("extension.list.$type")->reset();
  }
}
print "\n" . json_encode(["done" => TRUE]) . "\n";`, forgetLists7}
}

func modulesQuestion() question {
	return question{askModules, `
$modules = [];
foreach (["module", "theme"] as $type) {
  foreach (\Drupal::service("extension.list.$type")->getList() as $name => $extension) {
    $modules[$name] = ["type" => $type, "version" => (string) ($extension->info["version"] ?? ""), "enabled" => (bool) $extension->status];
  }
}
print "\n" . json_encode((object) $modules, JSON_INVALID_UTF8_SUBSTITUTE) . "\n";`, `
$modules = array();
foreach (array("module" => system_rebuild_module_data(), "theme" => system_rebuild_theme_data()) as $type => $list) {
  foreach ($list as $name => $extension) {
    $modules[$name] = array("type" => $type, "version" => isset($extension->info["version"]) ? (string) $extension->info["version"] : "", "enabled" => !empty($extension->status));
  }
}
print "\n" . json_encode((object) $modules) . "\n";`}
}

func schemasQuestion() question {
	return question{askSchemas, `
$schemas = array_map("intval", \Drupal::keyValue("system.schema")->getAll());
print "\n" . json_encode((object) $schemas) . "\n";`, schemas7}
}

// targetQuestion asks what the code knows of every installed module's updates. A
// module that is installed afresh has the newest of these three numbers.
func targetQuestion() question {
	return question{askTarget, `
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
print "\n" . json_encode((object) $schemas) . "\n";`, targetSchemas7}
}

// requirementsQuestion asks why Drupal itself says that its updates should not
// run. Drush only asks whether to go on, and answers yes for us.
func requirementsQuestion() question {
	return question{askRequirements, `
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
print "\n" . json_encode(["errors" => array_values(array_filter($errors))], JSON_INVALID_UTF8_SUBSTITUTE) . "\n";`, requirements7}
}

// leftQuestion names the database updates that are still to be run.
func leftQuestion() question {
	return question{askLeft, `
$registry = \Drupal::service("update.update_hook_registry");
$left = [];
foreach (\Drupal::keyValue("system.schema")->getAll() as $name => $version) {
  if (!\Drupal::moduleHandler()->moduleExists($name)) {
    continue;
  }
  \Drupal::moduleHandler()->loadInclude($name, "install");
  foreach ($registry->getAvailableUpdates($name) as $number) {
    if ($number > $version && !(method_exists($registry, "getEquivalentUpdate") && $registry->getEquivalentUpdate($name, $number))) {
      $left[] = "{$name}_update_$number";
    }
  }
}
foreach (\Drupal::service("update.post_update_registry")->getPendingUpdateFunctions() as $function) {
  $left[] = $function;
}
print "\n" . json_encode(["left" => $left]) . "\n";`, `
include_once DRUPAL_ROOT . "/includes/install.inc";
drupal_load_updates();
$left = array();
foreach (db_query("SELECT name, schema_version FROM {system} WHERE type = 'module' AND status = 1 AND schema_version > -1")->fetchAllKeyed() as $name => $version) {
  foreach (drupal_get_schema_versions($name) ?: array() as $number) {
    if ($number > $version) {
      $left[] = "{$name}_update_$number";
    }
  }
}
print "\n" . json_encode(array("left" => $left)) . "\n";`}
}
