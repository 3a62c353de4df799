<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

/** @file The front controller: every request that is not a file comes here. */

use Drupal\Core\DrupalKernel;
use Drupal\Core\Request;

$autoloader = require_once __DIR__ . '/autoload.php';

DrupalKernel::run(Request::fromGlobals())->send();
