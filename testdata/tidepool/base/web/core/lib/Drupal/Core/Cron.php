<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

use Drupal\Core\Extension\ModuleHandler;

/** Runs hook_cron() of every module and notes when. */
final class Cron {

  public function __construct(private ModuleHandler $modules, private KeyValueStore $state) {}

  public function run(): bool {
    $this->modules->loadAll();
    $this->modules->invokeAll('cron');
    $this->state->set('system.cron_last', time());
    return TRUE;
  }

}
