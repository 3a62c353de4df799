<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

use Drupal\Core\Extension\Extension;
use Drupal\Core\Extension\ExtensionList;
use Drupal\Core\Site\Settings;

/** Installs a site: settings.php, tables, configuration, modules, first content, files. */
final class Installer {

  private array $code;

  public function __construct(private DrupalKernel $kernel) {
    $this->code = ExtensionList::scan($kernel->appRoot, $kernel->sitePath);
  }

  public function hasProfile(string $profile): bool {
    return ($this->code[$profile]['type'] ?? '') === 'profile';
  }

  /** @param array{name: string, pass: string, mail: string} $account */
  public function install(string $profile, string $site_name, string $locale, array $account): void {
    $this->prepareSettings();
    $this->prepareFiles();
    $this->dropTables();
    require_once $this->kernel->appRoot . '/core/includes/install.inc';
    $this->createTables(install_base_tables());
    $enabled = $this->enabledBy($profile);
    foreach (array_keys($enabled) as $name) {
      $this->load($name);
      $this->createTables(self::hook("{$name}_schema") ?? []);
    }
    $this->saveConfiguration($profile, $enabled, $site_name, $locale);
    $this->kernel->database()->insert('users_field_data', [
      'uid' => 1,
      'name' => $account['name'],
      'pass' => password_hash($account['pass'], PASSWORD_DEFAULT, ['cost' => 8]),
      'mail' => $account['mail'],
      'status' => 1,
      'login' => 0,
    ]);
    $this->kernel->boot();
    $this->kernel->loadCode();
    foreach (array_keys($enabled) as $name) {
      $this->recordSchema($name);
      self::hook("{$name}_install");
    }
    $this->protectSettings();
  }

  private function createTables(array $tables): void {
    foreach ($tables as $table => $spec) {
      $this->kernel->database()->schema()->createTable($table, $spec);
    }
  }

  /** What the profile's info file lists, by name, and the profile itself last: Drupal counts it as a module. */
  private function enabledBy(string $profile): array {
    $names = array_unique(array_merge(['system', 'user', 'node'], $this->code[$profile]['info']['install'] ?? []));
    return array_fill_keys($names, 0) + [$profile => 1000];
  }

  private function load(string $name): void {
    $e = $this->code[$name] ?? throw new \RuntimeException("Unable to install modules: module '$name' is missing.");
    (new Extension($this->kernel->appRoot, $name, $e['type'], $e['path']))->load('install');
  }

  private static function hook(string $function): mixed {
    return function_exists($function) ? $function() : NULL;
  }

  /** A fresh install is at the newest update that its code has. */
  private function recordSchema(string $name): void {
    $registry = \Drupal::service('update.update_hook_registry');
    $updates = $registry->getAvailableUpdates($name);
    $registry->setInstalledVersion($name, $updates ? max($updates) : \Drupal::CORE_MINIMUM_SCHEMA_VERSION);
  }

  private function saveConfiguration(string $profile, array $enabled, string $site_name, string $locale): void {
    $db = $this->kernel->database();
    (new Config($db, 'core.extension'))->setData(['module' => $enabled, 'theme' => ['tide' => 0], 'profile' => $profile])->save();
    (new Config($db, 'system.site'))->setData(['uuid' => bin2hex(random_bytes(16)), 'name' => $site_name, 'langcode' => $locale, 'default_langcode' => $locale])->save();
    (new Config($db, 'system.theme'))->setData(['default' => 'tide', 'admin' => 'tide'])->save();
    (new KeyValueStore($db, 'state'))->set('install_time', time());
  }

  /** Installing again over an old site begins with an empty database. */
  private function dropTables(): void {
    $schema = $this->kernel->database()->schema();
    foreach ($schema->tables() as $table) {
      $this->kernel->database()->exec("DROP TABLE $table");
    }
  }

  /**
   * Keeps a ready settings.php only if its config_sync_directory exists, as Drupal does.
   *
   * Otherwise the installer thinks that it has to write the file: a new hash_salt, the database once more, a new
   * sync directory.
   */
  private function prepareSettings(): void {
    $sync = Settings::get('config_sync_directory', '');
    $root = $this->kernel->appRoot;
    if ($sync !== '' && is_dir($sync[0] === '/' ? $sync : "$root/$sync")) {
      return;
    }
    $file = "$root/{$this->kernel->sitePath}/settings.php";
    $sync = "{$this->kernel->sitePath}/files/config_" . bin2hex(random_bytes(8)) . '/sync';
    $salt = rtrim(strtr(base64_encode(random_bytes(55)), '+/', '-_'), '=');
    @chmod($file, 0644);
    file_put_contents($file, "\n\$databases['default']['default'] = " . var_export(Settings::database(), TRUE) . ";\n"
      . "\$settings['hash_salt'] = '$salt';\n\$settings['config_sync_directory'] = '$sync';\n", FILE_APPEND);
    @chmod("$root/{$this->kernel->sitePath}", 0755);
    @mkdir("$root/$sync", 0775, TRUE);
    Settings::initialize($root, $this->kernel->sitePath);
  }

  private function prepareFiles(): void {
    $files = $this->path($this->kernel->folder('public'));
    if (!is_dir($files) && !mkdir($files, 0775, TRUE)) {
      throw new \RuntimeException("The directory $files does not exist or is not writable.");
    }
    file_put_contents("$files/.htaccess", "# Files that were uploaded are never run.
SetHandler default-handler
");
    copy("{$this->kernel->appRoot}/core/misc/harbour.svg", "$files/harbour.svg");
  }

  private function path(string $folder): string {
    return $folder[0] === '/' ? $folder : "{$this->kernel->appRoot}/$folder";
  }

  /** Drupal takes away its own right to write here; whoever deletes the site must give it back first. */
  private function protectSettings(): void {
    $folder = "{$this->kernel->appRoot}/{$this->kernel->sitePath}";
    @chmod("$folder/settings.php", 0444);
    @chmod($folder, 0555);
  }

}
