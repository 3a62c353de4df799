<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

/** There is no site here yet: the visitor is sent to the installer. */
final class NotInstalled extends \RuntimeException {}
