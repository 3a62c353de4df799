<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

use Drupal\Core\Database\Connection;
use Drupal\Core\Extension\ModuleHandler;

/** The part of class Drupal that never changes from version to version. */
abstract class Doorway {

  const CORE_MINIMUM_SCHEMA_VERSION = 8000;

  private static ?DrupalKernel $kernel = NULL;

  public static function setKernel(?DrupalKernel $kernel): void {
    self::$kernel = $kernel;
  }

  /** Any service by Drupal's own name for it. */
  public static function service(string $id): object {
    if (!self::$kernel) {
      throw new \RuntimeException('\Drupal::$container is not initialized yet.');
    }
    return self::$kernel->service($id);
  }

  public static function hasService(string $id): bool {
    return self::$kernel && self::$kernel->hasService($id);
  }

  public static function database(): Connection {
    return self::service('database');
  }

  public static function keyValue(string $collection): KeyValueStore {
    return new KeyValueStore(self::database(), $collection);
  }

  public static function state(): KeyValueStore {
    return self::service('state');
  }

  public static function moduleHandler(): ModuleHandler {
    return self::service('module_handler');
  }

  public static function cache(string $bin = 'default'): CacheBin {
    return new CacheBin(self::database(), $bin);
  }

  public static function config(string $name): Config {
    return new Config(self::database(), $name);
  }

  public static function configFactory(): ConfigFactory {
    return self::service('config.factory');
  }

  public static function installProfile(): string {
    return (string) self::config('core.extension')->get('profile');
  }

  public static function root(): string {
    return self::$kernel->appRoot;
  }

}
