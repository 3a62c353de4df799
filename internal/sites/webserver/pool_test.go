package webserver

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hefring/internal/run"
	"hefring/models"
)

const (
	firstUser = 200000
	victim    = "library.example.org"
)

// neighbours is a server with two sites, of which the first wants to know the
// second's secrets.
type neighbours struct {
	*fixture
	thief, victim Vhost
}

func newNeighbours(t *testing.T, users bool, change func(*Config)) *neighbours {
	t.Helper()
	f := prepare(t)
	change(&f.config)
	f.server = New(f.config, runner())
	n := &neighbours{fixture: f, thief: f.vhost(), victim: Vhost{SiteID: 8, URI: victim, Dir: filepath.Join(f.base, "sites", "8")}}
	if users {
		n.thief.User, n.victim.User = firstUser+7, firstUser+8
	}
	code, err := os.ReadFile("testdata/thief.php")
	f.must(err)
	f.write(f.docroot("3/web/index.php"), string(code))
	f.write(f.docroot("3/vendor/autoload.php"), `<?php final class Library { public const NAME = "vendor"; }`)
	f.makeSite(n.victim.Dir)
	f.write(f.docroot("4/index.php"), `<?php require __DIR__ . "/sites/`+victim+`/settings.php"; echo "<html>", strlen($secret), "</html>";`)
	f.must(os.MkdirAll(f.docroot("4/sites"), 0o755))
	f.must(os.Symlink(filepath.Join(n.victim.Dir, "releases", "1"), f.docroot("4/sites/"+victim)))
	f.link(filepath.Join(f.site, "current"), f.docroot("3/web"))
	f.link(filepath.Join(n.victim.Dir, "current"), f.docroot("4"))
	for _, site := range []Vhost{n.thief, n.victim} {
		n.furnish(site)
	}
	f.must(f.server.AddSite(t.Context(), n.thief))
	f.must(f.server.AddSite(t.Context(), n.victim))
	return n
}

// furnish makes what the Drupal side makes of a site.
func (n *neighbours) furnish(site Vhost) {
	n.Helper()
	owner := n.server.owner(site)
	settings := filepath.Join(site.Dir, "releases", "1", "settings.php")
	n.write(settings, `<?php $secret = "SECRET";`)
	n.write(filepath.Join(site.Dir, "private", "letter.txt"), "SECRET")
	n.must(os.MkdirAll(filepath.Join(site.Dir, "files"), 0o755))
	n.must(os.MkdirAll(filepath.Join(site.Dir, "db"), 0o755))
	output, err := exec.Command("php", "-r", `$db = new PDO("sqlite:$argv[1]"); $db->exec("CREATE TABLE t (secret); INSERT INTO t VALUES ('SECRET')");`, filepath.Join(site.Dir, "db", "site.sqlite")).CombinedOutput()
	if err != nil {
		n.Fatalf("%v %s", err, output)
	}
	for _, dir := range []string{"private", "files", "db"} {
		n.must(run.Chown(filepath.Join(site.Dir, dir), owner))
	}
	n.must(os.Chmod(filepath.Join(site.Dir, "private"), 0o750))
	n.must(os.Chmod(filepath.Join(site.Dir, "db"), 0o750))
	if owner != nil {
		n.must(os.Chown(settings, 0, int(owner.GID)))
	}
	n.must(os.Chmod(settings, 0o440))
	// PHP keeps compiled code of files only that are older than two seconds.
	old := time.Now().Add(-time.Hour)
	n.must(os.Chtimes(settings, old, old))
}

func secrets(site Vhost) []string {
	return []string{
		filepath.Join(site.Dir, "releases", "1", "settings.php"), filepath.Join(site.Dir, "private", "letter.txt"), filepath.Join(site.Dir, "db", "site.sqlite"),
	}
}

// steal asks the thief for a file and answers by which ways it got it.
func (n *neighbours) steal(path string, more url.Values) []string {
	n.Helper()
	query := url.Values{"path": {path}}
	maps.Copy(query, more)
	a := n.send("GET", "/?"+query.Encode(), "")
	var said struct {
		Library   string
		User      int
		Temporary bool
		Got       []string
	}
	if err := json.Unmarshal([]byte(a.body), &said); err != nil || a.status != http.StatusOK || said.Library != "vendor" || !said.Temporary {
		n.Fatalf("the page does not work: %d %s", a.status, a.body)
	}
	if n.thief.User != 0 && said.User != n.thief.User {
		n.Errorf("PHP runs as user %d and not %d", said.User, n.thief.User)
	}
	return said.Got
}

func (n *neighbours) mustHold() {
	n.Helper()
	if a, err := n.try("GET", victim, "/", ""); err != nil || a.status != http.StatusOK || !strings.Contains(a.body, "<html>6</html>") {
		n.Fatalf("the other site does not work: %d %s, %v", a.status, a.body, err)
	}
	ways := map[string]bool{}
	for _, path := range secrets(n.thief) {
		for _, way := range n.steal(path, nil) {
			ways[way] = true
		}
	}
	for _, way := range []string{"read", "include", "filter", "symbolic link", "database", "attached database", "entity"} {
		if !ways[way] {
			n.Errorf("%q does not work on the site's own files, so it proves nothing", way)
		}
	}
	for _, path := range append(secrets(n.victim), n.docroot("4/sites/"+victim+"/settings.php")) {
		if got := n.steal(path, nil); len(got) > 0 {
			n.Errorf("%s was read by %q", path, got)
		}
	}
}

func TestServer_SharedPool_KeepsSitesApart(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"known platforms": func(c *Config) { c.Platforms = filepath.Join(filepath.Dir(c.Dir), "platforms") },
		"usual names":     func(*Config) {},
		"pool per site":   func(c *Config) { c.PoolPerSite = true },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNeighbours(t, false, change)
			n.mustHold()
			for _, way := range []string{"program", "process"} {
				if slices.Contains(n.steal(secrets(n.thief)[1], nil), way) {
					t.Errorf("PHP of a shared user starts programs: %s", way)
				}
			}
		})
	}
}

func TestServer_SharedPool_ProgramsOnDemand(t *testing.T) {
	n := newNeighbours(t, false, func(c *Config) { c.Programs = true })
	if got := n.steal(secrets(n.thief)[1], nil); !slices.Contains(got, "program") {
		t.Errorf("programs do not run: %q", got)
	}
}

func TestServer_UserPerSite_KeepsSitesApart(t *testing.T) {
	if os.Geteuid() != 0 {
		err := New(Config{}, runner()).AddSite(t.Context(), Vhost{SiteID: 7, URI: host, Dir: "/x", User: firstUser})
		if models.CodeOf(err) != models.Invalid {
			t.Errorf("got %v", err)
		}
		return
	}
	n := newNeighbours(t, true, func(*Config) {})
	n.mustHold()
	// Here programs run, and what they reach is up to the user.
	if got := n.steal(secrets(n.thief)[1], nil); !slices.Contains(got, "program") {
		t.Errorf("programs do not run: %q", got)
	}
	for _, site := range []Vhost{n.victim, {SiteID: 9}} {
		for _, path := range secrets(n.victim) {
			if got := n.steal(path, url.Values{"socket": {n.server.socketOf(site)}}); len(got) > 0 {
				t.Errorf("%s was read through another pool's socket by %q", path, got)
			}
		}
	}
	// Public files are everybody's, uploads work, and writes pass the gate.
	n.write(filepath.Join(n.victim.Dir, "releases", "1", "files", "logo.svg"), "<svg/>")
	if a, err := n.try("GET", victim, "/sites/"+victim+"/files/logo.svg", ""); err != nil || a.body != "<svg/>" {
		t.Errorf("got %d %s, %v", a.status, a.body, err)
	}
	if a, err := n.try("POST", victim, "/", "x"); err != nil || a.status != http.StatusOK {
		t.Errorf("got %d %s, %v", a.status, a.body, err)
	}
	n.must(n.server.RemoveSite(t.Context(), 8))
	if _, err := os.Lstat(n.server.socketOf(n.victim)); !os.IsNotExist(err) {
		t.Errorf("the pool is left: %v", err)
	}
	if _, err := os.Lstat(n.server.siteTemp(n.victim)); !os.IsNotExist(err) {
		t.Errorf("temporary files are left: %v", err)
	}
}

// The option may be switched on and off while sites are there.
func TestServer_UserPerSite_AdoptsAndGivesBack(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody may switch users then
	}
	n := newNeighbours(t, false, func(*Config) {})
	for _, user := range []int{firstUser, 0} {
		site := n.thief
		if user != 0 {
			site.User = user + 7
		}
		for _, dir := range []string{"files", "private", "db"} {
			n.must(run.Chown(filepath.Join(site.Dir, dir), n.server.owner(site)))
		}
		n.must(os.Chown(secrets(site)[0], 0, int(n.server.owner(site).GID)))
		n.must(n.server.AddSite(t.Context(), site))
		if got := n.steal(secrets(site)[2], nil); !slices.Contains(got, "database") {
			t.Errorf("user %d: the site cannot read its own database", user)
		}
		if got := n.steal(secrets(n.victim)[2], nil); len(got) > 0 {
			t.Errorf("user %d: the other's database was read by %q", user, got)
		}
		n.must(n.gate().Close(lease))
		if a := n.send("POST", "/", "x"); a.status != http.StatusServiceUnavailable {
			t.Errorf("user %d: the gate is open: %d", user, a.status)
		}
		n.must(n.gate().Open())
	}
}

// An upload is a file of the site's own folder and nobody else's.
func TestServer_Upload_StaysWithItsSite(t *testing.T) {
	f := serve(t)
	f.write(f.docroot("v1")+"/index.php", `<?php echo dirname($_FILES["f"]["tmp_name"]), " ", move_uploaded_file($_FILES["f"]["tmp_name"], dirname($_SERVER["HEFRING_RUN"]) . "/got") ? "kept" : "lost";`)
	const body = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\nhello\r\n--b--\r\n"
	a, err := f.sendTo(f.prober.PublicAddr, "POST", host, "/", body, http.Header{"Content-Type": {"multipart/form-data; boundary=b"}})
	f.must(err)
	if want := f.server.siteTemp(f.vhost()) + " kept"; a.body != want {
		t.Errorf("got %q, want %q", a.body, want)
	}
}
