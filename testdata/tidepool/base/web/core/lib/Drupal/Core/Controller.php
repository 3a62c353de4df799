<?php
// tidepool: a small stand-in with Drupal's file layout. It is not Drupal.

namespace Drupal\Core;

/** The site's pages. */
final class Controller {

  private Request $request;
  private ?array $user;

  public function __construct(private DrupalKernel $kernel) {
    $this->request = $kernel->request;
    $this->user = Session::user($this->request);
  }

  public function respond(): Response {
    // As in Drupal, the login pages stay open during maintenance: an administrator must be able to get in.
    if (Session::isMaintenance() && !$this->user && !str_starts_with($this->request->path, '/user/')) {
      return $this->page('Site under maintenance', '<p>' . self::escape($this->siteName()) . ' is currently under maintenance. We should be back shortly. Thank you for your patience.</p>', 503);
    }
    $path = rtrim($this->request->path, '/') ?: '/';
    $route = ($this->request->method === 'HEAD' ? 'GET' : $this->request->method) . ' ' . $path;
    return match (TRUE) {
      in_array($route, ['GET /', 'GET /node', 'GET /index.php'], TRUE) => $this->front(),
      (bool) preg_match('#^GET /node/(\d+)$#', $route, $m) => $this->node((int) $m[1]),
      (bool) preg_match('#^POST /node/(\d+)/comment$#', $route, $m) => $this->comment((int) $m[1]),
      $route === 'GET /node/add' => $this->addForm(),
      $route === 'POST /node/add' => $this->add(),
      $route === 'GET /user/login' => $this->loginForm(),
      $route === 'POST /user/login' => $this->login(),
      (bool) preg_match('#^GET /user/reset/(\d+)/(\d+)/([\w-]+)/login$#', $route, $m) => $this->reset((int) $m[1], (int) $m[2], $m[3]),
      (bool) preg_match('#^GET /user/(\d+)$#', $route, $m) => $this->account((int) $m[1]),
      default => $this->page('Page not found', '<p>The requested page could not be found.</p>', 404),
    };
  }

  private function front(): Response {
    $nodes = $this->kernel->database()->query('SELECT * FROM {node_field_data} WHERE status = 1 ORDER BY created DESC, nid DESC')->fetchAll();
    $list = '';
    foreach ($nodes as $node) {
      // The summary column came with system_update_10600.
      $summary = $node['summary'] ?? '';
      $list .= "<article><h2><a href=\"/node/{$node['nid']}\">" . self::escape($node['title']) . '</a></h2>'
        . ($summary ? '<p class="summary">' . self::escape($summary) . '</p>' : '')
        . '<p class="meta">' . gmdate('j F Y', (int) $node['created']) . '</p></article>';
    }
    return $this->page($this->siteName(), $list ?: '<p>No front page content has been created yet.</p>', 200, ['front' => TRUE]);
  }

  private function node(int $nid): Response {
    $node = $this->kernel->database()->query('SELECT * FROM {node_field_data} WHERE nid = ? AND status = 1', [$nid])->fetch();
    if (!$node) {
      return $this->page('Page not found', '<p>The requested page could not be found.</p>', 404);
    }
    $body = '<div class="body">' . nl2br(self::escape($node['body'])) . '</div>';
    if ($node['image']) {
      $body = '<img src="/' . self::escape($this->kernel->folder('public') . '/' . $node['image']) . '" alt="">' . $body;
    }
    return $this->page($node['title'], $body, 200, ['node' => $node]);
  }

  /** Anyone may write: the fixture needs a plain write from outside, so there is no form token. */
  private function comment(int $nid): Response {
    $body = trim((string) ($this->request->post['body'] ?? ''));
    $db = $this->kernel->database();
    if (!\Drupal::moduleHandler()->moduleExists('tidepool_guestbook') || !$db->query('SELECT nid FROM {node_field_data} WHERE nid = ?', [$nid])->fetch()) {
      return $this->page('Page not found', '<p>The requested page could not be found.</p>', 404);
    }
    if ($body === '' || strlen($body) > 10000) {
      return $this->page('Leave a line', '<p class="error">Comment field is required.</p>', 422);
    }
    $name = mb_substr(trim((string) ($this->request->post['name'] ?? '')), 0, 60) ?: 'Anonymous';
    $db->insert('guestbook_entry', ['nid' => $nid, 'name' => $name, 'body' => $body, 'created' => time()]);
    \Drupal::cache('page')->deleteAll();
    return Response::redirect("/node/$nid", 303);
  }

  private function addForm(): Response {
    if (!$this->user) {
      return $this->page('Access denied', '<p>You are not authorized to access this page.</p>', 403);
    }
    return $this->page('Create Article', '<form method="post" action="/node/add"><label>Title <input name="title" required maxlength="255"></label>'
      . '<label>Body <textarea name="body" rows="6"></textarea></label><button>Save</button></form>');
  }

  private function add(): Response {
    $title = mb_substr(trim((string) ($this->request->post['title'] ?? '')), 0, 255);
    if (!$this->user || $title === '') {
      return $this->addForm();
    }
    $nid = node_create($title, (string) ($this->request->post['body'] ?? ''));
    \Drupal::cache('page')->deleteAll();
    return Response::redirect("/node/$nid", 303);
  }

  private function loginForm(string $error = ''): Response {
    $error = $error ? '<p class="error">' . self::escape($error) . '</p>' : '';
    return $this->page('Log in', $error . '<form id="user-login-form" method="post" action="/user/login"><label>Username <input name="name" required autocomplete="username"></label>'
      . '<label>Password <input type="password" name="pass" required autocomplete="current-password"></label><button>Log in</button></form>');
  }

  private function login(): Response {
    $user = $this->kernel->database()->query('SELECT uid, pass FROM {users_field_data} WHERE name = ?', [(string) ($this->request->post['name'] ?? '')])->fetch();
    if (!$user || !password_verify((string) ($this->request->post['pass'] ?? ''), $user['pass'])) {
      return $this->loginForm('Unrecognized username or password. Forgot your password?');
    }
    return $this->loggedIn((int) $user['uid']);
  }

  private function reset(int $uid, int $timestamp, string $hash): Response {
    $user = $this->kernel->database()->query('SELECT uid, mail, pass, login FROM {users_field_data} WHERE uid = ?', [$uid])->fetch();
    if (!$user || abs(time() - $timestamp) > 86400 || !hash_equals(Session::resetHash($user, $timestamp), $hash)) {
      return $this->page('Log in', '<p class="error">You have tried to use a one-time login link that has either been used or is no longer valid. Request a new one using the form below.</p>', 403);
    }
    return $this->loggedIn($uid);
  }

  private function loggedIn(int $uid): Response {
    $response = Response::redirect("/user/$uid", 302);
    $response->headers += Session::start($this->request, $uid);
    return $response;
  }

  private function account(int $uid): Response {
    if (!$this->user || (int) $this->user['uid'] !== $uid) {
      return $this->page('Access denied', '<p>You are not authorized to access this page.</p>', 403);
    }
    return $this->page($this->user['name'], '<p>Signed in as ' . self::escape($this->user['name']) . '.</p><p><a href="/node/add">Add content</a></p>');
  }

  private function siteName(): string {
    return (string) \Drupal::config('system.site')->get('name');
  }

  /** Lets modules and the theme have their say, then draws. */
  private function page(string $title, string $content, int $status = 200, array $about = []): Response {
    $variables = $about + ['title' => $title, 'content' => $content, 'sidebar' => '', 'site_name' => $this->siteName(), 'user' => $this->user['name'] ?? '', 'version' => \Drupal::VERSION];
    \Drupal::moduleHandler()->alter('preprocess_page', $variables);
    if (function_exists('tide_preprocess_page')) {
      tide_preprocess_page($variables);
    }
    $html = twig_render_template('themes/custom/tide/templates/page.html.twig', $variables);
    $major = strtok(\Drupal::VERSION, '.');
    return new Response($html, $status, ['X-Generator' => "Drupal $major (https://www.drupal.org)"]);
  }

  private static function escape(string $text): string {
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE);
  }

}
