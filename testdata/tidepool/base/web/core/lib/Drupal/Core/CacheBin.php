<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

use Drupal\Core\Database\Connection;

/** One cache table: cache_container, cache_page, cache_discovery. */
final class CacheBin {

  const BINS = ['container', 'discovery', 'page'];

  public function __construct(private Connection $db, private string $bin) {}

  public function get(string $cid): mixed {
    $data = $this->db->query("SELECT data FROM {cache_$this->bin} WHERE cid = ?", [self::normalise($cid)])->fetchColumn();
    return $data === FALSE ? NULL : unserialize($data, ['allowed_classes' => FALSE]);
  }

  public function set(string $cid, mixed $data): void {
    $this->db->upsert("cache_$this->bin", ['cid'], ['cid' => self::normalise($cid), 'data' => serialize($data), 'expire' => -1, 'created' => time()]);
  }

  public function deleteAll(): void {
    $this->db->query("DELETE FROM {cache_$this->bin}");
  }

  /** The cid column holds 255 characters; addresses can be longer. */
  private static function normalise(string $cid): string {
    return strlen($cid) <= 255 ? $cid : substr($cid, 0, 190) . hash('sha256', $cid);
  }

}
