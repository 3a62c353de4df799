<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

/** One request: from the web server, or made up by Drush from --uri. */
final class Request {

  public function __construct(
    public readonly string $method,
    public readonly string $scheme,
    public readonly string $host,
    public readonly string $path,
    public readonly string $query = '',
    public readonly array $post = [],
    public readonly array $cookies = [],
    public readonly string $script = '/index.php',
  ) {}

  public static function fromGlobals(): self {
    $uri = explode('?', $_SERVER['REQUEST_URI'] ?? '/', 2);
    $https = ($_SERVER['HTTPS'] ?? 'off') !== 'off' && ($_SERVER['HTTPS'] ?? '') !== '';
    return new self(
      $_SERVER['REQUEST_METHOD'] ?? 'GET',
      $https ? 'https' : 'http',
      strtolower(trim($_SERVER['HTTP_HOST'] ?? $_SERVER['SERVER_NAME'] ?? '')),
      rawurldecode($uri[0]),
      $uri[1] ?? '',
      $_POST,
      $_COOKIE,
      // The front controller, also under "php -S", which names the requested address as the script.
      '/index.php',
    );
  }

  public static function forUri(string $uri): self {
    $parts = parse_url($uri) ?: [];
    $host = ($parts['host'] ?? 'default') . (isset($parts['port']) ? ':' . $parts['port'] : '');
    $base = rtrim($parts['path'] ?? '', '/');
    return new self('GET', $parts['scheme'] ?? 'http', strtolower($host), '/', script: "$base/index.php");
  }

  public function base(): string {
    return "$this->scheme://$this->host";
  }

  public function uri(): string {
    return $this->base() . $this->path . ($this->query === '' ? '' : "?$this->query");
  }

  /** The host without its port. */
  public function hostname(): string {
    return preg_replace('/:\d+$/', '', $this->host);
  }

}
