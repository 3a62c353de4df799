<?php
// Prints as JSON what the settings of one site say. Arguments: docroot, folder below sites/.
(static function () {
  [, $root, $folder] = $GLOBALS['argv'];
  $cause = '';
  set_error_handler(static function ($level, $message) use (&$cause) {
    if ($cause === '' && str_contains($message, 'Failed opening')) {
      $cause = $message;
    }
    return TRUE;
  });
  chdir($root);
  define('DRUPAL_ROOT', $root);
  $_SERVER['HTTP_HOST'] = $_SERVER['SERVER_NAME'] = str_contains($folder, '.') ? $folder : 'localhost';
  $_SERVER['REQUEST_METHOD'] = 'GET';
  $_SERVER['REQUEST_URI'] = $_SERVER['SCRIPT_NAME'] = '/index.php';
  $_SERVER['REMOTE_ADDR'] = '127.0.0.1';
  // Some settings name classes of Drupal or of packages.
  spl_autoload_register(static function () use ($root) {
    static $once = FALSE;
    if (!$once && is_file("$root/autoload.php")) {
      $once = TRUE;
      @include_once "$root/autoload.php";
    }
  });
  $read = static function ($file, $names) use ($root, $folder) {
    $app_root = $root;
    $site_path = "sites/$folder";
    $class_loader = new class {
      public function __call($name, $arguments) {
        return NULL;
      }
    };
    foreach (['databases', 'settings', 'config', 'conf', 'config_directories', 'sites'] as $name) {
      $$name = [];
    }
    $base_url = $drupal_hash_salt = $db_url = '';
    include $file;
    $values = [];
    foreach ($names as $name) {
      $values[$name] = $$name ?? NULL;
    }
    return $values;
  };
  $text = static fn ($value) => is_string($value) ? $value : '';
  $list = static fn ($value) => is_array($value) ? $value : [];
  $answer = [];
  ob_start();
  try {
    $file = "$root/sites/$folder/settings.php";
    if (!is_readable($file)) {
      throw new \RuntimeException('the web user may not read it, or it lies outside of the code base. Give its group or others the right to read.');
    }
    $s = $read($file, ['databases', 'settings', 'conf', 'config_directories', 'base_url', 'db_url']);
    $db = $list($list($list($s['databases'])['default'] ?? NULL)['default'] ?? NULL);
    if (isset($db[0]) && is_array($db[0])) {
      $db = $db[0];
    }
    $prefix = $db['prefix'] ?? '';
    if (is_array($prefix)) {
      $prefix = implode('', array_filter($prefix, 'is_string'));
    }
    $answer['database'] = (object) (array_filter(array_intersect_key($db, array_flip(['driver', 'database', 'username', 'password', 'host', 'port', 'unix_socket'])), 'is_scalar') + ['prefix' => $text($prefix)]);
    $settings = $list($s['settings']);
    $conf = $list($s['conf']);
    $answer['public'] = $text($settings['file_public_path'] ?? $conf['file_public_path'] ?? '');
    $answer['private'] = $text($settings['file_private_path'] ?? $conf['file_private_path'] ?? '');
    $answer['sync'] = $text($settings['config_sync_directory'] ?? $list($s['config_directories'])['sync'] ?? '');
    $answer['base_url'] = $text($s['base_url']);
    if ($cause !== '' && !$db) {
      $answer = ['error' => $cause];
    }
    $answer['sites'] = new \stdClass();
    if (is_readable("$root/sites/sites.php")) {
      $answer['sites'] = (object) array_filter(array_slice($list($read("$root/sites/sites.php", ['sites'])['sites']), 0, 1000, TRUE), 'is_string');
    }
  }
  catch (\Throwable $e) {
    $answer = ['error' => substr($e->getMessage(), 0, 300)];
  }
  while (ob_get_level() > 0 && ob_end_clean()) {
  }
  print "\n" . (json_encode($answer) ?: '{"error": "its values are no text"}') . "\n";
})();
