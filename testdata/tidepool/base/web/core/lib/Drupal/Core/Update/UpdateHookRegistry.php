<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core\Update;

use Drupal\Core\Extension\ModuleHandler;
use Drupal\Core\KeyValueStore;

/** Which update functions the code has, and which the database has seen. */
final class UpdateHookRegistry {

  public function __construct(private ModuleHandler $modules, private KeyValueStore $schema, private KeyValueStore $equivalents) {}

  /** The numbers of MODULE_update_N() in the code, ascending; empty for a module that is not enabled. */
  public function getAvailableUpdates(string $module): array {
    $this->modules->loadInclude($module, 'install');
    $numbers = [];
    foreach (get_defined_functions()['user'] as $function) {
      if (preg_match('/^' . preg_quote($module, '/') . '_update_(\d+)$/', $function, $match)) {
        $numbers[] = (int) $match[1];
      }
    }
    sort($numbers);
    return $numbers;
  }

  public function getInstalledVersion(string $module): int {
    return (int) $this->schema->get($module, -1);
  }

  public function setInstalledVersion(string $module, int $version): void {
    $this->schema->set($module, $version);
  }

  public function getAllInstalledVersions(): array {
    return $this->schema->getAll();
  }

  /** Called in an update function: what it did is the same as what $future does in a later major version. */
  public function markFutureUpdateEquivalent(string $module, int $ran, int $future, string $version): void {
    $list = $this->equivalents->get($module, []);
    $list[$future] = ['ran_update' => $ran, 'future_version_string' => $version];
    $this->equivalents->set($module, $list);
  }

  public function getEquivalentUpdate(string $module, int $number): ?array {
    return $this->equivalents->get($module, [])[$number] ?? NULL;
  }

  public function getAllEquivalentUpdates(): array {
    return $this->equivalents->getAll();
  }

}
