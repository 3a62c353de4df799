<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

/** The request itself is not acceptable: status 400. */
final class BadRequest extends \RuntimeException {}
