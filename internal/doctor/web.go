package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hefring/internal/run"
	"hefring/models"
)

// Web is what serves the sites, as whoever asks knows it.
type Web struct {
	Dir        string // folder of the configuration
	Nginx, FPM string // programs; "" finds them
	// Addresses are to be bound, host:port. They are looked at only while nothing
	// runs: then nobody else may have them.
	Addresses []string
	Running   bool
	FirstUser int // sites' own users begin after it; 0: they share one
	// System is how the machine's own nginx and php-fpm are handled; nil: they
	// are Hefring's.
	System *System
	// Certificates tells of all sites with HTTPS; nil leaves it out.
	Certificates func() ([]Certificate, error)
}

// System is the machine's own web server.
type System struct {
	NginxInclude, PHPInclude string   // lines that their configurations need
	ReloadNginx, ReloadPHP   []string // commands
	// Test lets both look at their configuration; nil leaves it out.
	Test func(context.Context) error
}

// Certificate is that of one site.
type Certificate struct {
	Site     string
	NotAfter time.Time
	Trouble  string // what is wrong and what to do; "" when nothing is
}

// oldestNginx is the first that refuses a handshake without a certificate.
func oldestNginx() version { return version{1, 19, 4} }

func (e *examination) web() {
	if e.c.Web == nil {
		return
	}
	e.nginx()
	e.fpmVersion()
	e.configDir()
	e.ports()
	e.system()
	e.certificates()
	e.siteUsers()
}

// tell runs a program and gives all that it prints; false means that it is
// missing or does not work, which e.helpers has told or the text tells.
func (e *examination) tell(program string, args ...string) (string, bool) {
	result, err := e.c.Programs.Run(e.ctx, run.Cmd{Name: program, Args: args, Timeout: 20 * time.Second})
	return string(result.Stdout) + string(result.Stderr), err == nil
}

func (e *examination) nginx() {
	program := e.c.Web.Nginx
	if program == "" {
		program = "nginx"
	}
	text, ok := e.tell(program, "-V")
	if !ok {
		return
	}
	v, known := versionIn(text)
	var missing []string
	for option, what := range map[string]string{"--with-http_ssl_module": "HTTPS", "--with-http_v2_module": "HTTP/2"} {
		if !strings.Contains(text, option) {
			missing = append(missing, what)
		}
	}
	slices.Sort(missing)
	switch {
	case !known:
		e.say(Warn, "nginx", fmt.Sprintf("it does not tell its version: %.60q", text), "")
	case v.before(oldestNginx()):
		e.say(Warn, "nginx", fmt.Sprintf("nginx %s is too old for sites with HTTPS, which need %s", v, oldestNginx()), "apt-get install nginx, or nginx.org's packages")
	case len(missing) > 0:
		e.say(Warn, "nginx", fmt.Sprintf("nginx %s was built without %s, so sites cannot have HTTPS", v, strings.Join(missing, " and ")), "apt-get install nginx")
	default:
		e.say(OK, "nginx", "nginx "+v.String()+" with HTTPS", "")
	}
}

func (e *examination) fpmProgram() string {
	if e.c.Web.FPM != "" {
		return e.c.Web.FPM
	}
	return e.fpm()
}

// fpmVersion compares what serves pages with what Drush runs with: a page that
// works under one may fail under the other.
func (e *examination) fpmVersion() {
	text, ok := e.tell(e.fpmProgram(), "-v")
	if !ok {
		return
	}
	v, known := versionIn(text)
	if !known {
		e.say(Warn, "php-fpm", fmt.Sprintf("it does not tell its version: %.60q", text), "")
		return
	}
	if v.before(oldestPHP()) {
		e.say(Fail, "php-fpm", fmt.Sprintf("PHP-FPM %s is too old; Drupal needs %s", v, oldestPHP()), "apt-get install php-fpm")
		return
	}
	if text, ok := e.tell("php", "-v"); ok {
		if cli, known := versionIn(text); known && (cli[0] != v[0] || cli[1] != v[1]) {
			e.say(Warn, "php-fpm", fmt.Sprintf("pages are served with PHP %s, but Drush runs with PHP %s", v, cli),
				fmt.Sprintf("update-alternatives --set php /usr/bin/php%d.%d", v[0], v[1]))
			return
		}
	}
	e.say(OK, "php-fpm", "PHP-FPM "+v.String(), "")
}

func (e *examination) configDir() {
	dir := e.c.Web.Dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		dir = existing(dir)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		e.say(Fail, "web folder", dir+" is not a folder, so the web server's configuration cannot be written there.", "move it away")
		return
	}
	if unix.Access(dir, unix.W_OK) != nil {
		e.say(Fail, "web folder", fmt.Sprintf("The configuration of the web server cannot be written in %s.", dir),
			fmt.Sprintf("chown %d %s", os.Geteuid(), dir))
		return
	}
	e.say(OK, "web folder", e.c.Web.Dir+" can be written", "")
}

// system looks whether the machine's own daemons include our part and can be
// told about it.
func (e *examination) system() {
	s := e.c.Web.System
	if s == nil {
		return
	}
	sound := e.included("nginx", s.NginxInclude, filepath.Join(e.c.Web.Dir, "nginx"), "-T")
	sound = e.included(e.fpmProgram(), s.PHPInclude, filepath.Join(e.c.Web.Dir, "run", "php.sock"), "-tt") && sound
	for _, command := range [][]string{s.ReloadNginx, s.ReloadPHP} {
		sound = e.reloadable(command) && sound
	}
	if s.Test != nil {
		if err := s.Test(e.ctx); err != nil {
			e.say(Fail, "web server", lastWords(err), "nginx -t")
			sound = false
		}
	}
	if sound {
		e.say(OK, "web server", "the system's nginx and php-fpm include Hefring's sites and can be reloaded", "")
	}
	if e.c.Web.FirstUser == 0 {
		list := filepath.Join(e.c.Web.Dir, "php", "opcache.blacklist")
		e.say(Warn, "opcache", "Sites share one user, and the system's php-fpm keeps their compiled settings where each can include the other's unless it is told not to.",
			fmt.Sprintf("opcache.blacklist_filename=%s in php.ini of php-fpm, then restart it; or give sites users of their own", list))
	}
}

// included looks into all of a daemon's configuration, which an option prints.
func (e *examination) included(program, line, mark, option string) bool {
	text, ok := e.tell(program, option)
	if !ok {
		e.say(Fail, "web server", program+" does not accept its own configuration.", program+" -t")
		return false
	}
	if strings.Contains(text, mark) {
		return true
	}
	place := "the http block of /etc/nginx/nginx.conf, or a file in /etc/nginx/conf.d"
	if option == "-tt" {
		place = "php-fpm.conf or a file in pool.d, once Hefring has made the folder at its first start"
	}
	e.say(Fail, "web server", program+" does not include what Hefring writes.", fmt.Sprintf("add the line %q to %s", line, place))
	return false
}

// reloadable looks whether a reload command can work, without reloading.
func (e *examination) reloadable(command []string) bool {
	if len(command) == 0 {
		return true
	}
	if _, err := e.c.Programs.LookPath(command[0]); err != nil {
		e.say(Fail, "web server", fmt.Sprintf("%s is missing, so %q cannot reload the web server.", command[0], strings.Join(command, " ")), "name another command")
		return false
	}
	if filepath.Base(command[0]) != "systemctl" {
		return true
	}
	unit := command[len(command)-1]
	if text, ok := e.tell(command[0], "is-active", unit); !ok {
		e.say(Fail, "web server", fmt.Sprintf("The service %s does not run: %s.", unit, strings.TrimSpace(text)), "systemctl enable --now "+unit)
		return false
	}
	return true
}

func (e *examination) certificates() {
	if e.c.Web.Certificates == nil {
		return
	}
	list, err := e.c.Web.Certificates()
	if err != nil {
		e.say(Fail, "certificates", lastWords(err), "")
		return
	}
	sound := 0
	for _, c := range list {
		if c.Trouble == "" {
			sound++
			continue
		}
		state := Warn
		if c.NotAfter.Before(e.c.Now()) {
			state = Fail
		}
		e.say(state, "certificates", c.Trouble, "renew it with your ACME tool, then: hefring site verify "+c.Site)
	}
	if sound > 0 {
		e.say(OK, "certificates", fmt.Sprintf("%d of %d are sound", sound, len(list)), "")
	}
}

// firstFreeUser is where systems have neither people nor services any more.
const firstFreeUser = 1000

// siteUsers looks whether sites can have users of their own.
func (e *examination) siteUsers() {
	first := e.c.Web.FirstUser
	switch {
	case first == 0:
	case os.Geteuid() != 0:
		e.say(Fail, "site users", "Sites can have users of their own only when Hefring runs as root.", "run Hefring as root, or switch users per site off")
	case first < firstFreeUser:
		e.say(Fail, "site users", fmt.Sprintf("Users from %d on are the system's.", first), "choose a first user that leaves a free range above it, such as 200000")
	default:
		e.takenUsers(first)
	}
}

// takenUsers looks at the beginning of the range; the numbers are the sites'.
func (e *examination) takenUsers(first int) {
	const looked = 100
	for id := first + 1; id <= first+looked; id++ {
		if found, err := user.LookupId(strconv.Itoa(id)); err == nil {
			e.say(Warn, "site users", fmt.Sprintf("User %d is %s already; the site with the number %d would be that user.", id, found.Username, id-first),
				"choose a first user that leaves a free range above it, such as 200000")
			return
		}
	}
	e.say(OK, "site users", fmt.Sprintf("sites have users of their own from %d on", first+1), "")
}

// Probe is something outside that must answer, such as a database server.
type Probe struct {
	Name   string
	Engine string // of a database server: models.EngineMySQL or EnginePostgres
	// Ask tells its version, or why it does not answer; "" when it has none.
	Ask func(context.Context) (version string, err error)
	Fix string
}

// servers asks all probes, then looks for what their engines need here.
func (e *examination) servers() {
	newest, engines := 0, map[string]bool{}
	for _, p := range e.c.Probes {
		engines[p.Engine] = true
		text, err := p.Ask(e.ctx)
		if err != nil {
			e.say(Fail, p.Name, lastWords(err), p.Fix)
			continue
		}
		e.say(OK, p.Name, strings.TrimSpace("answers "+text), "")
		if p.Engine == models.EnginePostgres {
			newest = max(newest, majorIn(text))
		}
	}
	if engines[models.EngineMySQL] {
		e.clients("mariadb-client", [][]string{{"mariadb-dump", "mysqldump"}, {"mariadb", "mysql"}})
		e.driver("pdo_mysql", "php-mysql")
	}
	if engines[models.EnginePostgres] {
		e.clients("postgresql-client", [][]string{{"pg_dump"}, {"pg_restore"}})
		e.driver("pdo_pgsql", "php-pgsql")
		e.dumper(newest)
	}
	if e.c.Web != nil {
		e.driver("pdo_sqlite", "php-sqlite3")
	}
}

var majorPattern = regexp.MustCompile(`\d+`)

// majorIn is the first number of a text such as "PostgreSQL 18beta1"; 0 for none.
func majorIn(text string) int {
	major, _ := strconv.Atoi(majorPattern.FindString(text))
	return major
}

// clients looks for programs that copy and dump databases; one of each group is
// enough.
func (e *examination) clients(pkg string, groups [][]string) {
	var there []string
	for _, group := range groups {
		i := slices.IndexFunc(group, func(name string) bool { _, err := e.c.Programs.LookPath(name); return err == nil })
		if i < 0 {
			e.say(Fail, group[0], strings.Join(group, " or ")+" is missing; databases can be neither copied nor backed up without it", "apt-get install "+pkg)
			continue
		}
		there = append(there, group[i])
	}
	if len(there) == len(groups) {
		e.say(OK, pkg, "there are "+strings.Join(there, ", "), "")
	}
}

// driver looks for an extension of PHP in what serves pages and what runs Drush.
func (e *examination) driver(extension, pkg string) {
	programs := []string{"php"}
	if e.c.Web != nil {
		programs = append(programs, e.fpmProgram())
	}
	for _, program := range programs {
		text, ok := e.tell(program, "-m")
		if !ok {
			continue // told already
		}
		if !slices.Contains(strings.Fields(strings.ToLower(text)), extension) {
			e.say(Fail, extension, fmt.Sprintf("%s lacks %s, which sites need to reach their database", program, extension), "apt-get install "+pkg)
			return
		}
	}
	e.say(OK, extension, "PHP has it", "")
}

// dumper compares pg_dump with the newest server: it refuses newer ones.
func (e *examination) dumper(server int) {
	text, ok := e.tell("pg_dump", "--version")
	client := majorIn(text)
	switch {
	case !ok || client == 0 || server == 0:
	case client < server:
		e.say(Fail, "pg_dump", fmt.Sprintf("pg_dump %d is older than the server, which is PostgreSQL %d, and refuses to dump it", client, server),
			fmt.Sprintf("apt-get install postgresql-client-%d", server))
	default:
		e.say(OK, "pg_dump", fmt.Sprintf("pg_dump %d fits PostgreSQL %d", client, server), "")
	}
}
