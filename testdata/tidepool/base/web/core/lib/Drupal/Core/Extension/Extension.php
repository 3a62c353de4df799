<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core\Extension;

/** One enabled module, profile or theme. */
final class Extension {

  /** Whether it is enabled, 1 or 0, and what its info file says; set by the extension lists alone, as in Drupal. */
  public int $status = 0;
  public array $info = [];
  public string $origin = '';

  public function __construct(private string $root, private string $name, private string $type, private string $path) {}

  public function getName(): string {
    return $this->name;
  }

  public function getType(): string {
    return $this->type;
  }

  /** Below the root of the code. */
  public function getPath(): string {
    return $this->path;
  }

  /** Includes NAME.module, .install or .theme. Like Drupal it trusts the container that the folder is there. */
  public function load(string $suffix): void {
    $file = "$this->root/$this->path/$this->name.$suffix";
    // A folder that is there need not have the file; a folder that is gone is an error worth a warning.
    if (is_file($file) || !is_dir(dirname($file))) {
      include_once $file;
    }
  }

}
