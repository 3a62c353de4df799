package models

import (
	"path"
	"regexp"
	"strings"
	"time"
)

// Engines that keep sites' content.
const (
	EngineSQLite   = "sqlite"
	EngineMySQL    = "mysql" // MariaDB, too
	EnginePostgres = "postgres"
)

// Database names one database of a site: a file for SQLite, a database on a
// server for the others. Its password is in no row: it lies in the site's own
// folder, see sites.Layout.Password.
type Database struct {
	Engine string `json:"engine"`
	Name   string `json:"name"`             // for SQLite the absolute path of the file
	Server int64  `json:"server,omitempty"` // the DatabaseServer; 0 for SQLite
	User   string `json:"user,omitempty"`   // the site's own user there; "" for SQLite
}

// DatabaseServer is a MariaDB, MySQL or PostgreSQL server that keeps the
// databases of sites: one database and one user for each site.
type DatabaseServer struct {
	ID     int64
	Name   string // what people call it; unique
	Engine string // EngineMySQL or EnginePostgres
	// Host is a host name, an address, or the absolute path of a unix socket;
	// for PostgreSQL that of the folder that holds it.
	Host   string
	Port   int    // 0: the engine's usual one
	User   string // may create databases and users
	Secret []byte // its password, sealed
	TLS    TLSMode
	// Clients is where a site's user may come from, as MySQL writes it: % for
	// anywhere. PostgreSQL has pg_hba.conf for that.
	Clients string
	Prefix  string // begins the name of every database and user that Hefring makes there
	Default bool   // new sites go there unless somebody says otherwise

	Version   string     `audit:"-"` // what it said when it was last tested
	Reason    string     `audit:"-"` // why it cannot be used, and what to do; "" when it can
	TestedAt  *time.Time `audit:"-"`
	CreatedAt time.Time
	UpdatedAt time.Time

	Password string `gorm:"-" audit:"-"` // open, only on its way to and from the server
}

// TLSMode says how a connection to a database server is protected.
type TLSMode string

// Modes of protection.
const (
	TLSOff     TLSMode = "off"     // for sockets and private networks
	TLSRequire TLSMode = "require" // encrypted, whoever answers
	TLSVerify  TLSMode = "verify"  // encrypted, and the certificate must fit the host
)

var (
	serverNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$`)
	prefixPattern     = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)
	clientsPattern    = regexp.MustCompile(`^[A-Za-z0-9%._:/-]{1,255}$`)
)

// Validate checks what a person typed, and fills what was left empty.
func (s *DatabaseServer) Validate() map[string]string {
	wrong := map[string]string{}
	if s.Prefix == "" {
		s.Prefix = "hefring"
	}
	if s.Clients == "" {
		s.Clients = "%"
	}
	if s.TLS == "" {
		s.TLS = TLSOff
	}
	if !serverNamePattern.MatchString(s.Name) {
		wrong["name"] = "Use up to 64 letters, digits, spaces, dots, hyphens and underscores."
	}
	if s.Engine != EngineMySQL && s.Engine != EnginePostgres {
		wrong["engine"] = "Choose MariaDB or MySQL, or PostgreSQL."
	}
	if !s.goodHost() {
		wrong["host"] = "Use a host name, an address, or the absolute path of a socket."
	}
	if s.Port < 0 || s.Port > 65535 {
		wrong["port"] = "Use a port from 1 to 65535, or leave it empty for the usual one."
	}
	if s.User == "" || len(s.User) > 63 || strings.ContainsAny(s.User, "\x00\r\n") {
		wrong["user"] = "Name a user of the server that may create databases and users."
	}
	if s.TLS != TLSOff && s.TLS != TLSRequire && s.TLS != TLSVerify {
		wrong["tls"] = "Choose off, require or verify."
	}
	if !clientsPattern.MatchString(s.Clients) {
		wrong["clients"] = "Use % for anywhere, or the host that the sites' users come from."
	}
	if !prefixPattern.MatchString(s.Prefix) {
		wrong["prefix"] = "Use up to 12 lower-case letters and digits, beginning with a letter."
	}
	return wrong
}

func (s *DatabaseServer) goodHost() bool {
	if strings.HasPrefix(s.Host, "/") {
		return path.Clean(s.Host) == s.Host && !strings.ContainsAny(s.Host, "\x00\r\n")
	}
	return len(s.Host) <= 253 && (hostPattern.MatchString(strings.ToLower(s.Host)) || strings.Contains(s.Host, ":") && clientsPattern.MatchString(s.Host))
}
