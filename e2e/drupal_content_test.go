//go:build drupal

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// speech is how the test itself speaks to one generation of Drupal.
type speech interface {
	// drush is the program for a platform's root.
	drush(root string) string
	// eval is the command that runs PHP.
	eval() string
	// node is PHP that makes the article 1, or another one, with a title.
	node(title string) string
	// titles is PHP that prints the titles of all articles as a JSON list.
	titles() string
	// version is PHP that gives Drupal's version as a string.
	version() string
	// boom is PHP for local.settings.php that makes database updates fail under
	// the given version.
	boom(version string) string
	// public and private are PHP that writes a file.
	public(name, text string) string
	private(name, text string) string
	// install is the command that installs a site; settings is what stands in the
	// settings.php of one, beside its database.
	install() string
	settings(folder string) string
}

type drupal8 struct{}

func (drupal8) drush(root string) string { return filepath.Join(root, "vendor", "bin", "drush") }
func (drupal8) eval() string             { return "php:eval" }

func (drupal8) node(title string) string {
	return `$type = \Drupal\node\Entity\NodeType::load("life");
if (!$type) { \Drupal\node\Entity\NodeType::create(["type" => "life", "name" => "Life"])->save(); }
\Drupal\node\Entity\Node::create(["type" => "life", "title" => ` + phpString(title) + `, "status" => 1, "uid" => 1])->save();`
}

func (drupal8) titles() string {
	return `print json_encode(array_values(\Drupal::database()->query("SELECT title FROM {node_field_data} ORDER BY nid")->fetchCol()));`
}

func (drupal8) version() string { return `\Drupal::VERSION` }

func (s drupal8) boom(version string) string {
	return `if (PHP_SAPI === "cli" && ` + s.version() + ` === ` + phpString(version) + ` && in_array("updatedb:batch-process", $_SERVER["argv"], TRUE)) { throw new \RuntimeException("The tide was too high"); }`
}

func (drupal8) public(name, text string) string {
	return `file_put_contents("public://` + name + `", ` + phpString(text) + `);`
}

func (drupal8) private(name, text string) string {
	return `file_put_contents("private://` + name + `", ` + phpString(text) + `);`
}

func (drupal8) install() string { return "site:install" }

func (drupal8) settings(folder string) string {
	return "$settings['hash_salt'] = 'outside';\n$settings['config_sync_directory'] = '" + folder + "/config';\n" +
		"$settings['file_public_path'] = '" + folder + "/files';\n$settings['file_private_path'] = '" + folder + "/private';\n"
}

type drupal7 struct{}

func (drupal7) drush(root string) string {
	if own := filepath.Join(root, "vendor", "bin", "drush"); exists(own) {
		return own
	}
	return os.Getenv("HEFRING_DRUSH8")
}
func (drupal7) eval() string { return "php-eval" }

func (drupal7) node(title string) string {
	return `if (!node_type_load("life")) { node_type_save(node_type_set_defaults((object) array("type" => "life", "name" => "Life", "base" => "node_content", "custom" => 1))); node_types_rebuild(); }
$node = (object) array("type" => "life", "title" => ` + phpString(title) + `, "language" => LANGUAGE_NONE, "uid" => 1, "status" => 1);
node_object_prepare($node); $node->uid = 1; $node->status = 1; node_save($node);`
}

func (drupal7) titles() string {
	return `print json_encode(db_query("SELECT title FROM {node} ORDER BY nid")->fetchCol());`
}

func (drupal7) version() string { return `VERSION` }

func (s drupal7) boom(version string) string {
	return `if (PHP_SAPI === "cli" && ` + s.version() + ` === ` + phpString(version) + ` && in_array("updatedb-batch-process", $_SERVER["argv"], TRUE)) { fwrite(STDERR, "The tide was too high\n"); exit(1); }`
}

func (drupal7) public(name, text string) string  { return drupal8{}.public(name, text) }
func (drupal7) private(name, text string) string { return drupal8{}.private(name, text) }

func (drupal7) install() string { return "site-install" }

func (drupal7) settings(folder string) string {
	return "$drupal_hash_salt = 'outside';\n$conf['file_public_path'] = '" + folder + "/files';\n$conf['file_private_path'] = '" + folder + "/private';\n$conf['clean_url'] = 1;\n"
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// phpString writes a text as PHP source.
func phpString(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// drush runs a command on a site with a platform's own Drush, as the web user
// and beside Hefring.
func (d *drupal) drush(root, docroot, uri string, args ...string) string {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), "php", append([]string{d.speech.drush(root), args[0], "--root=" + docroot, "--uri=" + uri}, args[1:]...)...)
	cmd.Dir = docroot
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.home()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: webUser(d.t)}
	var errout strings.Builder
	cmd.Stderr = &errout
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("drush %v: %v\n%s\n%s", args, err, out, errout.String())
	}
	return string(out)
}

// home is a folder that Drush may write.
func (d *drupal) home() string {
	d.t.Helper()
	dir := filepath.Join(d.h.dir, "home")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		d.t.Fatal(err)
	}
	return dir
}

// eval runs PHP in a site of Hefring's.
func (d *drupal) eval(s *drupalSite, code string) string {
	d.t.Helper()
	platform := d.platformOf(s.id)
	return d.drush(d.root(platform), d.docroot(platform), d.v.url(s.uri, ""), d.speech.eval(), code)
}

// write puts an article and two files onto a site.
func (d *drupal) write(s *drupalSite) {
	d.t.Helper()
	d.eval(s, d.speech.node("Moored safely")+d.speech.public("harbour.txt", "A public harbour")+d.speech.private("secret.txt", "A private harbour"))
	d.whole(s, "Moored safely")
}

// article adds one more.
func (d *drupal) article(s *drupalSite, title string) {
	d.t.Helper()
	d.eval(s, d.speech.node(title))
}

// whole fails unless the site has exactly these articles, shows the first one to
// visitors, serves the public file and keeps the private one to itself.
func (d *drupal) whole(s *drupalSite, titles ...string) {
	d.t.Helper()
	var got []string
	text := d.eval(s, d.speech.titles())
	if err := json.Unmarshal([]byte(text[max(0, strings.Index(text, "[")):]), &got); err != nil || fmt.Sprint(got) != fmt.Sprint(titles) {
		d.t.Fatalf("%s has the articles %q, not %q (%v)", s.uri, got, titles, err)
	}
	if page := d.v.get(s.uri, fmt.Sprintf("/node/1?x=%d", time.Now().UnixNano())); !strings.Contains(page.body, titles[0]) {
		d.t.Fatalf("%s/node/1 lacks %q:\n%s", s.uri, titles[0], page.text())
	}
	folder := d.j.text(`SELECT uri FROM sites WHERE id = ?`, s.id)
	if page := d.v.get(s.uri, "/sites/"+folder+"/files/harbour.txt"); page.body != "A public harbour" {
		d.t.Fatalf("the public file of %s is %q", s.uri, page.body)
	}
	for _, path := range []string{"/system/files/secret.txt", "/sites/" + folder + "/private/secret.txt", "/sites/" + folder + "/files/private/secret.txt"} {
		page, err := d.v.try(http.MethodGet, s.uri, path, nil)
		if err != nil || page.status != http.StatusForbidden && page.status != http.StatusNotFound {
			d.t.Fatalf("%s%s answers a stranger %d, %v", s.uri, path, page.status, err)
		}
	}
	if got := strings.TrimSpace(d.eval(s, `print file_get_contents("private://secret.txt");`)); got != "A private harbour" {
		d.t.Fatalf("the private file of %s is %q", s.uri, got)
	}
}

// runs fails unless the site runs on that platform and is well there.
func (d *drupal) runs(s *drupalSite, platform platformLine) {
	d.t.Helper()
	if got := d.platformOf(s.id); got != platform.id {
		d.t.Fatalf("%s lives on platform %d, not on %d", s.uri, got, platform.id)
	}
	if got := d.p.site(s.id); got != "current" && got != "behind" && got != "recovered" {
		d.t.Errorf("%s is %s", s.uri, got)
	}
	if got := strings.TrimSpace(d.eval(s, `print "\n" . `+d.speech.version()+`;`)); got != platform.version {
		d.t.Fatalf("%s runs Drupal %q; its platform holds %s", s.uri, got, platform.version)
	}
	for _, path := range []string{"/", "/user/login"} {
		d.v.get(s.uri, fmt.Sprintf("%s?x=%d", path, time.Now().UnixNano()))
	}
}

// read opens a site's article all the time; the end fails on any answer that was
// not 200 with the article.
func (d *drupal) read(s *drupalSite) (finish func()) {
	stop, done := make(chan struct{}), make(chan string, 1)
	n := 0
	go func() {
		wrong := ""
		for {
			select {
			case <-stop:
				done <- wrong
				return
			case <-time.After(50 * time.Millisecond):
			}
			n++
			got, err := d.v.try(http.MethodGet, s.uri, fmt.Sprintf("/node/1?r=%d", n), nil)
			if err != nil || got.status != http.StatusOK || !strings.Contains(got.body, "Moored safely") {
				wrong += fmt.Sprintf("%s read %d: status %d, %v: %.200s\n", time.Now().Format("15:04:05.000"), n, got.status, err, got.text())
			}
		}
	}()
	return func() {
		d.t.Helper()
		close(stop)
		if wrong := <-done; wrong != "" || n < 3 {
			d.t.Errorf("of %d reads of %s not all were answered:\n%s", n, s.uri, wrong)
		}
	}
}

// webOwner is the user and group of the web user, as chown takes it.
func webOwner(t *testing.T) string {
	t.Helper()
	if web := webUser(t); web != nil {
		return fmt.Sprintf("%d:%d", web.Uid, web.Gid)
	}
	return fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
}

// webUser is who PHP runs as when the tests run as root.
func webUser(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("www-data")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(account.Uid, 10, 32)
	gid, _ := strconv.ParseUint(account.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
