<?php

// A site that tries by many ways to read a file that may be another site's, and
// says which of them succeeded.

require __DIR__ . '/../vendor/autoload.php';

$target = $_GET['path'] ?? '';
$own = dirname($_SERVER['HEFRING_RUN']) . '/files';
$mark = 'SECRET';

$ways = [
    'read' => fn () => file_get_contents($target),
    'open' => fn () => fgets(fopen($target, 'r')) . stream_get_contents(fopen($target, 'r')),
    'include' => function () use ($target) {
        ob_start();
        include $target;

        return ob_get_clean() . ($secret ?? '');
    },
    'filter' => fn () => base64_decode(file_get_contents("php://filter/read=convert.base64-encode/resource=$target")),
    'object' => fn () => (new SplFileObject($target))->fread(10000),
    'copy' => fn () => copy($target, "$own/copy") ? file_get_contents("$own/copy") : '',
    'rename' => fn () => rename($target, "$own/moved") ? file_get_contents("$own/moved") . rename("$own/moved", $target) : '',
    'symbolic link' => fn () => symlink($target, "$own/symbolic") ? file_get_contents("$own/symbolic") : '',
    'hard link' => fn () => link($target, "$own/hard") ? file_get_contents("$own/hard") : '',
    'process root' => fn () => file_get_contents("/proc/self/root$target"),
    'wider' => function () use ($target, $own) {
        mkdir("$own/deep");
        chdir("$own/deep");
        ini_set('open_basedir', ini_get('open_basedir') . ':..');
        for ($i = 0; $i < 20; $i++) {
            chdir('..');
        }
        ini_set('open_basedir', '/');

        return file_get_contents($target);
    },
    'restored' => function () use ($target) {
        ini_restore('open_basedir');
        ini_set('open_basedir', '');
        ini_set('open_basedir', '/');

        return file_get_contents($target);
    },
    'curl' => function () use ($target) {
        $curl = curl_init("file://$target");
        curl_setopt($curl, CURLOPT_RETURNTRANSFER, true);
        curl_setopt($curl, CURLOPT_PROTOCOLS, CURLPROTO_FILE);

        return curl_exec($curl);
    },
    'database' => fn () => json_encode((new PDO("sqlite:$target"))->query('SELECT secret FROM t')->fetchAll()),
    'attached database' => function () use ($target, $own) {
        $db = new PDO("sqlite:$own/mine.sqlite");
        $db->exec("ATTACH '$target' AS other");

        return json_encode($db->query('SELECT secret FROM other.t')->fetchAll());
    },
    'entity' => function () use ($target) {
        $document = new DOMDocument();
        $document->loadXML("<!DOCTYPE a [<!ENTITY e SYSTEM \"file://$target\">]><a>&e;</a>", LIBXML_NOENT);

        return $document->textContent;
    },
    'program' => fn () => shell_exec('cat ' . escapeshellarg($target)),
    'process' => function () use ($target) {
        proc_open(['cat', $target], [1 => ['pipe', 'w']], $pipes);

        return stream_get_contents($pipes[1]);
    },
    'web server' => function () use ($target) {
        // Asks php-fpm itself, with values of its own choice, to run the file.
        $socket = stream_socket_client('unix://' . ($_GET['socket'] ?? ''));
        $record = fn (int $kind, string $text) => pack('CCnnCC', 1, $kind, 1, strlen($text), 0, 0) . $text;
        $pairs = '';
        foreach (['REQUEST_METHOD' => 'GET', 'SCRIPT_FILENAME' => __FILE__, 'SCRIPT_NAME' => '/', 'QUERY_STRING' => 'path=' . rawurlencode($target), 'HEFRING_RUN' => $_SERVER['HEFRING_RUN'],
            'HEFRING_PROBE' => '1', 'PHP_ADMIN_VALUE' => 'open_basedir="/"'] as $name => $value) {
            $pairs .= pack('NN', strlen($name) | 0x80000000, strlen($value) | 0x80000000) . $name . $value;
        }
        fwrite($socket, $record(1, "\0\1\0\0\0\0\0\0") . $record(4, $pairs) . $record(4, '') . $record(5, ''));

        return stream_get_contents($socket);
    },
];
if (!isset($_GET['socket'])) {
    unset($ways['web server']);
}
$got = [];
foreach ($ways as $name => $way) {
    try {
        if (str_contains((string) @$way(), $mark)) {
            $got[] = $name;
        }
    } catch (Throwable) {
        // Refused, which is as it should be.
    }
}
foreach (glob("$own/*") ?: [] as $left) {
    is_dir($left) ? @rmdir($left) : @unlink($left);
}
header('Content-Type: application/json');
echo json_encode(['library' => Library::NAME, 'user' => posix_geteuid(), 'temporary' => tempnam(sys_get_temp_dir(), 'x') !== false, 'got' => $got, $mark => count($got)]);
