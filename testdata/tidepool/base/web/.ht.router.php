<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

/** @file Router for "php -S": files are served as they are, everything else goes to index.php. */

$path = rawurldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/');
if ($path !== '/' && is_file(__DIR__ . $path) && (!str_ends_with($path, '.php') || $path === '/core/install.php')) {
  return FALSE;
}
chdir(__DIR__);
require __DIR__ . '/index.php';
