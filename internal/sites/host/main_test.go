package host_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"hefring/internal/platforms"
	"hefring/internal/run"
	"hefring/internal/sites"
	"hefring/internal/sites/database"
	"hefring/internal/sites/database/sqlite"
	"hefring/internal/sites/drupal"
	"hefring/internal/sites/host"
	"hefring/internal/sites/webserver"
	"hefring/internal/tidepool"
	"hefring/models"
)

const (
	guardMark  = "HOST_TEST_GUARD"
	victimMark = "HOST_TEST_VICTIM"
	choreMark  = "HOST_TEST_CHORE"
)

// guard is a process that outlives this one, whatever ends it, and then ends the
// daemons and removes the folders that tests have left. It is told of them line
// by line.
var guard io.Writer

func TestMain(m *testing.M) {
	if os.Getenv(guardMark) != "" {
		standGuard(os.Stdin)
		return
	}
	if file := os.Getenv(victimMark); file != "" {
		os.Exit(victim(file))
	}
	if text := os.Getenv(choreMark); text != "" {
		os.Exit(doChore(text))
	}
	os.Exit(guarded(m))
}

func guarded(m *testing.M) int {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), guardMark+"=1")
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdinPipe()
	if err != nil {
		panic(err)
	}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	guard = pipe
	code := m.Run()
	if err := errors.Join(pipe.Close(), cmd.Wait()); err != nil {
		panic(err)
	}
	return code
}

func standGuard(in io.Reader) {
	var places []place
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var p place
		if err := json.Unmarshal(lines.Bytes(), &p); err == nil {
			places = append(places, p)
		}
	}
	for _, p := range places {
		if err := errors.Join(p.open().web.Stop(context.Background()), remove(p.Base)); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "clean up after the tests:", err)
		}
	}
}

// remove removes a tree with folders that were made read-only.
func remove(base string) error {
	_ = filepath.WalkDir(base, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(base)
}

// place says where a server is, for this process and those that it starts.
type place struct {
	Base      string
	Port      int
	ProbePort int
}

// server is the machine that sites run on: nginx, php-fpm and sealed platforms.
type server struct {
	place
	layout    sites.Layout
	runner    *run.Runner
	engine    database.Engine
	drupal    *drupal.Drupal
	web       *webserver.Server
	platforms *platforms.Store
	host      *host.Host

	// parent is the server whose platforms and numbers of sites this one shares; it
	// differs in where its sites' databases are. nil: it has its own.
	parent *server

	mu        sync.Mutex
	built     map[string]models.Platform
	templates map[string]template
	sites     int64
}

var (
	errLost      = errors.New("lost")
	errCancelled = errors.New("cancelled")
)

func (p place) open() *server {
	var config run.Config
	if os.Geteuid() == 0 {
		identity, err := run.LookupIdentity("www-data")
		if err != nil {
			panic(err)
		}
		config.Identity = identity
	}
	s := &server{
		place: p, layout: sites.Layout{Root: filepath.Join(p.Base, "sites")}, runner: run.New(config),
		built: map[string]models.Platform{}, templates: map[string]template{},
	}
	s.engine = sqlite.New(s.layout, s.runner)
	s.drupal = drupal.New(s.layout, s.runner, s.engine)
	s.web = webserver.New(webserver.Config{Dir: filepath.Join(p.Base, "web"), Port: p.Port, ProbePort: p.ProbePort}, s.runner)
	s.platforms = &platforms.Store{Root: filepath.Join(p.Base, "platforms"), Sites: s.layout.Root, MinFree: 1}
	s.host = s.hostWith(s.web)
	return s
}

func (s *server) hostWith(web *webserver.Server) *host.Host {
	return &host.Host{
		Layout: s.layout, Databases: s.engine, Drupal: s.drupal, Web: web, Backups: filepath.Join(s.Base, "backups"),
		Abandoned: func(cause error) bool { return errors.Is(cause, errLost) },
		Cancelled: func(cause error) bool { return errors.Is(cause, errCancelled) },
	}
}

// start gives the one server that all tests share.
var start = sync.OnceValues(func() (*server, error) {
	base, err := os.MkdirTemp("", "host-test-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(base, 0o755); err != nil { // PHP is another user
		return nil, err
	}
	p := place{Base: base}
	for _, port := range []*int{&p.Port, &p.ProbePort} {
		if *port, err = freePort(); err != nil {
			return nil, err
		}
	}
	if err := json.NewEncoder(guard).Encode(p); err != nil {
		return nil, err
	}
	s := p.open()
	return s, s.web.Start(context.Background())
})

func serve(t *testing.T) *server {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatalf("start the server: %v", err)
	}
	return s
}

// platform gives a version of the fixture as a sealed platform.
func (s *server) platform(t *testing.T, version string) models.Platform {
	t.Helper()
	if s.parent != nil {
		return s.parent.platform(t, version)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, built := s.built[version]; built {
		return p
	}
	p := models.Platform{ID: int64(len(s.built) + 1), Name: "tide-" + version, Docroot: "web", BuildKey: "key-" + version, State: models.PlatformReady}
	dir, err := s.platforms.Stage(t.Context(), p.ID, 1)
	ok(t, err)
	ok(t, tidepool.Write(dir, version))
	found, err := s.platforms.Inspect(t.Context(), dir, "web")
	ok(t, err)
	p.DrupalVersion, p.Packages, p.Profiles = found.DrupalVersion, found.Packages, found.Profiles
	ok(t, s.platforms.Prepare(t.Context(), dir, "web"))
	sealed, err := s.platforms.Seal(t.Context(), dir, "web")
	ok(t, err)
	p.ManifestDigest = sealed.Digest
	p.Root, err = s.platforms.Publish(dir, p.Name)
	ok(t, err)
	s.built[version] = p
	return p
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
