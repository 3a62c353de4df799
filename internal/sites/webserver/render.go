package webserver

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"hefring/models"
)

//go:embed conf gate.php off.html
var sources embed.FS

// sitesFile lists the sites of a configuration; it is what Hefring reads back.
const sitesFile = "sites.json"

// blacklistFile lists what PHP must not keep compiled.
const blacklistFile = "opcache.blacklist"

// commonFile is what both our own daemons and the system's include.
const commonFile = "hefring.conf"

// facts is what configuration templates draw.
type facts struct {
	Dir, User, Group, Probe, Version string
	Conf                             string   // folder of this version
	Public, TLS                      []string // addresses
	System                           bool     // the daemons are the machine's
	Secure                           bool     // a site has HTTPS
	Platforms                        string   // as a regular expression; "" for none

	// Of PHP:
	Pools       []pool
	Gate        string
	SharedTemp  string
	SystemPaths string

	// Of one site:
	Site      Vhost
	Socket    string
	Temp      string
	HTTP      string // origins of its URI
	HTTPS     string
	SelfHTTPS string // origin of the name that the visitor asked for
	Off       string // the page of a disabled site
}

func (s *Server) facts(account *account, tree tree, version string) facts {
	f := facts{
		Dir: s.cfg.Dir, Public: s.listens(s.cfg.Port), TLS: s.listens(s.cfg.TLSPort), Probe: s.probeAddress(),
		Conf: tree.folder(version), Version: version, System: s.cfg.Mode == ModeSystem,
		SharedTemp: s.sharedTemp(), SystemPaths: systemPaths(),
	}
	if s.cfg.Platforms != "" {
		f.Platforms = regexp.QuoteMeta(s.cfg.Platforms)
	}
	if account != nil {
		f.User, f.Group = account.user, account.group
	}
	return f
}

// listens are the addresses to bind for visitors; :: alone would leave out IPv4.
func (s *Server) listens(port int) []string {
	list := []string{net.JoinHostPort(s.cfg.Listen, strconv.Itoa(port))}
	if s.cfg.Listen == "::" {
		list = append(list, net.JoinHostPort("0.0.0.0", strconv.Itoa(port)))
	}
	return list
}

// configuration renders its files for a version; for "" the result serves to
// find the version.
type configuration func(version string) (files, error)

// versioned renders a configuration with its own version in it, which the
// daemons answer when asked.
func (c configuration) versioned() (string, files, error) {
	draft, err := c("")
	if err != nil {
		return "", nil, err
	}
	version := draft.version()
	content, err := c(version)
	return version, content, err
}

func (s *Server) phpFiles(account *account, sites siteList) (configuration, error) {
	templates, err := parse()
	if err != nil {
		return nil, err
	}
	gate, err := gateSource()
	if err != nil {
		return nil, err
	}
	if err := s.placeGate(gate); err != nil {
		return nil, err
	}
	return func(version string) (files, error) {
		f := s.facts(account, s.php().tree, version)
		f.Pools, f.Gate = s.pools(account, sites), s.gatePath(gate)
		content := files{blacklistFile: blacklist(sites)}
		return content, draw(templates, content, f, map[string]string{
			s.mainFile("php-fpm"): "php-fpm.conf", commonFile: "pools.conf", "php.ini": "php.ini",
		})
	}, nil
}

// blacklist keeps sites' settings out of the cache of compiled code, which all
// pools share: what is in it can be included by any site, whatever open_basedir
// says. Compiled templates, further down, stay in it.
func blacklist(sites siteList) string {
	places := map[string]bool{}
	for _, site := range sites {
		places[filepath.Dir(site.Dir)] = true
	}
	var text strings.Builder
	for _, place := range slices.Sorted(maps.Keys(places)) {
		fmt.Fprintf(&text, "%[1]s/*/*.php\n%[1]s/*/releases/*/*.php\n", place)
	}
	return text.String()
}

func (s *Server) nginxFiles(account *account, sites siteList) (configuration, error) {
	templates, err := parse()
	if err != nil {
		return nil, err
	}
	fixed, err := s.fixedFiles(sites)
	if err != nil {
		return nil, err
	}
	off, err := sources.ReadFile("off.html")
	if err != nil {
		return nil, fmt.Errorf("read page of disabled sites: %w", err)
	}
	return func(version string) (files, error) {
		f := s.facts(account, s.nginx().tree, version)
		f.Secure, f.Off = sites.secure(), string(off)
		content := maps.Clone(fixed)
		err := draw(templates, content, f, map[string]string{
			s.mainFile("nginx"): "nginx.conf", commonFile: "hefring.conf", "server.inc": "server.inc", "drupal.inc": "drupal.inc",
			"php.inc": "php.inc", "tls.inc": "tls.inc", "acme.inc": "acme.inc", "mime.types": "mime.types",
		})
		if err != nil {
			return nil, err
		}
		for id, site := range sites {
			text, err := execute(templates, "site.conf", s.about(site, f))
			if err != nil {
				return nil, err
			}
			content[fmt.Sprintf("conf.d/%d.conf", id)] = text
		}
		return content, nil
	}, nil
}

// fixedFiles are those of nginx that are not drawn: the list of sites, and
// copies of their certificates.
func (s *Server) fixedFiles(sites siteList) (files, error) {
	sorted := sites.sorted()
	list, err := json.MarshalIndent(sorted, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write list of sites: %w", err)
	}
	content := files{sitesFile: string(list)}
	for _, site := range sorted {
		if site.HTTPS == models.HTTPSOff {
			continue
		}
		found, err := s.usable(site)
		if err != nil {
			return nil, err
		}
		content[certificateFile(site.SiteID)], content[keyFile(site.SiteID)] = found.chain, found.key
	}
	return content, nil
}

// about adds to the facts those of one site.
func (s *Server) about(site Vhost, f facts) facts {
	f.Site, f.Socket, f.Temp = site, s.socketOf(site), s.siteTemp(site)
	f.HTTP, f.HTTPS = s.origin(site.URI, site.HTTPS == models.HTTPSRequired), s.origin(site.URI, true)
	f.SelfHTTPS = s.origin("$host", true)
	return f
}

func parse() (*template.Template, error) {
	templates, err := template.New("").Option("missingkey=error").ParseFS(sources, "conf/*")
	if err != nil {
		return nil, fmt.Errorf("parse configuration templates: %w", err)
	}
	return templates, nil
}

// draw adds files to content, each from the template that it is mapped to.
func draw(templates *template.Template, content files, f facts, names map[string]string) error {
	for name, from := range names {
		text, err := execute(templates, from, f)
		if err != nil {
			return err
		}
		content[name] = text
	}
	return nil
}

func execute(templates *template.Template, name string, f facts) (string, error) {
	var text strings.Builder
	if err := templates.ExecuteTemplate(&text, name, f); err != nil {
		return "", fmt.Errorf("write configuration %s: %w", name, err)
	}
	return text.String(), nil
}

// sites reads the sites of the configuration in force.
func (s *Server) sites() (siteList, error) {
	sites := siteList{}
	link := s.nginx().tree.link
	if version, err := s.nginx().tree.current(); err == nil && (version == "" || version == emptyVersion) {
		return sites, nil
	}
	var list []Vhost
	text, err := os.ReadFile(filepath.Join(link, sitesFile)) //nolint:gosec // our own folder
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		// To go on without it would take every site off the web.
		return nil, models.Wrapf(models.Unavailable, err,
			"The web server's list of sites in %s cannot be read. Restore it from a backup, or remove %s and add the sites again.", link, link)
	}
	for _, site := range list {
		sites[site.SiteID] = site
	}
	return sites, nil
}
