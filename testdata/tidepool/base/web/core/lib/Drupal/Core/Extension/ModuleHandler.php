<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core\Extension;

/** The enabled modules, in the order in which their hooks run. */
final class ModuleHandler {

  /** @param array<string, Extension> $modules */
  public function __construct(private array $modules) {}

  /** @return array<string, Extension> */
  public function getModuleList(): array {
    return $this->modules;
  }

  public function moduleExists(string $name): bool {
    return isset($this->modules[$name]);
  }

  public function getModule(string $name): Extension {
    return $this->modules[$name] ?? throw new \InvalidArgumentException("The module $name does not exist.");
  }

  public function loadAll(): void {
    foreach ($this->modules as $module) {
      $module->load('module');
    }
  }

  public function loadInclude(string $name, string $suffix): void {
    if (isset($this->modules[$name])) {
      $this->modules[$name]->load($suffix);
    }
  }

  /** Calls MODULE_HOOK() of every module and gives what they return. */
  public function invokeAll(string $hook, array $arguments = []): array {
    $results = [];
    foreach (array_keys($this->modules) as $name) {
      $function = "{$name}_$hook";
      if (function_exists($function)) {
        $results = array_merge($results, (array) $function(...$arguments));
      }
    }
    return $results;
  }

  /** Calls MODULE_HOOK() of every module, handing on one variable that each may change. */
  public function alter(string $hook, array &$variables): void {
    foreach ($this->modules as $name => $module) {
      $function = "{$name}_$hook";
      if (function_exists($function)) {
        $function($variables);
      }
    }
  }

}
