package webserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hefring/models"
)

// machine is a server in system mode beside the nginx and php-fpm of a machine,
// which serve a page of their own.
type machine struct {
	*fixture
	etc   string
	nginx *exec.Cmd
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	f := prepare(t)
	m := &machine{fixture: f, etc: filepath.Join(f.base, "etc")}
	f.config.Mode, f.config.Listen, f.config.TLSPort = ModeSystem, loopback, freePort(t)
	fpm, err := f.server.findFPM()
	f.must(err)
	nginxConf, fpmConf := filepath.Join(m.etc, "nginx.conf"), filepath.Join(m.etc, "php-fpm.conf")
	f.config.System = System{
		TestNginx: []string{"nginx", "-t", "-c", nginxConf, "-e", "stderr"}, ReloadNginx: []string{"nginx", "-s", "reload", "-c", nginxConf, "-e", "stderr"},
		TestPHP: []string{fpm, "--test", "--fpm-config", fpmConf}, ReloadPHP: []string{"/bin/sh", "-c", "kill -USR2 $(cat " + m.etc + "/php-fpm.pid)"},
	}
	f.server = New(f.config, runner())
	f.server.patience = 10 * time.Second
	f.prober = f.server.Prober()
	m.conf(f.server.NginxInclude())
	pool := fmt.Sprintf("listen = %s/own.sock\npm = static\npm.max_children = 1\n", m.etc)
	if account, err := f.server.account(); err == nil && os.Geteuid() == 0 {
		pool = fmt.Sprintf("user = %s\ngroup = %s\n", account.user, account.group) + pool
	}
	// The folder is there from Hefring's first start on.
	f.must(f.server.locked(t.Context(), func(bool) error { return nil }))
	f.write(fpmConf, fmt.Sprintf("[global]\npid = %[1]s/php-fpm.pid\nerror_log = %[1]s/php-fpm.log\n%s\n[www]\n%s", m.etc, f.server.PHPInclude(), pool))
	m.nginx = m.start("nginx", "-c", nginxConf, "-e", filepath.Join(m.etc, "nginx.log"))
	m.start(fpm, "-F", "--fpm-config", fpmConf)
	for _, name := range []string{"nginx.pid", "php-fpm.pid"} {
		f.eventually(name, func() bool {
			info, err := os.Stat(filepath.Join(m.etc, name))
			return err == nil && info.Size() > 0
		})
	}
	return m
}

// conf writes the machine's own nginx.conf with some lines in its http block.
func (m *machine) conf(lines string) {
	m.Helper()
	user := ""
	if os.Geteuid() == 0 {
		user = "user www-data;"
	}
	m.write(filepath.Join(m.etc, "nginx.conf"), fmt.Sprintf(`%s
daemon off;
pid %s/nginx.pid;
events { }
http {
    access_log off;
    gzip on;
    ssl_protocols TLSv1.2;
    client_max_body_size 2m;
    client_body_temp_path %[2]s/body; fastcgi_temp_path %[2]s/fastcgi; proxy_temp_path %[2]s/proxy; scgi_temp_path %[2]s/scgi; uwsgi_temp_path %[2]s/uwsgi;
    server {
        listen %[3]s default_server;
        return 200 "the machine's own";
    }
    %[4]s
}
`, user, m.etc, m.server.publicAddress(), lines))
}

func (m *machine) start(program string, args ...string) *exec.Cmd {
	m.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	m.must(cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	m.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	return cmd
}

func (m *machine) own() {
	m.Helper()
	a, err := m.try("GET", "something.example.org", "/", "")
	m.must(err)
	if a.body != "the machine's own" {
		m.Errorf("the machine's own page is gone: %d %s", a.status, a.body)
	}
}

func (m *machine) works() {
	m.Helper()
	m.own()
	a := m.send("GET", "/", "")
	if a.status != 200 || !strings.Contains(a.body, "release=v1") {
		m.Errorf("got %d %s", a.status, a.body)
	}
}

func TestServer_System_Serves(t *testing.T) {
	m := newMachine(t)
	m.must(m.server.AddSite(t.Context(), m.vhost()))
	m.works()
	if a := m.send("POST", "/", strings.Repeat("x", 3<<20)); a.status != 200 {
		t.Errorf("a big upload: got %d", a.status)
	}
	if status := m.status(); !status.Healthy() || status.Sites != 1 {
		t.Errorf("status %+v", status)
	}
	m.must(m.gate().Close(lease))
	if a := m.send("POST", "/", "x"); a.status != 503 {
		t.Errorf("the gate is open: %d", a.status)
	}
	m.must(m.gate().Open())
	m.write(filepath.Join(m.docroot("v1"), ".user.ini"), "auto_prepend_file =\ndisplay_errors = 1\n")
	if a := m.send("GET", "/env", ""); !strings.Contains(a.body, `"display":"0"`) {
		t.Errorf("got %s", a.body)
	}
	found, err := m.prober.Probe(t.Context(), Request{URI: host, Path: "/"})
	m.must(err)
	m.must(Healthy(found, m.docroot("v1")))
	if mended, err := m.server.Mend(t.Context()); mended || err != nil {
		t.Errorf("mended %t, %v", mended, err)
	}
	m.must(m.server.Stop(t.Context()))
	m.works()
	m.must(m.server.RemoveSite(t.Context(), 7))
	if a, err := m.try("GET", host, "/", ""); err != nil || a.body != "the machine's own" {
		t.Errorf("got %d %s, %v", a.status, a.body, err)
	}
}

// What either test refuses never stays, and the error names the line.
func TestServer_System_Refused(t *testing.T) {
	m := newMachine(t)
	m.must(m.server.AddSite(t.Context(), m.vhost()))
	version, err := m.server.nginx().tree.current()
	m.must(err)
	same := func() {
		t.Helper()
		if now, err := m.server.nginx().tree.current(); err != nil || now != version {
			t.Errorf("the version was %s, is %s, %v", version, now, err)
		}
		if left, _ := filepath.Glob(m.server.nginx().tree.link + "*"); len(left) != 2 {
			t.Errorf("left over: %v", left)
		}
		m.works()
	}
	err = m.server.change(t.Context(), func(sites siteList) error {
		sites[8] = Vhost{SiteID: 8, URI: "broken; nonsense", Dir: m.site}
		return nil
	})
	if models.CodeOf(err) != models.Invalid || !strings.Contains(models.Explain(err), "conf.d/8.conf:") {
		t.Errorf("got %v", err)
	}
	same()
	// Alone it is right, but not with the rest of the machine's.
	m.conf(m.server.NginxInclude() + "\nmap $uri $hefring_script { default x; }\nnonsense on;")
	other := Vhost{SiteID: 8, URI: "other.example.org", Dir: m.site}
	err = m.server.AddSite(t.Context(), other)
	if models.CodeOf(err) != models.Invalid || !strings.Contains(models.Explain(err), "nonsense") || !strings.Contains(models.Explain(err), "nginx.conf:") {
		t.Errorf("got %v", err)
	}
	same()
	m.conf(m.server.NginxInclude())
	m.must(m.server.AddSite(t.Context(), other))
	m.works()
}

func TestServer_System_NotIncluded(t *testing.T) {
	m := newMachine(t)
	m.conf("")
	m.server.patience = 5 * time.Second // enough for php-fpm, which comes first
	err := m.server.AddSite(t.Context(), m.vhost())
	if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), m.server.NginxInclude()) {
		t.Errorf("got %v", err)
	}
	m.own()
	if version, err := m.server.nginx().tree.current(); err != nil || version != emptyVersion {
		t.Errorf("the configuration is left: %s, %v", version, err)
	}
	m.server.patience = 10 * time.Second
	m.conf(m.server.NginxInclude())
	m.must(m.server.AddSite(t.Context(), m.vhost()))
	m.works()
}

// The reload is what does not happen: the former configuration comes back.
func TestServer_System_ReloadFails(t *testing.T) {
	m := newMachine(t)
	m.must(m.server.AddSite(t.Context(), m.vhost()))
	for name, command := range map[string][]string{"fails": {"/bin/false"}, "does nothing": {"/bin/true"}, "is missing": {"/nonexistent/systemctl"}} {
		config := m.config
		config.System.ReloadNginx = command
		server := New(config, runner())
		server.patience = time.Second
		err := server.AddSite(t.Context(), Vhost{SiteID: 8, URI: "other.example.org", Dir: m.site})
		if models.CodeOf(err) != models.Unavailable || !strings.Contains(models.Explain(err), command[0]) {
			t.Errorf("%s: got %v", name, err)
		}
		if status := m.status(); !status.Healthy() || status.Sites != 1 {
			t.Errorf("%s: status %+v", name, status)
		}
	}
	m.works()
}

// Killed between the swap and the reload, with a configuration that nobody has
// tested: the next change, or Mend, goes back first.
func TestServer_System_KilledBeforeReload(t *testing.T) {
	m := newMachine(t)
	m.must(m.server.AddSite(t.Context(), m.vhost()))
	for name, mend := range map[string]func() error{
		"change": func() error {
			return m.server.AddSite(t.Context(), Vhost{SiteID: 8, URI: "other.example.org", Dir: m.site})
		},
		"mend": func() error {
			mended, err := m.server.Mend(t.Context())
			if err == nil && !mended {
				err = errors.New("nothing was mended")
			}
			return err
		},
	} {
		nginx := m.server.nginx()
		version, err := nginx.tree.current()
		m.must(err)
		m.must(nginx.tree.write("0badbadbadbadbad", files{commonFile: "nonsense on;", sitesFile: "[]"}))
		m.must(nginx.swap(version, "0badbadbadbadbad"))
		if err := mend(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := filepath.Glob(nginx.tree.link + "*"); len(left) != 2 {
			t.Errorf("%s: left over: %v", name, left)
		}
		if status := m.status(); !status.Healthy() {
			t.Errorf("%s: status %+v", name, status)
		}
		m.works()
	}
}
