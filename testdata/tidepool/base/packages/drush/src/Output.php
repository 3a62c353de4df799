<?php
// tidepool's stand-in for Drush: the same commands, options, output and exit codes. It is not Drush.

namespace Drush;

/** Data goes to stdout in the format asked for; everything said to a person goes to stderr. */
final class Output {

  public function __construct(private bool $quiet) {}

  public function log(string $level, string $message): void {
    if (!$this->quiet || $level === 'error') {
      // A parent that was killed leaves a broken pipe behind; the work goes on without its messages.
      @fwrite(STDERR, " [$level]" . ($level === 'error' ? '  ' : ' ') . $message . "\n");
    }
  }

  public function exception(\Exception $e): void {
    $blank = str_repeat(' ', strlen($e->getMessage()) + 4);
    fwrite(STDERR, sprintf("\nIn %s line %d:\n%s\n  %s  \n%s\n\n", basename($e->getFile()), $e->getLine(), $blank, $e->getMessage(), $blank));
  }

  public function line(string $text): void {
    print "$text\n";
  }

  /** -y agrees to everything; -n takes the default, which is yes as well. */
  public function confirm(array $options, string $question): void {
    if (isset($options['yes']) || isset($options['no-interaction'])) {
      $this->line(" // $question: yes.\n");
      return;
    }
    $this->line(" $question (yes/no) [yes]:");
    if (!in_array(strtolower(trim((string) fgets(STDIN))), ['y', 'yes'], TRUE)) {
      throw new \Exception('Cancelled.');
    }
  }

  /** A nested array as JSON, or as YAML of the plain kind for any other format. */
  public function data(mixed $data, string $format): void {
    $this->line($format === 'json'
      ? json_encode($data, JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR)
      : rtrim(self::yaml((array) $data)));
  }

  private static function yaml(array $data, string $indent = ''): string {
    $text = '';
    foreach ($data as $key => $value) {
      $text .= is_array($value) ? "$indent$key:\n" . self::yaml($value, "$indent  ") : "$indent$key: " . (is_string($value) ? $value : json_encode($value)) . "\n";
    }
    return $text;
  }

  /** @param list<list<string>> $rows the first row holds the headings */
  public function table(array $rows): void {
    $widths = array_map(fn ($i) => max(array_map(fn ($row) => mb_strlen((string) $row[$i]), $rows)), array_keys($rows[0]));
    $rule = ' ' . implode(' ', array_map(fn ($w) => str_repeat('-', $w + 2), $widths)) . ' ';
    foreach ($rows as $n => $row) {
      if ($n < 2) {
        $this->line($rule);
      }
      $this->line('  ' . implode('   ', array_map(fn ($cell, $w) => $cell . str_repeat(' ', $w - mb_strlen((string) $cell)), $row, $widths)) . '  ');
    }
    $this->line("$rule\n");
  }

}
