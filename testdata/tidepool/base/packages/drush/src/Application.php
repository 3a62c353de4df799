<?php
// tidepool's stand-in for Drush: the same commands, options, output and exit codes. It is not Drush.

namespace Drush;

/** Reads the command line, runs one command, and turns what it throws into Drush's exit codes. */
final class Application {

  const VERSION = '13.3.0';

  /** Options that every command takes; TRUE means that a value follows. */
  const GLOBAL_OPTIONS = [
    'root' => TRUE, 'uri' => TRUE, 'yes' => FALSE, 'no' => FALSE, 'no-interaction' => FALSE, 'ansi' => FALSE, 'no-ansi' => FALSE,
    'quiet' => FALSE, 'verbose' => FALSE, 'debug' => FALSE, 'define' => TRUE, 'format' => TRUE, 'version' => FALSE,
  ];

  const SHORT = ['r' => 'root', 'l' => 'uri', 'y' => 'yes', 'n' => 'no-interaction', 'q' => 'quiet', 'v' => 'verbose', 'vv' => 'verbose', 'vvv' => 'verbose', 'd' => 'debug', 'D' => 'define', 'V' => 'version'];

  /** Name => [class, method, aliases, own options]. */
  const COMMANDS = [
    'version' => [Commands::class, 'version', [], []],
    'core:status' => [Commands::class, 'status', ['status', 'st', 'core-status'], []],
    'core:requirements' => [Commands::class, 'requirements', ['status-report', 'rq', 'core-requirements'], ['severity' => TRUE]],
    'pm:list' => [Commands::class, 'pmList', ['pml', 'pm-list'], ['type' => TRUE, 'status' => TRUE, 'core' => FALSE, 'no-core' => FALSE]],
    'cache:rebuild' => [Commands::class, 'cacheRebuild', ['cr', 'rebuild', 'cache-rebuild'], []],
    'php:eval' => [Commands::class, 'phpEval', ['eval', 'ev', 'php-eval'], []],
    'config:get' => [Commands::class, 'configGet', ['cget', 'config-get'], []],
    'config:set' => [Commands::class, 'configSet', ['cset', 'config-set'], ['input-format' => TRUE]],
    'core:cron' => [Commands::class, 'cron', ['cron', 'core-cron'], []],
    'state:get' => [Commands::class, 'stateGet', ['sget', 'state-get'], []],
    'state:set' => [Commands::class, 'stateSet', ['sset', 'state-set'], ['input-format' => TRUE]],
    'user:login' => [Commands::class, 'userLogin', ['uli', 'user-login'], ['uid' => TRUE, 'name' => TRUE, 'no-browser' => FALSE]],
    'site:install' => [InstallCommand::class, 'install', ['si', 'sin', 'site-install'], ['site-name' => TRUE, 'sites-subdir' => TRUE, 'site-mail' => TRUE, 'account-name' => TRUE, 'account-pass' => TRUE, 'account-mail' => TRUE, 'locale' => TRUE]],
    'updatedb' => [UpdateCommands::class, 'updatedb', ['updb'], ['cache-clear' => FALSE, 'no-cache-clear' => FALSE]],
    'updatedb:status' => [UpdateCommands::class, 'status', ['updbst', 'updatedb-status'], []],
    'updatedb:batch-process' => [UpdateCommands::class, 'batchProcess', [], []],
  ];

  public function run(array $argv): int {
    if (!getenv('HOME')) {
      fwrite(STDERR, "PHP Fatal error:  Uncaught Exception: Cannot find the home directory path\n");
      return 255;
    }
    ini_set('display_errors', 'stderr');
    $output = new Output(FALSE);
    try {
      [$name, $arguments, $options] = self::parse($argv);
      $output = new Output(isset($options['quiet']));
      set_error_handler(static fn ($level, $message, $file, $line) => error_reporting() & $level ? (bool) ($output->log('warning', "$message " . basename($file) . ":$line") ?? TRUE) : TRUE);
      [$class, $method] = self::COMMANDS[$name];
      $bootstrap = new Bootstrap($options['root'] ?? NULL, $options['uri'] ?? NULL);
      return (new $class($bootstrap, $output, $options))->$method(...$arguments) ?? 0;
    }
    catch (\Error $e) {
      $output->log('error', get_class($e) . ": {$e->getMessage()} in {$e->getFile()}:{$e->getLine()}\nStack trace:\n{$e->getTraceAsString()}");
      return 1;
    }
    catch (\Exception $e) {
      $output->exception($e);
      return 1;
    }
  }

  /** @return array{string, list<string>, array<string, string|true>} the command's full name, its arguments, the options */
  private static function parse(array $argv): array {
    $words = [];
    $options = [];
    while ($argv) {
      $word = array_shift($argv);
      if ($word === '--') {
        $words = array_merge($words, $argv);
        break;
      }
      if ($word === '-' || $word[0] !== '-') {
        $words[] = $word;
        continue;
      }
      [$name, $value] = self::split($word);
      if ($value === NULL && self::takesValue($name)) {
        $value = array_shift($argv) ?? throw new \RuntimeException("The \"--$name\" option requires a value.");
      }
      $options[$name] = $value ?? TRUE;
    }
    $name = isset($options['version']) ? 'version' : self::find(array_shift($words) ?? throw new \RuntimeException('No command was given.'));
    foreach (array_diff_key($options, self::GLOBAL_OPTIONS, self::COMMANDS[$name][3]) as $unknown => $_) {
      throw new \RuntimeException("The \"--$unknown\" option does not exist.");
    }
    return [$name, $words, $options];
  }

  /** "--uri=x" and "-lx" carry their value; "--uri x" and "-l x" leave it for the next word. */
  private static function split(string $word): array {
    if (str_starts_with($word, '--')) {
      return explode('=', substr($word, 2), 2) + [1 => NULL];
    }
    $short = substr($word, 1);
    if (isset(self::SHORT[$short])) {
      return [self::SHORT[$short], NULL];
    }
    $name = self::SHORT[$short[0]] ?? throw new \RuntimeException("The \"-$short[0]\" option does not exist.");
    return [$name, ltrim(substr($short, 1), '=')];
  }

  private static function takesValue(string $name): bool {
    if (!empty(self::GLOBAL_OPTIONS[$name])) {
      return TRUE;
    }
    foreach (self::COMMANDS as $command) {
      if (!empty($command[3][$name])) {
        return TRUE;
      }
    }
    return FALSE;
  }

  private static function find(string $word): string {
    foreach (self::COMMANDS as $name => $command) {
      if ($word === $name || in_array($word, $command[2], TRUE)) {
        return $name;
      }
    }
    throw new \RuntimeException("Command \"$word\" is not defined.");
  }

}
