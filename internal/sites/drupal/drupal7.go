package drupal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"hefring/internal/run"
	"hefring/models"
)

// dialect is how one generation of Drupal is spoken to through its Drush. Drupal
// 7 has Drush 8, which knows most of the later commands by other names; what it
// lacks is asked in PHP.
type dialect struct {
	seven bool
}

// dialectOf is the dialect of a platform's Drupal.
func dialectOf(p models.Platform) dialect { return dialect{seven: generation(p.DrupalVersion) == 7} }

// php picks the piece of PHP for the dialect: for Drupal 8 and later, or for 7.
func (l dialect) php(eight, seven string) string {
	if l.seven {
		return seven
	}
	return eight
}

// args is the command line of a call.
func (l dialect) args(c call, root string) []string {
	if !l.seven {
		args := append([]string{c.command, "--root=" + root, "--uri=" + c.uri, "--no-interaction"}, c.options...)
		if c.command == installCommand {
			// Without it Drush makes settings for sites/default, too, which it
			// cannot in a platform that is sealed.
			args = append(args, "--sites-subdir="+c.uri)
		}
		if len(c.values) > 0 {
			args = append(append(args, "--"), c.values...)
		}
		return args
	}
	command, values := strings.ReplaceAll(c.command, ":", "-"), c.values
	if c.command == rebuildCommand {
		command, values = "cache-clear", []string{"all"}
	}
	// Drush 8 takes "--" for an option that it does not know. No value of ours
	// begins with a dash.
	args := append([]string{command, "--root=" + root, "--uri=" + c.uri, "--yes", "--nocolor"}, c.options...)
	return append(args, values...)
}

const installCommand = "site:install"

// rebuildCommand clears all caches; Drush 8 names it otherwise.
const rebuildCommand = "cache:rebuild"

// findDrush8 is the Drush for Drupal 7: the platform's own if it has one, else
// the server's. Folders that it needs beside the platform are shown to it.
func (d *Drupal) findDrush8(p models.Platform) (program string, shown []string, err error) {
	if program, err = findDrush(p); err == nil {
		return program, nil, nil
	}
	if d.Drush8 == "" {
		return "", nil, models.Errorf(models.Unavailable,
			"The platform %s is Drupal %s, which needs Drush 8. Install Drush 8 on this server and start Hefring with --drush8=PATH, or add drush/drush:^8 to the platform's source.", p.Name, p.DrupalVersion)
	}
	if !filepath.IsAbs(d.Drush8) {
		return "", nil, models.Errorf(models.Invalid, "Drush 8 is set to %q. Give its absolute path, such as /opt/drush8/vendor/bin/drush.", d.Drush8)
	}
	program, err = filepath.EvalSymlinks(d.Drush8)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, models.Wrapf(models.Unavailable, err, "Drush 8 is not at %s. Install it there, or correct --drush8.", d.Drush8)
	}
	if err != nil {
		return "", nil, fmt.Errorf("find Drush 8: %w", err)
	}
	return program, []string{packageOf(program)}, executable(program)
}

// packageOf is what has to be seen of a program: its Composer project, or for a
// phar the file alone.
func packageOf(program string) string {
	if project, _, found := strings.Cut(program, "/vendor/"); found && project != "" {
		return project
	}
	return program
}

var padding = regexp.MustCompile(`\s{3,}(\[\w+\])$`)

// streams gives where a call's output goes. Drush 8 pads every message to the
// width of the screen.
func (l dialect) streams(c call) (out, errs io.Writer, done func()) {
	if !l.seven {
		return c.out, c.err, func() {}
	}
	var opened []io.Closer
	tight := func(w io.Writer) io.Writer {
		if w == nil {
			return nil
		}
		lines := run.Lines(func(line string) { _, _ = io.WriteString(w, padding.ReplaceAllString(line, "  $1")+"\n") })
		opened = append(opened, lines)
		return lines
	}
	return tight(c.out), tight(c.err), func() {
		for _, w := range opened {
			_ = w.Close()
		}
	}
}

// PHP for Drupal 7 that answers as its counterpart for later versions does.

const ready7 = `drupal_bootstrap(DRUPAL_BOOTSTRAP_FULL); print "\n" . json_encode(array("ready" => TRUE)) . "\n";`

// maintenance7 reads the mode from the database: what settings.php says of it is
// not the administrator's wish.
const maintenance7 = `
$value = db_query("SELECT value FROM {variable} WHERE name = 'maintenance_mode'")->fetchField();
print "\n" . json_encode(array("system.maintenance_mode" => $value === FALSE ? FALSE : (bool) unserialize($value, array("allowed_classes" => FALSE)))) . "\n";`

// setMaintenance7 goes on with the value and a closing parenthesis.
const setMaintenance7 = `variable_set("maintenance_mode", `

const forgetLists7 = `
system_rebuild_module_data();
print "\n" . json_encode(array("done" => TRUE)) . "\n";`

const schemas7 = `
$schemas = db_query("SELECT name, schema_version FROM {system} WHERE type = 'module' AND schema_version > -1")->fetchAllKeyed();
print "\n" . json_encode((object) array_map("intval", $schemas)) . "\n";`

const targetSchemas7 = `
include_once DRUPAL_ROOT . "/includes/install.inc";
$names = db_query("SELECT name FROM {system} WHERE type = 'module' AND schema_version > -1")->fetchCol();
drupal_load_updates();
$schemas = array();
foreach ($names as $name) {
  module_load_install($name);
  $removed = function_exists("{$name}_update_last_removed") ? (int) call_user_func("{$name}_update_last_removed") : 0;
  $updates = drupal_get_schema_versions($name) ?: array();
  $schemas[$name] = array("newest" => max(array_merge(array(7000, $removed), array_map("intval", $updates))), "removed" => $removed);
}
print "\n" . json_encode((object) $schemas) . "\n";`

// requirements7 asks what update.php asks; Drush 8 never does.
const requirements7 = `
include_once DRUPAL_ROOT . "/includes/install.inc";
drupal_load_updates();
$errors = array();
foreach (module_list() as $name) {
  module_load_install($name);
  if (!function_exists("{$name}_requirements")) {
    continue;
  }
  foreach ((array) call_user_func("{$name}_requirements", "update") as $requirement) {
    if (is_array($requirement) && isset($requirement["severity"]) && $requirement["severity"] >= REQUIREMENT_ERROR) {
      $text = array();
      foreach (array("title", isset($requirement["description"]) ? "description" : "value") as $key) {
        $text[] = isset($requirement[$key]) && is_string($requirement[$key]) ? trim(preg_replace("/\s+/", " ", strip_tags($requirement[$key]))) : "";
      }
      $errors[] = implode(": ", array_filter($text));
    }
  }
}
print "\n" . json_encode(array("errors" => array_values(array_filter($errors))), JSON_INVALID_UTF8_SUBSTITUTE) . "\n";`
