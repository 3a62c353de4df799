<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

/**
 * @file
 * Copy to settings.php of the site's folder and fill in.
 *
 * @code
 * $databases['default']['default'] = [
 *   'driver' => 'sqlite', // or mysql, pgsql with host, port, username, password
 *   'database' => '/var/lib/site/db.sqlite',
 *   'prefix' => '',
 * ];
 * $settings['config_sync_directory'] = '../config/sync'; // must exist, or site:install rewrites this file
 * $settings['deployment_identifier'] = '1';              // a new one for each release
 * $settings['trusted_host_patterns'] = ['^www\.example\.com$'];
 * $settings['file_public_path'] = 'sites/www.example.com/files';
 * $settings['file_private_path'] = '';
 * $settings['file_temp_path'] = '/tmp';
 * $settings['php_storage']['twig']['directory'] = '/var/cache/site/php';
 * $config['system.logging']['error_level'] = 'verbose';
 * @endcode
 */

$databases = [];

$settings['hash_salt'] = '';

// The path in it makes the cached container of another code folder useless, which is what one wants.
$settings['container_yamls'][] = $app_root . '/' . $site_path . '/services.yml';
