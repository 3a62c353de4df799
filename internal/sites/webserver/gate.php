<?php

/**
 * The read-only gate of a site, run before every script.
 *
 * While an upgrade copies a site's database, what is written to the old one
 * would be lost. So a request that may write takes a shared lock until PHP has
 * ended it, and is refused while the upgrade's flag is there and alive. The
 * upgrade sets the flag, then takes the lock for itself alone: from then on no
 * write is under way and none begins.
 *
 * Reads are never refused. They hold a lock of their own, so that a move that was
 * taken back knows when nobody reads any more what it is about to remove. It is
 * a class, so that nothing of it is a variable of the site.
 */

namespace Hefring;

final class Gate
{
    private const SAFE_METHODS = ['GET', 'HEAD', 'OPTIONS'];

    /** Paths that write although they are asked for with GET; before them there may be a language. */
    private const WRITING_PATHS = '#^/*(?:[^/]+/+)?(?:cron|cron\.php|batch|user/reset|user/logout)(?:/|$)#i';

    /** Held until the request has ended, also after its answer was sent. */
    private static $lock;
    private static $reading;

    public static function pass(array $server): void
    {
        self::limit($server['HEFRING_PLATFORM'] ?? '', $server['HEFRING_LIMITS'] ?? '');
        $run = $server['HEFRING_RUN'] ?? '';
        if (($server['HEFRING_PROBE'] ?? '') !== '') {
            header_register_callback([self::class, 'sign']);
        }
        if ($run === '' || ($server['HEFRING_PROBE'] ?? '') !== '') {
            return;
        }
        if (self::mayWrite($server)) {
            self::write($run);
        }
        self::$reading = self::share($run . '/reads.lock');
        self::checkRelease(dirname($run) . '/current', $server['DOCUMENT_ROOT'] ?? '');
    }

    private static function write(string $run): void
    {
        // Looked at before locking too, so that refused writers do not keep the
        // upgrade waiting for the lock.
        if (self::state($run . '/read-only') === 'closed') {
            self::refuse();
        }
        self::$lock = self::share($run . '/writes.lock');
        if (!self::$lock) {
            error_log('hefring: cannot lock ' . $run . '/writes.lock, so nothing can be written safely');
            self::refuse();
        }
        self::checkFlag($run . '/read-only');
    }

    /** The file with a lock on it that others may share; null when there is none to be had. */
    private static function share(string $path)
    {
        $file = @fopen($path, 'r') ?: @fopen($path, 'c');

        return $file && flock($file, LOCK_SH) ? $file : null;
    }

    /**
     * Lets PHP open the platform and what belongs to the site, not the next site's
     * settings and database. Set at run time, and not before the request, it
     * leaves PHP its cache of resolved paths; what is set can only be tightened.
     */
    private static function limit(string $platform, string $limits): void
    {
        if ($limits !== '' && ini_set('open_basedir', "$platform:$limits") === false) {
            error_log("hefring: cannot limit PHP to $platform:$limits");
            self::refuse();
        }
    }

    /** Tells a probe which Drupal answers: the code that runs, whatever lies on the disk. */
    public static function sign(): void
    {
        $version = class_exists('Drupal', false) ? constant('Drupal::VERSION') : (defined('VERSION') ? VERSION : '');
        header('X-Hefring-Drupal: ' . preg_replace('/[^\w.+-]/', '', (string) $version));
    }

    private static function mayWrite(array $server): bool
    {
        if (!in_array($server['REQUEST_METHOD'] ?? '', self::SAFE_METHODS, true)) {
            return true;
        }
        parse_str($server['QUERY_STRING'] ?? '', $query);
        // A token protects a link that changes something.
        if (isset($query['token']) || isset($query['cron_key'])) {
            return true;
        }
        $path = rawurldecode(strtok($server['REQUEST_URI'] ?? '/', '?') ?: '/');
        if (in_array($path, ['/', '/index.php'], true) && is_string($query['q'] ?? null)) {
            $path = $query['q']; // Drupal 7 without clean URLs
        }

        return preg_match(self::WRITING_PATHS, $path) === 1;
    }

    /** 'open', 'closed', or 'lapsed': the upgrade that set the flag has not touched it for its lease. */
    private static function state(string $flag): string
    {
        clearstatcache(true, $flag);
        $touched = @filemtime($flag);
        if ($touched === false) {
            return 'open';
        }

        return time() - $touched <= (int) @file_get_contents($flag) ? 'closed' : 'lapsed';
    }

    /** A lapsed flag is taken away, which tells its upgrade, should it still live, that it lost. */
    private static function checkFlag(string $flag): void
    {
        $state = self::state($flag);
        if ($state === 'closed') {
            self::refuse();
        }
        if ($state === 'lapsed' && !@unlink($flag) && self::state($flag) !== 'open') {
            error_log('hefring: cannot remove the lapsed ' . $flag);
            self::refuse();
        }
    }

    /**
     * A request that waited while the site was switched was meant for the release
     * before it, and would write to a database that serves no more or read one that
     * is being removed: nginx sends it again. PHP may not even look at the new one,
     * as this request may open its own platform only.
     */
    private static function checkRelease(string $current, string $docroot): void
    {
        clearstatcache(true, $current);
        if (@realpath($current) === $docroot) {
            return;
        }
        header('X-Accel-Redirect: @php');
        exit;
    }

    private static function refuse(): void
    {
        http_response_code(503);
        header('Retry-After: 30');
        header('Cache-Control: no-store');
        header('Content-Type: text/html; charset=utf-8');
        echo <<<'HTML'
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>This site is being updated</title>
            <style>
            :root { color-scheme: light dark; }
            body { font: 1.125rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto 0; padding: 0 1.25rem; }
            h1 { font-size: 1.5rem; }
            </style>
            </head>
            <body>
            <main>
            <h1>This site is being updated</h1>
            <p>What you sent was not saved. Please go back and send it again in a minute.</p>
            <p>Reading goes on as usual.</p>
            </main>
            </body>
            </html>

            HTML;
        exit;
    }
}

Gate::pass($_SERVER);
