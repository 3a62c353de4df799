<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core\Update;

/** MODULE_post_update_NAME() functions. No version of tidepool has any. */
final class PostUpdateRegistry {

  public function getPendingUpdateFunctions(): array {
    return [];
  }

  public function getPendingUpdateInformation(): array {
    return [];
  }

  public function getRemovedPostUpdates(string $module): array {
    return [];
  }

}
