<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

return require __DIR__ . '/../vendor/autoload.php';
