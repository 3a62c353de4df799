// Package webserver runs Hefring's own nginx and php-fpm, private daemons on high
// ports that go on serving when Hefring stops or crashes, or writes the part of
// the system's own that serves sites. It knows how a Drupal site is served, made
// read-only for an upgrade, and looked at.
package webserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hefring/internal/run"
	"hefring/models"
)

// Config says where a Server lives.
type Config struct {
	Dir       string // absolute; holds configuration, logs, pid files, socket and temporary files
	Mode      Mode   // "" means ModePrivate
	Listen    string // address that visitors reach; "" means 127.0.0.1, or with ModeSystem 0.0.0.0; :: is both kinds
	Port      int    // that visitors reach; with ModeSystem 0 means 80
	TLSPort   int    // for HTTPS; 0 means 8443, or with ModeSystem 443
	ProbePort int    // on the loopback address, for Prober
	Nginx     string // program; "" finds it
	PHPFPM    string // program; "" finds it

	// PoolPerSite gives every site a php-fpm pool of its own. A site with a user
	// of its own has one anyway.
	PoolPerSite bool
	// Programs lets PHP start programs (exec, proc_open and the like) also where
	// several sites share one user; it could then read what the others keep to
	// themselves.
	Programs bool
	// Platforms is the folder that holds platforms, each in a folder of its own;
	// PHP may read that of its site. "" goes by the usual names of docroots.
	Platforms string
	System    System
}

// Mode says whose daemons serve the sites.
type Mode string

// Modes of a Server.
const (
	ModePrivate Mode = "private" // Hefring's own, which it starts
	ModeSystem  Mode = "system"  // the machine's, which it only configures
)

const (
	loopback = "127.0.0.1"
	// longestSocket is what a unix socket's address holds on Linux.
	longestSocket = 107
	largestLog    = 16 << 20
	startTimeout  = 30 * time.Second
	httpPort      = 80
	httpsPort     = 443
	// stoppedFile is there while the daemons are stopped on purpose.
	stoppedFile = "stopped"
	// reloadTimeout is longer than php-fpm's process_control_timeout.
	reloadTimeout = 45 * time.Second
	quitTimeout   = 10 * time.Second
)

// Server is a private pair of nginx and php-fpm. Any number of Servers, also in
// several processes, may work on the same folder: they take turns.
type Server struct {
	cfg    Config
	runner *run.Runner
	// patience bounds the wait for the system's daemons after a reload.
	patience time.Duration
}

// New makes a Server; nothing is started.
func New(cfg Config, runner *run.Runner) *Server {
	if cfg.Mode == ModeSystem {
		cfg.Listen, cfg.Port, cfg.TLSPort = cmp.Or(cfg.Listen, "0.0.0.0"), cmp.Or(cfg.Port, httpPort), cmp.Or(cfg.TLSPort, httpsPort)
	}
	cfg.Listen, cfg.TLSPort = cmp.Or(cfg.Listen, loopback), cmp.Or(cfg.TLSPort, 8443)
	return &Server{cfg: cfg, runner: runner, patience: reloadTimeout}
}

// URL is where visitors find a site.
func (s *Server) URL(site models.Site) string {
	return s.origin(site.URI, site.HTTPS != models.HTTPSOff) + "/"
}

// Origin is where a site is answered at an address of this server.
func (s *Server) Origin(address netip.Addr, site models.Site) string {
	port, scheme := s.cfg.Port, "http"
	if site.HTTPS != models.HTTPSOff {
		port, scheme = s.cfg.TLSPort, "https"
	}
	return scheme + "://" + netip.AddrPortFrom(address, uint16(port)).String() //nolint:gosec // a checked port
}

// origin is a URL without its path.
func (s *Server) origin(name string, secure bool) string {
	if secure {
		return "https://" + hostPort(name, s.cfg.TLSPort, httpsPort)
	}
	return "http://" + hostPort(name, s.cfg.Port, httpPort)
}

// Prober looks at this server's sites.
func (s *Server) Prober() *Prober {
	public := s.cfg.Listen
	if ip := net.ParseIP(public); ip != nil && ip.IsUnspecified() {
		public = loopback
	}
	return &Prober{
		PublicAddr: net.JoinHostPort(public, strconv.Itoa(s.cfg.Port)),
		TLSAddr:    net.JoinHostPort(public, strconv.Itoa(s.cfg.TLSPort)),
		ProbeAddr:  s.probeAddress(),
		Secure:     s.requiresTLS,
	}
}

// requiresTLS tells whether visitors of that name are sent to HTTPS.
func (s *Server) requiresTLS(uri string) bool {
	sites, err := s.sites()
	if err != nil {
		return false // who asks learns of it when nothing answers
	}
	for _, site := range sites {
		if site.URI == uri {
			return site.HTTPS == models.HTTPSRequired
		}
	}
	return false
}

func (s *Server) publicAddress() string {
	return net.JoinHostPort(s.cfg.Listen, strconv.Itoa(s.cfg.Port))
}

func (s *Server) tlsAddress() string {
	return net.JoinHostPort(s.cfg.Listen, strconv.Itoa(s.cfg.TLSPort))
}

func (s *Server) probeAddress() string {
	return net.JoinHostPort(loopback, strconv.Itoa(s.cfg.ProbePort))
}

// hostPort is the Host header that a browser sends.
func hostPort(uri string, port, usual int) string {
	if port == usual {
		return uri
	}
	return net.JoinHostPort(uri, strconv.Itoa(port))
}

// Start makes both daemons run with the configuration that this version of
// Hefring writes. It starts what is not running, adopts what is, and reloads
// what runs with another configuration; to call it again changes nothing.
func (s *Server) Start(ctx context.Context) error {
	return s.change(ctx, func(siteList) error { return nil })
}

// Reload makes both daemons run with what is on the disk now: certificates that
// were renewed, above all. Where nothing has changed, nothing is reloaded.
func (s *Server) Reload(ctx context.Context) error { return s.Start(ctx) }

// Mend starts or reloads a daemon that does not answer with the configuration
// that was last written, and tells whether there was anything to mend. It is
// cheap while all is well, and leaves alone what was never started or was stopped
// on purpose.
func (s *Server) Mend(ctx context.Context) (mended bool, err error) {
	if s.cfg.Dir == "" || s.resting() || s.well(ctx) {
		return false, nil
	}
	err = s.locked(ctx, func(undone bool) error {
		if s.resting() {
			return nil
		}
		mended = undone || !s.well(ctx) // it is well if a change was under way
		return s.keep(ctx)
	})
	return mended && err == nil, err
}

func (s *Server) well(ctx context.Context) bool {
	return s.nginx().status(ctx).Current && s.php().status(ctx).Current
}

// resting tells whether the daemons were never started, or stopped on purpose.
func (s *Server) resting() bool {
	if _, err := os.Lstat(s.path("run", stoppedFile)); err == nil {
		return true
	}
	version, err := s.nginx().tree.current()
	return err != nil || version == "" || version == emptyVersion
}

// Stop ends both daemons. Requests that are running may finish. The system's own
// daemons are not ours to stop.
func (s *Server) Stop(ctx context.Context) error {
	if s.cfg.Mode == ModeSystem {
		return nil
	}
	return s.locked(ctx, func(bool) error {
		if err := os.WriteFile(s.path("run", stoppedFile), nil, 0o600); err != nil {
			return fmt.Errorf("note that the web server is stopped: %w", err)
		}
		if err := s.nginx().stop(ctx); err != nil {
			return err
		}
		return s.php().stop(ctx)
	})
}

// DaemonStatus is how one daemon is.
type DaemonStatus struct {
	PID     int    // of its master process; 0: it does not run
	Current bool   // it answers, with the configuration that was last written
	Message string // what is wrong and where to look; "" when nothing is
}

// Status is how the daemons are and how many sites they serve.
type Status struct {
	Nginx, PHP DaemonStatus
	Sites      int
}

// Healthy tells whether both daemons answer with the current configuration.
func (s Status) Healthy() bool { return s.Nginx.Current && s.PHP.Current }

// Status looks at the daemons; it changes nothing.
func (s *Server) Status(ctx context.Context) (Status, error) {
	sites, err := s.sites()
	if err != nil {
		return Status{}, err
	}
	return Status{Nginx: s.nginx().status(ctx), PHP: s.php().status(ctx), Sites: len(sites)}, nil
}

// change alters the set of sites and brings the daemons to it. The set is kept
// only if nginx takes it and answers with it.
func (s *Server) change(ctx context.Context, alter func(siteList) error) error {
	return s.locked(ctx, func(bool) error {
		before, err := s.sites()
		if err != nil {
			return err
		}
		sites := maps.Clone(before)
		if err := alter(sites); err != nil {
			return err
		}
		return s.become(ctx, before, sites)
	})
}

// keep brings the daemons to the set of sites that is in force.
func (s *Server) keep(ctx context.Context) error {
	sites, err := s.sites()
	if err != nil {
		return err
	}
	return s.become(ctx, sites, sites)
}

// become brings the daemons from one set of sites to another. A pool is there
// before nginx hands it requests, and goes after.
func (s *Server) become(ctx context.Context, before, after siteList) error {
	account, err := s.account()
	if err != nil {
		return err
	}
	if err := s.prepareSites(after); err != nil {
		return err
	}
	nginxFiles, err := s.nginxFiles(account, after)
	if err != nil {
		return err
	}
	both := maps.Clone(before)
	maps.Copy(both, after)
	if err := s.applyPHP(ctx, account, both); err != nil {
		return err
	}
	nginx := s.nginx()
	if after.secure() {
		nginx.ports = append(nginx.ports, s.tlsAddress())
	}
	if err := nginx.apply(ctx, nginxFiles); err != nil {
		// The pools that only the refused sites need go again.
		return errors.Join(err, s.applyPHP(context.WithoutCancel(ctx), account, before))
	}
	if err := os.Remove(s.path("run", stoppedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note that the web server runs: %w", err)
	}
	if err := s.applyPHP(ctx, account, after); err != nil {
		return err
	}
	return s.clearSites(before, after)
}

func (s *Server) applyPHP(ctx context.Context, account *account, sites siteList) error {
	content, err := s.phpFiles(account, sites)
	if err != nil {
		return err
	}
	if err := s.php().apply(ctx, content); err != nil {
		return err
	}
	return s.tidyGates()
}

// locked makes the folders, waits for its turn and calls fn, which is told whether
// a change that a kill had cut short was undone.
func (s *Server) locked(ctx context.Context, fn func(undone bool) error) (err error) {
	if err := s.checkConfig(); err != nil {
		return err
	}
	if err := s.makeFolders(); err != nil {
		return err
	}
	lock, err := os.OpenFile(s.path("run", "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open lock of web server: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := flock(ctx, lock, syscall.LOCK_EX); err != nil {
		return fmt.Errorf("wait for web server's lock: %w", err)
	}
	undone, err := s.undo()
	if err != nil {
		return err
	}
	return fn(undone)
}

// undo goes back from configurations that were never proven. The system's daemons
// find an empty one where there was none.
func (s *Server) undo() (undone bool, err error) {
	for _, d := range []*daemon{s.nginx(), s.php()} {
		back, err := d.tree.undo()
		if err != nil {
			return false, err
		}
		undone = undone || back
		if d.system == nil {
			continue
		}
		if err := d.tree.begin(); err != nil {
			return false, err
		}
	}
	return undone, nil
}

func (s *Server) checkConfig() error {
	if err := checkPath(s.cfg.Dir); err != nil {
		return err
	}
	if length := len(s.socket()); length > longestSocket {
		return models.Errorf(models.Invalid,
			"The path of the web server's folder is %d characters too long for a socket: %s. Choose a shorter data folder.",
			length-longestSocket, s.cfg.Dir)
	}
	if s.cfg.Mode != "" && s.cfg.Mode != ModePrivate && s.cfg.Mode != ModeSystem {
		return models.Errorf(models.Invalid, "The web server's mode %q is unknown. Use %s or %s.", s.cfg.Mode, ModePrivate, ModeSystem)
	}
	if s.cfg.Platforms != "" {
		if err := checkPath(s.cfg.Platforms); err != nil {
			return err
		}
	}
	if net.ParseIP(s.cfg.Listen) == nil {
		return models.Errorf(models.Invalid, "The web server's listen address %q is not an IP address. Use 127.0.0.1 or 0.0.0.0, for example.", s.cfg.Listen)
	}
	seen := map[int]bool{}
	for _, port := range []int{s.cfg.Port, s.cfg.TLSPort, s.cfg.ProbePort} {
		if port < 1 || port > 65535 {
			return models.Errorf(models.Invalid, "The web server's port %d is not between 1 and 65535.", port)
		}
		if seen[port] {
			return models.Errorf(models.Invalid, "Two of the web server's ports, for HTTP, HTTPS and probes, are both %d. Choose another.", port)
		}
		seen[port] = true
	}
	return nil
}

// checkPath refuses what cannot stand in a configuration file: neither nginx nor
// php-fpm can quote everything.
func checkPath(path string) error {
	harmless := func(r rune) bool { return r > ' ' && r != 0x7f && !strings.ContainsRune(`"'$\;{}#%[]=`, r) }
	odd := strings.IndexFunc(path, func(r rune) bool { return !harmless(r) })
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || odd >= 0 {
		return models.Errorf(models.Invalid,
			"The folder %q cannot be used for the web server: its path must be absolute and without spaces, quotes and the characters $ \\ ; { } # %% [ ] =.", path)
	}
	return nil
}

func (s *Server) path(parts ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, parts...)...)
}

func (s *Server) socket() string { return s.path("run", "php.sock") }

// makeFolders makes what the daemons write to. Workers and PHP are another user
// than the master processes when we are root.
func (s *Server) makeFolders() error {
	for _, dir := range []string{"", "run", "log", "temp"} {
		if err := makeFolder(s.path(dir), 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"acme", filepath.Join("acme", ".well-known"), filepath.Join("acme", ".well-known", "acme-challenge"), "gate"} {
		if err := makeFolder(s.path(dir), 0o755); err != nil {
			return err
		}
	}
	if err := makeFolder(s.sharedTemp(), 0o700); err != nil {
		return err
	}
	if err := s.runner.Chown(s.sharedTemp()); err != nil {
		return fmt.Errorf("prepare folder of web server: %w", err)
	}
	for _, name := range []string{"nginx.log", "php-fpm.log", "php-error.log"} {
		if err := s.trimLog(s.path("log", name)); err != nil {
			return err
		}
	}
	if err := s.makeErrorLog(); err != nil {
		return err
	}
	return s.enterable(s.cfg.Dir, 0)
}

// sharedTemp is where PHP of the shared pool puts temporary files.
func (s *Server) sharedTemp() string { return s.path("temp", "php") }

// makeFolder makes a folder with exactly that mode, whatever our umask is.
func makeFolder(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return fmt.Errorf("make folder of web server: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("make folder of web server: %w", err)
	}
	return nil
}

// makeErrorLog makes the log that PHP's workers write themselves.
func (s *Server) makeErrorLog() error {
	path := s.path("log", "php-error.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return fmt.Errorf("make PHP's log: %w", err)
	}
	if err := log.Close(); err != nil {
		return fmt.Errorf("make PHP's log: %w", err)
	}
	if err := s.runner.Chown(path); err != nil {
		return fmt.Errorf("make PHP's log: %w", err)
	}
	return nil
}

// trimLog puts a log that has grown aside, over the one before it.
func (s *Server) trimLog(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() < largestLog {
		return nil //nolint:nilerr // a log that is not there has not grown
	}
	if err := os.Rename(path, path+".1"); err != nil {
		return fmt.Errorf("put log of web server aside: %w", err)
	}
	for _, d := range []*daemon{s.nginx(), s.php()} {
		if _, err := d.signal(syscall.SIGUSR1); err != nil {
			return err
		}
	}
	return nil
}

// account is the user that workers and sites' PHP run as; nil for ourselves. The
// system's php-fpm is root's, so it must be told also who we are.
func (s *Server) account() (*account, error) {
	var found *user.User
	var err error
	switch id := s.runner.Identity(); {
	case os.Geteuid() != 0 && s.cfg.Mode == ModeSystem:
		found, err = user.Current()
	case os.Geteuid() != 0:
		return nil, nil //nolint:nilnil // nobody else is a fact, not a failure
	case id != nil:
		found, err = user.LookupId(strconv.FormatUint(uint64(id.UID), 10))
	default:
		found, err = user.Lookup("www-data")
	}
	if err != nil {
		return nil, models.Wrapf(models.Unavailable, err, "The user that sites run as does not exist on this server. Create www-data, or name another user.")
	}
	group, err := user.LookupGroupId(found.Gid)
	if err != nil {
		return nil, fmt.Errorf("look up group of user %s: %w", found.Username, err)
	}
	if found.Uid == "0" {
		return nil, models.Errorf(models.Invalid, "Sites must not run as root. Name another user, such as www-data.")
	}
	return &account{user: found.Username, group: group.Name, uid: found.Uid, gid: found.Gid}, nil
}

type account struct{ user, group, uid, gid string }

// enterable finds the folder on the way to path that the sites' user may not
// enter; nginx would answer 404 and PHP "File not found" without a reason. With
// owner, a site's own user must come through, too.
func (s *Server) enterable(path string, owner int) error {
	web, err := s.account()
	if err != nil || web == nil {
		return err
	}
	accounts := []*account{web}
	if owner != 0 {
		id := strconv.Itoa(owner)
		accounts = append(accounts, &account{user: id, uid: id, gid: id})
	}
	for _, a := range accounts {
		if err := a.enters(path); err != nil {
			return err
		}
	}
	return nil
}

func (a *account) enters(path string) error {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("look at folder of web server: %w", err)
	}
	for dir := resolved; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("look at folder of web server: %w", err)
		}
		if !a.mayEnter(info) {
			return models.Errorf(models.Invalid, "The user %s, whom sites run as, may not enter %s. Allow it with: chmod o+x %s", a.user, dir, dir)
		}
		if dir == "/" {
			return nil
		}
	}
}

func (a *account) mayEnter(info os.FileInfo) bool {
	owner, known := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case known && strconv.FormatUint(uint64(owner.Uid), 10) == a.uid:
		return mode&0o100 != 0
	case known && strconv.FormatUint(uint64(owner.Gid), 10) == a.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}
