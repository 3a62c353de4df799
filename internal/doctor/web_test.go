package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hefring/internal/doctor"
	"hefring/models"
)

const nginxSays = "nginx version: nginx/1.22.1\nconfigure arguments: --with-http_ssl_module --with-http_v2_module"

// newWebMachine is a machine that serves sites.
func newWebMachine(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.script("nginx", "/bin/cat >&2 <<'END'\n"+nginxSays+"\nEND")
	m.says("php-fpm", "PHP 8.3.9 (fpm-fcgi)\n[PHP Modules]\npdo_sqlite\npdo_mysql\npdo_pgsql")
	m.cfg.Web = &doctor.Web{Dir: filepath.Join(m.cfg.Data, "web")}
	return m
}

func TestExamine_Web_Healthy(t *testing.T) {
	m := newWebMachine(t)
	for _, name := range []string{"nginx", "php-fpm", "web folder", "pdo_sqlite"} {
		m.want(name, doctor.OK)
	}
	for _, f := range m.examine() {
		if f.State == doctor.Fail {
			t.Errorf("%+v", f)
		}
	}
}

func TestExamine_Web_Programs(t *testing.T) {
	m := newWebMachine(t)
	for says, part := range map[string]string{
		"nginx/1.18.0 --with-http_ssl_module --with-http_v2_module": "too old",
		"nginx/1.22.1 --with-http_v2_module":                        "without HTTPS",
		"nginx/1.22.1 --with-http_ssl_module":                       "without HTTP/2",
		"nonsense":                                                  "version",
	} {
		m.says("nginx", says)
		m.want("nginx", doctor.Warn, part)
	}
	m.says("php-fpm", "PHP 7.4.3 (fpm-fcgi)")
	m.want("php-fpm", doctor.Fail, "too old")
	m.says("php-fpm", "PHP 8.4.1 (fpm-fcgi)\npdo_sqlite")
	m.want("php-fpm", doctor.Warn, "PHP 8.4.1", "PHP 8.3.9", "update-alternatives")
	m.says("php-fpm", "PHP 8.3.1 (fpm-fcgi)")
	m.want("pdo_sqlite", doctor.Fail, "php-fpm lacks", "apt-get install php-sqlite3")
	m.remove("nginx")
	m.want("nginx", doctor.Fail, "missing", "apt-get install nginx")
}

func TestExamine_Web_Ports(t *testing.T) {
	m := newWebMachine(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	m.cfg.Web.Addresses = []string{address}
	m.want("ports", doctor.Fail, address, "ss -ltnp", "another port")
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	m.want("ports", doctor.OK, address)
	m.cfg.Web.Addresses = []string{"192.0.2.1:80"}
	m.want("ports", doctor.Fail, "cannot listen")
	m.cfg.Web.Running = true
	for _, f := range m.examine() {
		if f.Name == "ports" {
			t.Errorf("got %+v", f)
		}
	}
}

// holds makes the process table say that a program listens on a port.
func (m *machine) holds(program, address string) {
	m.t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		m.t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		m.t.Fatal(err)
	}
	const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
	for name, text := range map[string]string{
		"net/tcp": header + fmt.Sprintf("\n   0: 0100007F:%04[1]X 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4710 1"+
			"\n   1: 0100007F:%04[1]X 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x 100\n", n),
		"811/comm": "curl\n", "812/comm": program + "\n",
	} {
		path := filepath.Join(m.cfg.Proc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			m.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"811/fd": "socket:[4710]", "812/fd": "socket:[4711]"} {
		dir := filepath.Join(m.cfg.Proc, link)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			m.t.Fatal(err)
		}
		_ = os.Remove(filepath.Join(dir, "6"))
		if err := os.Symlink(target, filepath.Join(dir, "6")); err != nil {
			m.t.Fatal(err)
		}
	}
}

func TestExamine_Web_Ports_SystemNginx(t *testing.T) {
	m := newWebMachine(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	address := listener.Addr().String()
	m.cfg.Web.Addresses = []string{address}
	m.cfg.Web.System = &doctor.System{}
	m.want("ports", doctor.Warn, address, "only root can tell", "as root")
	m.holds("nginx", address)
	m.want("ports", doctor.OK, address, "the system's nginx has them")
	m.holds("apache2", address)
	m.want("ports", doctor.Fail, "apache2 uses "+address, "ss -ltnp")
	m.cfg.Web.System = nil
	m.holds("nginx", address)
	m.want("ports", doctor.Fail, "nginx uses "+address)

	// The real process table: it is this test that listens.
	m.cfg.Proc = "/proc"
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	m.want("ports", doctor.Fail, strings.TrimSpace(string(name))+" uses "+address)
}

func TestExamine_Web_Folder(t *testing.T) {
	m := newWebMachine(t)
	m.cfg.Web.Dir = filepath.Join(m.bin, "git")
	m.want("web folder", doctor.Fail, "not a folder")
	if os.Geteuid() != 0 { // who may write everywhere
		m.cfg.Web.Dir = "/usr/none/web"
		m.want("web folder", doctor.Fail, "chown")
	}
}

func TestExamine_Web_System(t *testing.T) {
	m := newWebMachine(t)
	dir := m.cfg.Web.Dir
	failure := error(nil)
	m.cfg.Web.System = &doctor.System{
		NginxInclude: "include " + dir + "/nginx/*.conf;", PHPInclude: "include=" + dir + "/php/*.conf",
		ReloadNginx: []string{"systemctl", "reload", "nginx"}, ReloadPHP: []string{"systemctl", "reload", "php-fpm"},
		Test: func(context.Context) error { return failure },
	}
	m.script("systemctl", "exit 0")
	m.want("web server", doctor.Fail, "nginx does not include", m.cfg.Web.System.NginxInclude[:20], "nginx.conf")
	m.says("nginx", nginxSays+"\ninclude "+dir+"/nginx/*.conf;")
	m.want("web server", doctor.Fail, "php-fpm does not include", "pool.d")
	m.says("php-fpm", "PHP 8.3.9\npdo_sqlite\nlisten = "+dir+"/run/php.sock")
	m.want("web server", doctor.OK)
	m.want("opcache", doctor.Warn, "opcache.blacklist_filename="+dir)
	failure = errors.New(`nginx.conf:7: unknown directive "nonsense"`)
	m.want("web server", doctor.Fail, "nginx.conf:7", "nginx -t")
	failure = nil
	m.script("systemctl", "echo inactive; exit 3")
	m.want("web server", doctor.Fail, "nginx does not run", "systemctl enable --now nginx")
	m.remove("systemctl")
	m.want("web server", doctor.Fail, "systemctl is missing")
	m.cfg.Web.System.ReloadNginx, m.cfg.Web.System.ReloadPHP = []string{"nginx", "-s", "reload"}, nil
	m.want("web server", doctor.OK)
	m.script("nginx", "echo broken >&2; exit 1")
	m.want("web server", doctor.Fail, "its own configuration", "nginx -t")
}

func TestExamine_Web_Certificates(t *testing.T) {
	m := newWebMachine(t)
	var list []doctor.Certificate
	var failure error
	m.cfg.Web.Certificates = func() ([]doctor.Certificate, error) { return list, failure }
	later := time.Now().Add(time.Hour)
	list = []doctor.Certificate{{Site: "a.example.org", NotAfter: later}, {Site: "b.example.org", NotAfter: later, Trouble: "It ends soon."}}
	m.want("certificates", doctor.OK, "1 of 2")
	m.want("certificates", doctor.Warn, "It ends soon.", "hefring site verify b.example.org")
	list[1].NotAfter = time.Now().Add(-time.Hour)
	m.want("certificates", doctor.Fail, "It ends soon.")
	failure = models.Errorf(models.Unavailable, "The list cannot be read.")
	m.want("certificates", doctor.Fail, "The list cannot be read.")
}

func TestExamine_Web_SiteUsers(t *testing.T) {
	m := newWebMachine(t)
	m.cfg.Web.FirstUser = 200000
	if os.Geteuid() != 0 {
		m.want("site users", doctor.Fail, "as root")
		return
	}
	m.want("site users", doctor.OK, "200001")
	m.cfg.Web.FirstUser = 65500 // nobody is 65534
	m.want("site users", doctor.Warn, "nobody", "34")
	m.cfg.Web.FirstUser = 500
	m.want("site users", doctor.Fail, "the system's")
}

func TestExamine_Servers(t *testing.T) {
	m := newWebMachine(t)
	answers := map[string]error{}
	probe := func(name, engine, version string) doctor.Probe {
		return doctor.Probe{Name: name, Engine: engine, Fix: "systemctl start " + name, Ask: func(context.Context) (string, error) { return version, answers[name] }}
	}
	m.cfg.Probes = []doctor.Probe{probe("mariadb", models.EngineMySQL, "MariaDB 10.11.6"), probe("pg", models.EnginePostgres, "PostgreSQL 17.2 (Debian)")}
	m.want("mariadb-dump", doctor.Fail, "mysqldump is missing", "apt-get install mariadb-client")
	m.want("pg_dump", doctor.Fail, "missing", "apt-get install postgresql-client")
	for _, name := range []string{"mysqldump", "mysql", "pg_restore"} {
		m.says(name, "")
	}
	m.says("pg_dump", "pg_dump (PostgreSQL) 17.0")
	m.says("php", "8.3.9\npdo_mysql\npdo_pgsql\npdo_sqlite")
	m.says("php-fpm", "PHP 8.3.9\npdo_mysql\npdo_pgsql\npdo_sqlite")
	m.want("mariadb-client", doctor.OK, "mysqldump, mysql")
	m.want("pg_dump", doctor.OK, "17")
	for _, name := range []string{"mariadb", "pg", "pdo_mysql", "pdo_pgsql"} {
		m.want(name, doctor.OK)
	}
	m.says("pg_dump", "pg_dump (PostgreSQL) 15.9")
	m.want("pg_dump", doctor.Fail, "older than the server", "postgresql-client-17")
	m.says("pg_dump", "pg_dump (PostgreSQL) 18beta1\n18 (x)")
	m.want("pg_dump", doctor.OK, "18")
	m.says("php", "8.3.9\npdo_mysql\npdo_sqlite")
	m.want("pdo_pgsql", doctor.Fail, "php lacks", "apt-get install php-pgsql")
	answers["pg"] = errors.New("connection refused")
	m.want("pg", doctor.Fail, "connection refused", "systemctl start pg")
}

func TestExamine_Disk_RoomForCopies(t *testing.T) {
	m := newMachine(t)
	m.cfg.Copy = 1 << 50
	m.want("disk", doctor.Fail, "twice")
}
