<?php
// tidepool's stand-in for Drush: the same commands, options, output and exit codes. It is not Drush.

namespace Drush;

/** updatedb and its relatives. */
final class UpdateCommands {

  public function __construct(private Bootstrap $bootstrap, private Output $output, private array $options) {}

  private function start(): void {
    $this->bootstrap->full(TRUE);
    require_once $this->bootstrap->root . '/core/includes/update.inc';
  }

  /** Nothing pending means nothing at all on stdout, in every format. */
  public function status(): void {
    $this->start();
    $this->warnOfOrphans();
    $pending = update_get_pending();
    if (!$pending) {
      $this->output->log('success', 'No database updates required.');
      return;
    }
    $this->printPending($pending, $this->options['format'] ?? 'table');
  }

  private function printPending(array $pending, string $format): void {
    $rows = array_map(fn ($u) => ['module' => $u['module'], 'update_id' => $u['number'], 'description' => $u['description'], 'type' => 'hook_update_n'], $pending);
    if ($format !== 'table') {
      $this->output->data($rows, $format);
      return;
    }
    $this->output->table(array_merge([['Module', 'Update ID', 'Type', 'Description']], array_map(fn ($r) => [$r['module'], $r['update_id'], $r['type'], $r['description']], array_values($rows))));
  }

  private function warnOfOrphans(): void {
    foreach (update_orphans() as $module) {
      $this->output->log('warning', "Module $module has an entry in the system.schema key/value storage, but is missing from your site.");
    }
  }

  public function updatedb(): int {
    $this->start();
    $this->warnOfOrphans();
    $errors = update_check_requirements();
    foreach ($errors as $error) {
      $this->output->log('error', $error);
    }
    if ($errors) {
      $this->output->confirm($this->options, 'Requirements check reports errors. Do you wish to continue?');
    }
    $pending = update_get_pending();
    $success = TRUE;
    if ($pending) {
      $this->printPending($pending, 'table');
      $this->output->confirm($this->options, 'Do you wish to run the specified pending updates?');
      $success = $this->runBatch($pending);
      $this->output->log($success ? 'success' : 'error', 'Finished performing updates.');
    }
    else {
      $this->output->log('success', 'No pending updates.');
    }
    if (!isset($this->options['no-cache-clear']) && ($this->options['cache-clear'] ?? '1') !== '0') {
      $this->bootstrap->kernel()->rebuild();
    }
    return $success ? 0 : 1;
  }

  /**
   * Does the updates in a child process, as Drush does, with the site in maintenance mode.
   *
   * The last operation puts the mode off again, unless it was on before: a batch that is killed leaves it on, and
   * the next run takes that for the administrator's wish.
   */
  private function runBatch(array $pending): bool {
    $restore = !\Drupal::state()->get('system.maintenance_mode');
    if ($restore) {
      \Drupal::state()->set('system.maintenance_mode', TRUE);
    }
    $started = [];
    foreach ($pending as $update) {
      if (!isset($started[$update['module']])) {
        \Drupal::service('update.update_hook_registry')->setInstalledVersion($update['module'], $update['number'] - 1);
        $started[$update['module']] = TRUE;
      }
    }
    \Drupal::database()->insert('batch', ['token' => '', 'timestamp' => time(), 'batch' => json_encode(['updates' => array_values($pending), 'restore' => $restore])]);
    $result = json_decode($this->child(\Drupal::database()->lastInsertId()), TRUE);
    if (!is_array($result)) {
      $this->output->log('error', 'Batch process did not return a result array. Returned: ' . gettype($result));
      return FALSE;
    }
    if (!empty($result[0]['#abort'])) {
      $this->output->log('error', 'Update aborted by: ' . implode(', ', $result[0]['#abort']));
      return FALSE;
    }
    return TRUE;
  }

  /** Runs updatedb:batch-process and hands on its messages, marked with ">". Returns its stdout. */
  private function child(int $batch): string {
    $command = implode(' ', array_map('escapeshellarg', [PHP_BINARY, $this->bootstrap->script, 'updatedb:batch-process', (string) $batch, "--root={$this->bootstrap->root}", "--uri={$this->bootstrap->uri}"]));
    // The result is small and comes last, so reading the messages first cannot block the child.
    $process = proc_open($command, [0 => STDIN, 1 => ['pipe', 'w'], 2 => ['pipe', 'w']], $pipes);
    while (($line = fgets($pipes[2])) !== FALSE) {
      @fwrite(STDERR, '> ' . $line);
    }
    $result = stream_get_contents($pipes[1]);
    proc_close($process);
    return $result;
  }

  public function batchProcess(string $id): void {
    $this->start();
    $batch = json_decode((string) \Drupal::database()->query('SELECT batch FROM {batch} WHERE bid = ?', [(int) $id])->fetchColumn(), TRUE);
    $aborted = [];
    foreach ($batch['updates'] ?? [] as $update) {
      // A failure stops the later updates of the same module; the other modules' go on.
      if (!isset($aborted[$update['module']]) && !$this->doOne($update['module'], $update['number'])) {
        $aborted[$update['module']] = "{$update['module']}_update_{$update['number']}";
      }
    }
    if ($batch['restore'] ?? FALSE) {
      \Drupal::state()->set('system.maintenance_mode', FALSE);
    }
    \Drupal::database()->query('DELETE FROM {batch} WHERE bid = ?', [(int) $id]);
    $this->output->data([0 => $aborted ? ['#abort' => array_values($aborted)] : new \stdClass(), 'drush_batch_process_finished' => TRUE], 'json');
  }

  /** One update function, called again and again until its sandbox says that it is finished. */
  private function doOne(string $module, int $number): bool {
    $function = "{$module}_update_$number";
    $sandbox = [];
    \Drupal::moduleHandler()->loadInclude($module, 'install');
    $this->output->log('notice', "Update started: $function");
    do {
      try {
        $message = $function($sandbox);
      }
      catch (\Throwable $e) {
        $this->output->log('error', $e->getMessage());
        $this->output->log('error', "Update failed: $function");
        return FALSE;
      }
      $finished = $sandbox['#finished'] ?? 1;
      if ($message) {
        $this->output->log('notice', strip_tags((string) $message));
      }
    } while ($finished < 1);
    \Drupal::service('update.update_hook_registry')->setInstalledVersion($module, $number);
    $this->output->log('notice', "Update completed: $function");
    return TRUE;
  }

}
