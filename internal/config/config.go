// Package config holds the settings of the program. Flags and environment fill
// it; only cmd reads it.
package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"hefring/models"
)

// Config is every setting of the program. The tags are kong's.
type Config struct {
	Data        string   `help:"Folder for everything Hefring keeps." env:"HEFRING_DATA" default:"/var/lib/hefring" type:"path"`
	Database    string   `help:"Control-plane database: sqlite:/path/file.db or postgres://… (default: SQLite in the data folder)." env:"HEFRING_DATABASE"`
	Listen      string   `help:"Address of the dashboard." env:"HEFRING_LISTEN" default:"127.0.0.1:8080"`
	URL         string   `help:"Address at which people reach the dashboard (default: http:// and the listen address)." env:"HEFRING_URL"`
	SitesListen string   `help:"Address that the private nginx binds for sites." env:"HEFRING_SITES_LISTEN" default:"127.0.0.1"`
	SitesPort   int      `help:"Port of the private nginx for sites." env:"HEFRING_SITES_PORT" default:"8081"`
	ProbePort   int      `help:"Loopback port on which the private nginx answers Hefring's own probes." env:"HEFRING_PROBE_PORT" default:"8082"`
	WebUser     string   `help:"User that the sites' PHP runs as when Hefring runs as root." env:"HEFRING_WEB_USER" default:"www-data"`
	BuildUser   string   `help:"User that builds (git, composer) run as when Hefring runs as root; not the web user." env:"HEFRING_BUILD_USER" default:"nobody"`
	EgressAllow []string `help:"Private networks that source addresses may name, as CIDR." env:"HEFRING_EGRESS_ALLOW" sep:","`
	CAFile      string   `help:"PEM file of certificate authorities to trust beside the system's, for private forges." env:"HEFRING_CA_FILE" type:"path"`
	SecretKey   string   `name:"secret-key-file" help:"File of the keys that stored credentials are encrypted with; made when missing. Replicas share one (default: control/secret.key in the data folder)." env:"HEFRING_SECRET_KEY_FILE" type:"path"`
	Unsandboxed bool     `name:"allow-unsandboxed-builds" help:"Build even where bubblewrap cannot contain what builds run: code from sources then sees all that the build user sees." env:"HEFRING_ALLOW_UNSANDBOXED_BUILDS"`
	LogLevel    string   `help:"Least level of the program's own log." env:"HEFRING_LOG_LEVEL" enum:"debug,info,warn,error" default:"info"`
}

// Validate reports every problem at once and fills what follows from the rest.
func (c *Config) Validate() error {
	wrong := map[string]string{}
	if !filepath.IsAbs(c.Data) {
		wrong["data"] = "Use an absolute path."
	}
	if c.Database == "" {
		c.Database = "sqlite:" + filepath.Join(c.Data, "control", "hefring.db")
	}
	if c.SecretKey == "" {
		c.SecretKey = filepath.Join(c.Data, "control", "secret.key")
	}
	if !filepath.IsAbs(c.SecretKey) {
		wrong["secret-key-file"] = "Use an absolute path."
	}
	if !strings.HasPrefix(c.Database, "sqlite:/") && !strings.HasPrefix(c.Database, "postgres://") {
		wrong["database"] = "Use sqlite:/absolute/path.db or postgres://user@host/name."
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		wrong["listen"] = "Use host:port, for example 127.0.0.1:8080."
	}
	if c.URL == "" {
		c.URL = "http://" + c.Listen
	}
	if net.ParseIP(c.SitesListen) == nil {
		wrong["sites-listen"] = "Use an IP address such as 127.0.0.1 or 0.0.0.0."
	}
	for name, port := range map[string]int{"sites-port": c.SitesPort, "probe-port": c.ProbePort} {
		if port < 1 || port > 65535 {
			wrong[name] = "Use a port from 1 to 65535."
		}
	}
	if c.BuildUser == c.WebUser {
		wrong["build-user"] = "Use another user than the web user, or a site's PHP could change what is being built."
	}
	if c.SitesPort == c.ProbePort {
		wrong["probe-port"] = "It must differ from the sites' port."
	}
	if _, err := c.Allowed(); err != nil {
		wrong["egress-allow"] = "Use networks such as 10.0.0.0/8 or 127.0.0.1/32."
	}
	if len(wrong) > 0 {
		return &models.Error{Code: models.Invalid, Message: "The settings do not fit", Fields: wrong}
	}
	return nil
}

// Allowed gives the networks of EgressAllow.
func (c *Config) Allowed() ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, text := range c.EgressAllow {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		list = append(list, prefix)
	}
	return list, nil
}
