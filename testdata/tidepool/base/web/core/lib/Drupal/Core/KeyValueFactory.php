<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

use Drupal\Core\Database\Connection;

/** Gives the collections of the key_value table. */
final class KeyValueFactory {

  public function __construct(private Connection $db) {}

  public function get(string $collection): KeyValueStore {
    return new KeyValueStore($this->db, $collection);
  }

}
