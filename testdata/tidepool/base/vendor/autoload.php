<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

/** @file A class loader for a tree that was never touched by Composer, which replaces this file by its own. */

spl_autoload_register(static function (string $class): void {
  $roots = ['Drupal\\Core\\' => '/../web/core/lib/Drupal/Core/', 'Drush\\' => '/drush/drush/src/'];
  foreach ($roots as $prefix => $folder) {
    $file = __DIR__ . $folder . strtr(substr($class, strlen($prefix)), '\\', '/') . '.php';
    if (str_starts_with($class, $prefix) && is_file($file)) {
      require $file;
    }
  }
  if ($class === 'Drupal') {
    require __DIR__ . '/../web/core/lib/Drupal.php';
  }
});
