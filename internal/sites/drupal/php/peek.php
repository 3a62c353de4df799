<?php
// Prints as JSON the install profile and the name of a site, from its database. The question comes on the standard input.
(static function () {
  $part = static function () {
    $head = fread(STDIN, 8);
    if ($head === FALSE || strlen($head) < 8) {
      return '';
    }
    $length = unpack('J', $head)[1];
    return $length > 0 ? stream_get_contents(STDIN, $length) : '';
  };
  $answer = ['profile' => '', 'title' => ''];
  $files = [];
  try {
    $q = json_decode($part(), TRUE, 8, JSON_THROW_ON_ERROR);
    $port = $q['port'] ? ";port={$q['port']}" : '';
    $host = $q['host'] === 'localhost' ? '127.0.0.1' : $q['host'];
    $options = [\PDO::ATTR_ERRMODE => \PDO::ERRMODE_EXCEPTION, \PDO::ATTR_TIMEOUT => 10];
    if ($q['engine'] === 'sqlite') {
      $file = sys_get_temp_dir() . '/peek-' . bin2hex(random_bytes(8)) . '.sqlite';
      $files = [$file, "$file-wal", "$file-shm", "$file-journal"];
      file_put_contents($file, $part());
      $wal = $part();
      if ($wal !== '') {
        file_put_contents("$file-wal", $wal);
      }
      $pdo = new \PDO("sqlite:$file", NULL, NULL, $options);
    }
    elseif ($q['engine'] === 'mysql') {
      $where = $host[0] === '/' ? "unix_socket=$host" : "host=$host$port";
      $pdo = new \PDO("mysql:$where;dbname={$q['name']};charset=utf8mb4", $q['user'], $q['password'], $options);
    }
    else {
      $pdo = new \PDO("pgsql:host=$host$port;dbname={$q['name']}", $q['user'], $q['password'], $options);
    }
    $rows = static function ($sql) use ($pdo) {
      $values = [];
      foreach ($pdo->query($sql)->fetchAll(\PDO::FETCH_NUM) as [$name, $data]) {
        $data = is_resource($data) ? stream_get_contents($data) : (string) $data;
        $values[$name] = unserialize($data, ['allowed_classes' => FALSE]);
      }
      return $values;
    };
    try {
      $c = $rows("SELECT name, data FROM config WHERE collection = '' AND name IN ('core.extension', 'system.site')");
      $answer['profile'] = $c['core.extension']['profile'] ?? '';
      $answer['title'] = $c['system.site']['name'] ?? '';
    }
    catch (\PDOException $e) {
      $v = $rows("SELECT name, value FROM variable WHERE name IN ('install_profile', 'site_name')");
      $answer['profile'] = $v['install_profile'] ?? '';
      $answer['title'] = $v['site_name'] ?? '';
    }
    $answer = array_map(static fn ($value) => is_string($value) ? substr($value, 0, 200) : '', $answer);
  }
  catch (\Throwable $e) {
    $answer = ['error' => substr($e->getMessage(), 0, 300)];
  }
  foreach ($files as $file) {
    @unlink($file);
  }
  print "\n" . json_encode($answer, JSON_INVALID_UTF8_SUBSTITUTE) . "\n";
})();
