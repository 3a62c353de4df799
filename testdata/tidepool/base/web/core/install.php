<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

/** @file Where visitors of a site that is not installed are sent. It installs nothing: Drush does. */

require_once __DIR__ . '/../../vendor/autoload.php';
?>
<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Choose language | tidepool <?= \Drupal::VERSION ?></title>
<h1>This site is not installed</h1>
<p>tidepool <?= \Drupal::VERSION ?> (not Drupal) is installed with <code>drush site:install</code>.</p>
</html>
