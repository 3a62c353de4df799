<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

use Drupal\Core\Site\Settings;

/** Who is logged in, one-time login links, and the maintenance switch. */
final class Session {

  private static function cookieName(Request $request): string {
    return 'SESS' . substr(hash('sha256', $request->hostname()), 0, 32);
  }

  public static function cookie(Request $request): string {
    return (string) ($request->cookies[self::cookieName($request)] ?? '');
  }

  /** The row of the logged-in user, or NULL for an anonymous visitor. */
  public static function user(Request $request): ?array {
    $sid = self::cookie($request);
    if ($sid === '') {
      return NULL;
    }
    return \Drupal::database()->query(
      'SELECT u.uid, u.name, u.mail FROM {sessions} s JOIN {users_field_data} u ON u.uid = s.uid WHERE s.sid = ?',
      [hash('sha256', $sid)],
    )->fetch() ?: NULL;
  }

  /** Logs a user in and returns the Set-Cookie header. */
  public static function start(Request $request, int $uid): array {
    $sid = bin2hex(random_bytes(24));
    \Drupal::database()->insert('sessions', ['uid' => $uid, 'sid' => hash('sha256', $sid), 'timestamp' => time()]);
    \Drupal::database()->query('UPDATE {users_field_data} SET login = ? WHERE uid = ?', [time(), $uid]);
    $secure = $request->scheme === 'https' ? '; Secure' : '';
    return ['Set-Cookie' => self::cookieName($request) . "=$sid; Path=/; HttpOnly; SameSite=Lax$secure"];
  }

  /** The end of a one-time link: changes with the password and with every login, so a link works once. */
  public static function resetHash(array $user, int $timestamp): string {
    $data = implode(':', [$timestamp, $user['login'], $user['uid'], $user['mail']]);
    return strtr(base64_encode(hash_hmac('sha256', $data, Settings::getHashSalt() . $user['pass'], TRUE)), ['+' => '-', '/' => '_', '=' => '']);
  }

  public static function isMaintenance(): bool {
    return (bool) \Drupal::state()->get('system.maintenance_mode');
  }

}
