<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core\Extension;

/** Finds the modules, profiles and themes that are in the code. */
final class ExtensionList {

  private ?array $list = NULL;

  /** @param array<string, mixed> $installed by name, what core.extension says of this type */
  public function __construct(private string $root, private string $site_path, private string $type, private array $installed) {}

  /** @return array<string, Extension> */
  public function getList(): array {
    if ($this->list === NULL) {
      $this->list = [];
      foreach (self::scan($this->root, $this->site_path) as $name => $e) {
        // Drupal counts the install profile among the modules, too.
        if ($e['type'] === $this->type || $this->type === 'module' && $e['type'] === 'profile' && isset($this->installed[$name])) {
          $extension = new Extension($this->root, $name, $e['type'], $e['path']);
          $extension->status = (int) isset($this->installed[$name]);
          $extension->info = $e['info'];
          $extension->origin = $e['origin'];
          $this->list[$name] = $extension;
        }
      }
    }
    return $this->list;
  }

  public function exists(string $name): bool {
    return isset($this->getList()[$name]);
  }

  public function get(string $name): Extension {
    return $this->getList()[$name] ?? throw new \InvalidArgumentException("The $this->type $name does not exist.");
  }

  public function getPath(string $name): string {
    return $this->get($name)->getPath();
  }

  public function getExtensionInfo(string $name): array {
    return $this->get($name)->info;
  }

  public function getAllAvailableInfo(): array {
    return array_map(fn ($e) => $e->info, $this->getList());
  }

  public function getAllInstalledInfo(): array {
    return array_intersect_key($this->getAllAvailableInfo(), $this->installed);
  }

  public function reset(): static {
    $this->list = NULL;
    return $this;
  }

  /**
   * Every extension found below the root, keyed by machine name.
   *
   * @return array<string, array{name: string, type: string, path: string, origin: string, info: array}>
   */
  public static function scan(string $root, string $site_path): array {
    $found = [];
    foreach (['core', '', $site_path] as $base) {
      foreach (['module' => 'modules', 'profile' => 'profiles', 'theme' => 'themes'] as $type => $folder) {
        $where = ltrim("$base/$folder", '/');
        foreach (self::infoFiles("$root/$where") as $file) {
          $name = basename($file, '.info.yml');
          $found[$name] = [
            'name' => $name,
            'type' => $type,
            'path' => substr(dirname($file), strlen($root) + 1),
            'origin' => $base === 'core' ? 'core' : '',
            'info' => self::parseInfo($file),
          ];
        }
      }
    }
    ksort($found);
    return $found;
  }

  /** Extensions lie one or two folders deep: modules/node, modules/contrib/tidepool_tides. */
  private static function infoFiles(string $folder): array {
    return array_merge(glob("$folder/*/*.info.yml") ?: [], glob("$folder/*/*/*.info.yml") ?: []);
  }

  /** Reads the flat YAML of an info file: scalars and lists of scalars. Core's version is "VERSION". */
  private static function parseInfo(string $file): array {
    $info = [];
    $key = '';
    foreach (file($file, FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) as $line) {
      if (preg_match('/^\s+-\s+(.+)$/', $line, $match)) {
        $info[$key][] = trim($match[1], " '\"");
      }
      elseif (preg_match('/^(\w+):\s*(.*)$/', $line, $match)) {
        $key = $match[1];
        $info[$key] = $match[2] === '' ? [] : trim($match[2], " '\"");
      }
    }
    if (($info['version'] ?? '') === 'VERSION') {
      $info['version'] = \Drupal::VERSION;
    }
    return $info + ['name' => basename($file, '.info.yml'), 'package' => 'Other', 'version' => NULL];
  }

}
