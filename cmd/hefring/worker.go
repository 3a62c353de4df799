package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hefring/internal/config"
	"hefring/internal/egress"
	"hefring/internal/fleet"
	"hefring/internal/platforms"
	"hefring/internal/remote"
	"hefring/internal/run"
	"hefring/internal/secret"
	"hefring/internal/sites/webserver"
	"hefring/internal/store"
	"hefring/internal/tasks"
	"hefring/internal/traces"
	"hefring/internal/tree"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/builtin"
)

type workerCmd struct {
	config.Config

	Server    string `required:"" help:"The name of this host's server, as hefring server add has it."`
	Join      string `placeholder:"TOKEN" help:"Join with this one-time token; later starts need none. --url is then the control plane's dashboard."`
	PlainHTTP bool   `name:"plain-http" help:"Fetch platforms over plain HTTP: nobody listens on the network between the hosts. Joining with it remembers it."`
}

// Run works on this server's queue until it is told to stop.
func (c *workerCmd) Run(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	base, database := c.URL, c.Database
	if base == "http://"+c.Listen { // what follows from other settings was not given
		base = ""
	}
	if strings.HasPrefix(database, "sqlite:") {
		database = ""
	}
	if err := layout(c.Data).make(c.Data); err != nil {
		return err
	}
	box, err := secret.Load(c.SecretKey)
	if err != nil {
		return err
	}
	w := &workerHost{cmd: c, box: box, database: database}
	if c.Join != "" {
		if err := w.join(ctx, base); err != nil {
			return commandError(err)
		}
	}
	if err := w.load(base); err != nil {
		return commandError(err)
	}
	a, err := w.newApp(ctx)
	if err != nil {
		return err
	}
	return w.serve(ctx, a)
}

// workerHost is a web host whose worker this is.
type workerHost struct {
	cmd      *workerCmd
	box      *secret.Box
	database string // where the worker finds the database, when not where the control plane does
	who      identity
}

// identity is what a worker keeps of its own in the data folder.
type identity struct {
	fleet.Credentials

	Control   string `json:"control"`              // address of the dashboard
	PlainHTTP bool   `json:"plain_http,omitempty"` // as it was said for that address
}

func (w *workerHost) file() string { return filepath.Join(layout(w.cmd.Data).control, "worker.json") }

// join uses the token and keeps what it gives.
func (w *workerHost) join(ctx context.Context, base string) error {
	if base == "" {
		return models.InvalidField("url", "Say with --url where the control plane's dashboard is.")
	}
	client, err := w.client(base)
	if err != nil {
		return err
	}
	sealed, err := client.Join(ctx, fleet.JoinRequest{Name: w.cmd.Server, Token: w.cmd.Join, Recipient: w.box.Recipient(), Version: version})
	if err != nil {
		return err
	}
	text, err := w.box.Open(fleet.JoinContext(w.cmd.Server), sealed)
	if err != nil {
		return err
	}
	who := identity{Control: base, PlainHTTP: w.cmd.PlainHTTP}
	if err := json.Unmarshal(text, &who.Credentials); err != nil {
		return fmt.Errorf("read credentials: %w", err)
	}
	kept, err := json.MarshalIndent(who, "", "  ")
	if err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	if err := tree.Replace(w.file(), kept, 0o600); err != nil {
		return fmt.Errorf("keep credentials: %w", err)
	}
	return nil
}

// load reads what joining gave.
func (w *workerHost) load(base string) error {
	text, err := os.ReadFile(w.file())
	if errors.Is(err, fs.ErrNotExist) {
		return models.Errorf(models.NotFound, "This host has not joined yet. Run hefring server add %s on the control plane's host, and what that prints here.", w.cmd.Server)
	}
	if err != nil {
		return fmt.Errorf("read credentials: %w", err)
	}
	if err := json.Unmarshal(text, &w.who); err != nil {
		return models.Wrapf(models.Unavailable, err, "%s cannot be read. Join anew: hefring server invite %s", w.file(), w.cmd.Server)
	}
	if w.who.Name != w.cmd.Server {
		return models.Errorf(models.Conflict, "This host joined as %s, not as %s.", w.who.Name, w.cmd.Server)
	}
	if base != "" && base != w.who.Control {
		w.who.Control, w.who.PlainHTTP = base, false
	}
	if err := w.checkAddress(w.who.Control); err != nil {
		return err
	}
	if w.database == "" {
		return nil
	}
	given, err := url.Parse(w.database)
	joined, err2 := url.Parse(w.who.Database)
	if err != nil || err2 != nil || given.Host == "" && given.RawQuery == "" {
		return models.InvalidField("database", "Use postgres://host/name: where this host finds the control plane's database. The user is the worker's own.")
	}
	given.User = joined.User
	w.who.Database = given.String()
	return nil
}

func (w *workerHost) checkAddress(base string) error {
	return remote.CheckAddress(base, w.cmd.PlainHTTP || w.who.PlainHTTP)
}

// client asks the control plane.
func (w *workerHost) client(base string) (*remote.Client, error) {
	if err := w.checkAddress(base); err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute}
	if w.cmd.CAFile != "" {
		roots, err := egress.LoadAuthorities(w.cmd.CAFile, filepath.Join(layout(w.cmd.Data).web, "ca-bundle.pem"))
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &remote.Client{Base: base, Key: w.who.Key, HTTP: &http.Client{Transport: transport}}, nil
}

// newApp puts the parts of a worker together, but for what needs the database.
func (w *workerHost) newApp(ctx context.Context) (*app, error) {
	a := &app{cfg: w.cmd.Config, logger: logTo(os.Stderr, w.cmd.LogLevel, w.cmd.LogFormat).With(slog.String("server", w.cmd.Server))}
	dirs := layout(a.cfg.Data)
	programs := run.Config{Hide: []string{dirs.control, dirs.backups}, Uncontained: uncontained(ctx, a.cfg.Unsandboxed, a.logger)}
	web, err := newRunner(a.cfg.WebUser, programs)
	if err != nil {
		return nil, fmt.Errorf("%w; name another with --web-user", err)
	}
	a.builder = web
	a.web = webserver.New(webConfig(a.cfg, dirs), web)
	return a, nil
}

// connectAgain is how long a worker waits before it asks a database again that does
// not answer.
const connectAgain = 3 * time.Second

// serve works until ctx ends. Sites are served also while the database is away.
func (w *workerHost) serve(ctx context.Context, a *app) error {
	if err := a.web.Start(ctx); err != nil {
		return fmt.Errorf("start web server for sites: %w", err)
	}
	if err := w.connect(ctx, a); err != nil || ctx.Err() != nil {
		return err
	}
	defer a.close()
	if err := w.fill(ctx, a); err != nil {
		return err
	}
	if err := a.tasks.Start(ctx); err != nil {
		return err
	}
	scheduler, err := tasks.NewScheduler(a.logger,
		tasks.Timed{Name: "heartbeat", Every: beatEvery, Run: func(ctx context.Context) error { return a.fleet.Beat(ctx, version) }},
		tasks.Timed{Name: "web server", Every: mendEvery, Run: a.mend},
		tasks.Timed{Name: "tidy", Every: tidyEvery, Run: func(ctx context.Context) error {
			return errors.Join(a.fleet.TidyServer(ctx), a.web.Reload(ctx))
		}})
	if err != nil {
		return err
	}
	scheduler.Start()
	a.logger.InfoContext(ctx, "the worker takes its queue")
	<-ctx.Done()
	return errors.Join(scheduler.Stop(), a.tasks.Stop(context.WithoutCancel(ctx)))
}

// beatEvery is how often a worker says that it lives.
const beatEvery = 5 * time.Second

// connect opens the database, and waits for it as long as that takes.
func (w *workerHost) connect(ctx context.Context, a *app) (err error) {
	for {
		a.store, err = store.OpenJoined(ctx, w.who.Database, a.logger)
		if err == nil || models.CodeOf(err) == models.Conflict {
			return err
		}
		a.logger.WarnContext(ctx, "the control plane's database does not answer", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(connectAgain):
		}
	}
}

// fill adds the parts that need the database.
func (w *workerHost) fill(ctx context.Context, a *app) error {
	dirs := layout(a.cfg.Data)
	guard, _, err := newGuard(a.cfg, dirs.web)
	if err != nil {
		return err
	}
	client, err := w.client(w.who.Control)
	if err != nil {
		return err
	}
	types, err := plugins.NewRegistry(builtin.All()...)
	if err != nil {
		return err
	}
	if a.traces, err = newTraces(ctx, a.cfg, guard, a.logger); err != nil {
		return err
	}
	kept := &platforms.Store{Root: dirs.platforms, Sites: dirs.sites}
	a.fleet = fleet.New(fleet.Config{
		Store: a.store, Types: types, Hosting: fleet.Placed(a.newHost(dirs, a.builder), kept), Platforms: kept,
		Run: a.builder, Egress: guard, Secrets: w.box, SealFor: secret.SealFor, Cache: dirs.cache, Scratch: dirs.scratch,
		Forbidden: []string{a.cfg.Data}, Logger: a.logger, Server: w.who.Server, Courier: client, Carrier: client,
	})
	a.tasks, err = tasks.New(ctx, a.store, tasks.Access(a.store.Access()), tasks.Config{
		ID: w.cmd.Server, Workers: tasks.ServerWorkers(w.who.Server), Server: w.who.Server, Joined: true, Logger: a.logger,
		Trace: a.traceTasks(), Origin: traces.Origin,
	})
	if err != nil {
		return err
	}
	a.store.SetEnqueuer(a.tasks)
	a.tasks.HandleAll(a.fleet.Handlers())
	return nil
}
