<?php
// tidepool's stand-in for Drush: the same commands, options, output and exit codes. It is not Drush.

namespace Drush;

use Drupal\Core\DrupalKernel;
use Drupal\Core\Request;
use Drupal\Core\Site\Settings;

/** Starts the site that --uri names, as far as that goes. */
final class Bootstrap {

  const SITE = 1;
  const CONFIGURATION = 2;
  const DATABASE = 3;
  const FULL = 4;

  public readonly string $root;
  public readonly string $uri;
  public readonly string $script;
  private ?DrupalKernel $kernel = NULL;

  public function __construct(?string $root, ?string $uri) {
    // The code that runs is the code beside vendor/, whatever --root says: a Drush belongs to its own site.
    $this->root = dirname((new \ReflectionClass(\Drupal::class))->getFileName(), 3);
    $asked = $root === NULL ? $this->root : realpath($root);
    if (!in_array($asked, [$this->root, dirname($this->root)], TRUE)) {
      throw new \RuntimeException("This Drush serves $this->root and cannot be used for --root=$root.");
    }
    $uri = $uri ?? 'default';
    $this->uri = str_contains($uri, '://') ? $uri : "http://$uri";
    $this->script = (string) realpath($_SERVER['argv'][0]);
    chdir($this->root);
  }

  /** A kernel that has only found its site and read settings.php. */
  public function kernel(bool $require_settings = TRUE): DrupalKernel {
    return $this->kernel ??= new DrupalKernel(Request::forUri($this->uri), $require_settings);
  }

  /** Goes as far as it can and says how far. Errors in the site's own code are not caught: they end every command. */
  public function max(bool $fresh = FALSE): int {
    $kernel = $this->kernel();
    if (!Settings::database()) {
      return self::SITE;
    }
    try {
      if (!$kernel->database()->schema()->tableExists('key_value')) {
        return self::CONFIGURATION;
      }
    }
    catch (\Exception) {
      return self::CONFIGURATION;
    }
    try {
      $kernel->boot($fresh);
      $kernel->loadCode();
    }
    catch (\Exception) {
      return self::DATABASE;
    }
    return self::FULL;
  }

  /** $fresh skips the cached container, as Drupal's update kernel does. */
  public function full(bool $fresh = FALSE): DrupalKernel {
    if ($this->max($fresh) < self::FULL) {
      throw new \Exception('Bootstrap failed. Run your command with -vvv for more information.');
    }
    return $this->kernel();
  }

}
