// Package webserver runs Hefring's own nginx and php-fpm, private daemons on high
// ports that go on serving when Hefring stops or crashes, and knows how a Drupal
// site is served, made read-only for an upgrade, and looked at.
package webserver

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	Listen    string // address that visitors reach; "" means 127.0.0.1
	Port      int    // that visitors reach
	ProbePort int    // on the loopback address, for Prober
	Nginx     string // program; "" finds it
	PHPFPM    string // program; "" finds it
}

const (
	loopback = "127.0.0.1"
	// longestSocket is what a unix socket's address holds on Linux.
	longestSocket = 107
	largestLog    = 16 << 20
	startTimeout  = 30 * time.Second
	// reloadTimeout is longer than php-fpm's process_control_timeout.
	reloadTimeout = 45 * time.Second
	quitTimeout   = 10 * time.Second
)

// Server is a private pair of nginx and php-fpm. Any number of Servers, also in
// several processes, may work on the same folder: they take turns.
type Server struct {
	cfg    Config
	runner *run.Runner
}

// New makes a Server; nothing is started.
func New(cfg Config, runner *run.Runner) *Server {
	if cfg.Listen == "" {
		cfg.Listen = loopback
	}
	return &Server{cfg: cfg, runner: runner}
}

// URL is where visitors find the site with that host name.
func (s *Server) URL(uri string) string { return "http://" + hostPort(uri, s.cfg.Port) + "/" }

// Prober looks at this server's sites.
func (s *Server) Prober() *Prober {
	public := s.cfg.Listen
	if ip := net.ParseIP(public); ip != nil && ip.IsUnspecified() {
		public = loopback
	}
	return &Prober{
		PublicAddr: net.JoinHostPort(public, strconv.Itoa(s.cfg.Port)),
		ProbeAddr:  s.probeAddress(),
	}
}

func (s *Server) publicAddress() string {
	return net.JoinHostPort(s.cfg.Listen, strconv.Itoa(s.cfg.Port))
}

func (s *Server) probeAddress() string {
	return net.JoinHostPort(loopback, strconv.Itoa(s.cfg.ProbePort))
}

// hostPort is the Host header that a browser sends.
func hostPort(uri string, port int) string {
	if port == 80 {
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

// Stop ends both daemons. Requests that are running may finish.
func (s *Server) Stop(ctx context.Context) error {
	return s.locked(ctx, func() error {
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
	return s.locked(ctx, func() error {
		sites, err := s.sites()
		if err != nil {
			return err
		}
		if err := alter(sites); err != nil {
			return err
		}
		account, err := s.account()
		if err != nil {
			return err
		}
		phpFiles, err := s.phpFiles(account)
		if err != nil {
			return err
		}
		nginxFiles, err := s.nginxFiles(account, sites)
		if err != nil {
			return err
		}
		if err := s.php().apply(ctx, phpFiles); err != nil {
			return err
		}
		return s.nginx().apply(ctx, nginxFiles)
	})
}

// locked makes the folders, waits for its turn and calls fn.
func (s *Server) locked(ctx context.Context, fn func() error) (err error) {
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
	return fn()
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
	if net.ParseIP(s.cfg.Listen) == nil {
		return models.Errorf(models.Invalid, "The web server's listen address %q is not an IP address. Use 127.0.0.1 or 0.0.0.0, for example.", s.cfg.Listen)
	}
	for _, port := range []int{s.cfg.Port, s.cfg.ProbePort} {
		if port < 1 || port > 65535 {
			return models.Errorf(models.Invalid, "The web server's port %d is not between 1 and 65535.", port)
		}
	}
	if s.cfg.Port == s.cfg.ProbePort {
		return models.Errorf(models.Invalid, "The web server's port for visitors and its probe port are both %d. Choose two ports.", s.cfg.Port)
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
	for _, dir := range []string{"uploads", "sessions"} {
		path := s.path("temp", dir)
		if err := makeFolder(path, 0o700); err != nil {
			return err
		}
		if err := s.runner.Chown(path); err != nil {
			return fmt.Errorf("prepare folder of web server: %w", err)
		}
	}
	for _, name := range []string{"nginx.log", "php-fpm.log", "php-error.log"} {
		if err := s.trimLog(s.path("log", name)); err != nil {
			return err
		}
	}
	if err := s.makeErrorLog(); err != nil {
		return err
	}
	return s.enterable(s.cfg.Dir)
}

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

// account is the user that workers and sites' PHP run as; nil for ourselves.
func (s *Server) account() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nobody else is a fact, not a failure
	}
	var found *user.User
	var err error
	if id := s.runner.Identity(); id != nil {
		found, err = user.LookupId(strconv.FormatUint(uint64(id.UID), 10))
	} else {
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
// enter; nginx would answer 404 and PHP "File not found" without a reason.
func (s *Server) enterable(path string) error {
	account, err := s.account()
	if err != nil || account == nil {
		return err
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("look at folder of web server: %w", err)
	}
	for dir := resolved; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("look at folder of web server: %w", err)
		}
		if !account.mayEnter(info) {
			return models.Errorf(models.Invalid, "The user %s, whom sites run as, may not enter %s. Allow it with: chmod o+x %s", account.user, dir, dir)
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
