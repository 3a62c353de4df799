<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

use Drupal\Core\Database\Connection;

/** Gives configuration objects by name. */
final class ConfigFactory {

  public function __construct(private Connection $db) {}

  public function get(string $name): Config {
    return new Config($this->db, $name);
  }

  public function getEditable(string $name): Config {
    return new Config($this->db, $name);
  }

  /** The names of all objects, or of those that begin with a prefix. */
  public function listAll(string $prefix = ''): array {
    $names = $this->db->query("SELECT name FROM {config} WHERE collection = '' ORDER BY name")->fetchAll(\PDO::FETCH_COLUMN);
    return array_values(array_filter($names, fn ($name) => str_starts_with($name, $prefix)));
  }

}
