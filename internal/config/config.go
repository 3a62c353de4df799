// Package config holds the settings of the program. Flags, the environment,
// systemd's credentials and a settings file fill it; only cmd reads it.
package config

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"hefring/models"
)

// Config is every setting of the program. The tags are kong's, and two of our
// own: secret marks a value that is never shown, holds a file that another
// setting's value can be read from.
type Config struct {
	File           string        `name:"config" help:"Settings file, in YAML (default: /etc/hefring/hefring.yaml when it is there)." env:"HEFRING_CONFIG" type:"path" placeholder:"FILE"`
	Data           string        `help:"Folder for everything Hefring keeps." env:"HEFRING_DATA" default:"/var/lib/hefring" type:"path"`
	Database       string        `help:"Control-plane database: sqlite:/path/file.db or postgres://… (default: SQLite in the data folder)." env:"HEFRING_DATABASE" secret:""`
	DatabaseIn     string        `name:"database-file" help:"File that holds the address of the control-plane database, when that has a password in it." env:"HEFRING_DATABASE_FILE" type:"path" holds:"database" placeholder:"FILE"`
	Listen         string        `help:"Address of the dashboard." env:"HEFRING_LISTEN" default:"127.0.0.1:8080"`
	URL            string        `help:"Address at which people reach the dashboard (default: http:// and the listen address)." env:"HEFRING_URL"`
	SitesMode      string        `help:"Whose nginx and php-fpm serve the sites: private (Hefring starts its own) or system (the machine's, which Hefring configures)." env:"HEFRING_SITES_MODE" enum:"private,system" default:"private"`
	SitesListen    string        `help:"Address that nginx binds for sites (default: 127.0.0.1, in system mode 0.0.0.0)." env:"HEFRING_SITES_LISTEN"`
	SitesPort      int           `help:"Port for sites (default: 8081, in system mode 80)." env:"HEFRING_SITES_PORT"`
	TLSPort        int           `name:"sites-tls-port" help:"Port for sites over HTTPS (default: 8443, in system mode 443)." env:"HEFRING_SITES_TLS_PORT"`
	ProbePort      int           `help:"Loopback port on which nginx answers Hefring's own probes." env:"HEFRING_PROBE_PORT" default:"8082"`
	PoolPerSite    bool          `help:"Give every site a php-fpm pool of its own." env:"HEFRING_POOL_PER_SITE"`
	SiteUsers      int           `help:"Give every site a user of its own: this number plus the site's; needs root. 0: all sites run as the web user." env:"HEFRING_SITE_USERS"`
	PHPPrograms    bool          `name:"allow-php-programs" help:"Let the sites' PHP start programs where they share one user. It can then read what other sites keep to themselves." env:"HEFRING_ALLOW_PHP_PROGRAMS"`
	NginxTest      string        `help:"System mode: the command that tests nginx's configuration (default: nginx -t)." env:"HEFRING_NGINX_TEST"`
	NginxReload    string        `help:"System mode: the command that reloads nginx (default: systemctl reload nginx)." env:"HEFRING_NGINX_RELOAD"`
	PHPTest        string        `name:"php-test" help:"System mode: the command that tests php-fpm's configuration." env:"HEFRING_PHP_TEST"`
	PHPReload      string        `name:"php-reload" help:"System mode: the command that reloads php-fpm." env:"HEFRING_PHP_RELOAD"`
	Drush8         string        `name:"drush8" help:"Drush 8, for Drupal 7 platforms that have no Drush of their own." env:"HEFRING_DRUSH8" type:"path"`
	UpdateLimit    time.Duration `help:"How long the database updates of one site may take." env:"HEFRING_UPDATE_LIMIT" default:"30m"`
	WebUser        string        `help:"User that the sites' PHP runs as when Hefring runs as root." env:"HEFRING_WEB_USER" default:"www-data"`
	BuildUser      string        `help:"User that builds (git, composer) run as when Hefring runs as root; not the web user." env:"HEFRING_BUILD_USER" default:"nobody"`
	EgressAllow    []string      `help:"Private networks that source addresses may name, as CIDR." env:"HEFRING_EGRESS_ALLOW" sep:","`
	CAFile         string        `help:"PEM file of certificate authorities to trust beside the system's, for private forges." env:"HEFRING_CA_FILE" type:"path"`
	SecretKey      string        `name:"secret-key-file" help:"File of the keys that stored credentials are encrypted with; made when missing. Replicas share one (default: control/secret.key in the data folder)." env:"HEFRING_SECRET_KEY_FILE" type:"path"`
	Unsandboxed    bool          `name:"allow-unsandboxed-builds" help:"Build even where bubblewrap cannot contain what builds run: code from sources then sees all that the build user sees." env:"HEFRING_ALLOW_UNSANDBOXED_BUILDS"`
	TrustedProxies []string      `name:"trusted-proxy" help:"Addresses of reverse proxies before the dashboard, as CIDR: what they say of where a request comes from is believed." env:"HEFRING_TRUSTED_PROXY" sep:","`
	OIDCIssuer     string        `name:"oidc-issuer" help:"Address of an OpenID Connect provider that people sign in with (default: none)." env:"HEFRING_OIDC_ISSUER"`
	OIDCName       string        `name:"oidc-name" help:"What the provider is called on the button (default: its host)." env:"HEFRING_OIDC_NAME"`
	OIDCClient     string        `name:"oidc-client-id" help:"What Hefring is called at the provider." env:"HEFRING_OIDC_CLIENT_ID"`
	OIDCSecret     string        `name:"oidc-client-secret" help:"Its secret there; a public client has none." env:"HEFRING_OIDC_CLIENT_SECRET" secret:""`
	OIDCSecretIn   string        `name:"oidc-client-secret-file" help:"File that holds that secret." env:"HEFRING_OIDC_CLIENT_SECRET_FILE" type:"path" holds:"oidc-client-secret" placeholder:"FILE"`
	OIDCScopes     []string      `name:"oidc-scopes" help:"What is asked for beside openid (default: profile and email); some providers want groups for oidc-role." env:"HEFRING_OIDC_SCOPES" sep:","`
	OIDCNameClaim  string        `name:"oidc-name-claim" help:"Claim with a person's name here (default: preferred_username)." env:"HEFRING_OIDC_NAME_CLAIM"`
	OIDCGroups     string        `name:"oidc-groups-claim" help:"Claim with a person's groups (default: groups)." env:"HEFRING_OIDC_GROUPS_CLAIM"`
	OIDCRoles      []string      `name:"oidc-role" help:"Roles by group, as group=role; they follow the groups at each sign-in." env:"HEFRING_OIDC_ROLE" sep:","`
	OIDCCreate     bool          `name:"oidc-create" help:"Make users of people whom the provider knows and Hefring does not." env:"HEFRING_OIDC_CREATE"`
	OIDCDomains    []string      `name:"oidc-domain" help:"Domains of the verified e-mail addresses of those who may become users (default: all)." env:"HEFRING_OIDC_DOMAIN" sep:","`
	SMTPHost       string        `name:"smtp-host" help:"Mail server that notices are sent by (default: no mail is sent)." env:"HEFRING_SMTP_HOST"`
	SMTPPort       int           `name:"smtp-port" help:"Its port (default: 587, with tls 465, with none 25)." env:"HEFRING_SMTP_PORT"`
	SMTPTLS        string        `name:"smtp-tls" help:"How the way to the mail server is encrypted: starttls, tls from the first byte, or none." env:"HEFRING_SMTP_TLS" enum:"starttls,tls,none" default:"starttls"`
	SMTPUser       string        `name:"smtp-user" help:"User at the mail server (default: it asks for none)." env:"HEFRING_SMTP_USER"`
	SMTPPassword   string        `name:"smtp-password" help:"Password at the mail server." env:"HEFRING_SMTP_PASSWORD" secret:""`
	SMTPPasswordIn string        `name:"smtp-password-file" help:"File that holds the password at the mail server." env:"HEFRING_SMTP_PASSWORD_FILE" type:"path" holds:"smtp-password" placeholder:"FILE"`
	SMTPFrom       string        `name:"smtp-from" help:"Address that notices come from." env:"HEFRING_SMTP_FROM"`
	LogLevel       string        `help:"Least level of the program's own log." env:"HEFRING_LOG_LEVEL" enum:"debug,info,warn,error" default:"info"`
	LogFormat      string        `help:"How the program's own log is written: text, or json for one object a line." env:"HEFRING_LOG_FORMAT" enum:"text,json" default:"text"`
	OTLPEndpoint   string        `name:"otlp-endpoint" help:"OpenTelemetry collector that traces of requests and tasks are sent to by OTLP over HTTP, such as http://127.0.0.1:4318 (default: none)." env:"HEFRING_OTLP_ENDPOINT,OTEL_EXPORTER_OTLP_ENDPOINT" placeholder:"URL"`
	OTLPHeaders    string        `name:"otlp-headers" help:"Headers for the collector, as name=value, separated by commas." env:"HEFRING_OTLP_HEADERS,OTEL_EXPORTER_OTLP_HEADERS" secret:""`
	OTLPHeadersIn  string        `name:"otlp-headers-file" help:"File that holds those headers." env:"HEFRING_OTLP_HEADERS_FILE" type:"path" holds:"otlp-headers" placeholder:"FILE"`
	MetricsListen  string        `help:"Address at which Prometheus reads metrics, without a password: not one that strangers reach (default: none)." env:"HEFRING_METRICS_LISTEN" placeholder:"HOST:PORT"`
}

// Validate reports every problem at once and fills what follows from the rest.
func (c *Config) Validate() error {
	list := c.wrong()
	if len(list) == 0 {
		return nil
	}
	fields := map[string]string{}
	for _, one := range list {
		fields[one.name] = one.text
	}
	return &models.Error{Code: models.Invalid, Message: "The settings do not fit", Fields: fields}
}

// fault is what is wrong with one setting.
type fault struct{ name, text string }

// wrong fills what follows from the rest and gives every problem.
func (c *Config) wrong() []fault {
	given := *c
	c.fill() // what follows from a wrong setting is no second fault
	var list []fault
	check := func(fits bool, name, text string) {
		if !fits {
			list = append(list, fault{name, text})
		}
	}
	check(filepath.IsAbs(c.Data) && filepath.Clean(c.Data) != "/", "data", "Use the absolute path of a folder.")
	check(given.SecretKey == "" || filepath.IsAbs(c.SecretKey), "secret-key-file", "Use an absolute path.")
	check(given.Database == "" || isDatabase(c.Database), "database", "Use sqlite:/absolute/path.db or postgres://user@host/name.")
	check(listens(c.Listen), "listen", "Use host:port, for example 127.0.0.1:8080.")
	check(given.URL == "" && !listens(c.Listen) || isWebAddress(c.URL), "url", "Use the address that people type, for example https://hefring.example.org.")
	check(net.ParseIP(c.SitesListen) != nil, "sites-listen", "Use an IP address such as 127.0.0.1 or 0.0.0.0.")
	check(isPort(c.SitesPort), "sites-port", "Use a port from 1 to 65535.")
	check(isPort(c.TLSPort), "sites-tls-port", "Use a port from 1 to 65535.")
	check(isPort(c.ProbePort), "probe-port", "Use a port from 1 to 65535.")
	check(c.SitesPort != c.ProbePort && c.TLSPort != c.ProbePort && c.SitesPort != c.TLSPort, "probe-port",
		"The three ports for sites, for HTTPS and for probes must differ.")
	check(c.BuildUser != c.WebUser, "build-user", "Use another user than the web user, or a site's PHP could change what is being built.")
	check(c.SiteUsers == 0 || c.SiteUsers >= 1000 && c.SiteUsers <= 1<<30, "site-users",
		"Use a number from 1000 on whose range no other user has, such as 200000, or 0.")
	check(c.UpdateLimit >= time.Second, "update-limit", "Use a second or more, such as 30m.")
	check(c.MetricsListen == "" || listens(c.MetricsListen), "metrics-listen", "Use host:port, for example 127.0.0.1:9420.")
	check(c.MetricsListen == "" || c.MetricsListen != c.Listen, "metrics-listen", "Use another port than the dashboard's: metrics ask for no password.")
	check(c.OTLPEndpoint == "" || isWebAddress(c.OTLPEndpoint), "otlp-endpoint", "Use the collector's address, for example http://127.0.0.1:4318.")
	_, err := c.Collector()
	check(err == nil, "otlp-headers", "Use name=value, and %2C for a comma in a value.")
	_, err = c.Proxies()
	check(err == nil, "trusted-proxy", "Use networks such as 10.0.0.0/8 or 127.0.0.1/32.")
	check(c.OIDCIssuer == "" || isWebAddress(c.OIDCIssuer), "oidc-issuer", "Use the provider's address, for example https://id.example.org/realms/main.")
	check(c.OIDCIssuer == "" || c.OIDCClient != "", "oidc-client-id", "Say what Hefring is called at the provider.")
	_, err = c.Roles()
	check(err == nil, "oidc-role", "Use group=role with a role of viewer, operator, manager and administrator.")
	_, err = c.Allowed()
	check(err == nil, "egress-allow", "Use networks such as 10.0.0.0/8 or 127.0.0.1/32.")
	return list
}

// fill sets what was left out and follows from the rest.
func (c *Config) fill() {
	c.Database = cmp.Or(c.Database, "sqlite:"+filepath.Join(c.Data, "control", "hefring.db"))
	c.SecretKey = cmp.Or(c.SecretKey, filepath.Join(c.Data, "control", "secret.key"))
	c.URL = cmp.Or(c.URL, "http://"+c.Listen)
	c.UpdateLimit = cmp.Or(c.UpdateLimit, 30*time.Minute)
	c.fillPorts()
}

// Proxies are the networks of the reverse proxies that are believed.
func (c *Config) Proxies() ([]netip.Prefix, error) { return prefixes(c.TrustedProxies) }

// Roles gives the roles by the provider's groups.
func (c *Config) Roles() (map[string]models.Role, error) {
	roles := map[string]models.Role{}
	for _, pair := range c.OIDCRoles {
		group, role, _ := strings.Cut(pair, "=")
		if group == "" || !models.Role(role).Valid() {
			return nil, models.Errorf(models.Invalid, "%q is not a group with its role.", pair)
		}
		roles[group] = models.Role(role)
	}
	return roles, nil
}

// Collector gives the headers for the collector of traces. They are written as in the
// variable that OpenTelemetry has for them: parts of a list, in percent-encoding.
func (c *Config) Collector() (http.Header, error) {
	headers := http.Header{}
	for pair := range strings.SplitSeq(c.OTLPHeaders, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(pair), "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		switch {
		case pair == "" && c.OTLPHeaders == "":
			continue
		case !found || err != nil || !headerName.MatchString(strings.TrimSpace(name)) || strings.ContainsFunc(value, isControl):
			return nil, models.Errorf(models.Invalid, "The headers for the collector are not name=value.")
		}
		headers.Add(strings.TrimSpace(name), value)
	}
	return headers, nil
}

// headerName is a token of HTTP (RFC 9110, 5.6.2).
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func isDatabase(address string) bool {
	return strings.HasPrefix(address, "sqlite:/") || strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
}

func listens(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 0 && n <= 65535
}

func isWebAddress(text string) bool {
	address, err := url.Parse(text)
	return err == nil && (address.Scheme == "http" || address.Scheme == "https") && address.Hostname() != "" && address.RawQuery == "" && address.Fragment == ""
}

func isPort(n int) bool { return n >= 1 && n <= 65535 }

// fillPorts fills what follows from the mode.
func (c *Config) fillPorts() {
	listen, port, tls := "127.0.0.1", 8081, 8443
	if c.SitesMode == "system" {
		listen, port, tls = "0.0.0.0", 80, 443
	}
	c.SitesListen, c.SitesPort, c.TLSPort = cmp.Or(c.SitesListen, listen), cmp.Or(c.SitesPort, port), cmp.Or(c.TLSPort, tls)
}

// Allowed gives the networks of EgressAllow.
func (c *Config) Allowed() ([]netip.Prefix, error) { return prefixes(c.EgressAllow) }

func prefixes(texts []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		list = append(list, prefix)
	}
	return list, nil
}
