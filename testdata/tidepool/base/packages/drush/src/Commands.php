<?php
// tidepool's stand-in for Drush: the same commands, options, output and exit codes. It is not Drush.

namespace Drush;

use Drupal\Core\Extension\ExtensionList;
use Drupal\Core\Session;
use Drupal\Core\Site\Settings;

/** The commands that read or set one thing. */
final class Commands {

  public function __construct(private Bootstrap $bootstrap, private Output $output, private array $options) {}

  public function version(): void {
    $version = Application::VERSION;
    isset($this->options['format']) && $this->options['format'] !== 'table'
      ? $this->output->data($this->options['format'] === 'json' ? ['drush-version' => $version] : $version, $this->options['format'])
      : $this->output->line((isset($this->options['version']) ? 'Drush Commandline Tool ' : 'Drush version : ') . $version);
  }

  /** Exit code 0 whatever the state of the site: only "bootstrap" tells whether it runs. */
  public function status(): void {
    $status = ['drupal-version' => \Drupal::VERSION];
    $level = $this->bootstrap->max();
    $database = Settings::database();
    if ($database && $level === Bootstrap::CONFIGURATION && !$this->connects()) {
      $this->output->data($status, $this->options['format'] ?? 'table');
      return;
    }
    $status['uri'] = $this->bootstrap->uri;
    if ($database) {
      $status += array_filter([
        'db-driver' => $database['driver'],
        'db-hostname' => $database['host'] ?? NULL,
        'db-port' => $database['port'] ?? NULL,
        'db-username' => $database['username'] ?? NULL,
        'db-name' => $database['database'] ?? NULL,
      ], fn ($value) => $value !== NULL);
    }
    if ($level >= Bootstrap::DATABASE) {
      $status['db-status'] = 'Connected';
    }
    if ($level === Bootstrap::FULL) {
      $status += ['bootstrap' => 'Successful', 'theme' => \Drupal::config('system.theme')->get('default'), 'admin-theme' => \Drupal::config('system.theme')->get('admin')];
    }
    $status += ['php-bin' => PHP_BINARY, 'php-os' => PHP_OS, 'php-version' => PHP_VERSION, 'drush-script' => $this->bootstrap->script, 'drush-version' => Application::VERSION, 'drush-temp' => sys_get_temp_dir()];
    if ($level === Bootstrap::FULL) {
      $status['install-profile'] = \Drupal::installProfile();
    }
    $kernel = $this->bootstrap->kernel();
    $status += ['root' => $this->bootstrap->root, 'site' => $kernel->sitePath];
    if ($level === Bootstrap::FULL) {
      $status += array_filter(['files' => $kernel->folder('public'), 'private' => $kernel->folder('private'), 'temp' => $kernel->folder('temp')]);
    }
    $this->output->data($status, $this->options['format'] ?? 'table');
  }

  private function connects(): bool {
    try {
      $this->bootstrap->kernel()->database();
      return TRUE;
    }
    catch (\Exception) {
      return FALSE;
    }
  }

  public function requirements(): void {
    $this->bootstrap->full();
    require_once $this->bootstrap->root . '/core/includes/update.inc';
    $names = [-1 => 'Info', 0 => 'OK', 1 => 'Warning', 2 => 'Error'];
    $errors = update_check_requirements();
    $pending = update_get_pending();
    $found = [
      'drupal' => ['Drupal', \Drupal::VERSION, 'tidepool, not Drupal.', -1],
      'php' => ['PHP', PHP_VERSION, '', 0],
      'update' => ['Database updates', $pending ? 'Out of date' : 'Up to date', $pending ? 'Some modules have database schema updates to install.' : '', $pending ? 2 : 0],
    ];
    if ($errors) {
      $found['system'] = ['System', 'Errors found', implode(' ', $errors), 2];
    }
    ksort($found);
    $rows = [];
    foreach ($found as $key => [$title, $value, $description, $severity]) {
      if ($severity >= (int) ($this->options['severity'] ?? -1)) {
        $rows[$key] = ['title' => $title, 'value' => $value, 'description' => $description, 'sid' => $severity, 'severity' => $names[$severity]];
      }
    }
    $this->output->data($rows, $this->options['format'] ?? 'table');
  }

  /** What is in the code, not what is enabled: an enabled module that is missing from the code is not listed. */
  public function pmList(): void {
    $kernel = $this->bootstrap->full();
    $types = explode(',', strtolower($this->options['type'] ?? 'module,theme'));
    $statuses = explode(',', strtolower($this->options['status'] ?? 'enabled,disabled'));
    $installed = \Drupal::config('core.extension')->get();
    $rows = [];
    foreach (ExtensionList::scan($kernel->appRoot, $kernel->sitePath) as $name => $e) {
      $status = isset($installed[$e['type'] === 'theme' ? 'theme' : 'module'][$name]) ? 'enabled' : 'disabled';
      $skip = isset($this->options[$e['origin'] === 'core' ? 'no-core' : 'core']);
      if ($skip || !in_array($e['type'], $types, TRUE) || !in_array($status, $statuses, TRUE)) {
        continue;
      }
      $rows[$name] = [
        'package' => $e['info']['package'],
        'project' => $e['info']['project'] ?? '',
        'display_name' => "{$e['info']['name']} ($name)",
        'name' => $name,
        'type' => $e['type'],
        'path' => $e['path'],
        'status' => ucfirst($status),
        'version' => $e['info']['version'],
      ];
    }
    if (($this->options['format'] ?? 'table') !== 'table') {
      $this->output->data($rows, $this->options['format']);
      return;
    }
    $this->output->table(array_merge([['Package', 'Name', 'Status', 'Version']], array_map(fn ($r) => [$r['package'], $r['display_name'], $r['status'], (string) $r['version']], array_values($rows))));
  }

  /** Begins with empty caches, so that it also repairs a site whose container points at code that is gone. */
  public function cacheRebuild(): void {
    $kernel = $this->bootstrap->kernel();
    $kernel->rebuild();
    $kernel->loadCode();
    $this->output->log('success', 'Cache rebuild complete.');
  }

  public function phpEval(string $code): void {
    $this->bootstrap->max();
    $result = eval("$code;");
    if ($result === NULL) {
      return;
    }
    ($this->options['format'] ?? 'var_dump') === 'var_dump' ? var_dump($result) : $this->output->data($result, $this->options['format']);
  }

  public function configGet(string $name, string $key = ''): void {
    $this->bootstrap->full();
    $config = \Drupal::config($name);
    if ($config->get() === []) {
      throw new \InvalidArgumentException("Config $name does not exist");
    }
    $this->output->data($key === '' ? $config->get() : ["$name:$key" => $config->get($key)], $this->options['format'] ?? 'yaml');
  }

  public function configSet(string $name, string $key, string $value): void {
    $this->bootstrap->full();
    $config = \Drupal::configFactory()->getEditable($name);
    if ($config->isNew()) {
      $this->output->confirm($this->options, "Config $name does not exist. Do you want to create a new config object?");
    }
    $this->output->confirm($this->options, "Do you want to update $key key in $name config?");
    $config->set($key, $this->value($value))->save();
  }

  public function cron(): void {
    $this->bootstrap->full();
    \Drupal::service('cron')->run();
    $this->output->log('success', 'Cron run successful.');
  }

  public function stateGet(string $key): void {
    $this->bootstrap->full();
    $value = \Drupal::state()->get($key);
    isset($this->options['format']) ? $this->output->data([$key => $value], $this->options['format']) : $this->output->line(is_array($value) ? json_encode($value) : (string) $value);
  }

  public function stateSet(string $key, string $value): void {
    $this->bootstrap->full();
    \Drupal::state()->set($key, $this->value($value));
  }

  /** What was typed, as --input-format says; a number or a yes or no is seen by itself. */
  private function value(string $value): mixed {
    $format = $this->options['input-format'] ?? 'auto';
    return match (TRUE) {
      $format === 'integer' => (int) $value,
      $format === 'boolean', $format === 'bool', $format === 'auto' && in_array($value, ['TRUE', 'FALSE'], TRUE) => in_array($value, ['TRUE', '1'], TRUE),
      $format === 'json' => json_decode($value, TRUE, 512, JSON_THROW_ON_ERROR),
      $format === 'auto' && is_numeric($value) => $value + 0,
      default => $value,
    };
  }

  public function userLogin(): void {
    $kernel = $this->bootstrap->full();
    [$column, $value] = isset($this->options['name']) ? ['name', $this->options['name']] : ['uid', $this->options['uid'] ?? 1];
    $user = $kernel->database()->query("SELECT uid, mail, pass, login FROM {users_field_data} WHERE $column = ?", [$value])->fetch()
      ?: throw new \Exception("Unable to load user by $column: $value");
    $now = time();
    $this->output->line(rtrim($this->bootstrap->uri, '/') . "/user/reset/{$user['uid']}/$now/" . Session::resetHash($user, $now) . '/login');
  }

}
