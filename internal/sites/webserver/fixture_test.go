package webserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hefring/internal/run"
)

const (
	host        = "museum.example.org"
	guardMark   = "WEBSERVER_TEST_GUARD"
	starterMark = "WEBSERVER_TEST_STARTER"
	patience    = 30 * time.Second
)

// guard is a process that outlives this one, whatever ends it, and then ends the
// daemons that tests have left. It is told their folders line by line.
var guard io.Writer

func TestMain(m *testing.M) {
	if os.Getenv(guardMark) != "" {
		standGuard(os.Stdin)
		return
	}
	if config := os.Getenv(starterMark); config != "" {
		startAndWait(config)
		return
	}
	os.Exit(guarded(m))
}

// startAndWait starts a server and waits to be killed.
func startAndWait(text string) {
	var config Config
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		panic(err)
	}
	if err := New(config, runner()).Start(context.Background()); err != nil {
		panic(err)
	}
	if _, err := os.Stdout.WriteString("started\n"); err != nil {
		panic(err)
	}
	select {}
}

func guarded(m *testing.M) int {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), guardMark+"=1")
	pipe, err := cmd.StdinPipe()
	if err != nil {
		panic(err)
	}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	guard = pipe
	code := m.Run()
	if err := pipe.Close(); err != nil {
		panic(err)
	}
	if err := cmd.Wait(); err != nil {
		panic(err)
	}
	return code
}

func standGuard(in io.Reader) {
	var dirs []string
	for lines := bufio.NewScanner(in); lines.Scan(); {
		dirs = append(dirs, lines.Text())
	}
	for _, dir := range dirs {
		s := New(Config{Dir: dir}, runner())
		for _, d := range []*daemon{s.nginx(), s.php()} {
			_, _ = d.signal(9)
			_ = d.clearOrphans(context.Background())
		}
	}
}

func runner() *run.Runner {
	var config run.Config
	if os.Geteuid() == 0 {
		identity, err := run.LookupIdentity("www-data")
		if err != nil {
			panic(err)
		}
		config.Identity = identity
	}
	return run.New(config)
}

// fixture is a server with the folders of one site that has two releases.
type fixture struct {
	*testing.T
	config Config
	server *Server
	prober *Prober
	base   string
	site   string // its folder
}

// prepare makes the folders; nothing runs yet.
func prepare(t *testing.T) *fixture {
	t.Helper()
	base := t.TempDir()
	if err := os.Chmod(filepath.Dir(base), 0o755); err != nil {
		t.Fatal(err)
	}
	base, err := filepath.EvalSymlinks(base)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, base: base, site: filepath.Join(base, "sites", "7")}
	f.config = Config{Dir: filepath.Join(base, "web"), Port: freePort(t), ProbePort: freePort(t)}
	f.server = New(f.config, runner())
	f.prober = f.server.Prober()
	f.makeSite(f.site)
	f.watch(f.config.Dir)
	return f
}

// watch makes sure that no daemon of that folder outlives the test.
func (f *fixture) watch(dir string) {
	f.Helper()
	if _, err := fmt.Fprintln(guard, dir); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		s := New(Config{Dir: dir, Port: 1, ProbePort: 2}, runner())
		for _, d := range []*daemon{s.nginx(), s.php()} {
			if err := d.stop(context.Background()); err != nil {
				f.Error(err)
			}
		}
	})
}

// serve prepares and starts the server with the site on release v1.
func serve(t *testing.T) *fixture {
	t.Helper()
	f := prepare(t)
	f.must(f.server.Start(t.Context()))
	f.must(f.server.AddSite(t.Context(), f.vhost()))
	return f
}

func (f *fixture) vhost() Vhost { return Vhost{SiteID: 7, URI: host, Dir: f.site} }

func (f *fixture) gate() *Gate { return &Gate{Run: filepath.Join(f.site, "run")} }

func (f *fixture) docroot(release string) string { return filepath.Join(f.base, "platforms", release) }

func (f *fixture) makeSite(dir string) {
	f.Helper()
	app, err := os.ReadFile(filepath.Join("testdata", "app.php"))
	f.must(err)
	for _, release := range []string{"v1", "v2"} {
		f.write(filepath.Join(f.docroot(release), "index.php"), string(app))
		f.write(filepath.Join(f.docroot(release), "core/misc/release.css"), "/* "+release+" */")
	}
	f.must(os.MkdirAll(filepath.Join(dir, "run"), 0o755))
	f.link(filepath.Join(dir, "current"), f.docroot("v1"))
	f.must(runner().Chown(dir))
}

// link puts a link in place the way the switch does it.
func (f *fixture) link(path, target string) {
	f.Helper()
	f.must(os.Symlink(target, path+".new"))
	f.must(os.Rename(path+".new", path))
}

func (f *fixture) write(path, text string) {
	f.Helper()
	f.must(os.MkdirAll(filepath.Dir(path), 0o755))
	f.must(os.WriteFile(path, []byte(text), 0o644))
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// answer is a response whose body was read.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends one request to the public listener as the site's visitor.
func (f *fixture) send(method, path, body string) answer {
	f.Helper()
	a, err := f.try(method, host, path, body)
	f.must(err)
	return a
}

func (f *fixture) try(method, name, path, body string) (answer, error) {
	return f.sendTo(f.prober.PublicAddr, method, name, path, body, nil)
}

func (f *fixture) sendTo(address, method, name, path, body string, header http.Header) (answer, error) {
	request, err := http.NewRequest(method, "http://"+address, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.URL.Opaque = path // not cleaned
	request.Host = name
	maps.Copy(request.Header, header)
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}, err
}

// written is what a release has stored.
func (f *fixture) written(release string) string {
	f.Helper()
	text, err := os.ReadFile(filepath.Join(f.site, "writes-"+release))
	if os.IsNotExist(err) {
		return ""
	}
	f.must(err)
	return string(text)
}

func (f *fixture) status() Status {
	f.Helper()
	status, err := f.server.Status(f.Context())
	f.must(err)
	return status
}

// eventually waits for a condition.
func (f *fixture) eventually(what string, done func() bool) {
	f.Helper()
	ctx, stop := context.WithTimeout(f.Context(), patience)
	defer stop()
	if err := poll(ctx, func() (bool, error) { return done(), nil }); err != nil {
		f.Fatalf("%s: %v", what, err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}
