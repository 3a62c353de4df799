package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hefring/internal/config"
	"hefring/internal/egress"
	"hefring/internal/fleet"
	"hefring/internal/metrics"
	"hefring/internal/notify"
	"hefring/internal/platforms"
	"hefring/internal/remote"
	"hefring/internal/run"
	"hefring/internal/secret"
	"hefring/internal/sites"
	"hefring/internal/sites/database/engines"
	"hefring/internal/sites/database/mysql"
	"hefring/internal/sites/database/postgres"
	"hefring/internal/sites/database/sqlite"
	"hefring/internal/sites/drupal"
	"hefring/internal/sites/host"
	"hefring/internal/sites/webserver"
	"hefring/internal/store"
	"hefring/internal/tasks"
	"hefring/internal/traces"
	"hefring/models"
	"hefring/plugins"
	"hefring/plugins/builtin"
	"hefring/web"
	"hefring/web/api"
)

// app is the program with all its parts.
type app struct {
	cfg      config.Config
	logger   *slog.Logger
	store    *store.Store
	fleet    *fleet.Fleet
	notifier *notify.Sender
	guard    *egress.Guard
	tasks    *tasks.Runner
	web      *webserver.Server

	builder *run.Runner
	metrics *metrics.Metrics
	traces  *traces.Traces // nil: nobody follows requests and tasks
	health  http.Handler
}

// newApp puts the parts together and starts none of them.
func newApp(ctx context.Context, cfg config.Config) (*app, error) { return assemble(ctx, cfg, false) }

// assemble is newApp; a replica answers people and does no tasks.
func assemble(ctx context.Context, cfg config.Config, replica bool) (*app, error) {
	if cfg.SiteUsers != 0 && os.Geteuid() != 0 {
		return nil, models.InvalidField("site-users", "Only root can give every site a user of its own. Run Hefring as root, or leave this setting out.")
	}
	a := &app{cfg: cfg, logger: logTo(os.Stderr, cfg.LogLevel, cfg.LogFormat)}
	dirs := layout(cfg.Data)
	if err := dirs.make(cfg.Data); err != nil {
		return nil, err
	}
	guard, caFile, err := newGuard(cfg, dirs.web)
	if err != nil {
		return nil, err
	}
	a.guard = guard
	programs := run.Config{Hide: []string{dirs.control, dirs.backups}, CAFile: caFile, Uncontained: uncontained(ctx, cfg.Unsandboxed, a.logger)}
	web, err := newRunner(cfg.WebUser, programs)
	if err != nil {
		return nil, fmt.Errorf("%w; name another with --web-user", err)
	}
	// Builds run as somebody else than sites, or a site's PHP could change what
	// all sites will run.
	builder, err := newRunner(cfg.BuildUser, programs)
	if err != nil {
		return nil, fmt.Errorf("%w; name another with --build-user", err)
	}
	a.builder = builder
	types, err := plugins.NewRegistry(builtin.All()...)
	if err != nil {
		return nil, err
	}
	server, workers := int64(0), tasks.Workers()
	var versions map[string]string
	if replica {
		server, workers = fleet.Nowhere, nil
	} else if versions, err = toolVersions(ctx, builder); err != nil {
		return nil, err
	}
	box, err := secret.Load(cfg.SecretKey)
	if err != nil {
		return nil, err
	}
	a.web = webserver.New(webConfig(cfg, dirs), web)
	if a.store, err = store.Open(ctx, cfg.Database, a.logger); err != nil {
		return nil, err
	}
	a.metrics = newMetrics(types)
	a.notifier, err = notify.New(notify.Config{Egress: guard, Base: cfg.URL, SMTP: notify.SMTP{
		Host: cfg.SMTPHost, Port: cfg.SMTPPort, TLS: notify.TLS(cfg.SMTPTLS), User: cfg.SMTPUser, Password: cfg.SMTPPassword, From: cfg.SMTPFrom,
	}})
	if err != nil {
		return nil, err
	}
	a.fleet = fleet.New(fleet.Config{
		Notifier: a.notifier, Host: hostOf(cfg.URL),
		Store: a.store, Types: types, Hosting: a.newHost(dirs, web),
		Platforms: &platforms.Store{Root: dirs.platforms, Sites: dirs.sites},
		Run:       builder, Egress: guard, Secrets: box,
		Cache: dirs.cache, Scratch: dirs.scratch, Forbidden: []string{cfg.Data},
		WorkerDatabase: cfg.Database, SealFor: secret.SealFor, Carrier: relay(dirs), Carried: relay(dirs), Recipient: box.Recipient,
		Server: server, Tools: versions, PHP: versions["php"], Logger: a.logger, Observer: a.metrics,
	})
	if a.traces, err = newTraces(ctx, cfg, guard, a.logger); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	if a.tasks, err = a.newTasks(ctx, workers); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	a.showFleet()
	a.health = a.newHealth(replica)
	return a, nil
}

// relay is where sites lie on their way between servers.
func relay(dirs folders) remote.Relay {
	return remote.Relay{Dir: filepath.Join(dirs.control, "relay")}
}

// webConfig says how sites are served.
func webConfig(cfg config.Config, dirs folders) webserver.Config {
	return webserver.Config{
		Dir: dirs.web, Mode: webserver.Mode(cfg.SitesMode), Listen: cfg.SitesListen, Port: cfg.SitesPort, TLSPort: cfg.TLSPort, ProbePort: cfg.ProbePort,
		PoolPerSite: cfg.PoolPerSite, Programs: cfg.PHPPrograms, Platforms: dirs.platforms,
		System: webserver.System{
			TestNginx: strings.Fields(cfg.NginxTest), ReloadNginx: strings.Fields(cfg.NginxReload),
			TestPHP: strings.Fields(cfg.PHPTest), ReloadPHP: strings.Fields(cfg.PHPReload),
		},
	}
}

func (a *app) newHost(dirs folders, runner *run.Runner) *host.Host {
	where := sites.Layout{Root: dirs.sites, FirstUser: a.cfg.SiteUsers}
	// Servers are asked for while sites are worked on, when a.fleet is there.
	servers := func(ctx context.Context, id int64) (models.DatabaseServer, error) {
		return a.fleet.OpenDatabaseServer(ctx, id)
	}
	// The servers' own programs are given passwords, so they run as ourselves.
	ours := run.New(run.Config{})
	engine := engines.New(servers, sqlite.New(where, runner), mysql.New(where, ours, servers), postgres.New(where, ours, servers))
	site := drupal.New(where, runner, engine)
	site.Drush8, site.Times.Update = a.cfg.Drush8, a.cfg.UpdateLimit
	return &host.Host{
		Layout: where, Databases: engine, Drupal: site, Web: a.web, Backups: dirs.backups, Servers: engine,
		Patience:  time.Minute,
		Abandoned: func(cause error) bool { return errors.Is(cause, fleet.ErrLost) },
		Cancelled: func(cause error) bool { return errors.Is(cause, fleet.ErrCancelled) },
	}
}

func (a *app) newTasks(ctx context.Context, workers map[string]int) (*tasks.Runner, error) {
	runner, err := tasks.New(ctx, a.store, tasks.Access(a.store.Access()), tasks.Config{
		ID: "local", Workers: workers, Logger: a.logger, Ended: a.metrics.TaskEnded, Trace: a.traceTasks(), Origin: traces.Origin,
	})
	if err != nil {
		return nil, err
	}
	a.store.SetEnqueuer(runner)
	runner.HandleAll(a.fleet.Through(models.Entrance{Door: models.DoorTask}).Handlers())
	return runner, nil
}

func (a *app) close() {
	a.closeTraces()
	if err := a.store.Close(); err != nil {
		a.logger.Error("close database", slog.Any("error", err))
	}
}

// How often due checks and the due work of sites are looked for, the web server
// is looked at, and what is no longer needed is removed.
const (
	tickEvery  = 500 * time.Millisecond
	sitesEvery = 20 * time.Second
	// noticesEvery is how often it is looked whether somebody must be told.
	noticesEvery = 20 * time.Second
	mendEvery    = 3 * time.Second
	// keysEvery is how often workers are given the passwords that they need; what
	// people do shares them at once.
	keysEvery = time.Minute
	tidyEvery = time.Hour
)

// serve runs everything until ctx ends.
func (a *app) serve(ctx context.Context) error {
	if err := errors.Join(a.fleet.EnsureQueues(ctx), a.fleet.EnsureUpstreams(ctx)); err != nil {
		return err
	}
	if err := a.builder.Chown(layout(a.cfg.Data).cache); err != nil {
		return fmt.Errorf("hand over cache folder: %w", err)
	}
	if err := a.web.Start(ctx); err != nil {
		return fmt.Errorf("start web server for sites: %w", err)
	}
	err := a.answer(ctx, a.work,
		tasks.Timed{Name: "web server", Every: mendEvery, Run: a.mend},
		tasks.Timed{Name: "tidy", Every: tidyEvery, Run: a.tidy})
	return errors.Join(err, a.tasks.Stop(context.WithoutCancel(ctx)))
}

// work begins with the tasks that are for this server.
func (a *app) work(ctx context.Context) error {
	if err := a.shareRights(ctx); err != nil { // tried again on time
		a.logger.WarnContext(ctx, "give workers their rights", slog.Any("error", err))
	}
	return a.tasks.Start(ctx)
}

// answer answers people and keeps the schedule, with what else is to be done on time
// here, until ctx ends. begin is called once the addresses are taken; nil: nothing is.
func (a *app) answer(ctx context.Context, begin func(context.Context) error, also ...tasks.Timed) error {
	listener, err := a.listen(ctx)
	if err != nil {
		return err
	}
	stopMetrics, err := a.serveMetrics(ctx)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer stopMetrics()
	if begin != nil {
		if err := begin(ctx); err != nil {
			return errors.Join(err, listener.Close())
		}
	}
	scheduler, err := tasks.NewScheduler(a.logger, append(a.schedule(), also...)...)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	scheduler.Start()
	if err := os.WriteFile(layout(a.cfg.Data).address(), []byte(a.cfg.URL+"\n"), 0o600); err != nil {
		a.logger.WarnContext(ctx, "note the address for commands", slog.Any("error", err))
	}
	a.logger.InfoContext(ctx, "hefring serves", slog.String("url", a.cfg.URL))
	return errors.Join(a.serveHTTP(ctx, listener), scheduler.Stop())
}

// listen takes the address of the dashboard.
func (a *app) listen(ctx context.Context) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose another address with --listen", a.cfg.Listen, err)
	}
	return listener, nil
}

// schedule is what is done on time by any of the processes that answer people: each of
// its turns belongs to the one that claims it in the database.
func (a *app) schedule() []tasks.Timed {
	onTime := a.fleet.Through(models.Entrance{Door: models.DoorSchedule})
	return []tasks.Timed{
		{Name: "due checks", Every: tickEvery, Run: onTime.DispatchChecks},
		{Name: "due work of sites", Every: sitesEvery, Run: onTime.DispatchSites},
		{Name: "notices", Every: noticesEvery, Run: func(ctx context.Context) error { return onTime.DispatchNotices(ctx, a.notifier) }},
		{Name: "keys of servers", Every: keysEvery, Run: a.shareRights},
	}
}

// shareRights gives workers what they may do after an upgrade of Hefring, and the
// passwords that they need.
func (a *app) shareRights(ctx context.Context) error {
	return errors.Join(a.store.RenewRights(ctx), a.fleet.ShareKeys(ctx))
}

// mend starts what died of the web server.
func (a *app) mend(ctx context.Context) error {
	mended, err := a.web.Mend(ctx)
	if mended {
		a.logger.WarnContext(ctx, "the sites' web server had stopped and was started again")
	}
	return err
}

func (a *app) tidy(ctx context.Context) error {
	// Certificates that were renewed are taken up by reloading.
	onTime := a.fleet.Through(models.Entrance{Door: models.DoorSchedule})
	return errors.Join(onTime.Tidy(ctx), onTime.DispatchRebuilds(ctx), a.store.Prune(ctx, time.Now()), a.web.Reload(ctx))
}

// serveHTTP answers until ctx ends; then requests get a moment to finish.
func (a *app) serveHTTP(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: a.withWorkers(web.New(web.Config{
			Front: a.fleet, Through: func(from models.Entrance) web.Front { return a.fleet.Through(from) }, As: func(by models.Actor) web.Fleet { return a.fleet.For(by) }, SessionStore: a.store.Sessions(), Logger: a.logger, BaseURL: a.cfg.URL,
			OIDC: a.provider(), Proxies: a.proxies(), SecureCookies: strings.HasPrefix(a.cfg.URL, "https://"), Version: version,
			Health: a.health, Observer: a.metrics, Tracer: a.traceRequests(),
			API: api.New(web.NoteUsers(a.fleet), func(by models.Actor) api.Fleet { return a.fleet.For(by) }, a.logger, version),
		})),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx }, // streams end with it
		ErrorLog:    slog.NewLogLogger(a.logger.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve pages: %w", err)
	case <-ctx.Done():
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	if err := server.Shutdown(last); err != nil {
		return server.Close()
	}
	return nil
}

// withWorkers has workers answered beside people. It is no ServeMux, which would send
// programs whose address has an empty part to another address by itself.
func (a *app) withWorkers(people http.Handler) http.Handler {
	workers := remote.Handler(a.fleet, relay(layout(a.cfg.Data)), a.logger)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, remote.Prefix) {
			workers.ServeHTTP(w, r)
			return
		}
		people.ServeHTTP(w, r)
	})
}

// provider is who people sign in with beside passwords. The settings were checked.
func (a *app) provider() web.OIDC {
	roles, _ := a.cfg.Roles()
	return web.OIDC{
		Name: a.cfg.OIDCName, Issuer: a.cfg.OIDCIssuer, ClientID: a.cfg.OIDCClient, ClientSecret: a.cfg.OIDCSecret,
		Scopes: a.cfg.OIDCScopes, NameClaim: a.cfg.OIDCNameClaim, GroupsClaim: a.cfg.OIDCGroups, Client: a.guard.HTTPClient(),
		Admission: fleet.Admission{AutoCreate: a.cfg.OIDCCreate, Domains: a.cfg.OIDCDomains, Roles: roles},
	}
}

func (a *app) proxies() []netip.Prefix {
	list, _ := a.cfg.Proxies()
	return list
}

// hostOf is the host name that people find Hefring at.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// loginLink makes the address that signs a user in once.
func (a *app) loginLink(ctx context.Context, name string) (string, error) {
	token, err := a.fleet.Through(models.Entrance{Door: models.DoorCommand}).LoginLink(ctx, actor(), name)
	if err != nil {
		return "", err
	}
	return linkFor(a.cfg.URL, token), nil
}
