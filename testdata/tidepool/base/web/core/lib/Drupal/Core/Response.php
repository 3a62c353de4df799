<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

/** What goes back to the browser. */
final class Response {

  public function __construct(public string $body, public int $status = 200, public array $headers = []) {}

  public static function text(string $body, int $status): self {
    return new self($body, $status, ['Content-Type' => 'text/plain; charset=UTF-8']);
  }

  public static function redirect(string $to, int $status = 302): self {
    return new self('', $status, ['Location' => $to, 'Cache-Control' => 'no-cache']);
  }

  public function send(): void {
    http_response_code($this->status);
    $this->headers += ['Content-Type' => 'text/html; charset=UTF-8', 'Cache-Control' => 'must-revalidate, no-cache, private'];
    foreach ($this->headers as $name => $value) {
      header("$name: $value");
    }
    print $this->body;
  }

}
