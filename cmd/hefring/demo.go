package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hefring/internal/config"
	"hefring/internal/fleet"
	"hefring/internal/gitserver"
	"hefring/internal/run"
	"hefring/internal/tidepool"
	"hefring/internal/tree"
	"hefring/models"
)

type demoCmd struct {
	Data string `help:"Folder of the demo (default: /var/lib/hefring-demo as root, else below ~/.local/share)." env:"HEFRING_DEMO" type:"path"`

	Up    demoUpCmd    `cmd:"" help:"Start the demo fleet, or go on with it, and print its addresses."`
	Push  demoPushCmd  `cmd:"" help:"Push the next version of the demo's distribution."`
	Down  demoDownCmd  `cmd:"" help:"Stop the demo's dashboard, sites and git server."`
	Serve demoServeCmd `cmd:"" hidden:""`
}

// demo is a fleet of its own: a folder, ports, a git repository with the
// versions of tidepool.
type demo struct {
	Dir       string `json:"-"`
	Dashboard int    `json:"dashboard"`
	Sites     int    `json:"sites"`
	Probe     int    `json:"probe"`
	Git       int    `json:"git"`
	Version   string `json:"version"` // last pushed
}

// storyline is the order in which the demo's versions are pushed: a first one,
// one with database updates, a code-only one, one whose update throws.
func storyline() []string { return []string{"10.5.8", "10.6.2", "10.6.3", "11.0.0-throws"} }

func (c *demoCmd) open() (*demo, error) {
	dir := c.Data
	if dir == "" {
		var err error
		if dir, err = demoDir(); err != nil {
			return nil, err
		}
	}
	d := &demo{Dir: dir}
	text, err := os.ReadFile(d.file())
	if errors.Is(err, os.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read demo: %w", err)
	}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("read %s: %w; delete the folder to start anew", d.file(), err)
	}
	return d, nil
}

func demoDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/hefring-demo", nil
	}
	if base := os.Getenv("XDG_DATA_HOME"); base != "" {
		return filepath.Join(base, "hefring-demo"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find home folder: %w; name a folder with --data", err)
	}
	return filepath.Join(home, ".local", "share", "hefring-demo"), nil
}

func (d *demo) file() string    { return filepath.Join(d.Dir, "demo.json") }
func (d *demo) repo() string    { return filepath.Join(d.Dir, "git", "tidepool.git") }
func (d *demo) work() string    { return filepath.Join(d.Dir, "git", "tidepool-work") }
func (d *demo) pidFile() string { return filepath.Join(d.Dir, "demo.pid") }

func (d *demo) cloneURL() string {
	return fmt.Sprintf("http://127.0.0.1:%d/tidepool.git", d.Git)
}

func (d *demo) config() (config.Config, error) {
	cfg := config.Config{
		Data: filepath.Join(d.Dir, "data"), Listen: fmt.Sprintf("127.0.0.1:%d", d.Dashboard), SitesListen: "127.0.0.1",
		SitesPort: d.Sites, ProbePort: d.Probe, WebUser: "www-data", BuildUser: "nobody",
		// The demo's own git server is on this machine.
		EgressAllow: []string{"127.0.0.1/32"}, LogLevel: "info",
	}
	return cfg, cfg.Validate()
}

func (d *demo) save() error {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("write demo: %w", err)
	}
	if err := tree.Replace(d.file(), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write demo: %w", err)
	}
	return nil
}

// prepare makes the folder, chooses ports and pushes the first version.
func (d *demo) prepare(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(d.Dir, "git"), 0o755); err != nil { //nolint:gosec // builds and PHP are other users
		return fmt.Errorf("make demo folder: %w", err)
	}
	for want, port := range map[int]*int{8080: &d.Dashboard, 8081: &d.Sites, 8082: &d.Probe, 8083: &d.Git} {
		if *port != 0 {
			continue
		}
		var err error
		if *port, err = freePort(ctx, want); err != nil {
			return err
		}
	}
	if err := d.save(); err != nil {
		return err
	}
	if d.Version != "" {
		return nil
	}
	for _, leftover := range []string{d.repo(), d.work()} { // of a first run that was cut short
		if err := os.RemoveAll(leftover); err != nil {
			return fmt.Errorf("clear demo repository: %w", err)
		}
	}
	if err := d.git(ctx, d.Dir, "init", "--quiet", "--bare", "--initial-branch=main", d.repo()); err != nil {
		return err
	}
	if err := d.git(ctx, d.repo(), "config", "http.receivepack", "true"); err != nil {
		return err
	}
	if err := d.git(ctx, d.Dir, "clone", "--quiet", d.repo(), d.work()); err != nil {
		return err
	}
	return d.push(ctx, storyline()[0])
}

// freePort gives the wanted loopback port, or another one when it is taken.
func freePort(ctx context.Context, want int) (int, error) {
	for _, port := range []int{want, 0} {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		defer listener.Close()
		if address, ok := listener.Addr().(*net.TCPAddr); ok {
			return address.Port, nil
		}
	}
	return 0, errors.New("find a free port: the machine gives none")
}

func (d *demo) git(ctx context.Context, dir string, args ...string) error {
	_, err := run.New(run.Config{}).Run(ctx, run.Cmd{
		Name: "git", Args: args, Dir: dir, Root: true,
		Env: []string{
			"HOME=" + d.Dir, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Tidepool", "GIT_AUTHOR_EMAIL=tidepool@example.org",
			"GIT_COMMITTER_NAME=Tidepool", "GIT_COMMITTER_EMAIL=tidepool@example.org",
		},
	})
	return err
}

// push commits a version and pushes it.
func (d *demo) push(ctx context.Context, name string) error {
	message := ""
	for _, v := range tidepool.Versions() {
		if v.Name == name {
			message = v.Message
		}
	}
	// Whoever pushed to the demo from elsewhere goes first.
	if d.Version != "" {
		if err := d.git(ctx, d.work(), "pull", "--quiet", "--rebase", "origin", "main"); err != nil {
			return err
		}
	}
	if err := tidepool.Write(d.work(), name); err != nil {
		return fmt.Errorf("write version %s: %w", name, err)
	}
	for _, args := range [][]string{{"add", "--all"}, {"commit", "--quiet", "--message", message}, {"push", "--quiet", "origin", "HEAD:main"}} {
		if err := d.git(ctx, d.work(), args...); err != nil {
			return err
		}
	}
	d.Version = name
	return d.save()
}

type demoServeCmd struct{}

// Run serves the demo's git repository and the dashboard until it is told to stop.
func (demoServeCmd) Run(ctx context.Context, parent *demoCmd) error {
	d, err := parent.open()
	if err != nil {
		return err
	}
	cfg, err := d.config()
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", d.Git))
	if err != nil {
		return fmt.Errorf("serve demo repository: %w", err)
	}
	repositories, err := gitserver.New(filepath.Dir(d.repo()))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: repositories, ReadHeaderTimeout: 10 * time.Second}
	defer server.Close()
	go func() { _ = server.Serve(listener) }() // it ends with Close
	if err := os.WriteFile(d.pidFile(), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	defer os.Remove(d.pidFile())
	return serve(ctx, cfg)
}

type demoUpCmd struct{}

// Run starts the demo and makes its fleet, or goes on with what is there.
func (demoUpCmd) Run(ctx context.Context, parent *demoCmd) error {
	d, err := parent.open()
	if err != nil {
		return err
	}
	if err := d.stopServing(ctx); err != nil { // so that a new binary takes over
		return err
	}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	if _, err := run.Spawn(filepath.Join(d.Dir, "hefring.log"), program, "demo", "--data", d.Dir, "serve"); err != nil {
		return err
	}
	cfg, err := d.config()
	if err != nil {
		return err
	}
	say("Starting Hefring …")
	if err := awaitHealthy(ctx, cfg.URL+"/healthz"); err != nil {
		return fmt.Errorf("%w; its log is %s", err, filepath.Join(d.Dir, "hefring.log"))
	}
	return withApp(ctx, &cfg, func(a *app) error { return d.seed(ctx, a) })
}

type demoPushCmd struct{}

// Run pushes the next version.
func (demoPushCmd) Run(ctx context.Context, parent *demoCmd) error {
	d, err := parent.open()
	if err != nil {
		return err
	}
	if d.Version == "" {
		return errors.New("there is no demo yet: run make demo")
	}
	line := storyline()
	for i, name := range line[:len(line)-1] {
		if name == d.Version {
			if err := d.push(ctx, line[i+1]); err != nil {
				return err
			}
			say("Pushed %s to %s. The git queue sees it within seconds.", line[i+1], d.cloneURL())
			return nil
		}
	}
	say("%s was the last version of the story. Push your own: git clone %s", d.Version, d.cloneURL())
	return nil
}

type demoDownCmd struct{}

// Run stops everything of the demo; its data stays.
func (demoDownCmd) Run(ctx context.Context, parent *demoCmd) error {
	d, err := parent.open()
	if err != nil {
		return err
	}
	if err := d.stopServing(ctx); err != nil {
		return err
	}
	if d.Sites == 0 {
		return nil
	}
	cfg, err := d.config()
	if err != nil {
		return err
	}
	return withApp(ctx, &cfg, func(a *app) error { return a.web.Stop(ctx) })
}

// stopServing ends the demo's dashboard if it runs, and waits until it is gone.
func (d *demo) stopServing(ctx context.Context) error {
	text, err := os.ReadFile(d.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read pid file: %w", err)
	}
	alive := func() bool {
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err == nil && strings.Contains(string(args), "\x00demo\x00") // the number may be another program's by now
	}
	if alive() {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return fmt.Errorf("stop the running demo: %w", err)
		}
	}
	return poll(ctx, 2*time.Minute, "the running demo to stop", func() (bool, error) { return !alive(), nil })
}

func awaitHealthy(ctx context.Context, url string) error {
	client := http.Client{Timeout: 2 * time.Second}
	return poll(ctx, time.Minute, "the dashboard", func() (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		response, err := client.Do(request)
		if err != nil {
			return false, nil // not yet
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK, nil
	})
}

// poll asks until the answer is yes.
func poll(ctx context.Context, limit time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		if ok, err := done(); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

// demoActor is who made the demo's things.
const demoActor = "demo"

// seed makes the demo's fleet, as far as it is not there.
func (d *demo) seed(ctx context.Context, a *app) error {
	if _, err := a.fleet.CreateUser(ctx, "admin", ""); err != nil && models.CodeOf(err) != models.Conflict {
		return fmt.Errorf("add user: %w", err)
	}
	distribution, err := d.distribution(ctx, a)
	if err != nil {
		return err
	}
	sites := []fleet.NewSite{
		{URI: "harbour.localhost", Title: "Harbour office", Profile: "standard", Once: "demo site harbour"},
		{URI: "lagoon.localhost", Title: "Lagoon museum", Profile: "standard", Once: "demo site lagoon"},
	}
	if err := d.sites(ctx, a, distribution, sites); err != nil {
		return err
	}
	if d.Version == storyline()[0] {
		if err := d.push(ctx, storyline()[1]); err != nil {
			return err
		}
		if _, err := a.fleet.CheckNow(ctx, demoActor, distribution.ID); err != nil && models.CodeOf(err) != models.Conflict {
			return err
		}
	}
	return d.announce(ctx, a, sites)
}

func (d *demo) distribution(ctx context.Context, a *app) (models.Distribution, error) {
	queue := models.Queue{UpdateType: "git", Every: 10 * time.Second, AtOnce: 8}
	rows, _, err := a.fleet.Distributions(ctx, fleet.Filter{Query: "Tidepool"})
	if err != nil {
		return models.Distribution{}, err
	}
	if len(rows) == 0 {
		if err := a.fleet.SaveQueue(ctx, demoActor, queue); err != nil {
			return models.Distribution{}, err
		}
		say("Building the first platform …")
		if _, err := a.fleet.CreateDistribution(ctx, demoActor, fleet.NewDistribution{
			Name: "Tidepool", UpdateType: "git", Once: "demo distribution",
			Settings: models.Settings{"url": d.cloneURL(), "composer": "1"},
		}); err != nil {
			return models.Distribution{}, err
		}
	}
	var found models.Distribution
	err = poll(ctx, 5*time.Minute, "the first platform", func() (bool, error) {
		rows, _, err := a.fleet.Distributions(ctx, fleet.Filter{Query: "Tidepool"})
		if err != nil || len(rows) == 0 {
			return false, err
		}
		found = rows[0].Distribution
		if found.TargetID == nil && found.Condition == models.ConditionFailing {
			return false, errors.New("the first platform did not build: " + found.Reason)
		}
		return found.TargetID != nil, nil
	})
	return found, err
}

func (d *demo) sites(ctx context.Context, a *app, distribution models.Distribution, sites []fleet.NewSite) error {
	rows, _, err := a.fleet.Sites(ctx, fleet.Filter{DistributionID: distribution.ID})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		say("Installing two sites …")
		for _, site := range sites {
			site.PlatformID = *distribution.TargetID
			if _, err := a.fleet.CreateSite(ctx, demoActor, site); err != nil {
				return err
			}
		}
	}
	return poll(ctx, 5*time.Minute, "the sites", func() (bool, error) {
		rows, _, err := a.fleet.Sites(ctx, fleet.Filter{DistributionID: distribution.ID})
		if err != nil {
			return false, err
		}
		for _, row := range rows {
			if row.State == models.SiteBroken {
				return false, errors.New(row.URI + " is broken: " + row.Reason)
			}
			if row.State == models.SiteInstalling {
				return false, nil
			}
		}
		return len(rows) > 0, nil
	})
}

func (d *demo) announce(ctx context.Context, a *app, sites []fleet.NewSite) error {
	link, err := a.loginLink(ctx, "admin")
	if err != nil {
		return err
	}
	say("\nHefring runs at  %s", a.cfg.URL)
	say("Sign in once by  %s\n", link)
	for _, site := range sites {
		say("Demo site        %s", a.fleet.SiteURL(models.Site{URI: site.URI}))
	}
	say("Its repository   %s", d.cloneURL())
	say("\nmake demo-push pushes the next version, make demo-stop stops everything.")
	return nil
}
