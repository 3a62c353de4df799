<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

/**
 * @file
 * Copy to sites.php to turn multisite on. Without that file, even an empty one, sites/<host> is ignored.
 *
 * @code
 * $sites['8088.www.example.com'] = 'example.com';
 * @endcode
 */
