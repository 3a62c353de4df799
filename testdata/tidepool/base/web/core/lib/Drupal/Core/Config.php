<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

use Drupal\Core\Database\Connection;
use Drupal\Core\Site\Settings;

/** One configuration object of the config table, with settings.php's $config laid over it. */
final class Config {

  private array $data;

  public function __construct(private Connection $db, private string $name) {
    $data = $db->query("SELECT data FROM {config} WHERE collection = '' AND name = ?", [$name])->fetchColumn();
    $this->data = $data === FALSE ? [] : unserialize($data, ['allowed_classes' => FALSE]);
  }

  public function get(string $key = ''): mixed {
    $value = array_replace_recursive($this->data, Settings::configOverride($this->name));
    foreach ($key === '' ? [] : explode('.', $key) as $part) {
      $value = is_array($value) ? ($value[$part] ?? NULL) : NULL;
    }
    return $value;
  }

  public function getName(): string {
    return $this->name;
  }

  public function isNew(): bool {
    return $this->data === [];
  }

  /** The whole object without what settings.php lays over it. */
  public function getRawData(): array {
    return $this->data;
  }

  public function setData(array $data): static {
    $this->data = $data;
    return $this;
  }

  public function set(string $key, mixed $value): static {
    $place = &$this->data;
    foreach (explode('.', $key) as $part) {
      $place = &$place[$part];
    }
    $place = $value;
    return $this;
  }

  public function save(): static {
    $this->db->upsert('config', ['collection', 'name'], ['collection' => '', 'name' => $this->name, 'data' => serialize($this->data)]);
    return $this;
  }

}
