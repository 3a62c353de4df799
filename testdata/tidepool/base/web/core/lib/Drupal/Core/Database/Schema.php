<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core\Database;

/** Creates and changes tables from arrays in the form of Drupal's hook_schema(). */
final class Schema {

  public function __construct(private Connection $db) {}

  public function tableExists(string $table): bool {
    return in_array($this->db->prefixed("{{$table}}"), $this->tables(), TRUE);
  }

  /** Every table of this database, with its prefix. */
  public function tables(): array {
    return $this->db->query(match ($this->db->driver) {
      'sqlite' => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
      'mysql' => 'SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()',
      'pgsql' => 'SELECT tablename FROM pg_tables WHERE schemaname = current_schema()',
    })->fetchAll(\PDO::FETCH_COLUMN);
  }

  public function fieldExists(string $table, string $field): bool {
    try {
      $this->db->query("SELECT $field FROM {{$table}} WHERE 1 = 0");
      return TRUE;
    }
    catch (\PDOException) {
      return FALSE;
    }
  }

  public function createTable(string $table, array $spec): void {
    $lines = [];
    foreach ($spec['fields'] as $name => $field) {
      $lines[] = "$name " . $this->type($field);
    }
    $serial = array_filter($spec['fields'], fn ($field) => $field['type'] === 'serial');
    if (!$serial && !empty($spec['primary key'])) {
      $lines[] = 'PRIMARY KEY (' . implode(', ', $spec['primary key']) . ')';
    }
    foreach ($spec['unique keys'] ?? [] as $columns) {
      $lines[] = 'UNIQUE (' . implode(', ', $columns) . ')';
    }
    $engine = $this->db->driver === 'mysql' ? ' DEFAULT CHARSET=utf8mb4' : '';
    $this->db->exec("CREATE TABLE {{$table}} (" . implode(', ', $lines) . ")$engine");
  }

  public function addField(string $table, string $field, array $spec): void {
    if ($this->fieldExists($table, $field)) {
      throw new \RuntimeException("Cannot add field '$table.$field': field already exists.");
    }
    $this->db->exec("ALTER TABLE {{$table}} ADD COLUMN $field " . $this->type($spec));
  }

  public function dropTable(string $table): void {
    $this->db->exec("DROP TABLE IF EXISTS {{$table}}");
  }

  private function type(array $field): string {
    $driver = $this->db->driver;
    if ($field['type'] === 'serial') {
      return ['sqlite' => 'INTEGER PRIMARY KEY AUTOINCREMENT', 'mysql' => 'INT AUTO_INCREMENT PRIMARY KEY', 'pgsql' => 'SERIAL PRIMARY KEY'][$driver];
    }
    $sql = match ($field['type']) {
      'int' => ($field['size'] ?? '') === 'big' ? 'BIGINT' : 'INTEGER',
      'varchar' => 'VARCHAR(' . ($field['length'] ?? 255) . ')',
      'text' => $driver === 'mysql' ? 'LONGTEXT' : 'TEXT',
    };
    if ($driver === 'sqlite' && ($field['binary'] ?? NULL) === FALSE) {
      $sql .= ' COLLATE NOCASE_UTF8';
    }
    if ($driver === 'mysql' && $field['type'] === 'varchar' && ($field['binary'] ?? TRUE)) {
      $sql .= ' CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
    }
    if (array_key_exists('default', $field)) {
      $sql .= ' DEFAULT ' . (is_int($field['default']) ? $field['default'] : "'" . str_replace("'", "''", $field['default']) . "'");
    }
    return $sql . (empty($field['not null']) ? '' : ' NOT NULL');
  }

}
