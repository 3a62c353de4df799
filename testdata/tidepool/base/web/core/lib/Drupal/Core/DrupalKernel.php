<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

use Drupal\Core\Database\Connection;
use Drupal\Core\Extension\Extension;
use Drupal\Core\Extension\ExtensionList;
use Drupal\Core\Extension\ModuleHandler;
use Drupal\Core\Site\Settings;
use Drupal\Core\Update\PostUpdateRegistry;
use Drupal\Core\Update\UpdateHookRegistry;

/** Finds the site of a request, starts it, and answers. */
final class DrupalKernel {

  /** Those that code written for Drupal may ask for. */
  const SERVICES = [
    'kernel', 'database', 'state', 'keyvalue', 'config.factory', 'cron', 'module_handler', 'extension.list.module', 'extension.list.profile',
    'extension.list.theme', 'update.update_hook_registry', 'update.post_update_registry',
  ];

  public readonly string $appRoot;
  public readonly string $sitePath;
  private array $services = [];
  private array $container = [];

  public function __construct(public readonly Request $request, bool $require_settings = TRUE) {
    $this->appRoot = dirname(__DIR__, 4);
    $this->sitePath = self::findSitePath($request, $require_settings, $this->appRoot);
    Settings::initialize($this->appRoot, $this->sitePath);
    $this->services['kernel'] = $this;
    \Drupal::setKernel($this);
  }

  /**
   * The folder of the request's site, by Drupal's multisite rules.
   *
   * Without sites/sites.php there is only sites/default. With it, the longest name wins: 8088.www.example.com,
   * www.example.com, example.com, com; each first with the folders of a site in a subdirectory.
   */
  public static function findSitePath(Request $request, bool $require_settings, string $root): string {
    if (!preg_match('/^\[?(?:[a-z0-9-:\]_]+\.?)+$/D', $request->host) || strlen($request->host) > 1000) {
      throw new BadRequest('Invalid host.');
    }
    if (!file_exists("$root/sites/sites.php")) {
      return 'sites/default';
    }
    $sites = [];
    include "$root/sites/sites.php";
    $folders = explode('/', $request->script);
    $labels = explode('.', implode('.', array_reverse(explode(':', rtrim($request->host, '.')))));
    for ($i = count($folders) - 1; $i > 0; $i--) {
      for ($j = count($labels); $j > 0; $j--) {
        $name = implode('.', array_slice($labels, -$j)) . implode('.', array_slice($folders, 0, $i));
        if (isset($sites[$name]) && file_exists("$root/sites/{$sites[$name]}")) {
          $name = $sites[$name];
        }
        if (file_exists("$root/sites/$name/settings.php") || (!$require_settings && file_exists("$root/sites/$name"))) {
          return "sites/$name";
        }
      }
    }
    return 'sites/default';
  }

  /** Opens the database and takes the container from its cache, or builds one when $fresh or none fits. */
  public function boot(bool $fresh = FALSE): void {
    $cache = new CacheBin($this->database(), 'container');
    $this->container = $fresh ? [] : ($cache->get(self::containerKey()) ?? []);
    if ($this->container) {
      return;
    }
    $this->container = $this->buildContainer();
    if (!$fresh) {
      $cache->set(self::containerKey(), $this->container);
      (new CacheBin($this->database(), 'discovery'))->set('theme_registry', array_map(fn ($e) => "$this->appRoot/{$e['path']}", $this->container['container.themes']));
    }
  }

  /**
   * The key has the core version and the deployment identifier in it, and not the code's place.
   *
   * So code of the same version in another folder is handed the old folder's container unless the identifier of
   * settings.php (or a path in container_yamls) differs. Real Drupal does this; it is the trap to test against.
   */
  private static function containerKey(): string {
    return implode(':', ['service_container', 'prod', \Drupal::VERSION, Settings::get('deployment_identifier'), PHP_OS, serialize(Settings::get('container_yamls'))]);
  }

  private function buildContainer(): array {
    $installed = (new Config($this->database(), 'core.extension'))->get();
    if (!$installed) {
      throw new NotInstalled('core.extension is missing from the configuration.');
    }
    $code = ExtensionList::scan($this->appRoot, $this->sitePath);
    // A module that is enabled and not in the code is left out without a word.
    return [
      'app.root' => $this->appRoot,
      'container.modules' => array_intersect_key($code, $installed['module']),
      'container.themes' => array_intersect_key($code, $installed['theme']),
    ];
  }

  /** Includes the enabled modules' code and the theme from where the container says they are. */
  public function loadCode(): void {
    $this->service('module_handler')->loadAll();
    foreach ($this->container['container.themes'] as $theme) {
      $this->extension($theme)->load('theme');
    }
    @include_once $this->container['app.root'] . '/core/themes/engines/twig/twig.engine';
  }

  private function extension(array $e): Extension {
    return new Extension($this->container['app.root'], $e['name'], $e['type'], $e['path']);
  }

  public function database(): Connection {
    return $this->services['database'] ??= Connection::open(Settings::database() ?? throw new NotInstalled('The specified database connection is not defined: default'));
  }

  public function service(string $id): object {
    return $this->services[$id] ??= match ($id) {
      'database' => $this->database(),
      'state' => new KeyValueStore($this->database(), 'state'),
      'keyvalue' => new KeyValueFactory($this->database()),
      'config.factory' => new ConfigFactory($this->database()),
      'cron' => new Cron($this->service('module_handler'), $this->service('state')),
      'module_handler' => new ModuleHandler(array_map($this->extension(...), $this->container['container.modules'])),
      'extension.list.module', 'extension.list.profile', 'extension.list.theme' => $this->extensionList(substr($id, strlen('extension.list.'))),
      'update.update_hook_registry' => new UpdateHookRegistry(
        $this->service('module_handler'),
        new KeyValueStore($this->database(), 'system.schema'),
        new KeyValueStore($this->database(), 'core.equivalent_updates'),
      ),
      'update.post_update_registry' => new PostUpdateRegistry(),
      default => throw new \RuntimeException("You have requested a non-existent service \"$id\"."),
    };
  }

  private function extensionList(string $type): ExtensionList {
    $installed = (new Config($this->database(), 'core.extension'))->get($type === 'theme' ? 'theme' : 'module');
    return new ExtensionList($this->appRoot, $this->sitePath, $type, $installed ?? []);
  }

  public function getSitePath(): string {
    return $this->sitePath;
  }

  public function hasService(string $id): bool {
    return in_array($id, self::SERVICES, TRUE);
  }

  /** Forgets every cache and the container in memory. */
  public function rebuild(): void {
    foreach (CacheBin::BINS as $bin) {
      (new CacheBin($this->database(), $bin))->deleteAll();
    }
    $this->services = array_intersect_key($this->services, ['kernel' => 1, 'database' => 1]);
    $this->boot();
  }

  /** A folder that settings.php may name: 'public', 'private', 'temp', 'twig'. Absolute, or below the root. */
  public function folder(string $kind): ?string {
    $public = Settings::get('file_public_path', "$this->sitePath/files");
    return match ($kind) {
      'public' => $public,
      'private' => Settings::get('file_private_path') ?: NULL,
      'temp' => Settings::get('file_temp_path') ?: sys_get_temp_dir(),
      'twig' => (Settings::get('php_storage', [])['twig']['directory'] ?? "$public/php") . '/twig',
    };
  }

  /** Answers one web request. */
  public static function run(Request $request): Response {
    ini_set('display_errors', '0');
    set_error_handler(static fn ($level, $message, $file, $line) => error_reporting() & $level ? error_log("Warning: $message in $file on line $line") : TRUE);
    try {
      $kernel = new self($request);
      self::checkHost($request);
      if (!$kernel->isInstalled()) {
        return Response::redirect('/core/install.php');
      }
      $kernel->boot();
      return $kernel->handle();
    }
    catch (BadRequest $e) {
      return Response::text($e->getMessage(), 400);
    }
    catch (NotInstalled) {
      return Response::redirect('/core/install.php');
    }
    catch (\Throwable $e) {
      return self::error($e);
    }
  }

  private function isInstalled(): bool {
    return Settings::database() && $this->database()->schema()->tableExists('key_value');
  }

  private static function checkHost(Request $request): void {
    $patterns = Settings::get('trusted_host_patterns', []);
    foreach ($patterns as $pattern) {
      if (preg_match("{{$pattern}}i", $request->hostname())) {
        return;
      }
    }
    if ($patterns) {
      throw new BadRequest('The provided host name is not valid for this server.');
    }
  }

  /** Page cache first, before any module's code is loaded: that is why a broken site's front page may look well. */
  private function handle(): Response {
    $cacheable = $this->request->method === 'GET' && !Session::cookie($this->request) && isset($this->container['container.modules']['page_cache']);
    $pages = new CacheBin($this->database(), 'page');
    if ($cacheable && ($hit = $pages->get($this->request->uri() . ':'))) {
      return new Response($hit['body'], $hit['status'], $hit['headers'] + ['X-Drupal-Cache' => 'HIT']);
    }
    $this->loadCode();
    $response = (new Controller($this))->respond();
    if ($cacheable && in_array($response->status, [200, 404], TRUE) && !Session::isMaintenance()) {
      $pages->set($this->request->uri() . ':', ['body' => $response->body, 'status' => $response->status, 'headers' => $response->headers]);
      $response->headers['X-Drupal-Cache'] = 'MISS';
    }
    return $response;
  }

  /** The exception goes to the server's log; the visitor sees it only with error_level verbose. */
  public static function error(\Throwable $e): Response {
    $detail = sprintf('%s: %s in %s on line %d', get_class($e), $e->getMessage(), $e->getFile(), $e->getLine());
    error_log("Uncaught PHP Exception $detail");
    $verbose = (Settings::configOverride('system.logging')['error_level'] ?? '') === 'verbose';
    return Response::text('The website encountered an unexpected error. Try again later.' . ($verbose ? "\n\n$detail" : ''), 500);
  }

}
