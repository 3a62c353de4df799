<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

use Drupal\Core\Database\Connection;

/** One collection of the key_value table: 'state', 'system.schema' and the like. Values are serialized. */
final class KeyValueStore {

  public function __construct(private Connection $db, private string $collection) {}

  public function get(string $key, mixed $default = NULL): mixed {
    $value = $this->db->query('SELECT value FROM {key_value} WHERE collection = ? AND name = ?', [$this->collection, $key])->fetchColumn();
    return $value === FALSE ? $default : unserialize($value, ['allowed_classes' => FALSE]);
  }

  public function has(string $key): bool {
    return $this->db->query('SELECT name FROM {key_value} WHERE collection = ? AND name = ?', [$this->collection, $key])->fetchColumn() !== FALSE;
  }

  public function getMultiple(array $keys): array {
    return array_intersect_key($this->getAll(), array_flip($keys));
  }

  public function getAll(): array {
    $rows = $this->db->query('SELECT name, value FROM {key_value} WHERE collection = ? ORDER BY name', [$this->collection]);
    return array_map(fn ($value) => unserialize($value, ['allowed_classes' => FALSE]), $rows->fetchAll(\PDO::FETCH_KEY_PAIR));
  }

  public function set(string $key, mixed $value): void {
    $this->db->upsert('key_value', ['collection', 'name'], ['collection' => $this->collection, 'name' => $key, 'value' => serialize($value)]);
  }

  public function setMultiple(array $values): void {
    foreach ($values as $key => $value) {
      $this->set($key, $value);
    }
  }

  public function delete(string $key): void {
    $this->db->query('DELETE FROM {key_value} WHERE collection = ? AND name = ?', [$this->collection, $key]);
  }

}
