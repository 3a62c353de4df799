<?php

// A small site for the tests: it says which release it is, and writes what is
// posted to a file of its release, as a site would write to its database.

$seen = array_keys($GLOBALS);
$release = basename(__DIR__);
$site = dirname($_SERVER['HEFRING_RUN']);
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);

switch (true) {
    case $path === '/globals':
        header('Content-Type: application/json');
        echo json_encode(array_values(array_diff($seen, ['_GET', '_POST', '_COOKIE', '_FILES', '_SERVER', '_ENV', '_REQUEST', 'argv', 'argc'])));
        exit;
    case $path === '/env':
        header('Content-Type: application/json');
        echo json_encode(['display' => ini_get('display_errors'), 'environment' => getenv('HEFRING_SECRET'), 'root' => $_SERVER['DOCUMENT_ROOT'], 'user' => posix_geteuid()]);
        exit;
    case $path === '/blank':
        exit;
    case $path === '/throw':
        throw new RuntimeException('the database is not there');
    case $path === '/installer':
        header('Location: /core/install.php', true, 302);
        exit;
    case $path === '/bigheader':
        header('X-Drupal-Cache-Tags: ' . str_repeat('node:12345 ', 3000));
        break;
    case $path === '/spoof':
        header('X-Hefring-Root: /somewhere/else');
        break;
    case $path === '/slow':
        // Waits until the test has opened the pipe and closed it again.
        file_get_contents("$site/pipe");
        break;
}
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    file_put_contents("$site/writes-$release", file_get_contents('php://input') . "\n", FILE_APPEND | LOCK_EX);
}

header('Cache-Control: no-store');
echo "<!doctype html>\n<html lang=\"en\"><title>$release</title><p>release=$release query=", htmlspecialchars($_SERVER['QUERY_STRING']), "</p></html>\n";
