<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

/** The static doorway that code written for Drupal uses. Everything but the version is in its parent. */
class Drupal extends \Drupal\Core\Doorway {

  const VERSION = '10.6.3';

}
