<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core\Database;

/** One PDO connection to SQLite, MySQL/MariaDB or PostgreSQL. SQL names tables as {table}. */
final class Connection {

  /** What servers say when two transactions stood in each other's way, and one of them has to come again. */
  const COME_AGAIN = ['40001', '40P01'];

  private function __construct(private \PDO $pdo, public readonly string $driver, private string $prefix, private array $info) {}

  /** Opens what settings.php's $databases array describes. */
  public static function open(array $info): self {
    $driver = $info['driver'] ?? '';
    $pdo = match ($driver) {
      'sqlite' => self::openSqlite($info),
      'mysql' => self::openMysql($info),
      'pgsql' => self::openPgsql($info),
      default => throw new \RuntimeException("The database driver '$driver' is not supported."),
    };
    foreach ($info['init_commands'] ?? [] as $command) {
      $pdo->exec($command);
    }
    return new self($pdo, $driver, (string) ($info['prefix'] ?? ''), $info);
  }

  /** As in Drupal, settings.php may give more options to PDO, such as the certificates of the server. */
  private static function options(array $info): array {
    return [\PDO::ATTR_ERRMODE => \PDO::ERRMODE_EXCEPTION, \PDO::ATTR_DEFAULT_FETCH_MODE => \PDO::FETCH_ASSOC] + ($info['pdo'] ?? []);
  }

  private static function openSqlite(array $info): \PDO {
    $pdo = new \PDO('sqlite:' . $info['database'], NULL, NULL, self::options($info) + [\PDO::ATTR_TIMEOUT => 30]);
    // Drupal's own collation lives in PHP only: that is why other programs cannot dump, vacuum or check the file.
    $pdo->sqliteCreateCollation('NOCASE_UTF8', fn ($a, $b) => strcmp(mb_strtolower($a), mb_strtolower($b)));
    $pdo->exec('PRAGMA journal_mode=WAL');
    return $pdo;
  }

  private static function openMysql(array $info): \PDO {
    $where = empty($info['unix_socket'])
      ? 'host=' . ($info['host'] ?? 'localhost') . ';port=' . ($info['port'] ?? 3306)
      : 'unix_socket=' . $info['unix_socket'];
    return new \PDO("mysql:$where;dbname={$info['database']};charset=utf8mb4", $info['username'] ?? NULL, $info['password'] ?? NULL, self::options($info));
  }

  private static function openPgsql(array $info): \PDO {
    $dsn = 'pgsql:host=' . ($info['host'] ?? 'localhost') . ';port=' . ($info['port'] ?? 5432) . ';dbname=' . $info['database'];
    $dsn .= isset($info['sslmode']) ? ";sslmode={$info['sslmode']}" : '';
    return new \PDO($dsn, $info['username'] ?? NULL, $info['password'] ?? NULL, self::options($info));
  }

  /** What settings.php says of the connection. */
  public function getConnectionOptions(): array {
    return $this->info;
  }

  public function query(string $sql, array $args = []): \PDOStatement {
    for ($try = 1;; $try++) {
      try {
        $statement = $this->pdo->prepare($this->prefixed($sql));
        $statement->execute($args);
        return $statement;
      }
      catch (\PDOException $e) {
        // Each statement is a transaction of its own, so it may simply be repeated.
        if ($try === 5 || !in_array((string) $e->getCode(), self::COME_AGAIN, TRUE)) {
          throw $e;
        }
        usleep(random_int(1000, 20000));
      }
    }
  }

  public function exec(string $sql): void {
    $this->pdo->exec($this->prefixed($sql));
  }

  /** Inserts one row. */
  public function insert(string $table, array $row): void {
    $this->query("INSERT INTO {{$table}} (" . implode(', ', array_keys($row)) . ') VALUES (' . self::marks($row) . ')', array_values($row));
  }

  /** Inserts one row, or replaces its other columns when a row with these key columns is there. */
  public function upsert(string $table, array $keys, array $row): void {
    $others = array_diff(array_keys($row), $keys);
    $on = $this->driver === 'mysql'
      ? 'ON DUPLICATE KEY UPDATE ' . implode(', ', array_map(fn ($c) => "$c = VALUES($c)", $others))
      : 'ON CONFLICT (' . implode(', ', $keys) . ') DO UPDATE SET ' . implode(', ', array_map(fn ($c) => "$c = excluded.$c", $others));
    $this->query("INSERT INTO {{$table}} (" . implode(', ', array_keys($row)) . ') VALUES (' . self::marks($row) . ") $on", array_values($row));
  }

  /** The number that the last insert into a table with a serial column got. */
  public function lastInsertId(): int {
    return (int) $this->pdo->lastInsertId();
  }

  public function driver(): string {
    return $this->driver;
  }

  public function schema(): Schema {
    return new Schema($this);
  }

  public function prefixed(string $sql): string {
    return preg_replace('/\{(\w+)\}/', $this->prefix . '$1', $sql);
  }

  private static function marks(array $row): string {
    return implode(', ', array_fill(0, count($row), '?'));
  }

}
