<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core\Site;

/** What settings.php of the chosen site says. */
final class Settings {

  private static array $settings = [];
  private static array $databases = [];
  private static array $config = [];

  /** Reads sites/X/settings.php the way Drupal does: as PHP, with $app_root and $site_path in scope. */
  public static function initialize(string $app_root, string $site_path): void {
    $settings = $databases = $config = [];
    if (is_readable("$app_root/$site_path/settings.php")) {
      require "$app_root/$site_path/settings.php";
    }
    self::$settings = $settings;
    self::$databases = $databases;
    self::$config = $config;
  }

  public static function get(string $name, mixed $default = NULL): mixed {
    return self::$settings[$name] ?? $default;
  }

  /** The $databases['default']['default'] array, or NULL when settings.php names no database. */
  public static function database(): ?array {
    return self::$databases['default']['default'] ?? NULL;
  }

  /** A $config override, as in $config['system.logging']['error_level'] = 'verbose'. */
  public static function configOverride(string $name): array {
    return self::$config[$name] ?? [];
  }

  public static function getHashSalt(): string {
    $salt = self::get('hash_salt', '');
    if ($salt === '') {
      throw new \RuntimeException('Missing $settings[\'hash_salt\'] in settings.php.');
    }
    return $salt;
  }

}
