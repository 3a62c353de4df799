package webserver

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"hefring/models"
)

//go:embed conf gate.php
var sources embed.FS

// sitesFile lists the sites of a configuration; it is what Hefring reads back.
const sitesFile = "sites.json"

// facts is what configuration templates draw.
type facts struct {
	Dir, User, Group, Public, Probe, Version string
	Site                                     Vhost
}

func (s *Server) facts(account *account) facts {
	f := facts{Dir: s.cfg.Dir, Public: s.publicAddress(), Probe: s.probeAddress()}
	if account != nil {
		f.User, f.Group = account.user, account.group
	}
	return f
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

func (s *Server) phpFiles(account *account) (configuration, error) {
	templates, err := parse()
	if err != nil {
		return nil, err
	}
	gate, err := sources.ReadFile("gate.php")
	if err != nil {
		return nil, fmt.Errorf("read gate: %w", err)
	}
	return func(version string) (files, error) {
		f := s.facts(account)
		f.Version = version
		content := files{"gate.php": string(gate)}
		return content, draw(templates, content, f, "php-fpm.conf", "php.ini")
	}, nil
}

func (s *Server) nginxFiles(account *account, sites siteList) (configuration, error) {
	templates, err := parse()
	if err != nil {
		return nil, err
	}
	list, err := json.MarshalIndent(slices.SortedFunc(maps.Values(sites), Vhost.compare), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write list of sites: %w", err)
	}
	return func(version string) (files, error) {
		f := s.facts(account)
		f.Version = version
		content := files{sitesFile: string(list)}
		if err := draw(templates, content, f, "nginx.conf", "drupal.conf", "php.conf", "mime.types"); err != nil {
			return nil, err
		}
		for id, site := range sites {
			f.Site = site
			text, err := execute(templates, "site.conf", f)
			if err != nil {
				return nil, err
			}
			content[fmt.Sprintf("conf.d/%d.conf", id)] = text
		}
		return content, nil
	}, nil
}

func parse() (*template.Template, error) {
	templates, err := template.New("").Option("missingkey=error").ParseFS(sources, "conf/*")
	if err != nil {
		return nil, fmt.Errorf("parse configuration templates: %w", err)
	}
	return templates, nil
}

func draw(templates *template.Template, content files, f facts, names ...string) error {
	for _, name := range names {
		text, err := execute(templates, name, f)
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
	if _, err := os.Lstat(link); errors.Is(err, fs.ErrNotExist) {
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
