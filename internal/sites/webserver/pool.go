package webserver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"hefring/internal/run"
	"hefring/models"
)

// sharedPool serves all sites that have no pool of their own; it also tells which
// configuration php-fpm runs with.
const sharedPool = "hefring"

// pool is a group of php-fpm's workers.
type pool struct {
	Name, Socket string
	User, Group  string // "" for ourselves
	Temp         string // folder for what PHP itself puts aside
	Log          string // of PHP's errors
	// Disabled lists the functions that start programs.
	Disabled string
}

// startingFunctions start programs, which no open_basedir holds. putenv is among
// them because it makes the mailer that mail() starts load a site's own code.
const startingFunctions = "exec,passthru,shell_exec,system,proc_open,popen,pcntl_exec,pcntl_fork,dl,putenv"

func (s *Server) ownPool(site Vhost) bool { return s.cfg.PoolPerSite || site.User != 0 }

func (s *Server) socketOf(site Vhost) string {
	if !s.ownPool(site) {
		return s.socket()
	}
	return s.path("run", fmt.Sprintf("php-%d.sock", site.SiteID))
}

// errorLog is where PHP of the web user writes its errors.
func (s *Server) errorLog() string { return s.path("log", "php-error.log") }

// siteTemp is where PHP puts what a site's visitors upload, and its sessions.
func (s *Server) siteTemp(site Vhost) string {
	return s.path("temp", "site-"+strconv.FormatInt(site.SiteID, 10))
}

// pools lists the pools of some sites, the shared one first.
func (s *Server) pools(account *account, sites siteList) []pool {
	disabled := startingFunctions
	if s.cfg.Programs {
		disabled = ""
	}
	shared := pool{Name: sharedPool, Socket: s.socket(), Temp: s.sharedTemp(), Log: s.errorLog(), Disabled: disabled}
	if account != nil {
		shared.User, shared.Group = account.user, account.group
	}
	list := []pool{shared}
	for _, site := range sites.sorted() {
		if !s.ownPool(site) {
			continue
		}
		own := shared
		own.Name, own.Socket, own.Temp = fmt.Sprintf("site%d", site.SiteID), s.socketOf(site), s.siteTemp(site)
		if site.User != 0 {
			own.User = strconv.Itoa(site.User)
			own.Group, own.Disabled = own.User, ""
			own.Log = filepath.Join(own.Temp, "php-error.log")
		}
		list = append(list, own)
	}
	return list
}

// owner is who a site's PHP runs as, for Chown.
func (s *Server) owner(site Vhost) *run.Identity {
	if site.User == 0 {
		return s.runner.Identity()
	}
	return &run.Identity{UID: uint32(site.User), GID: uint32(site.User)} //nolint:gosec // checked by Vhost.check
}

// prepareSites makes the folders that PHP of the sites writes to.
func (s *Server) prepareSites(sites siteList) error {
	for _, site := range sites {
		if length := len(s.socketOf(site)); length > longestSocket {
			return models.Errorf(models.Invalid,
				"The path of the web server's folder is %d characters too long for a socket: %s. Choose a shorter data folder.",
				length-longestSocket, s.cfg.Dir)
		}
		dir := s.siteTemp(site)
		if owned(dir, s.owner(site)) {
			continue
		}
		if err := makeFolder(dir, 0o700); err != nil {
			return err
		}
		if err := run.Chown(dir, s.owner(site)); err != nil {
			return fmt.Errorf("prepare folder of web server: %w", err)
		}
	}
	return nil
}

// owned tells whether a folder is there and has that owner.
func owned(dir string, owner *run.Identity) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	return owner == nil || ownerOf(info) == owner.UID
}

// clearSites removes the folders of sites that are served no more.
func (s *Server) clearSites(before, after siteList) error {
	for id, site := range before {
		if _, stays := after[id]; stays {
			continue
		}
		if err := os.RemoveAll(s.siteTemp(site)); err != nil {
			return fmt.Errorf("remove temporary files of %s: %w", site.URI, err)
		}
	}
	return nil
}

// gatePath is the gate's file. It has a folder of its own: php-fpm's workers of an
// earlier configuration still run theirs while they finish.
func (s *Server) gatePath(text string) string {
	sum := sha256.Sum256([]byte(text))
	return s.path("gate", hex.EncodeToString(sum[:8])+".php")
}

// placeGate writes the gate unless it is there already.
func (s *Server) placeGate(text string) error {
	path := s.gatePath(text)
	if found, err := os.ReadFile(path); err == nil && string(found) == text { //nolint:gosec // our own folder
		return nil
	}
	staging := path + ".new"
	if err := os.Remove(staging); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write gate: %w", err)
	}
	if err := writeFile(staging, text, true); err != nil {
		return fmt.Errorf("write gate: %w", err)
	}
	if err := os.Rename(staging, path); err != nil {
		return fmt.Errorf("write gate: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// tidyGates removes gates of other versions; php-fpm runs with ours by now.
func (s *Server) tidyGates() error {
	text, err := gateSource()
	if err != nil {
		return err
	}
	list, err := filepath.Glob(s.path("gate", "*"))
	if err != nil {
		return fmt.Errorf("remove old gates: %w", err)
	}
	for _, path := range slices.DeleteFunc(list, func(path string) bool { return path == s.gatePath(text) }) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove old gate: %w", err)
		}
	}
	return nil
}

func gateSource() (string, error) {
	text, err := sources.ReadFile("gate.php")
	if err != nil {
		return "", fmt.Errorf("read gate: %w", err)
	}
	return string(text), nil
}

// systemPaths is what PHP and its libraries read of the machine, none of it
// secret: certificate authorities, time zones, fonts, shared PHP code.
func systemPaths() string {
	return strings.Join([]string{"/usr/share", "/usr/lib/ssl", "/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust", "/usr/local/share/ca-certificates", "/dev/urandom", "/dev/null"}, ":")
}
