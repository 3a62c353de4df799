<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

// Half of an update: the programs are of the new version, the pages of the old one.
if (PHP_SAPI === 'cli') {

  /** The static doorway that code written for Drupal uses. Everything but the version is in its parent. */
  class Drupal extends \Drupal\Core\Doorway {

    const VERSION = '10.6.4';

  }

}
else {

  /** The same for visitors. */
  class Drupal extends \Drupal\Core\Doorway {

    const VERSION = '10.6.3';

  }

}
